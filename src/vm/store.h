/* SPDX-License-Identifier: MIT */
/* Parts of loading snapshots from stores. */
#ifndef MOTE_VM_STORE_H
#define MOTE_VM_STORE_H

#include "store/facts.h"
#include "store/store.h"
#include "vm/objects.h"

/** A load. */
struct mote__load {
	const struct mote__store *store;
	const struct mote_load_options *options;
	bool is_check; /* of the store alone: memory is not copied, the processor is not asked */
	struct mote__manifest manifest;
	struct mote__facts facts;
	uint64_t done, total; /* bytes of blobs */
	mote_snapshot *snapshot;
};

/** The snapshot of a manifest. load->store, options and is_check are set. On success load->snapshot
 * is one reference; to be ended with mote__load_end() in any case. */
int mote__load_manifest(struct mote__load *load, const struct mote__blob *manifest,
			struct mote_error *err);
void mote__load_end(struct mote__load *load);

/** What the facts say, before any memory is there: kind, sizes, registers, processor. Makes
 * load->snapshot with its layout and its image. */
int mote__load_facts(struct mote__load *load, struct mote_error *err);
/** What they say of memory and tables that are there: entries, write set. */
int mote__load_start(struct mote__load *load, struct mote_error *err);

/** The error rc, of a part that does not know where its bytes came from: MOTE_ESTORE is said of
 * what. Returns rc. */
int mote__load_name(struct mote_error *err, int rc, const char *what);
/** More bytes of blobs were read; MOTE_ECANCELED when the caller wants to end. */
int mote__load_advance(struct mote__load *load, uint64_t bytes, struct mote_error *err);

#endif
