/* SPDX-License-Identifier: MIT */
#include "snap.h"

#include <stdio.h>
#include <string.h>

#define PIECE_BYTES 0x100000u
/* Rounds of which the last ones find everything in place. */
#define WARM_ROUNDS 8

static const char guest[] = "snap.guest";

static uint64_t reserve(mote_sandbox *sandbox, uint64_t bytes)
{
	struct mote_error err = {0};
	struct mote_value at;
	mote__bench_check(MOTE_CALL(sandbox, "reserve", &at, &err, MOTE_U64, mote_u64(bytes)), &err,
			  "reserve");
	return at.u64;
}

/* By the host: a guest would fault for each page. */
static void write_block(mote_sandbox *sandbox, uint64_t gva, uint64_t bytes)
{
	static uint8_t piece[PIECE_BYTES];
	struct mote_error err = {0};
	memset(piece, 0x5A, sizeof piece);
	for (uint64_t done = 0; done < bytes; done += sizeof piece)
		mote__bench_check(
			mote_sandbox_write(sandbox, gva + done, piece, sizeof piece, &err), &err,
			"filling the block");
}

struct mote__bench_filled mote__bench_fill(const struct mote__bench *bench, const char *directory,
					   uint64_t bytes, uint32_t write_set_max)
{
	struct mote_error err = {0};
	const struct mote_snapshot_options options = {.size = sizeof options,
						      .heap_bytes = bytes + PIECE_BYTES,
						      .write_set_max = write_set_max};
	struct mote__bench_filled filled = {.bytes = bytes};
	mote_snapshot *image = NULL;
	char path[4096];
	(void)snprintf(path, sizeof path, "%s/%s", directory, guest);
	mote__bench_check(mote_snapshot_from_file(path, &options, &image, &err), &err, path);
	mote_sandbox *sandbox = mote__bench_fork(bench, image);
	filled.gva = reserve(sandbox, bytes);
	write_block(sandbox, filled.gva, bytes);
	filled.snapshot = mote__bench_take(sandbox);
	mote_sandbox_destroy(sandbox);
	mote_snapshot_unref(image);
	return filled;
}

mote_sandbox *mote__bench_fork(const struct mote__bench *bench, mote_snapshot *snapshot)
{
	struct mote_error err = {0};
	mote_sandbox *sandbox = NULL;
	mote__bench_check(
		mote_sandbox_create(bench->engine, snapshot, bench->host, NULL, &sandbox, &err),
		&err, "fork");
	return sandbox;
}

void mote__bench_touch(mote_sandbox *sandbox, uint64_t first, uint32_t count)
{
	struct mote_error err = {0};
	struct mote_value result;
	mote__bench_check(MOTE_CALL(sandbox, "touch", &result, &err, MOTE_I32,
				    mote_i32((int32_t)first), mote_i32((int32_t)count)),
			  &err, "touch");
	if (result.i32 != (int32_t)count)
		mote__bench_fail("touch of %u pages answered %d", count, result.i32);
}

void mote__bench_restore(mote_sandbox *sandbox, mote_snapshot *snapshot)
{
	struct mote_error err = {0};
	mote__bench_check(mote_sandbox_restore(sandbox, snapshot, NULL, &err), &err, "restore");
}

mote_snapshot *mote__bench_take(mote_sandbox *sandbox)
{
	struct mote_error err = {0};
	mote_snapshot *snapshot = NULL;
	mote__bench_check(mote_snapshot_take(sandbox, NULL, &snapshot, &err), &err, "take");
	return snapshot;
}

void mote__bench_warm(mote_sandbox *sandbox, mote_snapshot *snapshot, uint32_t count)
{
	for (int i = 0; i < WARM_ROUNDS; i++) {
		mote__bench_touch(sandbox, 0, count);
		mote__bench_restore(sandbox, snapshot);
	}
}

struct mote_statistics mote__bench_statistics(const mote_sandbox *sandbox)
{
	struct mote_statistics statistics;
	mote_sandbox_get_statistics(sandbox, &statistics, sizeof statistics);
	return statistics;
}

uint64_t mote__bench_memory_available(void)
{
	char line[256];
	unsigned long kilobytes = 0;
	FILE *file = fopen("/proc/meminfo", "re");
	while (file && fgets(line, sizeof line, file))
		if (sscanf(line, "MemAvailable: %lu", &kilobytes) == 1)
			break;
	if (file)
		(void)fclose(file);
	return (uint64_t)kilobytes * 1024;
}
