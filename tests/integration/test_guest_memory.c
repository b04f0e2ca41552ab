/* SPDX-License-Identifier: MIT */
/*
 * Guest memory from both sides: what the host writes is seen by the guest, at once and also where
 * it had read the page before; what the guest took and wrote is seen by the host; limits hold.
 */
#define _GNU_SOURCE
#include "system.h"

#include <stdio.h>
#include <stdlib.h>

#define PAGE 4096ull
#define MIB  (1ull << 20)

static struct mote_region region(struct system *s, const char *name)
{
	struct mote_region r;
	for (uint32_t i = 0; mote_snapshot_get_region(s->snapshot, i, &r) == MOTE_OK; i++)
		if (!strcmp(r.name, name))
			return r;
	check_failed(__FILE__, __LINE__, "no region %s", name);
}

static void put(struct system *s, uint64_t gva, uint64_t value)
{
	OK(s, mote_sandbox_write(s->sandbox, gva, &value, sizeof value, &s->err));
}

static uint64_t get(struct system *s, uint64_t gva)
{
	uint64_t value = 0;
	OK(s, mote_sandbox_read(s->sandbox, gva, &value, sizeof value, &s->err));
	return value;
}

static uint64_t seen(struct system *s, uint64_t gva)
{
	return CALL_U64(s, "read64", mote_u64(gva));
}

/* ---- host and guest -------------------------------------------------------------------------- */

TEST(guest_memory__the_host_sees_what_the_guest_wrote)
{
	struct system s;
	OPEN(&s, "sys_memory", .snapshot.heap_bytes = MIB);
	const uint64_t places[] = {CALL_U64(&s, "data_address") + 20 * PAGE,
				   CALL_U64(&s, "zeroes_address") + 20 * PAGE,
				   region(&s, "heap").gva + 100 * PAGE,
				   region(&s, "stack").gva + 8};
	for (size_t i = 0; i < 4; i++) {
		CHECK_EQ(get(&s, places[i]), 0);
		CALL_VOID(&s, "write64", mote_u64(places[i]), mote_u64(0x1111 * (i + 1)));
		CHECK_EQ(get(&s, places[i]), 0x1111 * (i + 1));
		CALL_VOID(&s, "write64", mote_u64(places[i]), mote_u64(5));
		CHECK_EQ(get(&s, places[i]), 5);
	}
	CHECK_EQ(get(&s, CALL_U64(&s, "constants_address")), 7);
	system_close(&s);
}

/* Pages that the guest has read are in its translations: on software KVM a stale one would show. */
static void check_write_after(struct system *s, uint64_t gva, unsigned touched)
{
	if (touched)
		CHECK_EQ(seen(s, gva), 0);
	for (uint64_t value = 1; value <= 3; value++) {
		put(s, gva, value * 0x101);
		CHECK_EQ(seen(s, gva), value * 0x101);
		CHECK_EQ(get(s, gva), value * 0x101);
		CALL_VOID(s, "write64", mote_u64(gva), mote_u64(value * 0x303));
		CHECK_EQ(get(s, gva), value * 0x303);
	}
	/* The rest of the page was kept. */
	CHECK_EQ(seen(s, gva + 8), 0);
}

TEST(guest_memory__the_guest_sees_what_the_host_wrote)
{
	struct system s;
	OPEN(&s, "sys_memory", .snapshot = {.heap_bytes = 16 * MIB, .stack_bytes = MIB});
	const uint64_t data = CALL_U64(&s, "data_address"), heap = region(&s, "heap").gva;
	const uint64_t zeroes = CALL_U64(&s, "zeroes_address"), stack = region(&s, "stack").gva;
	for (unsigned touched = 0; touched < 2; touched++) {
		const uint64_t more = touched * PAGE;
		check_write_after(&s, data + 20 * PAGE + more, touched);
		check_write_after(&s, zeroes + 20 * PAGE + more, touched);
		check_write_after(&s, heap + 9 * PAGE + more, touched);
		check_write_after(&s, heap + (8 + touched * 4ull) * MIB, touched); /* no table */
		check_write_after(&s, stack + more, touched);
	}
	system_close(&s);
}

TEST(guest_memory__a_new_sandbox_can_be_written_before_it_runs)
{
	struct system s;
	OPEN(&s, "sys_memory", .snapshot.heap_bytes = MIB);
	const uint64_t data = CALL_U64(&s, "data_address"), heap = region(&s, "heap").gva;
	system_again(&s);
	CHECK_EQ(mote_sandbox_state(s.sandbox), MOTE_STATE_NEW);
	for (uint64_t i = 0; i < 64; i += 9)
		put(&s, data + i * PAGE + 512, i + 1);
	put(&s, heap + MIB - 8, 77);
	CHECK_EQ(mote_sandbox_state(s.sandbox), MOTE_STATE_NEW);
	for (uint64_t i = 0; i < 64; i += 9)
		CHECK_EQ(seen(&s, data + i * PAGE + 512), i + 1);
	CHECK_EQ(seen(&s, heap + MIB - 8), 77);
	CHECK_EQ(seen(&s, data), 1);
	system_again(&s);
	CHECK_EQ(get(&s, data + 512), 0);
	system_close(&s);
}

TEST(guest_memory__ranges_cross_pages_of_every_kind)
{
	struct system s;
	static uint8_t out[40 * PAGE], in[40 * PAGE];
	uint64_t state = 88172645463325252;
	OPEN(&s, "sys_memory", .snapshot.heap_bytes = MIB);
	const uint64_t data = CALL_U64(&s, "data_address"), heap = region(&s, "heap").gva;
	/* Touched, untouched and copied pages alternate. */
	for (uint64_t i = 0; i < 60; i += 3) {
		(void)seen(&s, data + i * PAGE);
		CALL_VOID(&s, "write64", mote_u64(heap + i * PAGE), mote_u64(i));
	}
	for (size_t i = 0; i < sizeof out; i++)
		out[i] = (uint8_t)check_random(&state);
	const uint64_t places[] = {data + 3 * PAGE + 17, heap + 5 * PAGE + 4095};
	for (size_t i = 0; i < 2; i++) {
		OK(&s, mote_sandbox_write(s.sandbox, places[i], out, sizeof out, &s.err));
		OK(&s, mote_sandbox_read(s.sandbox, places[i], in, sizeof in, &s.err));
		CHECK_MEM(in, out, sizeof in);
		uint64_t word;
		for (uint64_t at = 0; at + 8 <= sizeof out; at += 5003) {
			memcpy(&word, out + at, 8);
			CHECK_EQ(seen(&s, places[i] + at), word);
		}
	}
	system_close(&s);
}

TEST(guest_memory__nothing_is_written_unless_all_can_be)
{
	struct system s;
	static uint8_t bytes[4 * PAGE];
	OPEN(&s, "sys_memory", .snapshot.heap_bytes = MIB);
	const uint64_t end = region(&s, "heap").gva + MIB;
	memset(bytes, 'x', sizeof bytes);
	OK(&s, mote_sandbox_start(s.sandbox, 0, &s.err));
	const uint64_t frames = system_statistics(&s).frames_used;
	CHECK_EQ(mote_sandbox_write(s.sandbox, end - 2 * PAGE, bytes, sizeof bytes, &s.err),
		 MOTE_EADDR);
	CHECK_EQ(s.err.fault_gva, end);
	CHECK_HAS(s.err.message, " is not mapped");
	CHECK_EQ(system_statistics(&s).frames_used, frames);
	CHECK_EQ(get(&s, end - 2 * PAGE), 0);
	memset(bytes, 'y', sizeof bytes);
	CHECK_EQ(mote_sandbox_read(s.sandbox, end - 2 * PAGE, bytes, sizeof bytes, &s.err),
		 MOTE_EADDR);
	for (size_t i = 0; i < sizeof bytes; i++)
		CHECK_EQ(bytes[i], 'y');
	CHECK_EQ(mote_sandbox_state(s.sandbox), MOTE_STATE_READY);
	system_close(&s);
}

TEST(guest_memory__read_only_and_unmapped_memory_is_refused)
{
	struct system s;
	OPEN(&s, "sys_memory", .snapshot = {.init_data = "x", .init_data_bytes = 1});
	static const char *const read_only[] = {"code",      "constants", "PEB",
						"init data", "run info",  "input buffer"};
	for (size_t i = 0; i < sizeof read_only / sizeof *read_only; i++) {
		const uint64_t gva = region(&s, read_only[i]).gva;
		(void)get(&s, gva);
		CHECK_EQ(mote_sandbox_write(s.sandbox, gva, "x", 1, &s.err), MOTE_EADDR);
		CHECK_HAS(s.err.message, " is read-only");
		CHECK_EQ(s.err.fault_gva, gva);
	}
	static const uint64_t nowhere[] = {
		0, 8, 0x7FFFFFFFF000, 1ull << 47, 1ull << 63, 0xFFFFFFFFFFFFF000, UINT64_MAX};
	uint8_t byte;
	for (size_t i = 0; i < sizeof nowhere / sizeof *nowhere; i++) {
		CHECK_EQ(mote_sandbox_read(s.sandbox, nowhere[i], &byte, 1, &s.err), MOTE_EADDR);
		CHECK_EQ(mote_sandbox_write(s.sandbox, nowhere[i], &byte, 1, &s.err), MOTE_EADDR);
		CHECK_EQ(s.err.fault_gva, nowhere[i]);
	}
	CHECK_EQ(mote_sandbox_read(s.sandbox, UINT64_MAX, &byte, 2, &s.err), MOTE_EADDR);
	CHECK_EQ(mote_sandbox_read(s.sandbox, 0, &byte, (1ull << 32) + 1, &s.err), MOTE_EINVAL);
	OK(&s, mote_sandbox_read(s.sandbox, 0, NULL, 0, &s.err));
	OK(&s, mote_sandbox_write(s.sandbox, 0, NULL, 0, &s.err));
	system_close(&s);
}

TEST(guest_memory__a_poisoned_sandbox_can_be_read_not_written)
{
	struct system s;
	OPEN(&s, "sys_memory", .snapshot.heap_bytes = MIB);
	const uint64_t data = CALL_U64(&s, "data_address"), heap = region(&s, "heap").gva;
	CALL_VOID(&s, "write64", mote_u64(data + 30 * PAGE), mote_u64(31));
	CALL_VOID(&s, "write64", mote_u64(heap), mote_u64(32));
	FAILS(&s, MOTE_EABORT, "null page", MOTE_U64, "read64", mote_u64(0));
	CHECK_EQ(get(&s, data + 30 * PAGE), 31);
	CHECK_EQ(get(&s, heap), 32);
	CHECK_EQ(get(&s, heap + PAGE), 0);
	CHECK_EQ(mote_sandbox_write(s.sandbox, heap, "x", 1, &s.err), MOTE_ESTATE);
	system_close(&s);
}

TEST(guest_memory__sandboxes_of_a_snapshot_share_nothing_written)
{
	struct system a, b;
	OPEN(&a, "sys_memory", .snapshot.heap_bytes = MIB);
	memset(&b, 0, sizeof b);
	b = a;
	OK(&b, mote_sandbox_create(a.engine, a.snapshot, a.host, NULL, &b.sandbox, &b.err));
	const uint64_t data = CALL_U64(&a, "data_address");
	for (uint64_t i = 0; i < 64; i++) {
		CALL_VOID(&a, "write64", mote_u64(data + i * PAGE + 64), mote_u64(i + 1));
		CHECK_EQ(seen(&b, data + i * PAGE + 64), 0);
		put(&b, data + i * PAGE + 64, 1000 + i);
	}
	for (uint64_t i = 0; i < 64; i++) {
		CHECK_EQ(seen(&a, data + i * PAGE + 64), i + 1);
		CHECK_EQ(seen(&b, data + i * PAGE + 64), 1000 + i);
	}
	mote_sandbox_destroy(b.sandbox);
	system_close(&a);
}

TEST(guest_memory__copies_hold_what_the_page_held)
{
	struct system s;
	OPEN(&s, "sys_memory");
	const uint64_t data = CALL_U64(&s, "data_address");
	/* All in one call: nothing but the guest's own code between two copies. */
	CALL_VOID(&s, "write_pages", mote_u64(data), mote_u64(64), mote_u64(5));
	for (uint64_t i = 0; i < 64; i++) {
		CHECK_EQ(get(&s, data + i * PAGE + 4088), 1000 + i);
		CHECK_EQ(get(&s, data + i * PAGE + i * 7 % 512 * 8), 5 + i);
	}
	system_close(&s);
}

TEST(guest_memory__executing_a_page_that_could_be_copied_copies_nothing)
{
	struct system s;
	OPEN(&s, "sys_memory");
	const uint64_t page = CALL_U64(&s, "data_address") + 50 * PAGE;
	(void)seen(&s, page);
	const uint64_t frames = system_statistics(&s).frames_used;
	FAILS(&s, MOTE_EABORT, ", executing 0x", MOTE_VOID, "execute", mote_u64(page));
	CHECK_EQ(s.err.fault_gva, page);
	CHECK_EQ(system_statistics(&s).frames_used, frames);
	system_close(&s);
}

/* ---- sizes ----------------------------------------------------------------------------------- */

TEST(guest_memory__forty_mebibytes_of_heap_are_taken_in_steps)
{
	struct system s;
	OPEN(&s, "sys_memory", .snapshot.heap_bytes = 64 * MIB);
	const uint64_t heap = region(&s, "heap").gva, pages = 40 * MIB / PAGE;
	CALL_VOID(&s, "write_pages", mote_u64(heap), mote_u64(pages), mote_u64(500));
	const struct mote_statistics statistics = system_statistics(&s);
	check_note("%llu frames, %llu exits for more", (unsigned long long)statistics.frames_used,
		   (unsigned long long)statistics.exits_memory);
	CHECK(statistics.frames_used > pages && statistics.frames_used < pages + 200);
	CHECK(statistics.exits_memory >= 1 && statistics.exits_memory <= 3);
	CHECK_EQ(CALL_U64(&s, "check_pages", mote_u64(heap), mote_u64(pages), mote_u64(500)), 0);
	/* The host reads and writes behind the first part, too. */
	const uint64_t last = heap + (pages - 1) * PAGE + (pages - 1) * 7 % 512 * 8;
	CHECK_EQ(get(&s, last), 500 + pages - 1);
	put(&s, last, 9);
	CHECK_EQ(seen(&s, last), 9);
	put(&s, heap + 60 * MIB, 8);
	CHECK_EQ(seen(&s, heap + 60 * MIB), 8);
	system_close(&s);
}

TEST(guest_memory__the_host_alone_can_fill_more_than_the_first_part)
{
	struct system s;
	OPEN(&s, "sys_memory", .snapshot.heap_bytes = 24 * MIB);
	const uint64_t heap = region(&s, "heap").gva;
	uint8_t *bytes = calloc(1, 20 * MIB);
	CHECK(bytes);
	for (uint64_t i = 0; i < 20 * MIB / PAGE; i++)
		memcpy(bytes + i * PAGE + i * 7 % 512 * 8, &(uint64_t){i + 3}, 8);
	OK(&s, mote_sandbox_write(s.sandbox, heap, bytes, 20 * MIB, &s.err));
	free(bytes);
	CHECK_EQ(
		CALL_U64(&s, "check_pages", mote_u64(heap), mote_u64(20 * MIB / PAGE), mote_u64(3)),
		0);
	system_close(&s);
}

static uint64_t resident_bytes(void)
{
	/* Counted now, page by page; statm may lag behind by as much as is looked for here. */
	char line[256];
	unsigned long resident = 0;
	FILE *file = fopen("/proc/self/smaps_rollup", "r");
	if (!file)
		check_skip("this kernel does not count resident memory exactly");
	while (!resident && fgets(line, sizeof line, file))
		(void)sscanf(line, "Rss: %lu kB", &resident);
	(void)fclose(file);
	CHECK(resident != 0);
	return resident * 1024;
}

TEST(guest_memory__a_gibibyte_of_untouched_heap_costs_next_to_nothing)
{
	struct system s;
	struct mote_snapshot_info info;
	/* Not in a sandbox of an earlier test, which has memory already. */
	(void)mote_engine_trim(system_engine(), NULL);
	const uint64_t before = resident_bytes();
	OPEN(&s, "sys_memory", .snapshot.heap_bytes = 1024 * MIB);
	const uint64_t heap = region(&s, "heap").gva;
	(void)seen(&s, heap);
	const uint64_t after = resident_bytes(), taken = after > before ? after - before : 0;
	mote_snapshot_get_info(s.snapshot, &info);
	check_note("%llu KiB resident, %llu KiB of tables", (unsigned long long)taken / 1024,
		   (unsigned long long)info.table_bytes / 1024);
	/* Leaf tables for all of it are there, and stay empty: they are no memory. */
	CHECK(info.table_bytes >= 2 * MIB && info.table_bytes < 2 * MIB + 256 * 1024);
	CHECK(taken < MIB);
	CHECK(system_statistics(&s).frames_used < 50);
	/* Its ends and its middle are there, and the pages behind it are not. */
	for (uint64_t at = 0; at < 1024 * MIB; at += 128 * MIB) {
		CALL_VOID(&s, "write64", mote_u64(heap + at + 8), mote_u64(at));
		CHECK_EQ(get(&s, heap + at + 8), at);
	}
	CALL_VOID(&s, "write64", mote_u64(heap + 1024 * MIB - 8), mote_u64(6));
	CHECK_EQ(get(&s, heap + 1024 * MIB - 8), 6);
	CHECK(system_statistics(&s).frames_used < 100);
	FAILS(&s, MOTE_EABORT, "unmapped memory", MOTE_U64, "read64", mote_u64(heap + 1024 * MIB));
	system_close(&s);
}

TEST(guest_memory__memory_max_is_exact_and_bounded_below)
{
	struct system s;
	const struct system_options small = {.guest = "sys_memory", .sandbox.memory_max = 4096};
	CHECK_EQ(system_try(&s, &small), MOTE_EINVAL);
	CHECK_HAS(s.err.message, "memory_max is 0x1000, at least 0x");
	const uint64_t least = strtoull(strstr(s.err.message, "least ") + 6, NULL, 16);
	system_close(&s);
	CHECK(least % PAGE == 0 && least < MIB);
	OPEN(&s, "sys_memory", .sandbox.memory_max = least);
	CHECK_EQ(system_statistics(&s).frames_max, least / PAGE);
	system_close(&s);
	OPEN(&s, "sys_memory", .sandbox.memory_max = UINT64_MAX);
	CHECK(CALL_U64(&s, "data_address") != 0);
	system_close(&s);
	OPEN(&s, "sys_memory", .snapshot.heap_bytes = 32 * MIB, .sandbox.memory_max = 20 * MIB);
	const uint64_t heap = region(&s, "heap").gva;
	CALL_VOID(&s, "write_pages", mote_u64(heap), mote_u64(19 * MIB / PAGE), mote_u64(1));
	FAILS(&s, MOTE_EABORT, "Out of physical memory (5120 frames of 4096 bytes taken", MOTE_VOID,
	      "write_pages", mote_u64(heap), mote_u64(21 * MIB / PAGE), mote_u64(1));
	CHECK_EQ(system_statistics(&s).frames_used, 5120);
	CHECK_EQ(get(&s, heap), 1);
	system_close(&s);
}

TEST(guest_memory__the_host_stops_at_memory_max_too)
{
	struct system s;
	static uint8_t bytes[MIB];
	OPEN(&s, "sys_memory", .snapshot.heap_bytes = 4 * MIB, .sandbox.memory_max = MIB / 2);
	const uint64_t heap = region(&s, "heap").gva;
	OK(&s, mote_sandbox_start(s.sandbox, 0, &s.err));
	CHECK_EQ(mote_sandbox_write(s.sandbox, heap, bytes, sizeof bytes, &s.err), MOTE_ENOMEM);
	CHECK_HAS(s.err.message, "the guest has no free frame left");
	CHECK_EQ(mote_sandbox_state(s.sandbox), MOTE_STATE_READY);
	put(&s, heap, 1);
	CHECK_EQ(seen(&s, heap), 1);
	system_close(&s);
}

TEST(guest_memory__malloc_gets_the_heap_that_was_configured)
{
	struct system s;
	OPEN(&s, "sys_memory", .snapshot.heap_bytes = 8 * MIB);
	uint64_t got = CALL_U64(&s, "take_mebibytes", mote_u64(100));
	CHECK(got >= 7 && got <= 8);
	CHECK_EQ(mote_sandbox_state(s.sandbox), MOTE_STATE_READY);
	system_close(&s);
}

/* ---- images ---------------------------------------------------------------------------------- */

static void check_fixed(const char *name, uint64_t base)
{
	struct system s;
	struct mote_snapshot_info info;
	OPEN(&s, name);
	mote_snapshot_get_info(s.snapshot, &info);
	CHECK(info.is_confined && !info.is_position_independent);
	CHECK_EQ(region(&s, "constants").gva, base);
	const uint64_t counter = region(&s, "data").gva;
	CHECK(counter > base && counter < base + 16 * PAGE);
	for (uint64_t i = 101; i < 120; i++)
		CHECK_EQ(CALL_U64(&s, "any"), counter + i);
	uint32_t value;
	OK(&s, mote_sandbox_read(s.sandbox, counter, &value, 4, &s.err));
	CHECK_EQ(value, 119);
	value = 5;
	OK(&s, mote_sandbox_write(s.sandbox, counter, &value, 4, &s.err));
	CHECK_EQ(CALL_U64(&s, "any"), counter + 6);
	CHECK_EQ(system_statistics(&s).exits_exception, 0);
	system_close(&s);
}

TEST(guest_memory__a_guest_linked_at_a_fixed_address_runs_there)
{
	check_fixed("exec_low", 0x400000);
	check_fixed("exec_high", 0x7F0000000000);
}
