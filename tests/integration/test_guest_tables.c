/* SPDX-License-Identifier: MIT */
/*
 * A stock guest that edits its page tables: whatever they say, the guest reaches only the memory of
 * its own machine, and the host's walks, reads and writes through them stay within bounds.
 */
#include "probe.h"

/* Let the leaf of a heap page point to gpa; its address. */
static uint64_t remap(struct system *s, uint64_t gpa, uint64_t flags)
{
	uint64_t at, heap = general(s, 0, PROBE_RDI) + PAGE;
	(void)leaf(s, heap, &at);
	poke(s, at, gpa | flags);
	(void)DO(s, "invl", mote_u64(heap));
	return heap;
}

TEST(guest_tables__access_to_physical_memory_that_is_not_there_is_an_error)
{
	struct system s;
	PROBE(&s);
	uint64_t gva = remap(&s, 0x500000000, 0x063);
	FAILS(&s, MOTE_EPROTOCOL, "MMIO READ access to unmapped address 0x500000018", ULONG, "peek",
	      mote_u64(gva + 0x18));
	CHECK_EQ(s.err.poisoned, 1);
	system_again(&s);
	gva = remap(&s, 0x500000000, 0x063);
	FAILS(&s, MOTE_EPROTOCOL, "MMIO WRITE access to unmapped address 0x500000020", ULONG,
	      "poke", mote_u64(gva + 0x20), mote_u64(1));
	system_again(&s);
	gva = remap(&s, 0, 0x063); /* page 0 */
	FAILS(&s, MOTE_EPROTOCOL, "MMIO READ access to unmapped address 0x8", ULONG, "peek",
	      mote_u64(gva + 8));
	system_close(&s);
}

TEST(guest_tables__the_snapshot_cannot_be_written_physically)
{
	struct system s;
	PROBE(&s);
	uint64_t gva = remap(&s, 0x1000, 0x063);
	CHECK_EQ((uint32_t)peek(&s, gva), 0x464C457F);
	FAILS(&s, MOTE_EPROTOCOL, "MMIO WRITE access to unmapped address 0x1010", ULONG, "poke",
	      mote_u64(gva + 0x10), mote_u64(0x6666));
	system_again(&s);
	CHECK(peek(&s, 0x1010) != 0x6666);
	system_close(&s);
}

TEST(guest_tables__reserved_bits_of_an_entry_fault)
{
	struct system s;
	PROBE(&s);
	uint64_t gva = remap(&s, 1ull << 40, 0x063);
	FAILS(&s, MOTE_EABORT, "Exception: PageFault | ", ULONG, "peek", mote_u64(gva));
	system_close(&s);
}

static void check_read(struct system *s, uint64_t gva, int code, const char *text)
{
	uint8_t bytes[3 * PAGE];
	memset(bytes, 0xA5, sizeof bytes);
	CHECK_EQ(mote_sandbox_read(s->sandbox, gva, bytes, sizeof bytes, &s->err), code);
	if (code == MOTE_OK)
		return;
	CHECK_HAS(s->err.message, text);
	for (size_t i = 0; i < sizeof bytes; i++)
		CHECK_EQ(bytes[i], 0xA5);
}

TEST(guest_tables__the_host_reads_through_edited_tables_within_bounds)
{
	struct system s;
	PROBE(&s);
	/* Nothing, behind scratch, between the regions, as far as an address goes. */
	static const uint64_t nothing[] = {0, 0x1000000000, 0x500000000, 0xFFFFFFFFFF000,
					   0x1000000000 - SCRATCH - PAGE};
	uint64_t gva = 0;
	for (size_t i = 0; i < sizeof nothing / sizeof *nothing; i++) {
		gva = remap(&s, nothing[i], 0x061);
		check_read(&s, gva, MOTE_EADDR, "is mapped to nothing");
		CHECK_EQ(s.err.fault_gva, gva);
		CHECK_EQ(mote_sandbox_write(s.sandbox, gva, "x", 1, &s.err), MOTE_EADDR);
		gva = remap(&s, nothing[i], 0x063);
		CHECK_EQ(mote_sandbox_write(s.sandbox, gva, "x", 1, &s.err), MOTE_EADDR);
		gva = remap(&s, nothing[i], 0x261);
		CHECK_EQ(mote_sandbox_write(s.sandbox, gva, "x", 1, &s.err), MOTE_EADDR);
	}
	gva = remap(&s, 0x1000000000 - PAGE, 0x063); /* the last page of scratch */
	check_read(&s, gva, MOTE_OK, "");
	/* A writable leaf over the snapshot, which is not. */
	gva = remap(&s, 0x1000, 0x063);
	CHECK_EQ(mote_sandbox_write(s.sandbox, gva, "x", 1, &s.err), MOTE_EADDR);
	system_close(&s);
}

/* Set the entry of gva in the table of a level (2: table of leaf tables). */
static void set_upper(struct system *s, uint64_t gva, int level, uint64_t value)
{
	uint64_t entry = peek(s, TOP - 0x18), at;
	for (int l = 4;; l--) {
		at = (entry & ADDRESS) + LINEAR + (gva >> (12 + 9 * (l - 1)) & 511) * 8;
		if (l == level)
			break;
		OK(s, mote_sandbox_read(s->sandbox, at, &entry, 8, &s->err));
	}
	poke(s, at, value);
}

#define FREE_GVA 0x200000000ull /* under a top-level entry that there is */

TEST(guest_tables__tables_that_point_to_themselves_or_anywhere_bound_the_hosts_walk)
{
	struct system s;
	PROBE(&s);
	const uint64_t root = peek(&s, TOP - 0x18);
	static const uint64_t upper[] = {0x023, 0x500000023,  0xFFFFFFFFFF023, 0x1000000023,
					 0x0A3, 0x10000000A3, 0x40000A3};
	set_upper(&s, FREE_GVA, 3, root | 0x023);
	for (size_t i = 0; i < sizeof upper / sizeof *upper; i++)
		for (int level = 2; level <= 4; level++) {
			const uint64_t gva = level == 4   ? 0x8000000000
					     : level == 3 ? FREE_GVA + (1ull << 30)
							  : FREE_GVA + (5ull << 21);
			uint8_t byte = 0;
			set_upper(&s, gva, level, upper[i]);
			int rc = mote_sandbox_read(s.sandbox, gva, &byte, 1, &s.err);
			CHECK(rc == MOTE_OK || rc == MOTE_EADDR);
			rc = mote_sandbox_write(s.sandbox, gva, &byte, 1, &s.err);
			CHECK(rc == MOTE_OK || rc == MOTE_EADDR);
		}
	/* The root as every table: the leaf is a table of the guest. */
	set_upper(&s, 0x8000000000, 4, root | 0x023);
	uint64_t word = 0, gva = 0x8000000000 | 1ull << 30 | 1ull << 21 | 1ull << 12;
	OK(&s, mote_sandbox_read(s.sandbox, gva, &word, 8, &s.err));
	CHECK_EQ(word, peek(&s, root + LINEAR));
	OK(&s, mote_sandbox_write(s.sandbox, gva + 8 * 100, &(uint64_t){0}, 8, &s.err));
	CHECK_EQ(DO(&s, "halt", mote_u64(3)), 3);
	system_close(&s);
}

static uint64_t symbol_page(struct system *s)
{
	/* The image's page that is filled with 0x1261. */
	uint64_t word = 0;
	for (uint64_t gva = 0x1000; gva < general(s, 0, PROBE_RDI); gva += PAGE) {
		OK(s, mote_sandbox_read(s->sandbox, gva, &word, 8, &s->err));
		if (word == 0x1261)
			return gva;
	}
	check_failed(__FILE__, __LINE__, "no page of the image looks like a table");
}

TEST(guest_tables__the_host_writes_no_table_that_lies_in_the_snapshot)
{
	struct system s;
	PROBE(&s);
	/* Leaves that say copy-on-write, in memory that nobody may write. */
	set_upper(&s, 0x40000000, 3, (peek(&s, TOP - 0x18) + PAGE) | 0x023);
	const uint64_t table = symbol_page(&s);
	set_upper(&s, 0x00200000, 2, table | 0x023);
	uint32_t word = 0;
	OK(&s, mote_sandbox_read(s.sandbox, 0x00200000, &word, 4, &s.err));
	CHECK_EQ(word, 0x464C457F);
	CHECK_EQ(mote_sandbox_write(s.sandbox, 0x00200000, "x", 1, &s.err), MOTE_EADDR);
	CHECK_EQ(mote_sandbox_state(s.sandbox), MOTE_STATE_READY);
	system_close(&s);
}

TEST(guest_tables__a_write_that_changes_the_tables_it_goes_through_stays_within_bounds)
{
	struct system s;
	static uint8_t data[3 * PAGE];
	PROBE(&s);
	uint64_t at, heap = general(&s, 0, PROBE_RDI) + PAGE;
	/* The first page is the leaf table of all three. */
	(void)leaf(&s, heap, &at);
	const uint64_t table = (at & ~(PAGE - 1)) - LINEAR;
	static const uint64_t entries[] = {0, UINT64_MAX, 0x500000063, 0x500000261, 0x0E3, 0x1261};
	for (size_t i = 0; i < sizeof entries / sizeof *entries; i++) {
		for (size_t j = 0; j < sizeof data; j += 8)
			memcpy(data + j, &entries[i], 8);
		heap = remap(&s, table, 0x063);
		int rc = mote_sandbox_write(s.sandbox, heap, data, sizeof data, &s.err);
		CHECK(rc == MOTE_OK || rc == MOTE_EADDR || rc == MOTE_ENOMEM);
		system_again(&s);
	}
	system_close(&s);
}

TEST(guest_tables__the_host_copies_a_page_as_the_guest_would)
{
	struct system s;
	uint64_t at;
	PROBE(&s);
	const uint64_t heap = general(&s, 0, PROBE_RDI) + PAGE;
	CHECK_EQ(peek(&s, heap), 0);
	const uint64_t next = peek(&s, TOP - 0x10);
	OK(&s, mote_sandbox_write(s.sandbox, heap + 8, "12345678", 8, &s.err));
	CHECK_EQ(peek(&s, heap + 8), 0x3837363534333231);
	CHECK_EQ(peek(&s, heap), 0);
	CHECK_EQ(leaf(&s, heap, &at), next | 0x063 | NO_EXECUTE);
	CHECK_EQ(peek(&s, TOP - 0x10), next + PAGE);
	poke(&s, heap + 16, 5); /* writable now */
	CHECK_EQ(peek(&s, heap + 16), 5);
	/* Code: copied, still executable, and not the snapshot's any more. */
	OK(&s, mote_sandbox_write(s.sandbox, 0x1000, "\x90", 1, &s.err));
	CHECK_EQ(leaf(&s, 0x1000, &at), (next + PAGE) | 0x063);
	CHECK_EQ((uint8_t)peek(&s, 0x1000), 0x90);
	system_again(&s);
	CHECK_EQ((uint8_t)peek(&s, 0x1000), 0x7F);
	system_close(&s);
}

TEST(guest_tables__a_hostile_allocator_word_bounds_the_hosts_write)
{
	struct system s;
	PROBE(&s);
	static const uint64_t words[] = {0,           1,           UINT64_MAX, 0x1000000000,
					 0xFFFFFD000, 0xFFFFFC001, 1ull << 63};
	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		const uint64_t heap = general(&s, 0, PROBE_RDI) + PAGE;
		poke(&s, TOP - 0x10, words[i]);
		int rc = mote_sandbox_write(s.sandbox, heap, "x", 1, &s.err);
		CHECK(rc == MOTE_OK || rc == MOTE_ENOMEM);
		CHECK(system_statistics(&s).frames_used <= SCRATCH / PAGE);
		system_again(&s);
	}
	system_close(&s);
}

TEST(guest_tables__large_scratch_can_be_written_by_the_host_to_its_end)
{
	struct system s;
	PROBE(&s, .snapshot = {.scratch_bytes = 64 << 20, .heap_bytes = 1 << 20});
	const uint64_t heap = general(&s, 0, PROBE_RDI) + PAGE;
	/* As if the guest had taken 32 MiB of frames. */
	poke(&s, TOP - 0x10, peek(&s, TOP - 0x10) + (32 << 20));
	OK(&s, mote_sandbox_write(s.sandbox, heap, "x", 1, &s.err));
	CHECK_EQ((uint8_t)peek(&s, heap), 'x');
	system_close(&s);
}
