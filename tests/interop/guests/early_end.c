/* SPDX-License-Identifier: MIT */
/* A guest that ends before its first call. */
#include <mote_guest.h>

void mote_guest_init(void)
{
	mote_guest_abort(33, "it ends here");
}

MOTE_EXPORT(void, nothing)
{
}
