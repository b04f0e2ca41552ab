/* SPDX-License-Identifier: MIT */
/*
 * Printing what may come from a guest. Text is decoded as UTF-8; whatever a terminal would act on
 * or that hides text (control characters, direction marks, broken UTF-8) comes out escaped.
 */
#ifndef MOTE_CLI_OUTPUT_H
#define MOTE_CLI_OUTPUT_H

#include <mote.h>
#include <stdbool.h>
#include <stdio.h>

enum text_mode {
	TEXT_ONE_LINE, /* escape line ends and tabs too */
	TEXT_LINES,    /* keep line ends and tabs */
	TEXT_RAW,      /* as it is: for files and pipes */
};

/** TEXT_LINES for a terminal, else TEXT_RAW. */
enum text_mode mote__output_mode(FILE *out);

void mote__output_text(FILE *out, const char *data, size_t len, enum text_mode mode);
/** A NUL-terminated text on one line. */
void mote__output_name(FILE *out, const char *text);
/** The same in width columns: filled with blanks, not cut. */
void mote__output_column(FILE *out, const char *text, unsigned width);

/** True when the user's terminal understands UTF-8 (LC_CTYPE). */
bool mote__output_is_utf8(void);

struct short_text {
	char text[32];
};

/** Text, or its start and "..."; at most most bytes, which are 4 to 31. */
struct short_text mote__text_cut(const char *text, unsigned most);
/** Such as "288 KiB" or "1.5 MiB": exact, or to one decimal. */
struct short_text mote__size_text(uint64_t bytes);
/** Such as "rw-". */
struct short_text mote__access_text(uint8_t access);

/** The character at data, of len (not 0) bytes; returns its bytes, 0 where it is not UTF-8. */
size_t mote__utf8_decode(const char *data, size_t len, uint32_t *character);

/** Flush out and tell whether all of it was written; says so on standard error if not. */
bool mote__output_finish(FILE *out, const char *name);

#endif
