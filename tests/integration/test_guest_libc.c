/* SPDX-License-Identifier: MIT */
/* The C library and C++ inside guests: heap, streams, clocks, random numbers, ways to end. */
#define _GNU_SOURCE
#include "system.h"

#include <errno.h>
#include <time.h>

/* ---- heap ------------------------------------------------------------------------------------ */

TEST(guest_libc__random_allocations_keep_their_contents)
{
	struct system s;
	OPEN(&s, "libc", .snapshot.heap_bytes = 4 << 20);
	const uint32_t seed = (uint32_t)time(NULL);
	check_note("seed %u", seed);
	CHECK_EQ(CALL_I32(&s, "stress_memory", mote_u32(seed), mote_u32(3000)), 0);
	CHECK_EQ(CALL_I32(&s, "stress_memory", mote_u32(1), mote_u32(3000)), 0);
	system_close(&s);
}

TEST(guest_libc__allocations_that_fail_leave_the_rest_intact)
{
	struct system s;
	OPEN(&s, "libc", .snapshot.heap_bytes = 256 << 10);
	for (uint32_t seed = 0; seed < 5; seed++)
		CHECK_EQ(CALL_I32(&s, "stress_memory", mote_u32(seed), mote_u32(1000)), 0);
	system_close(&s);
}

TEST(guest_libc__pages_are_mapped_and_unmapped)
{
	struct system s;
	OPEN(&s, "libc", .snapshot.heap_bytes = 1 << 20);
	CHECK_EQ(CALL_I32(&s, "map_pages"), 0);
	CHECK_EQ(CALL_I32(&s, "map_pages"), 0);
	system_close(&s);
}

TEST(guest_libc__an_exhausted_heap_is_null_for_malloc)
{
	struct system s;
	OPEN(&s, "bad", .snapshot.heap_bytes = 1 << 20);
	uint64_t got = CALL_U64(&s, "exhaust_heap");
	check_note("%llu of %u bytes", (unsigned long long)got, 1u << 20);
	CHECK(got > (1 << 20) / 2 && got <= 1 << 20);
	CHECK_EQ(CALL_I32(&s, "count_up"), 1);
	system_close(&s);
}

TEST(guest_libc__exhausted_scratch_ends_the_call_only)
{
	struct system s;
	OPEN(&s, "bad", .snapshot.heap_bytes = 1 << 20);
	for (int i = 0; i < 3; i++) {
		FAILS(&s, MOTE_EGUEST,
		      "Guest error occurred MallocFailed: No memory for mote_guest_scratch()",
		      MOTE_VOID, "exhaust_scratch");
		CHECK_EQ(s.err.guest_code, MOTE_GUEST_MALLOC_FAILED);
	}
	CHECK(CALL_U64(&s, "exhaust_heap") > 100000);
	system_close(&s);
}

TEST(guest_libc__a_heap_of_one_byte_or_nothing_to_take_is_no_trouble)
{
	struct system s;
	OPEN(&s, "bad", .snapshot.heap_bytes = 1);
	CHECK_EQ(CALL_U64(&s, "exhaust_heap"), 0);
	CHECK_EQ(CALL_I32(&s, "count_up"), 1);
	system_close(&s);
}

TEST(guest_libc__sorts)
{
	struct system s;
	OPEN(&s, "libc");
	const int32_t numbers[] = {5, -3, 9, 0, 2147483647, -2147483647, 1};
	const int32_t sorted[] = {-2147483647, -3, 0, 1, 5, 9, 2147483647};
	struct mote_value result =
		CALL(&s, MOTE_BYTES, "sort", mote_bytes(numbers, sizeof numbers));
	CHECK_EQ(result.bytes.len, sizeof sorted);
	CHECK_MEM(result.bytes.data, sorted, sizeof sorted);
	system_close(&s);
}

/* ---- the program ----------------------------------------------------------------------------- */

TEST(guest_libc__constructors_run_once_before_init)
{
	struct system s;
	OPEN(&s, "libc");
	CHECK_EQ(CALL_I32(&s, "constructed_value"), 505);
	CHECK_EQ(CALL_I32(&s, "constructed_value"), 505);
	CHECK_EQ(CALL_I32(&s, "thread_local_value"), 6);
	CHECK_EQ(CALL_I32(&s, "thread_local_value"), 7);
	CHECK_STR(s.printed, "init 505\n");
	system_close(&s);
}

TEST(guest_libc__streams_are_printed_by_the_end_of_the_call)
{
	struct system s;
	OPEN(&s, "libc");
	OK(&s, mote_sandbox_start(s.sandbox, 0, &s.err));
	s.printed[0] = 0;
	CHECK_EQ(CALL_I32(&s, "print_number", mote_string("pi"), mote_f64(3.14159)), 13);
	CHECK_HAS(s.printed, "pi=3.142\n");
	CHECK_HAS(s.printed, "err\n");
	s.printed[0] = 0;
	CHECK_EQ(CALL_I32(&s, "print_lines", mote_i32(200)), 200);
	CHECK_HAS(s.printed, "line 0\nline 1\n");
	CHECK_HAS(s.printed, "line 198\nline 199\n");
	s.printed[0] = 0;
	FAILS(&s, MOTE_EGUEST, "after before", MOTE_VOID, "print_and_fail", mote_string("before"));
	CHECK_STR(s.printed, "before");
	s.printed[0] = 0;
	CHECK_EQ(CALL_I64(&s, "write_raw",
			  mote_bytes("a\xFF"
				     "b\0c",
				     5)),
		 5);
	CHECK_HAS(s.printed, "a\xEF\xBF\xBD"
			     "b");
	system_close(&s);
}

TEST(guest_libc__numbers_jumps_and_system_calls_work)
{
	struct system s;
	OPEN(&s, "libc");
	CHECK(CALL(&s, MOTE_F64, "parse", mote_string("-12.5e2")).f64 == -1250);
	CHECK(CALL(&s, MOTE_F64, "root", mote_f64(16)).f64 == 8);
	CHECK_EQ(CALL_I32(&s, "jump", mote_i32(9)), 9);
	CHECK_EQ(CALL_I32(&s, "open_error"), ENOSYS);
	CHECK_EQ(CALL_I32(&s, "system_call_keeps_registers"), 0);
	system_close(&s);
}

static uint64_t now_ns(clockid_t clock)
{
	struct timespec t;
	(void)clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

TEST(guest_libc__the_clocks_are_the_hosts)
{
	struct system s;
	OPEN(&s, "libc");
	for (int i = 0; i < 100; i++) {
		int64_t before = (int64_t)(now_ns(CLOCK_REALTIME) / 1000000000u);
		int64_t seconds = CALL_I64(&s, "now_seconds");
		int64_t after = (int64_t)(now_ns(CLOCK_REALTIME) / 1000000000u);
		CHECK(seconds >= before && seconds <= after + 1);
	}
	system_close(&s);
}

TEST(guest_libc__time_passes_during_a_call_as_outside)
{
	struct system s;
	OPEN(&s, "libc");
	CHECK(CALL_I64(&s, "elapsed_ns") >= 0);
	uint64_t start = now_ns(CLOCK_MONOTONIC);
	int64_t inside = CALL_I64(&s, "sleep_ns", mote_i64(30000000));
	int64_t outside = (int64_t)(now_ns(CLOCK_MONOTONIC) - start);
	check_note("slept %lld ns inside, %lld outside", (long long)inside, (long long)outside);
	if (inside == 0) {
		system_close(&s);
		check_skip("the hypervisor tells no frequency of the time stamp counter");
	}
	CHECK(inside >= 30000000);
	CHECK(outside >= 29000000);
	CHECK(inside <= outside + 1000000);
	system_close(&s);
}

TEST(guest_libc__random_numbers_differ_between_calls_and_sandboxes)
{
	struct system s;
	uint8_t seen[6][32];
	OPEN(&s, "hello");
	for (unsigned i = 0; i < 6; i++) {
		if (i == 3)
			system_again(&s);
		struct mote_value result = CALL(&s, MOTE_BYTES, "random_bytes", mote_u32(32));
		CHECK_EQ(result.bytes.len, 32);
		memcpy(seen[i], result.bytes.data, 32);
		for (unsigned j = 0; j < i; j++)
			CHECK(memcmp(seen[i], seen[j], 32) != 0);
	}
	uint64_t generation = CALL_U64(&s, "generation");
	CHECK_EQ(CALL_U64(&s, "generation"), generation);
	system_again(&s);
	CHECK(CALL_U64(&s, "generation") != generation);
	system_close(&s);
	OPEN(&s, "libc");
	uint64_t a = CALL_U64(&s, "random_number"), b = CALL_U64(&s, "random_number");
	CHECK(a != b && a && b);
	system_close(&s);
}

/* ---- C++ ------------------------------------------------------------------------------------- */

TEST(guest_libc__a_guest_in_cxx_works)
{
	struct system s;
	OPEN(&s, "cxx");
	CHECK_EQ(CALL_I32(&s, "area", mote_i32(7)), 49);
	CHECK_EQ(CALL_I64(&s, "larger_of", mote_i64(-5), mote_i64(3)), 3);
	CHECK_EQ(CALL_I32(&s, "global_value"), 42);
	CHECK_EQ(CALL_I32(&s, "next_value"), 42);
	CHECK_EQ(CALL_I32(&s, "next_value"), 43);
	CHECK_EQ(CALL(&s, MOTE_BOOL, "negate", mote_bool(0)).boolean, 1);
	CHECK_STR(CALL_TEXT(&s, "shout", mote_string("hey")), "HEY");
	CHECK_STR(CALL_TEXT(&s, "try_shout", mote_string("")), "nothing to convert");
	FAILS(&s, MOTE_EGUEST, "nothing to convert", MOTE_STRING, "shout", mote_string(""));
	CHECK_EQ(CALL_I32(&s, "area", mote_i32(3)), 9);
	FAILS(&s, MOTE_EGUEST, "MallocFailed: No memory for new: 1099511627776 bytes", MOTE_VOID,
	      "new_too_much");
	system_close(&s);
}
