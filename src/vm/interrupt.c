/* SPDX-License-Identifier: MIT */
/*
 * Ending a call from outside: interrupts and timeouts.
 *
 * The engine's signal is blocked in the thread for as long as it is in a call, and unblocked only
 * inside KVM_RUN, by the virtual processor's own mask. So no handler is needed, system calls of the
 * application are never interrupted, and a signal that comes a moment too early ends the next entry
 * at once. A sender looks at the thread and signals it under the lock under which the runner takes
 * the thread away: no signal reaches a thread that left.
 *
 * A call that nobody can end (no timeout, and nobody has the interrupt object) leaves the thread's
 * signals alone: the two system calls would be a hundredth of its time.
 *
 * Who is meant by a signal is never read from the signal: is_canceled and the clock tell. A signal
 * for an outer sandbox that an inner one takes is thus not lost.
 */
#define _GNU_SOURCE
#include "vm/objects.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"
#include "base/sys.h"

int mote__interrupt_create(int signal_number, mote_interrupt **interrupt, struct mote_error *err)
{
	mote_interrupt *i = mote__alloc(1, sizeof *i);
	if (!i)
		return mote__fail(err, MOTE_ENOMEM, "out of memory");
	i->references = 1;
	i->signal_number = signal_number;
	i->process = getpid();
	(void)pthread_mutex_init(&i->lock, NULL);
	*interrupt = i;
	return MOTE_OK;
}

void mote_interrupt_unref(mote_interrupt *interrupt)
{
	if (!interrupt ||
	    atomic_fetch_sub_explicit(&interrupt->references, 1, memory_order_acq_rel) != 1)
		return;
	(void)pthread_mutex_destroy(&interrupt->lock);
	mote__free(interrupt);
}

/* Sent in place of the engine's signal when the kernel has no room to queue that one: a standard
 * signal needs none. Nothing in Linux sends it (signal(7)). */
#define SPARE_SIGNAL SIGSTKFLT

/* pthread_kill() blocks all signals around the one system call that matters, and is twice as slow
 * for it. The number of a thread is in the identifier of its clock (the kernel's CPUCLOCK_PID); the
 * thread is there, because it takes itself away under the lock. */
static bool signal_thread(const mote_interrupt *interrupt)
{
	clockid_t clock;
	if (pthread_getcpuclockid(interrupt->thread, &clock) != 0)
		return false;
	pid_t thread = (pid_t) ~(clock >> 3);
	return tgkill(interrupt->process, thread, interrupt->signal_number) == 0 ||
	       tgkill(interrupt->process, thread, SPARE_SIGNAL) == 0;
}

int mote_interrupt_send(mote_interrupt *interrupt)
{
	int was_running = 0;
	(void)pthread_mutex_lock(&interrupt->lock);
	if (interrupt->is_in_call) {
		interrupt->is_canceled = true;
		/* One signal is enough: the call ends when it comes. */
		if (interrupt->is_in_guest) {
			interrupt->is_sent = interrupt->is_sent || signal_thread(interrupt);
			was_running = interrupt->is_sent;
		}
	}
	(void)pthread_mutex_unlock(&interrupt->lock);
	return was_running;
}

/* ---- the runner's side ----------------------------------------------------------------------- */

static sigset_t set_of(int signal_number)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, signal_number);
	sigaddset(&set, SPARE_SIGNAL);
	return set;
}

/* Take the signal if it is pending. The C library's sigtimedwait() is a cancellation point: a
 * thread must not unwind out of a call. */
static bool take(int signal_number)
{
	const struct timespec now = {0};
	const sigset_t set = set_of(signal_number);
	long rc;
	do
		rc = syscall(SYS_rt_sigtimedwait, &set, NULL, &now, 8);
	while (rc < 0 && errno == EINTR);
	return rc >= 0;
}

/* Take the signal until none is pending. */
static void drain(int signal_number)
{
	while (take(signal_number))
		;
}

/* The virtual processor runs with the thread's own mask, less the signal. */
static int sync_machine_mask(mote_sandbox *sandbox, const sigset_t *old, struct mote_error *err)
{
	sigset_t mask = *old;
	sigdelset(&mask, sandbox->interrupt->signal_number);
	sigdelset(&mask, SPARE_SIGNAL);
	if (sandbox->has_machine_mask && memcmp(&mask, &sandbox->machine_mask, 8) == 0)
		return MOTE_OK;
	int rc = sandbox->machine->ops->set_signal_mask(sandbox->machine, &mask, err);
	if (rc < 0)
		return rc;
	sandbox->machine_mask = mask;
	sandbox->has_machine_mask = true;
	return MOTE_OK;
}

/* A number of this thread that no other thread of the process ever has: a pthread_t, and even the
 * kernel's number, is given to later threads again. */
static uint64_t thread_number(void)
{
	static _Atomic uint64_t last;
	static _Thread_local uint64_t own;
	if (!own)
		own = atomic_fetch_add(&last, 1) + 1;
	return own;
}

/* The timer signals one thread; a sandbox that moved needs another. */
static int sync_timer(mote_sandbox *sandbox, struct mote_error *err)
{
	uint64_t self = thread_number();
	if (sandbox->has_timer && sandbox->timer_thread == self)
		return MOTE_OK;
	if (sandbox->has_timer)
		(void)timer_delete(sandbox->timer);
	sandbox->has_timer = false;
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID,
				 .sigev_signo = sandbox->interrupt->signal_number};
	event._sigev_un._tid = gettid();
	if (timer_create(CLOCK_MONOTONIC, &event, &sandbox->timer) < 0)
		return mote__fail_system(err, errno == EAGAIN ? MOTE_ENOMEM : MOTE_ESYSTEM, errno,
					 "timer_create");
	sandbox->timer_thread = self;
	sandbox->has_timer = true;
	return MOTE_OK;
}

static int arm(mote_sandbox *sandbox, uint64_t timeout_ns, struct mote__run_guard *guard,
	       struct mote_error *err)
{
	int rc = sync_timer(sandbox, err);
	if (rc < 0)
		return rc;
	uint64_t now = mote__sys_monotonic_ns();
	uint64_t limit = (uint64_t)INT64_MAX;
	guard->deadline_ns = timeout_ns < limit - now ? now + timeout_ns : limit;
	const struct itimerspec at = {
		.it_value = {.tv_sec = (time_t)(guard->deadline_ns / 1000000000u),
			     .tv_nsec = (long)(guard->deadline_ns % 1000000000u)}};
	if (timer_settime(sandbox->timer, TIMER_ABSTIME, &at, NULL) < 0)
		return mote__fail_system(err, MOTE_ESYSTEM, errno, "timer_settime");
	guard->is_timer_armed = true;
	return MOTE_OK;
}

/* Unblock what was not blocked before. The rest of the mask may be a host function's doing by now.
 */
static void unblock(const mote_interrupt *interrupt, const struct mote__run_guard *guard)
{
	sigset_t set;
	sigemptyset(&set);
	if (!sigismember(&guard->old_mask, interrupt->signal_number))
		sigaddset(&set, interrupt->signal_number);
	if (!sigismember(&guard->old_mask, SPARE_SIGNAL))
		sigaddset(&set, SPARE_SIGNAL);
	(void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

/* From here to the end of the call its thread can be signalled. */
static int mask_thread(mote_sandbox *sandbox, struct mote__run_guard *guard, struct mote_error *err)
{
	mote_interrupt *interrupt = sandbox->interrupt;
	const sigset_t set = set_of(interrupt->signal_number);
	(void)pthread_sigmask(SIG_BLOCK, &set, &guard->old_mask);
	int rc = sync_machine_mask(sandbox, &guard->old_mask, err);
	if (rc < 0) {
		unblock(interrupt, guard);
		return rc;
	}
	guard->is_masked = true;
	(void)pthread_mutex_lock(&interrupt->lock);
	interrupt->thread = pthread_self();
	interrupt->is_in_call = true;
	interrupt->is_in_guest = interrupt->is_canceled = interrupt->is_sent = false;
	(void)pthread_mutex_unlock(&interrupt->lock);
	return MOTE_OK;
}

mote_interrupt *mote_sandbox_interrupt(mote_sandbox *sandbox)
{
	mote_interrupt *interrupt = sandbox->interrupt;
	interrupt->is_wanted = true;
	/* Asked for by a host function: the rest of this call can be ended. If the machine refuses,
	 * the next call can. */
	if (sandbox->guard && !sandbox->guard->is_masked)
		(void)mask_thread(sandbox, sandbox->guard, NULL);
	atomic_fetch_add_explicit(&interrupt->references, 1, memory_order_relaxed);
	return interrupt;
}

int mote__guard_begin(mote_sandbox *sandbox, uint64_t timeout_ns, struct mote__run_guard *guard,
		      struct mote_error *err)
{
	guard->deadline_ns = 0;
	guard->is_timer_armed = guard->is_masked = false;
	int rc = MOTE_OK;
	/* A machine that has a mask needs that of this thread. */
	if (timeout_ns || sandbox->interrupt->is_wanted || sandbox->has_machine_mask)
		rc = mask_thread(sandbox, guard, err);
	if (rc == MOTE_OK && timeout_ns)
		rc = arm(sandbox, timeout_ns, guard, err);
	if (rc < 0) {
		mote__guard_end(sandbox, guard);
		return rc;
	}
	sandbox->guard = guard;
	return MOTE_OK;
}

void mote__guard_end(mote_sandbox *sandbox, struct mote__run_guard *guard)
{
	mote_interrupt *interrupt = sandbox->interrupt;
	sandbox->guard = NULL;
	if (!guard->is_masked)
		return;
	(void)pthread_mutex_lock(&interrupt->lock);
	interrupt->is_in_call = false;
	bool is_sent = interrupt->is_sent;
	(void)pthread_mutex_unlock(&interrupt->lock);
	if (guard->is_timer_armed) {
		const struct itimerspec never = {0};
		(void)timer_settime(sandbox->timer, 0, &never, NULL);
	}
	/* A timer fires at most once, and a call is signalled at most once. */
	if (guard->is_timer_armed)
		drain(interrupt->signal_number);
	else if (is_sent)
		(void)take(interrupt->signal_number);
	unblock(interrupt, guard);
}

/* Whether the call was cancelled; if not, guest code counts as running from here on. */
static bool enter(mote_interrupt *interrupt, const struct mote__run_guard *guard)
{
	bool is_late = guard->deadline_ns && mote__sys_monotonic_ns() >= guard->deadline_ns;
	(void)pthread_mutex_lock(&interrupt->lock);
	bool is_canceled = is_late || interrupt->is_canceled;
	interrupt->is_in_guest = !is_canceled;
	(void)pthread_mutex_unlock(&interrupt->lock);
	return is_canceled;
}

/* Whether the call has been cancelled. */
static bool leave(mote_interrupt *interrupt)
{
	(void)pthread_mutex_lock(&interrupt->lock);
	interrupt->is_in_guest = false;
	bool is_canceled = interrupt->is_canceled;
	(void)pthread_mutex_unlock(&interrupt->lock);
	return is_canceled;
}

/* An entry was interrupted and the call goes on. If it was by a signal that a host function has
 * blocked meanwhile, that must be blocked inside, too, or it would interrupt for ever. */
static int resume(mote_sandbox *sandbox)
{
	sigset_t now;
	drain(sandbox->interrupt->signal_number);
	(void)pthread_sigmask(SIG_BLOCK, NULL, &now);
	return sync_machine_mask(sandbox, &now, NULL) < 0 ? -EIO : 0;
}

bool mote__guard_run(mote_sandbox *sandbox, const struct mote__run_guard *guard,
		     const struct mote__general *general, struct mote__exit *exit, int *rc)
{
	struct mote__machine *machine = sandbox->machine;
	for (;;) {
		bool is_masked = guard->is_masked, is_canceled = false;
		if (is_masked && enter(sandbox->interrupt, guard))
			return true;
		*rc = machine->ops->run(machine, general, exit);
		if (is_masked)
			is_canceled = leave(sandbox->interrupt);
		if (*rc < 0 || exit->kind != MOTE__EXIT_INTERRUPTED)
			return false;
		sandbox->statistics.exits_interrupted++;
		/* The signal is taken at the end of the call. */
		if (is_canceled)
			return true;
		/* Registers that were given are the processor's by now. */
		general = NULL;
		*rc = is_masked ? resume(sandbox) : 0;
		if (*rc < 0)
			return false;
	}
}
