/*
 * What the process sees of the machine's memory, for host_pmap.c.  Of these
 * functions there are two kinds: those of a machine that faults where nothing
 * is mapped (host_mem.c), and those of a flat one (host_flat.c).
 */
#ifndef TEST_HOST_HOST_MEM_H
#define TEST_HOST_HOST_MEM_H

#include <vm/vm.h>

#include "host.h"

void	host_mem_bootstrap(pfn_t nframes);
bool	host_mem_flat(void);		/* is it a flat one? */

/*
 * Have [start, end) of the kernel's show the frames from pa on, or nothing.
 * => the kernel pmap's lock is held, here and for host_mem_protect; of its
 *    entries those that show something stand as they were before
 */
void	host_mem_show(vaddr_t start, vaddr_t end, paddr_t pa, vm_prot_t);
void	host_mem_hide(vaddr_t start, vaddr_t end);

/* It shows what it did; this may be done with it. */
void	host_mem_protect(vaddr_t start, vaddr_t end, vm_prot_t);

/* Of these frames, nobody wants what is in those that nobody shows. */
void	host_mem_lost(const paddr_t *pa, unsigned n);

/* A frame that nobody shows is zeroes from now on. */
void	host_mem_zero(paddr_t pa);

/* How many pages show the frame (host_pmap.c). */
unsigned host_shown(paddr_t pa);

/*
 * The calls of the host's that both make.
 * => reserve: anonymous memory, of which the host gives none as yet
 * => map: the memfd's frames from pa on
 */
void	host_call_reserve(vaddr_t start, vaddr_t end, int prot, int how);
void	host_call_map(vaddr_t start, vaddr_t end, paddr_t pa, vm_prot_t);
void	host_call_protect(vaddr_t start, vaddr_t end, vm_prot_t);
void	host_call_advise(void *start, size_t size, int advice);

#endif
