/* SPDX-License-Identifier: MIT */
/*
 * Memory that lives until the end of the call: blocks of pages, handed out from the front. The
 * oldest block is kept from call to call, so that calls touch the same pages; others are given
 * back. A call that takes nothing writes nothing.
 */
#include "rt.h"

#include "base/math.h"

#define BLOCK_BYTES (2ull * MOTE__GUEST_PAGE_BYTES)
#define ALIGN       16u

typedef struct mote__guest_block block;

#define HEADER_BYTES ((uint64_t)((sizeof(block) + ALIGN - 1) / ALIGN * ALIGN))

static block *block_make(uint64_t bytes)
{
	uint64_t needed;
	if (!mote__add(bytes, HEADER_BYTES + MOTE__GUEST_PAGE_BYTES - 1, &needed))
		return NULL;
	needed = mote__round_down(needed, MOTE__GUEST_PAGE_BYTES);
	if (needed < BLOCK_BYTES)
		needed = BLOCK_BYTES;
	block *made = (block *)mote__guest_pages_take(needed);
	if (!made)
		return NULL;
	*made = (block){mote__guest.blocks, needed, HEADER_BYTES};
	mote__guest.blocks = made;
	return made;
}

void *mote__guest_scratch_take(size_t bytes)
{
	block *b = mote__guest.blocks;
	if (bytes > SIZE_MAX - ALIGN)
		return NULL;
	bytes = mote__round_up(bytes, ALIGN);
	if (!b || bytes > b->bytes - b->used)
		b = block_make(bytes);
	if (!b)
		return NULL;
	void *taken = (uint8_t *)b + b->used;
	b->used += bytes;
	return taken;
}

void mote__guest_scratch_reset(void)
{
	block *b = mote__guest.blocks;
	if (!b)
		return;
	if (!b->next && b->used == HEADER_BYTES)
		return;
	while (b->next) {
		block *older = b->next;
		mote__guest_pages_give((uint64_t)b, b->bytes);
		b = older;
	}
	b->used = HEADER_BYTES;
	mote__guest.blocks = b;
	mote__guest.error_text = NULL;
}

void *mote_guest_scratch(size_t bytes)
{
	static const char text[] = "No memory for mote_guest_scratch()";
	void *taken = mote__guest_scratch_take(bytes);
	if (!taken)
		mote__guest_end(MOTE_GUEST_MALLOC_FAILED, text, sizeof text - 1);
	return taken;
}
