/* SPDX-License-Identifier: MIT */
/*
 * Snapshots made from guest images: memory and page tables as two memory objects, written once,
 * sealed, and mapped read-only for all sandboxes of the process.
 */
#define _GNU_SOURCE
#include "vm/objects.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/math.h"
#include "base/sys.h"
#include "core/confined.h"

#define IMAGE_FILE_MAX (4ull << 30)

/* ---- options --------------------------------------------------------------------------------- */

static uint64_t or_default(uint64_t value, uint64_t otherwise)
{
	return value ? value : otherwise;
}

static int check_options(const struct mote_snapshot_options *o, struct mote_error *err)
{
	const uint32_t all = MOTE_READ | MOTE_WRITE | MOTE_EXECUTE;
	if (o->init_data_bytes && !o->init_data)
		return mote__fail(err, MOTE_EINVAL, "init_data is NULL, init_data_bytes is %llu",
				  (unsigned long long)o->init_data_bytes);
	if (o->init_data_access & ~all)
		return mote__fail(err, MOTE_EINVAL, "init_data_access is 0x%x, bits are 0x%x",
				  o->init_data_access, all);
	if (o->init_data_access && !(o->init_data_access & MOTE_READ))
		return mote__fail(err, MOTE_EINVAL, "init_data_access is 0x%x, without MOTE_READ",
				  o->init_data_access);
	if (o->msr_count > MOTE__MSR_ALLOW_MAX - 1)
		return mote__fail(err, MOTE_EINVAL, "msr_count is %u, at most %d", o->msr_count,
				  MOTE__MSR_ALLOW_MAX - 1);
	if (o->msr_count && !o->msrs)
		return mote__fail(err, MOTE_EINVAL, "msrs is NULL, msr_count is %u", o->msr_count);
	if (!mote__family_find(o->family))
		return mote__fail(err, MOTE_EINVAL, "family is %u, known is %u (S)", o->family,
				  MOTE_FAMILY_S);
	return MOTE_OK;
}

static struct mote__layout_config config_of(const struct mote_snapshot_options *o,
					    const struct mote__elf *elf)
{
	bool is_confined = elf->note.present && !o->ignore_extensions &&
			   ((elf->note.required | elf->note.optional) & MOTE_ABI_RING3);
	uint64_t stack = or_default(elf->note.stack_bytes, MOTE_DEFAULT_STACK_BYTES);
	return (struct mote__layout_config){
		.family = mote__family_find(o->family),
		.is_confined = is_confined,
		.executable_heap = o->executable_heap,
		.input_bytes = or_default(o->input_bytes, MOTE_DEFAULT_BUFFER_BYTES),
		.output_bytes = or_default(o->output_bytes, MOTE_DEFAULT_BUFFER_BYTES),
		.heap_bytes = or_default(o->heap_bytes, MOTE_DEFAULT_HEAP_BYTES),
		.stack_bytes = is_confined ? or_default(o->stack_bytes, stack) : 0,
		.scratch_bytes =
			or_default(o->scratch_bytes, is_confined ? 0 : MOTE_DEFAULT_SCRATCH_BYTES),
		.init_bytes = o->init_data_bytes,
		.init_access = o->init_data_access ? o->init_data_access : (uint32_t)MOTE_READ,
	};
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void write_peb(const struct mote__layout *l, uint8_t *object)
{
	const struct mote_abi_peb peb = {
		.input_bytes = l->input_bytes,
		.input = l->input_gva,
		.output_bytes = l->output_bytes,
		.output = l->output_gva,
		.init_data_bytes = l->init_bytes,
		.init_data = l->init_gva,
		.heap_bytes = l->heap_bytes,
		.heap = l->heap_gva,
	};
	memcpy(object + l->peb_gpa, &peb, sizeof peb);
}

static int fail_memory(struct mote_error *err, int rc, const char *what, uint64_t bytes)
{
	int code = rc == -ENOMEM || rc == -EMFILE || rc == -ENFILE || rc == -ENOSPC ? MOTE_ENOMEM
										    : MOTE_ESYSTEM;
	return mote__fail_system(err, code, -rc, "%s of 0x%llx bytes", what,
				 (unsigned long long)bytes);
}

/* Fill the object while it is writable; then only readable mappings of it exist. */
static int make_memory(mote_snapshot *s, const struct mote__elf *elf,
		       const struct mote_snapshot_options *o, struct mote_error *err)
{
	const struct mote__layout *l = &s->layout;
	uint64_t bytes = mote__snapshot_object_bytes(s);
	s->memory_fd = mote__sys_memory_object("mote-snapshot", bytes);
	if (s->memory_fd < 0)
		return fail_memory(err, s->memory_fd, "guest memory", bytes);
	void *object = NULL;
	int rc = mote__sys_map(MOTE__MAP_SHARED, s->memory_fd, bytes, &object);
	if (rc < 0)
		return fail_memory(err, rc, "mapping guest memory", bytes);
	rc = mote__elf_load(elf, (uint8_t *)object + l->image_gpa, l->image_bytes, err);
	if (rc == MOTE_OK) {
		write_peb(l, object);
		if (o->init_data && l->init_bytes)
			memcpy((uint8_t *)object + l->init_gpa, o->init_data, l->init_bytes);
	}
	mote__sys_unmap(object, bytes);
	if (rc < 0)
		return rc;
	rc = mote__sys_seal(s->memory_fd);
	void *memory = NULL;
	if (rc == 0)
		rc = mote__sys_map(MOTE__MAP_READ, s->memory_fd, bytes, &memory);
	if (rc < 0)
		return fail_memory(err, rc, "mapping guest memory", bytes);
	s->memory = memory;
	return MOTE_OK;
}

/* Which pages were never written: the kernel knows, and reading one would make it exist. */
struct holes {
	int fd;
	uint64_t from, to; /* [from, to) is known to be a hole */
};

static bool is_hole(void *cookie, uint64_t gpa)
{
	struct holes *holes = cookie;
	if (gpa >= holes->from && gpa < holes->to)
		return true;
	int64_t next = mote__sys_next_data(holes->fd, gpa);
	if (next == -ENXIO)
		next = INT64_MAX;
	if (next < 0 || (uint64_t)next < gpa + MOTE_PAGE_BYTES)
		return false;
	holes->from = gpa;
	holes->to = mote__round_down((uint64_t)next, MOTE_PAGE_BYTES);
	return true;
}

static int make_tables(mote_snapshot *s, struct mote_error *err)
{
	const struct mote__layout *l = &s->layout;
	s->table_fd = mote__sys_memory_object("mote-tables", l->tables_bytes);
	if (s->table_fd < 0)
		return fail_memory(err, s->table_fd, "page tables", l->tables_bytes);
	void *object = NULL;
	int rc = mote__sys_map(MOTE__MAP_SHARED, s->table_fd, l->tables_bytes, &object);
	if (rc < 0)
		return fail_memory(err, rc, "mapping page tables", l->tables_bytes);
	struct holes holes = {.fd = s->memory_fd};
	int built = mote__layout_build(l, object, is_hole, &holes, &s->write_set);
	mote__sys_unmap(object, l->tables_bytes);
	if (built < 0)
		return mote__fail(err, MOTE_EIMAGE, "page tables of this image: %s",
				  mote__pt_describe(built));
	rc = mote__sys_seal(s->table_fd);
	void *tables = NULL;
	if (rc == 0)
		rc = mote__sys_map(MOTE__MAP_READ, s->table_fd, l->tables_bytes, &tables);
	if (rc < 0)
		return fail_memory(err, rc, "mapping page tables", l->tables_bytes);
	s->tables = tables;
	return MOTE_OK;
}

/* ---- what is kept of the file ---------------------------------------------------------------- */

static uint8_t *copy_range(const struct mote__elf *elf, struct mote__elf_range range)
{
	uint8_t *copy = mote__alloc(range.bytes ? range.bytes : 1, 1);
	if (copy && range.bytes)
		memcpy(copy, elf->file + range.offset, range.bytes);
	return copy;
}

static int keep_symbols(mote_snapshot *s, const struct mote__elf *elf, struct mote_error *err)
{
	uint8_t *symbols = copy_range(elf, elf->symbols), *strings = copy_range(elf, elf->strings);
	s->symbols = (struct mote__elf_symbols){.symbols = symbols,
						.symbols_bytes = elf->symbols.bytes,
						.strings = strings,
						.strings_bytes = elf->strings.bytes,
						.bits = elf->bits};
	s->symbol_shift = elf->load_gva - elf->base_va;
	return symbols && strings ? MOTE_OK : mote__fail(err, MOTE_ENOMEM, "out of memory");
}

static void keep_entries(mote_snapshot *s, const struct mote__elf *elf,
			 const struct mote_snapshot_options *o)
{
	const struct mote__elf_note *note = &elf->note;
	s->bits = elf->bits;
	s->is_position_independent = elf->is_pie;
	s->has_note = note->present;
	memcpy(s->version, elf->version, sizeof s->version);
	s->entry_gva = elf->entry_gva;
	if (s->layout.is_confined) {
		s->entry_gva = elf->load_gva + note->entry;
		s->dispatch_gva = elf->load_gva + note->dispatch;
		s->syscall_gva = note->syscall_handler ? elf->load_gva + note->syscall_handler : 0;
	}
	s->msr_count = o->msr_count;
	if (o->msr_count)
		memcpy(s->msrs, o->msrs, o->msr_count * sizeof *o->msrs);
}

static int fill(mote_snapshot *s, const struct mote__elf *elf,
		const struct mote_snapshot_options *o, struct mote_error *err)
{
	const struct mote__layout_config config = config_of(o, elf);
	int rc = mote__layout_make(&config, elf, &s->layout, err);
	if (rc < 0)
		return rc;
	keep_entries(s, elf, o);
	rc = make_memory(s, elf, o, err);
	if (rc == MOTE_OK)
		rc = make_tables(s, err);
	if (rc == MOTE_OK)
		rc = keep_symbols(s, elf, err);
	if (rc < 0 || !elf->note.present)
		return rc;
	const uint8_t *image = s->memory + s->layout.image_gpa;
	rc = mote__functions_read(image, &s->layout, elf->note.exports, "exports", &s->exports,
				  err);
	if (rc < 0)
		return rc;
	return mote__functions_read(image, &s->layout, elf->note.imports, "imports", &s->imports,
				    err);
}

static void snapshot_free(mote_snapshot *s)
{
	/* A child after fork() has neither mapping, and may have others there. */
	if (s->process == mote__sys_process()) {
		mote__sys_unmap((void *)(uintptr_t)s->memory, mote__snapshot_object_bytes(s));
		mote__sys_unmap((void *)(uintptr_t)s->tables, s->layout.tables_bytes);
	}
	mote__sys_close(s->memory_fd);
	mote__sys_close(s->table_fd);
	mote__functions_free(&s->exports);
	mote__functions_free(&s->imports);
	mote__free((void *)(uintptr_t)s->symbols.symbols);
	mote__free((void *)(uintptr_t)s->symbols.strings);
	mote__free(s);
}

/* The level of x86-64 that guests can use here. Level 3 begins with AVX, which needs CR4.OSXSAVE;
 * that is never set for a guest. */
static uint32_t processor_level(void)
{
	bool has_2 = __builtin_cpu_supports("ssse3") && __builtin_cpu_supports("sse4.2") &&
		     __builtin_cpu_supports("popcnt");
	return has_2 ? 2 : 1;
}

static int check_image(const struct mote__elf *elf, const struct mote_snapshot_options *o,
		       struct mote_error *err)
{
	if (elf->bits != 64)
		return mote__fail(err, MOTE_EIMAGE, "a %u-bit image: only 64-bit guests can be run",
				  elf->bits);
	uint64_t most = or_default(o->image_bytes_max, MOTE_DEFAULT_IMAGE_BYTES);
	if (elf->image_bytes > most)
		return mote__fail(err, MOTE_ETOOBIG,
				  "the image has 0x%llx bytes in memory, image_bytes_max is 0x%llx",
				  (unsigned long long)elf->image_bytes, (unsigned long long)most);
	if (elf->note.present && !o->stack_bytes &&
	    elf->note.stack_bytes > MOTE_MAX_NOTE_STACK_BYTES)
		return mote__fail(err, MOTE_EIMAGE,
				  "the image's note asks for 0x%llx bytes of stack, at most 0x%x "
				  "unless the option stack_bytes is set",
				  (unsigned long long)elf->note.stack_bytes,
				  MOTE_MAX_NOTE_STACK_BYTES);
	if (elf->note.present && elf->note.baseline > processor_level())
		return mote__fail(err, MOTE_EIMAGE,
				  "the image wants a processor of level x86-64-v%u; guests get "
				  "x86-64-v%u here",
				  elf->note.baseline, processor_level());
	return MOTE_OK;
}

int mote_snapshot_from_memory(const void *image, size_t len,
			      const struct mote_snapshot_options *options, mote_snapshot **snapshot,
			      struct mote_error *err)
{
	struct mote_snapshot_options o = {0};
	if (!image || !snapshot)
		return mote__fail(err, MOTE_EINVAL, "%s is NULL", image ? "snapshot" : "image");
	int rc = MOTE_OK;
	if (options) {
		rc = mote__options_check("mote_snapshot_options", options, options->size, sizeof o,
					 sizeof o, err);
		if (rc < 0)
			return rc;
		o = *options;
	}
	struct mote__elf elf;
	rc = check_options(&o, err);
	if (rc == MOTE_OK)
		rc = mote__elf_parse(image, len, &elf, err);
	if (rc == MOTE_OK)
		rc = check_image(&elf, &o, err);
	if (rc != MOTE_OK)
		return rc;
	mote_snapshot *s = mote__alloc(1, sizeof *s);
	if (!s)
		return mote__fail(err, MOTE_ENOMEM, "out of memory");
	s->references = 1;
	s->memory_fd = s->table_fd = -1;
	s->process = mote__sys_process();
	rc = fill(s, &elf, &o, err);
	if (rc < 0) {
		snapshot_free(s);
		return rc;
	}
	*snapshot = s;
	return MOTE_OK;
}

int mote_snapshot_from_file(const char *path, const struct mote_snapshot_options *options,
			    mote_snapshot **snapshot, struct mote_error *err)
{
	if (!path)
		return mote__fail(err, MOTE_EINVAL, "path is NULL");
	uint8_t *bytes = NULL;
	size_t len = 0;
	int rc = mote__sys_read_file(path, IMAGE_FILE_MAX, &bytes, &len);
	if (rc == -EFBIG)
		return mote__fail(err, MOTE_ETOOBIG, "%s is larger than %llu bytes", path,
				  IMAGE_FILE_MAX);
	if (rc < 0)
		return mote__fail_system(err, rc == -ENOMEM ? MOTE_ENOMEM : MOTE_ESYSTEM, -rc,
					 "reading %s", path);
	rc = mote_snapshot_from_memory(bytes, len, options, snapshot, err);
	mote__free(bytes);
	return rc;
}

mote_snapshot *mote_snapshot_ref(mote_snapshot *snapshot)
{
	atomic_fetch_add_explicit(&snapshot->references, 1, memory_order_relaxed);
	return snapshot;
}

void mote_snapshot_unref(mote_snapshot *snapshot)
{
	if (snapshot &&
	    atomic_fetch_sub_explicit(&snapshot->references, 1, memory_order_acq_rel) == 1)
		snapshot_free(snapshot);
}
