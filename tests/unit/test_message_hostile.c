/* SPDX-License-Identifier: MIT */
/* Decoding of truncated, mutated and self-sharing messages never leaves them. */
#include "core/message.h"

#include "check.h"
#include "core/flatbuffer.h"
#include "message_golden.h"
#include "message_helpers.h"

/* A call of 32 parameters that all point to the first, len bytes. */
static int decode_shared(size_t len)
{
	struct mote_value values[32] = {{.type = MOTE_BYTES, .bytes = {calloc(len, 1), len}}};
	uint8_t *dst = malloc(len + 2048);
	struct mote__call_view call;
	for (int i = 1; i < 32; i++)
		values[i].type = MOTE_I32;
	int64_t bytes =
		mote__message_encode_call(dst, len + 2048, 1, STRING("f"), MOTE_I32, values, 32);
	CHECK(bytes > 0);
	uint32_t first = 60 + mote__load32(dst + 60);
	for (uint32_t slot = 60; slot < 60 + 4 * 32; slot += 4)
		mote__store32(dst + slot, first - slot);
	int rc = mote__message_decode_call(dst, (size_t)bytes, &call);
	free((void *)(uintptr_t)values[0].bytes.data);
	free(dst);
	return rc;
}

TEST(message__accepts_shared_parameters)
{
	CHECK_EQ(decode_shared(1000), 0);
}

TEST(message__refuses_shared_parts_that_add_up_to_too_much)
{
	CHECK_EQ(decode_shared((64u << 20) - 64), 0);
	CHECK_EQ(decode_shared(64u << 20), MOTE__MESSAGE_APPARENT);
}

static uint64_t sum(const void *data, size_t len)
{
	const uint8_t *bytes = data;
	uint64_t total = 0;
	for (size_t i = 0; i < len; i++)
		total += bytes[i];
	return total;
}

/* Read all that a decoded value points to; a string's NUL too. */
static uint64_t touch(const struct mote_value *value)
{
	if (value->type == MOTE_STRING)
		return sum(value->string.data, value->string.len + 1);
	if (value->type == MOTE_BYTES)
		return sum(value->bytes.data, value->bytes.len);
	return value->type;
}

static void decode_call_and_touch(const uint8_t *message, size_t len)
{
	struct mote__call_view call;
	struct mote_value values[32];
	if (mote__message_decode_call(message, len, &call) != 0)
		return;
	CHECK(call.name.data[call.name.len] == 0);
	CHECK_EQ(mote__message_parameters(&call, values), 0);
	for (uint32_t i = 0; i < call.count; i++)
		(void)touch(&values[i]);
}

static void decode_and_touch(const uint8_t *message, size_t len)
{
	struct mote__result_view result;
	struct mote__log_record log;
	decode_call_and_touch(message, len);
	if (mote__message_decode_result(message, len, &result) == 0)
		(void)(result.is_error ? sum(result.message.data, result.message.len + 1)
				       : touch(&result.value));
	if (mote__message_decode_log(message, len, &log) == 0)
		(void)(sum(log.message.data, log.message.len + 1) +
		       sum(log.source.data, log.source.len + 1) +
		       sum(log.caller.data, log.caller.len + 1) +
		       sum(log.file.data, log.file.len + 1));
}

static const struct {
	const uint8_t *bytes;
	size_t len;
} goldens[] = {
	{golden_call_a, sizeof golden_call_a},
	{golden_call_echo, sizeof golden_call_echo},
	{golden_call_host_add, sizeof golden_call_host_add},
	{golden_result_i32, sizeof golden_result_i32},
	{golden_result_i32_zero, sizeof golden_result_i32_zero},
	{golden_result_void, sizeof golden_result_void},
	{golden_result_i64, sizeof golden_result_i64},
	{golden_result_string, sizeof golden_result_string},
	{golden_result_bytes, sizeof golden_result_bytes},
	{golden_result_error, sizeof golden_result_error},
	{golden_log, sizeof golden_log},
};

#define GOLDENS (sizeof goldens / sizeof goldens[0])

TEST(message__stays_inside_every_truncated_message)
{
	for (size_t i = 0; i < GOLDENS; i++)
		for (size_t len = 0; len < goldens[i].len; len++) {
			uint8_t *block, *message = odd_copy(goldens[i].bytes, len, &block);
			decode_and_touch(message, len);
			free(block);
		}
}

TEST(message__stays_inside_every_message_with_one_other_byte)
{
	for (size_t i = 0; i < GOLDENS; i++) {
		size_t len = goldens[i].len;
		uint8_t *block, *message = odd_copy(goldens[i].bytes, len, &block);
		for (size_t at = 0; at < len; at++) {
			for (unsigned flip = 1; flip < 256; flip++) {
				message[at] = (uint8_t)(goldens[i].bytes[at] ^ flip);
				decode_and_touch(message, len);
			}
			message[at] = goldens[i].bytes[at];
		}
		free(block);
	}
}

TEST(message__stays_inside_messages_with_many_other_bytes)
{
	uint64_t seed = 0x5DEECE66Du;
	check_note("seed %#llx", (unsigned long long)seed);
	for (int round = 0; round < 200000; round++) {
		size_t i = check_random(&seed) % GOLDENS, len = goldens[i].len;
		uint8_t *block, *message = odd_copy(goldens[i].bytes, len, &block);
		for (uint64_t n = 1 + check_random(&seed) % 4; n > 0; n--)
			message[check_random(&seed) % len] =
				(uint8_t)(check_random(&seed) >> (check_random(&seed) % 8));
		decode_and_touch(message, len);
		free(block);
	}
}
