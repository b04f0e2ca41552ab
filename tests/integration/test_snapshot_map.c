/* SPDX-License-Identifier: MIT */
/*
 * Files and memory of the embedder's, seen by real guests of both kinds: reads and copy-on-write
 * writes, snapshots and forks of what they saw, and that what is mapped is never written.
 */
#include "keep.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PAGES     4u
#define BYTES     (PAGES * PAGE)
#define STOCK_GPA 0x100000000ull

static _Alignas(4096) uint64_t memory[PAGES * 512];
static char path[64];

static uint64_t word_of(unsigned page)
{
	return 0x1000 + page;
}

static int prepare(void)
{
	memset(memory, 0, sizeof memory);
	for (unsigned i = 0; i < PAGES; i++)
		memory[i * 512] = memory[i * 512 + 511] = word_of(i);
	snprintf(path, sizeof path, "%s/mote-test-XXXXXX", P_tmpdir);
	int fd = mkstemp(path);
	CHECK(fd >= 0 && write(fd, memory, BYTES) == (ssize_t)BYTES);
	return fd;
}

/* Neither the memory nor the file is written. */
static void finish(int fd)
{
	uint64_t word = 0;
	for (unsigned i = 0; i < PAGES * 512; i++) {
		CHECK_EQ(memory[i], i % 512 && i % 512 != 511 ? 0 : word_of(i / 512));
		CHECK_EQ(pread(fd, &word, 8, 8 * i), 8);
		CHECK_EQ(word, memory[i]);
	}
	close(fd);
	unlink(path);
}

static uint64_t map_it(struct system *s, bool is_file, uint64_t gpa, uint32_t access)
{
	uint64_t placed = 0;
	const struct mote_mapping m = {.size = sizeof m,
				       .path = is_file ? path : NULL,
				       .memory = is_file ? NULL : memory,
				       .bytes = is_file ? 0 : BYTES,
				       .gpa = gpa,
				       .access = access};
	OK(s, mote_sandbox_map(s->sandbox, &m, &placed, &s->err));
	return placed;
}

/* ---- confined -------------------------------------------------------------------------------- */

/* What the guest found; then value is there, if it writes. */
static uint64_t touch(struct system *s, uint64_t gva, uint64_t value, bool is_write)
{
	const uint64_t record[3] = {gva, value, is_write};
	uint64_t found = 0;
	struct mote_value v = CALL(s, MOTE_BYTES, "touch", mote_bytes(record, sizeof record));
	CHECK_EQ(v.bytes.len, 8);
	memcpy(&found, v.bytes.data, 8);
	return found;
}

static void check_saw(struct system *s, uint64_t gva, uint64_t second)
{
	for (unsigned i = 0; i < PAGES; i++) {
		CHECK_EQ(touch(s, gva + i * PAGE, 0, false), i == 1 ? second : word_of(i));
		CHECK_EQ(touch(s, gva + i * PAGE + 511 * 8, 0, false), word_of(i));
		CHECK_EQ(touch(s, gva + i * PAGE + 8, 0, false), 0);
	}
}

static void confined(bool is_file)
{
	struct system s;
	int fd = prepare();
	OPEN(&s, "model_guest", .snapshot.mapping_bytes = 0x100000);
	CHECK(CALL_U64(&s, "data_address"));
	mote_snapshot *before = take(&s);
	const uint64_t gva = map_it(&s, is_file, 0, MOTE_READ | MOTE_WRITE);
	const uint64_t fixed = map_it(&s, !is_file, 0, MOTE_READ);
	check_saw(&s, gva, word_of(1));
	check_saw(&s, fixed, word_of(1));
	CHECK_EQ(touch(&s, gva + PAGE, 0x2222, true), word_of(1));
	check_saw(&s, gva, 0x2222);
	mote_snapshot *with = take(&s);
	CHECK_EQ(touch(&s, gva + PAGE, 0x3333, true), 0x2222);
	for (unsigned i = 0; i < 6; i++) {
		if (i == 3)
			fork_of(&s, with);
		else
			restore(&s, with);
		check_saw(&s, gva, 0x2222);
		check_saw(&s, fixed, word_of(1));
		CHECK_EQ(touch(&s, gva + PAGE, 0x4444, true), 0x2222);
		CHECK_EQ(touch(&s, gva + 3 * PAGE, 0x5555, true), word_of(3));
	}
	restore(&s, with);
	FAILS(&s, MOTE_EABORT, "PageFault", MOTE_VOID, "crash", mote_u64(fixed));
	/* Where it was not mapped it is not, and can be. */
	restore(&s, before);
	FAILS(&s, MOTE_EABORT, "PageFault", MOTE_VOID, "crash", mote_u64(gva));
	restore(&s, before);
	CHECK_EQ(map_it(&s, is_file, 0, MOTE_READ), gva);
	check_saw(&s, gva, word_of(1));
	FAILS(&s, MOTE_EABORT, "PageFault", MOTE_VOID, "crash", mote_u64(gva + PAGE));
	mote_snapshot_unref(before);
	mote_snapshot_unref(with);
	system_close(&s);
	finish(fd);
}

TEST(snapshot_map__a_confined_guest_with_memory)
{
	confined(false);
}

TEST(snapshot_map__a_confined_guest_with_a_file)
{
	confined(true);
}

TEST(snapshot_map__a_place_may_have_one_mapping_after_the_other)
{
	struct system s;
	int fd = prepare();
	OPEN(&s, "model_guest", .snapshot.mapping_bytes = 0x100000);
	CHECK(CALL_U64(&s, "data_address"));
	mote_snapshot *before = take(&s);
	static _Alignas(4096) uint64_t other[PAGES * 512];
	for (unsigned i = 0; i < 8; i++) {
		for (unsigned page = 0; page < PAGES; page++)
			other[page * 512] = 0x7000 + 16 * i + page;
		const struct mote_mapping m = {.size = sizeof m,
					       .memory = i % 2 ? other : memory,
					       .bytes = BYTES,
					       .access = MOTE_READ | MOTE_WRITE};
		uint64_t gva = 0;
		OK(&s, mote_sandbox_map(s.sandbox, &m, &gva, &s.err));
		/* What was translated before is forgotten. */
		for (unsigned page = 0; page < PAGES; page++)
			CHECK_EQ(touch(&s, gva + page * PAGE, 1, page % 2),
				 i % 2 ? 0x7000 + 16 * i + page : word_of(page));
		restore(&s, before);
	}
	mote_snapshot_unref(before);
	system_close(&s);
	finish(fd);
}

/* ---- stock ----------------------------------------------------------------------------------- */

static void check_stock_saw(struct system *s, uint64_t second)
{
	for (unsigned i = 0; i < PAGES; i++) {
		CHECK_EQ(peek(s, SPACE(1) + i * PAGE), i == 1 ? second : word_of(i));
		CHECK_EQ(peek(s, SPACE(1) + i * PAGE + 511 * 8), word_of(i));
	}
}

static void stock(bool is_file, bool is_behind)
{
	struct system s;
	struct mote_snapshot_info info;
	int fd = prepare();
	KEEP(&s);
	(void)DO(&s, "flag");
	mote_snapshot *before = take(&s);
	mote_snapshot_get_info(s.snapshot, &info);
	/* Behind the snapshot is where the pages of the next one go. */
	const uint64_t gpa = is_behind ? PAGE + info.memory_bytes : STOCK_GPA;
	CHECK_EQ(map_it(&s, is_file, gpa, MOTE_READ), gpa);
	for (unsigned i = 0; i < PAGES; i++)
		map_page(&s, 0, SPACE(1) + i * PAGE, (gpa + i * PAGE) | LEAF_COW | NX);
	check_stock_saw(&s, word_of(1));
	(void)DO(&s, "own_", mote_u64(SPACE(1) + PAGE));
	poke(&s, SPACE(1) + PAGE, 0x2222);
	check_stock_saw(&s, 0x2222);
	mote_snapshot *with = take(&s);
	check_stock_saw(&s, 0x2222);
	for (unsigned i = 0; i < 4; i++) {
		if (i == 2)
			fork_of(&s, with);
		else
			restore(&s, with);
		check_stock_saw(&s, 0x2222);
		CHECK_EQ(leaf(&s, SPACE(1)) & ~ADDRESS, LEAF_COW | NX);
		(void)DO(&s, "own_", mote_u64(SPACE(1) + PAGE));
		poke(&s, SPACE(1) + PAGE, 0x3333);
		check_stock_saw(&s, 0x3333);
	}
	restore(&s, before);
	FAILS(&s, MOTE_EPROTOCOL, "shutdown", MOTE_U64, "peek", mote_u64(SPACE(1)));
	mote_snapshot_unref(before);
	mote_snapshot_unref(with);
	system_close(&s);
	finish(fd);
}

TEST(snapshot_map__a_stock_guest_with_memory)
{
	stock(false, false);
}

TEST(snapshot_map__a_stock_guest_with_a_file_behind_its_snapshot)
{
	stock(true, true);
}

TEST(snapshot_map__a_stock_guest_cannot_write_through_tables_of_its_own)
{
	struct system s;
	int fd = prepare();
	KEEP(&s);
	for (unsigned is_file = 0; is_file < 2; is_file++) {
		(void)map_it(&s, is_file, STOCK_GPA, MOTE_READ | MOTE_EXECUTE);
		map_page(&s, 0, SPACE(1), STOCK_GPA | LEAF_RW | NX);
		CHECK_EQ(peek(&s, SPACE(1)), word_of(0));
		FAILS(&s, MOTE_EPROTOCOL,
		      "Memory Access Violation at address 0x100000000 of type WRITE, but memory is "
		      "marked as READ",
		      MOTE_U64, "poke", mote_u64(SPACE(1)), mote_u64(1));
		CHECK_EQ(s.err.poisoned, 1);
		restore(&s, s.snapshot);
	}
	system_close(&s);
	finish(fd);
}
