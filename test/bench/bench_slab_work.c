/*
 * What is asked of one thread: the workloads that are loops.
 */
#include <stdlib.h>

#include "bench_slab.h"

#define LIFO_OBJECTS	1000u
#define SLOTS		10000u
#define DRAWS		65536u		/* drawn beforehand, and run through */
#define CTOR_WORDS	64u

/* The first word is written, as by anybody who uses what he has. */
static ALWAYS_INLINE void
use(void *obj, size_t i)
{
	if (obj == NULL)
		bench_die("out of memory");
	*(volatile size_t *)obj = i;
}

static ALWAYS_INLINE void
one_at_a_time(const struct party *p, enum kind k, struct kmem_cache *kc,
    size_t size, size_t n)
{
	size_t i;
	void *a;

	for (i = 0; i < n; i++) {
		a = take(p, k, kc, size);
		use(a, i);
		give(p, k, kc, size, a);
	}
}

static void
run_pair(const struct party *p, struct kmem_cache *kc,
    const struct workload *w, size_t n)
{
	BY_KIND(p, one_at_a_time, kc, w->w_size, n);
}

static ALWAYS_INLINE void
two_at_a_time(const struct party *p, enum kind k, struct kmem_cache *kc,
    size_t size, size_t n)
{
	size_t i;
	void *a, *b;

	for (i = 0; i < n; i += 2) {
		a = take(p, k, kc, size);
		use(a, i);
		b = take(p, k, kc, size);
		use(b, i);
		give(p, k, kc, size, a);
		give(p, k, kc, size, b);
	}
}

static void
run_two(const struct party *p, struct kmem_cache *kc,
    const struct workload *w, size_t n)
{
	BY_KIND(p, two_at_a_time, kc, w->w_size, n);
}

static ALWAYS_INLINE void
last_in_first_out(const struct party *p, enum kind k, struct kmem_cache *kc,
    size_t size, size_t n)
{
	static void *obj[LIFO_OBJECTS];
	size_t i, j;

	for (i = 0; i < n; i += LIFO_OBJECTS) {
		for (j = 0; j < LIFO_OBJECTS; j++) {
			obj[j] = take(p, k, kc, size);
			use(obj[j], j);
		}
		while (j-- > 0)
			give(p, k, kc, size, obj[j]);
	}
}

static void
run_lifo(const struct party *p, struct kmem_cache *kc,
    const struct workload *w, size_t n)
{
	BY_KIND(p, last_in_first_out, kc, w->w_size, n);
}

/*
 * Random replacement: each party has its slots, all of the same sizes.
 */
static struct {
	uint16_t	slot[DRAWS];
	uint16_t	size[DRAWS];
} draw;

static struct slots {
	void		*s_obj[SLOTS];
	uint16_t	 s_size[SLOTS];
	uint32_t	 s_next;		/* of the draws */
} slots[NPARTIES];

static void
make_draws(void)
{
	struct rng r = { opt.o_seed };
	unsigned i;

	for (i = 0; i < DRAWS; i++) {
		draw.slot[i] = (uint16_t)rng_below(&r, SLOTS);
		draw.size[i] = (uint16_t)(8 + rng_below(&r, 1024 - 8 + 1));
	}
}

static ALWAYS_INLINE void
replace(const struct party *p, enum kind k, struct kmem_cache *kc,
    struct slots *s, size_t n)
{
	uint32_t slot, d = s->s_next;
	size_t i;

	for (i = 0; i < n; i++, d = (d + 1) % DRAWS) {
		slot = draw.slot[d];
		if (s->s_obj[slot] != NULL)
			give(p, k, kc, s->s_size[slot], s->s_obj[slot]);
		s->s_size[slot] = draw.size[d];
		s->s_obj[slot] = take(p, k, kc, draw.size[d]);
		use(s->s_obj[slot], i);
	}
	s->s_next = d;
}

static void
run_random(const struct party *p, struct kmem_cache *kc,
    const struct workload *w, size_t n)
{
	if (draw.size[0] == 0)
		make_draws();
	BY_KIND(p, replace, kc, &slots[p - parties], n);
}

/*
 * Constructed objects: 64 words, each the head of an empty ring of its own.
 * Whoever frees one leaves it as he found it.
 */
static int
construct(void *obj, void *arg, int flags)
{
	uintptr_t *word = obj;
	unsigned i;

	for (i = 0; i < CTOR_WORDS; i++)
		word[i] = (uintptr_t)&word[i];
	return 0;
}

/* By pointer, as a cache calls it. */
static kmem_ctor_t *volatile constructor = construct;

static ALWAYS_INLINE void
constructed_each_time(const struct party *p, enum kind k,
    struct kmem_cache *kc, size_t size, size_t n)
{
	kmem_ctor_t *ctor = constructor;
	size_t i;
	void *a;

	for (i = 0; i < n; i++) {
		a = take(p, k, kc, size);
		ctor(a, NULL, 0);
		*(volatile uintptr_t *)a = (uintptr_t)a;
		give(p, k, kc, size, a);
	}
}

static ALWAYS_INLINE void
constructed_once(const struct party *p, enum kind k, struct kmem_cache *kc,
    size_t size, size_t n)
{
	size_t i;
	void *a;

	for (i = 0; i < n; i++) {
		a = take(p, k, kc, size);
		*(volatile uintptr_t *)a = (uintptr_t)a;
		give(p, k, kc, size, a);
	}
}

static void
run_ctor(const struct party *p, struct kmem_cache *kc,
    const struct workload *w, size_t n)
{
	if (p->pa_kind == CACHE)
		constructed_once(p, CACHE, kc, w->w_size, n);
	else
		BY_KIND(p, constructed_each_time, kc, w->w_size, n);
}

const struct workload workloads[] = {
	{ .w_name = "pair", .w_what = "a 64-byte object: alloc, free",
	  .w_target = 1, .w_size = 64, .w_threads = 1, .w_unit = 1,
	  .w_run = run_pair },
	{ .w_name = "two", .w_what = "two of 64 bytes: 2 allocs, 2 frees",
	  .w_target = 1, .w_size = 64, .w_threads = 1, .w_unit = 2,
	  .w_run = run_two },
	{ .w_name = "lifo", .w_what = "1,000 of 256 bytes, freed backwards",
	  .w_target = 1, .w_size = 256, .w_threads = 1,
	  .w_unit = LIFO_OBJECTS, .w_run = run_lifo },
	{ .w_name = "random", .w_what = "10,000 slots replaced at random, "
	  "8-1,024 bytes", .w_target = 1, .w_threads = 1, .w_unit = 1,
	  .w_run = run_random },
	{ .w_name = "ctor", .w_what = "64 words constructed: cached (slab), "
	  "or each time (the others)", .w_target = 1.0 / 3,
	  .w_size = CTOR_WORDS * sizeof(uintptr_t), .w_threads = 1,
	  .w_cached = true, .w_unit = 1, .w_run = run_ctor },
};
const size_t nworkloads = nitems(workloads);

struct kmem_cache *
workload_cache(const struct workload *w)
{
	struct kmem_cache_args ca = {
		.ca_name = "bench",
		.ca_size = w->w_size,
		.ca_ctor = w->w_cached ? construct : NULL,
	};
	struct kmem_cache *kc;

	if (w->w_size == 0)
		return NULL;
	kc = kmem_cache_create(&ca);
	if (kc == NULL)
		bench_die("no cache");
	return kc;
}
