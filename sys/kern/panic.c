/*
 * Panic: what is to be done when the kernel has caught somebody, itself
 * included, breaking its rules.
 *
 * It says why, which locks were held and how it came there, and leaves the
 * machine to the debugger.  Printing, walking the stack and the debugger may
 * themselves be what is broken: a second panic on the way only says its line
 * and halts.
 *
 * panic_catch is for who expects one: the self-tests, which provoke each,
 * and the debugger, whose commands look at what may be broken.  It works
 * like setjmp: the panic returns there, and what lies between is forgotten,
 * its locks let go.
 */
#include <kern/kern.h>
#include <kern/locks.h>
#include <kern/md.h>
#include <vm/vm_host.h>

#define BACKTRACE_MAX	32	/* frames; deeper is a recursion gone wild */

const char *panicstr;

static char panicbuf[256];

static struct catch {
	void		*c_jmp[5];	/* what __builtin_setjmp needs */
	char		*c_msg;
	size_t		 c_size;
	unsigned	 c_locks;
	uintptr_t	 c_intr;
	struct catch	*c_prev;
} *catching;

/* Not in an interrupt: its handler would stay half done for ever. */
static bool
caught(const char *fmt, va_list ap)
{
	if (catching == NULL || md_in_intr())
		return false;
	k_vsnprintf(catching->c_msg, catching->c_size, fmt, ap);
	return true;
}

/* A function of its own: GCC wants setjmp and longjmp in two. */
static void __attribute__((__noinline__)) __dead2
throw(void)
{
	__builtin_longjmp(catching->c_jmp, 1);
}

static void
catch_end(bool unwind)
{
	struct catch *c = catching;

	catching = c->c_prev;
	if (!unwind)
		return;
	locks_unwind(c->c_locks);
	md_intr_restore(c->c_intr);
}

bool __attribute__((__noinline__))
panic_catch(void (*fn)(void *), void *arg, char *msg, size_t size)
{
	struct catch c = {
		.c_msg = msg,
		.c_size = size,
		.c_locks = locks_mark(),
		.c_intr = md_intr_disable(),
		.c_prev = catching,
	};

	md_intr_restore(c.c_intr);
	catching = &c;
	if (__builtin_setjmp(c.c_jmp) != 0) {
		catch_end(true);
		return true;
	}
	fn(arg);
	catch_end(false);
	return false;
}

void
panic_fault(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (caught(fmt, ap))
		throw();
	va_end(ap);
}

static bool
backtrace_step(vaddr_t pc, vaddr_t frame, void *arg)
{
	unsigned *n = arg;
	vaddr_t off;
	/*
	 * A pc behind a call may lie behind its function too, where that
	 * call was the last thing in it: ask for the call itself.
	 */
	vaddr_t ask = *n == 0 ? pc : pc - 1;
	const char *name = ksym_find(ask, &off);

	if (*n == BACKTRACE_MAX) {
		printf("  ...\n");
		return false;
	}
	if (name != NULL)
		printf("  %2u  0x%08lx  %s+0x%lx\n", *n, pc, name,
		    off + (pc - ask));
	else
		printf("  %2u  0x%08lx\n", *n, pc);
	++*n;
	return true;
}

void
backtrace(const struct trapframe *tf)
{
	unsigned n = 0;

	md_backtrace(tf, backtrace_step, &n);
}

static void
panic_again(const char *fmt, va_list ap)
{
	printf("\npanic while panicking: ");
	vprintf(fmt, ap);
	printf("\nfirst panic: %s\n", panicstr);
	md_halt(2);
}

void
vpanic(const char *fmt, va_list ap)
{
	if (caught(fmt, ap))
		throw();
	md_intr_disable();
	if (panicstr != NULL)
		panic_again(fmt, ap);
	k_vsnprintf(panicbuf, sizeof(panicbuf), fmt, ap);
	panicstr = panicbuf;
	printf("\npanic: %s\n", panicstr);
	locks_print();
	backtrace(NULL);
	cons_on_wait(NULL);
	for (;;)
		ddb_enter(NULL, "The debugger; `help` lists its commands.");
}

void
panic(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vpanic(fmt, ap);
}
