/* SPDX-License-Identifier: MIT */
/* Snapshots of guests that own their page tables: what is kept, what is shared, what is dropped. */
#include "stock_world.h"

#include <stdlib.h>

#include "core/vcpu.h"

#define MSR_KERNEL_GS_BASE 0xC0000102u

static uint64_t at[8]; /* what the guest wants to be known: roots, pages */

static uint64_t layer_bytes(const mote_snapshot *s, uint32_t index)
{
	struct mote_layer layer;
	CHECK_EQ(mote_snapshot_get_layer(s, index, &layer), MOTE_OK);
	return layer.bytes;
}

/* ---- roots ----------------------------------------------------------------------------------- */

/* Two spaces: the second also has a page at SPACE(1), the first another one there. */
static void make_two_roots(struct double_machine *m)
{
	at[0] = root_of(m);
	at[1] = copy_root(m, at[0]);
	map_page(m, at[0], SPACE(1), new_page(m, 0x1111) | LEAF_RW);
	map_page(m, at[1], SPACE(1), new_page(m, 0x2222) | LEAF_RW);
}

static void use_the_second(struct double_machine *m)
{
	make_two_roots(m);
	m->special.cr3 = at[1] | 0x18;
}

TEST_FORMATS(take_stock__the_space_of_cr3_is_kept)
{
	uint64_t word = 0;
	stock_ready_in(shape, NULL);
	stock_run(use_the_second);
	mote_snapshot *s = stock_take();
	mote_sandbox *fork = stock_fork(s);
	const struct double_machine *m = machine_of(fork);
	CHECK_EQ(m->special.cr3, s->layout.scratch_gpa + s->layout.tables_offset);
	CHECK_EQ(value_at(m, root_of(m), SPACE(1)), 0x2222);
	OK(&w, mote_snapshot_read(s, SPACE(1), &word, sizeof word, &w.err));
	CHECK_EQ(word, 0x2222);
	/* The sandbox goes on in its own. */
	CHECK_EQ(w.machine->special.cr3, at[1] | 0x18);
	OK(&w, world_call(&w, MOTE_VOID, NULL));
	mote_sandbox_destroy(fork);
	mote_snapshot_unref(s);
	world_free(&w);
}

TEST_FORMATS(take_stock__a_fork_that_has_not_run_is_in_the_space_that_it_starts_in)
{
	const struct mote_metadata name = {"a", "1"};
	const struct mote_take_options o = {
		.size = sizeof o, .metadata = &name, .metadata_count = 1};
	mote_snapshot *again = NULL;
	stock_ready_in(shape, NULL);
	stock_run(use_the_second);
	mote_snapshot *s = stock_take();
	mote_sandbox *fork = stock_fork(s);
	OK(&w, mote_snapshot_take(fork, &o, &again, &w.err));
	mote_sandbox *second = stock_fork(again);
	const struct double_machine *m = machine_of(second);
	CHECK_EQ(value_at(m, root_of(m), SPACE(1)), 0x2222);
	CHECK_EQ(leaf_gpa(m, root_of(m), DATA(0)), DATA(0));
	/* Nothing changed, so there is nothing to store. */
	CHECK_EQ(stock_info(again).layer_count, stock_info(s).layer_count);
	mote_sandbox_destroy(fork);
	mote_sandbox_destroy(second);
	mote_snapshot_unref(again);
	mote_snapshot_unref(s);
	world_free(&w);
}

struct finder {
	uint64_t roots[4];
	uint32_t count;
	uint32_t calls;
	uint64_t cr3;
};

static uint32_t find_these(void *cookie, mote_sandbox *sandbox, uint64_t cr3, uint64_t *roots,
			   uint32_t room)
{
	struct finder *f = cookie;
	uint64_t word = 0;
	f->calls++;
	f->cr3 = cr3;
	CHECK_EQ(room, MOTE_MAX_ROOTS);
	CHECK_EQ(mote_sandbox_read(sandbox, DATA(0), &word, sizeof word, NULL), MOTE_OK);
	for (uint32_t i = 0; i < f->count && i < room; i++)
		roots[i] = f->roots[i % 4];
	return f->count;
}

static int take_roots(struct finder *f, mote_snapshot **s)
{
	const struct mote_take_options o = {
		.size = sizeof o, .find_roots = find_these, .cookie = f};
	return mote_snapshot_take(w.sandbox, &o, s, &w.err);
}

TEST_FORMATS(take_stock__all_roots_are_kept_and_the_first_one_starts)
{
	mote_snapshot *s = NULL;
	stock_ready_in(shape, NULL);
	stock_run(make_two_roots);
	struct finder f = {.roots = {at[1], at[0] | 0xFFF, at[1]}, .count = 3};
	OK(&w, take_roots(&f, &s));
	CHECK(f.calls == 1 && f.cr3 == at[0]);
	mote_sandbox *fork = stock_fork(s);
	const struct double_machine *m = machine_of(fork);
	CHECK_EQ(s->root_count, 2);
	CHECK(s->roots[0] == m->special.cr3);
	CHECK(s->roots[1] != s->roots[0]);
	CHECK_EQ(value_at(m, s->roots[0], SPACE(1)), 0x2222);
	CHECK_EQ(value_at(m, s->roots[1], SPACE(1)), 0x1111);
	CHECK_EQ(value_at(m, s->roots[1], DATA(3)), 0);
	/* Scratch is in each of them, new. */
	const struct mote__layout *l = &s->layout;
	for (unsigned i = 0; i < 2; i++)
		for (uint64_t page = 0; page < l->scratch_bytes; page += PAGE) {
			const uint64_t gva = l->scratch_gva + page;
			CHECK_EQ(leaf_gpa(m, s->roots[i], gva), l->scratch_gpa + page);
			CHECK_EQ(leaf_flags(m, s->roots[i], gva), bits_of(LEAF_RW | NX));
		}
	mote_sandbox_destroy(fork);
	mote_snapshot_unref(s);
	world_free(&w);
}

TEST(take_stock__roots_are_found_before_a_guest_has_run_and_not_in_confined_ones)
{
	mote_snapshot *s = NULL, *image = NULL;
	const struct tiny_options confined = {.is_confined = true};
	struct finder f = {.count = 0};
	stock_ready(NULL);
	OK(&w, mote_sandbox_restore(w.sandbox, w.snapshot, NULL, &w.err));
	OK(&w, mote_sandbox_write(w.sandbox, DATA(3), "x", 1, &w.err));
	OK(&w, take_roots(&f, &s));
	CHECK(f.calls == 1 && f.cr3 == root_of(w.machine) && !stock_info(s).is_ready);
	mote_snapshot_unref(s);
	const struct tiny_image tiny = tiny_guest(&confined);
	OK(&w, mote_snapshot_from_memory(tiny.bytes, tiny.len, NULL, &image, &w.err));
	mote_sandbox_destroy(w.sandbox);
	w.sandbox = stock_fork(image);
	OK(&w, mote_sandbox_start(w.sandbox, 0, &w.err));
	OK(&w, take_roots(&f, &s));
	CHECK(f.calls == 1 && stock_info(s).is_ready);
	mote_snapshot_unref(s);
	mote_snapshot_unref(image);
	world_free(&w);
}

TEST_FORMATS(take_stock__no_root_means_cr3_and_there_is_a_most)
{
	mote_snapshot *s = NULL, *many = NULL;
	stock_ready_in(shape, NULL);
	stock_run(use_the_second);
	struct finder f = {.count = 0};
	OK(&w, take_roots(&f, &s));
	CHECK(f.calls == 1 && f.cr3 == (at[1] | 0x18) && s->root_count == 1);
	mote_sandbox *fork = stock_fork(s);
	CHECK_EQ(value_at(machine_of(fork), s->roots[0], SPACE(1)), 0x2222);
	mote_sandbox_destroy(fork);
	stock_run(NULL);
	f = (struct finder){.roots = {at[0], at[1], at[0], at[1]}, .count = MOTE_MAX_ROOTS + 1};
	FAILS(&w, take_roots(&f, &many), MOTE_EINVAL);
	CHECK_STR(w.err.message, "find_roots found 257 roots, at most 256");
	f.count = UINT32_MAX;
	FAILS(&w, take_roots(&f, &many), MOTE_EINVAL);
	CHECK(!many && mote_sandbox_state(w.sandbox) == MOTE_STATE_READY);
	f.count = MOTE_MAX_ROOTS;
	OK(&w, take_roots(&f, &many));
	CHECK(many->root_count == 2 && many->roots[1] != many->roots[0]);
	mote_snapshot_unref(s);
	mote_snapshot_unref(many);
	world_free(&w);
}

/* ---- how tables are read --------------------------------------------------------------------- */

TEST_FORMATS(take_stock__a_guest_that_changed_its_kind_of_paging_is_refused)
{
	const struct {
		uint64_t cr0, cr4, efer;                         /* bits that change */
	} rows[] = {{1ull << 31, 0, 0},                          /* no paging */
		    {0, 0x20, 0},                                /* PAE */
		    {0, shape->levels == 4 ? 0x1000u : 0x20, 0}, /* five levels */
		    {0, 0, 0x400}};                              /* long mode */
	mote_snapshot *s = NULL;
	stock_ready_in(shape, NULL);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct mote__special *special = &w.machine->special;
		const struct mote__special before = *special;
		special->cr0 ^= rows[i].cr0;
		special->cr4 ^= rows[i].cr4;
		special->efer ^= rows[i].efer;
		FAILS(&w, mote_snapshot_take(w.sandbox, NULL, &s, &w.err), MOTE_ESNAPSHOT);
		CHECK_HAS(w.err.message, shape->levels == 4
						 ? "the guest left 4-level paging (CR0 0x"
						 : "the guest left 32-bit paging (CR0 0x");
		CHECK(!s);
		*special = before;
		OK(&w, world_call(&w, MOTE_VOID, NULL));
	}
	s = stock_take();
	mote_snapshot_unref(s);
	world_free(&w);
}

TEST(take_stock__guests_of_other_bits_are_not_restored_to_each_other)
{
	for (unsigned bits = 32; bits <= 64; bits += 32) {
		const struct shape *shape =
			shape_of(bits == 64 ? &mote__pt_x86_64 : &mote__pt_i686);
		const struct tiny_options other = {.bits = 96 - bits};
		mote_snapshot *image = NULL;
		stock_ready_in(shape, NULL);
		const struct tiny_image tiny = tiny_guest(&other);
		OK(&w, mote_snapshot_from_memory(tiny.bytes, tiny.len, NULL, &image, &w.err));
		FAILS(&w, mote_sandbox_restore(w.sandbox, image, NULL, &w.err), MOTE_ESNAPSHOT);
		CHECK_STR(w.err.message,
			  bits == 64 ? "the snapshot is of a guest of 32 bits, the sandbox has one "
				       "of 64 bits"
				     : "the snapshot is of a guest of 64 bits, the sandbox has one "
				       "of 32 bits");
		OK(&w, world_call(&w, MOTE_VOID, NULL));
		mote_snapshot_unref(image);
		world_free(&w);
	}
}

/* ---- pages ----------------------------------------------------------------------------------- */

static const struct {
	uint64_t link, have, want;
} kinds[] = {
	{LINK, LEAF_COW | NX, LEAF_COW | NX},
	{LINK, LEAF_COW, LEAF_COW},
	{LINK, LEAF_RW | NX, LEAF_COW | NX},
	{LINK, LEAF_RW, LEAF_COW},
	{LINK, LEAF_RO | NX, LEAF_RO | NX},
	{LINK, LEAF_RO, LEAF_RO},
	/* The mark of copy-on-write decides, whatever the processor may write. */
	{LINK, LEAF_COW | 2 | NX, LEAF_COW | NX},
	/* Accessed, dirty, global and how it is cached are nobody's. */
	{LINK, 0x001, LEAF_RO},
	{LINK, 0x11B | NX, LEAF_COW | NX},
	/* Other marks of software are none. */
	{LINK, LEAF_RW | 0x400 | NX, LEAF_COW | NX},
	{LINK, LEAF_RO | 0x600 | NX, LEAF_RO | NX},
	{LINK | USER, LEAF_RW | USER | NX, LEAF_COW | USER | NX},
	{LINK | USER, LEAF_COW | USER, LEAF_COW | USER},
	{LINK | USER, LEAF_RO | USER, LEAF_RO | USER},
	{LINK | USER, LEAF_RO | NX, LEAF_RO | NX},
	/* What a table above denies stays denied. */
	{LINK, LEAF_RO | USER, LEAF_RO},
	{LINK & ~2ull, LEAF_RW | NX, LEAF_RO | NX},
	{LINK | NX, LEAF_RW, LEAF_COW | NX},
};
#define KINDS (sizeof kinds / sizeof *kinds)

static void map_all_kinds(struct double_machine *m)
{
	for (unsigned i = 0; i < KINDS; i++)
		set_entry(m, root_of(m), SPACE(i + 1), 1, kinds[i].link,
			  new_page(m, 0x1000 + i) | kinds[i].have);
}

static void check_all_kinds(mote_snapshot *s)
{
	mote_sandbox *fork = stock_fork(s);
	const struct double_machine *m = machine_of(fork);
	for (unsigned i = 0; i < KINDS; i++) {
		struct mote__pt_translation t;
		CHECK_EQ(value_at(m, root_of(m), SPACE(i + 1)), 0x1000 + i);
		CHECK_EQ(leaf_flags(m, root_of(m), SPACE(i + 1)), bits_of(kinds[i].want));
		/* Ring 3 reaches what was its own through all levels. */
		CHECK(view(m, root_of(m), SPACE(i + 1), &t));
		CHECK_EQ(t.effective.user, (kinds[i].want & USER) != 0);
		CHECK_EQ(t.effective.exec, (bits_of(kinds[i].want) & NX) == 0);
		CHECK(!t.effective.writable && t.effective.cow == !!(kinds[i].want & 0x200));
	}
	mote_sandbox_destroy(fork);
}

TEST_FORMATS(take_stock__pages_allow_what_they_allowed_and_copies_of_what_was_writable)
{
	mote_snapshot *flat = NULL;
	const struct mote_snapshot_options o = {.size = sizeof o, .scratch_bytes = 0x100000};
	stock_ready_in(shape, &o);
	stock_run(map_all_kinds);
	mote_snapshot *s = stock_take();
	check_all_kinds(s);
	OK(&w, mote_snapshot_flatten(s, &flat, &w.err));
	check_all_kinds(flat);
	mote_snapshot_unref(s);
	mote_snapshot_unref(flat);
	world_free(&w);
}

static void map_one_page_often(struct double_machine *m)
{
	const uint64_t page = new_page(m, 0x77);
	map_page(m, root_of(m), SPACE(1), page | LEAF_RW);
	map_page(m, root_of(m), SPACE(1) + PAGE, page | LEAF_RO | NX);
	map_page(m, root_of(m), SPACE(2), page | LEAF_COW);
	/* And one of the image. */
	map_page(m, root_of(m), SPACE(2) + 5 * PAGE, DATA(0) | LEAF_RO | NX);
}

TEST_FORMATS(take_stock__a_page_at_several_addresses_is_stored_once)
{
	mote_snapshot *flat = NULL;
	stock_ready_in(shape, NULL);
	stock_run(map_one_page_often);
	mote_snapshot *s = stock_take();
	OK(&w, mote_snapshot_flatten(s, &flat, &w.err));
	CHECK(stock_info(s).layer_count == 2 && layer_bytes(s, 1) == PAGE);
	mote_snapshot *const both[] = {s, flat};
	for (unsigned i = 0; i < 2; i++) {
		mote_sandbox *fork = stock_fork(both[i]);
		const struct double_machine *m = machine_of(fork);
		const uint64_t root = root_of(m), gpa = leaf_gpa(m, root, SPACE(1));
		CHECK_EQ(value_at(m, root, SPACE(1)), 0x77);
		CHECK_EQ(leaf_gpa(m, root, SPACE(1) + PAGE), gpa);
		CHECK_EQ(leaf_gpa(m, root, SPACE(2)), gpa);
		CHECK_EQ(leaf_gpa(m, root, SPACE(2) + 5 * PAGE), leaf_gpa(m, root, DATA(0)));
		mote_sandbox_destroy(fork);
	}
	mote_snapshot_unref(s);
	mote_snapshot_unref(flat);
	world_free(&w);
}

static void map_zeroes(struct double_machine *m)
{
	for (unsigned i = 0; i < 4; i++)
		map_page(m, root_of(m), SPACE(1) + i * PAGE, new_page(m, 0) | LEAF_RW);
	const uint64_t last = new_page(m, 0);
	words_at(m, last)[511] = 1ull << 56;
	map_page(m, root_of(m), SPACE(1) + 4 * PAGE, last | LEAF_RW);
}

TEST_FORMATS(take_stock__pages_of_zeroes_are_stored_once_for_all)
{
	stock_ready_in(shape, NULL);
	stock_run(map_zeroes);
	mote_snapshot *s = stock_take();
	CHECK_EQ(layer_bytes(s, 1), 2 * PAGE);
	OK(&w, mote_sandbox_restore(w.sandbox, s, NULL, &w.err));
	const struct double_machine *m = w.machine;
	for (unsigned i = 0; i < 4; i++)
		CHECK(value_at(m, root_of(m), SPACE(1) + i * PAGE) == 0 &&
		      leaf_gpa(m, root_of(m), SPACE(1) + i * PAGE) ==
			      leaf_gpa(m, root_of(m), SPACE(1)));
	CHECK_EQ(words_at(m, leaf_gpa(m, root_of(m), SPACE(1) + 4 * PAGE))[511], 1ull << 56);
	/* The next one has a page of zeroes already. */
	stock_run(map_zeroes);
	mote_snapshot *next = stock_take();
	CHECK(stock_info(next).layer_count == 3 && layer_bytes(next, 2) == PAGE);
	mote_snapshot_unref(s);
	mote_snapshot_unref(next);
	world_free(&w);
}

/* ---- tables ---------------------------------------------------------------------------------- */

/* Two spaces that share the tables of SPACE(3), and within them one leaf table twice; the second
 * also has them at SPACE(6). */
static void share_tables(struct double_machine *m)
{
	at[0] = root_of(m);
	map_page(m, at[0], SPACE(3), new_page(m, 0x33) | LEAF_RW);
	set_entry(m, at[0], SPACE(3) + shape_bytes(stock_shape, 2), 2, LINK,
		  table_at(m, at[0], SPACE(3), 1, LINK) | LINK);
	at[1] = copy_root(m, at[0]);
	map_page(m, at[1], SPACE(5), new_page(m, 0x55) | LEAF_RW);
	put_entry(m, at[1], 6, get_entry(m, at[1], 3));
}

static void check_shared(mote_snapshot *s, unsigned entry)
{
	mote_sandbox *fork = stock_fork(s);
	const struct double_machine *m = machine_of(fork);
	const uint64_t *roots = s->roots;
	const uint64_t other = SPACE(3) + shape_bytes(stock_shape, 2);
	CHECK_EQ(s->root_count, 2);
	CHECK(roots[0] == root_of(m) && roots[1] == roots[0] + PAGE);
	CHECK_EQ(get_entry(m, roots[0], 3), get_entry(m, roots[1], 3));
	CHECK_EQ(get_entry(m, roots[0], 3), get_entry(m, roots[1], 6));
	CHECK_EQ(table_at(m, roots[0], SPACE(3), 1, 0), table_at(m, roots[1], other, 1, 0));
	CHECK(value_at(m, roots[0], SPACE(3)) == 0x33 && value_at(m, roots[1], other) == 0x33);
	CHECK(leaf_gpa(m, roots[0], SPACE(5)) == 0 && value_at(m, roots[1], SPACE(5)) == 0x55);
	/* A new page through one space is in the other, at both addresses. */
	map_page(m, roots[1], other + entry * PAGE, new_page(m, 0x77) | LEAF_RW);
	CHECK_EQ(value_at(m, roots[0], SPACE(3) + entry * PAGE), 0x77);
	CHECK_EQ(value_at(m, roots[0], other + entry * PAGE), 0x77);
	CHECK_EQ(value_at(m, roots[1], SPACE(3) + entry * PAGE), 0x77);
	CHECK_EQ(value_at(m, roots[1], SPACE(6) + entry * PAGE), 0x77);
	/* What they do not share they do not. */
	map_page(m, roots[1], SPACE(5) + PAGE, new_page(m, 0x66) | LEAF_RW);
	CHECK_EQ(leaf_gpa(m, roots[0], SPACE(5) + PAGE), 0);
	mote_sandbox_destroy(fork);
}

TEST_FORMATS(take_stock__a_shared_table_stays_shared)
{
	mote_snapshot *s = NULL, *flat = NULL, *again = NULL, *child = NULL;
	stock_ready_in(shape, NULL);
	stock_run(share_tables);
	struct finder f = {.roots = {at[0], at[1]}, .count = 2};
	OK(&w, take_roots(&f, &s));
	check_shared(s, 1);
	OK(&w, mote_snapshot_flatten(s, &flat, &w.err));
	check_shared(flat, 2);
	OK(&w, mote_snapshot_flatten(flat, &again, &w.err));
	check_shared(again, 3);
	/* And in a child of a sandbox that was restored. */
	OK(&w, mote_sandbox_restore(w.sandbox, s, NULL, &w.err));
	stock_run(NULL);
	f = (struct finder){.roots = {s->roots[0], s->roots[1]}, .count = 2};
	OK(&w, take_roots(&f, &child));
	CHECK(f.cr3 == s->roots[0] && child != s);
	check_shared(child, 4);
	mote_snapshot *const all[] = {s, flat, again, child};
	for (unsigned i = 0; i < 4; i++)
		mote_snapshot_unref(all[i]);
	world_free(&w);
}

static void map_over_the_library(struct double_machine *m)
{
	const struct mote__layout *l = &w.snapshot->layout;
	const unsigned last = shape_entries(stock_shape) - 1;
	const uint64_t root = root_of(m);
	map_page(m, root, SPACE((last + 1) / 2) - PAGE, new_page(m, 4) | LEAF_RW);
	map_page(m, root, l->scratch_gva - PAGE, new_page(m, 5) | LEAF_RW);
	/* In the map of scratch itself, and behind it where there is such an address. */
	map_page(m, root, l->scratch_gva + 60 * PAGE, new_page(m, 6) | LEAF_RO);
	if (l->family->scratch_gva_end == 0xFFFFFFFFFFFFF000)
		map_page(m, root, 0xFFFFFFFFFFFFF000, new_page(m, 7) | LEAF_RW);
	/* All of scratch once more, by the same tables. */
	put_entry(m, root, last - 2, get_entry(m, root, last));
	if (!l->family->reserved_first)
		return;
	map_page(m, root, 0xFFFF800000000000, new_page(m, 1) | LEAF_RW);
	map_page(m, root, 0xFFFF80FFFFFFF000, new_page(m, 2) | LEAF_RW);
	map_page(m, root, 0xFFFF810000000000, new_page(m, 3) | LEAF_RW);
}

static void check_reserved(const struct double_machine *m)
{
	CHECK_EQ(leaf_gpa(m, root_of(m), 0xFFFF800000000000), 0);
	CHECK_EQ(leaf_gpa(m, root_of(m), 0xFFFF80FFFFFFF000), 0);
	CHECK_EQ(value_at(m, root_of(m), 0xFFFF810000000000), 3);
	CHECK_EQ(leaf_gpa(m, root_of(m), 0xFFFFFFFFFFFFF000), 0);
}

TEST_FORMATS(take_stock__the_reserved_range_and_the_map_of_scratch_are_dropped)
{
	stock_ready_in(shape, NULL);
	const struct mote__layout *l = &w.snapshot->layout;
	const unsigned entries = shape_entries(shape);
	const uint64_t alias =
		shape_canonical(shape, SPACE(entries - 3) + l->scratch_gva % SPACE(1));
	stock_run(map_over_the_library);
	words_at(w.machine, GPA_END - 2 * PAGE)[0] = 0x99;
	mote_snapshot *s = stock_take();
	mote_sandbox *fork = stock_fork(s);
	const struct double_machine *m = machine_of(fork);
	const uint64_t root = root_of(m);
	if (l->family->reserved_first)
		check_reserved(m);
	CHECK_EQ(value_at(m, root, SPACE(entries / 2) - PAGE), 4);
	CHECK_EQ(value_at(m, root, l->scratch_gva - PAGE), 5);
	for (uint64_t page = 0; page < l->scratch_bytes; page += PAGE) {
		CHECK_EQ(leaf_gpa(m, root, l->scratch_gva + page), l->scratch_gpa + page);
		CHECK_EQ(leaf_flags(m, root, l->scratch_gva + page), bits_of(LEAF_RW | NX));
	}
	/* At the other address it is memory like all other: a copy. */
	const uint64_t other = alias + l->scratch_bytes - 2 * PAGE;
	CHECK_EQ(value_at(m, root, other), 0x99);
	CHECK_EQ(leaf_flags(m, root, other), bits_of(LEAF_COW | NX));
	CHECK(leaf_gpa(m, root, other) < s->memory_end);
	CHECK_EQ(value_at(m, root, l->scratch_gva + l->scratch_bytes - 2 * PAGE), 0);
	mote_sandbox_destroy(fork);
	mote_snapshot_unref(s);
	world_free(&w);
}

static void map_nowhere(struct double_machine *m)
{
	const uint64_t root = root_of(m);
	const uint64_t nowhere[] = {
		0,       w.snapshot->memory_end, 0x80000000,
		GPA_END, stock_shape->address,   w.snapshot->layout.scratch_gpa - PAGE};
	for (unsigned i = 0; i < 6; i++)
		map_page(m, root, SPACE(1) + i * PAGE, nowhere[i] | LEAF_RW);
	map_page(m, root, SPACE(1) + 6 * PAGE, new_page(m, 0x88) | LEAF_RW);
	/* Tables, too. */
	for (unsigned i = 0; i < 6; i++)
		put_entry(m, root, 10 + i, nowhere[i] | LINK);
}

TEST_FORMATS(take_stock__what_is_no_memory_is_dropped)
{
	stock_ready_in(shape, NULL);
	stock_run(map_nowhere);
	mote_snapshot *s = stock_take();
	mote_sandbox *fork = stock_fork(s);
	const struct double_machine *m = machine_of(fork);
	struct mote__pt_translation t;
	for (unsigned i = 0; i < 6; i++) {
		CHECK(!view(m, root_of(m), SPACE(1) + i * PAGE, &t));
		CHECK(!view(m, root_of(m), SPACE(10 + i), &t));
	}
	CHECK_EQ(value_at(m, root_of(m), SPACE(1) + 6 * PAGE), 0x88);
	mote_sandbox_destroy(fork);
	mote_snapshot_unref(s);
	world_free(&w);
}

/* ---- layers ---------------------------------------------------------------------------------- */

static void write_two_pages(struct double_machine *m)
{
	map_page(m, root_of(m), DATA(4), new_page(m, 0x44) | LEAF_RW);
	map_page(m, root_of(m), DATA(5), new_page(m, 0x55) | LEAF_RW);
}

static void write_one_page(struct double_machine *m)
{
	map_page(m, root_of(m), DATA(5), new_page(m, 0x66) | LEAF_RW);
}

TEST_FORMATS(take_stock__layers_are_shared_and_their_pages_stay_in_place)
{
	struct mote_layer a, b;
	stock_ready_in(shape, NULL);
	stock_run(write_two_pages);
	mote_snapshot *s = stock_take();
	OK(&w, mote_sandbox_restore(w.sandbox, s, NULL, &w.err));
	const uint64_t gpa = leaf_gpa(w.machine, root_of(w.machine), DATA(4));
	stock_run(write_one_page);
	mote_snapshot *child = stock_take();
	CHECK(stock_info(s).layer_count == 2 && stock_info(child).layer_count == 3);
	for (uint32_t i = 0; i < 2; i++) {
		CHECK_EQ(mote_snapshot_get_layer(s, i, &a), MOTE_OK);
		CHECK_EQ(mote_snapshot_get_layer(child, i, &b), MOTE_OK);
		CHECK(a.id == b.id && a.gpa == b.gpa && a.bytes == b.bytes);
	}
	CHECK_EQ(layer_bytes(child, 2), PAGE);
	CHECK_EQ(stock_info(child).dead_bytes, stock_info(s).dead_bytes + PAGE);
	mote_sandbox *fork = stock_fork(child);
	const struct double_machine *m = machine_of(fork);
	CHECK(gpa && leaf_gpa(m, root_of(m), DATA(4)) == gpa);
	for (unsigned i = 0; i < 20; i++)
		if (i != 4 && i != 5)
			CHECK_EQ(leaf_gpa(m, root_of(m), DATA(i)), DATA(i));
	CHECK_EQ(value_at(m, root_of(m), DATA(4)), 0x44);
	CHECK_EQ(value_at(m, root_of(m), DATA(5)), 0x66);
	/* Parents go first. */
	mote_snapshot_unref(s);
	mote_snapshot_unref(w.snapshot);
	w.snapshot = NULL;
	CHECK_EQ(value_at(m, root_of(m), DATA(4)), 0x44);
	mote_sandbox_destroy(fork);
	mote_snapshot_unref(child);
	world_free(&w);
}

TEST_FORMATS(take_stock__many_layers_are_compacted)
{
	stock_ready_in(shape, NULL);
	for (uint32_t i = 1; i <= MOTE__LAYERS_MAX + 3; i++) {
		stock_run(write_one_page);
		mote_snapshot *s = stock_take();
		const uint32_t layers = stock_info(s).layer_count;
		CHECK_EQ(layers, i < MOTE__LAYERS_MAX ? i + 1 : i - MOTE__LAYERS_MAX + 1);
		CHECK_EQ(stock_info(s).generation, i);
		OK(&w, mote_sandbox_restore(w.sandbox, s, NULL, &w.err));
		CHECK_EQ(value_at(w.machine, root_of(w.machine), DATA(5)), 0x66);
		CHECK_EQ(value_at(w.machine, root_of(w.machine), DATA(6)), 0);
		mote_snapshot_unref(s);
	}
	world_free(&w);
}

/* 5 MiB of pages that differ from all before. */
static uint64_t number;

static void write_much(struct double_machine *m)
{
	for (unsigned i = 0; i < 1280; i++)
		map_page(m, root_of(m), SPACE(1) + i * PAGE, new_page(m, ++number) | LEAF_RW);
}

TEST_FORMATS(take_stock__many_dead_pages_are_compacted)
{
	static const uint32_t layers[] = {2, 3, 4, 1}, dead[] = {0, 1280, 2560, 0};
	const struct mote_snapshot_options o = {.size = sizeof o, .scratch_bytes = 0x800000};
	number = 0;
	stock_ready_in(shape, &o);
	for (unsigned i = 0; i < 4; i++) {
		stock_run(write_much);
		/* The last one is of a snapshot more than half of which is dead. */
		mote_snapshot *s = stock_take();
		CHECK_EQ(stock_info(s).layer_count, layers[i]);
		CHECK_EQ(stock_info(s).dead_bytes, dead[i] * PAGE);
		OK(&w, mote_sandbox_restore(w.sandbox, s, NULL, &w.err));
		const struct double_machine *m = w.machine;
		CHECK_EQ(value_at(m, root_of(m), SPACE(1)), i * 1280 + 1);
		CHECK_EQ(value_at(m, root_of(m), SPACE(1) + 1279 * PAGE), (i + 1) * 1280);
		CHECK_EQ(value_at(m, root_of(m), DATA(3)), 0);
		mote_snapshot_unref(s);
	}
	world_free(&w);
}

static void map_eight_pages(struct double_machine *m)
{
	for (unsigned i = 1; i < 9; i++)
		map_page(m, root_of(m), SPACE(i), new_page(m, i) | LEAF_RW);
}

/* A child has more tables than its parent, and so fewer frames. */
TEST_FORMATS(take_stock__a_restore_to_the_parent_gives_its_frames_back)
{
	const struct mote_snapshot_options o = {.size = sizeof o, .scratch_bytes = 0x80000};
	stock_ready_in(shape, &o);
	mote_snapshot *parent = stock_take();
	stock_run(map_eight_pages);
	mote_snapshot *child = stock_take();
	CHECK(child->layout.frame_count < parent->layout.frame_count);
	mote_sandbox *fork = stock_fork(child);
	CHECK_EQ(mote__frames_limit(fork), child->layout.frame_count);
	OK(&w, mote_sandbox_restore(fork, parent, NULL, &w.err));
	CHECK_EQ(mote__frames_limit(fork), parent->layout.frame_count);
	mote_sandbox_destroy(fork);
	mote_snapshot_unref(parent);
	mote_snapshot_unref(child);
	world_free(&w);
}

TEST_FORMATS(take_stock__the_sandbox_is_not_touched)
{
	stock_ready_in(shape, NULL);
	stock_run(write_two_pages);
	const struct mote__layout *l = &w.snapshot->layout;
	uint8_t *before = malloc(l->scratch_bytes);
	CHECK(before != NULL);
	memcpy(before, double_gpa(w.machine, l->scratch_gpa, l->scratch_bytes), l->scratch_bytes);
	const struct mote__special special = w.machine->special;
	const struct mote__general general = w.machine->general;
	const unsigned maps = w.machine->maps + w.machine->unmaps;
	mote_snapshot *s = stock_take();
	CHECK_MEM(before, double_gpa(w.machine, l->scratch_gpa, l->scratch_bytes),
		  l->scratch_bytes);
	CHECK_MEM(&special, &w.machine->special, sizeof special);
	CHECK_MEM(&general, &w.machine->general, sizeof general);
	CHECK_EQ(w.machine->maps + w.machine->unmaps, maps);
	/* It still has its own pages: a write does not reach the snapshot. */
	words_at(w.machine, leaf_gpa(w.machine, root_of(w.machine), DATA(4)))[0] = 0x4444;
	uint64_t word = 0;
	OK(&w, mote_snapshot_read(s, DATA(4), &word, sizeof word, &w.err));
	CHECK_EQ(word, 0x44);
	free(before);
	mote_snapshot_unref(s);
	world_free(&w);
}

/* ---- registers and words --------------------------------------------------------------------- */

static void change_registers(struct double_machine *m)
{
	struct mote__special *r = &m->special;
	struct mote__segment *const segments[] = {&r->cs, &r->ds, &r->es, &r->fs,
						  &r->gs, &r->ss, &r->tr, &r->ldt};
	for (unsigned i = 0; i < 8; i++) {
		segments[i]->base = 0x1000 * i;
		segments[i]->limit = 0xFFF + i;
		segments[i]->selector = (uint16_t)(8 * i);
	}
	r->gdt_base = 0xFFFFFD0000000000;
	r->gdt_limit = 0x57;
	r->idt_base = 0xFFFFFD0000001000;
	r->idt_limit = 0xFFF;
	r->cr0 ^= 0x10000;
	r->cr2 = 0x123456;
	r->cr4 ^= 0x80;
	r->efer ^= 1; /* SCE: not how tables are read */
	m->msrs = (struct mote__msr_list){2, {{MSR_KERNEL_GS_BASE, 0xABCDEF}, {0x174, 0x1234}}};
}

static void check_registers(const struct double_machine *m, const struct mote__special *want)
{
	struct mote__special have = m->special;
	have.cr3 = want->cr3;
	CHECK_MEM(&have, want, sizeof have);
	uint64_t found = 0;
	for (uint32_t i = 0; i < m->msrs.count; i++) {
		found += m->msrs.msr[i].index == MSR_KERNEL_GS_BASE &&
			 m->msrs.msr[i].value == 0xABCDEF;
		found += m->msrs.msr[i].index == 0x174 && m->msrs.msr[i].value == 0x1234;
	}
	CHECK_EQ(found, 2);
}

TEST_FORMATS(take_stock__registers_are_kept)
{
	static const uint32_t declared[] = {0x174};
	const struct mote_snapshot_options o = {.size = sizeof o, .msrs = declared, .msr_count = 1};
	mote_snapshot *flat = NULL;
	stock_ready_in(shape, &o);
	stock_run(change_registers);
	const struct mote__special want = w.machine->special;
	mote_snapshot *s = stock_take();
	OK(&w, mote_snapshot_flatten(s, &flat, &w.err));
	mote_sandbox *a = stock_fork(s), *b = stock_fork(flat);
	check_registers(machine_of(a), &want);
	check_registers(machine_of(b), &want);
	/* A restore, too, whatever came after; and a pool's shell. */
	w.machine->special = (struct mote__special){.cr3 = want.cr3};
	w.machine->msrs.msr[0].value = w.machine->msrs.msr[1].value = 5;
	OK(&w, mote_sandbox_restore(w.sandbox, s, NULL, &w.err));
	check_registers(machine_of(w.sandbox), &want);
	mote_sandbox_destroy(a);
	a = stock_fork(s);
	check_registers(machine_of(a), &want);
	/* One that has not run yet gives the same ones away. */
	const struct mote_metadata name = {"a", "1"};
	const struct mote_take_options with = {
		.size = sizeof with, .metadata = &name, .metadata_count = 1};
	mote_snapshot *again = NULL;
	OK(&w, mote_snapshot_take(a, &with, &again, &w.err));
	mote_sandbox_destroy(b);
	b = stock_fork(again);
	check_registers(machine_of(b), &want);
	mote_sandbox_destroy(a);
	mote_sandbox_destroy(b);
	mote_snapshot_unref(s);
	mote_snapshot_unref(flat);
	mote_snapshot_unref(again);
	world_free(&w);
}

static uint64_t flags_seen;

static void see_flags(struct double_machine *m)
{
	flags_seen = m->general.rflags;
}

TEST_FORMATS(take_stock__the_next_dispatch_alone_says_that_memory_was_exchanged)
{
	stock_ready_in(shape, NULL);
	stock_run(write_two_pages);
	mote_snapshot *s = stock_take();
	stock_run(see_flags);
	CHECK_EQ(flags_seen & 0x40, 0);
	for (unsigned i = 0; i < 2; i++) {
		OK(&w, mote_sandbox_restore(w.sandbox, s, NULL, &w.err));
		stock_run(see_flags);
		CHECK_EQ(flags_seen & 0x40, 0x40);
		stock_run(see_flags);
		CHECK_EQ(flags_seen & 0x40, 0);
	}
	mote_sandbox_destroy(w.sandbox);
	w.sandbox = stock_fork(s);
	stock_run(see_flags);
	CHECK_EQ(flags_seen & 0x40, 0x40);
	mote_snapshot_unref(s);
	world_free(&w);
}

static void check_words(const mote_snapshot *s, uint64_t generation)
{
	const struct mote__layout *l = &s->layout;
	const struct double_machine *m = machine_of(w.sandbox);
	CHECK_EQ(*top_word(m, 0x08), l->scratch_bytes);
	CHECK_EQ(*top_word(m, 0x10), l->scratch_gpa + l->tables_offset + l->tables_bytes);
	CHECK_EQ(*top_word(m, 0x18), l->scratch_gpa + l->tables_offset);
	CHECK_EQ(*top_word(m, 0x20), generation);
	CHECK_EQ(words_at(m, l->scratch_gpa)[0], 8);
	CHECK_EQ(words_at(m, l->scratch_gpa + l->output_offset)[0], 8);
	/* All else but the tables is zero. */
	const uint64_t *words =
		(const uint64_t *)(const void *)double_gpa(m, l->scratch_gpa, l->scratch_bytes);
	for (uint64_t i = 1; i < l->tables_offset / 8; i++)
		CHECK(words[i] == 0 || i == l->output_offset / 8);
	for (uint64_t i = l->frames_offset / 8; i < l->scratch_bytes / 8 - 4; i++)
		CHECK_EQ(words[i], 0);
}

TEST_FORMATS(take_stock__words_and_generation_are_the_abis)
{
	stock_ready_in(shape, NULL);
	CHECK_EQ(*top_word(w.machine, 0x20), 0);
	stock_run(write_two_pages);
	mote_snapshot *a = stock_take();
	CHECK_EQ(*top_word(w.machine, 0x20), 0);
	stock_run(write_one_page);
	mote_snapshot *b = stock_take();
	CHECK(stock_info(a).generation == 1 && stock_info(b).generation == 2);
	OK(&w, mote_sandbox_restore(w.sandbox, a, NULL, &w.err));
	check_words(a, 1);
	stock_run(write_one_page);
	mote_snapshot *c = stock_take();
	CHECK(stock_info(c).generation == 2 && *top_word(w.machine, 0x20) == 1);
	OK(&w, mote_sandbox_restore(w.sandbox, b, NULL, &w.err));
	check_words(b, 2);
	OK(&w, mote_sandbox_restore(w.sandbox, c, NULL, &w.err));
	check_words(c, 2);
	mote_snapshot_unref(a);
	mote_snapshot_unref(b);
	mote_snapshot_unref(c);
	world_free(&w);
}
