/* SPDX-License-Identifier: MIT */
/*
 * For tests of page tables: a pool of pages to write tables into by hand, plain readers of tables
 * that use nothing of the library's, and a walk that keeps what it reports.
 */
#ifndef MOTE_TESTS_PAGE_TABLES_H
#define MOTE_TESTS_PAGE_TABLES_H

#include "core/page_table.h"

#include "page_shapes.h"

#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static const struct mote__pt_attributes read_only = {0};
static const struct mote__pt_attributes read_exec = {.exec = true};
static const struct mote__pt_attributes read_write = {.writable = true};
static const struct mote__pt_attributes cow_data = {.cow = true};

/* ---- a pool of pages that serve as tables ---- */

#define POOL_PAGES 64u
#define POOL_GPA   UINT64_C(0x40000)

static _Alignas(4096) uint64_t pool[POOL_PAGES][512];
static struct mote__pt_range pool_range = {pool, POOL_GPA, sizeof pool};
static const struct mote__pt_memory pool_memory = {&pool_range, mote__pt_range_table};

static inline uint64_t page_gpa(unsigned page)
{
	return POOL_GPA + page * UINT64_C(4096);
}

static inline void pool_clear(void)
{
	memset(pool, 0, sizeof pool);
}

static inline struct mote__pt_space pool_space(unsigned root)
{
	return (struct mote__pt_space){&mote__pt_x86_64, pool_memory, page_gpa(root)};
}

/* Entry index of a pool page; a 4-byte format takes the lower half of entry. */
static inline void put(const struct shape *shape, unsigned page, uint64_t index, uint64_t entry)
{
	memcpy((char *)pool[page] + index * shape->entry_bytes, &entry, shape->entry_bytes);
}

static inline void put_all(const struct shape *shape, unsigned page, uint64_t entry)
{
	for (unsigned i = 0; i < shape_entries(shape); i++)
		put(shape, page, i, entry);
}

/* A table of each level for va 0 in pages 0 (the root) to levels - 1, user and writable. */
static inline void put_chain(const struct shape *shape)
{
	pool_clear();
	for (unsigned page = 0; page + 1 < shape->levels; page++)
		put(shape, page, 0, page_gpa(page + 1) | 0x27);
}

/* root, level 3, level 2 and level 1 in pages 0 to 3, for va 0: of x86-64, not user. */
static inline void pool_chain(void)
{
	pool_clear();
	for (unsigned i = 0; i < 3; i++)
		pool[i][0] = page_gpa(i + 1) | 0x23;
}

/* ---- plain readers ---- */

/* A memory with tables. */
struct plain {
	const uint8_t *bytes;
	uint64_t gpa, len;
	const struct shape *shape;
};

static inline struct plain plain_old(const struct shape *shape)
{
	return (struct plain){(const uint8_t *)pool, POOL_GPA, sizeof pool, shape};
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
	const struct shape *shape = plain->shape;
	struct plain_entry out = {0};
	uint64_t e = 0;
	memcpy(&e, plain->bytes + (table - plain->gpa) + (size_t)index * shape->entry_bytes,
	       shape->entry_bytes);
	if (!(e & 1))
		return out;
	out.rights = (e >> 1 & 1) | (e & shape->no_execute ? 0 : 4) | (e & 4) << 1;
	out.gpa = e & shape->address;
	out.is_leaf = level == 1;
	out.is_table = level > 1;
	if (level > 1 && shape->large_top > 1 && e & 0x80) {
		out.gpa &= ~UINT64_C(0x1000);
		out.is_leaf = level <= shape->large_top && out.gpa % shape_bytes(shape, level) == 0;
		out.is_table = false;
	}
	if (out.is_leaf && (e & 0xE00) == 0x200)
		out.rights = (out.rights & ~UINT64_C(1)) | 2;
	return out;
}

/* What is left of the rights of an entry below others. */
static inline uint64_t plain_rights(struct plain_entry entry, uint64_t above)
{
	return (entry.rights & above & 12) | (above & 1 ? entry.rights & 3 : 0);
}

struct plain_answer {
	bool is_mapped;
	uint64_t gpa, left; /* of the byte; bytes to the end of its page */
	unsigned level;
	uint64_t own, effective;
};

static inline struct plain_answer plain_translate(const struct plain *plain, uint64_t root,
						  uint64_t va)
{
	const struct shape *shape = plain->shape;
	uint64_t table = root & shape->address, rights = 13;
	for (unsigned level = shape->levels; level > 0 && plain_has(plain, table); level--) {
		uint64_t bytes = shape_bytes(shape, level);
		unsigned index = (unsigned)(va / bytes % shape_entries(shape));
		struct plain_entry entry = plain_entry(plain, table, index, level);
		if (entry.is_leaf)
			return (struct plain_answer){
				.is_mapped = true,
				.gpa = entry.gpa + va % bytes,
				.left = bytes - va % bytes,
				.level = level,
				.own = entry.rights,
				.effective = plain_rights(entry, rights),
			};
		if (!entry.is_table)
			break;
		rights &= entry.rights;
		table = entry.gpa;
	}
	return (struct plain_answer){0};
}

/* Whether the entries of the block of 32 that index lies in are all zero: most are. */
static inline bool plain_is_empty(const struct plain *plain, uint64_t table, unsigned index)
{
	static const uint8_t blank[256];
	size_t bytes = plain->shape->entry_bytes;
	const uint8_t *page = plain->bytes + (table - plain->gpa);
	return memcmp(page + index / 32 * 32 * bytes, blank, 32 * bytes) == 0;
}

/* The table of a level for va below root, or 0. */
static inline uint64_t plain_table(const struct plain *plain, uint64_t root, uint64_t va,
				   unsigned level)
{
	const struct shape *shape = plain->shape;
	uint64_t table = root;
	for (unsigned at = shape->levels; at > level; at--) {
		if (!plain_has(plain, table))
			return 0;
		uint64_t index = va / shape_bytes(shape, at) % shape_entries(shape);
		struct plain_entry entry = plain_entry(plain, table, (unsigned)index, at);
		if (!entry.is_table)
			return 0;
		table = entry.gpa;
	}
	return plain_has(plain, table) ? table : 0;
}

/* Attributes as bits: 1 writable, 2 copy-on-write, 4 executable, 8 user. */
static inline uint64_t pack(struct mote__pt_attributes a)
{
	return (a.writable ? 1u : 0u) | (a.cow ? 2u : 0u) | (a.exec ? 4u : 0u) | (a.user ? 8u : 0u);
}

/* ---- what a walk reported ---- */

struct seen {
	uint64_t root, va, gpa, bytes, level, own, effective;
};

struct seen_list {
	struct seen *items;
	size_t count, capacity;
};

struct report {
	struct seen_list leaves;
	struct mote__pt_link *links;
	size_t link_count, link_capacity;
	size_t stop_after_leaves, stop_after_links; /* 0: never */
};

static inline void add_seen(struct seen_list *list, struct seen item)
{
	if (list->count == list->capacity) {
		list->capacity = list->capacity ? list->capacity * 2 : 64;
		list->items = realloc(list->items, list->capacity * sizeof *list->items);
	}
	list->items[list->count++] = item;
}

static inline bool on_leaf(void *cookie, const struct mote__pt_leaf *leaf)
{
	struct report *report = cookie;
	add_seen(&report->leaves,
		 (struct seen){leaf->root, leaf->va, leaf->gpa, leaf->bytes, leaf->level,
			       pack(leaf->own), pack(leaf->effective)});
	return report->leaves.count != report->stop_after_leaves;
}

static inline bool on_link(void *cookie, const struct mote__pt_link *link)
{
	struct report *report = cookie;
	if (report->link_count == report->link_capacity) {
		report->link_capacity = report->link_capacity ? report->link_capacity * 2 : 64;
		report->links =
			realloc(report->links, report->link_capacity * sizeof *report->links);
	}
	report->links[report->link_count++] = *link;
	return report->link_count != report->stop_after_links;
}

static inline void report_free(struct report *report)
{
	free(report->leaves.items);
	free(report->links);
	memset(report, 0, sizeof *report);
}

static struct mote__pt_visit visits[8192];
static uint64_t roots[8];

static inline struct mote__pt_walk walk_of(const struct mote__pt_format *format,
					   uint32_t root_count, struct report *report)
{
	return (struct mote__pt_walk){
		.format = format,
		.memory = pool_memory,
		.roots = roots,
		.root_count = root_count,
		.tables_max = COUNT(visits) / 2,
		.leaves_max = 1 << 20,
		.visits = visits,
		.visit_count = COUNT(visits),
		.seed = 12345,
		.leaf = on_leaf,
		.link = on_link,
		.cookie = report,
	};
}

#endif
