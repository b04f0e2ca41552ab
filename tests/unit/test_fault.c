/* SPDX-License-Identifier: MIT */
/* Every function that can fail, with its first, second, third ... call of the system failing until
 * none is left: a clean error, nothing leaked, and what was there before still works. */
#define _GNU_SOURCE
#include "world.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/sys.h"
#include "fault_trial.h"

static struct world w;

#define TRY_ALL(least, ...)                                   \
	do {                                                  \
		const struct trial trial_ = {__VA_ARGS__};    \
		CHECK((int)try_all(&trial_) >= (int)(least)); \
	} while (0)

/* The injector's own check: without it nothing here means anything. */
TEST(fault__the_injector_fails_what_it_is_told_to)
{
	void *volatile blocks[3];
	fault_arm(2);
	for (unsigned i = 0; i < 3; i++)
		blocks[i] = calloc(1, 8);
	CHECK(fault_disarm());
	CHECK(blocks[0] && !blocks[1] && blocks[2]);
	CHECK_STR(fault_name(), "calloc");
	const struct fault_live before = fault_live();
	free(blocks[0]);
	free(blocks[2]);
	CHECK_EQ(fault_live().blocks, before.blocks - 2);
	int fd = dup(0);
	CHECK_EQ(fault_live().descriptors, before.descriptors + 1);
	close(fd);
	fault_arm(1);
	CHECK(!fault_disarm());
}

/* ---- engines, hosts, values ------------------------------------------------------------------ */

static const struct double_guest idle = {0};

static int make_engine(struct mote_error *err)
{
	mote_engine *engine = NULL;
	int rc = mote__engine_on(&w.hypervisor->base, SIGRTMIN, 0, &engine, err);
	CHECK((rc == MOTE_OK) == (engine != NULL));
	if (engine) {
		/* The hypervisor goes on to the next one. */
		mote__sys_unmap((void *)(uintptr_t)engine->own, 4096);
		mote__bag_destroy(engine->pool);
		free(engine);
	}
	return rc;
}

TEST(fault__engines)
{
	memset(&w, 0, sizeof w);
	w.hypervisor = double_make(&idle);
	TRY_ALL(3, "engine", .run = make_engine);
	w.hypervisor->base.ops->close(&w.hypervisor->base);
}

static int nothing(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	(void)cookie;
	(void)arguments;
	(void)reply;
	return 0;
}

static int make_host(struct mote_error *err)
{
	mote_host *host = NULL;
	int rc = mote_host_create(&host, err);
	CHECK((rc == MOTE_OK) == (host != NULL));
	mote_host_unref(host);
	return rc;
}

/* Twenty functions: the table grows on the way. One that fails leaves the others. */
static int fill_host(struct mote_error *err)
{
	mote_host *host = NULL;
	char name[8] = "a";
	int rc = mote_host_create(&host, err);
	for (unsigned i = 0; i < 20 && rc == MOTE_OK; i++) {
		name[0] = (char)('a' + i);
		rc = MOTE_HOST_ADD(host, name, nothing, NULL, err, MOTE_VOID);
		CHECK((mote__host_find(host, name, 1) != NULL) == (rc == MOTE_OK));
		CHECK(mote__host_find(host, "HostPrint", 9) != NULL);
	}
	mote_host_unref(host);
	return rc;
}

TEST(fault__hosts)
{
	TRY_ALL(3, "host", .run = make_host);
	TRY_ALL(24, "functions", .run = fill_host);
}

static int copy_value(struct mote_error *err)
{
	const struct mote_value value = mote_string("text");
	struct mote_value copy = mote_i32(1);
	int rc = mote_value_copy(&value, &copy, err);
	mote_value_free(&copy);
	return rc;
}

TEST(fault__values)
{
	TRY_ALL(1, "value", .run = copy_value);
}

/* ---- snapshots ------------------------------------------------------------------------------- */

static const struct tiny_function functions[] = {{"f", MOTE_VOID, 0, {0}}};
static struct tiny_image image;
static char path[] = "/tmp/mote-test-XXXXXX";

static int make_snapshot(struct mote_error *err)
{
	mote_snapshot *snapshot = NULL;
	int rc = mote_snapshot_from_memory(image.bytes, image.len, NULL, &snapshot, err);
	CHECK((rc == MOTE_OK) == (snapshot != NULL));
	mote_snapshot_unref(snapshot);
	return rc;
}

static int read_snapshot(struct mote_error *err)
{
	mote_snapshot *snapshot = NULL;
	int rc = mote_snapshot_from_file(path, NULL, &snapshot, err);
	CHECK((rc == MOTE_OK) == (snapshot != NULL));
	mote_snapshot_unref(snapshot);
	return rc;
}

TEST(fault__snapshots)
{
	image = tiny_guest(&(struct tiny_options){0});
	TRY_ALL(13, "stock snapshot", .run = make_snapshot);
	image = tiny_guest(&(struct tiny_options){.is_confined = true,
						  .exports = functions,
						  .export_count = 1,
						  .imports = functions,
						  .import_count = 1});
	TRY_ALL(17, "confined snapshot", .run = make_snapshot);
}

TEST(fault__snapshots_of_files)
{
	image = tiny_guest(&(struct tiny_options){0});
	int fd = mkstemp(path);
	CHECK(fd >= 0);
	CHECK_EQ(write(fd, image.bytes, image.len), image.len);
	close(fd);
	TRY_ALL(17, "snapshot of a file", .run = read_snapshot);
	unlink(path);
}

/* ---- sandboxes ------------------------------------------------------------------------------- */

static uint8_t large[0x3000];

/* Prints, asks the host, and gives bytes that need more room than the host has at first. */
static void work(struct double_machine *m, struct mote__exit *exit)
{
	switch (m->step) {
	case 0:
		(void)guest_pop_call(m);
		guest_push_call(m, "h", MOTE_VOID, NULL, 0);
		double_out(exit, MOTE_ABI_PORT_CALL, 0);
		break;
	case 1:
		CHECK(!guest_pop_answer(m).is_error);
		guest_push_value(m, mote_bytes(large, sizeof large));
		double_halt(exit);
		break;
	default:
		CHECK(0);
	}
}

static const struct double_guest working = {NULL, work, NULL};

static void make_world(enum world_kind kind)
{
	world_make(&w, kind, &working);
	OK(&w, MOTE_HOST_ADD(w.host, "h", nothing, NULL, &w.err, MOTE_VOID));
}

static int call_with(struct mote_error *err)
{
	const struct mote_call call = {.size = sizeof call,
				       .function = "f",
				       .result = MOTE_BYTES,
				       .timeout_ns = 10000000000};
	struct mote_value result;
	int rc = mote_sandbox_call(w.sandbox, &call, &result, err);
	if (rc == MOTE_OK)
		CHECK(result.bytes.len == sizeof large);
	return rc;
}

static int make_sandbox(struct mote_error *err)
{
	int rc = mote_sandbox_create(w.engine, w.snapshot, w.host, NULL, &w.sandbox, err);
	CHECK((rc == MOTE_OK) == (w.sandbox != NULL));
	mote_sandbox_destroy(w.sandbox);
	w.sandbox = NULL;
	CHECK_EQ(w.hypervisor->machines, 0);
	return rc;
}

TEST_BOTH(fault__sandboxes)
{
	make_world(kind);
	TRY_ALL(kind == CONFINED ? 8u : 5u, "sandbox", .run = make_sandbox);
	world_free(&w);
}

static void prepare_new(void)
{
	world_sandbox(&w, NULL);
}

static void prepare_ready(void)
{
	world_sandbox(&w, NULL);
	OK(&w, mote_sandbox_start(w.sandbox, 0, &w.err));
}

/* What is left after a failure works, or is poisoned. */
static void check_sandbox(int rc)
{
	bool is_poisoned = mote_sandbox_state(w.sandbox) == MOTE_STATE_POISONED;
	CHECK(rc < 0 || !is_poisoned);
	CHECK_EQ(call_with(&w.err), is_poisoned ? MOTE_ESTATE : MOTE_OK);
	mote_sandbox_destroy(w.sandbox);
	w.sandbox = NULL;
}

static int start_it(struct mote_error *err)
{
	return mote_sandbox_start(w.sandbox, 10000000000, err);
}

static int write_it(struct mote_error *err)
{
	return mote_sandbox_write(w.sandbox, TINY_DATA_GVA, large, 0x1000, err);
}

static int read_it(struct mote_error *err)
{
	return mote_sandbox_read(w.sandbox, TINY_DATA_GVA, large, 0x1000, err);
}

TEST_BOTH(fault__sandboxes_in_use)
{
	make_world(kind);
	/* The timer twice, random bytes. */
	TRY_ALL(3, "start", prepare_new, start_it, check_sandbox, false);
	/* And room for the result. */
	TRY_ALL(4, "first call", prepare_new, call_with, check_sandbox, false);
	TRY_ALL(3, "call", prepare_ready, call_with, check_sandbox, false);
	world_free(&w);
}

/* Memory needs nothing of the system: the frames are there, and slots are the double's. */
TEST_BOTH(fault__memory)
{
	const struct trial write = {"write", prepare_ready, write_it, check_sandbox, false};
	const struct trial read = {"read", prepare_ready, read_it, check_sandbox, false};
	make_world(kind);
	CHECK_EQ(try_all(&write), 0);
	CHECK_EQ(try_all(&read), 0);
	world_free(&w);
}

/* A host call that is too large for the buffer at hand: it poisons, for it cannot be answered. */
static void ask_at_length(struct double_machine *m, struct mote__exit *exit)
{
	const struct mote_value argument = mote_bytes(large, sizeof large);
	if (m->step == 0) {
		(void)guest_pop_call(m);
		guest_push_call(m, "h", MOTE_VOID, &argument, 1);
		double_out(exit, MOTE_ABI_PORT_CALL, 0);
		return;
	}
	guest_return(m, exit, mote_void());
}

TEST_BOTH(fault__a_host_call_without_memory_poisons)
{
	const struct double_guest guest = {NULL, ask_at_length, NULL};
	make_world(kind);
	w.hypervisor->guest = &guest;
	world_sandbox(&w, NULL);
	OK(&w, mote_sandbox_start(w.sandbox, 0, &w.err));
	fault_arm(1);
	FAILS(&w, world_call(&w, MOTE_VOID, NULL), MOTE_ENOMEM);
	CHECK(fault_disarm());
	CHECK_STR(fault_name(), "reallocarray");
	CHECK_HAS(w.err.message, "out of memory: a message of 12");
	CHECK_EQ(w.err.poisoned, 1);
	CHECK_EQ(mote_sandbox_state(w.sandbox), MOTE_STATE_POISONED);
	world_free(&w);
}

/* ---- snapshots of sandboxes -------------------------------------------------------------------
 */

#define PAGE    4096ull
#define COW_GVA (TINY_DATA_GVA + 14 * PAGE)

static mote_snapshot *parent; /* taken; what world has is the image */

static void put(uint64_t gva, uint64_t value)
{
	OK(&w, mote_sandbox_write(w.sandbox, gva, &value, sizeof value, &w.err));
}

static uint64_t live(uint64_t gva)
{
	uint64_t value = 0;
	OK(&w, mote_sandbox_read(w.sandbox, gva, &value, sizeof value, &w.err));
	return value;
}

/* A ready sandbox of a snapshot that holds 7 at COW_GVA; the image's has nothing there. */
static void make_parent(enum world_kind kind, uint32_t pool_max)
{
	const struct tiny_options o = {.is_confined = kind == CONFINED, .data_bytes = 20 * PAGE};
	world_make_of(&w, &o, NULL, &working);
	/* The world's engine has no pool. */
	if (pool_max) {
		mote__bag_destroy(w.engine->pool);
		CHECK_EQ(mote__bag_create(pool_max, &w.engine->pool), 0);
		w.engine->pool_max = pool_max;
	}
	OK(&w, MOTE_HOST_ADD(w.host, "h", nothing, NULL, &w.err, MOTE_VOID));
	prepare_ready();
	put(COW_GVA, 7);
	OK(&w, mote_snapshot_take(w.sandbox, NULL, &parent, &w.err));
	mote_sandbox_destroy(w.sandbox);
	w.sandbox = NULL;
	(void)mote_engine_trim(w.engine, NULL);
}

static void free_parent(void)
{
	mote_snapshot_unref(parent);
	world_free(&w);
}

static void prepare_fork(void)
{
	OK(&w, mote_sandbox_create(w.engine, parent, w.host, NULL, &w.sandbox, &w.err));
	OK(&w, call_with(&w.err));
	put(COW_GVA, 8);
	put(COW_GVA + PAGE, 9);
}

static int take_it(struct mote_error *err)
{
	const struct mote_metadata metadata[] = {{"a", "1"}, {"b", "{}"}};
	const struct mote_take_options o = {
		.size = sizeof o, .metadata = metadata, .metadata_count = 2};
	mote_snapshot *s = NULL;
	int rc = mote_snapshot_take(w.sandbox, &o, &s, err);
	CHECK((rc == MOTE_OK) == (s != NULL));
	mote_snapshot_unref(s);
	return rc;
}

/* Taken or not, the sandbox is as it was, and can be taken. */
static void check_taken(int rc)
{
	(void)rc;
	CHECK_EQ(mote_sandbox_state(w.sandbox), MOTE_STATE_READY);
	CHECK(live(COW_GVA) == 8 && live(COW_GVA + PAGE) == 9);
	OK(&w, call_with(&w.err));
	mote_snapshot *s = NULL;
	uint64_t value = 0;
	OK(&w, mote_snapshot_take(w.sandbox, NULL, &s, &w.err));
	OK(&w, mote_snapshot_read(s, COW_GVA, &value, sizeof value, &w.err));
	CHECK_EQ(value, 8);
	mote_snapshot_unref(s);
	mote_sandbox_destroy(w.sandbox);
	w.sandbox = NULL;
}

TEST_BOTH(fault__take)
{
	make_parent(kind, 0);
	TRY_ALL(15, "take", prepare_fork, take_it, check_taken, false);
	free_parent();
}

/* More layers than there may be: it is flattened first. */
static void prepare_many(void)
{
	OK(&w, mote_sandbox_create(w.engine, parent, w.host, NULL, &w.sandbox, &w.err));
	for (uint64_t i = 0; i < MOTE__LAYERS_MAX - 2; i++) {
		mote_snapshot *s = NULL;
		put(COW_GVA, i + 100);
		OK(&w, mote_snapshot_take(w.sandbox, NULL, &s, &w.err));
		mote_snapshot_unref(s);
	}
	put(COW_GVA, 8);
	put(COW_GVA + PAGE, 9);
}

TEST(fault__take_that_compacts)
{
	make_parent(CONFINED, 0);
	TRY_ALL(25, "compacting take", prepare_many, take_it, check_taken, false);
	free_parent();
}

static int flatten_it(struct mote_error *err)
{
	mote_snapshot *flat = NULL;
	int rc = mote_snapshot_flatten(parent, &flat, err);
	CHECK((rc == MOTE_OK) == (flat != NULL));
	mote_snapshot_unref(flat);
	return rc;
}

TEST_BOTH(fault__flatten)
{
	make_parent(kind, 0);
	TRY_ALL(15, "flatten", .run = flatten_it);
	free_parent();
}

static const struct mote_restore_options strictly = {.size = sizeof strictly, .strict = 1};

static int restore_parent(struct mote_error *err)
{
	return mote_sandbox_restore(w.sandbox, parent, NULL, err);
}

static int restore_strictly(struct mote_error *err)
{
	return mote_sandbox_restore(w.sandbox, parent, &strictly, err);
}

static int restore_image(struct mote_error *err)
{
	return mote_sandbox_restore(w.sandbox, w.snapshot, NULL, err);
}

/* Restored, or broken. */
static void check_restored(int rc)
{
	CHECK_EQ(mote_sandbox_state(w.sandbox) == MOTE_STATE_BROKEN, rc < 0);
	(void)world_statistics(&w);
	if (rc == MOTE_OK) {
		CHECK(live(COW_GVA + PAGE) == 0);
		OK(&w, call_with(&w.err));
	}
	mote_sandbox_destroy(w.sandbox);
	w.sandbox = NULL;
	CHECK_EQ(w.hypervisor->machines, 0);
}

TEST_BOTH(fault__restore)
{
	const unsigned confined = kind == CONFINED;
	make_parent(kind, 0);
	/* In place the random bytes are there already, but for every so many starts. */
	TRY_ALL(0, "restore", prepare_fork, restore_parent, check_restored, false);
	TRY_ALL(0, "strict restore", prepare_fork, restore_strictly, check_restored, false);
	TRY_ALL(2 * confined, "switch", prepare_fork, restore_image, check_restored, false);
	free_parent();
}

static void spoil_guest(struct double_machine *m, struct mote__exit *exit)
{
	(void)m;
	*exit = (struct mote__exit){
		.kind = MOTE__EXIT_OTHER, .is_fatal = true, .detail = "shutdown (triple fault)"};
}

static const struct double_guest spoiling = {NULL, spoil_guest, NULL};

static void prepare_fatal(void)
{
	w.hypervisor->guest = &spoiling;
	OK(&w, mote_sandbox_create(w.engine, parent, w.host, NULL, &w.sandbox, &w.err));
	w.hypervisor->guest = &working;
	FAILS(&w, call_with(&w.err), MOTE_EPROTOCOL);
}

TEST_BOTH(fault__restore_with_a_new_machine)
{
	make_parent(kind, 0);
	TRY_ALL(1, "new machine", prepare_fatal, restore_parent, check_restored, false);
	free_parent();
}

/* ---- pools ----------------------------------------------------------------------------------- */

static int fill_it(struct mote_error *err)
{
	return mote_engine_fill(w.engine, parent, 2, err);
}

static void check_filled(int rc)
{
	uint32_t count = mote_engine_trim(w.engine, parent);
	CHECK(rc == MOTE_OK ? count == 2 : count < 2);
	CHECK_EQ(w.hypervisor->machines, 0);
}

static void prepare_shell(void)
{
	OK(&w, mote_engine_fill(w.engine, w.snapshot, 1, &w.err));
}

static int fork_it(struct mote_error *err)
{
	return mote_sandbox_create(w.engine, parent, w.host, NULL, &w.sandbox, err);
}

/* A shell that could not be given the snapshot is gone; nothing of it is left either way. */
static void check_forked(int rc)
{
	CHECK((rc == MOTE_OK) == (w.sandbox != NULL));
	if (rc == MOTE_OK) {
		CHECK_EQ(live(COW_GVA), 7);
		OK(&w, call_with(&w.err));
	}
	mote_sandbox_destroy(w.sandbox);
	w.sandbox = NULL;
	(void)mote_engine_trim(w.engine, NULL);
	CHECK_EQ(w.hypervisor->machines, 0);
}

static int park_it(struct mote_error *err)
{
	(void)err;
	mote_sandbox_destroy(w.sandbox);
	w.sandbox = NULL;
	return MOTE_OK;
}

/* Kept or not, the pool is in order. */
static void check_parked(int rc)
{
	(void)rc;
	struct mote_engine_info info;
	mote_engine_get_info(w.engine, &info);
	CHECK_EQ(info.pool_count, w.hypervisor->machines);
	OK(&w, fork_it(&w.err));
	check_forked(MOTE_OK);
}

TEST_BOTH(fault__pools)
{
	make_parent(kind, 3);
	TRY_ALL(5, "fill", .run = fill_it, .finish = check_filled);
	TRY_ALL(1, "fork from a shell", prepare_shell, fork_it, check_forked, false);
	TRY_ALL(0, "park", prepare_fork, park_it, check_parked, true);
	free_parent();
}

/* ---- mappings and digests -------------------------------------------------------------------- */

static char map_path[] = "/tmp/mote-test-XXXXXX";

static int map_it(struct mote_error *err)
{
	const struct mote_mapping m = {.size = sizeof m,
				       .path = map_path,
				       .gpa = w.is_confined ? 0 : 0x100000000,
				       .access = MOTE_READ};
	return mote_sandbox_map(w.sandbox, &m, NULL, err);
}

/* Mapped or not, the sandbox can be used, restored and mapped into. */
static void check_mapped(int rc)
{
	CHECK_EQ(w.sandbox->mapped_count, rc == MOTE_OK);
	CHECK_EQ(mote_sandbox_state(w.sandbox), MOTE_STATE_READY);
	OK(&w, call_with(&w.err));
	OK(&w, mote_sandbox_restore(w.sandbox, w.snapshot, NULL, &w.err));
	OK(&w, map_it(&w.err));
	mote_sandbox_destroy(w.sandbox);
	w.sandbox = NULL;
}

TEST_BOTH(fault__mappings)
{
	const struct tiny_options o = {.is_confined = kind == CONFINED};
	const struct mote_snapshot_options options = {
		.size = sizeof options, .mapping_bytes = kind == CONFINED ? 16 * PAGE : 0};
	strcpy(map_path + strlen(map_path) - 6, "XXXXXX");
	int fd = mkstemp(map_path);
	CHECK(fd >= 0);
	CHECK_EQ(write(fd, large, 5000), 5000);
	close(fd);
	world_make_of(&w, &o, &options, &working);
	OK(&w, MOTE_HOST_ADD(w.host, "h", nothing, NULL, &w.err, MOTE_VOID));
	TRY_ALL(3, "map", prepare_ready, map_it, check_mapped, false);
	world_free(&w);
	unlink(map_path);
}

static mote_snapshot *digested;

/* It is kept once it is known, so each time another snapshot is asked. */
static void prepare_digest(void)
{
	OK(&w, mote_snapshot_flatten(parent, &digested, &w.err));
}

static int digest_it(struct mote_error *err)
{
	uint8_t digest[MOTE_DIGEST_BYTES];
	return mote_snapshot_digest(digested, digest, err);
}

static void check_digest(int rc)
{
	uint8_t a[MOTE_DIGEST_BYTES], b[MOTE_DIGEST_BYTES];
	(void)rc;
	OK(&w, mote_snapshot_digest(digested, a, &w.err));
	OK(&w, mote_snapshot_digest(parent, b, &w.err));
	CHECK_MEM(a, b, sizeof a);
	mote_snapshot_unref(digested);
}

TEST_BOTH(fault__digests)
{
	make_parent(kind, 0);
	TRY_ALL(1, "digest", prepare_digest, digest_it, check_digest, false);
	free_parent();
}
