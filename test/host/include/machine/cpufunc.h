/*
 * What pmap.c wants of the CPU, done by the MMU of test/pmap_sim.c: the twin
 * of sys/i386/include/machine/cpufunc.h.
 */
#ifndef MACHINE_CPUFUNC_H
#define MACHINE_CPUFUNC_H

#include <stdint.h>

#include <machine/vmparam.h>

#define CR4_PGE		0x00000080u

void	invlpg(vaddr_t va);
void	lcr3(paddr_t pa);
paddr_t	rcr3(void);
void	lcr4(uint32_t);
uint32_t rcr4(void);

#endif
