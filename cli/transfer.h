/* SPDX-License-Identifier: MIT */
/*
 * Snapshots between stores and registries, through skopeo. While it reads or writes the blobs of a
 * store, a shared lock on them is held, for which a collection waits. What came from a registry is
 * verified before the store lists it.
 */
#ifndef MOTE_CLI_TRANSFER_H
#define MOTE_CLI_TRANSFER_H

#include <mote.h>
#include <signal.h>

#include "manifest.h"
#include "options.h"
#include "progress.h"

struct transfer {
	const struct options *options;
	const char *remote;    /* "docker://..." */
	const char *directory; /* the store */
	const char *tag;       /* pull: to get; NULL: none */
	char digest[MOTE_REFERENCE_BYTES];
	struct manifest manifest;
	uint64_t manifest_bytes;
	int lock;                           /* the directory of blobs; -1: none */
	char *layout;                       /* where skopeo works; NULL: none */
	char *blobs;                        /* path of the store's blobs, absolute */
	bool was_there[MANIFEST_MAX_BLOBS]; /* of manifest.blobs: the other side had
					       it */
	bool manifest_was_there;
	bool tells; /* push: skopeo said what it does */
	bool is_too_much;
	uint64_t done;
	uint64_t ns;
	struct progress progress;
	sigset_t mask; /* as it was */
	struct mote_error *err;
};

/* The functions below return a mote_code and fill transfer->err. */

/** Signals that end programs are blocked from here to mote__transfer_end(), so that nothing is left
 * behind. verb: for the progress. */
struct transfer mote__transfer_begin(const struct options *options, const char *remote,
				     const char *directory, const char *verb,
				     struct mote_error *err);
void mote__transfer_end(struct transfer *transfer);

/** Ask the registry for the manifest: fills digest, manifest and manifest_bytes. */
int mote__transfer_find(struct transfer *transfer);
/** Bring what was found into the store, verify and list it. */
int mote__transfer_pull(struct transfer *transfer);
/** Send the snapshot that the store lists as name (NULL: "latest"). */
int mote__transfer_push(struct transfer *transfer, const char *name);

/** Have what the registry calls name ("docker://...") in the user's own store, which is
 * $XDG_CACHE_HOME/mote/store or ~/.cache/mote/store. Nothing is brought that is there already.
 * *directory is to be freed in any case. Reports its own failure and returns an exit status. */
int mote__transfer_fetch(const struct options *options, const char *name, char **directory,
			 char digest[MOTE_REFERENCE_BYTES]);

#endif
