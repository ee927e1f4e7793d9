/*
 * All that sys/vm asks of the kernel around it.  sys/kern/vm_host.c answers
 * for Holm, test/host/host.c for a user program, and whoever lifts sys/vm
 * into another kernel writes one more.  What is asked of the *machine*
 * stands in pmap.h, and what is inline there in machine/vmcpu.h (the CPU to
 * oneself) and machine/kextract.h (pmap_kextract).
 *
 *	function		why nothing less will do
 *	vm_rw_*			many may look a region up at once, one changes
 *				the map; held for O(log n) steps, never asleep
 *	vm_mtx_*		the frames, the entry store, each cache; also
 *				taken from interrupts, so it masks them
 *	vm_host_stop/start_cpus	two slabs are merged behind their clients' backs
 *	vm_host_sleep/wakeup	KM_SLEEP waits for memory
 *	vm_host_intr		growing and returning are not for interrupts
 *	vm_host_ticks		reaping works by time
 *	vm_host_backtrace	who allocated, who freed: the audit trail;
 *	vm_host_symbol		with names, where there are any
 *	vm_host_roots		leaks: what nothing points to from there
 *	vm_host_random		links through freed memory are encoded with it
 *	vm_host_log		one line for a person
 *	vm_host_panic		a caller's corruption; does not return
 *
 * Locks nest only in the order that vm.h gives.  None is recursive.
 */
#ifndef VM_VM_HOST_H
#define VM_VM_HOST_H

#include <stdarg.h>
#include <stdbool.h>

#include <libkern/libkern.h>
#include <machine/vmparam.h>

/* Room for whatever the kernel around us calls a lock. */
struct vm_rwlock {
	void		*rw_word[4];
	const char	*rw_name;
};
struct vm_mtx {
	void		*mtx_word[4];
	const char	*mtx_name;
};

/* name is kept, not copied.  A lock that is all zero is not yet one. */
void	vm_rw_init(struct vm_rwlock *, const char *name);
void	vm_rw_enter_read(struct vm_rwlock *);
void	vm_rw_exit_read(struct vm_rwlock *);
void	vm_rw_enter_write(struct vm_rwlock *);
void	vm_rw_exit_write(struct vm_rwlock *);
/* For assertions only: may the caller read / write what the lock guards? */
bool	vm_rw_held(const struct vm_rwlock *);
bool	vm_rw_held_write(const struct vm_rwlock *);

/* A mutex masks interrupts on its CPU for as long as it is held. */
void	vm_mtx_init(struct vm_mtx *, const char *name);
void	vm_mtx_enter(struct vm_mtx *);
bool	vm_mtx_try(struct vm_mtx *);	/* false: taken, and not by us now */
void	vm_mtx_exit(struct vm_mtx *);
bool	vm_mtx_held(const struct vm_mtx *);

/*
 * Sleep until vm_host_wakeup(chan), or until something else happened that
 * is worth another look (the caller loops).
 * => no lock is held; not from an interrupt
 * => a wakeup may come after the caller last looked and before it sleeps, and
 *    is missed then: never sleep longer than a few ticks
 * => false when sleeping is impossible (early boot, a single thread that
 *    nobody could wake): the caller then fails instead
 */
bool	vm_host_sleep(const void *chan);
void	vm_host_wakeup(const void *chan);

/*
 * No other CPU runs between the two, and none was stopped within sys/vm (after
 * FreeBSD's stop_cpus, but at a safe point, as Linux's stop_machine).  With one
 * CPU there is nothing to do.
 * => no mutex is held; not from an interrupt; does not nest
 * => false: it cannot be done, and all run as before
 */
bool	vm_host_stop_cpus(void);
void	vm_host_start_cpus(void);

bool	vm_host_intr(void);		/* are we in an interrupt? */
unsigned long vm_host_ticks(void);	/* 100 a second, wraps */

/*
 * The debugging of caches (kmem_debug.h) asks for these; without it only
 * vm_host_random is called, once at boot.  A kernel that has nothing to say
 * to one of the first three returns 0, writes "" or calls nobody.
 */

/*
 * The call chain: pc[0] lies in the function that called our caller, and so
 * on outwards.  => how many there were, at most n
 */
unsigned vm_host_backtrace(vaddr_t *pc, unsigned n);
/* The name of the code at pc, "function+0x12", or its number in hex. */
void	vm_host_symbol(vaddr_t pc, char *buf, size_t size);
/*
 * Call fn for each range [start, end), aligned to pointers, outside of what
 * kmem_alloc gave, where a pointer may be kept: static data, stacks that are
 * in use and registers.  (sys/vm's own variables need not be among them: they
 * know where regions and slabs begin, which hides a leak here and there.)
 */
void	vm_host_roots(void (*fn)(vaddr_t start, vaddr_t end, void *arg),
	    void *arg);
/* A number that nobody guesses; as good as the machine can. */
unsigned long vm_host_random(void);

void	vm_host_log(const char *fmt, ...) __printflike(1, 2);
void	vm_host_panic(const char *fmt, ...) __printflike(1, 2) __dead2;

/* A truth of our own.  Callers' mistakes are panics with their arguments. */
#define KASSERT(e) \
	((e) ? (void)0 : vm_host_panic("assertion \"%s\" failed: %s:%d (%s)", \
	    #e, __FILE__, __LINE__, __func__))

#endif
