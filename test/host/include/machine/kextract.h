/*
 * pmap_kextract (vm/pmap.h) of the host machine, inline: the kernel's entries
 * lie in a row, by address (host_pmap.c).
 */
#ifndef HOST_KEXTRACT_H
#define HOST_KEXTRACT_H

#include <stdbool.h>

#include <machine/vmparam.h>

#define HOST_NKPTE	((VM_MAX_KERNEL_ADDRESS - VM_MIN_KERNEL_ADDRESS) >> \
			    PAGE_SHIFT)

extern paddr_t host_kpte[];

static inline bool
pmap_kextract(vaddr_t va, paddr_t *pa)
{
	const vaddr_t i = (va - VM_MIN_KERNEL_ADDRESS) >> PAGE_SHIFT;
	paddr_t pte;

	if (i >= HOST_NKPTE)
		return false;
	pte = __atomic_load_n(&host_kpte[i], __ATOMIC_RELAXED);
	*pa = (pte & ~(paddr_t)PAGE_MASK) | (va & PAGE_MASK);
	return pte != 0;
}

#endif
