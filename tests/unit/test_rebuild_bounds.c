/* SPDX-License-Identifier: MIT */
/* The rebuild of a guest's tables: what is added to them, bounds, hostile tables, another format.
 */
#include "core/rebuild.h"

#include "rebuild_case.h"

/* ---- spans and added mappings ---- */

static const struct mote__pt_span low_half[] = {{0x4000, 0x00007FFFFFFFFFFF}};
static const struct mote__pt_mapping linear[] = {
	{.va = UINT64_C(0xFFFFFFFFFFC00000),
	 .bytes = 0x400000,
	 .gpa = 0x7000000,
	 .attributes = {.writable = true}},
	{.va = 0x1000, .bytes = 0x3000, .gpa = 0x8000000, .attributes = {.writable = true}},
};

TEST(rebuild__adds_mappings_to_each_root)
{
	struct mote__rebuild r = begin();
	pool[3][3] = 0x3063; /* outside */
	pool[3][4] = 0x4063;
	pool[0][511] = PAGE(5) | 0x23; /* the guest's own linear map, outside too */
	pool[5][511] = PAGE(6) | 0x23;
	pool[6][511] = PAGE(7) | 0x23;
	pool[7][0] = PAGE(20) | 0x63;
	pool[4][511] = pool[0][511];
	roots[1] = PAGE(4); /* nothing of it is left */
	roots[2] = PAGE(0);
	r.root_count = 3;
	r.spans = low_half;
	r.span_count = 1;
	r.mappings = linear;
	r.mapping_count = 2;
	CHECK_EQ(mote__rebuild(&r), MOTE__PT_OK);
	const uint64_t leaf = UINT64_C(1) << 63 | 0x63;
	for (uint32_t root = 0; root < 3; root++) {
		CHECK_EQ(new_leaf(root, linear[0].va), 0x7000000 | leaf);
		CHECK_EQ(new_leaf(root, linear[0].va + 0x3FF000), 0x73FF000 | leaf);
		CHECK_EQ(new_leaf(root, 0x3000), 0x8002000 | leaf);
		CHECK_EQ(new_leaf(root, 0x4000), root == 1 ? 0 : 0x4261);
	}
	CHECK_EQ(new_roots[2], new_roots[0]);
	CHECK_EQ(builder.used, 2 * 8 * 4096);
}

/* A table that the spans cut is shared by roots that have it at the same place, and only there. */
TEST(rebuild__shares_cut_tables_at_the_same_place)
{
	struct mote__rebuild r = begin();
	pool[3][3] = 0x3063; /* outside the first place, inside the second */
	pool[3][4] = 0x4063;
	pool[2][1] = pool[2][0];
	pool[4][0] = PAGE(5) | 0x23;
	pool[5][0] = PAGE(6) | 0x23;
	pool[6][0] = pool[2][0];
	roots[1] = PAGE(4);
	r.root_count = 2;
	r.spans = low_half;
	r.span_count = 1;
	r.mappings = linear;
	r.mapping_count = 2;
	CHECK_EQ(mote__rebuild(&r), MOTE__PT_OK);
	CHECK_EQ(new_table(1, 0, 1), new_table(0, 0, 1));
	CHECK(new_table(0, 0x200000, 1) != new_table(0, 0, 1));
	CHECK_EQ(new_leaf(0, 0x203000), 0x3261);
	CHECK_EQ(new_leaf(0, 0x201000), 0);
	CHECK_EQ(new_leaf(1, 0x3000), 0x8002000 | UINT64_C(1) << 63 | 0x63);
	CHECK_EQ(new_leaf(1, 0x4000), 0x4261);
}

TEST(rebuild__refuses_to_map_over_what_is_walked)
{
	struct mote__pt_mapping over = {.va = 0x3000, .bytes = 0x1000, .gpa = 0x9000};
	struct mote__rebuild r = begin();
	r.mappings = &over;
	r.mapping_count = 1;
	CHECK_EQ(mote__rebuild(&r), MOTE__REBUILD_OVERLAP); /* no spans: all is walked */
	r.spans = low_half;
	r.span_count = 1;
	CHECK_EQ(mote__rebuild(&r), MOTE__PT_OK);
	over.bytes += 0x1000;
	CHECK_EQ(mote__rebuild(&r), MOTE__REBUILD_OVERLAP);
	over.va = low_half[0].last - 0xFFF;
	over.bytes = 0x1000;
	CHECK_EQ(mote__rebuild(&r), MOTE__REBUILD_OVERLAP);
	over.va = low_half[0].last + 1;
	CHECK_EQ(mote__rebuild(&r), MOTE__PT_NOT_CANONICAL);
	over.bytes = 0;
	over.va = 0x8000;
	CHECK_EQ(mote__rebuild(&r), MOTE__PT_OK);
}

/* ---- bounds ---- */

/* A guest of two roots with a little of everything. */
static struct mote__rebuild begin_varied(const struct shape *shape)
{
	struct mote__rebuild r = begin_in(shape);
	const unsigned leaves = shape->levels - 1;
	put(shape, leaves, 1, 0x1063);
	put(shape, leaves, 2, PAGE(10) | 0x63);
	put(shape, leaves, 3, PAGE(9) | 0x63); /* zeroes */
	put(shape, leaves, 4, PAGE(11) | 0x63);
	put(shape, leaves, 5, 0x63); /* not known */
	put(shape, leaves - 1, 1, PAGE(leaves) | 0x27);
	if (shape->large_top > 1)
		put(shape, leaves - 1, 2, 0x400000 | 0xE5);
	put(shape, 4, 7, PAGE(1) | 0x27);
	put(shape, 4, 8, PAGE(1) | 0x27);
	roots[1] = PAGE(4);
	r.root_count = 2;
	return r;
}

static void check_budgets(const struct shape *shape)
{
	/* The end of the mapping, in a large page. */
	const uint32_t large = shape->large_top > 1 ? 88 : 0, has_large = large ? 1 : 0;
	/* pages, hole, link, large page with its hole, links */
	const uint64_t leaves = 4 + 1 + 1 + large + has_large + 2;
	const uint32_t pages = 3 + large, walked = shape->levels + 1;
	const uint32_t built = 2 + shape->levels - 1 + has_large;
	struct mote__rebuild r = begin_varied(shape);
	r.leaves_max = leaves;
	r.pages_max = pages;
	r.tables_max = walked;
	r.visit_count = mote__pt_visits_for(walked);
	r.slot_count = mote__rebuild_slots_for(pages);
	builder.capacity = built * 4096;
	const struct mote__rebuild enough = r;
	const struct mote__pt_builder room = builder;
	CHECK_EQ(mote__rebuild(&r), MOTE__PT_OK);
	CHECK_EQ(r.page_count, pages);
	CHECK_EQ(builder.used, builder.capacity);

	for (uint64_t less = 0; less < leaves; less++) {
		r = enough;
		builder = room;
		r.leaves_max = less;
		CHECK_EQ(mote__rebuild(&r), MOTE__PT_LEAF_BUDGET);
	}
	for (uint32_t less = 0; less < pages; less++) {
		r = enough;
		builder = room;
		r.pages_max = less;
		CHECK_EQ(mote__rebuild(&r), MOTE__REBUILD_PAGE_BUDGET);
		CHECK_EQ(r.page_count, less);
	}
	for (uint32_t less = 0; less < walked; less++) {
		r = enough;
		builder = room;
		r.tables_max = less;
		CHECK_EQ(mote__rebuild(&r), MOTE__PT_TABLE_BUDGET);
	}
	for (uint32_t less = 0; less < built; less++) {
		r = enough;
		builder = room;
		builder.capacity = less * 4096;
		CHECK_EQ(mote__rebuild(&r), MOTE__PT_FULL);
		CHECK_EQ(builder.used, builder.capacity);
	}
}

TEST(rebuild__works_with_exactly_the_budgets_that_it_needs)
{
	for (const struct shape *shape = shapes; shape->format; shape++)
		check_budgets(shape);
}

TEST(rebuild__names_the_bound_in_an_error)
{
	CHECK_HAS(mote__rebuild_describe(MOTE__REBUILD_PAGE_BUDGET), "pages to store");
	CHECK_HAS(mote__rebuild_describe(MOTE__PT_LEAF_BUDGET), "mapped pages");
	CHECK_HAS(mote__rebuild_describe(MOTE__PT_TABLE_BUDGET), "page tables");
	CHECK_HAS(mote__rebuild_describe(MOTE__PT_FULL), "memory for page tables");
	CHECK_HAS(mote__rebuild_describe(MOTE__REBUILD_BAD_SLOTS), "stored pages");
	CHECK_HAS(mote__rebuild_describe(MOTE__REBUILD_OVERLAP), "overlaps");
	CHECK_STR(mote__rebuild_describe(-1000), mote__pt_describe(-1000));
}

TEST(rebuild__refuses_memory_that_does_not_suit)
{
	static const uint32_t bad[] = {0, 3, 100, 128, 300};
	for (size_t i = 0; i < COUNT(bad); i++) {
		struct mote__rebuild r = begin_varied(shapes);
		r.pages_max = 128;
		r.slot_count = bad[i];
		CHECK_EQ(mote__rebuild(&r), MOTE__REBUILD_BAD_SLOTS);
	}
	struct mote__rebuild r = begin_varied(shapes);
	r.visit_count = 100;
	CHECK_EQ(mote__rebuild(&r), MOTE__PT_BAD_VISITS);
	r = begin_varied(shapes);
	r.new_gpa = NEW_GPA + 0x800;
	CHECK_EQ(mote__rebuild(&r), MOTE__PT_UNALIGNED);
	CHECK_EQ(mote__rebuild_slots_for(0), 2);
	CHECK_EQ(mote__rebuild_slots_for(1), 2);
	CHECK_EQ(mote__rebuild_slots_for(2), 4);
	CHECK_EQ(mote__rebuild_slots_for(3), 8);
	CHECK_EQ(mote__rebuild_slots_for(1u << 30), 1u << 31);
}

TEST(rebuild__refuses_new_pages_beyond_physical_addresses)
{
	for (const struct shape *shape = shapes; shape->format; shape++) {
		const uint64_t tops[] = {shape->address + 0x1000, UINT64_MAX - 0xFFF};
		for (size_t i = 0; i < COUNT(tops); i++) {
			struct mote__rebuild r = begin_varied(shape);
			r.new_gpa = tops[i] - 0x1000; /* one page fits */
			CHECK_EQ(mote__rebuild(&r), MOTE__PT_BAD_GPA);
		}
	}
}

TEST(rebuild__of_no_roots_makes_nothing)
{
	struct mote__rebuild r = begin();
	r.root_count = 0;
	CHECK_EQ(mote__rebuild(&r), MOTE__PT_OK);
	CHECK_EQ(builder.used, 0);
}

/* ---- hostile tables ---- */

TEST(rebuild__of_a_table_that_is_all_entries_of_itself_is_small)
{
	for (const struct shape *shape = shapes; shape->format; shape++) {
		struct mote__rebuild r = begin_in(shape);
		put_all(shape, 0, PAGE(0) | 0x63);
		roots[1] = PAGE(0);
		r.root_count = 2;
		CHECK_EQ(mote__rebuild(&r), MOTE__PT_OK);
		CHECK_EQ(r.page_count, 1); /* 2^36 or 2^20 pages that are one */
		CHECK_EQ(builder.used, shape->levels * 4096);
		CHECK_EQ(new_leaf(0, 0), NEW_GPA | 0x201 | shape->used);
		CHECK_EQ(new_leaf(1, shape_top(shape)), NEW_GPA | 0x201 | shape->used);
	}
}

TEST(rebuild__of_tables_that_alias_at_every_level_is_small)
{
	for (const struct shape *shape = shapes; shape->format; shape++) {
		struct mote__rebuild r = begin_in(shape);
		for (unsigned page = 0; page + 1 < shape->levels; page++)
			put_all(shape, page, PAGE(page + 1) | 0x23);
		put(shape, shape->levels - 1, 0, 0x1063); /* 2^27 or 2^10 pages */
		CHECK_EQ(mote__rebuild(&r), MOTE__PT_OK);
		CHECK_EQ(builder.used, shape->levels * 4096);
		CHECK_EQ(new_leaf(0, shape_top(shape) - (shape_bytes(shape, 2) - 1)),
			 0x1201 | shape->used);
	}
}

/* Every table is an entry of every table, at each level: links go across all of them. */
TEST(rebuild__of_tables_that_all_name_each_other_is_bounded)
{
	for (const struct shape *shape = shapes; shape->format; shape++) {
		struct mote__rebuild r = begin_in(shape);
		const unsigned entries = shape_entries(shape);
		for (unsigned page = 0; page < 8; page++)
			for (unsigned i = 0; i < entries; i++)
				put(shape, page, i, PAGE((i * 5 + page) % 8) | 0x63);
		for (unsigned i = 0; i < 8; i++)
			roots[i] = PAGE(i);
		r.root_count = 8;
		CHECK_EQ(mote__rebuild(&r), MOTE__PT_OK);
		CHECK_EQ(r.page_count, 8);
		CHECK_EQ(builder.used, shape->levels * 8 * 4096);
		CHECK_EQ(r.leaves_stored, 8 * entries);
	}
}

TEST(rebuild__ends_at_the_budget_of_a_guest_with_millions_of_pages)
{
	struct mote__rebuild r = begin();
	/* Cut tables are not shared, so that an alias costs its pages again. */
	static const struct mote__pt_span all_but_little[] = {{0x1000, UINT64_MAX}};
	for (unsigned i = 0; i < 512; i++) {
		pool[1][i] = 0xE3 | (uint64_t)(i & 1) << 30;
		pool[0][i] = PAGE(1) | 0x23 | (i & 1 ? 4u : 0u);
	}
	r.spans = all_but_little;
	r.span_count = 1;
	r.leaves_max = 50000;
	CHECK_EQ(mote__rebuild(&r), MOTE__PT_LEAF_BUDGET);
	CHECK(finder.calls <= 50001);
	CHECK(r.leaves_kept + r.leaves_stored + r.leaves_zero + r.runs_dropped <= 50001);
}

/* ---- the numbers of 32 bits ---- */

TEST(rebuild__makes_the_entries_of_32_bits)
{
	uint32_t(*table)[1024] = (uint32_t(*)[1024])pool;
	begin();
	pool_clear();
	struct mote__rebuild r = rebuild_of(&mote__pt_i686, 3, &finder);
	table[20][0] = 1;
	table[0][0] = (uint32_t)PAGE(1) | 0x27;
	table[0][9] = (uint32_t)PAGE(2) | 0x27;
	table[0][1023] = (uint32_t)PAGE(2) | 0x25;
	table[1][0] = 0x1067;
	table[1][1023] = (uint32_t)PAGE(20) | 0x27;
	table[2][5] = (uint32_t)PAGE(20) | 0x263;
	table[2][6] = (uint32_t)PAGE(21) | 0x63; /* zeroes */
	table[2][7] = (uint32_t)PAGE(64) | 0x63; /* not known */
	table[3][1] = table[0][0];
	table[3][2] = table[0][9];
	roots[1] = PAGE(3);
	roots[2] = PAGE(0);
	CHECK_EQ(mote__rebuild(&r), MOTE__PT_OK);
	CHECK_EQ(new_leaf(0, 0), 0x1225);
	CHECK_EQ(new_leaf(0, 0x3FF000), NEW_GPA | 0x225);
	CHECK_EQ(new_leaf(0, (9 << 22) + 0x5000), NEW_GPA | 0x221);
	CHECK_EQ(new_leaf(0, (9 << 22) + 0x6000), (NEW_GPA + 0x1000) | 0x221);
	CHECK_EQ(new_leaf(0, (9 << 22) + 0x7000), 0);
	CHECK_EQ(new_leaf(0, 0xFFC05000), NEW_GPA | 0x21);
	CHECK_EQ(new_table(1, 1 << 22, 1), new_table(0, 0, 1));
	CHECK_EQ(new_table(1, 2 << 22, 1), new_table(0, 9 << 22, 1));
	CHECK_EQ(new_roots[2], new_roots[0]);
	CHECK_EQ(builder.used, 5 * 4096);
}
