/* SPDX-License-Identifier: MIT */
/* Offsets that assembly needs; offsets.c checks them. */
#ifndef MOTE_GUEST_OFFSETS_H
#define MOTE_GUEST_OFFSETS_H

#define MOTE__GUEST_RUN        0 /* struct mote__guest_state */
#define MOTE__GUEST_THREAD     8
#define MOTE__GUEST_BLOCKS     16
#define MOTE__RUN_SYSCALL_WORD 8 /* struct mote_abi_run_info */

#endif
