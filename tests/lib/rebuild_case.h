/* SPDX-License-Identifier: MIT */
/* For the tests of single rules of the rebuild: a guest with one chain of tables, and looking into
 * what was built of it. */
#ifndef MOTE_TESTS_REBUILD_CASE_H
#define MOTE_TESTS_REBUILD_CASE_H

#include "check.h"
#include "rebuild_world.h"

static struct finder finder;

#define PAGE(n) page_gpa(n) /* of the pool: 0 to 9 tables, from 10 on data */

static inline void put_data(void)
{
	for (unsigned i = 10; i < POOL_PAGES; i++)
		pool[i][i] = i;
	for (unsigned i = 0; i < MAPPED_PAGES; i++)
		mapped[i][i] = 1;
	roots[0] = PAGE(0);
}

/* root, level 3, level 2, level 1 in pool pages 0 to 3; data in the others. */
static inline struct mote__rebuild begin(void)
{
	pool_chain();
	put_data();
	return rebuild_of(&mote__pt_x86_64, 1, &finder);
}

/* The same in any format: the root in pool page 0, the table of leaves in page levels - 1. */
static inline struct mote__rebuild begin_in(const struct shape *shape)
{
	put_chain(shape);
	put_data();
	return rebuild_of(shape->format, 1, &finder);
}

/* The leaf for va in the new tables, which allow all above it; 0: none. */
static inline uint64_t new_leaf(uint32_t root, uint64_t va)
{
	struct mote__pt_range range = mote__pt_built(&builder);
	struct mote__pt_space space = {
		builder.format, {&range, mote__pt_range_table}, new_roots[root]};
	struct mote__pt_translation out;
	if (mote__pt_translate(&space, va, &out) != MOTE__PT_OK)
		return 0;
	CHECK_EQ(out.level, 1);
	CHECK_EQ(pack(out.effective), pack(out.own));
	return out.entry;
}

/* Where the new table of a level for va stands; 0: there is none. */
static inline uint64_t new_table(uint32_t root, uint64_t va, unsigned level)
{
	struct plain plain = plain_new(shape_of(builder.format));
	return plain_table(&plain, new_roots[root], va, level);
}

#endif
