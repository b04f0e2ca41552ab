/* SPDX-License-Identifier: MIT */
/*
 * What does a sandbox cost that lives for one call? Against a machine on bare KVM with the same
 * slots, registers and exits, which touches the pages that the guest touches, each once, in the
 * same order of runs, and does nothing else.
 *
 * Which pages those are is read from the accessed bits of the guest's page tables: they are cleared
 * in a sandbox that has not run yet.
 */
#include "lib.h"
#include "raw.h"

#include <stdio.h>
#include <stdlib.h>

#include "vm/objects.h"

#define PAGE_BYTES 4096u

enum { ROUNDS = 200, PAGES_MAX = 4096, RAW_TABLE_PAGES = 64 };
enum { PRESENT = 1, WRITABLE = 2, USER = 4, ACCESSED = 0x20 };
#define NO_EXECUTE (1ull << 63)
#define ADDRESS    0x000FFFFFFFFFF000ull

/* ---- the pages of a guest -------------------------------------------------------------------- */

struct pages {
	const mote_sandbox *sandbox;
	struct mote__raw_page page[PAGES_MAX];
	size_t count;
	uint8_t touch; /* what a page that has been accessed counts as; 0: clear the bit instead */
};

static uint64_t *table_at(const mote_sandbox *sandbox, uint64_t gpa)
{
	const struct mote__layout *l = &sandbox->snapshot->layout;
	if (gpa < l->scratch_gpa || gpa - l->scratch_gpa >= l->scratch_bytes)
		mote__bench_fail("a page table outside scratch");
	return (uint64_t *)(void *)(sandbox->scratch + (gpa - l->scratch_gpa));
}

static struct mote__raw_page *find(struct pages *pages, uint64_t gva)
{
	for (size_t i = 0; i < pages->count; i++)
		if (pages->page[i].gva == gva)
			return &pages->page[i];
	if (pages->count == PAGES_MAX)
		mote__bench_fail("too many pages");
	pages->page[pages->count].gva = gva;
	return &pages->page[pages->count++];
}

static void look_at_leaf(struct pages *pages, uint64_t *entry, uint64_t gva)
{
	if (!pages->touch) {
		*entry &= ~(uint64_t)ACCESSED;
		return;
	}
	struct mote__raw_page *page = find(pages, gva);
	page->gpa = *entry & ADDRESS;
	page->is_user = *entry & USER;
	page->is_writable = *entry & WRITABLE;
	page->is_executable = !(*entry & NO_EXECUTE);
	if (!page->touch && page->is_user && (*entry & ACCESSED))
		page->touch = pages->touch;
}

static void look_at_tables(struct pages *pages, uint64_t gpa, unsigned level, uint64_t gva)
{
	uint64_t *table = table_at(pages->sandbox, gpa);
	for (uint64_t i = 0; i < 512; i++) {
		uint64_t at = gva | i << (12 + 9 * (level - 1));
		if (!(table[i] & PRESENT) || (level == 4 && i == 256)) /* the tables' self map */
			continue;
		if (level == 4 && i > 256)
			at |= 0xFFFF000000000000;
		if (level == 1)
			look_at_leaf(pages, &table[i], at);
		else
			look_at_tables(pages, table[i] & ADDRESS, level - 1, at);
	}
}

static void look(struct pages *pages, uint8_t touch)
{
	const struct mote__layout *l = &pages->sandbox->snapshot->layout;
	pages->touch = touch;
	look_at_tables(pages, l->scratch_gpa + l->tables_offset, 4, 0);
}

static void find_pages(const struct mote__bench *bench, struct pages *pages)
{
	struct mote_error err = {0};
	pages->sandbox = bench->sandbox;
	look(pages, 0);
	mote__bench_check(mote_sandbox_start(bench->sandbox, 0, &err), &err, "start");
	look(pages, 1);
	(void)mote__bench_call(bench->sandbox, "call_host", 0);
	look(pages, 2);
}

static void open_raw(const struct mote__bench *bench, const struct pages *pages,
		     struct mote__raw *raw)
{
	const struct mote__layout *l = &bench->snapshot->layout;
	uint64_t slot = l->frames_offset + bench->sandbox->frames_mapped * PAGE_BYTES;
	uint64_t tables = slot - RAW_TABLE_PAGES * PAGE_BYTES;
	for (size_t i = 0; i < pages->count; i++)
		if (pages->page[i].gpa >= l->scratch_gpa + tables &&
		    pages->page[i].gpa < l->scratch_gpa + slot)
			mote__bench_fail("no room for the raw machine's page tables");
	mote__raw_open(raw, &(struct mote__raw_shape){.snapshot_gpa = l->family->base_gpa,
						      .snapshot_bytes = l->snapshot_bytes,
						      .scratch_gpa = l->scratch_gpa,
						      .scratch_bytes = l->scratch_bytes,
						      .slot_bytes = slot,
						      .tables_offset = tables,
						      .pages = pages->page,
						      .page_count = pages->count});
}

/* ---- measuring ------------------------------------------------------------------------------- */

/* Making, first call or runs, taking apart, and everything. */
struct times {
	struct mote__bench_series make, run, drop, all;
};

static void times_make(struct times *t)
{
	t->make = mote__bench_series(ROUNDS);
	t->run = mote__bench_series(ROUNDS);
	t->drop = mote__bench_series(ROUNDS);
	t->all = mote__bench_series(ROUNDS);
}

static void times_free(struct times *t)
{
	mote__bench_free(&t->make);
	mote__bench_free(&t->run);
	mote__bench_free(&t->drop);
	mote__bench_free(&t->all);
}

static void times_add(struct times *t, const double at[4])
{
	mote__bench_add(&t->make, at[1] - at[0]);
	mote__bench_add(&t->run, at[2] - at[1]);
	mote__bench_add(&t->drop, at[3] - at[2]);
	mote__bench_add(&t->all, at[3] - at[0]);
}

static void measure_sandbox(const struct mote__bench *bench, struct times *times)
{
	double at[4];
	at[0] = mote__bench_now();
	mote_sandbox *sandbox = mote__bench_sandbox(bench);
	at[1] = mote__bench_now();
	(void)mote__bench_call(sandbox, "call_host", 0);
	at[2] = mote__bench_now();
	mote_sandbox_destroy(sandbox);
	at[3] = mote__bench_now();
	times_add(times, at);
}

static void measure_raw(const struct mote__raw *raw, struct times *times)
{
	struct mote__raw_machine machine;
	double at[4];
	at[0] = mote__bench_now();
	mote__raw_create(raw, &machine);
	at[1] = mote__bench_now();
	mote__raw_run(raw, &machine, 0);
	mote__raw_run(raw, &machine, 1);
	at[2] = mote__bench_now();
	mote__raw_destroy(raw, &machine);
	at[3] = mote__bench_now();
	times_add(times, at);
}

static void report(const struct mote__raw *raw, struct times *ours, struct times *raws)
{
	char detail[512];
	double floor = mote__bench_median(&raws->all), run = mote__bench_median(&raws->run);
	(void)snprintf(detail, sizeof detail,
		       "\"create_us\":%.1f,\"call_us\":%.1f,\"destroy_us\":%.1f,"
		       "\"raw_create_us\":%.1f,\"raw_runs_us\":%.1f,\"raw_destroy_us\":%.1f,"
		       "\"pages_initialise\":%d,\"pages_call\":%d",
		       mote__bench_median(&ours->make), mote__bench_median(&ours->run),
		       mote__bench_median(&ours->drop), mote__bench_median(&raws->make), run,
		       mote__bench_median(&raws->drop), (int)raw->touches[0], (int)raw->touches[1]);
	mote__bench_report(&(struct mote__bench_answer){.name = "create_call_destroy",
							.unit = "us",
							.floor = floor,
							.limit = 1.25 * floor,
							.detail = detail},
			   &ours->all);
	mote__bench_report(
		&(struct mote__bench_answer){.name = "first_call", .unit = "us", .floor = run},
		&ours->run);
}

int main(int count, char **arguments)
{
	struct mote__bench bench;
	struct mote__raw raw;
	struct times ours, raws;
	struct pages *pages = calloc(1, sizeof *pages);
	if (!pages)
		mote__bench_fail("out of memory");
	mote__bench_open(&bench, mote__bench_directory(count, arguments), "bench.guest", NULL);
	find_pages(&bench, pages);
	open_raw(&bench, pages, &raw);
	times_make(&ours);
	times_make(&raws);
	for (int i = 0; i < ROUNDS; i++) {
		measure_sandbox(&bench, &ours);
		measure_raw(&raw, &raws);
	}
	report(&raw, &ours, &raws);
	times_free(&ours);
	times_free(&raws);
	mote__raw_close(&raw);
	mote__bench_close(&bench);
	free(pages);
	return 0;
}
