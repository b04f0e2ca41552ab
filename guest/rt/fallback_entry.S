/* SPDX-License-Identifier: MIT */
/*
 * Entry points of the ring-0 fallback: e_entry, call, exceptions. Nothing here uses vector
 * registers, so that it also runs where ring 0 is emulated.
 */
#include "fallback.h"

	.section .text.mote_fallback, "ax", @progbits

	/*
	 * RSP is on the small exception stack, that exceptions start on again from its top; RDI =
	 * PEB, RSI = seed, RDX = page size, RCX = log level. The program's data cannot be written
	 * until the page-fault handler works.
	 */
	.globl	mote__guest_fallback_entry
	.hidden	mote__guest_fallback_entry
	.type	mote__guest_fallback_entry, @function
mote__guest_fallback_entry:
	and	$-16, %rsp
	xor	%ebp, %ebp
	mov	%rdi, %rbx
	mov	%rsi, %r12
	mov	%rcx, %r13
	call	mote__guest_fallback_prepare
	movabs	$MOTE__FALLBACK_STACK_TOP, %rsp
	mov	%rbx, %rdi
	mov	%r12, %rsi
	mov	%r13, %rdx
	call	mote__guest_fallback_start
	ud2

	/* Every call. ZF set: the page tables were replaced. Tested before the stack is touched. */
	.globl	mote__guest_fallback_dispatch_entry
	.hidden	mote__guest_fallback_dispatch_entry
	.type	mote__guest_fallback_dispatch_entry, @function
mote__guest_fallback_dispatch_entry:
	mov	$0, %edi			/* leaves the flags alone */
	jnz	1f
	mov	%cr4, %rax
	mov	%rax, %rcx
	xor	$0x80, %rcx			/* PGE: flushes everything */
	mov	%rcx, %cr4
	mov	%rax, %cr4
	mov	$1, %edi
1:	xor	%ebp, %ebp
	call	mote__guest_fallback_call
	ud2

	/* Load the tables at RDI (struct with GDTR at 0, IDTR at 16). */
	.globl	mote__guest_fallback_load
	.hidden	mote__guest_fallback_load
	.type	mote__guest_fallback_load, @function
mote__guest_fallback_load:
	lgdt	(%rdi)
	mov	$MOTE__FALLBACK_SS, %eax
	mov	%eax, %ss
	mov	%eax, %ds
	mov	%eax, %es
	mov	$MOTE__FALLBACK_TR, %eax
	ltr	%ax
	pop	%rax
	pushq	$MOTE__FALLBACK_CS
	push	%rax
	lidt	16(%rdi)
	lretq

	/* Entries of 16 bytes: number, and an error code where the processor pushes none. */
	.globl	mote__guest_fallback_vectors
	.hidden	mote__guest_fallback_vectors
	.p2align 4
mote__guest_fallback_vectors:
	.set	vector, 0
	.rept	MOTE__FALLBACK_VECTORS
	.p2align 4
	.if	!((0x60227D00 >> vector) & 1)	/* 8, 10-14, 17, 21, 29, 30 push one */
	pushq	$0
	.endif
	pushq	$vector
	jmp	exception
	.set	vector, vector + 1
	.endr

	/* struct frame in fallback.c, from low to high: these nine, vector, error code, RIP, CS,
	 * RFLAGS, RSP, SS. The stack is aligned at the call. */
exception:
	push	%r11
	push	%r10
	push	%r9
	push	%r8
	push	%rdi
	push	%rsi
	push	%rdx
	push	%rcx
	push	%rax
	cld
	mov	%rsp, %rdi
	mov	%cr2, %rsi
	call	mote__guest_fallback_exception
	pop	%rax
	pop	%rcx
	pop	%rdx
	pop	%rsi
	pop	%rdi
	pop	%r8
	pop	%r9
	pop	%r10
	pop	%r11
	add	$16, %rsp
	iretq

	.section .note.GNU-stack, "", @progbits
