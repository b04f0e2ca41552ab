/* SPDX-License-Identifier: MIT */
/* mote snapshot take and flatten: what snapshots cost, and what they are made of. */
#include "cli.h"

#include <inttypes.h>
#include <string.h>

#include "history.h"
#include "output.h"
#include "report.h"

enum { SHORT_DIGEST_BYTES = 8 };

struct digest {
	uint8_t bytes[MOTE_DIGEST_BYTES];
};

static double microseconds(uint64_t ns)
{
	return (double)ns / 1000;
}

static void print_step(const struct history *history, uint32_t number, const struct digest *digest)
{
	const struct step *step = &history->steps[number - 1];
	(void)printf("%4" PRIu32 "  ", number);
	mote__output_column(stdout, mote__text_cut(step->what, 24).text, 24);
	(void)printf(" %6" PRIu64 " %10s %6" PRIu32 " ", step->added_bytes / 4096,
		     mote__size_text(step->info.memory_bytes).text, step->info.layer_count);
	if (number == 1)
		(void)printf("%10s %10s", "-", "-");
	else
		(void)printf("%10.1f %10.1f", microseconds(step->run_ns),
			     microseconds(step->take_ns));
	(void)fputs("  ", stdout);
	mote__digest_print(stdout, digest->bytes, SHORT_DIGEST_BYTES);
	(void)fputs(step->is_same ? "  nothing changed" : "", stdout);
	if (step->result.text[0]) {
		(void)fputs("  = ", stdout);
		mote__output_name(stdout, step->result.text);
	}
	(void)fputc('\n', stdout);
}

static void write_steps(const struct history *history, const struct digest *digests)
{
	struct json json = {.out = stdout};
	mote__emit_object(&json, NULL);
	mote__emit_bool(&json, "ok", true);
	mote__emit_text(&json, "guest", history->session.guest);
	mote__emit_array(&json, "steps");
	for (uint32_t i = 0; i < history->count; i++) {
		mote__step_json(&json, NULL, history, i + 1);
		mote__emit_hex(&json, "digest", digests[i].bytes, sizeof digests[i].bytes);
		mote__emit_end(&json);
	}
	mote__emit_end(&json);
	mote__emit_end(&json);
}

static int show_steps(const struct history *history)
{
	struct digest digests[HISTORY_MAX_STEPS];
	for (uint32_t i = 0; i < history->count; i++) {
		int status =
			mote__history_digest(history, history->steps[i].snapshot, digests[i].bytes);
		if (status != EXIT_OK)
			return status;
	}
	if (history->session.options->json) {
		write_steps(history, digests);
		return EXIT_OK;
	}
	(void)printf("step  %-24s %6s %10s %6s %10s %10s  %-16s  result\n", "after", "pages",
		     "memory", "layers", "run us", "take us", "digest");
	for (uint32_t i = 0; i < history->count; i++)
		print_step(history, i + 1, &digests[i]);
	(void)fputs("digest of the last one: ", stdout);
	mote__digest_print(stdout, digests[history->count - 1].bytes, MOTE_DIGEST_BYTES);
	(void)fputc('\n', stdout);
	return EXIT_OK;
}

int mote__command_snapshot_take(const struct options *options)
{
	struct history history = {0};
	int status = mote__history_make(&history, options);
	if (status == EXIT_OK)
		status = show_steps(&history);
	mote__history_free(&history);
	return status;
}

/** A snapshot before it was flattened, or after. */
struct side {
	const char *name;
	struct mote_snapshot_info info;
	struct digest digest;
};

static int look(const struct history *history, mote_snapshot *snapshot, struct side *side)
{
	mote_snapshot_get_info(snapshot, &side->info);
	return mote__history_digest(history, snapshot, side->digest.bytes);
}

static void print_side(const struct side *side)
{
	(void)printf("%-7s %6" PRIu32 " %10s %10s  ", side->name, side->info.layer_count,
		     mote__size_text(side->info.memory_bytes).text,
		     mote__size_text(side->info.dead_bytes).text);
	mote__digest_print(stdout, side->digest.bytes, MOTE_DIGEST_BYTES);
	(void)fputc('\n', stdout);
}

static void write_side(struct json *json, const struct side *side)
{
	mote__emit_object(json, side->name);
	mote__emit_u64(json, "layers", side->info.layer_count);
	mote__emit_u64(json, "memory_bytes", side->info.memory_bytes);
	mote__emit_u64(json, "dead_bytes", side->info.dead_bytes);
	mote__emit_hex(json, "digest", side->digest.bytes, sizeof side->digest.bytes);
	mote__emit_end(json);
}

static void show_sides(const struct history *history, const struct side *before,
		       const struct side *after, uint64_t ns)
{
	if (history->session.options->json) {
		struct json json = {.out = stdout};
		mote__emit_object(&json, NULL);
		mote__emit_bool(&json, "ok", true);
		mote__emit_text(&json, "guest", history->session.guest);
		write_side(&json, before);
		write_side(&json, after);
		mote__emit_u64(&json, "flatten_ns", ns);
		mote__emit_end(&json);
		return;
	}
	(void)printf("%-7s %6s %10s %10s  digest\n", "", "layers", "memory", "hidden");
	print_side(before);
	print_side(after);
	(void)printf("It took %.1f us. The digest is the same.\n", microseconds(ns));
}

/** Compare a snapshot with what became of it. */
static int show_flat(const struct history *history, mote_snapshot *snapshot, mote_snapshot *flat,
		     uint64_t ns)
{
	struct side before = {.name = "before"}, after = {.name = "after"};
	int status = look(history, snapshot, &before);
	if (status == EXIT_OK)
		status = look(history, flat, &after);
	if (status != EXIT_OK)
		return status;
	if (memcmp(&before.digest, &after.digest, sizeof before.digest) != 0)
		return mote__report_host(history->session.guest,
					 "flattening changed the digest: a defect of the library");
	show_sides(history, &before, &after, ns);
	return EXIT_OK;
}

static int flatten_last(const struct history *history)
{
	mote_snapshot *snapshot = mote__history_last(history)->snapshot, *flat = NULL;
	struct mote_error err = {0};
	uint64_t start = mote__clock_ns();
	if (mote_snapshot_flatten(snapshot, &flat, &err) != MOTE_OK)
		return mote__session_fail(&history->session, history->session.guest, STAGE_SNAPSHOT,
					  &err);
	int status = show_flat(history, snapshot, flat, mote__clock_ns() - start);
	mote_snapshot_unref(flat);
	return status;
}

int mote__command_snapshot_flatten(const struct options *options)
{
	struct history history = {0};
	int status = mote__history_make(&history, options);
	if (status == EXIT_OK)
		status = flatten_last(&history);
	mote__history_free(&history);
	return status;
}
