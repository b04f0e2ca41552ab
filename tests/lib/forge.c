/* SPDX-License-Identifier: MIT */
#include "forge.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "check.h"

/* ---- finding --------------------------------------------------------------------------------- */

static const char *blanks(const char *at)
{
	return at + strspn(at, " \t\r\n");
}

static const char *skip_text(const char *at)
{
	for (at++; *at && *at != '"'; at++)
		if (*at == '\\' && at[1])
			at++;
	return *at ? at + 1 : at;
}

/* Behind the value at at. */
static const char *skip(const char *at)
{
	unsigned depth = 0;
	do {
		if (*at == '"') {
			at = skip_text(at);
		} else if (*at == '{' || *at == '[') {
			depth++;
			at++;
		} else if (*at == '}' || *at == ']') {
			depth--;
			at++;
		} else if (depth) {
			at++;
		} else {
			at += strcspn(at, ",]} \t\r\n");
		}
	} while (depth && *at);
	return at;
}

/* The member of that name: *begin where its name begins. NULL: there is none. */
static const char *member(const char *object, const char *name, size_t len, const char **begin)
{
	if (*object != '{')
		return NULL;
	for (const char *at = blanks(object + 1); *at == '"';) {
		const char *behind = skip_text(at), *value = blanks(blanks(behind) + 1);
		*begin = at;
		if ((size_t)(behind - at) == len + 2 && strncmp(at + 1, name, len) == 0)
			return value;
		at = blanks(skip(value));
		at = *at == ',' ? blanks(at + 1) : at;
	}
	return NULL;
}

static const char *item(const char *array, unsigned long number, const char **begin)
{
	if (*array != '[')
		return NULL;
	for (const char *at = blanks(array + 1); *at && *at != ']'; number--) {
		*begin = at;
		if (number == 0)
			return at;
		at = blanks(skip(at));
		at = *at == ',' ? blanks(at + 1) : at;
	}
	return NULL;
}

/* *begin: of the value with its name. */
static const char *find(const char *text, const char *path, const char **begin)
{
	const char *at = blanks(text), *rest = path;
	*begin = at;
	while (*rest && at) {
		if (*rest == '[') {
			char *end;
			at = item(at, strtoul(rest + 1, &end, 10), begin);
			rest = end + 1;
		} else {
			rest += *rest == '.';
			size_t len = strcspn(rest, ".[");
			at = member(at, rest, len, begin);
			rest += len;
		}
	}
	if (!at)
		check_failed(__FILE__, __LINE__, "no %s in %s", path, text);
	return at;
}

/* ---- editing --------------------------------------------------------------------------------- */

/* Put json in place of [begin, end) of *text. */
static void replace(char **text, const char *begin, const char *end, const char *json)
{
	size_t head = (size_t)(begin - *text), middle = strlen(json), tail = strlen(end);
	char *edited = malloc(head + middle + tail + 1);
	CHECK(edited != NULL);
	memcpy(edited, *text, head);
	memcpy(edited + head, json, middle);
	memcpy(edited + head + middle, end, tail + 1);
	free(*text);
	*text = edited;
}

void forge_set(char **text, const char *path, const char *json)
{
	const char *begin, *value = find(*text, path, &begin);
	replace(text, value, skip(value), json);
}

void forge_add(char **text, const char *path, const char *json)
{
	const char *begin, *value = find(*text, path, &begin);
	CHECK(*value == '{' || *value == '[');
	replace(text, value + 1, value + 1, json);
	value = find(*text, path, &begin) + 1 + strlen(json);
	if (*blanks(value) != '}' && *blanks(value) != ']')
		replace(text, value, value, ",");
}

void forge_remove(char **text, const char *path)
{
	const char *begin, *value = find(*text, path, &begin);
	const char *end = blanks(skip(value));
	if (*end == ',') {
		end = blanks(end + 1);
	} else {
		while (begin > *text && isspace((unsigned char)begin[-1]))
			begin--;
		if (begin > *text && begin[-1] == ',')
			begin--;
	}
	replace(text, begin, end, "");
}

char *forge_get(const char *text, const char *path)
{
	const char *begin, *value = find(text, path, &begin);
	char *copy = strndup(value, (size_t)(skip(value) - value));
	CHECK(copy != NULL);
	return copy;
}

/* ---- blobs ----------------------------------------------------------------------------------- */

void forge_blob_path(const struct forge *f, const char *text, const char *descriptor,
		     char path[TREE_PATH_BYTES])
{
	char name[128];
	(void)snprintf(name, sizeof name, "%s.digest", descriptor);
	char *digest = forge_get(text, name);
	CHECK(strncmp(digest, "\"sha256:", 8) == 0 && strlen(digest) == 73);
	(void)snprintf(name, sizeof name, "blobs/sha256/%.64s", digest + 8);
	tree_join(path, f->directory, name);
	free(digest);
}

/* Write a blob, and digest and size of it to the descriptor in *text. */
static void put_blob(const struct forge *f, char **text, const char *descriptor, const void *bytes,
		     size_t len)
{
	char path[128], value[96], file[TREE_PATH_BYTES];
	uint8_t digest[MOTE_DIGEST_BYTES];
	struct mote__digest state;
	mote__digest_init(&state);
	mote__digest_update(&state, bytes, len);
	mote__digest_final(&state, digest);
	size_t at = (size_t)snprintf(value, sizeof value, "\"sha256:");
	for (size_t i = 0; i < sizeof digest; i++)
		at += (size_t)snprintf(value + at, sizeof value - at, "%02x", digest[i]);
	(void)snprintf(value + at, sizeof value - at, "\"");
	(void)snprintf(path, sizeof path, "%s.digest", descriptor);
	forge_set(text, path, value);
	(void)snprintf(path, sizeof path, "%s.size", descriptor);
	(void)snprintf(value, sizeof value, "%zu", len);
	forge_set(text, path, value);
	forge_blob_path(f, *text, descriptor, file);
	tree_write(file, bytes, len);
}

unsigned forge_layer(const struct forge *f, const char *kind)
{
	char wanted[128], path[64];
	(void)snprintf(wanted, sizeof wanted, "\"application/vnd.mote.snapshot.%s.v1\"", kind);
	for (unsigned i = 0;; i++) {
		(void)snprintf(path, sizeof path, "layers[%u].mediaType", i);
		char *type = forge_get(f->manifest, path);
		bool is_it = strcmp(type, wanted) == 0;
		free(type);
		if (is_it)
			return i;
	}
}

uint8_t *forge_layer_read(const struct forge *f, unsigned layer, size_t *len)
{
	char descriptor[32], path[TREE_PATH_BYTES];
	(void)snprintf(descriptor, sizeof descriptor, "layers[%u]", layer);
	forge_blob_path(f, f->manifest, descriptor, path);
	return (uint8_t *)tree_read(path, len);
}

void forge_layer_write(struct forge *f, unsigned layer, const void *bytes, size_t len)
{
	char descriptor[32];
	(void)snprintf(descriptor, sizeof descriptor, "layers[%u]", layer);
	put_blob(f, &f->manifest, descriptor, bytes, len);
}

/* ---- all ------------------------------------------------------------------------------------- */

void forge_open(struct forge *f, const char *directory)
{
	char path[TREE_PATH_BYTES];
	size_t len;
	(void)snprintf(f->directory, sizeof f->directory, "%s", directory);
	tree_join(path, directory, "index.json");
	f->index = tree_read(path, &len);
	forge_blob_path(f, f->index, "manifests[0]", path);
	f->manifest = tree_read(path, &len);
	forge_blob_path(f, f->manifest, "config", path);
	f->config = tree_read(path, &len);
	f->manifest_before = strdup(f->manifest);
	f->config_before = strdup(f->config);
	CHECK(f->manifest_before && f->config_before);
}

void forge_close(struct forge *f)
{
	char path[TREE_PATH_BYTES];
	if (strcmp(f->config, f->config_before) != 0)
		put_blob(f, &f->manifest, "config", f->config, strlen(f->config));
	if (strcmp(f->manifest, f->manifest_before) != 0)
		put_blob(f, &f->index, "manifests[0]", f->manifest, strlen(f->manifest));
	tree_join(path, f->directory, "index.json");
	tree_write(path, f->index, strlen(f->index));
	char *const texts[] = {f->index, f->manifest, f->config, f->manifest_before,
			       f->config_before};
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		free(texts[i]);
}
