/* SPDX-License-Identifier: MIT */
/*
 * A bare 32-bit guest in ring 0: what it finds at its entries, in its PEB, scratch words and page
 * tables is what the ABI says for i686, and every end of a call is what it says. Its processes run
 * in ring 3, in address spaces of their own.
 */
#include "i686.h"

#include <stdio.h>

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

static uint32_t general(struct system *s, enum i686_when when, enum i686_general index)
{
	return (uint32_t)DO(s, "gene", mote_u64(when), mote_u64(index));
}

static uint32_t system_register(struct system *s, enum i686_system index)
{
	return (uint32_t)DO(s, "syst", mote_u64(index));
}

/* ---- entries --------------------------------------------------------------------------------- */

TEST(guest_i686__general_registers_of_initialise_are_the_abis)
{
	struct system s;
	KERNEL(&s, .sandbox.log_level = MOTE_LOG_INFO);
	CHECK_EQ(general(&s, I686_AT_INITIALISE, I686_EDI) % PAGE, 0);
	CHECK_EQ(general(&s, I686_AT_INITIALISE, I686_EDX), PAGE);
	CHECK_EQ(general(&s, I686_AT_INITIALISE, I686_ECX), MOTE_LOG_INFO);
	CHECK_EQ(general(&s, I686_AT_INITIALISE, I686_ESP), 0xFFFFFFC8);
	CHECK_EQ(general(&s, I686_AT_INITIALISE, I686_EFLAGS), 2);
	CHECK_EQ(general(&s, I686_AT_INITIALISE, I686_EAX), 0);
	CHECK_EQ(general(&s, I686_AT_INITIALISE, I686_EBX), 0);
	CHECK_EQ(general(&s, I686_AT_INITIALISE, I686_EBP), 0);
	const uint32_t seed = general(&s, I686_AT_INITIALISE, I686_ESI);
	system_again(&s);
	CHECK(general(&s, I686_AT_INITIALISE, I686_ESI) != seed);
	CHECK_EQ(general(&s, I686_AT_INITIALISE, I686_ECX), MOTE_LOG_ERROR);
	system_close(&s);
}

TEST(guest_i686__general_registers_of_every_dispatch_are_the_abis)
{
	struct system s;
	KERNEL(&s);
	for (int turn = 0; turn < 2; turn++)
		for (unsigned i = 0; i < I686_GENERAL_COUNT; i++) {
			uint32_t value = general(&s, I686_AT_DISPATCH, i);
			CHECK_EQ(value, i == I686_EFLAGS ? 2 : i == I686_ESP ? 0xFFFFFFC0 : 0);
		}
	mote_snapshot *a = take(&s);
	restore(&s, a);
	CHECK_EQ(general(&s, I686_AT_DISPATCH, I686_EFLAGS), 0x42);
	CHECK_EQ(general(&s, I686_AT_DISPATCH, I686_EFLAGS), 2);
	mote_snapshot_unref(a);
	system_close(&s);
}

static void check_segment(const struct mote__segment *segment, uint16_t selector, uint8_t type)
{
	const struct mote__segment expected = {.limit = 0xFFFFFFFF,
					       .selector = selector,
					       .type = type,
					       .present = 1,
					       .db = 1,
					       .s = 1,
					       .g = 1};
	CHECK_EQ(segment->base, expected.base);
	CHECK_EQ(segment->limit, expected.limit);
	CHECK_EQ(segment->selector, expected.selector);
	CHECK_EQ(segment->type, expected.type);
	CHECK(segment->present == 1 && segment->db == 1 && segment->s == 1 && segment->g == 1);
	CHECK(segment->dpl == 0 && segment->l == 0 && segment->unusable == 0);
}

/* What the guest cannot read by itself. */
TEST(guest_i686__the_processor_is_created_in_the_abis_state)
{
	struct system s;
	struct mote__special special;
	KERNEL(&s);
	OK(&s, s.sandbox->machine->ops->get_special(s.sandbox->machine, &special, &s.err));
	check_segment(&special.cs, 0x08, 0xB);
	check_segment(&special.ds, 0x10, 0x3);
	check_segment(&special.es, 0x10, 0x3);
	check_segment(&special.fs, 0x10, 0x3);
	check_segment(&special.gs, 0x10, 0x3);
	check_segment(&special.ss, 0x10, 0x3);
	CHECK(special.tr.base == 0 && special.tr.limit == 0xFFFF && special.tr.selector == 0);
	CHECK(special.tr.type == 0xB && special.tr.present == 1 && special.tr.s == 0);
	CHECK_EQ(special.ldt.present, 0);
	CHECK_EQ(special.efer, 0);
	CHECK_EQ(special.cr0, 0x80010011);
	CHECK_EQ(special.cr4, 0);
	CHECK_EQ(special.cr3, GPA_END - SCRATCH + 2 * BUFFER);
	system_close(&s);
}

TEST(guest_i686__system_registers_are_the_abis)
{
	struct system s;
	KERNEL(&s);
	static const struct {
		enum i686_system index;
		uint32_t value;
	} expected[] = {{I686_CR0, 0x80010011}, {I686_CR2, 0},      {I686_CR4, 0},
			{I686_CS, 0x08},        {I686_DS, 0x10},    {I686_ES, 0x10},
			{I686_FS, 0x10},        {I686_GS, 0x10},    {I686_SS, 0x10},
			{I686_TR, 0},           {I686_LDTR, 0},     {I686_GDT_BASE, 0},
			{I686_GDT_LIMIT, 0},    {I686_IDT_BASE, 0}, {I686_IDT_LIMIT, 0},
			{I686_DR6, 0xFFFF0FF0}, {I686_DR7, 0x400}};
	for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
		uint32_t value = system_register(&s, expected[i].index);
		if (value != expected[i].value)
			check_note("system register %zu", i);
		CHECK_EQ(value, expected[i].value);
	}
	CHECK_EQ(system_register(&s, I686_CR3), peek(&s, 0, TOP - 0x18));
	system_close(&s);
}

TEST(guest_i686__the_peb_is_the_abis)
{
	struct system s;
	KERNEL(&s, .snapshot = {.init_data = "0123456789", .init_data_bytes = 10});
	const uint64_t peb = general(&s, I686_AT_INITIALISE, I686_EDI);
	const uint64_t base = TOP - SCRATCH;
	const uint64_t expected[] = {
		BUFFER, base, BUFFER, base + BUFFER, 10, peb + PAGE + 0x20000, 0x20000, peb + PAGE};
	for (unsigned i = 0; i < 8; i++) {
		CHECK_EQ(peek(&s, 0, peb + 8ull * i), expected[i]);
		CHECK_EQ(peek(&s, 0, peb + 8ull * i + 4), 0);
	}
	CHECK_EQ(peek(&s, 0, peb + PAGE + 0x20000), 0x33323130);
	FAILS(&s, MOTE_EABORT, "Exception: PageFault | ", MOTE_U64, "poke", mote_u64(0),
	      mote_u64(peb), mote_u64(1));
	system_close(&s);
}

TEST(guest_i686__scratch_words_are_the_abis)
{
	struct system s;
	KERNEL(&s);
	const uint64_t tables = peek(&s, 0, TOP - 0x18);
	CHECK_EQ(peek(&s, 0, TOP - 0x08), SCRATCH);
	CHECK_EQ(tables, 0xFEE00000 - SCRATCH + 2 * BUFFER);
	/* Three tables, and the three pages that the guest took. */
	CHECK_EQ(peek(&s, 0, TOP - 0x10), tables + (3 + 3) * PAGE);
	CHECK_EQ(peek(&s, 0, TOP - 0x20), 0);
	for (unsigned high = 0x04; high <= 0x1C; high += 8)
		CHECK_EQ(peek(&s, 0, TOP - high), 0);
	CHECK_EQ(system_statistics(&s).frames_used, 3);
	system_close(&s);
}

TEST(guest_i686__page_table_entries_are_the_abis)
{
	struct system s;
	KERNEL(&s, .snapshot = {.init_data = "x", .init_data_bytes = 1});
	const uint64_t peb = general(&s, I686_AT_INITIALISE, I686_EDI), heap = peb + PAGE;
	unsigned owned = 0;
	CHECK_EQ(directory(&s, 0, 0, 0) & ~ADDRESS, LINK);
	CHECK_EQ(directory(&s, 0, TOP - PAGE, 0) & ~ADDRESS, LINK);
	for (uint64_t gva = PAGE; gva < peb; gva += PAGE) {
		if (leaf_bits(&s, 0, gva) == LEAF_RW)
			owned++;
		else
			CHECK_EQ(leaf(&s, 0, gva), gva | LEAF_COW);
	}
	CHECK_EQ(owned, 1); /* by the guest, which copied it */
	CHECK_EQ(leaf(&s, 0, peb), peb | LEAF_RO);
	for (uint64_t gva = heap; gva < heap + 0x20000; gva += 8 * PAGE)
		CHECK_EQ(leaf(&s, 0, gva), gva | LEAF_COW);
	CHECK_EQ(leaf(&s, 0, heap + 0x20000), (heap + 0x20000) | LEAF_RO);
	CHECK_EQ(leaf(&s, 0, heap + 0x21000), 0);
	CHECK_EQ(leaf(&s, 0, 0), 0);
	for (uint64_t gva = TOP - SCRATCH; gva < TOP; gva += PAGE)
		CHECK_EQ(leaf(&s, 0, gva) & ~DIRTY, (gva - LINEAR) | LEAF_RW);
	CHECK_EQ(leaf(&s, 0, TOP - SCRATCH - PAGE), 0);
	system_close(&s);
}

TEST(guest_i686__writable_init_data_is_copy_on_write)
{
	struct system s;
	KERNEL(&s, .snapshot = {.init_data = "x",
				.init_data_bytes = 1,
				.init_data_access = MOTE_READ | MOTE_WRITE});
	const uint64_t init = general(&s, I686_AT_INITIALISE, I686_EDI) + PAGE + 0x20000;
	CHECK_EQ(leaf(&s, 0, init), init | LEAF_COW);
	poke(&s, 0, init, 0x1234);
	CHECK_EQ(peek(&s, 0, init), 0x1234);
	CHECK_EQ(leaf_bits(&s, 0, init), LEAF_RW);
	system_close(&s);
}

/* The processor reports its width, and the library that of guest physical memory. */
TEST(guest_i686__cpuid_has_32_physical_bits)
{
	struct system s;
	KERNEL(&s);
	CHECK_EQ(DO(&s, "cpui", mote_u64(0x80000008), mote_u64(0), mote_u64(0)) & 0xFF, 32);
	system_close(&s);
}

TEST(guest_i686__x87_control_is_reset_for_every_call)
{
	struct system s;
	KERNEL(&s);
	CHECK_EQ(DO(&s, "fpu_", mote_u64(0)) & 0xFFFF, 0x37F);
	(void)DO(&s, "fpu_", mote_u64(1), mote_u64(0x27F));
	CHECK_EQ(DO(&s, "fpu_", mote_u64(0)) & 0xFFFF, 0x37F);
	CHECK_EQ(DO(&s, "fpu_", mote_u64(2)) & 0xFFFF, 0);
	system_close(&s);
}

/* Every pointer in its data was relocated. */
TEST(guest_i686__a_position_independent_image_is_relocated)
{
	struct system s;
	I686(&s, "i686_pie");
	struct mote_snapshot_info info;
	mote_snapshot_get_info(s.snapshot, &info);
	CHECK(info.image_bits == 32 && info.is_position_independent == 1);
	CHECK_EQ(DO(&s, "trap"), 1);
	CHECK_EQ(run(&s, make(&s, 30), 12), 42);
	FAILS(&s, MOTE_EABORT, "Exception: InvalidOpcode | Exception vector: 6 Faulting", MOTE_U64,
	      "what");
	system_again(&s);
	FAILS(&s, MOTE_EABORT, "PageFault | Exception vector: 14 Faulting", MOTE_U64, "peek",
	      mote_u64(0), mote_u64(0));
	system_close(&s);
}

/* ---- ends ------------------------------------------------------------------------------------ */

TEST(guest_i686__host_functions_are_called)
{
	struct system s;
	KERNEL(&s, .add = add_host_add);
	for (int i = 0; i < 3; i++)
		CHECK_EQ(DO(&s, "host"), 77);
	system_close(&s);
	KERNEL(&s);
	CHECK_EQ(DO(&s, "host"), 1000 + MOTE_GUEST_HOST_FUNCTION_ERROR);
	system_close(&s);
}

TEST(guest_i686__calls_end_with_hlt_and_with_port_108_of_any_width)
{
	struct system s;
	KERNEL(&s);
	CHECK_EQ(DO(&s, "halt", mote_u64(11)), 11);
	CHECK_EQ(DO(&s, "end_", mote_u64(12), mote_u64(1)), 12);
	CHECK_EQ(DO(&s, "end_", mote_u64(13), mote_u64(2)), 13);
	CHECK_EQ(DO(&s, "end_", mote_u64(1ull << 63), mote_u64(4)), 1ull << 63);
	CHECK_EQ(DO(&s, "halt", mote_u64(15)), 15);
	system_close(&s);
}

TEST(guest_i686__prints_arrive)
{
	struct system s;
	KERNEL(&s);
	(void)DO(&s, "prin");
	CHECK_STR(s.printed, "32 bits");
	system_close(&s);
}

TEST(guest_i686__an_abort_poisons)
{
	struct system s;
	KERNEL(&s);
	FAILS(&s, MOTE_EABORT, "Guest aborted: 9 ", MOTE_U64, "abrt", mote_u64(9));
	CHECK_EQ(s.err.guest_code, 9);
	CHECK_EQ(s.err.poisoned, 1);
	FAILS(&s, MOTE_ESTATE, "The sandbox was poisoned", MOTE_U64, "halt", mote_u64(1));
	system_again(&s);
	CHECK_EQ(DO(&s, "halt", mote_u64(1)), 1);
	system_close(&s);
}

TEST(guest_i686__exceptions_have_the_abis_text_and_are_parsed)
{
	struct system s;
	KERNEL(&s);
	FAILS(&s, MOTE_EABORT,
	      "Guest aborted: 15 Exception: PageFault | Exception vector: 14 Faulting Instruction: "
	      "0x",
	      MOTE_U64, "peek", mote_u64(0), mote_u64(0x12345000));
	CHECK_EQ(s.err.has_fault, 1);
	CHECK_EQ(s.err.vector, 14);
	CHECK_EQ(s.err.fault_gva, 0x12345000);
	CHECK_EQ(s.err.error_code, 0);
	CHECK(s.err.instruction_gva > 0x1000 && s.err.instruction_gva < 0x10000);
	CHECK(s.err.stack_gva > TOP - PAGE && s.err.stack_gva < TOP);
	system_again(&s);
	FAILS(&s, MOTE_EABORT, "Exception: InvalidOpcode | ", MOTE_U64, "what");
	CHECK_EQ(s.err.vector, 6);
	system_again(&s);
	FAILS(&s, MOTE_EABORT, "Exception: GeneralProtectionFault | ", MOTE_U64, "prot");
	CHECK_EQ(s.err.error_code, 0x80);
	system_close(&s);
}

TEST(guest_i686__a_triple_fault_is_an_error)
{
	struct system s;
	KERNEL(&s);
	FAILS(&s, MOTE_EPROTOCOL, "Unexpected VM exit: shutdown (triple fault)", MOTE_U64, "trip");
	CHECK_EQ(s.err.poisoned, 1);
	system_close(&s);
}

TEST(guest_i686__unknown_ports_and_in_are_errors)
{
	struct system s;
	KERNEL(&s);
	static const uint32_t ports[] = {0, 0x20, 100, 107, 0x3F8, 0xFFFF};
	for (size_t i = 0; i < sizeof ports / sizeof *ports; i++) {
		char text[80];
		(void)snprintf(text, sizeof text, "Invalid outb port: Invalid OutBAction value: %u",
			       ports[i]);
		FAILS(&s, MOTE_EPROTOCOL, text, MOTE_U64, "out_", mote_u64(ports[i]), mote_u64(14),
		      mote_u64(i % 3 + 1));
		CHECK_EQ(s.err.poisoned, 1);
		system_again(&s);
	}
	FAILS(&s, MOTE_EPROTOCOL, "Unexpected VM exit: IN from port 64", MOTE_U64, "in__",
	      mote_u64(64));
	system_close(&s);
}

TEST(guest_i686__an_endless_loop_is_cancelled)
{
	struct system s;
	KERNEL(&s);
	struct mote_call call = *CALL_OF("loop", MOTE_U64);
	call.timeout_ns = 20000000;
	CHECK_EQ(mote_sandbox_call(s.sandbox, &call, NULL, &s.err), MOTE_ECANCELED);
	CHECK_EQ(s.err.poisoned, 1);
	restore(&s, s.snapshot);
	CHECK_EQ(DO(&s, "halt", mote_u64(1)), 1);
	system_close(&s);
}

/* The guest's own tables may name what does not exist. */
TEST(guest_i686__an_address_of_no_memory_is_an_error)
{
	struct system s;
	KERNEL(&s);
	map_page(&s, 0, 0x50000000, 0x70000000 | LEAF_RW);
	FAILS(&s, MOTE_EPROTOCOL, "0x70000000", MOTE_U64, "poke", mote_u64(0), mote_u64(0x50000000),
	      mote_u64(1));
	CHECK_EQ(s.err.poisoned, 1);
	system_close(&s);
}

/* ---- processes ------------------------------------------------------------------------------- */

TEST(guest_i686__processes_run_in_ring_3_in_spaces_of_their_own)
{
	struct system s;
	KERNEL(&s);
	const uint32_t a = make(&s, 100), b = make(&s, 200);
	CHECK(a == 1 && b == 2);
	CHECK_EQ(run(&s, a, 5), 105);
	CHECK_EQ(run(&s, b, 7), 207);
	CHECK_EQ(run(&s, a, 1), 106);
	CHECK(peek(&s, a, USER_DATA) == 106 && peek(&s, b, USER_DATA) == 207);
	CHECK_EQ(leaf(&s, 0, USER_DATA), 0);
	/* They share what the kernel has. */
	poke(&s, a, KERNEL_HALF, 0x77);
	for (uint32_t space = 0; space < 3; space++)
		CHECK_EQ(peek(&s, space, KERNEL_HALF), 0x77);
	system_close(&s);
}

TEST(guest_i686__a_fork_and_its_parent_copy_what_they_write)
{
	struct system s;
	KERNEL(&s);
	const uint32_t parent = make(&s, 100);
	CHECK_EQ(run(&s, parent, 1), 101);
	const uint32_t child = (uint32_t)DO(&s, "fork", mote_u64(parent));
	CHECK_EQ(leaf(&s, parent, USER_DATA), leaf(&s, child, USER_DATA));
	CHECK_EQ(leaf_bits(&s, child, USER_DATA), LEAF_COW | USER);
	const uint64_t copies = DO(&s, "copy");
	CHECK_EQ(run(&s, child, 1000), 1101);
	CHECK_EQ(peek(&s, parent, USER_DATA), 101);
	CHECK_EQ(run(&s, parent, 2), 103);
	CHECK_EQ(run(&s, child, 1), 1102);
	CHECK(DO(&s, "copy") >= copies + 2);
	CHECK_EQ(leaf_bits(&s, parent, USER_DATA), LEAF_RW | USER);
	CHECK_EQ(leaf(&s, parent, USER_CODE), leaf(&s, child, USER_CODE));
	system_close(&s);
}

TEST(guest_i686__ring_3_reaches_neither_the_kernel_nor_ports)
{
	struct system s;
	KERNEL(&s);
	const uint64_t space = make(&s, 1);
	FAILS(&s, MOTE_EABORT, "Page Fault Address: 0xc0000000 Error code: 0x00000007", MOTE_U64,
	      "run_", mote_u64(space), mote_u64(KERNEL_HALF), mote_u64(I686_WRITE));
	CHECK(s.err.has_fault == 1 && s.err.vector == 14);
	CHECK_EQ(s.err.instruction_gva, USER_CODE + I686_PROGRAM_BYTES * I686_WRITE);
	restore(&s, s.snapshot);
	(void)make(&s, 1);
	/* Its own code is read-only. */
	FAILS(&s, MOTE_EABORT, "Page Fault Address: 0x40000000 Error code: 0x00000007", MOTE_U64,
	      "run_", mote_u64(space), mote_u64(USER_CODE), mote_u64(I686_WRITE));
	restore(&s, s.snapshot);
	(void)make(&s, 1);
	CHECK_EQ(DO(&s, "run_", mote_u64(space), mote_u64(USER_DATA + 4), mote_u64(I686_WRITE)),
		 USER_DATA + 4);
	FAILS(&s, MOTE_EABORT, "Exception: GeneralProtectionFault | ", MOTE_U64, "run_",
	      mote_u64(space), mote_u64(0), mote_u64(I686_OUT));
	system_close(&s);
}

TEST(guest_i686__a_call_may_end_in_another_space_than_it_began_in)
{
	struct system s;
	KERNEL(&s);
	const uint32_t a = make(&s, 100), b = make(&s, 200);
	CHECK_EQ(DO(&s, "move", mote_u64(b)), DO(&s, "root", mote_u64(b)));
	CHECK_EQ(run(&s, a, 1), 101);
	CHECK_EQ(run(&s, b, 1), 201);
	CHECK_EQ(DO(&s, "move", mote_u64(0)), DO(&s, "root", mote_u64(0)));
	CHECK_EQ(DO(&s, "trap"), 1);
	system_close(&s);
}

/* ---- memory seen by the host ----------------------------------------------------------------- */

TEST(guest_i686__the_host_reads_and_writes_memory)
{
	struct system s;
	uint32_t word = 0;
	KERNEL(&s);
	const uint64_t heap = general(&s, I686_AT_INITIALISE, I686_EDI) + PAGE;
	const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7, 8};
	/* Over the border of two copy-on-write pages. */
	const uint32_t neighbour = leaf(&s, 0, heap + 2 * PAGE);
	OK(&s, mote_sandbox_write(s.sandbox, heap + PAGE - 4, bytes, 8, &s.err));
	CHECK_EQ(peek(&s, 0, heap + PAGE - 4), 0x04030201);
	CHECK_EQ(peek(&s, 0, heap + PAGE), 0x08070605);
	CHECK_EQ(leaf_bits(&s, 0, heap), LEAF_RW);
	CHECK_EQ(leaf_bits(&s, 0, heap + PAGE), LEAF_RW);
	/* An entry has four bytes: its neighbour is whole. */
	CHECK_EQ(leaf(&s, 0, heap + 2 * PAGE), neighbour);
	CHECK_EQ(system_statistics(&s).frames_used, 5);
	poke(&s, 0, KERNEL_HALF, 0x4711);
	OK(&s, mote_sandbox_read(s.sandbox, KERNEL_HALF, &word, 4, &s.err));
	CHECK_EQ(word, 0x4711);
	word = 0x4712;
	OK(&s, mote_sandbox_write(s.sandbox, KERNEL_HALF, &word, 4, &s.err));
	CHECK_EQ(peek(&s, 0, KERNEL_HALF), 0x4712);
	static const uint64_t none[] = {0, TOP - SCRATCH - 4, TOP - 3, TOP, 1ull << 40, UINT64_MAX};
	for (size_t i = 0; i < sizeof none / sizeof *none; i++)
		CHECK_EQ(mote_sandbox_read(s.sandbox, none[i], &word, 4, &s.err), MOTE_EADDR);
	const uint64_t peb = general(&s, I686_AT_INITIALISE, I686_EDI);
	CHECK_EQ(mote_sandbox_write(s.sandbox, peb, &word, 4, &s.err), MOTE_EADDR);
	system_close(&s);
}

TEST(guest_i686__mappings_are_reached_through_the_guests_own_tables)
{
	static uint8_t memory[2 * PAGE] __attribute__((aligned(4096)));
	struct system s;
	KERNEL(&s);
	memset(memory, 0x55, sizeof memory);
	const struct mote_mapping mapping = {.size = sizeof mapping,
					     .memory = memory,
					     .bytes = sizeof memory,
					     .gpa = 0x20000000,
					     .access = MOTE_READ};
	OK(&s, mote_sandbox_map(s.sandbox, &mapping, NULL, &s.err));
	map_page(&s, 0, 0x50000000, 0x20000000 | LEAF_RO);
	map_page(&s, 0, 0x50001000, 0x20001000 | LEAF_COW);
	CHECK_EQ(peek(&s, 0, 0x50000000), 0x55555555);
	poke(&s, 0, 0x50001000, 1);
	CHECK(peek(&s, 0, 0x50001000) == 1 && memory[PAGE] == 0x55);
	mote_snapshot *a = take(&s);
	restore(&s, a);
	memset(memory, 0x66, sizeof memory);
	CHECK_EQ(peek(&s, 0, 0x50000000), 0x55555555);
	CHECK_EQ(peek(&s, 0, 0x50001000), 1);
	/* Over the end of what can be addressed. */
	struct mote_mapping over = mapping;
	over.gpa = 0x100000000ull - PAGE;
	CHECK_EQ(mote_sandbox_map(s.sandbox, &over, NULL, &s.err), MOTE_EINVAL);
	mote_snapshot_unref(a);
	system_close(&s);
}
