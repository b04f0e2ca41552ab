/* SPDX-License-Identifier: MIT */
/*
 * The identity of a snapshot: a digest of what a sandbox of it starts from, the same however the
 * memory is split into layers, wherever a page is stored, and whether a page is in its frame
 * already or would be copied there. Each stored page is hashed once, the mappings name pages by
 * their hash.
 */
#include "vm/objects.h"

#include <string.h>

#include "base/digest.h"
#include "base/error.h"
#include "base/math.h"
#include "base/sys.h"

#define PAGE       ((uint64_t)MOTE_PAGE_BYTES)
#define LEAVES_MAX (1ull << 25)

/* What a record of the digest is about. */
enum record { RECORD_LEAF = 1, RECORD_LINK = 2 };

struct identity {
	const mote_snapshot *snapshot;
	struct mote__digest digest;
	uint8_t (*hash)[MOTE_DIGEST_BYTES]; /* of each page of the layers */
	uint8_t *has_hash;
	uint8_t zero_hash[MOTE_DIGEST_BYTES];
	struct mote__holes holes;
};

static void add_number(struct mote__digest *digest, uint64_t number)
{
	uint8_t bytes[8];
	for (unsigned i = 0; i < 8; i++)
		bytes[i] = (uint8_t)(number >> 8 * i);
	mote__digest_update(digest, bytes, sizeof bytes);
}

static void add_numbers(struct mote__digest *digest, const uint64_t *numbers, size_t count)
{
	add_number(digest, count);
	for (size_t i = 0; i < count; i++)
		add_number(digest, numbers[i]);
}

static void hash_page(const uint8_t *page, uint8_t hash[MOTE_DIGEST_BYTES])
{
	struct mote__digest digest;
	mote__digest_init(&digest);
	mote__digest_update(&digest, page, PAGE);
	mote__digest_final(&digest, hash);
}

/* ---- mappings -------------------------------------------------------------------------------- */

/* The hash of the page at gpa, which is in a layer or a frame of the write set. NULL: neither. */
static const uint8_t *hash_at(struct identity *id, uint64_t gpa)
{
	const mote_snapshot *s = id->snapshot;
	const struct mote__layout *l = &s->layout;
	uint64_t frame = (gpa - l->scratch_gpa - l->frames_offset) / PAGE;
	if (l->is_confined && gpa >= l->scratch_gpa + l->frames_offset &&
	    frame < s->write_set.fixed) {
		gpa = s->write_set.member[frame].source_gpa;
		if (!gpa)
			return id->zero_hash;
	}
	if (!mote__snapshot_has(s, gpa))
		return NULL;
	uint64_t number = (gpa - l->family->base_gpa) / PAGE;
	if (mote__snapshot_is_hole(s, &id->holes, gpa))
		return id->zero_hash;
	if (!(id->has_hash[number / 8] >> number % 8 & 1)) {
		hash_page(s->memory + gpa, id->hash[number]);
		id->has_hash[number / 8] |= (uint8_t)(1u << number % 8);
	}
	return id->hash[number];
}

/* Zero pages where zeroes come on demand need not be there. */
static bool is_implied(const struct identity *id, uint64_t gva, const uint8_t *hash)
{
	return mote__snapshot_is_demand(id->snapshot, gva) &&
	       memcmp(hash, id->zero_hash, MOTE_DIGEST_BYTES) == 0;
}

static bool add_leaf(void *cookie, const struct mote__pt_leaf *leaf)
{
	struct identity *id = cookie;
	for (uint64_t at = 0; at < leaf->bytes; at += PAGE) {
		const uint8_t *hash = hash_at(id, leaf->gpa + at);
		const struct mote__pt_attributes *a = &leaf->effective;
		if (!hash || is_implied(id, leaf->va + at, hash))
			continue;
		/* A page that is writable from the start is one that would be copied. */
		uint64_t flags = (uint64_t)(a->cow || a->writable) | (uint64_t)a->exec << 1 |
				 (uint64_t)a->user << 2;
		const uint64_t numbers[] = {RECORD_LEAF, leaf->root, leaf->va + at, flags};
		add_numbers(&id->digest, numbers, sizeof numbers / sizeof *numbers);
		mote__digest_update(&id->digest, hash, MOTE_DIGEST_BYTES);
	}
	return true;
}

static bool add_link(void *cookie, const struct mote__pt_link *link)
{
	struct identity *id = cookie;
	const uint64_t numbers[] = {RECORD_LINK,    link->root,       link->va,
				    link->owner_va, link->owner_root, link->level};
	add_numbers(&id->digest, numbers, sizeof numbers / sizeof *numbers);
	return true;
}

static int add_mappings(struct identity *id, struct mote_error *err)
{
	const mote_snapshot *s = id->snapshot;
	struct mote__pt_walk w = {
		.leaves_max = LEAVES_MAX, .leaf = add_leaf, .link = add_link, .cookie = id};
	add_number(&id->digest, s->root_count ? s->root_count : 1);
	return mote__snapshot_walk(s, &w, err);
}

/* ---- start ----------------------------------------------------------------------------------- */

static void add_layout(struct identity *id)
{
	const mote_snapshot *s = id->snapshot;
	const struct mote__layout *l = &s->layout;
	const uint64_t numbers[] = {l->family->id,
				    l->family->bits,
				    l->is_confined,
				    l->input_bytes,
				    l->output_bytes,
				    l->heap_bytes,
				    l->stack_bytes,
				    l->mapping_bytes,
				    l->scratch_bytes,
				    l->init_bytes,
				    l->peb_gva,
				    l->init_gva,
				    l->heap_gva,
				    l->stack_gva,
				    l->mapping_gva,
				    s->is_ready,
				    s->dispatch_gva,
				    s->dispatch_rsp,
				    s->image->syscall_gva,
				    s->is_ready ? 0 : s->image->entry_gva};
	add_numbers(&id->digest, numbers, sizeof numbers / sizeof *numbers);
}

static void add_segment(struct mote__digest *digest, const struct mote__segment *g)
{
	const uint64_t numbers[] = {g->base, g->limit, g->selector, g->type, g->present, g->dpl,
				    g->db,   g->s,     g->l,        g->g,    g->unusable};
	add_numbers(digest, numbers, sizeof numbers / sizeof *numbers);
}

/* CR3 is the place of the tables, which is in no guest's power after a start. */
static void add_registers(struct identity *id)
{
	const mote_snapshot *s = id->snapshot;
	const struct mote__special *r = &s->special;
	if (s->layout.is_confined) {
		const uint64_t bases[] = {r->fs.base, r->gs.base};
		add_numbers(&id->digest, bases, 2);
	} else if (s->is_ready) {
		const struct mote__segment segments[] = {r->cs, r->ds, r->es, r->fs,
							 r->gs, r->ss, r->tr, r->ldt};
		const uint64_t numbers[] = {r->gdt_base, r->gdt_limit, r->idt_base, r->idt_limit,
					    r->cr0,      r->cr2,       r->cr4,      r->efer};
		for (size_t i = 0; i < sizeof segments / sizeof *segments; i++)
			add_segment(&id->digest, &segments[i]);
		add_numbers(&id->digest, numbers, sizeof numbers / sizeof *numbers);
	}
	add_number(&id->digest, s->image->msr_count);
	for (uint32_t i = 0; i < s->image->msr_count; i++)
		add_number(&id->digest, s->image->msrs[i]);
	add_number(&id->digest, s->msrs.count);
	for (uint32_t i = 0; i < s->msrs.count; i++)
		add_number(&id->digest, s->msrs.msr[i].value);
}

static int compute(const mote_snapshot *s, uint8_t digest[MOTE_DIGEST_BYTES],
		   struct mote_error *err)
{
	static const uint8_t name[] = "mote snapshot 1";
	uint64_t pages = (s->memory_end - s->layout.family->base_gpa) / PAGE;
	struct identity id = {.snapshot = s};
	id.hash = mote__alloc(pages, sizeof *id.hash);
	id.has_hash = mote__alloc(pages / 8 + 1, 1);
	int rc = id.hash && id.has_hash ? MOTE_OK : mote__fail(err, MOTE_ENOMEM, "out of memory");
	if (rc == MOTE_OK) {
		hash_page(mote__zero_page, id.zero_hash);
		mote__digest_init(&id.digest);
		mote__digest_update(&id.digest, name, sizeof name);
		add_layout(&id);
		add_registers(&id);
		rc = add_mappings(&id, err);
	}
	if (rc == MOTE_OK)
		mote__digest_final(&id.digest, digest);
	mote__free(id.hash);
	mote__free(id.has_hash);
	return rc;
}

int mote_snapshot_digest(mote_snapshot *snapshot, uint8_t digest[MOTE_DIGEST_BYTES],
			 struct mote_error *err)
{
	uint8_t computed[MOTE_DIGEST_BYTES];
	if (!snapshot || !digest)
		return mote__fail(err, MOTE_EINVAL, "%s is NULL", snapshot ? "digest" : "snapshot");
	int rc = mote__snapshot_check(snapshot, err);
	if (rc < 0)
		return rc;
	(void)pthread_mutex_lock(&snapshot->lock);
	bool has_digest = snapshot->has_digest;
	if (has_digest)
		memcpy(digest, snapshot->digest, MOTE_DIGEST_BYTES);
	(void)pthread_mutex_unlock(&snapshot->lock);
	if (has_digest)
		return MOTE_OK;
	/* Long work without the lock; two threads that ask at once come to the same. */
	rc = compute(snapshot, computed, err);
	if (rc < 0)
		return rc;
	(void)pthread_mutex_lock(&snapshot->lock);
	memcpy(snapshot->digest, computed, MOTE_DIGEST_BYTES);
	snapshot->has_digest = true;
	(void)pthread_mutex_unlock(&snapshot->lock);
	memcpy(digest, computed, MOTE_DIGEST_BYTES);
	return MOTE_OK;
}
