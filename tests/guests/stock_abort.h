/* SPDX-License-Identifier: MIT */
/* An abort's bytes, for bare stock guests: up to three go with each OUT, 0xFF is the last one. */
#ifndef MOTE_TESTS_STOCK_ABORT_H
#define MOTE_TESTS_STOCK_ABORT_H

#include "stock_message.h"

struct chunk {
	uint32_t word, count;
};

static inline void put(struct chunk *chunk, uint8_t byte)
{
	chunk->word |= (uint32_t)byte << (8 + 8 * chunk->count++);
	if (chunk->count < 3 && byte != 0xFF)
		return;
	out32(102, chunk->word | chunk->count);
	chunk->word = chunk->count = 0;
}

static inline void put_text(struct chunk *chunk, const char *text)
{
	for (; *text; text++)
		put(chunk, (uint8_t)*text);
}

#endif
