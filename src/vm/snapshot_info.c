/* SPDX-License-Identifier: MIT */
/* What a snapshot tells about itself. */
#include "vm/objects.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/math.h"

void mote_snapshot_get_info(const mote_snapshot *snapshot, struct mote_snapshot_info *info)
{
	const struct mote__layout *l = &snapshot->layout;
	*info = (struct mote_snapshot_info){
		.family = l->family->id,
		.image_bits = snapshot->image->bits,
		.is_confined = l->is_confined,
		.has_note = snapshot->image->has_note,
		.is_position_independent = snapshot->image->is_position_independent,
		.entry_gva = snapshot->image->entry_gva,
		.dispatch_gva = snapshot->dispatch_gva,
		.input_bytes = l->input_bytes,
		.output_bytes = l->output_bytes,
		.heap_bytes = l->heap_bytes,
		.stack_bytes = l->stack_bytes,
		.scratch_bytes = l->scratch_bytes,
		.memory_bytes = snapshot->memory_end - l->family->base_gpa,
		.table_bytes = l->tables_bytes,
		.write_set_pages =
			atomic_load_explicit(&snapshot->write_set.count, memory_order_relaxed),
		.export_count = snapshot->image->exports.count,
		.import_count = snapshot->image->imports.count,
		.region_count = l->part_count,
		.layer_count = snapshot->layer_count,
		.metadata_count = snapshot->metadata_count,
		.is_ready = snapshot->is_ready,
		.generation = snapshot->generation,
		.dead_bytes = snapshot->dead_bytes,
		.mapping_gva = l->mapping_bytes ? l->mapping_gva : 0,
		.mapping_bytes = l->mapping_bytes,
		.build_id_bytes = snapshot->image->build_id_bytes,
	};
	memcpy(info->version_note, snapshot->image->version, sizeof info->version_note);
	memcpy(info->build_id, snapshot->image->build_id, sizeof info->build_id);
}

static uint8_t access_of(struct mote__pt_attributes attributes)
{
	return (uint8_t)(MOTE_READ | (attributes.writable || attributes.cow ? MOTE_WRITE : 0) |
			 (attributes.exec ? MOTE_EXECUTE : 0));
}

int mote_snapshot_get_region(const mote_snapshot *snapshot, uint32_t index,
			     struct mote_region *region)
{
	if (index >= snapshot->layout.part_count)
		return MOTE_EINVAL;
	if (mote__snapshot_check(snapshot, NULL) < 0)
		return MOTE_ESTATE;
	const struct mote__part *p = &snapshot->layout.parts[index];
	struct mote__pt_translation t;
	/* Where it was laid out is not where it stands after a snapshot was taken. */
	bool has_page = mote__snapshot_translate(snapshot, p->gva, &t);
	*region = (struct mote_region){.name = p->name,
				       .gva = p->gva,
				       .gpa = has_page ? t.gpa : 0,
				       .bytes = p->bytes,
				       .access = access_of(p->attributes),
				       .is_cow = p->attributes.cow,
				       .is_demand = p->kind == MOTE__PART_DEMAND,
				       .is_system =
					       snapshot->layout.is_confined && !p->attributes.user};
	return MOTE_OK;
}

int mote_snapshot_locate(const mote_snapshot *snapshot, uint64_t gva,
			 struct mote_location *location)
{
	struct mote__pt_attributes attributes;
	uint64_t gpa;
	if (mote__snapshot_check(snapshot, NULL) < 0)
		return MOTE_ESTATE;
	if (!mote__snapshot_stored(snapshot, gva, &gpa, &attributes))
		return MOTE_EADDR;
	*location = (struct mote_location){.gpa = gpa,
					   .layer = MOTE_NO_LAYER,
					   .access = access_of(attributes),
					   .is_zero = !gpa || gpa == snapshot->layout.zero_gpa};
	for (uint32_t i = 0; i < snapshot->layer_count; i++)
		if (gpa - snapshot->layer[i].at < snapshot->layer[i].bytes)
			location->layer = i;
	return MOTE_OK;
}

int mote_snapshot_get_layer(const mote_snapshot *snapshot, uint32_t index, struct mote_layer *layer)
{
	if (index >= snapshot->layer_count)
		return MOTE_EINVAL;
	const struct mote__piece *piece = &snapshot->layer[index];
	*layer = (struct mote_layer){piece->at, piece->bytes, piece->object->id};
	return MOTE_OK;
}

int mote_snapshot_get_metadata(const mote_snapshot *snapshot, uint32_t index,
			       struct mote_metadata *metadata)
{
	if (index >= snapshot->metadata_count)
		return MOTE_EINVAL;
	*metadata = (struct mote_metadata){snapshot->metadata[index].name,
					   snapshot->metadata[index].json};
	return MOTE_OK;
}

/* Copy the bytes of one page after the other; buffer NULL: only look. */
static int read_pages(const mote_snapshot *s, uint64_t gva, uint8_t *buffer, size_t len,
		      struct mote_error *err)
{
	for (uint64_t at = 0, piece; at < len; at += piece) {
		const uint8_t *page;
		uint64_t inside = (gva + at) % MOTE_PAGE_BYTES;
		piece = MOTE_PAGE_BYTES - inside < len - at ? MOTE_PAGE_BYTES - inside : len - at;
		const unsigned long long from = gva + at;
		if (!mote__snapshot_page(s, from, &page)) {
			int rc = mote__fail(err, MOTE_EADDR, "guest address 0x%llx is not mapped",
					    from);
			if (err)
				err->fault_gva = from;
			return rc;
		}
		if (buffer && page)
			memcpy(buffer + at, page + inside, piece);
		else if (buffer)
			memset(buffer + at, 0, piece);
	}
	return MOTE_OK;
}

int mote_snapshot_read(const mote_snapshot *snapshot, uint64_t gva, void *buffer, size_t len,
		       struct mote_error *err)
{
	uint64_t end;
	if (!snapshot || (!buffer && len))
		return mote__fail(err, MOTE_EINVAL, "%s is NULL", snapshot ? "buffer" : "snapshot");
	int rc = mote__snapshot_check(snapshot, err);
	if (rc < 0)
		return rc;
	if (!mote__add(gva, len, &end)) {
		rc = mote__fail(err, MOTE_EADDR, "guest address 0x%llx and a length that wraps",
				(unsigned long long)gva);
		if (err)
			err->fault_gva = gva;
		return rc;
	}
	rc = read_pages(snapshot, gva, NULL, len, err);
	return rc < 0 ? rc : read_pages(snapshot, gva, buffer, len, err);
}

static int get_function(const struct mote__functions *functions, uint32_t index,
			struct mote_function *function)
{
	if (index >= functions->count)
		return MOTE_EINVAL;
	*function = functions->function[index];
	return MOTE_OK;
}

int mote_snapshot_get_export(const mote_snapshot *snapshot, uint32_t index,
			     struct mote_function *function)
{
	return get_function(&snapshot->image->exports, index, function);
}

int mote_snapshot_get_import(const mote_snapshot *snapshot, uint32_t index,
			     struct mote_function *function)
{
	return get_function(&snapshot->image->imports, index, function);
}

int mote_snapshot_symbolize(const mote_snapshot *snapshot, uint64_t gva, char *text,
			    size_t text_bytes)
{
	char name[256];
	uint64_t offset = 0;
	if (!text || !text_bytes)
		return MOTE_EINVAL;
	/* A symbol without a size has no end but the image's. */
	if (gva - snapshot->layout.image_gva >= snapshot->layout.image_bytes)
		return MOTE_EADDR;
	if (!mote__elf_symbol_find(&snapshot->image->symbols, gva - snapshot->image->symbol_shift,
				   name, sizeof name, &offset))
		return MOTE_EADDR;
	(void)snprintf(text, text_bytes, "%s+0x%llx", name, (unsigned long long)offset);
	return MOTE_OK;
}
