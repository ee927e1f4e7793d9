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

	slab_boot(FRAMES, slab_debug_of(_i));
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

	slab_boot(FRAMES, slab_debug_of(_i));
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
 * A burst that comes again finds its magazines in the depot: a lock for each,
 * not for each object, and no slab is touched.
 */
START_TEST(bursts)
{
	struct kmem_cache *kc;
	unsigned i, n, rounds;
	unsigned long slab_objects;
	uint64_t before, grown;

	slab_boot(FRAMES, slab_debug_of(_i));
	kc = slab_make("burst", 100, 0);
	rounds = slab_stats(kc).cs_rounds;
	n = 1200;
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

/* Not a page, not a region, not a request for one. */
START_TEST(freeing_never_allocates)
{
	static const size_t sizes[] = { 64, 100, 700, 4096, 20000 };
	const enum vm_fail_site sites[] = { VM_FAIL_PAGE, VM_FAIL_PTP,
	    VM_FAIL_ENTRY, VM_FAIL_SPACE };
	struct kmem_cache *kc;
	unsigned i, s, n;
	pfn_t nfree;

	slab_boot(400, slab_debug_of(_i));
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

	slab_boot(1024, slab_debug_of(_i));
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

	slab_boot(FRAMES, slab_debug_of(_i));
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

	slab_boot(2048, slab_debug_of(_i));
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

	slab_boot(FRAMES, slab_debug_of(_i));
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

	slab_boot(1024, slab_debug_of(_i));
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

	slab_boot(FRAMES, slab_debug_of(_i));
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

	slab_boot(2048, slab_debug_of(_i));
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

	slab_boot(FRAMES, slab_debug_of(_i));
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

/*
 * Sizes of magazines: larger when the lock is found taken, smaller when
 * memory is short.
 */
static struct kmem_cache *wanted;
static atomic_bool enough;

static void *
occupier(void *arg)
{
	unsigned i;

	while (!enough) {
		vm_mtx_enter(&wanted->kc_lock);
		for (i = 0; i < 5; i++)
			sched_yield();
		vm_mtx_exit(&wanted->kc_lock);
		sched_yield();
	}
	return NULL;
}

START_TEST(sizes_of_magazines)
{
	unsigned first, rounds, i, seen = 0;
	pthread_t t;

	slab_boot(FRAMES, slab_debug_of(_i));
	wanted = slab_make("wanted", 300, 0);
	rounds = first = slab_stats(wanted).cs_rounds;
	must(first >= 5);
	/* Alone one never waits, and they stay as they are. */
	for (i = 0; i < 100; i++)
		cycle(wanted, 500);
	must(slab_stats(wanted).cs_rounds == first);
	must(pthread_create(&t, NULL, occupier, NULL) == 0);
	for (i = 0; i < 20000 && rounds < 128 - KMEM_MAG_HEADER; i++) {
		cycle(wanted, 300);
		if (slab_stats(wanted).cs_rounds == rounds)
			continue;
		/* Twice as many words, header included. */
		must(slab_stats(wanted).cs_rounds ==
		    2 * rounds + KMEM_MAG_HEADER);
		rounds = slab_stats(wanted).cs_rounds;
		seen++;
	}
	enough = true;
	must(pthread_join(t, NULL) == 0);
	must(rounds == 128 - KMEM_MAG_HEADER && seen > 0);
	slab_check();
	/* Those that pass by now are of the new size. */
	for (i = 0; i < 50; i++)
		cycle(wanted, 500);
	must(kmem_cpu_size(&wanted->kc_cpu[1]) == 128 - KMEM_MAG_HEADER);
	kmem_cache_reap(wanted);		/* which shrinks none */
	cycle(wanted, 500);
	must(kmem_cpu_size(&wanted->kc_cpu[1]) == 128 - KMEM_MAG_HEADER);
	for (; rounds > 8 - KMEM_MAG_HEADER;
	    rounds = (unsigned)(rounds - KMEM_MAG_HEADER) / 2) {
		must(slab_stats(wanted).cs_rounds == rounds);
		kmem_cache_reap_all();
	}
	kmem_cache_reap_all();
	must(slab_stats(wanted).cs_rounds == 8 - KMEM_MAG_HEADER);
	cycle(wanted, 500);
	/* Not for ever: back to the first size, and no further. */
	for (rounds = 8 - KMEM_MAG_HEADER; rounds < first;
	    rounds = (unsigned)(2 * rounds + KMEM_MAG_HEADER)) {
		must(slab_stats(wanted).cs_rounds == rounds);
		host_advance(KMEM_REAP_TICKS);
		kmem_reap_tick();
		cycle(wanted, 500);
	}
	host_advance(KMEM_REAP_TICKS);
	kmem_reap_tick();
	must(slab_stats(wanted).cs_rounds == first);
	slab_check();
	must(kmem_cache_destroy(wanted) == 0);
	slab_done();
}
END_TEST

/* A cache without magazines gets none by being fought for. */
START_TEST(no_magazines)
{
	unsigned i;
	pthread_t t;

	slab_boot(FRAMES, slab_debug_of(_i));
	wanted = slab_make("wanted", 300, KM_NOMAG);
	must(pthread_create(&t, NULL, occupier, NULL) == 0);
	for (i = 0; i < 100000 && host_locks()->hl_contended < 40; i++) {
		cycle(wanted, 20);
		sched_yield();
	}
	enough = true;
	must(pthread_join(t, NULL) == 0);
	must(host_locks()->hl_contended >= 40);
	must(slab_stats(wanted).cs_rounds == 0);
	must(slab_stats(wanted).cs_cached == 0);
	must(kmem_cache_destroy(wanted) == 0);
	slab_done();
}
END_TEST

/*
 * The working set: what was needed between two looks stays, the rest goes.
 */
static unsigned long
tick(void)
{
	host_advance(KMEM_REAP_TICKS);
	return kmem_reap_tick();
}

START_TEST(working_set)
{
	struct kmem_cache *kc;
	unsigned i, n, m, rounds;
	uint64_t grown;

	slab_boot(FRAMES, slab_debug_of(_i));
	kc = slab_make("working", 128, 0);
	rounds = slab_stats(kc).cs_rounds;
	n = 1500;
	m = n / 4;
	for (i = 0; i < 60; i++)
		cycle(kc, n);
	must(slab_stats(kc).cs_cached + 3 * rounds >= n);
	/* Too early, and in an interrupt, nothing happens. */
	host_advance(KMEM_REAP_TICKS - 1);
	must(kmem_reap_tick() == 0);
	must(slab_stats(kc).cs_cached + 3 * rounds >= n);
	host_set_intr(true);
	must(tick() == 0);
	host_set_intr(false);
	must(slab_stats(kc).cs_cached + 3 * rounds >= n);
	for (i = 0; i < 4; i++) {
		cycle(kc, m);
		tick();
	}
	must(slab_stats(kc).cs_cached + 3 * rounds >= m);
	must(slab_stats(kc).cs_cached <= m + 5 * rounds);
	must(kc->kc_nslabs * kc->kc_per_slab <= m + 6 * rounds +
	    2 * kc->kc_per_slab);
	/* Who needs m each time keeps them. */
	grown = slab_stats(kc).cs_grown;
	for (i = 0; i < 5; i++) {
		cycle(kc, m);
		tick();
	}
	must(slab_stats(kc).cs_grown == grown);
	/* Nobody does: but for what the CPU has loaded, all goes. */
	for (i = 0; i < 3; i++)
		tick();
	must(slab_stats(kc).cs_cached <= 2 * rounds);
	must(kc->kc_full_mags == NULL && kc->kc_empty_mags == NULL);
	must(slab_stats(kc).cs_empty_slabs == 0);
	slab_check();
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

/*
 * Whoever can give pages is told how many are wanted.
 */
static unsigned long asked[8];
static unsigned nasked, generous;

static unsigned long
gives(unsigned long pages)
{
	if (nasked < nitems(asked))
		asked[nasked] = pages;
	nasked++;
	if (!generous)
		return 0;
	slab_hoard_give((pfn_t)(pages < 50 ? pages : 50));
	return pages < 50 ? pages : 50;
}

START_TEST(how_much_is_wanted)
{
	static struct kmem_reclaimer kr = { .kr_name = "generous",
	    .kr_priority = KR_CACHE, .kr_reclaim = gives };
	const struct kmem_cache_args ca = { .ca_name = "wants 5",
	    .ca_size = 5000, .ca_slab_pages = 5 };
	struct kmem_cache *kc;
	vaddr_t va;

	slab_boot(2048, slab_debug_of(_i));
	kc = kmem_cache_create(&ca);
	kmem_cache_free(kc, kmem_cache_alloc(kc, 0));
	kmem_cache_reap_all();
	slab_hoard();
	kmem_reclaim_add(&kr);
	must(kmem_alloc(kernel_map, 7 * PAGE_SIZE, KM_NOSLEEP) == 0);
	must(nasked == 1 && asked[0] == 7);
	nasked = 0;
	must(kmem_cache_alloc(kc, KM_NOSLEEP | KM_EASY) == NULL);
	must(nasked == 0);
	must(kmem_cache_alloc(kc, KM_NOSLEEP) == NULL);
	must(nasked >= 1 && asked[0] == 5);
	generous = true;
	nasked = 0;
	va = kmem_alloc(kernel_map, 9 * PAGE_SIZE, KM_NOSLEEP);
	must(va != 0 && nasked == 1 && asked[0] == 9);
	kmem_free(kernel_map, va, 9 * PAGE_SIZE);
	must(alloc_all(kc, 0, KM_NOSLEEP) > 1000);
	free_n(kc, 0, (unsigned)slab_stats(kc).cs_inuse);
	slab_hoard_give(0);
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

/*
 * An interrupt has what magazines, depot and slabs hold, to the last object,
 * and gives all of it back; it makes and returns neither slab nor magazine.
 */
static unsigned long
magazines_out(void)
{
	struct kmem_cache *kc = NULL;
	unsigned long n = 0;

	while ((kc = kmem_cache_next(kc)) != NULL)
		if (strncmp(kc->kc_name, "kmem mag ", 9) == 0)
			n += kc->kc_inuse;
	return n;
}

START_TEST(interrupt_has_all)
{
	struct kmem_cache *kc;
	unsigned long slabs, mags;
	struct ledger l;
	unsigned n;

	slab_boot(FRAMES, slab_debug_of(_i));
	kc = slab_make("intr", 300, 0);
	for (n = 0; n < 30; n++)
		cycle(kc, 500);
	alloc_n(kc, 0, 100);
	must(kc->kc_nfull > 2);
	slabs = kc->kc_nslabs;
	mags = magazines_out();
	ledger_take(&l);
	host_set_intr(true);
	n = 100 + alloc_all(kc, 100, KM_NOSLEEP);
	must(n == slabs * kc->kc_per_slab && kc->kc_nslabs == slabs);
	must(slab_stats(kc).cs_cached == 0);
	must(kmem_cache_alloc_many(kc, 1, &obj[n], 0) == ENOMEM);
	free_n(kc, 0, n);
	must(slab_stats(kc).cs_inuse == 0 && kc->kc_nslabs == slabs);
	must(alloc_all(kc, 0, KM_NOSLEEP) == n);
	kmem_cache_free_many(kc, n, obj);
	must(kmem_cache_reap(kc) == 0 && kmem_cache_reap_all() == 0);
	host_set_intr(false);
	must(kc->kc_nslabs == slabs && ledger_since(&l) == NULL);
	must(magazines_out() <= mags);
	slab_check();
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

/*
 * The fullest slab is the first to be used, and the emptiest is left alone.
 */
START_TEST(fullest_first)
{
	struct kmem_cache *kc;
	struct kmem_slab *sl[4];
	unsigned i, s, n;

	slab_boot(FRAMES, slab_debug_of(_i));
	kc = slab_make("fullest", 100, KM_NOMAG);
	n = kc->kc_per_slab;
	must(n >= 32);
	alloc_n(kc, 0, 4 * n);
	for (s = 0; s < 4; s++) {
		sl[s] = kmem_slab_find(obj[s * n]);
		must(sl[s] == kmem_slab_find(obj[s * n + n - 1]));
	}
	/* Left in use: of slab 2 most, of 0 half, of 3 one, of 1 none. */
	free_n(kc, 2 * n, 2);
	free_n(kc, 0, n / 2);
	free_n(kc, 3 * n + 1, n - 1);
	free_n(kc, n, n);
	slab_check();
	for (i = 0; i < 2; i++)
		must(kmem_slab_find(obj[2 * n + i] =
		    kmem_cache_alloc(kc, 0)) == sl[2]);
	for (i = 0; i < n / 2; i++)
		must(kmem_slab_find(obj[i] =
		    kmem_cache_alloc(kc, 0)) == sl[0]);
	for (i = 1; i < n; i++)
		must(kmem_slab_find(obj[3 * n + i] =
		    kmem_cache_alloc(kc, 0)) == sl[3]);
	must(slab_stats(kc).cs_empty_slabs == 1);
	for (i = 0; i < n; i++)
		must(kmem_slab_find(obj[n + i] =
		    kmem_cache_alloc(kc, 0)) == sl[1]);
	must(slab_stats(kc).cs_grown == 4);
	for (i = 0; i < 4 * n; i++)
		kmem_cache_free(kc, obj[i]);
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

/*
 * With no check on: what is freed twice in a row is named at once, all else
 * that is no object of the cache when it gets back to its slab.
 */
static void
do_free_many(void *arg)
{
	struct slab_mistake *m = arg;

	kmem_cache_free_many(m->m_cache, 1, &m->m_ptr);
}

static void
do_reap(void *arg)
{
	struct slab_mistake *m = arg;

	kmem_cache_reap(m->m_cache);
}

static void
expect(void (*fn)(void *), struct kmem_cache *kc, void *ptr, const char *func)
{
	struct slab_mistake m = { kc, ptr };
	char want[80];
	const char *said;
	unsigned nlocks;

	said = host_panic_of(fn, &m, &nlocks);
	must(said != NULL && nlocks == 0);
	snprintf(want, sizeof(want), "%s(%s, %p)", func, kc->kc_name, ptr);
	if (strstr(said, want) != said)
		ck_abort_msg("\"%s\" is not \"%s...\"", said, want);
}

/* In a magazine it is not seen, but when it leaves that. */
static void
late(struct kmem_cache *kc, void *ptr)
{
	kmem_cache_free(kc, kmem_cache_alloc(kc, 0));
	kmem_cache_free(kc, ptr);
	expect(do_reap, kc, ptr, "kmem_cache_reap");
}

/* No sample: those end where a page does. */
static uint64_t foreign __attribute__((__aligned__(64)));

START_TEST(unchecked_mistakes)
{
	struct kmem_cache *kc, *other;

	slab_boot(FRAMES, _i % 2 ? KMD_SAMPLE : 0);
	kc = slab_make("unchecked", 200, 0);
	other = slab_make("other", 200, 0);
	alloc_n(other, 100, 1);
	alloc_n(kc, 0, 10);
	kmem_cache_free(kc, obj[0]);
	expect(slab_do_free, kc, obj[0], "kmem_cache_free");
	expect(do_free_many, kc, obj[0], "kmem_cache_free");
	kmem_cache_free(kc, obj[1]);
	kmem_cache_free(kc, obj[0]);		/* not in a row: not yet seen */
	kmem_cache_free(kc, obj[2]);
	expect(do_reap, kc, obj[0], "kmem_cache_reap");
	slab_check();
	must(slab_stats(kc).cs_inuse == 7);
	late(kc, (char *)obj[4] + 8);
	late(kc, &foreign);
	late(kc, obj[100]);
	slab_check();
	/* With no magazine between, it is at once. */
	expect(slab_do_free, kc, (char *)obj[4] + 8, "kmem_cache_free");
	expect(slab_do_free, kc, obj[1], "kmem_cache_free");
	slab_check();
	free_n(kc, 3, 7);
	free_n(other, 100, 1);
	must(kmem_cache_destroy(kc) == 0);
	must(kmem_cache_destroy(other) == 0);
	slab_done();
}
END_TEST

/* What would undo the constructor is refused, and nothing is lost by it. */
START_TEST(zero_of_constructed)
{
	const struct kmem_cache_args ca = { .ca_name = "built",
	    .ca_size = 100, .ca_ctor = slab_construct };
	struct kmem_cache *kc;
	const char *said;
	unsigned i, nlocks;

	slab_boot(FRAMES, slab_debug_of(_i));
	kc = kmem_cache_create(&ca);
	for (i = 0; i < 2; i++) {
		said = host_panic_of(slab_alloc_zero, kc, &nlocks);
		must(said != NULL && strstr(said, "constructor") != NULL);
		must(nlocks == 0 && slab_stats(kc).cs_inuse == 0);
		slab_check();
		cycle(kc, 10);			/* now with a magazine */
		must(slab_stats(kc).cs_cached > 0);
	}
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

/* The check finds what is broken, of invariants (e) and (f) too. */
#define BROKEN(stmt, undo) do {						\
	stmt;								\
	must(kmem_cache_check(kc) != NULL);				\
	undo;								\
	must(kmem_cache_check(kc) == NULL);				\
} while (0)

START_TEST(check_sees_faults)
{
	struct kmem_cache *kc;
	struct kmem_cpu *cc;
	struct kmem_mag *mag, *empty;
	void *was;
	unsigned i;

	slab_boot(FRAMES, slab_debug_of(_i));
	kc = slab_make("broken", 300, 0);
	for (i = 0; i < 30; i++)
		cycle(kc, 500);
	alloc_n(kc, 0, 250);
	cc = &kc->kc_cpu[1];
	mag = kc->kc_full_mags;
	empty = kc->kc_empty_mags;
	must(mag != NULL && empty != NULL && cc->cc_prev != NULL);
	must(kc->kc_nslabs > 2 && kmem_cpu_n(cc) + cc->cc_prev_n > 0);
	must(kmem_cache_check(kc) == NULL);
	BROKEN(kc->kc_nfull++, kc->kc_nfull--);
	BROKEN(kc->kc_nempty_mags--, kc->kc_nempty_mags++);
	BROKEN(kc->kc_rounds++, kc->kc_rounds--);
	BROKEN(kc->kc_full_mags = kmem_mag_next(mag), kc->kc_full_mags = mag);
	BROKEN(kc->kc_empty_mags = kmem_mag_next(empty),
	    kc->kc_empty_mags = empty);
	i = kc->kc_min_full;
	BROKEN(kc->kc_min_full = kc->kc_nfull + 1, kc->kc_min_full = i);
	i = kc->kc_min_empty;
	BROKEN(kc->kc_min_empty = kc->kc_nempty_mags + 1,
	    kc->kc_min_empty = i);
	BROKEN(mag->m_n--, mag->m_n++);
	BROKEN(mag->m_none = mag, mag->m_none = NULL);
	BROKEN(empty->m_n = 1, empty->m_n = 0);
	BROKEN(empty->m_none = mag, empty->m_none = NULL);
	was = mag->m_round[1];
	BROKEN(mag->m_round[1] = NULL, mag->m_round[1] = was);
	BROKEN(mag->m_round[1] = (char *)was + 8, mag->m_round[1] = was);
	BROKEN(mag->m_round[1] = mag, mag->m_round[1] = was);
	if (kc->kc_debug & KMD_CHECK)
		BROKEN(mag->m_round[1] = obj[0], mag->m_round[1] = was);
	BROKEN(cc->cc_end--, cc->cc_end++);
	BROKEN((cc->cc_first++, cc->cc_top++, cc->cc_end++),
	    (cc->cc_first--, cc->cc_top--, cc->cc_end--));
	BROKEN(cc->cc_prev_n += 200, cc->cc_prev_n -= 200);
	BROKEN(kc->kc_bins ^= 1, kc->kc_bins ^= 1);
	free_n(kc, 0, 250);
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

/* And of (a) to (d): which list a slab is on, where its header lies. */
START_TEST(check_sees_torn_lists)
{
	struct kmem_cache *kc;
	struct kmem_cpu *cc;
	struct kmem_link *full, *bin, *was;
	unsigned i, n;

	slab_boot(FRAMES, slab_debug_of(_i));
	kc = slab_make("torn", 100, KM_NOMAG);
	n = kc->kc_per_slab;
	must(!(kc->kc_flags & KC_OFFSLAB));
	alloc_n(kc, 0, n + n / 2);
	full = kc->kc_full.kl_next;
	bin = &kc->kc_partial[bit_lowest32(kc->kc_bins)];
	must(!kmem_link_empty(&kc->kc_full) && !kmem_link_empty(bin));
	must(kmem_cache_check(kc) == NULL);
	was = kc->kc_full.kl_prev;
	BROKEN(kc->kc_full.kl_prev = NULL, kc->kc_full.kl_prev = was);
	was = bin->kl_prev;
	BROKEN(bin->kl_prev = NULL, bin->kl_prev = was);
	for (i = 0; i < 2; i++) {
		was = i == 0 ? bin : &kc->kc_empty;
		BROKEN(kmem_link_remove(full); kmem_link_insert(was, full),
		    kmem_link_remove(full);
		    kmem_link_insert(&kc->kc_full, full));
	}
	BROKEN(kc->kc_hdr_off += 8, kc->kc_hdr_off -= 8);
	BROKEN(kc->kc_hdr_off -= 100, kc->kc_hdr_off += 100);
	BROKEN(kc->kc_bins = 0, kc->kc_bins = 1u << (bin - kc->kc_partial));
	cc = &kc->kc_cpu[5];
	BROKEN(cc->cc_top = &obj[1], cc->cc_top = NULL);
	BROKEN(cc->cc_end = &obj[1], cc->cc_end = NULL);
	BROKEN(cc->cc_prev_n = 1, cc->cc_prev_n = 0);
	cc = &kc->kc_cpu[VM_NCPU];
	BROKEN(cc->cc_mag = (void *)obj, cc->cc_mag = NULL);
	free_n(kc, 0, n + n / 2);
	must(kmem_cache_destroy(kc) == 0);
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
	tcase_add_loop_test(tc, freeing_never_allocates, 0, 2);
	tcase_add_loop_test(tc, many_at_once, 0, 2);
	tcase_add_loop_test(tc, many_with_gaps, 0, 2);
	tcase_add_loop_test(tc, reserve_never_fails, 0, 2);
	tcase_add_loop_test(tc, reserve_in_interrupt, 0, 2);
	tcase_add_loop_test(tc, reserve_too_large, 0, 2);
	tcase_add_loop_test(tc, reserve_survives_refusal, 0, 2);
	tcase_add_loop_test(tc, others_magazines, 0, 2);
	tcase_add_loop_test(tc, destroy_waits_for_reaper, 0, 2);
	tcase_add_loop_test(tc, sizes_of_magazines, 0, 2);
	tcase_add_loop_test(tc, no_magazines, 0, 2);
	tcase_add_loop_test(tc, zero_of_constructed, 0, 2);
	tcase_add_loop_test(tc, check_sees_torn_lists, 0, 2);
	tcase_add_loop_test(tc, working_set, 0, 2);
	tcase_add_loop_test(tc, how_much_is_wanted, 0, 2);
	tcase_add_loop_test(tc, interrupt_has_all, 0, 2);
	tcase_add_loop_test(tc, fullest_first, 0, 2);
	tcase_add_loop_test(tc, unchecked_mistakes, 0, 2);
	tcase_add_loop_test(tc, check_sees_faults, 0, 2);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
