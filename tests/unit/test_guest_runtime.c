/* SPDX-License-Identifier: MIT */
/*
 * The parts of the guest runtime that are pure logic, run in a process: pages of the heap, scratch
 * memory, random numbers, texts and formats. The heap is a mapping of this process with a guard on
 * each side.
 */
#define _GNU_SOURCE
#include "rt.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "check.h"

enum {
	PAGE = 4096,
	HEAP_PAGES = 64,
	MAPPINGS = 32,
};

#define ANONYMOUS 0x22u /* MAP_PRIVATE | MAP_ANONYMOUS */
#define FIXED     0x10u
#define MAY_MOVE  1u

struct mote__guest_state mote__guest;

_Noreturn void mote__guest_end(uint64_t code, const char *text, size_t len)
{
	check_failed(__FILE__, __LINE__, "ended with %llu: %.*s", (unsigned long long)code,
		     (int)len, text);
}

static struct mote_abi_run_info run;

/* A fresh heap of pages pages, full of garbage where the runtime must not rely on zeros: nowhere.
 */
static uint64_t heap_make(unsigned pages)
{
	static uint8_t *area;
	if (area)
		CHECK(munmap(area, (HEAP_PAGES + 2) * PAGE) == 0);
	area = mmap(NULL, (HEAP_PAGES + 2) * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(area != MAP_FAILED);
	CHECK(mprotect(area + PAGE, pages * PAGE, PROT_READ | PROT_WRITE) == 0);
	memset(&mote__guest, 0, sizeof mote__guest);
	memset(&run, 0, sizeof run);
	mote__guest.run = &run;
	run.heap_first = (uint64_t)(area + PAGE);
	run.heap_bytes = pages * PAGE;
	return run.heap_first;
}

static bool is_filled(uint64_t at, uint64_t bytes, uint8_t value)
{
	for (uint64_t i = 0; i < bytes; i++)
		if (((const uint8_t *)at)[i] != value)
			return false;
	return true;
}

static void fill(uint64_t at, uint64_t bytes, uint8_t value)
{
	memset((void *)at, value, bytes);
}

TEST(guest_runtime__takes_every_page_once_and_then_none)
{
	uint64_t first = heap_make(4);
	uint64_t sum = 0;
	for (unsigned i = 0; i < 4; i++) {
		uint64_t at = mote__guest_pages_take(PAGE);
		CHECK(at >= first && at < first + 4 * PAGE && at % PAGE == 0);
		sum += (at - first) / PAGE;
		fill(at, PAGE, 0xAA);
	}
	CHECK_EQ(sum, 0 + 1 + 2 + 3);
	CHECK_EQ(mote__guest_pages_take(PAGE), 0);
}

TEST(guest_runtime__a_range_larger_than_the_heap_is_refused_and_one_as_large_is_not)
{
	uint64_t first = heap_make(4);
	CHECK_EQ(mote__guest_pages_take(5 * PAGE), 0);
	CHECK_EQ(mote__guest_pages_take(UINT64_MAX & ~(uint64_t)(PAGE - 1)), 0);
	CHECK_EQ(mote__guest_pages_take(4 * PAGE), first);
}

TEST(guest_runtime__pages_given_back_are_zero_when_taken_again)
{
	heap_make(8);
	uint64_t a = mote__guest_pages_take(2 * PAGE), b = mote__guest_pages_take(2 * PAGE);
	fill(a, 2 * PAGE, 1);
	fill(b, 2 * PAGE, 2);
	mote__guest_pages_give(a, 2 * PAGE);
	uint64_t c = mote__guest_pages_take(2 * PAGE);
	CHECK_EQ(c, a);
	CHECK(is_filled(c, 2 * PAGE, 0));
	mote__guest_pages_give(b, 2 * PAGE);
	CHECK(is_filled(mote__guest_pages_take(2 * PAGE), 2 * PAGE, 0));
}

TEST(guest_runtime__everything_given_back_is_one_range_again)
{
	heap_make(8);
	uint64_t at[8];
	static const unsigned order[8] = {3, 0, 7, 5, 1, 6, 2, 4};
	for (unsigned i = 0; i < 8; i++)
		at[i] = mote__guest_pages_take(PAGE);
	for (unsigned i = 0; i < 8; i++) {
		fill(at[order[i]], PAGE, 9);
		mote__guest_pages_give(at[order[i]], PAGE);
	}
	CHECK(mote__guest.heap.free == NULL);
	uint64_t all = mote__guest_pages_take(8 * PAGE);
	CHECK(all != 0 && is_filled(all, 8 * PAGE, 0));
}

TEST(guest_runtime__giving_twice_or_too_much_or_elsewhere_does_no_harm)
{
	uint64_t first = heap_make(8);
	uint64_t a = mote__guest_pages_take(3 * PAGE), b = mote__guest_pages_take(PAGE);
	mote__guest_pages_give(a + PAGE, PAGE);
	mote__guest_pages_give(a, 3 * PAGE);
	mote__guest_pages_give(a, 3 * PAGE);
	mote__guest_pages_give(first - PAGE, PAGE);
	mote__guest_pages_give(first + 8 * PAGE, PAGE);
	fill(b, PAGE, 5);
	mote__guest_pages_give(a, 100 * PAGE);
	CHECK(is_filled(b, PAGE, 5));
	CHECK_EQ(mote__guest_pages_take(3 * PAGE), a);
	mote__guest_pages_give(0, UINT64_MAX);
	CHECK_EQ(mote__guest_pages_take(8 * PAGE), first);
}

TEST(guest_runtime__brk_grows_shrinks_and_comes_back_zero)
{
	uint64_t first = heap_make(4);
	CHECK_EQ(mote__guest_brk(0), first);
	CHECK_EQ(mote__guest_brk(first + 5000), first + 5000);
	fill(first, 5000, 7);
	CHECK_EQ(mote__guest_brk(first + 100), first + 100);
	CHECK_EQ(mote__guest_brk(first + 5000), first + 5000);
	CHECK(is_filled(first, 100, 7));
	CHECK(is_filled(first + 100, 4900, 0));
	CHECK_EQ(mote__guest_brk(first - 1), first + 5000);
	CHECK_EQ(mote__guest_brk(first + 4 * PAGE + 1), first + 5000);
	CHECK_EQ(mote__guest_brk(first + 4 * PAGE), first + 4 * PAGE);
	CHECK_EQ(mote__guest_pages_take(PAGE), 0);
}

TEST(guest_runtime__brk_and_mappings_do_not_meet)
{
	uint64_t first = heap_make(4);
	uint64_t top = mote__guest_pages_take(2 * PAGE);
	CHECK_EQ(top, first + 2 * PAGE);
	CHECK_EQ(mote__guest_brk(first + 2 * PAGE + 1), first);
	CHECK_EQ(mote__guest_brk(first + PAGE + 1), first + PAGE + 1);
	CHECK_EQ(mote__guest_pages_take(PAGE), 0);
	fill(first, PAGE + 1, 3);
	CHECK_EQ(mote__guest_brk(first), first);
	uint64_t below = mote__guest_pages_take(2 * PAGE);
	CHECK_EQ(below, first);
	CHECK(is_filled(below, 2 * PAGE, 0));
}

TEST(guest_runtime__mmap_refuses_files_execution_nothing_and_too_much)
{
	heap_make(4);
	CHECK_EQ(mote__guest_mmap(0, PAGE, 3, 2), -19);
	CHECK_EQ(mote__guest_mmap(0, PAGE, 7, ANONYMOUS), -13);
	CHECK_EQ(mote__guest_mmap(0, 0, 3, ANONYMOUS), -22);
	CHECK_EQ(mote__guest_mmap(0, 4 * PAGE + 1, 3, ANONYMOUS), -12);
	CHECK_EQ(mote__guest_mmap(0, UINT64_MAX, 3, ANONYMOUS), -12);
	CHECK(mote__guest_mmap(0, 4 * PAGE - 1, 3, ANONYMOUS) > 0);
}

TEST(guest_runtime__mmap_at_a_fixed_place_clears_what_is_there_and_nothing_else)
{
	uint64_t first = heap_make(8);
	uint64_t at = (uint64_t)mote__guest_mmap(0, 3 * PAGE, 3, ANONYMOUS);
	fill(at, 3 * PAGE, 8);
	CHECK_EQ(mote__guest_mmap(at + PAGE, PAGE, 3, ANONYMOUS | FIXED), (int64_t)(at + PAGE));
	CHECK(is_filled(at, PAGE, 8) && is_filled(at + PAGE, PAGE, 0));
	CHECK(is_filled(at + 2 * PAGE, PAGE, 8));
	CHECK_EQ(mote__guest_mmap(at + 1, PAGE, 3, ANONYMOUS | FIXED), -12);
	CHECK_EQ(mote__guest_mmap(first, PAGE, 3, ANONYMOUS | FIXED), -12);
	CHECK_EQ(mote__guest_mmap(0x1000, PAGE, 3, ANONYMOUS | FIXED), -12);
	CHECK_EQ(mote__guest_mmap(at + 2 * PAGE, 2 * PAGE, 3, ANONYMOUS | FIXED), -12);
}

TEST(guest_runtime__mremap_keeps_contents_and_adds_zeros)
{
	heap_make(16);
	uint64_t at = (uint64_t)mote__guest_mmap(0, 2 * PAGE, 3, ANONYMOUS);
	fill(at, 2 * PAGE, 6);
	CHECK_EQ(mote__guest_mremap(at, 2 * PAGE, 4 * PAGE, 0), -12);
	uint64_t to = (uint64_t)mote__guest_mremap(at, 2 * PAGE, 4 * PAGE, MAY_MOVE);
	CHECK(is_filled(to, 2 * PAGE, 6) && is_filled(to + 2 * PAGE, 2 * PAGE, 0));
	CHECK_EQ(mote__guest_mremap(to, 4 * PAGE, PAGE, 0), (int64_t)to);
	CHECK(is_filled(to, PAGE, 6));
	CHECK_EQ(mote__guest_mremap(to + 1, PAGE, PAGE, 0), -22);
	CHECK_EQ(mote__guest_mremap(to, PAGE, 0, 0), -22);
	CHECK_EQ(mote__guest_mremap(to, PAGE, 17 * PAGE, MAY_MOVE), -12);
	CHECK_EQ(mote__guest_mremap(to, PAGE, 16 * PAGE, MAY_MOVE), -12);
}

TEST(guest_runtime__madvise_and_mprotect_look_at_their_range)
{
	uint64_t first = heap_make(4);
	uint64_t at = (uint64_t)mote__guest_mmap(0, 2 * PAGE, 3, ANONYMOUS);
	fill(at, 2 * PAGE, 4);
	CHECK_EQ(mote__guest_madvise(at, PAGE, 8), 0);
	CHECK(is_filled(at, 2 * PAGE, 4));
	CHECK_EQ(mote__guest_madvise(at, PAGE, 4), 0);
	CHECK(is_filled(at, PAGE, 0) && is_filled(at + PAGE, PAGE, 4));
	CHECK_EQ(mote__guest_madvise(first, PAGE, 4), -12);
	CHECK_EQ(mote__guest_mprotect(at, PAGE, 1), 0);
	CHECK_EQ(mote__guest_mprotect(at, PAGE, 4), -13);
	CHECK_EQ(mote__guest_mprotect(at + PAGE, 2 * PAGE, 1), -12);
	CHECK_EQ(mote__guest_munmap(at + 1, PAGE), -22);
	CHECK_EQ(mote__guest_munmap(at, 0), -22);
}

TEST(guest_runtime__an_unaligned_heap_uses_its_whole_pages_only)
{
	uint64_t first = heap_make(4);
	run.heap_first += 1;
	run.heap_bytes -= 2;
	CHECK_EQ(mote__guest_pages_take(3 * PAGE), 0);
	CHECK_EQ(mote__guest_pages_take(2 * PAGE), first + PAGE);
	heap_make(1);
	run.heap_bytes = 0;
	CHECK_EQ(mote__guest_pages_take(PAGE), 0);
	CHECK_EQ(mote__guest_brk(0), (int64_t)run.heap_first);
}

struct mapping {
	uint64_t at, bytes;
	uint8_t value;
};

static void step_mapping(struct mapping *m, uint64_t random)
{
	uint64_t bytes = (1 + (random >> 8) % 6) * PAGE;
	if (m->at == 0) {
		int64_t at = mote__guest_mmap(0, bytes, 3, ANONYMOUS);
		if (at < 0)
			return;
		CHECK(is_filled((uint64_t)at, bytes, 0));
		*m = (struct mapping){(uint64_t)at, bytes, (uint8_t)(1 + (random >> 16) % 255)};
	} else if (random & 1) {
		int64_t at = mote__guest_mremap(m->at, m->bytes, bytes, MAY_MOVE);
		if (at < 0)
			return;
		uint64_t kept = bytes < m->bytes ? bytes : m->bytes;
		CHECK(is_filled((uint64_t)at, kept, m->value));
		CHECK(is_filled((uint64_t)at + kept, bytes - kept, 0));
		m->at = (uint64_t)at;
		m->bytes = bytes;
	} else {
		CHECK_EQ(mote__guest_munmap(m->at, m->bytes), 0);
		m->at = 0;
		return;
	}
	fill(m->at, m->bytes, m->value);
}

static void step_brk(uint64_t *brk, uint64_t random)
{
	uint64_t first = run.heap_first;
	uint64_t to = first + (random >> 8) % (HEAP_PAGES / 2 * PAGE);
	int64_t got = mote__guest_brk(to);
	if ((uint64_t)got != to) {
		CHECK_EQ(got, (int64_t)*brk);
		return;
	}
	if (to > *brk)
		CHECK(is_filled(*brk, to - *brk, 0));
	CHECK(is_filled(first, (to < *brk ? to : *brk) - first, 0xBB));
	fill(first, to - first, 0xBB);
	*brk = to;
}

TEST(guest_runtime__random_mappings_never_overlap_and_keep_their_contents)
{
	uint64_t seed = 0x5EED2024;
	check_note("seed %llx", (unsigned long long)seed);
	for (unsigned round = 0; round < 40; round++) {
		struct mapping mappings[MAPPINGS] = {0};
		uint64_t brk = heap_make(HEAP_PAGES);
		for (unsigned step = 0; step < 200; step++) {
			uint64_t random = check_random(&seed);
			if (random % 8 == 0)
				step_brk(&brk, random);
			else
				step_mapping(&mappings[random >> 40 & (MAPPINGS - 1)], random);
		}
		for (unsigned i = 0; i < MAPPINGS; i++) {
			struct mapping *m = &mappings[i];
			CHECK(m->at == 0 || is_filled(m->at, m->bytes, m->value));
			CHECK_EQ(mote__guest_munmap(m->at ? m->at : run.heap_first + PAGE,
						    m->at ? m->bytes : 0),
				 m->at ? 0 : -22);
		}
		CHECK(mote__guest.heap.free == NULL);
		CHECK_EQ(mote__guest.heap.low, mote__guest.heap.end);
	}
}

TEST(guest_runtime__scratch_is_aligned_distinct_and_forgotten_at_once)
{
	heap_make(16);
	uint8_t *a = mote__guest_scratch_take(1), *b = mote__guest_scratch_take(17);
	uint8_t *big = mote__guest_scratch_take(5 * PAGE);
	CHECK(a && b && big);
	CHECK_EQ((uint64_t)a % 16 + (uint64_t)b % 16 + (uint64_t)big % 16, 0);
	CHECK(b - a == 16);
	memset(big, 1, 5 * PAGE);
	CHECK(mote__guest_scratch_take(20 * PAGE) == NULL);
	CHECK(mote__guest_scratch_take(SIZE_MAX) == NULL);
	CHECK(mote__guest_scratch_take(SIZE_MAX - 20) == NULL);
	mote__guest_scratch_reset();
	CHECK(mote__guest_scratch_take(1) == a);
	CHECK(mote__guest_scratch_take(12 * PAGE) != NULL);
	mote__guest_scratch_reset();
}

/* RFC 8439, appendix A.1, vectors 1 and 2: key and nonce zero, counters 0 and 1. */
TEST(guest_runtime__random_numbers_are_chacha20)
{
	static const uint8_t first[16] = {0x76, 0xb8, 0xe0, 0xad, 0xa0, 0xf1, 0x3d, 0x90,
					  0x40, 0x5d, 0x6a, 0xe5, 0x53, 0x86, 0xbd, 0x28};
	static const uint8_t second[16] = {0x9f, 0x07, 0xe7, 0xbe, 0x55, 0x51, 0x38, 0x7a,
					   0x98, 0xba, 0x97, 0x7c, 0x73, 0x2d, 0x08, 0x0d};
	uint8_t bytes[80];
	heap_make(1);
	mote_guest_random(bytes, sizeof bytes);
	CHECK_MEM(bytes, first, sizeof first);
	CHECK_MEM(bytes + 64, second, sizeof second);
}

TEST(guest_runtime__another_generation_uses_the_new_key_from_its_start)
{
	uint8_t a[8], b[8], c[8];
	heap_make(1);
	run.generation = 3;
	mote_guest_random(a, sizeof a);
	mote_guest_random(b, sizeof b);
	CHECK(memcmp(a, b, sizeof a) != 0);
	run.generation = 4;
	mote_guest_random(c, sizeof c);
	CHECK_MEM(a, c, sizeof a); /* the key of this test did not change */
	run.random[31] = 1;
	run.generation = 5;
	mote_guest_random(c, sizeof c);
	CHECK(memcmp(a, c, sizeof a) != 0);
}

static const char *clean(const char *from, size_t len, size_t cap)
{
	static char text[64];
	CHECK(cap < sizeof text);
	text[mote__guest_utf8_copy(text, cap, from, len)] = 0;
	return text;
}

TEST(guest_runtime__texts_are_made_utf8)
{
	CHECK_STR(clean("abc", 3, 60), "abc");
	CHECK_STR(clean("", 0, 60), "");
	CHECK_STR(clean("a\xFF"
			"b",
			3, 60),
		  "a\xEF\xBF\xBD"
		  "b");
	CHECK_STR(clean("\xC3", 1, 60), "\xEF\xBF\xBD");
	CHECK_STR(clean("\xFF\xFE", 2, 60), "\xEF\xBF\xBD\xEF\xBF\xBD");
	CHECK_STR(clean("abc", 3, 2), "ab");
	CHECK_STR(clean("a\xC3\xA9", 3, 2), "a"); /* not half a character */
	CHECK_STR(clean("a\xFF", 2, 3), "a");
}

static const char *format(const char *how, ...)
{
	static char data[64];
	struct mote__guest_text text = {data, 0, 40};
	struct mote__guest_values values;
	va_start(values.list, how);
	mote__guest_format(&text, how, &values);
	va_end(values.list);
	CHECK(text.len <= 40);
	data[text.len] = 0;
	return data;
}

TEST(guest_runtime__formats_like_printf)
{
	CHECK_STR(format("plain"), "plain");
	CHECK_STR(format("%d %i %u %x %c%%", -5, 6, 7u, 0xABCu, 'z'), "-5 6 7 abc z%");
	CHECK_STR(format("%ld %lu %zu %lld %lx", INT64_MIN, UINT64_MAX, (size_t)3, -1ll, 16ul),
		  "-9223372036854775808 1844674407370955161");
	CHECK_STR(format("%s|%s", "a", (const char *)NULL), "a|(null)");
	CHECK_STR(format("%p", (void *)0x1234), "0x1234");
	CHECK_STR(format("%5d|%.2f|%s", 3, 1.5, "x"), "    3|1.50|x");
	CHECK_STR(format("%s", "0123456789012345678901234567890123456789tail"),
		  "0123456789012345678901234567890123456789");
	CHECK_STR(format("%08d%s", 7, "0123456789012345678901234567890123456789"),
		  "000000070123456789012345678901234567890");
}
