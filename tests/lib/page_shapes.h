/* SPDX-License-Identifier: MIT */
/*
 * All formats of page tables in the tests' own words, from the processor's manual and the ABI:
 * whoever builds or reads tables by hand does it in any of them. Nothing here asks the library.
 */
#ifndef MOTE_TESTS_PAGE_SHAPES_H
#define MOTE_TESTS_PAGE_SHAPES_H

#include "core/page_table.h"

/* A format as the processor's manual and the ABI have it. */
struct shape {
	const struct mote__pt_format *format;
	const char *name;
	unsigned levels, index_bits, entry_bytes, va_bits;
	unsigned large_top;  /* the highest level with large pages; 1: bit 7 means nothing */
	uint64_t address;    /* bits of an entry */
	uint64_t no_execute; /* 0: everything is executable */
	uint64_t used;       /* bits that the processor sets, preset in a leaf */
};

static const struct shape shapes[] = {
	{&mote__pt_x86_64, "x86-64", 4, 9, 8, 48, 3, UINT64_C(0x000FFFFFFFFFF000),
	 UINT64_C(1) << 63, 0x60},
	{&mote__pt_i686, "i686", 2, 10, 4, 32, 1, 0xFFFFF000, 0, 0x20},
	{&mote__pt_i686_large, "i686 with 4 MiB pages", 2, 10, 4, 32, 2, 0xFFFFF000, 0, 0x20},
	{0}, /* ends a loop over all */
};

static inline const struct shape *shape_of(const struct mote__pt_format *format)
{
	const struct shape *shape = shapes;
	while (shape->format != format)
		shape++;
	return shape;
}

static inline unsigned shape_entries(const struct shape *shape)
{
	return 1u << shape->index_bits;
}

/* Bytes that an entry of a level maps. */
static inline uint64_t shape_bytes(const struct shape *shape, unsigned level)
{
	return UINT64_C(4096) << (level - 1) * shape->index_bits;
}

static inline uint64_t shape_canonical(const struct shape *shape, uint64_t va)
{
	bool is_upper = shape->va_bits == 48 && va >> 47 & 1;
	return is_upper ? va | UINT64_C(0xFFFF) << 48 : va;
}

/* The highest address. */
static inline uint64_t shape_top(const struct shape *shape)
{
	return shape->va_bits == 48 ? UINT64_MAX : UINT32_MAX;
}

#endif
