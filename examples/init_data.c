/* SPDX-License-Identifier: MIT */
/*
 * Data that comes with the image: every sandbox sees it in its memory, read-only and shared,
 *however large it is. Nothing is copied for a call.
 *
 *	cc init_data.c $(pkg-config --cflags --libs mote) -o init_data
 *	mote-cc -O2 guests/init_data_guest.c -o init_data.guest
 *	./init_data init_data.guest
 */
#include <mote.h>
#include <stdio.h>

static const char dictionary[] = "mote=a very small piece of something\n"
				 "guest=the program inside\n"
				 "host=the application around it\n";

static int look_up(mote_sandbox *sandbox, const char *word, struct mote_error *err)
{
	struct mote_value meaning;
	int rc = MOTE_CALL(sandbox, "meaning", &meaning, err, MOTE_STRING, mote_string(word));
	if (rc == MOTE_OK)
		printf("%s: %s\n", word, meaning.string.data);
	else if (rc == MOTE_EGUEST) /* the function said so; the sandbox can be called again */
		printf("%s: %s\n", word, err->message);
	return rc == MOTE_EGUEST ? MOTE_OK : rc;
}

int main(int argc, char **argv)
{
	struct mote_snapshot_options options = {.size = sizeof options};
	options.init_data = dictionary; /* copied into the snapshot */
	options.init_data_bytes = sizeof dictionary - 1;
	struct mote_error err = {0};
	mote_engine *engine = NULL;
	mote_snapshot *image = NULL;
	mote_host *host = NULL;
	mote_sandbox *sandbox = NULL;
	struct mote_value count;

	int rc = mote_engine_create(NULL, &engine, &err);
	if (rc == MOTE_OK)
		rc = mote_snapshot_from_file(argc > 1 ? argv[1] : "init_data.guest", &options,
					     &image, &err);
	if (rc == MOTE_OK)
		rc = mote_host_create(&host, &err);
	if (rc == MOTE_OK)
		rc = mote_sandbox_create(engine, image, host, NULL, &sandbox, &err);
	if (rc == MOTE_OK)
		rc = MOTE_CALL(sandbox, "count", &count, &err, MOTE_I32);
	if (rc == MOTE_OK)
		printf("%d words\n", count.i32);
	if (rc == MOTE_OK)
		rc = look_up(sandbox, "mote", &err);
	if (rc == MOTE_OK)
		rc = look_up(sandbox, "container", &err);
	if (rc != MOTE_OK)
		fprintf(stderr, "init_data: %s\n", err.message);
	mote_sandbox_destroy(sandbox);
	mote_host_unref(host);
	mote_snapshot_unref(image);
	mote_engine_unref(engine);
	return rc == MOTE_OK ? 0 : 1;
}
