/*
 * bench: what kmem_alloc and kmem_free cost on this machine, and which layer
 * has how much of it.
 *
 * The same steps are done by themselves, for as many pages: the addresses
 * (vm_map_alloc, vm_map_free), the frames (vm_phys), the mappings (pmap), and
 * the invalidations of the TLB, which is what mappings cost more when their
 * pages were used.  What is left of the whole is kmem's own.  And last what
 * they cost when the range cache, which is off for all the others, has what
 * is asked for.  A count is the least of several: all else in it is the
 * machine's noise.  The counter is the processor's time stamp, which in Bochs
 * counts instructions, each as one; elsewhere it counts cycles.
 *
 * Then where pmap.c's PMAP_FLUSH_ALL would have to be on this machine: beyond
 * how many pages one flush of the whole TLB, and what is lost by it, is
 * cheaper than as many invalidations.  What is lost are the entries of pages
 * that are still in use, and it costs a walk of the page tables each when
 * they are used again: a few numbers of them are tried.  An emulator has no
 * TLB of silicon: in Bochs a walk is no instruction, in QEMU it is many.
 */
#include <kern/ddb.h>
#include <kern/md.h>
#include <vm/kmem_range.h>
#include <vm/pmap.h>
#include <vm/vm_kmem.h>
#include <vm/vm_phys.h>

#define MAXPAGES	16
#define USEDPAGES	64	/* a TLB's worth; a 486 has 32 */
#define ROUNDS		8	/* the first warm up; then all are alike */

struct work {
	unsigned	 w_pages;
	vaddr_t		 w_va;			/* for mappings */
	paddr_t		 w_pa[MAXPAGES];
	vaddr_t		 w_used;		/* mapped pages */
};

static bool
do_nothing(struct work *w)
{
	return true;
}

/* What is used gets into the TLB. */
static void
use(vaddr_t va, unsigned pages)
{
	for (unsigned i = 0; i < pages; i++)
		(void)*(volatile char *)(va + ptoa(i));
}

static bool
do_kmem(struct work *w)
{
	vaddr_t va = kmem_alloc(kernel_map, ptoa(w->w_pages), KM_NOSLEEP);

	if (va == 0)
		return false;
	use(va, w->w_pages);
	kmem_free(kernel_map, va, ptoa(w->w_pages));
	return true;
}

static bool
do_space(struct work *w)
{
	const struct vm_map_request vr = {
		.vr_size = ptoa(w->w_pages), .vr_min = VM_MISC_MIN,
		.vr_max = VM_MISC_MAX, .vr_prot = VM_PROT_RW,
		.vr_owner = "bench",
	};
	vaddr_t va;

	return vm_map_alloc(kernel_map, &vr, &va) == 0 &&
	    vm_map_free(kernel_map, va, ptoa(w->w_pages)) == 0;
}

static bool
do_frames(struct work *w)
{
	paddr_t pa[MAXPAGES];

	if (vm_phys_alloc_many(w->w_pages, VM_PAGE_KMEM, pa) != 0)
		return false;
	vm_phys_free_many(pa, w->w_pages);
	return true;
}

static bool
do_mappings(struct work *w)
{
	paddr_t pa[MAXPAGES];

	return pmap_kenter(w->w_va, w->w_pa, w->w_pages, VM_PROT_RW) == 0 &&
	    pmap_kremove(w->w_va, w->w_pages, pa) == w->w_pages;
}

static bool
do_mappings_used(struct work *w)
{
	paddr_t pa[MAXPAGES];

	if (pmap_kenter(w->w_va, w->w_pa, w->w_pages, VM_PROT_RW) != 0)
		return false;
	use(w->w_va, w->w_pages);
	return pmap_kremove(w->w_va, w->w_pages, pa) == w->w_pages;
}

static bool
do_use(struct work *w)
{
	use(w->w_used, w->w_pages);
	return true;
}

static bool
do_flush_pages(struct work *w)
{
	for (unsigned i = 0; i < w->w_pages; i++)
		md_tlb_flush(w->w_used + ptoa(i));
	return true;
}

static bool
do_flush_all(struct work *w)
{
	md_tlb_flush_all();
	use(w->w_used, w->w_pages);
	return true;
}

bool
ddb_count(bool (*fn)(void *), void *arg, uint64_t *least)
{
	uint64_t t;
	uintptr_t intr = md_intr_disable();
	bool ok = true;

	*least = UINT64_MAX;
	for (unsigned i = 0; i < ROUNDS && ok; i++) {
		t = md_tsc();
		ok = fn(arg);
		t = md_tsc() - t;
		if (t < *least)
			*least = t;
	}
	md_intr_restore(intr);
	return ok;
}

/* A step, for ddb_count. */
struct step {
	bool		(*s_fn)(struct work *);
	struct work	*s_work;
};

static bool
do_step(void *arg)
{
	const struct step *s = arg;

	return s->s_fn(s->s_work);
}

static bool
count(bool (*fn)(struct work *), struct work *w, uint64_t *least)
{
	struct step s = { fn, w };

	return ddb_count(do_step, &s, least);
}

static const struct part {
	const char	*p_name;
	bool		(*p_fn)(struct work *);
	bool		 p_range;	/* with the range cache */
} parts[] = {
	{ "none", do_nothing, false },
	{ "all", do_kmem, false },
	{ "space", do_space, false },
	{ "frames", do_frames, false },
	{ "mappings", do_mappings, false },
	{ "TLB", do_mappings_used, false },
	{ "range", do_kmem, true },
	{ "use", do_use, false },
};
enum { NONE, ALL, SPACE, FRAMES, MAPPINGS, TLB, RANGE, USE };

/* a - b, of counts that may have noise in them. */
static uint64_t
less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

/* Counts of all parts, without what it takes to use the pages. */
static bool
count_all(struct work *w, uint64_t t[nitems(parts)])
{
	for (unsigned i = 0; i < nitems(parts); i++) {
		kmem_range_enable(parts[i].p_range);
		if (!count(parts[i].p_fn, w, &t[i]))
			return false;
	}
	for (unsigned i = nitems(parts); i-- > 0;)
		t[i] = less(t[i], t[NONE]);
	t[ALL] = less(t[ALL], t[USE]);
	t[RANGE] = less(t[RANGE], t[USE]);
	t[TLB] = less(t[TLB], t[MAPPINGS] + t[USE]);
	return true;
}

static void
print_counts(unsigned pages, const uint64_t t[nitems(parts)])
{
	uint64_t known = 0;

	printf("%5u %8llu ", pages, (unsigned long long)t[ALL]);
	for (unsigned i = SPACE; i <= TLB; i++) {
		known += t[i];
		printf(" %9llu", (unsigned long long)t[i]);
	}
	printf(" %8lld %7llu\n", (long long)(t[ALL] - known),
	    (unsigned long long)t[RANGE]);
}

/* The same for scripts. */
static void
print_lines(unsigned pages, const uint64_t t[nitems(parts)])
{
	unsigned percent;

	for (unsigned i = ALL; i <= TLB; i++)
		printf("bench kmem-%u-%s ours=%llu ticks\n", pages,
		    parts[i].p_name, (unsigned long long)t[i]);
	percent = (unsigned)(t[RANGE] * 100 / (t[ALL] == 0 ? 1 : t[ALL]));
	printf("bench kmem-%u-range ours=%llu peer=%llu ratio=%u.%02u ticks\n",
	    pages, (unsigned long long)t[RANGE], (unsigned long long)t[ALL],
	    percent / 100, percent % 100);
}

/* How often a is in b, in hundredths; the denominator is not 0. */
static unsigned
times(uint64_t b, uint64_t a)
{
	return (unsigned)(b * 100 / (a == 0 ? 1 : a));
}

/* One flush of everything, and so many pages used again, are how many? */
static void
print_flush(struct work *w, unsigned used)
{
	uint64_t none, use_them, pages, all;
	unsigned meet;

	w->w_pages = used;
	if (!count(do_nothing, w, &none) || !count(do_use, w, &use_them) ||
	    !count(do_flush_pages, w, &pages) || !count(do_flush_all, w, &all))
		return;
	all = less(all, use_them);
	pages = less(pages, none);
	meet = times(all * used, pages);
	printf("%5u %8llu %10u.%02u %10u.%02u\n", used,
	    (unsigned long long)all, times(pages, used) / 100,
	    times(pages, used) % 100, meet / 100, meet % 100);
	printf("bench tlb-meet-%u ours=%u.%02u pages\n", used, meet / 100,
	    meet % 100);
}

static void
bench_tlb(struct work *w)
{
	printf("TLB: pages in use, a flush of all and using them again, an "
	    "invalidation;\nso many of these are as dear as the flush\n"
	    " used      all      a page         pages\n");
	for (unsigned used = 8; used <= USEDPAGES; used *= 2)
		print_flush(w, used);
}

/*
 * Addresses for the mappings and frames to show there; and mapped pages.
 */
static bool
work_init(struct work *w)
{
	*w = (struct work){ .w_pages = MAXPAGES };
	w->w_used = kmem_alloc(kernel_map, ptoa(USEDPAGES), KM_NOSLEEP);
	if (w->w_used == 0)
		return false;
	w->w_va = kmem_alloc(kernel_map, ptoa(MAXPAGES), KM_NOSLEEP);
	if (w->w_va == 0) {
		kmem_free(kernel_map, w->w_used, ptoa(USEDPAGES));
		return false;
	}
	pmap_kremove(w->w_va, MAXPAGES, w->w_pa);
	return true;
}

static void
work_fini(struct work *w)
{
	if (pmap_kenter(w->w_va, w->w_pa, MAXPAGES, VM_PROT_RW) != 0)
		panic("bench: the pages at %#lx are lost", w->w_va);
	kmem_free(kernel_map, w->w_va, ptoa(MAXPAGES));
	kmem_free(kernel_map, w->w_used, ptoa(USEDPAGES));
}

void
ddb_bench(const struct ddb_args *da)
{
	static const unsigned pages[] = { 1, 2, 4, 8, MAXPAGES };
	uint64_t t[nitems(pages)][nitems(parts)];
	bool ok = true, was;
	struct work w;

	if (!md_has_tsc()) {
		printf("this processor has no time stamp counter\n");
		return;
	}
	if (!work_init(&w)) {
		printf("no memory to measure with\n");
		return;
	}
	printf("kmem_alloc and kmem_free: counts of the time stamp\n"
	    "(in Bochs these are instructions)\n"
	    "pages      all      space    frames  mappings       TLB"
	    "   kmem's   range\n");
	was = kmem_range_enable(false);
	for (unsigned i = 0; i < nitems(pages) && ok; i++) {
		w.w_pages = pages[i];
		ok = count_all(&w, t[i]);
		if (ok)
			print_counts(pages[i], t[i]);
	}
	if (ok)
		bench_tlb(&w);
	kmem_range_enable(was);
	work_fini(&w);
	for (unsigned i = 0; i < nitems(pages) && ok; i++)
		print_lines(pages[i], t[i]);
	ddb_bench_slab();
}
