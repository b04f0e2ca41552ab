/* SPDX-License-Identifier: MIT */
/* The two tables that the note names. Their entries come from the macros of mote_guest.h. */
#include "rt.h"

extern const struct mote__guest_function mote__guest_imports_first[], mote__guest_imports_end[];

/* struct mote_abi_table with pointers, to be constant data. */
struct table {
	const struct mote__guest_function *first, *end;
};

extern const struct table mote__guest_exports, mote__guest_imports;

const struct table mote__guest_exports = {mote__guest_exports_first, mote__guest_exports_end};
const struct table mote__guest_imports = {mote__guest_imports_first, mote__guest_imports_end};

_Static_assert(sizeof(struct table) == sizeof(struct mote_abi_table), "layout");
