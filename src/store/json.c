/* SPDX-License-Identifier: MIT */
/*
 * jansson takes texts apart; what it makes of them is bounded here, before it begins, since some
 * values take a hundred times as much memory as text: containers, values and depth are counted in
 * one pass. Paths are made for containers as they are entered, and for a scalar only when it is
 * wrong.
 */
#include "store/json.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/sys.h"
#include "core/json.h"

#define CONTAINERS_MAX 0x40000u  /* arrays and objects of a document */
#define VALUES_MAX     0x200000u /* all values of a document, or more */
#define VALUE_BYTES    256u      /* that jansson needs for one, about, beside its text */
#define SHOWN_BYTES    64        /* of a text in a message */

/* MemorySanitizer does not see what jansson writes: it gets memory that is initialised, and is not
 * checked for what it passes to the C library meanwhile. */
#if defined(__has_feature)
#if __has_feature(memory_sanitizer)
#define IS_SANITIZED 1
#endif
#endif

#ifdef IS_SANITIZED
#include <sanitizer/msan_interface.h>
#include <stdlib.h>

static void *allocate(size_t bytes)
{
	return calloc(1, bytes);
}

__attribute__((constructor)) static void set_allocator(void)
{
	json_set_alloc_funcs(allocate, free);
}

static void enter_jansson(void)
{
	__msan_scoped_disable_interceptor_checks();
}

static void leave_jansson(void)
{
	__msan_scoped_enable_interceptor_checks();
}

static void is_initialised(const void *data, size_t len)
{
	__msan_unpoison(data, len);
}
#else
static void enter_jansson(void)
{
}

static void leave_jansson(void)
{
}

static void is_initialised(const void *data, size_t len)
{
	(void)data;
	(void)len;
}
#endif

/* ---- documents ------------------------------------------------------------------------------- */

static int check_depth(const char *what, size_t depth, struct mote_error *err)
{
	if (depth <= MOTE__JSON_MAX_DEPTH)
		return MOTE_OK;
	return mote__fail(err, MOTE_ESTORE, "%s: more than %d arrays and objects in each other",
			  what, MOTE__JSON_MAX_DEPTH);
}

/* What a text consists of if it is JSON; of others, jansson says what is wrong before it has made
 * more of it than that. */
struct bounds {
	size_t containers, commas;
};

static int find_bounds(const char *what, const char *text, size_t len, struct bounds *bounds,
		       struct mote_error *err)
{
	size_t depth = 0;
	bool is_in_string = false;
	for (size_t i = 0; i < len; i++) {
		char c = text[i];
		if (is_in_string) {
			if (c == '\\')
				i++;
			is_in_string = c != '"';
		} else if (c == '"') {
			is_in_string = true;
		} else if (c == ',') {
			bounds->commas++;
		} else if (c == '[' || c == '{') {
			bounds->containers++;
			if (check_depth(what, ++depth, err) < 0)
				return MOTE_ESTORE;
		} else if ((c == ']' || c == '}') && depth) {
			depth--;
		}
	}
	return MOTE_OK;
}

/* Ask for as much memory as jansson may need, and give it back: up to 2.14 at least, its parser
 * goes on behind a buffer that could not grow, so where memory is limited the limit is met here. */
static int check_memory(const struct bounds *bounds, size_t len, struct mote_error *err)
{
	size_t values = 2 * bounds->containers + bounds->commas + 1;
	void *memory = mote__alloc(VALUE_BYTES * values + 4 * len, 1);
	if (!memory)
		return mote__fail(err, MOTE_ENOMEM, "out of memory");
	mote__free(memory);
	return MOTE_OK;
}

static int check_bounds(const char *what, const char *text, size_t len, struct mote_error *err)
{
	struct bounds bounds = {0};
	int rc = find_bounds(what, text, len, &bounds, err);
	if (rc < 0)
		return rc;
	if (bounds.containers > CONTAINERS_MAX || bounds.containers + bounds.commas > VALUES_MAX)
		return mote__fail(err, MOTE_ESTORE,
				  "%s: %zu arrays and objects and %zu commas; at most %u, and %u "
				  "together",
				  what, bounds.containers, bounds.commas, CONTAINERS_MAX,
				  VALUES_MAX);
	return check_memory(&bounds, len, err);
}

/* jansson says nothing where it only ran out of memory. */
static int fail_parse(const char *what, const json_error_t *error, struct mote_error *err)
{
	enum json_error_code code = json_error_code(error);
	if (!error->text[0] || code == json_error_out_of_memory)
		return mote__fail(err, MOTE_ENOMEM, "out of memory");
	return mote__fail(err, MOTE_ESTORE, "%s: line %d, column %d: %s", what, error->line,
			  error->column, error->text);
}

static json_t *parse(const char *what, const char *text, size_t len, struct mote_error *err,
		     int *rc)
{
	json_error_t error = {0};
	enter_jansson();
	json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
	leave_jansson();
	is_initialised(&error, sizeof error);
	*rc = root ? MOTE_OK : fail_parse(what, &error, err);
	return root;
}

/* jansson's parser drops a character when it gets no memory for it, and says nothing: a name or a
 * number would become another. It does not do so twice in the same way. */
static int check_twice(const struct mote__json *json, const char *text, size_t len)
{
	int rc;
	json_t *again = parse(json->what, text, len, json->err, &rc);
	if (!again)
		return rc;
	enter_jansson();
	bool is_same = json_equal(json->root, again);
	json_decref(again);
	leave_jansson();
	return is_same ? MOTE_OK : mote__fail(json->err, MOTE_ENOMEM, "out of memory");
}

void mote__json_open(struct mote__json *json, const char *what, const char *text, size_t len,
		     struct mote_error *err)
{
	*json = (struct mote__json){.what = what, .err = err};
	json->rc = check_bounds(what, text, len, err);
	if (json->rc < 0)
		return;
	json->root = parse(what, text, len, err, &json->rc);
	if (json->root)
		json->rc = check_twice(json, text, len);
}

void mote__json_close(struct mote__json *json)
{
	json_decref(json->root);
	json->root = NULL;
}

/* ---- messages -------------------------------------------------------------------------------- */

/* Paths consist of names that the callers gave, which are ASCII. */
static void append_path(struct mote__json_at *at, const char *name)
{
	size_t used = strlen(at->path), len = strlen(name), dot = used > 0;
	if (used + dot + len >= sizeof at->path)
		return;
	if (dot)
		at->path[used] = '.';
	memcpy(at->path + used + dot, name, len + 1);
}

static struct mote__json_at field_at(const struct mote__json_at *object, const char *name,
				     const json_t *value)
{
	struct mote__json_at at = *object;
	at.value = value;
	if (name)
		append_path(&at, name);
	return at;
}

void mote__json_refuse(struct mote__json *json, const struct mote__json_at *at, const char *format,
		       ...)
{
	if (json->rc < 0)
		return;
	char text[MOTE_ERROR_MESSAGE_BYTES];
	va_list arguments;
	va_start(arguments, format);
	(void)vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	json->rc = mote__fail(json->err, MOTE_ESTORE, "%s%s%s %s", json->what,
			      at->path[0] ? ": " : "", at->path, text);
}

/* A value as it is shown in a message. */
static void describe(const json_t *value, char text[SHOWN_BYTES + 16])
{
	static const char *const kinds[] = {
		[JSON_OBJECT] = "an object", [JSON_ARRAY] = "an array", [JSON_TRUE] = "true",
		[JSON_FALSE] = "false",      [JSON_NULL] = "null",      [JSON_REAL] = "a fraction"};
	size_t bytes = SHOWN_BYTES + 16;
	if (json_is_string(value))
		(void)snprintf(text, bytes, "\"%.*s\"%s", SHOWN_BYTES, json_string_value(value),
			       json_string_length(value) > SHOWN_BYTES ? "..." : "");
	else if (json_is_integer(value))
		(void)snprintf(text, bytes, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	else
		(void)snprintf(text, bytes, "%s", kinds[json_typeof(value)]);
}

/* The field has a value that is not as it should be. */
static void refuse_value(struct mote__json *json, const struct mote__json_at *object,
			 const char *name, const json_t *value, const char *expected)
{
	char shown[SHOWN_BYTES + 16];
	describe(value, shown);
	struct mote__json_at at = field_at(object, name, value);
	mote__json_refuse(json, &at, "is %s, expected %s", shown, expected);
}

/* ---- finding --------------------------------------------------------------------------------- */

static const json_t *member(const json_t *object, const char *name)
{
	return json_object_get(object, name);
}

/* The field's value, or object itself without a name; NULL: there is none, which was refused. */
static const json_t *find(struct mote__json *json, const struct mote__json_at *object,
			  const char *name)
{
	if (json->rc < 0 || !object->value)
		return NULL;
	if (!name)
		return object->value;
	if (!json_is_object(object->value)) {
		refuse_value(json, object, NULL, object->value, "an object");
		return NULL;
	}
	const json_t *value = member(object->value, name);
	if (!value) {
		struct mote__json_at at = field_at(object, name, NULL);
		mote__json_refuse(json, &at, "is missing");
	}
	return value;
}

/* The same, which must be a string. */
static const char *find_text(struct mote__json *json, const struct mote__json_at *object,
			     const char *name, const char *expected)
{
	const json_t *value = find(json, object, name);
	if (!value)
		return NULL;
	if (!json_is_string(value)) {
		refuse_value(json, object, name, value, expected);
		return NULL;
	}
	return json_string_value(value);
}

struct mote__json_at mote__json_root(struct mote__json *json)
{
	const struct mote__json_at root = {.value = json->rc < 0 ? NULL : json->root};
	return mote__json_object(json, &root, NULL);
}

bool mote__json_has(struct mote__json *json, const struct mote__json_at *object, const char *name)
{
	return json->rc == MOTE_OK && object->value && member(object->value, name);
}

struct mote__json_at mote__json_object(struct mote__json *json, const struct mote__json_at *object,
				       const char *name)
{
	const json_t *value = find(json, object, name);
	if (value && !json_is_object(value)) {
		refuse_value(json, object, name, value, "an object");
		value = NULL;
	}
	return field_at(object, name, value);
}

struct mote__json_at mote__json_array(struct mote__json *json, const struct mote__json_at *object,
				      const char *name, size_t max, size_t *count)
{
	const json_t *value = find(json, object, name);
	*count = 0;
	if (value && !json_is_array(value)) {
		refuse_value(json, object, name, value, "an array");
		value = NULL;
	}
	struct mote__json_at at = field_at(object, name, value);
	if (json_array_size(value) > max)
		mote__json_refuse(json, &at, "has %zu values, at most %zu", json_array_size(value),
				  max);
	else
		*count = json_array_size(value);
	return at;
}

struct mote__json_at mote__json_item(struct mote__json *json, const struct mote__json_at *array,
				     size_t i)
{
	struct mote__json_at at = *array;
	at.value = json->rc == MOTE_OK ? json_array_get(array->value, i) : NULL;
	size_t used = strlen(at.path);
	(void)snprintf(at.path + used, sizeof at.path - used, "[%zu]", i);
	return at;
}

/* ---- values ---------------------------------------------------------------------------------- */

uint64_t mote__json_number(struct mote__json *json, const struct mote__json_at *object,
			   const char *name, uint64_t min, uint64_t max)
{
	const json_t *value = find(json, object, name);
	if (!value)
		return min;
	json_int_t number = json_integer_value(value);
	if (json_is_integer(value) && number >= 0 && (uint64_t)number >= min &&
	    (uint64_t)number <= max)
		return (uint64_t)number;
	char expected[80];
	(void)snprintf(expected, sizeof expected, "a number from %" PRIu64 " to %" PRIu64, min,
		       max);
	refuse_value(json, object, name, value, expected);
	return min;
}

bool mote__json_flag(struct mote__json *json, const struct mote__json_at *object, const char *name)
{
	const json_t *value = find(json, object, name);
	if (value && !json_is_boolean(value))
		refuse_value(json, object, name, value, "true or false");
	return json_is_true(value);
}

const char *mote__json_text(struct mote__json *json, const struct mote__json_at *object,
			    const char *name, size_t max)
{
	const char *text = find_text(json, object, name, "a string");
	if (!text)
		return "";
	size_t len = strlen(text);
	if (len <= max)
		return text;
	struct mote__json_at at = field_at(object, name, NULL);
	mote__json_refuse(json, &at, "has %zu bytes, at most %zu", len, max);
	return "";
}

/* The value of a lower-case hexadecimal digit, or 16. */
static uint8_t digit(char c)
{
	if (c >= '0' && c <= '9')
		return (uint8_t)(c - '0');
	return c >= 'a' && c <= 'f' ? (uint8_t)(c - 'a' + 10) : 16;
}

static bool parse_address(const char *text, uint64_t *address)
{
	size_t len = strlen(text);
	if (len < 3 || len > 18 || text[0] != '0' || text[1] != 'x' || (text[2] == '0' && len > 3))
		return false;
	*address = 0;
	for (const char *s = text + 2; *s; s++) {
		if (digit(*s) > 15)
			return false;
		*address = *address << 4 | digit(*s);
	}
	return true;
}

uint64_t mote__json_address(struct mote__json *json, const struct mote__json_at *object,
			    const char *name)
{
	static const char expected[] = "\"0x\" and 1 to 16 lower-case hexadecimal digits without "
				       "leading zeroes";
	uint64_t address = 0;
	const char *text = find_text(json, object, name, expected);
	if (text && !parse_address(text, &address)) {
		refuse_value(json, object, name, find(json, object, name), expected);
		return 0;
	}
	return address;
}

/* Up to max bytes; false: text is something else. */
static bool parse_bytes(const char *text, uint8_t *bytes, size_t max, size_t *count)
{
	size_t len = strlen(text);
	if (len % 2 || len / 2 > max)
		return false;
	for (size_t i = 0; i < len; i += 2) {
		if (digit(text[i]) > 15 || digit(text[i + 1]) > 15)
			return false;
		bytes[i / 2] = (uint8_t)(digit(text[i]) << 4 | digit(text[i + 1]));
	}
	*count = len / 2;
	return true;
}

size_t mote__json_bytes(struct mote__json *json, const struct mote__json_at *object,
			const char *name, uint8_t *bytes, size_t max)
{
	char expected[80];
	(void)snprintf(expected, sizeof expected,
		       "pairs of lower-case hexadecimal digits, at most %zu", max);
	size_t count = 0;
	const char *text = find_text(json, object, name, expected);
	if (text && !parse_bytes(text, bytes, max, &count))
		refuse_value(json, object, name, find(json, object, name), expected);
	return count;
}

static void refuse_choice(struct mote__json *json, const struct mote__json_at *object,
			  const char *name, const char *const *words, size_t count)
{
	char expected[200] = "one of";
	if (count == 1)
		expected[0] = 0;
	for (size_t i = 0, used; i < count; i++) {
		used = strlen(expected);
		(void)snprintf(expected + used, sizeof expected - used, "%s\"%s\"",
			       i || count > 1 ? i ? ", " : " " : "", words[i]);
	}
	refuse_value(json, object, name, find(json, object, name), expected);
}

size_t mote__json_choice(struct mote__json *json, const struct mote__json_at *object,
			 const char *name, const char *const *words, size_t count)
{
	const json_t *value = find(json, object, name);
	if (!value)
		return 0;
	for (size_t i = 0; json_is_string(value) && i < count; i++)
		if (strcmp(json_string_value(value), words[i]) == 0)
			return i;
	refuse_choice(json, object, name, words, count);
	return 0;
}

void mote__json_digest(struct mote__json *json, const struct mote__json_at *object,
		       const char *name, uint8_t digest[MOTE_DIGEST_BYTES])
{
	static const char prefix[] = "sha256:";
	static const char expected[] = "\"sha256:\" and 64 lower-case hexadecimal digits";
	memset(digest, 0, MOTE_DIGEST_BYTES);
	const char *text = find_text(json, object, name, expected);
	if (!text)
		return;
	size_t count = 0, skipped = sizeof prefix - 1, algorithm = strcspn(text, ":");
	if (strncmp(text, prefix, skipped) == 0 &&
	    parse_bytes(text + skipped, digest, MOTE_DIGEST_BYTES, &count) &&
	    count == MOTE_DIGEST_BYTES)
		return;
	memset(digest, 0, MOTE_DIGEST_BYTES);
	struct mote__json_at at = field_at(object, name, NULL);
	if (text[algorithm] && algorithm && strncmp(text, prefix, skipped) != 0)
		mote__json_refuse(
			json, &at, "is of the algorithm \"%.*s\", which is not known; expected %s",
			(int)(algorithm < SHOWN_BYTES ? algorithm : SHOWN_BYTES), text, expected);
	else
		refuse_value(json, object, name, find(json, object, name), expected);
}

void mote__json_only(struct mote__json *json, const struct mote__json_at *object,
		     const char *const *names, size_t count)
{
	if (json->rc < 0 || !object->value)
		return;
	/* Its iterators take what they go through as if they could change it. */
	json_t *value = (json_t *)(uintptr_t)object->value;
	for (void *at = json_object_iter(value); at; at = json_object_iter_next(value, at)) {
		const char *name = json_object_iter_key(at);
		size_t i = 0;
		while (i < count && strcmp(names[i], name) != 0)
			i++;
		if (i == count) {
			mote__json_refuse(json, object, "has \"%.*s\", which is not known",
					  SHOWN_BYTES, name);
			return;
		}
	}
}

/* ---- writing --------------------------------------------------------------------------------- */

struct text {
	char *bytes;
	size_t len, capacity;
	bool has_failed;
};

/* Room for a NUL is always there. */
static int append_text(const char *data, size_t len, void *cookie)
{
	struct text *text = cookie;
	if (len >= text->capacity - text->len) {
		size_t capacity = 2 * (text->len + len) + 512;
		char *bytes = mote__realloc(text->bytes, capacity, 1);
		/* jansson does not look at each result, so the failure stays. */
		text->has_failed = text->has_failed || !bytes;
		if (!bytes)
			return -1;
		text->bytes = bytes;
		text->capacity = capacity;
	}
	is_initialised(data, len);
	memcpy(text->bytes + text->len, data, len);
	text->len += len;
	return 0;
}

int mote__json_dump(json_t *value, char **text, size_t *len, struct mote_error *err)
{
	struct text out = {0};
	int rc = -1;
	if (value) {
		enter_jansson();
		rc = json_dump_callback(value, append_text, &out, JSON_COMPACT | JSON_SORT_KEYS);
		leave_jansson();
	}
	json_decref(value);
	if (rc < 0 || out.has_failed || !out.bytes) {
		mote__free(out.bytes);
		return mote__fail(err, MOTE_ENOMEM, "out of memory");
	}
	out.bytes[out.len] = 0;
	*text = out.bytes;
	*len = out.len;
	return MOTE_OK;
}

json_t *mote__json_make_address(uint64_t address)
{
	char text[24];
	(void)snprintf(text, sizeof text, "0x%" PRIx64, address);
	return json_string(text);
}

bool mote__json_put(json_t *object, const char *name, json_t *value)
{
	return json_object_set_new(object, name, value) == 0;
}

bool mote__json_append(json_t *array, json_t *value)
{
	return json_array_append_new(array, value) == 0;
}
