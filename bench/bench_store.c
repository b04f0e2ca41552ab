/* SPDX-License-Identifier: MIT */
/*
 * What does it cost to save a snapshot and to load it, and does that depend on how much it holds?
 * Against the least that a program does with the same bytes in the same run: hash and write them,
 * hash and copy them, and wait for the disk as often. Stores are made in $MOTE_BENCH_STORE, else
 * beside the guests: what is measured is that disk as well.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "snap.h"

enum { PAGES = 16, DROPPED = 1, LARGE_ROUNDS = 4, ROUNDS = 40, SAVES = 24 };

#define MIB         0x100000ull
#define CHUNK_BYTES 0x40000u
#define PATH_BYTES  4096u

static char base[PATH_BYTES - 256]; /* all stores and files are in here */
static uint8_t chunk[CHUNK_BYTES];

/* ---- syncs, counted -------------------------------------------------------------------------- */

static struct {
	unsigned files, directories;
	double us;
} syncs;

int __real_fsync(int fd);
int __wrap_fsync(int fd);

int __wrap_fsync(int fd)
{
	struct stat stat;
	bool is_directory = fstat(fd, &stat) == 0 && S_ISDIR(stat.st_mode);
	double start = mote__bench_now();
	int rc = __real_fsync(fd);
	syncs.us += mote__bench_now() - start;
	syncs.directories += is_directory;
	syncs.files += !is_directory;
	return rc;
}

/* ---- files ----------------------------------------------------------------------------------- */

static void fail_if(int failed, const char *what)
{
	if (failed)
		mote__bench_fail("%s was refused", what);
}

static void path_of(char path[PATH_BYTES], const char *name)
{
	(void)snprintf(path, PATH_BYTES, "%s/%s", base, name);
}

static void remove_tree(const char *path)
{
	char command[PATH_BYTES + 16];
	(void)snprintf(command, sizeof command, "rm -rf '%s'", path);
	if (system(command) != 0)
		(void)fprintf(stderr, "%s stays\n", path);
}

static void remove_all(void)
{
	remove_tree(base);
}

static void make_base(const char *directory)
{
	const char *where = getenv("MOTE_BENCH_STORE");
	(void)snprintf(base, sizeof base, "%s/store-XXXXXX", where ? where : directory);
	fail_if(!mkdtemp(base), "mkdtemp");
	(void)atexit(remove_all);
}

static void write_all(int fd, const void *bytes, size_t len)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = write(fd, (const char *)bytes + done, len - done);
		fail_if(n <= 0, "write");
		done += (size_t)n;
	}
}

static int make_file(const char *name)
{
	char path[PATH_BYTES];
	path_of(path, name);
	(void)unlink(path);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	fail_if(fd < 0, "open");
	return fd;
}

/* ---- saving and loading ---------------------------------------------------------------------- */

static struct mote_saved save(mote_snapshot *snapshot, const char *store, const char *tag)
{
	char path[PATH_BYTES];
	struct mote_error err = {0};
	const struct mote_save_options options = {.size = sizeof options, .tag = tag};
	struct mote_saved saved;
	path_of(path, store);
	mote__bench_check(mote_snapshot_save(snapshot, path, &options, &saved, &err), &err, "save");
	return saved;
}

static mote_snapshot *load(const char *store, const char *tag, bool is_trusting)
{
	char path[PATH_BYTES];
	struct mote_error err = {0};
	const struct mote_load_options options = {.size = sizeof options,
						  .trust_memory_without_verifying = is_trusting};
	mote_snapshot *loaded = NULL;
	path_of(path, store);
	mote__bench_check(mote_snapshot_load(path, tag, &options, &loaded, &err), &err, "load");
	return loaded;
}

/* A virtual machine gives memory that is free for a while back to its host, and the first touch of
 * it costs more than a copy. What is measured next finds memory that is there. */
static void touch_memory(void)
{
	const size_t bytes = 3072 * MIB;
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	fail_if(at == MAP_FAILED, "memory");
	fail_if(munmap(at, bytes) < 0, "munmap");
}

/* ---- one gibibyte ---------------------------------------------------------------------------- */

/* As many bytes as the snapshot's memory has, hashed and written. */
static double save_floor(const uint8_t *bytes, uint64_t len)
{
	struct mote__digest digest;
	uint8_t result[MOTE_DIGEST_BYTES];
	char path[PATH_BYTES];
	path_of(path, "floor");
	remove_tree(path);
	touch_memory();
	double start = mote__bench_now();
	int fd = make_file("floor");
	mote__digest_init(&digest);
	for (uint64_t at = 0; at < len; at += CHUNK_BYTES) {
		mote__digest_update(&digest, bytes + at, CHUNK_BYTES);
		write_all(fd, bytes + at, CHUNK_BYTES);
	}
	mote__digest_final(&digest, result);
	fail_if(fsync(fd) < 0, "fsync");
	fail_if(close(fd) < 0, "close");
	return mote__bench_now() - start;
}

static void measure_save(const struct mote__bench_filled *filled)
{
	struct mote__bench_series all = mote__bench_series(LARGE_ROUNDS);
	struct mote__bench_series floor = mote__bench_series(LARGE_ROUNDS);
	struct mote__bench_series inside = mote__bench_series(LARGE_ROUNDS);
	struct mote__bench_series waits = mote__bench_series(LARGE_ROUNDS);
	char detail[96];
	uint8_t *bytes = malloc(filled->bytes);
	fail_if(!bytes, "memory");
	memset(bytes, 0x5A, filled->bytes);
	for (int i = 0; i < LARGE_ROUNDS + DROPPED; i++) {
		char path[PATH_BYTES];
		memset(&syncs, 0, sizeof syncs);
		double least = save_floor(bytes, filled->bytes), wait = syncs.us;
		path_of(path, "whole");
		remove_tree(path);
		touch_memory();
		memset(&syncs, 0, sizeof syncs);
		double start = mote__bench_now();
		struct mote_saved saved = save(filled->snapshot, "whole", "latest");
		double end = mote__bench_now();
		if (saved.bytes_written < filled->bytes)
			mote__bench_fail("a save wrote %llu bytes",
					 (unsigned long long)saved.bytes_written);
		if (i < DROPPED)
			continue;
		mote__bench_add(&all, end - start);
		mote__bench_add(&floor, least);
		mote__bench_add(&inside, syncs.us);
		mote__bench_add(&waits, wait);
	}
	free(bytes);
	double least = mote__bench_median(&floor);
	(void)snprintf(detail, sizeof detail, "\"fsync_us\":%.0f,\"floor_fsync_us\":%.0f",
		       mote__bench_median(&inside), mote__bench_median(&waits));
	mote__bench_report(
		&(struct mote__bench_answer){
			.name = "save_1gib", .unit = "us", .floor = least, .limit = 1.15 * least},
		&all);
	mote__bench_free(&all);
	mote__bench_free(&floor);
}

/* The blob of a store that holds most. */
static int open_largest(const char *store)
{
	char command[PATH_BYTES + 64], path[PATH_BYTES];
	(void)snprintf(command, sizeof command, "ls -S '%s/%s/blobs/sha256/'*", base, store);
	FILE *list = popen(command, "re");
	fail_if(!list || !fgets(path, sizeof path, list), "ls");
	(void)pclose(list);
	path[strcspn(path, "\n")] = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	fail_if(fd < 0, path);
	return fd;
}

/* The bytes of a file hashed, and copied to a new memory object. */
static double load_floor(int fd)
{
	struct mote__digest digest;
	uint8_t result[MOTE_DIGEST_BYTES];
	double start = mote__bench_now();
	int object = memfd_create("raw-load", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	fail_if(object < 0 || lseek(fd, 0, SEEK_SET) < 0, "memfd_create");
	mote__digest_init(&digest);
	for (;;) {
		ssize_t n = read(fd, chunk, sizeof chunk);
		fail_if(n < 0, "read");
		if (n == 0)
			break;
		mote__digest_update(&digest, chunk, (size_t)n);
		write_all(object, chunk, (size_t)n);
	}
	mote__digest_final(&digest, result);
	double end = mote__bench_now();
	(void)close(object);
	return end - start;
}

static void measure_verified(void)
{
	struct mote__bench_series all = mote__bench_series(LARGE_ROUNDS);
	struct mote__bench_series floor = mote__bench_series(LARGE_ROUNDS);
	int fd = open_largest("large");
	for (int i = 0; i < LARGE_ROUNDS + DROPPED; i++) {
		touch_memory();
		double least = load_floor(fd);
		touch_memory();
		double start = mote__bench_now();
		mote_snapshot *loaded = load("large", "latest", false);
		double end = mote__bench_now();
		mote_snapshot_unref(loaded);
		if (i < DROPPED)
			continue;
		mote__bench_add(&all, end - start);
		mote__bench_add(&floor, least);
	}
	(void)close(fd);
	double least = mote__bench_median(&floor);
	mote__bench_report(&(struct mote__bench_answer){.name = "load_1gib_verified",
							.unit = "us",
							.floor = least,
							.limit = 1.15 * least},
			   &all);
	mote__bench_free(&all);
	mote__bench_free(&floor);
}

static double time_trusted(const char *store)
{
	double start = mote__bench_now();
	mote_snapshot *loaded = load(store, "latest", true);
	double end = mote__bench_now();
	mote_snapshot_unref(loaded);
	return end - start;
}

/* Two stored snapshots, one of 1 GiB and one of 1 MiB, in turns. */
static void measure_trusted(const char *name, const char *of_large_store,
			    const char *of_small_store)
{
	struct mote__bench_series large = mote__bench_series(ROUNDS);
	struct mote__bench_series small = mote__bench_series(ROUNDS);
	char detail[64];
	for (int i = 0; i < ROUNDS + DROPPED; i++) {
		double of_large = time_trusted(of_large_store),
		       of_small = time_trusted(of_small_store);
		if (i < DROPPED)
			continue;
		mote__bench_add(&large, of_large);
		mote__bench_add(&small, of_small);
	}
	(void)snprintf(detail, sizeof detail, "\"of_1mib\":%.3f",
		       mote__bench_median(&large) / mote__bench_median(&small));
	mote__bench_report(
		&(struct mote__bench_answer){
			.name = name, .unit = "us", .limit = 2000, .detail = detail},
		&large);
	mote__bench_free(&large);
	mote__bench_free(&small);
}

/* Read-only data of the embedder's, which the guest has under large leaves. */
static void save_data(const char *directory, uint64_t bytes, const char *store)
{
	char path[PATH_BYTES];
	struct mote_error err = {0};
	mote_snapshot *snapshot = NULL;
	uint8_t *data = malloc(bytes);
	fail_if(!data, "memory");
	memset(data, 0x5A, bytes);
	const struct mote_snapshot_options options = {
		.size = sizeof options, .init_data = data, .init_data_bytes = bytes};
	(void)snprintf(path, sizeof path, "%s/bench.guest", directory);
	mote__bench_check(mote_snapshot_from_file(path, &options, &snapshot, &err), &err, path);
	free(data);
	(void)save(snapshot, store, "latest");
	mote_snapshot_unref(snapshot);
}

/* ---- what a save adds ------------------------------------------------------------------------ */

/* A child that wrote some pages is saved: its time; how often and how long for the disk is in
 * syncs. */
static double time_incremental(const struct mote__bench *bench,
			       const struct mote__bench_filled *filled, const char *store)
{
	mote_sandbox *sandbox = mote__bench_fork(bench, filled->snapshot);
	mote__bench_touch(sandbox, 0, PAGES);
	/* So that no two are the same. */
	static uint64_t number;
	struct mote_error err = {0};
	number++;
	mote__bench_check(
		mote_sandbox_write(sandbox, filled->gva + 8, &number, sizeof number, &err), &err,
		"write");
	mote_snapshot *child = mote__bench_take(sandbox);
	memset(&syncs, 0, sizeof syncs);
	double start = mote__bench_now();
	struct mote_saved saved = save(child, store, "child");
	double end = mote__bench_now();
	if (saved.bytes_written < PAGES * MOTE__BENCH_PAGE ||
	    saved.bytes_written > 64 * PAGES * MOTE__BENCH_PAGE)
		mote__bench_fail("a save of %d pages wrote %llu bytes", PAGES,
				 (unsigned long long)saved.bytes_written);
	mote_snapshot_unref(child);
	mote_sandbox_destroy(sandbox);
	return end - start;
}

/* As many pages hashed and written, and as many files and directories synced; *sync_us of it. */
static double incremental_floor(double *sync_us)
{
	struct mote__digest digest;
	uint8_t result[MOTE_DIGEST_BYTES];
	char from[PATH_BYTES], to[PATH_BYTES];
	unsigned files = syncs.files, directories = syncs.directories;
	int root = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fail_if(root < 0, "open");
	*sync_us = 0;
	memset(chunk, (int)files, PAGES * MOTE__BENCH_PAGE);
	double start = mote__bench_now();
	mote__digest_init(&digest);
	mote__digest_update(&digest, chunk, PAGES * MOTE__BENCH_PAGE);
	mote__digest_final(&digest, result);
	double hashed = mote__bench_now() - start, wrote = 0;
	path_of(from, "step");
	path_of(to, "stepped");
	for (unsigned i = 0; i < files || i < directories; i++) {
		start = mote__bench_now();
		int fd = make_file("step");
		write_all(fd, chunk, i ? MOTE__BENCH_PAGE : PAGES * MOTE__BENCH_PAGE);
		double synced = mote__bench_now();
		wrote += i ? 0 : synced - start;
		fail_if(i < files && __real_fsync(fd) < 0, "fsync");
		fail_if(close(fd) < 0 || rename(from, to) < 0, "rename");
		fail_if(i < directories && __real_fsync(root) < 0, "fsync");
		*sync_us += mote__bench_now() - synced;
	}
	(void)close(root);
	return hashed + wrote + *sync_us;
}

static void measure_incremental(const struct mote__bench *bench,
				const struct mote__bench_filled *large,
				const struct mote__bench_filled *small)
{
	struct mote__bench_series of[2] = {mote__bench_series(SAVES), mote__bench_series(SAVES)};
	struct mote__bench_series floor = mote__bench_series(SAVES);
	struct mote__bench_series waits = mote__bench_series(SAVES);
	struct mote__bench_series inside = mote__bench_series(SAVES);
	char detail[160];
	for (int i = 0; i < SAVES + DROPPED; i++) {
		double sync_us, of_small = time_incremental(bench, small, "small");
		double of_large = time_incremental(bench, large, "large");
		double spent = syncs.us, least = incremental_floor(&sync_us);
		if (i < DROPPED)
			continue;
		mote__bench_add(&of[0], of_large);
		mote__bench_add(&of[1], of_small);
		mote__bench_add(&inside, spent);
		mote__bench_add(&floor, least);
		mote__bench_add(&waits, sync_us);
	}
	double least = mote__bench_median(&floor), wait = mote__bench_median(&waits);
	(void)snprintf(detail, sizeof detail,
		       "\"of_1mib\":%.3f,\"fsyncs\":%u,\"fsync_us\":%.1f,\"floor_fsync_us\":%.1f",
		       mote__bench_median(&of[0]) / mote__bench_median(&of[1]),
		       syncs.files + syncs.directories, mote__bench_median(&inside), wait);
	mote__bench_report(&(struct mote__bench_answer){.name = "save_incremental",
							.unit = "us",
							.floor = least,
							.limit = 20 * (least - wait) + wait,
							.detail = detail},
			   &of[0]);
	struct mote__bench_series *const all[] = {&of[0], &of[1], &floor, &waits, &inside};
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		mote__bench_free(all[i]);
}

/* ---- the first call -------------------------------------------------------------------------- */

static double time_first_call(const struct mote__bench *bench, mote_snapshot *snapshot)
{
	mote_sandbox *sandbox = mote__bench_fork(bench, snapshot);
	double start = mote__bench_now();
	mote__bench_touch(sandbox, 0, PAGES);
	double end = mote__bench_now();
	mote_sandbox_destroy(sandbox);
	return end - start;
}

static void measure_first_call(const struct mote__bench *bench,
			       const struct mote__bench_filled *filled)
{
	static const char *const names[] = {"", "loaded_first_call", "trusted_first_call"};
	struct mote__bench_series series[3];
	/* Its write set is warm, and saved with it. */
	mote_sandbox *sandbox = mote__bench_fork(bench, filled->snapshot);
	mote__bench_warm(sandbox, filled->snapshot, PAGES);
	mote_sandbox_destroy(sandbox);
	(void)save(filled->snapshot, "warm", "latest");
	mote_snapshot *const from[] = {filled->snapshot, load("warm", "latest", false),
				       load("warm", "latest", true)};
	for (int k = 0; k < 3; k++)
		series[k] = mote__bench_series(ROUNDS);
	for (int i = 0; i < ROUNDS + DROPPED; i++)
		for (int k = 0; k < 3; k++) {
			double us = time_first_call(bench, from[k]);
			if (i >= DROPPED)
				mote__bench_add(&series[k], us);
		}
	double memory = mote__bench_median(&series[0]);
	for (int k = 1; k < 3; k++) {
		mote__bench_report(&(struct mote__bench_answer){.name = names[k],
								.unit = "us",
								.floor = memory,
								.limit = 1.2 * memory},
				   &series[k]);
		mote_snapshot_unref(from[k]);
	}
	for (int k = 0; k < 3; k++)
		mote__bench_free(&series[k]);
}

int main(int count, char **arguments)
{
	const char *directory = mote__bench_directory(count, arguments);
	struct mote__bench bench;
	mote__bench_open_engine(&bench, MOTE_POOL_NONE);
	if (mote__bench_memory_available() < 8 * 1024 * MIB)
		mote__bench_skip("needs 8 GiB of free memory");
	make_base(directory);
	struct mote__bench_filled small = mote__bench_fill(&bench, directory, MIB, 0);
	measure_first_call(&bench, &small);
	struct mote__bench_filled large = mote__bench_fill(&bench, directory, 1024 * MIB, 0);
	(void)save(small.snapshot, "small", "latest");
	(void)save(large.snapshot, "large", "latest");
	measure_incremental(&bench, &large, &small);
	measure_trusted("load_1gib", "large", "small");
	save_data(directory, 1024 * MIB, "data");
	save_data(directory, MIB, "less");
	measure_trusted("load_1gib_data", "data", "less");
	measure_verified();
	measure_save(&large);
	mote_snapshot_unref(large.snapshot);
	mote_snapshot_unref(small.snapshot);
	mote__bench_close(&bench);
	return 0;
}
