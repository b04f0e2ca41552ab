/* SPDX-License-Identifier: MIT */
/* Page tables: entries bit by bit, and translating one address. */
#include "core/page_table.h"

#include "check.h"
#include "page_tables.h"

/* ---- entries ---- */

TEST(page_table__makes_the_leaves_of_the_abi_bit_exact)
{
	const uint64_t nx = UINT64_C(1) << 63;
	static const struct {
		bool writable, cow, exec, user;
		uint64_t low;
	} rows[] = {
		{0, 0, 1, 0, 0x061}, {0, 0, 0, 0, 0x061}, {1, 0, 0, 0, 0x063}, {1, 0, 1, 0, 0x063},
		{0, 1, 1, 0, 0x261}, {0, 1, 0, 0, 0x261}, {1, 1, 1, 0, 0x261}, {0, 0, 1, 1, 0x065},
		{1, 0, 0, 1, 0x067}, {0, 1, 0, 1, 0x265}, {1, 1, 0, 1, 0x265},
	};
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct mote__pt_attributes a = {.writable = rows[i].writable,
						.cow = rows[i].cow,
						.exec = rows[i].exec,
						.user = rows[i].user};
		uint64_t gpa = UINT64_C(0x000FABCDE1234000);
		uint64_t expected = gpa | rows[i].low | (rows[i].exec ? 0 : nx);
		CHECK_EQ(mote__pt_leaf_entry(&mote__pt_x86_64, gpa, a), expected);
	}
}

TEST(page_table__makes_the_table_entries_of_the_abi_bit_exact)
{
	CHECK_EQ(mote__pt_table_entry(&mote__pt_x86_64, 0xFFFFC0000, false), 0xFFFFC0023);
	CHECK_EQ(mote__pt_table_entry(&mote__pt_x86_64, 0xFFFFC0000, true), 0xFFFFC0067);
}

/* guest-abi 4.5 */
TEST(page_table__makes_the_entries_of_32_bits_bit_exact)
{
	static const struct {
		bool writable, cow, user;
		uint64_t low;
	} rows[] = {
		{0, 0, 0, 0x021}, {1, 0, 0, 0x023}, {0, 0, 1, 0x025}, {1, 0, 1, 0x027},
		{0, 1, 0, 0x221}, {0, 1, 1, 0x225}, {1, 1, 0, 0x221}, {1, 1, 1, 0x225},
	};
	for (const struct shape *shape = shapes; shape->format; shape++) {
		if (shape->levels != 2)
			continue;
		for (unsigned i = 0; i < 2 * COUNT(rows); i++) {
			const unsigned row = i / 2;
			struct mote__pt_attributes a = {.writable = rows[row].writable,
							.cow = rows[row].cow,
							.exec = i % 2, /* there is no such bit */
							.user = rows[row].user};
			uint64_t entry = mote__pt_leaf_entry(shape->format, 0xFEDFF000, a);
			CHECK_EQ(entry, 0xFEDFF000 | rows[row].low);
			CHECK(mote__pt_entry_attributes(shape->format, entry).exec);
		}
		CHECK_EQ(mote__pt_table_entry(shape->format, 0xFEDC0000, false), 0xFEDC0027);
		CHECK_EQ(mote__pt_table_entry(shape->format, 0xFEDC0000, true), 0xFEDC0027);
	}
}

TEST(page_table__describes_each_format_as_the_processor_has_it)
{
	for (const struct shape *shape = shapes; shape->format; shape++) {
		const struct mote__pt_format *f = shape->format;
		CHECK_EQ(f->levels, shape->levels);
		CHECK_EQ(f->va_bits, shape->va_bits);
		CHECK_EQ(mote__pt_table_bytes(f), 4096);
		CHECK_EQ(f->address_mask, shape->address);
		CHECK_EQ(f->accessed | f->dirty, shape->used);
		for (unsigned level = 1; level <= shape->levels; level++) {
			CHECK_EQ(mote__pt_page_bytes(f, level), shape_bytes(shape, level));
			CHECK_EQ(mote__pt_index(f, shape_top(shape), level),
				 shape_entries(shape) - 1);
			bool is_large = level > 1 && level <= shape->large_top;
			CHECK_EQ(f->large_levels >> level & 1, is_large);
		}
		uint64_t end = shape_bytes(shape, shape->levels) * shape_entries(shape);
		CHECK_EQ(end, UINT64_C(1) << shape->va_bits);
		CHECK_EQ(mote__pt_canonical(f, shape_top(shape)), shape_top(shape));
		CHECK_EQ(mote__pt_canonical(f, end), 0);
	}
}

TEST(page_table__reads_copy_on_write_only_from_the_exact_mark)
{
	for (const struct shape *shape = shapes; shape->format; shape++) {
		for (uint64_t bits = 0; bits < 16; bits++) {
			const uint64_t avl = bits / 2, rw = bits % 2;
			struct mote__pt_attributes a =
				mote__pt_entry_attributes(shape->format, 0x61 | avl << 9 | rw << 1);
			CHECK_EQ(a.cow, avl == 1);
			CHECK_EQ(a.writable, avl != 1 && rw);
		}
	}
}

TEST(page_table__reads_back_the_attributes_it_wrote)
{
	for (const struct shape *shape = shapes; shape->format; shape++) {
		for (unsigned bits = 0; bits < 16; bits++) {
			struct mote__pt_attributes a = {.writable = bits & 1 && !(bits & 2),
							.cow = bits & 2,
							.exec = bits & 4 || !shape->no_execute,
							.user = bits & 8};
			uint64_t entry = mote__pt_leaf_entry(shape->format, 0x7000, a);
			CHECK_EQ(pack(mote__pt_entry_attributes(shape->format, entry)), pack(a));
		}
	}
}

TEST(page_table__classifies_entries_as_the_processor_does)
{
	const struct mote__pt_format *f = &mote__pt_x86_64;
	CHECK_EQ(mote__pt_entry_kind(f, 0, 1), MOTE__PT_ABSENT);
	CHECK_EQ(mote__pt_entry_kind(f, ~UINT64_C(1), 1), MOTE__PT_ABSENT);
	CHECK_EQ(mote__pt_entry_kind(f, 0x1081, 1), MOTE__PT_LEAF); /* bit 7 is PAT there */
	CHECK_EQ(mote__pt_entry_kind(f, 0x1001, 2), MOTE__PT_TABLE);
	CHECK_EQ(mote__pt_entry_kind(f, 0x200081, 2), MOTE__PT_LEAF);
	CHECK_EQ(mote__pt_entry_kind(f, 0x201081, 2), MOTE__PT_LEAF); /* bit 12 is PAT there */
	CHECK_EQ(mote__pt_entry_kind(f, 0x202081, 2), MOTE__PT_BROKEN);
	CHECK_EQ(mote__pt_entry_kind(f, 0x300081, 2), MOTE__PT_BROKEN);
	CHECK_EQ(mote__pt_entry_kind(f, 0x40000081, 3), MOTE__PT_LEAF);
	CHECK_EQ(mote__pt_entry_kind(f, 0x40200081, 3), MOTE__PT_BROKEN);
	CHECK_EQ(mote__pt_entry_kind(f, 0x81, 4), MOTE__PT_BROKEN);
}

TEST(page_table__classifies_large_pages_of_32_bits_by_the_format)
{
	static const struct {
		uint64_t entry;
		enum mote__pt_entry_kind with, without;
	} rows[] = {
		{0x80, MOTE__PT_ABSENT, MOTE__PT_ABSENT},
		{0x1001, MOTE__PT_TABLE, MOTE__PT_TABLE},
		{0x400081, MOTE__PT_LEAF, MOTE__PT_TABLE},
		{0xFFC00081, MOTE__PT_LEAF, MOTE__PT_TABLE},
		{0x401081, MOTE__PT_LEAF, MOTE__PT_TABLE},   /* bit 12 is PAT there */
		{0x402081, MOTE__PT_BROKEN, MOTE__PT_TABLE}, /* bits 20:13: beyond 32 bits */
		{0x500081, MOTE__PT_BROKEN, MOTE__PT_TABLE},
		{0x600081, MOTE__PT_BROKEN, MOTE__PT_TABLE}, /* bit 21: reserved */
	};
	for (size_t i = 0; i < COUNT(rows); i++) {
		CHECK_EQ(mote__pt_entry_kind(&mote__pt_i686_large, rows[i].entry, 2), rows[i].with);
		CHECK_EQ(mote__pt_entry_kind(&mote__pt_i686, rows[i].entry, 2), rows[i].without);
		bool is_present = rows[i].entry & 1; /* bit 7 of a small page is PAT */
		CHECK_EQ(mote__pt_entry_kind(&mote__pt_i686_large, rows[i].entry, 1),
			 is_present ? MOTE__PT_LEAF : MOTE__PT_ABSENT);
	}
}

TEST(page_table__describes_every_code_differently)
{
	for (int a = MOTE__PT_STOPPED; a <= 0; a++)
		for (int b = MOTE__PT_STOPPED; b < a; b++)
			CHECK(strcmp(mote__pt_describe(a), mote__pt_describe(b)) != 0);
	CHECK_STR(mote__pt_describe(MOTE__PT_STOPPED - 1), "unknown page-table error");
	CHECK_STR(mote__pt_describe(1), "unknown page-table error");
}

TEST(page_table__range_holds_only_whole_tables_inside)
{
	struct mote__pt_range range = {pool, 0x10000, 3 * 4096};
	CHECK(mote__pt_range_table(&range, 0x10000, 4096) == pool[0]);
	CHECK(mote__pt_range_table(&range, 0x12000, 4096) == pool[2]);
	CHECK(mote__pt_range_table(&range, 0x13000, 4096) == NULL);
	CHECK(mote__pt_range_table(&range, 0xF000, 4096) == NULL);
	CHECK(mote__pt_range_table(&range, 0, 4096) == NULL);
	CHECK(mote__pt_range_table(&range, UINT64_MAX - 4095, 4096) == NULL);
	range.len = 4095;
	CHECK(mote__pt_range_table(&range, 0x10000, 4096) == NULL);
}

/* ---- translating ---- */

TEST(page_table__translates_pages_of_every_size)
{
	struct mote__pt_space space = pool_space(0);
	struct mote__pt_translation t;
	pool_chain();
	pool[3][5] = 0x9000 | 0x63;
	pool[2][1] = 0x40000000 | 0xE1 | 0x1000; /* 2 MiB, with its PAT bit */
	pool[1][1] = 0x80000000 | 0xE1;          /* 1 GiB */
	CHECK_EQ(mote__pt_translate(&space, 0x5123, &t), MOTE__PT_OK);
	CHECK_EQ(t.gpa, 0x9123);
	CHECK_EQ(t.bytes, 0xEDD);
	CHECK_EQ(t.level, 1);
	CHECK_EQ(t.entry, 0x9063);
	CHECK_EQ(t.entry_gpa, page_gpa(3) + 40);
	CHECK_EQ(mote__pt_translate(&space, 0x3FFFFF, &t), MOTE__PT_OK);
	CHECK_EQ(t.gpa, 0x401FFFFF);
	CHECK_EQ(t.bytes, 1);
	CHECK_EQ(t.level, 2);
	CHECK_EQ(mote__pt_translate(&space, 0x40000001, &t), MOTE__PT_OK);
	CHECK_EQ(t.gpa, 0x80000001);
	CHECK_EQ(t.level, 3);
	CHECK_EQ(mote__pt_translate(&space, 0x6000, &t), MOTE__PT_NOT_MAPPED);
	CHECK_EQ(mote__pt_translate(&space, 0x80000000, &t), MOTE__PT_NOT_MAPPED);
}

TEST(page_table__translates_no_address_that_is_not_canonical)
{
	struct mote__pt_space space = pool_space(0);
	struct mote__pt_translation t;
	uint64_t table;
	pool_chain();
	pool[0][511] = pool[0][256] = pool[0][255] = pool[0][0];
	pool[1][511] = pool[1][0];
	pool[2][511] = pool[2][0];
	pool[3][511] = pool[3][0] = 0x61;
	CHECK_EQ(mote__pt_translate(&space, 0, &t), MOTE__PT_OK);
	CHECK_EQ(mote__pt_translate(&space, UINT64_C(0x00007FFFFFFFFFFF), &t), MOTE__PT_OK);
	CHECK_EQ(mote__pt_translate(&space, UINT64_C(0xFFFF800000000000), &t), MOTE__PT_OK);
	CHECK_EQ(mote__pt_translate(&space, UINT64_MAX, &t), MOTE__PT_OK);
	CHECK_EQ(mote__pt_translate(&space, UINT64_C(0x0000800000000000), &t),
		 MOTE__PT_NOT_CANONICAL);
	CHECK_EQ(mote__pt_translate(&space, UINT64_C(0xFFFF7FFFFFFFFFFF), &t),
		 MOTE__PT_NOT_CANONICAL);
	CHECK_EQ(mote__pt_translate(&space, UINT64_C(1) << 63, &t), MOTE__PT_NOT_CANONICAL);
	CHECK_EQ(mote__pt_find_table(&space, UINT64_C(1) << 63, 1, &table), MOTE__PT_NOT_CANONICAL);
}

TEST(page_table__a_large_page_of_32_bits_is_one_with_pse_only)
{
	struct mote__pt_translation t;
	pool_clear();
	struct mote__pt_space space = {&mote__pt_i686_large, pool_memory, page_gpa(0)};
	put(shape_of(space.format), 0, 1023, 0xFEC01000 | 0xE7); /* with PAT */
	CHECK_EQ(mote__pt_translate(&space, 0xFFFFFFFF, &t), MOTE__PT_OK);
	CHECK_EQ(t.gpa, 0xFEFFFFFF);
	CHECK_EQ(t.bytes, 1);
	CHECK_EQ(t.level, 2);
	CHECK_EQ(pack(t.effective), 13);
	/* The same entry names a table when CR4.PSE is clear: one outside, then one inside. */
	space.format = &mote__pt_i686;
	CHECK_EQ(mote__pt_translate(&space, 0xFFFFFFFF, &t), MOTE__PT_NOT_MAPPED);
	put(shape_of(space.format), 0, 1023, page_gpa(1) | 0xE7);
	put(shape_of(space.format), 1, 1023, 0xFEDFF000 | 0xA1);
	CHECK_EQ(mote__pt_translate(&space, 0xFFFFFFFF, &t), MOTE__PT_OK);
	CHECK_EQ(t.gpa, 0xFEDFFFFF);
	CHECK_EQ(t.level, 1);
	CHECK_EQ(pack(t.effective), 4);
	CHECK_EQ(mote__pt_translate(&space, UINT64_C(1) << 32, &t), MOTE__PT_NOT_CANONICAL);
	CHECK_EQ(mote__pt_translate(&space, UINT64_MAX, &t), MOTE__PT_NOT_CANONICAL);
	space.format = &mote__pt_i686_large;
	put(shape_of(space.format), 0, 1023, 0xFEC02000 | 0xE7);
	CHECK_EQ(mote__pt_translate(&space, 0xFFFFFFFF, &t), MOTE__PT_NOT_MAPPED);
}

TEST(page_table__effective_permissions_are_what_all_levels_allow)
{
	struct mote__pt_space space = pool_space(0);
	const uint64_t nx = UINT64_C(1) << 63;
	for (unsigned level = 0; level < 4; level++) {
		for (unsigned bit = 0; bit < 3; bit++) {
			struct mote__pt_translation t;
			pool_chain();
			for (unsigned i = 0; i < 3; i++)
				pool[i][0] |= 0x7;
			pool[3][0] = 0x9067;
			pool[level][0] ^= bit == 2 ? nx : bit == 1 ? 4 : 2;
			CHECK_EQ(mote__pt_translate(&space, 0, &t), MOTE__PT_OK);
			CHECK_EQ(t.effective.writable, bit != 0);
			CHECK_EQ(t.effective.user, bit != 1);
			CHECK_EQ(t.effective.exec, bit != 2);
			CHECK_EQ(t.own.writable, bit != 0 || level != 3);
			CHECK_EQ(t.own.user, bit != 1 || level != 3);
			CHECK_EQ(t.own.exec, bit != 2 || level != 3);
		}
	}
}

TEST(page_table__copy_on_write_below_a_read_only_table_is_not_effective)
{
	struct mote__pt_space space = pool_space(0);
	struct mote__pt_translation t;
	pool_chain();
	pool[3][0] = 0x9261;
	CHECK_EQ(mote__pt_translate(&space, 0, &t), MOTE__PT_OK);
	CHECK(t.own.cow && t.effective.cow && !t.effective.writable);
	pool[1][0] ^= 2;
	CHECK_EQ(mote__pt_translate(&space, 0, &t), MOTE__PT_OK);
	CHECK(t.own.cow && !t.effective.cow);
}

TEST(page_table__what_the_processor_refuses_is_not_mapped)
{
	struct mote__pt_space space = pool_space(0);
	struct mote__pt_translation t;
	pool_chain();
	pool[3][0] = 0x9061;
	pool[0][0] |= 0x80; /* a large page at the top level */
	CHECK_EQ(mote__pt_translate(&space, 0, &t), MOTE__PT_NOT_MAPPED);
	pool_chain();
	pool[2][0] = 0x2000 | 0xE1; /* 2 MiB at 8 KiB */
	CHECK_EQ(mote__pt_translate(&space, 0, &t), MOTE__PT_NOT_MAPPED);
}

TEST(page_table__tables_outside_known_memory_are_not_mapped)
{
	static const uint64_t outside[] = {0, POOL_GPA - 4096, POOL_GPA + sizeof pool,
					   UINT64_C(0x000FFFFFFFFFF000)};
	struct mote__pt_translation t;
	uint64_t table;
	for (size_t i = 0; i < COUNT(outside); i++) {
		for (unsigned level = 0; level < 3; level++) {
			struct mote__pt_space space = pool_space(0);
			pool_chain();
			pool[level][0] = outside[i] | 0x23;
			CHECK_EQ(mote__pt_translate(&space, 0, &t), MOTE__PT_NOT_MAPPED);
			space.root = outside[i];
			CHECK_EQ(mote__pt_translate(&space, 0, &t), MOTE__PT_NOT_MAPPED);
			CHECK_EQ(mote__pt_find_table(&space, 0, 1, &table), MOTE__PT_NOT_MAPPED);
		}
	}
}

TEST(page_table__flags_around_a_root_are_ignored)
{
	struct mote__pt_space space = pool_space(0);
	struct mote__pt_translation t;
	pool_chain();
	pool[3][0] = 0x9061;
	space.root |= UINT64_C(1) << 63 | 0x18;
	CHECK_EQ(mote__pt_translate(&space, 0, &t), MOTE__PT_OK);
	CHECK_EQ(t.entry_gpa, page_gpa(3));
}

TEST(page_table__finds_the_table_of_each_level)
{
	struct mote__pt_space space = pool_space(0);
	uint64_t table;
	pool_chain();
	pool[2][1] = 0x200000 | 0xE1;
	for (uint32_t level = 1; level <= 4; level++) {
		CHECK_EQ(mote__pt_find_table(&space, 0x1000, level, &table), MOTE__PT_OK);
		CHECK_EQ(table, page_gpa(4 - level));
	}
	CHECK_EQ(mote__pt_find_table(&space, 0, 0, &table), MOTE__PT_BAD_LEVEL);
	CHECK_EQ(mote__pt_find_table(&space, 0, 5, &table), MOTE__PT_BAD_LEVEL);
	CHECK_EQ(mote__pt_find_table(&space, 0x200000, 1, &table), MOTE__PT_NOT_MAPPED);
	CHECK_EQ(mote__pt_find_table(&space, 0x400000, 1, &table), MOTE__PT_NOT_MAPPED);
	CHECK_EQ(mote__pt_find_table(&space, 0x200000, 2, &table), MOTE__PT_OK);
}
