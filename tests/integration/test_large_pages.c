/* SPDX-License-Identifier: MIT */
/*
 * Large leaves on a real processor: constants and init data of a guest that declares them are read
 * through them, nothing writes or executes there, and snapshots keep them. Where the kernel has no
 * huge pages to give, all is the same. A stock guest's own large copy-on-write leaf is split when
 * the host writes.
 */
#define _GNU_SOURCE
#include "keep.h"

#include "vm/objects.h"

#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define BIG       0x200000ull
#define CONSTANTS 2560u /* pages */
#define MANY      40

static int stats_fd = -1; /* of the newest vCPU */
static unsigned collapses;
static int is_collapse_refused;

int __real_mote__sys_ioctl(int fd, unsigned long request, void *argument);
int __wrap_mote__sys_ioctl(int fd, unsigned long request, void *argument);
int __real_mote__sys_collapse(const void *at, uint64_t bytes);
int __wrap_mote__sys_collapse(const void *at, uint64_t bytes);

int __wrap_mote__sys_ioctl(int fd, unsigned long request, void *argument)
{
	int rc = __real_mote__sys_ioctl(fd, request, argument);
	if (request == KVM_CREATE_VCPU && rc >= 0) {
		if (stats_fd >= 0)
			(void)close(stats_fd);
		stats_fd = ioctl(rc, KVM_GET_STATS_FD, NULL);
	}
	return rc;
}

int __wrap_mote__sys_collapse(const void *at, uint64_t bytes)
{
	CHECK(bytes == BIG && (uintptr_t)at % BIG == 0);
	collapses++;
	return is_collapse_refused ? -22 : __real_mote__sys_collapse(at, bytes);
}

static void read_stats(void *to, size_t bytes, uint64_t offset)
{
	CHECK_EQ(pread(stats_fd, to, bytes, (off_t)offset), (ssize_t)bytes);
}

/* Faults of the second stage, or of the shadow (the kernel's documentation of KVM, 4.133). */
static uint64_t count_faults(void)
{
	struct kvm_stats_header header;
	struct kvm_stats_desc desc;
	char name[64];
	uint64_t value = 0;
	if (stats_fd < 0)
		check_skip("this kernel has no KVM_GET_STATS_FD");
	read_stats(&header, sizeof header, 0);
	CHECK(header.name_size <= sizeof name);
	for (uint32_t i = 0; i < header.num_desc; i++) {
		uint64_t at = header.desc_offset + i * (sizeof desc + header.name_size);
		read_stats(&desc, sizeof desc, at);
		read_stats(name, header.name_size, at + sizeof desc);
		if (strcmp(name, "pf_fixed"))
			continue;
		read_stats(&value, sizeof value, header.data_offset + desc.offset);
		return value;
	}
	check_skip("this kernel does not count pf_fixed");
}

/* ---- a guest with large leaves --------------------------------------------------------------- */

/* Word 0 of a page is its number; the rest could be entries, copy-on-write or writable. */
static uint64_t *make_data(uint64_t bytes)
{
	uint64_t *data = malloc((bytes + 7) / 8 * 8);
	CHECK(data);
	for (uint64_t i = 0; i < bytes / 8; i++)
		data[i] = i % 512 == 0 ? i / 512 : i & 0x40000 ? 0x4265 : 0x4067;
	memset((uint8_t *)data + bytes / 8 * 8, 0x5C, bytes % 8);
	return data;
}

static uint64_t *init_data;

static void open_large(struct system *s, uint64_t init_bytes, uint32_t access)
{
	init_data = make_data(init_bytes);
	OPEN(s, "large",
	     .snapshot = {.init_data = init_data,
			  .init_data_bytes = init_bytes,
			  .init_data_access = access});
}

static void close_large(struct system *s)
{
	system_close(s);
	free(init_data);
}

static unsigned level(const mote_snapshot *snapshot, uint64_t gva)
{
	struct mote__pt_translation t;
	CHECK(mote__snapshot_translate(snapshot, gva, &t));
	return t.level;
}

/* Large leaves in [gva, gva + bytes). */
static unsigned count_large(const mote_snapshot *snapshot, uint64_t gva, uint64_t bytes)
{
	unsigned count = 0;
	for (uint64_t at = gva & ~(BIG - 1); at < gva + bytes; at += BIG)
		count += at >= gva && level(snapshot, at) == 2;
	return count;
}

/* Constants and init data are what they were, and the leaves are as large. */
static void check_all(struct system *s, const mote_snapshot *snapshot, uint64_t init_bytes)
{
	static uint64_t page[512];
	const uint64_t constants = CALL_U64(s, "constants_address");
	const uint64_t init = CALL_U64(s, "init_address");
	CHECK_EQ(count_large(snapshot, constants, CONSTANTS * PAGE), 4);
	CHECK_EQ(count_large(snapshot, init, init_bytes), init_bytes / BIG);
	CHECK_EQ(CALL_U64(s, "check_constants"), 0);
	const uint64_t pages = init_bytes / PAGE;
	CHECK_EQ(CALL_U64(s, "read_pages", mote_u64(init), mote_u64(pages)),
		 pages * (pages - 1) / 2);
	for (uint64_t i = 0; i < pages; i += 97) {
		OK(s, mote_snapshot_read(snapshot, init + i * PAGE, page, PAGE, &s->err));
		CHECK_MEM(page, init_data + i * 512, PAGE);
		OK(s, mote_sandbox_read(s->sandbox, init + i * PAGE, page, PAGE, &s->err));
		CHECK_MEM(page, init_data + i * 512, PAGE);
	}
}

TEST(large_pages__init_data_of_many_sizes)
{
	static const struct {
		uint64_t bytes;
		uint32_t access;
		unsigned large;
	} rows[] = {{BIG - 1, MOTE_READ, 0},
		    {BIG, MOTE_READ, 1},
		    {BIG + 1, MOTE_READ, 1},
		    {2 * BIG + 5, MOTE_READ, 2},
		    {2 * BIG + 5, MOTE_READ | MOTE_EXECUTE, 2},
		    {2 * BIG + 5, MOTE_READ | MOTE_WRITE, 0},
		    {32 * BIG, MOTE_READ, 32}};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct system s;
		struct mote_snapshot_info info;
		uint8_t last = 0;
		open_large(&s, rows[i].bytes, rows[i].access);
		mote_snapshot_get_info(s.snapshot, &info);
		const uint64_t at = CALL_U64(&s, "init_address"), end = at + rows[i].bytes;
		CHECK_EQ(CALL_U64(&s, "init_bytes"), rows[i].bytes);
		CHECK_EQ(count_large(s.snapshot, at, rows[i].bytes), rows[i].large);
		CHECK_EQ(CALL_U64(&s, "read64", mote_u64(at)), 0);
		CHECK_EQ(CALL(&s, MOTE_U32, "read8", mote_u64(end - 1)).u32,
			 ((const uint8_t *)init_data)[rows[i].bytes - 1]);
		OK(&s, mote_snapshot_read(s.snapshot, end - 1, &last, 1, &s.err));
		CHECK_EQ(last, ((const uint8_t *)init_data)[rows[i].bytes - 1]);
		/* What is behind its last page is nothing. */
		const uint64_t behind = (end + PAGE - 1) & ~(PAGE - 1);
		FAILS(&s, MOTE_EABORT, "PageFault at 0x", MOTE_U64, "read64", mote_u64(behind));
		CHECK_EQ(s.err.fault_gva, behind);
		close_large(&s);
	}
}

TEST(large_pages__a_guest_in_ring_0_has_small_ones)
{
	struct mote_error err;
	struct system s;
	uint64_t *data = make_data(2 * BIG);
	system_open_host(&s, &(const struct system_options){.guest = "large",
							    .snapshot = {.init_data = data,
									 .init_data_bytes = 2 * BIG,
									 .ignore_extensions = 1}});
	struct mote_region r;
	for (uint32_t i = 0; mote_snapshot_get_region(s.snapshot, i, &r) == MOTE_OK; i++)
		if (r.gpa && strcmp(r.name, "scratch"))
			CHECK_EQ(count_large(s.snapshot, r.gva, r.bytes), 0);
	uint64_t word = 0;
	OK(&s, mote_snapshot_read(s.snapshot, s.snapshot->layout.init_gva + 511 * PAGE, &word, 8,
				  &err));
	CHECK_EQ(word, 511);
	system_close(&s);
	free(data);
}

/* ---- hostile accesses ------------------------------------------------------------------------ */

static void check_refused(struct system *s, const char *function, uint64_t gva)
{
	char text[64];
	struct mote_statistics before, after;
	(void)CALL_U64(s, "read64", mote_u64(gva & ~7ull)); /* the translation is cached */
	before = system_statistics(s);
	(void)snprintf(text, sizeof text, "Exception: PageFault at 0x");
	if (strcmp(function, "execute") == 0)
		FAILS(s, MOTE_EABORT, text, MOTE_VOID, function, mote_u64(gva));
	else
		FAILS(s, MOTE_EABORT, text, MOTE_VOID, function, mote_u64(gva), mote_u64(1));
	after = system_statistics(s);
	CHECK_EQ(s->err.vector, 14);
	CHECK_EQ(s->err.fault_gva, gva);
	CHECK_EQ(s->err.poisoned, 1);
	CHECK_EQ(after.frames_used, before.frames_used);
	CHECK_EQ(after.exits_memory, before.exits_memory);
}

TEST(large_pages__nothing_writes_or_executes_there)
{
	struct system s;
	open_large(&s, 3 * BIG + 5, MOTE_READ);
	(void)CALL_U64(&s, "count", mote_u64(3));
	mote_snapshot *taken = take(&s);
	const uint64_t constants = CALL_U64(&s, "constants_address");
	const uint64_t init = CALL_U64(&s, "init_address");
	const uint64_t first = (constants + BIG - 1) & ~(BIG - 1);
	const uint64_t places[] = {first,
				   first + 9 * PAGE + 8,
				   first + BIG - 8,
				   first + BIG + PAGE,
				   first + 2 * BIG + 511 * PAGE,
				   first + 3 * BIG + 3 * PAGE,
				   constants + 8,
				   init,
				   init + PAGE + 16,
				   init + BIG - 8,
				   init + BIG,
				   init + BIG + 77 * PAGE,
				   init + 3 * BIG};
	for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
		check_refused(&s, "write64", places[i]);
		restore(&s, i % 2 ? s.snapshot : taken);
		if (i % 2)
			(void)CALL_U64(&s, "count", mote_u64(3));
		CHECK_EQ(CALL_U64(&s, "count", mote_u64(0)), 3);
		check_refused(&s, "execute", places[i]);
		restore(&s, taken);
	}
	check_all(&s, taken, 3 * BIG + 5 - 5);
	mote_snapshot_unref(taken);
	close_large(&s);
}

TEST(large_pages__the_host_reads_and_does_not_write)
{
	struct system s;
	uint64_t word = 0;
	struct mote_location where;
	open_large(&s, 2 * BIG, MOTE_READ);
	const uint64_t init = CALL_U64(&s, "init_address"), end = init + 2 * BIG;
	const uint64_t places[] = {init, init + BIG - 8, init + BIG, end - 8,
				   (CALL_U64(&s, "constants_address") + BIG) & ~(BIG - 1)};
	for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
		OK(&s, mote_sandbox_read(s.sandbox, places[i], &word, 8, &s.err));
		CHECK_EQ(word, CALL_U64(&s, "read64", mote_u64(places[i])));
		CHECK_EQ(mote_sandbox_write(s.sandbox, places[i], &word, 8, &s.err), MOTE_EADDR);
		CHECK_HAS(s.err.message, "is read-only");
		CHECK_EQ(s.err.fault_gva, places[i]);
		OK(&s, mote_snapshot_locate(s.snapshot, places[i], &where));
		CHECK(where.access == MOTE_READ && where.layer == 0 && !where.is_zero);
		CHECK_EQ(where.gpa % BIG, (places[i] & ~(PAGE - 1)) % BIG);
	}
	/* Across the end: nothing is read. */
	uint8_t bytes[64];
	memset(bytes, 0x5A, sizeof bytes);
	CHECK_EQ(mote_sandbox_read(s.sandbox, end - 32, bytes, 64, &s.err), MOTE_EADDR);
	CHECK_EQ(s.err.fault_gva, end);
	CHECK_EQ(mote_snapshot_read(s.snapshot, end - 32, bytes, 64, &s.err), MOTE_EADDR);
	CHECK_EQ(s.err.fault_gva, end);
	CHECK_EQ(mote_snapshot_locate(s.snapshot, end, &where), MOTE_EADDR);
	for (size_t i = 0; i < sizeof bytes; i++)
		CHECK_EQ(bytes[i], 0x5A);
	close_large(&s);
}

/* ---- snapshots ------------------------------------------------------------------------------- */

static void check_same_digest(struct system *s, mote_snapshot *a, mote_snapshot *b)
{
	uint8_t one[MOTE_DIGEST_BYTES], two[MOTE_DIGEST_BYTES];
	OK(s, mote_snapshot_digest(a, one, &s->err));
	OK(s, mote_snapshot_digest(b, two, &s->err));
	CHECK_MEM(one, two, MOTE_DIGEST_BYTES);
}

static mote_snapshot *flatten(struct system *s, mote_snapshot *snapshot)
{
	mote_snapshot *flat = NULL;
	struct mote_snapshot_info of, info;
	OK(s, mote_snapshot_flatten(snapshot, &flat, &s->err));
	mote_snapshot_get_info(snapshot, &of);
	mote_snapshot_get_info(flat, &info);
	CHECK_EQ(info.layer_count, 1);
	check_same_digest(s, snapshot, flat);
	return flat;
}

static void check_snapshots(uint64_t init_bytes)
{
	struct system s;
	mote_snapshot *taken[MANY];
	open_large(&s, init_bytes, MOTE_READ);
	for (unsigned i = 0; i < MANY; i++) {
		CHECK_EQ(CALL_U64(&s, "count", mote_u64(1)), i + 1);
		taken[i] = take(&s);
	}
	mote_snapshot *flat = flatten(&s, taken[7]), *again = flatten(&s, flat);
	mote_snapshot *const all[] = {taken[0],        taken[MANY - 1], flat,           again,
				      taken[MANY / 2], s.snapshot,      taken[MANY - 1]};
	const uint64_t counts[] = {1, MANY, 8, 8, MANY / 2 + 1, 0, MANY};
	for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
		if (i % 3 == 2)
			fork_of(&s, all[i]);
		else
			restore(&s, all[i]);
		CHECK_EQ(CALL_U64(&s, "count", mote_u64(0)), counts[i]);
		check_all(&s, all[i], init_bytes);
		CHECK_EQ(CALL_U64(&s, "count", mote_u64(100)), counts[i] + 100);
	}
	/* A flattened one is a parent as well. */
	restore(&s, again);
	CHECK_EQ(CALL_U64(&s, "count", mote_u64(5)), 13);
	mote_snapshot *child = take(&s);
	restore(&s, child);
	check_all(&s, child, init_bytes);
	CHECK_EQ(CALL_U64(&s, "count", mote_u64(0)), 13);
	mote_snapshot_unref(child);
	mote_snapshot_unref(flat);
	mote_snapshot_unref(again);
	for (unsigned i = 0; i < MANY; i++)
		mote_snapshot_unref(taken[i]);
	close_large(&s);
}

TEST(large_pages__snapshots_keep_them)
{
	collapses = 0;
	check_snapshots(3 * BIG);
	CHECK(collapses >= 3 * 7);
}

TEST(large_pages__a_kernel_without_huge_pages)
{
	is_collapse_refused = 1;
	collapses = 0;
	check_snapshots(2 * BIG);
	is_collapse_refused = 0;
	CHECK(collapses >= 3 * 6);
}

static uint64_t stored_bytes(const mote_snapshot *snapshot)
{
	uint64_t bytes = 0;
	struct stat st;
	for (uint32_t i = 0; i < snapshot->layer_count; i++) {
		CHECK_EQ(fstat(snapshot->layer[i].object->fd, &st), 0);
		bytes += (uint64_t)st.st_blocks * 512;
	}
	return bytes;
}

/* What a flattened snapshot stores of init data with two blocks that lack pages. */
static uint64_t flat_bytes(void)
{
	struct system s;
	mote_snapshot *flat = NULL;
	init_data = make_data(4 * BIG);
	memset(init_data + 5 * 512, 0, PAGE);
	memset(init_data + 2 * BIG / 8, 0, BIG);
	OPEN(&s, "large", .snapshot = {.init_data = init_data, .init_data_bytes = 4 * BIG});
	OK(&s, mote_snapshot_flatten(s.snapshot, &flat, &s.err));
	collapses = 0;
	restore(&s, flat);
	const uint64_t init = CALL_U64(&s, "init_address");
	CHECK_EQ(CALL_U64(&s, "read64", mote_u64(init + BIG)), 512);
	CHECK_EQ(CALL_U64(&s, "read64", mote_u64(init + 4 * BIG - PAGE)), 2047);
	const uint64_t bytes = stored_bytes(flat);
	/* Reading a page that is not there may make it. */
	CHECK_EQ(CALL_U64(&s, "read64", mote_u64(init + 5 * PAGE)), 0);
	CHECK_EQ(CALL_U64(&s, "read64", mote_u64(init + 3 * BIG - 8)), 0);
	mote_snapshot_unref(flat);
	close_large(&s);
	return bytes;
}

TEST(large_pages__huge_pages_add_nothing_to_a_snapshot)
{
	is_collapse_refused = 1;
	const uint64_t small = flat_bytes();
	is_collapse_refused = 0;
	const uint64_t bytes = flat_bytes();
	CHECK_EQ(bytes, small);
	/* Three blocks less a page, and four of constants. */
	CHECK(bytes < 3 * BIG + 6 * BIG);
}

/* Faults that reading each page of the init data for the first time takes. */
static uint64_t first_touch(struct system *s, uint64_t pages)
{
	const uint64_t init = CALL_U64(s, "init_address");
	(void)CALL_U64(s, "read_pages", mote_u64(init), mote_u64(0));
	const uint64_t before = count_faults();
	(void)CALL_U64(s, "read_pages", mote_u64(init), mote_u64(pages));
	return count_faults() - before;
}

TEST(large_pages__few_faults_also_after_flattening)
{
	struct system s;
	const uint64_t bytes = 16 * BIG;
	open_large(&s, bytes, MOTE_READ);
	const uint64_t fresh = first_touch(&s, bytes / PAGE);
	(void)CALL_U64(&s, "count", mote_u64(1));
	mote_snapshot *taken = take(&s), *flat = flatten(&s, taken);
	/* No machine is used again: its faults have been taken. */
	const struct mote_engine_options options = {.size = sizeof options,
						    .pool_max = MOTE_POOL_NONE};
	OK(&s, mote_engine_create(&options, &s.engine, &s.err));
	fork_of(&s, flat);
	const uint64_t flattened = first_touch(&s, bytes / PAGE);
	fork_of(&s, taken);
	const uint64_t forked = first_touch(&s, bytes / PAGE);
	check_note("faults: %llu fresh, %llu flattened, %llu of a fork", (unsigned long long)fresh,
		   (unsigned long long)flattened, (unsigned long long)forked);
	mote_snapshot_unref(taken);
	mote_snapshot_unref(flat);
	mote_engine_unref(s.engine);
	close_large(&s);
	if (fresh >= bytes / PAGE)
		check_skip("this kernel gives no huge pages: %llu faults",
			   (unsigned long long)fresh);
	CHECK(flattened && forked && fresh <= 16 + 8 && flattened <= 16 + 8 && forked <= 16 + 8);
}

/* ---- a stock guest's own large leaf ---------------------------------------------------------- */

#define LARGE_COW (LEAF_COW | 0x80)

/* Put an entry of a level for gva into the guest's tables; those above it are there or made. */
static void map_large(struct system *s, uint64_t gva, unsigned at, uint64_t entry)
{
	uint64_t table = DO(s, "cr3_") & ADDRESS;
	for (unsigned n = 4; n > at; n--) {
		const uint64_t slot = (table & ADDRESS) + (gva >> (12 + 9 * (n - 1)) & 511) * 8;
		table = peek(s, slot + LINEAR);
		if (!(table & 1)) {
			table = DO(s, "page") | 0x23;
			poke(s, slot + LINEAR, table);
		}
	}
	poke(s, (table & ADDRESS) + (gva >> (12 + 9 * (at - 1)) & 511) * 8 + LINEAR, entry);
}

static void check_split(unsigned at, uint64_t frames)
{
	struct system s;
	uint64_t word = 0;
	KEEP(&s, .snapshot.scratch_bytes = 64 * PAGE + 0x48000);
	/* The large page is from address 0 on: memory is from the first small page behind. */
	map_large(&s, SPACE(1), at, LARGE_COW | NX);
	const uint64_t data = DO(&s, "data"), near = SPACE(1) + data;
	/* A processor may lack such large pages, but what they are split into works. */
	OK(&s, mote_sandbox_read(s.sandbox, near + PAGE + 24, &word, 8, &s.err));
	CHECK_EQ(word, 0x31);
	if (at == 2)
		CHECK_EQ(peek(&s, near + PAGE + 24), 0x31);
	const uint64_t next = peek(&s, TOP - 0x10);
	word = 0x1234;
	OK(&s, mote_sandbox_write(s.sandbox, near + 8, &word, 8, &s.err));
	CHECK_EQ(peek(&s, TOP - 0x10), next + frames * PAGE);
	CHECK(peek(&s, near + 8) == 0x1234 && peek(&s, near) == 0 && peek(&s, data + 8) == 0);
	CHECK_EQ(peek(&s, near + PAGE + 24), 0x31);
	/* Now only the page is copied. */
	word = 0x4321;
	OK(&s, mote_sandbox_write(s.sandbox, near + PAGE, &word, 8, &s.err));
	CHECK_EQ(peek(&s, TOP - 0x10), next + (frames + 1) * PAGE);
	CHECK(peek(&s, near + PAGE) == 0x4321 && peek(&s, near + PAGE + 24) == 0x31);
	mote_snapshot *a = take(&s), *flat = NULL;
	OK(&s, mote_snapshot_flatten(a, &flat, &s.err));
	for (unsigned i = 0; i < 3; i++) {
		if (i)
			restore(&s, i == 1 ? a : flat);
		CHECK(peek(&s, near + 8) == 0x1234 && peek(&s, near + PAGE) == 0x4321);
		CHECK(peek(&s, near + PAGE + 24) == 0x31 && peek(&s, data + PAGE) == 0);
	}
	restore(&s, s.snapshot);
	CHECK_EQ(peek(&s, data + PAGE), 0);
	mote_snapshot_unref(a);
	mote_snapshot_unref(flat);
	system_close(&s);
}

TEST(large_pages__the_host_splits_a_stock_guests_leaf_of_2_mib)
{
	check_split(2, 2);
}

TEST(large_pages__the_host_splits_a_stock_guests_leaf_of_1_gib)
{
	check_split(3, 3);
}
