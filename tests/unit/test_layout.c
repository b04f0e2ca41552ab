/* SPDX-License-Identifier: MIT */
/* Layouts: the numbers of guest-abi 1 for stock guests, those of confined guests, their limits, and
 * the tables that are built of them. */
#include "core/layout.h"

#include "base/math.h"
#include "check.h"
#include "core/confined.h"
#include "tiny_guest.h"

#include <stdio.h>
#include <stdlib.h>

#define PAGE       4096ull
#define REGION_MAX 0x3FFFFF000ull

static struct tiny_image image;
static struct mote__elf elf;
static struct mote__layout layout;
static struct mote_error err;
static uint8_t *tables;
static struct mote__write_set write_set;
static uint64_t tables_used;

static struct mote__layout_config config_for(const struct tiny_options *options)
{
	image = tiny_guest(options);
	CHECK_EQ(mote__elf_parse(image.bytes, image.len, &elf, &err), MOTE_OK);
	return (struct mote__layout_config){
		.family = mote__family_find(0, elf.bits),
		.is_confined = options->is_confined,
		.input_bytes = 0x4000,
		.output_bytes = 0x4000,
		.heap_bytes = 0x20000,
		.stack_bytes = options->is_confined ? 0x40000 : 0,
		.scratch_bytes = options->is_confined ? 0 : 0x48000,
		.init_access = MOTE_READ,
	};
}

static struct mote__layout_config stock_of(unsigned bits)
{
	return config_for(&(struct tiny_options){.bits = bits});
}

static struct mote__layout_config stock(void)
{
	return stock_of(64);
}

static struct mote__layout_config confined(void)
{
	return config_for(&(struct tiny_options){.is_confined = true});
}

static int make(const struct mote__layout_config *config)
{
	struct mote__layout_image pages;
	memset(&err, 0, sizeof err);
	mote__layout_image_of(&elf, &pages);
	return mote__layout_make(config, &pages, &layout, &err);
}

#define MAKES(config)                                                        \
	do {                                                                 \
		if (make(config) != MOTE_OK)                                 \
			check_failed(__FILE__, __LINE__, "%s", err.message); \
	} while (0)

#define REFUSES(config, code, part)           \
	do {                                  \
		CHECK_EQ(make(config), code); \
		CHECK_HAS(err.message, part); \
	} while (0)

static bool page_2_is_zero(void *cookie, uint64_t gpa)
{
	(void)cookie;
	return gpa == layout.image_gpa + 0x3000;
}

static void build(void)
{
	free(tables);
	tables = aligned_alloc(4096, layout.tables_bytes);
	memset(tables, 0, layout.tables_bytes);
	CHECK_EQ(
		mote__layout_build(&layout, tables, page_2_is_zero, NULL, &write_set, &tables_used),
		MOTE__PT_OK);
	CHECK(tables_used <= layout.tables_bytes);
	for (uint64_t i = tables_used; i < layout.tables_bytes; i++)
		CHECK(((const uint8_t *)tables)[i] == 0);
}

static const struct mote__part *part(const char *name)
{
	for (uint32_t i = 0; i < layout.part_count; i++)
		if (strcmp(layout.parts[i].name, name) == 0)
			return &layout.parts[i];
	return NULL;
}

static struct mote__pt_space space(struct mote__pt_range *range)
{
	*range = (struct mote__pt_range){tables, layout.scratch_gpa + layout.tables_offset,
					 layout.tables_bytes};
	return (struct mote__pt_space){
		layout.family->format, {range, mote__pt_range_table}, range->gpa};
}

/* The leaf for gva, 0 where there is none. */
static uint64_t leaf(uint64_t gva)
{
	struct mote__pt_range range;
	struct mote__pt_space s = space(&range);
	struct mote__pt_translation t;
	return mote__pt_translate(&s, gva, &t) == MOTE__PT_OK ? t.entry : 0;
}

/* ---- stock ----------------------------------------------------------------------------------- */

/* guest-abi 1.1 to 1.3 and 4, for default sizes: input and output 0x4000, heap 0x20000, scratch
 * 0x48000. */
static const struct abi {
	uint32_t bits;
	uint64_t region_max, physical_end, gva_end, physical_bits;
	uint64_t tables;                       /* of the worked example */
	uint64_t scratch_gpa, scratch_gva;     /* of it */
	uint64_t tables_gpa, first_gpa;        /* its tables, and the first free frame */
	uint64_t frames;                       /* and how many there are */
	uint64_t read_only, writable, cow, nx; /* low bits of leaves, and what forbids execution */
	uint64_t table;                        /* low bits of an entry of the root */
	unsigned entries, entry_bytes;
	const struct mote__pt_format *format;
} abis[] = {
	{.bits = 64,
	 .region_max = REGION_MAX,
	 .physical_end = 0x1000000000,
	 .gva_end = 0xFFFFFFFFFFFFF000,
	 .physical_bits = 36,
	 .tables = 7,
	 .scratch_gpa = 0xFFFFB8000,
	 .scratch_gva = 0xFFFFFFFFFFFB7000,
	 .tables_gpa = 0xFFFFC0000,
	 .first_gpa = 0xFFFFC7000,
	 .frames = 54,
	 .read_only = 0x061,
	 .writable = 0x063,
	 .cow = 0x261,
	 .nx = 1ull << 63,
	 .table = 0x023,
	 .entries = 512,
	 .entry_bytes = 8,
	 .format = &mote__pt_x86_64},
	{.bits = 32,
	 .region_max = 0x70000000, /* so that both regions fit below the end */
	 .physical_end = 0xFEE00000,
	 .gva_end = 0x100000000,
	 .physical_bits = 32,
	 .tables = 3,
	 .scratch_gpa = 0xFEDB8000,
	 .scratch_gva = 0xFFFB8000,
	 .tables_gpa = 0xFEDC0000,
	 .first_gpa = 0xFEDC3000,
	 .frames = 58,
	 .read_only = 0x021,
	 .writable = 0x023,
	 .cow = 0x221,
	 .nx = 0,
	 .table = 0x027,
	 .entries = 1024,
	 .entry_bytes = 4,
	 .format = &mote__pt_i686_large},
	{0}, /* ends a loop over all */
};

TEST(layout__family_s_has_the_constants_of_the_abi)
{
	for (const struct abi *abi = abis; abi->bits; abi++) {
		const struct mote__family *s = mote__family_find(MOTE_FAMILY_S, abi->bits);
		CHECK(s && s == mote__family_find(0, abi->bits));
		CHECK(mote__family_find(2, abi->bits) == NULL);
		CHECK_STR(s->name, "S");
		CHECK_EQ(s->bits, abi->bits);
		CHECK(s->format == abi->format);
		CHECK_EQ(s->base_gpa, 0x1000);
		CHECK_EQ(s->physical_end, abi->physical_end);
		CHECK_EQ(s->scratch_gva_end, abi->gva_end);
		CHECK_EQ(s->peb_bytes, 64);
		CHECK_EQ(s->physical_bits, abi->physical_bits);
		CHECK_EQ(s->region_bytes_max, abi->region_max);
		CHECK_EQ(s->runtime_pages, 12);
		CHECK_EQ(s->kept_pages, 3);
		CHECK_EQ(s->word_size, 0x08);
		CHECK_EQ(s->word_next, 0x10);
		CHECK_EQ(s->word_tables, 0x18);
		CHECK_EQ(s->word_generation, 0x20);
		CHECK_EQ(s->exception_stack, 0x30);
		bool is_wide = abi->bits == 64;
		CHECK_EQ(s->reserved_first, is_wide ? 0xFFFF800000000000 : 0);
		CHECK_EQ(s->reserved_last, is_wide ? 0xFFFF80FFFFFFFFFF : 0);
	}
	CHECK(mote__family_find(0, 16) == NULL);
}

TEST(layout__worked_example_of_the_abi)
{
	for (const struct abi *abi = abis; abi->bits; abi++) {
		const struct mote__layout_config c = stock_of(abi->bits);
		MAKES(&c);
		CHECK_EQ(layout.scratch_gpa, abi->scratch_gpa);
		CHECK_EQ(layout.scratch_gva, abi->scratch_gva);
		CHECK_EQ(layout.tables_bytes / PAGE, abi->tables);
		CHECK_EQ(layout.scratch_gpa + layout.tables_offset, abi->tables_gpa);
		CHECK_EQ(layout.scratch_gpa + layout.frames_offset, abi->first_gpa);
		CHECK_EQ(layout.frame_count, abi->frames);
		/* The last one that the allocator hands out. */
		CHECK_EQ(abi->first_gpa + (abi->frames - 1) * PAGE, abi->physical_end - 4 * PAGE);
		CHECK_EQ(layout.input_gva, layout.scratch_gva);
		CHECK_EQ(layout.output_gva, layout.scratch_gva + 0x4000);
	}
}

TEST(layout__parts_of_a_stock_guest_follow_one_another)
{
	for (const struct abi *abi = abis; abi->bits; abi++) {
		struct mote__layout_config c = stock_of(abi->bits);
		c.heap_bytes = 0x20001;
		c.init_bytes = 5;
		MAKES(&c);
		/* The image has 0x3801 bytes. */
		CHECK_EQ(layout.image_gva, 0x1000);
		CHECK_EQ(layout.image_bytes, 0x4000);
		CHECK_EQ(layout.peb_gva, 0x5000);
		CHECK_EQ(layout.heap_gva, 0x6000);
		CHECK_EQ(layout.heap_bytes, 0x20001);
		CHECK_EQ(layout.init_gva, 0x6000 + 0x21000);
		CHECK_EQ(layout.init_bytes, 5);
		CHECK_EQ(layout.snapshot_bytes, 0x6000 + 0x22000 - 0x1000);
		CHECK_EQ(layout.part_count, 5);
		CHECK_EQ(part("init data")->bytes, PAGE);
		CHECK_EQ(part("scratch")->bytes, 0x48000);
	}
}

static uint64_t root_entry(const struct abi *abi, unsigned index)
{
	uint64_t entry = 0;
	memcpy(&entry, tables + (size_t)index * abi->entry_bytes, abi->entry_bytes);
	return entry;
}

TEST(layout__entries_of_a_stock_guest_are_those_of_the_abi)
{
	for (const struct abi *abi = abis; abi->bits; abi++) {
		struct mote__layout_config c = stock_of(abi->bits);
		c.init_bytes = 5;
		MAKES(&c);
		build();
		CHECK_EQ(leaf(0x1000), 0x1000 | abi->cow);
		CHECK_EQ(leaf(0x4000), 0x4000 | abi->cow);
		CHECK_EQ(leaf(0x5000), abi->nx | 0x5000 | abi->read_only);
		CHECK_EQ(leaf(0x6000), abi->nx | 0x6000 | abi->cow);
		CHECK_EQ(leaf(0x26000), abi->nx | 0x26000 | abi->read_only);
		CHECK_EQ(leaf(0x27000), 0);
		CHECK_EQ(leaf(0), 0);
		CHECK_EQ(leaf(abi->scratch_gva - PAGE), 0);
		CHECK_EQ(leaf(abi->scratch_gva), abi->nx | abi->scratch_gpa | abi->writable);
		CHECK_EQ(leaf(abi->gva_end - PAGE),
			 abi->nx | (abi->physical_end - PAGE) | abi->writable);
		CHECK_EQ(leaf(abi->gva_end), 0);
		CHECK_EQ(root_entry(abi, 0) & 0xFFF, abi->table);
		CHECK_EQ(root_entry(abi, abi->entries - 1) & 0xFFF, abi->table);
		for (unsigned i = 1; i < abi->entries - 1; i++)
			CHECK_EQ(root_entry(abi, i), 0);
	}
}

TEST(layout__snapshots_keep_all_but_the_reserved_range_and_scratch)
{
	for (const struct abi *abi = abis; abi->bits; abi++) {
		const struct mote__layout_config c = stock_of(abi->bits);
		struct mote__pt_span spans[2];
		MAKES(&c);
		uint32_t count = mote__layout_spans(&layout, spans);
		CHECK_EQ(count, abi->bits == 64 ? 2 : 1);
		CHECK_EQ(spans[0].first, 0);
		CHECK_EQ(spans[count - 1].last, abi->scratch_gva - 1);
		if (count == 2) {
			CHECK_EQ(spans[0].last, 0x7FFFFFFFFFFF);
			CHECK_EQ(spans[1].first, 0xFFFF810000000000);
		}
	}
}

TEST(layout__access_of_init_data)
{
	static const struct {
		uint32_t access;
		bool is_executable, is_cow;
	} rows[] = {{MOTE_READ, false, false},
		    {MOTE_READ | MOTE_EXECUTE, true, false},
		    {MOTE_READ | MOTE_WRITE, false, true},
		    {MOTE_READ | MOTE_WRITE | MOTE_EXECUTE, true, true}};
	for (const struct abi *abi = abis; abi->bits; abi++) {
		for (size_t i = 0; i < 4; i++) {
			struct mote__layout_config c = stock_of(abi->bits);
			c.init_bytes = 1;
			c.init_access = rows[i].access;
			MAKES(&c);
			build();
			uint64_t bits = (rows[i].is_cow ? abi->cow : abi->read_only) |
					(rows[i].is_executable ? 0 : abi->nx);
			CHECK_EQ(leaf(layout.init_gva), layout.init_gpa | bits);
		}
	}
}

TEST(layout__an_executable_heap_is_an_option)
{
	struct mote__layout_config c = stock();
	c.executable_heap = true;
	MAKES(&c);
	build();
	CHECK_EQ(leaf(layout.heap_gva), layout.heap_gva | 0x261);
}

TEST(layout__a_fixed_stock_image_is_mapped_where_it_was_linked)
{
	struct mote__layout_config c =
		config_for(&(struct tiny_options){.is_fixed = true, .base_va = 0x400000});
	MAKES(&c);
	build();
	CHECK_EQ(layout.image_gva, 0x400000);
	CHECK_EQ(layout.image_gpa, 0x1000);
	CHECK_EQ(layout.peb_gva, 0x5000);
	CHECK_EQ(leaf(0x401000), 0x2000 | 0x261);
	CHECK_EQ(leaf(0x1000), 0);
}

TEST(layout__parts_that_overlap_are_refused)
{
	/* The heap is at 0x6000 and reaches into the image. */
	struct mote__layout_config c =
		config_for(&(struct tiny_options){.is_fixed = true, .base_va = 0x400000});
	c.heap_bytes = 0x400000 - 0x6000;
	MAKES(&c);
	c.heap_bytes++;
	REFUSES(&c, MOTE_EIMAGE, "heap at 0x6000 (0x3fb000 bytes) overlaps image at 0x400000");
	/* The image lies over the PEB. */
	c = config_for(&(struct tiny_options){.is_fixed = true, .base_va = 0x4000});
	REFUSES(&c, MOTE_EIMAGE, "overlaps PEB at 0x5000");
	/* Linked where it is loaded. */
	c = config_for(&(struct tiny_options){.is_fixed = true, .base_va = 0x1000});
	MAKES(&c);
}

TEST(layout__buffers_need_not_be_pages)
{
	struct mote__layout_config c = stock();
	c.input_bytes = 0x2001;
	c.output_bytes = 0x2fff;
	MAKES(&c);
	CHECK_EQ(layout.output_offset, 0x2001);
	CHECK_EQ(layout.output_gva, layout.scratch_gva + 0x2001);
	CHECK_EQ(layout.tables_offset, 0x5000);
}

TEST(layout__limits_of_buffers)
{
	static const bool kinds[] = {false, true};
	for (size_t i = 0; i < 2; i++) {
		struct mote__layout_config c = kinds[i] ? confined() : stock();
		c.input_bytes = 0x1FFF;
		REFUSES(&c, MOTE_EINVAL, "input_bytes is 0x1fff, limits are 0x2000 to 0x3fffff000");
		c.input_bytes = 0x2000;
		MAKES(&c);
		c.input_bytes = REGION_MAX + 1;
		REFUSES(&c, MOTE_EINVAL, "input_bytes is 0x3fffff001, limits are");
		c.input_bytes = REGION_MAX;
		CHECK_EQ(make(&c), MOTE_ETOOBIG);
		CHECK_HAS(err.message, "scratch");
		c.input_bytes = 0x4000;
		c.output_bytes = 0x1FFF;
		REFUSES(&c, MOTE_EINVAL, "output_bytes is 0x1fff, limits are");
		c.output_bytes = UINT64_MAX;
		REFUSES(&c, MOTE_EINVAL, "output_bytes is 0xffffffffffffffff, limits are");
	}
}

/* The message of the last refusal has all of what snprintf() makes of this. */
#define CHECK_SAYS(...)                                     \
	do {                                                \
		char text_[200];                            \
		snprintf(text_, sizeof text_, __VA_ARGS__); \
		CHECK_HAS(err.message, text_);              \
	} while (0)

TEST(layout__limits_of_the_heap)
{
	for (const struct abi *abi = abis; abi->bits; abi++) {
		const unsigned long long max = abi->region_max;
		struct mote__layout_config c = stock_of(abi->bits);
		/* Image, PEB and heap fill the region to its last page; scratch holds the tables.
		 */
		c.heap_bytes = max - 0x5000;
		c.scratch_bytes = 64u << 20;
		MAKES(&c);
		CHECK_EQ(layout.snapshot_bytes, max);
		c.heap_bytes++;
		CHECK_EQ(make(&c), MOTE_ETOOBIG);
		CHECK_SAYS("heap_bytes of 0x%llx bytes: guest memory would exceed 0x%llx bytes",
			   max - 0x4FFF, max);
		c.heap_bytes = max;
		CHECK_EQ(make(&c), MOTE_ETOOBIG);
		c.heap_bytes = max + 1;
		CHECK_EQ(make(&c), MOTE_EINVAL);
		CHECK_SAYS("heap_bytes is 0x%llx, limits are 0x0 to 0x%llx", max + 1, max);
		c.heap_bytes = 0;
		MAKES(&c);
		CHECK(part("heap") == NULL);
	}
}

TEST(layout__limits_of_init_data)
{
	for (const struct abi *abi = abis; abi->bits; abi++) {
		const unsigned long long max = abi->region_max;
		struct mote__layout_config c = stock_of(abi->bits);
		c.scratch_bytes = 64u << 20;
		c.init_bytes = max - 0x25000;
		MAKES(&c);
		c.init_bytes++;
		CHECK_EQ(make(&c), MOTE_ETOOBIG);
		CHECK_SAYS("init data of 0x%llx bytes: guest memory would exceed", max - 0x24FFF);
		c.init_bytes = UINT64_MAX;
		REFUSES(&c, MOTE_ETOOBIG, "init data of 0xffffffffffffffff bytes");
		c.init_bytes = 0;
		MAKES(&c);
		CHECK(part("init data") == NULL);
		CHECK_EQ(layout.init_gva, 0x26000);
	}
}

TEST(layout__limits_of_scratch)
{
	for (const struct abi *abi = abis; abi->bits; abi++) {
		const unsigned long long max = abi->region_max;
		struct mote__layout_config c = stock_of(abi->bits);
		/* 8 pages of buffers, 12 for the runtime, the tables. */
		const unsigned long long min = (8 + 12 + abi->tables) * PAGE;
		c.scratch_bytes = min;
		MAKES(&c);
		CHECK_EQ(layout.frame_count, 12 - 3);
		c.scratch_bytes = min - PAGE;
		CHECK_EQ(make(&c), MOTE_ETOOBIG);
		CHECK_SAYS("scratch_bytes is 0x%llx, limits are 0x%llx to 0x%llx", min - PAGE, min,
			   max);
		c.scratch_bytes = 0x13000;
		REFUSES(&c, MOTE_ETOOBIG, "scratch_bytes is 0x13000, limits are 0x14000 to");
		c.scratch_bytes = 0x48001;
		REFUSES(&c, MOTE_EINVAL, "scratch_bytes is 0x48001, no multiple of 0x1000");
		c.scratch_bytes = max;
		MAKES(&c);
		CHECK_EQ(layout.scratch_gpa, abi->physical_end - max);
		c.scratch_bytes = max + PAGE;
		CHECK_EQ(make(&c), MOTE_ETOOBIG);
		CHECK_SAYS("scratch_bytes is 0x%llx, limits are", max + PAGE);
	}
}

/* Both regions at their limits, in what 32 bits can address. */
TEST(layout__the_largest_guest_of_32_bits_fits_its_address_space)
{
	struct mote__layout_config c = stock_of(32);
	c.heap_bytes = 0x70000000 - 0x5000;
	c.scratch_bytes = 0x70000000;
	MAKES(&c);
	CHECK_EQ(layout.scratch_gpa, 0x8EE00000);
	CHECK_EQ(layout.scratch_gva, 0x90000000);
	CHECK(layout.heap_gva + layout.heap_bytes <= layout.scratch_gva);
	CHECK(0x1000 + layout.snapshot_bytes <= layout.scratch_gpa);
	/* The root, tables of 4 MiB for 0x1000 to 0x70000fff and for scratch. */
	CHECK_EQ(layout.tables_bytes / PAGE, 1 + 449 + 448);
	build();
	CHECK_EQ(leaf(0x70000000), 0x70000000 | 0x221);
	CHECK_EQ(leaf(0x70001000), 0);
	CHECK_EQ(leaf(0x90000000), 0x8EE00000 | 0x023);
	CHECK_EQ(leaf(0xFFFFF000), 0xFEDFF000 | 0x023);
}

TEST(layout__an_image_of_32_bits_may_not_lie_over_scratch)
{
	const struct tiny_options high = {.bits = 32, .is_fixed = true, .base_va = 0xFFFB4000};
	struct mote__layout_config c = config_for(&high);
	MAKES(&c); /* up to where scratch begins */
	build();
	CHECK_EQ(leaf(0xFFFB7000), 0x4000 | 0x221);
	CHECK_EQ(leaf(0xFFFB8000), 0xFEDB8000 | 0x023);
	c.scratch_bytes += PAGE;
	REFUSES(&c, MOTE_EIMAGE, "overlaps scratch at 0xfffb7000");
	c = config_for(&(struct tiny_options){.bits = 32, .is_fixed = true, .base_va = 0xFFFF0000});
	REFUSES(&c, MOTE_EIMAGE, "scratch at 0xfffb8000");
	c = config_for(&(struct tiny_options){.bits = 32, .is_fixed = true, .base_va = 0xC0000000});
	MAKES(&c); /* a kernel in the upper quarter */
	build();
	CHECK_EQ(layout.image_gpa, 0x1000);
	CHECK_EQ(leaf(0xC0001000), 0x2000 | 0x221);
	CHECK_EQ(layout.tables_bytes / PAGE, 1 + 3);
}

TEST(layout__a_heap_that_needs_more_tables_gets_them)
{
	struct mote__layout_config c = stock();
	c.heap_bytes = 0x200000 - 0x6000;
	MAKES(&c);
	CHECK_EQ(layout.tables_bytes / PAGE, 7);
	c.heap_bytes++;
	MAKES(&c);
	CHECK_EQ(layout.tables_bytes / PAGE, 8);
	c.heap_bytes = 0x40000000 - 0x6000;
	c.scratch_bytes = 4u << 20;
	MAKES(&c);
	CHECK_EQ(layout.tables_bytes / PAGE, 8 + 512);
	build();
	/* Tables of 32 bits have twice the entries. */
	c = stock_of(32);
	c.heap_bytes = 0x400000 - 0x6000;
	MAKES(&c);
	CHECK_EQ(layout.tables_bytes / PAGE, 3);
	c.heap_bytes++;
	MAKES(&c);
	CHECK_EQ(layout.tables_bytes / PAGE, 4);
	build();
}

/* ---- confined -------------------------------------------------------------------------------- */

TEST(layout__a_confined_guest_has_guards_around_stack_and_heap)
{
	struct mote__layout_config c = confined();
	c.init_bytes = 0x1001;
	MAKES(&c);
	build();
	CHECK_EQ(layout.peb_gva, 0x5000);
	CHECK_EQ(layout.init_gva, 0x6000);
	CHECK_EQ(layout.stack_gva, 0x8000 + MOTE__STACK_GUARD_BYTES);
	CHECK_EQ(layout.stack_bytes, 0x40000);
	CHECK_EQ(layout.heap_gva, 0x18000 + 0x41000);
	const uint64_t guards[] = {0x8000, 0x17000, 0x58000, 0x59000 + 0x20000, 0};
	for (size_t i = 0; i < 5; i++) {
		CHECK_EQ(leaf(guards[i]), 0);
		for (uint32_t k = 0; k < layout.part_count; k++)
			CHECK(guards[i] - layout.parts[k].gva >= layout.parts[k].bytes);
	}
}

TEST(layout__pages_of_a_confined_guest_have_the_access_of_their_segments)
{
	struct mote__layout_config c = confined();
	c.init_bytes = 1;
	MAKES(&c);
	build();
	CHECK_EQ(leaf(0x1000), 1ull << 63 | 0x1000 | 0x065); /* constants */
	CHECK_EQ(leaf(0x2000), 0x2000 | 0x065);              /* code */
	CHECK_EQ(leaf(0x5000), 1ull << 63 | 0x5000 | 0x065); /* PEB */
	CHECK_EQ(leaf(0x6000), 1ull << 63 | 0x7000 | 0x065); /* init data, behind the zero page */
	CHECK_EQ(part("constants")->gva, 0x1000);
	CHECK_EQ(part("code")->gva, 0x2000);
	CHECK_EQ(part("data")->gva, 0x3000);
	CHECK_EQ(part("data")->bytes, 0x2000);
	CHECK_EQ(layout.cow_end_gva, layout.heap_gva + layout.heap_bytes + PAGE);
}

TEST(layout__nothing_of_a_confined_guest_is_writable_and_executable)
{
	struct mote__layout_config c = confined();
	c.executable_heap = true;
	c.init_bytes = 1;
	for (uint32_t access = 0; access < 8; access++) {
		c.init_access = access | MOTE_READ;
		if ((c.init_access & MOTE_WRITE) && (c.init_access & MOTE_EXECUTE)) {
			REFUSES(&c, MOTE_EINVAL,
				"init_data_access is 0x7: memory of a confined "
				"guest is not writable and executable");
			continue;
		}
		MAKES(&c);
		build();
		for (uint32_t i = 0; i < layout.part_count; i++) {
			struct mote__pt_attributes a = layout.parts[i].attributes;
			CHECK(!(a.exec && (a.writable || a.cow)));
		}
	}
}

TEST(layout__heap_and_stack_of_a_confined_guest_come_on_demand)
{
	struct mote__layout_config c = confined();
	MAKES(&c);
	build();
	CHECK_EQ(part("heap")->kind, MOTE__PART_DEMAND);
	CHECK_EQ(part("stack")->kind, MOTE__PART_DEMAND);
	for (uint64_t at = 0; at < layout.heap_bytes; at += PAGE)
		CHECK_EQ(leaf(layout.heap_gva + at), 0);
	/* But for the two pages at the stack's top. */
	for (uint64_t at = 0; at < layout.stack_bytes - 2 * PAGE; at += PAGE)
		CHECK_EQ(leaf(layout.stack_gva + at), 0);
	CHECK(leaf(layout.stack_gva + layout.stack_bytes - PAGE) != 0);
	CHECK(leaf(layout.stack_gva + layout.stack_bytes - 2 * PAGE) != 0);
}

TEST(layout__the_write_set_has_the_stack_and_the_data)
{
	struct mote__layout_config c = confined();
	MAKES(&c);
	build();
	uint64_t frames = layout.scratch_gpa + layout.frames_offset;
	CHECK_EQ(write_set.count, 4);
	CHECK_EQ(write_set.member[0].gva, layout.stack_gva + layout.stack_bytes - 2 * PAGE);
	CHECK_EQ(write_set.member[1].gva, layout.stack_gva + layout.stack_bytes - PAGE);
	CHECK_EQ(write_set.member[2].gva, 0x3000);
	CHECK_EQ(write_set.member[3].gva, 0x4000);
	CHECK_EQ(write_set.member[0].source_gpa, 0);
	CHECK_EQ(write_set.member[1].source_gpa, 0);
	CHECK_EQ(write_set.member[2].source_gpa, 0x3000);
	/* What is_zero() told. */
	CHECK_EQ(write_set.member[3].source_gpa, 0);
	for (uint32_t i = 0; i < write_set.count; i++)
		CHECK_EQ(leaf(write_set.member[i].gva), (frames + i * PAGE) | MOTE__LEAF_NEW);
}

static bool all_zero(void *cookie, uint64_t gpa)
{
	(void)cookie;
	return gpa >= layout.image_gpa + 0x3000;
}

TEST(layout__data_beyond_the_write_set_is_copied_on_write)
{
	struct mote__layout_config c =
		config_for(&(struct tiny_options){.is_confined = true, .data_bytes = 20 * PAGE});
	MAKES(&c);
	build();
	CHECK_EQ(write_set.count, MOTE__IMAGE_WRITE_SET_MAX);
	/* Ten pages of data are in the write set. */
	CHECK_EQ(leaf(0x3000 + 10 * PAGE), 1ull << 63 | (0x3000 + 10 * PAGE) | 0x265);
	CHECK_EQ(layout.cow_end_gva, layout.heap_gva + layout.heap_bytes + PAGE);
	/* Pages that are zero share one. */
	memset(tables, 0, layout.tables_bytes);
	CHECK_EQ(mote__layout_build(&layout, tables, all_zero, NULL, &write_set, &tables_used),
		 MOTE__PT_OK);
	CHECK_EQ(leaf(0x3000 + 10 * PAGE), 1ull << 63 | layout.zero_gpa | 0x265);
	CHECK_EQ(leaf(0x3000 + 19 * PAGE), 1ull << 63 | layout.zero_gpa | 0x265);
	CHECK(layout.zero_gpa + PAGE == 0x1000 + layout.snapshot_bytes);
}

TEST(layout__a_small_stack_is_in_the_write_set_as_a_whole)
{
	struct mote__layout_config c = confined();
	c.stack_bytes = PAGE;
	MAKES(&c);
	build();
	CHECK_EQ(write_set.count, 3);
	CHECK_EQ(write_set.member[0].gva, layout.stack_gva);
}

TEST(layout__system_pages_are_out_of_reach_of_ring_3)
{
	static const struct {
		unsigned page;
		uint64_t bits;
	} rows[] = {{MOTE__SYSTEM_STUB_PAGE, 0x061},
		    {MOTE__SYSTEM_TABLE_PAGE, 1ull << 63 | 0x061},
		    {MOTE__SYSTEM_IDT_PAGE, 1ull << 63 | 0x061},
		    {MOTE__SYSTEM_USER_PAGE, 0x065}};
	struct mote__layout_config c = confined();
	MAKES(&c);
	build();
	for (size_t i = 0; i < 4; i++)
		CHECK_EQ(leaf(MOTE__PAGE_GVA(rows[i].page)),
			 (MOTE__SYSTEM_GPA + rows[i].page * PAGE) | rows[i].bits);
	uint64_t scratch = layout.scratch_gpa;
	CHECK_EQ(leaf(MOTE__PAGE_GVA(MOTE__PARAMS_PAGE)),
		 1ull << 63 | (scratch + layout.params_offset) | 0x063);
	CHECK_EQ(leaf(MOTE__PAGE_GVA(MOTE__IST_PAGE)),
		 1ull << 63 | (scratch + layout.ist_offset) | 0x067);
	CHECK_EQ(leaf(MOTE__PAGE_GVA(MOTE__RUN_INFO_PAGE)),
		 1ull << 63 | (scratch + layout.run_info_offset) | 0x065);
	CHECK_EQ(leaf(layout.input_gva), 1ull << 63 | scratch | 0x065);
	CHECK_EQ(leaf(layout.output_gva), 1ull << 63 | (scratch + layout.output_offset) | 0x067);
	CHECK_EQ(leaf(layout.log_gva), 1ull << 63 | (scratch + layout.log_offset) | 0x063);
}

TEST(layout__tables_of_a_confined_guest_are_seen_through_themselves)
{
	struct mote__layout_config c = confined();
	struct mote__pt_range range;
	MAKES(&c);
	build();
	/* The page of the leaf table for gva n is SELF_GVA + 8 n, and supervisor. */
	struct mote__pt_space s = space(&range);
	struct mote__pt_translation t, data;
	CHECK_EQ(mote__pt_translate(&s, 0x3000, &data), MOTE__PT_OK);
	CHECK_EQ(mote__pt_translate(&s, MOTE__SELF_GVA + 8 * 3, &t), MOTE__PT_OK);
	CHECK_EQ(t.gpa, data.entry_gpa);
	CHECK(t.effective.writable && !t.effective.user);
	/* And the leaves of the system pages show their own table. */
	CHECK_EQ(mote__pt_translate(&s, MOTE__PAGE_GVA(MOTE__LEAVES_PAGE), &t), MOTE__PT_OK);
	uint64_t leaves = t.gpa;
	CHECK(!t.effective.user);
	CHECK_EQ(mote__pt_translate(&s, MOTE__SYSTEM_GVA, &t), MOTE__PT_OK);
	CHECK_EQ(t.entry_gpa, leaves);
}

/* The leaf tables of this part, seen through themselves: all there, and empty. */
static void check_space(const char *name)
{
	struct mote__pt_range range;
	struct mote__pt_space s = space(&range);
	const struct mote__part *p = part(name);
	uint64_t end = p->gva + p->bytes;
	for (uint64_t gva = p->gva; gva < end; gva = mote__round_up(gva + 1, 512 * PAGE)) {
		struct mote__pt_translation t;
		uint64_t entry = MOTE__SELF_GVA + gva / PAGE * 8;
		CHECK_EQ(mote__pt_translate(&s, entry, &t), MOTE__PT_OK);
		CHECK(t.effective.writable && !t.effective.user);
		CHECK_EQ(leaf(gva), 0);
	}
}

TEST(layout__all_leaf_tables_of_a_confined_guest_are_there_from_the_start)
{
	struct mote__layout_config c = confined();
	c.stack_bytes = 5u << 20;
	c.heap_bytes = (2ull << 30) + PAGE;
	c.mapping_bytes = 1ull << 30;
	MAKES(&c);
	build();
	CHECK_EQ(part("mappings")->gva, layout.mapping_gva);
	CHECK_EQ(layout.cow_end_gva, layout.mapping_gva + layout.mapping_bytes);
	check_space("stack");
	check_space("heap");
	check_space("mappings");
	CHECK_EQ(leaf(layout.mapping_gva + layout.mapping_bytes), 0);
	CHECK_EQ(leaf(layout.mapping_gva - PAGE), 0);
}

/* Tables that stay empty come last, where nothing is written: address space, not memory. */
TEST(layout__a_larger_heap_of_a_confined_guest_costs_no_memory)
{
	struct mote__layout_config c = confined();
	MAKES(&c);
	build();
	uint64_t tables_bytes = layout.tables_bytes, used = tables_used;
	uint64_t stack = layout.stack_gva, heap = layout.heap_gva;
	c.heap_bytes = 512u << 20;
	MAKES(&c);
	CHECK_EQ(layout.heap_gva, heap);
	CHECK_EQ(layout.stack_gva, stack);
	build();
	CHECK_EQ(tables_used, used);
	/* One leaf table for each 2 MiB; the first lies in one that is there. */
	CHECK_EQ(layout.tables_bytes, tables_bytes + 256 * PAGE);
	c.heap_bytes = 3ull << 30;
	MAKES(&c);
	CHECK_EQ(layout.heap_gva, heap);
	build();
	/* One table more for each GiB, and for each 2 MiB of the edit log. */
	CHECK(tables_used > used && tables_used <= used + 6 * PAGE);
	CHECK(layout.tables_bytes <= tables_bytes + (3 * 512 + 6) * PAGE);
}

TEST(layout__scratch_of_a_confined_guest_holds_all_that_it_may_touch)
{
	struct mote__layout_config c = confined();
	MAKES(&c);
	CHECK(layout.frame_count >= (layout.heap_bytes + layout.stack_bytes) / PAGE + 2);
	CHECK_EQ(layout.frames_offset + layout.frame_count * PAGE, layout.scratch_bytes);
	CHECK(layout.log_bytes >= layout.frame_count * 8);
	CHECK_EQ(layout.scratch_gpa + layout.scratch_bytes, 0x1000000000);
}

TEST(layout__scratch_of_a_confined_guest_can_be_set)
{
	struct mote__layout_config c = confined();
	c.scratch_bytes = 1u << 20;
	MAKES(&c);
	build();
	CHECK_EQ(layout.scratch_bytes, 1u << 20);
	CHECK(layout.frames_offset + layout.frame_count * PAGE <= 1u << 20);
	CHECK(layout.log_bytes >= layout.frame_count * 8);
	c.scratch_bytes = 0x1001;
	REFUSES(&c, MOTE_EINVAL, "scratch_bytes is 0x1001, no multiple of 0x1000");
	c.scratch_bytes = PAGE;
	REFUSES(&c, MOTE_ETOOBIG, "scratch_bytes is 0x1000, limits are 0x");
	/* What the message says is the least works. */
	uint64_t min = strtoull(strstr(err.message, "limits are ") + 11, NULL, 16);
	c.scratch_bytes = min;
	MAKES(&c);
	CHECK(layout.frame_count >= 16);
	c.scratch_bytes = min - PAGE;
	REFUSES(&c, MOTE_ETOOBIG, "scratch_bytes is");
	c.scratch_bytes = REGION_MAX + PAGE;
	REFUSES(&c, MOTE_ETOOBIG, "scratch_bytes is");
}

TEST(layout__limits_of_a_confined_guest_s_stack_and_heap)
{
	struct mote__layout_config c = confined();
	c.stack_bytes = PAGE - 1;
	REFUSES(&c, MOTE_EINVAL, "stack_bytes is 0xfff, limits are 0x1000 to 0x3fffff000");
	c.stack_bytes = REGION_MAX + 1;
	REFUSES(&c, MOTE_EINVAL, "stack_bytes is 0x3fffff001, limits are");
	c.stack_bytes = PAGE + 1;
	MAKES(&c);
	CHECK_EQ(layout.stack_bytes, 2 * PAGE);
	c.stack_bytes = REGION_MAX;
	REFUSES(&c, MOTE_ETOOBIG, "heap, stack, mappings and data need 0x");
	c.stack_bytes = PAGE;
	c.heap_bytes = REGION_MAX;
	REFUSES(&c, MOTE_ETOOBIG, "heap, stack, mappings and data need 0x");
	c.heap_bytes = REGION_MAX - (128u << 20);
	MAKES(&c);
	c.heap_bytes = 0;
	MAKES(&c);
	CHECK(part("heap") == NULL);
}

TEST(layout__a_fixed_confined_image_has_everything_behind_it)
{
	struct mote__layout_config c = config_for(
		&(struct tiny_options){.is_confined = true, .is_fixed = true, .base_va = 0x400000});
	MAKES(&c);
	build();
	CHECK_EQ(layout.image_gva, 0x400000);
	CHECK_EQ(layout.peb_gva, 0x404000);
	CHECK_EQ(layout.stack_gva, 0x415000);
	CHECK_EQ(leaf(0x401000), 0x2000 | 0x065);
	CHECK_EQ(leaf(0x1000), 0);
}

TEST(layout__a_confined_guest_stays_in_the_lower_half)
{
	/* Image, PEB, stack, heap and the guards around them and the mappings take 0x78000 bytes.
	 */
	const uint64_t end = 0x7FFFFFFFF000;
	struct mote__layout_config c = config_for(&(struct tiny_options){
		.is_confined = true, .is_fixed = true, .base_va = end - 0x78000});
	MAKES(&c);
	CHECK_EQ(layout.mapping_gva + PAGE, end);
	c.heap_bytes++;
	REFUSES(&c, MOTE_ETOOBIG,
		"image, stack, heap and mappings end at 0x800000000000, behind 0x7ffffffff000");
}

/* ---- both ------------------------------------------------------------------------------------ */

/* What translates is what the parts say, page by page, and nothing else does at their edges. */
static void check_parts(void)
{
	struct mote__pt_range range;
	struct mote__pt_space s = space(&range);
	for (uint32_t i = 0; i < layout.part_count; i++) {
		const struct mote__part *p = &layout.parts[i];
		bool is_data = layout.is_confined && p->attributes.cow && p->gva < layout.peb_gva;
		bool is_view = strcmp(p->name, "system leaves") == 0;
		bool is_empty = p->kind == MOTE__PART_DEMAND || p->kind == MOTE__PART_SPACE;
		for (uint64_t at = 0; at < p->bytes && !is_empty; at += PAGE) {
			struct mote__pt_translation t;
			CHECK_EQ(mote__pt_translate(&s, p->gva + at + 5, &t), MOTE__PT_OK);
			CHECK_EQ(t.effective.user, p->attributes.user);
			CHECK_EQ(t.own.exec, p->attributes.exec || layout.family->bits == 32);
			if (is_data || is_view)
				continue;
			CHECK_EQ(t.gpa, p->gpa + at + 5);
			CHECK_EQ(t.own.cow, p->attributes.cow);
			CHECK_EQ(t.own.writable, p->attributes.writable);
		}
		CHECK(i == 0 || p->gva >= layout.parts[i - 1].gva + layout.parts[i - 1].bytes);
	}
}

TEST(layout__tables_translate_as_the_parts_say)
{
	struct mote__layout_config c;
	for (const struct abi *abi = abis; abi->bits; abi++) {
		c = stock_of(abi->bits);
		c.init_bytes = 3 * PAGE + 7;
		MAKES(&c);
		build();
		check_parts();
	}
	c = confined();
	c.init_bytes = 3 * PAGE + 7;
	MAKES(&c);
	build();
	check_parts();
}

TEST(layout__tables_fit_for_random_sizes)
{
	uint64_t seed = 0x5eed0001;
	check_note("seed 0x%llx", (unsigned long long)seed);
	for (unsigned n = 0; n < 80; n++) {
		struct mote__layout_config c = n % 2 ? confined() : stock_of(n % 4 ? 64 : 32);
		c.input_bytes = 0x2000 + check_random(&seed) % 0x9000;
		c.output_bytes = 0x2000 + check_random(&seed) % 0x9000;
		c.heap_bytes = check_random(&seed) % (8u << 20);
		c.init_bytes = check_random(&seed) % (3u << 20);
		if (c.is_confined)
			c.stack_bytes = PAGE + check_random(&seed) % (4u << 20);
		if (c.is_confined && n % 4 == 1)
			c.mapping_bytes = check_random(&seed) % (64u << 20);
		if (!c.is_confined)
			c.scratch_bytes = (2u << 20) + check_random(&seed) % 512 * PAGE;
		MAKES(&c);
		build();
		check_parts();
	}
}

/* ---- images ---------------------------------------------------------------------------------- */

TEST(layout__an_image_is_found_again_in_its_layout)
{
	struct mote__layout_image there, again;
	const struct mote__layout_config c = confined();
	MAKES(&c);
	mote__layout_image_of(&elf, &there);
	mote__layout_image_again(&layout, &again);
	CHECK(there.run_count > 2);
	CHECK_EQ(there.run_count, again.run_count);
	CHECK(there.gva == again.gva && there.bytes == again.bytes);
	for (uint32_t i = 0; i < there.run_count; i++) {
		CHECK_EQ(there.runs[i].first, again.runs[i].first);
		CHECK_EQ(there.runs[i].count, again.runs[i].count);
		CHECK_EQ(there.runs[i].access, again.runs[i].access);
	}
	CHECK(layout.config.heap_bytes == c.heap_bytes && layout.config.family == c.family);
	const struct mote__layout_config s = stock();
	MAKES(&s);
	mote__layout_image_again(&layout, &again);
	CHECK(again.run_count == 0 && again.gva == layout.image_gva);
}

TEST(layout__runs_are_what_each_page_says)
{
	struct mote__layout_image runs;
	(void)confined();
	mote__layout_image_of(&elf, &runs);
	uint32_t run = 0;
	for (uint64_t page = 0; page < runs.bytes / PAGE; page++) {
		uint32_t access = mote__elf_page_access(&elf, page);
		if (run < runs.run_count && page >= runs.runs[run].first + runs.runs[run].count)
			run++;
		bool is_listed = run < runs.run_count && page >= runs.runs[run].first;
		CHECK_EQ(is_listed, access != 0);
		if (!is_listed)
			continue;
		CHECK(runs.runs[run].access & MOTE_READ);
		CHECK_EQ(!!(runs.runs[run].access & MOTE_WRITE), !!(access & MOTE__ELF_WRITE));
		CHECK_EQ(!!(runs.runs[run].access & MOTE_EXECUTE), !!(access & MOTE__ELF_EXECUTE));
	}
}

#define IMAGE_REFUSED(part_of_message, change)                                     \
	do {                                                                       \
		struct mote__layout_image bad;                                     \
		const struct mote__layout_config c = confined();                   \
		mote__layout_image_of(&elf, &bad);                                 \
		change;                                                            \
		CHECK_EQ(mote__layout_make(&c, &bad, &layout, &err), MOTE_EIMAGE); \
		CHECK_HAS(err.message, part_of_message);                           \
	} while (0)

TEST(layout__hostile_images_are_refused)
{
	IMAGE_REFUSED("bytes at 0x1001", bad.gva++);
	IMAGE_REFUSED("bytes at 0x0", bad.gva = 0);
	IMAGE_REFUSED("the image has 0x0 bytes", bad.bytes = 0);
	IMAGE_REFUSED("bytes at 0x1000: it has whole pages", bad.bytes++);
	IMAGE_REFUSED("ends at 0x800000000000 at most", bad.gva = 0x7FFFFFFFF000);
	IMAGE_REFUSED("bytes at 0xfffffffffffff000", bad.gva = ~0xFFFull);
	IMAGE_REFUSED("the image has 0xfffffffffffff000 bytes", bad.bytes = ~0xFFFull);
	IMAGE_REFUSED("has 130 runs of pages, at most 129", bad.run_count = 130);
	IMAGE_REFUSED("run 1 of the image's pages has 0x0 from", bad.runs[1].count = 0);
	IMAGE_REFUSED("run 1 of the image's pages has", bad.runs[1].first = 0);
	IMAGE_REFUSED("run 1 of the image's pages has", bad.runs[1].count = ~0ull);
	IMAGE_REFUSED("run 1 of the image's pages has", bad.runs[1].first = ~0ull);
	IMAGE_REFUSED("run 0 of the image's pages has access 0x0", bad.runs[0].access = 0);
	IMAGE_REFUSED("run 0 of the image's pages has access 0x9", bad.runs[0].access = 9);
	IMAGE_REFUSED("run 0 of the image's pages has access 0x2", bad.runs[0].access = 2);
	IMAGE_REFUSED("run 0 of the image's pages is writable and executable",
		      bad.runs[0].access = 7);
}

TEST(layout__large_leaves_and_confinement_are_of_64_bits)
{
	struct mote__layout_config c = confined();
	c.family = mote__family_find(0, 32);
	REFUSES(&c, MOTE_EINVAL, "confined guests of 32 bits are not known");
	c = stock();
	c.has_large = true;
	REFUSES(&c, MOTE_EINVAL, "stock guests of 64 bits with large leaves are not known");
}
