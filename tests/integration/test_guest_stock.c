/* SPDX-License-Identifier: MIT */
/*
 * A bare stock guest of family S in ring 0: what it finds at its entries, in its PEB, scratch words
 * and page tables is what the ABI says; every exit that it can cause ends as the ABI says; and what
 * it does to its tables and buffers stays its own trouble.
 */
#include "system.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "../guests/stock_probe.h"

#define PAGE	    4096ull
#define LINEAR	    0xFFFFFFEFFFFFF000ull /* GVA - GPA of scratch */
#define TOP	    0xFFFFFFFFFFFFF000ull
#define SCRATCH	    0x48000ull
#define BUFFER	    0x4000ull
#define NO_EXECUTE  (1ull << 63)
#define ADDRESS	    0x000FFFFFFFFFF000ull
#define ULONG	    MOTE_U64

#define PROBE(s, ...) OPEN(s, "stock_probe", .add = add_host_add, ##__VA_ARGS__)
#define DO(s, ...)    CALL_U64(s, __VA_ARGS__)

static int host_add(void *cookie, const struct mote_value *a, mote_reply *reply)
{
	(void)cookie;
	if (a[0].i32 != 5 || a[1].i32 != -1)
		return mote_reply_error(reply, "other numbers");
	return mote_reply_i32(reply, 77);
}

static void add_host_add(mote_host *host)
{
	struct mote_error err;
	CHECK(MOTE_HOST_ADD(host, "HostAdd", host_add, NULL, &err, MOTE_I32, MOTE_I32, MOTE_I32) ==
	      MOTE_OK);
}

static uint64_t peek(struct system *s, uint64_t gva)
{
	return DO(s, "peek", mote_u64(gva));
}

static void poke(struct system *s, uint64_t gva, uint64_t value)
{
	(void)DO(s, "poke", mote_u64(gva), mote_u64(value));
}

static uint64_t general(struct system *s, enum probe_when when, enum probe_general index)
{
	return DO(s, "regs", mote_u64(when), mote_u64(index));
}

static uint64_t system_register(struct system *s, enum probe_system index)
{
	return DO(s, "syss", mote_u64(index));
}

/* The kernel emulates ring 0 here and cannot do this instruction. */
static void skip_if_emulated(struct system *s, int rc, const char *instruction)
{
	if (rc == MOTE_EPROTOCOL && strstr(s->err.message, "cannot emulate"))
		check_skip("this kernel cannot emulate %s in ring 0", instruction);
}

/* ---- entries --------------------------------------------------------------------------------- */

TEST(guest_stock__general_registers_of_initialise_are_the_abis)
{
	struct system s;
	PROBE(&s, .sandbox.log_level = MOTE_LOG_INFO);
	CHECK_EQ(general(&s, 0, PROBE_RDI) % PAGE, 0);
	CHECK_EQ(general(&s, 0, PROBE_RDX), PAGE);
	CHECK_EQ(general(&s, 0, PROBE_RCX), MOTE_LOG_INFO);
	CHECK_EQ(general(&s, 0, PROBE_RSP), 0xFFFFFFFFFFFFEFC8);
	CHECK_EQ(general(&s, 0, PROBE_RFLAGS), 2);
	static const enum probe_general zero[] = {
		PROBE_R15, PROBE_R14, PROBE_R13, PROBE_R12, PROBE_R11, PROBE_R10,
		PROBE_R9,  PROBE_R8,  PROBE_RBP, PROBE_RBX, PROBE_RAX};
	for (size_t i = 0; i < sizeof zero / sizeof *zero; i++)
		CHECK_EQ(general(&s, 0, zero[i]), 0);
	const uint64_t seed = general(&s, 0, PROBE_RSI);
	system_again(&s);
	CHECK(general(&s, 0, PROBE_RSI) != seed);
	CHECK_EQ(general(&s, 0, PROBE_RCX), MOTE_LOG_ERROR);
	system_close(&s);
	PROBE(&s, .sandbox.log_level = MOTE_LOG_SILENT);
	CHECK_EQ(general(&s, 0, PROBE_RCX), 0);
	system_close(&s);
}

TEST(guest_stock__general_registers_of_every_dispatch_are_the_abis)
{
	struct system s;
	PROBE(&s);
	const uint64_t rsp = general(&s, 1, PROBE_RSP);
	CHECK_EQ(rsp % 16, 0);
	for (int turn = 0; turn < 2; turn++)
		for (unsigned i = 0; i < PROBE_GENERAL_COUNT; i++) {
			uint64_t value = general(&s, 1, i);
			CHECK_EQ(value, i == PROBE_RFLAGS ? 2 : i == PROBE_RSP ? rsp : 0);
		}
	system_close(&s);
}

TEST(guest_stock__system_registers_are_the_abis)
{
	struct system s;
	PROBE(&s);
	static const struct {
		enum probe_system index;
		uint64_t value;
	} expected[] = {{PROBE_CR0, 0x80050033}, {PROBE_CR2, 0},      {PROBE_CR4, 0x620},
			{PROBE_CR8, 0},		 {PROBE_CS, 0},	      {PROBE_DS, 0},
			{PROBE_ES, 0},		 {PROBE_FS, 0},	      {PROBE_GS, 0},
			{PROBE_SS, 0},		 {PROBE_TR, 0},	      {PROBE_LDTR, 0},
			{PROBE_GDT_BASE, 0},	 {PROBE_GDT_LIMIT, 0}, {PROBE_IDT_BASE, 0},
			{PROBE_IDT_LIMIT, 0},	 {PROBE_DR6, 0xFFFF0FF0}, {PROBE_DR7, 0x400}};
	for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
		uint64_t value = system_register(&s, expected[i].index);
		if (value != expected[i].value)
			check_note("system register %zu", i);
		CHECK_EQ(value, expected[i].value);
	}
	CHECK_EQ(system_register(&s, PROBE_CR3), peek(&s, TOP - 0x18));
	system_close(&s);
}

TEST(guest_stock__the_peb_is_the_abis)
{
	struct system s;
	PROBE(&s, .snapshot = {.init_data = "0123456789", .init_data_bytes = 10});
	const uint64_t peb = general(&s, 0, PROBE_RDI);
	const uint64_t base = TOP - SCRATCH;
	const uint64_t expected[] = {BUFFER,	  base, BUFFER, base + BUFFER, 10,
				     peb + PAGE + 0x20000, 0x20000, peb + PAGE};
	for (unsigned i = 0; i < 8; i++)
		CHECK_EQ(peek(&s, peb + 8 * i), expected[i]);
	CHECK_EQ(peek(&s, peb + PAGE + 0x20000), 0x3736353433323130);
	FAILS(&s, MOTE_EABORT, "Exception: PageFault | ", ULONG, "poke", mote_u64(peb),
	      mote_u64(1));
	system_close(&s);
}

TEST(guest_stock__scratch_words_are_the_abis)
{
	struct system s;
	PROBE(&s);
	const uint64_t tables = peek(&s, TOP - 0x18);
	CHECK_EQ(peek(&s, TOP - 0x08), SCRATCH);
	CHECK_EQ(tables, 0x1000000000 - SCRATCH + 2 * BUFFER);
	/* Seven tables, and the four pages that the guest took. */
	CHECK_EQ(peek(&s, TOP - 0x10), tables + (7 + 4) * PAGE);
	CHECK_EQ(peek(&s, TOP - 0x20), 0);
	CHECK_EQ(peek(&s, TOP - 0x28), 0);
	CHECK_EQ(system_statistics(&s).frames_used, 4);
	system_close(&s);
}

/* The leaf entry of gva, as the guest's memory has it; *at is where. */
static uint64_t leaf(struct system *s, uint64_t gva, uint64_t *at)
{
	uint64_t entry = peek(s, TOP - 0x18);
	for (int shift = 39;; shift -= 9) {
		*at = (entry & ADDRESS) + LINEAR + (gva >> shift & 511) * 8;
		OK(s, mote_sandbox_read(s->sandbox, *at, &entry, 8, &s->err));
		if (shift == 12 || !(entry & 1))
			return entry;
		CHECK_EQ(entry & ~ADDRESS, 0x023);
	}
}

TEST(guest_stock__page_table_entries_are_the_abis)
{
	struct system s;
	uint64_t at;
	PROBE(&s, .snapshot = {.init_data = "x", .init_data_bytes = 1});
	const uint64_t peb = general(&s, 0, PROBE_RDI), heap = peb + PAGE;
	for (uint64_t gva = 0x1000; gva < peb; gva += PAGE)
		CHECK_EQ(leaf(&s, gva, &at), gva | 0x261);
	CHECK_EQ(leaf(&s, peb, &at), peb | 0x061 | NO_EXECUTE);
	for (uint64_t gva = heap; gva < heap + 0x20000; gva += 8 * PAGE)
		CHECK_EQ(leaf(&s, gva, &at), gva | 0x261 | NO_EXECUTE);
	CHECK_EQ(leaf(&s, heap + 0x20000, &at), (heap + 0x20000) | 0x061 | NO_EXECUTE);
	CHECK_EQ(leaf(&s, heap + 0x21000, &at), 0);
	CHECK_EQ(leaf(&s, 0, &at), 0);
	for (uint64_t gva = TOP - SCRATCH; gva < TOP; gva += PAGE)
		CHECK_EQ(leaf(&s, gva, &at), (gva - LINEAR) | 0x063 | NO_EXECUTE);
	CHECK_EQ(leaf(&s, TOP, &at), 0);
	CHECK_EQ(leaf(&s, TOP - SCRATCH - PAGE, &at), 0);
	/* The guest sees the same words. */
	CHECK_EQ(peek(&s, at), 0);
	system_close(&s);
}

TEST(guest_stock__init_data_and_heap_have_the_access_that_was_asked_for)
{
	struct system s;
	uint64_t at;
	static const struct {
		uint32_t access;
		uint64_t flags;
	} cases[] = {{MOTE_READ, 0x061 | NO_EXECUTE},
		     {MOTE_READ | MOTE_EXECUTE, 0x061},
		     {MOTE_READ | MOTE_WRITE, 0x261 | NO_EXECUTE},
		     {MOTE_READ | MOTE_WRITE | MOTE_EXECUTE, 0x261}};
	for (unsigned i = 0; i < 4; i++) {
		PROBE(&s, .snapshot = {.init_data = "x", .init_data_bytes = 1,
				       .init_data_access = cases[i].access,
				       .executable_heap = i & 1});
		const uint64_t heap = general(&s, 0, PROBE_RDI) + PAGE, init = heap + 0x20000;
		CHECK_EQ(leaf(&s, init, &at), init | cases[i].flags);
		CHECK_EQ(leaf(&s, heap, &at), heap | 0x261 | (i & 1 ? 0 : NO_EXECUTE));
		system_close(&s);
	}
}

TEST(guest_stock__sizes_move_what_the_abi_says_they_move)
{
	struct system s;
	PROBE(&s, .snapshot = {.input_bytes = 0x2000, .output_bytes = 0x2800, .heap_bytes = 5000,
			       .scratch_bytes = 0x100000});
	const uint64_t peb = general(&s, 0, PROBE_RDI), base = TOP - 0x100000;
	const uint64_t expected[] = {0x2000, base, 0x2800, base + 0x2000, 0, peb + 3 * PAGE,
				     5000,   peb + PAGE};
	for (unsigned i = 0; i < 8; i++)
		CHECK_EQ(peek(&s, peb + 8 * i), expected[i]);
	CHECK_EQ(peek(&s, TOP - 0x18), 0x1000000000 - 0x100000 + 0x5000);
	system_close(&s);
}

/* ---- processor ------------------------------------------------------------------------------- */

static uint32_t cpuid(struct system *s, uint32_t leaf_number, uint32_t register_number)
{
	return (uint32_t)DO(s, "cpui", mote_u64(leaf_number), mote_u64(0),
			    mote_u64(register_number));
}

TEST(guest_stock__cpuid_has_36_physical_bits_and_hides_what_guests_must_not_use)
{
	struct system s;
	PROBE(&s);
	CHECK_EQ(cpuid(&s, 0x80000008, 0) & 0xFF, 36);
	CHECK_EQ(cpuid(&s, 1, 2) & (1u << 5), 0);	   /* VMX */
	CHECK_EQ(cpuid(&s, 1, 2) & (1u << 21), 0);	   /* x2APIC */
	CHECK_EQ(cpuid(&s, 7, 2) & (1u << 7), 0);	   /* shadow stacks */
	CHECK_EQ(cpuid(&s, 7, 3) & (1u << 20), 0);	   /* indirect-branch tracking */
	CHECK_EQ(cpuid(&s, 0x80000001, 2) & (1u << 2), 0); /* SVM */
	system_close(&s);
}

TEST(guest_stock__model_specific_registers_are_denied)
{
	struct system s;
	PROBE(&s);
	/* EFER, LSTAR, APIC base, TSC, SYSENTER, PAT, MTRR, kernel GS, one that is nobody's. */
	static const uint32_t denied[] = {0xC0000080, 0xC0000082, 0x1B, 0x10,	    0x174,
					  0x277,      0x2FF,	  0xC0000102, 0x12345678};
	for (size_t i = 0; i < sizeof denied / sizeof *denied; i++) {
		FAILS(&s, MOTE_EABORT, "Guest aborted: 15 Exception: GeneralProtectionFault | ",
		      ULONG, "rdms", mote_u64(denied[i]));
		CHECK_EQ(s.err.vector, 13);
		CHECK_EQ(s.err.has_fault, 1);
		system_again(&s);
		FAILS(&s, MOTE_EABORT, "Exception: GeneralProtectionFault | ", ULONG, "wrms",
		      mote_u64(denied[i]), mote_u64(0));
		system_again(&s);
	}
	system_close(&s);
}

TEST(guest_stock__fs_base_gs_base_and_declared_registers_are_allowed)
{
	struct system s;
	static const uint32_t declared[] = {0xC0000102, 0x174};
	PROBE(&s, .snapshot = {.msrs = declared, .msr_count = 2});
	static const uint32_t allowed[] = {0xC0000100, 0xC0000101, 0xC0000102, 0x174};
	for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++) {
		(void)DO(&s, "wrms", mote_u64(allowed[i]), mote_u64(0x1234 + i));
		CHECK_EQ(DO(&s, "rdms", mote_u64(allowed[i])), 0x1234 + i);
	}
	FAILS(&s, MOTE_EABORT, "GeneralProtectionFault", ULONG, "rdms", mote_u64(0x175));
	system_close(&s);
}

TEST(guest_stock__x87_control_is_reset_for_every_call)
{
	struct system s;
	PROBE(&s);
	int rc = MOTE_CALL(s.sandbox, "fpu_", NULL, &s.err, MOTE_U64, mote_u64(0));
	skip_if_emulated(&s, rc, "FNSTCW");
	CHECK_EQ(rc, MOTE_OK);
	CHECK_EQ(DO(&s, "fpu_", mote_u64(0)) & 0xFFFF, 0x37F);
	rc = MOTE_CALL(s.sandbox, "fpu_", NULL, &s.err, MOTE_U64, mote_u64(1), mote_u64(0x27F));
	skip_if_emulated(&s, rc, "FLDCW");
	CHECK_EQ(rc, MOTE_OK);
	CHECK_EQ(DO(&s, "fpu_", mote_u64(0)) & 0xFFFF, 0x37F);
	CHECK_EQ(DO(&s, "fpu_", mote_u64(2)) & 0xFFFF, 0);
	system_close(&s);
}

TEST(guest_stock__sse_registers_are_reset_for_every_call_but_for_mxcsr)
{
	struct system s;
	PROBE(&s);
	int rc = MOTE_CALL(s.sandbox, "fpu_", NULL, &s.err, MOTE_U64, mote_u64(6), mote_u64(99));
	skip_if_emulated(&s, rc, "MOVQ to XMM7");
	CHECK_EQ(rc, MOTE_OK);
	CHECK_EQ(DO(&s, "fpu_", mote_u64(5)), 0);
	CHECK_EQ(DO(&s, "fpu_", mote_u64(3)) & 0xFFFF, 0x1F80);
	/* The kernel's FPU call does not reach it (guest-abi 5.3). */
	(void)DO(&s, "fpu_", mote_u64(4), mote_u64(0x9F80));
	CHECK_EQ(DO(&s, "fpu_", mote_u64(3)) & 0xFFFF, 0x9F80);
	system_close(&s);
}

/* ---- ends ------------------------------------------------------------------------------------ */

TEST(guest_stock__golden_results_are_decoded)
{
	struct system s;
	PROBE(&s);
	CHECK_EQ(CALL_I32(&s, "gold", mote_u64(PROBE_INT_42)), 42);
	CHECK_EQ(CALL_I32(&s, "gold", mote_u64(PROBE_INT_0)), 0);
	CALL_VOID(&s, "gold", mote_u64(PROBE_VOID));
	CHECK_EQ(CALL_I64(&s, "gold", mote_u64(PROBE_LONG_MINUS_1)), -1);
	CHECK_STR(CALL_TEXT(&s, "gold", mote_u64(PROBE_STRING_HI)), "hi");
	struct mote_value bytes = CALL(&s, MOTE_BYTES, "gold", mote_u64(PROBE_BYTES_123));
	CHECK_EQ(bytes.bytes.len, 3);
	CHECK_MEM(bytes.bytes.data, "\1\2\3", 3);
	FAILS(&s, MOTE_EGUEST, "Guest error occurred HostFunctionError: boom", MOTE_I32, "gold",
	      mote_u64(PROBE_ERROR_BOOM));
	CHECK_EQ(s.err.poisoned, 0);
	FAILS(&s, MOTE_ETYPE, "the guest answered i32, the caller expects string", MOTE_STRING,
	      "gold", mote_u64(PROBE_INT_42));
	system_close(&s);
}

TEST(guest_stock__golden_host_calls_and_logs_are_served)
{
	struct system s;
	PROBE(&s);
	CHECK_EQ(DO(&s, "host"), 77);
	(void)DO(&s, "log_");
	CHECK_STR(s.logged, "3 s c f.rs 7 m\n");
	system_close(&s);
	OPEN(&s, "stock_probe");
	CHECK_EQ(DO(&s, "host"), 1000 + MOTE_GUEST_HOST_FUNCTION_ERROR);
	system_close(&s);
}

TEST(guest_stock__calls_end_with_hlt_and_with_port_108_of_any_width)
{
	struct system s;
	PROBE(&s);
	CHECK_EQ(DO(&s, "halt", mote_u64(11)), 11);
	CHECK_EQ(DO(&s, "end_", mote_u64(12), mote_u64(1)), 12);
	CHECK_EQ(DO(&s, "end_", mote_u64(13), mote_u64(2)), 13);
	CHECK_EQ(DO(&s, "end_", mote_u64(14), mote_u64(4)), 14);
	CHECK_EQ(DO(&s, "halt", mote_u64(15)), 15);
	CHECK_EQ(system_statistics(&s).exits_halt, 6);
	system_close(&s);
}

TEST(guest_stock__the_last_of_two_results_is_delivered)
{
	struct system s;
	PROBE(&s);
	CHECK_EQ(DO(&s, "two_", mote_u64(1), mote_u64(2)), 2);
	/* The first one stays below, as in the ABI. */
	CHECK_EQ(DO(&s, "two_", mote_u64(3), mote_u64(4)), 4);
	FAILS(&s, MOTE_ETYPE, "u64", MOTE_I32, "two_", mote_u64(1), mote_u64(2));
	CHECK_EQ(DO(&s, "end_", mote_u64(5), mote_u64(4)), 5);
	system_close(&s);
}

TEST(guest_stock__no_result_or_a_spoilt_output_stack_is_an_error_that_does_not_poison)
{
	struct system s;
	PROBE(&s);
	FAILS(&s, MOTE_EPROTOCOL, "Stack pointer is out of bounds. Stack pointer: 8", ULONG,
	      "noth");
	CHECK_EQ(s.err.poisoned, 0);
	CHECK_EQ(DO(&s, "halt", mote_u64(1)), 1);
	static const struct {
		uint64_t pointer, back;
		const char *text;
	} cases[] = {
		{0, 0, "Stack pointer: 0, Buffer size: 16384"},
		{15, 8, "Stack pointer: 15, Buffer size: 16384"},
		{0x4001, 8, "Stack pointer: 16385, Buffer size: 16384"},
		{UINT64_MAX, 8, "Stack pointer: 18446744073709551615, Buffer size: 16384"},
		{0x100, 7, "Corrupt buffer back-pointer: element offset 7 is outside valid range "
			   "[8, 240]."},
		{0x100, 0xF1, "Corrupt buffer back-pointer: element offset 241 is"},
		{0x100, UINT64_MAX, "Corrupt buffer back-pointer: element offset 1844674407370955"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		FAILS(&s, MOTE_EPROTOCOL, cases[i].text, ULONG, "spoi", mote_u64(cases[i].pointer),
		      mote_u64(cases[i].back));
		CHECK_EQ(s.err.poisoned, 0);
		CHECK_EQ(mote_sandbox_state(s.sandbox), MOTE_STATE_READY);
		system_again(&s);
	}
	system_close(&s);
}

TEST(guest_stock__a_spoilt_input_stack_is_an_error_before_the_guest_runs)
{
	struct system s;
	PROBE(&s);
	const uint64_t input = TOP - SCRATCH;
	static const uint64_t pointers[] = {0, 7, 0x4001, UINT64_MAX};
	for (size_t i = 0; i < sizeof pointers / sizeof *pointers; i++) {
		poke(&s, input, pointers[i]);
		const uint64_t entries = system_statistics(&s).vm_entries;
		FAILS(&s, MOTE_EPROTOCOL, "Unable to push data to buffer: Stack pointer is out of "
					  "bounds. Stack pointer: ", ULONG, "halt", mote_u64(1));
		CHECK_EQ(s.err.poisoned, 0);
		CHECK_EQ(system_statistics(&s).vm_entries, entries);
		system_again(&s);
	}
	poke(&s, input, 0x4000 - 16);
	FAILS(&s, MOTE_ETOOBIG, "Not enough space in buffer to push data. Required: ", ULONG,
	      "halt", mote_u64(1));
	CHECK_HAS(s.err.message, ", Available: 16");
	system_close(&s);
}

TEST(guest_stock__an_abort_poisons)
{
	struct system s;
	PROBE(&s);
	FAILS(&s, MOTE_EABORT, "Guest aborted: 9 ", ULONG, "abrt", mote_u64(9));
	CHECK_EQ(s.err.guest_code, 9);
	CHECK_EQ(s.err.poisoned, 1);
	FAILS(&s, MOTE_ESTATE, "The sandbox was poisoned", ULONG, "halt", mote_u64(1));
	system_again(&s);
	CHECK_EQ(DO(&s, "halt", mote_u64(1)), 1);
	system_close(&s);
}

TEST(guest_stock__exceptions_have_the_abis_text_and_are_parsed)
{
	struct system s;
	PROBE(&s);
	FAILS(&s, MOTE_EABORT,
	      "Guest aborted: 15 Exception: PageFault | Exception vector: 14 Faulting Instruction: 0x",
	      ULONG, "peek", mote_u64(0x123456789000));
	CHECK_EQ(s.err.has_fault, 1);
	CHECK_EQ(s.err.vector, 14);
	CHECK_EQ(s.err.fault_gva, 0x123456789000);
	CHECK_EQ(s.err.error_code, 0);
	CHECK(s.err.instruction_gva > 0x1000 && s.err.instruction_gva < 0x10000);
	CHECK(s.err.stack_gva > TOP - SCRATCH && s.err.stack_gva < TOP);
	system_again(&s);
	FAILS(&s, MOTE_EABORT, "Exception: InvalidOpcode | ", ULONG, "what");
	CHECK_EQ(s.err.vector, 6);
	system_again(&s);
	FAILS(&s, MOTE_EABORT, "Exception: GeneralProtectionFault | ", ULONG, "peek",
	      mote_u64(1ull << 62));
	system_again(&s);
	/* Copy-on-write memory, of which this guest makes no copies. */
	FAILS(&s, MOTE_EABORT, "Page Fault Address: 0x1000 Error code: 0x3", ULONG, "poke",
	      mote_u64(0x1000), mote_u64(1));
	system_close(&s);
}

TEST(guest_stock__a_triple_fault_is_an_error)
{
	struct system s;
	PROBE(&s);
	FAILS(&s, MOTE_EPROTOCOL, "Unexpected VM exit: shutdown (triple fault)", ULONG, "trip");
	CHECK_EQ(s.err.poisoned, 1);
	system_close(&s);
}

TEST(guest_stock__unknown_ports_and_in_are_errors)
{
	struct system s;
	PROBE(&s);
	static const uint32_t ports[] = {0,   0x20, 98,  100, 104, 105, 106,
					 107, 109,  0xE0, 0xE1, 0x3F8, 0xFFFF};
	for (size_t i = 0; i < sizeof ports / sizeof *ports; i++) {
		char text[80];
		(void)snprintf(text, sizeof text,
			       "Invalid outb port: Invalid OutBAction value: %u", ports[i]);
		FAILS(&s, MOTE_EPROTOCOL, text, ULONG, "out_", mote_u64(ports[i]), mote_u64(14),
		      mote_u64(i % 3 + 1));
		CHECK_EQ(s.err.poisoned, 1);
		system_again(&s);
	}
	FAILS(&s, MOTE_EPROTOCOL, "Unexpected VM exit: IN from port 64", ULONG, "in__",
	      mote_u64(64));
	system_close(&s);
}

TEST(guest_stock__an_endless_loop_is_cancelled)
{
	struct system s;
	PROBE(&s);
	struct mote_call call = *CALL_OF("loop", MOTE_U64);
	call.timeout_ns = 20000000;
	CHECK_EQ(mote_sandbox_call(s.sandbox, &call, NULL, &s.err), MOTE_ECANCELED);
	CHECK_EQ(s.err.poisoned, 1);
	system_close(&s);
}

/* ---- tables that the guest edits ------------------------------------------------------------- */

/* Let the leaf of a heap page point to gpa; its address. */
static uint64_t remap(struct system *s, uint64_t gpa, uint64_t flags)
{
	uint64_t at, heap = general(s, 0, PROBE_RDI) + PAGE;
	(void)leaf(s, heap, &at);
	poke(s, at, gpa | flags);
	(void)DO(s, "invl", mote_u64(heap));
	return heap;
}

TEST(guest_stock__access_to_physical_memory_that_is_not_there_is_an_error)
{
	struct system s;
	PROBE(&s);
	uint64_t gva = remap(&s, 0x500000000, 0x063);
	FAILS(&s, MOTE_EPROTOCOL, "MMIO READ access to unmapped address 0x500000018", ULONG,
	      "peek", mote_u64(gva + 0x18));
	CHECK_EQ(s.err.poisoned, 1);
	system_again(&s);
	gva = remap(&s, 0x500000000, 0x063);
	FAILS(&s, MOTE_EPROTOCOL, "MMIO WRITE access to unmapped address 0x500000020", ULONG,
	      "poke", mote_u64(gva + 0x20), mote_u64(1));
	system_again(&s);
	gva = remap(&s, 0, 0x063); /* page 0 */
	FAILS(&s, MOTE_EPROTOCOL, "MMIO READ access to unmapped address 0x8", ULONG, "peek",
	      mote_u64(gva + 8));
	system_close(&s);
}

TEST(guest_stock__the_snapshot_cannot_be_written_physically)
{
	struct system s;
	PROBE(&s);
	uint64_t gva = remap(&s, 0x1000, 0x063);
	CHECK_EQ((uint32_t)peek(&s, gva), 0x464C457F);
	FAILS(&s, MOTE_EPROTOCOL, "MMIO WRITE access to unmapped address 0x1010", ULONG, "poke",
	      mote_u64(gva + 0x10), mote_u64(0x6666));
	system_again(&s);
	CHECK(peek(&s, 0x1010) != 0x6666);
	system_close(&s);
}

TEST(guest_stock__reserved_bits_of_an_entry_fault)
{
	struct system s;
	PROBE(&s);
	uint64_t gva = remap(&s, 1ull << 40, 0x063);
	FAILS(&s, MOTE_EABORT, "Exception: PageFault | ", ULONG, "peek", mote_u64(gva));
	system_close(&s);
}

static void check_read(struct system *s, uint64_t gva, int code, const char *text)
{
	uint8_t bytes[3 * PAGE];
	memset(bytes, 0xA5, sizeof bytes);
	CHECK_EQ(mote_sandbox_read(s->sandbox, gva, bytes, sizeof bytes, &s->err), code);
	if (code == MOTE_OK)
		return;
	CHECK_HAS(s->err.message, text);
	for (size_t i = 0; i < sizeof bytes; i++)
		CHECK_EQ(bytes[i], 0xA5);
}

TEST(guest_stock__the_host_reads_through_edited_tables_within_bounds)
{
	struct system s;
	PROBE(&s);
	/* Nothing, behind scratch, between the regions, as far as an address goes. */
	static const uint64_t nothing[] = {0, 0x1000000000, 0x500000000, 0xFFFFFFFFFF000,
					   0x1000000000 - SCRATCH - PAGE};
	uint64_t gva = 0;
	for (size_t i = 0; i < sizeof nothing / sizeof *nothing; i++) {
		gva = remap(&s, nothing[i], 0x061);
		check_read(&s, gva, MOTE_EADDR, "is mapped to nothing");
		CHECK_EQ(s.err.fault_gva, gva);
		CHECK_EQ(mote_sandbox_write(s.sandbox, gva, "x", 1, &s.err), MOTE_EADDR);
		gva = remap(&s, nothing[i], 0x063);
		CHECK_EQ(mote_sandbox_write(s.sandbox, gva, "x", 1, &s.err), MOTE_EADDR);
		gva = remap(&s, nothing[i], 0x261);
		CHECK_EQ(mote_sandbox_write(s.sandbox, gva, "x", 1, &s.err), MOTE_EADDR);
	}
	gva = remap(&s, 0x1000000000 - PAGE, 0x063); /* the last page of scratch */
	check_read(&s, gva, MOTE_OK, "");
	/* A writable leaf over the snapshot, which is not. */
	gva = remap(&s, 0x1000, 0x063);
	CHECK_EQ(mote_sandbox_write(s.sandbox, gva, "x", 1, &s.err), MOTE_EADDR);
	system_close(&s);
}

/* Set the entry of gva in the table of a level (2: table of leaf tables). */
static void set_upper(struct system *s, uint64_t gva, int level, uint64_t value)
{
	uint64_t entry = peek(s, TOP - 0x18), at;
	for (int l = 4;; l--) {
		at = (entry & ADDRESS) + LINEAR + (gva >> (12 + 9 * (l - 1)) & 511) * 8;
		if (l == level)
			break;
		OK(s, mote_sandbox_read(s->sandbox, at, &entry, 8, &s->err));
	}
	poke(s, at, value);
}

#define FREE_GVA 0x200000000ull /* under a top-level entry that there is */

TEST(guest_stock__tables_that_point_to_themselves_or_anywhere_bound_the_hosts_walk)
{
	struct system s;
	PROBE(&s);
	const uint64_t root = peek(&s, TOP - 0x18);
	static const uint64_t upper[] = {0x023, 0x500000023, 0xFFFFFFFFFF023, 0x1000000023,
					 0x0A3, 0x10000000A3, 0x40000A3};
	set_upper(&s, FREE_GVA, 3, root | 0x023);
	for (size_t i = 0; i < sizeof upper / sizeof *upper; i++)
		for (int level = 2; level <= 4; level++) {
			const uint64_t gva = level == 4 ? 0x8000000000
					     : level == 3 ? FREE_GVA + (1ull << 30)
							  : FREE_GVA + (5ull << 21);
			uint8_t byte = 0;
			set_upper(&s, gva, level, upper[i]);
			int rc = mote_sandbox_read(s.sandbox, gva, &byte, 1, &s.err);
			CHECK(rc == MOTE_OK || rc == MOTE_EADDR);
			rc = mote_sandbox_write(s.sandbox, gva, &byte, 1, &s.err);
			CHECK(rc == MOTE_OK || rc == MOTE_EADDR);
		}
	/* The root as every table: the leaf is a table of the guest. */
	set_upper(&s, 0x8000000000, 4, root | 0x023);
	uint64_t word = 0, gva = 0x8000000000 | 1ull << 30 | 1ull << 21 | 1ull << 12;
	OK(&s, mote_sandbox_read(s.sandbox, gva, &word, 8, &s.err));
	CHECK_EQ(word, peek(&s, root + LINEAR));
	OK(&s, mote_sandbox_write(s.sandbox, gva + 8 * 100, &(uint64_t){0}, 8, &s.err));
	CHECK_EQ(DO(&s, "halt", mote_u64(3)), 3);
	system_close(&s);
}

static uint64_t symbol_page(struct system *s)
{
	/* The image's page that is filled with 0x1261. */
	uint64_t word = 0;
	for (uint64_t gva = 0x1000; gva < general(s, 0, PROBE_RDI); gva += PAGE) {
		OK(s, mote_sandbox_read(s->sandbox, gva, &word, 8, &s->err));
		if (word == 0x1261)
			return gva;
	}
	CHECK(!"no such page");
	return 0;
}

TEST(guest_stock__the_host_writes_no_table_that_lies_in_the_snapshot)
{
	struct system s;
	PROBE(&s);
	/* Leaves that say copy-on-write, in memory that nobody may write. */
	set_upper(&s, 0x40000000, 3, (peek(&s, TOP - 0x18) + PAGE) | 0x023);
	const uint64_t table = symbol_page(&s);
	set_upper(&s, 0x00200000, 2, table | 0x023);
	uint32_t word = 0;
	OK(&s, mote_sandbox_read(s.sandbox, 0x00200000, &word, 4, &s.err));
	CHECK_EQ(word, 0x464C457F);
	CHECK_EQ(mote_sandbox_write(s.sandbox, 0x00200000, "x", 1, &s.err), MOTE_EADDR);
	CHECK_EQ(mote_sandbox_state(s.sandbox), MOTE_STATE_READY);
	system_close(&s);
}

TEST(guest_stock__a_write_that_changes_the_tables_it_goes_through_stays_within_bounds)
{
	struct system s;
	static uint8_t data[3 * PAGE];
	PROBE(&s);
	uint64_t at, heap = general(&s, 0, PROBE_RDI) + PAGE;
	/* The first page is the leaf table of all three. */
	(void)leaf(&s, heap, &at);
	const uint64_t table = (at & ~(PAGE - 1)) - LINEAR;
	static const uint64_t entries[] = {0, UINT64_MAX, 0x500000063, 0x500000261, 0x0E3, 0x1261};
	for (size_t i = 0; i < sizeof entries / sizeof *entries; i++) {
		for (size_t j = 0; j < sizeof data; j += 8)
			memcpy(data + j, &entries[i], 8);
		heap = remap(&s, table, 0x063);
		int rc = mote_sandbox_write(s.sandbox, heap, data, sizeof data, &s.err);
		CHECK(rc == MOTE_OK || rc == MOTE_EADDR || rc == MOTE_ENOMEM);
		system_again(&s);
	}
	system_close(&s);
}

TEST(guest_stock__the_host_copies_a_page_as_the_guest_would)
{
	struct system s;
	uint64_t at;
	PROBE(&s);
	const uint64_t heap = general(&s, 0, PROBE_RDI) + PAGE;
	CHECK_EQ(peek(&s, heap), 0);
	const uint64_t next = peek(&s, TOP - 0x10);
	OK(&s, mote_sandbox_write(s.sandbox, heap + 8, "12345678", 8, &s.err));
	CHECK_EQ(peek(&s, heap + 8), 0x3837363534333231);
	CHECK_EQ(peek(&s, heap), 0);
	CHECK_EQ(leaf(&s, heap, &at), next | 0x063 | NO_EXECUTE);
	CHECK_EQ(peek(&s, TOP - 0x10), next + PAGE);
	poke(&s, heap + 16, 5); /* writable now */
	CHECK_EQ(peek(&s, heap + 16), 5);
	/* Code: copied, still executable, and not the snapshot's any more. */
	OK(&s, mote_sandbox_write(s.sandbox, 0x1000, "\x90", 1, &s.err));
	CHECK_EQ(leaf(&s, 0x1000, &at), (next + PAGE) | 0x063);
	CHECK_EQ((uint8_t)peek(&s, 0x1000), 0x90);
	system_again(&s);
	CHECK_EQ((uint8_t)peek(&s, 0x1000), 0x7F);
	system_close(&s);
}

TEST(guest_stock__a_hostile_allocator_word_bounds_the_hosts_write)
{
	struct system s;
	PROBE(&s);
	static const uint64_t words[] = {0, 1, UINT64_MAX, 0x1000000000, 0xFFFFFD000,
					 0xFFFFFC001, 1ull << 63};
	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		const uint64_t heap = general(&s, 0, PROBE_RDI) + PAGE;
		poke(&s, TOP - 0x10, words[i]);
		int rc = mote_sandbox_write(s.sandbox, heap, "x", 1, &s.err);
		CHECK(rc == MOTE_OK || rc == MOTE_ENOMEM);
		CHECK(system_statistics(&s).frames_used <= SCRATCH / PAGE);
		system_again(&s);
	}
	system_close(&s);
}

TEST(guest_stock__large_scratch_can_be_written_by_the_host_to_its_end)
{
	struct system s;
	PROBE(&s, .snapshot = {.scratch_bytes = 64 << 20, .heap_bytes = 1 << 20});
	const uint64_t heap = general(&s, 0, PROBE_RDI) + PAGE;
	/* As if the guest had taken 32 MiB of frames. */
	poke(&s, TOP - 0x10, peek(&s, TOP - 0x10) + (32 << 20));
	OK(&s, mote_sandbox_write(s.sandbox, heap, "x", 1, &s.err));
	CHECK_EQ((uint8_t)peek(&s, heap), 'x');
	system_close(&s);
}

/* ---- counters -------------------------------------------------------------------------------- */

TEST(guest_stock__a_call_takes_at_most_two_ioctls_of_the_processor)
{
	struct system s;
	PROBE(&s);
	CHECK_EQ(DO(&s, "halt", mote_u64(1)), 1);
	const struct mote_statistics a = system_statistics(&s);
	for (int i = 0; i < 10; i++)
		CHECK_EQ(DO(&s, "end_", mote_u64(1), mote_u64(4)), 1);
	const struct mote_statistics b = system_statistics(&s);
	CHECK(b.vcpu_ioctls - a.vcpu_ioctls <= 20);
	CHECK_EQ(b.vm_entries - a.vm_entries, 10);
	CHECK_EQ(DO(&s, "host"), 77);
	const struct mote_statistics c = system_statistics(&s);
	CHECK(c.vcpu_ioctls - b.vcpu_ioctls <= 3);
	CHECK_EQ(c.vm_entries - b.vm_entries, 2);
	system_close(&s);
}
