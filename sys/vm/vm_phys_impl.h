/*
 * The inside of vm_phys: for vm_phys*.c, the debugger and the tests.
 */
#ifndef VM_VM_PHYS_IMPL_H
#define VM_VM_PHYS_IMPL_H

#include <libkern/bitmap.h>
#include <vm/vm_host.h>
#include <vm/vm_phys.h>

/* A frame's state (vm_frames.vf_state): 0, or STATE_PLAIN with its owner. */
#define STATE_PLAIN	0x80u
#define STATE_SEEN	0x40u	/* for a moment, by condemn_locked */
#define STATE_OWNER	0x3Fu

/* All of it, but for the arrays, is under vp_mtx. */
struct vm_phys {
	struct vm_mtx	vp_mtx;
	pfn_t		vp_hand_first;	/* at hand: free frames that have */
	uint32_t	vp_hand;	/* no bit, from this one on */
	pfn_t		vp_hint[VM_NZONES];	/* no bit is set below */
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

/* Atomic: vm_phys_page looks without the lock. */
static inline unsigned
state_of(pfn_t pfn)
{
	return __atomic_load_n(&vm_frames.vf_state[pfn], __ATOMIC_RELAXED);
}

static inline unsigned
owner_locked(pfn_t pfn)
{
	unsigned state = state_of(pfn);

	return state != 0 ? state & STATE_OWNER :
	    vm_frames.vf_page[pfn].pg_owner;
}

/* Free frames in all zones. */
static inline pfn_t
nfree_locked(const struct vm_phys *vp)
{
	const pfn_t *n = vp->vp_stats.ps_free;

	return n[VM_ZONE_LOW] + n[VM_ZONE_DMA] + n[VM_ZONE_HIGH];
}

#endif
