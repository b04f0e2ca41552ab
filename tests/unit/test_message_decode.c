/* SPDX-License-Identifier: MIT */
/* Decoding of messages: good ones, and every way to be malformed. */
#include "core/message.h"

#include "check.h"
#include "message_golden.h"
#include "message_helpers.h"

/* Decode a golden message of one kind after writing width bytes of value at a position. */
enum root { CALL, RESULT, LOG };

static int decode_any(enum root root, const uint8_t *message, size_t len)
{
	struct mote__call_view call;
	struct mote__result_view result;
	struct mote__log_record log;
	if (root == CALL)
		return mote__message_decode_call(message, len, &call);
	if (root == RESULT)
		return mote__message_decode_result(message, len, &result);
	return mote__message_decode_log(message, len, &log);
}

static int patched(enum root root, const uint8_t *golden, size_t len, size_t at, size_t width,
		   uint32_t value)
{
	uint8_t *block, *message = odd_copy(golden, len, &block);
	memcpy(message + at, &value, width);
	int rc = decode_any(root, message, len);
	free(block);
	return rc;
}

#define ECHO(at, width, value) \
	patched(CALL, golden_call_echo, sizeof golden_call_echo, at, width, value)
#define RESULT_OF(name, at, width, value) \
	patched(RESULT, golden_result_##name, sizeof golden_result_##name, at, width, value)
#define LOG_OF(at, width, value) patched(LOG, golden_log, sizeof golden_log, at, width, value)

/* Positions in golden_call_echo. */
enum {
	ECHO_ROOT_OFFSET = 4,
	ECHO_VTABLE = 8,
	ECHO_VTABLE_NAME = 12,
	ECHO_VTABLE_PARAMETERS = 14,
	ECHO_ROOT = 20,
	ECHO_KIND = 26,
	ECHO_TYPE = 27,
	ECHO_NAME_OFFSET = 28,
	ECHO_COUNT = 36,
	ECHO_ELEMENT = 40,
	ECHO_PARAMETER_VTABLE = 44,
	ECHO_PARAMETER_VTABLE_TAG = 48,
	ECHO_PARAMETER_VTABLE_VALUE = 50,
	ECHO_PARAMETER = 52,
	ECHO_TAG = 59,
	ECHO_VALUE_OFFSET = 60,
	ECHO_STRING_VTABLE_VALUE = 70,
	ECHO_STRING_OFFSET = 76,
	ECHO_STRING_LEN = 80,
	ECHO_STRING = 84,
	ECHO_NAME_LEN = 88,
	ECHO_NAME = 92,
};

TEST(message__decodes_a_golden_call_without_parameters)
{
	struct mote__call_view call;
	CHECK_EQ(mote__message_decode_call(golden_call_a, sizeof golden_call_a, &call), 0);
	CHECK(same_string(call.name, STRING("A")));
	CHECK_EQ(call.kind, MOTE__CALL_GUEST);
	CHECK_EQ(call.result, MOTE_I32);
	CHECK_EQ(call.count, 0);
	CHECK_EQ(mote__message_parameters(&call, NULL), 0);
}

TEST(message__decodes_a_golden_call_with_a_string)
{
	struct mote__call_view call;
	struct mote_value value;
	CHECK_EQ(mote__message_decode_call(golden_call_echo, sizeof golden_call_echo, &call), 0);
	CHECK(same_string(call.name, STRING("Echo")));
	CHECK_EQ(call.name.data[4], 0);
	CHECK_EQ(call.result, MOTE_STRING);
	CHECK_EQ(call.count, 1);
	CHECK_EQ(mote__message_parameter(&call, 0, &value), 0);
	CHECK_EQ(value.type, MOTE_STRING);
	CHECK_EQ(value.reserved, 0);
	CHECK(same_string(value.string, STRING("hi")));
	CHECK_EQ(value.string.data[2], 0);
}

TEST(message__decodes_a_golden_call_of_a_host_function)
{
	struct mote__call_view call;
	struct mote_value values[2];
	int rc =
		mote__message_decode_call(golden_call_host_add, sizeof golden_call_host_add, &call);
	CHECK_EQ(rc, 0);
	CHECK(same_string(call.name, STRING("HostAdd")));
	CHECK_EQ(call.kind, MOTE__CALL_HOST);
	CHECK_EQ(call.result, MOTE_I32);
	CHECK_EQ(call.count, 2);
	CHECK_EQ(mote__message_parameters(&call, values), 0);
	CHECK_EQ(values[0].type, MOTE_I32);
	CHECK_EQ(values[0].i32, 5);
	CHECK_EQ(values[1].type, MOTE_I32);
	CHECK_EQ(values[1].i32, -1);
	CHECK_EQ(mote__message_parameter(&call, 1, &values[0]), 0);
	CHECK_EQ(values[0].i32, -1);
}

TEST(message__decodes_a_golden_int)
{
	struct mote__result_view view = result_of(golden_result_i32, sizeof golden_result_i32);
	CHECK(!view.is_error);
	CHECK_EQ(view.value.type, MOTE_I32);
	CHECK_EQ(view.value.i32, 42);
}

TEST(message__decodes_an_absent_int_as_zero)
{
	struct mote__result_view view =
		result_of(golden_result_i32_zero, sizeof golden_result_i32_zero);
	CHECK_EQ(view.value.type, MOTE_I32);
	CHECK_EQ(view.value.i32, 0);
}

TEST(message__decodes_a_golden_void)
{
	struct mote__result_view view = result_of(golden_result_void, sizeof golden_result_void);
	CHECK(!view.is_error);
	CHECK_EQ(view.value.type, MOTE_VOID);
}

TEST(message__decodes_a_golden_long)
{
	struct mote__result_view view = result_of(golden_result_i64, sizeof golden_result_i64);
	CHECK_EQ(view.value.type, MOTE_I64);
	CHECK_EQ(view.value.i64, -1);
}

TEST(message__decodes_a_golden_string)
{
	struct mote__result_view view =
		result_of(golden_result_string, sizeof golden_result_string);
	CHECK_EQ(view.value.type, MOTE_STRING);
	CHECK(same_string(view.value.string, STRING("hi")));
}

TEST(message__decodes_golden_bytes)
{
	struct mote__result_view view = result_of(golden_result_bytes, sizeof golden_result_bytes);
	CHECK_EQ(view.value.type, MOTE_BYTES);
	CHECK_EQ(view.value.bytes.len, 3);
	CHECK_MEM(view.value.bytes.data, "\1\2\3", 3);
}

TEST(message__decodes_a_golden_error)
{
	struct mote__result_view view = result_of(golden_result_error, sizeof golden_result_error);
	CHECK(view.is_error);
	CHECK_EQ(view.code, 17);
	CHECK(same_string(view.message, STRING("boom")));
}

TEST(message__decodes_a_golden_log_record)
{
	struct mote__log_record record;
	CHECK_EQ(mote__message_decode_log(golden_log, sizeof golden_log, &record), 0);
	CHECK_EQ(record.level, MOTE_LOG_INFO);
	CHECK_EQ(record.line, 7);
	CHECK(same_string(record.message, STRING("m")));
	CHECK(same_string(record.source, STRING("s")));
	CHECK(same_string(record.caller, STRING("c")));
	CHECK(same_string(record.file, STRING("f.rs")));
}

TEST(message__ignores_the_prefix_and_trailing_bytes)
{
	uint8_t long_one[sizeof golden_call_echo + 3];
	memset(long_one, 0xFF, sizeof long_one);
	memcpy(long_one + 4, golden_call_echo + 4, sizeof golden_call_echo - 4);
	CHECK_EQ(decode_any(CALL, long_one, sizeof long_one), 0);
}

TEST(message__refuses_a_message_shorter_than_its_root)
{
	for (size_t len = 0; len < 24; len++)
		for (int root = CALL; root <= LOG; root++) {
			uint8_t *block, *message = odd_copy(golden_call_echo, len, &block);
			int rc = decode_any((enum root)root, message, len);
			free(block);
			CHECK_EQ(rc, MOTE__MESSAGE_BOUNDS);
		}
}

TEST(message__refuses_a_bad_root_offset)
{
	CHECK_EQ(ECHO(ECHO_ROOT_OFFSET, 4, 0), MOTE__MESSAGE_OFFSET);
	CHECK_EQ(ECHO(ECHO_ROOT_OFFSET, 4, 18), MOTE__MESSAGE_ALIGNMENT);
	CHECK_EQ(ECHO(ECHO_ROOT_OFFSET, 4, 96), MOTE__MESSAGE_BOUNDS);
	CHECK_EQ(ECHO(ECHO_ROOT_OFFSET, 4, 0x7FFFFFFC), MOTE__MESSAGE_BOUNDS);
	CHECK_EQ(ECHO(ECHO_ROOT_OFFSET, 4, 0xFFFFFFFC), MOTE__MESSAGE_BOUNDS);
}

TEST(message__refuses_a_vtable_outside_the_message)
{
	CHECK_EQ(ECHO(ECHO_ROOT, 4, 22), MOTE__MESSAGE_BOUNDS); /* at -2 */
	CHECK_EQ(ECHO(ECHO_ROOT, 4, 0x7FFFFFFE), MOTE__MESSAGE_BOUNDS);
	CHECK_EQ(ECHO(ECHO_ROOT, 4, 0x80000000), MOTE__MESSAGE_BOUNDS);
	CHECK_EQ(ECHO(ECHO_ROOT, 4, (uint32_t)-80), MOTE__MESSAGE_BOUNDS); /* just behind */
}

TEST(message__refuses_a_misaligned_vtable)
{
	CHECK_EQ(ECHO(ECHO_ROOT, 4, 11), MOTE__MESSAGE_ALIGNMENT);
}

TEST(message__refuses_a_bad_vtable_length)
{
	CHECK_EQ(ECHO(ECHO_VTABLE, 2, 0), MOTE__MESSAGE_VTABLE);
	CHECK_EQ(ECHO(ECHO_VTABLE, 2, 2), MOTE__MESSAGE_VTABLE);
	CHECK_EQ(ECHO(ECHO_VTABLE, 2, 13), MOTE__MESSAGE_VTABLE);
	CHECK_EQ(ECHO(ECHO_VTABLE, 2, 94), MOTE__MESSAGE_BOUNDS);
	CHECK_EQ(ECHO(ECHO_VTABLE, 2, 92), 0); /* up to the last byte */
}

TEST(message__accepts_the_shortest_vtable_where_nothing_is_required)
{
	CHECK_EQ(ECHO(66, 2, 4), 0); /* hlstring without its value: an empty string */
}

TEST(message__refuses_a_missing_required_field)
{
	CHECK_EQ(ECHO(ECHO_VTABLE_NAME, 2, 0), MOTE__MESSAGE_MISSING);
	CHECK_EQ(ECHO(ECHO_VTABLE, 2, 4), MOTE__MESSAGE_MISSING);
	CHECK_EQ(ECHO(ECHO_PARAMETER_VTABLE_VALUE, 2, 0), MOTE__MESSAGE_MISSING);
	CHECK_EQ(ECHO(ECHO_PARAMETER_VTABLE, 2, 6), MOTE__MESSAGE_MISSING);
	CHECK_EQ(RESULT_OF(i32, 14, 2, 0), MOTE__MESSAGE_MISSING); /* result */
	CHECK_EQ(RESULT_OF(i32, 34, 2, 0), MOTE__MESSAGE_MISSING); /* value of the box */
	for (size_t id = 0; id < 5; id++)
		if (id != 2)
			CHECK_EQ(LOG_OF(12 + 2 * id, 2, 0), MOTE__MESSAGE_MISSING);
}

TEST(message__refuses_a_field_outside_the_message)
{
	CHECK_EQ(ECHO(ECHO_VTABLE_NAME, 2, 80), MOTE__MESSAGE_BOUNDS);
	CHECK_EQ(ECHO(ECHO_VTABLE_NAME, 2, 0xFFFC), MOTE__MESSAGE_BOUNDS);
	CHECK_EQ(ECHO(ECHO_PARAMETER_VTABLE_TAG, 2, 48), MOTE__MESSAGE_BOUNDS);
	CHECK_EQ(RESULT_OF(i32, 54, 2, 8), MOTE__MESSAGE_BOUNDS); /* 4 bytes at 64 of 64 */
	CHECK_EQ(RESULT_OF(i64, 58, 2, 12), MOTE__MESSAGE_BOUNDS);
	CHECK_EQ(LOG_OF(22, 2, 0x100), MOTE__MESSAGE_BOUNDS); /* line */
}

TEST(message__refuses_a_misaligned_field)
{
	CHECK_EQ(ECHO(ECHO_VTABLE_NAME, 2, 9), MOTE__MESSAGE_ALIGNMENT);
	CHECK_EQ(RESULT_OF(i32, 54, 2, 2), MOTE__MESSAGE_ALIGNMENT);
	CHECK_EQ(RESULT_OF(i64, 58, 2, 2), MOTE__MESSAGE_ALIGNMENT);
	CHECK_EQ(RESULT_OF(error, 36, 2, 4), MOTE__MESSAGE_ALIGNMENT); /* u64 code at 4 mod 8 */
}

TEST(message__counts_alignment_from_the_prefix)
{
	/* The same message four bytes further on: every u64 would be misaligned if the address
	 * counted. */
	_Alignas(8) uint8_t memory[4 + sizeof golden_result_i64];
	memcpy(memory + 4, golden_result_i64, sizeof golden_result_i64);
	CHECK_EQ(decode_any(RESULT, memory + 4, sizeof golden_result_i64), 0);
}

TEST(message__refuses_a_bad_offset_of_a_string)
{
	CHECK_EQ(ECHO(ECHO_NAME_OFFSET, 4, 0), MOTE__MESSAGE_OFFSET);
	CHECK_EQ(ECHO(ECHO_NAME_OFFSET, 4, 61), MOTE__MESSAGE_ALIGNMENT);
	CHECK_EQ(ECHO(ECHO_NAME_OFFSET, 4, 72), MOTE__MESSAGE_BOUNDS);
	CHECK_EQ(ECHO(ECHO_NAME_OFFSET, 4, UINT32_MAX), MOTE__MESSAGE_BOUNDS);
	CHECK_EQ(ECHO(ECHO_STRING_OFFSET, 4, 0), MOTE__MESSAGE_OFFSET);
}

TEST(message__refuses_a_bad_offset_of_a_table)
{
	CHECK_EQ(ECHO(ECHO_ELEMENT, 4, 0), MOTE__MESSAGE_OFFSET);
	CHECK_EQ(ECHO(ECHO_ELEMENT, 4, 14), MOTE__MESSAGE_ALIGNMENT);
	CHECK_EQ(ECHO(ECHO_ELEMENT, 4, 60), MOTE__MESSAGE_BOUNDS);
	CHECK_EQ(ECHO(ECHO_VALUE_OFFSET, 4, 0), MOTE__MESSAGE_OFFSET);
	CHECK_EQ(ECHO(ECHO_VALUE_OFFSET, 4, UINT32_MAX), MOTE__MESSAGE_BOUNDS);
	CHECK_EQ(ECHO(ECHO_PARAMETER, 4, 0x80000000), MOTE__MESSAGE_BOUNDS);
}

TEST(message__refuses_a_string_without_nul)
{
	CHECK_EQ(ECHO(ECHO_STRING_LEN, 4, 4), MOTE__MESSAGE_NO_NUL);
	CHECK_EQ(ECHO(ECHO_NAME_LEN, 4, 8), MOTE__MESSAGE_NO_NUL); /* it would be behind the end */
	CHECK_EQ(ECHO(ECHO_NAME_LEN, 4, 7), 0);                    /* it is the last byte */
}

TEST(message__accepts_a_nul_inside_a_string)
{
	CHECK_EQ(ECHO(ECHO_STRING_LEN, 4, 3), 0);
}

TEST(message__refuses_a_string_longer_than_the_message)
{
	CHECK_EQ(ECHO(ECHO_NAME_LEN, 4, 9), MOTE__MESSAGE_BOUNDS);
	CHECK_EQ(ECHO(ECHO_NAME_LEN, 4, 0x7FFFFFFF), MOTE__MESSAGE_BOUNDS);
	CHECK_EQ(ECHO(ECHO_STRING_LEN, 4, UINT32_MAX), MOTE__MESSAGE_BOUNDS);
}

TEST(message__refuses_bytes_longer_than_the_message)
{
	CHECK_EQ(RESULT_OF(bytes, 60, 4, 4), 0);
	CHECK_EQ(RESULT_OF(bytes, 60, 4, 5), MOTE__MESSAGE_BOUNDS);
	CHECK_EQ(RESULT_OF(bytes, 60, 4, UINT32_MAX), MOTE__MESSAGE_BOUNDS);
}

TEST(message__refuses_a_string_that_is_not_utf8)
{
	CHECK_EQ(ECHO(ECHO_STRING, 1, 0xFF), MOTE__MESSAGE_UTF8);
	CHECK_EQ(ECHO(ECHO_NAME, 1, 0x80), MOTE__MESSAGE_UTF8);
	CHECK_EQ(RESULT_OF(error, 64, 1, 0xC0), MOTE__MESSAGE_UTF8);
}

TEST(message__refuses_an_unknown_kind_of_call)
{
	CHECK_EQ(ECHO(ECHO_KIND, 1, 0), MOTE__MESSAGE_KIND);
	CHECK_EQ(ECHO(ECHO_KIND, 1, 2), 0);
	CHECK_EQ(ECHO(ECHO_KIND, 1, 3), MOTE__MESSAGE_KIND);
}

TEST(message__refuses_an_unknown_result_type)
{
	CHECK_EQ(ECHO(ECHO_TYPE, 1, 9), 0);
	CHECK_EQ(ECHO(ECHO_TYPE, 1, 10), MOTE__MESSAGE_TYPE);
	CHECK_EQ(ECHO(ECHO_TYPE, 1, 255), MOTE__MESSAGE_TYPE);
}

TEST(message__maps_wire_types_to_mote_types)
{
	static const uint32_t types[] = {MOTE_I32, MOTE_U32,    MOTE_I64,  MOTE_U64,  MOTE_F32,
					 MOTE_F64, MOTE_STRING, MOTE_BOOL, MOTE_VOID, MOTE_BYTES};
	uint8_t message[sizeof golden_call_echo];
	memcpy(message, golden_call_echo, sizeof message);
	for (uint8_t wire = 0; wire < 10; wire++) {
		struct mote__call_view call;
		message[ECHO_TYPE] = wire;
		CHECK_EQ(mote__message_decode_call(message, sizeof message, &call), 0);
		CHECK_EQ(call.result, types[wire]);
	}
}

TEST(message__refuses_an_unknown_tag)
{
	CHECK_EQ(ECHO(ECHO_TAG, 1, 0), MOTE__MESSAGE_TAG);
	CHECK_EQ(ECHO(ECHO_TAG, 1, 10), MOTE__MESSAGE_TAG);
	CHECK_EQ(ECHO(ECHO_TAG, 1, 255), MOTE__MESSAGE_TAG);
	CHECK_EQ(ECHO(ECHO_PARAMETER_VTABLE_TAG, 2, 0), MOTE__MESSAGE_TAG);
	CHECK_EQ(RESULT_OF(i32, 23, 1, 0), MOTE__MESSAGE_TAG);
	CHECK_EQ(RESULT_OF(i32, 23, 1, 3), MOTE__MESSAGE_TAG);
	CHECK_EQ(RESULT_OF(void, 35, 1, 0), MOTE__MESSAGE_TAG);
	CHECK_EQ(RESULT_OF(void, 35, 1, 11), MOTE__MESSAGE_TAG);
}

TEST(message__reads_a_string_as_bytes_when_the_tag_says_so)
{
	CHECK_EQ(ECHO(ECHO_TAG, 1, MOTE_BYTES), 0);
}

TEST(message__decodes_absent_parameters_as_none)
{
	struct mote__call_view call;
	uint8_t message[sizeof golden_call_echo];
	memcpy(message, golden_call_echo, sizeof message);
	message[ECHO_VTABLE_PARAMETERS] = 0;
	CHECK_EQ(mote__message_decode_call(message, sizeof message, &call), 0);
	CHECK_EQ(call.count, 0);
	CHECK(call.parameters == NULL);
}

TEST(message__decodes_an_empty_vector_of_parameters)
{
	struct mote__call_view call;
	uint8_t message[sizeof golden_call_echo];
	memcpy(message, golden_call_echo, sizeof message);
	message[ECHO_COUNT] = 0;
	CHECK_EQ(mote__message_decode_call(message, sizeof message, &call), 0);
	CHECK_EQ(call.count, 0);
}

TEST(message__refuses_a_parameter_vector_outside_the_message)
{
	CHECK_EQ(ECHO(ECHO_COUNT, 4, 16), MOTE__MESSAGE_BOUNDS);
	CHECK_EQ(ECHO(ECHO_COUNT, 4, 0x40000001), MOTE__MESSAGE_BOUNDS);
	CHECK_EQ(ECHO(ECHO_COUNT, 4, UINT32_MAX), MOTE__MESSAGE_BOUNDS);
}

TEST(message__decodes_an_absent_error_message_as_empty)
{
	struct mote__result_view view;
	uint8_t message[sizeof golden_result_error];
	memcpy(message, golden_result_error, sizeof message);
	message[38] = 0;
	view = result_of(message, sizeof message);
	CHECK(view.is_error);
	CHECK_EQ(view.code, 17);
	CHECK_EQ(view.message.len, 0);
	CHECK_STR(view.message.data, "");
}

TEST(message__decodes_an_absent_string_as_empty)
{
	struct mote__call_view call;
	struct mote_value value;
	uint8_t message[sizeof golden_call_echo];
	memcpy(message, golden_call_echo, sizeof message);
	message[ECHO_STRING_VTABLE_VALUE] = 0;
	CHECK_EQ(mote__message_decode_call(message, sizeof message, &call), 0);
	CHECK_EQ(mote__message_parameter(&call, 0, &value), 0);
	CHECK_EQ(value.string.len, 0);
	CHECK_STR(value.string.data, "");
	message[ECHO_TAG] = MOTE_BYTES;
	CHECK_EQ(mote__message_decode_call(message, sizeof message, &call), 0);
	CHECK_EQ(mote__message_parameter(&call, 0, &value), 0);
	CHECK_EQ(value.bytes.len, 0);
}

TEST(message__decodes_any_non_zero_bool_as_one)
{
	uint8_t message[64];
	struct mote_value yes = {.type = MOTE_BOOL, .boolean = 1};
	CHECK_EQ(mote__message_encode_result(message, sizeof message, &yes), 64);
	message[56] = 0xFE;
	CHECK_EQ(result_of(message, 64).value.boolean, 1);
	yes.boolean = 7;
	CHECK_EQ(mote__message_encode_result(message, sizeof message, &yes), 64);
	CHECK_EQ(message[56], 1);
}

TEST(message__maps_log_levels)
{
	static const uint32_t levels[] = {MOTE_LOG_TRACE, MOTE_LOG_DEBUG, MOTE_LOG_INFO,
					  MOTE_LOG_WARN,  MOTE_LOG_ERROR, MOTE_LOG_ERROR,
					  MOTE_LOG_TRACE};
	uint8_t message[sizeof golden_log];
	struct mote__log_record record;
	memcpy(message, golden_log, sizeof message);
	for (uint8_t wire = 0; wire < 7; wire++) {
		message[31] = wire;
		CHECK_EQ(mote__message_decode_log(message, sizeof message, &record), 0);
		CHECK_EQ(record.level, levels[wire]);
	}
	message[31] = 7;
	CHECK_EQ(mote__message_decode_log(message, sizeof message, &record), MOTE__MESSAGE_LEVEL);
}

TEST(message__writes_nothing_when_it_fails)
{
	struct mote__result_view view, before;
	uint8_t message[sizeof golden_result_i32];
	memcpy(message, golden_result_i32, sizeof message);
	message[43] = 77;
	memset(&view, 0xA5, sizeof view);
	memcpy(&before, &view, sizeof view);
	CHECK_EQ(mote__message_decode_result(message, sizeof message, &view), MOTE__MESSAGE_TAG);
	CHECK_MEM(&view, &before, sizeof view);
}

TEST(message__describes_every_code)
{
	for (int code = MOTE__MESSAGE_LEVEL; code <= MOTE__MESSAGE_OK; code++) {
		CHECK(strcmp(mote__message_describe(code), "an unknown error") != 0);
		for (int other = code + 1; other <= MOTE__MESSAGE_OK; other++)
			CHECK(strcmp(mote__message_describe(code), mote__message_describe(other)));
	}
	CHECK_STR(mote__message_describe(1), "an unknown error");
}

TEST(message__views_what_it_decodes)
{
	struct mote__call_view a, b;
	struct mote__result_view result;
	struct mote__log_record log;
	CHECK_EQ(mote__message_decode_call(golden_call_echo, sizeof golden_call_echo, &a), 0);
	CHECK_EQ(mote__message_view_call(golden_call_echo, &b), 0);
	CHECK_EQ(a.count, b.count);
	CHECK(a.name.data == b.name.data && a.parameters == b.parameters);
	CHECK_EQ(mote__message_view_result(golden_result_error, &result), 0);
	CHECK(result.is_error);
	CHECK_EQ(mote__message_view_log(golden_log, &log), 0);
	CHECK_EQ(log.line, 7);
}
