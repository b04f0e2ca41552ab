/* SPDX-License-Identifier: MIT */
/* A push or a pull: skopeo's arguments, and what is there before and after. See transfer.h. */
#include "transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "layout.h"
#include "session.h"
#include "skopeo.h"
#include "stored.h"

static int fail(struct mote_error *err, int code, const char *message)
{
	*err = (struct mote_error){.code = code, .category = MOTE_CATEGORY_CALLER};
	(void)snprintf(err->message, sizeof err->message, "%s", message);
	return code;
}

static int out_of_memory(struct mote_error *err)
{
	return fail(err, MOTE_ENOMEM, "out of memory");
}

/** Signals that end a program wait, so that nothing is left behind. */
static void hold_signals(struct transfer *transfer)
{
	sigset_t held;
	(void)sigemptyset(&held);
	(void)sigaddset(&held, SIGINT);
	(void)sigaddset(&held, SIGTERM);
	(void)sigaddset(&held, SIGHUP);
	(void)sigprocmask(SIG_BLOCK, &held, &transfer->mask);
}

struct transfer mote__transfer_begin(const struct options *options, const char *remote,
				     const char *directory, const char *verb,
				     struct mote_error *err)
{
	struct transfer transfer = {
		.options = options,
		.remote = remote,
		.directory = directory,
		.lock = -1,
		.progress = mote__progress_begin(options, verb),
		.err = err,
	};
	hold_signals(&transfer);
	return transfer;
}

void mote__transfer_end(struct transfer *transfer)
{
	mote__progress_end(&transfer->progress);
	mote__image_layout_remove(transfer->layout);
	free(transfer->blobs);
	if (transfer->lock >= 0)
		(void)close(transfer->lock);
	(void)sigprocmask(SIG_SETMASK, &transfer->mask, NULL);
}

/** "--WHATtls-verify=..." as the options have it; NULL: skopeo's default. */
static const char *tls_option(const struct transfer *transfer, const char *no, const char *yes)
{
	if (!transfer->options->has_tls_verify)
		return NULL;
	return transfer->options->tls_verify ? yes : no;
}

/** Run skopeo for its output, in which a line end does not count. */
static int ask(const char *const *arguments, char **output, size_t *bytes, struct mote_error *err)
{
	struct skopeo skopeo = {.arguments = arguments};
	int rc = mote__skopeo_run(&skopeo, err);
	if (rc != MOTE_OK) {
		free(skopeo.output);
		return rc;
	}
	*output = skopeo.output;
	*bytes = skopeo.output_bytes;
	return MOTE_OK;
}

/** The digest of the manifest at path. */
static int digest_of(const char *path, char digest[MOTE_REFERENCE_BYTES], struct mote_error *err)
{
	char *output = NULL;
	size_t bytes = 0;
	int rc = ask((const char *const[]){"manifest-digest", path, NULL}, &output, &bytes, err);
	if (rc != MOTE_OK)
		return rc;
	output[strcspn(output, "\n")] = 0;
	if (mote__digest_is_valid(output))
		(void)snprintf(digest, MOTE_REFERENCE_BYTES, "%s", output);
	else
		rc = fail(err, MOTE_ESYSTEM, "skopeo manifest-digest gives no SHA-256");
	free(output);
	return rc;
}

static const char *temporary_directory(void)
{
	const char *directory = getenv("TMPDIR");
	return directory && directory[0] ? directory : "/tmp";
}

/** The digest of a manifest in memory: through a file, for skopeo reads one. */
static int digest_of_text(const char *text, size_t len, char digest[MOTE_REFERENCE_BYTES],
			  struct mote_error *err)
{
	char *path = mote__path_join(temporary_directory(), "mote-XXXXXX");
	int fd = path ? mkostemp(path, O_CLOEXEC) : -1;
	if (fd < 0) {
		int rc = mote__path_fail(err, temporary_directory());
		free(path);
		return rc;
	}
	int rc = MOTE_OK;
	if (write(fd, text, len) != (ssize_t)len)
		rc = mote__path_fail(err, path);
	(void)close(fd);
	if (rc == MOTE_OK)
		rc = digest_of(path, digest, err);
	(void)unlink(path);
	free(path);
	return rc;
}

int mote__transfer_find(struct transfer *transfer)
{
	const char *arguments[6] = {"inspect", "--raw"};
	size_t count = 2;
	char *text = NULL;
	size_t len = 0;
	const char *tls = tls_option(transfer, "--tls-verify=false", "--tls-verify=true");
	if (tls)
		arguments[count++] = tls;
	arguments[count] = transfer->remote;
	int rc = ask(arguments, &text, &len, transfer->err);
	if (rc == MOTE_OK)
		rc = mote__manifest_of(text, len, &transfer->manifest, transfer->err);
	if (rc == MOTE_OK)
		rc = digest_of_text(text, len, transfer->digest, transfer->err);
	transfer->manifest_bytes = len;
	free(text);
	return rc;
}

static int read_manifest(struct transfer *transfer, int fd)
{
	char *text = malloc(SKOPEO_MAX_OUTPUT + 1);
	if (!text)
		return out_of_memory(transfer->err);
	ssize_t len = read(fd, text, SKOPEO_MAX_OUTPUT + 1);
	int rc = MOTE_OK;
	if (len < 0)
		rc = mote__path_fail(transfer->err, transfer->digest);
	else if (len > (ssize_t)SKOPEO_MAX_OUTPUT)
		rc = fail(transfer->err, MOTE_ESTORE, "the manifest is larger than 1 MiB");
	else
		rc = mote__manifest_of(text, (size_t)len, &transfer->manifest, transfer->err);
	transfer->manifest_bytes = rc == MOTE_OK ? (uint64_t)len : 0;
	free(text);
	return rc;
}

static char *blob_path(const struct transfer *transfer, const char *digest)
{
	char *path = NULL;
	int len = asprintf(&path, "%s/sha256/%s", transfer->blobs, digest + sizeof "sha256:" - 1);
	return len < 0 ? NULL : path;
}

/** Read the manifest in the store, and see that it is what its name says. */
static int find_local(struct transfer *transfer)
{
	char *path = blob_path(transfer, transfer->digest), found[MOTE_REFERENCE_BYTES];
	if (!path)
		return out_of_memory(transfer->err);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	int rc = fd < 0 ? mote__path_fail(transfer->err, path) : read_manifest(transfer, fd);
	if (fd >= 0)
		(void)close(fd);
	if (rc == MOTE_OK)
		rc = digest_of(path, found, transfer->err);
	if (rc == MOTE_OK && strcmp(found, transfer->digest) != 0)
		rc = fail(transfer->err, MOTE_ESTORE,
			  "the manifest is damaged: it has another digest than its name says");
	free(path);
	return rc;
}

/** Find and lock the blobs of the store. */
static int open_blobs(struct transfer *transfer)
{
	char *path = mote__path_join(transfer->directory, "blobs");
	if (!path)
		return out_of_memory(transfer->err);
	transfer->blobs = realpath(path, NULL);
	transfer->lock = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	int rc = MOTE_OK;
	if (!transfer->blobs || transfer->lock < 0 || flock(transfer->lock, LOCK_SH) != 0)
		rc = mote__path_fail(transfer->err, path);
	free(path);
	return rc;
}

static bool is_there(const struct transfer *transfer, const char *digest, uint64_t bytes)
{
	struct stat status;
	char *path = blob_path(transfer, digest);
	bool is = path && lstat(path, &status) == 0 && S_ISREG(status.st_mode) &&
		  (uint64_t)status.st_size == bytes;
	free(path);
	return is;
}

/** How far a pull is, and whether more comes than the manifest said. */
static bool watch_pull(void *cookie)
{
	struct transfer *transfer = cookie;
	uint64_t total = 0, again = 0;
	uint64_t unfinished = mote__image_layout_unfinished(transfer->layout);
	transfer->done = unfinished;
	/* The first is the configuration, which skopeo brings whether it is there or not. */
	if (transfer->manifest.count && transfer->was_there[0])
		again = transfer->manifest.blobs[0].bytes;
	for (uint32_t i = 0; i < transfer->manifest.count; i++) {
		const struct manifest_blob *blob = &transfer->manifest.blobs[i];
		if (transfer->was_there[i])
			continue;
		total += blob->bytes;
		if (is_there(transfer, blob->digest, blob->bytes))
			transfer->done += blob->bytes;
	}
	(void)mote__progress_show(&transfer->progress, transfer->done, total);
	transfer->is_too_much = unfinished > total + again;
	return !transfer->is_too_much;
}

static bool watch_push(void *cookie)
{
	struct transfer *transfer = cookie;
	(void)mote__progress_show(&transfer->progress, transfer->done, transfer->manifest.bytes);
	return true;
}

/** What skopeo says that it does, while it pushes. */
static void hear_push(void *cookie, const char *line)
{
	struct transfer *transfer = cookie;
	bool is_skipped = strstr(line, "Skipping blob sha256:") != NULL;
	const char *text = is_skipped ? strstr(line, "sha256:") : strstr(line, "Upload of layer ");
	if (strstr(line, "... already exists"))
		transfer->tells = true;
	if (!text)
		return;
	transfer->tells = true;
	text = strstr(text, "sha256:");
	for (uint32_t i = 0; text && i < transfer->manifest.count; i++) {
		const struct manifest_blob *blob = &transfer->manifest.blobs[i];
		if (strncmp(text, blob->digest, strlen(blob->digest)) != 0)
			continue;
		transfer->done += blob->bytes;
		transfer->was_there[i] = is_skipped;
	}
}

static int copy(struct transfer *transfer, const char *const *arguments, bool is_push)
{
	struct skopeo skopeo = {
		.arguments = arguments,
		.directory = transfer->layout,
		.line = is_push ? hear_push : NULL,
		.tick = is_push ? watch_push : watch_pull,
		.cookie = transfer,
	};
	uint64_t before = mote__clock_ns();
	int rc = mote__skopeo_run(&skopeo, transfer->err);
	transfer->ns = mote__clock_ns() - before;
	free(skopeo.output);
	if (transfer->is_too_much)
		return fail(transfer->err, MOTE_ESTORE,
			    "the registry sends more bytes than the manifest says");
	return rc;
}

/** The name in the registry with the digest, in place of a tag; NULL: out of memory. */
static char *pinned_name(const struct transfer *transfer)
{
	const char *remote = transfer->remote, *slash = strrchr(remote, '/');
	size_t len = (size_t)(slash - remote) + strcspn(slash, ":@");
	char *name = NULL;
	return asprintf(&name, "%.*s@%s", (int)len, remote, transfer->digest) < 0 ? NULL : name;
}

/** Let skopeo put what is missing into the store's blobs. */
static int bring(struct transfer *transfer)
{
	char *remote = pinned_name(transfer);
	if (!remote)
		return out_of_memory(transfer->err);
	const char *arguments[10] = {"copy", "--preserve-digests", "--dest-shared-blob-dir",
				     transfer->blobs};
	size_t count = 4;
	const char *tls = tls_option(transfer, "--src-tls-verify=false", "--src-tls-verify=true");
	if (tls)
		arguments[count++] = tls;
	arguments[count++] = remote;
	arguments[count] = "oci:.";
	int rc = copy(transfer, arguments, false);
	free(remote);
	return rc;
}

/** Give the tag to what is verified: the library looks only at what is not listed yet. */
static int finish_pull(struct transfer *transfer)
{
	char listed[MOTE_REFERENCE_BYTES];
	struct mote_error ignored;
	int rc = MOTE_OK;
	if (mote__stored_find(transfer->directory, transfer->digest, listed, &ignored) == MOTE_OK)
		rc = mote_store_verify(transfer->directory, transfer->digest, NULL, NULL, NULL,
				       transfer->err);
	if (rc == MOTE_OK)
		rc = mote_store_tag(transfer->directory, transfer->digest, transfer->tag,
				    transfer->err);
	return rc;
}

int mote__transfer_pull(struct transfer *transfer)
{
	uint64_t asked = transfer->options->bytes_max;
	uint64_t most = asked ? asked : MOTE_DEFAULT_LOAD_BYTES;
	if (transfer->manifest.bytes > most) {
		char message[96];
		(void)snprintf(message, sizeof message,
			       "its blobs are 0x%" PRIx64 " bytes, bytes_max is 0x%" PRIx64,
			       transfer->manifest.bytes, most);
		return fail(transfer->err, MOTE_ETOOBIG, message);
	}
	int rc = mote_store_create(transfer->directory, transfer->err);
	if (rc == MOTE_OK)
		rc = open_blobs(transfer);
	/* On the store's file system, because finished blobs are renamed from there. */
	if (rc == MOTE_OK)
		rc = mote__image_layout_make(transfer->directory, NULL, 0, &transfer->layout,
					     transfer->err);
	if (rc != MOTE_OK)
		return rc;
	transfer->manifest_was_there =
		is_there(transfer, transfer->digest, transfer->manifest_bytes);
	bool is_all_there = transfer->manifest_was_there;
	for (uint32_t i = 0; i < transfer->manifest.count; i++) {
		transfer->was_there[i] = is_there(transfer, transfer->manifest.blobs[i].digest,
						  transfer->manifest.blobs[i].bytes);
		is_all_there = is_all_there && transfer->was_there[i];
	}
	if (!is_all_there)
		rc = bring(transfer);
	return rc == MOTE_OK ? finish_pull(transfer) : rc;
}

int mote__transfer_push(struct transfer *transfer, const char *name)
{
	int rc = mote__stored_find(transfer->directory, name, transfer->digest, transfer->err);
	if (rc == MOTE_OK)
		rc = open_blobs(transfer);
	if (rc == MOTE_OK)
		rc = find_local(transfer);
	if (rc == MOTE_OK)
		rc = mote__image_layout_make(temporary_directory(), transfer->digest,
					     transfer->manifest_bytes, &transfer->layout,
					     transfer->err);
	if (rc != MOTE_OK)
		return rc;
	const char *arguments[10] = {"--debug", "copy", "--preserve-digests",
				     "--src-shared-blob-dir", transfer->blobs};
	size_t count = 5;
	const char *tls = tls_option(transfer, "--dest-tls-verify=false", "--dest-tls-verify=true");
	if (tls)
		arguments[count++] = tls;
	arguments[count++] = "oci:.";
	arguments[count] = transfer->remote;
	/* Whatever it uploads, it says so. */
	for (uint32_t i = 0; i < transfer->manifest.count; i++)
		transfer->was_there[i] = true;
	return copy(transfer, arguments, true);
}
