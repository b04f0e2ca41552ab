/* SPDX-License-Identifier: MIT */
/*
 * The configuration as text. Running out of memory is remembered in the writer and told at the end,
 * as is a number that a reader would refuse.
 */
#include "store/facts.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/sys.h"
#include "store/config_fields.h"
#include "store/json.h"

struct writer {
	bool is_out; /* of memory */
	int rc;      /* of the first thing that does not fit */
	struct mote_error *err;
};

static void put(struct writer *w, json_t *object, const char *name, json_t *value)
{
	w->is_out |= !mote__json_put(object, name, value);
}

static void append(struct writer *w, json_t *array, json_t *value)
{
	w->is_out |= !mote__json_append(array, value);
}

/* False, and the failure is remembered, unless value is in [min, max]. */
static bool fits(struct writer *w, const char *name, uint64_t value, uint64_t min, uint64_t max)
{
	if (value >= min && value <= max)
		return true;
	if (w->rc == MOTE_OK)
		w->rc = mote__fail(w->err, MOTE_ETOOBIG,
				   "%s is %llu; a store has %llu to %llu for it", name,
				   (unsigned long long)value, (unsigned long long)min,
				   (unsigned long long)max);
	return false;
}

/* ---- fields ---------------------------------------------------------------------------------- */

static uint64_t load(const struct mote__config_field *field, const void *base)
{
	const uint8_t *at = (const uint8_t *)base + field->offset;
	uint64_t value = 0; /* little-endian */
	memcpy(&value, at, field->bytes);
	return value;
}

static void put_fields(struct writer *w, json_t *object, const struct mote__config_field *fields,
		       size_t count, const void *base)
{
	for (const struct mote__config_field *f = fields; f < fields + count; f++) {
		uint64_t value = load(f, base);
		if (!fits(w, f->name, value, f->min, f->max))
			continue;
		put(w, object, f->name,
		    f->form == MOTE__CONFIG_NUMBER ? json_integer((json_int_t)value)
		    : f->form == MOTE__CONFIG_FLAG ? json_boolean(value)
						   : mote__json_make_address(value));
	}
}

static json_t *make_object(struct writer *w, const struct mote__config_field *fields, size_t count,
			   const void *base)
{
	json_t *object = json_object();
	put_fields(w, object, fields, count, base);
	return object;
}

#define PUT_FIELDS(w, object, table, base) \
	put_fields(w, object, table, MOTE__CONFIG_COUNT(table), base)
#define MAKE_OBJECT(w, table, base) make_object(w, table, MOTE__CONFIG_COUNT(table), base)

/* ---- groups ---------------------------------------------------------------------------------- */

static json_t *make_function(struct writer *w, const struct mote_function *function)
{
	json_t *object = json_object(), *parameters = json_array();
	if (fits(w, "parameter_count", function->parameter_count, 0, MOTE_MAX_PARAMETERS))
		for (uint32_t i = 0; i < function->parameter_count; i++)
			append(w, parameters, json_string(mote_type_name(function->parameters[i])));
	put(w, object, "name", json_string(function->name));
	put(w, object, "result", json_string(mote_type_name(function->result)));
	put(w, object, "parameters", parameters);
	return object;
}

static json_t *make_functions(struct writer *w, const char *name,
			      const struct mote__functions *functions)
{
	json_t *array = json_array();
	if (fits(w, name, functions->count, 0, MOTE__FUNCTIONS_MAX))
		for (uint32_t i = 0; i < functions->count; i++)
			append(w, array, make_function(w, &functions->function[i]));
	return array;
}

static json_t *make_build_id(struct writer *w, const struct mote__facts *facts)
{
	char text[2 * MOTE__ELF_BUILD_ID_MAX + 1] = "";
	if (fits(w, "buildId", facts->build_id_bytes, 0, MOTE__ELF_BUILD_ID_MAX))
		for (uint32_t i = 0; i < facts->build_id_bytes; i++)
			(void)snprintf(text + (size_t)2 * i, 3, "%02x", facts->build_id[i]);
	return json_string(text);
}

static json_t *make_image(struct writer *w, const struct mote__facts *facts)
{
	json_t *image = MAKE_OBJECT(w, mote__config_image, facts), *pages = json_array();
	const struct mote__layout_image *i = &facts->image;
	if (fits(w, "pages", i->run_count, 0, MOTE__LAYOUT_RUNS_MAX))
		for (uint32_t r = 0; r < i->run_count; r++)
			append(w, pages, MAKE_OBJECT(w, mote__config_run, &i->runs[r]));
	put(w, image, "pages", pages);
	put(w, image, "versionNote", json_string(facts->version));
	put(w, image, "buildId", make_build_id(w, facts));
	put(w, image, "exports", make_functions(w, "exports", &facts->exports));
	put(w, image, "imports", make_functions(w, "imports", &facts->imports));
	return image;
}

static json_t *make_memory(struct writer *w, const struct mote__facts *facts)
{
	json_t *memory = json_array();
	if (fits(w, "memory", facts->layer_count, 1, MOTE__FACTS_LAYERS_MAX))
		for (uint32_t i = 0; i < facts->layer_count; i++)
			append(w, memory, MAKE_OBJECT(w, mote__config_layers, &facts->layers[i]));
	return memory;
}

static json_t *make_write_set(struct writer *w, const struct mote__facts *facts)
{
	json_t *set = MAKE_OBJECT(w, mote__config_write_set, facts), *pages = json_array();
	if (fits(w, "writeSet.pages", facts->write_set_count, 0, MOTE_MAX_WRITE_SET))
		for (uint32_t i = 0; i < facts->write_set_count; i++)
			append(w, pages, mote__json_make_address(facts->write_set[i]));
	put(w, set, "pages", pages);
	return set;
}

static json_t *make_special(struct writer *w, const struct mote__special *special)
{
	json_t *object = MAKE_OBJECT(w, mote__config_special, special);
	for (size_t i = 0; i < MOTE__CONFIG_COUNT(mote__config_segments); i++)
		put(w, object, mote__config_segments[i].name,
		    MAKE_OBJECT(w, mote__config_segment,
				(const uint8_t *)special + mote__config_segments[i].offset));
	return object;
}

static json_t *make_start(struct writer *w, const struct mote__facts *facts)
{
	json_t *start = MAKE_OBJECT(w, mote__config_start, facts);
	if (facts->layout.is_confined) {
		PUT_FIELDS(w, start, mote__config_start_confined, facts);
		return start;
	}
	json_t *msrs = json_array();
	if (fits(w, "msrs", facts->msrs.count, 0, MOTE__MSRS_MAX))
		for (uint32_t i = 0; i < facts->msrs.count; i++)
			append(w, msrs, MAKE_OBJECT(w, mote__config_msr, &facts->msrs.msr[i]));
	put(w, start, "special", make_special(w, &facts->special));
	put(w, start, "msrs", msrs);
	return start;
}

static json_t *make_allowed_msrs(struct writer *w, const struct mote__facts *facts)
{
	json_t *array = json_array();
	if (fits(w, "allowedMsrs", facts->allowed_msr_count, 0, MOTE__FACTS_MSRS_MAX))
		for (uint32_t i = 0; i < facts->allowed_msr_count; i++)
			append(w, array, mote__json_make_address(facts->allowed_msrs[i]));
	return array;
}

static json_t *make_processor(struct writer *w, const struct mote__processor *seen)
{
	json_t *processor = json_object(), *features = json_array();
	const char *name;
	bool is_set = false;
	for (size_t i = 0; (name = mote__processor_name(seen, i, &is_set)); i++)
		if (is_set)
			append(w, features, json_string(name));
	put(w, processor, "features", features);
	return processor;
}

static json_t *make_metadata(struct writer *w, const struct mote__facts *facts)
{
	json_t *metadata = json_array();
	if (!fits(w, "metadata", facts->metadata_count, 0, MOTE_MAX_METADATA))
		return metadata;
	for (uint32_t i = 0; i < facts->metadata_count; i++) {
		json_t *object = json_object();
		put(w, object, "name", json_string(facts->metadata[i].name));
		put(w, object, "json", json_string(facts->metadata[i].json));
		append(w, metadata, object);
	}
	return metadata;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static json_t *make_access(uint32_t access)
{
	for (size_t i = 0; i < MOTE__CONFIG_COUNT(mote__config_access); i++)
		if (mote__config_access[i].access == (access | (uint32_t)MOTE_READ))
			return json_string(mote__config_access[i].word);
	return NULL;
}

static void put_identity(struct writer *w, json_t *root, const struct mote__facts *facts)
{
	const struct mote__layout_config *layout = &facts->layout;
	put(w, root, "version", json_integer(MOTE__CONFIG_VERSION));
	put(w, root, "leastReader", json_integer(MOTE__CONFIG_LEAST_READER));
	put(w, root, "family", json_string(layout->family->name));
	put(w, root, "bits", json_integer(layout->family->bits));
	put(w, root, "kind", json_string(layout->is_confined ? "confined" : "stock"));
	put(w, root, "state", json_string(facts->is_ready ? "ready" : "new"));
	put(w, root, "initDataAccess", make_access(layout->init_access));
	PUT_FIELDS(w, root, mote__config_top, facts);
	put(w, root, "sizes", MAKE_OBJECT(w, mote__config_sizes, facts));
}

static json_t *make_root(struct writer *w, const struct mote__facts *facts)
{
	json_t *root = json_object();
	put_identity(w, root, facts);
	put(w, root, "image", make_image(w, facts));
	if (facts->has_symbols)
		put(w, root, "symbols", MAKE_OBJECT(w, mote__config_symbols, facts));
	put(w, root, "memory", make_memory(w, facts));
	put(w, root, "writeSet", make_write_set(w, facts));
	if (facts->is_ready) {
		json_t *host = json_object();
		put(w, host, "functions", make_functions(w, "functions", &facts->host_functions));
		put(w, root, "host", host);
		put(w, root, "start", make_start(w, facts));
	}
	put(w, root, "allowedMsrs", make_allowed_msrs(w, facts));
	if (facts->has_seen)
		put(w, root, "processor", make_processor(w, &facts->seen));
	put(w, root, "metadata", make_metadata(w, facts));
	return root;
}

int mote__config_write(const struct mote__facts *facts, char **text, size_t *len,
		       struct mote_error *err)
{
	struct writer w = {.err = err};
	json_t *root = make_root(&w, facts);
	if (w.rc < 0 || w.is_out) {
		json_decref(root);
		return w.rc < 0 ? w.rc : mote__fail(err, MOTE_ENOMEM, "out of memory");
	}
	char *all = NULL;
	size_t bytes = 0;
	int rc = mote__json_dump(root, &all, &bytes, err);
	if (rc < 0)
		return rc;
	if (bytes > MOTE__CONFIG_BYTES_MAX) {
		mote__free(all);
		return mote__fail(err, MOTE_ETOOBIG,
				  "the configuration has %zu bytes; a store has %u for it", bytes,
				  MOTE__CONFIG_BYTES_MAX);
	}
	*text = all;
	*len = bytes;
	return MOTE_OK;
}
