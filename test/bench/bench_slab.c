/*
 * bench_slab [-q] [-o FILE] [-d DIR] [-s SEED] [-t TABLE] [WORKLOAD ...]:
 * slab and heap beside the allocators that Debian has.
 *
 *	-q	a tenth of it, and no count
 *	-o	figures, one a line, go to FILE too
 *	-d	what is plotted goes to DIR
 *	-t	one of speed, count, trace, churn, waste, pages; otherwise all
 */
#include <sys/mman.h>
#include <sys/wait.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench_slab.h"

#define SEED		88172645463325252U

struct bench_options opt = {
	.o_slices = 15, .o_slice_ns = 10e6, .o_seed = SEED,
	.o_prefix = sizeof(void *) == 8 ? "" : "32.",
};

static double
read_clock(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

double
cpu_ns(void)
{
	return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

double
process_ns(void)
{
	return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

double
wall_ns(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

void *
harness_memory(size_t bytes)
{
	void *mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED |
	    MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (mem == MAP_FAILED)
		bench_die("no memory");
	return mem;
}

void
bench_apart(void (*fn)(void *), void *arg, const char *what)
{
	pid_t pid;
	int status;

	if (what != NULL)
		fprintf(stderr, "bench: %s\n", what);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		fn(arg);
		exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
		bench_die("a measurement failed");
}

/* Who is there. */
static void
legend(void *arg)
{
	unsigned i;

	parties_load(ALL_PARTIES, 0);
	printf("slab     ours: kmem_cache_alloc, kmem_cache_free\n"
	    "kmalloc  ours: kmalloc, kfree\n");
	for (i = FIRST_PEER; i < NPARTIES; i++)
		if (!party_there(&parties[i]))
			printf("%-8s LEFT OUT: %s\n", parties[i].pa_name,
			    party_missing(&parties[i]));
	printf("\n");
}

static void
tables(const char *only, char **names)
{
	bench_apart(legend, NULL, NULL);
	if (only == NULL || strcmp(only, "speed") == 0)
		bench_slab_speed(names);
	if (only == NULL ? !opt.o_quick : strcmp(only, "count") == 0)
		bench_slab_count();
	if (only == NULL || strcmp(only, "trace") == 0)
		bench_slab_trace();
	if (only == NULL || strcmp(only, "churn") == 0)
		bench_slab_churn();
	if (only == NULL || strcmp(only, "waste") == 0)
		bench_slab_waste();
	if (only == NULL || strcmp(only, "pages") == 0)
		bench_slab_pages();
	bench_figures_print();
}

int
main(int argc, char **argv)
{
	const char *path = NULL, *only = NULL;
	int c;

	while ((c = getopt(argc, argv, "qo:d:s:t:")) != -1)
		switch (c) {
		case 'q':
			opt.o_quick = true;
			opt.o_slices = 5;
			opt.o_slice_ns = 4e6;
			break;
		case 'o':
			path = optarg;
			break;
		case 'd':
			opt.o_dir = optarg;
			break;
		case 's':
			opt.o_seed = strtoull(optarg, NULL, 0);
			break;
		case 't':
			only = optarg;
			break;
		default:
			bench_die("usage: bench_slab [-q] [-o FILE] [-d DIR] "
			    "[-s SEED] [-t TABLE] [WORKLOAD ...]");
		}
	if (opt.o_seed == 0)
		bench_die("from a seed of 0 nothing is drawn");
	bench_figures_to(path, "slab");
	tables(only, argv + optind);
	return 0;
}
