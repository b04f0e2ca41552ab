/* SPDX-License-Identifier: MIT */
/*
 * Guest memory as a picture: two columns of boxes, lines from where the guest sees a region to
 * where it lies. Self-contained: no scripts, no fonts, no links. Heights grow with the logarithm of
 * sizes. Names and the title may be hostile: everything is escaped for XML.
 */
#include "svg.h"

#include <inttypes.h>
#include <string.h>

#include "map.h"
#include "output.h"

enum {
	WIDTH = 1000,
	LEFT = 190, /* columns: left edges and width of their boxes */
	RIGHT = 590,
	BOX = 220,
	TOP = 96,
	FOOT = 64,
	GAP_HEIGHT = 30,
	LEAST_HEIGHT = 34,
	MOST_HEIGHT = 130,
};

const char mote__svg_style[] =
	"text{font:12px ui-monospace,Menlo,Consolas,monospace;fill:#1f2933}\n"
	".title{font:600 20px system-ui,sans-serif}.head{font:600 13px system-ui,sans-serif}\n"
	".small{font-size:11px;fill:#52606d}.ground{fill:#fff}\n"
	".box{stroke:#52606d;stroke-width:1}.link{opacity:.25}\n"
	".gap{fill:none;stroke:#9aa5b1;stroke-dasharray:3 4}\n"
	".code{fill:#b3d4fc}.data{fill:#fbdba7}.read{fill:#d5e8c8}.system{fill:#d9d2e9}\n"
	".demand{stroke-dasharray:6 3}\n"
	"@media(prefers-color-scheme:dark){text{fill:#e4e7eb}.small{fill:#9aa5b1}\n"
	".ground{fill:#1f2933}.code{fill:#2b5382}.data{fill:#7a5217}.read{fill:#3d5a2b}"
	".system{fill:#4b3f6b}}\n";

void mote__svg_text(FILE *out, const char *text)
{
	for (size_t at = 0, len = strlen(text); at < len;) {
		uint32_t c = 0;
		size_t bytes = mote__utf8_decode(text + at, len - at, &c);
		/* XML has no way to write other control characters, nor U+FFFE and U+FFFF. */
		if (bytes == 0 || c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0xFFFE || c == 0xFFFF)
			(void)fputs("&#xFFFD;", out);
		else if (c == '<' || c == '>' || c == '&' || c == '"' || c == '\'')
			(void)fprintf(out, "&#%u;", (unsigned)c);
		else
			(void)fwrite(text + at, 1, bytes, out);
		at += bytes ? bytes : 1;
	}
}

static int height_of(const struct block *block)
{
	if (!block->region)
		return GAP_HEIGHT;
	int height = LEAST_HEIGHT;
	for (uint64_t bytes = block->end - block->first; bytes > 4096 && height < MOST_HEIGHT;
	     bytes /= 2)
		height += 5;
	return height;
}

static int map_height(const struct map *map)
{
	int height = 0;
	for (uint32_t i = 0; i < map->count; i++)
		height += height_of(&map->blocks[i]);
	return height;
}

static const char *class_of(const struct mote_region *region)
{
	if (region->is_system)
		return "system";
	if (region->access & MOTE_EXECUTE)
		return "code";
	return region->access & MOTE_WRITE ? "data" : "read";
}

static void draw_address(FILE *out, uint64_t address, int x, int y)
{
	(void)fprintf(out,
		      "<text class=\"small\" x=\"%d\" y=\"%d\" text-anchor=\"%s\">0x%" PRIx64
		      "</text>\n",
		      x == LEFT ? LEFT - 8 : RIGHT + BOX + 8, y + 4, x == LEFT ? "end" : "start",
		      address);
}

static void draw_block(FILE *out, const struct block *block, int x, int y)
{
	int height = height_of(block), middle = y + height / 2;
	struct short_text size = mote__size_text(block->end - block->first);
	const struct mote_region *region = block->region;
	if (!region) {
		(void)fprintf(out,
			      "<rect class=\"gap\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"/>\n"
			      "<text class=\"small\" x=\"%d\" y=\"%d\" "
			      "text-anchor=\"middle\">%s</text>\n",
			      x, y, BOX, height, x + BOX / 2, middle + 4, size.text);
		return;
	}
	(void)fprintf(out,
		      "<rect class=\"box %s%s\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"/>\n",
		      class_of(region), region->is_demand ? " demand" : "", x, y, BOX, height);
	(void)fprintf(out, "<text x=\"%d\" y=\"%d\">", x + 10, middle - 3);
	mote__svg_text(out, region->name);
	(void)fprintf(out, "</text>\n<text class=\"small\" x=\"%d\" y=\"%d\">%s %s%s%s</text>\n",
		      x + 10, middle + 12, mote__access_text(region->access).text, size.text,
		      region->is_cow ? ", copied on write" : "",
		      region->is_demand ? ", on demand" : "");
}

static void draw_column(FILE *out, const struct map *map, const char *head, int x)
{
	int y = TOP;
	(void)fprintf(out, "<text class=\"head\" x=\"%d\" y=\"%d\">%s</text>\n", x, TOP - 16, head);
	for (uint32_t i = 0; i < map->count; i++) {
		draw_address(out, map->blocks[i].end, x, y);
		draw_block(out, &map->blocks[i], x, y);
		y += height_of(&map->blocks[i]);
	}
	if (map->count)
		draw_address(out, map->blocks[map->count - 1].first, x, y);
}

/** The top of region in map; -1 where it is not in it. */
static int top_of(const struct map *map, const struct mote_region *region)
{
	int y = TOP;
	for (uint32_t i = 0; i < map->count; i++) {
		if (map->blocks[i].region == region)
			return y;
		y += height_of(&map->blocks[i]);
	}
	return -1;
}

static void draw_links(FILE *out, const struct map *from, const struct map *to)
{
	const int start = LEFT + BOX, end = RIGHT, bend = (RIGHT - LEFT - BOX) / 2;
	int y = TOP;
	for (uint32_t i = 0; i < from->count; i++) {
		const struct block *block = &from->blocks[i];
		int height = height_of(block);
		int there = block->region ? top_of(to, block->region) : -1;
		if (there >= 0)
			(void)fprintf(out,
				      "<path class=\"link %s\" d=\"M%d %dC%d %d %d %d %d %d"
				      "V%dC%d %d %d %d %d %dZ\"/>\n",
				      class_of(block->region), start, y, start + bend, y,
				      end - bend, there, end, there, there + height, end - bend,
				      there + height, start + bend, y + height, start, y + height);
		y += height;
	}
}

static void draw_legend(FILE *out, int y)
{
	static const struct {
		const char *class, *text;
	} entries[] = {
		{"code", "executable"},
		{"data", "writable"},
		{"read", "read-only"},
		{"system", "out of the guest's reach"},
		{"read demand", "memory comes when touched"},
	};
	int x = LEFT - 60;
	for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++) {
		(void)fprintf(
			out,
			"<rect class=\"box %s\" x=\"%d\" y=\"%d\" width=\"14\" height=\"14\"/>"
			"<text class=\"small\" x=\"%d\" y=\"%d\">%s</text>\n",
			entries[i].class, x, y, x + 20, y + 11, entries[i].text);
		x += 44 + (int)strlen(entries[i].text) * 7;
	}
}

void mote__svg_write(FILE *out, const char *title, const struct map *virtual_map,
		     const struct map *physical_map)
{
	int left = map_height(virtual_map), right = map_height(physical_map);
	int bottom = TOP + (left > right ? left : right);
	(void)fprintf(out,
		      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" "
		      "width=\"%d\" height=\"%d\" role=\"img\">\n<title>Memory of ",
		      WIDTH, bottom + FOOT, WIDTH, bottom + FOOT);
	mote__svg_text(out, title);
	(void)fprintf(out,
		      "</title>\n<style>\n%s</style>\n<rect class=\"ground\" width=\"%d\" "
		      "height=\"%d\"/>\n",
		      mote__svg_style, WIDTH, bottom + FOOT);
	(void)fputs("<text class=\"title\" x=\"24\" y=\"38\">Memory of ", out);
	mote__svg_text(out, title);
	(void)fputs("</text>\n<text class=\"small\" x=\"24\" y=\"56\">Heights are not to scale; "
		    "the highest addresses are at the top.</text>\n",
		    out);
	draw_links(out, virtual_map, physical_map);
	draw_column(out, virtual_map, "Virtual: what the guest sees", LEFT);
	draw_column(out, physical_map, "Physical", RIGHT);
	draw_legend(out, bottom + 30);
	(void)fputs("</svg>\n", out);
}
