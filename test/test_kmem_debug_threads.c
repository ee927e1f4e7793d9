/*
 * Many threads at once while mistakes are watched for, in every mode: whoever
 * frees an object looks at what another has written beside it, pages go and
 * come, reapers and reclaims run meanwhile.  None makes a mistake, so none
 * may be found.  Runs under ThreadSanitizer too.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <vm/kmalloc_impl.h>
#include <vm/kmem_debug_impl.h>

#include "host.h"
#include "ledger.h"
#include "must.h"

#define FRAMES		16384u		/* 64 MB */
#define NTHREADS	4u
#define NSLOTS		128u

#if defined(__SANITIZE_THREAD__)
#define OPS		3000u
#else
#define OPS		20000u
#endif

static KMALLOC_DEFINE(M_THREADS, "threads", "the tests' type");

/* What each piece holds: its size at both ends. */
static _Atomic(char *) market[NSLOTS];
static atomic_bool stop;

static size_t
size_of(unsigned slot)
{
	return 8 + slot * 29;
}

static void
mark(char *p, unsigned slot)
{
	p[0] = p[size_of(slot) - 1] = (char)(slot + 1);
}

static void
take_away(char *p, unsigned slot)
{
	if (p == NULL)
		return;
	must(p[0] == (char)(slot + 1));
	must(p[size_of(slot) - 1] == (char)(slot + 1));
	must(kmalloc_usable(p) >= size_of(slot));
	kfree(p, M_THREADS);
}

static void *
trader(void *arg)
{
	uint64_t rng = (uint64_t)(uintptr_t)arg + 1;
	unsigned op, i;
	char *p;

	for (op = 0; op < OPS; op++) {
		i = k_random(&rng) % NSLOTS;
		p = NULL;
		if (k_random(&rng) % 2) {
			p = kmalloc(size_of(i), M_THREADS, KM_NOSLEEP |
			    (op % 3 ? 0 : KM_ZERO));
			if (p == NULL)
				continue;
			mark(p, i);
		}
		take_away(atomic_exchange(&market[i], p), i);
	}
	return NULL;
}

static void *
reaper(void *arg)
{
	unsigned n = 0;

	while (!stop) {
		if (n++ % 2)
			kmem_cache_reap_all();
		else
			kmem_reclaim(10);
	}
	return NULL;
}

START_TEST(market_day)
{
	static const char *const mode[] = { "check", "all", "guard",
	    "sample/1", "all,guard" };
	pthread_t id[NTHREADS], reaps;
	struct ledger before;
	struct kmem_cache *kc = NULL;
	const char *bad;
	unsigned i;

	kmem_debug_set(0);
	must(kmem_debug_option(mode[_i]));
	host_boot(FRAMES);
	ledger_take(&before);
	must(pthread_create(&reaps, NULL, reaper, NULL) == 0);
	for (i = 0; i < NTHREADS; i++)
		must(pthread_create(&id[i], NULL, trader,
		    (void *)(uintptr_t)i) == 0);
	for (i = 0; i < NTHREADS; i++)
		must(pthread_join(id[i], NULL) == 0);
	stop = true;
	must(pthread_join(reaps, NULL) == 0);
	for (i = 0; i < NSLOTS; i++)
		take_away(market[i], i);
	bad = kmalloc_check();
	while (bad == NULL && (kc = kmem_cache_next(kc)) != NULL)
		bad = kmem_cache_check(kc);
	if (bad != NULL)
		ck_abort_msg("%s: %s", mode[_i], bad);
	kmem_cache_reap_all();
	bad = ledger_since(&before);
	if (bad != NULL)
		ck_abort_msg("%s: %s", mode[_i], bad);
}
END_TEST

/*
 * Two free the same object at once: one of them is told, each time.
 *
 * Who is told reads the audit trail that the other one is just writing; its
 * sum says whether that can be believed, which ThreadSanitizer cannot know.
 */
#define ROUNDS		(OPS / 2)
#if defined(__SANITIZE_THREAD__)
#define RIVALS		1	/* without the trail */
#else
#define RIVALS		4
#endif

static pthread_barrier_t barrier;
static char *shared;
static atomic_uint told;

static void
free_shared(void *arg)
{
	kfree(shared, M_THREADS);
}

static void *
rival(void *arg)
{
	unsigned i;

	for (i = 0; i < ROUNDS; i++) {
		pthread_barrier_wait(&barrier);
		told += host_panic_of(free_shared, NULL, NULL) != NULL;
		pthread_barrier_wait(&barrier);
	}
	return NULL;
}

START_TEST(rivals)
{
	static const char *const mode[] = { "check", "all", "guard",
	    "all,guard" };
	pthread_t id[2];
	unsigned i;

	kmem_debug_set(0);
	must(kmem_debug_option(mode[_i]));
	host_boot(FRAMES);
	must(pthread_barrier_init(&barrier, NULL, 3) == 0);
	for (i = 0; i < 2; i++)
		must(pthread_create(&id[i], NULL, rival, NULL) == 0);
	for (i = 0; i < ROUNDS; i++) {
		shared = kmalloc(100, M_THREADS, KM_SLEEP);
		must(shared != NULL);
		told = 0;
		pthread_barrier_wait(&barrier);
		pthread_barrier_wait(&barrier);
		must(told == 1);
	}
	for (i = 0; i < 2; i++)
		must(pthread_join(id[i], NULL) == 0);
	must(kmalloc_check() == NULL);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("kmem_debug, threads");
	TCase *tc = tcase_create("kmem_debug");
	SRunner *sr;
	int failed;

	setvbuf(stdout, NULL, _IOLBF, 0);
	suite_add_tcase(s, tc);
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, market_day, 0, 5);
	tcase_add_loop_test(tc, rivals, 0, RIVALS);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
