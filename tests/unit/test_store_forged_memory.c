/* SPDX-License-Identifier: MIT */
/*
 * Forged lists of mappings, and memory of another content: digests fit, one number of the list is
 * wrong. Each is refused with a message that names the record, or the field of the header.
 */
#include "core/mappings.h"
#include "store_case.h"

static uint8_t *list;
static size_t list_bytes;

static struct mote__mappings_header *header(void)
{
	return (struct mote__mappings_header *)(void *)list;
}

static struct mote__record *record(size_t i)
{
	CHECK(i < header()->record_count);
	return (struct mote__record *)(void *)(list + sizeof(struct mote__mappings_header)) + i;
}

static void open_list(void)
{
	store_forge();
	list = forge_layer_read(&c.forge, forge_layer(&c.forge, "mappings"), &list_bytes);
	CHECK(list_bytes > sizeof(struct mote__mappings_header));
}

static void write_list(void)
{
	forge_layer_write(&c.forge, forge_layer(&c.forge, "mappings"), list, list_bytes);
	free(list);
}

static void refuse_list(const char *text, const char *what)
{
	write_list();
	store_forged(MOTE_ESTORE, text, what);
}

/* ---- header ---------------------------------------------------------------------------------- */

static void magic(void)
{
	header()->magic ^= 1;
}

static void newer(void)
{
	header()->version = 2;
}

static void no_roots(void)
{
	header()->root_count = 0;
}

static void many_roots(void)
{
	header()->root_count = MOTE_MAX_ROOTS + 1;
}

static void more_records(void)
{
	header()->record_count++;
}

static void fewer_records(void)
{
	header()->record_count--;
}

static void endless_records(void)
{
	header()->record_count = 1ull << 59; /* times 32 is 0 */
}

static void reserved(void)
{
	header()->reserved = 1;
}

/* ---- records --------------------------------------------------------------------------------- */

static void kind_0(void)
{
	record(0)->kind = 0;
}

static void kind_3(void)
{
	record(0)->kind = 3;
}

static void root_1(void)
{
	record(header()->record_count - 1)->root = 1;
}

static void unaligned_va(void)
{
	record(0)->va++;
}

static void bent_va(void)
{
	record(header()->record_count - 1)->va = 0x800000000000;
}

static void unaligned_target(void)
{
	record(0)->target++;
}

static void target_below(void)
{
	record(0)->target = 0x1000 - 4096;
	record(0)->target -= 4096; /* 0 is zeroes */
}

static void target_behind(void)
{
	record(0)->target = 0x40000000;
}

static void target_scratch(void)
{
	record(0)->target = (1ull << 36) - 0x10000;
}

static void no_pages(void)
{
	record(0)->count = 0;
}

static void endless_pages(void)
{
	record(header()->record_count - 1)->count = UINT32_MAX;
}

static void flags_8(void)
{
	record(0)->flags |= 8;
}

static void flags_high(void)
{
	record(0)->flags |= 1u << 31;
}

static void twice(void)
{
	CHECK(header()->record_count > 1);
	*record(1) = *record(0);
}

static void backwards(void)
{
	CHECK(header()->record_count > 1);
	struct mote__record first = *record(0);
	*record(0) = *record(1);
	*record(1) = first;
}

/* Pages of the first reach into the second. */
static void overlap(void)
{
	CHECK(header()->record_count > 1);
	record(0)->count = (uint32_t)((record(1)->va - record(0)->va) / 4096 + 1);
}

struct forgery {
	const char *name, *text;
	void (*forge)(void);
};
#define FORGERY(name, text)       \
	{                         \
#name, text, name \
	}

/* For both kinds of guests; a record is named by its number. */
static const struct forgery forgeries[] = {
	FORGERY(magic, "magic"),
	FORGERY(newer, "version"),
	FORGERY(no_roots, "root"),
	FORGERY(many_roots, "root"),
	FORGERY(more_records, "record"),
	FORGERY(fewer_records, "record"),
	FORGERY(reserved, "reserved"),
	FORGERY(kind_0, "record 0"),
	FORGERY(kind_3, "record 0"),
	FORGERY(root_1, "record "),
	FORGERY(unaligned_va, "record 0"),
	FORGERY(bent_va, "record "),
	FORGERY(unaligned_target, "record 0"),
	FORGERY(target_below, "record 0"),
	FORGERY(target_behind, "record 0"),
	FORGERY(target_scratch, "record 0"),
	FORGERY(no_pages, "record 0"),
	FORGERY(endless_pages, "record "),
	FORGERY(flags_8, "record 0"),
	FORGERY(flags_high, "record 0"),
	FORGERY(twice, "record 1"),
	FORGERY(backwards, "record "),
	FORGERY(overlap, "record "),
};

TEST(store_forged_memory__lists_of_mappings)
{
	for (enum store_kind kind = 0; kind < STORE_KINDS; kind++) {
		store_open(kind);
		for (size_t i = 0; i < sizeof forgeries / sizeof *forgeries; i++) {
			open_list();
			forgeries[i].forge();
			refuse_list(forgeries[i].text, forgeries[i].name);
		}
		open_list();
		endless_records();
		write_list();
		forge_close(&c.forge);
		mote_snapshot *snapshot = NULL;
		int rc = mote_snapshot_load(c.directory, NULL, &c.load, &snapshot, &c.err);
		CHECK((rc == MOTE_ETOOBIG || rc == MOTE_ESTORE) && !snapshot);
		store_close();
	}
}

/* A list must be whole: 32 bytes more that no record is, or half a record less. */
TEST(store_forged_memory__lists_of_another_size)
{
	store_open(STORE_CONFINED);
	open_list();
	uint8_t *more = calloc(1, list_bytes + 32);
	CHECK(more != NULL);
	memcpy(more, list, list_bytes);
	forge_layer_write(&c.forge, forge_layer(&c.forge, "mappings"), more, list_bytes + 32);
	free(more);
	free(list);
	store_forged(MOTE_ESTORE, "record", "32 bytes more");
	open_list();
	list_bytes -= 16;
	refuse_list("list", "16 bytes less");
	open_list();
	list_bytes = 32;
	header()->record_count = 0;
	write_list();
	forge_close(&c.forge);
	/* Nothing is mapped, not even what is called. */
	store_refused(NULL, MOTE_ESTORE, "dispatch", "no records");
	store_close();
}

/* ---- confinement ----------------------------------------------------------------------------- */

static size_t find(uint32_t with, uint32_t without)
{
	for (size_t i = 0; i < header()->record_count; i++)
		if ((record(i)->flags & with) == with && !(record(i)->flags & without))
			return i;
	check_failed(__FILE__, __LINE__, "no record with flags %u, without %u", with, without);
}

/* Number i has other flags. */
static void refuse_flags(size_t i, uint32_t flags)
{
	char text[32];
	(void)snprintf(text, sizeof text, "record %zu", i);
	record(i)->flags = flags;
	refuse_list(text, "other flags");
}

TEST(store_forged_memory__a_list_gives_no_access_that_the_layout_does_not)
{
	const uint32_t cow = MOTE__RECORD_COW, exec = MOTE__RECORD_EXEC, user = MOTE__RECORD_USER;
	for (enum store_kind kind = STORE_NEW; kind <= STORE_CONFINED; kind++) {
		store_open(kind);
		open_list();
		size_t code = find(exec, cow), data = find(cow, exec),
		       constant = find(0, cow | exec);
		refuse_flags(code, exec | user | cow);
		open_list();
		refuse_flags(code, exec); /* ring 0 */
		open_list();
		refuse_flags(data, cow | exec | user);
		open_list();
		refuse_flags(data, cow);
		open_list();
		refuse_flags(constant, cow | user);
		open_list();
		refuse_flags(constant, exec | user);
		store_close();
	}
}

/* Each must lie in one part of the guest's own. */
TEST(store_forged_memory__a_list_places_no_pages_outside)
{
	static const uint64_t outside[] = {
		0x0,                /* below the image */
		0x7fffffffe000,     /* the end of the lower half */
		0xffff800000000000, /* the library's half */
		0xfffffffffffff000,
	};
	store_open(STORE_CONFINED);
	for (size_t i = 0; i < 4; i++) {
		open_list();
		struct mote__record *last = record(header()->record_count - 1);
		struct mote__record *moved = outside[i] ? last : record(0);
		moved->va = outside[i];
		moved->count = 1;
		refuse_list("record", "outside");
	}
	/* In an unmapped gap: below the stack. */
	struct mote_region stack;
	for (uint32_t i = 0; mote_snapshot_get_region(c.snapshot, i, &stack) == MOTE_OK; i++)
		if (strcmp(stack.name, "stack") == 0)
			break;
	open_list();
	struct mote__record *moved = record(header()->record_count - 1);
	CHECK(moved->va < stack.gva);
	moved->va = stack.gva - 4096;
	moved->count = 1;
	refuse_list("record", "below the stack");
	store_close();
}

/* A link is a stock guest's. */
TEST(store_forged_memory__links)
{
	static const struct {
		uint64_t va, target;
		uint32_t owner, level;
	} links[] = {
		{0x40000000, 0, 0, 0},          /* no level */
		{0x40000000, 0, 0, 4},          /* the root */
		{0x40000000, 0, 0, 99},         /* */
		{0x40001000, 0, 0, 1},          /* not a range of a table */
		{0x40000000, 0, 7, 1},          /* no such space */
		{0x40000000, 0x40000000, 0, 1}, /* itself */
		{0x40000000, 0x80000000, 0, 1}, /* what comes later, or never */
		{0x40000000, 0x1000, 0, 1},     /* not where a table begins */
		{0x7fc000000000, 0, 0, 3},      /* over others */
		{0xffffff8000000000, 0, 0, 3},  /* over scratch */
	};
	for (enum store_kind kind = STORE_CONFINED; kind <= STORE_STOCK; kind++) {
		store_open(kind);
		for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
			open_list();
			struct mote__record *last = record(header()->record_count - 1);
			last->kind = MOTE__RECORD_LINK;
			last->va = links[i].va;
			last->target = links[i].target;
			last->count = links[i].owner;
			last->flags = links[i].level;
			refuse_list("record", "a link");
		}
		store_close();
	}
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* What a snapshot holds is the store's word; where it holds it must agree. */
TEST(store_forged_memory__sizes_agree)
{
	for (enum store_kind kind = 0; kind < STORE_KINDS; kind++) {
		size_t len;
		store_open(kind);
		store_forge();
		uint8_t *bytes = forge_layer_read(&c.forge, 0, &len);
		uint8_t *more = calloc(1, len + 4096);
		CHECK(more != NULL);
		memcpy(more, bytes, len);
		forge_layer_write(&c.forge, 0, more, len + 4096);
		store_forged(MOTE_ESTORE, "memory layer 0", "a page more");
		if (len > 4096) {
			store_forge();
			forge_layer_write(&c.forge, 0, bytes, len - 4096);
			store_forged(MOTE_ESTORE, "memory layer 0", "a page less");
		}
		free(more);
		free(bytes);
		store_close();
	}
}

TEST(store_forged_memory__the_page_of_zeroes_is_zero)
{
	size_t len;
	store_open(STORE_CONFINED);
	store_forge();
	char *text = forge_get(c.forge.config, "zeroPage");
	uint64_t gpa = strtoull(text + 1, NULL, 16);
	free(text);
	CHECK(gpa >= 0x1000);
	uint8_t *bytes = forge_layer_read(&c.forge, 0, &len);
	CHECK(gpa - 0x1000 + 4096 <= len);
	bytes[gpa - 0x1000 + 4095] = 1;
	forge_layer_write(&c.forge, 0, bytes, len);
	free(bytes);
	store_forged(MOTE_ESTORE, "zeroPage", "not zero");
	store_close();
}

/* Any byte of the documents and of the list, with digests that fit: it is refused, or it is
 * another snapshot that is as good as one. */
TEST(store_forged_memory__any_byte_of_a_list)
{
	for (enum store_kind kind = 0; kind < STORE_KINDS; kind++) {
		unsigned loaded = 0, refused = 0;
		store_open(kind);
		open_list();
		size_t bytes = list_bytes;
		write_list();
		forge_close(&c.forge);
		for (size_t at = 0; at < bytes; at++) {
			mote_snapshot *snapshot = NULL;
			open_list();
			list[at] ^= (uint8_t)(1u << at % 8);
			write_list();
			forge_close(&c.forge);
			memset(&c.err, 0, sizeof c.err);
			int rc = mote_snapshot_load(c.directory, NULL, &c.load, &snapshot, &c.err);
			if (rc == MOTE_OK) {
				uint8_t digest[MOTE_DIGEST_BYTES];
				OK(&c, mote_snapshot_digest(snapshot, digest, &c.err));
				loaded++;
			} else {
				CHECK(rc == MOTE_ESTORE || rc == MOTE_ETOOBIG);
				CHECK(!snapshot && c.err.message[0]);
				refused++;
			}
			mote_snapshot_unref(snapshot);
		}
		check_note("%u refused, %u loaded", refused, loaded);
		CHECK(refused > loaded);
		store_close();
	}
}

/* ---- large leaves ---------------------------------------------------------------------------- */

#define LARGE 0x200000ull
#define PAIRS 64u /* of a large leaf, and a page behind it that breaks the row */

static void set_config(const char *path, const char *format, unsigned long long value)
{
	char text[256];
	(void)snprintf(text, sizeof text, format, value);
	forge_set(&c.forge.config, path, text);
}

/* Code, then constants; every page of theirs has another content. */
static void forge_pairs(void)
{
	size_t len, bytes = (PAIRS + 1) * LARGE - STORE_PAGE;
	unsigned layer = forge_layer(&c.forge, "memory");
	uint8_t *old = forge_layer_read(&c.forge, layer, &len), *memory = calloc(1, bytes);
	CHECK(memory != NULL && len <= bytes);
	memcpy(memory, old, len);
	for (uint64_t at = LARGE - STORE_PAGE; at < bytes; at += STORE_PAGE)
		memcpy(memory + at, &at, sizeof at);
	forge_layer_write(&c.forge, layer, memory, bytes);
	free(memory);
	free(old);
	set_config("memory[0].bytes", "%llu", bytes);
	forge_set(&c.forge.config, "largeLeaves", "true");
	forge_set(&c.forge.config, "writeSet.pages", "[]");
	/* Not where gva and gpa are alike, so that there is room for small leaves. */
	forge_set(&c.forge.config, "image.address", "\"0x2000\"");
	set_config("image.bytes", "%llu", (2 * PAIRS + 1) * LARGE);
	set_config("image.pages",
		   "[{\"access\":5,\"count\":1,\"first\":0},"
		   "{\"access\":1,\"count\":%llu,\"first\":510}]",
		   2 * PAIRS * LARGE / STORE_PAGE);
}

static void list_pairs(void)
{
	list_bytes = sizeof *header() + (1 + 2 * PAIRS) * sizeof(struct mote__record);
	list = realloc(list, list_bytes);
	CHECK(list != NULL);
	header()->record_count = 1 + 2 * PAIRS;
	*record(0) = (struct mote__record){.kind = MOTE__RECORD_RUN,
					   .va = 0x2000,
					   .target = 0x2000,
					   .count = 1,
					   .flags = MOTE__RECORD_EXEC | MOTE__RECORD_USER};
	for (unsigned i = 0; i < PAIRS; i++) {
		*record(1 + 2 * i) = (struct mote__record){.kind = MOTE__RECORD_RUN,
							   .va = (1 + 2 * i) * LARGE,
							   .target = (1 + i) * LARGE,
							   .count = LARGE / STORE_PAGE,
							   .flags = MOTE__RECORD_USER};
		*record(2 + 2 * i) = (struct mote__record){.kind = MOTE__RECORD_RUN,
							   .va = (2 + 2 * i) * LARGE,
							   .target = 0x20000 + i * STORE_PAGE,
							   .count = 1,
							   .flags = MOTE__RECORD_USER};
	}
}

TEST(store_forged_memory__large_leaves_and_pages_in_turn_can_be_flattened)
{
	uint8_t expected[MOTE_DIGEST_BYTES], digest[MOTE_DIGEST_BYTES];
	mote_snapshot *loaded = NULL, *flat = NULL;
	store_open(STORE_NEW);
	open_list();
	list_pairs();
	write_list();
	forge_pairs();
	forge_close(&c.forge);
	OK(&c, mote_snapshot_load(c.directory, NULL, &c.load, &loaded, &c.err));
	OK(&c, mote_snapshot_flatten(loaded, &flat, &c.err));
	OK(&c, mote_snapshot_digest(loaded, expected, &c.err));
	OK(&c, mote_snapshot_digest(flat, digest, &c.err));
	CHECK_MEM(digest, expected, sizeof digest);
	mote_snapshot_unref(flat);
	mote_snapshot_unref(loaded);
	store_close();
}
