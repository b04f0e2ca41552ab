/* SPDX-License-Identifier: MIT */
/*
 * Calls of guests that behave: every type in and out and through host functions, and every way in
 * which a call can be refused without ending the guest. Bits are compared, not values.
 */
#include "values.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- types ---------------------------------------------------------------------------------- */

static void check_scalar(struct system *s, const char *name, struct mote_value value)
{
	char function[40];
	static const char *const ways[] = {"echo_", "via_host_"};
	for (int i = 0; i < 2; i++) {
		(void)snprintf(function, sizeof function, "%s%s", ways[i], name);
		struct mote_value result = CALL(s, value.type, function, value);
		CHECK_EQ(result.type, value.type);
		CHECK_EQ(result.u64, value.u64);
	}
}

static float f32_of(uint32_t bits)
{
	float x;
	memcpy(&x, &bits, sizeof x);
	return x;
}

static double f64_of(uint64_t bits)
{
	double x;
	memcpy(&x, &bits, sizeof x);
	return x;
}

TEST(guest_calls__integers_pass_with_all_their_bits)
{
	struct system s;
	VALUES(&s);
	static const int32_t i32[] = {0, 1, -1, INT_MIN, INT_MAX};
	static const int64_t i64[] = {0, 1, -1, INT64_MIN, INT64_MAX, 0x0123456789ABCDEF};
	for (size_t i = 0; i < sizeof i32 / sizeof *i32; i++) {
		check_scalar(&s, "i32", mote_i32(i32[i]));
		check_scalar(&s, "u32", mote_u32((uint32_t)i32[i]));
	}
	for (size_t i = 0; i < sizeof i64 / sizeof *i64; i++) {
		check_scalar(&s, "i64", mote_i64(i64[i]));
		check_scalar(&s, "u64", mote_u64((uint64_t)i64[i]));
	}
	check_scalar(&s, "bool", mote_bool(0));
	check_scalar(&s, "bool", mote_bool(1));
	system_close(&s);
}

TEST(guest_calls__floats_pass_with_payloads_signs_and_denormals)
{
	struct system s;
	VALUES(&s);
	static const uint32_t f32[] = {0,          0x80000000, 0x3F800000, 0x7F800000, 0xFF800000,
				       0x7FC12345, 0xFFABCDEF, 0x7F812345, 1,          0x7F7FFFFF};
	static const uint64_t f64[] = {0,
				       0x8000000000000000,
				       0x3FF0000000000000,
				       0x7FF0000000000000,
				       0xFFF0000000000000,
				       0x7FF8123456789ABC,
				       0xFFF7123456789ABC,
				       1,
				       0x7FEFFFFFFFFFFFFF};
	for (size_t i = 0; i < sizeof f32 / sizeof *f32; i++)
		check_scalar(&s, "f32", mote_f32(f32_of(f32[i])));
	for (size_t i = 0; i < sizeof f64 / sizeof *f64; i++)
		check_scalar(&s, "f64", mote_f64(f64_of(f64[i])));
	system_close(&s);
}

static void check_blob(struct system *s, const void *data, size_t len)
{
	const struct mote_value text = mote_string_of(data, len), bytes = mote_bytes(data, len);
	static const char *const ways[] = {"echo_", "via_host_"};
	char function[40];
	for (int i = 0; i < 2; i++) {
		(void)snprintf(function, sizeof function, "%sstring", ways[i]);
		struct mote_value result = CALL(s, MOTE_STRING, function, text);
		CHECK_EQ(result.string.len, len);
		CHECK_MEM(result.string.data, data, len);
		CHECK_EQ(result.string.data[len], 0);
		(void)snprintf(function, sizeof function, "%sbytes", ways[i]);
		result = CALL(s, MOTE_BYTES, function, bytes);
		CHECK_EQ(result.bytes.len, len);
		CHECK_MEM(result.bytes.data, data, len);
	}
}

TEST(guest_calls__strings_and_bytes_pass_with_any_length_and_utf_8)
{
	struct system s;
	VALUES(&s);
	char text[300];
	for (size_t len = 0; len < 40; len++) {
		for (size_t i = 0; i < len; i++)
			text[i] = (char)('a' + i % 26);
		check_blob(&s, text, len);
	}
	static const char utf8[] = "\xC3\xA4 \xE2\x82\xAC \xF0\x9F\x98\x80 \xEF\xBF\xBD";
	check_blob(&s, utf8, sizeof utf8 - 1);
	system_close(&s);
}

TEST(guest_calls__bytes_may_be_anything)
{
	struct system s;
	VALUES(&s);
	uint8_t all[512];
	for (unsigned i = 0; i < sizeof all; i++)
		all[i] = (uint8_t)(i * 7);
	struct mote_value result = CALL(&s, MOTE_BYTES, "echo_bytes", mote_bytes(all, sizeof all));
	CHECK_EQ(result.bytes.len, sizeof all);
	CHECK_MEM(result.bytes.data, all, sizeof all);
	result = CALL(&s, MOTE_BYTES, "via_host_bytes", mote_bytes(NULL, 0));
	CHECK_EQ(result.bytes.len, 0);
	system_close(&s);
}

TEST(guest_calls__a_string_with_a_nul_inside_arrives_whole)
{
	struct system s;
	VALUES(&s);
	struct mote_value result = CALL(&s, MOTE_STRING, "echo_string", mote_string_of("a\0b", 3));
	CHECK_EQ(result.string.len, 3);
	CHECK_MEM(result.string.data, "a\0b", 4);
	system_close(&s);
}

#define MIB (1u << 20)
TEST(guest_calls__a_mebibyte_passes_with_larger_buffers)
{
	struct system s;
	VALUES(&s, .snapshot = {
			   .input_bytes = 3 * MIB, .output_bytes = 2 * MIB, .heap_bytes = 8 * MIB});
	char *text = malloc(MIB);
	CHECK(text);
	for (size_t i = 0; i < MIB; i++)
		text[i] = (char)('!' + i % 90);
	check_blob(&s, text, MIB);
	check_blob(&s, text, MIB - 1);
	free(text);
	system_close(&s);
}

TEST(guest_calls__void_comes_and_goes)
{
	struct system s;
	VALUES(&s);
	CHECK_EQ(CALL(&s, MOTE_VOID, "nothing").type, MOTE_VOID);
	CHECK_EQ(CALL(&s, MOTE_VOID, "via_host_void").type, MOTE_VOID);
	CHECK(MOTE_CALL(s.sandbox, "nothing", NULL, NULL, MOTE_VOID) == MOTE_OK);
	system_close(&s);
}

#define ELEVEN                                                                         \
	mote_i32(-1), mote_u32(0xFFFFFFFF), mote_i64(INT64_MIN), mote_u64(1ull << 63), \
		mote_f32(1.25f), mote_f64(-0.0), mote_bool(1), mote_string("four"),    \
		mote_bytes("12345", 5), mote_i32(1000), mote_i64(-7)

TEST(guest_calls__eleven_parameters_pass_in_order)
{
	struct system s;
	VALUES(&s);
	uint64_t sum = (uint64_t)-1 + 0xFFFFFFFF + (1ull << 63) * 2 + 5 + 0 + 1 + 4 + 5 + 1000 - 7;
	CHECK_EQ(CALL_U64(&s, "eleven", ELEVEN), sum);
	system_close(&s);
}

/* ---- refusals ------------------------------------------------------------------------------- */

TEST(guest_calls__a_wrong_count_is_refused_by_the_guest)
{
	struct system s;
	OPEN(&s, "hello");
	FAILS(&s, MOTE_EGUEST, "Called function add with 1 parameters but it takes 2.", MOTE_I32,
	      "add", mote_i32(1));
	CHECK_EQ(s.err.guest_code, MOTE_GUEST_PARAMETER_COUNT);
	CHECK_EQ(s.err.category, MOTE_CATEGORY_GUEST);
	CHECK_EQ(s.err.poisoned, 0);
	CHECK_STR(s.err.message, "Guest error occurred GuestFunctionIncorrecNoOfParameters: "
				 "Called function add with 1 parameters but it takes 2.");
	FAILS(&s, MOTE_EGUEST, "Called function nothing with 1 parameters but it takes 0.",
	      MOTE_VOID, "nothing", mote_i32(1));
	CHECK_EQ(CALL_I32(&s, "add", mote_i32(2), mote_i32(3)), 5);
	system_close(&s);
}

TEST(guest_calls__more_parameters_than_eleven_are_refused)
{
	struct system s;
	VALUES(&s);
	FAILS(&s, MOTE_EGUEST, "12", MOTE_U64, "eleven", ELEVEN, mote_i32(1));
	CHECK_STR(s.err.message, "Guest error occurred GuestError: Function eleven has too many "
				 "parameters: 12 (max allowed is 11).");
	CHECK_EQ(s.err.guest_code, MOTE_GUEST_ERROR);
	struct mote_value many[33];
	for (int i = 0; i < 33; i++)
		many[i] = mote_i32(i);
	struct mote_call call = *CALL_OF("eleven", MOTE_U64);
	call.arguments = many;
	call.argument_count = 32;
	CHECK_EQ(mote_sandbox_call(s.sandbox, &call, NULL, &s.err), MOTE_EGUEST);
	CHECK_HAS(s.err.message, "32");
	call.argument_count = 33;
	CHECK_EQ(mote_sandbox_call(s.sandbox, &call, NULL, &s.err), MOTE_EINVAL);
	CHECK_STR(s.err.message, "argument_count is 33, at most 32");
	CHECK_EQ(CALL_U64(&s, "echo_u64", mote_u64(3)), 3);
	system_close(&s);
}

TEST(guest_calls__a_wrong_type_is_refused_by_the_guest)
{
	struct system s;
	OPEN(&s, "hello");
	FAILS(&s, MOTE_EGUEST,
	      "Expected parameter type Int for parameter index 1 of function add but got UInt.",
	      MOTE_I32, "add", mote_i32(1), mote_u32(2));
	CHECK_EQ(s.err.guest_code, MOTE_GUEST_PARAMETER_TYPE);
	static const char *const names[] = {"",      "Int",    "UInt",   "Long", "ULong",
					    "Float", "Double", "String", "Bool", "VecBytes"};
	const struct mote_value values[] = {mote_u32(0),  mote_i64(0),      mote_u64(0),
					    mote_f32(0),  mote_f64(0),      mote_string(""),
					    mote_bool(0), mote_bytes("", 0)};
	for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
		char text[100];
		(void)snprintf(text, sizeof text, "index 0 of function echo_i32 but got %s.",
			       names[values[i].type]);
		FAILS(&s, MOTE_EGUEST, text, MOTE_I32, "echo_i32", values[i]);
	}
	system_close(&s);
}

TEST(guest_calls__an_unknown_function_is_refused_by_the_guest)
{
	struct system s;
	OPEN(&s, "hello");
	static const struct {
		const char *name, *shown;
	} cases[] = {
		{"addd", "\"addd\""},
		{"ad", "\"ad\""},
		{"Add", "\"Add\""},
		{"a\"b", "\"a\\\"b\""},
		{"\xE2\x82\xAC", "\"\xE2\x82\xAC\""},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char text[100];
		(void)snprintf(text, sizeof text, "No handler found for function call: %s",
			       cases[i].shown);
		FAILS(&s, MOTE_EGUEST, text, MOTE_I32, cases[i].name);
		CHECK_EQ(s.err.guest_code, MOTE_GUEST_FUNCTION_NOT_FOUND);
	}
	CHECK_EQ(mote_sandbox_state(s.sandbox), MOTE_STATE_READY);
	system_close(&s);
}

TEST(guest_calls__a_long_or_strange_unknown_name_makes_one_line_of_utf_8)
{
	struct system s;
	OPEN(&s, "hello");
	char name[2001];
	memset(name, 'n', sizeof name - 1);
	name[2000] = 0;
	FAILS(&s, MOTE_EGUEST, "nnnnnnnnnn", MOTE_I32, name);
	for (unsigned i = 0; i + 3 < sizeof name; i += 3)
		memcpy(name + i, "\xE2\x82\xAC", 3);
	name[1998] = 0;
	FAILS(&s, MOTE_EGUEST, "\xE2\x82\xAC", MOTE_I32, name);
	FAILS(&s, MOTE_EGUEST, "a b", MOTE_I32, "a\nb");
	system_close(&s);
}

TEST(guest_calls__another_result_type_than_asked_for_is_refused)
{
	struct system s;
	VALUES(&s);
	FAILS(&s, MOTE_ETYPE, "the guest answered i32, the caller expects u32", MOTE_U32,
	      "echo_i32", mote_i32(1));
	CHECK_EQ(s.err.poisoned, 0);
	FAILS(&s, MOTE_ETYPE, "the guest answered void, the caller expects string", MOTE_STRING,
	      "nothing");
	FAILS(&s, MOTE_ETYPE, "the guest answered bytes, the caller expects void", MOTE_VOID,
	      "echo_bytes", mote_bytes("x", 1));
	CHECK_EQ(CALL_I32(&s, "echo_i32", mote_i32(1)), 1);
	system_close(&s);
}

TEST(guest_calls__arguments_that_do_not_fit_are_refused_and_the_guest_does_not_run)
{
	struct system s;
	VALUES(&s);
	static char text[0x4000 + 1];
	memset(text, 'x', sizeof text - 1);
	(void)CALL_U64(&s, "statics");
	const uint64_t entries = system_statistics(&s).vm_entries;
	FAILS(&s, MOTE_ETOOBIG, "Not enough space in buffer to push data. Required: ", MOTE_STRING,
	      "echo_string", mote_string(text));
	CHECK_HAS(s.err.message, ", Available: 16376");
	CHECK_EQ(s.err.poisoned, 0);
	CHECK_EQ(system_statistics(&s).vm_entries, entries);
	/* The largest that fits does. */
	size_t fits = 0;
	for (size_t len = 0x3E00; len < 0x4000; len++) {
		const struct mote_value value = mote_bytes(text, len);
		int rc = mote_sandbox_call(s.sandbox, CALL_OF("sum_bytes", MOTE_U32, value), NULL,
					   &s.err);
		if (rc == MOTE_ETOOBIG)
			break;
		CHECK_EQ(rc, MOTE_OK);
		fits = len;
	}
	check_note("largest argument of a 0x4000 buffer: 0x%zx bytes", fits);
	CHECK(fits > 0x3F00 && fits < 0x4000);
	CHECK_EQ(CALL_U32(&s, "sum_bytes", mote_bytes(text, fits)), 'x' * fits);
	system_close(&s);
}

TEST(guest_calls__an_error_of_the_guest_keeps_its_code_and_text)
{
	struct system s;
	VALUES(&s);
	static const struct {
		uint64_t code;
		const char *name;
	} codes[] = {{1, "UnknownError"},          {2, "UnsupportedParameterType"},
		     {4, "GuestFunctionNotFound"}, {13, "MallocFailed"},
		     {17, "HostFunctionError"},    {18, "UnknownError"},
		     {255, "UnknownError"},        {UINT64_MAX, "UnknownError"}};
	for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
		char text[80];
		(void)snprintf(text, sizeof text, "Guest error occurred %s: it broke \xE2\x82\xAC",
			       codes[i].name);
		FAILS(&s, MOTE_EGUEST, text, MOTE_VOID, "fail", mote_u64(codes[i].code),
		      mote_string("it broke \xE2\x82\xAC"));
		CHECK_EQ(s.err.guest_code, codes[i].code);
		CHECK_EQ(s.err.has_fault, 0);
	}
	FAILS(&s, MOTE_EGUEST, "one two three", MOTE_VOID, "fail", mote_u64(15),
	      mote_string("one\ntwo\x1B"
			  "three"));
	system_close(&s);
}

TEST(guest_calls__an_error_text_is_cut_between_characters)
{
	struct system s;
	VALUES(&s);
	char text[3000];
	for (unsigned shift = 0; shift < 3; shift++) {
		memset(text, 'a', shift);
		for (unsigned i = shift; i + 3 < sizeof text; i += 3)
			memcpy(text + i, "\xE2\x82\xAC", 3);
		text[shift + 2997 - 3] = 0;
		FAILS(&s, MOTE_EGUEST, "\xE2\x82\xAC\xE2\x82\xAC", MOTE_VOID, "fail", mote_u64(15),
		      mote_string(text));
		size_t len = strlen(s.err.message);
		CHECK(len > 400 && len < MOTE_ERROR_MESSAGE_BYTES);
		CHECK_STR(s.err.message + len - 3, "\xE2\x82\xAC");
	}
	system_close(&s);
}

TEST(guest_calls__a_result_that_does_not_fit_the_output_buffer_ends_the_guest)
{
	struct system s;
	OPEN(&s, "bad");
	struct mote_value result = CALL(&s, MOTE_BYTES, "big_result", mote_u32(0x3F00));
	CHECK_EQ(result.bytes.len, 0x3F00);
	FAILS(&s, MOTE_EABORT, "Guest aborted: 8 Not enough space in shared output buffer.",
	      MOTE_BYTES, "big_result", mote_u32(0x4000));
	CHECK_EQ(s.err.guest_code, 8);
	CHECK_EQ(s.err.poisoned, 1);
	system_close(&s);
}

TEST(guest_calls__a_string_that_is_not_utf_8_is_the_guests_error)
{
	struct system s;
	OPEN(&s, "bad");
	FAILS(&s, MOTE_EGUEST, "Function bad_string returned a string that is not UTF-8.",
	      MOTE_STRING, "bad_string");
	FAILS(&s, MOTE_EGUEST,
	      "ab\xEF\xBF\xBD"
	      "cd",
	      MOTE_VOID, "bad_fail_text");
	CHECK_EQ(CALL_I32(&s, "count_up"), 1);
	system_close(&s);
}

TEST(guest_calls__callers_mistakes_are_refused_before_the_guest_runs)
{
	struct system s;
	OPEN(&s, "hello");
	struct mote_call call = *CALL_OF("add", MOTE_I32);
	call.size = 3;
	CHECK_EQ(mote_sandbox_call(s.sandbox, &call, NULL, &s.err), MOTE_EINVAL);
	CHECK_EQ(mote_sandbox_call(s.sandbox, NULL, NULL, &s.err), MOTE_EINVAL);
	CHECK_EQ(mote_sandbox_call(NULL, CALL_OF("add", MOTE_I32), NULL, &s.err), MOTE_EINVAL);
	FAILS(&s, MOTE_EINVAL, "function has no name", MOTE_I32, "");
	FAILS(&s, MOTE_EINVAL, "function is not UTF-8", MOTE_I32, "\xFF");
	FAILS(&s, MOTE_EINVAL, "argument 1 is not UTF-8", MOTE_I32, "add", mote_i32(1),
	      mote_string("\xC3"));
	FAILS(&s, MOTE_EINVAL, "result is 10, at most 9", 10, "add");
	CHECK_EQ(system_statistics(&s).vm_entries, 0);
	CHECK_EQ(mote_sandbox_state(s.sandbox), MOTE_STATE_NEW);
	system_close(&s);
}
