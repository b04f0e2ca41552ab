/* SPDX-License-Identifier: MIT */
/* UTF-8: limits of every length, malformed sequences, and the definition as an oracle. */
#include "core/utf8.h"

#include "check.h"

static size_t utf8(const char *text)
{
	return mote__utf8_prefix(text, strlen(text));
}

TEST(utf8__accepts_the_first_and_last_character_of_every_length)
{
	static const char *const good[] = {
		"\x7F",
		"\xC2\x80",
		"\xDF\xBF",
		"\xE0\xA0\x80",
		"\xED\x9F\xBF",
		"\xEE\x80\x80",
		"\xEF\xBF\xBF",
		"\xF0\x90\x80\x80",
		"abcdefgh\xC3\xA9",
		"\xF4\x8F\xBF\xBF",
		"\xC3\xA9hijklmnopqrstuv",
	};
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
		CHECK_EQ(utf8(good[i]), strlen(good[i]));
	CHECK_EQ(mote__utf8_prefix("a\0b", 3), 3);
	CHECK(mote__utf8_is_valid(NULL, 0));
}

TEST(utf8__refuses_overlong_forms_surrogates_and_too_large_characters)
{
	static const char *const bad[] = {
		"\x80",
		"\xBF",
		"\xC0\x80",
		"\xC1\xBF",
		"\xE0\x9F\xBF",
		"\xED\xA0\x80",
		"\xED\xBF\xBF",
		"\xF0\x8F\xBF\xBF",
		"\xFF",
		"\xF4\x90\x80\x80",
		"\xF5\x80\x80\x80",
		"\xFE",
	};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		CHECK_EQ(utf8(bad[i]), 0);
}

TEST(utf8__refuses_bad_and_missing_continuations)
{
	static const char *const bad[] = {
		"\xC3",     "\xC3(",        "\xE2\x82",      "\xE2(\xAC",     "\xE2\x82(",
		"\xF0\x9F", "\xF0\x9F\x92", "\xF0(\x92\xA9", "\xF0\x9F(\xA9", "\xF0\x9F\x92(",
	};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		CHECK_EQ(utf8(bad[i]), 0);
}

TEST(utf8__ends_the_prefix_before_the_first_bad_character)
{
	CHECK_EQ(utf8("0123456789\xC3\xA9\xC3"), 12);
	CHECK_EQ(utf8("01234567\xFFxy"), 8);
	CHECK_EQ(mote__utf8_prefix("a\xE2\x82\xAC", 3), 1);
}

/* Oracle: decode by the definition, from the number of the character. */
static bool is_character(const uint8_t *bytes, size_t len)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	static const uint8_t lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
	static const uint8_t mask[] = {0, 0, 0x1F, 0x0F, 0x07};
	if (len == 1)
		return bytes[0] < 0x80;
	uint32_t number = bytes[0] & mask[len];
	if ((bytes[0] & (uint8_t)~mask[len]) != lead[len])
		return false;
	for (size_t i = 1; i < len; i++) {
		if ((bytes[i] & 0xC0) != 0x80)
			return false;
		number = number << 6 | (bytes[i] & 0x3Fu);
	}
	return number >= least[len] && number <= 0x10FFFF && (number < 0xD800 || number > 0xDFFF);
}

TEST(utf8__agrees_with_the_definition_on_every_three_bytes)
{
	for (uint32_t n = 0x800000; n < 0x1000000; n++) {
		uint8_t bytes[4] = {(uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n, 0xBF};
		size_t wanted = 0;
		for (size_t len = 2; len <= 4; len++)
			if (is_character(bytes, len))
				wanted = len;
		size_t got = mote__utf8_prefix(bytes, wanted ? wanted : 4);
		if (got != wanted)
			check_failed(__FILE__, __LINE__, "%06x: %zu instead of %zu", n, got,
				     wanted);
	}
}
