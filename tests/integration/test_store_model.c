/* SPDX-License-Identifier: MIT */
/*
 * Random operations on snapshots, sandboxes and a store, with a real guest on a real KVM, against a
 * model: a few words of pages. A snapshot that was saved and loaded takes the place of the one that
 * was, its parents and children stay what they were, and a collection takes nothing that is listed.
 * MOTE_MODEL_SEED: the seed, else a random one. MOTE_MODEL_STEPS: operations, default 600.
 */
#define _GNU_SOURCE
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "system.h"
#include "tree.h"

#define PAGE      4096ull
#define PAGES     48u
#define SANDBOXES 3u
#define SNAPSHOTS 6u
#define TAGS      4u
#define STEPS     600u

struct state {
	uint64_t word[PAGES];
};

static struct {
	mote_sandbox *s;
	struct state state;
} box[SANDBOXES];

static struct {
	mote_snapshot *s;
	struct state state;
} snap[SNAPSHOTS]; /* the first one stays */

/* What the store's tags are. */
static struct {
	bool is_there;
	struct state state;
} tagged[TAGS];

static struct system sys;
static char directory[TREE_PATH_BYTES];
static uint64_t page_gva[PAGES];
static uint64_t random_state, last_value;
static unsigned step, loads;

static unsigned below(unsigned count)
{
	return (unsigned)(check_random(&random_state) >> 16) % count;
}

#define REQUIRE(condition, format, ...)                                                          \
	do {                                                                                     \
		if (!(condition))                                                                \
			check_failed(__FILE__, __LINE__, "step %u: " format, step, __VA_ARGS__); \
	} while (0)
#define STEP_OK(call) REQUIRE((call) == MOTE_OK, "%s: %s", #call, sys.err.message)

/* ---- looking --------------------------------------------------------------------------------- */

static void check_word(const struct state *state, unsigned page, uint64_t got, const char *what)
{
	REQUIRE(got == state->word[page], "%s: page %u is 0x%llx, not 0x%llx", what, page,
		(unsigned long long)got, (unsigned long long)state->word[page]);
}

static void check_snapshot(mote_snapshot *s, const struct state *state)
{
	for (unsigned page = 0; page < PAGES; page++) {
		uint64_t got;
		STEP_OK(mote_snapshot_read(s, page_gva[page], &got, sizeof got, &sys.err));
		check_word(state, page, got, "mote_snapshot_read()");
	}
}

/* ---- operations ------------------------------------------------------------------------------ */

/* The guest reads some pages, and writes some of them. */
static void touch(unsigned i)
{
	struct {
		uint64_t address, value, is_write;
	} record[12];
	unsigned page[12], count = 1 + below(12);
	for (unsigned k = 0; k < count; k++) {
		page[k] = below(PAGES);
		record[k].address = page_gva[page[k]];
		record[k].value = below(8) ? ++last_value : 0;
		record[k].is_write = below(2);
	}
	const struct mote_value argument = mote_bytes(record, count * sizeof record[0]);
	const struct mote_call call = {.size = sizeof call,
				       .function = "touch",
				       .arguments = &argument,
				       .argument_count = 1,
				       .result = MOTE_BYTES};
	struct mote_value result;
	STEP_OK(mote_sandbox_call(box[i].s, &call, &result, &sys.err));
	REQUIRE(result.bytes.len == count * 8, "%zu bytes came back", result.bytes.len);
	for (unsigned k = 0; k < count; k++) {
		uint64_t got;
		memcpy(&got, (const char *)result.bytes.data + k * 8, 8);
		check_word(&box[i].state, page[k], got, "the guest");
		if (record[k].is_write)
			box[i].state.word[page[k]] = record[k].value;
	}
}

/* Snapshot number i from now on; takes the reference. */
static void put_snapshot(unsigned i, mote_snapshot *s, const struct state *state)
{
	const struct state copy = *state;
	mote_snapshot_unref(snap[i].s);
	snap[i].s = s;
	snap[i].state = copy;
	check_snapshot(s, &snap[i].state);
}

static void take(unsigned i)
{
	mote_snapshot *s = NULL;
	STEP_OK(mote_snapshot_take(box[i].s, NULL, &s, &sys.err));
	put_snapshot(1 + below(SNAPSHOTS - 1), s, &box[i].state);
}

static void begin_box(unsigned i, unsigned from)
{
	if (!box[i].s)
		STEP_OK(mote_sandbox_create(sys.engine, snap[from].s, sys.host, NULL, &box[i].s,
					    &sys.err));
	else
		STEP_OK(mote_sandbox_restore(box[i].s, snap[from].s, NULL, &sys.err));
	box[i].state = snap[from].state;
}

static void end_box(unsigned i)
{
	mote_sandbox_destroy(box[i].s);
	box[i].s = NULL;
}

static const char *name_of(unsigned tag, char name[8])
{
	(void)snprintf(name, 8, "t%u", tag);
	return name;
}

static void save(unsigned from)
{
	char name[8];
	unsigned tag = below(TAGS);
	const struct mote_save_options options = {.size = sizeof options,
						  .tag = name_of(tag, name)};
	STEP_OK(mote_snapshot_save(snap[from].s, directory, &options, NULL, &sys.err));
	tagged[tag].is_there = true;
	tagged[tag].state = snap[from].state;
}

static void load(unsigned tag)
{
	char name[8];
	mote_snapshot *s = NULL, *share[SNAPSHOTS];
	struct mote_load_options options = {.size = sizeof options, .share = share};
	for (unsigned i = 0; i < SNAPSHOTS; i++)
		if (snap[i].s && below(2))
			share[options.share_count++] = snap[i].s;
	options.trust_memory_without_verifying = below(3) == 0;
	int rc = mote_snapshot_load(directory, name_of(tag, name), &options, &s, &sys.err);
	if (!tagged[tag].is_there) {
		REQUIRE(rc == MOTE_ENOTFOUND, "%s is there: %d", name, rc);
		return;
	}
	STEP_OK(rc);
	loads++;
	put_snapshot(1 + below(SNAPSHOTS - 1), s, &tagged[tag].state);
}

static void remove_tag(unsigned tag)
{
	char name[8];
	int rc = mote_store_remove(directory, name_of(tag, name), &sys.err);
	REQUIRE(rc == (tagged[tag].is_there ? MOTE_OK : MOTE_ENOTFOUND), "%s: %d", name, rc);
	tagged[tag].is_there = false;
}

static void move_tag(unsigned from, unsigned to)
{
	char name[8], other[8];
	int rc = mote_store_tag(directory, name_of(from, name), name_of(to, other), &sys.err);
	REQUIRE(rc == (tagged[from].is_there ? MOTE_OK : MOTE_ENOTFOUND), "%s: %d", name, rc);
	if (rc == MOTE_OK)
		tagged[to] = tagged[from];
}

static void flatten(unsigned from)
{
	mote_snapshot *s = NULL;
	STEP_OK(mote_snapshot_flatten(snap[from].s, &s, &sys.err));
	put_snapshot(1 + below(SNAPSHOTS - 1), s, &snap[from].state);
}

static void one_step(void)
{
	unsigned i = below(SANDBOXES), from = below(SNAPSHOTS), what = below(100);
	if (!snap[from].s)
		from = 0;
	if (!box[i].s || what < 12)
		begin_box(i, from);
	else if (what < 15)
		end_box(i);
	else if (what < 50)
		touch(i);
	else if (what < 62)
		take(i);
	else if (what < 65)
		flatten(from);
	else if (what < 77)
		save(from);
	else if (what < 92)
		load(below(TAGS));
	else if (what < 94)
		remove_tag(below(TAGS));
	else if (what < 96)
		move_tag(below(TAGS), below(TAGS));
	else if (what < 98)
		STEP_OK(mote_store_collect(directory, NULL, &sys.err));
	else
		STEP_OK(mote_store_verify(directory, NULL, NULL, NULL, NULL, &sys.err));
	if (snap[from].s && below(8) == 0)
		check_snapshot(snap[from].s, &snap[from].state);
}

/* ---- all ------------------------------------------------------------------------------------- */

static void begin(void)
{
	tree_make(directory);
	OPEN(&sys, "model_guest", .snapshot.heap_bytes = 1 << 20);
	const uint64_t zeroes = CALL_U64(&sys, "zeroes_address");
	const uint64_t data = CALL_U64(&sys, "data_address");
	struct mote_region heap = {.bytes = 0};
	for (uint32_t i = 0; mote_snapshot_get_region(sys.snapshot, i, &heap) == MOTE_OK; i++)
		if (strcmp(heap.name, "heap") == 0)
			break;
	for (unsigned i = 0; i < PAGES / 3; i++) {
		page_gva[i] = zeroes + i * PAGE;
		page_gva[PAGES / 3 + i] = data + i * PAGE;
		page_gva[2 * PAGES / 3 + i] = heap.gva + heap.bytes - (i + 1) * PAGE;
	}
	OK(&sys, mote_snapshot_take(sys.sandbox, NULL, &snap[0].s, &sys.err));
	check_snapshot(snap[0].s, &snap[0].state);
	/* The store exists. */
	OK(&sys, mote_snapshot_save(snap[0].s, directory, NULL, NULL, &sys.err));
}

static void end(void)
{
	for (unsigned i = 0; i < SNAPSHOTS; i++) {
		if (snap[i].s)
			check_snapshot(snap[i].s, &snap[i].state);
		mote_snapshot_unref(snap[i].s);
		snap[i].s = NULL;
	}
	/* What the store has needs nothing of this process. */
	for (unsigned tag = 0; tag < TAGS; tag++)
		if (tagged[tag].is_there)
			load(tag);
	for (unsigned i = 0; i < SNAPSHOTS; i++)
		mote_snapshot_unref(snap[i].s);
	for (unsigned i = 0; i < SANDBOXES; i++)
		mote_sandbox_destroy(box[i].s);
	system_close(&sys);
	(void)mote_engine_trim(system_engine(), NULL);
	tree_remove(directory);
}

static uint64_t number(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);
	return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

TEST(store_model__what_was_saved_is_what_is_loaded)
{
	uint64_t seed = 0;
	begin();
	CHECK(getrandom(&seed, sizeof seed, 0) == (ssize_t)sizeof seed);
	seed = number("MOTE_MODEL_SEED", seed);
	unsigned steps = (unsigned)number("MOTE_MODEL_STEPS", system_repetitions(STEPS));
	check_note("MOTE_MODEL_SEED=%llu MOTE_MODEL_STEPS=%u", (unsigned long long)seed, steps);
	random_state = seed | 1;
	for (step = 0; step < steps; step++)
		one_step();
	end();
	check_note("%u loads", loads);
}
