/* SPDX-License-Identifier: MIT */
/* The pool of an engine: what is kept, for whom, and that nothing of one owner is seen by the next.
 */
#include "world.h"

#include "core/confined.h"

#define PAGE     4096ull
#define COW_GVA  (TINY_DATA_GVA + 14 * PAGE)
#define POOL_MAX 3u

static struct world w;

static void answer(struct double_machine *m, struct mote__exit *exit)
{
	if (m->step == 0)
		(void)guest_pop_call(m);
	guest_return(m, exit, mote_void());
}

static const struct double_guest good = {NULL, answer, NULL};

/* A world whose engine has a pool. */
static void open_kind(enum world_kind kind, const struct double_guest *guest, uint32_t pool_max)
{
	const struct tiny_options o = {.is_confined = kind == CONFINED, .data_bytes = 20 * PAGE};
	memset(&w, 0, sizeof w);
	w.is_confined = kind == CONFINED;
	w.hypervisor = double_make(guest);
	w.hypervisor->is_closed = &w.is_closed;
	OK(&w, mote__engine_on(&w.hypervisor->base, SIGRTMIN, pool_max, &w.engine, &w.err));
	const struct tiny_image tiny = tiny_guest(&o);
	OK(&w, mote_snapshot_from_memory(tiny.bytes, tiny.len, NULL, &w.snapshot, &w.err));
	OK(&w, mote_host_create(&w.host, &w.err));
}

static mote_sandbox *create_of(mote_snapshot *s)
{
	mote_sandbox *sandbox = NULL;
	OK(&w, mote_sandbox_create(w.engine, s, w.host, NULL, &sandbox, &w.err));
	return sandbox;
}

static mote_sandbox *create(void)
{
	return create_of(w.snapshot);
}

static uint32_t pool_count(void)
{
	struct mote_engine_info info;
	mote_engine_get_info(w.engine, &info);
	CHECK(info.pool_count <= info.pool_max);
	return info.pool_count;
}

static mote_snapshot *another(enum world_kind kind)
{
	const struct tiny_options o = {.is_confined = kind == CONFINED};
	const struct tiny_image tiny = tiny_guest(&o);
	mote_snapshot *s = NULL;
	OK(&w, mote_snapshot_from_memory(tiny.bytes, tiny.len, NULL, &s, &w.err));
	return s;
}

static mote_snapshot *ready_snapshot(void)
{
	mote_sandbox *sandbox = create();
	mote_snapshot *s = NULL;
	OK(&w, mote_sandbox_start(sandbox, 0, &w.err));
	OK(&w, mote_snapshot_take(sandbox, NULL, &s, &w.err));
	mote_sandbox_destroy(sandbox);
	return s;
}

static int call(mote_sandbox *sandbox)
{
	const struct mote_call c = {.size = sizeof c, .function = "f"};
	return mote_sandbox_call(sandbox, &c, NULL, &w.err);
}

/* ---- keeping --------------------------------------------------------------------------------- */

TEST_BOTH(pool__a_destroyed_sandbox_is_used_again)
{
	open_kind(kind, &good, POOL_MAX);
	mote_sandbox *sandbox = create();
	OK(&w, call(sandbox));
	uint64_t id = w.hypervisor->machine->id;
	mote_sandbox_destroy(sandbox);
	CHECK(pool_count() == 1 && w.hypervisor->machines == 1);
	sandbox = create();
	CHECK(pool_count() == 0 && w.hypervisor->machine->id == id);
	CHECK_EQ(mote_sandbox_state(sandbox), MOTE_STATE_NEW);
	OK(&w, call(sandbox));
	CHECK(w.hypervisor->machine->is_initialise == false);
	mote_sandbox_destroy(sandbox);
	world_free(&w);
}

TEST_BOTH(pool__keeps_no_more_than_its_most)
{
	mote_sandbox *sandbox[POOL_MAX + 2];
	open_kind(kind, &good, POOL_MAX);
	for (unsigned i = 0; i < POOL_MAX + 2; i++)
		sandbox[i] = create();
	for (unsigned i = 0; i < POOL_MAX + 2; i++)
		mote_sandbox_destroy(sandbox[i]);
	CHECK(pool_count() == POOL_MAX && w.hypervisor->machines == POOL_MAX);
	CHECK_EQ(mote_engine_trim(w.engine, NULL), POOL_MAX);
	CHECK(pool_count() == 0 && w.hypervisor->machines == 0);
	world_free(&w);
}

TEST_BOTH(pool__an_engine_without_one_keeps_nothing)
{
	open_kind(kind, &good, 0);
	mote_sandbox_destroy(create());
	CHECK(pool_count() == 0 && w.hypervisor->machines == 0);
	FAILS(&w, mote_engine_fill(w.engine, w.snapshot, 1, &w.err), MOTE_EINVAL);
	CHECK_STR(w.err.message, "count is 1, pool_max is 0");
	OK(&w, mote_engine_fill(w.engine, w.snapshot, 0, &w.err));
	world_free(&w);
}

TEST_BOTH(pool__ends_with_the_engine)
{
	open_kind(kind, &good, POOL_MAX);
	mote_sandbox *sandbox = create();
	OK(&w, mote_engine_fill(w.engine, w.snapshot, 2, &w.err));
	mote_engine_unref(w.engine);
	mote_snapshot_unref(w.snapshot);
	mote_host_unref(w.host);
	CHECK(!w.is_closed);
	/* The last owner: what it parks goes, too. */
	mote_sandbox_destroy(sandbox);
	CHECK(w.is_closed);
}

/* ---- filling and trimming -------------------------------------------------------------------- */

TEST_BOTH(pool__is_filled)
{
	open_kind(kind, &good, POOL_MAX);
	OK(&w, mote_engine_fill(w.engine, w.snapshot, 2, &w.err));
	CHECK(pool_count() == 2 && w.hypervisor->machines == 2);
	OK(&w, mote_engine_fill(w.engine, w.snapshot, 2, &w.err));
	OK(&w, mote_engine_fill(w.engine, w.snapshot, 1, &w.err));
	CHECK_EQ(pool_count(), 2);
	mote_sandbox *a = create(), *b = create();
	CHECK(pool_count() == 0 && w.hypervisor->machines == 2);
	OK(&w, call(a));
	OK(&w, call(b));
	mote_sandbox_destroy(a);
	mote_sandbox_destroy(b);
	world_free(&w);
}

TEST_BOTH(pool__filling_checks_its_arguments)
{
	open_kind(kind, &good, POOL_MAX);
	FAILS(&w, mote_engine_fill(NULL, w.snapshot, 1, &w.err), MOTE_EINVAL);
	CHECK_STR(w.err.message, "engine is NULL");
	FAILS(&w, mote_engine_fill(w.engine, NULL, 1, &w.err), MOTE_EINVAL);
	CHECK_STR(w.err.message, "snapshot is NULL");
	FAILS(&w, mote_engine_fill(w.engine, w.snapshot, POOL_MAX + 1, &w.err), MOTE_EINVAL);
	CHECK_STR(w.err.message, "count is 4, pool_max is 3");
	CHECK_EQ(pool_count(), 0);
	world_free(&w);
}

TEST_BOTH(pool__filling_makes_room)
{
	open_kind(kind, &good, POOL_MAX);
	mote_snapshot *other = another(kind);
	OK(&w, mote_engine_fill(w.engine, other, POOL_MAX, &w.err));
	OK(&w, mote_engine_fill(w.engine, w.snapshot, 1, &w.err));
	CHECK_EQ(pool_count(), POOL_MAX);
	/* Of its own it takes none away. */
	OK(&w, mote_engine_fill(w.engine, w.snapshot, POOL_MAX, &w.err));
	CHECK_EQ(mote_engine_trim(w.engine, other), 0);
	CHECK_EQ(mote_engine_trim(w.engine, w.snapshot), POOL_MAX);
	mote_snapshot_unref(other);
	world_free(&w);
}

TEST_BOTH(pool__trimming_lets_a_snapshot_go)
{
	open_kind(kind, &good, POOL_MAX);
	mote_snapshot *other = another(kind);
	OK(&w, mote_engine_fill(w.engine, other, 2, &w.err));
	OK(&w, mote_engine_fill(w.engine, w.snapshot, 1, &w.err));
	CHECK_EQ(atomic_load(&other->references), 3);
	CHECK_EQ(mote_engine_trim(w.engine, other), 2);
	CHECK_EQ(atomic_load(&other->references), 1);
	CHECK_EQ(mote_engine_trim(w.engine, other), 0);
	CHECK_EQ(mote_engine_trim(w.engine, w.snapshot), 1);
	mote_snapshot_unref(other);
	world_free(&w);
}

TEST_BOTH(pool__what_was_made_before_a_failure_stays)
{
	open_kind(kind, &good, POOL_MAX);
	OK(&w, mote_engine_fill(w.engine, w.snapshot, 1, &w.err));
	w.hypervisor->fail = DOUBLE_CREATE;
	FAILS(&w, mote_engine_fill(w.engine, w.snapshot, 2, &w.err), MOTE_ESYSTEM);
	w.hypervisor->fail = 0;
	CHECK(pool_count() == 1 && w.hypervisor->machines == 1);
	world_free(&w);
}

/* ---- for whom -------------------------------------------------------------------------------- */

TEST_BOTH(pool__a_shell_of_another_snapshot_is_given_this_one)
{
	open_kind(kind, &good, POOL_MAX);
	mote_snapshot *other = another(kind);
	OK(&w, mote_engine_fill(w.engine, other, 1, &w.err));
	mote_sandbox *sandbox = create();
	CHECK(pool_count() == 0 && w.hypervisor->machines == 1);
	CHECK_EQ(atomic_load(&other->references), 1);
	uint64_t value = 0;
	OK(&w, mote_sandbox_read(sandbox, TINY_DATA_GVA + 0x80, &value, 8, &w.err));
	CHECK_EQ(value, 0x8887868584838281);
	OK(&w, call(sandbox));
	mote_sandbox_destroy(sandbox);
	mote_snapshot_unref(other);
	world_free(&w);
}

TEST_BOTH(pool__a_shell_of_the_other_kind_is_left_alone)
{
	open_kind(kind, &good, POOL_MAX);
	mote_snapshot *other = another(kind == STOCK ? CONFINED : STOCK);
	OK(&w, mote_engine_fill(w.engine, other, 1, &w.err));
	mote_sandbox *sandbox = create();
	CHECK(pool_count() == 1 && w.hypervisor->machines == 2);
	OK(&w, call(sandbox));
	mote_sandbox_destroy(sandbox);
	CHECK_EQ(pool_count(), 2);
	mote_snapshot_unref(other);
	world_free(&w);
}

TEST_BOTH(pool__a_shell_that_cannot_be_changed_goes)
{
	open_kind(kind, &good, POOL_MAX);
	mote_snapshot *other = another(kind);
	mote_sandbox *sandbox = NULL;
	OK(&w, mote_engine_fill(w.engine, other, 1, &w.err));
	w.hypervisor->fail = DOUBLE_MAP;
	FAILS(&w, mote_sandbox_create(w.engine, w.snapshot, w.host, NULL, &sandbox, &w.err),
	      MOTE_ESYSTEM);
	w.hypervisor->fail = 0;
	CHECK(sandbox == NULL && pool_count() == 0 && w.hypervisor->machines == 0);
	mote_snapshot_unref(other);
	world_free(&w);
}

/* ---- nothing is left ------------------------------------------------------------------------- */

TEST_BOTH(pool__the_next_owner_sees_nothing)
{
	static uint8_t secret[2 * PAGE], seen[2 * PAGE];
	int cookie = 0;
	const struct mote_sandbox_options o = {
		.size = sizeof o, .user_data = &cookie, .strict = 1, .log_level = MOTE_LOG_TRACE};
	mote_sandbox *sandbox = NULL;
	open_kind(kind, &good, POOL_MAX);
	memset(secret, 0x77, sizeof secret);
	OK(&w, mote_sandbox_create(w.engine, w.snapshot, w.host, &o, &sandbox, &w.err));
	OK(&w, call(sandbox));
	OK(&w, mote_sandbox_write(sandbox, COW_GVA, secret, sizeof secret, &w.err));
	mote_sandbox_destroy(sandbox);
	sandbox = create();
	CHECK_EQ(w.hypervisor->machines, 1);
	OK(&w, mote_sandbox_read(sandbox, COW_GVA, seen, sizeof seen, &w.err));
	for (size_t i = 0; i < sizeof seen; i++)
		CHECK_EQ(seen[i], 0);
	struct mote_statistics s;
	mote_sandbox_get_statistics(sandbox, &s, sizeof s);
	CHECK(s.vm_entries == 0 && s.calls == 0 && s.restores == 0 && s.restores_strict == 0);
	CHECK(s.vcpu_ioctls == 0 && s.bytes_in == 0);
	CHECK(mote_sandbox_user_data(sandbox) == NULL && !sandbox->is_strict);
	OK(&w, mote_sandbox_start(sandbox, 0, &w.err));
	CHECK_EQ(w.hypervisor->machine->general.rcx, MOTE_LOG_ERROR);
	mote_sandbox_destroy(sandbox);
	world_free(&w);
}

static void abort_now(struct double_machine *m, struct mote__exit *exit)
{
	if (m->step == 0)
		(void)guest_pop_call(m);
	(void)double_abort(exit, "\x08", 1, m->step);
}

TEST_BOTH(pool__a_poisoned_sandbox_is_cleaned)
{
	const struct double_guest guest = {NULL, abort_now, NULL};
	open_kind(kind, &guest, POOL_MAX);
	mote_sandbox *sandbox = create();
	FAILS(&w, call(sandbox), MOTE_EABORT);
	mote_sandbox_destroy(sandbox);
	CHECK_EQ(pool_count(), 1);
	CHECK_EQ(w.hypervisor->machine->resets, 1);
	sandbox = create();
	CHECK_EQ(mote_sandbox_state(sandbox), MOTE_STATE_NEW);
	OK(&w, mote_sandbox_start(sandbox, 0, &w.err));
	mote_sandbox_destroy(sandbox);
	world_free(&w);
}

static void shut_down(struct double_machine *m, struct mote__exit *exit)
{
	(void)m;
	*exit = (struct mote__exit){
		.kind = MOTE__EXIT_OTHER, .is_fatal = true, .detail = "shutdown (triple fault)"};
}

TEST_BOTH(pool__a_machine_that_cannot_be_trusted_is_not_kept)
{
	const struct double_guest guest = {NULL, shut_down, NULL};
	open_kind(kind, &guest, POOL_MAX);
	mote_sandbox *sandbox = create();
	FAILS(&w, call(sandbox), MOTE_EPROTOCOL);
	mote_sandbox_destroy(sandbox);
	CHECK(pool_count() == 0 && w.hypervisor->machines == 0);
	world_free(&w);
}

TEST_BOTH(pool__one_that_cannot_be_cleaned_is_not_kept)
{
	const struct double_guest guest = {NULL, abort_now, NULL};
	open_kind(kind, &guest, POOL_MAX);
	mote_sandbox *sandbox = create();
	FAILS(&w, call(sandbox), MOTE_EABORT);
	w.hypervisor->fail = DOUBLE_RESET;
	mote_sandbox_destroy(sandbox);
	w.hypervisor->fail = 0;
	CHECK(pool_count() == 0 && w.hypervisor->machines == 0);
	world_free(&w);
}

/* ---- limits ---------------------------------------------------------------------------------- */

TEST(pool__a_shell_has_as_much_memory_as_its_owner_may_have)
{
	const struct mote_sandbox_options few = {.size = sizeof few, .memory_max = 8 * PAGE};
	struct mote_statistics s;
	open_kind(CONFINED, &good, POOL_MAX);
	mote_snapshot *ready = ready_snapshot();
	/* Twenty pages come to the write set. */
	mote_sandbox *sandbox = create_of(ready);
	for (unsigned i = 0; i < 2; i++) {
		for (uint64_t page = 0; page < 20; page++)
			OK(&w, mote_sandbox_write(sandbox, TINY_DATA_GVA + page * PAGE, "x", 1,
						  &w.err));
		OK(&w, call(sandbox));
		OK(&w, mote_sandbox_restore(sandbox, ready, NULL, &w.err));
	}
	CHECK(atomic_load(&ready->write_set.count) >= 20);
	mote_sandbox_destroy(sandbox);
	OK(&w, mote_sandbox_create(w.engine, ready, w.host, &few, &sandbox, &w.err));
	mote_sandbox_get_statistics(sandbox, &s, sizeof s);
	/* They are beside what the owner may have. */
	CHECK(s.frames_max == 8 && s.frames_used >= 20);
	for (uint64_t page = 0; page < 8; page++)
		OK(&w, mote_sandbox_write(sandbox, ready->layout.heap_gva + page * PAGE, "x", 1,
					  &w.err));
	OK(&w, call(sandbox));
	mote_sandbox_destroy(sandbox);
	mote_snapshot_unref(ready);
	world_free(&w);
}

TEST_BOTH(pool__options_that_fail_leave_the_shell)
{
	const struct mote_sandbox_options few = {.size = sizeof few, .memory_max = 1};
	const struct mote_sandbox_options bad = {.size = sizeof bad, .log_level = 99};
	mote_sandbox *sandbox = NULL;
	open_kind(kind, &good, POOL_MAX);
	for (unsigned i = 0; i < 3; i++) {
		FAILS(&w, mote_sandbox_create(w.engine, w.snapshot, w.host, &few, &sandbox, &w.err),
		      MOTE_EINVAL);
		FAILS(&w, mote_sandbox_create(w.engine, w.snapshot, w.host, &bad, &sandbox, &w.err),
		      MOTE_EINVAL);
		CHECK(sandbox == NULL && w.hypervisor->machines == pool_count());
	}
	sandbox = create();
	OK(&w, call(sandbox));
	mote_sandbox_destroy(sandbox);
	world_free(&w);
}
