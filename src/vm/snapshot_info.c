/* SPDX-License-Identifier: MIT */
/* What a snapshot tells about itself. */
#include "vm/objects.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"

void mote_snapshot_get_info(const mote_snapshot *snapshot, struct mote_snapshot_info *info)
{
	const struct mote__layout *l = &snapshot->layout;
	*info = (struct mote_snapshot_info){
		.family = l->family->id,
		.image_bits = snapshot->bits,
		.is_confined = l->is_confined,
		.has_note = snapshot->has_note,
		.is_position_independent = snapshot->is_position_independent,
		.entry_gva = snapshot->entry_gva,
		.dispatch_gva = snapshot->dispatch_gva,
		.input_bytes = l->input_bytes,
		.output_bytes = l->output_bytes,
		.heap_bytes = l->heap_bytes,
		.stack_bytes = l->stack_bytes,
		.scratch_bytes = l->scratch_bytes,
		.memory_bytes = l->snapshot_bytes,
		.table_bytes = l->tables_bytes,
		.write_set_pages = snapshot->write_set.count,
		.export_count = snapshot->exports.count,
		.import_count = snapshot->imports.count,
		.region_count = l->part_count,
	};
	memcpy(info->version_note, snapshot->version, sizeof info->version_note);
}

int mote_snapshot_get_region(const mote_snapshot *snapshot, uint32_t index,
			     struct mote_region *region)
{
	if (index >= snapshot->layout.part_count)
		return MOTE_EINVAL;
	const struct mote__part *p = &snapshot->layout.parts[index];
	bool is_own = snapshot->layout.is_confined && !p->attributes.user;
	uint8_t access = MOTE_READ;
	if (p->attributes.writable || p->attributes.cow)
		access |= MOTE_WRITE;
	if (p->attributes.exec)
		access |= MOTE_EXECUTE;
	*region = (struct mote_region){.name = p->name,
				       .gva = p->gva,
				       .gpa = p->gpa,
				       .bytes = p->bytes,
				       .access = access,
				       .is_cow = p->attributes.cow,
				       .is_demand = p->kind == MOTE__PART_DEMAND,
				       .is_system = is_own};
	return MOTE_OK;
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
	return get_function(&snapshot->exports, index, function);
}

int mote_snapshot_get_import(const mote_snapshot *snapshot, uint32_t index,
			     struct mote_function *function)
{
	return get_function(&snapshot->imports, index, function);
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
	if (!mote__elf_symbol_find(&snapshot->symbols, gva - snapshot->symbol_shift, name,
				   sizeof name, &offset))
		return MOTE_EADDR;
	(void)snprintf(text, text_bytes, "%s+0x%llx", name, (unsigned long long)offset);
	return MOTE_OK;
}
