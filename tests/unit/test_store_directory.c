/* SPDX-License-Identifier: MIT */
/* Opening and making stores: what is there, what is half there, what somebody put in its place; and
 * references. */
#include "store_files.h"

#include <sys/file.h>
#include <sys/wait.h>

static int open_as(enum mote__store_mode mode)
{
	mote__store_close(&f.store);
	return mote__store_open(f.directory, mode, &f.store, &f.err);
}

static bool has(const char *name)
{
	return tree_has(files_path(name));
}

TEST(store_directory__is_made_as_an_image_layout)
{
	files_make();
	size_t len = 0;
	char *text = tree_read(files_path("oci-layout"), &len);
	CHECK_STR(text, "{\"imageLayoutVersion\":\"1.0.0\"}");
	free(text);
	text = tree_read(files_path("index.json"), &len);
	CHECK_STR(text,
		  "{\"manifests\":[],\"mediaType\":\"application/vnd.oci.image.index.v1+json\","
		  "\"schemaVersion\":2}");
	free(text);
	CHECK(has("blobs/sha256"));
	CHECK_EQ(tree_count(f.directory, ".mote-"), 0);
	CHECK_EQ(open_as(MOTE__STORE_CREATE), MOTE_OK);
	CHECK_EQ(open_as(MOTE__STORE_WRITE), MOTE_OK);
	CHECK_EQ(open_as(MOTE__STORE_READ), MOTE_OK);
	CHECK_EQ(open_as(MOTE__STORE_COLLECT), MOTE_OK);
	CHECK_EQ(mote__store_sync(&f.store, &f.err), MOTE_OK);
	files_end();
}

TEST(store_directory__only_a_creation_makes_anything)
{
	static const enum mote__store_mode others[] = {MOTE__STORE_READ, MOTE__STORE_WRITE,
						       MOTE__STORE_COLLECT};
	files_begin();
	for (unsigned i = 0; i < 3; i++) {
		CHECK_ERROR(open_as(others[i]), MOTE_ENOTFOUND, "there is no such directory");
		CHECK(!tree_has(f.directory));
	}
	CHECK_EQ(mkdir(f.directory, 0755), 0);
	for (unsigned i = 0; i < 3; i++)
		CHECK_ERROR(open_as(others[i]), MOTE_ENOTFOUND, "is empty");
	CHECK_EQ(tree_count(f.directory, ""), 0);
	/* Its parent is not made. */
	tree_join(f.directory, f.base, "a/b");
	CHECK_ERROR(open_as(MOTE__STORE_CREATE), MOTE_ESYSTEM, "making ");
	files_end();
}

TEST(store_directory__an_empty_one_becomes_a_store_and_others_do_not)
{
	files_begin();
	CHECK_EQ(mkdir(f.directory, 0755), 0);
	files_write(".mote-0123456789ab", "of a writer that died");
	CHECK_EQ(open_as(MOTE__STORE_CREATE), MOTE_OK);
	files_begin();
	CHECK_EQ(mkdir(f.directory, 0755), 0);
	files_write("letter.txt", "mine");
	CHECK_ERROR(open_as(MOTE__STORE_CREATE), MOTE_ESTORE, "is no store: it has files");
	CHECK_ERROR(open_as(MOTE__STORE_READ), MOTE_ESTORE, "is no store: it has files");
	CHECK_EQ(tree_count(f.directory, ""), 1);
	files_end();
}

/* Each state that an interrupted creation leaves. */
TEST(store_directory__a_half_made_one_is_empty_and_is_completed)
{
	for (unsigned i = 0; i < 3; i++) {
		files_make();
		CHECK_EQ(rmdir(files_path("blobs/sha256")), 0);
		if (i > 0)
			CHECK_EQ(rmdir(files_path("blobs")), 0);
		if (i > 1)
			CHECK_EQ(unlink(files_path("index.json")), 0);
		struct mote__index_entry *entries = NULL;
		struct mote_store_collected collected;
		struct mote__blob blob = {.bytes = 1};
		uint32_t count = 1;
		int fd = -1;
		CHECK_EQ(open_as(MOTE__STORE_READ), MOTE_OK);
		CHECK_EQ(mote__index_read(&f.store, &entries, &count, &f.err), MOTE_OK);
		CHECK_EQ(count, 0);
		mote__free(entries);
		CHECK(!mote__blob_is_there(&f.store, &blob));
		CHECK_ERROR(mote__blob_open(&f.store, &blob, "config", false, &fd, &f.err),
			    MOTE_ESTORE, "is missing");
		CHECK_ERROR(mote__blob_find(&f.store, &blob, &f.err), MOTE_ENOTFOUND, "sha256:00");
		CHECK_ERROR(mote__index_find(&f.store, "latest", &blob, &f.err), MOTE_ENOTFOUND,
			    "there is no latest");
		CHECK_EQ(open_as(MOTE__STORE_COLLECT), MOTE_OK);
		CHECK_EQ(mote__collect(&f.store, &collected, &f.err), MOTE_OK);
		CHECK(!has("blobs/sha256"));
		CHECK_EQ(open_as(MOTE__STORE_CREATE), MOTE_OK);
		CHECK(has("blobs/sha256") && has("index.json"));
		(void)files_put("text");
	}
	files_end();
}

TEST(store_directory__refuses_other_layouts)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
		{"", "oci-layout: "},
		{"{", "oci-layout: line 1"},
		{"[]", "oci-layout is an array, expected an object"},
		{"{}", "imageLayoutVersion is missing"},
		{"{\"imageLayoutVersion\":\"2.0.0\"}", "is \"2.0.0\", expected \"1.0.0\""},
		{"{\"imageLayoutVersion\":1}", "is 1, expected \"1.0.0\""},
		{"{\"imageLayoutVersion\":\"1.0.0\",\"imageLayoutVersion\":\"1.0.0\"}",
		 "duplicate"},
	};
	files_make();
	for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
		files_write("oci-layout", cases[i].text);
		CHECK_ERROR(open_as(MOTE__STORE_READ), MOTE_ESTORE, cases[i].message);
		CHECK_ERROR(open_as(MOTE__STORE_CREATE), MOTE_ESTORE, cases[i].message);
	}
	files_write("oci-layout", "{\"imageLayoutVersion\": \"1.0.0\", \"x\": 1}\n");
	CHECK_EQ(open_as(MOTE__STORE_CREATE), MOTE_OK);
	CHECK_EQ(truncate(files_path("oci-layout"), 5000), 0);
	CHECK_ERROR(open_as(MOTE__STORE_READ), MOTE_ESTORE,
		    "oci-layout has 5000 bytes, at most 4096");
	files_end();
}

/* A place of the store, what is put there, and what is said of it. */
struct replaced {
	const char *name;
	enum { LINK, FIFO, DIRECTORY, REGULAR } kind;
	const char *message;
};

static void replace(const struct replaced *r)
{
	char moved[TREE_PATH_BYTES];
	files_make();
	mote__store_close(&f.store);
	tree_join(moved, f.base, "moved");
	CHECK_EQ(rename(files_path(r->name), moved), 0);
	if (r->kind == LINK) /* to the very same */
		CHECK_EQ(symlink(moved, files_path(r->name)), 0);
	else if (r->kind == FIFO)
		CHECK_EQ(mkfifo(files_path(r->name), 0666), 0);
	else if (r->kind == DIRECTORY)
		CHECK_EQ(mkdir(files_path(r->name), 0755), 0);
	else
		files_write(r->name, "{}");
}

TEST(store_directory__refuses_links_and_special_files_in_every_place)
{
	static const struct replaced cases[] = {
		{"oci-layout", LINK, "oci-layout is a symbolic link"},
		{"oci-layout", FIFO, "oci-layout is no regular file"},
		{"oci-layout", DIRECTORY, "oci-layout is no regular file"},
		{"blobs", LINK, "blobs is no directory, or a symbolic link"},
		{"blobs", FIFO, "blobs is no directory"},
		{"blobs", REGULAR, "blobs is no directory"},
		{"blobs/sha256", LINK, "sha256 is no directory, or a symbolic link"},
		{"blobs/sha256", FIFO, "sha256 is no directory"},
		{"blobs/sha256", REGULAR, "sha256 is no directory"},
	};
	for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
		replace(&cases[i]);
		uint8_t before[TREE_DIGEST_BYTES], after[TREE_DIGEST_BYTES];
		tree_digest(f.base, before);
		for (int mode = MOTE__STORE_READ; mode <= MOTE__STORE_COLLECT; mode++)
			CHECK_ERROR(open_as((enum mote__store_mode)mode), MOTE_ESTORE,
				    cases[i].message);
		tree_digest(f.base, after);
		CHECK_MEM(before, after, sizeof before);
	}
	files_begin();
	tree_write(f.directory, "x", 1);
	CHECK_ERROR(open_as(MOTE__STORE_CREATE), MOTE_ESTORE, "is no directory");
	files_end();
}

/* The path itself is the caller's, who may use a link. */
TEST(store_directory__the_callers_path_may_be_a_link)
{
	char link[TREE_PATH_BYTES];
	files_make();
	mote__store_close(&f.store);
	tree_join(link, f.base, "link");
	CHECK_EQ(symlink("store", link), 0);
	CHECK_EQ(mote__store_open(link, MOTE__STORE_WRITE, &f.store, &f.err), MOTE_OK);
	(void)files_put("text");
	files_end();
}

TEST(store_directory__is_trusted_only_when_nobody_else_may_write)
{
	static const char *const names[] = {"", "blobs", "blobs/sha256"};
	files_make();
	for (unsigned i = 0; i < 3; i++)
		CHECK_EQ(chmod(files_path(names[i]), 0755), 0);
	CHECK_EQ(mote__store_check_trust(&f.store, &f.err), MOTE_OK);
	for (unsigned i = 0; i < 3; i++) {
		CHECK_EQ(chmod(files_path(names[i]), 0775), 0);
		CHECK_ERROR(mote__store_check_trust(&f.store, &f.err), MOTE_ESTORE, "mode 0775");
		CHECK_EQ(chmod(files_path(names[i]), 01757), 0);
		CHECK_ERROR(mote__store_check_trust(&f.store, &f.err), MOTE_ESTORE, "mode 1757");
		CHECK_EQ(chmod(files_path(names[i]), 0755), 0);
		if (geteuid() != 0)
			continue;
		CHECK_EQ(chown(files_path(names[i]), 4711, 0), 0);
		CHECK_ERROR(mote__store_check_trust(&f.store, &f.err), MOTE_ESTORE,
			    "belongs to user 4711, not to user 0 or root");
		CHECK_EQ(chown(files_path(names[i]), 0, 0), 0);
	}
	files_end();
}

/* ---- locks ----------------------------------------------------------------------------------- */

/* Whether somebody else could lock that directory now. */
static bool can_lock(const char *name, int operation)
{
	int fd = open(files_path(name), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK(fd >= 0);
	bool can = flock(fd, operation | LOCK_NB) == 0;
	close(fd);
	return can;
}

TEST(store_directory__writers_and_readers_share_and_collections_exclude)
{
	files_make();
	CHECK(can_lock("blobs", LOCK_SH) && !can_lock("blobs", LOCK_EX));
	files_open(MOTE__STORE_READ);
	CHECK(can_lock("blobs", LOCK_SH) && !can_lock("blobs", LOCK_EX));
	files_open(MOTE__STORE_COLLECT);
	CHECK(!can_lock("blobs", LOCK_SH));
	CHECK(can_lock("", LOCK_EX));
	/* A reader does not wait. */
	struct mote__store reader;
	CHECK_EQ(mote__store_open(f.directory, MOTE__STORE_READ, &reader, &f.err), MOTE_OK);
	mote__store_close(&reader);
	CHECK(!can_lock("blobs", LOCK_SH));
	mote__store_close(&f.store);
	CHECK(can_lock("blobs", LOCK_EX));
	files_end();
}

/* A child that only inherited the descriptors does not keep the lock. */
TEST(store_directory__a_child_does_not_hold_its_parents_lock)
{
	int wait[2], status = 0;
	files_make();
	CHECK_EQ(pipe(wait), 0);
	pid_t child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		char byte;
		close(wait[1]);
		(void)!read(wait[0], &byte, 1);
		_exit(0);
	}
	close(wait[0]);
	mote__store_close(&f.store);
	bool can = can_lock("blobs", LOCK_EX);
	close(wait[1]);
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	CHECK(can);
	files_end();
}

/* ---- references ------------------------------------------------------------------------------ */

TEST(store_directory__references_are_digests_or_tags)
{
	uint8_t digest[MOTE_DIGEST_BYTES], again[MOTE_DIGEST_BYTES];
	char text[MOTE_REFERENCE_BYTES];
	for (unsigned i = 0; i < sizeof digest; i++)
		digest[i] = (uint8_t)(i * 37 + 5);
	mote__reference_print(digest, text);
	CHECK_EQ(strlen(text), MOTE_REFERENCE_BYTES - 1);
	CHECK(mote__reference_parse(text, again));
	CHECK_MEM(digest, again, sizeof digest);
	text[70] = 'F';
	CHECK(!mote__reference_parse(text, again));
	text[70] = 0;
	CHECK(!mote__reference_parse(text, again));
	CHECK(!mote__reference_parse("sha256:", again) && !mote__reference_parse("", again));
	CHECK(!mote__reference_parse("latest", again));

	char tag[MOTE_MAX_TAG_BYTES + 2];
	memset(tag, 'x', sizeof tag);
	tag[MOTE_MAX_TAG_BYTES + 1] = 0;
	CHECK_ERROR(mote__tag_check(tag, &f.err), MOTE_EINVAL, "1 to 128 bytes");
	tag[MOTE_MAX_TAG_BYTES] = 0;
	CHECK_EQ(mote__tag_check(tag, &f.err), MOTE_OK);
	CHECK_ERROR(mote__tag_check("", &f.err), MOTE_EINVAL, "1 to 128 bytes");
	static const char *const good[] = {"a", "_", "1.0-rc.1", "Latest", "0"};
	static const char *const bad[] = {".a",  "-a",       "a/b", "a:b",
					  "a b", "\xc3\xa4", "a\n", "a@b"};
	for (unsigned i = 0; i < sizeof good / sizeof *good; i++)
		CHECK_EQ(mote__tag_check(good[i], &f.err), MOTE_OK);
	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++)
		CHECK_ERROR(mote__tag_check(bad[i], &f.err), MOTE_EINVAL, "a tag is letters");
}
