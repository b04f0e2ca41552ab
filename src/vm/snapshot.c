/* SPDX-License-Identifier: MIT */
/*
 * Snapshots, and how they are made from guest images: memory and page tables as two memory objects,
 * written once, sealed, and mapped read-only for all sandboxes of the process.
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
	if (o->write_set_max > MOTE_MAX_WRITE_SET && o->write_set_max != MOTE_WRITE_SET_NONE)
		return mote__fail(err, MOTE_EINVAL,
				  "write_set_max is %u, at most %u, or MOTE_WRITE_SET_NONE",
				  o->write_set_max, MOTE_MAX_WRITE_SET);
	int rc =
		mote__reserved_check("mote_snapshot_options", o->reserved, sizeof o->reserved, err);
	if (rc == MOTE_OK)
		rc = mote__reserved_check("mote_snapshot_options", &o->reserved2,
					  sizeof o->reserved2, err);
	if (rc < 0)
		return rc;
	if (!mote__family_find(o->family, 64))
		return mote__fail(err, MOTE_EINVAL, "family is %u, known is %u (S)", o->family,
				  MOTE_FAMILY_S);
	return MOTE_OK;
}

static struct mote__layout_config config_of(const struct mote_snapshot_options *o,
					    const struct mote__elf *elf)
{
	uint64_t bits = elf->note.present && !o->ignore_extensions
				? elf->note.required | elf->note.optional
				: 0;
	bool is_confined = bits & MOTE_ABI_RING3;
	uint64_t stack = or_default(elf->note.stack_bytes, MOTE_DEFAULT_STACK_BYTES);
	return (struct mote__layout_config){
		.family = mote__family_find(o->family, elf->bits),
		.is_confined = is_confined,
		.has_large = is_confined && bits & MOTE_ABI_LARGE_LEAVES,
		.executable_heap = o->executable_heap,
		.input_bytes = or_default(o->input_bytes, MOTE_DEFAULT_BUFFER_BYTES),
		.output_bytes = or_default(o->output_bytes, MOTE_DEFAULT_BUFFER_BYTES),
		.heap_bytes = or_default(o->heap_bytes, MOTE_DEFAULT_HEAP_BYTES),
		.stack_bytes = is_confined ? or_default(o->stack_bytes, stack) : 0,
		.scratch_bytes =
			or_default(o->scratch_bytes, is_confined ? 0 : MOTE_DEFAULT_SCRATCH_BYTES),
		.mapping_bytes = is_confined ? o->mapping_bytes : 0,
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

/* Fill the first layer while it is writable. Its offsets are guest physical addresses. */
static int make_memory(mote_snapshot *s, const struct mote__elf *elf,
		       const struct mote_snapshot_options *o, struct mote_error *err)
{
	const struct mote__layout *l = &s->layout;
	uint64_t base = l->family->base_gpa, bytes = base + l->snapshot_bytes;
	struct mote__object *layer = NULL;
	int rc = mote__object_create("mote-snapshot", bytes, &layer, err);
	if (rc < 0)
		return rc;
	s->layer[s->layer_count++] = (struct mote__piece){layer, base, base, l->snapshot_bytes};
	void *object = NULL;
	rc = mote__sys_map(MOTE__MAP_SHARED, layer->fd, bytes, &object);
	if (rc < 0)
		return mote__object_fail(err, rc, "mapping guest memory", bytes);
	rc = mote__elf_load(elf, (uint8_t *)object + l->image_gpa, l->image_bytes, err);
	if (rc == MOTE_OK) {
		write_peb(l, object);
		if (o->init_data && l->init_bytes)
			memcpy((uint8_t *)object + l->init_gpa, o->init_data, l->init_bytes);
	}
	mote__sys_unmap(object, bytes);
	return rc < 0 ? rc : mote__object_seal(layer, err);
}

/* Offsets in the first layer's object are guest physical addresses. */
static bool is_hole(void *cookie, uint64_t gpa)
{
	return mote__object_is_hole(cookie, gpa);
}

static int make_tables(mote_snapshot *s, struct mote__write_set *write_set, struct mote_error *err)
{
	const struct mote__layout *l = &s->layout;
	struct mote__object *tables = NULL;
	int rc = mote__object_create("mote-tables", l->tables_bytes, &tables, err);
	if (rc < 0)
		return rc;
	struct mote__piece *extent = &s->extent[s->extent_count++];
	*extent = (struct mote__piece){.object = tables};
	void *object = NULL;
	rc = mote__sys_map(MOTE__MAP_SHARED, tables->fd, l->tables_bytes, &object);
	if (rc < 0)
		return mote__object_fail(err, rc, "mapping page tables", l->tables_bytes);
	struct mote__holes holes = {.object = s->layer[0].object};
	int built = mote__layout_build(l, object, is_hole, &holes, write_set, &extent->bytes);
	mote__sys_unmap(object, l->tables_bytes);
	if (built < 0)
		return mote__fail(err, MOTE_EIMAGE, "page tables of this image: %s",
				  mote__pt_describe(built));
	return mote__object_seal(tables, err);
}

static int make_start(mote_snapshot *s, const struct mote_snapshot_options *o,
		      struct mote_error *err)
{
	struct mote__write_set write_set;
	s->write_set_max = o->write_set_max == MOTE_WRITE_SET_NONE
				   ? 0
				   : (uint32_t)or_default(o->write_set_max, MOTE_DEFAULT_WRITE_SET);
	s->dispatch_gva = s->image->dispatch_gva;
	int rc = make_tables(s, &write_set, err);
	if (rc == MOTE_OK)
		rc = mote__snapshot_map(s, err);
	if (rc == MOTE_OK)
		mote__snapshot_collapse(s);
	if (rc == MOTE_OK)
		rc = mote__snapshot_set_members(s, &write_set, err);
	return rc;
}

static int make_functions(mote_snapshot *s, const struct mote__elf *elf, struct mote_error *err)
{
	const uint8_t *image = s->memory + s->layout.image_gpa;
	if (!elf->note.present)
		return MOTE_OK;
	int rc = mote__functions_read(image, &s->layout, elf->note.exports, "exports",
				      &s->image->exports, err);
	if (rc < 0)
		return rc;
	return mote__functions_read(image, &s->layout, elf->note.imports, "imports",
				    &s->image->imports, err);
}

/* ---- objects --------------------------------------------------------------------------------- */

mote_snapshot *mote__snapshot_new(struct mote__image *image, const struct mote__layout *layout)
{
	mote_snapshot *s = mote__alloc(1, sizeof *s);
	if (!s)
		return NULL;
	if (pthread_mutex_init(&s->lock, NULL)) {
		mote__free(s);
		return NULL;
	}
	s->references = 1;
	s->image = mote__image_ref(image);
	if (layout)
		s->layout = *layout;
	return s;
}

static void snapshot_free(mote_snapshot *s)
{
	mote__snapshot_unmap(s);
	for (uint32_t i = 0; i < s->metadata_count; i++)
		mote__free(s->metadata[i].name);
	mote__free(s->write_set.member);
	mote__free(s->roots);
	mote__host_list_unref(s->functions);
	mote__image_unref(s->image);
	(void)pthread_mutex_destroy(&s->lock);
	mote__free(s);
}

int mote__snapshot_set_members(mote_snapshot *snapshot, const struct mote__write_set *fixed,
			       struct mote_error *err)
{
	struct mote__members *m = &snapshot->write_set;
	m->fixed = fixed ? fixed->count : 0;
	m->max = m->fixed > snapshot->write_set_max ? m->fixed : snapshot->write_set_max;
	m->member = mote__alloc(m->max ? m->max : 1, sizeof *m->member);
	if (!m->member)
		return mote__fail(err, MOTE_ENOMEM, "out of memory");
	for (uint32_t i = 0; i < m->fixed; i++)
		m->member[i] =
			(struct mote__member){fixed->member[i].gva, fixed->member[i].source_gpa};
	atomic_store_explicit(&m->count, m->fixed, memory_order_release);
	return MOTE_OK;
}

/* ---- public ---------------------------------------------------------------------------------- */

static int check_image(const struct mote__elf *elf, const struct mote_snapshot_options *o,
		       struct mote_error *err)
{
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
	if (elf->note.present && elf->note.baseline > mote__processor_level())
		return mote__fail(err, MOTE_EIMAGE,
				  "the image wants a processor of level x86-64-v%u; guests get "
				  "x86-64-v%u here",
				  elf->note.baseline, mote__processor_level());
	return MOTE_OK;
}

/* The layout is large: it is made in place. */
static int make_empty(const struct mote__elf *elf, const struct mote_snapshot_options *o,
		      mote_snapshot **snapshot, struct mote_error *err)
{
	const struct mote__layout_config config = config_of(o, elf);
	struct mote__image *image = NULL;
	int rc = mote__image_make(elf, o, config.is_confined, &image, err);
	if (rc < 0)
		return rc;
	mote_snapshot *s = mote__snapshot_new(image, NULL);
	mote__image_unref(image);
	if (!s)
		return mote__fail(err, MOTE_ENOMEM, "out of memory");
	*snapshot = s;
	struct mote__layout_image pages;
	mote__layout_image_of(elf, &pages);
	if (config.is_confined)
		rc = mote__elf_check_wx(elf, err);
	return rc < 0 ? rc : mote__layout_make(&config, &pages, &s->layout, err);
}

static int make(const struct mote__elf *elf, const struct mote_snapshot_options *o,
		mote_snapshot **snapshot, struct mote_error *err)
{
	mote_snapshot *s = NULL;
	int rc = make_empty(elf, o, &s, err);
	if (rc == MOTE_OK)
		rc = make_memory(s, elf, o, err);
	if (rc == MOTE_OK)
		rc = make_start(s, o, err);
	if (rc == MOTE_OK)
		rc = make_functions(s, elf, err);
	if (rc < 0) {
		mote_snapshot_unref(s);
		return rc;
	}
	*snapshot = s;
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
	return rc < 0 ? rc : make(&elf, &o, snapshot, err);
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
