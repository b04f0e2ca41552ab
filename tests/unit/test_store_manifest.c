/* SPDX-License-Identifier: MIT */
/* Manifests: written and read back, and everything that is wrong with others. */
#include "check.h"
#include "base/sys.h"
#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>

static struct mote_error err;

static struct mote__blob blob_of(uint8_t first, uint64_t bytes)
{
	struct mote__blob blob = {.bytes = bytes};
	memset(blob.digest, first, sizeof blob.digest);
	return blob;
}

static struct mote__manifest make(uint32_t layers, bool has_symbols)
{
	struct mote__manifest manifest = {.config = blob_of(1, 700),
					  .mappings = blob_of(2, 64),
					  .memory_count = layers,
					  .has_symbols = has_symbols};
	for (uint32_t i = 0; i < layers; i++)
		manifest.memory[i] = blob_of((uint8_t)(16 + i), 4096 * (uint64_t)(i + 1));
	if (has_symbols)
		manifest.symbols = blob_of(3, 99);
	return manifest;
}

static int read_text(const char *text, struct mote__manifest *manifest)
{
	memset(&err, 0, sizeof err);
	return mote__manifest_read(text, strlen(text), "manifest sha256:ab", manifest, &err);
}

TEST(store_manifest__is_read_as_it_was_written)
{
	for (uint32_t layers = 1; layers <= MOTE__MANIFEST_MEMORY_MAX; layers++) {
		const struct mote__manifest manifest = make(layers, layers % 2);
		struct mote__manifest again;
		char *text = NULL;
		size_t len = 0;
		CHECK_EQ(mote__manifest_write(&manifest, &text, &len, &err), MOTE_OK);
		CHECK_EQ(strlen(text), len);
		CHECK_EQ(read_text(text, &again), MOTE_OK);
		CHECK_EQ(again.memory_count, layers);
		CHECK_EQ(again.has_symbols, layers % 2);
		CHECK_MEM(&again.config, &manifest.config, sizeof again.config);
		CHECK_MEM(&again.mappings, &manifest.mappings, sizeof again.mappings);
		CHECK_MEM(&again.symbols, &manifest.symbols, sizeof again.symbols);
		CHECK_MEM(again.memory, manifest.memory, layers * sizeof again.memory[0]);
		mote__free(text);
	}
}

#define DIGEST(digit) "sha256:" digit digit digit digit digit digit digit digit
#define D0            DIGEST("00000000")
#define D1            DIGEST("11111111")
#define CONFIG                                                              \
	"\"config\":{\"mediaType\":\"application/vnd.mote.snapshot.config." \
	"v1+json\",\"digest\":\"" D0 "\",\"size\":10}"
#define LAYER(type, digest, size) \
	"{\"mediaType\":\"" type "\",\"digest\":\"" digest "\",\"size\":" size "}"
#define MEMORY      LAYER(MOTE__MEDIA_MEMORY, D1, "4096")
#define MAPPINGS    LAYER(MOTE__MEDIA_MAPPINGS, D1, "64")
#define SYMBOLS     LAYER(MOTE__MEDIA_SYMBOLS, D1, "64")
#define WITH(layer) "{\"schemaVersion\":2," CONFIG ",\"layers\":[" layer "]}"

TEST(store_manifest__the_text_is_fixed)
{
	struct mote__manifest manifest = make(1, false);
	manifest.config = blob_of(0, 10);
	manifest.memory[0] = blob_of(0x11, 4096);
	manifest.mappings = blob_of(0x11, 64);
	char *text = NULL;
	size_t len = 0;
	CHECK_EQ(mote__manifest_write(&manifest, &text, &len, &err), MOTE_OK);
	CHECK_STR(text, "{\"artifactType\":\"application/vnd.mote.snapshot.v1\","
			"\"config\":{\"digest\":\"" D0 "\",\"mediaType\":"
			"\"application/vnd.mote.snapshot.config.v1+json\",\"size\":10},"
			"\"layers\":[{\"digest\":\"" D1 "\",\"mediaType\":"
			"\"application/vnd.mote.snapshot.memory.v1\",\"size\":4096},"
			"{\"digest\":\"" D1 "\",\"mediaType\":"
			"\"application/vnd.mote.snapshot.mappings.v1\",\"size\":64}],"
			"\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\","
			"\"schemaVersion\":2}");
	mote__free(text);
}

TEST(store_manifest__other_fields_are_ignored)
{
	struct mote__manifest manifest;
	CHECK_EQ(read_text(WITH(MEMORY "," MAPPINGS), &manifest), MOTE_OK);
	CHECK_EQ(read_text("{\"schemaVersion\":2,\"annotations\":{\"a\":\"b\"},\"x\":[1.5,null]"
			   "," CONFIG ",\"layers\":[" MEMORY "," MEMORY "," MAPPINGS "," SYMBOLS
			   "]}",
			   &manifest),
		 MOTE_OK);
	CHECK_EQ(manifest.memory_count, 2);
	uint64_t bytes = 0;
	uint32_t blobs = 0;
	mote__manifest_sum(&manifest, 1000, &bytes, &blobs);
	CHECK_EQ(bytes, 1000 + 10 + 2 * 4096 + 64 + 64);
	CHECK_EQ(blobs, 6);
}

TEST(store_manifest__says_what_is_wrong_and_where)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
		{"", "manifest sha256:ab: "},
		{"null", "manifest sha256:ab"},
		{"[]", "is an array, expected an object"},
		{"{}", "schemaVersion is missing"},
		{"{\"schemaVersion\":1}", "schemaVersion is 1"},
		{"{\"schemaVersion\":2.0}", "schemaVersion is a fraction"},
		{"{\"schemaVersion\":2}", "config is missing"},
		{"{\"schemaVersion\":2,\"mediaType\":\"x\"}",
		 "mediaType is \"x\", expected \"application/vnd.oci.image.manifest.v1+json\""},
		{"{\"schemaVersion\":2,\"artifactType\":\"x\"}",
		 "artifactType is \"x\", expected \"application/vnd.mote.snapshot.v1\""},
		{"{\"schemaVersion\":2,\"config\":{\"mediaType\":\"x\"}}",
		 "config.mediaType is \"x\", expected"},
		{"{\"schemaVersion\":2," CONFIG "}", "layers is missing"},
		{WITH(""), "layers have no mappings"},
		{WITH(MEMORY), "layers have no mappings"},
		{WITH(MAPPINGS), "layers[0].mediaType is \"" MOTE__MEDIA_MAPPINGS "\", expected"},
		{WITH(SYMBOLS "," MEMORY "," MAPPINGS), "layers[0].mediaType is"},
		{WITH(MEMORY "," SYMBOLS), "layers[1].mediaType is"},
		{WITH(MEMORY "," MAPPINGS "," MAPPINGS), "layers[2].mediaType is"},
		{WITH(MEMORY "," MAPPINGS "," MEMORY), "layers[2].mediaType is"},
		{WITH(MEMORY "," MAPPINGS "," SYMBOLS "," SYMBOLS), "layers go on"},
		{WITH("1," MAPPINGS), "layers[0] is 1"},
		{WITH(LAYER(MOTE__MEDIA_MEMORY, D1, "4097")), "layers[0] has 4097 bytes"},
		{WITH(LAYER(MOTE__MEDIA_MEMORY, D1, "0")), "layers[0].size is 0"},
		{WITH(LAYER(MOTE__MEDIA_MEMORY, D1, "-4096")), "layers[0].size is -4096"},
		{WITH(LAYER(MOTE__MEDIA_MEMORY, D1, "4096.0")), "layers[0].size is a fraction"},
		{WITH(LAYER(MOTE__MEDIA_MEMORY, D1, "17179873280")),
		 "layers[0].size is 17179873280"},
		{WITH(LAYER(MOTE__MEDIA_MEMORY, D1, "9223372036854775808")), "too big integer"},
		{WITH(MEMORY "," LAYER(MOTE__MEDIA_MAPPINGS, D1, "134217761")),
		 "layers[1].size is 134217761"},
		{WITH(LAYER(MOTE__MEDIA_MEMORY, "sha512:1111", "4096")),
		 "layers[0].digest is of the algorithm \"sha512\""},
		{WITH(LAYER(MOTE__MEDIA_MEMORY, "sha256:1111", "4096")),
		 "layers[0].digest is \"sha256:1111\""},
		{WITH(LAYER(MOTE__MEDIA_MEMORY, DIGEST("AAAAAAAA"), "4096")),
		 "layers[0].digest is \"sha256:AAAA"},
		{WITH(LAYER(MOTE__MEDIA_MEMORY, DIGEST("11111111") "1", "4096")),
		 "layers[0].digest is \"sha256:1111"},
		{"{\"schemaVersion\":2,\"schemaVersion\":2}", "duplicate"},
		{"{\"schemaVersion\":2} x", "line 1"},
	};
	for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct mote__manifest manifest;
		memset(&manifest, 0x5A, sizeof manifest);
		int rc = read_text(cases[i].text, &manifest);
		if (rc != MOTE_ESTORE || !strstr(err.message, cases[i].message))
			check_failed(__FILE__, __LINE__, "%s: %d, \"%s\", without \"%s\"",
				     cases[i].text, rc, err.message, cases[i].message);
		CHECK_EQ(manifest.memory_count, 0x5A5A5A5A);
	}
}

/* Layers beyond the limit, then far beyond it. */
TEST(store_manifest__layers_have_a_limit)
{
	struct mote__manifest manifest;
	const size_t each = strlen(MEMORY ",");
	char *text = malloc(7000 * each + 4096);
	CHECK(text != NULL);
	for (unsigned count = 32; count <= 7000; count += count < 36 ? 1 : 6964) {
		char *at = text + sprintf(text, "{\"schemaVersion\":2," CONFIG ",\"layers\":[");
		for (unsigned i = 0; i < count; i++, at += each)
			memcpy(at, MEMORY ",", each);
		strcpy(at, MAPPINGS "]}");
		int rc = read_text(text, &manifest);
		CHECK_EQ(rc, count == 32 ? MOTE_OK : MOTE_ESTORE);
		if (count == 33)
			CHECK_HAS(err.message, "more than 32 layers of memory");
		if (count > 34)
			CHECK_HAS(err.message, "at most 34");
	}
	free(text);
}
