/* SPDX-License-Identifier: MIT */
/* mote snapshot diff: which pages and bytes differ between the snapshots of two steps. */
#include "cli.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "history.h"
#include "output.h"
#include "pages.h"
#include "report.h"

enum {
	MOST_PAGES = 32, /* printed; JSON has all */
	MOST_RUNS = 8,   /* printed of a page */
	SHOWN_BYTES = 8, /* of a run */
	RUN_GAP = 8,     /* equal bytes that do not end a run */
};

/** A page that is not the same on both sides. */
struct change {
	const struct page_region *region;
	uint64_t gva, bytes; /* bytes: that differ */
};

struct diff {
	const struct history *history;
	uint32_t from, to; /* steps, from 1 */
	struct page_map map;
	struct change *changes; /* in ascending order of gva */
	uint64_t count, capacity;
	uint64_t bytes; /* of all changes */
};

/** A page on both sides; not mapped counts as zero. */
struct pair {
	uint8_t before[PAGE_BYTES], after[PAGE_BYTES];
};

static void read_side(const struct diff *diff, uint32_t step, uint64_t gva, uint8_t *bytes)
{
	const mote_snapshot *snapshot = diff->history->steps[step - 1].snapshot;
	if (mote_snapshot_read(snapshot, gva, bytes, PAGE_BYTES, NULL) != MOTE_OK)
		memset(bytes, 0, PAGE_BYTES);
}

static void read_pair(const struct diff *diff, uint64_t gva, struct pair *pair)
{
	read_side(diff, diff->from, gva, pair->before);
	read_side(diff, diff->to, gva, pair->after);
}

static bool add_change(struct diff *diff, const struct change *change)
{
	if (diff->count == diff->capacity) {
		uint64_t capacity = diff->capacity ? diff->capacity * 2 : 64;
		void *larger = realloc(diff->changes, capacity * sizeof *diff->changes);
		if (!larger)
			return false;
		diff->changes = larger;
		diff->capacity = capacity;
	}
	diff->changes[diff->count++] = *change;
	diff->bytes += change->bytes;
	return true;
}

static bool compare_region(struct diff *diff, const struct page_region *region)
{
	struct pair pair;
	for (uint64_t i = 0; i < region->count; i++) {
		struct change change = {region, region->region.gva + i * PAGE_BYTES, 0};
		/* What no step since "from" changed needs no second look. */
		if (region->pages[i].step && region->pages[i].step <= diff->from)
			continue;
		read_pair(diff, change.gva, &pair);
		for (size_t at = 0; at < PAGE_BYTES; at++)
			change.bytes += pair.before[at] != pair.after[at];
		if (change.bytes && !add_change(diff, &change))
			return false;
	}
	return true;
}

static bool compare(struct diff *diff)
{
	if (!mote__pages_find(&diff->map, diff->history))
		return false;
	for (uint32_t i = 0; i < diff->map.region_count; i++)
		if (!compare_region(diff, &diff->map.regions[i]))
			return false;
	return true;
}

/** The run of changed bytes at or behind *at: its start; *at is behind it then. PAGE_BYTES: none.
 */
static size_t next_run(const struct pair *pair, size_t *at)
{
	size_t first = *at, end;
	while (first < PAGE_BYTES && pair->before[first] == pair->after[first])
		first++;
	end = first;
	for (size_t i = first; i < PAGE_BYTES && i < end + RUN_GAP; i++)
		if (pair->before[i] != pair->after[i])
			end = i + 1;
	*at = end;
	return first;
}

static void print_bytes(const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len && i < SHOWN_BYTES; i++)
		(void)printf(" %02x", bytes[i]);
	if (len > SHOWN_BYTES)
		(void)fputs(" ...", stdout);
}

static void print_run(const struct diff *diff, const struct change *change, const struct pair *pair,
		      size_t first, size_t end)
{
	char symbol[256];
	const mote_snapshot *snapshot = diff->history->session.snapshot;
	(void)printf("    0x%" PRIx64 " %5zu ", change->gva + first, end - first);
	print_bytes(pair->before + first, end - first);
	(void)fputs("  ->", stdout);
	print_bytes(pair->after + first, end - first);
	if (mote_snapshot_symbolize(snapshot, change->gva + first, symbol, sizeof symbol) ==
	    MOTE_OK) {
		(void)fputs("  ", stdout);
		mote__output_name(stdout, symbol);
	}
	(void)fputc('\n', stdout);
}

static void print_change(const struct diff *diff, const struct change *change)
{
	struct pair pair;
	size_t end = 0, runs = 0;
	read_pair(diff, change->gva, &pair);
	(void)fputs("  ", stdout);
	mote__output_name(stdout, change->region->region.name);
	(void)printf(", page 0x%" PRIx64 ": %" PRIu64 " %s\n", change->gva, change->bytes,
		     change->bytes == 1 ? "byte" : "bytes");
	for (size_t first = next_run(&pair, &end); first < PAGE_BYTES;
	     first = next_run(&pair, &end))
		if (runs++ < MOST_RUNS)
			print_run(diff, change, &pair, first, end);
	if (runs > MOST_RUNS)
		(void)printf("    ... and at %zu more places\n", runs - MOST_RUNS);
}

/** Pages and bytes that changed in region. */
static uint64_t sum_region(const struct diff *diff, const struct page_region *region,
			   uint64_t *bytes)
{
	uint64_t pages = 0;
	*bytes = 0;
	for (uint64_t i = 0; i < diff->count; i++) {
		if (diff->changes[i].region != region)
			continue;
		*bytes += diff->changes[i].bytes;
		pages++;
	}
	return pages;
}

static void print_step_name(const struct diff *diff, uint32_t number)
{
	(void)printf("%" PRIu32 " (", number);
	mote__output_name(stdout, diff->history->steps[number - 1].what);
	(void)fputc(')', stdout);
}

static void print_diff(const struct diff *diff)
{
	(void)fputs("From step ", stdout);
	print_step_name(diff, diff->from);
	(void)fputs(" to step ", stdout);
	print_step_name(diff, diff->to);
	if (diff->count == 0) {
		(void)puts(": no page changed");
		return;
	}
	(void)printf(": %" PRIu64 " %s, %" PRIu64 " %s changed\n\n", diff->count,
		     diff->count == 1 ? "page" : "pages", diff->bytes,
		     diff->bytes == 1 ? "byte" : "bytes");
	(void)printf("  %-18s %8s %10s\n", "region", "pages", "bytes");
	for (uint32_t i = 0; i < diff->map.region_count; i++) {
		uint64_t bytes, pages = sum_region(diff, &diff->map.regions[i], &bytes);
		if (pages == 0)
			continue;
		(void)fputs("  ", stdout);
		mote__output_column(stdout, diff->map.regions[i].region.name, 18);
		(void)printf(" %8" PRIu64 " %10" PRIu64 "\n", pages, bytes);
	}
	(void)puts("\nWhat changed: address, bytes, before -> after");
	for (uint64_t i = 0; i < diff->count && i < MOST_PAGES; i++)
		print_change(diff, &diff->changes[i]);
	if (diff->count > MOST_PAGES)
		(void)printf("  ... and %" PRIu64 " more pages; --json tells all\n",
			     diff->count - MOST_PAGES);
}

static void write_run(struct json *json, const struct diff *diff, const struct change *change,
		      const struct pair *pair, size_t first, size_t end)
{
	char symbol[256];
	mote__emit_object(json, NULL);
	mote__emit_address(json, "gva", change->gva + first);
	mote__emit_hex(json, "before", pair->before + first, end - first);
	mote__emit_hex(json, "after", pair->after + first, end - first);
	if (mote_snapshot_symbolize(diff->history->session.snapshot, change->gva + first, symbol,
				    sizeof symbol) == MOTE_OK)
		mote__emit_text(json, "symbol", symbol);
	mote__emit_end(json);
}

static void write_change(struct json *json, const struct diff *diff, const struct change *change)
{
	struct pair pair;
	size_t end = 0;
	read_pair(diff, change->gva, &pair);
	mote__emit_object(json, NULL);
	mote__emit_text(json, "region", change->region->region.name);
	mote__emit_address(json, "gva", change->gva);
	mote__emit_u64(json, "bytes", change->bytes);
	mote__emit_array(json, "runs");
	for (size_t first = next_run(&pair, &end); first < PAGE_BYTES;
	     first = next_run(&pair, &end))
		write_run(json, diff, change, &pair, first, end);
	mote__emit_end(json);
	mote__emit_end(json);
}

static void write_diff(const struct diff *diff)
{
	struct json json = {.out = stdout};
	mote__emit_object(&json, NULL);
	mote__emit_bool(&json, "ok", true);
	mote__emit_text(&json, "guest", diff->history->session.guest);
	mote__step_json(&json, "from", diff->history, diff->from);
	mote__emit_end(&json);
	mote__step_json(&json, "to", diff->history, diff->to);
	mote__emit_end(&json);
	mote__emit_u64(&json, "bytes", diff->bytes);
	mote__emit_array(&json, "pages");
	for (uint64_t i = 0; i < diff->count; i++)
		write_change(&json, diff, &diff->changes[i]);
	mote__emit_end(&json);
	mote__emit_end(&json);
}

static int show(const struct history *history)
{
	const struct options *options = history->session.options;
	struct diff diff = {.history = history, .to = history->count};
	diff.from = options->from ? (uint32_t)options->from : history->count - 1;
	int status = EXIT_OK;
	/* A stored snapshot that is ready is one step alone. */
	if (diff.from == 0 || diff.from >= diff.to)
		return mote__report_usage(
			options->command_name,
			"there is no earlier step than step %" PRIu32 " to compare with", diff.to);
	if (!compare(&diff))
		status = mote__report_host(history->session.guest, "out of memory");
	else if (options->json)
		write_diff(&diff);
	else
		print_diff(&diff);
	free(diff.changes);
	mote__pages_free(&diff.map);
	return status;
}

int mote__command_snapshot_diff(const struct options *options)
{
	uint64_t rounds = options->repeat ? options->repeat : 1;
	struct history history = {0};
	/* The image and the initialisation are steps too. */
	if (options->from >= 2 + rounds * options->call_count)
		return mote__report_usage(
			options->command_name,
			"--from %" PRIu64 ": there are %" PRIu64
			" steps, and the last one is compared with an earlier one",
			options->from, 2 + rounds * options->call_count);
	int status = mote__history_make(&history, options);
	if (status == EXIT_OK)
		status = show(&history);
	mote__history_free(&history);
	return status;
}
