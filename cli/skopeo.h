/* SPDX-License-Identifier: MIT */
/*
 * Running skopeo, which speaks with registries: mote has no protocol of its own for that, and no
 * credentials. It is run without a shell. What it says is read line by line; what a registry says
 * through it is not trusted.
 */
#ifndef MOTE_CLI_SKOPEO_H
#define MOTE_CLI_SKOPEO_H

#include <mote.h>
#include <stdbool.h>
#include <stddef.h>

#define SKOPEO_MAX_OUTPUT (1u << 20)

struct skopeo {
	const char *const *arguments; /* behind "skopeo"; NULL at the end */
	const char *directory;        /* where it runs; NULL: here */
	/* Gets each line that it logs; may be NULL. */
	void (*line)(void *cookie, const char *line);
	/* Called some times a second; returns false to end it. May be NULL. */
	bool (*tick)(void *cookie);
	void *cookie;
	/* What it wrote to standard output; to be freed. At most SKOPEO_MAX_OUTPUT, with a NUL. */
	char *output;
	size_t output_bytes;
};

/** Run skopeo and wait for it. Returns a mote_code: MOTE_ENOTFOUND when the registry has nothing of
 * that name, MOTE_ECANCELED when tick ended it or a signal came (which is pending then), else
 * MOTE_ESYSTEM, with what skopeo said. Signals that end a program are to be blocked. */
int mote__skopeo_run(struct skopeo *skopeo, struct mote_error *err);

/** The message of a line that skopeo logs: what is behind msg=, or all of it. Overwrites line. */
const char *mote__skopeo_message(char *line);

#endif
