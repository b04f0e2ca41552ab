/* SPDX-License-Identifier: MIT */
/*
 * Runs Lua scripts of strangers, each in a virtual machine of its own. What they can reach of this
 * program are three functions: kv_get(key), kv_put(key, value), log(text); the store outlives them.
 * Whatever a script does, it ends with a result or an error, and this program goes on.
 *
 * scripts/build-lua makes lua.guest of Debian's Lua and guests/lua_guest.c.
 */
#include <mote.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SCRIPT_BYTES 65536
#define PAIR_COUNT   64
#define MEMORY_MAX   (32u << 20)

struct pair {
	char key[64], value[4096]; /* an empty value is none */
};

struct application {
	mote_engine *engine;
	mote_snapshot *image;
	mote_host *host;
	uint64_t timeout_ns;
	struct pair store[PAIR_COUNT];
	char source[SCRIPT_BYTES];
};

/* The pair of that key, or a free one, or NULL. */
static struct pair *find(struct application *app, const char *key)
{
	struct pair *unused = NULL;
	for (struct pair *pair = app->store; pair < app->store + PAIR_COUNT; pair++) {
		if (pair->value[0] == '\0')
			unused = pair;
		else if (strcmp(pair->key, key) == 0)
			return pair;
	}
	return unused;
}

/* Arguments of host functions have the declared types; strings end in NUL. */
static int kv_get(void *app, const struct mote_value *arguments, mote_reply *reply)
{
	const struct pair *pair = find(app, arguments[0].string.data);
	return mote_reply_string(reply, pair ? pair->value : "", pair ? strlen(pair->value) : 0);
}

static int kv_put(void *app, const struct mote_value *arguments, mote_reply *reply)
{
	const struct mote_string key = arguments[0].string, value = arguments[1].string;
	struct pair *pair = find(app, key.data);
	if (!pair)
		return mote_reply_error(reply, "the store is full (%d keys)", PAIR_COUNT);
	if (key.len >= sizeof pair->key || value.len >= sizeof pair->value)
		return mote_reply_error(reply, "too long (%zu, %zu bytes)", key.len, value.len);
	strcpy(pair->key, key.data);
	strcpy(pair->value, value.data);
	return 0;
}

/* A stranger's text must not steer the terminal: no control characters, in ASCII or above. */
static void show(const char *before, const char *text, size_t len, const char *after)
{
	fputs(before, stdout);
	for (const char *c = text; c < text + len; c++) {
		int is_high = c[0] == '\xC2' && c[1] < '\xA0';
		putchar(is_high || (*c >= 0 && *c < ' ' && !strchr("\t\n", *c)) ? '?' : *c);
		c += is_high;
	}
	fputs(after, stdout);
	fflush(stdout);
}

static int log_text(void *app, const struct mote_value *arguments, mote_reply *reply)
{
	(void)app, (void)reply;
	show("[log] ", arguments[0].string.data, arguments[0].string.len, "\n");
	return 0;
}

static int print_text(void *app, void *user_data, const char *text, size_t len)
{
	(void)app, (void)user_data;
	show("", text, len, "");
	return 0;
}

/* 0, or 1 and err. */
static int set_up(struct application *app, const char *guest, struct mote_error *err)
{
	struct mote_snapshot_options options = {.size = sizeof options};
	options.input_bytes = options.output_bytes = SCRIPT_BYTES; /* for calls and results */
	options.heap_bytes = 1ull << 30; /* address space; memory_max is the limit */
	return mote_engine_create(NULL, &app->engine, err) ||
	       mote_snapshot_from_file(guest, &options, &app->image, err) ||
	       mote_host_create(&app->host, err) ||
	       mote_host_on_print(app->host, print_text, app, err) ||
	       MOTE_HOST_ADD(app->host, "kv_get", kv_get, app, err, MOTE_STRING, MOTE_STRING) ||
	       MOTE_HOST_ADD(app->host, "kv_put", kv_put, app, err, MOTE_VOID, MOTE_STRING,
			     MOTE_STRING) ||
	       MOTE_HOST_ADD(app->host, "log", log_text, app, err, MOTE_VOID, MOTE_STRING);
}

/* Run the script of len bytes in app->source in a new sandbox. */
static void run(struct application *app, const char *name, size_t len)
{
	struct mote_sandbox_options limits = {.size = sizeof limits, .memory_max = MEMORY_MAX};
	struct mote_value arguments[] = {mote_string(name), mote_string_of(app->source, len)};
	struct mote_call call = {sizeof call, "eval", arguments, 2, MOTE_STRING, app->timeout_ns};
	struct mote_value result;
	struct mote_error err;
	mote_sandbox *sandbox = NULL;
	if (mote_sandbox_create(app->engine, app->image, app->host, &limits, &sandbox, &err) ||
	    mote_sandbox_call(sandbox, &call, &result, &err))
		show("error: ", err.message, strlen(err.message), "\n");
	else
		show("=> ", result.string.data, result.string.len, "\n");
	mote_sandbox_destroy(sandbox);
}

int main(int argc, char **argv)
{
	static struct application app = {.timeout_ns = 2000000000};
	struct mote_error err;
	while (getopt(argc, argv, "t:") == 't')
		app.timeout_ns = strtoull(optarg, NULL, 10) * 1000000;
	if (argc - optind < 2)
		return fprintf(stderr, "usage: lua_host [-t MILLISECONDS] GUEST SCRIPT|-...\n"), 2;
	int failed = set_up(&app, argv[optind], &err);
	if (failed)
		fprintf(stderr, "lua_host: %s\n", err.message);
	for (int i = optind + 1; i < argc && !failed; i++) {
		FILE *file = strcmp(argv[i], "-") == 0 ? stdin : fopen(argv[i], "r");
		size_t len = file ? fread(app.source, 1, SCRIPT_BYTES, file) : 0;
		printf("--- %s%s\n", argv[i], file ? "" : ": cannot be read");
		if (file)
			run(&app, argv[i], len);
		if (file)
			fclose(file);
	}
	mote_host_unref(app.host);
	mote_snapshot_unref(app.image);
	mote_engine_unref(app.engine);
	return failed;
}
