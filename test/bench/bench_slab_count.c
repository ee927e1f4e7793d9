/*
 * How many instructions: exact, and the same on a machine that is busy.
 *
 * A child runs each loop of each party between two stops; the parent has it
 * run one instruction after the other, and counts.  What the host's kernel
 * does in a system call is not seen.  A run of n operations is taken off one
 * of 2n, so that what lies around the loop falls out.
 */
#define _GNU_SOURCE
#include <sys/ptrace.h>
#include <sys/wait.h>

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench_slab.h"

/*
 * A step takes up to 30 microseconds.  A loop over one object does the same
 * each time; where sizes are drawn it takes more for an average, and a
 * workload of 1,000 objects is left out.
 */
#define OPS		20u
#define OPS_DRAWN	100u
#define WARM_OPS	200000u

static void
stop(void)
{
	raise(SIGSTOP);
}

static bool
takes_part(const struct workload *w, unsigned i)
{
	return party_there(&parties[i]) && (i != SLAB || w->w_size != 0);
}

static size_t
ops(const struct workload *w)
{
	return w->w_size != 0 ? OPS : OPS_DRAWN;
}

/*
 * The child stops when `present` says which parties take part, and then three
 * times for each of them.
 */
static void __dead2
child(const struct workload *w, unsigned flags, unsigned *present)
{
	struct kmem_cache *kc;
	unsigned i;

	parties_load(flags & CHECKED ? 0 : ALL_PARTIES, flags);
	kc = workload_cache(w);
	for (i = 0; i < NPARTIES; i++)
		if (takes_part(w, i))
			*present |= 1u << i;
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
		bench_die("ptrace");
	stop();
	for (i = 0; i < NPARTIES; i++) {
		if (!takes_part(w, i))
			continue;
		w->w_run(&parties[i], kc, w, WARM_OPS);
		stop();
		w->w_run(&parties[i], kc, w, ops(w));
		stop();
		w->w_run(&parties[i], kc, w, 2 * ops(w));
		stop();
	}
	_exit(0);
}

/* Wait until the child stops.  => by its own doing? */
static bool
stopped(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
		bench_die("count: the child ended");
	return WSTOPSIG(status) == SIGSTOP;
}

static void
go_on(pid_t pid)
{
	if (ptrace(PTRACE_CONT, pid, NULL, NULL) != 0)
		bench_die("ptrace");
}

/* The instructions to the next stop. */
static unsigned long
count(pid_t pid)
{
	unsigned long n = 0;

	do {
		if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) != 0)
			bench_die("ptrace");
		n++;
	} while (!stopped(pid));
	return n;
}

/* => by party, an operation's; 0: takes no part */
static void
count_workload(const struct workload *w, unsigned flags, double *result)
{
	unsigned *present = harness_memory(sizeof(*present)), i;
	unsigned long once;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0)
		child(w, flags, present);
	if (pid < 0 || !stopped(pid))
		bench_die("count: the child does not begin");
	for (i = 0; i < NPARTIES; i++) {
		result[i] = 0;
		if (!(*present & 1u << i))
			continue;
		go_on(pid);
		if (!stopped(pid))
			bench_die("count: a stop that is none");
		once = count(pid);
		result[i] = (double)(count(pid) - once) /
		    (double)ops(w);
	}
	go_on(pid);
	waitpid(pid, NULL, 0);
}

static void
row(const struct workload *w)
{
	const unsigned ours = w->w_size != 0 ? SLAB : KMALLOC;
	double n[NPARTIES], checked[NPARTIES], least = 0;
	unsigned i;

	fprintf(stderr, "bench: %s, instructions\n", w->w_name);
	count_workload(w, 0, n);
	count_workload(w, CHECKED, checked);
	printf("%-12s", w->w_name);
	for (i = 0; i < NPARTIES; i++) {
		if (n[i] == 0) {
			printf(" %8s", "-");
			continue;
		}
		printf(" %8.1f", n[i]);
		if (i >= FIRST_PEER && (least == 0 || n[i] < least))
			least = n[i];
	}
	printf(" %7.3f %14s %8.1f\n", least == 0 ? 0 : n[ours] / least, "",
	    checked[ours]);
	bench_figure("instructions", n[ours], least, "%sinstructions.%s",
	    opt.o_prefix, w->w_name);
	bench_figure("instructions", checked[ours], least,
	    "%sinstructions.%s.checked", opt.o_prefix, w->w_name);
}

/* One processor for both: they take turns anyway, and need not be woken. */
static void
stay_here(void)
{
	cpu_set_t here;

	CPU_ZERO(&here);
	CPU_SET(sched_getcpu(), &here);
	sched_setaffinity(0, sizeof(here), &here);
}

static void
count_table(void *arg)
{
	const struct workload *w;
	unsigned i;

	stay_here();
	printf("Instructions for an allocation and a free, the loop around "
	    "them counted in: exact.\n\n%-12s", "");
	for (i = 0; i < NPARTIES; i++)
		printf(" %8s", parties[i].pa_name);
	printf("   ratio                 checked\n");
	for (w = workloads; w < workloads + nworkloads; w++)
		if (w->w_unit <= OPS)
			row(w);
	printf("\n");
}

void
bench_slab_count(void)
{
	bench_apart(count_table, NULL, "instructions");
}
