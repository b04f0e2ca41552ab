/* SPDX-License-Identifier: MIT */
/*
 * A guest function with the arguments that the user typed for it. The guest's table of exports,
 * when it has one, says which types they have; without one the words say it themselves.
 */
#ifndef MOTE_CLI_TARGET_H
#define MOTE_CLI_TARGET_H

#include "arguments.h"
#include "session.h"

struct target {
	const char *function;
	uint32_t result; /* enum mote_type */
	uint32_t count;
	struct argument arguments[MOTE_MAX_PARAMETERS];
	struct mote_value values[MOTE_MAX_PARAMETERS]; /* of arguments, in a row */
};

/** Find the function in the loaded session and parse count words for it. Reports what is wrong and
 * returns an exit status; target is to be freed in any case. */
int mote__target_resolve(struct target *target, const struct session *session, const char *function,
			 char **words, int count);
void mote__target_free(struct target *target);

/** Call it once. Returns a mote_code; reports nothing. */
int mote__target_call(const struct target *target, const struct session *session,
		      struct mote_value *result, struct mote_error *err);

/** The exported function of that name. */
bool mote__export_find(const mote_snapshot *snapshot, const char *name,
		       struct mote_function *function);

#endif
