/* SPDX-License-Identifier: MIT */
/*
 * Manifests: which blobs a snapshot consists of (OCI Image Format Specification 1.1, "Image
 * Manifest"). The media types of the layers say which is which, and they come in one order.
 */
#include "store/store.h"

#include "base/error.h"
#include "core/mappings.h"
#include "store/facts.h"
#include "store/json.h"

#include <string.h>

#define PAGE_BYTES       4096u
#define LAYERS_MAX       (MOTE__MANIFEST_MEMORY_MAX + 2)
#define MEMORY_BYTES_MAX 0x400000000u /* of a layer */
#define MAPPINGS_BYTES_MAX                      \
	(sizeof(struct mote__mappings_header) + \
	 sizeof(struct mote__record) * (uint64_t)MOTE__RECORDS_MAX)

/* ---- writing --------------------------------------------------------------------------------- */

static json_t *make_descriptor(const char *media_type, const struct mote__blob *blob)
{
	char digest[MOTE_REFERENCE_BYTES];
	mote__reference_print(blob->digest, digest);
	json_t *made = json_object();
	bool is_made = mote__json_put(made, "mediaType", json_string(media_type));
	is_made &= mote__json_put(made, "digest", json_string(digest));
	is_made &= mote__json_put(made, "size", json_integer((json_int_t)blob->bytes));
	if (is_made)
		return made;
	json_decref(made);
	return NULL;
}

static json_t *make_layers(const struct mote__manifest *manifest)
{
	json_t *layers = json_array();
	bool is_made = layers != NULL;
	for (uint32_t i = 0; i < manifest->memory_count; i++)
		is_made &= mote__json_append(
			layers, make_descriptor(MOTE__MEDIA_MEMORY, &manifest->memory[i]));
	is_made &= mote__json_append(layers,
				     make_descriptor(MOTE__MEDIA_MAPPINGS, &manifest->mappings));
	if (manifest->has_symbols)
		is_made &= mote__json_append(
			layers, make_descriptor(MOTE__MEDIA_SYMBOLS, &manifest->symbols));
	if (is_made)
		return layers;
	json_decref(layers);
	return NULL;
}

int mote__manifest_write(const struct mote__manifest *manifest, char **text, size_t *len,
			 struct mote_error *err)
{
	json_t *made = json_object();
	bool is_made = mote__json_put(made, "schemaVersion", json_integer(2));
	is_made &= mote__json_put(made, "mediaType", json_string(MOTE__MEDIA_MANIFEST));
	is_made &= mote__json_put(made, "artifactType", json_string(MOTE__MEDIA_ARTIFACT));
	is_made &= mote__json_put(made, "config",
				  make_descriptor(MOTE__MEDIA_CONFIG, &manifest->config));
	is_made &= mote__json_put(made, "layers", make_layers(manifest));
	if (!is_made) {
		json_decref(made);
		made = NULL;
	}
	return mote__json_dump(made, text, len, err);
}

/* ---- reading --------------------------------------------------------------------------------- */

static void expect(struct mote__json *json, const struct mote__json_at *object, const char *name,
		   const char *word)
{
	(void)mote__json_choice(json, object, name, &word, 1);
}

static void read_blob(struct mote__json *json, const struct mote__json_at *descriptor, uint64_t min,
		      uint64_t max, struct mote__blob *blob)
{
	mote__json_digest(json, descriptor, "digest", blob->digest);
	blob->bytes = mote__json_number(json, descriptor, "size", min, max);
}

static void read_memory(struct mote__json *json, const struct mote__json_at *layer,
			struct mote__blob *blob)
{
	expect(json, layer, "mediaType", MOTE__MEDIA_MEMORY);
	read_blob(json, layer, PAGE_BYTES, MEMORY_BYTES_MAX, blob);
	if (blob->bytes % PAGE_BYTES)
		mote__json_refuse(json, layer, "has %llu bytes, which are no whole pages",
				  (unsigned long long)blob->bytes);
}

static bool is_media(const struct mote__json_at *layer, const char *media_type)
{
	const char *text = json_string_value(json_object_get(layer->value, "mediaType"));
	return text && strcmp(text, media_type) == 0;
}

/* Memory, then mappings, then symbols or none. */
static void read_layers(struct mote__json *json, const struct mote__json_at *root,
			struct mote__manifest *manifest)
{
	size_t count = 0, i = 0;
	struct mote__json_at layers = mote__json_array(json, root, "layers", LAYERS_MAX, &count);
	for (; i < count && json->rc == MOTE_OK; i++) {
		struct mote__json_at layer = mote__json_item(json, &layers, i);
		if (i > 0 && is_media(&layer, MOTE__MEDIA_MAPPINGS))
			break;
		if (i == MOTE__MANIFEST_MEMORY_MAX)
			mote__json_refuse(json, &layers, "have more than %u layers of memory",
					  MOTE__MANIFEST_MEMORY_MAX);
		else
			read_memory(json, &layer, &manifest->memory[i]);
	}
	manifest->memory_count = (uint32_t)i;
	if (i >= count) {
		mote__json_refuse(json, &layers, "have no mappings behind the memory");
		return;
	}
	struct mote__json_at layer = mote__json_item(json, &layers, i);
	read_blob(json, &layer, 1, MAPPINGS_BYTES_MAX, &manifest->mappings);
	manifest->has_symbols = ++i < count;
	if (manifest->has_symbols) {
		layer = mote__json_item(json, &layers, i);
		expect(json, &layer, "mediaType", MOTE__MEDIA_SYMBOLS);
		read_blob(json, &layer, 1, MOTE__SYMBOLS_BYTES_MAX, &manifest->symbols);
	}
	if (i + 1 < count)
		mote__json_refuse(json, &layers, "go on behind the symbols");
}

int mote__manifest_read(const char *text, size_t len, const char *what,
			struct mote__manifest *manifest, struct mote_error *err)
{
	struct mote__json json;
	struct mote__manifest made = {0};
	mote__json_open(&json, what, text, len, err);
	struct mote__json_at root = mote__json_root(&json);
	(void)mote__json_number(&json, &root, "schemaVersion", 2, 2);
	if (mote__json_has(&json, &root, "mediaType"))
		expect(&json, &root, "mediaType", MOTE__MEDIA_MANIFEST);
	if (mote__json_has(&json, &root, "artifactType"))
		expect(&json, &root, "artifactType", MOTE__MEDIA_ARTIFACT);
	struct mote__json_at config = mote__json_object(&json, &root, "config");
	expect(&json, &config, "mediaType", MOTE__MEDIA_CONFIG);
	read_blob(&json, &config, 1, MOTE__CONFIG_BYTES_MAX, &made.config);
	read_layers(&json, &root, &made);
	int rc = json.rc;
	mote__json_close(&json);
	if (rc == MOTE_OK)
		*manifest = made;
	return rc;
}

void mote__manifest_sum(const struct mote__manifest *manifest, uint64_t manifest_bytes,
			uint64_t *bytes, uint32_t *blobs)
{
	*bytes = manifest_bytes + manifest->config.bytes + manifest->mappings.bytes;
	*blobs = 3;
	for (uint32_t i = 0; i < manifest->memory_count; i++)
		*bytes += manifest->memory[i].bytes;
	*blobs += manifest->memory_count;
	if (manifest->has_symbols) {
		*bytes += manifest->symbols.bytes;
		*blobs += 1;
	}
}
