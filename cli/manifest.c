/* SPDX-License-Identifier: MIT */
/* Manifests, as far as a transfer needs to know them. See manifest.h. */
#include "manifest.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define MEDIA_CONFIG "application/vnd.mote.snapshot.config.v1+json"

bool mote__digest_is_valid(const char *text)
{
	static const char start[] = "sha256:";
	if (strncmp(text, start, sizeof start - 1) != 0)
		return false;
	text += sizeof start - 1;
	return strspn(text, "0123456789abcdef") == 64 && text[64] == 0;
}

static int refuse(struct mote_error *err, const char *what)
{
	*err = (struct mote_error){.code = MOTE_ESTORE, .category = MOTE_CATEGORY_CALLER};
	(void)snprintf(err->message, sizeof err->message, "it is no snapshot: its manifest %s",
		       what);
	return MOTE_ESTORE;
}

static bool has(const struct manifest *manifest, const char *digest)
{
	for (uint32_t i = 0; i < manifest->count; i++)
		if (strcmp(manifest->blobs[i].digest, digest) == 0)
			return true;
	return false;
}

static int add(struct manifest *manifest, const json_t *descriptor, struct mote_error *err)
{
	const char *digest = json_string_value(json_object_get(descriptor, "digest"));
	json_int_t bytes = json_integer_value(json_object_get(descriptor, "size"));
	if (!digest || !mote__digest_is_valid(digest) || bytes < 0)
		return refuse(err, "has a blob without a digest or a size");
	if (has(manifest, digest))
		return MOTE_OK;
	if (manifest->count == MANIFEST_MAX_BLOBS ||
	    (uint64_t)bytes > UINT64_MAX / 2 - manifest->bytes)
		return refuse(err, "has too many blobs, or too large ones");
	struct manifest_blob *blob = &manifest->blobs[manifest->count++];
	(void)snprintf(blob->digest, sizeof blob->digest, "%s", digest);
	blob->bytes = (uint64_t)bytes;
	manifest->bytes += blob->bytes;
	return MOTE_OK;
}

static int read_root(const json_t *root, struct manifest *manifest, struct mote_error *err)
{
	const json_t *config = json_object_get(root, "config");
	const json_t *layers = json_object_get(root, "layers"), *layer;
	const char *type = json_string_value(json_object_get(config, "mediaType"));
	size_t i;
	if (!type || strcmp(type, MEDIA_CONFIG) != 0)
		return refuse(err, "has no configuration of one");
	int rc = add(manifest, config, err);
	json_array_foreach(layers, i, layer)
	{
		if (rc == MOTE_OK)
			rc = add(manifest, layer, err);
	}
	return rc;
}

int mote__manifest_of(const char *text, size_t len, struct manifest *manifest,
		      struct mote_error *err)
{
	*manifest = (struct manifest){0};
	json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	if (!root)
		return refuse(err, "is no JSON");
	int rc = read_root(root, manifest, err);
	json_decref(root);
	return rc;
}
