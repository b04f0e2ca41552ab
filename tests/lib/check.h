/* SPDX-License-Identifier: MIT */
/*
 * The test harness: a test is a function found through a linker section; a program of tests prints
 * TAP 13 on standard output and exits with 0 (all passed or skipped), 1 (some failed).
 *
 *	TEST(elf__refuses_a_truncated_header)
 *	{
 *		CHECK(rc == MOTE_EIMAGE);
 *		CHECK_STR(err.message, "...");
 *	}
 *
 * A failing CHECK prints where and what, ends the test at once and lets the others run.
 * Link with tests/lib/check.c, which has main(). Arguments: names (substrings) of the tests to run.
 */
#ifndef MOTE_TESTS_CHECK_H
#define MOTE_TESTS_CHECK_H

#include <stdint.h>
#include <string.h>

struct check_test {
	const char *name;
	void (*run)(void);
};

#define TEST(what)                                                                              \
	static void test_##what(void);                                                          \
	static const struct check_test check_entry_##what __attribute__((                       \
		used, section("check_tests"), aligned(sizeof(void *)))) = {#what, test_##what}; \
	static void test_##what(void)

_Noreturn void check_failed(const char *file, int line, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/** End the running test as skipped, with the reason. */
_Noreturn void check_skip(const char *format, ...) __attribute__((format(printf, 1, 2)));
/** Print a note (a TAP comment), for example the seed of a random test. */
void check_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define CHECK(condition)                                                    \
	do {                                                                \
		if (!(condition))                                           \
			check_failed(__FILE__, __LINE__, "%s", #condition); \
	} while (0)

#define CHECK_EQ(a, b)                                                                            \
	do {                                                                                      \
		long long check_a = (long long)(a), check_b = (long long)(b);                     \
		if (check_a != check_b)                                                           \
			check_failed(__FILE__, __LINE__,                                          \
				     "%s == %s: %lld (0x%llx) != %lld (0x%llx)", #a, #b, check_a, \
				     (unsigned long long)check_a, check_b,                        \
				     (unsigned long long)check_b);                                \
	} while (0)

#define CHECK_STR(a, b)                                                                           \
	do {                                                                                      \
		const char *check_a = (a), *check_b = (b);                                        \
		if (strcmp(check_a, check_b) != 0)                                                \
			check_failed(__FILE__, __LINE__, "%s is \"%s\", not \"%s\"", #a, check_a, \
				     check_b);                                                    \
	} while (0)

/** text contains part. */
#define CHECK_HAS(text, part)                                                                   \
	do {                                                                                    \
		const char *check_a = (text), *check_b = (part);                                \
		if (!strstr(check_a, check_b))                                                  \
			check_failed(__FILE__, __LINE__, "%s is \"%s\", without \"%s\"", #text, \
				     check_a, check_b);                                         \
	} while (0)

#define CHECK_MEM(a, b, len) CHECK(memcmp((a), (b), (len)) == 0)

/** A reproducible generator for random tests (xorshift64*). */
static inline uint64_t check_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545F4914F6CDD1Dull;
}

#endif
