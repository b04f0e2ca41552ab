/* SPDX-License-Identifier: MIT */
/* A list of functions with their signatures, as images and hosts tell of them. */
#ifndef MOTE_BASE_FUNCTIONS_H
#define MOTE_BASE_FUNCTIONS_H

#include <mote.h>

/** Names lie in text. Both parts come from mote__alloc(). */
struct mote__functions {
	uint32_t count;
	struct mote_function *function;
	char *text;
};

void mote__functions_free(struct mote__functions *functions);

#endif
