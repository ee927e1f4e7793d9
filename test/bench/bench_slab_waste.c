/*
 * What the heap's classes waste, measured: so many objects of each class are
 * allocated, and the frames that are gone then are counted, whatever they are
 * needed for.  And what pages cost.
 */
#include <stdio.h>
#include <stdlib.h>

#include <vm/kmem_range.h>

#include "bench_slab.h"
#include "host.h"

#define MANY_PAGES	2048u		/* of objects, to measure a class */
#define MAXSIZE		PAGE_SIZE

struct class {
	size_t		c_size;		/* the largest request it serves */
	double		c_held;		/* bytes, for one object of it */
	unsigned	c_slab_pages, c_per_slab;
};

/* The class that serves size bytes: allocated, counted, freed. */
static void
measure_class(struct class *cl, size_t size)
{
	const struct party *p = &parties[KMALLOC];
	struct kmem_cache_stats cs = { .cs_name = "" };
	struct kmem_cache *kc;
	size_t i, n = MANY_PAGES * PAGE_SIZE / size;
	void **obj = malloc(n * sizeof(*obj)), *begin;
	long before;

	party_trim(p);
	before = party_pages(p);
	for (i = 0; i < n; i++)
		obj[i] = kmalloc(size, M_BENCH, KM_SLEEP);
	cl->c_held = (double)(party_pages(p) - before) * PAGE_SIZE /
	    (double)n;
	cl->c_size = kmalloc_usable(obj[0]);
	if (kmem_cache_find(obj[0], &kc, &begin))
		kmem_cache_stats(kc, &cs);
	cl->c_slab_pages = cs.cs_slab_pages;
	cl->c_per_slab = cs.cs_per_slab;
	for (i = 0; i < n; i++)
		kfree(obj[i], M_BENCH);
	free(obj);
}

static double
waste(const struct class *cl, size_t size)
{
	return 100 * (cl->c_held - (double)size) / cl->c_held;
}

static void
waste_table(void *arg)
{
	struct class cl;
	size_t size, first = 1;
	double w, sum = 0, worst = 0;

	parties_load(0, 0);
	printf("What the heap's classes waste, of what they hold (measured by "
	    "frames): at the\nlargest size that a class serves, and at the "
	    "smallest.\n\n%8s %10s %6s %8s %9s %9s %9s\n", "class", "slab",
	    "holds", "B each", "%largest", "%smallest", "%average");
	for (; first <= MAXSIZE; first = cl.c_size + 1) {
		measure_class(&cl, first);
		for (w = 0, size = first; size <= cl.c_size; size++) {
			w += waste(&cl, size);
			if (size > 64 && waste(&cl, size) > worst)
				worst = waste(&cl, size);
		}
		sum += w;
		printf("%8zu %4u pages %6u %8.1f %9.2f %9.2f %9.2f\n",
		    cl.c_size, cl.c_slab_pages, cl.c_per_slab, cl.c_held,
		    waste(&cl, cl.c_size), waste(&cl, first),
		    w / (double)(cl.c_size - first + 1));
		bench_figure("%", waste(&cl, cl.c_size), 0, "%swaste.%zu",
		    opt.o_prefix, cl.c_size);
	}
	sum /= (double)MAXSIZE;
	printf("\none object of each size of 1-%lu bytes: %.2f %% on average "
	    "(target 5: %s),\n%.2f %% at worst above 64 bytes (target 12.5: "
	    "%s)\n\n", (unsigned long)MAXSIZE, sum, sum <= 5 ? "met" :
	    "NOT MET", worst, worst <= 12.5 ? "met" : "NOT MET");
	bench_figure("%", sum, 0, "%swaste.average", opt.o_prefix);
	bench_figure("%", worst, 0, "%swaste.worst", opt.o_prefix);
}

void
bench_slab_waste(void)
{
	bench_apart(waste_table, NULL, "waste");
}

/*
 * kmem_alloc and kmem_free of 1 to 8 pages, by the range cache and, with that
 * turned off, by kernel_map, in turn.
 */
#define PAGES_SLICES	9u
#define PAGES_TARGET	0.2

struct way {
	double		w_ns[PAGES_SLICES];
	double		w_median;
	double		w_calls;	/* of the host's, for the two */
};

static void
pages_timed(struct way *w, unsigned slice, unsigned npages, unsigned n)
{
	const vsize_t size = ptoa((vsize_t)npages);
	const uint64_t calls = host_syscalls();
	double t = cpu_ns();
	vaddr_t va;
	unsigned i;

	for (i = 0; i < n; i++) {
		va = kmem_alloc(kernel_map, size, KM_SLAB);
		if (va == 0)
			bench_die("no pages");
		kmem_free(kernel_map, va, size);
	}
	w->w_ns[slice] = (cpu_ns() - t) / n;
	w->w_calls = (double)(host_syscalls() - calls) / n;
}

static void
pages_row(unsigned pages, unsigned n)
{
	struct way cache, tree;
	unsigned s;

	for (s = 0; s < PAGES_SLICES; s++) {
		kmem_range_enable(true);
		pages_timed(&cache, s, pages, n * 50);
		kmem_range_enable(false);
		pages_timed(&tree, s, pages, n);
	}
	cache.w_median = bench_median(cache.w_ns, PAGES_SLICES);
	tree.w_median = bench_median(tree.w_ns, PAGES_SLICES);
	printf("%8u %10.1f %10.1f %8.4f  %.2f %-8s %7.2f %7.2f\n", pages,
	    cache.w_median, tree.w_median, cache.w_median / tree.w_median,
	    PAGES_TARGET, cache.w_median <= PAGES_TARGET * tree.w_median ?
	    "met" : "NOT MET", cache.w_calls, tree.w_calls);
	bench_figure("ns", cache.w_median, tree.w_median, "%spages.%u",
	    opt.o_prefix, pages);
}

static void
pages_table(void *arg)
{
	unsigned pages;

	parties_load(0, 0);
	printf("kmem_alloc and kmem_free of so many pages, nanoseconds for "
	    "the two: by the range cache,\nand with that turned off by the "
	    "tree; and how many system calls our machine made\nfor "
	    "them.\n\n%8s %10s %10s    ratio "
	    "target         calls\n", "pages", "cache", "tree");
	for (pages = 1; pages <= 8; pages++)
		pages_row(pages, opt.o_quick ? 100 : 1000);
	printf("\n");
}

void
bench_slab_pages(void)
{
	bench_apart(pages_table, NULL, "pages");
}
