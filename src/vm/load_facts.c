/* SPDX-License-Identifier: MIT */
/*
 * What a stored snapshot says of itself, against what a snapshot can be: the rules that an image
 * has to keep hold for it again, whoever wrote it.
 */
#include "vm/store.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/math.h"
#include "base/sys.h"

#define PAGE               ((uint64_t)MOTE_PAGE_BYTES)
#define MSR_KERNEL_GS_BASE 0xC0000102u

/* The error of a part that does not know of stores, as one of the store. */
static int refuse(struct mote_error *err, int rc)
{
	char message[MOTE_ERROR_MESSAGE_BYTES] = "";
	if (rc != MOTE_EINVAL && rc != MOTE_ETOOBIG && rc != MOTE_EIMAGE)
		return rc;
	if (err)
		memcpy(message, err->message, sizeof message);
	return mote__fail(err, MOTE_ESTORE, "config: %s", message);
}

static bool is_canonical(uint64_t address)
{
	return mote__pt_canonical(&mote__pt_x86_64, address) == address;
}

static int fail(struct mote_error *err, const char *field, uint64_t value, const char *wrong)
{
	return mote__fail(err, MOTE_ESTORE, "config: %s is 0x%llx, %s", field,
			  (unsigned long long)value, wrong);
}

/* ---- kind and processor ---------------------------------------------------------------------- */

static int check_kind(const struct mote__facts *f, struct mote_error *err)
{
	const struct mote__layout_config *l = &f->layout;
	if (l->is_confined && l->family->bits != 64)
		return mote__fail(err, MOTE_ESTORE, "config: a confined guest of %u bits",
				  l->family->bits);
	if (l->is_confined && !f->has_note)
		return mote__fail(err, MOTE_ESTORE,
				  "config: a confined guest whose image does not ask for it");
	if (!l->is_confined && (l->has_large || l->stack_bytes || l->mapping_bytes ||
				f->image.run_count || f->write_set_count))
		return mote__fail(
			err, MOTE_ESTORE,
			"config: a stock guest with parts of a confined one (largeLeaves, "
			"sizes.stack, sizes.mappings, image.pages or writeSet)");
	if (l->is_confined && l->executable_heap)
		return mote__fail(err, MOTE_ESTORE, "config: a confined guest with executableHeap");
	return MOTE_OK;
}

static int check_level(const struct mote__load *load, struct mote_error *err)
{
	uint32_t level = mote__processor_level();
	if (load->is_check || load->facts.baseline <= level)
		return MOTE_OK;
	return mote__fail(err, MOTE_EPROCESSOR,
			  "the snapshot's image wants a processor of level x86-64-v%u; guests get "
			  "x86-64-v%u here",
			  load->facts.baseline, level);
}

static void add_name(char *text, size_t room, const char *name)
{
	size_t used = strlen(text);
	(void)snprintf(text + used, room - used, "%s%s", used ? " " : "", name);
}

/* Code may have chosen what it runs by features that are not here: that ends in an exception of the
 * guest, so it is a warning. */
static int warn_processor(const struct mote__load *load, struct mote_error *err)
{
	const struct mote__facts *f = &load->facts;
	const struct mote_load_options *o = load->options;
	struct mote__processor here;
	char missing[256] = "", text[400];
	const char *name;
	bool was_seen, is_here;
	if (load->is_check || o->accept_processor || !o->warn || !f->has_seen)
		return MOTE_OK;
	mote__processor_read(&here);
	for (size_t i = 0; (name = mote__processor_name(&f->seen, i, &was_seen)); i++) {
		(void)mote__processor_name(&here, i, &is_here);
		if (was_seen && !is_here)
			add_name(missing, sizeof missing, name);
	}
	if (f->seen_unknown[0])
		add_name(missing, sizeof missing, f->seen_unknown);
	if (!missing[0])
		return MOTE_OK;
	(void)snprintf(
		text, sizeof text,
		"the snapshot's guest could see features that this processor has not, and may "
		"use them: %s",
		missing);
	if (o->warn(o->cookie, text))
		return mote__fail(err, MOTE_EPROCESSOR, "%s", text);
	return MOTE_OK;
}

/* ---- model-specific registers ---------------------------------------------------------------- */

static bool has_msr(const uint32_t *msrs, uint32_t count, uint32_t msr)
{
	for (uint32_t i = 0; i < count; i++)
		if (msrs[i] == msr)
			return true;
	return false;
}

/* A store does not decide what guests may touch: the caller does. */
static int check_allowed(const struct mote__load *load, struct mote_error *err)
{
	const struct mote__facts *f = &load->facts;
	const struct mote_load_options *o = load->options;
	if (f->allowed_msr_count > MOTE__MSR_ALLOW_MAX - 1)
		return mote__fail(err, MOTE_ESTORE,
				  "config: allowedMsrs has %u entries, at most %d",
				  f->allowed_msr_count, MOTE__MSR_ALLOW_MAX - 1);
	for (uint32_t i = 0; i < f->allowed_msr_count; i++)
		if (!load->is_check && !has_msr(o->msrs, o->msr_count, f->allowed_msrs[i]))
			return mote__fail(
				err, MOTE_ESTORE,
				"config: allowedMsrs has 0x%x, which the option msrs does "
				"not allow",
				f->allowed_msrs[i]);
	return MOTE_OK;
}

static int check_msrs(const struct mote__facts *f, struct mote_error *err)
{
	const struct mote__msr_list *list = &f->msrs;
	for (uint32_t i = 0; i < list->count; i++) {
		uint32_t index = list->msr[i].index;
		if (index != MSR_KERNEL_GS_BASE &&
		    !has_msr(f->allowed_msrs, f->allowed_msr_count, index))
			return fail(err, "start.msrs", index,
				    "a register that the guest may not write");
		if (index == MSR_KERNEL_GS_BASE && f->layout.family->bits == 64 &&
		    !is_canonical(list->msr[i].value))
			return fail(err, "start.msrs 0xc0000102", list->msr[i].value,
				    "not canonical");
		for (uint32_t j = 0; j < i; j++)
			if (list->msr[j].index == index)
				return fail(err, "start.msrs", index, "given twice");
	}
	return MOTE_OK;
}

static int check_registers(const struct mote__facts *f, struct mote_error *err)
{
	const struct mote__layout_config *l = &f->layout;
	if (!f->is_ready)
		return MOTE_OK;
	int rc = l->is_confined
			 ? mote__special_check_bases(f->special.fs.base, f->special.gs.base, err)
			 : mote__special_check(&f->special, l->family->bits, err);
	if (rc < 0)
		return mote__load_name(err, rc, "config: start");
	if (l->is_confined && f->msrs.count)
		return mote__fail(err, MOTE_ESTORE, "config: start.msrs of a confined guest");
	return check_msrs(f, err);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static int check_memory(const struct mote__load *load, struct mote_error *err)
{
	const struct mote__facts *f = &load->facts;
	const struct mote__manifest *m = &load->manifest;
	const struct mote__family *family = f->layout.family;
	uint64_t next = family->base_gpa, zero = f->zero_gpa;
	if (f->layer_count != m->memory_count)
		return mote__fail(err, MOTE_ESTORE, "config: memory has %u layers, the manifest %u",
				  f->layer_count, m->memory_count);
	for (uint32_t i = 0; i < f->layer_count; i++) {
		unsigned long long gpa = f->layers[i].gpa, bytes = f->layers[i].bytes;
		if (gpa != next)
			return mote__fail(
				err, MOTE_ESTORE,
				"config: memory layer %u begins at 0x%llx; what is before "
				"it ends at 0x%llx",
				i, gpa, (unsigned long long)next);
		if (!bytes || bytes % PAGE || bytes != m->memory[i].bytes)
			return mote__fail(
				err, MOTE_ESTORE,
				"config: memory layer %u has 0x%llx bytes, its blob 0x%llx", i,
				bytes, (unsigned long long)m->memory[i].bytes);
		if (!mote__add(next, bytes, &next) ||
		    next - family->base_gpa > family->region_bytes_max)
			return mote__fail(err, MOTE_ESTORE,
					  "config: memory ends behind 0x%llx bytes",
					  (unsigned long long)family->region_bytes_max);
	}
	if (zero % PAGE || (zero && (zero < family->base_gpa || zero >= next)))
		return fail(err, "zeroPage", zero, "no page of the memory");
	if (f->layout.is_confined && !zero)
		return mote__fail(err, MOTE_ESTORE, "config: zeroPage is missing");
	if (!f->has_symbols != !m->has_symbols)
		return mote__fail(err, MOTE_ESTORE,
				  "config: symbols and the manifest's blobs differ");
	uint64_t symbols;
	if (f->has_symbols &&
	    (!mote__add(f->symbol_table_bytes, f->symbol_strings_bytes, &symbols) ||
	     symbols != m->symbols.bytes))
		return fail(err, "symbols", m->symbols.bytes, "the size of their blob");
	return MOTE_OK;
}

/* ---- making the snapshot --------------------------------------------------------------------- */

/* What is taken is not in the facts any more. */
static void fill_image(struct mote__image *image, struct mote__facts *f)
{
	image->bits = f->layout.family->bits;
	image->has_note = f->has_note;
	image->is_position_independent = f->is_position_independent;
	image->baseline = f->baseline;
	memcpy(image->version, f->version, sizeof image->version);
	image->build_id_bytes = f->build_id_bytes;
	memcpy(image->build_id, f->build_id, sizeof image->build_id);
	image->entry_gva = f->entry_gva;
	image->dispatch_gva = f->image_dispatch_gva;
	image->syscall_gva = f->syscall_gva;
	image->exports = f->exports;
	image->imports = f->imports;
	f->exports = f->imports = (struct mote__functions){0};
	image->symbol_shift = f->symbol_shift;
	image->msr_count = f->allowed_msr_count;
	memcpy(image->msrs, f->allowed_msrs, f->allowed_msr_count * sizeof *image->msrs);
}

static int fill_start(mote_snapshot *s, struct mote__facts *f, struct mote_error *err)
{
	s->write_set_max = f->write_set_max;
	s->generation = f->generation;
	s->is_ready = f->is_ready;
	s->dispatch_gva = s->image->dispatch_gva;
	for (; s->metadata_count < f->metadata_count; s->metadata_count++) {
		uint32_t i = s->metadata_count;
		s->metadata[i] = (struct mote__text){f->metadata[i].name, f->metadata[i].json};
		f->metadata[i].name = f->metadata[i].json = NULL;
	}
	if (!f->is_ready)
		return MOTE_OK;
	s->dispatch_gva = f->dispatch_gva;
	s->dispatch_rsp = f->dispatch_rsp;
	s->special = f->special;
	s->msrs = f->msrs;
	s->seen = f->seen;
	s->functions = mote__alloc(1, sizeof *s->functions);
	if (!s->functions)
		return mote__fail(err, MOTE_ENOMEM, "out of memory");
	s->functions->references = 1;
	s->functions->functions = f->host_functions;
	f->host_functions = (struct mote__functions){0};
	return MOTE_OK;
}

static int make_snapshot(struct mote__load *load, struct mote_error *err)
{
	struct mote__facts *f = &load->facts;
	struct mote__image *image = NULL;
	int rc = mote__image_new(&image, err);
	if (rc < 0)
		return rc;
	load->snapshot = mote__snapshot_new(image, NULL);
	mote__image_unref(image);
	if (!load->snapshot)
		return mote__fail(err, MOTE_ENOMEM, "out of memory");
	fill_image(load->snapshot->image, f);
	rc = mote__layout_make(&f->layout, &f->image, &load->snapshot->layout, err);
	if (rc < 0)
		return refuse(err, rc);
	load->snapshot->layout.zero_gpa = f->zero_gpa;
	return fill_start(load->snapshot, f, err);
}

int mote__load_facts(struct mote__load *load, struct mote_error *err)
{
	int rc = check_kind(&load->facts, err);
	if (rc == MOTE_OK)
		rc = check_level(load, err);
	if (rc == MOTE_OK)
		rc = check_allowed(load, err);
	if (rc == MOTE_OK)
		rc = check_registers(&load->facts, err);
	if (rc == MOTE_OK)
		rc = check_memory(load, err);
	if (rc == MOTE_OK)
		rc = make_snapshot(load, err);
	return rc == MOTE_OK ? warn_processor(load, err) : rc;
}

/* ---- with memory and tables ------------------------------------------------------------------ */

static int check_code(const mote_snapshot *s, const char *field, uint64_t gva,
		      struct mote_error *err)
{
	struct mote__pt_translation t;
	if (!mote__snapshot_translate(s, gva, &t) || !t.effective.exec ||
	    (s->layout.is_confined && !t.effective.user) || !mote__snapshot_has(s, t.gpa))
		return fail(err, field, gva, "which is not in the guest's code");
	return MOTE_OK;
}

static int check_entries(const mote_snapshot *s, struct mote_error *err)
{
	const struct mote__image *image = s->image;
	bool is_confined = s->layout.is_confined;
	int rc = MOTE_OK;
	if (!s->is_ready)
		rc = check_code(s, "image.entry", image->entry_gva, err);
	if (rc == MOTE_OK && (is_confined || s->is_ready))
		rc = check_code(s, s->is_ready ? "start.dispatch" : "image.dispatch",
				s->dispatch_gva, err);
	if (rc == MOTE_OK && is_confined && s->dispatch_gva != image->dispatch_gva)
		return fail(err, "start.dispatch", s->dispatch_gva,
			    "another one than image.dispatch");
	if (rc == MOTE_OK && is_confined && image->syscall_gva)
		rc = check_code(s, "image.syscall", image->syscall_gva, err);
	return rc;
}

static int check_stack(const mote_snapshot *s, struct mote_error *err)
{
	const struct mote__layout *l = &s->layout;
	if (!s->is_ready)
		return MOTE_OK;
	if (l->is_confined && s->dispatch_rsp != l->stack_gva + l->stack_bytes)
		return fail(err, "start.stack", s->dispatch_rsp,
			    "not the end of the guest's stack");
	if (s->dispatch_rsp % 16)
		return fail(err, "start.stack", s->dispatch_rsp, "no multiple of 16");
	return MOTE_OK;
}

/* What the snapshot's sandboxes have writable from their start: as calls were seen to write it. */
static int make_write_set(mote_snapshot *s, const struct mote__facts *f, struct mote_error *err)
{
	struct mote__members *m = &s->write_set;
	if (f->write_set_max > MOTE_MAX_WRITE_SET || f->write_set_count > MOTE_MAX_WRITE_SET)
		return mote__fail(err, MOTE_ESTORE,
				  "config: writeSet has %u of %u pages, at most %u",
				  f->write_set_count, f->write_set_max, MOTE_MAX_WRITE_SET);
	m->max = f->write_set_max > f->write_set_count ? f->write_set_max : f->write_set_count;
	m->member = mote__alloc(m->max ? m->max : 1, sizeof *m->member);
	/* A page may have one frame: a bit for each leaf entry says whether it has. */
	uint64_t entries = s->layout.tables_bytes / sizeof(uint64_t);
	uint8_t *taken = f->write_set_count ? mote__alloc(entries / 8 + 1, 1) : NULL;
	int rc = m->member && (taken || !f->write_set_count)
			 ? MOTE_OK
			 : mote__fail(err, MOTE_ENOMEM, "out of memory");
	for (uint32_t i = 0; i < f->write_set_count && rc == MOTE_OK; i++) {
		uint64_t gva = f->write_set[i], source = 0, entry = 0;
		if (gva % PAGE || !mote__snapshot_may_learn(s, gva, &source) ||
		    !mote__snapshot_leaf(s, gva, &entry))
			rc = fail(err, "writeSet.pages", gva, "no page that the guest can write");
		entry /= sizeof(uint64_t);
		if (rc == MOTE_OK && taken[entry / 8] >> entry % 8 & 1)
			rc = fail(err, "writeSet.pages", gva, "given twice");
		if (rc < 0)
			break;
		taken[entry / 8] |= (uint8_t)(1u << entry % 8);
		m->member[i] = (struct mote__member){gva, source};
	}
	mote__free(taken);
	if (rc == MOTE_OK)
		atomic_store_explicit(&m->count, f->write_set_count, memory_order_release);
	return rc;
}

int mote__load_start(struct mote__load *load, struct mote_error *err)
{
	mote_snapshot *s = load->snapshot;
	int rc = check_entries(s, err);
	if (rc == MOTE_OK)
		rc = check_stack(s, err);
	return rc == MOTE_OK ? make_write_set(s, &load->facts, err) : rc;
}
