/*
 * What all benchmarks share.  A measurement runs in a process of its own, so
 * figures pass through a file.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench.h"

static const char *figures, *group;
static char unnamed[] = "/tmp/bench.XXXXXX";

uint32_t
rng_below(struct rng *r, uint32_t n)
{
	return (uint32_t)((uint64_t)k_random(&r->r_state) * n >> 32);
}

void
bench_die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fprintf(stderr, "bench: ");
	vfprintf(stderr, fmt, ap);
	fprintf(stderr, "\n");
	va_end(ap);
	exit(1);
}

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
bench_figures_to(const char *path, const char *name)
{
	int fd;

	group = name;
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
	fprintf(f, "bench %s.", group);
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
