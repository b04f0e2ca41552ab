/* SPDX-License-Identifier: MIT */
/* The stacks of messages: every check at, below and above its limit, and the exact messages. */
#include "core/stack.h"

#include "check.h"

#include <stdlib.h>

#define SIZE 128u

/* A stack with one message of len bytes (its prefix says so), at 8. */
struct fixture {
	_Alignas(8) uint8_t memory[SIZE];
};

static void put64(struct fixture *f, uint64_t at, uint64_t value)
{
	memcpy(f->memory + at, &value, sizeof value);
}

static void put32(struct fixture *f, uint64_t at, uint32_t value)
{
	memcpy(f->memory + at, &value, sizeof value);
}

static uint64_t get64(const struct fixture *f, uint64_t at)
{
	uint64_t value;
	memcpy(&value, f->memory + at, sizeof value);
	return value;
}

static void push(struct fixture *f, uint32_t len)
{
	struct mote__stack_room room;
	struct mote__stack_failure failure;
	CHECK(mote__stack_reserve(f->memory, SIZE, &room, &failure));
	CHECK(len <= room.cap);
	memset(room.data, 0xAB, len);
	uint32_t prefix = len - 4;
	memcpy(room.data, &prefix, sizeof prefix);
	CHECK(mote__stack_commit(f->memory, &room, len, &failure));
}

static struct fixture with_message(uint32_t len)
{
	struct fixture f = {{0}};
	mote__stack_reset(f.memory);
	push(&f, len);
	return f;
}

/* The top cannot be read; the message says why. */
static void check_no_top(const struct fixture *f, const char *text)
{
	struct mote__stack_top top = {1, 2, 3};
	struct mote__stack_failure failure;
	char message[160];
	CHECK(!mote__stack_top(f->memory, SIZE, &top, &failure));
	CHECK_EQ(top.offset, 1);
	CHECK_EQ(mote__stack_format(&failure, message, sizeof message), strlen(text));
	CHECK_STR(message, text);
}

static struct mote__stack_top check_top(const struct fixture *f)
{
	struct mote__stack_top top;
	struct mote__stack_failure failure;
	CHECK(mote__stack_top(f->memory, SIZE, &top, &failure));
	return top;
}

TEST(stack__reset_makes_it_empty)
{
	struct fixture f;
	memset(&f, 0xFF, sizeof f);
	mote__stack_reset(f.memory);
	CHECK_EQ(get64(&f, 0), 8);
	check_no_top(&f, "Unable to pop data from buffer: Stack pointer is out of bounds. "
			 "Stack pointer: 8, Buffer size: 128");
}

TEST(stack__push_writes_message_back_pointer_and_stack_pointer)
{
	struct fixture f = with_message(12);
	CHECK_EQ(get64(&f, 0), 8 + 12 + 8);
	CHECK_EQ(get64(&f, 20), 8);
	push(&f, 13);
	CHECK_EQ(get64(&f, 0), 28 + 13 + 8);
	CHECK_EQ(get64(&f, 41), 28);
}

TEST(stack__top_finds_the_last_message)
{
	struct fixture f = with_message(12);
	push(&f, 13);
	struct mote__stack_top top = check_top(&f);
	CHECK_EQ(top.offset, 28);
	CHECK_EQ(top.bytes, 13);
	CHECK_EQ(top.pointer, 49);
	mote__stack_drop(f.memory, &top, false);
	top = check_top(&f);
	CHECK_EQ(top.offset, 8);
	CHECK_EQ(top.bytes, 12);
}

TEST(stack__copy_takes_exactly_the_message)
{
	struct fixture f = with_message(13);
	struct mote__stack_top top = check_top(&f);
	uint8_t *copy = malloc(top.bytes);
	mote__stack_copy(f.memory, &top, copy);
	CHECK_MEM(copy, f.memory + 8, 13);
	free(copy);
}

TEST(stack__copy_keeps_the_prefix_that_was_checked)
{
	struct fixture f = with_message(12);
	struct mote__stack_top top = check_top(&f);
	uint8_t copy[12];
	put32(&f, 8, 0xFFFFFFFF); /* the guest changes its mind */
	mote__stack_copy(f.memory, &top, copy);
	CHECK_MEM(copy, "\x08\0\0\0\xAB\xAB\xAB\xAB\xAB\xAB\xAB\xAB", 12);
}

TEST(stack__drop_lowers_the_stack_pointer)
{
	struct fixture f = with_message(12);
	struct mote__stack_top top = check_top(&f);
	mote__stack_drop(f.memory, &top, false);
	CHECK_EQ(get64(&f, 0), 8);
	CHECK_EQ(f.memory[12], 0xAB);
	CHECK_EQ(get64(&f, 20), 8);
}

TEST(stack__drop_zeroes_message_and_back_pointer)
{
	struct fixture f = with_message(12);
	struct mote__stack_top top = check_top(&f);
	memset(f.memory + 28, 0xCD, SIZE - 28);
	mote__stack_drop(f.memory, &top, true);
	for (int i = 8; i < 28; i++)
		CHECK_EQ(f.memory[i], 0);
	CHECK_EQ(f.memory[28], 0xCD);
}

TEST(stack__drop_uses_what_was_checked)
{
	struct fixture f = with_message(12);
	struct mote__stack_top top = check_top(&f);
	put64(&f, 0, UINT64_MAX);
	put64(&f, 20, UINT64_MAX);
	mote__stack_drop(f.memory, &top, true);
	CHECK_EQ(get64(&f, 0), 8);
}

TEST(stack__refuses_a_stack_pointer_below_16)
{
	struct fixture f = with_message(12);
	put64(&f, 0, 15);
	check_no_top(&f, "Unable to pop data from buffer: Stack pointer is out of bounds. "
			 "Stack pointer: 15, Buffer size: 128");
	put64(&f, 0, 0);
	check_no_top(&f, "Unable to pop data from buffer: Stack pointer is out of bounds. "
			 "Stack pointer: 0, Buffer size: 128");
}

TEST(stack__refuses_a_stack_pointer_behind_the_end)
{
	struct fixture f = with_message(12);
	put64(&f, 0, 129);
	check_no_top(&f, "Unable to pop data from buffer: Stack pointer is out of bounds. "
			 "Stack pointer: 129, Buffer size: 128");
	put64(&f, 0, UINT64_MAX);
	check_no_top(&f, "Unable to pop data from buffer: Stack pointer is out of bounds. "
			 "Stack pointer: 18446744073709551615, Buffer size: 128");
}

TEST(stack__accepts_a_stack_pointer_at_the_end)
{
	struct fixture f = with_message(SIZE - 16);
	struct mote__stack_top top = check_top(&f);
	CHECK_EQ(top.pointer, SIZE);
	CHECK_EQ(top.bytes, SIZE - 16);
}

TEST(stack__refuses_a_stack_pointer_of_16)
{
	struct fixture f = with_message(12);
	put64(&f, 0, 16); /* no place for a message below the back-pointer */
	put64(&f, 8, 8);
	check_no_top(&f, "Corrupt buffer back-pointer: element offset 8 is outside valid range "
			 "[8, 0].");
}

TEST(stack__refuses_a_back_pointer_below_8)
{
	struct fixture f = with_message(12);
	put64(&f, 20, 7);
	check_no_top(&f, "Corrupt buffer back-pointer: element offset 7 is outside valid range "
			 "[8, 12].");
}

TEST(stack__refuses_a_back_pointer_too_close_to_itself)
{
	struct fixture f = with_message(12);
	put64(&f, 20, 13);
	check_no_top(&f, "Corrupt buffer back-pointer: element offset 13 is outside valid range "
			 "[8, 12].");
	put64(&f, 20, UINT64_MAX);
	check_no_top(&f, "Corrupt buffer back-pointer: element offset 18446744073709551615 is "
			 "outside valid range [8, 12].");
}

TEST(stack__accepts_a_back_pointer_at_its_greatest_value)
{
	struct fixture f = with_message(12);
	put64(&f, 20, 12);
	put32(&f, 12, 4);
	struct mote__stack_top top = check_top(&f);
	CHECK_EQ(top.offset, 12);
	CHECK_EQ(top.bytes, 8);
}

TEST(stack__refuses_a_prefix_that_overflows)
{
	struct fixture f = with_message(12);
	put32(&f, 8, 0xFFFFFFFC);
	check_no_top(&f, "Corrupt buffer size prefix: value 4294967292 overflows when adding "
			 "4-byte header.");
	put32(&f, 8, 0xFFFFFFFB); /* does not overflow, but is too long */
	check_no_top(&f, "Corrupt buffer size prefix: flatbuffer claims 4294967295 bytes but the "
			 "element slot is only 12 bytes.");
}

TEST(stack__refuses_a_prefix_longer_than_the_slot)
{
	struct fixture f = with_message(12);
	put32(&f, 8, 9);
	check_no_top(&f, "Corrupt buffer size prefix: flatbuffer claims 13 bytes but the element "
			 "slot is only 12 bytes.");
	put32(&f, 8, 7);
	CHECK_EQ(check_top(&f).bytes, 11);
	put32(&f, 8, 0);
	CHECK_EQ(check_top(&f).bytes, 4);
}

static bool reserve(struct fixture *f, struct mote__stack_room *room, char *text)
{
	struct mote__stack_failure failure;
	bool good = mote__stack_reserve(f->memory, SIZE, room, &failure);
	if (!good)
		mote__stack_format(&failure, text, 160);
	return good;
}

TEST(stack__reserve_refuses_a_bad_stack_pointer)
{
	struct fixture f = with_message(12);
	struct mote__stack_room room;
	char text[160];
	put64(&f, 0, 7);
	CHECK(!reserve(&f, &room, text));
	CHECK_STR(text, "Unable to push data to buffer: Stack pointer is out of bounds. "
			"Stack pointer: 7, Buffer size: 128");
	put64(&f, 0, 129);
	CHECK(!reserve(&f, &room, text));
	CHECK_STR(text, "Unable to push data to buffer: Stack pointer is out of bounds. "
			"Stack pointer: 129, Buffer size: 128");
	put64(&f, 0, UINT64_MAX);
	CHECK(!reserve(&f, &room, text));
}

TEST(stack__reserve_offers_what_is_left_without_the_back_pointer)
{
	struct fixture f = with_message(12);
	struct mote__stack_room room;
	char text[160];
	CHECK(reserve(&f, &room, text));
	CHECK(room.data == f.memory + 28);
	CHECK_EQ(room.cap, SIZE - 28 - 8);
	CHECK_EQ(room.free, SIZE - 28);
	for (uint64_t pointer = SIZE - 8; pointer <= SIZE; pointer++) {
		put64(&f, 0, pointer);
		CHECK(reserve(&f, &room, text));
		CHECK_EQ(room.cap, 0);
	}
	put64(&f, 0, SIZE - 9);
	CHECK(reserve(&f, &room, text));
	CHECK_EQ(room.cap, 1);
}

TEST(stack__commit_takes_what_fits_and_not_one_byte_more)
{
	struct fixture f = with_message(12), before;
	struct mote__stack_room room;
	struct mote__stack_failure failure;
	char text[160];
	CHECK(reserve(&f, &room, text));
	before = f;
	CHECK(!mote__stack_commit(f.memory, &room, room.cap + 1, &failure));
	CHECK_MEM(&f, &before, sizeof f);
	mote__stack_format(&failure, text, sizeof text);
	CHECK_STR(text, "Not enough space in buffer to push data. Required: 101, Available: 100");
	CHECK(mote__stack_commit(f.memory, &room, room.cap, &failure));
	CHECK_EQ(get64(&f, 0), SIZE);
	CHECK_EQ(get64(&f, SIZE - 8), 28);
}

TEST(stack__commit_uses_the_stack_pointer_that_was_checked)
{
	struct fixture f = with_message(12);
	struct mote__stack_room room;
	struct mote__stack_failure failure;
	char text[160];
	CHECK(reserve(&f, &room, text));
	put64(&f, 0, UINT64_MAX);
	CHECK(mote__stack_commit(f.memory, &room, 8, &failure));
	CHECK_EQ(get64(&f, 0), 44);
	CHECK_EQ(get64(&f, 36), 28);
}

TEST(stack__tells_the_space_that_a_message_needs)
{
	struct fixture f = with_message(12);
	struct mote__stack_room room;
	struct mote__stack_failure failure;
	char text[160];
	CHECK(reserve(&f, &room, text));
	failure = mote__stack_no_space(&room, 5000);
	mote__stack_format(&failure, text, sizeof text);
	CHECK_STR(text, "Not enough space in buffer to push data. Required: 5008, Available: 100");
	failure = mote__stack_no_space(&room, UINT64_MAX);
	CHECK(failure.value == UINT64_MAX);
}

TEST(stack__format_never_writes_past_its_room)
{
	struct mote__stack_failure failure = {MOTE__STACK_SPACE, 1, 2};
	char text[8] = "1234567";
	CHECK(mote__stack_format(&failure, text, 4) > 4);
	CHECK_STR(text, "Not");
	CHECK_EQ(text[4], '5');
	failure.problem = 99;
	CHECK(mote__stack_format(&failure, text, sizeof text) > 0);
}

TEST(stack__works_at_any_size_and_alignment)
{
	for (uint64_t size = 16; size < 64; size++) {
		uint8_t *block = calloc(size + 1, 1), *shared = block + 1;
		struct mote__stack_room room;
		struct mote__stack_top top;
		struct mote__stack_failure failure;
		mote__stack_reset(shared);
		CHECK(mote__stack_reserve(shared, size, &room, &failure));
		CHECK_EQ(room.cap, size - 16);
		if (room.cap >= 8) {
			uint32_t prefix = (uint32_t)room.cap - 4;
			memcpy(room.data, &prefix, 4);
			CHECK(mote__stack_commit(shared, &room, room.cap, &failure));
			CHECK(mote__stack_top(shared, size, &top, &failure));
			CHECK_EQ(top.bytes, size - 16);
			mote__stack_drop(shared, &top, true);
		}
		free(block);
	}
}

TEST(stack__keeps_the_order_of_random_pushes_and_pops)
{
	uint64_t seed = 424242;
	check_note("seed %llu", (unsigned long long)seed);
	struct fixture f = {{0}};
	uint32_t lengths[16];
	unsigned depth = 0;
	mote__stack_reset(f.memory);
	for (int round = 0; round < 20000; round++) {
		struct mote__stack_room room;
		char text[160];
		uint32_t len = 8 + (uint32_t)(check_random(&seed) % 20);
		CHECK(reserve(&f, &room, text));
		if (check_random(&seed) % 2 && len <= room.cap) {
			push(&f, len);
			lengths[depth++] = len;
		} else if (depth > 0) {
			struct mote__stack_top top = check_top(&f);
			CHECK_EQ(top.bytes, lengths[--depth]);
			mote__stack_drop(f.memory, &top, true);
		}
	}
}
