/*
 * bench_map [-q] [-o FILE] [-s SEED] [WORKLOAD ...]: how fast a vm_map is,
 * beside Linux's drm_mm.
 *
 * Each workload and number of regions is measured in a process of its own,
 * ours and the peer in turn, slice by slice; the figures are medians of the
 * slices.  A pair is a region freed and another one taken.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench_map.h"

#define SEED		88172645463325252U
#define MAXSLICES	7

static struct {
	unsigned	slices;
	double		slice_ns;	/* what the slowest may take */
	size_t		max_n;
	size_t		max_ops;
	size_t		same_ops;
	uint64_t	seed;
	bool		quick;
} opt = { MAXSLICES, 80e6, 1000000, 400000, 20000, SEED, false };

/* Of the processor's time, so that others may use it in between. */
static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double
timed(struct bench *b, unsigned who, const struct draw *d, size_t n)
{
	double t0 = now(), t;
	size_t failed = track_run(b->b_track[who], d, n);

	t = now() - t0;
	if (failed != 0)
		bench_die("%s, n = %zu: %zu requests of %s failed",
		    b->b_work->w_name, b->b_n, failed, who_name[who]);
	return t;
}

/*
 * How many operations the slowest of them does in a slice; a multiple of 4,
 * which is the longest period of a workload's.  Doubling until it takes a
 * while also warms the caches up.
 */
static size_t
slice_ops(struct bench *b, struct draw *d)
{
	double worst = 0, t;
	size_t n;
	unsigned who;

	for (n = 16; ; n *= 2) {
		bench_draw(b, d, n);
		for (worst = 0, who = 0; who < NWHO; who++) {
			t = timed(b, who, d, n);
			if (t > worst)
				worst = t;
		}
		if (worst > opt.slice_ns / 4 || n * 2 > opt.max_ops)
			break;
	}
	t = (double)n * opt.slice_ns / worst;
	n = t > (double)opt.max_ops ? opt.max_ops : (size_t)t;
	return (n < 16 ? 16 : n) & ~(size_t)3;
}

/* Both did the same: what is in use is equal, and ours is ours. */
static void
check(struct bench *b, const char *mode)
{
	struct facts f[NWHO];
	unsigned who;

	for (who = 0; who < NWHO; who++) {
		track_check(b->b_track[who]);
		track_facts(b->b_track[who], &f[who]);
		if (f[who].fa_free != f[CORE].fa_free)
			bench_die("%s, n = %zu: %s has %lu pages free, core "
			    "%lu", b->b_work->w_name, b->b_n, who_name[who],
			    f[who].fa_free, f[CORE].fa_free);
	}
	if (memcmp(&f[CORE], &f[PUBLIC], sizeof(f[CORE])) != 0)
		bench_die("%s, n = %zu: core and public differ",
		    b->b_work->w_name, b->b_n);
	bench_figure("holes", (double)f[CORE].fa_holes,
	    (double)f[PEER].fa_holes, "holes.%s%s.n%zu", b->b_work->w_name,
	    mode, b->b_n);
}

static void
report(const struct bench *b, const char *mode, size_t pairs,
    double (*ns)[MAXSLICES])
{
	const struct workload *w = b->b_work;
	double m[NWHO];
	char target[32] = "";
	unsigned who;

	for (who = 0; who < NWHO; who++)
		m[who] = bench_median(ns[who], opt.slices);
	if (w->w_core != 0)
		snprintf(target, sizeof(target), "%.2g %.2g", w->w_core,
		    w->w_public);
	printf("%-10s%-6s%8zu %7zu %9.1f %9.1f %11.1f %7.3f %7.3f  %s\n",
	    w->w_name, mode, b->b_n, pairs, m[CORE], m[PUBLIC], m[PEER],
	    m[CORE] / m[PEER], m[PUBLIC] / m[PEER], target);
	for (who = CORE; who <= PUBLIC; who++)
		bench_figure("ns/pair", m[who], m[PEER], "%s.%s%s.n%zu",
		    who_name[who], w->w_name, mode, b->b_n);
}

static void
measure(struct bench *b, const char *mode)
{
	struct draw *d = calloc(opt.max_ops, sizeof(*d));
	double ns[NWHO][MAXSLICES];
	size_t n, i, pairs = 0;
	unsigned s, k, who;

	if (d == NULL)
		bench_die("no memory");
	n = slice_ops(b, d);
	for (s = 0; s < opt.slices; s++) {
		bench_draw(b, d, n);
		for (pairs = 0, i = 0; i < n; i++)
			pairs += (d[i].d_op & DRAW_ALLOC) != 0;
		for (k = 0; k < NWHO; k++) {
			who = (s + k) % NWHO;
			ns[who][s] = timed(b, who, d, n) / (double)pairs;
		}
	}
	check(b, mode);
	report(b, mode, pairs, ns);
	free(d);
}

static void
policy(struct bench *b, enum vm_map_policy policy, enum peer_fit fit)
{
	unsigned who;

	for (who = 0; who < NWHO; who++)
		track_policy(b->b_track[who], policy, fit);
}

static void
speed(const struct workload *w, size_t n)
{
	struct bench b;

	bench_create(&b, w, n, opt.seed, (1 << NWHO) - 1);
	measure(&b, "");
	if (w->w_shape) {
		policy(&b, VM_FIT_FIRST, PEER_LOW);
		measure(&b, ".first");
	}
	bench_destroy(&b);
}

static void
same(const struct workload *w, size_t n)
{
	bench_same(w, n, opt.same_ops, opt.seed);
}

static void
legend(const struct workload *unused, size_t n)
{
	size_t i;

	printf("vm_map (%zu bytes an entry, one every %zu) beside Linux's "
	    "drm_mm (%zu bytes a\nnode, one every %zu); seed %llu.\n"
	    "Nanoseconds of processor time for a pair of free and alloc: "
	    "medians of %u slices.\n\n"
	    "core    find and link an entry that the caller has, unlink it\n"
	    "public  vm_map_alloc, vm_map_free by address\n"
	    "peer    drm_mm_insert_node_in_range(..., DRM_MM_INSERT_BEST), or "
	    "_LOW where it says\n        .first, of a node that the caller "
	    "has, cleared as drm_mm wants it, and\n        "
	    "drm_mm_remove_node\n\n",
	    roundup2(sizeof(struct vm_map_entry), 8), entry_stride(),
	    peer_region_size, roundup2(peer_region_size, 64),
	    (unsigned long long)opt.seed, opt.slices);
	for (i = 0; i < nworkloads; i++)
		printf("%-15s %s\n", workloads[i].w_name,
		    workloads[i].w_what);
	bench_figure("bytes", (double)entry_stride(),
	    (double)roundup2(peer_region_size, 64), "bytes.stride");
	bench_figure("bytes", (double)sizeof(struct vm_map_entry),
	    (double)peer_region_size, "bytes.entry");
}

static void
run(char **names)
{
	printf("\n%-16s%8s %7s %9s %9s %11s %15s  %s\n%56s %15s\n",
	    "workload", "n", "pairs", "core", "public", "peer",
	    "core/ public/", "targets", "", "peer    peer");
	bench_each(speed, names, opt.max_n);
	printf("\nThe same request in the same state: whose hole is smaller, "
	    "are they one?\n%-15s %8s %9s %9s %9s %9s %9s\n",
	    "workload", "n", "requests", "same", "ours", "peer's", "one");
	bench_each(same, names, opt.quick ? 1000 : 10000);
	printf("\n");
	bench_figures_print();
}

static void
options(int argc, char **argv)
{
	const char *path = NULL;
	int c;

	while ((c = getopt(argc, argv, "qo:s:")) != -1)
		switch (c) {
		case 'q':
			opt.quick = true;
			opt.slices = 3;
			opt.slice_ns = 10e6;
			opt.max_n = 10000;
			opt.max_ops = 40000;
			opt.same_ops = 2000;
			break;
		case 'o':
			path = optarg;
			break;
		case 's':
			opt.seed = strtoull(optarg, NULL, 0);
			break;
		default:
			bench_die("usage: bench_map [-q] [-o FILE] [-s SEED] "
			    "[WORKLOAD ...]");
		}
	if (opt.seed == 0)
		bench_die("from a seed of 0 nothing is drawn");
	bench_figures_to(path, "map");
}

int
main(int argc, char **argv)
{
	options(argc, argv);
	bench_apart(legend, NULL, 0);
	run(argv + optind);
	return 0;
}
