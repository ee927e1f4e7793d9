/*
 * vm_map: what keeps track of which virtual addresses are in use, and so of
 * which are free.  The theory opens vm_map.c and vm_map_space.c.
 *
 * Common contract:
 * => addresses and sizes are in bytes and page-aligned; ranges [start, end);
 *    anything else is EINVAL.  The last page of the machine's address space
 *    is never in a map, since its end could not be said
 * => every function takes and drops the map's lock itself, unless its name
 *    ends in _locked; none is called with a lock of sys/vm held, none from
 *    an interrupt; none sleeps
 * => results are stored only on success; on any error the map is as it was
 * => where more than one error applies, any of them is returned; ENOMEM for
 *    want of an entry is found before the map is looked at
 * => a window that sticks out of the map is EINVAL; an alignment larger than
 *    the map is none, and fits where a multiple of it happens to lie inside
 * => what takes away never allocates where the range fits whole regions, and
 *    cannot fail for want of memory there
 */
#ifndef VM_VM_MAP_H
#define VM_VM_MAP_H

#include <libkern/rb.h>
#include <vm/vm.h>
#include <vm/vm_host.h>

struct pmap;

/*
 * A region, and the hole of vme_gap bytes behind it.  It begins where the
 * hole before it ends, and so does not say where (vme_start()).
 * Readers outside of vm_map*.c may look at the fields marked (r), under the
 * map's lock.  What a search reads comes first: 37 bytes with 32-bit
 * pointers, 57 with 64-bit ones, within a cache line of 64.
 */
struct vm_map_entry {
	struct rb_node	 vme_rb;	/* address tree; must be first */
	vaddr_t		 vme_end;	/* (r) */
	vsize_t		 vme_gap;	/* (r) the hole behind it */
	uint64_t	 vme_mask[2];	/* classes of the holes below, on the
					   left and on the right */
	uint8_t		 vme_class;	/* of its own hole, from 1; 0: none */

	uint8_t		 vme_prot;	/* (r) vm_prot_t */
	uint8_t		 vme_guard_lo;	/* (r) pages of guard before */
	uint8_t		 vme_guard_hi;	/* (r) and behind, inside the region */
	uint8_t		 vme_flags;	/* (r) VME_* */
	uint16_t	 vme_wired;	/* (r) wire count */
	struct vm_map_entry *vme_prev;	/* the entry before by address, and */
	struct vm_map_entry *vme_next;	/* (r) behind; NULL: there is none */
	vsize_t		 vme_max_gap;	/* the largest hole of its subtree, if
					   larger than the exact classes */
	const char	*vme_owner;	/* (r) who asked; not copied */
};

#define VME_SENTINEL	0x01	/* the map's own: no region, but a hole */
#define VME_SPECIAL	0x02	/* vm_map_reserve: stays for ever */
#define VME_DYING	0x04	/* its pages are being given back */

/* Kinds of map. */
#define VM_MAP_KERNEL	0x01	/* regions are freed whole, exactly as taken */
#define VM_MAP_USER	0x02	/* ranges are cut anywhere, equal ones joined */

struct vm_map_stats {
	unsigned long	vms_entries;	/* regions */
	vsize_t		vms_used;	/* bytes in them, guards included */
	uint64_t	vms_finds;	/* requests for space */
	uint64_t	vms_fails;	/* of those, ENOMEM */
	uint64_t	vms_last_resort; /* aligned searches that had to go
					    from hole to hole (P4) */
	uint64_t	vms_last_visits; /* holes that did not fit on the way */
};

struct vm_map {
	struct rb_tree	 vm_tree;	/* by address; never empty */
	struct vm_map_entry vm_sentinel; /* [vm_min, vm_min), always leftmost */
	vaddr_t		 vm_min, vm_max; /* (r) the map covers [min, max) */
	const char	*vm_name;	/* (r) */
	struct pmap	*vm_pmap;	/* (r) or NULL: addresses only */
	unsigned	 vm_flags;	/* (r) kind */
	struct vm_rwlock vm_lock;
	struct vm_map_entry *vm_spare;	/* an entry for the next region */
	struct vm_map_stats vm_stats;
};

extern struct vm_map *const kernel_map;

/*
 * Where new space is to come from.  Zeroed fields mean: the whole map, no
 * alignment, no guards, best fit, protection none.
 */
enum vm_map_policy {
	VM_FIT_BEST,		/* the smallest hole that fits, if it is of at
				   most 32 pages, the lowest on ties; else one
				   about as small.  A hole counts with what lies
				   in the window, space is taken at its low
				   end, and no request fails that some hole
				   fits (the five promises, vm_map_space.c) */
	VM_FIT_FIRST,		/* the lowest address that fits */
	VM_FIT_TOPDOWN,		/* the highest */
};

struct vm_map_request {
	vsize_t		 vr_size;	/* bytes, guards not counted */
	vsize_t		 vr_align;	/* of the address returned: a power of
					   two of bytes, or 0; to the size of
					   the window */
	vaddr_t		 vr_min;	/* window [min, max); 0, 0: the map's */
	vaddr_t		 vr_max;
	unsigned	 vr_guard_lo;	/* pages left unmapped before, */
	unsigned	 vr_guard_hi;	/* and behind; at most 255 */
	enum vm_map_policy vr_policy;
	vm_prot_t	 vr_prot;
	const char	*vr_owner;	/* a string that outlives the region */
};

/*
 * Make an empty map of [min, max), in memory of the caller's.
 * => pmap may be NULL: then the map tracks addresses and nothing else
 * => EINVAL: unaligned or empty range, more pages than VM_MAP_PAGE_BITS count
 *    (vmparam.h), no name, flags not exactly one kind
 */
int	vm_map_init(struct vm_map *, const char *name, vaddr_t min,
	    vaddr_t max, unsigned flags, struct pmap *);

/*
 * Empty a map for good.  Regions still there are dropped, their mappings
 * removed, and their number returned after one line of report for each of
 * the first few.  The memory of the map is the caller's again.
 */
unsigned long vm_map_destroy(struct vm_map *);

/*
 * Find space and take it: one region, guards included.
 * => *addr is the first byte behind the leading guard
 * => EINVAL, or ENOMEM: no hole fits, or no entry could be had
 * => vm_map_explain says why there was no hole
 */
int	vm_map_alloc(struct vm_map *, const struct vm_map_request *,
	    vaddr_t *addr);

/*
 * Take [start, end), which must be free.
 * => EINVAL, EEXIST (something is there), ENOMEM (no entry)
 * => in a user map it is joined with equal neighbours
 */
int	vm_map_insert(struct vm_map *, vaddr_t start, vaddr_t end, vm_prot_t,
	    const char *owner);

/*
 * The same for what must stay for ever (the image, guards, boot's tables):
 * nothing frees it, joins it, or changes it.
 */
int	vm_map_reserve(struct vm_map *, vaddr_t start, vaddr_t end, vm_prot_t,
	    const char *owner);

/*
 * Give back the region whose usable part is [addr, addr + size), exactly as
 * vm_map_alloc or vm_map_insert made it, in a kernel map.
 * => never allocates
 * => EFAULT: no region is at addr (double or foreign free); EINVAL: there is
 *    one, of another size or begin; EBUSY: it is wired, or special
 */
int	vm_map_free(struct vm_map *, vaddr_t addr, vsize_t size);

/*
 * User maps: whatever lies in [start, end) is gone after; nothing there is
 * no error.  Mappings are removed, frames are the caller's.
 * => ENOMEM only when an entry is cut in two and no entry can be had
 * => EBUSY: something there is wired
 * => in a kernel map: the range must be exactly one region (with its guards
 *    or without), and the errors are those of vm_map_free
 */
int	vm_map_remove(struct vm_map *, vaddr_t start, vaddr_t end);

/*
 * Change the protection of [start, end), all of which must be taken.
 * => EFAULT: there is a hole in it; EBUSY: some of it is reserved; ENOMEM
 * => kernel map: the range must be whole regions, the first and the last
 *    with their outer guards or without (EINVAL)
 */
int	vm_map_protect(struct vm_map *, vaddr_t start, vaddr_t end, vm_prot_t);

/*
 * Count a wiring of [start, end) up / down, all of which must be taken.
 * => EFAULT: a hole; EBUSY: some of it is reserved; EINVAL: (unwire) some of
 *    it is not wired, (wire) a count would overflow; ENOMEM
 */
int	vm_map_wire(struct vm_map *, vaddr_t start, vaddr_t end);
int	vm_map_unwire(struct vm_map *, vaddr_t start, vaddr_t end);

/* What a region is, as a copy: nothing in it needs the lock. */
struct vm_map_info {
	vaddr_t		 vi_start, vi_end;	/* guards included */
	vsize_t		 vi_gap;		/* the hole behind it */
	unsigned	 vi_guard_lo, vi_guard_hi; /* pages */
	vm_prot_t	 vi_prot;
	unsigned	 vi_wired;
	const char	*vi_owner;
};

/* The region that holds addr.  => EFAULT: addr is free or outside */
int	vm_map_lookup(struct vm_map *, vaddr_t addr, struct vm_map_info *);

/*
 * The first region that ends above addr: begin with vm_min, go on with
 * vi_end, and the map may change in between.  => ENOENT: there is none
 */
int	vm_map_next(struct vm_map *, vaddr_t addr, struct vm_map_info *);

/* Why a request finds no space, in figures: nothing is changed. */
#define VM_MAP_NCLASSES	64
struct vm_map_explain {
	vsize_t		vx_need;	/* bytes, guards included */
	vsize_t		vx_align;	/* bytes */
	vsize_t		vx_free;	/* free bytes inside the window */
	vsize_t		vx_largest;	/* the largest hole there */
	vaddr_t		vx_largest_at;
	unsigned long	vx_nholes;
	unsigned long	vx_holes[VM_MAP_NCLASSES];	/* by class */
	const char	*vx_before;	/* who sits before the largest hole, */
	const char	*vx_after;	/* and behind; NULL: the map's edge */
	bool		vx_fits;	/* it would succeed now */
};
int	vm_map_explain(struct vm_map *, const struct vm_map_request *,
	    struct vm_map_explain *);
/* The smallest number of pages of a hole of that class. */
vsize_t	vm_map_class_pages(unsigned cls);

void	vm_map_stats(struct vm_map *, struct vm_map_stats *);

/*
 * Walk everything and recompute every summary.
 * => NULL, or which invariant of vm_map.c is broken (a static string)
 */
const char *vm_map_check(struct vm_map *);

/* kernel_map, over static entries; before anything else here. */
void	vm_map_bootstrap(void);

#endif
