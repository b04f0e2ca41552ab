/* SPDX-License-Identifier: MIT */
/*
 * A write of the host to the large copy-on-write leaf of a guest that owns its tables: the leaf is
 * split in frames of the guest, only the page that is written changes, and hostile tables end it
 * with an error.
 */
#define _GNU_SOURCE
#include "stock_world.h"

#include <stdlib.h>
#include <time.h>

#define BIG        0x200000ull
#define MEMORY_END 0x1000000000ull

static uint64_t stored_word(const mote_snapshot *s, uint64_t gva)
{
	uint64_t value = 0;
	OK(&w, mote_snapshot_read(s, gva, &value, sizeof value, &w.err));
	return value;
}

static unsigned level(const mote_snapshot *s, uint64_t gva)
{
	struct mote__pt_translation t;
	CHECK(mote__snapshot_translate(s, gva, &t));
	return t.level;
}

static unsigned split_level;
static uint64_t large_gpa;

/* Large copy-on-write memory at SPACE(1), from large_gpa on. */
static void map_large(struct double_machine *m)
{
	*entry_at(m, root_of(m), SPACE(1), split_level, LINK) = large_gpa | LEAF_COW | LARGE | NX;
}

/* All that the machine can write. */
static uint8_t *scratch_copy(void)
{
	const uint64_t bytes = w.snapshot->layout.scratch_bytes;
	uint8_t *copy = malloc(bytes);
	CHECK(copy);
	memcpy(copy, w.sandbox->scratch, bytes);
	return copy;
}

static void check_scratch(uint8_t *copy)
{
	CHECK_MEM(copy, w.sandbox->scratch, w.snapshot->layout.scratch_bytes);
	free(copy);
}

/* Every page but one shows what the large page showed there. */
static void check_others(uint64_t gva)
{
	struct mote__pt_translation t;
	const uint64_t bytes = split_level == 2 ? BIG : BIG * 512;
	for (uint64_t at = 0; at < bytes; at += at < 2 * BIG ? PAGE : 37 * PAGE) {
		CHECK(view(w.machine, root_of(w.machine), SPACE(1) + at, &t));
		CHECK_EQ(t.gpa == large_gpa + at, SPACE(1) + at != gva);
		CHECK_EQ(t.level, at / BIG == (gva - SPACE(1)) / BIG ? 1 : 2);
		CHECK_EQ(t.entry & FLAGS & ~LARGE & ~0x40ull,
			 ((SPACE(1) + at == gva ? LEAF_RW : LEAF_COW) | NX) & ~0x40ull);
	}
}

static void check_split(unsigned at, uint64_t gpa, uint64_t offset)
{
	static const uint64_t word = 0x1234;
	const uint64_t gva = SPACE(1) + offset;
	split_level = at;
	large_gpa = gpa;
	stock_ready(NULL);
	stock_run(map_large);
	uint64_t before[64], after[64], next = *top_word(w.machine, 0x10);
	OK(&w, mote_sandbox_read(w.sandbox, gva, before, sizeof before, &w.err));
	OK(&w, mote_sandbox_write(w.sandbox, gva, &word, sizeof word, &w.err));
	CHECK_EQ(*top_word(w.machine, 0x10), next + at * PAGE);
	OK(&w, mote_sandbox_read(w.sandbox, gva, after, sizeof after, &w.err));
	CHECK_EQ(after[0], word);
	CHECK_MEM(after + 1, before + 1, sizeof after - 8);
	check_others(gva);
	mote_snapshot *taken = stock_take();
	CHECK_EQ(stored_word(taken, gva), word);
	CHECK_EQ(stored_word(taken, gva + 8), before[1]);
	CHECK_EQ(level(taken, gva), 1);
	mote_snapshot_unref(taken);
	world_free(&w);
}

TEST(large_split__a_leaf_of_2_mib)
{
	check_split(2, 0, DATA(0));
	/* One over scratch, the guest's own memory. */
	check_split(2, MEMORY_END - BIG, BIG - 8 * PAGE);
}

TEST(large_split__a_leaf_of_1_gib)
{
	check_split(3, 0, DATA(1));
	check_split(3, MEMORY_END - 512 * BIG, 512 * BIG - 8 * PAGE);
}

TEST(large_split__once_for_several_pages)
{
	static uint8_t bytes[5 * PAGE], back[5 * PAGE];
	split_level = 3;
	large_gpa = 0;
	stock_ready(NULL);
	stock_run(map_large);
	memset(bytes, 0x77, sizeof bytes);
	uint64_t next = *top_word(w.machine, 0x10);
	OK(&w,
	   mote_sandbox_write(w.sandbox, SPACE(1) + DATA(0) + 100, bytes, sizeof bytes, &w.err));
	CHECK_EQ(*top_word(w.machine, 0x10), next + (2 + 6) * PAGE);
	OK(&w, mote_sandbox_read(w.sandbox, SPACE(1) + DATA(0) + 100, back, sizeof back, &w.err));
	CHECK_MEM(back, bytes, sizeof bytes);
	world_free(&w);
}

TEST(large_split__nothing_changes_without_frames)
{
	static uint8_t bytes[3 * PAGE];
	for (unsigned at = 2; at <= 3; at++) {
		split_level = at;
		large_gpa = 0;
		stock_ready(NULL);
		stock_run(map_large);
		const struct mote__layout *l = &w.snapshot->layout;
		const uint64_t end = l->scratch_gpa + l->frames_offset + l->frame_count * PAGE;
		for (uint64_t left = 0; left <= at + 2; left++) {
			*top_word(w.machine, 0x10) = end - left * PAGE;
			uint8_t *copy = scratch_copy();
			int rc = mote_sandbox_write(w.sandbox, SPACE(1) + DATA(0), bytes, 3 * PAGE,
						    &w.err);
			if (left < at + 2) {
				CHECK_EQ(rc, MOTE_ENOMEM);
				check_scratch(copy);
			} else {
				CHECK_EQ(rc, MOTE_OK);
				free(copy);
			}
		}
		CHECK_EQ(*top_word(w.machine, 0x10), end);
		world_free(&w);
	}
}

/* The frame that is taken is one of the tables that lead to the leaf. */
static unsigned own_table;

static void take_own_tables(struct double_machine *m)
{
	map_large(m);
	uint64_t root = root_of(m);
	for (unsigned n = 4; n > split_level + own_table; n--)
		root = words_at(m, root)[index_of(SPACE(1), n)] & 0x000FFFFFFFFFF000;
	*top_word(m, 0x10) = root;
}

TEST(large_split__a_leaf_whose_table_is_the_next_frame)
{
	static uint8_t bytes[2 * PAGE];
	for (unsigned at = 2; at <= 3; at++) {
		for (own_table = 0; at + own_table <= 4; own_table++) {
			split_level = at;
			large_gpa = 0;
			stock_ready(NULL);
			stock_run(take_own_tables);
			int rc = mote_sandbox_write(w.sandbox, SPACE(1) + DATA(0), bytes,
						    sizeof bytes, &w.err);
			CHECK(rc == MOTE_OK || rc == MOTE_EADDR || rc == MOTE_ENOMEM);
			CHECK(w.sandbox->state == MOTE_STATE_READY);
			OK(&w, mote_sandbox_restore(w.sandbox, w.snapshot, NULL, &w.err));
			world_free(&w);
		}
	}
}

/* ---- random tables --------------------------------------------------------------------------- */

#define TABLES 5

static uint64_t seed;

static uint64_t any_entry(const struct double_machine *m, const uint64_t *tables)
{
	static const uint64_t flags[] = {LINK,
					 LEAF_COW | LARGE,
					 LEAF_RW,
					 LEAF_COW,
					 LEAF_RW | LARGE,
					 LEAF_RO | LARGE,
					 LINK | 0x200,
					 0};
	const uint64_t r = check_random(&seed);
	const uint64_t places[] = {MEMORY_END - PAGE,
				   MEMORY_END - 512 * BIG,
				   MEMORY_END - BIG,
				   root_of(m),
				   *top_word(m, 0x10),
				   tables[r >> 8 & 3],
				   0,
				   DATA(r >> 16 & 7)};
	const uint64_t place = places[r >> 20 & 7];
	if (r % 8 < 3)
		return tables[r >> 8 & 3] | LINK;
	if (r % 8 < 5)
		return (r >> 11 & 1 ? MEMORY_END - BIG : 0) | LEAF_COW | LARGE;
	return (place & ~0xFFFull) | (r % 8 == 5 ? LEAF_COW : flags[r >> 28 & 7]);
}

static void make_mess(struct double_machine *m)
{
	uint64_t tables[TABLES];
	for (unsigned i = 0; i < TABLES; i++)
		tables[i] = new_page(m, 0);
	for (unsigned i = 0; i < TABLES; i++)
		for (unsigned j = 0; j < 512; j += j == 7 ? 500 : 1)
			words_at(m, tables[i])[j] = any_entry(m, tables);
	words_at(m, root_of(m))[index_of(SPACE(1), 4)] = tables[0] | LINK;
	const uint64_t r = check_random(&seed);
	if (r % 3 == 0)
		*top_word(m, 0x10) = tables[r >> 8 & 3];
	else if (r % 3 == 1)
		*top_word(m, 0x10) = check_random(&seed) >> (r >> 8 & 63);
	if (r >> 20 & 1)
		words_at(m, tables[r >> 24 & 3])[r >> 32 & 1 ? 0 : 511] =
			(MEMORY_END - PAGE) | LINK;
}

TEST(large_split__random_tables)
{
	static uint8_t bytes[4 * PAGE];
	unsigned done = 0;
	struct timespec now;
	(void)clock_gettime(CLOCK_REALTIME, &now);
	const char *given = getenv("MOTE_TEST_SEED");
	seed = given ? strtoull(given, NULL, 0) : (uint64_t)now.tv_nsec << 20 | 1;
	check_note("seed 0x%llx", (unsigned long long)seed);
	stock_ready(NULL);
	for (unsigned i = 0; i < 1500; i++) {
		mote_snapshot *taken = NULL;
		stock_run(make_mess);
		for (unsigned n = 0; n < 4; n++) {
			const uint64_t r = check_random(&seed);
			const uint64_t gva = SPACE(1) + (r >> 1 & 7) * 512 * BIG +
					     (r >> 8 & 7) * BIG + (r >> 16 & 7) * PAGE +
					     (r >> 24 & 0xFFF);
			int rc = mote_sandbox_write(w.sandbox, gva, bytes, 1 + (r >> 40) % 9000,
						    &w.err);
			CHECK(rc == MOTE_OK || rc == MOTE_EADDR || rc == MOTE_ENOMEM);
			done += rc == MOTE_OK;
		}
		int rc = mote_snapshot_take(w.sandbox, NULL, &taken, &w.err);
		if (rc < 0 && rc != MOTE_ESNAPSHOT && rc != MOTE_ETOOBIG)
			check_failed(__FILE__, __LINE__, "take: %s: %s", mote_code_name(rc),
				     w.err.message);
		if (rc == MOTE_OK)
			mote_snapshot_unref(taken);
		OK(&w, mote_sandbox_restore(w.sandbox, w.snapshot, NULL, &w.err));
		OK(&w, mote_sandbox_start(w.sandbox, 0, &w.err));
	}
	check_note("%u writes were done", done);
	CHECK(done > 100);
	world_free(&w);
}
