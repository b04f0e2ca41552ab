/* SPDX-License-Identifier: MIT */
/* Which step made a page what it is. See pages.h. */
#include "pages.h"

#include <stdlib.h>
#include <string.h>

static bool read_page(const struct step *step, uint64_t gva, uint8_t *bytes)
{
	return mote_snapshot_read(step->snapshot, gva, bytes, PAGE_BYTES, NULL) == MOTE_OK;
}

static bool is_zero(const uint8_t *bytes)
{
	return bytes[0] == 0 && memcmp(bytes, bytes + 1, PAGE_BYTES - 1) == 0;
}

/** Compare the page at gva with what it was before, step by step. */
static struct page look_at(const struct history *history, uint64_t gva)
{
	uint8_t now[PAGE_BYTES], before[PAGE_BYTES];
	const struct step *last = mote__history_last(history);
	struct mote_location location;
	uint32_t step = history->count;
	if (mote_snapshot_locate(last->snapshot, gva, &location) != MOTE_OK ||
	    !read_page(last, gva, now))
		return (struct page){0};
	for (; step > 1; step--) {
		if (history->steps[step - 1].is_same)
			continue;
		if (!read_page(&history->steps[step - 2], gva, before) ||
		    memcmp(now, before, PAGE_BYTES) != 0)
			break;
	}
	return (struct page){
		.step = (uint16_t)step, .is_zero = is_zero(now), .layer = (uint8_t)location.layer};
}

static bool find_layers(struct page_map *map, const struct history *history)
{
	const struct step *last = mote__history_last(history);
	map->layers = calloc(last->info.layer_count + 1u, sizeof *map->layers);
	if (!map->layers)
		return false;
	for (uint32_t i = 0; i < last->info.layer_count && i < UINT8_MAX; i++) {
		struct page_layer *layer = &map->layers[map->layer_count];
		if (mote_snapshot_get_layer(last->snapshot, i, &layer->layer) != MOTE_OK)
			continue;
		layer->step = mote__history_step_of(history, layer->layer.id);
		map->layer_count++;
	}
	return true;
}

static bool find_pages(struct page_map *map, struct page_region *region,
		       const struct history *history)
{
	region->pages = calloc(region->count, sizeof *region->pages);
	if (!region->pages)
		return false;
	for (uint64_t i = 0; i < region->count; i++) {
		struct page *page = &region->pages[i];
		*page = look_at(history, region->region.gva + i * PAGE_BYTES);
		if (page->step == 0)
			continue;
		if (page->step == history->count && history->count > 1)
			region->changed++;
		if (page->is_zero || page->layer >= map->layer_count)
			continue;
		map->layers[page->layer].pages++;
		region->stored++;
	}
	return true;
}

/** True for a region of the guest's whose memory is part of snapshots. */
static bool is_part(const struct step *step, const struct mote_region *region)
{
	uint8_t byte;
	return !region->is_system && region->gva && region->bytes &&
	       mote_snapshot_read(step->snapshot, region->gva, &byte, 1, NULL) == MOTE_OK;
}

bool mote__pages_find(struct page_map *map, const struct history *history)
{
	const struct step *last = mote__history_last(history);
	*map = (struct page_map){0};
	map->regions = calloc(last->info.region_count + 1u, sizeof *map->regions);
	if (!map->regions || !find_layers(map, history))
		return false;
	for (uint32_t i = 0; i < last->info.region_count; i++) {
		struct page_region *region = &map->regions[map->region_count];
		if (mote_snapshot_get_region(last->snapshot, i, &region->region) != MOTE_OK ||
		    !is_part(last, &region->region))
			continue;
		region->count = region->region.bytes / PAGE_BYTES +
				(region->region.bytes % PAGE_BYTES != 0);
		if (region->count > PAGES_MAX)
			region->count = PAGES_MAX;
		map->region_count++;
		if (!find_pages(map, region, history))
			return false;
	}
	return true;
}

void mote__pages_free(struct page_map *map)
{
	for (uint32_t i = 0; i < map->region_count; i++)
		free(map->regions[i].pages);
	free(map->regions);
	free(map->layers);
	*map = (struct page_map){0};
}
