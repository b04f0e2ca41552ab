/* SPDX-License-Identifier: MIT */
/*
 * Random programs of snapshots, restores and forks against a model (tests/lib/algebra.h). A program
 * runs in a process of its own; one that fails is reduced: operations go while it still fails.
 * MOTE_MODEL_SEED: the seed, else a random one. MOTE_MODEL_PROGRAMS: how many, default 300.
 */
#define _GNU_SOURCE
#include "algebra.h"
#include "check.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define OPERATIONS       200u
#define REDUCE_SECONDS   100
#define PROGRAMS_DEFAULT 300u

static bool is_child;

/* A failure in a child ends it. */
_Noreturn void __real_check_failed(const char *file, int line, const char *format, ...);
_Noreturn void __wrap_check_failed(const char *file, int line, const char *format, ...);
_Noreturn void __wrap_check_failed(const char *file, int line, const char *format, ...)
{
	char text[1024];
	va_list arguments;
	va_start(arguments, format);
	(void)vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	if (!is_child)
		__real_check_failed(file, line, "%s", text);
	printf("# %s:%d: operation %zu: %s\n", file, line, algebra_at, text);
	fflush(stdout);
	_exit(1);
}

/* Whether a program holds. */
static bool holds(const struct algebra_op *program, size_t count, bool is_quiet)
{
	int status = 0;
	fflush(stdout);
	pid_t child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		is_child = true;
		if (is_quiet) {
			int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
			(void)dup2(null, 1);
			(void)dup2(null, 2);
			(void)close(null);
		}
		(void)alarm(30);
		algebra_run(program, count);
		fflush(stdout);
		_exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child);
	if (!is_quiet && WIFSIGNALED(status))
		check_note("ended by signal %d", WTERMSIG(status));
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* Drop runs of operations, shorter ones every time, while the program still fails. Bounded: one
 * that does not end takes its time. */
static size_t reduce(struct algebra_op *program, size_t count)
{
	struct algebra_op fewer[OPERATIONS];
	const time_t end = time(NULL) + REDUCE_SECONDS;
	for (size_t run = count / 2; run > 0; run /= 2)
		for (size_t at = 0; at + run <= count && time(NULL) < end;) {
			memcpy(fewer, program, at * sizeof *program);
			memcpy(fewer + at, program + at + run,
			       (count - at - run) * sizeof *program);
			if (holds(fewer, count - run, true)) {
				at += run;
			} else {
				count -= run;
				memcpy(program, fewer, count * sizeof *program);
			}
		}
	return count;
}

static void report(struct algebra_op *program, size_t count, uint64_t seed)
{
	check_note("MOTE_MODEL_SEED=%llu MOTE_MODEL_PROGRAMS=1 fails:", (unsigned long long)seed);
	(void)holds(program, count, false);
	check_note("reduced:");
	count = reduce(program, count);
	for (size_t i = 0; i < count; i++) {
		char text[80];
		algebra_describe(&program[i], text, sizeof text);
		check_note("%s,", text);
	}
	(void)holds(program, count, false);
}

/* What is done often. */
static const uint8_t weights[ALGEBRA_KINDS] = {
	[ALGEBRA_GUEST] = 36, [ALGEBRA_WRITE] = 12,  [ALGEBRA_TAKE] = 14,   [ALGEBRA_RESTORE] = 26,
	[ALGEBRA_FORK] = 10,  [ALGEBRA_FLATTEN] = 4, [ALGEBRA_DESTROY] = 3, [ALGEBRA_UNREF] = 3,
	[ALGEBRA_POISON] = 3, [ALGEBRA_POOL] = 3,    [ALGEBRA_CHAIN] = 1,   [ALGEBRA_MAP] = 5,
};

static uint8_t choose(uint64_t *state)
{
	unsigned total = 0;
	for (unsigned i = 0; i < ALGEBRA_KINDS; i++)
		total += weights[i];
	uint64_t at = check_random(state) % total;
	uint8_t what = 0;
	for (; at >= weights[what]; what++)
		at -= weights[what];
	return what;
}

static bool has_page(uint8_t what)
{
	return what == ALGEBRA_GUEST || what == ALGEBRA_WRITE || what == ALGEBRA_POISON;
}

/* Programs that use few sandboxes, snapshots and pages do more: what one reads, another writes. */
static void narrow(struct algebra_op *op, bool is_narrow, uint64_t bits)
{
	const uint8_t slots = is_narrow ? 2 : 4, base = 3;
	switch (op->what) {
	case ALGEBRA_TAKE:
	case ALGEBRA_CHAIN:
	case ALGEBRA_UNREF:
		op->b %= slots;
		break;
	case ALGEBRA_FLATTEN:
		op->a %= (uint8_t)(base + slots);
		op->b %= slots;
		break;
	case ALGEBRA_FORK:
		/* Most have all the memory they want. */
		op->c |= bits & 3 ? 2 : 0;
		op->b %= (uint8_t)(base + slots);
		break;
	case ALGEBRA_RESTORE:
	case ALGEBRA_POOL:
		op->b %= (uint8_t)(base + slots);
		break;
	default:
		break;
	}
}

static void generate(struct algebra_op *program, uint64_t seed)
{
	uint64_t state = seed | 1;
	const bool is_narrow = check_random(&state) >> 8 & 1;
	const unsigned first = (unsigned)(check_random(&state) >> 8) % 100;
	const struct algebra_op *last = NULL;
	for (size_t i = 0; i < OPERATIONS; i++) {
		struct algebra_op *op = &program[i];
		const uint64_t bits = check_random(&state) >> 8;
		*op = (struct algebra_op){choose(&state), (uint8_t)(bits & (is_narrow ? 1 : 3)),
					  (uint8_t)(bits >> 8), (uint8_t)(bits >> 16)};
		if (i < 3)
			*op = (struct algebra_op){ALGEBRA_FORK, (uint8_t)i, (uint8_t)(bits % 3), 2};
		narrow(op, is_narrow, bits >> 24);
		if (!has_page(op->what))
			continue;
		if (bits >> 26 & 1)
			op->b = (uint8_t)(first + op->b % 6);
		if (last && bits >> 27 & 1) {
			op->a = last->a;
			op->b = last->b;
		}
		last = op;
	}
}

static uint64_t number(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);
	return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

TEST(model__random_programs_hold)
{
	static struct algebra_op program[OPERATIONS];
	uint64_t seed = 0;
	CHECK(getrandom(&seed, sizeof seed, 0) == (ssize_t)sizeof seed);
	seed = number("MOTE_MODEL_SEED", seed);
	uint64_t programs = number("MOTE_MODEL_PROGRAMS", PROGRAMS_DEFAULT);
	check_note("seed %llu, %llu programs of %u operations", (unsigned long long)seed,
		   (unsigned long long)programs, OPERATIONS);
	for (uint64_t i = 0; i < programs; i++) {
		generate(program, seed + 2 * i);
		if (holds(program, OPERATIONS, true))
			continue;
		report(program, OPERATIONS, seed + 2 * i);
		check_failed(__FILE__, __LINE__, "a program failed");
	}
}

/* ---- programs that failed once --------------------------------------------------------------- */

#define HOLDS(...)                                                                 \
	do {                                                                       \
		static const struct algebra_op program_[] = {__VA_ARGS__};         \
		CHECK(holds(program_, sizeof program_ / sizeof *program_, false)); \
	} while (0)

/* A page that another sandbox wrote comes to the write set while this one's processor still knows
 * where the snapshot has it. */
TEST(model__a_host_write_to_a_learned_page_is_seen)
{
	HOLDS({ALGEBRA_FORK, 0, 0, 0x02}, {ALGEBRA_GUEST, 0, 15, 0xC1}, {ALGEBRA_TAKE, 0, 0, 0},
	      {ALGEBRA_FORK, 0, 3, 0x02}, {ALGEBRA_FORK, 1, 3, 0x02}, {ALGEBRA_GUEST, 1, 15, 0x00},
	      {ALGEBRA_GUEST, 0, 15, 0x21}, {ALGEBRA_RESTORE, 0, 3, 0}, {ALGEBRA_RESTORE, 1, 3, 0},
	      {ALGEBRA_WRITE, 1, 15, 0x80}, {ALGEBRA_GUEST, 1, 15, 0x00});
}

TEST(model__filling_evicts_no_shell_of_the_same_snapshot)
{
	HOLDS({ALGEBRA_POOL, 0, 0, 0x22}, {ALGEBRA_POOL, 0, 1, 0x12}, {ALGEBRA_POOL, 0, 0, 0x32},
	      {ALGEBRA_POOL, 0, 2, 0x12}, {ALGEBRA_POOL, 0, 0, 0x32}, {ALGEBRA_POOL, 0, 1, 0x22});
}

TEST(model__a_shell_has_no_more_of_the_write_set_than_its_owner_may_have)
{
	HOLDS({ALGEBRA_FORK, 3, 65, 0xa9}, {ALGEBRA_GUEST, 3, 78, 0x9d}, {ALGEBRA_TAKE, 3, 6, 0xf2},
	      {ALGEBRA_FORK, 4, 217, 0x75}, {ALGEBRA_TAKE, 4, 221, 0x99},
	      {ALGEBRA_FORK, 0, 158, 0xe6}, {ALGEBRA_RESTORE, 6, 160, 0xe7},
	      {ALGEBRA_GUEST, 6, 50, 0x36}, {ALGEBRA_FORK, 6, 9, 0xf8},
	      {ALGEBRA_GUEST, 0, 151, 0x29});
}

TEST(model__a_switch_leaves_nothing_of_another_layout)
{
	HOLDS({ALGEBRA_FORK, 0, 0, 0x02}, {ALGEBRA_RESTORE, 0, 1, 0}, {ALGEBRA_RESTORE, 0, 0, 0});
}

TEST(model__a_replaced_machine_has_no_mappings)
{
	HOLDS({ALGEBRA_FORK, 0, 0, 0x02}, {ALGEBRA_MAP, 0, 1, 0x81}, {ALGEBRA_POISON, 0, 1, 0x80},
	      {ALGEBRA_RESTORE, 0, 0, 0}, {ALGEBRA_MAP, 0, 0, 0x02}, {ALGEBRA_RESTORE, 0, 0, 0});
}

TEST(model__a_host_write_to_a_page_that_was_read_is_seen)
{
	HOLDS({ALGEBRA_FORK, 0, 0, 0x02}, {ALGEBRA_GUEST, 0, 15, 0x00},
	      {ALGEBRA_WRITE, 0, 15, 0x80}, {ALGEBRA_GUEST, 0, 15, 0x00});
}
