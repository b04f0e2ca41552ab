/* SPDX-License-Identifier: MIT */
/*
 * A stock guest on the test double that does what a test says: it takes pages of scratch, builds
 * page tables and address spaces of its own. Views look at what a machine has at an address,
 * through any root.
 */
#ifndef MOTE_TESTS_STOCK_WORLD_H
#define MOTE_TESTS_STOCK_WORLD_H

#include "world.h"

#define PAGE 4096ull
/* Low bits of entries, as the ABI has them; NX is the highest bit. */
#define LINK     0x023ull
#define LEAF_RO  0x061ull
#define LEAF_RW  0x063ull
#define LEAF_COW 0x261ull
#define LARGE    0x080ull
#define USER     0x004ull
#define NX       (1ull << 63)
#define FLAGS    (NX | 0xFFFull)
/* Addresses that nothing else has, 512 GiB apart, and the end of guest physical memory. */
#define SPACE(n) ((uint64_t)(n) << 39)
#define GPA_END  0x1000000000ull
/* Its image's data: copy-on-write, zero from page 2 on. */
#define DATA_BYTES (20 * PAGE)
#define DATA(n)    (TINY_DATA_GVA + (n)*PAGE)

typedef void (*stock_act)(struct double_machine *m);

static struct world w;
static stock_act act; /* what the guest does in its next call */

static void stock_answer(struct double_machine *m, struct mote__exit *exit)
{
	if (m->step == 0)
		(void)guest_pop_call(m);
	if (act)
		act(m);
	act = NULL;
	guest_return(m, exit, mote_void());
}

static const struct double_guest stock_guest = {NULL, stock_answer, NULL};

/* A sandbox that is ready. */
static inline void stock_ready(const struct mote_snapshot_options *options)
{
	const struct tiny_options image = {.data_bytes = DATA_BYTES};
	world_make_of(&w, &image, options, &stock_guest);
	world_sandbox(&w, NULL);
	OK(&w, mote_sandbox_start(w.sandbox, 0, &w.err));
}

/* Let the guest do something. */
static inline void stock_run(stock_act what)
{
	act = what;
	OK(&w, world_call(&w, MOTE_VOID, NULL));
	CHECK(act == NULL);
}

static inline mote_snapshot *stock_take(void)
{
	mote_snapshot *s = NULL;
	OK(&w, mote_snapshot_take(w.sandbox, NULL, &s, &w.err));
	return s;
}

static inline mote_sandbox *stock_fork(mote_snapshot *s)
{
	mote_sandbox *fork = NULL;
	OK(&w, mote_sandbox_create(w.engine, s, w.host, NULL, &fork, &w.err));
	return fork;
}

static inline struct mote_snapshot_info stock_info(const mote_snapshot *s)
{
	struct mote_snapshot_info info;
	mote_snapshot_get_info(s, &info);
	return info;
}

static inline struct double_machine *machine_of(const mote_sandbox *sandbox)
{
	return (struct double_machine *)sandbox->machine;
}

/* ---- the guest's memory ---- */

static inline uint64_t *words_at(const struct double_machine *m, uint64_t gpa)
{
	uint64_t *words = (uint64_t *)(void *)double_gpa(m, gpa, PAGE);
	CHECK(words != NULL);
	return words;
}

/* The word that the ABI has below the top of scratch. */
static inline uint64_t *top_word(const struct double_machine *m, uint64_t below)
{
	return words_at(m, GPA_END - PAGE) + (PAGE - below) / 8;
}

/* Take a page; its first word becomes value. */
static inline uint64_t new_page(const struct double_machine *m, uint64_t value)
{
	uint64_t gpa = *top_word(m, 0x10);
	*top_word(m, 0x10) += PAGE;
	CHECK(gpa < GPA_END - 3 * PAGE);
	words_at(m, gpa)[0] = value;
	return gpa;
}

static inline uint64_t root_of(const struct double_machine *m)
{
	return m->special.cr3 & ~0xFFFull;
}

static inline unsigned index_of(uint64_t gva, unsigned level)
{
	return (unsigned)(gva >> (12 + 9 * (level - 1)) & 511);
}

/* The place of the entry for gva in the table of a level; tables above are made. */
static inline uint64_t *entry_at(const struct double_machine *m, uint64_t root, uint64_t gva,
				 unsigned level, uint64_t link)
{
	for (unsigned at = 4; at > level; at--) {
		uint64_t *entry = &words_at(m, root)[index_of(gva, at)];
		if (!*entry)
			*entry = new_page(m, 0) | link;
		root = *entry & 0x000FFFFFFFFFF000;
	}
	return &words_at(m, root)[index_of(gva, level)];
}

static inline void map_page(const struct double_machine *m, uint64_t root, uint64_t gva,
			    uint64_t entry)
{
	*entry_at(m, root, gva, 1, LINK) = entry;
}

/* Another address space, which has what this one has. */
static inline uint64_t copy_root(const struct double_machine *m, uint64_t root)
{
	uint64_t copy = new_page(m, 0);
	memcpy(words_at(m, copy), words_at(m, root), PAGE);
	return copy;
}

/* ---- views ---- */

static inline const void *view_table(const void *cookie, uint64_t gpa, uint64_t bytes)
{
	return double_gpa(cookie, gpa, bytes);
}

/* Whether gva is mapped in the space of a root. */
static inline bool view(const struct double_machine *m, uint64_t root, uint64_t gva,
			struct mote__pt_translation *t)
{
	const struct mote__pt_space space = {&mote__pt_x86_64, {m, view_table}, root};
	return mote__pt_translate(&space, gva, t) == MOTE__PT_OK;
}

/* The flags of the leaf at gva; 0: it has none. */
static inline uint64_t leaf_flags(const struct double_machine *m, uint64_t root, uint64_t gva)
{
	struct mote__pt_translation t;
	return view(m, root, gva, &t) ? t.entry & FLAGS : 0;
}

static inline uint64_t leaf_gpa(const struct double_machine *m, uint64_t root, uint64_t gva)
{
	struct mote__pt_translation t;
	return view(m, root, gva, &t) ? t.gpa : 0;
}

/* The first word of the page at gva. */
static inline uint64_t value_at(const struct double_machine *m, uint64_t root, uint64_t gva)
{
	struct mote__pt_translation t;
	CHECK(view(m, root, gva, &t));
	return words_at(m, t.gpa)[0];
}

#endif
