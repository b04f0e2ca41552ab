/* SPDX-License-Identifier: MIT */
/*
 * What tests of snapshots know of the guest "rust" (tests/interop/guest-rust), which was built with
 * the published 0.15 guest crates: how to open it, the state of it that calls change, a model of
 * that state in C, and where its memory lies. RUST() opens it, with room to copy all its pages.
 */
#ifndef MOTE_TESTS_RUST_STATE_H
#define MOTE_TESTS_RUST_STATE_H

#include "system.h"

#include <stdlib.h>

#define PAGE          4096ull
#define TOP           0xFFFFFFFFFFFFF000ull
#define CONTROL       0xFFFFFD0000000000ull /* GDT and TSS, then the IDT */
#define STACK_TOP     0xFFFFFF0000000000ull
#define LOW_GVA       0x1000ull
#define LARGE_SCRATCH 0x800000ull
#define PAGES_MAX     1024u
#define KEPT_MAX      512u
/* Enough for what most tests write: their sums and fills look at so many pages. */
#define PAGES_FEW 48u

#define RUST_SOFT "rust-soft" /* the same guest without SSE */

/* The guest without SSE runs where the kernel emulates ring 0, too. MOTE_INTEROP_GUEST names
 * another one of the same functions. */
static inline const char *rust_name(void)
{
	const char *name = getenv("MOTE_INTEROP_GUEST");
	return name ? name : system_is_nested() ? "rust" : RUST_SOFT;
}

static inline int rust_echo_int(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	(void)cookie;
	return mote_reply_i32(reply, arguments[0].i32);
}

static inline void rust_add(mote_host *host)
{
	struct mote_error err;
	CHECK(MOTE_HOST_ADD(host, "HostEchoInt", rust_echo_int, NULL, &err, MOTE_I32, MOTE_I32) ==
	      MOTE_OK);
}

#define RUST_NAMED(s, name, scratch, ...)                                   \
	OPEN(s, name, .add = rust_add, .snapshot.scratch_bytes = (scratch), \
	     .sandbox.log_level = MOTE_LOG_INFO, ##__VA_ARGS__)
#define RUST_WITH(s, scratch, ...) RUST_NAMED(s, rust_name(), scratch, ##__VA_ARGS__)
#define RUST(s, ...)               RUST_WITH(s, LARGE_SCRATCH, ##__VA_ARGS__)

/* ---- its state ------------------------------------------------------------------------------- */

/* As a guest has it that has just initialised itself: all zero. */
struct rust_state {
	int32_t count;
	uint32_t kept_bytes;
	uint8_t kept[KEPT_MAX];
	uint64_t page[PAGES_MAX];
	uint32_t pages; /* that were ever filled */
};

static inline void rust_count(struct system *s, struct rust_state *state, int32_t by)
{
	state->count += by;
	CHECK_EQ(CALL_I32(s, "Count", mote_i32(by)), state->count);
}

static inline void rust_keep(struct system *s, struct rust_state *state, const void *data,
			     uint32_t len)
{
	CHECK(len <= KEPT_MAX - state->kept_bytes);
	memcpy(state->kept + state->kept_bytes, data, len);
	state->kept_bytes += len;
	CHECK_EQ(CALL_I32(s, "Keep", mote_bytes(data, len)), state->kept_bytes);
}

static inline void rust_fill(struct system *s, struct rust_state *state, uint32_t pages,
			     int32_t value)
{
	CHECK_EQ(CALL_I32(s, "FillPages", mote_i32((int32_t)pages), mote_i32(value)), pages);
	for (uint32_t i = 0; i < pages; i++)
		state->page[i] = (uint64_t)value + i;
	if (state->pages < pages)
		state->pages = pages;
}

static inline uint64_t rust_sum(const struct rust_state *state, uint32_t pages)
{
	uint64_t sum = 0;
	for (uint32_t i = 0; i < pages; i++)
		sum += state->page[i];
	return sum;
}

/* What the guest tells of itself is what the model has. */
static inline void rust_check(struct system *s, const struct rust_state *state)
{
	const uint32_t pages[] = {1, PAGES_FEW, state->pages};
	CHECK_EQ(CALL_I32(s, "Count", mote_i32(0)), state->count);
	struct mote_value kept = CALL(s, MOTE_BYTES, "Kept");
	CHECK_EQ(kept.bytes.len, state->kept_bytes);
	CHECK_MEM(kept.bytes.data, state->kept, state->kept_bytes);
	for (unsigned i = 0; i < 3; i++)
		if (i < 2 || state->pages > PAGES_FEW)
			CHECK_EQ(CALL_U64(s, "SumPages", mote_i32((int32_t)pages[i])),
				 rust_sum(state, pages[i]));
}

/* ---- snapshots ------------------------------------------------------------------------------- */

static inline mote_snapshot *take(struct system *s)
{
	mote_snapshot *snapshot = NULL;
	OK(s, mote_snapshot_take(s->sandbox, NULL, &snapshot, &s->err));
	return snapshot;
}

static inline void restore(struct system *s, mote_snapshot *snapshot)
{
	OK(s, mote_sandbox_restore(s->sandbox, snapshot, NULL, &s->err));
}

static inline mote_sandbox *fork_on(struct system *s, mote_engine *engine, mote_snapshot *snapshot)
{
	const struct mote_sandbox_options o = {.size = sizeof o, .log_level = MOTE_LOG_INFO};
	mote_sandbox *fork = NULL;
	OK(s, mote_sandbox_create(engine, snapshot, s->host, &o, &fork, &s->err));
	return fork;
}

/* A sandbox of snapshot in place of the one there is. */
static inline void fork_of(struct system *s, mote_snapshot *snapshot)
{
	mote_sandbox *fork = fork_on(s, s->engine, snapshot);
	mote_sandbox_destroy(s->sandbox);
	s->sandbox = fork;
}

static inline void digest_of(struct system *s, mote_snapshot *snapshot,
			     uint8_t digest[MOTE_DIGEST_BYTES])
{
	OK(s, mote_snapshot_digest(snapshot, digest, &s->err));
}

static inline void check_same(struct system *s, mote_snapshot *a, mote_snapshot *b)
{
	uint8_t of_a[MOTE_DIGEST_BYTES], of_b[MOTE_DIGEST_BYTES];
	digest_of(s, a, of_a);
	digest_of(s, b, of_b);
	CHECK_MEM(of_a, of_b, MOTE_DIGEST_BYTES);
}

static inline struct mote_snapshot_info info_of(const mote_snapshot *snapshot)
{
	struct mote_snapshot_info info;
	mote_snapshot_get_info(snapshot, &info);
	return info;
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* Pages that one has and the other has not, or with other bytes. */
static inline void check_pages(mote_sandbox *a, mote_sandbox *b, uint64_t gva, uint64_t bytes)
{
	static uint8_t of_a[PAGE], of_b[PAGE];
	struct mote_error err;
	for (uint64_t end = gva + bytes; gva < end; gva += PAGE) {
		int rc = mote_sandbox_read(a, gva, of_a, PAGE, &err);
		if (mote_sandbox_read(b, gva, of_b, PAGE, &err) != rc)
			check_failed(__FILE__, __LINE__, "one of them has no page 0x%llx",
				     (unsigned long long)gva);
		if (rc == MOTE_OK && memcmp(of_a, of_b, PAGE) != 0)
			check_failed(__FILE__, __LINE__, "page 0x%llx differs",
				     (unsigned long long)gva);
	}
}

/* All that a guest of this kind maps: what lies low, descriptor tables, stack, all of scratch. */
static inline void check_memory(const struct mote_snapshot_info *info, mote_sandbox *a,
				mote_sandbox *b)
{
	check_pages(a, b, LOW_GVA, info->memory_bytes + 16 * PAGE);
	check_pages(a, b, CONTROL - PAGE, 4 * PAGE);
	check_pages(a, b, STACK_TOP - 64 * PAGE, 65 * PAGE);
	check_pages(a, b, TOP - info->scratch_bytes - PAGE, info->scratch_bytes + PAGE);
}

#endif
