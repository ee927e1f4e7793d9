/*
 * Shapes of well-known benchmarks with threads, written anew after what they
 * do: larson (Larson and Krishnan, 1998), mstress (mimalloc's), cache-scratch
 * (Hoard's).
 *
 *	larson	a server: threads replace objects at random, end, and leave
 *		what they have to others
 *	mstress	a working set built and torn down, objects of very different
 *		sizes, which wander from thread to thread
 *	scratch	objects of 8 bytes that one thread allocated are freed by
 *		others, which then allocate theirs and write to them: who
 *		gets pieces of the same cache line suffers
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "bench_slab.h"

#define MAXTHREADS	2u

/* What a thread is told. */
struct job {
	const struct party *j_party;
	struct kmem_cache *j_cache;
	unsigned	 j_number;	/* of the thread */
	size_t		 j_n;		/* operations */
	void		*j_data;
};

static void
run_threads(unsigned threads, struct job *job, void *(*fn)(void *))
{
	pthread_t thread[MAXTHREADS];
	unsigned t;

	for (t = 0; t < threads; t++)
		if (pthread_create(&thread[t], NULL, fn, &job[t]) != 0)
			bench_die("no thread");
	for (t = 0; t < threads; t++)
		pthread_join(thread[t], NULL);
}

/*
 * larson: 5,000 slots a thread, 8 to 1,000 bytes, and 50,000 operations
 * before a thread makes room for the next.
 */
#define LARSON_SLOTS	5000u
#define LARSON_OPS	50000u

struct larson {
	void		*l_obj[LARSON_SLOTS];
	uint16_t	 l_size[LARSON_SLOTS];
	struct rng	 l_rng;
};
static struct larson larsons[NPARTIES][MAXTHREADS];

static ALWAYS_INLINE void
larson_loop(const struct party *p, enum kind k, struct larson *l, size_t n)
{
	uint32_t slot;

	while (n-- > 0) {
		slot = rng_below(&l->l_rng, LARSON_SLOTS);
		if (l->l_obj[slot] != NULL)
			give(p, k, NULL, l->l_size[slot], l->l_obj[slot]);
		l->l_size[slot] = (uint16_t)(8 + rng_below(&l->l_rng, 993));
		l->l_obj[slot] = take(p, k, NULL, l->l_size[slot]);
		if (l->l_obj[slot] == NULL)
			bench_die("larson: out of memory");
		*(volatile char *)l->l_obj[slot] = 1;
	}
}

static void *
larson_thread(void *arg)
{
	const struct job *j = arg;

	BY_KIND(j->j_party, larson_loop, j->j_data, j->j_n);
	return NULL;
}

static void
run_larson(const struct party *p, struct kmem_cache *kc,
    const struct workload *w, size_t n)
{
	struct larson *l = larsons[p - parties];
	struct job job[MAXTHREADS];
	unsigned t, generation;
	size_t some;

	for (t = 0; t < w->w_threads; t++)
		if (l[t].l_rng.r_state == 0)
			l[t].l_rng.r_state = opt.o_seed + t;
	n /= w->w_threads;
	for (generation = 0; n > 0; generation++, n -= some) {
		some = n < LARSON_OPS ? n : LARSON_OPS;
		for (t = 0; t < w->w_threads; t++)
			job[t] = (struct job){ .j_party = p, .j_n = some,
			    .j_data = &l[(t + generation) % w->w_threads] };
		run_threads(w->w_threads, job, larson_thread);
	}
}

/*
 * mstress.  An item is so many words, the first of which says how many.
 */
#define MSTRESS_OBJECTS	4000u		/* of a thread's life */
#define MSTRESS_SHARED	1000u

static _Atomic(size_t *) shared[MSTRESS_SHARED];

static bool
chance(struct rng *r, unsigned percent)
{
	return rng_below(r, 100) < percent;
}

/* Powers of two of words, and a few that are much more. */
static size_t
mstress_words(struct rng *r, unsigned max_shift)
{
	size_t words = (size_t)1 << rng_below(r, max_shift);

	if (!chance(r, 1))
		return words;
	if (chance(r, 1))
		return words * 10000;
	return chance(r, 10) ? words * 1000 : words * 100;
}

static ALWAYS_INLINE size_t *
mstress_take(const struct party *p, enum kind k, size_t words)
{
	size_t *item = take(p, k, NULL, words * sizeof(*item));
	size_t i;

	if (item == NULL)
		bench_die("mstress: out of memory");
	for (i = 0; i < words; i++)
		item[i] = words - i;
	return item;
}

static ALWAYS_INLINE void
mstress_give(const struct party *p, enum kind k, size_t *item)
{
	if (item == NULL)
		return;
	if (item[0] > 1 && item[1] != item[0] - 1)
		bench_die("mstress: an item is not what was written");
	give(p, k, NULL, item[0] * sizeof(*item), item);
}

struct mstress {
	size_t		*m_item[MSTRESS_OBJECTS];
	size_t		*m_kept[MSTRESS_OBJECTS / 2];
	struct rng	 m_rng;
};
static struct mstress mstresses[MAXTHREADS];

/* One life: half are kept to the end, of the others two thirds not. */
static ALWAYS_INLINE void
mstress_life(const struct party *p, enum kind k, struct mstress *m,
    unsigned unused)
{
	struct rng *r = &m->m_rng;
	size_t allocs = MSTRESS_OBJECTS, keep = MSTRESS_OBJECTS / 2;
	size_t i, items = 0, kept = 0;

	while (allocs > 0 || keep > 0) {
		if (keep == 0 || (chance(r, 50) && allocs > 0)) {
			allocs--;
			m->m_item[items++] = mstress_take(p, k,
			    mstress_words(r, 5));
		} else {
			keep--;
			m->m_kept[kept++] = mstress_take(p, k,
			    mstress_words(r, 7));
		}
		if (chance(r, 66) && items > 0) {
			i = rng_below(r, (uint32_t)items);
			mstress_give(p, k, m->m_item[i]);
			m->m_item[i] = NULL;
		}
		if (chance(r, 25) && items > 0) {
			i = rng_below(r, (uint32_t)items);
			m->m_item[i] = atomic_exchange(
			    &shared[rng_below(r, MSTRESS_SHARED)],
			    m->m_item[i]);
		}
	}
	while (items > 0)
		mstress_give(p, k, m->m_item[--items]);
	while (kept > 0)
		mstress_give(p, k, m->m_kept[--kept]);
}

static void *
mstress_thread(void *arg)
{
	const struct job *j = arg;

	BY_KIND(j->j_party, mstress_life, j->j_data, 0);
	return NULL;
}

static ALWAYS_INLINE void
mstress_rest(const struct party *p, enum kind k, unsigned unused)
{
	unsigned i;

	for (i = 0; i < MSTRESS_SHARED; i++)
		mstress_give(p, k, atomic_exchange(&shared[i], NULL));
}

#define MSTRESS_LIFE	(MSTRESS_OBJECTS + MSTRESS_OBJECTS / 2)

static void
run_mstress(const struct party *p, struct kmem_cache *kc,
    const struct workload *w, size_t n)
{
	struct job job[MAXTHREADS];
	unsigned t;

	for (t = 0; t < w->w_threads; t++) {
		mstresses[t].m_rng.r_state = opt.o_seed + t;
		job[t] = (struct job){ .j_party = p,
		    .j_data = &mstresses[t] };
	}
	for (; n >= w->w_unit; n -= w->w_unit)
		run_threads(w->w_threads, job, mstress_thread);
	BY_KIND(p, mstress_rest, 0);
}

/*
 * cache-scratch.
 */
#define SCRATCH_SIZE	8u
#define SCRATCH_WRITES	200u		/* of the whole object */
#define SCRATCH_OBJECTS	5000u		/* of a thread */

/*
 * One function for all: this is most of the time, and one loop of bytes may
 * be a third slower than its copy, by where in the cache its code lies.
 */
static void __attribute__((__noinline__, __aligned__(64)))
scribble(volatile char *c)
{
	unsigned i, at;

	for (i = 0; i < SCRATCH_WRITES; i++)
		for (at = 0; at < SCRATCH_SIZE; at++)
			c[at] = (char)i;
}

static ALWAYS_INLINE void
scratch_loop(const struct party *p, enum kind k, struct kmem_cache *kc,
    void *first, size_t n)
{
	void *obj;

	give(p, k, kc, SCRATCH_SIZE, first);
	while (n-- > 0) {
		obj = take(p, k, kc, SCRATCH_SIZE);
		if (obj == NULL)
			bench_die("scratch: out of memory");
		scribble(obj);
		give(p, k, kc, SCRATCH_SIZE, obj);
	}
}

static void *
scratch_thread(void *arg)
{
	const struct job *j = arg;

	BY_KIND(j->j_party, scratch_loop, j->j_cache, j->j_data, j->j_n);
	return NULL;
}

static ALWAYS_INLINE void
scratch_first(const struct party *p, enum kind k, struct kmem_cache *kc,
    void **obj)
{
	*obj = take(p, k, kc, SCRATCH_SIZE);
}

static void
run_scratch(const struct party *p, struct kmem_cache *kc,
    const struct workload *w, size_t n)
{
	struct job job[MAXTHREADS];
	unsigned t;

	for (; n >= w->w_unit; n -= w->w_unit) {
		for (t = 0; t < w->w_threads; t++) {
			job[t] = (struct job){ .j_party = p, .j_cache = kc,
			    .j_n = SCRATCH_OBJECTS };
			BY_KIND(p, scratch_first, kc, &job[t].j_data);
		}
		run_threads(w->w_threads, job, scratch_thread);
	}
}

const struct workload thread_workloads[] = {
	{ .w_name = "larson", .w_what = "a server's threads, 8-1,000 bytes, "
	  "which inherit", .w_target = 1.2, .w_threads = 1,
	  .w_unit = LARSON_OPS, .w_run = run_larson },
	{ .w_name = "larson", .w_what = "", .w_target = 1.2, .w_threads = 2,
	  .w_unit = 2 * LARSON_OPS, .w_run = run_larson },
	{ .w_name = "mstress", .w_what = "working sets of 8 bytes to 5 MB, "
	  "some exchanged", .w_target = 1.2, .w_threads = 1,
	  .w_unit = MSTRESS_LIFE, .w_run = run_mstress },
	{ .w_name = "mstress", .w_what = "", .w_target = 1.2, .w_threads = 2,
	  .w_unit = 2 * MSTRESS_LIFE, .w_run = run_mstress },
	{ .w_name = "scratch", .w_what = "8 bytes, written 200 times; the "
	  "first ones another thread's", .w_target = 1.2,
	  .w_size = SCRATCH_SIZE, .w_threads = 1, .w_unit = SCRATCH_OBJECTS,
	  .w_run = run_scratch },
	{ .w_name = "scratch", .w_what = "", .w_target = 1.2,
	  .w_size = SCRATCH_SIZE, .w_threads = 2,
	  .w_unit = 2 * SCRATCH_OBJECTS, .w_run = run_scratch },
};
const size_t nthread_workloads = nitems(thread_workloads);
