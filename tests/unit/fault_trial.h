/* SPDX-License-Identifier: MIT */
/*
 * The loop of fault tests: an operation with its first, second, third ... call of the system
 * failing, until it needs no more, with and without a place for the error.
 */
#ifndef MOTE_TESTS_FAULT_TRIAL_H
#define MOTE_TESTS_FAULT_TRIAL_H

#include "check.h"
#include "core/utf8.h"
#include "fault.h"

#include <mote.h>

#define FAULT_CALLS_MAX 400u

struct trial {
	const char *name;
	void (*prepare)(void); /* may be NULL; nothing fails here */
	int (*run)(struct mote_error *err);
	void (*finish)(int rc); /* may be NULL; checks what is left, and removes it */
	bool may_pass;          /* some failures are made up for */
};

static inline void check_fault(int rc, const struct mote_error *err)
{
	if (err->code != rc || !err->message[0])
		check_failed(__FILE__, __LINE__, "after %s: %d, %s", fault_name(), rc,
			     err->message);
	CHECK(mote__utf8_is_valid(err->message, strlen(err->message)));
}

/* One attempt; true when a call was failed. */
static inline bool try_one(const struct trial *t, unsigned n, bool with_error)
{
	struct mote_error err;
	memset(&err, 0, sizeof err);
	const struct fault_live before = fault_live();
	if (t->prepare)
		t->prepare();
	fault_arm(n);
	int rc = t->run(with_error ? &err : NULL);
	bool has_failed = fault_disarm();
	if (!has_failed && rc != MOTE_OK)
		check_failed(__FILE__, __LINE__, "%s: %d without a failure: %s", t->name, rc,
			     err.message);
	if (has_failed && rc == MOTE_OK && !t->may_pass)
		check_failed(__FILE__, __LINE__, "%s: call %u, %s, failed unseen", t->name, n,
			     fault_name());
	if (rc < 0 && with_error)
		check_fault(rc, &err);
	if (t->finish)
		t->finish(rc);
	const struct fault_live after = fault_live();
	if (before.blocks != after.blocks || before.mapped != after.mapped ||
	    before.timers != after.timers || before.descriptors != after.descriptors)
		check_failed(__FILE__, __LINE__,
			     "%s: call %u, %s: leaks %ld blocks, %lld bytes mapped, %ld timers, "
			     "%ld descriptors",
			     t->name, n, fault_name(), after.blocks - before.blocks,
			     after.mapped - before.mapped, after.timers - before.timers,
			     after.descriptors - before.descriptors);
	return has_failed;
}

/** Returns how many calls there are that can fail. */
static inline unsigned try_all(const struct trial *t)
{
	for (unsigned n = 1; n <= FAULT_CALLS_MAX; n++) {
		bool has_failed = try_one(t, n, true);
		if (try_one(t, n, false) || has_failed)
			continue;
		check_note("%s: %u calls that can fail", t->name, n - 1);
		return n - 1;
	}
	check_failed(__FILE__, __LINE__, "%s: still failing after %u calls", t->name,
		     FAULT_CALLS_MAX);
}

#endif
