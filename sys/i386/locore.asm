; From the boot loader to kern_main().
;
; The loader (Multiboot 1: GRUB, QEMU's -kernel, …) jumps to `entry` at its
; physical address: 32 bits, flat segments, paging and interrupts off,
; EAX a magic number, EBX the address of the boot information.  Here paging
; comes on with the least that the kernel needs to stand on:
;
;	[0, 4 MB)		itself			until pmap_boot.c
;	[KERNBASE, +4 MB)	physical [0, 4 MB)
;	[BOOTSTACK_MIN, MAX)	the boot stack
;	[0xFFC00000, 4 GB)	the tables themselves
;
; pmap_boot.c makes the final ones in the same tables.

KERNBASE	equ 0xC0000000		; pmap_boot.c checks these against
BOOTSTACK_MIN	equ 0xE0400000		; memlayout.h
BOOTSTACK_SIZE	equ 0x4000
FAULTSTACK_SIZE	equ 0x2000
PAGE_SIZE	equ 0x1000
PG_V		equ 0x001
PG_RW		equ 0x002
CR0_PG_WP	equ 0x80010000		; paging; read-only binds us too
CR0_MP_EM_NE	equ 0x00000026		; no FPU: whoever uses it traps

MB_MAGIC	equ 0x1BADB002
MB_FLAGS	equ 0x00000003		; modules on pages, memory information

global entry, boot_magic, boot_info, boot_pd, boot_pt_image, boot_pt_misc
extern kern_main

%define PA(x) ((x) - KERNBASE)

section .multiboot progbits alloc noexec nowrite align=4
	dd MB_MAGIC
	dd MB_FLAGS
	dd -(MB_MAGIC + MB_FLAGS)

section .text.entry progbits alloc exec nowrite align=16
entry:
	cli
	cld
	mov [PA(boot_magic)], eax
	mov [PA(boot_info)], ebx
	mov esp, PA(boot_stack_frames) + BOOTSTACK_SIZE

	; The tables: empty, whatever the loader left there.
	mov edi, PA(boot_pd)
	mov ecx, 3 * PAGE_SIZE / 4
	xor eax, eax
	rep stosd

	; All of the first 4 MB, and the boot stack.
	mov edi, PA(boot_pt_image)
	mov eax, PG_V | PG_RW
	mov ecx, 1024
	call fill
	mov edi, PA(boot_pt_misc)
	mov eax, PA(boot_stack_frames) + (PG_V | PG_RW)
	mov ecx, BOOTSTACK_SIZE / PAGE_SIZE
	call fill

	mov edi, PA(boot_pd)
	mov eax, PA(boot_pt_image) + (PG_V | PG_RW)
	mov [edi], eax
	mov [edi + (KERNBASE >> 22) * 4], eax
	mov eax, PA(boot_pt_misc) + (PG_V | PG_RW)
	mov [edi + (BOOTSTACK_MIN >> 22) * 4], eax
	lea eax, [edi + (PG_V | PG_RW)]
	mov [edi + 1023 * 4], eax

	mov cr3, edi
	mov eax, cr0
	or eax, CR0_PG_WP | CR0_MP_EM_NE
	mov cr0, eax
	mov eax, high
	jmp eax

	; ECX entries from EDI on: EAX, and a page more each.
fill:
	mov [edi], eax
	add edi, 4
	add eax, PAGE_SIZE
	dec ecx
	jnz fill
	ret

high:
	mov esp, BOOTSTACK_MIN + BOOTSTACK_SIZE
	xor ebp, ebp		; the debugger's trace ends here
	push ebp
	call kern_main
.stop:	cli			; it does not return
	hlt
	jmp .stop

section .data progbits alloc noexec write align=4
boot_magic:	dd 0
boot_info:	dd 0

section .boottables nobits alloc noexec write align=4096
boot_pd:	resb PAGE_SIZE
boot_pt_image:	resb PAGE_SIZE
boot_pt_misc:	resb PAGE_SIZE

section .bootstack nobits alloc noexec write align=4096
boot_stack_frames:
	resb BOOTSTACK_SIZE

; The double fault's own (segments.c), with room for the debugger.
section .faultstack nobits alloc noexec write align=4096
	resb FAULTSTACK_SIZE

section .note.GNU-stack noalloc noexec nowrite progbits
