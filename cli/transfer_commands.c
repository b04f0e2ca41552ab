/* SPDX-License-Identifier: MIT */
/* mote snapshot push and pull, and what --from fetches. See transfer.h. */
#include "transfer.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli.h"
#include "json.h"
#include "layout.h"
#include "output.h"
#include "place.h"
#include "report.h"
#include "stored.h"

/** What travelled. */
struct sum {
	uint64_t bytes, new_bytes;
	uint32_t blobs, new_blobs;
	bool is_known; /* the new ones */
};

static struct sum sum_of(const struct transfer *transfer, bool is_push)
{
	const struct manifest *manifest = &transfer->manifest;
	struct sum sum = {
		.bytes = manifest->bytes + transfer->manifest_bytes,
		.blobs = manifest->count + 1,
		.is_known = !is_push || transfer->tells,
	};
	/* A registry is always sent the manifest. */
	if (is_push || !transfer->manifest_was_there) {
		sum.new_bytes = transfer->manifest_bytes;
		sum.new_blobs = 1;
	}
	for (uint32_t i = 0; i < manifest->count; i++) {
		if (transfer->was_there[i])
			continue;
		sum.new_bytes += manifest->blobs[i].bytes;
		sum.new_blobs++;
	}
	return sum;
}

static void write_json(const struct transfer *transfer, const struct sum *sum)
{
	struct json json = {.out = stdout};
	mote__emit_object(&json, NULL);
	mote__emit_bool(&json, "ok", true);
	mote__emit_text(&json, "store", transfer->directory);
	mote__emit_text(&json, "registry", transfer->remote);
	if (transfer->tag)
		mote__emit_text(&json, "tag", transfer->tag);
	mote__emit_text(&json, "manifest", transfer->digest);
	mote__emit_u64(&json, "bytes", sum->bytes);
	mote__emit_u64(&json, "blobs", sum->blobs);
	if (sum->is_known) {
		mote__emit_u64(&json, "bytes_new", sum->new_bytes);
		mote__emit_u64(&json, "blobs_new", sum->new_blobs);
	} else {
		mote__emit_null(&json, "bytes_new");
		mote__emit_null(&json, "blobs_new");
	}
	mote__emit_u64(&json, "transfer_ns", transfer->ns);
	mote__emit_end(&json);
}

static void show(const struct transfer *transfer, bool is_push)
{
	struct sum sum = sum_of(transfer, is_push);
	if (transfer->options->json) {
		write_json(transfer, &sum);
		return;
	}
	(void)printf("%-12s ", is_push ? "pushed to" : "pulled from");
	mote__output_name(stdout, transfer->remote);
	(void)printf("\n%-12s ", "store");
	mote__output_name(stdout, transfer->directory);
	if (transfer->tag) {
		(void)printf("\n%-12s ", "tag");
		mote__output_name(stdout, transfer->tag);
	}
	(void)printf("\n%-12s %s\n", "manifest", transfer->digest);
	(void)printf("%-12s %s in %" PRIu32 " blobs\n", "size", mote__size_text(sum.bytes).text,
		     sum.blobs);
	if (sum.is_known)
		(void)printf("%-12s %s in %" PRIu32 " %s, in %.1f ms\n", "travelled",
			     mote__size_text(sum.new_bytes).text, sum.new_blobs,
			     sum.new_blobs == 1 ? "blob" : "blobs", (double)transfer->ns / 1000000);
	else
		(void)printf("%-12s skopeo does not tell, in %.1f ms\n", "travelled",
			     (double)transfer->ns / 1000000);
}

/** Both operands: a store, and a name in a registry at index remote. */
static int take_operands(const struct options *options, int remote, struct place *place)
{
	*place = (struct place){0};
	if (options->operand_count > 2)
		return mote__report_usage(options->command_name, "takes no operand such as \"%s\"",
					  options->operands[2]);
	if (options->operand_count < 2)
		return mote__report_usage(options->command_name, "%s",
					  options->operand_count == remote
						  ? "which registry? docker://HOST/NAME:TAG"
						  : "which store?");
	if (strncmp(options->operands[remote], "docker://", 9) != 0 ||
	    !strchr(options->operands[remote] + 9, '/'))
		return mote__report_usage(options->command_name,
					  "\"%s\" is no name in a registry: docker://HOST/NAME:TAG",
					  options->operands[remote]);
	if (!mote__place_parse(options->operands[1 - remote], place))
		return mote__report_host(options->operands[1 - remote], "out of memory");
	if (place->is_registry)
		return mote__report_usage(options->command_name, "one side is to be a store here");
	return EXIT_OK;
}

int mote__command_snapshot_push(const struct options *options)
{
	struct place place;
	struct mote_error err = {0};
	int status = take_operands(options, 1, &place);
	if (status == EXIT_OK) {
		struct transfer transfer = mote__transfer_begin(options, options->operands[1],
								place.directory, "pushing", &err);
		int rc = mote__transfer_push(&transfer, place.name);
		mote__transfer_end(&transfer);
		if (rc == MOTE_OK)
			show(&transfer, true);
		else
			status = mote__report_store(options->operands[0], options->json, &err);
	}
	mote__place_free(&place);
	return status;
}

int mote__command_snapshot_pull(const struct options *options)
{
	struct place place;
	struct mote_error err = {0};
	int status = take_operands(options, 0, &place);
	if (status == EXIT_OK && place.directory && place.directory[0] == ':')
		status = mote__report_usage(options->command_name, "which store? STORE:TAG");
	if (status == EXIT_OK && place.is_digest)
		status = mote__report_usage(options->command_name,
					    "a digest cannot be chosen; STORE:TAG");
	if (status == EXIT_OK) {
		const char *remote = options->operands[0];
		struct transfer transfer =
			mote__transfer_begin(options, remote, place.directory, "pulling", &err);
		transfer.tag = place.name ? place.name : mote__place_tag_of(remote);
		if (!transfer.tag && !strchr(remote, '@'))
			transfer.tag = PLACE_DEFAULT_TAG;
		int rc = mote__transfer_find(&transfer);
		if (rc == MOTE_OK)
			rc = mote__transfer_pull(&transfer);
		mote__transfer_end(&transfer);
		if (rc == MOTE_OK)
			show(&transfer, false);
		else
			status = mote__report_store(remote, options->json, &err);
	}
	mote__place_free(&place);
	return status;
}

/** Make each directory on the way to path, the user's alone. */
static void make_way(char *path)
{
	for (char *at = strchr(path + 1, '/'); at; at = strchr(at + 1, '/')) {
		*at = 0;
		(void)mkdir(path, 0700);
		*at = '/';
	}
}

/** The user's own store; NULL: out of memory, or no home. */
static char *cache_directory(void)
{
	const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	if (cache && cache[0] == '/')
		return mote__path_join(cache, "mote/store");
	return home && home[0] ? mote__path_join(home, ".cache/mote/store") : NULL;
}

/** Whether the transfer's digest is listed in its store. */
static bool is_cached(const struct transfer *transfer)
{
	char digest[MOTE_REFERENCE_BYTES];
	struct mote_error ignored;
	return mote__stored_find(transfer->directory, transfer->digest, digest, &ignored) ==
	       MOTE_OK;
}

static int fetch(struct transfer *transfer)
{
	const char *at = strchr(transfer->remote, '@');
	int rc = MOTE_OK;
	if (at && mote__digest_is_valid(at + 1)) {
		(void)snprintf(transfer->digest, sizeof transfer->digest, "%s", at + 1);
		if (is_cached(transfer))
			return MOTE_OK;
	}
	rc = mote__transfer_find(transfer);
	if (rc != MOTE_OK || is_cached(transfer))
		return rc;
	return mote__transfer_pull(transfer);
}

int mote__transfer_fetch(const struct options *options, const char *name, char **directory,
			 char digest[MOTE_REFERENCE_BYTES])
{
	struct mote_error err = {0};
	*directory = cache_directory();
	if (!*directory)
		return mote__report_host(
			name, "no store to pull to: neither XDG_CACHE_HOME nor HOME says where");
	if (!strchr(name + sizeof "docker://" - 1, '/'))
		return mote__report_usage(options->command_name,
					  "\"%s\" is no name in a registry: docker://HOST/NAME:TAG",
					  name);
	make_way(*directory);
	struct transfer transfer = mote__transfer_begin(options, name, *directory, "pulling", &err);
	int rc = fetch(&transfer);
	(void)snprintf(digest, MOTE_REFERENCE_BYTES, "%s", transfer.digest);
	mote__transfer_end(&transfer);
	return rc == MOTE_OK ? EXIT_OK : mote__report_store(name, options->json, &err);
}
