/* SPDX-License-Identifier: MIT */
/*
 * Changing index.json: read, change and replace, under the lock of the index. Entries are removed
 * or added whole; those that stay are not touched, whatever is in them.
 */
#include "store/index.h"

#include "base/error.h"
#include "base/sys.h"
#include "store/file.h"

#include <string.h>

/* A change of the list: what is asked for, and what was found. */
struct change {
	struct mote__index index;
	const struct mote__blob *manifest; /* to set; NULL: to remove */
	const char *tag;                   /* NULL: none */
	uint8_t digest[MOTE_DIGEST_BYTES]; /* to remove, without a tag */
	bool is_there;                     /* the entry to set is in the list already */
	const char *reference;             /* to remove; for messages */
	size_t removed;
};

/* The list, which the accessors only look at. */
static json_t *list_of(const struct change *change)
{
	return (json_t *)(uintptr_t)change->index.list.value;
}

static bool is_blob(const struct mote__blob *a, const struct mote__blob *b)
{
	return a->bytes == b->bytes && memcmp(a->digest, b->digest, sizeof a->digest) == 0;
}

/* Whether the entry has to go. */
static bool is_outdated(struct change *change, const struct mote__index_entry *entry, bool has_name)
{
	const char *tag = change->tag;
	if (!change->manifest)
		return tag ? strcmp(entry->tag, tag) == 0
			   : memcmp(entry->manifest.digest, change->digest,
				    sizeof change->digest) == 0;
	if (tag ? strcmp(entry->tag, tag) != 0 : has_name)
		return false;
	/* The first entry that says just this stays, the others go, of the tag. */
	if (!change->is_there && is_blob(&entry->manifest, change->manifest)) {
		change->is_there = true;
		return false;
	}
	return tag != NULL;
}

static bool has_name(const json_t *entry)
{
	return json_object_get(json_object_get(entry, "annotations"), MOTE__TAG_NAME) != NULL;
}

/* Take out what has to go. */
static int prune(struct change *change)
{
	struct mote__index *index = &change->index;
	int rc = MOTE_OK;
	size_t kept = 0;
	json_t *list = list_of(change);
	for (size_t i = 0; i < index->count && rc == MOTE_OK; i++) {
		struct mote__index_entry entry;
		rc = mote__index_entry_at(index, i, &entry);
		json_t *value = json_array_get(list, i);
		if (rc < 0 || is_outdated(change, &entry, has_name(value)))
			continue;
		/* Moved to the front; those behind are cut off below. */
		if (kept != i && json_array_set(list, kept, value) < 0)
			return MOTE_ENOMEM;
		kept++;
	}
	change->removed = index->count - kept;
	for (size_t i = index->count; rc == MOTE_OK && i > kept; i--)
		(void)json_array_remove(list, i - 1);
	return rc;
}

static json_t *make_entry(const struct mote__blob *manifest, const char *tag)
{
	char digest[MOTE_REFERENCE_BYTES];
	mote__reference_print(manifest->digest, digest);
	json_t *made = json_object();
	bool is_made = mote__json_put(made, "mediaType", json_string(MOTE__MEDIA_MANIFEST));
	is_made &= mote__json_put(made, "artifactType", json_string(MOTE__MEDIA_ARTIFACT));
	is_made &= mote__json_put(made, "digest", json_string(digest));
	is_made &= mote__json_put(made, "size", json_integer((json_int_t)manifest->bytes));
	if (tag) {
		json_t *notes = json_object();
		is_made &= mote__json_put(notes, MOTE__TAG_NAME, json_string(tag));
		is_made &= mote__json_put(made, "annotations", notes);
	}
	if (is_made)
		return made;
	json_decref(made);
	return NULL;
}

/* Write the list as it is now. */
static int replace(const struct mote__store *store, const struct change *change,
		   struct mote_error *err)
{
	char *text = NULL;
	size_t len = 0;
	if (json_array_size(list_of(change)) > MOTE__ENTRIES_MAX)
		return mote__fail(err, MOTE_ETOOBIG, "index.json would have more than %u entries",
				  MOTE__ENTRIES_MAX);
	int rc = mote__json_dump(json_incref(change->index.json.root), &text, &len, err);
	if (rc == MOTE_OK && len > MOTE__INDEX_BYTES_MAX)
		rc = mote__fail(err, MOTE_ETOOBIG, "index.json would have %zu bytes, at most %u",
				len, MOTE__INDEX_BYTES_MAX);
	if (rc == MOTE_OK)
		rc = mote__store_replace(store, "index.json", text, len, err);
	mote__free(text);
	return rc;
}

static int apply(const struct mote__store *store, struct change *change, struct mote_error *err)
{
	int rc = prune(change);
	if (rc == MOTE_ENOMEM)
		return mote__fail(err, MOTE_ENOMEM, "no memory for index.json");
	if (rc < 0)
		return rc;
	if (change->manifest && !change->is_there &&
	    !mote__json_append(list_of(change), make_entry(change->manifest, change->tag)))
		return mote__fail(err, MOTE_ENOMEM, "no memory for index.json");
	if (!change->manifest && !change->removed)
		return mote__fail(err, MOTE_ENOTFOUND, "%s: there is no %s", store->directory,
				  change->reference);
	return replace(store, change, err);
}

static int change_index(const struct mote__store *store, struct change *change,
			struct mote_error *err)
{
	int lock = mote__store_lock(store, err);
	if (lock < 0)
		return lock;
	int rc = mote__index_open(store, &change->index, err);
	if (rc == MOTE_OK) {
		rc = apply(store, change, err);
		mote__index_close(&change->index);
	}
	mote__store_unlock(lock);
	return rc;
}

int mote__index_set(const struct mote__store *store, const struct mote__blob *manifest,
		    const char *tag, struct mote_error *err)
{
	struct change change = {.manifest = manifest, .tag = tag};
	int rc = tag ? mote__tag_check(tag, err) : MOTE_OK;
	return rc < 0 ? rc : change_index(store, &change, err);
}

int mote__index_remove(const struct mote__store *store, const char *reference,
		       struct mote_error *err)
{
	struct change change = {0};
	bool is_digest = false;
	int rc = mote__reference_check(reference, &is_digest, change.digest, err);
	if (rc < 0)
		return rc;
	change.tag = is_digest ? NULL : reference;
	change.reference = reference;
	return change_index(store, &change, err);
}
