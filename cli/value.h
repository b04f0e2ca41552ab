/* SPDX-License-Identifier: MIT */
/* Printing values and functions of guests: readable, raw, as JSON. */
#ifndef MOTE_CLI_VALUE_H
#define MOTE_CLI_VALUE_H

#include "json.h"
#include "output.h"

/** For reading: numbers, true or false, text in mode with a line end, a hex dump of bytes; nothing
 * for void. */
void mote__value_print(FILE *out, const struct mote_value *value, enum text_mode mode);
/** Text and bytes as they are, without a line end; other types as above. */
void mote__value_write(FILE *out, const struct mote_value *value);
/** An object {"type", "value"}: bytes as hex digits, void as null. */
void mote__value_json(struct json *json, const char *key, const struct mote_value *value);

/** Such as "i32 add(i32, i32)". */
void mote__function_print(FILE *out, const struct mote_function *function);
void mote__function_json(struct json *json, const struct mote_function *function);

#endif
