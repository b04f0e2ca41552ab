/* SPDX-License-Identifier: MIT */
/* Restoring: in place, as after a poisoned call, and to another snapshot; what is refused, and what
 * a failure leaves. */
#include "world.h"

#include "core/confined.h"

#define PAGE    4096ull
#define COW_GVA (TINY_DATA_GVA + 14 * PAGE)
#define LSTAR   0xC0000082u

static struct world w;

static void answer(struct double_machine *m, struct mote__exit *exit)
{
	if (m->step == 0)
		(void)guest_pop_call(m);
	guest_return(m, exit, mote_void());
}

static const struct double_guest good = {NULL, answer, NULL};

static struct mote__exit bad_exit;

/* Ends as told, until that is a halt. */
static void end_badly(struct double_machine *m, struct mote__exit *exit)
{
	if (bad_exit.kind == MOTE__EXIT_OUT && bad_exit.port == MOTE_ABI_PORT_HALT) {
		answer(m, exit);
		return;
	}
	if (m->step == 0)
		(void)guest_pop_call(m);
	*exit = bad_exit;
}

static const struct double_guest bad = {NULL, end_badly, NULL};
static const struct mote__exit halts = {.kind = MOTE__EXIT_OUT, .port = MOTE_ABI_PORT_HALT};
static const struct mote__exit poisons = {.kind = MOTE__EXIT_OTHER, .detail = "test"};
static const struct mote__exit destroys = {
	.kind = MOTE__EXIT_OTHER, .detail = "shutdown (triple fault)", .is_fatal = true};

static void open_kind(enum world_kind kind, const struct double_guest *guest)
{
	const struct tiny_options image = {.is_confined = kind == CONFINED,
					   .data_bytes = 20 * PAGE};
	world_make_of(&w, &image, NULL, guest);
	world_sandbox(&w, NULL);
	OK(&w, mote_sandbox_start(w.sandbox, 0, &w.err));
}

static int restore(mote_snapshot *s)
{
	return mote_sandbox_restore(w.sandbox, s, NULL, &w.err);
}

static mote_snapshot *take(void)
{
	mote_snapshot *s = NULL;
	OK(&w, mote_snapshot_take(w.sandbox, NULL, &s, &w.err));
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

/* ---- arguments ------------------------------------------------------------------------------- */

TEST_BOTH(restore__refuses_missing_arguments)
{
	open_kind(kind, &good);
	FAILS(&w, mote_sandbox_restore(NULL, w.snapshot, NULL, &w.err), MOTE_EINVAL);
	CHECK_STR(w.err.message, "sandbox is NULL");
	FAILS(&w, restore(NULL), MOTE_EINVAL);
	CHECK_STR(w.err.message, "snapshot is NULL");
	CHECK_EQ(mote_sandbox_restore(w.sandbox, NULL, NULL, NULL), MOTE_EINVAL);
	CHECK_EQ(mote_sandbox_state(w.sandbox), MOTE_STATE_READY);
	world_free(&w);
}

TEST_BOTH(restore__checks_its_options)
{
	struct {
		struct mote_restore_options o;
		uint8_t tail[8];
	} more = {.o = {.size = sizeof more.o - 1}};
	open_kind(kind, &good);
	put(COW_GVA, 5);
	FAILS(&w, mote_sandbox_restore(w.sandbox, w.snapshot, &more.o, &w.err), MOTE_EINVAL);
	CHECK_HAS(w.err.message, "mote_restore_options.size is");
	more.o.size = sizeof more;
	more.tail[7] = 1;
	FAILS(&w, mote_sandbox_restore(w.sandbox, w.snapshot, &more.o, &w.err), MOTE_EINVAL);
	CHECK(live(COW_GVA) == 5 && mote_sandbox_state(w.sandbox) == MOTE_STATE_READY);
	more.tail[7] = 0;
	OK(&w, mote_sandbox_restore(w.sandbox, w.snapshot, &more.o, &w.err));
	CHECK_EQ(live(COW_GVA), 0);
	world_free(&w);
}

/* ---- in place -------------------------------------------------------------------------------- */

TEST(restore__in_place_makes_no_ioctl)
{
	open_kind(CONFINED, &good);
	mote_snapshot *s = take();
	OK(&w, restore(s));
	for (unsigned i = 0; i < 3; i++) {
		OK(&w, world_call(&w, MOTE_VOID, NULL));
		const struct mote_statistics before = world_statistics(&w);
		unsigned maps = w.machine->maps;
		OK(&w, restore(s));
		const struct mote_statistics after = world_statistics(&w);
		CHECK_EQ(after.vcpu_ioctls, before.vcpu_ioctls);
		CHECK_EQ(w.machine->maps, maps);
		CHECK_EQ(after.restores, before.restores + 1);
		CHECK(after.restores_strict == 0 && after.switches == 1);
	}
	mote_snapshot_unref(s);
	world_free(&w);
}

TEST_BOTH(restore__takes_back_what_was_written)
{
	open_kind(kind, &good);
	const uint64_t before = live(TINY_DATA_GVA);
	put(COW_GVA, 1);
	put(TINY_DATA_GVA, before + 1);
	OK(&w, restore(w.snapshot));
	CHECK_EQ(mote_sandbox_state(w.sandbox), MOTE_STATE_NEW);
	CHECK(live(COW_GVA) == 0 && live(TINY_DATA_GVA) == before);
	CHECK_EQ(live(TINY_DATA_GVA + 0x80), 0x8887868584838281);
	OK(&w, world_call(&w, MOTE_VOID, NULL));
	OK(&w, world_call(&w, MOTE_VOID, NULL));
	world_free(&w);
}

TEST(restore__the_next_call_enters_through_the_reset)
{
	open_kind(CONFINED, &good);
	w.machine->special.fs.base = 0x1230;
	mote_snapshot *s = take();
	OK(&w, world_call(&w, MOTE_VOID, NULL));
	CHECK_EQ(w.machine->general.rip, MOTE__PROLOGUE_GVA);
	OK(&w, restore(s));
	OK(&w, world_call(&w, MOTE_VOID, NULL));
	CHECK(w.machine->general.rip == MOTE__RESET_GVA && w.machine->general.r11 == 0x1230);
	OK(&w, world_call(&w, MOTE_VOID, NULL));
	CHECK_EQ(w.machine->general.rip, MOTE__PROLOGUE_GVA);
	mote_snapshot_unref(s);
	world_free(&w);
}

/* Without the instructions, the registers are written. */
TEST(restore__without_fsgsbase_writes_registers)
{
	const struct tiny_options image = {.is_confined = true};
	world_make_of(&w, &image, NULL, &good);
	w.hypervisor->base.cr4_offered = 0;
	world_sandbox(&w, NULL);
	OK(&w, mote_sandbox_start(w.sandbox, 0, &w.err));
	w.machine->special.fs.base = 0x1230;
	mote_snapshot *s = take();
	OK(&w, restore(s));
	w.machine->special.fs.base = 0x99;
	OK(&w, restore(s));
	CHECK_EQ(w.machine->special.fs.base, 0x1230);
	OK(&w, world_call(&w, MOTE_VOID, NULL));
	CHECK_EQ(w.machine->general.rip, MOTE__PROLOGUE_GVA);
	mote_snapshot_unref(s);
	world_free(&w);
}

static void read_run_info(struct mote_abi_run_info *info)
{
	memcpy(info, w.sandbox->scratch + w.sandbox->snapshot->layout.run_info_offset,
	       sizeof *info);
}

TEST(restore__draws_new_random_bytes_unless_told)
{
	const struct mote_fresh fresh = {.generation = 77, .random = {1, 2, 3}};
	const struct mote_restore_options strict = {.size = sizeof strict, .strict = 1};
	struct mote_restore_options o = {.size = sizeof o, .fresh = &fresh};
	struct mote_abi_run_info a, b;
	open_kind(CONFINED, &good);
	read_run_info(&a);
	for (unsigned i = 0; i < 60; i++) {
		OK(&w, mote_sandbox_restore(w.sandbox, w.snapshot, i % 2 ? NULL : &strict, &w.err));
		read_run_info(&b);
		CHECK(memcmp(a.random, b.random, sizeof a.random) != 0);
		CHECK(a.generation != b.generation);
		a = b;
	}
	for (o.strict = 0; o.strict < 2; o.strict++) {
		OK(&w, mote_sandbox_restore(w.sandbox, w.snapshot, &o, &w.err));
		read_run_info(&b);
		CHECK(b.generation == 77 && memcmp(b.random, fresh.random, 32) == 0);
	}
	world_free(&w);
}

/* ---- whole ----------------------------------------------------------------------------------- */

TEST_BOTH(restore__strict_resets_the_machine)
{
	const struct mote_restore_options o = {.size = sizeof o, .strict = 1};
	open_kind(kind, &good);
	put(COW_GVA, 3);
	OK(&w, mote_sandbox_restore(w.sandbox, w.snapshot, &o, &w.err));
	const struct mote_statistics s = world_statistics(&w);
	CHECK(w.machine->resets == 1 && s.restores_strict == 1 && s.restores == 0);
	CHECK_EQ(live(COW_GVA), 0);
	OK(&w, world_call(&w, MOTE_VOID, NULL));
	world_free(&w);
}

TEST_BOTH(restore__a_strict_sandbox_always_resets)
{
	const struct mote_sandbox_options o = {.size = sizeof o, .strict = 1};
	world_make(&w, kind, &good);
	world_sandbox(&w, &o);
	OK(&w, mote_sandbox_start(w.sandbox, 0, &w.err));
	OK(&w, restore(w.snapshot));
	OK(&w, restore(w.snapshot));
	CHECK(w.machine->resets == 2 && world_statistics(&w).restores_strict == 2);
	world_free(&w);
}

TEST_BOTH(restore__cures_a_poisoned_sandbox)
{
	open_kind(kind, &bad);
	mote_snapshot *machine_of = w.snapshot;
	bad_exit = halts;
	put(COW_GVA, 1);
	bad_exit = poisons;
	FAILS(&w, world_call(&w, MOTE_VOID, NULL), MOTE_EPROTOCOL);
	CHECK_EQ(mote_sandbox_state(w.sandbox), MOTE_STATE_POISONED);
	bad_exit = halts;
	OK(&w, restore(machine_of));
	CHECK_EQ(w.machine->resets, 1);
	CHECK_EQ(mote_sandbox_state(w.sandbox), MOTE_STATE_NEW);
	CHECK_EQ(live(COW_GVA), 0);
	OK(&w, world_call(&w, MOTE_VOID, NULL));
	world_free(&w);
}

TEST_BOTH(restore__a_machine_that_cannot_be_trusted_is_replaced)
{
	open_kind(kind, &bad);
	uint64_t old = w.machine->id;
	bad_exit = destroys;
	FAILS(&w, world_call(&w, MOTE_VOID, NULL), MOTE_EPROTOCOL);
	bad_exit = halts;
	const struct mote_statistics before = world_statistics(&w);
	OK(&w, restore(w.snapshot));
	const struct mote_statistics after = world_statistics(&w);
	CHECK(w.hypervisor->machines == 1 && w.hypervisor->machine->id != old);
	CHECK_EQ(after.restores_strict, 1);
	CHECK(after.vm_entries == before.vm_entries && after.vcpu_ioctls >= before.vcpu_ioctls);
	OK(&w, world_call(&w, MOTE_VOID, NULL));
	OK(&w, restore(w.snapshot));
	world_free(&w);
}

/* Registers that the guest may write are part of what a restore takes back. */
TEST(restore__declared_registers_are_taken_back)
{
	const uint32_t msrs[] = {LSTAR};
	const struct mote_snapshot_options o = {.size = sizeof o, .msrs = msrs, .msr_count = 1};
	const struct tiny_options image = {0};
	world_make_of(&w, &image, &o, &good);
	world_sandbox(&w, NULL);
	OK(&w, mote_sandbox_start(w.sandbox, 0, &w.err));
	struct mote__msr *lstar = &w.machine->msrs.msr[w.machine->msrs.count];
	for (uint32_t i = 0; i < w.machine->msrs.count; i++)
		if (w.machine->msrs.msr[i].index == LSTAR)
			lstar = &w.machine->msrs.msr[i];
	if (lstar == &w.machine->msrs.msr[w.machine->msrs.count])
		w.machine->msrs.count++;
	*lstar = (struct mote__msr){LSTAR, 0x1111};
	mote_snapshot *s = take();
	lstar->value = 0x2222;
	OK(&w, restore(s));
	CHECK_EQ(lstar->value, 0x1111);
	lstar->value = 0x3333;
	OK(&w, restore(w.snapshot));
	CHECK_EQ(lstar->value, 0);
	mote_snapshot_unref(s);
	world_free(&w);
}

/* ---- to another snapshot --------------------------------------------------------------------- */

TEST_BOTH(restore__goes_to_any_snapshot_of_the_kind)
{
	open_kind(kind, &good);
	put(COW_GVA, 1);
	mote_snapshot *one = take();
	put(COW_GVA, 2);
	mote_snapshot *two = take();
	mote_snapshot *const to[] = {one, two, w.snapshot, two, one, one, two, two, w.snapshot};
	const uint64_t value[] = {1, 2, 0, 2, 1, 1, 2, 2, 0};
	for (size_t i = 0; i < sizeof to / sizeof *to; i++) {
		OK(&w, restore(to[i]));
		CHECK_EQ(live(COW_GVA), value[i]);
		CHECK_EQ(mote_sandbox_state(w.sandbox),
			 value[i] ? MOTE_STATE_READY : MOTE_STATE_NEW);
		OK(&w, world_call(&w, MOTE_VOID, NULL));
		put(COW_GVA, 99);
	}
	CHECK_EQ(world_statistics(&w).switches, 7);
	mote_snapshot_unref(one);
	mote_snapshot_unref(two);
	world_free(&w);
}

/* Scratch of one size, frames at one place, but other buffers and tables. */
TEST(restore__a_switch_leaves_nothing_of_the_other_layout)
{
	const struct tiny_options o = {.is_confined = true, .data_bytes = 20 * PAGE};
	const struct mote_snapshot_options a = {
		.size = sizeof a, .heap_bytes = 4 << 20, .scratch_bytes = 2 << 20};
	const struct mote_snapshot_options b = {.size = sizeof b,
						.heap_bytes = 2 << 20,
						.input_bytes = 0x5000,
						.scratch_bytes = 2 << 20};
	mote_snapshot *other = NULL;
	world_make_of(&w, &o, &a, &good);
	const struct tiny_image image = tiny_guest(&o);
	OK(&w, mote_snapshot_from_memory(image.bytes, image.len, &b, &other, &w.err));
	const struct mote__layout *x = &w.snapshot->layout, *y = &other->layout;
	CHECK(x->scratch_bytes == y->scratch_bytes && x->frames_offset == y->frames_offset);
	CHECK(x->tables_offset < y->tables_offset && x->tables_bytes > y->tables_bytes);
	world_sandbox(&w, NULL);
	OK(&w, mote_sandbox_start(w.sandbox, 0, &w.err));
	OK(&w, restore(other));
	const uint8_t *output = w.sandbox->scratch + y->output_offset;
	for (uint64_t i = 8; i < y->output_bytes; i++)
		CHECK_EQ(output[i], 0);
	OK(&w, world_call(&w, MOTE_VOID, NULL));
	OK(&w, restore(w.snapshot));
	OK(&w, world_call(&w, MOTE_VOID, NULL));
	mote_snapshot_unref(other);
	world_free(&w);
}

TEST_BOTH(restore__refuses_another_kind)
{
	const struct tiny_options o = {.is_confined = kind == STOCK};
	mote_snapshot *other = NULL;
	open_kind(kind, &good);
	const struct tiny_image image = tiny_guest(&o);
	OK(&w, mote_snapshot_from_memory(image.bytes, image.len, NULL, &other, &w.err));
	put(COW_GVA, 1);
	FAILS(&w, restore(other), MOTE_ESNAPSHOT);
	CHECK_HAS(w.err.message, kind == STOCK ? "is of a guest that is confined"
					       : "is of a guest that owns ring 0");
	CHECK(live(COW_GVA) == 1 && mote_sandbox_state(w.sandbox) == MOTE_STATE_READY);
	mote_snapshot_unref(other);
	world_free(&w);
}

TEST(restore__refuses_other_registers)
{
	const uint32_t msrs[] = {LSTAR};
	const struct mote_snapshot_options options = {
		.size = sizeof options, .msrs = msrs, .msr_count = 1};
	mote_snapshot *other = NULL;
	open_kind(STOCK, &good);
	const struct tiny_image image = tiny_guest(&(struct tiny_options){0});
	OK(&w, mote_snapshot_from_memory(image.bytes, image.len, &options, &other, &w.err));
	FAILS(&w, restore(other), MOTE_ESNAPSHOT);
	CHECK_HAS(w.err.message, "other model-specific registers");
	OK(&w, world_call(&w, MOTE_VOID, NULL));
	mote_snapshot_unref(other);
	world_free(&w);
}

TEST(restore__refuses_a_snapshot_that_memory_max_does_not_suit)
{
	const struct tiny_options o = {.is_confined = true, .data_bytes = 20 * PAGE};
	const struct mote_sandbox_options few = {.size = sizeof few, .memory_max = 3 * PAGE};
	world_make_of(&w, &o, NULL, &good);
	world_sandbox(&w, NULL);
	mote_snapshot *ready = NULL;
	OK(&w, mote_sandbox_start(w.sandbox, 0, &w.err));
	OK(&w, mote_snapshot_take(w.sandbox, NULL, &ready, &w.err));
	mote_sandbox_destroy(w.sandbox);
	/* One that was taken needs no frame from the start. */
	OK(&w, mote_sandbox_create(w.engine, ready, w.host, &few, &w.sandbox, &w.err));
	FAILS(&w, restore(w.snapshot), MOTE_EINVAL);
	CHECK_HAS(w.err.message, "memory_max is 0x3000");
	CHECK_EQ(mote_sandbox_state(w.sandbox), MOTE_STATE_READY);
	OK(&w, world_call(&w, MOTE_VOID, NULL));
	OK(&w, restore(ready));
	mote_snapshot_unref(ready);
	world_free(&w);
}

/* ---- hosts ----------------------------------------------------------------------------------- */

static int nothing(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	(void)cookie, (void)arguments, (void)reply;
	return 0;
}

TEST_BOTH(restore__a_host_must_have_what_the_snapshots_host_had)
{
	mote_host *poor = NULL;
	mote_sandbox *sandbox = NULL;
	world_make(&w, kind, &good);
	OK(&w, MOTE_HOST_ADD(w.host, "upper", nothing, NULL, &w.err, MOTE_STRING, MOTE_STRING));
	OK(&w, MOTE_HOST_ADD(w.host, "count", nothing, NULL, &w.err, MOTE_U32));
	OK(&w, mote_host_create(&poor, &w.err));
	OK(&w, MOTE_HOST_ADD(poor, "count", nothing, NULL, &w.err, MOTE_U64));
	world_sandbox(&w, NULL);
	OK(&w, mote_sandbox_start(w.sandbox, 0, &w.err));
	mote_snapshot *s = take();
	/* A fork. */
	FAILS(&w, mote_sandbox_create(w.engine, s, poor, NULL, &sandbox, &w.err), MOTE_EIMPORT);
	CHECK_HAS(w.err.message, "upper");
	CHECK_HAS(w.err.message, "count");
	CHECK(sandbox == NULL && w.hypervisor->machines == 1);
	/* A sandbox of the image, which asks for nothing. */
	OK(&w, mote_sandbox_create(w.engine, w.snapshot, poor, NULL, &sandbox, &w.err));
	OK(&w, mote_sandbox_start(sandbox, 0, &w.err));
	FAILS(&w, mote_sandbox_restore(sandbox, s, NULL, &w.err), MOTE_EIMPORT);
	CHECK_HAS(w.err.message, "upper");
	CHECK_EQ(mote_sandbox_state(sandbox), MOTE_STATE_READY);
	/* One taken with the poorer host suits both. */
	mote_snapshot *modest = NULL;
	OK(&w, mote_snapshot_take(sandbox, NULL, &modest, &w.err));
	mote_host_unref(poor);
	poor = NULL;
	mote_sandbox_destroy(sandbox);
	FAILS(&w, restore(modest), MOTE_EIMPORT);
	CHECK_HAS(w.err.message, "count");
	mote_snapshot_unref(modest);
	mote_snapshot_unref(s);
	world_free(&w);
}

/* ---- failures -------------------------------------------------------------------------------- */

static void check_broken(void)
{
	uint8_t byte;
	mote_snapshot *s = NULL;
	CHECK_EQ(mote_sandbox_state(w.sandbox), MOTE_STATE_BROKEN);
	FAILS(&w, restore(w.snapshot), MOTE_ESTATE);
	FAILS(&w, mote_snapshot_take(w.sandbox, NULL, &s, &w.err), MOTE_ESTATE);
	FAILS(&w, mote_sandbox_read(w.sandbox, COW_GVA, &byte, 1, &w.err), MOTE_ESTATE);
	FAILS(&w, world_call(&w, MOTE_VOID, NULL), MOTE_ESTATE);
	(void)world_statistics(&w);
}

/* Each operation of the hypervisor refused in turn: a restore that got half way is broken. */
static void check_refused(enum world_kind kind, const struct mote__exit *end, bool is_other,
			  unsigned expected)
{
	for (unsigned bit = 1; bit <= DOUBLE_GET_MSRS; bit *= 2) {
		open_kind(kind, &bad);
		mote_snapshot *s = is_other ? take() : mote_snapshot_ref(w.snapshot);
		bad_exit = *end;
		(void)world_call(&w, MOTE_VOID, NULL);
		bad_exit = halts;
		w.hypervisor->fail = bit;
		int rc = restore(s);
		w.hypervisor->fail = 0;
		if (expected & bit) {
			CHECK_EQ(rc, MOTE_ESYSTEM);
			check_broken();
		} else {
			OK(&w, rc);
			OK(&w, world_call(&w, MOTE_VOID, NULL));
		}
		mote_snapshot_unref(s);
		world_free(&w);
	}
}

TEST(restore__half_way_is_broken_confined)
{
	check_refused(CONFINED, &halts, false, 0);
	check_refused(CONFINED, &halts, true, DOUBLE_MAP | DOUBLE_SET_SPECIAL);
	check_refused(CONFINED, &poisons, false, DOUBLE_MAP | DOUBLE_RESET);
	check_refused(CONFINED, &destroys, false,
		      DOUBLE_CREATE | DOUBLE_MAP | DOUBLE_SET_SPECIAL | DOUBLE_SET_MSRS);
}

TEST(restore__half_way_is_broken_stock)
{
	check_refused(STOCK, &halts, false, DOUBLE_MAP | DOUBLE_RESET);
	check_refused(STOCK, &halts, true, DOUBLE_MAP | DOUBLE_RESET);
	check_refused(STOCK, &poisons, false, DOUBLE_MAP | DOUBLE_RESET);
	check_refused(STOCK, &destroys, false, DOUBLE_CREATE | DOUBLE_MAP | DOUBLE_SET_SPECIAL);
}
