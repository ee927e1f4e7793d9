/*
 * Magazines and the depot, bulk, reserves, reaping: each promise of
 * kmem_cache.h and each claim of kmem_depot.c's theory by itself.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <libkern/errno.h>
#include <vm/vm_fail.h>

#include "slab_test.h"

#define FRAMES		16384u		/* 64 MB */

static void *obj[40000];

static void
alloc_n(struct kmem_cache *kc, unsigned from, unsigned n)
{
	for (; n > 0; n--, from++) {
		obj[from] = kmem_cache_alloc(kc, KM_NOSLEEP);
		must(obj[from] != NULL);
		slab_fill(obj[from], kc->kc_size, from);
	}
}

/* The last one first. */
static void
free_n(struct kmem_cache *kc, unsigned from, unsigned n)
{
	while (n-- > 0) {
		must(slab_holds(obj[from + n], kc->kc_size, from + n));
		kmem_cache_free(kc, obj[from + n]);
	}
}

/* Take all that there is. */
static unsigned
alloc_all(struct kmem_cache *kc, unsigned from, int flags)
{
	unsigned n = 0;

	while (from + n < nitems(obj) &&
	    (obj[from + n] = kmem_cache_alloc(kc, flags)) != NULL) {
		slab_fill(obj[from + n], kc->kc_size, from + n);
		n++;
	}
	must(from + n < nitems(obj));
	return n;
}

static uint64_t
locks(void)
{
	return host_locks()->hl_mtx + host_locks()->hl_write +
	    host_locks()->hl_read;
}

static unsigned
debug_of(int i)
{
	return i % 2 ? KMD_CHECK : 0;
}

static void
cycle(struct kmem_cache *kc, unsigned n)
{
	alloc_n(kc, 0, n);
	free_n(kc, 0, n);
}

/* What the loaded magazine can do takes no lock at all. */
START_TEST(hits_take_no_lock)
{
	struct kmem_cache *kc;
	struct kmem_cache_stats cs;
	unsigned i, rounds;
	uint64_t before;

	slab_boot(FRAMES, debug_of(_i));
	kc = slab_make("hit", 64, 0);
	rounds = slab_stats(kc).cs_rounds;
	must(rounds >= 4);
	for (i = 0; i < 4; i++)
		cycle(kc, 3 * rounds);
	cycle(kc, rounds / 2);
	before = locks();
	for (i = 0; i < 1000; i++)
		cycle(kc, 1 + i % (rounds / 2));
	must(locks() == before);
	cs = slab_stats(kc);
	must(cs.cs_inuse == 0 && cs.cs_cached >= rounds / 2);
	must(cs.cs_allocs == cs.cs_frees);
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

/*
 * Whoever goes up and down by less than a magazine, at whatever level, does
 * not go to the depot each time: a visit pays for a magazine's worth of
 * operations.
 */
START_TEST(no_thrashing)
{
	struct kmem_cache *kc;
	unsigned i, level, rounds, ops;
	uint64_t before;

	slab_boot(FRAMES, debug_of(_i));
	kc = slab_make("edge", 64, 0);
	rounds = slab_stats(kc).cs_rounds;
	for (i = 0; i < 6; i++)
		cycle(kc, 6 * rounds);
	for (level = 0; level <= 4 * rounds; level++) {
		alloc_n(kc, 0, level);
		before = locks();
		for (i = 0, ops = 0; i < 200; i++, ops += 2) {
			alloc_n(kc, level, 1 + i % 2);
			free_n(kc, level, 1 + i % 2);
			ops += i % 2 * 2;
		}
		/* One at each end; the rest by ops. */
		must(locks() - before <= 4 + ops / rounds);
		free_n(kc, 0, level);
	}
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

/*
 * A burst that comes again, of less than what makes mass freeing, finds its
 * magazines in the depot: a lock for each, not for each object, and no slab
 * is touched.
 */
START_TEST(bursts)
{
	struct kmem_cache *kc;
	unsigned i, n, rounds;
	unsigned long slab_objects;
	uint64_t before, grown;

	slab_boot(FRAMES, debug_of(_i));
	kc = slab_make("burst", 100, 0);
	rounds = slab_stats(kc).cs_rounds;
	n = (unsigned)kc->kc_rounds_max / 2;
	for (i = 0; i < 200 && kc->kc_rounds + 3 * rounds < n; i++)
		cycle(kc, n);
	must(i < 200);
	grown = slab_stats(kc).cs_grown;
	slab_objects = kc->kc_inuse;
	before = locks();
	for (i = 0; i < 10; i++)
		cycle(kc, n);
	must(locks() - before <= 10 * 2 * (n / rounds + 8));
	must(slab_stats(kc).cs_grown == grown);
	must(kc->kc_inuse - slab_objects <= 10 * rounds);
	slab_check();
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

/*
 * Mass freeing ends the burst: what was kept goes to the slabs, and they go
 * back, all but a few, without a reap.
 */
START_TEST(mass_freeing)
{
	struct kmem_cache *kc;
	unsigned n;

	slab_boot(FRAMES, debug_of(_i));
	kc = slab_make("mass", 256, 0);
	n = 20000;
	cycle(kc, n);
	cycle(kc, n);
	must(kc->kc_rounds < kc->kc_rounds_max);
	must(slab_stats(kc).cs_cached <= kc->kc_rounds_max);
	must(kc->kc_nslabs * kc->kc_slab_size <= ptoa(200));
	slab_check();
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

/* Not a page, not a region, not a request for one. */
START_TEST(freeing_never_allocates)
{
	static const size_t sizes[] = { 64, 100, 700, 4096, 20000 };
	const enum vm_fail_site sites[] = { VM_FAIL_PAGE, VM_FAIL_PTP,
	    VM_FAIL_ENTRY, VM_FAIL_SPACE };
	struct kmem_cache *kc;
	unsigned i, s, n;
	pfn_t nfree;

	slab_boot(400, debug_of(_i));
	for (s = 0; s < nitems(sizes); s++) {
		kc = slab_make("frees", sizes[s], 0);
		cycle(kc, 20);
		n = alloc_all(kc, 0, KM_NOSLEEP);
		must(n > 30);
		slab_hoard();
		for (i = 0; i < nitems(sites); i++)
			vm_fail_set(sites[i], 1, true);
		nfree = vm_phys_nfree();
		for (i = 0; i < n; i++) {
			must(slab_holds(obj[i], sizes[s], i));
			kmem_cache_free(kc, obj[i]);
			must(vm_phys_nfree() >= nfree);
			nfree = vm_phys_nfree();
		}
		for (i = 0; i < nitems(sites); i++) {
			must(vm_fail_count(sites[i]) == 0);
			vm_fail_set(sites[i], 0, false);
		}
		slab_hoard_give(0);
		must(slab_stats(kc).cs_inuse == 0);
		must(kmem_cache_destroy(kc) == 0);
	}
	slab_done();
}
END_TEST

/*
 * Many at once: all, or none.
 */
START_TEST(many_at_once)
{
	struct kmem_cache *kc;
	struct kmem_cache_stats cs;
	unsigned i, n;

	slab_boot(1024, debug_of(_i));
	kc = slab_make("bulk", 200, 0);
	must(kmem_cache_alloc_many(kc, 0, NULL, 0) == 0);
	for (n = 1; n < 2000; n += n / 3 + 1) {
		must(kmem_cache_alloc_many(kc, n, obj, KM_ZERO) == 0);
		for (i = 0; i < n; i++) {
			must(*(char *)obj[i] == 0);
			slab_fill(obj[i], 200, i);
		}
		must(slab_stats(kc).cs_inuse == n);
		for (i = 0; i < n; i++)
			must(slab_holds(obj[i], 200, i));
		kmem_cache_free_many(kc, n, obj);
		must(slab_stats(kc).cs_inuse == 0);
		must(kmem_cache_alloc_many(kc, n, obj, 0) == 0);
		kmem_cache_free_many(kc, n, obj);
		slab_check();
	}
	/* 30,000 objects are more than 4 MB have room for. */
	cs = slab_stats(kc);
	must(kmem_cache_alloc_many(kc, 30000, obj, KM_NOSLEEP) == ENOMEM);
	must(slab_stats(kc).cs_inuse == 0);
	must(slab_stats(kc).cs_fails == cs.cs_fails + 1);
	slab_check();
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

/* As kmem_cache_free ignores NULL, so do many. */
START_TEST(many_with_gaps)
{
	struct kmem_cache *kc;
	unsigned i;

	slab_boot(FRAMES, debug_of(_i));
	kc = slab_make("gaps", 200, 0);
	must(kmem_cache_alloc_many(kc, 30, obj, 0) == 0);
	for (i = 0; i < 30; i += 2) {
		kmem_cache_free(kc, obj[i]);
		obj[i] = NULL;
	}
	kmem_cache_free_many(kc, 30, obj);
	must(slab_stats(kc).cs_inuse == 0);
	slab_check();
	alloc_n(kc, 0, 30);
	free_n(kc, 0, 30);
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

/*
 * Reserves.
 */
static struct kmem_cache *
make_reserve(size_t size, unsigned n)
{
	const struct kmem_cache_args ca = { .ca_name = "reserve",
	    .ca_size = size, .ca_reserve = n };

	return kmem_cache_create(&ca);
}

static bool
no_sleep(const void *chan)
{
	ck_abort_msg("sleeps, although there is a reserve");
	return false;
}

START_TEST(reserve_never_fails)
{
	static const unsigned reserves[] = { 1, 7, 50, 300 };
	struct kmem_cache *kc;
	unsigned i, r, n, round;
	void *extra;

	slab_boot(2048, debug_of(_i));
	for (i = 0; i < nitems(reserves); i++) {
		n = reserves[i];
		kc = make_reserve(600, n);
		must(kc != NULL && kc->kc_nslabs * kc->kc_per_slab >= n);
		for (round = 0; round < 3; round++) {
			kmem_cache_reap_all();
			slab_hoard();
			r = n + 1 + alloc_all(kc, n + 1, KM_NOSLEEP);
			/* Nobody else gets it, and nobody waits for it. */
			must(kmem_cache_alloc(kc, KM_NOSLEEP) == NULL);
			host_set_sleep(true, no_sleep);
			obj[0] = kmem_cache_alloc(kc, KM_RESERVE);
			must(obj[0] != NULL);
			host_set_sleep(false, NULL);
			slab_fill(obj[0], 600, 0);
			must(alloc_all(kc, 1, KM_NOSLEEP | KM_RESERVE) ==
			    n - 1);
			must(kmem_cache_alloc(kc, KM_RESERVE) == NULL);
			must(kmem_cache_alloc(kc, KM_NOSLEEP) == NULL);
			/* What comes back is kept back again. */
			free_n(kc, n - 1, 1);
			must(kmem_cache_alloc(kc, KM_NOSLEEP) == NULL);
			kmem_cache_reap_all();
			extra = kmem_cache_alloc(kc, KM_NOSLEEP | KM_RESERVE);
			must(extra != NULL);
			kmem_cache_free(kc, extra);
			slab_check();
			free_n(kc, 0, n - 1);
			slab_check();
			while (r > n + 1)
				kmem_cache_free(kc, obj[--r]);
			slab_hoard_give(0);
		}
		must(kmem_cache_destroy(kc) == 0);
	}
	slab_done();
}
END_TEST

/* In an interrupt, too, and behind the back of who has all the memory. */
START_TEST(reserve_in_interrupt)
{
	struct kmem_cache *kc;

	slab_boot(FRAMES, debug_of(_i));
	kc = make_reserve(1000, 20);
	host_set_intr(true);
	/* What is above the reserve is for all. */
	must(alloc_all(kc, 0, KM_NOSLEEP) ==
	    kc->kc_nslabs * kc->kc_per_slab - 20);
	must(alloc_all(kc, 1000, KM_NOSLEEP | KM_RESERVE) == 20);
	free_n(kc, 1000, 20);
	host_set_intr(false);
	while (slab_stats(kc).cs_inuse > 0)
		kmem_cache_free(kc, obj[slab_stats(kc).cs_inuse - 1]);
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

/* A reserve that there is no memory for: no cache, and an end to the search. */
START_TEST(reserve_too_large)
{
	unsigned frames;

	slab_boot(1024, debug_of(_i));
	must(make_reserve(3000, 100000) == NULL);
	kmem_cache_reap_all();
	for (frames = 1; frames < 40; frames++) {
		slab_hoard();
		slab_hoard_give(frames);
		must(make_reserve(3000, 200) == NULL);
		slab_hoard_give(0);
		slab_check();
	}
	slab_done();
}
END_TEST

/* A cache that was not destroyed after all still has its reserve. */
static struct kmem_cache *kept;
static bool reaping;

static void
dtor_destroys(void *o, void *arg)
{
	if (!reaping)
		return;
	must(kmem_cache_destroy(kept) == EBUSY);
	*(unsigned *)arg += 1;
}

START_TEST(reserve_survives_refusal)
{
	unsigned ndead = 0, n;
	const struct kmem_cache_args ca = { .ca_name = "kept",
	    .ca_size = 2000, .ca_reserve = 4, .ca_dtor = dtor_destroys,
	    .ca_arg = &ndead };

	slab_boot(FRAMES, debug_of(_i));
	kept = kmem_cache_create(&ca);
	must(kept->kc_reserve == 4);
	n = kept->kc_per_slab;
	alloc_n(kept, 0, 4 * n);
	host_set_intr(true);		/* so that empty slabs stay */
	free_n(kept, 0, 4 * n);
	host_set_intr(false);
	reaping = true;
	kmem_cache_reap_all();
	reaping = false;
	must(ndead > 0 && kept->kc_reserve == 4);
	must(kept->kc_nslabs * n >= 4);
	slab_check();
	must(kmem_cache_destroy(kept) == 0);
	slab_done();
}
END_TEST

/*
 * Objects in the magazines of another CPU are within reach when memory is
 * short: of the cache itself, although no page comes of it, and of others.
 */
static void
leave_in_magazines(void *arg)
{
	struct kmem_cache *kc = arg;
	unsigned i, n = kc->kc_per_slab / 2;

	for (i = 0; i < 3; i++) {
		alloc_n(kc, 20000, n);
		free_n(kc, 20000, n);
	}
}

START_TEST(others_magazines)
{
	/* A page or two, what magazines are made of, would be no slab. */
	const struct kmem_cache_args ca = { .ca_name = "mine",
	    .ca_size = 500, .ca_slab_pages = 16 };
	struct kmem_cache *kc, *other;
	unsigned n;

	slab_boot(2048, debug_of(_i));
	kc = kmem_cache_create(&ca);
	other = slab_make("other", 1000, 0);
	alloc_n(kc, 0, 1);
	slab_on_other_cpu(leave_in_magazines, kc);
	kmem_cache_reap(other);
	must(kc->kc_nslabs == 1 && slab_stats(kc).cs_cached > 1);
	slab_hoard();
	n = 1 + alloc_all(kc, 1, KM_NOSLEEP);
	must(n == kc->kc_per_slab);
	must(slab_stats(kc).cs_cached == 0);
	free_n(kc, 0, n);
	kmem_cache_reap(kc);
	slab_hoard_give(20);
	slab_on_other_cpu(leave_in_magazines, kc);
	slab_hoard();
	must(slab_stats(kc).cs_cached > 0);
	must(kmem_cache_alloc(other, KM_NOSLEEP | KM_EASY) == NULL);
	must(slab_stats(kc).cs_cached > 0);
	must(alloc_all(other, 0, KM_NOSLEEP) > 0);
	must(slab_stats(kc).cs_cached == 0 && kc->kc_nslabs == 0);
	free_n(other, 0, (unsigned)slab_stats(other).cs_inuse);
	slab_hoard_give(0);
	must(kmem_cache_destroy(kc) == 0);
	must(kmem_cache_destroy(other) == 0);
	slab_done();
}
END_TEST

/*
 * Destroying waits for a reaper who has the cache's magazines in his hands:
 * what is in them is not out.
 */
static atomic_bool destroyed, at_gate, gate_open;
static atomic_int destroy_error;

static void
nap(void)
{
	static const struct timespec ms = { 0, 1000 * 1000 };

	nanosleep(&ms, NULL);
}

/* A reaper comes to this cache first, and waits here. */
static void
dtor_waits(void *o, void *arg)
{
	at_gate = true;
	while (!gate_open)
		nap();
}

static void *
reaper(void *arg)
{
	kmem_cache_reap_all();
	return NULL;
}

static void *
destroyer(void *arg)
{
	destroy_error = kmem_cache_destroy(arg);
	destroyed = true;
	return NULL;
}

START_TEST(destroy_waits_for_reaper)
{
	const struct kmem_cache_args ca = { .ca_name = "gate",
	    .ca_size = 4000, .ca_dtor = dtor_waits, .ca_slab_pages = 1 };
	struct kmem_cache *kc, *gate, *mags;
	pthread_t r, d;
	uint64_t sleeps;

	slab_boot(FRAMES, debug_of(_i));
	gate = kmem_cache_create(&ca);
	kc = slab_make("shy", 64, 0);
	kmem_cache_free(gate, kmem_cache_alloc(gate, 0));
	cycle(kc, 1000);
	cycle(kc, 1000);
	must(kc->kc_cpu[1].cc_mag != NULL && kc->kc_cpu[1].cc_prev != NULL);
	mags = kmem_slab_find(kc->kc_cpu[1].cc_mag)->sl_cache;
	host_set_sleep(true, NULL);
	sleeps = host_sleeps();
	must(pthread_create(&r, NULL, reaper, NULL) == 0);
	while (!at_gate)
		nap();
	/* Behind it: held up as it gives back the first of our magazines. */
	vm_mtx_enter(&mags->kc_lock);
	gate_open = true;
	while (__atomic_load_n(&kc->kc_cpu[1].cc_prev, __ATOMIC_RELAXED) !=
	    NULL)
		nap();
	must(pthread_create(&d, NULL, destroyer, kc) == 0);
	while (!destroyed && host_sleeps() == sleeps)
		nap();
	vm_mtx_exit(&mags->kc_lock);
	must(pthread_join(r, NULL) == 0);
	must(pthread_join(d, NULL) == 0);
	must(destroy_error == 0);
	must(kmem_cache_destroy(gate) == 0);
	slab_done();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("kmem_depot");
	TCase *tc = tcase_create("kmem_depot");
	SRunner *sr;
	int failed;

	setvbuf(stdout, NULL, _IOLBF, 0);
	suite_add_tcase(s, tc);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, hits_take_no_lock, 0, 2);
	tcase_add_loop_test(tc, no_thrashing, 0, 2);
	tcase_add_loop_test(tc, bursts, 0, 2);
	tcase_add_loop_test(tc, mass_freeing, 0, 2);
	tcase_add_loop_test(tc, freeing_never_allocates, 0, 2);
	tcase_add_loop_test(tc, many_at_once, 0, 2);
	tcase_add_loop_test(tc, many_with_gaps, 0, 2);
	tcase_add_loop_test(tc, reserve_never_fails, 0, 2);
	tcase_add_loop_test(tc, reserve_in_interrupt, 0, 2);
	tcase_add_loop_test(tc, reserve_too_large, 0, 2);
	tcase_add_loop_test(tc, reserve_survives_refusal, 0, 2);
	tcase_add_loop_test(tc, others_magazines, 0, 2);
	tcase_add_loop_test(tc, destroy_waits_for_reaper, 0, 2);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
