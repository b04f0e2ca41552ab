/* SPDX-License-Identifier: MIT */
/*
 * The ring-0 fallback: addresses, selectors and words of the ABI (family S) on hosts that do not
 * confine. Valid in C and in assembly.
 */
#ifndef MOTE_GUEST_FALLBACK_H
#define MOTE_GUEST_FALLBACK_H

#ifdef __ASSEMBLER__
#define MOTE__FALLBACK_U64(x) x
#else
#define MOTE__FALLBACK_U64(x) x##ull
#endif

/* Two pages of our own below scratch: descriptor tables. Kept by snapshots. */
#define MOTE__FALLBACK_CONTROL MOTE__FALLBACK_U64(0xFFFFFD0000000000)
#define MOTE__FALLBACK_TSS     (MOTE__FALLBACK_CONTROL + 0x40)
#define MOTE__FALLBACK_IDT     (MOTE__FALLBACK_CONTROL + 0x1000)
/* The stack grows down from here, page by page. */
#define MOTE__FALLBACK_STACK_TOP MOTE__FALLBACK_U64(0xFFFFFF0000000000)

/* In scratch, at fixed places below its top. */
#define MOTE__FALLBACK_NEXT_FRAME      MOTE__FALLBACK_U64(0xFFFFFFFFFFFFEFF0)
#define MOTE__FALLBACK_GENERATION      MOTE__FALLBACK_U64(0xFFFFFFFFFFFFEFE0)
#define MOTE__FALLBACK_EXCEPTION_STACK MOTE__FALLBACK_U64(0xFFFFFFFFFFFFEFD0)
/* The lowest word of the exception stack's page: writable whatever happens. */
#define MOTE__FALLBACK_SYSCALL_WORD MOTE__FALLBACK_U64(0xFFFFFFFFFFFFE000)

#define MOTE__FALLBACK_CS 0x08
#define MOTE__FALLBACK_SS 0x10
#define MOTE__FALLBACK_TR 0x18

#define MOTE__FALLBACK_VECTORS 32

#endif
