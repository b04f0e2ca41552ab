/* SPDX-License-Identifier: MIT */
/* Entries of stock_probe: save every register on the stack, in the order of stock_probe.h, and go
 * on in C. Nothing but scratch is written. */
	.text
	.macro	save
	pushfq
	push	%rax
	push	%rbx
	push	%rcx
	push	%rdx
	push	%rsi
	push	%rdi
	push	%rbp
	push	%r8
	push	%r9
	push	%r10
	push	%r11
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rsp, %rdi
	cld
	.endm

	.globl	entrypoint
entrypoint:
	save
	and	$-16, %rsp
	call	probe_initialise
	mov	%rax, %rsp			/* top of the stack of every dispatch */
	lea	dispatch(%rip), %rax
	out	%eax, $108
	ud2

dispatch:
	save
	lea	128(%rsp), %rsi			/* RSP at entry */
	call	probe_dispatch
	ud2

	/* Vectors 0 to 31, 16 bytes each. */
	.globl	probe_vectors
	.p2align 4
probe_vectors:
	.set	vector, 0
	.rept	32
	.p2align 4
	.if	!((0x60227D00 >> vector) & 1)
	pushq	$0
	.endif
	pushq	$vector
	jmp	exception
	.set	vector, vector + 1
	.endr

	/* vector, error code, RIP, CS, RFLAGS, RSP, SS */
exception:
	mov	%rsp, %rdi
	and	$-16, %rsp
	call	probe_exception
	ud2

	.section .note.GNU-stack, "", @progbits
