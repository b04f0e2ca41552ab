/* SPDX-License-Identifier: MIT */
/* The guest of bytes.c: run-length coding, pairs of a count and a byte. */
#include <mote_guest.h>

MOTE_EXPORT(struct mote_bytes, pack, (struct mote_bytes, plain))
{
	const uint8_t *from = plain.data;
	uint8_t *packed = mote_guest_scratch(2 * plain.len + 1); /* until the end of the call */
	size_t len = 0;
	for (size_t i = 0; i < plain.len;) {
		uint8_t count = 0;
		for (size_t j = i; j < plain.len && from[j] == from[i] && count < 255; j++)
			count++;
		packed[len++] = count;
		packed[len++] = from[i];
		i += count;
	}
	return (struct mote_bytes){packed, len};
}

MOTE_EXPORT(struct mote_bytes, unpack, (struct mote_bytes, packed))
{
	const uint8_t *from = packed.data;
	size_t len = 0, at = 0;
	if (packed.len % 2 != 0)
		mote_guest_fail(MOTE_GUEST_ERROR, "%zu bytes are not pairs", packed.len);
	for (size_t i = 0; i < packed.len; i += 2)
		len += from[i];
	uint8_t *plain = mote_guest_scratch(len + 1);
	for (size_t i = 0; i < packed.len; i += 2)
		for (unsigned count = from[i]; count > 0; count--)
			plain[at++] = from[i + 1];
	return (struct mote_bytes){plain, len};
}
