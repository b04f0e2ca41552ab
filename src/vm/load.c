/* SPDX-License-Identifier: MIT */
/*
 * Loading a snapshot: manifest, configuration, memory, mappings, in this order; each is verified
 * before the next is looked at. Memory is copied into sealed objects while it is hashed, so that
 * nobody can change what was verified; page tables are built anew. What the parts say of each other
 * is checked here and in load_facts.c.
 */
#include "vm/store.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/math.h"
#include "base/sys.h"
#include "base/sys_file.h"
#include "core/mappings.h"
#include "vm/take.h"

#define PAGE ((uint64_t)MOTE_PAGE_BYTES)

int mote__load_advance(struct mote__load *load, uint64_t bytes, struct mote_error *err)
{
	const struct mote_load_options *o = load->options;
	load->done += bytes;
	if (o->progress && o->progress(o->cookie, load->done, load->total))
		return mote__fail(err, MOTE_ECANCELED, "loading was ended by the caller");
	return MOTE_OK;
}

int mote__load_name(struct mote_error *err, int rc, const char *what)
{
	char message[MOTE_ERROR_MESSAGE_BYTES];
	if (rc != MOTE_ESTORE || !err)
		return rc;
	memcpy(message, err->message, sizeof message);
	return mote__fail(err, MOTE_ESTORE, "%s: %s", what, message);
}

/* ---- manifest and configuration -------------------------------------------------------------- */

static int read_manifest(struct mote__load *load, const struct mote__blob *blob,
			 struct mote_error *err)
{
	char what[16 + MOTE_REFERENCE_BYTES] = "manifest ";
	mote__reference_print(blob->digest, what + strlen(what));
	uint8_t *text = NULL;
	uint64_t sum;
	uint32_t blobs;
	int rc = mote__blob_read(load->store, blob, "manifest", MOTE__MANIFEST_BYTES_MAX, &text,
				 err);
	if (rc == MOTE_OK)
		rc = mote__manifest_read((const char *)text, blob->bytes, what, &load->manifest,
					 err);
	mote__free(text);
	if (rc < 0)
		return rc;
	mote__manifest_sum(&load->manifest, blob->bytes, &sum, &blobs);
	load->total = load->done + sum;
	uint64_t most =
		load->options->bytes_max ? load->options->bytes_max : MOTE_DEFAULT_LOAD_BYTES;
	if (!load->is_check && sum > most)
		return mote__fail(err, MOTE_ETOOBIG,
				  "%s: its blobs are 0x%llx bytes, bytes_max is 0x%llx", what,
				  (unsigned long long)sum, (unsigned long long)most);
	return mote__load_advance(load, blob->bytes, err);
}

static int read_config(struct mote__load *load, struct mote_error *err)
{
	const struct mote__blob *blob = &load->manifest.config;
	char what[16 + MOTE_REFERENCE_BYTES] = "config ";
	mote__reference_print(blob->digest, what + strlen(what));
	uint8_t *text = NULL;
	int rc = mote__blob_read(load->store, blob, "config", MOTE__CONFIG_BYTES_MAX, &text, err);
	if (rc == MOTE_OK)
		rc = mote__config_read((const char *)text, blob->bytes, what, &load->facts, err);
	mote__free(text);
	return rc < 0 ? rc : mote__load_advance(load, blob->bytes, err);
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* A layer in the making. */
struct filling {
	struct mote__load *load;
	int fd;          /* of its object; -1: nothing is kept */
	uint64_t offset; /* of its first byte there */
};

static bool is_zero(const uint8_t *bytes, size_t len)
{
	bool is_page = len == PAGE && (uintptr_t)bytes % sizeof(uint64_t) == 0;
	return is_page && mote__is_zero(bytes, PAGE);
}

/* Pages of zeroes stay holes. Written by a system call: a mapping would cost a fault for each page.
 */
static int fill_layer(void *cookie, uint64_t offset, const void *data, size_t len,
		      struct mote_error *err)
{
	struct filling *f = cookie;
	const uint8_t *bytes = data;
	for (size_t at = 0, next; f->fd >= 0 && bytes && at < len; at = next) {
		size_t page = mote__smaller(PAGE - (offset + at) % PAGE, len - at);
		bool skips = is_zero(bytes + at, page);
		for (next = at + page; next < len; next += page) {
			page = mote__smaller(PAGE, len - next);
			if (is_zero(bytes + next, page) != skips)
				break;
		}
		int rc = skips ? 0
			       : mote__file_write(f->fd, f->offset + offset + at, bytes + at,
						  next - at);
		if (rc < 0)
			return mote__object_fail(err, rc, "guest memory", len);
	}
	return mote__load_advance(f->load, len, err);
}

static int copy_layer(struct mote__load *load, int fd, const struct mote__blob *blob,
		      const char *what, struct mote__piece *layer, struct mote_error *err)
{
	struct mote__object *object = NULL;
	uint64_t bytes = layer->object_offset + layer->bytes;
	int rc = mote__object_create("mote-snapshot", bytes, &object, err);
	if (rc < 0)
		return rc;
	struct filling f = {load, object->fd, layer->object_offset};
	rc = mote__blob_stream(fd, blob, what, fill_layer, &f, err);
	if (rc == MOTE_OK)
		rc = mote__object_seal(object, err);
	if (rc < 0) {
		mote__object_unref(object);
		return rc;
	}
	layer->object = object;
	return MOTE_OK;
}

/* The file itself: of a store that is trusted, or to be looked at and not touched. */
static int map_layer(struct mote__load *load, int *fd, const struct mote__blob *blob,
		     const char *what, struct mote__piece *layer, struct mote_error *err)
{
	struct filling f = {.load = load, .fd = -1};
	int rc = load->is_check ? mote__blob_stream(*fd, blob, what, fill_layer, &f, err)
				: mote__load_advance(load, blob->bytes, err);
	if (rc < 0)
		return rc;
	layer->object_offset = 0;
	int file = *fd;
	*fd = -1;
	return mote__object_of_file(file, layer->bytes, &layer->object, err);
}

/* A file that was trusted is what it claims to be only for who trusts it as well. */
static bool share_layer(const struct mote__load *load, const struct mote__blob *blob,
			struct mote__piece *layer)
{
	const struct mote_load_options *o = load->options;
	uint8_t digest[MOTE_DIGEST_BYTES];
	for (uint32_t i = 0; i < o->share_count; i++) {
		const mote_snapshot *s = o->share[i];
		for (uint32_t j = 0; j < s->layer_count; j++) {
			const struct mote__piece *have = &s->layer[j];
			if (have->bytes != layer->bytes ||
			    (have->object->is_file && !o->trust_memory_without_verifying) ||
			    !mote__known_get(&have->object->blob, digest) ||
			    memcmp(digest, blob->digest, sizeof digest) != 0)
				continue;
			layer->object = mote__object_ref(have->object);
			layer->object_offset = have->object_offset;
			return true;
		}
	}
	return false;
}

static int load_layer(struct mote__load *load, uint32_t number, struct mote__piece *layer,
		      struct mote_error *err)
{
	const struct mote__blob *blob = &load->manifest.memory[number];
	bool is_trusted = load->options->trust_memory_without_verifying;
	char what[32];
	int fd = -1;
	(void)snprintf(what, sizeof what, "memory layer %u", number);
	if (!load->is_check && share_layer(load, blob, layer))
		return mote__load_advance(load, blob->bytes, err);
	int rc = mote__blob_open(load->store, blob, what, is_trusted, &fd, err);
	if (rc < 0)
		return rc;
	rc = is_trusted || load->is_check ? map_layer(load, &fd, blob, what, layer, err)
					  : copy_layer(load, fd, blob, what, layer, err);
	mote__sys_close(fd);
	if (rc == MOTE_OK)
		mote__known_set(&layer->object->blob, blob->digest);
	return rc;
}

static int load_memory(struct mote__load *load, struct mote_error *err)
{
	const struct mote__facts *f = &load->facts;
	mote_snapshot *s = load->snapshot;
	int rc = MOTE_OK;
	for (uint32_t i = 0; i < f->layer_count && rc == MOTE_OK; i++) {
		struct mote__piece *layer = &s->layer[i];
		*layer = (struct mote__piece){.object_offset = f->layers[i].gpa % MOTE__LARGE_BYTES,
					      .at = f->layers[i].gpa,
					      .bytes = f->layers[i].bytes};
		rc = load_layer(load, i, layer, err);
		s->layer_count += rc == MOTE_OK;
	}
	return rc;
}

/* The page that stands for all zeroes must be zero. Read through the descriptor: a file that
 * somebody cuts is an error then, and no signal. */
static int check_zero_page(const struct mote__load *load, struct mote_error *err)
{
	_Alignas(uint64_t) uint8_t page[MOTE_PAGE_BYTES];
	const mote_snapshot *s = load->snapshot;
	uint64_t gpa = s->layout.zero_gpa;
	for (uint32_t i = 0; gpa && i < s->layer_count; i++) {
		const struct mote__piece *layer = &s->layer[i];
		if (gpa - layer->at >= layer->bytes)
			continue;
		size_t got = 0;
		int rc =
			mote__file_read(layer->object->fd, layer->object_offset + (gpa - layer->at),
					page, sizeof page, &got);
		if (rc < 0)
			return mote__fail_system(err, MOTE_ESYSTEM, -rc, "reading memory layer %u",
						 i);
		if (got != sizeof page || !mote__is_zero(page, sizeof page))
			return mote__fail(err, MOTE_ESTORE,
					  "config: zeroPage is 0x%llx, where memory is not zero",
					  (unsigned long long)gpa);
	}
	return MOTE_OK;
}

/* ---- mappings -------------------------------------------------------------------------------- */

struct list {
	uint8_t *bytes;
	struct mote__mappings_header header;
	const struct mote__record *records;
};

static struct mote__mapped_memory memory_of(const mote_snapshot *s)
{
	const struct mote__piece *last = &s->layer[s->layer_count - 1];
	return (struct mote__mapped_memory){.first_gpa = s->layout.family->base_gpa,
					    .end_gpa = last->at + last->bytes,
					    .zero_gpa = s->layout.zero_gpa};
}

static int read_mappings(struct mote__load *load, struct list *list, struct mote_error *err)
{
	const struct mote__blob *blob = &load->manifest.mappings;
	const uint64_t most = sizeof list->header + MOTE__RECORDS_MAX * sizeof *list->records;
	int rc = mote__blob_read(load->store, blob, "mappings", most, &list->bytes, err);
	if (rc == MOTE_OK)
		rc = mote__load_name(err,
				     mote__mappings_parse(list->bytes, blob->bytes, &list->header,
							  &list->records, err),
				     "mappings");
	return rc < 0 ? rc : mote__load_advance(load, blob->bytes, err);
}

/* Bytes of tables that are going to be written: each page that the list maps has an entry, but for
 * those that may be under large leaves. */
static uint64_t entries_of(const struct mote__layout *l, const struct list *list)
{
	uint64_t pages = 0;
	for (uint64_t i = 0; i < list->header.record_count; i++)
		if (!l->has_large || list->records[i].flags & MOTE__RECORD_COW)
			pages += list->records[i].count;
	uint64_t bytes = mote__round_down(pages * l->family->format->entry_bytes, PAGE);
	return mote__smaller(bytes, l->tables_bytes);
}

static int build_confined(mote_snapshot *s, const struct list *list, struct mote_error *err)
{
	const struct mote__layout *l = &s->layout;
	const struct mote__mapped_memory memory = memory_of(s);
	struct mote__object *tables = NULL;
	void *at = NULL;
	int rc = mote__object_create("mote-tables", l->tables_bytes, &tables, err);
	if (rc < 0)
		return rc;
	struct mote__piece *extent = &s->extent[s->extent_count++];
	*extent = (struct mote__piece){.object = tables};
	rc = mote__sys_map(MOTE__MAP_SHARED, tables->fd, l->tables_bytes, &at);
	if (rc < 0)
		return mote__object_fail(err, rc, "mapping page tables", l->tables_bytes);
	mote__sys_populate(at, entries_of(l, list));
	rc = mote__mappings_build_confined(l, &memory, list->records, &list->header, at,
					   &extent->bytes, err);
	mote__sys_unmap(at, l->tables_bytes);
	return rc < 0 ? rc : mote__object_seal(tables, err);
}

/* The tables are the first thing in scratch; what remains is the guest's. */
static int keep_stock(mote_snapshot *s, const struct mote__pt_builder *builder,
		      struct mote_error *err)
{
	struct mote__object *tables = NULL;
	int rc = mote__take_tables(builder->bytes, builder->used, &tables, err);
	if (rc < 0)
		return rc;
	s->extent[s->extent_count++] = (struct mote__piece){tables, 0, 0, builder->used};
	mote__take_set_tables(&s->layout, builder->used);
	return MOTE_OK;
}

static int build_stock(mote_snapshot *s, const struct list *list, struct mote_error *err)
{
	const struct mote__layout *l = &s->layout;
	const struct mote__mapped_memory memory = memory_of(s);
	struct mote__pt_builder builder = {.bytes = NULL};
	uint64_t bytes = mote__take_tables_max(l);
	void *at = NULL;
	s->roots = mote__alloc(list->header.root_count, sizeof *s->roots);
	if (!s->roots)
		return mote__fail(err, MOTE_ENOMEM, "out of memory");
	int rc = mote__sys_map(MOTE__MAP_SCRATCH, -1, bytes, &at);
	if (rc < 0)
		return mote__object_fail(err, rc, "page tables", bytes);
	rc = mote__pt_builder_init(&builder, l->family->format, at,
				   l->scratch_gpa + l->tables_offset, bytes);
	if (rc < 0)
		rc = mote__fail(err, MOTE_ESTORE, "the tables: %s", mote__pt_describe(rc));
	builder.is_zeroed = true;
	builder.user_tables = true;
	if (rc == MOTE_OK)
		rc = mote__mappings_build_stock(l, &memory, list->records, &list->header, &builder,
						s->roots, err);
	if (rc == MOTE_OK)
		rc = keep_stock(s, &builder, err);
	mote__sys_unmap(at, bytes);
	s->root_count = list->header.root_count;
	return rc;
}

/* Set count bits from number first on, whole words at a time. */
static void set_bits(uint64_t *bits, uint64_t first, uint64_t count)
{
	for (uint64_t i = first, end = first + count, n; i < end; i += n) {
		n = mote__smaller(64 - i % 64, end - i);
		bits[i / 64] |= (n == 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1) << i % 64;
	}
}

/* Pages of the layers that hold something and that no record names: hidden by later ones. */
static int count_dead(mote_snapshot *s, const struct list *list, struct mote_error *err)
{
	uint64_t base = s->layout.family->base_gpa, pages = (s->memory_end - base) / PAGE;
	struct mote__holes holes = {.object = NULL};
	uint64_t *alive = mote__alloc(pages / 64 + 1, sizeof *alive);
	if (!alive)
		return mote__fail(err, MOTE_ENOMEM, "out of memory");
	if (s->layout.zero_gpa)
		set_bits(alive, (s->layout.zero_gpa - base) / PAGE, 1);
	for (uint64_t i = 0; i < list->header.record_count; i++) {
		const struct mote__record *r = &list->records[i];
		if (r->kind == MOTE__RECORD_RUN && r->target)
			set_bits(alive, (r->target - base) / PAGE, r->count);
	}
	for (uint64_t i = 0, step; i < pages; i += step) {
		step = alive[i / 64] == UINT64_MAX ? 64 - i % 64 : 1;
		bool is_alive = alive[i / 64] >> i % 64 & 1;
		if (!is_alive && !mote__snapshot_is_hole(s, &holes, base + i * PAGE))
			s->dead_bytes += PAGE;
	}
	mote__free(alive);
	return MOTE_OK;
}

static int load_mappings(struct mote__load *load, struct mote_error *err)
{
	mote_snapshot *s = load->snapshot;
	struct list list = {.bytes = NULL};
	int rc = read_mappings(load, &list, err);
	if (rc == MOTE_OK)
		rc = mote__load_name(err,
				     s->layout.is_confined ? build_confined(s, &list, err)
							   : build_stock(s, &list, err),
				     "mappings");
	if (rc == MOTE_OK)
		rc = mote__snapshot_map(s, err);
	if (rc == MOTE_OK)
		rc = count_dead(s, &list, err);
	mote__free(list.bytes);
	return rc;
}

/* ---- symbols --------------------------------------------------------------------------------- */

/* len bytes of a blob (NULL: there is none) from offset on. */
static uint8_t *copy(const uint8_t *blob, uint64_t offset, uint64_t len)
{
	uint8_t *memory = mote__alloc(len ? len : 1, 1);
	if (memory && blob && len)
		memcpy(memory, blob + offset, len);
	return memory;
}

static int load_symbols(struct mote__load *load, struct mote_error *err)
{
	const struct mote__facts *f = &load->facts;
	struct mote__image *image = load->snapshot->image;
	uint8_t *bytes = NULL;
	int rc = MOTE_OK;
	if (f->has_symbols)
		rc = mote__blob_read(load->store, &load->manifest.symbols, "symbols",
				     MOTE__SYMBOLS_BYTES_MAX, &bytes, err);
	if (rc < 0)
		return rc;
	uint64_t table = f->has_symbols ? f->symbol_table_bytes : 0;
	uint64_t strings = f->has_symbols ? f->symbol_strings_bytes : 0;
	image->symbols = (struct mote__elf_symbols){.symbols = copy(bytes, 0, table),
						    .symbols_bytes = table,
						    .strings = copy(bytes, table, strings),
						    .strings_bytes = strings,
						    .bits = image->bits};
	mote__free(bytes);
	if (!image->symbols.symbols || !image->symbols.strings)
		return mote__fail(err, MOTE_ENOMEM, "out of memory");
	if (!f->has_symbols)
		return MOTE_OK;
	mote__known_set(&image->symbols_blob, load->manifest.symbols.digest);
	return mote__load_advance(load, load->manifest.symbols.bytes, err);
}

/* ---- the whole ------------------------------------------------------------------------------- */

int mote__load_manifest(struct mote__load *load, const struct mote__blob *manifest,
			struct mote_error *err)
{
	int rc = read_manifest(load, manifest, err);
	if (rc == MOTE_OK)
		rc = read_config(load, err);
	if (rc == MOTE_OK)
		rc = mote__load_facts(load, err);
	if (rc == MOTE_OK)
		rc = load_symbols(load, err);
	if (rc == MOTE_OK)
		rc = load_memory(load, err);
	if (rc == MOTE_OK)
		rc = check_zero_page(load, err);
	if (rc == MOTE_OK)
		rc = load_mappings(load, err);
	if (rc == MOTE_OK)
		rc = mote__load_start(load, err);
	return rc;
}

void mote__load_end(struct mote__load *load)
{
	mote__facts_free(&load->facts);
	mote_snapshot_unref(load->snapshot);
	load->snapshot = NULL;
}
