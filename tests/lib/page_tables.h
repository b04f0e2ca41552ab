/* SPDX-License-Identifier: MIT */
/*
 * For tests of page tables: a second format with two levels of 4-byte entries, which shows that
 * nothing is fixed to x86-64, a pool of pages to write tables into by hand, and a walk that keeps
 * what it reports.
 */
#ifndef MOTE_TESTS_PAGE_TABLES_H
#define MOTE_TESTS_PAGE_TABLES_H

#include "core/page_table.h"

#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* Two levels of 1024 entries, no dirty bit, no no-execute, no large pages. */
static const struct mote__pt_format two_level = {
	.name = "two-level",
	.levels = 2,
	.page_bits = 12,
	.index_bits = 10,
	.entry_bytes = 4,
	.va_bits = 32,
	.address_mask = 0xFFFFF000,
	.accessed = 0x20,
	.table_bits = 0x27,
	.present = {1, 1, 0},
	.large = {0, 1, 0},
	.writable = {2, 2, 0},
	.user = {4, 4, 0},
	.exec = {0, 0, 0},
	.cow = {0x200, 0x200, 0},
};

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

/* root, level 3, level 2 and level 1 in pages 0 to 3, for va 0. */
static inline void pool_chain(void)
{
	pool_clear();
	for (unsigned i = 0; i < 3; i++)
		pool[i][0] = page_gpa(i + 1) | 0x23;
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
