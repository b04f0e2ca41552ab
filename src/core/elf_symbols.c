/* SPDX-License-Identifier: MIT */
/*
 * From an address to the name of a function. Works on the two tables alone, so that they can
 * outlive the file; nothing in them is trusted, a bad entry is skipped.
 */
#include "core/elf_format.h"

#include "base/math.h"

#include <string.h>

enum { TYPE_FUNCTION = 2, SECTION_UNDEFINED = 0 };

struct symbol {
	uint64_t va, bytes;
	uint32_t name; /* offset in the strings */
	bool is_function;
};

static struct symbol decode(const uint8_t *at, uint32_t bits)
{
	bool wide = bits == 64;
	uint8_t info = at[wide ? 4 : 12];
	uint16_t section = mote__elf_get16(at + (wide ? 6 : 14));
	return (struct symbol){
		.name = mote__elf_get32(at),
		.va = mote__elf_get_word(bits, at + (wide ? 8 : 4)),
		.bytes = mote__elf_get_word(bits, at + (wide ? 16 : 8)),
		.is_function = (info & 15) == TYPE_FUNCTION && section != SECTION_UNDEFINED,
	};
}

/*
 * The innermost function around va. A function without a size counts when nothing begins between
 * it and va.
 */
static bool find(const struct mote__elf_symbols *table, uint64_t va, struct symbol *out)
{
	size_t entry_bytes = table->bits == 64 ? 24 : 16;
	struct symbol around = {0}, before = {0};
	for (size_t i = 0; i < table->symbols_bytes / entry_bytes; i++) {
		struct symbol symbol = decode(table->symbols + i * entry_bytes, table->bits);
		if (!symbol.is_function || symbol.va > va)
			continue;
		bool contains = va - symbol.va < symbol.bytes;
		if (contains && (!around.is_function || symbol.va > around.va))
			around = symbol;
		if (!before.is_function || symbol.va > before.va)
			before = symbol;
	}
	bool use_before = before.bytes == 0 && (!around.is_function || before.va > around.va);
	*out = use_before ? before : around;
	return out->is_function;
}

bool mote__elf_symbol_find(const struct mote__elf_symbols *table, uint64_t va, char *name,
			   size_t name_bytes, uint64_t *offset)
{
	struct symbol symbol;
	if (!find(table, va, &symbol) || symbol.name >= table->strings_bytes)
		return false;
	const uint8_t *text = table->strings + symbol.name;
	const uint8_t *end = memchr(text, 0, table->strings_bytes - symbol.name);
	if (!end)
		return false;
	size_t len = (size_t)(end - text) < name_bytes ? (size_t)(end - text) : name_bytes - 1;
	for (size_t i = 0; i < len; i++)
		name[i] = (char)(text[i] >= ' ' && text[i] <= '~' ? text[i] : '?');
	name[len] = 0;
	*offset = va - symbol.va;
	return true;
}
