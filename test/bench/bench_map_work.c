/*
 * The workloads: how a map gets into its steady state, and what is asked of
 * it then.
 */
#include <stdlib.h>
#include <string.h>

#include "bench_map.h"

/* Aligned regions that come and go among misaligned holes. */
#define NALIGNED	64

/* The map of the shapes of test_vmalloc: 4 GB. */
#define SHAPE_PAGES	((vsize_t)1 << 20)

void
bench_do(struct bench *b, const struct draw *d, size_t n)
{
	unsigned who;

	for (who = 0; who < NWHO; who++)
		if (b->b_track[who] != NULL &&
		    track_run(b->b_track[who], d, n) != 0)
			bench_die("%s, n = %zu: %s found no space",
			    b->b_work->w_name, b->b_n, who_name[who]);
}

void
bench_draw(struct bench *b, struct draw *d, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		b->b_work->w_draw(b, &d[i], i);
}

/* Region k of all clients is at that page, counted from the map's begin. */
static void
take(struct bench *b, size_t k, vsize_t page, vsize_t npages)
{
	unsigned who;

	for (who = 0; who < NWHO; who++)
		if (b->b_track[who] != NULL)
			track_take(b->b_track[who], k, BENCH_BASE +
			    ptoa(page), npages);
}

/* -------------------------------- churn -------------------------------- */

/*
 * The first n regions: placed one after another, and then replaced at random
 * for several rounds, by each client as it likes.
 */
static void
setup_churn_of(struct bench *b, size_t live)
{
	size_t rounds = live > 100000 ? 2 : 8, done, n, i;
	enum { CHUNK = 10000 };
	struct draw *d = calloc(CHUNK, sizeof(*d));

	if (d == NULL)
		bench_die("no memory");
	for (done = 0; done < live * (rounds + 1); done += n) {
		n = live < CHUNK ? live : CHUNK;
		if (done < live && live - done < n)
			n = live - done;
		bench_draw(b, d, n);
		for (i = 0; i < n && done < live; i++) {
			d[i].d_region = (uint32_t)(done + i);
			d[i].d_op = DRAW_ALLOC;
		}
		bench_do(b, d, n);
	}
	free(d);
}

static void
setup_churn(struct bench *b)
{
	setup_churn_of(b, b->b_n);
}

static void
draw_small(struct bench *b, struct draw *d, size_t i)
{
	*d = (struct draw){
		.d_region = rng_below(&b->b_rng, (uint32_t)b->b_n),
		.d_pages = (uint16_t)(1 + rng_below(&b->b_rng, 8)),
		.d_op = DRAW_REPLACE,
	};
}

static void
draw_window(struct bench *b, struct draw *d, size_t i)
{
	draw_small(b, d, i);
	d->d_window = (uint8_t)(1 + rng_below(&b->b_rng, NWINDOWS));
}

/*
 * The same in the first window alone, where an eighth of the regions live;
 * in the other seven each is followed by a hole of 1-8 pages.
 */
static void
setup_busy(struct bench *b)
{
	const size_t all = bench_regions(b->b_work, b->b_n);
	const vsize_t room = b->b_work->w_room;
	vsize_t page = b->b_npages / NWINDOWS;
	size_t k;

	setup_churn_of(b, all / NWINDOWS);
	for (k = all / NWINDOWS; k < all; k++, page += room)
		take(b, k, page, room - (1 + rng_below(&b->b_rng, 8)));
}

static void
draw_busy(struct bench *b, struct draw *d, size_t i)
{
	draw_small(b, d, i);
	d->d_region = rng_below(&b->b_rng, (uint32_t)
	    bench_regions(b->b_work, b->b_n) / NWINDOWS);
	d->d_window = 1;
}

/*
 * A single region in an otherwise empty first window; in the others each is
 * followed by a hole of 8 pages.
 */
static void
setup_combwin(struct bench *b)
{
	vsize_t page = b->b_npages / NWINDOWS;
	size_t k;

	for (k = 0; k < b->b_n; k++, page += 12)
		take(b, k, page, 4);
	take(b, k, 0, 1);
}

static void
draw_combwin(struct bench *b, struct draw *d, size_t i)
{
	draw_small(b, d, i);
	d->d_region = (uint32_t)b->b_n;
	d->d_window = 1;
}

static void
draw_align16(struct bench *b, struct draw *d, size_t i)
{
	draw_small(b, d, i);
	if (i % 8 == 0) {
		d->d_pages = 16;
		d->d_align = 4;
	}
}

/* ------------------------------- made maps ----------------------------- */

/*
 * n holes that are large enough and misaligned; and beyond them the regions
 * that are to be replaced, each where it has to begin, and with some room
 * behind.  Only where one of them was is there room for one, and in the map's
 * last hole.
 *
 * Of 4 pages aligned 8: all holes are of 4, and begin 4 off.
 */
static void
setup_align8(struct bench *b)
{
	size_t k;

	for (k = 0; k < b->b_n + NALIGNED; k++)
		take(b, k, k * 8, 4);
}

static void
draw_align8(struct bench *b, struct draw *d, size_t i)
{
	*d = (struct draw){
		.d_region = (uint32_t)b->b_n + rng_below(&b->b_rng, NALIGNED),
		.d_pages = 4,
		.d_align = 3,
		.d_op = DRAW_REPLACE,
	};
}

/* Of 16 pages aligned 16: holes of 16-30, which begin 1 off. */
static void
setup_comb16(struct bench *b)
{
	size_t k, hole, base;

	for (k = 0; k < b->b_n; k++) {
		hole = 16 + rng_below(&b->b_rng, 15);
		take(b, k, k * 48 + 1 + hole, 48 - hole);
	}
	base = roundup2(b->b_n * 48 + 1, 16);
	for (; k < b->b_n + NALIGNED; k++, base += 32) {
		take(b, k, base, 16);
		take(b, k + NALIGNED, base + 31, 1);
	}
	take(b, k + NALIGNED, 0, 1);
}

static void
draw_comb16(struct bench *b, struct draw *d, size_t i)
{
	draw_align8(b, d, i);
	d->d_pages = 16;
	d->d_align = 4;
}

/* Holes of two pages, and no other; a region of one page comes and goes. */
static void
setup_two(struct bench *b)
{
	size_t k;

	for (k = 0; k < b->b_n; k++)
		take(b, k, k * 4, 2);
	take(b, k, 2, 1);
	take(b, k + 1, b->b_n * 4, b->b_npages - b->b_n * 4);
}

static void
draw_one(struct bench *b, struct draw *d, size_t i)
{
	*d = (struct draw){
		.d_region = (uint32_t)b->b_n,
		.d_pages = 1,
		.d_op = DRAW_REPLACE,
	};
}

/* ------------------- the shapes of Linux's test_vmalloc ---------------- */

/* One region, in an empty map. */
static void
setup_alone(struct bench *b)
{
	take(b, b->b_n, 0, 1);
}

/* Regions and holes of one page in turn. */
static void
setup_full_fit(struct bench *b)
{
	size_t k;

	for (k = 0; k < b->b_n; k++)
		take(b, k, k * 2, 1);
	take(b, k, 1, 1);
}

static void
setup_long_busy_list(struct bench *b)
{
	size_t k;

	for (k = 0; k < b->b_n; k++)
		take(b, k, k, 1);
}

/* 100 pages, 1 page, and both are freed. */
static void
draw_long_busy_list(struct bench *b, struct draw *d, size_t i)
{
	*d = (struct draw){
		.d_region = (uint32_t)(b->b_n + i % 2),
		.d_pages = i % 2 == 0 ? 100 : 1,
		.d_op = i % 4 < 2 ? DRAW_ALLOC : DRAW_FREE,
	};
}

static void
draw_random_size(struct bench *b, struct draw *d, size_t i)
{
	draw_one(b, d, i);
	d->d_pages = (uint16_t)(1 + rng_below(&b->b_rng, 100));
}

/* Twice the alignment of a thread's stack of 16 KB. */
static void
draw_fix_align(struct bench *b, struct draw *d, size_t i)
{
	draw_one(b, d, i);
	d->d_pages = 5;
	d->d_align = 3;
}

const struct workload workloads[] = {
	{
		.w_name = "small",
		.w_what = "1-8 pages",
		.w_room = 16,
		.w_core = 0.7, .w_public = 1.0,
		.w_setup = setup_churn, .w_draw = draw_small,
	}, {
		.w_name = "window",
		.w_what = "1-8 pages, in one of 8 windows, at random",
		.w_room = 16,
		.w_core = 0.1, .w_public = 0.1,
		.w_setup = setup_churn, .w_draw = draw_window,
	}, {
		.w_name = "busywin",
		.w_what = "1-8 pages, in the first of 8 windows; holes of "
		    "1-8 in the others",
		.w_room = 16,
		.w_max_n = 100000,
		.w_core = 0.1, .w_public = 0.1,
		.w_setup = setup_busy, .w_draw = draw_busy,
	}, {
		.w_name = "inwin",
		.w_what = "the same with n regions in the window, not n in "
		    "all",
		.w_room = 16,
		.w_inside = true,
		.w_max_n = 100000,
		.w_core = 0.1, .w_public = 0.1,
		.w_setup = setup_busy, .w_draw = draw_busy,
	}, {
		.w_name = "combwin",
		.w_what = "1-8 pages, in a window that is empty; holes of 8 "
		    "in the others",
		.w_room = 16,
		.w_extra = 1,
		.w_max_n = 100000,
		.w_core = 0.1, .w_public = 0.1,
		.w_setup = setup_combwin, .w_draw = draw_combwin,
	}, {
		.w_name = "align16",
		.w_what = "1-8 pages, but every eighth is 16 aligned 16",
		.w_room = 32,
		.w_max_n = 100000,
		.w_core = 0.1, .w_public = 0.1,
		.w_setup = setup_churn, .w_draw = draw_align16,
	}, {
		.w_name = "comb16",
		.w_what = "16 pages aligned 16 among misaligned holes of 16-30",
		.w_room = 48,
		.w_extra = 2 * NALIGNED + 1,
		.w_max_n = 100000,
		.w_core = 0.1, .w_public = 0.1,
		.w_setup = setup_comb16, .w_draw = draw_comb16,
	}, {
		.w_name = "comb8",
		.w_what = "4 pages aligned 8 among misaligned holes of 4",
		.w_room = 16,
		.w_extra = NALIGNED,
		.w_max_n = 100000,
		.w_core = 0.1, .w_public = 0.1,
		.w_setup = setup_align8, .w_draw = draw_align8,
	}, {
		.w_name = "two",
		.w_what = "1 page, where all holes are of 2",
		.w_room = 4,
		.w_extra = 2,
		.w_core = 0.7, .w_public = 1.0,
		.w_setup = setup_two, .w_draw = draw_one,
	}, {
		.w_name = "fix_size",
		.w_what = "1 page, empty map",
		.w_shape = true,
		.w_extra = 1,
		.w_setup = setup_alone, .w_draw = draw_one,
	}, {
		.w_name = "full_fit",
		.w_what = "1 page, holes of 1 page",
		.w_shape = true,
		.w_only_n = 16384,	/* 32 MB for each bit of 2 CPUs */
		.w_extra = 1,
		.w_setup = setup_full_fit, .w_draw = draw_one,
	}, {
		.w_name = "long_busy_list",
		.w_what = "100 pages and 1 page",
		.w_shape = true,
		.w_only_n = 15000,
		.w_extra = 2,
		.w_setup = setup_long_busy_list,
		.w_draw = draw_long_busy_list,
	}, {
		.w_name = "random_size",
		.w_what = "1-100 pages, empty map",
		.w_shape = true,
		.w_extra = 1,
		.w_setup = setup_alone, .w_draw = draw_random_size,
	}, {
		.w_name = "fix_align",
		.w_what = "5 pages aligned 8, empty map",
		.w_shape = true,
		.w_extra = 1,
		.w_setup = setup_alone, .w_draw = draw_fix_align,
	},
};
const size_t nworkloads = sizeof(workloads) / sizeof(workloads[0]);

/* -------------------------------- benches ------------------------------ */

size_t
bench_regions(const struct workload *w, size_t n)
{
	return (w->w_inside ? n * NWINDOWS : n) + w->w_extra;
}

void
bench_create(struct bench *b, const struct workload *w, size_t n,
    uint64_t seed, unsigned who_mask)
{
	const size_t nregions = bench_regions(w, n);
	unsigned who;

	*b = (struct bench){
		.b_work = w,
		.b_n = n,
		.b_npages = w->w_shape ? SHAPE_PAGES :
		    w->w_room * (nregions + 1),
		.b_rng.r_state = seed,
	};
	for (who = 0; who < NWHO; who++) {
		if ((who_mask >> who & 1) == 0)
			continue;
		b->b_track[who] = malloc(sizeof(struct track));
		if (b->b_track[who] == NULL)
			bench_die("no memory");
		track_create(b->b_track[who], who, nregions,
		    b->b_npages);
	}
	w->w_setup(b);
}

void
bench_destroy(struct bench *b)
{
	unsigned who;

	for (who = 0; who < NWHO; who++)
		if (b->b_track[who] != NULL) {
			track_destroy(b->b_track[who]);
			free(b->b_track[who]);
		}
}
