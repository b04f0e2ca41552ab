/* SPDX-License-Identifier: MIT */
/* Building page tables, counting them beforehand, and translating what was built. */
#include "core/page_table.h"

#include "check.h"
#include "page_tables.h"

/* ---- builders ---- */

static _Alignas(4096) uint8_t arena[256 * 4096];

static struct mote__pt_builder builder_of(const struct mote__pt_format *format, uint64_t gpa,
					  uint64_t tables)
{
	struct mote__pt_builder builder;
	memset(arena, 0xEE, sizeof arena);
	CHECK_EQ(mote__pt_builder_init(&builder, format, arena, gpa, tables * 4096), MOTE__PT_OK);
	return builder;
}

/* A builder at POOL_GPA with a root in its first page. */
static struct mote__pt_builder with_root(uint64_t tables, uint64_t *root)
{
	struct mote__pt_builder builder = builder_of(&mote__pt_x86_64, POOL_GPA, tables);
	CHECK_EQ(mote__pt_add_root(&builder, root), MOTE__PT_OK);
	CHECK_EQ(*root, POOL_GPA);
	return builder;
}

static uint64_t arena_entry(unsigned table, unsigned index)
{
	uint64_t entry;
	memcpy(&entry, arena + table * 4096 + index * 8, 8);
	return entry;
}

static void arena_put(unsigned table, unsigned index, uint64_t entry)
{
	memcpy(arena + table * 4096 + index * 8, &entry, 8);
}

static struct mote__pt_mapping pages(uint64_t va, uint64_t gpa, uint64_t bytes,
				     struct mote__pt_attributes attributes)
{
	return (struct mote__pt_mapping){
		.va = va, .gpa = gpa, .bytes = bytes, .attributes = attributes};
}

static int map(struct mote__pt_builder *builder, uint64_t root, uint64_t va, uint64_t gpa,
	       uint64_t bytes, struct mote__pt_attributes attributes)
{
	struct mote__pt_mapping mapping = pages(va, gpa, bytes, attributes);
	return mote__pt_map(builder, root, &mapping);
}

static int translate(const struct mote__pt_builder *builder, uint64_t root, uint64_t va,
		     struct mote__pt_translation *out)
{
	struct mote__pt_range built = mote__pt_built(builder);
	struct mote__pt_space space = {builder->format, {&built, mote__pt_range_table}, root};
	return mote__pt_translate(&space, va, out);
}

/* ---- building ---- */

TEST(page_table__builder_takes_tables_top_down_in_ascending_order)
{
	uint64_t root;
	struct mote__pt_builder b = with_root(16, &root);
	CHECK_EQ(map(&b, root, 0x1000, 0x1000, 0x400000, cow_data), MOTE__PT_OK);
	CHECK_EQ(b.used, 6 * 4096);
	CHECK_EQ(arena_entry(0, 0), page_gpa(1) | 0x23);
	CHECK_EQ(arena_entry(1, 0), page_gpa(2) | 0x23);
	for (unsigned i = 0; i < 3; i++)
		CHECK_EQ(arena_entry(2, i), page_gpa(3 + i) | 0x23);
	CHECK_EQ(arena_entry(3, 0), 0);
	CHECK_EQ(arena_entry(3, 1), 0x8000000000001261);
	CHECK_EQ(arena_entry(3, 511), 0x80000000001FF261);
	CHECK_EQ(arena_entry(5, 0), 0x8000000000400261);
	CHECK_EQ(arena_entry(5, 1), 0);
}

TEST(page_table__builder_makes_user_tables_when_asked)
{
	uint64_t root;
	struct mote__pt_builder b = with_root(16, &root);
	b.user_tables = true;
	CHECK_EQ(map(&b, root, 0x1000, 0x1000, 0x1000, read_exec), MOTE__PT_OK);
	for (unsigned i = 0; i < 3; i++)
		CHECK_EQ(arena_entry(i, 0), page_gpa(i + 1) | 0x67);
	CHECK_EQ(arena_entry(3, 1), 0x1061);
}

TEST(page_table__builder_builds_tables_of_32_bits)
{
	struct mote__pt_builder b = builder_of(&mote__pt_i686, 0x8000, 4);
	uint64_t root;
	uint32_t entry;
	CHECK_EQ(mote__pt_add_root(&b, &root), MOTE__PT_OK);
	CHECK_EQ(map(&b, root, 0xFFFFF000, 0xFEDFF000, 0x1000, read_write), MOTE__PT_OK);
	CHECK_EQ(b.used, 2 * 4096);
	memcpy(&entry, arena + 1023 * 4, 4);
	CHECK_EQ(entry, 0x9027);
	memcpy(&entry, arena + 4096 + 1023 * 4, 4);
	CHECK_EQ(entry, 0xFEDFF023);
	CHECK_EQ(map(&b, root, 0xFFFFF000, 0, 0x2000, read_only), MOTE__PT_NOT_CANONICAL);
	CHECK_EQ(map(&b, root, 0x100000000, 0, 0x1000, read_only), MOTE__PT_NOT_CANONICAL);
	CHECK_EQ(map(&b, root, 0x1000, 0xFFFFF000, 0x2000, read_only), MOTE__PT_BAD_GPA);
	CHECK_EQ(b.used, 2 * 4096);
}

TEST(page_table__builder_follows_existing_tables_and_never_changes_them)
{
	uint64_t root;
	struct mote__pt_builder b = with_root(16, &root);
	CHECK_EQ(map(&b, root, 0x1000, 0x1000, 0x1000, read_only), MOTE__PT_OK);
	uint64_t odd = page_gpa(1) | 0x801; /* read-only, another software bit */
	arena_put(0, 0, odd);
	CHECK_EQ(map(&b, root, 0x2000, 0x2000, 0x1000, read_write), MOTE__PT_OK);
	CHECK_EQ(arena_entry(0, 0), odd);
	CHECK_EQ(arena_entry(3, 2), 0x8000000000002063);
	CHECK_EQ(b.used, 4 * 4096);
}

TEST(page_table__builder_replaces_leaves_whatever_they_are)
{
	uint64_t root;
	struct mote__pt_builder b = with_root(4, &root);
	CHECK_EQ(map(&b, root, 0x1000, 0x1000, 0x3000, cow_data), MOTE__PT_OK);
	CHECK_EQ(map(&b, root, 0x2000, 0x9000, 0x1000, read_exec), MOTE__PT_OK);
	CHECK_EQ(arena_entry(3, 1), 0x8000000000001261);
	CHECK_EQ(arena_entry(3, 2), 0x9061);
	CHECK_EQ(arena_entry(3, 3), 0x8000000000003261);
}

TEST(page_table__builder_unmaps_to_zero_and_makes_tables_for_it)
{
	uint64_t root;
	struct mote__pt_builder b = with_root(4, &root);
	struct mote__pt_mapping gone = {.va = 0x2000, .bytes = 0x1000, .kind = MOTE__PT_UNMAP};
	CHECK_EQ(mote__pt_map(&b, root, &gone), MOTE__PT_OK);
	CHECK_EQ(b.used, 4 * 4096);
	CHECK_EQ(map(&b, root, 0x1000, 0x1000, 0x3000, cow_data), MOTE__PT_OK);
	CHECK_EQ(mote__pt_map(&b, root, &gone), MOTE__PT_OK);
	CHECK_EQ(arena_entry(3, 2), 0);
	CHECK(arena_entry(3, 1) != 0 && arena_entry(3, 3) != 0);
	gone.bytes = 0x2000;
	CHECK_EQ(mote__pt_map(&b, root, &gone), MOTE__PT_OK);
	CHECK_EQ(arena_entry(3, 2), 0);
	CHECK_EQ(arena_entry(3, 3), 0);
}

TEST(page_table__builder_does_nothing_for_no_bytes)
{
	uint64_t root;
	struct mote__pt_builder b = with_root(4, &root);
	CHECK_EQ(map(&b, root, 0x1000, 0x1000, 0, cow_data), MOTE__PT_OK);
	CHECK_EQ(b.used, 4096);
}

TEST(page_table__builder_refuses_what_is_not_whole_pages)
{
	uint64_t root;
	struct mote__pt_builder b = with_root(4, &root);
	CHECK_EQ(map(&b, root, 0x1001, 0x1000, 0x1000, cow_data), MOTE__PT_UNALIGNED);
	CHECK_EQ(map(&b, root, 0x1000, 0x1800, 0x1000, cow_data), MOTE__PT_UNALIGNED);
	CHECK_EQ(map(&b, root, 0x1000, 0x1000, 0xFFF, cow_data), MOTE__PT_UNALIGNED);
	CHECK_EQ(b.used, 4096);
}

TEST(page_table__builder_keeps_to_canonical_addresses)
{
	const uint64_t lower_end = UINT64_C(1) << 47, upper = ~UINT64_C(0) << 47;
	uint64_t root;
	struct mote__pt_builder b = with_root(32, &root);
	CHECK_EQ(map(&b, root, lower_end - 0x1000, 0, 0x1000, cow_data), MOTE__PT_OK);
	CHECK_EQ(map(&b, root, upper, 0, 0x1000, cow_data), MOTE__PT_OK);
	CHECK_EQ(map(&b, root, UINT64_MAX - 0xFFF, 0, 0x1000, cow_data), MOTE__PT_OK);
	uint64_t used = b.used;
	CHECK_EQ(map(&b, root, lower_end, 0, 0x1000, cow_data), MOTE__PT_NOT_CANONICAL);
	CHECK_EQ(map(&b, root, lower_end - 0x1000, 0, 0x2000, cow_data), MOTE__PT_NOT_CANONICAL);
	CHECK_EQ(map(&b, root, upper - 0x1000, 0, 0x1000, cow_data), MOTE__PT_NOT_CANONICAL);
	CHECK_EQ(map(&b, root, upper - 0x1000, 0, 0x2000, cow_data), MOTE__PT_NOT_CANONICAL);
	CHECK_EQ(map(&b, root, UINT64_MAX - 0xFFF, 0, 0x2000, cow_data), MOTE__PT_NOT_CANONICAL);
	CHECK_EQ(map(&b, root, 0x1000, 0, UINT64_MAX - 0xFFF, cow_data), MOTE__PT_NOT_CANONICAL);
	CHECK_EQ(map(&b, root, 0x2000, 0, UINT64_MAX - 0xFFF, cow_data), MOTE__PT_NOT_CANONICAL);
	/* Both ends exist, the middle does not. */
	CHECK_EQ(map(&b, root, 0, 0, upper + 0x1000, cow_data), MOTE__PT_NOT_CANONICAL);
	CHECK_EQ(b.used, used);
}

TEST(page_table__builder_refuses_a_gpa_beyond_the_format)
{
	const uint64_t limit = UINT64_C(1) << 52;
	uint64_t root;
	struct mote__pt_builder b = with_root(8, &root);
	CHECK_EQ(map(&b, root, 0x1000, limit - 0x1000, 0x1000, cow_data), MOTE__PT_OK);
	CHECK_EQ(arena_entry(3, 1), 0x800FFFFFFFFFF261);
	CHECK_EQ(map(&b, root, 0x1000, limit - 0x1000, 0x2000, cow_data), MOTE__PT_BAD_GPA);
	CHECK_EQ(map(&b, root, 0x1000, limit, 0x1000, cow_data), MOTE__PT_BAD_GPA);
	CHECK_EQ(map(&b, root, 0x1000, UINT64_MAX - 0xFFF, 0x2000, cow_data), MOTE__PT_BAD_GPA);
}

TEST(page_table__builder_is_full_exactly_at_its_capacity)
{
	uint64_t root;
	struct mote__pt_builder b = with_root(3, &root);
	CHECK_EQ(map(&b, root, 0x1000, 0, 0x1000, cow_data), MOTE__PT_FULL);
	b = with_root(4, &root);
	CHECK_EQ(map(&b, root, 0x1000, 0, 0x1000, cow_data), MOTE__PT_OK);
	CHECK_EQ(map(&b, root, 0x200000, 0, 0x1000, cow_data), MOTE__PT_FULL);
	CHECK_EQ(map(&b, root, 0x1FF000, 0, 0x1000, cow_data), MOTE__PT_OK);
	CHECK_EQ(mote__pt_add_root(&b, &root), MOTE__PT_FULL);
	CHECK(arena[4 * 4096] == 0xEE);
}

TEST(page_table__builder_does_not_leave_its_memory)
{
	uint64_t root;
	struct mote__pt_builder b = with_root(8, &root);
	CHECK_EQ(map(&b, 0, 0x1000, 0, 0x1000, cow_data), MOTE__PT_OUTSIDE);
	CHECK_EQ(map(&b, root + 0x1000, 0x1000, 0, 0x1000, cow_data), MOTE__PT_OUTSIDE);
	CHECK_EQ(map(&b, root + 8, 0x1000, 0, 0x1000, cow_data), MOTE__PT_OUTSIDE);
	arena_put(0, 0, page_gpa(1) | 0x23); /* behind the last table */
	CHECK_EQ(map(&b, root, 0x1000, 0, 0x1000, cow_data), MOTE__PT_OUTSIDE);
	arena_put(0, 0, 0x1023);
	CHECK_EQ(map(&b, root, 0x1000, 0, 0x1000, cow_data), MOTE__PT_OUTSIDE);
	arena_put(0, 0, UINT64_C(0x000FFFFFFFFFF023));
	CHECK_EQ(map(&b, root, 0x1000, 0, 0x1000, cow_data), MOTE__PT_OUTSIDE);
	CHECK_EQ(b.used, 4096);
}

TEST(page_table__builder_refuses_a_root_inside_a_table)
{
	uint64_t root;
	struct mote__pt_builder b = with_root(8, &root);
	CHECK_EQ(map(&b, root, 0x1000, 0, 0x1000, cow_data), MOTE__PT_OK);
	CHECK_EQ(map(&b, root + 8, 0x1000, 0, 0x1000, cow_data), MOTE__PT_OUTSIDE);
	CHECK_EQ(b.used, 4 * 4096);
}

TEST(page_table__builder_refuses_bad_memory)
{
	const struct mote__pt_format *f = &mote__pt_x86_64;
	struct mote__pt_builder b;
	CHECK_EQ(mote__pt_builder_init(&b, f, arena + 4, 0x1000, 4096), MOTE__PT_UNALIGNED);
	CHECK_EQ(mote__pt_builder_init(&b, f, arena, 0x1800, 4096), MOTE__PT_UNALIGNED);
	CHECK_EQ(mote__pt_builder_init(&b, f, arena, UINT64_C(1) << 52, 4096), MOTE__PT_BAD_GPA);
	CHECK_EQ(mote__pt_builder_init(&b, f, arena, UINT64_MAX - 4095, 8192), MOTE__PT_BAD_GPA);
	CHECK_EQ(mote__pt_builder_init(&b, f, arena, (UINT64_C(1) << 52) - 4096, 8192),
		 MOTE__PT_BAD_GPA);
	CHECK_EQ(mote__pt_builder_init(&b, f, arena, (UINT64_C(1) << 52) - 4096, 4096 + 4095),
		 MOTE__PT_OK);
	CHECK_EQ(b.capacity, 4096);
}

TEST(page_table__reserve_makes_tables_down_to_its_level_only)
{
	static const unsigned tables[] = {0, 8, 4, 2, 1};
	for (uint32_t level = 1; level <= 4; level++) {
		uint64_t root;
		struct mote__pt_builder b = with_root(16, &root);
		/* crosses a 1 GiB and a 2 MiB border: 4 leaf tables, 2 of level 2, 1 of level 3 */
		struct mote__pt_mapping m = {.va = 0x3FC00000,
					     .bytes = 0x800000,
					     .kind = MOTE__PT_RESERVE,
					     .reserve_level = level};
		CHECK_EQ(mote__pt_map(&b, root, &m), MOTE__PT_OK);
		CHECK_EQ(b.used, tables[level] * 4096);
		struct mote__pt_translation t;
		CHECK_EQ(translate(&b, root, 0x3FC00000, &t), MOTE__PT_NOT_MAPPED);
		m.bytes = 0;
		CHECK_EQ(mote__pt_map(&b, root, &m), MOTE__PT_OK);
	}
}

TEST(page_table__reserve_refuses_levels_that_do_not_exist)
{
	uint64_t root;
	struct mote__pt_builder b = with_root(16, &root);
	struct mote__pt_mapping m = {.va = 0, .bytes = 0x1000, .kind = MOTE__PT_RESERVE};
	CHECK_EQ(mote__pt_map(&b, root, &m), MOTE__PT_BAD_LEVEL);
	m.reserve_level = 5;
	CHECK_EQ(mote__pt_map(&b, root, &m), MOTE__PT_BAD_LEVEL);
	m.reserve_level = 1;
	m.bytes = 0x2000000;
	CHECK_EQ(mote__pt_map(&b, root, &m), MOTE__PT_FULL);
}

TEST(page_table__large_pages_are_made_where_both_addresses_allow)
{
	uint64_t root;
	struct mote__pt_builder b = with_root(16, &root);
	struct mote__pt_mapping m = pages(0x1FF000, 0x9FF000, 0x402000, read_exec);
	m.large = true;
	CHECK_EQ(mote__pt_map(&b, root, &m), MOTE__PT_OK);
	CHECK_EQ(b.used, 5 * 4096);
	CHECK_EQ(arena_entry(2, 0), page_gpa(3) | 0x23);
	CHECK_EQ(arena_entry(3, 511), 0x9FF061);
	CHECK_EQ(arena_entry(2, 1), 0xA000E1);
	CHECK_EQ(arena_entry(2, 2), 0xC000E1);
	CHECK_EQ(arena_entry(2, 3), page_gpa(4) | 0x23);
	CHECK_EQ(arena_entry(4, 0), 0xE00061);
	struct mote__pt_translation t;
	CHECK_EQ(translate(&b, root, 0x212345, &t), MOTE__PT_OK);
	CHECK_EQ(t.gpa, 0xA12345);
	CHECK_EQ(t.level, 2);
}

TEST(page_table__large_pages_are_not_made_for_other_offsets_or_copy_on_write)
{
	uint64_t root;
	struct mote__pt_builder b = with_root(16, &root);
	struct mote__pt_mapping m = pages(0x200000, 0x201000, 0x200000, read_exec);
	m.large = true;
	CHECK_EQ(mote__pt_map(&b, root, &m), MOTE__PT_OK);
	CHECK_EQ(arena_entry(2, 1), page_gpa(3) | 0x23);
	m = pages(0x400000, 0x400000, 0x200000, cow_data);
	m.large = true;
	CHECK_EQ(mote__pt_map(&b, root, &m), MOTE__PT_OK);
	CHECK_EQ(arena_entry(2, 2), page_gpa(4) | 0x23);
	struct mote__pt_builder c = builder_of(&mote__pt_i686, 0x8000, 4);
	CHECK_EQ(mote__pt_add_root(&c, &root), MOTE__PT_OK);
	m = pages(0x400000, 0x400000, 0x400000, read_exec);
	m.large = true;
	CHECK_EQ(mote__pt_map(&c, root, &m), MOTE__PT_OK);
	CHECK_EQ(c.used, 2 * 4096);
	c = builder_of(&mote__pt_i686_large, 0x8000, 4);
	CHECK_EQ(mote__pt_add_root(&c, &root), MOTE__PT_OK);
	CHECK_EQ(mote__pt_map(&c, root, &m), MOTE__PT_OK);
	CHECK_EQ(c.used, 4096);
	CHECK_EQ(arena_entry(0, 0) >> 32, 0x4000A1);
}

TEST(page_table__large_pages_and_tables_do_not_replace_each_other)
{
	uint64_t root;
	struct mote__pt_builder b = with_root(16, &root);
	CHECK_EQ(map(&b, root, 0x200000, 0x1000, 0x1000, read_exec), MOTE__PT_OK);
	struct mote__pt_mapping m = pages(0x200000, 0x800000, 0x400000, read_exec);
	m.large = true;
	CHECK_EQ(mote__pt_map(&b, root, &m), MOTE__PT_OK);
	CHECK_EQ(arena_entry(2, 1), page_gpa(3) | 0x23);
	CHECK_EQ(arena_entry(3, 511), 0x9FF061);
	CHECK_EQ(arena_entry(2, 2), 0xA000E1);
	CHECK_EQ(map(&b, root, 0x401000, 0x1000, 0x1000, read_exec), MOTE__PT_IN_THE_WAY);
	m.attributes = read_only; /* the same again: replaced */
	CHECK_EQ(mote__pt_map(&b, root, &m), MOTE__PT_OK);
	CHECK_EQ(arena_entry(2, 2), 0x8000000000A000E1);
	CHECK_EQ(b.used, 4 * 4096);
}

TEST(page_table__large_pages_need_room_for_the_tables_above_them)
{
	for (uint64_t tables = 1; tables <= 3; tables++) {
		uint64_t root;
		struct mote__pt_builder b = with_root(tables, &root);
		struct mote__pt_mapping m = pages(0x200000, 0x200000, 0x200000, read_exec);
		m.large = true;
		CHECK_EQ(mote__pt_map(&b, root, &m), tables < 3 ? MOTE__PT_FULL : MOTE__PT_OK);
	}
}

TEST(page_table__shared_tables_show_the_same_pages)
{
	uint64_t root, other, table;
	struct mote__pt_builder b = with_root(16, &root);
	struct mote__pt_translation t;
	CHECK_EQ(mote__pt_add_root(&b, &other), MOTE__PT_OK);
	CHECK_EQ(map(&b, root, 0x400000, 0x7000, 0x1000, read_only), MOTE__PT_OK);
	struct mote__pt_range built = mote__pt_built(&b);
	struct mote__pt_space space = {b.format, {&built, mote__pt_range_table}, root};
	CHECK_EQ(mote__pt_find_table(&space, 0x400000, 1, &table), MOTE__PT_OK);
	CHECK_EQ(table, page_gpa(4));
	CHECK_EQ(mote__pt_share(&b, other, 0x80000000, 2, table), MOTE__PT_OK);
	CHECK_EQ(translate(&b, other, 0x80000000, &t), MOTE__PT_OK);
	CHECK_EQ(t.gpa, 0x7000);
	CHECK_EQ(mote__pt_share(&b, other, 0x80000000, 2, table), MOTE__PT_OK);
	CHECK_EQ(mote__pt_share(&b, other, 0x80000000, 2, root), MOTE__PT_IN_THE_WAY);
	CHECK_EQ(mote__pt_share(&b, other, 0, 1, table), MOTE__PT_BAD_LEVEL);
	CHECK_EQ(mote__pt_share(&b, other, 0, 5, table), MOTE__PT_BAD_LEVEL);
	CHECK_EQ(mote__pt_share(&b, other, UINT64_C(1) << 47, 2, table), MOTE__PT_NOT_CANONICAL);
	CHECK_EQ(mote__pt_share(&b, other, 0, 2, 0x1000), MOTE__PT_OUTSIDE);
	CHECK_EQ(mote__pt_share(&b, 0, 0, 2, table), MOTE__PT_OUTSIDE);
}

TEST(page_table__self_map_shows_the_tables_to_the_supervisor_only)
{
	const uint64_t slot = UINT64_C(0xFFFF800000000000);
	struct mote__pt_attributes user = {.user = true, .writable = true};
	struct mote__pt_translation t;
	uint64_t root;
	struct mote__pt_builder b = with_root(16, &root);
	b.user_tables = true;
	CHECK_EQ(mote__pt_self_map(&b, root, slot), MOTE__PT_OK);
	CHECK_EQ(arena_entry(0, 256), root | 0x63);
	CHECK_EQ(b.used, 4096);
	CHECK_EQ(map(&b, root, 0x5000, 0x9000, 0x1000, user), MOTE__PT_OK);
	/* the leaf of 0x5000 stands at slot + 5 * 8 */
	CHECK_EQ(translate(&b, root, slot + 5 * 8, &t), MOTE__PT_OK);
	CHECK_EQ(t.gpa, page_gpa(3) + 5 * 8);
	CHECK(t.own.user && t.effective.writable && !t.effective.user);
	CHECK_EQ(translate(&b, root, 0x5000, &t), MOTE__PT_OK);
	CHECK(t.effective.user);
	CHECK_EQ(t.entry_gpa, page_gpa(3) + 5 * 8);
	CHECK_EQ(mote__pt_self_map(&b, root, 0), MOTE__PT_IN_THE_WAY);
	CHECK_EQ(mote__pt_self_map(&b, 0, slot), MOTE__PT_OUTSIDE);
	CHECK_EQ(mote__pt_self_map(&b, root, UINT64_C(1) << 47), MOTE__PT_NOT_CANONICAL);
	b.user_tables = false;
	CHECK_EQ(mote__pt_self_map(&b, root, slot + (UINT64_C(1) << 39)), MOTE__PT_OK);
	CHECK_EQ(arena_entry(0, 257), root | 0x23);
}

TEST(page_table__a_format_of_one_level_has_no_self_map)
{
	struct mote__pt_format flat = mote__pt_x86_64;
	uint64_t root, tables;
	flat.levels = 1;
	flat.va_bits = 21;
	flat.is_sign_extended = false;
	struct mote__pt_builder b = builder_of(&flat, POOL_GPA, 1);
	CHECK_EQ(mote__pt_add_root(&b, &root), MOTE__PT_OK);
	CHECK_EQ(mote__pt_self_map(&b, root, 0), MOTE__PT_BAD_LEVEL);
	CHECK_EQ(map(&b, root, 0x1FF000, 0x5000, 0x1000, read_exec), MOTE__PT_OK);
	CHECK_EQ(arena_entry(0, 511), 0x5061);
	struct mote__pt_mapping m = pages(0, 0, 0x200000, read_only);
	CHECK_EQ(mote__pt_count(&flat, &m, 1, &tables), MOTE__PT_OK);
	CHECK_EQ(tables, 1);
}

/* ---- counting ---- */

TEST(page_table__counts_the_tables_of_a_small_default_guest)
{
	const uint64_t scratch = 0x48000;
	struct mote__pt_mapping m[] = {
		pages(0x1000, 0x1000, 0x5000, cow_data),
		pages(0x6000, 0x6000, 0x1000, read_only),
		pages(0x7000, 0x7000, 0x20000, cow_data),
		pages(UINT64_C(0xFFFFFFFFFFFFF000) - scratch, UINT64_C(0x1000000000) - scratch,
		      scratch, read_write),
	};
	uint64_t tables, root;
	CHECK_EQ(mote__pt_count(&mote__pt_x86_64, m, COUNT(m), &tables), MOTE__PT_OK);
	CHECK_EQ(tables, 7);
	struct mote__pt_builder b = builder_of(&mote__pt_x86_64, UINT64_C(0xFFFFC0000), tables);
	CHECK_EQ(mote__pt_add_root(&b, &root), MOTE__PT_OK);
	for (size_t i = 0; i < COUNT(m); i++)
		CHECK_EQ(mote__pt_map(&b, root, &m[i]), MOTE__PT_OK);
	CHECK_EQ(b.gpa + b.used, 0xFFFFC7000);
	struct mote__pt_translation t;
	CHECK_EQ(translate(&b, root, UINT64_C(0xFFFFFFFFFFFFEFE8), &t), MOTE__PT_OK);
	CHECK_EQ(t.gpa, UINT64_C(0xFFFFFFFE8));
	CHECK_EQ(translate(&b, root, UINT64_C(0xFFFFFFFFFFFFF000), &t), MOTE__PT_NOT_MAPPED);
	CHECK_EQ(translate(&b, root, 0xFFF, &t), MOTE__PT_NOT_MAPPED);
}

TEST(page_table__counts_one_table_for_nothing)
{
	struct mote__pt_mapping none = pages(0x1000, 0, 0, read_only);
	uint64_t tables = 0;
	CHECK_EQ(mote__pt_count(&mote__pt_x86_64, NULL, 0, &tables), MOTE__PT_OK);
	CHECK_EQ(tables, 1);
	CHECK_EQ(mote__pt_count(&mote__pt_x86_64, &none, 1, &tables), MOTE__PT_OK);
	CHECK_EQ(tables, 1);
}

TEST(page_table__counts_whole_halves_of_the_address_space)
{
	struct mote__pt_mapping m[] = {
		{.va = 0, .bytes = UINT64_C(1) << 47, .kind = MOTE__PT_RESERVE, .reserve_level = 1},
		{.va = ~UINT64_C(0) << 47,
		 .bytes = UINT64_C(1) << 47,
		 .kind = MOTE__PT_RESERVE,
		 .reserve_level = 3},
	};
	uint64_t tables;
	CHECK_EQ(mote__pt_count(&mote__pt_x86_64, m, 2, &tables), MOTE__PT_OK);
	CHECK_EQ(tables, 1 + 256 + 256 * 512 + UINT64_C(256) * 512 * 512 + 256);
}

TEST(page_table__count_refuses_what_map_refuses)
{
	uint64_t tables;
	struct mote__pt_mapping m = pages(0x1001, 0, 0x1000, read_only);
	CHECK_EQ(mote__pt_count(&mote__pt_x86_64, &m, 1, &tables), MOTE__PT_UNALIGNED);
	m = pages(UINT64_C(1) << 47, 0, 0x1000, read_only);
	CHECK_EQ(mote__pt_count(&mote__pt_x86_64, &m, 1, &tables), MOTE__PT_NOT_CANONICAL);
	m = pages(0, UINT64_C(1) << 52, 0x1000, read_only);
	CHECK_EQ(mote__pt_count(&mote__pt_x86_64, &m, 1, &tables), MOTE__PT_BAD_GPA);
	m.kind = MOTE__PT_RESERVE;
	CHECK_EQ(mote__pt_count(&mote__pt_x86_64, &m, 1, &tables), MOTE__PT_BAD_LEVEL);
}

TEST(page_table__count_wants_ascending_mappings)
{
	uint64_t tables;
	struct mote__pt_mapping m[] = {
		pages(0x3000, 0, 0x2000, read_only),
		pages(0x2000, 0, 0x1000, read_only),
	};
	CHECK_EQ(mote__pt_count(&mote__pt_x86_64, m, 2, &tables), MOTE__PT_BAD_ORDER);
	m[1].va = 0x4000; /* overlaps: allowed between small ones */
	CHECK_EQ(mote__pt_count(&mote__pt_x86_64, m, 2, &tables), MOTE__PT_OK);
	m[1].gpa = 0x4000;
	m[1].large = true;
	CHECK_EQ(mote__pt_count(&mote__pt_x86_64, m, 2, &tables), MOTE__PT_BAD_ORDER);
	m[1].va = m[1].gpa = 0x5000;
	CHECK_EQ(mote__pt_count(&mote__pt_x86_64, m, 2, &tables), MOTE__PT_OK);
	m[0].large = true;
	m[0].gpa = 0x3000;
	m[1].large = false;
	CHECK_EQ(mote__pt_count(&mote__pt_x86_64, m, 2, &tables), MOTE__PT_OK);
	m[1].va = 0x4000;
	CHECK_EQ(mote__pt_count(&mote__pt_x86_64, m, 2, &tables), MOTE__PT_BAD_ORDER);
}

TEST(page_table__counts_overlapping_mappings_once)
{
	uint64_t tables;
	struct mote__pt_mapping m[] = {
		pages(0, 0, 0x1000000, cow_data),
		pages(0, 0, 0x1000, read_only),
		pages(0x200000, 0, 0x1000, read_only),
		pages(0xFFF000, 0, 0x2000, read_only),
	};
	CHECK_EQ(mote__pt_count(&mote__pt_x86_64, m, 4, &tables), MOTE__PT_OK);
	CHECK_EQ(tables, 3 + 9);
	/* a large one inside the first, behind the end of the second */
	m[2].large = true;
	CHECK_EQ(mote__pt_count(&mote__pt_x86_64, m, 3, &tables), MOTE__PT_BAD_ORDER);
}

/* Random ascending mappings, some adjacent, some far apart. */
static size_t random_mappings(uint64_t *random, const struct mote__pt_format *format,
			      struct mote__pt_mapping *m, size_t capacity)
{
	size_t count = check_random(random) % capacity + 1, made = 0;
	bool is_wide = format->va_bits == 48;
	uint64_t va = check_random(random) % 1024 * 4096;
	for (size_t i = 0; i < count; i++) {
		uint64_t page_count = check_random(random) % 8 ? check_random(random) % 40
							       : check_random(random) % 3000;
		uint64_t gpa = check_random(random) % 0x80000 * 4096;
		uint64_t jump = check_random(random) % 6;
		if (jump == 0)
			va += check_random(random) % 2048 * 4096;
		else if (jump == 1 && is_wide)
			va += check_random(random) % 3 << 30;
		else if (jump == 2 && is_wide)
			va += check_random(random) % 3 << 39;
		else if (jump == 3 && is_wide && va < UINT64_C(1) << 47)
			va = ~UINT64_C(0) << 47;
		if (!is_wide && va + page_count * 4096 > UINT64_C(1) << 32)
			break;
		struct mote__pt_attributes a = {.writable = check_random(random) % 2,
						.cow = check_random(random) % 2,
						.exec = check_random(random) % 2,
						.user = check_random(random) % 2};
		m[made] = pages(va, gpa, page_count * 4096, a);
		m[made].large = check_random(random) % 2;
		const uint64_t below = mote__pt_page_bytes(format, 2) - 1;
		if (m[made].large) /* the same place in a large page, most times */
			m[made].gpa = (gpa & ~below) | (va & below);
		if (check_random(random) % 5 == 0) {
			m[made].kind = MOTE__PT_RESERVE;
			m[made].reserve_level =
				(uint32_t)(check_random(random) % format->levels) + 1;
		} else if (check_random(random) % 9 == 0) {
			m[made].kind = MOTE__PT_UNMAP;
		}
		va += page_count * 4096;
		made++;
	}
	return made;
}

/* Every page at both ends of, around and inside each mapping translates as the mappings say. */
static void check_against_mappings(const struct mote__pt_builder *b, uint64_t root,
				   const struct mote__pt_mapping *m, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		for (uint64_t at = 0; at < m[i].bytes; at += 4096) {
			struct mote__pt_translation t;
			uint64_t offset = at + (at * 31 + i) % 4096;
			int rc = translate(b, root, m[i].va + offset, &t);
			if (m[i].kind != MOTE__PT_MAP) {
				CHECK_EQ(rc, MOTE__PT_NOT_MAPPED);
				continue;
			}
			struct mote__pt_attributes own = m[i].attributes;
			own.writable = own.writable && !own.cow;
			own.exec = own.exec || !shape_of(b->format)->no_execute;
			CHECK_EQ(rc, MOTE__PT_OK);
			CHECK_EQ(t.gpa, m[i].gpa + offset);
			CHECK_EQ(pack(t.own), pack(own));
			own.user = own.user &&
				   mote__pt_has(b->format->user,
						mote__pt_table_entry(b->format, 0, b->user_tables));
			CHECK_EQ(pack(t.effective), pack(own));
		}
		struct mote__pt_translation t;
		uint64_t end = m[i].va + m[i].bytes;
		bool is_last = i + 1 == count || m[i + 1].va != end;
		if (m[i].bytes && is_last && mote__pt_canonical(b->format, end) == end)
			CHECK_EQ(translate(b, root, end, &t), MOTE__PT_NOT_MAPPED);
	}
}

TEST(page_table__count_build_and_translate_agree_on_random_mappings)
{
	struct mote__pt_mapping m[12];
	uint64_t random = 20240601;
	check_note("seed %llu", (unsigned long long)random);
	for (unsigned round = 0, tried[COUNT(shapes)] = {0}; round < 1200; round++) {
		const size_t which = round % (COUNT(shapes) - 1);
		const struct mote__pt_format *format = shapes[which].format;
		uint64_t tables, root;
		size_t count = random_mappings(&random, format, m, COUNT(m));
		CHECK_EQ(mote__pt_count(format, m, count, &tables), MOTE__PT_OK);
		CHECK(round < 1190 || tried[which] > 100);
		if (tables > sizeof arena / 4096)
			continue;
		tried[which]++;
		struct mote__pt_builder b = builder_of(format, 0x100000, tables);
		b.user_tables = round / 4 % 2;
		CHECK_EQ(mote__pt_add_root(&b, &root), MOTE__PT_OK);
		for (size_t i = 0; i < count; i++)
			CHECK_EQ(mote__pt_map(&b, root, &m[i]), MOTE__PT_OK);
		CHECK_EQ(b.used, tables * 4096);
		check_against_mappings(&b, root, m, count);
	}
}
