/* SPDX-License-Identifier: MIT */
/*
 * A guest that looks at its processor before anybody else does: this call entry records every
 * register that ring 3 can read, then goes on to the runtime's. It stands in for the runtime's file
 * of entry points, which it contains.
 *
 * And the opposite: a routine that fills every register that ring 3 can write, then ends the call.
 */
#define mote__guest_call_entry snap_runtime_entry
#include "../../guest/rt/entry.S"
#undef mote__guest_call_entry

#include "snap_probe.h"

	.section .text.snap_entry, "ax", @progbits

	.globl	mote__guest_call_entry
	.hidden	mote__guest_call_entry
	.type	mote__guest_call_entry, @function
mote__guest_call_entry:
	.set	snap_index, 0
	.irp	name, rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15
	mov	%\name, snap_state + SNAP_GENERAL + 8 * snap_index(%rip)
	.set	snap_index, snap_index + 1
	.endr
	pushfq
	popq	snap_state + SNAP_FLAGS(%rip)
	.set	snap_index, 0
	/* Where the hypervisor is software, any exit may turn the usual data selector into a null
	 * one: both are recorded as null. */
	.irp	name, cs, ds, es, fs, gs, ss
	mov	%\name, %ecx
	cmp	$0x2b, %ecx
	jne	1f
	xor	%ecx, %ecx
1:
	mov	%rcx, snap_state + SNAP_SELECTORS + 8 * snap_index(%rip)
	.set	snap_index, snap_index + 1
	.endr
	rdfsbase %rcx
	mov	%rcx, snap_state + SNAP_FS_BASE(%rip)
	rdgsbase %rcx
	mov	%rcx, snap_state + SNAP_GS_BASE(%rip)
	fxsave64 snap_state + SNAP_FX(%rip)
	/* RAX: the components that ring 3 reaches, or 0. The processor is free to say which of them
	 * are in use, so that is not recorded. */
	xor	%edx, %edx
	test	%eax, %eax
	jz	1f
	xsave64	snap_vectors(%rip)
	movq	$0, snap_vectors + SNAP_XSAVE_HEADER(%rip)
1:	mov	snap_state + SNAP_GENERAL + 8(%rip), %rcx
	mov	snap_state + SNAP_GENERAL + 16(%rip), %rdx
	jmp	snap_runtime_entry

	/* RDI: struct snap_fill. Everything becomes its value, then the call ends. */
	.globl	snap_fill_and_end
	.type	snap_fill_and_end, @function
snap_fill_and_end:
	mov	SNAP_FILL_VALUE(%rdi), %rbx
	mov	SNAP_FILL_MASK(%rdi), %ebp
	lea	SNAP_FILL_BYTES(%rdi), %rsi
	.rept	8
	fldt	(%rsi)
	.endr
	ldmxcsr	SNAP_FILL_MXCSR(%rdi)
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	movdqu	(%rsi), %xmm\n
	.endr
	test	$4, %ebp
	jz	1f
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	vmovdqu	(%rsi), %ymm\n
	.endr
1:	test	$0x40, %ebp
	jz	1f
	.irp	n, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
	vmovdqu64 (%rsi), %zmm\n
	.endr
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7
	kmovw	%ebx, %k\n
	.endr
1:	mov	SNAP_FILL_SELECTORS(%rdi), %eax
	cmp	$-1, %eax
	je	1f
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %fs
	mov	%eax, %gs
1:	wrfsbase %rbx
	wrgsbase %rbx
	mov	SNAP_FILL_BITS(%rdi), %r14d
	mov	SNAP_FILL_FLAGS(%rdi), %r13
	mov	%rbx, %rax
	mov	%rbx, %rcx
	.irp	name, rsi, r8, r9, r10, r11, r12, r15
	mov	%rbx, %\name
	.endr
	test	%r14d, %r14d
	jne	snap_end_narrow
	mov	%rbx, %r14
	mov	%rbx, %rbp
	mov	%rbx, %rdi
	mov	%rbx, %rdx
	mov	$108, %dx
	push	%r13
	popfq
	mov	%rbx, %r13
	mov	%rbx, %rsp
	out	%eax, %dx
	ud2

	/* The same from a code segment of the host's choice, R14D: 32-bit ones, say. */
snap_end_narrow:
	mov	%rbx, %rdi
	mov	$108, %edx
	lea	snap_narrow(%rip), %rax
	push	%r14
	push	%rax
	lretq
snap_narrow:
	out	%eax, %dx
	ud2

	/* Load selector EDI into segment register number ESI (0 ES, 1 CS, 2 SS, 3 DS, 4 FS, 5 GS):
	 * comes back if the processor lets it. */
	.globl	snap_load
	.type	snap_load, @function
snap_load:
	cmp	$1, %esi
	je	1f
	cmp	$2, %esi
	je	2f
	cmp	$3, %esi
	je	3f
	cmp	$4, %esi
	je	4f
	cmp	$5, %esi
	je	5f
	mov	%edi, %es
	ret
1:	lea	6f(%rip), %rax
	push	%rdi
	push	%rax
	lretq
6:	ret
2:	mov	%edi, %ss
	ret
3:	mov	%edi, %ds
	ret
4:	mov	%edi, %fs
	ret
5:	mov	%edi, %gs
	ret

	.bss
	.globl	snap_state, snap_vectors
	.balign	4096
snap_state:
	.skip	4096
snap_vectors:
	.skip	SNAP_VECTORS_BYTES

	.section .note.GNU-stack, "", @progbits
