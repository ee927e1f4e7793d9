/*
 * vm_map: which virtual addresses are in use, and so which are free
 *
 * 1. The question
 *
 * A slab allocator grows and shrinks all the time.  Slabs of 4, 4 and 5 pages
 * lie behind one another; the second is destroyed:
 *
 *	|AAAA|....|CCCCC|...............
 *
 * What remembers that 4 pages of address space are free there, so that the
 * next slab of 5 goes behind the third, and the next of 4 or fewer into the
 * hole?  Not the frame bitmap, which knows of memory and not of addresses;
 * not the page tables, in which finding a run of absent pages is a walk over
 * all of them; not the slab layer, since the heap asks the same question of
 * the same addresses.  One level above paging, one below every allocator: a
 * map of the address space, asked for room by size and told of room by
 * address.  Here that is kernel_map.
 *
 * 2. Structures
 *
 * A vm_map has one vm_map_entry for each region in use, in a red-black tree
 * and a list, both by address.  Each also stands for the hole behind it.  How
 * holes are found is vm_map_space.c's; where entries come from,
 * vm_map_entry.c's; changing parts of regions, vm_map_range.c's.
 *
 *	vm_map -- vm_tree --> C            in order: sentinel, A, B, C, D
 *	   |                 / \
 *	   |                A   D          sentinel: a region of no length at
 *	   |               / \             vm_min, whose hole is the map's
 *	   `-- sentinel --'   B            first; so the tree is never empty
 *
 * There are two kinds.  In a kernel map a region is one allocation, its guard
 * pages included, and is freed whole: a free that does not match one exactly
 * is an error, found and told apart before anything is changed.  In a user
 * map ranges are taken away anywhere, and equal neighbours are joined.
 *
 * 3. Invariants (vm_map_check walks them all)
 *
 *  I1	The first entry is the sentinel; from there it goes up: each region is
 *	at least a page, whole pages, begins where the hole before it ends,
 *	and lies in [vm_min, vm_max).
 *  I2	The last hole ends at vm_max.
 *  I3	The tree is a red-black tree (P1…P4 of rb.c), and the list of
 *	vme_prev and vme_next has its order.
 *  I4	vme_class, vme_mask and vme_max_gap are what section 2 of
 *	vm_map_space.c says.
 *  I5	vms_entries and vms_used are the number of regions and their sum.
 *  I6	Guards fit their region.  In a user map no two neighbours could be
 *	joined.
 *
 * 4. Locking
 *
 * One reader-writer lock for each map.  Lookups read, everything else writes,
 * for O(log n) steps.  Entries are taken from their store before the lock is
 * taken, and go back after it is dropped: so the store can grow in
 * kernel_map itself, and nothing here waits for memory with a lock held.  One
 * that is left over stays with the map (vm_spare), if it has none: where
 * regions come and go in turn, the store and its lock are not asked.
 *
 * 5. What it does not do
 *
 * No submaps, no inheritance, no objects behind regions, no page faults: who
 * maps what into a region is the caller's business (vm_kmem.c, for the
 * kernel's memory).
 */

#include <libkern/errno.h>
#include <vm/pmap.h>
#include <vm/vm_fail.h>
#include <vm/vm_map_impl.h>

/* vm_map_destroy names at most so many of the regions that it finds. */
#define DESTROY_REPORTS	8

static struct vm_map kernel_map_store;
struct vm_map *const kernel_map = &kernel_map_store;

int
vm_map_init(struct vm_map *map, const char *name, vaddr_t min, vaddr_t max,
    unsigned flags, struct pmap *pmap)
{
	if (name == NULL || min >= max ||
	    !page_aligned(min) || !page_aligned(max) ||
	    (flags != VM_MAP_KERNEL && flags != VM_MAP_USER) ||
	    atop(max - min) >> (VM_MAP_PAGE_BITS - 1) > 1)
		return EINVAL;
	*map = (struct vm_map){
		.vm_name = name,
		.vm_min = min,
		.vm_max = max,
		.vm_flags = flags,
		.vm_pmap = pmap,
	};
	vm_rw_init(&map->vm_lock, name);
	space_init(map);
	return 0;
}

void
vm_map_bootstrap(void)
{
	int error;

	entry_bootstrap();
	error = vm_map_init(kernel_map, "kernel_map", VM_MIN_KERNEL_ADDRESS,
	    VM_MAX_KERNEL_ADDRESS, VM_MAP_KERNEL, kernel_pmap);
	KASSERT(error == 0);
}

static struct vm_map_entry *
spare(const struct vm_map *map)
{
	return __atomic_load_n(&map->vm_spare, __ATOMIC_RELAXED);
}

static void
set_spare_locked(struct vm_map *map, struct vm_map_entry *e)
{
	__atomic_store_n(&map->vm_spare, e, __ATOMIC_RELAXED);
}

unsigned long
vm_map_destroy(struct vm_map *map)
{
	struct vm_map_entry *e, *chain = NULL;
	unsigned long n = 0;

	KASSERT(map != kernel_map);
	vm_rw_enter_write(&map->vm_lock);
	while ((e = map->vm_sentinel.vme_next) != NULL) {
		if (n++ < DESTROY_REPORTS)
			vm_host_log("vm_map_destroy: %s: region [%#lx, %#lx) "
			    "of %s is still there\n", map->vm_name,
			    vme_start(e), e->vme_end,
			    e->vme_owner != NULL ? e->vme_owner : "nobody");
		map_unlink_locked(map, e);
		entry_push(&chain, e);
	}
	if (n > DESTROY_REPORTS)
		vm_host_log("vm_map_destroy: %s: and %lu more\n",
		    map->vm_name, n - DESTROY_REPORTS);
	if (spare(map) != NULL)
		entry_push(&chain, spare(map));
	set_spare_locked(map, NULL);
	if (n > 0 && map->vm_pmap != NULL)
		pmap_remove(map->vm_pmap, map->vm_min, map->vm_max);
	vm_rw_exit_write(&map->vm_lock);
	entry_put(chain);
	return n;
}

/* ------------------------------ arguments ------------------------------ */

bool
map_range_ok(const struct vm_map *map, vaddr_t start, vaddr_t end)
{
	return start < end && page_aligned(start) && page_aligned(end) &&
	    start >= map->vm_min && end <= map->vm_max;
}

int
map_request(const struct vm_map *map, const struct vm_map_request *vr,
    struct space_request *rq)
{
	vsize_t guards = ptoa((vsize_t)vr->vr_guard_lo + vr->vr_guard_hi);

	rq->sr_min = vr->vr_min;
	rq->sr_max = vr->vr_max;
	if (vr->vr_min == 0 && vr->vr_max == 0) {
		rq->sr_min = map->vm_min;
		rq->sr_max = map->vm_max;
	}
	rq->sr_align = vr->vr_align > PAGE_SIZE ? vr->vr_align : PAGE_SIZE;
	rq->sr_lead = ptoa(vr->vr_guard_lo);
	rq->sr_need = vr->vr_size + guards;
	rq->sr_policy = vr->vr_policy;
	if (!map_range_ok(map, rq->sr_min, rq->sr_max) ||
	    vr->vr_size == 0 || !page_aligned(vr->vr_size) ||
	    vr->vr_guard_lo > UINT8_MAX || vr->vr_guard_hi > UINT8_MAX ||
	    vr->vr_size > -1UL - guards ||
	    (vr->vr_align != 0 && !powerof2(vr->vr_align)) ||
	    vr->vr_policy > VM_FIT_TOPDOWN || vr->vr_prot > VM_PROT_ALL)
		return EINVAL;
	return 0;
}

/* ---------------------------- taking space ----------------------------- */

void
map_link_locked(struct vm_map *map, struct vm_map_entry *e, vaddr_t start,
    struct vm_map_entry *pred)
{
	space_link(map, e, start, pred);
	map->vm_stats.vms_entries++;
	map->vm_stats.vms_used += e->vme_end - start;
}

void
map_unlink_locked(struct vm_map *map, struct vm_map_entry *e)
{
	map->vm_stats.vms_entries--;
	map->vm_stats.vms_used -= e->vme_end - vme_start(e);
	space_unlink(map, e);
}

/*
 * Take the map's lock, with an entry in hand: the map's spare one, or else one
 * of the store.  That there is no spare one is seen without the lock: where
 * regions only come, it would be taken twice for each.
 * => NULL: none is to be had, and the lock is not taken
 */
static struct vm_map_entry *
enter_with_entry(struct vm_map *map)
{
	struct vm_map_entry *e;

	if (spare(map) != NULL) {
		vm_rw_enter_write(&map->vm_lock);
		e = spare(map);
		if (e != NULL && !vm_fail(VM_FAIL_ENTRY)) {
			set_spare_locked(map, NULL);
			return e;
		}
		vm_rw_exit_write(&map->vm_lock);
		if (e != NULL)
			return NULL;
	}
	e = entry_get(1);
	if (e != NULL)
		vm_rw_enter_write(&map->vm_lock);
	return e;
}

/* Drop the map's lock, and the entries that have become free. */
static void
exit_with_rest(struct vm_map *map, struct vm_map_entry *rest)
{
	if (rest != NULL && spare(map) == NULL)
		set_spare_locked(map, entry_pop(&rest));
	vm_rw_exit_write(&map->vm_lock);
	entry_put(rest);
}

static int
place_locked(struct vm_map *map, const struct space_request *rq,
    struct vm_map_entry *e, vaddr_t *start)
{
	struct vm_map_entry *pred;

	map->vm_stats.vms_finds++;
	pred = vm_fail(VM_FAIL_SPACE) ? NULL : space_find(map, rq, start);
	if (pred == NULL) {
		map->vm_stats.vms_fails++;
		return ENOMEM;
	}
	e->vme_end = *start + rq->sr_need;
	map_link_locked(map, e, *start, pred);
	return 0;
}

int
map_place(struct vm_map *map, const struct space_request *rq,
    struct vm_map_entry *e, vaddr_t *start)
{
	int error;

	vm_rw_enter_write(&map->vm_lock);
	error = place_locked(map, rq, e, start);
	vm_rw_exit_write(&map->vm_lock);
	return error;
}

void
map_displace(struct vm_map *map, struct vm_map_entry *e)
{
	vm_rw_enter_write(&map->vm_lock);
	map_unlink_locked(map, e);
	vm_rw_exit_write(&map->vm_lock);
}

int
vm_map_alloc(struct vm_map *map, const struct vm_map_request *vr,
    vaddr_t *addr)
{
	struct space_request rq;
	struct vm_map_entry *e, *rest = NULL;
	vaddr_t start;
	int error;

	if (map_request(map, vr, &rq) != 0)
		return EINVAL;
	e = enter_with_entry(map);
	if (e == NULL)
		return ENOMEM;
	e->vme_owner = vr->vr_owner;
	e->vme_prot = (uint8_t)vr->vr_prot;
	e->vme_guard_lo = (uint8_t)vr->vr_guard_lo;
	e->vme_guard_hi = (uint8_t)vr->vr_guard_hi;
	e->vme_flags = 0;
	e->vme_wired = 0;
	error = place_locked(map, &rq, e, &start);
	if (error == 0) {
		*addr = start + rq.sr_lead;
		map_join_locked(map, e, &rest);
	} else
		entry_push(&rest, e);
	exit_with_rest(map, rest);
	return error;
}

static int
insert(struct vm_map *map, vaddr_t start, vaddr_t end, vm_prot_t prot,
    const char *owner, uint8_t flags)
{
	struct vm_map_entry *e, *pred, *rest = NULL;
	int error = 0;

	if (!map_range_ok(map, start, end) || prot > VM_PROT_ALL)
		return EINVAL;
	e = enter_with_entry(map);
	if (e == NULL)
		return ENOMEM;
	*e = (struct vm_map_entry){
		.vme_end = end,
		.vme_prot = (uint8_t)prot,
		.vme_owner = owner,
		.vme_flags = flags,
	};
	pred = space_before(map, start);
	if (vme_hole_end(pred) >= end) {
		map_link_locked(map, e, start, pred);
		map_join_locked(map, e, &rest);
	} else {
		error = EEXIST;
		entry_push(&rest, e);
	}
	exit_with_rest(map, rest);
	return error;
}

int
vm_map_insert(struct vm_map *map, vaddr_t start, vaddr_t end, vm_prot_t prot,
    const char *owner)
{
	return insert(map, start, end, prot, owner, 0);
}

int
vm_map_reserve(struct vm_map *map, vaddr_t start, vaddr_t end, vm_prot_t prot,
    const char *owner)
{
	return insert(map, start, end, prot, owner, VME_SPECIAL);
}

/* ----------------------------- giving back ----------------------------- */

/* The region whose usable part is exactly [addr, addr + size). */
static int
exactly_locked(struct vm_map *map, vaddr_t addr, vsize_t size,
    struct vm_map_entry **ep)
{
	struct vm_map_entry *e = space_above(map, addr);

	if (e == NULL || addr < vme_start(e) ||
	    (e->vme_flags & VME_DYING) != 0)
		return EFAULT;
	if (vme_usable_start(e) != addr || vme_usable_end(e) - addr != size)
		return EINVAL;
	if (e->vme_wired != 0 || (e->vme_flags & VME_SPECIAL) != 0)
		return EBUSY;
	*ep = e;
	return 0;
}

int
vm_map_free(struct vm_map *map, vaddr_t addr, vsize_t size)
{
	struct vm_map_entry *e, *rest = NULL;
	int error;

	if (map->vm_flags != VM_MAP_KERNEL)
		return EINVAL;
	vm_rw_enter_write(&map->vm_lock);
	error = exactly_locked(map, addr, size, &e);
	if (error == 0) {
		if (map->vm_pmap != NULL)
			pmap_remove(map->vm_pmap, vme_start(e), e->vme_end);
		map_unlink_locked(map, e);
		entry_push(&rest, e);
	}
	exit_with_rest(map, rest);
	return error;
}

int
vm_map_free_begin(struct vm_map *map, vaddr_t addr, vsize_t size,
    struct vm_map_entry **ep)
{
	int error;

	vm_rw_enter_write(&map->vm_lock);
	error = exactly_locked(map, addr, size, ep);
	if (error == 0)
		(*ep)->vme_flags |= VME_DYING;
	vm_rw_exit_write(&map->vm_lock);
	return error;
}

void
vm_map_free_end(struct vm_map *map, struct vm_map_entry *e)
{
	struct vm_map_entry *rest = NULL;

	vm_rw_enter_write(&map->vm_lock);
	map_unlink_locked(map, e);
	entry_push(&rest, e);
	exit_with_rest(map, rest);
}
