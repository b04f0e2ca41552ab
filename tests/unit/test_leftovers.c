/* SPDX-License-Identifier: MIT */
/* What a restore in place leaves where it is, and nobody may find: registers of the machine, and
 * buffers that are larger than usual. */
#include "world.h"

#define PAGE  4096ull
#define LARGE 0x40000ull

static struct world w;

/* Fills the output buffer, too. */
static void answer(struct double_machine *m, struct mote__exit *exit)
{
	if (m->step == 0)
		(void)guest_pop_call(m);
	guest_return(m, exit, mote_void());
}

static const struct double_guest good = {NULL, answer, NULL};

static mote_snapshot *take(bool is_named)
{
	const struct mote_metadata name = {"a", "1"};
	const struct mote_take_options o = {
		.size = sizeof o, .metadata = &name, .metadata_count = is_named};
	mote_snapshot *s = NULL;
	OK(&w, mote_snapshot_take(w.sandbox, &o, &s, &w.err));
	return s;
}

/* Until the next call the machine has the registers of the last one. */
TEST_BOTH(leftovers__registers_are_not_taken_of_a_sandbox_that_did_not_run)
{
	world_ready(&w, kind, &good);
	w.machine->special.fs.base = 0x1000;
	mote_snapshot *first = take(false);
	OK(&w, mote_sandbox_restore(w.sandbox, first, NULL, &w.err));
	OK(&w, world_call(&w, MOTE_VOID, NULL));
	w.machine->special.fs.base = w.machine->special.gs.base = 0x5EC000;
	OK(&w, mote_sandbox_restore(w.sandbox, first, NULL, &w.err));
	if (kind == CONFINED)
		CHECK(w.machine->special.fs.base == 0x5EC000);
	mote_snapshot *second = take(true);
	CHECK(second != first);
	CHECK(second->special.fs.base == 0x1000 && second->special.gs.base == 0);
	mote_snapshot_unref(first);
	mote_snapshot_unref(second);
	world_free(&w);
}

/* A guest that loaded another root: a fork that did not run stands in the library's. */
TEST(leftovers__roots_are_not_taken_of_a_sandbox_that_did_not_run)
{
	uint8_t a[MOTE_DIGEST_BYTES], b[MOTE_DIGEST_BYTES];
	world_ready(&w, STOCK, &good);
	const struct mote__layout *l = &w.snapshot->layout;
	uint8_t *tables = w.sandbox->scratch + l->tables_offset;
	uint64_t other = l->frames_offset + (l->frame_count - 1) * PAGE;
	memcpy(w.sandbox->scratch + other, tables, PAGE);
	w.machine->special.cr3 = l->scratch_gpa + other;
	mote_snapshot *first = take(false);
	OK(&w, mote_sandbox_restore(w.sandbox, first, NULL, &w.err));
	mote_snapshot *second = take(true);
	OK(&w, mote_snapshot_digest(first, a, &w.err));
	OK(&w, mote_snapshot_digest(second, b, &w.err));
	CHECK_MEM(a, b, sizeof a);
	mote_snapshot_unref(first);
	mote_snapshot_unref(second);
	world_free(&w);
}

static void check_clear(uint64_t offset, uint64_t bytes, const char *what)
{
	/* The first word is the stack pointer. */
	for (uint64_t i = 8; i < bytes; i++)
		if (w.sandbox->scratch[offset + i])
			check_failed(__FILE__, __LINE__, "%s: byte 0x%llx is left", what,
				     (unsigned long long)i);
}

/* The argument fills len bytes of the input buffer; the output buffer gets some at its end. */
static void call_with(size_t len)
{
	static uint8_t bytes[LARGE];
	memset(bytes, 0x77, sizeof bytes);
	const struct mote_value argument = mote_bytes(bytes, len);
	const struct mote_call call = {
		.size = sizeof call, .function = "f", .arguments = &argument, .argument_count = 1};
	const struct mote__layout *l = &w.snapshot->layout;
	OK(&w, mote_sandbox_call(w.sandbox, &call, NULL, &w.err));
	/* A stock guest clears what it pops. */
	if (w.is_confined)
		CHECK_EQ(w.sandbox->scratch[len], 0x77);
	memset(w.sandbox->scratch + l->output_offset + l->output_bytes - 3 * PAGE, 0x77, 3 * PAGE);
}

TEST_BOTH(leftovers__large_buffers_are_cleared)
{
	static const size_t lens[] = {0x3000, 0x3F00, 0x4000, 0x5000, 0x1F123, LARGE - 0x200};
	const struct tiny_options image = {.is_confined = kind == CONFINED};
	const struct mote_snapshot_options o = {.size = sizeof o,
						.input_bytes = LARGE,
						.output_bytes = LARGE,
						.scratch_bytes = kind == STOCK ? 8 * LARGE : 0};
	world_make_of(&w, &image, &o, &good);
	world_sandbox(&w, NULL);
	OK(&w, mote_sandbox_start(w.sandbox, 0, &w.err));
	mote_snapshot *ready = take(false);
	const struct mote__layout *l = &ready->layout;
	for (size_t i = 0; i < 2 * sizeof lens / sizeof *lens; i++) {
		const struct mote_restore_options strict = {.size = sizeof strict, .strict = 1};
		call_with(lens[i / 2]);
		OK(&w, mote_sandbox_restore(w.sandbox, ready, i % 2 ? &strict : NULL, &w.err));
		check_clear(0, l->input_bytes, "input");
		check_clear(l->output_offset, l->output_bytes, "output");
	}
	CHECK_EQ(world_statistics(&w).restores > 0, kind == CONFINED);
	mote_snapshot_unref(ready);
	world_free(&w);
}
