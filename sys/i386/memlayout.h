/*
 * The address space, drawn once.
 *
 *                                                          prot  who maps it
 *  0xFFFFFFFF
 *  0xFFC00000  page tables, through the recursive slot 4 MB  rw  locore
 *              - - - - - - - kernel_map ends here - - - - - - -
 *              free: everything else (thread stacks, …)      rw  kmem_alloc
 *  0xE0409000  the page array (vm_phys), as long as it is    rw  pmap_boot
 *  0xE0405000  pmap's windows                        4 pages  rw  pmap
 *  0xE0404000  guard                                  1 page  --
 *  0xE0400000  boot stack, growing down                16 KB  rw  locore
 *  0xE03FF000  guard: the slab window's last page              --
 *  0xD0400000  slab window                    256 MB - 4 KB  rw  kmem_alloc
 *  0xD03FF000  guard: the heap window's last page              --
 *  0xC0400000  heap window                    256 MB - 4 KB  rw  kmem_alloc
 *  0xC03FF000  guard: the image slot's last page               --
 *  image_end   not mapped
 *  fault_stack double fault's stack, growing down       8 KB  rw  pmap_boot
 *              not mapped: a guard
 *  data_end    (physical memory goes on: first tables, boot stack)
 *  data_start  data, bss                                     rw  pmap_boot
 *  init_start  what only boot needs; nothing after it        rw  pmap_boot
 *              rodata                                        r-  pmap_boot
 *  0xC0100000  text                                          rx  pmap_boot
 *  0xC00B8000  VGA's text memory                     8 pages  rw  pmap_boot
 *  0xC0000000  not mapped
 *              - - - - - - - kernel_map begins here - - - - - -
 *  0x00001000  user space (none yet)                       3 GB
 *  0x00000000  never mapped                           1 page  --
 *
 * In the image's slot, and only there, virtual is physical + KERNBASE, and
 * of the first 4 MB of memory no more is seen there than is named above.
 * i386 without PAE knows no "may not be executed": x goes with r.
 *
 * Page tables.  boot_pd, boot_pt_image and boot_pt_misc are in the image
 * (locore.asm), serve from the first instruction with paging to the last,
 * and cover [0xC0000000, +4 MB) and [0xE0400000, +4 MB).  Those that the
 * page array may need beyond come from bootmem, all others from vm_phys.
 */
#ifndef I386_MEMLAYOUT_H
#define I386_MEMLAYOUT_H

#include <libkern/libkern.h>
#include <machine/pte.h>
#include <machine/vmparam.h>

#define KERNBASE	0xC0000000UL	/* of the image's slot */
#define KERN_SLOT	PT_SPAN		/* its size: one page table */
#define IMAGE_PA	0x100000UL	/* where the loader puts the image */

#define VGA_PA		0xB8000UL	/* colour text, 8 * 4000 bytes */
#define VGA_SIZE	0x8000UL

#define BOOTSTACK_MIN	0xE0400000UL
#define BOOTSTACK_MAX	0xE0404000UL
#define STACK_GUARD	BOOTSTACK_MAX

#define PAGEARRAY_MIN	PMAP_WINDOW_MAX

/* Within the image's slot only. */
#define KVTOP(va)	((paddr_t)(va) - KERNBASE)
#define PTOKV(pa)	((vaddr_t)(pa) + KERNBASE)

/* Made by the linker script; each on a page border. */
extern char text_start[], text_end[], rodata_start[], rodata_end[];
extern char init_start[], init_end[];	/* given back after boot */
extern char data_start[], data_end[];
extern char vm_bss_start[], vm_bss_end[];	/* sys/vm's, in there */
extern char boot_tables[], boot_stack[], fault_stack[], image_end[];

#define MEMLAYOUT_ASSERT(e)	_Static_assert(e, "memlayout.h: " #e)
MEMLAYOUT_ASSERT(KERNBASE == VM_MIN_KERNEL_ADDRESS);
MEMLAYOUT_ASSERT(KERNBASE == VM_MAX_ADDRESS);
MEMLAYOUT_ASSERT(KERNBASE + KERN_SLOT == VM_HEAP_MIN);
MEMLAYOUT_ASSERT(VM_HEAP_MAX == VM_SLAB_MIN);
MEMLAYOUT_ASSERT(VM_SLAB_MAX == BOOTSTACK_MIN);
MEMLAYOUT_ASSERT(STACK_GUARD + PAGE_SIZE == VM_MISC_MIN);
MEMLAYOUT_ASSERT(PMAP_WINDOW_MIN == VM_MISC_MIN);
/* One table holds the boot stack and the windows. */
MEMLAYOUT_ASSERT(PDE_INDEX(BOOTSTACK_MIN) == PDE_INDEX(PMAP_WINDOW_MAX - 1));
MEMLAYOUT_ASSERT(PDE_INDEX(VM_MAX_KERNEL_ADDRESS) == PDE_RECURSIVE);
MEMLAYOUT_ASSERT((uintptr_t)PTMAP == VM_MAX_KERNEL_ADDRESS);
MEMLAYOUT_ASSERT((uintptr_t)PDMAP ==
    VM_MAX_KERNEL_ADDRESS + PDE_RECURSIVE * PAGE_SIZE);
MEMLAYOUT_ASSERT(VM_MAX_KERNEL_ADDRESS % PT_SPAN == 0);

#endif
