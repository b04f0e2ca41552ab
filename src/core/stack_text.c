/* SPDX-License-Identifier: MIT */
#include "core/stack.h"

#include <inttypes.h>
#include <stdio.h>

int mote__stack_format(const struct mote__stack_failure *failure, char *dst, size_t cap)
{
	uint64_t value = failure->value, limit = failure->limit;
	switch (failure->problem) {
	case MOTE__STACK_POP_POINTER:
	case MOTE__STACK_PUSH_POINTER:
		return snprintf(dst, cap,
				"Unable to %s buffer: Stack pointer is out of bounds. Stack "
				"pointer: %" PRIu64 ", Buffer size: %" PRIu64,
				failure->problem == MOTE__STACK_POP_POINTER ? "pop data from"
									    : "push data to",
				value, limit);
	case MOTE__STACK_BACK_POINTER:
		return snprintf(dst, cap,
				"Corrupt buffer back-pointer: element offset %" PRIu64
				" is outside valid range [8, %" PRIu64 "].",
				value, limit);
	case MOTE__STACK_PREFIX_OVERFLOW:
		return snprintf(dst, cap,
				"Corrupt buffer size prefix: value %" PRIu64
				" overflows when adding 4-byte header.",
				value);
	case MOTE__STACK_PREFIX_SLOT:
		return snprintf(dst, cap,
				"Corrupt buffer size prefix: flatbuffer claims %" PRIu64
				" bytes but the element slot is only %" PRIu64 " bytes.",
				value, limit);
	case MOTE__STACK_SPACE:
		return snprintf(dst, cap,
				"Not enough space in buffer to push data. Required: %" PRIu64
				", Available: %" PRIu64,
				value, limit);
	default:
		return snprintf(dst, cap, "Unknown failure of a buffer");
	}
}
