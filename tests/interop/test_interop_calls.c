/* SPDX-License-Identifier: MIT */
/*
 * A guest that was built with the published 0.15 guest crates is called and calls back: values of
 * every type, refusals and errors. test_interop_limits.c has messages as large as the buffers,
 * test_interop_given.c logs and what it is given at its start, test_interop_ends.c the calls that
 * do not come back.
 */
#include "rust_calls.h"

#include <stdio.h>

/* ---- values ---------------------------------------------------------------------------------- */

#define STRING(text)                                                      \
	{                                                                 \
		.type = MOTE_STRING, .string = { text, sizeof(text) - 1 } \
	}
#define BYTES(data_)                                                      \
	{                                                                 \
		.type = MOTE_BYTES, .bytes = { data_, sizeof(data_) - 1 } \
	}
#define F32(bits)                               \
	{                                       \
		.type = MOTE_F32, .u32 = (bits) \
	}
#define F64(bits)                               \
	{                                       \
		.type = MOTE_F64, .u64 = (bits) \
	}

static const struct mote_value extremes[] = {
	{.type = MOTE_I32, .i32 = 0},
	{.type = MOTE_I32, .i32 = -1},
	{.type = MOTE_I32, .i32 = INT32_MIN},
	{.type = MOTE_I32, .i32 = INT32_MAX},
	{.type = MOTE_U32, .u32 = 0},
	{.type = MOTE_U32, .u32 = 0x80000000},
	{.type = MOTE_U32, .u32 = UINT32_MAX},
	{.type = MOTE_I64, .i64 = 0},
	{.type = MOTE_I64, .i64 = -1},
	{.type = MOTE_I64, .i64 = INT64_MIN},
	{.type = MOTE_I64, .i64 = INT64_MAX},
	{.type = MOTE_U64, .u64 = 0},
	{.type = MOTE_U64, .u64 = 0x8000000000000000},
	{.type = MOTE_U64, .u64 = UINT64_MAX},
	{.type = MOTE_BOOL, .boolean = 0},
	{.type = MOTE_BOOL, .boolean = 1},
	STRING(""),
	STRING("x"),
	STRING("hello, world"),
	STRING("Gr\xC3\xBC\xC3\x9F \xE2\x82\xAC \xF0\x9F\x98\x80"),
	STRING("a NUL \0 inside"),
	STRING("\x01\x1F\x7F\r\n"),
	BYTES(""),
	BYTES("\0"),
	BYTES("\x00\x01\x7F\x80\xFE\xFF"),
	BYTES("seven..") /* every length modulo 4 but one */,
};

/* Both zeroes, one, least and most, subnormal, infinities, quiet NaNs with a payload. */
static const struct mote_value float_extremes[] = {
	F32(0x00000000),         F32(0x3F800000),         F32(0x00800000),
	F32(0x7F7FFFFF),         F32(0xFF7FFFFF),         F32(0x00000001),
	F32(0x7F800000),         F32(0xFF800000),         F32(0x7FC12345),
	F64(0x0000000000000000), F64(0x3FF0000000000000), F64(0x0010000000000000),
	F64(0x7FEFFFFFFFFFFFFF), F64(0xFFEFFFFFFFFFFFFF), F64(0x0000000000000001),
	F64(0x7FF0000000000000), F64(0xFFF0000000000000), F64(0x7FF8000012345678),
};

static const struct kind *kind_of(uint32_t type)
{
	for (size_t i = 0; i < COUNT(kinds); i++)
		if (kinds[i].type == type)
			return &kinds[i];
	check_failed(__FILE__, __LINE__, "no type %u", type);
}

static int is_same(const struct mote_value *a, const struct mote_value *b)
{
	if (a->type != b->type)
		return 0;
	switch (a->type) {
	case MOTE_BOOL:
		return a->boolean == b->boolean;
	case MOTE_I32:
	case MOTE_U32:
	case MOTE_F32:
		return a->u32 == b->u32;
	case MOTE_STRING:
	case MOTE_BYTES:
		return a->bytes.len == b->bytes.len &&
		       (a->bytes.len == 0 ||
			memcmp(a->bytes.data, b->bytes.data, a->bytes.len) == 0);
	default:
		return a->u64 == b->u64;
	}
}

/* Call prefix and the name of the type with each value: it must come back. */
static void echo_all(struct rust *r, const char *prefix, const struct mote_value *values,
		     size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct kind *kind = kind_of(values[i].type);
		char name[40];
		(void)snprintf(name, sizeof name, "%s%s", prefix, kind->suffix);
		struct mote_value back = CALL(&r->s, kind->type, name, values[i]);
		if (!is_same(&back, &values[i]))
			check_failed(__FILE__, __LINE__, "%s: value %zu came back as another", name,
				     i);
	}
}

TEST(interop_calls__every_type_and_its_extremes_go_to_the_guest_and_back)
{
	struct rust r;
	RUST(&r);
	echo_all(&r, "Echo", extremes, COUNT(extremes));
	CALL_VOID(&r.s, "Nothing");
	rust_close(&r);
}

TEST(interop_calls__every_type_and_its_extremes_go_to_host_functions_and_back)
{
	struct rust r;
	RUST(&r);
	echo_all(&r, "CallEcho", extremes, COUNT(extremes));
	CALL_VOID(&r.s, "CallNothing");
	CHECK_EQ(system_statistics(&r.s).exits_call, COUNT(extremes) + 1);
	rust_close(&r);
}

TEST(interop_calls__floats_and_their_extremes_go_both_ways_bit_by_bit)
{
	rust_needs_floats();
	struct rust r;
	RUST(&r);
	echo_all(&r, "Echo", float_extremes, COUNT(float_extremes));
	echo_all(&r, "CallEcho", float_extremes, COUNT(float_extremes));
	CHECK_EQ(CALL(&r.s, MOTE_F64, "AddDouble", mote_f64(0.1), mote_f64(0.2)).f64 == 0.1 + 0.2,
		 1);
	/* The guest's encoder leaves out what equals the default, with its sign. */
	struct mote_value zero = CALL(&r.s, MOTE_F64, "EchoDouble", mote_f64(-0.0));
	CHECK_EQ(zero.u64, 0);
	zero = CALL(&r.s, MOTE_F32, "EchoFloat", mote_f32(-0.0f));
	CHECK_EQ(zero.u32, 0);
	rust_close(&r);
}

TEST(interop_calls__additions_wrap_in_the_guest)
{
	struct rust r;
	RUST(&r);
	CHECK_EQ(CALL_I32(&r.s, "Add", mote_i32(2), mote_i32(3)), 5);
	CHECK_EQ(CALL_I32(&r.s, "Add", mote_i32(INT32_MAX), mote_i32(1)), INT32_MIN);
	rust_close(&r);
}

TEST(interop_calls__eleven_parameters_of_mixed_types_arrive_in_order)
{
	struct rust r;
	RUST(&r);
	CHECK_STR(CALL_TEXT(&r.s, "Mixed", mote_i32(-1), mote_u32(UINT32_MAX), mote_i64(INT64_MIN),
			    mote_u64(UINT64_MAX), mote_string("\xC3\xA4|"), mote_bool(1),
			    mote_bytes("\x00\xFFz", 3), mote_i32(8), mote_u32(9), mote_i64(10),
			    mote_string("")),
		  "-1|4294967295|-9223372036854775808|18446744073709551615|\xC3\xA4||true|00ff7a|8|"
		  "9|10|");
	rust_close(&r);
}

TEST(interop_calls__twelve_parameters_are_refused_by_the_guest)
{
	struct rust r;
	RUST(&r);
	struct mote_value twelve[MOTE_MAX_PARAMETERS];
	for (int i = 0; i < MOTE_MAX_PARAMETERS; i++)
		twelve[i] = mote_i32(i);
	struct mote_call call = {.size = sizeof call,
				 .function = "TooMany",
				 .arguments = twelve,
				 .argument_count = 12,
				 .result = MOTE_I32};
	struct ends refusal = {MOTE_EGUEST,
			       "Function TooMany has too many parameters: 12 (max allowed is 11).",
			       .guest_code = 15};
	rust_ends(&r, __FILE__, __LINE__, &refusal, &call);
	/* The most that a host can send: the message is read, and counted before the types are. */
	call.argument_count = MOTE_MAX_PARAMETERS;
	refusal.text = "Function TooMany has too many parameters: 32 (max allowed is 11).";
	rust_ends(&r, __FILE__, __LINE__, &refusal, &call);
	call.function = "Add";
	refusal.text = "Function Add has too many parameters: 32 (max allowed is 11).";
	rust_ends(&r, __FILE__, __LINE__, &refusal, &call);
	rust_close(&r);
}

/* ---- calls that the guest refuses ------------------------------------------------------------ */

TEST(interop_calls__an_unknown_function_is_refused_by_the_guest)
{
	static char long_name[1001];
	struct rust r;
	RUST(&r);
	GUEST_ERROR(&r, 4,
		    "Guest error occurred GuestFunctionNotFound: No handler found for function "
		    "call: \"NoSuchThing\"",
		    MOTE_I32, "NoSuchThing", mote_i32(1));
	GUEST_ERROR(&r, 4, "function call: \"echoint\"", MOTE_I32, "echoint", mote_i32(1));
	GUEST_ERROR(&r, 4, "function call: \"a\\\"b\\\\\"", MOTE_VOID, "a\"b\\");
	GUEST_ERROR(&r, 4, "function call: \"\xC3\xBC\xE2\x82\xAC\"", MOTE_VOID,
		    "\xC3\xBC\xE2\x82\xAC");
	memset(long_name, 'n', sizeof long_name - 1);
	GUEST_ERROR(&r, 4, "function call: \"nnnnnnnn", MOTE_VOID, long_name);
	rust_close(&r);
}

TEST(interop_calls__a_wrong_number_of_arguments_is_refused_by_the_guest)
{
	struct rust r;
	RUST(&r);
	static const char *const text = "Guest error occurred GuestFunctionIncorrecNoOfParameters: "
					"Called function ";
	GUEST_ERROR(&r, 5, text, MOTE_I32, "Add");
	CHECK_HAS(r.s.err.message, "Called function Add with 0 parameters but it takes 2.");
	GUEST_ERROR(&r, 5, text, MOTE_I32, "Add", mote_i32(1));
	CHECK_HAS(r.s.err.message, "Called function Add with 1 parameters but it takes 2.");
	GUEST_ERROR(&r, 5, text, MOTE_I32, "Add", mote_i32(1), mote_i32(2), mote_i32(3));
	CHECK_HAS(r.s.err.message, "Called function Add with 3 parameters but it takes 2.");
	GUEST_ERROR(&r, 5, "Called function Nothing with 1 parameters but it takes 0.", MOTE_VOID,
		    "Nothing", mote_i32(1));
	rust_close(&r);
}

TEST(interop_calls__an_argument_of_each_wrong_type_is_refused_by_the_guest)
{
	struct rust r;
	char text[160];
	RUST(&r);
	for (size_t i = 0; i < COUNT(kinds); i++) {
		struct mote_value value = {.type = kinds[i].type};
		if (value.type == MOTE_STRING || value.type == MOTE_I32)
			continue;
		(void)snprintf(text, sizeof text,
			       "Guest error occurred GuestFunctionParameterTypeMismatch: Expected "
			       "parameter type Int for parameter index 1 of function Add but got "
			       "%s.",
			       kinds[i].abi);
		GUEST_ERROR(&r, 14, text, MOTE_I32, "Add", mote_i32(1), value);
		(void)snprintf(text, sizeof text,
			       "Expected parameter type String for parameter index 0 of function "
			       "EchoString but got %s.",
			       kinds[i].abi);
		GUEST_ERROR(&r, 14, text, MOTE_STRING, "EchoString", value);
	}
	GUEST_ERROR(&r, 14,
		    "Expected parameter type Int for parameter index 0 of function EchoInt "
		    "but got String.",
		    MOTE_I32, "EchoInt", mote_string("1"));
	GUEST_ERROR(&r, 14,
		    "Expected parameter type String for parameter index 0 of function "
		    "EchoString but got Int.",
		    MOTE_STRING, "EchoString", mote_i32(1));
	rust_close(&r);
}

static const struct ends wrong_type = {.code = MOTE_ETYPE,
				       .text = "Failed To Convert Return Value"};

TEST(interop_calls__a_result_of_another_type_than_asked_for_is_an_error_of_the_caller)
{
	struct rust r;
	RUST(&r);
	for (size_t i = 0; i < COUNT(kinds); i++)
		if (kinds[i].type != MOTE_I32)
			ENDS_WITH(&r, &wrong_type, kinds[i].type, "EchoInt", mote_i32(7));
	ENDS_WITH(&r, &wrong_type, MOTE_VOID, "EchoInt", mote_i32(7));
	ENDS_WITH(&r, &wrong_type, MOTE_I32, "Nothing");
	ENDS_WITH(&r, &wrong_type, MOTE_I32, "EchoBytes", mote_bytes("x", 1));
	ENDS_WITH(&r, &wrong_type, MOTE_BYTES, "EchoString", mote_string("x"));
	rust_close(&r);
}

/* The caller is no guest: the names are those of its own interface. */
TEST(interop_calls__a_result_of_another_type_is_named_in_the_callers_words)
{
	struct rust r;
	char text[100];
	RUST(&r);
	for (size_t i = 0; i < COUNT(kinds); i++) {
		if (kinds[i].type == MOTE_I32)
			continue;
		(void)snprintf(text, sizeof text,
			       "Failed To Convert Return Value: the guest answered i32, the caller "
			       "expects %s",
			       mote_type_name(kinds[i].type));
		FAILS(&r.s, MOTE_ETYPE, text, kinds[i].type, "EchoInt", mote_i32(7));
	}
	rust_close(&r);
}

/* ---- errors of the guest's functions --------------------------------------------------------- */

TEST(interop_calls__every_error_code_of_the_guest_has_its_name_in_the_text)
{
	static const struct {
		uint64_t code;
		const char *name;
	} codes[] = {
		{0, "NoError"},
		{2, "UnsupportedParameterType"},
		{3, "GuestFunctionNameNotProvided"},
		{4, "GuestFunctionNotFound"},
		{5, "GuestFunctionIncorrecNoOfParameters"},
		{6, "GispatchFunctionPointerNotSet"},
		{7, "OutbError"},
		{8, "UnknownError"},
		{10, "GsCheckFailed"},
		{11, "TooManyGuestFunctions"},
		{12, "FailureInDlmalloc"},
		{13, "MallocFailed"},
		{14, "GuestFunctionParameterTypeMismatch"},
		{15, "GuestError"},
		{16, "ArrayLengthParamIsMissing"},
		{17, "HostFunctionError"},
	};
	struct rust r;
	char text[100];
	RUST(&r);
	for (size_t i = 0; i < COUNT(codes); i++) {
		(void)snprintf(text, sizeof text, "Guest error occurred %s: no %zu", codes[i].name,
			       i);
		GUEST_ERROR(&r, codes[i].code, text, MOTE_VOID, "Fail", mote_u64(codes[i].code),
			    mote_string(strstr(text, "no ")));
		CHECK_STR(r.s.err.message, text);
	}
	GUEST_ERROR(&r, 15, "Guest error occurred GuestError: ", MOTE_VOID, "Fail", mote_u64(15),
		    mote_string(""));
	CHECK_STR(r.s.err.message, "Guest error occurred GuestError: ");
	GUEST_ERROR(&r, 15, "\xE2\x82\xAC two lines", MOTE_VOID, "Fail", mote_u64(15),
		    mote_string("\xE2\x82\xAC two\nlines"));
	rust_close(&r);
}

/* ---- host functions -------------------------------------------------------------------------- */

TEST(interop_calls__a_missing_host_function_is_error_17_with_its_name)
{
	struct rust r;
	RUST(&r);
	GUEST_ERROR(&r, 17,
		    "Guest error occurred HostFunctionError: HostFunction HostMissing was not "
		    "found",
		    MOTE_I32, "CallNamed", mote_string("HostMissing"), mote_i32(1));
	CHECK_STR(CALL_TEXT(&r.s, "CallSwallow", mote_string("HostMissing")),
		  "code 17: HostFunction HostMissing was not found");
	rust_close(&r);
}

TEST(interop_calls__a_wrong_number_of_arguments_for_a_host_function_is_error_17)
{
	struct rust r;
	RUST(&r);
	GUEST_ERROR(&r, 17,
		    "HostFunctionError: The number of arguments to the function is wrong: got 0 "
		    "expected 1",
		    MOTE_I32, "CallNamed", mote_string("HostEchoInt"), mote_i32(0));
	GUEST_ERROR(&r, 17,
		    "HostFunctionError: The number of arguments to the function is wrong: got 2 "
		    "expected 1",
		    MOTE_I32, "CallNamed", mote_string("HostEchoInt"), mote_i32(3));
	GUEST_ERROR(&r, 17, "The number of arguments to the function is wrong: got 1 expected 0",
		    MOTE_I32, "CallNamed", mote_string("HostNumber"), mote_i32(1));
	rust_close(&r);
}

TEST(interop_calls__an_argument_of_a_wrong_type_for_a_host_function_is_error_17)
{
	struct rust r;
	char name[40];
	RUST(&r);
	for (size_t i = 0; i < COUNT(kinds); i++) {
		const int is_int = kinds[i].type == MOTE_I32;
		(void)snprintf(name, sizeof name, "HostEcho%s", kinds[i].suffix);
		GUEST_ERROR(
			&r, 17,
			is_int ? "HostFunctionError: Failed To Convert Parameter Value "
				 "String(\"s\") to \""
			       : "HostFunctionError: Failed To Convert Parameter Value Int(5) to "
				 "\"",
			MOTE_I32, "CallNamed", mote_string(name), mote_i32(is_int ? 2 : 1));
	}
	GUEST_ERROR(&r, 17, "Failed To Convert Parameter Value Int(5) to \"String\"", MOTE_I32,
		    "CallNamed", mote_string("HostEchoString"), mote_i32(1));
	rust_close(&r);
}

TEST(interop_calls__a_guest_reads_the_names_of_types_as_the_published_host_writes_them)
{
	struct rust r;
	char name[40], text[100];
	RUST(&r);
	for (size_t i = 0; i < COUNT(kinds); i++) {
		const int is_int = kinds[i].type == MOTE_I32;
		(void)snprintf(name, sizeof name, "HostEcho%s", kinds[i].suffix);
		(void)snprintf(text, sizeof text, "Failed To Convert Parameter Value %s to \"%s\"",
			       is_int ? "String(\"s\")" : "Int(5)", kinds[i].native);
		GUEST_ERROR(&r, 17, text, MOTE_I32, "CallNamed", mote_string(name),
			    mote_i32(is_int ? 2 : 1));
	}
	rust_close(&r);
}

TEST(interop_calls__an_answer_of_another_type_than_the_guest_expects_is_error_2)
{
	struct rust r;
	RUST(&r);
	GUEST_ERROR(&r, 2,
		    "Guest error occurred UnsupportedParameterType: Host return value could not be "
		    "converted to expected ",
		    MOTE_STRING, "CallWrongResult", mote_string("HostNumber"));
	GUEST_ERROR(&r, 2, "Host return value could not be converted to expected ", MOTE_STRING,
		    "CallWrongResult", mote_string("HostNothing"));
	rust_close(&r);
}

TEST(interop_calls__a_host_function_that_fails_is_error_17_with_its_text)
{
	struct rust r;
	RUST(&r);
	GUEST_ERROR(&r, 17, "Guest error occurred HostFunctionError: host says no to 7", MOTE_I32,
		    "CallNamed", mote_string("HostFail"), mote_i32(0));
	rust_close(&r);
}

TEST(interop_calls__the_guest_may_go_on_after_a_host_function_failed)
{
	struct rust r;
	RUST(&r);
	CHECK_STR(CALL_TEXT(&r.s, "CallSwallow", mote_string("HostFail")),
		  "code 17: host says no to 7");
	CHECK_STR(CALL_TEXT(&r.s, "CallSwallow", mote_string("HostNumber")), "ok 41");
	CHECK_EQ(CALL_I32(&r.s, "EchoInt", mote_i32(3)), 3);
	rust_close(&r);
}

TEST(interop_calls__many_host_calls_in_one_call_leave_both_buffers_empty_and_zero)
{
	static uint8_t buffers[0x8000];
	const uint64_t base = 0xFFFFFFFFFFFFF000 - 0x48000;
	struct rust r;
	RUST(&r);
	CHECK_EQ(CALL_I32(&r.s, "CallTimes", mote_i32(50)), 49 * 50 / 2);
	CHECK_EQ(system_statistics(&r.s).exits_call, 50);
	CHECK_EQ(CALL_I32(&r.s, "CallMacro", mote_i32(-9)), -9);
	OK(&r.s, mote_sandbox_read(r.s.sandbox, base, buffers, sizeof buffers, &r.s.err));
	for (size_t at = 0; at < sizeof buffers; at++)
		CHECK_EQ(buffers[at], at % 0x4000 == 0 ? 8 : 0);
	rust_close(&r);
}

/* ---- other builds of the guest --------------------------------------------------------------- */

TEST(interop_calls__a_guest_built_with_the_0_16_crates_runs)
{
	struct rust r;
	struct mote_snapshot_info info;
	OPEN(&r.s, "rust-0.16", .add = rust_add);
	rust_ready(&r);
	mote_snapshot_get_info(r.s.snapshot, &info);
	CHECK_STR(info.version_note, "0.16.0");
	echo_all(&r, "Echo", extremes, COUNT(extremes));
	echo_all(&r, "CallEcho", extremes, COUNT(extremes));
	GUEST_ERROR(&r, 17, "HostFunction HostMissing was not found", MOTE_I32, "CallNamed",
		    mote_string("HostMissing"), mote_i32(1));
	ABORTS(&r, 8, "Guest aborted: 8 ", "Panic", mote_string("out of order"));
	CHECK_HAS(r.s.err.message, "out of order");
	rust_close(&r);
}

TEST(interop_calls__a_guest_without_sse_runs_as_the_one_with_it)
{
	struct rust r;
	OPEN(&r.s, "rust-soft", .add = rust_add);
	rust_ready(&r);
	echo_all(&r, "Echo", extremes, COUNT(extremes));
	echo_all(&r, "CallEcho", extremes, COUNT(extremes));
	GUEST_ERROR(&r, 4, "function call: \"EchoFloat\"", MOTE_F32, "EchoFloat", mote_f32(1));
	rust_close(&r);
}
