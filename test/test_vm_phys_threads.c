/*
 * Several threads on vm_phys at once.  Runs under ThreadSanitizer too.
 *
 * Frames that lie side by side share words of the bitmap and of the states,
 * and their vm_pages are looked at without a lock.  So each thread signs the
 * vm_pages of the frames that it has, keeps them for a while, and looks
 * whether they still bear its sign when it gives them back: a frame that two
 * had at once, or a state that a neighbour overwrote, is seen.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <libkern/libkern.h>
#include <vm/vm_phys.h>

#include "must.h"

#define NTHREADS	4
#define NFRAMES		5000u		/* in all zones */
#define ROUNDS		6000
#define HOLD		24		/* things that a thread has */
#define MANY		20

enum kind { NOTHING, ONE, RUN, ALL };

struct thing {
	enum kind	 t_kind;
	unsigned	 t_n;
	paddr_t		 t_pa[MANY];
};

struct worker {
	pthread_t	 w_id;
	uint32_t	 w_sign;
	uint64_t	 w_seed;
	struct thing	 w_thing[HOLD];
	const char	*w_why;		/* NULL, or what was wrong */
};

static struct worker worker[NTHREADS];
static unsigned ncrossed;

static void
crossed(bool low)
{
	__atomic_fetch_add(&ncrossed, 1, __ATOMIC_RELAXED);
}

/* The i-th frame of what a thread has. */
static paddr_t
frame(const struct thing *t, unsigned i)
{
	return t->t_kind == RUN ? t->t_pa[0] + ptoa(i) : t->t_pa[i];
}

/* Some are signed; the others stay as nobody has looked at them. */
static bool
is_signed(paddr_t pa)
{
	return atop(pa) % 3 != 0;
}

static void
take(struct worker *w, struct thing *t)
{
	const enum vm_page_owner owner = k_random(&w->w_seed) % 4 == 0 ?
	    VM_PAGE_PTP : VM_PAGE_USER;
	struct vm_page *pg;

	t->t_kind = ONE + k_random(&w->w_seed) % 3;
	t->t_n = t->t_kind == ONE ? 1 : 1 + k_random(&w->w_seed) % MANY;
	if ((t->t_kind == ONE ? vm_phys_alloc(owner, t->t_pa) :
	    t->t_kind == ALL ? vm_phys_alloc_many(t->t_n, owner, t->t_pa) :
	    vm_phys_alloc_run(t->t_n, 1, 0, 0, PFN_MAX, owner, t->t_pa)) != 0) {
		t->t_kind = NOTHING;
		return;
	}
	for (unsigned i = 0; i < t->t_n; i++) {
		if (!is_signed(frame(t, i)))
			continue;
		pg = vm_phys_page(frame(t, i));
		pg->pg_offset = w->w_sign;
		pg->pg_object = w;
	}
}

/* => NULL, or what is wrong */
static const char *
give(struct worker *w, struct thing *t)
{
	const struct vm_page *pg;

	for (unsigned i = 0; i < t->t_n; i++) {
		if (!is_signed(frame(t, i)))
			continue;
		pg = vm_phys_page(frame(t, i));
		if (pg->pg_offset != w->w_sign || pg->pg_object != w)
			return "a frame bears another's sign";
		if (pg->pg_owner <= VM_PAGE_FREE || pg->pg_refs != 1)
			return "a frame that is mine is not";
	}
	if (t->t_kind == ONE && k_random(&w->w_seed) % 2 == 0) {
		vm_phys_ref(t->t_pa[0]);
		if (vm_phys_unref(t->t_pa[0]) || !vm_phys_unref(t->t_pa[0]))
			return "references do not count";
	} else if (t->t_kind == ONE)
		vm_phys_free(t->t_pa[0]);
	else if (t->t_kind == RUN)
		vm_phys_free_run(t->t_pa[0], t->t_n);
	else
		vm_phys_free_many(t->t_pa, t->t_n);
	t->t_kind = NOTHING;
	return NULL;
}

static void *
work(void *arg)
{
	struct worker *w = arg;
	struct thing *t;

	for (unsigned i = 0; i < ROUNDS && w->w_why == NULL; i++) {
		t = &w->w_thing[k_random(&w->w_seed) % HOLD];
		if (t->t_kind == NOTHING)
			take(w, t);
		else
			w->w_why = give(w, t);
	}
	for (t = w->w_thing; t < w->w_thing + HOLD && w->w_why == NULL; t++)
		if (t->t_kind != NOTHING)
			w->w_why = give(w, t);
	return NULL;
}

START_TEST(neighbours)
{
	/* The second time there are too few frames for all. */
	const pfn_t n = _i == 0 ? NFRAMES : 150;
	struct vm_phys_stats st;
	void *mem = malloc(vm_phys_size(NFRAMES));

	must(mem != NULL);
	vm_phys_init(mem, NFRAMES);
	vm_phys_add(NFRAMES - n, NFRAMES);
	vm_phys_watch(n / 4, n / 2, crossed);
	for (unsigned i = 0; i < NTHREADS; i++) {
		worker[i].w_sign = 0x51600000 + i;
		worker[i].w_seed = 77 + i;
		must(pthread_create(&worker[i].w_id, NULL, work,
		    &worker[i]) == 0);
	}
	for (unsigned i = 0; i < 200; i++)
		must(vm_phys_check() == NULL);
	for (unsigned i = 0; i < NTHREADS; i++) {
		must(pthread_join(worker[i].w_id, NULL) == 0);
		if (worker[i].w_why != NULL)
			ck_abort_msg("thread %u: %s", i, worker[i].w_why);
	}
	must(vm_phys_check() == NULL);
	must(vm_phys_nfree() == n);
	vm_phys_stats(&st);
	must(st.ps_crossed == ncrossed);
	must(_i == 0 || (st.ps_fails > 0 && ncrossed > 0));
	free(mem);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("vm_phys threads");
	TCase *tc = tcase_create("vm_phys threads");
	SRunner *sr;
	int failed;

	suite_add_tcase(s, tc);
	tcase_set_timeout(tc, 200);
	tcase_add_loop_test(tc, neighbours, 0, 2);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
