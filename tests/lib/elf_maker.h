/* SPDX-License-Identifier: MIT */
/*
 * ELF files made in memory, for tests. Starts from a small good guest; a test adds to it or spoils
 * it, then elf_maker_finish() writes the tables behind the content and the file header. Uses the
 * system's <elf.h>, not the definitions of the code under test. Nothing is checked: it is meant to
 * make bad files.
 */
#ifndef MOTE_TESTS_ELF_MAKER_H
#define MOTE_TESTS_ELF_MAKER_H

#include <elf.h>
#include <stddef.h>
#include <stdint.h>

#define ELF_MAKER_BYTES    (128u << 10)
#define ELF_MAKER_HEADERS  300u
#define ELF_MAKER_SECTIONS 16u
#define ELF_MAKER_RELA     4u /* entries of the relocation table */
#define ELF_MAKER_DYNAMIC  8u /* entries of the dynamic section, with the last, DT_NULL */

/* Program headers of the good guest. Its notes and symbols come on request. */
enum { ELF_MAKER_RODATA, ELF_MAKER_TEXT, ELF_MAKER_DATA, ELF_MAKER_DYN, ELF_MAKER_FIRST_FREE };

/* The good guest, addresses from its base. Bytes of text and data are counted 1, 2, 3, ... */
#define ELF_MAKER_TEXT_VA    0x1000u /* read, execute */
#define ELF_MAKER_TEXT_BYTES 0x40u
#define ELF_MAKER_ENTRY_VA   0x1010u
#define ELF_MAKER_DATA_VA    0x2000u /* read, write; begins with the dynamic section */
#define ELF_MAKER_DATA_FILE  0x120u  /* bytes from the file */
#define ELF_MAKER_DATA_BYTES 0x1801u /* with zeros: ends in the second page */

struct elf_maker {
	unsigned bits;
	Elf64_Ehdr file; /* also for 32 bits; the tables' places and counts are set by finish */
	Elf64_Phdr headers[ELF_MAKER_HEADERS];
	unsigned header_count;
	Elf64_Shdr sections[ELF_MAKER_SECTIONS]; /* 0 is the empty one, 1 the names of sections */
	unsigned section_count;                  /* 0 writes no section table */
	char names[512];
	size_t names_bytes;
	size_t rela_offset, dynamic_offset; /* in the file */
	uint64_t base_va;
	uint8_t bytes[ELF_MAKER_BYTES]; /* the file */
	size_t len;
};

/** The good guest: bits 64 or 32, type ET_DYN or ET_EXEC, linked at base_va. Not finished. */
void elf_maker_guest(struct elf_maker *m, unsigned bits, unsigned type, uint64_t base_va);

/** Append bytes to the file; returns their file offset. data may be NULL for zeros. */
size_t elf_maker_put(struct elf_maker *m, const void *data, size_t bytes, size_t align);

/** Add a program header; returns it for changes. */
Elf64_Phdr *elf_maker_header(struct elf_maker *m, uint32_t type, uint64_t offset, uint64_t bytes);

/** Add a section header (and the section of names before the first); returns it for changes. */
Elf64_Shdr *elf_maker_section(struct elf_maker *m, const char *name, uint32_t type, uint64_t offset,
			      uint64_t bytes);

/** Append one note, padded to align; returns its file offset, *bytes gets its size. */
size_t elf_maker_note(struct elf_maker *m, size_t align, const char *name, uint32_t type,
		      const void *desc, size_t desc_bytes, size_t *bytes);

/** Set relocation i < ELF_MAKER_RELA of DT_RELA. */
void elf_maker_rela(struct elf_maker *m, unsigned i, uint64_t va, uint32_t type, uint64_t addend);

/** Set a tag of the dynamic section, or add it. */
void elf_maker_dynamic(struct elf_maker *m, int64_t tag, uint64_t value);

/** Write the tables and the file header: m->bytes, m->len is a file. Once only. */
void elf_maker_finish(struct elf_maker *m);

#endif
