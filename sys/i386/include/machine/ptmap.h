/*
 * How pmap.c gets at its tables while the CPU walks them: by address.
 */
#ifndef MACHINE_PTMAP_H
#define MACHINE_PTMAP_H

#include <machine/pte.h>

/* The page table's entry for va in the active pmap, where there is a table. */
static inline pte_t *
vtopte(vaddr_t va)
{
	return PTMAP + (va >> PAGE_SHIFT);
}

/* The directory's. */
static inline pte_t *
vtopde(vaddr_t va)
{
	return PDMAP + PDE_INDEX(va);
}

/* A page of the kernel's as memory. */
static inline void *
vtoptr(vaddr_t va)
{
	return (void *)va;
}

#endif
