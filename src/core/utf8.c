/* SPDX-License-Identifier: MIT */
#include "core/utf8.h"

#define HIGH_BITS 0x8080808080808080u

static size_t ascii_run(const uint8_t *bytes, size_t at, size_t len)
{
	while (len - at >= sizeof(uint64_t)) {
		uint64_t word;
		__builtin_memcpy(&word, bytes + at, sizeof word);
		if (word & HIGH_BITS)
			break;
		at += sizeof word;
	}
	while (at < len && bytes[at] < 0x80)
		at++;
	return at;
}

static bool is_between(uint8_t byte, uint8_t low, uint8_t high)
{
	return byte >= low && byte <= high;
}

/* Bytes of the character at bytes, which does not start with ASCII; 0 if it is not valid. */
static size_t character_bytes(const uint8_t *bytes, size_t len)
{
	uint8_t first = bytes[0];
	uint8_t low = 0x80, high = 0xBF;
	size_t count = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
	if (!is_between(first, 0xC2, 0xF4) || len < count)
		return 0;
	/* The second byte decides about overlong forms, surrogates and the upper end. */
	if (first == 0xE0)
		low = 0xA0;
	else if (first == 0xED)
		high = 0x9F;
	else if (first == 0xF0)
		low = 0x90;
	else if (first == 0xF4)
		high = 0x8F;
	if (!is_between(bytes[1], low, high))
		return 0;
	for (size_t i = 2; i < count; i++)
		if (!is_between(bytes[i], 0x80, 0xBF))
			return 0;
	return count;
}

size_t mote__utf8_prefix(const void *data, size_t len)
{
	const uint8_t *bytes = data;
	size_t at = 0;
	for (;;) {
		at = ascii_run(bytes, at, len);
		if (at == len)
			return len;
		size_t count = character_bytes(bytes + at, len - at);
		if (count == 0)
			return at;
		at += count;
	}
}
