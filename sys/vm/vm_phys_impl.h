/*
 * The inside of vm_phys: for vm_phys*.c, the debugger and the tests.
 */
#ifndef VM_VM_PHYS_IMPL_H
#define VM_VM_PHYS_IMPL_H

#include <libkern/bitmap.h>
#include <vm/vm_host.h>
#include <vm/vm_phys.h>

/*
 * A frame's state, in 2 bits of vm_frames.vf_state: its vm_page tells all; or
 * it is plain, with one of the two owners that most frames have.
 */
enum vm_phys_state { STATE_PAGE, STATE_KMEM, STATE_USER, STATE_NONE };
#define STATE_BITS	2u
#define STATE_MASK	3u
#define STATE_BYTE	4u		/* so many in a byte */
_Static_assert(STATE_BITS == 2 && STATE_MASK == 3 && STATE_BYTE == 4 &&
    STATE_PAGE == 0, "vm_phys_page, in vm_phys.h, counts on these");

/*
 * A zone's next frames: those at hand, which have no bit set; and where to
 * look in the bitmap for more.
 */
struct vm_phys_next {
	uint32_t	vn_hand;	/* bit i: frame vn_first + i */
	pfn_t		vn_first;	/* multiple of 32 */
	pfn_t		vn_hint;	/* no bit of the zone is set below */
};

/* All of it, but for the arrays, is under vp_mtx. */
struct vm_phys {
	struct vm_mtx	vp_mtx;
	struct vm_phys_next vp_next[VM_NZONES];
	pfn_t		vp_calm_min, vp_calm_max;	/* calm_set_locked */
	struct vm_phys_stats vp_stats;	/* vm_phys_stats adds the rest */
	struct bitmap	vp_free;
	void		(*vp_watcher)(bool);
};
extern struct vm_phys vm_phys_self;

static const struct {
	pfn_t	z_start, z_end;
} zones[VM_NZONES] = {
	[VM_ZONE_LOW] =		{ 0, 1u << (20 - PAGE_SHIFT) },
	[VM_ZONE_DMA] =		{ 1u << (20 - PAGE_SHIFT),
				  1u << (24 - PAGE_SHIFT) },
	[VM_ZONE_HIGH] =	{ 1u << (24 - PAGE_SHIFT), PFN_MAX },
};

static inline enum vm_zone
zone_of(pfn_t pfn)
{
	if (pfn >= zones[VM_ZONE_HIGH].z_start)
		return VM_ZONE_HIGH;
	return pfn >= zones[VM_ZONE_DMA].z_start ? VM_ZONE_DMA : VM_ZONE_LOW;
}

static inline bool
owner_allocated(unsigned owner)
{
	return owner > VM_PAGE_FREE && owner < VM_PAGE_NOWNERS;
}

static inline enum vm_phys_state
state_of(pfn_t pfn)
{
	return vm_frames.vf_state[pfn / STATE_BYTE] >>
	    (pfn % STATE_BYTE * STATE_BITS) & STATE_MASK;
}

/* Of the frame that is in this state. */
static inline unsigned
state_owner(enum vm_phys_state state, pfn_t pfn)
{
	static const uint8_t owner[] = {
		[STATE_KMEM] = VM_PAGE_KMEM, [STATE_USER] = VM_PAGE_USER,
		[STATE_NONE] = VM_PAGE_NOWNERS
	};

	return state != STATE_PAGE ? owner[state] :
	    vm_frames.vf_page[pfn].pg_owner;
}

static inline unsigned
owner_locked(pfn_t pfn)
{
	return state_owner(state_of(pfn), pfn);
}

/* Is the frame at hand? */
static inline bool
hand_test_locked(const struct vm_phys *vp, pfn_t pfn)
{
	const struct vm_phys_next *vn = &vp->vp_next[zone_of(pfn)];

	return pfn - vn->vn_first < 32 && (vn->vn_hand >> (pfn % 32) & 1) != 0;
}

/* Free frames in all zones. */
static inline pfn_t
nfree_locked(const struct vm_phys *vp)
{
	const pfn_t *n = vp->vp_stats.ps_free;

	return n[VM_ZONE_LOW] + n[VM_ZONE_DMA] + n[VM_ZONE_HIGH];
}

#endif
