/* SPDX-License-Identifier: MIT */
/*
 * Random programs of a 32-bit kernel's address spaces against a model: tables that several spaces
 * have, pages that several tables have, copies on write by the guest and by the host. Whatever is
 * taken, flattened, forked and restored, every space sees what the model says. MOTE_TEST_SEED: the
 * first seed.
 */
#include "i686.h"

#include <stdlib.h>

#define SPACES    4u /* number 0 is where calls begin */
#define SLOTS     4u
#define PAGES     4u /* in each slot */
#define TABLES    200u
#define CELLS     2000u
#define KEPT      4u
#define SLOT      (1u << 22)
#define FIRST_GVA 0x40000000u

struct leaf_model {
	uint32_t bits; /* of the entry; 0: none */
	uint32_t cell; /* its content */
};

/* Numbers of tables and of cells start at 1; 0: none. */
struct model {
	uint32_t slot[SPACES][SLOTS];
	struct leaf_model leaf[TABLES][PAGES];
	uint32_t cell[CELLS];
	uint32_t table_count, cell_count;
};

struct run {
	struct system s;
	struct model now, then[KEPT];
	mote_snapshot *kept[KEPT];
	uint64_t random;
	uint32_t value;
};

static uint32_t choose(struct run *r, uint32_t below)
{
	return (uint32_t)(check_random(&r->random) >> 33) % below;
}

static uint32_t gva_of(uint32_t slot, uint32_t page)
{
	return FIRST_GVA + slot * SLOT + page * (uint32_t)PAGE;
}

static struct leaf_model *leaf_of(struct model *m, uint32_t space, uint32_t slot, uint32_t page)
{
	uint32_t table = m->slot[space][slot];
	return table ? &m->leaf[table][page] : NULL;
}

static uint32_t new_cell(struct run *r, uint32_t value)
{
	CHECK(++r->now.cell_count < CELLS);
	r->now.cell[r->now.cell_count] = value;
	return r->now.cell_count;
}

static bool is_writable(const struct leaf_model *leaf)
{
	return leaf->bits & 0x202;
}

/* What a write does to a page that may be written. */
static void model_write(struct run *r, struct leaf_model *leaf, uint32_t value)
{
	if (leaf->bits & 0x200) {
		leaf->cell = new_cell(r, 0);
		leaf->bits = (leaf->bits & ~0x200u) | 0x002;
	}
	r->now.cell[leaf->cell] = value;
}

/* A leaf of a space is there, in a table of its own if it has none. */
static struct leaf_model *model_leaf(struct run *r, uint32_t space, uint32_t slot, uint32_t page)
{
	struct model *m = &r->now;
	if (!m->slot[space][slot]) {
		CHECK(++m->table_count < TABLES);
		m->slot[space][slot] = m->table_count;
	}
	return leaf_of(m, space, slot, page);
}

/* ---- steps ----------------------------------------------------------------------------------- */

static void add_page(struct run *r)
{
	const uint32_t space = choose(r, SPACES), slot = choose(r, SLOTS), page = choose(r, PAGES);
	const uint32_t bits = (choose(r, 2) ? LEAF_RW : LEAF_RO) | (choose(r, 2) ? USER : 0);
	const uint32_t gpa = new_page(&r->s, space, gva_of(slot, page), bits);
	struct leaf_model *leaf = model_leaf(r, space, slot, page);
	*leaf = (struct leaf_model){bits, new_cell(r, ++r->value)};
	(void)DO(&r->s, "fill", mote_u64(gpa), mote_u64(r->value));
}

static void share_table(struct run *r)
{
	const uint32_t from = choose(r, SPACES), slot = choose(r, SLOTS);
	const uint32_t to = choose(r, SPACES), at = choose(r, SLOTS);
	if (!r->now.slot[from][slot])
		return;
	(void)directory(&r->s, to, gva_of(at, 0), directory(&r->s, from, gva_of(slot, 0), 0));
	r->now.slot[to][at] = r->now.slot[from][slot];
}

/* As a fork does it: what may be written is copied by the one that writes. */
static void share_page(struct run *r)
{
	const uint32_t from = choose(r, SPACES), slot = choose(r, SLOTS), page = choose(r, PAGES);
	const uint32_t to = choose(r, SPACES), at = choose(r, SLOTS), on = choose(r, PAGES);
	const struct leaf_model *source = leaf_of(&r->now, from, slot, page);
	if (!source || !source->bits)
		return;
	const struct leaf_model copy = {is_writable(source) ? (source->bits & USER) | LEAF_COW
							    : source->bits,
					source->cell};
	const uint32_t entry = leaf(&r->s, from, gva_of(slot, page));
	map_page(&r->s, to, gva_of(at, on), (entry & ADDRESS) | copy.bits);
	*model_leaf(r, to, at, on) = copy;
}

static void write_page(struct run *r)
{
	const uint32_t space = choose(r, SPACES), slot = choose(r, SLOTS), page = choose(r, PAGES);
	struct leaf_model *leaf = leaf_of(&r->now, space, slot, page);
	if (!leaf || !leaf->bits || !is_writable(leaf))
		return;
	r->value++;
	if (space == 0)
		OK(&r->s,
		   mote_sandbox_write(r->s.sandbox, gva_of(slot, page), &r->value, 4, &r->s.err));
	else
		poke(&r->s, space, gva_of(slot, page), r->value);
	model_write(r, leaf, r->value);
}

static void keep(struct run *r)
{
	const uint32_t i = choose(r, KEPT);
	mote_snapshot *taken = take_spaces(&r->s);
	mote_snapshot_unref(r->kept[i]);
	r->kept[i] = taken;
	r->then[i] = r->now;
	for (uint32_t table = 1; table <= r->now.table_count; table++)
		for (uint32_t page = 0; page < PAGES; page++) {
			struct leaf_model *leaf = &r->then[i].leaf[table][page];
			if (leaf->bits & 0x002)
				leaf->bits = (leaf->bits & USER) | LEAF_COW;
		}
}

static void go_back(struct run *r)
{
	const uint32_t i = choose(r, KEPT);
	mote_snapshot *flat;
	if (!r->kept[i])
		return;
	if (choose(r, 4) == 0) {
		OK(&r->s, mote_snapshot_flatten(r->kept[i], &flat, &r->s.err));
		mote_snapshot_unref(r->kept[i]);
		r->kept[i] = flat;
	}
	if (choose(r, 3))
		restore(&r->s, r->kept[i]);
	else
		fork_of(&r->s, r->kept[i]);
	r->now = r->then[i];
}

/* ---- what is seen ---------------------------------------------------------------------------- */

static void compare(struct run *r)
{
	for (uint32_t space = 0; space < SPACES; space++)
		for (uint32_t slot = 0; slot < SLOTS; slot++)
			for (uint32_t page = 0; page < PAGES; page++) {
				const uint32_t gva = gva_of(slot, page);
				struct leaf_model *l = leaf_of(&r->now, space, slot, page);
				CHECK_EQ(leaf_bits(&r->s, space, gva), l ? l->bits : 0);
				if (l && l->bits)
					CHECK_EQ(peek(&r->s, space, gva), r->now.cell[l->cell]);
			}
}

/* Spaces have one table where the model has one. */
static void compare_tables(struct run *r)
{
	const uint32_t *slot = &r->now.slot[0][0];
	uint32_t entry[SPACES * SLOTS];
	for (uint32_t i = 0; i < SPACES * SLOTS; i++) {
		entry[i] = directory(&r->s, i / SLOTS, gva_of(i % SLOTS, 0), 0) & ADDRESS;
		CHECK_EQ(entry[i] != 0, slot[i] != 0);
		for (uint32_t j = 0; j < i; j++)
			CHECK_EQ(entry[i] == entry[j], slot[i] == slot[j]);
	}
}

static void random_program(uint64_t seed)
{
	static struct run r;
	memset(&r, 0, sizeof r);
	r.random = seed;
	KERNEL(&r.s, .snapshot.scratch_bytes = 0x200000);
	for (uint32_t i = 1; i < SPACES; i++)
		CHECK_EQ(DO(&r.s, "bare"), i);
	for (uint32_t i = 0; i < 200; i++) {
		const uint32_t what = choose(&r, 16);
		if (what < 4)
			add_page(&r);
		else if (what < 6)
			share_table(&r);
		else if (what < 9)
			share_page(&r);
		else if (what < 13)
			write_page(&r);
		else if (what < 14)
			keep(&r);
		else
			go_back(&r);
		if (what >= 13 || i % 16 == 0) {
			compare(&r);
			compare_tables(&r);
		}
	}
	for (uint32_t i = 0; i < KEPT; i++)
		mote_snapshot_unref(r.kept[i]);
	system_close(&r.s);
}

TEST(snapshot_i686_model__random_programs_of_spaces)
{
	const char *given = getenv("MOTE_TEST_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0) : 0x1686;
	for (unsigned i = 0; i < system_repetitions(20); i++) {
		check_note("seed 0x%llx", (unsigned long long)seed + i);
		random_program(seed + i);
	}
}
