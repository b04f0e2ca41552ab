/* SPDX-License-Identifier: MIT */
/*
 * The page tables of a snapshot as a list of what they map: the form in which they are stored
 * (docs/snapshot-format.md, "Mappings"). Tables are built anew from it when it is loaded, so no
 * entry of a stored table ever reaches a processor. All of a list that is read is hostile.
 */
#ifndef MOTE_CORE_MAPPINGS_H
#define MOTE_CORE_MAPPINGS_H

#include <stdint.h>

#include <mote.h>

#include "core/layout.h"
#include "core/page_table.h"

#define MOTE__MAPPINGS_MAGIC   0x5350414D45544F4Dull /* "MOTEMAPS" */
#define MOTE__MAPPINGS_VERSION 1u
/** Most records of a list, and most pages that a list may map: 64 GiB of address space. */
#define MOTE__RECORDS_MAX (1u << 22)
#define MOTE__MAPPED_MAX  (1ull << 24)

/** Before the records; little-endian, like all of it. */
struct mote__mappings_header {
	uint64_t magic;
	uint32_t version;
	uint32_t root_count; /* 1 to MOTE_MAX_ROOTS; confined guests: 1 */
	uint64_t record_count;
	uint64_t reserved; /* 0 */
};

enum mote__record_kind {
	MOTE__RECORD_RUN = 1,  /* count pages from va on are those from target on */
	MOTE__RECORD_LINK = 2, /* the table of a level at va is the one at another address */
};

enum mote__record_flag {
	MOTE__RECORD_COW = 1, /* a write makes a copy */
	MOTE__RECORD_EXEC = 2,
	MOTE__RECORD_USER = 4, /* ring 3 may use it */
};

/** One of a list, ordered by root, then va. */
struct mote__record {
	uint32_t kind;
	uint32_t root;   /* number of the address space */
	uint64_t va;     /* canonical */
	uint64_t target; /* run: gpa of the first page in the memory layers; 0: all pages are
			  * zeroes. link: va of the table in the owner, which was listed before */
	uint32_t count;  /* run: pages. link: root of the owner */
	uint32_t flags;  /* run: enum mote__record_flag. link: level of the table, from 1 */
};

/** A list in the making. */
struct mote__records {
	struct mote__record *record; /* mote__alloc'ed by whoever makes it */
	uint64_t count, capacity;
	uint32_t root_count;
};

/** Where the pages of a list may be. */
struct mote__mapped_memory {
	uint64_t first_gpa, end_gpa; /* of the memory layers, without gaps */
	uint64_t zero_gpa;           /* the page that runs of zeroes show; 0: there may be none */
};

/**
 * Check a list of len bytes and find its records, which lie in bytes (aligned to 8). MOTE_ESTORE:
 * the header (which field and value), or len is not that of the header's record_count;
 * MOTE_ETOOBIG.
 */
int mote__mappings_parse(const void *bytes, uint64_t len, struct mote__mappings_header *header,
			 const struct mote__record **records, struct mote_error *err);

/**
 * Build the tables of a confined guest: as mote__layout_build() does, but with what the records say
 * in place of the image's parts; memory as there. Each run must lie in one part of the layout and
 * have exactly the access that the part gives (parts of address space: copy-on-write without
 * execute; the space of mappings: also read-only), so the rules of confinement hold whatever the
 * list says. No member of the write set is placed.
 *
 * MOTE_ESTORE: the message names record, field and value.
 */
int mote__mappings_build_confined(const struct mote__layout *layout,
				  const struct mote__mapped_memory *memory,
				  const struct mote__record *records,
				  const struct mote__mappings_header *header, void *tables,
				  uint64_t *used_bytes, struct mote_error *err);

/**
 * Build the tables of a guest that owns ring 0, in builder (begun, with user_tables set): all roots
 * first, in order, each with the linear map of scratch, which shared tables share again; then what
 * the records say, in the spans of mote__layout_spans(). roots gets header->root_count gpas.
 */
int mote__mappings_build_stock(const struct mote__layout *layout,
			       const struct mote__mapped_memory *memory,
			       const struct mote__record *records,
			       const struct mote__mappings_header *header,
			       struct mote__pt_builder *builder, uint64_t *roots,
			       struct mote_error *err);

#endif
