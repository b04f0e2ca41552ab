/* SPDX-License-Identifier: MIT */
/*
 * Removing what nothing needs. First all blobs are noted, then everything that the index lists
 * marks those that it needs, and only when all of that could be read, the others go. Memory is for
 * the files that there are, not for what a manifest says.
 */
#include "store/index.h"

#include "base/error.h"
#include "base/sys.h"
#include "base/sys_file.h"
#include "store/file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEDIA_DOCKER   "application/vnd.docker.distribution.manifest.v2+json"
#define LAYERS_MAX     65536u /* of a manifest of another program */
#define NOTHING        "; nothing was removed"
#define REST_DEPTH_MAX 4u /* directories in a rest */

struct item {
	uint8_t digest[MOTE_DIGEST_BYTES];
	uint64_t bytes;
	bool is_needed, is_read; /* read: as a manifest */
};

struct collection {
	const struct mote__store *store;
	struct mote_store_collected done;
	struct item *items; /* ordered by digest */
	size_t count, capacity;
};

/* ---- what is there --------------------------------------------------------------------------- */

static int visit_blob(void *cookie, const char *name)
{
	struct collection *c = cookie;
	struct mote__file_facts facts;
	struct item item = {.bytes = 0};
	char reference[MOTE_REFERENCE_BYTES];
	int len = snprintf(reference, sizeof reference, "sha256:%s", name);
	if (len < 0 || (size_t)len >= sizeof reference ||
	    !mote__reference_parse(reference, item.digest))
		return 0;
	int rc = mote__file_facts_at(c->store->sha256, name, &facts);
	if (rc < 0 || facts.kind != MOTE__FILE_REGULAR)
		return rc == -ENOENT ? 0 : rc;
	if (c->count == c->capacity) {
		size_t capacity = 2 * c->capacity + 64;
		struct item *items = mote__realloc(c->items, capacity, sizeof *items);
		if (!items)
			return -ENOMEM;
		c->items = items;
		c->capacity = capacity;
	}
	item.bytes = facts.bytes;
	c->items[c->count++] = item;
	return 0;
}

static int compare(const void *a, const void *b)
{
	const struct item *left = a, *right = b;
	return memcmp(left->digest, right->digest, sizeof left->digest);
}

static int note_blobs(struct collection *c, struct mote_error *err)
{
	if (c->store->sha256 < 0)
		return MOTE_OK;
	int rc = mote__file_list(c->store->sha256, visit_blob, c);
	if (rc < 0)
		return mote__store_fail(err, rc, "listing the blobs of %s" NOTHING,
					c->store->directory);
	if (c->count)
		qsort(c->items, c->count, sizeof *c->items, compare);
	return MOTE_OK;
}

static struct item *find(struct collection *c, const uint8_t digest[MOTE_DIGEST_BYTES])
{
	struct item key;
	memcpy(key.digest, digest, sizeof key.digest);
	return c->count ? bsearch(&key, c->items, c->count, sizeof *c->items, compare) : NULL;
}

static struct item *mark(struct collection *c, const uint8_t digest[MOTE_DIGEST_BYTES])
{
	struct item *item = find(c, digest);
	if (item)
		item->is_needed = true;
	return item;
}

/* ---- what is needed -------------------------------------------------------------------------- */

static void mark_field(struct collection *c, struct mote__json *json,
		       const struct mote__json_at *descriptor)
{
	uint8_t digest[MOTE_DIGEST_BYTES];
	mote__json_digest(json, descriptor, "digest", digest);
	if (json->rc == MOTE_OK)
		(void)mark(c, digest);
}

/* Mark what a manifest of any program names. *subject: the manifest that it speaks of, if any. */
static int mark_parts(struct collection *c, const char *what, const char *text, size_t len,
		      struct mote__blob *subject, bool *has_subject, struct mote_error *err)
{
	struct mote__json json;
	size_t count = 0;
	mote__json_open(&json, what, text, len, err);
	struct mote__json_at root = mote__json_root(&json);
	struct mote__json_at config = mote__json_object(&json, &root, "config");
	mark_field(c, &json, &config);
	struct mote__json_at layers = mote__json_array(&json, &root, "layers", LAYERS_MAX, &count);
	for (size_t i = 0; i < count && json.rc == MOTE_OK; i++) {
		struct mote__json_at layer = mote__json_item(&json, &layers, i);
		mark_field(c, &json, &layer);
	}
	*has_subject = mote__json_has(&json, &root, "subject");
	if (*has_subject) {
		struct mote__json_at at = mote__json_object(&json, &root, "subject");
		mote__json_digest(&json, &at, "digest", subject->digest);
		subject->bytes = mote__json_number(&json, &at, "size", 0, INT64_MAX);
	}
	int rc = json.rc;
	mote__json_close(&json);
	return rc;
}

/* A manifest, and those that it speaks of, one after the other. Each is read once. */
static int mark_manifest(struct collection *c, struct mote__blob manifest, struct mote_error *err)
{
	int rc = MOTE_OK;
	bool goes_on = true, is_subject = false;
	while (goes_on && rc == MOTE_OK) {
		struct item *item = mark(c, manifest.digest);
		/* What a manifest speaks of may be somewhere else. */
		if ((!item && is_subject) || (item && item->is_read))
			break;
		if (item)
			item->is_read = true;
		char what[MOTE_REFERENCE_BYTES + 16] = "manifest ";
		mote__reference_print(manifest.digest, what + strlen(what));
		uint8_t *text = NULL;
		rc = mote__blob_read(c->store, &manifest, what, MOTE__MANIFEST_BYTES_MAX, &text,
				     err);
		if (rc == MOTE_OK)
			rc = mark_parts(c, what, (const char *)text, manifest.bytes, &manifest,
					&goes_on, err);
		mote__free(text);
		is_subject = true;
	}
	return rc;
}

static int mark_listed(struct collection *c, struct mote_error *err)
{
	struct mote__index index;
	int rc = mote__index_open(c->store, &index, err);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < index.count && rc == MOTE_OK; i++) {
		struct mote__index_entry entry;
		rc = mote__index_entry_at(&index, i, &entry);
		if (rc < 0)
			break;
		if (strcmp(entry.media_type, MOTE__MEDIA_MANIFEST) != 0 &&
		    strcmp(entry.media_type, MEDIA_DOCKER) != 0) {
			char digest[MOTE_REFERENCE_BYTES];
			mote__reference_print(entry.manifest.digest, digest);
			rc = mote__fail(err, MOTE_ESTORE,
					"index.json: %s is of the media type \"%s\", and what it "
					"needs is not known" NOTHING,
					digest, entry.media_type);
		} else {
			rc = mark_manifest(c, entry.manifest, err);
		}
	}
	mote__index_close(&index);
	return rc;
}

/* ---- removing -------------------------------------------------------------------------------- */

static int remove_blobs(struct collection *c, struct mote_error *err)
{
	for (size_t i = 0; i < c->count; i++) {
		const struct item *item = &c->items[i];
		if (item->is_needed) {
			c->done.kept_blobs++;
			c->done.kept_bytes += item->bytes;
			continue;
		}
		char name[MOTE_REFERENCE_BYTES];
		mote__reference_print(item->digest, name);
		int rc = mote__file_remove(c->store->sha256, strchr(name, ':') + 1);
		if (rc == -ENOENT)
			continue;
		if (rc < 0)
			return mote__store_fail(err, rc, "removing blob %s", name);
		c->done.blobs++;
		c->done.bytes += item->bytes;
	}
	return MOTE_OK;
}

/* A directory whose content goes. */
struct rest {
	int fd;
	unsigned depth;
};

static int remove_rest(int directory, const char *name, unsigned depth, bool is_locked);

static int visit_content(void *cookie, const char *name)
{
	const struct rest *rest = cookie;
	return remove_rest(rest->fd, name, rest->depth + 1, true);
}

/* A directory that somebody holds the lock of is being written to; -EWOULDBLOCK. */
static int empty_directory(int fd, unsigned depth, bool is_locked)
{
	struct rest rest = {.fd = fd, .depth = depth};
	int rc = is_locked ? 0 : mote__file_lock(fd, true, false);
	return rc < 0 ? rc : mote__file_list(fd, visit_content, &rest);
}

/* Remove a file, or a directory with all that is in it. */
static int remove_rest(int directory, const char *name, unsigned depth, bool is_locked)
{
	struct mote__file_facts facts;
	int rc = mote__file_facts_at(directory, name, &facts);
	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	if (facts.kind != MOTE__FILE_DIRECTORY)
		return mote__file_remove(directory, name);
	if (depth == REST_DEPTH_MAX)
		return -ELOOP;
	int fd = mote__file_open_directory(directory, name);
	if (fd < 0)
		return fd;
	rc = empty_directory(fd, depth, is_locked);
	if (rc == 0)
		rc = mote__file_remove_directory(directory, name);
	mote__sys_close(fd);
	return rc;
}

static int visit_rest(void *cookie, const char *name)
{
	struct collection *c = cookie;
	if (!mote__rest_is(name))
		return 0;
	int rc = remove_rest(c->store->root, name, 0, false);
	c->done.rests += rc == 0;
	return rc == -EWOULDBLOCK ? 0 : rc;
}

static int remove_all(struct collection *c, struct mote_error *err)
{
	int rc = remove_blobs(c, err);
	if (rc < 0)
		return rc;
	rc = mote__file_list(c->store->root, visit_rest, c);
	return rc < 0 ? mote__store_fail(err, rc, "removing rests in %s", c->store->directory)
		      : MOTE_OK;
}

int mote__collect(const struct mote__store *store, struct mote_store_collected *collected,
		  struct mote_error *err)
{
	struct collection c = {.store = store};
	/* Writers of blobs are out already; this is for who makes a store. */
	int lock = mote__store_lock(store, err);
	if (lock < 0)
		return lock;
	int rc = note_blobs(&c, err);
	if (rc == MOTE_OK)
		rc = mark_listed(&c, err);
	if (rc == MOTE_OK)
		rc = remove_all(&c, err);
	mote__store_unlock(lock);
	mote__free(c.items);
	if (rc == MOTE_OK)
		*collected = c.done;
	return rc;
}
