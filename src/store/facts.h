/* SPDX-License-Identifier: MIT */
/*
 * What a snapshot is apart from its memory and its mappings: the content of its configuration in a
 * store (docs/snapshot-format.md, "Configuration"). Reading checks the form: types, ranges of
 * fields, counts, names; whether the numbers fit together is for whoever makes a snapshot of them.
 */
#ifndef MOTE_STORE_FACTS_H
#define MOTE_STORE_FACTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mote.h>

#include "base/functions.h"
#include "base/processor.h"
#include "core/elf.h"
#include "core/layout.h"
#include "core/vcpu.h"

#define MOTE__FACTS_LAYERS_MAX  32u
#define MOTE__FACTS_MSRS_MAX    15u
#define MOTE__CONFIG_BYTES_MAX  0x1000000u /* of the configuration as text */
#define MOTE__FUNCTIONS_MAX     16384u
#define MOTE__SYMBOLS_BYTES_MAX 0x10000000u

struct mote__facts {
	/* layout.family is found by family and bits; layout.is_confined is the kind */
	struct mote__layout_config layout;
	struct mote__layout_image image; /* confined: runs of pages with their access */
	bool is_ready;
	uint64_t generation;

	/* of the image */
	bool has_note, is_position_independent;
	uint32_t baseline; /* level of x86-64 that the image's note asks for; 0: it does not say */
	char version[MOTE__ELF_VERSION_BYTES];
	uint32_t build_id_bytes;
	uint8_t build_id[MOTE__ELF_BUILD_ID_MAX];
	uint64_t entry_gva, image_dispatch_gva, syscall_gva; /* 0: none */
	struct mote__functions exports, imports;
	bool has_symbols;
	uint64_t symbol_table_bytes, symbol_strings_bytes, symbol_shift;
	uint32_t allowed_msr_count; /* that the guest may use */
	uint32_t allowed_msrs[MOTE__FACTS_MSRS_MAX];

	/* memory */
	uint32_t layer_count;
	struct {
		uint64_t gpa, bytes;
	} layers[MOTE__FACTS_LAYERS_MAX];
	uint64_t zero_gpa; /* 0: none */
	uint32_t write_set_max;
	uint32_t write_set_count;
	uint64_t *write_set; /* gva of each member */

	/* start; when ready */
	uint64_t dispatch_gva, dispatch_rsp;
	struct mote__special special; /* confined: FS and GS base alone; cr3 is never there */
	struct mote__msr_list msrs;   /* stock */
	struct mote__functions host_functions;

	/* of the processor that its guest ran on */
	bool has_seen;
	struct mote__processor seen;
	char seen_unknown[128]; /* read: features that this version has no name for, or "" */

	uint32_t metadata_count;
	struct {
		char *name, *json; /* one allocation, at name */
	} metadata[MOTE_MAX_METADATA];
};

/** The text of facts, the same for the same facts; free with mote__free(). len without its NUL.
 * MOTE_ETOOBIG, MOTE_ENOMEM. */
int mote__config_write(const struct mote__facts *facts, char **text, size_t *len,
		       struct mote_error *err);
/** Read what mote__config_write() wrote, or anything. On success to be freed with
 * mote__facts_free(); on failure all zero. what: names the text in messages ("config sha256:...").
 * MOTE_ESTORE: the message names the field and what is wrong with it; MOTE_ENOMEM. */
int mote__config_read(const char *text, size_t len, const char *what, struct mote__facts *facts,
		      struct mote_error *err);
void mote__facts_free(struct mote__facts *facts);

#endif
