/* SPDX-License-Identifier: MIT */
/*
 * Building page tables, and counting beforehand how many a set of mappings takes. Tables come one
 * after the other from one piece of memory; an entry that leads out of it is an error, so building
 * on tables that a guest has written stays inside. count() and map() agree exactly: a count that
 * is too low shows as MOTE__PT_FULL.
 */
#include "base/math.h"
#include "core/page_table.h"

#include <string.h>

/* Large leaves are made at this level only. */
enum { LARGE_LEVEL = 2 };

static void store(const struct mote__pt_format *format, void *table, uint32_t index, uint64_t entry)
{
	typedef uint64_t __attribute__((may_alias)) word64;
	typedef uint32_t __attribute__((may_alias)) word32;
	if (format->entry_bytes == sizeof(word64))
		__atomic_store_n((word64 *)table + index, entry, __ATOMIC_RELAXED);
	else
		__atomic_store_n((word32 *)table + index, (uint32_t)entry, __ATOMIC_RELAXED);
}

int mote__pt_builder_init(struct mote__pt_builder *builder, const struct mote__pt_format *format,
			  void *bytes, uint64_t gpa, uint64_t capacity)
{
	uint64_t table_bytes = mote__pt_table_bytes(format), end;
	if ((uintptr_t)bytes % sizeof(uint64_t) != 0 || gpa % table_bytes != 0)
		return MOTE__PT_UNALIGNED;
	capacity -= capacity % table_bytes;
	if (!mote__add(gpa, capacity, &end) || gpa & ~format->address_mask)
		return MOTE__PT_BAD_GPA;
	if (capacity && (end - table_bytes) & ~format->address_mask)
		return MOTE__PT_BAD_GPA;
	*builder = (struct mote__pt_builder){
		.format = format,
		.bytes = bytes,
		.gpa = gpa,
		.capacity = capacity,
	};
	return MOTE__PT_OK;
}

struct mote__pt_range mote__pt_built(const struct mote__pt_builder *builder)
{
	return (struct mote__pt_range){builder->bytes, builder->gpa, builder->used};
}

/* The table at gpa, or NULL when it is none of ours. */
static uint8_t *table_at(const struct mote__pt_builder *builder, uint64_t gpa)
{
	uint64_t bytes = mote__pt_table_bytes(builder->format);
	uint64_t at = gpa - builder->gpa; /* below: wraps, to beyond the end */
	if (at % bytes != 0 || !mote__in_range(at, bytes, builder->used))
		return NULL;
	return builder->bytes + at;
}

static int add_table(struct mote__pt_builder *builder, uint64_t *gpa)
{
	uint64_t bytes = mote__pt_table_bytes(builder->format);
	if (!mote__in_range(builder->used, bytes, builder->capacity))
		return MOTE__PT_FULL;
	if (!builder->is_zeroed)
		memset(builder->bytes + builder->used, 0, bytes);
	*gpa = builder->gpa + builder->used;
	builder->used += bytes;
	return MOTE__PT_OK;
}

int mote__pt_add_root(struct mote__pt_builder *builder, uint64_t *root)
{
	return add_table(builder, root);
}

/* The table of a level for va, with the tables on the way to it. */
static int reach_table(struct mote__pt_builder *builder, uint64_t root, uint64_t va, uint32_t level,
		       uint8_t **out)
{
	const struct mote__pt_format *format = builder->format;
	uint8_t *table = table_at(builder, root);
	for (uint32_t at = format->levels; table && at > level; at--) {
		uint32_t index = mote__pt_index(format, va, at);
		uint64_t entry = mote__pt_load(format, table, index);
		uint64_t below = entry & format->address_mask;
		enum mote__pt_entry_kind kind = mote__pt_entry_kind(format, entry, at);
		if (kind == MOTE__PT_ABSENT) {
			int rc = add_table(builder, &below);
			if (rc < 0)
				return rc;
			entry = mote__pt_table_entry(format, below, builder->user_tables);
			store(format, table, index, entry);
		} else if (kind != MOTE__PT_TABLE) {
			return MOTE__PT_IN_THE_WAY;
		}
		table = table_at(builder, below);
	}
	if (!table)
		return MOTE__PT_OUTSIDE;
	*out = table;
	return MOTE__PT_OK;
}

/* ---- mappings ---- */

static int check_mapping(const struct mote__pt_format *format, const struct mote__pt_mapping *m)
{
	uint64_t below_page = mote__pt_page_bytes(format, 1) - 1;
	bool has_gpa = m->kind == MOTE__PT_MAP;
	uint64_t va_last, gpa_last;
	if ((m->va | m->bytes | (has_gpa ? m->gpa : 0)) & below_page)
		return MOTE__PT_UNALIGNED;
	if (m->kind == MOTE__PT_RESERVE &&
	    (m->reserve_level < 1 || m->reserve_level > format->levels))
		return MOTE__PT_BAD_LEVEL;
	if (mote__pt_canonical(format, m->va) != m->va)
		return MOTE__PT_NOT_CANONICAL;
	if (m->bytes == 0)
		return MOTE__PT_OK;
	if (!mote__add(m->va, m->bytes - 1, &va_last) ||
	    mote__pt_canonical(format, va_last) != va_last)
		return MOTE__PT_NOT_CANONICAL;
	/* Both ends exist; they must also lie on the same side of the hole. */
	if ((m->va ^ va_last) >> format->va_bits)
		return MOTE__PT_NOT_CANONICAL;
	if (has_gpa && (!mote__add(m->gpa, m->bytes - 1, &gpa_last) ||
			gpa_last & ~(format->address_mask | below_page)))
		return MOTE__PT_BAD_GPA;
	return MOTE__PT_OK;
}

/* Whether a mapping uses large pages where a whole one fits. count() and map() both ask here. */
static bool wants_large(const struct mote__pt_format *format, const struct mote__pt_mapping *m)
{
	if (m->kind != MOTE__PT_MAP || !m->large || m->attributes.cow)
		return false;
	if (!(format->large_levels >> LARGE_LEVEL & 1))
		return false;
	return (m->va ^ m->gpa) % mote__pt_page_bytes(format, LARGE_LEVEL) == 0;
}

/* Bytes from va to the end of the table of a level, at most left. */
static uint64_t bytes_in_table(const struct mote__pt_format *format, uint64_t va, uint32_t level,
			       uint64_t left)
{
	uint64_t covered = mote__pt_page_bytes(format, level + 1);
	uint64_t bytes = covered - va % covered;
	return bytes < left ? bytes : left;
}

/* Put one large leaf, unless a table is in its place: then *done stays false. */
static int put_large(struct mote__pt_builder *builder, uint64_t root,
		     const struct mote__pt_mapping *m, uint64_t at, bool *done)
{
	const struct mote__pt_format *format = builder->format;
	uint32_t index = mote__pt_index(format, m->va + at, LARGE_LEVEL);
	uint8_t *table;
	int rc = reach_table(builder, root, m->va + at, LARGE_LEVEL, &table);
	if (rc < 0)
		return rc;
	uint64_t entry = mote__pt_load(format, table, index);
	if (mote__pt_entry_kind(format, entry, LARGE_LEVEL) == MOTE__PT_TABLE)
		return MOTE__PT_OK;
	entry = mote__pt_page_entry(format, m->gpa + at, LARGE_LEVEL, m->attributes);
	store(format, table, index, entry);
	*done = true;
	return MOTE__PT_OK;
}

/* Write the leaves for bytes bytes at offset at of a mapping; they lie in one table. */
static int put_leaves(struct mote__pt_builder *builder, uint64_t root,
		      const struct mote__pt_mapping *m, uint64_t at, uint64_t bytes)
{
	const struct mote__pt_format *format = builder->format;
	uint64_t page = mote__pt_page_bytes(format, 1);
	uint32_t index = mote__pt_index(format, m->va + at, 1);
	uint8_t *table;
	int rc = reach_table(builder, root, m->va + at, 1, &table);
	if (rc < 0)
		return rc;
	bool is_map = m->kind == MOTE__PT_MAP;
	uint64_t entry = is_map ? mote__pt_leaf_entry(format, m->gpa + at, m->attributes) : 0;
	for (uint64_t done = 0; done < bytes; done += page) {
		store(format, table, index++, entry);
		entry += is_map ? page : 0;
	}
	return MOTE__PT_OK;
}

static int reserve(struct mote__pt_builder *builder, uint64_t root,
		   const struct mote__pt_mapping *m)
{
	uint8_t *table;
	for (uint64_t at = 0; at < m->bytes;) {
		int rc = reach_table(builder, root, m->va + at, m->reserve_level, &table);
		if (rc < 0)
			return rc;
		at += bytes_in_table(builder->format, m->va + at, m->reserve_level, m->bytes - at);
	}
	return MOTE__PT_OK;
}

int mote__pt_map(struct mote__pt_builder *builder, uint64_t root, const struct mote__pt_mapping *m)
{
	const struct mote__pt_format *format = builder->format;
	int rc = check_mapping(format, m);
	if (rc < 0)
		return rc;
	if (m->kind == MOTE__PT_RESERVE)
		return reserve(builder, root, m);
	bool large = wants_large(format, m);
	uint64_t large_bytes = large ? mote__pt_page_bytes(format, LARGE_LEVEL) : 0;
	for (uint64_t at = 0; at < m->bytes;) {
		bool done = false;
		uint64_t bytes = bytes_in_table(format, m->va + at, 1, m->bytes - at);
		if (large && bytes == large_bytes)
			rc = put_large(builder, root, m, at, &done);
		if (rc == MOTE__PT_OK && !done)
			rc = put_leaves(builder, root, m, at, bytes);
		if (rc < 0)
			return rc;
		at += bytes;
	}
	return MOTE__PT_OK;
}

/* ---- shared tables ---- */

static int put_table(struct mote__pt_builder *builder, uint8_t *table, uint32_t index,
		     uint64_t entry, uint32_t level)
{
	const struct mote__pt_format *format = builder->format;
	uint64_t old = mote__pt_load(format, table, index);
	if (old != entry && mote__pt_entry_kind(format, old, level) != MOTE__PT_ABSENT)
		return MOTE__PT_IN_THE_WAY;
	store(format, table, index, entry);
	return MOTE__PT_OK;
}

int mote__pt_share(struct mote__pt_builder *builder, uint64_t root, uint64_t va, uint32_t level,
		   uint64_t target)
{
	const struct mote__pt_format *format = builder->format;
	uint8_t *table;
	if (level < 2 || level > format->levels)
		return MOTE__PT_BAD_LEVEL;
	if (mote__pt_canonical(format, va) != va)
		return MOTE__PT_NOT_CANONICAL;
	if (!table_at(builder, target))
		return MOTE__PT_OUTSIDE;
	int rc = reach_table(builder, root, va, level, &table);
	if (rc < 0)
		return rc;
	uint64_t entry = mote__pt_table_entry(format, target, builder->user_tables);
	return put_table(builder, table, mote__pt_index(format, va, level), entry, level);
}

int mote__pt_self_map(struct mote__pt_builder *builder, uint64_t root, uint64_t va)
{
	const struct mote__pt_format *format = builder->format;
	uint8_t *table = table_at(builder, root);
	if (format->levels < 2)
		return MOTE__PT_BAD_LEVEL;
	if (mote__pt_canonical(format, va) != va)
		return MOTE__PT_NOT_CANONICAL;
	if (!table)
		return MOTE__PT_OUTSIDE;
	uint64_t entry = mote__pt_table_entry(format, root, builder->user_tables);
	entry = (entry & ~format->user.mask) | format->user.off;
	uint32_t index = mote__pt_index(format, va, format->levels);
	return put_table(builder, table, index, entry, format->levels);
}

/* ---- counting ---- */

/* Counts the distinct tables of one level that ascending ranges need. */
struct counter {
	const struct mote__pt_format *format;
	uint32_t level;
	uint64_t next; /* number of the first table that is not counted yet */
	uint64_t tables;
};

static void count_range(struct counter *c, uint64_t va, uint64_t last)
{
	uint64_t va_mask = (UINT64_C(1) << c->format->va_bits) - 1;
	uint64_t covered = mote__pt_page_bytes(c->format, c->level + 1);
	uint64_t low = (va & va_mask) / covered, high = (last & va_mask) / covered;
	if (high < c->next)
		return;
	c->tables += high + 1 - (low < c->next ? c->next : low);
	c->next = high + 1;
}

/* Count the tables of one level for a mapping. Where it has large pages there are no leaf tables:
 * only the pages before the first and after the last large one need them. */
static void count_mapping(struct counter *c, const struct mote__pt_mapping *m)
{
	uint64_t last = m->va + m->bytes - 1;
	uint64_t large = mote__pt_page_bytes(c->format, LARGE_LEVEL);
	uint32_t lowest = m->kind == MOTE__PT_RESERVE ? m->reserve_level : 1;
	if (m->bytes == 0 || c->level < lowest)
		return;
	if (c->level >= LARGE_LEVEL || !wants_large(c->format, m)) {
		count_range(c, m->va, last);
		return;
	}
	if (m->va % large != 0)
		count_range(c, m->va, m->va);
	if ((last + 1) % large != 0)
		count_range(c, last, last);
}

static int check_order(const struct mote__pt_format *format,
		       const struct mote__pt_mapping *mappings, size_t count)
{
	uint64_t va = 0, last = 0, large_last = 0;
	bool has_any = false, has_large = false;
	for (size_t i = 0; i < count; i++) {
		const struct mote__pt_mapping *m = &mappings[i];
		int rc = check_mapping(format, m);
		if (rc < 0)
			return rc;
		if (m->bytes == 0)
			continue;
		bool is_large = wants_large(format, m);
		uint64_t m_last = m->va + m->bytes - 1;
		if (m->va < va || (has_any && is_large && m->va <= last) ||
		    (has_large && m->va <= large_last))
			return MOTE__PT_BAD_ORDER;
		va = m->va;
		last = has_any && last > m_last ? last : m_last;
		has_any = true;
		if (is_large) {
			large_last = m_last;
			has_large = true;
		}
	}
	return MOTE__PT_OK;
}

int mote__pt_count(const struct mote__pt_format *format, const struct mote__pt_mapping *mappings,
		   size_t count, uint64_t *tables)
{
	uint64_t total = 1;
	int rc = check_order(format, mappings, count);
	if (rc < 0)
		return rc;
	for (uint32_t level = 1; level < format->levels; level++) {
		struct counter c = {.format = format, .level = level};
		for (size_t i = 0; i < count; i++)
			count_mapping(&c, &mappings[i]);
		total += c.tables;
	}
	*tables = total;
	return MOTE__PT_OK;
}
