/* SPDX-License-Identifier: MIT */
/*
 * The tables of functions in a guest's image: what it exports and what it wants from the host. The
 * bytes are the image's, so hostile; the memory that holds them does not change any more.
 */
#include "vm/objects.h"

#include <string.h>

#include "base/error.h"
#include "base/math.h"
#include "base/sys.h"
#include "core/utf8.h"

#define FUNCTIONS_MAX 4096u

/* Bytes [gva, gva + bytes) of the image, or NULL. */
static const uint8_t *in_image(const uint8_t *image, const struct mote__layout *layout,
			       uint64_t gva, uint64_t bytes)
{
	uint64_t offset = gva - layout->image_gva;
	return mote__in_range(offset, bytes, layout->image_bytes) ? image + offset : NULL;
}

static bool is_type(uint32_t type, bool may_be_void)
{
	return type <= MOTE_BYTES && (type != MOTE_VOID || may_be_void);
}

static int fail_entry(struct mote_error *err, const char *what, uint64_t i, const char *field,
		      uint64_t value)
{
	return mote__fail(err, MOTE_EIMAGE, "%s, entry %llu: %s is 0x%llx", what,
			  (unsigned long long)i, field, (unsigned long long)value);
}

static int check_entry(const struct mote_abi_function *f, const char *what, uint64_t i,
		       struct mote_error *err)
{
	if (!f->name_bytes || f->name_bytes > MOTE_ABI_MAX_NAME_BYTES)
		return fail_entry(err, what, i, "name_bytes", f->name_bytes);
	if (!is_type(f->result, true))
		return fail_entry(err, what, i, "result", f->result);
	if (f->parameter_count > MOTE_ABI_MAX_PARAMETERS)
		return fail_entry(err, what, i, "parameter_count", f->parameter_count);
	for (uint32_t p = 0; p < f->parameter_count; p++)
		if (!is_type(f->parameters[p], false))
			return fail_entry(err, what, i, "a parameter's type", f->parameters[p]);
	if (f->reserved[0] || f->reserved[1] || f->reserved2)
		return fail_entry(err, what, i, "reserved",
				  f->reserved2 | f->reserved[0] | f->reserved[1]);
	return MOTE_OK;
}

static int read_entry(const uint8_t *image, const struct mote__layout *layout, const uint8_t *at,
		      const char *what, uint64_t i, struct mote__functions *functions,
		      struct mote_error *err)
{
	struct mote_abi_function f;
	memcpy(&f, at, sizeof f);
	int rc = check_entry(&f, what, i, err);
	if (rc < 0)
		return rc;
	const uint8_t *name = in_image(image, layout, f.name, (uint64_t)f.name_bytes + 1);
	if (!name)
		return fail_entry(err, what, i, "name (outside the image)", f.name);
	if (name[f.name_bytes] || memchr(name, 0, f.name_bytes) ||
	    !mote__utf8_is_valid(name, f.name_bytes))
		return fail_entry(err, what, i, "name (no UTF-8 text)", f.name);
	char *text = functions->text + i * (MOTE_ABI_MAX_NAME_BYTES + 1);
	memcpy(text, name, f.name_bytes);
	struct mote_function *out = &functions->function[i];
	out->name = text;
	out->result = f.result;
	out->parameter_count = f.parameter_count;
	memcpy(out->parameters, f.parameters, sizeof out->parameters);
	return MOTE_OK;
}

static int find_table(const uint8_t *image, const struct mote__layout *layout, uint64_t at,
		      const char *what, const uint8_t **first, uint64_t *count,
		      struct mote_error *err)
{
	struct mote_abi_table table;
	if (!mote__in_range(at, sizeof table, layout->image_bytes))
		return mote__fail(err, MOTE_EIMAGE, "%s: the table at 0x%llx is outside the image",
				  what, (unsigned long long)at);
	memcpy(&table, image + at, sizeof table);
	uint64_t bytes = table.end - table.first;
	*count = bytes / sizeof(struct mote_abi_function);
	if (table.end < table.first || bytes % sizeof(struct mote_abi_function) ||
	    *count > FUNCTIONS_MAX)
		return mote__fail(err, MOTE_EIMAGE,
				  "%s: entries 0x%llx to 0x%llx are no array of at most %u", what,
				  (unsigned long long)table.first, (unsigned long long)table.end,
				  FUNCTIONS_MAX);
	*first = *count ? in_image(image, layout, table.first, bytes) : NULL;
	if (*count && !*first)
		return mote__fail(err, MOTE_EIMAGE, "%s: entries at 0x%llx are outside the image",
				  what, (unsigned long long)table.first);
	return MOTE_OK;
}

int mote__functions_read(const uint8_t *image, const struct mote__layout *layout, uint64_t at,
			 const char *what, struct mote__functions *functions,
			 struct mote_error *err)
{
	const uint8_t *first = NULL;
	uint64_t count = 0;
	if (!at)
		return MOTE_OK;
	int rc = find_table(image, layout, at, what, &first, &count, err);
	if (rc < 0 || !first)
		return rc;
	functions->function = mote__alloc(count, sizeof *functions->function);
	functions->text = mote__alloc(count, MOTE_ABI_MAX_NAME_BYTES + 1);
	if (!functions->function || !functions->text)
		return mote__fail(err, MOTE_ENOMEM, "out of memory");
	for (uint64_t i = 0; i < count && rc == MOTE_OK; i++)
		rc = read_entry(image, layout, first + i * sizeof(struct mote_abi_function), what,
				i, functions, err);
	functions->count = (uint32_t)count;
	return rc;
}
