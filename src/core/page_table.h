/* SPDX-License-Identifier: MIT */
/*
 * Page tables as bytes: translating one address, walking whole address spaces, building new ones.
 * All of it is driven by a description of the format; no level count, entry size or flag is known
 * anywhere else. Tables that are read are hostile: an entry is loaded once, a pointer outside known
 * memory reads as not present, and all work is bounded. Nothing here allocates, calls the system or
 * formats text, so the runtime of a guest can use it too.
 *
 * Levels count from 1, the table whose entries map the smallest pages, up to format->levels, the
 * root. gpa = guest physical address, va = guest virtual address.
 */
#ifndef MOTE_CORE_PAGE_TABLE_H
#define MOTE_CORE_PAGE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** More levels than any format has. */
#define MOTE__PT_LEVELS_MAX 7u

/** Results: zero, or why not. */
enum mote__pt_code {
	MOTE__PT_OK = 0,
	MOTE__PT_UNALIGNED = -1,     /* an address or a length is not a multiple of a page */
	MOTE__PT_NOT_CANONICAL = -2, /* a va, or part of a range, does not exist in the format */
	MOTE__PT_BAD_GPA = -3,       /* a gpa has bits that the format cannot hold */
	MOTE__PT_BAD_LEVEL = -4,     /* no such level, or not for this operation */
	MOTE__PT_BAD_ORDER = -5,     /* ranges are not ascending, or overlap where they must not */
	MOTE__PT_NOT_MAPPED = -6,    /* nothing is mapped at the va */
	MOTE__PT_OUTSIDE = -7,       /* a table being built lies outside the builder's memory */
	MOTE__PT_FULL = -8,          /* the builder's memory holds no further table */
	MOTE__PT_IN_THE_WAY = -9,    /* a large page or another table is where a table should go */
	MOTE__PT_TABLE_BUDGET = -10, /* the walk met more tables than its budget */
	MOTE__PT_LEAF_BUDGET = -11,  /* the walk met more leaves and links than its budget */
	MOTE__PT_BAD_VISITS = -12,   /* the walk's memory for visits does not suit its budget */
	MOTE__PT_STOPPED = -13,      /* a callback ended the walk */
};

/** One line for a code; never NULL. */
const char *mote__pt_describe(int code);

/* ---- formats ---- */

/**
 * A property of an entry: it has it when (entry & mask) == on, and off is written for not having
 * it. {0, 0, 0} is a property that every entry has.
 */
struct mote__pt_field {
	uint64_t mask, on, off;
};

struct mote__pt_format {
	const char *name;
	uint32_t levels;       /* 1 .. MOTE__PT_LEVELS_MAX */
	uint32_t page_bits;    /* log2 of the smallest page, at least 7 */
	uint32_t index_bits;   /* log2 of the entries in a table; the root may use fewer */
	uint32_t entry_bytes;  /* 4 or 8; little-endian */
	uint32_t va_bits;      /* bits of a va that are translated, less than 64 */
	bool is_sign_extended; /* a va repeats its highest translated bit above; else zeroes */
	uint32_t large_levels; /* bit n: entries of level n (2 or more) may map a page */
	uint64_t address_mask; /* address in an entry; at least a smallest page's alignment */
	uint64_t large_flags;  /* bits of address_mask that are flags in a large leaf */
	uint64_t accessed;     /* set by the processor on use; 0: none */
	uint64_t dirty;        /* set by the processor on a write; 0: none */
	uint64_t table_bits;   /* every bit but the address of an entry that names a table */
	struct mote__pt_field present;
	struct mote__pt_field large; /* above level 1: maps a page, names no table */
	struct mote__pt_field writable, user, exec;
	struct mote__pt_field cow; /* a mark for software: copy-on-write */
};

/** 4 levels of 512 entries, with no-execute: EFER.NXE is set and CR4.LA57 clear. */
extern const struct mote__pt_format mote__pt_x86_64;

/** 2 levels of 1024 entries of 4 bytes: CR4.PAE is clear. The second one: CR4.PSE is set. */
extern const struct mote__pt_format mote__pt_i686, mote__pt_i686_large;

/** What a page allows. Pages are always readable. */
struct mote__pt_attributes {
	bool writable;
	bool cow; /* writable after a copy; writable is false then */
	bool exec;
	bool user;
};

/** Bytes mapped by one entry of a level. */
static inline uint64_t mote__pt_page_bytes(const struct mote__pt_format *format, uint32_t level)
{
	return UINT64_C(1) << (format->page_bits + (level - 1) * format->index_bits);
}

/** Bytes of a table, of any level. */
static inline uint64_t mote__pt_table_bytes(const struct mote__pt_format *format)
{
	return (uint64_t)format->entry_bytes << format->index_bits;
}

/** Number of the entry for va in a table of a level. */
static inline uint32_t mote__pt_index(const struct mote__pt_format *format, uint64_t va,
				      uint32_t level)
{
	uint64_t translated = va & ((UINT64_C(1) << format->va_bits) - 1);
	uint64_t number = translated / mote__pt_page_bytes(format, level);
	return (uint32_t)number & ((1u << format->index_bits) - 1);
}

/** The va whose translated bits are those of bits. */
static inline uint64_t mote__pt_canonical(const struct mote__pt_format *format, uint64_t bits)
{
	uint64_t unused = ~UINT64_C(0) << format->va_bits;
	bool is_upper = format->is_sign_extended && bits >> (format->va_bits - 1) & 1;
	return is_upper ? bits | unused : bits & ~unused;
}

static inline bool mote__pt_has(struct mote__pt_field field, uint64_t entry)
{
	return (entry & field.mask) == field.on;
}

/**
 * The entry that maps the small page at gpa, which fits format->address_mask. Accessed and dirty
 * are set, so that the processor never writes the entry.
 */
uint64_t mote__pt_leaf_entry(const struct mote__pt_format *format, uint64_t gpa,
			     struct mote__pt_attributes attributes);

/** The entry of a level that maps a page of that level, which format->large_levels has or which is
 * 1. gpa is a multiple of the page. */
uint64_t mote__pt_page_entry(const struct mote__pt_format *format, uint64_t gpa, uint32_t level,
			     struct mote__pt_attributes attributes);

/**
 * The entry that names the table at gpa. For user pages to be reachable the tables above them must
 * be user too; such entries have dirty set as well, so that a table seen through a self map is
 * never written by the processor.
 */
uint64_t mote__pt_table_entry(const struct mote__pt_format *format, uint64_t gpa, bool user);

/** What a leaf alone says. The mark of copy-on-write decides whatever the writable bit is. */
struct mote__pt_attributes mote__pt_entry_attributes(const struct mote__pt_format *format,
						     uint64_t entry);

enum mote__pt_entry_kind {
	MOTE__PT_ABSENT, /* not present */
	MOTE__PT_BROKEN, /* present, but the processor refuses it: reads as not present */
	MOTE__PT_LEAF,
	MOTE__PT_TABLE,
};

/**
 * What an entry of a level is. Broken is what the processor calls a reserved bit: a large page at a
 * level that has none, or a large page at an address that is not a multiple of its size.
 */
enum mote__pt_entry_kind mote__pt_entry_kind(const struct mote__pt_format *format, uint64_t entry,
					     uint32_t level);

/* ---- reading ---- */

/**
 * The memory that tables may lie in. table() returns the table of bytes bytes at gpa (aligned to an
 * entry in memory, all bytes readable until the call that it serves returns), or NULL when any of
 * it is outside: that reads as not present. gpa is hostile.
 */
struct mote__pt_memory {
	const void *cookie;
	const void *(*table)(const void *cookie, uint64_t gpa, uint64_t bytes);
};

/** Memory in one piece: len bytes that stand at gpa. For mote__pt_memory.cookie. */
struct mote__pt_range {
	const void *bytes; /* aligned to 8 */
	uint64_t gpa;      /* a multiple of the table size */
	uint64_t len;
};

/** For mote__pt_memory.table, with a struct mote__pt_range as the cookie. */
const void *mote__pt_range_table(const void *range, uint64_t gpa, uint64_t bytes);

/** Entry number index of a table, loaded once. */
uint64_t mote__pt_load(const struct mote__pt_format *format, const void *table, uint32_t index);

/** An address space. root is a gpa; flag bits around the address (as in CR3) are ignored. */
struct mote__pt_space {
	const struct mote__pt_format *format;
	struct mote__pt_memory memory;
	uint64_t root;
};

struct mote__pt_translation {
	uint64_t gpa;                         /* of the byte at va; hostile, may be anywhere */
	uint64_t bytes;                       /* from there to the end of the page */
	uint64_t entry_gpa;                   /* where the leaf stands */
	uint64_t entry;                       /* the leaf */
	uint32_t level;                       /* of the leaf; more than 1: a large page */
	struct mote__pt_attributes own;       /* what the leaf says */
	struct mote__pt_attributes effective; /* what all levels together allow */
};

/** Translate one address. MOTE__PT_NOT_CANONICAL or MOTE__PT_NOT_MAPPED when it has none. */
int mote__pt_translate(const struct mote__pt_space *space, uint64_t va,
		       struct mote__pt_translation *out);

/**
 * Find the table of a level through which va is translated; it is not read. MOTE__PT_NOT_MAPPED
 * when there is none.
 */
int mote__pt_find_table(const struct mote__pt_space *space, uint64_t va, uint32_t level,
			uint64_t *table_gpa);

/* ---- walking ---- */

/** A page, or the part of a large page that lies in one span of the walk. */
struct mote__pt_leaf {
	uint64_t va;    /* canonical */
	uint64_t gpa;   /* hostile: may be anywhere */
	uint64_t bytes; /* one page of the level, or less where a span cuts a large page, or more
			 * where leaves are joined */
	uint32_t root;  /* index in the list of roots */
	uint32_t level;
	struct mote__pt_attributes own;       /* what the leaf says */
	struct mote__pt_attributes effective; /* what all levels together allow */
};

/**
 * A table that was walked before. All that was reported for owner_root at and above owner_va, for
 * the size of the table, also holds for root at va: the same leaves with the same attributes, and
 * the same links. Everything about the owner is reported before.
 */
struct mote__pt_link {
	uint64_t va;        /* where the table begins here */
	uint64_t owner_va;  /* where it begins at its first visit */
	uint64_t table_gpa; /* the table */
	uint32_t root, owner_root;
	uint32_t level; /* of the table: 1 .. levels; levels: the root itself was walked before */
};

/** Addresses first .. last, both included: whole smallest pages. */
struct mote__pt_span {
	uint64_t first, last;
};

/** Memory of a walk, one for each table. The content is the walk's own. */
struct mote__pt_visit {
	uint64_t key; /* 0: free */
	uint64_t va;
	uint32_t root;
	uint32_t reserved;
};

/** Slots of visits that suit a budget of tables (at most 2^30): a power of two. */
uint32_t mote__pt_visits_for(uint32_t tables_max);

struct mote__pt_walk {
	const struct mote__pt_format *format;
	struct mote__pt_memory memory;
	const uint64_t *roots; /* root_count gpas; flag bits are ignored */
	uint32_t root_count;
	uint32_t span_count;               /* 0: the whole address space */
	const struct mote__pt_span *spans; /* ascending, not overlapping */
	uint32_t tables_max;               /* budget: tables walked, each once */
	uint32_t visit_count;              /* a power of two above tables_max */
	uint64_t leaves_max;               /* budget: leaves and links together */
	struct mote__pt_visit *visits;     /* visit_count slots, of any content */
	uint64_t seed;                     /* random, so that tables cannot be chosen to collide */
	/* Smallest pages that follow each other in one table, with gpas that do and the same bits
	 * beside, are reported as one leaf, which counts once. Not where a span cuts the table. */
	bool joins_leaves;
	/* Return false to stop. link may be NULL: then links are counted and not reported. */
	bool (*leaf)(void *cookie, const struct mote__pt_leaf *leaf);
	bool (*link)(void *cookie, const struct mote__pt_link *link);
	void *cookie;
};

/**
 * Report all leaves of all roots, each root in order of va. A table met again is reported as a link
 * and not walked again; so shared, self-referencing and multiply aliased tables cost nothing. What
 * counts as the same table has the same gpa and level, is reached with the same permissions from
 * above, and is either not cut by a span or met at the same va.
 *
 * Work is at most tables_max tables. The bytes of a large page are the guest's choice: who works
 * page by page bounds that. MOTE__PT_TABLE_BUDGET, MOTE__PT_LEAF_BUDGET, MOTE__PT_STOPPED,
 * MOTE__PT_UNALIGNED or MOTE__PT_BAD_ORDER (spans), MOTE__PT_BAD_VISITS.
 */
int mote__pt_walk(const struct mote__pt_walk *walk);

/* ---- building ---- */

/**
 * Tables under construction, in memory of one piece that will stand at gpa. They are taken from the
 * front, in order; [0, used) is tables, or memory in which tables may already lie.
 */
struct mote__pt_builder {
	const struct mote__pt_format *format;
	uint8_t *bytes;
	uint64_t gpa;
	uint64_t capacity, used;
	bool user_tables; /* new tables are user, as for mote__pt_table_entry() */
	bool is_zeroed;   /* the memory is zero already: a table that stays empty is not touched */
};

/**
 * Begin with capacity bytes at bytes (aligned to 8; need not be zero), that stand at gpa.
 * MOTE__PT_UNALIGNED, MOTE__PT_BAD_GPA.
 */
int mote__pt_builder_init(struct mote__pt_builder *builder, const struct mote__pt_format *format,
			  void *bytes, uint64_t gpa, uint64_t capacity);

/** The tables built so far, to be read. Valid until the next one is added. */
struct mote__pt_range mote__pt_built(const struct mote__pt_builder *builder);

/** Add an empty root. MOTE__PT_FULL. */
int mote__pt_add_root(struct mote__pt_builder *builder, uint64_t *root);

enum mote__pt_mapping_kind {
	MOTE__PT_MAP,     /* pages from gpa on, with attributes; replaces what is mapped there */
	MOTE__PT_UNMAP,   /* empty leaves; the tables for them are made all the same */
	MOTE__PT_RESERVE, /* tables of reserve_level and above, nothing else */
};

struct mote__pt_mapping {
	uint64_t va;
	uint64_t bytes; /* whole smallest pages; 0: nothing to do */
	uint64_t gpa;   /* MAP */
	enum mote__pt_mapping_kind kind;
	uint32_t reserve_level; /* RESERVE: 1 .. levels */
	struct mote__pt_attributes attributes;
	/* MAP: use pages of level 2 where va and gpa allow it and no table is there yet. Not for
	 * copy-on-write pages: what is copied is one small page. */
	bool large;
};

/**
 * Apply a mapping to the space of root. Tables that lack are added top down in order of va, zeroed;
 * tables that exist are used as they are. On failure the part before it is done.
 * MOTE__PT_UNALIGNED, MOTE__PT_NOT_CANONICAL, MOTE__PT_BAD_GPA, MOTE__PT_BAD_LEVEL, MOTE__PT_FULL,
 * MOTE__PT_OUTSIDE, MOTE__PT_IN_THE_WAY.
 */
int mote__pt_map(struct mote__pt_builder *builder, uint64_t root,
		 const struct mote__pt_mapping *mapping);

/**
 * Make the entry for va in the table of a level (2 or more) name the table at target, which was
 * built before as one of level - 1: the two places share it from now on. An entry that names
 * something else is not replaced: MOTE__PT_IN_THE_WAY. Other errors as mote__pt_map().
 */
int mote__pt_share(struct mote__pt_builder *builder, uint64_t root, uint64_t va, uint32_t level,
		   uint64_t target);

/**
 * Make the root's entry for va name the root itself, so that the tables can be edited through the
 * addresses of that entry. It is never user, whatever user_tables says: that one entry keeps user
 * code away from all tables. MOTE__PT_IN_THE_WAY when the entry is present.
 */
int mote__pt_self_map(struct mote__pt_builder *builder, uint64_t root, uint64_t va);

/**
 * Number of tables, root included, after applying mappings to an empty space. They ascend by va;
 * they may overlap, except where one of them is large. MOTE__PT_BAD_ORDER, and the errors of
 * mote__pt_map() about arguments.
 */
int mote__pt_count(const struct mote__pt_format *format, const struct mote__pt_mapping *mappings,
		   size_t count, uint64_t *tables);

#endif
