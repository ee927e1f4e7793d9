/*
 * What vectors.asm leaves on the stack for trap(), lowest address first.
 */
#ifndef I386_TRAPFRAME_H
#define I386_TRAPFRAME_H

#include <stddef.h>
#include <stdint.h>

struct trapframe {
	uint32_t	tf_gs, tf_fs, tf_es, tf_ds;
	uint32_t	tf_edi, tf_esi, tf_ebp;
	uint32_t	tf_sp;		/* ESP at the trap; by trap() */
	uint32_t	tf_ebx, tf_edx, tf_ecx, tf_eax;
	uint32_t	tf_trapno;
	uint32_t	tf_err;		/* 0 where the CPU has none */
	/* From here on the CPU's own work. */
	uint32_t	tf_eip, tf_cs, tf_eflags;
	/* Only when it came from user mode. */
	uint32_t	tf_esp, tf_ss;
};

/* vectors.asm counts on it. */
_Static_assert(offsetof(struct trapframe, tf_eip) == 56, "trapframe");

enum trapno {
	T_DIVIDE, T_DEBUG, T_NMI, T_BREAKPOINT, T_OVERFLOW, T_BOUND,
	T_OPCODE, T_NODEVICE, T_DOUBLE, T_COPROC, T_TSS, T_SEGMENT,
	T_STACK, T_PROTECTION, T_PAGE, T_15, T_FPU, T_ALIGN, T_MACHINE,
	T_SIMD,
	T_NEXCEPTIONS = 32,
	T_IRQ0 = 32,			/* the 8259s' 16 lines */
	T_NIRQS = 16,
	T_NVECTORS = 256
};

/* Page faults: tf_err. */
#define PGEX_P		0x01u		/* the page is there; protection */
#define PGEX_W		0x02u		/* a write */
#define PGEX_U		0x04u		/* from user mode */
#define PGEX_RSVD	0x08u		/* a reserved bit is set in a table */

#define SEL_KCODE	0x08u
#define SEL_KDATA	0x10u
#define SEL_UCODE	0x1Bu
#define SEL_UDATA	0x23u
#define SEL_TSS		0x28u
#define SEL_DFTSS	0x30u

#define SEL_RPL(sel)	((sel) & 3u)

#endif
