/* SPDX-License-Identifier: MIT */
/* Guest memory as boxes of text. See map.h. */
#include "map.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "output.h"

enum { INNER_WIDTH = 66, NAME_WIDTH = 18 };

static uint64_t address_of(const struct mote_region *region, enum map_space space)
{
	return space == MAP_VIRTUAL ? region->gva : region->gpa;
}

static int by_address_down(const void *left, const void *right)
{
	const struct block *a = left, *b = right;
	if (a->first != b->first)
		return a->first < b->first ? 1 : -1;
	return a->end < b->end ? 1 : a->end > b->end ? -1 : 0;
}

/** The regions of one space as blocks without order; returns how many. */
static uint32_t collect(struct block *blocks, const struct mote_region *regions, uint32_t count,
			enum map_space space)
{
	uint32_t used = 0;
	for (uint32_t i = 0; i < count; i++) {
		uint64_t first = address_of(&regions[i], space), end = 0;
		if (first == 0 || regions[i].bytes == 0)
			continue;
		if (__builtin_add_overflow(first, regions[i].bytes, &end))
			end = UINT64_MAX;
		blocks[used++] = (struct block){first, end, &regions[i]};
	}
	return used;
}

bool mote__map_build(struct map *map, const struct mote_region *regions, uint32_t count,
		     enum map_space space)
{
	*map = (struct map){0};
	/* Between and below count regions are at most count gaps. */
	struct block *found = calloc((size_t)count + 1, sizeof *found);
	map->blocks = calloc((size_t)count * 2 + 1, sizeof *map->blocks);
	if (!found || !map->blocks) {
		free(found);
		mote__map_free(map);
		return false;
	}
	uint32_t used = collect(found, regions, count, space);
	qsort(found, used, sizeof *found, by_address_down);
	for (uint32_t i = 0; i < used; i++) {
		uint64_t below = i + 1 < used ? found[i + 1].end : 0;
		map->blocks[map->count++] = found[i];
		if (below < found[i].first)
			map->blocks[map->count++] = (struct block){below, found[i].first, NULL};
	}
	free(found);
	return true;
}

void mote__map_free(struct map *map)
{
	free(map->blocks);
	*map = (struct map){0};
}

/** What boxes are drawn with. */
struct pen {
	const char *top_left, *top_right, *left, *right, *bottom_left, *bottom_right;
	const char *horizontal, *vertical, *gap;
};

static const struct pen utf8_pen = {"┌", "┐", "├", "┤", "└", "┘", "─", "│", "┊"};
static const struct pen ascii_pen = {"+", "+", "+", "+", "+", "+", "-", "|", ":"};

static void print_border(FILE *out, const struct pen *pen, const char *left, const char *right,
			 uint64_t address)
{
	char text[32];
	(void)snprintf(text, sizeof text, "0x%" PRIx64, address);
	(void)fprintf(out, "  %18s %s", text, left);
	for (int i = 0; i < INNER_WIDTH; i++)
		(void)fputs(pen->horizontal, out);
	(void)fprintf(out, "%s\n", right);
}

static void print_row(FILE *out, const char *side, const char *name, const char *rest)
{
	(void)fprintf(out, "  %18s %s ", "", side);
	mote__output_column(out, name, NAME_WIDTH);
	(void)fprintf(out, "%-*s%s\n", INNER_WIDTH - 1 - NAME_WIDTH, rest, side);
}

/** Rows of a block: one more for each factor of 64 in its size. */
static int rows_of(const struct block *block)
{
	int rows = 1;
	for (uint64_t bytes = block->end - block->first; bytes > (64u << 10) && rows < 4;
	     bytes /= 64)
		rows++;
	return block->region ? rows : 1;
}

static void print_block(FILE *out, const struct pen *pen, const struct block *block)
{
	const char *side = block->region ? pen->vertical : pen->gap;
	struct short_text size = mote__size_text(block->end - block->first);
	char rest[128];
	if (block->region) {
		const struct mote_region *region = block->region;
		(void)snprintf(rest, sizeof rest, "%s %s%s%s%s",
			       mote__access_text(region->access).text, size.text,
			       region->is_cow ? ", copied on write" : "",
			       region->is_demand ? ", on demand" : "",
			       region->is_system ? ", system" : "");
	} else {
		(void)snprintf(rest, sizeof rest, "    %s", size.text);
	}
	int rows = rows_of(block);
	for (int i = 0; i < rows; i++)
		print_row(out, side,
			  i               ? ""
			  : block->region ? block->region->name
					  : "(nothing)",
			  i ? "" : rest);
}

void mote__map_print(FILE *out, const struct map *map)
{
	const struct pen *pen = mote__output_is_utf8() ? &utf8_pen : &ascii_pen;
	for (uint32_t i = 0; i < map->count; i++) {
		const struct block *block = &map->blocks[i];
		print_border(out, pen, i ? pen->left : pen->top_left,
			     i ? pen->right : pen->top_right, block->end);
		print_block(out, pen, block);
	}
	if (map->count)
		print_border(out, pen, pen->bottom_left, pen->bottom_right,
			     map->blocks[map->count - 1].first);
}
