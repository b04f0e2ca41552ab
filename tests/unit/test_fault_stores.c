/* SPDX-License-Identifier: MIT */
/*
 * The public functions of stores with their first, second, third ... call of the system failing: a
 * clean error, nothing leaked, and a store that has what it had, or what was to be put into it.
 */
#define _GNU_SOURCE
#include "fault_trial.h"
#include "stock_world.h"
#include "tree.h"

#define TRY_ALL(least, ...)                                   \
	do {                                                  \
		const struct trial trial_ = {__VA_ARGS__};    \
		CHECK((int)try_all(&trial_) >= (int)(least)); \
	} while (0)

static char base[TREE_PATH_BYTES], directory[TREE_PATH_BYTES];
static mote_snapshot *parent, *child, *loaded;
static struct mote_saved parent_saved, child_saved;
static const struct mote_save_options tagged = {.size = sizeof tagged, .tag = "latest"};

/* Two snapshots, and a store in which the parent has the tag "latest". */
static void begin(enum world_kind kind)
{
	const struct tiny_options image = {.is_confined = kind == CONFINED,
					   .data_bytes = DATA_BYTES};
	const uint64_t value = 0x1122334455667788;
	tree_make(base);
	tree_join(directory, base, "store");
	world_make_of(&w, &image, NULL, &stock_guest);
	world_sandbox(&w, NULL);
	OK(&w, mote_sandbox_start(w.sandbox, 0, &w.err));
	OK(&w, mote_snapshot_take(w.sandbox, NULL, &parent, &w.err));
	OK(&w, mote_sandbox_write(w.sandbox, DATA(0) + 0x88, &value, sizeof value, &w.err));
	OK(&w, mote_snapshot_take(w.sandbox, NULL, &child, &w.err));
	OK(&w, mote_snapshot_save(parent, directory, &tagged, &parent_saved, &w.err));
}

static void end(void)
{
	mote_snapshot_unref(parent);
	mote_snapshot_unref(child);
	world_free(&w);
	tree_remove(base);
}

/* What "latest" is: a loaded snapshot's digest is that of one of the two. */
static bool is_latest(mote_snapshot *snapshot)
{
	uint8_t a[MOTE_DIGEST_BYTES], b[MOTE_DIGEST_BYTES];
	mote_snapshot *latest = NULL;
	OK(&w, mote_snapshot_load(directory, NULL, NULL, &latest, &w.err));
	OK(&w, mote_snapshot_digest(latest, a, &w.err));
	OK(&w, mote_snapshot_digest(snapshot, b, &w.err));
	mote_snapshot_unref(latest);
	return memcmp(a, b, sizeof a) == 0;
}

/* ---- save ------------------------------------------------------------------------------------ */

/* By the library alone: what the test itself takes is counted by the injector in part. */
static void only_parent(void)
{
	OK(&w, mote_snapshot_save(parent, directory, &tagged, NULL, &w.err));
	OK(&w, mote_store_collect(directory, NULL, &w.err));
}

static int save_child(struct mote_error *err)
{
	return mote_snapshot_save(child, directory, &tagged, &child_saved, err);
}

static void check_saved(int rc)
{
	struct mote_store_collected collected;
	OK(&w, mote_store_verify(directory, NULL, NULL, NULL, NULL, &w.err));
	/* The new index may be there, and the sync of it failed. */
	if (rc == MOTE_OK)
		CHECK(is_latest(child));
	else
		CHECK(is_latest(parent) || is_latest(child));
	OK(&w, mote_store_collect(directory, NULL, &w.err));
	OK(&w, mote_store_collect(directory, &collected, &w.err));
	CHECK(!collected.blobs && !collected.rests);
}

TEST_BOTH(fault_stores__save)
{
	begin(kind);
	TRY_ALL(70, "save", .prepare = only_parent, .run = save_child, .finish = check_saved,
		.may_pass = true);
	end();
}

/* ---- load ------------------------------------------------------------------------------------ */

static struct mote_load_options options;

static int load(struct mote_error *err)
{
	int rc = mote_snapshot_load(directory, "latest", &options, &loaded, err);
	CHECK((rc == MOTE_OK) == (loaded != NULL));
	return rc;
}

static void drop_loaded(int rc)
{
	(void)rc;
	mote_snapshot_unref(loaded);
	loaded = NULL;
}

TEST_BOTH(fault_stores__load)
{
	begin(kind);
	OK(&w, mote_snapshot_save(child, directory, &tagged, NULL, &w.err));
	options = (struct mote_load_options){.size = sizeof options};
	/* The lock of a reader may fail, and what only says where holes are. */
	TRY_ALL(60, "load", .run = load, .finish = drop_loaded, .may_pass = true);
	options.trust_memory_without_verifying = 1;
	TRY_ALL(60, "load trusted", .run = load, .finish = drop_loaded, .may_pass = true);
	options.trust_memory_without_verifying = 0;
	options.share = &parent;
	options.share_count = 1;
	TRY_ALL(60, "load sharing", .run = load, .finish = drop_loaded, .may_pass = true);
	end();
}

/* ---- the others ------------------------------------------------------------------------------ */

static int verify(struct mote_error *err)
{
	return mote_store_verify(directory, NULL, NULL, NULL, NULL, err);
}

static int count_entry(void *cookie, const struct mote_store_entry *entry)
{
	*(unsigned *)cookie += entry->is_snapshot;
	return 0;
}

static int create(struct mote_error *err)
{
	return mote_store_create(directory, err);
}

static int list(struct mote_error *err)
{
	unsigned count = 0;
	int rc = mote_store_list(directory, count_entry, &count, err);
	CHECK(rc < 0 || count == 1);
	return rc;
}

static void unlist_child(void)
{
	OK(&w, mote_snapshot_save(child, directory, &tagged, &child_saved, &w.err));
	OK(&w, mote_store_remove(directory, child_saved.digest, &w.err));
}

static int tag_child(struct mote_error *err)
{
	return mote_store_tag(directory, child_saved.digest, "latest", err);
}

static void list_parent(void)
{
	OK(&w, mote_snapshot_save(parent, directory, &tagged, NULL, &w.err));
}

static int remove_parent(struct mote_error *err)
{
	return mote_store_remove(directory, "latest", err);
}

static void check_removed(int rc)
{
	int found = mote_snapshot_load(directory, NULL, NULL, &loaded, &w.err);
	if (rc == MOTE_OK)
		CHECK_EQ(found, MOTE_ENOTFOUND);
	else
		CHECK(found == MOTE_OK || found == MOTE_ENOTFOUND);
	drop_loaded(found);
}

static int collect(struct mote_error *err)
{
	return mote_store_collect(directory, NULL, err);
}

static void check_collected(int rc)
{
	(void)rc;
	list_parent();
	CHECK(is_latest(parent));
}

TEST_BOTH(fault_stores__the_others)
{
	begin(kind);
	TRY_ALL(10, "create", .run = create, .may_pass = true);
	TRY_ALL(40, "verify", .run = verify, .may_pass = true);
	TRY_ALL(15, "list", .run = list, .may_pass = true);
	TRY_ALL(60, "tag", .prepare = unlist_child, .run = tag_child, .may_pass = true);
	TRY_ALL(15, "remove", .prepare = list_parent, .run = remove_parent, .finish = check_removed,
		.may_pass = true);
	TRY_ALL(20, "collect", .prepare = unlist_child, .run = collect, .finish = check_collected,
		.may_pass = true);
	end();
}
