/* SPDX-License-Identifier: MIT */
/* What the tests of the message codec share. */
#ifndef MOTE_TESTS_MESSAGE_HELPERS_H
#define MOTE_TESTS_MESSAGE_HELPERS_H

#include "core/message.h"

#include "check.h"

#include <stdlib.h>

#define STRING(text) ((struct mote_string){text, sizeof(text) - 1})

/* Decode a copy that is exactly as long as the message and starts at an odd address, so that the
 * address sanitizer sees every byte too far. The caller frees *copy. */
static inline uint8_t *odd_copy(const void *message, size_t len, uint8_t **copy)
{
	uint8_t *block = malloc(len + 1);
	*copy = block;
	if (len > 0)
		memcpy(block + 1, message, len);
	return block + 1;
}

static inline bool same_string(struct mote_string a, struct mote_string b)
{
	return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

static inline bool same_value(const struct mote_value *a, const struct mote_value *b)
{
	if (a->type != b->type)
		return false;
	switch (a->type) {
	case MOTE_VOID:
		return true;
	case MOTE_I32:
	case MOTE_U32:
	case MOTE_F32:
		return a->u32 == b->u32;
	case MOTE_BOOL:
		return (a->boolean != 0) == (b->boolean != 0);
	case MOTE_STRING:
		return same_string(a->string, b->string);
	case MOTE_BYTES:
		return a->bytes.len == b->bytes.len &&
		       (a->bytes.len == 0 ||
			memcmp(a->bytes.data, b->bytes.data, a->bytes.len) == 0);
	default:
		return a->u64 == b->u64;
	}
}

static inline struct mote__result_view result_of(const uint8_t *message, size_t len)
{
	struct mote__result_view view;
	CHECK_EQ(mote__message_decode_result(message, len, &view), MOTE__MESSAGE_OK);
	return view;
}

#endif
