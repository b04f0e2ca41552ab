/* SPDX-License-Identifier: MIT */
/*
 * The format of 32-bit paging (Intel SDM volume 3, 4.3): 2 levels, every page executable. Software
 * bits 11:9 are a field: copy-on-write is the value 1 of it. Whether an entry of a directory can
 * map 4 MiB is for CR4.PSE to say, so there are two formats; without it, bit 7 means nothing.
 */
#include "core/page_table.h"

#define PRESENT   UINT64_C(0x001)
#define WRITABLE  UINT64_C(0x002)
#define USER      UINT64_C(0x004)
#define ACCESSED  UINT64_C(0x020)
#define PAGE_SIZE UINT64_C(0x080)
#define COW       UINT64_C(0x200)
#define SOFTWARE  UINT64_C(0xE00)
#define LARGE_PAT UINT64_C(0x1000)

/* What both have. No dirty bit is preset (guest-abi 4.5). */
#define COMMON                                                                                \
	.levels = 2, .page_bits = 12, .index_bits = 10, .entry_bytes = 4, .va_bits = 32,      \
	.address_mask = UINT64_C(0xFFFFF000), .accessed = ACCESSED,                           \
	.table_bits = PRESENT | WRITABLE | USER | ACCESSED, .present = {PRESENT, PRESENT, 0}, \
	.writable = {WRITABLE, WRITABLE, 0}, .user = {USER, USER, 0}, .cow = {SOFTWARE, COW, 0}

const struct mote__pt_format mote__pt_i686 = {
	COMMON, .name = "i686", .large = {0, 1, 0}, /* no entry has it */
};

/* Bits 20:13 of a large page are further address bits (PSE-36), which guests do not have: the
 * processor refuses them, since the address would be beyond its width. */
const struct mote__pt_format mote__pt_i686_large = {
	COMMON,
	.name = "i686",
	.large_levels = 1u << 2,
	.large_flags = LARGE_PAT,
	.large = {PAGE_SIZE, PAGE_SIZE, 0},
};
