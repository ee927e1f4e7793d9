/*
 * Several threads on one map, on kernel_map, and on the store of entries
 * while it grows.  Runs under ThreadSanitizer too.
 *
 * A shared map is divided into stripes, one for each thread: what an
 * operation on a stripe must do depends on that stripe alone, so each result,
 * and the final state, is the one that an oracle of the stripe demands,
 * however the threads came in between one another.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <vm/vm_kmem.h>
#include <vm/vm_map_impl.h>
#include <vm/vm_phys.h>

#include "host.h"
#include "ledger.h"
#include "map_test.h"

#define NTHREADS	4
#define ROUNDS		3000
#define STRIPE		48		/* pages */

/* A thread reports by what it returns: Check is not for threads. */
#define need(e)		do { if (!(e)) return #e; } while (0)

struct worker {
	unsigned	 w_id;
	uint64_t	 w_seed;
	struct vm_map	*w_map;
	struct oracle	 w_oracle;	/* of the stripe */
	const char	*w_why;		/* NULL, or what was wrong */
};

static struct worker worker[NTHREADS];
static atomic_bool finished;
static atomic_int done;
static pthread_barrier_t line;
static const char *const owner[NTHREADS] = { "ann", "bob", "cat", "dan" };

typedef const char *work_t(struct worker *);
static work_t *work;

static void *
start(void *arg)
{
	struct worker *w = arg;

	pthread_barrier_wait(&line);
	w->w_why = work(w);
	return NULL;
}

/* Let all of them do it at once; then none may have complained. */
static void
all(work_t *fn)
{
	pthread_t id[NTHREADS];
	unsigned i;

	work = fn;
	must(pthread_barrier_init(&line, NULL, NTHREADS) == 0);
	for (i = 0; i < NTHREADS; i++) {
		worker[i].w_id = i;
		worker[i].w_seed = 1000 + i;
		worker[i].w_why = "did not run";
		must(pthread_create(&id[i], NULL, start, &worker[i]) == 0);
	}
	for (i = 0; i < NTHREADS; i++) {
		must(pthread_join(id[i], NULL) == 0);
		if (worker[i].w_why != NULL)
			ck_abort_msg("thread %u: %s", i, worker[i].w_why);
	}
	pthread_barrier_destroy(&line);
}

static unsigned
draw(struct worker *w, unsigned n)
{
	return k_random(&w->w_seed) % n;
}

/* ------------------------------- a shared map --------------------------- */

static void
draw_range(struct worker *w, vaddr_t *a, vaddr_t *b)
{
	size_t p = draw(w, STRIPE), n = 1 + draw(w, 6);

	if (n > STRIPE - p)
		n = STRIPE - p;
	*a = oracle_va(&w->w_oracle, p);
	*b = *a + ptoa(n);
}

static const char *
do_alloc(struct worker *w)
{
	struct oracle *o = &w->w_oracle;
	struct vm_map_request r = {
		.vr_size = ptoa(1 + draw(w, 5)), .vr_min = o->o_min,
		.vr_max = o->o_max, .vr_prot = draw(w, 4),
		.vr_align = draw(w, 4) == 0 ? ptoa(4) : 0,
		.vr_guard_hi = w->w_map->vm_flags == VM_MAP_KERNEL &&
		    draw(w, 4) == 0, .vr_owner = owner[w->w_id],
	};
	struct oracle_found f;
	unsigned right = oracle_find(o, &r, &f);
	bool lowest;
	size_t hole;
	vaddr_t addr;
	int error = vm_map_alloc(w->w_map, &r, &addr);

	need((RES(error) & right) != 0);
	if (error != 0)
		return NULL;
	need(!f.of_exact || f.of_addr == addr);
	need(oracle_fits(o, &r, addr, &hole, &lowest) && lowest);
	oracle_take(o, addr, addr + r.vr_size + ptoa(r.vr_guard_hi), &r);
	return NULL;
}

static const char *
do_insert(struct worker *w, vaddr_t a, vaddr_t b)
{
	struct vm_map_request r = {
		.vr_prot = draw(w, 4), .vr_owner = owner[w->w_id]
	};
	unsigned right = oracle_insert(&w->w_oracle, a, b);
	int error = vm_map_insert(w->w_map, a, b, r.vr_prot, r.vr_owner);

	need((RES(error) & right) != 0);
	if (error == 0)
		oracle_take(&w->w_oracle, a, b, &r);
	return NULL;
}

static const char *
do_remove(struct worker *w, vaddr_t a, vaddr_t b)
{
	unsigned right = oracle_remove(&w->w_oracle, a, b, false);
	int error = vm_map_remove(w->w_map, a, b);

	need((RES(error) & right) != 0);
	if (error == 0)
		oracle_release(&w->w_oracle, a, b);
	return NULL;
}

static const char *
do_protect(struct worker *w, vaddr_t a, vaddr_t b)
{
	vm_prot_t prot = draw(w, 4);
	unsigned right = oracle_protect(&w->w_oracle, a, b);
	int error = vm_map_protect(w->w_map, a, b, prot);

	need((RES(error) & right) != 0);
	if (error == 0)
		oracle_set_prot(&w->w_oracle, a, b, prot);
	return NULL;
}

static const char *
do_wire(struct worker *w, vaddr_t a, vaddr_t b, bool wire)
{
	unsigned right = oracle_wire(&w->w_oracle, a, b, wire);
	int error = (wire ? vm_map_wire : vm_map_unwire)(w->w_map, a, b);

	need((RES(error) & right) != 0);
	if (error == 0)
		oracle_add_wired(&w->w_oracle, a, b, wire ? 1 : -1);
	return NULL;
}

/* Whatever the others do, my own page is as I left it. */
static const char *
do_lookup(struct worker *w, vaddr_t a)
{
	const struct opage *pg =
	    &w->w_oracle.o_page[oracle_pgno(&w->w_oracle, a)];
	struct vm_map_info vi;
	int error = vm_map_lookup(w->w_map, a, &vi);

	need((error == 0) == (pg->op_id != 0));
	if (error != 0)
		return NULL;
	need(vi.vi_start <= a && a < vi.vi_end);
	need(vi.vi_owner == pg->op_owner && vi.vi_prot == pg->op_prot &&
	    vi.vi_wired == pg->op_wired);
	return NULL;
}

static const char *
stripe_step(struct worker *w)
{
	vaddr_t a, b;

	draw_range(w, &a, &b);
	switch (draw(w, 10)) {
	case 0: case 1: case 2:
		return do_alloc(w);
	case 3:
		return do_insert(w, a, b);
	case 4: case 5:
		return do_remove(w, a, b);
	case 6:
		return do_protect(w, a, b);
	case 7:
		return do_wire(w, a, b, true);
	case 8:
		return do_wire(w, a, b, false);
	default:
		return do_lookup(w, a);
	}
}

static const char *
stripe_work(struct worker *w)
{
	const char *why;
	unsigned i;

	for (i = 0; i < ROUNDS; i++)
		if ((why = stripe_step(w)) != NULL)
			return why;
	for (i = 0; i < STRIPE; i++)
		if ((why = do_lookup(w, oracle_va(&w->w_oracle, i))) != NULL)
			return why;
	return NULL;
}

/* Meanwhile somebody goes through the map, and finds it in order. */
static void *
walk(void *arg)
{
	struct vm_map *map = arg;
	struct vm_map_info vi;
	vaddr_t va;

	while (!finished) {
		for (va = map->vm_min; vm_map_next(map, va, &vi) == 0;
		    va = vi.vi_end)
			if (vi.vi_end <= va || vi.vi_end > map->vm_max)
				return (void *)(uintptr_t)"vm_map_next";
		if (vm_map_check(map) != NULL)
			return (void *)(uintptr_t)"vm_map_check";
		sched_yield();		/* let a writer in */
	}
	return NULL;
}

START_TEST(stripes)
{
	unsigned flags = _i == 0 ? VM_MAP_KERNEL : VM_MAP_USER, i;
	vaddr_t min = MAP_ROUND + PAGE_SIZE;
	unsigned long n = 0;
	static struct vm_map map;
	struct vm_map_stats st;
	pthread_t walker;
	void *why;

	must(vm_map_init(&map, "stripes", min, min + ptoa(NTHREADS * STRIPE),
	    flags, NULL) == 0);
	for (i = 0; i < NTHREADS; i++) {
		worker[i].w_map = &map;
		oracle_init(&worker[i].w_oracle, min + ptoa(i * STRIPE),
		    min + ptoa((i + 1) * STRIPE), flags);
	}
	must(oracle_class_pages(0) == 1);	/* it makes its table once */
	must(pthread_create(&walker, NULL, walk, &map) == 0);
	all(stripe_work);
	finished = true;
	must(pthread_join(walker, &why) == 0);
	must(why == NULL);
	must(vm_map_check(&map) == NULL);
	vm_map_stats(&map, &st);
	for (i = 0; i < NTHREADS; i++)
		n += worker[i].w_oracle.o_used;
	must(st.vms_used == ptoa(n));
	must(vm_map_destroy(&map) == st.vms_entries);
}
END_TEST

/* ------------------------------- kernel_map ----------------------------- */

#define MINE	12

static const char *
kmem_step(struct worker *w, vaddr_t *va, vsize_t *size)
{
	static const int window[] = { 0, KM_HEAP, KM_SLAB };
	struct vm_map_info vi;
	uint64_t mark = w->w_seed | 1;
	uint64_t *first, *last;

	if (*va == 0) {
		*size = ptoa(1 + draw(w, 6));
		*va = kmem_alloc(kernel_map, *size,
		    KM_NOSLEEP | window[draw(w, 3)]);
		need(*va != 0);
		*(uint64_t *)*va = mark;
		*(uint64_t *)(*va + *size - 8) = mark;
		return NULL;
	}
	need(vm_map_lookup(kernel_map, *va, &vi) == 0);
	need(vi.vi_start == *va && vi.vi_end == *va + *size);
	first = (uint64_t *)*va;
	last = (uint64_t *)(*va + *size - 8);
	need(*first == *last);		/* nobody else has these pages */
	kmem_free(kernel_map, *va, *size);
	*va = 0;
	return NULL;
}

static const char *
kmem_work(struct worker *w)
{
	vaddr_t va[MINE] = { 0 };
	vsize_t size[MINE];
	const char *why;
	unsigned i, k;

	for (i = 0; i < ROUNDS / 2; i++) {
		k = draw(w, MINE);
		if ((why = kmem_step(w, &va[k], &size[k])) != NULL)
			return why;
	}
	for (k = 0; k < MINE; k++)
		if (va[k] != 0)
			kmem_free(kernel_map, va[k], size[k]);
	return NULL;
}

START_TEST(kernel_memory)
{
	struct ledger before;
	pthread_t walker;
	const char *wrong;
	void *why;

	ledger_take(&before);
	must(pthread_create(&walker, NULL, walk, kernel_map) == 0);
	all(kmem_work);
	finished = true;
	must(pthread_join(walker, &why) == 0);
	must(why == NULL);
	wrong = ledger_since(&before);
	if (wrong != NULL)
		ck_abort_msg("%s", wrong);
	must(vm_map_check(kernel_map) == NULL);
	must(vm_phys_check() == NULL);
}
END_TEST

/* --------------------------- the store of entries ------------------------ */

#define MANY	1500

static struct vm_map own[NTHREADS];

/* All at once take what makes the store grow time and again. */
static const char *
grow_work(struct worker *w)
{
	struct vm_map *map = &own[w->w_id];
	vaddr_t va = map->vm_min;
	unsigned i;

	for (i = 0; i < MANY; i++, va += ptoa(2))
		need(vm_map_insert(map, va, va + PAGE_SIZE, VM_PROT_RW,
		    owner[w->w_id]) == 0);
	need(vm_map_check(map) == NULL);
	return NULL;
}

START_TEST(store_grows)
{
	const vaddr_t min = MAP_ROUND;
	struct vm_map_stats st;
	struct entry_stats es;
	unsigned i;

	for (i = 0; i < NTHREADS; i++)
		must(vm_map_init(&own[i], owner[i], min, min + ptoa(2 * MANY),
		    VM_MAP_USER, NULL) == 0);
	all(grow_work);
	entry_stats(&es);
	vm_map_stats(kernel_map, &st);
	must(es.es_total - es.es_free == st.vms_entries + NTHREADS * MANY);
	/* Nobody grew it for what somebody else had grown it for. */
	must(es.es_free < 2 * (PAGE_SIZE / sizeof(struct vm_map_entry)));
	for (i = 0; i < NTHREADS; i++)
		must(vm_map_destroy(&own[i]) == MANY);
	entry_stats(&es);
	must(es.es_total - es.es_free == st.vms_entries);
	must(vm_map_check(kernel_map) == NULL);
}
END_TEST

/*
 * Two find the store empty at the same time.  The one that makes it grow is
 * held up, since kernel_map is being read; the other must find then that
 * there is enough.
 */
static const char *
take_one(struct worker *w)
{
	struct vm_map *map = &own[w->w_id];

	need(vm_map_insert(map, map->vm_min, map->vm_min + PAGE_SIZE,
	    VM_PROT_RW, owner[w->w_id]) == 0);
	return NULL;
}

static void *
take_all(void *arg)
{
	all(take_one);
	done++;
	return NULL;
}

START_TEST(one_grows_for_all)
{
	static const struct timespec while_ = { 0, 50 * 1000 * 1000 };
	const vaddr_t min = MAP_ROUND;
	struct vm_map_entry *chain = NULL;
	struct entry_stats es;
	unsigned i;
	pthread_t id;

	for (i = 0; i < NTHREADS; i++)
		must(vm_map_init(&own[i], owner[i], min, min + PAGE_SIZE,
		    VM_MAP_USER, NULL) == 0);
	entry_stats(&es);
	chain = entry_get((unsigned)es.es_free - ENTRY_RESERVE);
	must(chain != NULL);
	vm_rw_enter_read(&kernel_map->vm_lock);
	must(pthread_create(&id, NULL, take_all, NULL) == 0);
	nanosleep(&while_, NULL);
	must(done == 0);
	vm_rw_exit_read(&kernel_map->vm_lock);
	must(pthread_join(id, NULL) == 0);
	must(done == 1);
	entry_stats(&es);
	must(es.es_pages == 1);
	entry_put(chain);
	must(vm_map_check(kernel_map) == NULL);
}
END_TEST

/* -------------------------- readers side by side ------------------------ */

static struct vm_map quiet;

/* Everything that only looks; the number of times that it had to wait. */
static void *
read_all(void *arg)
{
	struct vm_map_request r = { .vr_size = PAGE_SIZE };
	struct vm_map_explain vx;
	struct vm_map_stats st;
	struct vm_map_info vi;

	vm_map_lookup(&quiet, quiet.vm_min, &vi);
	vm_map_next(&quiet, quiet.vm_min, &vi);
	vm_map_stats(&quiet, &st);
	vm_map_explain(&quiet, &r, &vx);
	if (vm_map_check(&quiet) != NULL)
		return NULL;
	done++;
	return (void *)(uintptr_t)(1 + host_locks()->hl_contended);
}

static void *
write_one(void *arg)
{
	struct vm_map_request r = { .vr_size = PAGE_SIZE };
	vaddr_t addr;

	if (vm_map_alloc(&quiet, &r, &addr) == 0)
		done++;
	return NULL;
}

static bool
joined(pthread_t id, unsigned ms, void **ret)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_nsec += (long)(ms % 1000) * 1000000;
	ts.tv_sec += (time_t)(ms / 1000) + ts.tv_nsec / 1000000000;
	ts.tv_nsec %= 1000000000;
	return pthread_timedjoin_np(id, ret, &ts) == 0;
}

/*
 * While one reader is inside, others come and go without waiting; a writer
 * waits until it is out.
 */
START_TEST(readers_do_not_block)
{
	pthread_t reader, writer;
	void *waited;

	must(vm_map_init(&quiet, "quiet", MAP_ROUND, MAP_ROUND + KB4(8),
	    VM_MAP_USER, NULL) == 0);
	must(vm_map_insert(&quiet, MAP_ROUND, MAP_ROUND + KB4(2), VM_PROT_RW,
	    "ann") == 0);
	vm_rw_enter_read(&quiet.vm_lock);
	must(pthread_create(&reader, NULL, read_all, NULL) == 0);
	must(joined(reader, 20000, &waited));
	must(done == 1);
	must((uintptr_t)waited == 1);
	must(pthread_create(&writer, NULL, write_one, NULL) == 0);
	must(!joined(writer, 50, &waited));
	must(done == 1);
	vm_rw_exit_read(&quiet.vm_lock);
	must(joined(writer, 20000, &waited));
	must(done == 2);
}
END_TEST

static void
add(TCase *tc)
{
	tcase_add_loop_test(tc, stripes, 0, 2);
	tcase_add_test(tc, kernel_memory);
	tcase_add_test(tc, store_grows);
	tcase_add_test(tc, one_grows_for_all);
	tcase_add_test(tc, readers_do_not_block);
}

int
main(void)
{
	return map_test_main("vm_map threads", add);
}
