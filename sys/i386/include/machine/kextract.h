/*
 * pmap_kextract (vm/pmap.h), inline: it is on the way of each pointer that is
 * freed.  The tables are seen through the recursive slot, so it is two loads.
 */
#ifndef MACHINE_KEXTRACT_H
#define MACHINE_KEXTRACT_H

#include <stdbool.h>

#include <machine/ptmap.h>

static inline bool
pmap_kextract(vaddr_t va, paddr_t *pa)
{
	pte_t e;

	if (va < VM_MIN_KERNEL_ADDRESS || va >= VM_MAX_KERNEL_ADDRESS)
		return false;
	if (!(*vtopde(va) & PG_V))
		return false;
	e = *vtopte(va);
	*pa = (e & PG_FRAME) | (va & PAGE_MASK);
	return e != 0;
}

#endif
