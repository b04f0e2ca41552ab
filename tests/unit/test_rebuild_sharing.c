/* SPDX-License-Identifier: MIT */
/*
 * Roots and shared tables in every format: what was one table is one table after a rebuild, at each
 * level, between roots and inside one, and a rebuild of the rebuild changes nothing more.
 */
#include "core/rebuild.h"

#include "rebuild_case.h"

/* ---- roots ---- */

TEST(rebuild_sharing__roots_come_first_in_the_order_of_the_list)
{
	for (const struct shape *shape = shapes; shape->format; shape++) {
		struct mote__rebuild r = begin_in(shape);
		put(shape, shape->levels - 1, 3, 0x3063);
		roots[0] = PAGE(40);     /* empty */
		roots[1] = PAGE(0);      /* the chain */
		roots[2] = 0x77777000;   /* nowhere */
		roots[3] = PAGE(0) | 7;  /* as number 1 */
		roots[4] = PAGE(41);     /* empty */
		roots[5] = PAGE(40) | 8; /* as number 0 */
		r.root_count = 6;
		memset(pool[40], 0, 2 * 4096);
		CHECK_EQ(mote__rebuild(&r), MOTE__PT_OK);
		static const uint64_t number[] = {0, 1, 2, 1, 3, 0};
		for (unsigned i = 0; i < 6; i++) {
			CHECK_EQ(new_roots[i], TABLES_GPA + number[i] * 4096);
			CHECK_EQ(new_leaf(i, 0x3000), number[i] == 1 ? 0x3201 | shape->used : 0);
		}
		CHECK_EQ(builder.used, (4 + shape->levels - 1) * 4096);
		CHECK(rebuilds_to_itself(&r));
	}
}

/* ---- tables ---- */

/* The entry index of a table above a level names the level's table of the chain again. */
static void put_again(const struct shape *shape, unsigned level, unsigned index)
{
	unsigned page = shape->levels - level;
	put(shape, page - 1, index, PAGE(page) | 0x27);
}

TEST(rebuild_sharing__tables_inside_a_root_stay_shared_at_every_level)
{
	for (const struct shape *shape = shapes; shape->format; shape++) {
		for (unsigned level = 1; level < shape->levels; level++) {
			struct mote__rebuild r = begin_in(shape);
			put(shape, shape->levels - 1, 3, PAGE(20) | 0x67);
			put_again(shape, level, 1);
			put_again(shape, level, shape_entries(shape) - 1);
			CHECK_EQ(mote__rebuild(&r), MOTE__PT_OK);
			const uint64_t bytes = shape_bytes(shape, level + 1);
			const uint64_t last = bytes * (shape_entries(shape) - 1);
			const uint64_t vas[] = {bytes, shape_canonical(shape, last)};
			for (unsigned i = 0; i < 2; i++) {
				CHECK_EQ(new_table(0, vas[i], level), new_table(0, 0, level));
				CHECK_EQ(new_leaf(0, vas[i] + 0x3000),
					 NEW_GPA | 0x205 | shape->used);
			}
			CHECK_EQ(builder.used, shape->levels * 4096);
			CHECK(rebuilds_to_itself(&r));
		}
	}
}

/* A second root with tables of its own above a level, whose entry index names the chain's. */
static void put_root(const struct shape *shape, unsigned first, unsigned level, unsigned index)
{
	unsigned page = first;
	for (unsigned at = shape->levels; at > level + 1; at--, page++)
		put(shape, page, 0, PAGE(page + 1) | 0x27);
	put(shape, page, index, PAGE(shape->levels - level) | 0x27);
}

TEST(rebuild_sharing__tables_of_roots_stay_shared_at_every_level)
{
	for (const struct shape *shape = shapes; shape->format; shape++) {
		for (unsigned level = 1; level < shape->levels; level++) {
			struct mote__rebuild r = begin_in(shape);
			const uint64_t bytes = shape_bytes(shape, level + 1);
			put(shape, shape->levels - 1, 3, PAGE(20) | 0x67);
			memset(pool[40], 0, 8 * 4096);
			put_root(shape, 40, level, 0);
			put_root(shape, 44, level, 9);
			roots[0] = PAGE(44); /* owns it, at the place where it has it */
			roots[1] = PAGE(0);
			roots[2] = PAGE(40);
			r.root_count = 3;
			CHECK_EQ(mote__rebuild(&r), MOTE__PT_OK);
			uint64_t owned = new_table(0, 9 * bytes, level);
			CHECK(owned != 0);
			CHECK_EQ(new_table(1, 0, level), owned);
			CHECK_EQ(new_table(2, 0, level), owned);
			for (unsigned i = 1; i < 3; i++)
				for (unsigned above = level + 1; above <= shape->levels; above++)
					CHECK(new_table(i, 0, above) != new_table(i - 1, 0, above));
			CHECK_EQ(new_leaf(2, 0x3000), NEW_GPA | 0x205 | shape->used);
			/* Each root its own above, and one chain below. */
			CHECK_EQ(builder.used, (3 * (shape->levels - level) + level) * 4096);
			CHECK(rebuilds_to_itself(&r));
		}
	}
}

TEST(rebuild_sharing__a_table_with_other_rights_becomes_another)
{
	for (const struct shape *shape = shapes; shape->format; shape++) {
		struct mote__rebuild r = begin_in(shape);
		const unsigned leaves = shape->levels - 1;
		const uint64_t bytes = shape_bytes(shape, 2);
		put(shape, leaves, 3, PAGE(20) | 0x67);
		put(shape, leaves - 1, 1, PAGE(leaves) | 0x25);
		put(shape, leaves - 1, 2, PAGE(leaves) | 0x23);
		CHECK_EQ(mote__rebuild(&r), MOTE__PT_OK);
		CHECK_EQ(new_leaf(0, 0x3000), NEW_GPA | 0x205 | shape->used);
		CHECK_EQ(new_leaf(0, bytes + 0x3000), NEW_GPA | 0x005 | shape->used);
		CHECK_EQ(new_leaf(0, 2 * bytes + 0x3000), NEW_GPA | 0x201 | shape->used);
		CHECK_EQ(builder.used, (shape->levels + 2) * 4096);
		CHECK(rebuilds_to_itself(&r));
	}
}

TEST(rebuild_sharing__nothing_is_made_of_a_link_to_nothing)
{
	for (const struct shape *shape = shapes; shape->format; shape++) {
		struct mote__rebuild r = begin_in(shape);
		put(shape, shape->levels - 1, 3, 0x20063); /* not known */
		for (unsigned level = 1; level < shape->levels; level++)
			put_again(shape, level, 5);
		CHECK_EQ(mote__rebuild(&r), MOTE__PT_OK);
		CHECK_EQ(builder.used, 4096);
		CHECK(rebuilds_to_itself(&r));
	}
}

/* ---- large pages ---- */

TEST(rebuild_sharing__large_pages_come_apart_and_stay_shared)
{
	for (const struct shape *shape = shapes; shape->format; shape++) {
		struct mote__rebuild r = begin_in(shape);
		const uint64_t bytes = shape_bytes(shape, 2);
		const unsigned above = shape->levels - 2; /* has entries of level 2 */
		if (shape->large_top == 1)
			continue;
		put(shape, above, 1, 0x400000 | 0xE5); /* the end of the mapping */
		put(shape, above, 2, 0x402000 | 0xE7); /* the processor refuses it */
		memcpy(pool[41], pool[0], 4096);
		roots[1] = PAGE(41);
		r.root_count = 2;
		CHECK_EQ(mote__rebuild(&r), MOTE__PT_OK);
		for (unsigned root = 0; root < 2; root++) {
			CHECK_EQ(new_leaf(root, bytes), NEW_GPA | 0x5 | shape->used);
			CHECK_EQ(new_leaf(root, bytes + 87 * 4096),
				 (NEW_GPA + 87 * 4096) | 0x5 | shape->used);
			CHECK_EQ(new_leaf(root, bytes + 88 * 4096), 0);
			CHECK_EQ(new_leaf(root, 2 * bytes), 0);
		}
		CHECK_EQ(r.page_count, 88);
		/* With four levels the table above is one; with two it is the root. */
		CHECK_EQ(new_table(0, bytes, 1) == new_table(1, bytes, 1), shape->levels == 4);
		CHECK(rebuilds_to_itself(&r));
	}
}

/* ---- spans and added mappings ---- */

TEST(rebuild_sharing__cut_tables_are_shared_at_the_same_place_only)
{
	for (const struct shape *shape = shapes; shape->format; shape++) {
		struct mote__rebuild r = begin_in(shape);
		const uint64_t bytes = shape_bytes(shape, 2), rw = 0x003 | shape->used;
		const struct mote__pt_span span = {0x4000, shape_top(shape) - 0x400000};
		const struct mote__pt_mapping linear[] = {
			{.va = 0x1000,
			 .bytes = 0x3000,
			 .gpa = 0x8000000,
			 .attributes = {.writable = true, .exec = true}},
			{.va = shape_top(shape) - 0x3FFFFF,
			 .bytes = 0x400000,
			 .gpa = 0x7000000,
			 .attributes = {.writable = true, .exec = true}},
		};
		put(shape, shape->levels - 1, 3,
		    0x3067); /* outside, and inside at the next place */
		put(shape, shape->levels - 1, 4, 0x4067);
		put_again(shape, 1, 1);
		memset(pool[40], 0, 4 * 4096);
		put_root(shape, 40, 1, 0);
		roots[1] = PAGE(40);
		roots[2] = PAGE(63); /* one word that is no entry: empty */
		r.root_count = 3;
		r.spans = &span;
		r.span_count = 1;
		r.mappings = linear;
		r.mapping_count = 2;
		pool[63][63] = 2;
		CHECK_EQ(mote__rebuild(&r), MOTE__PT_OK);
		CHECK_EQ(new_table(1, 0, 1), new_table(0, 0, 1));
		CHECK(new_table(0, bytes, 1) != new_table(0, 0, 1));
		CHECK_EQ(new_leaf(0, bytes + 0x3000), 0x3205 | shape->used);
		for (unsigned root = 0; root < 3; root++) {
			CHECK_EQ(new_leaf(root, 0), 0);
			CHECK_EQ(new_leaf(root, 0x3000), 0x8002000 | rw);
			CHECK_EQ(new_leaf(root, 0x4000), root == 2 ? 0 : 0x4205 | shape->used);
			CHECK_EQ(new_leaf(root, shape_top(shape) - 0xFFF), 0x73FF000 | rw);
		}
		CHECK(rebuilds_to_itself(&r));
	}
}
