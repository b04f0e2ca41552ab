/* SPDX-License-Identifier: MIT */
/* Reading and writing guest memory by virtual address, through tables that a stock guest may have
 * made hostile. */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/confined.h"

#define PAGE    4096ull
#define SCRATCH 0xFFFFFFFFFFFB7000ull /* of a default stock guest; its tables are 8 pages in */
#define NX      (1ull << 63)

static struct world w;
static uint8_t block[64 * PAGE], back[64 * PAGE];

static void answer(struct double_machine *m, struct mote__exit *exit)
{
	(void)guest_pop_call(m);
	guest_return(m, exit, mote_void());
}

static const struct double_guest good = {NULL, answer, NULL};

static void ready_with(enum world_kind kind, const struct mote_snapshot_options *options,
		       uint64_t memory_max)
{
	const struct tiny_options image = {.is_confined = kind == CONFINED,
					   .data_bytes = 20 * PAGE};
	const struct mote_sandbox_options sandbox = {.size = sizeof sandbox,
						     .memory_max = memory_max};
	world_make_of(&w, &image, options, &good);
	world_sandbox(&w, &sandbox);
	OK(&w, mote_sandbox_start(w.sandbox, 0, &w.err));
	for (size_t i = 0; i < sizeof block; i++)
		block[i] = (uint8_t)(i * 13 + i / 4096);
	memset(back, 0x5A, sizeof back);
}

static void ready(enum world_kind kind)
{
	ready_with(kind, NULL, 0);
}

static int read_at(uint64_t gva, size_t len)
{
	return mote_sandbox_read(w.sandbox, gva, back, len, &w.err);
}

static int write_at(uint64_t gva, size_t len)
{
	return mote_sandbox_write(w.sandbox, gva, block, len, &w.err);
}

#define BAD_ADDRESS(call, gva, text)            \
	do {                                    \
		FAILS(&w, call, MOTE_EADDR);    \
		CHECK_EQ(w.err.fault_gva, gva); \
		CHECK_HAS(w.err.message, text); \
	} while (0)

/* ---- both kinds ------------------------------------------------------------------------------ */

TEST_BOTH(memory__reads_the_image)
{
	ready(kind);
	OK(&w, read_at(TINY_DATA_GVA + 0x80, 0xA0));
	for (unsigned i = 0; i < 0xA0; i++)
		CHECK_EQ(back[i], (uint8_t)(0x80 + i + 1));
	/* The zeroes behind it. */
	OK(&w, read_at(TINY_DATA_GVA + 0x120, 3 * PAGE));
	for (unsigned i = 0; i < 3 * PAGE; i++)
		CHECK(back[i] == 0);
	world_free(&w);
}

TEST_BOTH(memory__what_is_written_is_read)
{
	static const struct {
		uint64_t at, len;
	} rows[] = {{0, 1},         {PAGE - 1, 1},      {PAGE - 1, 2},        {5, PAGE},
		    {0, 20 * PAGE}, {11 * PAGE + 7, 3}, {19 * PAGE + 4095, 1}};
	ready(kind);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		OK(&w, write_at(TINY_DATA_GVA + rows[i].at, rows[i].len));
		OK(&w, read_at(TINY_DATA_GVA + rows[i].at, rows[i].len));
		CHECK_MEM(back, block, rows[i].len);
	}
	world_free(&w);
}

TEST_BOTH(memory__a_write_is_the_sandbox_s_own)
{
	ready(kind);
	OK(&w, write_at(TINY_DATA_GVA, 20 * PAGE));
	mote_sandbox_destroy(w.sandbox);
	world_sandbox(&w, NULL);
	OK(&w, read_at(TINY_DATA_GVA + 0x80, 0xA0));
	for (unsigned i = 0; i < 0xA0; i++)
		CHECK_EQ(back[i], (uint8_t)(0x80 + i + 1));
	world_free(&w);
}

TEST_BOTH(memory__the_guest_sees_what_was_written)
{
	ready(kind);
	OK(&w, write_at(TINY_DATA_GVA + 13 * PAGE + 4090, 12));
	CHECK_MEM(double_gva(w.machine, TINY_DATA_GVA + 13 * PAGE + 4090, 6), block, 6);
	CHECK_MEM(double_gva(w.machine, TINY_DATA_GVA + 14 * PAGE, 6), block + 6, 6);
	/* The rest of a copied page is as it was. */
	CHECK_EQ(*double_gva(w.machine, TINY_DATA_GVA + 14 * PAGE + 6, 1), 0);
	world_free(&w);
}

TEST_BOTH(memory__a_copied_page_makes_the_machine_forget)
{
	ready(kind);
	unsigned maps = w.machine->maps, unmaps = w.machine->unmaps;
	OK(&w, write_at(TINY_DATA_GVA + 14 * PAGE, 1));
	CHECK_EQ(w.machine->unmaps, unmaps + 1);
	CHECK_EQ(w.machine->maps, maps + 1);
	/* It is the sandbox's own by now. */
	OK(&w, write_at(TINY_DATA_GVA + 14 * PAGE, 1));
	CHECK_EQ(w.machine->unmaps, unmaps + 1);
	world_free(&w);
}

TEST_BOTH(memory__a_new_sandbox_can_be_written_without_forgetting)
{
	const struct tiny_options image = {.is_confined = kind == CONFINED,
					   .data_bytes = 20 * PAGE};
	world_make_of(&w, &image, NULL, &good);
	world_sandbox(&w, NULL);
	OK(&w, write_at(TINY_DATA_GVA + 14 * PAGE, 8));
	CHECK_EQ(w.machine->unmaps, 0);
	OK(&w, world_call(&w, MOTE_VOID, NULL));
	OK(&w, read_at(TINY_DATA_GVA + 14 * PAGE, 8));
	CHECK_MEM(back, block, 8);
	world_free(&w);
}

TEST_BOTH(memory__nothing_is_allowed_anywhere)
{
	ready(kind);
	OK(&w, mote_sandbox_read(w.sandbox, 0, NULL, 0, &w.err));
	OK(&w, mote_sandbox_write(w.sandbox, UINT64_MAX, NULL, 0, &w.err));
	world_free(&w);
}

TEST_BOTH(memory__refuses_missing_arguments)
{
	ready(kind);
	FAILS(&w, mote_sandbox_read(NULL, 0, back, 1, &w.err), MOTE_EINVAL);
	CHECK_STR(w.err.message, "sandbox is NULL");
	FAILS(&w, mote_sandbox_read(w.sandbox, 0, NULL, 1, &w.err), MOTE_EINVAL);
	CHECK_STR(w.err.message, "buffer is NULL");
	FAILS(&w, mote_sandbox_write(NULL, 0, block, 1, &w.err), MOTE_EINVAL);
	FAILS(&w, mote_sandbox_write(w.sandbox, 0, NULL, 1, &w.err), MOTE_EINVAL);
	FAILS(&w, mote_sandbox_read(w.sandbox, TINY_DATA_GVA, back, (1ull << 32) + 1, &w.err),
	      MOTE_EINVAL);
	CHECK_HAS(w.err.message, "len is 4294967297, at most 4294967296");
	FAILS(&w, mote_sandbox_read(w.sandbox, TINY_DATA_GVA, back, 1ull << 32, &w.err),
	      MOTE_EADDR);
	CHECK_EQ(mote_sandbox_read(NULL, 0, back, 1, NULL), MOTE_EINVAL);
	CHECK_EQ(mote_sandbox_read(w.sandbox, 0, back, 1, NULL), MOTE_EADDR);
	world_free(&w);
}

TEST_BOTH(memory__the_first_bad_byte_is_told)
{
	ready(kind);
	BAD_ADDRESS(read_at(0, 1), 0, "guest address 0x0 is not mapped");
	BAD_ADDRESS(read_at(0xFFF, 2), 0xFFF, "is not mapped");
	BAD_ADDRESS(write_at(8, 2), 8, "is not mapped");
	BAD_ADDRESS(read_at(0x800000000000, 1), 0x800000000000, "is not mapped");
	BAD_ADDRESS(read_at(UINT64_MAX, 1), UINT64_MAX, "and a length that wraps");
	BAD_ADDRESS(read_at(UINT64_MAX - 1, 3), UINT64_MAX - 1, "and a length that wraps");
	/* In the middle of a range: nothing is written before it is known. */
	const struct mote__layout *l = &w.snapshot->layout;
	uint64_t end = kind == STOCK ? l->heap_gva + l->heap_bytes : l->peb_gva + PAGE;
	BAD_ADDRESS(read_at(end - 5, 10), end, "is not mapped");
	for (size_t i = 0; i < sizeof back; i++)
		CHECK(back[i] == 0x5A);
	world_free(&w);
}

TEST_BOTH(memory__a_write_that_cannot_be_done_does_nothing)
{
	ready(kind);
	/* From the last page of the image into the PEB, which is read-only. */
	uint64_t peb = w.snapshot->layout.peb_gva, used = world_statistics(&w).frames_used;
	CHECK_EQ(peb, TINY_DATA_GVA + 20 * PAGE);
	BAD_ADDRESS(write_at(peb - 10, 20), peb, "is read-only");
	OK(&w, read_at(peb - 10, 10));
	for (unsigned i = 0; i < 10; i++)
		CHECK_EQ(back[i], 0);
	CHECK_EQ(world_statistics(&w).frames_used, used);
	world_free(&w);
}

TEST_BOTH(memory__a_random_history_reads_as_a_model)
{
	uint64_t seed = 0x5eed0002;
	static uint8_t model[20 * PAGE];
	check_note("seed 0x%llx", (unsigned long long)seed);
	ready(kind);
	OK(&w, mote_sandbox_read(w.sandbox, TINY_DATA_GVA, model, sizeof model, &w.err));
	for (unsigned n = 0; n < 500; n++) {
		uint64_t at = check_random(&seed) % sizeof model;
		uint64_t len = check_random(&seed) % 9000;
		if (len > sizeof model - at)
			len = sizeof model - at;
		if (n % 2) {
			OK(&w, read_at(TINY_DATA_GVA + at, len));
			CHECK_MEM(back, model + at, len);
			continue;
		}
		block[0] = (uint8_t)n;
		OK(&w, write_at(TINY_DATA_GVA + at, len));
		memcpy(model + at, block, len);
	}
	world_free(&w);
}

/* ---- confined -------------------------------------------------------------------------------- */

TEST(memory__demand_pages_read_as_zero_and_cost_nothing)
{
	ready(CONFINED);
	const struct mote__layout *l = &w.snapshot->layout;
	uint64_t used = world_statistics(&w).frames_used;
	OK(&w, read_at(l->heap_gva, l->heap_bytes));
	for (size_t i = 0; i < l->heap_bytes; i++)
		CHECK(back[i] == 0);
	OK(&w, read_at(l->stack_gva, l->stack_bytes));
	CHECK_EQ(world_statistics(&w).frames_used, used);
	BAD_ADDRESS(read_at(l->stack_gva - 1, 1), l->stack_gva - 1, "is not mapped");
	uint64_t end = l->heap_gva + l->heap_bytes;
	BAD_ADDRESS(read_at(end - 1, 2), end, "is not mapped");
	world_free(&w);
}

/* A heap that leaves the first 2 MiB, whose leaf table it shares with the image, and an address in
 * another leaf table. */
static const struct mote_snapshot_options large_heap = {.size = sizeof large_heap,
							.heap_bytes = 16u << 20};
#define FAR 0x800000ull

TEST(memory__demand_pages_take_frames_when_written)
{
	ready_with(CONFINED, &large_heap, 0);
	uint64_t used = world_statistics(&w).frames_used;
	unsigned unmaps = w.machine->unmaps;
	OK(&w, write_at(FAR + 100, 2 * PAGE));
	CHECK_EQ(world_statistics(&w).frames_used, used + 3);
	CHECK_MEM(double_gva(w.machine, FAR + 100, PAGE - 100), block, PAGE - 100);
	CHECK_EQ(*double_gva(w.machine, FAR + 99, 1), 0);
	/* What was not there need not be forgotten. */
	CHECK_EQ(w.machine->unmaps, unmaps);
	OK(&w, read_at(FAR + 100, 2 * PAGE));
	CHECK_MEM(back, block, 2 * PAGE);
	world_free(&w);
}

TEST(memory__edits_are_logged_as_the_guest_s_own)
{
	ready_with(CONFINED, &large_heap, 0);
	const struct mote__layout *l = &w.snapshot->layout;
	uint64_t used = world_statistics(&w).frames_used, entry[2];
	OK(&w, write_at(FAR, 1));
	OK(&w, write_at(TINY_DATA_GVA + 14 * PAGE, 1));
	memcpy(entry, w.sandbox->scratch + l->log_offset + used * 8, sizeof entry);
	CHECK_EQ(entry[0], FAR / PAGE);
	CHECK_EQ(entry[1], TINY_DATA_GVA / PAGE + 14);
	world_free(&w);
}

TEST(memory__a_heap_can_be_written_to_its_last_page)
{
	/* As many frames as the guest itself would need: its tables are not counted twice. */
	uint8_t *large = malloc(16u << 20);
	memset(large, 0x77, 16u << 20);
	ready_with(CONFINED, &large_heap, 0);
	uint64_t heap = w.snapshot->layout.heap_gva;
	OK(&w, mote_sandbox_write(w.sandbox, heap, large, 16u << 20, &w.err));
	for (uint64_t at = 0; at < 16u << 20; at += PAGE)
		CHECK_EQ(*double_gva(w.machine, heap + at + 4095, 1), 0x77);
	free(large);
	world_free(&w);
}

TEST(memory__a_write_maps_more_frames_when_it_needs_them)
{
	const struct mote_snapshot_options o = {.size = sizeof o, .heap_bytes = 64u << 20};
	uint8_t *large = calloc(1, 24u << 20);
	ready_with(CONFINED, &o, 0);
	unsigned maps = w.machine->maps;
	uint64_t heap = w.snapshot->layout.heap_gva;
	OK(&w, mote_sandbox_write(w.sandbox, heap, large, 24u << 20, &w.err));
	CHECK_EQ(w.machine->maps, maps + 1);
	w.hypervisor->fail = DOUBLE_MAP;
	FAILS(&w, mote_sandbox_write(w.sandbox, heap + (24u << 20), large, 24u << 20, &w.err),
	      MOTE_ESYSTEM);
	CHECK_EQ(mote_sandbox_state(w.sandbox), MOTE_STATE_READY);
	free(large);
	world_free(&w);
}

TEST(memory__memory_max_bounds_writes)
{
	/* 12 frames of the write set; 4 pages more. */
	ready_with(CONFINED, &large_heap, 16 * PAGE);
	FAILS(&w, write_at(FAR, 4 * PAGE + 1), MOTE_ENOMEM);
	CHECK_STR(w.err.message, "the guest has no free frame left: memory_max");
	CHECK_EQ(world_statistics(&w).frames_used, 12);
	OK(&w, write_at(FAR, 4 * PAGE));
	CHECK_EQ(world_statistics(&w).frames_used, 16);
	FAILS(&w, write_at(FAR + 4 * PAGE, 1), MOTE_ENOMEM);
	OK(&w, write_at(FAR, PAGE));
	CHECK_EQ(mote_sandbox_state(w.sandbox), MOTE_STATE_READY);
	world_free(&w);
}

TEST(memory__copies_keep_a_page_unexecutable)
{
	ready(CONFINED);
	OK(&w, write_at(TINY_DATA_GVA + 14 * PAGE, 1));
	OK(&w, write_at(w.snapshot->layout.heap_gva, 1));
	const uint64_t pages[] = {TINY_DATA_GVA + 14 * PAGE, w.snapshot->layout.heap_gva};
	for (size_t i = 0; i < 2; i++) {
		uint64_t entry;
		memcpy(&entry, double_gva(w.machine, MOTE__SELF_GVA + pages[i] / PAGE * 8, 8), 8);
		CHECK_EQ(entry & (NX | 0xFFF), NX | 0x067);
	}
	world_free(&w);
}

/* What the guest's own ring 3 cannot reach, its host does not write by mistake, either: addresses
 * often come from the guest. */
TEST(memory__writes_stay_out_of_the_library_s_pages)
{
	ready(CONFINED);
	const uint64_t bad[] = {
		MOTE__PAGE_GVA(MOTE__PARAMS_PAGE), MOTE__PAGE_GVA(MOTE__LEAVES_PAGE),
		MOTE__SELF_GVA + TINY_DATA_GVA / PAGE * 8,
		MOTE__SELF_GVA + (MOTE__SELF_GVA >> 9 & 0x7FFFFFFFF8), w.snapshot->layout.log_gva};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		BAD_ADDRESS(write_at(bad[i], 8), bad[i], "is not the guest's");
	BAD_ADDRESS(write_at(MOTE__SYSTEM_GVA, 8), MOTE__SYSTEM_GVA, "");
	BAD_ADDRESS(write_at(MOTE__PROLOGUE_GVA, 8), MOTE__PROLOGUE_GVA, "is read-only");
	/* The buffer for input is read-only to the guest, that for output is its own. */
	BAD_ADDRESS(write_at(w.snapshot->layout.input_gva, 8), w.snapshot->layout.input_gva,
		    "is read-only");
	OK(&w, write_at(w.snapshot->layout.output_gva + 64, 8));
	OK(&w, read_at(bad[0], 8));
	world_free(&w);
}

/* ---- stock guests, whose tables are their own -------------------------------------------------
 */

/* Where the leaf for gva stands, in memory. */
static uint64_t *leaf_at(uint64_t gva, uint64_t *entry_gpa)
{
	const struct mote__layout *l = &w.snapshot->layout;
	uint64_t gpa = l->scratch_gpa + l->tables_offset;
	for (unsigned level = 4;; level--) {
		uint64_t at = gpa + (gva >> (3 + 9 * level) & 511) * 8;
		uint64_t *entry = (uint64_t *)(void *)double_gpa(w.machine, at, 8);
		CHECK(entry != NULL);
		if (level == 1) {
			*entry_gpa = at;
			return entry;
		}
		CHECK(*entry & 1);
		gpa = *entry & 0xFFFFFFFFFF000;
	}
}

static uint64_t *leaf(uint64_t gva)
{
	uint64_t gpa;
	return leaf_at(gva, &gpa);
}

#define ROOT ((uint64_t *)(void *)double_gpa(w.machine, 0xFFFFC0000, 4096))

TEST(memory__a_leaf_to_nowhere_is_mapped_to_nothing)
{
	static const uint64_t nowhere[] = {0,          0x800000000,    0xFFFFB7000, 0x1000000000,
					   0x40000000, 0xFFFFFFFFFF000};
	ready(STOCK);
	for (size_t i = 0; i < sizeof nowhere / sizeof nowhere[0]; i++) {
		*leaf(TINY_DATA_GVA) = nowhere[i] | 0x63;
		BAD_ADDRESS(read_at(TINY_DATA_GVA, 1), TINY_DATA_GVA, "is mapped to nothing");
		BAD_ADDRESS(write_at(TINY_DATA_GVA, 1), TINY_DATA_GVA, "is mapped to nothing");
		*leaf(TINY_DATA_GVA) = nowhere[i] | 0x261;
		BAD_ADDRESS(write_at(TINY_DATA_GVA, 1), TINY_DATA_GVA, "is mapped to nothing");
	}
	world_free(&w);
}

TEST(memory__the_last_page_of_each_region_is_memory)
{
	ready(STOCK);
	const struct mote__layout *l = &w.snapshot->layout;
	const uint64_t last = 0x1000 + l->snapshot_bytes - PAGE;
	*leaf(TINY_DATA_GVA) = last | 0x61;
	OK(&w, read_at(TINY_DATA_GVA, PAGE));
	*leaf(TINY_DATA_GVA) = (last + PAGE) | 0x61;
	BAD_ADDRESS(read_at(TINY_DATA_GVA, 1), TINY_DATA_GVA, "is mapped to nothing");
	*leaf(TINY_DATA_GVA) = 0xFFFFFF000 | 0x63;
	OK(&w, write_at(TINY_DATA_GVA, PAGE));
	world_free(&w);
}

/* Writable in the tables, but the snapshot's: never written. */
TEST(memory__shared_memory_is_not_written_whatever_the_tables_say)
{
	ready(STOCK);
	*leaf(TINY_DATA_GVA) = TINY_DATA_GVA | 0x63;
	BAD_ADDRESS(write_at(TINY_DATA_GVA + 0x80, 1), TINY_DATA_GVA + 0x80,
		    "is mapped to nothing");
	CHECK_EQ(w.snapshot->memory[TINY_DATA_GVA + 0x80], 0x81);
	world_free(&w);
}

TEST(memory__tables_outside_memory_read_as_not_mapped)
{
	ready(STOCK);
	static const uint64_t nowhere[] = {0, 0x800000000, 0x1000000000, 0xFFFFFFFFFF000};
	for (size_t i = 0; i < 4; i++) {
		ROOT[1] = nowhere[i] | 0x23;
		BAD_ADDRESS(read_at(1ull << 39, 1), 1ull << 39, "is not mapped");
		BAD_ADDRESS(write_at(1ull << 39, 1), 1ull << 39, "is not mapped");
	}
	world_free(&w);
}

TEST(memory__a_table_that_names_itself_is_only_a_table)
{
	ready(STOCK);
	/* A recursive entry: addresses show the tables. */
	ROOT[1] = 0xFFFFC0000 | 0x63;
	const uint64_t self = 1ull << 39 | 1ull << 30 | 1ull << 21 | 1ull << 12;
	OK(&w, read_at(self, PAGE));
	CHECK_MEM(back, ROOT, PAGE);
	/* Writing it is the guest's own ruin, and nothing else. */
	memset(block, 0, PAGE);
	OK(&w, write_at(self, PAGE));
	BAD_ADDRESS(read_at(self, 1), self, "is not mapped");
	BAD_ADDRESS(read_at(TINY_DATA_GVA, 1), TINY_DATA_GVA, "is not mapped");
	world_free(&w);
}

/* All of scratch is mapped, tables included: a long write goes over the tables that lead to what it
 * writes next. It ends with an error, not with the host. */
TEST(memory__a_write_over_its_own_tables_ends)
{
	ready(STOCK);
	memset(block, 0, sizeof block);
	FAILS(&w, write_at(SCRATCH, sizeof block), MOTE_EADDR);
	CHECK_EQ(mote_sandbox_state(w.sandbox), MOTE_STATE_READY);
	world_free(&w);
	ready(STOCK);
	memset(block, 0xFF, sizeof block);
	FAILS(&w, write_at(SCRATCH, sizeof block), MOTE_EADDR);
	world_free(&w);
}

/* The same with copy-on-write pages behind it, and no free frame by then. */
TEST(memory__a_write_over_the_allocator_s_words_ends)
{
	ready(STOCK);
	const uint64_t top = 0xFFFFFFFFFFFFE000;
	*leaf(TINY_DATA_GVA) = 0xFFFFFF000 | 0x63;
	memset(block, 0xFF, sizeof block);
	FAILS(&w, write_at(TINY_DATA_GVA, 20 * PAGE), MOTE_ENOMEM);
	CHECK_EQ(mote_sandbox_state(w.sandbox), MOTE_STATE_READY);
	OK(&w, read_at(top, PAGE));
	CHECK_EQ(world_statistics(&w).frames_used, 54);
	world_free(&w);
}

TEST(memory__hostile_allocator_words_are_bounded)
{
	static const uint64_t words[] = {
		0, 1, 0xFFFFC6FFF, 0xFFFFFD000, UINT64_MAX, 0x1000000000, 0xFFFFC7001, 1ull << 63};
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		ready(STOCK);
		memcpy(double_gpa(w.machine, 0x1000000000 - 0x10, 8), &words[i], 8);
		CHECK(world_statistics(&w).frames_used <= 54);
		int rc = write_at(TINY_DATA_GVA, 4 * PAGE);
		CHECK(rc == MOTE_OK || rc == MOTE_ENOMEM);
		world_free(&w);
	}
}

TEST(memory__a_stock_guest_runs_out_of_frames)
{
	ready(STOCK);
	/* 20 pages of data, 32 of heap; 54 frames. */
	uint64_t heap = w.snapshot->layout.heap_gva;
	OK(&w, write_at(TINY_DATA_GVA, 20 * PAGE));
	OK(&w, write_at(heap, 32 * PAGE));
	CHECK_EQ(world_statistics(&w).frames_used, 52);
	OK(&w, write_at(0x1000, PAGE));
	OK(&w, write_at(0x2000, PAGE));
	CHECK_EQ(world_statistics(&w).frames_used, 54);
	world_free(&w);
	ready(STOCK);
	const uint64_t last = 0xFFFFFD000;
	memcpy(double_gpa(w.machine, 0x1000000000 - 0x10, 8), &last, 8);
	FAILS(&w, write_at(TINY_DATA_GVA, 1), MOTE_ENOMEM);
	CHECK_STR(w.err.message, "the guest has no free frame left");
	world_free(&w);
}

TEST(memory__a_stock_guest_has_all_frames_of_a_large_scratch)
{
	const struct mote_snapshot_options o = {
		.size = sizeof o, .scratch_bytes = 64u << 20, .heap_bytes = 32u << 20};
	uint8_t *large = calloc(1, 32u << 20);
	ready_with(STOCK, &o, 0);
	OK(&w,
	   mote_sandbox_write(w.sandbox, w.snapshot->layout.heap_gva, large, 32u << 20, &w.err));
	CHECK_EQ(world_statistics(&w).frames_used, 8192);
	free(large);
	world_free(&w);
}

/* A table in the snapshot, which the guest shares with others: its entries cannot be changed. */
TEST(memory__tables_in_shared_memory_are_not_written)
{
	const struct tiny_options options = {.data_bytes = 20 * PAGE};
	uint64_t entry = TINY_DATA_GVA | 0x261;
	memset(&w, 0, sizeof w);
	w.hypervisor = double_make(&good);
	w.hypervisor->is_closed = &w.is_closed;
	OK(&w, mote__engine_on(&w.hypervisor->base, SIGRTMIN, 0, &w.engine, &w.err));
	OK(&w, mote_host_create(&w.host, &w.err));
	/* Init data that is a page of leaves, all of them copy-on-write. */
	for (size_t i = 0; i < PAGE; i += 8)
		memcpy(block + i, &entry, 8);
	const struct mote_snapshot_options o = {
		.size = sizeof o, .init_data = block, .init_data_bytes = PAGE};
	const struct tiny_image image = tiny_guest(&options);
	OK(&w, mote_snapshot_from_memory(image.bytes, image.len, &o, &w.snapshot, &w.err));
	world_sandbox(&w, NULL);
	OK(&w, mote_sandbox_start(w.sandbox, 0, &w.err));
	uint64_t gpa;
	(void)leaf_at(TINY_DATA_GVA, &gpa);
	/* The level-2 entry for the second 2 MiB leads to the page of init data. */
	uint64_t level3 = ROOT[0] & 0xFFFFFFFFFF000;
	uint64_t *table3 = (uint64_t *)(void *)double_gpa(w.machine, level3, 4096);
	uint64_t *table2 =
		(uint64_t *)(void *)double_gpa(w.machine, table3[0] & 0xFFFFFFFFFF000, 4096);
	table2[2] = w.snapshot->layout.init_gpa | 0x23;
	OK(&w, read_at(0x400080, 1));
	CHECK_EQ(back[0], 0x81);
	BAD_ADDRESS(write_at(0x400080, 1), 0x400080, "has its entry in shared memory");
	CHECK_EQ(w.snapshot->memory[TINY_DATA_GVA + 0x80], 0x81);
	world_free(&w);
}

/* Pages of 2 MiB can be read as far as there is memory; they are not written. */
TEST(memory__large_pages_of_a_stock_guest)
{
	const struct mote_snapshot_options o = {.size = sizeof o, .heap_bytes = 8u << 20};
	ready_with(STOCK, &o, 0);
	uint64_t level3 = ROOT[0] & 0xFFFFFFFFFF000;
	uint64_t *table3 = (uint64_t *)(void *)double_gpa(w.machine, level3, 4096);
	uint64_t *table2 =
		(uint64_t *)(void *)double_gpa(w.machine, table3[0] & 0xFFFFFFFFFF000, 4096);
	table2[16] = 0x200000 | 0xE3;
	OK(&w, read_at(16 * 0x200000 + 0x1234, 3 * PAGE));
	BAD_ADDRESS(write_at(16 * 0x200000 + 8, 1), 16 * 0x200000 + 8, "is mapped to nothing");
	table2[16] = 0x800000 | 0xE3;
	OK(&w, read_at(16 * 0x200000, PAGE));
	const uint64_t end = 16 * 0x200000 + 0x1000 + w.snapshot->layout.snapshot_bytes - 0x800000;
	BAD_ADDRESS(read_at(end, 1), end, "is mapped to nothing");
	world_free(&w);
}

/* Any bytes for tables: every read and write ends with a code, and stays inside (a sanitizer
 * looks on). */
TEST(memory__random_tables_are_survived)
{
	uint64_t seed = 0x5eed0003;
	check_note("seed 0x%llx", (unsigned long long)seed);
	ready(STOCK);
	const size_t words = 7 * 512;
	uint64_t *tables = (uint64_t *)(void *)double_gpa(w.machine, 0xFFFFC0000, words * 8);
	for (unsigned n = 0; n < 3000; n++) {
		for (unsigned i = 0; i < 40; i++) {
			uint64_t target = check_random(&seed) % 0x60;
			uint64_t gpa = target < 0x48 ? 0xFFFFB8000 + target * PAGE
						     : (target - 0x48) * PAGE;
			tables[check_random(&seed) % words] =
				gpa | (check_random(&seed) & (NX | 0x2E3));
		}
		uint64_t gva = n % 3 ? check_random(&seed) % (1ull << 48) : check_random(&seed);
		if (n % 3 == 1)
			gva = SCRATCH + check_random(&seed) % 0x48000;
		size_t len = check_random(&seed) % (3 * PAGE);
		for (size_t i = 0; i < 64; i++)
			block[check_random(&seed) % sizeof block] = (uint8_t)check_random(&seed);
		(void)read_at(gva, len);
		int rc = write_at(gva, len);
		CHECK(rc == MOTE_OK || rc == MOTE_EADDR || rc == MOTE_ENOMEM);
	}
	world_free(&w);
}
