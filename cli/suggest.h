/* SPDX-License-Identifier: MIT */
/* "Did you mean ...?": the name nearest to a mistyped word. */
#ifndef MOTE_CLI_SUGGEST_H
#define MOTE_CLI_SUGGEST_H

struct suggestion {
	const char *word; /* what was typed */
	const char *best; /* nearest name so far; NULL: none is near enough */
	unsigned distance;
};

/** Consider name, which is borrowed. */
void mote__suggest_offer(struct suggestion *suggestion, const char *name);

#endif
