/* SPDX-License-Identifier: MIT */
/*
 * Saving a snapshot: its layers, its mappings and its symbols are blobs, the rest is the
 * configuration. A layer whose digest is known and which the store has is not touched, so that what
 * a save costs is what the snapshot adds. The index comes last, when everything that it leads to is
 * on the disk.
 */
#include "vm/store.h"

#include <string.h>

#include "base/error.h"
#include "base/math.h"
#include "base/sys.h"
#include "store/facts.h"
#include "store/store.h"
#include "vm/objects.h"

/* Between two looks at whether somebody wants to stop. */
#define CHUNK_BYTES 0x40000u

struct save {
	mote_snapshot *snapshot;
	const struct mote__store *store;
	const struct mote_save_options *options;
	struct mote__manifest manifest;
	struct mote_saved saved;
	uint64_t done, total; /* of memory that may have to be written */
};

/* ---- blobs ----------------------------------------------------------------------------------- */

static void count_blob(struct save *save, const struct mote__blob *blob, bool is_new)
{
	save->saved.blobs++;
	save->saved.bytes += blob->bytes;
	save->saved.blobs_written += is_new;
	save->saved.bytes_written += is_new ? blob->bytes : 0;
}

static int put(struct save *save, const void *data, size_t len, struct mote__blob *blob,
	       struct mote_error *err)
{
	bool is_new = false;
	int rc = mote__blob_put(save->store, data, len, blob, &is_new, err);
	if (rc == MOTE_OK)
		count_blob(save, blob, is_new);
	return rc;
}

static int advance(struct save *save, uint64_t bytes, struct mote_error *err)
{
	const struct mote_save_options *o = save->options;
	save->done += bytes;
	if (o->progress && o->progress(o->cookie, save->done, save->total))
		return mote__fail(err, MOTE_ECANCELED, "saving was ended by the caller");
	return MOTE_OK;
}

/* ---- memory ---------------------------------------------------------------------------------- */

static bool is_known(const struct mote__piece *layer, struct mote__blob *blob)
{
	blob->bytes = layer->bytes;
	return mote__known_get(&layer->object->blob, blob->digest);
}

/* One run of a layer, with or without pages. */
static int write_run(struct save *save, struct mote__blob_writer *writer, const uint8_t *bytes,
		     uint64_t len, bool is_hole, struct mote_error *err)
{
	int rc = MOTE_OK;
	for (uint64_t at = 0, step; at < len && rc == MOTE_OK; at += step) {
		step = mote__smaller(len - at, CHUNK_BYTES);
		rc = is_hole ? mote__blob_write_zeroes(writer, step, err)
			     : mote__blob_write(writer, bytes + at, step, err);
		if (rc == MOTE_OK)
			rc = advance(save, step, err);
	}
	return rc;
}

static int write_layer(struct save *save, const struct mote__piece *layer,
		       struct mote__blob_writer *writer, struct mote_error *err)
{
	struct mote__holes holes = {.object = layer->object};
	uint64_t end = layer->object_offset + layer->bytes;
	int rc = MOTE_OK;
	for (uint64_t at = layer->object_offset, next; at < end && rc == MOTE_OK; at = next) {
		bool is_hole = mote__object_is_hole(&holes, at);
		next = mote__smaller(is_hole ? holes.to : holes.data_to, end);
		rc = write_run(save, writer,
			       save->snapshot->memory + layer->at + (at - layer->object_offset),
			       next - at, is_hole, err);
	}
	return rc;
}

static int save_layer(struct save *save, const struct mote__piece *layer, struct mote__blob *blob,
		      struct mote_error *err)
{
	struct mote__blob_writer writer = {.fd = -1};
	bool is_new = false;
	if (is_known(layer, blob) && mote__blob_is_there(save->store, blob)) {
		count_blob(save, blob, false);
		return MOTE_OK;
	}
	int rc = mote__blob_begin(save->store, &writer, err);
	if (rc == MOTE_OK)
		rc = write_layer(save, layer, &writer, err);
	if (rc == MOTE_OK)
		rc = mote__blob_commit(&writer, blob, &is_new, err);
	mote__blob_abort(&writer);
	if (rc < 0)
		return rc;
	mote__known_set(&layer->object->blob, blob->digest);
	count_blob(save, blob, is_new);
	return MOTE_OK;
}

static int save_memory(struct save *save, struct mote_error *err)
{
	const mote_snapshot *s = save->snapshot;
	struct mote__blob blob;
	for (uint32_t i = 0; i < s->layer_count; i++)
		if (!is_known(&s->layer[i], &blob) || !mote__blob_is_there(save->store, &blob))
			save->total += s->layer[i].bytes;
	int rc = MOTE_OK;
	for (uint32_t i = 0; i < s->layer_count && rc == MOTE_OK; i++)
		rc = save_layer(save, &s->layer[i], &save->manifest.memory[i], err);
	save->manifest.memory_count = s->layer_count;
	return rc;
}

/* ---- mappings and symbols -------------------------------------------------------------------- */

static int save_mappings(struct save *save, struct mote_error *err)
{
	struct mote__records records = {.record = NULL};
	int rc = mote__snapshot_records(save->snapshot, &records, err);
	const struct mote__mappings_header header = {.magic = MOTE__MAPPINGS_MAGIC,
						     .version = MOTE__MAPPINGS_VERSION,
						     .root_count = records.root_count,
						     .record_count = records.count};
	size_t bytes = records.count * sizeof *records.record;
	uint8_t *list = rc == MOTE_OK ? mote__alloc(1, sizeof header + bytes) : NULL;
	if (rc == MOTE_OK && !list)
		rc = mote__fail(err, MOTE_ENOMEM, "out of memory");
	if (rc == MOTE_OK) {
		memcpy(list, &header, sizeof header);
		if (bytes)
			memcpy(list + sizeof header, records.record, bytes);
		rc = put(save, list, sizeof header + bytes, &save->manifest.mappings, err);
	}
	mote__free(list);
	mote__free(records.record);
	return rc;
}

static int write_symbols(struct save *save, struct mote__blob *blob, bool *is_new,
			 struct mote_error *err)
{
	const struct mote__elf_symbols *y = &save->snapshot->image->symbols;
	struct mote__blob_writer writer = {.fd = -1};
	int rc = mote__blob_begin(save->store, &writer, err);
	if (rc == MOTE_OK)
		rc = mote__blob_write(&writer, y->symbols, y->symbols_bytes, err);
	if (rc == MOTE_OK)
		rc = mote__blob_write(&writer, y->strings, y->strings_bytes, err);
	if (rc == MOTE_OK)
		rc = mote__blob_commit(&writer, blob, is_new, err);
	mote__blob_abort(&writer);
	return rc;
}

static int save_symbols(struct save *save, struct mote_error *err)
{
	struct mote__image *image = save->snapshot->image;
	struct mote__blob *blob = &save->manifest.symbols;
	bool is_new = false;
	uint64_t bytes;
	if (!mote__add(image->symbols.symbols_bytes, image->symbols.strings_bytes, &bytes) ||
	    bytes > MOTE__SYMBOLS_BYTES_MAX)
		return mote__fail(
			err, MOTE_ETOOBIG,
			"the image has 0x%llx bytes of symbols, at most 0x%x can be saved: "
			"strip it",
			(unsigned long long)bytes, MOTE__SYMBOLS_BYTES_MAX);
	if (!bytes)
		return MOTE_OK;
	save->manifest.has_symbols = true;
	blob->bytes = bytes;
	int rc = MOTE_OK;
	if (!mote__known_get(&image->symbols_blob, blob->digest) ||
	    !mote__blob_is_there(save->store, blob))
		rc = write_symbols(save, blob, &is_new, err);
	if (rc == MOTE_OK) {
		mote__known_set(&image->symbols_blob, blob->digest);
		count_blob(save, blob, is_new);
	}
	return rc;
}

/* ---- configuration --------------------------------------------------------------------------- */

static void fill_image(struct mote__facts *f, const struct mote__image *image)
{
	f->has_note = image->has_note;
	f->is_position_independent = image->is_position_independent;
	f->baseline = image->baseline;
	memcpy(f->version, image->version, sizeof f->version);
	f->build_id_bytes = image->build_id_bytes;
	memcpy(f->build_id, image->build_id, sizeof f->build_id);
	f->entry_gva = image->entry_gva;
	f->image_dispatch_gva = image->dispatch_gva;
	f->syscall_gva = image->syscall_gva;
	f->exports = image->exports;
	f->imports = image->imports;
	f->symbol_table_bytes = image->symbols.symbols_bytes;
	f->symbol_strings_bytes = image->symbols.strings_bytes;
	f->has_symbols = f->symbol_table_bytes || f->symbol_strings_bytes;
	f->symbol_shift = image->symbol_shift;
	f->allowed_msr_count = image->msr_count;
	memcpy(f->allowed_msrs, image->msrs, image->msr_count * sizeof *image->msrs);
}

static void fill_memory(struct mote__facts *f, const mote_snapshot *s)
{
	f->layer_count = s->layer_count;
	for (uint32_t i = 0; i < s->layer_count; i++) {
		f->layers[i].gpa = s->layer[i].at;
		f->layers[i].bytes = s->layer[i].bytes;
	}
	f->zero_gpa = s->layout.zero_gpa;
	f->write_set_max = s->write_set_max;
	f->write_set_count = atomic_load_explicit(&s->write_set.count, memory_order_acquire);
	for (uint32_t i = 0; i < f->write_set_count; i++)
		f->write_set[i] = s->write_set.member[i].gva;
}

static void fill_start(struct mote__facts *f, const mote_snapshot *s)
{
	f->is_ready = s->is_ready;
	f->generation = s->generation;
	if (!s->is_ready)
		return;
	f->dispatch_gva = s->dispatch_gva;
	f->dispatch_rsp = s->dispatch_rsp;
	f->special = s->special;
	f->msrs = s->msrs;
	f->host_functions = s->functions->functions;
	f->has_seen = true;
	f->seen = s->seen;
}

/* Borrows from the snapshot all but the write set. */
static int gather(const mote_snapshot *s, struct mote__facts *f, struct mote_error *err)
{
	f->layout = s->layout.config;
	mote__layout_image_again(&s->layout, &f->image);
	f->write_set = mote__alloc(s->write_set.max ? s->write_set.max : 1, sizeof *f->write_set);
	if (!f->write_set)
		return mote__fail(err, MOTE_ENOMEM, "out of memory");
	fill_image(f, s->image);
	fill_memory(f, s);
	fill_start(f, s);
	f->metadata_count = s->metadata_count;
	for (uint32_t i = 0; i < s->metadata_count; i++) {
		f->metadata[i].name = s->metadata[i].name;
		f->metadata[i].json = s->metadata[i].json;
	}
	return MOTE_OK;
}

static int save_config(struct save *save, struct mote_error *err)
{
	struct mote__facts *facts = mote__alloc(1, sizeof *facts);
	char *text = NULL;
	size_t len = 0;
	if (!facts)
		return mote__fail(err, MOTE_ENOMEM, "out of memory");
	int rc = gather(save->snapshot, facts, err);
	if (rc == MOTE_OK)
		rc = mote__config_write(facts, &text, &len, err);
	if (rc == MOTE_OK)
		rc = put(save, text, len, &save->manifest.config, err);
	mote__free(text);
	mote__free(facts->write_set);
	mote__free(facts);
	return rc;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static int publish(struct save *save, struct mote_error *err)
{
	struct mote__blob manifest;
	char *text = NULL;
	size_t len = 0;
	int rc = mote__manifest_write(&save->manifest, &text, &len, err);
	if (rc == MOTE_OK)
		rc = put(save, text, len, &manifest, err);
	mote__free(text);
	if (rc == MOTE_OK)
		rc = mote__store_sync(save->store, err);
	if (rc == MOTE_OK)
		rc = mote__index_set(save->store, &manifest, save->options->tag, err);
	if (rc == MOTE_OK)
		mote__reference_print(manifest.digest, save->saved.digest);
	return rc;
}

static int save_to(struct save *save, struct mote_error *err)
{
	int rc = save_memory(save, err);
	if (rc == MOTE_OK)
		rc = save_mappings(save, err);
	if (rc == MOTE_OK)
		rc = save_symbols(save, err);
	if (rc == MOTE_OK)
		rc = save_config(save, err);
	return rc == MOTE_OK ? publish(save, err) : rc;
}

/* A guest that owns ring 0 may have put its machine into a state that no load accepts. */
static int check_registers(const mote_snapshot *s, struct mote_error *err)
{
	if (s->layout.is_confined || !s->is_ready)
		return MOTE_OK;
	int rc = mote__special_check(&s->special, s->layout.family->bits, err);
	if (rc < 0 && err)
		err->code = MOTE_ESNAPSHOT;
	return rc < 0 ? MOTE_ESNAPSHOT : MOTE_OK;
}

static int check(const mote_snapshot *snapshot, const char *directory,
		 const struct mote_save_options *options, struct mote_save_options *o,
		 struct mote_error *err)
{
	if (!snapshot || !directory)
		return mote__fail(err, MOTE_EINVAL, "%s is NULL",
				  snapshot ? "directory" : "snapshot");
	int rc = mote__snapshot_check(snapshot, err);
	if (rc == MOTE_OK)
		rc = check_registers(snapshot, err);
	if (rc == MOTE_OK && options) {
		rc = mote__options_check("mote_save_options", options, options->size, sizeof *o,
					 sizeof *o, err);
		if (rc == MOTE_OK)
			*o = *options;
	}
	if (rc == MOTE_OK && o->tag)
		rc = mote__tag_check(o->tag, err);
	return rc;
}

int mote_snapshot_save(mote_snapshot *snapshot, const char *directory,
		       const struct mote_save_options *options, struct mote_saved *saved,
		       struct mote_error *err)
{
	struct mote_save_options o = {0};
	struct mote__store store = MOTE__STORE_CLOSED;
	int rc = check(snapshot, directory, options, &o, err);
	if (rc == MOTE_OK)
		rc = mote__store_open(directory, MOTE__STORE_CREATE, &store, err);
	if (rc < 0)
		return rc;
	struct save save = {.snapshot = snapshot, .store = &store, .options = &o};
	rc = save_to(&save, err);
	mote__store_close(&store);
	if (rc == MOTE_OK && saved)
		*saved = save.saved;
	return rc;
}
