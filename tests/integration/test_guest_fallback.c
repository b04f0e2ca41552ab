/* SPDX-License-Identifier: MIT */
/*
 * Guests of the SDK as stock guests, in ring 0 (ignore_extensions): what hosts that do not confine
 * would see. Where the kernel emulates ring 0, what needs SSE is skipped.
 */
#include "system.h"

#include <stdio.h>

#define STOCK(...) .snapshot = {.ignore_extensions = 1, .scratch_bytes = 1 << 20, ##__VA_ARGS__}

static void start(struct system *s, const char *what)
{
	int rc = mote_sandbox_start(s->sandbox, 0, &s->err);
	system_skip_if_emulated(s, rc, what);
	OK(s, rc);
}

static struct mote_value try_call(struct system *s, const char *what, const struct mote_call *call)
{
	struct mote_value result;
	int rc = mote_sandbox_call(s->sandbox, call, &result, &s->err);
	system_skip_if_emulated(s, rc, what);
	OK(s, rc);
	return result;
}

TEST(guest_fallback__calls_pass_integers_texts_and_bytes)
{
	struct system s;
	struct mote_snapshot_info info;
	OPEN(&s, "hello", STOCK());
	mote_snapshot_get_info(s.snapshot, &info);
	CHECK(!info.is_confined && info.has_note);
	CHECK_EQ(CALL_I32(&s, "add", mote_i32(-2), mote_i32(5)), 3);
	CHECK_EQ(CALL_I64(&s, "echo_i64", mote_i64(INT64_MIN)), INT64_MIN);
	CHECK_EQ(CALL_U64(&s, "echo_u64", mote_u64(UINT64_MAX)), UINT64_MAX);
	CHECK_EQ(CALL(&s, MOTE_BOOL, "echo_bool", mote_bool(1)).boolean, 1);
	CHECK_STR(CALL_TEXT(&s, "echo_text", mote_string("text \xE2\x82\xAC")),
		  "text \xE2\x82\xAC");
	struct mote_value bytes = CALL(&s, MOTE_BYTES, "echo_bytes", mote_bytes("a\0b", 3));
	CHECK_EQ(bytes.bytes.len, 3);
	CHECK_MEM(bytes.bytes.data, "a\0b", 3);
	CHECK_EQ(CALL_U64(&s, "eleven", mote_i32(1), mote_u32(2), mote_i64(3), mote_u64(4),
			  mote_bool(1), mote_string("A"), mote_string("xy"), mote_bytes("z", 1),
			  mote_i32(10), mote_i32(20), mote_i32(30)),
		 1 + 2 + 3 + 4 + 1 + 'A' + 2 + 1 + 60);
	CALL_VOID(&s, "nothing");
	system_close(&s);
}

TEST(guest_fallback__statics_are_copied_on_write_and_kept)
{
	struct system s;
	OPEN(&s, "hello", STOCK());
	for (int i = 1; i <= 5; i++)
		CHECK_EQ(CALL_I32(&s, "count_up"), i);
	CHECK(system_statistics(&s).frames_used > 4);
	CHECK_EQ(system_statistics(&s).exits_memory, 0);
	system_again(&s);
	CHECK_EQ(CALL_I32(&s, "count_up"), 1);
	system_close(&s);
}

TEST(guest_fallback__host_functions_prints_and_logs_work)
{
	struct system s;
	OPEN(&s, "hello", STOCK(), .sandbox.log_level = MOTE_LOG_INFO);
	CHECK_STR(CALL_TEXT(&s, "greet", mote_string("hey")), "HEY");
	CHECK_HAS(s.logged, "greeting hey");
	CHECK_STR(CALL_TEXT(&s, "try_upper", mote_string("")), "nothing to convert");
	FAILS(&s, MOTE_EGUEST, "HostFunctionError: nothing to convert", MOTE_STRING, "greet",
	      mote_string(""));
	CALL_VOID(&s, "print", mote_string("printed\n"));
	CHECK_STR(s.printed, "printed\n");
	for (int i = 0; i < 20; i++)
		CHECK_STR(CALL_TEXT(&s, "greet", mote_string("again")), "AGAIN");
	system_close(&s);
}

TEST(guest_fallback__refusals_are_the_same)
{
	struct system s;
	OPEN(&s, "hello", STOCK());
	FAILS(&s, MOTE_EGUEST, "Called function add with 1 parameters but it takes 2.", MOTE_I32,
	      "add", mote_i32(1));
	CHECK_EQ(s.err.guest_code, MOTE_GUEST_PARAMETER_COUNT);
	FAILS(&s, MOTE_EGUEST,
	      "Expected parameter type Int for parameter index 0 of function add but got Long.",
	      MOTE_I32, "add", mote_i64(1), mote_i32(1));
	FAILS(&s, MOTE_EGUEST, "No handler found for function call: \"none\"", MOTE_I32, "none");
	CHECK_EQ(CALL_I32(&s, "add", mote_i32(1), mote_i32(1)), 2);
	system_close(&s);
}

TEST(guest_fallback__init_data_random_numbers_and_scratch_work)
{
	struct system s;
	OPEN(&s, "hello", STOCK(.init_data = "given", .init_data_bytes = 5));
	struct mote_value data = CALL(&s, MOTE_BYTES, "init_data");
	CHECK_EQ(data.bytes.len, 5);
	CHECK_MEM(data.bytes.data, "given", 5);
	uint8_t first[16];
	memcpy(first, CALL(&s, MOTE_BYTES, "random_bytes", mote_u32(16)).bytes.data, 16);
	CHECK(memcmp(first, CALL(&s, MOTE_BYTES, "random_bytes", mote_u32(16)).bytes.data, 16));
	system_again(&s);
	CHECK(memcmp(first, CALL(&s, MOTE_BYTES, "random_bytes", mote_u32(16)).bytes.data, 16));
	data = CALL(&s, MOTE_BYTES, "zeros", mote_u32(5000));
	CHECK_EQ(data.bytes.len, 5000);
	for (unsigned i = 0; i < 5000; i++)
		CHECK_EQ(((const uint8_t *)data.bytes.data)[i], 0);
	system_close(&s);
}

/* guest-abi 8.4: six lines. */
static void check_text(const struct mote_error *err, uint32_t vector, uint64_t address)
{
	char text[160];
	static const char *const labels[] = {
		" Faulting Instruction: 0x", " Bytes At Faulting Instruction: [",
		"] Page Fault Address: 0x", " Error code: 0x", " Stack Pointer: 0x"};
	(void)snprintf(text, sizeof text, " | Exception vector: %u Faulting Instruction: 0x%llx ",
		       vector, (unsigned long long)err->instruction_gva);
	CHECK_HAS(err->message, text);
	const char *at = err->message;
	for (unsigned i = 0; i < 5; i++) {
		CHECK_HAS(at, labels[i]);
		at = strstr(at, labels[i]);
	}
	CHECK_EQ(err->vector, vector);
	CHECK_EQ(err->fault_gva, address);
	CHECK_EQ(err->guest_code, 15);
	CHECK_EQ(err->poisoned, 1);
	CHECK(err->stack_gva > 0xFFFFFFFFFFFFE000 && err->stack_gva < 0xFFFFFFFFFFFFEFD0);
}

TEST(guest_fallback__exceptions_have_the_abis_text)
{
	struct system s;
	OPEN(&s, "bad", STOCK());
	FAILS(&s, MOTE_EABORT, "Guest aborted: 15 Exception: PageFault | ", MOTE_I32, "read_null");
	check_text(&s.err, 14, 0);
	system_again(&s);
	FAILS(&s, MOTE_EABORT, "Exception: PageFault | ", MOTE_I32, "read_at",
	      mote_u64(0x123456789000));
	check_text(&s.err, 14, 0x123456789000);
	system_again(&s);
	FAILS(&s, MOTE_EABORT, "Exception: InvalidOpcode | ", MOTE_VOID, "undefined_instruction");
	check_text(&s.err, 6, 0);
	CHECK_HAS(s.err.message, "Instruction: [15, 11, ");
	system_again(&s);
	FAILS(&s, MOTE_EABORT, "Exception: DivideByZero | ", MOTE_I32, "divide", mote_i32(1),
	      mote_i32(0));
	check_text(&s.err, 0, 0);
	system_again(&s);
	FAILS(&s, MOTE_EABORT, "Exception: GeneralProtectionFault | ", MOTE_I32, "non_canonical");
	check_text(&s.err, 13, 0);
	system_close(&s);
}

TEST(guest_fallback__a_jump_to_nowhere_shows_no_bytes)
{
	struct system s;
	OPEN(&s, "bad", STOCK());
	FAILS(&s, MOTE_EABORT, "Bytes At Faulting Instruction: [0, 0, 0, 0, 0, 0, 0, 0]", MOTE_VOID,
	      "jump_to", mote_u64(0x123456789000));
	check_text(&s.err, 14, 0x123456789000);
	system_close(&s);
}

TEST(guest_fallback__aborts_and_errors_are_the_same)
{
	struct system s;
	OPEN(&s, "bad", STOCK());
	FAILS(&s, MOTE_EABORT, "Guest aborted: 42 it is over", MOTE_VOID, "abort_with",
	      mote_u32(42), mote_string("it is over"));
	system_again(&s);
	FAILS(&s, MOTE_EABORT, "The program called exit(3)", MOTE_VOID, "call_exit", mote_i32(3));
	system_again(&s);
	FAILS(&s, MOTE_EABORT, "Assertion failed: condition", MOTE_VOID, "assert_that",
	      mote_bool(0));
	system_close(&s);
}

TEST(guest_fallback__an_error_from_deep_inside_does_not_poison)
{
	struct system s;
	OPEN(&s, "bad", STOCK());
	int rc = MOTE_CALL(s.sandbox, "fail_deep", NULL, &s.err, MOTE_VOID, mote_i32(20));
	system_skip_if_emulated(&s, rc, "an instruction of SSE");
	CHECK_EQ(rc, MOTE_EGUEST);
	CHECK_HAS(s.err.message, "deep: 0 done");
	CHECK_EQ(s.err.guest_code, 77);
	CHECK_EQ(CALL_I32(&s, "count_up"), 1);
	system_close(&s);
}

TEST(guest_fallback__a_stack_overflow_and_an_exhausted_machine_end_the_guest)
{
	struct system s;
	OPEN(&s, "bad", STOCK(.heap_bytes = 8 << 20));
	FAILS(&s, MOTE_EABORT, "Exception: PageFault | ", MOTE_I32, "overflow_stack");
	CHECK_EQ(s.err.fault_gva >> 40, 0xFFFFFE);
	system_again(&s);
	FAILS(&s, MOTE_EABORT, "Guest aborted: 13 Out of physical memory", MOTE_U64,
	      "exhaust_heap");
	CHECK_EQ(s.err.guest_code, 13);
	system_close(&s);
}

TEST(guest_fallback__the_c_library_works)
{
	struct system s;
	OPEN(&s, "libc", STOCK(.heap_bytes = 1 << 20));
	start(&s, "an instruction of the C library");
	struct mote_value result =
		try_call(&s, "an instruction of malloc", CALL_OF("map_pages", MOTE_I32));
	CHECK_EQ(result.i32, 0);
	CHECK_EQ(CALL_I32(&s, "open_error"), 38);
	CHECK_EQ(CALL_I32(&s, "system_call_keeps_registers"), 0);
	CHECK_STR(s.printed, "init 505\n");
	system_close(&s);
}

TEST(guest_fallback__floats_pass)
{
	struct system s;
	OPEN(&s, "floats", STOCK());
	struct mote_value result = try_call(&s, "an instruction of SSE",
					    CALL_OF("mean", MOTE_F64, mote_f32(1), mote_f64(2)));
	CHECK(result.f64 == 1.5);
	result = CALL(&s, MOTE_F64, "four_times", mote_f64(2.5));
	CHECK(result.f64 == 10);
	system_close(&s);
}

TEST(guest_fallback__a_guest_in_cxx_works)
{
	struct system s;
	OPEN(&s, "cxx", STOCK());
	struct mote_value result = try_call(&s, "an instruction of the C++ guest",
					    CALL_OF("area", MOTE_I32, mote_i32(7)));
	CHECK_EQ(result.i32, 49);
	CHECK_EQ(CALL_I32(&s, "next_value"), 42);
	system_close(&s);
}

TEST(guest_fallback__the_host_reads_and_writes_its_memory)
{
	struct system s;
	OPEN(&s, "bad", STOCK());
	CHECK_EQ(CALL_I32(&s, "count_up"), 1);
	struct mote_region heap = {0};
	for (uint32_t i = 0; mote_snapshot_get_region(s.snapshot, i, &heap) == MOTE_OK; i++)
		if (!strcmp(heap.name, "heap"))
			break;
	CHECK_EQ(CALL_I32(&s, "read_at", mote_u64(heap.gva + 4096)), 0);
	OK(&s, mote_sandbox_write(s.sandbox, heap.gva + 4096, "\1\2\3\4", 4, &s.err));
	CHECK_EQ(CALL_I32(&s, "read_at", mote_u64(heap.gva + 4096)), 0x04030201);
	CALL_VOID(&s, "write_at", mote_u64(heap.gva + 4096), mote_i32(99));
	int32_t value;
	OK(&s, mote_sandbox_read(s.sandbox, heap.gva + 4096, &value, 4, &s.err));
	CHECK_EQ(value, 99);
	system_close(&s);
}
