/* SPDX-License-Identifier: MIT */
/*
 * What tests of snapshots with real guests share: the guest snap_probe and where its memory is, and
 * comparisons that say in words what differs, instead of failing at once: the tests that break the
 * library on purpose expect a difference.
 */
#ifndef MOTE_TESTS_SNAPSHOT_WORLD_H
#define MOTE_TESTS_SNAPSHOT_WORLD_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../guests/snap_probe.h"
#include "system.h"

#define SNAP_PAGE_BYTES  4096u
#define SNAP_PLACES      14u
#define SNAP_TEXT_BYTES  1024u
#define SNAP_CHUNK_BYTES 0x10000u

/* ---- bounds ---------------------------------------------------------------------------------- */

static inline double snap_now(void)
{
	struct timespec t;
	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/** When a loop that could go on for ever ends: after seconds, or MOTE_TEST_SECONDS. */
static inline double snap_deadline(double seconds)
{
	const char *longer = getenv("MOTE_TEST_SECONDS");
	return snap_now() + (longer ? strtod(longer, NULL) : seconds);
}

/** A seed, which is printed; MOTE_TEST_SEED repeats a run. */
static inline uint64_t snap_seed(void)
{
	const char *given = getenv("MOTE_TEST_SEED");
	struct timespec t;
	(void)clock_gettime(CLOCK_REALTIME, &t);
	uint64_t seed =
		given ? strtoull(given, NULL, 0) : (uint64_t)t.tv_nsec << 20 ^ (uint64_t)t.tv_sec;
	seed |= 1;
	check_note("seed 0x%llx", (unsigned long long)seed);
	return seed;
}

static inline uint64_t snap_below(uint64_t *random, uint64_t limit)
{
	return check_random(random) % limit;
}

/* ---- the guest ------------------------------------------------------------------------------- */

/** An engine without a pool: what it makes is made from nothing. */
static inline mote_engine *snap_plain_engine(void)
{
	static mote_engine *engine;
	const struct mote_engine_options options = {.size = sizeof options,
						    .pool_max = MOTE_POOL_NONE};
	(void)system_engine();
	if (!engine)
		CHECK(mote_engine_create(&options, &engine, NULL) == MOTE_OK);
	return engine;
}

/** Where things are, as the guest says. */
static inline void snap_find_places(struct system *s, uint64_t *places)
{
	for (uint32_t i = 0; i < SNAP_PLACES; i++)
		places[i] = CALL_U64(s, "place", mote_u32(i));
}

static inline bool snap_failed(char *text, const char *what, int rc, const struct mote_error *err)
{
	(void)snprintf(text, SNAP_TEXT_BYTES, "%s: %s: %s", what, mote_code_name(rc), err->message);
	return false;
}

/* ---- comparing memory ------------------------------------------------------------------------ */

/** Whose contents are the library's business, or differ by design. */
static inline bool snap_is_own(const struct mote_region *r)
{
	static const char *const names[] = {
		"parameters",  "system leaves", "edit log",      "interrupt stack", "run info",
		"copy window", "input buffer",  "output buffer", "mappings",        "scratch",
		"ring-0 code", "GDT and TSS",   "IDT",           "entry code"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (strcmp(r->name, names[i]) == 0)
			return true;
	return false;
}

static inline bool snap_chunk_same(const uint8_t *a, const uint8_t *b, size_t len, const char *name,
				   uint64_t gva, char *text)
{
	if (memcmp(a, b, len) == 0)
		return true;
	size_t i = 0;
	while (a[i] == b[i])
		i++;
	(void)snprintf(text, SNAP_TEXT_BYTES, "%s differs at 0x%llx: 0x%02x, not 0x%02x", name,
		       (unsigned long long)(gva + i), a[i], b[i]);
	return false;
}

/** [gva, gva + bytes) of sandbox is what of_sandbox, or else of_snapshot, has there. */
static inline bool snap_range_same(mote_sandbox *sandbox, mote_sandbox *of_sandbox,
				   const mote_snapshot *of_snapshot, const char *name, uint64_t gva,
				   uint64_t bytes, char *text)
{
	static _Thread_local uint8_t a[SNAP_CHUNK_BYTES], b[SNAP_CHUNK_BYTES];
	struct mote_error err;
	for (uint64_t at = 0, len; at < bytes; at += len) {
		len = bytes - at < sizeof a ? bytes - at : sizeof a;
		int rc = mote_sandbox_read(sandbox, gva + at, a, len, &err);
		if (rc == MOTE_OK)
			rc = of_sandbox ? mote_sandbox_read(of_sandbox, gva + at, b, len, &err)
					: mote_snapshot_read(of_snapshot, gva + at, b, len, &err);
		if (rc < 0)
			return snap_failed(text, name, rc, &err);
		if (!snap_chunk_same(a, b, len, name, gva + at, text))
			return false;
	}
	return true;
}

/** All that the guest can reach of sandbox, which runs from snapshot, is what another one that does
 * has, or (of_sandbox NULL) what the snapshot has. */
static inline bool snap_memory_same(mote_sandbox *sandbox, mote_sandbox *of_sandbox,
				    const mote_snapshot *snapshot, char *text)
{
	struct mote_region r;
	for (uint32_t i = 0; mote_snapshot_get_region(snapshot, i, &r) == MOTE_OK; i++)
		if (!snap_is_own(&r) &&
		    !snap_range_same(sandbox, of_sandbox, snapshot, r.name, r.gva, r.bytes, text))
			return false;
	return true;
}

static inline bool snap_find_region(const mote_snapshot *snapshot, const char *name,
				    struct mote_region *r)
{
	for (uint32_t i = 0; mote_snapshot_get_region(snapshot, i, r) == MOTE_OK; i++)
		if (strcmp(r->name, name) == 0)
			return true;
	return false;
}

/** Bytes [from, end of the region) of sandbox are zero. */
static inline bool snap_region_zero(mote_sandbox *sandbox, const mote_snapshot *snapshot,
				    const char *name, uint64_t from, char *text)
{
	static const uint8_t zeroes[SNAP_CHUNK_BYTES];
	static _Thread_local uint8_t bytes[SNAP_CHUNK_BYTES];
	struct mote_error err;
	struct mote_region r;
	if (!snap_find_region(snapshot, name, &r))
		return true;
	for (uint64_t at = from, len; at < r.bytes; at += len) {
		len = r.bytes - at < sizeof bytes ? r.bytes - at : sizeof bytes;
		int rc = mote_sandbox_read(sandbox, r.gva + at, bytes, len, &err);
		if (rc < 0)
			return snap_failed(text, name, rc, &err);
		if (!snap_chunk_same(bytes, zeroes, len, name, r.gva + at, text))
			return false;
	}
	return true;
}

/** The pages between host and guest of a confined guest are as a start leaves them. */
static inline bool snap_buffers_clean(mote_sandbox *sandbox, const mote_snapshot *snapshot,
				      char *text)
{
	struct mote_region run, window;
	if (!snap_find_region(snapshot, "run info", &run) ||
	    !snap_find_region(snapshot, "copy window", &window))
		return true;
	uint8_t a[SNAP_PAGE_BYTES], b[SNAP_PAGE_BYTES];
	struct mote_error err;
	int rc = mote_sandbox_read(sandbox, run.gva, a, sizeof a, &err);
	if (rc == MOTE_OK)
		rc = mote_sandbox_read(sandbox, window.gva, b, sizeof b, &err);
	if (rc < 0)
		return snap_failed(text, "run info", rc, &err);
	/* The first word of a buffer is its stack pointer. */
	return snap_chunk_same(b, a, sizeof a, "copy window", window.gva, text) &&
	       snap_region_zero(sandbox, snapshot, "interrupt stack", 0, text) &&
	       snap_region_zero(sandbox, snapshot, "input buffer", 8, text) &&
	       snap_region_zero(sandbox, snapshot, "output buffer", 8, text);
}

/** sandbox has just been put to snapshot: every byte that its guest can read. */
static inline bool snap_is_restored(mote_sandbox *sandbox, const mote_snapshot *snapshot,
				    char *text)
{
	return snap_memory_same(sandbox, NULL, snapshot, text) &&
	       snap_buffers_clean(sandbox, snapshot, text);
}

#endif
