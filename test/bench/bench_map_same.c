/*
 * Do both choose alike?  Ours and the peer are asked the same in the same
 * state, request by request: after each, the peer's region is moved to where
 * ours is, so that no choice is blamed for an earlier one.
 *
 * On ties ours takes the lowest hole and drm_mm the one that was made last;
 * so it is the size of the hole chosen that is compared, or of the part of
 * it that lies in the window.
 */
#include <stdio.h>
#include <stdlib.h>

#include "bench_map.h"

struct same {
	size_t	sm_total, sm_size, sm_place;
	size_t	sm_ours, sm_peers;	/* whose hole was smaller */
	size_t	sm_broken;	/* which it should not have been */
};

static vsize_t
clipped(const struct track *t, unsigned window, vaddr_t lo, vaddr_t hi)
{
	if (lo < t->tr_lo[window])
		lo = t->tr_lo[window];
	if (hi > t->tr_hi[window])
		hi = t->tr_hi[window];
	return atop(hi - lo);
}

/* The hole that region k was put into, as the window sees it. */
static vsize_t
hole_of(const struct track *t, const struct draw *d)
{
	const struct vm_map_entry *e;
	uint64_t lo, hi;

	if (t->tr_who == PEER) {
		peer_hole(peer_node(t, d->d_region), &lo, &hi);
		return clipped(t, d->d_window, ptoa((vaddr_t)lo),
		    ptoa((vaddr_t)hi));
	}
	e = core_entry(t, d->d_region);
	return clipped(t, d->d_window, e->vme_prev->vme_end, vme_hole_end(e));
}

/*
 * Promise P2: where the best hole is of at most 32 pages, ours is that.  And
 * without a window so is the peer's.
 */
static bool
broken(const struct draw *d, vsize_t ours, vsize_t theirs)
{
	if (d->d_align != 0)
		return false;
	return ours > theirs ? theirs <= CLASS_EXACT :
	    ours < theirs && d->d_window == 0;
}

static void
compare(struct bench *b, const struct draw *d, struct same *s)
{
	struct track *core = b->b_track[CORE], *peer = b->b_track[PEER];
	vaddr_t at, peers_at;
	vsize_t npages, ours, theirs;

	bench_do(b, d, 1);
	if (d->d_op == DRAW_FREE)
		return;
	ours = hole_of(core, d);
	theirs = hole_of(peer, d);
	track_where(core, d->d_region, &at, &npages);
	track_where(peer, d->d_region, &peers_at, &npages);
	s->sm_total++;
	s->sm_size += ours == theirs;
	s->sm_ours += ours < theirs;
	s->sm_peers += ours > theirs;
	s->sm_broken += broken(d, ours, theirs);
	s->sm_place += at == peers_at;
	if (at != peers_at) {
		peer_free(peer, d->d_region);
		track_take(peer, d->d_region, at, npages);
	}
}

/* From now on both have their regions at the same places. */
static void
align_peer(struct bench *b, size_t nregions)
{
	struct track *core = b->b_track[CORE], *peer = b->b_track[PEER];
	vaddr_t at;
	vsize_t npages;
	size_t k;

	for (k = 0; k < nregions; k++)
		peer_free(peer, k);
	for (k = 0; k < nregions; k++) {
		track_where(core, k, &at, &npages);
		track_take(peer, k, at, npages);
	}
}

void
bench_same(const struct workload *w, size_t n, size_t nops, uint64_t seed)
{
	struct same s = { 0 };
	struct draw *d = calloc(nops, sizeof(*d));
	struct bench b;
	size_t i;

	if (d == NULL)
		bench_die("no memory");
	bench_create(&b, w, n, seed, 1 << CORE | 1 << PEER);
	bench_draw(&b, d, nops);
	if (d[0].d_op == DRAW_REPLACE)		/* so all of them live */
		align_peer(&b, bench_regions(w, n));
	for (i = 0; i < nops; i++)
		compare(&b, &d[i], &s);
	printf("%-15s %8zu %9zu %9zu %9zu %9zu %9zu\n", w->w_name, n,
	    s.sm_total, s.sm_size, s.sm_ours, s.sm_peers, s.sm_place);
	bench_figure("%", 100.0 * (double)s.sm_size / (double)s.sm_total, 0,
	    "same.%s.n%zu", w->w_name, n);
	if (s.sm_broken != 0)
		bench_die("%s, n = %zu: %zu holes chosen are not the best",
		    w->w_name, n, s.sm_broken);
	bench_destroy(&b);
	free(d);
}
