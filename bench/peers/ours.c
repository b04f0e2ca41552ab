/* SPDX-License-Identifier: MIT */
/*
 * Our side of the side-by-side benchmark: does what peer.rs does with the published host crate,
 * with the same guest. Reads "OPERATION COUNT" lines and answers each with one line: the
 * nanoseconds that each of COUNT timed regions took, then "|" and, where count.c is loaded, what
 * was counted in all of them. Every result is checked; a wrong one ends the program.
 *
 * usage: peers_ours GUEST
 */
#include "../lib.h"
#include "count.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { BIG_BYTES = 64 << 10, HOST_CALLS = 16 };

/* A sandbox that stays, and the snapshot that it is put back to. One for each way to configure it;
 * peer.rs has the same numbers. */
struct set {
	struct mote_snapshot_options options;
	mote_snapshot *image, *snapshot;
	mote_sandbox *sandbox;
	uint64_t sum; /* of the pages, in snapshot */
};

static struct set plain = {.options = {.size = sizeof plain.options}};
static struct set pages = {.options = {.size = sizeof pages.options, .scratch_bytes = 2 << 20}};
static struct set big = {.options = {.size = sizeof big.options,
				     .input_bytes = 2 * BIG_BYTES,
				     .output_bytes = 2 * BIG_BYTES,
				     .scratch_bytes = 1 << 20}};
static struct set heap = {
	.options = {.size = sizeof heap.options, .heap_bytes = 64 << 20, .scratch_bytes = 1 << 20}};

static const char *guest;
static mote_engine *engine, *pooled;
static mote_host *host;
static uint8_t big_data[BIG_BYTES];

/* ---- samples --------------------------------------------------------------------------------- */

static double started;
static uint64_t counted[COUNTER_COUNT], before[COUNTER_COUNT];
static bool is_counting;

static void begin(void)
{
	if (is_counting)
		(void)madvise(before, sizeof before, COUNT_ADVICE);
	started = mote__bench_now();
}

static void end(void)
{
	double ns = (mote__bench_now() - started) * 1e3;
	uint64_t after[COUNTER_COUNT];
	if (is_counting) {
		(void)madvise(after, sizeof after, COUNT_ADVICE);
		for (int k = 0; k < COUNTER_COUNT; k++)
			counted[k] += after[k] - before[k];
	}
	(void)printf("%.0f ", ns);
}

/* ---- what the guest does --------------------------------------------------------------------- */

static void want(const char *function, int64_t is, int64_t wanted)
{
	if (is != wanted)
		mote__bench_fail("%s: the guest answered %" PRId64 ", not %" PRId64, function, is,
				 wanted);
}

static void nothing(mote_sandbox *sandbox)
{
	struct mote_error err = {0};
	struct mote_value result;
	mote__bench_check(MOTE_CALL(sandbox, "Nothing", &result, &err, MOTE_VOID), &err, "Nothing");
}

static void add(mote_sandbox *sandbox)
{
	static int32_t value;
	struct mote_error err = {0};
	struct mote_value result;
	value = (value + 1) & 0xFFFF;
	mote__bench_check(
		MOTE_CALL(sandbox, "Add", &result, &err, MOTE_I32, mote_i32(value), mote_i32(5)),
		&err, "Add");
	want("Add", result.i32, value + 5);
}

static int32_t call_i32(mote_sandbox *sandbox, const char *function, int32_t argument)
{
	return mote__bench_call(sandbox, function, argument);
}

static void call_times(mote_sandbox *sandbox, int32_t count)
{
	want("CallTimes", call_i32(sandbox, "CallTimes", count), count * (count - 1) / 2);
}

static void call_times_many(mote_sandbox *sandbox)
{
	call_times(sandbox, HOST_CALLS);
}

static void call_times_none(mote_sandbox *sandbox)
{
	call_times(sandbox, 0);
}

static void length_of(mote_sandbox *sandbox)
{
	struct mote_error err = {0};
	struct mote_value result;
	mote__bench_check(MOTE_CALL(sandbox, "LengthOf", &result, &err, MOTE_I32,
				    mote_bytes(big_data, sizeof big_data)),
			  &err, "LengthOf");
	want("LengthOf", result.i32, BIG_BYTES);
}

static void fill(mote_sandbox *sandbox, int32_t count)
{
	struct mote_error err = {0};
	struct mote_value result;
	mote__bench_check(MOTE_CALL(sandbox, "FillPages", &result, &err, MOTE_I32, mote_i32(count),
				    mote_i32(1000)),
			  &err, "FillPages");
	want("FillPages", result.i32, count);
}

static uint64_t sum(mote_sandbox *sandbox)
{
	struct mote_error err = {0};
	struct mote_value result;
	mote__bench_check(MOTE_CALL(sandbox, "SumPages", &result, &err, MOTE_U64, mote_i32(256)),
			  &err, "SumPages");
	return result.u64;
}

/* ---- objects --------------------------------------------------------------------------------- */

static int echo(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	(void)cookie;
	return mote_reply_i32(reply, arguments[0].i32);
}

static mote_engine *open_engine(uint32_t pool_max)
{
	const struct mote_engine_options options = {.size = sizeof options, .pool_max = pool_max};
	struct mote_error err = {0};
	mote_engine *made = NULL;
	mote__bench_check(mote_engine_create(&options, &made, &err), &err, "engine");
	return made;
}

static mote_snapshot *read_image(const struct set *set)
{
	struct mote_error err = {0};
	mote_snapshot *image = NULL;
	mote__bench_check(mote_snapshot_from_file(guest, &set->options, &image, &err), &err, guest);
	return image;
}

static mote_sandbox *create(mote_engine *with, mote_snapshot *snapshot)
{
	struct mote_error err = {0};
	mote_sandbox *sandbox = NULL;
	mote__bench_check(mote_sandbox_create(with, snapshot, host, NULL, &sandbox, &err), &err,
			  "sandbox");
	return sandbox;
}

static mote_snapshot *take(mote_sandbox *sandbox)
{
	struct mote_error err = {0};
	mote_snapshot *snapshot = NULL;
	mote__bench_check(mote_snapshot_take(sandbox, NULL, &snapshot, &err), &err, "take");
	return snapshot;
}

static void restore(const struct set *set)
{
	struct mote_error err = {0};
	mote__bench_check(mote_sandbox_restore(set->sandbox, set->snapshot, NULL, &err), &err,
			  "restore");
}

static const struct set *open_set(struct set *set)
{
	if (set->sandbox)
		return set;
	set->image = read_image(set);
	set->sandbox = create(engine, set->image);
	nothing(set->sandbox);
	set->sum = sum(set->sandbox);
	set->snapshot = take(set->sandbox);
	return set;
}

/* Whatever happened since is gone after a restore. */
static void check_restored(const struct set *set)
{
	(void)call_i32(set->sandbox, "Count", 7);
	restore(set);
	want("Count", call_i32(set->sandbox, "Count", 1), 1);
	want("SumPages", (int64_t)sum(set->sandbox), (int64_t)set->sum);
	restore(set);
}

/* ---- operations ------------------------------------------------------------------------------ */

static void do_create(struct set *set, int count)
{
	for (int i = 0; i < count; i++) {
		begin();
		mote_snapshot *image = read_image(set);
		mote_sandbox *sandbox = create(engine, image);
		nothing(sandbox);
		end();
		mote_sandbox_destroy(sandbox);
		mote_snapshot_unref(image);
	}
}

static void do_destroy(struct set *set, int count)
{
	for (int i = 0; i < count; i++) {
		mote_snapshot *image = read_image(set);
		mote_sandbox *sandbox = create(engine, image);
		nothing(sandbox);
		begin();
		mote_sandbox_destroy(sandbox);
		mote_snapshot_unref(image);
		end();
	}
}

/* From a snapshot of a guest that has started. */
static void fork_with(mote_engine *with, int count)
{
	const struct set *set = open_set(&plain);
	for (int i = 0; i < count; i++) {
		begin();
		mote_sandbox *sandbox = create(with, set->snapshot);
		add(sandbox);
		end();
		want("Count", call_i32(sandbox, "Count", 1), 1);
		mote_sandbox_destroy(sandbox);
	}
}

static void do_fork(struct set *set, int count)
{
	(void)set;
	fork_with(engine, count);
}

static void do_fork_pool(struct set *set, int count)
{
	(void)set;
	fork_with(pooled, count);
}

static void do_calls(const struct set *set, int count, void (*call)(mote_sandbox *sandbox))
{
	for (int i = 0; i < count; i++) {
		begin();
		call(set->sandbox);
		end();
	}
}

static void do_nothing(struct set *set, int count)
{
	do_calls(set, count, nothing);
}

static void do_add(struct set *set, int count)
{
	do_calls(set, count, add);
}

static void do_host_calls(struct set *set, int count)
{
	do_calls(set, count, call_times_many);
}

static void do_no_host_calls(struct set *set, int count)
{
	do_calls(set, count, call_times_none);
}

static void do_big(struct set *set, int count)
{
	do_calls(set, count, length_of);
}

static void do_restore(struct set *set, int count)
{
	for (int i = 0; i < count; i++) {
		add(set->sandbox);
		begin();
		restore(set);
		end();
	}
	check_restored(set);
}

static void do_restore_add(struct set *set, int count)
{
	for (int i = 0; i < count; i++) {
		begin();
		restore(set);
		add(set->sandbox);
		end();
	}
	check_restored(set);
}

static void dirty_restore_add(struct set *set, int count, int32_t dirty)
{
	for (int i = 0; i < count; i++) {
		fill(set->sandbox, dirty);
		begin();
		restore(set);
		add(set->sandbox);
		end();
	}
	check_restored(set);
}

static void do_dirty_16(struct set *set, int count)
{
	dirty_restore_add(set, count, 16);
}

static void do_dirty_256(struct set *set, int count)
{
	dirty_restore_add(set, count, 256);
}

static void restore_fill(struct set *set, int count, int32_t dirty)
{
	for (int i = 0; i < count; i++) {
		begin();
		restore(set);
		fill(set->sandbox, dirty);
		end();
	}
	check_restored(set);
}

static void do_fill_16(struct set *set, int count)
{
	restore_fill(set, count, 16);
}

static void do_fill_256(struct set *set, int count)
{
	restore_fill(set, count, 256);
}

static void do_snapshot(struct set *set, int count)
{
	for (int i = 0; i < count; i++) {
		restore(set);
		fill(set->sandbox, 16);
		begin();
		mote_snapshot *snapshot = take(set->sandbox);
		end();
		mote_snapshot_unref(snapshot);
	}
	check_restored(set);
}

static uint64_t resident_kilobytes(void)
{
	char line[256];
	uint64_t kilobytes = 0;
	FILE *file = fopen("/proc/self/smaps_rollup", "re");
	while (file && fgets(line, sizeof line, file))
		if (sscanf(line, "Pss: %" SCNu64, &kilobytes) == 1)
			break;
	if (!file || !kilobytes)
		mote__bench_fail("/proc/self/smaps_rollup cannot be read");
	(void)fclose(file);
	return kilobytes;
}

/* Answers with bytes for each of count sandboxes, not with times. */
static void do_resident(struct set *set, int count)
{
	mote_sandbox **sandboxes = calloc((size_t)count, sizeof(mote_sandbox *));
	if (!sandboxes)
		mote__bench_fail("out of memory");
	mote_snapshot *image = read_image(set);
	uint64_t first = 0;
	/* The first one pays for what is made once. */
	for (int i = 0; i < count; i++) {
		sandboxes[i] = create(engine, image);
		add(sandboxes[i]);
		if (i == 0)
			first = resident_kilobytes();
	}
	double grown = (double)resident_kilobytes() - (double)first;
	(void)printf("%.0f ", grown * 1024 / (count > 1 ? count - 1 : 1));
	for (int i = 0; i < count; i++)
		mote_sandbox_destroy(sandboxes[i]);
	mote_snapshot_unref(image);
	free(sandboxes);
}

static const struct operation {
	const char *name;
	void (*run)(struct set *set, int count);
	struct set *set;
	bool is_open; /* the set's sandbox is used */
} operations[] = {
	{"create_call", do_create, &plain, false},
	{"create_call_heap_64m", do_create, &heap, false},
	{"destroy", do_destroy, &plain, false},
	{"fork_call", do_fork, &plain, true},
	{"fork_call_pool", do_fork_pool, &plain, true},
	{"call_nothing", do_nothing, &plain, true},
	{"call_add", do_add, &plain, true},
	{"call_times_0", do_no_host_calls, &plain, true},
	{"call_times_16", do_host_calls, &plain, true},
	{"call_64k", do_big, &big, true},
	{"restore", do_restore, &plain, true},
	{"restore_add", do_restore_add, &plain, true},
	{"restore_add_heap_64m", do_restore_add, &heap, true},
	{"dirty_16_restore_add", do_dirty_16, &pages, true},
	{"dirty_256_restore_add", do_dirty_256, &pages, true},
	{"restore_fill_16", do_fill_16, &pages, true},
	{"restore_fill_256", do_fill_256, &pages, true},
	{"snapshot_16", do_snapshot, &pages, true},
	{"resident", do_resident, &plain, false},
};

static void answer(const char *name, int count)
{
	for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
		const struct operation *operation = &operations[i];
		if (strcmp(operation->name, name) != 0)
			continue;
		if (operation->is_open)
			(void)open_set(operation->set);
		memset(counted, 0, sizeof counted);
		operation->run(operation->set, count);
		(void)printf("|");
		for (int k = 0; is_counting && k < COUNTER_COUNT; k++)
			(void)printf(" %" PRIu64, counted[k]);
		(void)printf("\n");
		(void)fflush(stdout);
		return;
	}
	mote__bench_fail("%s: no such operation", name);
}

static void open_all(void)
{
	struct mote_error err = {0};
	is_counting = madvise(counted, sizeof counted, COUNT_ADVICE) == 0;
	(void)mote__bench_files(2048);
	engine = open_engine(MOTE_POOL_NONE);
	pooled = open_engine(0);
	mote__bench_check(mote_host_create(&host, &err), &err, "host");
	mote__bench_check(MOTE_HOST_ADD(host, "HostEchoInt", echo, NULL, &err, MOTE_I32, MOTE_I32),
			  &err, "host");
}

int main(int count, char **arguments)
{
	char line[128], name[64];
	int times;
	if (count != 2)
		mote__bench_fail("usage: %s GUEST", arguments[0]);
	guest = arguments[1];
	open_all();
	/* One idle virtual machine: the first and the last one of a computer interrupt all
	 * processors. */
	(void)open_set(&plain);
	while (fgets(line, sizeof line, stdin)) {
		if (sscanf(line, "%63s %d", name, &times) != 2 || times < 1)
			mote__bench_fail("not a request: %s", line);
		answer(name, times);
	}
	return 0;
}
