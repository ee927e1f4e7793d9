/*
 * Each measurement runs in a process of its own, so that nobody inherits
 * another's heap; and its figures, one a line for scripts, pass through a
 * file.
 */
#include <sys/wait.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench_map.h"
#include "host.h"

static const char *figures;
static char unnamed[] = "/tmp/bench_map.XXXXXX";

static int
by_value(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

double
bench_median(double *v, size_t n)
{
	qsort(v, n, sizeof(*v), by_value);
	return n % 2 == 1 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

static FILE *
figures_open(const char *mode)
{
	FILE *f = fopen(figures, mode);

	if (f == NULL)
		bench_die("%s cannot be opened", figures);
	return f;
}

void
bench_figures_to(const char *path)
{
	int fd;

	figures = path;
	if (path == NULL) {
		fd = mkstemp(unnamed);
		if (fd == -1)
			bench_die("%s cannot be made", unnamed);
		close(fd);
		figures = unnamed;
	}
	fclose(figures_open("w"));
}

void
bench_figure(const char *unit, double ours, double peer, const char *name, ...)
{
	FILE *f = figures_open("a");
	va_list ap;

	va_start(ap, name);
	fprintf(f, "bench map.");
	vfprintf(f, name, ap);
	va_end(ap);
	fprintf(f, " ours=%.6g", ours);
	if (peer != 0)
		fprintf(f, " peer=%.6g ratio=%.3g", peer, ours / peer);
	fprintf(f, " %s\n", unit);
	fclose(f);
}

void
bench_figures_print(void)
{
	FILE *f = figures_open("r");
	int c;

	while ((c = getc(f)) != EOF)
		putchar(c);
	fclose(f);
	if (figures == unnamed)
		unlink(unnamed);
}

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
		host_boot((pfn_t)(8192 + n / 16));
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
