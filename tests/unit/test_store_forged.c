/* SPDX-License-Identifier: MIT */
/*
 * Forged documents: index, manifest and configuration with one value that is wrong, and digests
 * that fit. Each is refused with a message of its own that names the value, and the store stays as
 * it is. (Lists of mappings and memory: test_store_forged_memory.)
 */
#include "store_case.h"

/* What is put in place of a value; NULL: nothing, it is taken out; "+...": added to it. */
struct row {
	enum store_kind kind;
	const char *path, *json;
	const char *text; /* in the message; NULL: path */
	int code;         /* 0: MOTE_ESTORE */
};

static void edit(char **document, const char *path, const char *json)
{
	if (!json)
		forge_remove(document, path);
	else if (*json == '+')
		forge_add(document, path, json + 1);
	else
		forge_set(document, path, json);
}

static char **document_of(char which)
{
	return which == 'i' ? &c.forge.index : which == 'm' ? &c.forge.manifest : &c.forge.config;
}

static void refuse_rows(char which, const struct row *rows, size_t count)
{
	for (enum store_kind kind = 0; kind < STORE_KINDS; kind++) {
		store_open(kind);
		for (const struct row *row = rows; row < rows + count; row++) {
			char what[256];
			if (row->kind != kind)
				continue;
			(void)snprintf(what, sizeof what, "%s: %.64s", row->path,
				       row->json ? row->json : "removed");
			store_forge();
			edit(document_of(which), row->path, row->json);
			store_forged(row->code ? row->code : MOTE_ESTORE,
				     row->text ? row->text : row->path, what);
		}
		store_again();
		store_loads(NULL);
		store_close();
	}
}
#define REFUSE(which, rows) refuse_rows(which, rows, sizeof(rows) / sizeof *(rows))

/* count times item, in brackets. */
static char *many(const char *item, size_t count)
{
	size_t len = strlen(item);
	char *text = malloc(count * (len + 1) + 2), *at = text;
	CHECK(text != NULL);
	*at++ = '[';
	for (size_t i = 0; i < count; i++) {
		memcpy(at, item, len);
		at[len] = ',';
		at += len + 1;
	}
	memcpy(at - 1, "]", 2);
	return text;
}

/* ---- index ----------------------------------------------------------------------------------- */

#define ZEROES "0000000000000000000000000000000000000000000000000000000000000000"
#define SHA512 "\"sha512:" ZEROES ZEROES "\""

TEST(store_forged__indexes)
{
	static const struct row rows[] = {
		{0, "schemaVersion", "1", NULL, 0},
		{0, "schemaVersion", "3", NULL, 0},
		{0, "schemaVersion", "\"2\"", NULL, 0},
		{0, "schemaVersion", NULL, NULL, 0},
		{0, "mediaType", "\"application/vnd.oci.image.manifest.v1+json\"", NULL, 0},
		{0, "manifests", "{}", NULL, 0},
		{0, "manifests", "[1]", "manifests[0]", 0},
		{0, "manifests", NULL, NULL, 0},
		{0, "manifests[0].digest", SHA512, "sha512", 0},
		{0, "manifests[0].digest", "\"sha256:" ZEROES "0\"", NULL, 0},
		{0, "manifests[0].digest", "\"sha256:0\"", NULL, 0},
		{0, "manifests[0].digest", "\"sha256:../../../../etc/passwd\"", NULL, 0},
		{0, "manifests[0].digest",
		 "\"sha256:0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF\"",
		 NULL, 0},
		{0, "manifests[0].digest", NULL, NULL, 0},
		{0, "manifests[0].digest", "7", NULL, 0},
		{0, "manifests[0].digest", "\"sha256:" ZEROES "\"", "missing", 0},
		{0, "manifests[0].size", "0", "bytes", 0},
		{0, "manifests[0].size", "-1", NULL, 0},
		{0, "manifests[0].size", "1", "bytes", 0},
		{0, "manifests[0].size", "1048577", "manifest", MOTE_ETOOBIG},
		{0, "manifests[0].size", "9223372036854775807", "manifest", MOTE_ETOOBIG},
		{0, "manifests[0].size", "9223372036854775808", "too big", 0},
		{0, "manifests[0].size", "1e3", NULL, 0},
		{0, "manifests[0].size", NULL, NULL, 0},
		{0, "manifests[0].mediaType", "\"application/vnd.oci.image.index.v1+json\"",
		 "no snapshot", 0},
		{0, "manifests[0].mediaType", NULL, NULL, 0},
		{0, "manifests[0].mediaType", "7", NULL, 0},
		{0, "manifests[0].artifactType", "\"application/vnd.mote.snapshot.v2\"",
		 "no snapshot", 0},
		{0, "manifests[0].annotations", "[]", NULL, 0},
		{0, "manifests[0].annotations", "7", NULL, 0},
		{0, "", "7", "index.json", 0},
		{0, "", "[]", "index.json", 0},
		{0, "", "{}", "schemaVersion", 0},
		{0, "", "+\"schemaVersion\":2", "index.json", 0}, /* twice */
		{0, "", "+\"a\":\"\\u0000\"", "index.json", 0},
		{0, "", "+\"a\":\"\\ud800\"", "index.json", 0},
		{0, "", "+\"a\":\"\xff\"", "index.json", 0},
		{0, "", "+\"a\":01", "index.json", 0},
	};
	REFUSE('i', rows);
}

/* An entry for the same tag, of another manifest. */
static void add_entry(const char *digest)
{
	char entry[512];
	(void)snprintf(entry, sizeof entry,
		       "{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\","
		       "\"artifactType\":\"application/vnd.mote.snapshot.v1\",\"digest\":\"%s\","
		       "\"size\":512,\"annotations\":{\"org.opencontainers.image.ref.name\":"
		       "\"latest\"}}",
		       digest);
	/* Behind, so that the first one is still the one that is edited. */
	forge_add(&c.forge.index, "manifests", entry);
}

TEST(store_forged__two_manifests_of_a_tag)
{
	store_open(STORE_NEW);
	store_again();
	forge_open(&c.forge, c.directory);
	add_entry("sha256:" ZEROES);
	forge_close(&c.forge);
	store_refused(NULL, MOTE_ESTORE, "latest", "two manifests");
	/* By its digest there is no doubt. */
	store_loads(c.saved.digest);
	store_close();
}

TEST(store_forged__too_many_entries)
{
	store_open(STORE_NEW);
	store_forge();
	char *text = many("{}", 1000000);
	forge_set(&c.forge.index, "manifests", text);
	store_forged(MOTE_ESTORE, "index.json", "a million entries");
	store_forge();
	free(text);
	text = many("7", 16385);
	forge_set(&c.forge.index, "manifests", text);
	store_forged(MOTE_ESTORE, "16384", "one entry too many");
	store_forge();
	free(text);
	/* Blanks, beyond what is read at all. */
	text = malloc((17u << 20) + 1);
	CHECK(text != NULL);
	memset(text, ' ', 17u << 20);
	memcpy(text, "{}", 2);
	text[17u << 20] = 0;
	forge_set(&c.forge.index, "", text);
	store_forged(MOTE_ESTORE, "index.json", "17 MiB");
	free(text);
	store_close();
}

/* Nested so deep that a reader that calls itself would end. */
TEST(store_forged__deep_documents)
{
	static const char which[] = "imc";
	const size_t depth = 200000;
	char *text = malloc(2 * depth + 8);
	CHECK(text != NULL);
	memcpy(text, "\"a\":", 4);
	memset(text + 4, '[', depth);
	memset(text + 4 + depth, ']', depth);
	text[4 + 2 * depth] = 0;
	store_open(STORE_NEW);
	for (size_t i = 0; i < 3; i++) {
		store_forge();
		forge_add(document_of(which[i]), "", text);
		store_forged(MOTE_ESTORE, "arrays and objects", "a deep document");
	}
	free(text);
	store_close();
}

/* ---- manifest -------------------------------------------------------------------------------- */

#define MEDIA(name) "\"application/vnd.mote.snapshot." name "\""

TEST(store_forged__manifests)
{
	static const struct row rows[] = {
		{0, "schemaVersion", "1", NULL, 0},
		{0, "schemaVersion", NULL, NULL, 0},
		{0, "mediaType", "\"application/vnd.oci.image.index.v1+json\"", NULL, 0},
		{0, "artifactType", MEDIA("v2"), NULL, 0},
		{0, "config", NULL, NULL, 0},
		{0, "config", "[]", NULL, 0},
		{0, "config.mediaType", "\"application/vnd.oci.image.config.v1+json\"", NULL, 0},
		{0, "config.mediaType", MEDIA("config.v2+json"), NULL, 0},
		{0, "config.mediaType", NULL, NULL, 0},
		{0, "config.digest", SHA512, "sha512", 0},
		{0, "config.digest", "\"md5:00000000000000000000000000000000\"", "md5", 0},
		{0, "config.digest", "\"sha256:" ZEROES "\"", "config", 0},
		{0, "config.size", "0", "config", 0},
		{0, "config.size", "16777217", "config", 0},
		{0, "config.size", "-1", NULL, 0},
		{0, "layers", NULL, NULL, 0},
		{0, "layers", "{}", NULL, 0},
		{0, "layers", "[]", NULL, 0},
		{0, "layers[0].mediaType", "\"application/vnd.oci.image.layer.v1.tar\"", NULL, 0},
		{0, "layers[0].mediaType", MEDIA("memory.v1+gzip"), NULL, 0},
		{0, "layers[0].mediaType", MEDIA("memory.v2"), NULL, 0},
		{0, "layers[0].mediaType", MEDIA("config.v1+json"), NULL, 0},
		{0, "layers[0].digest", SHA512, "sha512", 0},
		{0, "layers[0].digest", "\"sha256:" ZEROES "\"", "memory", 0},
		{0, "layers[0].size", "0", NULL, 0},
		{0, "layers[0].size", "4097", "layers[0]", 0},
		{0, "layers[0].size", "17179873280", NULL, 0},
		{0, "layers[0].size", "18446744073709547520", "too big", 0},
		{0, "layers[1].mediaType", MEDIA("memory.v1"), "layers", 0},
		{0, "layers[1].mediaType", MEDIA("symbols.v1"), "layers", 0},
		{0, "layers[1].size", "33", "mappings", 0},
		{0, "layers[1].size", "0", NULL, 0},
		{0, "layers[1].size", "134217824", NULL, 0},
		{0, "layers[1]", NULL, "layers", 0},
		{0, "layers[2].mediaType", MEDIA("mappings.v1"), NULL, 0},
		{0, "layers[2].size", "0", NULL, 0},
		{0, "layers[2].size", "268435457", NULL, 0},
		{0, "layers[2].digest", "\"sha256:" ZEROES "\"", "symbols", 0},
		{0, "", "[]", "manifest", 0},
		{0, "", "7", "manifest", 0},
		{0, "", "+\"schemaVersion\":2", "manifest", 0},
		{0, "config", "+\"size\":1", "manifest", 0},
		{STORE_CONFINED, "layers[2].mediaType", MEDIA("memory.v1"), "layers", 0},
	};
	REFUSE('m', rows);
}

TEST(store_forged__layers_without_end)
{
	store_open(STORE_NEW);
	char *text = many("{}", 1000000);
	store_forge();
	forge_set(&c.forge.manifest, "layers", text);
	store_forged(MOTE_ETOOBIG, "manifest", "a million layers");
	free(text);
	store_forge();
	char *layer = forge_get(c.forge.manifest, "layers[0]");
	text = many(layer, 4000);
	forge_set(&c.forge.manifest, "layers", text);
	store_forged(MOTE_ESTORE, "layers", "four thousand layers");
	free(text);
	store_forge();
	for (unsigned i = 0; i < 32; i++)
		forge_add(&c.forge.manifest, "layers", layer);
	store_forged(MOTE_ESTORE, "layers", "33 layers of memory");
	free(layer);
	store_close();
}

/* What OCI lets others add is ignored. */
TEST(store_forged__fields_of_others_are_ignored)
{
	store_open(STORE_CONFINED);
	store_forge();
	forge_add(&c.forge.index, "", "\"annotations\":{\"a\":\"b\"}");
	forge_add(&c.forge.index, "manifests[0]", "\"platform\":{\"os\":\"linux\"}");
	forge_add(&c.forge.manifest, "", "\"annotations\":{\"a\":\"b\"},\"subject\":null");
	forge_add(&c.forge.manifest, "layers[0]", "\"annotations\":{\"a\":\"b\"}");
	forge_close(&c.forge);
	store_loads(NULL);
	store_forge();
	forge_remove(&c.forge.index, "manifests[0].artifactType");
	forge_remove(&c.forge.manifest, "artifactType");
	forge_remove(&c.forge.manifest, "mediaType");
	forge_close(&c.forge);
	store_loads(NULL);
	store_close();
}

/* ---- configuration --------------------------------------------------------------------------- */

TEST(store_forged__versions)
{
	static const struct row rows[] = {
		{0, "version", "0", NULL, 0},
		{0, "version", "\"1\"", NULL, 0},
		{0, "version", "1.5", NULL, 0},
		{0, "version", "true", NULL, 0},
		{0, "version", "18446744073709551616", "config", 0},
		{0, "version", NULL, NULL, 0},
		{0, "leastReader", "0", NULL, 0},
		{0, "leastReader", NULL, NULL, 0},
		{0, "", "+\"surprise\":1", "surprise", 0},
		{0, "sizes", "+\"surprise\":1", "surprise", 0},
		{0, "image", "+\"surprise\":1", "surprise", 0},
		{STORE_STOCK, "start.special.cs", "+\"surprise\":1", "surprise", 0},
		{0, "", "+\"version\":1", "config", 0},
		{0, "", "[]", "config", 0},
	};
	REFUSE('c', rows);
	store_open(STORE_CONFINED);
	store_forge();
	forge_set(&c.forge.config, "version", "2");
	forge_set(&c.forge.config, "leastReader", "2");
	store_forged(MOTE_ESTORE, "newer version", "a newer version");
	CHECK_HAS(c.err.message, "revision 2");
	/* One that says that this reader may read it. */
	store_forge();
	forge_set(&c.forge.config, "version", "2");
	forge_add(&c.forge.config, "", "\"surprise\":1");
	forge_add(&c.forge.config, "sizes", "\"surprise\":[]");
	forge_close(&c.forge);
	store_loads(NULL);
	store_close();
}

TEST(store_forged__kinds_and_sizes)
{
	static const struct row rows[] = {
		{0, "family", "\"V\"", NULL, 0},
		{0, "family", "1", NULL, 0},
		{0, "bits", "48", "bits", 0},
		{0, "bits", "16", "bits", 0},
		{0, "bits", "32", "bits", 0}, /* confined guests have 64 */
		{0, "kind", "\"free\"", NULL, 0},
		{0, "state", "\"running\"", NULL, 0},
		{0, "state", "\"ready\"", "missing", 0}, /* without a start */
		{STORE_CONFINED, "state", "\"new\"", NULL, 0},
		{0, "generation", "-1", NULL, 0},
		{0, "sizes", "[]", NULL, 0},
		{0, "sizes.input", "0", "input", 0},
		{0, "sizes.input", "4096", "input", 0},
		{0, "sizes.input", "17179865089", NULL, 0},
		{0, "sizes.output", "1", "output", 0},
		{0, "sizes.output", "\"0x4000\"", NULL, 0},
		{0, "sizes.heap", "-4096", NULL, 0},
		{0, "sizes.heap", "1e9", NULL, 0},
		{0, "sizes.heap", "18446744073709551615", "config", 0},
		{0, "sizes.stack", "0", "stack", 0},
		{0, "sizes.scratch", "1", "scratch", 0},
		{0, "sizes.scratch", "4096", "scratch", 0},
		{STORE_STOCK, "sizes.scratch", "4096", "scratch", 0},
		{STORE_STOCK, "sizes.scratch", "0", "scratch", 0},
		{0, "sizes.mappings", NULL, NULL, 0},
		{0, "sizes.initData", "true", NULL, 0},
		{0, "initDataAccess", "\"w\"", NULL, 0},
		{0, "initDataAccess", "\"rwx\"", "init", 0},
		{0, "executableHeap", "1", NULL, 0},
		{0, "largeLeaves", "\"yes\"", NULL, 0},
	};
	REFUSE('c', rows);
}

TEST(store_forged__images)
{
	static const struct row rows[] = {
		{0, "image", NULL, NULL, 0},
		{0, "image.address", "\"0x1001\"", "image", 0},
		{0, "image.address", "\"1000\"", NULL, 0},
		{0, "image.address", "\"0x01000\"", NULL, 0},
		{0, "image.address", "\"0X1000\"", NULL, 0},
		{0, "image.address", "\"0xABC000\"", NULL, 0},
		{0, "image.address", "4096", NULL, 0},
		{0, "image.address", "\"0x10000000000000000\"", NULL, 0},
		{0, "image.address", "\"0x7ffffffff000\"", "image", 0},
		{0, "image.address", "\"0xfffffffffffff000\"", "image", 0},
		{0, "image.bytes", "0", "image", 0},
		{0, "image.bytes", "4095", "image", 0},
		{0, "image.bytes", "17179865088", "", 0},
		{0, "image.pages", "[]", "", 0},
		{0, "image.pages", NULL, NULL, 0},
		{0, "image.pages[0].access", "0", NULL, 0},
		{0, "image.pages[0].access", "8", NULL, 0},
		{0, "image.pages[0].access", "7", "", 0},
		{0, "image.pages[0].access", "6", "", 0},
		{0, "image.pages[0].count", "0", NULL, 0},
		{0, "image.pages[0].count", "1000", "image", 0},
		{0, "image.pages[0].count", "17179865088", "image", 0},
		{0, "image.pages[1].first", "0", "image", 0},
		{STORE_STOCK, "image.pages", "+{\"first\":0,\"count\":1,\"access\":5}", NULL, 0},
		{0, "image.positionIndependent", "2", NULL, 0},
		{0, "image.level", "5", NULL, 0},
		{0, "image.level", "-1", NULL, 0},
		{0, "image.level", "3", "v3", MOTE_EPROCESSOR},
		{0, "image.level", "4", "v4", MOTE_EPROCESSOR},
		{0, "image.versionNote", "7", NULL, 0},
		{0, "image.versionNote", "\"01234567890123456789012345678901\"", NULL, 0},
		{0, "image.buildId", "\"0\"", NULL, 0},
		{0, "image.buildId", "\"0g\"", NULL, 0},
		{0, "image.buildId", "\"AB\"", NULL, 0},
		{0, "image.buildId", "\"" ZEROES ZEROES "00\"", NULL, 0},
		/* Where a new guest begins: data, nothing, the library's half, no address at all.
		 */
		{0, "image.entry", "\"0x3000\"", "entry", 0},
		{0, "image.entry", "\"0x0\"", "entry", 0},
		{0, "image.entry", "\"0x7fffffffe000\"", "entry", 0},
		{0, "image.entry", "\"0xffffffffffffff00\"", "entry", 0},
		{0, "image.entry", "\"0x800000000000\"", "entry", 0},
		{0, "image.entry", NULL, NULL, 0},
	};
	REFUSE('c', rows);
}

TEST(store_forged__functions)
{
	static const struct row rows[] = {
		{0, "image.exports", "{}", NULL, 0},
		{0, "image.exports[0]", "7", NULL, 0},
		{0, "image.exports[0].name", "\"\"", "image.exports[0]", 0},
		{0, "image.exports[0].name", "\"\\u0000\"", "config", 0},
		{0, "image.exports[0].name", "\"\xff\"", "config", 0},
		{0, "image.exports[0].name", NULL, NULL, 0},
		{0, "image.exports[0].name", "\"" ZEROES ZEROES ZEROES ZEROES "\"", NULL, 0},
		{0, "image.exports[0].result", "\"i16\"", NULL, 0},
		{0, "image.exports[0].result", "3", NULL, 0},
		{0, "image.exports[0].parameters[1]", "\"void\"", NULL, 0},
		{0, "image.exports[0].parameters[1]", "null", NULL, 0},
		{0, "image.exports[0].parameters",
		 "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", NULL, 0},
		{0, "image.imports[0].result", "\"\"", NULL, 0},
		{STORE_CONFINED, "host", NULL, NULL, 0},
		{STORE_CONFINED, "host.functions", NULL, NULL, 0},
		{STORE_CONFINED, "host.functions[0].result", "\"x\"", NULL, 0},
		{0, "", "+\"host\":{\"functions\":[]}", "host", 0},
	};
	REFUSE('c', rows);
	store_open(STORE_NEW);
	store_forge();
	char *text = many("{\"name\":\"f\",\"parameters\":[],\"result\":\"void\"}", 16385);
	forge_set(&c.forge.config, "image.exports", text);
	store_forged(MOTE_ESTORE, "image.exports", "too many functions");
	free(text);
	store_close();
}

TEST(store_forged__memory_and_write_sets)
{
	static const struct row rows[] = {
		{0, "memory", "[]", NULL, 0},
		{0, "memory", "{}", NULL, 0},
		{0, "memory[0].address", "\"0x2000\"", "memory layer 0", 0},
		{0, "memory[0].address", "\"0x0\"", "memory layer 0", 0},
		{0, "memory[0].address", "4096", NULL, 0},
		{0, "memory[0].bytes", "4096", "memory layer 0", 0},
		{0, "memory[0].bytes", "0", NULL, 0},
		{STORE_CONFINED, "memory[1].address", "\"0x1000\"", "memory layer 1",
		 0}, /* overlaps */
		{STORE_CONFINED, "memory[1].address", "\"0x100000\"", "memory layer 1",
		 0}, /* a gap */
		{STORE_CONFINED, "memory[1]", NULL, "memory", 0},
		{0, "memory", "+{\"address\":\"0x1000\",\"bytes\":4096}", "memory", 0},
		{0, "zeroPage", "\"0x1\"", NULL, 0},
		{0, "zeroPage", "\"0x1001\"", NULL, 0},
		{0, "zeroPage", "\"0x1000\"", NULL, 0}, /* the image, which is not zero */
		{0, "zeroPage", "\"0x10000000\"", NULL, 0},
		{0, "zeroPage", "\"0xfffffffffffff000\"", NULL, 0},
		{0, "writeSet", NULL, NULL, 0},
		{0, "writeSet.max", "4097", NULL, 0},
		{0, "writeSet.pages", "{}", NULL, 0},
		{0, "writeSet.pages", "+7", "writeSet.pages[0]", 0},
		{0, "writeSet.pages", "+\"0x3001\"", "writeSet", 0},
		{0, "writeSet.pages", "+\"0x800000000000\"", "writeSet", 0},
		{0, "writeSet.pages", "+\"0x2000\"", "writeSet", 0}, /* code */
		{0, "writeSet.pages", "+\"0x7ffffffff000\"", "writeSet", 0},
		{0, "writeSet.pages", "[\"0x10000\",\"0x10000\"]", "writeSet", 0},
		{0, "symbols", NULL, "symbols", 0},
		{0, "symbols.table", "1", "symbols", 0},
		{0, "symbols.strings", "268435457", NULL, 0},
		{0, "symbols.table", "18446744073709551615", "config", 0},
		{0, "symbols.shift", "1", NULL, 0},
		{0, "metadata", "7", NULL, 0},
		{0, "metadata", "+{\"name\":\"a\",\"json\":\"{\"}", "metadata[0]", 0},
		{0, "metadata", "+{\"name\":\"a\",\"json\":\"\"}", "metadata[0]", 0},
		{0, "metadata", "+{\"name\":\"\",\"json\":\"1\"}", "metadata[0]", 0},
		{0, "metadata", "+{\"name\":\"a\",\"json\":1}", "metadata[0]", 0},
		{0, "metadata", "[{\"name\":\"a\",\"json\":\"1\"},{\"name\":\"a\",\"json\":\"1\"}]",
		 "metadata[1]", 0},
		{0, "metadata", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", NULL, 0},
		{0, "allowedMsrs", "7", NULL, 0},
		{0, "allowedMsrs", "+\"0xc0000102\"", NULL, 0}, /* of a confined guest */
		{STORE_CONFINED, "processor.features", "7", NULL, 0},
		{STORE_CONFINED, "processor.features", "[7]", "processor.features[0]", 0},
	};
	REFUSE('c', rows);
	store_open(STORE_NEW);
	store_forge();
	char *text = many("{}", 1000000);
	forge_set(&c.forge.config, "memory", text);
	store_forged(MOTE_ESTORE, "config", "a million layers");
	free(text);
	store_close();
}

/* ---- start ----------------------------------------------------------------------------------- */

TEST(store_forged__confined_starts)
{
	static const struct row rows[] = {
		{STORE_CONFINED, "start", NULL, NULL, 0},
		{STORE_CONFINED, "start.dispatch", "\"0x3000\"", "dispatch", 0},
		{STORE_CONFINED, "start.dispatch", "\"0x0\"", "dispatch", 0},
		{STORE_CONFINED, "start.dispatch", "\"0x800000000000\"", "dispatch", 0},
		{STORE_CONFINED, "start.dispatch", "\"0xffffffffff600000\"", "dispatch", 0},
		{STORE_CONFINED, "start.dispatch", NULL, NULL, 0},
		{STORE_CONFINED, "start.stack", NULL, NULL, 0},
		{STORE_CONFINED, "start.fsBase", "\"0x8000000000000000\"", "FS.base", 0},
		{STORE_CONFINED, "start.gsBase", "\"0x800000000000\"", "GS.base", 0},
		{STORE_CONFINED, "start", "+\"special\":{}", "special", 0},
		{STORE_CONFINED, "start", "+\"msrs\":[]", "msrs", 0},
		{STORE_NEW, "", "+\"start\":{}", "start", 0},
	};
	REFUSE('c', rows);
}

/* Every register that a stock guest brings. */
TEST(store_forged__stock_starts)
{
	static const struct row rows[] = {
		{STORE_STOCK, "start.special", NULL, NULL, 0},
		{STORE_STOCK, "start.special.cs", NULL, NULL, 0},
		{STORE_STOCK, "start.dispatch", "\"0x100000000\"", "dispatch", 0},
		{STORE_STOCK, "start.dispatch", "\"0x8000000000000000\"", "dispatch", 0},
		/* A bit that does not exist, no protection, no paging, not-write-through alone. */
		{STORE_STOCK, "start.special.cr0", "\"0x80010073\"", "CR0", 0},
		{STORE_STOCK, "start.special.cr0", "\"0x180010033\"", "CR0", 0},
		{STORE_STOCK, "start.special.cr0", "\"0x80010032\"", "CR0", 0},
		{STORE_STOCK, "start.special.cr0", "\"0x10033\"", "CR0", 0},
		{STORE_STOCK, "start.special.cr0", "\"0xa0010033\"", "CR0", 0},
		{STORE_STOCK, "start.special.cr0", "7", NULL, 0},
		/* Reserved, VMX, SMX, five levels, protection keys, CET, none at all. */
		{STORE_STOCK, "start.special.cr4", "\"0x8020\"", "CR4", 0},
		{STORE_STOCK, "start.special.cr4", "\"0x2020\"", "CR4", 0},
		{STORE_STOCK, "start.special.cr4", "\"0x4020\"", "CR4", 0},
		{STORE_STOCK, "start.special.cr4", "\"0x1020\"", "CR4", 0},
		{STORE_STOCK, "start.special.cr4", "\"0x800020\"", "CR4", 0},
		{STORE_STOCK, "start.special.cr4", "\"0x100000020\"", "CR4", 0},
		{STORE_STOCK, "start.special.cr4", "\"0x0\"", "CR4", 0},
		/* Reserved, SVM, not active, not enabled. */
		{STORE_STOCK, "start.special.efer", "\"0x1000000000000500\"", "EFER", 0},
		{STORE_STOCK, "start.special.efer", "\"0x80000000500\"", "EFER", 0},
		{STORE_STOCK, "start.special.efer", "\"0x1500\"", "EFER", 0},
		{STORE_STOCK, "start.special.efer", "\"0x100\"", "EFER", 0},
		{STORE_STOCK, "start.special.efer", "\"0x0\"", "EFER", 0},
		{STORE_STOCK, "start.special.cs.type", "16", NULL, 0},
		{STORE_STOCK, "start.special.cs.type", "3", "CS.", 0},
		{STORE_STOCK, "start.special.cs.present", "0", "CS.", 0},
		{STORE_STOCK, "start.special.cs.present", "2", NULL, 0},
		{STORE_STOCK, "start.special.cs.l", "0", "CS.", 0},
		{STORE_STOCK, "start.special.cs.db", "1", "CS.", 0},
		{STORE_STOCK, "start.special.cs.s", "0", "CS.", 0},
		{STORE_STOCK, "start.special.cs.unusable", "1", "CS.", 0},
		{STORE_STOCK, "start.special.cs.selector", "65536", NULL, 0},
		{STORE_STOCK, "start.special.ss.dpl", "4", NULL, 0},
		{STORE_STOCK, "start.special.ds.limit", "4294967296", NULL, 0},
		{STORE_STOCK, "start.special.fs.base", "\"0x8000000000000000\"", "FS.", 0},
		{STORE_STOCK, "start.special.gs.base", "\"0x800000000000\"", "GS.", 0},
		{STORE_STOCK, "start.special.tr.type", "2", "TR.", 0},
		{STORE_STOCK, "start.special.tr.s", "1", "TR.", 0},
		{STORE_STOCK, "start.special.tr.present", "0", "TR.", 0},
		{STORE_STOCK, "start.special.tr.unusable", "1", "TR.", 0},
		{STORE_STOCK, "start.special.tr.base", "\"0x8000000000000000\"", "TR.", 0},
		{STORE_STOCK, "start.special.gdtBase", "\"0x8000000000000000\"", "GDT", 0},
		{STORE_STOCK, "start.special.idtBase", "\"0x800000000000\"", "IDT", 0},
		{STORE_STOCK, "start.special.gdtLimit", "65536", NULL, 0},
		{STORE_STOCK, "start.special.idtLimit", "-1", NULL, 0},
		{STORE_STOCK, "start.msrs", NULL, NULL, 0},
		{STORE_STOCK, "start.msrs[0].index", "\"0xc0000080\"", "msrs", 0},
		{STORE_STOCK, "start.msrs[0].index", "\"0x100000000\"", "msrs", 0},
		{STORE_STOCK, "start.msrs[0].value", "\"0x8000000000000000\"", "msrs", 0},
		{STORE_STOCK, "start.msrs", "+{\"index\":\"0x10\",\"value\":\"0x0\"}", "msrs", 0},
		{STORE_STOCK, "start", "+\"fsBase\":\"0x0\"", "fsBase", 0},
		{STORE_STOCK, "allowedMsrs", "[\"0x100000000\"]", "allowedMsrs[0]", 0},
	};
	REFUSE('c', rows);
}

/* A register of its own is the embedder's to allow. */
TEST(store_forged__registers_need_leave)
{
	mote_snapshot *snapshot = NULL;
	store_open(STORE_STOCK);
	store_again();
	c.load.msrs = NULL;
	c.load.msr_count = 0;
	int rc = mote_snapshot_load(c.directory, NULL, &c.load, &snapshot, &c.err);
	CHECK(rc == MOTE_ESTORE && !snapshot);
	CHECK_HAS(c.err.message, "0xc0000102");
	/* To verify a store, one need not mean to run what is in it. */
	OK(&c, mote_store_verify(c.directory, NULL, NULL, NULL, NULL, &c.err));
	store_forge();
	c.load.msrs = store_msrs;
	c.load.msr_count = 1;
	forge_add(&c.forge.config, "allowedMsrs", "\"0xc0000080\"");
	forge_close(&c.forge);
	rc = mote_snapshot_load(c.directory, NULL, &c.load, &snapshot, &c.err);
	CHECK(rc == MOTE_ESTORE && !snapshot);
	CHECK_HAS(c.err.message, "0xc0000080");
	store_close();
}

/* ---- limits ---------------------------------------------------------------------------------- */

TEST(store_forged__more_than_the_caller_wants)
{
	mote_snapshot *snapshot = NULL;
	store_open(STORE_CONFINED);
	store_again();
	c.load.bytes_max = c.saved.bytes - 1;
	FAILS(&c, mote_snapshot_load(c.directory, NULL, &c.load, &snapshot, &c.err), MOTE_ETOOBIG);
	CHECK_HAS(c.err.message, "bytes_max");
	c.load.bytes_max = c.saved.bytes;
	store_loads(NULL);
	store_close();
}

/* ---- processors ------------------------------------------------------------------------------ */

struct warned {
	unsigned count;
	int answer;
	char text[512];
};

static int warn(void *cookie, const char *text)
{
	struct warned *warned = cookie;
	warned->count++;
	(void)snprintf(warned->text, sizeof warned->text, "%s", text);
	return warned->answer;
}

TEST(store_forged__a_guest_that_saw_more_of_a_processor_is_a_warning)
{
	struct warned warned = {.answer = 0};
	store_open(STORE_CONFINED);
	store_forge();
	forge_set(&c.forge.config, "processor.features", "[\"fpu\",\"warp-drive\"]");
	forge_close(&c.forge);
	c.load.warn = warn;
	c.load.cookie = &warned;
	store_loads(NULL);
	CHECK_EQ(warned.count, 0);
	c.load.accept_processor = 0;
	store_loads(NULL);
	CHECK_EQ(warned.count, 1);
	CHECK_HAS(warned.text, "features that this processor has not");
	CHECK_HAS(warned.text, "warp-drive");
	CHECK(!strstr(warned.text, "fpu") && !strchr(warned.text, '\n'));
	warned.answer = 1;
	store_refused(NULL, MOTE_EPROCESSOR, warned.text, "a warning that is refused");
	CHECK_EQ(warned.count, 2);
	/* A check is of the store, not of this machine. */
	OK(&c, mote_store_verify(c.directory, NULL, NULL, NULL, NULL, &c.err));
	CHECK_EQ(warned.count, 2);
	c.load.warn = NULL;
	store_loads(NULL);
	/* A machine that has all of it is not warned of. */
	store_forge();
	forge_set(&c.forge.config, "processor.features", "[\"sse2\"]");
	forge_close(&c.forge);
	c.load.warn = warn;
	store_loads(NULL);
	CHECK_EQ(warned.count, 2);
	store_close();
}
