/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as a guest image. What the parser accepts must keep the promises of core/elf.h: ranges
 * inside the file and the image, loading that stays inside an image of exactly the promised size,
 * pages whose access agrees with the check for write and execute, bounded symbol names.
 */
#include "core/elf.h"

#include <stdlib.h>
#include <string.h>

#define IMAGE_MAX (1u << 20) /* larger images are parsed only */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
	if (!condition)
		abort();
}

static bool is_inside(const struct mote__elf_range *range, size_t size)
{
	return range->bytes == 0 || (range->offset <= size && range->bytes <= size - range->offset);
}

static bool is_code(const struct mote__elf *elf, uint64_t va)
{
	for (uint32_t i = 0; i < elf->segment_count; i++) {
		struct mote__elf_segment segment;
		mote__elf_segment(elf, i, &segment);
		if ((segment.access & MOTE__ELF_EXECUTE) && va >= segment.va &&
		    va - segment.va < segment.bytes)
			return true;
	}
	return false;
}

static void check_note(const struct mote__elf *elf)
{
	const struct mote__elf_note *note = &elf->note;
	if (!note->present)
		return;
	bool ring3 = (note->required | note->optional) & MOTE__NOTE_RING3;
	require(elf->bits == 64 && note->version == 1 && note->family == MOTE__FAMILY_S);
	require((note->required & ~(uint64_t)MOTE__NOTE_KNOWN) == 0);
	require(note->baseline >= 1 && note->baseline <= 4);
	require(note->entry ? is_code(elf, elf->base_va + note->entry) : !ring3);
	require(note->dispatch ? is_code(elf, elf->base_va + note->dispatch) : !ring3);
	require(note->exports < elf->image_bytes && note->imports < elf->image_bytes);
}

static void check_placement(const struct mote__elf *elf, size_t size)
{
	require(elf->image_bytes > 0 && elf->image_bytes <= MOTE__ELF_IMAGE_BYTES_MAX);
	require(elf->load_gva >= 0x1000 && elf->load_gva % 4096 == 0);
	require(elf->load_gva + elf->image_bytes <= 1ull << 47);
	require(elf->segment_count > 0 && elf->segment_count <= MOTE__ELF_SEGMENTS_MAX);
	require(is_code(elf, elf->entry_va));
	require(elf->entry_gva - elf->load_gva == elf->entry_va - elf->base_va);
	for (uint32_t i = 0; i < elf->segment_count; i++) {
		struct mote__elf_segment segment;
		mote__elf_segment(elf, i, &segment);
		require(segment.va >= elf->base_va && segment.file_bytes <= segment.bytes);
		require(segment.va - elf->base_va <= elf->image_bytes);
		require(segment.bytes <= elf->image_bytes - (segment.va - elf->base_va));
		require(segment.file_offset <= size &&
			segment.file_bytes <= size - segment.file_offset);
	}
}

/* An own block of each range, so that a sanitizer sees every read beyond it. */
static uint8_t *copy_range(const uint8_t *data, const struct mote__elf_range *range)
{
	uint8_t *copy = malloc(range->bytes ? range->bytes : 1);
	memcpy(copy, data + range->offset, range->bytes);
	return copy;
}

static void check_symbols(const struct mote__elf *elf)
{
	char name[8];
	uint64_t offset = 0;
	struct mote__elf_symbols table = {
		.symbols = copy_range(elf->file, &elf->symbols),
		.symbols_bytes = elf->symbols.bytes,
		.strings = copy_range(elf->file, &elf->strings),
		.strings_bytes = elf->strings.bytes,
		.bits = elf->bits,
	};
	if (mote__elf_symbol_find(&table, elf->entry_va, name, sizeof name, &offset))
		require(memchr(name, 0, sizeof name) && offset <= elf->entry_va);
	free((void *)(uintptr_t)table.symbols);
	free((void *)(uintptr_t)table.strings);
}

static void check_image(const struct mote__elf *elf)
{
	bool is_wx = false;
	if (elf->image_bytes > IMAGE_MAX)
		return;
	uint8_t *image = calloc(1, elf->image_bytes);
	struct mote_error err = {0};
	int rc = mote__elf_load(elf, image, elf->image_bytes, &err);
	require(rc == MOTE_OK || (rc == MOTE_EIMAGE && err.code == rc && err.message[0]));
	free(image);
	uint64_t pages = (elf->image_bytes + 4095) / 4096;
	for (uint64_t page = 0; page < pages; page++) {
		uint32_t access = mote__elf_page_access(elf, page);
		is_wx = is_wx || ((access & MOTE__ELF_WRITE) && (access & MOTE__ELF_EXECUTE));
	}
	require(mote__elf_page_access(elf, pages) == 0);
	require((mote__elf_check_wx(elf, NULL) == MOTE_OK) == !is_wx);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mote__elf elf;
	struct mote_error err = {0};
	int rc = mote__elf_parse(data, size, &elf, &err);
	if (rc < 0) {
		require(rc == MOTE_EIMAGE && err.code == rc && err.message[0]);
		return 0;
	}
	require(is_inside(&elf.build_id, size) && is_inside(&elf.symbols, size) &&
		is_inside(&elf.strings, size));
	require(elf.build_id.bytes <= MOTE__ELF_BUILD_ID_MAX);
	require(!elf.version[0] || !strcmp(elf.version, "0.15.0") ||
		!strcmp(elf.version, "0.16.0"));
	check_placement(&elf, size);
	check_note(&elf);
	check_symbols(&elf);
	check_image(&elf);
	return 0;
}
