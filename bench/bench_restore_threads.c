/* SPDX-License-Identifier: MIT */
/*
 * Do two threads, each on its own processor with its own sandbox of one snapshot, restore and call
 * twice as often as one? The floor is what two machines on bare KVM do against one: the hardware's
 * and the kernel's own share.
 */
#include <pthread.h>
#include <stdio.h>

#include "raw.h"
#include "snap.h"

#define MIB 0x100000ull

enum { ROUNDS = 60, CALLS = 300, DROPPED = 20, PAGES = 4, THREADS = 2 };

struct worker {
	pthread_t thread;
	unsigned index;
	struct crew *crew;
	mote_sandbox *sandbox;
	struct mote__raw_machine machine;
	double rate; /* of the last turn, a microsecond */
};

/* Who works in a turn, and at what; all wait for each other before and after. */
struct crew {
	pthread_barrier_t start, end;
	struct worker worker[THREADS];
	const struct mote__raw *raw;
	mote_snapshot *snapshot;
	unsigned working; /* bits of workers */
	bool is_raw, is_over;
};

static void work_once(struct worker *w)
{
	if (w->crew->is_raw) {
		mote__raw_fill(w->crew->raw, &w->machine);
		mote__raw_store(w->crew->raw, &w->machine);
	} else {
		mote__bench_restore(w->sandbox, w->crew->snapshot);
		mote__bench_touch(w->sandbox, 0, PAGES);
	}
}

static void *work(void *cookie)
{
	struct worker *w = cookie;
	(void)mote__bench_pin(w->index);
	for (;;) {
		(void)pthread_barrier_wait(&w->crew->start);
		if (w->crew->is_over)
			return NULL;
		w->rate = 0;
		if (w->crew->working & 1u << w->index) {
			for (int i = 0; i < DROPPED; i++)
				work_once(w);
			double start = mote__bench_now();
			for (int i = 0; i < CALLS; i++)
				work_once(w);
			w->rate = CALLS / (mote__bench_now() - start);
		}
		(void)pthread_barrier_wait(&w->crew->end);
	}
}

/* Calls a microsecond of those that work. */
static double turn(struct crew *crew, unsigned working, bool is_raw)
{
	double rate = 0;
	crew->working = working;
	crew->is_raw = is_raw;
	(void)pthread_barrier_wait(&crew->start);
	(void)pthread_barrier_wait(&crew->end);
	for (int i = 0; i < THREADS; i++)
		rate += crew->worker[i].rate;
	return rate;
}

static void start(struct crew *crew, const struct mote__bench *bench)
{
	(void)pthread_barrier_init(&crew->start, NULL, THREADS + 1);
	(void)pthread_barrier_init(&crew->end, NULL, THREADS + 1);
	for (unsigned i = 0; i < THREADS; i++) {
		struct worker *w = &crew->worker[i];
		*w = (struct worker){.index = i,
				     .crew = crew,
				     .sandbox = mote__bench_fork(bench, crew->snapshot)};
		mote__bench_warm(w->sandbox, crew->snapshot, PAGES);
		mote__raw_create(crew->raw, &w->machine);
		if (pthread_create(&w->thread, NULL, work, w) != 0)
			mote__bench_fail("no thread");
	}
}

static void stop(struct crew *crew)
{
	crew->is_over = true;
	(void)pthread_barrier_wait(&crew->start);
	for (int i = 0; i < THREADS; i++) {
		(void)pthread_join(crew->worker[i].thread, NULL);
		mote_sandbox_destroy(crew->worker[i].sandbox);
		mote__raw_destroy(crew->raw, &crew->worker[i].machine);
	}
	(void)pthread_barrier_destroy(&crew->start);
	(void)pthread_barrier_destroy(&crew->end);
}

/* Both together against the mean of each alone. */
static void measure(struct crew *crew, bool is_raw, struct mote__bench_series *ratio,
		    struct mote__bench_series *alone)
{
	double one = (turn(crew, 1, is_raw) + turn(crew, 2, is_raw)) / 2;
	mote__bench_add(ratio, turn(crew, 3, is_raw) / one);
	if (alone)
		mote__bench_add(alone, 1 / one);
}

int main(int count, char **arguments)
{
	const char *directory = mote__bench_directory(count, arguments);
	struct mote__bench bench;
	struct mote__raw raw;
	if (mote__bench_pin(1) < THREADS)
		mote__bench_skip("needs two processors");
	mote__bench_open_engine(&bench, MOTE_POOL_NONE);
	struct mote__bench_filled filled = mote__bench_fill(&bench, directory, MIB, 0);
	struct crew crew = {.raw = &raw, .snapshot = filled.snapshot};
	mote__raw_open_pages(&raw, PAGES);
	start(&crew, &bench);
	struct mote__bench_series ours = mote__bench_series(ROUNDS);
	struct mote__bench_series raws = mote__bench_series(ROUNDS);
	struct mote__bench_series alone = mote__bench_series(ROUNDS);
	for (int i = 0; i < ROUNDS; i++) {
		measure(&crew, false, &ours, &alone);
		measure(&crew, true, &raws, NULL);
	}
	stop(&crew);
	char detail[64];
	(void)snprintf(detail, sizeof detail, "\"one_thread_us\":%.2f", mote__bench_median(&alone));
	mote__bench_report(&(struct mote__bench_answer){.name = "restore_threads",
							.unit = "times",
							.floor = mote__bench_median(&raws),
							.limit = 1.9,
							.is_least = true,
							.detail = detail},
			   &ours);
	mote__bench_free(&ours);
	mote__bench_free(&raws);
	mote__bench_free(&alone);
	mote__raw_close(&raw);
	mote_snapshot_unref(filled.snapshot);
	mote__bench_close(&bench);
	return 0;
}
