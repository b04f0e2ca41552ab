/* SPDX-License-Identifier: MIT */
/* Lists of mappings as they are stored, and the tables of confined guests that are made of them:
 * the same as a layout's for what a layout maps, and nothing that it does not allow. */
#include "core/mappings.h"

#include "base/math.h"
#include "check.h"
#include "core/confined.h"
#include "tiny_guest.h"

#include <stdlib.h>

#define PAGE ((uint64_t)MOTE_PAGE_BYTES)
#define COW  MOTE__RECORD_COW
#define EXEC MOTE__RECORD_EXEC
#define USER MOTE__RECORD_USER
#define RUN  MOTE__RECORD_RUN

#define DATA_BYTES (20 * PAGE)
#define SPACE      (8 * PAGE)
#define LIST_MAX   4096

static struct mote_error err;
static struct mote__layout layout;
static struct mote__mapped_memory memory;
static struct mote__mappings_header header;
static struct mote__record list[LIST_MAX];
static uint8_t *tables;
static uint64_t used;

static void make_layout(bool has_large)
{
	struct mote__layout_image pages;
	struct mote__elf elf;
	const struct tiny_image image =
		tiny_guest(&(struct tiny_options){.is_confined = true, .data_bytes = DATA_BYTES});
	const struct mote__layout_config config = {.family = mote__family_find(0, 64),
						   .is_confined = true,
						   .has_large = has_large,
						   .input_bytes = 0x4000,
						   .output_bytes = 0x4000,
						   .heap_bytes = 0x400000,
						   .stack_bytes = 0x40000,
						   .mapping_bytes = SPACE,
						   .init_bytes = has_large ? 0x600000 : 0x1800,
						   .init_access = MOTE_READ};
	CHECK_EQ(mote__elf_parse(image.bytes, image.len, &elf, &err), MOTE_OK);
	mote__layout_image_of(&elf, &pages);
	CHECK_EQ(mote__layout_make(&config, &pages, &layout, &err), MOTE_OK);
	memory = (struct mote__mapped_memory){.first_gpa = layout.family->base_gpa,
					      .end_gpa = layout.family->base_gpa +
							 layout.snapshot_bytes + 64 * PAGE,
					      .zero_gpa = layout.zero_gpa};
	header = (struct mote__mappings_header){
		.magic = MOTE__MAPPINGS_MAGIC, .version = MOTE__MAPPINGS_VERSION, .root_count = 1};
	memset(list, 0, sizeof list);
}

static uint8_t *clean_tables(uint8_t *old)
{
	free(old);
	uint8_t *fresh = aligned_alloc(4096, layout.tables_bytes);
	CHECK(fresh);
	memset(fresh, 0, layout.tables_bytes);
	return fresh;
}

static void add(uint64_t va, uint64_t target, uint32_t count, uint32_t flags)
{
	CHECK(header.record_count < LIST_MAX);
	list[header.record_count++] = (struct mote__record){
		.kind = RUN, .va = va, .target = target, .count = count, .flags = flags};
}

static int build(void)
{
	tables = clean_tables(tables);
	memset(&err, 0, sizeof err);
	return mote__mappings_build_confined(&layout, &memory, list, &header, tables, &used, &err);
}

static void builds(void)
{
	if (build() != MOTE_OK)
		check_failed(__FILE__, __LINE__, "%s", err.message);
	for (uint64_t i = used; i < layout.tables_bytes; i++)
		CHECK(tables[i] == 0);
}

static bool find(const uint8_t *bytes, uint64_t va, struct mote__pt_translation *t)
{
	const struct mote__pt_range range = {bytes, layout.scratch_gpa + layout.tables_offset,
					     layout.tables_bytes};
	const struct mote__pt_space space = {
		layout.family->format, {&range, mote__pt_range_table}, range.gpa};
	return mote__pt_translate(&space, va, t) == MOTE__PT_OK;
}

static void shows(uint64_t va, uint64_t gpa, uint32_t flags)
{
	struct mote__pt_translation t;
	CHECK(find(tables, va, &t));
	CHECK_EQ(t.gpa, gpa);
	CHECK(!t.effective.writable);
	CHECK_EQ(t.effective.cow, !!(flags & COW));
	CHECK_EQ(t.effective.exec, !!(flags & EXEC));
	CHECK_EQ(t.effective.user, !!(flags & USER));
}

static bool is_mapped(uint64_t va)
{
	struct mote__pt_translation t;
	return find(tables, va, &t);
}

static const struct mote__part *part(const char *name)
{
	for (uint32_t i = 0; i < layout.part_count; i++)
		if (strcmp(layout.parts[i].name, name) == 0)
			return &layout.parts[i];
	check_failed(__FILE__, __LINE__, "no part %s", name);
}

/* ---- the list -------------------------------------------------------------------------------- */

static struct {
	struct mote__mappings_header header;
	struct mote__record record[2];
} stored;

static int parse(uint64_t len)
{
	struct mote__mappings_header h;
	const struct mote__record *records = NULL;
	memset(&err, 0, sizeof err);
	int rc = mote__mappings_parse(&stored, len, &h, &records, &err);
	if (rc == MOTE_OK) {
		CHECK(records == stored.record);
		CHECK_MEM(&h, &stored.header, sizeof h);
	}
	return rc;
}

static void reset_stored(void)
{
	memset(&stored, 0, sizeof stored);
	stored.header = (struct mote__mappings_header){.magic = MOTE__MAPPINGS_MAGIC,
						       .version = MOTE__MAPPINGS_VERSION,
						       .root_count = 1,
						       .record_count = 2};
}

TEST(mappings__a_list_begins_with_its_name)
{
	reset_stored();
	CHECK_MEM(&stored.header.magic, "MOTEMAPS", 8);
	CHECK_EQ(sizeof stored, 96);
}

TEST(mappings__a_list_has_the_size_that_its_header_says)
{
	reset_stored();
	CHECK_EQ(parse(96), MOTE_OK);
	for (uint64_t len = 0; len < 96; len++)
		CHECK_EQ(parse(len), MOTE_ESTORE);
	CHECK_STR(err.message, "the list has 95 bytes, with 2 records it would have 96");
	CHECK_EQ(parse(31), MOTE_ESTORE);
	CHECK_STR(err.message, "the list has 31 bytes, its header has 32");
	stored.header.record_count = 0;
	CHECK_EQ(parse(32), MOTE_OK);
}

#define HEADER_REFUSED(field, to, code, text) \
	do {                                  \
		reset_stored();               \
		stored.header.field = (to);   \
		CHECK_EQ(parse(96), code);    \
		CHECK_HAS(err.message, text); \
	} while (0)

TEST(mappings__headers_are_checked)
{
	HEADER_REFUSED(magic, 7, MOTE_ESTORE, "the list's magic is 0x7, expected 0x5350414d");
	HEADER_REFUSED(version, 2, MOTE_ESTORE, "the list's version is 0x2, expected 0x1 to 0x1");
	HEADER_REFUSED(root_count, 0, MOTE_ESTORE, "number of roots is 0x0, expected 0x1 to 0x100");
	HEADER_REFUSED(root_count, 257, MOTE_ESTORE, "number of roots is 0x101");
	HEADER_REFUSED(reserved, 1, MOTE_ESTORE, "reserved word is 0x1, expected 0x0");
	HEADER_REFUSED(record_count, (1 << 22) + 1, MOTE_ETOOBIG,
		       "the list has 4194305 records, at most 4194304");
	HEADER_REFUSED(record_count, UINT64_MAX, MOTE_ETOOBIG, "at most 4194304");
	HEADER_REFUSED(record_count, 3, MOTE_ESTORE, "with 3 records it would have 128");
}

/* ---- confined guests ------------------------------------------------------------------------- */

/* What stands in every list of the tests below. */
static void add_image(void)
{
	uint64_t gpa = layout.image_gpa;
	add(TINY_GVA, gpa, 1, USER);
	add(TINY_CODE_GVA, gpa + PAGE, 1, EXEC | USER);
	add(TINY_DATA_GVA, gpa + 2 * PAGE, 3, COW | USER);
	add(TINY_DATA_GVA + 3 * PAGE, 0, 17, COW | USER);
	add(layout.peb_gva, layout.peb_gpa, 1, USER);
	add(layout.init_gva, layout.init_gpa, 2, USER);
}

TEST(mappings__each_run_is_what_its_record_says)
{
	make_layout(false);
	add_image();
	uint64_t stored_gpa = memory.end_gpa - 3 * PAGE;
	add(layout.stack_gva + PAGE, stored_gpa, 2, COW | USER);
	add(layout.heap_gva, stored_gpa + 2 * PAGE, 1, COW | USER);
	add(layout.heap_gva + 0x300000, stored_gpa, 1, COW | USER);
	add(layout.mapping_gva, stored_gpa, 1, USER);
	add(layout.mapping_gva + PAGE, stored_gpa, 1, COW | USER);
	add(layout.mapping_gva + 2 * PAGE, 0, 2, USER);
	builds();
	shows(TINY_CODE_GVA + 5, layout.image_gpa + PAGE + 5, EXEC | USER);
	shows(TINY_DATA_GVA + 2 * PAGE, layout.image_gpa + 4 * PAGE, COW | USER);
	shows(TINY_DATA_GVA + 3 * PAGE, layout.zero_gpa, COW | USER);
	shows(TINY_DATA_GVA + 19 * PAGE, layout.zero_gpa, COW | USER);
	shows(layout.init_gva + PAGE, layout.init_gpa + PAGE, USER);
	shows(layout.stack_gva + 2 * PAGE, stored_gpa + PAGE, COW | USER);
	shows(layout.heap_gva, stored_gpa + 2 * PAGE, COW | USER);
	shows(layout.heap_gva + 0x300000, stored_gpa, COW | USER);
	shows(layout.mapping_gva, stored_gpa, USER);
	shows(layout.mapping_gva + PAGE, stored_gpa, COW | USER);
	shows(layout.mapping_gva + 3 * PAGE, layout.zero_gpa, USER);
	CHECK(!is_mapped(layout.stack_gva) && !is_mapped(layout.stack_gva + 3 * PAGE));
	CHECK(!is_mapped(layout.heap_gva + PAGE) && !is_mapped(layout.mapping_gva + 4 * PAGE));
	CHECK(!is_mapped(layout.peb_gva + layout.image_bytes + 0x10000000));
}

TEST(mappings__an_empty_list_has_the_layouts_own_pages_and_all_leaf_tables)
{
	make_layout(false);
	builds();
	CHECK(is_mapped(MOTE__SYSTEM_GVA) && is_mapped(layout.input_gva));
	CHECK(!is_mapped(TINY_GVA) && !is_mapped(layout.heap_gva));
	const struct mote__pt_range range = {tables, layout.scratch_gpa + layout.tables_offset,
					     layout.tables_bytes};
	const struct mote__pt_space space = {
		layout.family->format, {&range, mote__pt_range_table}, range.gpa};
	uint64_t table;
	const uint64_t at[] = {TINY_GVA, layout.heap_gva + layout.heap_bytes - 1,
			       layout.mapping_gva, layout.stack_gva};
	for (size_t i = 0; i < sizeof at / sizeof *at; i++)
		CHECK_EQ(mote__pt_find_table(&space, at[i], 1, &table), MOTE__PT_OK);
}

/* ---- as a layout has it ---------------------------------------------------------------------- */

static struct mote__write_set write_set;
static uint8_t *laid;

static bool is_odd(void *cookie, uint64_t gpa)
{
	(void)cookie;
	return gpa / PAGE % 2;
}

/* The gpa that a list has for a page that the layout maps: what a member is copied from. */
static uint64_t listed(uint64_t gpa)
{
	uint64_t frame = (gpa - layout.scratch_gpa - layout.frames_offset) / PAGE;
	if (gpa >= layout.scratch_gpa)
		gpa = write_set.member[frame].source_gpa;
	return gpa == layout.zero_gpa ? 0 : gpa;
}

static bool is_member_of_stack(uint64_t va)
{
	return va - layout.stack_gva < layout.stack_bytes;
}

static bool on_leaf(void *cookie, const struct mote__pt_leaf *leaf)
{
	(void)cookie;
	uint32_t flags = (leaf->own.cow || leaf->own.writable ? COW : 0u) |
			 (leaf->own.exec ? EXEC : 0u) | (leaf->own.user ? USER : 0u);
	uint64_t target = listed(leaf->gpa), pages = leaf->bytes / PAGE;
	struct mote__record *last = header.record_count ? &list[header.record_count - 1] : NULL;
	if (is_member_of_stack(leaf->va))
		return true;
	if (last && last->va + last->count * PAGE == leaf->va && last->flags == flags && target &&
	    last->target && last->target + last->count * PAGE == target)
		last->count += (uint32_t)pages;
	else
		add(leaf->va, target, (uint32_t)pages, flags);
	return true;
}

static void lay_out(void)
{
	uint64_t laid_used;
	laid = clean_tables(laid);
	CHECK_EQ(mote__layout_build(&layout, laid, is_odd, NULL, &write_set, &laid_used),
		 MOTE__PT_OK);
	const struct mote__pt_range range = {laid, layout.scratch_gpa + layout.tables_offset,
					     layout.tables_bytes};
	struct mote__pt_span span[2];
	struct mote__pt_visit visits[256];
	struct mote__pt_walk walk = {.format = layout.family->format,
				     .memory = {&range, mote__pt_range_table},
				     .roots = &range.gpa,
				     .root_count = 1,
				     .span_count = mote__layout_spans(&layout, span),
				     .spans = span,
				     .tables_max = 128,
				     .visit_count = 256,
				     .leaves_max = UINT64_MAX,
				     .visits = visits,
				     .leaf = on_leaf};
	CHECK_EQ(mote__pt_walk(&walk), MOTE__PT_OK);
	builds();
	CHECK_EQ(used, laid_used);
}

static void check_same(uint64_t first, uint64_t bytes)
{
	for (uint64_t va = first; va < first + bytes; va += PAGE) {
		struct mote__pt_translation a, b;
		bool is_laid = find(laid, va, &a), is_here = find(tables, va, &b);
		if (is_laid && is_member_of_stack(va)) {
			CHECK(!is_here);
			continue;
		}
		CHECK_EQ(is_laid, is_here);
		if (!is_laid)
			continue;
		bool is_frame = a.gpa >= layout.scratch_gpa && va < layout.cow_end_gva;
		uint64_t gpa = is_frame ? listed(a.gpa) : a.gpa;
		CHECK_EQ(b.gpa, gpa ? gpa : layout.zero_gpa);
		CHECK_EQ(a.entry_gpa, b.entry_gpa);
		CHECK_EQ(a.level, b.level);
		CHECK_EQ(a.own.exec, b.own.exec);
		CHECK_EQ(a.own.user, b.own.user);
		CHECK_EQ(a.own.writable && !is_frame, b.own.writable);
		CHECK_EQ(a.own.cow || is_frame, b.own.cow);
	}
}

static void check_all_same(void)
{
	for (uint32_t i = 0; i < layout.part_count; i++)
		check_same(layout.parts[i].gva - PAGE, layout.parts[i].bytes + 2 * PAGE);
}

TEST(mappings__what_a_layout_maps_becomes_the_same_tables)
{
	make_layout(false);
	lay_out();
	check_all_same();
}

TEST(mappings__large_leaves_are_where_a_layout_has_them)
{
	struct mote__pt_translation t;
	make_layout(true);
	CHECK(part("init data")->is_large);
	lay_out();
	check_all_same();
	CHECK(find(tables, layout.init_gva, &t));
	CHECK_EQ(t.level, 2);
}

TEST(mappings__large_runs_that_lie_askew_are_refused_when_tables_run_out)
{
	make_layout(true);
	memory.end_gpa += 0x1000000;
	add(layout.init_gva, layout.init_gpa + PAGE, 0x600, USER);
	CHECK_EQ(build(), MOTE_ESTORE);
	CHECK_HAS(err.message, "the list's tables need more than 0x");
	header.record_count = 0;
	add(layout.init_gva, 0, 0x600, USER);
	CHECK_EQ(build(), MOTE_ESTORE);
	CHECK_HAS(err.message, "the list's tables need more than 0x");
}

/* ---- what is refused ------------------------------------------------------------------------- */

/* Add a record, changed, to those of the image; it is refused. */
#define REFUSED(text, ...)                                                                 \
	do {                                                                               \
		make_layout(false);                                                        \
		add_image();                                                               \
		list[header.record_count++] = (struct mote__record){.kind = RUN,           \
								    .va = layout.heap_gva, \
								    .target = 0x1000,      \
								    .count = 1,            \
								    .flags = COW | USER,   \
								    __VA_ARGS__};          \
		CHECK_EQ(build(), MOTE_ESTORE);                                            \
		CHECK_HAS(err.message, text);                                              \
	} while (0)

#pragma GCC diagnostic ignored "-Woverride-init"
#ifdef __clang__
#pragma clang diagnostic ignored "-Winitializer-overrides"
#endif

TEST(mappings__fields_of_records_are_checked)
{
	REFUSED("record 6: kind is 0x2, expected 1: a confined guest shares no tables",
		.kind = MOTE__RECORD_LINK);
	REFUSED("record 6: kind is 0x0", .kind = 0);
	REFUSED("record 6: root is 0x1, expected 0: a confined guest has one", .root = 1);
	REFUSED("record 6: va is 0x", .va = layout.heap_gva + 1);
	CHECK_HAS(err.message, "expected a multiple of 0x1000");
	REFUSED("record 6: count is 0x0, expected 1 or more", .count = 0);
	REFUSED("record 6: count is 0xffffffff, expected 1 or more, and 0x1000000 at most",
		.count = UINT32_MAX);
	REFUSED("record 6: flags is 0xd, expected bits of 0x7", .flags = 0xD);
	REFUSED("record 6: target is 0x1001, expected a multiple of 0x1000", .target = 0x1001);
}

TEST(mappings__runs_lie_in_the_memory_that_there_is)
{
	REFUSED("the memory is from 0x1000 to 0x", .target = layout.scratch_gpa);
	REFUSED("record 6: target is 0x", .target = memory.end_gpa);
	REFUSED("the memory is from", .target = memory.end_gpa - PAGE, .count = 2);
	REFUSED("the memory is from", .target = ~0xFFFull);
	REFUSED("the memory is from", .target = MOTE__SYSTEM_GPA);
	make_layout(false);
	memory.zero_gpa = 0;
	add(layout.heap_gva, 0, 1, COW | USER);
	CHECK_EQ(build(), MOTE_ESTORE);
	CHECK_STR(err.message, "record 0: target is 0x0, expected an address: there is no page of "
			       "zeroes");
}

TEST(mappings__runs_lie_in_one_part_of_the_guest)
{
	REFUSED("not inside one part of the guest", .va = layout.heap_gva - PAGE);
	REFUSED("not inside one part of the guest",
		.va = layout.heap_gva + layout.heap_bytes - PAGE, .count = 2);
	REFUSED("not inside one part of the guest", .va = layout.mapping_gva + SPACE);
	REFUSED("not inside one part of the guest", .va = MOTE__SYSTEM_GVA);
	REFUSED("not inside one part of the guest", .va = MOTE__PAGE_GVA(MOTE__PARAMS_PAGE));
	REFUSED("not inside one part of the guest", .va = layout.input_gva);
	REFUSED("not inside one part of the guest", .va = MOTE__SELF_GVA);
	REFUSED("expected an address inside a part of the guest", .va = ~0xFFFull);
	REFUSED("expected one behind the record before", .va = layout.init_gva);
	REFUSED("expected one behind the record before", .va = TINY_GVA);
}

TEST(mappings__runs_have_the_access_of_their_part)
{
	REFUSED("flags is 0x4, expected 0x5: va", .flags = USER);
	CHECK_HAS(err.message, "is in the part \"heap\"");
	REFUSED("flags is 0x7, expected 0x5: va", .flags = COW | EXEC | USER);
	REFUSED("flags is 0x1, expected 0x5: va", .flags = COW);
	REFUSED("flags is 0x6, expected 0x5 or 0x4", .va = layout.mapping_gva,
		.flags = EXEC | USER);
	REFUSED("flags is 0x0, expected 0x5 or 0x4", .va = layout.mapping_gva, .flags = 0);
	const uint32_t right[] = {USER, EXEC | USER, COW | USER, COW | USER, USER, USER};
	for (uint32_t i = 0; i < 6; i++)
		for (uint32_t flags = 0; flags < 8; flags++) {
			make_layout(false);
			add_image();
			list[i].flags = flags;
			CHECK_EQ(build(), flags == right[i] ? MOTE_OK : MOTE_ESTORE);
		}
}

TEST(mappings__a_confined_guest_has_one_root)
{
	make_layout(false);
	header.root_count = 2;
	CHECK_EQ(build(), MOTE_ESTORE);
	CHECK_HAS(err.message, "number of roots is 2: a confined guest has one");
}

/* Whatever a list says: what a guest's own ring can reach is its parts, with their access. */
static void check_confinement(void)
{
	for (uint32_t i = 0; i < layout.part_count; i++) {
		const struct mote__part *p = &layout.parts[i];
		for (uint64_t at = 0; at < p->bytes; at += PAGE) {
			struct mote__pt_translation t;
			if (p->kind >= MOTE__PART_SCRATCH || !find(tables, p->gva + at, &t))
				continue;
			CHECK(!t.effective.writable && t.effective.user);
			CHECK_EQ(t.effective.exec, p->attributes.exec);
			CHECK(mote__in_range(t.gpa - memory.first_gpa, PAGE,
					     memory.end_gpa - memory.first_gpa));
		}
	}
}

TEST(mappings__random_lists_confine_or_are_refused)
{
	uint64_t seed = 0x5eed0031, good = 0, bad = 0;
	check_note("seed 0x%llx", (unsigned long long)seed);
	for (int round = 0; round < 400; round++) {
		make_layout(round % 8 == 7);
		if (round % 8 != 7)
			add_image();
		add(layout.stack_gva + 4 * PAGE, 0x3000, 4, COW | USER);
		add(layout.heap_gva + 8 * PAGE, 0, 5, COW | USER);
		add(layout.heap_gva + 0x200000, 0x1000, 5, COW | USER);
		add(layout.mapping_gva, 0x1000, 2, USER);
		for (int change = 0; change < 2; change++) {
			struct mote__record *r = &list[check_random(&seed) % header.record_count];
			uint64_t pick = check_random(&seed);
			switch (pick % 6) {
			case 0:
				r->va += (pick >> 8) % 64 * PAGE - 32 * PAGE;
				break;
			case 1:
				r->target += (pick >> 8) % 64 * PAGE - 32 * PAGE;
				break;
			case 2:
				r->count = (uint32_t)(pick >> 8) % 16;
				break;
			case 3:
				r->flags ^= 1u << (pick >> 8) % 4;
				break;
			case 4:
				((uint64_t *)r)[(pick >> 8) % 4] ^= 1ull << (pick >> 16) % 64;
				break;
			default:
				break;
			}
		}
		if (build() == MOTE_OK) {
			check_confinement();
			good++;
		} else {
			CHECK(err.code == MOTE_ESTORE && err.message[0]);
			bad++;
		}
	}
	CHECK(good > 50 && bad > 50);
}
