/* SPDX-License-Identifier: MIT */
/*
 * The smallest whole program: load a guest, call two of its functions.
 *
 *	cc hello.c $(pkg-config --cflags --libs mote) -o hello
 *	mote-cc -O2 guests/hello_guest.c -o hello.guest
 *	./hello hello.guest
 */
#include <mote.h>
#include <stdio.h>

int main(int argc, char **argv)
{
	struct mote_error err = {0};
	mote_engine *engine = NULL;
	mote_snapshot *image = NULL;
	mote_host *host = NULL;
	mote_sandbox *sandbox = NULL;
	struct mote_value sum, greeting;

	int rc = mote_engine_create(NULL, &engine, &err);
	if (rc == MOTE_OK)
		rc = mote_snapshot_from_file(argc > 1 ? argv[1] : "hello.guest", NULL, &image,
					     &err);
	if (rc == MOTE_OK)
		rc = mote_host_create(&host, &err);
	if (rc == MOTE_OK)
		rc = mote_sandbox_create(engine, image, host, NULL, &sandbox, &err);

	/* The type is the one that we expect back; another one would be an error. */
	if (rc == MOTE_OK)
		rc = MOTE_CALL(sandbox, "add", &sum, &err, MOTE_I32, mote_i32(2), mote_i32(3));
	if (rc == MOTE_OK)
		printf("2 + 3 = %d\n", sum.i32);
	if (rc == MOTE_OK)
		rc = MOTE_CALL(sandbox, "greet", &greeting, &err, MOTE_STRING, mote_string("you"));
	if (rc == MOTE_OK)
		printf("%s\n", greeting.string.data); /* borrowed until the next call */

	if (rc != MOTE_OK)
		fprintf(stderr, "hello: %s\n", err.message);
	mote_sandbox_destroy(sandbox); /* all of these take NULL */
	mote_host_unref(host);
	mote_snapshot_unref(image);
	mote_engine_unref(engine);
	return rc == MOTE_OK ? 0 : 1;
}
