/*
 * What sys/vm needs to know about this machine's address space: the scalar
 * types, the page, and where kernel_map's windows lie.  memlayout.h draws
 * the same picture with everything in it; a static assertion there keeps the
 * two from drifting apart.
 */
#ifndef MACHINE_VMPARAM_H
#define MACHINE_VMPARAM_H

typedef unsigned long vaddr_t;	/* a virtual address, or the end of a range */
typedef unsigned long vsize_t;	/* a length in bytes */
typedef unsigned long paddr_t;	/* a physical address below 4 GiB */

#define PAGE_SHIFT	12
#define PAGE_SIZE	(1UL << PAGE_SHIFT)
#define PAGE_MASK	(PAGE_SIZE - 1)

/* kernel_map covers [VM_MIN_KERNEL_ADDRESS, VM_MAX_KERNEL_ADDRESS). */
#define VM_MIN_KERNEL_ADDRESS	0xC0000000UL
#define VM_MAX_KERNEL_ADDRESS	0xFFC00000UL

/* The windows of kmem_alloc; the last page of the first two is a guard. */
#define VM_HEAP_MIN		0xC0400000UL
#define VM_HEAP_MAX		0xD0400000UL
#define VM_SLAB_MIN		0xD0400000UL
#define VM_SLAB_MAX		0xE0400000UL
#define VM_MISC_MIN		0xE0405000UL
#define VM_MISC_MAX		VM_MAX_KERNEL_ADDRESS

/* User space; page 0 is never mapped. */
#define VM_MIN_ADDRESS		0x00001000UL
#define VM_MAX_ADDRESS		0xC0000000UL

/* log2 of the number of pages that a vm_map may span. */
#define VM_MAP_PAGE_BITS	20

#endif
