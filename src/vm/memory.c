/* SPDX-License-Identifier: MIT */
/*
 * Guest memory by virtual address, the one place where guest addresses become pointers. The tables
 * are the guest's (of a stock guest, truly hostile): every address that comes out of them is
 * checked against the memory that this machine really has.
 */
#include "vm/objects.h"

#include <string.h>

#include "base/error.h"
#include "base/math.h"
#include "core/confined.h"

#define PAGE          ((uint64_t)MOTE_PAGE_BYTES)
#define COPY_MAX      (1ull << 32) /* bytes in one operation */
#define PAGE_GPA(gpa) mote__round_down(gpa, PAGE)

/* Bytes [gpa, gpa + len) of scratch that the machine has, or NULL. */
static uint8_t *in_scratch(const mote_sandbox *sandbox, uint64_t gpa, uint64_t len)
{
	const struct mote__layout *l = &sandbox->snapshot->layout;
	uint64_t bytes = l->is_confined ? l->frames_offset + sandbox->frames_mapped * PAGE
					: l->scratch_bytes;
	uint64_t offset = gpa - l->scratch_gpa;
	if (gpa < l->scratch_gpa || !mote__in_range(offset, len, bytes))
		return NULL;
	return sandbox->scratch + offset;
}

static const uint8_t *in_memory(const mote_sandbox *sandbox, uint64_t gpa, uint64_t len)
{
	const mote_snapshot *s = sandbox->snapshot;
	uint64_t base = s->layout.family->base_gpa;
	if (gpa >= base && mote__in_range(gpa - base, len, s->memory_end - base))
		return s->memory + gpa;
	for (uint32_t i = 0; i < sandbox->mapped_count; i++) {
		const struct mote__mapped *m = &sandbox->mapped[i];
		if (gpa >= m->gpa && mote__in_range(gpa - m->gpa, len, m->bytes))
			return m->host + (gpa - m->gpa);
	}
	return in_scratch(sandbox, gpa, len);
}

static const void *table(const void *cookie, uint64_t gpa, uint64_t bytes)
{
	return in_memory(cookie, gpa, bytes);
}

static struct mote__pt_space space_of(const mote_sandbox *sandbox)
{
	const struct mote__layout *l = &sandbox->snapshot->layout;
	return (struct mote__pt_space){.format = sandbox->format,
				       .memory = {sandbox, table},
				       .root = l->scratch_gpa + l->tables_offset};
}

/* A guest of 32 bits says by a register how its tables are read. If it has left such tables, they
 * are read as the host built them. */
static int find_format(mote_sandbox *sandbox, struct mote_error *err)
{
	const struct mote__family *family = sandbox->snapshot->layout.family;
	struct mote__special special;
	sandbox->format = family->format;
	if (family->bits == 64)
		return MOTE_OK;
	if (sandbox->needs_reset) {
		mote__start_special(sandbox, sandbox->snapshot, &special);
	} else {
		int rc = sandbox->machine->ops->get_special(sandbox->machine, &special, err);
		if (rc < 0)
			return rc;
	}
	const struct mote__pt_format *format = mote__special_format(&special, family->bits);
	if (format)
		sandbox->format = format;
	return MOTE_OK;
}

static int fail_address(struct mote_error *err, uint64_t gva, const char *why)
{
	int rc = mote__fail(err, MOTE_EADDR, "guest address 0x%llx %s", (unsigned long long)gva,
			    why);
	if (err)
		err->fault_gva = gva;
	return rc;
}

/* An address that the guest will find zeroes at when it touches it. */
static bool is_demand(const mote_sandbox *sandbox, uint64_t gva)
{
	return mote__snapshot_is_demand(sandbox->snapshot, gva);
}

static int require(mote_sandbox *sandbox, bool may_be_poisoned, uint64_t gva, const void *data,
		   size_t len, struct mote_error *err)
{
	if (!sandbox || (!data && len))
		return mote__fail(err, MOTE_EINVAL, "%s is NULL", sandbox ? "buffer" : "sandbox");
	int rc = mote__engine_check(sandbox->engine, err);
	if (rc < 0)
		return rc;
	bool is_allowed = sandbox->state == MOTE_STATE_NEW || sandbox->state == MOTE_STATE_READY ||
			  (may_be_poisoned && sandbox->state == MOTE_STATE_POISONED);
	if (!is_allowed)
		return mote__fail(err, MOTE_ESTATE, "the sandbox is %s",
				  mote_state_name(sandbox->state));
	if (len > COPY_MAX)
		return mote__fail(err, MOTE_EINVAL, "len is %zu, at most %llu", len, COPY_MAX);
	uint64_t end;
	if (!mote__add(gva, len, &end))
		return fail_address(err, gva, "and a length that wraps");
	return find_format(sandbox, err);
}

/* ---- reading --------------------------------------------------------------------------------- */

/* Bytes of one page; NULL reads as zeroes. */
static int find(const mote_sandbox *sandbox, uint64_t gva, uint64_t len, const uint8_t **from,
		struct mote_error *err)
{
	const struct mote__pt_space space = space_of(sandbox);
	struct mote__pt_translation t;
	*from = NULL;
	if (mote__pt_translate(&space, gva, &t) < 0)
		return is_demand(sandbox, gva) ? MOTE_OK : fail_address(err, gva, "is not mapped");
	*from = in_memory(sandbox, t.gpa, len);
	return *from ? MOTE_OK : fail_address(err, gva, "is mapped to nothing");
}

static uint64_t piece_of(uint64_t gva, uint64_t len)
{
	uint64_t to_end = PAGE - gva % PAGE;
	return len < to_end ? len : to_end;
}

static int check_read(const mote_sandbox *sandbox, uint64_t gva, size_t len, struct mote_error *err)
{
	const uint8_t *from;
	int rc = MOTE_OK;
	for (uint64_t at = 0, piece; at < len && rc == MOTE_OK; at += piece) {
		piece = piece_of(gva + at, len - at);
		rc = find(sandbox, gva + at, piece, &from, err);
	}
	return rc;
}

int mote_sandbox_read(mote_sandbox *sandbox, uint64_t gva, void *buffer, size_t len,
		      struct mote_error *err)
{
	int rc = require(sandbox, true, gva, buffer, len, err);
	if (rc == MOTE_OK)
		rc = check_read(sandbox, gva, len, err);
	if (rc < 0)
		return rc;
	uint8_t *to = buffer;
	for (uint64_t at = 0, piece; at < len; at += piece) {
		const uint8_t *from;
		piece = piece_of(gva + at, len - at);
		(void)find(sandbox, gva + at, piece, &from, NULL);
		if (from)
			memcpy(to + at, from, piece);
		else
			memset(to + at, 0, piece);
	}
	return MOTE_OK;
}

/* ---- writing --------------------------------------------------------------------------------- */

/* What it takes to write to a page. */
enum need { NEED_NOTHING, NEED_COPY, NEED_ZERO };

struct target {
	enum need need;
	uint32_t splits; /* tables to make before a copy, as it lies in a large page */
	struct mote__pt_translation t; /* unless NEED_ZERO */
};

static int look(const mote_sandbox *sandbox, uint64_t gva, struct target *target,
		struct mote_error *err)
{
	const struct mote__pt_space space = space_of(sandbox);
	if (mote__pt_translate(&space, gva, &target->t) < 0) {
		target->need = NEED_ZERO;
		target->splits = 0;
		return is_demand(sandbox, gva) ? MOTE_OK : fail_address(err, gva, "is not mapped");
	}
	target->need = target->t.own.cow ? NEED_COPY : NEED_NOTHING;
	target->splits = target->t.own.cow ? target->t.level - 1 : 0;
	/* The library's own pages and the tables: an address may be the guest's word. */
	if (mote__is_confined(sandbox) && !target->t.effective.user)
		return fail_address(err, gva, "is not the guest's");
	if (!target->t.own.cow && !target->t.own.writable)
		return fail_address(err, gva, "is read-only");
	uint64_t page = PAGE_GPA(target->t.gpa);
	if (target->t.own.cow ? !in_memory(sandbox, page, PAGE) : !in_scratch(sandbox, page, PAGE))
		return fail_address(err, gva, "is mapped to nothing");
	if (target->t.own.cow &&
	    !in_scratch(sandbox, target->t.entry_gpa, sandbox->format->entry_bytes))
		return fail_address(err, gva, "has its entry in shared memory");
	return MOTE_OK;
}

static uint64_t free_frames(const mote_sandbox *sandbox)
{
	uint64_t used = mote__frames_used(sandbox);
	uint64_t limit = mote__frames_limit(sandbox);
	return used < limit ? limit - used : 0;
}

/* Take the next frame as the guest's own fault handler would; *index counts it. */
static uint64_t take_frame(mote_sandbox *sandbox, uint64_t *index)
{
	const struct mote__layout *l = &sandbox->snapshot->layout;
	*index = mote__frames_used(sandbox);
	if (l->is_confined)
		*mote__params(sandbox, MOTE__PARAMS_NEXT) += PAGE;
	else
		*(uint64_t *)(void *)(sandbox->scratch + l->scratch_bytes - l->family->word_next) +=
			PAGE;
	return l->scratch_gpa + l->frames_offset + *index * PAGE;
}

static void log_edit(mote_sandbox *sandbox, uint64_t index, uint64_t entry)
{
	const struct mote__layout *l = &sandbox->snapshot->layout;
	if (l->is_confined)
		((uint64_t *)(void *)(sandbox->scratch + l->log_offset))[index] = entry;
}

static void store_entry(mote_sandbox *sandbox, uint64_t entry_gpa, uint64_t entry)
{
	uint32_t bytes = sandbox->format->entry_bytes;
	memcpy(in_scratch(sandbox, entry_gpa, bytes), &entry, bytes); /* little-endian */
}

/* The leaf for gva points to a new frame; returns it. */
static uint8_t *new_leaf(mote_sandbox *sandbox, uint64_t gva, uint64_t entry_gpa,
			 struct mote__pt_attributes attributes)
{
	uint64_t index, frame = take_frame(sandbox, &index);
	log_edit(sandbox, index, gva / PAGE);
	store_entry(sandbox, entry_gpa, mote__pt_leaf_entry(sandbox->format, frame, attributes));
	return in_scratch(sandbox, frame, PAGE);
}

/* In place of a large leaf a table of leaves for its parts, in a frame of the guest. */
static void split(mote_sandbox *sandbox, const struct mote__pt_translation *t)
{
	const struct mote__pt_format *format = sandbox->format;
	uint64_t index, part = mote__pt_page_bytes(format, t->level - 1);
	uint64_t gpa = mote__round_down(t->gpa, mote__pt_page_bytes(format, t->level));
	uint64_t frame = take_frame(sandbox, &index);
	for (uint32_t i = 0; i < 1u << format->index_bits; i++)
		store_entry(sandbox, frame + i * (uint64_t)format->entry_bytes,
			    mote__pt_page_entry(format, gpa + i * part, t->level - 1, t->own));
	store_entry(sandbox, t->entry_gpa, mote__pt_table_entry(format, frame, t->own.user));
}

static uint8_t *copy_page(mote_sandbox *sandbox, uint64_t gva, const struct mote__pt_translation *t)
{
	struct mote__pt_attributes attributes = t->own;
	attributes.cow = false;
	attributes.writable = true;
	const uint8_t *old = in_memory(sandbox, PAGE_GPA(t->gpa), PAGE);
	uint8_t *frame = new_leaf(sandbox, gva, t->entry_gpa, attributes);
	/* A hostile entry may name the very frame. */
	memmove(frame, old, PAGE);
	return frame;
}

/* A confined guest's demand page. */
static uint8_t *zero_page(mote_sandbox *sandbox, uint64_t gva)
{
	const struct mote__pt_space space = space_of(sandbox);
	uint64_t leaves = 0;
	(void)mote__pt_find_table(&space, gva, 1, &leaves);
	return new_leaf(sandbox, gva,
			leaves + mote__pt_index(space.format, gva, 1) *
					 (uint64_t)space.format->entry_bytes,
			(struct mote__pt_attributes){.writable = true, .user = true});
}

/* Map frames until so many are free. */
static int require_frames(mote_sandbox *sandbox, uint64_t frames, struct mote_error *err)
{
	while (frames > free_frames(sandbox)) {
		if (!mote__is_confined(sandbox))
			return mote__fail(err, MOTE_ENOMEM, "the guest has no free frame left");
		int rc = mote__frames_grow(sandbox, err);
		if (rc == MOTE_EABORT)
			return mote__fail(err, MOTE_ENOMEM,
					  "the guest has no free frame left: memory_max");
		if (rc < 0)
			return rc;
	}
	return MOTE_OK;
}

/* Check the whole range before anything changes. */
static int check_write(mote_sandbox *sandbox, uint64_t gva, size_t len, bool *is_copy,
		       struct mote_error *err)
{
	const struct mote__pt_format *format = sandbox->format;
	uint64_t frames = 0;
	struct target target;
	int rc = MOTE_OK;
	for (uint64_t at = 0, piece; at < len && rc == MOTE_OK; at += piece) {
		piece = piece_of(gva + at, len - at);
		rc = look(sandbox, gva + at, &target, err);
		if (rc < 0)
			return rc;
		frames += target.need != NEED_NOTHING;
		/* A large page is split for the first of its pages. */
		for (uint32_t level = 2; target.splits && level <= target.t.level; level++)
			frames += at == 0 || (gva + at) % mote__pt_page_bytes(format, level) == 0;
		*is_copy |= target.need == NEED_COPY;
		rc = require_frames(sandbox, frames, err);
	}
	return rc;
}

/* Bytes in one page. It is looked at again: a stock guest's tables may lie where was just written,
 * and nothing that was checked before holds then. */
static int write_piece(mote_sandbox *sandbox, uint64_t gva, const uint8_t *data, uint64_t len,
		       struct mote_error *err)
{
	struct target target;
	uint8_t *page;
	int rc = look(sandbox, gva, &target, err);
	if (rc == MOTE_OK && target.need != NEED_NOTHING)
		rc = require_frames(sandbox, 1 + target.splits, err);
	/* Hostile tables may stay as they are; then the frames come to an end. */
	while (rc == MOTE_OK && target.splits) {
		split(sandbox, &target.t);
		rc = look(sandbox, gva, &target, err);
		if (rc == MOTE_OK)
			rc = require_frames(sandbox, 1 + target.splits, err);
	}
	if (rc < 0)
		return rc;
	if (target.need == NEED_ZERO)
		page = zero_page(sandbox, gva);
	else if (target.need == NEED_COPY)
		page = copy_page(sandbox, gva, &target.t);
	else
		page = in_scratch(sandbox, PAGE_GPA(target.t.gpa), PAGE);
	memcpy(page + gva % PAGE, data, len);
	return MOTE_OK;
}

int mote_sandbox_write(mote_sandbox *sandbox, uint64_t gva, const void *data, size_t len,
		       struct mote_error *err)
{
	bool is_copy = false;
	int rc = require(sandbox, false, gva, data, len, err);
	if (rc == MOTE_OK)
		rc = check_write(sandbox, gva, len, &is_copy, err);
	if (rc < 0)
		return rc;
	sandbox->is_changed |= len != 0;
	for (uint64_t at = 0, piece; at < len && rc == MOTE_OK; at += piece) {
		piece = piece_of(gva + at, len - at);
		rc = write_piece(sandbox, gva + at, (const uint8_t *)data + at, piece, err);
	}
	/* An entry that named another page may be cached: by the processor, or by KVM where it
	 * keeps shadow tables and does not see the host write. */
	if ((!is_copy && !(sandbox->may_be_stale && len)) || !sandbox->machine->entries)
		return rc;
	int flushed = mote__sandbox_flush(sandbox, rc < 0 ? NULL : err);
	sandbox->may_be_stale = false;
	if (flushed < 0)
		sandbox->state = MOTE_STATE_BROKEN;
	return rc < 0 ? rc : flushed;
}
