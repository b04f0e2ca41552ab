/* SPDX-License-Identifier: MIT */
/* Taking snapshots, reading and flattening them: what is shared, what is kept, what is refused. */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/confined.h"

#define PAGE 4096ull
/* Copy-on-write, behind the write set. */
#define COW_GVA (TINY_DATA_GVA + 14 * PAGE)

static struct world w;

static void answer(struct double_machine *m, struct mote__exit *exit)
{
	if (m->step == 0)
		(void)guest_pop_call(m);
	guest_return(m, exit, mote_void());
}

static const struct double_guest good = {NULL, answer, NULL};

static void open_with(const struct mote_snapshot_options *options)
{
	const struct tiny_options image = {.is_confined = true, .data_bytes = 20 * PAGE};
	world_make_of(&w, &image, options, &good);
}

/* A ready sandbox. */
static void ready(void)
{
	open_with(NULL);
	world_sandbox(&w, NULL);
	OK(&w, mote_sandbox_start(w.sandbox, 0, &w.err));
}

static mote_snapshot *take(void)
{
	mote_snapshot *s = NULL;
	OK(&w, mote_snapshot_take(w.sandbox, NULL, &s, &w.err));
	CHECK(s != NULL);
	return s;
}

static void put(uint64_t gva, uint64_t value)
{
	OK(&w, mote_sandbox_write(w.sandbox, gva, &value, sizeof value, &w.err));
}

static uint64_t live(uint64_t gva)
{
	uint64_t value = 0;
	OK(&w, mote_sandbox_read(w.sandbox, gva, &value, sizeof value, &w.err));
	return value;
}

static uint64_t in(const mote_snapshot *s, uint64_t gva)
{
	uint64_t value = 0;
	OK(&w, mote_snapshot_read(s, gva, &value, sizeof value, &w.err));
	return value;
}

static struct mote_snapshot_info info_of(const mote_snapshot *s)
{
	struct mote_snapshot_info info;
	mote_snapshot_get_info(s, &info);
	return info;
}

static uint64_t layer_id(const mote_snapshot *s, uint32_t index)
{
	struct mote_layer layer;
	CHECK_EQ(mote_snapshot_get_layer(s, index, &layer), MOTE_OK);
	return layer.id;
}

/* ---- arguments ------------------------------------------------------------------------------- */

TEST(take__refuses_missing_arguments)
{
	mote_snapshot *s = NULL;
	ready();
	FAILS(&w, mote_snapshot_take(NULL, NULL, &s, &w.err), MOTE_EINVAL);
	CHECK_STR(w.err.message, "sandbox is NULL");
	FAILS(&w, mote_snapshot_take(w.sandbox, NULL, NULL, &w.err), MOTE_EINVAL);
	CHECK_STR(w.err.message, "snapshot is NULL");
	CHECK_EQ(mote_snapshot_take(NULL, NULL, &s, NULL), MOTE_EINVAL);
	FAILS(&w, mote_snapshot_flatten(NULL, &s, &w.err), MOTE_EINVAL);
	CHECK_STR(w.err.message, "snapshot is NULL");
	FAILS(&w, mote_snapshot_flatten(w.snapshot, NULL, &w.err), MOTE_EINVAL);
	CHECK_STR(w.err.message, "flat is NULL");
	FAILS(&w, mote_snapshot_read(NULL, 0, &s, 1, &w.err), MOTE_EINVAL);
	FAILS(&w, mote_snapshot_read(w.snapshot, 0, NULL, 1, &w.err), MOTE_EINVAL);
	CHECK(s == NULL);
	world_free(&w);
}

TEST(take__checks_its_options)
{
	struct {
		struct mote_take_options o;
		uint8_t tail[8];
	} more = {.o = {.size = sizeof more.o - 1}};
	mote_snapshot *s = NULL;
	ready();
	FAILS(&w, mote_snapshot_take(w.sandbox, &more.o, &s, &w.err), MOTE_EINVAL);
	CHECK_HAS(w.err.message, "mote_take_options.size is");
	more.o.size = sizeof more;
	more.tail[0] = 1;
	FAILS(&w, mote_snapshot_take(w.sandbox, &more.o, &s, &w.err), MOTE_EINVAL);
	more.tail[0] = 0;
	OK(&w, mote_snapshot_take(w.sandbox, &more.o, &s, &w.err));
	mote_snapshot_unref(s);
	world_free(&w);
}

/* ---- metadata -------------------------------------------------------------------------------- */

static int take_with(const struct mote_metadata *metadata, uint32_t count, mote_snapshot **s)
{
	const struct mote_take_options o = {
		.size = sizeof o, .metadata = metadata, .metadata_count = count};
	return mote_snapshot_take(w.sandbox, &o, s, &w.err);
}

TEST(take__metadata_are_kept_and_copied)
{
	char name[] = "com.example.build", json[] = "{\"a\": [1, 2.5e3, null]}";
	const struct mote_metadata two[] = {{name, json}, {"\xc3\xa9", "true"}};
	struct mote_metadata got;
	mote_snapshot *s = NULL, *flat = NULL;
	ready();
	OK(&w, take_with(two, 2, &s));
	name[0] = json[0] = 'x';
	CHECK_EQ(info_of(s).metadata_count, 2);
	CHECK_EQ(mote_snapshot_get_metadata(s, 0, &got), MOTE_OK);
	CHECK_STR(got.name, "com.example.build");
	CHECK_STR(got.json, "{\"a\": [1, 2.5e3, null]}");
	CHECK_EQ(mote_snapshot_get_metadata(s, 1, &got), MOTE_OK);
	CHECK_STR(got.name, "\xc3\xa9");
	CHECK_EQ(mote_snapshot_get_metadata(s, 2, &got), MOTE_EINVAL);
	CHECK_EQ(mote_snapshot_get_metadata(w.snapshot, 0, &got), MOTE_EINVAL);
	/* They are the snapshot's, not its children's; a flat one keeps them. */
	put(COW_GVA, 1);
	mote_snapshot *child = take();
	CHECK_EQ(info_of(child).metadata_count, 0);
	OK(&w, mote_snapshot_flatten(s, &flat, &w.err));
	mote_snapshot_unref(s);
	CHECK_EQ(info_of(flat).metadata_count, 2);
	CHECK_EQ(mote_snapshot_get_metadata(flat, 1, &got), MOTE_OK);
	CHECK_STR(got.json, "true");
	mote_snapshot_unref(flat);
	mote_snapshot_unref(child);
	world_free(&w);
}

TEST(take__metadata_have_limits)
{
	static char name[300], json[0x10000 + 8];
	char names[MOTE_MAX_METADATA + 1][4];
	struct mote_metadata many[MOTE_MAX_METADATA + 1];
	mote_snapshot *s = NULL;
	ready();
	for (unsigned i = 0; i <= MOTE_MAX_METADATA; i++) {
		snprintf(names[i], sizeof names[i], "%u", i);
		many[i] = (struct mote_metadata){names[i], "0"};
	}
	FAILS(&w, take_with(many, MOTE_MAX_METADATA + 1, &s), MOTE_EINVAL);
	CHECK_STR(w.err.message, "metadata_count is 17, at most 16");
	OK(&w, take_with(many, MOTE_MAX_METADATA, &s));
	CHECK_EQ(info_of(s).metadata_count, MOTE_MAX_METADATA);
	mote_snapshot_unref(s);
	FAILS(&w, take_with(NULL, 1, &s), MOTE_EINVAL);
	memset(name, 'n', 255);
	memset(json, '1', 0x10000);
	const struct mote_metadata longest = {name, json};
	OK(&w, take_with(&longest, 1, &s));
	mote_snapshot_unref(s);
	json[0x10000] = '1';
	FAILS(&w, take_with(&longest, 1, &s), MOTE_EINVAL);
	CHECK_HAS(w.err.message, "not JSON of at most 65536 bytes");
	json[1] = 0;
	name[255] = 'n';
	FAILS(&w, take_with(&longest, 1, &s), MOTE_EINVAL);
	CHECK_HAS(w.err.message, "the name is not UTF-8 of 1 to 255 bytes");
	world_free(&w);
}

TEST(take__metadata_are_checked)
{
	static const struct {
		struct mote_metadata m[2];
		const char *text;
	} rows[] = {
		{{{"a", "{}"}, {NULL, "1"}}, "metadata 1: the name is not"},
		{{{"a", "{}"}, {"", "1"}}, "metadata 1: the name is not"},
		{{{"a", "{}"}, {"\xff", "1"}}, "metadata 1: the name is not"},
		{{{"a", "{}"}, {"b", NULL}}, "metadata b: not JSON"},
		{{{"a", "{}"}, {"b", ""}}, "metadata b: not JSON"},
		{{{"a", "{}"}, {"b", "{"}}, "metadata b: not JSON"},
		{{{"a", "{}"}, {"b", "1 2"}}, "metadata b: not JSON"},
		{{{"a", "{}"}, {"b", "\"\xff\""}}, "metadata b: not JSON"},
		{{{"a", "{}"}, {"a", "1"}}, "metadata a: given twice"},
	};
	mote_snapshot *s = NULL;
	ready();
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		FAILS(&w, take_with(rows[i].m, 2, &s), MOTE_EINVAL);
		CHECK_HAS(w.err.message, rows[i].text);
		CHECK(s == NULL && mote_sandbox_state(w.sandbox) == MOTE_STATE_READY);
	}
	world_free(&w);
}

/* ---- what a snapshot is ---------------------------------------------------------------------- */

TEST(take__freezes_what_the_sandbox_has_become)
{
	ready();
	const uint64_t heap = w.snapshot->layout.heap_gva + 3 * PAGE;
	put(COW_GVA + 8, 0x1111);
	put(TINY_DATA_GVA, 0x2222);
	put(heap, 0x3333);
	mote_snapshot *s = take();
	put(COW_GVA + 8, 0);
	put(heap, 4);
	CHECK(in(s, COW_GVA + 8) == 0x1111 && in(s, TINY_DATA_GVA) == 0x2222);
	CHECK(in(s, heap) == 0x3333 && in(s, heap + PAGE) == 0);
	CHECK(live(COW_GVA + 8) == 0 && live(heap) == 4);
	CHECK(in(w.snapshot, COW_GVA + 8) == 0 && in(w.snapshot, heap) == 0);
	const struct mote_snapshot_info info = info_of(s);
	CHECK(info.is_ready && info.generation == 1 && info.layer_count == 2);
	CHECK_EQ(info.memory_bytes, info_of(w.snapshot).memory_bytes + 3 * PAGE);
	mote_snapshot_unref(s);
	world_free(&w);
}

TEST(take__of_a_new_sandbox_is_not_ready)
{
	open_with(NULL);
	world_sandbox(&w, NULL);
	put(COW_GVA, 7);
	mote_snapshot *s = take();
	CHECK(!info_of(s).is_ready && in(s, COW_GVA) == 7);
	CHECK_EQ(mote_sandbox_state(w.sandbox), MOTE_STATE_NEW);
	mote_sandbox *fork = NULL;
	OK(&w, mote_sandbox_create(w.engine, s, w.host, NULL, &fork, &w.err));
	CHECK_EQ(mote_sandbox_state(fork), MOTE_STATE_NEW);
	OK(&w, mote_sandbox_start(fork, 0, &w.err));
	CHECK(w.hypervisor->machine->is_initialise);
	mote_sandbox_destroy(fork);
	mote_snapshot_unref(s);
	world_free(&w);
}

TEST(take__twice_gives_the_same_snapshot)
{
	open_with(NULL);
	world_sandbox(&w, NULL);
	mote_snapshot *image = take();
	CHECK(image == w.snapshot);
	OK(&w, mote_sandbox_start(w.sandbox, 0, &w.err));
	mote_snapshot *first = take(), *second = take();
	CHECK(first == second && first != image);
	/* Reading is no change, writing is, and so is a call. */
	(void)live(COW_GVA);
	mote_snapshot *third = take();
	CHECK(third == first);
	put(COW_GVA, 0);
	mote_snapshot *fourth = take();
	CHECK(fourth != first);
	OK(&w, world_call(&w, MOTE_VOID, NULL));
	mote_snapshot *fifth = take();
	CHECK(fifth != fourth && info_of(fifth).generation == 3);
	/* A restore is back at that one. */
	OK(&w, mote_sandbox_restore(w.sandbox, first, NULL, &w.err));
	mote_snapshot *sixth = take();
	CHECK(sixth == first);
	mote_snapshot *const all[] = {image, first, second, third, fourth, fifth, sixth};
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		mote_snapshot_unref(all[i]);
	world_free(&w);
}

TEST(take__with_metadata_makes_another_snapshot)
{
	const struct mote_metadata m = {"a", "1"};
	mote_snapshot *named = NULL;
	ready();
	mote_snapshot *s = take();
	OK(&w, take_with(&m, 1, &named));
	CHECK(named != s && info_of(named).generation == 2);
	CHECK_EQ(info_of(named).layer_count, info_of(s).layer_count);
	CHECK_EQ(layer_id(named, 0), layer_id(s, 0));
	mote_snapshot_unref(s);
	mote_snapshot_unref(named);
	world_free(&w);
}

TEST(take__generations_count_from_the_ancestor)
{
	ready();
	mote_snapshot *a = take();
	put(COW_GVA, 1);
	mote_snapshot *b = take();
	OK(&w, mote_sandbox_restore(w.sandbox, a, NULL, &w.err));
	put(COW_GVA, 2);
	mote_snapshot *c = take();
	CHECK(info_of(w.snapshot).generation == 0 && info_of(a).generation == 1);
	CHECK(info_of(b).generation == 2 && info_of(c).generation == 2 && b != c);
	mote_snapshot_unref(a);
	mote_snapshot_unref(b);
	mote_snapshot_unref(c);
	world_free(&w);
}

/* ---- layers ---------------------------------------------------------------------------------- */

TEST(take__layers_are_shared)
{
	ready();
	put(COW_GVA, 1);
	mote_snapshot *a = take();
	put(COW_GVA + PAGE, 2);
	mote_snapshot *b = take();
	CHECK(info_of(a).layer_count == 2 && info_of(b).layer_count == 3);
	CHECK(layer_id(a, 0) == layer_id(w.snapshot, 0) && layer_id(b, 0) == layer_id(a, 0));
	CHECK(layer_id(a, 1) != layer_id(a, 0) && layer_id(b, 1) == layer_id(a, 1));
	CHECK(layer_id(b, 2) != layer_id(b, 1) && layer_id(b, 2) != layer_id(b, 0));
	struct mote_layer layer;
	CHECK_EQ(mote_snapshot_get_layer(b, 3, &layer), MOTE_EINVAL);
	CHECK_EQ(mote_snapshot_get_layer(b, UINT32_MAX, &layer), MOTE_EINVAL);
	/* Only what changed. */
	CHECK_EQ(mote_snapshot_get_layer(b, 2, &layer), MOTE_OK);
	CHECK_EQ(layer.bytes, PAGE);
	/* Parents go first. */
	mote_snapshot_unref(w.snapshot);
	w.snapshot = NULL;
	mote_snapshot_unref(a);
	CHECK(in(b, COW_GVA) == 1 && in(b, COW_GVA + PAGE) == 2 && in(b, COW_GVA + 2 * PAGE) == 0);
	mote_sandbox_destroy(w.sandbox);
	OK(&w, mote_sandbox_create(w.engine, b, w.host, NULL, &w.sandbox, &w.err));
	CHECK(live(COW_GVA) == 1 && live(COW_GVA + PAGE) == 2);
	mote_snapshot_unref(b);
	CHECK_EQ(live(COW_GVA), 1);
	world_free(&w);
}

TEST(take__pages_that_came_back_are_not_stored)
{
	ready();
	put(COW_GVA, 1);
	mote_snapshot *a = take();
	put(COW_GVA, 2);
	put(COW_GVA, 1);
	mote_snapshot *b = take();
	CHECK(b != a && info_of(b).layer_count == info_of(a).layer_count);
	CHECK_EQ(info_of(b).dead_bytes, info_of(a).dead_bytes);
	/* Nor pages of zeroes. */
	put(COW_GVA, 0);
	mote_snapshot *c = take();
	CHECK_EQ(info_of(c).layer_count, info_of(b).layer_count);
	CHECK_EQ(info_of(c).dead_bytes, info_of(b).dead_bytes + PAGE);
	CHECK(in(c, COW_GVA) == 0 && in(b, COW_GVA) == 1);
	mote_snapshot_unref(a);
	mote_snapshot_unref(b);
	mote_snapshot_unref(c);
	world_free(&w);
}

TEST(take__dead_pages_are_counted)
{
	ready();
	put(COW_GVA, 1);
	mote_snapshot *s = take();
	uint64_t dead = info_of(s).dead_bytes;
	for (unsigned i = 2; i < 6; i++) {
		mote_snapshot_unref(s);
		put(COW_GVA, i);
		s = take();
		CHECK_EQ(info_of(s).dead_bytes, dead + (i - 1) * PAGE);
	}
	mote_snapshot *flat = NULL;
	OK(&w, mote_snapshot_flatten(s, &flat, &w.err));
	CHECK(info_of(flat).dead_bytes == 0 && info_of(flat).layer_count == 1);
	CHECK(info_of(flat).memory_bytes <= info_of(s).memory_bytes - 4 * PAGE);
	CHECK_EQ(in(flat, COW_GVA), 5);
	mote_snapshot_unref(flat);
	mote_snapshot_unref(s);
	world_free(&w);
}

TEST(take__more_than_32_layers_are_compacted)
{
	mote_snapshot *s = NULL, *kept = NULL;
	ready();
	for (uint32_t i = 1; i <= 2 * MOTE__LAYERS_MAX; i++) {
		mote_snapshot_unref(s);
		put(COW_GVA + i % 3 * PAGE, i);
		s = take();
		CHECK(info_of(s).layer_count <= MOTE__LAYERS_MAX && info_of(s).generation == i);
		if (i < MOTE__LAYERS_MAX)
			CHECK_EQ(info_of(s).layer_count, i + 1);
		if (i == MOTE__LAYERS_MAX)
			CHECK_EQ(info_of(s).layer_count, 2);
		for (uint32_t j = 0; j < 3 && j < i; j++)
			CHECK_EQ(in(s, COW_GVA + (i - j) % 3 * PAGE), i - j);
		if (i == MOTE__LAYERS_MAX - 1)
			kept = mote_snapshot_ref(s);
	}
	/* The sandbox is none the wiser. */
	CHECK_EQ(live(COW_GVA), 63);
	OK(&w, mote_sandbox_restore(w.sandbox, s, NULL, &w.err));
	CHECK_EQ(live(COW_GVA + PAGE), 64);
	OK(&w, mote_sandbox_restore(w.sandbox, kept, NULL, &w.err));
	CHECK_EQ(live(COW_GVA + PAGE), 31);
	mote_snapshot_unref(kept);
	mote_snapshot_unref(s);
	world_free(&w);
}

TEST(take__many_dead_pages_are_compacted)
{
	static uint8_t block[3 << 20];
	const struct mote_snapshot_options o = {.size = sizeof o, .heap_bytes = 4 << 20};
	open_with(&o);
	world_sandbox(&w, NULL);
	OK(&w, mote_sandbox_start(w.sandbox, 0, &w.err));
	mote_snapshot *s = NULL;
	const uint64_t heap = w.snapshot->layout.heap_gva;
	/* Three snapshots of 3 MiB each: 6 MiB are dead then, and it pays. */
	for (uint32_t i = 1; i <= 4; i++) {
		mote_snapshot_unref(s);
		for (size_t at = 0; at < sizeof block; at += 8)
			memcpy(block + at, &(uint64_t){at + i}, 8);
		OK(&w, mote_sandbox_write(w.sandbox, heap, block, sizeof block, &w.err));
		s = take();
		CHECK_EQ(info_of(s).layer_count, i == 4 ? 2 : i + 1);
		CHECK(info_of(s).dead_bytes <= 2 * sizeof block);
		CHECK_EQ(in(s, heap + 8), 8 + i);
		CHECK_EQ(in(s, heap + sizeof block - 8), sizeof block - 8 + i);
	}
	mote_snapshot_unref(s);
	world_free(&w);
}

/* ---- flattening ------------------------------------------------------------------------------ */

TEST(take__flattening_keeps_everything_but_layers)
{
	ready();
	put(COW_GVA, 1);
	put(w.snapshot->layout.heap_gva, 2);
	mote_snapshot *s = take(), *flat = NULL, *again = NULL;
	OK(&w, mote_snapshot_flatten(s, &flat, &w.err));
	OK(&w, mote_snapshot_flatten(w.snapshot, &again, &w.err));
	const struct mote_snapshot_info a = info_of(s), b = info_of(flat);
	CHECK(a.is_ready == b.is_ready && a.generation == b.generation);
	CHECK(a.dispatch_gva == b.dispatch_gva && a.entry_gva == b.entry_gva);
	CHECK(b.layer_count == 1 && b.memory_bytes <= a.memory_bytes);
	for (uint64_t gva = TINY_GVA; gva < TINY_DATA_GVA + 20 * PAGE; gva += PAGE) {
		uint8_t x[PAGE], y[PAGE], z[PAGE], image[PAGE];
		OK(&w, mote_snapshot_read(s, gva, x, PAGE, &w.err));
		OK(&w, mote_snapshot_read(flat, gva, y, PAGE, &w.err));
		CHECK_MEM(x, y, PAGE);
		OK(&w, mote_snapshot_read(w.snapshot, gva, image, PAGE, &w.err));
		OK(&w, mote_snapshot_read(again, gva, z, PAGE, &w.err));
		CHECK_MEM(image, z, PAGE);
	}
	CHECK(layer_id(flat, 0) != layer_id(s, 0));
	/* A flat image can be initialised. */
	mote_sandbox *fork = NULL;
	OK(&w, mote_sandbox_create(w.engine, again, w.host, NULL, &fork, &w.err));
	OK(&w, mote_sandbox_start(fork, 0, &w.err));
	mote_sandbox_destroy(fork);
	OK(&w, mote_sandbox_restore(w.sandbox, flat, NULL, &w.err));
	CHECK(live(COW_GVA) == 1 && live(w.snapshot->layout.heap_gva) == 2);
	mote_snapshot_unref(s);
	mote_snapshot_unref(again);
	mote_snapshot_unref(flat);
	world_free(&w);
}

/* ---- reading --------------------------------------------------------------------------------- */

TEST(take__reading_a_snapshot_checks_addresses)
{
	uint8_t bytes[3 * PAGE];
	ready();
	mote_snapshot *s = take();
	const struct mote__layout *l = &s->layout;
	const uint64_t end = l->heap_gva + l->heap_bytes;
	OK(&w, mote_snapshot_read(s, end - PAGE, bytes, PAGE, &w.err));
	memset(bytes, 0x5A, sizeof bytes);
	FAILS(&w, mote_snapshot_read(s, end - PAGE, bytes, PAGE + 1, &w.err), MOTE_EADDR);
	CHECK(w.err.fault_gva == end && bytes[0] == 0x5A);
	FAILS(&w, mote_snapshot_read(s, 0, bytes, 1, &w.err), MOTE_EADDR);
	FAILS(&w, mote_snapshot_read(s, UINT64_MAX - 1, bytes, 4, &w.err), MOTE_EADDR);
	FAILS(&w, mote_snapshot_read(s, 1ull << 60, bytes, 4, &w.err), MOTE_EADDR);
	/* The library's own pages are in no snapshot. */
	FAILS(&w, mote_snapshot_read(s, MOTE__PAGE_GVA(MOTE__PARAMS_PAGE), bytes, 8, &w.err),
	      MOTE_EADDR);
	FAILS(&w, mote_snapshot_read(s, MOTE__SELF_GVA, bytes, 8, &w.err), MOTE_EADDR);
	OK(&w, mote_snapshot_read(s, 0, NULL, 0, &w.err));
	OK(&w, mote_snapshot_read(s, TINY_DATA_GVA + 0x80, bytes, 2 * PAGE, &w.err));
	CHECK(bytes[0] == 0x81 && bytes[1] == 0x82);
	mote_snapshot_unref(s);
	world_free(&w);
}

/* ---- failures -------------------------------------------------------------------------------- */

TEST(take__a_failure_changes_nothing)
{
	mote_snapshot *s = NULL;
	ready();
	put(COW_GVA, 1);
	w.hypervisor->fail = DOUBLE_GET_SPECIAL;
	FAILS(&w, mote_snapshot_take(w.sandbox, NULL, &s, &w.err), MOTE_ESYSTEM);
	CHECK(s == NULL && mote_sandbox_state(w.sandbox) == MOTE_STATE_READY);
	w.hypervisor->fail = 0;
	CHECK_EQ(live(COW_GVA), 1);
	OK(&w, world_call(&w, MOTE_VOID, NULL));
	s = take();
	CHECK(info_of(s).generation == 1 && in(s, COW_GVA) == 1);
	mote_snapshot_unref(s);
	world_free(&w);
}

TEST_BOTH(take__segments_of_the_guest_are_kept)
{
	mote_snapshot *s = NULL;
	world_ready(&w, kind, &good);
	w.machine->special.fs.base = 0x123450;
	w.machine->special.gs.base = 0x678900;
	OK(&w, mote_snapshot_take(w.sandbox, NULL, &s, &w.err));
	w.machine->special.fs.base = 1;
	mote_sandbox *fork = NULL;
	OK(&w, mote_sandbox_create(w.engine, s, w.host, NULL, &fork, &w.err));
	const struct double_machine *m = w.hypervisor->machine;
	CHECK(m != w.machine);
	CHECK(m->special.fs.base == 0x123450 && m->special.gs.base == 0x678900);
	/* One of that which did not run has them, too. */
	mote_snapshot *again = NULL;
	const struct mote_metadata name = {"a", "1"};
	const struct mote_take_options o = {
		.size = sizeof o, .metadata = &name, .metadata_count = 1};
	OK(&w, mote_snapshot_take(fork, &o, &again, &w.err));
	CHECK(again != s && again->special.fs.base == 0x123450);
	mote_sandbox_destroy(fork);
	mote_snapshot_unref(again);
	mote_snapshot_unref(s);
	world_free(&w);
}

/* ---- stock guests ---------------------------------------------------------------------------- */

TEST(take__a_stock_guest_can_be_taken_and_forked)
{
	const struct tiny_options image = {.data_bytes = 20 * PAGE};
	world_make_of(&w, &image, NULL, &good);
	world_sandbox(&w, NULL);
	OK(&w, mote_sandbox_start(w.sandbox, 0, &w.err));
	put(COW_GVA, 0x1111);
	mote_snapshot *a = take();
	put(COW_GVA, 0x2222);
	mote_snapshot *b = take(), *flat = NULL;
	CHECK(in(a, COW_GVA) == 0x1111 && in(b, COW_GVA) == 0x2222);
	CHECK(in(w.snapshot, COW_GVA) == 0);
	CHECK(info_of(a).generation == 1 && info_of(b).generation == 2 && info_of(b).is_ready);
	OK(&w, mote_snapshot_flatten(b, &flat, &w.err));
	CHECK(info_of(flat).layer_count == 1 && in(flat, COW_GVA) == 0x2222);
	mote_sandbox *fork = NULL;
	OK(&w, mote_sandbox_create(w.engine, a, w.host, NULL, &fork, &w.err));
	CHECK_EQ(mote_sandbox_state(fork), MOTE_STATE_READY);
	OK(&w, mote_sandbox_restore(w.sandbox, flat, NULL, &w.err));
	CHECK_EQ(live(COW_GVA), 0x2222);
	put(COW_GVA, 3);
	OK(&w, mote_sandbox_restore(w.sandbox, a, NULL, &w.err));
	CHECK_EQ(live(COW_GVA), 0x1111);
	OK(&w, mote_sandbox_restore(w.sandbox, w.snapshot, NULL, &w.err));
	CHECK(live(COW_GVA) == 0 && mote_sandbox_state(w.sandbox) == MOTE_STATE_NEW);
	OK(&w, world_call(&w, MOTE_VOID, NULL));
	mote_sandbox_destroy(fork);
	mote_snapshot_unref(a);
	mote_snapshot_unref(b);
	mote_snapshot_unref(flat);
	world_free(&w);
}
