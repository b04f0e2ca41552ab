/* SPDX-License-Identifier: MIT */
/* Take, restore and fork what a test has open; each must succeed. */
#ifndef MOTE_TESTS_SNAPSHOTS_H
#define MOTE_TESTS_SNAPSHOTS_H

#include "system.h"

static inline mote_snapshot *take(struct system *s)
{
	mote_snapshot *snapshot = NULL;
	OK(s, mote_snapshot_take(s->sandbox, NULL, &snapshot, &s->err));
	return snapshot;
}

static inline void restore(struct system *s, mote_snapshot *snapshot)
{
	OK(s, mote_sandbox_restore(s->sandbox, snapshot, NULL, &s->err));
}

/* A sandbox of snapshot in place of the one there is. */
static inline void fork_of(struct system *s, mote_snapshot *snapshot)
{
	mote_sandbox *fork = NULL;
	OK(s, mote_sandbox_create(s->engine, snapshot, s->host, NULL, &fork, &s->err));
	mote_sandbox_destroy(s->sandbox);
	s->sandbox = fork;
}

#endif
