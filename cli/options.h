/* SPDX-License-Identifier: MIT */
/*
 * The command line of every command: one table of options, from which they are parsed, listed by
 * --help and suggested when mistyped. Options may stand anywhere before "--"; what looks like a
 * negative number is not an option, so that "mote call GUEST add 2 -3" works.
 */
#ifndef MOTE_CLI_OPTIONS_H
#define MOTE_CLI_OPTIONS_H

#include <mote.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/** Commands, one bit each: which of them take an option. */
enum command {
	COMMAND_RUN = 1u << 0,
	COMMAND_CALL = 1u << 1,
	COMMAND_INSPECT = 1u << 2,
	COMMAND_DOCTOR = 1u << 3,
	COMMAND_BENCH = 1u << 4,
	COMMAND_SNAPSHOT_TAKE = 1u << 5,
	COMMAND_SNAPSHOT_INSPECT = 1u << 6,
	COMMAND_SNAPSHOT_DIFF = 1u << 7,
	COMMAND_SNAPSHOT_FLATTEN = 1u << 8,
	COMMAND_SNAPSHOT_SAVE = 1u << 9,
	COMMAND_SNAPSHOT_LOAD = 1u << 10,
	COMMAND_SNAPSHOT_LIST = 1u << 11,
	COMMAND_SNAPSHOT_VERIFY = 1u << 12,
	COMMAND_SNAPSHOT_TAG = 1u << 13,
	COMMAND_SNAPSHOT_REMOVE = 1u << 14,
	COMMAND_SNAPSHOT_GC = 1u << 15,
	COMMAND_SNAPSHOT_PUSH = 1u << 16,
	COMMAND_SNAPSHOT_PULL = 1u << 17,
};

/** All that take snapshots of a guest that they run. */
#define COMMANDS_SNAPSHOT                                                           \
	(COMMAND_SNAPSHOT_TAKE | COMMAND_SNAPSHOT_INSPECT | COMMAND_SNAPSHOT_DIFF | \
	 COMMAND_SNAPSHOT_FLATTEN | COMMAND_SNAPSHOT_SAVE)
/** All that run a guest. */
#define COMMANDS_RUNNING (COMMAND_RUN | COMMAND_CALL | COMMAND_BENCH | COMMANDS_SNAPSHOT)
/** All that have a guest, an image or a stored one: struct options has it apart from operands. */
#define COMMANDS_GUEST (COMMANDS_RUNNING | COMMAND_INSPECT | COMMAND_SNAPSHOT_LOAD)

#define MAX_CALLS 64

#define RESULT_NOT_SAID UINT32_MAX

/** Zero means: not given, the library's default. */
struct options {
	enum command command;
	const char *command_name;
	/* Path of an image, or a stored snapshot (place.h); NULL: none was given. */
	const char *guest;
	const char *stored; /* --from: guest, which can only be stored */
	char **operands;    /* what is not an option and not the guest, in order */
	int operand_count;

	const char *call;             /* run: function to call */
	const char *calls[MAX_CALLS]; /* snapshot: calls to make, in order */
	uint32_t call_count;
	struct mote_metadata metadata[MOTE_MAX_METADATA]; /* borrow metadata_text */
	char *metadata_text[MOTE_MAX_METADATA];
	uint32_t metadata_count;
	const char *device; /* path of the KVM device */
	const char *init_data;
	const char *output; /* file for the result */
	const char *svg;    /* file for the drawing */
	uint64_t timeout_ns;
	uint64_t heap_bytes, stack_bytes, input_bytes, output_bytes, scratch_bytes, memory_max;
	uint64_t image_bytes_max;
	uint64_t bytes_max;  /* of blobs of a stored snapshot */
	uint64_t repeat;     /* calls; 1 when not given */
	uint64_t from;       /* snapshot diff: step to compare with */
	uint64_t iterations; /* bench: calls that are measured */
	uint64_t creates;    /* bench: sandboxes that are measured */
	uint32_t result;     /* enum mote_type, or RESULT_NOT_SAID */
	uint32_t log_level;
	bool ignore_extensions, executable_heap, allow_unfiltered_msrs;
	bool raw, json, statistics, exports, restore;
	bool is_new; /* snapshot save: the image, without running it */
	bool trust_memory, accept_processor, quiet;
	bool tls_verify, has_tls_verify; /* the first counts where the second is set */
	bool help;
};

/** Parse argv (behind the command's name; reordered). Returns EXIT_OK, or EXIT_USAGE after having
 * said what is wrong. command and command_name are set before. */
int mote__options_parse(struct options *options, int argc, char **argv);
void mote__options_free(struct options *options);

/** The name of an option that shapes an image and was given, so that it means nothing for a stored
 * snapshot; NULL: none. */
const char *mote__options_of_image(const struct options *options);

/** List the options of command. */
void mote__options_help(FILE *out, enum command command);

#endif
