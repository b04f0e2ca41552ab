/* SPDX-License-Identifier: MIT */
/* Names and words become a call. See target.h. */
#include "target.h"

#include <string.h>

#include "cli.h"
#include "report.h"
#include "suggest.h"
#include "value.h"

static uint32_t export_count(const mote_snapshot *snapshot)
{
	struct mote_snapshot_info info;
	mote_snapshot_get_info(snapshot, &info);
	return info.export_count;
}

bool mote__export_find(const mote_snapshot *snapshot, const char *name,
		       struct mote_function *function)
{
	uint32_t count = export_count(snapshot);
	for (uint32_t i = 0; i < count; i++)
		if (mote_snapshot_get_export(snapshot, i, function) == MOTE_OK &&
		    strcmp(function->name, name) == 0)
			return true;
	return false;
}

static int refuse_unknown(const struct session *session, const char *name)
{
	struct suggestion suggestion = {.word = name};
	struct mote_function function;
	uint32_t count = export_count(session->snapshot);
	for (uint32_t i = 0; i < count; i++)
		if (mote_snapshot_get_export(session->snapshot, i, &function) == MOTE_OK)
			mote__suggest_offer(&suggestion, function.name);
	int status = mote__report_usage(session->options->command_name,
					"the guest has no function \"%s\"", name);
	if (suggestion.best)
		mote__report_hint("did you mean %s?", suggestion.best);
	else
		mote__report_hint("mote inspect %s lists its functions", session->guest);
	return status;
}

static void print_signature(const struct mote_function *function)
{
	(void)fputs("      ", stderr);
	mote__function_print(stderr, function);
	(void)fputc('\n', stderr);
}

/** What the table of exports (function; NULL where there is none) says against the call. */
static int check(const struct session *session, const struct mote_function *function, int count)
{
	const struct options *options = session->options;
	if (count > MOTE_MAX_PARAMETERS)
		return mote__report_usage(options->command_name, "%d arguments; at most %d", count,
					  MOTE_MAX_PARAMETERS);
	if (!function)
		return EXIT_OK;
	if ((uint32_t)count != function->parameter_count) {
		int status = mote__report_usage(
			options->command_name, "%s takes %u %s, not %d", function->name,
			function->parameter_count,
			function->parameter_count == 1 ? "argument" : "arguments", count);
		print_signature(function);
		return status;
	}
	if (options->result != RESULT_NOT_SAID && options->result != function->result)
		return mote__report_usage(options->command_name, "%s returns %s, not %s",
					  function->name, mote_type_name(function->result),
					  mote_type_name(options->result));
	return EXIT_OK;
}

static int parse_words(struct target *target, const struct session *session,
		       const struct mote_function *function, char **words, int count)
{
	for (int i = 0; i < count; i++) {
		struct parse_error error;
		uint32_t type = function ? function->parameters[i] : ARGUMENT_UNTYPED;
		if (!mote__argument_parse(words[i], type, &target->arguments[i], &error)) {
			int status = mote__report_usage(session->options->command_name,
							"argument %d: %s", i + 1, error.message);
			if (function)
				print_signature(function);
			return status;
		}
		target->values[i] = target->arguments[i].value;
		target->count++;
	}
	return EXIT_OK;
}

int mote__target_resolve(struct target *target, const struct session *session, const char *name,
			 char **words, int count)
{
	struct mote_function found;
	const struct mote_function *function = NULL;
	*target = (struct target){.function = name};
	if (mote__export_find(session->snapshot, name, &found))
		function = &found;
	else if (export_count(session->snapshot) > 0)
		return refuse_unknown(session, name);
	int status = check(session, function, count);
	if (status != EXIT_OK)
		return status;
	if (function)
		target->result = function->result;
	else if (session->options->result != RESULT_NOT_SAID)
		target->result = session->options->result;
	return parse_words(target, session, function, words, count);
}

void mote__target_free(struct target *target)
{
	for (uint32_t i = 0; i < target->count; i++)
		mote__argument_free(&target->arguments[i]);
	target->count = 0;
}

int mote__target_call(const struct target *target, const struct session *session,
		      struct mote_value *result, struct mote_error *err)
{
	const struct mote_call call = {
		.size = sizeof call,
		.function = target->function,
		.arguments = target->values,
		.argument_count = target->count,
		.result = target->result,
		.timeout_ns = session->options->timeout_ns,
	};
	return mote_sandbox_call(session->sandbox, &call, result, err);
}
