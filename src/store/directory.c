/* SPDX-License-Identifier: MIT */
/*
 * Opening and making the directory of a store. A store is made in this order, each step on the disk
 * before the next: oci-layout, an empty index.json, blobs, blobs/sha256. What is half made reads as
 * a store with nothing in it, and the next writer completes it; so an index is missing beside
 * blobs/sha256 only where somebody took it away.
 */
#include "store/store.h"

#include "base/error.h"
#include "base/sys.h"
#include "base/sys_file.h"
#include "store/file.h"
#include "store/json.h"

#include <errno.h>
#include <string.h>

#define LAYOUT           "oci-layout"
#define LAYOUT_BYTES_MAX 4096u
#define LAYOUT_TEXT      "{\"imageLayoutVersion\":\"1.0.0\"}"
#define INDEX            "index.json"
#define INDEX_TEXT                                        \
	"{\"manifests\":[],\"mediaType\":\"application/"  \
	"vnd.oci.image.index.v1+json\",\"schemaVersion\"" \
	":2}"

/* ---- what is there --------------------------------------------------------------------------- */

static int check_layout(const struct mote__store *store, struct mote_error *err)
{
	char *text = NULL;
	size_t len = 0;
	int rc = mote__store_read(store, LAYOUT, LAYOUT_BYTES_MAX, &text, &len, err);
	if (rc < 0)
		return rc;
	struct mote__json json;
	mote__json_open(&json, LAYOUT, text, len, err);
	struct mote__json_at root = mote__json_root(&json);
	static const char *const known[] = {"1.0.0"};
	(void)mote__json_choice(&json, &root, "imageLayoutVersion", known, 1);
	rc = json.rc;
	mote__json_close(&json);
	mote__free(text);
	return rc;
}

/* A name that the making of a store does not leave. */
static int visit_foreign(void *cookie, const char *name)
{
	(void)cookie;
	return !mote__rest_is(name);
}

/* Whether the directory is empty, but for rests: 1, 0 or a code. */
static int is_empty(const struct mote__store *store, struct mote_error *err)
{
	int rc = mote__file_list(store->root, visit_foreign, NULL);
	return rc < 0 ? mote__store_fail(err, rc, "listing %s", store->directory) : rc == 0;
}

/* There is no oci-layout. */
static int refuse_directory(const struct mote__store *store, struct mote_error *err)
{
	int rc = is_empty(store, err);
	if (rc < 0)
		return rc;
	if (rc)
		return mote__fail(err, MOTE_ENOTFOUND, "%s is empty", store->directory);
	return mote__fail(err, MOTE_ESTORE, "%s is no store: it has files, but no " LAYOUT,
			  store->directory);
}

/* Open a directory of the store: its descriptor, -1 when there is none and that is allowed. */
static int open_part(int directory, const char *name, bool may_lack, int *fd,
		     struct mote_error *err)
{
	int rc = mote__file_open_directory(directory, name);
	*fd = rc < 0 ? -1 : rc;
	if (rc >= 0 || (rc == -ENOENT && may_lack))
		return MOTE_OK;
	if (rc == -ENOENT)
		return mote__fail(err, MOTE_ESTORE, "the directory %s is missing", name);
	if (rc == -ENOTDIR || rc == -ELOOP)
		return mote__fail(err, MOTE_ESTORE, "%s is no directory, or a symbolic link", name);
	return mote__store_fail(err, rc, "opening the directory %s", name);
}

static int open_parts(struct mote__store *store, bool may_lack, struct mote_error *err)
{
	int rc = open_part(store->root, "blobs", may_lack, &store->blobs, err);
	if (rc < 0 || store->blobs < 0)
		return rc;
	return open_part(store->blobs, "sha256", may_lack, &store->sha256, err);
}

/* ---- making ---------------------------------------------------------------------------------- */

static int make_part(int directory, const char *name, int *fd, struct mote_error *err)
{
	int rc = mote__file_make_directory(directory, name);
	if (rc < 0 && rc != -EEXIST)
		return mote__store_fail(err, rc, "making the directory %s", name);
	rc = mote__file_sync(directory);
	if (rc < 0)
		return mote__store_fail(err, rc, "syncing the directory of %s", name);
	return open_part(directory, name, false, fd, err);
}

/* What comes behind oci-layout; the lock is held. */
static int make_parts(struct mote__store *store, struct mote_error *err)
{
	if (store->sha256 >= 0)
		return MOTE_OK;
	struct mote__file_facts facts;
	int rc = MOTE_OK;
	if (mote__file_facts_at(store->root, INDEX, &facts) == -ENOENT)
		rc = mote__store_replace(store, INDEX, INDEX_TEXT, sizeof INDEX_TEXT - 1, err);
	if (rc == MOTE_OK && store->blobs < 0)
		rc = make_part(store->root, "blobs", &store->blobs, err);
	if (rc == MOTE_OK)
		rc = make_part(store->blobs, "sha256", &store->sha256, err);
	return rc;
}

/* Make what is missing, unless somebody else has done so since. */
static int complete(struct mote__store *store, enum mote__store_mode mode, struct mote_error *err)
{
	int lock = mote__store_lock(store, err);
	if (lock < 0)
		return lock;
	struct mote__file_facts facts;
	int rc = MOTE_OK;
	if (mote__file_facts_at(store->root, LAYOUT, &facts) == -ENOENT) {
		rc = is_empty(store, err);
		if (rc < 0 || !rc || mode != MOTE__STORE_CREATE)
			rc = rc < 0 ? rc : refuse_directory(store, err);
		else
			rc = mote__store_replace(store, LAYOUT, LAYOUT_TEXT, sizeof LAYOUT_TEXT - 1,
						 err);
	}
	if (rc == MOTE_OK)
		rc = check_layout(store, err);
	if (rc == MOTE_OK)
		rc = open_parts(store, true, err);
	if (rc == MOTE_OK)
		rc = make_parts(store, err);
	mote__store_unlock(lock);
	return rc;
}

/* The name of a new directory is on the disk; where its parent may not be read, as good as it gets.
 */
static int sync_parent(const struct mote__store *store, struct mote_error *err)
{
	int parent = mote__file_open_directory(store->root, "..");
	if (parent < 0)
		return MOTE_OK;
	int rc = mote__file_sync(parent);
	mote__sys_close(parent);
	return rc < 0 ? mote__store_fail(err, rc, "syncing the parent of %s", store->directory)
		      : MOTE_OK;
}

static int open_root(struct mote__store *store, enum mote__store_mode mode, struct mote_error *err)
{
	bool is_new = false;
	int fd = mote__file_open_root(store->directory);
	if (fd == -ENOENT && mode == MOTE__STORE_CREATE) {
		int rc = mote__file_make_root(store->directory);
		if (rc < 0 && rc != -EEXIST)
			return mote__store_fail(err, rc, "making %s", store->directory);
		is_new = true;
		fd = mote__file_open_root(store->directory);
	}
	if (fd == -ENOENT)
		return mote__fail(err, MOTE_ENOTFOUND, "%s: there is no such directory",
				  store->directory);
	if (fd == -ENOTDIR)
		return mote__fail(err, MOTE_ESTORE, "%s is no directory", store->directory);
	if (fd < 0)
		return mote__store_fail(err, fd, "opening %s", store->directory);
	store->root = fd;
	return is_new ? sync_parent(store, err) : MOTE_OK;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static int open_store(struct mote__store *store, enum mote__store_mode mode, struct mote_error *err)
{
	bool is_writer = mode == MOTE__STORE_WRITE || mode == MOTE__STORE_CREATE;
	struct mote__file_facts facts;
	int rc = open_root(store, mode, err);
	if (rc < 0)
		return rc;
	if (mote__file_facts_at(store->root, LAYOUT, &facts) == -ENOENT) {
		if (mode != MOTE__STORE_CREATE)
			return refuse_directory(store, err);
		return complete(store, mode, err);
	}
	rc = check_layout(store, err);
	if (rc == MOTE_OK)
		rc = open_parts(store, true, err);
	if (rc < 0 || !is_writer || store->sha256 >= 0)
		return rc;
	mote__sys_close(store->blobs);
	store->blobs = -1;
	return complete(store, mode, err);
}

/* The shared or the exclusive lock on blobs. */
static int lock_blobs(const struct mote__store *store, enum mote__store_mode mode,
		      struct mote_error *err)
{
	if (store->blobs < 0)
		return MOTE_OK;
	int rc = mote__file_lock(store->blobs, mode == MOTE__STORE_COLLECT,
				 mode != MOTE__STORE_READ);
	/* A reader goes on without: who removes blobs removes none that are listed. */
	if (rc == 0 || mode == MOTE__STORE_READ)
		return MOTE_OK;
	return mote__store_fail(err, rc, "locking the blobs of %s", store->directory);
}

int mote__store_open(const char *directory, enum mote__store_mode mode, struct mote__store *store,
		     struct mote_error *err)
{
	struct mote__store made = {.directory = directory, .root = -1, .blobs = -1, .sha256 = -1};
	int rc = open_store(&made, mode, err);
	if (rc == MOTE_OK)
		rc = lock_blobs(&made, mode, err);
	if (rc < 0) {
		mote__store_close(&made);
		return rc;
	}
	*store = made;
	return MOTE_OK;
}

void mote__store_close(struct mote__store *store)
{
	/* A child that inherited the descriptor would hold the lock for as long as it lives. */
	if (store->blobs >= 0)
		mote__file_unlock(store->blobs);
	mote__sys_close(store->sha256);
	mote__sys_close(store->blobs);
	mote__sys_close(store->root);
	store->root = store->blobs = store->sha256 = -1;
}

static int check_owner(int fd, const char *name, struct mote_error *err)
{
	struct mote__file_facts facts;
	int rc = fd < 0 ? 0 : mote__file_facts(fd, &facts);
	if (rc < 0)
		return mote__store_fail(err, rc, "%s", name);
	if (fd >= 0 && facts.uid != 0 && facts.uid != mote__file_user())
		return mote__fail(
			err, MOTE_ESTORE,
			"not to be trusted: %s belongs to user %u, not to user %u or root", name,
			facts.uid, mote__file_user());
	if (fd >= 0 && (facts.mode & 022u))
		return mote__fail(err, MOTE_ESTORE,
				  "not to be trusted: %s may be written by others (mode %04o)",
				  name, facts.mode);
	return MOTE_OK;
}

int mote__store_check_trust(const struct mote__store *store, struct mote_error *err)
{
	int rc = check_owner(store->root, store->directory, err);
	if (rc == MOTE_OK)
		rc = check_owner(store->blobs, "the directory blobs", err);
	if (rc == MOTE_OK)
		rc = check_owner(store->sha256, "the directory blobs/sha256", err);
	return rc;
}

int mote__store_sync(const struct mote__store *store, struct mote_error *err)
{
	int rc = mote__file_sync(store->sha256);
	return rc < 0 ? mote__store_fail(err, rc, "syncing the blobs of %s", store->directory)
		      : MOTE_OK;
}
