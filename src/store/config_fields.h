/* SPDX-License-Identifier: MIT */
/*
 * The plain fields of a configuration, as tables from which they are written and read: what a name
 * stands for is said once. Lists, words and what depends on something else are in config_write.c
 * and config_read.c.
 */
#ifndef MOTE_STORE_CONFIG_FIELDS_H
#define MOTE_STORE_CONFIG_FIELDS_H

#include <stddef.h>
#include <stdint.h>

#include "store/facts.h"

/** The revision of the format that is written, and the least whose readers understand it. */
#define MOTE__CONFIG_VERSION      1u
#define MOTE__CONFIG_LEAST_READER 1u

#define MOTE__CONFIG_TEXT_MAX     255u     /* bytes of a name */
#define MOTE__CONFIG_METADATA_MAX 0x10000u /* bytes of a value's text */

enum mote__config_form {
	MOTE__CONFIG_NUMBER,  /* in [min, max] */
	MOTE__CONFIG_ADDRESS, /* at most max */
	MOTE__CONFIG_FLAG,
};

/** A field that is one unsigned integer, or bool, of a struct. */
struct mote__config_field {
	const char *name;
	uint16_t offset; /* in the struct */
	uint8_t bytes;
	uint8_t form; /* enum mote__config_form */
	uint64_t min, max;
};

#define MOTE__CONFIG_COUNT(table) (sizeof(table) / sizeof *(table))

#define FIELD(type, member, name, form, min, max)                                               \
	{                                                                                       \
		name, offsetof(type, member), sizeof(((type *)0)->member), MOTE__CONFIG_##form, \
			min, max                                                                \
	}
#define NUMBER(type, member, name, min, max) FIELD(type, member, name, NUMBER, min, max)
#define ADDRESS(type, member, name)          FIELD(type, member, name, ADDRESS, 0, UINT64_MAX)
#define FLAG(type, member, name)             FIELD(type, member, name, FLAG, 0, 1)
#define BIT(member)                          NUMBER(struct mote__segment, member, #member, 0, 1)

typedef __typeof__(((struct mote__facts *)0)->layers[0]) mote__config_layer;

static const struct mote__config_field mote__config_top[] = {
	NUMBER(struct mote__facts, generation, "generation", 0, INT64_MAX),
	FLAG(struct mote__facts, layout.executable_heap, "executableHeap"),
	FLAG(struct mote__facts, layout.has_large, "largeLeaves"),
	ADDRESS(struct mote__facts, zero_gpa, "zeroPage"),
};

static const struct mote__config_field mote__config_sizes[] = {
	NUMBER(struct mote__facts, layout.input_bytes, "input", 0, MOTE_MAX_REGION_BYTES),
	NUMBER(struct mote__facts, layout.output_bytes, "output", 0, MOTE_MAX_REGION_BYTES),
	NUMBER(struct mote__facts, layout.heap_bytes, "heap", 0, MOTE_MAX_REGION_BYTES),
	NUMBER(struct mote__facts, layout.stack_bytes, "stack", 0, MOTE_MAX_REGION_BYTES),
	NUMBER(struct mote__facts, layout.scratch_bytes, "scratch", 0, MOTE_MAX_REGION_BYTES),
	NUMBER(struct mote__facts, layout.mapping_bytes, "mappings", 0, MOTE_MAX_REGION_BYTES),
	NUMBER(struct mote__facts, layout.init_bytes, "initData", 0, MOTE_MAX_REGION_BYTES),
};

static const struct mote__config_field mote__config_image[] = {
	ADDRESS(struct mote__facts, image.gva, "address"),
	NUMBER(struct mote__facts, image.bytes, "bytes", 0, MOTE_MAX_REGION_BYTES),
	FLAG(struct mote__facts, is_position_independent, "positionIndependent"),
	FLAG(struct mote__facts, has_note, "note"),
	NUMBER(struct mote__facts, baseline, "level", 0, 4),
	ADDRESS(struct mote__facts, entry_gva, "entry"),
	ADDRESS(struct mote__facts, image_dispatch_gva, "dispatch"),
	ADDRESS(struct mote__facts, syscall_gva, "syscall"),
};

static const struct mote__config_field mote__config_run[] = {
	NUMBER(struct mote__layout_run, first, "first", 0, MOTE_MAX_REGION_BYTES),
	NUMBER(struct mote__layout_run, count, "count", 1, MOTE_MAX_REGION_BYTES),
	NUMBER(struct mote__layout_run, access, "access", 1, 7),
};

static const struct mote__config_field mote__config_symbols[] = {
	NUMBER(struct mote__facts, symbol_table_bytes, "table", 0, MOTE__SYMBOLS_BYTES_MAX),
	NUMBER(struct mote__facts, symbol_strings_bytes, "strings", 0, MOTE__SYMBOLS_BYTES_MAX),
	ADDRESS(struct mote__facts, symbol_shift, "shift"),
};

static const struct mote__config_field mote__config_layers[] = {
	ADDRESS(mote__config_layer, gpa, "address"),
	NUMBER(mote__config_layer, bytes, "bytes", 1, MOTE_MAX_REGION_BYTES),
};

static const struct mote__config_field mote__config_write_set[] = {
	NUMBER(struct mote__facts, write_set_max, "max", 0, MOTE_MAX_WRITE_SET),
};

static const struct mote__config_field mote__config_start[] = {
	ADDRESS(struct mote__facts, dispatch_gva, "dispatch"),
	ADDRESS(struct mote__facts, dispatch_rsp, "stack"),
};

static const struct mote__config_field mote__config_start_confined[] = {
	ADDRESS(struct mote__facts, special.fs.base, "fsBase"),
	ADDRESS(struct mote__facts, special.gs.base, "gsBase"),
};

static const struct mote__config_field mote__config_segment[] = {
	ADDRESS(struct mote__segment, base, "base"),
	NUMBER(struct mote__segment, limit, "limit", 0, UINT32_MAX),
	NUMBER(struct mote__segment, selector, "selector", 0, UINT16_MAX),
	NUMBER(struct mote__segment, type, "type", 0, 15),
	BIT(present),
	NUMBER(struct mote__segment, dpl, "dpl", 0, 3),
	BIT(db),
	BIT(s),
	BIT(l),
	BIT(g),
	BIT(unusable),
};

/* Beside the segments; CR3 is not kept. */
static const struct mote__config_field mote__config_special[] = {
	ADDRESS(struct mote__special, gdt_base, "gdtBase"),
	NUMBER(struct mote__special, gdt_limit, "gdtLimit", 0, UINT16_MAX),
	ADDRESS(struct mote__special, idt_base, "idtBase"),
	NUMBER(struct mote__special, idt_limit, "idtLimit", 0, UINT16_MAX),
	ADDRESS(struct mote__special, cr0, "cr0"),
	ADDRESS(struct mote__special, cr2, "cr2"),
	ADDRESS(struct mote__special, cr4, "cr4"),
	ADDRESS(struct mote__special, efer, "efer"),
};

static const struct {
	const char *name;
	size_t offset;
} mote__config_segments[] = {
	{"cs", offsetof(struct mote__special, cs)}, {"ds", offsetof(struct mote__special, ds)},
	{"es", offsetof(struct mote__special, es)}, {"fs", offsetof(struct mote__special, fs)},
	{"gs", offsetof(struct mote__special, gs)}, {"ss", offsetof(struct mote__special, ss)},
	{"tr", offsetof(struct mote__special, tr)}, {"ldt", offsetof(struct mote__special, ldt)},
};

static const struct mote__config_field mote__config_msr[] = {
	FIELD(struct mote__msr, index, "index", ADDRESS, 0, UINT32_MAX),
	ADDRESS(struct mote__msr, value, "value"),
};

#undef FIELD
#undef NUMBER
#undef ADDRESS
#undef FLAG
#undef BIT

/** What init data may be accessed as; reading is always among it. */
static const struct {
	const char *word;
	uint32_t access;
} mote__config_access[] = {
	{"r", MOTE_READ},
	{"rw", MOTE_READ | MOTE_WRITE},
	{"rx", MOTE_READ | MOTE_EXECUTE},
	{"rwx", MOTE_READ | MOTE_WRITE | MOTE_EXECUTE},
};

#endif
