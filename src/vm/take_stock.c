/* SPDX-License-Identifier: MIT */
/*
 * Snapshots of guests that own ring 0: their page tables are walked, since nothing else says what
 * they have, and rebuilt for the place where a start puts them. Pages in layers stay there; pages
 * in scratch or in the embedder's memory are stored. The tables are hostile: every bound is below.
 */
#include "vm/take.h"

#include <string.h>

#include "base/error.h"
#include "base/math.h"
#include "base/sys.h"
#include "core/confined.h"
#include "core/rebuild.h"

#define PAGE ((uint64_t)MOTE_PAGE_BYTES)

/* Smallest pages and links that a walk may meet: 64 GiB of address space. */
#define LEAVES_MAX (1ull << 24)
/* Tables that a walk may meet: four times what fits in scratch, as permissions from above make
 * tables differ, but no more than these. */
#define TABLES_MAX 65536u
#define PAGES_MAX  (1ull << 22)

/* A part of guest physical memory. */
struct place {
	uint64_t gpa, bytes;
	const uint8_t *host;
};

struct source {
	const mote_snapshot *snapshot; /* its layers are read */
	const mote_sandbox *sandbox;   /* live: scratch and mappings, too; or NULL */
	const struct mote__pt_format *format;
	bool is_whole; /* pages of layers are stored anew */
	uint32_t place_count;
	struct place places[MOTE_MAX_MAPPINGS + 2];
	uint8_t *kept; /* bit for each page of the layers that is kept */
	uint64_t kept_pages;
	struct mote__holes holes;
};

static void add_place(struct source *source, uint64_t gpa, uint64_t bytes, const uint8_t *host)
{
	source->places[source->place_count++] = (struct place){gpa, bytes, host};
}

static void find_places(struct source *source)
{
	const mote_snapshot *s = source->snapshot;
	const mote_sandbox *b = source->sandbox;
	uint64_t base = s->layout.family->base_gpa;
	add_place(source, base, s->memory_end - base, s->memory + base);
	if (!b)
		return;
	add_place(source, s->layout.scratch_gpa, s->layout.scratch_bytes, b->scratch);
	for (uint32_t i = 0; i < b->mapped_count; i++)
		add_place(source, b->mapped[i].gpa, b->mapped[i].bytes, b->mapped[i].host);
}

/* The place of gpa, or where the next one begins. */
static const struct place *look(const struct source *source, uint64_t gpa, uint64_t *next)
{
	*next = UINT64_MAX;
	for (uint32_t i = 0; i < source->place_count; i++) {
		const struct place *place = &source->places[i];
		if (gpa - place->gpa < place->bytes)
			return place;
		if (place->gpa > gpa)
			*next = mote__smaller(*next, place->gpa);
	}
	return NULL;
}

static void keep(struct source *source, uint64_t gpa, uint64_t bytes)
{
	uint64_t first = (gpa - source->snapshot->layout.family->base_gpa) / PAGE;
	for (uint64_t i = first; i < first + bytes / PAGE; i++) {
		source->kept_pages += !(source->kept[i / 8] >> i % 8 & 1);
		source->kept[i / 8] |= (uint8_t)(1u << i % 8);
	}
}

static enum mote__rebuild_where find(void *cookie, uint64_t gpa, uint64_t *len,
				     const uint8_t **bytes)
{
	struct source *source = cookie;
	uint64_t next;
	const struct place *place = look(source, gpa, &next);
	if (!place) {
		*len = mote__smaller(*len, next - gpa);
		return MOTE__REBUILD_NONE;
	}
	bool is_layer = place == source->places;
	*len = mote__smaller(*len, place->gpa + place->bytes - gpa);
	if (is_layer && !source->is_whole) {
		keep(source, gpa, *len);
		return MOTE__REBUILD_KEEP;
	}
	*bytes = place->host + (gpa - place->gpa);
	if (is_layer) {
		*len = PAGE;
		if (mote__snapshot_is_hole(source->snapshot, &source->holes, gpa))
			*bytes = mote__zero_page;
	}
	return MOTE__REBUILD_COPY;
}

static const void *live_table(const void *cookie, uint64_t gpa, uint64_t bytes)
{
	const struct source *source = cookie;
	uint64_t next;
	const struct place *place = look(source, gpa, &next);
	if (!place || !mote__in_range(gpa - place->gpa, bytes, place->bytes))
		return NULL;
	return place->host + (gpa - place->gpa);
}

/* Tables of a snapshot stand where scratch will be. */
static const void *stored_table(const void *cookie, uint64_t gpa, uint64_t bytes)
{
	const struct source *source = cookie;
	const struct mote__layout *l = &source->snapshot->layout;
	uint64_t at = gpa - l->scratch_gpa - l->tables_offset;
	return mote__in_range(at, bytes, l->tables_bytes) ? source->snapshot->tables + at : NULL;
}

/* ---- memory of the work ---------------------------------------------------------------------- */

struct work {
	struct mote__rebuild r;
	struct mote__pt_builder builder;
	struct mote__pt_span spans[2];
	struct mote__pt_mapping scratch;
	void *tables;
	uint64_t tables_bytes;
};

static int fail_rebuild(struct mote_error *err, int rc, const struct work *w)
{
	switch (rc) {
	case MOTE__PT_TABLE_BUDGET:
		return mote__fail(err, MOTE_ESNAPSHOT,
				  "the guest's page tables are more than %u tables",
				  w->r.tables_max);
	case MOTE__PT_LEAF_BUDGET:
		return mote__fail(err, MOTE_ESNAPSHOT,
				  "the guest's page tables map more than %llu pages",
				  (unsigned long long)w->r.leaves_max);
	case MOTE__PT_FULL:
		return mote__fail(err, MOTE_ESNAPSHOT,
				  "the guest's page tables need more than 0x%llx bytes: "
				  "scratch_bytes allows no more",
				  (unsigned long long)w->tables_bytes);
	case MOTE__REBUILD_PAGE_BUDGET:
		return mote__fail(err, MOTE_ESNAPSHOT, "more than %u pages are to be stored",
				  w->r.pages_max);
	default:
		return mote__fail(err, MOTE_ESNAPSHOT, "page tables: %s",
				  mote__rebuild_describe(rc));
	}
}

static void work_free(struct work *w)
{
	mote__sys_unmap(w->tables, w->tables_bytes);
	mote__free(w->r.visits);
	mote__free(w->r.slots);
	mote__free((void *)w->r.pages);
	mote__free(w->r.new_roots);
}

/* As the layout of an image has it. */
uint64_t mote__take_tables_max(const struct mote__layout *l)
{
	uint64_t kept = mote__round_up(l->input_bytes + l->output_bytes, PAGE) +
			l->family->runtime_pages * PAGE;
	return l->scratch_bytes > kept ? l->scratch_bytes - kept : PAGE;
}

void mote__take_set_tables(struct mote__layout *l, uint64_t bytes)
{
	l->tables_bytes = bytes;
	l->frames_offset = l->tables_offset + bytes;
	l->frame_count = (l->scratch_bytes - l->frames_offset) / PAGE - l->family->kept_pages;
}

static int work_allocate(struct work *w, const struct mote__layout *l, struct mote_error *err)
{
	struct mote__rebuild *r = &w->r;
	r->visit_count = mote__pt_visits_for(r->tables_max);
	r->slot_count = mote__rebuild_slots_for(r->pages_max);
	r->visits = mote__alloc(r->visit_count, sizeof *r->visits);
	r->slots = mote__alloc(r->slot_count, sizeof *r->slots);
	r->pages = mote__alloc(r->pages_max, sizeof *r->pages);
	r->new_roots = mote__alloc(r->root_count, sizeof *r->new_roots);
	if (!r->visits || !r->slots || !r->pages || !r->new_roots)
		return mote__fail(err, MOTE_ENOMEM, "out of memory");
	w->tables_bytes = mote__take_tables_max(l);
	int rc = mote__sys_map(MOTE__MAP_SCRATCH, -1, w->tables_bytes, &w->tables);
	if (rc < 0)
		return mote__object_fail(err, rc, "page tables", w->tables_bytes);
	rc = mote__sys_random(&r->seed, sizeof r->seed);
	if (rc < 0)
		return mote__fail_system(err, MOTE_ESYSTEM, -rc, "random bytes");
	rc = mote__pt_builder_init(&w->builder, r->format, w->tables,
				   l->scratch_gpa + l->tables_offset, w->tables_bytes);
	w->builder.is_zeroed = true;
	/* What a page allows is said by its leaf. */
	w->builder.user_tables = true;
	return rc < 0 ? fail_rebuild(err, rc, w) : MOTE_OK;
}

static void work_init(struct work *w, struct source *source, const uint64_t *roots,
		      uint32_t root_count)
{
	const mote_snapshot *s = source->snapshot;
	const struct mote__layout *l = &s->layout;
	uint64_t scratch_pages = l->scratch_bytes / PAGE;
	uint64_t pages = source->sandbox ? scratch_pages : 0;
	if (source->is_whole)
		pages += (s->memory_end - l->family->base_gpa) / PAGE;
	for (uint32_t i = 0; source->sandbox && i < source->sandbox->mapped_count; i++)
		pages += source->sandbox->mapped[i].bytes / PAGE;
	w->scratch = (struct mote__pt_mapping){.va = l->scratch_gva,
					       .gpa = l->scratch_gpa,
					       .bytes = l->scratch_bytes,
					       .kind = MOTE__PT_MAP,
					       .attributes = {.writable = true}};
	w->r = (struct mote__rebuild){
		.format = source->format,
		.tables = {source, source->sandbox ? live_table : stored_table},
		.roots = roots,
		.root_count = root_count,
		.spans = w->spans,
		.span_count = mote__layout_spans(l, w->spans),
		.find = find,
		.cookie = source,
		.leaves_max = LEAVES_MAX,
		.tables_max = (uint32_t)mote__smaller(TABLES_MAX, 4 * scratch_pages + 64),
		.pages_max = (uint32_t)mote__smaller(PAGES_MAX, pages + 1),
		.builder = &w->builder,
		.mappings = &w->scratch,
		.mapping_count = 1,
		.new_gpa = source->is_whole ? l->family->base_gpa : s->memory_end,
		.zero_gpa = source->is_whole ? 0 : l->zero_gpa,
	};
}

/* ---- results --------------------------------------------------------------------------------- */

static int keep_tables(mote_snapshot *child, const struct work *w, struct mote_error *err)
{
	struct mote__layout *l = &child->layout;
	uint64_t used = w->builder.used;
	struct mote__object *object = NULL;
	int rc = mote__take_tables(w->builder.bytes, used, &object, err);
	if (rc < 0)
		return rc;
	child->extent[child->extent_count++] = (struct mote__piece){object, 0, 0, used};
	mote__take_set_tables(l, used);
	l->zero_gpa = w->r.zero_gpa;
	return MOTE_OK;
}

/* Each once: they ascend, and one that was listed again has the address that it had. */
static int keep_roots(mote_snapshot *child, const struct work *w, struct mote_error *err)
{
	child->roots = mote__alloc(w->r.root_count, sizeof *child->roots);
	if (!child->roots)
		return mote__fail(err, MOTE_ENOMEM, "out of memory");
	for (uint32_t i = 0; i < w->r.root_count; i++) {
		uint64_t root = w->r.new_roots[i];
		if (!child->root_count || root > child->roots[child->root_count - 1])
			child->roots[child->root_count++] = root;
	}
	return MOTE_OK;
}

static int rebuild(mote_snapshot *child, struct source *source, const uint64_t *roots,
		   uint32_t root_count, struct mote_error *err)
{
	const mote_snapshot *s = source->snapshot;
	uint64_t base = s->layout.family->base_gpa, pages = (s->memory_end - base) / PAGE;
	struct work w = {.tables = NULL};
	source->kept = mote__alloc(pages / 8 + 1, 1);
	if (!source->kept)
		return mote__fail(err, MOTE_ENOMEM, "out of memory");
	find_places(source);
	work_init(&w, source, roots, root_count);
	int rc = work_allocate(&w, &s->layout, err);
	if (rc == MOTE_OK) {
		rc = mote__rebuild(&w.r);
		rc = rc < 0 ? fail_rebuild(err, rc, &w) : MOTE_OK;
	}
	if (rc == MOTE_OK && !source->is_whole)
		mote__take_share_layers(child, s);
	/* A guest may have taken all of its memory away. */
	if (rc == MOTE_OK && !w.r.page_count && !child->layer_count)
		w.r.pages[w.r.page_count++] = mote__zero_page;
	if (rc == MOTE_OK && w.r.page_count)
		rc = mote__take_add_layer(child, w.r.new_gpa, (const void *const *)w.r.pages,
					  w.r.page_count, err);
	if (rc == MOTE_OK)
		rc = keep_tables(child, &w, err);
	if (rc == MOTE_OK)
		rc = keep_roots(child, &w, err);
	child->dead_bytes = source->is_whole ? 0 : (pages - source->kept_pages) * PAGE;
	work_free(&w);
	mote__free(source->kept);
	return rc;
}

static int find_roots(mote_sandbox *sandbox, const mote_snapshot *child,
		      const struct mote_take_options *options, uint64_t *roots, uint32_t *count,
		      struct mote_error *err)
{
	const struct mote__layout *l = &sandbox->snapshot->layout;
	bool is_live = child->is_ready && !sandbox->needs_reset;
	uint64_t cr3 = is_live ? child->special.cr3 : l->scratch_gpa + l->tables_offset;
	*count = 0;
	if (options->find_roots)
		*count = options->find_roots(options->cookie, sandbox, cr3, roots, MOTE_MAX_ROOTS);
	if (*count > MOTE_MAX_ROOTS)
		return mote__fail(err, MOTE_EINVAL, "find_roots found %u roots, at most %u", *count,
				  MOTE_MAX_ROOTS);
	if (!*count)
		roots[(*count)++] = cr3;
	return MOTE_OK;
}

/* A guest in ring 0 may have changed how its tables are read. */
static int find_format(struct source *source, const struct mote__special *special,
		       struct mote_error *err)
{
	uint32_t bits = source->snapshot->layout.family->bits;
	source->format = mote__special_format(special, bits);
	if (source->format)
		return MOTE_OK;
	return mote__fail(err, MOTE_ESNAPSHOT,
			  "the guest left %s paging (CR0 0x%llx, CR4 0x%llx, EFER 0x%llx)",
			  bits == 64 ? "4-level" : "32-bit", (unsigned long long)special->cr0,
			  (unsigned long long)special->cr4, (unsigned long long)special->efer);
}

int mote__take_stock(mote_snapshot *child, mote_sandbox *sandbox,
		     const struct mote_take_options *options, bool is_whole, struct mote_error *err)
{
	uint64_t roots[MOTE_MAX_ROOTS];
	uint32_t count = 0;
	int rc = find_roots(sandbox, child, options, roots, &count, err);
	if (rc < 0)
		return rc;
	struct source source = {.snapshot = sandbox->snapshot,
				.sandbox = sandbox,
				.format = sandbox->snapshot->layout.family->format,
				.is_whole = is_whole};
	if (child->is_ready)
		rc = find_format(&source, &child->special, err);
	return rc < 0 ? rc : rebuild(child, &source, roots, count, err);
}

int mote__flatten_stock(mote_snapshot *flat, const mote_snapshot *s, struct mote_error *err)
{
	struct source source = {
		.snapshot = s, .format = s->layout.family->format, .is_whole = true};
	const uint64_t root = s->layout.scratch_gpa + s->layout.tables_offset;
	int rc = rebuild(flat, &source, s->root_count ? s->roots : &root,
			 s->root_count ? s->root_count : 1, err);
	return rc < 0 ? rc : mote__snapshot_set_members(flat, NULL, err);
}
