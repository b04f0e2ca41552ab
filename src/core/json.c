/* SPDX-License-Identifier: MIT */
/*
 * One pass without recursion: a bit for each open array or object says which of the two it is.
 * Bytes above ASCII can only stand in strings, so the text is checked as UTF-8 beforehand.
 */
#include "core/json.h"

#include <stdint.h>
#include <string.h>

#include "core/utf8.h"

struct parser {
	const char *at, *end;
	uint64_t objects; /* bit i: level i is an object, not an array */
	unsigned depth;
};

_Static_assert(MOTE__JSON_MAX_DEPTH <= 64, "a bit of parser.objects for each level");

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_hex_digit(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool skip(struct parser *parser, char c)
{
	if (parser->at == parser->end || *parser->at != c)
		return false;
	parser->at++;
	return true;
}

static bool skip_one_of(struct parser *parser, const char *set)
{
	for (; *set; set++)
		if (skip(parser, *set))
			return true;
	return false;
}

static bool skip_word(struct parser *parser, const char *word)
{
	size_t len = strlen(word);
	if ((size_t)(parser->end - parser->at) < len || memcmp(parser->at, word, len) != 0)
		return false;
	parser->at += len;
	return true;
}

static void skip_space(struct parser *parser)
{
	while (skip_one_of(parser, " \n\t\r"))
		;
}

static bool skip_digits(struct parser *parser)
{
	const char *start = parser->at;
	while (parser->at < parser->end && is_digit(*parser->at))
		parser->at++;
	return parser->at != start;
}

static bool skip_number(struct parser *parser)
{
	(void)skip(parser, '-');
	if (!skip(parser, '0') && !skip_digits(parser))
		return false;
	if (skip(parser, '.') && !skip_digits(parser))
		return false;
	if (skip_one_of(parser, "eE")) {
		(void)skip_one_of(parser, "+-");
		return skip_digits(parser);
	}
	return true;
}

static bool skip_escape(struct parser *parser)
{
	if (!skip(parser, 'u'))
		return skip_one_of(parser, "\"\\/bfnrt");
	for (int i = 0; i < 4; i++, parser->at++)
		if (parser->at == parser->end || !is_hex_digit(*parser->at))
			return false;
	return true;
}

static bool skip_string(struct parser *parser)
{
	if (!skip(parser, '"'))
		return false;
	while (parser->at < parser->end) {
		char c = *parser->at++;
		if (c == '"')
			return true;
		if ((unsigned char)c < 0x20)
			return false;
		if (c == '\\' && !skip_escape(parser))
			return false;
	}
	return false;
}

/* A name and its colon. */
static bool skip_name(struct parser *parser)
{
	skip_space(parser);
	if (!skip_string(parser))
		return false;
	skip_space(parser);
	return skip(parser, ':');
}

static bool skip_scalar(struct parser *parser)
{
	if (parser->at == parser->end)
		return false;
	switch (*parser->at) {
	case '"':
		return skip_string(parser);
	case 't':
		return skip_word(parser, "true");
	case 'f':
		return skip_word(parser, "false");
	case 'n':
		return skip_word(parser, "null");
	default:
		return skip_number(parser);
	}
}

static bool is_in_object(const struct parser *parser)
{
	return parser->objects >> (parser->depth - 1) & 1;
}

static bool close_level(struct parser *parser)
{
	if (!skip(parser, is_in_object(parser) ? '}' : ']'))
		return false;
	parser->depth--;
	return true;
}

/* What may follow a value: the ends of levels, then a comma and, in an object, the next name. False
 * at anything else; the text is valid then if it is at its end and no level is open. */
static bool skip_to_next_value(struct parser *parser)
{
	do {
		skip_space(parser);
		if (parser->depth == 0)
			return false;
	} while (close_level(parser));
	return skip(parser, ',') && (!is_in_object(parser) || skip_name(parser));
}

/* The start of an array or object. *has_value: its first value is next; else it was empty. */
static bool open_level(struct parser *parser, bool is_object, bool *has_value)
{
	if (parser->depth == MOTE__JSON_MAX_DEPTH)
		return false;
	uint64_t bit = UINT64_C(1) << parser->depth++;
	parser->objects = is_object ? parser->objects | bit : parser->objects & ~bit;
	skip_space(parser);
	*has_value = !close_level(parser);
	return !*has_value || !is_object || skip_name(parser);
}

/* A scalar, an empty array or object, or the start of another one. */
static bool skip_value(struct parser *parser, bool *has_value)
{
	skip_space(parser);
	bool is_object = skip(parser, '{');
	if (is_object || skip(parser, '['))
		return open_level(parser, is_object, has_value);
	*has_value = false;
	return skip_scalar(parser);
}

bool mote__json_is_valid(const char *text, size_t len)
{
	if (len == 0 || !mote__utf8_is_valid(text, len))
		return false;
	struct parser parser = {.at = text, .end = text + len};
	bool has_value = true;
	while (has_value || skip_to_next_value(&parser))
		if (!skip_value(&parser, &has_value))
			return false;
	return parser.depth == 0 && parser.at == parser.end;
}
