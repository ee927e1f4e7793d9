/*
 * vm_phys against a flat bitmap, on the host.
 *
 * The yardstick is what a kernel begins with: one bit a frame, a word at a
 * time, and a hint below which nothing is free.  It has no lock, no zones,
 * no owner and no counters.  phys-index compares it with its like, the
 * bitmap with summaries alone; phys-frame and phys-run with all of vm_phys,
 * where a frame chosen at random costs a miss or two in a page array of
 * 24 MB besides.
 *
 * Each side has the same shuffled list of frames that are out, and gives back
 * the next one of it: no side has to look for one, and no side's list costs
 * more than another's.  phys-locked is the yardstick made
 * like vm_phys, with its mutex and a struct vm_page a frame that has an owner
 * and is looked at before it is freed: what is left is the difference that
 * the search makes.
 *
 * Each figure is the median of several rounds.  Lines that begin with "bench"
 * are for scripts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <libkern/bitmap.h>
#include <libkern/libkern.h>
#include <vm/vm_host.h>
#include <vm/vm_phys.h>

#define NFRAMES		PFN_MAX		/* 4 GiB */
#define ROUNDS		7
#define NONE		PFN_MAX

/*
 * The yardstick.  A set bit is a free frame.
 */
static uint32_t flat[NFRAMES / 32];
static uint32_t flat_hint;		/* no word below has a free frame */

static void
flat_free(pfn_t pfn, pfn_t n)
{
	if (pfn / 32 < flat_hint)
		flat_hint = pfn / 32;
	for (; n > 0; n--, pfn++)
		flat[pfn / 32] |= 1u << (pfn % 32);
}

static void
flat_none(void)
{
	memset(flat, 0, sizeof(flat));
	flat_hint = nitems(flat);
}

static pfn_t
flat_alloc(void)
{
	uint32_t w, bit;

	for (w = flat_hint; w < nitems(flat); w++)
		if (flat[w] != 0) {
			bit = bit_lowest32(flat[w]);
			flat[w] &= flat[w] - 1;
			flat_hint = w;
			return w * 32 + bit;
		}
	flat_hint = w;
	return NONE;
}

/* First fit: whole words of nothing are skipped, the rest is counted. */
static pfn_t
flat_alloc_run(pfn_t n)
{
	pfn_t pfn, have = 0;

	for (pfn = flat_hint * 32; pfn < NFRAMES; pfn++) {
		if (flat[pfn / 32] == 0) {
			have = 0;
			pfn |= 31;
			continue;
		}
		have = (flat[pfn / 32] >> (pfn % 32) & 1) ? have + 1 : 0;
		if (have < n)
			continue;
		for (pfn = pfn + 1 - n; have > 0; have--, pfn++)
			flat[pfn / 32] &= ~(1u << (pfn % 32));
		return pfn - n;
	}
	return NONE;
}

/* The sides, through one pair of functions. */
struct side {
	pfn_t	(*s_alloc)(pfn_t n);
	void	(*s_free)(pfn_t pfn, pfn_t n);
};

static pfn_t
ours_alloc(pfn_t n)
{
	paddr_t pa;
	int error;

	error = n == 1 ? vm_phys_alloc(VM_PAGE_USER, &pa) :
	    vm_phys_alloc_run(n, 1, 0, 0, NFRAMES, VM_PAGE_USER, &pa);
	return error == 0 ? (pfn_t)atop(pa) : NONE;
}

static void
ours_free(pfn_t pfn, pfn_t n)
{
	if (n == 1)
		vm_phys_free(ptoa(pfn));
	else
		vm_phys_free_run(ptoa(pfn), n);
}

static bool
ours_used(pfn_t pfn)
{
	return vm_phys_page(ptoa(pfn))->pg_owner != VM_PAGE_FREE;
}

static pfn_t
peer_alloc(pfn_t n)
{
	return n == 1 ? flat_alloc() : flat_alloc_run(n);
}

/* The yardstick with a lock, and with owners against double frees. */
static struct vm_mtx locked_mtx;
static struct vm_page locked_pages[NFRAMES];

static pfn_t
locked_alloc(pfn_t n)
{
	pfn_t pfn, i;

	vm_mtx_enter(&locked_mtx);
	pfn = peer_alloc(n);
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
	flat_free(pfn, n);
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
	[PEER] =	{ peer_alloc, flat_free },
	[INDEX] =	{ index_alloc, index_free },
	[LOCKED] =	{ locked_alloc, locked_free },
};

static double
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static int
by_size(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static double
median(double *v, unsigned n)
{
	qsort(v, n, sizeof(*v), by_size);
	return v[n / 2];
}

static void
line(const char *name, double ours, double peer, const char *unit)
{
	printf("bench %s ours=%.1f peer=%.1f ratio=%.2f %s\n", name, ours,
	    peer, peer / ours, unit);
}

/* All frames taken, on both sides. */
static void
take_all(void)
{
	static void *mem, *bits;

	if (mem == NULL) {
		mem = malloc(vm_phys_size(NFRAMES));
		bits = malloc(bitmap_size(NFRAMES));
	}
	if (mem == NULL || bits == NULL)
		abort();
	bitmap_init(&index_bm, bits, NFRAMES);
	vm_phys_init(mem, NFRAMES);
	vm_mtx_init(&locked_mtx, "yardstick");
	memset(locked_pages, VM_PAGE_USER, sizeof(locked_pages));
	vm_phys_add(0, NFRAMES);
	while (ours_alloc(1) != NONE)
		;
	flat_none();
}

/*
 * One frame.  A step gives back a random one of those in use, and takes one:
 * the fill level stays.
 */
static pfn_t out[NFRAMES];		/* in use, in no order */
static pfn_t out_next;			/* the next one to give back */

static double
steps(const struct side *s, pfn_t nout, unsigned count)
{
	double t0 = now();
	unsigned i;

	for (i = 0; i < count; i++) {
		s->s_free(out[out_next], 1);
		out[out_next] = s->s_alloc(1);
		if (++out_next == nout)
			out_next = 0;
	}
	return (now() - t0) / count;
}

/*
 * One side, on a memory of its own of which nfree random frames are free.
 * The first round is for warming up, and is not counted.
 */
static double
frames_side(const struct side *s, pfn_t nfree, unsigned count)
{
	pfn_t nout = NFRAMES, i, j, pfn;
	uint64_t seed = 42;
	double t[ROUNDS];
	unsigned r;

	take_all();
	for (i = 0; i < NFRAMES; i++)
		out[i] = i;
	for (i = NFRAMES; i-- > 1;) {
		j = k_random(&seed) % (i + 1);
		pfn = out[i];
		out[i] = out[j];
		out[j] = pfn;
	}
	for (; nfree > 0; nfree--)
		s->s_free(out[--nout], 1);
	out_next = 0;
	steps(s, nout, count);
	for (r = 0; r < ROUNDS; r++)
		t[r] = steps(s, nout, count);
	if (vm_phys_check() != NULL)
		abort();
	return median(t, ROUNDS);
}

static void
frames(const char *level, pfn_t nfree)
{
	static const unsigned counts[NSIDES] = { 100000, 10000, 100000, 10000 };
	double t[NSIDES];
	char name[64];
	unsigned i;

	for (i = 0; i < NSIDES; i++)
		t[i] = frames_side(&sides[i], nfree, counts[i]);
	snprintf(name, sizeof(name), "phys-frame-%s", level);
	line(name, t[OURS], t[PEER], "ns/pair");
	snprintf(name, sizeof(name), "phys-locked-%s", level);
	line(name, t[OURS], t[LOCKED], "ns/pair");
	snprintf(name, sizeof(name), "phys-index-%s", level);
	line(name, t[INDEX], t[PEER], "ns/pair");
}

/*
 * Runs, in a memory of which a part is free, in pieces of 1 to 64 frames
 * and a few of up to 2,048.
 */
static void
fragment(unsigned percent)
{
	uint64_t seed = 7;
	pfn_t pfn, n, left = NFRAMES / 100 * percent;

	take_all();
	while (left > 0) {
		n = 1 + k_random(&seed) %
		    (k_random(&seed) % 512 == 0 ? 2048 : 64);
		if (n > left)
			n = left;
		pfn = k_random(&seed) % (NFRAMES - n);
		for (; n > 0; n--, pfn++)
			if (ours_used(pfn)) {
				ours_free(pfn, 1);
				locked_free(pfn, 1);
				index_free(pfn, 1);
				left--;
			}
	}
}

#define BATCH	64

/* A batch of runs taken, and given back; the mean of both together. */
static double
batch(const struct side *s, pfn_t n, unsigned *got)
{
	pfn_t run[BATCH];
	unsigned i;
	double t0;

	t0 = now();
	for (i = *got = 0; i < BATCH; i++) {
		run[i] = s->s_alloc(n);
		*got += run[i] != NONE;
	}
	while (i-- > 0)
		if (run[i] != NONE)
			s->s_free(run[i], n);
	return (now() - t0) / BATCH;
}

static void
runs(unsigned percent)
{
	static const pfn_t lengths[] = { 1, 2, 4, 8, 16, 32, 64, 128, 256,
	    512, 1024 };
	double t[NSIDES][ROUNDS], m[NSIDES];
	unsigned i, r, side, got[NSIDES];
	char name[64];

	fragment(percent);
	for (i = 0; i < nitems(lengths); i++) {
		for (side = 0; side < NSIDES; side++)
			for (r = 0; r < ROUNDS; r++)
				t[side][r] = batch(&sides[side], lengths[i],
				    &got[side]);
		snprintf(name, sizeof(name), "phys-run-%u-free%u",
		    (unsigned)lengths[i], percent);
		for (side = 0; side < NSIDES; side++)
			m[side] = median(t[side], ROUNDS);
		line(name, m[OURS], m[PEER], "ns/pair");
		snprintf(name, sizeof(name), "phys-run-locked-%u-free%u",
		    (unsigned)lengths[i], percent);
		line(name, m[OURS], m[LOCKED], "ns/pair");
		snprintf(name, sizeof(name), "phys-run-index-%u-free%u",
		    (unsigned)lengths[i], percent);
		line(name, m[INDEX], m[PEER], "ns/pair");
		snprintf(name, sizeof(name), "phys-run-%u-free%u-success",
		    (unsigned)lengths[i], percent);
		if (got[PEER] == 0)
			printf("bench %s ours=%.1f peer=0.0 %%\n", name,
			    got[OURS] * 100.0 / BATCH);
		else
			line(name, got[OURS] * 100.0 / BATCH,
			    got[PEER] * 100.0 / BATCH, "%");
	}
	if (vm_phys_check() != NULL)
		abort();
}

int
main(void)
{
	printf("%u frames; free one at random, allocate one, by fill "
	    "level\n", NFRAMES);
	frames("50%", NFRAMES / 2);
	frames("90%", NFRAMES / 10);
	frames("99%", NFRAMES / 100);
	frames("99.9%", NFRAMES / 1000);
	frames("99.99%", NFRAMES / 10000);
	printf("runs in fragmented memory: allocate %u, free them\n", BATCH);
	runs(20);
	runs(50);
	printf("bookkeeping\n");
	printf("bench phys-bitmap-4GiB ours=%zu bytes\n",
	    bitmap_size(NFRAMES));
	printf("bench phys-bytes-per-MiB ours=%.1f bytes\n",
	    (double)vm_phys_size(NFRAMES) / 4096);
	return 0;
}
