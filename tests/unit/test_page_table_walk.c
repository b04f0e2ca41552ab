/* SPDX-License-Identifier: MIT */
/* Walking page tables: what is reported, linked and refused, and how much work it may be. */
#include "core/page_table.h"

#include "check.h"
#include "page_tables.h"

TEST(page_table__walk_reports_every_page_once_in_order)
{
	struct report report = {0};
	pool_chain();
	pool[3][1] = 0x9261;
	pool[3][2] = 0xA063; /* adjacent, not merged */
	pool[3][511] = 0x1061;
	pool[0][511] = page_gpa(4) | 0x23;
	pool[4][511] = page_gpa(5) | 0x23;
	pool[5][511] = page_gpa(6) | 0x23;
	pool[6][510] = 0xFFFFFF063;
	roots[0] = page_gpa(0);
	struct mote__pt_walk walk = walk_of(&mote__pt_x86_64, 1, &report);
	CHECK_EQ(mote__pt_walk(&walk), MOTE__PT_OK);
	CHECK_EQ(report.leaves.count, 4);
	CHECK_EQ(report.link_count, 0);
	const struct seen expected[] = {
		{0, 0x1000, 0x9000, 4096, 1, 6, 6},
		{0, 0x2000, 0xA000, 4096, 1, 5, 5},
		{0, 0x1FF000, 0x1000, 4096, 1, 4, 4},
		{0, UINT64_C(0xFFFFFFFFFFFFE000), 0xFFFFFF000, 4096, 1, 5, 5},
	};
	CHECK_MEM(report.leaves.items, expected, sizeof expected);
	report_free(&report);
}

TEST(page_table__walk_reports_large_pages_and_skips_broken_ones)
{
	struct report report = {0};
	pool_chain();
	pool[0][1] = 0x80 | 0x61;
	pool[1][2] = 0xC0000000 | 0xE3;
	pool[1][3] = 0xC0200000 | 0xE3;
	pool[2][4] = 0x600000 | 0x1000 | 0xE3;
	pool[2][5] = 0x602000 | 0xE3;
	roots[0] = page_gpa(0);
	struct mote__pt_walk walk = walk_of(&mote__pt_x86_64, 1, &report);
	CHECK_EQ(mote__pt_walk(&walk), MOTE__PT_OK);
	const struct seen expected[] = {
		{0, 0x800000, 0x600000, 0x200000, 2, 5, 5},
		{0, 0x80000000, 0xC0000000, 0x40000000, 3, 5, 5},
	};
	CHECK_EQ(report.leaves.count, 2);
	CHECK_MEM(report.leaves.items, expected, sizeof expected);
	report_free(&report);
}

TEST(page_table__walk_sees_the_tables_through_a_self_map)
{
	struct report report = {0};
	pool_chain();
	pool[3][7] = 0x9061;
	pool[0][256] = page_gpa(0) | 0x23;
	roots[0] = page_gpa(0);
	struct mote__pt_walk walk = walk_of(&mote__pt_x86_64, 1, &report);
	CHECK_EQ(mote__pt_walk(&walk), MOTE__PT_OK);
	/* one page of the guest, and 4 tables as pages: level 1, 2, 3 and the root */
	CHECK_EQ(report.leaves.count, 5);
	CHECK_EQ(report.leaves.items[1].va, UINT64_C(0xFFFF800000000000));
	CHECK_EQ(report.leaves.items[1].gpa, page_gpa(3));
	CHECK_EQ(report.leaves.items[4].va, UINT64_C(0xFFFF804020100000));
	CHECK_EQ(report.leaves.items[4].gpa, page_gpa(0));
	report_free(&report);
	/* without its slot, the guest's page alone */
	struct mote__pt_span spans[] = {{0, UINT64_C(0x00007FFFFFFFFFFF)},
					{UINT64_C(0xFFFF810000000000), UINT64_MAX}};
	walk.spans = spans;
	walk.span_count = 2;
	CHECK_EQ(mote__pt_walk(&walk), MOTE__PT_OK);
	CHECK_EQ(report.leaves.count, 1);
	report_free(&report);
}

TEST(page_table__walk_wants_more_slots_than_tables)
{
	struct report report = {0};
	pool_chain();
	roots[0] = page_gpa(0);
	static const struct {
		uint32_t tables_max, slots;
		int rc;
	} rows[] = {
		{3, 4, MOTE__PT_TABLE_BUDGET}, {4, 4, MOTE__PT_BAD_VISITS},   {4, 8, MOTE__PT_OK},
		{4, 7, MOTE__PT_BAD_VISITS},   {0, 0, MOTE__PT_BAD_VISITS},   {7, 8, MOTE__PT_OK},
		{8, 8, MOTE__PT_BAD_VISITS},   {0, 1, MOTE__PT_TABLE_BUDGET},
	};
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct mote__pt_walk walk = walk_of(&mote__pt_x86_64, 1, &report);
		walk.tables_max = rows[i].tables_max;
		walk.visit_count = rows[i].slots;
		CHECK_EQ(mote__pt_walk(&walk), rows[i].rc);
	}
	CHECK_EQ(mote__pt_visits_for(0), 2);
	CHECK_EQ(mote__pt_visits_for(1), 2);
	CHECK_EQ(mote__pt_visits_for(2), 4);
	CHECK_EQ(mote__pt_visits_for(3), 8);
	CHECK_EQ(mote__pt_visits_for(1u << 30), 1u << 31);
	CHECK_EQ(mote__pt_visits_for(UINT32_MAX), 1u << 31);
}

TEST(page_table__walk_works_with_its_slots_almost_full)
{
	struct report report = {0};
	pool_clear();
	for (unsigned i = 1; i < 60; i++) { /* 59 tables of level 3 below the root */
		pool[0][i] = page_gpa(i) | 0x23;
		pool[0][i + 100] = page_gpa(i) | 0x23;
	}
	roots[0] = page_gpa(0);
	struct mote__pt_walk walk = walk_of(&mote__pt_x86_64, 1, &report);
	walk.tables_max = 63;
	walk.visit_count = 64;
	for (walk.seed = 0; walk.seed < 50; walk.seed++) {
		CHECK_EQ(mote__pt_walk(&walk), MOTE__PT_OK);
		CHECK_EQ(report.link_count, 59);
		report_free(&report);
	}
}

TEST(page_table__walk_stops_when_a_callback_says_so)
{
	struct report report = {.stop_after_leaves = 2};
	pool_chain();
	for (unsigned i = 0; i < 5; i++)
		pool[3][i] = 0x9061;
	pool[2][1] = pool[2][2] = pool[2][0];
	roots[0] = page_gpa(0);
	struct mote__pt_walk walk = walk_of(&mote__pt_x86_64, 1, &report);
	CHECK_EQ(mote__pt_walk(&walk), MOTE__PT_STOPPED);
	CHECK_EQ(report.leaves.count, 2);
	report_free(&report);
	report.stop_after_links = 1;
	CHECK_EQ(mote__pt_walk(&walk), MOTE__PT_STOPPED);
	CHECK_EQ(report.link_count, 1);
	report_free(&report);
	walk.link = NULL;
	CHECK_EQ(mote__pt_walk(&walk), MOTE__PT_OK);
	CHECK_EQ(report.leaves.count, 5);
	report_free(&report);
	walk.leaves_max = 6; /* links are counted all the same */
	CHECK_EQ(mote__pt_walk(&walk), MOTE__PT_LEAF_BUDGET);
	report_free(&report);
}

TEST(page_table__walk_restricted_to_a_span_reports_what_lies_in_it)
{
	struct report report = {0};
	pool_chain();
	for (unsigned i = 0; i < 8; i++)
		pool[3][i] = 0x9061;
	pool[2][1] = 0x40000000 | 0xE1;
	roots[0] = page_gpa(0);
	struct mote__pt_span spans[] = {
		{0x2000, 0x3FFF}, {0x7000, 0x200FFF}, {0x203000, 0x203FFF}, {0x500000, 0x5FFFFF}};
	struct mote__pt_walk walk = walk_of(&mote__pt_x86_64, 1, &report);
	walk.spans = spans;
	walk.span_count = COUNT(spans);
	CHECK_EQ(mote__pt_walk(&walk), MOTE__PT_OK);
	const struct seen expected[] = {
		{0, 0x2000, 0x9000, 0x1000, 1, 4, 4},
		{0, 0x3000, 0x9000, 0x1000, 1, 4, 4},
		{0, 0x7000, 0x9000, 0x1000, 1, 4, 4},
		{0, 0x200000, 0x40000000, 0x1000, 2, 4, 4},
		{0, 0x203000, 0x40003000, 0x1000, 2, 4, 4},
	};
	CHECK_EQ(report.leaves.count, COUNT(expected));
	CHECK_MEM(report.leaves.items, expected, sizeof expected);
	report_free(&report);
}

TEST(page_table__walk_counts_each_piece_of_a_large_page)
{
	struct report report = {0};
	pool_chain();
	pool[2][0] = 0x40000000 | 0xE1;
	roots[0] = page_gpa(0);
	struct mote__pt_span spans[] = {{0, 0xFFF}, {0x2000, 0x2FFF}, {0x4000, 0x4FFF}};
	struct mote__pt_walk walk = walk_of(&mote__pt_x86_64, 1, &report);
	walk.spans = spans;
	walk.span_count = COUNT(spans);
	walk.leaves_max = 2;
	CHECK_EQ(mote__pt_walk(&walk), MOTE__PT_LEAF_BUDGET);
	CHECK_EQ(report.leaves.count, 2);
	report_free(&report);
	walk.leaves_max = 3;
	CHECK_EQ(mote__pt_walk(&walk), MOTE__PT_OK);
	CHECK_EQ(report.leaves.count, 3);
	report_free(&report);
}

TEST(page_table__walk_does_not_link_tables_that_a_span_cuts_elsewhere)
{
	struct report report = {0};
	pool_chain();
	pool[3][0] = pool[3][7] = 0x9061;
	pool[2][1] = pool[2][2] = pool[2][0];
	roots[0] = roots[1] = page_gpa(0);
	pool[4][0] = pool[0][0];
	roots[1] = page_gpa(4);
	struct mote__pt_span span = {0x4000, 0x5FFFFF};
	struct mote__pt_walk walk = walk_of(&mote__pt_x86_64, 2, &report);
	walk.spans = &span;
	walk.span_count = 1;
	CHECK_EQ(mote__pt_walk(&walk), MOTE__PT_OK);
	/* 0x7000; 0x200000 and 0x207000 (whole); a link to them; the other root is cut the same */
	CHECK_EQ(report.leaves.count, 3);
	CHECK_EQ(report.link_count, 2);
	CHECK_EQ(report.links[0].va, 0x400000);
	CHECK_EQ(report.links[0].owner_va, 0x200000);
	CHECK_EQ(report.links[1].root, 1);
	CHECK_EQ(report.links[1].level, 3);
	report_free(&report);
}

TEST(page_table__walk_goes_again_into_a_table_cut_at_both_ends_of_a_span)
{
	struct report report = {0};
	pool_chain();
	for (unsigned i = 0; i < 512; i++)
		pool[3][i] = 0x9061;
	pool[2][1] = pool[2][0];
	roots[0] = page_gpa(0);
	struct mote__pt_span span = {0x1FE000, 0x202FFF};
	struct mote__pt_walk walk = walk_of(&mote__pt_x86_64, 1, &report);
	walk.spans = &span;
	walk.span_count = 1;
	walk.tables_max = 5;
	walk.visit_count = 8; /* few slots, so that the two visits collide with some seeds */
	for (walk.seed = 0; walk.seed < 50; walk.seed++) {
		CHECK_EQ(mote__pt_walk(&walk), MOTE__PT_OK);
		CHECK_EQ(report.link_count, 0);
		CHECK_EQ(report.leaves.count, 5);
		for (unsigned i = 0; i < 5; i++)
			CHECK_EQ(report.leaves.items[i].va, 0x1FE000 + i * 0x1000);
		report_free(&report);
	}
}

TEST(page_table__walk_refuses_spans_that_are_not_ascending_pages)
{
	struct report report = {0};
	static const struct {
		struct mote__pt_span spans[2];
		int rc;
	} rows[] = {
		{{{0, 0xFFF}, {0x1000, UINT64_MAX}}, MOTE__PT_OK},
		{{{0, 0xFFE}, {0x1000, 0x1FFF}}, MOTE__PT_UNALIGNED},
		{{{0, 0x1000}, {0x2000, 0x2FFF}}, MOTE__PT_UNALIGNED},
		{{{0, 0xFFF}, {0x1800, 0x1FFF}}, MOTE__PT_UNALIGNED},
		{{{0, 0x1FFF}, {0x1000, 0x2FFF}}, MOTE__PT_BAD_ORDER},
		{{{0x2000, 0x2FFF}, {0, 0xFFF}}, MOTE__PT_BAD_ORDER},
		{{{0x2000, 0x1FFF}, {0x3000, 0x3FFF}}, MOTE__PT_BAD_ORDER},
	};
	pool_chain();
	roots[0] = page_gpa(0);
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct mote__pt_walk walk = walk_of(&mote__pt_x86_64, 1, &report);
		walk.spans = rows[i].spans;
		walk.span_count = 2;
		CHECK_EQ(mote__pt_walk(&walk), rows[i].rc);
	}
}

TEST(page_table__walk_skips_tables_outside_known_memory)
{
	struct report report = {0};
	pool_chain();
	pool[3][0] = UINT64_C(0x000FFFFFFFFFF061); /* a page may be anywhere */
	pool[2][1] = 0x1023;
	pool[1][1] = (POOL_GPA + sizeof pool) | 0x23;
	pool[0][1] = UINT64_C(0x000FFFFFFFFFF023);
	roots[0] = 0x1000;
	roots[1] = page_gpa(0);
	roots[2] = UINT64_MAX;
	struct mote__pt_walk walk = walk_of(&mote__pt_x86_64, 3, &report);
	walk.tables_max = 4;
	CHECK_EQ(mote__pt_walk(&walk), MOTE__PT_OK);
	CHECK_EQ(report.leaves.count, 1);
	CHECK_EQ(report.leaves.items[0].root, 1);
	CHECK_EQ(report.leaves.items[0].gpa, UINT64_C(0x000FFFFFFFFFF000));
	report_free(&report);
}

TEST(page_table__a_root_may_use_fewer_entries_than_a_table)
{
	struct mote__pt_format narrow = mote__pt_x86_64;
	struct report report = {0};
	narrow.levels = 3;
	narrow.va_bits = 32;
	narrow.is_sign_extended = false;
	pool_clear();
	for (unsigned i = 0; i < 512; i++)
		pool[0][i] = page_gpa(i < 4 ? 1 : 2) | 0x23;
	pool[1][511] = 0x40000000 | 0xE1;
	pool[2][0] = 0x40000000 | 0xE1;
	roots[0] = page_gpa(0);
	struct mote__pt_walk walk = walk_of(&narrow, 1, &report);
	CHECK_EQ(mote__pt_walk(&walk), MOTE__PT_OK);
	CHECK_EQ(report.leaves.count, 1);
	CHECK_EQ(report.link_count, 3);
	CHECK_EQ(report.links[2].va, 0xC0000000);
	struct mote__pt_space space = {&narrow, pool_memory, page_gpa(0)};
	struct mote__pt_translation t;
	CHECK_EQ(mote__pt_translate(&space, 0xFFFFFFFF, &t), MOTE__PT_OK);
	CHECK_EQ(t.gpa, 0x401FFFFF);
	CHECK_EQ(mote__pt_translate(&space, 0x100000000, &t), MOTE__PT_NOT_CANONICAL);
	report_free(&report);
}
