/*
 * The flat machine's memory (host_flat.c), for host_mem.c alone.
 */
#ifndef TEST_HOST_HOST_FLAT_H
#define TEST_HOST_HOST_FLAT_H

#include "host_mem.h"

/* The frames' other places are phys, of which memfd is made. */
void	flat_bootstrap(pfn_t nframes, char *phys);

/* As the functions of host_mem.h that are called so, and host_phys. */
void	flat_show(vaddr_t start, vaddr_t end, paddr_t, vm_prot_t);
void	flat_hide(vaddr_t start, vaddr_t end);
void	flat_protect(vaddr_t start, vaddr_t end, vm_prot_t);
void	flat_lost(const paddr_t *, unsigned n);
void	flat_zero(paddr_t);
void	*flat_phys(paddr_t);

#endif
