/* SPDX-License-Identifier: MIT */
/*
 * What does each call of a host function cost, inside a call of the guest? The difference between a
 * call that makes many and one that makes none, against a machine that leaves and is entered again.
 */
#include "lib.h"
#include "raw.h"

enum { ROUNDS = 300, HOST_CALLS = 64, WARM_UP = 4 };

static double time_call(const struct mote__bench *bench, int32_t host_calls)
{
	double start = mote__bench_now();
	(void)mote__bench_call(bench->sandbox, "call_host", host_calls);
	return mote__bench_now() - start;
}

static double time_loop(const struct mote__raw *raw, struct mote__raw_machine *machine)
{
	mote__raw_enter(raw, machine);
	for (int i = 0; i < WARM_UP; i++)
		mote__raw_again(machine);
	double start = mote__bench_now();
	for (int i = 0; i < HOST_CALLS; i++)
		mote__raw_again(machine);
	return mote__bench_now() - start;
}

static uint64_t ioctls(const mote_sandbox *sandbox)
{
	struct mote_statistics s;
	mote_sandbox_get_statistics(sandbox, &s, sizeof s);
	return s.vcpu_ioctls;
}

static void report_ioctls(const struct mote__bench *bench)
{
	uint64_t first = ioctls(bench->sandbox);
	(void)mote__bench_call(bench->sandbox, "call_host", 0);
	uint64_t second = ioctls(bench->sandbox);
	(void)mote__bench_call(bench->sandbox, "call_host", HOST_CALLS);
	uint64_t third = ioctls(bench->sandbox);
	double more = (double)(third - second) - (double)(second - first);
	mote__bench_report_value(
		&(struct mote__bench_answer){
			.name = "vcpu_ioctls_host_call", .unit = "ioctls", .floor = 1, .limit = 1},
		more / HOST_CALLS);
}

int main(int count, char **arguments)
{
	struct mote__bench bench;
	struct mote__raw raw;
	struct mote__raw_machine machine;
	mote__bench_open(&bench, mote__bench_directory(count, arguments), "bench.guest", NULL);
	mote__raw_open_small(&raw);
	mote__raw_create(&raw, &machine);
	struct mote__bench_series slope = mote__bench_series(ROUNDS);
	struct mote__bench_series floor = mote__bench_series(ROUNDS);
	for (int i = 0; i < WARM_UP; i++)
		(void)time_call(&bench, 1);
	for (int i = 0; i < ROUNDS; i++) {
		for (int k = 0; k < WARM_UP; k++)
			(void)time_call(&bench, 0);
		double none = time_call(&bench, 0);
		mote__bench_add(&slope, (time_call(&bench, HOST_CALLS) - none) / HOST_CALLS);
		mote__bench_add(&floor, time_loop(&raw, &machine) / HOST_CALLS);
	}
	double least = mote__bench_median(&floor);
	mote__bench_report(
		&(struct mote__bench_answer){
			.name = "host_call", .unit = "us", .floor = least, .limit = 1.10 * least},
		&slope);
	report_ioctls(&bench);
	mote__bench_free(&slope);
	mote__bench_free(&floor);
	mote__raw_destroy(&raw, &machine);
	mote__raw_close(&raw);
	mote__bench_close(&bench);
	return 0;
}
