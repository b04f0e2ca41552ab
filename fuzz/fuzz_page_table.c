/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: hostile page tables. The input fills up to 16 pages, directly or by a list of
 * entries; then translate() and walk() must agree with the plain references here, in both
 * directions and through links; a smaller budget must report a prefix; building on such tables must
 * stay in its memory.
 *
 * Input: byte 0 flags (1: list of entries, 4: spans, 8: builder; bits 4-5: roots less one), byte 1
 * a choice of roots, byte 2 the format, then the pages or records of 6 bytes.
 */
#include "core/page_table.h"

#include "check.h"
#include "page_tables.h"

#include <stdio.h>

#define PAGES      16u
#define LEAVES_MAX 3000u
#define TABLES_MAX 200u

#define REQUIRE(condition)                                                              \
	do {                                                                            \
		if (!(condition)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			__builtin_trap();                                               \
		}                                                                       \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct reports {
	struct mote__pt_leaf leaves[LEAVES_MAX];
	struct mote__pt_link links[LEAVES_MAX];
	size_t leaf_count, link_count;
};

static struct reports whole, prefix;
static struct mote__pt_visit slots[256];

static bool keep_leaf(void *cookie, const struct mote__pt_leaf *leaf)
{
	struct reports *reports = cookie;
	REQUIRE(reports->leaf_count < LEAVES_MAX);
	reports->leaves[reports->leaf_count++] = *leaf;
	return true;
}

static bool keep_link(void *cookie, const struct mote__pt_link *link)
{
	struct reports *reports = cookie;
	REQUIRE(reports->link_count < LEAVES_MAX);
	reports->links[reports->link_count++] = *link;
	return true;
}

/* ---- filling the pages ---- */

static uint64_t entry_of(const uint8_t *record)
{
	uint64_t flags = record[4] | (uint64_t)record[5] << 8;
	uint64_t target = record[3];
	uint64_t entry = (flags & 0xFFF) | (flags >> 12 & 1) << 63;
	switch (flags >> 14) {
	case 2:
		return entry | target << 21;
	case 3:
		return entry | target << 12 | target << 40;
	default:
		return entry | page_gpa(target % PAGES);
	}
}

static void fill(const uint8_t *data, size_t len, bool is_list, const struct shape *shape)
{
	pool_clear();
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

/* ---- checks ---- */

/* The tables of the input alone, as the plain readers take them. */
static struct plain plain_pages(const struct mote__pt_format *format)
{
	struct plain plain = plain_old(shape_of(format));
	plain.len = PAGES * 4096;
	return plain;
}

static struct plain_answer check_translate(const struct mote__pt_walk *walk, uint32_t root,
					   uint64_t va)
{
	struct plain plain = plain_pages(walk->format);
	struct plain_answer answer = plain_translate(&plain, walk->roots[root], va);
	struct mote__pt_space space = {walk->format, walk->memory, walk->roots[root]};
	struct mote__pt_translation t;
	int rc = mote__pt_translate(&space, va, &t);
	REQUIRE(rc == (answer.is_mapped ? MOTE__PT_OK : MOTE__PT_NOT_MAPPED));
	if (rc < 0)
		return answer;
	REQUIRE(t.gpa == answer.gpa && t.bytes == answer.left && t.level == answer.level);
	REQUIRE(pack(t.own) == answer.own && pack(t.effective) == answer.effective);
	return answer;
}

static bool is_in_spans(const struct mote__pt_walk *walk, uint64_t va)
{
	for (uint32_t i = 0; i < walk->span_count; i++)
		if (va >= walk->spans[i].first && va <= walk->spans[i].last)
			return true;
	return walk->span_count == 0;
}

/* What was reported for va of a root, through links. */
static struct plain_answer reported(const struct mote__pt_format *format, uint32_t root,
				    uint64_t va)
{
	for (unsigned steps = 0; steps <= 8; steps++) {
		const struct mote__pt_link *link = NULL;
		for (size_t i = 0; i < whole.leaf_count; i++) {
			const struct mote__pt_leaf *leaf = &whole.leaves[i];
			uint64_t at = va - leaf->va;
			if (leaf->root == root && at < leaf->bytes)
				return (struct plain_answer){
					.is_mapped = true,
					.gpa = leaf->gpa + at,
					.left = leaf->bytes - at,
					.level = leaf->level,
					.own = pack(leaf->own),
					.effective = pack(leaf->effective),
				};
		}
		for (size_t i = 0; i < whole.link_count; i++) {
			const struct mote__pt_link *l = &whole.links[i];
			bool is_root = l->level == format->levels;
			if (l->root == root &&
			    (is_root || va - l->va < mote__pt_page_bytes(format, l->level + 1)))
				link = l;
		}
		if (!link)
			return (struct plain_answer){0};
		root = link->owner_root;
		va += link->owner_va - link->va;
	}
	bool chain_ends = false;
	REQUIRE(chain_ends);
	return (struct plain_answer){0};
}

static void check_address(const struct mote__pt_walk *walk, uint32_t root, uint64_t va)
{
	struct plain_answer real = check_translate(walk, root, va);
	struct plain_answer told = reported(walk->format, root, va);
	REQUIRE(told.is_mapped == (real.is_mapped && is_in_spans(walk, va)));
	if (told.is_mapped)
		REQUIRE(told.gpa == real.gpa && told.left <= real.left &&
			told.level == real.level && told.own == real.own &&
			told.effective == real.effective);
}

/* An address that leads through present entries as far as a few attempts find them. */
static uint64_t find_address(const struct mote__pt_format *format, uint64_t root, uint64_t *random)
{
	const struct plain plain = plain_pages(format);
	const struct shape *shape = plain.shape;
	uint64_t va = 0, gpa = root;
	for (uint32_t level = shape->levels; level > 0; level--) {
		unsigned limit = shape_entries(shape);
		struct plain_entry entry = {0};
		unsigned start = (unsigned)(check_random(random) % limit), index = start;
		for (unsigned i = 0; i < limit && plain_has(&plain, gpa); i++) {
			index = (start + i) % limit;
			entry = plain_entry(&plain, gpa, index, level);
			if (entry.is_leaf || entry.is_table)
				break;
		}
		va |= index * shape_bytes(shape, level);
		gpa = entry.is_table ? entry.gpa : UINT64_MAX;
	}
	return shape_canonical(shape, va | check_random(random) % 4096);
}

static void check_prefix(const struct mote__pt_walk *of, uint64_t *random)
{
	struct mote__pt_walk walk = *of;
	prefix.leaf_count = prefix.link_count = 0;
	walk.cookie = &prefix;
	walk.tables_max = (uint32_t)(check_random(random) % 20);
	walk.leaves_max = check_random(random) % 100;
	int rc = mote__pt_walk(&walk);
	REQUIRE(rc == MOTE__PT_OK || rc == MOTE__PT_TABLE_BUDGET || rc == MOTE__PT_LEAF_BUDGET);
	REQUIRE(prefix.leaf_count + prefix.link_count <= walk.leaves_max);
	REQUIRE(prefix.leaf_count <= whole.leaf_count && prefix.link_count <= whole.link_count);
	for (size_t i = 0; i < prefix.leaf_count; i++) {
		const struct mote__pt_leaf *a = &prefix.leaves[i], *b = &whole.leaves[i];
		REQUIRE(a->va == b->va && a->gpa == b->gpa && a->bytes == b->bytes);
		REQUIRE(a->root == b->root && pack(a->effective) == pack(b->effective));
	}
	for (size_t i = 0; i < prefix.link_count; i++) {
		const struct mote__pt_link *a = &prefix.links[i], *b = &whole.links[i];
		REQUIRE(a->va == b->va && a->owner_va == b->owner_va && a->root == b->root);
		REQUIRE(a->owner_root == b->owner_root && a->level == b->level);
	}
}

static void check_builder(const struct mote__pt_walk *walk, uint64_t *random)
{
	static _Alignas(4096) uint8_t memory[(PAGES + 4) * 4096 + 4096];
	struct mote__pt_builder builder;
	const uint64_t capacity = (PAGES + 4) * 4096;
	memcpy(memory, pool, PAGES * 4096);
	memset(memory + PAGES * 4096, 0xEE, sizeof memory - PAGES * 4096);
	REQUIRE(mote__pt_builder_init(&builder, walk->format, memory, POOL_GPA, capacity) == 0);
	builder.used = PAGES * 4096;
	for (unsigned i = 0; i < 8; i++) {
		struct mote__pt_mapping mapping = {
			.va = find_address(walk->format, walk->roots[0], random) & ~UINT64_C(0xFFF),
			.gpa = check_random(random) % 4096 * 4096,
			.bytes = check_random(random) % 2000 * 4096,
			.kind = (enum mote__pt_mapping_kind)(check_random(random) % 3),
			.reserve_level = (uint32_t)(check_random(random) % 6),
			.large = check_random(random) % 2,
		};
		(void)mote__pt_map(&builder, walk->roots[0], &mapping);
		(void)mote__pt_share(&builder, walk->roots[0], mapping.va, mapping.reserve_level,
				     walk->roots[0]);
		REQUIRE(builder.used <= capacity);
	}
	for (size_t i = capacity; i < sizeof memory; i++)
		REQUIRE(memory[i] == 0xEE);
}

static uint32_t make_spans(const struct mote__pt_walk *walk, struct mote__pt_span *spans,
			   uint64_t *random)
{
	uint64_t a = find_address(walk->format, walk->roots[0], random) & ~UINT64_C(0xFFF);
	uint64_t b = find_address(walk->format, walk->roots[0], random) | 0xFFF;
	if (a > b) {
		spans[0] = (struct mote__pt_span){0, b};
		spans[1] = (struct mote__pt_span){a, shape_top(shape_of(walk->format))};
		return 2;
	}
	spans[0] = (struct mote__pt_span){a, b};
	return 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct mote__pt_range range = {pool, POOL_GPA, PAGES * 4096};
	struct mote__pt_span spans[2];
	uint64_t root_list[4], random = 0x9E3779B97F4A7C15;
	if (len < 3)
		return 0;
	uint8_t flags = data[0];
	for (size_t i = 0; i < len; i++)
		random = (random ^ data[i]) * 0x100000001B3;
	random |= 1;
	const struct shape *shape = &shapes[data[2] % (COUNT(shapes) - 1)];
	fill(data + 3, len - 3, flags & 1, shape);
	for (unsigned i = 0; i < 4; i++)
		root_list[i] = page_gpa((data[1] >> i * 2 & 3) + (i == 3 ? 13u : 0u));
	whole.leaf_count = whole.link_count = 0;
	struct mote__pt_walk walk = {
		.format = shape->format,
		.memory = {&range, mote__pt_range_table},
		.roots = root_list,
		.root_count = (flags >> 4 & 3) + 1,
		.tables_max = TABLES_MAX,
		.visit_count = 256,
		.leaves_max = LEAVES_MAX,
		.visits = slots,
		.seed = random,
		.leaf = keep_leaf,
		.link = keep_link,
		.cookie = &whole,
	};
	if (flags & 4) {
		walk.spans = spans;
		walk.span_count = make_spans(&walk, spans, &random);
	}
	int rc = mote__pt_walk(&walk);
	REQUIRE(rc == MOTE__PT_OK || rc == MOTE__PT_TABLE_BUDGET || rc == MOTE__PT_LEAF_BUDGET);
	for (size_t i = 0; i < whole.leaf_count; i += 1 + whole.leaf_count / 100) {
		const struct mote__pt_leaf *leaf = &whole.leaves[i];
		REQUIRE(is_in_spans(&walk, leaf->va));
		struct plain_answer real = check_translate(&walk, leaf->root, leaf->va);
		REQUIRE(real.is_mapped && real.gpa == leaf->gpa && leaf->bytes <= real.left);
		REQUIRE(real.level == leaf->level && real.own == pack(leaf->own) &&
			real.effective == pack(leaf->effective));
	}
	for (unsigned i = 0; rc == MOTE__PT_OK && i < 16; i++) {
		uint32_t root = i % walk.root_count;
		check_address(&walk, root, find_address(walk.format, root_list[root], &random));
	}
	check_prefix(&walk, &random);
	if (flags & 8)
		check_builder(&walk, &random);
	return 0;
}
