/* SPDX-License-Identifier: MIT */
/*
 * A stock guest on the test double that does what a test says: it takes pages of scratch, builds
 * page tables and address spaces of its own. Views look at what a machine has at an address,
 * through any root.
 */
#ifndef MOTE_TESTS_STOCK_WORLD_H
#define MOTE_TESTS_STOCK_WORLD_H

#include "core/vcpu.h"
#include "page_shapes.h"
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
/* Addresses that nothing else has: of entry n of a root, 512 GiB or 4 MiB apart. */
#define SPACE(n) ((uint64_t)(n)*shape_bytes(stock_shape, stock_shape->levels))
/* The end of guest physical memory. */
#define GPA_END (w.snapshot->layout.family->physical_end)
/* Its image's data: copy-on-write, zero from page 2 on. */
#define DATA_BYTES (20 * PAGE)
#define DATA(n)    (TINY_DATA_GVA + (n)*PAGE)

typedef void (*stock_act)(struct double_machine *m);

static struct world w;
static stock_act act;                                /* what the guest does in its next call */
static const struct shape *stock_shape = &shapes[0]; /* of the guest's tables */

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

/* A guest of 32 bits with large pages has set CR4.PSE. */
static inline void stock_set_pse(void)
{
	if (stock_shape->format == &mote__pt_i686_large)
		w.machine->special.cr4 |= 0x10;
}

/* A sandbox that is ready, with a guest whose tables have a shape. */
static inline void stock_ready_in(const struct shape *shape,
				  const struct mote_snapshot_options *options)
{
	const struct tiny_options image = {.data_bytes = DATA_BYTES,
					   .bits = shape->levels == 4 ? 64 : 32};
	stock_shape = shape;
	world_make_of(&w, &image, options, &stock_guest);
	world_sandbox(&w, NULL);
	OK(&w, mote_sandbox_start(w.sandbox, 0, &w.err));
	stock_set_pse();
}

static inline void stock_ready(const struct mote_snapshot_options *options)
{
	stock_ready_in(&shapes[0], options);
}

/* A test whose body runs with a guest of each format. */
#define TEST_FORMATS(what)                                                       \
	static void in_format_##what(const struct shape *shape);                 \
	TEST(what)                                                               \
	{                                                                        \
		for (const struct shape *shape = shapes; shape->format; shape++) \
			in_format_##what(shape);                                 \
	}                                                                        \
	static void in_format_##what(const struct shape *shape)

/* Low bits above, and NX, as the format of the guest has them. */
static inline uint64_t bits_of(uint64_t entry)
{
	const uint64_t lacking = stock_shape->no_execute ? 0 : NX | 0x40;
	return entry & ~lacking;
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
	return (unsigned)(gva / shape_bytes(stock_shape, level) % shape_entries(stock_shape));
}

/* Entry index of a table, in any format; one of 4 bytes takes the lower half. */
static inline uint64_t get_entry(const struct double_machine *m, uint64_t table, unsigned index)
{
	uint64_t entry = 0;
	const size_t bytes = stock_shape->entry_bytes;
	memcpy(&entry, (const char *)words_at(m, table) + index * bytes, bytes);
	return entry;
}

static inline void put_entry(const struct double_machine *m, uint64_t table, unsigned index,
			     uint64_t entry)
{
	const size_t bytes = stock_shape->entry_bytes;
	memcpy((char *)words_at(m, table) + index * bytes, &entry, bytes);
}

/* The table of a level for gva, in any format; tables that lack are made. */
static inline uint64_t table_at(const struct double_machine *m, uint64_t root, uint64_t gva,
				unsigned level, uint64_t link)
{
	for (unsigned at = stock_shape->levels; at > level; at--) {
		if (!get_entry(m, root, index_of(gva, at)))
			put_entry(m, root, index_of(gva, at), new_page(m, 0) | link);
		root = get_entry(m, root, index_of(gva, at)) & stock_shape->address;
	}
	return root;
}

/* Make the entry for gva in a table of a level. */
static inline void set_entry(const struct double_machine *m, uint64_t root, uint64_t gva,
			     unsigned level, uint64_t link, uint64_t entry)
{
	put_entry(m, table_at(m, root, gva, level, link), index_of(gva, level), entry);
}

/* The place of the entry for gva in the table of a level of x86-64; tables above are made. */
static inline uint64_t *entry_at(const struct double_machine *m, uint64_t root, uint64_t gva,
				 unsigned level, uint64_t link)
{
	CHECK_EQ(stock_shape->entry_bytes, sizeof(uint64_t));
	return &words_at(m, table_at(m, root, gva, level, link))[index_of(gva, level)];
}

static inline void map_page(const struct double_machine *m, uint64_t root, uint64_t gva,
			    uint64_t entry)
{
	set_entry(m, root, gva, 1, LINK, entry);
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
	const unsigned bits = stock_shape->levels == 4 ? 64 : 32;
	const struct mote__pt_format *format = mote__special_format(&m->special, bits);
	const struct mote__pt_space space = {format, {m, view_table}, root};
	CHECK(format != NULL);
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
