/* SPDX-License-Identifier: MIT */
/*
 * Entries of i686_kernel. Every one begins on the exception stack, whose page is always there: 16
 * bytes below its top, where calls begin, an aligned address as the ABI wants it.
 */
	.text
	.globl	entrypoint
entrypoint:
	pushf
	pusha
	cld
	push	%esp
	call	kernel_initialise	/* (saved registers) */
	mov	$0xffffffc0, %esp
	call	1f
1:	pop	%eax
	add	$dispatch - 1b, %eax
	out	%eax, $108
	ud2

/* ZF: page tables were replaced. Nothing before the jump changes it. */
dispatch:
	pushf
	pusha
	jnz	1f
	mov	%cr3, %eax
	mov	%eax, %cr3
1:	cld
	push	%esp
	call	kernel_dispatch		/* (saved registers) */
	ud2

/* Exceptions: error code (or 0), vector, the registers; kernel_trap(frame) may change the frame. */
	.macro	trap vector, has_code
	.globl	trap_\vector
trap_\vector:
	.if	!\has_code
	push	$0
	.endif
	push	$\vector
	jmp	common
	.endm
	trap	3, 0
	trap	6, 0
	trap	13, 1
	trap	14, 1
	trap	128, 0

common:
	pusha
	cld
	push	%esp
	call	kernel_trap
	add	$4, %esp
	popa
	add	$8, %esp
	iret

/* A word of the exception stack above ESP0: an address that needs no relocation. */
#define KERNEL_ESP 0xfffffc00

/* enter_user(eip, esp, value): ring 3 with value in EAX, until it comes back by INT 0x80 with its
 * answer in EAX. */
	.globl	enter_user
enter_user:
	push	%ebp
	push	%ebx
	push	%esi
	push	%edi
	mov	20(%esp), %ecx
	mov	24(%esp), %edx
	mov	28(%esp), %eax
	mov	%esp, KERNEL_ESP
	push	$0x23
	push	$0x23
	push	$0x23
	pop	%ds
	pop	%es
	push	%edx
	push	$2
	push	$0x1b
	push	%ecx
	iret

/* leave_user(value): where enter_user was called. */
	.globl	leave_user
leave_user:
	mov	4(%esp), %eax
	mov	KERNEL_ESP, %esp
	push	$0x10
	push	$0x10
	pop	%ds
	pop	%es
	pop	%edi
	pop	%esi
	pop	%ebx
	pop	%ebp
	ret

/* What processes run: position-independent, programs of 16 bytes by their number. The first adds
 * the word at 0x40001000 of its address space to EAX, stores the sum there and leaves. */
	.globl	user_code, user_code_end
user_code:
	add	0x40001000, %eax
	mov	%eax, 0x40001000
	int	$0x80
	ud2
	.org	user_code + 16
	mov	%eax, (%eax)
	int	$0x80
	.org	user_code + 32
	out	%al, $108
	int	$0x80
	.org	user_code + 48
	jmp	.
user_code_end:

	.section .note.GNU-stack, "", @progbits
