/* SPDX-License-Identifier: MIT */
/*
 * Reading JSON that somebody else wrote, by jansson: every accessor checks type and range, fills
 * err with the document's name, the field's path and what is wrong, and does nothing once something
 * was wrong, so that a reader is a list of accessors and one look at rc. Duplicate names, NUL
 * characters and texts that are not UTF-8 are refused.
 */
#ifndef MOTE_STORE_JSON_H
#define MOTE_STORE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>
#include <mote.h>

#include "base/digest.h"

struct mote__json {
	const char *what; /* names the document in messages: "index.json" */
	json_t *root;     /* owned */
	int rc;           /* MOTE_OK until something is wrong, then what it was */
	struct mote_error *err;
};

/** A value with the path to it ("layers[2].digest"), for messages. */
struct mote__json_at {
	const json_t *value; /* borrowed; NULL: not there, or after a failure */
	char path[96];
};

/** Parse; json->rc says whether. MOTE_ESTORE with line and column, MOTE_ENOMEM. To be closed in any
 * case. */
void mote__json_open(struct mote__json *json, const char *what, const char *text, size_t len,
		     struct mote_error *err);
void mote__json_close(struct mote__json *json);
/** The whole document, which must be an object. */
struct mote__json_at mote__json_root(struct mote__json *json);
/** Fail: the field at is wrong. format goes on where "<what>: sizes.heap " ends: "is empty". Once
 * failed, does nothing. */
__attribute__((format(printf, 3, 4))) void mote__json_refuse(struct mote__json *json,
							     const struct mote__json_at *at,
							     const char *format, ...);

/** Whether object has a field of that name. */
bool mote__json_has(struct mote__json *json, const struct mote__json_at *object, const char *name);
/** Fields; they must be there and of that type. */
struct mote__json_at mote__json_object(struct mote__json *json, const struct mote__json_at *object,
				       const char *name);
/** An array of at most max values, whose number goes to *count. */
struct mote__json_at mote__json_array(struct mote__json *json, const struct mote__json_at *object,
				      const char *name, size_t max, size_t *count);
/** Value number i of an array. Accessors of fields take it as its own field with name NULL. */
struct mote__json_at mote__json_item(struct mote__json *json, const struct mote__json_at *array,
				     size_t i);
/** An integer in [min, max]; on failure min. */
uint64_t mote__json_number(struct mote__json *json, const struct mote__json_at *object,
			   const char *name, uint64_t min, uint64_t max);
bool mote__json_flag(struct mote__json *json, const struct mote__json_at *object, const char *name);
/** A string of at most max bytes; borrowed until the document is closed. On failure "". */
const char *mote__json_text(struct mote__json *json, const struct mote__json_at *object,
			    const char *name, size_t max);
/** A 64-bit number as a string "0x" and hexadecimal digits, lower case, no leading zeroes. */
uint64_t mote__json_address(struct mote__json *json, const struct mote__json_at *object,
			    const char *name);
/** Bytes as hexadecimal digits: at most max of them, whose number is returned. */
size_t mote__json_bytes(struct mote__json *json, const struct mote__json_at *object,
			const char *name, uint8_t *bytes, size_t max);
/** One of count words; its number. On failure 0. */
size_t mote__json_choice(struct mote__json *json, const struct mote__json_at *object,
			 const char *name, const char *const *words, size_t count);
/** A "sha256:..." digest. An algorithm that is not known is refused by name. */
void mote__json_digest(struct mote__json *json, const struct mote__json_at *object,
		       const char *name, uint8_t digest[MOTE_DIGEST_BYTES]);
/** Refuse fields of an object other than these. */
void mote__json_only(struct mote__json *json, const struct mote__json_at *object,
		     const char *const *names, size_t count);

/** The text of value, which is taken: compact, names sorted, so the same for the same value. Free
 * with mote__free(). value NULL (somebody could not make it): MOTE_ENOMEM. */
int mote__json_dump(json_t *value, char **text, size_t *len, struct mote_error *err);
/** "0x..." for mote__json_address(). */
json_t *mote__json_make_address(uint64_t address);
/** Put value (taken) into object; false, and value is gone, when either is NULL or memory is out.
 */
bool mote__json_put(json_t *object, const char *name, json_t *value);
bool mote__json_append(json_t *array, json_t *value);

#endif
