/*
 * Memory comes back: what one cache had another can have, to the last frame,
 * as often as one likes; whoever is asked to give up memory may do what it
 * likes, and a request still ends; and when any allocation below an operation
 * fails, that operation has not happened.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <libkern/errno.h>
#include <vm/vm_fail.h>

#include "slab_test.h"

static void *obj[40000];

/*
 * Four ways to use all memory up, of different sizes and windows.
 */
#define NUSES		4u
#define FRAMES		200u

static struct kmem_cache *use[NUSES];

static void *
take_one(unsigned how, unsigned i)
{
	if (how == NUSES - 1)
		return kmalloc(1 + i * 37 % 6000, M_TEMP, KM_NOSLEEP);
	return kmem_cache_alloc(use[how], KM_NOSLEEP);
}

static void
give_one(unsigned how, void *p)
{
	if (how == NUSES - 1)
		kfree(p, M_TEMP);
	else
		kmem_cache_free(use[how], p);
}

static unsigned
use_up(unsigned how)
{
	unsigned n = 0;

	while (n < nitems(obj) && (obj[n] = take_one(how, n)) != NULL) {
		*(unsigned *)obj[n] = n;
		n++;
	}
	must(n > 10 && n < nitems(obj));
	return n;
}

/* First to last, last to first, or every other one first. */
static void
give_back(unsigned how, unsigned n, unsigned order)
{
	unsigned i, k;

	for (k = 0; k < n; k++) {
		i = order == 0 ? k : order == 1 ? n - 1 - k :
		    k < (n + 1) / 2 ? 2 * k : 2 * (k - (n + 1) / 2) + 1;
		must(*(unsigned *)obj[i] == i);
		give_one(how, obj[i]);
	}
}

START_TEST(a_thousand_times)
{
	unsigned round, how, n, first[NUSES] = { 0 };

	slab_boot(FRAMES, slab_debug_of(_i));
	use[0] = slab_make("small", 64, 0);
	use[1] = slab_make("middle", 700, KM_HEAP);
	use[2] = slab_make("large", 9000, 0);
	for (how = 0; how < NUSES; how++)	/* page tables, and records */
		give_back(how, use_up(how), 0);
	kmem_cache_reap_all();
	slab_mark();
	for (round = 0; round < 1000; round++) {
		how = round % NUSES;
		n = use_up(how);
		if (first[how] == 0)
			first[how] = n;
		if (n != first[how])
			ck_abort_msg("round %u: %u objects, at first %u",
			    round, n, first[how]);
		give_back(how, n, round / NUSES % 3);
		if (round % 50 == 0)
			slab_check();
	}
	slab_done();
	for (how = 0; how < NUSES - 1; how++)
		must(kmem_cache_destroy(use[how]) == 0);
	slab_check();
}
END_TEST

/* The same between two CPUs: one's magazines are the other's memory. */
struct job {
	unsigned	 j_how;
	unsigned	 j_n;
};

static void
use_and_free(void *arg)
{
	struct job *j = arg;

	j->j_n = use_up(j->j_how);
	give_back(j->j_how, j->j_n, 1);
}

START_TEST(from_cpu_to_cpu)
{
	struct job j;
	unsigned round, first[NUSES] = { 0 };

	slab_boot(FRAMES, slab_debug_of(_i));
	use[0] = slab_make("small", 64, 0);
	use[1] = slab_make("middle", 700, KM_HEAP);
	use[2] = slab_make("large", 9000, 0);
	for (round = 0; round < 60; round++) {
		j.j_how = round % NUSES;
		if (round / NUSES % 2)
			slab_on_other_cpu(use_and_free, &j);
		else
			use_and_free(&j);
		if (round < 2 * NUSES)
			first[j.j_how] = j.j_n;
		must(j.j_n == first[j.j_how]);
	}
	slab_check();
	for (round = 0; round < NUSES - 1; round++)
		must(kmem_cache_destroy(use[round]) == 0);
}
END_TEST

/*
 * Shrinkers: what a client does that is asked for memory.
 */
static unsigned ncalls;
static void *stock[2000];
static unsigned nstock;
static struct kmem_cache *stock_cache;

/* Give one object of our own, and take one of another size. */
static unsigned long
trades(unsigned long pages)
{
	static void *p[100000];
	static unsigned n;

	ncalls++;
	if (nstock == 0) {
		while (n > 0)
			kfree(p[--n], M_TEMP);
		return 0;
	}
	kmem_cache_free(stock_cache, stock[--nstock]);
	if (n < nitems(p) && (p[n] = kmalloc(600, M_TEMP, KM_SLEEP)) != NULL)
		n++;
	return 1;
}

/* Ask for memory in the middle of giving it. */
static unsigned long
asks(unsigned long pages)
{
	void *p;

	ncalls++;
	must(kmem_reclaim(pages) == 0);
	kmem_cache_reap_all();
	p = kmalloc(100 * PAGE_SIZE, M_TEMP, KM_SLEEP);
	must(p == NULL);
	return 0;
}

/* Says that it gave, and did not. */
static unsigned long
lies(unsigned long pages)
{
	ncalls++;
	return pages;
}

static unsigned long
gives(unsigned long pages)
{
	unsigned long n = 0;

	ncalls++;
	for (; n < pages && nstock > 0; n++)
		kmem_cache_free(stock_cache, stock[--nstock]);
	return n;
}

static void
stock_up(unsigned long (*fn)(unsigned long))
{
	static struct kmem_reclaimer kr = { .kr_name = "stock",
	    .kr_priority = KR_CACHE };

	kr.kr_reclaim = fn;
	stock_cache = slab_make("stock", PAGE_SIZE, 0);
	while (nstock < nitems(stock) && (stock[nstock] =
	    kmem_cache_alloc(stock_cache, KM_NOSLEEP)) != NULL)
		nstock++;
	must(nstock > 100 && nstock < nitems(stock));
	kmem_reclaim_add(&kr);
}

static void
clear_stock(void)
{
	while (nstock > 0)
		kmem_cache_free(stock_cache, stock[--nstock]);
	must(kmem_cache_destroy(stock_cache) == 0);
}

/* As long as there is anything to be had, a request is served. */
START_TEST(all_that_is_reclaimable)
{
	struct kmem_cache *kc;
	unsigned n, most;

	slab_boot(1024, slab_debug_of(_i));
	kc = slab_make("client", 2000, 0);
	for (most = 0; most < nitems(obj) && (obj[most] =
	    kmem_cache_alloc(kc, KM_NOSLEEP)) != NULL; most++)
		continue;
	for (n = most; n > 0;)
		kmem_cache_free(kc, obj[--n]);
	kmem_cache_reap_all();
	stock_up(gives);
	while ((obj[n] = kmem_cache_alloc(kc, KM_NOSLEEP)) != NULL)
		n++;
	must(nstock == 0 && ncalls > 0);
	must(n + 8 >= most);
	while (n > 0)
		kmem_cache_free(kc, obj[--n]);
	clear_stock();
	must(kmem_cache_destroy(kc) == 0);
	slab_done();
}
END_TEST

/* It ends, whatever those do that are asked; and nobody sleeps in it. */
START_TEST(shrinkers)
{
	static unsigned long (*const fn[])(unsigned long) = { trades, asks,
	    lies };
	struct kmem_cache *kc;
	unsigned n = 0;

	slab_boot(1024, 0);
	kc = slab_make("client", 3000, 0);
	stock_up(fn[_i]);
	if (_i == 1)
		host_set_sleep(true, NULL);
	while (n < nitems(obj) &&
	    (obj[n] = kmem_cache_alloc(kc, KM_NOSLEEP)) != NULL)
		n++;
	must(ncalls > 0 && ncalls < 100000);
	slab_check();
	while (n > 0)
		kmem_cache_free(kc, obj[--n]);
	clear_stock();
	must(kmem_cache_destroy(kc) == 0);
	if (_i == 0)
		trades(1);
	slab_done();
}
END_TEST

/* A destructor that frees and allocates, in the middle of a reclaim. */
static struct kmem_cache *parts;

static int
with_part(void *o, void *arg, int flags)
{
	*(void **)o = kmem_cache_alloc(parts, flags | KM_NOSLEEP);
	return *(void **)o != NULL ? 0 : ENOMEM;
}

static void
without_part(void *o, void *arg)
{
	void *p = kmalloc(50, M_TEMP, KM_NOSLEEP);

	kmem_cache_free(parts, *(void **)o);
	kfree(p, M_TEMP);
}

START_TEST(objects_with_parts)
{
	const struct kmem_cache_args ca = { .ca_name = "whole",
	    .ca_size = 500, .ca_ctor = with_part, .ca_dtor = without_part };
	struct kmem_cache *whole, *other;
	unsigned round, n, first = 0;

	slab_boot(FRAMES, slab_debug_of(_i));
	parts = slab_make("parts", 1000, 0);
	whole = kmem_cache_create(&ca);
	other = slab_make("other", 1500, 0);
	for (round = 0; round < 40; round++) {
		for (n = 0; (obj[n] = kmem_cache_alloc(round % 2 ? other :
		    whole, KM_NOSLEEP)) != NULL; n++)
			continue;
		if (round == 1)
			first = n;
		must(round % 2 == 0 || n == first);
		slab_check();
		while (n > 0)
			kmem_cache_free(round % 2 ? other : whole, obj[--n]);
	}
	must(kmem_cache_destroy(whole) == 0);
	must(kmem_cache_destroy(other) == 0);
	must(kmem_cache_destroy(parts) == 0);
	slab_done();
}
END_TEST

/*
 * Fail the nth: each operation, if it fails, has not happened; asked again,
 * with nothing in its way, it does.
 */
static struct {
	enum vm_fail_site site;
	unsigned	failed;
	struct kmem_cache *plain, *kept;
	void		*big;
} scene;

/* One step of the scene.  => false: it failed */
static bool
make_reserve(void)
{
	const struct kmem_cache_args ca = { .ca_name = "kept",
	    .ca_size = 3000, .ca_reserve = 9 };

	scene.kept = kmem_cache_create(&ca);
	return scene.kept != NULL;
}

static bool
make_plain(void)
{
	const struct kmem_cache_args ca = { .ca_name = "plain",
	    .ca_size = 400 };

	scene.plain = kmem_cache_create(&ca);
	return scene.plain != NULL;
}

static bool
many(void)
{
	return kmem_cache_alloc_many(scene.plain, 150, obj, KM_ZERO) == 0;
}

static bool
more(void)
{
	return kmem_cache_alloc_many(scene.kept, 30, obj + 150,
	    KM_NOSLEEP) == 0;
}

static bool
large(void)
{
	scene.big = kmalloc(9 * PAGE_SIZE, M_TEMP, 0);
	return scene.big != NULL;
}

static bool
larger(void)
{
	void *p = krealloc(scene.big, 20 * PAGE_SIZE, M_TEMP, KM_ZERO);

	if (p != NULL)
		scene.big = p;
	return p != NULL;
}

static unsigned long
inuse(struct kmem_cache *kc)
{
	return kc == NULL ? 0 : (unsigned long)slab_stats(kc).cs_inuse;
}

/* In this order, each the way to the next. */
static void
act(bool (*step)(void))
{
	unsigned long plain = inuse(scene.plain), kept = inuse(scene.kept);

	if (step())
		return;
	scene.failed++;
	vm_fail_set(scene.site, 0, false);
	must(inuse(scene.plain) == plain && inuse(scene.kept) == kept);
	slab_check();
	must(step());
}

static void
play(void)
{
	scene.plain = scene.kept = NULL;
	act(make_reserve);
	act(make_plain);
	act(many);
	act(more);
	act(large);
	act(larger);
	/* All that frees, whatever fails meanwhile. */
	kfree(scene.big, M_TEMP);
	kmem_cache_free_many(scene.plain, 150, obj);
	kmem_cache_free_many(scene.kept, 30, obj + 150);
	/* Again, with magazines. */
	act(many);
	kmem_cache_free_many(scene.plain, 150, obj);
	must(kmem_cache_destroy(scene.plain) == 0);
	must(kmem_cache_destroy(scene.kept) == 0);
}

START_TEST(fail_the_nth)
{
	unsigned long n, asked;
	unsigned hit = 0;

	slab_boot(16384, slab_debug_of(_i / 2));
	scene.site = (enum vm_fail_site)(_i / 4);
	for (n = 1;; n++) {
		scene.failed = 0;
		vm_fail_set(scene.site, n, _i % 2);
		play();
		asked = vm_fail_count(scene.site);
		vm_fail_set(scene.site, 0, false);
		slab_done();
		hit += scene.failed;
		if (scene.failed == 0 && asked < n)
			break;
	}
	/* Page tables are made once; what fails once is had by a reclaim. */
	if (scene.site != VM_FAIL_PTP)
		must(n > 10 && (hit > 10 || _i % 2 == 0));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("kmem_back");
	TCase *tc = tcase_create("kmem_back");
	SRunner *sr;
	int failed;

	setvbuf(stdout, NULL, _IOLBF, 0);
	suite_add_tcase(s, tc);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, a_thousand_times, 0, 2);
	tcase_add_loop_test(tc, from_cpu_to_cpu, 0, 2);
	tcase_add_loop_test(tc, all_that_is_reclaimable, 0, 2);
	tcase_add_loop_test(tc, shrinkers, 0, 3);
	tcase_add_loop_test(tc, objects_with_parts, 0, 2);
	tcase_add_loop_test(tc, fail_the_nth, 0, 4 * VM_FAIL_NSITES);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
