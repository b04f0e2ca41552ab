/* SPDX-License-Identifier: MIT */
/*
 * What access the pages of a loaded image need: the union of the segments that touch a page.
 * PT_GNU_RELRO counts as not writable, because relocations are applied before the guest starts.
 */
#include "core/elf.h"

#include "base/error.h"
#include "base/math.h"

#include <inttypes.h>

/* Offsets in the image, [start, end). */
struct span {
	uint64_t start, end;
};

/* What stays writable of a segment: all but PT_GNU_RELRO. Either part may be empty. */
struct writable {
	struct span before, behind;
};

static struct span offsets(const struct mote__elf *elf, const struct mote__elf_segment *segment)
{
	uint64_t start = segment->va - elf->base_va;
	return (struct span){start, start + segment->bytes};
}

static struct writable writable_parts(const struct mote__elf *elf,
				      const struct mote__elf_segment *segment)
{
	struct span whole = offsets(elf, segment), none = {0, 0};
	if (!(segment->access & MOTE__ELF_WRITE))
		return (struct writable){none, none};
	if (elf->relro_bytes == 0)
		return (struct writable){whole, none};
	uint64_t start = elf->relro_va - elf->base_va, end = start + elf->relro_bytes;
	return (struct writable){
		.before = {whole.start, start < whole.end ? start : whole.end},
		.behind = {end > whole.start ? end : whole.start, whole.end},
	};
}

/* True when the two have bytes in the same page. */
static bool share_page(struct span a, struct span b)
{
	return a.start < a.end && b.start < b.end &&
	       a.start / MOTE_PAGE_BYTES <= (b.end - 1) / MOTE_PAGE_BYTES &&
	       b.start / MOTE_PAGE_BYTES <= (a.end - 1) / MOTE_PAGE_BYTES;
}

uint32_t mote__elf_page_access(const struct mote__elf *elf, uint64_t page)
{
	uint32_t access = 0;
	if (page > (elf->image_bytes - 1) / MOTE_PAGE_BYTES)
		return 0;
	struct span bytes = {page * MOTE_PAGE_BYTES, (page + 1) * MOTE_PAGE_BYTES};
	for (uint32_t i = 0; i < elf->segment_count; i++) {
		struct mote__elf_segment segment;
		mote__elf_segment(elf, i, &segment);
		if (!share_page(bytes, offsets(elf, &segment)))
			continue;
		access |= segment.access & ~MOTE__ELF_WRITE;
		struct writable parts = writable_parts(elf, &segment);
		if (share_page(bytes, parts.before) || share_page(bytes, parts.behind))
			access |= MOTE__ELF_WRITE;
	}
	return access;
}

/* Refuse what stays writable of segment in a page that an executable segment touches. */
static int check_writable(const struct mote__elf *elf, const struct mote__elf_segment *segment,
			  struct mote_error *err)
{
	struct writable parts = writable_parts(elf, segment);
	for (uint32_t i = 0; i < elf->segment_count; i++) {
		struct mote__elf_segment other;
		mote__elf_segment(elf, i, &other);
		struct span code = offsets(elf, &other);
		if ((other.access & MOTE__ELF_EXECUTE) &&
		    (share_page(parts.before, code) || share_page(parts.behind, code)))
			return mote__fail(err, MOTE_EIMAGE,
					  "writable PT_LOAD at 0x%" PRIx64
					  " and executable PT_LOAD at 0x%" PRIx64
					  " share a page: no page may be both",
					  segment->va, other.va);
	}
	return MOTE_OK;
}

int mote__elf_check_wx(const struct mote__elf *elf, struct mote_error *err)
{
	for (uint32_t i = 0; i < elf->segment_count; i++) {
		struct mote__elf_segment segment;
		mote__elf_segment(elf, i, &segment);
		int rc = check_writable(elf, &segment, err);
		if (rc < 0)
			return rc;
	}
	return MOTE_OK;
}
