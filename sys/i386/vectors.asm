; The trap stubs: 256 of them, 16 bytes apart, so that the IDT is made by a
; loop.  Each makes the stack look the same (trapframe.h) and goes to trap().

TF_EIP		equ 56			; trapframe.h
TSS_EIP		equ 32			; segments.c
TSS_EBP		equ 60
SEL_KDATA	equ 0x10

; The exceptions that push an error code by themselves.
ERROR_CODES	equ 1<<8 | 1<<10 | 1<<11 | 1<<12 | 1<<13 | 1<<14 | 1<<17 | \
		    1<<21 | 1<<29 | 1<<30
%define HAS_ERROR(n)	((n) < 32 && (ERROR_CODES >> (n)) & 1)

global trap_stubs, double_fault_entry, call_on_stack
extern trap, trap_double_fault, main_tss

section .text

	align 16
trap_stubs:
%assign n 0
%rep 256
	align 16
    %if !HAS_ERROR(n)
	push byte 0
    %endif
	push dword n
	jmp near all_traps
    %assign n n + 1
%endrep

	align 16
all_traps:
	pushad
	push ds
	push es
	push fs
	push gs
	mov eax, SEL_KDATA
	mov ds, eax
	mov es, eax
	mov fs, eax
	mov gs, eax
	cld
	mov ebx, esp
	; A stack frame, as if the interrupted code had called us: the
	; debugger's trace walks on through it.
	push dword [ebx + TF_EIP]
	push ebp
	mov ebp, esp
	push ebx
	call trap
	mov esp, ebx
	pop gs
	pop fs
	pop es
	pop ds
	popad
	add esp, 8
	iretd

; A task of its own, entered through the double fault's task gate: the state
; of the one that failed is in main_tss.  It never returns there.
double_fault_entry:
	push dword [main_tss + TSS_EIP]
	push dword [main_tss + TSS_EBP]
	mov ebp, esp
	call trap_double_fault
.stop:	cli
	hlt
	jmp .stop

; call_on_stack(fn, arg, top): fn(arg), on the stack that begins below top.
call_on_stack:
	push ebp
	mov ebp, esp
	mov eax, [ebp + 8]
	mov edx, [ebp + 12]
	mov esp, [ebp + 16]
	push edx
	call eax
	mov esp, ebp
	pop ebp
	ret

section .note.GNU-stack noalloc noexec nowrite progbits
