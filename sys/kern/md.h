/*
 * What sys/kern asks of the machine; sys/i386 answers.  (What sys/vm asks of
 * it is in vm/pmap.h.)
 */
#ifndef KERN_MD_H
#define KERN_MD_H

#include <stdbool.h>
#include <stdint.h>

#include <libkern/libkern.h>
#include <vm/vm.h>

struct trapframe;	/* the machine's; md_* functions look into it */

/*
 * Boot, in the order that main() calls it.  Each prints its line(s).
 */
void	md_console_init(void);	/* VGA, 16550, keyboard (polled) */
void	md_cpu_init(void);	/* GDT, TSS, IDT, double-fault task, CPU name */
void	md_memory_init(void);	/* boot information -> bootmem -> final page
				   tables, W^X where possible -> vm_phys */
void	md_map_init(void);	/* after vm_map_bootstrap: the image, its
				   guards, the boot stack, the page array, …
				   become entries of kernel_map */
void	md_boot_release(void);	/* what only boot needed is given back */
void	md_intr_init(void);	/* PIC, 100 Hz timer, keyboard and serial */

const char *md_cmdline(void);	/* "" if there was none */

/* Interrupts: off, with what they were before; and back to that. */
uintptr_t md_intr_disable(void);
void	md_intr_restore(uintptr_t);
bool	md_intr_enabled(void);
bool	md_in_intr(void);
unsigned long md_ticks(void);	/* 100 a second */
void	md_idle(void);		/* wait for an interrupt */

/* To measure by: a counter, where there is one; one page out of the TLB,
 * and all of them. */
bool	md_has_tsc(void);
uint64_t md_tsc(void);
void	md_tlb_flush(vaddr_t);
void	md_tlb_flush_all(void);

void	md_magic(void);		/* Bochs magic breakpoint: xchg bx,bx */
void	md_breakpoint(void);	/* int3: into the debugger */
void	md_reboot(void) __dead2;
/*
 * End the emulator: Bochs (port 0x8900 "Shutdown"), QEMU (isa-debug-exit at
 * 0xf4 with `code`, then ACPI shutdown at 0x604); then cli; hlt for ever.
 */
void	md_halt(int code) __dead2;
/* For tests of the tests: an empty IDT, then a trap.  The machine resets. */
void	md_triple_fault(void) __dead2;
/* fn(arg), on the stack that the handler of a stack overflow has. */
void	md_on_fault_stack(void (*fn)(void *), void *arg);

/*
 * For tests: fn(arg), interrupted behind each of its instructions where
 * interrupts are on.  handler runs as one of an interrupt does: interrupts
 * are off, and md_in_intr() says so.
 */
void	md_interrupt_each(void (*fn)(void *), void *arg,
	    void (*handler)(void));

/*
 * For the debugger.  md_read/md_write touch memory that may be unmapped or
 * read-only and say so instead of faulting.
 */
bool	md_read(vaddr_t, void *buf, size_t len);
bool	md_write(vaddr_t, const void *buf, size_t len);

/*
 * Walk the stack of a trapframe (NULL: the caller's own): calls step(pc,
 * frame, arg) for each frame, outermost last, until it returns false, the
 * chain ends, or a frame pointer makes no sense; bounded.
 */
void	md_backtrace(const struct trapframe *,
	    bool (*step)(vaddr_t pc, vaddr_t frame, void *arg), void *arg);
/*
 * Call fn for the kernel's static data but for what sys/vm has itself (it
 * knows of every region, so each would be pointed to), its stack from here
 * outwards, and what the caller's registers held.
 */
void	md_roots(void (*fn)(vaddr_t start, vaddr_t end, void *arg), void *arg);
/* From the CPU's and the timer's counters. */
unsigned long md_random(void);
void	md_print_frame(const struct trapframe *);	/* registers */

/* The live page tables agree with kernel_map: NULL, or what does not. */
const char *md_pmap_check(void);

#endif
