/* SPDX-License-Identifier: MIT */
/* Tables of a snapshot in many pieces: a guest that writes far apart, so that pieces are put
 * together, and children that change a few of them. */
#include "world.h"

#define PAGE   4096ull
#define APART  0x400000ull /* leaf tables that do not touch */
#define PLACES 48u

static struct world w;

static void answer(struct double_machine *m, struct mote__exit *exit)
{
	if (m->step == 0)
		(void)guest_pop_call(m);
	guest_return(m, exit, mote_void());
}

static const struct double_guest good = {NULL, answer, NULL};

static uint64_t place(uint32_t i)
{
	return w.snapshot->layout.heap_gva + i * APART;
}

static void put(uint32_t i, uint64_t value)
{
	OK(&w, mote_sandbox_write(w.sandbox, place(i), &value, sizeof value, &w.err));
}

static void check_values(const mote_snapshot *s, const uint64_t *values)
{
	uint64_t value;
	OK(&w, mote_sandbox_restore(w.sandbox, (mote_snapshot *)s, NULL, &w.err));
	for (uint32_t i = 0; i < PLACES; i++) {
		OK(&w, mote_snapshot_read(s, place(i), &value, sizeof value, &w.err));
		CHECK_EQ(value, values[i]);
		OK(&w, mote_sandbox_read(w.sandbox, place(i), &value, sizeof value, &w.err));
		CHECK_EQ(value, values[i]);
	}
}

/* step pages at a time, each take: one piece more, or many at once. */
static void check_steps(uint32_t step)
{
	const struct tiny_options image = {.is_confined = true, .data_bytes = 20 * PAGE};
	const struct mote_snapshot_options o = {.size = sizeof o, .heap_bytes = PLACES * APART};
	uint64_t values[PLACES] = {0};
	mote_snapshot *s = NULL, *flat = NULL;
	bool is_joined = false;
	world_make_of(&w, &image, &o, &good);
	world_sandbox(&w, NULL);
	OK(&w, mote_sandbox_start(w.sandbox, 0, &w.err));
	for (uint32_t i = 0; i < 2 * PLACES; i += step) {
		for (uint32_t k = i; k < i + step; k++)
			put(k % PLACES, values[k % PLACES] = 1000 + k);
		mote_snapshot_unref(s);
		s = NULL;
		OK(&w, mote_snapshot_take(w.sandbox, NULL, &s, &w.err));
		CHECK(s->extent_count <= MOTE__EXTENTS_MAX);
		is_joined |= s->extent_count == 1;
		check_values(s, values);
	}
	CHECK(is_joined);
	OK(&w, mote_snapshot_flatten(s, &flat, &w.err));
	check_values(flat, values);
	check_values(s, values);
	mote_snapshot_unref(s);
	mote_snapshot_unref(flat);
	world_free(&w);
}

TEST(pieces__grow_one_by_one_and_are_put_together)
{
	check_steps(1);
}

TEST(pieces__many_at_once_are_put_together)
{
	check_steps(PLACES);
}

TEST(pieces__some_at_once_are_put_together)
{
	check_steps(6);
}
