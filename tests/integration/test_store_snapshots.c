/* SPDX-License-Identifier: MIT */
/*
 * Snapshots of real guests that were saved and loaded again: a loaded one is the saved one, to its
 * guest, to the host and to every operation on sandboxes; what a save adds is what changed; and a
 * loaded one starts as warm as it was. (Spaces of 32-bit guests: test_store_spaces.)
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "keep.h"
#include "tree.h"

#define KEEP_MSR 0xC0000102u

static char directory[TREE_PATH_BYTES];

/* ---- saving and loading ---------------------------------------------------------------------- */

static struct mote_saved save_as(struct system *s, mote_snapshot *snapshot, const char *tag)
{
	const struct mote_save_options options = {.size = sizeof options, .tag = tag};
	struct mote_saved saved;
	OK(s, mote_snapshot_save(snapshot, directory, &options, &saved, &s->err));
	return saved;
}

static struct mote_saved save(struct system *s, mote_snapshot *snapshot)
{
	return save_as(s, snapshot, "latest");
}

static mote_snapshot *load_with(struct system *s, struct mote_load_options *options)
{
	mote_snapshot *snapshot = NULL;
	options->size = sizeof *options;
	OK(s, mote_snapshot_load(directory, NULL, options, &snapshot, &s->err));
	return snapshot;
}

static mote_snapshot *load(struct system *s)
{
	return load_with(s, &(struct mote_load_options){0});
}

static mote_snapshot *load_trusting(struct system *s)
{
	return load_with(s, &(struct mote_load_options){.trust_memory_without_verifying = 1});
}

static void check_same_info(const mote_snapshot *a, const mote_snapshot *b)
{
	struct mote_snapshot_info x, y;
	mote_snapshot_get_info(a, &x);
	mote_snapshot_get_info(b, &y);
	/* How tables are put together may differ. */
	x.table_bytes = y.table_bytes = 0;
	/* Pages of zeroes that were hidden are holes now. */
	CHECK(y.dead_bytes == x.dead_bytes || (!x.is_confined && y.dead_bytes < x.dead_bytes));
	x.dead_bytes = y.dead_bytes = 0;
	for (size_t i = 0; i < sizeof x; i++)
		if (((const uint8_t *)&x)[i] != ((const uint8_t *)&y)[i])
			check_failed(__FILE__, __LINE__, "byte %zu of the facts differs", i);
}

static void check_same_lists(const mote_snapshot *a, const mote_snapshot *b)
{
	struct mote_function f, g;
	struct mote_region r, q;
	uint32_t i;
	for (i = 0; mote_snapshot_get_export(a, i, &f) == MOTE_OK; i++) {
		CHECK_EQ(mote_snapshot_get_export(b, i, &g), MOTE_OK);
		CHECK_STR(f.name, g.name);
		CHECK(f.result == g.result && f.parameter_count == g.parameter_count);
		CHECK_MEM(f.parameters, g.parameters, f.parameter_count);
	}
	CHECK(mote_snapshot_get_export(b, i, &g) < 0);
	for (i = 0; mote_snapshot_get_import(a, i, &f) == MOTE_OK; i++) {
		CHECK_EQ(mote_snapshot_get_import(b, i, &g), MOTE_OK);
		CHECK_STR(f.name, g.name);
	}
	CHECK(mote_snapshot_get_import(b, i, &g) < 0);
	for (i = 0; mote_snapshot_get_region(a, i, &r) == MOTE_OK; i++) {
		CHECK_EQ(mote_snapshot_get_region(b, i, &q), MOTE_OK);
		CHECK_STR(r.name, q.name);
		CHECK(r.gva == q.gva && r.bytes == q.bytes);
		/* A page of the write set may be in its frame already. */
		CHECK(r.gpa == q.gpa || r.is_cow);
		CHECK(r.access == q.access && r.is_cow == q.is_cow && r.is_demand == q.is_demand);
	}
	CHECK(mote_snapshot_get_region(b, i, &q) < 0);
}

/* b is what a is. */
static void check_same(struct system *s, mote_snapshot *a, mote_snapshot *b)
{
	uint8_t x[MOTE_DIGEST_BYTES], y[MOTE_DIGEST_BYTES];
	OK(s, mote_snapshot_digest(a, x, &s->err));
	OK(s, mote_snapshot_digest(b, y, &s->err));
	CHECK_MEM(x, y, sizeof x);
	check_same_info(a, b);
	check_same_lists(a, b);
}

/* Save, load in either way, and it is the same, and saves as the same. */
static mote_snapshot *round_trip(struct system *s, mote_snapshot *snapshot)
{
	struct mote_saved first = save(s, snapshot);
	mote_snapshot *loaded = load(s), *trusted = load_trusting(s);
	check_same(s, snapshot, loaded);
	check_same(s, snapshot, trusted);
	struct mote_saved again = save(s, loaded);
	CHECK_STR(again.digest, first.digest);
	CHECK_EQ(again.blobs_written, 0);
	again = save(s, trusted);
	CHECK_STR(again.digest, first.digest);
	mote_snapshot_unref(trusted);
	return loaded;
}

/* ---- confined guests ------------------------------------------------------------------------- */

/* Word i of the data of model_guest; returns what was there and, if is_write, puts value. */
static uint64_t touch(struct system *s, uint64_t gva, uint64_t value, bool is_write)
{
	const uint64_t one[3] = {gva, value, is_write};
	uint64_t found = 0;
	struct mote_value v = CALL(s, MOTE_BYTES, "touch", mote_bytes(one, sizeof one));
	CHECK_EQ(v.bytes.len, 8);
	memcpy(&found, v.bytes.data, 8);
	return found;
}

static void begin(struct system *s, uint64_t *data)
{
	tree_make(directory);
	OPEN(s, "model_guest", .snapshot = {.heap_bytes = 1 << 20, .mapping_bytes = 0x100000});
	*data = CALL_U64(s, "data_address");
}

static void end(struct system *s)
{
	system_close(s);
	tree_remove(directory);
}

TEST(store_snapshots__an_image_starts_anew)
{
	struct system s;
	uint64_t data;
	begin(&s, &data);
	mote_snapshot *loaded = round_trip(&s, s.snapshot);
	fork_of(&s, loaded);
	CHECK_EQ(mote_sandbox_state(s.sandbox), MOTE_STATE_NEW);
	CHECK_EQ(CALL_U64(&s, "data_address"), data);
	CHECK_EQ(touch(&s, data + 56, 0, false), 100);
	mote_snapshot_unref(loaded);
	end(&s);
}

TEST(store_snapshots__a_ready_one_goes_on)
{
	struct system s;
	uint64_t data;
	begin(&s, &data);
	for (unsigned i = 0; i < 24; i++)
		(void)touch(&s, data + i * PAGE, 1000 + i, true);
	mote_snapshot *taken = take(&s);
	mote_snapshot *loaded = round_trip(&s, taken);
	fork_of(&s, loaded);
	CHECK_EQ(mote_sandbox_state(s.sandbox), MOTE_STATE_READY);
	for (unsigned i = 0; i < 24; i++)
		CHECK_EQ(touch(&s, data + i * PAGE, 1, true), 1000 + i);
	/* Between the two, in both directions, and poisoned between. */
	for (unsigned turn = 0; turn < 4; turn++) {
		restore(&s, turn % 2 ? loaded : taken);
		for (unsigned i = 0; i < 24; i++)
			CHECK_EQ(touch(&s, data + i * PAGE, 2, true), 1000 + i);
		FAILS(&s, MOTE_EABORT, "", MOTE_VOID, "crash", mote_u64(8));
	}
	restore(&s, loaded);
	/* Goes on from there. */
	(void)touch(&s, data, 77, true);
	mote_snapshot *child = take(&s);
	struct mote_snapshot_info info;
	mote_snapshot_get_info(child, &info);
	CHECK_EQ(info.generation, 2);
	mote_snapshot_unref(loaded);
	mote_snapshot_unref(taken);
	CHECK_EQ(touch(&s, data, 0, false), 77);
	loaded = round_trip(&s, child);
	mote_snapshot_unref(child);
	fork_of(&s, loaded);
	CHECK_EQ(touch(&s, data, 0, false), 77);
	mote_snapshot_unref(loaded);
	end(&s);
}

/* The process that loads has nothing of the one that saved. */
TEST(store_snapshots__flattened_and_trusted_ones_run)
{
	struct system s;
	uint64_t data;
	begin(&s, &data);
	mote_snapshot *taken = take(&s), *flat = NULL;
	(void)touch(&s, data, 5, true);
	mote_snapshot *second = take(&s);
	mote_snapshot_unref(taken);
	OK(&s, mote_snapshot_flatten(second, &flat, &s.err));
	mote_snapshot_unref(second);
	mote_snapshot_unref(round_trip(&s, flat));
	mote_snapshot_unref(flat);
	mote_snapshot *trusted = load_trusting(&s), *loaded = load(&s);
	for (unsigned i = 0; i < 3; i++) {
		fork_of(&s, i ? trusted : loaded);
		CHECK_EQ(touch(&s, data, 6, true), 5);
		CHECK_EQ(touch(&s, data, 6, true), 6);
		restore(&s, i ? loaded : trusted);
		CHECK_EQ(touch(&s, data, 6, true), 5);
	}
	/* The store's files were mapped: they are as they were. */
	OK(&s, mote_store_verify(directory, NULL, NULL, NULL, NULL, &s.err));
	OK(&s, mote_snapshot_flatten(trusted, &flat, &s.err));
	fork_of(&s, flat);
	CHECK_EQ(touch(&s, data, 0, false), 5);
	mote_snapshot_unref(flat);
	mote_snapshot_unref(trusted);
	mote_snapshot_unref(loaded);
	end(&s);
}

/* Each save writes what its generation added, whatever the others hold. */
TEST(store_snapshots__ten_generations_are_saved_by_what_they_add)
{
	struct system s;
	uint64_t data;
	mote_snapshot *generation[10];
	begin(&s, &data);
	for (unsigned i = 0; i < 10; i++) {
		char tag[16];
		(void)touch(&s, data + i * PAGE, 500 + i, true);
		generation[i] = take(&s);
		(void)snprintf(tag, sizeof tag, "g%u", i);
		struct mote_saved saved = save_as(&s, generation[i], tag);
		/* Layer, mappings, configuration, manifest. */
		if (i)
			CHECK(saved.blobs_written <= 4 && saved.bytes_written < 20 * PAGE);
		CHECK(saved.bytes >= saved.bytes_written && saved.blobs >= saved.blobs_written);
		struct mote_saved again = save_as(&s, generation[i], tag);
		CHECK(again.blobs_written == 0 && again.bytes_written == 0);
	}
	OK(&s, mote_store_verify(directory, NULL, NULL, NULL, NULL, &s.err));
	/* All at once, each sharing memory with the one before. */
	mote_snapshot *loaded[10];
	for (unsigned i = 0; i < 10; i++) {
		char tag[16];
		const struct mote_load_options options = {
			.size = sizeof options, .share = loaded, .share_count = i};
		struct mote_layer mine, theirs;
		(void)snprintf(tag, sizeof tag, "g%u", i);
		OK(&s, mote_snapshot_load(directory, tag, &options, &loaded[i], &s.err));
		check_same(&s, generation[i], loaded[i]);
		if (!i)
			continue;
		CHECK_EQ(mote_snapshot_get_layer(loaded[i], 0, &mine), MOTE_OK);
		CHECK_EQ(mote_snapshot_get_layer(loaded[0], 0, &theirs), MOTE_OK);
		struct mote_snapshot_info info;
		mote_snapshot_get_info(loaded[i], &info);
		if (info.layer_count > 1)
			CHECK_EQ(mine.id, theirs.id);
	}
	for (unsigned i = 0; i < 10; i++) {
		mote_snapshot_unref(generation[i]);
		restore(&s, loaded[9 - i]);
		for (unsigned k = 0; k < 10; k++)
			CHECK_EQ(touch(&s, data + k * PAGE, 0, false), k <= 9 - i ? 500 + k : 0);
	}
	for (unsigned i = 0; i < 10; i++)
		mote_snapshot_unref(loaded[i]);
	end(&s);
}

/* Layers of what is saved already are shared with what is loaded. */
TEST(store_snapshots__memory_is_shared_with_what_was_saved)
{
	struct system s;
	uint64_t data;
	struct mote_layer mine, theirs;
	begin(&s, &data);
	mote_snapshot *taken = take(&s);
	(void)save(&s, taken);
	mote_snapshot *loaded =
		load_with(&s, &(struct mote_load_options){.share = &taken, .share_count = 1});
	check_same(&s, taken, loaded);
	for (uint32_t i = 0; mote_snapshot_get_layer(taken, i, &mine) == MOTE_OK; i++) {
		CHECK_EQ(mote_snapshot_get_layer(loaded, i, &theirs), MOTE_OK);
		CHECK_EQ(mine.id, theirs.id);
	}
	mote_snapshot_unref(taken);
	fork_of(&s, loaded);
	CHECK_EQ(touch(&s, data + 56, 0, false), 100);
	mote_snapshot_unref(loaded);
	end(&s);
}

static uint64_t exits_of_a_call(struct system *s, mote_snapshot *snapshot, uint64_t data)
{
	struct mote_statistics before, after;
	fork_of(s, snapshot);
	mote_sandbox_get_statistics(s->sandbox, &before, sizeof before);
	for (unsigned i = 0; i < 8; i++)
		(void)touch(s, data + i * PAGE, i, true);
	mote_sandbox_get_statistics(s->sandbox, &after, sizeof after);
	return after.vm_entries - before.vm_entries;
}

TEST(store_snapshots__a_loaded_one_is_as_warm_as_it_was)
{
	struct system s;
	uint64_t data;
	begin(&s, &data);
	mote_snapshot *taken = take(&s);
	/* Restores learn what calls write. */
	for (unsigned turn = 0; turn < 6; turn++) {
		for (unsigned i = 0; i < 8; i++)
			(void)touch(&s, data + i * PAGE, i, true);
		restore(&s, taken);
	}
	uint64_t warm = exits_of_a_call(&s, taken, data);
	mote_snapshot *loaded = round_trip(&s, taken);
	struct mote_snapshot_info info, loaded_info;
	mote_snapshot_get_info(taken, &info);
	mote_snapshot_get_info(loaded, &loaded_info);
	CHECK_EQ(info.write_set_pages, loaded_info.write_set_pages);
	CHECK_EQ(exits_of_a_call(&s, loaded, data), warm);
	mote_snapshot_unref(taken);
	mote_snapshot_unref(loaded);
	end(&s);
}

/* ---- what a snapshot carries ----------------------------------------------------------------- */

TEST(store_snapshots__metadata_and_symbols_come_back)
{
	static const struct mote_metadata metadata[] = {
		{"com.example.a", "{\"a\":[1,2,{\"b\":\"\\u00e9\"}]}"}, {"b", "\"\xc3\xa9\\n\""}};
	const struct mote_take_options options = {
		.size = sizeof options, .metadata = metadata, .metadata_count = 2};
	struct system s;
	uint64_t data;
	char one[256], other[256];
	mote_snapshot *taken = NULL;
	begin(&s, &data);
	OK(&s, mote_snapshot_take(s.sandbox, &options, &taken, &s.err));
	mote_snapshot *loaded = round_trip(&s, taken);
	for (uint32_t i = 0; i < 2; i++) {
		struct mote_metadata m;
		CHECK_EQ(mote_snapshot_get_metadata(loaded, i, &m), MOTE_OK);
		CHECK_STR(m.name, metadata[i].name);
		CHECK_STR(m.json, metadata[i].json);
	}
	unsigned named = 0;
	for (uint64_t gva = 0; gva < 0x10000; gva += 0x80) {
		int rc = mote_snapshot_symbolize(taken, gva, one, sizeof one);
		CHECK_EQ(mote_snapshot_symbolize(loaded, gva, other, sizeof other), rc);
		if (rc == MOTE_OK)
			CHECK_STR(one, other);
		named += rc == MOTE_OK;
	}
	CHECK(named > 0);
	mote_snapshot_unref(taken);
	mote_snapshot_unref(loaded);
	end(&s);
}

/* What a guest had mapped is in the snapshot, without the file. */
TEST(store_snapshots__mappings_are_saved_as_memory)
{
	static _Alignas(4096) uint64_t memory[4 * 512];
	struct system s;
	uint64_t data, at = 0;
	begin(&s, &data);
	for (unsigned i = 0; i < 4 * 512; i++)
		memory[i] = i;
	const struct mote_mapping mapping = {.size = sizeof mapping,
					     .memory = memory,
					     .bytes = sizeof memory,
					     .access = MOTE_READ | MOTE_WRITE};
	OK(&s, mote_sandbox_map(s.sandbox, &mapping, &at, &s.err));
	CHECK_EQ(touch(&s, at + PAGE + 8, 4711, true), 513);
	mote_snapshot *taken = take(&s), *loaded = round_trip(&s, taken);
	mote_snapshot_unref(taken);
	fork_of(&s, loaded);
	CHECK_EQ(touch(&s, at + PAGE + 8, 0, false), 4711);
	CHECK_EQ(touch(&s, at + 3 * PAGE, 1, true), 3 * 512);
	CHECK_EQ(touch(&s, at + 3 * PAGE, 0, false), 1);
	CHECK(memory[513] == 513 && memory[3 * 512] == 3 * 512);
	mote_snapshot_unref(loaded);
	end(&s);
}

TEST(store_snapshots__a_host_that_lacks_a_function_is_refused)
{
	struct system s;
	tree_make(directory);
	OPEN(&s, "hello");
	CHECK_STR(CALL_TEXT(&s, "greet", mote_string("you")), "YOU");
	mote_snapshot *taken = take(&s), *loaded = round_trip(&s, taken);
	mote_sandbox *sandbox = NULL;
	mote_host *poor = NULL;
	OK(&s, mote_host_create(&poor, &s.err));
	CHECK_EQ(mote_sandbox_create(s.engine, loaded, poor, NULL, &sandbox, &s.err), MOTE_EIMPORT);
	CHECK_HAS(s.err.message, "upper");
	CHECK(!sandbox);
	mote_host_unref(poor);
	fork_of(&s, loaded);
	CHECK_STR(CALL_TEXT(&s, "greet", mote_string("me")), "ME");
	mote_snapshot_unref(taken);
	mote_snapshot_unref(loaded);
	end(&s);
}

/* ---- stock guests ---------------------------------------------------------------------------- */

static mote_snapshot *stock_round_trip(struct system *s, mote_snapshot *snapshot)
{
	static const uint32_t msrs[] = {KEEP_MSR};
	struct mote_saved first = save(s, snapshot);
	mote_snapshot *loaded =
		load_with(s, &(struct mote_load_options){.msrs = msrs, .msr_count = 1});
	check_same(s, snapshot, loaded);
	CHECK_STR(save(s, loaded).digest, first.digest);
	return loaded;
}

TEST(store_snapshots__a_stock_guest_goes_on)
{
	static const uint32_t msrs[] = {KEEP_MSR};
	struct system s;
	tree_make(directory);
	KEEP(&s, .snapshot = {.msrs = msrs, .msr_count = 1});
	const uint64_t data = DO(&s, "data");
	(void)DO(&s, "own_", mote_u64(data));
	poke(&s, data, 0x1111);
	(void)DO(&s, "wrms", mote_u64(KEEP_MSR), mote_u64(0x1234000));
	mote_snapshot *first = take(&s);
	poke(&s, data, 0x2222);
	const uint64_t gpa = new_page(&s, 0x3333);
	map_page(&s, 0, SPACE(1), gpa | LEAF_RW | NX);
	map_page(&s, 0, SPACE(1) + PAGE, gpa | LEAF_RO | NX);
	mote_snapshot *second = take(&s);
	mote_snapshot *loaded = stock_round_trip(&s, first);
	mote_snapshot *other = stock_round_trip(&s, second);
	for (unsigned turn = 0; turn < 6; turn++) {
		mote_snapshot *const from[] = {loaded, other, first, second};
		bool is_second = turn % 2;
		if (turn < 2)
			fork_of(&s, from[turn]);
		else
			restore(&s, from[turn % 4]);
		CHECK_EQ(leaf(&s, data) & 0xFFF, LEAF_COW);
		CHECK_EQ(peek(&s, data), is_second ? 0x2222 : 0x1111);
		CHECK_EQ(DO(&s, "rdms", mote_u64(KEEP_MSR)), 0x1234000);
		if (is_second) {
			CHECK_EQ(peek(&s, SPACE(1)), 0x3333);
			CHECK_EQ(peek(&s, SPACE(1) + PAGE), 0x3333);
			CHECK_EQ(leaf(&s, SPACE(1) + PAGE) & 0xFFF, LEAF_RO);
		} else {
			CHECK_EQ(leaf(&s, SPACE(1)), 0);
		}
		(void)DO(&s, "own_", mote_u64(data));
		poke(&s, data, 7);
		(void)DO(&s, "wrms", mote_u64(KEEP_MSR), mote_u64(0x5000));
	}
	mote_snapshot_unref(loaded);
	mote_snapshot_unref(other);
	mote_snapshot_unref(first);
	mote_snapshot_unref(second);
	end(&s);
}

TEST(store_snapshots__a_new_stock_guest_starts)
{
	static const uint32_t msrs[] = {KEEP_MSR};
	struct system s;
	tree_make(directory);
	KEEP(&s, .snapshot = {.msrs = msrs, .msr_count = 1});
	mote_snapshot *loaded = stock_round_trip(&s, s.snapshot);
	fork_of(&s, loaded);
	const uint64_t data = DO(&s, "data");
	CHECK_EQ(peek(&s, data + PAGE + 24), 0x31);
	(void)DO(&s, "own_", mote_u64(data));
	poke(&s, data, 1);
	CHECK_EQ(peek(&s, data), 1);
	mote_snapshot_unref(loaded);
	end(&s);
}

/* The same bytes of the same guest: a store tells nothing about when and where it was written. */
TEST(store_snapshots__saves_are_the_same_bytes)
{
	struct system s;
	uint64_t data;
	uint8_t x[TREE_DIGEST_BYTES], y[TREE_DIGEST_BYTES];
	begin(&s, &data);
	mote_snapshot *taken = take(&s);
	(void)save(&s, taken);
	tree_digest(directory, x);
	tree_remove(directory);
	mote_snapshot *again = mote_snapshot_ref(taken);
	(void)save(&s, again);
	tree_digest(directory, y);
	CHECK_MEM(x, y, sizeof x);
	mote_snapshot_unref(again);
	mote_snapshot_unref(taken);
	end(&s);
}

/* ---- long work ------------------------------------------------------------------------------- */

struct progress {
	uint64_t last, total;
	unsigned calls, stop_at;
};

static int look(void *cookie, uint64_t done, uint64_t total)
{
	struct progress *p = cookie;
	CHECK(done >= p->last && done <= total);
	CHECK(p->calls == 0 || p->total == total);
	p->last = done;
	p->total = total;
	return ++p->calls == p->stop_at;
}

TEST(store_snapshots__long_work_can_be_ended)
{
	struct system s;
	uint64_t data;
	uint8_t before[TREE_DIGEST_BYTES], after[TREE_DIGEST_BYTES];
	begin(&s, &data);
	mote_snapshot *taken = take(&s), *loaded = NULL;
	(void)save(&s, s.snapshot);
	OK(&s, mote_store_collect(directory, NULL, &s.err));
	tree_digest(directory, before);
	struct progress p = {.stop_at = 1};
	const struct mote_save_options options = {
		.size = sizeof options, .tag = "latest", .progress = look, .cookie = &p};
	CHECK_EQ(mote_snapshot_save(taken, directory, &options, NULL, &s.err), MOTE_ECANCELED);
	/* Nothing but a blob that was complete may have stayed. */
	OK(&s, mote_store_collect(directory, NULL, &s.err));
	tree_digest(directory, after);
	CHECK_MEM(before, after, sizeof before);
	p = (struct progress){0};
	OK(&s, mote_snapshot_save(taken, directory, &options, NULL, &s.err));
	CHECK(p.calls > 0 && p.last == p.total);
	p = (struct progress){.stop_at = 1};
	const struct mote_load_options load_options = {
		.size = sizeof load_options, .progress = look, .cookie = &p};
	CHECK_EQ(mote_snapshot_load(directory, NULL, &load_options, &loaded, &s.err),
		 MOTE_ECANCELED);
	CHECK(!loaded);
	p = (struct progress){0};
	OK(&s, mote_snapshot_load(directory, NULL, &load_options, &loaded, &s.err));
	CHECK(p.calls > 0 && p.last == p.total);
	p = (struct progress){.stop_at = 1};
	CHECK_EQ(mote_store_verify(directory, NULL, look, &p, NULL, &s.err), MOTE_ECANCELED);
	mote_snapshot_unref(loaded);
	mote_snapshot_unref(taken);
	end(&s);
}

/* Descriptors of this process. */
static unsigned open_files(void)
{
	unsigned count = 0;
	DIR *files = opendir("/proc/self/fd");
	CHECK(files);
	while (readdir(files))
		count++;
	CHECK(closedir(files) == 0);
	return count;
}

TEST(store_snapshots__nothing_is_left_open)
{
	struct system s;
	uint64_t data;
	begin(&s, &data);
	mote_snapshot *taken = take(&s);
	(void)save(&s, taken);
	unsigned before = open_files();
	for (unsigned i = 0; i < 3; i++) {
		mote_snapshot *loaded = i ? load(&s) : load_trusting(&s);
		OK(&s, mote_store_verify(directory, NULL, NULL, NULL, NULL, &s.err));
		OK(&s, mote_store_tag(directory, "latest", "other", &s.err));
		OK(&s, mote_store_collect(directory, NULL, &s.err));
		(void)save(&s, taken);
		mote_snapshot_unref(loaded);
		CHECK_EQ(open_files(), before);
	}
	mote_snapshot_unref(taken);
	end(&s);
}
