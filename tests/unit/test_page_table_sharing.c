/* SPDX-License-Identifier: MIT */
/*
 * Walks of tables that are shared, alias or name themselves, in every format: each table is gone
 * into once, what is met again is a link, and no arrangement costs more than its tables.
 */
#include "core/page_table.h"

#include "check.h"
#include "page_tables.h"

/* ---- how often a walk asks for a table ---- */

static unsigned asked[POOL_PAGES];

static const void *counting_table(const void *cookie, uint64_t gpa, uint64_t bytes)
{
	const void *table = mote__pt_range_table(cookie, gpa, bytes);
	if (table)
		asked[(gpa - POOL_GPA) / 4096]++;
	return table;
}

/* Walk, and find that tables are asked for once to go into them and once for each link, and that
 * what is gone into is tables tables. */
static void walk_counted(struct mote__pt_walk *walk, uint32_t tables)
{
	struct report *report = walk->cookie;
	unsigned links[POOL_PAGES] = {0}, entered = 0;
	memset(asked, 0, sizeof asked);
	walk->memory.table = counting_table;
	walk->tables_max = tables;
	CHECK_EQ(mote__pt_walk(walk), MOTE__PT_OK);
	for (size_t i = 0; i < report->link_count; i++)
		links[(report->links[i].table_gpa - POOL_GPA) / 4096]++;
	for (unsigned page = 0; page < POOL_PAGES; page++) {
		CHECK(asked[page] >= links[page]);
		entered += asked[page] - links[page];
	}
	CHECK_EQ(entered, tables);
}

static void check_link(const struct mote__pt_link *link, uint32_t root, uint64_t va,
		       uint32_t owner_root, uint64_t owner_va, unsigned level, unsigned page)
{
	CHECK_EQ(link->root, root);
	CHECK_EQ(link->va, va);
	CHECK_EQ(link->owner_root, owner_root);
	CHECK_EQ(link->owner_va, owner_va);
	CHECK_EQ(link->level, level);
	CHECK_EQ(link->table_gpa, page_gpa(page));
}

/* Number of the page that holds the table of a level in put_chain(). */
static unsigned chain_page(const struct shape *shape, unsigned level)
{
	return shape->levels - level;
}

/* Other tables from page first on for va 0, down to where the entry index of one names a table of a
 * level. */
static void put_other(const struct shape *shape, unsigned first, unsigned level, unsigned index,
		      unsigned table)
{
	unsigned page = first;
	for (unsigned at = shape->levels; at > level + 1; at--, page++)
		put(shape, page, 0, page_gpa(page + 1) | 0x27);
	put(shape, page, index, page_gpa(table) | 0x27);
}

/* ---- links ---- */

TEST(page_table_sharing__a_table_of_an_earlier_root_is_a_link)
{
	for (const struct shape *shape = shapes; shape->format; shape++) {
		const unsigned index =
			shape_entries(shape) * 5 / 8; /* the upper half of the root */
		for (unsigned level = 1; level < shape->levels; level++) {
			struct report report = {0};
			put_chain(shape);
			put(shape, chain_page(shape, 1), 7, 0x9063);
			put_other(shape, 10, level, index, chain_page(shape, level));
			roots[0] = page_gpa(0);
			roots[1] = page_gpa(10) | 0x18;
			roots[2] = page_gpa(0) | 0x7; /* is the first one */
			struct mote__pt_walk walk = walk_of(shape->format, 3, &report);
			walk_counted(&walk, shape->levels + (shape->levels - level));
			CHECK_EQ(report.leaves.count, 1);
			CHECK_EQ(report.link_count, 2);
			uint64_t va = index * shape_bytes(shape, level + 1);
			check_link(&report.links[0], 1, shape_canonical(shape, va), 0, 0, level,
				   chain_page(shape, level));
			check_link(&report.links[1], 2, 0, 0, 0, shape->levels, 0);
			report_free(&report);
		}
	}
}

TEST(page_table_sharing__the_first_root_that_reaches_a_table_owns_it)
{
	for (const struct shape *shape = shapes; shape->format; shape++) {
		for (unsigned level = 1; level < shape->levels; level++) {
			struct report report = {0};
			const unsigned shared = 40;
			put_chain(shape);
			put(shape, 0, 9, 0x5000 | 0x27); /* no memory */
			put_other(shape, 10, level, 3, shared);
			put_other(shape, 20, level, 5, shared);
			put_other(shape, 30, level, 0, shared);
			roots[0] = page_gpa(0);
			roots[1] = page_gpa(10);
			roots[2] = page_gpa(20);
			roots[3] = page_gpa(30);
			struct mote__pt_walk walk = walk_of(shape->format, 4, &report);
			walk_counted(&walk, shape->levels + 3 * (shape->levels - level) + 1);
			uint64_t bytes = shape_bytes(shape, level + 1);
			CHECK_EQ(report.link_count, 2);
			check_link(&report.links[0], 2, 5 * bytes, 1, 3 * bytes, level, shared);
			check_link(&report.links[1], 3, 0, 1, 3 * bytes, level, shared);
			report_free(&report);
		}
	}
}

TEST(page_table_sharing__a_table_again_in_one_root_is_a_link)
{
	for (const struct shape *shape = shapes; shape->format; shape++) {
		for (unsigned level = 1; level < shape->levels; level++) {
			struct report report = {0};
			const unsigned page = chain_page(shape, level);
			const unsigned last = shape_entries(shape) - 1;
			put_chain(shape);
			put(shape, chain_page(shape, 1), 7, 0x9063);
			put(shape, page - 1, 1, page_gpa(page) | 0x27);
			put(shape, page - 1, last, page_gpa(page) | 0x27);
			roots[0] = page_gpa(0);
			struct mote__pt_walk walk = walk_of(shape->format, 1, &report);
			walk_counted(&walk, shape->levels);
			CHECK_EQ(report.leaves.count, 1);
			CHECK_EQ(report.link_count, 2);
			uint64_t bytes = shape_bytes(shape, level + 1);
			check_link(&report.links[0], 0, bytes, 0, 0, level, page);
			check_link(&report.links[1], 0, shape_canonical(shape, last * bytes), 0, 0,
				   level, page);
			report_free(&report);
		}
	}
}

TEST(page_table_sharing__a_table_with_other_permissions_is_gone_into_again)
{
	for (const struct shape *shape = shapes; shape->format; shape++) {
		struct report report = {0};
		const unsigned leaves = chain_page(shape, 1);
		put_chain(shape);
		put(shape, leaves, 7, 0x9067);
		put(shape, leaves - 1, 1, page_gpa(leaves) | 0x27); /* the same: a link */
		put(shape, leaves - 1, 2, page_gpa(leaves) | 0x25); /* read-only */
		put(shape, leaves - 1, 3, page_gpa(leaves) | 0x23); /* not user */
		roots[0] = page_gpa(0);
		struct mote__pt_walk walk = walk_of(shape->format, 1, &report);
		walk_counted(&walk, shape->levels + 2);
		static const uint64_t effective[] = {13, 12, 5};
		CHECK_EQ(report.link_count, 1);
		CHECK_EQ(report.leaves.count, 3);
		for (unsigned i = 0; i < 3; i++) {
			CHECK_EQ(report.leaves.items[i].own, 13);
			CHECK_EQ(report.leaves.items[i].effective, effective[i]);
		}
		report_free(&report);
	}
}

/* ---- large pages ---- */

TEST(page_table_sharing__large_pages_of_every_level_are_reported)
{
	for (const struct shape *shape = shapes; shape->format; shape++) {
		for (unsigned level = 2; level <= shape->levels; level++) {
			struct report report = {0};
			const unsigned page = chain_page(shape, level);
			const uint64_t bytes = shape_bytes(shape, level);
			const bool is_large = level <= shape->large_top;
			put_chain(shape);
			put(shape, page, 2, bytes | 0xE7);
			put(shape, page, 3, bytes | 0x1000 | 0xE7); /* PAT */
			put(shape, page, 4, bytes | 0x2000 | 0xE7); /* not at its size */
			put(shape, page, 5, (bytes + bytes / 2) | 0xE7);
			roots[0] = page_gpa(0);
			struct mote__pt_walk walk = walk_of(shape->format, 1, &report);
			CHECK_EQ(mote__pt_walk(&walk), MOTE__PT_OK);
			CHECK_EQ(report.link_count, 0);
			CHECK_EQ(report.leaves.count, is_large ? 2 : 0);
			for (size_t i = 0; i < report.leaves.count; i++) {
				const struct seen expected = {
					0, (2 + i) * bytes, bytes, bytes, level, 13, 13};
				CHECK_MEM(&report.leaves.items[i], &expected, sizeof expected);
			}
			report_free(&report);
		}
	}
}

/* ---- hostile tables ---- */

TEST(page_table_sharing__tables_that_all_name_the_root_end)
{
	for (const struct shape *shape = shapes; shape->format; shape++) {
		struct report report = {0};
		const uint32_t entries = shape_entries(shape), levels = shape->levels;
		pool_clear();
		put_all(shape, 0, page_gpa(0) | 0x23);
		roots[0] = page_gpa(0);
		struct mote__pt_walk walk = walk_of(shape->format, 1, &report);
		walk.leaves_max = entries + (levels - 1) * (entries - 1);
		walk_counted(&walk, levels); /* the page once for each level */
		CHECK_EQ(report.leaves.count, entries);
		CHECK_EQ(report.link_count, (levels - 1) * (entries - 1));
		report_free(&report);
		walk.tables_max = levels - 1;
		CHECK_EQ(mote__pt_walk(&walk), MOTE__PT_TABLE_BUDGET);
		report_free(&report);
		walk.tables_max = levels;
		walk.leaves_max--;
		CHECK_EQ(mote__pt_walk(&walk), MOTE__PT_LEAF_BUDGET);
		CHECK_EQ(report.leaves.count + report.link_count, walk.leaves_max);
		report_free(&report);
	}
}

TEST(page_table_sharing__multiply_aliased_tables_cost_one_visit_each)
{
	for (const struct shape *shape = shapes; shape->format; shape++) {
		struct report report = {0};
		pool_clear();
		for (unsigned page = 0; page + 1 < shape->levels; page++)
			put_all(shape, page, page_gpa(page + 1) | 0x27);
		put(shape, shape->levels - 1, 0,
		    0x9061); /* every first page, in 2^27 or 2^10 tables */
		roots[0] = page_gpa(0);
		struct mote__pt_walk walk = walk_of(shape->format, 1, &report);
		walk_counted(&walk, shape->levels);
		CHECK_EQ(report.leaves.count, 1);
		CHECK_EQ(report.link_count, (shape->levels - 1) * (shape_entries(shape) - 1));
		report_free(&report);
	}
}

/* Every entry of every table names one of all tables, each of which is a root. */
TEST(page_table_sharing__tables_that_all_name_each_other_are_bounded)
{
	for (const struct shape *shape = shapes; shape->format; shape++) {
		struct report report = {0};
		const uint32_t entries = shape_entries(shape), levels = shape->levels;
		pool_clear();
		for (unsigned page = 0; page < 8; page++) {
			roots[page] = page_gpa(page);
			for (unsigned i = 0; i < entries; i++)
				put(shape, page, i, page_gpa((i * 5 + page) % 8) | 0x67);
		}
		struct mote__pt_walk walk = walk_of(shape->format, 8, &report);
		walk_counted(&walk, 8 * levels);
		CHECK_EQ(report.leaves.count, 8 * entries);
		/* All entries above leaves, less those that lead into a table for the first time.
		 */
		CHECK_EQ(report.link_count, (levels - 1) * (8 * entries - 8));
		report_free(&report);
	}
}

TEST(page_table_sharing__a_walk_keeps_to_its_budgets)
{
	for (const struct shape *shape = shapes; shape->format; shape++) {
		struct report report = {0};
		const uint32_t levels = shape->levels;
		put_chain(shape);
		for (unsigned i = 0; i < 4; i++)
			put(shape, levels - 1, i, 0x9061);
		put(shape, levels - 2, shape_entries(shape) - 1, page_gpa(levels - 1) | 0x27);
		roots[0] = page_gpa(0);
		for (uint32_t budget = 0; budget < (levels + 2) * 8; budget++) {
			struct mote__pt_walk walk = walk_of(shape->format, 1, &report);
			walk.tables_max = budget / 8;
			walk.leaves_max = budget % 8; /* 4 leaves and a link */
			const bool has_tables = walk.tables_max >= levels;
			CHECK_EQ(mote__pt_walk(&walk), !has_tables           ? MOTE__PT_TABLE_BUDGET
						       : walk.leaves_max < 5 ? MOTE__PT_LEAF_BUDGET
									     : MOTE__PT_OK);
			uint64_t reports = walk.leaves_max < 5 ? walk.leaves_max : 5;
			CHECK_EQ(report.leaves.count + report.link_count, has_tables ? reports : 0);
			report_free(&report);
		}
	}
}

/* ---- spans ---- */

TEST(page_table_sharing__tables_are_cut_at_spans)
{
	for (const struct shape *shape = shapes; shape->format; shape++) {
		struct report report = {0};
		const unsigned leaves = chain_page(shape, 1), last = shape_entries(shape) - 1;
		const uint64_t covered = shape_bytes(shape, 2);
		put_chain(shape);
		put(shape, leaves, 0, 0x9061);
		put(shape, leaves, 7, 0x9061);
		put(shape, leaves, last, 0x9061);
		for (unsigned i = 1; i < 4; i++)
			put(shape, leaves - 1, i, page_gpa(leaves) | 0x27);
		put_other(shape, 10, 1, 0, leaves);
		roots[0] = page_gpa(0);
		roots[1] = page_gpa(10);
		const struct mote__pt_span span = {0x4000, 3 * covered + 0x7FFF};
		struct mote__pt_walk walk = walk_of(shape->format, 2, &report);
		walk.spans = &span;
		walk.span_count = 1;
		walk_counted(&walk, shape->levels + 2 + shape->levels - 1);
		/* Whole at 1 and 2, cut at 0 and 3, at 0 cut alike in both roots. */
		static const unsigned expected[][2] = {{0, 7},   {0, ~0u}, {1, 0}, {1, 7},
						       {1, ~0u}, {3, 0},   {3, 7}};
		CHECK_EQ(report.leaves.count, COUNT(expected));
		for (size_t i = 0; i < COUNT(expected); i++)
			CHECK_EQ(report.leaves.items[i].va,
				 expected[i][0] * covered +
					 (expected[i][1] & last) * UINT64_C(4096));
		CHECK_EQ(report.link_count, 2);
		check_link(&report.links[0], 0, 2 * covered, 0, covered, 1, leaves);
		check_link(&report.links[1], 1, 0, 0, 0, 1, leaves);
		report_free(&report);
	}
}

TEST(page_table_sharing__the_last_page_of_the_address_space_is_reported)
{
	for (const struct shape *shape = shapes; shape->format; shape++) {
		struct report report = {0};
		const unsigned last = shape_entries(shape) - 1;
		pool_clear();
		for (unsigned page = 0; page + 1 < shape->levels; page++)
			put(shape, page, last, page_gpa(page + 1) | 0x27);
		put(shape, shape->levels - 1, last, 0xFEDFF000 | 0x63);
		roots[0] = page_gpa(0);
		struct mote__pt_walk walk = walk_of(shape->format, 1, &report);
		const struct mote__pt_span spans[] = {{0, 0xFFF},
						      {shape_top(shape) - 0xFFF, shape_top(shape)}};
		for (walk.span_count = 0; walk.span_count <= 2; walk.span_count += 2) {
			walk.spans = spans;
			CHECK_EQ(mote__pt_walk(&walk), MOTE__PT_OK);
			CHECK_EQ(report.leaves.count, 1);
			CHECK_EQ(report.leaves.items[0].va, shape_top(shape) - 0xFFF);
			CHECK_EQ(report.leaves.items[0].gpa, 0xFEDFF000);
			report_free(&report);
		}
	}
}
