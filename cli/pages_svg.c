/* SPDX-License-Identifier: MIT */
/*
 * A snapshot as a picture: left, the guest's memory, a square for each page in the colour of the
 * layer that holds it, with an outline where the last step changed it; right, the layers, the
 * oldest at the bottom. Long runs of pages of one kind are one box. Self-contained, as svg.c.
 */
#include "pages.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "output.h"
#include "svg.h"

enum {
	WIDTH = 1000,
	TOP = 124,
	FOOT = 64,
	NAMES = 24,      /* left edge of the regions' names */
	GRID = 196,      /* left edge of the squares */
	COLUMNS = 30,    /* squares in a row */
	PITCH = 15,      /* from square to square */
	SQUARE = 13,     /* its side */
	RUN_PAGES = 21,  /* pages of one kind that are drawn as one box */
	RUN_COLUMNS = 6, /* how wide that is */
	LEAST_HEIGHT = 38,
	REGION_GAP = 18,
	BOXES_MAX = 3600, /* of a region; the rest is told as a number */
	LAYERS = 744,     /* left edge and size of the layers */
	LAYER_WIDTH = 232,
	LAYER_HEIGHT = 62,
	LAYER_GAP = 10,
	COLOURS = 8,
};

static const char page_style[] =
	".page{stroke:#52606d;stroke-width:.6}.changed{stroke:#c81e1e;stroke-width:2.2}\n"
	".frame{fill:none;stroke:#9aa5b1;stroke-width:.6;opacity:.6}\n"
	".zero{fill:none;stroke:#9aa5b1;stroke-width:.8;stroke-dasharray:2 2}\n"
	".zero.changed{stroke:#c81e1e;stroke-width:2.2;stroke-dasharray:none}\n"
	".l0{fill:#b3d4fc}.l1{fill:#c3e6b5}.l2{fill:#fbdba7}.l3{fill:#dccbf5}\n"
	".l4{fill:#f8c4d0}.l5{fill:#a9e0e0}.l6{fill:#e6d3a3}.l7{fill:#c7ced6}\n"
	"@media(prefers-color-scheme:dark){.l0{fill:#2b5382}.l1{fill:#3d6b2b}.l2{fill:#7a5217}\n"
	".l3{fill:#5a4788}.l4{fill:#85384c}.l5{fill:#1f6464}.l6{fill:#6b5a1e}.l7{fill:#4d5866}\n"
	".changed,.zero.changed{stroke:#ff8a8a}}\n";

/** What is drawn. */
struct drawing {
	FILE *out;
	const struct page_map *map;
	const struct history *history;
	int *region_top, *region_height; /* of each region */
	int bottom;
};

/** Pages of a region in a row that look the same. */
struct run {
	uint64_t first, count; /* pages */
	int x, y, columns;     /* in squares; the next run starts behind */
};

static bool looks_same(const struct page *a, const struct page *b)
{
	return a->step == b->step && a->is_zero == b->is_zero && a->layer == b->layer;
}

/** The box behind run: one page, or many that look the same. False behind the last. */
static bool next_box(const struct page_region *region, struct run *run)
{
	const struct page *page = &region->pages[run->first + run->count];
	run->first += run->count;
	if (run->first >= region->count)
		return false;
	run->x += run->columns;
	run->count = 1;
	while (run->first + run->count < region->count && looks_same(page, page + run->count))
		run->count++;
	run->columns = run->count < RUN_PAGES ? 1 : RUN_COLUMNS;
	if (run->count < RUN_PAGES)
		run->count = 1;
	if (run->x + run->columns > COLUMNS) {
		run->x = 0;
		run->y++;
	}
	return true;
}

static int height_of(const struct page_region *region)
{
	struct run run = {0};
	for (int i = 0; i < BOXES_MAX && next_box(region, &run);)
		i++;
	/* One row more for the number of those that are left out. */
	int height = (run.y + 1 + (run.first < region->count)) * PITCH;
	return height < LEAST_HEIGHT ? LEAST_HEIGHT : height;
}

static int layer_top(const struct drawing *drawing, uint32_t index)
{
	return TOP + (int)(drawing->map->layer_count - 1 - index) * (LAYER_HEIGHT + LAYER_GAP);
}

static bool place(struct drawing *drawing)
{
	const struct page_map *map = drawing->map;
	int y = TOP;
	drawing->region_top = calloc(map->region_count + 1u, sizeof(int));
	drawing->region_height = calloc(map->region_count + 1u, sizeof(int));
	if (!drawing->region_top || !drawing->region_height)
		return false;
	for (uint32_t i = 0; i < map->region_count; i++) {
		drawing->region_top[i] = y;
		drawing->region_height[i] = height_of(&map->regions[i]);
		y += drawing->region_height[i] + REGION_GAP;
	}
	int layers = layer_top(drawing, 0) + LAYER_HEIGHT;
	drawing->bottom = y > layers ? y : layers;
	return true;
}

static bool is_changed(const struct drawing *drawing, const struct page *page)
{
	return drawing->history->count > 1 && page->step == drawing->history->count;
}

static void draw_box(const struct drawing *drawing, const struct page_region *region,
		     const struct run *run, int top)
{
	const struct page *page = &region->pages[run->first];
	int x = GRID + run->x * PITCH, y = top + run->y * PITCH;
	int width = run->columns * PITCH - (PITCH - SQUARE);
	uint64_t gva = region->region.gva + run->first * PAGE_BYTES;
	if (page->step == 0)
		return;
	(void)fprintf(drawing->out, "<rect class=\"");
	if (page->is_zero)
		(void)fputs("zero", drawing->out);
	else
		(void)fprintf(drawing->out, "page l%d", page->layer % COLOURS);
	(void)fprintf(drawing->out,
		      "%s\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"><title>0x%" PRIx64 ": ",
		      is_changed(drawing, page) ? " changed" : "", x, y, width, SQUARE, gva);
	(void)fprintf(drawing->out, "%s%" PRIu32 " ", page->is_zero ? "zero since step " : "step ",
		      (uint32_t)page->step);
	mote__svg_text(drawing->out, drawing->history->steps[page->step - 1].what);
	(void)fputs("</title></rect>\n", drawing->out);
	if (run->columns > 1)
		(void)fprintf(
			drawing->out,
			"<text class=\"tiny\" x=\"%d\" y=\"%d\" text-anchor=\"middle\">%" PRIu64
			" pages</text>\n",
			x + width / 2, y + SQUARE - 3, run->count);
}

static void draw_region(const struct drawing *drawing, uint32_t index)
{
	const struct page_region *region = &drawing->map->regions[index];
	int top = drawing->region_top[index];
	struct run run = {0};
	(void)fprintf(drawing->out, "<text x=\"%d\" y=\"%d\">", NAMES, top + 10);
	mote__svg_text(drawing->out, region->region.name);
	(void)fprintf(drawing->out,
		      "</text>\n<text class=\"small\" x=\"%d\" y=\"%d\">0x%" PRIx64
		      "</text>\n<text class=\"small\" x=\"%d\" y=\"%d\">%s %s</text>\n",
		      NAMES, top + 23, region->region.gva, NAMES, top + 36,
		      mote__access_text(region->region.access).text,
		      mote__size_text(region->region.bytes).text);
	(void)fprintf(drawing->out,
		      "<rect class=\"frame\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"/>\n",
		      GRID - 4, top - 4, COLUMNS * PITCH + 6, drawing->region_height[index] + 6);
	for (int i = 0; i < BOXES_MAX && next_box(region, &run); i++)
		draw_box(drawing, region, &run, top);
	if (run.first < region->count)
		(void)fprintf(drawing->out,
			      "<text class=\"small\" x=\"%d\" y=\"%d\">and %" PRIu64
			      " more pages</text>\n",
			      GRID, top + (run.y + 2) * PITCH - 2,
			      region->count - run.first - run.count);
}

/** A ribbon from a region to a layer that holds pages of it. */
static void draw_link(const struct drawing *drawing, uint32_t region, uint32_t layer)
{
	const int start = GRID + COLUMNS * PITCH + 2, end = LAYERS, bend = (end - start) / 2;
	int here = drawing->region_top[region], there = layer_top(drawing, layer);
	(void)fprintf(drawing->out,
		      "<path class=\"link l%" PRIu32
		      "\" d=\"M%d %dC%d %d %d %d %d %dV%dC%d %d %d %d %d %dZ\"/>\n",
		      layer % COLOURS, start, here, start + bend, here, end - bend, there, end,
		      there, there + LAYER_HEIGHT, end - bend, there + LAYER_HEIGHT, start + bend,
		      here + drawing->region_height[region], start,
		      here + drawing->region_height[region]);
}

static void draw_links(const struct drawing *drawing, uint32_t index)
{
	const struct page_region *region = &drawing->map->regions[index];
	bool is_drawn[UINT8_MAX + 1] = {false};
	for (uint64_t i = 0; i < region->count; i++) {
		const struct page *page = &region->pages[i];
		if (page->step == 0 || page->is_zero || is_drawn[page->layer])
			continue;
		is_drawn[page->layer] = true;
		draw_link(drawing, index, page->layer);
	}
}

static void draw_layer(const struct drawing *drawing, uint32_t index)
{
	const struct page_layer *layer = &drawing->map->layers[index];
	int y = layer_top(drawing, index);
	const char *what = drawing->history->steps[layer->step - 1].what;
	(void)fprintf(drawing->out,
		      "<rect class=\"box l%" PRIu32
		      "\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"/>\n"
		      "<text x=\"%d\" y=\"%d\">step %" PRIu32 ": ",
		      index % COLOURS, LAYERS, y, LAYER_WIDTH, LAYER_HEIGHT, LAYERS + 10, y + 18,
		      layer->step);
	mote__svg_text(drawing->out, mote__text_cut(what, 19).text);
	(void)fprintf(drawing->out,
		      "</text>\n<text class=\"small\" x=\"%d\" y=\"%d\">%s at 0x%" PRIx64
		      "</text>\n<text class=\"small\" x=\"%d\" y=\"%d\">",
		      LAYERS + 10, y + 35, mote__size_text(layer->layer.bytes).text,
		      layer->layer.gpa, LAYERS + 10, y + 51);
	if (layer->pages)
		(void)fprintf(drawing->out, "%" PRIu64 " of its %" PRIu64 " pages are seen",
			      layer->pages, layer->layer.bytes / PAGE_BYTES);
	else
		(void)fputs("later layers hide it", drawing->out);
	(void)fputs("</text>\n", drawing->out);
}

static void draw_legend(const struct drawing *drawing)
{
	static const struct {
		const char *class, *text;
	} entries[] = {
		{"page l0", "a page, in the colour of its layer"},
		{"page l0 changed", "changed by the last step"},
		{"zero", "zero: nothing is stored"},
	};
	int x = NAMES, y = drawing->bottom + 26;
	for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++) {
		(void)fprintf(drawing->out,
			      "<rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"/>"
			      "<text class=\"small\" x=\"%d\" y=\"%d\">%s</text>\n",
			      entries[i].class, x, y, SQUARE, SQUARE, x + 18, y + 9,
			      entries[i].text);
		x += 48 + (int)strlen(entries[i].text) * 7;
	}
}

static void draw_head(const struct drawing *drawing, const char *title)
{
	const struct step *last = mote__history_last(drawing->history);
	int height = drawing->bottom + FOOT;
	FILE *out = drawing->out;
	(void)fprintf(out,
		      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" "
		      "width=\"%d\" height=\"%d\" role=\"img\">\n<title>Snapshot of ",
		      WIDTH, height, WIDTH, height);
	mote__svg_text(out, title);
	(void)fprintf(out,
		      "</title>\n<style>\n%s%s.tiny{font-size:9px}\n</style>\n"
		      "<rect class=\"ground\" width=\"%d\" height=\"%d\"/>\n"
		      "<text class=\"title\" x=\"%d\" y=\"38\">Snapshot of ",
		      mote__svg_style, page_style, WIDTH, height, NAMES);
	mote__svg_text(out, title);
	(void)fputs(" after ", out);
	mote__svg_text(out, mote__text_cut(last->what, 31).text);
	(void)fprintf(out,
		      "</text>\n<text class=\"small\" x=\"%d\" y=\"58\">Each square is a page of "
		      "4 KiB; addresses grow to the right and downwards. %s in %" PRIu32
		      " layers, %s of it hidden by later layers.</text>\n",
		      NAMES, mote__size_text(last->info.memory_bytes).text, last->info.layer_count,
		      mote__size_text(last->info.dead_bytes).text);
	(void)fprintf(out,
		      "<text class=\"head\" x=\"%d\" y=\"%d\">Memory of the guest</text>\n"
		      "<text class=\"head\" x=\"%d\" y=\"%d\">Layers, the latest first</text>\n",
		      NAMES, TOP - 20, LAYERS, TOP - 20);
}

void mote__pages_svg(FILE *out, const char *title, const struct page_map *map,
		     const struct history *history)
{
	struct drawing drawing = {.out = out, .map = map, .history = history};
	if (place(&drawing)) {
		draw_head(&drawing, title);
		for (uint32_t i = 0; i < map->region_count; i++)
			draw_links(&drawing, i);
		for (uint32_t i = 0; i < map->region_count; i++)
			draw_region(&drawing, i);
		for (uint32_t i = 0; i < map->layer_count; i++)
			draw_layer(&drawing, i);
		draw_legend(&drawing);
		(void)fputs("</svg>\n", out);
	}
	free(drawing.region_top);
	free(drawing.region_height);
}
