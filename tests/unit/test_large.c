/* SPDX-License-Identifier: MIT */
/*
 * Large leaves without a processor: where init data lies that is worth them, what they save, that
 * flattening and taking keep them, and when huge pages are asked for.
 */
#define _GNU_SOURCE
#include "stock_world.h"

#include "core/confined.h"
#include "elf_maker.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#define BIG 0x200000ull

static unsigned collapses;
static bool is_refused;

int __real_mote__sys_collapse(const void *at, uint64_t bytes);
int __wrap_mote__sys_collapse(const void *at, uint64_t bytes);

int __wrap_mote__sys_collapse(const void *at, uint64_t bytes)
{
	CHECK(bytes == BIG && (uintptr_t)at % BIG == 0);
	collapses++;
	return is_refused ? -EINVAL : __real_mote__sys_collapse(at, bytes);
}

/* ---- guests ---------------------------------------------------------------------------------- */

static uint8_t *data;

/* Bytes that are zero nowhere in a page's first word. */
static void make_data(uint64_t bytes)
{
	data = malloc(bytes);
	CHECK(data);
	for (uint64_t i = 0; i < bytes; i++)
		data[i] = (uint8_t)(1 + i % 251 + i / PAGE);
	for (uint64_t i = 0; i < bytes; i += PAGE)
		data[i] = 1;
}

/* A snapshot of a guest whose note has these bits, MOTE_ABI_*; 0: it has no note. */
static void open_with(uint64_t bits, const struct mote_snapshot_options *options)
{
	const struct tiny_options image = {.is_confined = bits != 0, .data_bytes = DATA_BYTES};
	memset(&w, 0, sizeof w);
	w.is_confined = bits & MOTE_ABI_RING3 && !options->ignore_extensions;
	w.hypervisor = double_make(&stock_guest);
	w.hypervisor->is_closed = &w.is_closed;
	OK(&w, mote__engine_on(&w.hypervisor->base, SIGRTMIN, 0, &w.engine, &w.err));
	const struct tiny_image tiny = tiny_guest(&image);
	if (tiny.note) {
		tiny.note->required = bits & ~(uint64_t)MOTE_ABI_LARGE_LEAVES;
		tiny.note->optional = bits & MOTE_ABI_LARGE_LEAVES;
	}
	OK(&w, mote_snapshot_from_memory(tiny.bytes, tiny.len, options, &w.snapshot, &w.err));
	OK(&w, mote_host_create(&w.host, &w.err));
}

#define CONFINED_BITS (MOTE_ABI_RING3 | MOTE_ABI_DEMAND_ZERO)
#define LARGE_BITS    (CONFINED_BITS | MOTE_ABI_LARGE_LEAVES)

static void open_init(uint64_t bits, uint64_t bytes, uint32_t access)
{
	const struct mote_snapshot_options options = {.size = sizeof options,
						      .init_data = data,
						      .init_data_bytes = bytes,
						      .init_data_access = access};
	open_with(bits, &options);
}

static void close_all(void)
{
	world_free(&w);
	free(data);
	data = NULL;
}

static unsigned level(const mote_snapshot *s, uint64_t gva)
{
	struct mote__pt_translation t;
	CHECK(mote__snapshot_translate(s, gva, &t));
	return t.level;
}

/* Large leaves that begin in [gva, gva + bytes). */
static unsigned count_large(const mote_snapshot *s, uint64_t gva, uint64_t bytes)
{
	unsigned count = 0;
	for (uint64_t at = mote__round_up(gva, BIG); at < gva + bytes; at += BIG)
		count += level(s, at) == 2;
	return count;
}

/* The init data is there, and has as many large leaves. */
static void check_init(const mote_snapshot *s, uint64_t bytes, unsigned large)
{
	uint8_t *back = malloc(bytes);
	CHECK(back);
	OK(&w, mote_snapshot_read(s, s->layout.init_gva, back, bytes, &w.err));
	CHECK_MEM(back, data, bytes);
	free(back);
	CHECK_EQ(count_large(s, s->layout.init_gva, bytes), large);
}

/* ---- layout ---------------------------------------------------------------------------------- */

/* Pages of tables of a snapshot with that init data. */
static uint64_t tables_with(uint64_t bits, uint64_t bytes, uint32_t access, unsigned large)
{
	make_data(bytes ? bytes : 1);
	open_init(bits, bytes, access);
	if (bytes)
		check_init(w.snapshot, bytes, large);
	CHECK_EQ(w.snapshot->layout.init_gva % BIG == 0, large > 0);
	const uint64_t pages = w.snapshot->layout.tables_bytes / PAGE;
	close_all();
	return pages;
}

TEST(large__init_data_of_many_sizes)
{
	const uint64_t none = tables_with(LARGE_BITS, 0, MOTE_READ, 0);
	/* Less than a large page lies behind the PEB, as ever. */
	CHECK_EQ(tables_with(LARGE_BITS, BIG - 1, MOTE_READ, 0),
		 tables_with(CONFINED_BITS, BIG - 1, MOTE_READ, 0));
	CHECK_EQ(tables_with(LARGE_BITS, BIG, MOTE_READ, 1), none);
	CHECK_EQ(tables_with(LARGE_BITS, BIG + 1, MOTE_READ, 1), none + 1);
	CHECK_EQ(tables_with(LARGE_BITS, 2 * BIG + 5, MOTE_READ, 2), none + 1);
	CHECK_EQ(tables_with(LARGE_BITS, 32 * BIG, MOTE_READ, 32), none);
	CHECK(tables_with(CONFINED_BITS, 32 * BIG, MOTE_READ, 0) >= none + 32);
}

TEST(large__what_is_written_stays_small)
{
	CHECK_EQ(tables_with(LARGE_BITS, 2 * BIG, MOTE_READ | MOTE_WRITE, 0),
		 tables_with(CONFINED_BITS, 2 * BIG, MOTE_READ | MOTE_WRITE, 0));
	CHECK(tables_with(LARGE_BITS, 2 * BIG, MOTE_READ | MOTE_EXECUTE, 2) <
	      tables_with(CONFINED_BITS, 2 * BIG, MOTE_READ | MOTE_EXECUTE, 0));
}

TEST(large__a_guest_that_does_not_declare_them_has_none)
{
	make_data(4 * BIG);
	for (unsigned i = 0; i < 2; i++) {
		const struct mote_snapshot_options options = {.size = sizeof options,
							      .init_data = data,
							      .init_data_bytes = 4 * BIG,
							      .ignore_extensions = i == 1};
		open_with(i ? LARGE_BITS : 0, &options);
		CHECK(!w.snapshot->layout.is_confined);
		check_init(w.snapshot, 4 * BIG, 0);
		collapses = 0;
		world_free(&w);
	}
	free(data);
}

/* Without an image's memory: the layout alone, and its tables. */
static struct mote__layout layout;
static uint8_t *laid_tables;
static struct mote__pt_range tables_range;

static void lay_out(const void *bytes, size_t len, uint64_t init_bytes, uint64_t heap_bytes)
{
	struct mote__elf elf;
	struct mote_error err;
	struct mote__write_set write_set;
	uint64_t used;
	const struct mote__layout_config config = {.family = mote__family_find(0, 64),
						   .is_confined = true,
						   .has_large = true,
						   .input_bytes = 0x4000,
						   .output_bytes = 0x4000,
						   .heap_bytes = heap_bytes,
						   .stack_bytes = 0x40000,
						   .init_bytes = init_bytes,
						   .init_access = MOTE_READ};
	CHECK_EQ(mote__elf_parse(bytes, len, &elf, &err), MOTE_OK);
	struct mote__layout_image pages;
	mote__layout_image_of(&elf, &pages);
	CHECK_EQ(mote__layout_make(&config, &pages, &layout, &err), MOTE_OK);
	laid_tables = aligned_alloc(PAGE, layout.tables_bytes);
	CHECK(laid_tables);
	memset(laid_tables, 0, layout.tables_bytes);
	CHECK_EQ(mote__layout_build(&layout, laid_tables, NULL, NULL, &write_set, &used),
		 MOTE__PT_OK);
	tables_range = (struct mote__pt_range){
		laid_tables, layout.scratch_gpa + layout.tables_offset, layout.tables_bytes};
}

static struct mote__pt_translation laid_out(uint64_t gva)
{
	const struct mote__pt_space space = {
		layout.family->format, {&tables_range, mote__pt_range_table}, tables_range.gpa};
	struct mote__pt_translation t;
	CHECK_EQ(mote__pt_translate(&space, gva, &t), MOTE__PT_OK);
	return t;
}

/* Pages of tables. */
static uint64_t tables_of_layout(uint64_t init_bytes, uint64_t heap_bytes)
{
	const struct tiny_image tiny = tiny_guest(&(struct tiny_options){.is_confined = true});
	lay_out(tiny.bytes, tiny.len, init_bytes, heap_bytes);
	for (uint64_t at = 0; at < init_bytes; at += 63 * PAGE) {
		const struct mote__pt_translation t = laid_out(layout.init_gva + at);
		CHECK(t.gpa == layout.init_gpa + at && t.level == 2);
		CHECK(!t.effective.writable && !t.effective.cow && t.effective.user);
	}
	free(laid_tables);
	return layout.tables_bytes / PAGE;
}

TEST(large__a_gibibyte_costs_a_table)
{
	const uint64_t gib = 1ull << 30;
	CHECK_EQ(tables_of_layout(gib, 0x20000), tables_of_layout(0, 0x20000) + 1);
	CHECK_EQ(tables_of_layout(8 * gib, 0x20000), tables_of_layout(0, 0x20000) + 8);
	CHECK_EQ(tables_of_layout(gib, gib), tables_of_layout(0, gib) + 1);
}

TEST(large__copying_begins_at_the_first_page_that_can_be_copied)
{
	make_data(2 * BIG);
	open_init(LARGE_BITS, 2 * BIG, MOTE_READ);
	world_sandbox(&w, NULL);
	const struct mote__layout *l = &w.snapshot->layout;
	uint64_t first = UINT64_MAX;
	for (uint32_t i = 0; i < l->part_count; i++) {
		const struct mote__part *part = &l->parts[i];
		bool is_own = part->attributes.cow || part->kind == MOTE__PART_DEMAND;
		if (is_own && part->gva < first)
			first = part->gva;
		/* No large leaf is in reach of the code that copies. */
		for (uint64_t at = mote__round_up(part->gva, BIG); at < part->gva + part->bytes;
		     at += BIG)
			if (at >= l->cow_first_gva && at < l->cow_end_gva &&
			    part->kind == MOTE__PART_MEMORY)
				CHECK_EQ(level(w.snapshot, at), 1);
	}
	CHECK_EQ(l->cow_first_gva, first);
	CHECK_EQ(*mote__params(w.sandbox, MOTE__PARAMS_COW_FIRST), first / PAGE);
	CHECK(l->init_gva >= l->cow_end_gva);
	close_all();
}

TEST(large__constants_between_data_are_small)
{
	static struct elf_maker maker;
	elf_maker_guest(&maker, 64, ET_DYN, 0);
	for (unsigned i = 0; i < 2; i++) {
		Elf64_Phdr *header =
			elf_maker_header(&maker, PT_LOAD, elf_maker_put(&maker, NULL, 64, 64), 64);
		header->p_vaddr = i ? 0x1000000 : 0x400000;
		header->p_memsz = i ? PAGE : 3 * BIG;
		header->p_flags = i ? PF_R | PF_W : PF_R;
		header->p_align = PAGE;
	}
	elf_maker_finish(&maker);
	lay_out(maker.bytes, maker.len, 2 * BIG, 0x20000);
	for (uint64_t at = PAGE; at < 3 * BIG; at += 31 * PAGE) {
		const struct mote__pt_translation t = laid_out(0x400000 + at);
		CHECK(t.level == 1 && !t.effective.cow && !t.effective.writable);
	}
	CHECK(layout.cow_first_gva <= 0x400000 && laid_out(layout.init_gva).level == 2);
	free(laid_tables);
}

/* ---- snapshots ------------------------------------------------------------------------------- */

static void check_same(mote_snapshot *a, mote_snapshot *b)
{
	uint8_t one[MOTE_DIGEST_BYTES], two[MOTE_DIGEST_BYTES];
	OK(&w, mote_snapshot_digest(a, one, &w.err));
	OK(&w, mote_snapshot_digest(b, two, &w.err));
	CHECK_MEM(one, two, MOTE_DIGEST_BYTES);
}

static void write_word(uint64_t gva, uint64_t value)
{
	OK(&w, mote_sandbox_write(w.sandbox, gva, &value, sizeof value, &w.err));
}

static uint64_t stored_word(const mote_snapshot *s, uint64_t gva)
{
	uint64_t value = 0;
	OK(&w, mote_snapshot_read(s, gva, &value, sizeof value, &w.err));
	return value;
}

/* More takes than there are layers, flattened at either end and between. */
static void check_takes(uint64_t bytes)
{
	mote_snapshot *taken[40], *flat = NULL, *again = NULL;
	const unsigned large = (unsigned)(bytes / BIG);
	make_data(bytes);
	open_init(LARGE_BITS, bytes, MOTE_READ);
	world_sandbox(&w, NULL);
	OK(&w, mote_sandbox_start(w.sandbox, 0, &w.err));
	for (unsigned i = 0; i < 40; i++) {
		write_word(DATA(i % 18), i + 1);
		taken[i] = stock_take();
	}
	for (unsigned i = 0; i < 40; i += 13) {
		check_init(taken[i], bytes, large);
		OK(&w, mote_snapshot_flatten(taken[i], &flat, &w.err));
		OK(&w, mote_snapshot_flatten(flat, &again, &w.err));
		CHECK_EQ(stock_info(flat).layer_count, 1);
		CHECK(stock_info(flat).memory_bytes < bytes + BIG + 64 * PAGE);
		CHECK_EQ(stock_info(again).memory_bytes, stock_info(flat).memory_bytes);
		check_init(flat, bytes, large);
		check_init(again, bytes, large);
		check_same(taken[i], flat);
		check_same(flat, again);
		CHECK_EQ(stored_word(again, DATA(i % 18)), i + 1);
		mote_sandbox *fork = stock_fork(again);
		mote_sandbox_destroy(fork);
		mote_snapshot_unref(flat);
		mote_snapshot_unref(again);
	}
	for (unsigned i = 0; i < 40; i++) {
		OK(&w, mote_sandbox_restore(w.sandbox, taken[i], NULL, &w.err));
		mote_snapshot_unref(taken[i]);
	}
	close_all();
}

TEST(large__takes_and_flattening_keep_them)
{
	is_refused = false;
	check_takes(2 * BIG + 5);
}

TEST(large__a_kernel_without_huge_pages)
{
	is_refused = true;
	collapses = 0;
	check_takes(2 * BIG);
	is_refused = false;
	/* The image's, and each flattened one's. */
	CHECK(collapses >= 2 * (1 + 4 * 2));
}

static uint64_t stored_bytes(const mote_snapshot *s)
{
	uint64_t bytes = 0;
	struct stat st = {0};
	for (uint32_t i = 0; i < s->layer_count; i++) {
		CHECK_EQ(fstat(s->layer[i].object->fd, &st), 0);
		bytes += (uint64_t)st.st_blocks * 512;
	}
	return bytes;
}

TEST(large__huge_pages_are_asked_for_where_all_pages_are_there)
{
	mote_snapshot *flat = NULL;
	make_data(4 * BIG);
	memset(data + BIG + 9 * PAGE, 0, PAGE);
	memset(data + 2 * BIG, 0, BIG);
	open_init(LARGE_BITS, 4 * BIG, MOTE_READ);
	uint64_t bytes = stored_bytes(w.snapshot);
	collapses = 0;
	OK(&w, mote_snapshot_flatten(w.snapshot, &flat, &w.err));
	CHECK_EQ(collapses, 2);
	CHECK_EQ(count_large(flat, flat->layout.init_gva, 4 * BIG), 4);
	CHECK(stored_bytes(flat) <= bytes - BIG - PAGE);
	CHECK_EQ(stored_word(flat, flat->layout.init_gva + 3 * BIG - 8), 0);
	check_same(flat, w.snapshot);
	mote_snapshot_unref(flat);
	close_all();
}

TEST(large__a_guest_that_owns_its_tables_has_none)
{
	mote_snapshot *flat = NULL;
	make_data(4 * BIG);
	open_init(MOTE_ABI_LARGE_LEAVES, 4 * BIG, MOTE_READ);
	CHECK(!w.snapshot->layout.is_confined);
	check_init(w.snapshot, 4 * BIG, 0);
	world_sandbox(&w, NULL);
	OK(&w, mote_sandbox_start(w.sandbox, 0, &w.err));
	write_word(DATA(3), 0x1234);
	mote_snapshot *taken = stock_take();
	OK(&w, mote_snapshot_flatten(taken, &flat, &w.err));
	check_init(flat, 4 * BIG, 0);
	CHECK(stored_word(taken, DATA(3)) == 0x1234 && stored_word(flat, DATA(3)) == 0x1234);
	check_same(taken, flat);
	mote_snapshot_unref(taken);
	mote_snapshot_unref(flat);
	close_all();
}
