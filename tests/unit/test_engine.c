/* SPDX-License-Identifier: MIT */
/* Engines: options, references, what they tell, fork(), and devices that are no KVM. */
#define _GNU_SOURCE
#include "core/utf8.h"
#include "forked.h"
#include "world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct double_guest idle = {0};

static int create(struct mote_engine_options *options, struct mote_error *err)
{
	mote_engine *engine = NULL;
	int rc = mote_engine_create(options, &engine, err);
	CHECK((rc == MOTE_OK) == (engine != NULL));
	mote_engine_unref(engine);
	return rc;
}

TEST(engine__refuses_a_missing_output)
{
	struct world w;
	FAILS(&w, mote_engine_create(NULL, NULL, &w.err), MOTE_EINVAL);
	CHECK_STR(w.err.message, "engine is NULL");
	CHECK_EQ(mote_engine_create(NULL, NULL, NULL), MOTE_EINVAL);
}

TEST(engine__refuses_options_of_a_wrong_size)
{
	struct world w;
	struct mote_engine_options o = {.size = sizeof o - 1, .device = "/dev/null"};
	FAILS(&w, create(&o, &w.err), MOTE_EINVAL);
	CHECK_HAS(w.err.message, "mote_engine_options.size is 31, at least 32");
	o.size = 0;
	FAILS(&w, create(&o, &w.err), MOTE_EINVAL);
}

TEST(engine__accepts_larger_options_with_a_zero_tail_only)
{
	struct {
		struct mote_engine_options o;
		uint8_t tail[8];
	} more = {.o = {.size = sizeof more, .device = "/dev/null"}};
	struct world w;
	FAILS(&w, create(&more.o, &w.err), MOTE_ENOKVM);
	more.tail[3] = 1;
	FAILS(&w, create(&more.o, &w.err), MOTE_EINVAL);
	CHECK_HAS(w.err.message, "size is 40, this library knows 32 bytes and byte 35 is not zero");
}

TEST(engine__the_pool_has_a_most)
{
	struct world w;
	struct mote_engine_options o = {
		.size = sizeof o, .device = "/dev/null", .pool_max = MOTE_MAX_POOL + 1};
	FAILS(&w, create(&o, &w.err), MOTE_EINVAL);
	CHECK_STR(w.err.message, "pool_max is 4097, at most 4096, or MOTE_POOL_NONE");
	const uint32_t good[] = {0, 1, MOTE_MAX_POOL, MOTE_POOL_NONE};
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		o.pool_max = good[i];
		FAILS(&w, create(&o, &w.err), MOTE_ENOKVM);
	}
}

TEST(engine__refuses_signals_that_are_not_real_time)
{
	struct world w;
	const int bad[] = {1, SIGRTMIN - 1, SIGRTMAX + 1, -1, 1000};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct mote_engine_options o = {
			.size = sizeof o, .device = "/dev/null", .signal_number = bad[i]};
		char text[40];
		snprintf(text, sizeof text, "signal_number is %d, ", bad[i]);
		FAILS(&w, create(&o, &w.err), MOTE_EINVAL);
		CHECK_HAS(w.err.message, text);
	}
	const int good[] = {SIGRTMIN, SIGRTMAX, 0};
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		struct mote_engine_options o = {
			.size = sizeof o, .device = "/dev/null", .signal_number = good[i]};
		FAILS(&w, create(&o, &w.err), MOTE_ENOKVM);
	}
}

TEST(engine__says_why_there_is_no_device)
{
	struct world w;
	struct mote_engine_options o = {.size = sizeof o, .device = "/nonexistent/kvm"};
	FAILS(&w, create(&o, &w.err), MOTE_ENOKVM);
	CHECK_EQ(w.err.system_errno, ENOENT);
	CHECK_HAS(w.err.message, "/nonexistent/kvm");
	CHECK_HAS(w.err.message, "No such file or directory");
	o.device = "/dev/null";
	FAILS(&w, create(&o, &w.err), MOTE_ENOKVM);
	CHECK_HAS(w.err.message, "/dev/null is not a KVM device of API version 12");
}

static bool is_line(const char *message)
{
	return mote__utf8_is_valid(message, strlen(message)) && !strchr(message, '\n');
}

TEST(engine__errors_are_utf8_whatever_a_path_is)
{
	static const char *const names[] = {"\xff\xfe",     "a\xc3",    "\xe2\x82",
					    "\xed\xa0\x80", "\xc0\x80", "\xf4\x90\x80\x80",
					    "\x80z"};
	struct world w;
	mote_snapshot *snapshot = NULL;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		char path[64];
		snprintf(path, sizeof path, "/nonexistent/%s/x", names[i]);
		struct mote_engine_options o = {.size = sizeof o, .device = path};
		FAILS(&w, create(&o, &w.err), MOTE_ENOKVM);
		CHECK(is_line(w.err.message));
		CHECK_HAS(w.err.message, "No such file or directory");
		FAILS(&w, mote_snapshot_from_file(path, NULL, &snapshot, &w.err), MOTE_ESYSTEM);
		CHECK(is_line(w.err.message));
		CHECK_HAS(w.err.message, "/nonexistent/");
	}
	/* What is good stays. */
	struct mote_engine_options o = {
		.size = sizeof o, .device = "/nonexistent/\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"};
	FAILS(&w, create(&o, &w.err), MOTE_ENOKVM);
	CHECK_HAS(w.err.message, o.device);
}

TEST(engine__long_errors_are_cut_between_characters)
{
	struct world w;
	mote_snapshot *snapshot = NULL;
	for (size_t first = 0; first < 4; first++) {
		char path[1024] = "/nonexistent/xxx";
		char *at = path + strlen("/nonexistent/") + first;
		for (int i = 0; i < 200; i++, at += 4)
			memcpy(at, "\xf0\x9f\x98\x80", 4);
		*at = 0;
		struct mote_engine_options o = {.size = sizeof o, .device = path};
		FAILS(&w, create(&o, &w.err), MOTE_ENOKVM);
		CHECK(is_line(w.err.message));
		CHECK(strlen(w.err.message) > MOTE_ERROR_MESSAGE_BYTES - 100);
		FAILS(&w, mote_snapshot_from_file(path, NULL, &snapshot, &w.err), MOTE_ESYSTEM);
		CHECK(is_line(w.err.message));
	}
}

TEST(engine__probe_tells_as_much_as_it_got)
{
	struct world w;
	struct mote_engine_info info;
	memset(&info, 0x5A, sizeof info);
	FAILS(&w, mote_probe("/nonexistent/kvm", &info, &w.err), MOTE_ENOKVM);
	CHECK_EQ(info.system_errno, ENOENT);
	CHECK_EQ(info.api_version, 0);
	CHECK_EQ(info.missing[0], 0);
	FAILS(&w, mote_probe("/dev/null", &info, &w.err), MOTE_ENOKVM);
	CHECK_EQ(info.system_errno, 0);
	CHECK_EQ(info.api_version, 0);
	FAILS(&w, mote_probe("/dev/null", NULL, &w.err), MOTE_EINVAL);
	CHECK_STR(w.err.message, "info is NULL");
}

TEST(engine__closes_its_hypervisor_with_the_last_owner)
{
	struct world w = {0};
	w.hypervisor = double_make(&idle);
	w.hypervisor->is_closed = &w.is_closed;
	OK(&w, mote__engine_on(&w.hypervisor->base, SIGRTMIN, 0, &w.engine, &w.err));
	CHECK(mote_engine_ref(w.engine) == w.engine);
	mote_engine_unref(w.engine);
	CHECK(!w.is_closed);
	mote_engine_unref(w.engine);
	CHECK(w.is_closed);
	mote_engine_unref(NULL);
}

TEST(engine__lives_as_long_as_its_sandboxes)
{
	struct world w;
	world_ready(&w, CONFINED, &idle);
	mote_engine_unref(w.engine);
	mote_snapshot_unref(w.snapshot);
	mote_host_unref(w.host);
	CHECK(!w.is_closed);
	CHECK_EQ(mote_sandbox_state(w.sandbox), MOTE_STATE_READY);
	mote_sandbox_destroy(w.sandbox);
	CHECK(w.is_closed);
	mote_sandbox_destroy(NULL);
}

TEST(engine__tells_what_it_found_out)
{
	struct world w;
	struct mote_engine_info info;
	world_make(&w, CONFINED, &idle);
	mote_engine_get_info(w.engine, &info);
	CHECK_EQ(info.api_version, 12);
	CHECK_EQ(info.tsc_khz, 2000000);
	CHECK_EQ(info.vector_state_mask, 0);
	world_sandbox(&w, NULL);
	OK(&w, mote_sandbox_start(w.sandbox, 0, &w.err));
	mote_engine_get_info(w.engine, &info);
	CHECK_EQ(info.vector_state_mask, 7);
	world_free(&w);
}

/* Exit status of a child that runs body. */
static int in_child(struct world *w, int (*body)(struct world *w))
{
	int status;
	pid_t child = fork();
	CHECK(child >= 0);
	if (child == 0)
		_exit(body(w));
	CHECK(waitpid(child, &status, 0) == child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool is_refused(int rc, const struct world *w)
{
	return rc == MOTE_ESTATE && strstr(w->err.message, "fork()");
}

static int use_all(struct world *w)
{
	mote_sandbox *other = NULL;
	char byte = 0;
	if (!is_refused(world_call(w, MOTE_VOID, NULL), w))
		return 1;
	if (!is_refused(mote_sandbox_start(w->sandbox, 0, &w->err), w))
		return 2;
	if (!is_refused(mote_sandbox_read(w->sandbox, TINY_DATA_GVA, &byte, 1, &w->err), w))
		return 3;
	if (!is_refused(mote_sandbox_write(w->sandbox, TINY_DATA_GVA, &byte, 1, &w->err), w))
		return 4;
	if (!is_refused(mote_sandbox_create(w->engine, w->snapshot, w->host, NULL, &other, &w->err),
			w))
		return 5;
	mote_snapshot *snapshot = NULL;
	if (!is_refused(mote_snapshot_take(w->sandbox, NULL, &snapshot, &w->err), w))
		return 6;
	if (!is_refused(mote_sandbox_restore(w->sandbox, w->snapshot, NULL, &w->err), w))
		return 7;
	if (!is_refused(mote_snapshot_flatten(w->snapshot, &snapshot, &w->err), w))
		return 8;
	if (!is_refused(mote_engine_fill(w->engine, w->snapshot, 0, &w->err), w))
		return 9;
	if (!is_refused(mote_snapshot_read(w->snapshot, TINY_DATA_GVA, &byte, 1, &w->err), w))
		return 10;
	return snapshot ? 11 : 0;
}

TEST_BOTH(engine__objects_are_refused_in_a_forked_child)
{
	struct world w;
	world_ready(&w, kind, &idle);
	CHECK_EQ(in_child(&w, use_all), 0);
	/* Not in the parent. */
	char byte;
	OK(&w, mote_sandbox_read(w.sandbox, TINY_DATA_GVA, &byte, 1, &w.err));
	world_free(&w);
}

static struct forked_ranges ranges;

/* Maps, and has a timer, where its parent has such of the library: they stay. */
static int destroy_all(void *cookie)
{
	struct world *w = cookie;
	struct sigevent none = {.sigev_notify = SIGEV_NONE};
	struct itimerspec setting;
	timer_t timer;
	forked_occupy(&ranges);
	if (ranges.count < 3) /* scratch, and the snapshot's memory and tables */
		return 1;
	if (timer_create(CLOCK_MONOTONIC, &none, &timer) != 0)
		return 2;
	mote_sandbox_destroy(w->sandbox);
	mote_host_unref(w->host);
	mote_snapshot_unref(w->snapshot);
	mote_engine_unref(w->engine);
	if (forked_lost(&ranges))
		return 3;
	return timer_gettime(timer, &setting) == 0 ? 0 : 4;
}

static void answer(struct double_machine *m, struct mote__exit *exit)
{
	(void)guest_pop_call(m);
	guest_return(m, exit, mote_void());
}

TEST_BOTH(engine__objects_destroyed_in_a_forked_child_take_nothing_of_its_own)
{
	const struct double_guest guest = {NULL, answer, NULL};
	const struct mote_call call = {
		.size = sizeof call, .function = "f", .timeout_ns = 10000000000};
	struct world w;
	world_ready(&w, kind, &guest);
	OK(&w, mote_sandbox_call(w.sandbox, &call, NULL, &w.err));
	forked_list(&ranges);
	CHECK_EQ(forked_run(destroy_all, &w), 0);
	/* Nor of the parent's. */
	OK(&w, mote_sandbox_call(w.sandbox, &call, NULL, &w.err));
	world_free(&w);
}
