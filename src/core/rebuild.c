/* SPDX-License-Identifier: MIT */
/*
 * From the page tables of a live guest to new ones. The walk reports leaves in order of address;
 * pages that follow each other before and after are gathered into one run, so that an ordinary
 * guest costs one mapping for many pages. A link is made when it is reported: everything about its
 * owner stands in the new tables by then. No entry is read or made here but through page_table.h.
 */
#include "core/rebuild.h"

#include "base/math.h"

#include <assert.h>
#include <string.h>

#define NO_SLOT UINT32_MAX

struct rebuilder {
	struct mote__rebuild *r;
	uint64_t page;               /* bytes of the smallest one */
	uint64_t charged;            /* of leaves_max */
	struct mote__pt_mapping run; /* gathered and not mapped yet; bytes 0: none */
	uint32_t run_root;           /* index of the root that it is for */
	uint32_t closed;             /* roots that have their added mappings, too */
	int rc;                      /* why a callback stopped the walk */
};

const char *mote__rebuild_describe(int code)
{
	switch (code) {
	case MOTE__REBUILD_PAGE_BUDGET:
		return "more pages to store than the limit";
	case MOTE__REBUILD_BAD_SLOTS:
		return "the memory for stored pages does not suit their limit";
	case MOTE__REBUILD_OVERLAP:
		return "an added mapping overlaps what is walked";
	default:
		return mote__pt_describe(code);
	}
}

uint32_t mote__rebuild_slots_for(uint32_t pages_max)
{
	uint32_t slots = 2;
	while (slots / 2 < pages_max && slots < 1u << 31)
		slots *= 2;
	return slots;
}

static int charge(struct rebuilder *b, uint64_t count)
{
	if (count > b->r->leaves_max - b->charged)
		return MOTE__PT_LEAF_BUDGET;
	b->charged += count;
	return MOTE__PT_OK;
}

/* ---- roots and runs ---- */

/* The number of the first root in the list that is the same as number i. */
static uint32_t first_same(const struct mote__rebuild *r, uint32_t i)
{
	uint32_t first = 0;
	while ((r->roots[first] ^ r->roots[i]) & r->format->address_mask)
		first++;
	return first;
}

/* All roots come first and in the order of the list: a guest that knows its own order finds them
 * again. */
static int make_roots(const struct mote__rebuild *r)
{
	int rc = MOTE__PT_OK;
	for (uint32_t i = 0; i < r->root_count && rc == MOTE__PT_OK; i++) {
		uint32_t first = first_same(r, i);
		if (first < i)
			r->new_roots[i] = r->new_roots[first];
		else
			rc = mote__pt_add_root(r->builder, &r->new_roots[i]);
	}
	return rc;
}

static int flush(struct rebuilder *b)
{
	if (b->run.bytes == 0)
		return MOTE__PT_OK;
	int rc = mote__pt_map(b->r->builder, b->r->new_roots[b->run_root], &b->run);
	b->run.bytes = 0;
	return rc;
}

/* The walk is beyond the first count roots: they get what is added to every root. A table that a
 * later root shares with one of them is shared with that in it. */
static int close_roots(struct rebuilder *b, uint32_t count)
{
	const struct mote__rebuild *r = b->r;
	for (; b->closed < count; b->closed++)
		for (uint32_t j = 0; first_same(r, b->closed) == b->closed && j < r->mapping_count;
		     j++) {
			int rc = mote__pt_map(r->builder, r->new_roots[b->closed], &r->mappings[j]);
			if (rc < 0)
				return rc;
		}
	return MOTE__PT_OK;
}

static bool is_same(struct mote__pt_attributes a, struct mote__pt_attributes b)
{
	return a.writable == b.writable && a.cow == b.cow && a.exec == b.exec && a.user == b.user;
}

/* Map len bytes of a leaf's space, from va on, to gpa. */
static int add_run(struct rebuilder *b, const struct mote__pt_leaf *leaf, uint64_t va, uint64_t gpa,
		   uint64_t len)
{
	struct mote__pt_mapping *run = &b->run;
	struct mote__pt_attributes attributes = leaf->effective;
	attributes.cow = attributes.cow || attributes.writable;
	attributes.writable = false;
	if (run->bytes && b->run_root == leaf->root && run->va + run->bytes == va &&
	    run->gpa + run->bytes == gpa && is_same(run->attributes, attributes)) {
		run->bytes += len;
		return MOTE__PT_OK;
	}
	int rc = flush(b);
	if (rc == MOTE__PT_OK)
		rc = close_roots(b, leaf->root);
	b->run_root = leaf->root;
	*run = (struct mote__pt_mapping){
		.va = va,
		.bytes = len,
		.gpa = gpa,
		.kind = MOTE__PT_MAP,
		.attributes = attributes,
	};
	return rc;
}

/* ---- stored pages ---- */

static bool is_zero(const uint8_t *bytes, uint64_t len)
{
	return bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0;
}

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 32) * UINT64_C(0xD6E8FEB86659FD93);
	x = (x ^ x >> 32) * UINT64_C(0xD6E8FEB86659FD93);
	return x ^ x >> 32;
}

/* The slot of the page at bytes, or the free one for it: then its value is NO_SLOT. There is always
 * a free one, since slots are more than pages. */
static uint32_t *find_slot(const struct mote__rebuild *r, const uint8_t *bytes)
{
	uint64_t last = r->slot_count - 1;
	for (uint64_t i = mix(r->seed ^ mix((uintptr_t)bytes));; i++) {
		uint32_t *slot = &r->slots[i & last];
		if (*slot == NO_SLOT || r->pages[*slot] == bytes)
			return slot;
	}
}

/* Where number index of the stored pages stands. */
static int stored_gpa(const struct rebuilder *b, uint32_t index, uint64_t *gpa)
{
	uint64_t offset = index * b->page;
	return mote__add(b->r->new_gpa, offset, gpa) ? MOTE__PT_OK : MOTE__PT_BAD_GPA;
}

static int store_page(struct rebuilder *b, const uint8_t *bytes, uint64_t *gpa)
{
	struct mote__rebuild *r = b->r;
	if (r->page_count >= r->pages_max)
		return MOTE__REBUILD_PAGE_BUDGET;
	r->pages[r->page_count] = bytes;
	return stored_gpa(b, r->page_count++, gpa);
}

/* A page of zeroes is found by its content, so it has no slot. */
static int place_zero(struct rebuilder *b, const uint8_t *bytes, uint64_t *gpa)
{
	struct mote__rebuild *r = b->r;
	int rc = MOTE__PT_OK;
	if (r->zero_gpa == 0)
		rc = store_page(b, bytes, &r->zero_gpa);
	*gpa = r->zero_gpa;
	r->leaves_zero++;
	return rc;
}

/* The new gpa of a page that is in memory only. */
static int place_page(struct rebuilder *b, const uint8_t *bytes, uint64_t *gpa)
{
	struct mote__rebuild *r = b->r;
	uint32_t *slot = find_slot(r, bytes);
	if (*slot == NO_SLOT && is_zero(bytes, b->page))
		return place_zero(b, bytes, gpa);
	r->leaves_stored++;
	if (*slot != NO_SLOT)
		return stored_gpa(b, *slot, gpa);
	uint32_t index = r->page_count;
	int rc = store_page(b, bytes, gpa);
	if (rc == MOTE__PT_OK)
		*slot = index;
	return rc;
}

/* ---- what the walk reports ---- */

static int copy_pages(struct rebuilder *b, const struct mote__pt_leaf *leaf, uint64_t va,
		      const uint8_t *bytes, uint64_t len)
{
	int rc = MOTE__PT_OK;
	for (uint64_t at = 0; rc == MOTE__PT_OK && at < len; at += b->page) {
		uint64_t gpa;
		rc = charge(b, 1);
		if (rc == MOTE__PT_OK)
			rc = place_page(b, bytes + at, &gpa);
		if (rc == MOTE__PT_OK)
			rc = add_run(b, leaf, va + at, gpa, b->page);
	}
	return rc;
}

static int keep_pages(struct rebuilder *b, const struct mote__pt_leaf *leaf, uint64_t va,
		      uint64_t gpa, uint64_t len)
{
	int rc = charge(b, len / b->page);
	if (rc < 0)
		return rc;
	b->r->leaves_kept += len / b->page;
	return add_run(b, leaf, va, gpa, len);
}

static int drop_pages(struct rebuilder *b)
{
	b->r->runs_dropped++;
	return charge(b, 1);
}

static bool on_leaf(void *cookie, const struct mote__pt_leaf *leaf)
{
	struct rebuilder *b = cookie;
	struct mote__rebuild *r = b->r;
	for (uint64_t at = 0; b->rc == MOTE__PT_OK && at < leaf->bytes;) {
		uint64_t left = leaf->bytes - at, len = left;
		const uint8_t *bytes = NULL;
		enum mote__rebuild_where where = r->find(r->cookie, leaf->gpa + at, &len, &bytes);
		assert(len > 0 && len <= left && len % b->page == 0);
		if (where == MOTE__REBUILD_KEEP)
			b->rc = keep_pages(b, leaf, leaf->va + at, leaf->gpa + at, len);
		else if (where == MOTE__REBUILD_COPY)
			b->rc = copy_pages(b, leaf, leaf->va + at, bytes, len);
		else
			b->rc = drop_pages(b);
		at += len;
	}
	return b->rc == MOTE__PT_OK;
}

static int link_table(struct rebuilder *b, const struct mote__pt_link *link)
{
	struct mote__rebuild *r = b->r;
	struct mote__pt_range built = mote__pt_built(r->builder);
	struct mote__pt_space owner = {
		.format = r->format,
		.memory = {&built, mote__pt_range_table},
		.root = r->new_roots[link->owner_root],
	};
	uint64_t table;
	int rc = mote__pt_find_table(&owner, link->owner_va, link->level, &table);
	if (rc == MOTE__PT_NOT_MAPPED)
		return MOTE__PT_OK; /* nothing is left of it */
	if (rc < 0)
		return rc;
	return mote__pt_share(r->builder, r->new_roots[link->root], link->va, link->level + 1,
			      table);
}

static bool on_link(void *cookie, const struct mote__pt_link *link)
{
	struct rebuilder *b = cookie;
	b->rc = charge(b, 1);
	if (b->rc == MOTE__PT_OK)
		b->rc = flush(b);
	if (b->rc == MOTE__PT_OK)
		b->rc = close_roots(b, link->root);
	/* A root that was walked before is one root already. */
	if (b->rc == MOTE__PT_OK && link->level != b->r->format->levels)
		b->rc = link_table(b, link);
	return b->rc == MOTE__PT_OK;
}

/* ---- the whole ---- */

static bool overlaps(const struct mote__rebuild *r, const struct mote__pt_mapping *mapping)
{
	uint64_t last = mapping->va + mapping->bytes - 1;
	for (uint32_t i = 0; i < r->span_count; i++)
		if (mapping->va <= r->spans[i].last && last >= r->spans[i].first)
			return true;
	return r->span_count == 0;
}

static int check(const struct mote__rebuild *r)
{
	uint32_t slots = r->slot_count;
	assert(r->builder->format == r->format);
	if (slots == 0 || slots & (slots - 1) || slots <= r->pages_max)
		return MOTE__REBUILD_BAD_SLOTS;
	if (r->new_gpa & (mote__pt_page_bytes(r->format, 1) - 1))
		return MOTE__PT_UNALIGNED;
	for (uint32_t i = 0; i < r->mapping_count; i++)
		if (r->mappings[i].bytes && overlaps(r, &r->mappings[i]))
			return MOTE__REBUILD_OVERLAP;
	return MOTE__PT_OK;
}

static int walk(struct rebuilder *b)
{
	const struct mote__rebuild *r = b->r;
	const struct mote__pt_walk guest = {
		.format = r->format,
		.memory = r->tables,
		.roots = r->roots,
		.root_count = r->root_count,
		.span_count = r->span_count,
		.spans = r->spans,
		.tables_max = r->tables_max,
		.visit_count = r->visit_count,
		.leaves_max = r->leaves_max,
		.visits = r->visits,
		.seed = r->seed,
		.leaf = on_leaf,
		.link = on_link,
		.cookie = b,
	};
	int rc = mote__pt_walk(&guest);
	if (rc == MOTE__PT_STOPPED)
		return b->rc;
	return rc == MOTE__PT_OK ? flush(b) : rc;
}

int mote__rebuild(struct mote__rebuild *r)
{
	struct rebuilder b = {.r = r, .page = mote__pt_page_bytes(r->format, 1)};
	r->page_count = 0;
	r->leaves_kept = r->leaves_stored = r->leaves_zero = r->runs_dropped = 0;
	int rc = check(r);
	if (rc < 0)
		return rc;
	memset(r->slots, 0xFF, r->slot_count * sizeof *r->slots); /* NO_SLOT */
	rc = make_roots(r);
	if (rc == MOTE__PT_OK)
		rc = walk(&b);
	return rc == MOTE__PT_OK ? close_roots(&b, r->root_count) : rc;
}
