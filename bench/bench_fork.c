/* SPDX-License-Identifier: MIT */
/*
 * What does a sandbox cost that is forked from a snapshot, called once and destroyed, when the pool
 * has a wiped machine for it: one that has this snapshot in place, or one that has another? Against
 * a call of bare KVM and the copy of the pages that the snapshot's write set has.
 */
#include <linux/kvm.h>
#include <stdio.h>

#include "raw.h"
#include "snap.h"

#define MIB 0x100000ull

enum { ROUNDS = 60, BLOCK = 20, DROPPED = 2, PAGES = 16, SWITCHES = 6 };

/* Virtual machines that the library made. The link puts this between it and its system calls. */
static unsigned machines;

int __real_mote__sys_ioctl(int fd, unsigned long request, void *argument);
int __wrap_mote__sys_ioctl(int fd, unsigned long request, void *argument);

int __wrap_mote__sys_ioctl(int fd, unsigned long request, void *argument)
{
	machines += request == KVM_CREATE_VM;
	return __real_mote__sys_ioctl(fd, request, argument);
}

/* Creating, calling, destroying, all of it, and what a bare machine's memory takes to be exchanged.
 */
struct times {
	struct mote__bench_series create, call, destroy, all, switches;
};

static struct times new_times(void)
{
	return (struct times){.create = mote__bench_series((size_t)ROUNDS * BLOCK),
			      .call = mote__bench_series((size_t)ROUNDS * BLOCK),
			      .destroy = mote__bench_series((size_t)ROUNDS * BLOCK),
			      .all = mote__bench_series((size_t)ROUNDS * BLOCK),
			      .switches = mote__bench_series((size_t)ROUNDS * SWITCHES)};
}

static void free_times(struct times *t)
{
	mote__bench_free(&t->create);
	mote__bench_free(&t->call);
	mote__bench_free(&t->destroy);
	mote__bench_free(&t->all);
	mote__bench_free(&t->switches);
}

static void fork_call_destroy(const struct mote__bench *bench, mote_snapshot *snapshot,
			      struct times *times)
{
	double start = mote__bench_now();
	mote_sandbox *sandbox = mote__bench_fork(bench, snapshot);
	double made = mote__bench_now();
	mote__bench_touch(sandbox, 0, PAGES);
	double called = mote__bench_now();
	mote_sandbox_destroy(sandbox);
	double end = mote__bench_now();
	if (!times)
		return;
	mote__bench_add(&times->create, made - start);
	mote__bench_add(&times->call, called - made);
	mote__bench_add(&times->destroy, end - called);
	mote__bench_add(&times->all, end - start);
}

/* Blocks of forks of count snapshots in turns. */
static void measure(const struct mote__bench *bench, struct mote__bench_filled *filled, int count,
		    struct times *times)
{
	for (int i = 0; i < BLOCK; i++)
		fork_call_destroy(bench, filled[i % count].snapshot, i < DROPPED ? NULL : times);
}

/* What a program cannot do without to show a machine another snapshot. */
static void measure_switch(const struct mote__raw *raw, struct mote__raw_machine *machine,
			   struct mote__bench_series *switches)
{
	for (int i = 0; i < SWITCHES; i++) {
		double start = mote__bench_now();
		mote__raw_switch(raw, machine);
		if (i >= DROPPED)
			mote__bench_add(switches, mote__bench_now() - start);
		mote__raw_store(raw, machine);
	}
}

static void measure_floor(const struct mote__raw *raw, struct mote__raw_machine *machine,
			  struct mote__bench_series *floor)
{
	for (int i = 0; i < BLOCK; i++) {
		double start = mote__bench_now();
		mote__raw_fill(raw, machine);
		mote__raw_store(raw, machine);
		double end = mote__bench_now();
		if (i >= DROPPED)
			mote__bench_add(floor, end - start);
	}
}

static void report(const char *name, struct times *t, double floor, double factor, unsigned made)
{
	char detail[192], switches[48] = "";
	if (t->switches.count)
		(void)snprintf(switches, sizeof switches, ",\"raw_switch_us\":%.2f",
			       mote__bench_median(&t->switches));
	(void)snprintf(detail, sizeof detail,
		       "\"create_us\":%.2f,\"call_us\":%.2f,\"destroy_us\":%.2f%s,"
		       "\"machines_made\":%u",
		       mote__bench_median(&t->create), mote__bench_median(&t->call),
		       mote__bench_median(&t->destroy), switches, made);
	mote__bench_report(&(struct mote__bench_answer){.name = name,
							.unit = "us",
							.floor = floor,
							.limit = factor * floor,
							.detail = detail},
			   &t->all);
	(void)fprintf(stderr, "    %s\n", detail);
}

/* count snapshots, one pool. */
static void compare(const char *name, const char *directory, int count, double factor)
{
	struct mote__bench bench;
	struct mote__bench_filled filled[2];
	struct mote__raw raw;
	struct mote__raw_machine machine;
	struct mote_error err = {0};
	struct times times = new_times();
	struct mote__bench_series floor = mote__bench_series((size_t)ROUNDS * BLOCK);
	mote__bench_open_engine(&bench, 1);
	for (int i = 0; i < count; i++) {
		filled[i] = mote__bench_fill(&bench, directory, MIB, 0);
		(void)mote_engine_trim(bench.engine, NULL);
		mote__bench_check(mote_engine_fill(bench.engine, filled[i].snapshot, 1, &err), &err,
				  "fill");
		for (int k = 0; k < BLOCK; k++)
			fork_call_destroy(&bench, filled[i].snapshot, NULL);
	}
	struct mote_snapshot_info info;
	mote_snapshot_get_info(filled[0].snapshot, &info);
	mote__raw_open_pages(&raw, info.write_set_pages);
	mote__raw_create(&raw, &machine);
	unsigned before = machines;
	for (int i = 0; i < ROUNDS; i++) {
		measure(&bench, filled, count, &times);
		measure_floor(&raw, &machine, &floor);
		if (count > 1)
			measure_switch(&raw, &machine, &times.switches);
	}
	report(name, &times, mote__bench_median(&floor), factor, machines - before);
	if (machines != before)
		mote__bench_fail("%s: virtual machines were made", name);
	mote__raw_destroy(&raw, &machine);
	mote__raw_close(&raw);
	mote__bench_free(&floor);
	free_times(&times);
	(void)mote_engine_trim(bench.engine, NULL);
	for (int i = 0; i < count; i++)
		mote_snapshot_unref(filled[i].snapshot);
	mote__bench_close(&bench);
}

int main(int count, char **arguments)
{
	const char *directory = mote__bench_directory(count, arguments);
	compare("fork_call_destroy", directory, 1, 3);
	compare("fork_other_call_destroy", directory, 2, 15);
	return 0;
}
