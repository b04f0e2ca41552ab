/* SPDX-License-Identifier: MIT */
/* The rebuild of a guest's tables: each rule about pages and shared tables by itself. */
#include "core/rebuild.h"

#include "rebuild_case.h"

/* ---- pages ---- */

TEST(rebuild__keeps_what_is_stored_and_stores_the_rest_in_order_of_the_walk)
{
	struct mote__rebuild r = begin();
	pool[3][0] = 0x2061;
	pool[3][1] = PAGE(20) | 0x61;
	pool[3][2] = PAGE(11) | 0x61;
	pool[3][511] = MAPPED_GPA | 0x61;
	CHECK_EQ(mote__rebuild(&r), MOTE__PT_OK);
	CHECK_EQ(new_leaf(0, 0), 0x2061);
	CHECK_EQ(new_leaf(0, 0x1000), NEW_GPA | 0x61);
	CHECK_EQ(new_leaf(0, 0x2000), (NEW_GPA + 0x1000) | 0x61);
	CHECK_EQ(new_leaf(0, 0x1FF000), (NEW_GPA + 0x2000) | 0x61);
	CHECK_EQ(r.page_count, 3);
	CHECK(stored[0] == (uint8_t *)pool[20]);
	CHECK(stored[1] == (uint8_t *)pool[11]);
	CHECK(stored[2] == mapped[0]);
	CHECK_EQ(r.leaves_kept, 1);
	CHECK_EQ(r.leaves_stored, 3);
	CHECK_EQ(new_roots[0], TABLES_GPA);
	CHECK_EQ(builder.used, 4 * 4096);
}

TEST(rebuild__makes_copy_on_write_of_what_is_writable)
{
	const uint64_t no_execute = UINT64_C(1) << 63;
	struct mote__rebuild r = begin();
	for (unsigned i = 0; i < 3; i++)
		pool[i][0] |= 4;
	pool[3][0] = PAGE(10) | 0x261;             /* stays */
	pool[3][1] = PAGE(10) | 0x63;              /* becomes it */
	pool[3][2] = PAGE(10) | 0x61;              /* read-only stays */
	pool[3][3] = PAGE(10) | 0x63 | no_execute; /* rights stay */
	pool[3][4] = PAGE(10) | 0x65 | no_execute;
	pool[3][5] = PAGE(10) | 0x67;
	pool[3][6] = PAGE(10) | 0x263; /* the mark decides */
	pool[3][7] = PAGE(10) | 0x463; /* another mark: writable */
	pool[3][8] = PAGE(10) | 0x01;  /* not used yet */
	pool[3][9] = 0x2063;           /* the same for a page that is kept */
	CHECK_EQ(mote__rebuild(&r), MOTE__PT_OK);
	CHECK_EQ(new_leaf(0, 0x0000), NEW_GPA | 0x261);
	CHECK_EQ(new_leaf(0, 0x1000), NEW_GPA | 0x261);
	CHECK_EQ(new_leaf(0, 0x2000), NEW_GPA | 0x61);
	CHECK_EQ(new_leaf(0, 0x3000), NEW_GPA | 0x261 | no_execute);
	CHECK_EQ(new_leaf(0, 0x4000), NEW_GPA | 0x65 | no_execute);
	CHECK_EQ(new_leaf(0, 0x5000), NEW_GPA | 0x265);
	CHECK_EQ(new_leaf(0, 0x6000), NEW_GPA | 0x261);
	CHECK_EQ(new_leaf(0, 0x7000), NEW_GPA | 0x261);
	CHECK_EQ(new_leaf(0, 0x8000), NEW_GPA | 0x61);
	CHECK_EQ(new_leaf(0, 0x9000), 0x2261);
	CHECK_EQ(r.page_count, 1);
}

TEST(rebuild__puts_the_rights_of_upper_tables_into_leaves)
{
	const uint64_t no_execute = UINT64_C(1) << 63;
	struct mote__rebuild r = begin();
	pool[3][0] = 0x2067;
	pool[3][1] = 0x3265;
	pool[2][0] = PAGE(3) | 0x27;
	pool[2][1] = PAGE(3) | 0x25;              /* not writable */
	pool[2][2] = PAGE(3) | 0x27 | no_execute; /* not executable */
	pool[1][0] |= 4;
	pool[1][1] = PAGE(2) | 0x23; /* not user */
	pool[0][0] |= 4;
	CHECK_EQ(mote__rebuild(&r), MOTE__PT_OK);
	CHECK_EQ(new_leaf(0, 0x0000), 0x2265);
	CHECK_EQ(new_leaf(0, 0x1000), 0x3265);
	CHECK_EQ(new_leaf(0, 0x200000), 0x2065);
	CHECK_EQ(new_leaf(0, 0x201000), 0x3065);
	CHECK_EQ(new_leaf(0, 0x400000), 0x2265 | no_execute);
	CHECK_EQ(new_leaf(0, 0x401000), 0x3265 | no_execute);
	CHECK_EQ(new_leaf(0, 0x40000000), 0x2261);
	CHECK_EQ(new_leaf(0, 0x40200000), 0x2061);
}

/* Pages that follow each other are mapped as a run: only those with the same rights, of one root.
 */
TEST(rebuild__does_not_run_pages_together_that_differ)
{
	static const uint64_t low[] = {0x61, 0x63, 0x261, 0x263, 0x67, 0x65};
	const uint64_t no_execute = UINT64_C(1) << 63;
	struct mote__rebuild r = begin();
	for (unsigned i = 0; i < 3; i++) {
		pool[i][0] |= 4;
		pool[i + 4][0] = PAGE(i + 5) | 0x27;
	}
	for (unsigned i = 0; i < 12; i++)
		pool[3][i] = (i + 1) * 0x1000 | low[i / 2] | ((i + 1) & 2 ? no_execute : 0);
	pool[7][12] = 0xD000 | 0x65;
	roots[1] = PAGE(4);
	r.root_count = 2;
	CHECK_EQ(mote__rebuild(&r), MOTE__PT_OK);
	for (unsigned i = 0; i < 12; i++) {
		static const uint64_t expected[] = {0x61, 0x261, 0x261, 0x261, 0x265, 0x65};
		CHECK_EQ(new_leaf(0, i * 0x1000),
			 (i + 1) * 0x1000 | expected[i / 2] | ((i + 1) & 2 ? no_execute : 0));
		CHECK_EQ(new_leaf(1, i * 0x1000), 0);
	}
	CHECK_EQ(new_leaf(0, 0xC000), 0);
	CHECK_EQ(new_leaf(1, 0xC000), 0xD065);
}

TEST(rebuild__stores_a_page_once_for_all_addresses_and_roots)
{
	struct mote__rebuild r = begin();
	pool[3][0] = PAGE(10) | 0x63;
	pool[3][1] = PAGE(11) | 0x63;
	pool[3][2] = PAGE(10) | 0x61;
	memcpy(pool[4], pool[0], 4096 * 3);
	for (unsigned i = 0; i < 3; i++)
		pool[4 + i][0] = PAGE(i + 5) | 0x23;
	pool[7][9] = PAGE(11) | 0x61;
	pool[7][10] = PAGE(12) | 0x61;
	pool[7][11] = PAGE(10) | 0x61;
	roots[1] = PAGE(4);
	r.root_count = 2;
	CHECK_EQ(mote__rebuild(&r), MOTE__PT_OK);
	CHECK_EQ(r.page_count, 3);
	CHECK_EQ(r.leaves_stored, 6);
	CHECK_EQ(new_leaf(0, 0x0000), NEW_GPA | 0x261);
	CHECK_EQ(new_leaf(0, 0x1000), (NEW_GPA + 0x1000) | 0x261);
	CHECK_EQ(new_leaf(0, 0x2000), NEW_GPA | 0x61);
	CHECK_EQ(new_leaf(1, 0x9000), (NEW_GPA + 0x1000) | 0x61);
	CHECK_EQ(new_leaf(1, 0xA000), (NEW_GPA + 0x2000) | 0x61);
	CHECK_EQ(new_leaf(1, 0xB000), NEW_GPA | 0x61);
}

static struct mote__rebuild begin_with_zeroes(void)
{
	struct mote__rebuild r = begin();
	memset(pool[10], 0, 4096);
	memset(pool[11], 0, 4096);
	memset(pool[12], 0, 4096);
	pool[12][511] = UINT64_C(1) << 63; /* all but the last bit */
	memset(pool[13], 0, 4096);
	pool[13][0] = 1; /* all but the first bit */
	for (unsigned i = 0; i < 4; i++)
		pool[3][i] = PAGE(10 + i) | 0x63;
	pool[3][4] = PAGE(10) | 0x61;
	return r;
}

TEST(rebuild__maps_pages_of_zeroes_to_the_one_that_exists)
{
	struct mote__rebuild r = begin_with_zeroes();
	r.zero_gpa = ZERO_GPA;
	CHECK_EQ(mote__rebuild(&r), MOTE__PT_OK);
	CHECK_EQ(new_leaf(0, 0x0000), ZERO_GPA | 0x261);
	CHECK_EQ(new_leaf(0, 0x1000), ZERO_GPA | 0x261);
	CHECK_EQ(new_leaf(0, 0x2000), NEW_GPA | 0x261);
	CHECK_EQ(new_leaf(0, 0x3000), (NEW_GPA + 0x1000) | 0x261);
	CHECK_EQ(new_leaf(0, 0x4000), ZERO_GPA | 0x61);
	CHECK_EQ(r.page_count, 2);
	CHECK_EQ(r.leaves_zero, 3);
	CHECK_EQ(r.zero_gpa, ZERO_GPA);
}

TEST(rebuild__stores_one_page_of_zeroes_when_there_is_none)
{
	struct mote__rebuild r = begin_with_zeroes();
	CHECK_EQ(mote__rebuild(&r), MOTE__PT_OK);
	CHECK_EQ(r.zero_gpa, NEW_GPA);
	CHECK_EQ(r.page_count, 3);
	CHECK(stored[0] == (uint8_t *)pool[10]);
	CHECK_EQ(new_leaf(0, 0x0000), NEW_GPA | 0x261);
	CHECK_EQ(new_leaf(0, 0x1000), NEW_GPA | 0x261);
	CHECK_EQ(new_leaf(0, 0x2000), (NEW_GPA + 0x1000) | 0x261);
	CHECK_EQ(new_leaf(0, 0x4000), NEW_GPA | 0x61);

	r = begin();
	pool[3][0] = PAGE(10) | 0x63;
	CHECK_EQ(mote__rebuild(&r), MOTE__PT_OK);
	CHECK_EQ(r.zero_gpa, 0);
	CHECK_EQ(r.page_count, 1);
}

TEST(rebuild__stores_pages_of_one_byte_that_is_not_zero)
{
	struct mote__rebuild r = begin();
	memset(pool[10], 0x11, 4096);
	memset(pool[11], 0xFF, 4096);
	pool[3][0] = PAGE(10) | 0x63;
	pool[3][1] = PAGE(11) | 0x63;
	r.zero_gpa = ZERO_GPA;
	CHECK_EQ(mote__rebuild(&r), MOTE__PT_OK);
	CHECK_EQ(r.page_count, 2);
	CHECK_EQ(r.leaves_zero, 0);
}

TEST(rebuild__drops_memory_that_is_not_known)
{
	struct mote__rebuild r = begin();
	pool[3][0] = 0x0061;
	pool[3][1] = 0x20061; /* behind what is kept */
	pool[3][2] = UINT64_C(0x000FFFFFFFFFF061);
	pool[3][3] = 0x2061;
	pool[2][1] = UINT64_C(0x000FFFFFFFFFF023); /* tables outside */
	pool[2][2] = MAPPED_GPA | 0x23;
	CHECK_EQ(mote__rebuild(&r), MOTE__PT_OK);
	CHECK_EQ(new_leaf(0, 0x3000), 0x2061);
	for (uint64_t va = 0; va < 0x3000; va += 0x1000)
		CHECK_EQ(new_leaf(0, va), 0);
	CHECK_EQ(r.runs_dropped, 3);
	CHECK_EQ(r.page_count, 0);
	CHECK_EQ(builder.used, 4 * 4096);
}

/* ---- large pages ---- */

TEST(rebuild__takes_large_pages_apart)
{
	for (int is_short = 0; is_short < 2; is_short++) {
		struct mote__rebuild r = begin();
		pool[2][0] = 0x000000 | 0xE3; /* kept pages, holes and the pool */
		pool[2][1] = 0x400000 | 0xE1; /* the end of the mapping */
		r.zero_gpa = ZERO_GPA;
		finder.is_short = is_short;
		CHECK_EQ(mote__rebuild(&r), MOTE__PT_OK);
		CHECK_EQ(new_leaf(0, 0x0000), 0);
		CHECK_EQ(new_leaf(0, 0x1000), 0x1261);
		CHECK_EQ(new_leaf(0, 0x1F000), 0x1F261);
		CHECK_EQ(new_leaf(0, 0x20000), 0);
		CHECK_EQ(new_leaf(0, PAGE(0)), NEW_GPA | 0x261);
		CHECK_EQ(new_leaf(0, PAGE(3)), ZERO_GPA | 0x261);
		CHECK_EQ(new_leaf(0, PAGE(63)), (NEW_GPA + UINT64_C(56) * 4096) | 0x261);
		CHECK_EQ(new_leaf(0, PAGE(64)), 0);
		CHECK_EQ(new_leaf(0, 0x200000), (NEW_GPA + UINT64_C(57) * 4096) | 0x61);
		CHECK_EQ(new_leaf(0, 0x257000), (NEW_GPA + UINT64_C(144) * 4096) | 0x61);
		CHECK_EQ(new_leaf(0, 0x258000), 0);
		CHECK_EQ(r.leaves_kept, 31);
		CHECK_EQ(r.leaves_zero, 7);
		CHECK_EQ(r.leaves_stored, 57 + 88);
		CHECK_EQ(r.page_count, 57 + 88);
		CHECK_EQ(r.runs_dropped, is_short ? 1 + 32 + 384 + 424 : 4);
	}
}

TEST(rebuild__charges_each_small_page_and_each_hole_of_a_large_one)
{
	struct mote__rebuild r = begin();
	pool[1][0] = 0xE1; /* 1 GiB, of which 1719 pages are known */
	const uint64_t charges = (KEPT_BYTES + LARGE_BYTES) / 4096 + POOL_PAGES + MAPPED_PAGES + 5;
	r.leaves_max = charges;
	CHECK_EQ(mote__rebuild(&r), MOTE__PT_OK);
	CHECK_EQ(r.leaves_kept + r.leaves_stored + r.leaves_zero + r.runs_dropped, charges);
	CHECK_EQ(finder.calls, 9);

	r = begin();
	pool[1][0] = 0xE1;
	r.leaves_max = charges - 1;
	CHECK_EQ(mote__rebuild(&r), MOTE__PT_LEAF_BUDGET);

	/* page by page, a hole is one for each: bounded by the same budget */
	r = begin();
	pool[1][0] = 0xE1;
	finder.is_short = true;
	r.leaves_max = 10000;
	CHECK_EQ(mote__rebuild(&r), MOTE__PT_LEAF_BUDGET);
	CHECK_EQ(finder.calls, 10001);
}

TEST(rebuild__cuts_large_pages_at_spans)
{
	static const struct mote__pt_span spans[] = {{0x3000, 0x3FFF}, {0x203000, 0x206FFF}};
	struct mote__rebuild r = begin();
	pool[2][0] = 0xE3;
	pool[2][1] = 0x200000 | 0xE3;
	r.spans = spans;
	r.span_count = 2;
	CHECK_EQ(mote__rebuild(&r), MOTE__PT_OK);
	CHECK_EQ(new_leaf(0, 0x2000), 0);
	CHECK_EQ(new_leaf(0, 0x3000), 0x3261);
	CHECK_EQ(new_leaf(0, 0x4000), 0);
	CHECK_EQ(new_leaf(0, 0x202000), 0);
	CHECK_EQ(new_leaf(0, 0x203000), NEW_GPA | 0x261);
	CHECK_EQ(new_leaf(0, 0x206000), (NEW_GPA + 0x3000) | 0x261);
	CHECK_EQ(new_leaf(0, 0x207000), 0);
	CHECK(stored[0] == mapped[3] && stored[3] == mapped[6]);
}

/* ---- shared tables ---- */

TEST(rebuild__shares_tables_between_roots)
{
	struct mote__rebuild r = begin();
	pool[3][0] = PAGE(10) | 0x63;
	pool[4][300] = pool[0][0];
	pool[4][0] = PAGE(5) | 0x23;
	pool[5][1] = PAGE(2) | 0x23;
	roots[1] = PAGE(4) | 0x18;
	r.root_count = 2;
	CHECK_EQ(mote__rebuild(&r), MOTE__PT_OK);
	const uint64_t upper = UINT64_C(0xFFFF960000000000);
	CHECK_EQ(new_table(1, upper, 3), new_table(0, 0, 3));
	CHECK_EQ(new_table(1, 0x40000000, 2), new_table(0, 0, 2));
	CHECK(new_roots[1] != new_roots[0]);
	CHECK_EQ(builder.used, 6 * 4096);

	/* what is written in one place shows in all */
	uint64_t table = new_table(0, 0, 1);
	new_tables[(table - TABLES_GPA) / 4096][7] = 0x7061;
	CHECK_EQ(new_leaf(0, 0x7000), 0x7061);
	CHECK_EQ(new_leaf(1, 0x40007000), 0x7061);
	CHECK_EQ(new_leaf(1, upper + 0x7000), 0x7061);
}

TEST(rebuild__shares_tables_inside_a_root)
{
	struct mote__rebuild r = begin();
	pool[3][3] = PAGE(10) | 0x63;
	pool[2][9] = pool[2][0];
	pool[1][5] = pool[1][0];
	pool[2][8] = PAGE(3) | 0x21; /* other rights: leaves of its own */
	CHECK_EQ(mote__rebuild(&r), MOTE__PT_OK);
	CHECK_EQ(new_table(0, 9 << 21, 1), new_table(0, 0, 1));
	CHECK_EQ(new_table(0, UINT64_C(5) << 30, 2), new_table(0, 0, 2));
	CHECK(new_table(0, 8 << 21, 1) != new_table(0, 0, 1));
	CHECK_EQ(new_leaf(0, (UINT64_C(5) << 30) + (9 << 21) + 0x3000), NEW_GPA | 0x261);
	CHECK_EQ(new_leaf(0, (8 << 21) + 0x3000), NEW_GPA | 0x61);
	CHECK_EQ(builder.used, 5 * 4096);
}

TEST(rebuild__keeps_a_repeated_root_one_root)
{
	struct mote__rebuild r = begin();
	pool[3][3] = 0x3063;
	roots[0] = PAGE(4); /* empty */
	roots[1] = PAGE(0);
	roots[2] = PAGE(0) | 0x3;
	roots[3] = 0x77777000; /* nowhere */
	roots[4] = PAGE(4) | 0x10;
	roots[5] = PAGE(0);
	r.root_count = 6;
	CHECK_EQ(mote__rebuild(&r), MOTE__PT_OK);
	CHECK_EQ(new_roots[0], TABLES_GPA);
	CHECK_EQ(new_roots[1], TABLES_GPA + 0x1000);
	CHECK_EQ(new_roots[2], new_roots[1]);
	CHECK_EQ(new_roots[4], new_roots[0]);
	CHECK_EQ(new_roots[5], new_roots[1]);
	CHECK_EQ(builder.used, 6 * 4096); /* three roots, a chain of three */
	CHECK_EQ(new_leaf(5, 0x3000), 0x3261);
	CHECK_EQ(new_leaf(3, 0x3000), 0);
}

TEST(rebuild__makes_nothing_of_a_link_to_nothing)
{
	struct mote__rebuild r = begin();
	pool[3][3] = 0x20063; /* not known */
	pool[2][9] = pool[2][0];
	pool[1][5] = pool[1][0];
	CHECK_EQ(mote__rebuild(&r), MOTE__PT_OK);
	CHECK_EQ(builder.used, 4096);
}

TEST(rebuild__goes_on_after_a_link)
{
	struct mote__rebuild r = begin();
	pool[3][0] = 0x1063;
	pool[3][511] = 0x2063;
	pool[2][1] = pool[2][0];
	pool[2][2] = PAGE(4) | 0x23;
	pool[4][0] = 0x3063; /* would follow the page before the link */
	CHECK_EQ(mote__rebuild(&r), MOTE__PT_OK);
	CHECK_EQ(new_leaf(0, 0x1FF000), 0x2261);
	CHECK_EQ(new_leaf(0, 0x3FF000), 0x2261);
	CHECK_EQ(new_leaf(0, 0x400000), 0x3261);
	CHECK_EQ(new_table(0, 0x200000, 1), new_table(0, 0, 1));
}
