/* SPDX-License-Identifier: MIT */
/* The states that virtual processors start in: guest-abi 5.1 to 5.3, and those of confined guests.
 */
#include "world.h"

#include "core/confined.h"
#include "core/vcpu.h"

static bool is_absent(const struct mote__segment *s)
{
	const struct mote__segment absent = {.unusable = 1};
	return memcmp(s, &absent, sizeof absent) == 0;
}

TEST(vcpu__special_registers_of_a_stock_guest_are_those_of_the_abi)
{
	struct mote__special s;
	mote__special_stock(&s, 64, 0xFFFFC0000);
	CHECK_EQ(s.cr0, 0x80050033);
	CHECK_EQ(s.cr2, 0);
	CHECK_EQ(s.cr3, 0xFFFFC0000);
	CHECK_EQ(s.cr4, 0x620);
	CHECK_EQ(s.efer, 0xD01);
	const struct mote__segment cs = {.type = 0xB, .present = 1, .s = 1, .l = 1};
	const struct mote__segment tr = {.limit = 0xFFFF, .type = 0xB, .present = 1};
	CHECK_MEM(&s.cs, &cs, sizeof cs);
	CHECK_MEM(&s.tr, &tr, sizeof tr);
	CHECK(is_absent(&s.ds) && is_absent(&s.es) && is_absent(&s.fs) && is_absent(&s.gs));
	CHECK(is_absent(&s.ss) && is_absent(&s.ldt));
	CHECK(s.gdt_base == 0 && s.gdt_limit == 0 && s.idt_base == 0 && s.idt_limit == 0);
}

TEST(vcpu__special_registers_of_a_guest_of_32_bits_are_those_of_the_abi)
{
	struct mote__special s;
	memset(&s, 0x5A, sizeof s);
	mote__special_stock(&s, 32, 0xFEDC0000);
	CHECK_EQ(s.cr0, 0x80010011);
	CHECK_EQ(s.cr2, 0);
	CHECK_EQ(s.cr3, 0xFEDC0000);
	CHECK_EQ(s.cr4, 0);
	CHECK_EQ(s.efer, 0);
	const struct mote__segment cs = {.limit = 0xFFFFFFFF,
					 .selector = 0x08,
					 .type = 0xB,
					 .present = 1,
					 .s = 1,
					 .db = 1,
					 .g = 1};
	const struct mote__segment data = {.limit = 0xFFFFFFFF,
					   .selector = 0x10,
					   .type = 0x3,
					   .present = 1,
					   .s = 1,
					   .db = 1,
					   .g = 1};
	const struct mote__segment tr = {.limit = 0xFFFF, .type = 0xB, .present = 1};
	CHECK_MEM(&s.cs, &cs, sizeof cs);
	const struct mote__segment *all[] = {&s.ds, &s.es, &s.fs, &s.gs, &s.ss};
	for (size_t i = 0; i < 5; i++)
		CHECK_MEM(all[i], &data, sizeof data);
	CHECK_MEM(&s.tr, &tr, sizeof tr);
	CHECK(is_absent(&s.ldt));
	CHECK(s.gdt_base == 0 && s.gdt_limit == 0 && s.idt_base == 0 && s.idt_limit == 0);
}

TEST(vcpu__the_format_of_tables_follows_the_control_registers)
{
	const uint64_t pg = 0x80000000, pse = 0x10, pae = 0x20, la57 = 0x1000;
	const uint64_t lma = 0x400, nxe = 0x800;
	const struct {
		uint64_t cr0, cr4, efer;
		const struct mote__pt_format *of_64, *of_32;
	} rows[] = {
		{pg, pae, lma | nxe, &mote__pt_x86_64, NULL},
		{pg | 0x11, pae | pse | 0x600, lma | nxe | 0x101, &mote__pt_x86_64, NULL},
		{pg, pae | la57, lma | nxe, NULL, NULL}, /* five levels */
		{pg, pae, lma, NULL, NULL},              /* bit 63 is reserved */
		{pg, pae, nxe, NULL, NULL},              /* three levels of 8 bytes */
		{pg, 0, lma | nxe, NULL, NULL},          /* no processor has it */
		{pg, 0, 0, NULL, &mote__pt_i686},
		{pg, 0, 0x901, NULL, &mote__pt_i686}, /* LME without paging's LMA */
		{pg, pse, 0, NULL, &mote__pt_i686_large},
		{pg, pse | la57, 0, NULL, &mote__pt_i686_large},
		{0x11, pae, lma | nxe, NULL, NULL}, /* no paging */
		{0x11, 0, 0, NULL, NULL},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const struct mote__special s = {
			.cr0 = rows[i].cr0, .cr4 = rows[i].cr4, .efer = rows[i].efer};
		CHECK(mote__special_format(&s, 64) == rows[i].of_64);
		CHECK(mote__special_format(&s, 32) == rows[i].of_32);
	}
	/* What the library starts, it can read. */
	struct mote__special s;
	mote__special_stock(&s, 64, 0);
	CHECK(mote__special_format(&s, 64) == &mote__pt_x86_64);
	CHECK(mote__special_format(&s, 32) == NULL);
	mote__special_confined(&s, 0, 0, false);
	CHECK(mote__special_format(&s, 64) == &mote__pt_x86_64);
	mote__special_stock(&s, 32, 0);
	CHECK(mote__special_format(&s, 32) == &mote__pt_i686);
	CHECK(mote__special_format(&s, 64) == NULL);
}

TEST(vcpu__a_confined_guest_starts_in_ring_3)
{
	struct mote__special s;
	mote__special_confined(&s, 0x5000, MOTE__CR4_FSGSBASE | MOTE__CR4_UMIP, false);
	CHECK(s.cs.dpl == 3 && s.cs.selector == MOTE__CS3 && s.cs.l && !s.cs.db);
	const struct mote__segment *data[] = {&s.ds, &s.es, &s.fs, &s.gs, &s.ss};
	for (size_t i = 0; i < 5; i++)
		CHECK(data[i]->dpl == 3 && data[i]->selector == MOTE__SS3 && data[i]->type == 3);
	CHECK_EQ(s.cr0, 0x80050033);
	CHECK_EQ(s.cr3, 0x5000);
	CHECK_EQ(s.cr4, 0x620 | 1u << 16 | 1u << 11);
	CHECK_EQ(s.efer, 0xD01);
}

TEST(vcpu__a_confined_guest_has_the_library_s_descriptor_tables)
{
	struct mote__special s;
	mote__special_confined(&s, 0x5000, 0, false);
	CHECK_EQ(s.cr4, 0x620);
	CHECK_EQ(s.gdt_base, MOTE__PAGE_GVA(MOTE__SYSTEM_TABLE_PAGE));
	CHECK_EQ(s.idt_base, MOTE__PAGE_GVA(MOTE__SYSTEM_IDT_PAGE));
	CHECK_EQ(s.idt_limit, 0xFFF);
	CHECK_EQ(s.tr.base, s.gdt_base + MOTE__TSS_OFFSET);
	CHECK_EQ(s.tr.limit, MOTE__TSS_LIMIT);
	CHECK_EQ(s.tr.type, 11);
	mote__special_confined(&s, 0x5000, 0, true);
	CHECK_EQ(s.tr.type, 9);
}

TEST(vcpu__syscall_goes_to_the_library_s_page)
{
	struct mote__msr_list list;
	mote__msrs_confined(&list);
	CHECK_EQ(list.count, 3);
	CHECK_EQ(list.msr[0].index, 0xC0000081);
	CHECK_EQ(list.msr[0].value, 0x0023001000000000);
	CHECK_EQ(list.msr[1].index, 0xC0000082);
	CHECK_EQ(list.msr[1].value, MOTE__SYSCALL_GVA);
	CHECK_EQ(list.msr[2].index, 0xC0000084);
	CHECK_EQ(list.msr[2].value, 0x47700);
}

TEST(vcpu__a_reset_writes_what_instructions_can_exchange)
{
	struct mote__msr_list list, confined;
	mote__msrs_reset(&list, false);
	CHECK_EQ(list.count, 1);
	CHECK_EQ(list.msr[0].index, 0xC0000102);
	CHECK_EQ(list.msr[0].value, 0);
	mote__msrs_confined(&confined);
	mote__msrs_reset(&list, true);
	CHECK_EQ(list.count, confined.count + 1);
	CHECK_MEM(list.msr, confined.msr, confined.count * sizeof *list.msr);
	CHECK_EQ(list.msr[confined.count].index, 0xC0000102);
	CHECK_EQ(list.msr[confined.count].value, 0);
}

TEST(vcpu__the_registers_of_a_reset_leave_room_for_those_that_are_declared)
{
	struct mote__msr_list list;
	mote__msrs_reset(&list, true);
	/* And for the time stamp counter. */
	CHECK(list.count + 1 + MOTE__MSR_ALLOW_MAX - 1 <= MOTE__MSRS_MAX);
}

/* ---- what a sandbox does with them ----------------------------------------------------------- */

static struct mote__general first, second;

static void keep_first(struct double_machine *m, struct mote__exit *exit)
{
	first = m->general;
	m->general.rax = TINY_DISPATCH_GVA + 3;
	m->general.rsp = 0x12340;
	double_halt(exit);
}

static void keep_second(struct double_machine *m, struct mote__exit *exit)
{
	(void)guest_pop_call(m);
	second = m->general;
	/* Not looked at after a call. */
	m->general.rax = m->general.rsp = 1;
	guest_return(m, exit, mote_void());
}

static const struct double_guest keeper = {keep_first, keep_second, NULL};

static const struct double_slot *slot_at(const struct world *w, uint64_t gpa)
{
	for (unsigned i = 0; i < DOUBLE_SLOTS; i++)
		if (w->machine->slots[i].bytes && w->machine->slots[i].gpa == gpa)
			return &w->machine->slots[i];
	return NULL;
}

static void make_stock(struct world *w, unsigned bits, const struct double_guest *guest)
{
	world_make_of(w, &(struct tiny_options){.bits = bits}, NULL, guest);
}

TEST(vcpu__a_stock_machine_has_two_slots)
{
	static const struct {
		unsigned bits, physical_bits;
		uint64_t scratch, cr3;
	} rows[] = {{64, 36, 0xFFFFB8000, 0xFFFFC0000}, {32, 32, 0xFEDB8000, 0xFEDC0000}};
	for (size_t i = 0; i < 2; i++) {
		struct world w;
		make_stock(&w, rows[i].bits, &keeper);
		world_sandbox(&w, NULL);
		const struct double_slot *snapshot = slot_at(&w, 0x1000);
		const struct double_slot *scratch = slot_at(&w, rows[i].scratch);
		CHECK(snapshot && !snapshot->is_writable);
		CHECK(scratch && scratch->is_writable && scratch->bytes == 0x48000);
		CHECK_EQ(w.machine->maps, 2);
		CHECK_EQ(w.machine->special.cr3, rows[i].cr3);
		CHECK_EQ(w.machine->config.physical_bits, rows[i].physical_bits);
		CHECK_EQ(w.machine->msrs.count, 0);
		CHECK_EQ(w.machine->starts, 0);
		world_free(&w);
	}
}

TEST(vcpu__a_confined_machine_also_has_the_system_pages)
{
	struct world w;
	world_make(&w, CONFINED, &keeper);
	world_sandbox(&w, NULL);
	const struct double_slot *system = slot_at(&w, MOTE__SYSTEM_GPA);
	CHECK(system && !system->is_writable && system->bytes == 4 * 4096);
	CHECK_EQ(w.machine->maps, 3);
	/* SYSCALL's three, and the time stamp counter. */
	CHECK_EQ(w.machine->msrs.count, 4);
	CHECK_EQ(w.machine->msrs.msr[3].index, 0x10);
	CHECK_EQ(w.machine->special.cr4, 0x620 | MOTE__CR4_FSGSBASE);
	world_free(&w);
}

/* guest-abi 1.3 and 2: the words below the top of scratch, and the PEB. */
TEST(vcpu__a_stock_guest_finds_its_memory_as_the_abi_says)
{
	static const struct {
		unsigned bits;
		uint64_t scratch, end, tables, free;
	} rows[] = {{64, 0xFFFFFFFFFFFB7000, 0xFFFFFFFFFFFFF000, 0xFFFFC0000, 0xFFFFC7000},
		    {32, 0xFFFB8000, 0x100000000, 0xFEDC0000, 0xFEDC3000}};
	for (size_t i = 0; i < 2; i++) {
		struct world w;
		uint64_t words[4], stacks[2];
		struct mote_abi_peb peb;
		make_stock(&w, rows[i].bits, &keeper);
		world_sandbox(&w, NULL);
		OK(&w, mote_sandbox_start(w.sandbox, 0, &w.err));
		const uint64_t heap = w.snapshot->layout.heap_bytes;
		memcpy(words, double_gva(w.machine, rows[i].end - 0x20, sizeof words),
		       sizeof words);
		CHECK_EQ(words[0], 0); /* generation */
		CHECK_EQ(words[1], rows[i].tables);
		CHECK_EQ(words[2], rows[i].free);
		CHECK_EQ(words[3], 0x48000);
		memcpy(&peb, double_gva(w.machine, 0x5000, sizeof peb), sizeof peb);
		const struct mote_abi_peb expected = {.input_bytes = 0x4000,
						      .input = rows[i].scratch,
						      .output_bytes = 0x4000,
						      .output = rows[i].scratch + 0x4000,
						      .init_data = 0x6000 + heap,
						      .heap_bytes = heap,
						      .heap = 0x6000};
		CHECK_MEM(&peb, &expected, sizeof peb);
		memcpy(&stacks[0], double_gva(w.machine, rows[i].scratch, 8), 8);
		memcpy(&stacks[1], double_gva(w.machine, rows[i].scratch + 0x4000, 8), 8);
		CHECK(stacks[0] == 8 && stacks[1] == 8);
		world_free(&w);
	}
}

TEST(vcpu__a_stock_guest_is_initialised_as_the_abi_says)
{
	for (unsigned bits = 32; bits <= 64; bits += 32) {
		struct world w;
		const struct mote_sandbox_options o = {.size = sizeof o,
						       .log_level = MOTE_LOG_DEBUG};
		make_stock(&w, bits, &keeper);
		world_sandbox(&w, &o);
		OK(&w, mote_sandbox_start(w.sandbox, 0, &w.err));
		const struct mote__general expected = {.rip = TINY_ENTRY_GVA,
						       .rsp = bits == 64 ? 0xFFFFFFFFFFFFEFC8
									 : 0xFFFFFFC8,
						       .rdi = 0x5000,
						       .rsi = first.rsi,
						       .rdx = 4096,
						       .rcx = 4,
						       .rflags = 2};
		CHECK_MEM(&first, &expected, sizeof first);
		CHECK(first.rsi != 0);
		world_free(&w);
	}
}

TEST(vcpu__a_stock_guest_is_called_where_it_said)
{
	for (unsigned bits = 32; bits <= 64; bits += 32) {
		struct world w;
		make_stock(&w, bits, &keeper);
		world_sandbox(&w, NULL);
		OK(&w, mote_sandbox_start(w.sandbox, 0, &w.err));
		const struct mote__general expected = {
			.rip = TINY_DISPATCH_GVA + 3, .rsp = 0x12340, .rflags = 2};
		for (unsigned i = 1; i < 4; i++) {
			memset(&second, 0, sizeof second);
			OK(&w, world_call(&w, MOTE_VOID, NULL));
			CHECK_MEM(&second, &expected, sizeof second);
			CHECK_EQ(w.machine->fpu_resets, i);
		}
		world_free(&w);
	}
}

static void misalign(struct double_machine *m, struct mote__exit *exit)
{
	m->general.rax = TINY_DISPATCH_GVA;
	m->general.rsp = 0x12348;
	double_halt(exit);
}

TEST(vcpu__a_stock_stack_pointer_must_be_aligned)
{
	const struct double_guest guest = {.initialise = misalign};
	struct world w;
	world_make(&w, STOCK, &guest);
	world_sandbox(&w, NULL);
	FAILS(&w, mote_sandbox_start(w.sandbox, 0, &w.err), MOTE_EPROTOCOL);
	CHECK_STR(w.err.message, "Guest initialised stack pointer to architecturally invalid "
				 "value: 74568");
	CHECK_EQ(w.err.poisoned, 1);
	CHECK_EQ(mote_sandbox_state(w.sandbox), MOTE_STATE_POISONED);
	world_free(&w);
}

TEST(vcpu__a_confined_guest_is_entered_through_the_prologue)
{
	struct world w;
	world_ready(&w, CONFINED, &keeper);
	const struct mote__layout *l = &w.snapshot->layout;
	/* Whatever the machine served before: the first entry also loads selectors and bases. */
	const struct mote__general initialise = {.rip = MOTE__RESET_GVA,
						 .rax = 7,
						 .rbx = TINY_RING3_GVA,
						 .rsp = l->stack_gva + l->stack_bytes,
						 .rdi = l->peb_gva,
						 .rsi = first.rsi,
						 .rdx = 4096,
						 .rcx = MOTE_LOG_ERROR,
						 .r8 = MOTE__PAGE_GVA(MOTE__RUN_INFO_PAGE),
						 .rflags = 2};
	CHECK_MEM(&first, &initialise, sizeof first);
	OK(&w, world_call(&w, MOTE_VOID, NULL));
	const struct mote__general call = {.rip = MOTE__PROLOGUE_GVA,
					   .rax = 7,
					   .rbx = TINY_DISPATCH_GVA,
					   .rsp = initialise.rsp,
					   .rdi = l->input_gva + 8,
					   .rsi = second.rsi,
					   .r8 = initialise.r8,
					   .rflags = 2};
	CHECK_MEM(&second, &call, sizeof second);
	CHECK(second.rsi >= 32 && second.rsi % 4 == 0);
	/* Vector state is the prologue's. */
	CHECK_EQ(w.machine->fpu_resets, 0);
	world_free(&w);
}

/* What vector state there is, and whether ring 3 can leave 64-bit mode. */
TEST(vcpu__the_processor_is_probed_once_an_engine)
{
	struct world w;
	mote_sandbox *other;
	world_ready(&w, CONFINED, &keeper);
	CHECK_EQ(w.machine->probes, 2);
	OK(&w, mote_sandbox_create(w.engine, w.snapshot, w.host, NULL, &other, &w.err));
	OK(&w, mote_sandbox_start(other, 0, &w.err));
	CHECK_EQ(w.hypervisor->machine->probes, 0);
	mote_sandbox_destroy(other);
	world_free(&w);
}
