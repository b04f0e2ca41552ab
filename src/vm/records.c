/* SPDX-License-Identifier: MIT */
/*
 * The page tables of a snapshot as a list of mappings, for a store. Neighbours that continue each
 * other become one record, so that the list is as long as what a guest did is scattered, not as its
 * memory is large; and the same snapshot always gives the same list.
 */
#include "vm/objects.h"

#include "base/error.h"
#include "base/math.h"
#include "base/sys.h"

#define PAGE ((uint64_t)MOTE_PAGE_BYTES)

struct lister {
	const mote_snapshot *snapshot;
	struct mote__records *records;
	uint32_t part; /* confined: of the layout; the last page was there, or before */
	int rc;
};

static struct mote__record *append(struct lister *l, const struct mote__record *record)
{
	struct mote__records *r = l->records;
	if (r->count == MOTE__RECORDS_MAX) {
		l->rc = MOTE_ETOOBIG;
		return NULL;
	}
	if (r->count == r->capacity) {
		uint64_t capacity = r->capacity ? 2 * r->capacity : 64;
		struct mote__record *more = mote__realloc(r->record, capacity, sizeof *r->record);
		if (!more) {
			l->rc = MOTE_ENOMEM;
			return NULL;
		}
		r->record = more;
		r->capacity = capacity;
	}
	r->record[r->count] = *record;
	return &r->record[r->count++];
}

static bool continues(const struct mote__record *last, const struct mote__record *next)
{
	uint64_t bytes = last->count * PAGE;
	return last->kind == MOTE__RECORD_RUN && last->root == next->root &&
	       last->va + bytes == next->va && last->flags == next->flags &&
	       (last->target ? last->target + bytes == next->target : !next->target) &&
	       last->count + (uint64_t)next->count <= UINT32_MAX;
}

/* The part of the layout that has va, or the last one before it. */
static uint32_t part_of(const struct lister *l, uint64_t va)
{
	const struct mote__layout *layout = &l->snapshot->layout;
	uint32_t part = l->part;
	while (part + 1 < layout->part_count && layout->parts[part + 1].gva <= va)
		part++;
	return part;
}

/* A confined guest's runs end where a part of the layout does. */
static bool is_new_part(struct lister *l, uint64_t va)
{
	uint32_t part = l->snapshot->layout.is_confined ? part_of(l, va) : 0;
	bool is_new = part != l->part;
	l->part = part;
	return is_new;
}

/* Bytes from va to where the next part begins. */
static uint64_t part_left(const struct lister *l, uint64_t va)
{
	const struct mote__layout *layout = &l->snapshot->layout;
	uint32_t next = part_of(l, va) + 1;
	if (!layout->is_confined || next >= layout->part_count)
		return UINT64_MAX;
	return layout->parts[next].gva - va;
}

static void add_run(struct lister *l, const struct mote__record *run)
{
	struct mote__records *r = l->records;
	bool is_new = is_new_part(l, run->va);
	if (r->count && !is_new && continues(&r->record[r->count - 1], run))
		r->record[r->count - 1].count += run->count;
	else
		(void)append(l, run);
}

static bool list_leaf(void *cookie, const struct mote__pt_leaf *leaf)
{
	struct lister *l = cookie;
	const mote_snapshot *s = l->snapshot;
	const struct mote__pt_attributes *a = &leaf->effective;
	struct mote__record run = {
		.kind = MOTE__RECORD_RUN,
		.root = leaf->root,
		.flags = (a->cow || a->writable ? (uint32_t)MOTE__RECORD_COW : 0) |
			 (a->exec ? (uint32_t)MOTE__RECORD_EXEC : 0) |
			 (a->user ? (uint32_t)MOTE__RECORD_USER : 0)};
	uint64_t zero = s->layout.zero_gpa, stored;
	bool has_zero = zero && zero - leaf->gpa < leaf->bytes;
	/* Memory in one go; what has frames, or the page of zeroes in it, page by page. */
	bool is_whole = mote__snapshot_has(s, leaf->gpa) &&
			mote__snapshot_has(s, leaf->gpa + leaf->bytes - PAGE) && !has_zero;
	for (uint64_t at = 0, step; at < leaf->bytes && l->rc == MOTE_OK; at += step) {
		uint64_t left = mote__smaller(leaf->bytes - at, part_left(l, leaf->va + at));
		step = is_whole ? left : PAGE;
		if (!mote__snapshot_stored_at(s, leaf->gpa + at, &stored))
			continue;
		run.va = leaf->va + at;
		run.target = stored == zero ? 0 : stored;
		run.count = (uint32_t)(step / PAGE);
		if (!run.target && mote__snapshot_is_demand(s, run.va))
			continue;
		add_run(l, &run);
	}
	return l->rc == MOTE_OK;
}

static bool list_link(void *cookie, const struct mote__pt_link *link)
{
	struct lister *l = cookie;
	const struct mote__record record = {.kind = MOTE__RECORD_LINK,
					    .root = link->root,
					    .va = link->va,
					    .target = link->owner_va,
					    .count = link->owner_root,
					    .flags = link->level};
	return append(l, &record) != NULL;
}

int mote__snapshot_records(const mote_snapshot *snapshot, struct mote__records *records,
			   struct mote_error *err)
{
	struct lister l = {.snapshot = snapshot, .records = records};
	struct mote__pt_walk w = {.leaves_max = UINT64_MAX,
				  .joins_leaves = true,
				  .leaf = list_leaf,
				  .link = list_link,
				  .cookie = &l};
	int rc = mote__snapshot_walk(snapshot, &w, err);
	records->root_count = w.root_count;
	/* What the walk was stopped for. */
	if (l.rc == MOTE_ETOOBIG)
		return mote__fail(err, MOTE_ETOOBIG,
				  "the guest's pages are so scattered that their list has more "
				  "than %u records: a flattened snapshot may have fewer",
				  MOTE__RECORDS_MAX);
	return l.rc == MOTE_ENOMEM ? mote__fail(err, MOTE_ENOMEM, "out of memory") : rc;
}
