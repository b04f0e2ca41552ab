/* SPDX-License-Identifier: MIT */
/*
 * What the benchmarks share: a clock, series of samples, one way to report, and the objects that
 * most of them need.
 *
 * A benchmark answers one question. It takes the directory of the guests as its argument, prints
 * one JSON object for each answer on standard output and a line of a table on standard error, and
 * exits with 0, 77 (skipped, with the reason) or 1 (something failed). What is compared runs on the
 * same processor, in turns, in the same run.
 */
#ifndef MOTE_BENCH_LIB_H
#define MOTE_BENCH_LIB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mote.h>

/** Samples of one thing, in whatever unit is reported. Owned by the caller. */
struct mote__bench_series {
	double *value;
	size_t count, capacity;
};

/** An answer. */
struct mote__bench_answer {
	const char *name, *unit;
	double floor;       /* what it is compared with; 0: nothing */
	double limit;       /* most the median may be, in unit; 0: for information */
	bool is_least;      /* limit is the least it may be */
	const char *detail; /* more members of the JSON object, `"a":1,"b":2`; NULL: none */
};

/** End the program: something that is needed does not work (1), or is not there (77). */
_Noreturn void mote__bench_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void mote__bench_skip(const char *format, ...) __attribute__((format(printf, 1, 2)));
/** End the program unless rc is MOTE_OK. */
void mote__bench_check(int rc, const struct mote_error *err, const char *what);

/** Microseconds on a clock that only goes forward. */
double mote__bench_now(void);
/** Keep the calling thread on processor number index of those that it may use (the last one if
 * there are fewer). Returns how many there are. */
unsigned mote__bench_pin(unsigned index);
/** Let the process have that many open files. */
bool mote__bench_files(unsigned count);

struct mote__bench_series mote__bench_series(size_t capacity);
/** Ignored when the series is full. */
void mote__bench_add(struct mote__bench_series *series, double value);
void mote__bench_free(struct mote__bench_series *series);
/** The value that part (0 to 1) of the samples are not above; sorts them. */
double mote__bench_quantile(struct mote__bench_series *series, double part);
double mote__bench_median(struct mote__bench_series *series);

/** Print an answer. */
void mote__bench_report(const struct mote__bench_answer *answer, struct mote__bench_series *series);
/** Print an answer that is one number. */
void mote__bench_report_value(const struct mote__bench_answer *answer, double value);

/** An engine, a snapshot of a guest, a host and a sandbox, and one idle machine beside them: the
 * first and the last virtual processor of a computer interrupt all its processors. */
struct mote__bench {
	mote_engine *engine;
	mote_snapshot *snapshot;
	mote_host *host;
	mote_sandbox *sandbox;
	int idle_vm, idle_vcpu;
};

/** Pins the thread; directory and guest name the image; options may be NULL. The host has
 * what the guests of the benchmarks ask for. The sandbox is made and not started. Nothing is kept
 * in a pool. */
void mote__bench_open(struct mote__bench *bench, const char *directory, const char *guest,
		      const struct mote_snapshot_options *options);
/** The same without snapshot and sandbox; pool_max as in mote_engine_options. */
void mote__bench_open_engine(struct mote__bench *bench, uint32_t pool_max);
void mote__bench_close(struct mote__bench *bench);
/** A new sandbox of the snapshot. */
mote_sandbox *mote__bench_sandbox(const struct mote__bench *bench);
/** Call a function with at most one i32 that returns an i32, and end the program if that fails. */
int32_t mote__bench_call(mote_sandbox *sandbox, const char *function, int32_t argument);
/** Arguments of main: the directory of the guests. */
const char *mote__bench_directory(int count, char **arguments);

#endif
