/* SPDX-License-Identifier: MIT */
/*
 * Filling struct mote_error. Every failing path of the library goes through one of these, returns
 * their result, and never overwrites a deeper message.
 */
#ifndef MOTE_BASE_ERROR_H
#define MOTE_BASE_ERROR_H

#include <mote.h>

/** Fill err (which may be NULL) with code and a message, and return code. */
__attribute__((format(printf, 3, 4))) int mote__fail(struct mote_error *err, int code,
						     const char *format, ...);

/** The same for a refused system call: appends what system_errno means. Returns code. */
__attribute__((format(printf, 4, 5))) int mote__fail_system(struct mote_error *err, int code,
							    int system_errno, const char *format,
							    ...);

/** Whose fault code is. */
int mote__category(int code);

#endif
