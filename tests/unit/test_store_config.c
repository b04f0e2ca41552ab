/* SPDX-License-Identifier: MIT */
/*
 * The configuration of a stored snapshot: what is written is read again, its text is fixed, and
 * every field that is missing, of another type or out of its range is refused by name.
 */
#include "store/facts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/sys.h"
#include "check.h"
#include "store/config_fields.h"
#include "store/json.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct mote_error err;

static int read_text(const char *text, size_t len, struct mote__facts *facts)
{
	char *copy = malloc(len ? len : 1); /* of just that size, for ASan */
	CHECK(copy);
	memcpy(copy, text, len);
	err = (struct mote_error){0};
	int rc = mote__config_read(copy, len, "config", facts, &err);
	free(copy);
	CHECK_EQ(err.code, rc);
	return rc;
}

/* ---- random facts ---------------------------------------------------------------------------- */

static uint64_t seed;

static uint64_t below(uint64_t limit)
{
	return check_random(&seed) % limit;
}

/* In [min, max], often at a border. */
static uint64_t within(uint64_t min, uint64_t max)
{
	uint64_t kind = below(4);
	if (kind < 2)
		return kind ? max : min;
	uint64_t span = max - min + 1, value = check_random(&seed) >> below(64);
	return min + (span ? value % span : value);
}

static void fill(const struct mote__config_field *fields, size_t count, void *base)
{
	for (size_t i = 0; i < count; i++) {
		uint64_t value = within(fields[i].min, fields[i].max);
		memcpy((uint8_t *)base + fields[i].offset, &value, fields[i].bytes);
	}
}
#define FILL(table, base) fill(table, COUNT(table), base)

/* Between min and max bytes of valid UTF-8. */
static void random_text(char *text, size_t min, size_t max)
{
	static const char *const units[] = {"a",  "Z", "_", "\"", "\\",       "/",
					    "\n", " ", ".", "7",  "\xc3\xa4", "\xf0\x9f\x98\x80"};
	size_t len = within(min, max), used = 0;
	while (used < len) {
		const char *unit = units[below(COUNT(units))];
		if (used + strlen(unit) > len)
			unit = "b";
		memcpy(text + used, unit, strlen(unit));
		used += strlen(unit);
	}
	text[used] = 0;
}

static void make_functions(struct mote__functions *functions)
{
	functions->count = (uint32_t)below(4);
	functions->function = mote__alloc(4, sizeof *functions->function);
	functions->text = mote__alloc(4, 256);
	CHECK(functions->function && functions->text);
	for (uint32_t i = 0; i < functions->count; i++) {
		struct mote_function *f = &functions->function[i];
		random_text(functions->text + i * 256, 1, 255);
		f->name = functions->text + i * 256;
		f->result = (uint32_t)below(MOTE_BYTES + 1);
		f->parameter_count = (uint32_t)within(0, MOTE_MAX_PARAMETERS);
		for (uint32_t p = 0; p < f->parameter_count; p++)
			f->parameters[p] = (uint8_t)(1 + below(MOTE_BYTES));
	}
}

static void make_start(struct mote__facts *f)
{
	f->is_ready = true;
	FILL(mote__config_start, f);
	make_functions(&f->host_functions);
	if (f->layout.is_confined) {
		FILL(mote__config_start_confined, f);
		return;
	}
	FILL(mote__config_special, &f->special);
	for (size_t i = 0; i < COUNT(mote__config_segments); i++)
		FILL(mote__config_segment,
		     (uint8_t *)&f->special + mote__config_segments[i].offset);
	f->msrs.count = (uint32_t)within(0, MOTE__MSRS_MAX);
	for (uint32_t i = 0; i < f->msrs.count; i++)
		FILL(mote__config_msr, &f->msrs.msr[i]);
}

static void make_metadata(struct mote__facts *f)
{
	f->metadata_count = (uint32_t)within(0, MOTE_MAX_METADATA);
	for (uint32_t i = 0; i < f->metadata_count; i++) {
		char *text = mote__alloc(512, 1);
		CHECK(text);
		f->metadata[i].name = text;
		f->metadata[i].json = text + 256;
		text[0] = (char)('a' + i); /* so that no two are equal */
		random_text(text + 1, 0, 254);
		(void)snprintf(text + 256, 256, "{\"\xc3\xa4\\u0000\": [%" PRIu64 "]}", below(9));
	}
}

static void make_image(struct mote__facts *f)
{
	FILL(mote__config_image, f);
	f->image.run_count = f->layout.is_confined ? (uint32_t)within(0, MOTE__LAYOUT_RUNS_MAX) : 0;
	for (uint32_t i = 0; i < f->image.run_count; i++)
		FILL(mote__config_run, &f->image.runs[i]);
	random_text(f->version, 0, sizeof f->version - 1);
	f->build_id_bytes = (uint32_t)within(0, MOTE__ELF_BUILD_ID_MAX);
	for (uint32_t i = 0; i < f->build_id_bytes; i++)
		f->build_id[i] = (uint8_t)below(256);
	make_functions(&f->exports);
	make_functions(&f->imports);
}

static void make_facts(struct mote__facts *f)
{
	memset(f, 0, sizeof *f);
	f->layout.is_confined = below(2);
	f->layout.family = mote__family_find(MOTE_FAMILY_S, below(2) ? 64 : 32);
	f->layout.init_access = mote__config_access[below(COUNT(mote__config_access))].access;
	FILL(mote__config_top, f);
	FILL(mote__config_sizes, f);
	make_image(f);
	f->has_symbols = below(2);
	if (f->has_symbols)
		FILL(mote__config_symbols, f);
	f->layer_count = (uint32_t)within(1, MOTE__FACTS_LAYERS_MAX);
	for (uint32_t i = 0; i < f->layer_count; i++)
		FILL(mote__config_layers, &f->layers[i]);
	FILL(mote__config_write_set, f);
	f->write_set_count = (uint32_t)below(50);
	f->write_set = mote__alloc(50, sizeof *f->write_set);
	CHECK(f->write_set);
	for (uint32_t i = 0; i < f->write_set_count; i++)
		f->write_set[i] = within(0, UINT64_MAX);
	if (below(2))
		make_start(f);
	f->allowed_msr_count =
		f->layout.is_confined ? 0 : (uint32_t)within(0, MOTE__FACTS_MSRS_MAX);
	for (uint32_t i = 0; i < f->allowed_msr_count; i++)
		f->allowed_msrs[i] = (uint32_t)within(0, UINT32_MAX);
	f->has_seen = below(2);
	const char *name;
	bool is_set;
	for (size_t i = 0; (name = mote__processor_name(&f->seen, i, &is_set)); i++)
		if (f->has_seen && below(2))
			CHECK(mote__processor_set(&f->seen, name));
	make_metadata(f);
}

/* ---- equality -------------------------------------------------------------------------------- */

static void check_functions(const struct mote__functions *a, const struct mote__functions *b)
{
	CHECK_EQ(a->count, b->count);
	for (uint32_t i = 0; i < a->count; i++) {
		const struct mote_function *f = &a->function[i], *g = &b->function[i];
		CHECK_STR(f->name, g->name);
		CHECK_EQ(f->result, g->result);
		CHECK_EQ(f->parameter_count, g->parameter_count);
		CHECK_MEM(f->parameters, g->parameters, sizeof f->parameters);
	}
}

/* What is a pointer is compared and cleared, the rest as bytes: so no field is forgotten. Both are
 * made of zeroed memory. */
static void check_equal_and_free(struct mote__facts *a, struct mote__facts *b)
{
	check_functions(&a->exports, &b->exports);
	check_functions(&a->imports, &b->imports);
	check_functions(&a->host_functions, &b->host_functions);
	CHECK_EQ(a->write_set_count, b->write_set_count);
	CHECK_MEM(a->write_set, b->write_set, a->write_set_count * sizeof *a->write_set);
	CHECK_EQ(a->metadata_count, b->metadata_count);
	for (uint32_t i = 0; i < a->metadata_count; i++) {
		CHECK_STR(a->metadata[i].name, b->metadata[i].name);
		CHECK_STR(a->metadata[i].json, b->metadata[i].json);
	}
	struct mote__facts *both[] = {a, b};
	struct mote__facts rest[2];
	for (int i = 0; i < 2; i++) {
		struct mote__facts *f = &rest[i];
		memcpy(f, both[i], sizeof *f);
		memset(&f->exports, 0, sizeof f->exports);
		memset(&f->imports, 0, sizeof f->imports);
		memset(&f->host_functions, 0, sizeof f->host_functions);
		memset(f->metadata, 0, sizeof f->metadata);
		f->write_set = NULL;
		mote__facts_free(both[i]);
	}
	CHECK_MEM(&rest[0], &rest[1], sizeof rest[0]);
}

TEST(store_config__what_is_written_is_read_again)
{
	seed = 0x636F6E666967;
	check_note("seed 0x%" PRIx64, seed);
	static struct mote__facts made, got;
	for (int round = 0; round < 300; round++) {
		char *text = NULL, *again = NULL;
		size_t len = 0, len_again = 0;
		make_facts(&made);
		int rc = mote__config_write(&made, &text, &len, &err);
		if (rc < 0)
			check_failed(__FILE__, __LINE__, "%s", err.message);
		if (read_text(text, len, &got) < 0)
			check_failed(__FILE__, __LINE__, "%s", err.message);
		CHECK_EQ(mote__config_write(&got, &again, &len_again, &err), MOTE_OK);
		CHECK_STR(text, again);
		CHECK_EQ(len, len_again);
		check_equal_and_free(&made, &got);
		mote__free(text);
		mote__free(again);
	}
}

/* ---- fixed texts ----------------------------------------------------------------------------- */

/* Texts are written with ' for ". */

#define SIZES                                                                 \
	"'sizes':{'heap':131072,'initData':7,'input':16384,'mappings':65536," \
	"'output':8192,'scratch':0,'stack':65536},"

/* A confined guest that is ready, with all optional parts. */
static const char confined[] =
	"{'allowedMsrs':[],'bits':64,'executableHeap':false,'family':'S','generation':2,"
	"'host':{'functions':[{'name':'HostPrint','parameters':['string'],'result':'i32'}]},"
	"'image':{'address':'0x1000','buildId':'00ff','bytes':12288,'dispatch':'0x1100',"
	"'entry':'0x1010','exports':[{'name':'add','parameters':['i32','i32'],'result':'i32'},"
	"{'name':'nothing','parameters':[],'result':'void'}],'imports':[],'level':2,'note':true,"
	"'pages':[{'access':5,'count':2,'first':0},{'access':3,'count':1,'first':2}],"
	"'positionIndependent':true,'syscall':'0x0','versionNote':'0.15.0'},"
	"'initDataAccess':'r','kind':'confined','largeLeaves':true,'leastReader':1,"
	"'memory':[{'address':'0x1000','bytes':20480},{'address':'0x6000','bytes':4096}],"
	"'metadata':[{'json':'{\\'a\\':1}','name':'org.example'},{'json':'2','name':'b'}],"
	"'processor':{'features':['aes','avx2']}," SIZES
	"'start':{'dispatch':'0x1100','fsBase':'0x7000','gsBase':'0x0','stack':'0x7ffffff0'},"
	"'state':'ready','symbols':{'shift':'0xfffffffffffff000','strings':304,'table':1176},"
	"'version':1,'writeSet':{'max':64,'pages':['0x7d000','0x3000']},'zeroPage':'0x5000'}";

#define SEGMENT(selector, type, s)                                                 \
	"{'base':'0x0','db':0,'dpl':0,'g':1,'l':0,'limit':4294967295,'present':1," \
	"'s':" s ",'selector':" selector ",'type':" type ",'unusable':0},"

static const char stock[] =
	"{'allowedMsrs':['0xc0000102'],'bits':32,'executableHeap':true,'family':'S',"
	"'generation':1,'host':{'functions':[]},'image':{'address':'0x1000','buildId':'',"
	"'bytes':4096,'dispatch':'0x0','entry':'0x1000','exports':[],'imports':[],'level':0,"
	"'note':false,'pages':[],'positionIndependent':false,'syscall':'0x0','versionNote':''},"
	"'initDataAccess':'rwx','kind':'stock','largeLeaves':false,'leastReader':1,"
	"'memory':[{'address':'0x1000','bytes':4096}],'metadata':[]," SIZES
	"'start':{'dispatch':'0x1234','msrs':[{'index':'0xc0000102',"
	"'value':'0xffffffffffffffff'}],'special':{'cr0':'0x80010011','cr2':'0x2','cr4':'0x10',"
	"'cs':" SEGMENT("8", "11", "1") "'ds':" SEGMENT(
		"16", "3",
		"1") "'efer':'0xd01','es':" SEGMENT("17", "3",
						    "1") "'fs':" SEGMENT("18", "3",
									 "1") "'gdtBase':'0x9000','"
									      "gdtLimit':39,"
									      "'gs':" SEGMENT(
										      "19", "3",
										      "1") "'idtBas"
											   "e':'"
											   "0xa000'"
											   ",'"
											   "idtLimi"
											   "t':"
											   "65535,"
											   "'ldt'"
											   ":" SEGMENT("0", "2", "0") "'ss':" SEGMENT(
												   "20",
												   "3",
												   "1") "'tr':{'base':'0x5','db':0,'dpl':0,'g':0,'l':0,'limit':103,'present':1,'s':0,"
													"'selector':24,'type':11,'unusable':0}},'stack':'0x8000'},"
													"'state':'ready','version':1,'writeSet':{'max':0,'pages':[]},'zeroPage':'0x0'}";

static const char fresh[] =
	"{'allowedMsrs':[],'bits':64,'executableHeap':false,'family':'S','generation':0,"
	"'image':{'address':'0x1000','buildId':'','bytes':4096,'dispatch':'0x0','entry':'0x1000',"
	"'exports':[],'imports':[],'level':0,'note':false,'pages':[],'positionIndependent':false,"
	"'syscall':'0x0','versionNote':''},'initDataAccess':'rw','kind':'stock',"
	"'largeLeaves':false,'leastReader':1,'memory':[{'address':'0x1000','bytes':4096}],"
	"'metadata':[]," SIZES "'state':'new','version':1,'writeSet':{'max':0,'pages':[]},"
	"'zeroPage':'0x0'}";

static char *quoted(const char *text)
{
	char *copy = malloc(strlen(text) + 1);
	CHECK(copy);
	strcpy(copy, text);
	for (char *s = copy; *s; s++)
		if (*s == '\'')
			*s = '"';
	return copy;
}

/* text, quoted, with the first from (quoted) replaced by len bytes. */
static char *edited(const char *text, const char *from, const char *to, size_t len, size_t *bytes)
{
	char *whole = quoted(text), *part = quoted(from), *at = strstr(whole, part);
	if (!at)
		check_failed(__FILE__, __LINE__, "no %s", from);
	size_t before = (size_t)(at - whole), after = strlen(at) - strlen(part);
	char *result = malloc(before + len + after + 1);
	CHECK(result);
	memcpy(result, whole, before);
	memcpy(result + before, to, len);
	memcpy(result + before + len, at + strlen(part), after + 1);
	*bytes = before + len + after;
	free(whole);
	free(part);
	return result;
}

static int read_edited(const char *text, const char *from, const char *to, size_t len,
		       struct mote__facts *facts)
{
	size_t bytes;
	char *changed = edited(text, from, to, len, &bytes);
	int rc = read_text(changed, bytes, facts);
	free(changed);
	return rc;
}

/* The edited text is refused with this message. */
static void check_refused(const char *text, const char *from, const char *to, const char *message)
{
	static struct mote__facts facts;
	char *replacement = quoted(to);
	CHECK_EQ(read_edited(text, from, replacement, strlen(replacement), &facts), MOTE_ESTORE);
	free(replacement);
	char wanted[512];
	(void)snprintf(wanted, sizeof wanted, "config%s%s", *message == '=' ? " " : ": ",
		       message + (*message == '='));
	CHECK_STR(err.message, wanted);
}

static void read_fixed(const char *text, struct mote__facts *facts)
{
	char *whole = quoted(text), *again = NULL;
	size_t len = 0;
	if (read_text(whole, strlen(whole), facts) < 0)
		check_failed(__FILE__, __LINE__, "%s", err.message);
	CHECK_EQ(mote__config_write(facts, &again, &len, &err), MOTE_OK);
	CHECK_STR(again, whole);
	free(whole);
	mote__free(again);
}

TEST(store_config__a_confined_guest_has_a_fixed_text)
{
	static struct mote__facts f;
	read_fixed(confined, &f);
	CHECK(f.layout.is_confined && f.layout.has_large && !f.layout.executable_heap);
	CHECK(f.layout.family == mote__family_find(MOTE_FAMILY_S, 64));
	CHECK_EQ(f.layout.input_bytes, 16384);
	CHECK_EQ(f.layout.output_bytes, 8192);
	CHECK_EQ(f.layout.heap_bytes, 131072);
	CHECK_EQ(f.layout.stack_bytes, 65536);
	CHECK_EQ(f.layout.scratch_bytes, 0);
	CHECK_EQ(f.layout.mapping_bytes, 65536);
	CHECK_EQ(f.layout.init_bytes, 7);
	CHECK_EQ(f.layout.init_access, MOTE_READ);
	CHECK_EQ(f.image.gva, 0x1000);
	CHECK_EQ(f.image.bytes, 12288);
	CHECK_EQ(f.image.run_count, 2);
	CHECK(f.image.runs[1].first == 2 && f.image.runs[1].count == 1);
	CHECK_EQ(f.image.runs[0].access, MOTE_READ | MOTE_EXECUTE);
	CHECK(f.is_ready && f.generation == 2);
	CHECK(f.has_note && f.is_position_independent && f.baseline == 2);
	CHECK_STR(f.version, "0.15.0");
	CHECK(f.build_id_bytes == 2 && f.build_id[0] == 0 && f.build_id[1] == 0xFF);
	CHECK(f.entry_gva == 0x1010 && f.image_dispatch_gva == 0x1100 && f.syscall_gva == 0);
	CHECK(f.exports.count == 2 && f.imports.count == 0 && f.host_functions.count == 1);
	CHECK_STR(f.exports.function[0].name, "add");
	CHECK_EQ(f.exports.function[0].parameter_count, 2);
	CHECK_EQ(f.exports.function[0].parameters[1], MOTE_I32);
	CHECK_EQ(f.exports.function[1].result, MOTE_VOID);
	CHECK_EQ(f.host_functions.function[0].parameters[0], MOTE_STRING);
	CHECK(f.has_symbols && f.symbol_shift == 0xFFFFFFFFFFFFF000);
	CHECK(f.symbol_table_bytes == 1176 && f.symbol_strings_bytes == 304);
	CHECK(f.layer_count == 2 && f.layers[1].gpa == 0x6000 && f.layers[1].bytes == 4096);
	CHECK(f.zero_gpa == 0x5000 && f.write_set_max == 64 && f.write_set_count == 2);
	CHECK(f.write_set[0] == 0x7D000 && f.write_set[1] == 0x3000);
	CHECK(f.dispatch_gva == 0x1100 && f.dispatch_rsp == 0x7FFFFFF0);
	CHECK(f.special.fs.base == 0x7000 && f.special.gs.base == 0);
	CHECK_EQ(f.metadata_count, 2);
	CHECK_STR(f.metadata[0].name, "org.example");
	CHECK_STR(f.metadata[0].json, "{\"a\":1}");
	struct mote__processor seen = {0};
	CHECK(mote__processor_set(&seen, "aes") && mote__processor_set(&seen, "avx2"));
	CHECK(f.has_seen);
	CHECK_MEM(&f.seen, &seen, sizeof seen);
	CHECK_STR(f.seen_unknown, "");
	mote__facts_free(&f);
}

TEST(store_config__a_stock_guest_has_a_fixed_text)
{
	static struct mote__facts f;
	read_fixed(stock, &f);
	CHECK(!f.layout.is_confined && f.layout.executable_heap && f.is_ready);
	CHECK(f.layout.family == mote__family_find(MOTE_FAMILY_S, 32));
	CHECK_EQ(f.layout.init_access, MOTE_READ | MOTE_WRITE | MOTE_EXECUTE);
	CHECK(f.allowed_msr_count == 1 && f.allowed_msrs[0] == 0xC0000102);
	CHECK(f.msrs.count == 1 && f.msrs.msr[0].index == 0xC0000102);
	CHECK_EQ(f.msrs.msr[0].value, UINT64_MAX);
	const struct mote__special wanted = {
		.cs = {0, UINT32_MAX, 8, 11, 1, 0, 0, 1, 0, 1, 0, {0}},
		.ds = {0, UINT32_MAX, 16, 3, 1, 0, 0, 1, 0, 1, 0, {0}},
		.es = {0, UINT32_MAX, 17, 3, 1, 0, 0, 1, 0, 1, 0, {0}},
		.fs = {0, UINT32_MAX, 18, 3, 1, 0, 0, 1, 0, 1, 0, {0}},
		.gs = {0, UINT32_MAX, 19, 3, 1, 0, 0, 1, 0, 1, 0, {0}},
		.ss = {0, UINT32_MAX, 20, 3, 1, 0, 0, 1, 0, 1, 0, {0}},
		.tr = {5, 103, 24, 11, 1, 0, 0, 0, 0, 0, 0, {0}},
		.ldt = {0, UINT32_MAX, 0, 2, 1, 0, 0, 0, 0, 1, 0, {0}},
		.gdt_base = 0x9000,
		.idt_base = 0xA000,
		.gdt_limit = 39,
		.idt_limit = 65535,
		.cr0 = 0x80010011,
		.cr2 = 2,
		.cr4 = 0x10,
		.efer = 0xD01,
	};
	CHECK_MEM(&f.special, &wanted, sizeof wanted);
	mote__facts_free(&f);
	read_fixed(fresh, &f);
	CHECK(!f.is_ready && !f.has_seen && !f.has_symbols);
	mote__facts_free(&f);
}

/* ---- every field ----------------------------------------------------------------------------- */

/* A document that is changed in one place after another. */
struct walk {
	json_t *root;
	unsigned places;
};

static int read_tree(json_t *root)
{
	static struct mote__facts facts;
	char *text = NULL;
	size_t len = 0;
	CHECK_EQ(mote__json_dump(json_incref(root), &text, &len, &err), MOTE_OK);
	int rc = read_text(text, len, &facts);
	mote__free(text);
	if (rc == MOTE_OK)
		mote__facts_free(&facts);
	return rc;
}

static void check_tree_refused(struct walk *walk, const char *path, const char *message)
{
	int rc = read_tree(walk->root);
	if (rc != MOTE_ESTORE || !strstr(err.message, path) || !strstr(err.message, message))
		check_failed(__FILE__, __LINE__, "%s (%s): %d, %s", path, message, rc, err.message);
}

static json_t *make_value(const char *text)
{
	char document[32];
	(void)snprintf(document, sizeof document, "{'v':%s}", text);
	char *whole = quoted(document);
	struct mote__json json;
	mote__json_open(&json, "test", whole, strlen(whole), &err);
	free(whole);
	json_t *value = json_incref(json_object_get(json.root, "v"));
	CHECK(value);
	mote__json_close(&json);
	return value;
}

/* Each place with a value of each other type, and a number below all bounds. */
static void try_types(struct walk *walk, const char *path, json_t *value,
		      bool (*set)(json_t *container, const char *name, size_t i, json_t *value),
		      json_t *container, const char *name, size_t i)
{
	static const char *const texts[] = {"null", "true", "7", "1.5", "'0x7'", "[]", "{}", "-1"};
	for (size_t t = 0; t < COUNT(texts); t++) {
		json_t *other = make_value(texts[t]);
		bool is_same = json_typeof(other) == json_typeof(value) ||
			       (json_is_boolean(other) && json_is_boolean(value));
		if (is_same && t != COUNT(texts) - 1) {
			json_decref(other);
			continue;
		}
		CHECK(set(container, name, i, other));
		check_tree_refused(walk, path, "expected");
		walk->places++;
	}
	json_t *many = json_array();
	for (size_t n = 0; n < 20000 && json_is_array(value); n++)
		CHECK(mote__json_append(many, json_integer(0)));
	if (json_is_array(value)) {
		CHECK(set(container, name, i, json_incref(many)));
		check_tree_refused(walk, path, "has 20000 values, at most ");
	}
	json_decref(many);
	CHECK(set(container, name, i, json_incref(value)));
}

static bool set_field(json_t *object, const char *name, size_t i, json_t *value)
{
	(void)i;
	return json_object_set_new(object, name, value) == 0;
}

static bool set_item(json_t *array, const char *name, size_t i, json_t *value)
{
	(void)name;
	return json_array_set_new(array, i, value) == 0;
}

static void walk_value(struct walk *walk, const char *path, json_t *value);

/* Only these may be missing. */
static bool is_optional(const char *path)
{
	return strcmp(path, "symbols") == 0 || strcmp(path, "processor") == 0;
}

static void walk_field(struct walk *walk, const char *path, json_t *object, const char *name)
{
	char inner[200];
	(void)snprintf(inner, sizeof inner, "%s%s%s", path, *path ? "." : "", name);
	json_t *value = json_incref(json_object_get(object, name));
	CHECK_EQ(json_object_del(object, name), 0);
	if (is_optional(inner))
		CHECK_EQ(read_tree(walk->root), MOTE_OK);
	else
		check_tree_refused(walk, inner, "is missing");
	CHECK(set_field(object, name, 0, json_incref(value)));
	try_types(walk, inner, value, set_field, object, name, 0);
	walk_value(walk, inner, value);
	json_decref(value);
}

static void walk_object(struct walk *walk, const char *path, json_t *object)
{
	CHECK(set_field(object, "unheard", 0, json_null()));
	check_tree_refused(walk, path, "has \"unheard\", which is not known");
	CHECK_EQ(json_object_set_new(walk->root, "version", json_integer(2)), 0);
	CHECK_EQ(read_tree(walk->root), MOTE_OK);
	CHECK_EQ(json_object_set_new(walk->root, "version", json_integer(1)), 0);
	CHECK_EQ(json_object_del(object, "unheard"), 0);
	const char *names[40];
	size_t count = 0;
	for (void *at = json_object_iter(object); at; at = json_object_iter_next(object, at)) {
		CHECK(count < COUNT(names));
		names[count] = strdup(json_object_iter_key(at));
		CHECK(names[count++]);
	}
	for (size_t i = 0; i < count; i++) {
		walk_field(walk, path, object, names[i]);
		free((char *)(uintptr_t)names[i]);
	}
}

static void walk_value(struct walk *walk, const char *path, json_t *value)
{
	if (json_is_object(value))
		walk_object(walk, path, value);
	for (size_t i = 0; i < json_array_size(value); i++) {
		char inner[200];
		(void)snprintf(inner, sizeof inner, "%s[%zu]", path, i);
		json_t *item = json_incref(json_array_get(value, i));
		try_types(walk, inner, item, set_item, value, NULL, i);
		walk_value(walk, inner, item);
		json_decref(item);
	}
}

static unsigned walk_text(const char *text)
{
	char *whole = quoted(text);
	struct mote__json json;
	mote__json_open(&json, "test", whole, strlen(whole), &err);
	CHECK_EQ(json.rc, MOTE_OK);
	struct walk walk = {.root = json.root};
	walk_value(&walk, "", json.root);
	CHECK_EQ(read_tree(json.root), MOTE_OK);
	mote__json_close(&json);
	free(whole);
	return walk.places;
}

TEST(store_config__every_field_must_be_there_and_of_its_type)
{
	unsigned places = walk_text(confined) + walk_text(stock) + walk_text(fresh);
	check_note("%u changes", places);
	CHECK(places > 1000);
}

TEST(store_config__numbers_and_words_have_their_ranges)
{
	static const struct {
		const char *text, *from, *to, *message;
	} cases[] = {
		{confined, "'family':'S'", "'family':'V'", "family is \"V\", expected \"S\""},
		{confined, "'bits':64", "'bits':48", "=has bits 48, expected 32 or 64"},
		{confined, "'bits':64", "'bits':65", "bits is 65, expected a number from 32 to 64"},
		{confined, "'kind':'confined'", "'kind':'free'",
		 "kind is \"free\", expected one of \"confined\", \"stock\""},
		{confined, "'state':'ready'", "'state':'old'",
		 "state is \"old\", expected one of \"new\", \"ready\""},
		{confined, "'state':'ready'", "'state':'new'",
		 "=has \"host\", but state is \"new\""},
		{fresh, "'metadata'", "'start':{},'metadata'",
		 "=has \"start\", but state is \"new\""},
		{confined, "'initDataAccess':'r'", "'initDataAccess':'w'",
		 "initDataAccess is \"w\", expected one of \"r\", \"rw\", \"rx\", \"rwx\""},
		{confined, "'heap':131072", "'heap':17179865089",
		 "sizes.heap is 17179865089, expected a number from 0 to 17179865088"},
		{confined, "'access':5", "'access':8",
		 "image.pages[0].access is 8, expected a number from 1 to 7"},
		{confined, "'access':3", "'access':0",
		 "image.pages[1].access is 0, expected a number from 1 to 7"},
		{confined, "'count':1,", "'count':0,",
		 "image.pages[1].count is 0, expected a number from 1 to 17179865088"},
		{stock, "'pages':[]", "'pages':[{}]", "image.pages has 1 values, at most 0"},
		{confined, "'level':2", "'level':5",
		 "image.level is 5, expected a number from 0 to 4"},
		{confined, "'0.15.0'", "'12345678901234567890123456789012'",
		 "image.versionNote has 32 bytes, at most 31"},
		{confined, "'00ff'", "'00f'",
		 "image.buildId is \"00f\", expected pairs of lower-case hexadecimal digits, at "
		 "most 64"},
		{confined, "'result':'void'", "'result':'int'",
		 "image.exports[1].result is \"int\", expected one of \"void\", \"i32\", \"u32\", "
		 "\"i64\", \"u64\", \"f32\", \"f64\", \"string\", \"bool\", \"bytes\""},
		{confined, "['i32','i32']", "['i32','void']",
		 "image.exports[0].parameters[1] is \"void\", expected one of \"i32\", \"u32\", "
		 "\"i64\", \"u64\", \"f32\", \"f64\", \"string\", \"bool\", \"bytes\""},
		{confined, "'name':'add'", "'name':''", "image.exports[0] has an empty name"},
		{confined, "'table':1176", "'table':268435457",
		 "symbols.table is 268435457, expected a number from 0 to 268435456"},
		{confined, "'bytes':20480", "'bytes':0",
		 "memory[0].bytes is 0, expected a number from 1 to 17179865088"},
		{fresh, "[{'address':'0x1000','bytes':4096}]", "[]", "memory is empty"},
		{confined, "'max':64", "'max':4097",
		 "writeSet.max is 4097, expected a number from 0 to 4096"},
		{confined, "'0x7d000'", "'0x7D000'",
		 "writeSet.pages[0] is \"0x7D000\", expected \"0x\" and 1 to 16 lower-case "
		 "hexadecimal digits without leading zeroes"},
		{confined, "'allowedMsrs':[]", "'allowedMsrs':['0x10']",
		 "allowedMsrs has 1 values, at most 0"},
		{stock, "['0xc0000102']", "['0x100000000']",
		 "allowedMsrs[0] is 0x100000000, at most 0xffffffff"},
		{stock, "'index':'0xc0000102'", "'index':'0x100000000'",
		 "start.msrs[0] has index 0x100000000, at most 0xffffffff"},
		{stock, "'selector':24", "'selector':65536",
		 "start.special.tr.selector is 65536, expected a number from 0 to 65535"},
		{stock, "'type':2", "'type':16",
		 "start.special.ldt.type is 16, expected a number from 0 to 15"},
		{stock, "'dpl':0", "'dpl':4",
		 "start.special.cs.dpl is 4, expected a number from 0 to 3"},
		{stock, "'unusable':0", "'unusable':2",
		 "start.special.cs.unusable is 2, expected a number from 0 to 1"},
		{stock, "'limit':103", "'limit':4294967296",
		 "start.special.tr.limit is 4294967296, expected a number from 0 to 4294967295"},
		{stock, "'gdtLimit':39", "'gdtLimit':65536",
		 "start.special.gdtLimit is 65536, expected a number from 0 to 65535"},
		{stock, "'cr4'", "'cr3':'0x0','cr4'",
		 "start.special has \"cr3\", which is not known"},
		{confined, "'aes'", "'AES'",
		 "processor.features[0] is \"AES\", expected lower-case letters, digits, dot, - "
		 "and _"},
		{confined, "'aes'", "''",
		 "processor.features[0] is \"\", expected lower-case letters, digits, dot, - and "
		 "_"},
		{confined, "'json':'2'", "'json':'2 x'",
		 "metadata[1] has a value \"json\" that is not JSON"},
		{confined, "'json':'2'", "'json':''",
		 "metadata[1] has a value \"json\" that is not JSON"},
		{confined, "'name':'b'", "'name':'org.example'",
		 "metadata[1] has the name \"org.example\" of metadata[0]"},
		{confined, "'name':'b'", "'name':''", "metadata[1] has an empty name"},
		{confined, "'generation':2", "'generation':2,'generation':2",
		 "line 1, column 91: duplicate object key near '\"generation\"'"},
	};
	for (size_t i = 0; i < COUNT(cases); i++)
		check_refused(cases[i].text, cases[i].from, cases[i].to, cases[i].message);
}

TEST(store_config__versions_decide_who_may_read)
{
	static struct mote__facts facts;
	static const char pair[] = "'leastReader':1,";
	check_refused(confined, "'version':1", "'version':0",
		      "version is 0, expected a number from 1 to 4294967295");
	check_refused(confined, pair, "'leastReader':0,",
		      "leastReader is 0, expected a number from 1 to 1");
	check_refused(confined, pair, "'leastReader':2,",
		      "leastReader is 2, expected a number from 1 to 1");
	/* Whatever else it has: a reader cannot judge that. */
	check_refused("{'leastReader':7,'version':9,'family':5}", "5", "6",
		      "=was written by a newer version of the format: needs a reader of revision "
		      "7, this one is 1");
	CHECK_EQ(read_edited(confined, "'version':1", "\"version\":9", 11, &facts), MOTE_OK);
	mote__facts_free(&facts);
	check_refused(confined, "'generation':2", "'generation':2,'later':{}",
		      "=has \"later\", which is not known");
}

TEST(store_config__texts_have_their_bounds)
{
	static struct mote__facts facts;
	static char text[0x10003];
	memset(text, 'n', sizeof text);
	text[0] = text[256] = '"';
	CHECK_EQ(read_edited(confined, "'add'", text, 257, &facts), MOTE_OK);
	CHECK_EQ(strlen(facts.exports.function[0].name), 255);
	mote__facts_free(&facts);
	CHECK_EQ(read_edited(confined, "'b'", text, 257, &facts), MOTE_OK);
	mote__facts_free(&facts);
	text[256] = 'n';
	text[257] = '"';
	CHECK_EQ(read_edited(confined, "'add'", text, 258, &facts), MOTE_ESTORE);
	CHECK_STR(err.message, "config: image.exports[0].name has 256 bytes, at most 255");
	CHECK_EQ(read_edited(confined, "'b'", text, 258, &facts), MOTE_ESTORE);
	CHECK_STR(err.message, "config: metadata[1].name has 256 bytes, at most 255");

	memset(text, '7', sizeof text);
	text[0] = text[0x10001] = '"';
	CHECK_EQ(read_edited(confined, "'2'", text, 0x10002, &facts), MOTE_OK);
	mote__facts_free(&facts);
	text[0x10001] = '7';
	text[0x10002] = '"';
	CHECK_EQ(read_edited(confined, "'2'", text, 0x10003, &facts), MOTE_ESTORE);
	CHECK_STR(err.message, "config: metadata[1].json has 65537 bytes, at most 65536");

	CHECK_EQ(read_edited(confined, "'add'", "\"a\xff\"", 4, &facts), MOTE_ESTORE);
	CHECK_HAS(err.message, "unable to decode byte 0xff");
	CHECK_EQ(read_edited(confined, "'add'", "\"a\\u0000\"", 9, &facts), MOTE_ESTORE);
	CHECK_EQ(read_edited(confined, "'add'", "\"a\0\"", 4, &facts), MOTE_ESTORE);
	CHECK_EQ(read_edited(confined, "'add'", "\"\\ud83d\\ude00\"", 14, &facts), MOTE_OK);
	CHECK_STR(facts.exports.function[0].name, "\xf0\x9f\x98\x80");
	mote__facts_free(&facts);
}

TEST(store_config__a_million_entries_are_refused_by_number)
{
	static const char *const places[][2] = {
		{"'exports':[", "image.exports has 1000002 values, at most 16384"},
		{"'pages':['", "writeSet.pages has 1000002 values, at most 4096"},
		{"'features':[", "processor.features has 1000002 values, at most 1024"},
		{"'metadata':[", "metadata has 1000002 values, at most 16"},
		{"'parameters':[", "host.functions[0].parameters has 1000001 values, at most 32"},
	};
	static struct mote__facts facts;
	size_t len = 2000000;
	char *many = malloc(len + 100);
	CHECK(many);
	for (size_t i = 0; i < COUNT(places); i++) {
		char *start = quoted(places[i][0]);
		size_t used = strlen(start), is_text = start[used - 1] == '"';
		memcpy(many, start, used - is_text);
		for (size_t n = 0; n < len; n += 2)
			memcpy(many + used - is_text + n, "0,", 2);
		many[used - is_text + len] = '"';
		CHECK_EQ(read_edited(confined, places[i][0], many, used + len, &facts),
			 MOTE_ESTORE);
		char message[128];
		(void)snprintf(message, sizeof message, "config: %s", places[i][1]);
		CHECK_STR(err.message, message);
		free(start);
	}
	free(many);
}

TEST(store_config__features_without_a_name_here_are_gathered)
{
	static struct mote__facts facts;
	static const char few[] = "\"aes\",\"teleport-2\",\"x_y\"";
	CHECK_EQ(read_edited(confined, "'aes'", few, sizeof few - 1, &facts), MOTE_OK);
	CHECK_STR(facts.seen_unknown, "teleport-2, x_y");
	mote__facts_free(&facts);
	char many[2000] = "\"aes\"";
	for (int i = 0; i < 100; i++)
		(void)snprintf(many + strlen(many), 20, ",\"feature-%04d\"", i);
	CHECK_EQ(read_edited(confined, "'aes'", many, strlen(many), &facts), MOTE_OK);
	CHECK_STR(facts.seen_unknown,
		  "feature-0000, feature-0001, feature-0002, feature-0003, feature-0004, "
		  "feature-0005, feature-0006, feature-0007, ...");
	mote__facts_free(&facts);
	static const char longest[] = "\"aes\",\"123456789012345678901234567890123\"";
	CHECK_EQ(read_edited(confined, "'aes'", longest, sizeof longest - 1, &facts), MOTE_ESTORE);
	CHECK_STR(err.message, "config: processor.features[1] has 33 bytes, at most 32");
}

TEST(store_config__any_cut_and_any_changed_byte_is_read_or_refused)
{
	static struct mote__facts facts;
	const char *const texts[] = {confined, stock, fresh};
	seed = 0x62797465;
	check_note("seed 0x%" PRIx64, seed);
	for (size_t t = 0; t < COUNT(texts); t++) {
		char *whole = quoted(texts[t]);
		size_t len = strlen(whole);
		for (size_t cut = 0; cut < len; cut += 1 + below(8))
			CHECK_EQ(read_text(whole, cut, &facts), MOTE_ESTORE);
		for (int round = 0; round < 3000; round++) {
			size_t at = below(len);
			char before = whole[at];
			whole[at] = (char)below(256);
			if (read_text(whole, len, &facts) == MOTE_OK)
				mote__facts_free(&facts);
			else
				CHECK_EQ(err.code, MOTE_ESTORE);
			whole[at] = before;
		}
		free(whole);
	}
}

/* ---- writing --------------------------------------------------------------------------------- */

static void check_too_big(struct mote__facts *facts, const char *message)
{
	char *text = NULL;
	size_t len = 0;
	CHECK_EQ(mote__config_write(facts, &text, &len, &err), MOTE_ETOOBIG);
	CHECK_STR(err.message, message);
	CHECK(!text);
}

TEST(store_config__what_nobody_could_read_is_not_written)
{
	static struct mote__facts f;
	read_fixed(fresh, &f);
	f.generation = UINT64_MAX;
	check_too_big(&f, "generation is 18446744073709551615; a store has 0 to "
			  "9223372036854775807 for it");
	f.generation = 0;
	f.layer_count = 0;
	check_too_big(&f, "memory is 0; a store has 1 to 32 for it");
	f.layer_count = 33;
	check_too_big(&f, "memory is 33; a store has 1 to 32 for it");
	f.layer_count = 1;
	f.exports.count = MOTE__FUNCTIONS_MAX + 1;
	check_too_big(&f, "exports is 16385; a store has 0 to 16384 for it");
	f.exports.count = 0;
	mote__facts_free(&f);
}

TEST(store_config__a_text_that_is_too_long_is_not_written)
{
	static struct mote__facts f;
	char name[256];
	memset(name, 'n', 255);
	name[255] = 0;
	read_fixed(fresh, &f);
	mote__functions_free(&f.exports);
	f.exports.function = mote__alloc(MOTE__FUNCTIONS_MAX, sizeof *f.exports.function);
	CHECK(f.exports.function);
	f.exports.count = MOTE__FUNCTIONS_MAX;
	for (uint32_t i = 0; i < f.exports.count; i++) {
		struct mote_function *function = &f.exports.function[i];
		function->name = name;
		function->parameter_count = MOTE_MAX_PARAMETERS;
		memset(function->parameters, MOTE_STRING, sizeof function->parameters);
	}
	char *text = NULL;
	size_t len = 0;
	static struct mote__facts got;
	CHECK_EQ(mote__config_write(&f, &text, &len, &err), MOTE_OK);
	CHECK_EQ(read_text(text, len, &got), MOTE_OK);
	CHECK_EQ(got.exports.count, MOTE__FUNCTIONS_MAX);
	mote__facts_free(&got);
	mote__free(text);
	const struct mote__functions none = f.imports;
	f.imports = f.exports;
	text = NULL;
	CHECK_EQ(mote__config_write(&f, &text, &len, &err), MOTE_ETOOBIG);
	CHECK_HAS(err.message, "a store has 16777216 for it");
	CHECK(!text);
	f.imports = none;
	mote__facts_free(&f);
}

/* ---- out of memory --------------------------------------------------------------------------- */

static unsigned long left; /* allocations of jansson until one fails; 0: none does */
static bool is_reading;

/* Reading, a text of jansson's that grows by powers of two must not fail to: it goes on behind its
 * end (2.14). */
static void *allocate(size_t bytes)
{
	bool may_fail = !is_reading || (bytes & (bytes - 1)) != 0;
	return may_fail && left && --left == 0 ? NULL : calloc(1, bytes);
}

TEST(store_config__runs_out_of_memory_anywhere)
{
	static struct mote__facts facts;
	read_fixed(confined, &facts);
	json_set_alloc_funcs(allocate, free);
	unsigned long n = 1;
	for (int rc = MOTE_ENOMEM; rc < 0; n++) {
		char *text = NULL;
		size_t len = 0;
		left = n;
		rc = mote__config_write(&facts, &text, &len, &err);
		CHECK(rc == MOTE_ENOMEM || (rc == MOTE_OK && left));
		mote__free(text);
	}
	mote__facts_free(&facts);
	char *whole = quoted(confined);
	is_reading = true;
	n = 1;
	for (int rc = MOTE_ENOMEM; rc < 0; n++) {
		left = n;
		rc = mote__config_read(whole, strlen(whole), "config", &facts, &err);
		CHECK(rc < 0 || left);
	}
	left = 0;
	mote__facts_free(&facts);
	check_note("%lu allocations", n);
	free(whole);
}
