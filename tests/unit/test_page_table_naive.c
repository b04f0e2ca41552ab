/* SPDX-License-Identifier: MIT */
/*
 * Walks and translations of random tables, compared page by page with walkers written here that
 * know nothing of formats, visits or links.
 */
#include "core/page_table.h"

#include "check.h"
#include "page_tables.h"

#include <stdlib.h>

/* Add to out what holds for root in first .. last, as reported there or through links. */
static void expand(const struct report *report, const struct mote__pt_format *format, uint64_t root,
		   uint64_t first, uint64_t last, uint64_t out_root, uint64_t shift,
		   struct seen_list *out)
{
	for (size_t i = 0; i < report->leaves.count; i++) {
		struct seen item = report->leaves.items[i];
		if (item.root != root || item.va < first || item.va > last)
			continue;
		item.root = out_root;
		item.va += shift;
		add_seen(out, item);
	}
	for (size_t i = 0; i < report->link_count; i++) {
		const struct mote__pt_link *link = &report->links[i];
		if (link->root != root || link->va < first || link->va > last)
			continue;
		uint64_t covered = mote__pt_page_bytes(format, link->level) *
				   (mote__pt_table_bytes(format) / format->entry_bytes);
		uint64_t owner_last =
			link->level == format->levels ? UINT64_MAX : link->owner_va + covered - 1;
		expand(report, format, link->owner_root, link->owner_va, owner_last, out_root,
		       shift + link->va - link->owner_va, out);
	}
}

static int compare_seen(const void *a, const void *b)
{
	const struct seen *x = a, *y = b;
	if (x->root != y->root)
		return x->root < y->root ? -1 : 1;
	return x->va < y->va ? -1 : x->va > y->va;
}

static void sort_seen(struct seen_list *list)
{
	if (list->count)
		qsort(list->items, list->count, sizeof *list->items, compare_seen);
}

/* All pages below a table: plain recursion. rights: what the entries above allow. */
static void naive(struct seen_list *out, const struct plain *plain, uint64_t root, uint64_t gpa,
		  unsigned level, uint64_t base, uint64_t rights)
{
	const struct shape *shape = plain->shape;
	if (!plain_has(plain, gpa))
		return;
	for (unsigned i = 0; i < shape_entries(shape); i++) {
		struct plain_entry entry = plain_entry(plain, gpa, i, level);
		uint64_t bytes = shape_bytes(shape, level);
		uint64_t va = shape_canonical(shape, base + i * bytes);
		if (entry.is_table)
			naive(out, plain, root, entry.gpa, level - 1, va, rights & entry.rights);
		if (entry.is_leaf)
			add_seen(out, (struct seen){root, va, entry.gpa, bytes, level, entry.rights,
						    plain_rights(entry, rights)});
	}
}

static uint64_t random_entry(uint64_t *random, unsigned page_count)
{
	uint64_t kind = check_random(random) % 16;
	uint64_t flags = check_random(random);
	uint64_t entry = page_gpa((unsigned)(check_random(random) % page_count));
	if (kind == 0) /* anything */
		return check_random(random);
	if (kind == 1) /* near the pool */
		entry = POOL_GPA - 8192 + check_random(random) % 128 * 4096;
	if (kind == 2) /* a large page, perhaps at a bad address */
		entry = ((check_random(random) % 4) << 30 | (check_random(random) % 4) << 22 |
			 (check_random(random) % 4 == 0 ? 1 << 21 : 0) |
			 (check_random(random) % 6 == 0 ? check_random(random) % 512 << 12 : 0)) |
			0x80;
	entry |= (flags & 0xE60) | 0x7;
	if (flags >> 20 & 1)
		entry &= ~UINT64_C(0xE00);
	if ((flags >> 24 & 7) == 0)
		entry ^= UINT64_C(1) << 63;
	if ((flags >> 28 & 7) == 0)
		entry ^= 2;
	if ((flags >> 32 & 7) == 0)
		entry ^= 4;
	if ((flags >> 36 & 15) == 0)
		entry ^= 1;
	return entry;
}

static void random_pool(uint64_t *random, unsigned page_count, const struct shape *shape)
{
	static const unsigned usual[] = {0, 1, 2, 255, 256, 257, 510, 511};
	const unsigned entries = shape_entries(shape);
	pool_clear();
	for (unsigned page = 0; page < page_count; page++) {
		for (uint64_t n = check_random(random) % 6; n > 0; n--) {
			uint64_t index = check_random(random) % entries;
			if (check_random(random) % 2) /* also at the end of a larger table */
				index = usual[check_random(random) % COUNT(usual)] +
					(check_random(random) % 2 ? entries - 512 : 0);
			put(shape, page, index, random_entry(random, page_count));
		}
	}
}

/* The parts of items that lie in spans, in a new list. */
static struct seen_list clip(const struct seen_list *items, const struct mote__pt_span *spans,
			     size_t span_count)
{
	struct seen_list out = {0};
	for (size_t i = 0; i < items->count; i++) {
		for (size_t s = 0; s < span_count; s++) {
			struct seen item = items->items[i];
			uint64_t item_last = item.va + item.bytes - 1;
			if (item_last < spans[s].first || item.va > spans[s].last)
				continue;
			uint64_t cut = spans[s].first > item.va ? spans[s].first - item.va : 0;
			uint64_t over = item_last > spans[s].last ? item_last - spans[s].last : 0;
			item.va += cut;
			item.gpa += cut;
			item.bytes -= cut + over;
			add_seen(&out, item);
		}
	}
	return out;
}

/* translate() at every page of the naive list, somewhere inside and just around it. */
static void check_translate(const struct mote__pt_format *format, const struct seen_list *all,
			    uint64_t *random)
{
	for (size_t i = 0; i < all->count && i < 300; i++) {
		const struct seen *item = &all->items[i];
		struct mote__pt_space space = {format, pool_memory, roots[item->root]};
		struct mote__pt_translation t;
		uint64_t at = check_random(random) % item->bytes;
		CHECK_EQ(mote__pt_translate(&space, item->va + at, &t), MOTE__PT_OK);
		CHECK_EQ(t.gpa, item->gpa + at);
		CHECK_EQ(t.bytes, item->bytes - at);
		CHECK_EQ(t.level, item->level);
		CHECK_EQ(pack(t.own), item->own);
		CHECK_EQ(pack(t.effective), item->effective);
		uint64_t end = item->va + item->bytes;
		bool has_next = i + 1 < all->count && all->items[i + 1].root == item->root &&
				all->items[i + 1].va == end;
		if (end != 0 && mote__pt_canonical(format, end) == end)
			CHECK_EQ(mote__pt_translate(&space, end, &t),
				 has_next ? MOTE__PT_OK : MOTE__PT_NOT_MAPPED);
	}
}

static void check_same(const struct seen_list *a, const struct seen_list *b)
{
	CHECK_EQ(a->count, b->count);
	for (size_t i = 0; i < a->count; i++) {
		CHECK_EQ(a->items[i].root, b->items[i].root);
		CHECK_EQ(a->items[i].va, b->items[i].va);
		CHECK_EQ(a->items[i].gpa, b->items[i].gpa);
		CHECK_EQ(a->items[i].bytes, b->items[i].bytes);
		CHECK_EQ(a->items[i].level, b->items[i].level);
		CHECK_EQ(a->items[i].own, b->items[i].own);
		CHECK_EQ(a->items[i].effective, b->items[i].effective);
	}
}

/* Borders of pages and of mapped items, so that spans cut tables and large pages. */
static size_t random_spans(uint64_t *random, const struct seen_list *all,
			   struct mote__pt_span *spans, size_t capacity)
{
	uint64_t border[16];
	size_t count = (check_random(random) % capacity + 1) * 2;
	for (size_t i = 0; i < count; i++) {
		border[i] = check_random(random) & ~UINT64_C(0xFFF);
		if (all->count && check_random(random) % 8) {
			const struct seen *item = &all->items[check_random(random) % all->count];
			border[i] =
				item->va + check_random(random) % (item->bytes / 4096 + 1) * 4096;
		}
		for (size_t j = i; j > 0 && border[j - 1] > border[j]; j--) {
			uint64_t swap = border[j];
			border[j] = border[j - 1];
			border[j - 1] = swap;
		}
	}
	size_t made = 0;
	for (size_t i = 0; i + 1 < count; i += 2)
		if (border[i] != border[i + 1])
			spans[made++] = (struct mote__pt_span){border[i], border[i + 1] - 1};
	return made;
}

/* What the walk must report: all of the naive list, or what of it lies in spans. */
static struct seen_list all_naive(const struct shape *shape, uint32_t root_count)
{
	struct seen_list all = {0};
	struct plain plain = plain_old(shape);
	for (uint32_t i = 0; i < root_count; i++)
		naive(&all, &plain, i, roots[i], shape->levels, 0, 13);
	sort_seen(&all);
	return all;
}

static void compare_walk(const struct shape *shape, unsigned round, uint64_t *random,
			 size_t *leaves, size_t *links)
{
	const unsigned page_count = 12;
	struct report report = {0};
	struct seen_list expanded = {0};
	struct mote__pt_span spans[4];
	uint32_t root_count = (uint32_t)(check_random(random) % 4) + 1;
	random_pool(random, page_count, shape);
	for (uint32_t i = 0; i < root_count; i++)
		roots[i] = page_gpa((unsigned)(check_random(random) % page_count));
	struct seen_list expected = all_naive(shape, root_count);
	check_translate(shape->format, &expected, random);
	struct mote__pt_walk walk = walk_of(shape->format, root_count, &report);
	walk.seed = *random;
	if (round % 2) {
		walk.span_count = (uint32_t)random_spans(random, &expected, spans, COUNT(spans));
		walk.spans = spans;
	}
	if (walk.span_count) {
		struct seen_list clipped = clip(&expected, spans, walk.span_count);
		free(expected.items);
		expected = clipped;
	}
	CHECK_EQ(mote__pt_walk(&walk), MOTE__PT_OK);
	for (uint32_t i = 0; i < root_count; i++)
		expand(&report, shape->format, i, 0, UINT64_MAX, i, 0, &expanded);
	sort_seen(&expanded);
	check_same(&expanded, &expected);
	*leaves += expected.count;
	*links += report.link_count;
	free(expected.items);
	free(expanded.items);
	report_free(&report);
}

TEST(page_table__walk_agrees_with_a_naive_walker_on_random_tables)
{
	const unsigned rounds = 3000;
	uint64_t random = 77001;
	check_note("seed %llu", (unsigned long long)random);
	for (const struct shape *shape = shapes; shape->format; shape++) {
		size_t leaves = 0, links = 0;
		for (unsigned round = 0; round < rounds; round++)
			compare_walk(shape, round, &random, &leaves, &links);
		check_note("%s: %zu pages, %zu links", shape->name, leaves, links);
		CHECK(leaves > rounds && links > rounds / 4);
	}
}
