/*
 * Corners of the slab layer and of the heap, which neither random operations
 * nor the tests of what is promised come to by themselves: the last size that
 * a magazine grows to, a reaper inside a destructor, a heap that has no table
 * of classes or is larger than it, the pages of somebody else between slabs.
 */
#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <libkern/errno.h>
#include <vm/kmem_debug_impl.h>
#include <vm/vm_fail.h>

#include "slab_test.h"

#define FRAMES		8192u		/* 32 MB */

static KMALLOC_DEFINE(M_FIRST, "first", "the tests' first type");
static KMALLOC_DEFINE(M_SECOND, "second", "the tests' second type");

static void *obj[60000];

static void
alloc_n(struct kmem_cache *kc, unsigned n)
{
	unsigned i;

	for (i = 0; i < n; i++) {
		obj[i] = kmem_cache_alloc(kc, KM_NOSLEEP);
		must(obj[i] != NULL);
		slab_fill(obj[i], kc->kc_size, i);
	}
}

static void
free_n(struct kmem_cache *kc, unsigned n)
{
	while (n-- > 0) {
		must(slab_holds(obj[n], kc->kc_size, n));
		kmem_cache_free(kc, obj[n]);
	}
}

static void
expect(void (*fn)(void *), void *arg, const char *what)
{
	must(slab_panics(fn, arg, what) == 0);
}

/*
 * Constructed objects.
 */
static int
construct(void *o, void *arg, int flags)
{
	*(uint32_t *)o = 0xB0B0B0B0;
	return 0;
}

/* Zeroes of a constructed object are refused, whose ever it was before. */
START_TEST(zero_and_constructor)
{
	const struct kmem_cache_args ca = { .ca_name = "made",
	    .ca_size = 64, .ca_ctor = construct };
	struct kmem_cache *kc;
	struct kmem_cache_stats before, after;
	uint32_t *o;

	slab_boot(FRAMES, slab_debug_of(_i));
	kc = kmem_cache_create(&ca);
	must(kc != NULL);
	o = kmem_cache_alloc(kc, 0);
	kmem_cache_free(kc, o);
	before = slab_stats(kc);
	must(before.cs_cached > 0);
	expect(slab_alloc_zero, kc, "KM_ZERO would undo the constructor");
	after = slab_stats(kc);
	must(after.cs_inuse == 0 && after.cs_cached == before.cs_cached);
	slab_check();
	must(kmem_cache_alloc(kc, 0) == o && *o == 0xB0B0B0B0);
	kmem_cache_free(kc, o);
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

/* A constructor that frees an object of its own cache: it is what one gets. */
static struct kmem_cache *giving;
static void *to_give;

static int
give(void *o, void *arg, int flags)
{
	void *was = to_give;

	to_give = NULL;
	if (was != NULL)
		kmem_cache_free(giving, was);
	return 0;
}

START_TEST(freed_while_growing)
{
	const struct kmem_cache_args ca = { .ca_name = "gives",
	    .ca_size = 64, .ca_ctor = give };
	unsigned n, i;
	void *was;

	slab_boot(FRAMES, slab_debug_of(_i));
	giving = kmem_cache_create(&ca);
	for (n = 0; n < 1 || giving->kc_inuse != giving->kc_nslabs *
	    giving->kc_per_slab || kmem_cpu_n(&giving->kc_cpu[1]) != 0; n++)
		obj[n] = kmem_cache_alloc(giving, 0);
	to_give = was = obj[0];
	obj[0] = kmem_cache_alloc(giving, 0);
	must(to_give == NULL && obj[0] == was);
	must(slab_stats(giving).cs_inuse == n);
	must(slab_stats(giving).cs_empty_slabs == 1);
	for (i = 0; i < n; i++)
		kmem_cache_free(giving, obj[i]);
	must(kmem_cache_destroy(giving) == 0);
	slab_done();
}
END_TEST

/* A destructor that reaps: the cache that is being destroyed is passed by. */
static unsigned long reaped;

static void
reap(void *o, void *arg)
{
	must(host_locks()->hl_held == 0);
	reaped += kmem_cache_reap_all();
}

START_TEST(reaped_by_destructor)
{
	const struct kmem_cache_args ca = { .ca_name = "reaps",
	    .ca_size = 3 * PAGE_SIZE, .ca_slab_pages = 3, .ca_dtor = reap };
	struct kmem_cache *kc, *later;

	slab_boot(FRAMES, slab_debug_of(_i));
	kc = kmem_cache_create(&ca);
	later = slab_make("later", 5 * PAGE_SIZE, 0);
	kmem_cache_free(kc, kmem_cache_alloc(kc, 0));
	kmem_cache_free(later, kmem_cache_alloc(later, 0));
	must(slab_stats(later).cs_empty_slabs == 1);
	must(kmem_cache_destroy(kc) == 0);
	/* What is behind it on the list was reaped all the same. */
	must(slab_stats(later).cs_slabs == 0 && reaped >= 5);
	must(kmem_cache_destroy(later) == 0);
	slab_done();
}
END_TEST

/* What a refused destruction names is out, and it names all of a few. */
START_TEST(only_what_is_out)
{
	struct kmem_cache *kc;
	char want[64];
	uint64_t logs;
	unsigned i, n;

	slab_boot(FRAMES, slab_debug_of(_i));
	kc = slab_make("stays", 64, 0);
	alloc_n(kc, 5);
	logs = host_log_count();
	must(kmem_cache_destroy(kc) == EBUSY);
	must(host_log_count() == logs + 6);
	for (i = 0; i < 5; i++) {
		snprintf(want, sizeof(want), "(stays): %p is out", obj[i]);
		for (n = 1; n <= 5; n++)
			if (strstr(host_log_line(n), want) != NULL)
				break;
		must(n <= 5);
	}
	free_n(kc, 5);
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

static void
do_destroy(void *arg)
{
	kmem_cache_destroy(arg);
}

START_TEST(not_to_be_destroyed)
{
	struct kmem_cache *kc;

	slab_boot(FRAMES, slab_debug_of(_i));
	expect(do_destroy, slab_named("kmem headers"),
	    "kmem_cache_destroy(kmem headers): a cache of the system's own");
	kc = slab_make("mine", 64, 0);
	host_set_intr(true);
	expect(do_destroy, kc, "kmem_cache_destroy(mine): from an interrupt");
	host_set_intr(false);
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

/* Each object is counted once, be it the first of a slab or of a magazine. */
START_TEST(counted)
{
	struct kmem_cache *kc;
	struct kmem_cache_stats cs;
	unsigned i, flags;

	slab_boot(FRAMES, slab_debug_of(_i));
	for (flags = 0; flags <= KM_NOMAG; flags += KM_NOMAG) {
		kc = slab_make("counted", 200, (int)flags);
		for (i = 1; i <= 300; i++) {
			obj[i] = kmem_cache_alloc(kc, KM_NOSLEEP);
			cs = slab_stats(kc);
			must(cs.cs_allocs == i && cs.cs_frees == 0);
			must(cs.cs_inuse == i && cs.cs_fails == 0);
		}
		for (i = 300; i > 0; i--) {
			kmem_cache_free(kc, obj[i]);
			cs = slab_stats(kc);
			must(cs.cs_allocs == 300 && cs.cs_frees == 301 - i);
		}
		host_set_intr(true);
		kmem_cache_reap(kc);
		for (i = 0; kmem_cache_alloc(kc, 0) != NULL; i++)
			must(slab_stats(kc).cs_allocs == 301 + i);
		host_set_intr(false);
		cs = slab_stats(kc);
		must(cs.cs_allocs == 300 + i && cs.cs_fails == 1);
		must(cs.cs_inuse == i);
	}
}
END_TEST

/*
 * A cache whose headers must be on the slab, with objects of whole pages:
 * one page less than a slab has is the most that it can hold.
 */
START_TEST(whole_pages_on_slab)
{
	static struct kmem_cache kc, large;
	struct kmem_cache_args ca = { .ca_name = "pages",
	    .ca_size = PAGE_SIZE, .ca_align = PAGE_SIZE };

	slab_boot(FRAMES, slab_debug_of(_i));
	must(kmem_cache_init(&kc, &ca, KC_ONSLAB | KC_STATIC));
	must(!(kc.kc_flags & KC_OFFSLAB));
	must(kc.kc_slab_size == ptoa(KMEM_SLAB_TRYPAGES));
	must(kc.kc_per_slab == KMEM_SLAB_TRYPAGES - 1);
	alloc_n(&kc, 20);
	slab_check();
	free_n(&kc, 20);
	/* Nothing is left for the header. */
	ca.ca_name = "large";
	ca.ca_size = ptoa(KMEM_SLAB_MAXPAGES);
	must(!kmem_cache_init(&large, &ca, KC_ONSLAB | KC_STATIC));
	must(strstr(host_log_last(), "no object fits in a slab") != NULL);
	slab_done();
}
END_TEST

/*
 * Magazines.
 */
static struct kmem_cache *busy;
static atomic_bool held;

/* Hold the lock until somebody must have run into it. */
static void *
hold(void *arg)
{
	const struct timespec ms = { 0, 2000000 };

	vm_mtx_enter(&busy->kc_lock);
	held = true;
	nanosleep(&ms, NULL);
	vm_mtx_exit(&busy->kc_lock);
	return NULL;
}

/* Find kc's lock taken, for the n-th time of 16, on the way to its depot. */
static void
contend(struct kmem_cache *kc, unsigned n)
{
	unsigned tries;
	pthread_t t;
	void *o;

	busy = kc;
	kc->kc_contended = n - 1;
	for (tries = 0; kc->kc_contended == n - 1 && tries < 100; tries++) {
		kmem_depot_purge(kc);
		held = false;
		must(pthread_create(&t, NULL, hold, NULL) == 0);
		while (!held)
			sched_yield();
		o = kmem_cache_alloc(kc, KM_NOSLEEP);
		must(pthread_join(t, NULL) == 0);
		must(o != NULL);
		kmem_cache_free(kc, o);
	}
	must(kc->kc_contended == n % 16);
}

/* Magazines grow twice, then no more; where there are none, none come. */
START_TEST(magazines_grow)
{
	static const struct {
		size_t	 size;
		unsigned words[4];
	} grow[] = {
		{ 64, { 64, 128, 128, 128 } },
		{ 700, { 32, 64, 128, 128 } },
		{ 3000, { 8, 16, 32, 32 } },
		{ 9000, { 0, 0, 0, 0 } },
	};
	struct kmem_cache *kc;
	unsigned i, n;

	slab_boot(FRAMES, slab_debug_of(_i));
	for (i = 0; i < nitems(grow); i++) {
		kc = slab_make("grows", grow[i].size, 0);
		must(kc->kc_mag_words == grow[i].words[0]);
		for (n = 1; n < nitems(grow[i].words); n++) {
			contend(kc, 15);
			must(kc->kc_mag_words == grow[i].words[n - 1]);
			contend(kc, 16);
			must(kc->kc_mag_words == grow[i].words[n]);
		}
		must(kmem_cache_destroy(kc) == 0);
	}
	slab_done();
}
END_TEST

/* The largest magazine is not half filled at once, but gets 32 rounds. */
START_TEST(refill_is_limited)
{
	struct kmem_cache *kc;
	struct kmem_cpu *cc;

	slab_boot(FRAMES, slab_debug_of(_i));
	kc = slab_make("refilled", 64, 0);
	cc = &kc->kc_cpu[1];
	alloc_n(kc, 2);
	must(kmem_cpu_size(cc) == 64 - KMEM_MAG_HEADER &&
	    kmem_cpu_n(cc) == 30);
	free_n(kc, 2);
	contend(kc, 16);
	kmem_depot_purge(kc);
	alloc_n(kc, 2);
	must(kmem_cpu_size(cc) == 128 - KMEM_MAG_HEADER &&
	    kmem_cpu_n(cc) == 32);
	free_n(kc, 2);
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

/* At least n objects, until both magazines are empty.  => how many */
static unsigned
alloc_all(struct kmem_cache *kc, unsigned n)
{
	const struct kmem_cpu *cc = &kc->kc_cpu[1];
	unsigned i;

	for (i = 0; i < n || kmem_cpu_n(cc) != 0; i++)
		obj[i] = kmem_cache_alloc(kc, KM_NOSLEEP);
	must(cc->cc_prev_n == 0);
	return i;
}

static void
free_all(struct kmem_cache *kc, unsigned n)
{
	while (n-- > 0)
		kmem_cache_free(kc, obj[n]);
}

/* The objects that were freed last come back, the last one first. */
static void
take_back(struct kmem_cache *kc, void **freed, unsigned n)
{
	while (n-- > 0)
		must(kmem_cache_alloc(kc, 0) == freed[n]);
}

/*
 * A full magazine beside an empty one shares with it when the loaded one is to
 * give, or to take, what it cannot; the newer half is loaded.
 */
START_TEST(halves)
{
	struct kmem_cache *kc;
	struct kmem_cpu *cc;
	unsigned i, k, n, size, half;

	slab_boot(FRAMES, slab_debug_of(_i));
	kc = slab_make("halves", 64, 0);
	cc = &kc->kc_cpu[1];
	n = alloc_all(kc, 200);
	size = kmem_cpu_size(cc);
	half = size / 2;
	must(size > 50);
	for (i = 0; kmem_cpu_n(cc) < size; i++)
		kmem_cache_free(kc, obj[i]);
	must(cc->cc_prev_n == 0);
	kmem_cache_free(kc, obj[i++]);
	must(kmem_cpu_n(cc) == size - half + 1 && cc->cc_prev_n == half);
	must(kmem_cache_check(kc) == NULL);
	take_back(kc, obj + i - size - 1, size + 1);
	must(kmem_cpu_n(cc) == 0 && cc->cc_prev_n == 0);
	/* Both are full: one is given out, then the other is halved. */
	i -= size + 1;
	for (k = 0; k < 2 * size; k++)
		kmem_cache_free(kc, obj[i + k]);
	must(kmem_cpu_n(cc) == size && cc->cc_prev_n == size);
	take_back(kc, obj + i + half + size, size - half);
	take_back(kc, obj + i, half);
	must(kmem_cpu_n(cc) == 0 && cc->cc_prev_n == size);
	take_back(kc, obj + i + half + size - 1, 1);
	must(kmem_cpu_n(cc) == size - half - 1 && cc->cc_prev_n == half);
	must(kmem_cache_check(kc) == NULL);
	take_back(kc, obj + i + half, size - 1);
	free_all(kc, n);
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

/* Not with one that is too small for half. */
START_TEST(no_halves)
{
	struct kmem_cache *kc;
	struct kmem_cpu *cc;
	unsigned i, n, size;

	slab_boot(FRAMES, slab_debug_of(_i));
	kc = slab_make("unequal", 64, 0);
	cc = &kc->kc_cpu[1];
	obj[0] = kmem_cache_alloc(kc, 0);
	kmem_depot_shrink(kc);
	kmem_depot_shrink(kc);
	kmem_cache_free(kc, obj[0]);
	n = alloc_all(kc, 100);
	size = kmem_cpu_size(cc);
	must(cc->cc_prev->m_size < size / 2 && cc->cc_prev_n == 0);
	for (i = 0; kmem_cpu_n(cc) < size; i++)
		kmem_cache_free(kc, obj[i]);
	kmem_cache_free(kc, obj[i++]);
	must(kmem_cpu_n(cc) == 1 && cc->cc_prev_n == size);
	take_back(kc, obj + i - 2, 2);
	must(kmem_cpu_n(cc) == size - 1 && cc->cc_prev_n == 0);
	must(kmem_cache_check(kc) == NULL);
	take_back(kc, obj, size - 1);
	free_all(kc, n);
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

/*
 * What lies at the end of the older half is freed once more, when the newer one
 * is full: it is what was put there last, and nothing comes of it.
 */
START_TEST(twice_between_halves)
{
	struct slab_mistake m;
	struct kmem_cpu *cc;
	struct kmem_cache *kc;
	unsigned i, n, size;

	slab_boot(FRAMES, 0);
	kc = slab_make("twice", 64, 0);
	cc = &kc->kc_cpu[1];
	n = alloc_all(kc, 200);
	size = kmem_cpu_size(cc);
	for (i = n; kmem_cpu_n(cc) < size; i--)
		kmem_cache_free(kc, obj[i - 1]);
	m = (struct slab_mistake){ kc, obj[i + size - size / 2] };
	while (kmem_cpu_n(cc) < size || cc->cc_prev_n == 0)
		kmem_cache_free(kc, obj[--i]);
	must(cc->cc_prev_n == size / 2);
	must(cc->cc_prev->m_round[size / 2 - 1] == m.m_ptr);
	expect(slab_do_free, &m, "kmem_cache_free(twice, ");
	must(cc->cc_prev_n + kmem_cpu_n(cc) == size + size / 2);
	must(kmem_cache_check(kc) == NULL);
	free_all(kc, i);
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

/* Both of a CPU's magazines are made as they are missed, by no interrupt. */
START_TEST(supplied)
{
	struct kmem_cache *kc, *mags;
	struct kmem_cpu *cc;

	slab_boot(FRAMES, slab_debug_of(_i));
	kc = slab_make("supplied", 64, 0);
	cc = &kc->kc_cpu[1];
	alloc_n(kc, 2);
	must(cc->cc_mag != NULL && cc->cc_prev != NULL);
	must(kc->kc_nempty_mags == 0 && kc->kc_mag_want == 0);
	mags = kmem_slab_find(cc->cc_mag)->sl_cache;
	free_n(kc, 2);
	kmem_depot_purge(kc);
	must(cc->cc_mag == NULL && mags->kc_inuse == 0 && mags->kc_nslabs > 0);
	host_set_intr(true);
	alloc_n(kc, 3);
	must(cc->cc_mag == NULL && mags->kc_inuse == 0);
	free_n(kc, 3);
	host_set_intr(false);
	alloc_n(kc, 1);
	must(cc->cc_mag != NULL && cc->cc_prev == NULL);
	free_n(kc, 1);
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

static void
least(unsigned long *low, unsigned long now)
{
	if (now < *low)
		*low = now;
}

/* The least that there was since the last reaping is what is reaped. */
START_TEST(least_since_reaping)
{
	unsigned long full = 0, empty = 0, slabs = 0, nfull, nempty;
	unsigned i, n = 0, to, reaped_full = 0, reaped_empty = 0;
	struct kmem_cache *kc;
	uint64_t rng = 7;

	slab_boot(FRAMES, slab_debug_of(_i));
	kc = slab_make("least", 300, 0);
	for (i = 0; i < 2000; i++) {
		to = (unsigned)k_random(&rng) % (i % 100 < 50 ? 800 : 300);
		while (n != to) {
			if (n < to)
				obj[n++] = kmem_cache_alloc(kc, KM_NOSLEEP);
			else
				kmem_cache_free(kc, obj[--n]);
			least(&full, kc->kc_nfull);
			least(&empty, kc->kc_nempty_mags);
			least(&slabs, kc->kc_nempty);
			must(kc->kc_min_full == full);
			must(kc->kc_min_empty == empty);
			must(kc->kc_min_empty_slabs == slabs);
		}
		if (k_random(&rng) % 20 != 0)
			continue;
		nfull = kc->kc_nfull;
		nempty = kc->kc_nempty_mags;
		kmem_depot_reap(kc);
		must(kc->kc_nfull == nfull - full);
		must(kc->kc_nempty_mags == nempty - empty);
		reaped_full += full != 0;
		reaped_empty += empty != 0;
		full = kc->kc_nfull;
		empty = kc->kc_nempty_mags;
	}
	must(reaped_full > 0 && reaped_empty > 0);
	while (n > 0)
		kmem_cache_free(kc, obj[--n]);
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

/* The reaper's tick: not before its time, and not in an interrupt. */
START_TEST(tick_in_time)
{
	struct kmem_cache *kc;

	slab_boot(FRAMES, slab_debug_of(_i));
	kc = slab_make("ticks", 64, KM_NOMAG);
	kmem_cache_free(kc, kmem_cache_alloc(kc, 0));
	host_advance(KMEM_REAP_TICKS);
	kmem_reap_tick();
	must(kc->kc_nempty == 1 && kc->kc_min_empty_slabs == 1);
	host_advance(KMEM_REAP_TICKS - 1);
	kmem_reap_tick();
	must(kc->kc_nempty == 1);
	host_advance(1);
	host_set_intr(true);
	must(kmem_reap_tick() == 0 && kc->kc_nempty == 1);
	host_set_intr(false);
	must(kmem_reap_tick() >= 1 && kc->kc_nempty == 0);
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

/*
 * What is no object.
 */
struct mistake {
	struct kmem_cache *m_cache;
	void		*m_ptr;
	struct kmalloc_type *m_type;
};

static void
do_free(void *arg)
{
	const struct mistake *m = arg;

	kmem_cache_free(m->m_cache, m->m_ptr);
}

static void
do_kfree(void *arg)
{
	const struct mistake *m = arg;

	kfree(m->m_ptr, m->m_type);
}

static void
do_krealloc(void *arg)
{
	const struct mistake *m = arg;

	/* What could stay in place: its own kfree must not be what panics. */
	krealloc(m->m_ptr, 60, m->m_type, 0);
}

/* Have the stack below hold what would be the offset of an object. */
static void __attribute__((__noinline__))
zero_stack(void)
{
	volatile char below[1024];
	unsigned i;

	for (i = 0; i < sizeof(below); i++)
		below[i] = 0;
}

static void
do_usable(void *arg)
{
	const struct mistake *m = arg;

	zero_stack();
	kmalloc_usable(m->m_ptr);
}

/* Beside the objects of a slab: its header, and what the colour leaves. */
START_TEST(beside)
{
	struct mistake m = { .m_type = M_FIRST };
	struct kmem_cache *kc;
	struct kmem_slab *sl;
	char *o, *p;

	slab_boot(FRAMES, slab_debug_of(_i));
	kc = slab_make("beside", 100, KM_NOMAG);
	o = kmem_cache_alloc(kc, 0);
	sl = kmem_slab_find(o);
	m.m_cache = kc;
	m.m_ptr = sl;
	expect(do_free, &m, "beside the objects of a slab of beside");
	m.m_ptr = sl->sl_first + kc->kc_per_slab * kc->kc_stride;
	expect(do_free, &m, "beside the objects of a slab of beside");
	m.m_ptr = sl->sl_first - 1;
	must((uintptr_t)sl->sl_first % PAGE_SIZE == 0);
	expect(do_free, &m, "kmem_cache_free(beside, ");
	m.m_ptr = o + 1;
	expect(do_free, &m, "1 bytes into");
	kmem_cache_free(kc, o);
	must(kmem_cache_destroy(kc) == 0);

	p = kmalloc(100, M_FIRST, 0);
	m.m_ptr = kmem_slab_find(p);
	expect(do_krealloc, &m, "beside the objects of a slab of kmalloc-");
	expect(do_usable, &m, "beside the objects of a slab of kmalloc-");
	m.m_ptr = p + 8;
	expect(do_krealloc, &m, "8 bytes into");
	expect(do_usable, &m, "8 bytes into");
	kfree(p, M_FIRST);
	slab_done();
}
END_TEST

/* Pages in the windows that are not kmem_alloc's are nobody's objects. */
START_TEST(frames_of_others)
{
	const vaddr_t va = VM_HEAP_MIN + ptoa(5000);
	struct mistake m = { .m_ptr = (void *)va, .m_type = M_FIRST };
	paddr_t pa;
	void *p;

	slab_boot(FRAMES, slab_debug_of(_i));
	must(vm_phys_alloc(VM_PAGE_USER, &pa) == 0);
	must(vm_map_insert(kernel_map, va, va + PAGE_SIZE, VM_PROT_RW,
	    "other") == 0);
	must(pmap_kenter(va, &pa, 1, VM_PROT_RW) == 0);
	must(kmem_page((void *)va) == NULL);
	must(kmem_slab_find((void *)va) == NULL);
	p = kmalloc(5000, M_FIRST, 0);
	must(kmem_slab_find(p) == NULL);
	/* Nothing is left of the answer before. */
	must(kmem_page(p) != NULL && kmem_page((void *)(va + ptoa(9))) == NULL);
	kfree(p, M_FIRST);
	m.m_cache = slab_make("none of it", 64, 0);
	expect(do_kfree, &m, "no memory of the slabs' or the heap's");
	expect(do_krealloc, &m, "no memory of the slabs' or the heap's");
	must(kmem_cache_destroy(m.m_cache) == 0);
	must(pmap_kremove(va, 1, &pa) == 1);
	must(vm_map_remove(kernel_map, va, va + PAGE_SIZE) == 0);
	vm_phys_free(pa);
	slab_done();
}
END_TEST

/*
 * The heap's table of classes.
 */
static void
use_heap(void)
{
	static const size_t sizes[] = { 1, 8, 100, 1000, 4096, 5000 };
	char *p[nitems(sizes)];
	unsigned i;

	for (i = 0; i < nitems(p); i++) {
		p[i] = kmalloc(sizes[i], M_FIRST, KM_NOSLEEP);
		must(p[i] != NULL);
		slab_fill(p[i], sizes[i], i);
	}
	for (i = 0; i < nitems(p); i++) {
		must(slab_holds(p[i], sizes[i], i));
		kfree(p[i], M_FIRST);
	}
}

/* Without one, and above what it covers, the frames say as much. */
START_TEST(no_table)
{
	const struct kmem_classes table = kmem_classes;
	struct kmem_classes was;
	vaddr_t end;

	must(table.kp_npages == 0);
	slab_boot(FRAMES, slab_debug_of(_i));
	was = kmem_classes;
	must(was.kp_npages == round_page(FRAMES - 1));
	use_heap();
	kmem_cache_reap_all();
	kmem_classes = table;
	vm_fail_set(VM_FAIL_PAGE, 1, true);
	kmem_class_bootstrap();
	must(vm_fail_count(VM_FAIL_PAGE) > 0);
	vm_fail_set(VM_FAIL_PAGE, 0, false);
	must(kmem_classes.kp_class == NULL && kmem_classes.kp_npages == 0);
	use_heap();
	kmem_cache_reap_all();
	kmem_classes = was;
	/* The windows up to behind the table are taken. */
	end = VM_HEAP_MIN + ptoa(was.kp_npages);
	must(vm_map_insert(kernel_map, VM_HEAP_MIN, end, VM_PROT_RW,
	    "filler") == 0);
	obj[0] = kmalloc(100, M_FIRST, 0);
	must((vaddr_t)obj[0] >= end && kmem_class_of(obj[0]) == 0);
	kfree(obj[0], M_FIRST);
	use_heap();
	kmem_cache_reap_all();
	must(vm_map_remove(kernel_map, VM_HEAP_MIN, end) == 0);
	slab_done();
}
END_TEST

/*
 * It knows a class while there is a slab of it, but no other caches, and no
 * class that is watched.
 */
START_TEST(table_follows)
{
	struct kmem_cache *kc;
	char *p, *o;

	slab_boot(FRAMES, slab_debug_of(_i));
	p = kmalloc(100, M_FIRST, 0);
	kc = kmem_slab_find(p)->sl_cache;
	must(kc->kc_class != 0);
	must(kmem_class_of(p) == (kc->kc_debug == 0 ? kc->kc_class : 0));
	kfree(p, M_FIRST);
	kmem_cache_reap_all();
	must(kmem_class_of(p) == 0);
	kc = slab_make("no class", 100, KM_HEAP);
	o = kmem_cache_alloc(kc, 0);
	must((vaddr_t)o < VM_HEAP_MAX && kmem_class_of(o) == 0);
	kmem_cache_free(kc, o);
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

/* Where there are more frames than pages in the window, it covers that. */
START_TEST(large_machine)
{
	const vsize_t pages = atop(VM_HEAP_MAX - VM_HEAP_MIN);

	slab_boot((pfn_t)pages + 5000, slab_debug_of(_i));
	must(kmem_classes.kp_npages == pages);
	use_heap();
	slab_done();
}
END_TEST

/* A type's first object comes out of a magazine, and the type is known. */
START_TEST(first_of_type)
{
	struct kmalloc_stats ks;
	uint64_t zero = 0;
	void *p;

	slab_boot(FRAMES, slab_debug_of(_i));
	p = kmalloc(64, M_FIRST, 0);
	slab_fill(p, 64, 1);
	kfree(p, M_FIRST);
	must(M_SECOND->kt_id == 0);
	must(kmalloc(64, M_SECOND, 0) == p);
	must(M_SECOND->kt_id > M_FIRST->kt_id);
	kmalloc_stats(M_SECOND, &ks);
	must(ks.ks_inuse == 1 && ks.ks_bytes == 64);
	must(ks.ks_requests == 1 && ks.ks_sizes == 64);
	kfree(p, M_SECOND);
	/* What comes out of a magazine and is to be zero was not before. */
	must(kcalloc(8, 8, M_FIRST, 0) == p);
	must(memcmp(p, &zero, sizeof(zero)) == 0);
	kfree(p, M_FIRST);
	kmalloc_stats(M_FIRST, &ks);
	must(ks.ks_inuse == 0 && ks.ks_requests == 2 && ks.ks_sizes == 64);
	slab_done();
}
END_TEST

/* krealloc: zeroes behind what there was, and 16 bytes' alignment. */
START_TEST(grown_and_shrunk)
{
	static const char zero[1000];
	char *p[16], *q;
	unsigned i;

	slab_boot(FRAMES, slab_debug_of(_i));
	q = kmalloc(1000, M_FIRST, 0);
	slab_fill(q, 1000, 1);
	kfree(q, M_FIRST);
	p[0] = kcalloc(1, 64, M_FIRST, 0);
	must(krealloc(p[0], 1000, M_FIRST, KM_ZERO) == q);
	must(memcmp(q, zero, 1000) == 0);
	slab_fill(q, 1000, 2);
	q = krealloc(q, 100, M_FIRST, KM_ZERO);
	must(slab_holds(q, 100, 2));
	kfree(q, M_FIRST);
	/* Every other one of this class lies between two of them. */
	for (i = 0; i < nitems(p); i++)
		p[i] = kmalloc(104, M_FIRST, 0);
	for (i = 0; i < nitems(p); i++) {
		slab_fill(p[i], 104, i);
		must(krealloc(p[i], 100, M_FIRST, 0) == p[i]);
		q = krealloc(p[i], 96, M_FIRST, 0);
		must((uintptr_t)q % 16 == 0 && slab_holds(q, 96, i));
		must((q == p[i]) == ((uintptr_t)p[i] % 16 == 0));
		kfree(q, M_FIRST);
	}
	slab_done();
}
END_TEST

/* The most that was in use, of a few at a time; of blocks exactly. */
START_TEST(high_water)
{
	struct kmalloc_stats ks;
	unsigned i;

	slab_boot(FRAMES, slab_debug_of(_i));
	for (i = 0; i < 160; i++)
		obj[i] = kmalloc(64, M_FIRST, 0);
	while (i > 0)
		kfree(obj[--i], M_FIRST);
	kmalloc_stats(M_FIRST, &ks);
	must(ks.ks_bytes == 0 && ks.ks_high <= 160 * 64);
	must(_i == 0 ? ks.ks_high > 0 : ks.ks_high > 144 * 64);
	kfree(kmalloc(ptoa(5), M_SECOND, 0), M_SECOND);
	kmalloc_stats(M_SECOND, &ks);
	must(ks.ks_bytes == 0 && ks.ks_high == ptoa(5));
	slab_done();
}
END_TEST

/* The zone begins behind what was asked for. */
START_TEST(zoned)
{
	struct mistake m = { .m_type = M_FIRST };
	struct kmem_trail *t;
	char *p, *o;

	slab_boot(FRAMES, KMD_CHECK | KMD_REDZONE);
	m.m_cache = slab_make("zoned", 100, 0);
	m.m_ptr = p = kmalloc(99, M_FIRST, 0);
	must(kmalloc_usable(p) == 99);
	slab_fill(p, 99, 1);
	p[99] ^= 1;
	expect(do_kfree, &m, "kmalloc-104: object");
	p[99] ^= 1;
	must(slab_holds(p, 99, 1));
	kfree(p, M_FIRST);
	m.m_ptr = o = kmem_cache_alloc(m.m_cache, 0);
	slab_fill(o, 100, 2);
	o[100] ^= 1;
	expect(do_free, &m, "zoned: object");
	o[100] ^= 1;
	/* A length that is no object's, in spite of its code. */
	t = kmem_trail(m.m_cache, o);
	t->t_check ^= t->t_size ^ 1000;
	t->t_size = 1000;
	expect(do_free, &m, "zoned: object");
	t->t_check ^= t->t_size ^ 100;
	t->t_size = 100;
	must(slab_holds(o, 100, 2));
	kmem_cache_free(m.m_cache, o);
	must(kmem_cache_destroy(m.m_cache) == 0);
	slab_done();
}
END_TEST

/* Objects alone on their pages, at addresses and of types that are wrong. */
START_TEST(guarded_heap)
{
	struct mistake m = { .m_type = M_FIRST };
	char *p;

	slab_boot(FRAMES, KMD_GUARD | slab_debug_of(_i));
	kfree(kmalloc(1, M_SECOND, 0), M_SECOND);
	p = kmalloc(100, M_FIRST, 0);
	must(kmalloc_usable(p) == 100);
	m.m_ptr = p + 1;
	expect(do_krealloc, &m, "1 bytes into");
	expect(do_usable, &m, "1 bytes into");
	m.m_ptr = p;
	m.m_type = M_SECOND;
	expect(do_krealloc, &m, "of type first");
	must(krealloc(p, 90, M_FIRST, 0) != NULL);
	slab_check();
}
END_TEST

/*
 * What is watched.
 */
static void
do_alloc(void *arg)
{
	kmem_cache_alloc(arg, KM_NOSLEEP);
}

/* The last bytes of a free object, which are not a word. */
START_TEST(poisoned_end)
{
	struct kmem_cache *kc;
	unsigned i;
	char *o;

	slab_boot(FRAMES, KMD_CHECK | KMD_POISON);
	kc = slab_make("poisoned", 61, 0);
	o = kmem_cache_alloc(kc, 0);
	kmem_cache_free(kc, o);
	for (i = 0; i < 61; i++) {
		o[i] ^= 1;
		expect(do_alloc, kc, "poisoned: object");
		/* Mended, and back among the free. */
		must(kmem_cache_alloc(kc, 0) == o);
		kmem_cache_free(kc, o);
	}
}
END_TEST

/* Who writes into a magazine, and what comes out of it then. */
START_TEST(magazine_overwritten)
{
	struct kmem_cache *kc, *other;
	struct kmem_cpu *cc;
	void *was, **last, *bad[5];
	unsigned i;
	char want[80];

	slab_boot(FRAMES, KMD_CHECK);
	kc = slab_make("overwritten", 64, 0);
	other = slab_make("other", 64, 0);
	bad[0] = &i;
	bad[1] = kmem_cache_alloc(other, 0);
	bad[2] = kmem_cache_alloc(kc, 0);
	bad[3] = (char *)bad[2] + 8;
	bad[4] = kmem_slab_find(bad[2]);
	kmem_cache_free(kc, kmem_cache_alloc(kc, 0));
	cc = &kc->kc_cpu[1];
	must(kmem_cpu_n(cc) > 0);
	last = &cc->cc_top[-1];
	was = *last;
	for (i = 0; i < nitems(bad); i++) {
		*last = bad[i];
		snprintf(want, sizeof(want), "kmem_cache_alloc(overwritten): "
		    "%p in a magazine is no free object", bad[i]);
		expect(do_alloc, kc, want);
		/* It was taken out of the magazine. */
		must(kmem_cpu_push(cc, was));
		must(last == &cc->cc_top[-1]);
	}
	/* The panic took them out, and gave out none. */
	cc->cc_allocs -= nitems(bad);
	kmem_cache_free(kc, bad[2]);
	kmem_cache_free(other, bad[1]);
	must(kmem_cache_destroy(kc) == 0);
	must(kmem_cache_destroy(other) == 0);
	slab_done();
}
END_TEST

/* A call chain that the caller is not part of is told from its begin. */
START_TEST(record_of_nobody)
{
	struct kmem_record r;
	unsigned i;

	memset(&r, 0, sizeof(r));
	must(!kmem_record_sound(&r));
	kmem_record_take(&r, (void *)1);
	must(kmem_record_sound(&r));
	must(r.r_pc[0] > 1 && r.r_pc[1] != 0);
	for (i = 0; i < KMD_FRAMES; i++)
		must(r.r_pc[i] != 1);
}
END_TEST

/* Before there are guards nobody finds one, and then it is each 1,024th. */
START_TEST(turns)
{
	unsigned i, n;

	must(kmem_guard_near(VM_HEAP_MIN) == NULL);
	must(kmem_guard_next(NULL) == NULL);
	slab_boot(FRAMES, 0);
	must(kmem_guard_near(VM_HEAP_MIN) == NULL);
	must(kmem_guard_next(NULL) == NULL);
	for (n = 1; n < 100000 && !kmem_guard_turn(); n++)
		continue;
	must(n < 100000);
	for (i = 1; !kmem_guard_turn(); i++)
		must(i < n);
	must(i == n);
	/* An interrupt's turn is nobody's. */
	host_set_intr(true);
	for (i = 0; i < n; i++)
		must(!kmem_guard_turn());
	host_set_intr(false);
	for (i = 1; !kmem_guard_turn(); i++)
		must(i < n);
	kmem_guard_every(3);
	for (i = 0; i < 30; i++)
		must(kmem_guard_turn() == (i % 3 == 2));
}
END_TEST

/* An object alone on its pages, and the one for which it stands. */
START_TEST(shadows)
{
	struct mistake m;
	struct kmem_cache *kc, *other;
	char *p, *q, zero[100] = { 0 };

	slab_boot(FRAMES, KMD_GUARD);
	kc = slab_make("shadowed", 64, 0);
	other = slab_make("other", 64, 0);
	p = kmem_cache_alloc(other, 0);
	m.m_cache = kc;
	m.m_ptr = kmem_guard_find(p)->g_shadow;
	expect(do_free, &m, "kmem_cache_free(shadowed, ");
	m.m_ptr = p;
	expect(do_free, &m, "kmem_cache_free(shadowed, ");
	kmem_cache_free(other, p);
	q = kcalloc(1, 100, M_FIRST, 0);
	must(kmem_guard_find(q) != NULL && memcmp(q, zero, 100) == 0);
	slab_fill(q, 100, 1);
	kfree(q, M_FIRST);
	must(kmem_cache_destroy(kc) == 0);
	must(kmem_cache_destroy(other) == 0);
	slab_done();
}
END_TEST

/*
 * Leaks.
 */
static void *root[4];
static void *leak[8];

static unsigned
leaks(void)
{
	return slab_leaks(leak, nitems(leak));
}

/* Pointers into a block of pages, two of them, and behind it. */
START_TEST(leaks_of_blocks)
{
	const vaddr_t va = VM_HEAP_MIN + ptoa(5000);
	struct kmem_cache *plain;
	vaddr_t pages;
	paddr_t pa;
	char *p;

	slab_boot(FRAMES, slab_debug_of(_i));
	host_set_roots(root, root + nitems(root));
	/* What is mapped, or only told, and nobody's. */
	must(vm_phys_alloc(VM_PAGE_USER, &pa) == 0);
	must(vm_map_insert(kernel_map, va, va + ptoa(1), VM_PROT_RW,
	    "other") == 0);
	must(vm_map_insert(kernel_map, va + ptoa(2), va + ptoa(3), VM_PROT_RW,
	    "nothing") == 0);
	must(pmap_kenter(va, &pa, 1, VM_PROT_RW) == 0);
	pages = kmem_alloc(kernel_map, ptoa(2), KM_HEAP);
	must(pages != 0);
	memset((void *)pages, 0, ptoa(2));
	root[0] = (char *)pages + PAGE_SIZE + 8;
	plain = slab_make("plain", 64, 0);
	root[1] = kmem_cache_alloc(plain, 0);
	p = kmalloc(3 * PAGE_SIZE, M_FIRST, 0);
	memset(p, 0, 3 * PAGE_SIZE);
	must(leaks() == 1 && leak[0] == p);
	root[2] = p + 5;
	root[3] = p + 3 * PAGE_SIZE - 1;
	must(leaks() == 0);
	root[2] = NULL;
	must(leaks() == 0);
	/* Behind it lie pages that are not the heap's. */
	kmem_free(kernel_map, pages, ptoa(2));
	pages = kmem_alloc(kernel_map, ptoa(2), KM_HEAP);
	memset((void *)pages, 0, ptoa(2));
	for (root[3] = NULL; pages < (vaddr_t)p;) {
		/* The hole before it is filled. */
		pages = kmem_alloc(kernel_map, ptoa(2), KM_HEAP);
		memset((void *)pages, 0, ptoa(2));
	}
	must(pages == (vaddr_t)p + 3 * PAGE_SIZE);
	root[3] = (void *)(pages + 16);
	must(leaks() == 1 && leak[0] == p);
	kfree(p, M_FIRST);
	kmem_cache_free(plain, root[1]);
	must(kmem_cache_destroy(plain) == 0);
	must(pmap_kremove(va, 1, &pa) == 1);
}
END_TEST

/*
 * Objects alone on their pages, more than the scan keeps in mind, and a
 * pointer behind the end of one.
 */
START_TEST(leaks_of_guards)
{
	enum { WIDE = 400 };
	struct kmem_cache *kc;
	void **wide, **p;
	unsigned i;

	slab_boot(FRAMES, KMD_CHECK | KMD_GUARD);
	host_set_roots(root, root + nitems(root));
	kmem_debug_set(0);
	kc = slab_make("unwatched", 64, 0);
	must(kmem_cache_alloc(kc, KM_ZERO) != NULL);
	kmem_debug_set(KMD_CHECK | KMD_GUARD);
	kc = slab_make("alone", 64, 0);
	wide = kcalloc(WIDE, sizeof(void *), M_FIRST, 0);
	root[0] = wide;
	for (i = 0; i < WIDE; i++) {
		wide[i] = p = kmem_cache_alloc(kc, KM_ZERO);
		must(kmem_guard_find(p) != NULL);
		p[1] = kmem_cache_alloc(kc, KM_ZERO);
	}
	must(leaks() == 0);
	/* Objects end where their page does, but for the alignment. */
	p = kmalloc(57, M_FIRST, 0);
	memset(p, 0, 57);
	must(leaks() == 1 && leak[0] == p);
	root[1] = (char *)p + 57;
	must(((uintptr_t)root[1] & PAGE_MASK) != 0);
	must(leaks() == 1 && leak[0] == p);
	root[1] = (char *)p + 56;
	must(leaks() == 0);
	/* Freed by an interrupt, and still mapped. */
	host_set_intr(true);
	kfree(p, M_FIRST);
	host_set_intr(false);
	must(leaks() == 0);
}
END_TEST

/* A mode's name that is as long as a known one with a number. */
START_TEST(long_word)
{
	uint64_t logs = host_log_count();

	must(!kmem_debug_option("samples1"));
	must(host_log_count() == logs + 1);
}
END_TEST

/*
 * Ranges.
 */

/* Only the kernel's map, of its kind, has memory. */
START_TEST(map_of_another_kind)
{
	const vaddr_t va = VM_HEAP_MIN + ptoa(5000);
	struct vm_map map;

	slab_boot(FRAMES, 0);
	must(vm_map_init(&map, "another", va, va + ptoa(16), VM_MAP_USER,
	    kernel_pmap) == 0);
	must(kmem_alloc(&map, PAGE_SIZE, KM_NOSLEEP) == 0);
	must(vm_map_destroy(&map) == 0);
	slab_done();
}
END_TEST

/* What is kept is nobody's to change, until somebody has it again. */
START_TEST(kept_range)
{
	vaddr_t va;

	slab_boot(FRAMES, 0);
	va = kmem_alloc(kernel_map, ptoa(3), KM_NOSLEEP);
	must(va != 0);
	kmem_free(kernel_map, va, ptoa(3));
	must(kmem_range_kept(va));
	must(vm_map_protect(kernel_map, va, va + ptoa(3), VM_PROT_READ) ==
	    EFAULT);
	must(vm_map_wire(kernel_map, va, va + ptoa(3)) == EFAULT);
	must(kmem_alloc(kernel_map, ptoa(3), KM_NOSLEEP) == va);
	must(vm_map_protect(kernel_map, va, va + ptoa(3), VM_PROT_READ) == 0);
	must(vm_map_protect(kernel_map, va, va + ptoa(3), VM_PROT_RW) == 0);
	kmem_free(kernel_map, va, ptoa(3));
	must(!kmem_range_kept(va));
	slab_done();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("kmem_corner");
	TCase *tc = tcase_create("kmem_corner");
	SRunner *sr;
	int failed;

	setvbuf(stdout, NULL, _IOLBF, 0);
	suite_add_tcase(s, tc);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, zero_and_constructor, 0, 2);
	tcase_add_loop_test(tc, freed_while_growing, 0, 2);
	tcase_add_loop_test(tc, reaped_by_destructor, 0, 2);
	tcase_add_loop_test(tc, only_what_is_out, 0, 2);
	tcase_add_loop_test(tc, not_to_be_destroyed, 0, 2);
	tcase_add_loop_test(tc, counted, 0, 2);
	tcase_add_loop_test(tc, whole_pages_on_slab, 0, 2);
	tcase_add_loop_test(tc, magazines_grow, 0, 2);
	tcase_add_loop_test(tc, refill_is_limited, 0, 2);
	tcase_add_loop_test(tc, halves, 0, 2);
	tcase_add_loop_test(tc, no_halves, 0, 2);
	tcase_add_test(tc, twice_between_halves);
	tcase_add_loop_test(tc, supplied, 0, 2);
	tcase_add_loop_test(tc, least_since_reaping, 0, 2);
	tcase_add_loop_test(tc, tick_in_time, 0, 2);
	tcase_add_loop_test(tc, beside, 0, 2);
	tcase_add_loop_test(tc, frames_of_others, 0, 2);
	tcase_add_loop_test(tc, no_table, 0, 2);
	tcase_add_loop_test(tc, table_follows, 0, 2);
	tcase_add_loop_test(tc, large_machine, 0, 2);
	tcase_add_loop_test(tc, first_of_type, 0, 2);
	tcase_add_loop_test(tc, grown_and_shrunk, 0, 2);
	tcase_add_loop_test(tc, high_water, 0, 2);
	tcase_add_test(tc, zoned);
	tcase_add_test(tc, poisoned_end);
	tcase_add_loop_test(tc, guarded_heap, 0, 2);
	tcase_add_test(tc, magazine_overwritten);
	tcase_add_test(tc, record_of_nobody);
	tcase_add_test(tc, turns);
	tcase_add_test(tc, shadows);
	tcase_add_loop_test(tc, leaks_of_blocks, 0, 2);
	tcase_add_test(tc, leaks_of_guards);
	tcase_add_test(tc, long_word);
	tcase_add_test(tc, map_of_another_kind);
	tcase_add_test(tc, kept_range);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
