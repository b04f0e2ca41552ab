/* SPDX-License-Identifier: MIT */
/* mote run and mote call: one sandbox, perhaps one function, and its result. */
#include "cli.h"

#include <errno.h>
#include <string.h>

#include "report.h"
#include "session.h"
#include "target.h"
#include "value.h"

static int write_file(const char *path, const struct mote_value *result)
{
	if (strcmp(path, "-") == 0) {
		mote__value_write(stdout, result);
		return EXIT_OK;
	}
	FILE *out = fopen(path, "wb");
	if (!out)
		return mote__report_host(path, "%s", strerror(errno));
	mote__value_write(out, result);
	bool is_written = mote__output_finish(out, path);
	if (fclose(out) != 0 && is_written)
		return mote__report_host(path, "%s", strerror(errno));
	return is_written ? EXIT_OK : EXIT_HOST;
}

static void write_json(const struct session *session, const struct target *target,
		       const struct mote_value *result, uint64_t call_ns)
{
	struct json json = {.out = stdout};
	mote__emit_object(&json, NULL);
	mote__emit_bool(&json, "ok", true);
	mote__emit_text(&json, "guest", session->guest);
	if (target) {
		mote__emit_text(&json, "function", target->function);
		mote__value_json(&json, "result", result);
	}
	if (session->options->statistics)
		mote__statistics_json(&json, session, call_ns);
	mote__emit_end(&json);
}

/** Print the result (of target; NULL where nothing was called) as the options want it. */
static int show(const struct session *session, const struct target *target,
		const struct mote_value *result, uint64_t call_ns)
{
	const struct options *options = session->options;
	int status = EXIT_OK;
	if (options->output && target)
		status = write_file(options->output, result);
	if (options->json)
		write_json(session, target, result, call_ns);
	else if (options->raw && !options->output)
		mote__value_write(stdout, result);
	else if (!options->output)
		mote__value_print(stdout, result, mote__output_mode(stdout));
	(void)fflush(stdout);
	if (options->statistics && !options->json)
		mote__statistics_print(stderr, session, call_ns);
	return status;
}

/** Call again and again, from start where there is one. result: of the last call. */
static int call_often(const struct session *session, const struct target *target,
		      mote_snapshot *start, struct mote_value *result)
{
	uint64_t count = session->options->repeat ? session->options->repeat : 1;
	struct mote_error err = {0};
	for (uint64_t i = 0; i < count; i++) {
		if (start && i && mote_sandbox_restore(session->sandbox, start, NULL, &err) < 0)
			return mote__session_fail(session, session->guest, STAGE_SNAPSHOT, &err);
		if (mote__target_call(target, session, result, &err) != MOTE_OK)
			return mote__session_fail(session, target->function, STAGE_CALL, &err);
	}
	return EXIT_OK;
}

static int call_target(const struct session *session, const struct target *target)
{
	struct mote_value result = mote_void();
	struct mote_error err = {0};
	mote_snapshot *start = NULL;
	if (session->options->restore &&
	    mote_snapshot_take(session->sandbox, NULL, &start, &err) != MOTE_OK)
		return mote__session_fail(session, session->guest, STAGE_SNAPSHOT, &err);
	uint64_t before = mote__clock_ns();
	int status = call_often(session, target, start, &result);
	uint64_t call_ns = mote__clock_ns() - before;
	if (status == EXIT_OK)
		status = show(session, target, &result, call_ns);
	mote_snapshot_unref(start);
	return status;
}

/** Start the guest of a loaded session and call function with count words. */
static int call_function(struct session *session, const char *function, char **words, int count)
{
	struct target target;
	int status = mote__target_resolve(&target, session, function, words, count);
	if (status == EXIT_OK)
		status = mote__session_create(session);
	if (status == EXIT_OK)
		status = mote__session_start(session);
	if (status == EXIT_OK)
		status = call_target(session, &target);
	mote__target_free(&target);
	return status;
}

static int load_and_call(struct session *session, const struct options *options)
{
	if (options->guest && options->operand_count == 0)
		return mote__report_usage("call", "which function?");
	int status = mote__session_load(session, options);
	if (status != EXIT_OK)
		return status;
	return call_function(session, options->operands[0], options->operands + 1,
			     options->operand_count - 1);
}

int mote__command_call(const struct options *options)
{
	struct session session = {0};
	int status = load_and_call(&session, options);
	mote__session_close(&session);
	return status;
}

static void list_exports(const struct session *session)
{
	struct mote_snapshot_info info;
	mote_snapshot_get_info(session->snapshot, &info);
	if (info.export_count == 0) {
		(void)puts("The guest is initialised. It does not tell its functions; call one "
			   "with its types:");
		(void)fputs("  mote call ", stdout);
		mote__output_name(stdout, session->guest);
		(void)puts(" NAME TYPE:VALUE... --result TYPE");
		return;
	}
	(void)puts("The guest is initialised. It can be called:");
	for (uint32_t i = 0; i < info.export_count; i++) {
		struct mote_function function;
		if (mote_snapshot_get_export(session->snapshot, i, &function) != MOTE_OK)
			continue;
		(void)fputs("  ", stdout);
		mote__function_print(stdout, &function);
		(void)fputc('\n', stdout);
	}
}

/** Start the guest and call nothing. */
static int initialise(struct session *session)
{
	struct mote_value nothing = mote_void();
	int status = mote__session_create(session);
	if (status == EXIT_OK)
		status = mote__session_start(session);
	if (status != EXIT_OK)
		return status;
	if (!session->options->json)
		list_exports(session);
	return show(session, NULL, &nothing, 0);
}

/** The function that runs where the user names none: "run" or "main", without parameters. */
static const char *main_of(const struct session *session)
{
	static const char *const names[] = {"run", "main"};
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		struct mote_function function;
		if (mote__export_find(session->snapshot, names[i], &function) &&
		    function.parameter_count == 0)
			return names[i];
	}
	return NULL;
}

static int load_and_run(struct session *session, const struct options *options)
{
	if (!options->call && options->operand_count > 0)
		return mote__report_usage("run", "\"%s\" needs a function: --call NAME",
					  options->operands[0]);
	int status = mote__session_load(session, options);
	if (status != EXIT_OK)
		return status;
	const char *function = options->call ? options->call : main_of(session);
	if (!function)
		return initialise(session);
	return call_function(session, function, options->operands, options->operand_count);
}

int mote__command_run(const struct options *options)
{
	struct session session = {0};
	int status = load_and_run(&session, options);
	mote__session_close(&session);
	return status;
}
