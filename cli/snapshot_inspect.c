/* SPDX-License-Identifier: MIT */
/* mote snapshot inspect: what the snapshot behind the last step of a guest is made of. */
#include "cli.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "history.h"
#include "output.h"
#include "pages.h"
#include "report.h"
#include "value.h"

/** What is printed. */
struct view {
	const struct history *history;
	const struct step *last;
	struct page_map map;
	uint8_t digest[MOTE_DIGEST_BYTES];
};

static void print_head(const struct view *view)
{
	const struct mote_snapshot_info *info = &view->last->info;
	(void)printf("%-12s ", "guest");
	mote__output_name(stdout, view->history->session.guest);
	(void)printf("\n%-12s ", "after");
	mote__output_name(stdout, view->last->what);
	(void)printf("%s\n%-12s ", view->last->is_same ? ", which changed nothing" : "", "digest");
	mote__digest_print(stdout, view->digest, sizeof view->digest);
	(void)printf("\n%-12s %" PRIu64 "\n", "generation", info->generation);
	(void)printf("%-12s %s\n", "ready",
		     info->is_ready ? "yes: a sandbox of it can be called at once"
				    : "no: a sandbox of it initialises itself first");
	(void)printf("%-12s %s\n", "kind",
		     info->is_confined ? "confined (ring 3)" : "stock (ring 0)");
	(void)printf("%-12s %s in %" PRIu32 " %s", "memory",
		     mote__size_text(info->memory_bytes).text, info->layer_count,
		     info->layer_count == 1 ? "layer" : "layers");
	(void)printf(", %s of it hidden by later layers\n", mote__size_text(info->dead_bytes).text);
	(void)printf("%-12s %s\n", "page tables", mote__size_text(info->table_bytes).text);
	(void)printf("%-12s %" PRIu32 " pages\n", "write set", info->write_set_pages);
	(void)printf("%-12s %" PRIu32 "\n", "metadata", info->metadata_count);
}

static void print_layers(const struct view *view)
{
	(void)printf("\nLayers, the oldest first\n  %-5s %8s %18s %10s %6s %8s  added by\n",
		     "layer", "id", "physical", "size", "pages", "seen");
	for (uint32_t i = 0; i < view->map.layer_count; i++) {
		const struct page_layer *layer = &view->map.layers[i];
		(void)printf("  %-5" PRIu32 " %8" PRIu64 " %#18" PRIx64 " %10s %6" PRIu64
			     " %8" PRIu64 "  %" PRIu32 " ",
			     i + 1, layer->layer.id, layer->layer.gpa,
			     mote__size_text(layer->layer.bytes).text,
			     layer->layer.bytes / PAGE_BYTES, layer->pages, layer->step);
		mote__output_name(stdout, view->history->steps[layer->step - 1].what);
		(void)fputc('\n', stdout);
	}
}

static void print_regions(const struct view *view)
{
	(void)printf("\nMemory of the guest, in pages\n  %-18s %18s %10s %8s %8s  access\n",
		     "region", "virtual", "size", "stored", "changed");
	for (uint32_t i = 0; i < view->map.region_count; i++) {
		const struct page_region *region = &view->map.regions[i];
		(void)fputs("  ", stdout);
		mote__output_column(stdout, region->region.name, 18);
		(void)printf(" %#18" PRIx64 " %10s %8" PRIu64 " %8" PRIu64 "  %s%s%s\n",
			     region->region.gva, mote__size_text(region->region.bytes).text,
			     region->stored, region->changed,
			     mote__access_text(region->region.access).text,
			     region->region.is_cow ? ", copied on write" : "",
			     region->region.is_demand ? ", on demand" : "");
	}
	(void)puts("  (stored: not all zero; changed: by the last step)");
}

static void print_imports(const struct view *view)
{
	(void)puts("\nFunctions wanted from the host");
	if (view->last->info.import_count == 0)
		(void)puts("  none that the image tells");
	for (uint32_t i = 0; i < view->last->info.import_count; i++) {
		struct mote_function function;
		if (mote_snapshot_get_import(view->last->snapshot, i, &function) != MOTE_OK)
			continue;
		(void)fputs("  ", stdout);
		mote__function_print(stdout, &function);
		(void)fputc('\n', stdout);
	}
}

static void write_layers(struct json *json, const struct view *view)
{
	mote__emit_array(json, "layers");
	for (uint32_t i = 0; i < view->map.layer_count; i++) {
		const struct page_layer *layer = &view->map.layers[i];
		mote__emit_object(json, NULL);
		mote__emit_u64(json, "id", layer->layer.id);
		mote__emit_address(json, "gpa", layer->layer.gpa);
		mote__emit_u64(json, "bytes", layer->layer.bytes);
		mote__emit_u64(json, "step", layer->step);
		mote__emit_u64(json, "visible_pages", layer->pages);
		mote__emit_end(json);
	}
	mote__emit_end(json);
}

static void write_regions(struct json *json, const struct view *view)
{
	mote__emit_array(json, "regions");
	for (uint32_t i = 0; i < view->map.region_count; i++) {
		const struct page_region *region = &view->map.regions[i];
		mote__emit_object(json, NULL);
		mote__emit_text(json, "name", region->region.name);
		mote__emit_address(json, "gva", region->region.gva);
		mote__emit_u64(json, "bytes", region->region.bytes);
		mote__emit_u64(json, "stored_pages", region->stored);
		mote__emit_u64(json, "changed_pages", region->changed);
		mote__emit_end(json);
	}
	mote__emit_end(json);
}

static void write_json(const struct view *view)
{
	const struct mote_snapshot_info *info = &view->last->info;
	struct json json = {.out = stdout};
	mote__emit_object(&json, NULL);
	mote__emit_bool(&json, "ok", true);
	mote__emit_text(&json, "guest", view->history->session.guest);
	mote__emit_hex(&json, "digest", view->digest, sizeof view->digest);
	mote__step_json(&json, "snapshot", view->history, view->history->count);
	mote__emit_end(&json);
	mote__emit_bool(&json, "is_confined", info->is_confined);
	mote__emit_u64(&json, "table_bytes", info->table_bytes);
	mote__emit_u64(&json, "write_set_pages", info->write_set_pages);
	mote__emit_u64(&json, "metadata_count", info->metadata_count);
	write_layers(&json, view);
	write_regions(&json, view);
	mote__emit_array(&json, "imports");
	for (uint32_t i = 0; i < info->import_count; i++) {
		struct mote_function function;
		if (mote_snapshot_get_import(view->last->snapshot, i, &function) == MOTE_OK)
			mote__function_json(&json, &function);
	}
	mote__emit_end(&json);
	mote__emit_end(&json);
}

static int write_svg(const struct view *view, const char *path)
{
	const char *guest = view->history->session.guest, *slash = strrchr(guest, '/');
	const char *title = slash ? slash + 1 : guest;
	if (strcmp(path, "-") == 0) {
		mote__pages_svg(stdout, title, &view->map, view->history);
		return EXIT_OK;
	}
	FILE *out = fopen(path, "w");
	if (!out)
		return mote__report_host(path, "%s", strerror(errno));
	mote__pages_svg(out, title, &view->map, view->history);
	bool is_written = mote__output_finish(out, path);
	if (fclose(out) != 0 && is_written)
		return mote__report_host(path, "%s", strerror(errno));
	return is_written ? EXIT_OK : EXIT_HOST;
}

static int print_view(struct view *view)
{
	const struct options *options = view->history->session.options;
	int status = mote__history_digest(view->history, view->last->snapshot, view->digest);
	if (status != EXIT_OK)
		return status;
	if (options->json) {
		write_json(view);
	} else {
		print_head(view);
		print_layers(view);
		print_regions(view);
		print_imports(view);
	}
	return EXIT_OK;
}

static int show(const struct history *history)
{
	const struct options *options = history->session.options;
	struct view view = {.history = history, .last = mote__history_last(history)};
	int status = EXIT_OK;
	if (!mote__pages_find(&view.map, history))
		status = mote__report_host(history->session.guest, "out of memory");
	else if (!options->svg || strcmp(options->svg, "-") != 0)
		status = print_view(&view);
	if (status == EXIT_OK && options->svg)
		status = write_svg(&view, options->svg);
	mote__pages_free(&view.map);
	return status;
}

int mote__command_snapshot_inspect(const struct options *options)
{
	struct history history = {0};
	int status = mote__history_make(&history, options);
	if (status == EXIT_OK)
		status = show(&history);
	mote__history_free(&history);
	return status;
}
