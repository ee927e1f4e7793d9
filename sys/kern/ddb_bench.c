/*
 * bench: what kmem_alloc and kmem_free cost on this machine, and which layer
 * has how much of it.
 *
 * The same steps are done by themselves, for as many pages: the addresses
 * (vm_map_alloc, vm_map_free), the frames (vm_phys), the mappings (pmap), and
 * of these the invalidations of the TLB.  What is left of the whole is kmem's
 * own.  And last what they cost when the range cache, which is off for all
 * the others, has what is asked for.  A count is the least of several: all
 * else in it is the machine's noise.  The counter is the processor's time
 * stamp, which in Bochs counts instructions, each as one; elsewhere it counts
 * cycles.
 */
#include <kern/ddb.h>
#include <kern/md.h>
#include <vm/kmem_range.h>
#include <vm/pmap.h>
#include <vm/vm_kmem.h>
#include <vm/vm_phys.h>

#define MAXPAGES	16
#define ROUNDS		8	/* the first warm up; then all are alike */

struct work {
	unsigned	 w_pages;
	vaddr_t		 w_va;			/* for mappings */
	paddr_t		 w_pa[MAXPAGES];
};

static bool
do_nothing(struct work *w)
{
	return true;
}

static bool
do_kmem(struct work *w)
{
	vaddr_t va = kmem_alloc(kernel_map, ptoa(w->w_pages), KM_NOSLEEP);

	if (va == 0)
		return false;
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

/* When they go; a page that shows nothing yet is in no TLB. */
static bool
do_tlb(struct work *w)
{
	for (unsigned i = 0; i < w->w_pages; i++)
		md_tlb_flush(w->w_va + ptoa(i));
	return true;
}

/*
 * The least count of several.
 * => false: it could not be done
 */
static bool
count(bool (*fn)(struct work *), struct work *w, uint64_t *least)
{
	uint64_t t;
	uintptr_t intr = md_intr_disable();
	bool ok = true;

	*least = UINT64_MAX;
	for (unsigned i = 0; i < ROUNDS && ok; i++) {
		t = md_tsc();
		ok = fn(w);
		t = md_tsc() - t;
		if (t < *least)
			*least = t;
	}
	md_intr_restore(intr);
	return ok;
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
	{ "TLB", do_tlb, false },
	{ "range", do_kmem, true },
};
enum { NONE, ALL, SPACE, FRAMES, MAPPINGS, TLB, RANGE };

/* Counts of all parts; mappings without the TLB. */
static bool
count_all(struct work *w, uint64_t t[nitems(parts)])
{
	for (unsigned i = 0; i < nitems(parts); i++) {
		kmem_range_enable(parts[i].p_range);
		if (!count(parts[i].p_fn, w, &t[i]))
			return false;
	}
	for (unsigned i = nitems(parts); i-- > 0;)
		t[i] -= t[i] < t[NONE] ? t[i] : t[NONE];
	t[MAPPINGS] -= t[TLB] < t[MAPPINGS] ? t[TLB] : t[MAPPINGS];
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

/* Addresses for the mappings and frames to show there. */
static bool
work_init(struct work *w)
{
	*w = (struct work){ .w_pages = MAXPAGES };
	w->w_va = kmem_alloc(kernel_map, ptoa(MAXPAGES), KM_NOSLEEP);
	if (w->w_va == 0)
		return false;
	pmap_kremove(w->w_va, MAXPAGES, w->w_pa);
	return true;
}

static void
work_fini(struct work *w)
{
	if (pmap_kenter(w->w_va, w->w_pa, MAXPAGES, VM_PROT_RW) != 0)
		panic("bench: the pages at %#lx are lost", w->w_va);
	kmem_free(kernel_map, w->w_va, ptoa(MAXPAGES));
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
	kmem_range_enable(was);
	work_fini(&w);
	for (unsigned i = 0; i < nitems(pages) && ok; i++)
		print_lines(pages[i], t[i]);
}
