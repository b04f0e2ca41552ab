/* SPDX-License-Identifier: MIT */
/*
 * What tests of the 32-bit guest i686_kernel share: numbers of the ABI for i686, short names for
 * what the guest does, and its spaces as a snapshot finds them. I686() opens it, or skips the test
 * where KVM has no 32-bit paging; DO() calls it.
 */
#ifndef MOTE_TESTS_I686_H
#define MOTE_TESTS_I686_H

#include "snapshots.h"

#include "vm/objects.h"

#include "../guests/i686_probe.h"

#define PAGE        4096ull
#define LINEAR      0x1200000ull /* GVA - GPA of scratch */
#define TOP         0x100000000ull
#define GPA_END     0xFEE00000ull
#define SCRATCH     0x48000ull
#define BUFFER      0x4000ull
#define ADDRESS     0xFFFFF000u
#define LINK        0x027u
#define LEAF_RO     0x021u
#define LEAF_RW     0x023u
#define LEAF_COW    0x221u
#define USER        0x004u
#define DIRTY       0x040u /* set by the processor alone */
#define LARGE       0x080u
#define KERNEL_HALF 0xC0000000u
#define USER_CODE   0x40000000u
#define USER_DATA   0x40001000u
#define USER_STACK  0x40002000u

static inline void i686_open(struct system *s, const struct system_options *options)
{
	int rc = system_try(s, options);
	if (rc == MOTE_ENOKVM) {
		struct mote_error err = s->err;
		CHECK(!s->sandbox && !system_is_nested());
		system_close(s);
		check_skip("%s", err.message);
	}
	OK(s, rc);
}

#define I686(s, name, ...) \
	i686_open((s), &(const struct system_options){.guest = (name), ##__VA_ARGS__})
#define KERNEL(s, ...) I686(s, "i686_kernel", ##__VA_ARGS__)
#define DO(s, ...)     CALL_U64(s, __VA_ARGS__)

/* ---- what the guest does ---- */

static inline uint32_t peek(struct system *s, uint32_t space, uint64_t gva)
{
	return (uint32_t)DO(s, "peek", mote_u64(space), mote_u64(gva));
}

static inline void poke(struct system *s, uint32_t space, uint64_t gva, uint32_t value)
{
	(void)DO(s, "poke", mote_u64(space), mote_u64(gva), mote_u64(value));
}

/* The entry for gva in a space; 0: none. */
static inline uint32_t leaf(struct system *s, uint32_t space, uint64_t gva)
{
	return (uint32_t)DO(s, "leaf", mote_u64(space), mote_u64(gva));
}

/* Its low bits, but for the one that the processor sets. */
static inline uint32_t leaf_bits(struct system *s, uint32_t space, uint64_t gva)
{
	return leaf(s, space, gva) & ~(ADDRESS | DIRTY);
}

/* The directory's entry for gva in a space, set before unless value is 0. */
static inline uint32_t directory(struct system *s, uint32_t space, uint64_t gva, uint32_t value)
{
	return (uint32_t)DO(s, "dir_", mote_u64(space), mote_u64(gva), mote_u64(value));
}

static inline void map_page(struct system *s, uint32_t space, uint64_t gva, uint32_t entry)
{
	(void)DO(s, "map_", mote_u64(space), mote_u64(gva), mote_u64(entry));
}

/* A new page of a space; its gpa. */
static inline uint32_t new_page(struct system *s, uint32_t space, uint64_t gva, uint32_t flags)
{
	return (uint32_t)DO(s, "page", mote_u64(space), mote_u64(gva), mote_u64(flags));
}

static inline uint32_t make(struct system *s, uint32_t value)
{
	return (uint32_t)DO(s, "make", mote_u64(value));
}

static inline uint32_t run(struct system *s, uint32_t space, uint32_t value)
{
	return (uint32_t)DO(s, "run_", mote_u64(space), mote_u64(value), mote_u64(I686_ADD));
}

/* ---- snapshots ---- */

/* The guest's table of spaces, count first, as the host reads it. The address is asked for before,
 * since the guest cannot be called while a snapshot is taken. */
static inline uint32_t i686_find_roots(void *cookie, mote_sandbox *sandbox, uint64_t cr3,
				       uint64_t *roots, uint32_t room)
{
	uint32_t words[1 + MOTE_MAX_ROOTS];
	const uint64_t *at = cookie;
	(void)cr3;
	CHECK_EQ(mote_sandbox_read(sandbox, *at - 4, words, sizeof words, NULL), MOTE_OK);
	CHECK(words[0] <= room);
	for (uint32_t i = 0; i < words[0]; i++)
		roots[i] = words[1 + i];
	return words[0];
}

/* All spaces. */
static inline mote_snapshot *take_spaces(struct system *s)
{
	mote_snapshot *snapshot = NULL;
	uint64_t at = DO(s, "spac");
	const struct mote_take_options options = {
		.size = sizeof options, .find_roots = i686_find_roots, .cookie = &at};
	OK(s, mote_snapshot_take(s->sandbox, &options, &snapshot, &s->err));
	return snapshot;
}

/* A snapshot's own table at gpa. */
static inline const uint32_t *table_of(const mote_snapshot *snapshot, uint64_t gpa)
{
	const struct mote__layout *l = &snapshot->layout;
	uint64_t at = (gpa & ADDRESS) - l->scratch_gpa - l->tables_offset;
	CHECK(at + PAGE <= l->tables_bytes);
	return (const void *)(snapshot->tables + at);
}

/* The directory's entry for gva in a snapshot's space. */
static inline uint32_t stored_directory(const mote_snapshot *snapshot, uint32_t space, uint64_t gva)
{
	CHECK(space < snapshot->root_count);
	return table_of(snapshot, snapshot->roots[space])[gva >> 22];
}

static inline uint32_t stored_leaf(const mote_snapshot *snapshot, uint32_t space, uint64_t gva)
{
	uint32_t entry = stored_directory(snapshot, space, gva);
	return entry & 1 ? table_of(snapshot, entry)[gva >> 12 & 1023] : 0;
}

#endif
