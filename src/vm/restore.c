/* SPDX-License-Identifier: MIT */
/*
 * Restoring. In place, for a confined guest that ended its call: what it wrote is known from the
 * frames that it took, the rest of the machine is beyond its reach, so work is proportional to what
 * was touched and no system call is made unless cold pages have to go. Everything else is restored
 * whole: registers, memory and translations, whatever they are.
 *
 * Entries of page tables: one that named a frame is put back and the frame unmapped in the same
 * step, which makes every kind of KVM forget the translation. One that showed the snapshot's page
 * may be pointed at a frame with the same bytes at any time.
 */
#include "vm/objects.h"

#include <string.h>

#include "base/error.h"
#include "base/math.h"
#include "base/sys.h"
#include "core/confined.h"

#define PAGE ((uint64_t)MOTE_PAGE_BYTES)
/* Buffers up to this are cleared as they are; of larger ones the pages that exist. */
#define CLEAR_BYTES    0x4000u
#define RESIDENT_PAGES 256u

static uint64_t *live_entry(const mote_sandbox *sandbox, uint64_t offset)
{
	return (uint64_t *)(void *)(sandbox->scratch + sandbox->snapshot->layout.tables_offset +
				    offset);
}

static uint64_t start_entry(const mote_snapshot *s, uint64_t offset)
{
	return *(const uint64_t *)(const void *)(s->tables + offset);
}

/* ---- write set ------------------------------------------------------------------------------- */

/* Where the page of a leaf's entry comes from: a gpa of the snapshot, or 0 for zeroes. */
static uint64_t source_of(const mote_snapshot *s, uint64_t entry)
{
	uint64_t gpa = entry & mote__pt_x86_64.address_mask;
	return entry && mote__snapshot_has(s, gpa) && gpa != s->layout.zero_gpa ? gpa : 0;
}

static void refill(const mote_sandbox *sandbox, uint32_t member)
{
	const mote_snapshot *s = sandbox->snapshot;
	uint64_t source = s->write_set.member[member].source_gpa;
	uint8_t *frame = mote__frame(sandbox, member);
	if (source)
		memcpy(frame, s->memory + source, PAGE);
	else
		memset(frame, 0, PAGE);
}

/* Learned members are beside what memory_max allows the guest, but they leave it half of scratch. A
 * strict sandbox has none: what others wrote is nothing to it. */
uint32_t mote__members_max(const mote_sandbox *sandbox, const mote_snapshot *snapshot)
{
	const struct mote__members *m = &snapshot->write_set;
	uint64_t room = m->fixed + (snapshot->layout.frame_count - m->fixed) / 2;
	if (sandbox->is_strict)
		return m->fixed;
	return (uint32_t)mote__smaller(mote__smaller(room, sandbox->frames_mapped), m->max);
}

void mote__sandbox_place(mote_sandbox *sandbox)
{
	const mote_snapshot *s = sandbox->snapshot;
	const struct mote__members *m = &s->write_set;
	uint32_t count = atomic_load_explicit(&m->count, memory_order_acquire);
	uint32_t max = mote__members_max(sandbox, s);
	for (uint32_t i = sandbox->placed; i < count && i < max; i++) {
		uint64_t offset = 0;
		*mote__log(sandbox, i) = m->member[i].gva / PAGE;
		/* A new frame is zero. */
		if (m->member[i].source_gpa)
			refill(sandbox, i);
		if (i >= m->fixed && mote__snapshot_leaf(s, m->member[i].gva, &offset))
			*live_entry(sandbox, offset) = mote__frame_word(&s->layout, i);
		/* The guest may go on to read the snapshot's page, which has the same bytes. */
		if (i >= m->fixed && start_entry(s, offset) & 1)
			sandbox->may_be_stale = true;
		sandbox->placed = i + 1;
	}
}

/* It is copy-on-write in the snapshot, or zeroes come on demand. Others will believe it, so the
 * word of one sandbox's log, or of a store, is not enough. */
bool mote__snapshot_may_learn(const mote_snapshot *s, uint64_t gva, uint64_t *source_gpa)
{
	uint64_t offset = 0;
	if (gva >= s->layout.cow_end_gva || !mote__snapshot_leaf(s, gva, &offset))
		return false;
	uint64_t entry = start_entry(s, offset);
	*source_gpa = source_of(s, entry);
	return entry ? mote__pt_entry_attributes(&mote__pt_x86_64, entry).cow
		     : mote__snapshot_is_demand(s, gva);
}

/* The pages that this call was the first to write become members of the write set, as far as there
 * is room: their frames follow those of the members. Not when another sandbox was faster. */
static void adopt(mote_sandbox *sandbox, uint64_t used)
{
	mote_snapshot *s = sandbox->snapshot;
	struct mote__members *m = &s->write_set;
	uint32_t max = mote__members_max(sandbox, s), first = sandbox->placed;
	if (first >= max || first != atomic_load_explicit(&m->count, memory_order_relaxed))
		return;
	if (pthread_mutex_trylock(&s->lock))
		return;
	if (first == atomic_load_explicit(&m->count, memory_order_relaxed)) {
		uint32_t i = first;
		for (; i < used && i < max; i++) {
			uint64_t source = 0, gva = *mote__log(sandbox, i) * PAGE;
			if (!mote__snapshot_may_learn(s, gva, &source))
				break;
			m->member[i] = (struct mote__member){gva, source};
		}
		atomic_store_explicit(&m->count, i, memory_order_release);
		sandbox->placed = i;
	}
	(void)pthread_mutex_unlock(&s->lock);
}

/* ---- in place -------------------------------------------------------------------------------- */

/* The window shows the page that was copied last: nobody's business in the next call. */
static int close_window(mote_sandbox *sandbox)
{
	const mote_snapshot *s = sandbox->snapshot;
	uint64_t offset = 0;
	if (!mote__snapshot_leaf(s, MOTE__PAGE_GVA(MOTE__WINDOW_PAGE), &offset))
		return 0;
	uint64_t *entry = live_entry(sandbox, offset), old = *entry;
	if (old == start_entry(s, offset))
		return 0;
	*entry = start_entry(s, offset);
	uint64_t gpa = old & mote__pt_x86_64.address_mask;
	if (!mote__snapshot_has(s, gpa))
		return 0;
	/* Only this process's view of the page goes; the page stays in its object. */
	return mote__sys_drop((void *)(uintptr_t)(s->memory + gpa), PAGE);
}

/* Pages beyond the write set: their entries become the snapshot's, their frames go in one call. */
static int drop_leftovers(mote_sandbox *sandbox, uint64_t used)
{
	const mote_snapshot *s = sandbox->snapshot;
	uint64_t first = sandbox->placed;
	for (uint64_t i = first; i < used; i++) {
		uint64_t offset = 0;
		if (mote__snapshot_leaf(s, *mote__log(sandbox, i) * PAGE, &offset))
			*live_entry(sandbox, offset) = start_entry(s, offset);
	}
	sandbox->statistics.restore_drops += used - first;
	return mote__sys_drop(mote__frame(sandbox, first), (used - first) * PAGE);
}

/* Clear pages of a large buffer: those that exist stay, as the next call will want them. The others
 * may be in swap, and are let go of. */
static int clear_resident(uint8_t *at, uint64_t bytes)
{
	uint8_t pages[RESIDENT_PAGES];
	uint64_t count = bytes / PAGE;
	int rc = mote__sys_resident(at, bytes, pages);
	for (uint64_t i = 0, next; i < count && rc == 0; i = next) {
		for (next = i + 1; next < count && (pages[next] & 1) == (pages[i] & 1); next++)
			;
		if (pages[i] & 1)
			memset(at + i * PAGE, 0, (next - i) * PAGE);
		else
			rc = mote__sys_drop(at + i * PAGE, (next - i) * PAGE);
	}
	return rc;
}

/* Clear bytes of scratch that are always mapped. */
static int clear(uint8_t *at, uint64_t bytes)
{
	uint64_t first = mote__smaller(bytes, CLEAR_BYTES);
	int rc = 0;
	memset(at, 0, first);
	for (uint64_t done = first, piece; done < bytes && rc == 0; done += piece) {
		piece = mote__smaller(bytes - done, RESIDENT_PAGES * PAGE);
		rc = clear_resident(at + done, piece);
	}
	return rc;
}

/* Before another snapshot's memory is put in place: scratch as new, but for its tables, which are
 * mapped anew. Frames that the new write set fills stay, since giving pages back and having new
 * ones is what costs; no translation leads to them once the snapshot's slot is gone. */
int mote__scratch_wipe(mote_sandbox *sandbox, const mote_snapshot *next)
{
	const struct mote__layout *l = &sandbox->snapshot->layout;
	const struct mote__members *m = &next->write_set;
	uint64_t used = mote__frames_used(sandbox);
	uint32_t count = atomic_load_explicit(&m->count, memory_order_acquire);
	uint64_t kept = mote__smaller(mote__smaller(sandbox->placed, count),
				      mote__members_max(sandbox, next));
	int rc = clear(sandbox->scratch, mote__round_up(l->input_bytes, PAGE));
	if (rc == 0)
		rc = clear(sandbox->scratch + l->output_offset,
			   mote__round_up(l->output_bytes, PAGE));
	memset(sandbox->scratch + l->params_offset, 0, PAGE);
	memset(sandbox->scratch + l->ist_offset, 0, PAGE);
	memset(sandbox->scratch + l->run_info_offset, 0, PAGE);
	for (uint64_t i = 0; i < kept; i++)
		if (!m->member[i].source_gpa)
			memset(mote__frame(sandbox, i), 0, PAGE);
	if (rc == 0 && used > kept)
		rc = mote__sys_drop(mote__frame(sandbox, kept), (used - kept) * PAGE);
	return rc;
}

static int clear_buffers(mote_sandbox *sandbox)
{
	const struct mote__layout *l = &sandbox->snapshot->layout;
	uint64_t input = mote__smaller(sandbox->input_used, l->input_bytes);
	int rc = clear(sandbox->scratch, input < CLEAR_BYTES ? input : mote__round_up(input, PAGE));
	sandbox->input_used = 0;
	if (rc == 0)
		rc = clear(sandbox->scratch + l->output_offset,
			   mote__round_up(l->output_bytes, PAGE));
	memset(sandbox->scratch + l->ist_offset, 0, PAGE);
	sandbox->transport->prepare(sandbox);
	return rc;
}

static int restore_in_place(mote_sandbox *sandbox, const struct mote_fresh *fresh,
			    struct mote_error *err)
{
	const struct mote__layout *l = &sandbox->snapshot->layout;
	uint64_t used = mote__frames_used(sandbox);
	int rc = 0;
	if (used > sandbox->placed) {
		/* What ran before a guest was ready is not what its calls write. */
		if (sandbox->state == MOTE_STATE_READY && sandbox->statistics.calls)
			adopt(sandbox, used);
		rc = close_window(sandbox);
		if (rc == 0 && used > sandbox->placed)
			rc = drop_leftovers(sandbox, used);
	}
	if (rc == 0)
		rc = clear_buffers(sandbox);
	if (rc < 0)
		return mote__fail_system(err, MOTE_ESYSTEM, -rc, "clearing guest memory");
	for (uint32_t i = 0; i < sandbox->placed; i++)
		refill(sandbox, i);
	sandbox->statistics.restore_pages += sandbox->placed;
	sandbox->statistics.restores++;
	mote__sandbox_place(sandbox);
	*mote__params(sandbox, MOTE__PARAMS_NEXT) = mote__frame_word(l, sandbox->placed);
	*mote__params(sandbox, MOTE__PARAMS_LIMIT) =
		mote__frame_word(l, mote__frames_limit(sandbox));
	mote__sandbox_seed(sandbox, fresh);
	rc = mote__sandbox_freshen(sandbox, fresh, err);
	mote__sandbox_begin(sandbox);
	/* Else the entry code loads the segments. */
	if (rc == MOTE_OK && !(sandbox->engine->hypervisor->cr4_offered & MOTE__CR4_FSGSBASE))
		rc = mote__sandbox_set_special(sandbox, err);
	return rc;
}

/* ---- whole ----------------------------------------------------------------------------------- */

static int reset_machine(mote_sandbox *sandbox, const mote_snapshot *snapshot,
			 struct mote_error *err)
{
	struct mote__special special;
	struct mote__msr_list msrs;
	mote__start_special(sandbox, snapshot, &special);
	mote__msrs_reset(&msrs, snapshot->layout.is_confined);
	/* Those that the snapshot does not have become what they are in a new machine. */
	for (uint32_t i = 0; i < snapshot->msrs.count; i++)
		msrs.msr[msrs.count++] = snapshot->msrs.msr[i];
	sandbox->statistics.restores_strict++;
	return sandbox->machine->ops->reset(sandbox->machine, &special, &msrs, err);
}

static int replace_machine(mote_sandbox *sandbox, struct mote_error *err)
{
	struct mote__machine *old = sandbox->machine;
	sandbox->machine = NULL;
	sandbox->entries_before -= old->entries;
	sandbox->ioctls_before -= old->vcpu_ioctls;
	old->ops->machine_destroy(old);
	sandbox->statistics.restores_strict++;
	return mote__sandbox_make_machine(sandbox, err);
}

static int restore_whole(mote_sandbox *sandbox, mote_snapshot *snapshot, bool is_reset,
			 const struct mote_fresh *fresh, struct mote_error *err)
{
	bool is_new = sandbox->is_fatal;
	int rc = MOTE_OK;
	/* What the processor has pending may still write memory: it ends before that is cleared. */
	if (is_new)
		rc = replace_machine(sandbox, err);
	else if (is_reset)
		rc = reset_machine(sandbox, snapshot, err);
	if (rc == MOTE_OK)
		rc = mote__frames_set_max(sandbox, snapshot, err);
	if (rc == MOTE_OK)
		rc = mote__sandbox_install(sandbox, snapshot, !is_new && !is_reset, err);
	if (rc == MOTE_OK && (is_new || !is_reset))
		rc = mote__sandbox_set_special(sandbox, err);
	if (rc == MOTE_OK && is_new)
		rc = mote__start_msrs(sandbox, err);
	if (rc == MOTE_OK)
		rc = mote__sandbox_fill(sandbox, fresh, err);
	/* The machine has just forgotten everything. */
	sandbox->may_be_stale = false;
	if (rc == MOTE_OK)
		mote__sandbox_begin(sandbox);
	return rc;
}

int mote__restore(mote_sandbox *sandbox, mote_snapshot *snapshot, bool is_strict,
		  const struct mote_fresh *fresh, struct mote_error *err)
{
	bool is_other = snapshot != sandbox->snapshot;
	bool is_trusted = mote__is_confined(sandbox) && !is_strict && !sandbox->is_strict &&
			  sandbox->state != MOTE_STATE_POISONED && !sandbox->is_fatal &&
			  !atomic_load_explicit(&sandbox->engine->is_lax, memory_order_relaxed);
	sandbox->statistics.switches += is_other;
	int rc = is_trusted && !is_other && !sandbox->mapped_count
			 ? restore_in_place(sandbox, fresh, err)
			 : restore_whole(sandbox, snapshot, !is_trusted, fresh, err);
	if (rc < 0)
		sandbox->state = MOTE_STATE_BROKEN;
	return rc;
}

/* ---- public ---------------------------------------------------------------------------------- */

bool mote__snapshot_fits(const mote_snapshot *have, const mote_snapshot *want)
{
	const struct mote__image *a = have->image, *b = want->image;
	return have->layout.family == want->layout.family &&
	       have->layout.is_confined == want->layout.is_confined &&
	       a->msr_count == b->msr_count &&
	       memcmp(a->msrs, b->msrs, a->msr_count * sizeof *a->msrs) == 0;
}

static int check(mote_sandbox *sandbox, const mote_snapshot *snapshot, struct mote_error *err)
{
	if (!sandbox || !snapshot)
		return mote__fail(err, MOTE_EINVAL, "%s is NULL", sandbox ? "snapshot" : "sandbox");
	int rc = mote__engine_check(sandbox->engine, err);
	if (rc < 0)
		return rc;
	if (sandbox->state == MOTE_STATE_RUNNING || sandbox->state == MOTE_STATE_BROKEN)
		return mote__fail(err, MOTE_ESTATE, "the sandbox is %s",
				  mote_state_name(sandbox->state));
	if (snapshot == sandbox->snapshot)
		return MOTE_OK;
	if (sandbox->snapshot->layout.is_confined != snapshot->layout.is_confined)
		return mote__fail(err, MOTE_ESNAPSHOT,
				  "the snapshot is of a guest that %s, the sandbox has one that %s",
				  snapshot->layout.is_confined ? "is confined" : "owns ring 0",
				  snapshot->layout.is_confined ? "owns ring 0" : "is confined");
	if (sandbox->snapshot->layout.family != snapshot->layout.family)
		return mote__fail(err, MOTE_ESNAPSHOT,
				  "the snapshot is of a guest of %u bits, the sandbox has one of "
				  "%u bits",
				  snapshot->layout.family->bits,
				  sandbox->snapshot->layout.family->bits);
	if (!mote__snapshot_fits(sandbox->snapshot, snapshot))
		return mote__fail(err, MOTE_ESNAPSHOT,
				  "the snapshot's guest may use other model-specific registers");
	rc = mote__snapshot_check(snapshot, err);
	if (rc == MOTE_OK)
		rc = mote__frames_check(snapshot, sandbox->memory_max, err);
	return rc < 0 ? rc : mote__host_check(sandbox->host, snapshot, err);
}

int mote_sandbox_restore(mote_sandbox *sandbox, mote_snapshot *snapshot,
			 const struct mote_restore_options *options, struct mote_error *err)
{
	int rc = check(sandbox, snapshot, err);
	if (rc == MOTE_OK && options)
		rc = mote__options_check("mote_restore_options", options, options->size,
					 sizeof *options, sizeof *options, err);
	if (rc == MOTE_OK && options)
		rc = mote__reserved_check("mote_restore_options", options->reserved,
					  sizeof options->reserved, err);
	if (rc < 0)
		return rc;
	return mote__restore(sandbox, snapshot, options && options->strict,
			     options ? options->fresh : NULL, err);
}
