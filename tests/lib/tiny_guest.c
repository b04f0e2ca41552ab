/* SPDX-License-Identifier: MIT */
/* Small guest images made in memory, see the header. */
#include "tiny_guest.h"

#include <assert.h>
#include <string.h>

#include "elf_maker.h"

#define PAGE 0x1000u

static struct elf_maker maker;

static void add_symbols(uint64_t base_va)
{
	static const char names[] = "\0work\0more";
	const Elf64_Sym symbols[] = {
		{.st_name = 0},
		{.st_name = 1,
		 .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC),
		 .st_shndx = 1,
		 .st_value = base_va + ELF_MAKER_TEXT_VA,
		 .st_size = 0x10},
		{.st_name = 6,
		 .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC),
		 .st_shndx = 1,
		 .st_value = base_va + ELF_MAKER_TEXT_VA + 0x10,
		 .st_size = 0x30},
	};
	size_t at = elf_maker_put(&maker, names, sizeof names, 8);
	(void)elf_maker_section(&maker, ".strtab", SHT_STRTAB, at, sizeof names);
	uint32_t strings = maker.section_count - 1;
	at = elf_maker_put(&maker, symbols, sizeof symbols, 8);
	Elf64_Shdr *section = elf_maker_section(&maker, ".symtab", SHT_SYMTAB, at, sizeof symbols);
	section->sh_link = strings;
	section->sh_entsize = sizeof symbols[0];
}

/* One segment: two tables, their entries, their names. Returns its address from the base. */
static uint64_t add_tables(const struct tiny_options *o, uint64_t load_gva,
			   struct tiny_image *image)
{
	static _Alignas(8) uint8_t segment[2 * PAGE];
	uint32_t count = o->export_count + o->import_count;
	uint64_t data = o->data_bytes ? o->data_bytes : ELF_MAKER_DATA_BYTES;
	uint64_t va = (ELF_MAKER_DATA_VA + data + PAGE - 1) / PAGE * PAGE;
	struct mote_abi_table *tables = (void *)segment;
	struct mote_abi_function *entries = (void *)(tables + 2);
	size_t used = 2 * sizeof *tables + count * sizeof *entries;
	memset(segment, 0, sizeof segment);
	image->tables_gva = load_gva + va;
	for (uint32_t i = 0; i < count; i++) {
		const struct tiny_function *f =
			i < o->export_count ? &o->exports[i] : &o->imports[i - o->export_count];
		size_t len = strlen(f->name);
		assert(used + len + 1 <= sizeof segment);
		entries[i].name = image->tables_gva + used;
		entries[i].name_bytes = (uint32_t)len;
		entries[i].result = (uint8_t)f->result;
		entries[i].parameter_count = (uint8_t)f->count;
		memcpy(entries[i].parameters, f->parameters, sizeof f->parameters);
		memcpy(segment + used, f->name, len);
		used += len + 1;
	}
	tables[0].first = image->tables_gva + 2 * sizeof *tables;
	tables[0].end = tables[1].first = tables[0].first + o->export_count * sizeof *entries;
	tables[1].end = tables[1].first + o->import_count * sizeof *entries;
	size_t at = elf_maker_put(&maker, segment, used, 16);
	Elf64_Phdr *header = elf_maker_header(&maker, PT_LOAD, at, used);
	header->p_vaddr = maker.base_va + va;
	header->p_align = PAGE;
	image->tables = (void *)(maker.bytes + at);
	image->function = (void *)(image->tables + 2);
	return va;
}

static void add_note(const struct tiny_options *o, uint64_t tables_va, struct tiny_image *image)
{
	const struct mote_abi_note note = {
		.version = MOTE_ABI_NOTE_VERSION,
		.size = sizeof note,
		.required = MOTE_ABI_RING3 | MOTE_ABI_DEMAND_ZERO,
		.baseline = 1,
		.stack_bytes = o->stack_bytes,
		.entry = TINY_RING3_GVA - TINY_GVA,
		.dispatch = TINY_DISPATCH_GVA - TINY_GVA,
		.syscall_handler = TINY_SYSCALL_GVA - TINY_GVA,
		.exports = tables_va,
		.imports = tables_va ? tables_va + sizeof(struct mote_abi_table) : 0,
	};
	size_t bytes, at = elf_maker_note(&maker, 8, MOTE_ABI_NOTE_NAME, MOTE_ABI_NOTE_TYPE, &note,
					  sizeof note, &bytes);
	elf_maker_header(&maker, PT_NOTE, at, bytes)->p_align = 8;
	image->note = (void *)(maker.bytes + at + bytes - sizeof note);
	assert(image->note->baseline == 1);
}

struct tiny_image tiny_guest(const struct tiny_options *options)
{
	struct tiny_image image = {0};
	const struct tiny_options *o = options;
	uint64_t load_gva = o->is_fixed ? o->base_va : TINY_GVA;
	uint64_t tables_va = 0;
	unsigned bits = o->bits ? o->bits : 64;
	elf_maker_guest(&maker, bits, o->is_fixed ? ET_EXEC : ET_DYN, o->base_va);
	if (o->data_bytes)
		maker.headers[ELF_MAKER_DATA].p_memsz = o->data_bytes;
	if (o->export_count + o->import_count)
		tables_va = add_tables(o, load_gva, &image);
	if (o->is_confined)
		add_note(o, tables_va, &image);
	if (bits == 64)
		add_symbols(o->base_va);
	elf_maker_finish(&maker);
	image.bytes = maker.bytes;
	image.len = maker.len;
	image.code = maker.bytes + maker.headers[ELF_MAKER_TEXT].p_offset;
	image.data = maker.bytes + maker.headers[ELF_MAKER_DATA].p_offset + 0x80;
	return image;
}
