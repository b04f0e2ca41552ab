/* SPDX-License-Identifier: MIT */
/*
 * What tests of the parts of a store start from: a new directory, a store in it, and files that
 * somebody else put there.
 */
#ifndef MOTE_TESTS_STORE_FILES_H
#define MOTE_TESTS_STORE_FILES_H

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mote.h>

#include "base/sys.h"
#include "check.h"
#include "store/store.h"
#include "tree.h"

static struct store_files {
	char base[TREE_PATH_BYTES]; /* all is in here */
	char directory[TREE_PATH_BYTES];
	struct mote__store store;
	struct mote_error err;
} f = {.store = {.root = -1, .blobs = -1, .sha256 = -1}};

/** Remove what an earlier test left, as one that failed does. */
static inline void files_end(void)
{
	mote__store_close(&f.store);
	if (f.base[0])
		tree_remove(f.base);
	f.base[0] = 0;
}

/** A new directory; the store's name in it is free. */
static inline void files_begin(void)
{
	files_end();
	memset(&f.err, 0, sizeof f.err);
	tree_make(f.base);
	tree_join(f.directory, f.base, "store");
}

static inline void files_open(enum mote__store_mode mode)
{
	mote__store_close(&f.store);
	int rc = mote__store_open(f.directory, mode, &f.store, &f.err);
	if (rc < 0)
		check_failed(__FILE__, __LINE__, "%d: %s", rc, f.err.message);
}

/** The same with a new store, open for writing. */
static inline void files_make(void)
{
	files_begin();
	files_open(MOTE__STORE_CREATE);
}

/** The path of name in the store; valid until the call after the next. */
static inline const char *files_path(const char *name)
{
	static char paths[2][TREE_PATH_BYTES];
	static unsigned next;
	char *path = paths[next++ % 2];
	tree_join(path, f.directory, name);
	return path;
}

static inline void files_write(const char *name, const char *text)
{
	tree_write(files_path(name), text, strlen(text));
}

static inline const char *files_blob_path(const struct mote__blob *blob)
{
	char name[TREE_PATH_BYTES] = "blobs/sha256/", reference[MOTE_REFERENCE_BYTES];
	mote__reference_print(blob->digest, reference);
	strcat(name, strchr(reference, ':') + 1);
	return files_path(name);
}

static inline struct mote__blob files_put(const char *text)
{
	struct mote__blob blob;
	bool is_new = false;
	int rc = mote__blob_put(&f.store, text, strlen(text), &blob, &is_new, &f.err);
	if (rc < 0)
		check_failed(__FILE__, __LINE__, "%d: %s", rc, f.err.message);
	return blob;
}

/** rc is this error, and its message has this text. */
#define CHECK_ERROR(rc, error, text)             \
	do {                                     \
		CHECK_EQ(rc, error);             \
		CHECK_EQ(f.err.code, error);     \
		CHECK_HAS(f.err.message, text);  \
		memset(&f.err, 0, sizeof f.err); \
	} while (0)

#endif
