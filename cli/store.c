/* SPDX-License-Identifier: MIT */
/* mote snapshot list, verify, tag, remove and gc: what a store holds. */
#include "cli.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "options.h"
#include "output.h"
#include "place.h"
#include "progress.h"
#include "report.h"
#include "session.h"

/** Operand 0 taken apart, which names a store; want: how many operands there are to be. */
static int take_operands(const struct options *options, int want, const char *second,
			 struct place *place)
{
	*place = (struct place){0};
	if (options->operand_count == 0)
		return mote__report_usage(options->command_name, "which store?");
	if (options->operand_count < want)
		return mote__report_usage(options->command_name, "%s", second);
	if (options->operand_count > want)
		return mote__report_usage(options->command_name, "takes no operand such as \"%s\"",
					  options->operands[want]);
	if (!mote__place_parse(options->operands[0], place))
		return mote__report_host(options->operands[0], "out of memory");
	if (place->is_registry)
		return mote__report_usage(options->command_name,
					  "works on a store here; mote snapshot pull brings one");
	return EXIT_OK;
}

/** The same of a command about all of a store. */
static int take_store(const struct options *options, struct place *place)
{
	int status = take_operands(options, 1, "", place);
	if (status == EXIT_OK && place->name)
		return mote__report_usage(options->command_name,
					  "is about a whole store, not about \"%s\" in it",
					  place->name);
	return status;
}

/** The same of a command that needs to know which snapshot. */
static int take_snapshot(const struct options *options, int want, const char *second,
			 struct place *place)
{
	int status = take_operands(options, want, second, place);
	if (status == EXIT_OK && !place->name)
		return mote__report_usage(options->command_name,
					  "which snapshot? STORE:TAG or STORE@sha256:...");
	return status;
}

static int fail(const struct options *options, const struct mote_error *err)
{
	return mote__report_store(options->operands[0], options->json, err);
}

static struct json begin_json(const struct place *place)
{
	struct json json = {.out = stdout};
	mote__emit_object(&json, NULL);
	mote__emit_bool(&json, "ok", true);
	mote__emit_text(&json, "store", place->directory);
	return json;
}

/** What was listed so far: printed when all of it is known to be there. */
struct list {
	struct list_entry {
		struct mote_store_entry entry; /* without its strings */
		char tag[MOTE_MAX_TAG_BYTES + 1], digest[MOTE_REFERENCE_BYTES];
	} * entries;
	size_t count, room;
	bool is_full; /* no memory was left */
};

static int add_entry(void *cookie, const struct mote_store_entry *entry)
{
	struct list *list = cookie;
	if (list->count == list->room) {
		size_t room = list->room ? 2 * list->room : 16;
		struct list_entry *larger = realloc(list->entries, room * sizeof *larger);
		if (!larger) {
			list->is_full = true;
			return 1;
		}
		list->entries = larger;
		list->room = room;
	}
	struct list_entry *added = &list->entries[list->count++];
	added->entry = *entry;
	(void)snprintf(added->tag, sizeof added->tag, "%s", entry->tag ? entry->tag : "");
	(void)snprintf(added->digest, sizeof added->digest, "%s", entry->digest);
	added->entry.tag = added->entry.digest = NULL;
	return 0;
}

static void write_list(const struct place *place, const struct list *list)
{
	struct json json = begin_json(place);
	mote__emit_array(&json, "entries");
	for (size_t i = 0; i < list->count; i++) {
		const struct list_entry *entry = &list->entries[i];
		mote__emit_object(&json, NULL);
		if (entry->tag[0])
			mote__emit_text(&json, "tag", entry->tag);
		else
			mote__emit_null(&json, "tag");
		mote__emit_text(&json, "digest", entry->digest);
		mote__emit_bool(&json, "is_snapshot", entry->entry.is_snapshot);
		mote__emit_u64(&json, "bytes", entry->entry.bytes);
		mote__emit_u64(&json, "blobs", entry->entry.blobs);
		mote__emit_end(&json);
	}
	mote__emit_end(&json);
	mote__emit_end(&json);
}

static void print_list(const struct list *list)
{
	(void)printf("%-20s %10s %5s  digest\n", "tag", "size", "blobs");
	for (size_t i = 0; i < list->count; i++) {
		const struct list_entry *entry = &list->entries[i];
		mote__output_column(stdout, entry->tag[0] ? entry->tag : "-", 20);
		if (entry->entry.blobs)
			(void)printf(" %10s %5" PRIu32 "  ",
				     mote__size_text(entry->entry.bytes).text, entry->entry.blobs);
		else
			(void)printf(" %10s %5s  ", "?", "?");
		mote__output_name(stdout, entry->digest);
		(void)puts(entry->entry.is_snapshot ? "" : "  no snapshot");
	}
}

static int list(const struct options *options, const struct place *place)
{
	struct list found = {0};
	struct mote_error err = {0};
	int status = EXIT_OK;
	if (mote_store_list(place->directory, add_entry, &found, &err) != MOTE_OK)
		status = fail(options, &err);
	else if (found.is_full)
		status = mote__report_host(place->directory, "out of memory");
	else if (options->json)
		write_list(place, &found);
	else
		print_list(&found);
	free(found.entries);
	return status;
}

int mote__command_snapshot_list(const struct options *options)
{
	struct place place;
	int status = take_store(options, &place);
	if (status == EXIT_OK)
		status = list(options, &place);
	mote__place_free(&place);
	return status;
}

static int verify(const struct options *options, const struct place *place)
{
	struct progress progress = mote__progress_begin(options, "verifying");
	struct mote_error err = {0};
	uint64_t bytes = 0, before = mote__clock_ns();
	int rc = mote_store_verify(place->directory, place->name, mote__progress_show, &progress,
				   &bytes, &err);
	uint64_t ns = mote__clock_ns() - before;
	mote__progress_end(&progress);
	if (rc != MOTE_OK)
		return fail(options, &err);
	if (options->json) {
		struct json json = begin_json(place);
		mote__emit_u64(&json, "bytes", bytes);
		mote__emit_u64(&json, "verify_ns", ns);
		mote__emit_end(&json);
		return EXIT_OK;
	}
	(void)printf("%s is as it was written: %s read in %.1f ms\n",
		     place->name ? "The snapshot" : "Every snapshot", mote__size_text(bytes).text,
		     (double)ns / 1000000);
	return EXIT_OK;
}

int mote__command_snapshot_verify(const struct options *options)
{
	struct place place;
	int status = take_operands(options, 1, "", &place);
	if (status == EXIT_OK)
		status = verify(options, &place);
	mote__place_free(&place);
	return status;
}

/** What is printed of a command that only does what it was told: nothing, or an object. */
static int done(const struct options *options, const struct place *place)
{
	if (options->json) {
		struct json json = begin_json(place);
		mote__emit_end(&json);
	}
	return EXIT_OK;
}

int mote__command_snapshot_tag(const struct options *options)
{
	struct place place;
	struct mote_error err = {0};
	int status = take_snapshot(options, 2, "which tag?", &place);
	if (status == EXIT_OK)
		status = mote_store_tag(place.directory, place.name, options->operands[1], &err) ==
					 MOTE_OK
				 ? done(options, &place)
				 : fail(options, &err);
	mote__place_free(&place);
	return status;
}

int mote__command_snapshot_remove(const struct options *options)
{
	struct place place;
	struct mote_error err = {0};
	int status = take_snapshot(options, 1, "", &place);
	if (status == EXIT_OK)
		status = mote_store_remove(place.directory, place.name, &err) == MOTE_OK
				 ? done(options, &place)
				 : fail(options, &err);
	mote__place_free(&place);
	return status;
}

static int collect(const struct options *options, const struct place *place)
{
	struct mote_store_collected collected = {0};
	struct mote_error err = {0};
	if (mote_store_collect(place->directory, &collected, &err) != MOTE_OK)
		return fail(options, &err);
	if (options->json) {
		struct json json = begin_json(place);
		mote__emit_u64(&json, "bytes", collected.bytes);
		mote__emit_u64(&json, "blobs", collected.blobs);
		mote__emit_u64(&json, "rests", collected.rests);
		mote__emit_u64(&json, "kept_bytes", collected.kept_bytes);
		mote__emit_u64(&json, "kept_blobs", collected.kept_blobs);
		mote__emit_end(&json);
		return EXIT_OK;
	}
	(void)printf("removed %" PRIu32 " %s of %s", collected.blobs,
		     collected.blobs == 1 ? "blob" : "blobs",
		     mote__size_text(collected.bytes).text);
	(void)printf(" and %" PRIu32 " unfinished, kept %" PRIu32 " of %s\n", collected.rests,
		     collected.kept_blobs, mote__size_text(collected.kept_bytes).text);
	return EXIT_OK;
}

int mote__command_snapshot_gc(const struct options *options)
{
	struct place place;
	int status = take_store(options, &place);
	if (status == EXIT_OK)
		status = collect(options, &place);
	mote__place_free(&place);
	return status;
}
