/* SPDX-License-Identifier: MIT */
/* What the guest snap_probe, its assembly and its tests agree on: offsets and numbers. */
#ifndef MOTE_TESTS_SNAP_PROBE_H
#define MOTE_TESTS_SNAP_PROBE_H

/* What a call entry found, in a page of its own. */
#define SNAP_GENERAL       0 /* RAX RCX RDX RBX RSP RBP RSI RDI R8 to R15 */
#define SNAP_FLAGS         128
#define SNAP_SELECTORS     136 /* CS DS ES FS GS SS */
#define SNAP_FS_BASE       184
#define SNAP_GS_BASE       192
#define SNAP_FX            256 /* as FXSAVE writes it */
#define SNAP_STATE_BYTES   768
#define SNAP_VECTORS_BYTES 0x3000 /* as XSAVE writes it */
#define SNAP_XSAVE_HEADER  512

/* struct snap_fill: what registers become. */
#define SNAP_FILL_VALUE     0  /* u64: general registers, FS and GS base */
#define SNAP_FILL_FLAGS     8  /* u64: RFLAGS */
#define SNAP_FILL_MASK      16 /* u32: XCR0 */
#define SNAP_FILL_MXCSR     20
#define SNAP_FILL_SELECTORS 24 /* u32: DS ES FS GS, or -1: as they are */
#define SNAP_FILL_BITS      28 /* u32: selector of the code that ends the call, or 0 */
#define SNAP_FILL_BYTES     32 /* 64: x87 and vector registers */
#define SNAP_FILL_SIZE      96

/* Places. */
#define SNAP_PLACE_STATE        0
#define SNAP_PLACE_VECTORS      1
#define SNAP_PLACE_DATA         2 /* SNAP_PAGES that begin with numbers */
#define SNAP_PLACE_ZEROES       3 /* SNAP_PAGES */
#define SNAP_PLACE_CONSTANTS    4
#define SNAP_PLACE_HEAP         5 /* the upper half of the heap, which malloc() is far from */
#define SNAP_PLACE_STACK        6 /* the lower half of the stack */
#define SNAP_PLACE_OUTPUT       7
#define SNAP_PLACE_OUTPUT_BYTES 8
#define SNAP_PLACE_INPUT        9
#define SNAP_PLACE_RUN_INFO     10
#define SNAP_PLACE_SYSCALL_WORD 11
#define SNAP_PLACE_HEAP_BYTES   12
#define SNAP_PLACE_STACK_BYTES  13
#define SNAP_PAGES              96

/* Ways to end badly. */
#define SNAP_END_FAULT    0
#define SNAP_END_ABORT    1
#define SNAP_END_LOOP     2
#define SNAP_END_MEMORY   3
#define SNAP_END_OPCODE   4
#define SNAP_END_PORT     5
#define SNAP_END_IN       6
#define SNAP_END_HALF     7 /* in the middle of an abort's text */
#define SNAP_END_PROTOCOL 8
#define SNAP_ENDS         9

#endif
