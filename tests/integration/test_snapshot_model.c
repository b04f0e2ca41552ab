/* SPDX-License-Identifier: MIT */
/*
 * Random operations on snapshots and sandboxes of a real guest on a real KVM, against a model: a
 * few words of each page. What guests read, what the host reads and what snapshots hold must be the
 * model's. test_model does the same on the test double, faster and with more to look at; here the
 * processor and the kernel have a say.
 * MOTE_MODEL_SEED: the seed, else a random one. MOTE_MODEL_STEPS: operations, default 1500.
 */
#define _GNU_SOURCE
#include "system.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#define PAGE      4096ull
#define PAGES     112u
#define WORDS     2u
#define SANDBOXES 4u
#define SNAPSHOTS 6u
#define RECORDS   24u
#define STEPS     1500u

static const uint64_t word_offset[WORDS] = {0, 4088};

struct state {
	uint64_t word[PAGES][WORDS];
};

static struct {
	mote_sandbox *s;
	struct state state;
	bool is_poisoned;
} box[SANDBOXES];

static struct {
	mote_snapshot *s;
	struct state state;
} snap[SNAPSHOTS]; /* the first one stays */

static struct system sys;
static uint64_t page_gva[PAGES];
static uint64_t random_state, last_value;
static unsigned step;

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

static void check_word(const struct state *state, unsigned page, unsigned word, uint64_t got,
		       const char *what)
{
	uint64_t expected = state->word[page][word];
	REQUIRE(got == expected, "%s: word %u of page %u (0x%llx) is 0x%llx, not 0x%llx", what,
		word, page, (unsigned long long)page_gva[page], (unsigned long long)got,
		(unsigned long long)expected);
}

static void check_box(unsigned i)
{
	uint64_t got;
	for (unsigned page = 0; page < PAGES; page++)
		for (unsigned word = 0; word < WORDS; word++) {
			STEP_OK(mote_sandbox_read(box[i].s, page_gva[page] + word_offset[word],
						  &got, sizeof got, &sys.err));
			check_word(&box[i].state, page, word, got, "mote_sandbox_read()");
		}
}

static void check_snap(unsigned i)
{
	uint64_t got;
	for (unsigned page = 0; page < PAGES; page++)
		for (unsigned word = 0; word < WORDS; word++) {
			STEP_OK(mote_snapshot_read(snap[i].s, page_gva[page] + word_offset[word],
						   &got, sizeof got, &sys.err));
			check_word(&snap[i].state, page, word, got, "mote_snapshot_read()");
		}
}

/* ---- operations ------------------------------------------------------------------------------ */

/* The guest reads, and writes some of it. */
static void touch(unsigned i)
{
	struct {
		uint64_t address, value, is_write;
	} record[RECORDS];
	unsigned page[RECORDS], word[RECORDS], count = 1 + below(RECORDS);
	unsigned writes = below(4) ? below(4) : 4;
	for (unsigned k = 0; k < count; k++) {
		page[k] = below(PAGES);
		word[k] = below(WORDS);
		record[k].address = page_gva[page[k]] + word_offset[word[k]];
		record[k].value = below(8) ? ++last_value : 0;
		record[k].is_write = below(4) < writes;
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
		check_word(&box[i].state, page[k], word[k], got, "the guest");
		if (record[k].is_write)
			box[i].state.word[page[k]][word[k]] = record[k].value;
	}
}

static void host_write(unsigned i)
{
	unsigned page = below(PAGES), word = below(WORDS);
	uint64_t value = ++last_value;
	STEP_OK(mote_sandbox_write(box[i].s, page_gva[page] + word_offset[word], &value,
				   sizeof value, &sys.err));
	box[i].state.word[page][word] = value;
}

static void poison(unsigned i)
{
	const struct mote_value address = mote_u64(8);
	const struct mote_call call = {.size = sizeof call,
				       .function = "crash",
				       .arguments = &address,
				       .argument_count = 1};
	int rc = mote_sandbox_call(box[i].s, &call, NULL, &sys.err);
	REQUIRE(rc == MOTE_EABORT, "a crash: %d %s", rc, sys.err.message);
	box[i].is_poisoned = true;
}

static void put_snap(unsigned i, mote_snapshot *s, const struct state *state)
{
	const struct state copy = *state;
	mote_snapshot_unref(snap[i].s);
	snap[i].s = s;
	snap[i].state = copy;
	check_snap(i);
}

static void take(unsigned i)
{
	mote_snapshot *s = NULL;
	STEP_OK(mote_snapshot_take(box[i].s, NULL, &s, &sys.err));
	put_snap(1 + below(SNAPSHOTS - 1), s, &box[i].state);
}

static void flatten(void)
{
	unsigned from = below(SNAPSHOTS);
	mote_snapshot *s = NULL;
	if (!snap[from].s)
		return;
	STEP_OK(mote_snapshot_flatten(snap[from].s, &s, &sys.err));
	put_snap(1 + below(SNAPSHOTS - 1), s, &snap[from].state);
}

static void restore(unsigned i)
{
	const struct mote_restore_options strict = {.size = sizeof strict, .strict = 1};
	unsigned from = below(SNAPSHOTS);
	if (!snap[from].s)
		return;
	STEP_OK(mote_sandbox_restore(box[i].s, snap[from].s, below(8) ? NULL : &strict, &sys.err));
	box[i].state = snap[from].state;
	box[i].is_poisoned = false;
}

static void fork_one(unsigned i)
{
	unsigned from = below(SNAPSHOTS);
	if (!snap[from].s)
		return;
	mote_sandbox_destroy(box[i].s);
	box[i].s = NULL;
	STEP_OK(mote_sandbox_create(sys.engine, snap[from].s, sys.host, NULL, &box[i].s, &sys.err));
	box[i].state = snap[from].state;
	box[i].is_poisoned = false;
}

static void one_step(void)
{
	unsigned i = below(SANDBOXES), what = below(100);
	if (!box[i].s || what < 4)
		fork_one(i);
	else if (what < 34 || box[i].is_poisoned)
		restore(i);
	else if (what < 78)
		touch(i);
	else if (what < 86)
		host_write(i);
	else if (what < 94)
		take(i);
	else if (what < 96)
		flatten();
	else if (what < 98)
		poison(i);
	else if (snap[what = 1 + below(SNAPSHOTS - 1)].s)
		put_snap(what, mote_snapshot_ref(snap[0].s), &snap[0].state);
	if (box[i].s && below(8) == 0)
		check_box(i);
	if (snap[what = below(SNAPSHOTS)].s && below(16) == 0)
		check_snap(what);
}

/* ---- all ------------------------------------------------------------------------------------- */

static struct mote_region region(const char *name)
{
	struct mote_region r;
	for (uint32_t i = 0; mote_snapshot_get_region(sys.snapshot, i, &r) == MOTE_OK; i++)
		if (!strcmp(r.name, name))
			return r;
	check_failed(__FILE__, __LINE__, "no region %s", name);
}

/* The image's data, zero and not, the end of the heap and the low end of the stack. */
static void find_pages(void)
{
	const uint64_t zeroes = CALL_U64(&sys, "zeroes_address");
	const uint64_t data = CALL_U64(&sys, "data_address");
	const struct mote_region heap = region("heap"), stack = region("stack");
	for (unsigned i = 0; i < 32; i++) {
		page_gva[i] = zeroes + i * PAGE;
		page_gva[32 + i] = data + i * PAGE;
		page_gva[64 + i] = heap.gva + heap.bytes - (i + 1) * PAGE;
	}
	for (unsigned i = 0; i < 16; i++)
		page_gva[96 + i] = stack.gva + i * PAGE;
}

static void begin(void)
{
	static const struct state zero;
	OPEN(&sys, "model_guest", .snapshot.heap_bytes = 1 << 20);
	find_pages();
	OK(&sys, mote_snapshot_take(sys.sandbox, NULL, &snap[0].s, &sys.err));
	snap[0].state = zero;
	check_snap(0);
}

static void end(void)
{
	for (unsigned i = 0; i < SANDBOXES; i++)
		if (box[i].s)
			check_box(i);
	/* Snapshots first: sandboxes hold what they need. */
	for (unsigned i = 0; i < SNAPSHOTS; i++) {
		if (snap[i].s)
			check_snap(i);
		mote_snapshot_unref(snap[i].s);
	}
	for (unsigned i = 0; i < SANDBOXES; i++) {
		if (box[i].s)
			check_box(i);
		mote_sandbox_destroy(box[i].s);
	}
	system_close(&sys);
	(void)mote_engine_trim(system_engine(), NULL);
}

static uint64_t number(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);
	return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

TEST(snapshot_model__guests_and_hosts_see_what_the_model_has)
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
}
