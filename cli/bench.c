/* SPDX-License-Identifier: MIT */
/* mote bench: how long it takes to make, start, call, restore and fork a sandbox. */
#include "cli.h"

#include <inttypes.h>
#include <stdlib.h>

#include "output.h"
#include "report.h"
#include "session.h"
#include "target.h"

enum { DEFAULT_ITERATIONS = 1000, DEFAULT_CREATES = 20 };

/** Times of one thing, in nanoseconds. */
struct series {
	uint64_t *ns;
	uint64_t count, capacity;
};

/** Everything that is measured. */
struct results {
	struct series create, start, call;
	/* From a snapshot behind the calls; empty where none can be taken. */
	struct series restore;      /* alone, behind a call */
	struct series restore_call; /* the same with the next call */
	struct series fork_call;    /* another sandbox: made, called, destroyed */
	uint64_t vm_entries;        /* of all measured calls */
};

static bool series_make(struct series *series, uint64_t capacity)
{
	*series = (struct series){.capacity = capacity};
	series->ns = calloc(capacity, sizeof *series->ns);
	return series->ns != NULL;
}

static void series_add(struct series *series, uint64_t ns)
{
	if (series->count < series->capacity)
		series->ns[series->count++] = ns;
}

static int by_size(const void *left, const void *right)
{
	uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
	return a < b ? -1 : a > b;
}

/** The value that part of 1000 are not above; series is sorted and not empty. */
static uint64_t quantile(const struct series *series, uint64_t part)
{
	uint64_t rank = (series->count * part + 999) / 1000;
	return series->ns[rank ? rank - 1 : 0];
}

static int measure_creates(struct session *session, struct results *results)
{
	for (uint64_t i = 0; i < results->create.capacity; i++) {
		mote__session_drop(session);
		/* A new virtual machine each time; forks show what the pool saves. */
		if (session->engine)
			(void)mote_engine_trim(session->engine, NULL);
		int status = mote__session_create(session);
		if (status == EXIT_OK)
			status = mote__session_start(session);
		if (status != EXIT_OK)
			return status;
		series_add(&results->create, session->create_ns);
		series_add(&results->start, session->start_ns);
	}
	return EXIT_OK;
}

static uint64_t entries_of(const struct session *session)
{
	struct mote_statistics statistics = {0};
	mote_sandbox_get_statistics(session->sandbox, &statistics, sizeof statistics);
	return statistics.vm_entries;
}

static int measure_calls(const struct session *session, const struct target *target,
			 struct results *results)
{
	uint64_t warm_up = results->call.capacity / 10 + 1, entries = 0;
	struct mote_error err = {0};
	for (uint64_t i = 0; i < warm_up + results->call.capacity; i++) {
		if (i == warm_up)
			entries = entries_of(session);
		uint64_t before = mote__clock_ns();
		int rc = mote__target_call(target, session, NULL, &err);
		uint64_t after = mote__clock_ns();
		if (rc != MOTE_OK)
			return mote__session_fail(session, target->function, STAGE_CALL, &err);
		if (i >= warm_up)
			series_add(&results->call, after - before);
	}
	results->vm_entries = entries_of(session) - entries;
	return EXIT_OK;
}

static int measure_restores(const struct session *session, const struct target *target,
			    mote_snapshot *snapshot, struct results *results)
{
	uint64_t warm_up = results->restore.capacity / 10 + 1;
	struct mote_error err = {0};
	for (uint64_t i = 0; i < warm_up + results->restore.capacity; i++) {
		uint64_t before = mote__clock_ns();
		if (mote_sandbox_restore(session->sandbox, snapshot, NULL, &err) != MOTE_OK)
			return mote__session_fail(session, session->guest, STAGE_SNAPSHOT, &err);
		uint64_t between = mote__clock_ns();
		if (mote__target_call(target, session, NULL, &err) != MOTE_OK)
			return mote__session_fail(session, target->function, STAGE_CALL, &err);
		uint64_t after = mote__clock_ns();
		if (i < warm_up)
			continue;
		series_add(&results->restore, between - before);
		series_add(&results->restore_call, after - before);
	}
	return EXIT_OK;
}

static int measure_forks(const struct session *session, const struct target *target,
			 mote_snapshot *snapshot, struct results *results)
{
	struct session fork = *session;
	struct mote_error err = {0};
	for (uint64_t i = 0; i < results->fork_call.capacity; i++) {
		uint64_t before = mote__clock_ns();
		fork.sandbox = NULL;
		if (mote__session_fork(session, snapshot, &fork.sandbox, &err) != MOTE_OK)
			return mote__session_fail(session, session->guest, STAGE_SNAPSHOT, &err);
		int rc = mote__target_call(target, &fork, NULL, &err);
		mote_sandbox_destroy(fork.sandbox);
		uint64_t after = mote__clock_ns();
		if (rc != MOTE_OK)
			return mote__session_fail(session, target->function, STAGE_CALL, &err);
		series_add(&results->fork_call, after - before);
	}
	return EXIT_OK;
}

static int measure_snapshots(const struct session *session, const struct target *target,
			     struct results *results)
{
	mote_snapshot *snapshot = NULL;
	struct mote_error err = {0};
	int rc = mote_snapshot_take(session->sandbox, NULL, &snapshot, &err);
	/* The other numbers are worth having. */
	if (rc == MOTE_ESNAPSHOT) {
		(void)fputs("mote: no snapshot: ", stderr);
		mote__output_name(stderr, err.message);
		(void)fputc('\n', stderr);
		return EXIT_OK;
	}
	if (rc != MOTE_OK)
		return mote__session_fail(session, session->guest, STAGE_SNAPSHOT, &err);
	int status = measure_restores(session, target, snapshot, results);
	if (status == EXIT_OK)
		status = measure_forks(session, target, snapshot, results);
	mote_snapshot_unref(snapshot);
	return status;
}

static uint64_t larger_of(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static int measure(struct session *session, const struct target *target, struct results *results)
{
	const struct options *options = session->options;
	uint64_t creates = options->creates ? options->creates : DEFAULT_CREATES;
	uint64_t calls = options->iterations ? options->iterations : DEFAULT_ITERATIONS;
	if (!series_make(&results->create, creates) || !series_make(&results->start, creates) ||
	    !series_make(&results->call, calls) || !series_make(&results->restore, calls) ||
	    !series_make(&results->restore_call, calls) ||
	    !series_make(&results->fork_call, larger_of(creates, calls / 10)))
		return mote__report_host("bench", "out of memory for the samples");
	int status = measure_creates(session, results);
	if (status == EXIT_OK)
		status = measure_calls(session, target, results);
	if (status == EXIT_OK)
		status = measure_snapshots(session, target, results);
	if (status != EXIT_OK)
		return status;
	struct series *all[] = {&results->create,  &results->start,        &results->call,
				&results->restore, &results->restore_call, &results->fork_call};
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
		qsort(all[i]->ns, all[i]->count, sizeof *all[i]->ns, by_size);
	return EXIT_OK;
}

static void print_series(const char *name, const struct series *series)
{
	if (series->count == 0)
		return;
	(void)printf("%-12s %10.1f %10.1f %10.1f %10.1f %10" PRIu64 "\n", name,
		     (double)quantile(series, 0) / 1000, (double)quantile(series, 500) / 1000,
		     (double)quantile(series, 990) / 1000, (double)quantile(series, 1000) / 1000,
		     series->count);
}

static void write_series(struct json *json, const char *key, const struct series *series)
{
	if (series->count == 0) {
		mote__emit_null(json, key);
		return;
	}
	mote__emit_object(json, key);
	mote__emit_u64(json, "count", series->count);
	mote__emit_u64(json, "min_ns", quantile(series, 0));
	mote__emit_u64(json, "median_ns", quantile(series, 500));
	mote__emit_u64(json, "p99_ns", quantile(series, 990));
	mote__emit_u64(json, "max_ns", quantile(series, 1000));
	mote__emit_end(json);
}

static void show(const struct session *session, const struct target *target,
		 const struct results *results)
{
	double entries = (double)results->vm_entries / (double)results->call.count;
	if (session->options->json) {
		struct json json = {.out = stdout};
		mote__emit_object(&json, NULL);
		mote__emit_bool(&json, "ok", true);
		mote__emit_text(&json, "version", mote_version());
		mote__emit_text(&json, "guest", session->guest);
		mote__emit_text(&json, "function", target->function);
		write_series(&json, "create", &results->create);
		write_series(&json, "start", &results->start);
		write_series(&json, "call", &results->call);
		write_series(&json, "restore", &results->restore);
		write_series(&json, "restore_call", &results->restore_call);
		write_series(&json, "fork_call", &results->fork_call);
		mote__emit_f64(&json, "vm_entries_per_call", entries, 6);
		mote__emit_end(&json);
		return;
	}
	(void)printf("%-12s %10s %10s %10s %10s %10s\n", "microseconds", "min", "median", "p99",
		     "max", "count");
	print_series("create", &results->create);
	print_series("start", &results->start);
	print_series("call", &results->call);
	print_series("restore", &results->restore);
	print_series("restore+call", &results->restore_call);
	print_series("fork+call", &results->fork_call);
	(void)printf("VM entries per call: %.2f\n", entries);
}

static int bench(struct session *session, struct target *target, struct results *results)
{
	const struct options *options = session->options;
	int status = mote__session_load(session, options);
	if (status == EXIT_OK)
		status = mote__target_resolve(target, session, options->operands[0],
					      options->operands + 1, options->operand_count - 1);
	if (status == EXIT_OK)
		status = measure(session, target, results);
	if (status == EXIT_OK)
		show(session, target, results);
	return status;
}

int mote__command_bench(const struct options *options)
{
	struct session session = {.options = options};
	struct target target = {0};
	struct results results = {0};
	if (options->operand_count < 1)
		return mote__report_usage("bench",
					  options->guest ? "which function?" : "which guest?");
	int status = bench(&session, &target, &results);
	mote__target_free(&target);
	mote__session_close(&session);
	free(results.create.ns);
	free(results.start.ns);
	free(results.call.ns);
	free(results.restore.ns);
	free(results.restore_call.ns);
	free(results.fork_call.ns);
	return status;
}
