/* SPDX-License-Identifier: MIT */
/*
 * Saved and loaded snapshots of a 32-bit kernel with processes: every address space comes back with
 * its own pages, and what spaces shared they share again. Needs 32-bit paging.
 */
#include "i686.h"
#include "tree.h"

static char store[TREE_PATH_BYTES];

static mote_snapshot *round_trip(struct system *s, mote_snapshot *snapshot)
{
	const struct mote_save_options options = {.size = sizeof options, .tag = "latest"};
	uint8_t x[MOTE_DIGEST_BYTES], y[MOTE_DIGEST_BYTES];
	struct mote_saved saved, again;
	mote_snapshot *loaded = NULL;
	OK(s, mote_snapshot_save(snapshot, store, &options, &saved, &s->err));
	OK(s, mote_snapshot_load(store, saved.digest, NULL, &loaded, &s->err));
	OK(s, mote_snapshot_digest(snapshot, x, &s->err));
	OK(s, mote_snapshot_digest(loaded, y, &s->err));
	CHECK_MEM(x, y, sizeof x);
	OK(s, mote_snapshot_save(loaded, store, &options, &again, &s->err));
	CHECK_STR(saved.digest, again.digest);
	CHECK_EQ(again.blobs_written, 0);
	/* 0: the first table alone. */
	CHECK_EQ(loaded->root_count, snapshot->root_count ? snapshot->root_count : 1);
	return loaded;
}

static void begin(void)
{
	tree_make(store);
}

static void end(struct system *s)
{
	system_close(s);
	tree_remove(store);
}

/* KERNEL() may skip the test; then there is nothing to remove yet. */
#define OPEN_KERNEL(s, ...)               \
	do {                              \
		KERNEL(s, ##__VA_ARGS__); \
		begin();                  \
	} while (0)

TEST(store_spaces__an_image_of_32_bits_starts)
{
	struct system s;
	OPEN_KERNEL(&s);
	mote_snapshot *loaded = round_trip(&s, s.snapshot);
	fork_of(&s, loaded);
	CHECK_EQ(make(&s, 100), 1);
	CHECK_EQ(run(&s, 1, 5), 105);
	mote_snapshot_unref(loaded);
	end(&s);
}

/* Each has its own data, writes only that, and all have the kernel's. */
static void check_family(struct system *s)
{
	for (uint32_t space = 1; space <= 3; space++) {
		CHECK_EQ(peek(s, space, USER_DATA), space * 100);
		CHECK_EQ(leaf_bits(s, space, USER_DATA), LEAF_COW | USER);
		CHECK_EQ(leaf_bits(s, space, USER_CODE), LEAF_RO | USER);
	}
	CHECK_EQ(leaf(s, 0, USER_DATA), 0);
	for (uint32_t space = 0; space <= 3; space++) {
		CHECK_EQ(peek(s, space, KERNEL_HALF), space ? 0x77 + space - 1 : 0x77);
		poke(s, space, KERNEL_HALF, 0x77 + space);
	}
	for (uint32_t space = 1; space <= 3; space++)
		CHECK_EQ(run(s, space, space), space * 100 + space);
	for (uint32_t space = 1; space <= 3; space++)
		CHECK_EQ(peek(s, space, USER_DATA), space * 100 + space);
}

static void check_tables(const mote_snapshot *snapshot)
{
	for (uint32_t i = 0; i < snapshot->root_count; i++) {
		CHECK_EQ(stored_directory(snapshot, i, KERNEL_HALF),
			 stored_directory(snapshot, 0, KERNEL_HALF));
		CHECK_EQ(stored_directory(snapshot, i, 0xFFC00000),
			 stored_directory(snapshot, 0, 0xFFC00000));
		CHECK_EQ(snapshot->roots[i], snapshot->roots[0] + i * PAGE);
	}
}

TEST(store_spaces__every_space_comes_back_and_shares_what_it_shared)
{
	struct system s;
	OPEN_KERNEL(&s, .snapshot.scratch_bytes = 0x100000);
	CHECK(make(&s, 100) == 1 && make(&s, 200) == 2);
	CHECK_EQ(DO(&s, "fork", mote_u64(1)), 3);
	CHECK_EQ(run(&s, 3, 200), 300);
	poke(&s, 2, KERNEL_HALF, 0x77);
	mote_snapshot *all = take_spaces(&s), *loaded = round_trip(&s, all);
	CHECK_EQ(loaded->root_count, 4);
	check_tables(loaded);
	for (unsigned i = 0; i < 5; i++) {
		mote_snapshot *from = i % 2 ? all : loaded;
		if (i < 2)
			fork_of(&s, from);
		else
			restore(&s, from);
		check_family(&s);
	}
	mote_snapshot_unref(all);
	/* Another generation, on what was loaded. */
	restore(&s, loaded);
	CHECK_EQ(run(&s, 1, 5), 105);
	mote_snapshot *child = take_spaces(&s), *again = round_trip(&s, child);
	check_tables(again);
	mote_snapshot_unref(loaded);
	mote_snapshot_unref(child);
	fork_of(&s, again);
	CHECK_EQ(peek(&s, 1, USER_DATA), 105);
	CHECK_EQ(peek(&s, 2, USER_DATA), 200);
	CHECK_EQ(peek(&s, 3, USER_DATA), 300);
	mote_snapshot_unref(again);
	end(&s);
}

/* A table that two spaces have, one of them twice, is one table for the first and is kept. */
TEST(store_spaces__a_shared_table_stays_one_table)
{
	struct system s;
	OPEN_KERNEL(&s);
	CHECK(make(&s, 100) == 1 && DO(&s, "bare") == 2);
	(void)directory(&s, 2, USER_DATA, directory(&s, 1, USER_DATA, 0));
	(void)directory(&s, 2, USER_DATA + 3 * (1u << 22), directory(&s, 1, USER_DATA, 0));
	mote_snapshot *all = take_spaces(&s), *loaded = round_trip(&s, all);
	CHECK_EQ(stored_directory(loaded, 1, USER_DATA), stored_directory(loaded, 2, USER_DATA));
	restore(&s, loaded);
	poke(&s, 2, USER_DATA + 3 * (1u << 22), 111);
	CHECK_EQ(peek(&s, 1, USER_DATA), 111);
	CHECK_EQ(peek(&s, 2, USER_DATA), 111);
	mote_snapshot_unref(all);
	mote_snapshot_unref(loaded);
	end(&s);
}

TEST(store_spaces__as_many_as_there_may_be)
{
	struct system s;
	OPEN_KERNEL(&s, .snapshot.scratch_bytes = 0x3F0000);
	for (uint32_t i = 1; i < MOTE_MAX_ROOTS; i++) {
		CHECK_EQ(DO(&s, "bare"), i);
		(void)new_page(&s, i, USER_DATA, LEAF_RW | USER);
		poke(&s, i, USER_DATA, i * 3);
	}
	mote_snapshot *all = take_spaces(&s), *loaded = round_trip(&s, all);
	mote_snapshot_unref(all);
	CHECK_EQ(loaded->root_count, MOTE_MAX_ROOTS);
	fork_of(&s, loaded);
	for (uint32_t i = 1; i < MOTE_MAX_ROOTS; i++)
		CHECK_EQ(peek(&s, i, USER_DATA), i * 3);
	mote_snapshot_unref(loaded);
	end(&s);
}
