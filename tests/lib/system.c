/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "system.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

mote_engine *system_engine(void)
{
	static mote_engine *engine;
	struct mote_error err;
	if (!engine && mote_engine_create(NULL, &engine, &err) < 0)
		check_skip("%s", err.message);
	return engine;
}

int system_is_nested(void)
{
	struct mote_engine_info info;
	mote_engine_get_info(system_engine(), &info);
	return info.paging == MOTE_PAGING_NESTED;
}

int system_is_emulated(void)
{
	struct mote_engine_info info;
	mote_engine_get_info(system_engine(), &info);
	return info.is_emulated;
}

unsigned system_repetitions(unsigned count)
{
	return system_is_emulated() ? count / 5 : count;
}

static void find_guest(const char *name, char *path, size_t bytes)
{
	const char *directory = getenv("MOTE_GUESTS");
	char self[4096];
	if (directory) {
		(void)snprintf(path, bytes, "%s/%s.guest", directory, name);
	} else {
		ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
		CHECK(len > 0);
		self[len] = 0;
		*strrchr(self, '/') = 0;
		(void)snprintf(path, bytes, "%s/guests/%s.guest", self, name);
	}
	if (access(path, R_OK) != 0)
		check_skip("no guest %s", path);
}

static void append(char *to, const char *text, size_t len)
{
	size_t used = strlen(to);
	if (len > SYSTEM_TEXT_BYTES - 1 - used)
		len = SYSTEM_TEXT_BYTES - 1 - used;
	memcpy(to + used, text, len);
	to[used + len] = 0;
}

static int on_print(void *cookie, void *user_data, const char *text, size_t len)
{
	struct system *s = cookie;
	(void)user_data;
	append(s->printed, text, len);
	return 0;
}

static void on_log(void *cookie, void *user_data, const struct mote_log_record *r)
{
	struct system *s = cookie;
	char line[1600];
	(void)user_data;
	int len = snprintf(line, sizeof line, "%u %s %s %s %u %s\n", r->level, r->module.data,
			   r->caller.data, r->file.data, r->line, r->message.data);
	append(s->logged, line, (size_t)len < sizeof line ? (size_t)len : sizeof line - 1);
	s->log_count++;
}

/* Host functions of the shared guests. */
static int upper(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	const struct mote_string *text = &arguments[0].string;
	char out[1024];
	(void)cookie;
	if (text->len == 0)
		return mote_reply_error(reply, "nothing to convert");
	CHECK(text->len < sizeof out);
	for (size_t i = 0; i < text->len; i++)
		out[i] = (char)toupper((unsigned char)text->data[i]);
	return mote_reply_string(reply, out, text->len);
}

static int twice(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	(void)cookie;
	return mote_reply_f64(reply, 2 * arguments[0].f64);
}

void system_open_host(struct system *s, const struct system_options *options)
{
	char path[4200];
	memset(s, 0, sizeof *s);
	s->engine = system_engine();
	find_guest(options->guest, path, sizeof path);
	struct mote_snapshot_options snapshot = options->snapshot;
	snapshot.size = sizeof snapshot;
	OK(s, mote_snapshot_from_file(path, &snapshot, &s->snapshot, &s->err));
	OK(s, mote_host_create(&s->host, &s->err));
	OK(s, mote_host_on_print(s->host, on_print, s, &s->err));
	OK(s, mote_host_on_log(s->host, on_log, s, &s->err));
	OK(s, MOTE_HOST_ADD(s->host, "upper", upper, NULL, &s->err, MOTE_STRING, MOTE_STRING));
	OK(s, MOTE_HOST_ADD(s->host, "twice", twice, NULL, &s->err, MOTE_F64, MOTE_F64));
	if (options->add)
		options->add(s->host);
}

int system_try(struct system *s, const struct system_options *options)
{
	system_open_host(s, options);
	struct mote_sandbox_options sandbox = options->sandbox;
	sandbox.size = sizeof sandbox;
	return mote_sandbox_create(s->engine, s->snapshot, s->host, &sandbox, &s->sandbox, &s->err);
}

void system_open(struct system *s, const struct system_options *options)
{
	OK(s, system_try(s, options));
}

void system_again(struct system *s)
{
	mote_sandbox_destroy(s->sandbox);
	s->sandbox = NULL;
	OK(s, mote_sandbox_create(s->engine, s->snapshot, s->host, NULL, &s->sandbox, &s->err));
}

void system_close(struct system *s)
{
	mote_sandbox_destroy(s->sandbox);
	mote_host_unref(s->host);
	mote_snapshot_unref(s->snapshot);
	memset(s, 0, sizeof *s);
}

void system_skip_if_emulated(struct system *s, int rc, const char *what)
{
	if (rc != MOTE_EPROTOCOL || !strstr(s->err.message, "cannot emulate"))
		return;
	system_close(s);
	check_skip("this kernel cannot emulate %s in ring 0", what);
}

struct mote_value system_call(struct system *s, const char *file, int line,
			      const struct mote_call *call)
{
	struct mote_value result = mote_void();
	int rc = mote_sandbox_call(s->sandbox, call, &result, &s->err);
	if (rc < 0)
		check_failed(file, line, "%s: %s: %s", call->function, mote_code_name(rc),
			     s->err.message);
	return result;
}

void system_fails(struct system *s, const char *file, int line, int code, const char *text,
		  const struct mote_call *call)
{
	struct mote_value result = mote_i32(0x5A5A);
	memset(&s->err, 0x5A, sizeof s->err);
	int rc = mote_sandbox_call(s->sandbox, call, &result, &s->err);
	if (rc == MOTE_OK)
		check_failed(file, line, "%s: succeeded", call->function);
	if (rc != code || s->err.code != rc || !strstr(s->err.message, text))
		check_failed(file, line, "%s: %s: %s, not %s with: %s", call->function,
			     mote_code_name(rc), s->err.message, mote_code_name(code), text);
	if (strpbrk(s->err.message, "\n\r\033"))
		check_failed(file, line, "%s: more than a line: %s", call->function,
			     s->err.message);
	if (result.type != MOTE_I32 || result.i32 != 0x5A5A)
		check_failed(file, line, "%s: the result was written", call->function);
}

struct mote_statistics system_statistics(const struct system *s)
{
	struct mote_statistics statistics;
	mote_sandbox_get_statistics(s->sandbox, &statistics, sizeof statistics);
	return statistics;
}
