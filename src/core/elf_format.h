/* SPDX-License-Identifier: MIT */
/*
 * Private to src/core/elf*.c: the file format (numbers of the System V gABI and its x86-64 and i386
 * supplements) and the decoding of its tables. Decoders expect a checked range and read bytewise,
 * so nothing in a file needs to be aligned.
 */
#ifndef MOTE_CORE_ELF_FORMAT_H
#define MOTE_CORE_ELF_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/elf.h"

enum {
	ELF_EXEC = 2,
	ELF_DYN = 3,
	ELF_MACHINE_386 = 3,
	ELF_MACHINE_X86_64 = 62,
	ELF_PT_LOAD = 1,
	ELF_PT_DYNAMIC = 2,
	ELF_PT_INTERP = 3,
	ELF_PT_NOTE = 4,
	ELF_PT_GNU_RELRO = 0x6474e552,
	ELF_SHT_SYMTAB = 2,
	ELF_SHT_STRTAB = 3,
	ELF_SHT_NOTE = 7,
	ELF_SHT_NOBITS = 8,
	ELF_SHT_DYNSYM = 11,
};

static inline uint16_t mote__elf_get16(const uint8_t *at)
{
	return (uint16_t)(at[0] | at[1] << 8);
}

static inline uint32_t mote__elf_get32(const uint8_t *at)
{
	return (uint32_t)mote__elf_get16(at) | (uint32_t)mote__elf_get16(at + 2) << 16;
}

static inline uint64_t mote__elf_get64(const uint8_t *at)
{
	return (uint64_t)mote__elf_get32(at) | (uint64_t)mote__elf_get32(at + 4) << 32;
}

/** An address, offset or size field: 8 bytes, 4 in a 32-bit file. */
static inline uint64_t mote__elf_get_word(uint32_t bits, const uint8_t *at)
{
	return bits == 64 ? mote__elf_get64(at) : mote__elf_get32(at);
}

/** A program header. */
struct elf_header {
	uint32_t type, flags;
	uint64_t offset, va, file_bytes, bytes, align;
};

/** A section header. */
struct elf_section {
	uint32_t name, type, link;
	uint64_t offset, bytes, align, entry_bytes;
};

static inline uint32_t mote__elf_header_bytes(uint32_t bits)
{
	return bits == 64 ? 56 : 32;
}

static inline uint32_t mote__elf_section_bytes(uint32_t bits)
{
	return bits == 64 ? 64 : 40;
}

static inline uint32_t mote__elf_header_count(const struct mote__elf *elf)
{
	return (uint32_t)(elf->headers.bytes / mote__elf_header_bytes(elf->bits));
}

static inline uint32_t mote__elf_section_count(const struct mote__elf *elf)
{
	return (uint32_t)(elf->sections.bytes / mote__elf_section_bytes(elf->bits));
}

/** Program header i, i < mote__elf_header_count(). Nothing in it is checked. */
struct elf_header mote__elf_header(const struct mote__elf *elf, uint32_t i);

/** Section header i, i < mote__elf_section_count(). Nothing in it is checked. */
struct elf_section mote__elf_section(const struct mote__elf *elf, uint32_t i);

/** True when section has that name. */
bool mote__elf_section_is(const struct mote__elf *elf, const struct elf_section *section,
			  const char *name);

/** True when [va, va + bytes), bytes > 0, lies inside one segment that has all of access. */
bool mote__elf_in_segment(const struct mote__elf *elf, uint64_t va, uint64_t bytes,
			  uint32_t access);

/** Find the version note, `.note.mote` and the build id; refuse bad ones. Segments are checked. */
int mote__elf_read_notes(struct mote__elf *elf, struct mote_error *err);

/** Read elf->dynamic and find the relocation tables. Segments are checked. */
int mote__elf_read_dynamic(struct mote__elf *elf, struct mote_error *err);

#endif
