/* SPDX-License-Identifier: MIT */
/* What a manifest, from a registry or a store, says that a snapshot consists of: enough to know
 * how much there is to bring, before anything is. The library checks the rest. */
#ifndef MOTE_CLI_MANIFEST_H
#define MOTE_CLI_MANIFEST_H

#include <mote.h>
#include <stdbool.h>

#define MANIFEST_MAX_BLOBS 64

struct manifest_blob {
	char digest[MOTE_REFERENCE_BYTES];
	uint64_t bytes;
};

struct manifest {
	uint32_t count; /* of different blobs, the manifest itself not among them */
	struct manifest_blob blobs[MANIFEST_MAX_BLOBS];
	uint64_t bytes; /* of all of them */
};

/** Read text. Returns a mote_code: MOTE_ESTORE when it is no manifest of a snapshot. */
int mote__manifest_of(const char *text, size_t len, struct manifest *manifest,
		      struct mote_error *err);

/** Whether text is "sha256:" and 64 hexadecimal digits. */
bool mote__digest_is_valid(const char *text);

#endif
