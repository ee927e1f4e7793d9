/*
 * How fast: one table, a row for each workload, a column for each party.
 *
 * Each workload runs in some processes of its own: where in the machine's
 * memory a process's pages happen to lie makes some percent.  In each of them
 * all parties do the same in turn, slice by slice, each time beginning with
 * another one, and the figures are medians of all slices.  The peer of a row
 * is the fastest one.
 *
 * One thread is measured by its processor's time, so that others may use the
 * machine in between; several by the clock, as waiting for each other is part
 * of what they cost: that wants a machine with nothing else to do.  The row
 * below has what they took of the processors.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench_slab.h"
#include "host.h"

#define WARM_UP		5u		/* slices, before any is timed */
#define PROCESSES	3u		/* which share the slices */

/*
 * Measuring.
 */
struct row {
	const struct workload *r_work;
	unsigned	 r_flags;	/* of parties_load */
	unsigned	 r_begin, r_end;	/* the slices of this process */
	struct kmem_cache *r_cache;
	double		 r_ns[NPARTIES][MAXSLICES];
	double		 r_median[NPARTIES];	/* 0: takes no part */
	double		 r_last_cpu;	/* of the last run */
	double		 r_cpu_ns[NPARTIES][MAXSLICES];
	double		 r_cpu[NPARTIES];
	double		 r_calls;	/* of the host's, ours, an operation */
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
	double cpu = process_ns(), t = clock();

	w->w_run(&parties[i], r->r_cache, w, n);
	t = clock() - t;
	r->r_last_cpu = process_ns() - cpu;
	if (i == ours(r))
		r->r_calls = (double)(host_syscalls() - calls) / (double)n;
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
cells(const double *v)
{
	unsigned i;

	for (i = 0; i < NPARTIES; i++)
		if (v[i] != 0)
			printf(" %8.1f", v[i]);
		else
			printf(" %8s", "-");
}

/* The fastest of the peers. */
static unsigned
fastest(const double *v)
{
	unsigned i, best = 0;

	for (i = FIRST_PEER; i < NPARTIES; i++)
		if (v[i] != 0 && (best == 0 || v[i] < v[best]))
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
	bench_figure("ns/op", checked->r_median[ours(r)], r->r_median[peer],
	    "%s%s.%u.checked", opt.o_prefix, w->w_name, w->w_threads);
}

/* Of several threads: what all of them took of the processors. */
static void
report_cpu(const struct row *r)
{
	const unsigned peer = fastest(r->r_cpu);

	printf("%12s", "processors");
	cells(r->r_cpu);
	printf(" %7.3f\n", r->r_cpu[ours(r)] / r->r_cpu[peer]);
	bench_figure("ns/op", r->r_cpu[ours(r)], r->r_cpu[peer],
	    "%s%s.%u.cpu", opt.o_prefix, r->r_work->w_name,
	    r->r_work->w_threads);
}

static void
report(const struct row *r)
{
	const struct workload *w = r->r_work;
	unsigned peer = fastest(r->r_median);
	double ratio;

	printf("%-10s%2u", w->w_name, w->w_threads);
	cells(r->r_median);
	if (peer == 0) {
		printf("  no peer\n");
		return;
	}
	ratio = r->r_median[ours(r)] / r->r_median[peer];
	printf(" %7.3f %5.2f %-8s%8.1f %7.3f\n", ratio, w->w_target,
	    ratio <= w->w_target ? "met" : "NOT MET",
	    checked->r_median[ours(r)], 1000 * r->r_calls);
	figures(r, peer);
	if (w->w_threads > 1)
		report_cpu(r);
}

static void
measure(void *arg)
{
	struct row *r = arg;
	size_t n;
	unsigned s, k, i;

	parties_load(r->r_flags & CHECKED ? 0 : ALL_PARTIES, r->r_flags);
	r->r_cache = workload_cache(r->r_work);
	/* The first time is no measure of anything. */
	for (i = 0; i < NPARTIES; i++)
		if (takes_part(r, i))
			timed(r, i, r->r_work->w_unit);
	n = slice_ops(r);
	for (i = 0; i < NPARTIES; i++)
		if (takes_part(r, i))
			timed(r, i, n * WARM_UP);
	for (s = r->r_begin; s < r->r_end; s++) {
		for (k = 0; k < NPARTIES; k++) {
			i = (s + k) % NPARTIES;
			if (!takes_part(r, i))
				continue;
			r->r_ns[i][s] = timed(r, i, n) / (double)n;
			r->r_cpu_ns[i][s] = r->r_last_cpu / (double)n;
		}
	}
}

/* In all processes, one after the other. */
static void
measure_all(struct row *r)
{
	unsigned i;

	for (i = 0; i < PROCESSES; i++) {
		r->r_begin = i * opt.o_slices / PROCESSES;
		r->r_end = (i + 1) * opt.o_slices / PROCESSES;
		bench_apart(measure, r, i != 0 || r->r_flags != 0 ? NULL :
		    r->r_work->w_name);
	}
	for (i = 0; i < NPARTIES; i++) {
		if (r->r_ns[i][0] == 0)
			continue;	/* takes no part */
		r->r_median[i] = bench_median(r->r_ns[i], opt.o_slices);
		r->r_cpu[i] = bench_median(r->r_cpu_ns[i], opt.o_slices);
	}
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
		measure_all(plain);
		measure_all(checked);
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
	legend(workloads, nworkloads);
	legend(thread_workloads, nthread_workloads);
	printf("\nNanoseconds for an allocation and a free; medians of %u "
	    "slices of %.0f ms, in turn,\nin %u processes, after a warm-up.  "
	    "The ratio is that of slab, or of kmalloc\nwhere slab has none, "
	    "to the fastest peer's.  Checked: the same with KMD_CHECK.\n"
	    "Calls: of the host's mmap and the like, by our machine, for "
	    "1,000 operations.\n\n"
	    "%-12s", opt.o_slices, opt.o_slice_ns / 1e6, PROCESSES,
	    "  threads");
	for (i = 0; i < NPARTIES; i++)
		printf(" %8s", parties[i].pa_name);
	printf("   ratio target         checked   calls\n");
	fflush(stdout);
	rows(workloads, nworkloads, names);
	rows(thread_workloads, nthread_workloads, names);
	printf("\n");
}
