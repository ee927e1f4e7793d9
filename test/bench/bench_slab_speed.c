/*
 * How fast: one table, a row for each workload, a column for each party.
 *
 * Each workload runs in a process of its own.  There all parties do the same
 * in turn, slice by slice, each time beginning with another one, and the
 * figures are medians of the slices.  The peer of a row is the fastest one.
 *
 * One thread is measured by its processor's time, so that others may use the
 * machine in between; several by the clock, as waiting for each other is part
 * of what they cost: that wants a machine with nothing else to do.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench_slab.h"
#include "host.h"

#define WARM_UP		5u		/* slices, before any is timed */
#define LIFO_OBJECTS	1000u
#define SLOTS		10000u
#define DRAWS		65536u		/* drawn beforehand, and run through */
#define CTOR_WORDS	64u

/* The first word is written, as by anybody who uses what he has. */
static ALWAYS_INLINE void
use(void *obj, size_t i)
{
	if (obj == NULL)
		bench_die("out of memory");
	*(volatile size_t *)obj = i;
}

static ALWAYS_INLINE void
one_at_a_time(const struct party *p, enum kind k, struct kmem_cache *kc,
    size_t size, size_t n)
{
	size_t i;
	void *a;

	for (i = 0; i < n; i++) {
		a = take(p, k, kc, size);
		use(a, i);
		give(p, k, kc, size, a);
	}
}

static void
run_pair(const struct party *p, struct kmem_cache *kc,
    const struct workload *w, size_t n)
{
	BY_KIND(p, one_at_a_time, kc, w->w_size, n);
}

static ALWAYS_INLINE void
two_at_a_time(const struct party *p, enum kind k, struct kmem_cache *kc,
    size_t size, size_t n)
{
	size_t i;
	void *a, *b;

	for (i = 0; i < n; i += 2) {
		a = take(p, k, kc, size);
		use(a, i);
		b = take(p, k, kc, size);
		use(b, i);
		give(p, k, kc, size, a);
		give(p, k, kc, size, b);
	}
}

static void
run_two(const struct party *p, struct kmem_cache *kc,
    const struct workload *w, size_t n)
{
	BY_KIND(p, two_at_a_time, kc, w->w_size, n);
}

static ALWAYS_INLINE void
last_in_first_out(const struct party *p, enum kind k, struct kmem_cache *kc,
    size_t size, size_t n)
{
	static void *obj[LIFO_OBJECTS];
	size_t i, j;

	for (i = 0; i < n; i += LIFO_OBJECTS) {
		for (j = 0; j < LIFO_OBJECTS; j++) {
			obj[j] = take(p, k, kc, size);
			use(obj[j], j);
		}
		while (j-- > 0)
			give(p, k, kc, size, obj[j]);
	}
}

static void
run_lifo(const struct party *p, struct kmem_cache *kc,
    const struct workload *w, size_t n)
{
	BY_KIND(p, last_in_first_out, kc, w->w_size, n);
}

/*
 * Random replacement: each party has its slots, all of the same sizes.
 */
static struct {
	uint16_t	slot[DRAWS];
	uint16_t	size[DRAWS];
} draw;

static struct slots {
	void		*s_obj[SLOTS];
	uint16_t	 s_size[SLOTS];
	uint32_t	 s_next;		/* of the draws */
} slots[NPARTIES];

static void
make_draws(void)
{
	struct rng r = { opt.o_seed };
	unsigned i;

	for (i = 0; i < DRAWS; i++) {
		draw.slot[i] = (uint16_t)rng_below(&r, SLOTS);
		draw.size[i] = (uint16_t)(8 + rng_below(&r, 1024 - 8 + 1));
	}
}

static ALWAYS_INLINE void
replace(const struct party *p, enum kind k, struct kmem_cache *kc,
    struct slots *s, size_t n)
{
	uint32_t slot, d = s->s_next;
	size_t i;

	for (i = 0; i < n; i++, d = (d + 1) % DRAWS) {
		slot = draw.slot[d];
		if (s->s_obj[slot] != NULL)
			give(p, k, kc, s->s_size[slot], s->s_obj[slot]);
		s->s_size[slot] = draw.size[d];
		s->s_obj[slot] = take(p, k, kc, draw.size[d]);
		use(s->s_obj[slot], i);
	}
	s->s_next = d;
}

static void
run_random(const struct party *p, struct kmem_cache *kc,
    const struct workload *w, size_t n)
{
	if (draw.size[0] == 0)
		make_draws();
	BY_KIND(p, replace, kc, &slots[p - parties], n);
}

/*
 * Constructed objects: 64 words, each the head of an empty ring of its own.
 * Whoever frees one leaves it as he found it.
 */
static int
construct(void *obj, void *arg, int flags)
{
	uintptr_t *word = obj;
	unsigned i;

	for (i = 0; i < CTOR_WORDS; i++)
		word[i] = (uintptr_t)&word[i];
	return 0;
}

/* By pointer, as a cache calls it. */
static kmem_ctor_t *volatile constructor = construct;

static ALWAYS_INLINE void
constructed_each_time(const struct party *p, enum kind k,
    struct kmem_cache *kc, size_t size, size_t n)
{
	kmem_ctor_t *ctor = constructor;
	size_t i;
	void *a;

	for (i = 0; i < n; i++) {
		a = take(p, k, kc, size);
		ctor(a, NULL, 0);
		*(volatile uintptr_t *)a = (uintptr_t)a;
		give(p, k, kc, size, a);
	}
}

static ALWAYS_INLINE void
constructed_once(const struct party *p, enum kind k, struct kmem_cache *kc,
    size_t size, size_t n)
{
	size_t i;
	void *a;

	for (i = 0; i < n; i++) {
		a = take(p, k, kc, size);
		*(volatile uintptr_t *)a = (uintptr_t)a;
		give(p, k, kc, size, a);
	}
}

static void
run_ctor(const struct party *p, struct kmem_cache *kc,
    const struct workload *w, size_t n)
{
	if (p->pa_kind == CACHE)
		constructed_once(p, CACHE, kc, w->w_size, n);
	else
		BY_KIND(p, constructed_each_time, kc, w->w_size, n);
}

static const struct workload workloads[] = {
	{ .w_name = "pair", .w_what = "a 64-byte object: alloc, free",
	  .w_target = 1, .w_size = 64, .w_threads = 1, .w_unit = 1,
	  .w_run = run_pair },
	{ .w_name = "two", .w_what = "two of 64 bytes: 2 allocs, 2 frees",
	  .w_target = 1, .w_size = 64, .w_threads = 1, .w_unit = 2,
	  .w_run = run_two },
	{ .w_name = "lifo", .w_what = "1,000 of 256 bytes, freed backwards",
	  .w_target = 1, .w_size = 256, .w_threads = 1,
	  .w_unit = LIFO_OBJECTS, .w_run = run_lifo },
	{ .w_name = "random", .w_what = "10,000 slots replaced at random, "
	  "8-1,024 bytes", .w_target = 1, .w_threads = 1, .w_unit = 1,
	  .w_run = run_random },
	{ .w_name = "ctor", .w_what = "64 words constructed: cached (slab), "
	  "or each time (the others)", .w_target = 1.0 / 3,
	  .w_size = CTOR_WORDS * sizeof(uintptr_t), .w_threads = 1,
	  .w_cached = true, .w_unit = 1, .w_run = run_ctor },
};

/*
 * Measuring.
 */
struct row {
	const struct workload *r_work;
	unsigned	 r_flags;	/* of parties_load */
	struct kmem_cache *r_cache;
	double		 r_ns[NPARTIES][MAXSLICES];
	double		 r_median[NPARTIES];	/* 0: takes no part */
	double		 r_calls;	/* of the host's, ours, an operation */
	double		 r_net_ns[MAXSLICES];	/* ours, without those */
	double		 r_net;
};
static struct row *plain, *checked;	/* shared with the children */

static bool
takes_part(const struct row *r, unsigned i)
{
	/* The heap's sizes have no cache of their own. */
	return party_there(&parties[i]) &&
	    (i != SLAB || r->r_work->w_size != 0);
}

/* Ours, of which the target is. */
static unsigned
ours(const struct row *r)
{
	return r->r_work->w_size != 0 ? SLAB : KMALLOC;
}

static double
timed(struct row *r, unsigned i, size_t n)
{
	const struct workload *w = r->r_work;
	double (*clock)(void) = w->w_threads == 1 ? process_ns : wall_ns;
	uint64_t calls = host_syscalls();
	double t = clock();

	w->w_run(&parties[i], r->r_cache, w, n);
	t = clock() - t;
	if (i == ours(r))
		r->r_calls = (double)(host_syscalls() - calls) / (double)n;
	return t;
}

/* Of one thread of ours, what it does itself. */
static double
timed_net(struct row *r, size_t n)
{
	uint64_t ns;
	double t;

	host_syscalls_timed(true);
	ns = host_syscall_ns();
	t = timed(r, ours(r), n) - (double)(host_syscall_ns() - ns);
	host_syscalls_timed(false);
	return t;
}

/* How many operations of the slowest fill a slice. */
static size_t
slice_ops(struct row *r)
{
	const size_t unit = r->r_work->w_unit;
	double worst, t;
	size_t n;
	unsigned i;

	for (n = unit; ; n *= 2) {
		for (worst = 0, i = 0; i < NPARTIES; i++) {
			if (!takes_part(r, i))
				continue;
			t = timed(r, i, n);
			worst = t > worst ? t : worst;
		}
		if (worst > opt.o_slice_ns / 4)
			break;
	}
	n = (size_t)((double)n * opt.o_slice_ns / worst);
	return n < unit ? unit : n - n % unit;
}

static void
cells(const struct row *r)
{
	unsigned i;

	for (i = 0; i < NPARTIES; i++)
		if (r->r_median[i] != 0)
			printf(" %8.1f", r->r_median[i]);
		else
			printf(" %8s", "-");
}

/* The fastest of the peers. */
static unsigned
fastest(const struct row *r)
{
	unsigned i, best = 0;

	for (i = FIRST_PEER; i < NPARTIES; i++)
		if (r->r_median[i] != 0 &&
		    (best == 0 || r->r_median[i] < r->r_median[best]))
			best = i;
	return best;
}

static void
figures(const struct row *r, unsigned peer)
{
	const struct workload *w = r->r_work;
	const double us = r->r_median[ours(r)];
	unsigned i;

	bench_figure("ns/op", us, r->r_median[peer], "%s%s.%u", opt.o_prefix,
	    w->w_name, w->w_threads);
	for (i = KMALLOC; i < NPARTIES; i++)
		if (i != ours(r) && r->r_median[i] != 0)
			bench_figure("ns/op", i == KMALLOC ?
			    r->r_median[i] : us, r->r_median[i == KMALLOC ?
			    peer : i], "%s%s.%u.%s", opt.o_prefix, w->w_name,
			    w->w_threads, parties[i].pa_name);
	if (w->w_threads == 1)
		bench_figure("ns/op", r->r_net, r->r_median[peer],
		    "%s%s.%u.net", opt.o_prefix, w->w_name, w->w_threads);
	bench_figure("ns/op", checked->r_median[ours(r)], r->r_median[peer],
	    "%s%s.%u.checked", opt.o_prefix, w->w_name, w->w_threads);
}

static void
report(const struct row *r)
{
	const struct workload *w = r->r_work;
	unsigned peer = fastest(r);
	double ratio;

	printf("%-10s%2u", w->w_name, w->w_threads);
	cells(r);
	if (peer == 0) {
		printf("  no peer\n");
		return;
	}
	ratio = r->r_median[ours(r)] / r->r_median[peer];
	printf(" %7.3f %5.2f %-8s%8.1f %8.1f %7.3f\n", ratio, w->w_target,
	    ratio <= w->w_target ? "met" : "NOT MET",
	    checked->r_median[ours(r)], r->r_net, 1000 * r->r_calls);
	figures(r, peer);
}

static void
measure(void *arg)
{
	struct row *r = arg;
	struct kmem_cache_args ca = { .ca_name = "bench" };
	size_t n;
	unsigned s, k, i;

	parties_load(r->r_flags & CHECKED ? 0 : ALL_PARTIES, r->r_flags);
	ca.ca_size = r->r_work->w_size;
	ca.ca_ctor = r->r_work->w_cached ? construct : NULL;
	if (ca.ca_size != 0 &&
	    (r->r_cache = kmem_cache_create(&ca)) == NULL)
		bench_die("no cache");
	n = slice_ops(r);
	for (i = 0; i < NPARTIES; i++)
		if (takes_part(r, i))
			timed(r, i, n * WARM_UP);
	for (s = 0; s < opt.o_slices; s++) {
		for (k = 0; k < NPARTIES; k++) {
			i = (s + k) % NPARTIES;
			if (takes_part(r, i))
				r->r_ns[i][s] = timed(r, i, n) / (double)n;
		}
		if (r->r_work->w_threads == 1)
			r->r_net_ns[s] = timed_net(r, n) / (double)n;
	}
	for (i = 0; i < NPARTIES; i++)
		if (takes_part(r, i))
			r->r_median[i] = bench_median(r->r_ns[i],
			    opt.o_slices);
	r->r_net = bench_median(r->r_net_ns, opt.o_slices);
}

static bool
wanted(const struct workload *w, char **names)
{
	bool all = *names == NULL;

	for (; *names != NULL; names++)
		if (strcmp(*names, w->w_name) == 0)
			return true;
	return all;
}

static void
rows(const struct workload *w, size_t n, char **names)
{
	for (; n-- > 0; w++) {
		if (!wanted(w, names))
			continue;
		*plain = (struct row){ .r_work = w };
		*checked = (struct row){ .r_work = w, .r_flags = CHECKED };
		bench_apart(measure, plain, w->w_name);
		bench_apart(measure, checked, NULL);
		report(plain);
	}
}

static void
legend(const struct workload *w, size_t n)
{
	const char *last = "";

	for (; n-- > 0; last = w++->w_name)
		if (strcmp(w->w_name, last) != 0)
			printf("%-12s%s\n", w->w_name, w->w_what);
}

void
bench_slab_speed(char **names)
{
	unsigned i;

	plain = harness_memory(sizeof(*plain));
	checked = harness_memory(sizeof(*checked));
	legend(workloads, nitems(workloads));
	legend(thread_workloads, nthread_workloads);
	printf("\nNanoseconds for an allocation and a free; medians of %u "
	    "slices of %.0f ms, in turn,\nafter a warm-up.  The ratio is that "
	    "of slab, or of kmalloc where slab has none, to\nthe fastest "
	    "peer's.  Checked: the same with KMD_CHECK.  Calls: the host "
	    "machine's mmap\nand mprotect, which stand where a kernel writes "
	    "a page table, for 1,000 operations;\nnet: ours without what "
	    "those took.\n\n"
	    "%-12s", opt.o_slices, opt.o_slice_ns / 1e6, "  threads");
	for (i = 0; i < NPARTIES; i++)
		printf(" %8s", parties[i].pa_name);
	printf("   ratio target         checked      net   calls\n");
	fflush(stdout);
	rows(workloads, nitems(workloads), names);
	rows(thread_workloads, nthread_workloads, names);
	printf("\n");
}
