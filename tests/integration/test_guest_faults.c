/* SPDX-License-Identifier: MIT */
/*
 * Guests that end badly. Each way is an abort, or an exit, that says what happened and where; it
 * poisons its sandbox and nothing else.
 */
#define _GNU_SOURCE
#include "system.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

/* The sandbox is poisoned; another one of the same snapshot works. */
static void check_poisoned(struct system *s)
{
	uint8_t byte;
	CHECK_EQ(s->err.poisoned, 1);
	CHECK_EQ(s->err.category, MOTE_CATEGORY_GUEST);
	CHECK_EQ(mote_sandbox_state(s->sandbox), MOTE_STATE_POISONED);
	FAILS(s, MOTE_ESTATE, "The sandbox was poisoned", MOTE_I32, "count_up");
	CHECK_EQ(mote_sandbox_start(s->sandbox, 0, &s->err), MOTE_ESTATE);
	CHECK_EQ(mote_sandbox_write(s->sandbox, 0x1000, &byte, 1, &s->err), MOTE_ESTATE);
	OK(s, mote_sandbox_read(s->sandbox, 0x1000, &byte, 1, &s->err));
	CHECK_EQ(byte, 0x7F); /* the file header */
	system_again(s);
}

static void check_fault(struct system *s, uint32_t vector, const char *symbol)
{
	CHECK_EQ(s->err.has_fault, 1);
	CHECK_EQ(s->err.vector, vector);
	CHECK_EQ(s->err.guest_code, MOTE_GUEST_ERROR);
	char text[350], name[300];
	CHECK(mote_snapshot_symbolize(s->snapshot, s->err.instruction_gva, name, sizeof name) ==
	      MOTE_OK);
	(void)snprintf(text, sizeof text, " at 0x%llx <%s>",
		       (unsigned long long)s->err.instruction_gva, name);
	CHECK_HAS(s->err.message, text);
	CHECK_HAS(name, symbol);
	check_poisoned(s);
	CHECK_EQ(CALL_I32(s, "count_up"), 1);
	system_again(s);
}

/* ---- memory ---------------------------------------------------------------------------------- */

#define PAGE_FAULT "Guest aborted: 15 Exception: PageFault at 0x"

TEST(guest_faults__null_is_never_mapped)
{
	struct system s;
	OPEN(&s, "bad");
	FAILS(&s, MOTE_EABORT, PAGE_FAULT, MOTE_I32, "read_null");
	CHECK_HAS(s.err.message, ", reading 0x0 in the null page, error code 0x4");
	CHECK_EQ(s.err.fault_gva, 0);
	check_fault(&s, 14, "read_null");
	FAILS(&s, MOTE_EABORT, ", reading 0xfff in the null page", MOTE_I32, "read_at",
	      mote_u64(0xFFF));
	CHECK_EQ(s.err.fault_gva, 0xFFF);
	check_fault(&s, 14, "read_at");
	FAILS(&s, MOTE_EABORT, ", writing 0x8 in the null page, error code 0x6", MOTE_VOID,
	      "write_at", mote_u64(8), mote_i32(1));
	check_fault(&s, 14, "write_at");
	FAILS(&s, MOTE_EABORT, ", executing 0x0 in the null page", MOTE_VOID, "call_null");
	CHECK_EQ(s.err.instruction_gva, 0);
	CHECK(!strchr(s.err.message, '<'));
	CHECK_EQ(s.err.vector, 14);
	check_poisoned(&s);
	system_close(&s);
}

TEST(guest_faults__an_access_over_a_page_boundary_names_the_bad_page)
{
	struct system s;
	struct mote_snapshot_info info;
	struct mote_region region = {0};
	OPEN(&s, "bad");
	mote_snapshot_get_info(s.snapshot, &info);
	for (uint32_t i = 0; i < info.region_count; i++) {
		OK(&s, mote_snapshot_get_region(s.snapshot, i, &region));
		if (!strcmp(region.name, "heap"))
			break;
	}
	CHECK_STR(region.name, "heap");
	const uint64_t end = region.gva + region.bytes;
	CHECK_EQ(CALL_I32(&s, "read_at", mote_u64(end - 4)), 0);
	FAILS(&s, MOTE_EABORT, "unmapped memory", MOTE_I32, "read_at", mote_u64(end - 2));
	CHECK_EQ(s.err.fault_gva, end);
	check_fault(&s, 14, "read_at");
	FAILS(&s, MOTE_EABORT, "unmapped memory", MOTE_VOID, "write_at", mote_u64(end),
	      mote_i32(1));
	check_fault(&s, 14, "write_at");
	FAILS(&s, MOTE_EABORT, "unmapped memory", MOTE_I32, "read_at", mote_u64(region.gva - 4));
	check_fault(&s, 14, "read_at");
	system_close(&s);
}

struct way {
	uint32_t access;
	const char *name, *verb;
};

static const struct way ways[] = {{MOTE_READ, "read_at", "reading"},
				  {MOTE_WRITE, "write_at", "writing"},
				  {MOTE_EXECUTE, "jump_to", "executing"}};

/* The text that a forbidden access to gva ends with. */
static void check_denied(struct system *s, const struct way *way, uint64_t gva, const char *place)
{
	char text[200];
	(void)snprintf(text, sizeof text, ", %s 0x%llx in %s, error code 0x", way->verb,
		       (unsigned long long)gva, place);
	if (way->access == MOTE_READ)
		FAILS(s, MOTE_EABORT, text, MOTE_I32, way->name, mote_u64(gva));
	else if (way->access == MOTE_WRITE)
		FAILS(s, MOTE_EABORT, text, MOTE_VOID, way->name, mote_u64(gva), mote_i32(1));
	else
		FAILS(s, MOTE_EABORT, text, MOTE_VOID, way->name, mote_u64(gva));
	CHECK_EQ(s->err.fault_gva, gva);
	CHECK_EQ(s->err.vector, 14);
	if (way->access == MOTE_EXECUTE)
		CHECK_EQ(s->err.instruction_gva, gva);
	check_poisoned(s);
}

/* What guests may do, apart from what the library says that they may. */
static uint32_t allowed(const char *name)
{
	static const struct {
		const char *name;
		uint32_t access;
	} names[] = {
		{"constants", MOTE_READ},
		{"code", MOTE_READ | MOTE_EXECUTE},
		{"data", MOTE_READ | MOTE_WRITE},
		{"PEB", MOTE_READ},
		{"init data", MOTE_READ},
		{"stack", MOTE_READ | MOTE_WRITE},
		{"heap", MOTE_READ | MOTE_WRITE},
		{"entry code", MOTE_READ | MOTE_EXECUTE},
		{"interrupt stack", MOTE_READ | MOTE_WRITE},
		{"run info", MOTE_READ},
		{"copy window", MOTE_READ},
		{"input buffer", MOTE_READ},
		{"output buffer", MOTE_READ | MOTE_WRITE},
	};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (!strcmp(names[i].name, name))
			return names[i].access;
	return 0;
}

/* Reading and writing may be allowed; then it must work. Executing is tried only where it is not.
 */
static void check_place(struct system *s, const struct mote_region *r, uint64_t offset)
{
	for (unsigned i = 0; i < 3; i++) {
		const struct way *way = &ways[i];
		const uint32_t access = allowed(r->name);
		if (!(access & way->access))
			check_denied(s, way, r->gva + offset, r->name);
		else if (way->access == MOTE_READ)
			(void)CALL_I32(s, way->name, mote_u64(r->gva + offset));
		else if (way->access == MOTE_WRITE && !r->is_cow && strcmp(r->name, "stack"))
			CALL_VOID(s, way->name, mote_u64(r->gva + offset), mote_i32(0));
	}
}

TEST(guest_faults__every_region_can_be_accessed_as_it_says_and_in_no_other_way)
{
	struct system s;
	struct mote_snapshot_info info;
	unsigned closed = 0;
	OPEN(&s, "bad", .snapshot = {.init_data = "data", .init_data_bytes = 4});
	mote_snapshot_get_info(s.snapshot, &info);
	CHECK(info.region_count > 10);
	for (uint32_t i = 0; i < info.region_count; i++) {
		struct mote_region region;
		OK(&s, mote_snapshot_get_region(s.snapshot, i, &region));
		CHECK_EQ(region.is_system ? 0 : region.access, allowed(region.name));
		check_place(&s, &region, 0);
		check_place(&s, &region, region.bytes - 4);
		closed += region.is_system;
	}
	CHECK(closed >= 6);
	system_close(&s);
}

TEST(guest_faults__addresses_of_nothing_are_denied)
{
	struct system s;
	static const uint64_t nothing[] = {
		0x7FFFFFFFF000,     /* end of the lower half */
		0xFFFF800000000000, /* the tables, through themselves: supervisor's */
		0xFFFF804000000000, 0xFFFF804020100000,
		0xFFFFFFFFFFFFEFF8, /* scratch of other hosts */
		0xFFFFFFFFFFFFF000, 0xFFFFFE0000000000,
		0x40000000,         0xFFFFB8000, /* a physical address */
	};
	OPEN(&s, "bad");
	for (size_t i = 0; i < sizeof nothing / sizeof *nothing; i++)
		for (unsigned j = 0; j < 3; j++)
			check_denied(&s, &ways[j], nothing[i], "unmapped memory");
	system_close(&s);
}

TEST(guest_faults__code_constants_and_parameters_cannot_be_written)
{
	struct system s;
	OPEN(&s, "bad");
	FAILS(&s, MOTE_EABORT, " in code, error code 0x7", MOTE_VOID, "write_code");
	check_fault(&s, 14, "write_code");
	FAILS(&s, MOTE_EABORT, " in constants, error code 0x7", MOTE_VOID, "write_constant");
	check_fault(&s, 14, "write_constant");
	FAILS(&s, MOTE_EABORT, " in input buffer, error code 0x7", MOTE_VOID, "write_input",
	      mote_bytes("abc", 3));
	check_fault(&s, 14, "write_input");
	system_close(&s);
}

TEST(guest_faults__data_heap_and_stack_cannot_be_executed)
{
	struct system s;
	OPEN(&s, "bad");
	static const char *const functions[] = {"execute_data", "execute_heap", "execute_stack"};
	static const char *const places[] = {" in data, ", " in heap, ", " in stack, "};
	for (unsigned i = 0; i < 3; i++) {
		FAILS(&s, MOTE_EABORT, ", executing 0x", MOTE_VOID, functions[i]);
		CHECK_HAS(s.err.message, places[i]);
		CHECK_EQ(s.err.error_code & 0x14, 0x14);
		check_poisoned(&s);
	}
	system_close(&s);
}

TEST(guest_faults__a_stack_overflow_names_the_guard)
{
	struct system s;
	OPEN(&s, "bad");
	CHECK_EQ(CALL_I32(&s, "recurse_to", mote_i32(100)), 100 * 99 / 2 + 100);
	FAILS(&s, MOTE_EABORT, " in the guard below the stack (stack overflow)", MOTE_I32,
	      "overflow_stack");
	check_fault(&s, 14, "recurse");
	system_close(&s);
}

TEST(guest_faults__a_larger_stack_allows_deeper_recursion)
{
	struct system s;
	OPEN(&s, "bad", .snapshot.stack_bytes = 4 << 20);
	(void)CALL_I32(&s, "recurse_to", mote_i32(5000));
	FAILS(&s, MOTE_EABORT, "(stack overflow)", MOTE_I32, "overflow_stack");
	check_fault(&s, 14, "recurse");
	system_close(&s);
	OPEN(&s, "bad", .snapshot.stack_bytes = 4096);
	FAILS(&s, MOTE_EABORT, "(stack overflow)", MOTE_I32, "recurse_to", mote_i32(100));
	system_close(&s);
}

/* ---- instructions ---------------------------------------------------------------------------- */

#define V(vector)  (1u << (vector))
#define INVALID    V(6)
#define PROTECTION V(13)
#define EITHER     (V(6) | V(13)) /* it depends on the processor */
#define PASSES     (1u << 31)     /* an emulated processor may not check this */

static const struct {
	const char *name;
	uint32_t vectors;
} instructions[] = {
	{"do_rdmsr", PROTECTION},
	{"do_wrmsr", PROTECTION},
	{"do_wrmsr_fs", PROTECTION},
	{"do_read_cr0", PROTECTION},
	{"do_write_cr0", PROTECTION},
	{"do_read_cr2", PROTECTION},
	{"do_write_cr3", PROTECTION},
	{"do_write_cr4", PROTECTION},
	{"do_write_cr8", PROTECTION},
	{"do_write_dr0", PROTECTION},
	{"do_read_dr7", PROTECTION},
	{"do_xsetbv", EITHER},
	{"do_lgdt", PROTECTION},
	{"do_lidt", PROTECTION},
	{"do_ltr", PROTECTION},
	{"do_lldt", PROTECTION},
	{"do_lmsw", PROTECTION},
	{"do_cli", PROTECTION},
	{"do_sti", PROTECTION},
	{"do_hlt", PROTECTION},
	{"do_invlpg", PROTECTION},
	{"do_swapgs", PROTECTION},
	{"do_clts", PROTECTION},
	{"do_wbinvd", PROTECTION},
	{"do_invd", PROTECTION},
	{"do_rdpmc", EITHER},
	{"do_vmcall", EITHER | PASSES},
	{"do_vmmcall", EITHER | PASSES},
	{"do_vmrun", EITHER},
	{"do_sysret", EITHER},
	{"do_sysenter", EITHER},
	{"do_int80", EITHER},
	{"do_int14", EITHER},
	{"do_int255", EITHER},
	{"do_int3", V(3) | PROTECTION},
	{"do_ud2", INVALID},
	{"do_far_return", PROTECTION},
	{"do_iretq", PROTECTION},
	{"do_load_ss", PROTECTION},
	{"do_load_ds", PROTECTION},
	{"do_divide", V(0)},
	{"do_divide_overflow", V(0)},
	{"do_non_canonical", V(13)},
	{"do_non_canonical_stack", V(12) | V(13)},
	{"do_single_step", V(1)},
	{"do_misaligned", V(17) | PASSES},
	{"do_x87", V(16)},
	{"do_sse", V(19) | PASSES},
	{"do_movaps", PROTECTION},
	{"do_in_serial", PROTECTION},
	{"do_out_exception", PROTECTION},
	{"do_out_frames", PROTECTION},
	{"do_out_high", PROTECTION},
	{"do_out_straddle", PROTECTION},
	{"do_monitor", EITHER},
	{"do_mwait", EITHER},
	{"do_sgdt", PROTECTION},
	{"do_sidt", PROTECTION},
	{"do_str", PROTECTION},
	{"do_sldt", PROTECTION},
	{"do_smsw", PROTECTION},
};

static const char *const vector_names[] = {
	[0] = "DivideByZero",
	[1] = "Debug",
	[3] = "Breakpoint",
	[6] = "InvalidOpcode",
	[12] = "StackSegmentFault",
	[13] = "GeneralProtectionFault",
	[16] = "X87FloatingPointException",
	[17] = "AlignmentCheck",
	[19] = "SIMDFloatingPointException",
};

/* What else the sandbox runs must not be changed by an instruction that passed. */
static void check_passed(struct system *s, const char *name)
{
	check_note("%s passed", name);
	CHECK(CALL_U64(s, "data_address") != 0);
	system_again(s);
}

TEST(guest_faults__instructions_that_ring_3_must_not_run_end_in_an_exception)
{
	struct system s;
	OPEN(&s, "sys_faults");
	for (size_t i = 0; i < sizeof instructions / sizeof *instructions; i++) {
		const char *name = instructions[i].name;
		int rc = mote_sandbox_call(s.sandbox, CALL_OF(name, MOTE_VOID), NULL, &s.err);
		if (rc == MOTE_OK && (instructions[i].vectors & PASSES)) {
			check_passed(&s, name);
			continue;
		}
		if (rc != MOTE_EABORT || !s.err.has_fault || s.err.vector > 31 ||
		    !(instructions[i].vectors & V(s.err.vector)))
			check_note("%s: %s", name, rc < 0 ? s.err.message : "passed");
		CHECK_EQ(rc, MOTE_EABORT);
		CHECK(s.err.has_fault && (instructions[i].vectors & V(s.err.vector)));
		CHECK_HAS(s.err.message, vector_names[s.err.vector]);
		CHECK_HAS(s.err.message, name);
		CHECK_EQ(mote_sandbox_state(s.sandbox), MOTE_STATE_POISONED);
		system_again(&s);
	}
	system_close(&s);
}

TEST(guest_faults__a_processor_that_checks_alignment_and_sse_says_so)
{
	struct system s;
	if (system_is_emulated())
		check_skip("the emulated processor checks neither AC of POPF nor MXCSR of DIVSS");
	OPEN(&s, "sys_faults");
	FAILS(&s, MOTE_EABORT, "Exception: AlignmentCheck", MOTE_VOID, "do_misaligned");
	system_again(&s);
	FAILS(&s, MOTE_EABORT, "Exception: SIMDFloatingPointException", MOTE_VOID, "do_sse");
	system_close(&s);
}

TEST(guest_faults__in_from_an_open_port_ends_the_guest)
{
	struct system s;
	OPEN(&s, "sys_faults");
	FAILS(&s, MOTE_EPROTOCOL, "Unexpected VM exit: IN from port 108", MOTE_VOID, "do_in_open");
	CHECK_EQ(s.err.poisoned, 1);
	CHECK_EQ(s.err.has_fault, 0);
	system_again(&s);
	FAILS(&s, MOTE_EPROTOCOL, "Unexpected VM exit: IN from port 108", MOTE_VOID, "do_ins");
	system_close(&s);
}

TEST(guest_faults__flags_of_the_system_cannot_be_set)
{
	struct system s;
	OPEN(&s, "sys_faults");
	uint64_t flags = CALL_U64(&s, "flags_that_stick");
	CHECK_EQ(flags & 0x3000, 0); /* IOPL */
	CHECK_EQ(CALL_U64(&s, "flags_that_stick"), flags);
	system_close(&s);
}

/* Nested task, alignment check, direction, and all: the stub's and the copy routine's IRETQ work.
 */
TEST(guest_faults__faults_that_are_resolved_keep_odd_flags)
{
	struct system s;
	OPEN(&s, "sys_faults", .snapshot.heap_bytes = 1 << 20);
	static const uint64_t flags[] = {0x2, 0x4002, 0x40002, 0x402, 0x44CD7, 0x200002};
	const uint64_t data = CALL_U64(&s, "data_address");
	struct mote_region heap = {0};
	for (uint32_t i = 0; mote_snapshot_get_region(s.snapshot, i, &heap) == MOTE_OK; i++)
		if (!strcmp(heap.name, "heap"))
			break;
	for (unsigned i = 0; i < sizeof flags / sizeof *flags; i++) {
		CHECK_EQ(CALL_I32(&s, "faults_with_odd_flags", mote_u64(data + (40 + i) * 4096),
				  mote_u64(flags[i])),
			 77);
		CHECK_EQ(CALL_I32(&s, "faults_with_odd_flags", mote_u64(heap.gva + i * 4096),
				  mote_u64(flags[i])),
			 77);
	}
	system_close(&s);
}

/* ---- ends that the program asks for ---------------------------------------------------------- */

TEST(guest_faults__an_abort_carries_code_and_text)
{
	struct system s;
	OPEN(&s, "bad");
	FAILS(&s, MOTE_EABORT, "Guest aborted: 42 it is over", MOTE_VOID, "abort_with",
	      mote_u32(42), mote_string("it is over"));
	CHECK_EQ(s.err.guest_code, 42);
	CHECK_EQ(s.err.has_fault, 0);
	check_poisoned(&s);
	FAILS(&s, MOTE_EABORT, "Guest aborted: 0 ", MOTE_VOID, "abort_with", mote_u32(0),
	      mote_string(""));
	check_poisoned(&s);
	char text[1025];
	memset(text, 'y', 1024);
	text[1024] = 0;
	FAILS(&s, MOTE_EABORT, "Guest aborted: 7 yyyyyy", MOTE_VOID, "abort_with", mote_u32(7),
	      mote_string(text));
	check_poisoned(&s);
	FAILS(&s, MOTE_EABORT, "Guest aborted: 7 a b \xE2\x82\xAC", MOTE_VOID, "abort_with",
	      mote_u32(7), mote_string("a\nb\t\xE2\x82\xAC"));
	check_poisoned(&s);
	system_close(&s);
}

TEST(guest_faults__assert_exit_abort_and_the_stack_protector_end_the_guest)
{
	struct system s;
	OPEN(&s, "bad");
	CALL_VOID(&s, "assert_that", mote_bool(1));
	FAILS(&s, MOTE_EABORT, "Guest aborted: 8 Assertion failed: condition (", MOTE_VOID,
	      "assert_that", mote_bool(0));
	check_poisoned(&s);
	FAILS(&s, MOTE_EABORT, "Guest aborted: 3 The program called exit(3)", MOTE_VOID,
	      "call_exit", mote_i32(3));
	CHECK_EQ(s.err.guest_code, 3);
	check_poisoned(&s);
	FAILS(&s, MOTE_EABORT, "Guest aborted: 0 The program called abort()", MOTE_VOID,
	      "call_abort");
	check_poisoned(&s);
	FAILS(&s, MOTE_EABORT, "Guest aborted: 10 Stack smashing detected", MOTE_VOID,
	      "smash_stack");
	check_poisoned(&s);
	system_close(&s);
}

TEST(guest_faults__an_error_from_deep_inside_does_not_poison)
{
	struct system s;
	OPEN(&s, "bad");
	for (int i = 0; i < 3; i++) {
		FAILS(&s, MOTE_EGUEST, "deep: 0 done", MOTE_VOID, "fail_deep", mote_i32(50));
		CHECK_EQ(s.err.guest_code, 77);
	}
	CHECK_EQ(CALL_I32(&s, "count_up"), 1);
	system_close(&s);
}

TEST(guest_faults__memory_max_ends_a_guest_that_wants_more)
{
	struct system s;
	OPEN(&s, "bad", .snapshot.heap_bytes = 16 << 20, .sandbox.memory_max = 1 << 20);
	CHECK_EQ(CALL_I32(&s, "count_up"), 1);
	FAILS(&s, MOTE_EABORT,
	      "Guest aborted: 13 Out of physical memory (256 frames of 4096 bytes taken; "
	      "memory_max",
	      MOTE_U64, "exhaust_heap");
	CHECK_EQ(s.err.guest_code, MOTE_GUEST_MALLOC_FAILED);
	CHECK_EQ(system_statistics(&s).frames_used, 256);
	CHECK_EQ(system_statistics(&s).frames_max, 256);
	check_poisoned(&s);
	system_close(&s);
}

/* ---- cancelling ------------------------------------------------------------------------------ */

static uint64_t now_ns(void)
{
	struct timespec t;
	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

TEST(guest_faults__a_timeout_ends_an_endless_loop)
{
	struct system s;
	OPEN(&s, "bad");
	OK(&s, mote_sandbox_start(s.sandbox, 1000000000, &s.err));
	struct mote_call call = *CALL_OF("loop_forever", MOTE_VOID);
	call.timeout_ns = 30000000;
	uint64_t start = now_ns();
	CHECK_EQ(mote_sandbox_call(s.sandbox, &call, NULL, &s.err), MOTE_ECANCELED);
	uint64_t took = now_ns() - start;
	check_note("30 ms took %llu us", (unsigned long long)took / 1000);
	CHECK(took >= 30000000 && took < 3000000000u);
	CHECK_STR(s.err.message, "Execution was cancelled by the host.");
	check_poisoned(&s);
	system_close(&s);
}

TEST(guest_faults__a_timeout_that_is_not_reached_does_nothing)
{
	struct system s;
	sigset_t pending;
	OPEN(&s, "bad");
	struct mote_call call = *CALL_OF("count_up", MOTE_I32);
	call.timeout_ns = 10000000000u;
	for (int i = 1; i <= 50; i++) {
		struct mote_value result;
		OK(&s, mote_sandbox_call(s.sandbox, &call, &result, &s.err));
		CHECK_EQ(result.i32, i);
	}
	call.timeout_ns = UINT64_MAX;
	OK(&s, mote_sandbox_call(s.sandbox, &call, NULL, &s.err));
	CHECK(sigpending(&pending) == 0 && !sigismember(&pending, SIGRTMIN));
	system_close(&s);
}

TEST(guest_faults__a_timeout_too_short_to_begin_cancels)
{
	struct system s;
	OPEN(&s, "bad");
	struct mote_call call = *CALL_OF("count_up", MOTE_I32);
	call.timeout_ns = 1;
	CHECK_EQ(mote_sandbox_call(s.sandbox, &call, NULL, &s.err), MOTE_ECANCELED);
	check_poisoned(&s);
	CHECK_EQ(mote_sandbox_start(s.sandbox, 1, &s.err), MOTE_ECANCELED);
	check_poisoned(&s);
	system_close(&s);
}

static void *send_later(void *cookie)
{
	mote_interrupt *interrupt = cookie;
	for (int i = 0; i < 5000; i++) {
		const struct timespec wait = {.tv_nsec = 2000000};
		(void)nanosleep(&wait, NULL);
		if (mote_interrupt_send(interrupt))
			return interrupt;
	}
	return NULL;
}

TEST(guest_faults__an_interrupt_of_another_thread_ends_an_endless_loop)
{
	struct system s;
	pthread_t thread;
	void *sent;
	OPEN(&s, "bad");
	OK(&s, mote_sandbox_start(s.sandbox, 0, &s.err));
	mote_interrupt *interrupt = mote_sandbox_interrupt(s.sandbox);
	CHECK_EQ(mote_interrupt_send(interrupt), 0);
	CHECK(pthread_create(&thread, NULL, send_later, interrupt) == 0);
	struct mote_call call = *CALL_OF("loop_forever", MOTE_VOID);
	call.timeout_ns = 20000000000u;
	int rc = mote_sandbox_call(s.sandbox, &call, NULL, &s.err);
	CHECK(pthread_join(thread, &sent) == 0);
	CHECK_EQ(rc, MOTE_ECANCELED);
	CHECK(sent);
	check_poisoned(&s);
	CHECK_EQ(mote_interrupt_send(interrupt), 0);
	mote_interrupt_unref(interrupt);
	system_close(&s);
}
