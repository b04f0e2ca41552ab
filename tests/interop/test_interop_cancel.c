/* SPDX-License-Identifier: MIT */
/*
 * Calls of a guest that was built with the published 0.15 guest crates are cancelled: by a timeout,
 * by an interrupt of another thread, in the guest's code and in a host function, and at its start.
 */
#define _GNU_SOURCE
#include "rust_calls.h"

#include <pthread.h>
#include <time.h>

static const struct ends canceled = {
	.code = MOTE_ECANCELED, .text = "Execution was cancelled by the host.", .poisons = 1};

/* One call that is cancelled after some time. */
static void is_canceled(struct rust *r, const char *name, uint64_t timeout_ns)
{
	struct mote_call call = *CALL_OF(name, MOTE_VOID);
	call.timeout_ns = timeout_ns;
	rust_ends(r, __FILE__, __LINE__, &canceled, &call);
	CHECK_STR(r->s.err.message, canceled.text);
}

TEST(interop_cancel__a_timeout_cancels_an_endless_loop)
{
	struct rust r;
	RUST(&r);
	for (uint64_t i = 0; i < 3; i++)
		is_canceled(&r, "Spin", (1 + 10 * i) * 1000000);
	is_canceled(&r, "SpinAfterHost", 50000000);
	rust_close(&r);
}

TEST(interop_cancel__a_start_that_is_cancelled_can_be_restored_to_the_image)
{
	struct rust r;
	struct system *s = &r.s;
	OPEN(s, rust_name(), .add = rust_add);
	CHECK_EQ(mote_sandbox_start(s->sandbox, 1, &s->err), MOTE_ECANCELED);
	CHECK_STR(s->err.message, canceled.text);
	CHECK_EQ(s->err.poisoned, 1);
	CHECK_EQ(mote_sandbox_state(s->sandbox), MOTE_STATE_POISONED);
	OK(s, mote_sandbox_restore(s->sandbox, s->snapshot, NULL, &s->err));
	CHECK_EQ(mote_sandbox_state(s->sandbox), MOTE_STATE_NEW);
	rust_ready(&r);
	CHECK_EQ(CALL_I32(s, "EchoInt", mote_i32(1)), 1);
	CHECK_EQ(CALL_I32(s, "MainRuns"), 1);
	rust_close(&r);
}

static void *send_later(void *cookie)
{
	mote_interrupt *interrupt = cookie;
	for (int i = 0; i < 5000; i++) {
		const struct timespec wait = {.tv_nsec = 2000000};
		(void)nanosleep(&wait, NULL);
		if (mote_interrupt_send(interrupt))
			return interrupt;
	}
	return NULL;
}

TEST(interop_cancel__an_interrupt_of_another_thread_cancels_an_endless_loop)
{
	struct rust r;
	pthread_t thread;
	void *sent = NULL;
	RUST(&r);
	mote_interrupt *interrupt = mote_sandbox_interrupt(r.s.sandbox);
	/* No effect on a later call. */
	CHECK_EQ(mote_interrupt_send(interrupt), 0);
	CHECK_EQ(CALL_I32(&r.s, "EchoInt", mote_i32(1)), 1);
	CHECK(pthread_create(&thread, NULL, send_later, interrupt) == 0);
	struct mote_call call = *CALL_OF("Spin", MOTE_VOID);
	call.timeout_ns = 20000000000u;
	const struct ends e = {
		.code = MOTE_ECANCELED, .text = canceled.text, .poisons = 1, .keeps = 1};
	rust_ends(&r, __FILE__, __LINE__, &e, &call);
	CHECK(pthread_join(thread, &sent) == 0);
	CHECK(sent);
	rust_is_poisoned(&r);
	CHECK_EQ(CALL_I32(&r.s, "EchoInt", mote_i32(2)), 2);
	CHECK_EQ(mote_interrupt_send(interrupt), 0);
	rust_close(&r);
	CHECK_EQ(mote_interrupt_send(interrupt), 0);
	mote_interrupt_unref(interrupt);
}

/* What the host function below does while the guest waits for it. */
static struct {
	mote_interrupt *interrupt;
	uint64_t busy_ns;
	int calls, sent;
} visit;

static uint64_t now(void)
{
	struct timespec t;
	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static int host_visit(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	(void)cookie;
	visit.calls++;
	if (visit.interrupt)
		visit.sent += mote_interrupt_send(visit.interrupt);
	for (const uint64_t start = now(); now() - start < visit.busy_ns;)
		;
	return mote_reply_value(reply, &arguments[0]);
}

static void add_visit(mote_host *host)
{
	struct mote_error err;
	rust_add(host);
	CHECK(MOTE_HOST_ADD(host, "HostEchoInt", host_visit, NULL, &err, MOTE_I32, MOTE_I32) ==
	      MOTE_OK);
}

static void open_visit(struct rust *r)
{
	memset(&visit, 0, sizeof visit);
	OPEN(&r->s, rust_name(), .add = add_visit);
	rust_ready(r);
}

TEST(interop_cancel__an_interrupt_during_a_host_function_cancels_when_it_returns)
{
	struct rust r;
	open_visit(&r);
	visit.interrupt = mote_sandbox_interrupt(r.s.sandbox);
	const uint64_t calls = system_statistics(&r.s).calls;
	ENDS_WITH(&r, &canceled, MOTE_I32, "CallTimes", mote_i32(3));
	CHECK_EQ(visit.calls, 1);
	CHECK_EQ(visit.sent, 0);
	/* The one that proved that the sandbox goes on. */
	CHECK_EQ(system_statistics(&r.s).calls, calls + 1);
	ENDS_WITH(&r, &canceled, MOTE_VOID, "SpinAfterHost");
	CHECK_EQ(visit.calls, 2);
	mote_interrupt_unref(visit.interrupt);
	rust_close(&r);
}

TEST(interop_cancel__a_timeout_during_a_host_function_cancels_when_it_returns)
{
	struct rust r;
	open_visit(&r);
	/* Twice what the guest has from its start to the host function and beyond. */
	const uint64_t start = now();
	CHECK_EQ(CALL_I32(&r.s, "CallTimes", mote_i32(3)), 3);
	const uint64_t timeout = 2 * (now() - start);
	visit.calls = 0;
	visit.busy_ns = timeout;
	struct mote_call call = *CALL_OF("CallTimes", MOTE_I32, mote_i32(3));
	call.timeout_ns = timeout;
	rust_ends(&r, __FILE__, __LINE__, &canceled, &call);
	CHECK(visit.calls <= 1);
	rust_close(&r);
}
