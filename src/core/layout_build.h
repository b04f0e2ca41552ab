/* SPDX-License-Identifier: MIT */
/*
 * What builders of a guest's tables share: from a layout's parts (layout_build.c), or from a stored
 * list of mappings (mappings.c). Tables are in the same order and of the same number in both, so
 * that what a layout counted is enough.
 */
#ifndef MOTE_CORE_LAYOUT_BUILD_H
#define MOTE_CORE_LAYOUT_BUILD_H

#include <stdbool.h>
#include <stdint.h>

#include "core/layout.h"
#include "core/page_table.h"

struct mote__layout_builder {
	const struct mote__layout *layout;
	struct mote__pt_builder tables;
	uint64_t root;
};

/** Whether nothing is mapped in a part from its start. */
bool mote__layout_is_space(const struct mote__part *part);
/** What maps a part. Address space that is filled later gets its leaf tables now: what a guest does
 * to its memory then never changes an entry above a leaf. A table that stays empty costs no memory.
 */
struct mote__pt_mapping mote__layout_mapping(const struct mote__part *part);
/** Pages at the top of a confined guest's stack that are in the write set from the start. */
uint32_t mote__layout_stack_preset(const struct mote__layout *layout);

/** Begin in layout->tables_bytes zero bytes at tables: the root, and of address space the tables
 * of level 2 and above. Returns 0 or an enum mote__pt_code, like those below. */
int mote__layout_build_begin(struct mote__layout_builder *builder,
			     const struct mote__layout *layout, void *tables);
int mote__layout_build_map(struct mote__layout_builder *builder, uint64_t gva, uint64_t gpa,
			   uint64_t bytes, struct mote__pt_attributes attributes);
/** The leaf tables of [gva, gva + bytes). */
int mote__layout_build_reserve(struct mote__layout_builder *builder, uint64_t gva, uint64_t bytes);
/** What follows all mappings: of a confined guest the tables' view of themselves, then empty leaf
 * tables of address space, which are not counted in *used_bytes. */
int mote__layout_build_end(struct mote__layout_builder *builder, uint64_t *used_bytes);

#endif
