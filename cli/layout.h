/* SPDX-License-Identifier: MIT */
/*
 * Directories for skopeo: an OCI image layout without blobs, which it takes from a store or puts
 * there. Functions return a mote_code and fill err.
 */
#ifndef MOTE_CLI_LAYOUT_H
#define MOTE_CLI_LAYOUT_H

#include <mote.h>

/** Make a layout in parent whose index lists nothing, or the manifest of manifest_bytes bytes with
 * digest (may be NULL). Its name is one of the rests that a collection removes from a store. *path
 * is to be freed, also with what mote__image_layout_remove() does. */
int mote__image_layout_make(const char *parent, const char *digest, uint64_t manifest_bytes,
			    char **path, struct mote_error *err);
/** Remove the directory at path with all that is in it; NULL is allowed. */
void mote__image_layout_remove(char *path);

/** Bytes of files at path whose names skopeo gives to blobs that are not complete. */
uint64_t mote__image_layout_unfinished(const char *path);

/** directory + "/" + name; NULL: out of memory. */
char *mote__path_join(const char *directory, const char *name);
/** Fill err with MOTE_ESYSTEM and the text of errno for path; returns the code. */
int mote__path_fail(struct mote_error *err, const char *path);

#endif
