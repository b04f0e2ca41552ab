/* SPDX-License-Identifier: MIT */
/* The offsets that assembly uses are those of the structures. Compiles to nothing. */
#include "offsets.h"

#include "rt.h"

_Static_assert(offsetof(struct mote__guest_state, run) == MOTE__GUEST_RUN, "offset");
_Static_assert(offsetof(struct mote__guest_state, thread) == MOTE__GUEST_THREAD, "offset");
_Static_assert(offsetof(struct mote__guest_state, blocks) == MOTE__GUEST_BLOCKS, "offset");
_Static_assert(offsetof(struct mote_abi_run_info, syscall_word) == MOTE__RUN_SYSCALL_WORD,
	       "offset");

_Static_assert(sizeof(struct mote__guest_function) == sizeof(struct mote_abi_function), "layout");
_Static_assert(offsetof(struct mote__guest_function, target) ==
		       offsetof(struct mote_abi_function, target),
	       "layout");
_Static_assert(offsetof(struct mote__guest_function, name_bytes) ==
		       offsetof(struct mote_abi_function, name_bytes),
	       "layout");
_Static_assert(offsetof(struct mote__guest_function, result) ==
		       offsetof(struct mote_abi_function, result),
	       "layout");
_Static_assert(offsetof(struct mote__guest_function, parameter_count) ==
		       offsetof(struct mote_abi_function, parameter_count),
	       "layout");
_Static_assert(offsetof(struct mote__guest_function, parameters) ==
		       offsetof(struct mote_abi_function, parameters),
	       "layout");
