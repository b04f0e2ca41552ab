/* SPDX-License-Identifier: MIT */
/*
 * Does making a snapshot and a sandbox depend on the size of the heap? The three sizes take turns;
 * the floor of each is the smallest.
 */
#include "lib.h"

#include <stdio.h>

enum { ROUNDS = 60, SIZES = 3 };

static double time_both(const struct mote__bench *bench, const char *path, uint64_t heap_bytes)
{
	const struct mote_snapshot_options options = {.size = sizeof options,
						      .heap_bytes = heap_bytes};
	struct mote_error err = {0};
	mote_snapshot *snapshot = NULL;
	mote_sandbox *sandbox = NULL;
	double start = mote__bench_now();
	mote__bench_check(mote_snapshot_from_file(path, &options, &snapshot, &err), &err, path);
	mote__bench_check(
		mote_sandbox_create(bench->engine, snapshot, bench->host, NULL, &sandbox, &err),
		&err, "sandbox");
	double time = mote__bench_now() - start;
	mote_sandbox_destroy(sandbox);
	mote_snapshot_unref(snapshot);
	return time;
}

int main(int count, char **arguments)
{
	static const struct {
		const char *name;
		uint64_t bytes;
	} sizes[SIZES] = {{"create_heap_128k", 128 << 10},
			  {"create_heap_64m", 64 << 20},
			  {"create_heap_1g", 1 << 30}};
	const char *directory = mote__bench_directory(count, arguments);
	struct mote__bench bench;
	struct mote__bench_series series[SIZES];
	char path[4096];
	(void)snprintf(path, sizeof path, "%s/bench.guest", directory);
	mote__bench_open(&bench, directory, "bench.guest", NULL);
	for (int i = 0; i < SIZES; i++)
		series[i] = mote__bench_series(ROUNDS);
	for (int i = 0; i < ROUNDS; i++)
		for (int k = 0; k < SIZES; k++)
			mote__bench_add(&series[k], time_both(&bench, path, sizes[k].bytes));
	double floor = mote__bench_median(&series[0]);
	for (int i = 0; i < SIZES; i++) {
		mote__bench_report(&(struct mote__bench_answer){.name = sizes[i].name,
								.unit = "us",
								.floor = floor,
								.limit = 1.10 * floor},
				   &series[i]);
		mote__bench_free(&series[i]);
	}
	mote__bench_close(&bench);
	return 0;
}
