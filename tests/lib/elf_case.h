/* SPDX-License-Identifier: MIT */
/*
 * What the tests of src/core/elf*.c share: the file being made, what the parser said about it, and
 * its exact-size copy, so that a sanitizer sees every read behind its end.
 */
#ifndef MOTE_TESTS_ELF_CASE_H
#define MOTE_TESTS_ELF_CASE_H

#include "check.h"
#include "core/elf.h"
#include "elf_maker.h"

#include <stdlib.h>

static struct elf_maker maker;
static struct mote__elf elf;
static struct mote_error err;
static uint8_t *file;

/** Parse the first len bytes of the finished file, in a block of exactly that size. */
static inline int parse_bytes(size_t len)
{
	free(file);
	file = malloc(len ? len : 1);
	memcpy(file, maker.bytes, len);
	memset(&err, 0, sizeof err);
	/* Without bytes there is no address to read from. */
	return mote__elf_parse(len ? file : NULL, len, &elf, &err);
}

static inline int parse(void)
{
	elf_maker_finish(&maker);
	return parse_bytes(maker.len);
}

#define CHECK_REFUSED(rc, part)               \
	do {                                  \
		CHECK_EQ((rc), MOTE_EIMAGE);  \
		CHECK_HAS(err.message, part); \
	} while (0)

/** Parse succeeds, else the message is shown. */
#define CHECK_PARSES()                                      \
	do {                                                \
		if (parse() != MOTE_OK)                     \
			CHECK_STR(err.message, "no error"); \
	} while (0)

#endif
