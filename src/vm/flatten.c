/* SPDX-License-Identifier: MIT */
/*
 * Flattening: the same snapshot in one layer that holds what its page tables name and nothing else.
 * A page that several addresses show is stored once, as before.
 */
#include "vm/take.h"

#include <string.h>

#include "base/error.h"
#include "base/math.h"
#include "base/sys.h"
#include "core/confined.h"

#define PAGE ((uint64_t)MOTE_PAGE_BYTES)

/* ---- confined guests ------------------------------------------------------------------------- */

struct flatten {
	const mote_snapshot *from;
	uint32_t *numbers;  /* of an old page: 1 + number of the new one; 0: not stored yet */
	const void **pages; /* new ones */
	uint64_t page_count;
	struct mote__pt_builder builder; /* the new tables, a copy of the old ones */
	uint64_t root;
	int failed;
};

static uint64_t new_gpa(struct flatten *f, uint64_t old_gpa)
{
	const mote_snapshot *s = f->from;
	uint64_t base = s->layout.family->base_gpa;
	uint32_t *number = &f->numbers[(old_gpa - base) / PAGE];
	if (!*number) {
		f->pages[f->page_count++] = s->memory + old_gpa;
		*number = (uint32_t)f->page_count;
	}
	return base + (*number - 1) * PAGE;
}

/* The pages of a large leaf stay together, where a large leaf can name them. */
static int new_run(struct flatten *f, const struct mote__pt_leaf *leaf, uint64_t *gpa)
{
	const mote_snapshot *s = f->from;
	uint64_t base = s->layout.family->base_gpa, first = (leaf->gpa - base) / PAGE;
	uint64_t count = leaf->bytes / PAGE;
	for (uint64_t i = 0; i < count; i++)
		if (f->numbers[first + i])
			return MOTE__PT_IN_THE_WAY;
	while ((base + f->page_count * PAGE) % leaf->bytes)
		f->pages[f->page_count++] = mote__zero_page;
	*gpa = base + f->page_count * PAGE;
	for (uint64_t i = 0; i < count; i++)
		(void)new_gpa(f, leaf->gpa + i * PAGE);
	return MOTE__PT_OK;
}

static bool move_leaf(void *cookie, const struct mote__pt_leaf *leaf)
{
	struct flatten *f = cookie;
	/* What is not in the snapshot's memory is a frame of the write set, which stays. */
	if (!mote__snapshot_has(f->from, leaf->gpa))
		return true;
	struct mote__pt_mapping m = {.va = leaf->va,
				     .bytes = leaf->bytes,
				     .kind = MOTE__PT_MAP,
				     .large = leaf->level > 1,
				     .attributes = leaf->own};
	if (m.large)
		f->failed = new_run(f, leaf, &m.gpa);
	else
		m.gpa = new_gpa(f, leaf->gpa);
	if (f->failed == MOTE__PT_OK)
		f->failed = mote__pt_map(&f->builder, f->root, &m);
	return f->failed == MOTE__PT_OK;
}

static int walk(struct flatten *f, struct mote_error *err)
{
	const struct mote__layout *l = &f->from->layout;
	/* The copy, in which a leaf is changed after it was met. */
	const struct mote__pt_range range = mote__pt_built(&f->builder);
	struct mote__pt_span spans[2];
	uint32_t tables = (uint32_t)(l->tables_bytes / PAGE) + 1;
	struct mote__pt_walk w = {.format = l->family->format,
				  .memory = {&range, mote__pt_range_table},
				  .roots = &range.gpa,
				  .root_count = 1,
				  .span_count = mote__layout_spans(l, spans),
				  .spans = spans,
				  .tables_max = tables,
				  .visit_count = mote__pt_visits_for(tables),
				  .leaves_max = UINT64_MAX,
				  .leaf = move_leaf,
				  .cookie = f};
	w.visits = mote__alloc(w.visit_count, sizeof *w.visits);
	if (!w.visits)
		return mote__fail(err, MOTE_ENOMEM, "out of memory");
	f->root = range.gpa;
	int rc = mote__pt_walk(&w);
	mote__free(w.visits);
	if (rc == MOTE__PT_STOPPED)
		rc = f->failed;
	return rc < 0 ? mote__fail(err, MOTE_ESNAPSHOT, "page tables: %s", mote__pt_describe(rc))
		      : MOTE_OK;
}

/* A copy of the tables in memory of our own, where pages that are zero take none. */
static int copy_tables(struct flatten *f, void **copy, struct mote_error *err)
{
	const struct mote__layout *l = &f->from->layout;
	int rc = mote__sys_map(MOTE__MAP_SCRATCH, -1, l->tables_bytes, copy);
	if (rc < 0)
		return mote__object_fail(err, rc, "page tables", l->tables_bytes);
	for (uint32_t i = 0; i < f->from->extent_count; i++) {
		const struct mote__piece *e = &f->from->extent[i];
		struct mote__holes holes = {.object = e->object};
		for (uint64_t at = 0; at < e->bytes; at += PAGE)
			if (!mote__object_is_hole(&holes, e->object_offset + at))
				memcpy((uint8_t *)*copy + e->at + at, f->from->tables + e->at + at,
				       PAGE);
	}
	(void)mote__pt_builder_init(&f->builder, l->family->format, *copy,
				    l->scratch_gpa + l->tables_offset, l->tables_bytes);
	f->builder.user_tables = true;
	f->builder.used = l->tables_bytes;
	return MOTE_OK;
}

/* All pages of the new tables lie in the old extents. */
static int write_tables(mote_snapshot *flat, const mote_snapshot *s, const uint8_t *copy,
			struct mote_error *err)
{
	const struct mote__piece *last = &s->extent[s->extent_count - 1];
	uint64_t bytes = last->at + last->bytes;
	struct mote__object *object = NULL;
	int rc = mote__take_tables(copy, bytes, &object, err);
	if (rc < 0)
		return rc;
	flat->extent[flat->extent_count++] = (struct mote__piece){object, 0, 0, bytes};
	return MOTE_OK;
}

static int set_members(mote_snapshot *flat, const mote_snapshot *s, struct flatten *f)
{
	struct mote__members *to = &flat->write_set;
	uint32_t count = atomic_load_explicit(&s->write_set.count, memory_order_acquire);
	to->max = s->write_set.max;
	to->fixed = s->write_set.fixed;
	to->member = mote__alloc(to->max ? to->max : 1, sizeof *to->member);
	if (!to->member)
		return MOTE_ENOMEM;
	for (uint32_t i = 0; i < count; i++) {
		to->member[i] = s->write_set.member[i];
		if (to->member[i].source_gpa)
			to->member[i].source_gpa = new_gpa(f, to->member[i].source_gpa);
	}
	atomic_store_explicit(&to->count, count, memory_order_release);
	return MOTE_OK;
}

int mote__flatten_confined(mote_snapshot *flat, const mote_snapshot *s, struct mote_error *err)
{
	uint64_t old_pages = (s->memory_end - s->layout.family->base_gpa) / PAGE;
	struct flatten f = {.from = s};
	void *copy = NULL;
	f.numbers = mote__alloc(old_pages, sizeof *f.numbers);
	/* Before each large leaf there may be a gap, which is smaller than the leaf, and no two
	 * large leaves share a page: where they are was up to whoever wrote a store. */
	f.pages = mote__alloc(2 * old_pages, sizeof *f.pages);
	int rc = f.numbers && f.pages ? copy_tables(&f, &copy, err)
				      : mote__fail(err, MOTE_ENOMEM, "out of memory");
	if (rc == MOTE_OK)
		rc = walk(&f, err);
	if (rc == MOTE_OK && set_members(flat, s, &f) < 0)
		rc = mote__fail(err, MOTE_ENOMEM, "out of memory");
	if (rc == MOTE_OK) {
		flat->layout.zero_gpa = new_gpa(&f, s->layout.zero_gpa);
		rc = mote__take_add_layer(flat, s->layout.family->base_gpa, f.pages, f.page_count,
					  err);
	}
	if (rc == MOTE_OK)
		rc = write_tables(flat, s, copy, err);
	mote__sys_unmap(copy, s->layout.tables_bytes);
	mote__free(f.numbers);
	mote__free((void *)f.pages);
	return rc;
}

/* ---- public ---------------------------------------------------------------------------------- */

static int make(mote_snapshot *flat, const mote_snapshot *s, struct mote_error *err)
{
	flat->write_set_max = s->write_set_max;
	flat->dispatch_gva = s->dispatch_gva;
	flat->dispatch_rsp = s->dispatch_rsp;
	flat->special = s->special;
	flat->msrs = s->msrs;
	flat->generation = s->generation;
	flat->is_ready = s->is_ready;
	flat->seen = s->seen;
	if (s->functions) {
		flat->functions = s->functions;
		atomic_fetch_add_explicit(&s->functions->references, 1, memory_order_relaxed);
	}
	int rc = mote__take_copy_metadata(flat, s, err);
	if (rc == MOTE_OK)
		rc = s->layout.is_confined ? mote__flatten_confined(flat, s, err)
					   : mote__flatten_stock(flat, s, err);
	if (rc == MOTE_OK)
		rc = mote__snapshot_map(flat, err);
	if (rc == MOTE_OK)
		mote__snapshot_collapse(flat);
	return rc;
}

int mote_snapshot_flatten(mote_snapshot *snapshot, mote_snapshot **flat, struct mote_error *err)
{
	if (!snapshot || !flat)
		return mote__fail(err, MOTE_EINVAL, "%s is NULL", snapshot ? "flat" : "snapshot");
	int rc = mote__snapshot_check(snapshot, err);
	if (rc < 0)
		return rc;
	mote_snapshot *s = mote__snapshot_new(snapshot->image, &snapshot->layout);
	if (!s)
		return mote__fail(err, MOTE_ENOMEM, "out of memory");
	rc = make(s, snapshot, err);
	if (rc < 0) {
		mote_snapshot_unref(s);
		return rc;
	}
	*flat = s;
	return MOTE_OK;
}
