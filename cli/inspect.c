/* SPDX-License-Identifier: MIT */
/* mote inspect: what a guest image is and how it would lie in memory. Runs nothing of it. */
#include "cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "map.h"
#include "report.h"
#include "session.h"
#include "value.h"

/** A loaded guest with everything that is printed of it. */
struct subject {
	const struct session *session;
	struct mote_snapshot_info info;
	const struct mote_region *regions;
	uint32_t region_count;
	struct map virtual_map, physical_map;
};

/* regions: room for as many as the snapshot has, or NULL; outlives subject. */
static bool collect(struct subject *subject, struct mote_region *regions)
{
	if (!regions)
		return false;
	subject->regions = regions;
	for (uint32_t i = 0; i < subject->info.region_count; i++) {
		struct mote_region *region = &regions[subject->region_count];
		if (mote_snapshot_get_region(subject->session->snapshot, i, region) == MOTE_OK)
			subject->region_count++;
	}
	return mote__map_build(&subject->virtual_map, subject->regions, subject->region_count,
			       MAP_VIRTUAL) &&
	       mote__map_build(&subject->physical_map, subject->regions, subject->region_count,
			       MAP_PHYSICAL);
}

static void release(struct subject *subject)
{
	mote__map_free(&subject->virtual_map);
	mote__map_free(&subject->physical_map);
}

static const char *kind_of(const struct mote_snapshot_info *info)
{
	if (info->is_confined)
		return "confined (ring 3)";
	if (info->has_note)
		return "stock (ring 0); the image asks for ring 3";
	return "stock (ring 0)";
}

static void print_size(const char *name, uint64_t bytes)
{
	(void)printf("%-12s %s (0x%" PRIx64 ")\n", name, mote__size_text(bytes).text, bytes);
}

static void print_address(const char *name, uint64_t gva)
{
	if (gva)
		(void)printf("%-12s 0x%" PRIx64 "\n", name, gva);
	else
		(void)printf("%-12s told by the guest when it initialises\n", name);
}

static void print_info(const struct subject *subject)
{
	const struct mote_snapshot_info *info = &subject->info;
	(void)printf("%-12s ", "guest");
	mote__output_name(stdout, subject->session->guest);
	(void)printf("\n%-12s %s\n", "kind", kind_of(info));
	(void)printf("%-12s %s%s", "notes", info->has_note ? "mote" : "",
		     info->has_note && info->version_note[0] ? ", " : "");
	if (info->version_note[0]) {
		(void)fputs("version ", stdout);
		mote__output_name(stdout, info->version_note);
	}
	(void)printf("%s\n", info->has_note || info->version_note[0] ? "" : "none");
	(void)printf("%-12s %" PRIu32 "-bit, %s\n", "image", info->image_bits,
		     info->is_position_independent ? "position-independent" : "at a fixed address");
	print_address("entry", info->entry_gva);
	print_address("dispatch", info->dispatch_gva);
	print_size("input", info->input_bytes);
	print_size("output", info->output_bytes);
	print_size("heap", info->heap_bytes);
	if (info->is_confined)
		print_size("stack", info->stack_bytes);
	print_size("scratch", info->scratch_bytes);
	print_size("memory", info->memory_bytes);
	print_size("page tables", info->table_bytes);
	(void)printf("%-12s %" PRIu32 " pages\n", "write set", info->write_set_pages);
}

static void print_region_address(uint64_t address)
{
	if (address)
		(void)printf(" %#18" PRIx64, address);
	else
		(void)printf(" %18s", "-");
}

static void print_regions(const struct subject *subject)
{
	(void)printf("\nRegions\n  %-18s %18s %18s %10s  access\n", "name", "virtual", "physical",
		     "size");
	for (uint32_t i = 0; i < subject->region_count; i++) {
		const struct mote_region *region = &subject->regions[i];
		(void)fputs("  ", stdout);
		mote__output_column(stdout, region->name, 18);
		print_region_address(region->gva);
		print_region_address(region->gpa);
		(void)printf(" %10s  %s%s%s%s\n", mote__size_text(region->bytes).text,
			     mote__access_text(region->access).text,
			     region->is_cow ? ", copied on write" : "",
			     region->is_demand ? ", on demand" : "",
			     region->is_system ? ", system" : "");
	}
}

typedef int (*get_function)(const mote_snapshot *, uint32_t, struct mote_function *);

static void print_functions(const struct subject *subject, const char *head, uint32_t count,
			    get_function get)
{
	(void)printf("\n%s\n", head);
	if (count == 0)
		(void)puts("  none that the image tells");
	for (uint32_t i = 0; i < count; i++) {
		struct mote_function function;
		if (get(subject->session->snapshot, i, &function) != MOTE_OK)
			continue;
		(void)fputs("  ", stdout);
		mote__function_print(stdout, &function);
		(void)fputc('\n', stdout);
	}
}

static void print_all(const struct subject *subject)
{
	print_info(subject);
	print_regions(subject);
	print_functions(subject, "Exports", subject->info.export_count, mote_snapshot_get_export);
	print_functions(subject, "Imports", subject->info.import_count, mote_snapshot_get_import);
	(void)puts("\nVirtual memory (not to scale)");
	mote__map_print(stdout, &subject->virtual_map);
}

static void write_functions(struct json *json, const struct subject *subject, const char *key,
			    uint32_t count, get_function get)
{
	mote__emit_array(json, key);
	for (uint32_t i = 0; i < count; i++) {
		struct mote_function function;
		if (get(subject->session->snapshot, i, &function) == MOTE_OK)
			mote__function_json(json, &function);
	}
	mote__emit_end(json);
}

static void write_region(struct json *json, const struct mote_region *region)
{
	mote__emit_object(json, NULL);
	mote__emit_text(json, "name", region->name);
	mote__emit_address(json, "gva", region->gva);
	mote__emit_address(json, "gpa", region->gpa);
	mote__emit_u64(json, "bytes", region->bytes);
	mote__emit_text(json, "access", mote__access_text(region->access).text);
	mote__emit_bool(json, "is_cow", region->is_cow);
	mote__emit_bool(json, "is_demand", region->is_demand);
	mote__emit_bool(json, "is_system", region->is_system);
	mote__emit_end(json);
}

static void write_json(const struct subject *subject)
{
	const struct mote_snapshot_info *info = &subject->info;
	struct json json = {.out = stdout};
	mote__emit_object(&json, NULL);
	mote__emit_bool(&json, "ok", true);
	mote__emit_text(&json, "guest", subject->session->guest);
	mote__emit_bool(&json, "is_confined", info->is_confined);
	mote__emit_bool(&json, "has_note", info->has_note);
	mote__emit_text(&json, "version_note", info->version_note);
	mote__emit_u64(&json, "image_bits", info->image_bits);
	mote__emit_bool(&json, "is_position_independent", info->is_position_independent);
	mote__emit_address(&json, "entry", info->entry_gva);
	mote__emit_address(&json, "dispatch", info->dispatch_gva);
	mote__emit_u64(&json, "input_bytes", info->input_bytes);
	mote__emit_u64(&json, "output_bytes", info->output_bytes);
	mote__emit_u64(&json, "heap_bytes", info->heap_bytes);
	mote__emit_u64(&json, "stack_bytes", info->stack_bytes);
	mote__emit_u64(&json, "scratch_bytes", info->scratch_bytes);
	mote__emit_u64(&json, "memory_bytes", info->memory_bytes);
	mote__emit_u64(&json, "table_bytes", info->table_bytes);
	mote__emit_u64(&json, "write_set_pages", info->write_set_pages);
	mote__emit_array(&json, "regions");
	for (uint32_t i = 0; i < subject->region_count; i++)
		write_region(&json, &subject->regions[i]);
	mote__emit_end(&json);
	write_functions(&json, subject, "exports", info->export_count, mote_snapshot_get_export);
	write_functions(&json, subject, "imports", info->import_count, mote_snapshot_get_import);
	mote__emit_end(&json);
}

static int write_svg(const struct subject *subject, const char *path)
{
	const char *slash = strrchr(subject->session->guest, '/');
	const char *title = slash ? slash + 1 : subject->session->guest;
	if (strcmp(path, "-") == 0) {
		mote__svg_write(stdout, title, &subject->virtual_map, &subject->physical_map);
		return EXIT_OK;
	}
	FILE *out = fopen(path, "w");
	if (!out)
		return mote__report_host(path, "%s", strerror(errno));
	mote__svg_write(out, title, &subject->virtual_map, &subject->physical_map);
	bool is_written = mote__output_finish(out, path);
	if (fclose(out) != 0 && is_written)
		return mote__report_host(path, "%s", strerror(errno));
	return is_written ? EXIT_OK : EXIT_HOST;
}

/** One name a line, for scripts and for the completion of the shell. */
static void print_names(const struct subject *subject)
{
	for (uint32_t i = 0; i < subject->info.export_count; i++) {
		struct mote_function function;
		if (mote_snapshot_get_export(subject->session->snapshot, i, &function) != MOTE_OK)
			continue;
		mote__output_name(stdout, function.name);
		(void)fputc('\n', stdout);
	}
}

static int show(const struct session *session)
{
	const struct options *options = session->options;
	struct subject subject = {.session = session};
	int status = EXIT_OK;
	mote_snapshot_get_info(session->snapshot, &subject.info);
	struct mote_region *regions = calloc(subject.info.region_count + 1u, sizeof *regions);
	if (!collect(&subject, regions))
		status = mote__report_host(session->guest, "out of memory");
	else if (options->exports)
		print_names(&subject);
	else if (options->svg && strcmp(options->svg, "-") == 0)
		status = write_svg(&subject, "-");
	else if (options->json)
		write_json(&subject);
	else
		print_all(&subject);
	if (status == EXIT_OK && options->svg && strcmp(options->svg, "-") != 0)
		status = write_svg(&subject, options->svg);
	release(&subject);
	free(regions);
	return status;
}

int mote__command_inspect(const struct options *options)
{
	struct session session = {0};
	if (options->operand_count > 0)
		return mote__report_usage("inspect", "one guest at a time, not also \"%s\"",
					  options->operands[0]);
	int status = mote__session_load(&session, options);
	if (status == EXIT_OK)
		status = show(&session);
	mote__session_close(&session);
	return status;
}
