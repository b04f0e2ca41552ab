/* SPDX-License-Identifier: MIT */
/*
 * What the benchmarks of snapshots share: ready snapshots of a guest whose heap holds as many bytes
 * as wanted, and calls that dirty as many pages as wanted.
 */
#ifndef MOTE_BENCH_SNAP_H
#define MOTE_BENCH_SNAP_H

#include "lib.h"

#define MOTE__BENCH_PAGE 4096ull

/** A snapshot of a guest that has a block of bytes, all of which are written. */
struct mote__bench_filled {
	mote_snapshot *snapshot; /* ready */
	uint64_t gva, bytes;     /* the block */
};

/** Make one; bytes a multiple of 1 MiB, write_set_max as in mote_snapshot_options. */
struct mote__bench_filled mote__bench_fill(const struct mote__bench *bench, const char *directory,
					   uint64_t bytes, uint32_t write_set_max);
/** A sandbox that runs from snapshot. */
mote_sandbox *mote__bench_fork(const struct mote__bench *bench, mote_snapshot *snapshot);
/** A call that writes count pages of the block from number first on. */
void mote__bench_touch(mote_sandbox *sandbox, uint64_t first, uint32_t count);
void mote__bench_restore(mote_sandbox *sandbox, mote_snapshot *snapshot);
mote_snapshot *mote__bench_take(mote_sandbox *sandbox);
/** Restore and call until the write set has settled. */
void mote__bench_warm(mote_sandbox *sandbox, mote_snapshot *snapshot, uint32_t count);
struct mote_statistics mote__bench_statistics(const mote_sandbox *sandbox);

/** Bytes of memory that the machine could give. */
uint64_t mote__bench_memory_available(void);

#endif
