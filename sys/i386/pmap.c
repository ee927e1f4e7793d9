/*
 * pmap: which page shows which frame, in the i386's two levels of tables.
 *
 * 1. The tables.  A directory of 1024 entries names page tables of 1024
 *    entries; a table covers 4 MB.  The last entry of every directory names
 *    the directory itself (the recursive slot), so that the CPU, walking two
 *    levels, ends one level early and shows the tables of the active pmap as
 *    4 MB of memory:
 *
 *	PTMAP 0xFFC00000  the entry for va is PTMAP[va >> 12]
 *	PDMAP 0xFFFFF000  the directory, among them: PDMAP[va >> 22]
 *
 *    The tables of a user pmap that is not active are seen through two pages
 *    of address space kept for that (PMAP_WINDOW_DIR, _TABLE); frames to be
 *    zeroed or copied through two others.
 *
 * 2. The kernel's part, entries 768 to 1022 of a directory, is the same in
 *    all.  A kernel page table is made when the first page in its 4 MB is
 *    entered, is put into every directory there is, and stays for ever: so
 *    a directory's kernel part never has to be brought up to date later.
 *
 * 3. A user page table is made on demand and freed when its last entry goes.
 *    The frame's own reference count tells: 1 + the entries in use.
 *
 * 4. A page without access (VM_PROT_NONE) keeps its frame in an entry that
 *    is not valid, marked PG_PROTNONE; 0 alone means that nothing is there.
 *
 * 5. The TLB.  One CPU.  Who changes an entry flushes it before the lock is
 *    dropped, and before the table that it was in is freed: page by page, or
 *    the whole TLB when there are many.  Which the CPU may hold, the entry
 *    itself tells: valid, and used (a CPU sets PG_A before it caches an
 *    entry).  For that to be so an entry is exchanged, never read and then
 *    written: the CPU may use it in between, if only to speculate.
 *
 *    Kernel pages are global where the CPU knows that: to load %cr3 leaves
 *    them cached, so that another address space does not begin by walking
 *    the tables for the kernel; to flush them all, CR4.PGE goes off and on.
 *    Directory entries are never global: through the recursive slot they
 *    are the entries of pages that differ from one pmap to the next.
 *
 *    An inactive user pmap needs no flush: to activate it loads %cr3.
 *
 * 6. Locking.  One mutex for all pmaps.  A long range is worked on a table at
 *    a time, the lock dropped in between, so that interrupts wait for 1024
 *    entries at most.
 *
 *    One is right for one CPU: a mutex masks interrupts there, so that nobody
 *    ever waits for it, and a second one could only add its instructions.
 *    Nor would locks of their own part the pmaps: each works on another's
 *    tables through the same windows, on the kernel's tables, which are all
 *    pmaps', and a new one of those goes into every directory on the list.
 *
 *    More CPUs need, and all of it together:
 *
 *	- a lock in each pmap over its user part; one, inside those, over the
 *	  list and the making of kernel tables.  Entries of the kernel's need
 *	  none but the region's owner, as they are exchanged.
 *	- windows for each CPU, with interrupts masked in place of a lock
 *	- pmap_current for each CPU, and in a pmap which CPUs have it active
 *	- flush_now to have those CPUs flush (the kernel's pages: all CPUs), and
 *	  to wait for them: with the lock held, as a frame may be given back as
 *	  soon as it is dropped, but with interrupts on, as two CPUs may wait
 *	  for one another.  So that lock must not be one that masks them.
 *	- PG_A before it: a CPU that is about to cache an entry sets that bit
 *	  in one locked step with its look, so 5. holds as it stands
 *
 *    pmap_kextract takes no lock and needs none then: kernel tables stay.
 */
#include <i386/machdep.h>
#include <libkern/errno.h>
#include <libkern/libkern.h>
#include <machine/cpufunc.h>
#include <machine/ptmap.h>
#include <vm/kmalloc.h>
#include <vm/pmap.h>
#include <vm/vm_fail.h>
#include <vm/vm_host.h>
#include <vm/vm_phys.h>

/*
 * Beyond how many pages one flush of everything is cheaper.  An invlpg costs
 * some 25 cycles on a 486 and 100 to 200 today; a flush about as much as one
 * of them, and then a walk (20 to 100 cycles) for each entry that is missed
 * afterwards, of 32 on a 486 and 64 and more later: they meet somewhere from
 * 16 to 64 pages.  Linux, which measured it on many, flushes page by page up
 * to 33.
 *
 * `bench` at the debugger's prompt measures it: so many invalidations are as
 * dear as a flush and the use of 8, 16, 32, 64 pages afterwards.  In QEMU,
 * which has a TLB, if in software, and walks tables, in 280 to 450 cycles of
 * its host for an invalidation: 33, 38, 42, 56.  In Bochs, which counts
 * instructions and not what they cost: 1.  On a PC nobody has measured it.
 */
#define PMAP_FLUSH_ALL	32

#define PDE_KERNEL	PDE_INDEX(VM_MAX_ADDRESS)	/* the first one */

struct pmap {
	paddr_t		 pm_pd;		/* the directory's frame */
	struct pmap	*pm_next;	/* all of them; the kernel's is first */
};

static struct pmap kernel_pmap_store;
struct pmap *const kernel_pmap = &kernel_pmap_store;

static struct pmap *pmap_current = &kernel_pmap_store;
static struct vm_mtx pmap_lock;
static pte_t pmap_global;		/* PG_G, or 0: the CPU has none */
static KMALLOC_DEFINE(M_PMAP, "pmap", "address spaces");

void
pmap_bootstrap(paddr_t pd, bool global)
{
	vm_mtx_init(&pmap_lock, "pmap");
	pmap_global = global ? PG_G : 0;
	kernel_pmap->pm_pd = pd;
	kernel_pmap->pm_next = NULL;
}

bool
pmap_global_pages(void)
{
	return pmap_global != 0;
}

/*
 * Looking at tables.
 */

static bool
is_user(vaddr_t va)
{
	return va < VM_MAX_ADDRESS;
}

/* Does the CPU walk the tables that hold va in this pmap right now? */
static bool
is_live(const struct pmap *pm, vaddr_t va)
{
	return !is_user(va) || pm == pmap_current;
}

/* A window may still show what it showed last: that saves the flush. */
static void *
window_map(enum pmap_window w, paddr_t pa)
{
	vaddr_t va = PMAP_WINDOW_MIN + w * PAGE_SIZE;
	pte_t *pte = vtopte(va);

	if ((*pte & (PG_FRAME | PG_V)) != ((pte_t)pa | PG_V)) {
		*pte = (pte_t)pa | PG_V | PG_RW;
		invlpg(va);
	}
	return vtoptr(va);
}

static void
window_unmap(enum pmap_window w)
{
	vaddr_t va = PMAP_WINDOW_MIN + w * PAGE_SIZE;

	*vtopte(va) = 0;
	invlpg(va);
}

/* The entry for va in a pmap's own directory; good until the next one. */
static pte_t *
pmap_own_pde(const struct pmap *pm, vaddr_t va)
{
	pte_t *pd;

	if (pm == pmap_current)
		return vtopde(va);
	pd = window_map(PMAP_WINDOW_DIR, pm->pm_pd);
	return pd + PDE_INDEX(va);
}

/* The same, where the kernel's part is as good in one as in another. */
static pte_t *
pmap_pde(const struct pmap *pm, vaddr_t va)
{
	return is_live(pm, va) ? vtopde(va) : pmap_own_pde(pm, va);
}

/* The page table's entry for va, or NULL where there is no table. */
static pte_t *
pmap_pte(const struct pmap *pm, vaddr_t va)
{
	pte_t pde = *pmap_pde(pm, va), *table;

	if (!(pde & PG_V))
		return NULL;
	if (is_live(pm, va))
		return vtopte(va);
	table = window_map(PMAP_WINDOW_TABLE, pde & PG_FRAME);
	return table + PTE_INDEX(va);
}

pte_t
pmap_live_pte(vaddr_t va)
{
	return *vtopde(va) & PG_V ? *vtopte(va) : 0;
}

/* What an entry for va says of its use; the frame and PG_KEEP go with it. */
#define PG_KEEP		(PG_FRAME | PG_WT | PG_N | PG_A | PG_M)

static pte_t
pte_rights(vaddr_t va, vm_prot_t prot)
{
	pte_t pte = is_user(va) ? PG_U : pmap_global;

	if (prot & VM_PROT_WRITE)
		pte |= PG_RW;
	return pte | (prot & VM_PROT_ALL ? PG_V : PG_PROTNONE);
}

/* A new entry: a page of frame pa at va. */
static pte_t
pte_make(vaddr_t va, paddr_t pa, vm_prot_t prot)
{
	pte_t pte = (pte_t)pa | pte_rights(va, prot);

	if (prot & PMAP_UNCACHED)
		pte |= PG_N;
	if (prot & PMAP_WRITETHRU)
		pte |= PG_WT;
	return pte;
}

static pte_t
pte_exchange(pte_t *pte, pte_t new)
{
	return __atomic_exchange_n(pte, new, __ATOMIC_SEQ_CST);
}

/*
 * What has to be flushed: pages of one pmap, all of them the kernel's or all
 * of them the user's.
 */
struct flush {
	unsigned	fl_n;
	vaddr_t		fl_va[PMAP_FLUSH_ALL];	/* the first of them */
};

/* Not an initializer: that would fill the array as well. */
static inline void
flush_begin(struct flush *fl)
{
	fl->fl_n = 0;
}

/* The entry for va was `old`. */
static void
flush_add(struct flush *fl, vaddr_t va, pte_t old)
{
	if ((old & (PG_V | PG_A)) != (PG_V | PG_A))
		return;
	if (fl->fl_n < PMAP_FLUSH_ALL)
		fl->fl_va[fl->fl_n] = va;
	fl->fl_n++;
}

static void
flush_all(bool global)
{
	if (global && pmap_global != 0) {
		lcr4(rcr4() & ~CR4_PGE);
		lcr4(rcr4() | CR4_PGE);
	} else
		lcr3(rcr3());
}

void
pmap_flush_all(void)
{
	flush_all(true);
}

static void
flush_now(const struct flush *fl, const struct pmap *pm, vaddr_t va)
{
	if (!is_live(pm, va))
		return;
	if (fl->fl_n > PMAP_FLUSH_ALL) {
		flush_all(!is_user(va));
		return;
	}
	for (unsigned i = 0; i < fl->fl_n; i++)
		invlpg(fl->fl_va[i]);
}

/*
 * Making and giving back tables.
 */

static void
zero_frame(paddr_t pa)
{
	memset(window_map(PMAP_WINDOW_ZERO, pa), 0, PAGE_SIZE);
	window_unmap(PMAP_WINDOW_ZERO);
}

static int
table_alloc(paddr_t *pa)
{
	int error;

	if (vm_fail(VM_FAIL_PTP))
		return ENOMEM;
	error = vm_phys_alloc(VM_PAGE_PTP, pa);
	if (error == 0)
		zero_frame(*pa);
	return error;
}

/* A page table for va, if it has none yet. */
static int
pmap_need_table(struct pmap *pm, vaddr_t va)
{
	paddr_t pa;
	int error;

	if (*pmap_pde(pm, va) & PG_V)
		return 0;
	error = table_alloc(&pa);
	if (error != 0)
		return error;
	if (is_user(va)) {
		*pmap_pde(pm, va) = (pte_t)pa | PG_V | PG_RW | PG_U;
		return 0;
	}
	for (struct pmap *p = kernel_pmap; p != NULL; p = p->pm_next)
		*pmap_own_pde(p, va) = (pte_t)pa | PG_V | PG_RW;
	return 0;
}

/*
 * Unhook and free the table of user address va, which has no entry left.
 * The CPU may hold the directory's entry, and the table as a page of PTMAP;
 * a window may show it, even when the pmap was activated since.
 */
static void
pmap_free_table(struct pmap *pm, vaddr_t va)
{
	pte_t *pde = pmap_pde(pm, va);
	paddr_t pa = *pde & PG_FRAME;

	*pde = 0;
	if (is_live(pm, va))
		flush_all(false);
	window_unmap(PMAP_WINDOW_TABLE);
	vm_phys_page(pa)->pg_refs = 1;
	vm_phys_free(pa);
}

/* n more (or fewer) entries of va's table are in use. */
static void
pmap_count(struct pmap *pm, vaddr_t va, int n)
{
	struct vm_page *pg;

	if (!is_user(va) || n == 0)
		return;
	pg = vm_phys_page(*pmap_pde(pm, va) & PG_FRAME);
	pg->pg_refs = (uint16_t)(pg->pg_refs + n);
	KASSERT(pg->pg_refs >= 1 && pg->pg_refs <= 1 + PT_ENTRIES);
	if (pg->pg_refs == 1)
		pmap_free_table(pm, va);
}

/*
 * The interface; the contracts are in vm/pmap.h.
 */

/* The kernel's addresses are the kernel's pmap's business, and only those. */
static void
check_range(const struct pmap *pm, vaddr_t sva, vaddr_t eva, const char *who)
{
	bool kernel = pm == kernel_pmap;
	vaddr_t min = kernel ? VM_MIN_KERNEL_ADDRESS : VM_MIN_ADDRESS;
	vaddr_t max = kernel ? VM_MAX_KERNEL_ADDRESS : VM_MAX_ADDRESS;

	if (sva > eva || sva < min || eva > max || !page_aligned(sva | eva))
		vm_host_panic("%s(%p, %#lx, %#lx): no such range", who,
		    (const void *)pm, sva, eva);
}

/* n pages of the kernel from va on. */
static void
check_pages(vaddr_t va, unsigned n, const char *who)
{
	if (n > atop(VM_MAX_KERNEL_ADDRESS - VM_MIN_KERNEL_ADDRESS))
		vm_host_panic("%s(%#lx, %u pages): no such range", who, va, n);
	check_range(kernel_pmap, va, va + ptoa(n), who);
}

static void
check_entry(const struct pmap *pm, vaddr_t va, paddr_t pa, vm_prot_t prot,
    const char *who)
{
	if (!page_aligned(pa) || !(prot & VM_PROT_READ))
		vm_host_panic("%s(%p, %#lx, %#lx, %#x): bad frame or "
		    "protection", who, (const void *)pm, va, pa, prot);
}

int
pmap_enter(struct pmap *pm, vaddr_t va, paddr_t pa, vm_prot_t prot)
{
	struct flush fl;
	pte_t old;
	int error;

	check_range(pm, va, va + PAGE_SIZE, __func__);
	check_entry(pm, va, pa, prot, __func__);
	flush_begin(&fl);
	vm_mtx_enter(&pmap_lock);
	error = pmap_need_table(pm, va);
	if (error == 0) {
		old = pte_exchange(pmap_pte(pm, va), pte_make(va, pa, prot));
		flush_add(&fl, va, old);
		flush_now(&fl, pm, va);
		pmap_count(pm, va, old == 0 ? 1 : 0);
	}
	vm_mtx_exit(&pmap_lock);
	return error;
}

/* Where the table that covers va ends, or the range. */
static vaddr_t
chunk_end(vaddr_t va, vaddr_t eva)
{
	vaddr_t end = rounddown2(va, PT_SPAN) + PT_SPAN;

	return end < eva ? end : eva;
}

/*
 * [sva, eva) lies in one table; its frames go to *pa where that is not NULL.
 * => the lock is held
 * => how many pages there were
 */
static unsigned
remove_chunk(struct pmap *pm, vaddr_t sva, vaddr_t eva, paddr_t *pa)
{
	struct flush fl;
	pte_t *pte = pmap_pte(pm, sva), old;
	unsigned n = 0;

	if (pte == NULL)
		return 0;
	flush_begin(&fl);
	for (vaddr_t va = sva; va < eva; va += PAGE_SIZE, pte++) {
		if (*pte == 0)
			continue;
		old = pte_exchange(pte, 0);
		flush_add(&fl, va, old);
		if (pa != NULL)
			pa[n] = old & PG_FRAME;
		n++;
	}
	flush_now(&fl, pm, sva);
	pmap_count(pm, sva, -(int)n);
	return n;
}

void
pmap_remove(struct pmap *pm, vaddr_t sva, vaddr_t eva)
{
	check_range(pm, sva, eva, __func__);
	for (vaddr_t end; sva < eva; sva = end) {
		end = chunk_end(sva, eva);
		vm_mtx_enter(&pmap_lock);
		remove_chunk(pm, sva, end, NULL);
		vm_mtx_exit(&pmap_lock);
	}
}

static void
protect_page(pte_t *pte, vaddr_t va, vm_prot_t prot, struct flush *fl)
{
	pte_t new, old = *pte;

	if (old == 0)
		return;
	do
		new = (old & PG_KEEP) | pte_rights(va, prot);
	while (!__atomic_compare_exchange_n(pte, &old, new, false,
	    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
	if (new != old)
		flush_add(fl, va, old);
}

/* As remove_chunk. */
static void
protect_chunk(struct pmap *pm, vaddr_t sva, vaddr_t eva, vm_prot_t prot)
{
	struct flush fl;
	pte_t *pte = pmap_pte(pm, sva);

	if (pte == NULL)
		return;
	flush_begin(&fl);
	for (vaddr_t va = sva; va < eva; va += PAGE_SIZE, pte++)
		protect_page(pte, va, prot, &fl);
	flush_now(&fl, pm, sva);
}

void
pmap_protect(struct pmap *pm, vaddr_t sva, vaddr_t eva, vm_prot_t prot)
{
	check_range(pm, sva, eva, __func__);
	for (vaddr_t end; sva < eva; sva = end) {
		end = chunk_end(sva, eva);
		vm_mtx_enter(&pmap_lock);
		protect_chunk(pm, sva, end, prot);
		vm_mtx_exit(&pmap_lock);
	}
}

bool
pmap_extract(struct pmap *pm, vaddr_t va, paddr_t *pa)
{
	const pte_t *pte;
	pte_t e;

	vm_mtx_enter(&pmap_lock);
	pte = pmap_pte(pm, va);
	e = pte != NULL ? *pte : 0;
	vm_mtx_exit(&pmap_lock);
	if (e == 0)
		return false;
	*pa = (e & PG_FRAME) | (va & PAGE_MASK);
	return true;
}

static unsigned
pte_bits(pte_t pte)
{
	return (pte & PG_A ? PMAP_ACCESSED : 0) |
	    (pte & PG_M ? PMAP_MODIFIED : 0);
}

/* Clear these bits of the entry for va.  => what it was before */
static pte_t
clear_bits(struct pmap *pm, vaddr_t va, pte_t clear)
{
	struct flush fl;
	pte_t *pte, old = 0;

	flush_begin(&fl);
	vm_mtx_enter(&pmap_lock);
	pte = pmap_pte(pm, va);
	if (pte != NULL)
		old = __atomic_fetch_and(pte, ~clear, __ATOMIC_SEQ_CST);
	if (old & clear)
		flush_add(&fl, va, old);
	flush_now(&fl, pm, va);
	vm_mtx_exit(&pmap_lock);
	return old;
}

unsigned
pmap_test_bits(struct pmap *pm, vaddr_t va)
{
	check_range(pm, va, va + PAGE_SIZE, __func__);
	return pte_bits(clear_bits(pm, va, 0));
}

unsigned
pmap_clear_bits(struct pmap *pm, vaddr_t va, unsigned bits)
{
	pte_t clear = 0;

	check_range(pm, va, va + PAGE_SIZE, __func__);
	if (bits & PMAP_ACCESSED)
		clear |= PG_A;
	if (bits & PMAP_MODIFIED)
		clear |= PG_M;
	return pte_bits(clear_bits(pm, va, clear)) & bits;
}

/* Fill [va, end), all in one table, which is there. */
static void
kenter_chunk(vaddr_t va, vaddr_t end, const paddr_t *pa, vm_prot_t prot)
{
	pte_t *pte = vtopte(va);

	for (; va < end; va += PAGE_SIZE, pte++, pa++) {
		check_entry(kernel_pmap, va, *pa, prot, "pmap_kenter");
		if (*pte != 0)
			vm_host_panic("pmap_kenter(%#lx, %#lx, %#x): frame "
			    "%#lx is mapped there", va, *pa, prot,
			    (paddr_t)(*pte & PG_FRAME));
		*pte = pte_make(va, *pa, prot);
	}
}

/* Let interrupts in.  => the lock is held, and was dropped */
static void
lock_relax(void)
{
	vm_mtx_exit(&pmap_lock);
	vm_mtx_enter(&pmap_lock);
}

/* All tables first: they stay, so that the rest cannot fail. */
int
pmap_kenter(vaddr_t va, const paddr_t *pa, unsigned n, vm_prot_t prot)
{
	vaddr_t end, eva = va + ptoa(n);
	int error = 0;

	check_pages(va, n, __func__);
	vm_mtx_enter(&pmap_lock);
	for (vaddr_t at = va; at < eva && error == 0; at = end) {
		end = chunk_end(at, eva);
		error = pmap_need_table(kernel_pmap, at);
		if (end < eva)
			lock_relax();
	}
	for (; va < eva && error == 0; pa += atop(end - va), va = end) {
		end = chunk_end(va, eva);
		kenter_chunk(va, end, pa, prot);
		if (end < eva)
			lock_relax();
	}
	vm_mtx_exit(&pmap_lock);
	return error;
}

unsigned
pmap_kremove(vaddr_t va, unsigned n, paddr_t *pa)
{
	vaddr_t end, eva = va + ptoa(n);
	unsigned got = 0;

	check_pages(va, n, __func__);
	for (; va < eva; va = end) {
		end = chunk_end(va, eva);
		vm_mtx_enter(&pmap_lock);
		got += remove_chunk(kernel_pmap, va, end, pa + got);
		vm_mtx_exit(&pmap_lock);
	}
	return got;
}

struct pmap *
pmap_create(void)
{
	struct pmap *pm = kmalloc(sizeof(*pm), M_PMAP, KM_NOSLEEP);
	pte_t *pd;

	if (pm == NULL)
		return NULL;
	vm_mtx_enter(&pmap_lock);
	if (table_alloc(&pm->pm_pd) != 0) {
		vm_mtx_exit(&pmap_lock);
		kfree(pm, M_PMAP);
		return NULL;
	}
	pd = window_map(PMAP_WINDOW_DIR, pm->pm_pd);
	memcpy(pd + PDE_KERNEL, vtopde(VM_MAX_ADDRESS),
	    (PDE_RECURSIVE - PDE_KERNEL) * sizeof(*pd));
	pd[PDE_RECURSIVE] = (pte_t)pm->pm_pd | PG_V | PG_RW;
	pm->pm_next = kernel_pmap->pm_next;
	kernel_pmap->pm_next = pm;
	vm_mtx_exit(&pmap_lock);
	return pm;
}

/* => the lock is held */
static void
pmap_unlink(struct pmap *pm)
{
	struct pmap *p = kernel_pmap;

	while (p->pm_next != pm) {
		p = p->pm_next;
		KASSERT(p != NULL);
	}
	p->pm_next = pm->pm_next;
}

void
pmap_destroy(struct pmap *pm)
{
	if (pm == kernel_pmap || pm == pmap_current)
		vm_host_panic("pmap_destroy(%p): the %s one", (void *)pm,
		    pm == kernel_pmap ? "kernel's" : "active");
	pmap_remove(pm, VM_MIN_ADDRESS, VM_MAX_ADDRESS);
	vm_mtx_enter(&pmap_lock);
	pmap_unlink(pm);
	window_unmap(PMAP_WINDOW_DIR);
	vm_mtx_exit(&pmap_lock);
	vm_phys_free(pm->pm_pd);
	kfree(pm, M_PMAP);
}

void
pmap_activate(struct pmap *pm)
{
	vm_mtx_enter(&pmap_lock);
	pmap_current = pm;
	lcr3(pm->pm_pd);
	vm_mtx_exit(&pmap_lock);
}

/* The double fault's task came with the kernel's directory. */
void
pmap_reload(void)
{
	lcr3(pmap_current->pm_pd);
}

void
pmap_zero_page(paddr_t pa)
{
	KASSERT(page_aligned(pa));
	vm_mtx_enter(&pmap_lock);
	zero_frame(pa);
	vm_mtx_exit(&pmap_lock);
}

void
pmap_copy_page(paddr_t src, paddr_t dst)
{
	KASSERT(page_aligned(src | dst));
	vm_mtx_enter(&pmap_lock);
	memcpy(window_map(PMAP_WINDOW_COPY, dst),
	    window_map(PMAP_WINDOW_ZERO, src), PAGE_SIZE);
	window_unmap(PMAP_WINDOW_ZERO);
	window_unmap(PMAP_WINDOW_COPY);
	vm_mtx_exit(&pmap_lock);
}
