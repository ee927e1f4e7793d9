/*
 * The memory of a flat host machine, where to write a page table costs what
 * it costs a machine: some nanoseconds, and no call of the host's.
 *
 * 1. What it is
 *
 * All of the kernel's addresses are readable and writable memory from boot
 * on, anonymous, of which the host gives a page when it is touched first.  A
 * frame that is entered somewhere, and in which there is nothing worth
 * keeping, makes its home there: what is in it is what is in that page.  So
 * to enter and to remove are records, and nobody faults.
 *
 *	frame	lost	whatever is where it is entered next
 *		zero	the same, zeroed then
 *		home	the kernel's page v, whose guest it is
 *		phys	its own page of the memfd (host_mem.c)
 *
 * That holds for frames that come from vm_phys, go behind one page, and come
 * back by pmap_kremove, or because another is entered there; both may lose
 * what is in them.  Any other moves to
 * its page of the memfd, and is shown from there, by mmap, wherever it is
 * entered:
 *
 *	- one that is entered at a second address;
 *	- one that was removed by pmap_remove, which keeps what is in it, once
 *	  another is entered where it is at home;
 *	- one that is entered, or protected, otherwise than read-write;
 *	- one that somebody looks at by host_phys before it is shown.
 *
 * 2. Invariants (flat_check)
 *
 *  F1	guest[v] is f exactly where where[f] is v.
 *  F2	A page that shows the memfd has no guest.
 *  F3	What the kernel's page tables show is at home there, or in the memfd.
 *  F4	The pages that were touched add up.
 *
 * 3. Moving what others use
 *
 * A frame that moves while it is shown is written to by others: the page is
 * made read-only, copied, and the memfd's mapped over it.  Who writes in
 * between gets a SIGSEGV, waits in its handler until that is done, and tries
 * again.
 *
 * 4. Giving back
 *
 * The host's memory stays behind pages that were hidden, for the next guest.
 * When there are more than 1/STALE of the machine's frames, all of it goes
 * back, and so it does when kmem reclaims (host_boot.c), as Linux purges
 * addresses of vmalloc lazily.
 *
 * 5. What it leaves out
 *
 * Who touches a page that is not mapped reads and writes what lies there,
 * or what will; guard pages guard nothing; what was freed can be read.  No
 * TLB is flushed, nor are events recorded (host_event).  So it is for programs
 * that have no such mistakes, and for measuring.
 *
 * 6. Locking
 *
 * One mutex, inside of pmap's, over all that is here.
 */
#define _GNU_SOURCE
#include <sys/mman.h>

#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <vm/pmap.h>
#include <vm/vm_host.h>

#include "host_flat.h"

/* Of 512 MB it is the 32 MB that Linux allows vmalloc on one CPU. */
#define STALE		16

/* Where a frame's contents are: the kernel's page, counted from 1, or */
#define LOST		0u
#define ZERO		UINT32_MAX
#define PHYS		(UINT32_MAX - 1)

static struct vm_mtx lock;
static pfn_t nframes;
static char *phys;
static uint32_t *where;			/* by frame */
static uint32_t guest[HOST_NKPTE + 1];	/* by page; 0: nobody */
static bool memfd_there[HOST_NKPTE + 1]; /* the page shows the memfd */
static bool touched[HOST_NKPTE + 1];	/* the host has given a page */
static unsigned long ntouched, nguests;

/* The page that is being moved, or 0, and how many have been. */
static volatile vaddr_t moving;
static volatile unsigned long nmoved;
static struct sigaction before;

static uint32_t
page_of(vaddr_t va)
{
	return (uint32_t)atop(va - VM_MIN_KERNEL_ADDRESS) + 1;
}

static vaddr_t
va_of(uint32_t v)
{
	return VM_MIN_KERNEL_ADDRESS + ptoa((vsize_t)v - 1);
}

static paddr_t
frame_of(uint32_t v)
{
	paddr_t pa;

	return pmap_kextract(va_of(v), &pa) ? pa >> PAGE_SHIFT : 0;
}

static char *
phys_of(paddr_t f)
{
	return phys + (f << PAGE_SHIFT);
}

static void
touched_set(uint32_t v, bool on)
{
	ntouched += on - touched[v];
	touched[v] = on;
}

static void
guest_set(uint32_t v, paddr_t f)
{
	nguests += (f != 0) - (guest[v] != 0);
	guest[v] = (uint32_t)f;
}

/*
 * Moving.
 */

/* The page cannot be written: wait, if that is why. */
static void
wait_moved(int sig, siginfo_t *si, void *context)
{
	static __thread unsigned long seen;
	const vaddr_t va = trunc_page((vaddr_t)si->si_addr);

	if (va >= VM_MIN_KERNEL_ADDRESS && va < VM_MAX_KERNEL_ADDRESS) {
		if (moving == va) {
			while (moving == va)
				sched_yield();
			return;
		}
		/* It was over before we came to look; but once only. */
		if (seen != nmoved) {
			seen = nmoved;
			return;
		}
	}
	sigaction(SIGSEGV, &before, NULL);	/* and fault again */
}

static void
catch_faults(void)
{
	struct sigaction sa = { .sa_flags = SA_SIGINFO | SA_NODEFER,
	    .sa_sigaction = wait_moved };

	if (nmoved++ != 0)
		return;
	if (sigaction(SIGSEGV, &sa, &before) != 0)
		vm_host_panic("host_flat: no handler for SIGSEGV");
}

/* Copy what others may be reading, and have them read the copy. */
static void
move_shown_locked(uint32_t v, paddr_t f)
{
	const vaddr_t va = va_of(v);

	catch_faults();
	moving = va;
	host_call_protect(va, va + PAGE_SIZE, VM_PROT_READ);
	memcpy(phys_of(f), (void *)va, PAGE_SIZE);
	host_call_map(va, va + PAGE_SIZE, f << PAGE_SHIFT, VM_PROT_RW);
	moving = 0;
	memfd_there[v] = true;
	touched_set(v, false);
}

/* To the frame's own page of the memfd. */
static void
move_locked(paddr_t f)
{
	const uint32_t v = where[f];

	if (v == PHYS)
		return;
	where[f] = PHYS;
	if (v == ZERO)
		memset(phys_of(f), 0, PAGE_SIZE);
	if (v == ZERO || v == LOST)
		return;
	guest_set(v, 0);
	if (frame_of(v) == f)
		move_shown_locked(v, f);
	else
		memcpy(phys_of(f), (void *)va_of(v), PAGE_SIZE);
}

/* The page shows the memfd no more. */
static void
leave_memfd_locked(uint32_t v)
{
	if (!memfd_there[v])
		return;
	host_call_reserve(va_of(v), va_of(v) + PAGE_SIZE, PROT_READ |
	    PROT_WRITE, MAP_FIXED);
	memfd_there[v] = false;
}

static void
lost_locked(paddr_t f)
{
	const uint32_t v = where[f];

	if (v == PHYS)
		host_call_advise(phys_of(f), PAGE_SIZE, MADV_REMOVE);
	else if (v != LOST && v != ZERO)
		guest_set(v, 0);
	where[f] = LOST;
}

/* Another frame comes: the guest, if there is one, moves or is lost. */
static void
evict_locked(uint32_t v)
{
	const paddr_t f = guest[v];

	if (f == 0)
		return;
	if (frame_of(v) == f && host_shown(f << PAGE_SHIFT) == 1)
		lost_locked(f);
	else
		move_locked(f);
}

/*
 * Entering.
 */
static void
settle_locked(uint32_t v, paddr_t f)
{
	evict_locked(v);
	leave_memfd_locked(v);
	if (where[f] == ZERO)
		memset((void *)va_of(v), 0, PAGE_SIZE);
	where[f] = v;
	guest_set(v, f);
	touched_set(v, true);
}

static void
show_locked(uint32_t v, paddr_t f, vm_prot_t prot)
{
	const bool rw = (prot & VM_PROT_RW) == VM_PROT_RW;

	if (rw && where[f] == v)
		return;				/* it never left */
	if (rw && (where[f] == LOST || where[f] == ZERO)) {
		settle_locked(v, f);
		return;
	}
	move_locked(f);
	evict_locked(v);
	host_call_map(va_of(v), va_of(v) + PAGE_SIZE, f << PAGE_SHIFT, prot);
	memfd_there[v] = true;
	touched_set(v, false);
}

void
flat_show(vaddr_t start, vaddr_t end, paddr_t pa, vm_prot_t prot)
{
	vaddr_t va;

	vm_mtx_enter(&lock);
	for (va = start; va != end; va += PAGE_SIZE, pa += PAGE_SIZE)
		show_locked(page_of(va), pa >> PAGE_SHIFT, prot);
	vm_mtx_exit(&lock);
}

void
flat_hide(vaddr_t start, vaddr_t end)
{
	uint32_t v;

	vm_mtx_enter(&lock);
	for (v = page_of(start); v != page_of(end); v++)
		leave_memfd_locked(v);
	vm_mtx_exit(&lock);
}

/* What may be anything but read and written has to be mapped. */
void
flat_protect(vaddr_t start, vaddr_t end, vm_prot_t prot)
{
	uint32_t v;

	vm_mtx_enter(&lock);
	for (v = page_of(start); v != page_of(end); v++)
		if (guest[v] != 0 && (prot & VM_PROT_RW) != VM_PROT_RW)
			move_locked(guest[v]);
	for (v = page_of(start); v != page_of(end); v++)
		if (memfd_there[v])
			host_call_protect(va_of(v), va_of(v) + PAGE_SIZE,
			    prot);
	vm_mtx_exit(&lock);
}

/*
 * Frames that nobody shows.
 */
static void
purge_locked(void)
{
	uint32_t v, from;

	for (v = 1; v <= HOST_NKPTE; v++) {
		for (from = v; v <= HOST_NKPTE && touched[v] &&
		    guest[v] == 0; v++)
			touched_set(v, false);
		if (v != from)
			host_call_advise((void *)va_of(from),
			    ptoa((size_t)(v - from)), MADV_DONTNEED);
	}
}

void
host_purge(void)
{
	if (!host_mem_flat())
		return;
	vm_mtx_enter(&lock);
	purge_locked();
	vm_mtx_exit(&lock);
}

void
flat_lost(const paddr_t *pa, unsigned n)
{
	unsigned i;

	vm_mtx_enter(&lock);
	for (i = 0; i < n; i++)
		if (host_shown(pa[i]) == 0)
			lost_locked(pa[i] >> PAGE_SHIFT);
	if (ntouched - nguests > nframes / STALE)
		purge_locked();
	vm_mtx_exit(&lock);
}

void
flat_zero(paddr_t pa)
{
	vm_mtx_enter(&lock);
	lost_locked(pa >> PAGE_SHIFT);
	where[pa >> PAGE_SHIFT] = ZERO;
	vm_mtx_exit(&lock);
}

void *
flat_phys(paddr_t pa)
{
	const paddr_t f = pa >> PAGE_SHIFT;
	const vaddr_t off = pa & PAGE_MASK;
	void *at;

	vm_mtx_enter(&lock);
	if (where[f] == LOST || where[f] == ZERO)
		move_locked(f);
	at = where[f] == PHYS ? phys_of(f) + off :
	    (char *)va_of(where[f]) + off;
	vm_mtx_exit(&lock);
	return at;
}

void
flat_bootstrap(pfn_t n, char *view)
{
	vm_mtx_init(&lock, "flat memory");
	nframes = n;
	phys = view;
	where = calloc(n, sizeof(*where));
	if (where == NULL)
		vm_host_panic("host_flat: no memory for %u frames", n);
	/* As on i386, and as with a test machine: 4 KB at a time. */
	host_call_advise((void *)VM_MIN_KERNEL_ADDRESS,
	    VM_MAX_KERNEL_ADDRESS - VM_MIN_KERNEL_ADDRESS, MADV_NOHUGEPAGE);
}

/*
 * For tests.
 */
unsigned long
host_touched(void)
{
	return ntouched;
}

static const char *
check_page(uint32_t v)
{
	const paddr_t f = frame_of(v);

	if (guest[v] != 0 && (guest[v] >= nframes || where[guest[v]] != v))
		return "F1: a guest is at home elsewhere";
	if (guest[v] != 0 && (memfd_there[v] || !touched[v]))
		return "F2: a page that shows the memfd has a guest";
	if (f != 0 && f != guest[v] && (where[f] != PHYS || !memfd_there[v]))
		return "F3: a page shows a frame that is not there";
	return NULL;
}

const char *
host_flat_check(void)
{
	unsigned long n = 0, nv = 0, nf = 0;
	const char *bad;
	uint32_t v;
	pfn_t f;

	for (v = 1; v <= HOST_NKPTE; v++) {
		bad = check_page(v);
		if (bad != NULL)
			return bad;
		n += touched[v];
		nv += guest[v] != 0;
	}
	for (f = 0; f < nframes; f++)
		nf += where[f] != LOST && where[f] != ZERO && where[f] != PHYS;
	if (nf != nv)
		return "F1: a frame is at home where another is";
	if (n != ntouched || nv != nguests)
		return "F4: the pages touched do not add up";
	return NULL;
}
