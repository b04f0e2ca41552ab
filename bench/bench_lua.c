/* SPDX-License-Identifier: MIT */
/*
 * Does code in a guest run at native speed? fib(27) in the Lua guest, against a program for Linux
 * that is linked of the same objects of the interpreter.
 */
#define _GNU_SOURCE
#include "lib.h"

#include <stdio.h>
#include <unistd.h>

enum { ROUNDS = 25, NUMBER = 27, RESULT = 196418 };

static double time_guest(mote_sandbox *sandbox)
{
	struct mote_error err = {0};
	struct mote_value result;
	double start = mote__bench_now();
	int rc = MOTE_CALL(sandbox, "fib", &result, &err, MOTE_I64, mote_i32(NUMBER));
	double time = mote__bench_now() - start;
	mote__bench_check(rc, &err, "fib");
	if (result.i64 != RESULT)
		mote__bench_fail("fib(%d) is %lld", NUMBER, (long long)result.i64);
	return time;
}

/* The program prints the time of each of its runs; the first one is a warm-up. */
static double time_native(const char *command)
{
	double time = 0;
	FILE *output = popen(command, "re");
	if (!output || fscanf(output, "%lf %lf", &time, &time) != 2)
		mote__bench_fail("%s prints no time", command);
	(void)pclose(output);
	return time;
}

int main(int count, char **arguments)
{
	const char *directory = mote__bench_directory(count, arguments);
	const struct mote_snapshot_options options = {.size = sizeof options,
						      .heap_bytes = 64 << 20};
	struct mote__bench bench;
	static char guest[4096], native[4096];
	(void)snprintf(guest, sizeof guest, "%s/lua.guest", directory);
	(void)snprintf(native, sizeof native, "%s/native-fib", directory);
	if (access(guest, R_OK) != 0 || access(native, X_OK) != 0)
		mote__bench_skip("scripts/build-lua has not made lua.guest and native-fib");
	(void)snprintf(native, sizeof native, "'%s/native-fib' %d 2", directory, NUMBER);
	mote__bench_open(&bench, directory, "lua.guest", &options);
	struct mote__bench_series ours = mote__bench_series(ROUNDS);
	struct mote__bench_series theirs = mote__bench_series(ROUNDS);
	(void)time_guest(bench.sandbox);
	for (int i = 0; i < ROUNDS; i++) {
		mote__bench_add(&ours, time_guest(bench.sandbox));
		mote__bench_add(&theirs, time_native(native));
	}
	double floor = mote__bench_median(&theirs);
	mote__bench_report(
		&(struct mote__bench_answer){
			.name = "lua_fib", .unit = "us", .floor = floor, .limit = 1.05 * floor},
		&ours);
	mote__bench_free(&ours);
	mote__bench_free(&theirs);
	mote__bench_close(&bench);
	return 0;
}
