/* SPDX-License-Identifier: MIT */
/*
 * Reading page tables that may be hostile: one address, or whole address spaces with a budget.
 * Each entry is loaded once and only the copy is used. A walk remembers the tables that it has seen
 * by (gpa, level, permissions from above) and goes into each once; levels fall on the way down, so
 * a table is never met again below itself and recursion is as deep as the format has levels.
 */
#include "base/math.h"
#include "core/page_table.h"

#include <string.h>

/* What the entries above allow; part of the key of a visit. */
enum { WRITE_ALLOWED = 1, USER_ALLOWED = 2, EXEC_ALLOWED = 4, ALL_ALLOWED = 7 };

const void *mote__pt_range_table(const void *cookie, uint64_t gpa, uint64_t bytes)
{
	const struct mote__pt_range *range = cookie;
	uint64_t at = gpa - range->gpa; /* below the range: wraps, to beyond its end */
	if (!mote__in_range(at, bytes, range->len))
		return NULL;
	return (const uint8_t *)range->bytes + at;
}

uint64_t mote__pt_load(const struct mote__pt_format *format, const void *table, uint32_t index)
{
	typedef uint64_t __attribute__((may_alias)) word64;
	typedef uint32_t __attribute__((may_alias)) word32;
	if (format->entry_bytes == sizeof(word64))
		return __atomic_load_n((const word64 *)table + index, __ATOMIC_RELAXED);
	return __atomic_load_n((const word32 *)table + index, __ATOMIC_RELAXED);
}

static const void *table_at(const struct mote__pt_format *format,
			    const struct mote__pt_memory *memory, uint64_t gpa)
{
	return memory->table(memory->cookie, gpa, mote__pt_table_bytes(format));
}

/* What is left of allowed below a table entry. */
static unsigned allowed_below(const struct mote__pt_format *format, uint64_t entry,
			      unsigned allowed)
{
	unsigned own = (mote__pt_has(format->writable, entry) ? WRITE_ALLOWED : 0u) |
		       (mote__pt_has(format->user, entry) ? USER_ALLOWED : 0u) |
		       (mote__pt_has(format->exec, entry) ? EXEC_ALLOWED : 0u);
	return allowed & own;
}

static struct mote__pt_attributes effective(struct mote__pt_attributes own, unsigned allowed)
{
	return (struct mote__pt_attributes){
		.writable = own.writable && allowed & WRITE_ALLOWED,
		.cow = own.cow && allowed & WRITE_ALLOWED,
		.exec = own.exec && allowed & EXEC_ALLOWED,
		.user = own.user && allowed & USER_ALLOWED,
	};
}

/* The gpa that a leaf maps. */
static uint64_t leaf_gpa(const struct mote__pt_format *format, uint64_t entry, uint32_t level)
{
	return entry & format->address_mask & ~(mote__pt_page_bytes(format, level) - 1);
}

/* ---- one address ---- */

static bool is_canonical(const struct mote__pt_format *format, uint64_t va)
{
	return mote__pt_canonical(format, va) == va;
}

int mote__pt_translate(const struct mote__pt_space *space, uint64_t va,
		       struct mote__pt_translation *out)
{
	const struct mote__pt_format *format = space->format;
	uint64_t gpa = space->root & format->address_mask;
	unsigned allowed = ALL_ALLOWED;
	if (!is_canonical(format, va))
		return MOTE__PT_NOT_CANONICAL;
	for (uint32_t level = format->levels; level > 0; level--) {
		const void *table = table_at(format, &space->memory, gpa);
		if (!table)
			return MOTE__PT_NOT_MAPPED;
		uint32_t index = mote__pt_index(format, va, level);
		uint64_t entry = mote__pt_load(format, table, index);
		enum mote__pt_entry_kind kind = mote__pt_entry_kind(format, entry, level);
		if (kind == MOTE__PT_LEAF) {
			uint64_t page = mote__pt_page_bytes(format, level);
			struct mote__pt_attributes own = mote__pt_entry_attributes(format, entry);
			*out = (struct mote__pt_translation){
				.gpa = leaf_gpa(format, entry, level) + va % page,
				.bytes = page - va % page,
				.entry_gpa = gpa + (uint64_t)index * format->entry_bytes,
				.entry = entry,
				.level = level,
				.own = own,
				.effective = effective(own, allowed),
			};
			return MOTE__PT_OK;
		}
		if (kind != MOTE__PT_TABLE)
			return MOTE__PT_NOT_MAPPED;
		allowed = allowed_below(format, entry, allowed);
		gpa = entry & format->address_mask;
	}
	return MOTE__PT_NOT_MAPPED;
}

int mote__pt_find_table(const struct mote__pt_space *space, uint64_t va, uint32_t level,
			uint64_t *table_gpa)
{
	const struct mote__pt_format *format = space->format;
	uint64_t gpa = space->root & format->address_mask;
	if (!is_canonical(format, va))
		return MOTE__PT_NOT_CANONICAL;
	if (level < 1 || level > format->levels)
		return MOTE__PT_BAD_LEVEL;
	for (uint32_t at = format->levels; at > level; at--) {
		const void *table = table_at(format, &space->memory, gpa);
		if (!table)
			return MOTE__PT_NOT_MAPPED;
		uint64_t entry = mote__pt_load(format, table, mote__pt_index(format, va, at));
		if (mote__pt_entry_kind(format, entry, at) != MOTE__PT_TABLE)
			return MOTE__PT_NOT_MAPPED;
		gpa = entry & format->address_mask;
	}
	*table_gpa = gpa;
	return MOTE__PT_OK;
}

/* ---- whole address spaces ---- */

struct walker {
	const struct mote__pt_walk *walk;
	const struct mote__pt_format *format;
	uint32_t root; /* being walked */
	uint32_t tables;
	uint64_t reports; /* leaves and links */
};

/* A table as it is met on the way down. */
struct place {
	uint64_t gpa, va;
	uint32_t level;
	unsigned allowed;
	bool is_cut; /* part of it lies outside the spans */
};

enum cover { COVER_NONE, COVER_PART, COVER_ALL };

/* How much of the addresses first .. last lies in the spans. */
static enum cover cover_of(const struct mote__pt_walk *walk, uint64_t first, uint64_t last)
{
	for (uint32_t i = 0; i < walk->span_count; i++) {
		const struct mote__pt_span *span = &walk->spans[i];
		if (span->last < first)
			continue;
		if (span->first > last)
			return COVER_NONE;
		return span->first <= first && span->last >= last ? COVER_ALL : COVER_PART;
	}
	return walk->span_count == 0 ? COVER_ALL : COVER_NONE;
}

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 32) * UINT64_C(0xD6E8FEB86659FD93);
	x = (x ^ x >> 32) * UINT64_C(0xD6E8FEB86659FD93);
	return x ^ x >> 32;
}

/* The visit of the table at place, or the free slot for it (then key is 0 there). There is always a
 * free slot, since tables_max is below the number of slots. */
static struct mote__pt_visit *find_visit(const struct walker *w, const struct place *place,
					 uint64_t key)
{
	struct mote__pt_visit *visits = w->walk->visits;
	uint64_t last = w->walk->visit_count - 1;
	uint64_t i = mix(w->walk->seed ^ mix(key + (place->is_cut ? place->va : 0)));
	for (;; i++) {
		struct mote__pt_visit *visit = &visits[i & last];
		if (visit->key == 0)
			return visit;
		if (visit->key == key && (!place->is_cut || visit->va == place->va))
			return visit;
	}
}

/* Count one leaf or link. */
static int charge_report(struct walker *w)
{
	if (w->reports >= w->walk->leaves_max)
		return MOTE__PT_LEAF_BUDGET;
	w->reports++;
	return MOTE__PT_OK;
}

static int report_link(struct walker *w, const struct place *place,
		       const struct mote__pt_visit *visit)
{
	struct mote__pt_link link = {
		.va = place->va,
		.owner_va = visit->va,
		.table_gpa = place->gpa,
		.root = w->root,
		.owner_root = visit->root,
		.level = place->level,
	};
	int rc = charge_report(w);
	if (rc < 0)
		return rc;
	if (w->walk->link && !w->walk->link(w->walk->cookie, &link))
		return MOTE__PT_STOPPED;
	return MOTE__PT_OK;
}

static int report_leaf(struct walker *w, const struct mote__pt_leaf *leaf)
{
	int rc = charge_report(w);
	if (rc < 0)
		return rc;
	return w->walk->leaf(w->walk->cookie, leaf) ? MOTE__PT_OK : MOTE__PT_STOPPED;
}

/* Report the parts of a leaf that lie in the spans. */
static int report_cut_leaf(struct walker *w, const struct mote__pt_leaf *leaf)
{
	uint64_t leaf_last = leaf->va + leaf->bytes - 1;
	for (uint32_t i = 0; i < w->walk->span_count; i++) {
		const struct mote__pt_span *span = &w->walk->spans[i];
		uint64_t first = span->first > leaf->va ? span->first : leaf->va;
		uint64_t last = span->last < leaf_last ? span->last : leaf_last;
		if (first > last)
			continue;
		struct mote__pt_leaf part = *leaf;
		part.va = first;
		part.gpa += first - leaf->va;
		part.bytes = last - first + 1;
		int rc = report_leaf(w, &part);
		if (rc < 0)
			return rc;
	}
	return MOTE__PT_OK;
}

static int walk_table(struct walker *w, const struct place *place);

/* An entry, and count - 1 more that continue it. */
static int walk_entry(struct walker *w, const struct place *place, uint64_t entry, uint64_t va,
		      uint32_t count)
{
	const struct mote__pt_format *format = w->format;
	uint64_t bytes = mote__pt_page_bytes(format, place->level) * count;
	enum mote__pt_entry_kind kind = mote__pt_entry_kind(format, entry, place->level);
	if (kind != MOTE__PT_LEAF && kind != MOTE__PT_TABLE)
		return MOTE__PT_OK;
	enum cover cover = place->is_cut ? cover_of(w->walk, va, va + bytes - 1) : COVER_ALL;
	if (cover == COVER_NONE)
		return MOTE__PT_OK;
	if (kind == MOTE__PT_TABLE) {
		struct place below = {
			.gpa = entry & format->address_mask,
			.va = va,
			.level = place->level - 1,
			.allowed = allowed_below(format, entry, place->allowed),
			.is_cut = cover == COVER_PART,
		};
		return walk_table(w, &below);
	}
	struct mote__pt_attributes own = mote__pt_entry_attributes(format, entry);
	struct mote__pt_leaf leaf = {
		.va = va,
		.gpa = leaf_gpa(format, entry, place->level),
		.bytes = bytes,
		.root = w->root,
		.level = place->level,
		.own = own,
		.effective = effective(own, place->allowed),
	};
	return cover == COVER_ALL ? report_leaf(w, &leaf) : report_cut_leaf(w, &leaf);
}

/* Entries of a table of a level: a root may translate fewer bits than index_bits. */
static uint32_t entries_of(const struct mote__pt_format *format, uint32_t level)
{
	uint32_t shift = format->page_bits + (level - 1) * format->index_bits;
	uint32_t bits = format->va_bits - shift;
	return 1u << (bits < format->index_bits ? bits : format->index_bits);
}

/* How many entries from number i on, which is entry, map pages that follow each other. */
static uint32_t joined(const struct mote__pt_format *format, const void *table, uint32_t i,
		       uint32_t end, uint64_t entry)
{
	uint64_t bytes = mote__pt_page_bytes(format, 1), flags = entry & ~format->address_mask;
	uint32_t count = 1;
	for (; i + count < end; count++) {
		uint64_t next = mote__pt_load(format, table, i + count);
		if (next != entry + count * bytes || (next & ~format->address_mask) != flags)
			break;
	}
	return count;
}

static int walk_table(struct walker *w, const struct place *place)
{
	const struct mote__pt_format *format = w->format;
	const void *table = table_at(format, &w->walk->memory, place->gpa);
	if (!table)
		return MOTE__PT_OK;
	/* The address leaves room for the rest below: formats have pages of 128 bytes or more. */
	uint64_t key = place->gpa | (place->is_cut ? 64u : 0u) | place->allowed << 3 | place->level;
	struct mote__pt_visit *visit = find_visit(w, place, key);
	if (visit->key != 0)
		return report_link(w, place, visit);
	if (w->tables >= w->walk->tables_max)
		return MOTE__PT_TABLE_BUDGET;
	w->tables++;
	*visit = (struct mote__pt_visit){.key = key, .va = place->va, .root = w->root};

	uint64_t bytes = mote__pt_page_bytes(format, place->level);
	bool joins = w->walk->joins_leaves && place->level == 1 && !place->is_cut;
	uint32_t end = entries_of(format, place->level);
	for (uint32_t i = 0, count; i < end; i += count) {
		uint64_t entry = mote__pt_load(format, table, i);
		uint64_t va = mote__pt_canonical(format, place->va + i * bytes);
		count = joins && entry ? joined(format, table, i, end, entry) : 1;
		int rc = entry ? walk_entry(w, place, entry, va, count) : MOTE__PT_OK;
		if (rc < 0)
			return rc;
	}
	return MOTE__PT_OK;
}

static int check_walk(const struct mote__pt_walk *walk)
{
	uint64_t below_page = mote__pt_page_bytes(walk->format, 1) - 1;
	for (uint32_t i = 0; i < walk->span_count; i++) {
		const struct mote__pt_span *span = &walk->spans[i];
		if (span->first & below_page || ~span->last & below_page)
			return MOTE__PT_UNALIGNED;
		if (span->first > span->last)
			return MOTE__PT_BAD_ORDER;
		if (i > 0 && span->first <= walk->spans[i - 1].last)
			return MOTE__PT_BAD_ORDER;
	}
	uint32_t slots = walk->visit_count;
	if (slots == 0 || slots & (slots - 1) || walk->tables_max >= slots)
		return MOTE__PT_BAD_VISITS;
	return MOTE__PT_OK;
}

uint32_t mote__pt_visits_for(uint32_t tables_max)
{
	uint32_t slots = 2;
	while (slots / 2 < tables_max && slots < 1u << 31)
		slots *= 2;
	return slots;
}

int mote__pt_walk(const struct mote__pt_walk *walk)
{
	struct walker w = {.walk = walk, .format = walk->format};
	int rc = check_walk(walk);
	if (rc < 0)
		return rc;
	memset(walk->visits, 0, walk->visit_count * sizeof *walk->visits);
	for (w.root = 0; w.root < walk->root_count; w.root++) {
		struct place place = {
			.gpa = walk->roots[w.root] & w.format->address_mask,
			.level = w.format->levels,
			.allowed = ALL_ALLOWED,
			.is_cut = walk->span_count != 0,
		};
		rc = walk_table(&w, &place);
		if (rc < 0)
			return rc;
	}
	return MOTE__PT_OK;
}
