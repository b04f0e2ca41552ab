/* SPDX-License-Identifier: MIT */
/*
 * Forged stores: the documents of a store with one snapshot are edited as text, a value at a time,
 * and written back with digests and sizes that fit again, up to the index, so that a reader comes
 * as far as the value that is wrong. Knows JSON only as far as it needs to find a value.
 */
#ifndef MOTE_TESTS_FORGE_H
#define MOTE_TESTS_FORGE_H

#include <stddef.h>
#include <stdint.h>

#include "tree.h"

struct forge {
	char directory[TREE_PATH_BYTES];
	char *index, *manifest, *config;       /* texts, to be edited */
	char *manifest_before, *config_before; /* as they were */
};

/** Read the store in directory, whose index has one entry. */
void forge_open(struct forge *f, const char *directory);
/** Write what was edited, and free: the configuration, if it is another, is named in the manifest;
 * the manifest, if it is another, in the index. */
void forge_close(struct forge *f);

/*
 * Paths are names and numbers: "layers[0].mediaType". A value that is not there ends the test.
 */

/** Put json in place of the value at path. */
void forge_set(char **text, const char *path, const char *json);
/** Put a member (`"name":1`) or a value in front of what the object or array at path has. */
void forge_add(char **text, const char *path, const char *json);
/** Take out a member or a value. */
void forge_remove(char **text, const char *path);
/** The value at path, as text from malloc(). */
char *forge_get(const char *text, const char *path);

/** Number of the layer of a kind ("memory", "mappings", "symbols"), the first such. */
unsigned forge_layer(const struct forge *f, const char *kind);
/** Bytes of a layer, from malloc(). */
uint8_t *forge_layer_read(const struct forge *f, unsigned layer, size_t *len);
/** Give a layer other bytes. */
void forge_layer_write(struct forge *f, unsigned layer, const void *bytes, size_t len);
/** The path of the file that a descriptor (of the manifest, or "manifests[0]" of the index) names.
 */
void forge_blob_path(const struct forge *f, const char *text, const char *descriptor,
		     char path[TREE_PATH_BYTES]);

#endif
