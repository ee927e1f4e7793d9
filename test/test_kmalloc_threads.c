/*
 * Many threads on the heap at once: what one allocates another frees or
 * resizes, types are used for the first time by several at the same moment,
 * and the figures of each type, which every CPU counts by itself, are exact
 * in the end.  Runs under ThreadSanitizer too.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "heap_stats.h"
#include "slab_test.h"

#define FRAMES		8192u		/* 32 MB */
#define NTHREADS	4u
#define NTYPES		6u
#define NSLOTS		300u

#if defined(__SANITIZE_THREAD__)
#define OPS		3000u
#define CARRIED		100u
#else
#define OPS		24000u
#define CARRIED		1100u
#endif

static struct kmalloc_type type[NTYPES];
static atomic_bool stop;

static void
boot(pfn_t frames, int i)
{
	static const char *const names[NTYPES] = { "ann", "bob", "cat",
	    "dan", "eve", "fay" };
	unsigned t;

	slab_boot(frames, slab_debug_of(i));
	for (t = 0; t < NTYPES; t++)
		type[t].kt_name = names[t];
}

/* All is free, and the types know. */
static void
done(void)
{
	struct kmalloc_stats ks;
	unsigned t;

	for (t = 0; t < NTYPES; t++) {
		ks = stats_of(&type[t]);
		must(ks.ks_inuse == 0 && ks.ks_bytes == 0);
	}
	slab_done();
}

static void
run(unsigned n, void *(*fn)(void *))
{
	pthread_t id[32];
	unsigned i;

	must(n <= nitems(id));
	for (i = 0; i < n; i++)
		must(pthread_create(&id[i], NULL, fn,
		    (void *)(uintptr_t)(i + 1)) == 0);
	for (i = 0; i < n; i++)
		must(pthread_join(id[i], NULL) == 0);
}

/*
 * The marketplace of test_kmem_threads, with pieces of all sizes: the first
 * bytes say how many there are, and the slot whose type it has.
 */
struct piece {
	uint32_t	p_size;
	uint32_t	p_slot;
};

static _Atomic(struct piece *) market[NSLOTS];
static _Atomic unsigned long asked, refused;
static unsigned trades = OPS;

static size_t
any_size(uint64_t *rng)
{
	unsigned r = k_random(rng) % 100;

	if (r < 80)
		return sizeof(struct piece) + k_random(rng) % 600;
	if (r < 98)
		return sizeof(struct piece) + k_random(rng) % 4000;
	return sizeof(struct piece) + k_random(rng) % 40000;
}

static struct kmalloc_type *
type_of(unsigned slot)
{
	return &type[slot % NTYPES];
}

static void
mark(struct piece *p, size_t size, unsigned slot)
{
	p->p_size = (uint32_t)size;
	p->p_slot = slot;
	slab_fill(p + 1, size - sizeof(*p), slot + p->p_size);
}

static bool
marked(const struct piece *p, size_t size, unsigned slot)
{
	return p->p_slot == slot &&
	    slab_holds(p + 1, size - sizeof(*p), slot + p->p_size);
}

static void
discard(struct piece *p, unsigned slot)
{
	if (p == NULL)
		return;
	must(marked(p, p->p_size, slot));
	kfree(p, type_of(slot));
}

static void
put_up(unsigned slot, uint64_t *rng)
{
	size_t size = any_size(rng);
	struct piece *p = kmalloc(size, type_of(slot), KM_NOSLEEP |
	    (k_random(rng) % 4 ? 0 : KM_ZERO));

	asked++;
	if (p == NULL) {
		refused++;
		return;
	}
	mark(p, size, slot);
	discard(atomic_exchange(&market[slot], p), slot);
}

/* Take one away, make it another size, and bring it back. */
static void
resize(unsigned slot, uint64_t *rng)
{
	struct piece *p = atomic_exchange(&market[slot], NULL), *q;
	size_t size = any_size(rng), less;

	if (p == NULL)
		return;
	less = p->p_size < size ? p->p_size : size;
	must(marked(p, p->p_size, slot));
	must(kmalloc_usable(p) >= p->p_size);
	q = krealloc(p, size, type_of(slot), KM_NOSLEEP);
	if (q != NULL) {
		must(marked(q, less, slot));
		mark(q, size, slot);
		p = q;
	}
	discard(atomic_exchange(&market[slot], p), slot);
}

static void *
trader(void *arg)
{
	uint64_t rng = (uint64_t)(uintptr_t)arg;
	unsigned op, slot;

	for (op = 0; op < trades; op++) {
		slot = k_random(&rng) % NSLOTS;
		switch (k_random(&rng) % 8) {
		case 0:
			resize(slot, &rng);
			break;
		case 1: case 2: case 3:
			discard(atomic_exchange(&market[slot], NULL), slot);
			break;
		default:
			put_up(slot, &rng);
		}
	}
	return NULL;
}

static void
clear_market(void)
{
	unsigned i;

	for (i = 0; i < NSLOTS; i++)
		discard(atomic_exchange(&market[i], NULL), i);
}

static void *
reaper(void *arg)
{
	while (!stop) {
		kmem_cache_reap_all();
		host_advance(KMEM_REAP_TICKS);
		kmem_reap_tick();
		sched_yield();
	}
	return NULL;
}

/* What was in use in between, added up by hand. */
static void
count_market(void)
{
	unsigned long n[NTYPES] = { 0 };
	size_t bytes[NTYPES] = { 0 };
	struct kmalloc_stats ks;
	unsigned i;

	for (i = 0; i < NSLOTS; i++)
		if (market[i] != NULL) {
			n[i % NTYPES]++;
			bytes[i % NTYPES] += kmalloc_usable(market[i]);
		}
	for (i = 0; i < NTYPES; i++) {
		ks = stats_of(&type[i]);
		must(ks.ks_inuse == n[i] && ks.ks_bytes == bytes[i]);
		must(ks.ks_high >= ks.ks_bytes);
	}
}

START_TEST(market_day)
{
	pthread_t r;
	unsigned i, round;

	boot(FRAMES, _i);
	must(pthread_create(&r, NULL, reaper, NULL) == 0);
	for (round = 0; round < 2; round++)
		run(NTHREADS, trader);
	stop = true;
	must(pthread_join(r, NULL) == 0);
	slab_check();
	count_market();
	must(refused == 0);
	for (i = 0; i < NTYPES; i++)
		must(stats_of(&type[i]).ks_requests >= asked / NTYPES / 2);
	clear_market();
	done();
}
END_TEST

/* Not enough memory for all, and more threads than there are numbers. */
START_TEST(hungry_crowd)
{
	boot(400, _i);
	slab_hoard();
	slab_hoard_give(100);
	/* Each refusal looks into every magazine of every CPU first. */
	trades = 300;
	run(VM_NCPU + 4, trader);
	slab_check();
	count_market();
	must(refused > 0);
	clear_market();
	slab_hoard_give(0);
	done();
}
END_TEST

/*
 * What has one producer and one consumer: the figures of the one grow, those
 * of the other fall, for ever; the sums are right.
 */
static _Atomic(void *) belt[64];

static void *
worker(void *arg)
{
	const unsigned n = nitems(belt);
	const bool makes = (uintptr_t)arg == 1;
	unsigned i;
	void *p;

	for (i = 0; i < OPS; i++) {
		while ((atomic_load(&belt[i % n]) == NULL) != makes)
			sched_yield();
		if (makes) {
			p = kmalloc(100, &type[0], KM_NOSLEEP);
			must(p != NULL);
			atomic_store(&belt[i % n], p);
		} else {
			kfree(atomic_load(&belt[i % n]), &type[0]);
			atomic_store(&belt[i % n], NULL);
		}
	}
	return NULL;
}

START_TEST(one_way)
{
	boot(FRAMES, _i);
	run(2, worker);
	must(stats_of(&type[0]).ks_requests == OPS);
	slab_check();
	done();
}
END_TEST

static void *many[6000];

/*
 * The high water of a class is right but for what a CPU's magazines hold, and
 * with KMD_CHECK but for some objects, wherever counts and magazines begin.
 */
START_TEST(high_water)
{
	const size_t size = 256, step = 8 - 1;
	const size_t out = _i == 0 ? KMEM_MAG_WORDS_MAX : step;
	vsize_t high;
	unsigned n, i;

	boot(FRAMES, _i);
	for (n = 130; n <= nitems(many); n += n < 200 ? 1 : 331) {
		for (i = 0; i < n; i++)
			many[i] = kmalloc(size, &type[n % 2], KM_NOSLEEP);
		while (i-- > 0)
			kfree(many[i], &type[n % 2]);
		high = stats_of(&type[n % 2]).ks_high;
		must(high >= (n - out) * size && high <= n * size);
	}
	/* What one class had once is no more when another has its own. */
	for (i = 0; i < 3000; i++)
		many[i] = kmalloc(64, &type[0], KM_NOSLEEP);
	must(stats_of(&type[0]).ks_high <= nitems(many) * size);
	while (i-- > 0)
		kfree(many[i], &type[0]);
	done();
}
END_TEST

/* Counters so far apart that no run would bring them there: a word's worth. */
START_TEST(far_apart)
{
	struct kmalloc_share *ks = type[2].kt_share;
	void *p;

	boot(FRAMES, _i);
	p = kmalloc(100, &type[2], KM_NOSLEEP);
	ks[2].ks_count[16].sc_allocs += 0x80000007u;
	ks[3].ks_count[16].sc_frees += 0x80000007u;
	ks[2].ks_count[20].sc_allocs += 0xC0000000u;
	ks[3].ks_count[20].sc_allocs += 0xC0000000u;
	ks[4].ks_count[20].sc_frees += 0x80000000u;
	must(stats_of(&type[2]).ks_inuse == 1);
	must(stats_of(&type[2]).ks_bytes == kmalloc_usable(p));
	slab_check();
	kfree(p, &type[2]);
	done();
}
END_TEST

/*
 * The same by so large pieces that what went one way is more than a word of
 * 32 bits can count.
 */
#define LARGE		(4u << 20)

static void *
carrier(void *arg)
{
	const unsigned n = nitems(belt);
	const bool makes = (uintptr_t)arg == 1;
	unsigned i;
	void *p;

	for (i = 0; i < CARRIED; i++) {
		while ((atomic_load(&belt[i % n]) == NULL) != makes)
			sched_yield();
		if (makes) {
			while ((p = kmalloc(LARGE, &type[1], KM_NOSLEEP)) ==
			    NULL)
				sched_yield();
			atomic_store(&belt[i % n], p);
		} else {
			kfree(atomic_load(&belt[i % n]), &type[1]);
			atomic_store(&belt[i % n], NULL);
		}
	}
	return NULL;
}

START_TEST(four_gigabytes)
{
	boot(FRAMES, _i);
	run(2, carrier);
	must(stats_of(&type[1]).ks_bytes == 0);
	slab_check();
	done();
}
END_TEST

/* All use all types for the first time, at the same moment. */
static struct kmalloc_type fresh[300];
static pthread_barrier_t line;

static void *
first_user(void *arg)
{
	unsigned i;

	for (i = 0; i < nitems(fresh); i++) {
		if (i % 50 == 0)
			pthread_barrier_wait(&line);
		kfree(kmalloc(20, &fresh[i], KM_NOSLEEP), &fresh[i]);
	}
	return NULL;
}

START_TEST(first_use)
{
	const struct kmalloc_type *kt = NULL;
	unsigned i, n = 0;

	boot(FRAMES, _i);
	for (i = 0; i < nitems(fresh); i++)
		fresh[i].kt_name = "fresh";
	must(pthread_barrier_init(&line, NULL, NTHREADS) == 0);
	run(NTHREADS, first_user);
	for (i = 0; i < nitems(fresh); i++) {
		must(fresh[i].kt_id != 0);
		must(stats_of(&fresh[i]).ks_requests == NTHREADS);
		must(stats_of(&fresh[i]).ks_inuse == 0);
	}
	while ((kt = kmalloc_next(kt)) != NULL)
		n += kt >= fresh && kt < fresh + nitems(fresh);
	must(n == nitems(fresh));
	done();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("kmalloc_threads");
	TCase *tc = tcase_create("kmalloc_threads");
	SRunner *sr;
	int failed;

	setvbuf(stdout, NULL, _IOLBF, 0);
	suite_add_tcase(s, tc);
	tcase_set_timeout(tc, 100);
	tcase_add_loop_test(tc, market_day, 0, 2);
	tcase_add_loop_test(tc, hungry_crowd, 0, 2);
	tcase_add_loop_test(tc, one_way, 0, 2);
	tcase_add_loop_test(tc, far_apart, 0, 2);
	tcase_add_loop_test(tc, high_water, 0, 2);
	tcase_add_loop_test(tc, four_gigabytes, 0, 1);
	tcase_add_loop_test(tc, first_use, 0, 2);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
