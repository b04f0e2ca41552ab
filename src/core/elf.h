/* SPDX-License-Identifier: MIT */
/*
 * Guest images: what an ELF file says, checked, and its bytes as they stand in guest memory.
 *
 * Host side only. Input is hostile bytes that nobody changes meanwhile; after mote__elf_parse()
 * succeeded every range named in struct mote__elf lies inside the file, or inside the image.
 * Knows nothing of physical placement, page tables or sandboxes, and allocates nothing.
 *
 * Three kinds of address: "va" is as linked, "offset" counts from the start of the image
 * (va - base_va), "gva" is where the guest sees it (load_gva + offset).
 */
#ifndef MOTE_CORE_ELF_H
#define MOTE_CORE_ELF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mote.h>

/** Bounds. A file beyond one of them is refused. */
#define MOTE__ELF_HEADERS_MAX     256u           /* program headers */
#define MOTE__ELF_SEGMENTS_MAX    64u            /* PT_LOAD among them */
#define MOTE__ELF_IMAGE_BYTES_MAX 0x3FFFFF000ull /* 16 GiB - 0x1000 */
#define MOTE__ELF_BUILD_ID_MAX    64u
#define MOTE__ELF_VERSION_BYTES   32u /* room for the text of a version note, with its NUL */

/** Where a position-independent image appears in the guest. */
#define MOTE__ELF_LOAD_GVA 0x1000u

/** Access bits, as in p_flags. */
#define MOTE__ELF_EXECUTE 1u
#define MOTE__ELF_WRITE   2u
#define MOTE__ELF_READ    4u

/** Bits of the confinement note. */
#define MOTE__NOTE_RING3        (1u << 0)
#define MOTE__NOTE_DEMAND_ZERO  (1u << 1)
#define MOTE__NOTE_LARGE_LEAVES (1u << 2)
#define MOTE__NOTE_KNOWN        (MOTE__NOTE_RING3 | MOTE__NOTE_DEMAND_ZERO | MOTE__NOTE_LARGE_LEAVES)

/** Families of guests: struct mote__elf_note.family. */
#define MOTE__FAMILY_S 0u

/** bytes bytes of the file from offset on; bytes is 0 when there is no such thing. */
struct mote__elf_range {
	uint64_t offset;
	uint64_t bytes;
};

/** One PT_LOAD. The first file_bytes bytes come from the file, the rest up to bytes is zero. */
struct mote__elf_segment {
	uint64_t va;
	uint64_t bytes;       /* >= file_bytes; va + bytes does not wrap */
	uint64_t file_offset; /* [file_offset, file_offset + file_bytes) is inside the file */
	uint64_t file_bytes;
	uint32_t access; /* MOTE__ELF_* */
};

/**
 * The note `.note.mote`. All zero when the image has none. entry, dispatch, syscall_handler,
 * exports and imports are offsets in the image. With MOTE__NOTE_RING3 in either set of bits entry
 * and dispatch are not zero. What is not zero of the first three lies in executable segments, what
 * is not zero of the tables is a multiple of 8 inside the image (their contents are unchecked).
 */
struct mote__elf_note {
	bool present;
	uint32_t version;     /* 1 */
	uint32_t size;        /* of the descriptor, >= 80 */
	uint64_t required;    /* subset of MOTE__NOTE_KNOWN */
	uint64_t optional;    /* any bits; unknown ones mean nothing */
	uint32_t family;      /* MOTE__FAMILY_S */
	uint32_t baseline;    /* x86-64-v<n>, 1 to 4 */
	uint64_t stack_bytes; /* 0: the host's default; at most MOTE__ELF_IMAGE_BYTES_MAX */
	uint64_t entry;       /* ring 3 */
	uint64_t dispatch;
	uint64_t syscall_handler; /* 0: none */
	uint64_t exports;         /* 0: none */
	uint64_t imports;         /* 0: none */
};

/** What a file says. Borrows the file's bytes: valid as long as they are. */
struct mote__elf {
	const uint8_t *file;
	size_t file_bytes;
	uint32_t bits; /* 64 (x86-64) or 32 (i386) */
	bool is_pie;   /* ET_DYN; else ET_EXEC */

	uint64_t base_va;     /* of image offset 0: lowest PT_LOAD, rounded down to a page */
	uint64_t image_bytes; /* > 0: highest end of a PT_LOAD - base_va, not rounded */
	uint64_t load_gva;    /* of image offset 0, a multiple of the page size */
	uint64_t entry_va;    /* inside an executable segment */
	uint64_t entry_gva;   /* the same, in the guest */
	uint64_t relro_va;    /* PT_GNU_RELRO: read-only once relocations are applied */
	uint64_t relro_bytes; /* 0: none */
	uint32_t segment_count;

	char version[MOTE__ELF_VERSION_BYTES]; /* of the version note, "" without one */
	struct mote__elf_note note;
	struct mote__elf_range build_id; /* at most MOTE__ELF_BUILD_ID_MAX bytes */
	struct mote__elf_range symbols;  /* symbol table and its names, for */
	struct mote__elf_range strings;  /* mote__elf_symbol_find() */

	/* For the module itself. */
	struct mote__elf_range headers;  /* program headers */
	struct mote__elf_range sections; /* section headers */
	struct mote__elf_range section_names;
	struct mote__elf_range dynamic;
	struct mote__elf_range rela, rel, plt; /* relocation tables */
	bool plt_is_rela;
	uint16_t segment_index[MOTE__ELF_SEGMENTS_MAX]; /* program header of the i-th segment */
};

/**
 * Check the len bytes at bytes and fill *elf.
 *
 * base_va and image_bytes come from the lowest and the highest PT_LOAD, in whatever order they are;
 * for ascending ones, that is any linker's, these are the first and the last. Refused besides what
 * is malformed: other machines than x86-64 (64 bits) and i386 (32 bits), big-endian files, types
 * other than ET_EXEC and ET_DYN, segments that overlap in memory, an interpreter (PT_INTERP),
 * DT_RELR relocations, an entry point outside the executable segments, an ET_EXEC that touches
 * page 0 or leaves the lower half of the address space, version notes of other families, and a bad
 * or unknown `.note.mote`. Alignment of segments (p_align) has no effect.
 *
 * Errors: MOTE_EIMAGE, with what, where and which value. *elf is written only on success.
 * Cost: no more than linear in len.
 */
int mote__elf_parse(const uint8_t *bytes, size_t len, struct mote__elf *elf,
		    struct mote_error *err);

/** Segment i, 0 <= i < elf->segment_count, in the order of the file. */
void mote__elf_segment(const struct mote__elf *elf, uint32_t i, struct mote__elf_segment *segment);

/**
 * Fill image, which is all zero and has image_bytes >= elf->image_bytes bytes, with the segments
 * and apply the relocations: R_X86_64_RELATIVE with addend stores addend + (load_gva - base_va),
 * modulo the size of an address, as 8 bytes (4 in a 32-bit image) at r_offset; R_X86_64_NONE does
 * nothing. Anything else is refused, and so is a PLT table (DT_JMPREL) that has anything but
 * R_X86_64_NONE: nobody would apply it.
 *
 * Errors: MOTE_EIMAGE; MOTE_EINVAL: image_bytes is too small. image may be written in part then.
 */
int mote__elf_load(const struct mote__elf *elf, uint8_t *image, uint64_t image_bytes,
		   struct mote_error *err);

/**
 * Access (MOTE__ELF_*) that the page at image offset page * 4096 needs once it is loaded: the union
 * of the segments that touch it, where PT_GNU_RELRO counts as not writable. 0 for a page that no
 * segment touches.
 */
uint32_t mote__elf_page_access(const struct mote__elf *elf, uint64_t page);

/** Refuse (MOTE_EIMAGE) an image of which some page needs both write and execute access. */
int mote__elf_check_wx(const struct mote__elf *elf, struct mote_error *err);

/** A symbol table and its strings, as elf->symbols and elf->strings say; hostile bytes. */
struct mote__elf_symbols {
	const uint8_t *symbols;
	size_t symbols_bytes;
	const uint8_t *strings;
	size_t strings_bytes;
	uint32_t bits; /* 32 or 64 */
};

/**
 * Find the function that contains va. A function without a size reaches to the next function.
 *
 * name, name_bytes: gets the name, cut to name_bytes - 1 bytes (name_bytes > 0), with '?' for
 *                   everything that is not printable ASCII.
 * offset:           gets va - start of the function.
 * Returns false, and writes nothing, when there is none. Cost: linear in the tables.
 */
bool mote__elf_symbol_find(const struct mote__elf_symbols *table, uint64_t va, char *name,
			   size_t name_bytes, uint64_t *offset);

#endif
