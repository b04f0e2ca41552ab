/* SPDX-License-Identifier: MIT */
/*
 * A bare stock guest of family S in ring 0: what it finds at its entries, in its PEB, scratch words
 * and page tables is what the ABI says, and every exit that it can cause ends as the ABI says.
 */
#include "probe.h"

#include <stdio.h>

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
	static const enum probe_general zero[] = {PROBE_R15, PROBE_R14, PROBE_R13, PROBE_R12,
						  PROBE_R11, PROBE_R10, PROBE_R9,  PROBE_R8,
						  PROBE_RBP, PROBE_RBX, PROBE_RAX};
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
	} expected[] = {{PROBE_CR0, 0x80050033}, {PROBE_CR2, 0},          {PROBE_CR4, 0x620},
			{PROBE_CR8, 0},          {PROBE_CS, 0},           {PROBE_DS, 0},
			{PROBE_ES, 0},           {PROBE_FS, 0},           {PROBE_GS, 0},
			{PROBE_SS, 0},           {PROBE_TR, 0},           {PROBE_LDTR, 0},
			{PROBE_GDT_BASE, 0},     {PROBE_GDT_LIMIT, 0},    {PROBE_IDT_BASE, 0},
			{PROBE_IDT_LIMIT, 0},    {PROBE_DR6, 0xFFFF0FF0}, {PROBE_DR7, 0x400}};
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
	const uint64_t expected[] = {
		BUFFER, base, BUFFER, base + BUFFER, 10, peb + PAGE + 0x20000, 0x20000, peb + PAGE};
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
		PROBE(&s, .snapshot = {.init_data = "x",
				       .init_data_bytes = 1,
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
	PROBE(&s, .snapshot = {.input_bytes = 0x2000,
			       .output_bytes = 0x2800,
			       .heap_bytes = 5000,
			       .scratch_bytes = 0x100000});
	const uint64_t peb = general(&s, 0, PROBE_RDI), base = TOP - 0x100000;
	const uint64_t expected[] = {0x2000, base,           0x2800, base + 0x2000,
				     0,      peb + 3 * PAGE, 5000,   peb + PAGE};
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
	CHECK_EQ(cpuid(&s, 1, 2) & (1u << 5), 0);          /* VMX */
	CHECK_EQ(cpuid(&s, 1, 2) & (1u << 21), 0);         /* x2APIC */
	CHECK_EQ(cpuid(&s, 7, 2) & (1u << 7), 0);          /* shadow stacks */
	CHECK_EQ(cpuid(&s, 7, 3) & (1u << 20), 0);         /* indirect-branch tracking */
	CHECK_EQ(cpuid(&s, 0x80000001, 2) & (1u << 2), 0); /* SVM */
	system_close(&s);
}

TEST(guest_stock__model_specific_registers_are_denied)
{
	struct system s;
	PROBE(&s);
	/* EFER, LSTAR, APIC base, TSC, SYSENTER, PAT, MTRR, kernel GS, one that is nobody's. */
	static const uint32_t denied[] = {0xC0000080, 0xC0000082, 0x1B,       0x10,      0x174,
					  0x277,      0x2FF,      0xC0000102, 0x12345678};
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
	system_skip_if_emulated(&s, rc, "FNSTCW");
	CHECK_EQ(rc, MOTE_OK);
	CHECK_EQ(DO(&s, "fpu_", mote_u64(0)) & 0xFFFF, 0x37F);
	rc = MOTE_CALL(s.sandbox, "fpu_", NULL, &s.err, MOTE_U64, mote_u64(1), mote_u64(0x27F));
	system_skip_if_emulated(&s, rc, "FLDCW");
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
	system_skip_if_emulated(&s, rc, "MOVQ to XMM7");
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
	PROBE(&s, .sandbox.log_level = MOTE_LOG_INFO);
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

TEST(guest_stock__a_call_leaves_both_buffers_empty_and_zero)
{
	struct system s;
	static uint8_t buffers[2 * BUFFER];
	PROBE(&s);
	for (int i = 0; i < 3; i++) {
		if (i == 0)
			CHECK_EQ(DO(&s, "halt", mote_u64(UINT64_MAX)), UINT64_MAX);
		else if (i == 1)
			CHECK_EQ(DO(&s, "host"), 77);
		else
			FAILS(&s, MOTE_EGUEST, "boom", MOTE_I32, "gold",
			      mote_u64(PROBE_ERROR_BOOM));
		OK(&s,
		   mote_sandbox_read(s.sandbox, TOP - SCRATCH, buffers, sizeof buffers, &s.err));
		for (size_t at = 0; at < sizeof buffers; at++)
			CHECK_EQ(buffers[at], at % BUFFER == 0 ? 8 : 0);
	}
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
		{0x100, 7,
		 "Corrupt buffer back-pointer: element offset 7 is outside valid range "
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
		FAILS(&s, MOTE_EPROTOCOL,
		      "Unable to push data to buffer: Stack pointer is out of "
		      "bounds. Stack pointer: ",
		      ULONG, "halt", mote_u64(1));
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
	      "Guest aborted: 15 Exception: PageFault | Exception vector: 14 Faulting Instruction: "
	      "0x",
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
	static const uint32_t ports[] = {0,   0x20, 98,   100,  104,   105,   106,
					 107, 109,  0xE0, 0xE1, 0x3F8, 0xFFFF};
	for (size_t i = 0; i < sizeof ports / sizeof *ports; i++) {
		char text[80];
		(void)snprintf(text, sizeof text, "Invalid outb port: Invalid OutBAction value: %u",
			       ports[i]);
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
