/*
 * All that sys/vm asks of the machine: which virtual page shows which frame.
 * sys/i386/pmap.c answers for i386, test/host/host_pmap.c for a user program.
 *
 * Common contract:
 * => addresses are page-aligned, ranges are [sva, eva); empty ranges do
 *    nothing
 * => each function takes and drops the pmap's own lock; none sleeps
 * => on return no CPU has anything stale in its TLB, so that a frame may be
 *    given back right after its mapping was removed
 * => only pmap_create and pmap_enter allocate (frames for page tables, from
 *    vm_phys); nothing that takes away can fail
 */
#ifndef VM_PMAP_H
#define VM_PMAP_H

#include <vm/vm.h>

struct pmap;

/* The kernel's own; its range is visible in every other pmap. */
extern struct pmap *const kernel_pmap;

/*
 * Map the page at va to the frame at pa, replacing what was there.
 * => prot must hold VM_PROT_READ; the machine may grant execute with read
 * => 0, or ENOMEM when no frame could be had for a page table: then nothing
 *    has changed
 * => a user address (below VM_MAX_ADDRESS) is mapped for user mode
 */
int	pmap_enter(struct pmap *, vaddr_t va, paddr_t pa, vm_prot_t prot);

/*
 * Unmap every page of [sva, eva) that is mapped; those that are not are
 * skipped.  Frames stay the caller's.
 * => a user page table that becomes empty is freed; a kernel one never is
 */
void	pmap_remove(struct pmap *, vaddr_t sva, vaddr_t eva);

/*
 * Change the protection of every mapped page of [sva, eva).
 * => VM_PROT_NONE leaves the pages mapped but without access: the frames can
 *    still be extracted
 */
void	pmap_protect(struct pmap *, vaddr_t sva, vaddr_t eva, vm_prot_t prot);

/* The physical address behind va, if mapped; *pa is set only then. */
bool	pmap_extract(struct pmap *, vaddr_t va, paddr_t *pa);

/*
 * A new, empty user address space; NULL when there is no frame for it.
 * pmap_destroy wants it inactive and gives its page tables back; mappings
 * still there are dropped (the frames they show are the caller's).
 */
struct pmap *pmap_create(void);
void	pmap_destroy(struct pmap *);
void	pmap_activate(struct pmap *);

/* Fill a frame that nobody shows, or copy one, through a window of the
 * machine's own. */
void	pmap_zero_page(paddr_t pa);
void	pmap_copy_page(paddr_t src, paddr_t dst);

#endif
