/* SPDX-License-Identifier: MIT */
/* What a snapshot tells about itself: the build id, regions, layers, and where pages stand. */
#define _GNU_SOURCE
#include "elf_maker.h"
#include "forked.h"
#include "world.h"

#include "core/confined.h"

#define PAGE 4096ull
/* Copy-on-write, behind the write set. */
#define COW_GVA    (TINY_DATA_GVA + 14 * PAGE)
#define DATA_PAGES 20u

static struct world w;

static void answer(struct double_machine *m, struct mote__exit *exit)
{
	if (m->step == 0)
		(void)guest_pop_call(m);
	guest_return(m, exit, mote_void());
}

static const struct double_guest good = {NULL, answer, NULL};

static void open_with(enum world_kind kind, const struct mote_snapshot_options *options)
{
	const struct tiny_options image = {.is_confined = kind == CONFINED,
					   .data_bytes = DATA_PAGES * PAGE};
	world_make_of(&w, &image, options, &good);
}

/* A ready sandbox of a confined guest. */
static void ready(void)
{
	open_with(CONFINED, NULL);
	world_sandbox(&w, NULL);
	OK(&w, mote_sandbox_start(w.sandbox, 0, &w.err));
}

static mote_snapshot *take(void)
{
	mote_snapshot *s = NULL;
	OK(&w, mote_snapshot_take(w.sandbox, NULL, &s, &w.err));
	return s;
}

static void put(uint64_t gva, uint64_t value)
{
	OK(&w, mote_sandbox_write(w.sandbox, gva, &value, sizeof value, &w.err));
}

static struct mote_region region(const mote_snapshot *s, const char *name)
{
	struct mote_region r;
	for (uint32_t i = 0; mote_snapshot_get_region(s, i, &r) == MOTE_OK; i++)
		if (strcmp(r.name, name) == 0)
			return r;
	check_failed(__FILE__, __LINE__, "no region %s", name);
}

static struct mote_location at(const mote_snapshot *s, uint64_t gva)
{
	struct mote_location l;
	memset(&l, 0x5A, sizeof l);
	CHECK_EQ(mote_snapshot_locate(s, gva, &l), MOTE_OK);
	CHECK(l.reserved[0] == 0 && l.reserved[1] == 0);
	return l;
}

static uint64_t word_at(const mote_snapshot *s, uint64_t gpa)
{
	uint64_t word;
	memcpy(&word, s->memory + gpa, sizeof word);
	return word;
}

/* ---- build id -------------------------------------------------------------------------------- */

/* A snapshot of an image whose build id has these bytes. */
static mote_snapshot *with_build_id(const void *id, size_t id_bytes)
{
	static struct elf_maker maker;
	mote_snapshot *s = NULL;
	size_t bytes;
	elf_maker_guest(&maker, 64, ET_DYN, 0);
	if (id) {
		size_t offset = elf_maker_note(&maker, 4, "GNU", 3, id, id_bytes, &bytes);
		elf_maker_header(&maker, PT_NOTE, offset, bytes)->p_align = 4;
	}
	elf_maker_finish(&maker);
	OK(&w, mote_snapshot_from_memory(maker.bytes, maker.len, NULL, &s, &w.err));
	/* The image's bytes are not kept. */
	memset(maker.bytes, 0x5A, maker.len);
	return s;
}

static struct mote_snapshot_info info_of(const mote_snapshot *s)
{
	struct mote_snapshot_info info;
	memset(&info, 0x5A, sizeof info);
	mote_snapshot_get_info(s, &info);
	CHECK_EQ(info.reserved3, 0);
	return info;
}

TEST(snapshot_info__has_the_build_id_of_the_image)
{
	static const uint8_t id[20] = {0xff, 0, 1, [19] = 0x80}, zeroes[64];
	mote_snapshot *s = with_build_id(id, sizeof id), *flat = NULL;
	struct mote_snapshot_info info = info_of(s);
	CHECK_EQ(info.build_id_bytes, 20);
	CHECK_MEM(info.build_id, id, 20);
	CHECK_MEM(info.build_id + 20, zeroes, 44);
	OK(&w, mote_snapshot_flatten(s, &flat, &w.err));
	mote_snapshot_unref(s);
	info = info_of(flat);
	CHECK_EQ(info.build_id_bytes, 20);
	CHECK_MEM(info.build_id, id, 20);
	mote_snapshot_unref(flat);
}

TEST(snapshot_info__has_a_build_id_of_at_most_64_bytes)
{
	uint8_t id[65];
	for (size_t i = 0; i < sizeof id; i++)
		id[i] = (uint8_t)(i + 1);
	mote_snapshot *s = with_build_id(id, 64);
	struct mote_snapshot_info info = info_of(s);
	CHECK_EQ(info.build_id_bytes, 64);
	CHECK_MEM(info.build_id, id, 64);
	mote_snapshot_unref(s);
	s = with_build_id(id, 1);
	info = info_of(s);
	CHECK(info.build_id_bytes == 1 && info.build_id[0] == 1 && info.build_id[1] == 0);
	mote_snapshot_unref(s);
	const struct {
		const void *id;
		size_t bytes;
	} none[] = {{id, 65}, {id, 0}, {NULL, 0}};
	for (size_t i = 0; i < 3; i++) {
		s = with_build_id(none[i].id, none[i].bytes);
		info = info_of(s);
		CHECK_EQ(info.build_id_bytes, 0);
		for (size_t k = 0; k < sizeof info.build_id; k++)
			CHECK_EQ(info.build_id[k], 0);
		mote_snapshot_unref(s);
	}
}

/* ---- regions --------------------------------------------------------------------------------- */

TEST(snapshot_info__regions_of_a_new_stock_guest_stand_where_they_appear)
{
	struct mote_region r;
	open_with(STOCK, NULL);
	const struct mote__layout *l = &w.snapshot->layout;
	for (uint32_t i = 0; mote_snapshot_get_region(w.snapshot, i, &r) == MOTE_OK; i++)
		CHECK_EQ(r.gpa, strcmp(r.name, "scratch") == 0 ? l->scratch_gpa : r.gva);
	world_free(&w);
}

TEST(snapshot_info__regions_of_a_confined_guest_stand_where_its_tables_say)
{
	struct mote__pt_translation t;
	struct mote_region r;
	open_with(CONFINED, NULL);
	for (uint32_t i = 0; mote_snapshot_get_region(w.snapshot, i, &r) == MOTE_OK; i++) {
		bool has_page = mote__snapshot_translate(w.snapshot, r.gva, &t);
		CHECK_EQ(r.gpa, has_page ? t.gpa : 0);
		CHECK_EQ(has_page, !r.is_demand);
	}
	/* The first page of data is a frame from the start, those of code are the image's. */
	const struct mote__layout *l = &w.snapshot->layout;
	CHECK(region(w.snapshot, "data").gpa >= l->scratch_gpa + l->frames_offset);
	CHECK_EQ(region(w.snapshot, "code").gpa, TINY_CODE_GVA);
	CHECK_EQ(region(w.snapshot, "input buffer").gpa, l->scratch_gpa);
	world_free(&w);
}

TEST(snapshot_info__system_leaves_are_the_table_of_the_library_s_pages)
{
	uint64_t offset;
	open_with(CONFINED, NULL);
	const struct mote__layout *l = &w.snapshot->layout;
	CHECK(mote__snapshot_leaf(w.snapshot, MOTE__PAGE_GVA(0), &offset));
	CHECK_EQ(region(w.snapshot, "system leaves").gpa,
		 l->scratch_gpa + l->tables_offset + offset / PAGE * PAGE);
	/* The window shows a page that the guest may read until a copy is made through it. */
	CHECK_EQ(region(w.snapshot, "copy window").gpa, region(w.snapshot, "run info").gpa);
	world_free(&w);
}

TEST(snapshot_info__a_region_stands_elsewhere_once_it_was_written)
{
	ready();
	const uint64_t data = region(w.snapshot, "data").gva;
	const uint64_t heap = region(w.snapshot, "heap").gva;
	CHECK_EQ(region(w.snapshot, "heap").gpa, 0);
	put(data, 0x1111);
	put(heap, 0x2222);
	mote_snapshot *s = take();
	struct mote_layer layer;
	CHECK_EQ(mote_snapshot_get_layer(s, 1, &layer), MOTE_OK);
	const struct mote_region d = region(s, "data"), h = region(s, "heap");
	CHECK(d.gpa - layer.gpa < layer.bytes && h.gpa - layer.gpa < layer.bytes);
	CHECK_EQ(word_at(s, d.gpa), 0x1111);
	CHECK_EQ(word_at(s, h.gpa), 0x2222);
	CHECK(d.gva == data && h.gva == heap && h.is_demand && d.is_cow);
	CHECK_EQ(region(s, "code").gpa, region(w.snapshot, "code").gpa);
	/* The parent is as it was. */
	CHECK_EQ(region(w.snapshot, "heap").gpa, 0);
	mote_snapshot_unref(s);
	world_free(&w);
}

TEST(snapshot_info__a_heap_of_which_a_later_page_was_written_has_no_first_page)
{
	ready();
	const uint64_t heap = region(w.snapshot, "heap").gva;
	put(heap + 3 * PAGE, 1);
	mote_snapshot *s = take();
	CHECK_EQ(region(s, "heap").gpa, 0);
	CHECK_EQ(at(s, heap + 3 * PAGE).layer, 1);
	mote_snapshot_unref(s);
	world_free(&w);
}

/* ---- layers ---------------------------------------------------------------------------------- */

TEST(snapshot_info__layers_are_numbered_from_the_oldest)
{
	struct mote_layer a, b, c;
	ready();
	put(COW_GVA, 1);
	mote_snapshot *child = take();
	CHECK_EQ(info_of(child).layer_count, 2);
	CHECK_EQ(mote_snapshot_get_layer(w.snapshot, 0, &a), MOTE_OK);
	CHECK_EQ(mote_snapshot_get_layer(child, 0, &b), MOTE_OK);
	CHECK_EQ(mote_snapshot_get_layer(child, 1, &c), MOTE_OK);
	CHECK(a.id == b.id && a.gpa == b.gpa && a.bytes == b.bytes && c.id != a.id);
	CHECK(c.gpa >= a.gpa + a.bytes && c.bytes == PAGE);
	memset(&c, 0x5A, sizeof c);
	b = c;
	CHECK_EQ(mote_snapshot_get_layer(child, 2, &c), MOTE_EINVAL);
	CHECK_EQ(mote_snapshot_get_layer(child, UINT32_MAX, &c), MOTE_EINVAL);
	CHECK_MEM(&b, &c, sizeof b);
	mote_snapshot_unref(child);
	world_free(&w);
}

/* ---- pages ----------------------------------------------------------------------------------- */

/* Where there is a page its bytes can be read, and they are those of the place that is told. */
static uint32_t check_pages(const mote_snapshot *s, uint64_t gva, uint64_t bytes)
{
	static const uint8_t zeroes[PAGE];
	uint8_t page[PAGE];
	uint32_t found = 0;
	for (uint64_t i = 0; i < bytes; i += PAGE) {
		struct mote_location l;
		struct mote_layer layer;
		int rc = mote_snapshot_locate(s, gva + i, &l);
		CHECK_EQ(mote_snapshot_read(s, gva + i, page, PAGE, NULL), rc);
		if (rc != MOTE_OK)
			continue;
		found++;
		CHECK(l.access & MOTE_READ);
		CHECK_EQ(l.gpa == 0, l.layer == MOTE_NO_LAYER);
		CHECK_MEM(page, l.gpa ? s->memory + l.gpa : zeroes, PAGE);
		CHECK(!l.is_zero || memcmp(page, zeroes, PAGE) == 0);
		if (l.gpa == 0) {
			CHECK(l.is_zero);
			continue;
		}
		CHECK_EQ(mote_snapshot_get_layer(s, l.layer, &layer), MOTE_OK);
		CHECK(l.gpa % PAGE == 0 && l.gpa - layer.gpa < layer.bytes);
	}
	return found;
}

static void check_regions(const mote_snapshot *s)
{
	struct mote_region r;
	for (uint32_t i = 0; mote_snapshot_get_region(s, i, &r) == MOTE_OK; i++) {
		uint32_t found = check_pages(s, r.gva, r.bytes);
		bool is_guests = r.gva < 1ull << 47;
		CHECK_EQ(found, is_guests ? r.bytes / PAGE : 0);
	}
}

TEST_BOTH(snapshot_info__pages_are_where_they_are_read)
{
	const struct mote_snapshot_options o = {
		.size = sizeof o, .init_data = "x", .init_data_bytes = 1};
	open_with(kind, &o);
	check_regions(w.snapshot);
	world_free(&w);
}

TEST(snapshot_info__pages_of_children_are_where_they_are_read)
{
	mote_snapshot *s[4], *flat = NULL;
	ready();
	const uint64_t heap = region(w.snapshot, "heap").gva;
	const struct mote_region stack = region(w.snapshot, "stack");
	for (uint32_t i = 0; i < 4; i++) {
		put(COW_GVA + i * PAGE, i + 1);
		put(heap + (4 + i) * PAGE, i + 1);
		put(stack.gva + stack.bytes - 8, i + 1);
		s[i] = take();
	}
	OK(&w, mote_snapshot_flatten(s[3], &flat, &w.err));
	for (uint32_t i = 0; i < 4; i++)
		check_regions(s[i]);
	check_regions(flat);
	CHECK_EQ(info_of(flat).layer_count, 1);
	CHECK_EQ(at(s[3], stack.gva + stack.bytes - 1).layer, 4);
	CHECK_EQ(at(s[3], COW_GVA + PAGE).layer, 2);
	CHECK_EQ(at(s[3], COW_GVA).gpa, at(s[0], COW_GVA).gpa);
	CHECK_EQ(at(s[0], COW_GVA + PAGE).layer, 0);
	for (uint32_t i = 0; i < 4; i++)
		mote_snapshot_unref(s[i]);
	mote_snapshot_unref(flat);
	world_free(&w);
}

TEST(snapshot_info__a_page_of_the_write_set_is_where_it_is_filled_from)
{
	open_with(CONFINED, NULL);
	const struct mote__members *m = &w.snapshot->write_set;
	CHECK(m->fixed > 0);
	for (uint32_t i = 0; i < m->fixed; i++) {
		const struct mote_location l = at(w.snapshot, m->member[i].gva);
		CHECK_EQ(l.gpa, m->member[i].source_gpa);
		CHECK_EQ(l.access, MOTE_READ | MOTE_WRITE);
		CHECK(l.gpa || (l.is_zero && l.layer == MOTE_NO_LAYER));
	}
	CHECK_EQ(at(w.snapshot, TINY_DATA_GVA).gpa, TINY_DATA_GVA);
	CHECK_EQ(at(w.snapshot, TINY_DATA_GVA).is_zero, 0);
	world_free(&w);
}

TEST(snapshot_info__learned_members_change_no_place)
{
	ready();
	const struct mote_location before = at(w.snapshot, COW_GVA);
	put(COW_GVA, 7);
	OK(&w, mote_sandbox_restore(w.sandbox, w.snapshot, NULL, &w.err));
	const struct mote_location after = at(w.snapshot, COW_GVA);
	CHECK_MEM(&before, &after, sizeof before);
	world_free(&w);
}

TEST(snapshot_info__tells_what_the_guest_may_do_with_a_page)
{
	open_with(CONFINED, NULL);
	CHECK_EQ(at(w.snapshot, TINY_GVA).access, MOTE_READ);
	CHECK_EQ(at(w.snapshot, TINY_CODE_GVA).access, MOTE_READ | MOTE_EXECUTE);
	CHECK_EQ(at(w.snapshot, COW_GVA).access, MOTE_READ | MOTE_WRITE);
	CHECK_EQ(at(w.snapshot, region(w.snapshot, "heap").gva).access, MOTE_READ | MOTE_WRITE);
	CHECK_EQ(at(w.snapshot, region(w.snapshot, "PEB").gva).access, MOTE_READ);
	world_free(&w);
}

TEST(snapshot_info__any_address_in_a_page_is_that_page)
{
	open_with(CONFINED, NULL);
	const struct mote_location first = at(w.snapshot, TINY_CODE_GVA);
	const struct mote_location last = at(w.snapshot, TINY_CODE_GVA + PAGE - 1);
	CHECK_MEM(&first, &last, sizeof first);
	CHECK_EQ(first.gpa, TINY_CODE_GVA);
	world_free(&w);
}

TEST(snapshot_info__pages_of_zeroes_are_stored_once_or_not_at_all)
{
	ready();
	const uint64_t heap = region(w.snapshot, "heap").gva;
	/* The image has nothing behind its first page of data. */
	const struct mote_location first = at(w.snapshot, COW_GVA);
	CHECK(first.is_zero && first.layer == 0 && first.gpa);
	CHECK_EQ(at(w.snapshot, COW_GVA + PAGE).gpa, first.gpa);
	put(COW_GVA, 1);
	put(heap, 1);
	mote_snapshot *a = take();
	CHECK(!at(a, COW_GVA).is_zero && !at(a, heap).is_zero);
	put(COW_GVA, 0);
	put(heap, 0);
	mote_snapshot *b = take();
	CHECK(at(b, COW_GVA).is_zero && at(b, COW_GVA).gpa == first.gpa);
	CHECK(at(b, heap).is_zero && at(b, heap).gpa == 0 && at(b, heap).layer == MOTE_NO_LAYER);
	mote_snapshot_unref(a);
	mote_snapshot_unref(b);
	world_free(&w);
}

TEST(snapshot_info__nothing_is_located_outside_the_guest_s_memory)
{
	const struct mote_snapshot_options o = {.size = sizeof o, .mapping_bytes = 4 * PAGE};
	open_with(CONFINED, &o);
	const struct mote_region stack = region(w.snapshot, "stack");
	const uint64_t bad[] = {0,
				PAGE - 1,
				stack.gva - 1,
				stack.gva + stack.bytes,
				region(w.snapshot, "mappings").gva,
				region(w.snapshot, "parameters").gva,
				region(w.snapshot, "ring-0 code").gva,
				region(w.snapshot, "output buffer").gva,
				region(w.snapshot, "copy window").gva,
				1ull << 47,
				UINT64_MAX - PAGE,
				UINT64_MAX};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct mote_location l, before;
		memset(&l, 0x5A, sizeof l);
		before = l;
		CHECK_EQ(mote_snapshot_locate(w.snapshot, bad[i], &l), MOTE_EADDR);
		CHECK_MEM(&before, &l, sizeof l);
	}
	world_free(&w);
}

/* ---- after fork() ---------------------------------------------------------------------------- */

static int look(void *cookie)
{
	mote_snapshot *s = cookie;
	struct mote_region r;
	struct mote_location l;
	if (mote_snapshot_locate(s, TINY_CODE_GVA, &l) != MOTE_ESTATE)
		return 1;
	return mote_snapshot_get_region(s, 0, &r) == MOTE_ESTATE ? 0 : 2;
}

TEST(snapshot_info__a_child_process_is_told_so)
{
	open_with(CONFINED, NULL);
	CHECK_EQ(forked_run(look, w.snapshot), 0);
	world_free(&w);
}
