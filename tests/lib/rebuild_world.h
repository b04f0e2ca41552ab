/* SPDX-License-Identifier: MIT */
/*
 * For tests of the rebuild: a small physical memory (pages that are kept, scratch with the tables
 *in it, a mapping), the memory that a rebuild takes, and plain walkers of old and new tables that
 *use nothing of the library's.
 *
 *	kept     0x1000, 31 pages           stored already
 *	scratch  POOL_GPA, POOL_PAGES       the pool of page_tables.h
 *	mapping  0x200000, MAPPED_PAGES     more than one large page
 */
#ifndef MOTE_TESTS_REBUILD_WORLD_H
#define MOTE_TESTS_REBUILD_WORLD_H

#include "core/rebuild.h"

#include "page_tables.h"

#define KEPT_GPA     UINT64_C(0x1000)
#define KEPT_BYTES   UINT64_C(0x1F000)
#define MAPPED_GPA   UINT64_C(0x200000)
#define MAPPED_PAGES 600u
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
	*is_kept = gpa >= KEPT_GPA && gpa < KEPT_GPA + KEPT_BYTES;
	if (*is_kept || gpa < NEW_GPA || gpa >= NEW_GPA + r->page_count * UINT64_C(4096))
		return NULL;
	return stored[(gpa - NEW_GPA) / 4096];
}

static inline bool is_blank(const uint8_t *page)
{
	static const uint8_t blank[4096];
	return memcmp(page, blank, sizeof blank) == 0;
}

/* ---- plain walkers ---- */

/* A memory with tables, the old or the new one. */
struct plain {
	const uint8_t *bytes;
	uint64_t gpa, len;
	bool is_two_level;
};

static inline struct plain plain_old(const struct mote__pt_format *format)
{
	return (struct plain){(const uint8_t *)pool, POOL_GPA, sizeof pool, format == &two_level};
}

static inline struct plain plain_new(const struct mote__pt_format *format)
{
	return (struct plain){(const uint8_t *)new_tables, TABLES_GPA, builder.used,
			      format == &two_level};
}

static inline unsigned plain_levels(const struct plain *plain)
{
	return plain->is_two_level ? 2 : 4;
}

static inline unsigned plain_entries(const struct plain *plain)
{
	return plain->is_two_level ? 1024 : 512;
}

/* Bytes that an entry of a level maps. */
static inline uint64_t plain_bytes(const struct plain *plain, unsigned level)
{
	return UINT64_C(4096) << (level - 1) * (plain->is_two_level ? 10 : 9);
}

/* What an entry says. Rights as bits: 1 write, 2 copy-on-write, 4 execute, 8 user. */
struct plain_entry {
	bool is_table, is_leaf;
	uint64_t gpa, rights;
};

static inline bool plain_has(const struct plain *plain, uint64_t gpa)
{
	return gpa % 4096 == 0 && gpa >= plain->gpa && gpa - plain->gpa < plain->len;
}

static inline struct plain_entry plain_entry(const struct plain *plain, uint64_t table,
					     unsigned index, unsigned level)
{
	struct plain_entry out = {0};
	const uint8_t *page = plain->bytes + (table - plain->gpa);
	uint64_t e = 0, no_execute = UINT64_C(1) << 63;
	memcpy(&e, page + index * (plain->is_two_level ? 4u : 8u), plain->is_two_level ? 4 : 8);
	if (!(e & 1))
		return out;
	out.rights = (e >> 1 & 1) | (e & no_execute ? 0 : 4) | (e & 4) << 1;
	out.gpa = e & (plain->is_two_level ? 0xFFFFF000 : UINT64_C(0x000FFFFFFFFFF000));
	out.is_leaf = level == 1;
	out.is_table = level > 1;
	if (!plain->is_two_level && level > 1 && e & 0x80) {
		out.gpa &= ~UINT64_C(0x1000);
		out.is_leaf = level < 4 && out.gpa % plain_bytes(plain, level) == 0;
		out.is_table = false;
	}
	bool is_cow = plain->is_two_level ? e & 0x200 : (e & 0xE00) == 0x200;
	if (out.is_leaf && is_cow)
		out.rights = (out.rights & ~UINT64_C(1)) | 2;
	return out;
}

/* Whether the entries of the block of 32 that index lies in are all zero: most are. */
static inline bool plain_is_empty(const struct plain *plain, uint64_t table, unsigned index)
{
	static const uint8_t blank[256];
	size_t bytes = plain->is_two_level ? 4 : 8;
	const uint8_t *page = plain->bytes + (table - plain->gpa);
	return memcmp(page + index / 32 * 32 * bytes, blank, 32 * bytes) == 0;
}

static inline uint64_t plain_canonical(const struct plain *plain, uint64_t va)
{
	bool is_upper = !plain->is_two_level && va >> 47 & 1;
	return is_upper ? va | UINT64_C(0xFFFF) << 48 : va;
}

/* The table of a level for va below root, or 0. */
static inline uint64_t plain_table(const struct plain *plain, uint64_t root, uint64_t va,
				   unsigned level)
{
	uint64_t table = root;
	for (unsigned at = plain_levels(plain); at > level; at--) {
		if (!plain_has(plain, table))
			return 0;
		uint64_t index = va / plain_bytes(plain, at) % plain_entries(plain);
		struct plain_entry entry = plain_entry(plain, table, (unsigned)index, at);
		if (!entry.is_table)
			return 0;
		table = entry.gpa;
	}
	return plain_has(plain, table) ? table : 0;
}

#endif
