/* SPDX-License-Identifier: MIT */
/* What the stock guest stock_probe and its tests share: indices into the registers that it saved.
 */
#ifndef MOTE_TESTS_STOCK_PROBE_H
#define MOTE_TESTS_STOCK_PROBE_H

/* "regs", when, index: general registers and flags at an entry. */
enum probe_general {
	PROBE_R15,
	PROBE_R14,
	PROBE_R13,
	PROBE_R12,
	PROBE_R11,
	PROBE_R10,
	PROBE_R9,
	PROBE_R8,
	PROBE_RBP,
	PROBE_RDI,
	PROBE_RSI,
	PROBE_RDX,
	PROBE_RCX,
	PROBE_RBX,
	PROBE_RAX,
	PROBE_RFLAGS,
	PROBE_RSP,
	PROBE_GENERAL_COUNT
};

enum probe_when { PROBE_AT_INITIALISE, PROBE_AT_DISPATCH };

/* "syss", index: system registers before the guest set up anything. */
enum probe_system {
	PROBE_CR0,
	PROBE_CR2,
	PROBE_CR3,
	PROBE_CR4,
	PROBE_CR8,
	PROBE_CS,
	PROBE_DS,
	PROBE_ES,
	PROBE_FS,
	PROBE_GS,
	PROBE_SS,
	PROBE_TR,
	PROBE_LDTR,
	PROBE_GDT_BASE,
	PROBE_GDT_LIMIT,
	PROBE_IDT_BASE,
	PROBE_IDT_LIMIT,
	PROBE_DR6,
	PROBE_DR7,
	PROBE_SYSTEM_COUNT
};

/* "gold", index: results, byte for byte as the stock encoder makes them. */
enum probe_golden {
	PROBE_INT_42,
	PROBE_INT_0,
	PROBE_VOID,
	PROBE_LONG_MINUS_1,
	PROBE_STRING_HI,
	PROBE_BYTES_123,
	PROBE_ERROR_BOOM,
	PROBE_GOLDEN_COUNT
};

#endif
