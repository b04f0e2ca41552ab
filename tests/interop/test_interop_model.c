/* SPDX-License-Identifier: MIT */
/*
 * The same guest, built with the published 0.15 guest crates, in random programs of calls, bad
 * ends, takes, restores, forks and flattenings against a model in C; what was restored against a
 * fork that was made from nothing, memory and registers; forks from a pool.
 * MOTE_INTEROP_SEED: the seed of the random program, else a random one. MOTE_INTEROP_STEPS: how
 * many operations.
 */
#define _GNU_SOURCE
#include "rust_state.h"

#include <linux/kvm.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Of the whole program, in place of the C library's. */
static atomic_uint machines_made;

int ioctl(int fd, unsigned long request, ...)
{
	va_list arguments;
	va_start(arguments, request);
	void *argument = va_arg(arguments, void *);
	va_end(arguments);
	if (request == KVM_CREATE_VM)
		atomic_fetch_add(&machines_made, 1);
	return (int)syscall(SYS_ioctl, fd, request, argument);
}

static mote_engine *engine_with(uint32_t pool_max)
{
	const struct mote_engine_options o = {.size = sizeof o, .pool_max = pool_max};
	mote_engine *engine = NULL;
	struct mote_error err;
	CHECK(mote_engine_create(&o, &engine, &err) == MOTE_OK);
	return engine;
}

/* Its sandboxes are made from nothing. */
static mote_engine *plain_engine(void)
{
	static mote_engine *engine;
	if (!engine)
		engine = engine_with(MOTE_POOL_NONE);
	return engine;
}

/* ---- a random program ------------------------------------------------------------------------ */

#define BOXES 3u
#define NODES 7u
#define FILL  40u

static struct {
	mote_sandbox *sandbox;
	struct rust_state state;
	bool is_poisoned;
} boxes[BOXES];

static struct {
	mote_snapshot *snapshot;
	struct rust_state state;
} nodes[NODES]; /* the first one is the image, the second of a guest that is ready */

static uint64_t random_state;

static uint32_t below(uint32_t count)
{
	return (uint32_t)(check_random(&random_state) >> 20) % count;
}

static void seed_it(void)
{
	const char *text = getenv("MOTE_INTEROP_SEED");
	if (text)
		random_state = strtoull(text, NULL, 0);
	else
		CHECK(getrandom(&random_state, sizeof random_state, 0) == sizeof random_state);
	random_state |= !random_state;
	check_note("MOTE_INTEROP_SEED=0x%llx", (unsigned long long)random_state);
}

static uint32_t some_node(void)
{
	uint32_t node = below(NODES);
	while (!nodes[node].snapshot)
		node = below(NODES);
	/* Beginning anew takes long. */
	return node || below(4) == 0 ? node : 1;
}

static uint32_t some_place(void)
{
	uint32_t place = 2 + below(NODES - 2);
	mote_snapshot_unref(nodes[place].snapshot);
	nodes[place].snapshot = NULL;
	return place;
}

static void step_call(struct system *s, struct rust_state *state)
{
	static const uint32_t sizes[] = {1, 2, 16, FILL};
	uint8_t bytes[24];
	switch (below(4)) {
	case 0:
		rust_count(s, state, (int32_t)below(1000) - 500);
		break;
	case 1:
		for (unsigned i = 0; i < sizeof bytes; i++)
			bytes[i] = (uint8_t)below(256);
		if (state->kept_bytes < KEPT_MAX - sizeof bytes)
			rust_keep(s, state, bytes, below(sizeof bytes));
		break;
	case 2:
		(void)CALL_I32(s, "Alloc", mote_i32(1 + (int32_t)below(200)));
		break;
	default:
		rust_fill(s, state, sizes[below(4)], (int32_t)below(100000));
	}
}

static void step_end(struct system *s)
{
	switch (below(4)) {
	case 0:
		FAILS(s, MOTE_EABORT, "over", MOTE_VOID, "Panic", mote_string("over"));
		break;
	case 1:
		FAILS(s, MOTE_EABORT, "9", MOTE_VOID, "Abort", mote_i32(9));
		break;
	case 2:
		FAILS(s, MOTE_EABORT, "InvalidOpcode", MOTE_VOID, "Raise", mote_i32(6));
		break;
	default:
		FAILS(s, MOTE_EPROTOCOL, "shutdown", MOTE_VOID, "TripleFault");
	}
	CHECK_EQ(s->err.poisoned, 1);
}

static void step_take(struct system *s, const struct rust_state *state)
{
	uint32_t place = some_place();
	nodes[place].snapshot = take(s);
	nodes[place].state = *state;
	mote_snapshot *again = take(s);
	CHECK(again == nodes[place].snapshot);
	mote_snapshot_unref(again);
}

static void step_flatten(struct system *s)
{
	uint32_t node = some_node();
	mote_snapshot *flat = NULL;
	OK(s, mote_snapshot_flatten(nodes[node].snapshot, &flat, &s->err));
	check_same(s, nodes[node].snapshot, flat);
	struct rust_state state = nodes[node].state;
	uint32_t place = some_place();
	nodes[place].snapshot = flat;
	nodes[place].state = state;
}

static void step(struct system *s)
{
	const uint32_t i = below(BOXES), what = below(16), node = some_node();
	s->sandbox = boxes[i].sandbox;
	if (what < 2 && below(3) == 0) {
		step_flatten(s);
	} else if (boxes[i].is_poisoned || what >= 10) {
		if (what % 3 == 0) {
			fork_of(s, nodes[node].snapshot);
			boxes[i].sandbox = s->sandbox;
		} else {
			restore(s, nodes[node].snapshot);
		}
		boxes[i].state = nodes[node].state;
		boxes[i].is_poisoned = false;
	} else if (what < 6) {
		step_call(s, &boxes[i].state);
	} else if (what < 9) {
		step_take(s, &boxes[i].state);
	} else {
		step_end(s);
		boxes[i].is_poisoned = true;
		return;
	}
	if (!boxes[i].is_poisoned && below(2))
		rust_check(s, &boxes[i].state);
}

TEST(interop_model__a_random_program)
{
	struct system s;
	const char *text = getenv("MOTE_INTEROP_STEPS");
	const unsigned steps = text                 ? (unsigned)strtoul(text, NULL, 0)
			       : system_is_nested() ? 400
						    : 120;
	memset(boxes, 0, sizeof boxes);
	memset(nodes, 0, sizeof nodes);
	seed_it();
	RUST(&s);
	CALL_VOID(&s, "Nothing");
	nodes[0].snapshot = mote_snapshot_ref(s.snapshot);
	nodes[1].snapshot = take(&s);
	boxes[0].sandbox = s.sandbox;
	for (unsigned i = 1; i < BOXES; i++)
		boxes[i].sandbox = fork_on(&s, s.engine, nodes[1].snapshot);
	for (unsigned i = 0; i < steps; i++)
		step(&s);
	s.sandbox = boxes[0].sandbox;
	for (unsigned i = 0; i < NODES; i++) {
		if (!nodes[i].snapshot)
			continue;
		fork_of(&s, nodes[i].snapshot);
		rust_check(&s, &nodes[i].state);
		mote_snapshot_unref(nodes[i].snapshot);
	}
	for (unsigned i = 1; i < BOXES; i++)
		mote_sandbox_destroy(boxes[i].sandbox);
	system_close(&s);
}

/* ---- a restored sandbox is a fresh fork ------------------------------------------------------ */

static void nothing(struct system *s)
{
	CALL_VOID(s, "Nothing");
}

static void write_much(struct system *s)
{
	(void)CALL_I32(s, "FillPages", mote_i32(100), mote_i32(123456));
	(void)CALL_I32(s, "Keep", mote_bytes(s->printed, 3000));
	(void)CALL_I32(s, "Alloc", mote_i32(20000));
}

static void spoil_registers(struct system *s)
{
	CALL_VOID(s, "Clobber", mote_u64(0x7FFF12345678));
}

/* Its tables, in scratch, are its own to change: an entry of nothing, and one of everything. */
static void spoil_tables(struct system *s)
{
	const uint64_t linear = 0xFFFFFFEFFFFFF000ull;
	const uint64_t root = CALL_U64(s, "Peek", mote_u64(TOP - 0x18)) + linear;
	const uint64_t first = CALL_U64(s, "Peek", mote_u64(root));
	CALL_VOID(s, "Poke", mote_u64(root + 8 * 100), mote_u64(first));
	CALL_VOID(s, "Poke", mote_u64(root + 8 * 101), mote_u64(0xFFFFFFFFF023));
	CHECK_EQ(CALL_U64(s, "Peek", mote_u64((100ull << 39) + 0x1000)),
		 CALL_U64(s, "Peek", mote_u64(0x1000)));
}

static void spoil_words(struct system *s)
{
	CALL_VOID(s, "Poke", mote_u64(TOP - 0x20), mote_u64(99));
	CALL_VOID(s, "Poke", mote_u64(TOP - 0x28), mote_u64(98));
	CALL_VOID(s, "Poke", mote_u64(TOP - 0x1008), mote_u64(97));
	CALL_VOID(s, "Poke", mote_u64(TOP - 0x3000), mote_u64(96));
}

static void fault(struct system *s)
{
	FAILS(s, MOTE_EABORT, "PageFault", MOTE_U64, "Peek", mote_u64(0x123456789000));
}

static void panic(struct system *s)
{
	FAILS(s, MOTE_EABORT, "", MOTE_VOID, "Panic", mote_string("it ends"));
}

static void triple_fault(struct system *s)
{
	FAILS(s, MOTE_EPROTOCOL, "", MOTE_VOID, "TripleFault");
}

static void spin(struct system *s)
{
	struct mote_call call = *CALL_OF("Spin", MOTE_VOID);
	call.timeout_ns = 10000000;
	CHECK_EQ(mote_sandbox_call(s->sandbox, &call, NULL, &s->err), MOTE_ECANCELED);
}

static void spoil_output(struct system *s)
{
	FAILS(s, MOTE_EPROTOCOL, "", MOTE_VOID, "SpoilOutput", mote_i32(4));
}

static void host_writes(struct system *s)
{
	static const uint8_t bytes[3 * PAGE] = {1, 2, 3};
	const struct mote_snapshot_info info = info_of(s->snapshot);
	OK(s, mote_sandbox_write(s->sandbox, 0x1000 + info.memory_bytes / 2, bytes, sizeof bytes,
				 &s->err));
}

static void (*const dirty[])(struct system *) = {
	nothing, write_much, spoil_registers, spoil_tables, spoil_words, fault, triple_fault,
	panic,   spin,       spoil_output,    host_writes,
};

/* The same calls; everything that they see is in outcome. */
static void do_some(struct system *s, uint8_t *outcome, size_t *len)
{
	struct mote_value v = CALL(s, MOTE_BYTES, "Registers");
	memcpy(outcome, v.bytes.data, v.bytes.len);
	*len = v.bytes.len;
	const uint64_t seen[] = {
		(uint64_t)CALL_I32(s, "Count", mote_i32(3)),
		CALL_U64(s, "SumPages", mote_i32(PAGES_FEW)),
		CALL_U64(s, "Seed"),
		CALL_U64(s, "Generation"),
		CALL_U64(s, "Peek", mote_u64(TOP - 0x10)),
		(uint64_t)CALL_I32(s, "FillPages", mote_i32(3), mote_i32(5)),
		(uint64_t)CALL_I32(s, "Keep", mote_bytes("same", 4)),
	};
	memcpy(outcome + *len, seen, sizeof seen);
	*len += sizeof seen;
}

static const struct mote_fresh same_fresh = {7, {1, 2, 3, 4, 5, 6, 7, 8}};

static void compare(struct system *s, mote_snapshot *base)
{
	const struct mote_sandbox_options o = {
		.size = sizeof o, .log_level = MOTE_LOG_INFO, .fresh = &same_fresh};
	uint8_t outcome[2][512];
	size_t len[2];
	mote_sandbox *restored = s->sandbox, *fresh = NULL;
	OK(s, mote_sandbox_create(plain_engine(), base, s->host, &o, &fresh, &s->err));
	const struct mote_snapshot_info info = info_of(base);
	check_memory(&info, restored, fresh);
	do_some(s, outcome[0], &len[0]);
	mote_snapshot *of_restored = take(s);
	s->sandbox = fresh;
	do_some(s, outcome[1], &len[1]);
	mote_snapshot *of_fresh = take(s);
	s->sandbox = restored;
	CHECK_EQ(len[0], len[1]);
	CHECK_MEM(outcome[0], outcome[1], len[0]);
	check_memory(&info, restored, fresh);
	check_same(s, of_restored, of_fresh);
	mote_snapshot_unref(of_restored);
	mote_snapshot_unref(of_fresh);
	mote_sandbox_destroy(fresh);
}

/* A difference would be found: one word, and one page that is there or not. */
TEST(interop_model__the_comparison_sees_a_write)
{
	struct system s;
	uint8_t of_a[MOTE_DIGEST_BYTES], of_b[MOTE_DIGEST_BYTES];
	RUST(&s);
	CALL_VOID(&s, "Nothing");
	mote_snapshot *a = take(&s);
	(void)CALL_I32(&s, "Count", mote_i32(1));
	mote_snapshot *b = take(&s);
	digest_of(&s, a, of_a);
	digest_of(&s, b, of_b);
	CHECK(memcmp(of_a, of_b, sizeof of_a) != 0);
	mote_snapshot_unref(a);
	mote_snapshot_unref(b);
	system_close(&s);
}

TEST(interop_model__a_restored_sandbox_is_a_fresh_fork)
{
	const struct mote_restore_options o = {.size = sizeof o, .fresh = &same_fresh};
	struct system s;
	struct rust_state state = {0};
	mote_snapshot *bases[4] = {0};
	RUST(&s);
	bases[0] = mote_snapshot_ref(s.snapshot);
	rust_keep(&s, &state, "some", 4);
	bases[1] = take(&s);
	rust_fill(&s, &state, 10, 10);
	bases[2] = take(&s);
	OK(&s, mote_snapshot_flatten(bases[2], &bases[3], &s.err));
	for (unsigned i = 0; i < sizeof dirty / sizeof *dirty; i++) {
		mote_snapshot *base = bases[i % 4];
		/* From itself and from another one. */
		for (unsigned turn = 0; turn < 2; turn++) {
			if (turn == i / 4 % 2 && !system_is_nested())
				continue; /* takes long */
			OK(&s,
			   mote_sandbox_restore(s.sandbox, bases[turn ? 2 : i % 4], &o, &s.err));
			CALL_VOID(&s, "Nothing");
			dirty[i](&s);
			OK(&s, mote_sandbox_restore(s.sandbox, base, &o, &s.err));
			compare(&s, base);
		}
	}
	for (unsigned i = 0; i < 4; i++)
		mote_snapshot_unref(bases[i]);
	system_close(&s);
}

/* ---- a pool ---------------------------------------------------------------------------------- */

#define POOL 4u

static uint32_t pooled(const mote_engine *engine)
{
	struct mote_engine_info info;
	mote_engine_get_info(engine, &info);
	return info.pool_count;
}

TEST(interop_model__forks_from_a_pool_make_no_machine)
{
	const struct mote_sandbox_options o = {
		.size = sizeof o, .log_level = MOTE_LOG_INFO, .fresh = &same_fresh};
	struct system s;
	struct rust_state first = {0}, second;
	mote_sandbox *forks[POOL];
	mote_engine *engine = engine_with(POOL);
	RUST(&s);
	mote_sandbox *mine = s.sandbox;
	rust_count(&s, &first, 4);
	rust_fill(&s, &first, 6, 60);
	mote_snapshot *a = take(&s);
	second = first;
	rust_keep(&s, &second, "second", 6);
	mote_snapshot *b = take(&s);
	OK(&s, mote_engine_fill(engine, a, POOL, &s.err));
	CHECK_EQ(pooled(engine), POOL);
	const unsigned before = atomic_load(&machines_made);
	CHECK(before > POOL);
	for (unsigned turn = 0; turn < 4; turn++) {
		/* Shells of one snapshot become sandboxes of the other. */
		for (unsigned i = 0; i < POOL; i++)
			forks[i] = fork_on(&s, engine, (turn + i) % 2 ? b : a);
		CHECK_EQ(pooled(engine), 0);
		for (unsigned i = 0; i < POOL; i++) {
			struct rust_state state = (turn + i) % 2 ? second : first;
			s.sandbox = forks[i];
			CHECK_EQ(system_statistics(&s).calls, 0);
			rust_check(&s, &state);
			rust_count(&s, &state, (int32_t)(10 * i + turn));
			if (i == turn)
				panic(&s);
			else
				spoil_registers(&s);
		}
		for (unsigned i = 0; i < POOL; i++)
			mote_sandbox_destroy(forks[i]);
		CHECK_EQ(pooled(engine), POOL);
	}
	/* What comes out of it is what a new one is. */
	OK(&s, mote_sandbox_create(engine, b, s.host, &o, &s.sandbox, &s.err));
	CHECK_EQ(atomic_load(&machines_made), before);
	compare(&s, b);
	mote_sandbox_destroy(s.sandbox);
	s.sandbox = mine;
	CHECK_EQ(mote_engine_trim(engine, a) + mote_engine_trim(engine, b), POOL);
	CHECK_EQ(pooled(engine), 0);
	mote_engine_unref(engine);
	mote_snapshot_unref(a);
	mote_snapshot_unref(b);
	system_close(&s);
}
