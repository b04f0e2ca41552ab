/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: the rebuild of hostile page tables. The input fills up to 16 pages of a small
 * physical memory. The rebuild must end within its budgets; the new tables must be a tree of tables
 * that names only kept pages, stored ones and the added mapping; and sampled addresses must show
 * the same content with the same rights as before, in both directions. How find() cuts its answers,
 * and the seed, must make no difference; a rebuild of the rebuild must change nothing.
 *
 * Input: byte 0 flags (1: list of entries, 4: spans and a mapping, 8: find() answers page by page,
 * 64: a page of zeroes exists, 128: small budgets; bits 4-5: roots less one), byte 1 a choice of
 * roots or budgets, byte 2 the format (128: large pages are made), then the pages or records of 6
 * bytes.
 */
#include "core/rebuild.h"

#include "check.h"
#include "rebuild_world.h"

#include <stdio.h>

#define PAGES      16u
#define LEAVES_MAX 4000u
#define TABLES_MAX 200u

#define REQUIRE(condition)                                                              \
	do {                                                                            \
		if (!(condition)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			__builtin_trap();                                               \
		}                                                                       \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const struct mote__pt_mapping linear = {
	.va = 0x1000,
	.bytes = 0x5000,
	.gpa = 0x30000000,
	.attributes = {.writable = true},
};

/* ---- the guest ---- */

static uint64_t entry_of(const uint8_t *record)
{
	uint64_t flags = record[4] | (uint64_t)record[5] << 8;
	uint64_t target = record[3];
	uint64_t entry = (flags & 0xFFF) | (flags >> 12 & 1) << 63;
	switch (flags >> 14) {
	case 1:
		return entry | target << 12;
	case 2:
		return entry | target << 21;
	case 3:
		if (target >= 200)
			return entry | (LARGE_GPA + (target - 200) * 0x100000);
		return entry | (MAPPED_GPA + target * 0x3000);
	default:
		return entry | page_gpa(target % POOL_PAGES);
	}
}

/* The pages behind the input's hold one word each, every fourth none. */
static void fill(const uint8_t *data, size_t len, bool is_list, const struct shape *shape)
{
	pool_clear();
	for (unsigned i = PAGES; i < POOL_PAGES; i++)
		pool[i][i] = i % 4;
	for (unsigned i = 0; i < MAPPED_PAGES; i++)
		mapped[i][i] = i % 4 != 0;
	if (!is_list) {
		memcpy(pool, data, len < PAGES * 4096 ? len : PAGES * 4096);
		return;
	}
	for (size_t at = 0; at + 6 <= len && at < 6 * 400; at += 6) {
		const uint8_t *record = data + at;
		unsigned index = record[1] | (unsigned)record[2] << 8;
		unsigned repeat = record[5] & 0x20 ? 64 : 1;
		for (unsigned i = 0; i < repeat; i++, index++)
			put(shape, record[0] % PAGES, index % shape_entries(shape),
			    entry_of(record));
	}
}

/* ---- reading both sides ---- */

/* The first entry of a table that is not empty, from a random place on or back. */
static unsigned find_entry(const struct plain *plain, uint64_t table, unsigned level,
			   uint64_t *random, struct plain_entry *entry)
{
	unsigned count = shape_entries(plain->shape),
		 index = (unsigned)(check_random(random) % count);
	bool is_back = check_random(random) % 2;
	unsigned step = is_back ? count - 1 : 1;
	for (unsigned i = 0; i < count + 32 && plain_has(plain, table); i++) {
		if (plain_is_empty(plain, table, index)) {
			unsigned skip = is_back ? index % 32 : 31 - index % 32;
			index = (index + step * (skip + 1)) % count;
			i += skip;
			continue;
		}
		*entry = plain_entry(plain, table, index, level);
		if (entry->is_leaf || entry->is_table)
			break;
		index = (index + step) % count;
	}
	return index;
}

/* A page that is mapped, by entries chosen at random; or one near where nothing is. */
static uint64_t find_address(const struct plain *plain, uint64_t root, uint64_t *random)
{
	uint64_t table = root, va = 0;
	for (unsigned level = plain->shape->levels; level > 0; level--) {
		struct plain_entry entry = {0};
		unsigned index = find_entry(plain, table, level, random, &entry);
		va += index * shape_bytes(plain->shape, level);
		if (entry.is_leaf && level > 1)
			va += check_random(random) % shape_bytes(plain->shape, level);
		if (!entry.is_table)
			break;
		table = entry.gpa;
	}
	return shape_canonical(plain->shape, va & ~UINT64_C(0xFFF));
}

static bool is_in_spans(const struct mote__rebuild *r, uint64_t va)
{
	for (uint32_t i = 0; i < r->span_count; i++)
		if (va >= r->spans[i].first && va <= r->spans[i].last)
			return true;
	return r->span_count == 0;
}

/* ---- properties ---- */

/* The new tables from here down: each has one level, and is read once. Returns their leaves. */
static uint64_t check_table(const struct mote__rebuild *r, const struct plain *plain, uint64_t gpa,
			    unsigned level, uint8_t *levels)
{
	uint64_t leaves = 0;
	bool is_kept;
	REQUIRE(plain_has(plain, gpa));
	uint8_t *known = &levels[(gpa - TABLES_GPA) / 4096];
	REQUIRE(*known == 0 || *known == level);
	if (*known)
		return 0;
	*known = (uint8_t)level;
	for (unsigned i = 0; i < shape_entries(plain->shape); i++) {
		if (i % 32 == 0 && plain_is_empty(plain, gpa, i)) {
			i += 31;
			continue;
		}
		struct plain_entry entry = plain_entry(plain, gpa, i, level);
		if (entry.is_table)
			leaves += check_table(r, plain, entry.gpa, level - 1, levels);
		if (!entry.is_leaf)
			continue;
		REQUIRE(level == 1);
		bool is_added = r->mapping_count && entry.gpa >= linear.gpa &&
				entry.gpa - linear.gpa < linear.bytes;
		if (is_added)
			continue;
		const uint64_t bytes = shape_bytes(plain->shape, level);
		for (uint64_t at = 0; at < bytes; at += 4096)
			REQUIRE(new_content(r, entry.gpa + at, &is_kept) || is_kept);
		REQUIRE(!(entry.rights & 1));
		leaves += bytes / 4096;
	}
	return leaves;
}

static void check_structure(const struct mote__rebuild *r)
{
	static uint8_t levels[TABLES_ROOM];
	struct plain plain = plain_new(shape_of(r->format));
	uint64_t leaves = 0;
	memset(levels, 0, sizeof levels);
	for (uint32_t i = 0; i < r->root_count; i++)
		leaves += check_table(r, &plain, new_roots[i], r->format->levels, levels);
	for (uint64_t i = 0; i < builder.used / 4096; i++)
		REQUIRE(levels[i] != 0); /* none is lost */
	REQUIRE(leaves == r->leaves_kept + r->leaves_stored + r->leaves_zero);
}

static void check_stored(const struct mote__rebuild *r)
{
	unsigned blank = 0;
	for (uint32_t i = 0; i < r->page_count; i++) {
		uint64_t in_pool = (uint64_t)(stored[i] - (uint8_t *)pool);
		uint64_t in_mapped = (uint64_t)(stored[i] - (uint8_t *)mapped);
		REQUIRE(in_pool < sizeof pool || in_mapped < sizeof mapped);
		blank += is_blank(stored[i]);
		for (uint32_t j = 0; j < i && r->page_count < 32; j++)
			REQUIRE(stored[i] != stored[j]);
	}
	REQUIRE(blank <= 1);
}

/* What the new tables must say of a page. */
static void check_address(const struct mote__rebuild *r, uint32_t root, uint64_t va)
{
	struct plain old_plain = plain_old(shape_of(r->format)),
		     new_plain = plain_new(shape_of(r->format));
	struct plain_answer was = plain_translate(&old_plain, roots[root], va);
	struct plain_answer is = plain_translate(&new_plain, new_roots[root], va);
	if (r->mapping_count && va >= linear.va && va < linear.va + linear.bytes) {
		REQUIRE(is.is_mapped && is.gpa == linear.gpa + (va - linear.va));
		return;
	}
	struct finder unused = {0};
	const uint8_t *bytes = NULL;
	uint64_t len = 4096;
	bool is_kept, is_wanted = was.is_mapped && is_in_spans(r, va);
	enum mote__rebuild_where where =
		is_wanted ? find_page(&unused, was.gpa, &len, &bytes) : MOTE__REBUILD_NONE;
	REQUIRE(is.is_mapped == (where != MOTE__REBUILD_NONE));
	if (!is.is_mapped)
		return;
	uint64_t expected = (was.effective & 12) | (was.effective & 3 ? 2 : 0);
	REQUIRE(is.effective == expected);
	if (where == MOTE__REBUILD_KEEP)
		REQUIRE(is.gpa == was.gpa);
	else if (is_blank(bytes))
		REQUIRE(is.gpa == r->zero_gpa);
	else
		REQUIRE(new_content(r, is.gpa, &is_kept) == bytes);
}

/* The same again, asked for differently: the same bytes. */
static void check_again(const struct mote__rebuild *first, uint64_t zero_gpa)
{
	static uint64_t tables[TABLES_ROOM][512];
	static const uint8_t *pages[PAGES_MAX];
	struct finder other_finder;
	uint64_t used = builder.used;
	memcpy(tables, new_tables, used);
	memcpy(pages, stored, sizeof pages);
	struct mote__rebuild r = rebuild_of(first->format, first->root_count, &other_finder);
	r.spans = first->spans;
	r.span_count = first->span_count;
	r.mappings = first->mappings;
	r.mapping_count = first->mapping_count;
	r.zero_gpa = zero_gpa;
	REQUIRE(mote__rebuild(&r) == MOTE__PT_OK);
	REQUIRE(builder.used == used && memcmp(tables, new_tables, used) == 0);
	REQUIRE(r.page_count == first->page_count && r.zero_gpa == first->zero_gpa);
	REQUIRE(memcmp(pages, stored, r.page_count * sizeof *pages) == 0);
	REQUIRE(r.leaves_kept == first->leaves_kept && r.leaves_zero == first->leaves_zero &&
		r.leaves_stored == first->leaves_stored);
}

static uint32_t make_spans(const struct mote__rebuild *r, struct mote__pt_span *spans,
			   uint64_t *random)
{
	struct plain plain = plain_old(shape_of(r->format));
	uint64_t a = find_address(&plain, roots[0], random) | 0x8000;
	uint64_t b = find_address(&plain, roots[0], random) | 0x8000;
	uint64_t low = a < b ? a : b, high = a < b ? b : a, top = shape_top(plain.shape);
	if (low == high || check_random(random) % 4 == 0) {
		spans[0] = (struct mote__pt_span){low, top};
		return 1;
	}
	spans[0] = (struct mote__pt_span){low, high - 1};
	spans[1] = (struct mote__pt_span){high + 0x1000, high + 0x8FFF};
	return high > top - 0x9000 ? 1 : 2;
}

static void set_budgets(struct mote__rebuild *r, uint8_t flags, uint8_t choice)
{
	r->leaves_max = LEAVES_MAX;
	r->tables_max = TABLES_MAX;
	if (!(flags & 128))
		return;
	switch (choice >> 6) {
	case 0:
		r->leaves_max = choice & 63;
		break;
	case 1:
		r->tables_max = choice & 63;
		break;
	case 2:
		r->pages_max = choice & 63;
		break;
	default:
		builder.capacity = (choice & 63) * UINT64_C(4096);
	}
}

/* What holds whatever the result is. */
static void check_bounds(const struct mote__rebuild *r, const struct finder *finder, int rc)
{
	uint64_t leaves = r->leaves_kept + r->leaves_stored + r->leaves_zero + r->runs_dropped;
	REQUIRE(rc == MOTE__PT_OK || rc == MOTE__PT_TABLE_BUDGET || rc == MOTE__PT_LEAF_BUDGET ||
		rc == MOTE__PT_FULL || rc == MOTE__REBUILD_PAGE_BUDGET);
	REQUIRE(r->page_count <= r->pages_max && builder.used <= builder.capacity);
	REQUIRE(finder->calls <= r->leaves_max + 1 && leaves <= r->leaves_max + 1);
	check_stored(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint64_t random = 0x9E3779B97F4A7C15;
	struct mote__pt_span spans[2];
	struct finder finder;
	if (len < 3)
		return 0;
	uint8_t flags = data[0];
	for (size_t i = 0; i < len; i++)
		random = (random ^ data[i]) * 0x100000001B3;
	random |= 1;
	const struct shape *shape = &shapes[(data[2] & 127) % (COUNT(shapes) - 1)];
	fill(data + 3, len - 3, flags & 1, shape);
	for (unsigned i = 0; i < 4; i++)
		roots[i] = page_gpa((data[1] >> i * 2 & 3) + (i == 3 ? 13u : 0u));
	struct mote__rebuild r = rebuild_of(shape->format, (flags >> 4 & 3) + 1u, &finder);
	uint64_t zero_gpa = flags & 64 ? ZERO_GPA : 0;
	r.zero_gpa = zero_gpa;
	r.seed = random;
	finder.is_short = flags & 8;
	if (flags & 4) {
		r.span_count = make_spans(&r, spans, &random);
		r.spans = spans;
		r.mappings = &linear;
		r.mapping_count = 1;
	}
	set_budgets(&r, flags, data[1]);
	int rc = mote__rebuild(&r);
	check_bounds(&r, &finder, rc);
	if (rc != MOTE__PT_OK)
		return 0;
	check_structure(&r);
	struct plain old_plain = plain_old(shape), new_plain = plain_new(shape);
	for (uint32_t i = 0; i < 64; i++) {
		uint32_t root = i / 2 % r.root_count;
		const struct plain *plain = i % 2 ? &new_plain : &old_plain;
		check_address(&r, root,
			      find_address(plain, i % 2 ? new_roots[root] : roots[root], &random));
	}
	check_again(&r, zero_gpa);
	REQUIRE(rebuilds_to_itself(&r));
	return 0;
}
