/*
 * The machine, played by a user program: vm/pmap.h.
 *
 * What the kernel's pages show the process sees, by calls of the host's
 * (host_mem.c) or without (host_flat.c); of a user pmap there are only
 * records.
 *
 * Those records are page tables: one for each 4 MB in use, in a hash by
 * address, and each costs a frame of the machine (VM_PAGE_PTP), as on i386:
 * the kernel's are kept for ever, a user's are freed when they are empty.
 *
 * What is mapped into the process plays the TLB, the records the tables: who
 * takes a page away first marks its record stale, then flushes (the range is
 * reserved anew), and only then counts its frame as shown no more.  Whether
 * a page was used nobody here can see: host_access() is the CPU's part.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/single_threaded.h>

#include <vm/pmap.h>
#include <vm/vm_fail.h>
#include <vm/vm_host.h>
#include <vm/vm_phys.h>

#include "host_mem.h"

#define PTP_SHIFT	22		/* a page table covers 4 MB */
#define PTP_SIZE	(1UL << PTP_SHIFT)
#define PTP_PAGES	(PTP_SIZE >> PAGE_SHIFT)
#define PTP_HASH	1024		/* the 4 GiB of i386 without a clash */

struct ptp {
	struct ptp	*pt_next;	/* in its bucket */
	vaddr_t		 pt_base;
	paddr_t		 pt_frame;	/* what it costs */
	unsigned	 pt_count;	/* pages mapped */
	paddr_t		*pt_pte;	/* pa | prot | PTE_VALID */
	paddr_t		 pt_own[];	/* a user's are here */
};

/* An entry: the frame, VM_PROT_*, PMAP_UNCACHED, PMAP_WRITETHRU, and */
#define PTE_VALID	0x800UL
#define PTE_STALE	0x400UL		/* gone, but not yet flushed */
#define PTE_BITS	4		/* PMAP_ACCESSED, _MODIFIED, shifted */
#define PTE_FRAME	(~(paddr_t)PAGE_MASK)

struct pmap {
	struct vm_mtx	 pm_lock;
	paddr_t		 pm_dir;	/* a user's page directory */
	unsigned long	 pm_resident, pm_nptps;
	struct ptp	*pm_ptp[PTP_HASH];
};

paddr_t host_kpte[HOST_NKPTE];		/* the kernel's, by address */
static struct pmap kernel_pmap_store;
struct pmap *const kernel_pmap = &kernel_pmap_store;

static const struct pmap *active = &kernel_pmap_store;
static pfn_t nframes;
static bool flat;		/* host_set_flat: nothing is recorded */
static _Atomic uint16_t *shown;	/* by frame: pages that show it */
static struct vm_mtx events_lock;
static struct host_event events[HOST_NEVENTS];
static uint64_t nevents;

static void
event(enum host_event_kind kind, struct pmap *pm, vaddr_t sva, vaddr_t eva,
    paddr_t pa)
{
	struct host_event *e;

	if (flat)
		return;
	vm_mtx_enter(&events_lock);
	e = &events[nevents++ % HOST_NEVENTS];
	e->he_kind = kind;
	e->he_pmap = pm;
	e->he_sva = sva;
	e->he_eva = eva;
	e->he_pa = pa;
	e->he_nfree = vm_phys_nfree();
	vm_mtx_exit(&events_lock);
}

uint64_t
host_nevents(void)
{
	return nevents;
}

const struct host_event *
host_event(uint64_t i)
{
	if (i >= nevents || nevents - i > HOST_NEVENTS)
		return NULL;
	return &events[i % HOST_NEVENTS];
}

void
host_pmap_bootstrap(pfn_t n)
{
	vm_mtx_init(&events_lock, "host events");
	vm_mtx_init(&kernel_pmap->pm_lock, "kernel pmap");
	host_mem_bootstrap(n);
	flat = host_mem_flat();
	nframes = n;
	shown = calloc(n, sizeof(*shown));
	if (shown == NULL)
		vm_host_panic("host_pmap: no memory for %u counts", n);
}

/*
 * Page tables.
 */
static struct ptp **
ptp_bucket(struct pmap *pm, vaddr_t va)
{
	return &pm->pm_ptp[(va >> PTP_SHIFT) % PTP_HASH];
}

/* The page table for va, or NULL. */
static struct ptp *
ptp_find(const struct pmap *pm, vaddr_t va)
{
	struct ptp *pt = pm->pm_ptp[(va >> PTP_SHIFT) % PTP_HASH];

	while (pt != NULL && pt->pt_base != (va & ~(PTP_SIZE - 1)))
		pt = pt->pt_next;
	return pt;
}

static paddr_t *
pte_of(struct ptp *pt, vaddr_t va)
{
	return &pt->pt_pte[(va & (PTP_SIZE - 1)) >> PAGE_SHIFT];
}

/* A page more, or less, shows the frame.  Each pmap has its own lock. */
static void
shown_add(paddr_t pa, int n)
{
	_Atomic uint16_t *s = &shown[pa >> PAGE_SHIFT];

	if (__libc_single_threaded)
		atomic_store_explicit(s, (uint16_t)(atomic_load_explicit(s,
		    memory_order_relaxed) + n), memory_order_relaxed);
	else
		atomic_fetch_add(s, (uint16_t)n);
}

unsigned
host_shown(paddr_t pa)
{
	return shown[pa >> PAGE_SHIFT];
}

/* For a frame that nobody shows any more. */
static void
check_hidden(const char *who, paddr_t pa)
{
	host_phys(pa);			/* it exists */
	if (shown[pa >> PAGE_SHIFT] != 0)
		vm_host_panic("%s: frame %#lx is still shown at %u addresses",
		    who, pa, shown[pa >> PAGE_SHIFT]);
}

/* A frame for a page table, zeroed; as every such request, it may fail. */
static int
ptp_frame(paddr_t *pa)
{
	if (vm_fail(VM_FAIL_PTP) || vm_phys_alloc(VM_PAGE_PTP, pa) != 0)
		return ENOMEM;
	check_hidden("page table", *pa);
	memset(host_phys(*pa), 0, PAGE_SIZE);
	return 0;
}

static struct ptp *
ptp_make(struct pmap *pm, vaddr_t va)
{
	struct ptp *pt, **link = ptp_bucket(pm, va);
	paddr_t frame;

	if (ptp_frame(&frame) != 0)
		return NULL;
	pt = calloc(1, sizeof(*pt) + (pm == kernel_pmap ? 0 :
	    PTP_PAGES * sizeof(paddr_t)));
	if (pt == NULL)
		vm_host_panic("host_pmap: no memory for a page table");
	pt->pt_base = va & ~(PTP_SIZE - 1);
	pt->pt_pte = pm != kernel_pmap ? pt->pt_own :
	    &host_kpte[atop(pt->pt_base - VM_MIN_KERNEL_ADDRESS)];
	pt->pt_frame = frame;
	pt->pt_next = *link;
	*link = pt;
	pm->pm_nptps++;
	event(HOST_PTP_ALLOC, pm, pt->pt_base, pt->pt_base + PTP_SIZE, frame);
	return pt;
}

static void
ptp_free(struct pmap *pm, struct ptp *pt)
{
	struct ptp **link = ptp_bucket(pm, pt->pt_base);

	while (*link != pt)
		link = &(*link)->pt_next;
	*link = pt->pt_next;
	pm->pm_nptps--;
	event(HOST_PTP_FREE, pm, pt->pt_base, pt->pt_base + PTP_SIZE,
	    pt->pt_frame);
	vm_phys_free(pt->pt_frame);
	free(pt);
}

/*
 * Refuse what no caller may ask for: addresses that are not pages, not of
 * this pmap's half, and frames that are free.
 */
static void
check_range(const char *who, const struct pmap *pm, vaddr_t sva, vaddr_t eva)
{
	const bool kernel = pm == kernel_pmap;
	const vaddr_t lo = kernel ? VM_MIN_KERNEL_ADDRESS : VM_MIN_ADDRESS;
	const vaddr_t hi = kernel ? VM_MAX_KERNEL_ADDRESS : VM_MAX_ADDRESS;

	if (!page_aligned(sva) || !page_aligned(eva) || sva > eva ||
	    sva < lo || eva > hi)
		vm_host_panic("%s: [%#lx, %#lx) in the %s pmap", who, sva, eva,
		    kernel ? "kernel" : "user");
}

static void
check_frame(const char *who, vaddr_t va, paddr_t pa)
{
	const struct vm_page *pg;

	if (!page_aligned(pa) || pa >> PAGE_SHIFT >= nframes)
		vm_host_panic("%s: va %#lx shows frame %#lx of %u", who, va,
		    pa, nframes);
	pg = vm_phys_page(pa);
	if (pg != NULL && pg->pg_owner == VM_PAGE_FREE)
		vm_host_panic("%s: va %#lx shows frame %#lx, a free one", who,
		    va, pa);
}

static void
check_entry(const char *who, vaddr_t va, paddr_t pa, vm_prot_t prot)
{
	check_frame(who, va, pa);
	if ((prot & VM_PROT_READ) == 0)
		vm_host_panic("%s: va %#lx pa %#lx prot %#x", who, va, pa,
		    prot);
}

/*
 * Have va's entry show the frame.
 * => the lock is held; pt is its table; the kernel's page is mapped
 */
static void
enter_page(struct pmap *pm, struct ptp *pt, vaddr_t va, paddr_t pa,
    vm_prot_t prot)
{
	paddr_t *pte = pte_of(pt, va), old = *pte, gone = old & PTE_FRAME;

	shown_add(pa, 1);
	*pte = pa | prot | PTE_VALID;
	event(HOST_ENTER, pm, va, va + PAGE_SIZE, pa);
	if (old == 0) {
		pt->pt_count++;
		pm->pm_resident++;
		return;
	}
	event(HOST_FLUSH, pm, va, va + PAGE_SIZE, 0);
	check_frame("pmap_enter", va, old & PTE_FRAME);
	shown_add(old, -1);
	if (pm == kernel_pmap)
		host_mem_lost(&gone, 1);
}

static int
need_table(struct pmap *pm, vaddr_t va)
{
	return ptp_find(pm, va) != NULL || ptp_make(pm, va) != NULL ?
	    0 : ENOMEM;
}

int
pmap_enter(struct pmap *pm, vaddr_t va, paddr_t pa, vm_prot_t prot)
{
	int error;

	check_range(__func__, pm, va, va + PAGE_SIZE);
	check_entry(__func__, va, pa, prot);
	vm_mtx_enter(&pm->pm_lock);
	error = need_table(pm, va);
	if (error == 0 && pm == kernel_pmap)
		host_mem_show(va, va + PAGE_SIZE, pa, prot);
	if (error == 0)
		enter_page(pm, ptp_find(pm, va), va, pa, prot);
	vm_mtx_exit(&pm->pm_lock);
	return error;
}

/* The end of what one page table covers of [va, eva). */
static vaddr_t
ptp_end(vaddr_t va, vaddr_t eva)
{
	const vsize_t rest = PTP_SIZE - (va & (PTP_SIZE - 1));

	return eva - va < rest ? eva : va + rest;
}

/* Mark what is there in [sva, eva) as gone.  => how many pages */
static unsigned long
mark_stale(struct pmap *pm, vaddr_t sva, vaddr_t eva)
{
	unsigned long n = 0;
	struct ptp *pt;
	vaddr_t va, end;

	for (va = sva; va != eva; va = end) {
		end = ptp_end(va, eva);
		pt = ptp_find(pm, va);
		for (; pt != NULL && va != end; va += PAGE_SIZE) {
			paddr_t *pte = pte_of(pt, va);

			if (*pte == 0)
				continue;
			*pte = (*pte & PTE_FRAME) | PTE_STALE;
			n++;
		}
	}
	return n;
}

/*
 * [sva, eva) was flushed: what was stale shows its frame no more, and a
 * user's table that is left empty is freed.
 * => how many frames there were; they are in pa, in order, if it is not NULL
 */
static unsigned
forget_stale(struct pmap *pm, struct ptp *pt, vaddr_t sva, vaddr_t eva,
    paddr_t *pa)
{
	unsigned n = 0;
	paddr_t *pte;

	for (vaddr_t va = sva; va != eva; va += PAGE_SIZE) {
		pte = pte_of(pt, va);
		if ((*pte & PTE_STALE) == 0)
			continue;
		check_frame("pmap_remove", va, *pte & PTE_FRAME);
		shown_add(*pte, -1);
		if (pa != NULL)
			pa[n] = *pte & PTE_FRAME;
		n++;
		*pte = 0;
		pt->pt_count--;
		pm->pm_resident--;
	}
	if (pt->pt_count == 0 && pm != kernel_pmap)
		ptp_free(pm, pt);
	return n;
}

/* Unmap, flush, forget.  => the lock is held */
static unsigned
remove_locked(struct pmap *pm, vaddr_t sva, vaddr_t eva, paddr_t *pa)
{
	unsigned n = 0;
	struct ptp *pt;
	vaddr_t va, end;

	if (mark_stale(pm, sva, eva) == 0)
		return 0;
	event(HOST_REMOVE, pm, sva, eva, 0);
	if (pm == kernel_pmap)
		host_mem_hide(sva, eva);
	event(HOST_FLUSH, pm, sva, eva, 0);
	for (va = sva; va != eva; va = end) {
		end = ptp_end(va, eva);
		pt = ptp_find(pm, va);
		if (pt != NULL)
			n += forget_stale(pm, pt, va, end,
			    pa == NULL ? NULL : pa + n);
	}
	return n;
}

void
pmap_remove(struct pmap *pm, vaddr_t sva, vaddr_t eva)
{
	check_range(__func__, pm, sva, eva);
	vm_mtx_enter(&pm->pm_lock);
	remove_locked(pm, sva, eva, NULL);
	vm_mtx_exit(&pm->pm_lock);
}

/* n pages of the kernel from va on.  => where they end */
static vaddr_t
check_pages(const char *who, vaddr_t va, unsigned n)
{
	if (n > atop(VM_MAX_KERNEL_ADDRESS - VM_MIN_KERNEL_ADDRESS))
		vm_host_panic("%s(%#lx, %u pages)", who, va, n);
	check_range(who, kernel_pmap, va, va + ptoa(n));
	return va + ptoa(n);
}

static void
check_kenter(struct ptp *pt, vaddr_t va, paddr_t pa, vm_prot_t prot)
{
	const paddr_t old = *pte_of(pt, va);

	check_entry("pmap_kenter", va, pa, prot);
	if (old != 0)
		vm_host_panic("pmap_kenter(%#lx, %#lx, %#x): frame %#lx is "
		    "mapped there", va, pa, prot, old & PTE_FRAME);
}

/*
 * Enter what begins [va, eva), which one table covers, and lies in adjacent
 * frames: one call of the host.  => how many pages
 */
static unsigned
enter_run(struct ptp *pt, vaddr_t va, vaddr_t eva, const paddr_t *pa,
    vm_prot_t prot)
{
	unsigned i, n = 0;

	do {
		check_kenter(pt, va + ptoa(n), pa[n], prot);
		n++;
	} while (va + ptoa(n) != eva && pa[n] == pa[0] + ptoa(n));
	host_mem_show(va, va + ptoa(n), pa[0], prot);
	for (i = 0; i < n; i++)
		enter_page(kernel_pmap, pt, va + ptoa(i), pa[i], prot);
	return n;
}

/* The tables are there. */
static void
enter_runs(vaddr_t va, vaddr_t eva, const paddr_t *pa, vm_prot_t prot)
{
	struct ptp *pt;
	vaddr_t end;
	unsigned n;

	while (va != eva) {
		end = ptp_end(va, eva);
		for (pt = ptp_find(kernel_pmap, va); va != end; pa += n) {
			n = enter_run(pt, va, end, pa, prot);
			va += ptoa(n);
		}
	}
}

int
pmap_kenter(vaddr_t va, const paddr_t *pa, unsigned n, vm_prot_t prot)
{
	vaddr_t at, eva = check_pages(__func__, va, n);
	int error = 0;

	vm_mtx_enter(&kernel_pmap->pm_lock);
	for (at = va; at != eva && error == 0; at = ptp_end(at, eva))
		error = need_table(kernel_pmap, at);
	if (error == 0)
		enter_runs(va, eva, pa, prot);
	vm_mtx_exit(&kernel_pmap->pm_lock);
	return error;
}

unsigned
pmap_kremove(vaddr_t va, unsigned n, paddr_t *pa)
{
	vaddr_t eva = check_pages(__func__, va, n);
	unsigned got;

	vm_mtx_enter(&kernel_pmap->pm_lock);
	got = remove_locked(kernel_pmap, va, eva, pa);
	host_mem_lost(pa, got);
	vm_mtx_exit(&kernel_pmap->pm_lock);
	return got;
}

/* The end of the run of pages from va on that are, or are not, mapped. */
static vaddr_t
run_end(const struct pmap *pm, vaddr_t va, vaddr_t eva, bool *mapped)
{
	struct ptp *pt = ptp_find(pm, va);
	const vaddr_t end = ptp_end(va, eva);

	*mapped = pt != NULL && *pte_of(pt, va) != 0;
	if (pt == NULL)
		return end;
	while (va != end && (*pte_of(pt, va) != 0) == *mapped)
		va += PAGE_SIZE;
	return va;
}

void
pmap_protect(struct pmap *pm, vaddr_t sva, vaddr_t eva, vm_prot_t prot)
{
	vaddr_t va, end;
	bool mapped;

	check_range(__func__, pm, sva, eva);
	vm_mtx_enter(&pm->pm_lock);
	for (va = sva; va != eva; va = end) {
		end = run_end(pm, va, eva, &mapped);
		if (!mapped)
			continue;
		if (pm == kernel_pmap)
			host_mem_protect(va, end, prot);
		for (; va != end; va += PAGE_SIZE) {
			paddr_t *pte = pte_of(ptp_find(pm, va), va);

			*pte = (*pte & ~(paddr_t)VM_PROT_ALL) | prot;
		}
	}
	event(HOST_PROTECT, pm, sva, eva, 0);
	event(HOST_FLUSH, pm, sva, eva, 0);
	vm_mtx_exit(&pm->pm_lock);
}

bool
pmap_extract(struct pmap *pm, vaddr_t va, paddr_t *pa)
{
	struct ptp *pt;
	paddr_t pte = 0;

	vm_mtx_enter(&pm->pm_lock);
	pt = ptp_find(pm, va);
	if (pt != NULL)
		pte = *pte_of(pt, va);
	vm_mtx_exit(&pm->pm_lock);
	if (pte == 0)
		return false;
	*pa = (pte & PTE_FRAME) | (va & PAGE_MASK);
	return true;
}

/* The entry for va, or NULL.  => the lock is held */
static paddr_t *
find_pte(struct pmap *pm, vaddr_t va)
{
	struct ptp *pt = ptp_find(pm, va);
	paddr_t *pte = pt != NULL ? pte_of(pt, va) : NULL;

	return pte != NULL && *pte != 0 ? pte : NULL;
}

/* What is set of va's bits; those in `clear` no longer are. */
static unsigned
take_bits(struct pmap *pm, vaddr_t va, unsigned clear)
{
	paddr_t *pte, old = 0;

	check_range("pmap bits", pm, va, va + PAGE_SIZE);
	vm_mtx_enter(&pm->pm_lock);
	pte = find_pte(pm, va);
	if (pte != NULL) {
		old = *pte;
		*pte &= ~((paddr_t)clear << PTE_BITS);
		if (*pte != old)
			event(HOST_FLUSH, pm, va, va + PAGE_SIZE, 0);
	}
	vm_mtx_exit(&pm->pm_lock);
	return old >> PTE_BITS & (PMAP_ACCESSED | PMAP_MODIFIED);
}

unsigned
pmap_test_bits(struct pmap *pm, vaddr_t va)
{
	return take_bits(pm, va, 0);
}

unsigned
pmap_clear_bits(struct pmap *pm, vaddr_t va, unsigned bits)
{
	return take_bits(pm, va, bits & (PMAP_ACCESSED | PMAP_MODIFIED)) &
	    bits;
}

bool
host_access(struct pmap *pm, vaddr_t va, vm_prot_t how)
{
	paddr_t *pte, bits = PMAP_ACCESSED;
	bool may;

	if (how & VM_PROT_WRITE)
		bits |= PMAP_MODIFIED;
	vm_mtx_enter(&pm->pm_lock);
	pte = find_pte(pm, trunc_page(va));
	may = pte != NULL && (*pte & how) == how;
	if (may)
		*pte |= bits << PTE_BITS;
	vm_mtx_exit(&pm->pm_lock);
	return may;
}

struct pmap *
pmap_create(void)
{
	struct pmap *pm;
	paddr_t dir;

	if (ptp_frame(&dir) != 0)
		return NULL;
	pm = calloc(1, sizeof(*pm));
	if (pm == NULL)
		vm_host_panic("host_pmap: no memory for a pmap");
	vm_mtx_init(&pm->pm_lock, "user pmap");
	pm->pm_dir = dir;
	return pm;
}

void
pmap_destroy(struct pmap *pm)
{
	unsigned i;

	if (pm == kernel_pmap || pm == active)
		vm_host_panic("pmap_destroy(%p): the %s pmap", (void *)pm,
		    pm == active ? "active" : "kernel");
	for (i = 0; i < PTP_HASH; i++)
		while (pm->pm_ptp[i] != NULL)
			pmap_remove(pm, pm->pm_ptp[i]->pt_base < VM_MIN_ADDRESS
			    ? VM_MIN_ADDRESS : pm->pm_ptp[i]->pt_base,
			    ptp_end(pm->pm_ptp[i]->pt_base, VM_MAX_ADDRESS));
	event(HOST_FLUSH, pm, 0, 0, pm->pm_dir);
	vm_phys_free(pm->pm_dir);
	free(pm);
}

void
pmap_activate(struct pmap *pm)
{
	active = pm;
	event(HOST_ACTIVATE, pm, 0, 0, 0);
}

void
pmap_zero_page(paddr_t pa)
{
	check_hidden(__func__, pa);
	host_mem_zero(pa);
	event(HOST_ZERO, NULL, 0, 0, pa);
}

void
pmap_copy_page(paddr_t src, paddr_t dst)
{
	check_hidden(__func__, dst);
	memcpy(host_phys(dst), host_phys(src), PAGE_SIZE);
	event(HOST_COPY, NULL, 0, 0, dst);
}

/*
 * For tests.
 */
unsigned long
host_pmap_resident(const struct pmap *pm)
{
	return pm->pm_resident;
}

unsigned long
host_pmap_ptps(const struct pmap *pm)
{
	return pm->pm_nptps;
}

static const char *
ptp_check(const struct ptp *pt, unsigned long *resident)
{
	const struct vm_page *pg;
	unsigned i, count = 0;

	for (i = 0; i < PTP_PAGES; i++) {
		if (pt->pt_pte[i] == 0)
			continue;
		count++;
		pg = vm_phys_page(pt->pt_pte[i] & PTE_FRAME);
		if (pg != NULL && pg->pg_owner == VM_PAGE_FREE)
			return "a free frame is mapped";
	}
	*resident += count;
	return count == pt->pt_count ? NULL : "a page table's count is wrong";
}

const char *
host_pmap_check(const struct pmap *pm)
{
	unsigned long nptps = 0, resident = 0;
	const struct ptp *pt;
	const char *bad;
	unsigned i;

	for (i = 0; i < PTP_HASH; i++) {
		for (pt = pm->pm_ptp[i]; pt != NULL; pt = pt->pt_next) {
			nptps++;
			bad = ptp_check(pt, &resident);
			if (bad != NULL)
				return bad;
		}
	}
	if (nptps != pm->pm_nptps || resident != pm->pm_resident)
		return "a pmap's counts are wrong";
	return flat && pm == kernel_pmap ? host_flat_check() : NULL;
}
