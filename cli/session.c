/* SPDX-License-Identifier: MIT */
/* From options to a sandbox. See session.h. */
#include "session.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "arguments.h"
#include "cli.h"
#include "output.h"
#include "place.h"
#include "report.h"
#include "stored.h"

uint64_t mote__clock_ns(void)
{
	struct timespec now = {0, 0};
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int mote__session_fail(const struct session *session, const char *what, enum stage stage,
		       const struct mote_error *err)
{
	const struct failure failure = {
		.what = what,
		.err = err,
		.snapshot = session->snapshot,
		.stage = stage,
		.is_json = session->options->json,
	};
	return mote__report_failure(&failure);
}

static int load_image(struct session *session, const void *init_data, size_t init_data_bytes)
{
	const struct options *options = session->options;
	const struct mote_snapshot_options wanted = {
		.size = sizeof wanted,
		.input_bytes = options->input_bytes,
		.output_bytes = options->output_bytes,
		.heap_bytes = options->heap_bytes,
		.stack_bytes = options->stack_bytes,
		.scratch_bytes = options->scratch_bytes,
		.image_bytes_max = options->image_bytes_max,
		.init_data = init_data,
		.init_data_bytes = init_data_bytes,
		.ignore_extensions = options->ignore_extensions,
		.executable_heap = options->executable_heap,
	};
	struct mote_error err = {0};
	uint64_t before = mote__clock_ns();
	if (mote_snapshot_from_file(session->guest, &wanted, &session->snapshot, &err) != MOTE_OK)
		return mote__session_fail(session, session->guest, STAGE_LOAD, &err);
	session->load_ns = mote__clock_ns() - before;
	return EXIT_OK;
}

static int load_stored(struct session *session)
{
	struct stored stored;
	int status = mote__stored_load(&stored, session->options, session->guest);
	session->snapshot = stored.snapshot;
	session->load_ns = stored.load_ns;
	stored.snapshot = NULL;
	mote__stored_free(&stored);
	session->is_stored = true;
	return status;
}

int mote__session_load(struct session *session, const struct options *options)
{
	session->options = options;
	if (!options->guest)
		return mote__report_usage(options->command_name, "which guest?");
	session->guest = options->guest;
	if (options->stored || mote__place_is_stored(options->guest))
		return load_stored(session);
	void *init_data = NULL;
	size_t init_data_bytes = 0;
	struct parse_error error;
	if (options->init_data &&
	    !mote__input_read(options->init_data, &init_data, &init_data_bytes, &error))
		return mote__report_usage(options->command_name, "--init-data: %s", error.message);
	int status = load_image(session, init_data, init_data_bytes);
	free(init_data);
	return status;
}

/** HostPrint and debug characters. cookie: the stream, NULL for nowhere. */
static int print_for_guest(void *cookie, void *user_data, const char *text, size_t len)
{
	FILE *out = cookie;
	(void)user_data;
	if (!out)
		return 0;
	mote__output_text(out, text, len, mote__output_mode(out));
	return ferror(out) ? -1 : 0;
}

static void put_field(const char *start, const struct mote_string *text, const char *end)
{
	if (text->len == 0)
		return;
	(void)fputs(start, stderr);
	mote__output_text(stderr, text->data, text->len, TEXT_ONE_LINE);
	(void)fputs(end, stderr);
}

static void log_for_guest(void *cookie, void *user_data, const struct mote_log_record *record)
{
	static const char *const names[] = {"off", "error", "warn", "info", "debug", "trace"};
	(void)cookie;
	(void)user_data;
	(void)fflush(stdout);
	(void)fprintf(stderr, "[%s] ",
		      record->level < sizeof names / sizeof names[0] ? names[record->level] : "?");
	put_field("", &record->module, ": ");
	mote__output_text(stderr, record->message.data, record->message.len, TEXT_ONE_LINE);
	put_field(" (", &record->file, "");
	if (record->file.len)
		(void)fprintf(stderr, ":%" PRIu32 ")", record->line);
	(void)fputc('\n', stderr);
}

/** Where the guest prints: not among data, and nowhere while it is measured. */
static FILE *stream_for_guest(const struct options *options)
{
	if (options->command == COMMAND_BENCH)
		return NULL;
	if (options->command & COMMANDS_SNAPSHOT)
		return stderr;
	return options->json || options->raw || options->output ? stderr : stdout;
}

/** Stands for a function that the guest imports and that the command does not have. cookie: its
 * name. */
static int fail_for_guest(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	(void)arguments;
	return mote_reply_error(reply, "the mote command does not offer %s", (const char *)cookie);
}

/** Add everything that the guest imports, so that its other functions can be called. */
static int add_imports(const struct session *session, struct mote_error *err)
{
	struct mote_function import;
	int rc = MOTE_OK;
	for (uint32_t i = 0; rc == MOTE_OK; i++) {
		uint32_t parameters[MOTE_MAX_PARAMETERS];
		if (mote_snapshot_get_import(session->snapshot, i, &import) != MOTE_OK)
			return MOTE_OK;
		if (strcmp(import.name, "HostPrint") == 0)
			continue;
		for (uint32_t p = 0; p < MOTE_MAX_PARAMETERS; p++)
			parameters[p] = import.parameters[p];
		const struct mote_host_function function = {
			.size = sizeof function,
			.name = import.name,
			.callback = fail_for_guest,
			.cookie = (void *)(uintptr_t)import.name, /* lives as the snapshot */
			.result = import.result,
			.parameter_count = import.parameter_count,
			.parameters = parameters,
		};
		rc = mote_host_add(session->host, &function, err);
	}
	return rc;
}

static int make_host(struct session *session, struct mote_error *err)
{
	int rc = mote_host_create(&session->host, err);
	if (rc == MOTE_OK)
		rc = mote_host_on_print(session->host, print_for_guest,
					stream_for_guest(session->options), err);
	if (rc == MOTE_OK)
		rc = mote_host_on_log(session->host, log_for_guest, NULL, err);
	if (rc == MOTE_OK)
		rc = add_imports(session, err);
	return rc;
}

int mote__session_fork(const struct session *session, mote_snapshot *snapshot,
		       mote_sandbox **sandbox, struct mote_error *err)
{
	const struct mote_sandbox_options options = {
		.size = sizeof options,
		.memory_max = session->options->memory_max,
		.log_level = session->options->log_level,
	};
	return mote_sandbox_create(session->engine, snapshot, session->host, &options, sandbox,
				   err);
}

int mote__session_create(struct session *session)
{
	const struct options *options = session->options;
	const struct mote_engine_options engine_options = {
		.size = sizeof engine_options,
		.device = options->device,
		.allow_unfiltered_msrs = options->allow_unfiltered_msrs,
	};
	struct mote_error err = {0};
	int rc = MOTE_OK;
	if (!session->engine)
		rc = mote_engine_create(&engine_options, &session->engine, &err);
	if (rc == MOTE_OK && !session->host)
		rc = make_host(session, &err);
	uint64_t before = mote__clock_ns();
	if (rc == MOTE_OK)
		rc = mote__session_fork(session, session->snapshot, &session->sandbox, &err);
	if (rc != MOTE_OK)
		return mote__session_fail(session, rc == MOTE_ENOKVM ? "KVM" : session->guest,
					  STAGE_CREATE, &err);
	session->create_ns = mote__clock_ns() - before;
	return EXIT_OK;
}

int mote__session_start(struct session *session)
{
	struct mote_error err = {0};
	uint64_t before = mote__clock_ns();
	int rc = mote_sandbox_start(session->sandbox, session->options->timeout_ns, &err);
	if (rc != MOTE_OK)
		return mote__session_fail(session, session->guest, STAGE_START, &err);
	session->start_ns = mote__clock_ns() - before;
	return EXIT_OK;
}

void mote__session_drop(struct session *session)
{
	mote_sandbox_destroy(session->sandbox);
	session->sandbox = NULL;
}

void mote__session_close(struct session *session)
{
	mote__session_drop(session);
	mote_host_unref(session->host);
	mote_snapshot_unref(session->snapshot);
	mote_engine_unref(session->engine);
	*session = (struct session){0};
}

/** The counters of struct mote_statistics, by name. */
static const struct counter {
	const char *name;
	size_t offset;
} counters[] = {
#define COUNTER(field)                                          \
	{                                                       \
#field, offsetof(struct mote_statistics, field) \
	}
	COUNTER(vm_entries),        COUNTER(vcpu_ioctls),     COUNTER(exits_halt),
	COUNTER(exits_call),        COUNTER(exits_log),       COUNTER(exits_print),
	COUNTER(exits_abort),       COUNTER(exits_exception), COUNTER(exits_memory),
	COUNTER(exits_interrupted), COUNTER(exits_other),     COUNTER(calls),
	COUNTER(bytes_in),          COUNTER(bytes_out),       COUNTER(frames_used),
	COUNTER(frames_max),        COUNTER(restores),        COUNTER(restores_strict),
	COUNTER(switches),          COUNTER(restore_pages),   COUNTER(restore_drops),
#undef COUNTER
};

static uint64_t counter_of(const struct mote_statistics *statistics, const struct counter *counter)
{
	const void *field = (const char *)statistics + counter->offset;
	return *(const uint64_t *)field;
}

void mote__statistics_print(FILE *out, const struct session *session, uint64_t call_ns)
{
	struct mote_statistics statistics = {0};
	mote_sandbox_get_statistics(session->sandbox, &statistics, sizeof statistics);
	const struct {
		const char *name;
		uint64_t ns;
	} times[] = {
		{"load", session->load_ns},
		{"create sandbox", session->create_ns},
		{"initialise", session->start_ns},
		{"call", call_ns},
	};
	for (size_t i = 0; i < sizeof times / sizeof times[0]; i++)
		(void)fprintf(out, "%-18s %12.1f us\n", times[i].name,
			      (double)times[i].ns / 1000.0);
	for (size_t i = 0; i < sizeof counters / sizeof counters[0]; i++)
		(void)fprintf(out, "%-18s %12" PRIu64 "\n", counters[i].name,
			      counter_of(&statistics, &counters[i]));
}

void mote__statistics_json(struct json *json, const struct session *session, uint64_t call_ns)
{
	struct mote_statistics statistics = {0};
	mote_sandbox_get_statistics(session->sandbox, &statistics, sizeof statistics);
	mote__emit_object(json, "statistics");
	mote__emit_u64(json, "load_ns", session->load_ns);
	mote__emit_u64(json, "create_ns", session->create_ns);
	mote__emit_u64(json, "start_ns", session->start_ns);
	mote__emit_u64(json, "call_ns", call_ns);
	for (size_t i = 0; i < sizeof counters / sizeof counters[0]; i++)
		mote__emit_u64(json, counters[i].name, counter_of(&statistics, &counters[i]));
	mote__emit_end(json);
}
