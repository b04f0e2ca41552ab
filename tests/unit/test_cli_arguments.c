/* SPDX-License-Identifier: MIT */
/* What users type for the mote command: typed values, sizes, durations, counts, files. */
#include "../../cli/arguments.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "check.h"

#define UNTYPED ARGUMENT_UNTYPED

/** The value of text, which holds no memory of its own. */
static struct mote_value value_of(const char *text, uint32_t type)
{
	struct argument argument;
	struct parse_error error = {{0}};
	if (!mote__argument_parse(text, type, &argument, &error))
		check_failed(__FILE__, __LINE__, "\"%s\": %s", text, error.message);
	CHECK(argument.owned == NULL);
	return argument.value;
}

/** What is said against text; fails when nothing is. */
static const char *refusal_of(const char *text, uint32_t type, struct parse_error *error)
{
	struct argument argument;
	memset(error, 0, sizeof *error);
	if (mote__argument_parse(text, type, &argument, error))
		check_failed(__FILE__, __LINE__, "\"%s\" was taken", text);
	CHECK(argument.owned == NULL);
	return error->message;
}

TEST(cli_arguments__a_prefix_names_the_type)
{
	static const struct {
		const char *text;
		uint32_t type;
	} cases[] = {
		{"i32:1", MOTE_I32},     {"u32:1", MOTE_U32},       {"i64:1", MOTE_I64},
		{"u64:1", MOTE_U64},     {"f32:1", MOTE_F32},       {"f64:1", MOTE_F64},
		{"str:1", MOTE_STRING},  {"string:1", MOTE_STRING}, {"bool:1", MOTE_BOOL},
		{"bytes:1", MOTE_BYTES},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		CHECK_EQ(value_of(cases[i].text, UNTYPED).type, cases[i].type);
		CHECK_EQ(value_of(cases[i].text, cases[i].type).type, cases[i].type);
		CHECK_EQ(value_of("1", cases[i].type).type, cases[i].type);
	}
}

TEST(cli_arguments__without_a_table_a_prefix_is_needed)
{
	struct parse_error error;
	CHECK_HAS(refusal_of("2", UNTYPED, &error), "needs its type in front");
	CHECK_HAS(refusal_of("int:2", UNTYPED, &error), "needs its type in front");
	CHECK_HAS(refusal_of("", UNTYPED, &error), "needs its type in front");
	CHECK_HAS(refusal_of("void:", UNTYPED, &error), "cannot be void");
}

TEST(cli_arguments__another_prefix_than_the_parameters_is_refused)
{
	struct parse_error error;
	CHECK_HAS(refusal_of("u32:2", MOTE_I32, &error), "not what the function takes: i32");
	CHECK_HAS(refusal_of("str:true", MOTE_BOOL, &error), "not what the function takes: bool");
}

TEST(cli_arguments__a_string_keeps_what_only_looks_like_a_prefix)
{
	CHECK_STR(value_of("i32:2", MOTE_STRING).string.data, "i32:2");
	CHECK_STR(value_of("str:i32:2", MOTE_STRING).string.data, "i32:2");
	CHECK_STR(value_of("str:str:x", MOTE_STRING).string.data, "str:x");
	CHECK_STR(value_of("a:b", MOTE_STRING).string.data, "a:b");
	CHECK_EQ(value_of("", MOTE_STRING).string.len, 0);
	CHECK_EQ(value_of("str:hello", UNTYPED).string.len, 5);
}

/** The words of a phrase as one text: "name|word|word". */
static const char *words_of(const char *text)
{
	static char line[512];
	struct phrase phrase;
	struct parse_error error;
	if (!mote__phrase_parse(text, &phrase, &error))
		check_failed(__FILE__, __LINE__, "%s: %s", text, error.message);
	(void)snprintf(line, sizeof line, "%s", phrase.name);
	for (int i = 0; i < phrase.count; i++) {
		size_t len = strlen(line);
		(void)snprintf(line + len, sizeof line - len, "|%s", phrase.words[i]);
	}
	mote__phrase_free(&phrase);
	return line;
}

static const char *phrase_refusal(const char *text)
{
	static struct parse_error error;
	struct phrase phrase;
	CHECK(!mote__phrase_parse(text, &phrase, &error));
	CHECK(phrase.text == NULL);
	return error.message;
}

TEST(cli_phrase__a_name_and_words)
{
	CHECK_STR(words_of("f"), "f");
	CHECK_STR(words_of("f()"), "f");
	CHECK_STR(words_of("f( \t)  "), "f");
	CHECK_STR(words_of("add(2,3)"), "add|2|3");
	CHECK_STR(words_of("add( i32:2 ,\n-3 )"), "add|i32:2|-3");
	CHECK_STR(words_of("f(two words, x)"), "f|two words|x");
}

TEST(cli_phrase__quotes_keep_what_would_end_a_word)
{
	CHECK_STR(words_of("f(\"a, b) \", str:\"(\")"), "f|a, b) |str:(");
	CHECK_STR(words_of("f(\"\", \"\")"), "f||");
	CHECK_STR(words_of("f(\" a\\\"b\\\\\" )"), "f| a\"b\\");
	CHECK_STR(words_of("f(a\\)"), "f|a\\");
	CHECK_STR(words_of("f(\"a\"  b)"), "f|a  b");
}

TEST(cli_phrase__what_is_no_call_is_refused)
{
	CHECK_HAS(phrase_refusal(""), "names no function");
	CHECK_HAS(phrase_refusal("(1)"), "names no function");
	CHECK_HAS(phrase_refusal("f("), "not closed");
	CHECK_HAS(phrase_refusal("f(1"), "not closed");
	CHECK_HAS(phrase_refusal("f(1,"), "not closed");
	CHECK_HAS(phrase_refusal("f(\"1)"), "not closed");
	CHECK_HAS(phrase_refusal("f(\"1\\"), "not closed");
	CHECK_HAS(phrase_refusal("f(,)"), "argument 1 of f is empty");
	CHECK_HAS(phrase_refusal("f(1, )"), "argument 2 of f is empty");
	CHECK_HAS(phrase_refusal("f(1) g"), "\"g\" behind the call of f");
	CHECK_HAS(phrase_refusal("f(1))"), "\")\" behind the call of f");
}

TEST(cli_phrase__has_as_many_words_as_a_call)
{
	char text[128] = "f(1";
	for (int i = 1; i < MOTE_MAX_PARAMETERS; i++)
		strcat(text, ",1");
	strcat(text, ")");
	CHECK_EQ(strlen(words_of(text)), 1 + 2 * MOTE_MAX_PARAMETERS);
	text[strlen(text) - 1] = 0;
	strcat(text, ",1)");
	CHECK_HAS(phrase_refusal(text), "more than 32");
}

TEST(cli_arguments__integers_have_four_bases)
{
	CHECK_EQ(value_of("10", MOTE_I32).i32, 10);
	CHECK_EQ(value_of("0x1fF", MOTE_I32).i32, 0x1FF);
	CHECK_EQ(value_of("0o17", MOTE_I32).i32, 15);
	CHECK_EQ(value_of("0b101", MOTE_I32).i32, 5);
	CHECK_EQ(value_of("010", MOTE_I32).i32, 10);
	CHECK_EQ(value_of("-0x10", MOTE_I64).i64, -16);
	CHECK_EQ(value_of("+7", MOTE_U32).u32, 7);
	CHECK_EQ(value_of("-0", MOTE_U64).u64, 0);
}

TEST(cli_arguments__integers_reach_their_limits)
{
	CHECK_EQ(value_of("2147483647", MOTE_I32).i32, INT32_MAX);
	CHECK_EQ(value_of("-2147483648", MOTE_I32).i32, INT32_MIN);
	CHECK_EQ(value_of("4294967295", MOTE_U32).u32, UINT32_MAX);
	CHECK_EQ(value_of("9223372036854775807", MOTE_I64).i64, INT64_MAX);
	CHECK_EQ(value_of("-9223372036854775808", MOTE_I64).i64, INT64_MIN);
	CHECK(value_of("18446744073709551615", MOTE_U64).u64 == UINT64_MAX);
}

TEST(cli_arguments__integers_beyond_their_limits_are_refused)
{
	static const struct {
		const char *text;
		uint32_t type;
	} cases[] = {
		{"2147483648", MOTE_I32},           {"-2147483649", MOTE_I32},
		{"4294967296", MOTE_U32},           {"-1", MOTE_U32},
		{"9223372036854775808", MOTE_I64},  {"-9223372036854775809", MOTE_I64},
		{"18446744073709551616", MOTE_U64}, {"-1", MOTE_U64},
		{"0x10000000000000000", MOTE_U64},  {"99999999999999999999999", MOTE_I32},
	};
	struct parse_error error;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		CHECK_HAS(refusal_of(cases[i].text, cases[i].type, &error), "out of range");
		CHECK_HAS(error.message, cases[i].text);
	}
}

TEST(cli_arguments__what_is_no_integer_is_refused)
{
	static const char *const cases[] = {"",   "-",   "--1", "+-1", "1 ", " 1",  "1x",
					    "0x", "0b2", "0o8", "1.5", "x",  "0xg", "-0x"};
	struct parse_error error;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		CHECK_HAS(refusal_of(cases[i], MOTE_I32, &error), "is not a number for i32");
}

TEST(cli_arguments__floats)
{
	CHECK(value_of("1.5", MOTE_F64).f64 == 1.5);
	CHECK(value_of("-1e3", MOTE_F32).f32 == -1000.0f);
	CHECK(value_of("0x1p-1", MOTE_F64).f64 == 0.5);
	CHECK(isnan(value_of("nan", MOTE_F64).f64));
	CHECK(isinf(value_of("-inf", MOTE_F32).f32));
	CHECK(value_of("0.1", MOTE_F32).f32 == 0.1f);
	CHECK(value_of("1e-320", MOTE_F64).f64 > 0);
}

TEST(cli_arguments__what_is_no_float_or_too_large_is_refused)
{
	static const char *const cases[] = {"", " 1", "1 ", "1,5", "x", "1.5.", "\t1"};
	struct parse_error error;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		CHECK_HAS(refusal_of(cases[i], MOTE_F64, &error), "is not a number for f64");
		CHECK_HAS(refusal_of(cases[i], MOTE_F32, &error), "is not a number for f32");
	}
	CHECK_HAS(refusal_of("1e39", MOTE_F32, &error), "out of range for f32");
	CHECK_HAS(refusal_of("-1e309", MOTE_F64, &error), "out of range for f64");
}

TEST(cli_arguments__bools)
{
	struct parse_error error;
	CHECK_EQ(value_of("true", MOTE_BOOL).boolean, 1);
	CHECK_EQ(value_of("1", MOTE_BOOL).boolean, 1);
	CHECK_EQ(value_of("bool:false", UNTYPED).boolean, 0);
	CHECK_EQ(value_of("0", MOTE_BOOL).boolean, 0);
	CHECK_HAS(refusal_of("yes", MOTE_BOOL, &error), "is not a bool");
	CHECK_HAS(refusal_of("", MOTE_BOOL, &error), "is not a bool");
}

static void check_bytes(const char *text, uint32_t type, const void *data, size_t len)
{
	struct argument argument;
	struct parse_error error = {{0}};
	if (!mote__argument_parse(text, type, &argument, &error))
		check_failed(__FILE__, __LINE__, "\"%s\": %s", text, error.message);
	CHECK_EQ(argument.value.type, MOTE_BYTES);
	CHECK_EQ(argument.value.bytes.len, len);
	CHECK_MEM(argument.value.bytes.data, data, len);
	mote__argument_free(&argument);
	CHECK(argument.owned == NULL);
}

TEST(cli_arguments__bytes_as_hex_and_as_text)
{
	check_bytes("hex:00fFa9", MOTE_BYTES, "\x00\xff\xa9", 3);
	check_bytes("bytes:hex:00ff", MOTE_BYTES, "\x00\xff", 2);
	check_bytes("bytes:hex:", UNTYPED, "", 0);
	check_bytes("plain", MOTE_BYTES, "plain", 5);
	check_bytes("text:hex:00", MOTE_BYTES, "hex:00", 6);
	check_bytes("bytes:text:@x", UNTYPED, "@x", 2);
	check_bytes("bytes:", UNTYPED, "", 0);
}

TEST(cli_arguments__broken_hex_is_refused)
{
	struct parse_error error;
	CHECK_HAS(refusal_of("hex:0", MOTE_BYTES, &error), "even number of digits, not 1");
	CHECK_HAS(refusal_of("hex:0g", MOTE_BYTES, &error), "\"0g\" is not two hex digits");
	CHECK_HAS(refusal_of("hex:12 4", MOTE_BYTES, &error), "\" 4\" is not two hex digits");
}

/** Makes a file of len bytes; its path is in path. */
static void make_file(char *path, size_t len)
{
	int fd = mkstemp(path);
	CHECK(fd >= 0);
	FILE *file = fdopen(fd, "wb");
	CHECK(file != NULL);
	for (size_t i = 0; i < len; i++)
		(void)fputc((int)(i * 7 & 0xFF), file);
	CHECK(fclose(file) == 0);
}

TEST(cli_arguments__bytes_of_a_file)
{
	static const size_t lengths[] = {0, 1, 65535, 65536, 65537, 200000};
	for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
		char path[] = "/tmp/mote-test-XXXXXX", text[64];
		struct argument argument;
		struct parse_error error = {{0}};
		make_file(path, lengths[i]);
		(void)snprintf(text, sizeof text, "bytes:@%s", path);
		bool is_parsed = mote__argument_parse(text, UNTYPED, &argument, &error);
		(void)unlink(path);
		CHECK(is_parsed);
		CHECK_EQ(argument.value.bytes.len, lengths[i]);
		const uint8_t *data = argument.value.bytes.data;
		for (size_t at = 0; at < lengths[i]; at++)
			CHECK(data[at] == (uint8_t)(at * 7));
		mote__argument_free(&argument);
	}
}

TEST(cli_arguments__a_file_that_cannot_be_read_is_refused_by_name)
{
	struct parse_error error;
	CHECK_HAS(refusal_of("@/nonexistent", MOTE_BYTES, &error), "/nonexistent: No such file");
	CHECK_HAS(refusal_of("@/", MOTE_BYTES, &error), "/: Is a directory");
}

TEST(cli_arguments__a_long_text_does_not_overflow_its_refusal)
{
	struct parse_error error;
	char text[5000];
	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = 0;
	CHECK(strlen(refusal_of(text, UNTYPED, &error)) < sizeof error.message);
	CHECK(strlen(refusal_of(text, MOTE_F64, &error)) < sizeof error.message);
	text[0] = '@';
	CHECK(strlen(refusal_of(text, MOTE_BYTES, &error)) < sizeof error.message);
}

TEST(cli_arguments__type_names)
{
	uint32_t type = 99;
	struct parse_error error;
	CHECK(mote__type_parse("void", &type, &error) && type == MOTE_VOID);
	CHECK(mote__type_parse("string", &type, &error) && type == MOTE_STRING);
	CHECK(mote__type_parse("str", &type, &error) && type == MOTE_STRING);
	CHECK(!mote__type_parse("int", &type, &error));
	CHECK_HAS(error.message, "\"int\" is not a type");
}

TEST(cli_arguments__sizes)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} cases[] = {
		{"1", 1},
		{"4096", 4096},
		{"0x4000", 0x4000},
		{"16K", 16384},
		{"64M", 64u << 20},
		{"2GiB", 2ull << 30},
		{"3k", 3072},
		{"1MiB", 1u << 20},
		{"0x10K", 16384},
		{"18446744073709551615", UINT64_MAX},
		{"17179869183G", 17179869183ull << 30},
	};
	struct parse_error error;
	uint64_t bytes = 0;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		CHECK(mote__size_parse(cases[i].text, &bytes, &error));
		CHECK(bytes == cases[i].bytes);
	}
}

TEST(cli_arguments__what_is_no_size_is_refused)
{
	static const struct {
		const char *text, *part;
	} cases[] = {
		{"", "is not a size"},
		{"K", "is not a size"},
		{"1T", "is not a size"},
		{"-1", "is not a size"},
		{"1 K", "is not a size"},
		{"1.5M", "is not a size"},
		{"0", "size of 0"},
		{"0K", "size of 0"},
		{"17179869184G", "more than 2^64"},
		{"18446744073709551616", "more than 2^64"},
	};
	struct parse_error error;
	uint64_t bytes = 77;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		CHECK(!mote__size_parse(cases[i].text, &bytes, &error));
		CHECK_HAS(error.message, cases[i].part);
		CHECK_EQ(bytes, 77);
	}
}

TEST(cli_arguments__durations)
{
	static const struct {
		const char *text;
		uint64_t ns;
	} cases[] = {
		{"0", 0},
		{"1ns", 1},
		{"20us", 20000},
		{"500ms", 500000000},
		{"1.5s", 1500000000},
		{"2m", 120000000000},
		{"1h", 3600000000000},
		{"0.25ms", 250000},
		{"1.0000000009s", 1000000000},
		{"0.000000001s", 1},
		{"1.999ns", 1},
		{"18446744073709551615ns", UINT64_MAX},
	};
	struct parse_error error;
	uint64_t ns = 0;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		CHECK(mote__duration_parse(cases[i].text, &ns, &error));
		CHECK_EQ(ns, cases[i].ns);
	}
}

TEST(cli_arguments__what_is_no_duration_is_refused)
{
	static const struct {
		const char *text, *part;
	} cases[] = {
		{"", "is not a duration"},
		{"5", "is not a duration"},
		{"s", "is not a duration"},
		{"1.s", "is not a duration"},
		{"-1s", "is not a duration"},
		{"1days", "is not a duration"},
		{"1..5s", "is not a duration"},
		{"99999999999s", "too long"},
		{"18446744073709551616ns", "too long"},
		{"5124096h", "too long"},
	};
	struct parse_error error;
	uint64_t ns = 77;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		CHECK(!mote__duration_parse(cases[i].text, &ns, &error));
		CHECK_HAS(error.message, cases[i].part);
		CHECK_EQ(ns, 77);
	}
}

TEST(cli_arguments__counts_are_from_one_to_their_limit)
{
	struct parse_error error;
	uint64_t count = 0;
	CHECK(mote__count_parse("1", 10, &count, &error) && count == 1);
	CHECK(mote__count_parse("10", 10, &count, &error) && count == 10);
	CHECK(!mote__count_parse("0", 10, &count, &error));
	CHECK(!mote__count_parse("11", 10, &count, &error));
	CHECK_HAS(error.message, "11 is out of range: 1 to 10");
	CHECK(!mote__count_parse("x", 10, &count, &error));
	CHECK_HAS(error.message, "is not a number");
}

TEST(cli_arguments__random_integers_are_read_back)
{
	uint64_t seed = 0x6D6F7465;
	check_note("seed 0x%llx", (unsigned long long)seed);
	for (int i = 0; i < 20000; i++) {
		uint64_t x = check_random(&seed) >> (check_random(&seed) & 63);
		char text[64];
		(void)snprintf(text, sizeof text, "%llu", (unsigned long long)x);
		CHECK(value_of(text, MOTE_U64).u64 == x);
		(void)snprintf(text, sizeof text, "0x%llX", (unsigned long long)x);
		CHECK(value_of(text, MOTE_U64).u64 == x);
		(void)snprintf(text, sizeof text, "%lld", (long long)x);
		CHECK(value_of(text, MOTE_I64).i64 == (int64_t)x);
	}
}

TEST(cli_arguments__random_text_is_read_or_refused)
{
	static const char letters[] = "0123456789abxeEfix:-+.strubyohKMGn@ ";
	uint64_t seed = 0x7465786D;
	unsigned taken = 0;
	check_note("seed 0x%llx", (unsigned long long)seed);
	for (int i = 0; i < 20000; i++) {
		char text[16] = "";
		size_t len = check_random(&seed) % sizeof text;
		for (size_t at = 0; at < len; at++)
			text[at] = letters[check_random(&seed) % (sizeof letters - 1)];
		uint32_t type = MOTE_I32 + (uint32_t)(check_random(&seed) % 8);
		struct argument argument;
		struct parse_error error = {{0}};
		if (mote__argument_parse(text, type, &argument, &error)) {
			CHECK_EQ(argument.value.type, type);
			mote__argument_free(&argument);
			taken++;
		} else {
			CHECK(error.message[0] != 0);
		}
	}
	CHECK(taken > 0);
}
