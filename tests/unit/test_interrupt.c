/* SPDX-License-Identifier: MIT */
/* Interrupts and timeouts: the races of guest-abi 10.4 with real threads and signals, and what a
 * call leaves of the thread's signals. */
#define _GNU_SOURCE
#include "world.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define MS 1000000ull

static struct world w;

/* ---- helpers --------------------------------------------------------------------------------- */

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Guest code runs, and does not end. */
static atomic_bool is_spinning;

static void spin(struct double_machine *m, struct mote__exit *exit)
{
	atomic_store(&is_spinning, true);
	double_spin(m, exit);
}

static void answer(struct double_machine *m, struct mote__exit *exit)
{
	if (m->step == 0)
		(void)guest_pop_call(m);
	guest_return(m, exit, mote_void());
}

static const struct double_guest spinning = {NULL, spin, NULL}, good = {NULL, answer, NULL};

static int call_of(mote_sandbox *sandbox, uint64_t timeout_ns, struct mote_error *err)
{
	const struct mote_call call = {
		.size = sizeof call, .function = "f", .timeout_ns = timeout_ns};
	return mote_sandbox_call(sandbox, &call, NULL, err);
}

static int call_for(uint64_t timeout_ns)
{
	return call_of(w.sandbox, timeout_ns, &w.err);
}

static bool is_pending(int signal_number)
{
	sigset_t pending;
	sigpending(&pending);
	return sigismember(&pending, signal_number);
}

/* The calling thread's mask, and that nothing is pending, before and after. */
static sigset_t mask_before;

static void remember_mask(void)
{
	pthread_sigmask(SIG_SETMASK, NULL, &mask_before);
}

static void check_thread(void)
{
	sigset_t mask;
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	for (int s = 1; s <= SIGRTMAX; s++)
		CHECK_EQ(sigismember(&mask, s), sigismember(&mask_before, s));
	CHECK(!is_pending(SIGRTMIN));
}

#define CANCELS(call)                                                             \
	do {                                                                      \
		FAILS(&w, call, MOTE_ECANCELED);                                  \
		CHECK_STR(w.err.message, "Execution was cancelled by the host."); \
		CHECK(w.err.poisoned == 1 && w.err.has_fault == 0);               \
		CHECK_EQ(mote_sandbox_state(w.sandbox), MOTE_STATE_POISONED);     \
		check_thread();                                                   \
	} while (0)

/* A thread that waits for a guest to spin, and interrupts it: then that is heard. (Before, it might
 * come between the begin of the call and that of the guest, and end the call unheard.) */
struct sender {
	pthread_t thread;
	mote_interrupt *interrupt;
};

static void *send_to_spinner(void *interrupt)
{
	while (!atomic_load(&is_spinning))
		sched_yield();
	return mote_interrupt_send(interrupt) ? interrupt : NULL;
}

static struct sender sender_start(mote_sandbox *sandbox)
{
	struct sender s = {.interrupt = mote_sandbox_interrupt(sandbox)};
	atomic_store(&is_spinning, false);
	CHECK_EQ(pthread_create(&s.thread, NULL, send_to_spinner, s.interrupt), 0);
	return s;
}

static void sender_join(struct sender *s)
{
	void *was_heard = NULL;
	CHECK_EQ(pthread_join(s->thread, &was_heard), 0);
	CHECK(was_heard != NULL);
	mote_interrupt_unref(s->interrupt);
}

static void ready(enum world_kind kind, const struct double_guest *guest)
{
	world_ready(&w, kind, guest);
	remember_mask();
}

/* ---- interrupts ------------------------------------------------------------------------------ */

TEST_BOTH(interrupt__before_a_call_it_has_no_effect)
{
	world_make(&w, kind, &good);
	world_sandbox(&w, NULL);
	remember_mask();
	mote_interrupt *interrupt = mote_sandbox_interrupt(w.sandbox);
	CHECK_EQ(mote_interrupt_send(interrupt), 0);
	OK(&w, mote_sandbox_start(w.sandbox, 0, &w.err));
	CHECK_EQ(mote_interrupt_send(interrupt), 0);
	OK(&w, call_for(0));
	CHECK_EQ(mote_interrupt_send(interrupt), 0);
	OK(&w, call_for(0));
	check_thread();
	mote_interrupt_unref(interrupt);
	world_free(&w);
}

TEST_BOTH(interrupt__ends_a_guest_that_runs)
{
	ready(kind, &spinning);
	struct sender s = sender_start(w.sandbox);
	CANCELS(call_for(0));
	sender_join(&s);
	CHECK_EQ(world_statistics(&w).exits_interrupted, 1);
	CHECK_EQ(call_for(0), MOTE_ESTATE);
	world_free(&w);
}

TEST_BOTH(interrupt__ends_a_guest_that_initialises)
{
	const struct double_guest guest = {spin, answer, NULL};
	world_make(&w, kind, &guest);
	world_sandbox(&w, NULL);
	remember_mask();
	struct sender s = sender_start(w.sandbox);
	CANCELS(mote_sandbox_start(w.sandbox, 0, &w.err));
	sender_join(&s);
	world_free(&w);
}

/* The guest says when: the sender is heard while the guest runs, then comes the exit. */
static mote_interrupt *own;
static unsigned heard;

static void interrupt_and_halt(struct double_machine *m, struct mote__exit *exit)
{
	(void)guest_pop_call(m);
	heard = (unsigned)mote_interrupt_send(own) + (unsigned)mote_interrupt_send(own);
	guest_return(m, exit, mote_void());
}

TEST_BOTH(interrupt__a_halt_at_the_same_moment_wins)
{
	const struct double_guest guest = {NULL, interrupt_and_halt, NULL};
	ready(kind, &guest);
	own = mote_sandbox_interrupt(w.sandbox);
	for (unsigned i = 0; i < 3; i++) {
		OK(&w, call_for(0));
		CHECK_EQ(heard, 2);
		check_thread();
	}
	w.machine->guest = &good;
	OK(&w, call_for(0));
	CHECK_EQ(world_statistics(&w).exits_interrupted, 0);
	mote_interrupt_unref(own);
	world_free(&w);
}

static void interrupt_and_fail(struct double_machine *m, struct mote__exit *exit)
{
	(void)guest_pop_call(m);
	heard = (unsigned)mote_interrupt_send(own);
	double_out(exit, 100, 0);
}

TEST_BOTH(interrupt__an_exit_that_fails_wins)
{
	const struct double_guest guest = {NULL, interrupt_and_fail, NULL};
	ready(kind, &guest);
	own = mote_sandbox_interrupt(w.sandbox);
	FAILS(&w, call_for(0), MOTE_EPROTOCOL);
	CHECK_EQ(heard, 1);
	check_thread();
	mote_interrupt_unref(own);
	world_free(&w);
}

static void interrupt_and_go_on(struct double_machine *m, struct mote__exit *exit)
{
	(void)guest_pop_call(m);
	CHECK_EQ(m->step, 0);
	heard = (unsigned)mote_interrupt_send(own);
	double_out(exit, MOTE_ABI_PORT_ABORT, 0);
}

TEST_BOTH(interrupt__an_exit_that_goes_on_is_not_entered_again)
{
	const struct double_guest guest = {NULL, interrupt_and_go_on, NULL};
	ready(kind, &guest);
	own = mote_sandbox_interrupt(w.sandbox);
	const uint64_t entries = w.machine->base.entries;
	CANCELS(call_for(0));
	CHECK_EQ(heard, 1);
	CHECK_EQ(w.machine->base.entries, entries + 1);
	mote_interrupt_unref(own);
	world_free(&w);
}

static void ask_host(struct double_machine *m, struct mote__exit *exit)
{
	if (m->step == 0) {
		(void)guest_pop_call(m);
		guest_push_call(m, "h", MOTE_VOID, NULL, 0);
		double_out(exit, MOTE_ABI_PORT_CALL, 0);
		return;
	}
	guest_return(m, exit, mote_void());
}

static const struct double_guest asking = {NULL, ask_host, NULL};

static int interrupt_own(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	(void)cookie;
	(void)arguments;
	(void)reply;
	heard = (unsigned)mote_interrupt_send(own);
	return 0;
}

static void ready_with_host(enum world_kind kind, const struct double_guest *guest,
			    mote_host_callback callback)
{
	world_make(&w, kind, guest);
	OK(&w, MOTE_HOST_ADD(w.host, "h", callback, NULL, &w.err, MOTE_VOID));
	world_sandbox(&w, NULL);
	OK(&w, mote_sandbox_start(w.sandbox, 0, &w.err));
	remember_mask();
}

TEST_BOTH(interrupt__waits_for_a_host_function)
{
	ready_with_host(kind, &asking, interrupt_own);
	own = mote_sandbox_interrupt(w.sandbox);
	const uint64_t entries = w.machine->base.entries;
	heard = 9;
	CANCELS(call_for(0));
	CHECK_EQ(heard, 0);
	CHECK_EQ(w.machine->base.entries, entries + 1);
	mote_interrupt_unref(own);
	world_free(&w);
}

TEST_BOTH(interrupt__object_outlives_its_sandbox)
{
	ready(kind, &good);
	mote_interrupt *interrupt = mote_sandbox_interrupt(w.sandbox);
	mote_sandbox_destroy(w.sandbox);
	w.sandbox = NULL;
	CHECK_EQ(mote_interrupt_send(interrupt), 0);
	CHECK_EQ(mote_interrupt_send(interrupt), 0);
	mote_interrupt_unref(interrupt);
	mote_interrupt_unref(NULL);
	world_free(&w);
}

TEST(interrupt__works_with_any_real_time_signal)
{
	memset(&w, 0, sizeof w);
	w.hypervisor = double_make(&spinning);
	w.hypervisor->is_closed = &w.is_closed;
	OK(&w, mote__engine_on(&w.hypervisor->base, SIGRTMAX, 0, &w.engine, &w.err));
	const struct tiny_image image = tiny_guest(&(struct tiny_options){.is_confined = true});
	OK(&w, mote_snapshot_from_memory(image.bytes, image.len, NULL, &w.snapshot, &w.err));
	OK(&w, mote_host_create(&w.host, &w.err));
	world_sandbox(&w, NULL);
	remember_mask();
	struct sender s = sender_start(w.sandbox);
	CANCELS(call_for(0));
	sender_join(&s);
	CHECK(!is_pending(SIGRTMAX));
	world_free(&w);
}

/* ---- timeouts -------------------------------------------------------------------------------- */

TEST_BOTH(interrupt__a_timeout_ends_a_guest_that_runs)
{
	ready(kind, &spinning);
	uint64_t start = now_ns();
	CANCELS(call_for(20 * MS));
	CHECK(now_ns() - start >= 20 * MS);
	world_free(&w);
}

TEST_BOTH(interrupt__a_timeout_ends_initialise)
{
	const struct double_guest guest = {spin, answer, NULL};
	world_make(&w, kind, &guest);
	world_sandbox(&w, NULL);
	remember_mask();
	CANCELS(mote_sandbox_start(w.sandbox, 20 * MS, &w.err));
	world_free(&w);
}

static int wait_for_deadline(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	const uint64_t end = now_ns() + 30 * MS;
	(void)cookie;
	(void)arguments;
	(void)reply;
	/* A system call that no signal of ours ends. */
	const struct timespec at = {.tv_sec = (time_t)(end / 1000000000u),
				    .tv_nsec = (long)(end % 1000000000u)};
	heard = (unsigned)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
	return 0;
}

TEST_BOTH(interrupt__a_timeout_waits_for_a_host_function)
{
	ready_with_host(kind, &asking, wait_for_deadline);
	const uint64_t entries = w.machine->base.entries;
	heard = 9;
	CANCELS(call_for(10 * MS));
	CHECK_EQ(heard, 0);
	CHECK_EQ(w.machine->base.entries, entries + 1);
	world_free(&w);
}

TEST_BOTH(interrupt__a_timeout_that_is_not_reached_leaves_nothing)
{
	ready(kind, &good);
	static const uint64_t timeouts[] = {10000 * MS, UINT64_MAX, INT64_MAX, 1ull << 62};
	for (size_t i = 0; i < 4; i++) {
		OK(&w, call_for(timeouts[i]));
		check_thread();
	}
	OK(&w, mote_sandbox_start(w.sandbox, 1, &w.err));
	world_free(&w);
}

TEST_BOTH(interrupt__a_timeout_of_no_time_does_not_enter)
{
	ready(kind, &good);
	const uint64_t entries = w.machine->base.entries;
	CANCELS(call_for(1));
	CHECK_EQ(w.machine->base.entries, entries);
	world_free(&w);
}

TEST_BOTH(interrupt__a_late_halt_still_counts)
{
	/* Past the deadline, but the guest has ended: as with an interrupt. */
	ready_with_host(kind, &good, wait_for_deadline);
	OK(&w, call_for(1000 * MS));
	check_thread();
	world_free(&w);
}

TEST_BOTH(interrupt__a_timeout_holds_for_its_call_only)
{
	ready(kind, &good);
	OK(&w, call_for(30 * MS));
	uint64_t end = now_ns() + 40 * MS;
	while (now_ns() < end)
		OK(&w, call_for(0));
	CHECK_EQ(world_statistics(&w).exits_interrupted, 0);
	check_thread();
	world_free(&w);
}

/* ---- threads --------------------------------------------------------------------------------- */

struct moved {
	uint64_t timeout_ns;
	int rc;
	struct mote_error err;
	bool is_clean;
};

static void *call_on_thread(void *cookie)
{
	struct moved *moved = cookie;
	moved->rc = call_of(w.sandbox, moved->timeout_ns, &moved->err);
	moved->is_clean = !is_pending(SIGRTMIN);
	return NULL;
}

static void on_thread(struct moved *moved)
{
	pthread_t thread;
	CHECK_EQ(pthread_create(&thread, NULL, call_on_thread, moved), 0);
	CHECK_EQ(pthread_join(thread, NULL), 0);
}

/* The second thread gets what the first one had: its stack, and with it its pthread_t. */
TEST_BOTH(interrupt__a_timer_follows_its_sandbox_to_another_thread)
{
	struct moved first = {.timeout_ns = 10000 * MS}, second = {.timeout_ns = 30 * MS};
	ready(kind, &good);
	on_thread(&first);
	CHECK(first.rc == MOTE_OK && first.is_clean);
	w.machine->guest = &spinning;
	on_thread(&second);
	CHECK_EQ(second.rc, MOTE_ECANCELED);
	CHECK(second.is_clean);
	check_thread();
	world_free(&w);
}

TEST_BOTH(interrupt__a_timer_follows_from_the_first_thread_and_back)
{
	struct moved moved = {.timeout_ns = 10000 * MS};
	ready(kind, &good);
	OK(&w, call_for(10000 * MS));
	on_thread(&moved);
	CHECK_EQ(moved.rc, MOTE_OK);
	w.machine->guest = &spinning;
	CANCELS(call_for(20 * MS));
	world_free(&w);
}

TEST_BOTH(interrupt__finds_a_sandbox_on_another_thread)
{
	struct moved moved = {.timeout_ns = 0};
	pthread_t thread;
	ready(kind, &spinning);
	mote_interrupt *interrupt = mote_sandbox_interrupt(w.sandbox);
	atomic_store(&is_spinning, false);
	CHECK_EQ(pthread_create(&thread, NULL, call_on_thread, &moved), 0);
	CHECK(send_to_spinner(interrupt) != NULL);
	CHECK_EQ(pthread_join(thread, NULL), 0);
	CHECK(moved.rc == MOTE_ECANCELED && moved.is_clean);
	CHECK_EQ(mote_interrupt_send(interrupt), 0);
	mote_interrupt_unref(interrupt);
	check_thread();
	world_free(&w);
}

/* Short calls under fire from two threads: each ends well or cancelled, and nothing else. */
static atomic_bool is_over;
static _Atomic(mote_interrupt *) target;

static void *fire(void *cookie)
{
	uint64_t seed = (uint64_t)(uintptr_t)cookie;
	while (!atomic_load(&is_over)) {
		(void)mote_interrupt_send(atomic_load(&target));
		for (uint64_t i = check_random(&seed) % 2000; i > 0; i--)
			__asm__ volatile("");
	}
	return NULL;
}

TEST_BOTH(interrupt__calls_under_fire)
{
	pthread_t threads[2];
	unsigned canceled = 0;
	world_make(&w, kind, &good);
	world_sandbox(&w, NULL);
	remember_mask();
	mote_interrupt *kept[400];
	unsigned count = 0;
	atomic_store(&is_over, false);
	atomic_store(&target, kept[count++] = mote_sandbox_interrupt(w.sandbox));
	for (uintptr_t i = 0; i < 2; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, fire, (void *)(i + 1)), 0);
	for (unsigned n = 0; n < 400 && count < 400; n++) {
		int rc = call_for(n % 3 == 0 ? 10000 * MS : 0);
		CHECK(rc == MOTE_OK || rc == MOTE_ECANCELED);
		if (rc == MOTE_OK)
			continue;
		canceled++;
		/* Another one; the sender may still have the old one's object. */
		mote_sandbox_destroy(w.sandbox);
		world_sandbox(&w, NULL);
		atomic_store(&target, kept[count++] = mote_sandbox_interrupt(w.sandbox));
	}
	atomic_store(&is_over, true);
	for (unsigned i = 0; i < 2; i++)
		CHECK_EQ(pthread_join(threads[i], NULL), 0);
	check_thread();
	check_note("%u calls cancelled", canceled);
	while (count > 0)
		mote_interrupt_unref(kept[--count]);
	world_free(&w);
}

/* ---- two sandboxes on one thread ------------------------------------------------------------- */

static mote_sandbox *inner;
static mote_interrupt *inner_interrupt;
static uint64_t inner_timeout;
static int inner_rc;

static int call_inner(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	struct mote_error err;
	(void)cookie;
	(void)arguments;
	(void)reply;
	inner_rc = call_of(inner, inner_timeout, &err);
	return 0;
}

/* w.sandbox is the outer one, whose host function calls inner, in which guest runs. */
static void ready_nested(enum world_kind kind, const struct double_guest *outer,
			 const struct double_guest *guest)
{
	world_make(&w, kind, outer);
	OK(&w, MOTE_HOST_ADD(w.host, "h", call_inner, NULL, &w.err, MOTE_VOID));
	world_sandbox(&w, NULL);
	w.hypervisor->guest = guest;
	OK(&w, mote_sandbox_create(w.engine, w.snapshot, w.host, NULL, &inner, &w.err));
	OK(&w, mote_sandbox_start(w.sandbox, 0, &w.err));
	OK(&w, mote_sandbox_start(inner, 0, &w.err));
	own = mote_sandbox_interrupt(w.sandbox);
	inner_interrupt = mote_sandbox_interrupt(inner);
	inner_timeout = 0;
	inner_rc = 1;
	remember_mask();
}

static void free_nested(void)
{
	mote_interrupt_unref(own);
	mote_interrupt_unref(inner_interrupt);
	mote_sandbox_destroy(inner);
	world_free(&w);
}

static int outer_heard;

/* Interrupts the outer one while the inner one runs, then the inner one. */
static void interrupt_outer_and_spin(struct double_machine *m, struct mote__exit *exit)
{
	if (m->step == 0)
		outer_heard = mote_interrupt_send(own);
	if (m->step == 1)
		heard = (unsigned)mote_interrupt_send(inner_interrupt);
	if (m->step < 1)
		double_out(exit, MOTE_ABI_PORT_ABORT, 0);
	else
		double_spin(m, exit);
}

TEST_BOTH(interrupt__an_inner_guest_can_be_ended_alone)
{
	ready_nested(kind, &asking, &spinning);
	struct sender s = sender_start(inner);
	OK(&w, call_for(0));
	sender_join(&s);
	CHECK_EQ(inner_rc, MOTE_ECANCELED);
	CHECK_EQ(mote_sandbox_state(inner), MOTE_STATE_POISONED);
	CHECK_EQ(mote_sandbox_state(w.sandbox), MOTE_STATE_READY);
	check_thread();
	free_nested();
}

TEST_BOTH(interrupt__of_the_outer_guest_while_the_inner_one_runs)
{
	const struct double_guest guest = {NULL, interrupt_outer_and_spin, NULL};
	ready_nested(kind, &asking, &guest);
	outer_heard = 9;
	CANCELS(call_for(0));
	/* A host function of the outer one runs; it is cancelled when that returns. */
	CHECK(outer_heard == 0 && heard == 1);
	CHECK_EQ(inner_rc, MOTE_ECANCELED);
	free_nested();
}

static void interrupt_outer_and_halt(struct double_machine *m, struct mote__exit *exit)
{
	(void)guest_pop_call(m);
	outer_heard = mote_interrupt_send(own);
	guest_return(m, exit, mote_void());
}

TEST_BOTH(interrupt__of_the_outer_guest_does_not_end_the_inner_one)
{
	const struct double_guest guest = {NULL, interrupt_outer_and_halt, NULL};
	ready_nested(kind, &asking, &guest);
	CANCELS(call_for(0));
	CHECK_EQ(inner_rc, MOTE_OK);
	CHECK_EQ(mote_sandbox_state(inner), MOTE_STATE_READY);
	free_nested();
}

/* The outer guest is signalled just as it calls its host function: the inner one meets the signal,
 * is not meant, and runs; the outer one is ended all the same. */
static void ask_host_when_interrupted(struct double_machine *m, struct mote__exit *exit)
{
	if (m->step == 0)
		outer_heard = mote_interrupt_send(own);
	ask_host(m, exit);
}

TEST_BOTH(interrupt__a_signal_for_the_outer_guest_passes_the_inner_one)
{
	const struct double_guest guest = {NULL, ask_host_when_interrupted, NULL};
	ready_nested(kind, &guest, &good);
	CANCELS(call_for(0));
	CHECK_EQ(outer_heard, 1);
	CHECK_EQ(inner_rc, MOTE_OK);
	struct mote_statistics s;
	mote_sandbox_get_statistics(inner, &s, sizeof s);
	CHECK_EQ(s.exits_interrupted, 1);
	free_nested();
}

TEST_BOTH(interrupt__timeouts_nest)
{
	ready_nested(kind, &asking, &spinning);
	inner_timeout = 40 * MS;
	const uint64_t start = now_ns();
	CANCELS(call_for(10 * MS));
	CHECK(now_ns() - start >= 40 * MS);
	CHECK_EQ(inner_rc, MOTE_ECANCELED);
	struct mote_statistics s;
	mote_sandbox_get_statistics(inner, &s, sizeof s);
	/* The outer one's timer, which the inner one is not meant by, and its own. */
	CHECK_EQ(s.exits_interrupted, 2);
	free_nested();
}

TEST_BOTH(interrupt__an_inner_timeout_does_not_end_the_outer_guest)
{
	ready_nested(kind, &asking, &spinning);
	inner_timeout = 10 * MS;
	OK(&w, call_for(10000 * MS));
	CHECK_EQ(inner_rc, MOTE_ECANCELED);
	check_thread();
	free_nested();
}

/* ---- the application's signals --------------------------------------------------------------- */

static void block(int how, int signal_number)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, signal_number);
	pthread_sigmask(how, &set, NULL);
}

static void take(int signal_number)
{
	const struct timespec none = {0};
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, signal_number);
	CHECK_EQ(sigtimedwait(&set, NULL, &none), signal_number);
}

TEST_BOTH(interrupt__pending_signals_of_the_application_stay)
{
	const int others[] = {SIGUSR1, SIGRTMIN + 1, SIGALRM};
	ready(kind, &spinning);
	for (unsigned i = 0; i < 3; i++) {
		block(SIG_BLOCK, others[i]);
		pthread_kill(pthread_self(), others[i]);
	}
	remember_mask();
	CANCELS(call_for(10 * MS));
	/* They are blocked in the guest, too. */
	CHECK_EQ(world_statistics(&w).exits_interrupted, 1);
	for (unsigned i = 0; i < 3; i++) {
		CHECK(is_pending(others[i]));
		take(others[i]);
		CHECK(!is_pending(others[i]));
		block(SIG_UNBLOCK, others[i]);
	}
	world_free(&w);
}

static volatile sig_atomic_t handled;

static void handle(int signal_number)
{
	(void)signal_number;
	handled++;
}

/* The guest goes on after a signal that has nothing to do with it. */
static void raise_and_spin(struct double_machine *m, struct mote__exit *exit)
{
	if (m->step == 0) {
		pthread_kill(pthread_self(), SIGUSR1);
		exit->kind = MOTE__EXIT_INTERRUPTED;
		return;
	}
	(void)guest_pop_call(m);
	guest_return(m, exit, mote_void());
}

TEST_BOTH(interrupt__handlers_of_the_application_run_and_the_guest_goes_on)
{
	const struct double_guest guest = {NULL, raise_and_spin, NULL};
	struct sigaction old, action = {.sa_handler = handle};
	ready(kind, &guest);
	sigaction(SIGUSR1, &action, &old);
	handled = 0;
	OK(&w, call_for(10000 * MS));
	CHECK_EQ(handled, 1);
	CHECK_EQ(world_statistics(&w).exits_interrupted, 1);
	check_thread();
	sigaction(SIGUSR1, &old, NULL);
	world_free(&w);
}

TEST_BOTH(interrupt__the_machine_runs_with_the_thread_s_mask_less_the_signal)
{
	ready(kind, &good);
	OK(&w, call_for(10000 * MS));
	CHECK_EQ(sigismember(&w.machine->mask, SIGRTMIN), 0);
	CHECK_EQ(sigismember(&w.machine->mask, SIGUSR2), 0);
	CHECK_EQ(w.machine->mask_sets, 1);
	OK(&w, call_for(10000 * MS));
	CHECK_EQ(w.machine->mask_sets, 1);
	/* Told again only when it changes, and then by every call: an old mask would hold. */
	block(SIG_BLOCK, SIGUSR2);
	OK(&w, call_for(0));
	CHECK_EQ(w.machine->mask_sets, 2);
	CHECK_EQ(sigismember(&w.machine->mask, SIGUSR2), 1);
	block(SIG_UNBLOCK, SIGUSR2);
	OK(&w, call_for(0));
	CHECK_EQ(w.machine->mask_sets, 3);
	world_free(&w);
}

static int look_at_mask(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	sigset_t mask;
	(void)cookie;
	(void)arguments;
	(void)reply;
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	heard = (unsigned)sigismember(&mask, SIGRTMIN);
	return 0;
}

TEST_BOTH(interrupt__a_call_that_nobody_can_end_leaves_the_signals_alone)
{
	ready_with_host(kind, &asking, look_at_mask);
	for (unsigned i = 0; i < 3; i++) {
		heard = 9;
		OK(&w, call_for(0));
		CHECK_EQ(heard, 0);
	}
	CHECK_EQ(w.machine->mask_sets, 0);
	check_thread();
	/* From here on somebody can. */
	mote_interrupt *interrupt = mote_sandbox_interrupt(w.sandbox);
	OK(&w, call_for(0));
	CHECK_EQ(heard, 1);
	CHECK_EQ(w.machine->mask_sets, 1);
	check_thread();
	mote_interrupt_unref(interrupt);
	world_free(&w);
}

TEST_BOTH(interrupt__handlers_run_in_a_call_that_nobody_can_end)
{
	const struct double_guest guest = {NULL, raise_and_spin, NULL};
	struct sigaction old, action = {.sa_handler = handle};
	ready(kind, &guest);
	sigaction(SIGUSR1, &action, &old);
	handled = 0;
	OK(&w, call_for(0));
	CHECK_EQ(handled, 1);
	CHECK_EQ(world_statistics(&w).exits_interrupted, 1);
	CHECK_EQ(w.machine->mask_sets, 0);
	check_thread();
	sigaction(SIGUSR1, &old, NULL);
	world_free(&w);
}

/* The first that can end the call asks for the object while it runs. */
static struct sender late;

static int make_sender(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	(void)cookie;
	(void)arguments;
	(void)reply;
	late = sender_start(w.sandbox);
	return 0;
}

static void ask_host_and_spin(struct double_machine *m, struct mote__exit *exit)
{
	if (m->step == 0)
		ask_host(m, exit);
	else
		spin(m, exit);
}

TEST_BOTH(interrupt__a_call_can_be_ended_from_when_a_host_function_wants_it)
{
	const struct double_guest guest = {NULL, ask_host_and_spin, NULL};
	ready_with_host(kind, &guest, make_sender);
	CHECK_EQ(w.machine->mask_sets, 0);
	CANCELS(call_for(0));
	CHECK_EQ(w.machine->mask_sets, 1);
	sender_join(&late);
	world_free(&w);
}

/* A thread that has the signal blocked already: it stays so, and interrupts work. */
TEST_BOTH(interrupt__a_thread_may_have_the_signal_blocked)
{
	block(SIG_BLOCK, SIGRTMIN);
	ready(kind, &spinning);
	struct sender s = sender_start(w.sandbox);
	CANCELS(call_for(0));
	sender_join(&s);
	block(SIG_UNBLOCK, SIGRTMIN);
	world_free(&w);
}

TEST_BOTH(interrupt__the_mask_is_restored_after_failures)
{
	world_make(&w, kind, &good);
	world_sandbox(&w, NULL);
	remember_mask();
	w.hypervisor->fail = DOUBLE_SET_MASK;
	FAILS(&w, call_for(10 * MS), MOTE_ESYSTEM);
	check_thread();
	w.hypervisor->fail = DOUBLE_RUN;
	FAILS(&w, call_for(10 * MS), MOTE_ESYSTEM);
	check_thread();
	FAILS(&w, call_for(10 * MS), MOTE_ESTATE);
	check_thread();
	w.hypervisor->fail = 0;
	world_free(&w);
}

/* So that no system call of the application ends early. */
TEST_BOTH(interrupt__the_signal_is_blocked_in_host_functions)
{
	ready_with_host(kind, &asking, look_at_mask);
	heard = 0;
	OK(&w, call_for(10000 * MS));
	CHECK_EQ(heard, 1);
	check_thread();
	world_free(&w);
}

/* A host function changes the mask, and leaves a signal pending that was not blocked before. */
static int block_and_raise(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	(void)cookie;
	(void)arguments;
	(void)reply;
	block(SIG_BLOCK, SIGUSR1);
	pthread_kill(pthread_self(), SIGUSR1);
	return 0;
}

TEST_BOTH(interrupt__a_signal_that_a_host_function_blocks_stays_blocked_and_pending)
{
	struct sigaction old, action = {.sa_handler = handle};
	sigset_t mask;
	ready_with_host(kind, &asking, block_and_raise);
	sigaction(SIGUSR1, &action, &old);
	handled = 0;
	/* The timeout ends a call that is interrupted for ever. */
	OK(&w, call_for(2000 * MS));
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	CHECK_EQ(sigismember(&mask, SIGUSR1), 1);
	CHECK(is_pending(SIGUSR1) && handled == 0);
	/* That and nothing else. */
	sigaddset(&mask_before, SIGUSR1);
	check_thread();
	/* The next call begins with it. */
	OK(&w, call_for(2000 * MS));
	CHECK(is_pending(SIGUSR1) && handled == 0);
	block(SIG_UNBLOCK, SIGUSR1);
	CHECK_EQ(handled, 1);
	sigaction(SIGUSR1, &old, NULL);
	world_free(&w);
}

/* No room in the kernel to queue a real-time signal; standard ones need none. */
TEST_BOTH(interrupt__is_heard_without_room_for_signals)
{
	struct rlimit limit, none;
	void *was_heard = NULL;
	ready(kind, &good);
	/* Makes the timer, which has its own room, and ends what is not heard. */
	OK(&w, call_for(10000 * MS));
	w.machine->guest = &spinning;
	CHECK_EQ(getrlimit(RLIMIT_SIGPENDING, &limit), 0);
	none = limit;
	none.rlim_cur = 0;
	if (setrlimit(RLIMIT_SIGPENDING, &none) != 0)
		check_skip("cannot set the limit of pending signals");
	struct sender s = sender_start(w.sandbox);
	const uint64_t start = now_ns();
	int rc = call_for(3000 * MS);
	const uint64_t end = now_ns();
	CHECK_EQ(setrlimit(RLIMIT_SIGPENDING, &limit), 0);
	CHECK_EQ(pthread_join(s.thread, &was_heard), 0);
	mote_interrupt_unref(s.interrupt);
	CHECK_EQ(rc, MOTE_ECANCELED);
	CHECK(was_heard != NULL);
	CHECK(end - start < 2500 * MS);
	check_thread();
	CHECK(!is_pending(SIGSTKFLT));
	world_free(&w);
}

/* ---- threads whose numbers come again -------------------------------------------------------- */

struct numbered {
	pid_t wanted; /* 0: any */
	pid_t number;
	struct moved moved;
};

static void *call_as_number(void *cookie)
{
	struct numbered *n = cookie;
	n->number = gettid();
	return !n->wanted || n->number == n->wanted ? call_on_thread(&n->moved) : NULL;
}

static void set_next_number(pid_t number)
{
	char text[16];
	int len = snprintf(text, sizeof text, "%d", number - 1);
	int fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, (size_t)len) != len)
		check_skip("cannot choose the numbers of threads: %s", strerror(errno));
	close(fd);
}

/* A thread that calls; one that does not end is interrupted. */
static void run_numbered(struct numbered *n)
{
	pthread_t thread;
	struct timespec at;
	mote_interrupt *interrupt = mote_sandbox_interrupt(w.sandbox);
	CHECK_EQ(pthread_create(&thread, NULL, call_as_number, n), 0);
	clock_gettime(CLOCK_REALTIME, &at);
	at.tv_sec += 3;
	int rc = pthread_timedjoin_np(thread, NULL, &at);
	if (rc == ETIMEDOUT) {
		(void)mote_interrupt_send(interrupt);
		(void)pthread_join(thread, NULL);
	}
	mote_interrupt_unref(interrupt);
	CHECK_EQ(rc, 0);
}

TEST_BOTH(interrupt__a_timer_follows_to_a_thread_of_the_same_number)
{
	struct numbered first = {.moved = {.timeout_ns = 10000 * MS}};
	ready(kind, &good);
	run_numbered(&first);
	CHECK_EQ(first.moved.rc, MOTE_OK);
	w.machine->guest = &spinning;
	/* Another process may be given the number first, or the old thread not be quite gone. */
	struct numbered second = {.wanted = first.number, .moved = {.timeout_ns = 30 * MS}};
	for (unsigned i = 0; i < 50 && second.number != first.number; i++) {
		set_next_number(first.number);
		run_numbered(&second);
	}
	if (second.number != first.number)
		check_skip("the number of a thread did not come again");
	CHECK_EQ(second.moved.rc, MOTE_ECANCELED);
	CHECK(second.moved.is_clean);
	world_free(&w);
}

/* ---- pthread_cancel() ------------------------------------------------------------------------ */

static atomic_bool has_returned;

static void *call_while_to_be_canceled(void *cookie)
{
	struct moved *moved = cookie;
	pthread_cancel(pthread_self());
	(void)call_on_thread(moved);
	atomic_store(&has_returned, true);
	pthread_testcancel();
	return NULL;
}

/* No call is a cancellation point: it would leave the sandbox and the thread in the middle. */
TEST_BOTH(interrupt__a_thread_that_is_to_be_cancelled_leaves_its_call_first)
{
	const struct double_guest guest = {NULL, interrupt_and_halt, NULL};
	struct moved moved = {.timeout_ns = 10000 * MS};
	pthread_t thread;
	void *result = NULL;
	ready(kind, &guest);
	own = mote_sandbox_interrupt(w.sandbox);
	atomic_store(&has_returned, false);
	CHECK_EQ(pthread_create(&thread, NULL, call_while_to_be_canceled, &moved), 0);
	CHECK_EQ(pthread_join(thread, &result), 0);
	CHECK(result == PTHREAD_CANCELED);
	CHECK(atomic_load(&has_returned));
	CHECK(moved.rc == MOTE_OK && moved.is_clean);
	CHECK_EQ(mote_sandbox_state(w.sandbox), MOTE_STATE_READY);
	mote_interrupt_unref(own);
	world_free(&w);
}
