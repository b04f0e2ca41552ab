/* SPDX-License-Identifier: MIT */
/*
 * Snapshots of a 32-bit kernel with processes: every address space comes back with its own user
 * pages, what spaces shared they share again, and tables that make no sense are errors at most.
 */
#include "i686.h"

#define SLOT (1u << 22) /* what an entry of a directory is for */

/* Lists that a test gives instead of the guest's own. */
struct list {
	uint32_t count;
	uint64_t roots[4];
};

static uint32_t find_list(void *cookie, mote_sandbox *sandbox, uint64_t cr3, uint64_t *roots,
			  uint32_t room)
{
	const struct list *list = cookie;
	(void)sandbox, (void)cr3;
	for (uint32_t i = 0; i < list->count && i < room; i++)
		roots[i] = i < 4 ? list->roots[i] : list->roots[0];
	return list->count;
}

static int try_list(struct system *s, struct list *list, mote_snapshot **snapshot)
{
	const struct mote_take_options options = {
		.size = sizeof options, .find_roots = find_list, .cookie = list};
	*snapshot = NULL;
	return mote_snapshot_take(s->sandbox, &options, snapshot, &s->err);
}

static mote_snapshot *take_list(struct system *s, struct list *list)
{
	mote_snapshot *snapshot;
	OK(s, try_list(s, list, &snapshot));
	return snapshot;
}

static uint64_t root_of(struct system *s, uint32_t space)
{
	return DO(s, "root", mote_u64(space));
}

/* ---- spaces ---------------------------------------------------------------------------------- */

/* Three processes: the last is a fork of the first. */
static void make_family(struct system *s)
{
	KERNEL(s, .snapshot.scratch_bytes = 0x100000);
	CHECK(make(s, 100) == 1 && make(s, 200) == 2);
	CHECK_EQ(DO(s, "fork", mote_u64(1)), 3);
	CHECK_EQ(run(s, 3, 200), 300);
	poke(s, 2, KERNEL_HALF, 0x77);
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
	CHECK_EQ(leaf_bits(s, 1, USER_DATA), LEAF_RW | USER);
}

/* The kernel's tables and that of scratch are one page each. */
static void check_tables(const mote_snapshot *snapshot, uint32_t roots, uint32_t own)
{
	struct mote_snapshot_info info;
	CHECK_EQ(snapshot->root_count, roots);
	for (uint32_t i = 0; i < roots; i++) {
		CHECK_EQ(stored_directory(snapshot, i, 0), stored_directory(snapshot, 0, 0));
		CHECK_EQ(stored_directory(snapshot, i, KERNEL_HALF),
			 stored_directory(snapshot, 0, KERNEL_HALF));
		CHECK_EQ(stored_directory(snapshot, i, 0xFFC00000),
			 stored_directory(snapshot, 0, 0xFFC00000));
		CHECK_EQ(stored_directory(snapshot, i, KERNEL_HALF) & ~ADDRESS & ~DIRTY, LINK);
		CHECK_EQ(snapshot->roots[i], snapshot->roots[0] + i * PAGE);
	}
	mote_snapshot_get_info(snapshot, &info);
	CHECK_EQ(info.table_bytes / PAGE, roots + 3 + own);
}

TEST(snapshot_i686__every_space_comes_back_and_shares_what_it_shared)
{
	struct system s;
	mote_snapshot *flat = NULL;
	make_family(&s);
	mote_snapshot *all = take_spaces(&s);
	check_tables(all, 4, 3);
	CHECK_EQ(run(&s, 1, 5), 105); /* goes on */
	OK(&s, mote_snapshot_flatten(all, &flat, &s.err));
	check_tables(flat, 4, 3);
	for (unsigned i = 0; i < 5; i++) {
		mote_snapshot *from = i % 2 ? flat : all;
		if (i < 2)
			fork_of(&s, from);
		else
			restore(&s, from);
		check_family(&s);
	}
	mote_snapshot_unref(flat);
	mote_snapshot_unref(all);
	system_close(&s);
}

/* Layers are put together after some generations. */
TEST(snapshot_i686__spaces_stay_over_many_generations)
{
	struct system s;
	struct mote_snapshot_info info = {0};
	uint32_t layers = 0;
	make_family(&s);
	for (uint32_t i = 0; i < 40 && info.layer_count >= layers; i++) {
		CHECK_EQ(run(&s, 1 + i % 3, 1), (1 + i % 3) * 100 + i / 3 + 1);
		mote_snapshot *all = take_spaces(&s);
		layers = info.layer_count;
		mote_snapshot_get_info(all, &info);
		check_tables(all, 4, 3);
		restore(&s, all);
		mote_snapshot_unref(all);
	}
	CHECK(info.layer_count < layers);
	for (uint32_t space = 0; space <= 3; space++)
		CHECK_EQ(peek(&s, space, KERNEL_HALF), 0x77);
	system_close(&s);
}

TEST(snapshot_i686__as_many_spaces_as_there_may_be)
{
	struct system s;
	/* Less than what one table maps, so that its table is the kernel's, too. */
	KERNEL(&s, .snapshot.scratch_bytes = 0x3F0000);
	for (uint32_t i = 1; i < MOTE_MAX_ROOTS; i++) {
		CHECK_EQ(DO(&s, "bare"), i);
		(void)new_page(&s, i, USER_DATA, LEAF_RW | USER);
		poke(&s, i, USER_DATA, i * 3);
	}
	mote_snapshot *all = take_spaces(&s);
	check_tables(all, MOTE_MAX_ROOTS, MOTE_MAX_ROOTS - 1);
	restore(&s, all);
	poke(&s, MOTE_MAX_ROOTS - 1, KERNEL_HALF, 0x88);
	for (uint32_t i = 1; i < MOTE_MAX_ROOTS; i++) {
		CHECK_EQ(peek(&s, i, USER_DATA), i * 3);
		CHECK_EQ(peek(&s, i, KERNEL_HALF), 0x88);
	}
	mote_snapshot_unref(all);
	struct list many = {.count = MOTE_MAX_ROOTS + 1, .roots = {root_of(&s, 0)}};
	CHECK_EQ(try_list(&s, &many, &all), MOTE_EINVAL);
	CHECK_HAS(s.err.message, "find_roots found 257 roots, at most 256");
	CHECK_EQ(peek(&s, 7, USER_DATA), 21);
	system_close(&s);
}

TEST(snapshot_i686__a_table_of_another_space_stays_one_table)
{
	struct system s;
	KERNEL(&s);
	CHECK(make(&s, 100) == 1 && DO(&s, "bare") == 2);
	(void)directory(&s, 2, USER_DATA, directory(&s, 1, USER_DATA, 0));
	(void)directory(&s, 2, USER_DATA + 3 * SLOT, directory(&s, 1, USER_DATA, 0));
	mote_snapshot *all = take_spaces(&s);
	check_tables(all, 3, 1);
	CHECK_EQ(stored_directory(all, 1, USER_DATA), stored_directory(all, 2, USER_DATA));
	CHECK_EQ(stored_directory(all, 1, USER_DATA),
		 stored_directory(all, 2, USER_DATA + 3 * SLOT));
	restore(&s, all);
	poke(&s, 2, USER_DATA + 3 * SLOT, 111);
	CHECK_EQ(peek(&s, 1, USER_DATA), 111);
	CHECK_EQ(peek(&s, 2, USER_DATA), 111);
	mote_snapshot_unref(all);
	system_close(&s);
}

/* The other host loses it. */
TEST(snapshot_i686__a_table_that_one_space_has_twice_is_kept_twice)
{
	struct system s;
	KERNEL(&s);
	CHECK_EQ(make(&s, 100), 1);
	(void)directory(&s, 1, USER_DATA + SLOT, directory(&s, 1, USER_DATA, 0));
	mote_snapshot *all = take_spaces(&s);
	check_tables(all, 2, 1);
	restore(&s, all);
	CHECK_EQ(peek(&s, 1, USER_DATA + SLOT), 100);
	poke(&s, 1, USER_DATA + SLOT, 112);
	CHECK_EQ(peek(&s, 1, USER_DATA), 112);
	mote_snapshot_unref(all);
	system_close(&s);
}

/* A directory in which the kernel's table is read-only, or the kernel's own, says so of its pages.
 */
TEST(snapshot_i686__what_a_directory_forbids_stays_forbidden)
{
	struct system s;
	KERNEL(&s);
	CHECK(make(&s, 100) == 1 && DO(&s, "bare") == 2);
	const uint32_t link = directory(&s, 1, USER_DATA, 0);
	(void)directory(&s, 2, USER_DATA, link & ~0x002u);
	(void)directory(&s, 2, USER_DATA + SLOT, link & ~USER);
	mote_snapshot *all = take_spaces(&s);
	CHECK_EQ(stored_leaf(all, 1, USER_DATA) & ~ADDRESS, LEAF_COW | USER);
	CHECK_EQ(stored_leaf(all, 2, USER_DATA) & ~ADDRESS, LEAF_RO | USER);
	CHECK_EQ(stored_leaf(all, 2, USER_DATA + SLOT) & ~ADDRESS, LEAF_COW);
	CHECK_EQ(stored_leaf(all, 1, USER_DATA) & ADDRESS,
		 stored_leaf(all, 2, USER_DATA) & ADDRESS);
	restore(&s, all);
	CHECK_EQ(peek(&s, 2, USER_DATA), 100);
	FAILS(&s, MOTE_EABORT, "Error code: 0x00000003", MOTE_U64, "poke", mote_u64(2),
	      mote_u64(USER_DATA), mote_u64(1));
	mote_snapshot_unref(all);
	system_close(&s);
}

TEST(snapshot_i686__a_root_that_is_listed_twice_is_one_root)
{
	struct system s;
	KERNEL(&s);
	CHECK_EQ(make(&s, 100), 1);
	struct list list = {
		4, {root_of(&s, 0), root_of(&s, 1), root_of(&s, 1) | 0xFFF, root_of(&s, 0) | 0x18}};
	mote_snapshot *a = take_list(&s, &list);
	CHECK_EQ(a->root_count, 2);
	CHECK_EQ(a->roots[1], a->roots[0] + PAGE);
	restore(&s, a);
	CHECK_EQ(run(&s, 1, 1), 101);
	mote_snapshot_unref(a);
	system_close(&s);
}

/* Whatever is said to be a root, there is a snapshot or an error, and the sandbox goes on. */
TEST(snapshot_i686__roots_that_are_wild_do_no_harm)
{
	struct system s;
	KERNEL(&s);
	const uint64_t scratch = GPA_END - SCRATCH;
	const uint64_t wild[] = {0,          PAGE,        0x2000,     0x3000,         0x30000000,
				 scratch,    scratch + 1, GPA_END,    GPA_END - 1,    0xFFFFF000,
				 1ull << 32, UINT64_MAX,  1ull << 63, GPA_END - PAGE, 0xFEE00FFF};
	unsigned made = 0;
	for (size_t i = 0; i < sizeof wild / sizeof *wild; i++) {
		struct list list = {3, {root_of(&s, 0), wild[i], wild[i] ^ 0x1000}};
		mote_snapshot *a;
		int rc = try_list(&s, &list, &a);
		CHECK(rc == MOTE_OK || rc == MOTE_ESNAPSHOT);
		CHECK_EQ(DO(&s, "halt", mote_u64(i)), i);
		if (rc < 0)
			continue;
		made++;
		restore(&s, a);
		CHECK_EQ(DO(&s, "halt", mote_u64(i)), i);
		mote_snapshot_unref(a);
		restore(&s, s.snapshot);
	}
	CHECK(made >= 8);
	/* The first one is where calls run. */
	struct list nowhere = {1, {0x30000000}};
	mote_snapshot *a = take_list(&s, &nowhere);
	restore(&s, a);
	FAILS(&s, MOTE_EPROTOCOL, "shutdown", MOTE_U64, "halt", mote_u64(1));
	restore(&s, s.snapshot);
	CHECK_EQ(DO(&s, "halt", mote_u64(1)), 1);
	mote_snapshot_unref(a);
	system_close(&s);
}

TEST(snapshot_i686__a_snapshot_begins_where_the_guest_was)
{
	struct system s;
	KERNEL(&s);
	CHECK(make(&s, 100) == 1 && make(&s, 200) == 2);
	(void)DO(&s, "move", mote_u64(2));
	/* Without a list that space alone: it is number 0 then. */
	mote_snapshot *a = take(&s);
	restore(&s, a);
	CHECK_EQ(a->root_count, 1);
	CHECK_EQ(peek(&s, 0, USER_DATA), 200);
	CHECK_EQ(run(&s, 0, 1), 201);
	uint32_t word = 0;
	OK(&s, mote_sandbox_read(s.sandbox, USER_DATA, &word, 4, &s.err));
	CHECK_EQ(word, 201);
	mote_snapshot_unref(a);
	system_close(&s);
}

/* ---- how tables are read --------------------------------------------------------------------- */

TEST(snapshot_i686__large_pages_are_read_as_small_ones)
{
	struct system s;
	KERNEL(&s);
	const uint32_t image = 0x60000000, scratch = 0x64000000, base = 0xFEC00000;
	uint32_t word = 0;
	(void)DO(&s, "cr4_", mote_u64(0x10), mote_u64(0));
	(void)directory(&s, 0, image, 0 | 0x023 | LARGE);
	(void)directory(&s, 0, scratch, base | 0x021 | USER | LARGE);
	const uint32_t gpa = new_page(&s, 0, 0x50000000, LEAF_RW);
	poke(&s, 0, 0x50000000, 0x1234);
	CHECK_EQ(peek(&s, 0, scratch + (gpa - base)), 0x1234);
	CHECK_EQ(peek(&s, 0, image + PAGE), peek(&s, 0, PAGE));
	OK(&s, mote_sandbox_read(s.sandbox, scratch + (gpa - base), &word, 4, &s.err));
	CHECK_EQ(word, 0x1234);
	CHECK_EQ(mote_sandbox_write(s.sandbox, image + PAGE, &word, 4, &s.err), MOTE_EADDR);
	mote_snapshot *a = take(&s);
	CHECK_EQ(stored_leaf(a, 0, image), 0); /* there is no memory */
	CHECK_EQ(stored_leaf(a, 0, image + PAGE), PAGE | LEAF_COW);
	CHECK_EQ(stored_leaf(a, 0, scratch + (gpa - base)) & ~ADDRESS, LEAF_RO | USER);
	CHECK_EQ(stored_leaf(a, 0, scratch + (gpa - base)) & ADDRESS,
		 stored_leaf(a, 0, 0x50000000) & ADDRESS);
	for (int i = 0; i < 2; i++) {
		restore(&s, a);
		CHECK_EQ(peek(&s, 0, scratch + (gpa - base)), 0x1234);
		CHECK_EQ(peek(&s, 0, image + PAGE), peek(&s, 0, PAGE));
		poke(&s, 0, image + PAGE, 0x99);
		CHECK_EQ(peek(&s, 0, image + PAGE), 0x99);
		CHECK(peek(&s, 0, PAGE) != 0x99);
		/* CR4.PSE is set still. */
		(void)directory(&s, 0, 0x68000000, base | 0x021 | LARGE);
		CHECK_EQ(peek(&s, 0, 0x68000000 + (peek(&s, 0, TOP - 0x18) - base)),
			 directory(&s, 0, 0, 0));
	}
	mote_snapshot_unref(a);
	system_close(&s);
}

TEST(snapshot_i686__a_write_of_the_host_splits_a_large_page)
{
	struct system s;
	KERNEL(&s);
	const uint32_t image = 0x60000000;
	const uint32_t word = 0x4713, old = peek(&s, 0, 3 * PAGE);
	(void)DO(&s, "cr4_", mote_u64(0x10), mote_u64(0));
	(void)directory(&s, 0, image, 0 | LEAF_COW | LARGE);
	OK(&s, mote_sandbox_write(s.sandbox, image + 3 * PAGE, &word, 4, &s.err));
	CHECK_EQ(peek(&s, 0, image + 3 * PAGE), word);
	CHECK_EQ(peek(&s, 0, 3 * PAGE), old);
	CHECK_EQ(leaf(&s, 0, image + 2 * PAGE), 2 * PAGE | LEAF_COW);
	CHECK_EQ(leaf_bits(&s, 0, image + 3 * PAGE), LEAF_RW);
	CHECK_EQ(leaf(&s, 0, image + SLOT - PAGE), (SLOT - PAGE) | LEAF_COW);
	/* Bits of an address that no guest has: it is mapped to nothing. */
	(void)directory(&s, 0, image + SLOT, 0x2000 | LEAF_COW | LARGE);
	uint32_t out;
	CHECK_EQ(mote_sandbox_read(s.sandbox, image + SLOT + PAGE, &out, 4, &s.err), MOTE_EADDR);
	mote_snapshot *a = take(&s);
	CHECK_EQ(stored_directory(a, 0, image + SLOT), 0);
	restore(&s, a);
	CHECK_EQ(peek(&s, 0, image + 3 * PAGE), word);
	mote_snapshot_unref(a);
	system_close(&s);
}

TEST(snapshot_i686__without_pse_every_entry_of_a_directory_is_a_table)
{
	struct system s;
	uint32_t word = 0;
	KERNEL(&s);
	CHECK_EQ(make(&s, 100), 1);
	(void)directory(&s, 1, USER_DATA, directory(&s, 1, USER_DATA, 0) | LARGE);
	(void)new_page(&s, 0, 0x60000000, LEAF_RW);
	(void)directory(&s, 0, 0x60000000, directory(&s, 0, 0x60000000, 0) | LARGE);
	poke(&s, 0, 0x60000000, 0x4711);
	CHECK_EQ(run(&s, 1, 1), 101);
	OK(&s, mote_sandbox_read(s.sandbox, 0x60000000, &word, 4, &s.err));
	CHECK_EQ(word, 0x4711);
	word = 0x4712;
	OK(&s, mote_sandbox_write(s.sandbox, 0x60000000, &word, 4, &s.err));
	CHECK_EQ(peek(&s, 0, 0x60000000), 0x4712);
	mote_snapshot *all = take_spaces(&s);
	CHECK_EQ(stored_directory(all, 1, USER_DATA) & (LINK | LARGE), LINK);
	CHECK_EQ(stored_leaf(all, 1, USER_DATA) & ~ADDRESS, LEAF_COW | USER);
	CHECK_EQ(stored_leaf(all, 1, USER_DATA + PAGE + SLOT), 0);
	restore(&s, all);
	CHECK_EQ(run(&s, 1, 1), 102);
	CHECK_EQ(peek(&s, 0, 0x60000000), 0x4712);
	mote_snapshot_unref(all);
	system_close(&s);
}

/* Its pages are copies of the tables that there were; the tables in use are others. */
TEST(snapshot_i686__a_directory_that_names_itself)
{
	struct system s;
	KERNEL(&s);
	const uint32_t self = 0xFF800000, at = self + (self >> 10) + (self >> 20);
	CHECK_EQ(make(&s, 100), 1);
	for (uint32_t space = 0; space < 2; space++) {
		const uint32_t link = (uint32_t)root_of(&s, space) | LEAF_RW;
		(void)directory(&s, space, self, link);
		CHECK_EQ(peek(&s, space, at) & ~(DIRTY | 0x020u), link & ~0x020u);
	}
	mote_snapshot *all = take_spaces(&s);
	restore(&s, all);
	CHECK_EQ(run(&s, 1, 1), 101);
	CHECK_EQ(peek(&s, 1, at) & 0x003, 0x003);
	mote_snapshot *again = take_spaces(&s);
	restore(&s, again);
	CHECK_EQ(run(&s, 1, 1), 102);
	mote_snapshot_unref(all);
	mote_snapshot_unref(again);
	system_close(&s);
}

TEST(snapshot_i686__a_guest_that_left_32_bit_paging_cannot_be_taken)
{
	struct system s;
	mote_snapshot *a = NULL;
	KERNEL(&s);
	mote_snapshot *good = take(&s);
	CHECK_EQ(DO(&s, "off_"), 0);
	CHECK_EQ(mote_snapshot_take(s.sandbox, NULL, &a, &s.err), MOTE_ESNAPSHOT);
	CHECK_HAS(s.err.message, "the guest left 32-bit paging (CR0 0x10011, CR4 0x0, EFER 0x0)");
	restore(&s, s.snapshot);
	CHECK_EQ(DO(&s, "pae_"), 0);
	CHECK_EQ(mote_snapshot_take(s.sandbox, NULL, &a, &s.err), MOTE_ESNAPSHOT);
	CHECK_HAS(s.err.message,
		  "the guest left 32-bit paging (CR0 0x80010011, CR4 0x20, EFER 0x0)");
	/* Anything can be put in its place. */
	restore(&s, good);
	CHECK_EQ(DO(&s, "trap"), 1);
	CHECK_EQ(DO(&s, "off_"), 0);
	system_again(&s);
	CHECK_EQ(DO(&s, "trap"), 1);
	CHECK(a == NULL);
	mote_snapshot_unref(good);
	system_close(&s);
}

/* ---- restore --------------------------------------------------------------------------------- */

static uint32_t descriptor_base(struct system *s)
{
	struct mote__special special;
	OK(s, s->sandbox->machine->ops->get_special(s->sandbox->machine, &special, &s->err));
	return (uint32_t)special.idt_base;
}

TEST(snapshot_i686__parent_child_sibling_and_the_image_can_be_restored)
{
	struct system s;
	KERNEL(&s);
	CHECK_EQ(make(&s, 100), 1);
	mote_snapshot *parent = take_spaces(&s);
	CHECK_EQ(run(&s, 1, 1), 101);
	(void)DO(&s, "cr4_", mote_u64(0x10), mote_u64(0));
	mote_snapshot *child = take_spaces(&s);
	restore(&s, parent);
	CHECK_EQ(run(&s, 1, 2), 102);
	mote_snapshot *sibling = take_spaces(&s);
	mote_snapshot *const order[] = {child,   sibling, parent,     s.snapshot,
					sibling, child,   s.snapshot, parent};
	for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
		/* Whatever it was, and whether or not it can go on. */
		if (i % 2)
			(void)DO(&s, i % 4 == 1 ? "off_" : "pae_");
		restore(&s, order[i]);
		if (order[i] == s.snapshot) {
			CHECK_EQ(mote_sandbox_state(s.sandbox), MOTE_STATE_NEW);
			CHECK_EQ(make(&s, 99), 1);
			CHECK_EQ(run(&s, 1, 1), 100);
			continue;
		}
		CHECK_EQ(peek(&s, 1, USER_DATA), order[i] == child     ? 101
						 : order[i] == sibling ? 102
								       : 100);
		CHECK(descriptor_base(&s) != 0);
		struct mote__special special;
		OK(&s, s.sandbox->machine->ops->get_special(s.sandbox->machine, &special, &s.err));
		CHECK_EQ(special.cr4, order[i] == child ? 0x10 : 0);
		CHECK_EQ(special.cr0, 0x80010011);
		CHECK_EQ(DO(&s, "trap"), 1);
	}
	mote_snapshot_unref(parent);
	mote_snapshot_unref(child);
	mote_snapshot_unref(sibling);
	system_close(&s);
}

TEST(snapshot_i686__a_process_that_was_cancelled_in_ring_3_leaves_nothing)
{
	struct system s;
	KERNEL(&s);
	CHECK_EQ(make(&s, 100), 1);
	mote_snapshot *all = take_spaces(&s);
	for (int i = 0; i < 3; i++) {
		struct mote_call call =
			*CALL_OF("run_", MOTE_U64, mote_u64(1), mote_u64(0), mote_u64(I686_LOOP));
		call.timeout_ns = 20000000;
		CHECK_EQ(mote_sandbox_call(s.sandbox, &call, NULL, &s.err), MOTE_ECANCELED);
		CHECK_EQ(s.err.poisoned, 1);
		restore(&s, i % 2 ? s.snapshot : all);
		if (i % 2)
			CHECK_EQ(make(&s, 100), 1);
		CHECK_EQ(run(&s, 1, 1), 101);
		CHECK_EQ(DO(&s, "trap"), 1);
	}
	mote_snapshot_unref(all);
	system_close(&s);
}

TEST(snapshot_i686__a_large_heap_comes_back)
{
	struct system s;
	const uint64_t bytes = 512ull << 20;
	KERNEL(&s, .snapshot = {.heap_bytes = bytes, .scratch_bytes = 0x200000});
	const uint64_t last = DO(&s, "peb_") + PAGE + bytes - 4;
	CHECK_EQ(peek(&s, 0, last), 0);
	CHECK_EQ(leaf(&s, 0, last), (last & ADDRESS) | LEAF_COW);
	poke(&s, 0, last, 0x55);
	mote_snapshot *a = take(&s);
	poke(&s, 0, last, 0x66);
	restore(&s, a);
	CHECK_EQ(peek(&s, 0, last), 0x55);
	poke(&s, 0, last - bytes / 2, 0x77);
	CHECK_EQ(peek(&s, 0, last - bytes / 2), 0x77);
	mote_snapshot_unref(a);
	system_close(&s);
}

TEST(snapshot_i686__guests_of_64_and_of_32_bits_do_not_mix)
{
	struct system s, wide;
	KERNEL(&s);
	OPEN(&wide, "stock_probe");
	(void)DO(&s, "trap");
	mote_snapshot *a = take(&s);
	mote_snapshot *const narrow[] = {s.snapshot, a};
	for (int i = 0; i < 2; i++) {
		CHECK_EQ(mote_sandbox_restore(wide.sandbox, narrow[i], NULL, &s.err),
			 MOTE_ESNAPSHOT);
		CHECK_HAS(s.err.message,
			  "the snapshot is of a guest of 32 bits, the sandbox has one "
			  "of 64 bits");
	}
	CHECK_EQ(mote_sandbox_restore(s.sandbox, wide.snapshot, NULL, &s.err), MOTE_ESNAPSHOT);
	CHECK_HAS(s.err.message,
		  "the snapshot is of a guest of 64 bits, the sandbox has one of 32 bits");
	CHECK_EQ(CALL_U64(&wide, "halt", mote_u64(5)), 5);
	CHECK_EQ(DO(&s, "trap"), 2);
	mote_snapshot_unref(a);
	system_close(&wide);
	system_close(&s);
}

TEST(snapshot_i686__the_pool_keeps_guests_of_64_and_of_32_bits_apart)
{
	struct system s, wide;
	mote_engine *engine = NULL;
	const struct mote_engine_options options = {.size = sizeof options, .pool_max = 8};
	KERNEL(&s);
	OPEN(&wide, "stock_probe");
	(void)DO(&s, "trap");
	mote_snapshot *a = take(&s);
	OK(&s, mote_engine_create(&options, &engine, &s.err));
	OK(&s, mote_engine_fill(engine, s.snapshot, 2, &s.err));
	OK(&s, mote_engine_fill(engine, wide.snapshot, 2, &s.err));
	mote_sandbox *made[8];
	for (unsigned i = 0; i < 8; i++) {
		mote_snapshot *const of = i % 2 ? wide.snapshot : i % 4 ? a : s.snapshot;
		OK(&s, mote_sandbox_create(engine, of, s.host, NULL, &made[i], &s.err));
	}
	for (unsigned i = 0; i < 16; i++) {
		mote_sandbox *keep = s.sandbox;
		const bool is_wide = i % 2;
		s.sandbox = made[i % 8];
		if (is_wide)
			CHECK_EQ(CALL_U64(&s, "halt", mote_u64(i)), i);
		else
			CHECK_EQ(DO(&s, "trap"), (i % 4 ? 2 : 1) + i / 8);
		s.sandbox = keep;
	}
	/* Shells that come back are used for their own kind. */
	for (unsigned i = 0; i < 8; i++)
		mote_sandbox_destroy(made[i]);
	for (unsigned i = 0; i < 8; i++) {
		mote_sandbox *keep = s.sandbox;
		OK(&s, mote_sandbox_create(engine, i < 4 ? wide.snapshot : a, s.host, NULL,
					   &s.sandbox, &s.err));
		if (i < 4)
			CHECK_EQ(CALL_U64(&s, "halt", mote_u64(i)), i);
		else
			CHECK_EQ(DO(&s, "trap"), 2);
		made[i] = s.sandbox;
		s.sandbox = keep;
	}
	for (unsigned i = 0; i < 8; i++)
		mote_sandbox_destroy(made[i]);
	mote_snapshot_unref(a);
	mote_engine_unref(engine);
	system_close(&wide);
	system_close(&s);
}

/* ---- identity -------------------------------------------------------------------------------- */

TEST(snapshot_i686__equal_states_have_equal_digests)
{
	struct system s;
	uint8_t digest[4][MOTE_DIGEST_BYTES];
	mote_snapshot *taken[3], *flat = NULL;
	make_family(&s);
	mote_snapshot *all = take_spaces(&s);
	for (unsigned i = 0; i < 3; i++) {
		if (i == 1)
			fork_of(&s, all);
		else
			restore(&s, all);
		CHECK_EQ(run(&s, 2, i / 2 + 1), 200 + i / 2 + 1);
		taken[i] = take_spaces(&s);
		OK(&s, mote_snapshot_digest(taken[i], digest[i], &s.err));
	}
	OK(&s, mote_snapshot_flatten(taken[0], &flat, &s.err));
	OK(&s, mote_snapshot_digest(flat, digest[3], &s.err));
	CHECK_MEM(digest[0], digest[1], MOTE_DIGEST_BYTES);
	CHECK_MEM(digest[0], digest[3], MOTE_DIGEST_BYTES);
	CHECK(memcmp(digest[0], digest[2], MOTE_DIGEST_BYTES) != 0);
	for (unsigned i = 0; i < 3; i++)
		mote_snapshot_unref(taken[i]);
	mote_snapshot_unref(flat);
	mote_snapshot_unref(all);
	system_close(&s);
}
