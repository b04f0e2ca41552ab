/* SPDX-License-Identifier: MIT */
/* Numbers as typed, below arguments.h: digits, overflow, refusals. No signs. */
#ifndef MOTE_CLI_NUMBERS_H
#define MOTE_CLI_NUMBERS_H

#include <stdbool.h>
#include <stdint.h>

struct parse_error;

enum number_result {
	NUMBER_OK = 0,
	NUMBER_BAD = 1,     /* not a number */
	NUMBER_TOO_BIG = 2, /* one, but above 2^64 - 1 */
};

/** All of text as a number: decimal, 0x, 0o or 0b. */
enum number_result mote__number_parse(const char *text, uint64_t *number);

/** Fill error with one line; returns false. */
__attribute__((format(printf, 2, 3))) bool mote__parse_fail(struct parse_error *error,
							    const char *format, ...);

#endif
