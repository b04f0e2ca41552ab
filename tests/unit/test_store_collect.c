/* SPDX-License-Identifier: MIT */
/* Collections: what they remove, what they keep for whom, and when they remove nothing. */
#include "store_files.h"

#include <sys/file.h>

#define MEDIA_DOCKER "application/vnd.docker.distribution.manifest.v2+json"
#define MEDIA_INDEX  "application/vnd.oci.image.index.v1+json"

static struct mote_store_collected done;

static int collect(void)
{
	memset(&done, 0, sizeof done);
	files_open(MOTE__STORE_COLLECT);
	int rc = mote__collect(&f.store, &done, &f.err);
	struct mote_error err = f.err;
	files_open(MOTE__STORE_WRITE);
	f.err = err;
	return rc;
}

static bool is_there(struct mote__blob blob)
{
	return mote__blob_is_there(&f.store, &blob);
}

static const char *digest_of(struct mote__blob blob)
{
	static char texts[4][MOTE_REFERENCE_BYTES];
	static unsigned next;
	char *text = texts[next++ % 4];
	mote__reference_print(blob.digest, text);
	return text;
}

/* A manifest of any program. rest: more fields, from a comma on. */
static struct mote__blob put_manifest(struct mote__blob config, struct mote__blob layer,
				      const char *rest)
{
	char text[1024];
	(void)snprintf(text, sizeof text,
		       "{\"config\":{\"digest\":\"%s\"},\"layers\":[{\"digest\":\"%s\"}]%s}",
		       digest_of(config), digest_of(layer), rest);
	return files_put(text);
}

/* An index of one entry. */
static void list_one(struct mote__blob manifest, const char *media_type)
{
	char text[1024];
	(void)snprintf(
		text, sizeof text,
		"{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"%s\",\"digest\":\"%s\","
		"\"size\":%llu}]}",
		media_type, digest_of(manifest), (unsigned long long)manifest.bytes);
	files_write("index.json", text);
}

/* A real manifest with its blobs, listed. */
static struct mote__manifest put_snapshot(const char *name, const char *tag)
{
	char text[2][64], *bytes = NULL;
	size_t len = 0;
	(void)snprintf(text[0], sizeof text[0], "config of %s", name);
	(void)snprintf(text[1], sizeof text[1], "mappings of %s", name);
	struct mote__manifest manifest = {.config = files_put(text[0]),
					  .mappings = files_put(text[1]),
					  .memory_count = 1,
					  .memory = {files_put("the layer of both")}};
	CHECK_EQ(mote__manifest_write(&manifest, &bytes, &len, &f.err), MOTE_OK);
	struct mote__blob blob = files_put(bytes);
	mote__free(bytes);
	CHECK_EQ(mote__index_set(&f.store, &blob, tag, &f.err), MOTE_OK);
	return manifest;
}

TEST(store_collect__removes_what_nothing_needs)
{
	files_make();
	struct mote__manifest a = put_snapshot("a", "a"), b = put_snapshot("b", "b");
	struct mote__blob unlisted = files_put("of nobody");
	CHECK_EQ(collect(), MOTE_OK);
	CHECK_EQ(done.blobs, 1);
	CHECK_EQ(done.bytes, 9);
	CHECK_EQ(done.kept_blobs, 7);
	CHECK_EQ(done.rests, 0);
	CHECK(!is_there(unlisted));
	CHECK_EQ(mote__index_remove(&f.store, "a", &f.err), MOTE_OK);
	CHECK(is_there(a.config));
	CHECK_EQ(collect(), MOTE_OK);
	CHECK_EQ(done.blobs, 3);
	CHECK_EQ(done.kept_blobs, 4);
	CHECK(!is_there(a.config) && !is_there(a.mappings));
	CHECK(is_there(b.config) && is_there(b.mappings) && is_there(b.memory[0]));
	CHECK_EQ(collect(), MOTE_OK);
	CHECK_EQ(done.blobs, 0);
	CHECK_EQ(mote__index_remove(&f.store, "b", &f.err), MOTE_OK);
	CHECK_EQ(collect(), MOTE_OK);
	CHECK_EQ(done.blobs, 4);
	CHECK_EQ(done.kept_blobs, 0);
	char path[TREE_PATH_BYTES];
	tree_join(path, f.directory, "blobs/sha256");
	CHECK_EQ(tree_count(path, ""), 0);
	files_end();
}

TEST(store_collect__removes_rests_and_no_other_files)
{
	files_make();
	files_write(".mote-0123456789ab", "rest");
	files_write(".mote-ffffffffffff", "");
	static const char *const others[] = {
		".mote-0123456789aB", ".mote-0123456789ab.txt", ".mote-",           "notes.txt",
		"blobs/sha512",       "blobs/sha256/notes.txt", "blobs/sha256/0123"};
	for (unsigned i = 0; i < sizeof others / sizeof *others; i++)
		files_write(others[i], "mine");
	CHECK_EQ(collect(), MOTE_OK);
	CHECK_EQ(done.rests, 2);
	CHECK_EQ(done.blobs, 0);
	for (unsigned i = 0; i < sizeof others / sizeof *others; i++)
		CHECK(tree_has(files_path(others[i])));
	CHECK_EQ(tree_count(f.directory, ".mote-"), 3);
	files_end();
}

/* A layout that a copy from elsewhere left; links in it are not followed. */
TEST(store_collect__removes_directories_that_are_rests)
{
	static const char *const directories[] = {".mote-000000000000", ".mote-000000000000/blobs",
						  ".mote-000000000000/blobs/sha256",
						  ".mote-000000000001"};
	files_make();
	for (unsigned i = 0; i < 4; i++)
		CHECK_EQ(mkdir(files_path(directories[i]), 0755), 0);
	files_write(".mote-000000000000/index.json", "x");
	files_write(".mote-000000000000/blobs/sha256/0123", "x");
	CHECK_EQ(symlink(f.base, files_path(".mote-000000000000/blobs/up")), 0);
	CHECK_EQ(symlink(f.base, files_path(".mote-000000000002")), 0);
	/* Who is still at it holds a lock. */
	int fd = open(files_path(".mote-000000000001"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK(fd >= 0 && flock(fd, LOCK_SH) == 0);
	CHECK_EQ(collect(), MOTE_OK);
	CHECK_EQ(done.rests, 2);
	CHECK(tree_has(f.base) && tree_has(files_path("index.json")));
	CHECK_EQ(tree_count(f.directory, ".mote-"), 1);
	CHECK(tree_has(files_path(".mote-000000000001")));
	close(fd);
	CHECK_EQ(collect(), MOTE_OK);
	CHECK_EQ(done.rests, 1);
	/* Nobody's: deeper than anything that is written here. */
	char path[TREE_PATH_BYTES] = ".mote-000000000000";
	for (unsigned i = 0; i < 6; i++) {
		CHECK_EQ(mkdir(files_path(path), 0755), 0);
		strcat(path, "/x");
	}
	CHECK_ERROR(collect(), MOTE_ESYSTEM, "removing rests");
	files_end();
}

TEST(store_collect__keeps_what_other_programs_need)
{
	static const char *const types[] = {MOTE__MEDIA_MANIFEST, MEDIA_DOCKER};
	for (unsigned i = 0; i < 2; i++) {
		files_make();
		struct mote__blob config = files_put("config"), layer = files_put("layer");
		struct mote__blob manifest = put_manifest(config, layer, ",\"x\":1");
		struct mote__blob garbage = files_put("garbage");
		list_one(manifest, types[i]);
		CHECK_EQ(collect(), MOTE_OK);
		CHECK_EQ(done.kept_blobs, 3);
		CHECK(is_there(config) && is_there(layer) && is_there(manifest));
		CHECK(!is_there(garbage));
	}
	files_end();
}

/* A manifest that speaks of another keeps it; one that is elsewhere is nothing. */
TEST(store_collect__keeps_the_subject_of_a_manifest)
{
	char rest[256];
	files_make();
	struct mote__blob config = files_put("config"), layer = files_put("layer");
	struct mote__blob subject = put_manifest(config, layer, "");
	(void)snprintf(rest, sizeof rest, ",\"subject\":{\"digest\":\"%s\",\"size\":%llu}",
		       digest_of(subject), (unsigned long long)subject.bytes);
	struct mote__blob empty = files_put("{}");
	struct mote__blob manifest = put_manifest(empty, empty, rest);
	list_one(manifest, MOTE__MEDIA_MANIFEST);
	CHECK_EQ(collect(), MOTE_OK);
	CHECK_EQ(done.kept_blobs, 5);
	CHECK_EQ(unlink(files_blob_path(&subject)), 0);
	CHECK_EQ(collect(), MOTE_OK);
	CHECK_EQ(done.blobs, 2);
	CHECK(is_there(empty) && is_there(manifest) && !is_there(layer));
	files_end();
}

/* Everything that keeps a collection from knowing what is needed. */
TEST(store_collect__removes_nothing_when_something_cannot_be_read)
{
	files_make();
	struct mote__blob config = files_put("config"), layer = files_put("layer");
	struct mote__blob manifest = put_manifest(config, layer, "");
	struct mote__blob other =
		files_put("{\"config\":{\"digest\":\"sha512:00\"},\"layers\":[]}");
	struct mote__blob text = files_put("no JSON"), garbage = files_put("garbage");
	struct mote__blob absent = {.bytes = 3};
	uint8_t before[TREE_DIGEST_BYTES], after[TREE_DIGEST_BYTES];
	const struct {
		struct mote__blob manifest;
		const char *media_type, *message;
	} cases[] = {
		{manifest, MEDIA_INDEX, "what it needs is not known; nothing was removed"},
		{manifest, "application/x", "media type \"application/x\""},
		{other, MOTE__MEDIA_MANIFEST, "config.digest is of the algorithm \"sha512\""},
		{text, MOTE__MEDIA_MANIFEST, "manifest sha256:"},
		{config, MOTE__MEDIA_MANIFEST, "manifest sha256:"},
		{absent, MOTE__MEDIA_MANIFEST, "is missing"},
		{{.bytes = 1 << 30}, MOTE__MEDIA_MANIFEST, "at most 1048576"},
	};
	files_write(".mote-0123456789ab", "rest");
	for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
		list_one(cases[i].manifest, cases[i].media_type);
		tree_digest(f.directory, before);
		int rc = collect();
		CHECK_ERROR(rc, i == 6 ? MOTE_ETOOBIG : MOTE_ESTORE, cases[i].message);
		tree_digest(f.directory, after);
		CHECK_MEM(before, after, sizeof before);
	}
	files_write("index.json", "{");
	CHECK_ERROR(collect(), MOTE_ESTORE, "index.json: ");
	CHECK_EQ(unlink(files_path("index.json")), 0);
	CHECK_ERROR(collect(), MOTE_ESTORE, "index.json is missing");
	CHECK(is_there(garbage));
	files_end();
}

/* A name of a blob that is no file is not opened, and stays. */
TEST(store_collect__leaves_special_files)
{
	files_make();
	struct mote__blob blob = files_put("x");
	CHECK_EQ(unlink(files_blob_path(&blob)), 0);
	CHECK_EQ(mkfifo(files_blob_path(&blob), 0666), 0);
	CHECK_EQ(collect(), MOTE_OK);
	CHECK(tree_has(files_blob_path(&blob)));
	CHECK_EQ(unlink(files_blob_path(&blob)), 0);
	CHECK_EQ(symlink("/", files_blob_path(&blob)), 0);
	CHECK_EQ(collect(), MOTE_OK);
	CHECK(tree_has(files_blob_path(&blob)));
	CHECK_EQ(done.blobs, 0);
	files_end();
}
