/* SPDX-License-Identifier: MIT */
/* Reading JSON of strangers: every accessor with what it takes, what it refuses, and the message.
 */
#include "store/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/sys.h"
#include "check.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct mote_error err;
static struct mote__json json;

/* From memory of just that size, so that ASan sees a byte read beyond the end. */
static struct mote__json_at open_bytes(const char *text, size_t len)
{
	char *copy = malloc(len ? len : 1);
	CHECK(copy);
	memcpy(copy, text, len);
	err = (struct mote_error){0};
	mote__json_open(&json, "doc", copy, len, &err);
	free(copy);
	return mote__json_root(&json);
}

static struct mote__json_at open_text(const char *text)
{
	return open_bytes(text, strlen(text));
}

static void close_good(void)
{
	CHECK_EQ(json.rc, MOTE_OK);
	CHECK_STR(err.message, "");
	mote__json_close(&json);
}

static void close_bad(const char *message)
{
	CHECK_STR(err.message, message);
	CHECK_EQ(json.rc, MOTE_ESTORE);
	CHECK_EQ(err.code, MOTE_ESTORE);
	mote__json_close(&json);
}

TEST(store_json__refuses_what_is_no_document)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
		{"", "doc: line 1, column 0: '[' or '{' expected near end of file"},
		{"7", "doc: line 1, column 1: '[' or '{' expected near '7'"},
		{"[]", "doc is an array, expected an object"},
		{"{\n\"a\":}", "doc: line 2, column 5: unexpected token near '}'"},
		{"{} x", "doc: line 1, column 4: end of file expected near 'x'"},
		{"{\"a\":1,\"a\":2}", "doc: line 1, column 10: duplicate object key near '\"a\"'"},
		{"{\"a\":\"\\u0000\"}", "doc: line 1, column 13: \\u0000 is not allowed "
					"without JSON_ALLOW_NUL near '\"\\u0000\"'"},
		{"{\"a\":\"\xff\"}", "doc: line 1, column 6: unable to decode byte 0xff near '\"'"},
		{"{\"a\":\"\\ud800\"}",
		 "doc: line 1, column 13: invalid Unicode '\\uD800' near '\"\\ud800\"'"},
		{"{\"a\":9223372036854775808}",
		 "doc: line 1, column 24: too big integer near '9223372036854775808'"},
	};
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct mote__json_at root = open_text(cases[i].text);
		CHECK(!root.value);
		close_bad(cases[i].message);
	}
	(void)open_bytes("{\"a\":\"\0\"}", 9);
	CHECK_EQ(json.rc, MOTE_ESTORE);
	mote__json_close(&json);
	(void)open_bytes("{\"a\0b\":1}", 9);
	CHECK_EQ(json.rc, MOTE_ESTORE);
	mote__json_close(&json);
	(void)open_text("{\"a\\u0000b\":1}");
	CHECK_EQ(json.rc, MOTE_ESTORE);
	mote__json_close(&json);
}

/* before, count times unit, after. */
static void open_repeated(const char *before, const char *unit, size_t count, const char *after)
{
	size_t len = strlen(unit), used = strlen(before);
	char *text = malloc(used + len * count + strlen(after) + 1);
	CHECK(text);
	memcpy(text, before, used);
	for (size_t i = 0; i < count; i++, used += len)
		memcpy(text + used, unit, len);
	strcpy(text + used, after);
	(void)open_text(text);
	free(text);
}

TEST(store_json__refuses_what_would_take_much_memory)
{
	open_repeated("{\"a\":[[]", ",[]", 0x3FFFD, "]}");
	close_good();
	open_repeated("{\"a\":[[]", ",[]", 0x3FFFE, "]}");
	close_bad("doc: 262145 arrays and objects and 262142 commas; at most 262144, and 2097152 "
		  "together");
	open_repeated("{\"a\":[0", ",0", 0x1FFFFF, "]}");
	close_bad("doc: 2 arrays and objects and 2097151 commas; at most 262144, and 2097152 "
		  "together");
	open_repeated("{\"a\":", "[", 0x100000, "");
	close_bad("doc: more than 64 arrays and objects in each other");
	open_repeated("{\"a\":\"\\\"", "{[,", 0x100000, "\"}");
	close_good();
	open_text("{\"a\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]"
		  "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}");
	close_good();
}

TEST(store_json__paths_grow_and_are_cut_safely)
{
	struct mote__json_at root = open_text("{\"image\":{\"exports\":[{},{},{\"x\":{}}]}}");
	struct mote__json_at image = mote__json_object(&json, &root, "image");
	size_t count;
	struct mote__json_at exports = mote__json_array(&json, &image, "exports", 3, &count);
	CHECK_EQ(count, 3);
	struct mote__json_at item = mote__json_item(&json, &exports, 2);
	CHECK_STR(item.path, "image.exports[2]");
	struct mote__json_at x = mote__json_object(&json, &item, "x");
	CHECK_STR(x.path, "image.exports[2].x");
	for (int i = 0; i < 100; i++)
		x = mote__json_item(&json, &x, SIZE_MAX);
	CHECK_EQ(json.rc, MOTE_OK);
	CHECK(strlen(x.path) < sizeof x.path);
	(void)mote__json_text(&json, &item, "name", 5);
	close_bad("doc: image.exports[2].name is missing");

	char name[200];
	memset(name, 'n', sizeof name - 1);
	name[sizeof name - 1] = 0;
	root = open_text("{\"a\":{}}");
	struct mote__json_at a = mote__json_object(&json, &root, "a");
	(void)mote__json_object(&json, &a, name);
	close_bad("doc: a is missing");
}

TEST(store_json__nothing_happens_after_the_first_failure)
{
	struct mote__json_at root = open_text("{\"a\":[1],\"n\":5,\"t\":\"x\"}");
	size_t count = 7;
	CHECK_EQ(mote__json_number(&json, &root, "n", 6, 9), 6);
	uint8_t digest[MOTE_DIGEST_BYTES];
	static const char *const words[] = {"w"};
	CHECK_EQ(mote__json_number(&json, &root, "n", 2, 9), 2);
	CHECK_STR(mote__json_text(&json, &root, "t", 9), "");
	CHECK(!mote__json_has(&json, &root, "t"));
	CHECK(!mote__json_array(&json, &root, "a", 1, &count).value);
	CHECK_EQ(count, 0);
	CHECK_EQ(mote__json_choice(&json, &root, "t", words, 1), 0);
	mote__json_digest(&json, &root, "t", digest);
	mote__json_only(&json, &root, NULL, 0);
	mote__json_refuse(&json, &root, "is %s", "wrong");
	CHECK(!mote__json_root(&json).value);
	close_bad("doc: n is 5, expected a number from 6 to 9");
}

TEST(store_json__containers_have_their_types_and_bounds)
{
	struct mote__json_at root = open_text("{\"a\":[1,2],\"o\":{}}");
	size_t count;
	CHECK(mote__json_has(&json, &root, "a"));
	CHECK(!mote__json_has(&json, &root, "b"));
	(void)mote__json_object(&json, &root, "a");
	close_bad("doc: a is an array, expected an object");
	root = open_text("{\"a\":[1,2],\"o\":{}}");
	(void)mote__json_array(&json, &root, "o", 1, &count);
	close_bad("doc: o is an object, expected an array");
	root = open_text("{\"a\":[1,2],\"o\":{}}");
	(void)mote__json_array(&json, &root, "a", 1, &count);
	CHECK_EQ(count, 0);
	close_bad("doc: a has 2 values, at most 1");
	root = open_text("{\"a\":[1,2],\"o\":{}}");
	struct mote__json_at a = mote__json_array(&json, &root, "a", 2, &count);
	struct mote__json_at item = mote__json_item(&json, &a, 1);
	CHECK_EQ(mote__json_number(&json, &item, NULL, 0, 2), 2);
	(void)mote__json_text(&json, &item, "digest", 5);
	close_bad("doc: a[1] is 2, expected an object");
}

TEST(store_json__names_that_are_not_known_are_refused)
{
	static const char *const names[] = {"a", "b"};
	struct mote__json_at root = open_text("{\"b\":1,\"a\":{\"c\\n\":1}}");
	mote__json_only(&json, &root, names, 2);
	CHECK_EQ(json.rc, MOTE_OK);
	struct mote__json_at a = mote__json_object(&json, &root, "a");
	mote__json_only(&json, &a, names, 2);
	close_bad("doc: a has \"c \", which is not known");
}

/* One accessor on {"v": TEXT}. */
enum kind { NUMBER, FLAG, TEXT, ADDRESS, BYTES, CHOICE, DIGEST };

static uint64_t read_value(enum kind kind, const char *value)
{
	static const char *const words[] = {"one", "two", "three"};
	char text[512];
	uint8_t bytes[MOTE_DIGEST_BYTES];
	(void)snprintf(text, sizeof text, "{\"v\":%s}", value);
	struct mote__json_at root = open_text(text);
	switch (kind) {
	case NUMBER:
		return mote__json_number(&json, &root, "v", 3, INT64_MAX);
	case FLAG:
		return mote__json_flag(&json, &root, "v");
	case TEXT:
		return strlen(mote__json_text(&json, &root, "v", 4));
	case ADDRESS:
		return mote__json_address(&json, &root, "v");
	case BYTES:
		return mote__json_bytes(&json, &root, "v", bytes, 2);
	case CHOICE:
		return mote__json_choice(&json, &root, "v", words, 3);
	default:
		mote__json_digest(&json, &root, "v", bytes);
		return bytes[31];
	}
}

#define ZEROES "00000000000000000000000000000000000000000000000000000000000000"

TEST(store_json__values_that_are_right_are_read)
{
	static const struct {
		enum kind kind;
		const char *value;
		uint64_t wanted;
	} cases[] = {
		{NUMBER, "3", 3},
		{NUMBER, "9223372036854775807", INT64_MAX},
		{FLAG, "true", 1},
		{FLAG, "false", 0},
		{TEXT, "\"\"", 0},
		{TEXT, "\"\xc3\xa4xx\"", 4},
		{ADDRESS, "\"0x0\"", 0},
		{ADDRESS, "\"0x1f\"", 0x1F},
		{ADDRESS, "\"0xffffffffffffffff\"", UINT64_MAX},
		{BYTES, "\"\"", 0},
		{BYTES, "\"00ff\"", 2},
		{CHOICE, "\"one\"", 0},
		{CHOICE, "\"three\"", 2},
		{DIGEST, "\"sha256:" ZEROES "a7\"", 0xA7},
	};
	for (size_t i = 0; i < COUNT(cases); i++) {
		CHECK_EQ(read_value(cases[i].kind, cases[i].value), cases[i].wanted);
		close_good();
	}
}

#define HEX    "\"0x\" and 1 to 16 lower-case hexadecimal digits without leading zeroes"
#define PAIRS  "pairs of lower-case hexadecimal digits, at most 2"
#define SHA256 "\"sha256:\" and 64 lower-case hexadecimal digits"
#define RANGE  "a number from 3 to 9223372036854775807"

TEST(store_json__values_that_are_wrong_are_refused)
{
	static const struct {
		enum kind kind;
		const char *value, *message;
	} cases[] = {
		{NUMBER, "2", "is 2, expected " RANGE},
		{NUMBER, "-3", "is -3, expected " RANGE},
		{NUMBER, "3.0", "is a fraction, expected " RANGE},
		{NUMBER, "3e0", "is a fraction, expected " RANGE},
		{NUMBER, "\"3\"", "is \"3\", expected " RANGE},
		{NUMBER, "null", "is null, expected " RANGE},
		{NUMBER, "[3]", "is an array, expected " RANGE},
		{FLAG, "1", "is 1, expected true or false"},
		{FLAG, "\"true\"", "is \"true\", expected true or false"},
		{TEXT, "\"\xc3\xa4xxx\"", "has 5 bytes, at most 4"},
		{TEXT, "false", "is false, expected a string"},
		{ADDRESS, "0", "is 0, expected " HEX},
		{ADDRESS, "\"\"", "is \"\", expected " HEX},
		{ADDRESS, "\"0x\"", "is \"0x\", expected " HEX},
		{ADDRESS, "\"0x00\"", "is \"0x00\", expected " HEX},
		{ADDRESS, "\"0x1F\"", "is \"0x1F\", expected " HEX},
		{ADDRESS, "\"0X1\"", "is \"0X1\", expected " HEX},
		{ADDRESS, "\"1f\"", "is \"1f\", expected " HEX},
		{ADDRESS, "\"-0x1\"", "is \"-0x1\", expected " HEX},
		{ADDRESS, "\"0x1 \"", "is \"0x1 \", expected " HEX},
		{ADDRESS, "\"0x10000000000000000\"", "is \"0x10000000000000000\", expected " HEX},
		{BYTES, "\"0\"", "is \"0\", expected " PAIRS},
		{BYTES, "\"0g\"", "is \"0g\", expected " PAIRS},
		{BYTES, "\"A0\"", "is \"A0\", expected " PAIRS},
		{BYTES, "\"000000\"", "is \"000000\", expected " PAIRS},
		{BYTES, "{}", "is an object, expected " PAIRS},
		{CHOICE, "\"four\"", "is \"four\", expected one of \"one\", \"two\", \"three\""},
		{CHOICE, "true", "is true, expected one of \"one\", \"two\", \"three\""},
		{DIGEST, "\"sha256:\"", "is \"sha256:\", expected " SHA256},
		{DIGEST, "\"sha256:" ZEROES "a\"",
		 "is \"sha256:000000000000000000000000000000000000000000000000000000000\"..., "
		 "expected " SHA256},
		{DIGEST, "\"sha256:" ZEROES "A7\"",
		 "is \"sha256:000000000000000000000000000000000000000000000000000000000\"..., "
		 "expected " SHA256},
		{DIGEST, "\"sha512:00\"",
		 "is of the algorithm \"sha512\", which is not known; expected " SHA256},
		{DIGEST, "\":00\"", "is \":00\", expected " SHA256},
		{DIGEST, "\"x\"", "is \"x\", expected " SHA256},
		{DIGEST, "5", "is 5, expected " SHA256},
	};
	for (size_t i = 0; i < COUNT(cases); i++) {
		char message[512];
		(void)snprintf(message, sizeof message, "doc: v %s", cases[i].message);
		CHECK_EQ(read_value(cases[i].kind, cases[i].value),
			 cases[i].kind == NUMBER ? 3 : 0);
		close_bad(message);
	}
}

TEST(store_json__long_values_and_control_characters_do_not_spoil_messages)
{
	char value[400] = "\"";
	for (size_t i = 1; i < 300; i += 2)
		memcpy(value + i, "\xc3\xa4", 3);
	strcat(value, "\"");
	(void)read_value(ADDRESS, value);
	CHECK_HAS(err.message, "\"..., expected");
	mote__json_close(&json);
	(void)read_value(ADDRESS, "\"\\u001b[1m\\u007f\\n\"");
	CHECK_HAS(err.message, "doc: v is \" [1m  \", expected");
	mote__json_close(&json);
}

static json_t *make(int order)
{
	json_t *object = json_object(), *array = json_array();
	CHECK(mote__json_append(array, json_string("\xc3\xa4\x01/\"")));
	CHECK(mote__json_append(array, mote__json_make_address(UINT64_MAX)));
	CHECK(mote__json_append(array, json_null()));
	if (order)
		CHECK(mote__json_put(object, "b", json_integer(-5)));
	CHECK(mote__json_put(object, "a", array));
	if (!order)
		CHECK(mote__json_put(object, "b", json_integer(-5)));
	return object;
}

TEST(store_json__text_is_compact_and_sorted)
{
	for (int order = 0; order < 2; order++) {
		char *text = NULL;
		size_t len = 0;
		CHECK_EQ(mote__json_dump(make(order), &text, &len, &err), MOTE_OK);
		CHECK_STR(text, "{\"a\":[\"\xc3\xa4\\u0001/\\\"\",\"0xffffffffffffffff\",null],"
				"\"b\":-5}");
		CHECK_EQ(len, strlen(text));
		mote__free(text);
	}
}

TEST(store_json__what_could_not_be_made_is_out_of_memory)
{
	json_t *object = json_object();
	CHECK(!mote__json_put(object, "a", NULL));
	CHECK(!mote__json_put(NULL, "a", json_true()));
	CHECK(!mote__json_append(NULL, json_object()));
	json_decref(object);
	char *text = NULL;
	size_t len = 0;
	CHECK_EQ(mote__json_dump(NULL, &text, &len, &err), MOTE_ENOMEM);
	CHECK(!text);
}

TEST(store_json__any_bytes_are_read_or_refused)
{
	static const char alphabet[] = "{}[]\",:0123456789eE.+-\\utrueflsn \n\xc3\xa4\xff";
	uint64_t state = 0x6A736F6E;
	check_note("seed 0x%" PRIx64, state);
	for (int round = 0; round < 20000; round++) {
		char text[64];
		size_t len = check_random(&state) % sizeof text;
		for (size_t i = 0; i < len; i++)
			text[i] = alphabet[check_random(&state) % (sizeof alphabet - 1)];
		if (len)
			text[0] = '{';
		struct mote__json_at root = open_bytes(text, len);
		(void)mote__json_text(&json, &root, "a", 3);
		CHECK(json.rc == MOTE_OK || (json.rc == MOTE_ESTORE && err.message[0]));
		mote__json_close(&json);
	}
}
