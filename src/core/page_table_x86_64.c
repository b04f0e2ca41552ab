/* SPDX-License-Identifier: MIT */
/*
 * The x86-64 format: 4-level paging with no-execute (Intel SDM volume 3, 4.5). Software bits 11:9
 * are a field: copy-on-write is the value 1 of it, any other value is an ordinary page.
 */
#include "core/page_table.h"

#define PRESENT    UINT64_C(0x001)
#define WRITABLE   UINT64_C(0x002)
#define USER       UINT64_C(0x004)
#define ACCESSED   UINT64_C(0x020)
#define DIRTY      UINT64_C(0x040)
#define PAGE_SIZE  UINT64_C(0x080)
#define COW        UINT64_C(0x200)
#define SOFTWARE   UINT64_C(0xE00)
#define LARGE_PAT  UINT64_C(0x1000)
#define NO_EXECUTE (UINT64_C(1) << 63)

const struct mote__pt_format mote__pt_x86_64 = {
	.name = "x86-64",
	.levels = 4,
	.page_bits = 12,
	.index_bits = 9,
	.entry_bytes = 8,
	.va_bits = 48,
	.is_sign_extended = true,
	.large_levels = 1u << 2 | 1u << 3,
	.address_mask = UINT64_C(0x000FFFFFFFFFF000),
	.large_flags = LARGE_PAT,
	.accessed = ACCESSED,
	.dirty = DIRTY,
	.table_bits = PRESENT | WRITABLE | ACCESSED,
	.present = {PRESENT, PRESENT, 0},
	.large = {PAGE_SIZE, PAGE_SIZE, 0},
	.writable = {WRITABLE, WRITABLE, 0},
	.user = {USER, USER, 0},
	.exec = {NO_EXECUTE, 0, NO_EXECUTE},
	.cow = {SOFTWARE, COW, 0},
};
