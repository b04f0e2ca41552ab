/* SPDX-License-Identifier: MIT */
/* Calls of guest functions: values, arguments, results, and what a hostile guest leaves in the
 * buffers (guest-abi 7.1 to 7.3). */
#include "world.h"

#include <stdio.h>

#include "core/utf8.h"

static struct world w;

/* ---- good guests ----------------------------------------------------------------------------- */

/* Gives its first argument back. */
static void echo(struct double_machine *m, struct mote__exit *exit)
{
	struct mote_value values[MOTE_MAX_PARAMETERS] = {0};
	const struct mote__call_view call = guest_pop_call(m);
	CHECK_EQ(mote__message_parameters(&call, values), MOTE__MESSAGE_OK);
	guest_return(m, exit, values[0]);
}

static const struct double_guest echoing = {NULL, echo, NULL};

static int call_with(const char *name, uint32_t type, const struct mote_value *arguments,
		     uint32_t count, struct mote_value *result)
{
	const struct mote_call call = {.size = sizeof call,
				       .function = name,
				       .arguments = arguments,
				       .argument_count = count,
				       .result = type};
	return mote_sandbox_call(w.sandbox, &call, result, &w.err);
}

TEST_BOTH(call__every_type_goes_both_ways)
{
	static const struct mote_value rows[] = {
		{MOTE_I32, 0, {.i32 = 0}},
		{MOTE_I32, 0, {.i32 = INT32_MIN}},
		{MOTE_U32, 0, {.u32 = UINT32_MAX}},
		{MOTE_I64, 0, {.i64 = INT64_MIN}},
		{MOTE_U64, 0, {.u64 = UINT64_MAX}},
		{MOTE_F32, 0, {.f32 = -1.5f}},
		{MOTE_F64, 0, {.f64 = 1e300}},
		{MOTE_BOOL, 0, {.boolean = 1}},
		{MOTE_BOOL, 0, {.boolean = 0}},
		{MOTE_STRING, 0, {.string = {"gr\xc3\xbc\xc3\x9f", 6}}},
		{MOTE_STRING, 0, {.string = {"", 0}}},
		{MOTE_BYTES, 0, {.bytes = {"\0\1\2", 3}}},
		{MOTE_BYTES, 0, {.bytes = {NULL, 0}}},
	};
	world_ready(&w, kind, &echoing);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct mote_value result;
		memset(&result, 0x5A, sizeof result);
		OK(&w, call_with("echo", rows[i].type, &rows[i], 1, &result));
		CHECK_EQ(result.type, rows[i].type);
		CHECK_EQ(result.reserved, 0);
		if (result.type == MOTE_STRING)
			CHECK_EQ(result.string.data[result.string.len], 0);
		if (result.type == MOTE_STRING || result.type == MOTE_BYTES) {
			CHECK_EQ(result.bytes.len, rows[i].bytes.len);
			if (result.bytes.len)
				CHECK_MEM(result.bytes.data, rows[i].bytes.data, result.bytes.len);
		} else if (result.type == MOTE_BOOL) {
			CHECK_EQ(result.boolean, rows[i].boolean);
		} else {
			CHECK_EQ(result.u64, rows[i].u64);
		}
	}
	CHECK_EQ(world_statistics(&w).calls, sizeof rows / sizeof rows[0]);
	world_free(&w);
}

static struct {
	char name[300];
	uint32_t count, result;
	struct mote_value values[32];
} seen;

static void look(struct double_machine *m, struct mote__exit *exit)
{
	const struct mote__call_view call = guest_pop_call(m);
	CHECK(call.name.len < sizeof seen.name);
	memcpy(seen.name, call.name.data, call.name.len + 1);
	seen.count = call.count;
	seen.result = call.result;
	CHECK_EQ(mote__message_parameters(&call, seen.values), MOTE__MESSAGE_OK);
	guest_return(m, exit, mote_void());
}

static const struct double_guest looking = {NULL, look, NULL};

TEST_BOTH(call__the_guest_gets_name_arguments_and_expected_type)
{
	struct mote_value arguments[32];
	world_ready(&w, kind, &looking);
	for (int32_t i = 0; i < 32; i++)
		arguments[i] = mote_i32(i * 3);
	OK(&w, call_with("many", MOTE_VOID, arguments, 32, NULL));
	CHECK_STR(seen.name, "many");
	CHECK_EQ(seen.count, 32);
	for (int32_t i = 0; i < 32; i++)
		CHECK(seen.values[i].type == MOTE_I32 && seen.values[i].i32 == i * 3);
	OK(&w, call_with("none", MOTE_VOID, NULL, 0, NULL));
	CHECK(seen.count == 0 && seen.result == MOTE_VOID);
	for (uint32_t type = MOTE_I32; type <= MOTE_BYTES; type++) {
		FAILS(&w, call_with("typed", type, NULL, 0, NULL), MOTE_ETYPE);
		CHECK_EQ(seen.result, type);
	}
	world_free(&w);
}

TEST_BOTH(call__the_macro_fills_a_call)
{
	struct mote_value result;
	world_ready(&w, kind, &echoing);
	OK(&w, MOTE_CALL(w.sandbox, "f", &result, &w.err, MOTE_I32, mote_i32(2), mote_i32(3)));
	CHECK_EQ(result.i32, 2);
	world_free(&w);
}

TEST_BOTH(call__initialises_a_new_guest_first)
{
	struct mote_value result;
	const struct mote_value argument = mote_i32(5);
	world_make(&w, kind, &echoing);
	world_sandbox(&w, NULL);
	CHECK_EQ(mote_sandbox_state(w.sandbox), MOTE_STATE_NEW);
	CHECK_EQ(w.machine->starts, 0);
	OK(&w, call_with("f", MOTE_I32, &argument, 1, &result));
	CHECK_EQ(result.i32, 5);
	CHECK_EQ(mote_sandbox_state(w.sandbox), MOTE_STATE_READY);
	CHECK_EQ(w.machine->starts, 2);
	OK(&w, call_with("f", MOTE_I32, &argument, 1, &result));
	CHECK_EQ(w.machine->starts, 3);
	world_free(&w);
}

TEST_BOTH(call__a_result_lives_until_the_next_call)
{
	struct mote_value first, second;
	const struct mote_value a = mote_string("first"), b = mote_string("second");
	world_ready(&w, kind, &echoing);
	OK(&w, call_with("f", MOTE_STRING, &a, 1, &first));
	/* Not the guest's memory: what the guest writes now does not change it. */
	struct double_buffer out = guest_output(w.machine);
	memset(out.bytes + 8, 0xEE, 256);
	CHECK_STR(first.string.data, "first");
	const uint8_t *at = (const uint8_t *)first.string.data;
	CHECK(at < out.bytes || at >= out.bytes + out.size);
	OK(&w, call_with("f", MOTE_STRING, &b, 1, &second));
	CHECK_STR(second.string.data, "second");
	world_free(&w);
}

TEST_BOTH(call__the_largest_result_fits_the_output)
{
	static uint8_t block[0x4000];
	struct mote_value result;
	world_ready(&w, kind, &echoing);
	for (size_t i = 0; i < sizeof block; i++)
		block[i] = (uint8_t)(i * 31);
	const struct mote_value argument = mote_bytes(block, 0x4000 - 200);
	OK(&w, call_with("f", MOTE_BYTES, &argument, 1, &result));
	CHECK_EQ(result.bytes.len, argument.bytes.len);
	CHECK_MEM(result.bytes.data, block, result.bytes.len);
	world_free(&w);
}

TEST_BOTH(call__without_a_place_for_the_result)
{
	const struct mote_value argument = mote_string("x");
	world_ready(&w, kind, &echoing);
	OK(&w, call_with("f", MOTE_STRING, &argument, 1, NULL));
	world_free(&w);
}

TEST_BOTH(call__a_successful_call_leaves_the_buffers_empty)
{
	uint64_t pointer;
	const struct mote_value argument = mote_string("leave nothing");
	world_ready(&w, kind, &echoing);
	OK(&w, call_with("f", MOTE_STRING, &argument, 1, NULL));
	struct double_buffer out = guest_output(w.machine), in = guest_input(w.machine);
	memcpy(&pointer, out.bytes, 8);
	CHECK_EQ(pointer, 8);
	if (kind == STOCK) {
		for (uint64_t i = 8; i < out.size; i++)
			CHECK(out.bytes[i] == 0 && in.bytes[i] == 0);
	}
	world_free(&w);
}

/* ---- arguments ------------------------------------------------------------------------------- */

#define REFUSES(part, ...)                                                                     \
	do {                                                                                   \
		const struct mote_call c_ = {__VA_ARGS__};                                     \
		struct mote_value untouched = mote_i32(123);                                   \
		unsigned starts = w.machine->starts;                                           \
		FAILS(&w, mote_sandbox_call(w.sandbox, &c_, &untouched, &w.err), MOTE_EINVAL); \
		CHECK_HAS(w.err.message, part);                                                \
		CHECK(untouched.i32 == 123 && w.machine->starts == starts);                    \
		CHECK_EQ(w.err.poisoned, 0);                                                   \
	} while (0)

TEST_BOTH(call__refuses_what_is_no_call)
{
	const size_t size = sizeof(struct mote_call);
	const struct mote_value bad_type = {.type = MOTE_BYTES + 1}, none = mote_void();
	const struct mote_value no_data = {.type = MOTE_BYTES, .bytes = {NULL, 3}};
	const struct mote_value no_text[] = {mote_i32(1), mote_string_of("\xc3", 1)};
	world_ready(&w, kind, &echoing);
	FAILS(&w, mote_sandbox_call(NULL, NULL, NULL, &w.err), MOTE_EINVAL);
	CHECK_STR(w.err.message, "sandbox is NULL");
	FAILS(&w, mote_sandbox_call(w.sandbox, NULL, NULL, &w.err), MOTE_EINVAL);
	CHECK_STR(w.err.message, "call is NULL");
	REFUSES("mote_call.size is 3, at least", .size = 3, .function = "f");
	REFUSES("function has no name", .size = size);
	REFUSES("function has no name", .size = size, .function = "");
	REFUSES("function is not UTF-8", .size = size, .function = "\xff");
	REFUSES("result is 10, at most 9", .size = size, .function = "f", .result = 10);
	REFUSES("argument_count is 33, at most 32", .size = size, .function = "f",
		.argument_count = 33, .arguments = &none);
	REFUSES("arguments is NULL", .size = size, .function = "f", .argument_count = 1);
	REFUSES("type of argument 0 is 0, limits are 1 to 9", .size = size, .function = "f",
		.argument_count = 1, .arguments = &none);
	REFUSES("type of argument 0 is 10, limits are 1 to 9", .size = size, .function = "f",
		.argument_count = 1, .arguments = &bad_type);
	REFUSES("argument 0: data is NULL, len is 3", .size = size, .function = "f",
		.argument_count = 1, .arguments = &no_data);
	REFUSES("argument 1 is not UTF-8", .size = size, .function = "f", .argument_count = 2,
		.arguments = no_text);
	/* And it works after all that. */
	const struct mote_value one = mote_i32(1);
	OK(&w, call_with("f", MOTE_I32, &one, 1, NULL));
	CHECK_EQ(mote_sandbox_call(NULL, NULL, NULL, NULL), MOTE_EINVAL);
	world_free(&w);
}

TEST_BOTH(call__a_larger_struct_must_end_in_zeroes)
{
	struct {
		struct mote_call call;
		uint8_t tail[8];
	} more = {.call = {.size = sizeof more, .function = "f"}};
	world_ready(&w, kind, &looking);
	OK(&w, mote_sandbox_call(w.sandbox, &more.call, NULL, &w.err));
	more.tail[0] = 1;
	FAILS(&w, mote_sandbox_call(w.sandbox, &more.call, NULL, &w.err), MOTE_EINVAL);
	world_free(&w);
}

TEST_BOTH(call__arguments_that_do_not_fit_do_not_reach_the_guest)
{
	static uint8_t block[0x10000];
	char text[120];
	world_ready(&w, kind, &looking);
	struct mote_value argument = mote_bytes(block, 0x4000);
	const struct mote_string name = {"f", 1};
	int64_t need = mote__message_call_bytes(name, &argument, 1);
	snprintf(text, sizeof text,
		 "Not enough space in buffer to push data. Required: %lld, Available: 16376",
		 (long long)need + 8);
	FAILS(&w, call_with("f", MOTE_VOID, &argument, 1, NULL), MOTE_ETOOBIG);
	CHECK_STR(w.err.message, text);
	CHECK_EQ(w.err.poisoned, 0);
	CHECK_EQ(w.machine->starts, 1);
	CHECK_EQ(mote_sandbox_state(w.sandbox), MOTE_STATE_READY);
	/* The most that fits, and a message more. */
	uint64_t most = 0x4000;
	while (argument.bytes.len = most,
	       mote__message_call_bytes(name, &argument, 1) > 0x4000 - 16)
		most--;
	OK(&w, call_with("f", MOTE_VOID, &argument, 1, NULL));
	CHECK_EQ(seen.values[0].bytes.len, most);
	argument.bytes.len = most + 8;
	FAILS(&w, call_with("f", MOTE_VOID, &argument, 1, NULL), MOTE_ETOOBIG);
	OK(&w, call_with("f", MOTE_VOID, NULL, 0, NULL));
	world_free(&w);
}

/* A length that no message has. The bytes are not looked at. */
TEST_BOTH(call__arguments_beyond_any_message_are_too_big)
{
	const struct mote_value argument = mote_bytes("x", 1ull << 31);
	world_ready(&w, kind, &looking);
	FAILS(&w, call_with("f", MOTE_VOID, &argument, 1, NULL), MOTE_ETOOBIG);
	CHECK_EQ(mote_sandbox_state(w.sandbox), MOTE_STATE_READY);
	world_free(&w);
}

/* ---- results --------------------------------------------------------------------------------- */

TEST_BOTH(call__a_result_of_another_type_does_not_poison)
{
	struct mote_value result = mote_i32(123);
	const struct mote_value argument = mote_string("x"), number = mote_i32(4);
	world_ready(&w, kind, &echoing);
	FAILS(&w, call_with("f", MOTE_I32, &argument, 1, &result), MOTE_ETYPE);
	CHECK_STR(w.err.message, "Failed To Convert Return Value: the guest answered string, the "
				 "caller expects i32");
	CHECK(w.err.poisoned == 0 && result.type == MOTE_I32 && result.i32 == 123);
	OK(&w, call_with("f", MOTE_I32, &number, 1, &result));
	CHECK_EQ(result.i32, 4);
	world_free(&w);
}

static uint64_t error_code;
static const char *error_text;

static void fail_call(struct double_machine *m, struct mote__exit *exit)
{
	(void)guest_pop_call(m);
	guest_push_error(m, error_code, error_text);
	double_halt(exit);
}

static const struct double_guest failing = {NULL, fail_call, NULL};

TEST_BOTH(call__an_error_of_the_guest_does_not_poison)
{
	static const struct {
		uint64_t code;
		const char *name;
	} rows[] = {{0, "NoError"},
		    {1, "UnknownError"},
		    {2, "UnsupportedParameterType"},
		    {3, "GuestFunctionNameNotProvided"},
		    {4, "GuestFunctionNotFound"},
		    {5, "GuestFunctionIncorrecNoOfParameters"},
		    {6, "GispatchFunctionPointerNotSet"},
		    {7, "OutbError"},
		    {8, "UnknownError"},
		    {9, "UnknownError"},
		    {10, "GsCheckFailed"},
		    {11, "TooManyGuestFunctions"},
		    {12, "FailureInDlmalloc"},
		    {13, "MallocFailed"},
		    {14, "GuestFunctionParameterTypeMismatch"},
		    {15, "GuestError"},
		    {16, "ArrayLengthParamIsMissing"},
		    {17, "HostFunctionError"},
		    {18, "UnknownError"},
		    {UINT64_MAX, "UnknownError"}};
	world_ready(&w, kind, &failing);
	error_text = "boom";
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char text[100];
		struct mote_value result = mote_i32(123);
		error_code = rows[i].code;
		snprintf(text, sizeof text, "Guest error occurred %s: boom", rows[i].name);
		FAILS(&w, call_with("f", MOTE_I32, NULL, 0, &result), MOTE_EGUEST);
		CHECK_STR(w.err.message, text);
		CHECK_EQ(w.err.guest_code, rows[i].code);
		CHECK(w.err.poisoned == 0 && w.err.has_fault == 0 && result.i32 == 123);
	}
	CHECK_EQ(mote_sandbox_state(w.sandbox), MOTE_STATE_READY);
	CHECK_EQ(call_with("f", MOTE_I32, NULL, 0, NULL), MOTE_EGUEST);
	world_free(&w);
}

TEST_BOTH(call__a_guest_s_text_becomes_one_line_that_fits)
{
	static char text[3001];
	world_ready(&w, kind, &failing);
	error_code = 15;
	error_text = "";
	FAILS(&w, call_with("f", MOTE_I32, NULL, 0, NULL), MOTE_EGUEST);
	CHECK_STR(w.err.message, "Guest error occurred GuestError: ");
	error_text = "two\nlines\twith \033[31mcolour\x7f";
	FAILS(&w, call_with("f", MOTE_I32, NULL, 0, NULL), MOTE_EGUEST);
	CHECK_STR(w.err.message, "Guest error occurred GuestError: two lines with  [31mcolour ");
	for (unsigned i = 0; i < 3000; i += 3)
		memcpy(text + i, "\xe2\x82\xac", 3);
	error_text = text;
	FAILS(&w, call_with("f", MOTE_I32, NULL, 0, NULL), MOTE_EGUEST);
	CHECK(strlen(w.err.message) > 480);
	CHECK(mote__utf8_is_valid(w.err.message, strlen(w.err.message)));
	world_free(&w);
}

static void say_nothing(struct double_machine *m, struct mote__exit *exit)
{
	(void)guest_pop_call(m);
	double_halt(exit);
}

static void stop(struct double_machine *m, struct mote__exit *exit)
{
	(void)guest_pop_call(m);
	guest_push_value(m, mote_i32(8));
	exit->kind = MOTE__EXIT_HALT;
}

TEST(call__hlt_ends_a_call_of_ring_0_too)
{
	const struct double_guest guest = {NULL, stop, NULL};
	struct mote_value result;
	world_ready(&w, STOCK, &guest);
	OK(&w, call_with("f", MOTE_I32, NULL, 0, &result));
	CHECK_EQ(result.i32, 8);
	world_free(&w);
}

TEST(call__hlt_of_a_confined_guest_is_none_of_its_ends)
{
	const struct double_guest guest = {NULL, stop, NULL};
	world_ready(&w, CONFINED, &guest);
	FAILS(&w, call_with("f", MOTE_I32, NULL, 0, NULL), MOTE_EPROTOCOL);
	CHECK_HAS(w.err.message, "HLT");
	CHECK_EQ(mote_sandbox_state(w.sandbox), MOTE_STATE_POISONED);
	world_free(&w);
}

TEST_BOTH(call__no_result_is_an_error_that_does_not_poison)
{
	const struct double_guest guest = {NULL, say_nothing, NULL};
	world_ready(&w, kind, &guest);
	FAILS(&w, call_with("f", MOTE_I32, NULL, 0, NULL), MOTE_EPROTOCOL);
	CHECK_STR(w.err.message, "Unable to pop data from buffer: Stack pointer is out of bounds. "
				 "Stack pointer: 8, Buffer size: 16384");
	CHECK_EQ(w.err.poisoned, 0);
	CHECK_EQ(mote_sandbox_state(w.sandbox), MOTE_STATE_READY);
	world_free(&w);
}

static void push_two(struct double_machine *m, struct mote__exit *exit)
{
	(void)guest_pop_call(m);
	guest_push_value(m, mote_i32(1));
	guest_push_value(m, mote_i32(2));
	double_halt(exit);
}

TEST_BOTH(call__the_last_of_two_results_counts)
{
	const struct double_guest guest = {NULL, push_two, NULL};
	struct mote_value result;
	world_ready(&w, kind, &guest);
	for (unsigned i = 0; i < 3; i++) {
		OK(&w, call_with("f", MOTE_I32, NULL, 0, &result));
		CHECK_EQ(result.i32, 2);
	}
	world_free(&w);
}

TEST_BOTH(call__a_failed_call_leaves_nothing_in_the_buffers)
{
	const struct double_guest guest = {NULL, push_two, NULL};
	uint64_t pointer;
	world_ready(&w, kind, &guest);
	FAILS(&w, call_with("f", MOTE_STRING, NULL, 0, NULL), MOTE_ETYPE);
	struct double_buffer out = guest_output(w.machine), in = guest_input(w.machine);
	memcpy(&pointer, out.bytes, 8);
	CHECK_EQ(pointer, 8);
	memcpy(&pointer, in.bytes, 8);
	CHECK_EQ(pointer, 8);
	for (uint64_t i = 8; kind == STOCK && i < out.size; i++)
		CHECK(out.bytes[i] == 0 && in.bytes[i] == 0);
	world_free(&w);
}

/* ---- hostile buffers ------------------------------------------------------------------------- */

/* What the guest leaves in its output, raw: the stack pointer, then words at offsets. */
static struct {
	uint16_t port;
	uint64_t pointer;
	unsigned count;
	struct {
		uint64_t at, value;
	} words[4];
} mess;

static void make_mess(struct double_machine *m, struct mote__exit *exit)
{
	if (m->step == 0)
		(void)guest_pop_call(m);
	struct double_buffer out = guest_output(m);
	memcpy(out.bytes, &mess.pointer, 8);
	for (unsigned i = 0; i < mess.count; i++)
		memcpy(out.bytes + mess.words[i].at, &mess.words[i].value, 8);
	double_out(exit, mess.port, 0);
}

static const struct double_guest messy = {NULL, make_mess, NULL};

static const struct {
	uint64_t pointer, at, value, at2, value2;
	const char *text;
} messes[] = {
	{0, 0, 0, 0, 0, "Stack pointer is out of bounds. Stack pointer: 0, Buffer size: 16384"},
	{8, 0, 8, 0, 8, "Stack pointer is out of bounds. Stack pointer: 8, Buffer size: 16384"},
	{15, 0, 15, 0, 15, "Stack pointer is out of bounds. Stack pointer: 15,"},
	{16385, 0, 16385, 0, 16385, "Stack pointer is out of bounds. Stack pointer: 16385,"},
	{UINT64_MAX, 0, UINT64_MAX, 0, UINT64_MAX,
	 "Stack pointer is out of bounds. Stack pointer: 18446744073709551615,"},
	{16, 8, 0, 8, 0,
	 "Corrupt buffer back-pointer: element offset 0 is outside valid range [8, 0]."},
	{16, 8, 8, 8, 8,
	 "Corrupt buffer back-pointer: element offset 8 is outside valid range [8, 0]."},
	{64, 56, 49, 56, 49,
	 "Corrupt buffer back-pointer: element offset 49 is outside valid range [8, 48]."},
	{64, 56, 7, 56, 7,
	 "Corrupt buffer back-pointer: element offset 7 is outside valid range [8, 48]."},
	{64, 56, UINT64_MAX, 56, UINT64_MAX,
	 "element offset 18446744073709551615 is outside valid range [8, 48]."},
	{64, 56, 8, 8, UINT32_MAX,
	 "Corrupt buffer size prefix: value 4294967295 overflows when adding 4-byte header."},
	{64, 56, 8, 8, UINT32_MAX - 3,
	 "Corrupt buffer size prefix: value 4294967292 overflows when adding 4-byte header."},
	{64, 56, 8, 8, UINT32_MAX - 4,
	 "flatbuffer claims 4294967295 bytes but the element slot is only 48 bytes."},
	{64, 56, 8, 8, 45, "flatbuffer claims 49 bytes but the element slot is only 48 bytes."},
	/* The slot is right, the message is none. */
	{64, 56, 8, 8, 44, "pop_buffer_into: failed to convert buffer to "},
	{16384, 16376, 8, 8, 0, "pop_buffer_into: failed to convert buffer to "},
};

static void use_mess(size_t i, uint16_t port)
{
	mess.port = port;
	mess.pointer = messes[i].pointer;
	mess.count = 2;
	mess.words[0].at = messes[i].at;
	mess.words[0].value = messes[i].value;
	mess.words[1].at = messes[i].at2;
	mess.words[1].value = messes[i].value2;
}

TEST_BOTH(call__a_malformed_result_does_not_poison)
{
	for (size_t i = 0; i < sizeof messes / sizeof messes[0]; i++) {
		world_ready(&w, kind, &messy);
		use_mess(i, MOTE_ABI_PORT_HALT);
		FAILS(&w, call_with("f", MOTE_I32, NULL, 0, NULL), MOTE_EPROTOCOL);
		CHECK_HAS(w.err.message, messes[i].text);
		CHECK_EQ(w.err.poisoned, 0);
		CHECK_EQ(mote_sandbox_state(w.sandbox), MOTE_STATE_READY);
		world_free(&w);
	}
}

static void check_poisoning_mess(enum world_kind kind, uint16_t port, const char *what)
{
	for (size_t i = 0; i < sizeof messes / sizeof messes[0]; i++) {
		world_ready(&w, kind, &messy);
		use_mess(i, port);
		FAILS(&w, call_with("f", MOTE_I32, NULL, 0, NULL), MOTE_EPROTOCOL);
		CHECK_HAS(w.err.message, what);
		CHECK_HAS(w.err.message, messes[i].text);
		CHECK_EQ(w.err.poisoned, 1);
		CHECK_EQ(mote_sandbox_state(w.sandbox), MOTE_STATE_POISONED);
		world_free(&w);
	}
}

TEST_BOTH(call__a_malformed_log_record_poisons)
{
	check_poisoning_mess(kind, MOTE_ABI_PORT_LOG, "Failed to read guest log data: ");
}

TEST_BOTH(call__a_malformed_host_call_poisons)
{
	check_poisoning_mess(kind, MOTE_ABI_PORT_CALL, "Failed to read host function call: ");
}

TEST_BOTH(call__works_again_after_a_malformed_result)
{
	const struct double_guest good = {NULL, say_nothing, NULL};
	world_ready(&w, kind, &messy);
	use_mess(14, MOTE_ABI_PORT_HALT);
	FAILS(&w, call_with("f", MOTE_I32, NULL, 0, NULL), MOTE_EPROTOCOL);
	w.machine->guest = &echoing;
	const struct mote_value argument = mote_i32(6);
	struct mote_value result;
	OK(&w, call_with("f", MOTE_I32, &argument, 1, &result));
	CHECK_EQ(result.i32, 6);
	w.machine->guest = &good;
	FAILS(&w, call_with("f", MOTE_I32, NULL, 0, NULL), MOTE_EPROTOCOL);
	world_free(&w);
}

/* A stock guest may ruin its input: later calls are refused, the host is not confused. */
static void ruin_input(struct double_machine *m, struct mote__exit *exit)
{
	(void)guest_pop_call(m);
	struct double_buffer in = guest_input(m);
	memcpy(in.bytes, &mess.pointer, 8);
	guest_return(m, exit, mote_void());
}

TEST(call__a_ruined_input_of_a_stock_guest_is_refused)
{
	const struct double_guest guest = {NULL, ruin_input, NULL};
	static const uint64_t pointers[] = {0, 7, 16385, UINT64_MAX};
	for (size_t i = 0; i < 4; i++) {
		world_ready(&w, STOCK, &guest);
		mess.pointer = pointers[i];
		OK(&w, call_with("f", MOTE_VOID, NULL, 0, NULL));
		FAILS(&w, call_with("f", MOTE_VOID, NULL, 0, NULL), MOTE_EPROTOCOL);
		CHECK_HAS(w.err.message,
			  "Unable to push data to buffer: Stack pointer is out of bounds.");
		CHECK_EQ(w.err.poisoned, 0);
		CHECK_EQ(w.machine->starts, 2);
		world_free(&w);
	}
	world_ready(&w, STOCK, &guest);
	mess.pointer = 16384;
	OK(&w, call_with("f", MOTE_VOID, NULL, 0, NULL));
	FAILS(&w, call_with("f", MOTE_VOID, NULL, 0, NULL), MOTE_ETOOBIG);
	CHECK_HAS(w.err.message, "Available: 0");
	world_free(&w);
}

/* ---- hostile messages ------------------------------------------------------------------------ */

static uint8_t raw[4096];
static size_t raw_bytes;

/* Pushes the message, rings, and ends the call once it was served. */
static void push_raw(struct double_machine *m, struct mote__exit *exit)
{
	if (m->step == 0) {
		(void)guest_pop_call(m);
		guest_push(m, raw, raw_bytes);
		double_out(exit, mess.port, 0);
		return;
	}
	guest_return(m, exit, mote_string("done"));
}

static const struct double_guest pushing = {NULL, push_raw, NULL};

static void encode_for(uint16_t port)
{
	const struct mote_value value = mote_string("some text");
	const struct mote__log_record record = {.level = MOTE_LOG_INFO,
						.message = {"a", 1},
						.source = {"b", 1},
						.caller = {"c", 1},
						.file = {"d", 1}};
	int64_t bytes;
	if (port == MOTE_ABI_PORT_HALT)
		bytes = mote__message_encode_result(raw, sizeof raw, &value);
	else if (port == MOTE_ABI_PORT_LOG)
		bytes = mote__message_encode_log(raw, sizeof raw, &record);
	else
		bytes = mote__message_encode_call(raw, sizeof raw, MOTE__CALL_HOST,
						  (struct mote_string){"missing", 7}, MOTE_I32,
						  &value, 1);
	CHECK(bytes > 0);
	raw_bytes = (size_t)bytes;
}

/* Call with the message as it is: a result, or a clean error that poisons unless it is about the
 * result. */
static void try_message(enum world_kind kind)
{
	bool is_result = mess.port == MOTE_ABI_PORT_HALT;
	int rc = call_with("f", MOTE_STRING, NULL, 0, NULL);
	if (rc == MOTE_OK)
		return;
	CHECK(rc == MOTE_EPROTOCOL || (is_result && (rc == MOTE_ETYPE || rc == MOTE_EGUEST)));
	CHECK(w.err.code == rc && w.err.message[0] && w.err.poisoned == !is_result);
	CHECK_EQ(mote_sandbox_state(w.sandbox), is_result ? MOTE_STATE_READY : MOTE_STATE_POISONED);
	if (is_result)
		return;
	world_free(&w);
	world_ready(&w, kind, &pushing);
}

TEST_BOTH(call__survives_every_changed_byte_of_a_message)
{
	static const uint16_t ports[] = {MOTE_ABI_PORT_HALT, MOTE_ABI_PORT_LOG, MOTE_ABI_PORT_CALL};
	static const uint8_t changes[] = {0x01, 0x80, 0xFF};
	world_ready(&w, kind, &pushing);
	for (size_t p = 0; p < 3; p++) {
		encode_for(mess.port = ports[p]);
		CHECK_EQ(call_with("f", MOTE_STRING, NULL, 0, NULL), MOTE_OK);
		for (size_t i = 0; i < raw_bytes * 3; i++) {
			raw[i / 3] ^= changes[i % 3];
			try_message(kind);
			raw[i / 3] ^= changes[i % 3];
		}
	}
	world_free(&w);
}

/* Messages that are cut short, in a slot of just that size. */
TEST_BOTH(call__survives_every_cut_of_a_message)
{
	static const uint16_t ports[] = {MOTE_ABI_PORT_HALT, MOTE_ABI_PORT_LOG, MOTE_ABI_PORT_CALL};
	world_ready(&w, kind, &pushing);
	for (size_t p = 0; p < 3; p++) {
		encode_for(mess.port = ports[p]);
		for (; raw_bytes > 8; raw_bytes--) {
			uint32_t prefix = (uint32_t)raw_bytes - 4;
			memcpy(raw, &prefix, 4);
			try_message(kind);
		}
	}
	world_free(&w);
}
