/* SPDX-License-Identifier: MIT */
/* What the guest i686_kernel and its tests share: indices into the registers that it saved. */
#ifndef MOTE_TESTS_I686_PROBE_H
#define MOTE_TESTS_I686_PROBE_H

/* "gene", when, index: general registers and flags at an entry. */
enum i686_general {
	I686_EDI,
	I686_ESI,
	I686_EBP,
	I686_ESP,
	I686_EBX,
	I686_EDX,
	I686_ECX,
	I686_EAX,
	I686_EFLAGS,
	I686_GENERAL_COUNT
};

enum i686_when { I686_AT_INITIALISE, I686_AT_DISPATCH };

/* "syst", index: system registers before the guest set up anything. */
enum i686_system {
	I686_CR0,
	I686_CR2,
	I686_CR3,
	I686_CR4,
	I686_CS,
	I686_DS,
	I686_ES,
	I686_FS,
	I686_GS,
	I686_SS,
	I686_TR,
	I686_LDTR,
	I686_GDT_BASE,
	I686_GDT_LIMIT,
	I686_IDT_BASE,
	I686_IDT_LIMIT,
	I686_DR6,
	I686_DR7,
	I686_SYSTEM_COUNT
};

/* "run_", space, value, program: what a process does with the value. */
enum i686_program {
	I686_ADD,   /* adds the first word of its data, where it stores the sum; answers that */
	I686_WRITE, /* writes to the address */
	I686_OUT,   /* ends the call by itself, which a process must not */
	I686_LOOP,  /* for ever */
};

#define I686_PROGRAM_BYTES 16u

#endif
