/* SPDX-License-Identifier: MIT */
/*
 * Whether special registers that come from a store are those of a guest of the ABI: what hardware
 * would refuse to enter, and what no guest gets here, ends the load with the name of the register
 * (Intel SDM volume 3: 2.5 control registers, 3.4.5 descriptors, 27.3.1 checks at VM entry).
 */
#include "core/vcpu.h"

#include "base/error.h"
#include "base/math.h"

/* PE MP EM TS ET NE WP AM NW CD PG */
#define CR0_BITS 0xE005003Full
#define CR0_PE   0x1u
#define CR0_NW   0x20000000u
#define CR0_CD   0x40000000u
/* VME PVI TSD DE PSE PAE MCE PGE PCE OSFXSR OSXMMEXCPT UMIP FSGSBASE PCIDE SMEP SMAP: not what
 * virtualisation, XSAVE, protection keys and shadow stacks need, which guests do not get. */
#define CR4_BITS  0x330FFFull
#define CR4_PCIDE 0x20000ull

#define EFER_64 0xD01ull

#define TYPE_ACCESSED 1u
#define TYPE_READABLE 2u /* of code; of data: writable */
#define TYPE_CONFORM  4u
#define TYPE_CODE     8u
#define TYPE_LDT      2u
#define TYPE_TSS_BUSY 11u
#define TYPE_TSS_16   3u /* busy */

struct check {
	const struct mote__special *special;
	uint32_t bits;
	struct mote_error *err;
};

static int refuse(const struct check *c, const char *name, const char *field, uint64_t value,
		  const char *expected)
{
	return mote__fail(c->err, MOTE_ESTORE, "register %s%s is 0x%llx, expected %s", name, field,
			  (unsigned long long)value, expected);
}

static bool is_canonical(uint64_t va)
{
	return mote__pt_canonical(&mote__pt_x86_64, va) == va;
}

static int check_base(const struct check *c, const char *name, uint64_t base)
{
	if (c->bits == 64 ? !is_canonical(base) : base >> 32)
		return refuse(c, name, ".base", base,
			      c->bits == 64 ? "a canonical address" : "32 bits");
	return MOTE_OK;
}

/* ---- control registers ----------------------------------------------------------------------- */

static int check_control(const struct check *c)
{
	const struct mote__special *s = c->special;
	uint64_t cr4_bits = c->bits == 64 ? CR4_BITS : CR4_BITS & ~CR4_PCIDE;
	uint64_t efer = c->bits == 64 ? EFER_64 : 0;
	if (s->cr0 & ~CR0_BITS)
		return refuse(c, "CR0", "", s->cr0, "bits of 0xe005003f");
	if (!(s->cr0 & CR0_PE) || (s->cr0 & CR0_NW && !(s->cr0 & CR0_CD)))
		return refuse(c, "CR0", "", s->cr0, "PE, and NW with CD only");
	if (s->cr4 & ~cr4_bits)
		return refuse(c, "CR4", "", s->cr4,
			      c->bits == 64 ? "bits of 0x330fff" : "bits of 0x310fff");
	if (s->efer != efer)
		return refuse(c, "EFER", "", s->efer, c->bits == 64 ? "0xd01" : "0x0");
	if (!mote__special_format(s, c->bits))
		return mote__fail(c->err, MOTE_ESTORE,
				  "registers CR0 0x%llx and CR4 0x%llx are not those of %s paging",
				  (unsigned long long)s->cr0, (unsigned long long)s->cr4,
				  c->bits == 64 ? "4-level" : "32-bit");
	if (c->bits == 32 && s->cr2 >> 32)
		return refuse(c, "CR2", "", s->cr2, "32 bits");
	return MOTE_OK;
}

/* ---- segments -------------------------------------------------------------------------------- */

static bool is_usable(const struct mote__segment *s)
{
	return s->present && !s->unusable;
}

static int check_widths(const struct check *c, const char *name, const struct mote__segment *s)
{
	const struct {
		const char *field;
		uint8_t value, max;
	} fields[] = {{".type", s->type, 15}, {".present", s->present, 1},
		      {".dpl", s->dpl, 3},    {".db", s->db, 1},
		      {".s", s->s, 1},        {".l", s->l, 1},
		      {".g", s->g, 1},        {".unusable", s->unusable, 1}};
	for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
		if (fields[i].value > fields[i].max)
			return refuse(c, name, fields[i].field, fields[i].value,
				      "no more than the field holds");
	return MOTE_OK;
}

/* A limit in pages has ones below, one in bytes no more than 20 bits. */
static int check_limit(const struct check *c, const char *name, const struct mote__segment *s)
{
	if (s->g ? (s->limit & 0xFFF) != 0xFFF : s->limit >> 20 != 0)
		return refuse(c, name, ".limit", s->limit,
			      s->g ? "whole pages, as g says" : "20 bits, as g says");
	return MOTE_OK;
}

/* What holds for each usable segment. In 64-bit mode only FS and GS have a base that counts. */
static int check_usable(const struct check *c, const char *name, const struct mote__segment *s,
			bool is_system)
{
	bool is_short = !is_system && s != &c->special->fs && s != &c->special->gs;
	if (s->s == is_system)
		return refuse(c, name, ".s", s->s, is_system ? "0" : "1");
	if (is_short && s->base >> 32)
		return refuse(c, name, ".base", s->base, "32 bits");
	return check_limit(c, name, s);
}

static int check_code(const struct check *c)
{
	const struct mote__segment *cs = &c->special->cs, *ss = &c->special->ss;
	if (!is_usable(cs))
		return refuse(c, "CS", ".present", cs->present, "1, and unusable 0");
	if (!(cs->type & TYPE_CODE) || !(cs->type & TYPE_ACCESSED))
		return refuse(c, "CS", ".type", cs->type, "9, 11, 13 or 15: code, accessed");
	if (cs->l != (c->bits == 64))
		return refuse(c, "CS", ".l", cs->l, c->bits == 64 ? "1" : "0");
	if (cs->db != (c->bits == 32))
		return refuse(c, "CS", ".db", cs->db, c->bits == 64 ? "0" : "1");
	if (is_usable(ss) && (cs->type & TYPE_CONFORM ? cs->dpl > ss->dpl : cs->dpl != ss->dpl))
		return refuse(c, "CS", ".dpl", cs->dpl, "what suits that of SS");
	return MOTE_OK;
}

static int check_data(const struct check *c, const char *name, const struct mote__segment *s)
{
	if (!is_usable(s))
		return MOTE_OK;
	if (s == &c->special->ss) {
		if ((s->type & ~TYPE_CONFORM) != (TYPE_ACCESSED | TYPE_READABLE))
			return refuse(c, name, ".type", s->type, "3 or 7: writable, accessed");
		return MOTE_OK;
	}
	if (!(s->type & TYPE_ACCESSED) || (s->type & TYPE_CODE && !(s->type & TYPE_READABLE)))
		return refuse(c, name, ".type", s->type, "readable, accessed");
	return MOTE_OK;
}

static int check_task(const struct check *c)
{
	const struct mote__segment *tr = &c->special->tr, *ldt = &c->special->ldt;
	if (!is_usable(tr))
		return refuse(c, "TR", ".present", tr->present, "1, and unusable 0");
	if (tr->type != TYPE_TSS_BUSY && (c->bits == 64 || tr->type != TYPE_TSS_16))
		return refuse(c, "TR", ".type", tr->type,
			      c->bits == 64 ? "11: a busy TSS" : "3 or 11: a busy TSS");
	if (is_usable(ldt) && ldt->type != TYPE_LDT)
		return refuse(c, "LDT", ".type", ldt->type, "2");
	return MOTE_OK;
}

static int check_segments(const struct check *c)
{
	const struct mote__special *s = c->special;
	const struct {
		const char *name;
		const struct mote__segment *segment;
		bool is_system;
	} all[] = {{"CS", &s->cs, false}, {"SS", &s->ss, false}, {"DS", &s->ds, false},
		   {"ES", &s->es, false}, {"FS", &s->fs, false}, {"GS", &s->gs, false},
		   {"TR", &s->tr, true},  {"LDT", &s->ldt, true}};
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		const struct mote__segment *segment = all[i].segment;
		int rc = check_widths(c, all[i].name, segment);
		if (rc == MOTE_OK)
			rc = check_base(c, all[i].name, segment->base);
		if (rc == MOTE_OK && is_usable(segment))
			rc = check_usable(c, all[i].name, segment, all[i].is_system);
		if (rc == MOTE_OK && !all[i].is_system && segment != &s->cs)
			rc = check_data(c, all[i].name, segment);
		if (rc < 0)
			return rc;
	}
	int rc = check_code(c);
	return rc < 0 ? rc : check_task(c);
}

/* ---- public ---------------------------------------------------------------------------------- */

int mote__special_check(const struct mote__special *special, uint32_t bits, struct mote_error *err)
{
	const struct check c = {.special = special, .bits = bits, .err = err};
	int rc = check_control(&c);
	if (rc == MOTE_OK)
		rc = check_segments(&c);
	if (rc == MOTE_OK)
		rc = check_base(&c, "GDT", special->gdt_base);
	if (rc == MOTE_OK)
		rc = check_base(&c, "IDT", special->idt_base);
	return rc;
}

int mote__special_check_bases(uint64_t fs_base, uint64_t gs_base, struct mote_error *err)
{
	const struct check c = {.bits = 64, .err = err};
	int rc = check_base(&c, "FS", fs_base);
	return rc < 0 ? rc : check_base(&c, "GS", gs_base);
}
