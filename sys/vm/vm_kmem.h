/*
 * kmem_alloc: address space, frames and mappings in one call, for the
 * kernel's own use.  The heap and the slab layer get their pages here.
 */
#ifndef VM_VM_KMEM_H
#define VM_VM_KMEM_H

#include <vm/vm_map.h>

/*
 * size bytes, rounded up to pages, mapped read-write, in the window that the
 * flags choose (KM_HEAP, KM_SLAB, or neither), best fit.
 * => flags: KM_NOSLEEP, KM_EASY, KM_ZERO, and at most one window
 * => 0 when there is no space, no frame, or no entry (then nothing is left
 *    behind), and for a size that is 0 or wraps
 * => takes the map's lock; may sleep without KM_NOSLEEP; not from an
 *    interrupt
 */
vaddr_t	kmem_alloc(struct vm_map *, vsize_t size, int flags);

/*
 * The same with all that can be asked: alignment, window, guards, owner,
 * protection (vr_prot; 0 means VM_PROT_RW, and what cannot be read is EINVAL).
 * => 0 and *addr, EINVAL, or ENOMEM
 * => the map is kernel_map, or one of addresses taken from it, whose pmap is
 *    kernel_pmap; any other is EINVAL
 */
int	kmem_alloc_request(struct vm_map *, const struct vm_map_request *,
	    int flags, vaddr_t *addr);

/*
 * Give back what kmem_alloc gave, whole, with the size that was asked for.
 * => never allocates, never fails; a range that is not exactly an
 *    allocation's (double, wrong size, interior, foreign) is a panic that
 *    names all arguments, and the map is as it was
 * => unmapped, flushed from the TLB, and only then are the frames free; or
 *    kept as it is for the next request of its window and size (kmem_range.h)
 * => who changed its mappings by calls of pmap's puts them right first
 */
void	kmem_free(struct vm_map *, vaddr_t addr, vsize_t size);

/*
 * The same, past the range cache: on return nothing is mapped there.
 * => for the range cache itself, and for whoever knows that it does not keep
 *    the range
 */
void	kmem_free_now(struct vm_map *, vaddr_t addr, vsize_t size);

/*
 * Whoever holds memory that it could give back registers here, with a name
 * and a priority; when frames or address space run out, kmem_alloc asks for
 * as much as it needs before it fails or sleeps.
 * => kr_reclaim(pages) returns the pages that went back; it is called with
 *    kmem's reclaim lock held and no other, never from an interrupt and never
 *    within itself, and must not sleep; where it allocates it gets what is
 *    there, or nothing
 * => the structure is the caller's and stays registered
 */
struct kmem_reclaimer {
	const char	*kr_name;
	unsigned	kr_priority;	/* KR_*; the lowest is asked first */
	unsigned long	(*kr_reclaim)(unsigned long pages);
	struct kmem_reclaimer *kr_next;
	uint64_t	kr_calls, kr_pages;	/* asked, and given */
};
#define KR_RANGE	5	/* the range cache, which is quick to empty */
#define KR_FREE		10	/* what is kept for nobody: empty slabs */
#define KR_CACHE	20	/* what can be had again: clean pages */
#define KR_DIRTY	30	/* what has to be written first */

/* Equal ones are asked in the order of their registration. */
void	kmem_reclaim_add(struct kmem_reclaimer *);

/*
 * Ask for so many pages.
 * => how many went back, perhaps more; 0 from an interrupt
 */
unsigned long kmem_reclaim(unsigned long pages);

/* Begin with NULL.  For the debugger and tests. */
const struct kmem_reclaimer *kmem_reclaim_next(const struct kmem_reclaimer *);

/* The frames are there, and nothing was allocated yet. */
void	kmem_bootstrap(void);

#endif
