/* SPDX-License-Identifier: MIT */
/* Every function that can fail, with its first, second, third ... call of the system failing until
 * none is left: a clean error, nothing leaked, and what was there before still works. */
#define _GNU_SOURCE
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/utf8.h"
#include "fault.h"

#define CALLS_MAX 300u

static struct world w;

static bool same_live(struct fault_live a, struct fault_live b)
{
	return a.blocks == b.blocks && a.mapped == b.mapped && a.timers == b.timers &&
	       a.descriptors == b.descriptors;
}

/* One attempt of what is tested: makes things and, when that succeeds, checks and removes them. */
typedef int (*attempt)(struct mote_error *err);

static void check_error(int rc)
{
	if (w.err.code != rc || !w.err.message[0])
		check_failed(__FILE__, __LINE__, "after %s: %d, %s", fault_name(), rc,
			     w.err.message);
	CHECK(rc == MOTE_ENOMEM || rc == MOTE_ESYSTEM);
	CHECK_EQ(w.err.category, MOTE_CATEGORY_HOST);
	CHECK(mote__utf8_is_valid(w.err.message, strlen(w.err.message)));
}

/* Try with call n failing, for n = 1, 2, ...; returns how many there are. may_pass: a failure may
 * be made up for. */
static unsigned try_all(attempt attempt, bool may_pass)
{
	for (unsigned n = 1; n <= 2 * CALLS_MAX; n++) {
		/* Every other time without a place for the error. */
		struct mote_error *err = n % 2 ? &w.err : NULL;
		memset(&w.err, 0, sizeof w.err);
		struct fault_live before = fault_live();
		fault_arm((n + 1) / 2);
		int rc = attempt(err);
		if (!fault_disarm()) {
			CHECK_EQ(rc, MOTE_OK);
			CHECK(same_live(before, fault_live()));
			return n / 2;
		}
		CHECK(rc < 0 || may_pass);
		if (rc < 0 && err)
			check_error(rc);
		if (!same_live(before, fault_live()))
			check_failed(__FILE__, __LINE__, "%s, call %u, leaks", fault_name(),
				     (n + 1) / 2);
	}
	check_failed(__FILE__, __LINE__, "still failing after %u calls", CALLS_MAX);
}

#define TRY_ALL(attempt, least)                                       \
	do {                                                          \
		unsigned count_ = try_all(attempt, false);            \
		check_note("%s: %u calls that can fail", #attempt, count_); \
		CHECK(count_ >= (least));                             \
	} while (0)

/* The injector's own check: without it nothing here means anything. */
TEST(fault__the_injector_fails_what_it_is_told_to)
{
	fault_arm(2);
	void *first = calloc(1, 8), *second = calloc(1, 8), *third = calloc(1, 8);
	CHECK(fault_disarm());
	CHECK(first && !second && third);
	CHECK_STR(fault_name(), "calloc");
	struct fault_live before = fault_live();
	free(first);
	CHECK(!same_live(before, fault_live()));
	free(third);
	CHECK_EQ(fault_live().blocks, before.blocks - 2);
	fault_arm(1);
	CHECK(fault_disarm() == false);
}

/* ---- engines, hosts, values ------------------------------------------------------------------ */

static const struct double_guest idle = {0};

static int make_engine(struct mote_error *err)
{
	mote_engine *engine = NULL;
	int rc = mote__engine_on(&w.hypervisor->base, SIGRTMIN, &engine, err);
	CHECK((rc == MOTE_OK) == (engine != NULL));
	if (engine) {
		/* The hypervisor goes on to the next one. */
		mote__sys_unmap((void *)(uintptr_t)engine->alive, 4096);
		free(engine);
	}
	return rc;
}

TEST(fault__engines)
{
	memset(&w, 0, sizeof w);
	w.hypervisor = double_make(&idle);
	TRY_ALL(make_engine, 2);
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
	TRY_ALL(make_host, 3);
	TRY_ALL(fill_host, 24);
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
	TRY_ALL(copy_value, 1);
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
	TRY_ALL(make_snapshot, 13);
	image = tiny_guest(&(struct tiny_options){.is_confined = true,
						  .exports = functions,
						  .export_count = 1,
						  .imports = functions,
						  .import_count = 1});
	TRY_ALL(make_snapshot, 17);
}

TEST(fault__snapshots_of_files)
{
	image = tiny_guest(&(struct tiny_options){0});
	int fd = mkstemp(path);
	CHECK(fd >= 0);
	CHECK_EQ(write(fd, image.bytes, image.len), image.len);
	close(fd);
	TRY_ALL(read_snapshot, 17);
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

/* What is left after a failure works, or is poisoned. */
static void check_sandbox(int rc)
{
	const uint32_t state = mote_sandbox_state(w.sandbox);
	struct mote_error err;
	fault_disarm();
	if (rc < 0 && w.err.code == rc)
		CHECK_EQ(w.err.poisoned, state == MOTE_STATE_POISONED);
	CHECK_EQ(call_with(&err), state == MOTE_STATE_POISONED ? MOTE_ESTATE : MOTE_OK);
}

/* With disarm only in the end, so that try_all() learns whether a call was failed. */
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
	TRY_ALL(make_sandbox, kind == CONFINED ? 8 : 5);
	world_free(&w);
}

static bool is_started;

/* A sandbox that is made before the call that is tested; the injector counts from there on. */
static unsigned armed;

static int use_sandbox(int (*use)(struct mote_error *err), struct mote_error *err)
{
	struct mote_error own;
	CHECK_EQ(mote_sandbox_create(w.engine, w.snapshot, w.host, NULL, &w.sandbox, &own),
		 MOTE_OK);
	if (is_started)
		CHECK_EQ(mote_sandbox_start(w.sandbox, 0, &own), MOTE_OK);
	fault_arm(armed);
	int rc = use(err);
	bool has_failed = fault_disarm();
	check_sandbox(rc);
	mote_sandbox_destroy(w.sandbox);
	w.sandbox = NULL;
	/* For the caller's fault_disarm(). */
	if (has_failed) {
		fault_arm(1);
		free(calloc(1, 1));
	} else {
		fault_arm(0);
	}
	return rc;
}

static int start_it(struct mote_error *err)
{
	return mote_sandbox_start(w.sandbox, 10000000000, err);
}

static int start_new(struct mote_error *err)
{
	return use_sandbox(start_it, err);
}

static int call_new(struct mote_error *err)
{
	return use_sandbox(call_with, err);
}

/* As try_all(), but what is made before does not count. */
static unsigned try_uses(attempt attempt)
{
	for (armed = 1; armed <= CALLS_MAX; armed++) {
		for (unsigned with_error = 0; with_error < 2; with_error++) {
			struct fault_live before = fault_live();
			memset(&w.err, 0, sizeof w.err);
			int rc = attempt(with_error ? &w.err : NULL);
			bool has_failed = fault_disarm();
			CHECK_EQ(rc < 0, has_failed);
			if (rc < 0 && with_error)
				check_error(rc);
			CHECK(same_live(before, fault_live()));
			if (!has_failed && with_error)
				return armed - 1;
		}
	}
	check_failed(__FILE__, __LINE__, "still failing after %u calls", CALLS_MAX);
}

#define TRY_USES(attempt, least)                                      \
	do {                                                          \
		unsigned count_ = try_uses(attempt);                  \
		check_note("%s: %u calls that can fail", #attempt, count_); \
		CHECK(count_ >= (least));                             \
	} while (0)

TEST_BOTH(fault__start)
{
	make_world(kind);
	is_started = false;
	/* The timer twice, random bytes. */
	TRY_USES(start_new, 3);
	world_free(&w);
}

TEST_BOTH(fault__first_calls)
{
	make_world(kind);
	is_started = false;
	TRY_USES(call_new, 4);
	world_free(&w);
}

TEST_BOTH(fault__calls)
{
	make_world(kind);
	is_started = true;
	/* The timer twice, room for the result. */
	TRY_USES(call_new, 3);
	world_free(&w);
}

static int write_it(struct mote_error *err)
{
	return mote_sandbox_write(w.sandbox, TINY_DATA_GVA, large, 0x1000, err);
}

static int write_new(struct mote_error *err)
{
	return use_sandbox(write_it, err);
}

/* Needs nothing of the system: frames are there, the machine's slots are the double's. */
TEST_BOTH(fault__writes)
{
	make_world(kind);
	is_started = true;
	TRY_USES(write_new, 0);
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
