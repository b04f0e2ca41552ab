/* SPDX-License-Identifier: MIT */
/*
 * What became of a guest, step by step: a snapshot of its image, one behind its initialisation, and
 * one behind every call that the options ask for. Steps count from 1, the image. What a stored
 * snapshot is takes the image's place; if it is ready, there is no initialisation. Every function
 * reports its own failure and returns an exit status.
 */
#ifndef MOTE_CLI_HISTORY_H
#define MOTE_CLI_HISTORY_H

#include <mote.h>

#include "json.h"
#include "options.h"
#include "output.h"
#include "session.h"

#define HISTORY_MAX_STEPS 1000u

struct step {
	const char *what;         /* "image", "stored", "initialise", or the call as it was typed */
	struct short_text result; /* of the call, as people read it; cut */
	mote_snapshot *snapshot;
	struct mote_snapshot_info info;
	uint64_t added_bytes;     /* of layers that the step before does not have */
	uint64_t run_ns, take_ns; /* the guest ran; its snapshot was taken */
	bool is_same;             /* nothing changed: the snapshot of the step before */
};

struct history {
	struct session session;
	struct plan *plan; /* the calls to make */
	struct step *steps;
	uint32_t count;
};

/** Run the guest of the options and take its snapshots. Zero the history before; it is to be freed
 * in any case. */
int mote__history_make(struct history *history, const struct options *options);
void mote__history_free(struct history *history);

/** The last step. */
const struct step *mote__history_last(const struct history *history);

/** Copy the digest of a snapshot of the history. */
int mote__history_digest(const struct history *history, mote_snapshot *snapshot,
			 uint8_t digest[MOTE_DIGEST_BYTES]);

/** Print digest in hex, bytes of it. */
void mote__digest_print(FILE *out, const uint8_t digest[MOTE_DIGEST_BYTES], size_t bytes);

/** The step, from 1, whose snapshot was the first to have the layer; 0 where none has
 * it, which cannot be for those of the last step. */
uint32_t mote__history_step_of(const struct history *history, uint64_t layer_id);

/** An object about a step, numbered from 1, without its digest; not ended yet. */
void mote__step_json(struct json *json, const char *key, const struct history *history,
		     uint32_t number);

#endif
