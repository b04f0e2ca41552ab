/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

extern const struct check_test __start_check_tests[], __stop_check_tests[];

enum outcome { PASSED = 0, FAILED = 1, SKIPPED = 2 };

static jmp_buf out_of_test;
static char skip_reason[256];

void check_failed(const char *file, int line, const char *format, ...)
{
	va_list arguments;
	printf("# %s:%d: ", file, line);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	printf("\n");
	longjmp(out_of_test, FAILED);
}

void check_skip(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	(void)vsnprintf(skip_reason, sizeof skip_reason, format, arguments);
	va_end(arguments);
	longjmp(out_of_test, SKIPPED);
}

void check_note(const char *format, ...)
{
	va_list arguments;
	printf("# ");
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	printf("\n");
}

static bool is_wanted(const char *name, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (strstr(name, argv[i]))
			return true;
	return argc < 2;
}

int main(int argc, char **argv)
{
	volatile unsigned number = 0, failed = 0;
	size_t count = (size_t)(__stop_check_tests - __start_check_tests);
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("TAP version 13\n");
	for (size_t i = 0; i < count; i++) {
		const struct check_test *test = &__start_check_tests[i];
		if (!is_wanted(test->name, argc, argv))
			continue;
		number++;
		switch (setjmp(out_of_test)) {
		case PASSED:
			test->run();
			printf("ok %u - %s\n", number, test->name);
			break;
		case SKIPPED:
			printf("ok %u - %s # SKIP %s\n", number, test->name, skip_reason);
			break;
		default:
			printf("not ok %u - %s\n", number, test->name);
			failed++;
		}
	}
	printf("1..%u\n", number);
	return failed ? 1 : 0;
}
