/* SPDX-License-Identifier: MIT */
/*
 * The pages of a guest's memory behind the last step of its history, and which step made each of
 * them what it is. Found by comparing what the snapshots of the steps hold, so it is right for
 * every kind of guest and however the layers lie.
 */
#ifndef MOTE_CLI_PAGES_H
#define MOTE_CLI_PAGES_H

#include <mote.h>
#include <stdbool.h>

#include "history.h"

#define PAGE_BYTES ((uint64_t)4096)

/** Most pages of a region that are looked at: 16 GiB. */
#define PAGES_MAX (1ull << 22)

struct page {
	uint16_t step; /* from 1: the last step that changed it; 0: not mapped */
	bool is_zero;  /* all of it is zero: nothing needs to be stored */
	uint8_t layer; /* index of the layer that holds it; not where is_zero */
};

/** A region that the guest can reach and that is part of the snapshot. */
struct page_region {
	struct mote_region region;
	struct page *pages; /* from region.gva on */
	uint64_t count;
	uint64_t stored, changed; /* pages that are not zero; that the last step changed */
};

struct page_layer {
	struct mote_layer layer;
	uint32_t step;  /* from 1: the first that has it */
	uint64_t pages; /* of the regions that it holds */
};

struct page_map {
	struct page_region *regions; /* ascending */
	uint32_t region_count;
	struct page_layer *layers; /* the oldest first */
	uint32_t layer_count;
};

/** Look at the last step of history. False when out of memory; map is to be freed in any case. */
bool mote__pages_find(struct page_map *map, const struct history *history);
void mote__pages_free(struct page_map *map);

/** Draw as SVG. */
void mote__pages_svg(FILE *out, const char *title, const struct page_map *map,
		     const struct history *history);

#endif
