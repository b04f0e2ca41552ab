/* SPDX-License-Identifier: MIT */
/*
 * Random numbers: the ChaCha20 block function (RFC 8439, 2.3) with the host's random bytes as the
 * key and a counter. The host gives other bytes after every restore and fork, and tells so by the
 * generation; the counter starts anew with each key, so no block comes twice.
 */
#include "rt.h"

#include <string.h>

#define BLOCK_WORDS 16u

static uint32_t rotate(uint32_t x, unsigned by)
{
	return x << by | x >> (32 - by);
}

static void quarter(uint32_t *x, unsigned a, unsigned b, unsigned c, unsigned d)
{
	x[a] += x[b];
	x[d] = rotate(x[d] ^ x[a], 16);
	x[c] += x[d];
	x[b] = rotate(x[b] ^ x[c], 12);
	x[a] += x[b];
	x[d] = rotate(x[d] ^ x[a], 8);
	x[c] += x[d];
	x[b] = rotate(x[b] ^ x[c], 7);
}

static void chacha20_block(const uint8_t key[32], uint64_t count, uint32_t out[BLOCK_WORDS])
{
	uint32_t start[BLOCK_WORDS] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
	memcpy(start + 4, key, 32);
	start[12] = (uint32_t)count;
	start[13] = (uint32_t)(count >> 32);
	memcpy(out, start, sizeof start);
	for (unsigned round = 0; round < 10; round++) {
		for (unsigned i = 0; i < 4; i++)
			quarter(out, i, 4 + i, 8 + i, 12 + i);
		for (unsigned i = 0; i < 4; i++)
			quarter(out, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4);
	}
	for (unsigned i = 0; i < BLOCK_WORDS; i++)
		out[i] += start[i];
}

void mote_guest_random(void *to, size_t len)
{
	uint8_t *at = to;
	uint64_t generation = mote__guest.run->generation;
	if (mote__guest.random_generation != generation) {
		mote__guest.random_generation = generation;
		mote__guest.random_counter = 0;
	}
	while (len > 0) {
		uint32_t words[BLOCK_WORDS];
		size_t taken = len < sizeof words ? len : sizeof words;
		chacha20_block(mote__guest.run->random, mote__guest.random_counter++, words);
		memcpy(at, words, taken);
		at += taken;
		len -= taken;
	}
}

uint64_t mote_guest_generation(void)
{
	return mote__guest.run->generation;
}
