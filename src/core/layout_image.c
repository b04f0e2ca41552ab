/* SPDX-License-Identifier: MIT */
/*
 * What a layout needs to know of an image: where it is, and which access its pages have. It comes
 * from an ELF file, or from a stored snapshot, whose numbers are hostile.
 */
#include "core/layout.h"

#include <string.h>

#include "base/error.h"
#include "base/math.h"

#define PAGE       ((uint64_t)MOTE_PAGE_BYTES)
#define LOWER_END  0x800000000000ull
#define ALL_ACCESS ((uint32_t)(MOTE_READ | MOTE_WRITE | MOTE_EXECUTE))

/* Pages at which the access may change: the borders of all segments and of what becomes read-only.
 */
struct borders {
	uint32_t count;
	uint64_t page[2 * MOTE__ELF_SEGMENTS_MAX + 6];
};

static void add_border(struct borders *borders, uint64_t page)
{
	uint32_t i = borders->count++;
	for (; i > 0 && borders->page[i - 1] > page; i--)
		borders->page[i] = borders->page[i - 1];
	borders->page[i] = page;
}

static void find_borders(const struct mote__elf *elf, struct borders *borders)
{
	borders->count = 0;
	add_border(borders, 0);
	for (uint32_t i = 0; i < elf->segment_count; i++) {
		struct mote__elf_segment segment;
		mote__elf_segment(elf, i, &segment);
		uint64_t start = segment.va - elf->base_va;
		add_border(borders, start / PAGE);
		add_border(borders, mote__round_up(start + segment.bytes, PAGE) / PAGE);
	}
	if (!elf->relro_bytes)
		return;
	/* A page that it begins or ends in may have bytes of both kinds. */
	uint64_t start = elf->relro_va - elf->base_va, end = start + elf->relro_bytes;
	add_border(borders, start / PAGE);
	add_border(borders, mote__round_up(start, PAGE) / PAGE);
	add_border(borders, end / PAGE);
	add_border(borders, mote__round_up(end, PAGE) / PAGE);
}

static uint32_t access_of(uint32_t elf_access)
{
	if (!elf_access)
		return 0;
	return (uint32_t)MOTE_READ | (elf_access & MOTE__ELF_WRITE ? (uint32_t)MOTE_WRITE : 0) |
	       (elf_access & MOTE__ELF_EXECUTE ? (uint32_t)MOTE_EXECUTE : 0);
}

static void add_run(struct mote__layout_image *image, uint64_t first, uint64_t end, uint32_t access)
{
	struct mote__layout_run *last = &image->runs[image->run_count ? image->run_count - 1 : 0];
	if (image->run_count && last->access == access && last->first + last->count == first)
		last->count += end - first;
	else if (image->run_count < MOTE__LAYOUT_RUNS_MAX)
		image->runs[image->run_count++] =
			(struct mote__layout_run){first, end - first, access};
}

void mote__layout_image_of(const struct mote__elf *elf, struct mote__layout_image *image)
{
	struct borders borders;
	*image = (struct mote__layout_image){.gva = elf->load_gva,
					     .bytes = mote__round_up(elf->image_bytes, PAGE)};
	find_borders(elf, &borders);
	for (uint32_t i = 0; i + 1 < borders.count; i++) {
		uint64_t first = borders.page[i];
		uint64_t end = mote__smaller(borders.page[i + 1], image->bytes / PAGE);
		uint32_t access = access_of(mote__elf_page_access(elf, first));
		if (first < end && access)
			add_run(image, first, end, access);
	}
}

static int check_run(const struct mote__layout_image *image, uint32_t i, struct mote_error *err)
{
	const uint32_t both = MOTE_WRITE | MOTE_EXECUTE;
	const struct mote__layout_run *run = &image->runs[i];
	uint64_t pages = image->bytes / PAGE;
	uint64_t next = i ? run[-1].first + run[-1].count : 0;
	if (!run->count || run->first < next || !mote__in_range(run->first, run->count, pages))
		return mote__fail(err, MOTE_EIMAGE,
				  "run %u of the image's pages has 0x%llx from 0x%llx on: they "
				  "ascend from 0x%llx and end before 0x%llx",
				  i, (unsigned long long)run->count, (unsigned long long)run->first,
				  (unsigned long long)next, (unsigned long long)pages);
	if (run->access & ~ALL_ACCESS || !(run->access & MOTE_READ))
		return mote__fail(err, MOTE_EIMAGE,
				  "run %u of the image's pages has access 0x%x, which is none", i,
				  run->access);
	if ((run->access & both) == both)
		return mote__fail(err, MOTE_EIMAGE,
				  "run %u of the image's pages is writable and executable: memory "
				  "of a confined guest is not both",
				  i);
	return MOTE_OK;
}

int mote__layout_image_check(const struct mote__layout_config *config,
			     const struct mote__layout_image *image, struct mote_error *err)
{
	uint64_t end, most = config->family->bits == 64 ? LOWER_END : 0x100000000;
	if (image->gva % PAGE || image->bytes % PAGE || !image->gva || !image->bytes ||
	    !mote__add(image->gva, image->bytes, &end) || end > most)
		return mote__fail(err, MOTE_EIMAGE,
				  "the image has 0x%llx bytes at 0x%llx: it has whole pages, from "
				  "0x1000 on, and ends at 0x%llx at most",
				  (unsigned long long)image->bytes, (unsigned long long)image->gva,
				  (unsigned long long)most);
	if (image->run_count > MOTE__LAYOUT_RUNS_MAX)
		return mote__fail(err, MOTE_EIMAGE,
				  "the image has %u runs of pages, at most %u are possible",
				  image->run_count, MOTE__LAYOUT_RUNS_MAX);
	for (uint32_t i = 0; config->is_confined && i < image->run_count; i++) {
		int rc = check_run(image, i, err);
		if (rc < 0)
			return rc;
	}
	return MOTE_OK;
}

void mote__layout_image_again(const struct mote__layout *l, struct mote__layout_image *image)
{
	*image = (struct mote__layout_image){.gva = l->image_gva, .bytes = l->image_bytes};
	for (uint32_t i = 0; l->is_confined && i < l->part_count; i++) {
		const struct mote__part *part = &l->parts[i];
		if (part->gva - l->image_gva >= l->image_bytes)
			continue;
		image->runs[image->run_count++] = (struct mote__layout_run){
			(part->gva - l->image_gva) / PAGE, part->bytes / PAGE,
			(uint32_t)MOTE_READ | (part->attributes.cow ? (uint32_t)MOTE_WRITE : 0) |
				(part->attributes.exec ? (uint32_t)MOTE_EXECUTE : 0)};
	}
}
