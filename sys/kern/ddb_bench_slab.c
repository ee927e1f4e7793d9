/*
 * bench, its second half: what an allocation and a free of an object cost.
 *
 * As in ddb_bench.c counts are of the processor's time stamp (ddb_count), and
 * in Bochs these are instructions.  "plain" is a cache that watches for
 * nothing, "checked" one with KMD_CHECK; the heap is as it was booted.
 */
#include <kern/ddb.h>
#include <kern/md.h>
#include <vm/kmalloc.h>
#include <vm/kmem_debug.h>

#define SIZE		64	/* of an object */
#define MANY		512	/* as many at a time: several magazines */
#define BULK		32

KMALLOC_DEFINE(M_BENCH, "bench", "the debugger's command bench");

static struct kmem_cache *cache;
static void *obj[MANY];

static bool
do_nothing(void *arg)
{
	return true;
}

static bool
do_pair(void *arg)
{
	void *p = kmem_cache_alloc(cache, KM_NOSLEEP);

	kmem_cache_free(cache, p);
	return p != NULL;
}

static bool
do_many(void *arg)
{
	unsigned i, n = 0;

	while (n < MANY && (obj[n] = kmem_cache_alloc(cache, KM_NOSLEEP)) !=
	    NULL)
		n++;
	for (i = n; i > 0;)
		kmem_cache_free(cache, obj[--i]);
	return n == MANY;
}

static bool
do_bulk(void *arg)
{
	if (kmem_cache_alloc_many(cache, BULK, obj, KM_NOSLEEP) != 0)
		return false;
	kmem_cache_free_many(cache, BULK, obj);
	return true;
}

static bool
do_slab(void *arg)
{
	bool ok = do_pair(arg);

	kmem_cache_reap(cache);
	return ok;
}

static bool
do_kmalloc(void *arg)
{
	void *p = kmalloc(SIZE, M_BENCH, KM_NOSLEEP);

	kfree(p, M_BENCH);
	return p != NULL;
}

static bool
do_pages(void *arg)
{
	void *p = kmalloc(3 * PAGE_SIZE, M_BENCH, KM_NOSLEEP);

	kfree(p, M_BENCH);
	return p != NULL;
}

static const struct part {
	const char	*p_name, *p_what;
	bool		(*p_fn)(void *);
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
	uint64_t t;

	if (!ddb_count(p->p_fn, NULL, &t)) {
		printf("%-8s %-22s no memory\n", of, p->p_what);
		return;
	}
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
	uint64_t none;

	ddb_count(do_nothing, NULL, &none);
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
