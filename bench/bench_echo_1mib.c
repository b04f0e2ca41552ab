/* SPDX-License-Identifier: MIT */
/*
 * What does it cost to move 1 MiB into the guest and back? The floor is an entry and five copies of
 * 1 MiB, both measured between the calls.
 */
#include "lib.h"
#include "raw.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 400, BYTES = 1 << 20, COPIES = 5, BUFFER = BYTES + 0x10000 };

static double time_echo(mote_sandbox *sandbox, const uint8_t *data)
{
	struct mote_error err = {0};
	struct mote_value result;
	double start = mote__bench_now();
	int rc = MOTE_CALL(sandbox, "echo", &result, &err, MOTE_BYTES, mote_bytes(data, BYTES));
	double time = mote__bench_now() - start;
	mote__bench_check(rc, &err, "echo");
	if (result.bytes.len != BYTES || memcmp(result.bytes.data, data, BYTES) != 0)
		mote__bench_fail("echo returned something else");
	return time;
}

static double time_copy(uint8_t *to, const uint8_t *from)
{
	double start = mote__bench_now();
	memcpy(to, from, BYTES);
	__asm__ volatile("" : : "r"(to) : "memory");
	return mote__bench_now() - start;
}

static double time_exit(const struct mote__raw *raw, struct mote__raw_machine *machine)
{
	mote__raw_enter(raw, machine);
	double start = mote__bench_now();
	mote__raw_enter(raw, machine);
	return mote__bench_now() - start;
}

int main(int count, char **arguments)
{
	struct mote__bench bench;
	struct mote__raw raw;
	struct mote__raw_machine machine;
	const struct mote_snapshot_options options = {
		.size = sizeof options, .input_bytes = BUFFER, .output_bytes = BUFFER};
	mote__bench_open(&bench, mote__bench_directory(count, arguments), "bench.guest", &options);
	mote__raw_open_small(&raw);
	mote__raw_create(&raw, &machine);
	struct mote__bench_series echo = mote__bench_series(ROUNDS);
	struct mote__bench_series copy = mote__bench_series((size_t)ROUNDS * COPIES);
	struct mote__bench_series leave = mote__bench_series(ROUNDS);
	uint8_t *from = malloc(BYTES), *to = malloc(BYTES);
	if (!from || !to)
		mote__bench_fail("out of memory");
	for (int i = 0; i < BYTES; i++)
		from[i] = (uint8_t)(i * 31 + i / 4096);
	memcpy(to, from, BYTES);
	(void)time_echo(bench.sandbox, from);
	for (int i = 0; i < ROUNDS; i++) {
		mote__bench_add(&echo, time_echo(bench.sandbox, from));
		for (int k = 0; k < COPIES; k++)
			mote__bench_add(&copy, time_copy(to, from));
		mote__bench_add(&leave, time_exit(&raw, &machine));
	}
	char detail[128];
	double one_copy = mote__bench_median(&copy), one_exit = mote__bench_median(&leave);
	double floor = one_exit + COPIES * one_copy;
	(void)snprintf(detail, sizeof detail, "\"exit_us\":%.2f,\"memcpy_us\":%.2f", one_exit,
		       one_copy);
	mote__bench_report(&(struct mote__bench_answer){.name = "echo_1mib",
							.unit = "us",
							.floor = floor,
							.limit = floor,
							.detail = detail},
			   &echo);
	mote__bench_free(&echo);
	mote__bench_free(&copy);
	mote__bench_free(&leave);
	free(from);
	free(to);
	mote__raw_destroy(&raw, &machine);
	mote__raw_close(&raw);
	mote__bench_close(&bench);
	return 0;
}
