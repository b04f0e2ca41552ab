/* SPDX-License-Identifier: MIT */
/* Tables of guests that own ring 0, made of stored lists of mappings: several address spaces,
 * tables that they share, in each format; compared with what the list itself says of an address. */
#include "core/mappings.h"

#include "base/math.h"
#include "check.h"
#include "tiny_guest.h"

#include <stdlib.h>

#define PAGE ((uint64_t)MOTE_PAGE_BYTES)
#define COW  MOTE__RECORD_COW
#define EXEC MOTE__RECORD_EXEC
#define USER MOTE__RECORD_USER
#define RUN  MOTE__RECORD_RUN
#define LINK MOTE__RECORD_LINK

#define TABLES   512u
#define LIST_MAX 256u
#define ZERO     0x5000ull

static const struct mote__pt_format *const formats[] = {&mote__pt_x86_64, &mote__pt_i686,
							&mote__pt_i686_large};

static struct mote_error err;
static struct mote__layout layout;
static struct mote__mappings_header header;
static struct mote__record list[LIST_MAX];
static uint64_t roots[MOTE_MAX_ROOTS];
static uint64_t tables[TABLES * PAGE / 8];
static struct mote__pt_builder builder;
static const struct mote__pt_format *format;
static const struct mote__mapped_memory memory = {0x1000, 0x100000, ZERO};

static void begin(const struct mote__pt_format *f, uint32_t root_count)
{
	struct mote__layout_image pages;
	struct mote__elf elf;
	const struct tiny_image image =
		tiny_guest(&(struct tiny_options){.bits = f == &mote__pt_x86_64 ? 64 : 32});
	CHECK_EQ(mote__elf_parse(image.bytes, image.len, &elf, &err), MOTE_OK);
	const struct mote__layout_config config = {.family = mote__family_find(0, elf.bits),
						   .input_bytes = 0x4000,
						   .output_bytes = 0x4000,
						   .heap_bytes = 0x20000,
						   .scratch_bytes = 0x48000,
						   .init_access = MOTE_READ};
	mote__layout_image_of(&elf, &pages);
	CHECK_EQ(mote__layout_make(&config, &pages, &layout, &err), MOTE_OK);
	format = f;
	header = (struct mote__mappings_header){.magic = MOTE__MAPPINGS_MAGIC,
						.version = MOTE__MAPPINGS_VERSION,
						.root_count = root_count};
	memset(list, 0, sizeof list);
}

static int build_in(uint32_t table_count)
{
	memset(tables, 0, sizeof tables);
	memset(&err, 0, sizeof err);
	CHECK_EQ(mote__pt_builder_init(&builder, format, tables,
				       layout.scratch_gpa + layout.tables_offset,
				       table_count * PAGE),
		 MOTE__PT_OK);
	builder.is_zeroed = true;
	builder.user_tables = true;
	return mote__mappings_build_stock(&layout, &memory, list, &header, &builder, roots, &err);
}

static int build(void)
{
	return build_in(TABLES);
}

static void builds(void)
{
	if (build() != MOTE_OK)
		check_failed(__FILE__, __LINE__, "%s", err.message);
}

static void add(uint32_t root, uint64_t va, uint64_t target, uint32_t count, uint32_t flags)
{
	CHECK(header.record_count < LIST_MAX);
	list[header.record_count++] = (struct mote__record){RUN, root, va, target, count, flags};
}

static void add_link(uint32_t root, uint64_t va, uint32_t owner, uint64_t target, uint32_t level)
{
	CHECK(header.record_count < LIST_MAX);
	list[header.record_count++] = (struct mote__record){LINK, root, va, target, owner, level};
}

static bool translate(uint32_t root, uint64_t va, struct mote__pt_translation *t)
{
	const struct mote__pt_range built = mote__pt_built(&builder);
	const struct mote__pt_space space = {format, {&built, mote__pt_range_table}, roots[root]};
	return mote__pt_translate(&space, va, t) == MOTE__PT_OK;
}

/* ---- what the list itself says --------------------------------------------------------------- */

static uint64_t covered(const struct mote__record *link)
{
	return mote__pt_page_bytes(format, link->flags + 1);
}

/* The run of va in an address space, whatever tables there are; or of a table that stands there. */
static const struct mote__record *listed(uint32_t root, uint64_t va, uint64_t *gpa)
{
	for (uint64_t i = 0; i < header.record_count; i++) {
		const struct mote__record *r = &list[i];
		if (r->root != root || va < r->va)
			continue;
		if (r->kind == LINK && va - r->va < covered(r))
			return listed(r->count, r->target + (va - r->va), gpa);
		if (r->kind == RUN && va - r->va < r->count * PAGE) {
			*gpa = r->target ? r->target + (va - r->va) : ZERO;
			return r;
		}
	}
	return NULL;
}

static void check_page(uint32_t root, uint64_t va)
{
	struct mote__pt_translation t;
	uint64_t gpa = 0;
	const struct mote__record *r = listed(root, va, &gpa);
	bool is_scratch = va - layout.scratch_gva < layout.scratch_bytes;
	CHECK_EQ(translate(root, va, &t), r || is_scratch);
	if (is_scratch) {
		CHECK_EQ(t.gpa, layout.scratch_gpa + (va - layout.scratch_gva));
		CHECK(t.effective.writable && !t.effective.user);
	} else if (r) {
		CHECK_EQ(t.gpa, gpa);
		CHECK_EQ(t.level, 1);
		CHECK(!t.effective.writable);
		CHECK_EQ(t.effective.cow, !!(r->flags & COW));
		CHECK_EQ(t.effective.user, !!(r->flags & USER));
		CHECK_EQ(t.effective.exec, !!(r->flags & EXEC) || format->levels == 2);
	}
}

static bool has_roots(void)
{
	for (uint32_t i = 0; i < header.root_count; i++)
		if (roots[i] != builder.gpa + i * PAGE)
			return false;
	return true;
}

/* ---- lists by hand --------------------------------------------------------------------------- */

TEST(mappings_stock__an_empty_list_has_scratch_in_every_root)
{
	for (size_t f = 0; f < 3; f++) {
		begin(formats[f], 3);
		builds();
		CHECK(has_roots());
		for (uint32_t root = 0; root < 3; root++) {
			check_page(root, layout.scratch_gva);
			check_page(root, layout.scratch_gva + layout.scratch_bytes - PAGE);
			check_page(root, layout.scratch_gva - PAGE);
		}
	}
}

TEST(mappings_stock__each_run_is_what_its_record_says)
{
	begin(&mote__pt_x86_64, 2);
	add(0, 0x1000, 0x1000, 3, USER | EXEC);
	add(0, 0x1FF000, 0x3000, 2, COW);
	add(0, 0x7FFFFFFFF000, 0x2000, 1, COW | EXEC);
	add(0, 0xFFFFFF0000000000, 0, 3, COW | USER);
	add(1, 0, 0xFF000, 1, 0);
	builds();
	for (uint32_t root = 0; root < 2; root++)
		for (uint64_t page = 0; page < 1024; page++)
			check_page(root, page * PAGE);
	check_page(0, 0x7FFFFFFFF000);
	for (uint64_t page = 0; page < 4; page++)
		check_page(0, 0xFFFFFF0000000000 + page * PAGE);
	uint64_t gpa = 0;
	CHECK(listed(0, 0xFFFFFF0000002000, &gpa) && gpa == ZERO);
}

TEST(mappings_stock__a_link_is_one_table_in_two_places)
{
	struct mote__pt_translation a, b;
	begin(&mote__pt_x86_64, 2);
	add(0, 0x200000, 0x1000, 4, COW);
	add_link(0, 0x400000, 0, 0x200000, 1);
	add_link(0, 0x40000000, 0, 0, 2);
	add_link(1, 0, 0, 0, 3);
	builds();
	const uint64_t at[] = {0x200000, 0x400000, 0x40200000, 0x40400000};
	for (size_t i = 0; i < 4; i++)
		for (uint32_t root = 0; root < 2; root++) {
			CHECK(translate(0, 0x203000, &a) && translate(root, at[i] + 0x3000, &b));
			CHECK_EQ(a.entry_gpa, b.entry_gpa);
			check_page(root, at[i] + 0x4000);
		}
	/* Two roots, three levels below the first, two each for scratch at another entry's. */
	CHECK_EQ(builder.used, (2 + 3 + 2 * 3) * PAGE);
}

TEST(mappings_stock__a_table_beside_scratch_is_shared_with_it)
{
	for (size_t f = 0; f < 3; f++) {
		struct mote__pt_translation a, b;
		begin(formats[f], 2);
		uint64_t below = mote__pt_page_bytes(format, 2) - 1;
		uint64_t va = layout.scratch_gva - 3 * PAGE, table = va & ~below;
		add(0, va, 0x1000, 3, COW);
		add_link(1, table, 0, table, 1);
		builds();
		for (uint32_t root = 0; root < 2; root++)
			for (uint64_t at = va - PAGE; at < va + 5 * PAGE; at += PAGE)
				check_page(root, at);
		CHECK(translate(0, layout.scratch_gva, &a) && translate(1, layout.scratch_gva, &b));
		CHECK_EQ(a.entry_gpa, b.entry_gpa);
	}
}

/* ---- what is refused ------------------------------------------------------------------------- */

#define REFUSED(text)                           \
	do {                                    \
		CHECK_EQ(build(), MOTE_ESTORE); \
		CHECK_HAS(err.message, text);   \
		begin(&mote__pt_x86_64, 2);     \
	} while (0)

TEST(mappings_stock__fields_of_runs_are_checked)
{
	begin(&mote__pt_x86_64, 2);
	add(0, 0x1000, 0x1000, 1, 8);
	REFUSED("record 0: flags is 0x8, expected bits of 0x7");
	add(0, 0x1000, 0x100000, 1, COW);
	REFUSED("the memory is from 0x1000 to 0x100000");
	add(0, 0x1000, layout.scratch_gpa, 1, COW);
	REFUSED("the memory is from 0x1000 to 0x100000");
	add(0, 0x1800, 0x1000, 1, COW);
	REFUSED("record 0: va is 0x1800, expected a multiple of 0x1000");
	add(0, 0x1000, 0x1000, 0, COW);
	REFUSED("record 0: count is 0x0, expected 1 or more");
	add(2, 0x1000, 0x1000, 1, COW);
	REFUSED("record 0: root is 0x2, expected that of the record before, or a later one");
	add(0, 0x1000, 0x1000, 1, COW);
	list[0].kind = 3;
	REFUSED("record 0: kind is 0x3, expected 1 (run) or 2 (link)");
}

TEST(mappings_stock__runs_lie_in_what_is_the_guests)
{
	begin(&mote__pt_x86_64, 2);
	const uint64_t at[] = {0x800000000000,           0xFFFF7FFFFFFFF000, 0xFFFF800000000000,
			       0xFFFF80FFFFFFF000,       layout.scratch_gva, ~0xFFFull,
			       layout.scratch_gva + PAGE};
	for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
		add(0, at[i], 0x1000, 1, COW);
		REFUSED("not inside what is the guest's");
	}
	add(0, 0x7FFFFFFFF000, 0x1000, 2, COW);
	REFUSED("count is 0x2: not inside what is the guest's");
	add(0, layout.scratch_gva - PAGE, 0x1000, 2, COW);
	REFUSED("count is 0x2: not inside what is the guest's");
	add(0, ~0xFFFull, 0x1000, 2, COW);
	REFUSED("expected no more than there is behind va");
	begin(&mote__pt_i686, 1);
	add(0, 0x100000000, 0x1000, 1, COW);
	REFUSED("not inside what is the guest's");
}

TEST(mappings_stock__records_ascend)
{
	begin(&mote__pt_x86_64, 2);
	add(0, 0x1000, 0x1000, 2, COW);
	add(0, 0x2000, 0x1000, 1, COW);
	REFUSED("record 1: va is 0x2000, expected one behind the record before");
	add(1, 0x1000, 0x1000, 1, COW);
	add(0, 0x5000, 0x1000, 1, COW);
	REFUSED("record 1: root is 0x0, expected that of the record before");
	add(0, 0, 0x1000, 1, COW);
	add_link(0, 0x200000, 0, 0, 1);
	add(0, 0x3FF000, 0x1000, 1, COW);
	REFUSED("record 2: va is 0x3ff000, expected one behind the record before");
	add(0, 0, 0x1000, 1, COW);
	add(1, 0, 0x1000, 1, COW);
	builds();
}

TEST(mappings_stock__links_name_tables_that_were_listed)
{
	begin(&mote__pt_x86_64, 2);
	add(0, 0x200000, 0x1000, 1, COW);
	add_link(0, 0x400000, 0, 0x600000, 1);
	REFUSED("record 1: target is 0x600000 of root 0, which is not listed before");
	add(0, 0x200000, 0x1000, 1, COW);
	add_link(0, 0x400000, 0, 0x400000, 1);
	REFUSED("which is not listed before");
	add(0, 0x200000, 0x1000, 1, COW);
	add_link(0, 0x400000, 1, 0x200000, 1);
	REFUSED("record 1: target is 0x200000 of root 1, which is not listed before");
	add(0, 0x200000, 0x1000, 1, COW);
	add_link(0, 0x400000, UINT32_MAX, 0x200000, 1);
	REFUSED("which is not listed before");
	add(0, 0x200000, 0x1000, 1, COW);
	add_link(0, 0x400000, 0, 0, 1);
	REFUSED("record 1: target is 0x0 of root 0: there is no table of level 1");
}

TEST(mappings_stock__links_fit_their_level)
{
	begin(&mote__pt_x86_64, 2);
	const uint32_t levels[] = {0, 4, 5, 64, UINT32_MAX};
	for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
		add(0, 0, 0x1000, 1, COW);
		add_link(0, 0x8000000000, 0, 0, levels[i]);
		REFUSED("expected the level of a table below a root");
	}
	add(0, 0, 0x1000, 1, COW);
	add_link(0, 0x201000, 0, 0, 1);
	REFUSED("record 1: va is 0x201000, expected where a table of the level begins");
	add(0, 0x200000, 0x1000, 1, COW);
	add_link(0, 0x40000000, 0, 0x200000, 2);
	REFUSED("record 1: target is 0x200000, expected where a table of the level begins");
	add(0, 0, 0x1000, 1, COW);
	add(0, 0x40000000, 0x1000, 1, COW);
	add_link(0, 0x40200000, 0, 0, 1);
	builds();
	begin(&mote__pt_i686, 1);
	add(0, 0, 0x1000, 1, COW);
	add_link(0, 0x400000, 0, 0, 2);
	REFUSED("record 1: flags is 0x2, expected the level of a table below a root");
}

TEST(mappings_stock__links_stay_in_what_is_the_guests)
{
	begin(&mote__pt_x86_64, 2);
	add(0, 0, 0x1000, 1, COW);
	add_link(0, 0xFFFF800000000000, 0, 0, 3);
	REFUSED("record 1: va is 0xffff800000000000, expected a table inside what is the guest's");
	add(0, 0, 0x1000, 1, COW);
	add_link(0, 0xFFFFFF8000000000, 0, 0, 3);
	REFUSED("expected a table inside what is the guest's");
	/* The map of scratch is in the owner, but would be elsewhere. */
	add(0, 0xFFFFFF8000000000, 0x1000, 1, COW);
	add_link(1, 0, 0, 0xFFFFFF8000000000, 3);
	REFUSED("record 1: target is 0xffffff8000000000, expected a table inside what is");
	add(0, 0xFFFFFF8000000000, 0x1000, 1, COW);
	add_link(1, 0, 0, 0xFFFF800000000000, 3);
	REFUSED("expected a table inside what is the guest's");
	add(0, 0xFFFFFF8000000000, 0x1000, 1, COW);
	add_link(1, 0xFFFFFF8000000000, 0, 0xFFFFFF8000000000, 3);
	builds();
}

TEST(mappings_stock__tables_that_run_out_are_an_error_for_each_number)
{
	for (uint32_t count = 0;; count++) {
		begin(&mote__pt_x86_64, 2);
		add(0, 0x1000, 0x1000, 2, COW);
		add_link(0, 0x8000000000, 0, 0, 3);
		add(1, 0x40000000, 0x1000, 2, COW);
		int rc = build_in(count);
		if (rc == MOTE_OK) {
			CHECK_EQ(builder.used, count * PAGE);
			break;
		}
		CHECK_EQ(rc, MOTE_ESTORE);
		CHECK_HAS(err.message, "more than 0x");
		CHECK(count < 30);
	}
}

TEST(mappings_stock__the_pages_of_all_runs_are_limited)
{
	begin(&mote__pt_x86_64, 2);
	add(0, 0x1000, 0x1000, MOTE__MAPPED_MAX, COW);
	REFUSED("the memory is from");
	add(0, 0x1000, 0, 8, COW);
	add(0, 0x40000000, 0, MOTE__MAPPED_MAX - 7, COW);
	REFUSED("record 1: count is 0xfffff9, expected 1 or more, and 0x1000000 at most");
}

/* ---- random lists ---------------------------------------------------------------------------- */

#define KNOWN_MAX 512u

/* Tables that a list has so far. */
static struct {
	uint32_t root, level;
	uint64_t va;
} known[KNOWN_MAX];
static uint32_t known_count;

static void know(uint32_t root, uint64_t va, uint32_t level)
{
	va &= ~(mote__pt_page_bytes(format, level + 1) - 1);
	if (known_count < KNOWN_MAX) {
		known[known_count].root = root;
		known[known_count].level = level;
		known[known_count++].va = va;
	}
}

/* A place behind va: near, or at the beginning of a table of some level. */
static uint64_t move(uint64_t *seed, uint64_t va)
{
	uint64_t pick = check_random(seed) >> 20;
	uint32_t level = (uint32_t)(pick % (format->levels + 1));
	pick >>= 8;
	if (!level)
		return va + pick % 5 * PAGE;
	uint64_t bytes = mote__pt_page_bytes(format, level);
	va = mote__round_up(va, bytes) + pick % 3 * bytes;
	return mote__pt_canonical(format, va);
}

static bool try_link(uint64_t *seed, uint32_t root, uint64_t *va, uint32_t level)
{
	struct mote__pt_span span[2];
	uint32_t spans = mote__layout_spans(&layout, span), pick;
	uint64_t bytes = mote__pt_page_bytes(format, level + 1);
	bool is_inside = false;
	for (uint32_t i = 0; i < spans; i++)
		is_inside |= *va >= span[i].first && *va + bytes - 1 <= span[i].last &&
			     *va + bytes - 1 > *va;
	if (!known_count || !is_inside || *va % bytes)
		return false;
	pick = (uint32_t)(check_random(seed) >> 20) % known_count;
	if (known[pick].level != level || (known[pick].root == root && known[pick].va >= *va))
		return false;
	add_link(root, *va, known[pick].root, known[pick].va, level);
	know(root, *va, level);
	*va += bytes;
	return true;
}

static void random_root(uint64_t *seed, uint32_t root)
{
	uint64_t va = 0;
	for (int step = 0; step < 24; step++) {
		struct mote__pt_span span[2];
		uint32_t spans = mote__layout_spans(&layout, span);
		uint64_t pick = check_random(seed) >> 20, next = move(seed, va);
		if (next < va)
			return;
		va = next;
		if (pick % 3 == 0 &&
		    try_link(seed, root, &va, 1 + (uint32_t)(pick >> 4) % (format->levels - 1)))
			continue;
		uint32_t count = 1 + (uint32_t)(pick >> 8) % (pick % 5 ? 6 : 200);
		uint64_t last = va + count * PAGE - 1;
		for (uint32_t i = 0; i < spans; i++)
			if (va >= span[i].first && last <= span[i].last && last > va) {
				uint64_t target =
					(pick >> 20) % 4 ? 0x1000 + (pick >> 24) % 40 * PAGE : 0;
				add(root, va, target, count, (uint32_t)(pick >> 32) & 7);
				for (uint32_t level = 1; level < format->levels; level++)
					know(root, va, level);
				va = last + 1;
				break;
			}
	}
}

/* Pages that are worth a look: around both ends of everything, seen from every root. */
static void check_list(void)
{
	for (uint64_t i = 0; i < header.record_count; i++) {
		const struct mote__record *r = &list[i];
		uint64_t bytes = r->kind == RUN ? r->count * PAGE : covered(r);
		for (uint32_t root = 0; root < header.root_count; root++)
			for (uint64_t page = 0; page < 4; page++) {
				const uint64_t at[] = {r->va + page * PAGE, r->va - page * PAGE,
						       r->va + bytes - page * PAGE};
				for (size_t k = 0; k < 3; k++)
					if (mote__pt_canonical(format, at[k]) == at[k])
						check_page(root, at[k]);
			}
	}
}

static void random_list(uint64_t *seed, size_t f, uint64_t *links)
{
	begin(formats[f], 1 + (uint32_t)(check_random(seed) >> 20) % 4);
	known_count = 0;
	for (uint32_t root = 0; root < header.root_count; root++)
		random_root(seed, root);
	for (uint64_t i = 0; i < header.record_count; i++)
		*links += list[i].kind == LINK;
}

TEST(mappings_stock__random_lists_become_what_they_say)
{
	uint64_t seed = 0x5eed0032, links = 0;
	check_note("seed 0x%llx", (unsigned long long)seed);
	for (size_t round = 0; round < 300; round++) {
		random_list(&seed, round % 3, &links);
		builds();
		CHECK(has_roots());
		check_list();
	}
	CHECK(links > 300);
}

TEST(mappings_stock__random_damage_is_refused_or_harmless)
{
	uint64_t seed = 0x5eed0033, links = 0, refused = 0;
	check_note("seed 0x%llx", (unsigned long long)seed);
	for (size_t round = 0; round < 600; round++) {
		random_list(&seed, round % 3, &links);
		if (!header.record_count)
			continue;
		struct mote__record *r = &list[(check_random(&seed) >> 20) % header.record_count];
		uint64_t pick = check_random(&seed) >> 20;
		((uint64_t *)r)[pick % 4] ^= 1ull << (pick >> 8) % 64;
		int rc = build();
		CHECK(rc == MOTE_OK || rc == MOTE_ESTORE);
		CHECK(rc == MOTE_OK || err.message[0]);
		refused += rc < 0;
		/* Tables lie in their memory, whatever happened. */
		CHECK(builder.used <= builder.capacity);
	}
	CHECK(refused > 100);
}
