/* SPDX-License-Identifier: MIT */
/*
 * Directories of the tests: made for one of them, looked at as a whole, removed with all that is in
 * them. Nothing here follows a symbolic link or opens a special file. What fails ends the test.
 */
#ifndef MOTE_TESTS_TREE_H
#define MOTE_TESTS_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TREE_PATH_BYTES   512u
#define TREE_DIGEST_BYTES 32u

/** A new, empty directory in $TMPDIR, or else where fsync(2) takes no time. */
void tree_make(char path[TREE_PATH_BYTES]);
/** Remove it with all that is in it; nothing happens if it is not there. */
void tree_remove(const char *path);
/** Of names, kinds, permissions and contents of all that is in it. */
void tree_digest(const char *path, uint8_t digest[TREE_DIGEST_BYTES]);
/** Files and directories in it, itself left out, that have a name beginning with prefix. */
unsigned tree_count(const char *path, const char *prefix);
/** Bytes of the files in it, as their sizes say. */
uint64_t tree_bytes(const char *path);
/** Copy files and directories. to is not there, or empty. */
void tree_copy(const char *from, const char *to);

/** The path of something in a directory. */
void tree_join(char path[TREE_PATH_BYTES], const char *directory, const char *name);
/** All of a file, with a NUL behind it, from malloc(). */
char *tree_read(const char *path, size_t *len);
/** Put a file in place of what is there. */
void tree_write(const char *path, const void *bytes, size_t len);
bool tree_has(const char *path);

#endif
