/* SPDX-License-Identifier: MIT */
/*
 * Page tables of a layout. Their order is part of what a start relies on: the root first, and the
 * leaf tables of address space that nobody touched last, so that they cost neither memory nor time.
 */
#include "core/layout_build.h"

#include <string.h>

#include "base/math.h"
#include "core/confined.h"

#define PAGE         ((uint64_t)MOTE_PAGE_BYTES)
#define STACK_PRESET 2u /* pages at the stack's top in the write set */

bool mote__layout_is_space(const struct mote__part *part)
{
	return part->kind == MOTE__PART_DEMAND || part->kind == MOTE__PART_SPACE;
}

struct mote__pt_mapping mote__layout_mapping(const struct mote__part *part)
{
	struct mote__pt_mapping m = {.va = part->gva,
				     .bytes = part->bytes,
				     .gpa = part->gpa,
				     .kind = MOTE__PT_MAP,
				     .large = part->is_large,
				     .attributes = part->attributes};
	if (mote__layout_is_space(part)) {
		m.kind = MOTE__PT_RESERVE;
		m.reserve_level = 1;
	}
	return m;
}

uint32_t mote__layout_stack_preset(const struct mote__layout *layout)
{
	uint64_t pages = layout->stack_bytes / PAGE;
	return pages < STACK_PRESET ? (uint32_t)pages : STACK_PRESET;
}

/* ---- steps ----------------------------------------------------------------------------------- */

/* Tables for address space: of level 2 and above, then leaf tables, which come last and are empty.
 */
static int reserve_space(struct mote__layout_builder *b, uint32_t level)
{
	int rc = MOTE__PT_OK;
	for (uint32_t i = 0; i < b->layout->part_count && rc == MOTE__PT_OK; i++) {
		const struct mote__part *part = &b->layout->parts[i];
		struct mote__pt_mapping m = mote__layout_mapping(part);
		m.reserve_level = level;
		if (mote__layout_is_space(part))
			rc = mote__pt_map(&b->tables, b->root, &m);
	}
	return rc;
}

int mote__layout_build_begin(struct mote__layout_builder *b, const struct mote__layout *layout,
			     void *tables)
{
	*b = (struct mote__layout_builder){.layout = layout};
	int rc = mote__pt_builder_init(&b->tables, layout->family->format, tables,
				       layout->scratch_gpa + layout->tables_offset,
				       layout->tables_bytes);
	b->tables.user_tables = layout->is_confined;
	b->tables.is_zeroed = true;
	if (rc == MOTE__PT_OK)
		rc = mote__pt_add_root(&b->tables, &b->root);
	if (rc == MOTE__PT_OK)
		rc = reserve_space(b, 2);
	return rc;
}

int mote__layout_build_map(struct mote__layout_builder *b, uint64_t gva, uint64_t gpa,
			   uint64_t bytes, struct mote__pt_attributes attributes)
{
	const struct mote__pt_mapping m = {.va = gva,
					   .gpa = gpa,
					   .bytes = bytes,
					   .kind = MOTE__PT_MAP,
					   .attributes = attributes};
	return mote__pt_map(&b->tables, b->root, &m);
}

int mote__layout_build_reserve(struct mote__layout_builder *b, uint64_t gva, uint64_t bytes)
{
	const struct mote__pt_mapping m = {
		.va = gva, .bytes = bytes, .kind = MOTE__PT_RESERVE, .reserve_level = 1};
	return mote__pt_map(&b->tables, b->root, &m);
}

/* The recursive entry, and the system leaves' view of themselves. */
static int map_own_tables(struct mote__layout_builder *b)
{
	const struct mote__pt_range range = mote__pt_built(&b->tables);
	const struct mote__pt_space space = {.format = b->tables.format,
					     .memory = {&range, mote__pt_range_table},
					     .root = b->root};
	uint64_t leaves = 0;
	int rc = mote__pt_find_table(&space, MOTE__SYSTEM_GVA, 1, &leaves);
	if (rc == MOTE__PT_OK)
		rc = mote__layout_build_map(b, MOTE__PAGE_GVA(MOTE__LEAVES_PAGE), leaves, PAGE,
					    (struct mote__pt_attributes){.writable = true});
	if (rc == MOTE__PT_OK)
		rc = mote__pt_self_map(&b->tables, b->root, MOTE__SELF_GVA);
	return rc;
}

int mote__layout_build_end(struct mote__layout_builder *b, uint64_t *used_bytes)
{
	int rc = b->layout->is_confined ? map_own_tables(b) : MOTE__PT_OK;
	*used_bytes = b->tables.used;
	return rc < 0 ? rc : reserve_space(b, 1);
}

/* ---- an image's tables ----------------------------------------------------------------------- */

struct build {
	struct mote__layout_builder b;
	bool (*is_zero)(void *cookie, uint64_t gpa);
	void *cookie;
	struct mote__write_set *write_set;
};

static int map_member(struct build *b, uint64_t gva, uint64_t source_gpa)
{
	uint32_t i = b->write_set->count++;
	b->write_set->member[i].gva = gva;
	b->write_set->member[i].source_gpa = source_gpa;
	const struct mote__layout *l = b->b.layout;
	return mote__layout_build_map(&b->b, gva, l->scratch_gpa + l->frames_offset + i * PAGE,
				      PAGE,
				      (struct mote__pt_attributes){.writable = true, .user = true});
}

/* Pages of a confined guest's data: the first ones get a frame, zero ones share one page. */
static int map_data(struct build *b, const struct mote__part *part)
{
	int rc = MOTE__PT_OK;
	for (uint64_t at = 0; at < part->bytes && rc == MOTE__PT_OK; at += PAGE) {
		uint64_t gpa = part->gpa + at;
		bool zero = b->is_zero && b->is_zero(b->cookie, gpa);
		if (b->write_set->count < MOTE__IMAGE_WRITE_SET_MAX)
			rc = map_member(b, part->gva + at, zero ? 0 : gpa);
		else
			rc = mote__layout_build_map(&b->b, part->gva + at,
						    zero ? b->b.layout->zero_gpa : gpa, PAGE,
						    part->attributes);
	}
	return rc;
}

static int map_stack(struct build *b)
{
	const struct mote__layout *l = b->b.layout;
	uint64_t top = l->stack_gva + l->stack_bytes;
	int rc = MOTE__PT_OK;
	for (uint32_t i = mote__layout_stack_preset(l); i > 0 && rc == MOTE__PT_OK; i--)
		rc = map_member(b, top - i * PAGE, 0);
	return rc;
}

static int map_part(struct build *b, const struct mote__part *part)
{
	const struct mote__layout *l = b->b.layout;
	if (mote__layout_is_space(part))
		return MOTE__PT_OK;
	if (l->is_confined && part->kind == MOTE__PART_MEMORY && part->attributes.cow &&
	    part->gva < l->peb_gva)
		return map_data(b, part);
	const struct mote__pt_mapping m = mote__layout_mapping(part);
	return mote__pt_map(&b->b.tables, b->b.root, &m);
}

int mote__layout_build(const struct mote__layout *layout, void *tables,
		       bool (*is_zero)(void *cookie, uint64_t gpa), void *cookie,
		       struct mote__write_set *write_set, uint64_t *used_bytes)
{
	struct build b = {.is_zero = is_zero, .cookie = cookie, .write_set = write_set};
	memset(write_set, 0, sizeof *write_set);
	*used_bytes = 0;
	int rc = mote__layout_build_begin(&b.b, layout, tables);
	/* The stack first: its top page is what every guest touches. */
	if (rc == MOTE__PT_OK && layout->is_confined)
		rc = map_stack(&b);
	for (uint32_t i = 0; i < layout->part_count && rc == MOTE__PT_OK; i++)
		rc = map_part(&b, &layout->parts[i]);
	return rc == MOTE__PT_OK ? mote__layout_build_end(&b.b, used_bytes) : rc;
}
