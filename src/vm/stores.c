/* SPDX-License-Identifier: MIT */
/* The public functions that read or tend stores; saving is in save.c. */
#include "vm/store.h"

#include <string.h>

#include "base/error.h"
#include "base/math.h"
#include "base/sys.h"

/* ---- load ------------------------------------------------------------------------------------ */

static int check_load(const char *directory, mote_snapshot **snapshot,
		      const struct mote_load_options *options, struct mote_load_options *o,
		      struct mote_error *err)
{
	if (!directory || !snapshot)
		return mote__fail(err, MOTE_EINVAL, "%s is NULL",
				  directory ? "snapshot" : "directory");
	int rc = MOTE_OK;
	if (options) {
		rc = mote__options_check("mote_load_options", options, options->size, sizeof *o,
					 sizeof *o, err);
		if (rc < 0)
			return rc;
		*o = *options;
	}
	rc = mote__reserved_check("mote_load_options", o->reserved, sizeof o->reserved, err);
	if (rc == MOTE_OK)
		rc = mote__reserved_check("mote_load_options", &o->reserved2, sizeof o->reserved2,
					  err);
	if (rc < 0)
		return rc;
	if (o->msr_count && !o->msrs)
		return mote__fail(err, MOTE_EINVAL, "msrs is NULL, msr_count is %u", o->msr_count);
	if (o->share_count && !o->share)
		return mote__fail(err, MOTE_EINVAL, "share is NULL, share_count is %u",
				  o->share_count);
	for (uint32_t i = 0; i < o->share_count && rc == MOTE_OK; i++)
		rc = o->share[i] ? mote__snapshot_check(o->share[i], err)
				 : mote__fail(err, MOTE_EINVAL, "share[%u] is NULL", i);
	return rc;
}

/* load is large: it lives on the heap. Without snapshot, nothing is kept. */
static int load_one(const struct mote__store *store, const struct mote__blob *manifest,
		    const struct mote_load_options *options, bool is_check, uint64_t *bytes,
		    mote_snapshot **snapshot, struct mote_error *err)
{
	struct mote__load *load = mote__alloc(1, sizeof *load);
	if (!load)
		return mote__fail(err, MOTE_ENOMEM, "out of memory");
	load->store = store;
	load->options = options;
	load->is_check = is_check;
	load->done = *bytes;
	int rc = mote__load_manifest(load, manifest, err);
	*bytes = load->done;
	if (rc == MOTE_OK && snapshot) {
		*snapshot = load->snapshot;
		load->snapshot = NULL;
	}
	mote__load_end(load);
	mote__free(load);
	return rc;
}

int mote_snapshot_load(const char *directory, const char *reference,
		       const struct mote_load_options *options, mote_snapshot **snapshot,
		       struct mote_error *err)
{
	struct mote_load_options o = {0};
	struct mote__store store = MOTE__STORE_CLOSED;
	struct mote__blob manifest;
	uint64_t bytes = 0;
	int rc = check_load(directory, snapshot, options, &o, err);
	if (rc == MOTE_OK)
		rc = mote__store_open(directory, MOTE__STORE_READ, &store, err);
	if (rc < 0)
		return rc;
	if (o.trust_memory_without_verifying)
		rc = mote__store_check_trust(&store, err);
	if (rc == MOTE_OK)
		rc = mote__index_find(&store, reference ? reference : "latest", &manifest, err);
	if (rc == MOTE_OK)
		rc = load_one(&store, &manifest, &o, false, &bytes, snapshot, err);
	mote__store_close(&store);
	return rc;
}

/* ---- verify ---------------------------------------------------------------------------------- */

struct verify {
	const struct mote__store *store;
	struct mote_load_options options;
	uint64_t bytes;
};

/* The first entry of a snapshot with the manifest of number i, or i. */
static uint32_t find_first(const struct mote__index_entry *entries, uint32_t i)
{
	for (uint32_t j = 0; j < i; j++)
		if (entries[j].is_snapshot && memcmp(&entries[j].manifest, &entries[i].manifest,
						     sizeof entries[i].manifest) == 0)
			return j;
	return i;
}

/* Among many snapshots, the damaged one has its name said. */
static int verify_entry(struct verify *v, const struct mote__index_entry *entry,
			struct mote_error *err)
{
	char digest[MOTE_REFERENCE_BYTES];
	mote__reference_print(entry->manifest.digest, digest);
	int rc = load_one(v->store, &entry->manifest, &v->options, true, &v->bytes, NULL, err);
	return mote__load_name(err, rc, entry->tag[0] ? entry->tag : digest);
}

static int verify_all(struct verify *v, struct mote_error *err)
{
	struct mote__index_entry *entries = NULL;
	uint32_t count = 0;
	int rc = mote__index_read(v->store, &entries, &count, err);
	for (uint32_t i = 0; i < count && rc == MOTE_OK; i++)
		if (entries[i].is_snapshot && find_first(entries, i) == i)
			rc = verify_entry(v, &entries[i], err);
	mote__free(entries);
	return rc;
}

int mote_store_verify(const char *directory, const char *reference, mote_progress_callback progress,
		      void *cookie, uint64_t *bytes, struct mote_error *err)
{
	struct mote__store store = MOTE__STORE_CLOSED;
	struct mote__blob manifest;
	if (!directory)
		return mote__fail(err, MOTE_EINVAL, "directory is NULL");
	int rc = mote__store_open(directory, MOTE__STORE_READ, &store, err);
	if (rc < 0)
		return rc;
	struct verify v = {.store = &store, .options = {.progress = progress, .cookie = cookie}};
	if (!reference) {
		rc = verify_all(&v, err);
	} else {
		rc = mote__index_find(&store, reference, &manifest, err);
		if (rc == MOTE_OK)
			rc = load_one(&store, &manifest, &v.options, true, &v.bytes, NULL, err);
	}
	mote__store_close(&store);
	if (rc == MOTE_OK && bytes)
		*bytes = v.bytes;
	return rc;
}

/* ---- create, list, tag, remove, collect
 * -------------------------------------------------------------- */

int mote_store_create(const char *directory, struct mote_error *err)
{
	struct mote__store store = MOTE__STORE_CLOSED;
	if (!directory)
		return mote__fail(err, MOTE_EINVAL, "directory is NULL");
	int rc = mote__store_open(directory, MOTE__STORE_CREATE, &store, err);
	if (rc == MOTE_OK)
		mote__store_close(&store);
	return rc;
}

static int read_parts(const struct mote__store *store, const struct mote__blob *manifest,
		      struct mote__manifest *parts, struct mote_error *err)
{
	uint8_t *text = NULL;
	int rc = mote__blob_read(store, manifest, "manifest", MOTE__MANIFEST_BYTES_MAX, &text, err);
	if (rc == MOTE_OK)
		rc = mote__manifest_read((const char *)text, manifest->bytes, "manifest", parts,
					 err);
	mote__free(text);
	return rc;
}

/* The sum of a snapshot's blobs, or zeroes when its manifest cannot be read: a list is there for
 * damaged stores, too. */
static int measure(const struct mote__store *store, const struct mote__blob *manifest,
		   struct mote_store_entry *entry)
{
	struct mote__manifest parts = {.memory_count = 0};
	int rc = read_parts(store, manifest, &parts, NULL);
	if (rc == MOTE_OK)
		mote__manifest_sum(&parts, manifest->bytes, &entry->bytes, &entry->blobs);
	return rc == MOTE_ENOMEM ? rc : MOTE_OK;
}

/* What the entries before number i say of the same manifest need not be read again. */
static int fill_entry(const struct mote__store *store, const struct mote__index_entry *entries,
		      struct mote_store_entry *all, uint32_t i)
{
	struct mote_store_entry *entry = &all[i];
	*entry = (struct mote_store_entry){.tag = entries[i].tag[0] ? entries[i].tag : NULL,
					   .is_snapshot = entries[i].is_snapshot};
	if (!entry->is_snapshot)
		return MOTE_OK;
	uint32_t first = find_first(entries, i);
	if (first == i)
		return measure(store, &entries[i].manifest, entry);
	entry->bytes = all[first].bytes;
	entry->blobs = all[first].blobs;
	return MOTE_OK;
}

static int list(const struct mote__store *store, mote_store_callback callback, void *cookie,
		struct mote_error *err)
{
	struct mote__index_entry *entries = NULL;
	char digest[MOTE_REFERENCE_BYTES];
	uint32_t count = 0;
	bool is_over = false;
	int rc = mote__index_read(store, &entries, &count, err);
	if (rc < 0)
		return rc;
	struct mote_store_entry *all = mote__alloc(count ? count : 1, sizeof *all);
	if (!all)
		rc = mote__fail(err, MOTE_ENOMEM, "out of memory");
	for (uint32_t i = 0; i < count && rc == MOTE_OK && !is_over; i++) {
		if (fill_entry(store, entries, all, i) < 0) {
			rc = mote__fail(err, MOTE_ENOMEM, "out of memory");
			break;
		}
		mote__reference_print(entries[i].manifest.digest, digest);
		all[i].digest = digest;
		is_over = callback(cookie, &all[i]) != 0;
	}
	mote__free(all);
	mote__free(entries);
	return rc;
}

int mote_store_list(const char *directory, mote_store_callback callback, void *cookie,
		    struct mote_error *err)
{
	struct mote__store store = MOTE__STORE_CLOSED;
	if (!directory || !callback)
		return mote__fail(err, MOTE_EINVAL, "%s is NULL",
				  directory ? "callback" : "directory");
	int rc = mote__store_open(directory, MOTE__STORE_READ, &store, err);
	if (rc < 0)
		return rc;
	rc = list(&store, callback, cookie, err);
	mote__store_close(&store);
	return rc;
}

/* Who brought the blobs may not have waited for the disk. */
static int sync_blobs(const struct mote__store *store, const struct mote__blob *manifest,
		      struct mote_error *err)
{
	struct mote__manifest parts = {.memory_count = 0};
	int rc = read_parts(store, manifest, &parts, err);
	if (rc == MOTE_OK)
		rc = mote__blob_sync(store, manifest, "manifest", err);
	if (rc == MOTE_OK)
		rc = mote__blob_sync(store, &parts.config, "config", err);
	if (rc == MOTE_OK)
		rc = mote__blob_sync(store, &parts.mappings, "mappings", err);
	if (rc == MOTE_OK && parts.has_symbols)
		rc = mote__blob_sync(store, &parts.symbols, "symbols", err);
	for (uint32_t i = 0; i < parts.memory_count && rc == MOTE_OK; i++)
		rc = mote__blob_sync(store, &parts.memory[i], "memory layer", err);
	return rc == MOTE_OK ? mote__store_sync(store, err) : rc;
}

/* A digest that is not listed: its blobs may be there, or not all of them, or damaged. */
static int adopt(const struct mote__store *store, const char *reference,
		 struct mote__blob *manifest, struct mote_error *err)
{
	const struct mote_load_options none = {0};
	uint64_t bytes = 0;
	if (!mote__reference_parse(reference, manifest->digest))
		return mote__fail(err, MOTE_ENOTFOUND, "%s: there is no %s", store->directory,
				  reference);
	int rc = mote__blob_find(store, manifest, err);
	if (rc == MOTE_OK)
		rc = load_one(store, manifest, &none, true, &bytes, NULL, err);
	return rc == MOTE_OK ? sync_blobs(store, manifest, err) : rc;
}

int mote_store_tag(const char *directory, const char *reference, const char *tag,
		   struct mote_error *err)
{
	struct mote__store store = MOTE__STORE_CLOSED;
	struct mote__blob manifest;
	struct mote_error missing; /* no error of ours if the blobs are there */
	if (!directory || !reference)
		return mote__fail(err, MOTE_EINVAL, "%s is NULL",
				  directory ? "reference" : "directory");
	int rc = tag ? mote__tag_check(tag, err) : MOTE_OK;
	if (rc == MOTE_OK)
		rc = mote__store_open(directory, MOTE__STORE_WRITE, &store, err);
	if (rc < 0)
		return rc;
	rc = mote__index_find(&store, reference, &manifest, &missing);
	if (rc == MOTE_ENOTFOUND)
		rc = adopt(&store, reference, &manifest, err);
	else if (rc < 0 && err)
		*err = missing;
	if (rc == MOTE_OK)
		rc = mote__index_set(&store, &manifest, tag, err);
	mote__store_close(&store);
	return rc;
}

int mote_store_remove(const char *directory, const char *reference, struct mote_error *err)
{
	struct mote__store store = MOTE__STORE_CLOSED;
	if (!directory || !reference)
		return mote__fail(err, MOTE_EINVAL, "%s is NULL",
				  directory ? "reference" : "directory");
	int rc = mote__store_open(directory, MOTE__STORE_WRITE, &store, err);
	if (rc < 0)
		return rc;
	rc = mote__index_remove(&store, reference, err);
	mote__store_close(&store);
	return rc;
}

int mote_store_collect(const char *directory, struct mote_store_collected *collected,
		       struct mote_error *err)
{
	struct mote__store store = MOTE__STORE_CLOSED;
	struct mote_store_collected found = {0};
	if (!directory)
		return mote__fail(err, MOTE_EINVAL, "directory is NULL");
	int rc = mote__store_open(directory, MOTE__STORE_COLLECT, &store, err);
	if (rc < 0)
		return rc;
	rc = mote__collect(&store, &found, err);
	mote__store_close(&store);
	if (rc == MOTE_OK && collected)
		*collected = found;
	return rc;
}
