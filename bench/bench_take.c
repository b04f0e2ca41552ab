/* SPDX-License-Identifier: MIT */
/*
 * What does it cost to freeze a guest that wrote a few pages since its snapshot, and does that
 * depend on how much the snapshot holds? Against the least that a program does to keep as many
 * pages: write them to a sealed memory object, and map it. (What the copy alone takes is told
 * apart.)
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "snap.h"

enum { ROUNDS = 60, BLOCK = 8, DROPPED = 2, PAGES = 16, KINDS = 2 };

#define MIB 0x100000ull

struct kind {
	const char *name;
	uint64_t bytes;
	struct mote__bench_filled filled;
	mote_sandbox *sandbox;
	struct mote__bench_series take, unref;
};

static void open_kind(const struct mote__bench *bench, const char *directory, struct kind *kind)
{
	kind->filled = mote__bench_fill(bench, directory, kind->bytes, 0);
	kind->sandbox = mote__bench_fork(bench, kind->filled.snapshot);
	kind->take = mote__bench_series((size_t)ROUNDS * BLOCK);
	kind->unref = mote__bench_series((size_t)ROUNDS * BLOCK);
	mote__bench_warm(kind->sandbox, kind->filled.snapshot, PAGES);
}

static void close_kind(struct kind *kind)
{
	mote__bench_free(&kind->take);
	mote__bench_free(&kind->unref);
	mote_sandbox_destroy(kind->sandbox);
	mote_snapshot_unref(kind->filled.snapshot);
}

/* The child must hold the pages that were written, and little else. */
static void check(const mote_snapshot *parent, const mote_snapshot *child)
{
	struct mote_snapshot_info before, after;
	mote_snapshot_get_info(parent, &before);
	mote_snapshot_get_info(child, &after);
	uint64_t added = (after.memory_bytes - before.memory_bytes) / MOTE__BENCH_PAGE;
	if (after.layer_count != before.layer_count + 1 || added < PAGES || added > 2ull * PAGES)
		mote__bench_fail("a take of %d pages added %u layers and %u pages", PAGES,
				 after.layer_count - before.layer_count, (unsigned)added);
}

static void measure(struct kind *kind)
{
	for (int i = 0; i < BLOCK; i++) {
		mote__bench_restore(kind->sandbox, kind->filled.snapshot);
		mote__bench_touch(kind->sandbox, 0, PAGES);
		double start = mote__bench_now();
		mote_snapshot *child = mote__bench_take(kind->sandbox);
		double end = mote__bench_now();
		check(kind->filled.snapshot, child);
		/* The sandbox holds its last snapshot until it is restored. */
		mote__bench_restore(kind->sandbox, kind->filled.snapshot);
		double last = mote__bench_now();
		mote_snapshot_unref(child);
		if (i < DROPPED)
			continue;
		mote__bench_add(&kind->take, end - start);
		mote__bench_add(&kind->unref, mote__bench_now() - last);
	}
}

/* ---- floor ----------------------------------------------------------------------------------- */

static void fail_if(int failed, const char *what)
{
	if (failed)
		mote__bench_fail("%s was refused", what);
}

static void *freeze(const uint8_t *pages, size_t bytes)
{
	int fd = memfd_create("raw-snapshot", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	fail_if(fd < 0, "memfd_create");
	fail_if(ftruncate(fd, (off_t)bytes) < 0, "ftruncate");
	fail_if(pwrite(fd, pages, bytes, 0) != (ssize_t)bytes, "pwrite");
	fail_if(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) <
			0,
		"sealing");
	void *at = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
	fail_if(at == MAP_FAILED, "mmap");
	(void)close(fd);
	return at;
}

static void measure_floor(struct mote__bench_series *floor, struct mote__bench_series *copy)
{
	static uint8_t pages[PAGES * MOTE__BENCH_PAGE], to[PAGES * MOTE__BENCH_PAGE];
	for (int i = 0; i < BLOCK; i++) {
		memset(pages, i + 1, sizeof pages);
		double start = mote__bench_now();
		void *at = freeze(pages, sizeof pages);
		double middle = mote__bench_now();
		memcpy(to, pages, sizeof pages);
		__asm__ volatile("" ::"r"(to) : "memory");
		double end = mote__bench_now();
		(void)munmap(at, sizeof pages);
		if (i < DROPPED)
			continue;
		mote__bench_add(floor, middle - start);
		mote__bench_add(copy, end - middle);
	}
}

int main(int count, char **arguments)
{
	const char *directory = mote__bench_directory(count, arguments);
	struct kind kinds[KINDS] = {{.name = "take_16_of_16mib", .bytes = 16 * MIB},
				    {.name = "take_16_of_1gib", .bytes = 1024 * MIB}};
	struct mote__bench bench;
	mote__bench_open_engine(&bench, MOTE_POOL_NONE);
	if (mote__bench_memory_available() < 3 * kinds[1].bytes)
		mote__bench_skip("needs 3 GiB of free memory");
	struct mote__bench_series floor = mote__bench_series((size_t)ROUNDS * BLOCK);
	struct mote__bench_series copy = mote__bench_series((size_t)ROUNDS * BLOCK);
	for (int k = 0; k < KINDS; k++)
		open_kind(&bench, directory, &kinds[k]);
	for (int i = 0; i < ROUNDS; i++) {
		measure_floor(&floor, &copy);
		for (int k = 0; k < KINDS; k++)
			measure(&kinds[k]);
	}
	double least = mote__bench_median(&floor);
	double smallest = mote__bench_median(&kinds[0].take);
	for (int k = 0; k < KINDS; k++) {
		char detail[128];
		(void)snprintf(detail, sizeof detail,
			       "\"of_16mib\":%.3f,\"unref_us\":%.2f,\"copy_us\":%.2f",
			       mote__bench_median(&kinds[k].take) / smallest,
			       mote__bench_median(&kinds[k].unref), mote__bench_median(&copy));
		mote__bench_report(&(struct mote__bench_answer){.name = kinds[k].name,
								.unit = "us",
								.floor = least,
								.limit = 10 * least,
								.detail = detail},
				   &kinds[k].take);
		close_kind(&kinds[k]);
	}
	mote__bench_free(&floor);
	mote__bench_free(&copy);
	mote__bench_close(&bench);
	return 0;
}
