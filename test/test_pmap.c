/*
 * The real sys/i386/pmap.c, over the page tables of a simulated i386
 * (pmap_sim.h), against a model: an array of pages for each pmap.
 *
 * After every operation the TLB may hold nothing that is not in the tables,
 * and the pages that were worked on must be as the model has them; now and
 * then everything is walked.  A table's frame must be out of reach, of the
 * TLB and of every other table, at the moment that pmap.c frees it.
 */
#include <stdlib.h>
#include <string.h>

#include <check.h>

/* pmap.c is compiled for i386's addresses, and under names of its own. */
#include "../sys/i386/include/machine/vmparam.h"
#define kernel_pmap	i386_kernel_pmap
#define pmap_enter	i386_enter
#define pmap_remove	i386_remove
#define pmap_protect	i386_protect
#define pmap_extract	i386_extract
#define pmap_kextract	i386_kextract
#define pmap_test_bits	i386_test_bits
#define pmap_clear_bits	i386_clear_bits
#define pmap_kenter	i386_kenter
#define pmap_kremove	i386_kremove
#define pmap_create	i386_create
#define pmap_destroy	i386_destroy
#define pmap_activate	i386_activate
#define pmap_zero_page	i386_zero_page
#define pmap_copy_page	i386_copy_page

#define HOST_KEXTRACT_H		/* but i386's own */
#include "../sys/i386/include/machine/kextract.h"

#include <vm/kmalloc.h>
#include <vm/pmap.h>
#include <vm/vm_phys.h>

/* Frames are the host machine's; a struct pmap need not come out of them. */
static void free_table(paddr_t);
static bool no_memory;
#define vm_phys_free(pa)	free_table(pa)
#define kmalloc(size, type, flags) \
	((void)(type), no_memory ? NULL : malloc(size))
#define kfree(p, type)		free(p)

/* The CPU may use a page while pmap.c has its entry in hand. */
static void meanwhile(void);
static uint32_t fetch_and(uint32_t *, uint32_t);
#define __atomic_compare_exchange_n(p, old, new, weak, succ, fail) \
	(meanwhile(), \
	__atomic_compare_exchange_n(p, old, new, weak, succ, fail))
#define __atomic_fetch_and(p, v, order)	(meanwhile(), fetch_and(p, v))
#include "../sys/i386/pmap.c"
#undef __atomic_compare_exchange_n
#undef __atomic_fetch_and
#undef vm_phys_free

#include "host.h"
#include "must.h"
#include "pmap_sim.h"

#define NFRAMES		4096
#define NDATA		64		/* frames to be mapped */
#define NPMAPS		4		/* the kernel's is the first */
#define NTABLES		3		/* of each that are worked on, */
#define NPAGES		(NTABLES * PT_ENTRIES)	/* two of them neighbours */
#define NOPS		6000
#define RANGE		80		/* most pages of most operations */

struct page {
	paddr_t		 p_pa;		/* 0: not mapped */
	vm_prot_t	 p_prot;	/* and caching */
	unsigned	 p_bits;
};

struct model {
	struct pmap	*m_pm;
	struct page	 m_page[NPAGES];
};

static struct model model[NPMAPS];
static struct model *active;
static paddr_t data[NDATA], kernel_pd;
static pfn_t spare;		/* free frames with nothing made */
static bool kernel_table[NTABLES];	/* was it ever made? */
static bool pge;
static unsigned seed;

static unsigned
rnd(unsigned n)
{
	seed = seed * 1103515245 + 12345;
	return (seed >> 8) % n;
}

static bool
is_kernel(const struct model *m)
{
	return m == &model[0];
}

/* Where the i-th page of a model is. */
static vaddr_t
addr(const struct model *m, unsigned i)
{
	static const vaddr_t user[] = { 0, 0x00400000, 0xBFC00000 };
	static const vaddr_t kernel[] = {
		0xC0400000, 0xC0800000, 0xFF800000
	};

	return (is_kernel(m) ? kernel : user)[i / PT_ENTRIES] +
	    ptoa(i % PT_ENTRIES);
}

static vaddr_t used_meanwhile;

static void
meanwhile(void)
{
	vaddr_t va = used_meanwhile;
	paddr_t pa;

	used_meanwhile = 0;
	if (va != 0)
		must(sim_access(va, true, false, &pa));
}

static uint32_t
fetch_and(uint32_t *p, uint32_t v)
{
	uint32_t old = *p;

	*p = old & v;
	return old;
}

/* A frame is given back: a table's, or a directory's. */
static void
free_table(paddr_t pa)
{
	struct pmap *p;
	unsigned i, j;

	must(!sim_holds(pa));
	for (p = kernel_pmap; p != NULL; p = p->pm_next) {
		pte_t *pd = sim_table(p->pm_pd);

		must(p->pm_pd != pa);
		for (i = 0; i < PT_ENTRIES; i++) {
			if (!(pd[i] & PG_V))
				continue;
			must((pd[i] & PG_FRAME) != pa);
			for (j = 0; i != PDE_RECURSIVE && j < PT_ENTRIES; j++)
				must((sim_table(pd[i] & PG_FRAME)[j] &
				    PG_FRAME) != pa);
		}
	}
	vm_phys_free(pa);
}

/*
 * A machine.
 */
static paddr_t
frame(enum vm_page_owner owner)
{
	paddr_t pa;

	must(vm_phys_alloc(owner, &pa) == 0);
	memset(host_phys(pa), 0, PAGE_SIZE);
	return pa;
}

static void
boot(bool global)
{
	void *mem = calloc(1, vm_phys_size(NFRAMES));
	paddr_t table;
	pte_t *pd;

	must(mem != NULL);
	host_pmap_bootstrap(NFRAMES);
	vm_phys_init(mem, NFRAMES);
	vm_phys_add(1, NFRAMES);
	kernel_pd = frame(VM_PAGE_PTP);
	table = frame(VM_PAGE_PTP);
	pd = sim_table(kernel_pd);
	pd[PDE_INDEX(PMAP_WINDOW_MIN)] = (pte_t)table | PG_V | PG_RW;
	pd[PDE_RECURSIVE] = (pte_t)kernel_pd | PG_V | PG_RW;
	pge = global;
	sim_on(kernel_pd, pge);
	pmap_bootstrap(kernel_pd, pge);
	for (unsigned i = 0; i < NDATA; i++)
		data[i] = frame(VM_PAGE_USER);
	model[0].m_pm = kernel_pmap;
	active = &model[0];
	spare = vm_phys_nfree();
}

static void
boot_with_pge(void)
{
	boot(true);
}

/*
 * The tables against the model.
 */
static void
check_page(const struct model *m, unsigned i)
{
	const struct page *p = &m->m_page[i];
	pte_t pte = sim_walk(m->m_pm->pm_pd, addr(m, i));
	paddr_t pa = 0, kpa = 0;

	must(pmap_extract(m->m_pm, addr(m, i) + 5, &pa) == (p->p_pa != 0));
	must(!is_kernel(m) ||
	    pmap_kextract(addr(m, i) + 5, &kpa) == (p->p_pa != 0));
	if (p->p_pa == 0) {
		must(pte == 0);
		return;
	}
	must(pa == p->p_pa + 5 && (!is_kernel(m) || kpa == pa));
	must((pte & PG_FRAME) == p->p_pa);
	must(!(pte & PG_V) == !(p->p_prot & VM_PROT_ALL));
	must(!(pte & PG_RW) == !(p->p_prot & VM_PROT_WRITE));
	must(!(pte & PG_U) == is_kernel(m));
	must(!(pte & PG_G) == !(is_kernel(m) && pge));
	must(!(pte & PG_N) == !(p->p_prot & PMAP_UNCACHED));
	must(!(pte & PG_WT) == !(p->p_prot & PMAP_WRITETHRU));
	must(!(pte & PG_A) == !(p->p_bits & PMAP_ACCESSED));
	must(!(pte & PG_M) == !(p->p_bits & PMAP_MODIFIED));
}

/* Pages in use in the t-th table. */
static unsigned
used(const struct model *m, unsigned t)
{
	unsigned n = 0;

	for (unsigned i = t * PT_ENTRIES; i < (t + 1) * PT_ENTRIES; i++)
		n += m->m_page[i].p_pa != 0;
	return n;
}

/* The user's part of a directory: tables where pages are, and no others. */
static unsigned
check_user_part(const struct model *m)
{
	const pte_t *pd = sim_table(m->m_pm->pm_pd);
	unsigned n = 0, t, i;

	for (i = 0; i < PDE_KERNEL; i++)
		n += (pd[i] & PG_V) != 0;
	for (t = 0; t < NTABLES && !is_kernel(m); t++) {
		pte_t pde = pd[PDE_INDEX(addr(m, t * PT_ENTRIES))];
		unsigned there = used(m, t);

		must(!(pde & PG_V) == (there == 0));
		must(there == 0 || vm_phys_page(pde & PG_FRAME)->pg_refs ==
		    there + 1);
		i -= there != 0;
	}
	must(n == PDE_KERNEL - i);
	return n;
}

/* Is the kernel's part the same as in the first, and the last slot its own? */
static void
check_kernel_part(const struct model *m)
{
	const pte_t *pd = sim_table(m->m_pm->pm_pd);
	const pte_t *first = sim_table(kernel_pd);

	for (unsigned i = PDE_KERNEL; i < PDE_RECURSIVE; i++) {
		must(!((pd[i] ^ first[i]) & (PG_FRAME | PG_V | PG_RW)));
		must(!(pd[i] & (PG_U | PG_G)));
	}
	must((pd[PDE_RECURSIVE] & PG_FRAME) == m->m_pm->pm_pd);
	must(!(pd[PDE_RECURSIVE] & PG_U));
}

static void
check_all(void)
{
	pfn_t frames = 0;
	unsigned k, i;

	must(sim_stale() == NULL);
	for (k = 0; k < NPMAPS; k++) {
		struct model *m = &model[k];

		if (m->m_pm == NULL)
			continue;
		for (i = is_kernel(m) ? 0 : 1; i < NPAGES; i++)
			check_page(m, i);
		frames += check_user_part(m) + (is_kernel(m) ? 0 : 1);
		check_kernel_part(m);
	}
	for (i = 0; i < NTABLES; i++) {
		pte_t pde = sim_table(kernel_pd)[PDE_INDEX(addr(&model[0],
		    i * PT_ENTRIES))];

		must(!(pde & PG_V) == !kernel_table[i]);
		frames += kernel_table[i];
	}
	must(vm_phys_nfree() == spare - frames);
	must(vm_phys_check() == NULL);
}

/*
 * Operations, on both.
 */
static unsigned
some_page(const struct model *m)
{
	static const unsigned near[] = { 1, 1000, 2040, 2060 };
	unsigned i = rnd(8) < 6 ? near[rnd(nitems(near))] + rnd(40) :
	    rnd(NPAGES);

	return i == 0 && !is_kernel(m) ? 1 : i;
}

/* [i, *end), all addresses in a row. */
static unsigned
some_range(const struct model *m, unsigned *end)
{
	unsigned i = some_page(m), n = rnd(20) == 0 ? 1500 : rnd(RANGE);
	unsigned border = i < 2 * PT_ENTRIES ? 2 * PT_ENTRIES : NPAGES;

	*end = n < border - i ? i + n : border;
	return i;
}

static vm_prot_t
some_prot(void)
{
	static const vm_prot_t prots[] = {
		VM_PROT_READ, VM_PROT_RW, VM_PROT_READ | VM_PROT_EXECUTE,
		VM_PROT_ALL, VM_PROT_RW | PMAP_UNCACHED,
		VM_PROT_RW | PMAP_WRITETHRU,
	};

	return prots[rnd(nitems(prots))];
}

/* Would a page there need a new table? */
static bool
needs_table(const struct model *m, unsigned i)
{
	return is_kernel(m) ? !kernel_table[i / PT_ENTRIES] :
	    used(m, i / PT_ENTRIES) == 0;
}

static void
set_page(struct model *m, unsigned i, paddr_t pa, vm_prot_t prot)
{
	m->m_page[i] = (struct page){ .p_pa = pa, .p_prot = prot };
	if (is_kernel(m))
		kernel_table[i / PT_ENTRIES] = true;
}

static void
do_enter(struct model *m)
{
	unsigned i = some_page(m);
	paddr_t pa = data[rnd(NDATA)];
	vm_prot_t prot = some_prot();
	bool fails = rnd(4) == 0;
	int error;

	vm_fail_set(VM_FAIL_PTP, fails ? 1 : 0, false);
	error = pmap_enter(m->m_pm, addr(m, i), pa, prot);
	vm_fail_set(VM_FAIL_PTP, 0, false);
	must(error == (fails && needs_table(m, i) ? ENOMEM : 0));
	if (error == 0)
		set_page(m, i, pa, prot);
	check_page(m, i);
}

static void
do_remove(struct model *m)
{
	unsigned end, i = some_range(m, &end);

	pmap_remove(m->m_pm, addr(m, i), addr(m, i) + ptoa(end - i));
	for (; i < end; i++) {
		set_page(m, i, 0, 0);
		kernel_table[i / PT_ENTRIES] = sim_table(kernel_pd)
		    [PDE_INDEX(addr(&model[0], i))] & PG_V;
		check_page(m, i);
	}
}

static void
do_protect(struct model *m)
{
	unsigned end, i = some_range(m, &end);
	vm_prot_t prot = rnd(3) == 0 ? VM_PROT_NONE :
	    some_prot() & VM_PROT_ALL;

	pmap_protect(m->m_pm, addr(m, i), addr(m, i) + ptoa(end - i), prot);
	for (; i < end; i++) {
		struct page *p = &m->m_page[i];

		p->p_prot = (p->p_prot & ~VM_PROT_ALL) | prot;
		check_page(m, i);
	}
}

static void
do_kenter(struct model *m)
{
	paddr_t pa[RANGE];
	unsigned end, i = some_range(m, &end), n, fail = rnd(3), need = 0;
	vm_prot_t prot = some_prot();
	int error;

	for (n = 0; n < RANGE && i + n < end; n++) {
		if (m->m_page[i + n].p_pa != 0)
			break;
		pa[n] = data[rnd(NDATA)];
		if (n == 0 || (i + n) % PT_ENTRIES == 0)
			need += needs_table(m, i + n);
	}
	vm_fail_set(VM_FAIL_PTP, fail, false);
	error = pmap_kenter(addr(m, i), pa, n, prot);
	vm_fail_set(VM_FAIL_PTP, 0, false);
	must(error == (fail != 0 && fail <= need ? ENOMEM : 0));
	/* The tables that it could have are there for good. */
	if (error != 0 && fail == 2)
		kernel_table[i / PT_ENTRIES] = true;
	for (unsigned k = 0; k < n; k++) {
		if (error == 0)
			set_page(m, i + k, pa[k], prot);
		check_page(m, i + k);
	}
}

static void
do_kremove(struct model *m)
{
	static paddr_t pa[NPAGES];
	unsigned end, i = some_range(m, &end), n = 0, got;

	got = pmap_kremove(addr(m, i), end - i, pa);
	for (; i < end; i++) {
		if (m->m_page[i].p_pa == 0)
			continue;
		must(n < got && pa[n++] == m->m_page[i].p_pa);
		m->m_page[i].p_pa = 0;
		check_page(m, i);
	}
	must(n == got);
}

static void
do_bits(struct model *m)
{
	unsigned i = some_page(m), bits = rnd(4);
	struct page *p = &m->m_page[i];

	must(pmap_test_bits(m->m_pm, addr(m, i)) ==
	    (p->p_pa != 0 ? p->p_bits : 0));
	must(pmap_clear_bits(m->m_pm, addr(m, i), bits) ==
	    (p->p_pa != 0 ? p->p_bits & bits : 0));
	p->p_bits &= ~bits;
	check_page(m, i);
}

/* A program uses some pages, as far as it may. */
static void
do_access(struct model *m)
{
	unsigned end, i = some_range(m, &end);
	bool write_it = rnd(2) == 0, user = rnd(2) == 0, may;
	paddr_t pa = 0;

	if (!is_kernel(m) && m != active)
		return;
	for (; i < end; i++) {
		struct page *p = &m->m_page[i];

		may = p->p_pa != 0 && (p->p_prot & VM_PROT_ALL) != 0 &&
		    (!write_it || (p->p_prot & VM_PROT_WRITE)) &&
		    !(user && is_kernel(m));
		must(sim_access(addr(m, i), write_it, user, &pa) == may);
		must(!may || pa == p->p_pa);
		if (may)
			p->p_bits |= PMAP_ACCESSED |
			    (write_it ? PMAP_MODIFIED : 0);
	}
}

static void
do_create(void)
{
	struct model *m = &model[1 + rnd(NPMAPS - 1)];
	bool fails = rnd(4) == 0;

	if (m->m_pm != NULL)
		return;
	vm_fail_set(VM_FAIL_PTP, fails ? 1 : 0, false);
	m->m_pm = pmap_create();
	vm_fail_set(VM_FAIL_PTP, 0, false);
	must((m->m_pm == NULL) == fails);
	memset(m->m_page, 0, sizeof(m->m_page));
}

static void
do_destroy(void)
{
	struct model *m = &model[1 + rnd(NPMAPS - 1)];

	if (m->m_pm == NULL || m == active)
		return;
	pmap_destroy(m->m_pm);
	m->m_pm = NULL;
}

static void
do_activate(void)
{
	struct model *m = &model[rnd(NPMAPS)];

	if (m->m_pm == NULL)
		return;
	pmap_activate(m->m_pm);
	active = m;
	must(rcr3() == m->m_pm->pm_pd);
}

#define WINDOW(w)	(PMAP_WINDOW_MIN + (w) * PAGE_SIZE)

/* Frames that are shown all over; their contents are what counts here. */
static void
do_frames(void)
{
	unsigned char *a, *b;
	unsigned i = rnd(NDATA), j = (i + 1) % NDATA;

	a = host_phys(data[i]);
	b = host_phys(data[j]);
	memset(a, 'a' + (int)rnd(26), PAGE_SIZE);
	pmap_copy_page(data[i], data[j]);
	must(memcmp(a, b, PAGE_SIZE) == 0);
	pmap_zero_page(data[i]);
	must(a[0] == 0 && memcmp(a, a + 1, PAGE_SIZE - 1) == 0);
	must(b[0] != 0);
	must(sim_walk(kernel_pd, WINDOW(PMAP_WINDOW_ZERO)) == 0);
	must(sim_walk(kernel_pd, WINDOW(PMAP_WINDOW_COPY)) == 0);
}

static void
step(void)
{
	struct model *m = &model[rnd(3) == 0 ? 0 : rnd(NPMAPS)];

	if (m->m_pm == NULL)
		m = active;
	switch (rnd(16)) {
	case 0: case 1: case 2:	do_enter(m);		break;
	case 3: case 4:		do_remove(m);		break;
	case 5: case 6:		do_protect(m);		break;
	case 7: case 8:		do_kenter(&model[0]);	break;
	case 9:			do_kremove(&model[0]);	break;
	case 10:		do_bits(m);		break;
	case 11: case 12:	do_access(m);		break;
	case 13:		do_create();		break;
	case 14:		rnd(3) == 0 ? do_destroy() : do_frames(); break;
	case 15:		do_activate();		break;
	}
	if (sim_stale() != NULL)
		ck_abort_msg("stale: %s", sim_stale());
}

static void
against_model(unsigned from)
{
	unsigned k, i;

	seed = from;
	for (i = 0; i < NOPS; i++) {
		step();
		if (i % 100 == 0)
			check_all();
	}
	check_all();
	pmap_activate(kernel_pmap);
	active = &model[0];
	for (k = 1; k < NPMAPS; k++) {
		if (model[k].m_pm != NULL)
			pmap_destroy(model[k].m_pm);
		model[k].m_pm = NULL;
	}
	check_all();
}

START_TEST(random_global)
{
	boot(true);
	against_model(100 + (unsigned)_i);
}
END_TEST

START_TEST(random_not_global)
{
	boot(false);
	against_model(200 + (unsigned)_i);
}
END_TEST

/*
 * What is flushed, and how.
 */

/* n pages of a pmap from va on, all of them used. */
static void
use(struct pmap *pm, vaddr_t va, unsigned n)
{
	paddr_t pa;

	for (unsigned i = 0; i < n; i++) {
		must(pmap_enter(pm, va + ptoa(i), data[i % NDATA],
		    VM_PROT_RW) == 0);
		must(sim_access(va + ptoa(i), true, false, &pa));
		must(pa == data[i % NDATA]);
	}
	memset(&sim_count, 0, sizeof(sim_count));
}

static void
expect_flushed(unsigned pages, unsigned cr3, unsigned all)
{
	if (sim_count.sc_invlpg != pages || sim_count.sc_cr3 != cr3 ||
	    sim_count.sc_all != all)
		ck_abort_msg("%u pages, %u loads of %%cr3, %u of %%cr4",
		    sim_count.sc_invlpg, sim_count.sc_cr3, sim_count.sc_all);
	must(sim_stale() == NULL);
	memset(&sim_count, 0, sizeof(sim_count));
}

#define KVA	0xC0400000UL
#define UVA	0x00400000UL

static void
flush_kernel(bool global)
{
	paddr_t pa[PMAP_FLUSH_ALL + 1];

	use(kernel_pmap, KVA, PMAP_FLUSH_ALL);
	must(pmap_kremove(KVA, PMAP_FLUSH_ALL, pa) == PMAP_FLUSH_ALL);
	expect_flushed(PMAP_FLUSH_ALL, 0, 0);
	use(kernel_pmap, KVA, PMAP_FLUSH_ALL + 1);
	pmap_protect(kernel_pmap, KVA, KVA + ptoa(PMAP_FLUSH_ALL + 1),
	    VM_PROT_READ);
	expect_flushed(0, global ? 0 : 1, global ? 2 : 0);
	pmap_remove(kernel_pmap, KVA, KVA + ptoa(PMAP_FLUSH_ALL + 1));
	expect_flushed(0, global ? 0 : 1, global ? 2 : 0);
	/* Neither does what was never used need a flush. */
	for (unsigned i = 0; i < nitems(pa); i++)
		pa[i] = data[i];
	must(pmap_kenter(KVA, pa, nitems(pa), VM_PROT_RW) == 0);
	must(pmap_enter(kernel_pmap, KVA, data[7], VM_PROT_RW) == 0);
	must(pmap_kremove(KVA, nitems(pa), pa) == nitems(pa));
	must(pa[0] == data[7] && pa[1] == data[1]);
	expect_flushed(0, 0, 0);
}

START_TEST(flushed_kernel)
{
	boot(_i != 0);
	flush_kernel(_i != 0);
}
END_TEST

START_TEST(flushed_user)
{
	struct pmap *pm = pmap_create();

	must(pm != NULL);
	pmap_activate(pm);
	use(pm, UVA, PMAP_FLUSH_ALL + 2);
	pmap_protect(pm, UVA, UVA + ptoa(PMAP_FLUSH_ALL), VM_PROT_READ);
	expect_flushed(PMAP_FLUSH_ALL, 0, 0);
	must(pmap_clear_bits(pm, UVA, PMAP_ACCESSED) == PMAP_ACCESSED);
	expect_flushed(1, 0, 0);
	must(pmap_clear_bits(pm, UVA, PMAP_ACCESSED) == 0);
	expect_flushed(0, 0, 0);
	/* Two pages, then the table: upper levels, and a window. */
	pmap_remove(pm, UVA, UVA + ptoa(PMAP_FLUSH_ALL));
	memset(&sim_count, 0, sizeof(sim_count));
	pmap_remove(pm, UVA, UVA + ptoa(PT_ENTRIES));
	expect_flushed(3, 1, 0);
	/* Another address space leaves the kernel's pages cached. */
	use(kernel_pmap, KVA, 1);
	pmap_activate(kernel_pmap);
	must(sim_holds(data[0]));
	/* An inactive one's pages are nobody's to flush. */
	pmap_activate(pm);
	use(pm, UVA, 2);
	pmap_activate(kernel_pmap);
	must(pmap_clear_bits(pm, UVA + PAGE_SIZE, PMAP_MODIFIED) != 0);
	memset(&sim_count, 0, sizeof(sim_count));
	pmap_remove(pm, UVA, UVA + PAGE_SIZE);
	expect_flushed(0, 0, 0);
	pmap_destroy(pm);
}
END_TEST

/* What the CPU walks by itself is looked at where it stands. */
START_TEST(no_window_needed)
{
	struct pmap *a = pmap_create(), *b = pmap_create();

	pmap_activate(a);
	use(kernel_pmap, KVA, 1);
	use(kernel_pmap, KVA + ptoa(PT_ENTRIES), 1);
	must(pmap_enter(kernel_pmap, KVA + PAGE_SIZE, data[1], VM_PROT_RW) ==
	    0);
	must(pmap_enter(a, UVA, data[1], VM_PROT_RW) == 0);
	/* The frame of the user's table was zeroed: shown, and no more. */
	expect_flushed(2, 0, 0);
	/* The kernel's directory and b's learn of a table; a's is at hand. */
	must(pmap_enter(kernel_pmap, KVA + ptoa(2 * PT_ENTRIES), data[2],
	    VM_PROT_RW) == 0);
	expect_flushed(2 + 2, 0, 0);
	pmap_activate(kernel_pmap);
	pmap_destroy(a);
	pmap_destroy(b);
}
END_TEST

/* A long range lets interrupts in where a table ends, a short one need not. */
START_TEST(long_ranges_relax)
{
	static const unsigned pages[] = { 1, 24, 25, 1048, 1049 };
	static const uint64_t locks[] = { 1, 1, 3, 3, 5 };
	static paddr_t pa[2 * PT_ENTRIES];
	vaddr_t va = KVA + ptoa(1000);
	uint64_t was;

	for (unsigned i = 0; i < 4; i++)
		must(pmap_enter(kernel_pmap, KVA + ptoa(i * PT_ENTRIES),
		    data[0], VM_PROT_RW) == 0);
	pmap_remove(kernel_pmap, KVA, KVA + ptoa(4 * PT_ENTRIES));
	for (unsigned i = 0; i < nitems(pages); i++) {
		for (unsigned k = 0; k < pages[i]; k++)
			pa[k] = data[k % NDATA];
		was = host_locks()->hl_mtx;
		must(pmap_kenter(va, pa, pages[i], VM_PROT_RW) == 0);
		ck_assert_uint_eq(host_locks()->hl_mtx - was, locks[i]);
		was = host_locks()->hl_mtx;
		must(pmap_kremove(va, pages[i], pa) == pages[i]);
		ck_assert_uint_eq(host_locks()->hl_mtx - was,
		    (locks[i] + 1) / 2);
	}
}
END_TEST

/* The kernel's pages, too, be they global or not. */
START_TEST(flush_of_everything)
{
	paddr_t pa;

	boot(_i != 0);
	use(kernel_pmap, KVA, 3);
	pmap_flush_all();
	must(sim_count.sc_cr3 + sim_count.sc_all > 0);
	must(!sim_holds(data[0]) && !sim_holds(data[2]));
	must(sim_access(KVA, false, false, &pa) && sim_holds(data[0]));
}
END_TEST

/* A table is shown by a window, its pmap becomes active, it is freed. */
START_TEST(window_forgets_table)
{
	struct pmap *pm = pmap_create();
	pfn_t nfree = vm_phys_nfree();

	must(pmap_enter(pm, UVA, data[0], VM_PROT_RW) == 0);
	pmap_activate(pm);
	pmap_remove(pm, UVA, UVA + PAGE_SIZE);	/* free_table looks */
	must(vm_phys_nfree() == nfree);
	pmap_activate(kernel_pmap);
	pmap_destroy(pm);
}
END_TEST

/* A flush that is lost would be seen, by each of the ways there are. */
START_TEST(lost_flush_is_seen)
{
	use(kernel_pmap, KVA, 1);
	must(sim_stale() == NULL);
	sim_deaf = true;
	switch (_i) {
	case 0:
		pmap_remove(kernel_pmap, KVA, KVA + PAGE_SIZE);
		break;
	case 1:
		pmap_protect(kernel_pmap, KVA, KVA + PAGE_SIZE, VM_PROT_READ);
		break;
	case 2:
		pmap_enter(kernel_pmap, KVA, data[1], VM_PROT_RW);
		break;
	case 3:
		pmap_clear_bits(kernel_pmap, KVA, PMAP_MODIFIED);
		break;
	case 4:
		pmap_zero_page(data[1]);
		break;
	}
	must(sim_stale() != NULL);
}
END_TEST

/* A page is used between the look at its entry and the change of it. */
START_TEST(used_in_between)
{
	must(pmap_enter(kernel_pmap, KVA, data[0], VM_PROT_RW) == 0);
	used_meanwhile = KVA;
	pmap_protect(kernel_pmap, KVA, KVA + PAGE_SIZE, VM_PROT_READ);
	must(used_meanwhile == 0 && sim_stale() == NULL);
	must(!(pmap_live_pte(KVA) & PG_RW));
	must(pmap_test_bits(kernel_pmap, KVA) ==
	    (PMAP_ACCESSED | PMAP_MODIFIED));
	pmap_remove(kernel_pmap, KVA, KVA + PAGE_SIZE);
	must(pmap_enter(kernel_pmap, KVA, data[0], VM_PROT_RW) == 0);
	used_meanwhile = KVA;
	must(pmap_clear_bits(kernel_pmap, KVA, PMAP_MODIFIED) ==
	    PMAP_MODIFIED);
	must(used_meanwhile == 0 && sim_stale() == NULL);
	must(pmap_test_bits(kernel_pmap, KVA) == PMAP_ACCESSED);
}
END_TEST

/* A kernel table that is made later is there for all, from then on. */
START_TEST(kernel_table_is_everywhere)
{
	struct pmap *a = pmap_create(), *b = pmap_create();
	pfn_t nfree = vm_phys_nfree();
	paddr_t pa;

	pmap_activate(a);
	must(pmap_enter(kernel_pmap, KVA, data[3], VM_PROT_RW) == 0);
	must(vm_phys_nfree() == nfree - 1);
	for (unsigned i = 0; i < 3; i++) {
		pmap_activate(i == 0 ? a : i == 1 ? b : kernel_pmap);
		must(sim_access(KVA, true, false, &pa) && pa == data[3]);
		must(!sim_access(KVA, true, true, &pa));
	}
	pmap_remove(kernel_pmap, KVA, KVA + PAGE_SIZE);
	must(vm_phys_nfree() == nfree - 1);
	pmap_destroy(a);
	pmap_destroy(b);
	must(vm_phys_nfree() == nfree + 1);
}
END_TEST

/* No frame is left: nothing is changed, nothing is lost. */
START_TEST(out_of_frames)
{
	paddr_t pa = 0, last = 0;
	pte_t *link;
	struct pmap *pm = pmap_create();

	while (vm_phys_alloc(VM_PAGE_USER, &pa) == 0) {
		link = host_phys(pa);
		*link = (pte_t)last;
		last = pa;
	}
	must(pmap_create() == NULL);
	must(pmap_enter(pm, UVA, data[0], VM_PROT_RW) == ENOMEM);
	must(pmap_enter(kernel_pmap, KVA, data[0], VM_PROT_RW) == ENOMEM);
	must(pmap_kenter(KVA, data, 2, VM_PROT_RW) == ENOMEM);
	must(pmap_live_pte(KVA) == 0 && sim_stale() == NULL);
	for (; last != 0; last = pa) {
		pa = *(pte_t *)host_phys(last);
		vm_phys_free(last);
	}
	must(pmap_kenter(KVA, data, 2, VM_PROT_RW) == 0);
	must((pmap_live_pte(KVA + PAGE_SIZE) & PG_FRAME) == data[1]);
	must(pmap_global_pages());
	pmap_destroy(pm);
}
END_TEST

/*
 * Every operation that makes page tables, with each of them refused in turn:
 * nothing is changed, but for the kernel's tables that could be had, and what
 * was made for nothing is given back.
 */
static struct pmap *made, *fresh;

static int
op_enter_user(void)
{
	return pmap_enter(fresh, UVA, data[0], VM_PROT_RW);
}

static int
op_enter_kernel(void)
{
	return pmap_enter(kernel_pmap, KVA, data[0], VM_PROT_RW);
}

static int
op_kenter(void)
{
	static paddr_t pa[2 * PT_ENTRIES + 2];

	for (unsigned i = 0; i < nitems(pa); i++)
		pa[i] = data[i % NDATA];
	return pmap_kenter(KVA + ptoa(PT_ENTRIES - 1), pa, nitems(pa),
	    VM_PROT_RW);
}

static int
op_create(void)
{
	made = pmap_create();
	return made == NULL ? ENOMEM : 0;
}

static const struct maker {
	int		(*m_op)(void);
	unsigned	m_tables;	/* that it makes */
	struct pmap	**m_pm;		/* what is unmapped afterwards, */
	vaddr_t		m_va;		/* from here */
	unsigned	m_pages;
} makers[] = {
	{ op_enter_user, 1, &fresh, UVA, 1 },
	{ op_enter_kernel, 1, NULL, KVA, 1 },
	{ op_kenter, 4, NULL, KVA + ptoa(PT_ENTRIES - 1),
	    2 * PT_ENTRIES + 2 },
	{ op_create, 1, &made, UVA, 0 },
};

/* Is [va, va + n pages) as if nothing had been done? */
static void
untouched(const struct maker *m)
{
	struct pmap *pm = m->m_pm == NULL ? kernel_pmap : *m->m_pm;
	paddr_t pa;

	for (unsigned i = 0; i < m->m_pages; i++)
		must(!pmap_extract(pm, m->m_va + ptoa(i), &pa));
	must(sim_stale() == NULL);
	must(vm_phys_check() == NULL);
	must(host_locks()->hl_held == 0);
}

#define REFUSALS	6	/* more than any of them makes tables */

START_TEST(each_table_refused)
{
	const struct maker *m = &makers[(unsigned)_i / REFUSALS];
	unsigned nth = 1 + (unsigned)_i % REFUSALS, had;
	pfn_t nfree;
	int error;

	boot(true);
	fresh = pmap_create();
	nfree = vm_phys_nfree();
	vm_fail_set(VM_FAIL_PTP, nth, false);
	error = m->m_op();
	vm_fail_set(VM_FAIL_PTP, 0, false);
	must(error == (nth <= m->m_tables ? ENOMEM : 0));
	if (error != 0) {
		untouched(m);
		had = m->m_tables == 1 ? 0 : nth - 1;
		must(vm_phys_nfree() == nfree - had);
		/* The next try gets what was missing, and makes the rest. */
		must(m->m_op() == 0);
	}
	must(vm_phys_nfree() == nfree - m->m_tables);
	if (m->m_pages == 0)
		pmap_destroy(made);
	else {
		pmap_remove(m->m_pm == NULL ? kernel_pmap : fresh, m->m_va,
		    m->m_va + ptoa(m->m_pages));
		untouched(m);
	}
	/* The kernel's tables are for ever, the user's are not. */
	must(vm_phys_nfree() == nfree - (m->m_pm == NULL ? m->m_tables : 0));
}
END_TEST

/* No memory for a struct pmap: no frame is taken for it, either. */
START_TEST(no_memory_to_create)
{
	pfn_t nfree = vm_phys_nfree();

	no_memory = true;
	must(pmap_create() == NULL);
	no_memory = false;
	must(vm_phys_nfree() == nfree);
	must(host_locks()->hl_held == 0);
}
END_TEST

/* The double fault's task comes with the kernel's directory. */
START_TEST(reload)
{
	struct pmap *pm = pmap_create();
	paddr_t pa;

	must(pmap_enter(pm, UVA, data[0], VM_PROT_RW) == 0);
	pmap_activate(pm);
	lcr3(kernel_pd);
	must(!sim_access(UVA, false, false, &pa));
	pmap_reload();
	must(sim_access(UVA, false, false, &pa) && pa == data[0]);
}
END_TEST

/*
 * Mistakes: each panics, with its word.
 */
static void
kenter_twice(void)
{
	pmap_kenter(KVA, data, 3, VM_PROT_RW);
	pmap_kenter(KVA + ptoa(2), data, 1, VM_PROT_RW);
}

static void
kenter_too_many(void)
{
	pmap_kenter(KVA, data, 1u << 20, VM_PROT_RW);	/* 0 bytes in 32 bits */
}

static void
kremove_user(void)
{
	paddr_t pa;

	pmap_kremove(UVA, 1, &pa);
}

static void
enter_user(void)
{
	pmap_enter(kernel_pmap, UVA, data[0], VM_PROT_RW);
}

static void
enter_page_0(void)
{
	pmap_enter(pmap_create(), 0, data[0], VM_PROT_RW);
}

static void
remove_unaligned(void)
{
	pmap_remove(kernel_pmap, KVA + 1, KVA + PAGE_SIZE);
}

static void
zero_unaligned(void)
{
	pmap_zero_page(data[0] + 1);
}

static void
copy_unaligned(void)
{
	pmap_copy_page(data[0], data[1] + 1);
}

static void
enter_unaligned(void)
{
	pmap_enter(kernel_pmap, KVA, data[0] + 4, VM_PROT_RW);
}

static void
enter_unreadable(void)
{
	pmap_enter(kernel_pmap, KVA, data[0], VM_PROT_WRITE);
}

static void
remove_backwards(void)
{
	pmap_remove(kernel_pmap, KVA + PAGE_SIZE, KVA);
}

static void
remove_too_far(void)
{
	pmap_remove(kernel_pmap, VM_MAX_KERNEL_ADDRESS - PAGE_SIZE,
	    VM_MAX_KERNEL_ADDRESS + PAGE_SIZE);
}

static void
remove_too_far_user(void)
{
	pmap_remove(pmap_create(), UVA, VM_MAX_ADDRESS + PAGE_SIZE);
}

/* The count of a table's entries, where it can only be wrong. */
static void
miscount(pte_t refs, bool more)
{
	struct pmap *pm = pmap_create();
	pte_t pde;

	pmap_enter(pm, UVA, data[0], VM_PROT_RW);
	pde = sim_table(pm->pm_pd)[PDE_INDEX(UVA)];
	vm_phys_page(pde & PG_FRAME)->pg_refs = (uint16_t)refs;
	if (more)
		pmap_enter(pm, UVA + PAGE_SIZE, data[1], VM_PROT_RW);
	else
		pmap_remove(pm, UVA, UVA + PAGE_SIZE);
}

static void
count_too_few(void)
{
	miscount(1, false);
}

static void
count_too_many(void)
{
	miscount(1 + PT_ENTRIES, true);
}

static void
destroy_kernel(void)
{
	pmap_destroy(kernel_pmap);
}

static void
destroy_idle_kernel(void)
{
	pmap_activate(pmap_create());
	pmap_destroy(kernel_pmap);
}

static void
destroy_active(void)
{
	struct pmap *pm = pmap_create();

	pmap_activate(pm);
	pmap_destroy(pm);
}

static const struct mistake {
	void		(*m_fn)(void);
	const char	*m_word;
} mistakes[] = {
	{ kenter_twice, "is mapped there" },
	{ kenter_too_many, "1048576 pages" },
	{ kremove_user, "no such range" },
	{ enter_user, "no such range" },
	{ enter_page_0, "no such range" },
	{ remove_unaligned, "no such range" },
	{ zero_unaligned, "page_aligned" },
	{ copy_unaligned, "page_aligned" },
	{ enter_unaligned, "bad frame" },
	{ enter_unreadable, "bad frame" },
	{ remove_backwards, "no such range" },
	{ remove_too_far, "no such range" },
	{ remove_too_far_user, "no such range" },
	{ count_too_few, "pg_refs" },
	{ count_too_many, "pg_refs" },
	{ destroy_kernel, "the kernel's one" },
	{ destroy_idle_kernel, "the kernel's one" },
	{ destroy_active, "the active one" },
};

static void
make_mistake(void *arg)
{
	((const struct mistake *)arg)->m_fn();
}

START_TEST(mistakes_are_seen)
{
	struct mistake m = mistakes[_i];
	const char *said = host_panic_of(make_mistake, &m, NULL);

	ck_assert_ptr_nonnull(said);
	ck_assert_msg(strstr(said, m.m_word) != NULL, "%s", said);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("pmap");
	TCase *tc = tcase_create("pmap"), *big = tcase_create("model");
	SRunner *sr;
	int failed;

	suite_add_tcase(s, tc);
	tcase_add_checked_fixture(tc, boot_with_pge, NULL);
	tcase_add_test(tc, flushed_user);
	tcase_add_test(tc, window_forgets_table);
	tcase_add_test(tc, kernel_table_is_everywhere);
	tcase_add_test(tc, out_of_frames);
	tcase_add_test(tc, used_in_between);
	tcase_add_test(tc, no_window_needed);
	tcase_add_test(tc, long_ranges_relax);
	tcase_add_test(tc, no_memory_to_create);
	tcase_add_test(tc, reload);
	tcase_add_loop_test(tc, lost_flush_is_seen, 0, 5);
	tcase_add_loop_test(tc, mistakes_are_seen, 0, nitems(mistakes));
	suite_add_tcase(s, big);
	tcase_add_loop_test(big, flushed_kernel, 0, 2);
	tcase_add_loop_test(big, flush_of_everything, 0, 2);
	tcase_add_loop_test(big, each_table_refused, 0,
	    REFUSALS * nitems(makers));
	tcase_add_loop_test(big, random_global, 0, 4);
	tcase_add_loop_test(big, random_not_global, 0, 2);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
