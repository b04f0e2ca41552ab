/* SPDX-License-Identifier: MIT */
/* Loading stored snapshots, and mote snapshot load. See stored.h. */
#include "stored.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "output.h"
#include "place.h"
#include "progress.h"
#include "report.h"
#include "session.h"
#include "transfer.h"
#include "value.h"

/** What is looked for in a list. */
struct search {
	const char *name;
	char *digest;
	uint32_t count; /* different manifests */
};

static int match(void *cookie, const struct mote_store_entry *entry)
{
	struct search *search = cookie;
	bool is_it = (entry->tag && strcmp(entry->tag, search->name) == 0) ||
		     strcmp(entry->digest, search->name) == 0;
	if (!is_it || strcmp(search->digest, entry->digest) == 0)
		return 0;
	(void)snprintf(search->digest, MOTE_REFERENCE_BYTES, "%s", entry->digest);
	search->count++;
	return 0;
}

static int refuse(struct mote_error *err, int code, const char *what, const char *name)
{
	*err = (struct mote_error){.code = code, .category = MOTE_CATEGORY_CALLER};
	(void)snprintf(err->message, sizeof err->message, what, name);
	return code;
}

int mote__stored_find(const char *directory, const char *name, char digest[MOTE_REFERENCE_BYTES],
		      struct mote_error *err)
{
	struct search search = {.name = name ? name : PLACE_DEFAULT_TAG, .digest = digest};
	digest[0] = 0;
	int rc = mote_store_list(directory, match, &search, err);
	if (rc != MOTE_OK)
		return rc;
	if (search.count > 1)
		return refuse(err, MOTE_ESTORE, "two manifests have the tag \"%.128s\"",
			      search.name);
	if (search.count == 0)
		return refuse(err, MOTE_ENOTFOUND, "nothing is listed as \"%.128s\"", search.name);
	return MOTE_OK;
}

static int load(struct stored *stored, const struct options *options, const char *name,
		struct mote_error *err)
{
	struct progress progress = mote__progress_begin(options, "loading");
	const struct mote_load_options wanted = {
		.size = sizeof wanted,
		.trust_memory_without_verifying = options->trust_memory,
		.accept_processor = options->accept_processor,
		.bytes_max = options->bytes_max,
		.warn = mote__progress_warn,
		.progress = mote__progress_show,
		.cookie = &progress,
	};
	/* Only this shows the digest, and then of what was loaded; to list reads all manifests. */
	int rc = MOTE_OK;
	if (options->command == COMMAND_SNAPSHOT_LOAD) {
		rc = mote__stored_find(stored->directory, name, stored->digest, err);
		name = stored->digest;
	}
	uint64_t before = mote__clock_ns();
	if (rc == MOTE_OK)
		rc = mote_snapshot_load(stored->directory, name, &wanted, &stored->snapshot, err);
	stored->load_ns = mote__clock_ns() - before;
	mote__progress_end(&progress);
	return rc;
}

static int load_place(struct stored *stored, const struct options *options, const char *text,
		      const struct place *place)
{
	struct mote_error err = {0};
	const char *name = place->name;
	if (place->is_registry) {
		int status =
			mote__transfer_fetch(options, text, &stored->directory, stored->digest);
		if (status != EXIT_OK)
			return status;
		name = stored->digest;
	} else {
		stored->directory = strdup(place->directory);
		if (!stored->directory)
			return mote__report_host(text, "out of memory");
	}
	char wanted[MOTE_REFERENCE_BYTES + MOTE_MAX_TAG_BYTES] = "";
	if (name && strlen(name) >= sizeof wanted)
		return mote__report_usage(options->command_name, "\"%.40s...\" is no tag", name);
	if (name)
		(void)snprintf(wanted, sizeof wanted, "%s", name);
	if (load(stored, options, name ? wanted : NULL, &err) == MOTE_OK)
		return EXIT_OK;
	int status = mote__report_store(text, options->json, &err);
	if (err.code == MOTE_ENOTFOUND && !place->is_registry)
		mote__report_hint("mote snapshot list %s shows what a store has",
				  stored->directory);
	if (err.code == MOTE_ESTORE && place->is_registry)
		mote__report_hint("what was pulled is in the store %s", stored->directory);
	return status;
}

int mote__stored_load(struct stored *stored, const struct options *options, const char *text)
{
	const char *option = mote__options_of_image(options);
	struct place place;
	*stored = (struct stored){0};
	if (option)
		return mote__report_usage(options->command_name,
					  "--%s is for images; %s is a stored snapshot", option,
					  text);
	if (!mote__place_parse(text, &place))
		return mote__report_host(text, "out of memory");
	int status = load_place(stored, options, text, &place);
	mote__place_free(&place);
	return status;
}

void mote__stored_free(struct stored *stored)
{
	mote_snapshot_unref(stored->snapshot);
	free(stored->directory);
	*stored = (struct stored){0};
}

static void print_sizes(const struct mote_snapshot_info *info)
{
	(void)printf("%-12s input %s, output %s, heap %s", "sizes",
		     mote__size_text(info->input_bytes).text,
		     mote__size_text(info->output_bytes).text,
		     mote__size_text(info->heap_bytes).text);
	if (info->is_confined)
		(void)printf(", stack %s", mote__size_text(info->stack_bytes).text);
	(void)printf(", scratch %s\n", mote__size_text(info->scratch_bytes).text);
}

static void print_head(const struct stored *stored, const struct mote_snapshot_info *info)
{
	(void)printf("%-12s ", "store");
	mote__output_name(stdout, stored->directory);
	(void)printf("\n%-12s %s\n", "manifest", stored->digest);
	(void)printf("%-12s %s, %" PRIu32 " bits\n", "kind",
		     info->is_confined ? "confined (ring 3)" : "stock (ring 0)", info->image_bits);
	(void)printf("%-12s %s\n", "ready",
		     info->is_ready ? "yes: a sandbox of it can be called at once"
				    : "no: a sandbox of it initialises itself first");
	(void)printf("%-12s %" PRIu64 "\n", "generation", info->generation);
	(void)printf("%-12s %s in %" PRIu32 " %s\n", "memory",
		     mote__size_text(info->memory_bytes).text, info->layer_count,
		     info->layer_count == 1 ? "layer" : "layers");
	print_sizes(info);
	(void)printf("%-12s %" PRIu32 " pages\n", "write set", info->write_set_pages);
	(void)printf("%-12s %.1f us\n", "loaded in", (double)stored->load_ns / 1000);
}

typedef int (*get_function)(const mote_snapshot *, uint32_t, struct mote_function *);

static void print_functions(const struct stored *stored, const char *head, uint32_t count,
			    get_function get)
{
	struct mote_function function;
	(void)printf("\n%s\n", head);
	if (count == 0)
		(void)puts("  none that the image tells");
	for (uint32_t i = 0; i < count; i++) {
		if (get(stored->snapshot, i, &function) != MOTE_OK)
			continue;
		(void)fputs("  ", stdout);
		mote__function_print(stdout, &function);
		(void)fputc('\n', stdout);
	}
}

static void print_metadata(const struct stored *stored, uint32_t count)
{
	struct mote_metadata metadata;
	if (count)
		(void)puts("\nMetadata");
	for (uint32_t i = 0; i < count; i++) {
		if (mote_snapshot_get_metadata(stored->snapshot, i, &metadata) != MOTE_OK)
			continue;
		(void)fputs("  ", stdout);
		mote__output_name(stdout, metadata.name);
		(void)fputs(" = ", stdout);
		mote__output_name(stdout, metadata.json);
		(void)fputc('\n', stdout);
	}
}

static void write_functions(struct json *json, const struct stored *stored, const char *key,
			    uint32_t count, get_function get)
{
	struct mote_function function;
	mote__emit_array(json, key);
	for (uint32_t i = 0; i < count; i++)
		if (get(stored->snapshot, i, &function) == MOTE_OK)
			mote__function_json(json, &function);
	mote__emit_end(json);
}

static void write_numbers(struct json *json, const struct mote_snapshot_info *info)
{
	mote__emit_bool(json, "is_confined", info->is_confined);
	mote__emit_bool(json, "is_ready", info->is_ready);
	mote__emit_u64(json, "image_bits", info->image_bits);
	mote__emit_u64(json, "generation", info->generation);
	mote__emit_u64(json, "layers", info->layer_count);
	mote__emit_u64(json, "memory_bytes", info->memory_bytes);
	mote__emit_u64(json, "dead_bytes", info->dead_bytes);
	mote__emit_u64(json, "input_bytes", info->input_bytes);
	mote__emit_u64(json, "output_bytes", info->output_bytes);
	mote__emit_u64(json, "heap_bytes", info->heap_bytes);
	mote__emit_u64(json, "stack_bytes", info->stack_bytes);
	mote__emit_u64(json, "scratch_bytes", info->scratch_bytes);
	mote__emit_u64(json, "write_set_pages", info->write_set_pages);
}

static void write_json(const struct stored *stored, const struct options *options,
		       const struct mote_snapshot_info *info)
{
	struct json json = {.out = stdout};
	struct mote_metadata metadata;
	mote__emit_object(&json, NULL);
	mote__emit_bool(&json, "ok", true);
	mote__emit_text(&json, "guest", options->guest);
	mote__emit_text(&json, "store", stored->directory);
	mote__emit_text(&json, "manifest", stored->digest);
	mote__emit_bool(&json, "is_verified", !options->trust_memory);
	mote__emit_u64(&json, "load_ns", stored->load_ns);
	write_numbers(&json, info);
	write_functions(&json, stored, "exports", info->export_count, mote_snapshot_get_export);
	write_functions(&json, stored, "imports", info->import_count, mote_snapshot_get_import);
	mote__emit_array(&json, "metadata");
	for (uint32_t i = 0; i < info->metadata_count; i++) {
		if (mote_snapshot_get_metadata(stored->snapshot, i, &metadata) != MOTE_OK)
			continue;
		mote__emit_object(&json, NULL);
		mote__emit_text(&json, "name", metadata.name);
		mote__emit_text(&json, "json", metadata.json);
		mote__emit_end(&json);
	}
	mote__emit_end(&json);
	mote__emit_end(&json);
}

static void show(const struct stored *stored, const struct options *options)
{
	struct mote_snapshot_info info;
	mote_snapshot_get_info(stored->snapshot, &info);
	if (options->json) {
		write_json(stored, options, &info);
		return;
	}
	print_head(stored, &info);
	(void)printf("%-12s %s\n", "verified",
		     options->trust_memory ? "all but memory, which was trusted" : "all of it");
	print_functions(stored, "Exports", info.export_count, mote_snapshot_get_export);
	print_functions(stored, "Functions wanted from the host", info.import_count,
			mote_snapshot_get_import);
	print_metadata(stored, info.metadata_count);
}

int mote__command_snapshot_load(const struct options *options)
{
	struct stored stored = {0};
	if (!options->guest)
		return mote__report_usage(options->command_name, "which snapshot?");
	if (options->operand_count > 0)
		return mote__report_usage(options->command_name,
					  "one snapshot at a time, not also \"%s\"",
					  options->operands[0]);
	int status = mote__stored_load(&stored, options, options->guest);
	if (status == EXIT_OK)
		show(&stored, options);
	mote__stored_free(&stored);
	return status;
}
