/* SPDX-License-Identifier: MIT */
/*
 * Rebuilds of random guests: every page of every root must have the same content before and after,
 * with rights that follow from the old ones; what was one page or one table must be one, and
 * nothing else. Old and new tables are read by the plain walkers of rebuild_world.h.
 */
#include "core/rebuild.h"

#include "check.h"
#include "rebuild_world.h"

#include <stdlib.h>

#define TABLE_PAGES 14u /* of the pool, the first ones; the rest is data */
#define PAGES_SEEN  400000u
#define PLACES_MAX  20000u

/* A page of a root, with what stands there. */
struct page {
	uint64_t va, content; /* gpa of a kept page, or address of the bytes; 0: zeroes */
	uint32_t root;
	uint32_t rights;
};

/* A table of a root. */
struct place {
	uint64_t va, gpa, rights;
	uint32_t root;
	uint32_t level;
	bool is_cut;
};

static struct page before[PAGES_SEEN], after[PAGES_SEEN];
static size_t before_count, after_count;
static struct place places[PLACES_MAX];
static size_t place_count;

/* ---- random guests ---- */

static uint64_t random_gpa(uint64_t *random)
{
	uint64_t number = check_random(random);
	switch (check_random(random) % 9) {
	case 8:
		return LARGE_GPA + number % (LARGE_BYTES / 4096 + 2) * 4096;
	case 0:
		return number & UINT64_C(0xFFFFFFFFFF000);
	case 1:
		return page_gpa((unsigned)(number % POOL_PAGES));
	case 2:
	case 3:
		return page_gpa(TABLE_PAGES + (unsigned)(number % (POOL_PAGES - TABLE_PAGES)));
	case 4:
		return MAPPED_GPA + number % (MAPPED_PAGES + 4) * 4096;
	default:
		return KEPT_GPA + number % (KEPT_BYTES / 4096 + 2) * 4096;
	}
}

static uint64_t random_flags(uint64_t *random)
{
	uint64_t flags = 0x7 | (check_random(random) & 0x60), number = check_random(random);
	if (number % 3 == 0)
		flags |= number >> 8 & 1 ? 0x200 : number >> 16 & 0xE00;
	for (unsigned i = 0; i < 3; i++) /* writable, user, no-execute */
		if ((number >> (32 + i * 4) & 7) == 0)
			flags ^= i == 2 ? UINT64_C(1) << 63 : UINT64_C(2) << i;
	return (number >> 56 & 31) == 0 ? flags ^ 1 : flags;
}

/* An entry of a table that is meant for a level: mostly a table of the level below. */
static uint64_t random_entry(uint64_t *random, const struct shape *shape, unsigned level)
{
	uint64_t number = check_random(random), flags = random_flags(random);
	unsigned below = (shape->levels - level) * 3 + 3;
	if (level > 1 && number % 16 < 12)
		return flags | page_gpa(below + (unsigned)(number >> 8) % 5 % 3);
	if (level > 1 && number % 16 < 14) {
		uint64_t unit = shape_bytes(shape, 2);
		uint64_t address = (number >> 8 & 1) << 30 | (number >> 9 & 7) * unit;
		bool is_bad = (number >> 16 & 7) == 0;
		return flags | address | (is_bad ? number >> 20 & 0x1FF000 : 0) | 0x80;
	}
	if (number % 16 == 14)
		return flags | page_gpa((unsigned)(number >> 8) % TABLE_PAGES);
	return flags | random_gpa(random);
}

/* Pages 0 to 2 are roots, then three for each level; the rest anything. */
static void random_tables(uint64_t *random, const struct shape *shape)
{
	static const unsigned usual[] = {0, 1, 2, 255, 256, 257, 510, 511};
	const unsigned entries = shape_entries(shape);
	for (unsigned page = 0; page < TABLE_PAGES; page++) {
		unsigned level = page / 3 < shape->levels ? shape->levels - page / 3 : 1;
		for (uint64_t n = check_random(random) % 6; n > 0; n--) {
			uint64_t index = check_random(random) % entries;
			if (check_random(random) % 2)
				index = usual[check_random(random) % COUNT(usual)] +
					(check_random(random) % 2 ? entries - 512 : 0);
			uint64_t entry = random_entry(random, shape, level);
			uint64_t run = check_random(random) % 8 ? 1 : check_random(random) % 6;
			for (; run > 0; run--, entry += level == 1 ? 4096 : 0)
				put(shape, page, index++ % entries, entry);
		}
	}
}

static void random_guest(uint64_t *random, const struct shape *shape)
{
	pool_clear();
	random_tables(random, shape);
	for (unsigned page = TABLE_PAGES; page < POOL_PAGES; page++)
		if (check_random(random) % 4)
			pool[page][check_random(random) % 512] = 1;
	for (unsigned page = 0; page < MAPPED_PAGES; page++)
		mapped[page][page] = check_random(random) % 4 != 0;
}

static int compare_numbers(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;
	return *x < *y ? -1 : *x > *y;
}

/* Spans with borders on pages of the guest, and a mapping in what they leave out. */
static void random_spans(uint64_t *random, struct mote__rebuild *r, struct mote__pt_span *spans,
			 struct mote__pt_mapping *mapping)
{
	uint64_t border[8], count = (check_random(random) % 3 + 1) * 2;
	uint64_t top = shape_top(shape_of(r->format));
	for (uint64_t i = 0; i < count; i++) {
		const struct page *page = &before[check_random(random) % (before_count | 1)];
		uint64_t shift = check_random(random) % 5 * 4096;
		border[i] =
			(before_count ? page->va : 0x3000) + (page->va < top - shift ? shift : 0);
		if (check_random(random) % 8 == 0)
			border[i] = check_random(random) & top & ~UINT64_C(0xFFF);
	}
	qsort(border, count, sizeof *border, compare_numbers);
	for (uint64_t i = 0; i < count; i += 2)
		if (border[i] != border[i + 1])
			spans[r->span_count++] =
				(struct mote__pt_span){border[i], border[i + 1] - 1};
	if (r->span_count == 0)
		spans[r->span_count++] = (struct mote__pt_span){0x3000, 0x3FFF};
	r->spans = spans;
	/* before the first span, in the lower half */
	uint64_t room = spans[0].first < UINT64_C(0x800000000000) ? spans[0].first : 0;
	uint64_t bytes = (check_random(random) % 1100 + 1) * 4096;
	if (check_random(random) % 2 == 0 || room == 0)
		return;
	*mapping = (struct mote__pt_mapping){
		.bytes = bytes < room ? bytes : room,
		.gpa = 0x30000000,
		.attributes = {.writable = true},
	};
	mapping->va = room - mapping->bytes;
	r->mappings = mapping;
	r->mapping_count = 1;
}

/* ---- what holds before ---- */

static bool is_in_spans(const struct mote__rebuild *r, uint64_t va)
{
	for (uint32_t i = 0; i < r->span_count; i++)
		if (va >= r->spans[i].first && va <= r->spans[i].last)
			return true;
	return r->span_count == 0;
}

/* The pages of a leaf that lie in one region of memory. */
static void see_old_part(const struct mote__rebuild *r, const struct region *region,
			 struct page leaf, uint64_t gpa, uint64_t bytes)
{
	const uint64_t region_end = region->gpa + region->bytes;
	const uint64_t end = gpa + bytes < region_end ? gpa + bytes : region_end;
	for (uint64_t there = gpa > region->gpa ? gpa : region->gpa; there < end; there += 4096) {
		struct page page = leaf;
		page.va += there - gpa;
		page.content = there;
		if (!is_in_spans(r, page.va))
			continue;
		if (region->memory) {
			const uint8_t *bytes_there = region->memory + (there - region->gpa);
			page.content = is_blank(bytes_there) ? 0 : (uint64_t)(uintptr_t)bytes_there;
		}
		if (page.content == ZERO_GPA && r->zero_gpa)
			page.content = 0;
		CHECK(before_count < PAGES_SEEN);
		before[before_count++] = page;
	}
}

static void see_old_leaf(const struct mote__rebuild *r, uint32_t root, uint64_t va, uint64_t gpa,
			 uint64_t bytes, uint64_t rights)
{
	const struct page leaf = {.va = va, .root = root, .rights = (uint32_t)rights};
	for (size_t i = 0; i < COUNT(regions); i++)
		see_old_part(r, &regions[i], leaf, gpa, bytes);
}

/* Whether a table of a level at va lies in one span. */
static bool is_whole(const struct mote__rebuild *r, uint64_t va, uint64_t bytes)
{
	for (uint32_t i = 0; i < r->span_count; i++)
		if (va >= r->spans[i].first && va + (bytes - 1) <= r->spans[i].last)
			return true;
	return r->span_count == 0;
}

/* All pages and tables below a table, by plain recursion. rights: what the entries above allow. */
static void see_old(const struct plain *plain, const struct mote__rebuild *r, struct place at)
{
	const struct shape *shape = plain->shape;
	uint64_t bytes = shape_bytes(shape, at.level);
	if (!plain_has(plain, at.gpa))
		return;
	at.is_cut = !is_whole(r, at.va, bytes * shape_entries(shape));
	if (at.level == shape->levels)
		at.is_cut = r->span_count != 0;
	if (place_count < PLACES_MAX)
		places[place_count++] = at;
	for (unsigned i = 0; i < shape_entries(plain->shape); i++) {
		struct plain_entry entry = plain_entry(plain, at.gpa, i, at.level);
		uint64_t va = shape_canonical(shape, at.va + i * bytes);
		uint64_t rights = entry.rights & at.rights & 12;
		if (entry.is_leaf) {
			rights |= entry.rights & 3 && at.rights & 1 ? 2 : 0;
			see_old_leaf(r, at.root, va, entry.gpa, bytes, rights);
		} else if (entry.is_table) {
			struct place below = {
				va,      entry.gpa,    rights | (entry.rights & at.rights & 1),
				at.root, at.level - 1, false};
			see_old(plain, r, below);
		}
	}
}

static int compare_pages(const void *a, const void *b)
{
	const struct page *x = a, *y = b;
	if (x->root != y->root)
		return x->root < y->root ? -1 : 1;
	return x->va < y->va ? -1 : x->va > y->va;
}

static void see_all_old(const struct mote__rebuild *r)
{
	struct plain plain = plain_old(shape_of(r->format));
	before_count = place_count = 0;
	for (uint32_t i = 0; i < r->root_count; i++)
		see_old(&plain, r, (struct place){0, roots[i], 13, i, r->format->levels, false});
	qsort(before, before_count, sizeof *before, compare_pages);
}

/* ---- what holds after ---- */

static bool is_added(const struct mote__rebuild *r, uint64_t va)
{
	return r->mapping_count && va >= r->mappings->va &&
	       va - r->mappings->va < r->mappings->bytes;
}

/* A page of the new tables, which is small or part of a large one. */
static void see_new_page(const struct mote__rebuild *r, uint32_t root, uint64_t va, uint64_t gpa,
			 uint64_t rights)
{
	bool is_kept;
	CHECK(after_count < PAGES_SEEN);
	if (is_added(r, va)) {
		CHECK_EQ(gpa, r->mappings->gpa + (va - r->mappings->va));
		CHECK_EQ(rights & 11, 1);
		after[after_count++] = (struct page){va, UINT64_MAX, root, 1};
		return;
	}
	const uint8_t *bytes = new_content(r, gpa, &is_kept);
	CHECK(is_kept || bytes);
	uint64_t content = is_kept ? gpa : (uint64_t)(uintptr_t)bytes;
	if (gpa == r->zero_gpa || (bytes && is_blank(bytes))) {
		CHECK_EQ(gpa, r->zero_gpa);
		content = 0;
	}
	after[after_count++] = (struct page){va, content, root, (uint32_t)rights};
}

static void see_new(const struct plain *plain, const struct mote__rebuild *r, struct place at)
{
	const uint64_t bytes = shape_bytes(plain->shape, at.level);
	CHECK(plain_has(plain, at.gpa));
	for (unsigned i = 0; i < shape_entries(plain->shape); i++) {
		struct plain_entry entry = plain_entry(plain, at.gpa, i, at.level);
		uint64_t va = shape_canonical(plain->shape, at.va + i * bytes);
		if (entry.is_table) {
			CHECK((entry.rights & 13) == 13);
			struct place below = {va, entry.gpa, 0, at.root, at.level - 1, false};
			see_new(plain, r, below);
		}
		if (!entry.is_leaf)
			continue;
		CHECK_EQ(at.level, 1);
		for (uint64_t part = 0; part < bytes; part += 4096)
			see_new_page(r, at.root, va + part, entry.gpa + part, entry.rights);
	}
}

static void check_pages(const struct mote__rebuild *r)
{
	struct plain plain = plain_new(shape_of(r->format));
	size_t added = 0, seen = 0;
	after_count = 0;
	for (uint32_t i = 0; i < r->root_count; i++)
		see_new(&plain, r, (struct place){0, new_roots[i], 0, i, r->format->levels, false});
	qsort(after, after_count, sizeof *after, compare_pages);
	for (size_t i = 0; i < after_count; i++) {
		if (after[i].content == UINT64_MAX) {
			added++;
			continue;
		}
		CHECK(seen < before_count);
		const struct page *old = &before[seen++];
		CHECK_EQ(after[i].root, old->root);
		CHECK_EQ(after[i].va, old->va);
		CHECK_EQ(after[i].content, old->content);
		CHECK_EQ(after[i].rights, old->rights);
	}
	CHECK_EQ(seen, before_count);
	CHECK_EQ(added, r->mapping_count ? r->mappings->bytes / 4096 * r->root_count : 0);
	/* Each page is stored once, and at most one of zeroes. */
	unsigned blank = 0;
	for (uint32_t i = 0; i < r->page_count; i++) {
		blank += is_blank(stored[i]);
		for (uint32_t j = 0; j < i; j++)
			CHECK(stored[i] != stored[j]);
	}
	CHECK(blank <= 1);
}

/* Roots come first, in the order of the list; the same page is the same root. */
static void check_roots(const struct mote__rebuild *r)
{
	uint64_t next = TABLES_GPA;
	for (uint32_t i = 0; i < r->root_count; i++) {
		uint32_t first = 0;
		while ((roots[first] ^ roots[i]) & shape_of(r->format)->address)
			first++;
		CHECK_EQ(new_roots[i], first < i ? new_roots[first] : next);
		next += first < i ? 0 : 4096;
	}
}

/* Two places have one new table when they had one old one, reached with the same rights and not cut
 * differently by spans; and only then. */
static size_t check_places(const struct mote__rebuild *r, uint64_t *random)
{
	struct plain plain = plain_new(shape_of(r->format));
	size_t shared = 0, step = place_count / 60 + 1;
	for (size_t i = check_random(random) % step; i < place_count; i += step) {
		const struct place *a = &places[i];
		uint64_t table = plain_table(&plain, new_roots[a->root], a->va, a->level);
		for (size_t j = 0; table && j < place_count; j++) {
			const struct place *b = &places[j];
			bool was_one = a->gpa == b->gpa && a->level == b->level &&
				       a->rights == b->rights && a->is_cut == b->is_cut &&
				       (!a->is_cut || a->va == b->va);
			/* What only holds the added mapping is not from the guest. */
			bool is_guest = !r->mapping_count || !a->is_cut;
			uint64_t other = plain_table(&plain, new_roots[b->root], b->va, b->level);
			if (i != j && (is_guest || table == other))
				CHECK_EQ(table == other, was_one);
			shared += i != j && was_one && table == other;
		}
	}
	return shared;
}

struct sums {
	size_t pages, shared, most_tables, stored_pages;
};

static void rebuild_random(const struct shape *shape, unsigned round, uint64_t *random,
			   struct sums *sums)
{
	struct finder finder;
	struct mote__pt_span spans[4];
	struct mote__pt_mapping mapping;
	uint32_t root_count = (uint32_t)(check_random(random) % 4) + 1;
	random_guest(random, shape);
	for (uint32_t i = 0; i < root_count; i++)
		roots[i] = page_gpa((unsigned)(check_random(random) % 3));
	if (check_random(random) % 8 == 0)
		roots[0] = random_gpa(random);
	struct mote__rebuild r = rebuild_of(shape->format, root_count, &finder);
	r.seed = check_random(random);
	r.leaves_max = 1 << 26; /* a hole of 1 GiB, page by page, is 2^18 */
	r.zero_gpa = check_random(random) % 2 ? ZERO_GPA : 0;
	finder.is_short = check_random(random) % 2;
	see_all_old(&r);
	if (round % 2) {
		random_spans(random, &r, spans, &mapping);
		see_all_old(&r);
	}
	CHECK_EQ(mote__rebuild(&r), MOTE__PT_OK);
	check_roots(&r);
	check_pages(&r);
	sums->shared += check_places(&r, random);
	sums->pages += before_count;
	sums->stored_pages += r.page_count;
	if (builder.used / 4096 > sums->most_tables)
		sums->most_tables = builder.used / 4096;
	CHECK(rebuilds_to_itself(&r));
}

TEST(rebuild_model__random_guests_are_the_same_after)
{
	const unsigned rounds = 2000;
	uint64_t random = 88001;
	check_note("seed %llu", (unsigned long long)random);
	for (const struct shape *shape = shapes; shape->format; shape++) {
		struct sums sums = {0};
		for (unsigned round = 0; round < rounds; round++)
			rebuild_random(shape, round, &random, &sums);
		check_note("%s: %zu pages, %zu stored, %zu pairs of shared tables, at most %zu "
			   "tables",
			   shape->name, sums.pages, sums.stored_pages, sums.shared,
			   sums.most_tables);
		CHECK(sums.pages > rounds && sums.stored_pages > rounds &&
		      sums.shared > rounds / 4);
	}
}
