/*
 * bench_map_frag [-q] [-o FILE] [-d DIR]: what is left of a map's holes after
 * a long life, by policy, ours and drm_mm's.
 *
 * A life: of 2 L places one is chosen at random, again and again; if there is
 * a region it is freed, if there is none one of random size is allocated.  So
 * about L live.  All policies live the same life: where one finds no space,
 * the place stays empty.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench_map.h"

#define NOPS		400000U
#define NSAMPLES	200U
#define SEED		88172645463325252U
#define BITS		(VM_MAP_PAGE_BITS > 20 ? 64 : 32)

struct life {
	const char	*lf_name;
	unsigned	lf_sizes;	/* 1…this many pages */
	uint32_t	lf_live;	/* L */
	vsize_t		lf_npages;	/* of map */
};

/*
 * Maps with much room, and maps in which L regions of average size leave a
 * twentieth free.
 */
static const struct life lives[] = {
	{ "1-8", 8, 20000, 1 << 19 },
	{ "1-100", 100, 4000, 1 << 19 },
	{ "1-1000", 1000, 500, 1 << 19 },
	{ "1-8.full", 8, 20000, 90000 * 20 / 19 },
	{ "1-100.full", 100, 4000, 202000 * 20 / 19 },
	{ "1-1000.full", 1000, 500, 250250 * 20 / 19 },
};

enum { OURS_BEST, PEERS_BEST, OURS_FIRST, PEERS_FIRST, NPOLICIES };
static const struct policy {
	const char	*po_name;
	enum who	po_who;
	enum vm_map_policy po_policy;
	enum peer_fit	po_fit;
} policies[NPOLICIES] = {
	{ "best", CORE, VM_FIT_BEST, PEER_BEST },
	{ "drm_mm best", PEER, VM_FIT_BEST, PEER_BEST },
	{ "first", CORE, VM_FIT_FIRST, PEER_LOW },
	{ "drm_mm low", PEER, VM_FIT_FIRST, PEER_LOW },
};

struct outcome {
	struct facts	ou_sample[NSAMPLES];
	vsize_t		ou_failed;	/* requests, of those: */
	vsize_t		ou_scattered;	/* as many pages were free */
	vsize_t		ou_asked;
};

static unsigned nops = NOPS;
static const char *dir;		/* for the samples, if wanted */

static bool
alloc(struct track *t, const struct draw *d)
{
	return t->tr_who == PEER ? peer_alloc(t, d) : core_alloc(t, d);
}

static void
live_one(struct track *t, struct draw *d, bool *live, struct outcome *o)
{
	struct facts f;

	if (live[d->d_region]) {
		d->d_op = DRAW_FREE;
		track_run(t, d, 1);
		live[d->d_region] = false;
		return;
	}
	o->ou_asked++;
	live[d->d_region] = alloc(t, d);
	if (!live[d->d_region]) {
		track_facts(t, &f);
		o->ou_failed++;
		o->ou_scattered += f.fa_free >= d->d_pages;
	}
}

static void
live(const struct life *lf, const struct policy *po, struct outcome *o)
{
	bool *places = calloc(2 * lf->lf_live, sizeof(*places));
	struct rng r = { SEED };
	struct track t;
	struct draw d;
	unsigned i;

	if (places == NULL)
		bench_die("no memory");
	track_create(&t, po->po_who, 2 * lf->lf_live, lf->lf_npages);
	track_policy(&t, po->po_policy, po->po_fit);
	for (i = 0; i < nops; i++) {
		d = (struct draw){
			.d_region = rng_below(&r, 2 * lf->lf_live),
			.d_pages = (uint16_t)(1 + rng_below(&r, lf->lf_sizes)),
		};
		live_one(&t, &d, places, o);
		if ((i + 1) % (nops / NSAMPLES) == 0)
			track_facts(&t, &o->ou_sample[i / (nops / NSAMPLES)]);
	}
	track_check(&t);
	track_destroy(&t);
	free(places);
}

/* For gnuplot: operations, then holes, largest hole and span of each. */
static void
write_samples(const struct life *lf, const struct outcome *o)
{
	const struct facts *f;
	char path[256];
	unsigned i, p;
	FILE *out;

	snprintf(path, sizeof(path), "%s/frag%d-%s.dat", dir, BITS,
	    lf->lf_name);
	out = fopen(path, "w");
	if (out == NULL)
		bench_die("%s cannot be written", path);
	for (i = 0; i < NSAMPLES; i++) {
		fprintf(out, "%u", (i + 1) * (nops / NSAMPLES));
		for (p = 0; p < NPOLICIES; p++) {
			f = &o[p].ou_sample[i];
			fprintf(out, " %lu %lu %lu", (long)f->fa_holes,
			    (long)f->fa_largest, (long)f->fa_span);
		}
		fprintf(out, "\n");
	}
	fclose(out);
}

static void
report(const struct life *lf, const struct outcome *o)
{
	const struct facts *f, *peers;
	double mean;
	unsigned p, i;

	for (p = 0; p < NPOLICIES; p++) {
		for (mean = 0, i = NSAMPLES / 2; i < NSAMPLES; i++)
			mean += (double)o[p].ou_sample[i].fa_holes;
		mean /= NSAMPLES - NSAMPLES / 2;
		f = &o[p].ou_sample[NSAMPLES - 1];
		printf("%-12s %-11s %7lu %9.1f %8lu %8lu %8lu %7lu %9lu\n",
		    lf->lf_name, policies[p].po_name, f->fa_holes, mean,
		    f->fa_largest, f->fa_span, f->fa_free, o[p].ou_failed,
		    o[p].ou_scattered);
	}
	for (p = 0; p < NPOLICIES; p += 2) {
		f = &o[p].ou_sample[NSAMPLES - 1];
		peers = &o[p + 1].ou_sample[NSAMPLES - 1];
		bench_figure("holes", (double)f->fa_holes,
		    (double)peers->fa_holes, "frag%d.%s.%s.holes", BITS,
		    lf->lf_name, policies[p].po_name);
		bench_figure("pages", (double)f->fa_largest,
		    (double)peers->fa_largest, "frag%d.%s.%s.largest", BITS,
		    lf->lf_name, policies[p].po_name);
		bench_figure("pages", (double)f->fa_span,
		    (double)peers->fa_span, "frag%d.%s.%s.span", BITS,
		    lf->lf_name, policies[p].po_name);
		bench_figure("requests", (double)o[p].ou_failed,
		    (double)o[p + 1].ou_failed, "frag%d.%s.%s.failed", BITS,
		    lf->lf_name, policies[p].po_name);
	}
}

static void
lives_all(const struct workload *unused, size_t n)
{
	static struct outcome o[NPOLICIES];
	const struct life *lf;
	unsigned p;

	for (lf = lives; lf < lives + sizeof(lives) / sizeof(lives[0]); lf++) {
		fprintf(stderr, "bench: %d bits, sizes %s\n", BITS,
		    lf->lf_name);
		memset(o, 0, sizeof(o));
		for (p = 0; p < NPOLICIES; p++)
			live(lf, &policies[p], &o[p]);
		if (dir != NULL)
			write_samples(lf, o);
		report(lf, o);
	}
}

int
main(int argc, char **argv)
{
	const char *path = NULL;
	int c;

	while ((c = getopt(argc, argv, "qo:d:")) != -1)
		switch (c) {
		case 'q':
			nops = NOPS / 10;
			break;
		case 'o':
			path = optarg;
			break;
		case 'd':
			dir = optarg;
			break;
		default:
			bench_die("usage: bench_map_frag [-q] [-o FILE] "
			    "[-d DIR]");
		}
	bench_figures_to(path, "map");
	printf("After %u operations; classes of a %d-bit machine (%zu bytes "
	    "an entry,\ndrm_mm's %zu).  Pages; of the requests that failed, "
	    "the last column is those\nthat had as many pages free.\n\n"
	    "%-12s %-11s %7s %9s %8s %8s %8s %7s %9s\n", nops, BITS,
	    sizeof(struct vm_map_entry), peer_region_size, "sizes", "policy",
	    "holes", "(mean)", "largest", "span", "free", "failed",
	    "scattered");
	bench_apart(lives_all, NULL, 0);
	printf("\n");
	bench_figures_print();
	return 0;
}
