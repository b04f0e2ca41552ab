/* SPDX-License-Identifier: MIT */
/*
 * A picture of guest memory: the regions of a snapshot and the gaps between them as one row of
 * blocks, from the highest address down. Drawn as text here, as SVG by svg.h.
 */
#ifndef MOTE_CLI_MAP_H
#define MOTE_CLI_MAP_H

#include <mote.h>
#include <stdbool.h>
#include <stdio.h>

enum map_space {
	MAP_VIRTUAL,  /* by guest virtual address */
	MAP_PHYSICAL, /* by guest physical address */
};

struct block {
	uint64_t first, end;              /* [first, end) */
	const struct mote_region *region; /* NULL: a gap */
};

struct map {
	struct block *blocks; /* from the highest address down */
	uint32_t count;
};

/** Build the map of regions, which are borrowed, in one space; those without an address there are
 * left out. False when out of memory. */
bool mote__map_build(struct map *map, const struct mote_region *regions, uint32_t count,
		     enum map_space space);
void mote__map_free(struct map *map);

/** Draw as text. */
void mote__map_print(FILE *out, const struct map *map);

/** Draw both maps as one SVG picture: the guest's view left, physical memory right. */
void mote__svg_write(FILE *out, const char *title, const struct map *virtual_map,
		     const struct map *physical_map);

#endif
