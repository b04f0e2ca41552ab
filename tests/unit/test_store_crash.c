/* SPDX-License-Identifier: MIT */
/*
 * Writers of a store that die: each is killed at every system call that it makes, and at every
 * write in its middle. What is there then is the old or the new, all of it loads, the next writer
 * works and a collection leaves nothing of the dead. That the same holds for a machine that loses
 * its power follows from the order of the system calls, which is looked at here, too.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>

#include "killer.h"
#include "tree.h"
#include "world.h"

#define TAG "tag"

enum kind {
	IMAGES, /* two images that differ in a byte */
	TAKEN,  /* a snapshot of a sandbox, and a second one that shares the layers of the first */
	KINDS,
};

/* What the tests of a kind have in common. */
static struct scene {
	enum kind kind;
	char base[TREE_PATH_BYTES];      /* all directories are in here */
	char begun[TREE_PATH_BYTES];     /* a store in which TAG is the old one */
	char directory[TREE_PATH_BYTES]; /* the one that is written to */
	mote_snapshot *old, *new;
	struct mote_saved old_saved, new_saved;
	uint8_t old_digest[MOTE_DIGEST_BYTES], new_digest[MOTE_DIGEST_BYTES];
	struct mote_error err;
	struct killer_log log;
} w;

/* ---- snapshots ------------------------------------------------------------------------------- */

/* None of these uses CHECK: they run in children, too. */

static bool make_images(mote_snapshot **old, mote_snapshot **new)
{
	const struct tiny_options options = {.is_confined = true};
	struct tiny_image image = tiny_guest(&options);
	if (mote_snapshot_from_memory(image.bytes, image.len, NULL, old, NULL) < 0)
		return false;
	image.data[0] = 0xEE;
	return mote_snapshot_from_memory(image.bytes, image.len, NULL, new, NULL) == MOTE_OK;
}

static bool take_both(mote_sandbox *sandbox, mote_snapshot **old, mote_snapshot **new)
{
	static const uint64_t value = 0x1122334455667788;
	return mote_sandbox_start(sandbox, 0, NULL) == MOTE_OK &&
	       mote_snapshot_take(sandbox, NULL, old, NULL) == MOTE_OK &&
	       mote_sandbox_write(sandbox, TINY_DATA_GVA + 0x88, &value, sizeof value, NULL) ==
		       MOTE_OK &&
	       mote_snapshot_take(sandbox, NULL, new, NULL) == MOTE_OK;
}

static bool make_taken(mote_snapshot **old, mote_snapshot **new)
{
	static const struct double_guest guest;
	const struct mote_fresh fresh = {.generation = 7};
	const struct mote_sandbox_options options = {.size = sizeof options, .fresh = &fresh};
	mote_engine *engine = NULL;
	mote_snapshot *image = NULL, *other = NULL;
	mote_host *host = NULL;
	mote_sandbox *sandbox = NULL;
	bool is_made =
		mote__engine_on(&double_make(&guest)->base, SIGRTMIN, 0, &engine, NULL) ==
			MOTE_OK &&
		make_images(&image, &other) && mote_host_create(&host, NULL) == MOTE_OK &&
		mote_sandbox_create(engine, image, host, &options, &sandbox, NULL) == MOTE_OK &&
		take_both(sandbox, old, new);
	mote_sandbox_destroy(sandbox);
	mote_host_unref(host);
	mote_snapshot_unref(image);
	mote_snapshot_unref(other);
	mote_engine_unref(engine);
	return is_made;
}

static bool make(enum kind kind, mote_snapshot **old, mote_snapshot **new)
{
	return kind == IMAGES ? make_images(old, new) : make_taken(old, new);
}

/* ---- jobs ------------------------------------------------------------------------------------ */

static mote_snapshot *childs_old, *childs_new;

/* The exit status of a job that was not killed. */
static int status_of(int rc, const struct mote_error *err)
{
	if (rc != MOTE_OK)
		(void)fprintf(stderr, "# %s: %s\n", mote_code_name(rc), err->message);
	return rc != MOTE_OK;
}

static int prepare(void *cookie)
{
	(void)cookie;
	return !make(w.kind, &childs_old, &childs_new);
}

static int save_new(void *cookie)
{
	const struct mote_save_options options = {.size = sizeof options, .tag = TAG};
	struct mote_error err = {0};
	(void)cookie;
	return status_of(mote_snapshot_save(childs_new, w.directory, &options, NULL, &err), &err);
}

static int save_without_tag(void *cookie)
{
	struct mote_error err = {0};
	(void)cookie;
	return status_of(mote_snapshot_save(childs_new, w.directory, NULL, NULL, &err), &err);
}

static int tag_new(void *cookie)
{
	struct mote_error err = {0};
	(void)cookie;
	return status_of(mote_store_tag(w.directory, "other", TAG, &err), &err);
}

static int remove_tag(void *cookie)
{
	struct mote_error err = {0};
	(void)cookie;
	return status_of(mote_store_remove(w.directory, TAG, &err), &err);
}

static int collect(void *cookie)
{
	struct mote_error err = {0};
	(void)cookie;
	return status_of(mote_store_collect(w.directory, NULL, &err), &err);
}

/* ---- looking --------------------------------------------------------------------------------- */

static void save(mote_snapshot *snapshot, const char *tag, struct mote_saved *saved)
{
	const struct mote_save_options options = {.size = sizeof options, .tag = tag};
	OK(&w, mote_snapshot_save(snapshot, w.directory, &options, saved, &w.err));
}

/* Load what reference names: is it the new one? */
static bool load(const char *reference)
{
	uint8_t digest[MOTE_DIGEST_BYTES];
	mote_snapshot *loaded = NULL;
	OK(&w, mote_snapshot_load(w.directory, reference, NULL, &loaded, &w.err));
	OK(&w, mote_snapshot_digest(loaded, digest, &w.err));
	mote_snapshot_unref(loaded);
	bool is_new = memcmp(digest, w.new_digest, sizeof digest) == 0;
	CHECK(is_new || memcmp(digest, w.old_digest, sizeof digest) == 0);
	return is_new;
}

struct found {
	unsigned entries, tagged;
	bool is_new;
};

static int find(void *cookie, const struct mote_store_entry *entry)
{
	struct found *found = cookie;
	found->entries++;
	if (entry->tag && strcmp(entry->tag, TAG) == 0) {
		found->tagged++;
		found->is_new = strcmp(entry->digest, w.new_saved.digest) == 0;
	}
	return 0;
}

static struct found list(void)
{
	struct found found = {0, 0, false};
	OK(&w, mote_store_list(w.directory, find, &found, &w.err));
	return found;
}

/* All that is listed can be used, and what a load finds is what the list has. */
static void check_whole(void)
{
	OK(&w, mote_store_verify(w.directory, NULL, NULL, NULL, NULL, &w.err));
	struct found found = list();
	CHECK(found.tagged <= 1);
	if (found.tagged)
		CHECK_EQ(load(TAG), found.is_new);
	else
		FAILS(&w,
		      mote_snapshot_load(w.directory, TAG, NULL, &(mote_snapshot *){NULL}, &w.err),
		      MOTE_ENOTFOUND);
}

/* A collection removes what is not listed and what writers left; a second one finds nothing. */
static void check_collect(void)
{
	struct mote_store_collected collected;
	unsigned rests = tree_count(w.directory, ".mote-");
	OK(&w, mote_store_collect(w.directory, &collected, &w.err));
	CHECK_EQ(collected.rests, rests);
	CHECK_EQ(tree_count(w.directory, ".mote-"), 0);
	check_whole();
	OK(&w, mote_store_collect(w.directory, &collected, &w.err));
	CHECK(collected.blobs == 0 && collected.bytes == 0 && collected.rests == 0);
}

/* The store holds the new one under the tag, and nothing else. */
static void check_new_alone(void)
{
	CHECK(load(TAG));
	check_collect();
	CHECK_EQ(list().tagged, 1);
	FAILS(&w, mote_store_tag(w.directory, w.old_saved.digest, "old", &w.err), MOTE_ENOTFOUND);
	char blobs[TREE_PATH_BYTES];
	tree_join(blobs, w.directory, "blobs/sha256");
	CHECK_EQ(tree_count(blobs, ""), w.new_saved.blobs);
	CHECK_EQ(tree_bytes(blobs), w.new_saved.bytes);
}

/* The next writer works, on whatever a dead one left. */
static void check_next_save(void)
{
	struct mote_saved saved;
	save(w.new, TAG, &saved);
	CHECK_STR(saved.digest, w.new_saved.digest);
	CHECK_EQ(saved.bytes, w.new_saved.bytes);
	check_whole();
}

/* ---- scenes ---------------------------------------------------------------------------------- */

static void again(void)
{
	tree_remove(w.directory);
	tree_copy(w.begun, w.directory);
}

static void open_scene(enum kind kind)
{
	memset(&w, 0, sizeof w);
	w.kind = kind;
	tree_make(w.base);
	tree_join(w.begun, w.base, "begun");
	CHECK(make(kind, &w.old, &w.new));
	OK(&w, mote_snapshot_digest(w.old, w.old_digest, &w.err));
	OK(&w, mote_snapshot_digest(w.new, w.new_digest, &w.err));
	tree_join(w.directory, w.base, "reference");
	save(w.new, TAG, &w.new_saved);
	CHECK_EQ(w.new_saved.blobs, w.new_saved.blobs_written);
	tree_join(w.directory, w.base, "begun");
	save(w.old, TAG, &w.old_saved);
	tree_join(w.directory, w.base, "store");
}

static void close_scene(void)
{
	mote_snapshot_unref(w.old);
	mote_snapshot_unref(w.new);
	tree_remove(w.base);
}

static bool is_write(long number)
{
	return number == SYS_write || number == SYS_pwrite64;
}

/* Kill a job at every system call, and in every write. begin makes the store, check looks at what
 * is left. */
static void kill_everywhere(int (*run)(void *cookie), bool is_writing, void (*begin)(void),
			    void (*check)(void))
{
	const struct killer_job job = {prepare, run, NULL};
	unsigned torn = 0, n = 1;
	for (bool is_finished = false; !is_finished; n++) {
		begin();
		struct killer_outcome outcome = killer_run(&job, n, KILLER_BEFORE, &w.log);
		is_finished = outcome.is_finished;
		if (is_finished)
			CHECK_EQ(outcome.status, 0);
		check();
		if (is_finished || !is_write(w.log.call[w.log.count - 1].number))
			continue;
		begin();
		CHECK(!killer_run(&job, n, KILLER_TORN, NULL).is_finished);
		check();
		torn++;
	}
	check_note("killed at %u system calls, and in %u writes", n - 2, torn);
	CHECK(n > 10 && (torn > 0) == is_writing);
}

#define TEST_KINDS(what)               \
	static void kind_##what(void); \
	TEST(what##_image)             \
	{                              \
		open_scene(IMAGES);    \
		kind_##what();         \
		close_scene();         \
	}                              \
	TEST(what##_taken)             \
	{                              \
		open_scene(TAKEN);     \
		kind_##what();         \
		close_scene();         \
	}                              \
	static void kind_##what(void)

static void check_save_over(void)
{
	check_whole();
	CHECK_EQ(list().tagged, 1);
	/* What lost its tag is there until a collection. */
	OK(&w, mote_store_tag(w.directory, w.old_saved.digest, "old", &w.err));
	CHECK(!load("old") && !load(w.old_saved.digest));
	OK(&w, mote_store_remove(w.directory, "old", &w.err));
	check_next_save();
	check_new_alone();
	CHECK_EQ(list().entries, 1);
}

TEST_KINDS(store_crash__a_save_over_another_leaves_the_old_or_the_new)
{
	kill_everywhere(save_new, true, again, check_save_over);
}

/* ---- empty directories ----------------------------------------------------------------------- */

static void nothing(void)
{
	tree_remove(w.directory);
}

static void check_save_first(void)
{
	struct found found = {0, 0, false};
	char path[TREE_PATH_BYTES];
	int rc = mote_store_list(w.directory, find, &found, &w.err);
	tree_join(path, w.directory, "oci-layout");
	/* Before there is an oci-layout, it is a directory with rests. */
	if (rc != MOTE_OK)
		CHECK(rc == MOTE_ENOTFOUND || (rc == MOTE_ESTORE && !tree_has(path)));
	else
		check_whole();
	if (found.tagged)
		CHECK(found.is_new);
	check_next_save();
	check_new_alone();
}

TEST_KINDS(store_crash__a_first_save_leaves_nothing_or_the_new)
{
	kill_everywhere(save_new, true, nothing, check_save_first);
}

/* ---- other writers --------------------------------------------------------------------------- */

static void check_save_beside(void)
{
	check_whole();
	CHECK(list().tagged == 1 && !load(TAG));
	CHECK(list().entries <= 2);
	bool is_listed = list().entries == 2;
	check_next_save();
	check_new_alone();
	/* Listed without a tag it stays so. */
	CHECK_EQ(list().entries, is_listed ? 2 : 1);
}

TEST(store_crash__a_save_without_a_tag_leaves_the_tag)
{
	open_scene(TAKEN);
	kill_everywhere(save_without_tag, true, again, check_save_beside);
	close_scene();
}

static void with_both(void)
{
	again();
	save(w.new, "other", NULL);
}

static void check_tag(void)
{
	check_whole();
	CHECK_EQ(list().tagged, 1);
	CHECK(load("other"));
	check_next_save();
	OK(&w, mote_store_remove(w.directory, "other", &w.err));
	check_new_alone();
}

TEST(store_crash__a_tag_moves_or_stays)
{
	open_scene(IMAGES);
	kill_everywhere(tag_new, true, with_both, check_tag);
	close_scene();
}

static void check_remove(void)
{
	check_whole();
	CHECK(load("other"));
	CHECK(!list().tagged || !load(TAG));
	check_collect();
	check_next_save();
	OK(&w, mote_store_remove(w.directory, "other", &w.err));
	check_new_alone();
}

TEST(store_crash__a_tag_is_there_or_gone)
{
	open_scene(IMAGES);
	kill_everywhere(remove_tag, true, with_both, check_remove);
	close_scene();
}

/* The new one stays, the old one is not listed any more, and a writer has died. */
static void with_garbage(void)
{
	char path[TREE_PATH_BYTES];
	again();
	save(w.new, TAG, NULL);
	tree_join(path, w.directory, ".mote-0123456789ab");
	tree_write(path, "rest", 4);
}

static void check_collected(void)
{
	check_whole();
	CHECK(load(TAG));
	check_new_alone();
	check_next_save();
}

TEST_KINDS(store_crash__a_collection_removes_only_what_nobody_needs)
{
	kill_everywhere(collect, false, with_garbage, check_collected);
}

/* ---- the order of system calls --------------------------------------------------------------- */

#define FILES_MAX 64u

/* What of a store is not known to be on the disk: contents of files, names in directories. */
static struct {
	unsigned count;
	char path[FILES_MAX][KILLER_PATH_BYTES];
	bool is_dirty[FILES_MAX];
} disk;

static bool *dirty(const char *path)
{
	for (unsigned i = 0; i < disk.count; i++)
		if (strcmp(disk.path[i], path) == 0)
			return &disk.is_dirty[i];
	CHECK(disk.count < FILES_MAX);
	(void)snprintf(disk.path[disk.count], KILLER_PATH_BYTES, "%s", path);
	return &disk.is_dirty[disk.count++];
}

/* The directory of path has another name in it. */
static void renamed_in(const char *path)
{
	char directory[KILLER_PATH_BYTES];
	size_t len = (size_t)(strrchr(path, '/') - path);
	memcpy(directory, path, len);
	directory[len] = 0;
	*dirty(directory) = true;
}

static bool ends_with(const char *path, const char *end)
{
	size_t len = strlen(path), end_len = strlen(end);
	return len >= end_len && strcmp(path + len - end_len, end) == 0;
}

static bool is_in_base(const char *path)
{
	return strncmp(path, w.base, strlen(w.base)) == 0;
}

/* Blobs, and directories on the way to them. */
static void require_blobs_on_disk(void)
{
	for (unsigned i = 0; i < disk.count; i++) {
		bool is_root = strcmp(disk.path[i], w.directory) == 0;
		if (!disk.is_dirty[i] || strstr(disk.path[i], "/.mote-"))
			continue;
		/* The root's own entry among others is the caller's when it was there before. */
		if (is_root || strstr(disk.path[i], "/blobs"))
			check_failed(__FILE__, __LINE__, "%s is not synced before index.json",
				     disk.path[i]);
	}
}

static unsigned renames, indexes;
static bool is_collecting;

static void look_at_rename(const struct killer_call *call)
{
	renames++;
	CHECK(strstr(call->path, "/.mote-"));
	if (*dirty(call->path))
		check_failed(__FILE__, __LINE__, "%s is renamed before it is synced", call->to);
	if (ends_with(call->to, "/index.json")) {
		require_blobs_on_disk();
		indexes++;
	}
	renamed_in(call->to);
}

static void look_at(const struct killer_call *call)
{
	if (!is_in_base(call->path) || call->result < 0)
		return;
	switch (call->number) {
	case SYS_open:
	case SYS_openat:
		/* Nothing in the store is written under its own name. */
		if (call->flags & O_CREAT)
			CHECK(strstr(call->path, "/.mote-") && call->flags & O_EXCL);
		else
			CHECK((call->flags & O_ACCMODE) == O_RDONLY);
		CHECK(call->flags & O_CLOEXEC);
		break;
	case SYS_write:
	case SYS_pwrite64:
	case SYS_writev:
	case SYS_pwritev:
	case SYS_pwritev2:
	case SYS_sendfile:
	case SYS_copy_file_range:
	case SYS_ftruncate:
	case SYS_fallocate:
	case SYS_fchmod:
		CHECK(strstr(call->path, "/.mote-"));
		*dirty(call->path) = true;
		break;
	case SYS_fsync:
	case SYS_fdatasync:
		*dirty(call->path) = false;
		break;
	case SYS_mkdir:
	case SYS_mkdirat:
		renamed_in(call->path);
		break;
	case SYS_unlink:
	case SYS_unlinkat:
		CHECK(strstr(call->path, "/.mote-") || is_collecting);
		*dirty(call->path) = false;
		break;
	case SYS_rename:
	case SYS_renameat:
	case SYS_renameat2:
	case SYS_link:
	case SYS_linkat:
		look_at_rename(call);
		break;
	default:
		break;
	}
}

/* Write down what run does, and look at it. */
static void check_order(int (*run)(void *cookie))
{
	const struct killer_job job = {prepare, run, NULL};
	memset(&disk, 0, sizeof disk);
	renames = indexes = 0;
	struct killer_outcome outcome = killer_run(&job, 0, KILLER_BEFORE, &w.log);
	CHECK(outcome.is_finished && outcome.status == 0);
	for (unsigned i = 0; i < w.log.count; i++)
		look_at(&w.log.call[i]);
	/* When it is done, all is on the disk. */
	for (unsigned i = 0; i < disk.count; i++)
		if (disk.is_dirty[i])
			check_failed(__FILE__, __LINE__, "%s is not synced at the end",
				     disk.path[i]);
}

TEST_KINDS(store_crash__what_the_index_names_is_on_the_disk_before_it)
{
	again();
	check_order(save_new);
	/* At least the manifest and the configuration are new. */
	CHECK(indexes == 1 && renames >= 3);
}

TEST_KINDS(store_crash__a_first_save_syncs_all_that_it_makes)
{
	nothing();
	check_order(save_new);
	CHECK(indexes >= 1 && renames >= w.new_saved.blobs + 2);
}

TEST(store_crash__a_tag_is_on_the_disk)
{
	open_scene(IMAGES);
	with_both();
	check_order(tag_new);
	CHECK(indexes == 1 && renames == 1);
	with_both();
	check_order(remove_tag);
	CHECK(indexes == 1 && renames == 1);
	close_scene();
}

/* A blob goes only when the index that does not need it is on the disk: nobody can have changed it
 * since, as writers are locked out. */
TEST(store_crash__a_collection_renames_nothing)
{
	open_scene(IMAGES);
	with_garbage();
	is_collecting = true;
	check_order(collect);
	is_collecting = false;
	CHECK_EQ(renames, 0);
	close_scene();
}
