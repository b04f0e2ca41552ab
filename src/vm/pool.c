/* SPDX-License-Identifier: MIT */
/*
 * The pool of an engine: sandboxes that nobody has, wiped when they came in, with a snapshot in
 * place. Making a virtual machine costs a thousand times more than cleaning one. No lock: a bag of
 * pointers, keyed by the snapshot that each has in place. A shell keeps its snapshot, so keys are
 * not used twice.
 */
#include "vm/objects.h"

#include "base/error.h"

/* Shells of the wrong kind that are looked at before a new one is made. */
#define TRIES 16

#define MESSAGE_KEPT_BYTES 0x10000u

static uint64_t key_of(const mote_snapshot *snapshot)
{
	return (uint64_t)(uintptr_t)snapshot;
}

/* Back into the pool, all that one thread held. */
static void put_back(mote_engine *engine, mote_sandbox *held)
{
	while (held) {
		mote_sandbox *next = held->next;
		if (!mote__bag_put(engine->pool, key_of(held->snapshot), held))
			mote__shell_free(engine, held);
		held = next;
	}
}

/* Any shell that can be given snapshot. */
static mote_sandbox *take_other(mote_engine *engine, const mote_snapshot *snapshot)
{
	mote_sandbox *held = NULL, *shell = NULL;
	for (int i = 0; i < TRIES; i++) {
		uint64_t key = 0;
		shell = mote__bag_take_any(engine->pool, &key);
		if (!shell || mote__snapshot_fits(shell->snapshot, snapshot))
			break;
		shell->next = held;
		held = shell;
		shell = NULL;
	}
	put_back(engine, held);
	return shell;
}

int mote__pool_take(mote_engine *engine, mote_snapshot *snapshot, mote_sandbox **shell,
		    struct mote_error *err)
{
	*shell = mote__bag_take(engine->pool, key_of(snapshot));
	if (*shell)
		return MOTE_OK;
	mote_sandbox *other = take_other(engine, snapshot);
	if (!other)
		return MOTE_OK;
	int rc = mote__restore(other, snapshot, false, NULL, err);
	if (rc < 0)
		mote__shell_free(engine, other);
	else
		*shell = other;
	return rc;
}

static bool may_be_kept(const mote_engine *engine, const mote_sandbox *sandbox)
{
	return engine->pool_max && mote__engine_check(engine, NULL) == MOTE_OK &&
	       sandbox->machine && sandbox->state != MOTE_STATE_BROKEN && !sandbox->is_fatal &&
	       mote__bag_count(engine->pool, 0) < engine->pool_max;
}

bool mote__pool_park(mote_engine *engine, mote_sandbox *sandbox)
{
	if (!may_be_kept(engine, sandbox))
		return false;
	if (mote__restore(sandbox, sandbox->snapshot, false, NULL, NULL) < 0)
		return false;
	if (sandbox->message_cap > MESSAGE_KEPT_BYTES)
		return false;
	sandbox->user_data = NULL;
	sandbox->is_strict = false;
	sandbox->memory_max = 0;
	return mote__bag_put(engine->pool, key_of(sandbox->snapshot), sandbox);
}

static int check_fill(mote_engine *engine, mote_snapshot *snapshot, uint32_t count,
		      struct mote_error *err)
{
	if (!engine || !snapshot)
		return mote__fail(err, MOTE_EINVAL, "%s is NULL", engine ? "snapshot" : "engine");
	if (count > engine->pool_max)
		return mote__fail(err, MOTE_EINVAL, "count is %u, pool_max is %u", count,
				  engine->pool_max);
	int rc = mote__engine_check(engine, err);
	return rc < 0 ? rc : mote__snapshot_check(snapshot, err);
}

/* A shell of another snapshot makes room. */
static bool evict_other(mote_engine *engine, uint64_t key)
{
	mote_sandbox *own = NULL, *other;
	uint64_t found = key;
	for (;;) {
		other = mote__bag_take_any(engine->pool, &found);
		if (!other || found != key)
			break;
		other->next = own;
		own = other;
	}
	if (other)
		mote__shell_free(engine, other);
	put_back(engine, own);
	return other != NULL;
}

static bool put(mote_engine *engine, mote_snapshot *snapshot, mote_sandbox *shell)
{
	do
		if (mote__bag_put(engine->pool, key_of(snapshot), shell))
			return true;
	while (evict_other(engine, key_of(snapshot)));
	return false;
}

int mote_engine_fill(mote_engine *engine, mote_snapshot *snapshot, uint32_t count,
		     struct mote_error *err)
{
	int rc = check_fill(engine, snapshot, count, err);
	/* Others may take them as fast as they come: at most count are made. */
	for (uint32_t i = 0; i < count && rc == MOTE_OK; i++) {
		if (mote__bag_count(engine->pool, key_of(snapshot)) >= count)
			break;
		mote_sandbox *shell = NULL;
		rc = mote__shell_make(engine, snapshot, &shell, err);
		if (rc == MOTE_OK && !put(engine, snapshot, shell)) {
			mote__shell_free(engine, shell);
			return MOTE_OK; /* other threads fill it, too */
		}
	}
	return rc;
}

uint32_t mote_engine_trim(mote_engine *engine, const mote_snapshot *snapshot)
{
	uint32_t count = 0;
	for (;; count++) {
		uint64_t key = 0;
		mote_sandbox *shell = snapshot ? mote__bag_take(engine->pool, key_of(snapshot))
					       : mote__bag_take_any(engine->pool, &key);
		if (!shell)
			return count;
		mote__shell_free(engine, shell);
	}
}
