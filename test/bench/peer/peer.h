/*
 * Linux's drm_mm in the shape of a tracker.  It is the closest relation that
 * a vm_map has: a red-black tree by address, one of the holes by address
 * with the largest below, and one of the holes by size, so that best fit
 * without window and alignment is exact and O(log n).
 *
 * Units are pages; ranges are [lo, hi).  Nothing is allocated here but the
 * range itself.
 */
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include <stddef.h>
#include <stdint.h>

struct peer;			/* a range */
struct peer_region;		/* a region in it; the caller's memory */

/* DRM_MM_INSERT_BEST, _LOW, _HIGH. */
enum peer_fit { PEER_BEST, PEER_LOW, PEER_HIGH };

/* A request for space in [pq_lo, pq_hi); pq_align 0 or 1: anywhere. */
struct peer_request {
	uint64_t	pq_pages, pq_align;
	uint64_t	pq_lo, pq_hi;
	enum peer_fit	pq_fit;
};

/* What a range looks like. */
struct peer_facts {
	uint64_t	pf_holes, pf_free, pf_largest;
	uint64_t	pf_top;		/* where its last region ends */
};

extern const size_t peer_region_size;	/* bytes */

struct peer *peer_create(uint64_t lo, uint64_t hi);
void	peer_destroy(struct peer *);	/* its regions are forgotten */

/* drm_mm_insert_node_in_range, drm_mm_reserve_node: 0 or -ENOSPC. */
int	peer_insert(struct peer *, struct peer_region *,
	    const struct peer_request *);
int	peer_reserve(struct peer *, struct peer_region *, uint64_t start,
	    uint64_t pages);
void	peer_remove(struct peer_region *);	/* drm_mm_remove_node */

uint64_t peer_start(const struct peer_region *);
uint64_t peer_pages(const struct peer_region *);
/* The hole there would be, were this region not. */
void	peer_hole(const struct peer_region *, uint64_t *lo, uint64_t *hi);
void	peer_facts(struct peer *, struct peer_facts *);

#endif
