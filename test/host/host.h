/*
 * The host test machine: a user program in the place of Holm's hardware and
 * of the kernel around sys/vm.  host_pmap.c is the machine (vm/pmap.h),
 * host.c the kernel (vm/vm_host.h); this is what only tests, and programs
 * that link build/host64/libvm.a or build/host32/libvm.a, may see.
 *
 * A first program:
 *
 *	#include <vm/kmalloc.h>
 *	#include "host.h"
 *
 *	int
 *	main(void)
 *	{
 *		host_boot(16384);		// 64 MB of frames
 *		char *p = kmalloc(100, M_TEMP, KM_SLEEP);
 *		kfree(p, M_TEMP);
 *	}
 *
 * Physical memory is a memfd, and the kernel's windows are real: what is
 * kmem_alloc'd can be written and read, what is freed faults.  (Of a flat
 * machine it does not: host_set_flat.)
 */
#ifndef TEST_HOST_HOST_H
#define TEST_HOST_HOST_H

#include <stdbool.h>
#include <stdint.h>

#include <vm/vm_phys.h>

/*
 * Make a machine of nframes frames and bring sys/vm up on it, as the kernel
 * does: vm_phys, kernel_map with its image, stack and guards, caches, heap.
 * => once per process: Check's fork mode gives every test a machine of its own
 * => frame 0 stays reserved, as on a PC
 * => dies with a message when the host has no room for it
 * => a process that forks after it shares the memory, but not the tables
 */
void	host_boot(pfn_t nframes);

/*
 * Make it a flat machine: one on which to map and unmap costs next to nothing,
 * as on a real one, and no call of the host's mmap.  Whoever touches what is
 * not mapped does not fault there, and no events are recorded.
 * => before host_boot
 */
void	host_set_flat(bool);

/*
 * Of a flat machine: pages of the host's memory behind the kernel's addresses,
 * in use or not; and give those that are not back, as happens by itself when
 * they are many, and when kmem reclaims.
 */
unsigned long host_touched(void);
void	host_purge(void);

/* Only the machine: physical memory and windows, nothing of sys/vm. */
void	host_pmap_bootstrap(pfn_t nframes);

/* Where the host sees the frame at pa; it must exist. */
void	*host_phys(paddr_t pa);

/*
 * Run fn(arg) and return what it panicked with, or NULL when it returned.
 * => the text is good until the next panic of the same thread
 * => locks that fn had taken and not dropped are dropped, and counted in
 *    *nlocks where that is not NULL
 */
const char *host_panic_of(void (*fn)(void *), void *arg, unsigned *nlocks);

/* Leave the CPU, if this thread keeps one to itself (machine/vmcpu.h). */
void	host_cpu_unwind(void);

/* What this thread did with locks, since it began. */
struct host_locks {
	uint64_t	hl_mtx;		/* mutexes taken */
	uint64_t	hl_read;	/* map locks taken to read, */
	uint64_t	hl_write;	/* and to write */
	uint64_t	hl_contended;	/* of all these, had to wait */
	unsigned	hl_held;	/* held at this moment */
};
const struct host_locks *host_locks(void);

/* This thread is in an interrupt, from now on or no longer. */
void	host_set_intr(bool);

/* Time passes only so: 100 ticks a second. */
void	host_advance(unsigned long ticks);

/*
 * May a thread sleep?  Until it may, vm_host_sleep() fails at once, as in a
 * machine with one thread.  With a function, sleeping is calling it: it
 * returns what vm_host_sleep() is to return, and may free something.
 */
void	host_set_sleep(bool may, bool (*fn)(const void *chan));
uint64_t host_sleeps(void);	/* calls of vm_host_sleep() */
uint64_t host_wakeups(void);

/*
 * vm_host_log: this thread's last line, the one so many before it (the last
 * HOST_NLOGS are kept), and how many there were; HOST_LOG=1 prints them.
 */
#define HOST_NLOGS	64
const char *host_log_last(void);
const char *host_log_line(unsigned back);
uint64_t host_log_count(void);

/*
 * Where vm_host_roots() looks for pointers, in this thread: [start, end),
 * and nowhere else.  NULL, NULL: the program's data and the thread's stack.
 */
void	host_set_roots(const void *start, const void *end);

/*
 * What was done to page tables, newest last, the last HOST_NEVENTS of it.
 * host_pmap.c itself panics when a frame that is entered, or still shown
 * while it is removed, is a free one, and when one that is zeroed, copied to
 * or made a page table is shown anywhere: frames are given back after the
 * mapping is gone, never before.
 */
#define HOST_NEVENTS	64

enum host_event_kind {
	HOST_ENTER,		/* [sva, eva) was made to show pa */
	HOST_REMOVE,		/* [sva, eva) shows nothing any more */
	HOST_PROTECT,
	HOST_FLUSH,		/* no TLB holds [sva, eva) as it was before */
	HOST_ACTIVATE,
	HOST_PTP_ALLOC,		/* pa is a page table for [sva, eva) now */
	HOST_PTP_FREE,
	HOST_ZERO,		/* the frame at pa was zeroed */
	HOST_COPY,
};

struct host_event {
	enum host_event_kind he_kind;
	struct pmap	*he_pmap;
	vaddr_t		 he_sva, he_eva;
	paddr_t		 he_pa;
	pfn_t		 he_nfree;	/* free frames at that moment */
};

uint64_t host_nevents(void);		/* ever */
/* The i-th event, counted from 0; NULL: not yet, or forgotten. */
const struct host_event *host_event(uint64_t i);

/*
 * The CPU's part: read, or write, va in a pmap (VM_PROT_READ, VM_PROT_RW).
 * => whether that may be; if it may, the page was used (pmap_test_bits)
 * => what the test does itself to memory of the kernel's leaves no trace
 */
bool	host_access(struct pmap *, vaddr_t va, vm_prot_t how);

/* Pages that a pmap shows, page tables that it has, calls of the host's
 * mmap, mprotect and madvise so far. */
unsigned long host_pmap_resident(const struct pmap *);
unsigned long host_pmap_ptps(const struct pmap *);
uint64_t host_syscalls(void);

/*
 * NULL, or what is wrong with a pmap's records, or with where the memory of a
 * flat machine is (a static string).
 */
const char *host_pmap_check(const struct pmap *);
const char *host_flat_check(void);

#endif
