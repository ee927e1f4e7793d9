/*
 * What the files of sys/i386 want of one another.
 */
#ifndef I386_MACHDEP_H
#define I386_MACHDEP_H

#include <stdbool.h>
#include <stdint.h>

#include <libkern/libkern.h>
#include <machine/pte.h>
#include <vm/vm.h>

struct bootmem;
struct trapframe;
struct pmap;

/* locore.asm */
extern const uint32_t boot_magic, boot_info;	/* EAX and EBX at entry */
extern pte_t	boot_pd[], boot_pt_image[], boot_pt_misc[];

/* machdep.c: the CPU */
extern bool	cpu_has_cpuid;

/* memory.c: gone when boot is over */
void	bootinfo_init(void);
uint32_t memory_release(uint32_t *ram, uint32_t *kept);

/* kernmap.c: what it is told at boot, and keeps */
void	kernmap_cmdline(const char *);
void	kernmap_pagearray(vsize_t size);

/* segments.c: GDT, TSS, IDT */
void	segments_init(void);
void	segments_fault_frame(struct trapframe *);	/* from main_tss */
void	segments_leave_double_fault(void);
void	segments_no_idt(void);		/* the next trap resets the machine */

/* trap.c */
void	trap(struct trapframe *);
void	trap_double_fault(void) __dead2;

/* intr.c: handlers run with interrupts off */
void	intr_establish(unsigned irq, void (*handler)(void));
void	intr_dispatch(unsigned irq);
void	intr_run(void (*handler)(void));	/* as if one had come */
void	intr_init(void);
void	clock_init(void);

/* vga.c, com.c, kbd.c */
void	vga_init(void);
void	vga_putc(int);
void	com_init(void);
void	com_intr_init(void);
void	kbd_init(void);
int	kbd_getc(void);
void	kbd_intr_init(void);

/* pmap_boot.c: the final page tables, and places in them */
void	pmap_boot_final(void);
int	pmap_boot_map(struct bootmem *, vaddr_t va, paddr_t pa, vsize_t size);
bool	pmap_boot_read(void *arg, uint64_t pa, void *buf, size_t len);

/* pmap.c: boot_pd's frame becomes kernel_pmap's directory; global: CR4.PGE is
 * on */
void	pmap_bootstrap(paddr_t pd, bool global);
bool	pmap_global_pages(void);	/* the kernel's pages are */
void	pmap_flush_all(void);		/* the TLB, global pages as well */
void	pmap_reload(void);		/* %cr3, from what is active */
pte_t	pmap_live_pte(vaddr_t va);	/* in the active one; 0: no page */

#endif
