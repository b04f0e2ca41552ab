/* SPDX-License-Identifier: MIT */
/*
 * A stack that a guest wrote: the input is the shared memory. What is found lies inside, removing
 * it leaves a stack pointer below, and what is pushed is found again.
 */
#include "core/stack.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define REQUIRE(condition)        \
	do {                      \
		if (!(condition)) \
			abort();  \
	} while (0)

static void require_text(const struct mote__stack_failure *failure)
{
	char text[256];
	int len = mote__stack_format(failure, text, sizeof text);
	REQUIRE(len > 0 && (size_t)len < sizeof text);
	REQUIRE(strncmp(text, "Unknown", 7) != 0);
}

/* Pop until nothing is left; each pop lowers the stack pointer, so this ends. */
static void pop_all(uint8_t *shared, uint64_t size)
{
	struct mote__stack_top top;
	struct mote__stack_failure failure;
	uint64_t before = UINT64_MAX;
	while (mote__stack_top(shared, size, &top, &failure)) {
		REQUIRE(top.pointer <= size && top.pointer <= before);
		REQUIRE(top.offset >= MOTE__STACK_FIRST && top.bytes >= 4);
		REQUIRE(top.offset + top.bytes + MOTE__STACK_BACK_BYTES <= top.pointer);
		uint8_t *copy = malloc(top.bytes);
		mote__stack_copy(shared, &top, copy);
		uint32_t prefix;
		memcpy(&prefix, copy, sizeof prefix);
		REQUIRE(prefix == top.bytes - 4);
		REQUIRE(memcmp(copy, shared + top.offset, top.bytes) == 0);
		free(copy);
		mote__stack_drop(shared, &top, top.bytes % 2 == 0);
		before = top.offset;
	}
	require_text(&failure);
}

/* Push a message of len bytes if there is room, and find it again. */
static void push(uint8_t *shared, uint64_t size, uint64_t len)
{
	struct mote__stack_room room;
	struct mote__stack_top top;
	struct mote__stack_failure failure;
	if (!mote__stack_reserve(shared, size, &room, &failure)) {
		require_text(&failure);
		return;
	}
	if (len > room.cap) {
		REQUIRE(!mote__stack_commit(shared, &room, len, &failure));
		require_text(&failure);
		return;
	}
	memset(room.data, 0x5A, len);
	uint32_t prefix = (uint32_t)(len - 4);
	memcpy(room.data, &prefix, sizeof prefix);
	REQUIRE(mote__stack_commit(shared, &room, len, &failure));
	REQUIRE(mote__stack_top(shared, size, &top, &failure));
	REQUIRE(top.offset == room.pointer && top.bytes == len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (len < 17)
		return 0;
	uint64_t message_bytes = 8 + data[len - 1] % 64;
	uint64_t size = len - 1;
	uint8_t *shared = malloc(size);
	memcpy(shared, data, size);
	push(shared, size, message_bytes);
	pop_all(shared, size);
	mote__stack_reset(shared);
	push(shared, size, message_bytes);
	pop_all(shared, size);
	free(shared);
	return 0;
}
