/* SPDX-License-Identifier: MIT */
/*
 * Damaged stores: files that are missing, cut, longer, of another kind, or have a bit flipped.
 * Nothing of them is used, each is refused with a message that says where, and the store stays as
 * it is.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store_case.h"

/* The blobs of the store, by what names them. */
struct part {
	const char *name;       /* in messages */
	char document;          /* 'i': index, 'm': manifest */
	const char *descriptor; /* NULL: a layer, of this kind */
	const char *layer;
};

static const struct part parts[] = {
	{"manifest", 'i', "manifests[0]", NULL}, {"config", 'm', "config", NULL},
	{"memory", 'm', NULL, "memory"},         {"mappings", 'm', NULL, "mappings"},
	{"symbols", 'm', NULL, "symbols"},
};
#define PARTS (sizeof parts / sizeof *parts)

/* The file of a part, in the copy. */
static void part_path(const struct part *part, char path[TREE_PATH_BYTES])
{
	char descriptor[32];
	forge_open(&c.forge, c.directory);
	if (part->descriptor)
		(void)snprintf(descriptor, sizeof descriptor, "%s", part->descriptor);
	else
		(void)snprintf(descriptor, sizeof descriptor, "layers[%u]",
			       forge_layer(&c.forge, part->layer));
	forge_blob_path(&c.forge, part->document == 'i' ? c.forge.index : c.forge.manifest,
			descriptor, path);
	forge_close(&c.forge);
}

/* For every kind of blob of every kind of snapshot: spoil its file, and see it refused. */
static void each_part(void (*spoil)(const char *path), const char *text)
{
	char path[TREE_PATH_BYTES];
	for (enum store_kind kind = 0; kind < STORE_KINDS; kind++) {
		store_open(kind);
		for (size_t i = 0; i < PARTS; i++) {
			store_again();
			part_path(&parts[i], path);
			spoil(path);
			store_refused(NULL, MOTE_ESTORE, text, parts[i].name);
			CHECK_HAS(c.err.message, parts[i].name);
			store_refused(c.saved.digest, MOTE_ESTORE, text, parts[i].name);
		}
		store_again();
		store_loads(NULL);
		store_loads(c.saved.digest);
		store_close();
	}
}

/* ---- blobs ----------------------------------------------------------------------------------- */

static void make_missing(const char *path)
{
	CHECK(unlink(path) == 0);
}

TEST(store_damage__a_missing_blob_is_refused)
{
	each_part(make_missing, "missing");
}

/* The file without, or with more of, its end. */
static void resize(const char *path, int by)
{
	size_t len;
	char *bytes = tree_read(path, &len);
	size_t resized = (size_t)((int)len + by);
	char *more = calloc(1, resized + 1);
	CHECK(more != NULL);
	memcpy(more, bytes, len < resized ? len : resized);
	tree_write(path, more, resized);
	free(more);
	free(bytes);
}

static void cut(const char *path)
{
	resize(path, -1);
}

TEST(store_damage__a_truncated_blob_is_refused)
{
	each_part(cut, "bytes");
}

static void extend(const char *path)
{
	resize(path, 1);
}

TEST(store_damage__an_extended_blob_is_refused)
{
	each_part(extend, "bytes");
}

static void empty(const char *path)
{
	tree_write(path, "", 0);
}

TEST(store_damage__an_empty_blob_is_refused)
{
	each_part(empty, "bytes");
}

static void flip(const char *path, size_t at, unsigned bit)
{
	size_t len;
	char *bytes = tree_read(path, &len);
	CHECK(at < len);
	bytes[at] = (char)((unsigned char)bytes[at] ^ (1u << bit));
	tree_write(path, bytes, len);
	free(bytes);
}

static void flip_middle(const char *path)
{
	size_t len;
	free(tree_read(path, &len));
	flip(path, len / 2, 3);
}

TEST(store_damage__a_flipped_bit_is_refused)
{
	each_part(flip_middle, "digest");
}

static void link_elsewhere(const char *path)
{
	char elsewhere[TREE_PATH_BYTES];
	tree_join(elsewhere, c.directory, "elsewhere");
	CHECK(rename(path, elsewhere) == 0 && symlink(elsewhere, path) == 0);
}

TEST(store_damage__a_symbolic_link_is_no_blob)
{
	each_part(link_elsewhere, "symbolic link");
}

static void make_fifo(const char *path)
{
	CHECK(unlink(path) == 0 && mkfifo(path, 0600) == 0);
}

/* It is not waited for, either. */
TEST(store_damage__a_pipe_is_no_blob)
{
	each_part(make_fifo, "regular");
}

static void make_directory(const char *path)
{
	CHECK(unlink(path) == 0 && mkdir(path, 0700) == 0);
}

TEST(store_damage__a_directory_is_no_blob)
{
	each_part(make_directory, "regular");
}

/* Every byte of the small blobs, one bit of it. */
TEST(store_damage__any_byte_that_differs_is_refused)
{
	char path[TREE_PATH_BYTES];
	for (enum store_kind kind = 0; kind < STORE_KINDS; kind++) {
		size_t count = 0;
		store_open(kind);
		store_again();
		for (size_t i = 0; i < PARTS; i++) {
			size_t len;
			if (parts[i].layer && strcmp(parts[i].layer, "memory") == 0)
				continue;
			part_path(&parts[i], path);
			char *bytes = tree_read(path, &len);
			for (size_t at = 0; at < len; at++, count++) {
				mote_snapshot *snapshot = NULL;
				flip(path, at, at % 8);
				store_require(mote_snapshot_load(c.directory, NULL, &c.load,
								 &snapshot, &c.err),
					      MOTE_ESTORE, "digest", parts[i].name);
				CHECK(!snapshot);
				tree_write(path, bytes, len);
			}
			free(bytes);
		}
		check_note("%zu bytes", count);
		store_loads(NULL);
		store_close();
	}
}

/* ---- the store ------------------------------------------------------------------------------- */

static void at(char path[TREE_PATH_BYTES], const char *name)
{
	store_again();
	tree_join(path, c.directory, name);
}

static void put(const char *name, const char *text)
{
	char path[TREE_PATH_BYTES];
	at(path, name);
	tree_write(path, text, strlen(text));
}

TEST(store_damage__what_is_no_store_is_refused)
{
	char path[TREE_PATH_BYTES];
	store_open(STORE_NEW);
	at(path, "oci-layout");
	CHECK(unlink(path) == 0);
	store_refused(NULL, MOTE_ESTORE, "oci-layout", "no oci-layout");
	put("oci-layout", "{\"imageLayoutVersion\":\"2.0.0\"}");
	store_refused(NULL, MOTE_ESTORE, "2.0.0", "another layout");
	put("oci-layout", "{\"imageLayoutVersion\":1}");
	store_refused(NULL, MOTE_ESTORE, "imageLayoutVersion", "a number");
	put("oci-layout", "{}");
	store_refused(NULL, MOTE_ESTORE, "imageLayoutVersion", "no version");
	put("oci-layout", "");
	store_refused(NULL, MOTE_ESTORE, "oci-layout", "an empty file");
	char *blanks = calloc(1, 0x10000);
	CHECK(blanks != NULL);
	memset(blanks, ' ', 0xFFFF);
	put("oci-layout", blanks);
	store_refused(NULL, MOTE_ESTORE, "oci-layout", "a large file");
	free(blanks);
	store_close();
}

TEST(store_damage__another_kind_of_file_is_refused)
{
	static const char *const names[] = {"oci-layout", "index.json"};
	char path[TREE_PATH_BYTES];
	store_open(STORE_NEW);
	for (size_t i = 0; i < 2; i++) {
		at(path, names[i]);
		link_elsewhere(path);
		store_refused(NULL, MOTE_ESTORE, names[i], "a symbolic link");
		at(path, names[i]);
		make_fifo(path);
		store_refused(NULL, MOTE_ESTORE, names[i], "a pipe");
		at(path, names[i]);
		make_directory(path);
		store_refused(NULL, MOTE_ESTORE, names[i], "a directory");
	}
	store_close();
}

TEST(store_damage__directories_are_not_links)
{
	static const char *const names[] = {"blobs", "blobs/sha256"};
	char path[TREE_PATH_BYTES];
	store_open(STORE_NEW);
	for (size_t i = 0; i < 2; i++) {
		at(path, names[i]);
		link_elsewhere(path);
		store_refused(NULL, MOTE_ESTORE, names[i] + (i ? 6 : 0), "a symbolic link");
		at(path, names[i]);
		tree_remove(path);
		tree_write(path, "", 0);
		store_refused(NULL, MOTE_ESTORE, names[i] + (i ? 6 : 0), "a file");
	}
	store_close();
}

TEST(store_damage__what_is_not_there_is_not_found)
{
	char path[TREE_PATH_BYTES];
	store_open(STORE_NEW);
	store_again();
	store_refused("other", MOTE_ENOTFOUND, "other", "a tag");
	store_refused("sha256:0123456789012345678901234567890123456789012345678901234567890123",
		      MOTE_ENOTFOUND, "sha256:0123", "a digest");
	tree_remove(c.directory);
	mote_snapshot *snapshot = NULL;
	FAILS(&c, mote_snapshot_load(c.directory, NULL, NULL, &snapshot, &c.err), MOTE_ENOTFOUND);
	FAILS(&c, mote_store_list(c.directory, NULL, NULL, &c.err), MOTE_EINVAL);
	FAILS(&c, mote_store_collect(c.directory, NULL, &c.err), MOTE_ENOTFOUND);
	FAILS(&c, mote_store_remove(c.directory, "x", &c.err), MOTE_ENOTFOUND);
	FAILS(&c, mote_store_tag(c.directory, "x", "y", &c.err), MOTE_ENOTFOUND);
	/* Looking makes nothing. */
	CHECK(!tree_has(c.directory));
	tree_join(path, c.base, "file");
	tree_write(path, "x", 1);
	FAILS(&c, mote_snapshot_load(path, NULL, NULL, &snapshot, &c.err), MOTE_ESTORE);
	FAILS(&c, mote_snapshot_save(c.snapshot, path, NULL, NULL, &c.err), MOTE_ESTORE);
	CHECK(!snapshot);
	store_close();
}

/* ---- writers --------------------------------------------------------------------------------- */

static uint8_t before[TREE_DIGEST_BYTES], after[TREE_DIGEST_BYTES];

/* Nothing that changes the list of a damaged store writes anything. */
static void refuse_writers(const char *text)
{
	const struct mote_save_options options = {.size = sizeof options, .tag = "next"};
	tree_digest(c.directory, before);
	FAILS(&c, mote_store_tag(c.directory, "latest", "next", &c.err), MOTE_ESTORE);
	CHECK_HAS(c.err.message, text);
	FAILS(&c, mote_store_remove(c.directory, "latest", &c.err), MOTE_ESTORE);
	FAILS(&c, mote_store_collect(c.directory, NULL, &c.err), MOTE_ESTORE);
	tree_digest(c.directory, after);
	CHECK_MEM(before, after, sizeof before);
	char *index, *same, path[TREE_PATH_BYTES];
	size_t len, same_len;
	tree_join(path, c.directory, "index.json");
	index = tree_read(path, &len);
	FAILS(&c, mote_snapshot_save(c.snapshot, c.directory, &options, NULL, &c.err), MOTE_ESTORE);
	same = tree_read(path, &same_len);
	CHECK(len == same_len && memcmp(index, same, len) == 0);
	CHECK_EQ(tree_count(c.directory, ".mote-"), 0);
	free(index);
	free(same);
}

TEST(store_damage__a_damaged_index_is_not_written_over)
{
	store_open(STORE_NEW);
	put("index.json", "");
	refuse_writers("index.json");
	put("index.json", "{\"schemaVersion\":2,\"manifests\":[");
	refuse_writers("index.json");
	put("index.json", "{\"schemaVersion\":2,\"manifests\":{}}");
	refuse_writers("manifests");
	put("index.json", "{\"schemaVersion\":3,\"manifests\":[]}");
	refuse_writers("schemaVersion");
	store_close();
}

/* It cannot know what a manifest needs that it cannot read. */
TEST(store_damage__a_collection_needs_every_manifest)
{
	char path[TREE_PATH_BYTES];
	static void (*const spoil[])(const char *path) = {make_missing, cut, flip_middle};
	store_open(STORE_CONFINED);
	for (size_t i = 0; i < 3; i++) {
		store_again();
		part_path(&parts[0], path);
		spoil[i](path);
		tree_digest(c.directory, before);
		FAILS(&c, mote_store_collect(c.directory, NULL, &c.err), MOTE_ESTORE);
		CHECK_HAS(c.err.message, "manifest");
		tree_digest(c.directory, after);
		CHECK_MEM(before, after, sizeof before);
	}
	store_close();
}

/* Files of a wrong size are damage that a save can see. */
TEST(store_damage__a_save_mends_blobs_of_another_size)
{
	char path[TREE_PATH_BYTES];
	static void (*const spoil[])(const char *path) = {make_missing, cut, extend, empty};
	const struct mote_save_options options = {.size = sizeof options, .tag = "latest"};
	for (enum store_kind kind = 0; kind < STORE_KINDS; kind++) {
		store_open(kind);
		for (size_t i = 0; i < PARTS; i++)
			for (size_t k = 0; k < 4; k++) {
				struct mote_saved saved;
				store_again();
				part_path(&parts[i], path);
				spoil[k](path);
				OK(&c, mote_snapshot_save(c.snapshot, c.directory, &options, &saved,
							  &c.err));
				CHECK_EQ(saved.blobs_written, 1);
				CHECK_STR(saved.digest, c.saved.digest);
				store_loads(NULL);
			}
		store_close();
	}
}

/* ---- trust ----------------------------------------------------------------------------------- */

TEST(store_damage__memory_is_only_trusted_if_nobody_else_may_write_it)
{
	static const char *const names[] = {"", "blobs", "blobs/sha256"};
	char path[TREE_PATH_BYTES];
	store_open(STORE_CONFINED);
	c.load.trust_memory_without_verifying = 1;
	store_again();
	store_loads(NULL);
	for (size_t i = 0; i < 4; i++) {
		mote_snapshot *snapshot = NULL;
		store_again();
		if (i < 3)
			tree_join(path, c.directory, names[i]);
		else
			part_path(&parts[2], path);
		struct stat stat_ = {0};
		CHECK(stat(path, &stat_) == 0 && chmod(path, (stat_.st_mode & 0777) | 022) == 0);
		store_require(mote_snapshot_load(c.directory, NULL, &c.load, &snapshot, &c.err),
			      MOTE_ESTORE, "trusted", names[i % 3]);
		CHECK(!snapshot);
	}
	/* The rest is verified as ever. */
	for (size_t i = 0; i < PARTS; i++) {
		mote_snapshot *snapshot = NULL;
		store_again();
		part_path(&parts[i], path);
		struct stat stat_ = {0};
		CHECK(stat(path, &stat_) == 0);
		flip_middle(path);
		CHECK(chmod(path, stat_.st_mode & 0777) == 0);
		int rc = mote_snapshot_load(c.directory, NULL, &c.load, &snapshot, &c.err);
		bool is_memory = parts[i].layer && strcmp(parts[i].layer, "memory") == 0;
		CHECK_EQ(rc, is_memory ? MOTE_OK : MOTE_ESTORE);
		mote_snapshot_unref(snapshot);
	}
	store_close();
}

/* Memory that was mapped unseen has the digest of its name only; who verifies does not take it. */
TEST(store_damage__memory_that_was_trusted_is_not_shared_by_who_verifies)
{
	char path[TREE_PATH_BYTES];
	mote_snapshot *trusted = NULL, *verified = NULL;
	uint8_t expected[MOTE_DIGEST_BYTES], digest[MOTE_DIGEST_BYTES];
	store_open(STORE_CONFINED);
	store_again();
	part_path(&parts[2], path);
	struct stat stat_ = {0};
	CHECK(stat(path, &stat_) == 0);
	flip_middle(path);
	CHECK(chmod(path, stat_.st_mode & 0777) == 0);
	c.load.trust_memory_without_verifying = 1;
	OK(&c, mote_snapshot_load(c.directory, NULL, &c.load, &trusted, &c.err));
	c.load.trust_memory_without_verifying = 0;
	c.load.share = &trusted;
	c.load.share_count = 1;
	store_refused(NULL, MOTE_ESTORE, "damaged", "a damaged layer that is shared");
	OK(&c, mote_snapshot_load(c.original, NULL, &c.load, &verified, &c.err));
	OK(&c, mote_snapshot_digest(c.snapshot, expected, &c.err));
	OK(&c, mote_snapshot_digest(verified, digest, &c.err));
	CHECK_MEM(digest, expected, sizeof digest);
	mote_snapshot_unref(verified);
	mote_snapshot_unref(trusted);
	store_close();
}

/* ---- whole stores ---------------------------------------------------------------------------- */

struct seen {
	unsigned wrong;
	uint64_t done, total;
};

static int see(void *cookie, uint64_t done, uint64_t total)
{
	struct seen *seen = cookie;
	seen->wrong += done > total || done < seen->done;
	seen->done = done;
	seen->total = total;
	return 0;
}

TEST(store_damage__what_is_done_of_several_is_no_more_than_all)
{
	const struct mote_save_options options = {.size = sizeof options, .tag = "other"};
	struct seen seen = {0};
	struct world w;
	uint64_t bytes = 0;
	store_open(STORE_CONFINED);
	store_again();
	store_world(&w, true);
	OK(&c, mote_snapshot_save(w.snapshot, c.directory, &options, NULL, &c.err));
	world_free(&w);
	OK(&c, mote_store_verify(c.directory, NULL, see, &seen, &bytes, &c.err));
	CHECK_EQ(seen.wrong, 0);
	CHECK_EQ(seen.done, bytes);
	CHECK_EQ(seen.total, bytes);
	store_close();
}

/* ---- lists ----------------------------------------------------------------------------------- */

struct listing {
	unsigned count;
	uint64_t bytes;
};

/* From the first entry on, there is nothing to be read any more. */
static int list_and_remove(void *cookie, const struct mote_store_entry *entry)
{
	struct listing *listing = cookie;
	char path[TREE_PATH_BYTES], name[96];
	if (!listing->count++) {
		listing->bytes = entry->bytes;
		(void)snprintf(name, sizeof name, "blobs/sha256/%s", entry->digest + 7);
		tree_join(path, c.directory, name);
		CHECK(unlink(path) == 0);
	}
	CHECK(entry->is_snapshot && entry->bytes && entry->bytes == listing->bytes);
	return 0;
}

TEST(store_damage__a_manifest_of_many_entries_is_read_once)
{
	static const char *const tags[] = {"a", "b", "c"};
	struct listing listing = {0};
	store_open(STORE_CONFINED);
	store_again();
	for (size_t i = 0; i < 3; i++)
		OK(&c, mote_store_tag(c.directory, "latest", tags[i], &c.err));
	OK(&c, mote_store_list(c.directory, list_and_remove, &listing, &c.err));
	CHECK_EQ(listing.count, 4);
	store_close();
}

/* ---- errors ---------------------------------------------------------------------------------- */

static int count_entry(void *cookie, const struct mote_store_entry *entry)
{
	(void)entry;
	++*(unsigned *)cookie;
	return 0;
}

/* What is looked for first and need not be there is no error. */
TEST(store_damage__errors_are_filled_on_failure_only)
{
	struct mote_error untouched, err;
	unsigned count = 0;
	char path[TREE_PATH_BYTES];
	memset(&untouched, 0x5A, sizeof untouched);
	err = untouched;
	store_open(STORE_CONFINED);
	store_again();
	OK(&c, mote_store_remove(c.directory, c.saved.digest, &c.err));
	CHECK_EQ(mote_store_tag(c.directory, c.saved.digest, "again", &err), MOTE_OK);
	CHECK_MEM(&err, &untouched, sizeof err);
	store_loads("again");
	/* A layout of which there is no more yet. */
	tree_join(path, c.directory, "blobs");
	tree_remove(path);
	tree_join(path, c.directory, "index.json");
	CHECK(unlink(path) == 0);
	CHECK_EQ(mote_store_list(c.directory, count_entry, &count, &err), MOTE_OK);
	CHECK_EQ(count, 0);
	CHECK_MEM(&err, &untouched, sizeof err);
	store_close();
}

/* ---- new stores ------------------------------------------------------------------------------ */

TEST(store_damage__a_store_is_made_where_there_is_nothing)
{
	uint8_t old[TREE_DIGEST_BYTES], now[TREE_DIGEST_BYTES];
	char path[TREE_PATH_BYTES];
	unsigned count = 0;
	store_open(STORE_NEW);
	tree_remove(c.directory);
	OK(&c, mote_store_create(c.directory, &c.err));
	OK(&c, mote_store_list(c.directory, count_entry, &count, &c.err));
	CHECK_EQ(count, 0);
	/* One that is there stays as it is. */
	store_again();
	tree_digest(c.directory, old);
	OK(&c, mote_store_create(c.directory, &c.err));
	tree_digest(c.directory, now);
	CHECK_MEM(old, now, sizeof old);
	/* Something else is no place for one. */
	tree_remove(c.directory);
	tree_make(c.directory);
	tree_join(path, c.directory, "file");
	tree_write(path, "text", 4);
	tree_digest(c.directory, old);
	CHECK_EQ(mote_store_create(c.directory, &c.err), MOTE_ESTORE);
	CHECK_HAS(c.err.message, "no oci-layout");
	CHECK_EQ(mote_store_create(path, &c.err), MOTE_ESTORE);
	tree_digest(c.directory, now);
	CHECK_MEM(old, now, sizeof old);
	tree_remove(c.directory);
	tree_join(path, c.directory, "below");
	CHECK_EQ(mote_store_create(path, &c.err), MOTE_ESYSTEM);
	CHECK_EQ(c.err.system_errno, ENOENT);
	CHECK_EQ(mote_store_create(NULL, &c.err), MOTE_EINVAL);
	store_close();
}
