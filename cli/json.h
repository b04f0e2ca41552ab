/* SPDX-License-Identifier: MIT */
/*
 * Writing JSON: one value on one line, correct by construction as to commas and escapes. Keys are
 * the program's own; every other text may be hostile, and broken UTF-8 becomes U+FFFD.
 */
#ifndef MOTE_CLI_JSON_H
#define MOTE_CLI_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define JSON_MAX_DEPTH 8

struct json {
	FILE *out;
	unsigned depth;
	struct {
		bool has_items;
		char closing;
	} level[JSON_MAX_DEPTH];
};

/* key is NULL for an element of an array and for the outermost value. */
void mote__emit_object(struct json *json, const char *key);
void mote__emit_array(struct json *json, const char *key);
/** Ends the innermost object or array; a line end follows the outermost. */
void mote__emit_end(struct json *json);

void mote__emit_text(struct json *json, const char *key, const char *text);
void mote__emit_text_of(struct json *json, const char *key, const char *data, size_t len);
void mote__emit_u64(struct json *json, const char *key, uint64_t number);
void mote__emit_i64(struct json *json, const char *key, int64_t number);
/** A number, or "nan", "inf", "-inf" as text; digits: enough to read the same number back. */
void mote__emit_f64(struct json *json, const char *key, double number, int digits);
void mote__emit_bool(struct json *json, const char *key, bool is_true);
void mote__emit_null(struct json *json, const char *key);
/** A guest address, as "0x..." text: numbers of that size do not survive every JSON reader. */
void mote__emit_address(struct json *json, const char *key, uint64_t address);
void mote__emit_hex(struct json *json, const char *key, const void *data, size_t len);

#endif
