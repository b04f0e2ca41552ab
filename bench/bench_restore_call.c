/* SPDX-License-Identifier: MIT */
/*
 * What does a call cost that is followed by a restore, over the least that a program on bare KVM
 * does for the same: copy the pages that a run writes from another memory, enter, write them, and
 * leave? For calls that write none, one, some and many pages. And where the rest goes.
 */
#include "raw.h"
#include "snap.h"

#include <stdio.h>

enum { ROUNDS = 60, BLOCK = 50, DROPPED = 5, SETS = 4, BLOCK_BYTES = 2 << 20, WRITE_SET = 512 };

/* One size: ours and the raw machine beside it. */
struct set {
	const char *name;
	uint32_t pages;
	double factor;
	struct mote__bench_filled filled;
	mote_sandbox *sandbox;
	struct mote__raw raw;
	struct mote__raw_machine machine;
	struct mote__bench_series both, floor;
};

/* ---- restore and call ------------------------------------------------------------------------ */

static void open_set(const struct mote__bench *bench, const char *directory, struct set *set)
{
	set->filled = mote__bench_fill(bench, directory, BLOCK_BYTES, WRITE_SET);
	set->sandbox = mote__bench_fork(bench, set->filled.snapshot);
	mote__bench_warm(set->sandbox, set->filled.snapshot, set->pages);
	mote__raw_open_pages(&set->raw, set->pages);
	mote__raw_create(&set->raw, &set->machine);
	set->both = mote__bench_series((size_t)ROUNDS * BLOCK);
	set->floor = mote__bench_series((size_t)ROUNDS * BLOCK);
}

static void close_set(struct set *set)
{
	mote__bench_free(&set->both);
	mote__bench_free(&set->floor);
	mote__raw_destroy(&set->raw, &set->machine);
	mote__raw_close(&set->raw);
	mote_sandbox_destroy(set->sandbox);
	mote_snapshot_unref(set->filled.snapshot);
}

/* The first of a block pay for what the other machine left in the caches. */
static void measure_set(struct set *set)
{
	for (int i = 0; i < BLOCK; i++) {
		double start = mote__bench_now();
		mote__bench_restore(set->sandbox, set->filled.snapshot);
		mote__bench_touch(set->sandbox, 0, set->pages);
		double end = mote__bench_now();
		if (i >= DROPPED)
			mote__bench_add(&set->both, end - start);
	}
	for (int i = 0; i < BLOCK; i++) {
		double start = mote__bench_now();
		mote__raw_fill(&set->raw, &set->machine);
		mote__raw_store(&set->raw, &set->machine);
		double end = mote__bench_now();
		if (i >= DROPPED)
			mote__bench_add(&set->floor, end - start);
	}
}

static void report_set(struct set *set, const struct mote_statistics *before)
{
	struct mote_statistics after = mote__bench_statistics(set->sandbox);
	double restores = (double)(after.restores - before->restores);
	double floor = mote__bench_median(&set->floor);
	char detail[128];
	if (after.restores_strict != before->restores_strict || restores != ROUNDS * BLOCK)
		mote__bench_fail("%s: not all restores were in place", set->name);
	(void)snprintf(detail, sizeof detail, "\"refilled\":%.2f,\"dropped\":%.2f",
		       (double)(after.restore_pages - before->restore_pages) / restores,
		       (double)(after.restore_drops - before->restore_drops) / restores);
	mote__bench_report(&(struct mote__bench_answer){.name = set->name,
							.unit = "us",
							.floor = floor,
							.limit = set->factor * floor,
							.detail = detail},
			   &set->both);
}

static void restore_call(const struct mote__bench *bench, const char *directory)
{
	struct set sets[SETS] = {{.name = "restore_call_0", .pages = 0, .factor = 1.08},
				 {.name = "restore_call_1", .pages = 1, .factor = 1.08},
				 {.name = "restore_call_16", .pages = 16, .factor = 1.15},
				 {.name = "restore_call_256", .pages = 256, .factor = 1.15}};
	struct mote_statistics before[SETS];
	for (int k = 0; k < SETS; k++) {
		open_set(bench, directory, &sets[k]);
		before[k] = mote__bench_statistics(sets[k].sandbox);
	}
	for (int i = 0; i < ROUNDS; i++)
		for (int k = 0; k < SETS; k++)
			measure_set(&sets[k]);
	for (int k = 0; k < SETS; k++) {
		report_set(&sets[k], &before[k]);
		close_set(&sets[k]);
	}
}

/* ---- parts ----------------------------------------------------------------------------------- */

/* A call of nothing, without restores and with them, and when somebody else holds the sandbox's
 * interrupt object, and so could end it. */
enum part { FLOOR, CALL, RESTORE, CALL_RESTORED, CALL_WATCHED, PARTS };

/* Blocks of calls; each is preceded by a restore if there are series for it. */
static void measure_calls(mote_sandbox *sandbox, mote_snapshot *snapshot,
			  struct mote__bench_series *restore, struct mote__bench_series *call)
{
	for (int i = 0; i < BLOCK; i++) {
		double start = mote__bench_now(), middle = start;
		if (restore) {
			mote__bench_restore(sandbox, snapshot);
			middle = mote__bench_now();
		}
		mote__bench_touch(sandbox, 0, 0);
		double end = mote__bench_now();
		if (i < DROPPED)
			continue;
		if (restore)
			mote__bench_add(restore, middle - start);
		mote__bench_add(call, end - middle);
	}
}

static void measure_floor(struct mote__raw *raw, struct mote__raw_machine *machine,
			  struct mote__bench_series *floor)
{
	for (int i = 0; i < BLOCK; i++) {
		double start = mote__bench_now();
		mote__raw_enter(raw, machine);
		double end = mote__bench_now();
		if (i >= DROPPED)
			mote__bench_add(floor, end - start);
	}
}

static void report_parts(struct mote__bench_series *part)
{
	double median[PARTS];
	char detail[256];
	for (int i = 0; i < PARTS; i++)
		median[i] = mote__bench_median(&part[i]);
	(void)snprintf(detail, sizeof detail,
		       "\"floor_us\":%.3f,\"restore_us\":%.3f,\"call_restored_us\":%.3f,"
		       "\"call_us\":%.3f,\"watched_call_us\":%.3f",
		       median[FLOOR], median[RESTORE], median[CALL_RESTORED], median[CALL],
		       median[CALL_WATCHED]);
	mote__bench_report_value(&(struct mote__bench_answer){.name = "restore_call_parts",
							      .unit = "us over",
							      .detail = detail},
				 median[RESTORE] + median[CALL_RESTORED] - median[FLOOR]);
	(void)fprintf(stderr, "    %s\n", detail);
}

static void restore_call_parts(const struct mote__bench *bench, const char *directory)
{
	struct mote__bench_filled filled = mote__bench_fill(bench, directory, BLOCK_BYTES, 0);
	mote_sandbox *sandbox = mote__bench_fork(bench, filled.snapshot);
	mote_sandbox *watched = mote__bench_fork(bench, filled.snapshot);
	mote_interrupt *interrupt = mote_sandbox_interrupt(watched);
	struct mote__raw raw;
	struct mote__raw_machine machine;
	struct mote__bench_series part[PARTS];
	for (int i = 0; i < PARTS; i++)
		part[i] = mote__bench_series((size_t)ROUNDS * BLOCK);
	mote__bench_warm(sandbox, filled.snapshot, 0);
	mote__bench_warm(watched, filled.snapshot, 0);
	mote__raw_open_small(&raw);
	mote__raw_create(&raw, &machine);
	for (int i = 0; i < ROUNDS; i++) {
		measure_floor(&raw, &machine, &part[FLOOR]);
		measure_calls(sandbox, filled.snapshot, NULL, &part[CALL]);
		measure_calls(sandbox, filled.snapshot, &part[RESTORE], &part[CALL_RESTORED]);
		measure_calls(watched, filled.snapshot, NULL, &part[CALL_WATCHED]);
	}
	report_parts(part);
	for (int i = 0; i < PARTS; i++)
		mote__bench_free(&part[i]);
	mote__raw_destroy(&raw, &machine);
	mote__raw_close(&raw);
	mote_interrupt_unref(interrupt);
	mote_sandbox_destroy(watched);
	mote_sandbox_destroy(sandbox);
	mote_snapshot_unref(filled.snapshot);
}

int main(int count, char **arguments)
{
	const char *directory = mote__bench_directory(count, arguments);
	struct mote__bench bench;
	mote__bench_open_engine(&bench, MOTE_POOL_NONE);
	restore_call(&bench, directory);
	restore_call_parts(&bench, directory);
	mote__bench_close(&bench);
	return 0;
}
