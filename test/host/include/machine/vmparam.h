/*
 * The host test machine's address space, as sys/vm sees it: the twin of
 * sys/i386/include/machine/vmparam.h.
 *
 * In 32 bits the windows lie at the kernel's own addresses.  In 64 bits they
 * lie HOST_VA_BASE higher, with the same low 32 bits, in a place that is
 * free in every process, under AddressSanitizer and under ThreadSanitizer
 * too (TSan admits only what lies above 0x7e8000000000 there).
 */
#ifndef MACHINE_VMPARAM_H
#define MACHINE_VMPARAM_H

typedef unsigned long vaddr_t;	/* a virtual address, or the end of a range */
typedef unsigned long vsize_t;	/* a length in bytes */
typedef unsigned long paddr_t;	/* a physical address below 4 GiB */

#define PAGE_SHIFT	12
#define PAGE_SIZE	(1UL << PAGE_SHIFT)
#define PAGE_MASK	(PAGE_SIZE - 1)

#if __SIZEOF_LONG__ == 8
#define HOST_VA_BASE		0x7E9000000000UL
#define HOST_VA_TOP		0xFFC00000UL
#define VM_MAP_PAGE_BITS	35	/* 47-bit addresses */
#else
#define HOST_VA_BASE		0UL
#define HOST_VA_TOP		0xE8000000UL
#define VM_MAP_PAGE_BITS	20
#endif

/*
 * In 32 bits what lies above 0xE8000000 is left to the process's own stack;
 * on i386, and in 64 bits, the map goes on to 0xFFC00000.
 */
#define VM_MIN_KERNEL_ADDRESS	(HOST_VA_BASE + 0xC0000000UL)
#define VM_MAX_KERNEL_ADDRESS	(HOST_VA_BASE + HOST_VA_TOP)
#define VM_HEAP_MIN		(HOST_VA_BASE + 0xC0400000UL)
#define VM_HEAP_MAX		(HOST_VA_BASE + 0xD0400000UL)
#define VM_SLAB_MIN		(HOST_VA_BASE + 0xD0400000UL)
#define VM_SLAB_MAX		(HOST_VA_BASE + 0xE0400000UL)
#define VM_MISC_MIN		(HOST_VA_BASE + 0xE0405000UL)
#define VM_MISC_MAX		VM_MAX_KERNEL_ADDRESS

#define VM_MIN_ADDRESS		0x00001000UL
#if __SIZEOF_LONG__ == 8
#define VM_MAX_ADDRESS		0x7FFFFFFFF000UL
#else
#define VM_MAX_ADDRESS		0xC0000000UL
#endif

#endif
