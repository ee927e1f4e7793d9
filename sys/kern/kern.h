/*
 * The kernel around sys/vm: printing, panic, boot options, symbols, the
 * debugger's door.
 */
#ifndef KERN_KERN_H
#define KERN_KERN_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include <libkern/libkern.h>
#include <vm/vm.h>

struct trapframe;

/*
 * To every console at once.
 */
int	printf(const char *fmt, ...) __printflike(1, 2);
int	vprintf(const char *fmt, va_list) __printflike(1, 0);
/*
 * Say why, print the stack, enter the debugger; from within a panic, halt.
 */
void	panic(const char *fmt, ...) __printflike(1, 2) __dead2;
void	vpanic(const char *fmt, va_list) __printflike(1, 0) __dead2;
extern const char *panicstr;	/* NULL until the first panic */

/*
 * Run fn(arg); a panic or a fault in it ends it and is told in msg instead.
 * => true when there was one; locks that fn took are free again, interrupts
 *    are as they were
 * => what the code was about to do when it panicked stays undone
 */
bool	panic_catch(void (*fn)(void *), void *arg, char *msg, size_t size);
/*
 * For a trap handler: a fault happened that would go to the debugger.
 * => returns unless a panic_catch waits for it (then nothing is printed)
 */
void	panic_fault(const char *fmt, ...) __printflike(1, 2);

/* The stack with symbols, one line a frame; NULL: the caller's own. */
void	backtrace(const struct trapframe *);

/*
 * A device that can print and, polled, be read.  console.c
 * => cd_putc gets "\r\n" for a new line, understands '\b' (one to the left,
 *    nothing erased) and '\a'
 * => cd_getc gives '\r' for Enter, '\b' or DEL for Backspace, and ANSI's
 *    escape sequences for keys without a character (ESC [ A: arrow up)
 */
struct consdev {
	const char	*cd_name;
	void		(*cd_putc)(int);
	int		(*cd_getc)(void);	/* -1: nothing there */
	struct consdev	*cd_next;
};
void	cons_add(struct consdev *);
void	cons_putc(int);		/* '\n' goes out as "\r\n" */
int	cons_getc(void);	/* waits; any console */
/* What is done over and over while cons_getc waits, or NULL; the old one. */
typedef void cons_wait_t(void);
cons_wait_t *cons_on_wait(cons_wait_t *);
int	cons_poll(void);	/* -1: nothing there */

/* Boot options: words of the command line, "name" or "name=value". */
bool	bootopt(const char *name);
bool	bootopt_value(const char *name, char *buf, size_t size);
/* Where the word stands more than once: the value of the n-th, from 0. */
bool	bootopt_nth(const char *name, unsigned n, char *buf, size_t size);

/*
 * While buf is not NULL, what sys/vm logs goes there, as far as there is
 * room, and not to the consoles: for tests.
 */
void	log_divert(char *buf, size_t size);

/*
 * Symbols, from a table of our own in the image (sorted by address).
 * => the name of the function or object at or below addr, with the distance
 *    in *off; NULL when addr lies outside of the image
 */
const char *ksym_find(vaddr_t addr, vaddr_t *off);
bool	ksym_value(const char *name, vaddr_t *addr);

/*
 * Enter the debugger: from a trap (with its frame) or by ourselves (NULL).
 * => returns when the person types `continue`
 */
void	ddb_enter(const struct trapframe *, const char *why);

/*
 * The slab question: every step is checked, and shown where show says so.
 * => true when all came out right; if not, what did not is printed
 */
bool	slabs_demo(bool show);
/*
 * n random operations on the slab window, some of whose allocations stay;
 * n = 0: they go.  Those made without show are kept apart.
 * => true when every check held
 */
bool	slabs_churn(unsigned n, uint64_t seed, bool show);

/* The self-tests (selftest.c): the number that failed. */
unsigned selftest_run(void);

/* The order in which the kernel comes up (main.c). */
void	kern_main(void) __dead2;

#endif
