/* SPDX-License-Identifier: MIT */
/*
 * The memory of a snapshot as this process sees it: all layers side by side in one reservation, so
 * that a machine needs one slot for them, and the page tables in another. Both are made of pieces
 * of sealed objects that snapshots share; what differs between a snapshot and its parent is a piece
 * more.
 */
#include "vm/objects.h"

#include <string.h>

#include "base/error.h"
#include "base/math.h"
#include "base/sys.h"
#include "core/confined.h"

#define PAGE ((uint64_t)MOTE_PAGE_BYTES)

int mote__snapshot_check(const mote_snapshot *snapshot, struct mote_error *err)
{
	if (mote__sys_is_own(snapshot->image->own))
		return MOTE_OK;
	return mote__fail(err, MOTE_ESTATE,
			  "this object was made before fork() and belongs to the parent process");
}

/* ---- mapping --------------------------------------------------------------------------------- */

static int map_layers(mote_snapshot *s, struct mote_error *err)
{
	const struct mote__piece *last = &s->layer[s->layer_count - 1];
	s->memory_end = last->at + last->bytes;
	s->reservation_bytes = s->memory_end + MOTE__LARGE_BYTES;
	int rc = mote__sys_reserve(s->reservation_bytes, &s->reservation);
	if (rc < 0)
		return mote__object_fail(err, rc, "mapping guest memory", s->reservation_bytes);
	uint8_t *base =
		(uint8_t *)(uintptr_t)mote__round_up((uintptr_t)s->reservation, MOTE__LARGE_BYTES);
	for (uint32_t i = 0; i < s->layer_count && rc == 0; i++)
		rc = mote__sys_place(MOTE__MAP_READ, s->layer[i].object->fd,
				     s->layer[i].object_offset, s->layer[i].bytes,
				     base + s->layer[i].at);
	if (rc < 0)
		return mote__object_fail(err, rc, "mapping guest memory", s->memory_end);
	mote__sys_seclude(s->reservation, s->reservation_bytes, 0);
	s->memory = base;
	return MOTE_OK;
}

static int map_tables(mote_snapshot *s, struct mote_error *err)
{
	uint64_t bytes = s->layout.tables_bytes;
	void *at = NULL;
	int rc = mote__sys_reserve(bytes, &at);
	if (rc < 0)
		return mote__object_fail(err, rc, "mapping page tables", bytes);
	s->tables = at;
	rc = mote__sys_place(MOTE__MAP_READ, -1, 0, bytes, at);
	for (uint32_t i = 0; i < s->extent_count && rc == 0; i++)
		rc = mote__sys_place(MOTE__MAP_READ, s->extent[i].object->fd,
				     s->extent[i].object_offset, s->extent[i].bytes,
				     (uint8_t *)at + s->extent[i].at);
	if (rc < 0)
		return mote__object_fail(err, rc, "mapping page tables", bytes);
	mote__sys_seclude(at, bytes, 1);
	return MOTE_OK;
}

int mote__snapshot_map(mote_snapshot *snapshot, struct mote_error *err)
{
	int rc = map_layers(snapshot, err);
	return rc < 0 ? rc : map_tables(snapshot, err);
}

/* A block of 2 MiB that has all of its pages: huge pages add nothing to a snapshot's memory. */
static bool is_full(const mote_snapshot *s, struct mote__holes *holes, uint64_t gpa)
{
	for (uint32_t i = 0; i < s->layer_count; i++) {
		const struct mote__piece *layer = &s->layer[i];
		if (gpa - layer->at >= layer->bytes)
			continue;
		uint64_t offset = gpa - layer->at + layer->object_offset;
		return gpa - layer->at + MOTE__LARGE_BYTES <= layer->bytes &&
		       !mote__snapshot_is_hole(s, holes, gpa) &&
		       holes->data_to >= offset + MOTE__LARGE_BYTES;
	}
	return false;
}

void mote__snapshot_collapse(const mote_snapshot *snapshot)
{
	const struct mote__layout *l = &snapshot->layout;
	struct mote__holes holes = {0};
	struct mote__pt_translation t;
	for (uint32_t i = 0; i < l->part_count; i++) {
		const struct mote__part *part = &l->parts[i];
		uint64_t gva = mote__round_up(part->gva, MOTE__LARGE_BYTES);
		uint64_t end = part->gva + part->bytes;
		for (; part->is_large && gva + MOTE__LARGE_BYTES <= end; gva += MOTE__LARGE_BYTES)
			if (mote__snapshot_translate(snapshot, gva, &t) && t.level > 1 &&
			    is_full(snapshot, &holes, t.gpa))
				(void)mote__sys_collapse(snapshot->memory + t.gpa,
							 MOTE__LARGE_BYTES);
	}
}

void mote__snapshot_unmap(mote_snapshot *snapshot)
{
	/* A child after fork() has neither mapping, and may have others there. */
	if (mote__sys_is_own(snapshot->image->own)) {
		mote__sys_unmap(snapshot->reservation, snapshot->reservation_bytes);
		mote__sys_unmap((void *)(uintptr_t)snapshot->tables, snapshot->layout.tables_bytes);
	}
	for (uint32_t i = 0; i < snapshot->layer_count; i++)
		mote__object_unref(snapshot->layer[i].object);
	for (uint32_t i = 0; i < snapshot->extent_count; i++)
		mote__object_unref(snapshot->extent[i].object);
}

/* ---- overlaying tables ----------------------------------------------------------------------- */

/* Pieces in the making, ascending; the objects are referenced when it is done. */
struct pieces {
	uint32_t count;
	struct mote__piece piece[3 * MOTE__EXTENTS_MAX + 2];
};

static void append(struct pieces *p, struct mote__piece piece)
{
	if (piece.bytes && p->count < sizeof p->piece / sizeof *p->piece)
		p->piece[p->count++] = piece;
}

static struct mote__piece part_of(const struct mote__piece *piece, uint64_t from, uint64_t to)
{
	uint64_t end = piece->at + piece->bytes;
	uint64_t first = from > piece->at ? from : piece->at, last = to < end ? to : end;
	if (first >= last)
		return (struct mote__piece){0};
	return (struct mote__piece){piece->object, piece->object_offset + (first - piece->at),
				    first, last - first};
}

/* Parts of the parent's extents in [from, to). */
static void append_parent(struct pieces *p, const mote_snapshot *parent, uint64_t from, uint64_t to)
{
	for (uint32_t i = 0; i < parent->extent_count; i++)
		append(p, part_of(&parent->extent[i], from, to));
}

static uint32_t count_runs(const uint64_t *numbers, uint32_t count)
{
	uint32_t runs = 0;
	for (uint32_t i = 0; i < count; i++)
		runs += i == 0 || numbers[i] != numbers[i - 1] + 1;
	return runs;
}

/* The changed pages between what remains of the parent's extents. */
static void merge(struct pieces *p, const mote_snapshot *parent, struct mote__object *object,
		  const uint64_t *numbers, uint32_t count)
{
	uint64_t from = 0;
	for (uint32_t i = 0, next; i < count; i = next) {
		for (next = i + 1; next < count && numbers[next] == numbers[next - 1] + 1; next++)
			;
		append_parent(p, parent, from, numbers[i] * PAGE);
		append(p, (struct mote__piece){object, i * PAGE, numbers[i] * PAGE,
					       (next - i) * PAGE});
		from = (numbers[next - 1] + 1) * PAGE;
	}
	append_parent(p, parent, from, UINT64_MAX);
}

const void *mote__snapshot_table(const mote_snapshot *snapshot, struct mote__holes *holes,
				 uint64_t offset)
{
	for (uint32_t i = 0; i < snapshot->extent_count; i++) {
		const struct mote__piece *e = &snapshot->extent[i];
		if (offset - e->at >= e->bytes)
			continue;
		if (holes->object != e->object)
			*holes = (struct mote__holes){.object = e->object};
		bool is_hole = mote__object_is_hole(holes, offset - e->at + e->object_offset);
		return is_hole ? mote__zero_page : snapshot->tables + offset;
	}
	return mote__zero_page;
}

/* A table of a snapshot, in memory that a start puts into scratch. */
struct stored_tables {
	const mote_snapshot *snapshot;
	struct mote__holes *holes;
};

static const void *stored_table(const void *cookie, uint64_t gpa, uint64_t bytes)
{
	const struct stored_tables *tables = cookie;
	const struct mote__layout *l = &tables->snapshot->layout;
	uint64_t at = gpa - l->scratch_gpa - l->tables_offset;
	if (at % PAGE || !mote__in_range(at, bytes, l->tables_bytes))
		return NULL;
	return mote__snapshot_table(tables->snapshot, tables->holes, at);
}

int mote__snapshot_walk(const mote_snapshot *snapshot, struct mote__pt_walk *walk,
			struct mote_error *err)
{
	const struct mote__layout *l = &snapshot->layout;
	const uint64_t root = l->scratch_gpa + l->tables_offset;
	struct mote__holes holes = {.object = NULL};
	const struct stored_tables tables = {snapshot, &holes};
	struct mote__pt_span spans[2];
	walk->format = l->family->format;
	walk->memory = (struct mote__pt_memory){&tables, stored_table};
	walk->roots = snapshot->root_count ? snapshot->roots : &root;
	walk->root_count = snapshot->root_count ? snapshot->root_count : 1;
	walk->spans = spans;
	walk->span_count = mote__layout_spans(l, spans);
	walk->tables_max = (uint32_t)(4 * l->tables_bytes / PAGE) + 64;
	walk->visit_count = mote__pt_visits_for(walk->tables_max);
	walk->visits = mote__alloc(walk->visit_count, sizeof *walk->visits);
	if (!walk->visits)
		return mote__fail(err, MOTE_ENOMEM, "out of memory");
	int rc = mote__pt_walk(walk);
	mote__free(walk->visits);
	return rc < 0 ? mote__fail(err, MOTE_ESNAPSHOT, "page tables: %s", mote__pt_describe(rc))
		      : MOTE_OK;
}

/* All tables in one object: pages that are zero are holes. */
static int write_whole(mote_snapshot *child, const mote_snapshot *parent, const uint64_t *numbers,
		       const void *const *pages, uint32_t count, struct mote_error *err)
{
	uint64_t total = child->layout.tables_bytes / PAGE;
	struct mote__holes holes = {.object = NULL};
	struct mote__object *object = NULL;
	const void **all = mote__alloc(total, sizeof *all);
	if (!all)
		return mote__fail(err, MOTE_ENOMEM, "out of memory");
	for (uint64_t i = 0; i < total; i++)
		all[i] = mote__snapshot_table(parent, &holes, i * PAGE);
	for (uint32_t i = 0; i < count; i++)
		all[numbers[i]] = pages[i];
	int rc = mote__object_of_pages("mote-tables", 0, all, total, &object, err);
	mote__free((void *)all);
	if (rc < 0)
		return rc;
	child->extent[0] = (struct mote__piece){object, 0, 0, total * PAGE};
	child->extent_count = 1;
	return MOTE_OK;
}

int mote__snapshot_overlay(mote_snapshot *child, const mote_snapshot *parent,
			   const uint64_t *numbers, const void *const *pages, uint32_t count,
			   struct mote_error *err)
{
	struct pieces merged = {0};
	struct mote__object *object = NULL;
	/* Each run adds at most two pieces. */
	if (parent->extent_count + 2 * count_runs(numbers, count) >
	    sizeof merged.piece / sizeof *merged.piece)
		return write_whole(child, parent, numbers, pages, count, err);
	int rc = MOTE_OK;
	if (count)
		rc = mote__object_of_pages("mote-tables", 0, pages, count, &object, err);
	if (rc == MOTE_OK) {
		merge(&merged, parent, object, numbers, count);
		if (merged.count > MOTE__EXTENTS_MAX) {
			mote__object_unref(object);
			return write_whole(child, parent, numbers, pages, count, err);
		}
	}
	for (uint32_t i = 0; i < merged.count && rc == MOTE_OK; i++) {
		child->extent[i] = merged.piece[i];
		mote__object_ref(merged.piece[i].object);
		child->extent_count++;
	}
	mote__object_unref(object);
	return rc;
}

/* ---- looking --------------------------------------------------------------------------------- */

static struct mote__pt_range range_of(const mote_snapshot *s)
{
	const struct mote__layout *l = &s->layout;
	return (struct mote__pt_range){s->tables, l->scratch_gpa + l->tables_offset,
				       l->tables_bytes};
}

bool mote__snapshot_leaf(const mote_snapshot *snapshot, uint64_t gva, uint64_t *offset)
{
	const struct mote__pt_range range = range_of(snapshot);
	const struct mote__pt_space space = {.format = snapshot->layout.family->format,
					     .memory = {&range, mote__pt_range_table},
					     .root = range.gpa};
	uint64_t table = 0;
	if (mote__pt_find_table(&space, gva, 1, &table) < 0 ||
	    !mote__in_range(table - range.gpa, PAGE, range.len))
		return false;
	*offset = table - range.gpa +
		  mote__pt_index(space.format, gva, 1) * (uint64_t)space.format->entry_bytes;
	return true;
}

bool mote__snapshot_translate(const mote_snapshot *snapshot, uint64_t gva,
			      struct mote__pt_translation *translation)
{
	const struct mote__pt_range range = range_of(snapshot);
	const struct mote__pt_space space = {.format = snapshot->layout.family->format,
					     .memory = {&range, mote__pt_range_table},
					     .root = range.gpa};
	return mote__pt_translate(&space, gva, translation) == MOTE__PT_OK;
}

bool mote__snapshot_is_demand(const mote_snapshot *snapshot, uint64_t gva)
{
	const struct mote__layout *l = &snapshot->layout;
	return l->is_confined && (gva - l->stack_gva < l->stack_bytes ||
				  gva - l->heap_gva < mote__round_up(l->heap_bytes, PAGE));
}

bool mote__snapshot_is_hole(const mote_snapshot *snapshot, struct mote__holes *holes, uint64_t gpa)
{
	for (uint32_t i = 0; i < snapshot->layer_count; i++) {
		const struct mote__piece *layer = &snapshot->layer[i];
		if (gpa - layer->at >= layer->bytes)
			continue;
		if (holes->object != layer->object)
			*holes = (struct mote__holes){.object = layer->object};
		return mote__object_is_hole(holes, gpa - layer->at + layer->object_offset);
	}
	return false;
}

bool mote__snapshot_is_guests(const mote_snapshot *snapshot, uint64_t gva)
{
	const struct mote__layout *l = &snapshot->layout;
	struct mote__pt_translation t;
	if (gva >= l->cow_end_gva)
		return false;
	if (mote__snapshot_translate(snapshot, gva, &t))
		return t.effective.user && (t.effective.cow || t.effective.writable);
	return mote__snapshot_is_demand(snapshot, gva) || gva - l->mapping_gva < l->mapping_bytes;
}

bool mote__snapshot_stored_at(const mote_snapshot *s, uint64_t gpa, uint64_t *at)
{
	const struct mote__layout *l = &s->layout;
	uint64_t frame = (gpa - l->scratch_gpa - l->frames_offset) / PAGE;
	*at = gpa;
	if (mote__snapshot_has(s, gpa))
		return true;
	if (gpa < l->scratch_gpa + l->frames_offset || frame >= s->write_set.fixed)
		return false;
	*at = s->write_set.member[frame].source_gpa;
	return true;
}

bool mote__snapshot_page(const mote_snapshot *snapshot, uint64_t gva, const uint8_t **bytes)
{
	struct mote__pt_translation t;
	uint64_t at;
	*bytes = NULL;
	if (!mote__snapshot_translate(snapshot, mote__round_down(gva, PAGE), &t))
		return mote__snapshot_is_demand(snapshot, gva);
	if (!mote__snapshot_stored_at(snapshot, t.gpa, &at))
		return false;
	*bytes = at ? snapshot->memory + at : NULL;
	return true;
}

bool mote__snapshot_stored(const mote_snapshot *snapshot, uint64_t gva, uint64_t *gpa,
			   struct mote__pt_attributes *attributes)
{
	struct mote__pt_translation t;
	*gpa = 0;
	*attributes = (struct mote__pt_attributes){.cow = true, .user = true};
	if (!mote__snapshot_translate(snapshot, mote__round_down(gva, PAGE), &t))
		return mote__snapshot_is_demand(snapshot, gva);
	*attributes = t.effective;
	return mote__snapshot_stored_at(snapshot, t.gpa, gpa);
}
