/*
 * bench_map_visits [-q] [-o FILE] [WORKLOAD ...]: how many nodes a search
 * reads, in the workloads of bench_map.  The searches are vm_map_space.c's,
 * compiled here once more, so as to count.
 */
#define VM_SPACE_COUNT
#include <vm/vm_map_space.c>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench_map.h"

#define SEED	88172645463325252U

static size_t nops = 100000;

struct count {
	unsigned long	c_sum, c_worst, c_finds;
};

/* What track_run() does, and count. */
static void
count(struct track *t, const struct draw *d, struct count *c)
{
	unsigned long was = space_visits, n;

	if (d->d_op & DRAW_FREE)
		core_free(t, d->d_region);
	if ((d->d_op & DRAW_ALLOC) == 0)
		return;
	if (!core_alloc(t, d))
		bench_die("no space");
	n = space_visits - was;
	c->c_sum += n;
	c->c_worst = n > c->c_worst ? n : c->c_worst;
	c->c_finds++;
}

static void
visits(const struct workload *w, size_t n)
{
	struct draw *d = calloc(nops, sizeof(*d));
	struct count c = { 0 };
	struct track *t;
	struct bench b;
	double mean;
	size_t i;

	if (d == NULL)
		bench_die("no memory");
	bench_create(&b, w, n, SEED, 1 << CORE);
	t = b.b_track[CORE];
	bench_draw(&b, d, nops);
	for (i = 0; i < nops; i++)
		count(t, &d[i], &c);
	mean = (double)c.c_sum / (double)c.c_finds;
	printf("%-15s %8zu %8.1f %8lu %12.1f %12llu\n", w->w_name, n,
	    mean, c.c_worst, 2 * log2((double)t->tr_nregions + 2),
	    (unsigned long long)t->tr_map.vm_stats.vms_last_resort);
	bench_figure("nodes/find", mean, 0, "visits.mean.%s.n%zu",
	    w->w_name, n);
	bench_figure("nodes/find", (double)c.c_worst, 0,
	    "visits.worst.%s.n%zu", w->w_name, n);
	bench_destroy(&b);
	free(d);
}

int
main(int argc, char **argv)
{
	const char *path = NULL;
	size_t max_n = 1000000;
	int c;

	while ((c = getopt(argc, argv, "qo:")) != -1)
		switch (c) {
		case 'q':
			max_n = 10000;
			nops = 10000;
			break;
		case 'o':
			path = optarg;
			break;
		default:
			bench_die("usage: bench_map_visits [-q] [-o FILE] "
			    "[WORKLOAD ...]");
		}
	bench_figures_to(path, "map");
	printf("Nodes that a search by best fit reads.\n\n"
	    "%-15s %8s %8s %8s %12s %12s\n", "workload", "n", "mean",
	    "worst", "2 log2(n+2)", "last resort");
	bench_each(visits, argv + optind, max_n);
	printf("\n");
	bench_figures_print();
	return 0;
}
