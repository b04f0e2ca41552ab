/* SPDX-License-Identifier: MIT */
/*
 * Frames: the pages of scratch that a guest takes as it touches memory. A confined guest's are
 * handed out by the library's ring-0 code, and only part of scratch is in the machine at first:
 * when that part is used up, the code asks, and as much again is added.
 */
#include "vm/objects.h"

#include <assert.h>

#include "base/error.h"
#include "base/math.h"
#include "core/confined.h"

uint64_t *mote__params(const mote_sandbox *sandbox, uint32_t offset)
{
	const struct mote__layout *l = &sandbox->snapshot->layout;
	assert(l->is_confined);
	return (uint64_t *)(void *)(sandbox->scratch + l->params_offset + offset);
}

uint64_t mote__frame_word(const struct mote__layout *layout, uint64_t frame)
{
	return (layout->scratch_gpa + layout->frames_offset + frame * MOTE_PAGE_BYTES) |
	       MOTE__LEAF_NEW;
}

uint8_t *mote__frame(const mote_sandbox *sandbox, uint64_t frame)
{
	return sandbox->scratch + sandbox->snapshot->layout.frames_offset + frame * MOTE_PAGE_BYTES;
}

uint64_t *mote__log(const mote_sandbox *sandbox, uint64_t frame)
{
	return (uint64_t *)(void *)(sandbox->scratch + sandbox->snapshot->layout.log_offset) +
	       frame;
}

/* 0 and err, or the frames. */
static uint64_t frames_for(const mote_snapshot *s, uint64_t memory_max, struct mote_error *err)
{
	const struct mote__layout *l = &s->layout;
	uint64_t min = l->is_confined ? s->write_set.fixed + 1u : l->frame_count;
	uint64_t fixed =
		l->is_confined ? 0 : l->frames_offset + l->family->kept_pages * MOTE_PAGE_BYTES;
	uint64_t frames = l->frame_count;
	/* The image has a say in the size of scratch, but not in how much of it becomes memory. */
	if (!memory_max && l->is_confined)
		memory_max = l->heap_bytes + l->stack_bytes + MOTE_DEFAULT_MEMORY_BYTES;
	if (memory_max) {
		uint64_t bytes = memory_max > fixed ? memory_max - fixed : 0;
		frames = mote__smaller(bytes / MOTE_PAGE_BYTES + (bytes % MOTE_PAGE_BYTES != 0),
				       frames);
	}
	if (frames >= min)
		return frames;
	const unsigned long long least = fixed + min * MOTE_PAGE_BYTES;
	(void)mote__fail(err, MOTE_EINVAL, "memory_max is 0x%llx, at least 0x%llx",
			 (unsigned long long)memory_max, least);
	return 0;
}

int mote__frames_check(const mote_snapshot *snapshot, uint64_t memory_max, struct mote_error *err)
{
	return frames_for(snapshot, memory_max, err) ? MOTE_OK : MOTE_EINVAL;
}

/* Frames of learned members are beside memory_max: an earlier call takes nothing from a later one.
 */
static uint64_t frames_allowed(const mote_sandbox *sandbox)
{
	const mote_snapshot *s = sandbox->snapshot;
	uint32_t fixed = s->write_set.fixed;
	uint32_t learned = sandbox->placed > fixed ? sandbox->placed - fixed : 0;
	return mote__smaller(sandbox->frames_max + learned, s->layout.frame_count);
}

uint64_t mote__frames_limit(const mote_sandbox *sandbox)
{
	return mote__smaller(sandbox->frames_mapped, frames_allowed(sandbox));
}

int mote__frames_set_max(mote_sandbox *sandbox, const mote_snapshot *snapshot,
			 struct mote_error *err)
{
	uint64_t frames = frames_for(snapshot, sandbox->memory_max, err);
	if (!frames)
		return MOTE_EINVAL;
	sandbox->frames_max = frames;
	return MOTE_OK;
}

uint64_t mote__frames_used(const mote_sandbox *sandbox)
{
	const struct mote__layout *l = &sandbox->snapshot->layout;
	uint64_t first = l->scratch_gpa + l->frames_offset, next;
	if (l->is_confined)
		next = *mote__params(sandbox, MOTE__PARAMS_NEXT) & 0x000FFFFFFFFFF000;
	else
		next = *(const uint64_t *)(const void *)(sandbox->scratch + l->scratch_bytes -
							 l->family->word_next);
	uint64_t used = next > first ? (next - first) / MOTE_PAGE_BYTES : 0;
	return used < l->frame_count ? used : l->frame_count;
}

static int fail_full(const mote_sandbox *sandbox, struct mote_error *err)
{
	int rc = mote__fail(err, MOTE_EABORT,
			    "Guest aborted: %d Out of physical memory (%llu frames of 4096 bytes "
			    "taken; memory_max, heap_bytes or stack_bytes allow no more)",
			    MOTE_GUEST_MALLOC_FAILED, (unsigned long long)sandbox->frames_max);
	if (err)
		err->guest_code = MOTE_GUEST_MALLOC_FAILED;
	return rc;
}

int mote__frames_grow(mote_sandbox *sandbox, struct mote_error *err)
{
	const struct mote__layout *l = &sandbox->snapshot->layout;
	uint64_t old = sandbox->frames_mapped, frames = 2 * old;
	sandbox->statistics.exits_memory++;
	if (old >= frames_allowed(sandbox))
		return fail_full(sandbox, err);
	if (frames > l->frame_count)
		frames = l->frame_count;
	uint64_t offset = l->frames_offset + old * MOTE_PAGE_BYTES;
	struct mote__machine *m = sandbox->machine;
	int rc = m->ops->map(m, sandbox->slots, l->scratch_gpa + offset, sandbox->scratch + offset,
			     (frames - old) * MOTE_PAGE_BYTES, true, err);
	if (rc < 0)
		return rc;
	sandbox->slots++;
	sandbox->frames_mapped = frames;
	*mote__params(sandbox, MOTE__PARAMS_LIMIT) =
		mote__frame_word(l, mote__frames_limit(sandbox));
	return MOTE_OK;
}
