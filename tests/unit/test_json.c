/* SPDX-License-Identifier: MIT */
/* JSON: every rule of RFC 8259 kept and broken, the limit of depth, cut and changed texts. */
#include "core/json.h"

#include <stdlib.h>

#include "check.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* In memory of just that size, so that ASan sees a byte read beyond the end. */
static bool is_valid(const char *text, size_t len)
{
	char *copy = malloc(len ? len : 1);
	CHECK(copy);
	memcpy(copy, text, len);
	bool result = mote__json_is_valid(copy, len);
	free(copy);
	return result;
}

static void check_all(const char *const *texts, size_t count, bool wanted)
{
	for (size_t i = 0; i < count; i++)
		if (is_valid(texts[i], strlen(texts[i])) != wanted)
			check_failed(__FILE__, __LINE__, "%s: %s", wanted ? "refused" : "accepted",
				     texts[i]);
}

TEST(json__accepts_any_value_at_the_top)
{
	static const char *const good[] = {
		"{}",   "[]",    "\"\"", "0",       "true",       "false",
		"null", "\"a\"", "-1",   " null\n", "\t[ ]\r\n ", " { } ",
	};
	check_all(good, COUNT(good), true);
}

TEST(json__accepts_arrays_and_objects)
{
	static const char *const good[] = {
		"[1]",
		"[1,2,3]",
		"[[]]",
		"[[],[[]],{}]",
		"[ 1 , [ 2 ] , { \"a\" : 3 } ]",
		"{\"a\":1}",
		"{\"a\":1,\"b\":[{}]}",
		"{\"a\":1,\"a\":2}",
		"{\"\":0}",
		" { \"a\" : { \"b\" : [ ] } , \"c\" : null } ",
		"[{},{\"x\":[[],{}]},1]",
		"{\"a\":{},\"b\":{}}",
	};
	check_all(good, COUNT(good), true);
}

TEST(json__refuses_broken_arrays_and_objects)
{
	static const char *const bad[] = {
		"",
		" ",
		"[",
		"]",
		"{",
		"}",
		",",
		":",
		"[1,]",
		"[,1]",
		"[,]",
		"[1 2]",
		"[1,,2]",
		"[1}",
		"{]",
		"[}",
		"[1:2]",
		"{\"a\"}",
		"{\"a\":}",
		"{\"a\",1}",
		"{:1}",
		"{1:1}",
		"{a:1}",
		"{'a':1}",
		"{null:1}",
		"{\"a\":1,}",
		"{,\"a\":1}",
		"{\"a\":1,,\"b\":2}",
		"{\"a\":1 \"b\":2}",
		"{\"a\":1,2}",
		"{\"a\"::1}",
		"{\"a\":1]",
		"[]]",
		"{}}",
		"[[]",
		"[] []",
		"1 2",
		"{}x",
		"[\"a\" \"b\"]",
		"[{\"a\":1},\"b\":2]",
		"{\"a\":[1,\"b\":2]}",
		"{\"a\":{},2}",
		"[1,/* no */2]",
		"[1] // no",
		"# no\n1",
		"\v1",
		"\f1",
		"(1)",
		"undefined",
	};
	check_all(bad, COUNT(bad), false);
}

TEST(json__accepts_numbers)
{
	static const char *const good[] = {
		"-0",   "0.0",  "10",        "1234567890123456789012345678901234567890",
		"-12",  "1.5",  "0.25",      "1e5",
		"1E5",  "1e+5", "1e-5",      "0e0",
		"1e00", "-0.0", "1.25E-017", "1e999999",
	};
	check_all(good, COUNT(good), true);
}

TEST(json__refuses_what_is_no_number)
{
	static const char *const bad[] = {
		"01",    "-01",  "00",  "-",     "+1",    ".5",         "-.5",          "1.",
		"1.e5",  "1e",   "1e+", "1E-",   "e5",    "0x10",       "1_000",        "1,000",
		"1.2.3", "1e5.", "- 1", "--1",   "NaN",   "-NaN",       "Infinity",     "-Infinity",
		"[-]",   "[1.]", "1a",  "1e5e5", "0.",    "\xD9\xA1",   "\xEF\xBC\x91", "[1e]",
		"1+2",   "inf",  "0b1", "[01]",  "[0 1]", "{\"a\":.1}",
	};
	check_all(bad, COUNT(bad), false);
}

TEST(json__refuses_other_words)
{
	static const char *const bad[] = {
		"True", "TRUE",  "tru",   "truee",  "nul", "nulll", "NULL",
		"fals", "falsy", "[tru]", "t rue",  "nil", "[nul",  "f",
		"n",    "t",     "yes",   "[true1", "a",   "'a'",   "[truefalse]",
	};
	check_all(bad, COUNT(bad), false);
}

TEST(json__accepts_strings)
{
	static const char *const good[] = {
		"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
		"\"\\u0000\"",
		"\"\\u00e9\\u00E9\\uABCD\\uabcd\"",
		"\"\\ud83d\\ude00\"",
		/* Halves of surrogate pairs, in any order. */
		"\"\\ud83d\"",
		"\"\\ude00\\ud83d\"",
		"\"\\uD800x\"",
		"\"\x7F\"",
		"\"\xC2\x80\"",
		"\"\xC3\xA9\"",
		"\"\xE2\x80\xA8\xE2\x80\xA9\"",
		"\"\xF0\x9F\x98\x80\"",
		"\"\xEF\xBB\xBF\"",
		"\"\xEF\xBF\xBF\"",
		"\"\xF4\x8F\xBF\xBF\"",
		"\"/ ' [ ] { } , : # \"",
		"\"\\\\\"",
		"{\"\\u0061\\n\xC3\xA9\":1}",
	};
	check_all(good, COUNT(good), true);
}

TEST(json__refuses_broken_strings)
{
	static const char *const bad[] = {
		"\"",
		"\"a",
		"a\"",
		"\"\\\"",
		"\"\\\\\\\"",
		"\"\\",
		"\"\\a\"",
		"\"\\v\"",
		"\"\\'\"",
		"\"\\0\"",
		"\"\\x41\"",
		"\"\\U0041\"",
		"\"\\u\"",
		"\"\\u0\"",
		"\"\\u00\"",
		"\"\\u004\"",
		"\"\\u004g\"",
		"\"\\u+041\"",
		"\"\\u 041\"",
		"\"\\u",
		"\"\\u004",
		"\"\\\n\"",
		"\"\\\xC3\xA9\"",
		"\"a\"b\"",
		"'a'",
		"\"\n\"",
		"\"\t\"",
		"\"\r\"",
		"\"\x01\"",
		"\"\x1F\"",
		"{\"a\n\":1}",
		"{\"a:1}",
		"{\"a\\\":1}",
	};
	check_all(bad, COUNT(bad), false);
}

TEST(json__refuses_control_characters_and_nul_everywhere)
{
	for (int c = 0; c < 0x20; c++) {
		char string[] = {'"', (char)c, '"'};
		char before[] = {(char)c, '1'};
		char after[] = {'1', (char)c};
		bool is_space = c == '\t' || c == '\n' || c == '\r';
		CHECK(!is_valid(string, 3));
		CHECK_EQ(is_valid(before, 2), is_space);
		CHECK_EQ(is_valid(after, 2), is_space);
	}
	CHECK(!is_valid("[1]\0", 4));
	CHECK(!is_valid("[1\0]", 4));
	CHECK(!mote__json_is_valid("", 0));
	CHECK(!mote__json_is_valid(NULL, 0));
}

TEST(json__refuses_what_is_not_utf8)
{
	static const char *const bad[] = {
		"\"\x80\"",
		"\"\xFF\"",
		"\"\xC3\"",
		"\"\xC0\x80\"",
		"\"\xC1\xBF\"",
		"\"\xE0\x80\x80\"",
		"\"\xED\xA0\x80\"",
		"\"\xED\xBF\xBF\"",
		"\"\xF0\x80\x80\x80\"",
		"\"\xF4\x90\x80\x80\"",
		"\"\xF8\x88\x80\x80\x80\"",
		"\"\xE2\x82",
		"\"\xE9\"",
		"{\"\xE9\":1}",
		"1\xFF",
		/* Byte order marks, and white space of Unicode. */
		"\xEF\xBB\xBF{}",
		"\xEF\xBB\xBF",
		"{}\xEF\xBB\xBF",
		"\xC2\xA0{}",
		"[\xE2\x80\xA8]",
		"\xC3\xA9",
		"[\xC3\xA9]",
		"\xFE\xFF",
	};
	check_all(bad, COUNT(bad), false);
	CHECK(!is_valid("\xFF\xFE[\0]\0", 6));
	CHECK(!is_valid("[\0]\0", 4));
}

/* depth levels by the pattern of kinds, with a number inside. */
static size_t nest(char *text, unsigned depth, uint64_t objects)
{
	size_t len = 0;
	for (unsigned i = 0; i < depth; i++) {
		text[len++] = objects >> i % 64 & 1 ? '{' : '[';
		if (objects >> i % 64 & 1) {
			memcpy(text + len, "\"k\":", 4);
			len += 4;
		}
	}
	text[len++] = '7';
	for (unsigned i = depth; i-- > 0;)
		text[len++] = objects >> i % 64 & 1 ? '}' : ']';
	return len;
}

TEST(json__is_64_levels_deep_at_most)
{
	static const uint64_t patterns[] = {0, UINT64_MAX, 0x5555555555555555, 0x8000000000000001};
	char text[8 * 70];
	for (size_t i = 0; i < COUNT(patterns); i++) {
		for (unsigned depth = 0; depth <= 64; depth++)
			CHECK(is_valid(text, nest(text, depth, patterns[i])));
		CHECK(!is_valid(text, nest(text, 65, patterns[i])));
		CHECK(!is_valid(text, nest(text, 70, patterns[i])));
	}
	memset(text, '[', 65);
	memset(text + 65, ']', 65);
	CHECK(!is_valid(text, 130));
	CHECK(is_valid(text + 1, 128));
}

TEST(json__counts_depth_not_how_many)
{
	enum { PAIRS = 1000 };
	static char text[5 * PAIRS + 2];
	size_t len = 0;
	text[len++] = '[';
	for (int i = 0; i < PAIRS; i++) {
		memcpy(text + len, i % 2 ? "{}, " : "[[]],", 5);
		len += i % 2 ? 4 : 5;
	}
	text[len++] = '0';
	text[len++] = ']';
	CHECK(is_valid(text, len));
}

TEST(json__closes_each_level_with_its_own_kind)
{
	uint64_t seed = 0x150;
	check_note("seed %#llx", (unsigned long long)seed);
	char text[8 * 70];
	for (int round = 0; round < 2000; round++) {
		unsigned depth = 1 + (unsigned)(check_random(&seed) % 64);
		size_t len = nest(text, depth, check_random(&seed));
		CHECK(is_valid(text, len));
		size_t at = len - 1 - check_random(&seed) % depth;
		text[at] = text[at] == ']' ? '}' : ']';
		CHECK(!is_valid(text, len));
	}
}

TEST(json__refuses_every_cut_of_an_object)
{
	static const char text[] = "{\"a\":[true,false,null,-1.5e+3],\"\\u00e9\\n\xC3\xA9\":{\"b\":"
				   "[{},[],\"\"]}}";
	size_t len = sizeof text - 1;
	CHECK(is_valid(text, len));
	for (size_t cut = 0; cut < len; cut++)
		CHECK(!is_valid(text, cut));
	for (size_t cut = 1; cut < len; cut++)
		CHECK(!is_valid(text + cut, len - cut));
}
