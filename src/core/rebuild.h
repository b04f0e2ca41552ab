/* SPDX-License-Identifier: MIT */
/*
 * From the page tables of a live guest to tables for a snapshot: one walk of all its address
 * spaces builds new tables and lists the pages that have to be stored. What is shared (a page under
 * several addresses, a table in several places) stays shared. The tables that are read are hostile,
 * all work is bounded, and all memory is the caller's.
 */
#ifndef MOTE_CORE_REBUILD_H
#define MOTE_CORE_REBUILD_H

#include <stdint.h>

#include "core/page_table.h"

/** Results beyond those of enum mote__pt_code. */
enum mote__rebuild_code {
	MOTE__REBUILD_PAGE_BUDGET = -32, /* more pages to store than pages_max */
	MOTE__REBUILD_BAD_SLOTS = -33,   /* slot_count does not suit pages_max */
	MOTE__REBUILD_OVERLAP = -34,     /* an added mapping lies in what is walked */
};

/** One line for any result of mote__rebuild(); never NULL. */
const char *mote__rebuild_describe(int code);

/** What becomes of a page of the guest. */
enum mote__rebuild_where {
	MOTE__REBUILD_NONE, /* no memory that is known: not mapped any more */
	MOTE__REBUILD_KEEP, /* stored already: mapped at the gpa that it has */
	MOTE__REBUILD_COPY, /* stored anew, unless it is all zero */
};

struct mote__rebuild {
	const struct mote__pt_format *format;
	struct mote__pt_memory tables;     /* where the guest's tables lie */
	const uint64_t *roots;             /* root_count gpas; flag bits are ignored */
	const struct mote__pt_span *spans; /* as for a walk: what is kept */
	uint32_t root_count, span_count;

	/* What is at gpa (a whole smallest page, hostile). len goes in as the bytes that are asked
	 * for and comes out as those that the answer holds for: at least one page and not more than
	 * asked, whole pages. COPY sets bytes to the memory of the first: the same pointer each
	 * time it is asked, since that is how a page is known again. Called for every page that is
	 * mapped, as often as it is reported, so it can also count. */
	enum mote__rebuild_where (*find)(void *cookie, uint64_t gpa, uint64_t *len,
					 const uint8_t **bytes);
	void *cookie;

	/* Budgets. leaves_max counts smallest pages that are mapped, answers NONE, and links. */
	uint64_t leaves_max;
	uint32_t tables_max; /* tables walked, each once */
	uint32_t pages_max;  /* pages stored; at most 2^30 */
	uint64_t seed;       /* random, so that addresses cannot be chosen to collide */

	/* Memory for the work, of any content. */
	struct mote__pt_visit *visits; /* visit_count: mote__pt_visits_for(tables_max) */
	uint32_t *slots;               /* slot_count: mote__rebuild_slots_for(pages_max) */
	uint32_t visit_count, slot_count;

	/* Where the tables go: begun by mote__pt_builder_init(), with the same format. Set
	 * user_tables, or user pages are not reachable by user code. */
	struct mote__pt_builder *builder;
	/* What every new root gets as well, outside the spans: the linear map of scratch. Roots
	 * that shared the tables around it share them again. */
	const struct mote__pt_mapping *mappings;
	uint32_t mapping_count;
	uint64_t new_gpa;  /* where stored pages begin: number i stands i pages behind */
	uint64_t zero_gpa; /* a page of zeroes that is stored already; 0: none, and it is set when
			    * one had to be stored */

	/* Results; pages and new_roots point to memory of the caller. */
	const uint8_t **pages; /* pages_max places: where each stored page is now */
	/* root_count gpas. The roots are the first tables built, in the order of the list; one that
	 * is listed again is the same. */
	uint64_t *new_roots;
	uint32_t page_count; /* stored, in the order of the walk */
	/* Smallest pages that the new tables map, those of a shared table counted once. */
	uint64_t leaves_kept, leaves_stored, leaves_zero;
	uint64_t runs_dropped; /* answers NONE */
};

/** Slots that suit a bound of pages (at most 2^30): a power of two. */
uint32_t mote__rebuild_slots_for(uint32_t pages_max);

/**
 * Walk, build and list. Attributes are the effective ones, since tables above leaves allow all
 * here; what is writable becomes copy-on-write. Large pages come apart. A table met again becomes a
 * table in two places, unless nothing is left of it.
 *
 * The errors of mote__pt_walk() and mote__pt_map(), of which budgets are MOTE__PT_TABLE_BUDGET,
 * MOTE__PT_LEAF_BUDGET and MOTE__PT_FULL (the builder's memory), and those of enum
 * mote__rebuild_code. On failure the results hold what was done before.
 */
int mote__rebuild(struct mote__rebuild *rebuild);

#endif
