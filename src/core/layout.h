/* SPDX-License-Identifier: MIT */
/*
 * Where everything lies in a guest's memory: pure arithmetic on an image's facts and the caller's
 * sizes. What differs between families of the ABI is a row of numbers here (and a transport in the
 * layer of objects), never a condition in the code that uses it.
 *
 * A guest has two regions of physical memory: the snapshot (from family->base_gpa up, shared,
 * read-only) and scratch (ending at family->physical_end, the sandbox's own). A stock guest's parts
 * are mapped as the ABI says. A confined guest's heap and stack have no place in the snapshot: they
 * are address space, filled with frames of scratch on demand.
 */
#ifndef MOTE_CORE_LAYOUT_H
#define MOTE_CORE_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

#include <mote.h>

#include "core/elf.h"
#include "core/page_table.h"

/** A family of the ABI on one kind of processor. Offsets "below top" count down from the end of
 * scratch. */
struct mote__family {
	const char *name;
	uint32_t id;                          /* enum mote_family */
	uint32_t bits;                        /* 64: x86-64, 32: i686 */
	const struct mote__pt_format *format; /* of the tables that the host builds */
	uint64_t base_gpa;                    /* of the snapshot region: the image */
	uint64_t region_bytes_max;            /* most bytes of either region */
	uint64_t physical_end;                /* behind scratch */
	uint32_t physical_bits;
	uint64_t scratch_gva_end; /* behind scratch, in its linear map */
	/* Addresses that snapshots leave out, whatever is mapped there; first 0: none. */
	uint64_t reserved_first, reserved_last;
	uint64_t peb_bytes;
	uint64_t runtime_pages;   /* scratch pages that a stock runtime needs beyond the buffers */
	uint64_t kept_pages;      /* pages at the top that its allocator never hands out */
	uint64_t word_size;       /* below top: u64, size of scratch */
	uint64_t word_next;       /* next free frame */
	uint64_t word_tables;     /* base of the page tables */
	uint64_t word_generation; /* */
	uint64_t exception_stack; /* top of the stack of the first entry */
};

/** The family of an enum mote_family, 0 for the default, on processors of 32 or 64 bits; NULL if
 * there is none. */
const struct mote__family *mote__family_find(uint32_t id, uint32_t bits);

/** What the caller wants, defaults filled in. */
struct mote__layout_config {
	const struct mote__family *family;
	bool is_confined;
	bool has_large; /* confined: the guest understands large leaves */
	bool executable_heap;
	uint64_t input_bytes, output_bytes, heap_bytes, stack_bytes;
	uint64_t scratch_bytes; /* 0, confined: computed */
	uint64_t mapping_bytes;
	uint64_t init_bytes;
	uint32_t init_access; /* enum mote_access */
};

/** Pages of an image that have the same access. */
struct mote__layout_run {
	uint64_t first, count; /* pages, counted from the image's start */
	uint32_t access;       /* enum mote_access */
};

/** Most runs of an image: each segment has two borders, and so has what becomes read-only. */
#define MOTE__LAYOUT_RUNS_MAX (2 * MOTE__ELF_SEGMENTS_MAX + 1)

/** What a layout needs to know of an image. */
struct mote__layout_image {
	uint64_t gva, bytes; /* whole pages */
	uint32_t run_count;
	/* Ascending; pages that nothing may use are not listed. Of stock guests none count: all of
	 * their image allows everything. */
	struct mote__layout_run runs[MOTE__LAYOUT_RUNS_MAX];
};

/** What an ELF file says. */
void mote__layout_image_of(const struct mote__elf *elf, struct mote__layout_image *image);

/** Check an image, whose numbers may be hostile. MOTE_EIMAGE. */
int mote__layout_image_check(const struct mote__layout_config *config,
			     const struct mote__layout_image *image, struct mote_error *err);

enum mote__part_kind {
	MOTE__PART_MEMORY,  /* mapped from its start */
	MOTE__PART_DEMAND,  /* zero frames when touched */
	MOTE__PART_SPACE,   /* nothing, until the embedder maps something */
	MOTE__PART_SCRATCH, /* mapped, private to the sandbox */
	MOTE__PART_LIBRARY, /* the library's constant pages */
};

/** A run of pages with one use. */
struct mote__part {
	const char *name; /* static */
	enum mote__part_kind kind;
	uint64_t gva, gpa; /* gpa: 0 for MOTE__PART_DEMAND and _SPACE */
	uint64_t bytes;    /* whole pages */
	struct mote__pt_attributes attributes;
	bool is_large; /* large leaves where they fit */
};

/** Unmapped below a confined guest's stack: more than one page, for code that does not touch every
 * page of a large frame. */
#define MOTE__STACK_GUARD_BYTES 0x10000u

#define MOTE__PARTS_MAX           (2 * MOTE__ELF_SEGMENTS_MAX + 24)
#define MOTE__IMAGE_WRITE_SET_MAX 12u /* pages that a fresh sandbox has writable from its start */

struct mote__layout {
	struct mote__layout_config config; /* as it was given */
	const struct mote__family *family;
	bool is_confined;
	bool has_large; /* large leaves for what is read-only, wherever one fits */

	/* snapshot region, gpa; its memory object has offset = gpa */
	uint64_t image_gva, image_gpa, image_bytes; /* whole pages */
	uint64_t peb_gva, peb_gpa;
	uint64_t init_gva, init_gpa, init_bytes; /* exact */
	uint64_t heap_gva, heap_bytes;           /* exact */
	uint64_t zero_gpa;                       /* confined: one page of zeroes */
	uint64_t snapshot_bytes;                 /* from base_gpa, whole pages */

	/* scratch: offsets from its start */
	uint64_t scratch_gpa, scratch_gva, scratch_bytes;
	uint64_t input_bytes, output_bytes, output_offset;
	uint64_t input_gva, output_gva;
	uint64_t tables_offset, tables_bytes;
	uint64_t params_offset, ist_offset, run_info_offset, log_offset, log_bytes; /* confined */
	uint64_t frames_offset; /* first free frame */
	uint64_t frame_count;
	uint64_t log_gva;
	uint64_t stack_gva, stack_bytes; /* confined; stock: 0 */
	uint64_t mapping_gva, mapping_bytes;
	/* Confined: pages in [cow_first_gva, cow_end_gva) may be copy-on-write or come on demand;
	 * all leaves there are small. */
	uint64_t cow_first_gva, cow_end_gva;

	struct mote__part parts[MOTE__PARTS_MAX]; /* ascending by gva, not overlapping */
	uint32_t part_count;
};

/**
 * Lay out a guest. Numbers may be hostile, family is not. Errors: MOTE_EINVAL (a size; the message
 * names field, value and limit), MOTE_ETOOBIG (a region over its limit, scratch too small),
 * MOTE_EIMAGE (an image that mote__layout_image_check() refuses, or parts overlap).
 */
int mote__layout_make(const struct mote__layout_config *config,
		      const struct mote__layout_image *image, struct mote__layout *layout,
		      struct mote_error *err);

/** The image that a layout was made for; of stock guests without runs. */
void mote__layout_image_again(const struct mote__layout *layout, struct mote__layout_image *image);

/** The addresses that are the guest's own: what a snapshot keeps. The reserved range and scratch's
 * map are left out. Returns how many spans there are. */
uint32_t mote__layout_spans(const struct mote__layout *layout, struct mote__pt_span spans[2]);

/** Frames that are taken from the start: pages of the stack's top and of the image's data that are
 * writable without a fault. Confined guests only. */
struct mote__write_set {
	uint32_t count;
	struct {
		uint64_t gva;
		uint64_t source_gpa; /* in the snapshot; 0: zeroes */
	} member[MOTE__IMAGE_WRITE_SET_MAX];
};

/**
 * Build the tables into memory of layout->tables_bytes zero bytes that will stand at tables_offset;
 * those from *used_bytes on stay zero and are not touched.
 * is_zero (may be NULL: never) tells of a page of the snapshot region whether it is all zero.
 * Fills write_set, whose member i is mapped to frame i. Returns 0 or an enum mote__pt_code.
 */
int mote__layout_build(const struct mote__layout *layout, void *tables,
		       bool (*is_zero)(void *cookie, uint64_t gpa), void *cookie,
		       struct mote__write_set *write_set, uint64_t *used_bytes);

#endif
