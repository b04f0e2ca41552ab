/* SPDX-License-Identifier: MIT */
/*
 * How far long work has come: one line on standard error that is redrawn now and then and erased at
 * the end. Only on a terminal, and only where nobody asked for quiet or JSON.
 */
#ifndef MOTE_CLI_PROGRESS_H
#define MOTE_CLI_PROGRESS_H

#include <mote.h>
#include <stdbool.h>

#include "options.h"

struct progress {
	const char *verb; /* such as "loading" */
	bool is_on, is_drawn;
	uint64_t start_ns, drawn_ns;
};

/** Begin to count time. */
struct progress mote__progress_begin(const struct options *options, const char *verb);
/** A mote_progress_callback; cookie: the struct progress. Never ends the work. */
int mote__progress_show(void *cookie, uint64_t done, uint64_t total);
/** A mote_warning_callback with the same cookie: a line of its own. Never ends the work. */
int mote__progress_warn(void *cookie, const char *text);
/** Leave no trace of the line. */
void mote__progress_end(struct progress *progress);

/** The line, without its erasure, for done of total bytes after ns. */
void mote__progress_line(char *line, size_t size, const char *verb, uint64_t done, uint64_t total,
			 uint64_t ns);

#endif
