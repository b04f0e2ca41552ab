/* SPDX-License-Identifier: MIT */
/* What the mote command prints of hostile text: escapes, JSON, drawings; and its suggestions. */
#include "../../cli/json.h"
#include "../../cli/map.h"
#include "../../cli/output.h"
#include "../../cli/suggest.h"

#include <locale.h>
#include <math.h>
#include <stdlib.h>

#include "check.h"

enum { PAPER_BYTES = 1 << 16 };

/** A stream into memory, and what it holds after read_paper(). */
struct paper {
	FILE *out;
	char text[PAPER_BYTES];
};

static void take_paper(struct paper *paper)
{
	memset(paper->text, 0, sizeof paper->text);
	paper->out = fmemopen(paper->text, sizeof paper->text - 1, "w");
	CHECK(paper->out != NULL);
}

static const char *read_paper(struct paper *paper)
{
	CHECK(fclose(paper->out) == 0);
	return paper->text;
}

static void check_text(const char *data, size_t len, enum text_mode mode, const char *wanted)
{
	struct paper paper;
	take_paper(&paper);
	mote__output_text(paper.out, data, len, mode);
	CHECK_STR(read_paper(&paper), wanted);
}

static void use_utf8(void)
{
	if (!setlocale(LC_CTYPE, "C.UTF-8"))
		check_skip("no locale C.UTF-8");
	CHECK(mote__output_is_utf8());
}

static void use_ascii(void)
{
	CHECK(setlocale(LC_CTYPE, "C") != NULL);
	CHECK(!mote__output_is_utf8());
}

TEST(cli_output__controls_never_reach_the_terminal)
{
	use_utf8();
	check_text("a\033[31m\x07\x7f", 8, TEXT_LINES, "a\\x1b[31m\\x07\\x7f");
	check_text("a\0b", 3, TEXT_LINES, "a\\x00b");
	check_text("\xc2\x9b"
		   "1m",
		   4, TEXT_LINES, "\\u{9b}1m");
	check_text("a\r\n\tb", 5, TEXT_LINES, "a\\r\n\tb");
	check_text("a\r\n\tb", 5, TEXT_ONE_LINE, "a\\r\\n\\tb");
	for (int c = 0; c < 0xA0; c++) {
		char text[4] = {(char)c}, *end = text + 1;
		if (c >= 0x80) {
			text[0] = (char)0xC2;
			*end++ = (char)c;
		}
		struct paper paper;
		take_paper(&paper);
		mote__output_text(paper.out, text, (size_t)(end - text), TEXT_ONE_LINE);
		for (const char *at = read_paper(&paper); *at; at++)
			CHECK(*at >= 0x20 && *at < 0x7F);
	}
}

TEST(cli_output__direction_marks_and_invisible_characters_are_escaped)
{
	use_utf8();
	check_text("a\xe2\x80\xae"
		   "b",
		   5, TEXT_LINES, "a\\u{202e}b");
	check_text("\xe2\x81\xa6", 3, TEXT_LINES, "\\u{2066}");
	check_text("\xe2\x80\xa8", 3, TEXT_LINES, "\\u{2028}");
	check_text("\xef\xbb\xbf", 3, TEXT_LINES, "\\u{feff}");
	check_text("\xf3\xa0\x81\x81", 4, TEXT_LINES, "\\u{e0041}");
}

TEST(cli_output__text_stays_text)
{
	use_utf8();
	check_text("h\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", 12, TEXT_LINES,
		   "h\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80");
	check_text("", 0, TEXT_LINES, "");
	check_text("C:\\x", 4, TEXT_ONE_LINE, "C:\\x");
}

TEST(cli_output__other_locales_get_ascii)
{
	use_ascii();
	check_text("h\xc3\xa9", 3, TEXT_LINES, "h\\u{e9}");
}

TEST(cli_output__broken_utf8_is_shown_as_bytes)
{
	use_utf8();
	check_text("\xff"
		   "a",
		   2, TEXT_LINES, "\\xffa");
	check_text("\x80", 1, TEXT_LINES, "\\x80");
	check_text("\xc3", 1, TEXT_LINES, "\\xc3");
	check_text("\xe2\x82", 2, TEXT_LINES, "\\xe2\\x82");
	check_text("\xc0\x80", 2, TEXT_LINES, "\\xc0\\x80");
	check_text("\xe0\x80\x80", 3, TEXT_LINES, "\\xe0\\x80\\x80");
	check_text("\xed\xa0\x80", 3, TEXT_LINES, "\\xed\\xa0\\x80");
	check_text("\xf4\x90\x80\x80", 4, TEXT_LINES, "\\xf4\\x90\\x80\\x80");
	check_text("\xf8\x88\x80\x80", 4, TEXT_LINES, "\\xf8\\x88\\x80\\x80");
	check_text("\xf4\x8f\xbf\xbf", 4, TEXT_LINES, "\xf4\x8f\xbf\xbf");
}

TEST(cli_output__raw_is_raw)
{
	struct paper paper;
	take_paper(&paper);
	mote__output_text(paper.out, "a\033\0\xff", 4, TEXT_RAW);
	(void)read_paper(&paper);
	CHECK_MEM(paper.text, "a\033\0\xff", 4);
}

TEST(cli_output__sizes_are_readable)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} cases[] = {
		{0, "0 B"},
		{1023, "1023 B"},
		{1024, "1 KiB"},
		{1536, "1.5 KiB"},
		{294912, "288 KiB"},
		{1048576, "1 MiB"},
		{1048575, "1023.9 KiB"},
		{UINT64_MAX, "15.9 EiB"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		CHECK_STR(mote__size_text(cases[i].bytes).text, cases[i].text);
	CHECK_STR(mote__access_text(MOTE_READ | MOTE_EXECUTE).text, "r-x");
	CHECK_STR(mote__access_text(0).text, "---");
	CHECK_STR(mote__access_text(MOTE_WRITE).text, "-w-");
}

TEST(cli_json__commas_and_nesting)
{
	struct paper paper;
	take_paper(&paper);
	struct json json = {.out = paper.out};
	mote__emit_object(&json, NULL);
	mote__emit_bool(&json, "a", true);
	mote__emit_array(&json, "b");
	mote__emit_u64(&json, NULL, UINT64_MAX);
	mote__emit_i64(&json, NULL, INT64_MIN);
	mote__emit_object(&json, NULL);
	mote__emit_end(&json);
	mote__emit_end(&json);
	mote__emit_null(&json, "c");
	mote__emit_address(&json, "d", 0xffffffff00000000);
	mote__emit_hex(&json, "e", "\x00\xff", 2);
	mote__emit_end(&json);
	CHECK_STR(read_paper(&paper),
		  "{\"a\":true,\"b\":[18446744073709551615,-9223372036854775808,{}],\"c\":null,"
		  "\"d\":\"0xffffffff00000000\",\"e\":\"00ff\"}\n");
}

TEST(cli_json__strings_are_escaped)
{
	static const struct {
		const char *data;
		size_t len;
		const char *wanted;
	} cases[] = {
		{"a\"b\\c", 5, "\"a\\\"b\\\\c\""},
		{"\n\t\033\0", 4, "\"\\n\\u0009\\u001b\\u0000\""},
		{"\x1f ", 2, "\"\\u001f \""},
		{"\x7f\xc2\x9b", 3, "\"\\u007f\\u009b\""},
		{"\xff\xc3", 2, "\"\\ufffd\\ufffd\""},
		{"\xc3\xa9\xf0\x9f\x98\x80", 6, "\"\xc3\xa9\xf0\x9f\x98\x80\""},
		{"", 0, "\"\""},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct paper paper;
		take_paper(&paper);
		struct json json = {.out = paper.out};
		mote__emit_text_of(&json, NULL, cases[i].data, cases[i].len);
		CHECK_STR(read_paper(&paper), cases[i].wanted);
	}
}

TEST(cli_json__what_is_no_number_is_text)
{
	struct paper paper;
	take_paper(&paper);
	struct json json = {.out = paper.out};
	mote__emit_array(&json, NULL);
	mote__emit_f64(&json, NULL, (double)NAN, 17);
	mote__emit_f64(&json, NULL, (double)INFINITY, 17);
	mote__emit_f64(&json, NULL, (double)-INFINITY, 17);
	mote__emit_f64(&json, NULL, -1.5e300, 6);
	mote__emit_end(&json);
	CHECK_STR(read_paper(&paper), "[\"nan\",\"inf\",\"-inf\",-1.5e+300]\n");
}

TEST(cli_output__a_long_text_is_cut_between_characters)
{
	CHECK_STR(mote__text_cut("", 4).text, "");
	CHECK_STR(mote__text_cut("four", 4).text, "four");
	CHECK_STR(mote__text_cut("five5", 4).text, "f...");
	CHECK_STR(mote__text_cut("ab\xC3\xA9xyz", 6).text, "ab...");
	CHECK_STR(mote__text_cut("ab\xC3\xA9xyz", 7).text, "ab\xC3\xA9xyz");
	CHECK_STR(mote__text_cut("\x80\x80\x80\x80\x80\x80", 5).text, "...");
	CHECK_STR(mote__text_cut("0123456789012345678901234567890123", 31).text,
		  "0123456789012345678901234567...");
	CHECK_STR(mote__text_cut("0123456789012345678901234567890", 31).text,
		  "0123456789012345678901234567890");
}

static const char *suggest(const char *word)
{
	static const char *const names[] = {"run", "call", "inspect", "doctor", "bench", ""};
	struct suggestion suggestion = {.word = word};
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		mote__suggest_offer(&suggestion, names[i]);
	return suggestion.best ? suggestion.best : "";
}

TEST(cli_suggest__the_nearest_name)
{
	CHECK_STR(suggest("cal"), "call");
	CHECK_STR(suggest("clal"), "call");
	CHECK_STR(suggest("insepct"), "inspect");
	CHECK_STR(suggest("insp"), "inspect");
	CHECK_STR(suggest("doktor"), "doctor");
	CHECK_STR(suggest("rum"), "run");
}

TEST(cli_suggest__nothing_when_nothing_is_near)
{
	char text[300];
	memset(text, 'a', sizeof text - 1);
	text[sizeof text - 1] = 0;
	CHECK_STR(suggest("x"), "");
	CHECK_STR(suggest(""), "");
	CHECK_STR(suggest("delete"), "");
	CHECK_STR(suggest("dance"), "");
	CHECK_STR(suggest(text), "");
}

static const struct mote_region regions[] = {
	{"nowhere", 0, 0, 0x1000, MOTE_READ, 0, 1, 0, {0}},
	{"text", 0x1000, 0x1000, 0x2000, MOTE_READ | MOTE_EXECUTE, 0, 0, 0, {0}},
	{"empty", 0x3000, 0x3000, 0, MOTE_READ, 0, 0, 0, {0}},
	{"da<ta\033", 0x4000, 0x100000, 0x1000, MOTE_READ | MOTE_WRITE, 1, 0, 0, {0}},
	{"top", UINT64_MAX - 0xFFF, 0, 0x2000, MOTE_READ, 0, 0, 1, {0}},
};
enum { REGIONS = sizeof regions / sizeof regions[0] };

TEST(cli_map__blocks_and_gaps_from_the_top_down)
{
	struct map map;
	CHECK(mote__map_build(&map, regions, REGIONS, MAP_VIRTUAL));
	static const struct {
		uint64_t first, end;
		bool is_gap;
	} wanted[] = {
		{UINT64_MAX - 0xFFF, UINT64_MAX, false}, /* would wrap: cut */
		{0x5000, UINT64_MAX - 0xFFF, true},
		{0x4000, 0x5000, false},
		{0x3000, 0x4000, true},
		{0x1000, 0x3000, false},
		{0, 0x1000, true},
	};
	CHECK_EQ(map.count, sizeof wanted / sizeof wanted[0]);
	for (uint32_t i = 0; i < map.count; i++) {
		CHECK_EQ(map.blocks[i].first, wanted[i].first);
		CHECK_EQ(map.blocks[i].end, wanted[i].end);
		CHECK_EQ(map.blocks[i].region == NULL, wanted[i].is_gap);
	}
	mote__map_free(&map);
}

TEST(cli_map__physical_order_is_its_own)
{
	struct map map;
	CHECK(mote__map_build(&map, regions, REGIONS, MAP_PHYSICAL));
	CHECK_EQ(map.count, 4);
	CHECK_STR(map.blocks[0].region->name, "da<ta\033");
	CHECK_STR(map.blocks[2].region->name, "text");
	mote__map_free(&map);
}

TEST(cli_map__overlapping_regions_have_no_gap)
{
	static const struct mote_region overlap[] = {
		{"a", 0x1000, 0, 0x3000, MOTE_READ, 0, 0, 0, {0}},
		{"b", 0x2000, 0, 0x1000, MOTE_READ, 0, 0, 0, {0}},
	};
	struct map map;
	CHECK(mote__map_build(&map, overlap, 2, MAP_VIRTUAL));
	CHECK_EQ(map.count, 3);
	CHECK(map.blocks[0].region == &overlap[1]);
	CHECK(map.blocks[1].region == &overlap[0]);
	mote__map_free(&map);
}

TEST(cli_map__no_regions_draw_nothing)
{
	struct map map;
	struct paper paper;
	CHECK(mote__map_build(&map, regions, 0, MAP_VIRTUAL));
	CHECK_EQ(map.count, 0);
	take_paper(&paper);
	mote__map_print(paper.out, &map);
	CHECK_STR(read_paper(&paper), "");
	mote__map_free(&map);
}

TEST(cli_map__text_names_every_region_and_no_control)
{
	use_ascii();
	struct map map;
	struct paper paper;
	CHECK(mote__map_build(&map, regions, REGIONS, MAP_VIRTUAL));
	take_paper(&paper);
	mote__map_print(paper.out, &map);
	const char *text = read_paper(&paper);
	CHECK_HAS(text, "| top               r-- 3.9 KiB, system");
	CHECK_HAS(text, "| text              r-x 8 KiB ");
	CHECK_HAS(text, "da<ta\\x1b");
	CHECK_HAS(text, "0x4000 +-----");
	CHECK_HAS(text, ": (nothing)             4 KiB ");
	CHECK(!strchr(text, '\033'));
	mote__map_free(&map);
}

TEST(cli_svg__hostile_names_stay_text)
{
	struct map virtual_map, physical_map;
	struct paper paper;
	CHECK(mote__map_build(&virtual_map, regions, REGIONS, MAP_VIRTUAL));
	CHECK(mote__map_build(&physical_map, regions, REGIONS, MAP_PHYSICAL));
	take_paper(&paper);
	mote__svg_write(paper.out, "</title><script>'\"&\xff", &virtual_map, &physical_map);
	const char *text = read_paper(&paper);
	CHECK_HAS(text, "&#60;/title&#62;&#60;script&#62;&#39;&#34;&#38;&#xFFFD;");
	CHECK_HAS(text, "da&#60;ta&#xFFFD;");
	CHECK(!strstr(text, "<script"));
	CHECK_HAS(text, "</svg>\n");
	mote__map_free(&virtual_map);
	mote__map_free(&physical_map);
}
