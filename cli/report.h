/* SPDX-License-Identifier: MIT */
/* Telling the user what went wrong: "mote: WHAT: MESSAGE", details and a hint below it. */
#ifndef MOTE_CLI_REPORT_H
#define MOTE_CLI_REPORT_H

#include <mote.h>
#include <stdbool.h>

/** When it failed: decides about the hint. */
enum stage {
	STAGE_LOAD,   /* reading the guest image */
	STAGE_CREATE, /* making the engine, the host and the sandbox */
	STAGE_START,  /* the guest initialises itself */
	STAGE_CALL,
	STAGE_SNAPSHOT, /* taking, reading or restoring a snapshot */
	STAGE_STORE,    /* anything with a store or a registry */
};

struct failure {
	const char *what; /* the guest's or the store's path, or the function's name */
	const struct mote_error *err;
	const mote_snapshot *snapshot; /* for the names of addresses; may be NULL */
	enum stage stage;
	bool is_json; /* also print an object with "error" to standard output */
};

/** Report a failure of the library; returns the exit status for it. */
int mote__report_failure(const struct failure *failure);

/** Report err of work with the store or registry at what. */
int mote__report_store(const char *what, bool is_json, const struct mote_error *err);

/** The command line is wrong: one line about it, another that points to --help. command may be
 * NULL. Returns EXIT_USAGE. */
__attribute__((format(printf, 2, 3))) int mote__report_usage(const char *command,
							     const char *format, ...);

/** Another failure of the host, such as a file that cannot be written. Returns EXIT_HOST. */
__attribute__((format(printf, 2, 3))) int mote__report_host(const char *what, const char *format,
							    ...);

/** A line of advice, below an error. */
__attribute__((format(printf, 1, 2))) void mote__report_hint(const char *format, ...);

#endif
