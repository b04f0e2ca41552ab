/* SPDX-License-Identifier: MIT */
#include "core/stack.h"

#include "base/math.h"

#include <string.h>

/* The volatile type makes each read and write happen exactly once; the attributes allow any
 * address. */
struct word {
	uint64_t value;
} __attribute__((packed, may_alias));

struct half_word {
	uint32_t value;
} __attribute__((packed, may_alias));

static uint64_t read_word(const void *shared, uint64_t at)
{
	return ((const volatile struct word *)((const uint8_t *)shared + at))->value;
}

static uint32_t read_half_word(const void *shared, uint64_t at)
{
	return ((const volatile struct half_word *)((const uint8_t *)shared + at))->value;
}

static void write_word(void *shared, uint64_t at, uint64_t value)
{
	((volatile struct word *)((uint8_t *)shared + at))->value = value;
}

static bool fail(struct mote__stack_failure *failure, uint32_t problem, uint64_t value,
		 uint64_t limit)
{
	*failure = (struct mote__stack_failure){problem, value, limit};
	return false;
}

bool mote__stack_top(const void *shared, uint64_t size, struct mote__stack_top *out,
		     struct mote__stack_failure *failure)
{
	uint64_t pointer = read_word(shared, 0);
	if (pointer < MOTE__STACK_FIRST + MOTE__STACK_BACK_BYTES || pointer > size)
		return fail(failure, MOTE__STACK_POP_POINTER, pointer, size);

	uint64_t end = pointer - MOTE__STACK_BACK_BYTES;
	uint64_t offset = read_word(shared, end);
	/* pointer is at least 16, so nothing wraps; 8 bytes of message, so the prefix is there. */
	if (offset < MOTE__STACK_FIRST || offset > end - 8)
		return fail(failure, MOTE__STACK_BACK_POINTER, offset, end - 8);

	uint32_t prefix = read_half_word(shared, offset);
	if (prefix > UINT32_MAX - 4)
		return fail(failure, MOTE__STACK_PREFIX_OVERFLOW, prefix, UINT32_MAX - 4);
	uint64_t bytes = (uint64_t)prefix + 4;
	if (bytes > end - offset)
		return fail(failure, MOTE__STACK_PREFIX_SLOT, bytes, end - offset);
	*out = (struct mote__stack_top){offset, bytes, pointer};
	return true;
}

void mote__stack_copy(const void *shared, const struct mote__stack_top *top, void *dst)
{
	uint32_t prefix = (uint32_t)(top->bytes - 4);
	memcpy(dst, (const uint8_t *)shared + top->offset, top->bytes);
	memcpy(dst, &prefix, sizeof prefix);
}

void mote__stack_drop(void *shared, const struct mote__stack_top *top, bool zero)
{
	write_word(shared, 0, top->offset);
	if (zero)
		memset((uint8_t *)shared + top->offset, 0, top->pointer - top->offset);
}

bool mote__stack_reserve(void *shared, uint64_t size, struct mote__stack_room *out,
			 struct mote__stack_failure *failure)
{
	uint64_t pointer = read_word(shared, 0);
	if (pointer < MOTE__STACK_FIRST || pointer > size)
		return fail(failure, MOTE__STACK_PUSH_POINTER, pointer, size);
	uint64_t free = size - pointer;
	*out = (struct mote__stack_room){
		.data = (uint8_t *)shared + pointer,
		.cap = free > MOTE__STACK_BACK_BYTES ? free - MOTE__STACK_BACK_BYTES : 0,
		.pointer = pointer,
		.free = free,
	};
	return true;
}

struct mote__stack_failure mote__stack_no_space(const struct mote__stack_room *room, uint64_t bytes)
{
	uint64_t needed;
	if (!mote__add(bytes, MOTE__STACK_BACK_BYTES, &needed))
		needed = UINT64_MAX;
	return (struct mote__stack_failure){MOTE__STACK_SPACE, needed, room->free};
}

bool mote__stack_commit(void *shared, const struct mote__stack_room *room, uint64_t bytes,
			struct mote__stack_failure *failure)
{
	if (bytes > room->cap) {
		*failure = mote__stack_no_space(room, bytes);
		return false;
	}
	write_word(shared, room->pointer + bytes, room->pointer);
	write_word(shared, 0, room->pointer + bytes + MOTE__STACK_BACK_BYTES);
	return true;
}

void mote__stack_reset(void *shared)
{
	write_word(shared, 0, MOTE__STACK_FIRST);
}
