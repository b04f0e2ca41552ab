/* SPDX-License-Identifier: MIT */
/* Snapshots: options, files, tables of functions, and what a snapshot tells about itself. */
#define _GNU_SOURCE
#include "forked.h"
#include "world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 4096ull

static mote_snapshot *snapshot;
static struct world w;
static struct tiny_image image;

static int load(const struct mote_snapshot_options *options)
{
	snapshot = NULL;
	int rc = mote_snapshot_from_memory(image.bytes, image.len, options, &snapshot, &w.err);
	CHECK((rc == MOTE_OK) == (snapshot != NULL));
	return rc;
}

static void drop(void)
{
	mote_snapshot_unref(snapshot);
	snapshot = NULL;
}

static void use_stock(void)
{
	image = tiny_guest(&(struct tiny_options){0});
}

static void use_confined(void)
{
	image = tiny_guest(&(struct tiny_options){.is_confined = true});
}

static struct mote_snapshot_info info(void)
{
	struct mote_snapshot_info i;
	memset(&i, 0x5A, sizeof i);
	mote_snapshot_get_info(snapshot, &i);
	return i;
}

/* ---- options --------------------------------------------------------------------------------- */

TEST(snapshot__defaults_of_a_stock_guest)
{
	use_stock();
	OK(&w, load(NULL));
	const struct mote_snapshot_info i = info();
	CHECK(i.family == MOTE_FAMILY_S && i.image_bits == 64);
	CHECK(!i.is_confined && !i.has_note && i.is_position_independent);
	CHECK_EQ(i.entry_gva, TINY_ENTRY_GVA);
	CHECK_EQ(i.dispatch_gva, 0);
	CHECK_EQ(i.input_bytes, 0x4000);
	CHECK_EQ(i.output_bytes, 0x4000);
	CHECK_EQ(i.heap_bytes, 131072);
	CHECK_EQ(i.stack_bytes, 0);
	CHECK_EQ(i.scratch_bytes, 0x48000);
	CHECK_EQ(i.table_bytes, 7 * PAGE);
	CHECK_EQ(i.memory_bytes, 0x26000 - 0x1000);
	CHECK_EQ(i.write_set_pages, 0);
	CHECK(i.export_count == 0 && i.import_count == 0 && i.region_count == 4);
	CHECK_STR(i.version_note, "");
	drop();
}

TEST(snapshot__defaults_of_a_confined_guest)
{
	use_confined();
	OK(&w, load(NULL));
	const struct mote_snapshot_info i = info();
	CHECK(i.is_confined && i.has_note);
	CHECK_EQ(i.entry_gva, TINY_RING3_GVA);
	CHECK_EQ(i.dispatch_gva, TINY_DISPATCH_GVA);
	CHECK_EQ(i.stack_bytes, MOTE_DEFAULT_STACK_BYTES);
	CHECK_EQ(i.heap_bytes, MOTE_DEFAULT_HEAP_BYTES);
	CHECK_EQ(i.write_set_pages, 4);
	CHECK(i.scratch_bytes > 0x48000 && i.scratch_bytes % PAGE == 0);
	drop();
}

TEST(snapshot__the_stack_is_the_note_s_unless_the_caller_says)
{
	image = tiny_guest(&(struct tiny_options){.is_confined = true, .stack_bytes = 0x12000});
	OK(&w, load(NULL));
	CHECK_EQ(info().stack_bytes, 0x12000);
	drop();
	const struct mote_snapshot_options o = {.size = sizeof o, .stack_bytes = 0x5000};
	OK(&w, load(&o));
	CHECK_EQ(info().stack_bytes, 0x5000);
	drop();
	/* A stock guest has none. */
	use_stock();
	OK(&w, load(&o));
	CHECK_EQ(info().stack_bytes, 0);
	drop();
}

TEST(snapshot__a_confined_image_can_be_run_as_a_stock_guest)
{
	const struct mote_snapshot_options o = {.size = sizeof o, .ignore_extensions = 1};
	use_confined();
	OK(&w, load(&o));
	const struct mote_snapshot_info i = info();
	CHECK(!i.is_confined && i.has_note);
	CHECK_EQ(i.entry_gva, TINY_ENTRY_GVA);
	CHECK_EQ(i.scratch_bytes, 0x48000);
	drop();
}

TEST(snapshot__options_are_used)
{
	const uint32_t msrs[] = {0x10, 0xC0000080};
	const struct mote_snapshot_options o = {.size = sizeof o,
						.input_bytes = 0x3000,
						.output_bytes = 0x5000,
						.heap_bytes = 0x1234,
						.scratch_bytes = 0x60000,
						.init_data = "hello",
						.init_data_bytes = 5,
						.init_data_access = MOTE_READ | MOTE_WRITE,
						.family = MOTE_FAMILY_S,
						.msr_count = 2,
						.msrs = msrs};
	use_stock();
	OK(&w, load(&o));
	const struct mote_snapshot_info i = info();
	CHECK_EQ(i.input_bytes, 0x3000);
	CHECK_EQ(i.output_bytes, 0x5000);
	CHECK_EQ(i.heap_bytes, 0x1234);
	CHECK_EQ(i.scratch_bytes, 0x60000);
	CHECK(snapshot->image->msr_count == 2 && snapshot->image->msrs[1] == 0xC0000080);
	CHECK_MEM(snapshot->memory + snapshot->layout.init_gpa, "hello\0", 6);
	drop();
}

#define REFUSES(part, ...)                                                                \
	do {                                                                              \
		const struct mote_snapshot_options o_ = {.size = sizeof o_, __VA_ARGS__}; \
		FAILS(&w, load(&o_), MOTE_EINVAL);                                        \
		CHECK_HAS(w.err.message, part);                                           \
	} while (0)

TEST(snapshot__refuses_options_out_of_range)
{
	static const uint32_t msrs[16] = {0};
	use_stock();
	REFUSES("init_data is NULL, init_data_bytes is 4", .init_data_bytes = 4);
	REFUSES("init_data_access is 0x8, bits are 0x7", .init_data_access = 8);
	REFUSES("init_data_access is 0x6, without MOTE_READ",
		.init_data_access = MOTE_WRITE | MOTE_EXECUTE);
	REFUSES("msr_count is 16, at most 15", .msr_count = 16, .msrs = msrs);
	REFUSES("msrs is NULL, msr_count is 1", .msr_count = 1);
	REFUSES("family is 2, known is 1 (S)", .family = 2);
	REFUSES("input_bytes is 0x1fff, limits are", .input_bytes = 0x1FFF);
	REFUSES("output_bytes is 0x1, limits are", .output_bytes = 1);
	REFUSES("heap_bytes is", .heap_bytes = UINT64_MAX);
	REFUSES("scratch_bytes is 0x48001, no multiple", .scratch_bytes = 0x48001);
	const struct mote_snapshot_options most = {
		.size = sizeof most, .msr_count = 15, .msrs = msrs};
	OK(&w, load(&most));
	drop();
}

TEST(snapshot__refuses_options_of_a_wrong_size)
{
	struct {
		struct mote_snapshot_options o;
		uint8_t tail[16];
	} more = {.o = {.size = sizeof more.o - 1}};
	use_stock();
	FAILS(&w, load(&more.o), MOTE_EINVAL);
	CHECK_HAS(w.err.message, "mote_snapshot_options.size is");
	more.o.size = sizeof more;
	OK(&w, load(&more.o));
	drop();
	more.tail[15] = 1;
	FAILS(&w, load(&more.o), MOTE_EINVAL);
	CHECK_HAS(w.err.message, "is not zero");
}

TEST(snapshot__refuses_missing_arguments)
{
	use_stock();
	FAILS(&w, mote_snapshot_from_memory(NULL, 1, NULL, &snapshot, &w.err), MOTE_EINVAL);
	CHECK_STR(w.err.message, "image is NULL");
	FAILS(&w, mote_snapshot_from_memory(image.bytes, image.len, NULL, NULL, &w.err),
	      MOTE_EINVAL);
	CHECK_STR(w.err.message, "snapshot is NULL");
	FAILS(&w, mote_snapshot_from_file(NULL, NULL, &snapshot, &w.err), MOTE_EINVAL);
	CHECK_STR(w.err.message, "path is NULL");
	CHECK_EQ(mote_snapshot_from_memory(NULL, 1, NULL, &snapshot, NULL), MOTE_EINVAL);
	mote_snapshot_unref(NULL);
}

TEST(snapshot__refuses_what_is_no_image)
{
	use_stock();
	image.bytes[0] = 'X';
	FAILS(&w, load(NULL), MOTE_EIMAGE);
	image.len = 0;
	FAILS(&w, load(NULL), MOTE_EIMAGE);
}

TEST(snapshot__a_region_over_its_limit_is_too_big)
{
	const struct mote_snapshot_options o = {.size = sizeof o,
						.heap_bytes = MOTE_MAX_REGION_BYTES};
	use_stock();
	FAILS(&w, load(&o), MOTE_ETOOBIG);
	use_confined();
	FAILS(&w, load(&o), MOTE_ETOOBIG);
}

TEST(snapshot__has_as_many_owners_as_were_made)
{
	use_stock();
	OK(&w, load(NULL));
	CHECK(mote_snapshot_ref(snapshot) == snapshot);
	mote_snapshot_unref(snapshot);
	CHECK_EQ(info().image_bits, 64);
	drop();
}

#define MIB (1ull << 20)

TEST(snapshot__an_image_over_its_limit_is_too_big)
{
	static const bool kinds[] = {false, true};
	for (size_t k = 0; k < 2; k++) {
		struct mote_snapshot_options o = {.size = sizeof o};
		image = tiny_guest(
			&(struct tiny_options){.is_confined = kinds[k], .data_bytes = 20 * PAGE});
		OK(&w, load(&o));
		const uint64_t bytes = snapshot->layout.image_bytes;
		drop();
		o.image_bytes_max = bytes;
		OK(&w, load(&o));
		drop();
		o.image_bytes_max = UINT64_MAX;
		OK(&w, load(&o));
		drop();
		static const uint64_t less[] = {1, PAGE, 10 * PAGE};
		for (size_t i = 0; i < 3; i++) {
			o.image_bytes_max = bytes - less[i];
			FAILS(&w, load(&o), MOTE_ETOOBIG);
			CHECK_HAS(w.err.message, "image_bytes_max");
		}
		o.image_bytes_max = 1;
		FAILS(&w, load(&o), MOTE_ETOOBIG);
	}
}

TEST(snapshot__an_image_has_at_most_256_mebibytes_unless_the_caller_says)
{
	const struct mote_snapshot_options o = {.size = sizeof o, .image_bytes_max = 300 * MIB};
	image = tiny_guest(&(struct tiny_options){.is_confined = true, .data_bytes = 256 * MIB});
	FAILS(&w, load(NULL), MOTE_ETOOBIG);
	CHECK_HAS(w.err.message, "image_bytes_max");
	OK(&w, load(&o));
	drop();
	image = tiny_guest(&(struct tiny_options){.is_confined = true, .data_bytes = 255 * MIB});
	OK(&w, load(NULL));
	drop();
}

TEST(snapshot__a_note_may_ask_for_so_much_stack_unless_the_caller_says)
{
	const struct mote_snapshot_options o = {.size = sizeof o, .stack_bytes = 0x5000};
	const struct mote_snapshot_options more = {.size = sizeof more,
						   .stack_bytes = 2 * MOTE_MAX_NOTE_STACK_BYTES};
	image = tiny_guest(&(struct tiny_options){.is_confined = true,
						  .stack_bytes = MOTE_MAX_NOTE_STACK_BYTES});
	OK(&w, load(NULL));
	CHECK_EQ(info().stack_bytes, MOTE_MAX_NOTE_STACK_BYTES);
	drop();
	static const uint64_t bad[] = {MOTE_MAX_NOTE_STACK_BYTES + 1, 1ull << 30};
	for (size_t i = 0; i < 2; i++) {
		image = tiny_guest(
			&(struct tiny_options){.is_confined = true, .stack_bytes = bad[i]});
		FAILS(&w, load(NULL), MOTE_EIMAGE);
		CHECK_HAS(w.err.message, "stack_bytes");
		OK(&w, load(&o));
		CHECK_EQ(info().stack_bytes, 0x5000);
		drop();
		OK(&w, load(&more));
		CHECK_EQ(info().stack_bytes, 2 * MOTE_MAX_NOTE_STACK_BYTES);
		drop();
	}
}

/* Beyond its limit on file sizes a process gets SIGXFSZ, and dies. */
static int load_with_small_files(void *cookie)
{
	const struct rlimit limit = {*(const rlim_t *)cookie, RLIM_INFINITY};
	struct mote_error err;
	if (signal(SIGXFSZ, SIG_DFL) == SIG_ERR || setrlimit(RLIMIT_FSIZE, &limit) != 0)
		return 99;
	int rc = mote_snapshot_from_memory(image.bytes, image.len, NULL, &snapshot, &err);
	if (rc == MOTE_OK)
		return 1;
	return (rc == MOTE_ENOMEM || rc == MOTE_ESYSTEM) && err.system_errno == EFBIG ? 2 : 3;
}

TEST(snapshot__survives_a_limit_on_file_sizes)
{
	static const rlim_t limits[] = {0, 4096, 0x1000000};
	use_confined();
	for (size_t i = 0; i < 3; i++) {
		rlim_t limit = limits[i];
		int result = forked_run(load_with_small_files, &limit);
		if (result == 99)
			check_skip("cannot set the limit");
		CHECK_EQ(result, i < 2 ? 2 : 1);
	}
}

/* ---- files ----------------------------------------------------------------------------------- */

static char path[] = "/tmp/mote-test-XXXXXX";

static void write_file(size_t len)
{
	(void)strcpy(path, "/tmp/mote-test-XXXXXX");
	int fd = mkstemp(path);
	CHECK(fd >= 0);
	CHECK_EQ(write(fd, image.bytes, len), len);
	close(fd);
}

TEST(snapshot__is_made_from_a_file)
{
	use_confined();
	write_file(image.len);
	OK(&w, mote_snapshot_from_file(path, NULL, &snapshot, &w.err));
	CHECK_EQ(info().dispatch_gva, TINY_DISPATCH_GVA);
	drop();
	unlink(path);
}

TEST(snapshot__names_a_file_that_cannot_be_read)
{
	snapshot = NULL;
	FAILS(&w, mote_snapshot_from_file("/nonexistent/g", NULL, &snapshot, &w.err), MOTE_ESYSTEM);
	CHECK_EQ(w.err.system_errno, ENOENT);
	CHECK_STR(w.err.message, "reading /nonexistent/g: No such file or directory");
	FAILS(&w, mote_snapshot_from_file("/tmp", NULL, &snapshot, &w.err), MOTE_ESYSTEM);
	CHECK_EQ(w.err.system_errno, EISDIR);
	FAILS(&w, mote_snapshot_from_file("/dev/zero", NULL, &snapshot, &w.err), MOTE_ESYSTEM);
	CHECK_EQ(w.err.system_errno, EINVAL);
	CHECK(snapshot == NULL);
}

TEST(snapshot__does_not_wait_for_a_pipe)
{
	char fifo[] = "/tmp/mote-test-fifo-XXXXXX";
	CHECK(mkdtemp(fifo) != NULL);
	char name[64];
	snprintf(name, sizeof name, "%s/f", fifo);
	CHECK_EQ(mkfifo(name, 0600), 0);
	FAILS(&w, mote_snapshot_from_file(name, NULL, &snapshot, &w.err), MOTE_ESYSTEM);
	unlink(name);
	rmdir(fifo);
}

TEST(snapshot__refuses_a_file_beyond_the_limit)
{
	use_stock();
	write_file(16);
	CHECK_EQ(truncate(path, (4ll << 30) + 1), 0);
	FAILS(&w, mote_snapshot_from_file(path, NULL, &snapshot, &w.err), MOTE_ETOOBIG);
	CHECK_HAS(w.err.message, "is larger than 4294967296 bytes");
	unlink(path);
}

TEST(snapshot__refuses_a_truncated_and_an_empty_file)
{
	use_stock();
	write_file(100);
	FAILS(&w, mote_snapshot_from_file(path, NULL, &snapshot, &w.err), MOTE_EIMAGE);
	CHECK_EQ(truncate(path, 0), 0);
	FAILS(&w, mote_snapshot_from_file(path, NULL, &snapshot, &w.err), MOTE_EIMAGE);
	unlink(path);
}

/* ---- functions ------------------------------------------------------------------------------- */

static const struct tiny_function exports[] = {
	{"add", MOTE_I32, 2, {MOTE_I32, MOTE_I32}},
	{"nothing", MOTE_VOID, 0, {0}},
	{"gr\xc3\xbc\xc3\x9f", MOTE_STRING, 3, {MOTE_STRING, MOTE_BYTES, MOTE_BOOL}},
};
static const struct tiny_function imports[] = {{"upper", MOTE_STRING, 1, {MOTE_STRING}}};

static void use_functions(void)
{
	image = tiny_guest(&(struct tiny_options){.is_confined = true,
						  .exports = exports,
						  .export_count = 3,
						  .imports = imports,
						  .import_count = 1});
}

TEST(snapshot__lists_exports_and_imports)
{
	struct mote_function f;
	use_functions();
	OK(&w, load(NULL));
	CHECK(info().export_count == 3 && info().import_count == 1);
	for (uint32_t i = 0; i < 3; i++) {
		CHECK_EQ(mote_snapshot_get_export(snapshot, i, &f), MOTE_OK);
		CHECK_STR(f.name, exports[i].name);
		CHECK_EQ(f.result, exports[i].result);
		CHECK_EQ(f.parameter_count, exports[i].count);
		CHECK_MEM(f.parameters, exports[i].parameters, sizeof f.parameters);
	}
	CHECK_EQ(mote_snapshot_get_import(snapshot, 0, &f), MOTE_OK);
	CHECK_STR(f.name, "upper");
	CHECK_EQ(mote_snapshot_get_export(snapshot, 3, &f), MOTE_EINVAL);
	CHECK_EQ(mote_snapshot_get_import(snapshot, 1, &f), MOTE_EINVAL);
	CHECK_EQ(mote_snapshot_get_import(snapshot, UINT32_MAX, &f), MOTE_EINVAL);
	drop();
}

TEST(snapshot__a_stock_guest_lists_nothing)
{
	struct mote_function f;
	use_stock();
	OK(&w, load(NULL));
	CHECK_EQ(mote_snapshot_get_export(snapshot, 0, &f), MOTE_EINVAL);
	CHECK_EQ(mote_snapshot_get_import(snapshot, 0, &f), MOTE_EINVAL);
	drop();
}

#define SPOILED(part, ...)                          \
	do {                                        \
		use_functions();                    \
		__VA_ARGS__;                        \
		FAILS(&w, load(NULL), MOTE_EIMAGE); \
		CHECK_HAS(w.err.message, part);     \
	} while (0)

TEST(snapshot__refuses_tables_outside_the_image)
{
	image = tiny_guest(&(struct tiny_options){.is_confined = true, .data_bytes = 2 * PAGE});
	image.note->exports = 0x3FF8;
	FAILS(&w, load(NULL), MOTE_EIMAGE);
	CHECK_HAS(w.err.message, "exports: the table at 0x3ff8 is outside the image");
	image.note->exports = 0x3FF0;
	OK(&w, load(NULL));
	drop();
	SPOILED("exports: entries at 0x100000 are outside the image",
		image.tables[0] = (struct mote_abi_table){0x100000, 0x100040});
	SPOILED("imports: entries at 0xfc0 are outside the image",
		image.tables[1] = (struct mote_abi_table){0xFC0, 0x1000});
}

TEST(snapshot__refuses_tables_that_are_no_arrays)
{
	SPOILED("exports: entries 0x2000 to 0x1fc0 are no array of at most 4096",
		image.tables[0] = (struct mote_abi_table){0x2000, 0x1FC0});
	SPOILED("exports: entries 0x2000 to 0x2041 are no array",
		image.tables[0] = (struct mote_abi_table){0x2000, 0x2041});
	SPOILED("exports: entries 0x0 to 0x40040 are no array",
		image.tables[0] = (struct mote_abi_table){0, 4097 * 64});
	/* None is fine, wherever it is. */
	use_functions();
	image.tables[0] = (struct mote_abi_table){0x123456789, 0x123456789};
	OK(&w, load(NULL));
	CHECK_EQ(info().export_count, 0);
	drop();
}

TEST(snapshot__refuses_entries_out_of_range)
{
	SPOILED("exports, entry 1: name_bytes is 0x0", image.function[1].name_bytes = 0);
	SPOILED("exports, entry 1: name_bytes is 0x100", image.function[1].name_bytes = 256);
	SPOILED("exports, entry 2: result is 0xa", image.function[2].result = MOTE_BYTES + 1);
	SPOILED("exports, entry 0: parameter_count is 0x21",
		image.function[0].parameter_count = 33);
	SPOILED("exports, entry 0: a parameter's type is 0x0",
		image.function[0].parameters[1] = MOTE_VOID);
	SPOILED("imports, entry 0: a parameter's type is 0xa",
		image.function[3].parameters[0] = MOTE_BYTES + 1);
	SPOILED("exports, entry 0: reserved is 0x1", image.function[0].reserved[1] = 1);
	SPOILED("exports, entry 0: reserved is 0x", image.function[0].reserved2 = 1ull << 60);
}

TEST(snapshot__refuses_names_that_are_none)
{
	SPOILED("exports, entry 0: name (outside the image) is 0x0", image.function[0].name = 0);
	SPOILED("exports, entry 0: name (outside the image) is 0xffffffffffffffff",
		image.function[0].name = UINT64_MAX);
	/* No NUL behind it, a NUL inside, no UTF-8. */
	SPOILED("exports, entry 0: name (no UTF-8 text)", image.function[0].name_bytes = 2);
	SPOILED("exports, entry 0: name (no UTF-8 text)", image.function[0].name_bytes = 11);
	SPOILED("exports, entry 2: name (no UTF-8 text)", image.function[2].name += 3,
		image.function[2].name_bytes -= 3);
}

TEST(snapshot__accepts_the_longest_name_and_most_parameters)
{
	char name[256];
	struct tiny_function f = {name, MOTE_BYTES, 32, {0}};
	struct mote_function got;
	memset(name, 'n', 255);
	name[255] = 0;
	memset(f.parameters, MOTE_U64, sizeof f.parameters);
	image = tiny_guest(
		&(struct tiny_options){.is_confined = true, .exports = &f, .export_count = 1});
	OK(&w, load(NULL));
	CHECK_EQ(mote_snapshot_get_export(snapshot, 0, &got), MOTE_OK);
	CHECK_STR(got.name, name);
	CHECK_EQ(got.parameter_count, 32);
	drop();
}

/* ---- what it tells --------------------------------------------------------------------------- */

TEST(snapshot__lists_regions_in_ascending_order)
{
	static const enum world_kind kinds[] = {STOCK, CONFINED};
	for (size_t k = 0; k < 2; k++) {
		struct mote_region r;
		uint64_t end = 0;
		image = tiny_guest(&(struct tiny_options){.is_confined = kinds[k] == CONFINED});
		OK(&w, load(NULL));
		uint32_t count = info().region_count;
		CHECK(count >= 4);
		for (uint32_t i = 0; i < count; i++) {
			CHECK_EQ(mote_snapshot_get_region(snapshot, i, &r), MOTE_OK);
			CHECK(r.name[0] && r.bytes && r.gva >= end && (r.access & MOTE_READ));
			CHECK(!r.is_demand || r.gpa == 0);
			end = r.gva + r.bytes;
		}
		CHECK_EQ(mote_snapshot_get_region(snapshot, count, &r), MOTE_EINVAL);
		CHECK_EQ(mote_snapshot_get_region(snapshot, UINT32_MAX, &r), MOTE_EINVAL);
		drop();
	}
}

static struct mote_region region(const char *name)
{
	struct mote_region r;
	for (uint32_t i = 0; mote_snapshot_get_region(snapshot, i, &r) == MOTE_OK; i++)
		if (strcmp(r.name, name) == 0)
			return r;
	check_failed(__FILE__, __LINE__, "no region %s", name);
}

TEST(snapshot__tells_what_a_confined_guest_can_do_where)
{
	use_confined();
	OK(&w, load(NULL));
	struct mote_region r = region("code");
	CHECK(r.access == (MOTE_READ | MOTE_EXECUTE) && !r.is_cow && !r.is_system);
	r = region("data");
	CHECK(r.access == (MOTE_READ | MOTE_WRITE) && r.is_cow && !r.is_system);
	r = region("heap");
	CHECK(r.access == (MOTE_READ | MOTE_WRITE) && r.is_demand && r.gpa == 0);
	r = region("PEB");
	CHECK(r.access == MOTE_READ && !r.is_system);
	CHECK(region("ring-0 code").is_system && region("parameters").is_system);
	CHECK(region("edit log").is_system && !region("entry code").is_system);
	drop();
}

TEST(snapshot__a_stock_guest_owns_everything)
{
	struct mote_region r;
	use_stock();
	OK(&w, load(NULL));
	for (uint32_t i = 0; mote_snapshot_get_region(snapshot, i, &r) == MOTE_OK; i++)
		CHECK(!r.is_system && !r.is_demand);
	r = region("image");
	CHECK(r.access == (MOTE_READ | MOTE_WRITE | MOTE_EXECUTE) && r.is_cow && r.gva == r.gpa);
	drop();
}

TEST(snapshot__finds_symbols)
{
	char text[40] = "";
	use_confined();
	OK(&w, load(NULL));
	CHECK_EQ(mote_snapshot_symbolize(snapshot, TINY_CODE_GVA, text, sizeof text), MOTE_OK);
	CHECK_STR(text, "work+0x0");
	CHECK_EQ(mote_snapshot_symbolize(snapshot, TINY_CODE_GVA + 0x1F, text, sizeof text),
		 MOTE_OK);
	CHECK_STR(text, "more+0xf");
	CHECK_EQ(mote_snapshot_symbolize(snapshot, TINY_CODE_GVA + 5, text, 5), MOTE_OK);
	CHECK_STR(text, "work");
	CHECK_EQ(mote_snapshot_symbolize(snapshot, TINY_CODE_GVA + 0x40, text, 5), MOTE_EADDR);
	CHECK_EQ(mote_snapshot_symbolize(snapshot, 0, text, 5), MOTE_EADDR);
	CHECK_EQ(mote_snapshot_symbolize(snapshot, UINT64_MAX, text, 5), MOTE_EADDR);
	CHECK_EQ(mote_snapshot_symbolize(snapshot, TINY_CODE_GVA, text, 0), MOTE_EINVAL);
	CHECK_EQ(mote_snapshot_symbolize(snapshot, TINY_CODE_GVA, NULL, 5), MOTE_EINVAL);
	drop();
}

TEST(snapshot__finds_symbols_of_a_fixed_image)
{
	char text[40];
	image = tiny_guest(&(struct tiny_options){.is_fixed = true, .base_va = 0x400000});
	OK(&w, load(NULL));
	CHECK_EQ(mote_snapshot_symbolize(snapshot, 0x401004, text, sizeof text), MOTE_OK);
	CHECK_STR(text, "work+0x4");
	CHECK_EQ(info().is_position_independent, 0);
	CHECK_EQ(info().entry_gva, 0x401010);
	drop();
}

TEST(snapshot__the_peb_says_where_everything_is)
{
	static const enum world_kind kinds[] = {STOCK, CONFINED};
	const struct mote_snapshot_options o = {.size = sizeof o,
						.input_bytes = 0x2001,
						.output_bytes = 0x3003,
						.heap_bytes = 0x1235,
						.init_data = "x",
						.init_data_bytes = 1};
	for (size_t k = 0; k < 2; k++) {
		struct mote_abi_peb peb;
		image = tiny_guest(&(struct tiny_options){.is_confined = kinds[k] == CONFINED});
		OK(&w, load(&o));
		const struct mote__layout *l = &snapshot->layout;
		memcpy(&peb, snapshot->memory + l->peb_gpa, sizeof peb);
		CHECK_EQ(peb.input_bytes, 0x2001);
		CHECK_EQ(peb.input, l->input_gva);
		CHECK_EQ(peb.output_bytes, 0x3003);
		CHECK_EQ(peb.output, l->output_gva);
		CHECK_EQ(peb.init_data_bytes, 1);
		CHECK_EQ(peb.init_data, l->init_gva);
		CHECK_EQ(peb.heap_bytes, 0x1235);
		CHECK_EQ(peb.heap, l->heap_gva);
		drop();
	}
}

TEST(snapshot__the_peb_has_the_bytes_of_the_abi)
{
	use_stock();
	OK(&w, load(NULL));
	const uint64_t peb[8] = {
		0x4000, 0xFFFFFFFFFFFB7000, 0x4000, 0xFFFFFFFFFFFBB000, 0, 0x26000, 0x20000,
		0x6000};
	CHECK_MEM(snapshot->memory + 0x5000, peb, sizeof peb);
	drop();
}

TEST(snapshot__the_stack_of_a_note_is_checked)
{
	image = tiny_guest(&(struct tiny_options){.is_confined = true, .stack_bytes = 0xFFF});
	FAILS(&w, load(NULL), MOTE_EINVAL);
	CHECK_HAS(w.err.message, "stack_bytes is 0xfff");
}

TEST(snapshot__refuses_an_image_that_wants_more_of_the_processor)
{
	use_confined();
	image.note->baseline = 1;
	OK(&w, load(NULL));
	drop();
	for (uint32_t level = 3; level <= 4; level++) {
		image.note->baseline = level;
		CHECK_EQ(load(NULL), MOTE_EIMAGE);
		CHECK_HAS(w.err.message,
			  level == 3 ? "x86-64-v3; guests get" : "x86-64-v4; guests get");
	}
}
