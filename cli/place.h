/* SPDX-License-Identifier: MIT */
/*
 * How stored snapshots are named on the command line:
 *
 *   STORE            a directory; the snapshot with the tag "latest" in it
 *   STORE:TAG
 *   STORE@sha256:... the digest of a manifest
 *   docker://HOST/NAME[:TAG|@sha256:...]   in a registry
 *
 * A text that is a directory is that directory, whatever characters it has.
 * Where a guest image may stand, too, a text that names a file is the image.
 */
#ifndef MOTE_CLI_PLACE_H
#define MOTE_CLI_PLACE_H

#include <stdbool.h>

#define PLACE_DEFAULT_TAG "latest"

struct place {
	char *directory;  /* the store; of a registry: the text */
	const char *name; /* tag or digest, as typed; NULL: none. Lives in the same memory */
	bool is_digest;   /* name is one */
	bool is_registry;
};

/** Take text apart, and free it with mote__place_free(). False: out of memory. Names are checked
 * for nothing: the library says what is wrong with them. */
bool mote__place_parse(const char *text, struct place *place);
void mote__place_free(struct place *place);

/** Whether text, where a guest image may stand, is a stored snapshot. */
bool mote__place_is_stored(const char *text);

/** The tag of the name in a registry; NULL: it has none. */
const char *mote__place_tag_of(const char *name);

#endif
