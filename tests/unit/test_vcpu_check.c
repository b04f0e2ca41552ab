/* SPDX-License-Identifier: MIT */
/* Special registers that come from a store: those of guests pass, each that hardware or the library
 * would not have is refused by its name. */
#include "check.h"
#include "core/vcpu.h"

#include <mote.h>

static struct mote_error err;
static struct mote__special s;

static void start(uint32_t bits)
{
	mote__special_stock(&s, bits, 0x1000);
	memset(&err, 0, sizeof err);
}

/* What a kernel has after it loaded segments of its own. */
static void start_with_segments(uint32_t bits)
{
	start(bits);
	const struct mote__segment data = {.limit = 0xFFFFFFFF,
					   .selector = 0x10,
					   .type = 3,
					   .present = 1,
					   .db = 1,
					   .s = 1,
					   .g = 1};
	s.ds = s.es = s.fs = s.gs = s.ss = data;
	s.cs.limit = 0xFFFFFFFF;
	s.cs.g = 1;
	s.ldt = (struct mote__segment){.limit = 0xFFF, .type = 2, .present = 1};
}

#define PASSES(bits)                                                         \
	do {                                                                 \
		if (mote__special_check(&s, bits, &err) != MOTE_OK)          \
			check_failed(__FILE__, __LINE__, "%s", err.message); \
	} while (0)

#define REFUSED(bits, change, part)                                         \
	do {                                                                \
		start_with_segments(bits);                                  \
		PASSES(bits);                                               \
		change;                                                     \
		CHECK_EQ(mote__special_check(&s, bits, &err), MOTE_ESTORE); \
		CHECK_HAS(err.message, part);                               \
	} while (0)

TEST(vcpu_check__what_guests_start_with_passes)
{
	start(64);
	PASSES(64);
	start(32);
	PASSES(32);
	start(64);
	CHECK_EQ(mote__special_check(&s, 32, NULL), MOTE_ESTORE);
	start(32);
	CHECK_EQ(mote__special_check(&s, 64, NULL), MOTE_ESTORE);
}

TEST(vcpu_check__what_a_kernel_changes_passes)
{
	start_with_segments(64);
	s.cr0 |= 0x8; /* TS */
	s.cr2 = 0x123456789ABCDEF0;
	s.cr4 |= 0x330080; /* PGE FSGSBASE PCIDE SMEP SMAP */
	s.fs.base = 0xFFFF800000001000;
	s.gs.base = 0x7FFFFFFFFFFF;
	s.gdt_base = s.idt_base = s.tr.base = 0xFFFFFFFF81000000;
	s.tr.limit = 0x67;
	PASSES(64);
	start_with_segments(32);
	s.cr4 |= 0x90; /* PSE PGE */
	s.cr2 = 0xFFFFFFFF;
	s.tr.type = 3;
	s.tr.limit = 0x2B;
	s.gs.base = 0xFFFFF000;
	PASSES(32);
	/* A segment that cannot be used may say anything else that fits. */
	start(64);
	s.ds.type = 9;
	s.ds.dpl = 3;
	s.ds.limit = 5 << 20;
	s.es = (struct mote__segment){.type = 8};
	PASSES(64);
}

TEST(vcpu_check__control_registers)
{
	REFUSED(64, s.cr0 |= 1ull << 32,
		"register CR0 is 0x180050033, expected bits of 0xe005003f");
	REFUSED(64, s.cr0 |= 0x40, "register CR0 is 0x80050073");
	REFUSED(64, s.cr0 &= ~1ull, "register CR0 is 0x80050032, expected PE");
	REFUSED(64, s.cr0 |= 0x20000000, "and NW with CD only");
	REFUSED(64, s.cr0 &= ~0x80000000ull,
		"registers CR0 0x50033 and CR4 0x620 are not those of 4-level paging");
	REFUSED(64, s.cr4 &= ~0x20ull, "CR4 0x600 are not those of 4-level paging");
	/* SMXE, VMXE, LA57, OSXSAVE, PKE, CET, PKS, reserved ones */
	const uint32_t refused[] = {14, 13, 12, 18, 22, 23, 24, 15, 19, 31, 63};
	for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
		REFUSED(64, s.cr4 |= 1ull << refused[i], "expected bits of 0x330fff");
	REFUSED(64, s.efer = 0xD00, "register EFER is 0xd00, expected 0xd01");
	REFUSED(64, s.efer = 0x501, "register EFER is 0x501");
	REFUSED(64, s.efer |= 0x1000, "register EFER is 0x1d01");
	REFUSED(32, s.efer = 0x800, "register EFER is 0x800, expected 0x0");
	REFUSED(32, s.cr4 |= 0x20000, "register CR4 is 0x20000, expected bits of 0x310fff");
	REFUSED(32, s.cr4 |= 0x20, "CR4 0x20 are not those of 32-bit paging");
	REFUSED(32, s.cr2 = 1ull << 32, "register CR2 is 0x100000000, expected 32 bits");
}

TEST(vcpu_check__code_segments)
{
	REFUSED(64, s.cs.unusable = 1, "register CS.present is 0x1, expected 1, and unusable 0");
	REFUSED(64, s.cs.present = 0, "register CS.present is 0x0");
	REFUSED(64, s.cs.type = 3, "register CS.type is 0x3, expected 9, 11, 13 or 15");
	REFUSED(64, s.cs.type = 10, "register CS.type is 0xa");
	REFUSED(64, s.cs.s = 0, "register CS.s is 0x0, expected 1");
	REFUSED(64, s.cs.l = 0, "register CS.l is 0x0, expected 1");
	REFUSED(64, s.cs.db = 1, "register CS.db is 0x1, expected 0");
	REFUSED(32, s.cs.l = 1, "register CS.l is 0x1, expected 0");
	REFUSED(32, s.cs.db = 0, "register CS.db is 0x0, expected 1");
	REFUSED(64, s.cs.dpl = 3, "register CS.dpl is 0x3, expected what suits that of SS");
	REFUSED(64, (s.cs.type = 15, s.cs.dpl = 1), "register CS.dpl is 0x1");
	REFUSED(64, s.cs.base = 1ull << 32, "register CS.base is 0x100000000, expected 32 bits");
}

TEST(vcpu_check__data_segments)
{
	REFUSED(64, s.ss.type = 1, "register SS.type is 0x1, expected 3 or 7");
	REFUSED(64, s.ss.type = 11, "register SS.type is 0xb");
	REFUSED(64, s.ds.type = 2, "register DS.type is 0x2, expected readable, accessed");
	REFUSED(64, s.es.type = 9, "register ES.type is 0x9");
	REFUSED(64, s.fs.s = 0, "register FS.s is 0x0, expected 1");
	REFUSED(64, s.gs.base = 0x800000000000,
		"register GS.base is 0x800000000000, expected a canonical address");
	REFUSED(64, (s.fs.unusable = 1, s.fs.base = 1ull << 63), "register FS.base is 0x8000");
	REFUSED(64, s.ds.base = 1ull << 32, "register DS.base is 0x100000000, expected 32 bits");
	REFUSED(32, s.gs.base = 1ull << 32, "register GS.base is 0x100000000, expected 32 bits");
	REFUSED(64, s.ds.limit = 0xFFFFF000, "register DS.limit is 0xfffff000, expected whole");
	REFUSED(64, s.ds.g = 0, "register DS.limit is 0xffffffff, expected 20 bits");
	REFUSED(64, s.ds.type = 16, "register DS.type is 0x10, expected no more than");
	REFUSED(64, s.ds.unusable = 2, "register DS.unusable is 0x2");
	REFUSED(64, s.es.dpl = 4, "register ES.dpl is 0x4");
}

TEST(vcpu_check__system_segments_and_tables)
{
	REFUSED(64, s.tr.unusable = 1, "register TR.present is 0x1, expected 1, and unusable 0");
	REFUSED(64, s.tr.type = 9, "register TR.type is 0x9, expected 11: a busy TSS");
	REFUSED(64, s.tr.type = 3, "register TR.type is 0x3, expected 11: a busy TSS");
	REFUSED(32, s.tr.type = 9, "register TR.type is 0x9, expected 3 or 11: a busy TSS");
	REFUSED(64, s.tr.s = 1, "register TR.s is 0x1, expected 0");
	REFUSED(64, s.tr.base = 1ull << 47, "register TR.base is 0x800000000000");
	REFUSED(64, s.ldt.type = 3, "register LDT.type is 0x3, expected 2");
	REFUSED(64, s.ldt.base = 1ull << 60, "register LDT.base is 0x1000000000000000");
	REFUSED(64, s.gdt_base = 1ull << 47, "register GDT.base is 0x800000000000");
	REFUSED(64, s.idt_base = ~0ull >> 1, "register IDT.base is 0x7fffffffffffffff");
	REFUSED(32, s.idt_base = 1ull << 32, "register IDT.base is 0x100000000, expected 32 bits");
}

TEST(vcpu_check__bases_of_confined_guests_are_canonical)
{
	CHECK_EQ(mote__special_check_bases(0, 0, &err), MOTE_OK);
	CHECK_EQ(mote__special_check_bases(0x7FFFFFFFFFFF, 0xFFFF800000000000, &err), MOTE_OK);
	CHECK_EQ(mote__special_check_bases(0x800000000000, 0, &err), MOTE_ESTORE);
	CHECK_STR(err.message, "register FS.base is 0x800000000000, expected a canonical address");
	CHECK_EQ(mote__special_check_bases(0, 0xFFFF7FFFFFFFFFFF, &err), MOTE_ESTORE);
	CHECK_HAS(err.message, "register GS.base is 0xffff7fffffffffff");
}
