/* SPDX-License-Identifier: MIT */
/*
 * Fault injection: the n-th call that can fail fails, with an error number that it may have. The
 * test is linked with -Wl,--wrap= for each of the functions in fault.c, so calls of the library and
 * of the test go through here. Counts what is alive of what came from these calls.
 */
#ifndef MOTE_TESTS_FAULT_H
#define MOTE_TESTS_FAULT_H

#include <stdbool.h>

/** Fail call number n from now on, from 1; n 0 only counts. */
void fault_arm(unsigned n);
/** Stop. True when a call was failed. */
bool fault_disarm(void);
/** Count a call that the test makes itself; true: it is to fail. */
bool fault_is_due(const char *name);
/** The name of the call that was failed last. */
const char *fault_name(void);

struct fault_live {
	long blocks;      /* of the heap */
	long long mapped; /* bytes */
	long timers;
	long descriptors; /* open ones of the process */
};

struct fault_live fault_live(void);

#endif
