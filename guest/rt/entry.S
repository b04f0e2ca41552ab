/* SPDX-License-Identifier: MIT */
/*
 * Entry points of a confined guest, ring 3: initialise, call, SYSCALL. The host jumps here with
 * RSP at the top of the stack and nothing pushed; struct mote_abi_run_info has the protocol.
 */
#include "offsets.h"

	.section .text.mote_entry, "ax", @progbits

	.globl	mote__guest_initialise
	.hidden	mote__guest_initialise
	.type	mote__guest_initialise, @function
mote__guest_initialise:
	xor	%ebp, %ebp
	mov	%r8, %rdi			/* everything else is in run info, too */
	call	mote__guest_start
	ud2

	/* RDI = the encoded call. FS was this guest's already unless the host gave it a fresh
	 * processor. */
	.globl	mote__guest_call_entry
	.hidden	mote__guest_call_entry
	.type	mote__guest_call_entry, @function
mote__guest_call_entry:
	xor	%ebp, %ebp
	mov	mote__guest + MOTE__GUEST_THREAD(%rip), %rax
	wrfsbase %rax
	mov	mote__guest + MOTE__GUEST_BLOCKS(%rip), %rax
	test	%rax, %rax
	jnz	1f
	call	mote__guest_dispatch
	ud2
1:	mov	%rdi, %rbx			/* an earlier call left scratch memory */
	call	mote__guest_scratch_reset
	mov	%rbx, %rdi
	call	mote__guest_dispatch
	ud2

	/*
	 * SYSCALL. The program's stack may have a red zone, and any alignment. RAX = number; RCX and
	 * R11 are lost, all else but RAX is kept. Where to go on is in *syscall_word, which a
	 * nested SYSCALL overwrites, so it is read first. Flags need not be kept.
	 */
	.globl	mote__guest_syscall_entry
	.hidden	mote__guest_syscall_entry
	.type	mote__guest_syscall_entry, @function
mote__guest_syscall_entry:
	lea	-128(%rsp), %rsp
	mov	mote__guest + MOTE__GUEST_RUN(%rip), %rcx
	mov	MOTE__RUN_SYSCALL_WORD(%rcx), %rcx
	push	(%rcx)
	push	%rdi
	push	%rsi
	push	%rdx
	push	%r8
	push	%r9
	push	%r10
	push	%rbp
	mov	%rsp, %rbp
	and	$-16, %rsp
	push	%rax				/* alignment */
	push	%rax				/* seventh parameter */
	mov	%r10, %rcx
	call	mote__guest_syscall
	mov	%rbp, %rsp
	pop	%rbp
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rdx
	pop	%rsi
	pop	%rdi
	pop	%rcx
	lea	128(%rsp), %rsp
	jmp	*%rcx

	.section .note.GNU-stack, "", @progbits
