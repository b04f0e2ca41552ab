/* SPDX-License-Identifier: MIT */
/* JSON, written as it comes. See json.h. */
#include "json.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "output.h"

static void put_string(FILE *out, const char *data, size_t len)
{
	(void)fputc('"', out);
	for (size_t at = 0; at < len;) {
		uint32_t c = 0;
		size_t bytes = mote__utf8_decode(data + at, len - at, &c);
		if (bytes == 0) {
			(void)fputs("\\ufffd", out);
			bytes = 1;
		} else if (c == '"' || c == '\\') {
			(void)fprintf(out, "\\%c", (char)c);
		} else if (c == '\n') {
			(void)fputs("\\n", out);
		} else if (c < 0x20 || (c >= 0x7F && c < 0xA0)) {
			(void)fprintf(out, "\\u%04x", (unsigned)c);
		} else {
			(void)fwrite(data + at, 1, bytes, out);
		}
		at += bytes;
	}
	(void)fputc('"', out);
}

/** What goes before any value: a comma and the key. */
static void start(struct json *json, const char *key)
{
	if (json->depth > 0) {
		if (json->level[json->depth - 1].has_items)
			(void)fputc(',', json->out);
		json->level[json->depth - 1].has_items = true;
	}
	if (key) {
		put_string(json->out, key, strlen(key));
		(void)fputc(':', json->out);
	}
}

static void open_level(struct json *json, const char *key, char opening, char closing)
{
	assert(json->depth < JSON_MAX_DEPTH);
	start(json, key);
	(void)fputc(opening, json->out);
	json->level[json->depth].has_items = false;
	json->level[json->depth].closing = closing;
	json->depth++;
}

void mote__emit_object(struct json *json, const char *key)
{
	open_level(json, key, '{', '}');
}

void mote__emit_array(struct json *json, const char *key)
{
	open_level(json, key, '[', ']');
}

void mote__emit_end(struct json *json)
{
	assert(json->depth > 0);
	json->depth--;
	(void)fputc(json->level[json->depth].closing, json->out);
	if (json->depth == 0)
		(void)fputc('\n', json->out);
}

void mote__emit_text_of(struct json *json, const char *key, const char *data, size_t len)
{
	start(json, key);
	put_string(json->out, data, len);
}

void mote__emit_text(struct json *json, const char *key, const char *text)
{
	mote__emit_text_of(json, key, text, strlen(text));
}

void mote__emit_u64(struct json *json, const char *key, uint64_t number)
{
	start(json, key);
	(void)fprintf(json->out, "%" PRIu64, number);
}

void mote__emit_i64(struct json *json, const char *key, int64_t number)
{
	start(json, key);
	(void)fprintf(json->out, "%" PRId64, number);
}

void mote__emit_f64(struct json *json, const char *key, double number, int digits)
{
	if (isnan(number)) {
		mote__emit_text(json, key, "nan");
	} else if (isinf(number)) {
		mote__emit_text(json, key, number > 0 ? "inf" : "-inf");
	} else {
		start(json, key);
		(void)fprintf(json->out, "%.*g", digits, number);
	}
}

void mote__emit_bool(struct json *json, const char *key, bool is_true)
{
	start(json, key);
	(void)fputs(is_true ? "true" : "false", json->out);
}

void mote__emit_null(struct json *json, const char *key)
{
	start(json, key);
	(void)fputs("null", json->out);
}

void mote__emit_address(struct json *json, const char *key, uint64_t address)
{
	start(json, key);
	(void)fprintf(json->out, "\"0x%" PRIx64 "\"", address);
}

void mote__emit_hex(struct json *json, const char *key, const void *data, size_t len)
{
	const uint8_t *bytes = data;
	start(json, key);
	(void)fputc('"', json->out);
	for (size_t i = 0; i < len; i++)
		(void)fprintf(json->out, "%02x", bytes[i]);
	(void)fputc('"', json->out);
}
