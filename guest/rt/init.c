/* SPDX-License-Identifier: MIT */
/* What a program may leave out: its own part of initialise. */
#include <mote_guest.h>

__attribute__((weak)) void mote_guest_init(void)
{
}
