/*
 * All that sys/vm asks of the machine: which virtual page shows which frame.
 * sys/i386/pmap.c answers for i386, test/host/host_pmap.c for a user program.
 *
 *	any pmap	enter, remove, protect, extract, test and clear bits
 *	the kernel's	kenter, kremove: many pages at once; kextract
 *	whole ones	create, destroy, activate
 *	frames		zero_page, copy_page
 *
 * Common contract:
 * => addresses are page-aligned, ranges are [sva, eva); empty ranges do
 *    nothing; a range that is not the pmap's is a panic
 * => each function takes and drops the pmap's own lock; none sleeps
 * => on return no CPU has anything stale in its TLB, so that a frame may be
 *    given back right after its mapping was removed
 * => only pmap_create, pmap_enter and pmap_kenter allocate (frames for page
 *    tables, from vm_phys); nothing that takes away can fail
 */
#ifndef VM_PMAP_H
#define VM_PMAP_H

#include <vm/vm.h>

struct pmap;

/* The kernel's own; its range is visible in every other pmap. */
extern struct pmap *const kernel_pmap;

/*
 * How the CPU caches what it reads and writes there, or'ed into the
 * protection when a page is entered.  Memory wants neither; a device's
 * registers want the first, its frame buffer can do with the second.
 */
#define PMAP_UNCACHED	0x100u
#define PMAP_WRITETHRU	0x200u

/*
 * Map the page at va to the frame at pa, replacing what was there.
 * => prot must hold VM_PROT_READ; the machine may grant execute with read
 * => 0, or ENOMEM when no frame could be had for a page table: then nothing
 *    has changed
 * => a user address (below VM_MAX_ADDRESS) is mapped for user mode
 * => a kernel page table made for it is visible in every pmap, and stays
 * => what is in a frame that was replaced in the kernel's, and that nobody
 *    shows any more, may be lost: it is on its way to vm_phys
 */
int	pmap_enter(struct pmap *, vaddr_t va, paddr_t pa, vm_prot_t prot);

/*
 * Unmap every page of [sva, eva) that is mapped; those that are not are
 * skipped.  Frames stay the caller's.
 * => a user page table that becomes empty is freed; a kernel one never is
 */
void	pmap_remove(struct pmap *, vaddr_t sva, vaddr_t eva);

/*
 * Change the protection of every mapped page of [sva, eva); how it is cached
 * and whether it was used stay as they are.
 * => VM_PROT_NONE leaves the pages mapped but without access: the frames can
 *    still be extracted
 */
void	pmap_protect(struct pmap *, vaddr_t sva, vaddr_t eva, vm_prot_t prot);

/* The physical address behind va, if mapped; *pa is set only then. */
bool	pmap_extract(struct pmap *, vaddr_t va, paddr_t *pa);

/*
 * The same for an address of the kernel's, without a lock and inline, for
 * whoever has to know for each pointer what lies behind it.
 * => right for as long as the page is the caller's; of other pages it tells
 *    what was there a moment ago
 * => va need not be aligned; one that is not the kernel's is not mapped
 * => *pa is set only when it is true, or to what means nothing
 */
#include <machine/kextract.h>
/* bool	pmap_kextract(vaddr_t va, paddr_t *pa); */

/*
 * Was the page at va read or written, and was it written, since it was
 * entered or the bits were cleared?
 * => pmap_clear_bits clears those in `bits` and returns which of them were
 *    set; the next access sets them again
 * => 0 for a page that is not mapped
 */
#define PMAP_ACCESSED	0x1u
#define PMAP_MODIFIED	0x2u
unsigned pmap_test_bits(struct pmap *, vaddr_t va);
unsigned pmap_clear_bits(struct pmap *, vaddr_t va, unsigned bits);

/*
 * Map n pages of the kernel from va on, where nothing is mapped, to n frames:
 * one lock for all of them, and no flush, as no TLB holds what was not there.
 * => all or none: ENOMEM as for pmap_enter
 * => a page that is mapped is a panic
 */
int	pmap_kenter(vaddr_t va, const paddr_t *pa, unsigned n, vm_prot_t prot);

/*
 * Unmap what is mapped of n pages of the kernel from va on, and hand out the
 * frames, in the order of their addresses.
 * => how many there were; pa has room for n
 * => what is in those that nobody shows any more may be lost, as for
 *    pmap_enter; pmap_remove keeps it
 */
unsigned pmap_kremove(vaddr_t va, unsigned n, paddr_t *pa);

/*
 * A new, empty user address space; NULL when there is no frame for it.
 * pmap_destroy wants it inactive and gives its page tables back; mappings
 * still there are dropped (the frames they show are the caller's).
 */
struct pmap *pmap_create(void);
void	pmap_destroy(struct pmap *);

/* Make it the one that user addresses are looked up in. */
void	pmap_activate(struct pmap *);

/* Fill a frame that nobody shows, or copy one, through a window of the
 * machine's own. */
void	pmap_zero_page(paddr_t pa);
void	pmap_copy_page(paddr_t src, paddr_t dst);

#endif
