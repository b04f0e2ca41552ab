/* SPDX-License-Identifier: MIT */
/*
 * Kills a process at a system call of one's choice: a job runs in a child that is traced
 * (ptrace(2)), and the child gets SIGKILL when it enters its n-th system call, which then does not
 * happen, or happens by half. What a child did can be written down, for tests of the order.
 */
#ifndef MOTE_TESTS_KILLER_H
#define MOTE_TESTS_KILLER_H

#include <stdbool.h>
#include <stdint.h>

/** Runs in the child: no CHECK there. Both return 0 for success, else a number below 100. */
struct killer_job {
	int (*prepare)(void *cookie); /* not counted; may be NULL */
	int (*run)(void *cookie);
	void *cookie;
};

enum killer_way {
	KILLER_BEFORE, /* the call does not happen */
	KILLER_TORN,   /* a write of several bytes writes half of them; others as before */
};

#define KILLER_PATH_BYTES 256u
#define KILLER_CALLS_MAX  4096u

/** A system call, as it was entered. Paths are absolute; "": the call has none. */
struct killer_call {
	long number; /* SYS_... */
	int64_t result;
	uint64_t flags;               /* of an open */
	char path[KILLER_PATH_BYTES]; /* of the file, the descriptor or the name that it is about */
	char to[KILLER_PATH_BYTES];   /* of what is renamed or linked: the new name */
};

struct killer_log {
	unsigned count;
	struct killer_call call[KILLER_CALLS_MAX];
};

struct killer_outcome {
	bool is_finished; /* the job came to its end before its n-th system call */
	int status;       /* then what it returned */
	unsigned calls;   /* that it entered */
};

/** n from 1; 0: never. log may be NULL. Skips the test where nothing may be traced. */
struct killer_outcome killer_run(const struct killer_job *job, unsigned n, enum killer_way way,
				 struct killer_log *log);

#endif
