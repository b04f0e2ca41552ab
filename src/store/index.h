/* SPDX-License-Identifier: MIT */
/* The index as it is read and looked at within the store. */
#ifndef MOTE_STORE_INDEX_H
#define MOTE_STORE_INDEX_H

#include "store/json.h"
#include "store/store.h"

/** The annotation of an entry that is its tag. */
#define MOTE__TAG_NAME "org.opencontainers.image.ref.name"

/** MOTE_EINVAL unless text is a reference. *is_digest: then it is in digest, else text is a tag. */
int mote__reference_check(const char *text, bool *is_digest, uint8_t digest[MOTE_DIGEST_BYTES],
			  struct mote_error *err);

/** Read index.json: the document, and what is listed in it. A store that is half made lists
 * nothing. On success to be closed with mote__index_close(). */
struct mote__index {
	char *text;
	struct mote__json json;
	struct mote__json_at list; /* "manifests" */
	size_t count;
};

int mote__index_open(const struct mote__store *store, struct mote__index *index,
		     struct mote_error *err);
void mote__index_close(struct mote__index *index);

/** What a manifest's text says that it is of. */
enum mote__kind {
	MOTE__KIND_SNAPSHOT,
	MOTE__KIND_OTHER,
	MOTE__KIND_UNKNOWN, /* it cannot be read */
};

/** Of entry number i, without is_snapshot. MOTE_ESTORE. */
int mote__index_entry_at(struct mote__index *index, size_t i, struct mote__index_entry *entry);
/** kind of what entry number i names. A manifest is read when the entry does not tell. */
enum mote__kind mote__index_kind(const struct mote__store *store, struct mote__index *index,
				 size_t i, const struct mote__index_entry *entry);

#endif
