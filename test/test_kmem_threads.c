/*
 * Many threads on the slab layer at once: objects allocated by one and freed
 * by another, reapers all the time, caches made and destroyed meanwhile, more
 * threads than CPUs have numbers, numbers that change hands, and memory that
 * runs out.  Runs under ThreadSanitizer too, and without it at full speed.
 *
 * Each object carries a mark over all its bytes from who filled it to who
 * frees it: two owners of one object cannot be missed.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <libkern/errno.h>

#include "slab_test.h"

#define FRAMES		8192u		/* 32 MB */
#define NTHREADS	4u
#define NCACHES		4u

#if defined(__SANITIZE_THREAD__)
#define OPS		3000u
#else
#define OPS		24000u
#endif

static struct kmem_cache *cache[NCACHES];
static const size_t sizes[NCACHES] = { 24, 200, 1500, 4096 };
static atomic_bool stop;

static void
make_caches(void)
{
	static const char *const names[NCACHES] = { "t 24", "t 200",
	    "t 1500", "t 4096" };
	unsigned i;

	for (i = 0; i < NCACHES; i++)
		cache[i] = slab_make(names[i], sizes[i],
		    i == 1 ? KM_HEAP : 0);
}

static void
destroy_caches(void)
{
	unsigned i;

	for (i = 0; i < NCACHES; i++)
		must(kmem_cache_destroy(cache[i]) == 0);
	slab_done();
}

/* n threads of fn, each with its number, from `first` on. */
static void
start(pthread_t *id, unsigned n, void *(*fn)(void *), unsigned first)
{
	unsigned i;

	for (i = 0; i < n; i++)
		must(pthread_create(&id[i], NULL, fn,
		    (void *)(uintptr_t)(first + i)) == 0);
}

static void
join(const pthread_t *id, unsigned n)
{
	unsigned i;

	for (i = 0; i < n; i++)
		must(pthread_join(id[i], NULL) == 0);
}

/*
 * The marketplace: slots, each empty or with one object.  Whoever comes by
 * puts one in, or takes the one that is there, whoever's it was.
 */
#define NSLOTS		256u

static _Atomic(void *) market[NSLOTS];

/* The object in slot i is of this cache. */
static struct kmem_cache *
cache_of(unsigned i)
{
	return cache[i % NCACHES];
}

static void
put_up(unsigned i, uint32_t mark)
{
	struct kmem_cache *kc = cache_of(i);
	void *obj = kmem_cache_alloc(kc, KM_NOSLEEP);

	if (obj == NULL)
		return;
	slab_fill(obj, kc->kc_size, i);
	obj = atomic_exchange(&market[i], obj);
	if (obj != NULL) {
		must(slab_holds(obj, kc->kc_size, i));
		kmem_cache_free(kc, obj);
	}
}

static void
take_away(unsigned i)
{
	struct kmem_cache *kc = cache_of(i);
	void *obj = atomic_exchange(&market[i], NULL);

	if (obj == NULL)
		return;
	must(slab_holds(obj, kc->kc_size, i));
	kmem_cache_free(kc, obj);
}

static void *
trader(void *arg)
{
	uint64_t rng = (uint64_t)(uintptr_t)arg + 1;
	unsigned op, i;

	for (op = 0; op < OPS; op++) {
		i = k_random(&rng) % NSLOTS;
		if (k_random(&rng) % 2)
			put_up(i, op);
		else
			take_away(i);
	}
	return NULL;
}

static void
clear_market(void)
{
	unsigned i;

	for (i = 0; i < NSLOTS; i++)
		take_away(i);
}

/* What a kernel's thread does all the time, only more often. */
static void *
reaper(void *arg)
{
	unsigned turn = 0;

	while (!stop) {
		switch (turn++ % 4) {
		case 0:
			kmem_cache_reap_all();
			break;
		case 1:
			host_advance(KMEM_REAP_TICKS);
			kmem_reap_tick();
			break;
		case 2:
			kmem_cache_reap(cache[turn / 4 % NCACHES]);
			break;
		default:
			kmem_reclaim(1 + turn % 50);
			break;
		}
		sched_yield();
	}
	return NULL;
}

START_TEST(market_day)
{
	pthread_t t[NTHREADS], r;

	slab_boot(FRAMES, slab_debug_of(_i));
	make_caches();
	start(&r, 1, reaper, 0);
	start(t, NTHREADS, trader, 1);
	join(t, NTHREADS);
	stop = true;
	join(&r, 1);
	clear_market();
	destroy_caches();
}
END_TEST

/* The same with nobody reaping: magazines are exchanged, sizes grow. */
START_TEST(market_without_reaper)
{
	pthread_t t[NTHREADS];

	slab_boot(FRAMES, slab_debug_of(_i));
	make_caches();
	start(t, NTHREADS, trader, 1);
	join(t, NTHREADS);
	clear_market();
	destroy_caches();
}
END_TEST

/*
 * One makes, one frees: objects go one way, memory comes back by the depot
 * and the slabs.
 */
#define RING		512u

static _Atomic(void *) ring[RING];

static void *
producer(void *arg)
{
	struct kmem_cache *kc = cache[1];
	void *obj;
	unsigned i;

	for (i = 0; i < OPS; i++) {
		while (atomic_load(&ring[i % RING]) != NULL)
			sched_yield();
		obj = kmem_cache_alloc(kc, KM_NOSLEEP);
		must(obj != NULL);
		slab_fill(obj, kc->kc_size, i);
		atomic_store(&ring[i % RING], obj);
	}
	return NULL;
}

static void *
consumer(void *arg)
{
	struct kmem_cache *kc = cache[1];
	void *obj;
	unsigned i;

	for (i = 0; i < OPS; i++) {
		while ((obj = atomic_load(&ring[i % RING])) == NULL)
			sched_yield();
		must(slab_holds(obj, kc->kc_size, i));
		kmem_cache_free(kc, obj);
		atomic_store(&ring[i % RING], NULL);
	}
	return NULL;
}

START_TEST(one_way)
{
	pthread_t p, c;

	slab_boot(1024, slab_debug_of(_i));
	make_caches();
	start(&p, 1, producer, 0);
	start(&c, 1, consumer, 0);
	join(&p, 1);
	join(&c, 1);
	/* No more than what was under way, and some magazines' worth. */
	must(cache[1]->kc_nslabs * cache[1]->kc_slab_size <= ptoa(400));
	destroy_caches();
}
END_TEST

/* More threads than numbers: those that get none share one. */
START_TEST(crowd)
{
	pthread_t t[VM_NCPU + 6], r;
	unsigned i;

	slab_boot(FRAMES, slab_debug_of(_i));
	make_caches();
	start(&r, 1, reaper, 0);
	for (i = 0; i < nitems(t); i++)
		start(&t[i], 1, trader, i);
	join(t, nitems(t));
	stop = true;
	join(&r, 1);
	clear_market();
	destroy_caches();
}
END_TEST

/* Threads come and go, and leave full magazines to who gets their number. */
static void *
visitor(void *arg)
{
	uint64_t rng = (uint64_t)(uintptr_t)arg + 1;
	unsigned op, i;

	for (op = 0; op < 300; op++) {
		i = k_random(&rng) % NSLOTS;
		if (k_random(&rng) % 3)
			put_up(i, op);
		else
			take_away(i);
	}
	return NULL;
}

START_TEST(coming_and_going)
{
	pthread_t t[NTHREADS], r;
	unsigned wave;

	slab_boot(FRAMES, slab_debug_of(_i));
	make_caches();
	start(&r, 1, reaper, 0);
	for (wave = 0; wave < OPS / 600; wave++) {
		start(t, NTHREADS, visitor, wave * NTHREADS);
		join(t, NTHREADS);
	}
	stop = true;
	join(&r, 1);
	clear_market();
	destroy_caches();
}
END_TEST

/*
 * Caches come and go while others are reaped.  Nothing is ever out when one
 * is destroyed, so it is never refused.
 */
static void *
builder(void *arg)
{
	uint64_t rng = (uint64_t)(uintptr_t)arg + 100;
	struct kmem_cache *kc;
	void *obj[100];
	unsigned round, i, n;
	size_t size;

	for (round = 0; round < OPS / 100; round++) {
		size = 8 + k_random(&rng) % 3000;
		n = k_random(&rng) % nitems(obj);
		kc = slab_make("built", size, 0);
		must(kmem_cache_alloc_many(kc, n, obj, KM_NOSLEEP) == 0);
		for (i = 0; i < n; i++)
			slab_fill(obj[i], size, i);
		if (n > 0)
			must(kmem_cache_destroy(kc) == EBUSY);
		for (i = 0; i < n; i++)
			must(slab_holds(obj[i], size, i));
		kmem_cache_free_many(kc, n, obj);
		must(kmem_cache_destroy(kc) == 0);
	}
	return NULL;
}

START_TEST(builders)
{
	pthread_t b[2], t[2], r;

	slab_boot(FRAMES, slab_debug_of(_i));
	host_set_sleep(true, NULL);
	make_caches();
	start(&r, 1, reaper, 0);
	start(b, 2, builder, 1);
	start(t, 2, trader, 1);
	join(b, 2);
	join(t, 2);
	stop = true;
	join(&r, 1);
	clear_market();
	destroy_caches();
}
END_TEST

/*
 * Memory runs out all the time: each wants more than its share, gives all
 * back when it gets no more, and begins again.  Nobody waits for ever, and
 * in the end everything is there.
 */
static _Atomic unsigned long refusals;

static void *
glutton(void *arg)
{
	const unsigned me = (unsigned)(uintptr_t)arg;
	struct kmem_cache *kc = cache[me % NCACHES];
	const unsigned most = (unsigned)(ptoa(600) / kc->kc_stride);
	void **obj = calloc(most, sizeof(*obj));
	unsigned round, n;

	must(obj != NULL);
	for (round = 0; round < OPS / 2000; round++) {
		for (n = 0; n < most; n++) {
			obj[n] = kmem_cache_alloc(kc, KM_NOSLEEP);
			if (obj[n] == NULL)
				break;
			*(uint32_t *)obj[n] = me * 1000000 + n;
		}
		refusals += n < most;
		while (n-- > 0) {
			must(*(uint32_t *)obj[n] == me * 1000000 + n);
			kmem_cache_free(kc, obj[n]);
		}
	}
	free(obj);
	return NULL;
}

START_TEST(gluttony)
{
	pthread_t t[NTHREADS];

	slab_boot(1024, slab_debug_of(_i));
	make_caches();
	start(t, NTHREADS, glutton, 0);
	join(t, NTHREADS);
	destroy_caches();
}
END_TEST

/* The same, and each waits until it gets: all get, again and again. */
static void *
patient(void *arg)
{
	const unsigned me = (unsigned)(uintptr_t)arg;
	struct kmem_cache *kc = cache[me % NCACHES];
	const unsigned most = (unsigned)(ptoa(100) / kc->kc_stride);
	void **obj = calloc(most, sizeof(*obj));
	unsigned round, n;

	must(obj != NULL);
	for (round = 0; round < OPS / 3000; round++) {
		for (n = 0; n < most; n++) {
			obj[n] = kmem_cache_alloc(kc, KM_SLEEP);
			must(obj[n] != NULL);
			slab_fill(obj[n], 16, me + n);
		}
		while (n-- > 0) {
			must(slab_holds(obj[n], 16, me + n));
			kmem_cache_free(kc, obj[n]);
		}
	}
	free(obj);
	return NULL;
}

/* 400 pages wanted at once; hardly more than one's wants are there. */
START_TEST(patience)
{
	pthread_t t[NTHREADS], r;

	slab_boot(1024, slab_debug_of(_i));
	make_caches();
	slab_hoard();
	slab_hoard_give(560);
	host_set_sleep(true, NULL);
	start(&r, 1, reaper, 0);
	start(t, NTHREADS, patient, 0);
	join(t, NTHREADS);
	stop = true;
	join(&r, 1);
	slab_hoard_give(0);
	destroy_caches();
}
END_TEST

/*
 * A reserve serves its threads, whoever else takes all memory: a thread that
 * holds fewer than its part of it is never refused.
 */
static struct kmem_cache *reserve;

#define PART		8u

static void *
entitled(void *arg)
{
	uint64_t rng = (uint64_t)(uintptr_t)arg + 1;
	void *obj[PART];
	unsigned round, i, n;

	for (round = 0; round < OPS / 20; round++) {
		n = 1 + k_random(&rng) % PART;
		for (i = 0; i < n; i++) {
			obj[i] = kmem_cache_alloc(reserve,
			    KM_RESERVE | KM_NOSLEEP);
			must(obj[i] != NULL);
			slab_fill(obj[i], 700, i);
		}
		for (i = 0; i < n; i++) {
			must(slab_holds(obj[i], 700, i));
			kmem_cache_free(reserve, obj[i]);
		}
	}
	return NULL;
}

START_TEST(reserves)
{
	const struct kmem_cache_args ca = { .ca_name = "reserve",
	    .ca_size = 700, .ca_reserve = NTHREADS * PART };
	pthread_t t[NTHREADS], g[2];

	slab_boot(1024, slab_debug_of(_i));
	make_caches();
	reserve = kmem_cache_create(&ca);
	must(reserve != NULL);
	start(g, 2, glutton, 1);
	start(t, NTHREADS, entitled, 0);
	join(t, NTHREADS);
	join(g, 2);
	must(kmem_cache_destroy(reserve) == 0);
	destroy_caches();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("kmem_threads");
	TCase *tc = tcase_create("kmem_threads");
	SRunner *sr;
	int failed;

	setvbuf(stdout, NULL, _IOLBF, 0);
	suite_add_tcase(s, tc);
	tcase_set_timeout(tc, 100);
	tcase_add_loop_test(tc, market_day, 0, 2);
	tcase_add_loop_test(tc, market_without_reaper, 0, 2);
	tcase_add_loop_test(tc, one_way, 0, 2);
	tcase_add_loop_test(tc, crowd, 0, 2);
	tcase_add_loop_test(tc, coming_and_going, 0, 2);
	tcase_add_loop_test(tc, builders, 0, 2);
	tcase_add_loop_test(tc, gluttony, 0, 2);
	tcase_add_loop_test(tc, patience, 0, 2);
	tcase_add_loop_test(tc, reserves, 0, 2);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
