/* SPDX-License-Identifier: MIT */
/*
 * A guest calls the application: a host function with typed arguments, which can fail.
 *
 *	cc host_function.c $(pkg-config --cflags --libs mote) -o host_function
 *	mote-cc -O2 guests/host_function_guest.c -o host_function.guest
 *	./host_function host_function.guest
 */
#include <mote.h>
#include <stdio.h>
#include <string.h>

struct item {
	const char *name;
	double price;
};

/* Runs on the thread that called the guest. The argument was checked: one valid UTF-8 string. */
static int price(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	const char *name = arguments[0].string.data;
	for (const struct item *item = cookie; item->name; item++)
		if (strcmp(item->name, name) == 0)
			return mote_reply_f64(reply, item->price);
	return mote_reply_error(reply, "there is no item %s", name);
}

static int run(mote_sandbox *sandbox, struct mote_error *err)
{
	struct mote_value total, sold;
	int rc = MOTE_CALL(sandbox, "total", &total, err, MOTE_F64, mote_string("apple"),
			   mote_i32(4));
	if (rc != MOTE_OK)
		return rc;
	printf("four apples: %.2f\n", total.f64);

	/* A failing host function fails the guest's call. The sandbox lives on. */
	rc = MOTE_CALL(sandbox, "total", &total, err, MOTE_F64, mote_string("moon"), mote_i32(1));
	printf("a moon: %s\n", rc == MOTE_OK ? "sold" : err->message);

	/* Guests may also handle it themselves. */
	rc = MOTE_CALL(sandbox, "is_sold", &sold, err, MOTE_BOOL, mote_string("moon"));
	if (rc == MOTE_OK)
		printf("are moons sold? %s\n", sold.boolean ? "yes" : "no");
	return rc;
}

int main(int argc, char **argv)
{
	static struct item items[] = {{"apple", 0.25}, {"pear", 0.4}, {NULL, 0}};
	struct mote_error err = {0};
	mote_engine *engine = NULL;
	mote_snapshot *image = NULL;
	mote_host *host = NULL;
	mote_sandbox *sandbox = NULL;

	int rc = mote_engine_create(NULL, &engine, &err);
	if (rc == MOTE_OK)
		rc = mote_snapshot_from_file(argc > 1 ? argv[1] : "host_function.guest", NULL,
					     &image, &err);
	if (rc == MOTE_OK)
		rc = mote_host_create(&host, &err);
	if (rc == MOTE_OK) /* result, then parameters */
		rc = MOTE_HOST_ADD(host, "price", price, items, &err, MOTE_F64, MOTE_STRING);
	if (rc == MOTE_OK)
		rc = mote_sandbox_create(engine, image, host, NULL, &sandbox, &err);
	if (rc == MOTE_OK)
		rc = run(sandbox, &err);
	if (rc != MOTE_OK)
		fprintf(stderr, "host_function: %s\n", err.message);
	mote_sandbox_destroy(sandbox);
	mote_host_unref(host);
	mote_snapshot_unref(image);
	mote_engine_unref(engine);
	return rc == MOTE_OK ? 0 : 1;
}
