/* SPDX-License-Identifier: MIT */
/*
 * What does a page cost that a guest writes for the first time: copied from the snapshot, or filled
 * with zeroes? The difference between a call that touches many pages and one that touches none.
 */
#include "lib.h"

enum { ROUNDS = 40, PAGES = 64, HEAP_BYTES = 1 << 20 };

static double time_call(mote_sandbox *sandbox, const char *function, int32_t pages)
{
	double start = mote__bench_now();
	(void)mote__bench_call(sandbox, function, pages);
	return mote__bench_now() - start;
}

static double time_pages(const struct mote__bench *bench, const char *function)
{
	mote_sandbox *sandbox = mote__bench_sandbox(bench);
	/* One page, so that code, stack and the leaf table are there. */
	for (int i = 0; i < 3; i++)
		(void)time_call(sandbox, function, 1);
	double none = time_call(sandbox, function, 1);
	double all = time_call(sandbox, function, PAGES + 1);
	mote_sandbox_destroy(sandbox);
	return (all - none) / PAGES;
}

int main(int count, char **arguments)
{
	const struct mote_snapshot_options options = {.size = sizeof options,
						      .heap_bytes = HEAP_BYTES};
	struct mote__bench bench;
	mote__bench_open(&bench, mote__bench_directory(count, arguments), "pages.guest", &options);
	struct mote__bench_series copied = mote__bench_series(ROUNDS);
	struct mote__bench_series filled = mote__bench_series(ROUNDS);
	for (int i = 0; i < ROUNDS; i++) {
		mote__bench_add(&copied, time_pages(&bench, "touch_data"));
		mote__bench_add(&filled, time_pages(&bench, "touch_heap"));
	}
	mote__bench_report(&(struct mote__bench_answer){.name = "cow_fault", .unit = "us/page"},
			   &copied);
	mote__bench_report(&(struct mote__bench_answer){.name = "demand_fault", .unit = "us/page"},
			   &filled);
	mote__bench_free(&copied);
	mote__bench_free(&filled);
	mote__bench_close(&bench);
	return 0;
}
