/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "lib.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <math.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

static void say(const char *what, const char *format, va_list arguments)
{
	(void)fprintf(stderr, "%s: %s", program_invocation_short_name, what);
	(void)vfprintf(stderr, format, arguments);
	(void)fputc('\n', stderr);
}

_Noreturn void mote__bench_fail(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	say("", format, arguments);
	va_end(arguments);
	exit(1);
}

_Noreturn void mote__bench_skip(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	say("skipped: ", format, arguments);
	va_end(arguments);
	exit(77);
}

void mote__bench_check(int rc, const struct mote_error *err, const char *what)
{
	if (rc != MOTE_OK)
		mote__bench_fail("%s: %s: %s", what, mote_code_name(rc), err->message);
}

double mote__bench_now(void)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

unsigned mote__bench_pin(unsigned index)
{
	/* The set that the process started with, not one that an earlier call left. */
	static cpu_set_t all;
	if (!CPU_COUNT(&all))
		(void)sched_getaffinity(0, sizeof all, &all);
	unsigned count = (unsigned)CPU_COUNT(&all), seen = 0;
	cpu_set_t one;
	CPU_ZERO(&one);
	for (unsigned cpu = 0; cpu < CPU_SETSIZE && !CPU_COUNT(&one); cpu++)
		if (CPU_ISSET(cpu, &all) && (seen++ == index || seen == count))
			CPU_SET(cpu, &one);
	(void)sched_setaffinity(0, sizeof one, &one);
	return count;
}

bool mote__bench_files(unsigned count)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return false;
	if (limit.rlim_cur < count && limit.rlim_max >= count) {
		limit.rlim_cur = count;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
	return limit.rlim_cur >= count;
}

/* ---- samples --------------------------------------------------------------------------------- */

struct mote__bench_series mote__bench_series(size_t capacity)
{
	struct mote__bench_series series = {.value = calloc(capacity, sizeof(double)),
					    .capacity = capacity};
	if (!series.value)
		mote__bench_fail("out of memory");
	return series;
}

void mote__bench_add(struct mote__bench_series *series, double value)
{
	if (series->count < series->capacity)
		series->value[series->count++] = value;
}

void mote__bench_free(struct mote__bench_series *series)
{
	free(series->value);
	*series = (struct mote__bench_series){0};
}

static int by_size(const void *left, const void *right)
{
	double a = *(const double *)left, b = *(const double *)right;
	return a < b ? -1 : a > b;
}

double mote__bench_quantile(struct mote__bench_series *series, double part)
{
	if (!series->count)
		mote__bench_fail("no samples");
	qsort(series->value, series->count, sizeof *series->value, by_size);
	double rank = ceil(part * (double)series->count);
	return series->value[rank >= 1 ? (size_t)rank - 1 : 0];
}

double mote__bench_median(struct mote__bench_series *series)
{
	return mote__bench_quantile(series, 0.5);
}

/* ---- reports --------------------------------------------------------------------------------- */

/* Characters that would need an escape do not matter here and become blanks. */
static void print_text(const char *key, const char *text)
{
	(void)printf(",\"%s\":\"", key);
	for (; *text; text++)
		(void)putchar(*text < ' ' || *text == '"' || *text == '\\' ? ' ' : *text);
	(void)putchar('"');
}

static void print_number(const char *key, double value, bool is_known)
{
	if (is_known)
		(void)printf(",\"%s\":%.6g", key, value);
	else
		(void)printf(",\"%s\":null", key);
}

static void print_machine(void)
{
	char line[256], model[256] = "unknown";
	FILE *file = fopen("/proc/cpuinfo", "re");
	while (file && fgets(line, sizeof line, file))
		if (sscanf(line, "model name : %255[^\n]", model) == 1)
			break;
	if (file)
		(void)fclose(file);
	struct utsname system = {0};
	(void)uname(&system);
	char text[600];
	(void)snprintf(text, sizeof text, "%s, %ld processors, Linux %s", model,
		       sysconf(_SC_NPROCESSORS_ONLN), system.release);
	print_text("machine", text);
}

void mote__bench_report(const struct mote__bench_answer *a, struct mote__bench_series *series)
{
	double median = mote__bench_median(series), min = mote__bench_quantile(series, 0);
	double p99 = mote__bench_quantile(series, 0.99);
	bool has_floor = a->floor != 0, has_limit = a->limit != 0, is_ok;
	is_ok = a->is_least ? median >= a->limit : median <= a->limit;
	double ratio = has_floor ? median / a->floor : 0;
	const char *commit = getenv("MOTE_BENCH_COMMIT");

	(void)printf("{\"bench\":\"%s\"", a->name);
	print_number("median", median, true);
	print_text("unit", a->unit);
	print_number("floor", a->floor, has_floor);
	print_number("ratio", ratio, has_floor);
	(void)printf(",\"n\":%zu", series->count);
	print_number("min", min, true);
	print_number("p99", p99, true);
	print_number(a->is_least ? "least" : "limit", a->limit, has_limit);
	(void)printf(",\"ok\":%s", !has_limit ? "null" : is_ok ? "true" : "false");
	if (a->detail)
		(void)printf(",%s", a->detail);
	print_text("commit", commit ? commit : "unknown");
	print_machine();
	(void)printf("}\n");
	(void)fflush(stdout);

	(void)fprintf(stderr, "%-24s %12.2f %-12s", a->name, median, a->unit);
	if (has_floor)
		(void)fprintf(stderr, " floor %10.2f  x %5.3f", a->floor, ratio);
	else
		(void)fprintf(stderr, "%26s", "");
	if (has_limit)
		(void)fprintf(stderr, "  %s %10.2f %-4s", a->is_least ? "least" : "limit", a->limit,
			      is_ok         ? "ok"
			      : a->is_least ? "UNDER"
					    : "OVER");
	else
		(void)fprintf(stderr, "%23s", "");
	(void)fprintf(stderr, "  min %10.2f  p99 %10.2f  n %zu\n", min, p99, series->count);
}

void mote__bench_report_value(const struct mote__bench_answer *answer, double value)
{
	struct mote__bench_series series = {.value = &value, .count = 1, .capacity = 1};
	mote__bench_report(answer, &series);
}

/* ---- objects --------------------------------------------------------------------------------- */

static int nop(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	(void)cookie;
	(void)arguments;
	return mote_reply_i32(reply, 0);
}

static int nothing(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	(void)cookie;
	(void)arguments;
	(void)reply;
	return 0;
}

/* The Lua guest asks for the last three and does not call them here. */
static void add_functions(mote_host *host)
{
	static const char what[] = "host function";
	struct mote_error err = {0};
	mote__bench_check(MOTE_HOST_ADD(host, "nop", nop, NULL, &err, MOTE_I32), &err, what);
	mote__bench_check(
		MOTE_HOST_ADD(host, "kv_get", nothing, NULL, &err, MOTE_STRING, MOTE_STRING), &err,
		what);
	mote__bench_check(MOTE_HOST_ADD(host, "kv_put", nothing, NULL, &err, MOTE_VOID, MOTE_STRING,
					MOTE_STRING),
			  &err, what);
	mote__bench_check(MOTE_HOST_ADD(host, "log", nothing, NULL, &err, MOTE_VOID, MOTE_STRING),
			  &err, what);
}

static void open_idle(struct mote__bench *bench)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0)
		mote__bench_skip("/dev/kvm cannot be opened");
	bench->idle_vm = ioctl(kvm, KVM_CREATE_VM, 0);
	bench->idle_vcpu = bench->idle_vm < 0 ? -1 : ioctl(bench->idle_vm, KVM_CREATE_VCPU, 0);
	(void)close(kvm);
	if (bench->idle_vcpu < 0)
		mote__bench_fail("a virtual machine cannot be made");
}

void mote__bench_open_engine(struct mote__bench *bench, uint32_t pool_max)
{
	const struct mote_engine_options options = {.size = sizeof options, .pool_max = pool_max};
	struct mote_error err = {0};
	*bench = (struct mote__bench){0};
	(void)mote__bench_pin(1);
	open_idle(bench);
	mote__bench_check(mote_engine_create(&options, &bench->engine, &err), &err, "engine");
	mote__bench_check(mote_host_create(&bench->host, &err), &err, "host");
	add_functions(bench->host);
}

void mote__bench_open(struct mote__bench *bench, const char *directory, const char *guest,
		      const struct mote_snapshot_options *options)
{
	struct mote_error err = {0};
	char path[4096];
	mote__bench_open_engine(bench, MOTE_POOL_NONE);
	(void)snprintf(path, sizeof path, "%s/%s", directory, guest);
	mote__bench_check(mote_snapshot_from_file(path, options, &bench->snapshot, &err), &err,
			  path);
	bench->sandbox = mote__bench_sandbox(bench);
}

void mote__bench_close(struct mote__bench *bench)
{
	mote_sandbox_destroy(bench->sandbox);
	mote_host_unref(bench->host);
	mote_snapshot_unref(bench->snapshot);
	mote_engine_unref(bench->engine);
	(void)close(bench->idle_vcpu);
	(void)close(bench->idle_vm);
}

mote_sandbox *mote__bench_sandbox(const struct mote__bench *bench)
{
	struct mote_error err = {0};
	mote_sandbox *sandbox = NULL;
	mote__bench_check(mote_sandbox_create(bench->engine, bench->snapshot, bench->host, NULL,
					      &sandbox, &err),
			  &err, "sandbox");
	return sandbox;
}

int32_t mote__bench_call(mote_sandbox *sandbox, const char *function, int32_t argument)
{
	struct mote_error err = {0};
	struct mote_value result;
	mote__bench_check(MOTE_CALL(sandbox, function, &result, &err, MOTE_I32, mote_i32(argument)),
			  &err, function);
	return result.i32;
}

const char *mote__bench_directory(int count, char **arguments)
{
	if (count != 2)
		mote__bench_fail("usage: %s DIRECTORY-OF-GUESTS", arguments[0]);
	return arguments[1];
}
