/*
 * Looking into a vm_map: lookup, iteration, why a request fails, statistics,
 * and the check of all invariants.  Nothing here changes a map.
 *
 * Lookups and iteration take the map's lock for reading, so any number of
 * them may run at once.
 */

#include <libkern/errno.h>
#include <vm/vm_map_impl.h>

static void
fill_info(const struct vm_map_entry *e, struct vm_map_info *vi)
{
	*vi = (struct vm_map_info){
		.vi_start = vme_start(e),
		.vi_end = e->vme_end,
		.vi_gap = e->vme_gap,
		.vi_guard_lo = e->vme_guard_lo,
		.vi_guard_hi = e->vme_guard_hi,
		.vi_prot = e->vme_prot,
		.vi_wired = e->vme_wired,
		.vi_owner = e->vme_owner,
	};
}

int
vm_map_lookup(struct vm_map *map, vaddr_t addr, struct vm_map_info *vi)
{
	const struct vm_map_entry *e;
	int error = EFAULT;

	vm_rw_enter_read(&map->vm_lock);
	e = space_above(map, addr);
	if (e != NULL && addr >= vme_start(e)) {
		fill_info(e, vi);
		error = 0;
	}
	vm_rw_exit_read(&map->vm_lock);
	return error;
}

int
vm_map_next(struct vm_map *map, vaddr_t addr, struct vm_map_info *vi)
{
	const struct vm_map_entry *e;
	int error = ENOENT;

	vm_rw_enter_read(&map->vm_lock);
	e = space_above(map, addr > map->vm_min ? addr : map->vm_min);
	if (e != NULL) {
		fill_info(e, vi);
		error = 0;
	}
	vm_rw_exit_read(&map->vm_lock);
	return error;
}

void
vm_map_stats(struct vm_map *map, struct vm_map_stats *st)
{
	vm_rw_enter_read(&map->vm_lock);
	*st = map->vm_stats;
	vm_rw_exit_read(&map->vm_lock);
}

vsize_t
vm_map_class_pages(unsigned cls)
{
	return space_class_pages(cls);
}

/* ------------------------- why there is no space ------------------------ */

/* Count the part of a hole that lies inside the window. */
static void
explain_hole(const struct vm_map_entry *e, const struct space_request *rq,
    struct vm_map_explain *vx)
{
	vaddr_t lo = e->vme_end > rq->sr_min ? e->vme_end : rq->sr_min;
	vaddr_t hi = vme_hole_end(e) < rq->sr_max ? vme_hole_end(e) :
	    rq->sr_max;
	const struct vm_map_entry *next;
	vaddr_t start;

	if (hi <= lo)
		return;
	vx->vx_nholes++;
	vx->vx_free += hi - lo;
	vx->vx_holes[space_class(atop(hi - lo))]++;
	if (space_fits(e, rq, &start))
		vx->vx_fits = true;
	if (hi - lo > vx->vx_largest) {
		vx->vx_largest = hi - lo;
		vx->vx_largest_at = lo;
		vx->vx_before = e->vme_owner;
		next = e->vme_next;
		vx->vx_after = next != NULL ? next->vme_owner : NULL;
	}
}

int
vm_map_explain(struct vm_map *map, const struct vm_map_request *vr,
    struct vm_map_explain *vx)
{
	struct space_request rq;
	const struct vm_map_entry *e;

	if (map_request(map, vr, &rq) != 0)
		return EINVAL;
	*vx = (struct vm_map_explain){
		.vx_need = rq.sr_need,
		.vx_align = rq.sr_align,
	};
	vm_rw_enter_read(&map->vm_lock);
	e = space_before(map, rq.sr_min);
	for (; e != NULL && e->vme_end < rq.sr_max; e = e->vme_next)
		explain_hole(e, &rq, vx);
	vm_rw_exit_read(&map->vm_lock);
	return 0;
}

/* -------------------------------- check -------------------------------- */

static const char *
check_region(const struct vm_map *map, const struct vm_map_entry *e)
{
	if (e == &map->vm_sentinel) {
		if (e->vme_end != map->vm_min || e->vme_flags != VME_SENTINEL)
			return "vm_map I1: the sentinel was changed";
	} else if (!map_range_ok(map, vme_start(e), e->vme_end) ||
	    (e->vme_flags & VME_SENTINEL) != 0)
		return "vm_map I1: a region is empty, unaligned or outside";
	if (e->vme_next == NULL && vme_hole_end(e) != map->vm_max)
		return "vm_map I2: the last hole's size is wrong";
	if (e->vme_class != space_class(atop(e->vme_gap)) + 1)
		return "vm_map I4: a hole's class is wrong";
	if ((vsize_t)e->vme_guard_lo + e->vme_guard_hi >
	    atop(e->vme_end - vme_start(e)))
		return "vm_map I6: guards are larger than their region";
	if (map_joinable(map, e))
		return "vm_map I6: equal neighbours are not joined";
	return NULL;
}

/* What e says of those below, all of whose holes are right. */
static const char *
check_summary(const struct vm_map_entry *e)
{
	const struct vm_map_entry *kid[2] = { vme_left(e), vme_right(e) };
	vsize_t max = e->vme_gap > ptoa(CLASS_EXACT) ? e->vme_gap : 0;
	int i;

	for (i = 0; i < 2; i++) {
		if (e->vme_mask[i] !=
		    (kid[i] != NULL ? space_mask(kid[i]) : 0))
			return "vm_map I4: a mask is wrong";
		if (kid[i] != NULL && kid[i]->vme_max_gap > max)
			max = kid[i]->vme_max_gap;
	}
	return max == e->vme_max_gap ? NULL : "vm_map I4: max_gap is wrong";
}

static const char *
check_locked(const struct vm_map *map)
{
	const struct vm_map_entry *e = vme_of(rb_min(&map->vm_tree));
	unsigned long entries = 0;
	vsize_t used = 0;
	const char *why;
	size_t nodes;

	if ((why = rb_check(&map->vm_tree, &nodes)) != NULL)
		return why;
	if (e != &map->vm_sentinel)
		return "vm_map I1: the first entry is not the sentinel";
	for (; e != NULL; e = e->vme_next) {
		if (e->vme_prev != vme_of(rb_pred(&e->vme_rb)) ||
		    e->vme_next != vme_of(rb_succ(&e->vme_rb)))
			return "vm_map I3: list and tree differ";
		if ((why = check_region(map, e)) != NULL)
			return why;
		entries += e != &map->vm_sentinel;
		used += e->vme_end - vme_start(e);
	}
	if (entries != map->vm_stats.vms_entries ||
	    used != map->vm_stats.vms_used)
		return "vm_map I5: the counters are wrong";
	for (e = &map->vm_sentinel; e != NULL; e = e->vme_next)
		if ((why = check_summary(e)) != NULL)
			return why;
	return NULL;
}

const char *
vm_map_check(struct vm_map *map)
{
	const char *why;

	vm_rw_enter_read(&map->vm_lock);
	why = check_locked(map);
	vm_rw_exit_read(&map->vm_lock);
	return why;
}
