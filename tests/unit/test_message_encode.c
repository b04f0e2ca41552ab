/* SPDX-License-Identifier: MIT */
/* Encoding of messages: exact room, limits, results in place, and round trips. */
#include "core/message.h"

#include "check.h"
#include "core/flatbuffer.h"
#include "message_helpers.h"

static struct mote_value example(uint32_t type)
{
	struct mote_value value = {.type = type};
	if (type == MOTE_STRING)
		value.string = STRING("gr\xc3\xbc\xc3\x9f dich");
	else if (type == MOTE_BYTES)
		value.bytes = (struct mote_bytes){"\0\1\2\377", 4};
	else if (type == MOTE_BOOL)
		value.boolean = 1;
	else if (type != MOTE_VOID)
		value.u64 = 0xFFF8000000000001u; /* a NaN with a payload; negative as i64 */
	return value;
}

/* bytes is what encoding at this capacity returned: it fits exactly, or nothing was written. */
static void check_canary(const uint8_t *dst, size_t cap, size_t room, int64_t bytes, int64_t full)
{
	if (cap < (size_t)full) {
		CHECK_EQ(bytes, MOTE__MESSAGE_TOO_BIG);
		for (size_t i = 0; i < room; i++)
			CHECK_EQ(dst[i], 0xA5);
		return;
	}
	CHECK_EQ(bytes, full);
	CHECK_EQ(mote__load32(dst), full - 4);
	for (size_t i = (size_t)full; i < room; i++)
		CHECK_EQ(dst[i], 0xA5);
}

TEST(message__encodes_a_call_only_if_it_fits)
{
	uint8_t dst[512];
	struct mote_value values[9];
	for (uint32_t type = MOTE_I32; type <= MOTE_BYTES; type++)
		values[type - 1] = example(type);
	int64_t full = mote__message_call_bytes(STRING("f"), values, 9);
	CHECK(full > 0 && full < 500);
	for (size_t cap = 0; cap < (size_t)full + 9; cap++) {
		memset(dst, 0xA5, sizeof dst);
		int64_t bytes = mote__message_encode_call(dst, cap, MOTE__CALL_GUEST, STRING("f"),
							  MOTE_VOID, values, 9);
		check_canary(dst, cap, sizeof dst, bytes, full);
	}
}

TEST(message__encodes_a_result_only_if_it_fits)
{
	uint8_t dst[128];
	for (uint32_t type = MOTE_VOID; type <= MOTE_BYTES; type++) {
		struct mote_value value = example(type);
		int64_t full = mote__message_result_bytes(&value);
		CHECK(full > 0 && full < 120);
		for (size_t cap = 0; cap < (size_t)full + 9; cap++) {
			memset(dst, 0xA5, sizeof dst);
			int64_t bytes = mote__message_encode_result(dst, cap, &value);
			check_canary(dst, cap, sizeof dst, bytes, full);
		}
	}
}

TEST(message__encodes_an_error_only_if_it_fits)
{
	uint8_t dst[128];
	for (size_t cap = 0; cap < 90; cap++) {
		memset(dst, 0xA5, sizeof dst);
		int64_t bytes = mote__message_encode_error(dst, cap, 17, "boom, boom", 10);
		check_canary(dst, cap, sizeof dst, bytes, 72);
	}
}

static const struct mote__log_record some_record = {
	.level = MOTE_LOG_WARN,
	.line = 7,
	.message = {"message", 7},
	.source = {"source", 6},
	.caller = {"", 0},
	.file = {"file.c", 6},
};

TEST(message__encodes_a_log_record_only_if_it_fits)
{
	uint8_t dst[256];
	int64_t full = mote__message_encode_log(dst, sizeof dst, &some_record);
	CHECK(full > 0);
	for (size_t cap = 0; cap < (size_t)full + 9; cap++) {
		memset(dst, 0xA5, sizeof dst);
		int64_t bytes = mote__message_encode_log(dst, cap, &some_record);
		check_canary(dst, cap, sizeof dst, bytes, full);
	}
}

TEST(message__round_trips_every_result_type)
{
	for (uint32_t type = MOTE_VOID; type <= MOTE_BYTES; type++) {
		uint8_t dst[128], *block;
		struct mote_value value = example(type);
		int64_t bytes = mote__message_encode_result(dst, sizeof dst, &value);
		CHECK(bytes > 0 && bytes % 8 == 0);
		uint8_t *message = odd_copy(dst, (size_t)bytes, &block);
		struct mote__result_view view = result_of(message, (size_t)bytes);
		CHECK(!view.is_error);
		CHECK(same_value(&view.value, &value));
		free(block);
	}
}

TEST(message__keeps_negative_zero)
{
	uint8_t dst[64];
	struct mote_value value = {.type = MOTE_F64, .u64 = UINT64_C(1) << 63};
	CHECK_EQ(mote__message_encode_result(dst, sizeof dst, &value), 64);
	CHECK(result_of(dst, 64).value.u64 == UINT64_C(1) << 63);
}

TEST(message__round_trips_an_error)
{
	uint8_t dst[128];
	int64_t bytes = mote__message_encode_error(dst, sizeof dst, UINT64_MAX, "no\0way", 6);
	struct mote__result_view view = result_of(dst, (size_t)bytes);
	CHECK(view.is_error);
	CHECK(view.code == UINT64_MAX);
	CHECK(same_string(view.message, STRING("no\0way")));
}

TEST(message__round_trips_a_log_record)
{
	for (uint32_t level = MOTE_LOG_ERROR; level <= MOTE_LOG_TRACE; level++) {
		uint8_t dst[256];
		struct mote__log_record record = some_record, view;
		record.level = level;
		int64_t bytes = mote__message_encode_log(dst, sizeof dst, &record);
		CHECK(bytes > 0);
		CHECK_EQ(mote__message_decode_log(dst, (size_t)bytes, &view), 0);
		CHECK_EQ(view.level, level);
		CHECK_EQ(view.line, 7);
		CHECK(same_string(view.message, record.message));
		CHECK(same_string(view.source, record.source));
		CHECK(same_string(view.caller, record.caller));
		CHECK(same_string(view.file, record.file));
	}
}

TEST(message__refuses_to_encode_what_has_no_place_on_the_wire)
{
	uint8_t dst[256];
	struct mote_value bad = {.type = MOTE_BYTES + 1}, nothing = {.type = MOTE_VOID};
	struct mote__log_record record = some_record;
	struct mote_string f = STRING("f");
	CHECK_EQ(mote__message_encode_result(dst, 256, &bad), MOTE__MESSAGE_VALUE);
	CHECK_EQ(mote__message_result_bytes(&bad), MOTE__MESSAGE_VALUE);
	CHECK_EQ(mote__message_encode_call(dst, 256, 1, f, 0, &bad, 1), MOTE__MESSAGE_VALUE);
	CHECK_EQ(mote__message_encode_call(dst, 256, 1, f, 0, &nothing, 1), MOTE__MESSAGE_VALUE);
	CHECK_EQ(mote__message_encode_call(dst, 256, 0, f, 0, NULL, 0), MOTE__MESSAGE_VALUE);
	CHECK_EQ(mote__message_encode_call(dst, 256, 3, f, 0, NULL, 0), MOTE__MESSAGE_VALUE);
	CHECK_EQ(mote__message_encode_call(dst, 256, 1, f, 10, NULL, 0), MOTE__MESSAGE_VALUE);
	record.level = MOTE_LOG_OFF;
	CHECK_EQ(mote__message_encode_log(dst, 256, &record), MOTE__MESSAGE_VALUE);
	record.level = MOTE_LOG_TRACE + 1;
	CHECK_EQ(mote__message_encode_log(dst, 256, &record), MOTE__MESSAGE_VALUE);
}

TEST(message__refuses_to_encode_lengths_that_the_wire_cannot_hold)
{
	/* The data is never touched: a length that does not fit is refused first. */
	static const size_t lengths[] = {(size_t)INT32_MAX - 50, INT32_MAX, (size_t)INT32_MAX + 1,
					 UINT32_MAX, SIZE_MAX};
	uint8_t dst[8];
	for (size_t i = 0; i < 5; i++) {
		struct mote_string string = {"x", lengths[i]};
		struct mote_value values[] = {
			{.type = MOTE_STRING, .string = string},
			{.type = MOTE_BYTES, .bytes = {"x", lengths[i]}},
		};
		struct mote__log_record record = some_record;
		record.file = string;
		for (size_t j = 0; j < 2; j++) {
			CHECK_EQ(mote__message_encode_result(dst, SIZE_MAX, &values[j]),
				 MOTE__MESSAGE_TOO_BIG);
			CHECK_EQ(mote__message_encode_call(dst, SIZE_MAX, 1, STRING("f"), 0,
							   &values[j], 1),
				 MOTE__MESSAGE_TOO_BIG);
		}
		CHECK_EQ(mote__message_encode_call(dst, SIZE_MAX, 1, string, 0, NULL, 0),
			 MOTE__MESSAGE_TOO_BIG);
		CHECK_EQ(mote__message_encode_error(dst, SIZE_MAX, 1, "x", lengths[i]),
			 MOTE__MESSAGE_TOO_BIG);
		CHECK_EQ(mote__message_encode_log(dst, SIZE_MAX, &record), MOTE__MESSAGE_TOO_BIG);
	}
}

TEST(message__says_how_long_a_call_is_that_does_not_fit)
{
	struct mote_value value = {.type = MOTE_BYTES, .bytes = {NULL, 1u << 20}};
	CHECK_EQ(mote__message_call_bytes(STRING("f"), &value, 1), 72 + 24 + (1 << 20));
	value.bytes.len = (size_t)INT32_MAX + 1;
	CHECK_EQ(mote__message_call_bytes(STRING("f"), &value, 1), MOTE__MESSAGE_TOO_BIG);
}

TEST(message__encodes_the_most_parameters_and_not_one_more)
{
	uint8_t dst[2048];
	struct mote_value values[33], back[32];
	struct mote__call_view call;
	for (int i = 0; i < 33; i++)
		values[i] = (struct mote_value){.type = MOTE_I32, .i32 = i};
	int64_t bytes =
		mote__message_encode_call(dst, sizeof dst, 1, STRING("f"), MOTE_I32, values, 32);
	CHECK(bytes > 0);
	CHECK_EQ(mote__message_decode_call(dst, (size_t)bytes, &call), 0);
	CHECK_EQ(call.count, 32);
	CHECK_EQ(mote__message_parameters(&call, back), 0);
	for (int i = 0; i < 32; i++)
		CHECK(same_value(&back[i], &values[i]));
	CHECK_EQ(mote__message_encode_call(dst, sizeof dst, 1, STRING("f"), 1, values, 33),
		 MOTE__MESSAGE_PARAMETERS);
	CHECK_EQ(mote__message_call_bytes(STRING("f"), values, 33), MOTE__MESSAGE_PARAMETERS);
}

TEST(message__tells_the_name_of_a_call_with_too_many_parameters)
{
	uint8_t dst[2048];
	struct mote_value values[32];
	struct mote__call_view call;
	for (int i = 0; i < 32; i++)
		values[i] = (struct mote_value){.type = MOTE_I32, .i32 = i};
	int64_t bytes =
		mote__message_encode_call(dst, sizeof dst, 2, STRING("f"), MOTE_I32, values, 32);
	uint8_t count = 33; /* the length of the name becomes an offset, which nobody follows */
	memcpy(dst + 56, &count, 1);
	CHECK_EQ(mote__message_decode_call(dst, (size_t)bytes, &call), MOTE__MESSAGE_PARAMETERS);
	CHECK(same_string(call.name, STRING("f")));
	CHECK_EQ(call.kind, MOTE__CALL_HOST);
	CHECK_EQ(call.count, 33);
	CHECK(call.parameters == NULL);
}

TEST(message__writes_a_big_argument_with_its_tail)
{
	size_t len = (1u << 20) + 5;
	uint8_t *data = malloc(len), *dst = malloc(len + 256);
	struct mote__call_view call;
	struct mote_value back, value = {.type = MOTE_BYTES, .bytes = {data, len}};
	memset(data, 0xEE, len);
	memset(dst, 0xA5, len + 256);
	int64_t bytes = mote__message_encode_call(dst, len + 256, 1, STRING("f"), 0, &value, 1);
	CHECK_EQ(bytes, mote__message_call_bytes(STRING("f"), &value, 1));
	CHECK_EQ(mote__message_decode_call(dst, (size_t)bytes, &call), 0);
	CHECK_EQ(mote__message_parameter(&call, 0, &back), 0);
	CHECK(same_value(&back, &value));
	free(data);
	free(dst);
}

TEST(message__pads_with_zeros)
{
	uint8_t dst[256];
	struct mote_value value = {.type = MOTE_BYTES, .bytes = {"\xFF", 1}};
	memset(dst, 0xA5, sizeof dst);
	int64_t bytes = mote__message_encode_call(dst, 256, 1, STRING("\x7F"), 0, &value, 1);
	for (int64_t i = 0; i < bytes; i++)
		CHECK(dst[i] != 0xA5);
	memset(dst, 0xA5, sizeof dst);
	bytes = mote__message_encode_result(dst, 256, &value);
	for (int64_t i = 0; i < bytes; i++)
		CHECK(dst[i] != 0xA5);
}

/* Results in place. */

TEST(message__builds_a_result_in_place_as_encode_does)
{
	for (uint32_t type = MOTE_STRING; type <= MOTE_BYTES; type += MOTE_BYTES - MOTE_STRING)
		for (size_t len = 0; len < 20; len++) {
			uint8_t a[128], b[128];
			size_t max = 0;
			char text[20] = "abcdefghijklmnopqrs";
			struct mote_value value = {.type = type, .bytes = {text, len}};
			memset(a, 0xA5, sizeof a);
			memset(b, 0xA5, sizeof b);
			char *payload = mote__message_result_room(b, sizeof b, type, &max);
			CHECK(payload && max >= 20);
			memcpy(payload, text, len);
			int64_t bytes = mote__message_result_finish(b, type, len);
			CHECK_EQ(bytes, mote__message_encode_result(a, sizeof a, &value));
			CHECK_MEM(a, b, sizeof a);
		}
}

TEST(message__fills_all_the_room_for_a_result_in_place)
{
	for (uint32_t type = MOTE_STRING; type <= MOTE_BYTES; type += MOTE_BYTES - MOTE_STRING)
		for (size_t cap = 0; cap < 120; cap++) {
			uint8_t dst[128];
			size_t max = 0;
			struct mote_value least = {.type = type, .bytes = {"", 0}};
			memset(dst, 0xA5, sizeof dst);
			char *payload = mote__message_result_room(dst, cap, type, &max);
			if (!payload) {
				CHECK(mote__message_result_bytes(&least) > (int64_t)cap);
				continue;
			}
			memset(payload, 'x', max);
			int64_t bytes = mote__message_result_finish(dst, type, max);
			CHECK(bytes <= (int64_t)cap);
			CHECK(bytes > (int64_t)cap - 8);
			CHECK_EQ(dst[bytes], 0xA5);
			CHECK_EQ(result_of(dst, (size_t)bytes).value.bytes.len, max);
		}
}

TEST(message__has_no_room_for_a_result_of_another_type)
{
	uint8_t dst[128];
	size_t max;
	CHECK(mote__message_result_room(dst, sizeof dst, MOTE_I32, &max) == NULL);
	CHECK(mote__message_result_room(dst, sizeof dst, MOTE_VOID, &max) == NULL);
}

/* Random round trips. */

static struct mote_string random_string(uint64_t *seed, char *memory, size_t max)
{
	static const char *const pieces[] = {"a", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x92\xa9",
					     "xyz"};
	size_t len = 0, wanted = check_random(seed) % max;
	while (len + 4 < wanted) {
		const char *piece = pieces[check_random(seed) % 5];
		memcpy(memory + len, piece, strlen(piece));
		len += strlen(piece);
	}
	return (struct mote_string){memory, len};
}

static struct mote_value random_value(uint64_t *seed, uint32_t type, char *memory)
{
	struct mote_value value = {.type = type};
	if (type == MOTE_STRING) {
		value.string = random_string(seed, memory, 64);
	} else if (type == MOTE_BYTES) {
		value.bytes = (struct mote_bytes){memory, check_random(seed) % 64};
		for (size_t i = 0; i < value.bytes.len; i++)
			memory[i] = (char)check_random(seed);
	} else {
		value.u64 = check_random(seed) >> (check_random(seed) % 64);
	}
	return value;
}

static void round_trip_call(uint64_t *seed)
{
	static char memory[33][64];
	struct mote_value values[32], back[32];
	struct mote__call_view call;
	uint8_t dst[8192], *block;
	uint32_t count = (uint32_t)(check_random(seed) % 33);
	uint32_t result = (uint32_t)(check_random(seed) % 10);
	uint32_t kind = 1 + (uint32_t)(check_random(seed) % 2);
	struct mote_string name = random_string(seed, memory[32], 40);
	for (uint32_t i = 0; i < count; i++)
		values[i] = random_value(seed, 1 + (uint32_t)(check_random(seed) % 9), memory[i]);
	int64_t bytes =
		mote__message_encode_call(dst, sizeof dst, kind, name, result, values, count);
	CHECK_EQ(bytes, mote__message_call_bytes(name, values, count));
	uint8_t *message = odd_copy(dst, (size_t)bytes, &block);
	CHECK_EQ(mote__message_decode_call(message, (size_t)bytes, &call), 0);
	CHECK(same_string(call.name, name));
	CHECK_EQ(call.result, result);
	CHECK_EQ(call.kind, kind);
	CHECK_EQ(call.count, count);
	CHECK_EQ(mote__message_parameters(&call, back), 0);
	for (uint32_t i = 0; i < count; i++)
		CHECK(same_value(&values[i], &back[i]));
	free(block);
}

TEST(message__round_trips_random_calls)
{
	uint64_t seed = 20240229;
	check_note("seed %llu", (unsigned long long)seed);
	for (int round = 0; round < 20000; round++)
		round_trip_call(&seed);
}

TEST(message__round_trips_random_results)
{
	uint64_t seed = 19991231;
	check_note("seed %llu", (unsigned long long)seed);
	for (int round = 0; round < 20000; round++) {
		char memory[64];
		uint8_t dst[256], *block;
		struct mote_value value =
			random_value(&seed, (uint32_t)(check_random(&seed) % 10), memory);
		int64_t bytes = mote__message_encode_result(dst, sizeof dst, &value);
		CHECK_EQ(bytes, mote__message_result_bytes(&value));
		uint8_t *message = odd_copy(dst, (size_t)bytes, &block);
		struct mote__result_view view = result_of(message, (size_t)bytes);
		CHECK(same_value(&view.value, &value));
		free(block);
	}
}
