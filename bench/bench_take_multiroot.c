/* SPDX-License-Identifier: MIT */
/*
 * What does it cost to freeze a guest with 64 address spaces that share a kernel half of 4 MiB,
 * against one space that maps the same pages? A whole take of a real stock guest on KVM: the same
 * sandbox, in turns, with either list of roots. The host writes the tables into the guest's
 * scratch, as a kernel there would.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib.h"

enum { SPACES = 64, PRIVATE = 64, KERNEL = 1024, ROUNDS = 40, DROPPED = 4 };

#define PAGE    4096ull
#define LINEAR  0xFFFFFFEFFFFFF000ull /* what scratch's linear map adds to an address */
#define TOP     0xFFFFFFFFFFFFF000ull
#define LINK    0x023ull
#define LEAF_RW 0x8000000000000063ull
#define SLOTS   512u
#define SCRATCH 0x2000000ull

/* Entries of a root: of the kernel half, of a space's own pages. */
enum { KERNEL_SLOT = 300, OWN_SLOT = 5 };

static struct {
	uint64_t *pages; /* what stands at first, room for all */
	uint64_t first, used;
	uint64_t old_root[SLOTS];
	uint64_t roots[SPACES], flat_root;
} made;

static uint64_t new_page(void)
{
	return made.first + made.used++ * PAGE;
}

static uint64_t *words(uint64_t gpa)
{
	return made.pages + (gpa - made.first) / 8;
}

static uint64_t new_root(void)
{
	uint64_t root = new_page();
	memcpy(words(root), made.old_root, PAGE);
	return root;
}

/* The leaf table for page number index behind the start of a root's slot; tables are made. */
static uint64_t *leaf(uint64_t root, unsigned slot, unsigned index)
{
	uint64_t *entry = words(root) + slot;
	for (unsigned level = 3; level > 0; level--) {
		if (!*entry)
			*entry = new_page() | LINK;
		unsigned at = level > 1 ? (level == 2 ? index / SLOTS : 0) : index % SLOTS;
		entry = words(*entry & ~0xFFFull) + at;
	}
	return entry;
}

static uint64_t map_new(uint64_t root, unsigned slot, unsigned index)
{
	uint64_t page = new_page();
	words(page)[0] = page;
	*leaf(root, slot, index) = page | LEAF_RW;
	return page;
}

static void make_spaces(void)
{
	made.flat_root = new_root();
	for (unsigned i = 0; i < KERNEL; i++)
		(void)map_new(made.flat_root, KERNEL_SLOT, i);
	for (unsigned n = 0; n < SPACES; n++) {
		uint64_t root = made.roots[n] = new_root();
		words(root)[KERNEL_SLOT] = words(made.flat_root)[KERNEL_SLOT];
		for (unsigned i = 0; i < PRIVATE; i++) {
			uint64_t page = map_new(root, OWN_SLOT, i);
			*leaf(made.flat_root, OWN_SLOT, n * PRIVATE + i) = page | LEAF_RW;
		}
	}
}

static uint64_t guest_word(mote_sandbox *sandbox, uint64_t gva)
{
	struct mote_error err = {0};
	uint64_t word = 0;
	mote__bench_check(mote_sandbox_read(sandbox, gva, &word, sizeof word, &err), &err, "read");
	return word;
}

static void fill_guest(mote_sandbox *sandbox)
{
	struct mote_error err = {0};
	uint64_t root = guest_word(sandbox, TOP - 0x18);
	made.first = guest_word(sandbox, TOP - 0x10);
	made.pages = calloc(SCRATCH / PAGE, PAGE);
	if (!made.pages)
		mote__bench_fail("out of memory");
	mote__bench_check(mote_sandbox_read(sandbox, root + LINEAR, made.old_root, PAGE, &err),
			  &err, "the guest's root");
	make_spaces();
	uint64_t next = made.first + made.used * PAGE;
	mote__bench_check(mote_sandbox_write(sandbox, made.first + LINEAR, made.pages,
					     made.used * PAGE, &err),
			  &err, "the guest's tables");
	mote__bench_check(mote_sandbox_write(sandbox, TOP - 0x10, &next, sizeof next, &err), &err,
			  "the guest's next frame");
	free(made.pages);
}

static uint32_t find_roots(void *cookie, mote_sandbox *sandbox, uint64_t cr3, uint64_t *roots,
			   uint32_t room)
{
	(void)sandbox;
	(void)cr3;
	(void)room;
	if (!cookie) {
		roots[0] = made.flat_root;
		return 1;
	}
	memcpy(roots, made.roots, sizeof made.roots);
	return SPACES;
}

/* Freeze it; info tells what the snapshot is. */
static double take(mote_sandbox *sandbox, bool is_many, struct mote_snapshot_info *info)
{
	const struct mote_take_options options = {
		.size = sizeof options, .find_roots = find_roots, .cookie = is_many ? &made : NULL};
	struct mote_error err = {0};
	mote_snapshot *snapshot = NULL;
	double start = mote__bench_now();
	mote__bench_check(mote_snapshot_take(sandbox, &options, &snapshot, &err), &err, "take");
	double us = mote__bench_now() - start;
	mote_snapshot_get_info(snapshot, info);
	mote_snapshot_unref(snapshot);
	return us;
}

int main(int count, char **arguments)
{
	const char *directory = mote__bench_directory(count, arguments);
	const struct mote_snapshot_options options = {.size = sizeof options,
						      .scratch_bytes = SCRATCH};
	struct mote_snapshot_info many = {0}, one = {0};
	struct mote_error err = {0};
	struct mote__bench bench;
	char detail[160];
	mote__bench_open(&bench, directory, "keep.guest", &options);
	mote__bench_check(mote_sandbox_start(bench.sandbox, 0, &err), &err, "start");
	fill_guest(bench.sandbox);
	struct mote__bench_series times = mote__bench_series(ROUNDS);
	struct mote__bench_series floor = mote__bench_series(ROUNDS);
	for (int i = 0; i < ROUNDS + DROPPED; i++) {
		double b = take(bench.sandbox, false, &one), a = take(bench.sandbox, true, &many);
		if (i < DROPPED)
			continue;
		mote__bench_add(&times, a);
		mote__bench_add(&floor, b);
	}
	if (many.memory_bytes != one.memory_bytes)
		mote__bench_fail("the snapshots differ by %lld bytes of memory",
				 (long long)(many.memory_bytes - one.memory_bytes));
	double least = mote__bench_median(&floor);
	(void)snprintf(detail, sizeof detail,
		       "\"memory_bytes\":%llu,\"table_pages\":%llu,\"table_pages_one\":%llu",
		       (unsigned long long)many.memory_bytes,
		       (unsigned long long)(many.table_bytes / PAGE),
		       (unsigned long long)(one.table_bytes / PAGE));
	mote__bench_report(&(struct mote__bench_answer){.name = "take_multiroot",
							.unit = "us",
							.floor = least,
							.limit = 1.3 * least,
							.detail = detail},
			   &times);
	mote__bench_free(&times);
	mote__bench_free(&floor);
	mote__bench_close(&bench);
	return 0;
}
