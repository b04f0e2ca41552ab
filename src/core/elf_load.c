/* SPDX-License-Identifier: MIT */
/*
 * The image as it stands in guest memory: segments in their places, relocations applied.
 *
 * Relocation tables are read from the file, never from the image that they change, so a table that
 * relocates itself means nothing. No store leaves [image, image + elf->image_bytes).
 */
#include "core/elf_format.h"

#include "base/error.h"
#include "base/math.h"

#include <inttypes.h>
#include <string.h>

/* Tags of the dynamic section. Lengths and entry sizes are in bytes. */
enum {
	DT_NULL = 0,
	DT_PLTRELSZ = 2,
	DT_RELA = 7,
	DT_RELASZ = 8,
	DT_RELAENT = 9,
	DT_REL = 17,
	DT_RELSZ = 18,
	DT_RELENT = 19,
	DT_PLTREL = 20, /* DT_RELA or DT_REL: the kind of DT_JMPREL */
	DT_JMPREL = 23,
	DT_RELRSZ = 35,
	DT_END = 36, /* tags below are remembered */
};

/* Relocation types, the same numbers on x86-64 and i386. */
enum { R_NONE = 0, R_RELATIVE = 8 };

static uint32_t rela_bytes(const struct mote__elf *elf)
{
	return elf->bits == 64 ? 24 : 12;
}

static uint32_t rel_bytes(const struct mote__elf *elf)
{
	return elf->bits == 64 ? 16 : 8;
}

/* A relocation table as the dynamic section describes it. */
struct table {
	const char *name;
	uint64_t va, bytes, entry_bytes;
	uint32_t expected_bytes; /* of an entry */
};

static int find_table(const struct mote__elf *elf, const struct table *table,
		      struct mote__elf_range *range, struct mote_error *err)
{
	if (table->bytes == 0)
		return MOTE_OK;
	if (table->entry_bytes != table->expected_bytes)
		return mote__fail(err, MOTE_EIMAGE,
				  "dynamic section: an entry of %s has %" PRIu64 " bytes, not %u",
				  table->name, table->entry_bytes, table->expected_bytes);
	if (table->bytes % table->expected_bytes != 0)
		return mote__fail(err, MOTE_EIMAGE,
				  "dynamic section: 0x%" PRIx64
				  " bytes of %s are not a multiple of %u",
				  table->bytes, table->name, table->expected_bytes);
	for (uint32_t i = 0; i < elf->segment_count; i++) {
		struct mote__elf_segment segment;
		mote__elf_segment(elf, i, &segment);
		if (table->va < segment.va ||
		    !mote__in_range(table->va - segment.va, table->bytes, segment.file_bytes))
			continue;
		*range = (struct mote__elf_range){segment.file_offset + (table->va - segment.va),
						  table->bytes};
		return MOTE_OK;
	}
	return mote__fail(err, MOTE_EIMAGE,
			  "dynamic section: 0x%" PRIx64 " bytes of %s at address 0x%" PRIx64
			  " are not in one segment of the file",
			  table->bytes, table->name, table->va);
}

/* values[tag] gets the last value of each known tag. */
static void read_tags(const struct mote__elf *elf, uint64_t values[DT_END])
{
	uint32_t word = elf->bits / 8;
	const uint8_t *at = elf->file + elf->dynamic.offset;
	for (uint64_t left = elf->dynamic.bytes; left >= 2ull * word; left -= 2ull * word) {
		uint64_t tag = mote__elf_get_word(elf->bits, at);
		if (tag == DT_NULL)
			break;
		if (tag < DT_END)
			values[tag] = mote__elf_get_word(elf->bits, at + word);
		at += 2ull * word;
	}
}

int mote__elf_read_dynamic(struct mote__elf *elf, struct mote_error *err)
{
	uint64_t tags[DT_END] = {0};
	read_tags(elf, tags);
	if (tags[DT_RELRSZ] != 0)
		return mote__fail(err, MOTE_EIMAGE,
				  "dynamic section: 0x%" PRIx64
				  " bytes of packed relocations (DT_RELR) are not supported; link "
				  "with -z nopack-relative-relocs",
				  tags[DT_RELRSZ]);
	struct table rela = {"DT_RELA", tags[DT_RELA], tags[DT_RELASZ], tags[DT_RELAENT],
			     rela_bytes(elf)};
	struct table rel = {"DT_REL", tags[DT_REL], tags[DT_RELSZ], tags[DT_RELENT],
			    rel_bytes(elf)};
	elf->plt_is_rela = tags[DT_PLTREL] == DT_RELA;
	uint32_t plt_bytes = elf->plt_is_rela ? rela_bytes(elf) : rel_bytes(elf);
	struct table plt = {"DT_JMPREL", tags[DT_JMPREL], tags[DT_PLTRELSZ], plt_bytes, plt_bytes};
	int rc = find_table(elf, &rela, &elf->rela, err);
	if (rc == MOTE_OK)
		rc = find_table(elf, &rel, &elf->rel, err);
	return rc < 0 ? rc : find_table(elf, &plt, &elf->plt, err);
}

/* A relocation, and where it is for messages. */
struct relocation {
	const char *table;
	uint64_t index;
	uint64_t va, addend;
	uint32_t type;
	bool has_addend;
};

static int store(const struct mote__elf *elf, uint8_t *image, const struct relocation *relocation,
		 struct mote_error *err)
{
	uint32_t bytes = elf->bits / 8;
	uint64_t at = relocation->va - elf->base_va;
	if (relocation->va < elf->base_va || !mote__in_range(at, bytes, elf->image_bytes))
		return mote__fail(err, MOTE_EIMAGE,
				  "%s relocation %" PRIu64 ": address 0x%" PRIx64
				  " is outside the image, 0x%" PRIx64 " bytes at 0x%" PRIx64,
				  relocation->table, relocation->index, relocation->va,
				  elf->image_bytes, elf->base_va);
	/* Modulo 2^64, as a linker means it; a 32-bit image keeps the lower half. */
	uint64_t addend = relocation->has_addend ? relocation->addend : mote__elf_get32(image + at);
	uint64_t value = addend + (elf->load_gva - elf->base_va);
	for (uint32_t i = 0; i < bytes; i++)
		image[at + i] = (uint8_t)(value >> 8 * i);
	return MOTE_OK;
}

static int apply(const struct mote__elf *elf, uint8_t *image, const struct relocation *relocation,
		 struct mote_error *err)
{
	if (relocation->type == R_NONE)
		return MOTE_OK;
	if (relocation->type != R_RELATIVE)
		return mote__fail(err, MOTE_EIMAGE,
				  "%s relocation %" PRIu64 " at address 0x%" PRIx64
				  ": unsupported %s relocation %" PRIu32,
				  relocation->table, relocation->index, relocation->va,
				  elf->bits == 64 ? "x86_64" : "i386", relocation->type);
	/* On i386 the addend is what stands there. */
	if (!relocation->has_addend && elf->bits == 64)
		return mote__fail(err, MOTE_EIMAGE,
				  "%s relocation %" PRIu64 " at address 0x%" PRIx64
				  ": R_X86_64_RELATIVE missing addend",
				  relocation->table, relocation->index, relocation->va);
	return store(elf, image, relocation, err);
}

/* Entry i of a table that is inside the file. */
static struct relocation decode(const struct mote__elf *elf, const struct mote__elf_range *range,
				bool has_addend, uint64_t i)
{
	uint32_t word = elf->bits / 8;
	const uint8_t *at = elf->file + range->offset +
			    (size_t)i * (has_addend ? rela_bytes(elf) : rel_bytes(elf));
	uint64_t info = mote__elf_get_word(elf->bits, at + word);
	return (struct relocation){
		.index = i,
		.va = mote__elf_get_word(elf->bits, at),
		.type = elf->bits == 64 ? (uint32_t)info : (uint8_t)info,
		.has_addend = has_addend,
		.addend = has_addend ? mote__elf_get_word(elf->bits, at + 2ull * word) : 0,
	};
}

static int apply_table(const struct mote__elf *elf, uint8_t *image, bool has_addend,
		       struct mote_error *err)
{
	const struct mote__elf_range *range = has_addend ? &elf->rela : &elf->rel;
	uint64_t count = range->bytes / (has_addend ? rela_bytes(elf) : rel_bytes(elf));
	for (uint64_t i = 0; i < count; i++) {
		struct relocation relocation = decode(elf, range, has_addend, i);
		relocation.table = has_addend ? "DT_RELA" : "DT_REL";
		int rc = apply(elf, image, &relocation, err);
		if (rc < 0)
			return rc;
	}
	return MOTE_OK;
}

/* Nobody binds a procedure linkage table at run time: it must ask for nothing. */
static int check_plt(const struct mote__elf *elf, struct mote_error *err)
{
	uint64_t count = elf->plt.bytes / (elf->plt_is_rela ? rela_bytes(elf) : rel_bytes(elf));
	for (uint64_t i = 0; i < count; i++) {
		struct relocation relocation = decode(elf, &elf->plt, elf->plt_is_rela, i);
		if (relocation.type != R_NONE)
			return mote__fail(err, MOTE_EIMAGE,
					  "DT_JMPREL relocation %" PRIu64 " at address 0x%" PRIx64
					  ": type %" PRIu32
					  " needs a dynamic linker, which guests do not have",
					  i, relocation.va, relocation.type);
	}
	return MOTE_OK;
}

int mote__elf_load(const struct mote__elf *elf, uint8_t *image, uint64_t image_bytes,
		   struct mote_error *err)
{
	if (image_bytes < elf->image_bytes)
		return mote__fail(err, MOTE_EINVAL,
				  "0x%" PRIx64 " bytes for an image of 0x%" PRIx64, image_bytes,
				  elf->image_bytes);
	int rc = check_plt(elf, err);
	if (rc < 0)
		return rc;
	for (uint32_t i = 0; i < elf->segment_count; i++) {
		struct mote__elf_segment segment;
		mote__elf_segment(elf, i, &segment);
		memcpy(image + (segment.va - elf->base_va), elf->file + segment.file_offset,
		       segment.file_bytes);
	}
	rc = apply_table(elf, image, true, err);
	return rc < 0 ? rc : apply_table(elf, image, false, err);
}
