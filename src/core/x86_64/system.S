/* SPDX-License-Identifier: MIT */
/*
 * The system pages of confined guests: four pages of constant bytes that every sandbox maps
 * read-only at MOTE__SYSTEM_GVA. Page 0 is all the code that ever runs in ring 0.
 *
 * Ring 0 trusts only the parameter page, the tables and what the processor just pushed. It never
 * copies a page (where ring 0 is emulated that costs half a millisecond): it edits one entry and
 * returns to a ring-3 routine that copies, through a frame that is a constant.
 *
 * Position-independent: everything is reached relative to RIP, nothing is relocated.
 */
#include "core/confined.h"

	.section .rodata.mote_system, "a", @progbits
	.p2align 12
	.globl	mote__system_pages
	.hidden	mote__system_pages
	.type	mote__system_pages, @object
mote__system_pages:

/* What lies behind the library's pages, as distances from the first. */
	.set	params, mote__system_pages + MOTE__PARAMS_PAGE * 0x1000
	.set	window, mote__system_pages + MOTE__WINDOW_PAGE * 0x1000
	.set	window_entry, mote__system_pages + MOTE__LEAVES_PAGE * 0x1000 + MOTE__WINDOW_PAGE * 8
	.set	run_info, mote__system_pages + MOTE__RUN_INFO_PAGE * 0x1000
	.set	syscall_word, mote__system_pages + MOTE__IST_PAGE * 0x1000

/* The next free frame: RCX = its frame word, RSI = address of its log entry. With none left the host
 * is asked; it raises the limit and runs on, or never comes back. */
	.macro	take_frame
10:	mov	params + MOTE__PARAMS_NEXT(%rip), %rcx
	cmp	params + MOTE__PARAMS_LIMIT(%rip), %rcx
	jb	11f
	out	%al, $MOTE__PORT_FRAMES
	jmp	10b
11:	addq	$0x1000, params + MOTE__PARAMS_NEXT(%rip)
	mov	%rcx, %rsi
	shr	$9, %rsi
	add	params + MOTE__PARAMS_LOG_BIAS(%rip), %rsi
	.endm

/* ---- page 0: exception entries, ring 0 ------------------------------------------------------ */

/*
 * #PF. On the interrupt stack: error code, RIP, CS, RFLAGS, RSP, SS. The four registers pushed
 * here are popped by the ring-3 routine that the stub returns to.
 */
page_fault:
	push	%rax
	push	%rcx
	push	%rdx
	push	%rsi
	mov	%cr2, %rax
	shr	$12, %rax
	testb	$1, 32(%rsp)			/* P: the page is there, so it was a protection fault */
	jz	demand_zero

	/* Copy-on-write. Page numbers of the upper half are larger than any end, too. A leaf in this
	 * range is always 4 KiB: the self map would show a large leaf's data as if it were entries. */
	cmp	params + MOTE__PARAMS_COW_END(%rip), %rax
	jae	fatal_page_fault
	cmp	params + MOTE__PARAMS_COW_FIRST(%rip), %rax
	jb	fatal_page_fault
	movabs	$MOTE__SELF_GVA, %rdx
	lea	(%rdx,%rax,8), %rdx
	testb	$2, 32(%rsp)			/* W: reading or executing it is what is not allowed */
	jz	fatal_page_fault
	mov	(%rdx), %rcx
	test	$MOTE__LEAF_COW_BIT, %ecx
	jz	old_translation
	mov	%rcx, window_entry(%rip)	/* old leaf: user, read-only, no-execute */
	invlpg	window(%rip)
	take_frame
	mov	%rax, (%rsi)
	mov	%rcx, (%rdx)
	mov	%cr2, %rsi
	invlpg	(%rsi)				/* a speculative load may have refilled the old one */
	lea	frame_copy(%rip), %rsp
	iretq

/* Not present: heap and stack are filled with zero frames (frames are zero when handed out). All
 * leaf tables of that range are there. */
demand_zero:
	mov	%rax, %rcx
	sub	params + MOTE__PARAMS_HEAP_FIRST(%rip), %rcx
	cmp	params + MOTE__PARAMS_HEAP_PAGES(%rip), %rcx
	jb	1f
	mov	%rax, %rcx
	sub	params + MOTE__PARAMS_STACK_FIRST(%rip), %rcx
	cmp	params + MOTE__PARAMS_STACK_PAGES(%rip), %rcx
	jae	fatal_page_fault
1:	take_frame
	mov	%rax, (%rsi)
	movabs	$MOTE__SELF_GVA, %rdx
	mov	%rcx, (%rdx,%rax,8)
	lea	frame_return(%rip), %rsp
	iretq

/* The leaf is writable: between two calls the host gave the page its frame, and the processor still
 * had the leaf from before. It showed the same bytes until now. */
old_translation:
	test	$2, %cl
	jz	fatal_page_fault
	mov	%cr2, %rcx
	invlpg	(%rcx)
	lea	frame_return(%rip), %rsp
	iretq

fatal_page_fault:
	mov	$14, %eax
	out	%eax, $MOTE__PORT_EXCEPTION
	ud2

	.org	MOTE__EXCEPTION_OFFSET
	.set	vector, 0
	.rept	32
	.p2align 4
	push	%rax
	mov	$vector, %eax
	out	%eax, $MOTE__PORT_EXCEPTION
	ud2
	.set	vector, vector + 1
	.endr

/* ---- page 1: GDT, TSS, frames --------------------------------------------------------------- */

	.org	MOTE__SYSTEM_TABLE_PAGE * 0x1000
	.set	tss, MOTE__PAGE_GVA(MOTE__SYSTEM_TABLE_PAGE) + MOTE__TSS_OFFSET
	/* Accessed and busy bits are set, so that the processor never writes here. */
	.quad	0, 0
	.quad	0x00AF9B000000FFFF		/* 0x10 ring-0 code */
	.quad	0x00CF93000000FFFF		/* 0x18 ring-0 data */
	.quad	0
	.quad	0x00CFF3000000FFFF		/* 0x28 ring-3 data */
	.quad	0x00AFFB000000FFFF		/* 0x30 ring-3 code */
	.quad	MOTE__TSS_LIMIT | ((tss & 0xFFFFFF) << 16) | (0x8B << 40) | (((tss >> 24) & 0xFF) << 56)
	.quad	(tss >> 32) & 0xFFFFFFFF
	.org	MOTE__SYSTEM_TABLE_PAGE * 0x1000 + MOTE__TSS_OFFSET
	.long	0
	.quad	MOTE__IST_TOP, 0, 0		/* RSP0 to RSP2 */
	.quad	0
	.quad	MOTE__IST_TOP, 0, 0, 0, 0, 0, 0	/* IST1 to IST7 */
	.quad	0
	.short	0
	.short	104				/* I/O bitmap: an OUT of four bytes needs four bits */
	.fill	12, 1, 0xFF			/* ports 0-95: closed */
	.byte	0x07				/* 99-103: open */
	.byte	0x08				/* 104-106, 108-111: open */
	.byte	0xFF
	.org	MOTE__SYSTEM_TABLE_PAGE * 0x1000 + MOTE__FRAMES_OFFSET
frame_copy:
	.quad	MOTE__COPY_GVA, MOTE__CS3, 2, MOTE__IST_TOP - 80, MOTE__SS3
frame_return:
	.quad	MOTE__RETURN_GVA, MOTE__CS3, 2, MOTE__IST_TOP - 80, MOTE__SS3

/* ---- page 2: IDT ---------------------------------------------------------------------------- */

	.org	MOTE__SYSTEM_IDT_PAGE * 0x1000
	.set	vector, 0
	.rept	32
	.if	vector == 14
	.set	handler, MOTE__SYSTEM_GVA
	.else
	.set	handler, MOTE__SYSTEM_GVA + MOTE__EXCEPTION_OFFSET + 16 * vector
	.endif
	/* interrupt gate, DPL 0, IST 1 */
	.quad	(handler & 0xFFFF) | (MOTE__CS0 << 16) | (1 << 32) | (0x8E << 40) | (((handler >> 16) & 0xFFFF) << 48)
	.quad	(handler >> 32) & 0xFFFFFFFF
	.set	vector, vector + 1
	.endr

/* ---- page 3: ring 3 ------------------------------------------------------------------------- */

	.org	MOTE__SYSTEM_USER_PAGE * 0x1000
	/*
	 * Every start. EAX = 0, or the mask of state components that ring 3 can reach (XCR0); RBX =
	 * where to go. Leaves no trace of an earlier call in x87, MXCSR and vector registers
	 * (Intel SDM volume 1, 13.8: a component whose XSTATE_BV bit is clear is initialised).
	 */
prologue:
	mov	%rdx, %r10
	xor	%edx, %edx
	test	%eax, %eax
	jz	1f
	xrstor64 fpu_image(%rip)
	mov	%r10, %rdx
	jmp	*%rbx
1:	fninit
	fxrstor64 fpu_image(%rip)
	mov	%r10, %rdx
	jmp	*%rbx

	/*
	 * LSTAR. In ring 0 where SYSCALL is the processor's, in ring 3 where it is emulated: uses no
	 * stack, changes RCX and R11 only, and always goes on in ring 3.
	 */
	.org	MOTE__SYSTEM_USER_PAGE * 0x1000 + 0x80
	mov	%rcx, syscall_word(%rip)
	mov	%cs, %r11d
	test	$3, %r11b
	mov	run_info + MOTE__RUN_INFO_SYSCALL(%rip), %rcx
	jnz	1f
	mov	$2, %r11d
	sysretq
1:	jmp	*%rcx

	/* Copy the window to page RAX, then as below. */
	.org	MOTE__SYSTEM_USER_PAGE * 0x1000 + 0x100
	push	%rdi
	lea	window(%rip), %rsi
	mov	%rax, %rdi
	shl	$12, %rdi
	mov	$512, %ecx
	rep movsq
	pop	%rdi
	jmp	2f

	/* Back to the faulting instruction, by an IRETQ in ring 3. */
	.org	MOTE__SYSTEM_USER_PAGE * 0x1000 + 0x140
2:	pop	%rsi
	pop	%rdx
	pop	%rcx
	pop	%rax
	add	$8, %rsp
	iretq

	/* Once an engine: which state components can ring 3 reach? Halts with the mask, or is #UD. */
	.org	MOTE__SYSTEM_USER_PAGE * 0x1000 + 0x180
	xor	%ecx, %ecx
	xgetbv
	out	%eax, $108
	ud2

	/*
	 * The first start after a restore or as a fork: what ring 3 can change of segments, too. R11 =
	 * FS base, R9 = GS base; both are zero behind it.
	 */
	.org	MOTE__SYSTEM_USER_PAGE * 0x1000 + 0x1C0
	mov	$MOTE__SS3, %r10d
	mov	%r10d, %ds
	mov	%r10d, %es
	mov	%r10d, %fs
	mov	%r10d, %gs
	wrfsbase %r11
	wrgsbase %r9
	xor	%r11d, %r11d
	xor	%r9d, %r9d
	jmp	prologue

	/* Likewise: is there a descriptor for 32-bit code? #GP where it is refused, #PF in the null page
	 * where it is not. */
	.org	MOTE__SYSTEM_USER_PAGE * 0x1000 + 0x200
	pushq	$MOTE__CS32
	pushq	$0
	lretq

	.org	MOTE__SYSTEM_USER_PAGE * 0x1000 + MOTE__FPU_IMAGE_OFFSET
fpu_image:					/* 576 bytes: legacy area and XSAVE header, 64-aligned */
	.short	0x37F				/* FCW */
	.org	MOTE__SYSTEM_USER_PAGE * 0x1000 + MOTE__FPU_IMAGE_OFFSET + 24
	.long	0x1F80				/* MXCSR */

	.org	MOTE__SYSTEM_PAGES * 0x1000
	.size	mote__system_pages, MOTE__SYSTEM_PAGES * 0x1000

	.section .note.GNU-stack, "", @progbits
