/* SPDX-License-Identifier: MIT */
/*
 * Snapshots of guests whose page tables are made to cost, to confuse or to lead astray: the work is
 * bounded, what comes out is a snapshot that agrees with the guest's tables or an error that names
 * the bound, and the sandbox goes on. What a rebuild asks is counted (--wrap=mote__rebuild).
 */
#include "stock_world.h"

#include <stdlib.h>
#include <unistd.h>

#include "core/rebuild.h"

static uint64_t at[64];
static unsigned at_count;

/* ---- counting -------------------------------------------------------------------------------- */

static struct {
	uint64_t finds, pages;
	enum mote__rebuild_where (*find)(void *, uint64_t, uint64_t *, const uint8_t **);
	void *cookie;
} counted;

static enum mote__rebuild_where counting_find(void *cookie, uint64_t gpa, uint64_t *len,
					      const uint8_t **bytes)
{
	(void)cookie;
	const enum mote__rebuild_where where = counted.find(counted.cookie, gpa, len, bytes);
	counted.finds++;
	counted.pages += where == MOTE__REBUILD_NONE ? 1 : *len / PAGE;
	return where;
}

int __real_mote__rebuild(struct mote__rebuild *r);
int __wrap_mote__rebuild(struct mote__rebuild *r);

int __wrap_mote__rebuild(struct mote__rebuild *r)
{
	counted.finds = counted.pages = 0;
	counted.find = r->find;
	counted.cookie = r->cookie;
	r->find = counting_find;
	int rc = __real_mote__rebuild(r);
	r->find = counted.find;
	return rc;
}

/* ---- what must hold -------------------------------------------------------------------------- */

/* The sandbox can still be called, restored and taken. */
static void check_alive(void)
{
	CHECK_EQ(mote_sandbox_state(w.sandbox), MOTE_STATE_READY);
	OK(&w, world_call(&w, MOTE_VOID, NULL));
	OK(&w, mote_sandbox_restore(w.sandbox, w.snapshot, NULL, &w.err));
	OK(&w, mote_sandbox_start(w.sandbox, 0, &w.err));
	mote_snapshot *s = stock_take();
	CHECK_EQ(stock_info(s).generation, 1);
	mote_snapshot_unref(s);
}

/* Live memory that a snapshot may have: the snapshot's and scratch. */
static bool is_memory(uint64_t gpa)
{
	return double_gpa(w.machine, gpa & ~(PAGE - 1), PAGE) != NULL;
}

static bool is_dropped(uint64_t gva)
{
	const struct mote__family *f = w.snapshot->layout.family;
	return gva >= w.snapshot->layout.scratch_gva ||
	       (f->reserved_first && gva >= f->reserved_first && gva <= f->reserved_last);
}

/* The page at gva of a machine that starts from a snapshot is what the guest has there. */
static void check_page(const struct double_machine *m, uint64_t gva)
{
	struct mote__pt_translation have, want;
	bool is_wanted = view(w.machine, root_of(w.machine), gva, &want) && is_memory(want.gpa);
	if (is_dropped(gva))
		return;
	CHECK_EQ(view(m, root_of(m), gva, &have), is_wanted);
	if (!is_wanted)
		return;
	CHECK(!have.effective.writable && have.gpa < w.snapshot->layout.scratch_gpa);
	CHECK_EQ(have.effective.cow, want.effective.cow || want.effective.writable);
	CHECK_EQ(have.effective.exec, want.effective.exec);
	CHECK_EQ(have.effective.user, want.effective.user);
	CHECK_MEM(words_at(m, have.gpa), words_at(w.machine, want.gpa & ~(PAGE - 1)), PAGE);
}

static uint64_t random_gva(uint64_t *random)
{
	uint64_t gva = 0;
	for (unsigned level = 1; level <= stock_shape->levels; level++) {
		const uint64_t r = check_random(random);
		/* Few places, and those where tests have entries. */
		uint64_t index = r % 4 == 0 ? r / 4 % shape_entries(stock_shape) : r / 4 % 24;
		gva += index * shape_bytes(stock_shape, level);
	}
	return shape_canonical(stock_shape, gva);
}

static void check_agrees(mote_snapshot *s, uint64_t *random, unsigned count)
{
	mote_sandbox *fork = stock_fork(s);
	for (unsigned i = 0; i < 20; i++)
		check_page(machine_of(fork), DATA(i));
	for (unsigned i = 0; i < count; i++)
		check_page(machine_of(fork), random_gva(random));
	mote_sandbox_destroy(fork);
}

/* ---- tables that name themselves and each other ---------------------------------------------- */

static void name_myself(struct double_machine *m)
{
	const uint64_t root = root_of(m);
	for (unsigned i = 1; i < shape_entries(stock_shape) - 1; i++)
		if (!get_entry(m, root, i))
			put_entry(m, root, i, root | LINK);
}

TEST_FORMATS(take_hostile__a_root_that_names_itself)
{
	uint64_t random = 1;
	stock_ready_in(shape, NULL);
	stock_run(name_myself);
	mote_snapshot *s = stock_take();
	CHECK(counted.finds < 3000 && counted.pages < 3000);
	check_agrees(s, &random, 400);
	mote_snapshot *flat = NULL;
	uint8_t a[MOTE_DIGEST_BYTES], b[MOTE_DIGEST_BYTES];
	OK(&w, mote_snapshot_flatten(s, &flat, &w.err));
	OK(&w, mote_snapshot_digest(s, a, &w.err));
	OK(&w, mote_snapshot_digest(flat, b, &w.err));
	CHECK_MEM(a, b, sizeof a);
	check_agrees(flat, &random, 400);
	check_alive();
	mote_snapshot_unref(s);
	mote_snapshot_unref(flat);
	world_free(&w);
}

/* One table for each level, each entry of which names the next: all addresses are one page. */
static void alias_everything(struct double_machine *m)
{
	const unsigned entries = shape_entries(stock_shape);
	uint64_t below = new_page(m, 0x1234) | LEAF_RW;
	for (unsigned level = 1; level < stock_shape->levels; level++) {
		const uint64_t table = new_page(m, 0);
		for (unsigned i = 0; i < entries; i++)
			put_entry(m, table, i, below);
		below = table | LINK;
	}
	for (unsigned i = 1; i < entries - 1; i++)
		put_entry(m, root_of(m), i, below);
}

TEST_FORMATS(take_hostile__aliases_of_everything_cost_no_more_than_their_tables)
{
	uint64_t random = 2;
	const unsigned last = shape_entries(shape) - 1;
	stock_ready_in(shape, NULL);
	stock_run(alias_everything);
	/* What is around scratch as well: the guest could not tell us its answer through that. */
	const uint64_t root = root_of(w.machine), top = get_entry(w.machine, root, last);
	put_entry(w.machine, root, last, get_entry(w.machine, root, last - 1));
	mote_snapshot *s = stock_take();
	/* The tables, and those on the way to where the aliases are cut off. */
	CHECK(counted.finds < 4000 && counted.pages < 4000);
	CHECK(stock_info(s).table_bytes < 20 * PAGE);
	check_agrees(s, &random, 1000);
	mote_sandbox *fork = stock_fork(s);
	const struct double_machine *m = machine_of(fork);
	CHECK_EQ(value_at(m, root_of(m), SPACE((last + 1) / 2) - PAGE), 0x1234);
	CHECK_EQ(value_at(m, root_of(m), s->layout.scratch_gva - PAGE), 0x1234);
	CHECK_EQ(leaf_gpa(m, root_of(m), s->layout.scratch_gva), s->layout.scratch_gpa);
	mote_sandbox_destroy(fork);
	put_entry(w.machine, root, last, top);
	check_alive();
	mote_snapshot_unref(s);
	world_free(&w);
}

/* Tables that name all of them, with other permissions each time. */
static void cross_link(struct double_machine *m)
{
	const uint64_t links[] = {LINK, LINK | USER, LINK & ~2ull, LINK | NX, LINK | USER | NX};
	const unsigned entries = shape_entries(stock_shape);
	uint64_t tables[40];
	for (unsigned i = 0; i < 40; i++)
		tables[i] = new_page(m, 0);
	for (unsigned i = 0; i < 40; i++)
		for (unsigned j = 0; j < entries; j++)
			put_entry(m, tables[i], j, tables[(i + j) % 40] | links[j % 5]);
	for (unsigned i = 1; i < entries - 12; i++)
		put_entry(m, root_of(m), i, tables[i % 40] | links[i / 40 % 5]);
}

TEST_FORMATS(take_hostile__more_tables_than_there_can_be_are_refused)
{
	mote_snapshot *s = NULL;
	stock_ready_in(shape, NULL);
	stock_run(cross_link);
	FAILS(&w, mote_snapshot_take(w.sandbox, NULL, &s, &w.err), MOTE_ESNAPSHOT);
	/* Either bound, as the walk meets them. */
	CHECK_HAS(w.err.message, "the guest's page tables ");
	CHECK(s == NULL && counted.finds < 512 * 400);
	check_alive();
	world_free(&w);
}

/* Permissions from above make a table many. None of these maps anything, so no new one is made. */
static void link_to_nothing(struct double_machine *m)
{
	const uint64_t all = LINK | USER;
	for (unsigned i = 0; i < 27; i++) {
		const uint64_t upper = new_page(m, 0), lower = new_page(m, 0);
		for (unsigned j = 0; j < 512; j++) {
			words_at(m, upper)[j] = lower | all;
			words_at(m, lower)[j] = 0x100000000 | all;
		}
		for (unsigned j = 0; j < 8; j++)
			words_at(m, root_of(m))[8 * i + j + 1] =
				upper | (all & ~(j & 6ull)) | (j & 1 ? NX : 0);
	}
}

TEST(take_hostile__tables_are_walked_a_bounded_number_of_times)
{
	mote_snapshot *s = NULL;
	stock_ready(NULL);
	stock_run(link_to_nothing);
	FAILS(&w, mote_snapshot_take(w.sandbox, NULL, &s, &w.err), MOTE_ESNAPSHOT);
	CHECK_STR(w.err.message, "the guest's page tables are more than 352 tables");
	CHECK(s == NULL && counted.finds < 1000);
	check_alive();
	world_free(&w);
}

/* ---- large pages ----------------------------------------------------------------------------- */

/* Many of the largest pages, by two entries of the root where that is not the table itself. */
static void map_large(struct double_machine *m)
{
	const uint64_t root = root_of(m), bytes = shape_bytes(stock_shape, stock_shape->large_top);
	const bool is_root = stock_shape->large_top == stock_shape->levels;
	const uint64_t table = is_root ? root : new_page(m, 0);
	for (unsigned i = is_root ? 5 : 0; i < 512; i++)
		put_entry(m, table, i, LEAF_RW | LARGE);
	if (is_root)
		return;
	put_entry(m, root, 1, table | LINK);
	put_entry(m, root, 2, table | LINK);
	/* One that covers scratch, and one that no processor takes. */
	set_entry(m, root, SPACE(3), stock_shape->large_top, LINK,
		  (GPA_END - bytes) | LEAF_RW | LARGE);
	put_entry(m, root, 4, LEAF_RW | LARGE);
}

TEST_FORMATS(take_hostile__large_pages_need_more_tables_than_there_is_room)
{
	mote_snapshot *s = NULL;
	if (shape->large_top == 1)
		return;
	stock_ready_in(shape, NULL);
	stock_run(map_large);
	FAILS(&w, mote_snapshot_take(w.sandbox, NULL, &s, &w.err), MOTE_ESNAPSHOT);
	CHECK_HAS(w.err.message, "need more than 0x");
	CHECK_HAS(w.err.message, "bytes: scratch_bytes allows no more");
	CHECK(s == NULL && counted.pages < 512 * 512);
	check_alive();
	world_free(&w);
}

/* The large page of a level that has the end of guest memory. */
static uint64_t last_large(unsigned level)
{
	return (GPA_END - 1) & ~(shape_bytes(stock_shape, level) - 1);
}

static void map_a_few_large(struct double_machine *m)
{
	const uint64_t root = root_of(m), bytes = shape_bytes(stock_shape, 2);
	const unsigned top = stock_shape->large_top;
	set_entry(m, root, SPACE(3), top, LINK, last_large(top) | LEAF_RW | LARGE);
	set_entry(m, root, SPACE(4), 2, LINK, last_large(2) | LEAF_RO | LARGE | NX);
	set_entry(m, root, SPACE(4) + bytes, 2, LINK, LEAF_COW | LARGE);
	/* At no multiple of its size: the processor refuses it. */
	set_entry(m, root, SPACE(4) + 2 * bytes, 2, LINK, 0x10000 | LEAF_RW | LARGE);
	if (top < stock_shape->levels)
		put_entry(m, root, 5, LEAF_RW | LARGE);
}

TEST_FORMATS(take_hostile__large_pages_come_apart)
{
	uint64_t random = 3;
	const struct mote_snapshot_options o = {.size = sizeof o, .scratch_bytes = 0x80000};
	if (shape->large_top == 1)
		return;
	stock_ready_in(shape, &o);
	const struct mote__layout *l = &w.snapshot->layout;
	const uint64_t bytes = shape_bytes(shape, 2);
	stock_run(map_a_few_large);
	mote_snapshot *s = stock_take();
	mote_sandbox *fork = stock_fork(s);
	const struct double_machine *m = machine_of(fork);
	const uint64_t behind = SPACE(3) + (GPA_END - last_large(shape->large_top));
	for (uint64_t page = 0; page < 3 * bytes; page += PAGE) {
		check_page(m, SPACE(4) + page);
		check_page(m, SPACE(3) + page);
		check_page(m, behind - 3 * bytes + page);
	}
	CHECK_EQ(leaf_gpa(m, root_of(m), SPACE(4) + bytes + DATA(0)), DATA(0));
	CHECK_EQ(leaf_flags(m, root_of(m), behind - l->scratch_bytes), 0x201 | shape->used);
	CHECK_EQ(leaf_flags(m, root_of(m), behind), 0);
	mote_sandbox_destroy(fork);
	check_agrees(s, &random, 200);
	check_alive();
	mote_snapshot_unref(s);
	world_free(&w);
}

/* Bit 7 of an entry that names a table means nothing while CR4.PSE is clear. */
static void mark_a_table_large(struct double_machine *m)
{
	map_page(m, root_of(m), SPACE(3) + PAGE, new_page(m, 0x77) | LEAF_RW);
	const uint64_t entry = get_entry(m, root_of(m), 3);
	put_entry(m, root_of(m), 3, entry | LARGE);
}

TEST(take_hostile__a_table_of_32_bits_may_look_large)
{
	stock_ready_in(shape_of(&mote__pt_i686), NULL);
	stock_run(mark_a_table_large);
	mote_snapshot *s = stock_take();
	mote_sandbox *fork = stock_fork(s);
	const struct double_machine *m = machine_of(fork);
	CHECK_EQ(value_at(m, root_of(m), SPACE(3) + PAGE), 0x77);
	CHECK_EQ(get_entry(m, root_of(m), 3) & 0xFFF, 0x027);
	mote_sandbox_destroy(fork);
	mote_snapshot_unref(s);
	world_free(&w);
}

/* 64 GiB of leaves in few tables, and room for as many new ones as that takes. */
static void map_too_much(struct double_machine *m)
{
	for (unsigned i = 0; i < 65; i++) {
		uint64_t *table = words_at(m, new_page(m, 0));
		for (unsigned j = 0; j < 512; j++)
			table[j] = (GPA_END - 0x200000) | LEAF_RW | LARGE;
		*entry_at(m, root_of(m), SPACE(1) + i * (1ull << 30), 3, LINK) =
			(*top_word(m, 0x10) - PAGE) | LINK;
		/* entry_at() may have taken pages: the first round makes the table above. */
		if (i == 0)
			*entry_at(m, root_of(m), SPACE(1), 3, LINK) =
				(*top_word(m, 0x10) - 2 * PAGE) | LINK;
	}
}

TEST(take_hostile__more_leaves_than_the_bound_are_refused)
{
	mote_snapshot *s = NULL;
	const struct mote_snapshot_options o = {.size = sizeof o, .scratch_bytes = 0x10000000};
	stock_ready(&o);
	stock_run(map_too_much);
	FAILS(&w, mote_snapshot_take(w.sandbox, NULL, &s, &w.err), MOTE_ESNAPSHOT);
	CHECK_STR(w.err.message, "the guest's page tables map more than 16777216 pages");
	CHECK(s == NULL && counted.pages <= (1u << 24) + 512);
	check_alive();
	world_free(&w);
}

/* ---- anything -------------------------------------------------------------------------------- */

static uint64_t chaos;
static unsigned chaos_taken, chaos_refused;

static uint64_t random_entry(const struct double_machine *m)
{
	static const uint64_t kinds[] = {LINK,     LINK | USER,  LINK | NX,       LEAF_RW,
					 LEAF_COW, LEAF_RO | NX, LEAF_RW | LARGE, LINK & ~2ull};
	const uint64_t r = check_random(&chaos), flags = kinds[r >> 8 & 7];
	switch (r & 15) {
	case 0:
		return check_random(&chaos);
	case 1:
		return (check_random(&chaos) & 0x000FFFFFFFFFF000) | flags;
	case 2:
		return (check_random(&chaos) & 0xFFFFFF000) | flags;
	case 3:
		return root_of(m) | flags;
	case 4:
	case 5:
		return (r >> 16) % 64 * PAGE | (flags & ~LARGE);
	case 6:
		return GPA_END - ((r >> 16) % 8 + 1) * PAGE + (flags & ~LARGE);
	default:
		return at[(r >> 16) % at_count] | (flags & ~LARGE);
	}
}

static void make_chaos(struct double_machine *m)
{
	const uint64_t root = root_of(m);
	at_count = 4 + (unsigned)(check_random(&chaos) % 16);
	for (unsigned i = 0; i < at_count; i++)
		at[i] = new_page(m, 0);
	for (unsigned i = 0; i < at_count; i++)
		for (unsigned j = 0; j < 24; j++)
			if (check_random(&chaos) % 4 == 0)
				put_entry(m, at[i], j, random_entry(m));
	for (unsigned j = 1; j < 24; j++)
		put_entry(m, root, j, random_entry(m));
	put_entry(m, root, shape_entries(stock_shape) - 2, random_entry(m));
}

static void check_chaos(void)
{
	mote_snapshot *s = NULL, *flat = NULL;
	const struct mote__layout *l = &w.snapshot->layout;
	uint8_t a[MOTE_DIGEST_BYTES], b[MOTE_DIGEST_BYTES], *before = malloc(l->scratch_bytes);
	CHECK(before != NULL);
	memcpy(before, w.sandbox->scratch, l->scratch_bytes);
	int rc = mote_snapshot_take(w.sandbox, NULL, &s, &w.err);
	CHECK_MEM(before, w.sandbox->scratch, l->scratch_bytes);
	free(before);
	if (rc != MOTE_OK) {
		CHECK_EQ(rc, MOTE_ESNAPSHOT);
		CHECK_HAS(w.err.message, "the guest's page tables ");
		chaos_refused++;
		return;
	}
	chaos_taken++;
	check_agrees(s, &chaos, 300);
	OK(&w, mote_snapshot_flatten(s, &flat, &w.err));
	OK(&w, mote_snapshot_digest(s, a, &w.err));
	OK(&w, mote_snapshot_digest(flat, b, &w.err));
	CHECK_MEM(a, b, sizeof a);
	check_agrees(flat, &chaos, 100);
	mote_snapshot_unref(s);
	mote_snapshot_unref(flat);
}

TEST_FORMATS(take_hostile__random_tables_give_what_they_say_or_an_error)
{
	const char *seed = getenv("MOTE_TEST_SEED");
	const unsigned last = shape_entries(shape) - 1;
	chaos = seed ? strtoull(seed, NULL, 0) : (uint64_t)getpid() * 0x9E3779B97F4A7C15 | 1;
	chaos_taken = chaos_refused = 0;
	const struct mote_snapshot_options o = {.size = sizeof o, .scratch_bytes = 0x100000};
	stock_ready_in(shape, &o);
	for (unsigned i = 0; i < 60; i++) {
		check_note("%s, round %u: MOTE_TEST_SEED=0x%llx", shape->name, i,
			   (unsigned long long)chaos);
		stock_run(make_chaos);
		/* It needs what is around scratch for its answer: not any more. */
		if (check_random(&chaos) % 2)
			put_entry(w.machine, root_of(w.machine), last, random_entry(w.machine));
		check_chaos();
		OK(&w, mote_sandbox_restore(w.sandbox, w.snapshot, NULL, &w.err));
		OK(&w, mote_sandbox_start(w.sandbox, 0, &w.err));
		stock_set_pse();
	}
	check_note("%u snapshots, %u errors", chaos_taken, chaos_refused);
	CHECK(chaos_taken > 0);
	check_alive();
	world_free(&w);
}
