/* SPDX-License-Identifier: MIT */
/*
 * Reading a configuration, which may be anything. A list of accessors for each group of fields: the
 * first thing that is wrong makes the others do nothing, so nothing is decided on what was refused.
 */
#include "store/facts.h"

#include <string.h>

#include "base/error.h"
#include "base/sys.h"
#include "core/json.h"
#include "store/config_fields.h"
#include "store/json.h"

#define NAMES_MAX         32u /* of an object's fields */
#define FEATURES_MAX      1024u
#define FEATURE_BYTES_MAX 32u

struct reader {
	struct mote__json json;
	bool is_strict; /* fields that are not known are refused */
	struct mote__facts *facts;
};

/* Room for count values, at least one. NULL: also when there is nothing to be read any more. */
static void *allocate(struct reader *r, size_t count, size_t bytes)
{
	if (r->json.rc < 0)
		return NULL;
	void *memory = mote__alloc(count ? count : 1, bytes);
	if (!memory)
		r->json.rc = mote__fail(r->json.err, MOTE_ENOMEM, "out of memory");
	return memory;
}

/* ---- fields ---------------------------------------------------------------------------------- */

static uint64_t read_field(struct mote__json *json, const struct mote__json_at *object,
			   const struct mote__config_field *field)
{
	if (field->form == MOTE__CONFIG_NUMBER)
		return mote__json_number(json, object, field->name, field->min, field->max);
	if (field->form == MOTE__CONFIG_FLAG)
		return mote__json_flag(json, object, field->name);
	uint64_t address = mote__json_address(json, object, field->name);
	if (address <= field->max)
		return address;
	mote__json_refuse(json, object, "has %s 0x%llx, at most 0x%llx", field->name,
			  (unsigned long long)address, (unsigned long long)field->max);
	return 0;
}

static void read_fields(struct reader *r, const struct mote__json_at *object,
			const struct mote__config_field *fields, size_t count, void *base)
{
	for (const struct mote__config_field *f = fields; f < fields + count; f++) {
		uint64_t value = read_field(&r->json, object, f); /* little-endian */
		memcpy((uint8_t *)base + f->offset, &value, f->bytes);
	}
}

/* The names that an object may have. */
struct names {
	size_t count;
	const char *name[NAMES_MAX];
};

static void add_name(struct names *names, const char *name)
{
	if (names->count < NAMES_MAX)
		names->name[names->count++] = name;
}

static void add_fields(struct names *names, const struct mote__config_field *fields, size_t count)
{
	for (size_t i = 0; i < count; i++)
		add_name(names, fields[i].name);
}

static void check_names(struct reader *r, const struct mote__json_at *object,
			const struct names *names)
{
	if (r->is_strict)
		mote__json_only(&r->json, object, names->name, names->count);
}

/* An object that has the fields of a table and no others. */
static void read_object(struct reader *r, const struct mote__json_at *object,
			const struct mote__config_field *fields, size_t count, void *base)
{
	struct names names = {0};
	add_fields(&names, fields, count);
	check_names(r, object, &names);
	read_fields(r, object, fields, count, base);
}

#define READ_FIELDS(r, object, table, base) \
	read_fields(r, object, table, MOTE__CONFIG_COUNT(table), base)
#define READ_OBJECT(r, object, table, base) \
	read_object(r, object, table, MOTE__CONFIG_COUNT(table), base)
#define ADD_FIELDS(names, table) add_fields(names, table, MOTE__CONFIG_COUNT(table))

/* 1 to MOTE__CONFIG_TEXT_MAX bytes. */
static const char *read_name(struct reader *r, const struct mote__json_at *object)
{
	const char *name = mote__json_text(&r->json, object, "name", MOTE__CONFIG_TEXT_MAX);
	if (!*name)
		mote__json_refuse(&r->json, object, "has an empty name");
	return name;
}

/* ---- functions ------------------------------------------------------------------------------- */

static void read_function(struct reader *r, const struct mote__json_at *at,
			  struct mote_function *function, char *text)
{
	static const struct names names = {3, {"name", "result", "parameters"}};
	const char *types[MOTE_BYTES + 1];
	for (uint32_t i = 0; i <= MOTE_BYTES; i++)
		types[i] = mote_type_name(i);
	check_names(r, at, &names);
	const char *name = read_name(r, at);
	memcpy(text, name, strlen(name) + 1);
	function->name = text;
	function->result =
		(uint32_t)mote__json_choice(&r->json, at, "result", types, MOTE_BYTES + 1);
	size_t count;
	struct mote__json_at parameters =
		mote__json_array(&r->json, at, "parameters", MOTE_MAX_PARAMETERS, &count);
	function->parameter_count = (uint32_t)count;
	for (size_t i = 0; i < count; i++) {
		struct mote__json_at item = mote__json_item(&r->json, &parameters, i);
		function->parameters[i] =
			(uint8_t)(MOTE_I32 + mote__json_choice(&r->json, &item, NULL,
							       types + MOTE_I32, MOTE_BYTES));
	}
}

static void read_functions(struct reader *r, const struct mote__json_at *object, const char *name,
			   struct mote__functions *functions)
{
	size_t count;
	struct mote__json_at array =
		mote__json_array(&r->json, object, name, MOTE__FUNCTIONS_MAX, &count);
	functions->function = allocate(r, count, sizeof *functions->function);
	functions->text = allocate(r, count, MOTE__CONFIG_TEXT_MAX + 1);
	for (size_t i = 0; i < count && r->json.rc == MOTE_OK; i++) {
		struct mote__json_at item = mote__json_item(&r->json, &array, i);
		read_function(r, &item, &functions->function[i],
			      functions->text + i * (MOTE__CONFIG_TEXT_MAX + 1));
	}
	functions->count = (uint32_t)count;
}

/* ---- groups ---------------------------------------------------------------------------------- */

static void read_pages(struct reader *r, const struct mote__json_at *image)
{
	size_t count, max = r->facts->layout.is_confined ? MOTE__LAYOUT_RUNS_MAX : 0;
	struct mote__json_at array = mote__json_array(&r->json, image, "pages", max, &count);
	r->facts->image.run_count = (uint32_t)count;
	for (size_t i = 0; i < count; i++) {
		struct mote__json_at item = mote__json_item(&r->json, &array, i);
		READ_OBJECT(r, &item, mote__config_run, &r->facts->image.runs[i]);
	}
}

static void read_image(struct reader *r, const struct mote__json_at *root)
{
	struct mote__facts *facts = r->facts;
	struct names names = {5, {"pages", "versionNote", "buildId", "exports", "imports"}};
	ADD_FIELDS(&names, mote__config_image);
	struct mote__json_at image = mote__json_object(&r->json, root, "image");
	check_names(r, &image, &names);
	READ_FIELDS(r, &image, mote__config_image, facts);
	read_pages(r, &image);
	const char *version =
		mote__json_text(&r->json, &image, "versionNote", sizeof facts->version - 1);
	memcpy(facts->version, version, strlen(version) + 1);
	facts->build_id_bytes = (uint32_t)mote__json_bytes(&r->json, &image, "buildId",
							   facts->build_id, sizeof facts->build_id);
	read_functions(r, &image, "exports", &facts->exports);
	read_functions(r, &image, "imports", &facts->imports);
}

static void read_symbols(struct reader *r, const struct mote__json_at *root)
{
	r->facts->has_symbols = mote__json_has(&r->json, root, "symbols");
	if (!r->facts->has_symbols)
		return;
	struct mote__json_at symbols = mote__json_object(&r->json, root, "symbols");
	READ_OBJECT(r, &symbols, mote__config_symbols, r->facts);
}

static void read_memory(struct reader *r, const struct mote__json_at *root)
{
	size_t count;
	struct mote__json_at memory =
		mote__json_array(&r->json, root, "memory", MOTE__FACTS_LAYERS_MAX, &count);
	if (!count)
		mote__json_refuse(&r->json, &memory, "is empty");
	r->facts->layer_count = (uint32_t)count;
	for (size_t i = 0; i < count; i++) {
		struct mote__json_at item = mote__json_item(&r->json, &memory, i);
		READ_OBJECT(r, &item, mote__config_layers, &r->facts->layers[i]);
	}
}

static void read_write_set(struct reader *r, const struct mote__json_at *root)
{
	struct mote__facts *facts = r->facts;
	struct names names = {1, {"pages"}};
	ADD_FIELDS(&names, mote__config_write_set);
	struct mote__json_at set = mote__json_object(&r->json, root, "writeSet");
	check_names(r, &set, &names);
	READ_FIELDS(r, &set, mote__config_write_set, facts);
	size_t count;
	struct mote__json_at pages =
		mote__json_array(&r->json, &set, "pages", MOTE_MAX_WRITE_SET, &count);
	facts->write_set = allocate(r, count, sizeof *facts->write_set);
	if (!facts->write_set)
		return;
	facts->write_set_count = (uint32_t)count;
	for (size_t i = 0; i < count; i++) {
		struct mote__json_at item = mote__json_item(&r->json, &pages, i);
		facts->write_set[i] = mote__json_address(&r->json, &item, NULL);
	}
}

static void read_special(struct reader *r, const struct mote__json_at *start)
{
	struct names names = {0};
	ADD_FIELDS(&names, mote__config_special);
	for (size_t i = 0; i < MOTE__CONFIG_COUNT(mote__config_segments); i++)
		add_name(&names, mote__config_segments[i].name);
	struct mote__json_at object = mote__json_object(&r->json, start, "special");
	check_names(r, &object, &names);
	READ_FIELDS(r, &object, mote__config_special, &r->facts->special);
	for (size_t i = 0; i < MOTE__CONFIG_COUNT(mote__config_segments); i++) {
		struct mote__json_at segment =
			mote__json_object(&r->json, &object, mote__config_segments[i].name);
		READ_OBJECT(r, &segment, mote__config_segment,
			    (uint8_t *)&r->facts->special + mote__config_segments[i].offset);
	}
}

static void read_msrs(struct reader *r, const struct mote__json_at *start)
{
	struct mote__msr_list *msrs = &r->facts->msrs;
	size_t count;
	struct mote__json_at array =
		mote__json_array(&r->json, start, "msrs", MOTE__MSRS_MAX, &count);
	msrs->count = (uint32_t)count;
	for (size_t i = 0; i < count; i++) {
		struct mote__json_at item = mote__json_item(&r->json, &array, i);
		READ_OBJECT(r, &item, mote__config_msr, &msrs->msr[i]);
	}
}

static void read_start(struct reader *r, const struct mote__json_at *root)
{
	bool is_confined = r->facts->layout.is_confined;
	struct names names = {0};
	ADD_FIELDS(&names, mote__config_start);
	if (is_confined) {
		ADD_FIELDS(&names, mote__config_start_confined);
	} else {
		add_name(&names, "special");
		add_name(&names, "msrs");
	}
	struct mote__json_at start = mote__json_object(&r->json, root, "start");
	check_names(r, &start, &names);
	READ_FIELDS(r, &start, mote__config_start, r->facts);
	if (is_confined) {
		READ_FIELDS(r, &start, mote__config_start_confined, r->facts);
		return;
	}
	read_special(r, &start);
	read_msrs(r, &start);
}

/* What only ready snapshots have. */
static void read_ready(struct reader *r, const struct mote__json_at *root)
{
	static const char *const parts[] = {"host", "start"};
	for (size_t i = 0; !r->facts->is_ready && i < 2; i++)
		if (mote__json_has(&r->json, root, parts[i]))
			mote__json_refuse(&r->json, root, "has \"%s\", but state is \"new\"",
					  parts[i]);
	if (!r->facts->is_ready)
		return;
	static const struct names names = {1, {"functions"}};
	struct mote__json_at host = mote__json_object(&r->json, root, "host");
	check_names(r, &host, &names);
	read_functions(r, &host, "functions", &r->facts->host_functions);
	read_start(r, root);
}

static void read_allowed_msrs(struct reader *r, const struct mote__json_at *root)
{
	struct mote__facts *facts = r->facts;
	size_t count, max = facts->layout.is_confined ? 0 : MOTE__FACTS_MSRS_MAX;
	struct mote__json_at array = mote__json_array(&r->json, root, "allowedMsrs", max, &count);
	facts->allowed_msr_count = (uint32_t)count;
	for (size_t i = 0; i < count; i++) {
		struct mote__json_at item = mote__json_item(&r->json, &array, i);
		uint64_t index = mote__json_address(&r->json, &item, NULL);
		if (index > UINT32_MAX)
			mote__json_refuse(&r->json, &item, "is 0x%llx, at most 0x%x",
					  (unsigned long long)index, UINT32_MAX);
		facts->allowed_msrs[i] = (uint32_t)index;
	}
}

/* Names are shown to people: those that do not fit are left out. */
static void gather_unknown(struct mote__facts *facts, const char *name)
{
	static const char more[] = ", ...";
	size_t used = strlen(facts->seen_unknown), len = strlen(name), comma = used ? 2 : 0;
	char *at = facts->seen_unknown + used;
	if (used + comma + len + sizeof more <= sizeof facts->seen_unknown) {
		memcpy(at, ", ", comma);
		memcpy(at + comma, name, len + 1);
	} else if (at[-1] != '.') {
		memcpy(at, more, sizeof more);
	}
}

static void read_feature(struct reader *r, const struct mote__json_at *item)
{
	const char *name = mote__json_text(&r->json, item, NULL, FEATURE_BYTES_MAX);
	size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_.-");
	if (!len || name[len])
		mote__json_refuse(&r->json, item,
				  "is \"%s\", expected lower-case letters, digits, dot, - and _",
				  name);
	else if (!mote__processor_set(&r->facts->seen, name))
		gather_unknown(r->facts, name);
}

static void read_processor(struct reader *r, const struct mote__json_at *root)
{
	static const struct names names = {1, {"features"}};
	r->facts->has_seen = mote__json_has(&r->json, root, "processor");
	if (!r->facts->has_seen)
		return;
	struct mote__json_at processor = mote__json_object(&r->json, root, "processor");
	check_names(r, &processor, &names);
	size_t count;
	struct mote__json_at array =
		mote__json_array(&r->json, &processor, "features", FEATURES_MAX, &count);
	for (size_t i = 0; i < count && r->json.rc == MOTE_OK; i++) {
		struct mote__json_at item = mote__json_item(&r->json, &array, i);
		read_feature(r, &item);
	}
}

static void read_metadatum(struct reader *r, const struct mote__json_at *at, uint32_t i)
{
	static const struct names names = {2, {"name", "json"}};
	struct mote__facts *facts = r->facts;
	check_names(r, at, &names);
	const char *name = read_name(r, at);
	const char *json = mote__json_text(&r->json, at, "json", MOTE__CONFIG_METADATA_MAX);
	if (!mote__json_is_valid(json, strlen(json)))
		mote__json_refuse(&r->json, at, "has a value \"json\" that is not JSON");
	for (uint32_t j = 0; j < i; j++)
		if (strcmp(facts->metadata[j].name, name) == 0)
			mote__json_refuse(&r->json, at, "has the name \"%.64s\" of metadata[%u]",
					  name, j);
	size_t name_bytes = strlen(name) + 1, json_bytes = strlen(json) + 1;
	char *text = allocate(r, name_bytes + json_bytes, 1);
	if (!text)
		return;
	memcpy(text, name, name_bytes);
	memcpy(text + name_bytes, json, json_bytes);
	facts->metadata[i].name = text;
	facts->metadata[i].json = text + name_bytes;
	facts->metadata_count = i + 1;
}

static void read_metadata(struct reader *r, const struct mote__json_at *root)
{
	size_t count;
	struct mote__json_at array =
		mote__json_array(&r->json, root, "metadata", MOTE_MAX_METADATA, &count);
	for (size_t i = 0; i < count && r->json.rc == MOTE_OK; i++) {
		struct mote__json_at item = mote__json_item(&r->json, &array, i);
		read_metadatum(r, &item, (uint32_t)i);
	}
}

/* ---- all of it ------------------------------------------------------------------------------- */

static void read_versions(struct reader *r, const struct mote__json_at *root)
{
	uint64_t version = mote__json_number(&r->json, root, "version", 1, UINT32_MAX);
	uint64_t least = mote__json_number(&r->json, root, "leastReader", 1, version);
	if (least > MOTE__CONFIG_VERSION)
		mote__json_refuse(&r->json, root,
				  "was written by a newer version of the format: needs a reader of "
				  "revision %llu, this one is %u",
				  (unsigned long long)least, MOTE__CONFIG_VERSION);
	r->is_strict = version <= MOTE__CONFIG_VERSION;
}

static void check_top(struct reader *r, const struct mote__json_at *root)
{
	struct names names = {17,
			      {"version", "leastReader", "family", "bits", "kind", "state", "sizes",
			       "initDataAccess", "image", "symbols", "memory", "writeSet", "start",
			       "host", "allowedMsrs", "processor", "metadata"}};
	ADD_FIELDS(&names, mote__config_top);
	check_names(r, root, &names);
}

static void read_identity(struct reader *r, const struct mote__json_at *root)
{
	static const char *const families[] = {"S"}, *const kinds[] = {"confined", "stock"},
				 *const states[] = {"new", "ready"};
	static const uint32_t ids[] = {MOTE_FAMILY_S};
	struct mote__layout_config *layout = &r->facts->layout;
	size_t family = mote__json_choice(&r->json, root, "family", families, 1);
	uint64_t bits = mote__json_number(&r->json, root, "bits", 32, 64);
	layout->family = mote__family_find(ids[family], (uint32_t)bits);
	if (!layout->family)
		mote__json_refuse(&r->json, root, "has bits %u, expected 32 or 64", (uint32_t)bits);
	layout->is_confined = mote__json_choice(&r->json, root, "kind", kinds, 2) == 0;
	r->facts->is_ready = mote__json_choice(&r->json, root, "state", states, 2) == 1;
}

static void read_layout(struct reader *r, const struct mote__json_at *root)
{
	const char *words[MOTE__CONFIG_COUNT(mote__config_access)];
	for (size_t i = 0; i < MOTE__CONFIG_COUNT(words); i++)
		words[i] = mote__config_access[i].word;
	size_t word = mote__json_choice(&r->json, root, "initDataAccess", words,
					MOTE__CONFIG_COUNT(words));
	r->facts->layout.init_access = mote__config_access[word].access;
	struct mote__json_at sizes = mote__json_object(&r->json, root, "sizes");
	READ_OBJECT(r, &sizes, mote__config_sizes, r->facts);
	READ_FIELDS(r, root, mote__config_top, r->facts);
}

static void read_root(struct reader *r)
{
	struct mote__json_at root = mote__json_root(&r->json);
	read_versions(r, &root);
	check_top(r, &root);
	read_identity(r, &root);
	read_layout(r, &root);
	read_image(r, &root);
	read_symbols(r, &root);
	read_memory(r, &root);
	read_write_set(r, &root);
	read_ready(r, &root);
	read_allowed_msrs(r, &root);
	read_processor(r, &root);
	read_metadata(r, &root);
}

int mote__config_read(const char *text, size_t len, const char *what, struct mote__facts *facts,
		      struct mote_error *err)
{
	struct reader r = {.facts = facts};
	memset(facts, 0, sizeof *facts);
	if (len > MOTE__CONFIG_BYTES_MAX)
		return mote__fail(err, MOTE_ESTORE, "%s has %zu bytes, at most %u", what, len,
				  MOTE__CONFIG_BYTES_MAX);
	mote__json_open(&r.json, what, text, len, err);
	read_root(&r);
	mote__json_close(&r.json);
	if (r.json.rc < 0)
		mote__facts_free(facts);
	return r.json.rc;
}

void mote__facts_free(struct mote__facts *facts)
{
	mote__functions_free(&facts->exports);
	mote__functions_free(&facts->imports);
	mote__functions_free(&facts->host_functions);
	mote__free(facts->write_set);
	for (uint32_t i = 0; i < facts->metadata_count; i++)
		mote__free(facts->metadata[i].name);
	memset(facts, 0, sizeof *facts);
}
