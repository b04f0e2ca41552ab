/* SPDX-License-Identifier: MIT */
/* How guests end: aborts in chunks (guest-abi 6.2), exceptions of confined guests, and running out
 * of frames. */
#include "world.h"

#include <stdio.h>

#include "core/confined.h"
#include "core/utf8.h"

static struct world w;

static struct {
	const void *bytes;
	size_t len;
} sent;

static void send_abort(struct double_machine *m, struct mote__exit *exit)
{
	if (m->step == 0)
		(void)guest_pop_call(m);
	(void)double_abort(exit, sent.bytes, sent.len, m->step);
}

static const struct double_guest aborting = {NULL, send_abort, NULL};

/* Let a fresh guest abort with bytes. */
static void abort_with(enum world_kind kind, const void *bytes, size_t len)
{
	world_ready(&w, kind, &aborting);
	sent.bytes = bytes;
	sent.len = len;
	FAILS(&w, world_call(&w, MOTE_VOID, NULL), MOTE_EABORT);
	CHECK_EQ(w.err.poisoned, 1);
	CHECK_EQ(mote_sandbox_state(w.sandbox), MOTE_STATE_POISONED);
	CHECK(mote__utf8_is_valid(w.err.message, strlen(w.err.message)));
}

#define ABORTS(bytes, len, code, text)            \
	do {                                      \
		abort_with(kind, bytes, len);     \
		CHECK_EQ(w.err.guest_code, code); \
		CHECK_STR(w.err.message, text);   \
		world_free(&w);                   \
	} while (0)

TEST_BOTH(abort__has_a_code_and_a_text)
{
	ABORTS("\x0dHi", 3, 13, "Guest aborted: 13 Hi");
	ABORTS("\x0d", 1, 13, "Guest aborted: 13 ");
	ABORTS("", 0, 0, "Guest aborted: 0 ");
	ABORTS("\0", 1, 0, "Guest aborted: 0 ");
	ABORTS("\xfeget out", 8, 254, "Guest aborted: 254 get out");
	ABORTS("\x08 ", 2, 8, "Guest aborted: 8  ");
}

TEST_BOTH(abort__chunks_of_every_length_are_the_same)
{
	char text[40] = "\x08", expected[80];
	for (size_t len = 1; len < 12; len++) {
		text[len] = (char)('a' + len);
		snprintf(expected, sizeof expected, "Guest aborted: 8 %s", text + 1);
		ABORTS(text, len + 1, 8, expected);
	}
}

TEST_BOTH(abort__names_exceptions)
{
	static const char *const names[] = {"DivideByZero",
					    "Debug",
					    "NonMaskableInterrupt",
					    "Breakpoint",
					    "Overflow",
					    "BoundRangeExceeded",
					    "InvalidOpcode",
					    "DeviceNotAvailable",
					    "DoubleFault",
					    "CoprocessorSegmentOverrun",
					    "InvalidTSS",
					    "SegmentNotPresent",
					    "StackSegmentFault",
					    "GeneralProtectionFault",
					    "PageFault",
					    "Reserved",
					    "X87FloatingPointException",
					    "AlignmentCheck",
					    "MachineCheck",
					    "SIMDFloatingPointException",
					    "VirtualizationException"};
	char bytes[3] = {15, 0, 'x'}, expected[80];
	for (int vector = 0; vector <= 20; vector++) {
		bytes[1] = (char)vector;
		snprintf(expected, sizeof expected, "Guest aborted: 15 Exception: %s | x",
			 names[vector]);
		ABORTS(bytes, 3, 15, expected);
	}
	ABORTS("\x0f\x1e", 2, 15, "Guest aborted: 15 Exception: SecurityException | ");
	/* Others are text: on one line. */
	ABORTS("\x0f\x15!", 3, 15, "Guest aborted: 15  !");
	ABORTS("\x0f\x1d!", 3, 15, "Guest aborted: 15  !");
	ABORTS("\x0f\x1f!", 3, 15, "Guest aborted: 15  !");
}

TEST_BOTH(abort__the_text_of_a_stock_exception_is_read)
{
	static const char bytes[] = "\x0f\x0e"
				    "Exception vector: 14\n"
				    "Faulting Instruction: 0x2f31\n"
				    "Bytes At Faulting Instruction: [1, 2, 3, 4, 5, 6, 7, 8]\n"
				    "Page Fault Address: 0xdead000\n"
				    "Error code: 0x6\n"
				    "Stack Pointer: 0xfffffffffffeed00";
	abort_with(kind, bytes, sizeof bytes - 1);
	CHECK_HAS(w.err.message, "Guest aborted: 15 Exception: PageFault | Exception vector: 14 ");
	CHECK_EQ(w.err.has_fault, 1);
	CHECK_EQ(w.err.vector, 14);
	CHECK_EQ(w.err.error_code, 6);
	CHECK_EQ(w.err.fault_gva, 0xdead000);
	CHECK_EQ(w.err.instruction_gva, 0x2f31);
	CHECK_EQ(w.err.stack_gva, 0xfffffffffffeed00);
	world_free(&w);
}

TEST_BOTH(abort__an_exception_without_numbers_has_zeroes)
{
	abort_with(kind,
		   "\x0f\x06"
		   "Error code: zzz",
		   17);
	CHECK(w.err.has_fault == 1 && w.err.vector == 6);
	CHECK(w.err.error_code == 0 && w.err.instruction_gva == 0 && w.err.fault_gva == 0);
	world_free(&w);
}

TEST_BOTH(abort__bytes_that_are_not_utf8_are_replaced)
{
	ABORTS("\x08"
	       "a\x80z",
	       4, 8, "Guest aborted: 8 a\xef\xbf\xbdz");
	ABORTS("\x08\xe2\x82", 3, 8, "Guest aborted: 8 \xef\xbf\xbd\xef\xbf\xbd");
	ABORTS("\x08one\ntwo\x7f\0three", 15, 8, "Guest aborted: 8 one two  three");
}

TEST_BOTH(abort__a_long_text_is_cut_between_characters)
{
	static uint8_t bytes[1000];
	for (size_t shift = 0; shift < 4; shift++) {
		bytes[0] = 8;
		memset(bytes + 1, 'x', 4);
		for (size_t i = 1 + shift; i + 4 < sizeof bytes; i += 4)
			memcpy(bytes + i, "\xf0\x9f\x98\x80", 4);
		abort_with(kind, bytes, 997);
		CHECK(strlen(w.err.message) > MOTE_ERROR_MESSAGE_BYTES - 12);
		CHECK(strlen(w.err.message) < MOTE_ERROR_MESSAGE_BYTES);
		world_free(&w);
	}
}

TEST_BOTH(abort__holds_1024_bytes)
{
	static uint8_t bytes[1026];
	memset(bytes, 'x', sizeof bytes);
	bytes[0] = 8;
	abort_with(kind, bytes, 1024);
	CHECK_HAS(w.err.message, "Guest aborted: 8 xxx");
	world_free(&w);
	ABORTS(bytes, 1025, 0, "Guest aborted: 0 Guest abort buffer overflowed");
	ABORTS(bytes, 1026, 0, "Guest aborted: 0 Guest abort buffer overflowed");
}

/* ---- single chunks --------------------------------------------------------------------------- */

static uint32_t chunks[4];

static void send_chunks(struct double_machine *m, struct mote__exit *exit)
{
	if (m->step == 0)
		(void)guest_pop_call(m);
	if (m->step < 4 && chunks[m->step])
		double_out(exit, MOTE_ABI_PORT_ABORT, chunks[m->step]);
	else
		guest_return(m, exit, mote_void());
}

static const struct double_guest chunky = {NULL, send_chunks, NULL};

static int call_chunks(uint32_t a, uint32_t b, uint32_t c)
{
	chunks[0] = a;
	chunks[1] = b;
	chunks[2] = c;
	return world_call(&w, MOTE_VOID, NULL);
}

TEST_BOTH(abort__the_example_of_the_abi)
{
	world_ready(&w, kind, &chunky);
	FAILS(&w, call_chunks(0x00000D01, 0x00694802, 0x0000FF01), MOTE_EABORT);
	CHECK_STR(w.err.message, "Guest aborted: 13 Hi");
	CHECK_EQ(world_statistics(&w).exits_abort, 3);
	world_free(&w);
}

TEST_BOTH(abort__a_length_above_three_is_three)
{
	world_ready(&w, kind, &chunky);
	FAILS(&w, call_chunks(0x42410DFF, 0x43FF4304, 0), MOTE_EABORT);
	CHECK_STR(w.err.message, "Guest aborted: 13 ABC");
	world_free(&w);
}

TEST_BOTH(abort__bytes_behind_the_end_are_dropped)
{
	world_ready(&w, kind, &chunky);
	FAILS(&w, call_chunks(0x41FF0D03, 0, 0), MOTE_EABORT);
	CHECK_STR(w.err.message, "Guest aborted: 13 ");
	world_free(&w);
}

TEST_BOTH(abort__a_chunk_of_nothing_is_nothing)
{
	world_ready(&w, kind, &chunky);
	OK(&w, call_chunks(0x41424300, 0x41424300, 0));
	world_free(&w);
}

TEST_BOTH(abort__one_that_does_not_end_is_forgotten_with_its_call)
{
	world_ready(&w, kind, &chunky);
	OK(&w, call_chunks(0x42410D03, 0, 0));
	FAILS(&w, call_chunks(0x43FF0803, 0, 0), MOTE_EABORT);
	CHECK_STR(w.err.message, "Guest aborted: 8 ");
	world_free(&w);
}

static void abort_at_once(struct double_machine *m, struct mote__exit *exit)
{
	(void)double_abort(exit, "\x08no", 3, m->step);
}

TEST_BOTH(abort__while_initialising_poisons)
{
	const struct double_guest guest = {abort_at_once, NULL, NULL};
	world_make(&w, kind, &guest);
	world_sandbox(&w, NULL);
	FAILS(&w, mote_sandbox_start(w.sandbox, 0, &w.err), MOTE_EABORT);
	CHECK_STR(w.err.message, "Guest aborted: 8 no");
	CHECK_EQ(w.err.poisoned, 1);
	CHECK_EQ(mote_sandbox_state(w.sandbox), MOTE_STATE_POISONED);
	world_free(&w);
}

TEST_BOTH(abort__without_a_place_for_the_error)
{
	const struct mote_call call = {.size = sizeof call, .function = "f"};
	world_ready(&w, kind, &aborting);
	sent.bytes = "\x0f\x0eText";
	sent.len = 6;
	CHECK_EQ(mote_sandbox_call(w.sandbox, &call, NULL, NULL), MOTE_EABORT);
	CHECK_EQ(mote_sandbox_state(w.sandbox), MOTE_STATE_POISONED);
	world_free(&w);
}

/* ---- exceptions of a confined guest ---------------------------------------------------------- */

static struct {
	uint32_t vector;
	uint64_t error, rip, cr2;
} raised;

static void raise_exception(struct double_machine *m, struct mote__exit *exit)
{
	(void)guest_pop_call(m);
	double_exception(m, exit, raised.vector, raised.error, raised.rip, raised.cr2);
}

static const struct double_guest raising = {NULL, raise_exception, NULL};

static void raises(uint32_t vector, uint64_t error, uint64_t rip, uint64_t cr2)
{
	world_ready(&w, CONFINED, &raising);
	raised.vector = vector;
	raised.error = error;
	raised.rip = rip;
	raised.cr2 = cr2;
	FAILS(&w, world_call(&w, MOTE_VOID, NULL), MOTE_EABORT);
	CHECK(w.err.poisoned == 1 && w.err.has_fault == 1 && w.err.guest_code == 15);
	CHECK_EQ(w.err.vector, vector);
	CHECK_EQ(w.err.instruction_gva, rip);
	CHECK_EQ(w.err.stack_gva, w.machine->general.rsp - 64);
	CHECK_EQ(world_statistics(&w).exits_exception, 1);
}

TEST(abort__an_exception_is_told_with_its_place)
{
	raises(6, 0x77, TINY_CODE_GVA + 4, 0x1234);
	CHECK_STR(w.err.message, "Guest aborted: 15 Exception: InvalidOpcode at 0x2004 "
				 "<work+0x4>, error code 0x0");
	/* The vector has no error code, and no address. */
	CHECK(w.err.error_code == 0 && w.err.fault_gva == 0);
	world_free(&w);
}

TEST(abort__an_exception_elsewhere_has_no_symbol)
{
	raises(13, 0x18, 0xFFFF800000000000, 0);
	CHECK_STR(w.err.message, "Guest aborted: 15 Exception: GeneralProtectionFault at "
				 "0xffff800000000000, error code 0x18");
	CHECK_EQ(w.err.error_code, 0x18);
	world_free(&w);
}

TEST(abort__exceptions_with_an_error_code)
{
	static const bool has_code[32] = {
		[8] = true,  [10] = true, [11] = true, [12] = true, [13] = true,
		[14] = true, [17] = true, [21] = true, [29] = true, [30] = true};
	for (uint32_t vector = 0; vector < 32; vector++) {
		raises(vector, 0xABC, 0, 0);
		CHECK_EQ(w.err.error_code, has_code[vector] ? 0xABC : 0);
		if (vector > 20 && vector != 30)
			CHECK_HAS(w.err.message, "Exception: unknown at");
		world_free(&w);
	}
}

static void page_fault(uint64_t error, uint64_t address, const char *text)
{
	raises(14, error, TINY_CODE_GVA, address);
	CHECK_EQ(w.err.fault_gva, address);
	CHECK_EQ(w.err.error_code, error);
	CHECK_HAS(w.err.message, text);
	world_free(&w);
}

TEST(abort__a_page_fault_is_told_in_words)
{
	/* Image of 4 pages at 0x1000, PEB, wide guard, stack of 64 pages, guard, heap. */
	char text[80];
	const uint64_t stack = 0x6000 + MOTE__STACK_GUARD_BYTES, guard = stack + 0x40000;
	page_fault(4, 0, ", reading 0x0 in the null page, error code 0x4");
	page_fault(6, 0xFFF, ", writing 0xfff in the null page");
	page_fault(7, 0x1008, ", writing 0x1008 in constants");
	page_fault(0x15, 0x3008, ", executing 0x3008 in data");
	page_fault(7, 0x2000, ", writing 0x2000 in code");
	page_fault(6, stack - 8, " in the guard below the stack (stack overflow)");
	page_fault(6, 0x6000, " in the guard below the stack (stack overflow)");
	snprintf(text, sizeof text, ", reading 0x%llx in unmapped memory",
		 (unsigned long long)guard);
	page_fault(4, guard, text);
	page_fault(5, MOTE__PAGE_GVA(MOTE__PARAMS_PAGE), " in parameters");
	page_fault(6, UINT64_MAX, ", writing 0xffffffffffffffff in unmapped memory");
}

TEST(abort__a_page_fault_without_its_address)
{
	world_ready(&w, CONFINED, &raising);
	raised.vector = 14;
	w.hypervisor->fail = DOUBLE_GET_SPECIAL;
	FAILS(&w, world_call(&w, MOTE_VOID, NULL), MOTE_EABORT);
	CHECK_EQ(w.err.fault_gva, 0);
	world_free(&w);
}

static void ring_own_port(struct double_machine *m, struct mote__exit *exit)
{
	(void)guest_pop_call(m);
	double_out(exit, (uint16_t)raised.vector, 14);
}

/* A stock guest owns ring 0: the ports of the library's own code are no ports there. */
TEST(abort__the_library_s_ports_are_unknown_to_a_stock_guest)
{
	const struct double_guest guest = {NULL, ring_own_port, NULL};
	static const uint16_t ports[] = {MOTE__PORT_EXCEPTION, MOTE__PORT_FRAMES};
	for (size_t i = 0; i < 2; i++) {
		char text[80];
		world_ready(&w, STOCK, &guest);
		raised.vector = ports[i];
		snprintf(text, sizeof text, "Invalid outb port: Invalid OutBAction value: %u",
			 ports[i]);
		FAILS(&w, world_call(&w, MOTE_VOID, NULL), MOTE_EPROTOCOL);
		CHECK_STR(w.err.message, text);
		world_free(&w);
	}
}

/* ---- frames ---------------------------------------------------------------------------------- */

/* Takes frames as the library's ring-0 code does, asking when the limit is reached. */
static uint64_t frames_wanted;

static void take_frames(struct double_machine *m, struct mote__exit *exit)
{
	uint8_t *params = double_gva(m, MOTE__PAGE_GVA(MOTE__PARAMS_PAGE), 64);
	uint64_t next, limit;
	memcpy(&next, params + MOTE__PARAMS_NEXT, 8);
	memcpy(&limit, params + MOTE__PARAMS_LIMIT, 8);
	if (m->step == 0)
		(void)guest_pop_call(m);
	for (; frames_wanted && next < limit; frames_wanted--, next += 4096) {
		/* Every frame is really there, and zero. */
		uint64_t word = 1;
		uint8_t *frame = double_gpa(m, next & 0xFFFFFFFFFF000, 4096);
		CHECK(frame != NULL);
		memcpy(&word, frame, 8);
		CHECK_EQ(word, 0);
	}
	memcpy(params + MOTE__PARAMS_NEXT, &next, 8);
	if (frames_wanted)
		double_out(exit, MOTE__PORT_FRAMES, 0);
	else
		guest_return(m, exit, mote_void());
}

static const struct double_guest taking = {NULL, take_frames, NULL};

static void ready_with_heap(uint64_t heap_bytes, uint64_t memory_max)
{
	const struct tiny_options image = {.is_confined = true};
	const struct mote_snapshot_options snapshot = {.size = sizeof snapshot,
						       .heap_bytes = heap_bytes};
	const struct mote_sandbox_options sandbox = {.size = sizeof sandbox,
						     .memory_max = memory_max};
	world_make_of(&w, &image, &snapshot, &taking);
	world_sandbox(&w, &sandbox);
	OK(&w, mote_sandbox_start(w.sandbox, 0, &w.err));
}

TEST(abort__more_frames_are_mapped_when_the_guest_asks)
{
	ready_with_heap(256u << 20, 0);
	unsigned maps = w.machine->maps;
	struct mote_statistics s = world_statistics(&w);
	CHECK_EQ(s.frames_used, 4);
	frames_wanted = 20000;
	OK(&w, world_call(&w, MOTE_VOID, NULL));
	s = world_statistics(&w);
	CHECK_EQ(s.frames_used, 20004);
	/* 4096, 8192, 16384, 32768. */
	CHECK_EQ(s.exits_memory, 3);
	CHECK_EQ(w.machine->maps, maps + 3);
	world_free(&w);
}

TEST(abort__memory_max_ends_a_guest_that_takes_more)
{
	ready_with_heap(256u << 20, 5000 * 4096);
	frames_wanted = 4996;
	OK(&w, world_call(&w, MOTE_VOID, NULL));
	CHECK_EQ(world_statistics(&w).frames_used, 5000);
	CHECK_EQ(world_statistics(&w).frames_max, 5000);
	frames_wanted = 1;
	FAILS(&w, world_call(&w, MOTE_VOID, NULL), MOTE_EABORT);
	CHECK_HAS(w.err.message, "Guest aborted: 13 Out of physical memory (5000 frames of 4096 "
				 "bytes taken; ");
	CHECK(w.err.guest_code == 13 && w.err.poisoned == 1);
	CHECK_EQ(mote_sandbox_state(w.sandbox), MOTE_STATE_POISONED);
	world_free(&w);
}

TEST(abort__frames_that_cannot_be_mapped_poison)
{
	ready_with_heap(256u << 20, 0);
	frames_wanted = 5000;
	w.hypervisor->fail = DOUBLE_MAP;
	FAILS(&w, world_call(&w, MOTE_VOID, NULL), MOTE_ESYSTEM);
	CHECK_EQ(w.err.poisoned, 1);
	w.hypervisor->fail = 0;
	world_free(&w);
}

TEST(abort__memory_max_at_its_limits)
{
	const struct mote_sandbox_options less = {.size = sizeof less, .memory_max = 4 * 4096};
	const struct mote_sandbox_options least = {.size = sizeof least,
						   .memory_max = 4 * 4096 + 1};
	const struct mote_sandbox_options most = {.size = sizeof most, .memory_max = UINT64_MAX};
	world_make(&w, CONFINED, &taking);
	/* Four frames are in the write set; one more is the least. */
	FAILS(&w, mote_sandbox_create(w.engine, w.snapshot, w.host, &less, &w.sandbox, &w.err),
	      MOTE_EINVAL);
	CHECK_STR(w.err.message, "memory_max is 0x4000, at least 0x5000");
	world_sandbox(&w, &least);
	CHECK_EQ(world_statistics(&w).frames_max, 5);
	mote_sandbox_destroy(w.sandbox);
	world_sandbox(&w, &most);
	CHECK_EQ(world_statistics(&w).frames_max, w.snapshot->layout.frame_count);
	world_free(&w);
}

TEST(abort__memory_max_of_a_stock_guest_is_its_scratch)
{
	/* 54 free frames, 8 + 7 pages before and 3 behind them. */
	const struct mote_sandbox_options less = {.size = sizeof less, .memory_max = 71 * 4096};
	const struct mote_sandbox_options enough = {.size = sizeof enough,
						    .memory_max = 71 * 4096 + 1};
	world_make(&w, STOCK, &taking);
	FAILS(&w, mote_sandbox_create(w.engine, w.snapshot, w.host, &less, &w.sandbox, &w.err),
	      MOTE_EINVAL);
	CHECK_STR(w.err.message, "memory_max is 0x47000, at least 0x48000");
	world_sandbox(&w, &enough);
	CHECK_EQ(world_statistics(&w).frames_max, 54);
	world_free(&w);
}
