/*
 * Maps, ours and the peer's, and the timed loops over them.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench_map.h"

#define LINE		64	/* bytes of cache line */

const char *const who_name[NWHO] = { "core", "public", "peer" };

/*
 * As many bytes as a page of the store has for each entry, less what is left
 * over: strides are whole halves of a cache line.
 */
size_t
entry_stride(void)
{
	struct vm_map_entry *e;
	struct entry_stats st, was;

	entry_stats(&was);
	e = entry_get((unsigned)was.es_free);	/* so it has to grow */
	entry_put(e);
	entry_stats(&st);
	if (e == NULL || st.es_pages == was.es_pages)
		bench_die("the store of entries does not grow");
	return PAGE_SIZE / ((st.es_total - was.es_total) /
	    (st.es_pages - was.es_pages)) / (LINE / 2) * (LINE / 2);
}

static void
windows(struct track *t, vsize_t npages)
{
	vsize_t part = npages / NWINDOWS;
	unsigned w;

	t->tr_lo[0] = BENCH_BASE;
	t->tr_hi[0] = BENCH_BASE + ptoa(npages);
	for (w = 1; w <= NWINDOWS; w++) {
		t->tr_lo[w] = BENCH_BASE + ptoa((w - 1) * part);
		t->tr_hi[w] = BENCH_BASE + ptoa(w * part);
	}
}

void
track_create(struct track *t, enum who who, size_t nregions, vsize_t npages)
{
	memset(t, 0, sizeof(*t));
	t->tr_who = who;
	t->tr_nregions = nregions;
	windows(t, npages);
	if (who == PEER) {
		t->tr_stride = roundup2(peer_region_size, LINE);
		t->tr_peer = peer_create(atop(t->tr_lo[0]), atop(t->tr_hi[0]));
		if (t->tr_peer == NULL)
			bench_die("no memory for a range of the peer's");
	} else if (vm_map_init(&t->tr_map, "bench", t->tr_lo[0], t->tr_hi[0],
	    VM_MAP_KERNEL, NULL) != 0)
		bench_die("no map of %lu pages", npages);
	if (who == PUBLIC) {
		t->tr_taken = calloc(nregions, sizeof(*t->tr_taken));
		if (t->tr_taken == NULL)
			bench_die("no memory for %zu regions", nregions);
		return;
	}
	if (who == CORE)
		t->tr_stride = entry_stride();
	t->tr_store = aligned_alloc(LINE, roundup2(nregions * t->tr_stride,
	    LINE));
	if (t->tr_store == NULL)
		bench_die("no memory for %zu regions", nregions);
	memset(t->tr_store, 0, nregions * t->tr_stride);
}

void
track_destroy(struct track *t)
{
	if (t->tr_who == PUBLIC)
		vm_map_destroy(&t->tr_map);
	if (t->tr_who == PEER)
		peer_destroy(t->tr_peer);
	free(t->tr_store);
	free(t->tr_taken);
}

void
track_policy(struct track *t, enum vm_map_policy policy, enum peer_fit fit)
{
	t->tr_policy = policy;
	t->tr_fit = fit;
}

void
track_take(struct track *t, size_t k, vaddr_t start, vsize_t npages)
{
	struct vm_map_entry *pred;
	bool ok = true;

	if (t->tr_who == CORE) {
		pred = space_before(&t->tr_map, start);
		ok = start + ptoa(npages) <= vme_hole_end(pred);
		if (ok)
			core_link(t, k, pred, start, ptoa(npages));
	} else if (t->tr_who == PUBLIC) {
		ok = vm_map_insert(&t->tr_map, start, start + ptoa(npages),
		    VM_PROT_RW, "bench") == 0;
		t->tr_taken[k].tk_addr = start;
		t->tr_taken[k].tk_size = ptoa(npages);
	} else
		ok = peer_reserve(t->tr_peer, peer_node(t, k), atop(start),
		    npages) == 0;
	if (!ok)
		bench_die("%s: [%#lx, %#lx) is not free", who_name[t->tr_who],
		    start, start + ptoa(npages));
}

void
track_where(const struct track *t, size_t k, vaddr_t *start, vsize_t *npages)
{
	const struct vm_map_entry *e;

	if (t->tr_who == CORE) {
		e = core_entry(t, k);
		*start = vme_start(e);
		*npages = atop(e->vme_end - *start);
	} else if (t->tr_who == PUBLIC) {
		*start = t->tr_taken[k].tk_addr;
		*npages = atop(t->tr_taken[k].tk_size);
	} else {
		*start = ptoa((vaddr_t)peer_start(peer_node(t, k)));
		*npages = (vsize_t)peer_pages(peer_node(t, k));
	}
}

void
track_facts(struct track *t, struct facts *f)
{
	const struct vm_map_entry *e;
	struct peer_facts pf;
	vaddr_t top = t->tr_lo[0];

	if (t->tr_who == PEER) {
		peer_facts(t->tr_peer, &pf);
		*f = (struct facts){
			.fa_holes = (vsize_t)pf.pf_holes,
			.fa_free = (vsize_t)pf.pf_free,
			.fa_largest = (vsize_t)pf.pf_largest,
			.fa_span = (vsize_t)pf.pf_top - atop(top),
		};
		return;
	}
	*f = (struct facts){ 0 };
	for (e = &t->tr_map.vm_sentinel; e != NULL; e = e->vme_next) {
		f->fa_holes += e->vme_gap != 0;
		f->fa_free += atop(e->vme_gap);
		if (atop(e->vme_gap) > f->fa_largest)
			f->fa_largest = atop(e->vme_gap);
		top = e->vme_end;
	}
	f->fa_span = atop(top - t->tr_lo[0]);
}

void
track_check(struct track *t)
{
	const char *why = t->tr_who == PEER ? NULL : vm_map_check(&t->tr_map);

	if (why != NULL)
		bench_die("%s: %s", who_name[t->tr_who], why);
}

/* ------------------------------- the loops ----------------------------- */

static size_t
run_core(struct track *t, const struct draw *d, size_t n)
{
	size_t failed = 0;

	for (; n > 0; n--, d++) {
		if (d->d_op & DRAW_FREE)
			core_free(t, d->d_region);
		if (d->d_op & DRAW_ALLOC)
			failed += !core_alloc(t, d);
	}
	return failed;
}

static inline bool
public_alloc(struct track *t, const struct draw *d)
{
	struct taken *tk = &t->tr_taken[d->d_region];
	const struct vm_map_request vr = {
		.vr_size = ptoa((vsize_t)d->d_pages),
		.vr_align = PAGE_SIZE << d->d_align,
		.vr_min = t->tr_lo[d->d_window],
		.vr_max = t->tr_hi[d->d_window],
		.vr_policy = t->tr_policy,
		.vr_prot = VM_PROT_RW,
		.vr_owner = "bench",
	};

	tk->tk_size = vr.vr_size;
	return vm_map_alloc(&t->tr_map, &vr, &tk->tk_addr) == 0;
}

/*
 * Where a region of the other two is follows from its number; such a client
 * is one who knows an address, and that it does not wait for.
 */
static size_t
run_public(struct track *t, const struct draw *d, size_t n)
{
	size_t failed = 0;
	struct taken *tk;

	for (; n > 0; n--, d++) {
		tk = &t->tr_taken[d->d_region];
		if (n > 1)
			__builtin_prefetch(&t->tr_taken[d[1].d_region]);
		if (d->d_op & DRAW_FREE)
			failed += vm_map_free(&t->tr_map, tk->tk_addr,
			    tk->tk_size) != 0;
		if (d->d_op & DRAW_ALLOC)
			failed += !public_alloc(t, d);
	}
	return failed;
}

static size_t
run_peer(struct track *t, const struct draw *d, size_t n)
{
	size_t failed = 0;

	for (; n > 0; n--, d++) {
		if (d->d_op & DRAW_FREE)
			peer_free(t, d->d_region);
		if (d->d_op & DRAW_ALLOC)
			failed += !peer_alloc(t, d);
	}
	return failed;
}

size_t
track_run(struct track *t, const struct draw *d, size_t n)
{
	static size_t (*const run[NWHO])(struct track *, const struct draw *,
	    size_t) = { run_core, run_public, run_peer };

	return run[t->tr_who](t, d, n);
}
