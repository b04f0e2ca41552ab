/* SPDX-License-Identifier: MIT */
/*
 * Filling struct mote_error. Every failing path of the library goes through one of these, returns
 * their result, and never overwrites a deeper message.
 */
#ifndef MOTE_BASE_ERROR_H
#define MOTE_BASE_ERROR_H

#include <mote.h>

__attribute__((format(printf, 3, 4))) void mote__error_fill(struct mote_error *err, int code,
							    const char *format, ...);
__attribute__((format(printf, 4, 5))) void mote__error_fill_system(struct mote_error *err, int code,
								   int system_errno,
								   const char *format, ...);

/** Fill err (which may be NULL) with code, which has no side effects, and a message: an expression
 * with the value of code, so that callers and analysers see that it is negative. */
#define mote__fail(err, code, ...) (mote__error_fill((err), (code), __VA_ARGS__), (code))

/** The same for a refused system call: appends what system_errno means. */
#define mote__fail_system(err, code, system_errno, ...) \
	(mote__error_fill_system((err), (code), (system_errno), __VA_ARGS__), (code))

/** Whose fault code is. */
int mote__category(int code);

#endif
