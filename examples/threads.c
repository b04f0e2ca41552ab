/* SPDX-License-Identifier: MIT */
/*
 * Two threads, each with a sandbox of its own from one image: engine, image and host are shared,
 *the guests' memory is not. The host function learns from user_data which sandbox calls it.
 *
 *	cc threads.c $(pkg-config --cflags --libs mote) -pthread -o threads
 *	mote-cc -O2 guests/threads_guest.c -o threads.guest
 *	./threads threads.guest
 */
#include <mote.h>
#include <pthread.h>
#include <stdio.h>

struct worker {
	pthread_t thread;
	mote_engine *engine;
	mote_snapshot *image;
	mote_host *host;
	int64_t step, sum, reports;
	struct mote_error err;
};

static int progress(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	struct worker *worker = mote_reply_user_data(reply);
	(void)cookie;
	(void)arguments;
	worker->reports++; /* on the worker's own thread: no lock */
	return 0;
}

static void *work(void *argument)
{
	struct worker *worker = argument;
	struct mote_sandbox_options options = {.size = sizeof options, .user_data = worker};
	struct mote_value sum = mote_i64(0);
	mote_sandbox *sandbox = NULL;
	int rc = mote_sandbox_create(worker->engine, worker->image, worker->host, &options,
				     &sandbox, &worker->err);
	for (int64_t n = 0; n < 1000 && rc == MOTE_OK; n++)
		rc = MOTE_CALL(sandbox, "add", &sum, &worker->err, MOTE_I64,
			       mote_i64(n * worker->step));
	worker->sum = sum.i64;
	mote_sandbox_destroy(sandbox);
	return NULL;
}

int main(int argc, char **argv)
{
	const char *guest = argc > 1 ? argv[1] : "threads.guest";
	struct mote_error err = {0};
	mote_engine *engine = NULL;
	mote_snapshot *image = NULL;
	mote_host *host = NULL;

	/* MOTE_OK is 0, so the first failure ends the chain. */
	int failed = mote_engine_create(NULL, &engine, &err) ||
		     mote_snapshot_from_file(guest, NULL, &image, &err) ||
		     mote_host_create(&host, &err) ||
		     MOTE_HOST_ADD(host, "progress", progress, NULL, &err, MOTE_VOID, MOTE_I64);
	if (failed)
		fprintf(stderr, "threads: %s\n", err.message);
	struct worker workers[] = {{.engine = engine, .image = image, .host = host, .step = 1},
				   {.engine = engine, .image = image, .host = host, .step = 10}};
	int started = 0;
	for (; started < 2 && !failed; started += !failed)
		failed = pthread_create(&workers[started].thread, NULL, work, &workers[started]);
	for (int i = 0; i < started; i++) {
		pthread_join(workers[i].thread, NULL);
		printf("thread %d: sum %lld, %lld reports %s\n", i, (long long)workers[i].sum,
		       (long long)workers[i].reports, workers[i].err.message);
		failed |= workers[i].err.code != MOTE_OK;
	}
	mote_host_unref(host);
	mote_snapshot_unref(image);
	mote_engine_unref(engine);
	return failed;
}
