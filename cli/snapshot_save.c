/* SPDX-License-Identifier: MIT */
/* mote snapshot save: the last snapshot of a guest, or its image as it is, goes to a store. */
#include "cli.h"

#include <inttypes.h>

#include "history.h"
#include "output.h"
#include "place.h"
#include "progress.h"
#include "report.h"

/** Where to, and what came of it. */
struct saving {
	const struct options *options;
	struct place place;
	const char *tag;
	struct mote_saved saved;
	uint64_t save_ns;
};

static void print_saved(const struct saving *saving, const struct mote_snapshot_info *info)
{
	const struct mote_saved *saved = &saving->saved;
	(void)printf("%-12s ", "store");
	mote__output_name(stdout, saving->place.directory);
	(void)printf("\n%-12s ", "tag");
	mote__output_name(stdout, saving->tag);
	(void)printf("\n%-12s %s\n", "manifest", saved->digest);
	(void)printf("%-12s %s\n", "ready",
		     info->is_ready ? "yes: a sandbox of it can be called at once"
				    : "no: a sandbox of it initialises itself first");
	(void)printf("%-12s %s in %" PRIu32 " blobs\n", "size", mote__size_text(saved->bytes).text,
		     saved->blobs);
	(void)printf("%-12s %s in %" PRIu32 " %s\n", "written",
		     mote__size_text(saved->bytes_written).text, saved->blobs_written,
		     saved->blobs_written == 1 ? "blob" : "blobs");
	(void)printf("%-12s %.1f ms\n", "saved in", (double)saving->save_ns / 1000000);
}

static void write_saved(const struct saving *saving, const struct mote_snapshot_info *info)
{
	const struct mote_saved *saved = &saving->saved;
	struct json json = {.out = stdout};
	mote__emit_object(&json, NULL);
	mote__emit_bool(&json, "ok", true);
	mote__emit_text(&json, "guest", saving->options->guest);
	mote__emit_text(&json, "store", saving->place.directory);
	mote__emit_text(&json, "tag", saving->tag);
	mote__emit_text(&json, "manifest", saved->digest);
	mote__emit_bool(&json, "is_ready", info->is_ready);
	mote__emit_u64(&json, "layers", info->layer_count);
	mote__emit_u64(&json, "bytes", saved->bytes);
	mote__emit_u64(&json, "blobs", saved->blobs);
	mote__emit_u64(&json, "bytes_written", saved->bytes_written);
	mote__emit_u64(&json, "blobs_written", saved->blobs_written);
	mote__emit_u64(&json, "save_ns", saving->save_ns);
	mote__emit_end(&json);
}

static int save(struct saving *saving, mote_snapshot *snapshot)
{
	const struct options *options = saving->options;
	struct progress progress = mote__progress_begin(options, "saving");
	const struct mote_save_options wanted = {
		.size = sizeof wanted,
		.tag = saving->tag,
		.progress = mote__progress_show,
		.cookie = &progress,
	};
	struct mote_error err = {0};
	struct mote_snapshot_info info;
	uint64_t before = mote__clock_ns();
	int rc = mote_snapshot_save(snapshot, saving->place.directory, &wanted, &saving->saved,
				    &err);
	saving->save_ns = mote__clock_ns() - before;
	mote__progress_end(&progress);
	if (rc != MOTE_OK)
		return mote__report_store(saving->place.directory, options->json, &err);
	mote_snapshot_get_info(snapshot, &info);
	if (options->json)
		write_saved(saving, &info);
	else
		print_saved(saving, &info);
	return EXIT_OK;
}

static int save_image(struct saving *saving)
{
	struct session session = {0};
	int status = mote__session_load(&session, saving->options);
	if (status == EXIT_OK)
		status = save(saving, session.snapshot);
	mote__session_close(&session);
	return status;
}

static int save_last(struct saving *saving)
{
	struct history history = {0};
	int status = mote__history_make(&history, saving->options);
	if (status == EXIT_OK)
		status = save(saving, mote__history_last(&history)->snapshot);
	mote__history_free(&history);
	return status;
}

static int check(const struct options *options)
{
	if (!options->guest)
		return mote__report_usage(options->command_name, "which guest?");
	if (options->operand_count < 1)
		return mote__report_usage(options->command_name, "to which store?");
	if (options->operand_count > 1) {
		(void)mote__report_usage(options->command_name,
					 "one store at a time, not also \"%s\"",
					 options->operands[1]);
		mote__report_hint("a call is one word: --call 'add(2, 3)'");
		return EXIT_USAGE;
	}
	if (options->is_new && options->call_count)
		return mote__report_usage(options->command_name,
					  "--new runs nothing, so --call makes no sense with it");
	if (options->is_new && options->metadata_count)
		return mote__report_usage(options->command_name,
					  "--metadata is for guests that ran, not for --new");
	return EXIT_OK;
}

int mote__command_snapshot_save(const struct options *options)
{
	struct saving saving = {.options = options};
	int status = check(options);
	if (status != EXIT_OK)
		return status;
	if (!mote__place_parse(options->operands[0], &saving.place))
		return mote__report_host(options->operands[0], "out of memory");
	saving.tag = saving.place.name ? saving.place.name : PLACE_DEFAULT_TAG;
	if (saving.place.is_registry)
		status = mote__report_usage(options->command_name,
					    "saves to a store here; mote snapshot push goes on");
	else if (saving.place.directory[0] == ':')
		status = mote__report_usage(options->command_name, "which store? STORE:TAG");
	else if (saving.place.is_digest)
		status = mote__report_usage(options->command_name,
					    "a digest cannot be chosen; STORE:TAG");
	else
		status = options->is_new ? save_image(&saving) : save_last(&saving);
	mote__place_free(&saving.place);
	return status;
}
