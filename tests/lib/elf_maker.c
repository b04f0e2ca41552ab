/* SPDX-License-Identifier: MIT */
/* ELF files made in memory, see the header. */
#include "elf_maker.h"

#include <assert.h>
#include <string.h>

static unsigned word_bytes(const struct elf_maker *m)
{
	return m->bits / 8;
}

size_t elf_maker_put(struct elf_maker *m, const void *data, size_t bytes, size_t align)
{
	size_t at = (m->len + align - 1) / align * align;
	assert(at + bytes <= sizeof m->bytes);
	if (data)
		memcpy(m->bytes + at, data, bytes);
	m->len = at + bytes;
	return at;
}

/* A little-endian number of bytes bytes. */
static void put_number(uint8_t *at, uint64_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		at[i] = (uint8_t)(value >> 8 * i);
}

static size_t put_counted(struct elf_maker *m, size_t bytes, size_t align)
{
	size_t at = elf_maker_put(m, NULL, bytes, align);
	for (size_t i = 0; i < bytes; i++)
		m->bytes[at + i] = (uint8_t)(i + 1);
	return at;
}

Elf64_Phdr *elf_maker_header(struct elf_maker *m, uint32_t type, uint64_t offset, uint64_t bytes)
{
	assert(m->header_count < ELF_MAKER_HEADERS);
	Elf64_Phdr *header = &m->headers[m->header_count++];
	*header = (Elf64_Phdr){
		.p_type = type,
		.p_flags = PF_R,
		.p_offset = offset,
		.p_filesz = bytes,
		.p_memsz = bytes,
		.p_align = 8,
	};
	return header;
}

static void add_load(struct elf_maker *m, uint32_t flags, size_t offset, uint64_t va,
		     uint64_t file_bytes, uint64_t bytes)
{
	Elf64_Phdr *header = elf_maker_header(m, PT_LOAD, offset, file_bytes);
	header->p_flags = flags;
	header->p_vaddr = m->base_va + va;
	header->p_memsz = bytes;
	header->p_align = 0x1000;
}

static unsigned rela_entry_bytes(const struct elf_maker *m)
{
	return 3 * word_bytes(m);
}

void elf_maker_guest(struct elf_maker *m, unsigned bits, unsigned type, uint64_t base_va)
{
	memset(m, 0, sizeof *m);
	m->bits = bits;
	m->base_va = base_va;
	m->file = (Elf64_Ehdr){
		.e_ident = {0x7f, 'E', 'L', 'F', bits == 64 ? ELFCLASS64 : ELFCLASS32, ELFDATA2LSB,
			    EV_CURRENT},
		.e_type = (Elf64_Half)type,
		.e_machine = bits == 64 ? EM_X86_64 : EM_386,
		.e_version = EV_CURRENT,
		.e_entry = base_va + ELF_MAKER_ENTRY_VA,
		.e_ehsize = (Elf64_Half)(bits == 64 ? 64 : 52),
		.e_phentsize = (Elf64_Half)(bits == 64 ? 56 : 32),
		.e_shentsize = (Elf64_Half)(bits == 64 ? 64 : 40),
	};
	elf_maker_put(m, NULL, m->file.e_ehsize, 1);
	m->rela_offset = elf_maker_put(m, NULL, (size_t)ELF_MAKER_RELA * rela_entry_bytes(m), 8);
	size_t rodata_bytes = m->len;
	size_t text = put_counted(m, ELF_MAKER_TEXT_BYTES, 16);
	size_t data = put_counted(m, ELF_MAKER_DATA_FILE, 16);
	size_t dynamic_bytes = (size_t)ELF_MAKER_DYNAMIC * 2 * word_bytes(m);
	memset(m->bytes + data, 0, dynamic_bytes);
	m->dynamic_offset = data;

	add_load(m, PF_R, 0, 0, rodata_bytes, rodata_bytes);
	add_load(m, PF_R | PF_X, text, ELF_MAKER_TEXT_VA, ELF_MAKER_TEXT_BYTES,
		 ELF_MAKER_TEXT_BYTES);
	add_load(m, PF_R | PF_W, data, ELF_MAKER_DATA_VA, ELF_MAKER_DATA_FILE,
		 ELF_MAKER_DATA_BYTES);
	elf_maker_header(m, PT_DYNAMIC, data, dynamic_bytes)->p_vaddr = base_va + ELF_MAKER_DATA_VA;
	elf_maker_dynamic(m, DT_RELA, base_va + m->rela_offset);
	elf_maker_dynamic(m, DT_RELASZ, (uint64_t)ELF_MAKER_RELA * rela_entry_bytes(m));
	elf_maker_dynamic(m, DT_RELAENT, rela_entry_bytes(m));
}

void elf_maker_rela(struct elf_maker *m, unsigned i, uint64_t va, uint32_t type, uint64_t addend)
{
	unsigned word = word_bytes(m);
	uint8_t *at = m->bytes + m->rela_offset + (size_t)i * rela_entry_bytes(m);
	assert(i < ELF_MAKER_RELA);
	put_number(at, va, word);
	put_number(at + word, type, word);
	put_number(at + 2 * word, addend, word);
}

void elf_maker_dynamic(struct elf_maker *m, int64_t tag, uint64_t value)
{
	unsigned word = word_bytes(m);
	for (unsigned i = 0; i + 1 < ELF_MAKER_DYNAMIC; i++) {
		uint8_t *at = m->bytes + m->dynamic_offset + (size_t)i * 2 * word;
		uint32_t there;
		memcpy(&there, at, sizeof there);
		if (there != DT_NULL && there != tag)
			continue;
		put_number(at, (uint64_t)tag, word);
		put_number(at + word, value, word);
		return;
	}
	assert(0 && "no room in the dynamic section");
}

size_t elf_maker_note(struct elf_maker *m, size_t align, const char *name, uint32_t type,
		      const void *desc, size_t desc_bytes, size_t *bytes)
{
	size_t name_bytes = strlen(name) + 1;
	size_t at = elf_maker_put(m, NULL, 12, align);
	put_number(m->bytes + at, name_bytes, 4);
	put_number(m->bytes + at + 4, desc_bytes, 4);
	put_number(m->bytes + at + 8, type, 4);
	elf_maker_put(m, name, name_bytes, 1);
	elf_maker_put(m, desc, desc_bytes, align);
	elf_maker_put(m, NULL, 0, align);
	*bytes = m->len - at;
	return at;
}

static uint32_t add_name(struct elf_maker *m, const char *name)
{
	size_t at = m->names_bytes, bytes = strlen(name) + 1;
	assert(at + bytes <= sizeof m->names);
	memcpy(m->names + at, name, bytes);
	m->names_bytes += bytes;
	return (uint32_t)at;
}

Elf64_Shdr *elf_maker_section(struct elf_maker *m, const char *name, uint32_t type, uint64_t offset,
			      uint64_t bytes)
{
	if (m->section_count == 0) {
		add_name(m, "");
		m->sections[1] = (Elf64_Shdr){
			.sh_name = add_name(m, ".shstrtab"),
			.sh_type = SHT_STRTAB,
			.sh_addralign = 1,
		};
		m->section_count = 2;
		m->file.e_shstrndx = 1;
	}
	assert(m->section_count < ELF_MAKER_SECTIONS);
	Elf64_Shdr *section = &m->sections[m->section_count++];
	*section = (Elf64_Shdr){
		.sh_name = add_name(m, name),
		.sh_type = type,
		.sh_offset = offset,
		.sh_size = bytes,
		.sh_addralign = 8,
	};
	return section;
}

static void put_header(struct elf_maker *m, const Elf64_Phdr *header)
{
	if (m->bits == 64) {
		elf_maker_put(m, header, sizeof *header, 1);
		return;
	}
	Elf32_Phdr narrow = {
		.p_type = header->p_type,
		.p_offset = (Elf32_Off)header->p_offset,
		.p_vaddr = (Elf32_Addr)header->p_vaddr,
		.p_filesz = (Elf32_Word)header->p_filesz,
		.p_memsz = (Elf32_Word)header->p_memsz,
		.p_flags = header->p_flags,
		.p_align = (Elf32_Word)header->p_align,
	};
	elf_maker_put(m, &narrow, sizeof narrow, 1);
}

static void put_section(struct elf_maker *m, const Elf64_Shdr *section)
{
	if (m->bits == 64) {
		elf_maker_put(m, section, sizeof *section, 1);
		return;
	}
	Elf32_Shdr narrow = {
		.sh_name = section->sh_name,
		.sh_type = section->sh_type,
		.sh_offset = (Elf32_Off)section->sh_offset,
		.sh_size = (Elf32_Word)section->sh_size,
		.sh_link = section->sh_link,
		.sh_addralign = (Elf32_Word)section->sh_addralign,
		.sh_entsize = (Elf32_Word)section->sh_entsize,
	};
	elf_maker_put(m, &narrow, sizeof narrow, 1);
}

static void write_file_header(struct elf_maker *m)
{
	const Elf64_Ehdr *file = &m->file;
	if (m->bits == 64) {
		memcpy(m->bytes, file, sizeof *file);
		return;
	}
	Elf32_Ehdr narrow = {
		.e_type = file->e_type,
		.e_machine = file->e_machine,
		.e_version = file->e_version,
		.e_entry = (Elf32_Addr)file->e_entry,
		.e_phoff = (Elf32_Off)file->e_phoff,
		.e_shoff = (Elf32_Off)file->e_shoff,
		.e_ehsize = file->e_ehsize,
		.e_phentsize = file->e_phentsize,
		.e_phnum = file->e_phnum,
		.e_shentsize = file->e_shentsize,
		.e_shnum = file->e_shnum,
		.e_shstrndx = file->e_shstrndx,
	};
	memcpy(narrow.e_ident, file->e_ident, sizeof narrow.e_ident);
	memcpy(m->bytes, &narrow, sizeof narrow);
}

void elf_maker_finish(struct elf_maker *m)
{
	if (m->section_count) {
		m->sections[1].sh_offset = elf_maker_put(m, m->names, m->names_bytes, 1);
		m->sections[1].sh_size = m->names_bytes;
	}
	m->file.e_phoff = elf_maker_put(m, NULL, 0, 8);
	m->file.e_phnum = (Elf64_Half)m->header_count;
	for (unsigned i = 0; i < m->header_count; i++)
		put_header(m, &m->headers[i]);
	if (m->section_count) {
		m->file.e_shoff = elf_maker_put(m, NULL, 0, 8);
		m->file.e_shnum = (Elf64_Half)m->section_count;
		for (unsigned i = 0; i < m->section_count; i++)
			put_section(m, &m->sections[i]);
	}
	write_file_header(m);
}
