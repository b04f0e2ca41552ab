/* SPDX-License-Identifier: MIT */
/*
 * The identity of a snapshot: the same for what starts the same, however it came to be, and another
 * one for whatever a guest could tell.
 */
#include "stock_world.h"

#include <pthread.h>

#include "core/confined.h"

#define MSR_KERNEL_GS_BASE 0xC0000102u

struct identity {
	uint8_t bytes[MOTE_DIGEST_BYTES];
};

static struct identity identity_of(mote_snapshot *s)
{
	struct identity id = {{0}};
	OK(&w, mote_snapshot_digest(s, id.bytes, &w.err));
	return id;
}

static bool is_same(struct identity a, struct identity b)
{
	return memcmp(&a, &b, sizeof a) == 0;
}

/* What it would be after a change of the object. */
static struct identity identity_anew(mote_snapshot *s)
{
	s->has_digest = false;
	return identity_of(s);
}

/* Identities that must all differ. */
static struct identity all[512];
static unsigned all_count;

static void add_other(struct identity id)
{
	for (unsigned i = 0; i < all_count; i++)
		if (is_same(all[i], id))
			check_failed(__FILE__, __LINE__, "number %u is like number %u", all_count,
				     i);
	CHECK(all_count < sizeof all / sizeof *all);
	all[all_count++] = id;
}

static void ready(enum world_kind kind)
{
	const struct tiny_options image = {.is_confined = kind == CONFINED,
					   .data_bytes = DATA_BYTES};
	all_count = 0;
	world_make_of(&w, &image, NULL, &stock_guest);
	world_sandbox(&w, NULL);
	OK(&w, mote_sandbox_start(w.sandbox, 0, &w.err));
}

static void put(uint64_t gva, uint64_t value)
{
	OK(&w, mote_sandbox_write(w.sandbox, gva, &value, sizeof value, &w.err));
}

/* A digest of what the sandbox is now. */
static struct identity taken(void)
{
	mote_snapshot *s = stock_take();
	const struct identity id = identity_of(s);
	mote_snapshot_unref(s);
	return id;
}

static void restore(mote_snapshot *s)
{
	OK(&w, mote_sandbox_restore(w.sandbox, s, NULL, &w.err));
}

/* ---- the same -------------------------------------------------------------------------------- */

TEST_BOTH(identity__does_not_depend_on_layers)
{
	mote_snapshot *flat = NULL, *again = NULL, *image = NULL;
	ready(kind);
	OK(&w, mote_snapshot_flatten(w.snapshot, &image, &w.err));
	CHECK(is_same(identity_of(image), identity_of(w.snapshot)));
	mote_snapshot *base = stock_take();
	/* Two pages, one after the other in either order, and at once. */
	struct identity ids[3];
	for (unsigned i = 0; i < 3; i++) {
		restore(base);
		put(DATA(14 + i % 2), 1 + i % 2);
		if (i < 2) {
			mote_snapshot *between = stock_take();
			restore(between);
			mote_snapshot_unref(between);
		}
		put(DATA(15 - i % 2), 2 - i % 2);
		mote_snapshot *s = stock_take();
		ids[i] = identity_of(s);
		OK(&w, mote_snapshot_flatten(s, &flat, &w.err));
		OK(&w, mote_snapshot_flatten(flat, &again, &w.err));
		CHECK(is_same(identity_of(flat), ids[i]) && is_same(identity_of(again), ids[i]));
		mote_snapshot_unref(flat);
		mote_snapshot_unref(again);
		mote_snapshot_unref(s);
	}
	CHECK(is_same(ids[0], ids[1]) && is_same(ids[0], ids[2]));
	CHECK(!is_same(ids[0], identity_of(base)));
	mote_snapshot_unref(base);
	mote_snapshot_unref(image);
	world_free(&w);
}

TEST_BOTH(identity__comes_back_with_the_pages)
{
	ready(kind);
	mote_snapshot *base = stock_take();
	put(DATA(14), 5);
	put(w.snapshot->layout.heap_gva, 6);
	const struct identity changed = taken();
	CHECK(!is_same(changed, identity_of(base)));
	put(DATA(14), 0);
	put(w.snapshot->layout.heap_gva, 0);
	CHECK(is_same(taken(), identity_of(base)));
	put(w.snapshot->layout.heap_gva, 6);
	put(DATA(14), 5);
	CHECK(is_same(taken(), changed));
	mote_snapshot_unref(base);
	world_free(&w);
}

TEST_BOTH(identity__is_that_of_every_load_of_an_image)
{
	const struct tiny_options options = {.is_confined = kind == CONFINED,
					     .data_bytes = DATA_BYTES};
	mote_snapshot *second = NULL;
	ready(kind);
	const struct tiny_image image = tiny_guest(&options);
	OK(&w, mote_snapshot_from_memory(image.bytes, image.len, NULL, &second, &w.err));
	CHECK(is_same(identity_of(second), identity_of(w.snapshot)));
	/* And of what becomes of them by the same calls. */
	mote_sandbox *other = stock_fork(second);
	mote_snapshot *a = stock_take(), *b = NULL;
	OK(&w, mote_sandbox_start(other, 0, &w.err));
	OK(&w, mote_snapshot_take(other, NULL, &b, &w.err));
	CHECK(is_same(identity_of(a), identity_of(b)));
	mote_sandbox_destroy(other);
	mote_snapshot_unref(second);
	mote_snapshot_unref(a);
	mote_snapshot_unref(b);
	world_free(&w);
}

TEST_BOTH(identity__has_no_generation_no_metadata_and_no_write_set)
{
	const struct mote_metadata name = {"a", "1"};
	const struct mote_take_options o = {
		.size = sizeof o, .metadata = &name, .metadata_count = 1};
	mote_snapshot *named = NULL, *last = NULL;
	ready(kind);
	mote_snapshot *s = stock_take();
	const struct identity id = identity_of(s);
	OK(&w, mote_snapshot_take(w.sandbox, &o, &named, &w.err));
	CHECK(is_same(identity_of(named), id));
	CHECK(stock_info(named).generation == 2 && stock_info(named).metadata_count == 1);
	/* Pages that are known to be written. */
	for (unsigned i = 0; i < 3; i++) {
		restore(s);
		stock_run(NULL);
		put(DATA(14 + i), 1);
	}
	restore(s);
	if (kind == CONFINED)
		CHECK(stock_info(s).write_set_pages > stock_info(named).write_set_pages);
	CHECK(is_same(identity_anew(s), id));
	OK(&w, mote_snapshot_take(w.sandbox, &o, &last, &w.err));
	CHECK(is_same(identity_of(last), id));
	mote_snapshot_unref(s);
	mote_snapshot_unref(named);
	mote_snapshot_unref(last);
	world_free(&w);
}

TEST_BOTH(identity__is_computed_once)
{
	ready(kind);
	mote_snapshot *s = stock_take();
	CHECK(!s->has_digest);
	const struct identity id = identity_of(s);
	CHECK(s->has_digest && memcmp(s->digest, &id, sizeof id) == 0);
	s->dispatch_gva ^= 1;
	CHECK(is_same(identity_of(s), id));
	s->dispatch_gva ^= 1;
	CHECK(is_same(identity_anew(s), id));
	mote_snapshot_unref(s);
	world_free(&w);
}

struct asker {
	pthread_t thread;
	mote_snapshot *snapshot;
	struct identity id;
	int rc;
};

static void *ask(void *cookie)
{
	struct asker *a = cookie;
	for (unsigned i = 0; i < 3; i++)
		a->rc |= mote_snapshot_digest(a->snapshot, a->id.bytes, NULL);
	return NULL;
}

TEST_BOTH(identity__may_be_asked_by_several_threads)
{
	struct asker askers[4];
	ready(kind);
	put(DATA(14), 5);
	mote_snapshot *s = stock_take();
	for (unsigned i = 0; i < 4; i++) {
		askers[i] = (struct asker){.snapshot = s};
		CHECK_EQ(pthread_create(&askers[i].thread, NULL, ask, &askers[i]), 0);
	}
	/* Meanwhile calls are made, and the write set grows. */
	mote_sandbox *fork = stock_fork(s);
	for (unsigned i = 0; i < 5; i++) {
		OK(&w, mote_sandbox_write(fork, DATA(15 + i), "x", 1, &w.err));
		OK(&w, mote_sandbox_restore(fork, s, NULL, &w.err));
	}
	for (unsigned i = 0; i < 4; i++)
		CHECK_EQ(pthread_join(askers[i].thread, NULL), 0);
	for (unsigned i = 0; i < 4; i++)
		CHECK(askers[i].rc == 0 && is_same(askers[i].id, identity_of(s)));
	mote_sandbox_destroy(fork);
	mote_snapshot_unref(s);
	world_free(&w);
}

/* ---- others ---------------------------------------------------------------------------------- */

TEST_BOTH(identity__differs_with_any_byte_of_any_page)
{
	ready(kind);
	const struct mote__layout *l = &w.snapshot->layout;
	mote_snapshot *base = stock_take();
	add_other(identity_of(base));
	for (unsigned i = 0; i < 20; i++)
		for (unsigned at = 0; at < 2; at++) {
			const uint64_t gva = DATA(i) + (at ? PAGE - 1 : 0);
			uint8_t byte = 0;
			restore(base);
			OK(&w, mote_sandbox_read(w.sandbox, gva, &byte, 1, &w.err));
			byte ^= 0x80;
			OK(&w, mote_sandbox_write(w.sandbox, gva, &byte, 1, &w.err));
			add_other(taken());
		}
	for (uint64_t at = 0; at < 8 * PAGE; at += PAGE) {
		restore(base);
		put(l->heap_gva + at, 1);
		add_other(taken());
	}
	for (uint64_t at = PAGE; kind == CONFINED && at < 8 * PAGE; at += PAGE) {
		restore(base);
		put(l->stack_gva + l->stack_bytes - at, 1);
		add_other(taken());
	}
	mote_snapshot_unref(base);
	world_free(&w);
}

TEST_BOTH(identity__differs_with_the_code_and_where_it_is_entered)
{
	ready(kind);
	add_other(identity_of(w.snapshot));
	for (unsigned i = 0; i < (kind == CONFINED ? 6u : 3u); i++) {
		const struct tiny_options options = {.is_confined = kind == CONFINED,
						     .data_bytes = DATA_BYTES};
		const struct tiny_image image = tiny_guest(&options);
		mote_snapshot *s = NULL;
		if (i == 0)
			image.code[0] ^= 1;
		else if (i == 1)
			image.code[63] ^= 1;
		else if (i == 2)
			image.data[0] ^= 1;
		else if (i == 3)
			image.note->entry += 4;
		else if (i == 4)
			image.note->dispatch += 4;
		else
			image.note->syscall_handler += 4;
		OK(&w, mote_snapshot_from_memory(image.bytes, image.len, NULL, &s, &w.err));
		add_other(identity_of(s));
		mote_snapshot_unref(s);
	}
	world_free(&w);
}

TEST_BOTH(identity__differs_with_the_options_that_a_guest_can_tell)
{
	static const uint32_t msrs[] = {0x174, 0x175};
	const struct mote_snapshot_options rows[] = {
		{.input_bytes = 0},
		{.input_bytes = 0x5000},
		{.output_bytes = 0x5000},
		{.heap_bytes = 0x30000},
		{.scratch_bytes = 0x200000},
		{.init_data = "a", .init_data_bytes = 1},
		{.init_data = "b", .init_data_bytes = 1},
		{.init_data = "a",
		 .init_data_bytes = 1,
		 .init_data_access = MOTE_READ | MOTE_WRITE},
		{.init_data = "a\0", .init_data_bytes = 2},
		/* Confined guests alone, then the others. */
		{.stack_bytes = 0x50000},
		{.mapping_bytes = 0x10000},
		{.mapping_bytes = 0x11000},
		{.executable_heap = 1},
		{.msrs = msrs, .msr_count = 1},
		{.msrs = msrs, .msr_count = 2},
		{.msrs = msrs + 1, .msr_count = 1},
		{.init_data = "a",
		 .init_data_bytes = 1,
		 .init_data_access = MOTE_READ | MOTE_EXECUTE},
	};
	const struct tiny_options options = {.is_confined = kind == CONFINED};
	ready(kind);
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct mote_snapshot_options o = rows[i];
		mote_snapshot *s = NULL;
		if (i >= 9 && (i < 12) != (kind == CONFINED))
			continue;
		const struct tiny_image image = tiny_guest(&options);
		o.size = sizeof o;
		OK(&w, mote_snapshot_from_memory(image.bytes, image.len, &o, &s, &w.err));
		add_other(identity_of(s));
		mote_snapshot_unref(s);
	}
	if (kind == CONFINED) {
		const struct mote_snapshot_options o = {.size = sizeof o, .ignore_extensions = 1};
		const struct tiny_image image = tiny_guest(&options);
		mote_snapshot *s = NULL;
		OK(&w, mote_snapshot_from_memory(image.bytes, image.len, &o, &s, &w.err));
		add_other(identity_of(s));
		mote_snapshot_unref(s);
	}
	world_free(&w);
}

TEST_BOTH(identity__differs_with_what_comes_next)
{
	ready(kind);
	restore(w.snapshot);
	put(DATA(14), 1);
	mote_snapshot *fresh = stock_take();
	OK(&w, mote_sandbox_start(w.sandbox, 0, &w.err));
	mote_snapshot *started = stock_take();
	add_other(identity_of(fresh));
	add_other(identity_of(started));
	started->dispatch_gva += 16;
	add_other(identity_anew(started));
	started->dispatch_rsp += 16;
	add_other(identity_anew(started));
	mote_snapshot_unref(fresh);
	mote_snapshot_unref(started);
	world_free(&w);
}

TEST(identity__differs_with_the_segment_bases_of_a_confined_guest)
{
	ready(CONFINED);
	add_other(taken());
	struct mote__special *r = &w.machine->special;
	uint64_t *const bases[] = {&r->fs.base, &r->gs.base};
	for (unsigned i = 0; i < 2; i++) {
		stock_run(NULL);
		*bases[i] = 0x123000;
		add_other(taken());
		stock_run(NULL);
		*bases[i] += 1;
		add_other(taken());
	}
	/* What no guest can change is none. */
	stock_run(NULL);
	r->cr2 ^= 0x1000;
	r->cr3 ^= 0x18;
	CHECK(is_same(taken(), all[all_count - 1]));
	world_free(&w);
}

static void flip_segment(mote_snapshot *s, struct mote__segment *g)
{
#define FLIP(field)                          \
	do {                                 \
		g->field ^= 1;               \
		add_other(identity_anew(s)); \
		g->field ^= 1;               \
	} while (0)
	FLIP(base);
	FLIP(limit);
	FLIP(selector);
	FLIP(type);
	FLIP(present);
	FLIP(dpl);
	FLIP(db);
	FLIP(s);
	FLIP(l);
	FLIP(g);
	FLIP(unusable);
#undef FLIP
}

TEST(identity__differs_with_every_register_of_a_stock_guest)
{
	ready(STOCK);
	mote_snapshot *s = stock_take();
	struct mote__special *r = &s->special;
	struct mote__segment *const segments[] = {&r->cs, &r->ds, &r->es, &r->fs,
						  &r->gs, &r->ss, &r->tr, &r->ldt};
	uint64_t *const words[] = {&r->gdt_base, &r->idt_base, &r->cr0, &r->cr2, &r->cr4, &r->efer};
	add_other(identity_of(s));
	for (unsigned i = 0; i < 8; i++)
		flip_segment(s, segments[i]);
	for (unsigned i = 0; i < 6; i++) {
		*words[i] ^= 1ull << 7;
		add_other(identity_anew(s));
		*words[i] ^= 1ull << 7;
	}
	r->gdt_limit ^= 1;
	add_other(identity_anew(s));
	r->gdt_limit ^= 1;
	r->idt_limit ^= 1;
	add_other(identity_anew(s));
	r->idt_limit ^= 1;
	CHECK(is_same(identity_anew(s), all[0]));
	/* The place of the tables is the start's. */
	r->cr3 ^= PAGE;
	CHECK(is_same(identity_anew(s), all[0]));
	mote_snapshot_unref(s);
	world_free(&w);
}

static uint64_t msr_values[2];

static void write_msrs(struct double_machine *m)
{
	m->msrs = (struct mote__msr_list){
		2, {{MSR_KERNEL_GS_BASE, msr_values[0]}, {0x174, msr_values[1]}}};
}

TEST(identity__differs_with_the_model_specific_registers_of_a_stock_guest)
{
	static const uint32_t declared[] = {0x174};
	const struct mote_snapshot_options o = {.size = sizeof o, .msrs = declared, .msr_count = 1};
	all_count = 0;
	stock_ready(&o);
	static const uint64_t values[][2] = {{0, 0}, {1, 0}, {0, 1},
					     {1, 1}, {2, 0}, {0, 1ull << 63}};
	for (unsigned i = 0; i < 6; i++) {
		memcpy(msr_values, values[i], sizeof msr_values);
		stock_run(write_msrs);
		add_other(taken());
	}
	memset(msr_values, 0, sizeof msr_values);
	stock_run(write_msrs);
	CHECK(is_same(taken(), all[0]));
	world_free(&w);
}

static uint64_t leaf_now;
static uint64_t leaf_gva;

static void put_leaf(struct double_machine *m)
{
	*entry_at(m, root_of(m), leaf_gva, 1, LINK | USER) = leaf_now;
}

TEST(identity__differs_with_what_pages_allow_and_where_they_are)
{
	static const uint64_t flags[] = {LEAF_RO | USER,  LEAF_RO | NX,  LEAF_RO,
					 LEAF_COW | USER, LEAF_COW | NX, LEAF_COW};
	ready(STOCK);
	add_other(taken());
	for (unsigned i = 0; i < 6; i++) {
		leaf_gva = SPACE(1);
		leaf_now = DATA(0) | flags[i];
		stock_run(put_leaf);
		add_other(taken());
	}
	/* Writable is copy-on-write after a start. */
	leaf_now = DATA(0) | LEAF_RW;
	stock_run(put_leaf);
	CHECK(is_same(taken(), all[6]));
	leaf_now = 0;
	stock_run(put_leaf);
	CHECK(is_same(taken(), all[0]));
	leaf_gva = SPACE(1) + PAGE;
	leaf_now = DATA(0) | LEAF_COW;
	stock_run(put_leaf);
	add_other(taken());
	/* A page of the guest's that goes. */
	leaf_gva = DATA(7);
	leaf_now = 0;
	stock_run(put_leaf);
	add_other(taken());
	world_free(&w);
}

/* ---- roots and shared tables ----------------------------------------------------------------- */

static uint64_t roots[2];

static uint32_t find_roots(void *cookie, mote_sandbox *sandbox, uint64_t cr3, uint64_t *found,
			   uint32_t room)
{
	(void)cookie;
	(void)sandbox;
	(void)cr3;
	CHECK(room >= 2);
	found[0] = roots[0];
	found[1] = roots[1];
	return 2;
}

/* The tables of SPACE(3) are shared by both spaces, those of SPACE(4) are two that say the same. */
static void make_spaces(struct double_machine *m)
{
	roots[0] = root_of(m);
	map_page(m, roots[0], SPACE(3), new_page(m, 3) | LEAF_RW);
	roots[1] = copy_root(m, roots[0]);
	const uint64_t page = new_page(m, 4);
	map_page(m, roots[0], SPACE(4), page | LEAF_RW);
	map_page(m, roots[1], SPACE(4), page | LEAF_RW);
}

static void share_more(struct double_machine *m)
{
	words_at(m, roots[1])[4] = words_at(m, roots[0])[4];
}

static struct identity taken_with_roots(void)
{
	const struct mote_take_options o = {.size = sizeof o, .find_roots = find_roots};
	mote_snapshot *s = NULL, *flat = NULL;
	OK(&w, mote_snapshot_take(w.sandbox, &o, &s, &w.err));
	OK(&w, mote_snapshot_flatten(s, &flat, &w.err));
	const struct identity id = identity_of(s);
	CHECK(is_same(id, identity_of(flat)));
	mote_snapshot_unref(flat);
	mote_snapshot_unref(s);
	return id;
}

TEST(identity__differs_with_roots_their_order_and_tables_that_they_share)
{
	ready(STOCK);
	stock_run(make_spaces);
	add_other(taken_with_roots());
	put(DATA(14), 1);
	put(DATA(14), 0);
	CHECK(is_same(taken_with_roots(), all[0]));
	stock_run(share_more);
	add_other(taken_with_roots());
	stock_run(NULL);
	add_other(taken());
	const uint64_t first = roots[0];
	roots[0] = roots[1];
	stock_run(NULL);
	/* Listed twice, it is one root: and has what the other one has by now. */
	CHECK(is_same(taken_with_roots(), all[2]));
	roots[1] = first;
	leaf_gva = SPACE(5);
	leaf_now = DATA(0) | LEAF_COW;
	stock_run(put_leaf);
	add_other(taken_with_roots());
	world_free(&w);
}
