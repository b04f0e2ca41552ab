/* SPDX-License-Identifier: MIT */
/*
 * For tests of the rebuild: a small physical memory (pages that are kept, scratch with the tables
 * in it, a mapping), and the memory that a rebuild takes.
 *
 *	kept     0x1000, 31 pages           stored already
 *	scratch  POOL_GPA, POOL_PAGES       the pool of page_tables.h
 *	mapping  0x200000, MAPPED_PAGES     more than one large page
 *	large    0x800000, 4 MiB            stored already, and can be large pages
 */
#ifndef MOTE_TESTS_REBUILD_WORLD_H
#define MOTE_TESTS_REBUILD_WORLD_H

#include "core/rebuild.h"

#include "page_tables.h"

#define KEPT_GPA     UINT64_C(0x1000)
#define KEPT_BYTES   UINT64_C(0x1F000)
#define MAPPED_GPA   UINT64_C(0x200000)
#define MAPPED_PAGES 600u
#define LARGE_GPA    UINT64_C(0x800000)
#define LARGE_BYTES  UINT64_C(0x400000)
#define NEW_GPA      UINT64_C(0x10000000)
#define TABLES_GPA   UINT64_C(0x20000000) /* of the new tables */
#define TABLES_ROOM  2048u
#define ZERO_GPA     UINT64_C(0x5000) /* a kept page that serves as the page of zeroes */
#define PAGES_MAX    1024u

static _Alignas(4096) uint8_t mapped[MAPPED_PAGES][4096];
static _Alignas(4096) uint64_t new_tables[TABLES_ROOM][512];
static const uint8_t *stored[PAGES_MAX];
static uint32_t page_slots[2 * PAGES_MAX];
static uint64_t new_roots[8];
static struct mote__pt_builder builder;

/* ---- what is where ---- */

struct region {
	uint64_t gpa, bytes;
	enum mote__rebuild_where where;
	const uint8_t *memory; /* COPY */
};

static const struct region regions[] = {
	{KEPT_GPA, KEPT_BYTES, MOTE__REBUILD_KEEP, NULL},
	{POOL_GPA, sizeof pool, MOTE__REBUILD_COPY, (const uint8_t *)pool},
	{MAPPED_GPA, sizeof mapped, MOTE__REBUILD_COPY, (const uint8_t *)mapped},
	{LARGE_GPA, LARGE_BYTES, MOTE__REBUILD_KEEP, NULL},
};

/* How find() was used. */
struct finder {
	uint64_t calls;
	bool is_short; /* answers for one page at a time */
};

static inline enum mote__rebuild_where find_page(void *cookie, uint64_t gpa, uint64_t *len,
						 const uint8_t **bytes)
{
	struct finder *finder = cookie;
	uint64_t left = *len;
	finder->calls++;
	for (size_t i = 0; i < COUNT(regions); i++) {
		const struct region *region = &regions[i];
		uint64_t end = region->gpa + region->bytes;
		if (gpa >= end)
			continue;
		bool is_in = gpa >= region->gpa;
		uint64_t run = (is_in ? end : region->gpa) - gpa;
		*len = finder->is_short ? 4096 : run < left ? run : left;
		if (is_in && region->memory)
			*bytes = region->memory + (gpa - region->gpa);
		return is_in ? region->where : MOTE__REBUILD_NONE;
	}
	*len = finder->is_short ? 4096 : left;
	return MOTE__REBUILD_NONE;
}

static inline struct mote__rebuild rebuild_of(const struct mote__pt_format *format,
					      uint32_t root_count, struct finder *finder)
{
	*finder = (struct finder){0};
	mote__pt_builder_init(&builder, format, new_tables, TABLES_GPA, sizeof new_tables);
	builder.user_tables = true;
	return (struct mote__rebuild){
		.format = format,
		.tables = pool_memory,
		.roots = roots,
		.root_count = root_count,
		.find = find_page,
		.cookie = finder,
		.leaves_max = 1 << 20,
		.tables_max = COUNT(visits) / 2,
		.pages_max = PAGES_MAX,
		.seed = 4711,
		.visits = visits,
		.visit_count = COUNT(visits),
		.slots = page_slots,
		.slot_count = COUNT(page_slots),
		.builder = &builder,
		.new_gpa = NEW_GPA,
		.pages = stored,
		.new_roots = new_roots,
	};
}

/* The memory behind a gpa that the new tables may hold; NULL with *kept for one that is kept. */
static inline const uint8_t *new_content(const struct mote__rebuild *r, uint64_t gpa, bool *is_kept)
{
	*is_kept = (gpa >= KEPT_GPA && gpa < KEPT_GPA + KEPT_BYTES) ||
		   (gpa >= LARGE_GPA && gpa < LARGE_GPA + LARGE_BYTES);
	if (*is_kept || gpa < NEW_GPA || gpa >= NEW_GPA + r->page_count * UINT64_C(4096))
		return NULL;
	return stored[(gpa - NEW_GPA) / 4096];
}

static inline bool is_blank(const uint8_t *page)
{
	static const uint8_t blank[4096];
	return memcmp(page, blank, sizeof blank) == 0;
}

static inline struct plain plain_new(const struct shape *shape)
{
	return (struct plain){(const uint8_t *)new_tables, TABLES_GPA, builder.used, shape};
}

/* ---- the rebuild of a rebuild ---- */

static _Alignas(4096) uint64_t rebuilt_tables[TABLES_ROOM][512];

/* All that the tables of a rebuild map is stored. */
static inline enum mote__rebuild_where find_stored(void *cookie, uint64_t gpa, uint64_t *len,
						   const uint8_t **bytes)
{
	(void)cookie;
	(void)gpa;
	(void)len;
	(void)bytes;
	return MOTE__REBUILD_KEEP;
}

/* Whether a rebuild of what was just rebuilt makes the same bytes of it. */
static inline bool rebuilds_to_itself(const struct mote__rebuild *first)
{
	uint64_t used = builder.used, first_roots[COUNT(new_roots)];
	struct mote__pt_range range = {rebuilt_tables, TABLES_GPA, used};
	struct finder unused;
	memcpy(rebuilt_tables, new_tables, used);
	memcpy(first_roots, new_roots, sizeof first_roots);
	struct mote__rebuild r = rebuild_of(first->format, first->root_count, &unused);
	r.tables = (struct mote__pt_memory){&range, mote__pt_range_table};
	r.roots = first_roots;
	r.find = find_stored;
	r.spans = first->spans;
	r.span_count = first->span_count;
	r.mappings = first->mappings;
	r.mapping_count = first->mapping_count;
	r.leaves_max = 1 << 26;
	uint64_t leaves = first->leaves_kept + first->leaves_stored + first->leaves_zero;
	return mote__rebuild(&r) == MOTE__PT_OK && builder.used == used &&
	       memcmp(new_tables, rebuilt_tables, used) == 0 &&
	       memcmp(new_roots, first_roots, r.root_count * sizeof *new_roots) == 0 &&
	       r.leaves_kept == leaves && r.page_count == 0;
}

#endif
