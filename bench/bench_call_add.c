/* SPDX-License-Identifier: MIT */
/* What does a call cost over the cheapest entry into a machine and back? */
#include "lib.h"
#include "raw.h"

#include <stdio.h>

enum { ROUNDS = 120, BLOCK = 50, DROPPED = 5 };

static void call_add(mote_sandbox *sandbox)
{
	struct mote_error err = {0};
	struct mote_value sum;
	mote__bench_check(MOTE_CALL(sandbox, "add", &sum, &err, MOTE_I32, mote_i32(2), mote_i32(3)),
			  &err, "add");
	if (sum.i32 != 5)
		mote__bench_fail("2 + 3 is %d", sum.i32);
}

/* The first of a block pay for what the other machine left in the caches. */
static void measure_calls(struct mote__bench *bench, struct mote__bench_series *call)
{
	for (int i = 0; i < BLOCK; i++) {
		double start = mote__bench_now();
		call_add(bench->sandbox);
		double end = mote__bench_now();
		if (i >= DROPPED)
			mote__bench_add(call, end - start);
	}
}

static void measure_floor(const struct mote__raw *raw, struct mote__raw_machine *machine,
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

static uint64_t ioctls(const mote_sandbox *sandbox)
{
	struct mote_statistics s;
	mote_sandbox_get_statistics(sandbox, &s, sizeof s);
	return s.vcpu_ioctls;
}

static void report_ioctls(struct mote__bench *bench)
{
	enum { CALLS = 1000 };
	uint64_t before = ioctls(bench->sandbox);
	for (int i = 0; i < CALLS; i++)
		call_add(bench->sandbox);
	uint64_t count = ioctls(bench->sandbox) - before;
	mote__bench_report_value(
		&(struct mote__bench_answer){
			.name = "vcpu_ioctls_call", .unit = "ioctls", .floor = 1, .limit = 1},
		(double)count / CALLS);
}

int main(int count, char **arguments)
{
	struct mote__bench bench;
	struct mote__raw raw;
	struct mote__raw_machine machine;
	mote__bench_open(&bench, mote__bench_directory(count, arguments), "bench.guest", NULL);
	mote__raw_open_small(&raw);
	mote__raw_create(&raw, &machine);
	struct mote__bench_series call = mote__bench_series((size_t)ROUNDS * BLOCK);
	struct mote__bench_series floor = mote__bench_series((size_t)ROUNDS * BLOCK);
	call_add(bench.sandbox);
	for (int i = 0; i < ROUNDS; i++) {
		measure_calls(&bench, &call);
		measure_floor(&raw, &machine, &floor);
	}
	double least = mote__bench_median(&floor);
	mote__bench_report(
		&(struct mote__bench_answer){
			.name = "call_add", .unit = "us", .floor = least, .limit = 1.10 * least},
		&call);
	report_ioctls(&bench);
	mote__bench_free(&call);
	mote__bench_free(&floor);
	mote__raw_destroy(&raw, &machine);
	mote__raw_close(&raw);
	mote__bench_close(&bench);
	return 0;
}
