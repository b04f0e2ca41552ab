/* SPDX-License-Identifier: MIT */
/* Typed values: "i32:2", "bytes:@file". See arguments.h. */
#include "arguments.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "numbers.h"

static const struct type_name {
	const char *name;
	uint32_t type;
} type_names[] = {
	{"void", MOTE_VOID},     {"i32", MOTE_I32},   {"u32", MOTE_U32},     {"i64", MOTE_I64},
	{"u64", MOTE_U64},       {"f32", MOTE_F32},   {"f64", MOTE_F64},     {"str", MOTE_STRING},
	{"string", MOTE_STRING}, {"bool", MOTE_BOOL}, {"bytes", MOTE_BYTES},
};
#define TYPE_NAMES (sizeof type_names / sizeof type_names[0])

bool mote__parse_fail(struct parse_error *error, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	(void)vsnprintf(error->message, sizeof error->message, format, arguments);
	va_end(arguments);
	return false;
}

/** The name under which type is written; the first of its names. */
static const char *name_of(uint32_t type)
{
	for (size_t i = 0; i < TYPE_NAMES; i++)
		if (type_names[i].type == type)
			return type_names[i].name;
	return "unknown";
}

bool mote__type_parse(const char *name, uint32_t *type, struct parse_error *error)
{
	for (size_t i = 0; i < TYPE_NAMES; i++) {
		if (strcmp(type_names[i].name, name) == 0) {
			*type = type_names[i].type;
			return true;
		}
	}
	return mote__parse_fail(error,
				"\"%.60s\" is not a type: void, i32, u32, i64, u64, f32, f64, "
				"bool, str or bytes",
				name);
}

/** The type that text starts with, and where the value behind it starts. */
static bool split_prefix(const char *text, uint32_t *type, const char **rest)
{
	const char *colon = strchr(text, ':');
	if (!colon)
		return false;
	size_t len = (size_t)(colon - text);
	for (size_t i = 0; i < TYPE_NAMES; i++) {
		const char *name = type_names[i].name;
		if (strlen(name) == len && memcmp(name, text, len) == 0) {
			*type = type_names[i].type;
			*rest = colon + 1;
			return true;
		}
	}
	return false;
}

static bool parse_integer(const char *text, uint32_t type, struct mote_value *value,
			  struct parse_error *error)
{
	static const struct {
		uint32_t type;
		uint64_t most, most_negative;
		const char *range;
	} limits[] = {
		{MOTE_I32, INT32_MAX, 1ull << 31, "-2147483648 to 2147483647"},
		{MOTE_U32, UINT32_MAX, 0, "0 to 4294967295"},
		{MOTE_I64, INT64_MAX, 1ull << 63, "-9223372036854775808 to 9223372036854775807"},
		{MOTE_U64, UINT64_MAX, 0, "0 to 18446744073709551615"},
	};
	bool is_negative = *text == '-';
	const char *digits = text + (*text == '-' || *text == '+');
	uint64_t magnitude = 0;
	enum number_result result = mote__number_parse(digits, &magnitude);
	if (result == NUMBER_BAD)
		return mote__parse_fail(error, "\"%.60s\" is not a number for %s", text,
					name_of(type));
	size_t i = 0;
	while (limits[i].type != type)
		i++;
	if (result == NUMBER_TOO_BIG ||
	    magnitude > (is_negative ? limits[i].most_negative : limits[i].most))
		return mote__parse_fail(error, "%.60s is out of range for %s: %s", text,
					name_of(type), limits[i].range);
	uint64_t bits = is_negative ? 0 - magnitude : magnitude;
	switch (type) {
	case MOTE_I32:
		*value = mote_i32((int32_t)(uint32_t)bits);
		break;
	case MOTE_U32:
		*value = mote_u32((uint32_t)bits);
		break;
	case MOTE_I64:
		*value = mote_i64((int64_t)bits);
		break;
	default:
		*value = mote_u64(bits);
	}
	return true;
}

static bool parse_float(const char *text, uint32_t type, struct mote_value *value,
			struct parse_error *error)
{
	char *end = NULL;
	errno = 0;
	/* f32 is read as such: a detour over f64 would round twice. */
	float single = type == MOTE_F32 ? strtof(text, &end) : 0;
	double number = type == MOTE_F64 ? strtod(text, &end) : (double)single;
	if (*text == 0 || *end != 0 || isspace((unsigned char)*text))
		return mote__parse_fail(error, "\"%.60s\" is not a number for %s", text,
					name_of(type));
	if (errno == ERANGE && (number > 1 || number < -1))
		return mote__parse_fail(error, "%.60s is out of range for %s", text, name_of(type));
	*value = type == MOTE_F32 ? mote_f32(single) : mote_f64(number);
	return true;
}

static bool parse_bool(const char *text, struct mote_value *value, struct parse_error *error)
{
	bool is_true = strcmp(text, "true") == 0 || strcmp(text, "1") == 0;
	if (!is_true && strcmp(text, "false") != 0 && strcmp(text, "0") != 0)
		return mote__parse_fail(error, "\"%.60s\" is not a bool: true, false, 1 or 0",
					text);
	*value = mote_bool(is_true);
	return true;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool parse_hex(const char *text, struct argument *argument, struct parse_error *error)
{
	size_t len = strlen(text);
	if (len % 2 != 0)
		return mote__parse_fail(error, "hex bytes need an even number of digits, not %zu",
					len);
	uint8_t *data = malloc(len / 2 + 1);
	if (!data)
		return mote__parse_fail(error, "out of memory for %zu bytes", len / 2);
	for (size_t i = 0; i < len; i += 2) {
		int high = hex_digit(text[i]), low = hex_digit(text[i + 1]);
		if (high < 0 || low < 0) {
			free(data);
			return mote__parse_fail(error, "\"%.2s\" is not two hex digits", text + i);
		}
		data[i / 2] = (uint8_t)(high << 4 | low);
	}
	argument->owned = data;
	argument->value = mote_bytes(data, len / 2);
	return true;
}

static bool parse_bytes(const char *text, struct argument *argument, struct parse_error *error)
{
	if (strncmp(text, "hex:", 4) == 0)
		return parse_hex(text + 4, argument, error);
	if (*text == '@') {
		size_t len = 0;
		if (!mote__input_read(text + 1, &argument->owned, &len, error))
			return false;
		argument->value = mote_bytes(argument->owned, len);
		return true;
	}
	if (strncmp(text, "text:", 5) == 0)
		text += 5;
	argument->value = mote_bytes(text, strlen(text));
	return true;
}

static bool parse_as(const char *text, uint32_t type, struct argument *argument,
		     struct parse_error *error)
{
	switch (type) {
	case MOTE_I32:
	case MOTE_U32:
	case MOTE_I64:
	case MOTE_U64:
		return parse_integer(text, type, &argument->value, error);
	case MOTE_F32:
	case MOTE_F64:
		return parse_float(text, type, &argument->value, error);
	case MOTE_BOOL:
		return parse_bool(text, &argument->value, error);
	case MOTE_STRING:
		argument->value = mote_string(text);
		return true;
	case MOTE_BYTES:
		return parse_bytes(text, argument, error);
	default:
		return mote__parse_fail(error, "an argument cannot be %s", name_of(type));
	}
}

bool mote__argument_parse(const char *text, uint32_t type, struct argument *argument,
			  struct parse_error *error)
{
	*argument = (struct argument){0};
	uint32_t named = 0;
	const char *rest = text;
	bool has_prefix = split_prefix(text, &named, &rest);
	if (type == ARGUMENT_UNTYPED) {
		if (!has_prefix)
			return mote__parse_fail(
				error,
				"\"%.60s\" needs its type in front, such as i32:%.20s or str:%.20s",
				text, text, text);
		return parse_as(rest, named, argument, error);
	}
	/* A string may look like "i32:2", and bytes too: only their own prefix is one. */
	bool is_text = type == MOTE_STRING || type == MOTE_BYTES;
	if (has_prefix && named == type)
		return parse_as(rest, type, argument, error);
	if (has_prefix && !is_text)
		return mote__parse_fail(error, "\"%.60s\" is not what the function takes: %s", text,
					name_of(type));
	return parse_as(text, type, argument, error);
}

void mote__argument_free(struct argument *argument)
{
	free(argument->owned);
	*argument = (struct argument){0};
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n';
}

/** Copy the word at *from to *to, without quotes; both are behind it then. False where a quote is
 * not closed or the word is empty without quotes. */
static bool take_word(const char **from, char **to)
{
	const char *at = *from;
	char *out = *to, *end = *to; /* end: behind the last character that is not a blank */
	bool is_quoted = false, had_quote = false;
	while (is_blank(*at))
		at++;
	for (; *at && (is_quoted || (*at != ',' && *at != ')')); at++) {
		if (*at == '"') {
			is_quoted = !is_quoted;
			had_quote = true;
			end = out;
			continue;
		}
		if (is_quoted && *at == '\\' && at[1])
			at++;
		*out++ = *at;
		if (is_quoted || !is_blank(*at))
			end = out;
	}
	*from = at;
	bool is_word = !is_quoted && (had_quote || end > *to);
	*end = 0;
	*to = end + 1;
	return is_word;
}

/** The words from behind the parenthesis to its partner, which ends the text. */
static bool take_words(const char *text, struct phrase *phrase, char *room,
		       struct parse_error *error)
{
	const char *at = text + strspn(text, " \t\n");
	bool is_over = *at == ')';
	while (!is_over) {
		if (phrase->count == MOTE_MAX_PARAMETERS)
			return mote__parse_fail(error, "more than %d arguments",
						MOTE_MAX_PARAMETERS);
		phrase->words[phrase->count++] = room;
		bool is_word = take_word(&at, &room);
		if (*at == 0)
			return mote__parse_fail(error,
						"a quote or the parenthesis of %.60s is not closed",
						phrase->name);
		if (!is_word)
			return mote__parse_fail(error,
						"argument %d of %.60s is empty; an empty text is "
						"\"\"",
						phrase->count, phrase->name);
		is_over = *at == ')';
		at += !is_over;
	}
	at++; /* the parenthesis */
	at += strspn(at, " \t\n");
	if (*at)
		return mote__parse_fail(error, "\"%.60s\" behind the call of %.60s", at,
					phrase->name);
	return true;
}

bool mote__phrase_parse(const char *text, struct phrase *phrase, struct parse_error *error)
{
	*phrase = (struct phrase){0};
	size_t len = strcspn(text, "("), size = strlen(text) + 1;
	if (len == 0)
		return mote__parse_fail(error, "\"%.60s\" names no function", text);
	/* The name, and room for words: none is longer than its text with what ends it. */
	phrase->text = malloc(len + 1 + size);
	if (!phrase->text)
		return mote__parse_fail(error, "out of memory");
	phrase->name = phrase->text;
	memcpy(phrase->name, text, len);
	phrase->name[len] = 0;
	if (!text[len] || take_words(text + len + 1, phrase, phrase->text + len + 1, error))
		return true;
	mote__phrase_free(phrase);
	return false;
}

void mote__phrase_free(struct phrase *phrase)
{
	free(phrase->text);
	*phrase = (struct phrase){0};
}

static bool read_all(FILE *file, const char *path, void **data, size_t *len,
		     struct parse_error *error)
{
	size_t capacity = 65536, used = 0;
	uint8_t *bytes = malloc(capacity);
	while (bytes) {
		used += fread(bytes + used, 1, capacity - used, file);
		if (used < capacity)
			break;
		uint8_t *larger = NULL;
		if (capacity < ARGUMENT_MAX_FILE_BYTES)
			larger = realloc(bytes, capacity * 2);
		if (!larger)
			free(bytes);
		bytes = larger;
		capacity *= 2;
	}
	if (!bytes)
		return mote__parse_fail(error, "%.100s: larger than memory or %llu bytes", path,
					ARGUMENT_MAX_FILE_BYTES - 1);
	if (ferror(file)) {
		free(bytes);
		return mote__parse_fail(error, "%.100s: %s", path, strerror(errno));
	}
	*data = bytes;
	*len = used;
	return true;
}

bool mote__input_read(const char *path, void **data, size_t *len, struct parse_error *error)
{
	if (strcmp(path, "-") == 0)
		return read_all(stdin, "standard input", data, len, error);
	FILE *file = fopen(path, "rb");
	if (!file)
		return mote__parse_fail(error, "%.100s: %s", path, strerror(errno));
	bool is_read = read_all(file, path, data, len, error);
	(void)fclose(file);
	return is_read;
}
