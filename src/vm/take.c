/* SPDX-License-Identifier: MIT */
/*
 * Taking a snapshot of a sandbox: what a child shares with its parent, and what it adds. What
 * changed is found by the two kinds of guests in their own ways (take_confined.c, take_stock.c);
 * here is what they have in common.
 */
#include "vm/take.h"

#include <string.h>

#include "base/error.h"
#include "base/math.h"
#include "base/sys.h"
#include "core/json.h"
#include "core/utf8.h"

#define PAGE               ((uint64_t)MOTE_PAGE_BYTES)
#define NAME_BYTES_MAX     255u
#define MSR_KERNEL_GS_BASE 0xC0000102u
#define JSON_BYTES_MAX     0x10000u
/* Dead pages that are not worth a copy of the living ones. */
#define DEAD_BYTES_MIN 0x400000u

/* ---- layers ---------------------------------------------------------------------------------- */

void mote__take_share_layers(mote_snapshot *child, const mote_snapshot *parent)
{
	for (uint32_t i = 0; i < parent->layer_count; i++) {
		child->layer[i] = parent->layer[i];
		mote__object_ref(child->layer[i].object);
	}
	child->layer_count = parent->layer_count;
}

int mote__take_add_layer(mote_snapshot *child, uint64_t gpa, const void *const *pages,
			 uint64_t count, struct mote_error *err)
{
	const struct mote__family *family = child->layout.family;
	uint64_t offset = gpa % MOTE__LARGE_BYTES, bytes = count * PAGE, end;
	struct mote__object *object = NULL;
	if (!mote__add(gpa - family->base_gpa, bytes, &end) || end > family->region_bytes_max)
		return mote__fail(err, MOTE_ESNAPSHOT,
				  "the snapshot's layers would take more than 0x%llx bytes",
				  (unsigned long long)family->region_bytes_max);
	int rc = mote__object_of_pages("mote-snapshot", offset, pages, count, &object, err);
	if (rc < 0)
		return rc;
	child->layer[child->layer_count++] = (struct mote__piece){object, offset, gpa, bytes};
	return MOTE_OK;
}

int mote__take_tables(const uint8_t *tables, uint64_t bytes, struct mote__object **object,
		      struct mote_error *err)
{
	uint64_t count = bytes / PAGE;
	const void **pages = mote__alloc(count, sizeof *pages);
	if (!pages)
		return mote__fail(err, MOTE_ENOMEM, "out of memory");
	for (uint64_t i = 0; i < count; i++)
		pages[i] = tables + i * PAGE;
	int rc = mote__object_of_pages("mote-tables", 0, pages, count, object, err);
	mote__free((void *)pages);
	return rc;
}

/* Too many layers, or more of them dead than alive. */
static bool needs_flattening(const mote_snapshot *parent)
{
	uint64_t all = parent->memory_end - parent->layout.family->base_gpa;
	return parent->layer_count >= MOTE__LAYERS_MAX ||
	       (parent->dead_bytes > DEAD_BYTES_MIN && parent->dead_bytes > all / 2);
}

/* ---- metadata -------------------------------------------------------------------------------- */

static int copy_metadata(mote_snapshot *child, const struct mote_metadata *metadata, uint32_t count,
			 struct mote_error *err)
{
	for (uint32_t i = 0; i < count; i++) {
		size_t name = strlen(metadata[i].name) + 1, json = strlen(metadata[i].json) + 1;
		char *text = mote__alloc(name + json, 1);
		if (!text)
			return mote__fail(err, MOTE_ENOMEM, "out of memory");
		memcpy(text, metadata[i].name, name);
		memcpy(text + name, metadata[i].json, json);
		child->metadata[child->metadata_count++] = (struct mote__text){text, text + name};
	}
	return MOTE_OK;
}

int mote__take_copy_metadata(mote_snapshot *child, const mote_snapshot *from,
			     struct mote_error *err)
{
	int rc = MOTE_OK;
	for (uint32_t i = 0; i < from->metadata_count && rc == MOTE_OK; i++) {
		const struct mote_metadata m = {from->metadata[i].name, from->metadata[i].json};
		rc = copy_metadata(child, &m, 1, err);
	}
	return rc;
}

static int check_metadata(const struct mote_metadata *m, uint32_t count, struct mote_error *err)
{
	if (count > MOTE_MAX_METADATA)
		return mote__fail(err, MOTE_EINVAL, "metadata_count is %u, at most %u", count,
				  MOTE_MAX_METADATA);
	if (count && !m)
		return mote__fail(err, MOTE_EINVAL, "metadata is NULL, metadata_count is %u",
				  count);
	for (uint32_t i = 0; i < count; i++) {
		size_t name = m[i].name ? strnlen(m[i].name, NAME_BYTES_MAX + 1) : 0;
		size_t json = m[i].json ? strnlen(m[i].json, JSON_BYTES_MAX + 1) : 0;
		if (!name || name > NAME_BYTES_MAX || !mote__utf8_is_valid(m[i].name, name))
			return mote__fail(err, MOTE_EINVAL,
					  "metadata %u: the name is not UTF-8 of 1 to %u bytes", i,
					  NAME_BYTES_MAX);
		if (json > JSON_BYTES_MAX || !mote__json_is_valid(m[i].json, json))
			return mote__fail(err, MOTE_EINVAL,
					  "metadata %s: not JSON of at most %u bytes", m[i].name,
					  JSON_BYTES_MAX);
		for (uint32_t j = 0; j < i; j++)
			if (strcmp(m[i].name, m[j].name) == 0)
				return mote__fail(err, MOTE_EINVAL, "metadata %s: given twice",
						  m[i].name);
	}
	return MOTE_OK;
}

/* ---- taking ---------------------------------------------------------------------------------- */

static int check(mote_sandbox *sandbox, const struct mote_take_options *options,
		 struct mote_take_options *o, mote_snapshot **snapshot, struct mote_error *err)
{
	if (!sandbox || !snapshot)
		return mote__fail(err, MOTE_EINVAL, "%s is NULL", sandbox ? "snapshot" : "sandbox");
	*o = (struct mote_take_options){0};
	int rc = mote__engine_check(sandbox->engine, err);
	if (rc == MOTE_OK && options) {
		rc = mote__options_check("mote_take_options", options, options->size, sizeof *o,
					 sizeof *o, err);
		if (rc == MOTE_OK)
			*o = *options;
	}
	if (rc == MOTE_OK)
		rc = mote__reserved_check("mote_take_options", &o->reserved, sizeof o->reserved,
					  err);
	if (rc == MOTE_OK)
		rc = check_metadata(o->metadata, o->metadata_count, err);
	if (rc < 0)
		return rc;
	if (sandbox->state != MOTE_STATE_NEW && sandbox->state != MOTE_STATE_READY)
		return mote__fail(err, MOTE_ESTATE, "the sandbox is %s",
				  mote_state_name(sandbox->state));
	return MOTE_OK;
}

/* One register; not when the kernel does not let us read it, or write what was read: then the guest
 * cannot change it. */
static int keep_msr(mote_snapshot *child, mote_sandbox *sandbox, uint32_t index,
		    struct mote_error *err)
{
	const struct mote__hypervisor_ops *ops = sandbox->machine->ops;
	struct mote__msr_list one = {.count = 1, .msr = {{.index = index}}};
	int rc = ops->get_msrs(sandbox->machine, &one, err);
	if (rc == MOTE_OK)
		rc = ops->set_msrs(sandbox->machine, &one, err);
	if (rc == MOTE_OK)
		child->msrs.msr[child->msrs.count++] = one.msr[0];
	return rc == MOTE_ENOMEM ? rc : MOTE_OK;
}

/* What a guest in ring 0 may write, and what SWAPGS exchanges. */
static int keep_msrs(mote_snapshot *child, mote_sandbox *sandbox, struct mote_error *err)
{
	const struct mote__image *image = child->image;
	int rc = keep_msr(child, sandbox, MSR_KERNEL_GS_BASE, err);
	for (uint32_t i = 0; i < image->msr_count && rc == MOTE_OK; i++)
		if (image->msrs[i] != MSR_KERNEL_GS_BASE)
			rc = keep_msr(child, sandbox, image->msrs[i], err);
	return rc;
}

/* Registers, and what the snapshot asks of its host. */
static int fill_start(mote_snapshot *child, mote_sandbox *sandbox, struct mote_error *err)
{
	const mote_snapshot *base = sandbox->snapshot;
	child->write_set_max = base->write_set_max;
	child->dispatch_gva = sandbox->dispatch_gva;
	child->dispatch_rsp = sandbox->dispatch_rsp;
	child->generation = sandbox->generation + 1;
	child->is_ready = sandbox->state == MOTE_STATE_READY;
	if (!child->is_ready)
		return MOTE_OK;
	child->functions = mote__host_functions(sandbox->host);
	if (!child->functions)
		return mote__fail(err, MOTE_ENOMEM, "out of memory");
	mote__engine_seen(sandbox->engine, child->layout.is_confined, &child->seen);
	for (size_t i = 0; i < MOTE__PROCESSOR_WORDS; i++)
		child->seen.word[i] |= base->seen.word[i];
	/* Nothing ran since the start: the machine may still have what was before it. */
	if (sandbox->needs_reset) {
		child->special = base->special;
		child->msrs = base->msrs;
		return MOTE_OK;
	}
	int rc = sandbox->machine->ops->get_special(sandbox->machine, &child->special, err);
	return rc < 0 || child->layout.is_confined ? rc : keep_msrs(child, sandbox, err);
}

static int take_memory(mote_snapshot *child, mote_sandbox *sandbox, mote_snapshot *parent,
		       const struct mote_take_options *o, struct mote_error *err)
{
	if (!child->layout.is_confined)
		return mote__take_stock(child, sandbox, o, needs_flattening(parent), err);
	if (!needs_flattening(parent))
		return mote__take_confined(child, sandbox, parent, err);
	mote_snapshot *flat = NULL;
	int rc = mote_snapshot_flatten(parent, &flat, err);
	if (rc < 0)
		return rc;
	child->layout = flat->layout;
	child->dead_bytes = 0;
	rc = mote__take_confined(child, sandbox, flat, err);
	mote_snapshot_unref(flat);
	return rc;
}

static int make(mote_snapshot *child, mote_sandbox *sandbox, mote_snapshot *parent,
		const struct mote_take_options *o, struct mote_error *err)
{
	child->dead_bytes = parent->dead_bytes;
	int rc = fill_start(child, sandbox, err);
	if (rc == MOTE_OK)
		rc = copy_metadata(child, o->metadata, o->metadata_count, err);
	if (rc == MOTE_OK)
		rc = take_memory(child, sandbox, parent, o, err);
	if (rc == MOTE_OK)
		rc = mote__snapshot_map(child, err);
	if (rc == MOTE_OK)
		rc = mote__snapshot_set_members(child, NULL, err);
	return rc;
}

static int take(mote_sandbox *sandbox, mote_snapshot *parent, const struct mote_take_options *o,
		mote_snapshot **snapshot, struct mote_error *err)
{
	mote_snapshot *child = mote__snapshot_new(parent->image, &parent->layout);
	if (!child)
		return mote__fail(err, MOTE_ENOMEM, "out of memory");
	int rc = make(child, sandbox, parent, o, err);
	if (rc < 0) {
		mote_snapshot_unref(child);
		return rc;
	}
	*snapshot = child;
	return MOTE_OK;
}

int mote_snapshot_take(mote_sandbox *sandbox, const struct mote_take_options *options,
		       mote_snapshot **snapshot, struct mote_error *err)
{
	struct mote_take_options o;
	int rc = check(sandbox, options, &o, snapshot, err);
	if (rc < 0)
		return rc;
	mote_snapshot *parent = sandbox->taken ? sandbox->taken : sandbox->snapshot, *child = NULL;
	bool has_roots = o.find_roots && !mote__is_confined(sandbox);
	if (!sandbox->is_changed && !o.metadata_count && !has_roots) {
		*snapshot = mote_snapshot_ref(parent);
		return MOTE_OK;
	}
	/* What a guest with tables of its own has is known against the layers that it runs from. */
	rc = take(sandbox, mote__is_confined(sandbox) ? parent : sandbox->snapshot, &o, &child,
		  err);
	if (rc < 0)
		return rc;
	mote_snapshot_unref(sandbox->taken);
	sandbox->taken = mote_snapshot_ref(child);
	sandbox->is_changed = false;
	sandbox->generation = child->generation;
	*snapshot = child;
	return MOTE_OK;
}
