/* SPDX-License-Identifier: MIT */
/*
 * Does a restore depend on what it does not touch: the size of the snapshot, the layers that it is
 * made of, other sandboxes that run from it? Each call writes the same few pages; the restores that
 * follow take turns. The answer is the largest median over the smallest.
 *
 * The first two of every comparison are the same thing twice: what they differ by is noise, and the
 * floor.
 */
#include <stdio.h>

#include "snap.h"

#define MIB 0x100000ull

enum { ROUNDS = 40, BLOCK = 40, DROPPED = 8, PAGES = 4, KINDS_MAX = 6, FORKS = 1000 };

struct kind {
	const char *name;
	mote_snapshot *snapshot;
	mote_sandbox *sandbox;
	struct mote__bench_series times;
};

static void add_kind(const struct mote__bench *bench, struct kind *kind, const char *name,
		     mote_snapshot *snapshot)
{
	*kind = (struct kind){.name = name,
			      .snapshot = mote_snapshot_ref(snapshot),
			      .sandbox = mote__bench_fork(bench, snapshot),
			      .times = mote__bench_series((size_t)ROUNDS * BLOCK)};
	mote__bench_warm(kind->sandbox, snapshot, PAGES);
}

static void drop_kind(struct kind *kind)
{
	mote__bench_free(&kind->times);
	mote_sandbox_destroy(kind->sandbox);
	mote_snapshot_unref(kind->snapshot);
}

/* The first of a block pay for what the others left in the caches. */
static void measure(struct kind *kind)
{
	for (int i = 0; i < BLOCK; i++) {
		mote__bench_touch(kind->sandbox, 0, PAGES);
		double start = mote__bench_now();
		mote__bench_restore(kind->sandbox, kind->snapshot);
		double end = mote__bench_now();
		if (i >= DROPPED)
			mote__bench_add(&kind->times, end - start);
	}
}

static void report(const char *name, struct kind *kinds, int count)
{
	double again = mote__bench_median(&kinds[0].times);
	double first = mote__bench_median(&kinds[1].times);
	double noise = again > first ? again / first : first / again;
	double least = 0, most = 0;
	char detail[512];
	size_t used = 0;
	for (int k = 0; k < count; k++) {
		double median = mote__bench_median(&kinds[k].times);
		least = k == 0 || median < least ? median : least;
		most = median > most ? median : most;
		used += (size_t)snprintf(detail + used, sizeof detail - used, "%s\"%s_us\":%.3f",
					 k ? "," : "", kinds[k].name, median);
	}
	mote__bench_report_value(&(struct mote__bench_answer){.name = name,
							      .unit = "ratio",
							      .floor = noise,
							      .limit = 1.10 * noise,
							      .detail = detail},
				 most / least);
	(void)fprintf(stderr, "    %s\n", detail);
}

static void compare(const char *name, struct kind *kinds, int count)
{
	for (int i = 0; i < ROUNDS; i++)
		for (int k = 0; k < count; k++)
			measure(&kinds[k]);
	report(name, kinds, count);
	for (int k = 0; k < count; k++)
		drop_kind(&kinds[k]);
}

/* ---- size ------------------------------------------------------------------------------------ */

static void flat_size(const struct mote__bench *bench, const char *directory)
{
	static const struct {
		const char *name;
		uint64_t bytes;
	} sizes[] = {
		{"1mib", MIB}, {"64mib", 64 * MIB}, {"1gib", 1024 * MIB}, {"4gib", 4096 * MIB}};
	struct kind kinds[KINDS_MAX];
	int count = 0;
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		/* Filling takes it twice: in the guest that is frozen, and in the snapshot. */
		if (mote__bench_memory_available() < 5 * sizes[i].bytes / 2 + 512 * MIB) {
			(void)fprintf(stderr, "    %s: not enough memory\n", sizes[i].name);
			continue;
		}
		struct mote__bench_filled filled =
			mote__bench_fill(bench, directory, sizes[i].bytes, 0);
		if (i == 0)
			add_kind(bench, &kinds[count++], "again", filled.snapshot);
		add_kind(bench, &kinds[count++], sizes[i].name, filled.snapshot);
		mote_snapshot_unref(filled.snapshot);
	}
	compare("restore_flat_size", kinds, count);
}

/* ---- layers ---------------------------------------------------------------------------------- */

static uint32_t layers_of(const mote_snapshot *snapshot)
{
	struct mote_snapshot_info info;
	mote_snapshot_get_info(snapshot, &info);
	return info.layer_count;
}

/* A descendant of snapshot (which it replaces) with that many layers: each adds a page. */
static mote_snapshot *deepen(const struct mote__bench *bench, mote_snapshot *snapshot,
			     uint32_t layers)
{
	mote_sandbox *sandbox = mote__bench_fork(bench, snapshot);
	while (layers_of(snapshot) < layers) {
		uint32_t before = layers_of(snapshot);
		mote__bench_touch(sandbox, 16 + before, 1);
		mote_snapshot_unref(snapshot);
		snapshot = mote__bench_take(sandbox);
		if (layers_of(snapshot) != before + 1)
			mote__bench_fail("%u layers and then %u", before, layers_of(snapshot));
	}
	mote_sandbox_destroy(sandbox);
	return snapshot;
}

static void flat_layers(const struct mote__bench *bench, const char *directory)
{
	static const struct {
		const char *name;
		uint32_t layers;
	} depths[] = {{"8_layers", 8}, {"32_layers", 32}};
	struct mote_error err = {0};
	struct kind kinds[KINDS_MAX];
	mote_snapshot *snapshot = NULL;
	struct mote__bench_filled filled = mote__bench_fill(bench, directory, MIB, 0);
	mote__bench_check(mote_snapshot_flatten(filled.snapshot, &snapshot, &err), &err, "flatten");
	mote_snapshot_unref(filled.snapshot);
	if (layers_of(snapshot) != 1)
		mote__bench_fail("%u layers after flattening", layers_of(snapshot));
	int count = 0;
	add_kind(bench, &kinds[count++], "again", snapshot);
	add_kind(bench, &kinds[count++], "1_layer", snapshot);
	for (size_t i = 0; i < sizeof depths / sizeof *depths; i++) {
		snapshot = deepen(bench, snapshot, depths[i].layers);
		add_kind(bench, &kinds[count++], depths[i].name, snapshot);
	}
	mote_snapshot_unref(snapshot);
	compare("restore_flat_layers", kinds, count);
}

/* ---- forks ----------------------------------------------------------------------------------- */

/* They differ in time: more and more others are there. */
static void flat_forks(const struct mote__bench *bench, const char *directory)
{
	static const struct {
		const char *name;
		int forks;
	} crowds[] = {{"again", 1}, {"1_fork", 1}, {"100_forks", 100}, {"1000_forks", FORKS}};
	enum { CROWDS = sizeof crowds / sizeof *crowds };
	static mote_sandbox *parked[FORKS];
	struct kind kinds[CROWDS];
	struct mote__bench_filled filled = mote__bench_fill(bench, directory, MIB, 0);
	int forks = 0;
	for (int k = 0; k < CROWDS; k++) {
		for (; forks < crowds[k].forks; forks++) {
			parked[forks] = mote__bench_fork(bench, filled.snapshot);
			mote__bench_touch(parked[forks], 0, PAGES);
		}
		add_kind(bench, &kinds[k], crowds[k].name, filled.snapshot);
		for (int i = 0; i < ROUNDS; i++)
			measure(&kinds[k]);
	}
	report("restore_flat_forks", kinds, CROWDS);
	for (int k = 0; k < CROWDS; k++)
		drop_kind(&kinds[k]);
	for (int i = 0; i < forks; i++)
		mote_sandbox_destroy(parked[i]);
	mote_snapshot_unref(filled.snapshot);
}

int main(int count, char **arguments)
{
	const char *directory = mote__bench_directory(count, arguments);
	struct mote__bench bench;
	if (!mote__bench_files(2 * FORKS + 100))
		mote__bench_skip("%d sandboxes need more open files than the limit", FORKS);
	mote__bench_open_engine(&bench, MOTE_POOL_NONE);
	flat_size(&bench, directory);
	flat_layers(&bench, directory);
	flat_forks(&bench, directory);
	mote__bench_close(&bench);
	return 0;
}
