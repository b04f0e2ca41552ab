/* SPDX-License-Identifier: MIT */
/* The guest of the benchmarks of snapshots: a block of heap that the host fills, and calls that
 * write one word of some of its pages. */
#include <mote_guest.h>

#include <stdlib.h>

#define PAGE_BYTES 4096

static volatile int32_t *block;

/* Have a block of that size, and say where it is. */
MOTE_EXPORT(uint64_t, reserve, (uint64_t, bytes))
{
	block = aligned_alloc(PAGE_BYTES, bytes);
	if (!block)
		mote_guest_fail(MOTE_GUEST_MALLOC_FAILED, "no room for the block");
	return (uintptr_t)block;
}

/* Write to count pages of the block from number first on. */
MOTE_EXPORT(int32_t, touch, (int32_t, first), (int32_t, count))
{
	volatile int32_t *at = block + (size_t)first * (PAGE_BYTES / sizeof *at);
	for (int32_t i = 0; i < count; i++, at += PAGE_BYTES / sizeof *at)
		(*at)++;
	return count;
}
