/* SPDX-License-Identifier: MIT */
/*
 * How calls end that do not come back, of a guest that was built with the published 0.15 guest
 * crates: panics, aborts, exceptions, memory that runs out, exits that the ABI does not have, and
 * spoilt buffers. Every row says whether the sandbox goes on or has to be restored.
 */
#include "rust_calls.h"

#include <stdio.h>

#define PAGE 4096ull
/* Free virtual and physical addresses. */
#define FREE_GVA 0x200000000000ull
#define FREE_GPA 0x500000000ull

/* ---- aborts ---------------------------------------------------------------------------------- */

TEST(interop_ends__a_panic_aborts_with_code_8_and_its_text_and_place)
{
	struct rust r;
	RUST(&r);
	ABORTS(&r, 8, "Guest aborted: 8 ", "Panic", mote_string("out of order"));
	CHECK_HAS(r.s.err.message, "out of order");
	CHECK_HAS(r.s.err.message, ".rs:");
	ABORTS(&r, 8, "\xC3\xA4\xE2\x82\xAC", "Panic", mote_string("\xC3\xA4\xE2\x82\xAC\nline"));
	rust_close(&r);
}

TEST(interop_ends__an_abort_has_its_code_and_no_text)
{
	static const int32_t codes[] = {0, 1, 5, 13, 14, 100, 128, 254};
	struct rust r;
	char text[40];
	RUST(&r);
	for (size_t i = 0; i < COUNT(codes); i++) {
		(void)snprintf(text, sizeof text, "Guest aborted: %d ", codes[i]);
		ABORTS(&r, (uint64_t)codes[i], text, "Abort", mote_i32(codes[i]));
		CHECK_STR(r.s.err.message, text);
	}
	/* 255 ends an abort: it cannot be sent as its code. */
	ABORTS(&r, 0, "Guest aborted: 0 ", "Abort", mote_i32(255));
	rust_close(&r);
}

TEST(interop_ends__an_abort_with_a_message_has_code_and_text)
{
	static char text[1300];
	struct rust r;
	RUST(&r);
	ABORTS(&r, 13, "Guest aborted: 13 Hi", "AbortMessage", mote_i32(13), mote_string("Hi"));
	CHECK_STR(r.s.err.message, "Guest aborted: 13 Hi");
	ABORTS(&r, 9, "Guest aborted: 9 \xC3\xA4\xE2\x82\xAC", "AbortMessage", mote_i32(9),
	       mote_string("\xC3\xA4\xE2\x82\xAC"));
	/* A first byte below 21 reads as an exception's number; all in one line. */
	ENDS_WITH(&r,
		  (&(const struct ends){.code = MOTE_EABORT,
					.text = "Guest aborted: 9 Exception: PageFault | a b",
					.guest_code = 9,
					.poisons = 1,
					.has_fault = 1,
					.vector = 14}),
		  MOTE_VOID, "AbortMessage", mote_i32(9),
		  mote_string("\x0E"
			      "a\nb"));
	memset(text, 'm', 1023);
	ABORTS(&r, 9, "Guest aborted: 9 mmmm", "AbortMessage", mote_i32(9), mote_string(text));
	memset(text, 'm', 1024);
	ABORTS(&r, 0, "Guest aborted: 0 Guest abort buffer overflowed", "AbortMessage", mote_i32(9),
	       mote_string(text));
	rust_close(&r);
}

TEST(interop_ends__abort_chunks_have_a_length_and_do_not_outlive_their_call)
{
	struct rust r;
	RUST(&r);
	ABORTS(&r, 9, "Guest aborted: 9 x", "Out", mote_i32(102), mote_u32(0xFF780903));
	CHECK_STR(r.s.err.message, "Guest aborted: 9 x");
	/* More than three bytes mean three. */
	ABORTS(&r, 9, "Guest aborted: 9 x", "Out", mote_i32(102), mote_u32(0xFF7809C8));
	/* The one byte of OUT dx,al is the length, and all others are missing. */
	ABORTS(&r, 0, "Guest aborted: 0 ", "Out", mote_i32(102), mote_u32(0xFF01));
	CALL_VOID(&r.s, "Out", mote_i32(102), mote_u32(0x00410902));
	CALL_VOID(&r.s, "Out", mote_i32(102), mote_u32(0));
	ABORTS(&r, 0, "Guest aborted: 0 ", "Out", mote_i32(102), mote_u32(0xFF01));
	CHECK_STR(r.s.err.message, "Guest aborted: 0 ");
	rust_close(&r);
}

/* ---- exceptions ------------------------------------------------------------------------------ */

static const struct exception {
	const char *name;
	uint32_t vector;
	uint8_t needs_floats;
	/* The emulated processor of the hardware lane raises 13 in place of 12, and no 19. */
	uint8_t needs_processor;
} exceptions[] = {
	{"DivideByZero", 0, 0, 0},
	{"Debug", 1, 0, 0},
	{"Breakpoint", 3, 0, 0},
	{"Overflow", 4, 0, 0},
	{"BoundRangeExceeded", 5, 0, 0},
	{"InvalidOpcode", 6, 0, 0},
	{"SegmentNotPresent", 11, 0, 0},
	{"StackSegmentFault", 12, 0, 1},
	{"GeneralProtectionFault", 13, 0, 0},
	{"PageFault", 14, 0, 0},
	{"X87FloatingPointException", 16, 1, 0},
	{"SIMDFloatingPointException", 19, 1, 1},
};

/* 0: not here. */
static int check_exception(struct rust *r, const struct exception *x)
{
	char text[100];
	const struct ends e = {.code = MOTE_EABORT,
			       .text = text,
			       .guest_code = 15,
			       .poisons = 1,
			       .is_exotic = 1,
			       .has_fault = 1,
			       .vector = x->vector};
	if ((x->needs_floats && !system_is_nested()) ||
	    (x->needs_processor && system_is_nested() && system_is_emulated()))
		return 0;
	(void)snprintf(text, sizeof text,
		       "Guest aborted: 15 Exception: %s | Exception vector: %u Faulting "
		       "Instruction: 0x",
		       x->name, x->vector);
	if (!ENDS_WITH(r, &e, MOTE_VOID, "Raise", mote_i32((int32_t)x->vector)))
		return 0;
	CHECK(r->s.err.instruction_gva > 0x1000 && r->s.err.instruction_gva < 0x1000000);
	CHECK_HAS(r->s.err.message, " Bytes At Faulting Instruction: [");
	CHECK_HAS(r->s.err.message, "] Page Fault Address: 0x0 Error code: 0x");
	CHECK_HAS(r->s.err.message, " Stack Pointer: 0xffffffffffff");
	return 1;
}

TEST(interop_ends__exceptions_abort_with_code_15_and_the_runtimes_text)
{
	struct rust r;
	unsigned seen = 0;
	RUST(&r);
	for (size_t i = 0; i < COUNT(exceptions); i++) {
		if (check_exception(&r, &exceptions[i]))
			seen++;
		else
			check_note("not on this machine: %s", exceptions[i].name);
	}
	CHECK(seen >= 7);
	rust_close(&r);
}

TEST(interop_ends__a_page_fault_tells_its_address_and_error_code)
{
	struct rust r;
	struct ends e = {.code = MOTE_EABORT,
			 .text = "Page Fault Address: 0x200000000000 Error code: 0x0 Stack "
				 "Pointer: 0xff",
			 .guest_code = 15,
			 .poisons = 1,
			 .has_fault = 1,
			 .vector = 14};
	RUST(&r);
	ENDS_WITH(&r, &e, MOTE_U64, "Peek", mote_u64(FREE_GVA));
	CHECK_EQ(r.s.err.fault_gva, FREE_GVA);
	CHECK_EQ(r.s.err.error_code, 0);
	CHECK(r.s.err.stack_gva > 0xFFFFFFFFFFFFE000 && r.s.err.stack_gva < 0xFFFFFFFFFFFFEFD0);
	e.text = "Page Fault Address: 0x0 Error code: 0x2";
	ENDS_WITH(&r, &e, MOTE_VOID, "Poke", mote_u64(0), mote_u64(1));
	CHECK_EQ(r.s.err.error_code, 2);
	/* Read-only and no copy-on-write: the PEB, behind the image. */
	struct mote_region region = {0};
	uint64_t peb = 0;
	for (uint32_t i = 0; mote_snapshot_get_region(r.s.snapshot, i, &region) == MOTE_OK; i++)
		if (strcmp(region.name, "PEB") == 0)
			peb = region.gva;
	CHECK(peb != 0);
	e.text = "Exception: PageFault | ";
	ENDS_WITH(&r, &e, MOTE_VOID, "Poke", mote_u64(peb), mote_u64(1));
	CHECK_EQ(r.s.err.fault_gva, peb);
	CHECK_EQ(r.s.err.error_code, 3);
	rust_close(&r);
}

/* ---- memory that runs out -------------------------------------------------------------------- */

#define OUT_OF_PAGES "Guest aborted: 13 Out of physical memory"

TEST(interop_ends__a_stack_overflow_is_out_of_physical_memory)
{
	struct rust r;
	RUST(&r);
	ABORTS(&r, 13, OUT_OF_PAGES, "Overflow");
	rust_close(&r);
}

TEST(interop_ends__pages_run_out_with_code_13)
{
	struct rust r;
	RUST(&r);
	ABORTS(&r, 13, OUT_OF_PAGES, "ExhaustPages");
	ABORTS(&r, 13, OUT_OF_PAGES, "FillPages", mote_i32(1000), mote_i32(1));
	rust_close(&r);
}

TEST(interop_ends__the_heap_runs_out_with_a_panic)
{
	struct rust r;
	RUST(&r, .snapshot.scratch_bytes = 0x100000);
	ABORTS(&r, 8, "Guest aborted: 8 ", "Exhaust");
	CHECK_HAS(r.s.err.message, "memory allocation of ");
	CHECK_HAS(r.s.err.message, " bytes failed");
	ENDS_WITH(&r,
		  (&(const struct ends){.code = MOTE_EABORT,
					.text = "memory allocation of 1000000 bytes failed",
					.guest_code = 8,
					.poisons = 1}),
		  MOTE_I32, "Alloc", mote_i32(1000000));
	CHECK_EQ(CALL_I32(&r.s, "Alloc", mote_i32(10000)), 10000);
	rust_close(&r);
}

/* ---- exits ----------------------------------------------------------------------------------- */

TEST(interop_ends__a_triple_fault_ends_the_call)
{
	struct rust r;
	RUST(&r);
	BREAKS(&r, "Unexpected VM exit: ", "TripleFault");
	CHECK_HAS(r.s.err.message, "shutdown (triple fault)");
	rust_close(&r);
}

TEST(interop_ends__an_unknown_port_ends_the_call)
{
	static const int32_t ports[] = {0,   0x20, 0x61, 0x80, 98,    100,   104,
					105, 106,  107,  109,  0x3F8, 0xFFFF};
	static const char *const widths[] = {"Out", "Out8", "Out16"};
	struct rust r;
	char text[80];
	RUST(&r);
	for (size_t i = 0; i < COUNT(ports); i++) {
		(void)snprintf(text, sizeof text, "Invalid outb port: Invalid OutBAction value: %d",
			       ports[i]);
		BREAKS(&r, text, widths[i % 3], mote_i32(ports[i]), mote_u32(1));
	}
	rust_close(&r);
}

TEST(interop_ends__an_in_instruction_ends_the_call)
{
	static const int32_t ports[] = {0x40, 99, 108};
	struct rust r;
	RUST(&r);
	for (size_t i = 0; i < COUNT(ports); i++) {
		BREAKS(&r, "Unexpected VM exit: ", "In", mote_i32(ports[i]));
		CHECK_HAS(r.s.err.message, "IN from port ");
	}
	rust_close(&r);
}

TEST(interop_ends__outs_of_every_width_are_served)
{
	struct rust r;
	RUST(&r);
	CALL_VOID(&r.s, "Out8", mote_i32(103), mote_u32(0x20AC41));
	CALL_VOID(&r.s, "Out16", mote_i32(103), mote_u32(0x120AC));
	CALL_VOID(&r.s, "Out", mote_i32(103), mote_u32(0x1F600));
	CHECK_STR(r.s.printed, "A\xE2\x82\xAC\xF0\x9F\x98\x80");
	BREAKS(&r, "Invalid character for debug print: 55296", "Out", mote_i32(103),
	       mote_u32(0xD800));
	BREAKS(&r, "Invalid character for debug print: 1114112", "Out", mote_i32(103),
	       mote_u32(0x110000));
	rust_close(&r);
}

#define NO_RESULT                                                                            \
	"Unable to pop data from buffer: Stack pointer is out of bounds. Stack pointer: 8, " \
	"Buffer size: 16384"
/* A call that ends without a usable result. */
#define NO_ANSWER(r, what, name, ...)                                                       \
	((void)ENDS_WITH(r, (&(const struct ends){.code = MOTE_EPROTOCOL, .text = (what)}), \
			 MOTE_I32, name, __VA_ARGS__))

TEST(interop_ends__hlt_and_port_108_of_any_width_end_a_call_without_a_result)
{
	struct rust r;
	RUST(&r);
	NO_ANSWER(&r, NO_RESULT, "Halt");
	NO_ANSWER(&r, NO_RESULT, "Out", mote_i32(108), mote_u32(0));
	NO_ANSWER(&r, NO_RESULT, "Out8", mote_i32(108), mote_u32(UINT32_MAX));
	NO_ANSWER(&r, NO_RESULT, "Out16", mote_i32(108), mote_u32(1));
	rust_close(&r);
}

TEST(interop_ends__an_access_to_no_memory_ends_the_call)
{
	struct rust r;
	RUST(&r);
	CALL_VOID(&r.s, "MapPhysical", mote_u64(FREE_GVA), mote_u64(FREE_GPA), mote_i32(1));
	ENDS_WITH(&r,
		  (&(const struct ends){.code = MOTE_EPROTOCOL,
					.text = "MMIO READ access to unmapped address 0x500000018",
					.poisons = 1}),
		  MOTE_U64, "Peek", mote_u64(FREE_GVA + 0x18));
	CALL_VOID(&r.s, "MapPhysical", mote_u64(FREE_GVA), mote_u64(FREE_GPA), mote_i32(1));
	BREAKS(&r, "MMIO WRITE access to unmapped address 0x500000020", "Poke",
	       mote_u64(FREE_GVA + 0x20), mote_u64(1));
	rust_close(&r);
}

TEST(interop_ends__a_write_to_the_snapshots_memory_ends_the_call)
{
	struct rust r;
	RUST(&r);
	CALL_VOID(&r.s, "MapPhysical", mote_u64(FREE_GVA), mote_u64(0x1000), mote_i32(1));
	(void)CALL_U64(&r.s, "Peek", mote_u64(FREE_GVA));
	BREAKS(&r, "MMIO WRITE access to unmapped address 0x1000", "Poke", mote_u64(FREE_GVA),
	       mote_u64(1));
	rust_close(&r);
}

TEST(interop_ends__a_write_to_a_host_mapping_is_a_memory_access_violation)
{
	static uint8_t memory[PAGE] __attribute__((aligned(4096)));
	const struct mote_mapping mapping = {.size = sizeof mapping,
					     .memory = memory,
					     .bytes = sizeof memory,
					     .gpa = FREE_GPA,
					     .access = MOTE_READ};
	struct rust r;
	RUST(&r);
	memory[8] = 0x5A;
	OK(&r.s, mote_sandbox_map(r.s.sandbox, &mapping, NULL, &r.s.err));
	CALL_VOID(&r.s, "MapPhysical", mote_u64(FREE_GVA), mote_u64(FREE_GPA), mote_i32(1));
	CHECK_EQ(CALL_U64(&r.s, "Peek", mote_u64(FREE_GVA + 8)), 0x5A);
	BREAKS(&r,
	       "Memory Access Violation at address 0x500000010 of type WRITE, but memory is marked "
	       "as READ",
	       "Poke", mote_u64(FREE_GVA + 0x10), mote_u64(1));
	CHECK_EQ(memory[0x10], 0);
	rust_close(&r);
}

/* ---- spoilt buffers -------------------------------------------------------------------------- */

TEST(interop_ends__a_call_without_a_result_is_an_error_that_does_not_poison)
{
	struct rust r;
	RUST(&r);
	NO_ANSWER(&r, NO_RESULT, "SpoilOutput", mote_i32(0));
	rust_close(&r);
}

TEST(interop_ends__a_spoilt_output_buffer_is_an_error_and_stays_below_what_comes)
{
	static const struct {
		int32_t kind;
		const char *text;
	} cases[] = {
		{2, "Corrupt buffer back-pointer: element offset 4294901760 is outside valid range "
		    "[8, 64]."},
		{3,
		 "Corrupt buffer size prefix: flatbuffer claims 65540 bytes but the element slot "
		 "is only 64 bytes."},
		{6, "Corrupt buffer size prefix: value 4294967295 overflows when adding 4-byte "
		    "header."},
		{7,
		 "Unable to pop data from buffer: Stack pointer is out of bounds. Stack pointer: "
		 "12, Buffer size: 16384"},
	};
	struct rust r;
	RUST(&r);
	for (size_t i = 0; i < COUNT(cases); i++) {
		/* The runtime pushes the next result on top, and that is what is popped. */
		NO_ANSWER(&r, cases[i].text, "SpoilOutput", mote_i32(cases[i].kind));
		CHECK_EQ(CALL_I32(&r.s, "EchoInt", mote_i32(2)), 2);
		rust_restore(&r);
	}
	rust_close(&r);
}

TEST(interop_ends__an_output_pointer_beyond_the_buffer_is_the_guests_end_at_its_next_result)
{
	const struct ends e = {
		.code = MOTE_EPROTOCOL,
		.text = "Unable to pop data from buffer: Stack pointer is out of bounds. Stack "
			"pointer: 16392, Buffer size: 16384",
		.keeps = 1};
	struct rust r;
	RUST(&r);
	ENDS_WITH(&r, &e, MOTE_I32, "SpoilOutput", mote_i32(1));
	CHECK_EQ(mote_sandbox_state(r.s.sandbox), MOTE_STATE_READY);
	ABORTS(&r, 8, "Guest aborted: 8 ", "EchoInt", mote_i32(1));
	CHECK_HAS(r.s.err.message, "Invalid stack pointer: 16392 in push_shared_output_data");
	rust_close(&r);
}

TEST(interop_ends__a_result_that_cannot_be_decoded_is_an_error_and_is_cleared)
{
	struct rust r;
	RUST(&r);
	NO_ANSWER(&r, "pop_buffer_into: failed to convert buffer to FunctionCallResult",
		  "SpoilOutput", mote_i32(4));
	rust_close(&r);
}

TEST(interop_ends__the_last_of_two_results_is_delivered)
{
	struct rust r;
	RUST(&r);
	CHECK_EQ(CALL_I32(&r.s, "SpoilOutput", mote_i32(5)), 2);
	CHECK_EQ(CALL_I32(&r.s, "EchoInt", mote_i32(6)), 6);
	rust_close(&r);
}

TEST(interop_ends__a_host_call_that_cannot_be_read_poisons)
{
	struct rust r;
	RUST(&r);
	BREAKS(&r,
	       "Failed to read host function call: Unable to pop data from buffer: Stack pointer "
	       "is out of bounds. Stack pointer: 8, Buffer size: 16384",
	       "RawHostCall", mote_i32(0));
	BREAKS(&r, "Failed to read host function call: ", "RawHostCall", mote_i32(1));
	rust_close(&r);
}

TEST(interop_ends__a_log_record_that_cannot_be_read_poisons)
{
	struct rust r;
	RUST(&r);
	BREAKS(&r,
	       "Failed to read guest log data: Unable to pop data from buffer: Stack pointer is "
	       "out of bounds. Stack pointer: 8, Buffer size: 16384",
	       "RawLog", mote_i32(0));
	BREAKS(&r, "Failed to read guest log data: ", "RawLog", mote_i32(1));
	rust_close(&r);
}

TEST(interop_ends__a_spoilt_input_buffer_is_an_error_before_the_guest_runs)
{
	const uint64_t input = 0xFFFFFFFFFFFFF000 - 0x48000;
	struct rust r;
	RUST(&r);
	CALL_VOID(&r.s, "Poke", mote_u64(input), mote_u64(UINT64_MAX));
	const uint64_t entries = system_statistics(&r.s).vm_entries;
	const struct ends e = {
		.code = MOTE_EPROTOCOL,
		.text = "Unable to push data to buffer: Stack pointer is out of bounds. Stack "
			"pointer: 18446744073709551615, Buffer size: 16384",
		.keeps = 1};
	for (int i = 0; i < 2; i++)
		ENDS_WITH(&r, &e, MOTE_I32, "EchoInt", mote_i32(1));
	CHECK_EQ(system_statistics(&r.s).vm_entries, entries);
	CHECK_EQ(mote_sandbox_state(r.s.sandbox), MOTE_STATE_READY);
	rust_restore(&r);
	CHECK_EQ(CALL_I32(&r.s, "EchoInt", mote_i32(1)), 1);
	rust_close(&r);
}
