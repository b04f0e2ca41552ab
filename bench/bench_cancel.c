/* SPDX-License-Identifier: MIT */
/*
 * How long does it take from an interrupt, sent by another thread, until the caller of a guest that
 * loops has the error? Against a signal that ends KVM_RUN of a machine that loops. The sender runs
 * on another processor. The signal is then still pending, and must be taken by any program that
 * goes on: what that takes is not part of the floor, and told apart.
 */
#define _GNU_SOURCE
#include "lib.h"
#include "raw.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 400, SETTLE_US = 200 };

/* The runner counts up turn when the guest is about to loop; the sender answers each. */
struct sender {
	pthread_t thread;
	pid_t runner;
	int signal_number;
	atomic_uint turn, ended, answered;
	mote_interrupt *_Atomic interrupt; /* the sender's; NULL: signal the raw machine's thread */
	atomic_bool is_sent;
	_Atomic double sent;
};

static void wait_until(double at)
{
	while (mote__bench_now() < at)
		;
}

static void send_one(struct sender *s, unsigned turn)
{
	mote_interrupt *interrupt = atomic_load(&s->interrupt);
	wait_until(mote__bench_now() + SETTLE_US);
	if (!interrupt) {
		atomic_store(&s->sent, mote__bench_now());
		(void)tgkill(getpid(), s->runner, s->signal_number);
		return;
	}
	bool is_sent = false;
	while (!is_sent && atomic_load(&s->ended) != turn) {
		atomic_store(&s->sent, mote__bench_now());
		is_sent = mote_interrupt_send(interrupt);
	}
	atomic_store(&s->is_sent, is_sent);
	mote_interrupt_unref(interrupt);
}

static void *send_all(void *cookie)
{
	struct sender *s = cookie;
	(void)mote__bench_pin(0);
	for (unsigned turn = 1; turn <= 2 * ROUNDS; turn++) {
		while (atomic_load(&s->turn) != turn) {
			const struct timespec moment = {.tv_nsec = 50000};
			(void)nanosleep(&moment, NULL);
		}
		send_one(s, turn);
		atomic_store(&s->answered, turn);
	}
	return NULL;
}

/* The sender has finished with this turn. */
static void wait_for_sender(const struct sender *s)
{
	while (atomic_load(&s->answered) != atomic_load(&s->turn))
		;
}

/* No sample when the signal came before guest code ran. */
static void cancel_sandbox(const struct mote__bench *bench, struct sender *s,
			   struct mote__bench_series *times)
{
	struct mote_error err = {0};
	mote_sandbox *sandbox = mote__bench_sandbox(bench);
	mote__bench_check(mote_sandbox_start(sandbox, 0, &err), &err, "start");
	atomic_store(&s->interrupt, mote_sandbox_interrupt(sandbox));
	atomic_fetch_add(&s->turn, 1);
	int rc = MOTE_CALL(sandbox, "spin", NULL, &err, MOTE_VOID);
	double end = mote__bench_now();
	if (rc != MOTE_ECANCELED)
		mote__bench_fail("spin: %s: %s", mote_code_name(rc), err.message);
	atomic_store(&s->ended, atomic_load(&s->turn));
	wait_for_sender(s);
	if (atomic_load(&s->is_sent))
		mote__bench_add(times, end - atomic_load(&s->sent));
	mote_sandbox_destroy(sandbox);
}

static void cancel_raw(const struct mote__raw *raw, struct sender *s,
		       struct mote__bench_series *times, struct mote__bench_series *taking)
{
	const struct timespec now = {0};
	struct mote__raw_machine machine;
	sigset_t set;
	(void)sigemptyset(&set);
	(void)sigaddset(&set, s->signal_number);
	mote__raw_create(raw, &machine);
	mote__raw_run(raw, &machine, 0);
	atomic_store(&s->interrupt, NULL);
	atomic_fetch_add(&s->turn, 1);
	mote__raw_spin(raw, &machine);
	double end = mote__bench_now();
	(void)sigtimedwait(&set, NULL, &now);
	mote__bench_add(taking, mote__bench_now() - end);
	wait_for_sender(s);
	mote__bench_add(times, end - atomic_load(&s->sent));
	mote__raw_destroy(raw, &machine);
}

static void start_sender(struct sender *s)
{
	sigset_t set;
	(void)sigemptyset(&set);
	(void)sigaddset(&set, s->signal_number);
	(void)pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (pthread_create(&s->thread, NULL, send_all, s) != 0)
		mote__bench_fail("no second thread");
}

int main(int count, char **arguments)
{
	struct mote__bench bench;
	struct mote__raw raw;
	struct sender sender = {.runner = gettid(), .signal_number = SIGRTMIN};
	if (mote__bench_pin(1) < 2)
		mote__bench_skip("needs two processors");
	mote__bench_open(&bench, mote__bench_directory(count, arguments), "bench.guest", NULL);
	mote__raw_open_small(&raw);
	start_sender(&sender);
	struct mote__bench_series cancel = mote__bench_series(ROUNDS);
	struct mote__bench_series floor = mote__bench_series(ROUNDS);
	struct mote__bench_series taking = mote__bench_series(ROUNDS);
	for (int i = 0; i < ROUNDS; i++) {
		cancel_sandbox(&bench, &sender, &cancel);
		cancel_raw(&raw, &sender, &floor, &taking);
	}
	(void)pthread_join(sender.thread, NULL);
	double least = mote__bench_median(&floor);
	char detail[64];
	(void)snprintf(detail, sizeof detail, "\"raw_taking_us\":%.2f",
		       mote__bench_median(&taking));
	mote__bench_report(&(struct mote__bench_answer){.name = "cancel",
							.unit = "us",
							.floor = least,
							.limit = 1.10 * least,
							.detail = detail},
			   &cancel);
	mote__bench_free(&cancel);
	mote__bench_free(&floor);
	mote__bench_free(&taking);
	mote__raw_close(&raw);
	mote__bench_close(&bench);
	return 0;
}
