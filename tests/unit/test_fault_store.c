/* SPDX-License-Identifier: MIT */
/* The parts of a store with their first, second, third ... call of the system failing: a clean
 * error, nothing leaked, no temporary file left, and the store as it was or as it should be. */
#define _GNU_SOURCE
#include "store_files.h"

#include <jansson.h>

#include "base/sys_file.h"
#include "fault_trial.h"

#define TRY_ALL(least, ...)                                   \
	do {                                                  \
		const struct trial trial_ = {__VA_ARGS__};    \
		CHECK((int)try_all(&trial_) >= (int)(least)); \
	} while (0)

static struct mote__blob blob;

void *__real_malloc(size_t bytes);
void __real_free(void *memory);

/* jansson's memory fails, too; but for a text of its parser's, which grows by powers of two: it
 * goes on behind the end of one that could not (2.14). */
static void *allocate(size_t bytes)
{
	bool may_fail = (bytes & (bytes - 1)) != 0;
	return may_fail && fault_is_due("jansson") ? NULL : __real_malloc(bytes);
}

static void begin(void)
{
	json_set_alloc_funcs(allocate, __real_free);
	files_make();
}

/* Counts temporary files. The functions of tree.h take memory that the injector counts one way. */
static int visit_rest(void *cookie, const char *name)
{
	*(unsigned *)cookie += strncmp(name, ".mote-", 6) == 0;
	return 0;
}

static void check_rests(int rc)
{
	unsigned rests = 0;
	int root = mote__file_open_root(f.directory);
	CHECK(root >= 0);
	CHECK_EQ(mote__file_list(root, visit_rest, &rests), 0);
	mote__sys_close(root);
	/* Only removing may have failed where all went well. */
	if (rc < 0 && strcmp(fault_name(), "unlinkat") != 0)
		CHECK_EQ(rests, 0);
}

/* ---- directory ------------------------------------------------------------------------------- */

static void remove_store(void)
{
	(void)unlink(files_path("index.json"));
	(void)unlink(files_path("oci-layout"));
	(void)rmdir(files_path("blobs/sha256"));
	(void)rmdir(files_path("blobs"));
	(void)rmdir(f.directory);
	CHECK(!tree_has(f.directory));
}

static int open_and_close(enum mote__store_mode mode, struct mote_error *err)
{
	struct mote__store store;
	int rc = mote__store_open(f.directory, mode, &store, err);
	if (rc == MOTE_OK)
		mote__store_close(&store);
	return rc;
}

static int create(struct mote_error *err)
{
	return open_and_close(MOTE__STORE_CREATE, err);
}

/* Whatever failed, the next one makes it. */
static void finish_create(int rc)
{
	(void)rc;
	CHECK_EQ(open_and_close(MOTE__STORE_CREATE, NULL), MOTE_OK);
	CHECK_EQ(open_and_close(MOTE__STORE_READ, NULL), MOTE_OK);
	check_rests(rc);
}

static int open_read(struct mote_error *err)
{
	return open_and_close(MOTE__STORE_READ, err);
}

static int open_collect(struct mote_error *err)
{
	return open_and_close(MOTE__STORE_COLLECT, err);
}

static int check_trust(struct mote_error *err)
{
	return mote__store_check_trust(&f.store, err);
}

TEST(fault_store__directories)
{
	begin();
	mote__store_close(&f.store);
	/* The parent need not be readable. */
	TRY_ALL(30, "create", .prepare = remove_store, .run = create, .finish = finish_create,
		.may_pass = true);
	/* What is looked for first is then opened all the same. */
	TRY_ALL(10, "open", .run = create, .may_pass = true);
	TRY_ALL(10, "open to collect", .run = open_collect, .may_pass = true);
	/* The lock of a reader may fail. */
	TRY_ALL(10, "open to read", .run = open_read, .may_pass = true);
	files_open(MOTE__STORE_READ);
	TRY_ALL(3, "trust", .run = check_trust);
	files_end();
}

/* ---- blobs ----------------------------------------------------------------------------------- */

static int put(struct mote_error *err)
{
	bool is_new = false;
	return mote__blob_put(&f.store, "text", 4, &blob, &is_new, err);
}

static void unput(void)
{
	bool is_new = false;
	CHECK_EQ(mote__blob_put(&f.store, "text", 4, &blob, &is_new, NULL), MOTE_OK);
	CHECK_EQ(unlink(files_blob_path(&blob)), 0);
}

static void finish_put(int rc)
{
	check_rests(rc);
	CHECK_EQ(mote__blob_is_there(&f.store, &blob), rc == MOTE_OK);
}

static int read_blob(struct mote_error *err)
{
	uint8_t *bytes = NULL;
	int rc = mote__blob_read(&f.store, &blob, "config", 10, &bytes, err);
	CHECK((rc == MOTE_OK) == (bytes != NULL));
	mote__free(bytes);
	return rc;
}

static int find_blob(struct mote_error *err)
{
	return mote__blob_find(&f.store, &blob, err);
}

static int sync_store(struct mote_error *err)
{
	return mote__store_sync(&f.store, err);
}

TEST(fault_store__blobs)
{
	begin();
	/* A look for the blob that fails is one that does not find it. */
	TRY_ALL(8, "put", .prepare = unput, .run = put, .finish = finish_put, .may_pass = true);
	blob = files_put("text");
	TRY_ALL(6, "read", .run = read_blob);
	TRY_ALL(1, "find", .run = find_blob);
	TRY_ALL(1, "sync", .run = sync_store);
	files_end();
}

/* ---- manifests and index --------------------------------------------------------------------- */

static int write_manifest(struct mote_error *err)
{
	struct mote__manifest again, manifest = {.memory_count = 1, .has_symbols = true};
	manifest.config.bytes = manifest.mappings.bytes = manifest.symbols.bytes = 64;
	manifest.memory[0].bytes = 4096;
	char *text = NULL;
	size_t len = 0;
	int rc = mote__manifest_write(&manifest, &text, &len, err);
	if (rc == MOTE_OK)
		rc = mote__manifest_read(text, len, "manifest", &again, err);
	mote__free(text);
	return rc;
}

static bool has_tag(const char *tag)
{
	struct mote__blob found;
	return mote__index_find(&f.store, tag, &found, NULL) == MOTE_OK;
}

static void list_old(void)
{
	(void)mote__index_remove(&f.store, "new", NULL);
	CHECK_EQ(mote__index_set(&f.store, &blob, "old", NULL), MOTE_OK);
}

static int list_new(struct mote_error *err)
{
	return mote__index_set(&f.store, &blob, "new", err);
}

static void finish_new(int rc)
{
	check_rests(rc);
	CHECK(has_tag("old"));
	/* Once it is there, syncing the directory may still fail. */
	if (rc == MOTE_OK || strcmp(fault_name(), "fsync") != 0)
		CHECK_EQ(has_tag("new"), rc == MOTE_OK);
}

static int remove_old(struct mote_error *err)
{
	return mote__index_remove(&f.store, "old", err);
}

static int find_old(struct mote_error *err)
{
	struct mote__blob found;
	return mote__index_find(&f.store, "old", &found, err);
}

static int list_all(struct mote_error *err)
{
	struct mote__index_entry *entries = NULL;
	uint32_t count = 0;
	int rc = mote__index_read(&f.store, &entries, &count, err);
	mote__free(entries);
	return rc;
}

TEST(fault_store__manifests_and_the_index)
{
	begin();
	blob = files_put("{}");
	TRY_ALL(20, "manifest", .run = write_manifest);
	TRY_ALL(20, "set", .prepare = list_old, .run = list_new, .finish = finish_new);
	TRY_ALL(20, "remove", .prepare = list_old, .run = remove_old, .finish = check_rests);
	list_old();
	TRY_ALL(10, "find", .run = find_old);
	TRY_ALL(10, "list", .run = list_all);
	files_end();
}

/* ---- collections ----------------------------------------------------------------------------- */

static struct mote__blob kept, garbage;

static void fill(void)
{
	files_open(MOTE__STORE_WRITE);
	kept = files_put("kept");
	garbage = files_put("garbage");
	char text[256], digest[MOTE_REFERENCE_BYTES];
	mote__reference_print(kept.digest, digest);
	(void)snprintf(text, sizeof text, "{\"config\":{\"digest\":\"%s\"},\"layers\":[]}", digest);
	blob = files_put(text);
	CHECK_EQ(mote__index_set(&f.store, &blob, "a", NULL), MOTE_OK);
	files_write(".mote-0123456789ab", "rest");
}

static int collect(struct mote_error *err)
{
	struct mote_store_collected done;
	return mote__collect(&f.store, &done, err);
}

static void finish_collect(int rc)
{
	CHECK(mote__blob_is_there(&f.store, &kept) && mote__blob_is_there(&f.store, &blob));
	if (rc == MOTE_OK)
		CHECK(!mote__blob_is_there(&f.store, &garbage));
}

TEST(fault_store__collections)
{
	begin();
	fill();
	mote__store_close(&f.store);
	files_open(MOTE__STORE_COLLECT);
	TRY_ALL(20, "collect", .run = collect, .finish = finish_collect, .may_pass = true);
	files_end();
}
