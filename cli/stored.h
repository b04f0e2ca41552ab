/* SPDX-License-Identifier: MIT */
/* Loading stored snapshots, from a directory or a registry. */
#ifndef MOTE_CLI_STORED_H
#define MOTE_CLI_STORED_H

#include <mote.h>

#include "options.h"

struct stored {
	char *directory;                   /* the store that it was loaded from */
	char digest[MOTE_REFERENCE_BYTES]; /* of the manifest; "": not looked up */
	mote_snapshot *snapshot;
	uint64_t load_ns;
};

/** Load what text (place.h) names. Reports its own failure and returns an exit status; stored is to
 * be freed in any case. */
int mote__stored_load(struct stored *stored, const struct options *options, const char *text);
void mote__stored_free(struct stored *stored);

/** Find the digest of name (a tag or a digest; NULL: "latest") in the store. Returns a mote_code.
 * */
int mote__stored_find(const char *directory, const char *name, char digest[MOTE_REFERENCE_BYTES],
		      struct mote_error *err);

#endif
