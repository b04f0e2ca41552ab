/* SPDX-License-Identifier: MIT */
/*
 * Small guest images made in memory, on top of the ELF maker: a stock one, and a confined one with
 * its note and with tables of functions. Their code is no code: the test double says what a guest
 * does, or a test puts some there. A test may spoil the image through the pointers before it makes
 * a snapshot.
 */
#ifndef MOTE_TESTS_TINY_GUEST_H
#define MOTE_TESTS_TINY_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mote.h>

/* Where a position-independent one is, in the guest. */
#define TINY_GVA          0x1000u
#define TINY_ENTRY_GVA    (TINY_GVA + 0x1010u) /* of the file header */
#define TINY_RING3_GVA    (TINY_GVA + 0x1014u) /* of the note */
#define TINY_DISPATCH_GVA (TINY_GVA + 0x1020u)
#define TINY_SYSCALL_GVA  (TINY_GVA + 0x1030u)
#define TINY_CODE_GVA     (TINY_GVA + 0x1000u) /* a symbol "work", 16 bytes, and "more" */
#define TINY_DATA_GVA     (TINY_GVA + 0x2000u) /* byte i from 0x80 to 0x11f is (uint8_t)(i + 1) */
#define TINY_STOCK_RSP    0xFFFFFF0000000000ull

struct tiny_function {
	const char *name;
	uint32_t result, count;
	uint8_t parameters[MOTE_MAX_PARAMETERS];
};

/** What is wanted; zero means default. */
struct tiny_options {
	bool is_confined;
	unsigned bits;       /* 32; default 64 */
	bool is_fixed;       /* ET_EXEC, linked at base_va */
	uint64_t base_va;    /* default 0 */
	uint64_t data_bytes; /* of the data segment, with zeros; default 0x1801 */
	uint64_t stack_bytes;
	const struct tiny_function *exports, *imports;
	uint32_t export_count, import_count;
};

/** The image; of one thread, until the next one is made. */
struct tiny_image {
	uint8_t *bytes;
	size_t len;
	uint8_t *code;                      /* of TINY_CODE_GVA, 64 bytes */
	uint8_t *data;                      /* of TINY_DATA_GVA + 0x80, 160 bytes */
	struct mote_abi_note *note;         /* in bytes; NULL of a stock guest */
	struct mote_abi_table *tables;      /* exports, imports; NULL without functions */
	struct mote_abi_function *function; /* exports, then imports */
	uint64_t tables_gva;
};

struct tiny_image tiny_guest(const struct tiny_options *options);

#endif
