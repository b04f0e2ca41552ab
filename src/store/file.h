/* SPDX-License-Identifier: MIT */
/*
 * Files of a store that are no blobs: oci-layout and index.json, each read whole and replaced
 * whole; and the temporary files that anything is written to before it gets its name.
 */
#ifndef MOTE_STORE_FILE_H
#define MOTE_STORE_FILE_H

#include "store/store.h"

#define MOTE__REST_PREFIX     ".mote-"
#define MOTE__REST_NAME_BYTES 32u

/** What a system call's negative errno is among the codes of the library. */
int mote__store_code(int rc);
/** mote__fail_system() with that code. */
#define mote__store_fail(err, rc, ...) \
	mote__fail_system((err), mote__store_code(rc), -(rc), __VA_ARGS__)

/** Make a temporary file in the directory root: its descriptor, or a negative errno. */
int mote__rest_create(int root, char name[MOTE__REST_NAME_BYTES]);
/** Whether name is one of a temporary file. */
bool mote__rest_is(const char *name);

/** Read the file name of a store with a NUL behind it; free with mote__free(). MOTE_ENOTFOUND: it
 * does not exist (err is filled). MOTE_ESTORE: no regular file, over limit. */
int mote__store_read(const struct mote__store *store, const char *name, uint64_t limit, char **text,
		     size_t *len, struct mote_error *err);
/** Put text in place of the file name: at any time the old or the new one is there, and the new one
 * is on the disk at return. */
int mote__store_replace(const struct mote__store *store, const char *name, const char *text,
			size_t len, struct mote_error *err);

/** Hold the lock for changing the index: a descriptor for mote__store_unlock(), or a code. It is of
 * this caller alone, also among threads that share store. */
int mote__store_lock(const struct mote__store *store, struct mote_error *err);
void mote__store_unlock(int lock);

#endif
