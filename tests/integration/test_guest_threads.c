/* SPDX-License-Identifier: MIT */
/*
 * Threads: sandboxes run at the same time, one sandbox moves between threads, and interrupts that
 * hit at any moment end at most the call they hit, and leave no signal and no other mask behind.
 */
#define _GNU_SOURCE
#include "forked.h"
#include "system.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* A check in another thread would jump to the wrong stack: threads report by their result. */
struct worker {
	mote_sandbox *sandbox;
	int count, first, failed;
	struct mote_error err;
};

static void *count_up(void *cookie)
{
	struct worker *w = cookie;
	for (int i = 0; i < w->count && !w->failed; i++) {
		struct mote_value result = mote_void();
		int rc = MOTE_CALL(w->sandbox, "count_up", &result, &w->err, MOTE_I32);
		if (rc != MOTE_OK || result.i32 != w->first + i)
			w->failed = i + 1;
	}
	return NULL;
}

static void check_worker(const struct worker *w)
{
	if (w->failed)
		check_failed(__FILE__, __LINE__, "call %d: %s", w->failed, w->err.message);
}

TEST(guest_threads__two_threads_call_two_sandboxes_at_the_same_time)
{
	struct system s, other;
	pthread_t threads[2];
	OPEN(&s, "hello");
	other = s;
	OK(&s, mote_sandbox_create(s.engine, s.snapshot, s.host, NULL, &other.sandbox, &s.err));
	struct worker workers[2] = {{.sandbox = s.sandbox, .count = 300, .first = 1},
				    {.sandbox = other.sandbox, .count = 300, .first = 1}};
	for (int i = 0; i < 2; i++)
		CHECK(pthread_create(&threads[i], NULL, count_up, &workers[i]) == 0);
	for (int i = 0; i < 2; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
	check_worker(&workers[0]);
	check_worker(&workers[1]);
	mote_sandbox_destroy(other.sandbox);
	system_close(&s);
}

static void *whole_life(void *cookie)
{
	struct system *s = cookie;
	struct worker w = {.count = 20, .first = 1};
	for (int i = 0; i < 10 && !w.failed; i++) {
		if (mote_sandbox_create(s->engine, s->snapshot, s->host, NULL, &w.sandbox, &w.err) <
		    0)
			return cookie;
		(void)count_up(&w);
		mote_sandbox_destroy(w.sandbox);
	}
	return w.failed ? cookie : NULL;
}

TEST(guest_threads__sandboxes_are_made_and_destroyed_in_two_threads)
{
	struct system s;
	pthread_t threads[2];
	OPEN(&s, "hello"); /* stays: an idle machine, and the engine's first */
	OK(&s, mote_sandbox_start(s.sandbox, 0, &s.err));
	for (int i = 0; i < 2; i++)
		CHECK(pthread_create(&threads[i], NULL, whole_life, &s) == 0);
	void *failed = NULL;
	for (int i = 0; i < 2; i++) {
		void *result;
		CHECK(pthread_join(threads[i], &result) == 0);
		failed = result ? result : failed;
	}
	CHECK(!failed);
	system_close(&s);
}

TEST(guest_threads__a_sandbox_moves_between_threads)
{
	struct system s;
	OPEN(&s, "hello");
	struct worker w = {.sandbox = s.sandbox, .count = 5, .first = 1};
	for (int i = 0; i < 10; i++) {
		pthread_t thread;
		if (i % 2) {
			(void)count_up(&w);
		} else {
			CHECK(pthread_create(&thread, NULL, count_up, &w) == 0);
			CHECK(pthread_join(thread, NULL) == 0);
		}
		check_worker(&w);
		w.first += w.count;
	}
	system_close(&s);
}

static void *time_out(void *cookie)
{
	struct worker *w = cookie;
	struct mote_call call = *CALL_OF("loop_forever", MOTE_VOID);
	call.timeout_ns = 10000000;
	w->failed = mote_sandbox_call(w->sandbox, &call, NULL, &w->err);
	return NULL;
}

TEST(guest_threads__a_timeout_works_on_the_thread_that_calls)
{
	struct system s;
	pthread_t thread;
	OPEN(&s, "bad");
	struct mote_call call = *CALL_OF("count_up", MOTE_I32);
	call.timeout_ns = 10000000000;
	OK(&s, mote_sandbox_call(s.sandbox, &call, NULL, &s.err));
	struct worker w = {.sandbox = s.sandbox};
	CHECK(pthread_create(&thread, NULL, time_out, &w) == 0);
	CHECK(pthread_join(thread, NULL) == 0);
	CHECK_EQ(w.failed, MOTE_ECANCELED);
	system_close(&s);
}

static uint64_t now_ns(void)
{
	struct timespec t;
	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- interrupts ------------------------------------------------------------------------------ */

#define SANDBOXES_MAX 200u

struct storm {
	mote_interrupt *_Atomic interrupt; /* the latest of all */
	mote_interrupt *all[SANDBOXES_MAX + 1];
	atomic_bool is_over;
	atomic_uint sent, hit, round;
};

static void *send_all_the_time(void *cookie)
{
	struct storm *storm = cookie;
	uint64_t state = 42;
	while (!storm->is_over) {
		storm->hit += (unsigned)mote_interrupt_send(storm->interrupt);
		storm->sent++;
		for (uint64_t i = check_random(&state) % 3000; i > 0; i--)
			__asm__ volatile("pause");
		if (storm->sent % 16 == 0)
			(void)usleep(50); /* with one processor, the others must run */
	}
	return NULL;
}

static void check_no_signal(const sigset_t *mask_before)
{
	sigset_t pending, mask;
	CHECK(sigpending(&pending) == 0);
	for (int i = SIGRTMIN; i <= SIGRTMAX; i++)
		CHECK(!sigismember(&pending, i));
	CHECK(pthread_sigmask(SIG_SETMASK, NULL, &mask) == 0);
	CHECK(memcmp(&mask, mask_before, 8) == 0);
}

/* Calls until the time is up; one that was hit makes a fresh sandbox. */
static void calls_in_a_storm(struct system *s, struct storm *storm, uint64_t timeout_ns)
{
	unsigned good = 0, canceled = 0;
	struct mote_call call = *CALL_OF("count_up", MOTE_I32);
	call.timeout_ns = timeout_ns;
	const uint64_t until = now_ns() + 400000000;
	do {
		struct mote_value result;
		int rc = mote_sandbox_call(s->sandbox, &call, &result, &s->err);
		if (rc == MOTE_OK) {
			good++;
		} else {
			CHECK_EQ(rc, MOTE_ECANCELED);
			CHECK_EQ(s->err.poisoned, 1);
			canceled++;
			/* The old one may be in the sender's hands. */
			system_again(s);
			storm->all[canceled] = mote_sandbox_interrupt(s->sandbox);
			storm->interrupt = storm->all[canceled];
		}
	} while (canceled < SANDBOXES_MAX && now_ns() < until);
	check_note("%u calls ended well, %u were cancelled, %u of %u interrupts hit", good,
		   canceled, (unsigned)storm->hit, (unsigned)storm->sent);
}

static void run_storm(uint64_t timeout_ns)
{
	struct system s;
	pthread_t thread;
	sigset_t mask;
	CHECK(pthread_sigmask(SIG_SETMASK, NULL, &mask) == 0);
	OPEN(&s, "bad");
	static struct storm storm;
	memset(&storm, 0, sizeof storm);
	storm.interrupt = storm.all[0] = mote_sandbox_interrupt(s.sandbox);
	CHECK(pthread_create(&thread, NULL, send_all_the_time, &storm) == 0);
	calls_in_a_storm(&s, &storm, timeout_ns);
	storm.is_over = true;
	CHECK(pthread_join(thread, NULL) == 0);
	for (unsigned i = 0; i <= SANDBOXES_MAX; i++)
		mote_interrupt_unref(storm.all[i]);
	check_no_signal(&mask);
	/* Nothing is left of the storm. */
	system_again(&s);
	for (int i = 1; i <= 20; i++)
		CHECK_EQ(CALL_I32(&s, "count_up"), i);
	check_no_signal(&mask);
	system_close(&s);
}

TEST(guest_threads__a_storm_of_interrupts_leaves_no_signal_behind)
{
	run_storm(0);
}

TEST(guest_threads__a_storm_with_timeouts_leaves_no_signal_behind)
{
	run_storm(1000000000);
}

/* Keep two threads apart, where there are two processors; else they would take turns. */
static void pin(pthread_t a, pthread_t b)
{
	cpu_set_t all;
	pthread_t threads[2] = {a, b};
	unsigned next = 0;
	CHECK(sched_getaffinity(0, sizeof all, &all) == 0);
	for (unsigned cpu = 0; cpu < CPU_SETSIZE && next < 2 && CPU_COUNT(&all) > 1; cpu++) {
		cpu_set_t one;
		if (!CPU_ISSET(cpu, &all))
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		CHECK(pthread_setaffinity_np(threads[next++], sizeof one, &one) == 0);
	}
}

/* One interrupt a round, at any moment of a call; it may hit that one and no other. */
static void *send_once_a_round(void *cookie)
{
	struct storm *storm = cookie;
	uint64_t state = 7;
	for (unsigned round = 1; !storm->is_over; round++) {
		for (unsigned i = 1; storm->round < round && !storm->is_over; i++)
			if (i % 1024 == 0)
				(void)sched_yield();
		for (uint64_t until = now_ns() + check_random(&state) % 80000; now_ns() < until;)
			;
		storm->hit += (unsigned)mote_interrupt_send(storm->interrupt);
		storm->sent = round;
	}
	return NULL;
}

TEST(guest_threads__an_interrupt_hits_no_later_call)
{
	struct system s;
	pthread_t thread;
	sigset_t mask;
	cpu_set_t before;
	unsigned good = 0, canceled = 0;
	static struct storm storm;
	CHECK(pthread_sigmask(SIG_SETMASK, NULL, &mask) == 0);
	OPEN(&s, "bad");
	memset(&storm, 0, sizeof storm);
	storm.interrupt = storm.all[0] = mote_sandbox_interrupt(s.sandbox);
	CHECK(pthread_create(&thread, NULL, send_once_a_round, &storm) == 0);
	CHECK(pthread_getaffinity_np(pthread_self(), sizeof before, &before) == 0);
	pin(thread, pthread_self());
	for (unsigned round = 1; round <= system_repetitions(1000); round++) {
		storm.round = round;
		int rc = MOTE_CALL(s.sandbox, "count_up", NULL, &s.err, MOTE_I32);
		while (storm.sent < round)
			(void)sched_yield();
		rc == MOTE_OK ? good++ : canceled++;
		if (rc != MOTE_OK) {
			CHECK_EQ(rc, MOTE_ECANCELED);
			CHECK(canceled <= SANDBOXES_MAX);
			system_again(&s);
			storm.interrupt = storm.all[canceled] = mote_sandbox_interrupt(s.sandbox);
		}
		(void)CALL_I32(&s, "count_up");
		check_no_signal(&mask);
		if (canceled == SANDBOXES_MAX)
			break;
	}
	storm.is_over = true;
	CHECK(pthread_join(thread, NULL) == 0);
	for (unsigned i = 0; i <= SANDBOXES_MAX; i++)
		mote_interrupt_unref(storm.all[i]);
	CHECK(pthread_setaffinity_np(pthread_self(), sizeof before, &before) == 0);
	check_note("%u calls ended well, %u were cancelled, %u interrupts hit", good, canceled,
		   (unsigned)storm.hit);
	system_close(&s);
}

struct nested {
	struct system *inner;
	int failed;
};

static int call_inner_until_late(void *cookie, const struct mote_value *arguments,
				 mote_reply *reply)
{
	struct nested *nested = cookie;
	struct mote_call call = *CALL_OF("count_up", MOTE_I32);
	call.timeout_ns = 10000000000;
	(void)arguments;
	for (uint64_t until = now_ns() + 40000000; now_ns() < until;) {
		struct mote_error err;
		if (mote_sandbox_call(nested->inner->sandbox, &call, NULL, &err) < 0)
			nested->failed++;
	}
	return mote_reply_string(reply, "late", 4);
}

static struct nested nested;

static void add_nested(mote_host *host)
{
	struct mote_error err;
	CHECK(MOTE_HOST_ADD(host, "upper", call_inner_until_late, &nested, &err, MOTE_STRING,
			    MOTE_STRING) == MOTE_OK);
}

TEST(guest_threads__a_timeout_of_the_outer_call_ends_it_and_not_the_inner_ones)
{
	struct system s, inner;
	sigset_t mask;
	CHECK(pthread_sigmask(SIG_SETMASK, NULL, &mask) == 0);
	nested = (struct nested){.inner = &inner};
	OPEN(&inner, "bad");
	OPEN(&s, "hello", .add = add_nested);
	OK(&s, mote_sandbox_start(s.sandbox, 0, &s.err));
	struct mote_call call = *CALL_OF("try_upper", MOTE_STRING, mote_string("x"));
	call.timeout_ns = 20000000;
	CHECK_EQ(mote_sandbox_call(s.sandbox, &call, NULL, &s.err), MOTE_ECANCELED);
	CHECK_EQ(nested.failed, 0);
	CHECK(CALL_I32(&inner, "count_up") > 10);
	check_no_signal(&mask);
	system_close(&s);
	system_close(&inner);
}

TEST(guest_threads__timeouts_about_as_long_as_the_call_end_well_or_cancel)
{
	struct system s;
	sigset_t mask;
	unsigned good = 0, canceled = 0;
	CHECK(pthread_sigmask(SIG_SETMASK, NULL, &mask) == 0);
	OPEN(&s, "bad");
	OK(&s, mote_sandbox_start(s.sandbox, 0, &s.err));
	for (uint64_t i = 0; i < 150; i++) {
		struct mote_call call = *CALL_OF("count_up", MOTE_I32);
		call.timeout_ns = 20000 + i * 1000;
		int rc = mote_sandbox_call(s.sandbox, &call, NULL, &s.err);
		CHECK(rc == MOTE_OK || rc == MOTE_ECANCELED);
		rc ? canceled++ : good++;
		if (rc) {
			system_again(&s);
			OK(&s, mote_sandbox_start(s.sandbox, 0, &s.err));
		}
	}
	check_note("%u ended well, %u were cancelled", good, canceled);
	check_no_signal(&mask);
	system_close(&s);
}

TEST(guest_threads__a_caller_that_blocks_the_signal_is_cancelled_all_the_same)
{
	struct system s;
	sigset_t blocked, before;
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGRTMIN);
	OPEN(&s, "bad");
	CHECK(pthread_sigmask(SIG_BLOCK, &blocked, &before) == 0);
	CHECK(pthread_sigmask(SIG_SETMASK, NULL, &blocked) == 0);
	struct mote_call call = *CALL_OF("loop_forever", MOTE_VOID);
	call.timeout_ns = 10000000;
	int rc = mote_sandbox_call(s.sandbox, &call, NULL, &s.err);
	check_no_signal(&blocked);
	CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
	CHECK_EQ(rc, MOTE_ECANCELED);
	system_close(&s);
}

static int send_and_answer(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	mote_interrupt *interrupt = *(mote_interrupt **)cookie;
	int was_running = mote_interrupt_send(interrupt);
	return mote_reply_string(reply, was_running ? "running" : "waiting",
				 7 + (size_t)!arguments);
}

static mote_interrupt *of_host_call;

static void add_sender(mote_host *host)
{
	struct mote_error err;
	CHECK(MOTE_HOST_ADD(host, "upper", send_and_answer, &of_host_call, &err, MOTE_STRING,
			    MOTE_STRING) == MOTE_OK);
}

TEST(guest_threads__an_interrupt_in_a_host_function_ends_the_guest_when_it_returns)
{
	struct system s;
	sigset_t mask;
	CHECK(pthread_sigmask(SIG_SETMASK, NULL, &mask) == 0);
	OPEN(&s, "hello", .add = add_sender);
	of_host_call = mote_sandbox_interrupt(s.sandbox);
	FAILS(&s, MOTE_ECANCELED, "Execution was cancelled by the host.", MOTE_STRING, "try_upper",
	      mote_string("x"));
	CHECK_EQ(s.err.poisoned, 1);
	check_no_signal(&mask);
	mote_interrupt_unref(of_host_call);
	system_close(&s);
}

TEST(guest_threads__an_interrupt_outlives_its_sandbox_and_hits_no_later_call)
{
	struct system s;
	OPEN(&s, "hello");
	mote_interrupt *interrupt = mote_sandbox_interrupt(s.sandbox);
	CHECK_EQ(mote_interrupt_send(interrupt), 0);
	CHECK_EQ(CALL_I32(&s, "count_up"), 1);
	CHECK_EQ(mote_interrupt_send(interrupt), 0);
	CHECK_EQ(CALL_I32(&s, "count_up"), 2);
	system_again(&s);
	CHECK_EQ(mote_interrupt_send(interrupt), 0);
	CHECK_EQ(CALL_I32(&s, "count_up"), 1);
	mote_interrupt_unref(interrupt);
	system_close(&s);
}

static int block_and_raise(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	sigset_t set;
	(void)cookie;
	(void)arguments;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	(void)pthread_sigmask(SIG_BLOCK, &set, NULL);
	(void)pthread_kill(pthread_self(), SIGUSR1);
	return mote_reply_string(reply, "X", 1);
}

static void add_raiser(mote_host *host)
{
	struct mote_error err;
	CHECK(MOTE_HOST_ADD(host, "upper", block_and_raise, NULL, &err, MOTE_STRING, MOTE_STRING) ==
	      MOTE_OK);
}

static void ignore(int signal_number)
{
	(void)signal_number;
}

TEST(guest_threads__a_signal_that_a_host_function_blocks_stays_blocked_and_pending)
{
	struct system s;
	struct sigaction old, action = {.sa_handler = ignore};
	sigset_t before, mask, pending;
	CHECK(sigaction(SIGUSR1, &action, &old) == 0);
	CHECK(pthread_sigmask(SIG_SETMASK, NULL, &before) == 0);
	OPEN(&s, "hello", .add = add_raiser);
	struct mote_call call = *CALL_OF("try_upper", MOTE_STRING, mote_string("x"));
	call.timeout_ns = 5000000000; /* ends a call that is interrupted for ever */
	OK(&s, mote_sandbox_call(s.sandbox, &call, NULL, &s.err));
	CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGUSR1));
	CHECK(pthread_sigmask(SIG_SETMASK, &before, &mask) == 0);
	sigaddset(&before, SIGUSR1);
	CHECK(memcmp(&mask, &before, 8) == 0);
	CHECK(sigaction(SIGUSR1, &old, NULL) == 0);
	system_close(&s);
}

static atomic_bool has_returned;

static void *time_out_while_to_be_canceled(void *cookie)
{
	(void)pthread_cancel(pthread_self());
	(void)time_out(cookie);
	atomic_store(&has_returned, true);
	pthread_testcancel();
	return NULL;
}

TEST(guest_threads__a_thread_that_is_to_be_cancelled_leaves_its_call_first)
{
	struct system s;
	pthread_t thread;
	void *result = NULL;
	OPEN(&s, "bad");
	OK(&s, mote_sandbox_start(s.sandbox, 0, &s.err));
	struct worker w = {.sandbox = s.sandbox};
	atomic_store(&has_returned, false);
	CHECK(pthread_create(&thread, NULL, time_out_while_to_be_canceled, &w) == 0);
	CHECK(pthread_join(thread, &result) == 0);
	CHECK(result == PTHREAD_CANCELED);
	CHECK(atomic_load(&has_returned));
	CHECK_EQ(w.failed, MOTE_ECANCELED);
	CHECK_EQ(mote_sandbox_state(s.sandbox), MOTE_STATE_POISONED);
	system_close(&s);
}

static atomic_bool call_is_over;

static void *send_until_heard(void *interrupt)
{
	const uint64_t until = now_ns() + 2000000000;
	while (now_ns() < until) {
		/* A call that is not in the guest yet is ended as well, and then over. */
		if (mote_interrupt_send(interrupt) || atomic_load(&call_is_over))
			return interrupt;
		(void)sched_yield();
	}
	return NULL;
}

/* No room in the kernel to queue a real-time signal; standard ones need none. */
TEST(guest_threads__an_interrupt_is_heard_without_room_for_signals)
{
	struct system s;
	struct rlimit limit, none;
	pthread_t thread;
	sigset_t mask, pending;
	void *was_heard = NULL;
	CHECK(pthread_sigmask(SIG_SETMASK, NULL, &mask) == 0);
	OPEN(&s, "bad");
	/* Makes the timer, which has its own room, and ends what is not heard. */
	struct mote_call call = *CALL_OF("count_up", MOTE_I32);
	call.timeout_ns = 10000000000;
	OK(&s, mote_sandbox_call(s.sandbox, &call, NULL, &s.err));
	mote_interrupt *interrupt = mote_sandbox_interrupt(s.sandbox);
	CHECK(getrlimit(RLIMIT_SIGPENDING, &limit) == 0);
	none = limit;
	none.rlim_cur = 0;
	if (setrlimit(RLIMIT_SIGPENDING, &none) != 0)
		check_skip("cannot set the limit of pending signals");
	CHECK(pthread_create(&thread, NULL, send_until_heard, interrupt) == 0);
	call = *CALL_OF("loop_forever", MOTE_VOID);
	call.timeout_ns = 4000000000;
	int rc = mote_sandbox_call(s.sandbox, &call, NULL, &s.err);
	atomic_store(&call_is_over, true);
	CHECK(setrlimit(RLIMIT_SIGPENDING, &limit) == 0);
	CHECK(pthread_join(thread, &was_heard) == 0);
	mote_interrupt_unref(interrupt);
	CHECK_EQ(rc, MOTE_ECANCELED);
	CHECK(was_heard != NULL);
	check_no_signal(&mask);
	CHECK(sigpending(&pending) == 0 && !sigismember(&pending, SIGSTKFLT));
	system_close(&s);
}

static struct forked_ranges ranges;

static int destroy_all(void *cookie)
{
	struct system *s = cookie;
	forked_occupy(&ranges);
	if (ranges.count < 4) /* scratch, the machine's page, the snapshot's memory and tables */
		return 1;
	mote_sandbox_destroy(s->sandbox);
	mote_snapshot_unref(s->snapshot);
	mote_host_unref(s->host);
	return forked_lost(&ranges) ? 2 : 0;
}

TEST(guest_threads__objects_destroyed_in_a_forked_child_take_nothing_of_its_own)
{
	struct system s;
	OPEN(&s, "hello");
	CHECK_EQ(CALL_I32(&s, "count_up"), 1);
	forked_list(&ranges);
	CHECK_EQ(forked_run(destroy_all, &s), 0);
	CHECK_EQ(CALL_I32(&s, "count_up"), 2);
	system_close(&s);
}
