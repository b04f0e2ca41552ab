/* SPDX-License-Identifier: MIT */
/*
 * What a confined guest changed: its frames, one after the other, and the log says which page each
 * one is. Nothing else is looked at, so the cost depends on what was written and not on how large
 * the guest is. Pages that were written with what they had before stay where they are; pages of
 * zeroes are not stored.
 */
#include "vm/take.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/math.h"
#include "base/sys.h"
#include "core/confined.h"

#define PAGE   ((uint64_t)MOTE_PAGE_BYTES)
#define FORMAT (&mote__pt_x86_64)

/* A leaf entry that the child has otherwise than the parent. */
struct edit {
	uint64_t offset; /* among the tables */
	uint64_t entry;
};

struct take {
	mote_snapshot *child;
	const mote_sandbox *sandbox;
	const mote_snapshot *parent;
	uint64_t gpa; /* of the next stored page */
	struct edit *edits;
	const void **pages; /* stored ones */
	uint64_t edit_count, page_count, capacity;
};

static int reserve(struct take *t, uint64_t more, struct mote_error *err)
{
	uint64_t capacity = t->edit_count + more;
	if (capacity <= t->capacity)
		return MOTE_OK;
	struct edit *edits = mote__realloc(t->edits, capacity, sizeof *edits);
	t->edits = edits ? edits : t->edits;
	const void **pages =
		edits ? mote__realloc((void *)t->pages, capacity, sizeof *pages) : NULL;
	if (!pages)
		return mote__fail(err, MOTE_ENOMEM, "out of memory: %llu changed pages",
				  (unsigned long long)capacity);
	t->pages = pages;
	t->capacity = capacity;
	return MOTE_OK;
}

static uint64_t entry_of(uint64_t gpa, bool is_writable)
{
	return mote__pt_leaf_entry(FORMAT, gpa,
				   (struct mote__pt_attributes){.cow = is_writable, .user = true});
}

/* The page at gva has these bytes now. */
static void add(struct take *t, uint64_t gva, const uint8_t *bytes, bool is_writable)
{
	const struct mote__layout *l = &t->child->layout;
	const uint8_t *before = NULL;
	uint64_t offset = 0;
	if (!mote__snapshot_leaf(t->parent, gva, &offset))
		return;
	uint64_t old = *(const uint64_t *)(const void *)(t->parent->tables + offset);
	uint64_t old_gpa = old & FORMAT->address_mask;
	bool was_there = mote__snapshot_page(t->parent, gva, &before);
	bool is_same = was_there &&
		       (before ? memcmp(before, bytes, PAGE) == 0 : mote__is_zero(bytes, PAGE));
	uint64_t entry;
	assert(t->edits && t->pages && t->edit_count < t->capacity);
	if (is_same && (!old || mote__snapshot_has(t->parent, old_gpa))) {
		return;
	} else if (is_same && before) {
		/* The parent has a frame there, filled from one of its pages. */
		entry = entry_of((uint64_t)(before - t->parent->memory), is_writable);
	} else if (mote__is_zero(bytes, PAGE)) {
		entry = mote__snapshot_is_demand(t->child, gva)
				? 0
				: entry_of(l->zero_gpa, is_writable);
	} else {
		entry = entry_of(t->gpa, is_writable);
		t->gpa += PAGE;
		t->pages[t->page_count++] = bytes;
	}
	if (!is_same && before && before != t->parent->memory + l->zero_gpa)
		t->child->dead_bytes += PAGE;
	t->edits[t->edit_count++] = (struct edit){offset, entry};
}

static int add_frames(struct take *t, struct mote_error *err)
{
	uint64_t used = mote__frames_used(t->sandbox);
	int rc = reserve(t, used, err);
	for (uint64_t i = 0; i < used && rc == MOTE_OK; i++) {
		unsigned long long gva = *mote__log(t->sandbox, i) * PAGE;
		/* All that start from the child will believe it. */
		if (!mote__snapshot_is_guests(t->sandbox->snapshot, gva))
			return mote__fail(err, MOTE_ESNAPSHOT,
					  "the guest has changed 0x%llx, which is not its own",
					  gva);
		add(t, gva, mote__frame(t->sandbox, i), true);
	}
	return rc;
}

/* Pages of the embedder's memory that the guest sees and did not write. */
static int add_mapping(struct take *t, const struct mote__mapped *m, struct mote_error *err)
{
	const struct mote__layout *l = &t->sandbox->snapshot->layout;
	int rc = reserve(t, m->bytes / PAGE, err);
	for (uint64_t at = 0; at < m->bytes && rc == MOTE_OK; at += PAGE) {
		uint64_t offset = 0;
		if (!mote__snapshot_leaf(t->sandbox->snapshot, m->gva + at, &offset))
			continue;
		uint64_t entry = *(const uint64_t *)(const void *)(t->sandbox->scratch +
								   l->tables_offset + offset);
		if ((entry & FORMAT->address_mask) == m->gpa + at)
			add(t, m->gva + at, m->host + at,
			    mote__pt_entry_attributes(FORMAT, entry).cow);
	}
	return rc;
}

/* ---- tables ---------------------------------------------------------------------------------- */

static int by_offset(const void *a, const void *b)
{
	const struct edit *x = a, *y = b;
	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static uint32_t count_tables(const struct take *t)
{
	uint32_t count = 0;
	for (uint64_t i = 0; i < t->edit_count; i++)
		count += i == 0 || t->edits[i].offset / PAGE != t->edits[i - 1].offset / PAGE;
	return count;
}

/* The changed tables, copied from the parent's and edited. */
static int overlay(struct take *t, struct mote_error *err)
{
	uint32_t count, n = 0;
	if (t->edit_count)
		qsort(t->edits, t->edit_count, sizeof *t->edits, by_offset);
	count = count_tables(t);
	uint8_t *bytes = mote__alloc(count ? count : 1, PAGE);
	uint64_t *numbers = mote__alloc(count ? count : 1, sizeof *numbers);
	const void **pages = mote__alloc(count ? count : 1, sizeof *pages);
	int rc =
		bytes && numbers && pages ? MOTE_OK : mote__fail(err, MOTE_ENOMEM, "out of memory");
	for (uint64_t i = 0; i < t->edit_count && rc == MOTE_OK; i++) {
		uint64_t number = t->edits[i].offset / PAGE;
		if (n == 0 || numbers[n - 1] != number) {
			memcpy(bytes + n * PAGE, t->parent->tables + number * PAGE, PAGE);
			pages[n] = bytes + n * PAGE;
			numbers[n++] = number;
		}
		memcpy(bytes + (n - 1) * PAGE + t->edits[i].offset % PAGE, &t->edits[i].entry,
		       sizeof t->edits[i].entry);
	}
	if (rc == MOTE_OK)
		rc = mote__snapshot_overlay(t->child, t->parent, numbers, pages, n, err);
	mote__free(bytes);
	mote__free(numbers);
	mote__free((void *)pages);
	return rc;
}

int mote__take_confined(mote_snapshot *child, mote_sandbox *sandbox, const mote_snapshot *parent,
			struct mote_error *err)
{
	struct take t = {
		.child = child, .sandbox = sandbox, .parent = parent, .gpa = parent->memory_end};
	mote__take_share_layers(child, parent);
	int rc = add_frames(&t, err);
	for (uint32_t i = 0; i < sandbox->mapped_count && rc == MOTE_OK; i++)
		rc = add_mapping(&t, &sandbox->mapped[i], err);
	if (rc == MOTE_OK && t.page_count)
		rc = mote__take_add_layer(child, parent->memory_end, t.pages, t.page_count, err);
	if (rc == MOTE_OK)
		rc = overlay(&t, err);
	mote__free(t.edits);
	mote__free((void *)t.pages);
	return rc;
}
