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
 * 5. The TLB.  One CPU, no global pages.  What changed an entry that the CPU
 *    may hold flushes it before the lock is dropped: page by page, or whole
 *    when there are many.  An inactive user pmap needs none: to activate it
 *    loads %cr3, and that flushes.
 *
 * Locking.  One mutex for all pmaps: they share the windows and the kernel
 * part.  A long range is worked on a table at a time, the lock dropped in
 * between, so that interrupts wait for 1024 entries at most.
 */
#include <i386/machdep.h>
#include <libkern/errno.h>
#include <libkern/libkern.h>
#include <machine/cpufunc.h>
#include <vm/kmalloc.h>
#include <vm/pmap.h>
#include <vm/vm_fail.h>
#include <vm/vm_host.h>
#include <vm/vm_phys.h>

/*
 * From how many pages on a whole flush is cheaper: an invlpg is about 25
 * cycles on a 486, and what a flush costs later is a walk per page in use.
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
static KMALLOC_DEFINE(M_PMAP, "pmap", "address spaces");

void
pmap_bootstrap(paddr_t pd)
{
	vm_mtx_init(&pmap_lock, "pmap");
	kernel_pmap->pm_pd = pd;
	kernel_pmap->pm_next = NULL;
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

static void *
window_map(enum pmap_window w, paddr_t pa)
{
	vaddr_t va = PMAP_WINDOW_MIN + w * PAGE_SIZE;

	PTMAP[va >> PAGE_SHIFT] = (pte_t)pa | PG_V | PG_RW;
	invlpg(va);
	return (void *)va;
}

static void
window_unmap(enum pmap_window w)
{
	vaddr_t va = PMAP_WINDOW_MIN + w * PAGE_SIZE;

	PTMAP[va >> PAGE_SHIFT] = 0;
	invlpg(va);
}

static pte_t *
pmap_directory(const struct pmap *pm)
{
	if (pm == pmap_current)
		return PDMAP;
	return window_map(PMAP_WINDOW_DIR, pm->pm_pd);
}

/* The directory's entry for va; good until another pmap is looked at. */
static pte_t *
pmap_pde(const struct pmap *pm, vaddr_t va)
{
	return (is_live(pm, va) ? PDMAP : pmap_directory(pm)) +
	    PDE_INDEX(va);
}

/* The page table's entry for va, or NULL where there is no table. */
static pte_t *
pmap_pte(const struct pmap *pm, vaddr_t va)
{
	pte_t pde = *pmap_pde(pm, va), *table;

	if (!(pde & PG_V))
		return NULL;
	if (is_live(pm, va))
		return PTMAP + (va >> PAGE_SHIFT);
	table = window_map(PMAP_WINDOW_TABLE, pde & PG_FRAME);
	return table + PTE_INDEX(va);
}

pte_t
pmap_live_pte(vaddr_t va)
{
	return PDMAP[PDE_INDEX(va)] & PG_V ? PTMAP[va >> PAGE_SHIFT] : 0;
}

/* The entry for a page of frame pa at va with this protection. */
static pte_t
make_pte(vaddr_t va, paddr_t pa, vm_prot_t prot)
{
	pte_t pte = (pte_t)pa;

	if (is_user(va))
		pte |= PG_U;
	if (prot & VM_PROT_WRITE)
		pte |= PG_RW;
	return pte | (prot & VM_PROT_ALL ? PG_V : PG_PROTNONE);
}

/* Entries of [sva, eva), all in one table, have changed. */
static void
pmap_flush(const struct pmap *pm, vaddr_t sva, vaddr_t eva)
{
	if (!is_live(pm, sva))
		return;
	if (atop(eva - sva) > PMAP_FLUSH_ALL) {
		lcr3(rcr3());
		return;
	}
	for (vaddr_t va = sva; va < eva; va += PAGE_SIZE)
		invlpg(va);
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
		pmap_directory(p)[PDE_INDEX(va)] = (pte_t)pa | PG_V | PG_RW;
	return 0;
}

/* Unhook and free the table of user address va, which has no entry left. */
static void
pmap_free_table(struct pmap *pm, vaddr_t va)
{
	pte_t *pde = pmap_pde(pm, va);
	paddr_t pa = *pde & PG_FRAME;

	*pde = 0;
	if (is_live(pm, va))
		lcr3(rcr3());	/* the CPU may cache upper levels, too */
	else
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

int
pmap_enter(struct pmap *pm, vaddr_t va, paddr_t pa, vm_prot_t prot)
{
	pte_t *pte;
	int error;

	check_range(pm, va, va + PAGE_SIZE, __func__);
	if (!page_aligned(pa) || !(prot & VM_PROT_READ))
		vm_host_panic("pmap_enter(%p, %#lx, %#lx, %#x): bad frame or "
		    "protection", (void *)pm, va, pa, prot);
	vm_mtx_enter(&pmap_lock);
	error = pmap_need_table(pm, va);
	if (error == 0) {
		bool was;

		pte = pmap_pte(pm, va);
		was = *pte != 0;
		*pte = make_pte(va, pa, prot);
		pmap_flush(pm, va, va + PAGE_SIZE);
		pmap_count(pm, va, was ? 0 : 1);
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

/* [sva, eva) lies in one table.  => the lock is held */
static void
remove_chunk(struct pmap *pm, vaddr_t sva, vaddr_t eva)
{
	pte_t *pte = pmap_pte(pm, sva);
	int n = 0;

	if (pte == NULL)
		return;
	for (unsigned i = 0; i < atop(eva - sva); i++) {
		if (pte[i] == 0)
			continue;
		pte[i] = 0;
		n++;
	}
	if (n == 0)
		return;
	pmap_flush(pm, sva, eva);
	pmap_count(pm, sva, -n);
}

void
pmap_remove(struct pmap *pm, vaddr_t sva, vaddr_t eva)
{
	check_range(pm, sva, eva, __func__);
	for (vaddr_t end; sva < eva; sva = end) {
		end = chunk_end(sva, eva);
		vm_mtx_enter(&pmap_lock);
		remove_chunk(pm, sva, end);
		vm_mtx_exit(&pmap_lock);
	}
}

/* The same as above for pmap_protect. */
static void
protect_chunk(struct pmap *pm, vaddr_t sva, vaddr_t eva, vm_prot_t prot)
{
	pte_t *pte = pmap_pte(pm, sva);

	if (pte == NULL)
		return;
	for (unsigned i = 0; i < atop(eva - sva); i++) {
		if (pte[i] != 0)
			pte[i] = make_pte(sva, pte[i] & PG_FRAME, prot);
	}
	pmap_flush(pm, sva, eva);
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
	pd = pmap_directory(pm);
	for (unsigned i = PDE_KERNEL; i < PDE_RECURSIVE; i++)
		pd[i] = PDMAP[i];
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
