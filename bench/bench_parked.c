/* SPDX-License-Identifier: MIT */
/*
 * How much memory does a fork hold that waits for its next call? Many forks of a snapshot with much
 * memory, each called once: private pages of the process before and after, for each. The kernel's
 * own memory is told apart.
 */
#include <stdio.h>

#include "memory.h"
#include "snap.h"

#define MIB 0x100000ull

enum { FORKS = 1000, PAGES = 4, LIMIT_BYTES = 96 << 10 };

int main(int count, char **arguments)
{
	static mote_sandbox *forks[FORKS];
	const char *directory = mote__bench_directory(count, arguments);
	struct mote__bench bench;
	char detail[512];
	if (!mote__bench_files(2 * FORKS + 100))
		mote__bench_skip("%d sandboxes need more open files than the limit", FORKS);
	mote__bench_open_engine(&bench, MOTE_POOL_NONE);
	struct mote__bench_filled filled = mote__bench_fill(&bench, directory, 64 * MIB, 0);
	/* The write set is learnt before, as by any snapshot that is used. */
	mote_sandbox *first = mote__bench_fork(&bench, filled.snapshot);
	mote__bench_warm(first, filled.snapshot, PAGES);
	(void)mote__bench_memory_look(); /* memory of this look */
	struct mote__bench_memory before = mote__bench_memory_look();
	for (int i = 0; i < FORKS; i++) {
		forks[i] = mote__bench_fork(&bench, filled.snapshot);
		mote__bench_touch(forks[i], 0, PAGES);
	}
	struct mote__bench_memory after = mote__bench_memory_look();
	mote__bench_memory_detail(detail, sizeof detail, &before, &after, FORKS);
	mote__bench_report_value(
		&(struct mote__bench_answer){.name = "parked_forks",
					     .unit = "bytes",
					     .limit = LIMIT_BYTES,
					     .detail = detail},
		(mote__bench_memory_total(&after) - mote__bench_memory_total(&before)) / FORKS);
	(void)fprintf(stderr, "    %s\n", detail);
	for (int i = 0; i < FORKS; i++)
		mote_sandbox_destroy(forks[i]);
	mote_sandbox_destroy(first);
	mote_snapshot_unref(filled.snapshot);
	mote__bench_close(&bench);
	return 0;
}
