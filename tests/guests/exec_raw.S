/* SPDX-License-Identifier: MIT */
/*
 * A confined guest that is linked at a fixed address, BASE, and uses absolute ones: the note by
 * hand, no runtime. Each call answers a counter plus the counter's own address.
 */
	.section .note.mote, "a", @note
	.p2align 3
	.long	5, 80, 1
	.ascii	"mote\0"
	.p2align 3
	.long	1, 80				/* version, size */
	.quad	1, 0				/* required: ring 3 */
	.long	0, 1
	.quad	0x4000				/* stack */
	.quad	initialise - BASE, dispatch - BASE, 0, 0, 0

	.text
	.globl	_start
_start:
	ud2
initialise:
	movabs	$counter, %rbx
	movl	$100, (%rbx)
	out	%eax, $108
	ud2

	/* R8 = run info; the output buffer's address is at 144 of it. */
dispatch:
	mov	144(%r8), %rdi
	mov	%rdi, %rdx
	add	$8, %rdi
	movabs	$golden, %rsi
	mov	$72, %ecx
	rep movsb
	movabs	$counter, %rbx
	incl	(%rbx)
	mov	(%rbx), %eax
	add	%rbx, %rax
	mov	%rax, 8 + 64(%rdx)
	movq	$8, 80(%rdx)
	movq	$88, (%rdx)
	out	%eax, $108
	ud2

	.section .rodata
	/* FunctionCallResult ULong, its value last. */
golden:	.byte	0x44, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0x0c, 0, 7, 0, 8, 0
	.byte	8, 0, 0, 0, 0, 0, 0, 1, 0x0c, 0, 0, 0, 8, 0, 0x0c, 0, 7, 0, 8, 0
	.byte	8, 0, 0, 0, 0, 0, 0, 4, 0x0c, 0, 0, 0, 0, 0, 6, 0, 0x0c, 0, 4, 0
	.byte	6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0

	.data
	.p2align 12
counter:
	.long	0
	.section .note.GNU-stack, "", @progbits
