/* SPDX-License-Identifier: MIT */
/*
 * Headers of an ELF file: which files are accepted, where the parts of the image belong, and
 * which tables it has. Every range is checked here once, before anything reads from it; notes,
 * relocations, access and symbols are elf_note.c, elf_load.c, elf_access.c and elf_symbols.c.
 */
#include "core/elf.h"

#include "base/error.h"
#include "base/math.h"
#include "core/elf_format.h"

#include <inttypes.h>
#include <string.h>

#define IDENT_BYTES    16u
#define LOWER_HALF_END (1ull << 47)
#define ADDRESS_32_END (1ull << 32)

static uint32_t file_header_bytes(uint32_t bits)
{
	return bits == 64 ? 64 : 52;
}

struct elf_header mote__elf_header(const struct mote__elf *elf, uint32_t i)
{
	const uint8_t *at =
		elf->file + elf->headers.offset + (size_t)i * mote__elf_header_bytes(elf->bits);
	if (elf->bits == 32)
		return (struct elf_header){
			.type = mote__elf_get32(at),
			.offset = mote__elf_get32(at + 4),
			.va = mote__elf_get32(at + 8),
			.file_bytes = mote__elf_get32(at + 16),
			.bytes = mote__elf_get32(at + 20),
			.flags = mote__elf_get32(at + 24),
			.align = mote__elf_get32(at + 28),
		};
	return (struct elf_header){
		.type = mote__elf_get32(at),
		.flags = mote__elf_get32(at + 4),
		.offset = mote__elf_get64(at + 8),
		.va = mote__elf_get64(at + 16),
		.file_bytes = mote__elf_get64(at + 32),
		.bytes = mote__elf_get64(at + 40),
		.align = mote__elf_get64(at + 48),
	};
}

struct elf_section mote__elf_section(const struct mote__elf *elf, uint32_t i)
{
	const uint8_t *at =
		elf->file + elf->sections.offset + (size_t)i * mote__elf_section_bytes(elf->bits);
	if (elf->bits == 32)
		return (struct elf_section){
			.name = mote__elf_get32(at),
			.type = mote__elf_get32(at + 4),
			.offset = mote__elf_get32(at + 16),
			.bytes = mote__elf_get32(at + 20),
			.link = mote__elf_get32(at + 24),
			.align = mote__elf_get32(at + 32),
			.entry_bytes = mote__elf_get32(at + 36),
		};
	return (struct elf_section){
		.name = mote__elf_get32(at),
		.type = mote__elf_get32(at + 4),
		.offset = mote__elf_get64(at + 24),
		.bytes = mote__elf_get64(at + 32),
		.link = mote__elf_get32(at + 40),
		.align = mote__elf_get64(at + 48),
		.entry_bytes = mote__elf_get64(at + 56),
	};
}

bool mote__elf_section_is(const struct mote__elf *elf, const struct elf_section *section,
			  const char *name)
{
	size_t len = strlen(name) + 1;
	return mote__in_range(section->name, len, elf->section_names.bytes) &&
	       memcmp(elf->file + elf->section_names.offset + section->name, name, len) == 0;
}

void mote__elf_segment(const struct mote__elf *elf, uint32_t i, struct mote__elf_segment *segment)
{
	struct elf_header header = mote__elf_header(elf, elf->segment_index[i]);
	*segment = (struct mote__elf_segment){
		.va = header.va,
		.bytes = header.bytes,
		.file_offset = header.offset,
		.file_bytes = header.file_bytes,
		.access = header.flags & (MOTE__ELF_READ | MOTE__ELF_WRITE | MOTE__ELF_EXECUTE),
	};
}

bool mote__elf_in_segment(const struct mote__elf *elf, uint64_t va, uint64_t bytes, uint32_t access)
{
	for (uint32_t i = 0; i < elf->segment_count; i++) {
		struct mote__elf_segment segment;
		mote__elf_segment(elf, i, &segment);
		if ((segment.access & access) == access && va >= segment.va &&
		    mote__in_range(va - segment.va, bytes, segment.bytes))
			return true;
	}
	return false;
}

/* The bytes before the fields whose place depends on the class. */
static int read_ident(struct mote__elf *elf, struct mote_error *err)
{
	static const uint8_t magic[4] = {0x7f, 'E', 'L', 'F'};
	const uint8_t *at = elf->file;
	if (elf->file_bytes < sizeof magic || memcmp(at, magic, sizeof magic) != 0)
		return mote__fail(err, MOTE_EIMAGE,
				  "not an ELF file: its %zu bytes do not begin with 7f 45 4c 46",
				  elf->file_bytes);
	if (elf->file_bytes < IDENT_BYTES)
		return mote__fail(err, MOTE_EIMAGE, "ELF file ends inside its header: %zu bytes",
				  elf->file_bytes);
	if (at[4] != 1 && at[4] != 2)
		return mote__fail(err, MOTE_EIMAGE,
				  "ELF class %u at offset 4 is neither 1 (32 bits) nor 2 (64 bits)",
				  at[4]);
	elf->bits = at[4] == 1 ? 32 : 64;
	if (at[5] != 1)
		return mote__fail(err, MOTE_EIMAGE,
				  "ELF data encoding %u at offset 5 is not 1 (little-endian)",
				  at[5]);
	if (at[6] != 1)
		return mote__fail(err, MOTE_EIMAGE, "ELF version %u at offset 6 is not 1", at[6]);
	if (elf->file_bytes < file_header_bytes(elf->bits))
		return mote__fail(err, MOTE_EIMAGE,
				  "ELF file ends inside its header: %zu bytes of %u",
				  elf->file_bytes, file_header_bytes(elf->bits));
	return MOTE_OK;
}

static int read_kind(struct mote__elf *elf, struct mote_error *err)
{
	uint32_t type = mote__elf_get16(elf->file + 16);
	uint32_t machine = mote__elf_get16(elf->file + 18);
	uint32_t version = mote__elf_get32(elf->file + 20);
	uint32_t expected = elf->bits == 64 ? ELF_MACHINE_X86_64 : ELF_MACHINE_386;
	if (machine != expected)
		return mote__fail(err, MOTE_EIMAGE,
				  "ELF machine %u at offset 18 of a %u-bit file is not %u (%s)",
				  machine, elf->bits, expected,
				  elf->bits == 64 ? "x86-64" : "i386");
	if (type != ELF_EXEC && type != ELF_DYN)
		return mote__fail(err, MOTE_EIMAGE,
				  "ELF type %u at offset 16 is not an executable: neither %u "
				  "(ET_EXEC) nor %u (ET_DYN)",
				  type, ELF_EXEC, ELF_DYN);
	if (version != 1)
		return mote__fail(err, MOTE_EIMAGE, "ELF version %" PRIu32 " at offset 20 is not 1",
				  version);
	elf->is_pie = type == ELF_DYN;
	elf->entry_va = mote__elf_get_word(elf->bits, elf->file + 24);
	return MOTE_OK;
}

/* A table of headers, as the file header describes it. */
struct table {
	const char *what;
	uint64_t offset;
	uint32_t count, entry_bytes, expected_bytes;
};

static int check_table(const struct mote__elf *elf, const struct table *table,
		       struct mote__elf_range *range, struct mote_error *err)
{
	if (table->entry_bytes != table->expected_bytes)
		return mote__fail(err, MOTE_EIMAGE, "ELF header: a %s header has %u bytes, not %u",
				  table->what, table->entry_bytes, table->expected_bytes);
	uint64_t bytes = (uint64_t)table->count * table->entry_bytes;
	if (!mote__in_range(table->offset, bytes, elf->file_bytes))
		return mote__fail(err, MOTE_EIMAGE,
				  "ELF header: %u %s headers at file offset 0x%" PRIx64
				  " end outside the file of 0x%zx bytes",
				  table->count, table->what, table->offset, elf->file_bytes);
	*range = (struct mote__elf_range){table->offset, bytes};
	return MOTE_OK;
}

static int read_section_names(struct mote__elf *elf, uint32_t index, struct mote_error *err)
{
	if (index == 0)
		return MOTE_OK;
	if (index >= mote__elf_section_count(elf))
		return mote__fail(err, MOTE_EIMAGE,
				  "ELF header: names of sections are in section %u of %u", index,
				  mote__elf_section_count(elf));
	struct elf_section names = mote__elf_section(elf, index);
	if (names.type != ELF_SHT_STRTAB ||
	    !mote__in_range(names.offset, names.bytes, elf->file_bytes))
		return mote__fail(err, MOTE_EIMAGE,
				  "section %u, names of sections: type %" PRIu32
				  " (string table: %u), 0x%" PRIx64
				  " bytes at file offset 0x%" PRIx64 " of 0x%zx",
				  index, names.type, ELF_SHT_STRTAB, names.bytes, names.offset,
				  elf->file_bytes);
	elf->section_names = (struct mote__elf_range){names.offset, names.bytes};
	return MOTE_OK;
}

static int read_tables(struct mote__elf *elf, struct mote_error *err)
{
	bool wide = elf->bits == 64;
	const uint8_t *sizes = elf->file + (wide ? 54 : 42);
	struct table headers = {
		.what = "program",
		.offset = mote__elf_get_word(elf->bits, elf->file + (wide ? 32 : 28)),
		.count = mote__elf_get16(sizes + 2),
		.entry_bytes = mote__elf_get16(sizes),
		.expected_bytes = mote__elf_header_bytes(elf->bits),
	};
	struct table sections = {
		.what = "section",
		.offset = mote__elf_get_word(elf->bits, elf->file + (wide ? 40 : 32)),
		.count = mote__elf_get16(sizes + 6),
		.entry_bytes = mote__elf_get16(sizes + 4),
		.expected_bytes = mote__elf_section_bytes(elf->bits),
	};
	if (headers.count == 0)
		return mote__fail(err, MOTE_EIMAGE, "ELF file has no program headers");
	if (headers.count > MOTE__ELF_HEADERS_MAX)
		return mote__fail(err, MOTE_EIMAGE, "ELF file has %u program headers, over %u",
				  headers.count, MOTE__ELF_HEADERS_MAX);
	int rc = check_table(elf, &headers, &elf->headers, err);
	if (rc < 0 || (sections.offset == 0 && sections.count == 0))
		return rc;
	if (sections.offset == 0 || sections.count == 0)
		return mote__fail(err, MOTE_EIMAGE,
				  "ELF header: %u section headers at file offset 0x%" PRIx64,
				  sections.count, sections.offset);
	rc = check_table(elf, &sections, &elf->sections, err);
	return rc < 0 ? rc : read_section_names(elf, mote__elf_get16(sizes + 8), err);
}

static int check_load(const struct mote__elf *elf, uint32_t i, const struct elf_header *header,
		      struct mote_error *err)
{
	uint64_t end;
	if (header->file_bytes > header->bytes)
		return mote__fail(err, MOTE_EIMAGE,
				  "program header %u: 0x%" PRIx64 " bytes in the file, 0x%" PRIx64
				  " in memory",
				  i, header->file_bytes, header->bytes);
	if (!mote__add(header->va, header->bytes, &end) ||
	    (elf->bits == 32 && end > ADDRESS_32_END))
		return mote__fail(err, MOTE_EIMAGE,
				  "program header %u: 0x%" PRIx64 " bytes at address 0x%" PRIx64
				  " end outside the address space",
				  i, header->bytes, header->va);
	if (header->align & (header->align - 1))
		return mote__fail(err, MOTE_EIMAGE,
				  "program header %u: alignment 0x%" PRIx64
				  " is not a power of two",
				  i, header->align);
	return MOTE_OK;
}

static int add_segment(struct mote__elf *elf, uint32_t i, const struct elf_header *header,
		       struct mote_error *err)
{
	int rc = check_load(elf, i, header, err);
	if (rc < 0)
		return rc;
	if (elf->segment_count == MOTE__ELF_SEGMENTS_MAX)
		return mote__fail(err, MOTE_EIMAGE,
				  "program header %u is the PT_LOAD number %u, over %u", i,
				  elf->segment_count + 1, MOTE__ELF_SEGMENTS_MAX);
	for (uint32_t k = 0; k < elf->segment_count; k++) {
		struct mote__elf_segment other;
		mote__elf_segment(elf, k, &other);
		if (header->bytes && other.bytes && header->va < other.va + other.bytes &&
		    other.va < header->va + header->bytes)
			return mote__fail(
				err, MOTE_EIMAGE,
				"program header %u: 0x%" PRIx64 " bytes at address 0x%" PRIx64
				" overlap the PT_LOAD at 0x%" PRIx64 " of program header %u",
				i, header->bytes, header->va, other.va, elf->segment_index[k]);
	}
	elf->segment_index[elf->segment_count++] = (uint16_t)i;
	return MOTE_OK;
}

/* At most one header of this type, remembered in *range. */
static int set_once(struct mote__elf_range *range, const char *what, uint32_t i, uint64_t at,
		    uint64_t bytes, struct mote_error *err)
{
	if (range->bytes)
		return mote__fail(err, MOTE_EIMAGE, "program header %u is a second %s", i, what);
	*range = (struct mote__elf_range){at, bytes};
	return MOTE_OK;
}

static int read_header(struct mote__elf *elf, uint32_t i, struct mote__elf_range *relro,
		       struct mote_error *err)
{
	struct elf_header header = mote__elf_header(elf, i);
	bool is_load = header.type == ELF_PT_LOAD, is_dynamic = header.type == ELF_PT_DYNAMIC;

	if ((is_load || is_dynamic || header.type == ELF_PT_NOTE) &&
	    !mote__in_range(header.offset, header.file_bytes, elf->file_bytes))
		return mote__fail(err, MOTE_EIMAGE,
				  "program header %u: 0x%" PRIx64 " bytes at file offset 0x%" PRIx64
				  " end outside the file of 0x%zx bytes",
				  i, header.file_bytes, header.offset, elf->file_bytes);
	switch (header.type) {
	case ELF_PT_LOAD:
		return add_segment(elf, i, &header, err);
	case ELF_PT_DYNAMIC:
		return set_once(&elf->dynamic, "PT_DYNAMIC", i, header.offset, header.file_bytes,
				err);
	case ELF_PT_GNU_RELRO:
		return set_once(relro, "PT_GNU_RELRO", i, header.va, header.bytes, err);
	case ELF_PT_INTERP:
		return mote__fail(err, MOTE_EIMAGE,
				  "program header %u is PT_INTERP: the image needs a dynamic "
				  "linker, which guests do not have; link it with -static-pie or "
				  "-static",
				  i);
	default:
		return MOTE_OK;
	}
}

static int read_headers(struct mote__elf *elf, struct mote__elf_range *relro,
			struct mote_error *err)
{
	for (uint32_t i = 0; i < mote__elf_header_count(elf); i++) {
		int rc = read_header(elf, i, relro, err);
		if (rc < 0)
			return rc;
	}
	if (elf->segment_count == 0)
		return mote__fail(err, MOTE_EIMAGE,
				  "ELF must have at least one PT_LOAD header: none of %u is one",
				  mote__elf_header_count(elf));
	return MOTE_OK;
}

/* Where the image appears in the guest. */
static int place(struct mote__elf *elf, struct mote_error *err)
{
	uint64_t lowest = UINT64_MAX, end = 0;
	for (uint32_t i = 0; i < elf->segment_count; i++) {
		struct mote__elf_segment segment;
		mote__elf_segment(elf, i, &segment);
		lowest = segment.va < lowest ? segment.va : lowest;
		end = segment.va + segment.bytes > end ? segment.va + segment.bytes : end;
	}
	elf->base_va = mote__round_down(lowest, MOTE_PAGE_BYTES);
	elf->image_bytes = end - elf->base_va;
	elf->load_gva = elf->is_pie ? MOTE__ELF_LOAD_GVA : elf->base_va;
	if (elf->image_bytes == 0 || elf->image_bytes > MOTE__ELF_IMAGE_BYTES_MAX)
		return mote__fail(err, MOTE_EIMAGE,
				  "image has 0x%" PRIx64 " bytes, from 0x%" PRIx64 " to 0x%" PRIx64
				  "; allowed are 1 to 0x%llx",
				  elf->image_bytes, elf->base_va, end, MOTE__ELF_IMAGE_BYTES_MAX);
	if (!elf->is_pie && (elf->base_va < MOTE_PAGE_BYTES || end > LOWER_HALF_END))
		return mote__fail(err, MOTE_EIMAGE,
				  "image is linked at 0x%" PRIx64 " to 0x%" PRIx64
				  ", outside the addresses for guests, 0x%x to 0x%llx",
				  elf->base_va, end, MOTE_PAGE_BYTES, LOWER_HALF_END);
	if (!mote__elf_in_segment(elf, elf->entry_va, 1, MOTE__ELF_EXECUTE))
		return mote__fail(err, MOTE_EIMAGE,
				  "entry point 0x%" PRIx64
				  " is not inside an executable PT_LOAD segment",
				  elf->entry_va);
	elf->entry_gva = elf->load_gva + (elf->entry_va - elf->base_va);
	return MOTE_OK;
}

static int set_relro(struct mote__elf *elf, const struct mote__elf_range *relro,
		     struct mote_error *err)
{
	/* Linkers pad it to the end of its page, behind the end of the last segment. */
	uint64_t limit = mote__round_up(elf->image_bytes, MOTE_PAGE_BYTES);
	if (relro->bytes == 0)
		return MOTE_OK;
	if (relro->offset < elf->base_va ||
	    !mote__in_range(relro->offset - elf->base_va, relro->bytes, limit))
		return mote__fail(err, MOTE_EIMAGE,
				  "PT_GNU_RELRO: 0x%" PRIx64 " bytes at address 0x%" PRIx64
				  " are not inside the image, 0x%" PRIx64 " bytes at 0x%" PRIx64,
				  relro->bytes, relro->offset, elf->image_bytes, elf->base_va);
	elf->relro_va = relro->offset;
	elf->relro_bytes = relro->bytes;
	return MOTE_OK;
}

static int read_symbol_table(struct mote__elf *elf, uint32_t i, const struct elf_section *symbols,
			     struct mote_error *err)
{
	uint32_t expected = elf->bits == 64 ? 24 : 16;
	if (symbols->entry_bytes != expected ||
	    !mote__in_range(symbols->offset, symbols->bytes, elf->file_bytes))
		return mote__fail(err, MOTE_EIMAGE,
				  "section %u, symbol table: entries of %" PRIu64
				  " bytes (not %u), "
				  "0x%" PRIx64 " bytes at file offset 0x%" PRIx64 " of 0x%zx",
				  i, symbols->entry_bytes, expected, symbols->bytes,
				  symbols->offset, elf->file_bytes);
	if (symbols->link >= mote__elf_section_count(elf))
		return mote__fail(err, MOTE_EIMAGE,
				  "section %u, symbol table: names are in section %" PRIu32
				  " of %u",
				  i, symbols->link, mote__elf_section_count(elf));
	struct elf_section strings = mote__elf_section(elf, symbols->link);
	if (strings.type != ELF_SHT_STRTAB ||
	    !mote__in_range(strings.offset, strings.bytes, elf->file_bytes))
		return mote__fail(err, MOTE_EIMAGE,
				  "section %" PRIu32 ", names of symbols: type %" PRIu32
				  " (string table: %u), 0x%" PRIx64
				  " bytes at file offset 0x%" PRIx64 " of 0x%zx",
				  symbols->link, strings.type, ELF_SHT_STRTAB, strings.bytes,
				  strings.offset, elf->file_bytes);
	elf->symbols = (struct mote__elf_range){symbols->offset, symbols->bytes};
	elf->strings = (struct mote__elf_range){strings.offset, strings.bytes};
	return MOTE_OK;
}

/* The full symbol table, else the one for dynamic linking. */
static int read_symbols(struct mote__elf *elf, struct mote_error *err)
{
	static const uint32_t types[] = {ELF_SHT_SYMTAB, ELF_SHT_DYNSYM};
	for (size_t k = 0; k < sizeof types / sizeof types[0]; k++)
		for (uint32_t i = 0; i < mote__elf_section_count(elf); i++) {
			struct elf_section section = mote__elf_section(elf, i);
			if (section.type == types[k])
				return read_symbol_table(elf, i, &section, err);
		}
	return MOTE_OK;
}

static int parse(struct mote__elf *elf, struct mote_error *err)
{
	struct mote__elf_range relro = {0, 0};
	int rc = read_ident(elf, err);
	if (rc == MOTE_OK)
		rc = read_kind(elf, err);
	if (rc == MOTE_OK)
		rc = read_tables(elf, err);
	if (rc == MOTE_OK)
		rc = read_headers(elf, &relro, err);
	if (rc == MOTE_OK)
		rc = place(elf, err);
	if (rc == MOTE_OK)
		rc = set_relro(elf, &relro, err);
	if (rc == MOTE_OK)
		rc = mote__elf_read_dynamic(elf, err);
	if (rc == MOTE_OK)
		rc = mote__elf_read_notes(elf, err);
	return rc < 0 ? rc : read_symbols(elf, err);
}

int mote__elf_parse(const uint8_t *bytes, size_t len, struct mote__elf *out, struct mote_error *err)
{
	struct mote__elf elf = {.file = bytes, .file_bytes = len};
	int rc = parse(&elf, err);
	if (rc == MOTE_OK)
		*out = elf;
	return rc;
}
