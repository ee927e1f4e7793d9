/*
 * Each measurement runs in a process of its own, so that nobody inherits
 * another's heap.
 */
#include <sys/wait.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench_map.h"
#include "host.h"

void
bench_apart(bench_fn *fn, const struct workload *w, size_t n)
{
	pid_t pid;
	int status;

	if (w != NULL)
		fprintf(stderr, "bench: %s, n = %zu\n", w->w_name, n);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		/* A frame has room for more than 16 entries. */
		host_boot((pfn_t)(8192 +
		    (w != NULL ? bench_regions(w, n) : 0) / 16));
		fn(w, n);
		exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
		bench_die("a measurement failed");
}

static bool
wanted(const struct workload *w, char **names)
{
	if (*names == NULL)
		return true;
	for (; *names != NULL; names++)
		if (strcmp(*names, w->w_name) == 0)
			return true;
	return false;
}

void
bench_each(bench_fn *fn, char **names, size_t max_n)
{
	const struct workload *w;
	size_t n;

	for (w = workloads; w < workloads + nworkloads; w++) {
		if (!wanted(w, names))
			continue;
		if (w->w_shape) {
			bench_apart(fn, w, w->w_only_n);
			continue;
		}
		for (n = 100; n <= max_n; n *= 10)
			if (w->w_max_n == 0 || n <= w->w_max_n)
				bench_apart(fn, w, n);
	}
}
