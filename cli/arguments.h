/* SPDX-License-Identifier: MIT */
/*
 * Reading what a user types: typed values for calls, sizes and durations. Knows no guest and no
 * virtual machine; every refusal comes with one line that names the text and what was expected.
 */
#ifndef MOTE_CLI_ARGUMENTS_H
#define MOTE_CLI_ARGUMENTS_H

#include <mote.h>
#include <stdbool.h>

/** In place of a parameter's type when the guest does not tell it: the text has to. */
#define ARGUMENT_UNTYPED UINT32_MAX

#define ARGUMENT_MAX_FILE_BYTES (1ull << 30)

struct parse_error {
	char message[256]; /* one line */
};

struct argument {
	struct mote_value value; /* strings borrow the text they were parsed from */
	void *owned;             /* bytes behind the value, or NULL */
};

/**
 * Parse text as a value of type (an enum mote_type, or ARGUMENT_UNTYPED).
 *
 * text may start with the type's name and a colon ("i32:2"); without a type it has to. Behind it:
 *   integers  decimal, 0x, 0o or 0b, with a sign
 *   floats    as strtod() reads them
 *   bool      true, false, 1, 0
 *   string    the rest, as it is
 *   bytes     hex:00ff, @file (@- is standard input), text:..., else the rest as it is
 *
 * On success argument is filled, to be freed with mote__argument_free().
 */
bool mote__argument_parse(const char *text, uint32_t type, struct argument *argument,
			  struct parse_error *error);
void mote__argument_free(struct argument *argument);

/** A call as typed in one word. */
struct phrase {
	char *text; /* what the words lie in */
	char *name;
	char *words[MOTE_MAX_PARAMETERS];
	int count; /* of words */
};

/**
 * Parse a call: "name", "name()" or "name(1, i32:2, str:three)". Words end at commas, blanks around
 * them do not count; between double quotes commas, blanks and parentheses are text, and a backslash
 * takes the next character as it is. On success phrase is to be freed with mote__phrase_free().
 */
bool mote__phrase_parse(const char *text, struct phrase *phrase, struct parse_error *error);
void mote__phrase_free(struct phrase *phrase);

/** The type that name ("i32", "str", "void", ...) means. */
bool mote__type_parse(const char *name, uint32_t *type, struct parse_error *error);

/** Bytes: "4096", "0x4000", "64K", "64M", "2GiB". Above zero. */
bool mote__size_parse(const char *text, uint64_t *bytes, struct parse_error *error);

/** Nanoseconds: "500ms", "1.5s", "20us", "2m"; "0" for none. A unit is needed. */
bool mote__duration_parse(const char *text, uint64_t *ns, struct parse_error *error);

/** A number from 1 to max. */
bool mote__count_parse(const char *text, uint64_t max, uint64_t *count, struct parse_error *error);

/** Read the file at path ("-" is standard input), at most ARGUMENT_MAX_FILE_BYTES. *data is to be
 * freed; never NULL on success. */
bool mote__input_read(const char *path, void **data, size_t *len, struct parse_error *error);

#endif
