/* SPDX-License-Identifier: MIT */
/* What tests of the stock guest stock_keep share: KEEP() opens it, DO() calls it. */
#ifndef MOTE_TESTS_KEEP_H
#define MOTE_TESTS_KEEP_H

#include "snapshots.h"

#define PAGE     4096ull
#define LINEAR   0xFFFFFFEFFFFFF000ull /* GVA - GPA of scratch */
#define TOP      0xFFFFFFFFFFFFF000ull
#define ADDRESS  0x000FFFFFFFFFF000ull
#define NX       (1ull << 63)
#define LEAF_RO  0x061ull
#define LEAF_RW  0x063ull
#define LEAF_COW 0x261ull
#define SPACE(n) ((uint64_t)(n) << 39)

#define KEEP(s, ...) OPEN(s, "stock_keep", __VA_ARGS__)
#define DO(s, ...)   CALL_U64(s, __VA_ARGS__)

static inline uint64_t peek(struct system *s, uint64_t gva)
{
	return DO(s, "peek", mote_u64(gva));
}

static inline void poke(struct system *s, uint64_t gva, uint64_t value)
{
	(void)DO(s, "poke", mote_u64(gva), mote_u64(value));
}

/* The guest's entry of a level 1 table; tables that are missing are made. */
static inline uint64_t leaf(struct system *s, uint64_t gva)
{
	return DO(s, "leaf", mote_u64(0), mote_u64(gva));
}

/* In the space of root; 0: where the guest is. */
static inline void map_page(struct system *s, uint64_t root, uint64_t gva, uint64_t entry)
{
	(void)DO(s, "map_", mote_u64(root), mote_u64(gva), mote_u64(entry));
}

/* A page of scratch whose first word is value. */
static inline uint64_t new_page(struct system *s, uint64_t value)
{
	const uint64_t gpa = DO(s, "page");
	poke(s, gpa + LINEAR, value);
	return gpa;
}

#endif
