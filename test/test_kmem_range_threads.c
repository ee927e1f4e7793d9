/*
 * Several threads take and free ranges, while others empty the cache, turn it
 * off and on, let time pass, and reclaim.  No two have the same page at a
 * time, and in the end nothing is lost.  Runs under ThreadSanitizer too.
 */
#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <vm/kmem_cache.h>
#include <vm/kmem_range.h>
#include <vm/vm_phys.h>

#include "host.h"
#include "ledger.h"
#include "must.h"

#define NFRAMES		4096u
#define NTHREADS	4
#define ROUNDS		4000
#define LIVE		12

/* A thread reports by what it returns: Check is not for threads. */
#define need(e)		do { if (!(e)) return #e; } while (0)

struct piece {
	vaddr_t		p_va;
	unsigned	p_pages;
	uint32_t	p_stamp;
};

struct worker {
	unsigned	 w_id;
	uint64_t	 w_seed;
	struct piece	 w_piece[LIVE];
	const char	*w_why;
};

static struct worker worker[NTHREADS];
static atomic_int running;
static const int window[] = { KM_HEAP, KM_SLAB, 0 };

static unsigned
draw(struct worker *w, unsigned n)
{
	return k_random(&w->w_seed) % n;
}

/* Each page says whose it is, at both ends. */
static void
stamp(const struct piece *p)
{
	for (unsigned i = 0; i < p->p_pages; i++) {
		uint32_t *page = (uint32_t *)(p->p_va + ptoa(i));

		page[0] = p->p_stamp + i;
		page[PAGE_SIZE / sizeof(*page) - 1] = ~(p->p_stamp + i);
	}
}

static bool
stamped(const struct piece *p)
{
	for (unsigned i = 0; i < p->p_pages; i++) {
		const uint32_t *page = (uint32_t *)(p->p_va + ptoa(i));

		if (page[0] != p->p_stamp + i ||
		    page[PAGE_SIZE / sizeof(*page) - 1] != ~(p->p_stamp + i))
			return false;
	}
	return true;
}

static const char *
step(struct worker *w, int flags)
{
	struct piece *p = &w->w_piece[draw(w, LIVE)];
	unsigned pages;

	if (p->p_va != 0) {
		need(stamped(p));
		kmem_free(kernel_map, p->p_va, ptoa(p->p_pages));
		p->p_va = 0;
		return NULL;
	}
	pages = draw(w, 8) != 0 ? 1 + draw(w, 4) : 1 + draw(w, 18);
	p->p_va = kmem_alloc(kernel_map, ptoa(pages), flags |
	    window[draw(w, nitems(window))]);
	if (p->p_va == 0)
		return NULL;
	p->p_pages = pages;
	p->p_stamp = (uint32_t)k_random(&w->w_seed) * 256;
	stamp(p);
	return NULL;
}

static const char *
put_all(struct worker *w)
{
	for (unsigned i = 0; i < LIVE; i++) {
		struct piece *p = &w->w_piece[i];

		need(p->p_va == 0 || stamped(p));
		if (p->p_va != 0)
			kmem_free(kernel_map, p->p_va, ptoa(p->p_pages));
		p->p_va = 0;
	}
	return NULL;
}

static void *
work(void *arg)
{
	struct worker *w = arg;

	w->w_why = NULL;
	for (unsigned i = 0; i < ROUNDS && w->w_why == NULL; i++)
		w->w_why = step(w, KM_NOSLEEP);
	if (w->w_why == NULL)
		w->w_why = put_all(w);
	running--;
	return NULL;
}

/* Meanwhile, all that can be done to the cache as a whole. */
static void
disturb(void)
{
	struct kmem_range_stats ks;
	unsigned i;

	for (i = 0; running != 0; i++) {
		switch (i % 8) {
		case 0:
			kmem_range_drain();
			break;
		case 1:
		case 2:
			kmem_range_enable(i % 8 == 2);
			break;
		case 3:
			host_advance(KMEM_RANGE_TICKS / 2);
			kmem_range_tick();
			break;
		case 4:
			kmem_reclaim(1);
			break;
		case 5:
			kmem_range_frames_low(true);
			sched_yield();
			kmem_range_frames_low(false);
			break;
		default:
			kmem_range_stats(&ks);
			must(ks.krs_pages <= ks.krs_max);
			sched_yield();
		}
	}
	kmem_range_enable(true);
}

static void
run(void *(*fn)(void *), bool disturbed)
{
	pthread_t id[NTHREADS];
	unsigned i;

	running = NTHREADS;
	for (i = 0; i < NTHREADS; i++) {
		worker[i].w_id = i;
		worker[i].w_seed = 1000 + i;
		must(pthread_create(&id[i], NULL, fn, &worker[i]) == 0);
	}
	if (disturbed)
		disturb();
	for (i = 0; i < NTHREADS; i++) {
		must(pthread_join(id[i], NULL) == 0);
		if (worker[i].w_why != NULL)
			ck_abort_msg("thread %u: %s", i, worker[i].w_why);
	}
}

static void
sound(const struct ledger *before)
{
	must(kmem_range_check() == NULL);
	must(ledger_since(before) == NULL);
	must(kmem_range_check() == NULL);
	must(vm_map_check(kernel_map) == NULL);
	must(vm_phys_check() == NULL);
}

START_TEST(take_and_free)
{
	struct kmem_range_stats ks;
	struct ledger before;

	host_boot(NFRAMES);
	kmem_cache_reap_all();
	ledger_take(&before);
	run(work, _i != 0);
	kmem_range_stats(&ks);
	must(ks.krs_hits > 0 && (ks.krs_freed > 0) == (_i != 0));
	sound(&before);
}
END_TEST

/* Less memory than they want, and each waits for it: none fails. */
static void *
wait_and_work(void *arg)
{
	struct worker *w = arg;
	vsize_t size;
	vaddr_t va;

	w->w_why = NULL;
	for (unsigned i = 0; i < ROUNDS / 10 && w->w_why == NULL; i++) {
		size = ptoa(1 + draw(w, 40));
		va = kmem_alloc(kernel_map, size, KM_SLEEP | KM_SLAB);
		if (va == 0)
			w->w_why = "a sleeper was sent away";
		else {
			*(volatile char *)(va + size - 1) = 1;
			sched_yield();
			kmem_free(kernel_map, va, size);
		}
	}
	running--;
	return NULL;
}

START_TEST(wait_for_each_other)
{
	static paddr_t hoard[NFRAMES];
	struct ledger before;
	struct vm_phys_stats ps;
	unsigned n;

	host_boot(NFRAMES);
	kmem_cache_reap_all();
	ledger_take(&before);
	kmem_free(kernel_map, kmem_alloc(kernel_map, ptoa(40), KM_SLAB),
	    ptoa(40));				/* its page table */
	/* Enough that ranges are kept, and not for all of them. */
	vm_phys_stats(&ps);
	n = vm_phys_nfree() - (_i == 0 ? 60 : ps.ps_mark_low + 20);
	must(vm_phys_alloc_many(n, VM_PAGE_USER, hoard) == 0);
	host_set_sleep(true, NULL);
	run(wait_and_work, false);
	vm_phys_free_many(hoard, n);
	sound(&before);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("kmem_range threads");
	TCase *tc = tcase_create("kmem_range threads");
	SRunner *sr;
	int failed;

	suite_add_tcase(s, tc);
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, take_and_free, 0, 2);
	tcase_add_loop_test(tc, wait_for_each_other, 0, 2);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
