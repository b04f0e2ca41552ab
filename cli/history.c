/* SPDX-License-Identifier: MIT */
/* A guest runs, and is frozen after each step. See history.h. */
#include "history.h"

#include <stdlib.h>
#include <string.h>

#include "arguments.h"
#include "cli.h"
#include "output.h"
#include "report.h"
#include "target.h"
#include "value.h"

/** The calls to make: as typed, in words, and as they are made. */
struct plan {
	uint32_t count;
	struct call {
		const char *what;
		struct phrase phrase;
		struct target target;
	} calls[];
};

const struct step *mote__history_last(const struct history *history)
{
	return &history->steps[history->count - 1];
}

static bool has_layer(const struct step *step, uint64_t id)
{
	struct mote_layer layer;
	for (uint32_t i = 0; i < step->info.layer_count; i++)
		if (mote_snapshot_get_layer(step->snapshot, i, &layer) == MOTE_OK && layer.id == id)
			return true;
	return false;
}

uint32_t mote__history_step_of(const struct history *history, uint64_t layer_id)
{
	for (uint32_t i = 0; i < history->count; i++)
		if (has_layer(&history->steps[i], layer_id))
			return i + 1;
	return 0;
}

/** Add a step; the snapshot is the history's from now on. */
static void add_step(struct history *history, const struct step *step)
{
	struct step *added = &history->steps[history->count];
	const struct step *before = history->count ? added - 1 : NULL;
	struct mote_layer layer;
	*added = *step;
	mote_snapshot_get_info(added->snapshot, &added->info);
	added->is_same = before && before->snapshot == added->snapshot;
	for (uint32_t i = 0; i < added->info.layer_count; i++)
		if (mote_snapshot_get_layer(added->snapshot, i, &layer) == MOTE_OK &&
		    (!before || !has_layer(before, layer.id)))
			added->added_bytes += layer.bytes;
	history->count++;
}

/** Freeze what the guest has become by step; the last one has the metadata that are wanted. */
static int take(struct history *history, struct step step, bool is_last)
{
	const struct session *session = &history->session;
	const struct mote_take_options with_metadata = {
		.size = sizeof with_metadata,
		.metadata = session->options->metadata,
		.metadata_count = session->options->metadata_count,
	};
	struct mote_error err = {0};
	uint64_t before = mote__clock_ns();
	if (mote_snapshot_take(session->sandbox, is_last ? &with_metadata : NULL, &step.snapshot,
			       &err) != MOTE_OK)
		return mote__session_fail(session, session->guest, STAGE_SNAPSHOT, &err);
	step.take_ns = mote__clock_ns() - before;
	add_step(history, &step);
	return EXIT_OK;
}

static int plan_calls(struct history *history, const struct options *options)
{
	struct plan *plan = calloc(1, sizeof *plan + options->call_count * sizeof plan->calls[0]);
	if (!plan)
		return mote__report_host(history->session.guest, "out of memory");
	history->plan = plan;
	for (uint32_t i = 0; i < options->call_count; i++) {
		struct call *call = &plan->calls[i];
		struct parse_error error;
		if (!mote__phrase_parse(options->calls[i], &call->phrase, &error))
			return mote__report_usage(options->command_name, "--call: %s",
						  error.message);
		plan->count++;
		call->what = options->calls[i];
		int status =
			mote__target_resolve(&call->target, &history->session, call->phrase.name,
					     call->phrase.words, call->phrase.count);
		if (status != EXIT_OK)
			return status;
	}
	return EXIT_OK;
}

/** Value as people read it. */
static struct short_text result_text(const struct mote_value *value)
{
	struct short_text text = {{0}};
	char *line = NULL;
	size_t len = 0;
	if (value->type == MOTE_BYTES) {
		(void)snprintf(text.text, sizeof text.text, "%zu %s", value->bytes.len,
			       value->bytes.len == 1 ? "byte" : "bytes");
		return text;
	}
	FILE *out = open_memstream(&line, &len);
	if (!out)
		return text;
	mote__value_print(out, value, TEXT_ONE_LINE);
	if (fclose(out) == 0) {
		line[strcspn(line, "\n")] = 0;
		text = mote__text_cut(line, sizeof text.text - 1);
	}
	free(line);
	return text;
}

static int make_call(struct history *history, const struct call *call, bool is_last)
{
	struct step step = {.what = call->what};
	struct mote_value value = mote_void();
	struct mote_error err = {0};
	uint64_t before = mote__clock_ns();
	if (mote__target_call(&call->target, &history->session, &value, &err) != MOTE_OK)
		return mote__session_fail(&history->session, call->target.function, STAGE_CALL,
					  &err);
	step.run_ns = mote__clock_ns() - before;
	step.result = result_text(&value);
	return take(history, step, is_last);
}

static int run(struct history *history, uint64_t rounds)
{
	struct session *session = &history->session;
	uint64_t calls = rounds * history->plan->count;
	int status = mote__session_create(session);
	if (status == EXIT_OK)
		status = mote__session_start(session);
	/* A ready one without calls is taken again for the metadata alone. */
	bool is_ready = history->steps[0].info.is_ready;
	if (status == EXIT_OK &&
	    (!is_ready || (calls == 0 && session->options->metadata_count > 0)))
		status = take(history,
			      (struct step){.what = is_ready ? "metadata" : "initialise",
					    .run_ns = session->start_ns},
			      calls == 0);
	for (uint64_t i = 0; status == EXIT_OK && i < calls; i++)
		status = make_call(history, &history->plan->calls[i % history->plan->count],
				   i + 1 == calls);
	return status;
}

int mote__history_make(struct history *history, const struct options *options)
{
	uint64_t rounds = options->repeat ? options->repeat : 1;
	/* Saving has its own operand, and has checked it. */
	if (options->operand_count > 0 && options->command != COMMAND_SNAPSHOT_SAVE) {
		(void)mote__report_usage(options->command_name,
					 "one guest at a time, not also \"%s\"",
					 options->operands[0]);
		mote__report_hint("a call is one word: --call 'add(2, 3)'");
		return EXIT_USAGE;
	}
	/* Both factors are small enough for this not to overflow. */
	if (2 + rounds * options->call_count > HISTORY_MAX_STEPS)
		return mote__report_usage(options->command_name, "more than %u steps",
					  HISTORY_MAX_STEPS);
	int status = mote__session_load(&history->session, options);
	if (status == EXIT_OK)
		status = plan_calls(history, options);
	if (status != EXIT_OK)
		return status;
	history->steps = calloc(2 + rounds * options->call_count, sizeof *history->steps);
	if (!history->steps)
		return mote__report_host(history->session.guest, "out of memory");
	add_step(history, &(struct step){.what = history->session.is_stored ? "stored" : "image",
					 .snapshot = mote_snapshot_ref(history->session.snapshot)});
	return run(history, rounds);
}

void mote__history_free(struct history *history)
{
	for (uint32_t i = 0; i < history->count; i++)
		mote_snapshot_unref(history->steps[i].snapshot);
	free(history->steps);
	for (uint32_t i = 0; history->plan && i < history->plan->count; i++) {
		mote__target_free(&history->plan->calls[i].target);
		mote__phrase_free(&history->plan->calls[i].phrase);
	}
	free(history->plan);
	mote__session_close(&history->session);
	*history = (struct history){0};
}

int mote__history_digest(const struct history *history, mote_snapshot *snapshot,
			 uint8_t digest[MOTE_DIGEST_BYTES])
{
	struct mote_error err = {0};
	if (mote_snapshot_digest(snapshot, digest, &err) != MOTE_OK)
		return mote__session_fail(&history->session, history->session.guest, STAGE_SNAPSHOT,
					  &err);
	return EXIT_OK;
}

void mote__digest_print(FILE *out, const uint8_t digest[MOTE_DIGEST_BYTES], size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		(void)fprintf(out, "%02x", digest[i]);
}

void mote__step_json(struct json *json, const char *key, const struct history *history,
		     uint32_t number)
{
	const struct step *step = &history->steps[number - 1];
	mote__emit_object(json, key);
	mote__emit_u64(json, "step", number);
	mote__emit_text(json, "what", step->what);
	if (step->result.text[0])
		mote__emit_text(json, "result", step->result.text);
	mote__emit_u64(json, "generation", step->info.generation);
	mote__emit_bool(json, "is_ready", step->info.is_ready);
	mote__emit_bool(json, "is_same", step->is_same);
	mote__emit_u64(json, "layers", step->info.layer_count);
	mote__emit_u64(json, "added_bytes", step->added_bytes);
	mote__emit_u64(json, "memory_bytes", step->info.memory_bytes);
	mote__emit_u64(json, "dead_bytes", step->info.dead_bytes);
	mote__emit_u64(json, "run_ns", step->run_ns);
	mote__emit_u64(json, "take_ns", step->take_ns);
}
