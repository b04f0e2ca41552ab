/* SPDX-License-Identifier: MIT */
/*
 * A guest as the command runs it: image or stored snapshot, host and one sandbox, made from the
 * options. The host prints to standard output (standard error where standard output carries data;
 * nowhere while it is measured) and logs to standard error; other functions that the guest imports
 * are there and fail. Every function reports its own failure and returns an exit status.
 */
#ifndef MOTE_CLI_SESSION_H
#define MOTE_CLI_SESSION_H

#include <mote.h>

#include "json.h"
#include "options.h"
#include "report.h"

struct session {
	const struct options *options;
	const char *guest; /* path of the image, or a stored snapshot */
	bool is_stored;    /* the second */
	mote_engine *engine;
	mote_snapshot *snapshot;
	mote_host *host;
	mote_sandbox *sandbox;
	uint64_t load_ns, create_ns, start_ns; /* how long each step took */
};

/** Read the image or the stored snapshot that the options name. Needs no hypervisor. Zero the
 * session before. */
int mote__session_load(struct session *session, const struct options *options);
/** Engine and host, when there are none, and a new sandbox. */
int mote__session_create(struct session *session);
/** Another sandbox of snapshot, with engine and host of session, which has one. Returns a
 * mote_code; reports nothing. */
int mote__session_fork(const struct session *session, mote_snapshot *snapshot,
		       mote_sandbox **sandbox, struct mote_error *err);
/** Let the guest initialise itself. */
int mote__session_start(struct session *session);
/** Destroy the sandbox, so that another can be made. */
void mote__session_drop(struct session *session);
/** Destroy everything; any state. */
void mote__session_close(struct session *session);

/** Report err of an operation on session. */
int mote__session_fail(const struct session *session, const char *what, enum stage stage,
		       const struct mote_error *err);

/** A table of times and counters; call_ns is all calls together. */
void mote__statistics_print(FILE *out, const struct session *session, uint64_t call_ns);
void mote__statistics_json(struct json *json, const struct session *session, uint64_t call_ns);

/** Nanoseconds of a clock that only goes forward. */
uint64_t mote__clock_ns(void);

#endif
