/* SPDX-License-Identifier: MIT */
/* Names of functions, from good and from hostile tables. */
#include "core/elf.h"

#include "check.h"

#include <elf.h>
#include <stdlib.h>

static const char strings[] = "\0outer\0inner\0asm\0data\0far";
enum { OUTER = 1, INNER = 7, ASM = 13, DATA = 17, FAR = 22 };

static const Elf64_Sym good[] = {
	{0},
	{OUTER, ELF64_ST_INFO(STB_GLOBAL, STT_FUNC), 0, 1, 0x1000, 0x100},
	{DATA, ELF64_ST_INFO(STB_GLOBAL, STT_OBJECT), 0, 1, 0x1010, 0x100},
	{INNER, ELF64_ST_INFO(STB_LOCAL, STT_FUNC), 0, 1, 0x1020, 0x10},
	{ASM, ELF64_ST_INFO(STB_LOCAL, STT_FUNC), 0, 1, 0x2000, 0},
	{FAR, ELF64_ST_INFO(STB_LOCAL, STT_FUNC), 0, 1, 0x3000, 8},
	{FAR, ELF64_ST_INFO(STB_LOCAL, STT_FUNC), 0, SHN_UNDEF, 0x1025, 8},
};

static char name[32];
static uint64_t offset;

/* Search exact-size copies of the tables. */
static bool find(const void *symbols, size_t symbols_bytes, size_t strings_bytes, uint32_t bits,
		 uint64_t va, size_t name_bytes)
{
	uint8_t *symbols_copy = malloc(symbols_bytes ? symbols_bytes : 1);
	uint8_t *strings_copy = malloc(strings_bytes ? strings_bytes : 1);
	char *name_copy = malloc(name_bytes);
	memcpy(symbols_copy, symbols, symbols_bytes);
	memcpy(strings_copy, strings, strings_bytes);
	memset(name_copy, '#', name_bytes);
	struct mote__elf_symbols table = {symbols_copy, symbols_bytes, strings_copy, strings_bytes,
					  bits};
	offset = UINT64_MAX;
	bool found = mote__elf_symbol_find(&table, va, name_copy, name_bytes, &offset);
	memcpy(name, name_copy, name_bytes);
	free(symbols_copy);
	free(strings_copy);
	free(name_copy);
	return found;
}

static bool find_good(uint64_t va)
{
	return find(good, sizeof good, sizeof strings, 64, va, sizeof name);
}

#define CHECK_FOUND(found, expected, at)   \
	do {                               \
		CHECK(found);              \
		CHECK_STR(name, expected); \
		CHECK_EQ(offset, at);      \
	} while (0)

TEST(elf_symbols__finds_the_function_around_an_address)
{
	CHECK_FOUND(find_good(0x1000), "outer", 0);
	CHECK_FOUND(find_good(0x101f), "outer", 0x1f);
	CHECK_FOUND(find_good(0x10ff), "outer", 0xff);
	CHECK_FOUND(find_good(0x3007), "far", 7);
}

TEST(elf_symbols__prefers_the_innermost_function)
{
	CHECK_FOUND(find_good(0x1020), "inner", 0);
	CHECK_FOUND(find_good(0x102f), "inner", 0xf);
	CHECK_FOUND(find_good(0x1030), "outer", 0x30);
}

TEST(elf_symbols__lets_a_function_without_size_reach_to_the_next)
{
	CHECK_FOUND(find_good(0x2000), "asm", 0);
	CHECK_FOUND(find_good(0x2fff), "asm", 0xfff);
}

TEST(elf_symbols__finds_nothing_between_functions)
{
	static const uint64_t nowhere[] = {0, 0xfff, 0x1100, 0x1fff, 0x3008, UINT64_MAX};
	for (size_t i = 0; i < sizeof nowhere / sizeof nowhere[0]; i++) {
		CHECK(!find_good(nowhere[i]));
		CHECK_EQ(name[0], '#');
		CHECK_EQ(offset, UINT64_MAX);
	}
}

TEST(elf_symbols__reads_32_bit_tables)
{
	static const Elf32_Sym narrow[] = {
		{OUTER, 0x1000, 0x100, ELF32_ST_INFO(STB_GLOBAL, STT_FUNC), 0, 1},
		{DATA, 0x1010, 0x100, ELF32_ST_INFO(STB_GLOBAL, STT_OBJECT), 0, 1},
		{FAR, 0x1020, 0x100, ELF32_ST_INFO(STB_GLOBAL, STT_FUNC), 0, SHN_UNDEF},
	};
	CHECK_FOUND(find(narrow, sizeof narrow, sizeof strings, 32, 0x1030, sizeof name), "outer",
		    0x30);
}

TEST(elf_symbols__cuts_long_names)
{
	CHECK(find(good, sizeof good, sizeof strings, 64, 0x1000, 6));
	CHECK_STR(name, "outer");
	CHECK(find(good, sizeof good, sizeof strings, 64, 0x1000, 5));
	CHECK_STR(name, "oute");
	CHECK(find(good, sizeof good, sizeof strings, 64, 0x1000, 1));
	CHECK_STR(name, "");
}

TEST(elf_symbols__wants_names_that_end_inside_the_strings)
{
	CHECK(find(good, sizeof good, FAR + 4, 64, 0x3000, sizeof name));
	CHECK(!find(good, sizeof good, FAR + 3, 64, 0x3000, sizeof name));
	CHECK(!find(good, sizeof good, FAR, 64, 0x3000, sizeof name));
	CHECK(!find(good, sizeof good, 0, 64, 0x3000, sizeof name));
	Elf64_Sym wild = good[1];
	wild.st_name = UINT32_MAX;
	CHECK(!find(&wild, sizeof wild, sizeof strings, 64, 0x1000, sizeof name));
}

TEST(elf_symbols__ignores_part_of_an_entry_at_the_end)
{
	CHECK(!find(good, 2 * sizeof good[0] - 1, sizeof strings, 64, 0x1000, sizeof name));
	CHECK(!find(good, 0, sizeof strings, 64, 0x1000, sizeof name));
}

TEST(elf_symbols__survives_sizes_that_wrap)
{
	Elf64_Sym wild = good[1];
	wild.st_size = UINT64_MAX;
	CHECK_FOUND(find(&wild, sizeof wild, sizeof strings, 64, UINT64_MAX, sizeof name), "outer",
		    UINT64_MAX - 0x1000);
	CHECK(!find(&wild, sizeof wild, sizeof strings, 64, 0xfff, sizeof name));
}

TEST(elf_symbols__shows_odd_names_safely)
{
	static const char odd[] = "\0a\n\x1b\xc3z";
	Elf64_Sym symbol = good[1];
	struct mote__elf_symbols table = {(const uint8_t *)&symbol, sizeof symbol,
					  (const uint8_t *)odd, sizeof odd, 64};
	CHECK(mote__elf_symbol_find(&table, 0x1000, name, sizeof name, &offset));
	CHECK_STR(name, "a???z");
}
