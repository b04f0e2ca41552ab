/* SPDX-License-Identifier: MIT */
/*
 * Putting a snapshot in place: the slots of a machine, scratch, and the private view of the page
 * tables in it. A snapshot's slot is deleted before another one's is added, which also makes every
 * kind of KVM forget its translations.
 */
#include "vm/objects.h"

#include <errno.h>

#include "base/error.h"
#include "base/math.h"
#include "base/sys.h"
#include "core/confined.h"

/* Frames that the first slot covers: a slot costs the kernel memory for each page of it. */
#define FRAMES_AT_START 4096u

extern const uint8_t mote__system_pages[];

/* ---- slots ----------------------------------------------------------------------------------- */

static int map_slot(mote_sandbox *sandbox, uint32_t slot, uint64_t gpa, const void *host,
		    uint64_t bytes, bool is_writable, struct mote_error *err)
{
	struct mote__machine *m = sandbox->machine;
	return m->ops->map(m, slot, gpa, host, bytes, is_writable, err);
}

static int map_memory(mote_sandbox *sandbox, const mote_snapshot *s, struct mote_error *err)
{
	uint64_t base = s->layout.family->base_gpa;
	int rc = map_slot(sandbox, MOTE__SLOT_SNAPSHOT, base, s->memory + base,
			  s->memory_end - base, false, err);
	sandbox->has_memory = rc == MOTE_OK;
	return rc;
}

static int unmap_memory(mote_sandbox *sandbox, struct mote_error *err)
{
	const mote_snapshot *s = sandbox->snapshot;
	uint64_t base = s->layout.family->base_gpa;
	if (!sandbox->has_memory)
		return MOTE_OK;
	sandbox->has_memory = false;
	return map_slot(sandbox, MOTE__SLOT_SNAPSHOT, base, s->memory + base, 0, false, err);
}

int mote__sandbox_flush(mote_sandbox *sandbox, struct mote_error *err)
{
	int rc = unmap_memory(sandbox, err);
	return rc < 0 ? rc : map_memory(sandbox, sandbox->snapshot, err);
}

int mote__sandbox_unmap_all(mote_sandbox *sandbox, struct mote_error *err)
{
	int rc = MOTE_OK;
	while (sandbox->mapped_count && rc == MOTE_OK) {
		struct mote__mapped *m = &sandbox->mapped[sandbox->mapped_count - 1];
		/* A machine that took another one's place has no slots yet. */
		if (sandbox->slots)
			rc = map_slot(sandbox, MOTE__SLOT_MAPPING + sandbox->mapped_count - 1,
				      m->gpa, m->host, 0, false, err);
		if (rc < 0)
			return rc;
		if (m->is_own)
			mote__sys_unmap((void *)(uintptr_t)m->host, m->bytes);
		sandbox->mapped_count--;
	}
	return rc;
}

/* ---- putting a snapshot in place ------------------------------------------------------------- */

static int fail_map(struct mote_error *err, int rc, const char *what)
{
	int code = rc == -ENOMEM || rc == -EAGAIN ? MOTE_ENOMEM : MOTE_ESYSTEM;
	return mote__fail_system(err, code, -rc, "%s", what);
}

/* The tables of a confined guest are a private view of the snapshot's, so that those which are
 * never changed cost nothing. */
static int place_tables(mote_sandbox *sandbox, const mote_snapshot *s, struct mote_error *err)
{
	uint8_t *tables = sandbox->scratch + s->layout.tables_offset;
	int rc = mote__sys_place(MOTE__MAP_PRIVATE, -1, 0, s->layout.tables_bytes, tables);
	for (uint32_t i = 0; i < s->extent_count && rc == 0; i++)
		rc = mote__sys_place(MOTE__MAP_PRIVATE, s->extent[i].object->fd,
				     s->extent[i].object_offset, s->extent[i].bytes,
				     tables + s->extent[i].at);
	if (rc < 0)
		return fail_map(err, rc, "mapping page tables");
	mote__sys_seclude(tables, s->layout.tables_bytes, 1);
	return MOTE_OK;
}

void mote__scratch_free(mote_sandbox *sandbox)
{
	mote__sys_unmap(sandbox->scratch, sandbox->scratch_bytes);
	sandbox->scratch = NULL;
}

/* Other scratch in place of what there is. */
static int replace_scratch(mote_sandbox *sandbox, const mote_snapshot *s, struct mote_error *err)
{
	const struct mote__layout *l = &s->layout;
	int rc = MOTE_OK;
	for (uint32_t i = MOTE__SLOT_SCRATCH; i < sandbox->slots && rc == MOTE_OK; i++)
		if (i != MOTE__SLOT_SYSTEM)
			rc = map_slot(sandbox, i, 0, NULL, 0, true, err);
	if (rc < 0)
		return rc;
	sandbox->slots = 0;
	mote__scratch_free(sandbox);
	void *at = NULL;
	rc = mote__sys_map(MOTE__MAP_SCRATCH, -1, l->scratch_bytes, &at);
	if (rc < 0)
		return fail_map(err, rc, "scratch memory");
	sandbox->scratch = at;
	sandbox->scratch_bytes = l->scratch_bytes;
	sandbox->frames_mapped =
		l->is_confined ? mote__smaller(l->frame_count, FRAMES_AT_START) : l->frame_count;
	return MOTE_OK;
}

static int map_scratch(mote_sandbox *sandbox, const mote_snapshot *s, struct mote_error *err)
{
	const struct mote__layout *l = &s->layout;
	uint64_t bytes = l->is_confined
				 ? l->frames_offset + sandbox->frames_mapped * MOTE_PAGE_BYTES
				 : l->scratch_bytes;
	int rc = map_slot(sandbox, MOTE__SLOT_SCRATCH, l->scratch_gpa, sandbox->scratch, bytes,
			  true, err);
	if (rc == MOTE_OK)
		sandbox->slots = MOTE__SLOT_MORE;
	if (rc < 0 || !l->is_confined || sandbox->has_system)
		return rc;
	rc = map_slot(sandbox, MOTE__SLOT_SYSTEM, MOTE__SYSTEM_GPA, mote__system_pages,
		      (uint64_t)MOTE__SYSTEM_PAGES * MOTE_PAGE_BYTES, false, err);
	sandbox->has_system = rc == MOTE_OK;
	return rc;
}

/* Slots of scratch, and the view of the tables in it, lie as snapshot needs them. */
static bool has_scratch_for(const mote_sandbox *sandbox, const mote_snapshot *s)
{
	const struct mote__layout *old = &sandbox->snapshot->layout, *l = &s->layout;
	return sandbox->scratch && sandbox->slots && old->scratch_bytes == l->scratch_bytes &&
	       old->is_confined == l->is_confined &&
	       (!l->is_confined ||
		(old->frames_offset == l->frames_offset && old->tables_offset == l->tables_offset &&
		 old->tables_bytes == l->tables_bytes));
}

/* The slot of the snapshot's memory may stay. Where KVM has shadow tables it may not: those made of
 * tables in scratch outlive the wiping of scratch, and only a slot that goes makes KVM forget them.
 * With nested paging there are none, and the kernel tells KVM of every page that is wiped; without
 * mappings all of scratch is, since else the restore would have been one in place. */
static bool has_memory_for(const mote_sandbox *sandbox, const mote_snapshot *s)
{
	return sandbox->has_memory && sandbox->snapshot == s && !sandbox->mapped_count &&
	       sandbox->engine->hypervisor->info.paging == MOTE_PAGING_NESTED;
}

static int put_in_place(mote_sandbox *sandbox, mote_snapshot *snapshot, bool is_known,
			struct mote_error *err)
{
	bool keeps = has_scratch_for(sandbox, snapshot);
	bool keeps_memory = keeps && has_memory_for(sandbox, snapshot);
	int rc = keeps_memory ? MOTE_OK : unmap_memory(sandbox, err);
	if (rc == MOTE_OK)
		rc = mote__sandbox_unmap_all(sandbox, err);
	if (rc < 0)
		return rc;
	if (keeps) {
		/* A stock guest's frames begin behind its tables, of which snapshots have more or
		 * less. */
		if (!snapshot->layout.is_confined)
			sandbox->frames_mapped = snapshot->layout.frame_count;
		rc = is_known ? mote__scratch_wipe(sandbox, snapshot)
			      : mote__sys_drop(sandbox->scratch, sandbox->scratch_bytes);
		if (rc < 0)
			return fail_map(err, rc, "clearing scratch memory");
	} else {
		rc = replace_scratch(sandbox, snapshot, err);
	}
	if (rc == MOTE_OK && snapshot->layout.is_confined)
		rc = place_tables(sandbox, snapshot, err);
	if (rc == MOTE_OK && !keeps_memory)
		rc = map_memory(sandbox, snapshot, err);
	if (rc == MOTE_OK && !keeps)
		rc = map_scratch(sandbox, snapshot, err);
	sandbox->placed = 0;
	sandbox->input_used = 0;
	sandbox->may_be_stale = false;
	return rc;
}

int mote__sandbox_install(mote_sandbox *sandbox, mote_snapshot *snapshot, bool is_known,
			  struct mote_error *err)
{
	mote_snapshot *old = sandbox->snapshot;
	int rc = put_in_place(sandbox, snapshot, is_known, err);
	sandbox->snapshot = mote_snapshot_ref(snapshot);
	mote_snapshot_unref(old);
	return rc;
}
