/* SPDX-License-Identifier: MIT */
/* Entries of stock_keep: every one begins on the exception stack, 16 bytes below its top. */
	.text
	.globl	entrypoint
entrypoint:
	cld
	and	$-16, %rsp
	call	keep_initialise
	movabs	$0xFFFFFFFFFFFFEFC0, %rsp
	lea	dispatch(%rip), %rax
	out	%eax, $108
	ud2

dispatch:
	pushfq
	pop	%rdi
	cld
	call	keep_dispatch
	ud2

	.section .note.GNU-stack, "", @progbits
