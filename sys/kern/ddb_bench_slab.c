/*
 * bench, its second half: what an allocation and a free of an object cost.
 *
 * As in ddb_bench.c a count is the least of several, of the processor's time
 * stamp, and in Bochs these are instructions.  "plain" is a cache that watches
 * for nothing, "checked" one with KMD_CHECK; the heap is as it was booted.
 */
#include <kern/ddb.h>
#include <kern/md.h>
#include <vm/kmalloc.h>
#include <vm/kmem_debug.h>

#define SIZE		64	/* of an object */
#define MANY		512	/* as many at a time: several magazines */
#define BULK		32
#define ROUNDS		8

KMALLOC_DEFINE(M_BENCH, "bench", "the debugger's command bench");

static struct kmem_cache *cache;
static void *obj[MANY];

static void
do_nothing(void)
{
}

static void
do_pair(void)
{
	kmem_cache_free(cache, kmem_cache_alloc(cache, KM_NOSLEEP));
}

static void
do_many(void)
{
	unsigned n = 0;

	while (n < MANY && (obj[n] = kmem_cache_alloc(cache, KM_NOSLEEP)) !=
	    NULL)
		n++;
	while (n > 0)
		kmem_cache_free(cache, obj[--n]);
}

static void
do_bulk(void)
{
	if (kmem_cache_alloc_many(cache, BULK, obj, KM_NOSLEEP) == 0)
		kmem_cache_free_many(cache, BULK, obj);
}

static void
do_slab(void)
{
	do_pair();
	kmem_cache_reap(cache);
}

static void
do_kmalloc(void)
{
	kfree(kmalloc(SIZE, M_BENCH, KM_NOSLEEP), M_BENCH);
}

static void
do_pages(void)
{
	kfree(kmalloc(3 * PAGE_SIZE, M_BENCH, KM_NOSLEEP), M_BENCH);
}

static uint64_t
least(void (*fn)(void))
{
	uintptr_t intr = md_intr_disable();
	uint64_t t, min = UINT64_MAX;

	for (unsigned i = 0; i < ROUNDS; i++) {
		t = md_tsc();
		fn();
		t = md_tsc() - t;
		if (t < min)
			min = t;
	}
	md_intr_restore(intr);
	return min;
}

static const struct part {
	const char	*p_name, *p_what;
	void		(*p_fn)(void);
	unsigned	 p_ops;		/* pairs of alloc and free */
} cache_parts[] = {
	{ "pair", "one object", do_pair, 1 },
	{ "lifo", "512, freed backwards", do_many, MANY },
	{ "bulk", "32 at once", do_bulk, BULK },
	{ "slab", "one, and reaped", do_slab, 1 },
}, heap_parts[] = {
	{ "kmalloc", "kmalloc(64)", do_kmalloc, 1 },
	{ "pages", "kmalloc(3 pages)", do_pages, 1 },
};

static void
print_part(const char *of, const struct part *p, uint64_t none)
{
	uint64_t t = least(p->p_fn);

	t = t < none ? 0 : t - none;
	printf("%-8s %-22s %6llu\n", of, p->p_what,
	    (unsigned long long)(t / p->p_ops));
	printf("bench slab-%s-%s ours=%llu ticks\n", of, p->p_name,
	    (unsigned long long)(t / p->p_ops));
}

static void
bench_cache(const char *of, const char *name, uint64_t none)
{
	const struct kmem_cache_args ca = { .ca_name = name, .ca_size = SIZE };

	cache = kmem_cache_create(&ca);
	if (cache == NULL) {
		printf("no memory for a cache\n");
		return;
	}
	for (unsigned i = 0; i < nitems(cache_parts); i++)
		print_part(of, &cache_parts[i], none);
	kmem_cache_destroy(cache);
}

void
ddb_bench_slab(void)
{
	static bool ruled;
	const uint64_t none = least(do_nothing);

	if (!ruled) {
		kmem_debug_option("off:bench_plain");
		kmem_debug_option("off:bench_checked");
		kmem_debug_option("check:bench_checked");
	}
	ruled = true;
	printf("an allocation and a free of %u bytes, for each object\n",
	    SIZE);
	bench_cache("plain", "bench plain", none);
	bench_cache("checked", "bench checked", none);
	for (unsigned i = 0; i < nitems(heap_parts); i++)
		print_part("heap", &heap_parts[i], none);
}
