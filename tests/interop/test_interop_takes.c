/* SPDX-License-Identifier: MIT */
/*
 * Takes of a guest that was built with the published 0.15 guest crates: what they cost it, chains
 * of them, what the host reads of them, guests of other sizes, and memory of the embedder's that
 * the guest maps with its own crates and that a take keeps.
 */
#include "rust_state.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- takes ----------------------------------------------------------------------------------- */

TEST(interop_takes__a_take_of_nothing_new_is_the_same_snapshot)
{
	struct system s;
	struct rust_state state = {0};
	RUST(&s);
	rust_count(&s, &state, 1);
	mote_snapshot *a = take(&s), *again = take(&s);
	CHECK(a == again);
	mote_snapshot_unref(again);
	/* Any call is something new to a guest that owns its page tables. */
	rust_count(&s, &state, 0);
	mote_snapshot *b = take(&s);
	CHECK(b != a);
	restore(&s, a);
	again = take(&s);
	CHECK(again == a);
	mote_snapshot_unref(again);
	fork_of(&s, b);
	again = take(&s);
	CHECK(again == b);
	mote_snapshot_unref(again);
	mote_snapshot_unref(a);
	mote_snapshot_unref(b);
	system_close(&s);
}

/* The guest does not notice a take: pages that are its own stay so. */
TEST(interop_takes__a_take_changes_nothing)
{
	struct system s;
	struct rust_state state = {0};
	struct mote_snapshot_info info;
	RUST(&s);
	rust_fill(&s, &state, 8, 1);
	rust_keep(&s, &state, "a", 1);
	static uint8_t before[0x10000], after[sizeof before];
	const uint64_t words = TOP - sizeof before;
	OK(&s, mote_sandbox_read(s.sandbox, words, before, sizeof before, &s.err));
	mote_snapshot *a = take(&s);
	OK(&s, mote_sandbox_read(s.sandbox, words, after, sizeof after, &s.err));
	CHECK_MEM(before, after, sizeof before);
	rust_fill(&s, &state, 8, 2);
	mote_snapshot_get_info(a, &info);
	CHECK(info.is_ready && !info.is_confined && info.layer_count == 2);
	CHECK(strncmp(info.version_note, "0.1", 3) == 0);
	/* No page was copied again: the allocator's word has not moved. */
	uint64_t next[2];
	memcpy(&next[0], after + sizeof after - 0x10, 8);
	OK(&s, mote_sandbox_read(s.sandbox, TOP - 0x10, &next[1], 8, &s.err));
	CHECK_EQ(next[0], next[1]);
	mote_snapshot_unref(a);
	system_close(&s);
}

#define CHAIN 40u

/* More snapshots in a row than there may be layers: old ones are put together on the way. */
TEST(interop_takes__a_long_chain)
{
	static struct rust_state states[CHAIN];
	static mote_snapshot *chain[CHAIN];
	struct system s;
	struct rust_state state = {0};
	uint32_t layers = 0;
	RUST(&s);
	for (unsigned i = 0; i < CHAIN; i++) {
		rust_count(&s, &state, (int32_t)i);
		rust_keep(&s, &state, &i, sizeof i);
		rust_fill(&s, &state, 1 + i % 6, 1000 * (int32_t)i);
		chain[i] = take(&s);
		states[i] = state;
		const struct mote_snapshot_info info = info_of(chain[i]);
		CHECK(info.layer_count >= 1 && info.layer_count <= 32);
		if (info.layer_count > layers)
			layers = info.layer_count;
		/* The guest goes on in pages of its own, or in those of the snapshot. */
		if (i % 8 != 7)
			restore(&s, chain[i]);
	}
	/* As many as there may be, then one again. */
	CHECK_EQ(layers, 32);
	CHECK(info_of(chain[CHAIN - 1]).layer_count < 32);
	for (unsigned i = 0; i < CHAIN; i += 5) {
		mote_snapshot *flat = NULL;
		OK(&s, mote_snapshot_flatten(chain[i], &flat, &s.err));
		CHECK_EQ(info_of(flat).layer_count, 1);
		check_same(&s, chain[i], flat);
		if (i % 10)
			restore(&s, flat);
		else
			fork_of(&s, flat);
		rust_check(&s, &states[i]);
		restore(&s, chain[CHAIN - 1 - i]);
		rust_check(&s, &states[CHAIN - 1 - i]);
		mote_snapshot_unref(flat);
	}
	/* Parents go first. */
	for (unsigned i = 0; i < CHAIN - 1; i++)
		mote_snapshot_unref(chain[i]);
	restore(&s, chain[CHAIN - 1]);
	rust_check(&s, &states[CHAIN - 1]);
	mote_snapshot_unref(chain[CHAIN - 1]);
	system_close(&s);
}

/* What the host reads of a snapshot is what a guest of it has, wherever it is stored. */
TEST(interop_takes__the_host_reads_what_the_guest_has)
{
	struct system s;
	struct rust_state state = {0};
	struct mote_location location, before;
	RUST(&s);
	rust_fill(&s, &state, 20, 300);
	mote_snapshot *a = take(&s);
	uint64_t found = 0, page[512], stored = 0;
	uint32_t accesses = 0; /* bits, by access */
	for (uint64_t gva = LOW_GVA; gva < LOW_GVA + info_of(s.snapshot).memory_bytes;
	     gva += PAGE) {
		if (mote_snapshot_read(a, gva, page, sizeof page, &s.err) != MOTE_OK)
			continue;
		CHECK_EQ(mote_snapshot_locate(a, gva, &location), MOTE_OK);
		CHECK(location.layer < info_of(a).layer_count);
		/* What the guest may do there stays as it was laid out. */
		CHECK_EQ(mote_snapshot_locate(s.snapshot, gva, &before), MOTE_OK);
		CHECK_EQ(location.access, before.access);
		accesses |= 1u << location.access;
		stored += location.layer == 1;
		uint64_t live[512];
		OK(&s, mote_sandbox_read(s.sandbox, gva, live, sizeof live, &s.err));
		CHECK_MEM(page, live, sizeof page);
		for (unsigned i = 0; i < 512; i++)
			found += page[i] >= 300 && page[i] < 320;
	}
	/* What was written is stored, and hardly more: stack, heap and statics. */
	struct mote_layer layer;
	CHECK_EQ(mote_snapshot_get_layer(a, 1, &layer), MOTE_OK);
	CHECK(found >= 20 && stored >= 20);
	CHECK(layer.bytes / PAGE >= stored && layer.bytes / PAGE < 20 + 60);
	check_note("%llu pages in the new layer", (unsigned long long)(layer.bytes / PAGE));
	/* The environment is read-only, the heap not executable, the image all. */
	CHECK_EQ(accesses, 1u << MOTE_READ | 1u << (MOTE_READ | MOTE_WRITE) |
				   1u << (MOTE_READ | MOTE_WRITE | MOTE_EXECUTE));
	for (unsigned i = 0; i < 3; i++) {
		const uint64_t gva[] = {CONTROL, CONTROL + PAGE, STACK_TOP - PAGE};
		CHECK_EQ(mote_snapshot_locate(a, gva[i], &location), MOTE_OK);
		CHECK_EQ(location.access, MOTE_READ | MOTE_WRITE);
	}
	OK(&s, mote_snapshot_read(a, CONTROL, page, sizeof page, &s.err));
	CHECK(page[0] == 0 && page[1] >> 40 && page[2] >> 40); /* null, code, data */
	CHECK_EQ(mote_snapshot_read(a, TOP - PAGE, page, 8, &s.err), MOTE_EADDR);
	mote_snapshot_unref(a);
	system_close(&s);
}

/* ---- page tables of the guest's own ---------------------------------------------------------- */

#define OWN_GVA  0x600000000000ull
#define SELF_MAP 0xFFFF800000000000ull /* the range that no snapshot has */

/* A page of scratch, as the guest's allocator would hand it out. */
static uint64_t new_page(struct system *s)
{
	const uint64_t gpa = CALL_U64(s, "Peek", mote_u64(TOP - 0x10));
	CALL_VOID(s, "Poke", mote_u64(TOP - 0x10), mote_u64(gpa + PAGE));
	return gpa;
}

static void map_page(struct system *s, uint64_t gva, uint64_t gpa, int32_t kind)
{
	CALL_VOID(s, "MapPhysical", mote_u64(gva), mote_u64(gpa), mote_i32(kind));
}

static void check_word(struct system *s, uint64_t gva, uint64_t word)
{
	CHECK_EQ(CALL_U64(s, "Peek", mote_u64(gva)), word);
}

/* Two addresses of a page are of one page in the snapshot, too; the guest's own page-fault handler
 * parts them when it is written. What is in the range that snapshots leave out is gone. */
TEST(interop_takes__aliases_stay_until_one_is_written)
{
	struct system s;
	struct mote_location first, second;
	RUST(&s);
	const uint64_t page = new_page(&s);
	map_page(&s, OWN_GVA, page, 1);
	map_page(&s, OWN_GVA + PAGE, page, 0);
	map_page(&s, SELF_MAP, page, 1);
	CALL_VOID(&s, "Poke", mote_u64(OWN_GVA), mote_u64(0x77));
	check_word(&s, OWN_GVA + PAGE, 0x77);
	check_word(&s, SELF_MAP, 0x77);
	mote_snapshot *a = take(&s);
	CHECK_EQ(mote_snapshot_locate(a, OWN_GVA, &first), MOTE_OK);
	CHECK_EQ(mote_snapshot_locate(a, OWN_GVA + PAGE, &second), MOTE_OK);
	CHECK(first.gpa == second.gpa && first.gpa != page);
	CHECK(first.access == (MOTE_READ | MOTE_WRITE) && second.access == MOTE_READ);
	/* The guest that goes on has what it had. */
	CALL_VOID(&s, "Poke", mote_u64(SELF_MAP), mote_u64(0x78));
	check_word(&s, OWN_GVA, 0x78);
	check_word(&s, OWN_GVA + PAGE, 0x78);
	for (unsigned i = 0; i < 3; i++) {
		if (i == 1)
			fork_of(&s, a);
		else
			restore(&s, a);
		check_word(&s, OWN_GVA, 0x77);
		CALL_VOID(&s, "Poke", mote_u64(OWN_GVA), mote_u64(0x88));
		check_word(&s, OWN_GVA, 0x88);
		check_word(&s, OWN_GVA + PAGE, 0x77);
		FAILS(&s, MOTE_EABORT, "PageFault", MOTE_U64, "Peek", mote_u64(SELF_MAP));
	}
	mote_snapshot_unref(a);
	system_close(&s);
}

/* ---- sizes and init data --------------------------------------------------------------------- */

TEST(interop_takes__sizes_and_init_data)
{
	static const struct {
		uint64_t heap_bytes, scratch_bytes, init_bytes, input_bytes, output_bytes;
	} rows[] = {{0, 0x60000, 0, 0, 0},
		    {0x20001, 0x100000, 5000, 0x2000, 0x3000},
		    {0x100000, 0x300000, 1, 0x8000, 0x4000}};
	static uint8_t init[5000];
	for (unsigned i = 0; i < sizeof init; i++)
		init[i] = (uint8_t)(i * 31 + 7);
	for (unsigned row = 0; row < sizeof rows / sizeof *rows; row++) {
		struct system s;
		struct rust_state state = {0};
		RUST_WITH(&s, rows[row].scratch_bytes, .snapshot.heap_bytes = rows[row].heap_bytes,
			  .snapshot.init_data = init,
			  .snapshot.init_data_bytes = rows[row].init_bytes,
			  .snapshot.input_bytes = rows[row].input_bytes,
			  .snapshot.output_bytes = rows[row].output_bytes);
		rust_keep(&s, &state, init, 100);
		rust_fill(&s, &state, 3, 1);
		CHECK_EQ(CALL_I32(&s, "Alloc", mote_i32(10000)), 10000);
		mote_snapshot *a = take(&s);
		for (unsigned i = 0; i < 3; i++) {
			if (i == 1)
				restore(&s, a);
			else if (i == 2)
				fork_of(&s, a);
			struct mote_value v =
				CALL(&s, MOTE_BYTES, "InitData", mote_i32((int32_t)sizeof init));
			CHECK_EQ(v.bytes.len, rows[row].init_bytes);
			CHECK_MEM(v.bytes.data, init, v.bytes.len);
			rust_check(&s, &state);
		}
		mote_snapshot_unref(a);
		system_close(&s);
	}
}

/* What is leaked from the heap is there again, whatever a restore goes to. */
TEST(interop_takes__a_full_heap_is_empty_again)
{
	struct system s;
	struct rust_state state = {0};
	RUST(&s);
	rust_count(&s, &state, 1);
	mote_snapshot *a = take(&s);
	for (unsigned i = 0; i < 3; i++) {
		CHECK_EQ(CALL_I32(&s, "Alloc", mote_i32(60000)), 60000);
		FAILS(&s, MOTE_EABORT, "", MOTE_I32, "Alloc", mote_i32(100000));
		CHECK_EQ(s.err.poisoned, 1);
		if (i == 1)
			fork_of(&s, a);
		else
			restore(&s, a);
	}
	rust_check(&s, &state);
	mote_snapshot_unref(a);
	system_close(&s);
}

/* ---- mapped files and memory ----------------------------------------------------------------- */

#define MAPPED_PAGES 4u
#define MAPPED_BYTES (MAPPED_PAGES * PAGE)
#define MAPPED_GPA   0x100000000ull
#define MAPPED_GVA   0x700000000000ull

static _Alignas(4096) uint64_t mapped[MAPPED_PAGES * 512];
static char mapped_path[64];

static int mapped_make(void)
{
	for (unsigned i = 0; i < MAPPED_PAGES * 512; i++)
		mapped[i] = 0x5000 + i;
	(void)snprintf(mapped_path, sizeof mapped_path, "%s/mote-test-XXXXXX", P_tmpdir);
	int fd = mkstemp(mapped_path);
	CHECK(fd >= 0 && write(fd, mapped, MAPPED_BYTES) == (ssize_t)MAPPED_BYTES);
	return fd;
}

/* Neither the memory nor the file was written. */
static void mapped_end(int fd)
{
	static uint64_t file[MAPPED_PAGES * 512];
	CHECK_EQ(pread(fd, file, sizeof file, 0), sizeof file);
	for (unsigned i = 0; i < MAPPED_PAGES * 512; i++)
		CHECK(mapped[i] == 0x5000 + i && file[i] == mapped[i]);
	(void)close(fd);
	(void)unlink(mapped_path);
}

/* The second page is copied when it is written, the others are read-only. */
static void map_it(struct system *s, bool is_file)
{
	uint64_t placed = 0;
	const struct mote_mapping m = {.size = sizeof m,
				       .path = is_file ? mapped_path : NULL,
				       .memory = is_file ? NULL : mapped,
				       .bytes = is_file ? 0 : MAPPED_BYTES,
				       .gpa = MAPPED_GPA,
				       .access = MOTE_READ};
	OK(s, mote_sandbox_map(s->sandbox, &m, &placed, &s->err));
	CHECK_EQ(placed, MAPPED_GPA);
	for (unsigned i = 0; i < MAPPED_PAGES; i++)
		CALL_VOID(s, "MapPhysical", mote_u64(MAPPED_GVA + i * PAGE),
			  mote_u64(MAPPED_GPA + i * PAGE), mote_i32(i == 1 ? 2 : 0));
}

static void check_mapped(struct system *s, uint64_t second)
{
	for (unsigned i = 0; i < MAPPED_PAGES; i++) {
		const uint64_t gva = MAPPED_GVA + i * PAGE;
		CHECK_EQ(CALL_U64(s, "Peek", mote_u64(gva)), i == 1 ? second : mapped[i * 512]);
		CHECK_EQ(CALL_U64(s, "Peek", mote_u64(gva + 4088)), mapped[i * 512 + 511]);
	}
}

static void check_map(bool is_file)
{
	struct system s;
	struct rust_state state = {0};
	int fd = mapped_make();
	RUST(&s);
	rust_count(&s, &state, 1);
	mote_snapshot *before = take(&s);
	map_it(&s, is_file);
	check_mapped(&s, mapped[512]);
	CALL_VOID(&s, "Poke", mote_u64(MAPPED_GVA + PAGE), mote_u64(0x2222));
	check_mapped(&s, 0x2222);
	mote_snapshot *with = take(&s);
	for (unsigned i = 0; i < 3; i++) {
		if (i == 1)
			fork_of(&s, with);
		else
			restore(&s, with);
		check_mapped(&s, 0x2222);
		CALL_VOID(&s, "Poke", mote_u64(MAPPED_GVA + PAGE), mote_u64(0x3333));
		check_mapped(&s, 0x3333);
		rust_check(&s, &state);
	}
	/* What is read-only stays so, and where nothing was mapped nothing is. */
	FAILS(&s, MOTE_EABORT, "PageFault", MOTE_VOID, "Poke", mote_u64(MAPPED_GVA), mote_u64(1));
	restore(&s, before);
	FAILS(&s, MOTE_EABORT, "PageFault", MOTE_U64, "Peek", mote_u64(MAPPED_GVA));
	/* The place is free again. */
	restore(&s, before);
	map_it(&s, !is_file);
	check_mapped(&s, mapped[512]);
	restore(&s, before);
	/* The guest's own entries do not bring the mapping back. */
	CALL_VOID(&s, "MapPhysical", mote_u64(MAPPED_GVA), mote_u64(MAPPED_GPA), mote_i32(0));
	FAILS(&s, MOTE_EPROTOCOL, "MMIO READ access to unmapped address 0x100000000", MOTE_U64,
	      "Peek", mote_u64(MAPPED_GVA));
	restore(&s, before);
	rust_check(&s, &state);
	mote_snapshot_unref(before);
	mote_snapshot_unref(with);
	system_close(&s);
	mapped_end(fd);
}

TEST(interop_takes__a_mapped_file)
{
	check_map(true);
}

TEST(interop_takes__mapped_memory)
{
	check_map(false);
}
