/*
 * Memory runs out: who is asked, who waits, who is woken.
 */
#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <libkern/errno.h>
#include <vm/kmem_cache.h>
#include <vm/vm_host.h>
#include <vm/vm_kmem.h>
#include <vm/vm_phys.h>

#include "host.h"
#include "must.h"

#define NFRAMES		2048u		/* watermarks: 32 and 64, less one */

/*
 * The hoarder: has every frame, and gives when it is asked.
 */
static struct {
	struct kmem_reclaimer h_kr;
	paddr_t		h_pa[NFRAMES];
	unsigned	h_n;
	bool		h_panics;
} hoard;

static unsigned long
hoard_give(unsigned long pages)
{
	unsigned n = hoard.h_n;

	if (hoard.h_panics)
		vm_host_panic("hoarder: %lu pages: no", pages);
	if (pages < n)
		n = (unsigned)pages;
	hoard.h_n -= n;
	vm_phys_free_many(&hoard.h_pa[hoard.h_n], n);
	return n;
}

static void
hoard_all(void)
{
	pfn_t n = vm_phys_nfree();

	must(vm_phys_alloc_many(n, VM_PAGE_USER, &hoard.h_pa[hoard.h_n]) ==
	    0);
	hoard.h_n += n;
	must(vm_phys_nfree() == 0);
}

static void
hoard_register(void)
{
	hoard.h_kr.kr_name = "hoarder";
	hoard.h_kr.kr_priority = KR_CACHE;
	hoard.h_kr.kr_reclaim = hoard_give;
	kmem_reclaim_add(&hoard.h_kr);
}

static unsigned long
frames_at_rest(void)
{
	struct vm_phys_stats ps;

	kmem_cache_reap_all();
	vm_phys_stats(&ps);
	return ps.ps_owner[VM_PAGE_FREE] + ps.ps_owner[VM_PAGE_PTP] +
	    ps.ps_owner[VM_PAGE_ENTRY];
}

START_TEST(another_asks_and_gets)
{
	unsigned long rest;
	vaddr_t va;

	host_boot(NFRAMES);
	rest = frames_at_rest();
	hoard_all();
	must(kmem_alloc(kernel_map, PAGE_SIZE, KM_NOSLEEP) == 0);
	must(kmem_alloc(kernel_map, PAGE_SIZE, KM_SLEEP) == 0);
	hoard_register();
	va = kmem_alloc(kernel_map, 100 * PAGE_SIZE, KM_NOSLEEP | KM_SLAB);
	must(va != 0);
	memset((void *)va, 0x5A, 100 * PAGE_SIZE);
	must(hoard.h_kr.kr_pages >= 100 && hoard.h_kr.kr_calls >= 1);
	/* All of it, but for what tables and entries take. */
	must(kmem_alloc(kernel_map, NFRAMES * PAGE_SIZE, KM_NOSLEEP) == 0);
	must(hoard.h_n == 0);
	kmem_free(kernel_map, va, 100 * PAGE_SIZE);
	must(frames_at_rest() == rest);
	must(vm_phys_check() == NULL);
}
END_TEST

/* A reclaimer that panics, and a panic that is caught, stop no other. */
static void
ask(void *arg)
{
	kmem_alloc(kernel_map, PAGE_SIZE, KM_NOSLEEP);
}

START_TEST(caught_panic)
{
	const char *said;

	host_boot(NFRAMES);
	hoard_all();
	hoard_register();
	hoard.h_panics = true;
	said = host_panic_of(ask, NULL, NULL);
	must(said != NULL && strcmp(said, "hoarder: 1 pages: no") == 0);
	hoard.h_panics = false;
	must(kmem_reclaim(3) == 3);
	must(vm_phys_nfree() == 3);
	must(host_locks()->hl_held == 0);
}
END_TEST

/*
 * Priorities.
 */
static char order[8];

static unsigned long
ask_a(unsigned long pages)
{
	strcat(order, "a");
	return 0;
}

static unsigned long
ask_b(unsigned long pages)
{
	strcat(order, "b");
	return 1;
}

static unsigned long
ask_c(unsigned long pages)
{
	strcat(order, "c");
	return 0;
}

START_TEST(priorities)
{
	static struct kmem_reclaimer
	    a = { .kr_name = "a", .kr_priority = 30, .kr_reclaim = ask_a },
	    b = { .kr_name = "b", .kr_priority = 20, .kr_reclaim = ask_b },
	    c = { .kr_name = "c", .kr_priority = 30, .kr_reclaim = ask_c },
	    d = { .kr_name = "d", .kr_priority = 1, .kr_reclaim = ask_c };
	const struct kmem_reclaimer *kr = NULL;
	char names[32] = "";

	host_boot(NFRAMES);
	kmem_reclaim_add(&a);
	kmem_reclaim_add(&b);
	kmem_reclaim_add(&c);
	kmem_reclaim_add(&a);		/* again: no change */
	kmem_reclaim_add(&d);
	kmem_reclaim_add(&d);
	/* Ours, and of the others the one that is quick. */
	while ((kr = kmem_reclaim_next(kr)) != NULL)
		if (strlen(kr->kr_name) == 1 || strcmp(kr->kr_name,
		    "ranges") == 0 || strcmp(kr->kr_name, "slabs") == 0)
			strcat(strcat(names, kr->kr_name), " ");
	ck_assert_str_eq(names, "d ranges slabs b a c ");
	ck_assert_uint_eq(kmem_reclaim(1), 1);
	ck_assert_str_eq(order, "cb");
	ck_assert_uint_eq(kmem_reclaim(2), 1);
	ck_assert_str_eq(order, "cbcbac");
	ck_assert_uint_eq(b.kr_calls, 2);
	ck_assert_uint_eq(b.kr_pages, 2);
	ck_assert_uint_eq(c.kr_calls, 1);
}
END_TEST

/*
 * Who is asked for memory asks for some himself.
 */
static struct {
	struct kmem_reclaimer s_kr;
	int		s_flags;
	unsigned	s_pages;	/* wanted, each time */
	vaddr_t		s_va;		/* what it got last */
	unsigned	s_calls, s_got;
} shrinker;

/* Gives a frame, says so, and takes some again for its own bookkeeping. */
static unsigned long
shrink(unsigned long pages)
{
	must(host_locks()->hl_held == 1);
	must(kmem_reclaim(1) == 0);
	shrinker.s_calls++;
	if (shrinker.s_va != 0) {
		kmem_free(kernel_map, shrinker.s_va,
		    shrinker.s_pages * PAGE_SIZE);
		shrinker.s_va = 0;
	}
	shrinker.s_va = kmem_alloc(kernel_map, shrinker.s_pages * PAGE_SIZE,
	    shrinker.s_flags);
	shrinker.s_got += shrinker.s_va != 0;
	must(host_locks()->hl_held == 1);
	return 1;
}

static void
shrinker_start(unsigned pages, int flags)
{
	host_boot(NFRAMES);
	shrinker.s_kr.kr_name = "shrinker";
	shrinker.s_kr.kr_priority = KR_CACHE;
	shrinker.s_kr.kr_reclaim = shrink;
	shrinker.s_pages = pages;
	shrinker.s_flags = flags;
	shrinker.s_va = kmem_alloc(kernel_map, pages * PAGE_SIZE, KM_NOSLEEP);
	must(shrinker.s_va != 0);
	kmem_reclaim_add(&shrinker.s_kr);
}

/* It always has something to give, and never gives any: that ends. */
START_TEST(shrinker_that_allocates)
{
	unsigned long rest;

	shrinker_start(3, _i == 0 ? KM_NOSLEEP : KM_SLEEP);
	host_set_sleep(_i != 0, NULL);
	rest = frames_at_rest();
	hoard_all();
	must(kmem_alloc(kernel_map, PAGE_SIZE, KM_NOSLEEP) == 0);
	must(shrinker.s_calls > 1 && shrinker.s_calls < 1000);
	must(shrinker.s_got == shrinker.s_calls && shrinker.s_va != 0);
	must(kmem_alloc(kernel_map, 100 * PAGE_SIZE, KM_NOSLEEP) == 0);
	must(host_sleeps() == 0);
	hoard_give(NFRAMES);
	must(frames_at_rest() == rest);
	must(vm_phys_check() == NULL && vm_map_check(kernel_map) == NULL);
}
END_TEST

/* It wants more than there is: it gets nothing, and what it had is ours. */
START_TEST(shrinker_that_fails)
{
	vaddr_t va;

	shrinker_start(2, _i == 0 ? KM_NOSLEEP : KM_SLEEP);
	host_set_sleep(_i != 0, NULL);
	hoard_all();
	/* Two pages are given; two and a new page table are wanted. */
	shrinker.s_flags |= KM_HEAP;
	va = kmem_alloc(kernel_map, PAGE_SIZE, KM_NOSLEEP);
	must(va != 0);
	must(shrinker.s_va == 0 && shrinker.s_got == 0);
	kmem_free(kernel_map, va, PAGE_SIZE);
	shrinker.s_pages = NFRAMES;
	must(kmem_alloc(kernel_map, NFRAMES * PAGE_SIZE, KM_NOSLEEP) == 0);
	must(shrinker.s_calls < 1000 && host_sleeps() == 0);
	must(host_locks()->hl_held == 0);
	must(vm_phys_check() == NULL && vm_map_check(kernel_map) == NULL);
}
END_TEST

/*
 * Real threads.  A sleeper sleeps until the next wakeup, and no less.
 */
static atomic_uint asleep;

static void
nap(void)
{
	static const struct timespec ms = { 0, 1000 * 1000 };

	nanosleep(&ms, NULL);
}

static bool
until_woken(const void *chan)
{
	uint64_t seen = host_wakeups();

	asleep++;
	while (host_wakeups() == seen)
		nap();
	asleep--;
	return true;
}

static void *
sleeper(void *arg)
{
	vsize_t size = *(vsize_t *)arg;
	vaddr_t va = kmem_alloc(kernel_map, size, KM_SLEEP);

	must(va != 0);
	memset((void *)va, 1, size);
	kmem_free(kernel_map, va, size);
	return NULL;
}

static pthread_t
start_sleeper(vsize_t *size)
{
	pthread_t t;

	host_set_sleep(true, until_woken);
	must(pthread_create(&t, NULL, sleeper, size) == 0);
	while (asleep == 0)
		nap();
	return t;
}

START_TEST(woken_by_kmem_free)
{
	static vsize_t size = 4 * PAGE_SIZE;
	unsigned long rest;
	pthread_t t;
	vaddr_t va;

	host_boot(NFRAMES);
	rest = frames_at_rest();
	va = kmem_alloc(kernel_map, size, KM_NOSLEEP);
	hoard_all();
	t = start_sleeper(&size);
	kmem_free(kernel_map, va, size);
	must(pthread_join(t, NULL) == 0);
	must(asleep == 0 && host_sleeps() == 1);
	hoard_give(NFRAMES);
	must(frames_at_rest() == rest);
}
END_TEST

START_TEST(woken_by_frames)
{
	static vsize_t size = 4 * PAGE_SIZE;
	struct vm_phys_stats ps;
	pthread_t t;
	unsigned i;

	host_boot(NFRAMES);
	hoard_all();
	vm_phys_stats(&ps);
	must(ps.ps_low && ps.ps_mark_low > 8);
	must(ps.ps_mark_high > ps.ps_mark_low);
	t = start_sleeper(&size);
	hoard_give(ps.ps_mark_high - 1);	/* not enough to be told */
	for (i = 0; i < 20; i++)
		nap();
	must(asleep == 1);
	hoard_give(1);
	must(pthread_join(t, NULL) == 0);
	must(asleep == 0);
	must(vm_phys_check() == NULL);
}
END_TEST

/* More want memory than there is: each waits, and each gets. */
#define CROWD	6
#define TURNS	200

static void *
one_of_many(void *arg)
{
	uint64_t rnd = (uintptr_t)arg;
	vsize_t size;
	vaddr_t va;
	unsigned i;

	for (i = 0; i < TURNS; i++) {
		size = (1 + k_random(&rnd) % 100) * PAGE_SIZE;
		va = kmem_alloc(kernel_map, size, KM_SLEEP);
		must(va != 0);
		*(volatile char *)va = 1;
		sched_yield();
		kmem_free(kernel_map, va, size);
	}
	return NULL;
}

START_TEST(crowd)
{
	unsigned long rest;
	pthread_t t[CROWD];
	uintptr_t i;

	host_boot(NFRAMES);
	rest = frames_at_rest();
	hoard_all();
	hoard_give(130);
	host_set_sleep(true, NULL);
	for (i = 0; i < CROWD; i++)
		must(pthread_create(&t[i], NULL, one_of_many, (void *)i) == 0);
	for (i = 0; i < CROWD; i++)
		must(pthread_join(t[i], NULL) == 0);
	must(host_sleeps() > 0);
	hoard_give(NFRAMES);
	must(frames_at_rest() == rest);
	must(vm_phys_check() == NULL);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("pressure");
	TCase *tc = tcase_create("pressure");
	SRunner *sr;
	int failed;

	suite_add_tcase(s, tc);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, another_asks_and_gets);
	tcase_add_test(tc, caught_panic);
	tcase_add_test(tc, priorities);
	tcase_add_loop_test(tc, shrinker_that_allocates, 0, 2);
	tcase_add_loop_test(tc, shrinker_that_fails, 0, 2);
	tcase_add_test(tc, woken_by_kmem_free);
	tcase_add_test(tc, woken_by_frames);
	tcase_add_test(tc, crowd);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
