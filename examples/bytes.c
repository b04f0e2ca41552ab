/* SPDX-License-Identifier: MIT */
/*
 * Bytes in, bytes out: a decoder of untrusted data, which is what sandboxes are for. Results are
 * borrowed from the sandbox; what must live longer is copied.
 *
 *	cc bytes.c $(pkg-config --cflags --libs mote) -o bytes
 *	mote-cc -O2 guests/bytes_guest.c -o bytes.guest
 *	./bytes bytes.guest
 */
#include <mote.h>
#include <stdio.h>
#include <string.h>

static int run(mote_sandbox *sandbox, struct mote_error *err)
{
	static unsigned char picture[100000];
	struct mote_value packed, kept = mote_void(), plain;
	memset(picture + 30000, 0xFF, 40000);

	int rc = MOTE_CALL(sandbox, "pack", &packed, err, MOTE_BYTES,
			   mote_bytes(picture, sizeof picture));
	if (rc == MOTE_OK) /* the next call ends the life of packed, but not of its copy */
		rc = mote_value_copy(&packed, &kept, err);
	if (rc == MOTE_OK)
		rc = MOTE_CALL(sandbox, "unpack", &plain, err, MOTE_BYTES, kept);
	if (rc == MOTE_OK) {
		int is_same = plain.bytes.len == sizeof picture &&
			      memcmp(plain.bytes.data, picture, sizeof picture) == 0;
		printf("%zu bytes, packed %zu, unpacked %s\n", sizeof picture, kept.bytes.len,
		       is_same ? "the same" : "something else");
	}
	mote_value_free(&kept);
	if (rc != MOTE_OK)
		return rc;

	rc = MOTE_CALL(sandbox, "unpack", &plain, err, MOTE_BYTES, mote_bytes("\1x\2", 3));
	printf("damaged bytes: %s\n", rc == MOTE_OK ? "unpacked" : err->message);
	return MOTE_OK;
}

int main(int argc, char **argv)
{
	/* Arguments and results pass through these buffers and must fit them. */
	struct mote_snapshot_options options = {.size = sizeof options};
	options.input_bytes = options.output_bytes = 128 << 10;
	options.heap_bytes = 1 << 20;
	struct mote_error err = {0};
	mote_engine *engine = NULL;
	mote_snapshot *image = NULL;
	mote_host *host = NULL;
	mote_sandbox *sandbox = NULL;

	int rc = mote_engine_create(NULL, &engine, &err);
	if (rc == MOTE_OK)
		rc = mote_snapshot_from_file(argc > 1 ? argv[1] : "bytes.guest", &options, &image,
					     &err);
	if (rc == MOTE_OK)
		rc = mote_host_create(&host, &err);
	if (rc == MOTE_OK)
		rc = mote_sandbox_create(engine, image, host, NULL, &sandbox, &err);
	if (rc == MOTE_OK)
		rc = run(sandbox, &err);
	if (rc != MOTE_OK)
		fprintf(stderr, "bytes: %s\n", err.message);
	mote_sandbox_destroy(sandbox);
	mote_host_unref(host);
	mote_snapshot_unref(image);
	mote_engine_unref(engine);
	return rc == MOTE_OK ? 0 : 1;
}
