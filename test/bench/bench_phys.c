/*
 * vm_phys against a flat bitmap, on the host.
 *
 * The yardstick (flat) is what a kernel begins with: one bit a frame, a word
 * at a time, and a hint below which nothing is free.  It has no lock, no
 * zones, no owner and no counters.  The same with a lock and with a struct
 * vm_page a frame, that has an owner and is looked at before it is freed, is
 * the yardstick made like vm_phys: what is left is the difference that the
 * search makes.  And the bitmap with summaries alone is what vm_phys searches
 * by, without what vm_phys keeps at hand: compare it with the yardstick.
 *
 * Each side has a memory of its own and the same shuffled list of frames that
 * are out.  A round gives every side its turn; a figure is the median of the
 * rounds, in processor time, so that who else runs on the machine disturbs
 * little.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <libkern/bitmap.h>
#include <libkern/libkern.h>
#include <vm/vm_host.h>
#include <vm/vm_phys.h>

#include "bench.h"

#define NFRAMES		PFN_MAX		/* 4 GiB */
#define ROUNDS		15
#define NONE		PFN_MAX

/*
 * The yardstick.  A set bit is a free frame.
 */
struct flat {
	uint32_t f_bits[NFRAMES / 32];
	uint32_t f_hint;		/* no word below has a free frame */
};

static void
flat_free(struct flat *f, pfn_t pfn, pfn_t n)
{
	if (pfn / 32 < f->f_hint)
		f->f_hint = pfn / 32;
	for (; n > 0; n--, pfn++)
		f->f_bits[pfn / 32] |= 1u << (pfn % 32);
}

static void
flat_none(struct flat *f)
{
	memset(f->f_bits, 0, sizeof(f->f_bits));
	f->f_hint = nitems(f->f_bits);
}

static pfn_t
flat_alloc_one(struct flat *f)
{
	uint32_t w, bit;

	for (w = f->f_hint; w < nitems(f->f_bits); w++)
		if (f->f_bits[w] != 0) {
			bit = bit_lowest32(f->f_bits[w]);
			f->f_bits[w] &= f->f_bits[w] - 1;
			f->f_hint = w;
			return w * 32 + bit;
		}
	f->f_hint = w;
	return NONE;
}

/* First fit: whole words of nothing are skipped, the rest is counted. */
static pfn_t
flat_alloc(struct flat *f, pfn_t n)
{
	pfn_t pfn, have = 0;

	if (n == 1)
		return flat_alloc_one(f);
	for (pfn = f->f_hint * 32; pfn < NFRAMES; pfn++) {
		if (f->f_bits[pfn / 32] == 0) {
			have = 0;
			pfn |= 31;
			continue;
		}
		have = (f->f_bits[pfn / 32] >> (pfn % 32) & 1) ? have + 1 : 0;
		if (have < n)
			continue;
		for (pfn = pfn + 1 - n; have > 0; have--, pfn++)
			f->f_bits[pfn / 32] &= ~(1u << (pfn % 32));
		return pfn - n;
	}
	return NONE;
}

/* The sides, through one pair of functions. */
struct side {
	pfn_t	(*s_alloc)(pfn_t n);
	void	(*s_free)(pfn_t pfn, pfn_t n);
};

static bool as_runs;		/* one frame, too */

static pfn_t
ours_alloc(pfn_t n)
{
	paddr_t pa;
	int error;

	error = n == 1 && !as_runs ? vm_phys_alloc(VM_PAGE_USER, &pa) :
	    vm_phys_alloc_run(n, 1, 0, 0, NFRAMES, VM_PAGE_USER, &pa);
	return error == 0 ? (pfn_t)atop(pa) : NONE;
}

static void
ours_free(pfn_t pfn, pfn_t n)
{
	if (n == 1 && !as_runs)
		vm_phys_free(ptoa(pfn));
	else
		vm_phys_free_run(ptoa(pfn), n);
}

static bool
ours_used(pfn_t pfn)
{
	return vm_phys_page(ptoa(pfn))->pg_owner != VM_PAGE_FREE;
}

static struct flat peer;

static pfn_t
peer_alloc(pfn_t n)
{
	return flat_alloc(&peer, n);
}

static void
peer_free(pfn_t pfn, pfn_t n)
{
	flat_free(&peer, pfn, n);
}

/* The yardstick with a lock, and with owners against double frees. */
static struct flat locked;
static struct vm_mtx locked_mtx;
static struct vm_page locked_pages[NFRAMES];

static pfn_t
locked_alloc(pfn_t n)
{
	pfn_t pfn, i;

	vm_mtx_enter(&locked_mtx);
	pfn = flat_alloc(&locked, n);
	for (i = 0; i < n && pfn != NONE; i++) {
		locked_pages[pfn + i].pg_owner = VM_PAGE_USER;
		locked_pages[pfn + i].pg_refs = 1;
	}
	vm_mtx_exit(&locked_mtx);
	return pfn;
}

static void
locked_free(pfn_t pfn, pfn_t n)
{
	pfn_t i;

	vm_mtx_enter(&locked_mtx);
	for (i = 0; i < n; i++) {
		if (locked_pages[pfn + i].pg_owner == VM_PAGE_FREE)
			abort();
		locked_pages[pfn + i] =
		    (struct vm_page){ .pg_owner = VM_PAGE_FREE };
	}
	flat_free(&locked, pfn, n);
	vm_mtx_exit(&locked_mtx);
}

/* The bitmap that vm_phys has, by itself; an ordinary request's zone. */
static struct bitmap index_bm;

static pfn_t
index_alloc(pfn_t n)
{
	pfn_t pfn;

	if (n > 1) {
		pfn = bitmap_find_run(&index_bm, n, 1, 0, NFRAMES);
		if (pfn != NFRAMES)
			bitmap_clear_range(&index_bm, pfn, pfn + n);
		return pfn;
	}
	pfn = bitmap_next_set(&index_bm, 1u << (24 - PAGE_SHIFT));
	if (pfn == NFRAMES)
		pfn = bitmap_next_set(&index_bm, 0);
	if (pfn != NFRAMES)
		bitmap_clear(&index_bm, pfn);
	return pfn;
}

static void
index_free(pfn_t pfn, pfn_t n)
{
	bitmap_set_range(&index_bm, pfn, pfn + n);
}

enum { OURS, PEER, INDEX, LOCKED, NSIDES };

static const struct side sides[NSIDES] = {
	[OURS] =	{ ours_alloc, ours_free },
	[PEER] =	{ peer_alloc, peer_free },
	[INDEX] =	{ index_alloc, index_free },
	[LOCKED] =	{ locked_alloc, locked_free },
};

/* Processor time, in ns. */
static double
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

/* A row of the table, and the same for scripts. */
static void
row(const char *what, const char *name, const double t[NSIDES])
{
	printf("%-12s %9.1f %9.1f %8.1fx %9.1f %8.1fx %9.1f %8.1fx\n", what,
	    t[OURS], t[PEER], t[PEER] / t[OURS], t[LOCKED],
	    t[LOCKED] / t[OURS], t[INDEX], t[PEER] / t[INDEX]);
	bench_figure("ns/pair", t[OURS], t[PEER], "%s", name);
	bench_figure("ns/pair", t[OURS], t[LOCKED], "locked-%s", name);
	bench_figure("ns/pair", t[INDEX], t[PEER], "index-%s", name);
}

static void
head(const char *what)
{
	printf("%-12s %9s %9s %9s %9s %9s %9s %9s\n", what, "vm_phys", "flat",
	    "times", "+ lock", "times", "summaries", "to flat");
}

/* All frames taken, on all sides. */
static void
take_all(void)
{
	static void *mem, *bits;

	if (mem == NULL) {
		mem = malloc(vm_phys_size(NFRAMES));
		bits = malloc(bitmap_size(NFRAMES));
	}
	if (mem == NULL || bits == NULL)
		bench_die("no memory for 4 GB of frames");
	bitmap_init(&index_bm, bits, NFRAMES);
	vm_phys_init(mem, NFRAMES);
	vm_mtx_init(&locked_mtx, "yardstick");
	memset(locked_pages, VM_PAGE_USER, sizeof(locked_pages));
	vm_phys_add(0, NFRAMES);
	as_runs = false;
	while (ours_alloc(1) != NONE)
		;
	flat_none(&peer);
	flat_none(&locked);
}

static void
check_all(void)
{
	if (vm_phys_check() != NULL || bitmap_check(&index_bm) != NULL)
		bench_die("a structure is broken");
}

/*
 * Frames.  A step gives back `many` random ones of those in use, and takes as
 * many: the fill level stays.
 */
static pfn_t out[NSIDES][NFRAMES];	/* in use, in no order */
static pfn_t out_next[NSIDES];		/* the next one to give back */

static double
steps(unsigned side, pfn_t nout, unsigned many, unsigned count)
{
	const struct side *s = &sides[side];
	pfn_t *list = out[side], next = out_next[side];
	double t0 = now();
	unsigned i, j;

	for (i = 0; i < count; i += many) {
		if (next + many > nout)
			next = 0;
		for (j = 0; j < many; j++)
			s->s_free(list[next + j], 1);
		for (j = 0; j < many; j++)
			list[next + j] = s->s_alloc(1);
		next += many;
	}
	out_next[side] = next;
	return (now() - t0) / i;
}

/* Which frames are out: all, in an order drawn from a seed. */
static void
shuffle(pfn_t *list)
{
	struct rng rng = { 42 };
	pfn_t i, j, pfn;

	for (i = 0; i < NFRAMES; i++)
		list[i] = i;
	for (i = NFRAMES; i-- > 1;) {
		j = rng_below(&rng, i + 1);
		pfn = list[i];
		list[i] = list[j];
		list[j] = pfn;
	}
}

static void
frames(const char *level, pfn_t nfree, unsigned many)
{
	static const unsigned counts[NSIDES] = { 60000, 2000, 60000, 2000 };
	double t[NSIDES][ROUNDS], m[NSIDES];
	pfn_t nout = NFRAMES - nfree, i;
	unsigned side, r;
	char name[64];

	take_all();
	for (side = 0; side < NSIDES; side++) {
		shuffle(out[side]);
		for (i = NFRAMES; i > nout; i--)
			sides[side].s_free(out[side][i - 1], 1);
		out_next[side] = 0;
		steps(side, nout, many, counts[side]);
	}
	for (r = 0; r < ROUNDS; r++)
		for (side = 0; side < NSIDES; side++)
			t[side][r] = steps(side, nout, many, counts[side]);
	check_all();
	for (side = 0; side < NSIDES; side++)
		m[side] = bench_median(t[side], ROUNDS);
	snprintf(name, sizeof(name), "%s-%s", many == 1 ? "frame" : "batch",
	    level);
	row(level, name, m);
}

static void
all_frames(unsigned many)
{
	static const struct {
		const char *level;
		pfn_t	 nfree;
	} levels[] = {
		{ "50%", NFRAMES / 2 }, { "90%", NFRAMES / 10 },
		{ "99%", NFRAMES / 100 }, { "99.9%", NFRAMES / 1000 },
		{ "99.99%", NFRAMES / 10000 },
	};
	unsigned i;

	printf("\n%u frames; give back %u at random, take %u; ns for a pair, "
	    "by fill level\n", NFRAMES, many, many);
	head("full");
	for (i = 0; i < nitems(levels); i++)
		frames(levels[i].level, levels[i].nfree, many);
}

/*
 * Runs, in a memory of which a part is free, in pieces of 1 to 64 frames
 * and a few of up to 2,048.
 */
static void
fragment(unsigned percent)
{
	struct rng rng = { 7 };
	pfn_t pfn, n, left = NFRAMES / 100 * percent;

	take_all();
	while (left > 0) {
		n = 1 + rng_below(&rng, rng_below(&rng, 512) == 0 ? 2048 : 64);
		if (n > left)
			n = left;
		pfn = rng_below(&rng, NFRAMES - n);
		for (; n > 0; n--, pfn++)
			if (ours_used(pfn)) {
				for (unsigned i = 0; i < NSIDES; i++)
					sides[i].s_free(pfn, 1);
				left--;
			}
	}
	as_runs = true;
}

#define BATCH	64
#define SHORT	32		/* runs up to this are over too soon, */
#define AGAIN	16		/* and measured so many at a time */

/* Some batches of runs taken, and given back; the mean of both together. */
static double
batches(const struct side *s, pfn_t n, unsigned *got)
{
	unsigned again = n <= SHORT ? AGAIN : 1, i, j;
	pfn_t run[BATCH];
	double t0;

	t0 = now();
	for (j = 0; j < again; j++) {
		for (i = *got = 0; i < BATCH; i++) {
			run[i] = s->s_alloc(n);
			*got += run[i] != NONE;
		}
		while (i-- > 0)
			if (run[i] != NONE)
				s->s_free(run[i], n);
	}
	return (now() - t0) / (BATCH * again);
}

/* Runs of n; => how many of a batch were found, by which all sides agree. */
static unsigned
runs_of(pfn_t n, double m[NSIDES])
{
	double t[NSIDES][ROUNDS];
	unsigned r, side, got[NSIDES];

	for (r = 0; r < ROUNDS; r++)
		for (side = 0; side < NSIDES; side++) {
			batches(&sides[side], n, &got[side]);	/* warm up */
			t[side][r] = batches(&sides[side], n, &got[side]);
		}
	for (side = 0; side < NSIDES; side++) {
		m[side] = bench_median(t[side], ROUNDS);
		if (got[side] != got[OURS])
			bench_die("runs of %u: %u found, or %u", n, got[OURS],
			    got[side]);
	}
	return got[OURS];
}

static void
runs(unsigned percent)
{
	double m[NSIDES], found;
	char what[32], name[64];
	pfn_t n;

	printf("\n%u%% free, fragmented: %u runs taken, and given back; ns for "
	    "a pair\n", percent, BATCH);
	head("run, found");
	fragment(percent);
	for (n = 1; n <= 1024; n *= 2) {
		found = runs_of(n, m) * 100.0 / BATCH;
		snprintf(what, sizeof(what), "%u, %.0f%%", n, found);
		snprintf(name, sizeof(name), "run-%u-free%u", n, percent);
		row(what, name, m);
		bench_figure("%", found, found, "run-%u-free%u-success", n,
		    percent);
	}
	check_all();
}

int
main(int argc, char **argv)
{
	const size_t pages = NFRAMES * sizeof(struct vm_page);

	bench_figures_to(argc > 1 ? argv[1] : NULL, "phys");
	printf("flat: a flat bitmap with a hint; + lock: that with a lock and "
	    "owners;\nsummaries: vm_phys's bitmap alone, and how many times "
	    "faster that is than flat\n");
	all_frames(1);
	all_frames(64);
	runs(20);
	runs(50);
	printf("\nbookkeeping for 4 GB: bitmap %zu bytes, states %zu, vm_pages "
	    "%zu (12 bytes each on i386): %.0f bytes a MB\n",
	    bitmap_size(NFRAMES), vm_phys_size(NFRAMES) -
	    bitmap_size(NFRAMES) - pages, pages,
	    (double)vm_phys_size(NFRAMES) / 4096);
	bench_figure("bytes", (double)bitmap_size(NFRAMES), 0, "bitmap-4GB");
	bench_figure("bytes", (double)vm_phys_size(NFRAMES) / 4096, 0,
	    "bytes-per-MB");
	printf("\n");
	bench_figures_print();
	return 0;
}
