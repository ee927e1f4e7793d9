/*
 * Changing parts of regions: remove, protect, wire, unwire
 *
 * 1. The method
 *
 * An operation on [start, end) of a user map first looks at every region
 * there, changing nothing; then cuts the one that start lies inside of, and
 * the one that end lies inside of; then all that it touches are whole
 * regions; and last joins again what has become equal:
 *
 *	|aaaaaaaaaa|   |bbbbb|cccccc|	look: may it be done?
 *	     start              end
 *	|aaaa|aaaaaa|  |bbbbb|ccc|ccc|	clip: at most two entries more
 *	|aaaa|AAAAAA|  |BBBBB|CCC|ccc|	change
 *
 * So two entries are taken in hand before the lock (ENTRY_HAND), and what was
 * not used goes back after it.  Taking away whole regions, or one end of one,
 * needs none: remove trims instead of cutting, and takes an entry only when
 * the middle of a region goes.
 *
 * In a kernel map regions are never cut: the range must be whole regions.
 * What the range cache keeps is free to whoever asks, and what is changed
 * here it must not keep: it looks at frames, and not at the map.
 *
 * 2. Guards
 *
 * Where a region with guard pages is cut, each part keeps the guard pages that
 * lie in it.
 *
 * 3. Locking
 *
 * As in vm_map.c: the map's lock for writing, from the look to the joining.
 */

#include <libkern/errno.h>
#include <vm/kmem_range.h>
#include <vm/pmap.h>
#include <vm/vm_map_impl.h>

/* One for a cut at start, one for a cut at end. */
#define ENTRY_HAND	2

/* A change of whole regions: may it be, and do it. */
struct range_op {
	int	(*ro_look)(const struct vm_map_entry *);
	void	(*ro_change)(struct vm_map *, struct vm_map_entry *, unsigned);
};

static unsigned
min_pages(vsize_t a, unsigned b)
{
	return a < b ? (unsigned)a : b;
}

/* ---------------------------- cut and join ----------------------------- */

/*
 * Cut e in two at addr, which lies strictly inside; new becomes the upper
 * part.  e gives its upper part up to the hole behind it, and there new is
 * linked.
 */
static void
cut(struct vm_map *map, struct vm_map_entry *e, vaddr_t addr,
    struct vm_map_entry *new)
{
	unsigned lo = e->vme_guard_lo, hi = e->vme_guard_hi;

	*new = *e;
	space_resize(e, vme_hole_end(e) - addr);
	e->vme_end = addr;
	e->vme_guard_lo = (uint8_t)min_pages(atop(addr - vme_start(e)), lo);
	new->vme_guard_lo = (uint8_t)(lo - e->vme_guard_lo);
	new->vme_guard_hi =
	    (uint8_t)min_pages(atop(new->vme_end - addr), hi);
	e->vme_guard_hi = (uint8_t)(hi - new->vme_guard_hi);
	map->vm_stats.vms_used -= new->vme_end - addr;
	map_link_locked(map, new, addr, e);
}

bool
map_joinable(const struct vm_map *map, const struct vm_map_entry *a)
{
	const struct vm_map_entry *b;

	if (map->vm_flags != VM_MAP_USER || a->vme_flags != 0 ||
	    a->vme_gap != 0 || (b = a->vme_next) == NULL)
		return false;
	return b->vme_flags == 0 && a->vme_prot == b->vme_prot &&
	    a->vme_owner == b->vme_owner && a->vme_wired == b->vme_wired &&
	    a->vme_guard_hi == 0 && b->vme_guard_lo == 0;
}

/* Make a and the entry behind it one; that one's entry goes to *rest. */
static void
join_next(struct vm_map *map, struct vm_map_entry *a,
    struct vm_map_entry **rest)
{
	struct vm_map_entry *b = a->vme_next;

	/* a takes over b's pages; what is unlinked then has none. */
	a->vme_guard_hi = b->vme_guard_hi;
	a->vme_end = b->vme_end;
	map_unlink_locked(map, b);
	entry_push(rest, b);
}

void
map_join_locked(struct vm_map *map, struct vm_map_entry *e,
    struct vm_map_entry **rest)
{
	if (map_joinable(map, e))
		join_next(map, e, rest);
	e = e->vme_prev;
	if (map_joinable(map, e))
		join_next(map, e, rest);
}

/* ------------------------- protect, wire, unwire ----------------------- */

/* Does no edge of the range cut the region, seen with guards or without? */
static bool
whole(const struct vm_map_entry *e, vaddr_t start, vaddr_t end)
{
	return (start <= vme_start(e) || start == vme_usable_start(e)) &&
	    (end >= e->vme_end || end == vme_usable_end(e));
}

/*
 * The region that holds start, if [start, end) is all taken, ro_look agrees
 * to each, and in a kernel map nothing would be cut; else *error says why.
 */
static struct vm_map_entry *
look(struct vm_map *map, vaddr_t start, vaddr_t end, const struct range_op *op,
    int *error)
{
	struct vm_map_entry *first = space_above(map, start), *e;

	*error = EFAULT;
	if (first == NULL || vme_start(first) > start)
		return NULL;
	for (e = first;; e = e->vme_next) {
		if ((e->vme_flags & (VME_SPECIAL | VME_DYING)) != 0)
			*error = EBUSY;
		else if (map->vm_flags == VM_MAP_KERNEL &&
		    !whole(e, start, end))
			*error = EINVAL;
		else if (map == kernel_map &&
		    !kmem_range_forbid(vme_usable_start(e)))
			*error = EFAULT;
		else
			*error = op->ro_look(e);
		if (*error != 0)
			return NULL;
		if (e->vme_end >= end)
			return first;
		*error = EFAULT;
		if (e->vme_gap != 0)
			return NULL;
	}
}

static void
apply(struct vm_map *map, struct vm_map_entry *e, vaddr_t start, vaddr_t end,
    const struct range_op *op, unsigned arg, struct vm_map_entry **hand)
{
	struct vm_map_entry *new;
	bool cuts = map->vm_flags == VM_MAP_USER;

	if (cuts && vme_start(e) < start) {
		new = entry_pop(hand);
		cut(map, e, start, new);
		e = new;
	}
	for (;; e = e->vme_next) {
		if (cuts && e->vme_end > end)
			cut(map, e, end, entry_pop(hand));
		op->ro_change(map, e, arg);
		if (map_joinable(map, e->vme_prev)) {
			e = e->vme_prev;
			join_next(map, e, hand);
		}
		if (e->vme_end >= end)
			break;
	}
	if (map_joinable(map, e))
		join_next(map, e, hand);
}

static int
change(struct vm_map *map, vaddr_t start, vaddr_t end,
    const struct range_op *op, unsigned arg)
{
	struct vm_map_entry *hand = NULL, *e;
	int error;

	if (!map_range_ok(map, start, end))
		return EINVAL;
	if (map->vm_flags == VM_MAP_USER &&
	    (hand = entry_get(ENTRY_HAND)) == NULL)
		return ENOMEM;
	vm_rw_enter_write(&map->vm_lock);
	e = look(map, start, end, op, &error);
	if (e != NULL)
		apply(map, e, start, end, op, arg, &hand);
	vm_rw_exit_write(&map->vm_lock);
	entry_put(hand);
	return error;
}

static int
look_any(const struct vm_map_entry *e)
{
	(void)e;
	return 0;
}

static int
look_wire(const struct vm_map_entry *e)
{
	return e->vme_wired == UINT16_MAX ? EINVAL : 0;
}

static int
look_unwire(const struct vm_map_entry *e)
{
	return e->vme_wired == 0 ? EINVAL : 0;
}

static void
change_prot(struct vm_map *map, struct vm_map_entry *e, unsigned prot)
{
	e->vme_prot = (uint8_t)prot;
	if (map->vm_pmap != NULL && vme_usable_start(e) < vme_usable_end(e))
		pmap_protect(map->vm_pmap, vme_usable_start(e),
		    vme_usable_end(e), prot);
}

static void
change_wire(struct vm_map *map, struct vm_map_entry *e, unsigned by)
{
	(void)map;
	e->vme_wired = (uint16_t)(e->vme_wired + by);
}

int
vm_map_protect(struct vm_map *map, vaddr_t start, vaddr_t end, vm_prot_t prot)
{
	static const struct range_op op = { look_any, change_prot };

	if (prot > VM_PROT_ALL)
		return EINVAL;
	return change(map, start, end, &op, prot);
}

int
vm_map_wire(struct vm_map *map, vaddr_t start, vaddr_t end)
{
	static const struct range_op op = { look_wire, change_wire };

	return change(map, start, end, &op, 1);
}

int
vm_map_unwire(struct vm_map *map, vaddr_t start, vaddr_t end)
{
	static const struct range_op op = { look_unwire, change_wire };

	return change(map, start, end, &op, -1u);
}

/* -------------------------------- remove ------------------------------- */

/* May all that lies in [start, end) go, and does a region lose its middle? */
static int
look_remove(const struct vm_map_entry *e, vaddr_t start, vaddr_t end,
    bool *splits)
{
	*splits = false;
	for (; e != NULL && vme_start(e) < end; e = e->vme_next) {
		if (e->vme_wired != 0 || e->vme_flags != 0)
			return EBUSY;
		if (vme_start(e) < start && e->vme_end > end)
			*splits = true;
	}
	return 0;
}

/* Drop the upper end of e, from addr on. */
static void
trim_high(struct vm_map *map, struct vm_map_entry *e, vaddr_t addr)
{
	map->vm_stats.vms_used -= e->vme_end - addr;
	e->vme_guard_hi -= min_pages(atop(e->vme_end - addr), e->vme_guard_hi);
	e->vme_guard_lo = (uint8_t)min_pages(atop(addr - vme_start(e)),
	    e->vme_guard_lo);
	space_resize(e, vme_hole_end(e) - addr);
	e->vme_end = addr;
}

/* Drop the lower end of e, up to addr: the hole before it grows. */
static void
trim_low(struct vm_map *map, struct vm_map_entry *e, vaddr_t addr)
{
	struct vm_map_entry *prev = e->vme_prev;

	map->vm_stats.vms_used -= addr - vme_start(e);
	e->vme_guard_lo -= min_pages(atop(addr - vme_start(e)),
	    e->vme_guard_lo);
	e->vme_guard_hi = (uint8_t)min_pages(atop(e->vme_end - addr),
	    e->vme_guard_hi);
	space_resize(prev, addr - prev->vme_end);
}

static void
remove_locked(struct vm_map *map, struct vm_map_entry *e, vaddr_t start,
    vaddr_t end, struct vm_map_entry **hand)
{
	struct vm_map_entry *next;

	if (map->vm_pmap != NULL)
		pmap_remove(map->vm_pmap, start, end);
	for (; e != NULL && vme_start(e) < end; e = next) {
		if (vme_start(e) < start && e->vme_end > end)
			cut(map, e, end, entry_pop(hand));
		next = e->vme_next;
		if (vme_start(e) < start)
			trim_high(map, e, start);
		else if (e->vme_end > end)
			trim_low(map, e, end);
		else {
			map_unlink_locked(map, e);
			entry_push(hand, e);
		}
	}
}

static int
remove_user(struct vm_map *map, vaddr_t start, vaddr_t end)
{
	struct vm_map_entry *hand = NULL, *e;
	bool splits;
	int error;

	for (;;) {
		vm_rw_enter_write(&map->vm_lock);
		e = space_above(map, start);
		error = look_remove(e, start, end, &splits);
		if (error != 0 || !splits || hand != NULL)
			break;
		/* An entry is needed after all: fetch it, and look again. */
		vm_rw_exit_write(&map->vm_lock);
		hand = entry_get(1);
		if (hand == NULL)
			return ENOMEM;
	}
	if (error == 0)
		remove_locked(map, e, start, end, &hand);
	vm_rw_exit_write(&map->vm_lock);
	entry_put(hand);
	return error;
}

/* In a kernel map: the range may be given with the guards or without. */
static int
remove_kernel(struct vm_map *map, vaddr_t start, vaddr_t end)
{
	struct vm_map_info vi;

	if (vm_map_lookup(map, start, &vi) != 0)
		return EFAULT;
	if (start == vi.vi_start && end == vi.vi_end) {
		start += ptoa(vi.vi_guard_lo);
		end -= ptoa(vi.vi_guard_hi);
	}
	return vm_map_free(map, start, end - start);
}

int
vm_map_remove(struct vm_map *map, vaddr_t start, vaddr_t end)
{
	if (!map_range_ok(map, start, end))
		return EINVAL;
	return map->vm_flags == VM_MAP_KERNEL ? remove_kernel(map, start, end) :
	    remove_user(map, start, end);
}
