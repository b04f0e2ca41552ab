/* SPDX-License-Identifier: MIT */
/*
 * Snapshots of a guest that owns ring 0, on a real processor: what it finds after a restore and in
 * a fork is what the ABI promises, and what it does there is not seen by the others.
 */
#include "keep.h"

#include "vm/objects.h"

#define ZF 0x40ull

TEST(snapshot_stock__memory_comes_back)
{
	struct system s;
	KEEP(&s);
	const uint64_t data = DO(&s, "data");
	CHECK(peek(&s, data + PAGE + 24) == 0x31 && peek(&s, data) == 0);
	(void)DO(&s, "own_", mote_u64(data));
	poke(&s, data, 0x1111);
	mote_snapshot *a = take(&s);
	poke(&s, data, 0x2222);
	(void)DO(&s, "own_", mote_u64(data + PAGE));
	poke(&s, data + PAGE + 24, 0x3333);
	mote_snapshot *b = take(&s);
	CHECK(peek(&s, data) == 0x2222 && peek(&s, data + PAGE + 24) == 0x3333);
	/* Its copies are the snapshot's now. */
	for (unsigned i = 0; i < 6; i++) {
		if (i < 4)
			restore(&s, i % 2 ? b : a);
		else
			fork_of(&s, i % 2 ? b : a);
		CHECK_EQ(leaf(&s, data) & 0xFFF, LEAF_COW);
		CHECK_EQ(peek(&s, data), i % 2 ? 0x2222 : 0x1111);
		CHECK_EQ(peek(&s, data + PAGE + 24), i % 2 ? 0x3333 : 0x31);
		(void)DO(&s, "own_", mote_u64(data));
		poke(&s, data, 0x4444);
		CHECK_EQ(peek(&s, data), 0x4444);
	}
	restore(&s, s.snapshot);
	CHECK_EQ(peek(&s, data), 0);
	mote_snapshot_unref(a);
	mote_snapshot_unref(b);
	system_close(&s);
}

TEST(snapshot_stock__copy_on_write_is_not_writable)
{
	struct system s;
	KEEP(&s);
	const uint64_t data = DO(&s, "data");
	(void)DO(&s, "own_", mote_u64(data));
	poke(&s, data, 0x1111);
	mote_snapshot *a = take(&s);
	for (unsigned i = 0; i < 3; i++) {
		restore(&s, a);
		FAILS(&s, MOTE_EPROTOCOL, "shutdown", MOTE_U64, "poke", mote_u64(data),
		      mote_u64(1));
		CHECK_EQ(s.err.poisoned, 1);
	}
	restore(&s, a);
	CHECK_EQ(peek(&s, data), 0x1111);
	mote_snapshot_unref(a);
	system_close(&s);
}

TEST(snapshot_stock__the_next_dispatch_alone_has_zf)
{
	struct system s;
	KEEP(&s);
	CHECK_EQ(DO(&s, "flag") & ZF, 0);
	mote_snapshot *a = take(&s);
	CHECK_EQ(DO(&s, "flag") & ZF, 0);
	restore(&s, a);
	CHECK_EQ(DO(&s, "flag"), ZF | 2);
	CHECK_EQ(DO(&s, "flag"), 2);
	fork_of(&s, a);
	CHECK_EQ(DO(&s, "flag"), ZF | 2);
	CHECK_EQ(DO(&s, "flag"), 2);
	mote_snapshot_unref(a);
	system_close(&s);
}

TEST(snapshot_stock__words_and_generation)
{
	struct system s;
	struct mote_snapshot_info info;
	KEEP(&s);
	(void)DO(&s, "page");
	mote_snapshot *a = take(&s);
	(void)DO(&s, "page");
	mote_snapshot *b = take(&s);
	CHECK_EQ(peek(&s, TOP - 0x20), 0);
	mote_snapshot_get_info(b, &info);
	CHECK_EQ(info.generation, 2);
	restore(&s, a);
	CHECK_EQ(peek(&s, TOP - 0x20), 1);
	CHECK_EQ(peek(&s, TOP - 0x08), info.scratch_bytes);
	const uint64_t tables = peek(&s, TOP - 0x18), next = peek(&s, TOP - 0x10);
	mote_snapshot_get_info(a, &info);
	CHECK_EQ(next, tables + info.table_bytes);
	CHECK_EQ(DO(&s, "cr3_"), tables);
	CHECK(peek(&s, next + LINEAR) == 0 && peek(&s, TOP - 3 * PAGE) == 0);
	(void)DO(&s, "page");
	mote_snapshot *c = take(&s);
	mote_snapshot_get_info(c, &info);
	CHECK_EQ(info.generation, 2);
	mote_snapshot_unref(a);
	mote_snapshot_unref(b);
	mote_snapshot_unref(c);
	system_close(&s);
}

TEST(snapshot_stock__registers_come_back)
{
	static const uint32_t declared[] = {0xC0000102, 0x174};
	static const uint32_t all[] = {0xC0000102, 0x174, 0xC0000100, 0xC0000101};
	struct system s;
	KEEP(&s, .snapshot = {.msrs = declared, .msr_count = 2});
	for (unsigned i = 0; i < 4; i++)
		(void)DO(&s, "wrms", mote_u64(all[i]), mote_u64(0x1000 + i));
	(void)DO(&s, "ldtr", mote_u64(0), mote_u64(SPACE(1)), mote_u64(0x57));
	(void)DO(&s, "ldtr", mote_u64(1), mote_u64(SPACE(2)), mote_u64(0xFF));
	mote_snapshot *a = take(&s);
	for (unsigned turn = 0; turn < 3; turn++) {
		for (unsigned i = 0; i < 4; i++)
			(void)DO(&s, "wrms", mote_u64(all[i]), mote_u64(7));
		(void)DO(&s, "ldtr", mote_u64(0), mote_u64(PAGE), mote_u64(7));
		(void)DO(&s, "ldtr", mote_u64(1), mote_u64(PAGE), mote_u64(7));
		if (turn < 2)
			restore(&s, a);
		else
			fork_of(&s, a);
		for (unsigned i = 0; i < 4; i++)
			CHECK_EQ(DO(&s, "rdms", mote_u64(all[i])), 0x1000 + i);
		CHECK_EQ(DO(&s, "sttr", mote_u64(0), mote_u64(0)), SPACE(1));
		CHECK_EQ(DO(&s, "sttr", mote_u64(0), mote_u64(1)), 0x57);
		CHECK_EQ(DO(&s, "sttr", mote_u64(1), mote_u64(0)), SPACE(2));
		CHECK_EQ(DO(&s, "sttr", mote_u64(1), mote_u64(1)), 0xFF);
	}
	/* Not into a guest that begins anew. */
	restore(&s, s.snapshot);
	for (unsigned i = 0; i < 4; i++)
		CHECK_EQ(DO(&s, "rdms", mote_u64(all[i])), 0);
	CHECK_EQ(DO(&s, "sttr", mote_u64(1), mote_u64(0)), 0);
	mote_snapshot_unref(a);
	system_close(&s);
}

TEST(snapshot_stock__aliases_stay_and_a_copy_ends_one)
{
	struct system s;
	KEEP(&s);
	const uint64_t page = new_page(&s, 0x77);
	map_page(&s, 0, SPACE(1), page | LEAF_RW | NX);
	map_page(&s, 0, SPACE(1) + PAGE, page | LEAF_RO | NX);
	CHECK_EQ(peek(&s, SPACE(1) + PAGE), 0x77);
	mote_snapshot *a = take(&s);
	restore(&s, a);
	CHECK_EQ(leaf(&s, SPACE(1)) & ADDRESS, leaf(&s, SPACE(1) + PAGE) & ADDRESS);
	CHECK_EQ(leaf(&s, SPACE(1)) & ~ADDRESS, LEAF_COW | NX);
	CHECK_EQ(leaf(&s, SPACE(1) + PAGE) & ~ADDRESS, LEAF_RO | NX);
	CHECK(peek(&s, SPACE(1)) == 0x77 && peek(&s, SPACE(1) + PAGE) == 0x77);
	(void)DO(&s, "own_", mote_u64(SPACE(1)));
	poke(&s, SPACE(1), 0x88);
	CHECK(peek(&s, SPACE(1)) == 0x88 && peek(&s, SPACE(1) + PAGE) == 0x77);
	mote_snapshot_unref(a);
	system_close(&s);
}

/* ---- spaces ---------------------------------------------------------------------------------- */

static uint64_t roots[2];

static uint32_t find_roots(void *cookie, mote_sandbox *sandbox, uint64_t cr3, uint64_t *found,
			   uint32_t room)
{
	uint64_t word = 0;
	(void)cookie;
	CHECK(room == MOTE_MAX_ROOTS && (cr3 & ADDRESS) == roots[1]);
	CHECK_EQ(mote_sandbox_read(sandbox, TOP - 0x08, &word, 8, NULL), MOTE_OK);
	memcpy(found, roots, sizeof roots);
	return 2;
}

TEST(snapshot_stock__spaces_and_what_they_share)
{
	struct system s;
	const struct mote_take_options o = {.size = sizeof o, .find_roots = find_roots};
	mote_snapshot *both = NULL, *flat = NULL;
	KEEP(&s);
	roots[0] = DO(&s, "cr3_") & ADDRESS;
	map_page(&s, 0, SPACE(3), new_page(&s, 0x33) | LEAF_RW | NX);
	roots[1] = DO(&s, "spac");
	map_page(&s, roots[1], SPACE(4), new_page(&s, 0x44) | LEAF_RW | NX);
	(void)DO(&s, "scr3", mote_u64(roots[1]));
	CHECK(peek(&s, SPACE(3)) == 0x33 && peek(&s, SPACE(4)) == 0x44);
	/* CR3 alone, then both: the first one found starts. */
	mote_snapshot *one = take(&s);
	(void)DO(&s, "page");
	OK(&s, mote_snapshot_take(s.sandbox, &o, &both, &s.err));
	OK(&s, mote_snapshot_flatten(both, &flat, &s.err));
	CHECK(peek(&s, SPACE(4)) == 0x44 && DO(&s, "cr3_") == roots[1]);
	restore(&s, one);
	CHECK(peek(&s, SPACE(3)) == 0x33 && peek(&s, SPACE(4)) == 0x44);
	for (unsigned i = 0; i < 3; i++) {
		mote_snapshot *from = i == 1 ? flat : both;
		if (i < 2)
			restore(&s, from);
		else
			fork_of(&s, from);
		CHECK_EQ(peek(&s, SPACE(3)), 0x33);
		/* A new page through one space, seen through the other. */
		map_page(&s, 0, SPACE(3) + PAGE, new_page(&s, 0x55) | LEAF_RW | NX);
		(void)DO(&s, "scr3", mote_u64(from->roots[1]));
		CHECK(peek(&s, SPACE(3)) == 0x33 && peek(&s, SPACE(4)) == 0x44);
		CHECK_EQ(peek(&s, SPACE(3) + PAGE), 0x55);
	}
	/* The first space has nothing at the second's address. */
	restore(&s, both);
	FAILS(&s, MOTE_EPROTOCOL, "shutdown", MOTE_U64, "peek", mote_u64(SPACE(4)));
	mote_snapshot_unref(one);
	mote_snapshot_unref(both);
	mote_snapshot_unref(flat);
	system_close(&s);
}

TEST(snapshot_stock__tables_that_name_themselves)
{
	struct system s;
	KEEP(&s, .snapshot.scratch_bytes = 0x100000);
	const uint64_t root = DO(&s, "cr3_") & ADDRESS;
	poke(&s, root + LINEAR + 300 * 8, root | 0x023);
	const uint64_t self = 0xFFFF000000000000 | SPACE(300);
	CHECK_EQ(peek(&s, self + (300ull << 30) + (300ull << 21) + (300ull << 12) + 300 * 8),
		 root | 0x023);
	mote_snapshot *a = take(&s);
	restore(&s, a);
	/* A copy of what was there; the tables in use are others. */
	CHECK_EQ(peek(&s, self + (300ull << 30) + (300ull << 21) + (300ull << 12) + 300 * 8),
		 root | 0x023);
	CHECK(DO(&s, "flag"));
	mote_snapshot_unref(a);
	system_close(&s);
}
