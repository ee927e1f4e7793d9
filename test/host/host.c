/*
 * The kernel around sys/vm, played by a user program: vm/vm_host.h.
 *
 * Locks are real, so that threads can be let loose on them, and cheap while
 * nobody else wants them: one atomic exchange to take, one store to drop
 * (a reader needs a second exchange).  Who has to wait spins and yields.
 * While there is one thread only, loads and stores do, as on a machine with
 * one CPU: the C library says so, and its own locks ask it, too.
 * Each thread keeps a list of what it holds: that answers vm_rw_held()
 * exactly, finds recursion, and lets a caught panic drop them.
 */
#define _GNU_SOURCE
#include <sys/single_threaded.h>

#include <sched.h>
#include <setjmp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unwind.h>

#include <vm/vm_host.h>

#include "host.h"

/* More locks than the deepest nesting of vm.h's order, several times. */
#define MAXHELD		32
#define MAXLINE		512

enum held_kind { HELD_MTX, HELD_READ, HELD_WRITE };

struct held {
	void		*h_lock;
	enum held_kind	 h_kind;
};

extern char __data_start[], _end[];	/* the linker's: all static data */

static __thread struct held held[MAXHELD];
static __thread struct host_locks locks;
static __thread jmp_buf *catcher;
static __thread char panic_line[MAXLINE];
static __thread bool in_intr;

static atomic_ulong ticks;
static atomic_bool may_sleep;
static bool (*sleep_fn)(const void *);
static _Atomic uint64_t nsleeps, nwakeups, nlogs;
static __thread char log_lines[HOST_NLOGS][MAXLINE];
static __thread unsigned log_next;
static __thread vaddr_t roots_start, roots_end;

/*
 * The list of locks held.
 */
static struct held *
held_find(const void *lock)
{
	unsigned i;

	for (i = locks.hl_held; i-- > 0;)
		if (held[i].h_lock == lock)
			return &held[i];
	return NULL;
}

static inline void
held_push(void *lock, enum held_kind kind)
{
	const unsigned n = locks.hl_held;

	if (n == MAXHELD)
		vm_host_panic("host: more than %d locks held", MAXHELD);
	held[n].h_lock = lock;
	held[n].h_kind = kind;
	locks.hl_held = n + 1;
}

/* Not the one that was taken last, if it is held at all. */
static void __attribute__((__noinline__))
held_pop_other(void *lock, enum held_kind kind, const char *name)
{
	struct held *h = held_find(lock);

	if (h == NULL || h->h_kind != kind)
		vm_host_panic("host: lock \"%s\" (%p) is not held so", name,
		    lock);
	*h = held[--locks.hl_held];
}

static inline void
held_pop(void *lock, enum held_kind kind, const char *name)
{
	const unsigned n = locks.hl_held - 1;

	if (n < MAXHELD && held[n].h_lock == lock && held[n].h_kind == kind)
		locks.hl_held = n;
	else
		held_pop_other(lock, kind, name);
}

static void __dead2 __attribute__((__noinline__))
lock_enter_panic(const void *lock, const char *name)
{
	if (name == NULL)
		vm_host_panic("host: lock %p was never initialised", lock);
	vm_host_panic("host: lock \"%s\" (%p) taken twice", name, lock);
}

/* A lock that is not one yet, or that we hold already, cannot be taken. */
static inline void
lock_enter_check(const void *lock, const char *name)
{
	if (name == NULL || held_find(lock) != NULL)
		lock_enter_panic(lock, name);
}

/*
 * Mutexes: 0 free, 1 taken.
 */
static atomic_int *
mtx_word(struct vm_mtx *m)
{
	return (atomic_int *)&m->mtx_word[0];
}

void
vm_mtx_init(struct vm_mtx *m, const char *name)
{
	m->mtx_name = name;
	atomic_init(mtx_word(m), 0);
}

/* Set the word.  => what it was */
static int
mtx_take(struct vm_mtx *m)
{
	atomic_int *w = mtx_word(m);
	int was;

	if (!__libc_single_threaded)
		return atomic_exchange_explicit(w, 1, memory_order_acquire);
	was = atomic_load_explicit(w, memory_order_relaxed);
	atomic_store_explicit(w, 1, memory_order_relaxed);
	return was;
}

/* Somebody else has it. */
static void __attribute__((__noinline__))
mtx_wait(struct vm_mtx *m)
{
	locks.hl_contended++;
	do {
		while (atomic_load_explicit(mtx_word(m),
		    memory_order_relaxed) != 0)
			sched_yield();
	} while (mtx_take(m) != 0);
}

void
vm_mtx_enter(struct vm_mtx *m)
{
	lock_enter_check(m, m->mtx_name);
	if (mtx_take(m) != 0)
		mtx_wait(m);
	locks.hl_mtx++;
	held_push(m, HELD_MTX);
}

bool
vm_mtx_try(struct vm_mtx *m)
{
	lock_enter_check(m, m->mtx_name);
	if (mtx_take(m)) {
		locks.hl_contended++;
		return false;
	}
	locks.hl_mtx++;
	held_push(m, HELD_MTX);
	return true;
}

void
vm_mtx_exit(struct vm_mtx *m)
{
	held_pop(m, HELD_MTX, m->mtx_name);
	atomic_store_explicit(mtx_word(m), 0, memory_order_release);
}

bool
vm_mtx_held(const struct vm_mtx *m)
{
	return held_find(m) != NULL;
}

/*
 * Reader-writer locks: the number of readers, or -1 for a writer.  The
 * second word counts the writers that wait: no new reader overtakes them.
 */
static atomic_int *
rw_word(struct vm_rwlock *rw)
{
	return (atomic_int *)&rw->rw_word[0];
}

static atomic_int *
rw_waiting(struct vm_rwlock *rw)
{
	return (atomic_int *)&rw->rw_word[1];
}

void
vm_rw_init(struct vm_rwlock *rw, const char *name)
{
	rw->rw_name = name;
	atomic_init(rw_word(rw), 0);
	atomic_init(rw_waiting(rw), 0);
}

static bool
rw_try(struct vm_rwlock *rw, int from, int to)
{
	atomic_int *w = rw_word(rw);

	if (!__libc_single_threaded)
		return atomic_compare_exchange_weak_explicit(w, &from, to,
		    memory_order_acquire, memory_order_relaxed);
	if (atomic_load_explicit(w, memory_order_relaxed) != from)
		return false;
	atomic_store_explicit(w, to, memory_order_relaxed);
	return true;
}

static bool
rw_try_read(struct vm_rwlock *rw)
{
	int n = atomic_load_explicit(rw_word(rw), memory_order_relaxed);

	if (n < 0 || atomic_load_explicit(rw_waiting(rw),
	    memory_order_relaxed) != 0)
		return false;
	return rw_try(rw, n, n + 1);
}

void
vm_rw_enter_read(struct vm_rwlock *rw)
{
	lock_enter_check(rw, rw->rw_name);
	if (!rw_try_read(rw)) {
		locks.hl_contended++;
		while (!rw_try_read(rw))
			sched_yield();
	}
	locks.hl_read++;
	held_push(rw, HELD_READ);
}

void
vm_rw_exit_read(struct vm_rwlock *rw)
{
	held_pop(rw, HELD_READ, rw->rw_name);
	if (!__libc_single_threaded || !rw_try(rw, 1, 0))
		atomic_fetch_sub_explicit(rw_word(rw), 1, memory_order_release);
}

void
vm_rw_enter_write(struct vm_rwlock *rw)
{
	lock_enter_check(rw, rw->rw_name);
	if (!rw_try(rw, 0, -1)) {
		locks.hl_contended++;
		atomic_fetch_add(rw_waiting(rw), 1);
		while (!rw_try(rw, 0, -1))
			sched_yield();
		atomic_fetch_sub(rw_waiting(rw), 1);
	}
	locks.hl_write++;
	held_push(rw, HELD_WRITE);
}

void
vm_rw_exit_write(struct vm_rwlock *rw)
{
	held_pop(rw, HELD_WRITE, rw->rw_name);
	atomic_store_explicit(rw_word(rw), 0, memory_order_release);
}

bool
vm_rw_held(const struct vm_rwlock *rw)
{
	return held_find(rw) != NULL;
}

bool
vm_rw_held_write(const struct vm_rwlock *rw)
{
	const struct held *h = held_find(rw);

	return h != NULL && h->h_kind == HELD_WRITE;
}

const struct host_locks *
host_locks(void)
{
	return &locks;
}

/* Drop the newest lock, of whatever kind it is. */
static void
held_drop(void)
{
	struct held h = held[locks.hl_held - 1];

	if (h.h_kind == HELD_MTX)
		vm_mtx_exit(h.h_lock);
	else if (h.h_kind == HELD_READ)
		vm_rw_exit_read(h.h_lock);
	else
		vm_rw_exit_write(h.h_lock);
}

/*
 * Sleep, wakeup, interrupts, time.  A sleeper just looks again a little
 * later: the interface allows that, and no wakeup can be lost.
 */
bool
vm_host_sleep(const void *chan)
{
	static const struct timespec while_ = { 0, 100 * 1000 };

	nsleeps++;
	if (locks.hl_held != 0 || in_intr)
		vm_host_panic("vm_host_sleep(%p): %u locks held%s", chan,
		    locks.hl_held, in_intr ? ", in an interrupt" : "");
	if (!may_sleep)
		return false;
	if (sleep_fn != NULL)
		return sleep_fn(chan);
	nanosleep(&while_, NULL);
	return true;
}

void
vm_host_wakeup(const void *chan)
{
	nwakeups++;
}

void
host_set_sleep(bool may, bool (*fn)(const void *))
{
	sleep_fn = fn;
	may_sleep = may;
}

uint64_t
host_sleeps(void)
{
	return nsleeps;
}

uint64_t
host_wakeups(void)
{
	return nwakeups;
}

/*
 * Other threads cannot be stopped: there must not be any.  (Each has a
 * directory there; __libc_single_threaded stays false when they have gone.)
 */
bool
vm_host_stop_cpus(void)
{
	struct stat st;

	return __libc_single_threaded ||
	    (stat("/proc/self/task", &st) == 0 && st.st_nlink == 2 + 1);
}

void
vm_host_start_cpus(void)
{
}

bool
vm_host_intr(void)
{
	return in_intr;
}

void
host_set_intr(bool on)
{
	in_intr = on;
}

unsigned long
vm_host_ticks(void)
{
	return ticks;
}

void
host_advance(unsigned long n)
{
	ticks += n;
}

/*
 * The stack, by its unwinding tables: a program need not keep frame pointers
 * for us.
 */
struct callers {
	vaddr_t		*c_pc;
	unsigned	 c_n, c_max;
	unsigned	 c_skip;
};

static _Unwind_Reason_Code
backtrace_step(struct _Unwind_Context *ctx, void *arg)
{
	struct callers *c = arg;
	vaddr_t pc = _Unwind_GetIP(ctx);

	if (pc == 0)
		return _URC_END_OF_STACK;
	if (c->c_skip > 0)
		c->c_skip--;
	else if (c->c_n < c->c_max)
		c->c_pc[c->c_n++] = pc;
	return c->c_n < c->c_max ? _URC_NO_REASON : _URC_END_OF_STACK;
}

/* The chain begins in this very function, and goes on in our caller. */
unsigned __attribute__((__noinline__))
vm_host_backtrace(vaddr_t *pc, unsigned n)
{
	struct callers c = { pc, 0, n, 2 };

	if (n > 0)
		_Unwind_Backtrace(backtrace_step, &c);
	return c.c_n;
}

/* addr2line knows more: a program's own symbols are not for itself. */
void
vm_host_symbol(vaddr_t pc, char *buf, size_t size)
{
	k_snprintf(buf, size, "%#lx", pc);
}

/* This thread's stack, from its caller's frame outwards. */
static void __attribute__((__noinline__))
root_stack(void (*fn)(vaddr_t start, vaddr_t end, void *arg), void *arg)
{
	vaddr_t sp = (vaddr_t)__builtin_frame_address(0);
	pthread_attr_t attr;
	void *base;
	size_t size;

	if (pthread_getattr_np(pthread_self(), &attr) != 0)
		return;
	if (pthread_attr_getstack(&attr, &base, &size) == 0)
		fn(sp, (vaddr_t)base + size, arg);
	pthread_attr_destroy(&attr);
}

void
vm_host_roots(void (*fn)(vaddr_t start, vaddr_t end, void *arg), void *arg)
{
	const vaddr_t mask = sizeof(void *) - 1;

	if (roots_end != 0) {
		fn(roots_start, roots_end, arg);
		return;
	}
	__builtin_unwind_init();	/* the registers, onto the stack */
	fn(((vaddr_t)__data_start + mask) & ~mask, (vaddr_t)_end & ~mask, arg);
	root_stack(fn, arg);
}

void
host_set_roots(const void *start, const void *end)
{
	roots_start = (vaddr_t)start;
	roots_end = (vaddr_t)end;
}

unsigned long
vm_host_random(void)
{
	unsigned long x;

	if (getrandom(&x, sizeof(x), 0) != (ssize_t)sizeof(x))
		vm_host_panic("vm_host_random: the host has none");
	return x;
}

/*
 * Log and panic.
 */
void
vm_host_log(const char *fmt, ...)
{
	char line[MAXLINE];
	va_list ap;

	va_start(ap, fmt);
	k_vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (getenv("HOST_LOG") != NULL)
		fprintf(stderr, "%s\n", line);
	nlogs++;
	k_strlcpy(log_lines[log_next++ % HOST_NLOGS], line, MAXLINE);
}

const char *
host_log_line(unsigned back)
{
	return back >= HOST_NLOGS ? "" :
	    log_lines[(log_next - 1 - back) % HOST_NLOGS];
}

const char *
host_log_last(void)
{
	return host_log_line(0);
}

uint64_t
host_log_count(void)
{
	return nlogs;
}

void
vm_host_panic(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	k_vsnprintf(panic_line, sizeof(panic_line), fmt, ap);
	va_end(ap);
	if (catcher != NULL)
		longjmp(*catcher, 1);
	fprintf(stderr, "panic: %s\n", panic_line);
	abort();
}

const char *
host_panic_of(void (*fn)(void *), void *arg, unsigned *nlocks)
{
	jmp_buf here, *volatile outer = catcher;
	const unsigned before = locks.hl_held;
	const char *volatile said = NULL;

	catcher = &here;
	if (setjmp(here) == 0)
		fn(arg);
	else
		said = panic_line;
	catcher = outer;
	if (nlocks != NULL)
		*nlocks = locks.hl_held - before;
	while (said != NULL && locks.hl_held > before)
		held_drop();
	if (said != NULL)
		host_cpu_unwind();
	return said;
}
