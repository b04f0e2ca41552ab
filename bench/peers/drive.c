/* SPDX-License-Identifier: MIT */
/*
 * Drives the side-by-side benchmark: starts both programs with the same guest on the same
 * processor, has them do the same operations in turns, and prints a JSON object for each operation
 * on standard output and a line of a table on standard error. A row is the median, over rounds, of
 * the median of a batch; what it varied is said by the least and the greatest of the rounds'
 * ratios. Knows the programs by their answers only (ours.c).
 *
 * usage: peers_drive [-c COUNT-LIBRARY] [-r ROUNDS] [-m MS] OURS THEIRS GUEST LABEL [OPERATION...]
 * With -c it counts instead of measuring times.
 */
#define _GNU_SOURCE
#include "../lib.h"
#include "count.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { OURS, THEIRS, SIDES };
enum {
	MAX_BATCH = 400,
	DROPPED = 2,
	COUNTED = 20,
	RESIDENT = 64,
	MAX_LINE = 16384,
	HOST_CALLS = 16
};

static const char *const side_name[SIDES] = {"ours", "theirs"};

struct peer {
	FILE *to, *from;
	pid_t pid;
};

/* What one side answered for one operation. */
struct side {
	struct mote__bench_series rounds; /* medians of batches: microseconds, or KiB */
	double counted[COUNTER_COUNT];    /* in samples' regions, HOST_CALLS times */
	int batch;
	int samples;
};

struct row {
	const char *name;
	struct side side[SIDES];
	struct mote__bench_series ratios; /* theirs over ours, of each round */
};

static const char *const all_operations[] = {
	"create_call",
	"destroy",
	"create_call_heap_64m",
	"fork_call",
	"fork_call_pool",
	"call_nothing",
	"call_add",
	"host_call",
	"call_64k",
	"restore",
	"restore_add",
	"restore_add_heap_64m",
	"dirty_16_restore_add",
	"dirty_256_restore_add",
	"restore_fill_16",
	"restore_fill_256",
	"snapshot_16",
	"resident",
};
enum { OPERATIONS = sizeof all_operations / sizeof *all_operations };

static struct peer peers[SIDES];
static const char *count_library, *label;
static int rounds = 15;
static double batch_us = 30e3;

/* ---- the programs ---------------------------------------------------------------------------- */

static void start(struct peer *peer, const char *program, const char *guest)
{
	int request[2], reply[2];
	if (pipe2(request, O_CLOEXEC) < 0 || pipe2(reply, O_CLOEXEC) < 0)
		mote__bench_fail("no pipe can be made");
	peer->pid = fork();
	if (peer->pid < 0)
		mote__bench_fail("no process can be made");
	if (peer->pid == 0) {
		(void)dup2(request[0], STDIN_FILENO);
		(void)dup2(reply[1], STDOUT_FILENO);
		/* Both have their own default for what a guest logs: errors, of which there are
		 * none. */
		(void)unsetenv("RUST_LOG");
		if (count_library)
			(void)setenv("LD_PRELOAD", count_library, 1);
		(void)execl(program, program, guest, (char *)NULL);
		_exit(127);
	}
	(void)close(request[0]);
	(void)close(reply[1]);
	peer->to = fdopen(request[1], "w");
	peer->from = fdopen(reply[0], "r");
	if (!peer->to || !peer->from)
		mote__bench_fail("out of memory");
}

static void stop(struct peer *peer)
{
	int status = 0;
	(void)fclose(peer->to);
	(void)fclose(peer->from);
	(void)waitpid(peer->pid, &status, 0);
	if (status != 0)
		mote__bench_fail("a program ended with status %d", status);
}

/* The numbers of line up to where it ends, or to a '|'. */
static char *read_samples(char *line, struct mote__bench_series *samples)
{
	for (;;) {
		char *end;
		double value = strtod(line, &end);
		if (end == line)
			break;
		line = end;
		mote__bench_add(samples, value);
	}
	line += strspn(line, " ");
	if (*line != '|')
		mote__bench_fail("not an answer: %.40s", line);
	return line + 1;
}

/* Have side do operation count times, and take the median of the samples; add what was counted to
 * counted, weight times. */
static double ask_one(struct row *row, const char *operation, int side, int count, int weight)
{
	static char line[MAX_LINE];
	struct peer *peer = &peers[side];
	struct side *to = &row->side[side];
	struct mote__bench_series samples = mote__bench_series((size_t)count);
	(void)fprintf(peer->to, "%s %d\n", operation, count);
	(void)fflush(peer->to);
	if (!fgets(line, sizeof line, peer->from))
		mote__bench_fail("%s: %s: the program ended", side_name[side], operation);
	char *counts = read_samples(line, &samples);
	/* The first ones pay for what the other program left in the caches. */
	size_t dropped = count > 2 * DROPPED && samples.count > DROPPED ? DROPPED : 0;
	struct mote__bench_series kept = {.value = samples.value + dropped,
					  .count = samples.count - dropped};
	double median = mote__bench_median(&kept);
	to->samples += (int)kept.count;
	for (int k = 0; count_library && k < COUNTER_COUNT; k++) {
		char *end;
		to->counted[k] += weight * (double)strtoull(counts, &end, 10);
		if (end == counts)
			mote__bench_fail("%s counts less than count.h has", side_name[side]);
		counts = end;
	}
	mote__bench_free(&samples);
	return median;
}

/* The same for what row names. A host call is the difference of two calls: programs have no other
 * way to see one alone. */
static double ask(struct row *row, int side, int count)
{
	if (strcmp(row->name, "host_call") != 0)
		return ask_one(row, row->name, side, count, HOST_CALLS);
	double many = ask_one(row, "call_times_16", side, count, 1);
	double none = ask_one(row, "call_times_0", side, count, -1);
	return (many - none) / HOST_CALLS;
}

/* ---- rounds ---------------------------------------------------------------------------------- */

static bool is_resident(const struct row *row)
{
	return strcmp(row->name, "resident") == 0;
}

static void open_row(struct row *row, const char *name)
{
	row->name = name;
	row->ratios = mote__bench_series((size_t)rounds);
	for (int side = 0; side < SIDES; side++)
		row->side[side].rounds = mote__bench_series((size_t)rounds);
}

static void close_row(struct row *row)
{
	mote__bench_free(&row->ratios);
	for (int side = 0; side < SIDES; side++)
		mote__bench_free(&row->side[side].rounds);
}

/* How many make a batch: as many as last about batch_us. The first answer also opens what the
 * operation needs, and the guest's memory settles. */
static void calibrate(struct row *row, int side)
{
	struct side *to = &row->side[side];
	double us = 0;
	if (is_resident(row)) {
		to->batch = RESIDENT;
		return;
	}
	for (int i = 0; i < 2; i++)
		us = ask(row, side, 1 + i) / 1e3;
	double count = us > 0 ? batch_us / us : MAX_BATCH;
	to->batch = count < 1 ? 1 : count > MAX_BATCH ? MAX_BATCH : (int)count;
	if (to->batch > DROPPED)
		to->batch += DROPPED;
	to->samples = 0;
}

static void measure(struct row *row, int round)
{
	double result[SIDES];
	double unit = is_resident(row) ? 1024 : 1e3;
	for (int turn = 0; turn < SIDES; turn++) {
		int side = (turn + round) % SIDES;
		result[side] = ask(row, side, row->side[side].batch) / unit;
		mote__bench_add(&row->side[side].rounds, result[side]);
	}
	mote__bench_add(&row->ratios, result[THEIRS] / result[OURS]);
}

static void report(struct row *row)
{
	double median[SIDES];
	char detail[512];
	for (int side = 0; side < SIDES; side++)
		median[side] = mote__bench_median(&row->side[side].rounds);
	double ratio = median[THEIRS] / median[OURS];
	double low = mote__bench_quantile(&row->ratios, 0);
	double high = mote__bench_quantile(&row->ratios, 1);
	const char *unit = is_resident(row) ? "KiB" : "us";
	const char *commit = getenv("MOTE_BENCH_COMMIT");
	(void)snprintf(detail, sizeof detail,
		       "\"rounds\":%d,\"n_ours\":%d,\"n_theirs\":%d,\"ratio_min\":%.4g,"
		       "\"ratio_max\":%.4g",
		       rounds, row->side[OURS].samples, row->side[THEIRS].samples, low, high);
	(void)printf("{\"bench\":\"peers\",\"guest\":\"%s\",\"operation\":\"%s\",\"unit\":\"%s\","
		     "\"ours\":%.6g,\"theirs\":%.6g,\"ratio\":%.4g,%s,\"commit\":\"%s\"}\n",
		     label, row->name, unit, median[OURS], median[THEIRS], ratio, detail,
		     commit ? commit : "unknown");
	(void)fflush(stdout);
	(void)fprintf(stderr, "%-12s %-24s %12.2f %12.2f %-4s x %8.3f  (%.3f to %.3f)  n %d/%d\n",
		      label, row->name, median[OURS], median[THEIRS], unit, ratio, low, high,
		      row->side[OURS].samples, row->side[THEIRS].samples);
}

/* ---- counts ---------------------------------------------------------------------------------- */

static void count_row(struct row *row)
{
	for (int side = 0; side < SIDES; side++) {
		struct side *to = &row->side[side];
		(void)ask(row, side, 2 + DROPPED);
		memset(to->counted, 0, sizeof to->counted);
		(void)ask(row, side, COUNTED);
	}
}

#define COUNTER_NAME(name) #name,

static void report_counts(const struct row *row)
{
	static const char *const names[] = {COUNTERS(COUNTER_NAME)};
	for (int side = 0; side < SIDES; side++) {
		(void)printf("{\"bench\":\"peers_counts\",\"guest\":\"%s\",\"operation\":\"%s\","
			     "\"side\":\"%s\",\"n\":%d",
			     label, row->name, side_name[side], COUNTED);
		(void)fprintf(stderr, "%-12s %-22s %-6s", label, row->name, side_name[side]);
		for (int k = 0; k < COUNTER_COUNT; k++) {
			double each = row->side[side].counted[k] / (COUNTED * HOST_CALLS);
			(void)printf(",\"%s\":%.6g", names[k], each);
			(void)fprintf(stderr, " %9.2f", each);
		}
		(void)printf("}\n");
		(void)fprintf(stderr, "\n");
	}
	(void)fflush(stdout);
}

static void print_head(void)
{
	static const char *const names[] = {COUNTERS(COUNTER_NAME)};
	if (!count_library) {
		(void)fprintf(stderr, "%-12s %-24s %12s %12s      theirs/ours\n", "guest",
			      "operation", side_name[OURS], side_name[THEIRS]);
		return;
	}
	(void)fprintf(stderr, "%-12s %-22s %-6s", "guest", "operation", "side");
	for (int k = 0; k < COUNTER_COUNT; k++)
		(void)fprintf(stderr, " %9.9s", names[k]);
	(void)fprintf(stderr, "\n");
}

/* ---- main ------------------------------------------------------------------------------------ */

static void run(struct row *rows, int count)
{
	if (count_library) {
		for (int i = 0; i < count; i++)
			if (!is_resident(&rows[i])) {
				count_row(&rows[i]);
				report_counts(&rows[i]);
			}
		return;
	}
	for (int i = 0; i < count; i++)
		for (int side = 0; side < SIDES; side++)
			calibrate(&rows[i], side);
	for (int round = 0; round < rounds; round++)
		for (int i = 0; i < count; i++)
			measure(&rows[i], round);
	for (int i = 0; i < count; i++)
		report(&rows[i]);
}

static int parse(int count, char **arguments)
{
	int option;
	while ((option = getopt(count, arguments, "c:r:m:")) != -1) {
		if (option == 'c')
			count_library = optarg;
		else if (option == 'r')
			rounds = atoi(optarg);
		else if (option == 'm')
			batch_us = atof(optarg) * 1e3;
		else
			exit(2);
	}
	if (count - optind < 4 || rounds < 1)
		mote__bench_fail("usage: %s [-c COUNT-LIBRARY] [-r ROUNDS] [-m MS] OURS THEIRS "
				 "GUEST LABEL [OPERATION...]",
				 arguments[0]);
	return optind;
}

int main(int count, char **arguments)
{
	int at = parse(count, arguments);
	const char *const *names = all_operations;
	int wanted = OPERATIONS;
	label = arguments[at + 3];
	if (count > at + 4) {
		names = (const char *const *)arguments + at + 4;
		wanted = count - at - 4;
	}
	struct row *rows = calloc((size_t)wanted, sizeof *rows);
	if (!rows)
		mote__bench_fail("out of memory");
	for (int i = 0; i < wanted; i++)
		open_row(&rows[i], names[i]);
	/* The programs inherit the processor. */
	(void)mote__bench_pin(1);
	start(&peers[OURS], arguments[at], arguments[at + 2]);
	start(&peers[THEIRS], arguments[at + 1], arguments[at + 2]);
	print_head();
	run(rows, wanted);
	for (int side = 0; side < SIDES; side++)
		stop(&peers[side]);
	for (int i = 0; i < wanted; i++)
		close_row(&rows[i]);
	free(rows);
	return 0;
}
