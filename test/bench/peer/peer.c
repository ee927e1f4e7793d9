/*
 * Built among drm_mm's own headers, over kshim.h: see build.
 */
#include <drm/drm_mm.h>

#include "peer.h"

struct peer {
	struct drm_mm	p_mm;
};

struct peer_region {
	struct drm_mm_node pr_node;
};

const size_t peer_region_size = sizeof(struct peer_region);

struct peer *
peer_create(uint64_t lo, uint64_t hi)
{
	struct peer *p = calloc(1, sizeof(*p));

	if (p != NULL)
		drm_mm_init(&p->p_mm, lo, hi - lo);
	return p;
}

void
peer_destroy(struct peer *p)
{
	drm_mm_takedown(&p->p_mm);
	free(p);
}

/* "The preallocated node must be cleared to 0", says drm_mm. */
int
peer_insert(struct peer *p, struct peer_region *r,
    const struct peer_request *q)
{
	static const enum drm_mm_insert_mode mode[] = {
		[PEER_BEST] = DRM_MM_INSERT_BEST,
		[PEER_LOW] = DRM_MM_INSERT_LOW,
		[PEER_HIGH] = DRM_MM_INSERT_HIGH,
	};

	r->pr_node = (struct drm_mm_node){ 0 };
	return drm_mm_insert_node_in_range(&p->p_mm, &r->pr_node, q->pq_pages,
	    q->pq_align, 0, q->pq_lo, q->pq_hi, mode[q->pq_fit]);
}

int
peer_reserve(struct peer *p, struct peer_region *r, uint64_t start,
    uint64_t pages)
{
	r->pr_node = (struct drm_mm_node){ .start = start, .size = pages };
	return drm_mm_reserve_node(&p->p_mm, &r->pr_node);
}

void
peer_remove(struct peer_region *r)
{
	drm_mm_remove_node(&r->pr_node);
}

uint64_t
peer_start(const struct peer_region *r)
{
	return r->pr_node.start;
}

uint64_t
peer_pages(const struct peer_region *r)
{
	return r->pr_node.size;
}

void
peer_hole(const struct peer_region *r, uint64_t *lo, uint64_t *hi)
{
	*lo = __drm_mm_hole_node_start(list_prev_entry(&r->pr_node,
	    node_list));
	*hi = __drm_mm_hole_node_end(&r->pr_node);
}

void
peer_facts(struct peer *p, struct peer_facts *f)
{
	const struct drm_mm_node *n;
	u64 lo, hi;

	*f = (struct peer_facts){ 0 };
	drm_mm_for_each_hole(n, &p->p_mm, lo, hi) {
		f->pf_holes++;
		f->pf_free += hi - lo;
		if (hi - lo > f->pf_largest)
			f->pf_largest = hi - lo;
	}
	/* The list's head ends where the range begins. */
	n = list_last_entry(&p->p_mm.head_node.node_list, struct drm_mm_node,
	    node_list);
	f->pf_top = n->start + n->size;
}
