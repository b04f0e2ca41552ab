/* SPDX-License-Identifier: MIT */
/*
 * Page tables from a list of mappings. The list is hostile: each record is checked whole before it
 * changes a table, pages are counted, and tables come out of memory of a fixed size. What a record
 * may say is decided by the layout alone.
 */
#include "core/mappings.h"

#include "base/error.h"
#include "base/math.h"
#include "core/layout_build.h"

#define PAGE  ((uint64_t)MOTE_PAGE_BYTES)
#define FLAGS ((uint32_t)(MOTE__RECORD_COW | MOTE__RECORD_EXEC | MOTE__RECORD_USER))

_Static_assert(sizeof(struct mote__mappings_header) == 32 && sizeof(struct mote__record) == 32,
	       "as they are stored");

/* ---- the list -------------------------------------------------------------------------------- */

static int check_header(const struct mote__mappings_header *h, struct mote_error *err)
{
	const struct {
		const char *name;
		uint64_t value, min, max;
	} fields[] = {
		{"magic", h->magic, MOTE__MAPPINGS_MAGIC, MOTE__MAPPINGS_MAGIC},
		{"version", h->version, MOTE__MAPPINGS_VERSION, MOTE__MAPPINGS_VERSION},
		{"number of roots", h->root_count, 1, MOTE_MAX_ROOTS},
		{"reserved word", h->reserved, 0, 0},
	};
	for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
		if (fields[i].value < fields[i].min || fields[i].value > fields[i].max)
			return mote__fail(err, MOTE_ESTORE,
					  "the list's %s is 0x%llx, expected 0x%llx to 0x%llx",
					  fields[i].name, (unsigned long long)fields[i].value,
					  (unsigned long long)fields[i].min,
					  (unsigned long long)fields[i].max);
	if (h->record_count > MOTE__RECORDS_MAX)
		return mote__fail(err, MOTE_ETOOBIG, "the list has %llu records, at most %u",
				  (unsigned long long)h->record_count, MOTE__RECORDS_MAX);
	return MOTE_OK;
}

int mote__mappings_parse(const void *bytes, uint64_t len, struct mote__mappings_header *header,
			 const struct mote__record **records, struct mote_error *err)
{
	if (len < sizeof *header)
		return mote__fail(err, MOTE_ESTORE, "the list has %llu bytes, its header has %zu",
				  (unsigned long long)len, sizeof *header);
	const struct mote__mappings_header h = *(const struct mote__mappings_header *)bytes;
	int rc = check_header(&h, err);
	if (rc < 0)
		return rc;
	uint64_t expected = sizeof h + h.record_count * sizeof **records;
	if (len != expected)
		return mote__fail(err, MOTE_ESTORE,
				  "the list has %llu bytes, with %llu records it would have %llu",
				  (unsigned long long)len, (unsigned long long)h.record_count,
				  (unsigned long long)expected);
	*header = h;
	*records = (const struct mote__record *)((const uint8_t *)bytes + sizeof h);
	return MOTE_OK;
}

/* ---- one record ------------------------------------------------------------------------------ */

struct list {
	const struct mote__layout *layout;
	const struct mote__mapped_memory *memory;
	const struct mote__record *records;
	uint64_t count;
	uint64_t pages; /* of all runs so far */
	struct mote_error *err;
};

static int refuse(const struct list *list, uint64_t i, const char *field, uint64_t value,
		  const char *expected)
{
	return mote__fail(list->err, MOTE_ESTORE, "record %llu: %s is 0x%llx, expected %s",
			  (unsigned long long)i, field, (unsigned long long)value, expected);
}

/* A table could not be made: a record asks for what the format or the room does not have. */
static int refuse_tables(const struct list *list, uint64_t i, int rc,
			 const struct mote__pt_builder *builder)
{
	const struct mote__record *r = &list->records[i];
	if (rc == MOTE__PT_FULL)
		return mote__fail(list->err, MOTE_ESTORE,
				  "record %llu: va is 0x%llx: the tables up to there need more "
				  "than 0x%llx bytes",
				  (unsigned long long)i, (unsigned long long)r->va,
				  (unsigned long long)builder->capacity);
	return mote__fail(list->err, MOTE_ESTORE, "record %llu: va is 0x%llx: %s",
			  (unsigned long long)i, (unsigned long long)r->va, mote__pt_describe(rc));
}

/* A failure that no record is to blame for. */
static int fail_tables(struct mote_error *err, int rc, const struct mote__pt_builder *builder)
{
	if (rc == MOTE__PT_FULL)
		return mote__fail(err, MOTE_ESTORE, "the list's tables need more than 0x%llx bytes",
				  (unsigned long long)builder->capacity);
	return mote__fail(err, MOTE_ESTORE, "the list's tables: %s", mote__pt_describe(rc));
}

static int check_target(const struct list *list, uint64_t i)
{
	const struct mote__record *r = &list->records[i];
	const struct mote__mapped_memory *m = list->memory;
	uint64_t bytes = r->count * PAGE;
	if (!r->target)
		return m->zero_gpa ? MOTE_OK
				   : refuse(list, i, "target", 0,
					    "an address: there is no page of zeroes");
	if (r->target % PAGE)
		return refuse(list, i, "target", r->target, "a multiple of 0x1000");
	if (r->target < m->first_gpa ||
	    !mote__in_range(r->target - m->first_gpa, bytes, m->end_gpa - m->first_gpa))
		return mote__fail(list->err, MOTE_ESTORE,
				  "record %llu: target is 0x%llx, count is 0x%x: the memory is "
				  "from 0x%llx to 0x%llx",
				  (unsigned long long)i, (unsigned long long)r->target, r->count,
				  (unsigned long long)m->first_gpa, (unsigned long long)m->end_gpa);
	return MOTE_OK;
}

/* What holds for runs of all guests. The address is checked by whoever knows where it may be: here
 * only that it is the first of whole pages. */
static int check_run(struct list *list, uint64_t i)
{
	const struct mote__record *r = &list->records[i];
	uint64_t last;
	if (r->va % PAGE)
		return refuse(list, i, "va", r->va, "a multiple of 0x1000");
	if (!r->count || r->count > MOTE__MAPPED_MAX - list->pages)
		return refuse(list, i, "count", r->count,
			      "1 or more, and 0x1000000 at most in all records");
	if (!mote__add(r->va, r->count * PAGE - 1, &last))
		return refuse(list, i, "count", r->count, "no more than there is behind va");
	if (r->flags & ~FLAGS)
		return refuse(list, i, "flags", r->flags, "bits of 0x7");
	list->pages += r->count;
	return check_target(list, i);
}

static uint64_t run_bytes(const struct mote__record *r)
{
	return r->count * PAGE;
}

static int map_run(struct mote__pt_builder *builder, uint64_t root, const struct list *list,
		   uint64_t i, bool is_large)
{
	const struct mote__record *r = &list->records[i];
	struct mote__pt_mapping m = {.va = r->va,
				     .bytes = run_bytes(r),
				     .gpa = r->target,
				     .kind = MOTE__PT_MAP,
				     .large = is_large,
				     .attributes = {.cow = r->flags & MOTE__RECORD_COW,
						    .exec = r->flags & MOTE__RECORD_EXEC,
						    .user = r->flags & MOTE__RECORD_USER}};
	uint64_t end = r->va + m.bytes; /* wraps at most to 0 */
	if (!r->target) {
		m.gpa = list->memory->zero_gpa;
		m.bytes = PAGE;
		m.large = false;
	}
	int rc = mote__pt_map(builder, root, &m);
	for (m.va += m.bytes; m.va != end && rc == MOTE__PT_OK; m.va += PAGE)
		rc = mote__pt_map(builder, root, &m);
	return rc < 0 ? refuse_tables(list, i, rc, builder) : MOTE_OK;
}

/* ---- confined guests ------------------------------------------------------------------------- */

static uint32_t flags_of(struct mote__pt_attributes a)
{
	return (a.cow ? (uint32_t)MOTE__RECORD_COW : 0) |
	       (a.exec ? (uint32_t)MOTE__RECORD_EXEC : 0) |
	       (a.user ? (uint32_t)MOTE__RECORD_USER : 0);
}

static int check_flags(const struct list *list, uint64_t i, const struct mote__part *part)
{
	const uint32_t written = MOTE__RECORD_COW | MOTE__RECORD_USER, read = MOTE__RECORD_USER;
	uint32_t flags = list->records[i].flags;
	uint32_t one = part->kind == MOTE__PART_MEMORY ? flags_of(part->attributes) : written;
	uint32_t other = part->kind == MOTE__PART_SPACE ? read : one;
	if (flags == one || flags == other)
		return MOTE_OK;
	return mote__fail(list->err, MOTE_ESTORE,
			  "record %llu: flags is 0x%x, expected 0x%x%s: va 0x%llx is in the part "
			  "\"%s\"",
			  (unsigned long long)i, flags, one, other == one ? "" : " or 0x4",
			  (unsigned long long)list->records[i].va, part->name);
}

static bool is_of_guest(const struct mote__part *part)
{
	return part->kind == MOTE__PART_MEMORY || mote__layout_is_space(part);
}

/* The record lies in part, or before it, or crosses its border. */
static int check_confined(struct list *list, uint64_t i, const struct mote__part *part,
			  uint64_t previous_end)
{
	const struct mote__record *r = &list->records[i];
	if (r->kind != MOTE__RECORD_RUN)
		return refuse(list, i, "kind", r->kind, "1: a confined guest shares no tables");
	if (r->root)
		return refuse(list, i, "root", r->root, "0: a confined guest has one");
	int rc = check_run(list, i);
	if (rc < 0)
		return rc;
	if (r->va < previous_end)
		return refuse(list, i, "va", r->va, "one behind the record before");
	if (!is_of_guest(part) || r->va < part->gva ||
	    !mote__in_range(r->va - part->gva, run_bytes(r), part->bytes))
		return mote__fail(list->err, MOTE_ESTORE,
				  "record %llu: va is 0x%llx, count is 0x%x: not inside one part "
				  "of the guest",
				  (unsigned long long)i, (unsigned long long)r->va, r->count);
	return check_flags(list, i, part);
}

/* Make a part as the layout would, with the records that lie in it; *i is the first of them, and
 * becomes the first behind. Leaf tables of memory are made whatever is listed, so that every page
 * that may be written has one. */
static int build_part(struct mote__layout_builder *b, struct list *list,
		      const struct mote__part *part, uint64_t *i)
{
	uint64_t end = part->gva + part->bytes, previous_end = 0;
	int rc = MOTE__PT_OK;
	if (!is_of_guest(part)) {
		const struct mote__pt_mapping m = mote__layout_mapping(part);
		rc = mote__pt_map(&b->tables, b->root, &m);
	} else if (part->kind == MOTE__PART_MEMORY && !part->is_large) {
		rc = mote__layout_build_reserve(b, part->gva, part->bytes);
	}
	if (rc < 0)
		return fail_tables(list->err, rc, &b->tables);
	for (; *i < list->count && list->records[*i].va < end; (*i)++) {
		rc = check_confined(list, *i, part, previous_end);
		if (rc == MOTE_OK)
			rc = map_run(&b->tables, b->root, list, *i, part->is_large);
		if (rc < 0)
			return rc;
		previous_end = list->records[*i].va + run_bytes(&list->records[*i]);
	}
	return MOTE_OK;
}

static int build_parts(struct mote__layout_builder *b, struct list *list)
{
	const struct mote__layout *l = list->layout;
	uint64_t i = 0;
	for (uint32_t part = 0; part < l->part_count; part++) {
		int rc = build_part(b, list, &l->parts[part], &i);
		if (rc < 0)
			return rc;
	}
	if (i < list->count)
		return refuse(list, i, "va", list->records[i].va,
			      "an address inside a part of the guest");
	return MOTE_OK;
}

int mote__mappings_build_confined(const struct mote__layout *layout,
				  const struct mote__mapped_memory *memory,
				  const struct mote__record *records,
				  const struct mote__mappings_header *header, void *tables,
				  uint64_t *used_bytes, struct mote_error *err)
{
	struct list list = {.layout = layout,
			    .memory = memory,
			    .records = records,
			    .count = header->record_count,
			    .err = err};
	struct mote__layout_builder b;
	if (header->root_count != 1)
		return mote__fail(err, MOTE_ESTORE,
				  "the list's number of roots is %u: a confined guest has one",
				  header->root_count);
	uint64_t preset = mote__layout_stack_preset(layout) * PAGE;
	int rc = mote__layout_build_begin(&b, layout, tables);
	if (rc == MOTE__PT_OK)
		rc = mote__layout_build_reserve(
			&b, layout->stack_gva + layout->stack_bytes - preset, preset);
	if (rc < 0)
		return fail_tables(err, rc, &b.tables);
	rc = build_parts(&b, &list);
	if (rc < 0)
		return rc;
	rc = mote__layout_build_end(&b, used_bytes);
	return rc < 0 ? fail_tables(err, rc, &b.tables) : MOTE_OK;
}

/* ---- guests that own ring 0 ------------------------------------------------------------------ */

struct stock {
	struct list list;
	struct mote__pt_builder *builder;
	uint64_t *roots;
	uint32_t root_count;
	uint32_t closed; /* roots that have the map of scratch */
	uint32_t span_count;
	struct mote__pt_span spans[2];
	/* The last address of the record before; none yet of its root: is_first. */
	uint32_t root;
	bool is_first;
	uint64_t last;
};

static const struct mote__pt_span *find_span(const struct stock *s, uint64_t va)
{
	for (uint32_t i = 0; i < s->span_count; i++)
		if (va >= s->spans[i].first && va <= s->spans[i].last)
			return &s->spans[i];
	return NULL;
}

static int check_order(struct stock *s, uint64_t i)
{
	const struct mote__record *r = &s->list.records[i];
	if (r->root < s->root || r->root >= s->root_count)
		return refuse(&s->list, i, "root", r->root,
			      "that of the record before, or a later one of the list");
	s->is_first = s->is_first || r->root > s->root;
	s->root = r->root;
	if (!s->is_first && r->va <= s->last)
		return refuse(&s->list, i, "va", r->va, "one behind the record before");
	s->is_first = false;
	return MOTE_OK;
}

static int check_stock_run(struct stock *s, uint64_t i)
{
	const struct mote__record *r = &s->list.records[i];
	int rc = check_run(&s->list, i);
	if (rc < 0)
		return rc;
	const struct mote__pt_span *span = find_span(s, r->va);
	s->last = r->va + run_bytes(r) - 1;
	if (!span || s->last > span->last)
		return mote__fail(s->list.err, MOTE_ESTORE,
				  "record %llu: va is 0x%llx, count is 0x%x: not inside what is "
				  "the guest's",
				  (unsigned long long)i, (unsigned long long)r->va, r->count);
	return MOTE_OK;
}

/* A table that a span cuts is shared by the same address of another root only, as a walk finds it:
 * else its other part would be in the way there. */
static int check_link(struct stock *s, uint64_t i)
{
	const struct mote__record *r = &s->list.records[i];
	const struct mote__pt_format *format = s->builder->format;
	if (r->flags < 1 || r->flags >= format->levels)
		return refuse(&s->list, i, "flags", r->flags, "the level of a table below a root");
	uint64_t below = mote__pt_page_bytes(format, r->flags + 1) - 1;
	if (r->va & below)
		return refuse(&s->list, i, "va", r->va, "where a table of the level begins");
	if (r->target & below)
		return refuse(&s->list, i, "target", r->target,
			      "where a table of the level begins");
	if (r->count > r->root || (r->count == r->root && r->target >= r->va))
		return mote__fail(s->list.err, MOTE_ESTORE,
				  "record %llu: target is 0x%llx of root %u, which is not listed "
				  "before",
				  (unsigned long long)i, (unsigned long long)r->target, r->count);
	const struct mote__pt_span *span = find_span(s, r->va), *owner = find_span(s, r->target);
	s->last = r->va | below;
	bool is_cut = span && s->last > span->last;
	if (!span || (is_cut && r->target != r->va))
		return refuse(&s->list, i, "va", r->va, "a table inside what is the guest's");
	if (!owner || (!is_cut && (r->target | below) > owner->last))
		return refuse(&s->list, i, "target", r->target,
			      "a table inside what is the guest's");
	return MOTE_OK;
}

/* The first count roots are complete: they get the map of scratch. */
static int close_roots(struct stock *s, uint32_t count)
{
	const struct mote__layout *l = s->list.layout;
	const struct mote__pt_mapping scratch = {.va = l->scratch_gva,
						 .gpa = l->scratch_gpa,
						 .bytes = l->scratch_bytes,
						 .kind = MOTE__PT_MAP,
						 .attributes = {.writable = true}};
	for (; s->closed < count; s->closed++) {
		int rc = mote__pt_map(s->builder, s->roots[s->closed], &scratch);
		if (rc < 0)
			return fail_tables(s->list.err, rc, s->builder);
	}
	return MOTE_OK;
}

static int share_table(struct stock *s, uint64_t i)
{
	const struct mote__record *r = &s->list.records[i];
	const struct mote__pt_range built = mote__pt_built(s->builder);
	const struct mote__pt_space owner = {.format = s->builder->format,
					     .memory = {&built, mote__pt_range_table},
					     .root = s->roots[r->count]};
	uint64_t table;
	int rc = mote__pt_find_table(&owner, r->target, r->flags, &table);
	if (rc == MOTE__PT_NOT_MAPPED)
		return mote__fail(s->list.err, MOTE_ESTORE,
				  "record %llu: target is 0x%llx of root %u: there is no table of "
				  "level %u",
				  (unsigned long long)i, (unsigned long long)r->target, r->count,
				  r->flags);
	if (rc == MOTE__PT_OK)
		rc = mote__pt_share(s->builder, s->roots[r->root], r->va, r->flags + 1, table);
	return rc < 0 ? refuse_tables(&s->list, i, rc, s->builder) : MOTE_OK;
}

static int build_record(struct stock *s, uint64_t i)
{
	const struct mote__record *r = &s->list.records[i];
	bool is_run = r->kind == MOTE__RECORD_RUN;
	if (!is_run && r->kind != MOTE__RECORD_LINK)
		return refuse(&s->list, i, "kind", r->kind, "1 (run) or 2 (link)");
	int rc = check_order(s, i);
	if (rc == MOTE_OK)
		rc = is_run ? check_stock_run(s, i) : check_link(s, i);
	if (rc == MOTE_OK)
		rc = close_roots(s, r->root);
	if (rc < 0)
		return rc;
	return is_run ? map_run(s->builder, s->roots[r->root], &s->list, i, false)
		      : share_table(s, i);
}

int mote__mappings_build_stock(const struct mote__layout *layout,
			       const struct mote__mapped_memory *memory,
			       const struct mote__record *records,
			       const struct mote__mappings_header *header,
			       struct mote__pt_builder *builder, uint64_t *roots,
			       struct mote_error *err)
{
	struct stock s = {.list = {.layout = layout,
				   .memory = memory,
				   .records = records,
				   .count = header->record_count,
				   .err = err},
			  .builder = builder,
			  .roots = roots,
			  .root_count = header->root_count,
			  .is_first = true};
	s.span_count = mote__layout_spans(layout, s.spans);
	for (uint32_t i = 0; i < header->root_count; i++) {
		int rc = mote__pt_add_root(builder, &roots[i]);
		if (rc < 0)
			return fail_tables(err, rc, builder);
	}
	for (uint64_t i = 0; i < header->record_count; i++) {
		int rc = build_record(&s, i);
		if (rc < 0)
			return rc;
	}
	return close_roots(&s, header->root_count);
}
