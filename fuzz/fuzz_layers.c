/* SPDX-License-Identifier: MIT */
/*
 * A program of snapshots, restores and forks: four bytes are an operation (tests/lib/algebra.h),
 * run on the test double against a model of what every page must hold.
 */
#include "algebra.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define OPERATIONS_MAX 256u

void check_failed(const char *file, int line, const char *format, ...)
{
	va_list arguments;
	fprintf(stderr, "%s:%d: operation %zu: ", file, line, algebra_at);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fprintf(stderr, "\n");
	abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct algebra_op program[OPERATIONS_MAX];
	size_t count = len / sizeof *program;
	if (count > OPERATIONS_MAX)
		count = OPERATIONS_MAX;
	memcpy(program, data, count * sizeof *program);
	algebra_run(program, count);
	return 0;
}
