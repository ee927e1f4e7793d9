/*
 * What sys/vm asks of the kernel around it (vm/vm_host.h), for one processor
 * and no threads yet.
 *
 * Where nobody else runs, a lock that is taken twice would never be had and
 * one that is let go without being held guards nothing.  So the locks here
 * do not wait: each is a word that tells how it is held, every use is
 * checked, and a wrong one is a panic with the lock's name.  A second reader
 * could only be the first one again, which vm_host.h forbids.
 *
 * A mutex masks interrupts.  Mutexes nest and need not be left in the
 * reverse order, so what interrupts were before is kept with the outermost
 * one's depth, not in each lock: they come back when the last one is left.
 *
 * All that are held stand in held[], in the order they were taken: a panic
 * prints them, and one that is caught lets them go.
 *
 * Nearly every lock is free when it is taken, and the last one taken when it
 * is left.  Then a few comparisons do (quick_enter, quick_exit); whatever is
 * found to be otherwise goes through lock_enter or lock_exit, which look
 * again, and say what is wrong.  An interrupt leaves held[] as it finds it, so
 * the quick ways of locks that leave interrupts on need not mask them: a place
 * is first counted, then written, and first cleared, then given up.
 */
#include <kern/kern.h>
#include <kern/locks.h>
#include <kern/md.h>
#include <vm/vm_host.h>

/*
 * vm.h's order has 5 levels; an interrupt may come while the two that leave
 * interrupts on are held, and take its own.  16 is twice that.
 */
#define MAXHELD		16

enum how { FREE, READ, WRITE, MUTEX };
static const char *const how_name[] = { "free", "read", "write", "mutex" };

static struct held {
	void	  **h_word;
	const char *h_name;
} held[MAXHELD];
static unsigned nheld;

static unsigned mtx_depth;	/* mutexes held */
static uintptr_t mtx_intr;	/* interrupts before the outermost */

static bool bypass;

static enum how
how_held(void *const *word)
{
	return (enum how)(uintptr_t)*word;
}

static void
lock_init(void **word, const char **namep, const char *name)
{
	KASSERT(name != NULL);
	*namep = name;
	*word = (void *)FREE;
}

/* Take a lock that nothing is wrong with.  => false: nothing was done */
static inline bool
quick_enter(void **word, const char *name, enum how how)
{
	struct held *h;

	if (bypass || name == NULL || how_held(word) != FREE ||
	    nheld == MAXHELD || (how != MUTEX && md_in_intr()))
		return false;
	if (how == MUTEX) {
		if (mtx_depth == 0)
			mtx_intr = md_intr_disable();
		mtx_depth++;
	}
	h = &held[nheld++];
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	h->h_name = name;
	h->h_word = word;
	*word = (void *)how;
	return true;
}

/* Leave the lock that was taken last.  => false: it is not that */
static inline bool
quick_exit(void **word, enum how how)
{
	if (bypass || how_held(word) != how || nheld == 0 ||
	    held[nheld - 1].h_word != word)
		return false;
	*word = (void *)FREE;
	held[nheld - 1].h_word = NULL;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	nheld--;
	if (how == MUTEX && --mtx_depth == 0)
		md_intr_restore(mtx_intr);
	return true;
}

static void
lock_enter(const char *func, void **word, const char *name, enum how how)
{
	uintptr_t intr;

	if (bypass)
		return;
	intr = md_intr_disable();
	if (name == NULL)
		panic("%s: lock %p was never initialized", func,
		    (void *)word);
	if (how_held(word) != FREE)
		panic("%s: lock \"%s\" is held already (%s)", func, name,
		    how_name[how_held(word)]);
	if (how != MUTEX && md_in_intr())
		panic("%s: lock \"%s\" is not for interrupts", func, name);
	if (nheld == MAXHELD)
		panic("%s: lock \"%s\": %u locks are held", func, name, nheld);
	*word = (void *)how;
	held[nheld++] = (struct held){ word, name };
	if (how != MUTEX)
		md_intr_restore(intr);
	else if (mtx_depth++ == 0)
		mtx_intr = intr;
}

/* Strike the i-th out of held[]. */
static void
held_remove(unsigned i)
{
	for (nheld--; i < nheld; i++)
		held[i] = held[i + 1];
	held[nheld].h_word = NULL;
}

static void
lock_exit(const char *func, void **word, const char *name, enum how how)
{
	uintptr_t intr;
	unsigned i;

	if (bypass)
		return;
	intr = md_intr_disable();
	if (how_held(word) != how)
		panic("%s: lock \"%s\" is not held so (%s)", func,
		    name == NULL ? "?" : name, how_held(word) > MUTEX ?
		    "garbage" : how_name[how_held(word)]);
	for (i = nheld; i > 0 && held[i - 1].h_word != word; i--)
		continue;
	if (i == 0)
		panic("%s: lock \"%s\" at %p moved while it was held", func,
		    name, (void *)word);
	held_remove(i - 1);
	*word = (void *)FREE;
	if (how != MUTEX || --mtx_depth == 0)
		md_intr_restore(how == MUTEX ? mtx_intr : intr);
}

unsigned
locks_mark(void)
{
	return nheld;
}

void
locks_unwind(unsigned mark)
{
	bool was = locks_bypass(false);

	while (nheld > mark) {
		struct held *h = &held[nheld - 1];

		lock_exit(__func__, h->h_word, h->h_name,
		    how_held(h->h_word));
	}
	locks_bypass(was);
}

bool
locks_bypass(bool on)
{
	bool was = bypass;

	bypass = on;
	return was;
}

void
locks_print(void)
{
	for (unsigned i = 0; i < nheld; i++) {
		if (held[i].h_word == NULL)	/* about to be taken */
			continue;
		printf("lock held: \"%s\" (%s)\n", held[i].h_name,
		    how_name[how_held(held[i].h_word)]);
	}
}

void
vm_rw_init(struct vm_rwlock *rw, const char *name)
{
	lock_init(&rw->rw_word[0], &rw->rw_name, name);
}

void
vm_rw_enter_read(struct vm_rwlock *rw)
{
	if (!quick_enter(&rw->rw_word[0], rw->rw_name, READ))
		lock_enter(__func__, &rw->rw_word[0], rw->rw_name, READ);
}

void
vm_rw_exit_read(struct vm_rwlock *rw)
{
	if (!quick_exit(&rw->rw_word[0], READ))
		lock_exit(__func__, &rw->rw_word[0], rw->rw_name, READ);
}

void
vm_rw_enter_write(struct vm_rwlock *rw)
{
	if (!quick_enter(&rw->rw_word[0], rw->rw_name, WRITE))
		lock_enter(__func__, &rw->rw_word[0], rw->rw_name, WRITE);
}

void
vm_rw_exit_write(struct vm_rwlock *rw)
{
	if (!quick_exit(&rw->rw_word[0], WRITE))
		lock_exit(__func__, &rw->rw_word[0], rw->rw_name, WRITE);
}

bool
vm_rw_held(const struct vm_rwlock *rw)
{
	return bypass || how_held(&rw->rw_word[0]) != FREE;
}

bool
vm_rw_held_write(const struct vm_rwlock *rw)
{
	return bypass || how_held(&rw->rw_word[0]) == WRITE;
}

void
vm_mtx_init(struct vm_mtx *m, const char *name)
{
	lock_init(&m->mtx_word[0], &m->mtx_name, name);
}

void
vm_mtx_enter(struct vm_mtx *m)
{
	if (!quick_enter(&m->mtx_word[0], m->mtx_name, MUTEX))
		lock_enter(__func__, &m->mtx_word[0], m->mtx_name, MUTEX);
}

/* What is held by another is held by whom we interrupted. */
bool
vm_mtx_try(struct vm_mtx *m)
{
	if (!bypass && how_held(&m->mtx_word[0]) != FREE)
		return false;
	vm_mtx_enter(m);
	return true;
}

void
vm_mtx_exit(struct vm_mtx *m)
{
	if (!quick_exit(&m->mtx_word[0], MUTEX))
		lock_exit(__func__, &m->mtx_word[0], m->mtx_name, MUTEX);
}

bool
vm_mtx_held(const struct vm_mtx *m)
{
	return bypass || how_held(&m->mtx_word[0]) == MUTEX;
}

/* One thread: while it slept nobody would be there to wake it. */
bool
vm_host_sleep(const void *chan)
{
	return false;
}

void
vm_host_wakeup(const void *chan)
{
}

/* There are no others. */
bool
vm_host_stop_cpus(void)
{
	return true;
}

void
vm_host_start_cpus(void)
{
}

bool
vm_host_intr(void)
{
	return md_in_intr();
}

unsigned long
vm_host_ticks(void)
{
	return md_ticks();
}

struct callers {
	vaddr_t		*c_pc;
	unsigned	 c_n, c_max;
	unsigned	 c_skip;
};

static bool
backtrace_step(vaddr_t pc, vaddr_t frame, void *arg)
{
	struct callers *c = arg;

	if (c->c_skip > 0)
		c->c_skip--;
	else if (c->c_n < c->c_max)
		c->c_pc[c->c_n++] = pc;
	return c->c_n < c->c_max;
}

/* The chain begins in this very function, and goes on in our caller. */
unsigned
vm_host_backtrace(vaddr_t *pc, unsigned n)
{
	struct callers c = { pc, 0, n, 2 };

	md_backtrace(NULL, backtrace_step, &c);
	return c.c_n;
}

/* Return addresses: the call is what lies before. */
void
vm_host_symbol(vaddr_t pc, char *buf, size_t size)
{
	vaddr_t off;
	const char *name = ksym_find(pc - 1, &off);

	if (name != NULL)
		k_snprintf(buf, size, "%s+%#lx", name, off + 1);
	else
		k_snprintf(buf, size, "%#lx", pc);
}

void
vm_host_roots(void (*fn)(vaddr_t start, vaddr_t end, void *arg), void *arg)
{
	md_roots(fn, arg);
}

unsigned long
vm_host_random(void)
{
	return md_random();
}

static char *divert;
static size_t divert_size;

void
log_divert(char *buf, size_t size)
{
	divert = buf;
	divert_size = size;
}

/* A line to the end of what is there. */
static void
divert_line(const char *fmt, va_list ap)
{
	size_t n;

	k_vsnprintf(divert, divert_size, fmt, ap);
	n = strlen(divert);
	divert += n;
	divert_size -= n;
	if (divert_size > 1) {
		*divert++ = '\n';
		*divert = '\0';
		divert_size--;
	}
}

void
vm_host_log(const char *fmt, ...)
{
	size_t n = strlen(fmt);
	va_list ap;

	if (divert != NULL) {
		va_start(ap, fmt);
		divert_line(fmt, ap);
		va_end(ap);
		return;
	}
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	if (n == 0 || fmt[n - 1] != '\n')
		printf("\n");
}

void
vm_host_panic(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vpanic(fmt, ap);
}
