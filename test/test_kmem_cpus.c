/*
 * Random operations on several CPUs against a model, one operation at a time:
 * each is done by a thread that has a CPU of its own, so that objects wander
 * from magazine to magazine through the depot, and everything is checked
 * after each few steps, as it cannot be while threads run freely
 * (test_kmem_threads).
 *
 * The model is what the caller knows: which objects are out, and what was
 * written to them.
 */
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>

#include <libkern/errno.h>

#include "heap_stats.h"
#include "slab_test.h"

#define NCPUS		4u
#define NCACHES		3u
#define NSLOTS		600u
#define NOPS		12000u
#define BULK		60u

/* What a CPU is asked to do; NULL: to end. */
static struct worker {
	pthread_t	 w_id;
	sem_t		 w_go, w_done;
	void		(*w_fn)(void *);
	void		*w_arg;
} worker[NCPUS];

static void *
work(void *arg)
{
	struct worker *w = arg;

	for (;;) {
		while (sem_wait(&w->w_go) != 0)
			continue;
		if (w->w_fn == NULL)
			return NULL;
		w->w_fn(w->w_arg);
		sem_post(&w->w_done);
	}
}

static void
hire(void)
{
	unsigned i;

	for (i = 0; i < NCPUS; i++) {
		must(sem_init(&worker[i].w_go, 0, 0) == 0);
		must(sem_init(&worker[i].w_done, 0, 0) == 0);
		must(pthread_create(&worker[i].w_id, NULL, work,
		    &worker[i]) == 0);
	}
}

static void
on_cpu(unsigned cpu, void (*fn)(void *), void *arg)
{
	struct worker *w = &worker[cpu];

	w->w_fn = fn;
	w->w_arg = arg;
	sem_post(&w->w_go);
	while (fn != NULL && sem_wait(&w->w_done) != 0)
		continue;
}

static void
dismiss(void)
{
	unsigned i;

	for (i = 0; i < NCPUS; i++) {
		on_cpu(i, NULL, NULL);
		must(pthread_join(worker[i].w_id, NULL) == 0);
	}
}

/*
 * The model: slots, the first ones of the caches in turn, the rest heap.
 */
struct slot {
	void		*s_obj;
	size_t		 s_size;
	uint32_t	 s_mark;
	struct kmem_cache *s_cache;	/* NULL: the heap */
};

static struct slot slot[NSLOTS];
static struct kmem_cache *cache[NCACHES];
static const size_t sizes[NCACHES] = { 40, 300, 2100 };
static unsigned nout[NCACHES + 1];
static unsigned long nfailed;
static uint64_t rng;

/* A slot and what to do with it, chosen before the CPU is. */
static struct choice {
	unsigned	 c_slot;
	int		 c_flags;
	bool		 c_intr;
} choice;

static unsigned
owner_of(unsigned i)
{
	return i % (NCACHES + 1);
}

static void
slot_alloc(void *arg)
{
	const struct choice *c = arg;
	struct slot *s = &slot[c->c_slot];
	unsigned o = owner_of(c->c_slot);
	size_t i;

	host_set_intr(c->c_intr);
	s->s_cache = o == NCACHES ? NULL : cache[o];
	if (s->s_cache == NULL)
		s->s_size = 1 + k_random(&rng) % 5000;
	else
		s->s_size = sizes[o];
	s->s_obj = s->s_cache == NULL ?
	    kmalloc(s->s_size, M_TEMP, c->c_flags) :
	    kmem_cache_alloc(s->s_cache, c->c_flags);
	host_set_intr(false);
	if (s->s_obj == NULL) {
		nfailed++;
		return;
	}
	for (i = 0; (c->c_flags & KM_ZERO) && i < s->s_size; i++)
		must(((char *)s->s_obj)[i] == 0);
	s->s_mark = k_random(&rng);
	slab_fill(s->s_obj, s->s_size, s->s_mark);
	nout[o]++;
}

static void
slot_free(void *arg)
{
	const struct choice *c = arg;
	struct slot *s = &slot[c->c_slot];

	must(slab_holds(s->s_obj, s->s_size, s->s_mark));
	host_set_intr(c->c_intr);
	if (s->s_cache == NULL)
		kfree(s->s_obj, M_TEMP);
	else
		kmem_cache_free(s->s_cache, s->s_obj);
	host_set_intr(false);
	s->s_obj = NULL;
	nout[owner_of(c->c_slot)]--;
}

/* Many, and at once back: all or none. */
static void
bulk(void *arg)
{
	const struct choice *c = arg;
	struct kmem_cache *kc = cache[c->c_slot % NCACHES];
	void *objs[BULK];
	unsigned i, n = 1 + k_random(&rng) % BULK;

	if (kmem_cache_alloc_many(kc, n, objs, KM_NOSLEEP) != 0) {
		nfailed++;
		return;
	}
	for (i = 0; i < n; i++)
		slab_fill(objs[i], kc->kc_size, i);
	for (i = 0; i < n; i++)
		must(slab_holds(objs[i], kc->kc_size, i));
	kmem_cache_free_many(kc, n, objs);
}

static void
upheaval(void *arg)
{
	const struct choice *c = arg;
	struct kmem_cache *kc = cache[c->c_slot % NCACHES];

	switch (k_random(&rng) % 5) {
	case 0:
		kmem_cache_reap_all();
		must(slab_stats(kc).cs_cached == 0);
		break;
	case 1:
		kmem_cache_reap(kc);
		must(slab_stats(kc).cs_empty_slabs == 0);
		break;
	case 2:
		host_advance(KMEM_REAP_TICKS);
		kmem_reap_tick();
		break;
	case 3:
		must(nout[c->c_slot % NCACHES] == 0 ||
		    kmem_cache_destroy(kc) == EBUSY);
		break;
	default:
		kmem_reclaim(1 + k_random(&rng) % 20);
	}
}

static void
step(unsigned op)
{
	/* Tides: mostly growing, mostly shrinking, in turn. */
	const unsigned tide = op / 1500 % 2 ? 75 : 25;
	unsigned cpu = k_random(&rng) % NCPUS;
	bool empty;

	choice.c_slot = k_random(&rng) % NSLOTS;
	choice.c_flags = KM_NOSLEEP | (k_random(&rng) % 5 ? 0 : KM_ZERO);
	choice.c_intr = k_random(&rng) % 6 == 0;
	empty = slot[choice.c_slot].s_obj == NULL;
	if (op % 97 == 0)
		on_cpu(cpu, upheaval, &choice);
	else if (op % 53 == 0)
		on_cpu(cpu, bulk, &choice);
	else if (empty && k_random(&rng) % 100 >= tide)
		on_cpu(cpu, slot_alloc, &choice);
	else if (!empty && k_random(&rng) % 100 < tide)
		on_cpu(cpu, slot_free, &choice);
}

static void
compare(void)
{
	unsigned i;

	for (i = 0; i < NCACHES; i++)
		must(slab_stats(cache[i]).cs_inuse == nout[i]);
	must(stats_of(M_TEMP).ks_inuse == nout[NCACHES]);
}

/* Odd ones check who frees what; the last two have hardly any memory. */
START_TEST(random_operations)
{
	static const char *const names[NCACHES] = { "c 40", "c 300",
	    "c 2100" };
	unsigned op, i;

	printf("kmem_cpus: seed %d\n", _i + 1);
	rng = (uint64_t)_i + 1;
	slab_boot(_i < 4 ? 8192 : 400, _i % 2 ? KMD_CHECK : 0);
	for (i = 0; i < NCACHES; i++)
		cache[i] = slab_make(names[i], sizes[i], 0);
	if (_i >= 4) {
		slab_hoard();
		slab_hoard_give(150);
	}
	hire();
	for (op = 0; op < NOPS; op++) {
		step(op);
		if (op % 20 == 0)
			compare();
		if (op % 100 == 0)
			slab_check();
	}
	must(_i < 4 || nfailed > 0);
	choice.c_intr = false;
	for (i = 0; i < NSLOTS; i++)
		if (slot[choice.c_slot = i].s_obj != NULL)
			on_cpu(i % NCPUS, slot_free, &choice);
	compare();
	dismiss();
	slab_hoard_give(0);
	for (i = 0; i < NCACHES; i++)
		must(kmem_cache_destroy(cache[i]) == 0);
	slab_done();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("kmem_cpus");
	TCase *tc = tcase_create("kmem_cpus");
	SRunner *sr;
	int failed;

	setvbuf(stdout, NULL, _IOLBF, 0);
	suite_add_tcase(s, tc);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, random_operations, 0, 6);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
