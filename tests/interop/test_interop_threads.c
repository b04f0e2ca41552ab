/* SPDX-License-Identifier: MIT */
/*
 * Threads that fork, call, take and restore a guest built with the published 0.15 guest crates, all
 * of them from the same snapshots at the same time.
 */
#include "rust_state.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>

#define THREADS 4u

/* A check in another thread would jump to the wrong stack: threads report by their text. */
struct worker {
	pthread_t thread;
	struct system *s;
	mote_snapshot *snapshots[2];
	const struct rust_state *states[2];
	unsigned number, lives;
	char text[800];
};

static bool say(struct worker *w, const char *what, const struct mote_error *err)
{
	(void)snprintf(w->text, sizeof w->text, "thread %u: %s: %s", w->number, what,
		       err ? err->message : "another value");
	return false;
}

static bool ask(struct worker *w, mote_sandbox *sandbox, const struct mote_call *call,
		uint64_t wanted)
{
	struct mote_value v = mote_void();
	struct mote_error err;
	if (mote_sandbox_call(sandbox, call, &v, &err) < 0)
		return say(w, call->function, &err);
	uint64_t got = v.type == MOTE_I32 ? (uint64_t)v.i32 : v.u64;
	return got == wanted || say(w, call->function, NULL);
}

static bool work_on(struct worker *w, mote_sandbox *sandbox, const struct rust_state *state)
{
	const int32_t pages = (int32_t)state->pages, own = (int32_t)w->number + 100;
	return ask(w, sandbox, CALL_OF("Count", MOTE_I32, mote_i32(0)), (uint64_t)state->count) &&
	       ask(w, sandbox, CALL_OF("SumPages", MOTE_U64, mote_i32(pages)),
		   rust_sum(state, state->pages)) &&
	       ask(w, sandbox, CALL_OF("Count", MOTE_I32, mote_i32(own)),
		   (uint64_t)(state->count + own)) &&
	       ask(w, sandbox, CALL_OF("FillPages", MOTE_I32, mote_i32(pages), mote_i32(own)),
		   state->pages) &&
	       ask(w, sandbox, CALL_OF("SumPages", MOTE_U64, mote_i32(pages)),
		   (uint64_t)(pages * own + pages * (pages - 1) / 2));
}

static bool live(struct worker *w, unsigned life)
{
	struct mote_error err;
	mote_sandbox *sandbox = NULL;
	mote_snapshot *child = NULL;
	const unsigned one = (life + w->number) % 2;
	if (mote_sandbox_create(w->s->engine, w->snapshots[one], w->s->host, NULL, &sandbox, &err) <
	    0)
		return say(w, "create", &err);
	bool is_good = work_on(w, sandbox, w->states[one]);
	if (is_good && mote_snapshot_take(sandbox, NULL, &child, &err) < 0)
		is_good = say(w, "take", &err);
	for (unsigned i = 0; i < 2 && is_good; i++) {
		const unsigned to = (one + i + 1) % 2;
		is_good = mote_sandbox_restore(sandbox, w->snapshots[to], NULL, &err) == MOTE_OK
				  ? work_on(w, sandbox, w->states[to])
				  : say(w, "restore", &err);
	}
	if (is_good)
		is_good =
			mote_sandbox_restore(sandbox, child, NULL, &err) == MOTE_OK
				? ask(w, sandbox, CALL_OF("Count", MOTE_I32, mote_i32(0)),
				      (uint64_t)(w->states[one]->count + (int32_t)w->number + 100))
				: say(w, "restore of a child", &err);
	mote_sandbox_destroy(sandbox);
	mote_snapshot_unref(child);
	return is_good;
}

static void *work(void *cookie)
{
	struct worker *w = cookie;
	for (unsigned life = 0; life < w->lives; life++)
		if (!live(w, life))
			break;
	return NULL;
}

TEST(interop_threads__forks_in_many_threads)
{
	static struct worker workers[THREADS];
	struct system s;
	struct rust_state first = {0}, second;
	RUST(&s);
	rust_count(&s, &first, 11);
	rust_fill(&s, &first, 12, 70);
	mote_snapshot *a = take(&s);
	second = first;
	rust_count(&s, &second, 5);
	rust_fill(&s, &second, 20, 3);
	mote_snapshot *b = take(&s);
	for (unsigned i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){.s = &s,
					     .snapshots = {a, b},
					     .states = {&first, &second},
					     .number = i,
					     .lives = system_is_nested() ? 8 : 2};
		CHECK(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		CHECK(pthread_join(workers[i].thread, NULL) == 0);
	for (unsigned i = 0; i < THREADS; i++)
		CHECK_STR(workers[i].text, "");
	rust_check(&s, &second);
	mote_snapshot_unref(a);
	mote_snapshot_unref(b);
	system_close(&s);
}
