/* SPDX-License-Identifier: MIT */
/*
 * What do page tables cost? Building those of 1 GiB of small pages and of large ones, and walking
 * the small ones, for each format. The floor of building is a loop that writes as many entries one
 * after the other, that of walking a loop that reads them.
 */
#include "core/page_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib.h"

enum { ROUNDS = 30, WALKS = 3 };

#define GIB    (1ull << 30)
#define TABLES 1024u /* room */
#define GPA    0x1000000ull

struct kind {
	const struct mote__pt_format *format;
	const char *small, *large, *walk; /* names of the answers */
};

static uint8_t *memory;

/* Build; returns the microseconds that it took. */
static double build(const struct mote__pt_format *format, bool is_large,
		    struct mote__pt_range *built)
{
	const struct mote__pt_mapping mapping = {.va = 0x40000000,
						 .gpa = 0x40000000,
						 .bytes = GIB,
						 .kind = MOTE__PT_MAP,
						 .large = is_large};
	struct mote__pt_builder builder;
	uint64_t root;
	double start = mote__bench_now();
	int rc = mote__pt_builder_init(&builder, format, memory, GPA, TABLES * 4096ull);
	if (rc == MOTE__PT_OK)
		rc = mote__pt_add_root(&builder, &root);
	if (rc == MOTE__PT_OK)
		rc = mote__pt_map(&builder, root, &mapping);
	double us = mote__bench_now() - start;
	if (rc < 0)
		mote__bench_fail("building: %s", mote__pt_describe(rc));
	*built = mote__pt_built(&builder);
	return us;
}

static double write_entries(uint64_t bytes, uint32_t entry_bytes)
{
	double start = mote__bench_now();
	if (entry_bytes == 8)
		for (uint64_t i = 0; i < bytes / 8; i++)
			((volatile uint64_t *)(void *)memory)[i] = i << 12 | 0x61;
	else
		for (uint64_t i = 0; i < bytes / 4; i++)
			((volatile uint32_t *)(void *)memory)[i] = (uint32_t)i << 12 | 0x61;
	return mote__bench_now() - start;
}

static double read_entries(uint64_t bytes, uint32_t entry_bytes)
{
	double start = mote__bench_now();
	if (entry_bytes == 8)
		for (uint64_t i = 0; i < bytes / 8; i++)
			(void)((volatile uint64_t *)(void *)memory)[i];
	else
		for (uint64_t i = 0; i < bytes / 4; i++)
			(void)((volatile uint32_t *)(void *)memory)[i];
	return mote__bench_now() - start;
}

static bool count_leaf(void *cookie, const struct mote__pt_leaf *leaf)
{
	(void)leaf;
	++*(uint64_t *)cookie;
	return true;
}

/* Nanoseconds for each leaf. */
static double walk(const struct mote__pt_format *format, const struct mote__pt_range *built)
{
	static struct mote__pt_visit visits[4 * TABLES];
	uint64_t leaves = 0;
	const struct mote__pt_walk w = {.format = format,
					.memory = {built, mote__pt_range_table},
					.roots = &built->gpa,
					.root_count = 1,
					.tables_max = TABLES,
					.visit_count = mote__pt_visits_for(TABLES),
					.visits = visits,
					.leaves_max = UINT64_MAX,
					.leaf = count_leaf,
					.cookie = &leaves};
	if (w.visit_count > sizeof visits / sizeof *visits)
		mote__bench_fail("a walk needs %u visits", w.visit_count);
	double start = mote__bench_now();
	int rc = mote__pt_walk(&w);
	double us = mote__bench_now() - start;
	if (rc < 0 || leaves != GIB / 4096)
		mote__bench_fail("walking: %s, %llu leaves", mote__pt_describe(rc),
				 (unsigned long long)leaves);
	return us * 1000 / (double)leaves;
}

static void report(const char *name, const char *unit, struct mote__bench_series *series,
		   struct mote__bench_series *floor, uint64_t tables)
{
	char detail[64];
	(void)snprintf(detail, sizeof detail, "\"tables\":%llu", (unsigned long long)tables);
	mote__bench_report(&(struct mote__bench_answer){.name = name,
							.unit = unit,
							.floor = mote__bench_median(floor),
							.detail = detail},
			   series);
	mote__bench_free(series);
	mote__bench_free(floor);
}

static void measure_building(const struct kind *kind, bool is_large)
{
	struct mote__bench_series times = mote__bench_series(ROUNDS);
	struct mote__bench_series floor = mote__bench_series(ROUNDS);
	struct mote__pt_range built;
	for (int i = 0; i < ROUNDS; i++) {
		mote__bench_add(&times, build(kind->format, is_large, &built));
		mote__bench_add(&floor, write_entries(built.len, kind->format->entry_bytes));
	}
	report(is_large ? kind->large : kind->small, "us", &times, &floor, built.len / 4096);
}

static void measure_walking(const struct kind *kind)
{
	struct mote__bench_series times = mote__bench_series((size_t)ROUNDS * WALKS);
	struct mote__bench_series floor = mote__bench_series((size_t)ROUNDS * WALKS);
	struct mote__pt_range built;
	(void)build(kind->format, false, &built);
	for (int i = 0; i < ROUNDS * WALKS; i++) {
		mote__bench_add(&times, walk(kind->format, &built));
		mote__bench_add(&floor, read_entries(built.len, kind->format->entry_bytes) * 1000 /
						(double)(GIB / 4096));
	}
	report(kind->walk, "ns", &times, &floor, built.len / 4096);
}

int main(void)
{
	static const struct kind kinds[] = {
		{&mote__pt_x86_64, "tables_4k", "tables_2m", "walk_leaf"},
		{&mote__pt_i686_large, "tables_4k_i686", "tables_4m_i686", "walk_leaf_i686"}};
	(void)mote__bench_pin(1);
	memory = aligned_alloc(4096, TABLES * 4096ull);
	if (!memory)
		mote__bench_fail("out of memory");
	memset(memory, 1, TABLES * 4096ull);
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		measure_building(&kinds[i], false);
		measure_building(&kinds[i], true);
		measure_walking(&kinds[i]);
	}
	free(memory);
	return 0;
}
