/*
 * How pmap.c gets at its tables where no CPU walks them: each look is an
 * access to the address that it would have on i386, through the MMU of
 * test/pmap_sim.c and its TLB.
 */
#ifndef MACHINE_PTMAP_H
#define MACHINE_PTMAP_H

#include <machine/pte.h>

pte_t	*vtopte(vaddr_t va);
pte_t	*vtopde(vaddr_t va);
void	*vtoptr(vaddr_t va);

#endif
