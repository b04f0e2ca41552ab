/* SPDX-License-Identifier: MIT */
/*
 * Entries of page tables: making them and reading them, by the description of their format. The
 * only file that turns the fields of a format into bits of an entry and back.
 */
#include "core/page_table.h"

const char *mote__pt_describe(int code)
{
	switch ((enum mote__pt_code)code) {
	case MOTE__PT_OK:
		return "no error";
	case MOTE__PT_UNALIGNED:
		return "an address or a length is not a multiple of a page";
	case MOTE__PT_NOT_CANONICAL:
		return "an address is not canonical";
	case MOTE__PT_BAD_GPA:
		return "a physical address does not fit the page-table format";
	case MOTE__PT_BAD_LEVEL:
		return "no such page-table level";
	case MOTE__PT_BAD_ORDER:
		return "ranges are not ascending or overlap";
	case MOTE__PT_NOT_MAPPED:
		return "the address is not mapped";
	case MOTE__PT_OUTSIDE:
		return "a page table lies outside the memory for tables";
	case MOTE__PT_FULL:
		return "the memory for page tables is full";
	case MOTE__PT_IN_THE_WAY:
		return "a large page or another table is in the way";
	case MOTE__PT_TABLE_BUDGET:
		return "more page tables than the limit";
	case MOTE__PT_LEAF_BUDGET:
		return "more mapped pages than the limit";
	case MOTE__PT_BAD_VISITS:
		return "the memory for visited tables does not suit the limit of tables";
	case MOTE__PT_STOPPED:
		return "stopped";
	}
	return "unknown page-table error";
}

static uint64_t with(uint64_t entry, struct mote__pt_field field, bool has)
{
	return (entry & ~field.mask) | (has ? field.on : field.off);
}

uint64_t mote__pt_leaf_entry(const struct mote__pt_format *format, uint64_t gpa,
			     struct mote__pt_attributes attributes)
{
	uint64_t entry = gpa | format->accessed | format->dirty;
	entry = with(entry, format->present, true);
	entry = with(entry, format->writable, attributes.writable && !attributes.cow);
	entry = with(entry, format->user, attributes.user);
	entry = with(entry, format->exec, attributes.exec);
	return with(entry, format->cow, attributes.cow);
}

uint64_t mote__pt_page_entry(const struct mote__pt_format *format, uint64_t gpa, uint32_t level,
			     struct mote__pt_attributes attributes)
{
	uint64_t entry = mote__pt_leaf_entry(format, gpa, attributes);
	return level > 1 ? with(entry, format->large, true) : entry;
}

uint64_t mote__pt_table_entry(const struct mote__pt_format *format, uint64_t gpa, bool user)
{
	uint64_t entry = gpa | format->table_bits;
	return user ? with(entry | format->dirty, format->user, true) : entry;
}

struct mote__pt_attributes mote__pt_entry_attributes(const struct mote__pt_format *format,
						     uint64_t entry)
{
	bool cow = mote__pt_has(format->cow, entry);
	return (struct mote__pt_attributes){
		.writable = !cow && mote__pt_has(format->writable, entry),
		.cow = cow,
		.exec = mote__pt_has(format->exec, entry),
		.user = mote__pt_has(format->user, entry),
	};
}

enum mote__pt_entry_kind mote__pt_entry_kind(const struct mote__pt_format *format, uint64_t entry,
					     uint32_t level)
{
	if (!mote__pt_has(format->present, entry))
		return MOTE__PT_ABSENT;
	if (level == 1)
		return MOTE__PT_LEAF;
	if (!mote__pt_has(format->large, entry))
		return MOTE__PT_TABLE;
	uint64_t below = mote__pt_page_bytes(format, level) - 1;
	uint64_t reserved = format->address_mask & ~format->large_flags & below;
	bool is_leaf = format->large_levels >> level & 1 && !(entry & reserved);
	return is_leaf ? MOTE__PT_LEAF : MOTE__PT_BROKEN;
}
