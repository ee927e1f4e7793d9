/*
 * The few things that all of sys/vm shares: types, protections, flags, and
 * the order of the locks.
 *
 * Lock order, outermost first.  Whoever holds one takes only those below it.
 *
 *	kmem reclaim	(reader-writer)	vm_kmem.c
 *	the CPU		(no lock)	machine/vmcpu.h: what belongs to it
 *	cache lock	(mutex)		kmem_cache.c, one per cache
 *	map lock	(reader-writer)	vm_map.c, one per map
 *	entry store	(mutex)		vm_map_entry.c
 *	pmap		(mutex)		the machine's; i386 has one for all
 *	range cache	(mutex)		kmem_range.c
 *	vm_phys		(mutex)		vm_phys.c
 *
 * Leaves, taken with no other: the list of caches (kmem_cache.c), the pages
 * that interrupts gave back (kmem_pages.c), the heap's figures (kmalloc.c).
 *
 * A cache lock is dropped before the map is entered all the same: growing
 * and returning slabs happen with no lock held.
 */
#ifndef VM_VM_H
#define VM_VM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <machine/vmparam.h>

typedef unsigned vm_prot_t;
#define VM_PROT_NONE	0u
#define VM_PROT_READ	1u
#define VM_PROT_WRITE	2u
#define VM_PROT_EXECUTE	4u
#define VM_PROT_RW	(VM_PROT_READ | VM_PROT_WRITE)
#define VM_PROT_ALL	(VM_PROT_RW | VM_PROT_EXECUTE)

/*
 * Bytes to pages and back.  round_page wraps to 0 within a page of the top:
 * compare sizes first.
 */
#define atop(x)		((vsize_t)(x) >> PAGE_SHIFT)
#define ptoa(n)		((vsize_t)(n) << PAGE_SHIFT)
#define trunc_page(x)	((x) & ~(vsize_t)PAGE_MASK)
#define round_page(x)	(((x) + PAGE_MASK) & ~(vsize_t)PAGE_MASK)
#define page_aligned(x)	(((x) & PAGE_MASK) == 0)

/*
 * Flags of everything that allocates: kmem_alloc, kmem_cache_alloc, kmalloc.
 * Without KM_NOSLEEP the caller may be put to sleep until there is memory;
 * where sleeping is impossible it fails like KM_NOSLEEP (0 or NULL).
 */
#define KM_SLEEP	0x0000
#define KM_NOSLEEP	0x0001	/* fail rather than wait */
#define KM_ZERO		0x0002	/* fill with zero bytes */
#define KM_RESERVE	0x0004	/* kmem_cache_alloc: from the reserve, too */
#define KM_EASY		0x0008	/* fail rather than ask others to give up
				   theirs; implies KM_NOSLEEP */

/* Which window of kernel_map: kmem_alloc only.  None given: VM_MISC. */
#define KM_HEAP		0x0010	/* [VM_HEAP_MIN, VM_HEAP_MAX) */
#define KM_SLAB		0x0020	/* [VM_SLAB_MIN, VM_SLAB_MAX) */

/* kmem_cache_create: no magazines, freed objects go straight to their slabs. */
#define KM_NOMAG	0x0040

/* kmem_cache_create: the frames behind its objects need not stay the same. */
#define KM_MESH		0x0080

/* Fail-the-nth: tests make an allocation site fail.  See vm_fail.h. */

#endif
