/* SPDX-License-Identifier: MIT */
/*
 * Snapshots that were saved on another machine: "confined" with shadow paging, "nested" with nested
 * paging and another processor. Both go on where they were, on either kind of machine.
 */
#include <stdio.h>

#include "system.h"

#ifndef GOLDEN
#error "GOLDEN is not set"
#endif

static int upper(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	(void)cookie;
	return mote_reply_string(reply, arguments[0].string.data, arguments[0].string.len);
}

static void add(mote_host *host)
{
	struct mote_error err;
	CHECK_EQ(MOTE_HOST_ADD(host, "upper", upper, NULL, &err, MOTE_STRING, MOTE_STRING),
		 MOTE_OK);
}

struct warned {
	unsigned count;
	int answer;
};

static int warn(void *cookie, const char *text)
{
	struct warned *warned = cookie;
	check_note("%s", text);
	warned->count++;
	return warned->answer;
}

static void goes_on(struct system *s, mote_snapshot *loaded)
{
	mote_snapshot_unref(s->snapshot);
	s->snapshot = mote_snapshot_ref(loaded);
	system_again(s);
	CHECK_EQ(mote_sandbox_state(s->sandbox), MOTE_STATE_READY);
	CHECK_EQ(CALL_I32(s, "count_up"), 2);
	CHECK_EQ(CALL_I32(s, "count_up"), 3);
	CHECK_EQ(CALL_I32(s, "add", mote_i32(40), mote_i32(2)), 42);
	OK(s, mote_sandbox_restore(s->sandbox, loaded, NULL, &s->err));
	CHECK_EQ(CALL_I32(s, "count_up"), 2);
}

static void check(const char *name)
{
	struct system s;
	struct warned warned = {0, 0};
	struct mote_load_options options = {
		.size = sizeof options, .warn = warn, .cookie = &warned};
	mote_snapshot *loaded = NULL;
	char path[1024];
	(void)snprintf(path, sizeof path, "%s/%s", GOLDEN, name);
	OPEN(&s, "hello", .add = add);
	OK(&s, mote_snapshot_load(path, NULL, &options, &loaded, &s.err));
	goes_on(&s, loaded);
	/* Where its guest saw more, that can be refused, or accepted in silence. */
	unsigned warnings = warned.count;
	mote_snapshot *other = NULL;
	warned.answer = 1;
	int rc = mote_snapshot_load(path, NULL, &options, &other, &s.err);
	CHECK_EQ(rc, warnings ? MOTE_EPROCESSOR : MOTE_OK);
	mote_snapshot_unref(other);
	options.accept_processor = 1;
	warned.count = 0;
	OK(&s, mote_snapshot_load(path, NULL, &options, &other, &s.err));
	CHECK_EQ(warned.count, 0);
	OK(&s, mote_sandbox_restore(s.sandbox, other, NULL, &s.err));
	CHECK_EQ(CALL_I32(&s, "count_up"), 2);
	mote_snapshot_unref(other);
	mote_snapshot_unref(loaded);
	system_close(&s);
}

TEST(store_golden__goes_on_from_a_machine_with_shadow_paging)
{
	check("confined");
}

TEST(store_golden__goes_on_from_a_machine_with_nested_paging)
{
	check("nested");
}
