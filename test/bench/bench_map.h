/*
 * What the benchmarks of vm_map share: three clients of the same requests,
 * in the same process.
 *
 *	CORE	vm_map without what a client of it does not see: find and link
 *		an entry that the caller supplies, unlink by entry; which is
 *		what the peer does
 *	PUBLIC	vm_map_alloc and vm_map_free: locks, entries from their store,
 *		free by address
 *	PEER	Linux's drm_mm, peer/peer.h
 *
 * All that a timed loop needs is drawn beforehand into an array, so that the
 * harness costs each of them the same.
 */
#ifndef BENCH_BENCH_MAP_H
#define BENCH_BENCH_MAP_H

#include <vm/vm_map_impl.h>

#include "bench.h"
#include "peer/peer.h"

enum who { CORE, PUBLIC, PEER, NWHO };
extern const char *const who_name[NWHO];

/* Windows: 0 is the whole map, 1…NWINDOWS are its equal parts in order. */
#define NWINDOWS	8

/* One operation, of a region given by its number. */
#define DRAW_FREE	1
#define DRAW_ALLOC	2
#define DRAW_REPLACE	(DRAW_FREE | DRAW_ALLOC)	/* in that order */
struct draw {
	uint32_t	d_region;
	uint16_t	d_pages;
	uint8_t		d_align;	/* log2 of pages */
	uint8_t		d_window;
	uint8_t		d_op;
};

/* A map, and the regions that somebody holds in it. */
struct track {
	enum who	tr_who;
	size_t		tr_nregions;
	size_t		tr_stride;	/* from one region to the next */
	char		*tr_store;	/* (CORE, PEER) entries or nodes */
	struct taken {
		vaddr_t	tk_addr;
		vsize_t	tk_size;
	}		*tr_taken;	/* (PUBLIC) what such a client knows */
	vaddr_t		tr_lo[NWINDOWS + 1], tr_hi[NWINDOWS + 1];
	enum vm_map_policy tr_policy;
	enum peer_fit	tr_fit;
	struct vm_map	tr_map;
	struct peer	*tr_peer;
};

/* What a map looks like; pages. */
struct facts {
	vsize_t		fa_holes, fa_free, fa_largest;
	vsize_t		fa_span;	/* from its begin to its last region's
					   end */
};

/* A map of npages from BENCH_BASE, with no region yet. */
#define BENCH_BASE	((vaddr_t)1 << (VM_MAP_PAGE_BITS > 20 ? 32 : 24))
void	track_create(struct track *, enum who, size_t nregions,
	    vsize_t npages);
void	track_destroy(struct track *);
void	track_policy(struct track *, enum vm_map_policy, enum peer_fit);
/* Region k is [start, start + npages pages) from now on; it was free. */
void	track_take(struct track *, size_t k, vaddr_t start, vsize_t npages);
void	track_where(const struct track *, size_t k, vaddr_t *start,
	    vsize_t *npages);
void	track_facts(struct track *, struct facts *);
void	track_check(struct track *);	/* dies unless all is well */

/* Where an entry begins in the store that vm_map_alloc takes it from. */
size_t	entry_stride(void);

/*
 * Do n operations.
 * => the number of requests that found no space; such a region is not live,
 *    and must not be freed
 */
size_t	track_run(struct track *, const struct draw *, size_t n);

static inline struct vm_map_entry *
core_entry(const struct track *t, size_t k)
{
	return (struct vm_map_entry *)(void *)(t->tr_store + k * t->tr_stride);
}

static inline struct peer_region *
peer_node(const struct track *t, size_t k)
{
	return (struct peer_region *)(void *)(t->tr_store + k * t->tr_stride);
}

static inline void
core_request(const struct track *t, const struct draw *d,
    struct space_request *rq)
{
	*rq = (struct space_request){
		.sr_need = ptoa((vsize_t)d->d_pages),
		.sr_align = PAGE_SIZE << d->d_align,
		.sr_min = t->tr_lo[d->d_window],
		.sr_max = t->tr_hi[d->d_window],
		.sr_policy = t->tr_policy,
	};
}

/* Put region k behind pred: its entry is filled in as vm_map_alloc does. */
static inline void
core_link(struct track *t, size_t k, struct vm_map_entry *pred, vaddr_t start,
    vsize_t bytes)
{
	struct vm_map_entry *e = core_entry(t, k);

	e->vme_end = start + bytes;
	e->vme_owner = "bench";
	e->vme_prot = VM_PROT_RW;
	e->vme_guard_lo = e->vme_guard_hi = 0;
	e->vme_flags = 0;
	e->vme_wired = 0;
	map_link_locked(&t->tr_map, e, start, pred);
}

static inline bool
core_alloc(struct track *t, const struct draw *d)
{
	struct space_request rq;
	struct vm_map_entry *pred;
	vaddr_t start;

	core_request(t, d, &rq);
	pred = space_find(&t->tr_map, &rq, &start);
	if (pred == NULL)
		return false;
	core_link(t, d->d_region, pred, start, rq.sr_need);
	return true;
}

static inline void
core_free(struct track *t, size_t k)
{
	map_unlink_locked(&t->tr_map, core_entry(t, k));
}

static inline bool
peer_alloc(struct track *t, const struct draw *d)
{
	const struct peer_request q = {
		.pq_pages = d->d_pages,
		.pq_align = (uint64_t)1 << d->d_align,
		.pq_lo = atop(t->tr_lo[d->d_window]),
		.pq_hi = atop(t->tr_hi[d->d_window]),
		.pq_fit = t->tr_fit,
	};

	return peer_insert(t->tr_peer, peer_node(t, d->d_region), &q) == 0;
}

static inline void
peer_free(struct track *t, size_t k)
{
	peer_remove(peer_node(t, k));
}

/* --- bench_map_work.c: what is asked of them --- */

/* The clients that a measurement is about, at the same map. */
struct bench {
	const struct workload *b_work;
	size_t		b_n;		/* live regions */
	vsize_t		b_npages;	/* of the map */
	struct rng	b_rng;
	struct track	*b_track[NWHO];	/* NULL: takes no part */
};

struct workload {
	const char	*w_name;
	const char	*w_what;	/* a pair, for people */
	bool		w_shape;	/* test_vmalloc's; first fit too */
	size_t		w_only_n;	/* (shapes) live regions around it */
	size_t		w_max_n;	/* or 0; else it would take long */
	unsigned	w_extra;	/* regions beyond n */
	bool		w_inside;	/* n live in one window, and as many in
					   each of the others */
	vsize_t		w_room;		/* pages of map for each region */
	double		w_core, w_public; /* targets for ours / peer, or 0 */
	void		(*w_setup)(struct bench *);
	void		(*w_draw)(struct bench *, struct draw *, size_t i);
};
extern const struct workload workloads[];
extern const size_t nworkloads;

/* How many regions there are, where n are live. */
size_t	bench_regions(const struct workload *, size_t n);
/*
 * Maps for the clients in the bit set, brought into the workload's steady
 * state by best fit.
 */
void	bench_create(struct bench *, const struct workload *, size_t n,
	    uint64_t seed, unsigned who);
void	bench_destroy(struct bench *);
/* Draw the next operations; do them, untimed and without a failure. */
void	bench_draw(struct bench *, struct draw *, size_t n);
void	bench_do(struct bench *, const struct draw *, size_t n);

/* bench_map_same.c: print how often ours and the peer choose alike. */
void	bench_same(const struct workload *, size_t n, size_t nops,
	    uint64_t seed);

/*
 * Measure in a process of its own, with a machine booted; every workload, or
 * those named, with 100, 1,000, ... max_n regions.
 * => ends this process too if the other ends badly
 */
typedef void	bench_fn(const struct workload *, size_t n);
void	bench_apart(bench_fn *, const struct workload *, size_t n);
void	bench_each(bench_fn *, char **names, size_t max_n);

#endif
