/*
 * What only the machine can do, one instruction each.  But for the entry
 * code, the trap stubs and the first load of the segment registers
 * (segments.c) nothing else in the kernel has assembly in it.
 */
#ifndef MACHINE_CPUFUNC_H
#define MACHINE_CPUFUNC_H

#include <stdint.h>

#include <machine/vmparam.h>

#define CR0_WP		0x00010000u	/* read-only holds for us too */
#define CR4_PGE		0x00000080u	/* global pages are */
#define CPUID_TSC	0x00000010u	/* leaf 1, edx: there is rdtsc */
#define CPUID_PGE	0x00002000u	/* leaf 1, edx: there is that bit */
#define EFLAGS_TF	0x00000100u	/* a trap after each instruction */
#define EFLAGS_IF	0x00000200u	/* interrupts are on */
#define EFLAGS_NT	0x00004000u	/* iret goes back to another task */
#define EFLAGS_AC	0x00040000u	/* can be set: a 486 or later */
#define EFLAGS_ID	0x00200000u	/* can be changed: there is cpuid */

/* What a segment or descriptor table register is loaded from. */
struct region_descriptor {
	uint16_t	rd_limit;
	uint32_t	rd_base;
} __attribute__((packed));

static inline void
invlpg(vaddr_t va)
{
	__asm__ volatile("invlpg (%0)" : : "r" (va) : "memory");
}

static inline void
lcr3(paddr_t pa)
{
	__asm__ volatile("movl %0, %%cr3" : : "r" (pa) : "memory");
}

static inline paddr_t
rcr3(void)
{
	paddr_t pa;

	__asm__ volatile("movl %%cr3, %0" : "=r" (pa) : : "memory");
	return pa;
}

static inline uint32_t
rcr0(void)
{
	uint32_t r;

	__asm__ volatile("movl %%cr0, %0" : "=r" (r));
	return r;
}

static inline vaddr_t
rcr2(void)
{
	vaddr_t va;

	__asm__ volatile("movl %%cr2, %0" : "=r" (va));
	return va;
}

/* => only where there is cpuid: the first 486es have no such register */
static inline uint32_t
rcr4(void)
{
	uint32_t r;

	__asm__ volatile("movl %%cr4, %0" : "=r" (r));
	return r;
}

static inline void
lcr4(uint32_t r)
{
	__asm__ volatile("movl %0, %%cr4" : : "r" (r) : "memory");
}

static inline uint32_t
read_eflags(void)
{
	uint32_t f;

	__asm__ volatile("pushfl; popl %0" : "=r" (f));
	return f;
}

static inline void
write_eflags(uint32_t f)
{
	__asm__ volatile("pushl %0; popfl" : : "r" (f) : "memory", "cc");
}

static inline void
cli(void)
{
	__asm__ volatile("cli" : : : "memory");
}

static inline void
sti(void)
{
	__asm__ volatile("sti" : : : "memory");
}

static inline void
hlt(void)
{
	__asm__ volatile("hlt" : : : "memory");
}

/* On, and wait for an interrupt: none can slip in between the two. */
static inline void
sti_hlt(void)
{
	__asm__ volatile("sti; hlt" : : : "memory");
}

static inline void
cpuid(uint32_t leaf, uint32_t r[4])
{
	__asm__ volatile("cpuid"
	    : "=a" (r[0]), "=b" (r[1]), "=c" (r[2]), "=d" (r[3])
	    : "a" (leaf), "c" (0));
}

static inline uint64_t
rdtsc(void)
{
	uint64_t t;

	__asm__ volatile("rdtsc" : "=A" (t) : : "memory");
	return t;
}

static inline void
lgdt(const struct region_descriptor *rd)
{
	__asm__ volatile("lgdt %0" : : "m" (*rd));
}

static inline void
lidt(const struct region_descriptor *rd)
{
	__asm__ volatile("lidt %0" : : "m" (*rd));
}

static inline void
ltr(uint16_t sel)
{
	__asm__ volatile("ltr %0" : : "r" (sel));
}

static inline void
breakpoint(void)
{
	__asm__ volatile("int3" : : : "memory");
}

static inline void
bochs_magic(void)
{
	__asm__ volatile("xchgw %%bx, %%bx" : : : "memory");
}

static inline uint8_t
inb(uint16_t port)
{
	uint8_t v;

	__asm__ volatile("inb %1, %0" : "=a" (v) : "Nd" (port));
	return v;
}

static inline void
outb(uint16_t port, uint8_t v)
{
	__asm__ volatile("outb %0, %1" : : "a" (v), "Nd" (port));
}

static inline void
outw(uint16_t port, uint16_t v)
{
	__asm__ volatile("outw %0, %1" : : "a" (v), "Nd" (port));
}

#endif
