/* SPDX-License-Identifier: MIT */
/*
 * Reading index.json, which lists manifests and their tags. An entry has one tag or none, so a
 * manifest of two tags is listed twice. What other programs wrote is read as far as it matters:
 * media type, digest, size and tag of every entry must be sound, whatever it is of.
 */
#include "store/index.h"

#include "base/error.h"
#include "base/sys.h"
#include "store/file.h"

#include <string.h>

#define MEDIA_INDEX "application/vnd.oci.image.index.v1+json"

static const char empty[] = "{\"manifests\":[],\"schemaVersion\":2}";

/* The text of the index. */
static int read_text(const struct mote__store *store, char **text, size_t *len,
		     struct mote_error *err)
{
	struct mote_error missing; /* no error where there is nothing to list yet */
	int rc = mote__store_read(store, "index.json", MOTE__INDEX_BYTES_MAX, text, len, &missing);
	if (rc < 0 && rc != MOTE_ENOTFOUND && err)
		*err = missing;
	if (rc != MOTE_ENOTFOUND)
		return rc;
	if (store->sha256 >= 0)
		return mote__fail(err, MOTE_ESTORE, "index.json is missing");
	*len = sizeof empty - 1;
	*text = mote__alloc(1, sizeof empty);
	if (!*text)
		return mote__fail(err, MOTE_ENOMEM, "out of memory");
	memcpy(*text, empty, sizeof empty);
	return MOTE_OK;
}

int mote__index_open(const struct mote__store *store, struct mote__index *index,
		     struct mote_error *err)
{
	static const char *const known[] = {MEDIA_INDEX};
	size_t len = 0;
	*index = (struct mote__index){0};
	int rc = read_text(store, &index->text, &len, err);
	if (rc < 0)
		return rc;
	struct mote__json *json = &index->json;
	mote__json_open(json, "index.json", index->text, len, err);
	struct mote__json_at root = mote__json_root(json);
	(void)mote__json_number(json, &root, "schemaVersion", 2, 2);
	if (mote__json_has(json, &root, "mediaType"))
		(void)mote__json_choice(json, &root, "mediaType", known, 1);
	index->list = mote__json_array(json, &root, "manifests", MOTE__ENTRIES_MAX, &index->count);
	rc = json->rc;
	if (rc < 0)
		mote__index_close(index);
	return rc;
}

void mote__index_close(struct mote__index *index)
{
	mote__json_close(&index->json);
	mote__free(index->text);
	index->text = NULL;
}

int mote__index_entry_at(struct mote__index *index, size_t i, struct mote__index_entry *entry)
{
	struct mote__json *json = &index->json;
	struct mote__json_at at = mote__json_item(json, &index->list, i);
	*entry = (struct mote__index_entry){0};
	const char *media = mote__json_text(json, &at, "mediaType", sizeof entry->media_type - 1);
	memcpy(entry->media_type, media, strlen(media) + 1);
	mote__json_digest(json, &at, "digest", entry->manifest.digest);
	entry->manifest.bytes = mote__json_number(json, &at, "size", 0, INT64_MAX);
	if (!mote__json_has(json, &at, "annotations"))
		return json->rc;
	struct mote__json_at notes = mote__json_object(json, &at, "annotations");
	if (mote__json_has(json, &notes, MOTE__TAG_NAME)) {
		/* Other programs give names that are no tags ("docker.io/library/x:1"); nothing
		 * here asks for one of them. */
		const char *tag = mote__json_text(json, &notes, MOTE__TAG_NAME, SIZE_MAX);
		if (json->rc == MOTE_OK && mote__tag_check(tag, NULL) == MOTE_OK)
			memcpy(entry->tag, tag, strlen(tag) + 1);
	}
	return json->rc;
}

/* ---- kinds ----------------------------------------------------------------------------------- */

static const char *text_of(const json_t *object, const char *name)
{
	return json_string_value(json_object_get(object, name));
}

static enum mote__kind kind_of(const json_t *manifest)
{
	const char *artifact = text_of(manifest, "artifactType");
	const char *config = text_of(json_object_get(manifest, "config"), "mediaType");
	const char *type = artifact ? artifact : config;
	const char *wanted = artifact ? MOTE__MEDIA_ARTIFACT : MOTE__MEDIA_CONFIG;
	return type && strcmp(type, wanted) == 0 ? MOTE__KIND_SNAPSHOT : MOTE__KIND_OTHER;
}

enum mote__kind mote__index_kind(const struct mote__store *store, struct mote__index *index,
				 size_t i, const struct mote__index_entry *entry)
{
	struct mote__json_at at = mote__json_item(&index->json, &index->list, i);
	const char *artifact = text_of(at.value, "artifactType");
	if (strcmp(entry->media_type, MOTE__MEDIA_MANIFEST) != 0)
		return MOTE__KIND_OTHER;
	if (artifact)
		return strcmp(artifact, MOTE__MEDIA_ARTIFACT) == 0 ? MOTE__KIND_SNAPSHOT
								   : MOTE__KIND_OTHER;
	uint8_t *text = NULL;
	if (mote__blob_read(store, &entry->manifest, "manifest", MOTE__MANIFEST_BYTES_MAX, &text,
			    NULL) < 0)
		return MOTE__KIND_UNKNOWN;
	struct mote__json json;
	mote__json_open(&json, "manifest", (const char *)text, entry->manifest.bytes, NULL);
	enum mote__kind kind = json.rc == MOTE_OK ? kind_of(json.root) : MOTE__KIND_UNKNOWN;
	mote__json_close(&json);
	mote__free(text);
	return kind;
}

/* ---- all, one -------------------------------------------------------------------------------- */

/* Whether entry i has an entry before it of the same manifest, of which it says as little: what
 * that is need not be found out again. An index can list one manifest many times. */
static bool was_read(const struct mote__index_entry *entries, const struct mote__index *index,
		     size_t i, size_t *before)
{
	for (size_t j = 0; j < i; j++)
		if (memcmp(&entries[j].manifest, &entries[i].manifest,
			   sizeof entries[i].manifest) == 0 &&
		    strcmp(entries[j].media_type, entries[i].media_type) == 0 &&
		    !text_of(json_array_get(index->list.value, j), "artifactType")) {
			*before = j;
			return true;
		}
	return false;
}

static bool is_snapshot(const struct mote__store *store, struct mote__index *index, size_t i,
			const struct mote__index_entry *entries)
{
	size_t before;
	bool is_told = text_of(json_array_get(index->list.value, i), "artifactType");
	if (!is_told && was_read(entries, index, i, &before))
		return entries[before].is_snapshot;
	return mote__index_kind(store, index, i, &entries[i]) != MOTE__KIND_OTHER;
}

static int read_entries(const struct mote__store *store, struct mote__index *index,
			struct mote__index_entry *entries)
{
	int rc = MOTE_OK;
	for (size_t i = 0; i < index->count && rc == MOTE_OK; i++) {
		rc = mote__index_entry_at(index, i, &entries[i]);
		if (rc == MOTE_OK)
			entries[i].is_snapshot = is_snapshot(store, index, i, entries);
	}
	return rc;
}

int mote__index_read(const struct mote__store *store, struct mote__index_entry **entries,
		     uint32_t *count, struct mote_error *err)
{
	struct mote__index index;
	int rc = mote__index_open(store, &index, err);
	if (rc < 0)
		return rc;
	struct mote__index_entry *all = mote__alloc(index.count + 1, sizeof *all);
	rc = all ? read_entries(store, &index, all)
		 : mote__fail(err, MOTE_ENOMEM, "no memory for index.json");
	if (rc == MOTE_OK) {
		*entries = all;
		*count = (uint32_t)index.count;
	} else {
		mote__free(all);
	}
	mote__index_close(&index);
	return rc;
}

/* Find the entry that is meant, of all, and refuse a second one of another manifest. */
static int find(struct mote__index *index, const struct mote__store *store, const char *reference,
		struct mote__index_entry *found, struct mote_error *err)
{
	uint8_t digest[MOTE_DIGEST_BYTES];
	bool is_digest = false, has = false;
	enum mote__kind kind = MOTE__KIND_UNKNOWN;
	int rc = mote__reference_check(reference, &is_digest, digest, err);
	for (size_t i = 0; i < index->count && rc == MOTE_OK; i++) {
		struct mote__index_entry entry;
		rc = mote__index_entry_at(index, i, &entry);
		if (rc < 0 || (is_digest ? memcmp(entry.manifest.digest, digest, sizeof digest) != 0
					 : strcmp(entry.tag, reference) != 0))
			continue;
		if (has && memcmp(&found->manifest, &entry.manifest, sizeof entry.manifest) != 0)
			return mote__fail(err, MOTE_ESTORE,
					  "index.json: two different entries for \"%s\"",
					  reference);
		if (!has)
			kind = mote__index_kind(store, index, i, &entry);
		has = true;
		*found = entry;
	}
	if (rc == MOTE_OK && !has)
		return mote__fail(err, MOTE_ENOTFOUND, "%s: there is no %s", store->directory,
				  reference);
	if (rc == MOTE_OK && kind == MOTE__KIND_OTHER)
		return mote__fail(err, MOTE_ESTORE, "%s is no snapshot, but something else (%s)",
				  reference, found->media_type);
	return rc;
}

int mote__index_find(const struct mote__store *store, const char *reference,
		     struct mote__blob *manifest, struct mote_error *err)
{
	struct mote__index index;
	struct mote__index_entry found = {0};
	int rc = mote__index_open(store, &index, err);
	if (rc < 0)
		return rc;
	rc = find(&index, store, reference, &found, err);
	if (rc == MOTE_OK)
		*manifest = found.manifest;
	mote__index_close(&index);
	return rc;
}
