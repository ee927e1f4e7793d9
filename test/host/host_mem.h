/*
 * What the process sees of the machine's memory, for host_pmap.c alone.
 * Whoever calls these holds the kernel pmap's lock.
 */
#ifndef TEST_HOST_HOST_MEM_H
#define TEST_HOST_HOST_MEM_H

#include <vm/vm.h>

#include "host.h"

void	host_mem_bootstrap(pfn_t nframes);

/* Have [start, end) of the kernel's show the frames from pa on, or nothing. */
void	host_mem_show(vaddr_t start, vaddr_t end, paddr_t pa, vm_prot_t);
void	host_mem_hide(vaddr_t start, vaddr_t end);

/* It shows what it did; this may be done with it. */
void	host_mem_protect(vaddr_t start, vaddr_t end, vm_prot_t);

#endif
