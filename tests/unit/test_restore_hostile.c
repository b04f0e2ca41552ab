/* SPDX-License-Identifier: MIT */
/*
 * What a hostile guest, or a host machine that fails, could make of restores: stale translations of
 * shared pages of zeroes, a log of edits that is not what ring 0 wrote, scratch of another size.
 * Link with lib/stub.c and -Wl,--wrap=madvise.
 */
#include "forked.h"
#include "stub.h"
#include "world.h"

#include "core/confined.h"
#include "core/page_table.h"

#define PAGE 4096ull
/* Of 20 pages of data, ten have a frame from the start; the others are zero. */
#define ZERO_GVA (TINY_DATA_GVA + 15 * PAGE)

static struct world w;

/* What the guest does in its next call. */
static struct {
	bool is_write;
	uint64_t gva, value, seen;
	uint64_t forged; /* not 0: the page that the last word of the log then names */
	uint64_t opened; /* not 0: a page that becomes the guest's to write, without a log */
} act;

static void forge(const struct double_machine *m)
{
	uint64_t *next = (uint64_t *)(void *)double_gva(
		m, MOTE__PAGE_GVA(MOTE__PARAMS_PAGE) + MOTE__PARAMS_NEXT, 8);
	uint64_t *bias = (uint64_t *)(void *)double_gva(
		m, MOTE__PAGE_GVA(MOTE__PARAMS_PAGE) + MOTE__PARAMS_LOG_BIAS, 8);
	*(uint64_t *)(void *)double_gva(m, *bias + ((*next - PAGE) >> 9), 8) = act.forged / PAGE;
}

static void step(struct double_machine *m, struct mote__exit *exit)
{
	uint8_t *page;
	if (m->step == 0)
		(void)guest_pop_call(m);
	if (act.gva) {
		CHECK(stub_touch(m, act.gva, act.is_write, &page) == STUB_DONE);
		if (act.is_write)
			memcpy(page, &act.value, sizeof act.value);
		memcpy(&act.seen, page, sizeof act.seen);
	}
	if (act.forged)
		forge(m);
	if (act.opened)
		*(uint64_t *)(void *)double_gva(
			m, MOTE__SELF_GVA + (act.opened & 0xFFFFFFFFFFFF) / PAGE * 8, 8) |= 6;
	guest_return(m, exit, mote_void());
}

static const struct double_guest guest = {NULL, step, NULL};

static void open_world(void)
{
	const struct tiny_options image = {.is_confined = true, .data_bytes = 20 * PAGE};
	memset(&act, 0, sizeof act);
	world_make_of(&w, &image, NULL, &guest);
}

static mote_sandbox *fork_of(mote_snapshot *s, const struct mote_sandbox_options *options)
{
	mote_sandbox *b = NULL;
	OK(&w, mote_sandbox_create(w.engine, s, w.host, options, &b, &w.err));
	return b;
}

static uint64_t touch(mote_sandbox *b, uint64_t gva, bool is_write, uint64_t value)
{
	const struct mote_call call = {.size = sizeof call, .function = "f", .result = MOTE_VOID};
	act.gva = gva;
	act.is_write = is_write;
	act.value = value;
	OK(&w, mote_sandbox_call(b, &call, NULL, &w.err));
	act.gva = act.forged = act.opened = 0;
	return act.seen;
}

static mote_snapshot *ready(void)
{
	mote_snapshot *s = NULL;
	world_sandbox(&w, NULL);
	OK(&w, mote_sandbox_start(w.sandbox, 0, &w.err));
	OK(&w, mote_snapshot_take(w.sandbox, NULL, &s, &w.err));
	return s;
}

/* A page that shows the snapshot's page of zeroes comes to the write set by another sandbox. This
 * one has read it: its processor may still know the page of zeroes. */
TEST(restore_hostile__a_host_write_to_a_learned_page_of_zeroes_is_seen)
{
	open_world();
	mote_snapshot *s = ready();
	mote_sandbox *a = fork_of(s, NULL), *b = fork_of(s, NULL);
	const uint64_t value = 0x1234;
	(void)touch(a, ZERO_GVA, true, 5);
	OK(&w, mote_sandbox_restore(a, s, NULL, &w.err));
	CHECK_EQ(touch(b, ZERO_GVA, false, 0), 0);
	OK(&w, mote_sandbox_restore(b, s, NULL, &w.err));
	OK(&w, mote_sandbox_write(b, ZERO_GVA, &value, sizeof value, &w.err));
	CHECK_EQ(touch(b, ZERO_GVA, false, 0), value);
	mote_sandbox_destroy(a);
	mote_sandbox_destroy(b);
	mote_snapshot_unref(s);
	world_free(&w);
}

static bool is_user_writable(mote_sandbox *b, uint64_t gva)
{
	const struct mote__layout *l = &b->snapshot->layout;
	const struct mote__pt_range range = {b->scratch, l->scratch_gpa, l->scratch_bytes};
	const struct mote__pt_space space = {&mote__pt_x86_64,
					     {&range, mote__pt_range_table},
					     l->scratch_gpa + l->tables_offset};
	struct mote__pt_translation t;
	if (mote__pt_translate(&space, gva, &t) < 0)
		return false;
	return t.effective.user && (t.effective.writable || t.own.cow);
}

/* If one guest got into ring 0, what it puts into its log must not reach the tables of others, and
 * least of all of those that are strict. */
TEST(restore_hostile__a_forged_log_does_not_reach_other_sandboxes)
{
	const struct mote_sandbox_options strict = {.size = sizeof strict, .strict = 1};
	const uint64_t targets[] = {MOTE__PAGE_GVA(MOTE__PARAMS_PAGE),
				    MOTE__PAGE_GVA(MOTE__SYSTEM_IDT_PAGE),
				    MOTE__PAGE_GVA(MOTE__LEAVES_PAGE), TINY_CODE_GVA};
	for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
		open_world();
		mote_snapshot *s = ready();
		mote_sandbox *a = fork_of(s, NULL);
		act.forged = targets[i];
		(void)touch(a, ZERO_GVA, true, 5);
		OK(&w, mote_sandbox_restore(a, s, NULL, &w.err));
		mote_sandbox *b = fork_of(s, &strict);
		if (is_user_writable(b, targets[i]))
			check_failed(__FILE__, __LINE__, "0x%llx is the guest's to write",
				     (unsigned long long)targets[i]);
		mote_sandbox_destroy(a);
		mote_sandbox_destroy(b);
		mote_snapshot_unref(s);
		world_free(&w);
	}
}

/* Nor the tables of a snapshot that is taken. Refusing to take one is as good. */
TEST(restore_hostile__a_forged_log_does_not_reach_a_snapshot)
{
	const uint64_t targets[] = {MOTE__PAGE_GVA(MOTE__PARAMS_PAGE),
				    MOTE__PAGE_GVA(MOTE__SYSTEM_IDT_PAGE),
				    MOTE__PAGE_GVA(MOTE__LEAVES_PAGE), TINY_CODE_GVA};
	for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
		open_world();
		mote_snapshot *s = ready(), *child = NULL;
		mote_sandbox *a = fork_of(s, NULL);
		act.forged = targets[i];
		(void)touch(a, ZERO_GVA, true, 5);
		if (mote_snapshot_take(a, NULL, &child, &w.err) == MOTE_OK) {
			mote_sandbox *b = fork_of(child, NULL);
			if (is_user_writable(b, targets[i]))
				check_failed(__FILE__, __LINE__, "0x%llx is the guest's to write",
					     (unsigned long long)targets[i]);
			mote_sandbox_destroy(b);
			mote_snapshot_unref(child);
		}
		mote_sandbox_destroy(a);
		mote_snapshot_unref(s);
		world_free(&w);
	}
}

/* A switch to a snapshot with larger scratch fails before scratch is exchanged. */
TEST(restore_hostile__a_failed_switch_leaves_statistics)
{
	const struct tiny_options image = {.is_confined = true};
	const struct mote_snapshot_options large = {.size = sizeof large,
						    .output_bytes = 0x4000000};
	mote_snapshot *other = NULL;
	open_world();
	world_sandbox(&w, NULL);
	const struct tiny_image tiny = tiny_guest(&image);
	OK(&w, mote_snapshot_from_memory(tiny.bytes, tiny.len, &large, &other, &w.err));
	w.hypervisor->fail = DOUBLE_MAP;
	FAILS(&w, mote_sandbox_restore(w.sandbox, other, NULL, &w.err), MOTE_ESYSTEM);
	CHECK_EQ(mote_sandbox_state(w.sandbox), MOTE_STATE_BROKEN);
	(void)world_statistics(&w);
	w.hypervisor->fail = 0;
	mote_snapshot_unref(other);
	world_free(&w);
}

static int statistics(void *cookie)
{
	struct mote_statistics s;
	mote_sandbox_get_statistics(cookie, &s, sizeof s);
	return 0;
}

TEST_BOTH(restore_hostile__statistics_in_a_forked_child_do_not_end_it)
{
	world_ready(&w, kind, &guest);
	CHECK_EQ(forked_run(statistics, w.sandbox), 0);
	world_free(&w);
}

/* A shell of the other kind of guest, which does not fit, hides those that do: it is put back where
 * the next look begins. */
TEST(restore_hostile__a_shell_that_does_not_fit_hides_no_other)
{
	struct world *a = &w;
	static struct world stock, other;
	mote_sandbox *b = NULL;
	world_make(a, CONFINED, &guest);
	world_make(&stock, STOCK, &guest);
	world_make_of(&other, &(const struct tiny_options){.is_confined = true, .data_bytes = PAGE},
		      NULL, &guest);
	struct double_hypervisor *h = double_make(&guest);
	mote_engine *engine = NULL;
	OK(a, mote__engine_on(&h->base, SIGRTMIN, 4, &engine, &a->err));
	OK(a, mote_engine_fill(engine, stock.snapshot, 1, &a->err));
	OK(a, mote_engine_fill(engine, other.snapshot, 1, &a->err));
	CHECK_EQ(h->machines, 2);
	OK(a, mote_sandbox_create(engine, a->snapshot, a->host, NULL, &b, &a->err));
	CHECK_EQ(h->machines, 2);
	mote_sandbox_destroy(b);
	mote_engine_unref(engine);
	world_free(&other);
	world_free(&stock);
	world_free(a);
}

/* strict is for who does not trust ring 0 of whoever was there before, also not of a shell. */
TEST(restore_hostile__a_strict_sandbox_trusts_no_shell)
{
	const struct mote_sandbox_options strict = {.size = sizeof strict, .strict = 1};
	struct double_hypervisor *h = double_make(&guest);
	mote_engine *engine = NULL;
	mote_sandbox *a = NULL, *b = NULL;
	open_world();
	mote_snapshot *s = ready();
	OK(&w, mote__engine_on(&h->base, SIGRTMIN, 4, &engine, &w.err));
	OK(&w, mote_sandbox_create(engine, s, w.host, NULL, &a, &w.err));
	act.opened = MOTE__PAGE_GVA(MOTE__PARAMS_PAGE);
	(void)touch(a, ZERO_GVA, false, 0);
	mote_sandbox_destroy(a);
	OK(&w, mote_sandbox_create(engine, s, w.host, &strict, &b, &w.err));
	CHECK_EQ(h->machines, 1);
	CHECK(!is_user_writable(b, MOTE__PAGE_GVA(MOTE__PARAMS_PAGE)));
	mote_sandbox_destroy(b);
	mote_engine_unref(engine);
	mote_snapshot_unref(s);
	world_free(&w);
}

/* Pages that have a frame from the start, and pages that nothing is mapped at, cannot be learned:
 * the others would have zeroes there. */
TEST(restore_hostile__a_forged_log_changes_no_page_of_others)
{
	uint8_t mine[256], theirs[256];
	open_world();
	mote_sandbox *a = fork_of(w.snapshot, NULL);
	OK(&w, mote_snapshot_read(w.snapshot, TINY_DATA_GVA, mine, sizeof mine, &w.err));
	act.forged = TINY_DATA_GVA;
	(void)touch(a, ZERO_GVA, true, 5);
	OK(&w, mote_sandbox_restore(a, w.snapshot, NULL, &w.err));
	mote_sandbox *b = fork_of(w.snapshot, NULL);
	OK(&w, mote_sandbox_read(b, TINY_DATA_GVA, theirs, sizeof theirs, &w.err));
	CHECK_MEM(theirs, mine, sizeof mine);
	mote_sandbox_destroy(a);
	mote_sandbox_destroy(b);
	world_free(&w);
}
