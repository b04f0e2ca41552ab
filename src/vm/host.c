/* SPDX-License-Identifier: MIT */
/*
 * Hosts: the table of functions that a guest may call, and the sinks for what it prints and logs.
 * Changed by one thread until the first sandbox freezes it, read by any number afterwards.
 */
#include "vm/objects.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/sys.h"
#include "core/utf8.h"

/* As the ABI has it: green on a terminal, no newline added. */
static int print_to_stdout(void *cookie, void *user_data, const char *text, size_t len)
{
	(void)cookie;
	(void)user_data;
	bool is_terminal = isatty(STDOUT_FILENO);
	if (is_terminal)
		(void)fputs("\033[32m", stdout);
	size_t written = fwrite(text, 1, len, stdout);
	if (is_terminal)
		(void)fputs("\033[0m", stdout);
	return written == len ? 0 : -1;
}

/* HostPrint(string) -> i32, of every host. */
static int host_print(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	const mote_host *host = cookie;
	const struct mote_string *text = &arguments[0].string;
	if (host->print(host->print_cookie, mote_reply_user_data(reply), text->data, text->len))
		return mote_reply_error(reply, "the host's print sink failed");
	return mote_reply_i32(reply, (int32_t)text->len);
}

int mote_host_create(mote_host **host, struct mote_error *err)
{
	if (!host)
		return mote__fail(err, MOTE_EINVAL, "host is NULL");
	mote_host *h = mote__alloc(1, sizeof *h);
	if (!h)
		return mote__fail(err, MOTE_ENOMEM, "out of memory");
	h->references = 1;
	h->print = print_to_stdout;
	const uint32_t parameter = MOTE_STRING;
	const struct mote_host_function print = {.size = sizeof print,
						 .name = "HostPrint",
						 .callback = host_print,
						 .cookie = h,
						 .result = MOTE_I32,
						 .parameter_count = 1,
						 .parameters = &parameter};
	int rc = mote_host_add(h, &print, err);
	if (rc < 0) {
		mote_host_unref(h);
		return rc;
	}
	*host = h;
	return MOTE_OK;
}

mote_host *mote_host_ref(mote_host *host)
{
	atomic_fetch_add_explicit(&host->references, 1, memory_order_relaxed);
	return host;
}

static void entry_clear(struct mote__host_entry *entry)
{
	if (entry->destroy_cookie)
		entry->destroy_cookie(entry->cookie);
	mote__free(entry->name);
}

void mote_host_unref(mote_host *host)
{
	if (!host || atomic_fetch_sub_explicit(&host->references, 1, memory_order_acq_rel) != 1)
		return;
	for (uint32_t i = 0; i < host->count; i++)
		entry_clear(&host->entries[i]);
	mote__free(host->entries);
	mote__host_list_unref(atomic_load(&host->list));
	mote__free(host);
}

/* ---- adding ---------------------------------------------------------------------------------- */

static int check_frozen(const mote_host *host, struct mote_error *err)
{
	if (!host)
		return mote__fail(err, MOTE_EINVAL, "host is NULL");
	if (atomic_load(&host->is_frozen))
		return mote__fail(err, MOTE_ESTATE,
				  "the host is frozen: a sandbox was made with it");
	return MOTE_OK;
}

static int check_types(const struct mote_host_function *f, struct mote_error *err)
{
	if (f->result > MOTE_BYTES)
		return mote__fail(err, MOTE_EINVAL, "%s: result type is %u, at most %u", f->name,
				  f->result, MOTE_BYTES);
	if (f->parameter_count > MOTE_MAX_PARAMETERS)
		return mote__fail(err, MOTE_EINVAL, "%s: %u parameters, at most %u", f->name,
				  f->parameter_count, MOTE_MAX_PARAMETERS);
	if (f->parameter_count && !f->parameters)
		return mote__fail(err, MOTE_EINVAL, "%s: parameters is NULL", f->name);
	for (uint32_t i = 0; i < f->parameter_count; i++)
		if (f->parameters[i] == MOTE_VOID || f->parameters[i] > MOTE_BYTES)
			return mote__fail(err, MOTE_EINVAL,
					  "%s: type of parameter %u is %u, limits are 1 to %u",
					  f->name, i, f->parameters[i], MOTE_BYTES);
	return MOTE_OK;
}

static int check_function(const struct mote_host_function *f, struct mote_error *err)
{
	if (!f)
		return mote__fail(err, MOTE_EINVAL, "function is NULL");
	int rc = mote__options_check("mote_host_function", f, f->size, sizeof *f, sizeof *f, err);
	if (rc < 0)
		return rc;
	size_t len = f->name ? strnlen(f->name, MOTE_ABI_MAX_NAME_BYTES + 1) : 0;
	if (!len || len > MOTE_ABI_MAX_NAME_BYTES)
		return mote__fail(err, MOTE_EINVAL,
				  "a function's name has %zu bytes, limits are 1 to %u", len,
				  MOTE_ABI_MAX_NAME_BYTES);
	if (!mote__utf8_is_valid(f->name, len))
		return mote__fail(err, MOTE_EINVAL, "a function's name is not UTF-8");
	if (!f->callback)
		return mote__fail(err, MOTE_EINVAL, "%s: callback is NULL", f->name);
	return check_types(f, err);
}

static struct mote__host_entry *find(const mote_host *host, const char *name, size_t len)
{
	for (uint32_t i = 0; i < host->count; i++)
		if (host->entries[i].name_bytes == len &&
		    memcmp(host->entries[i].name, name, len) == 0)
			return &host->entries[i];
	return NULL;
}

const struct mote__host_entry *mote__host_find(const mote_host *host, const char *name, size_t len)
{
	return find(host, name, len);
}

/* Room for one more entry. */
static int reserve(mote_host *host)
{
	if (host->count < host->capacity)
		return MOTE_OK;
	uint32_t capacity = host->capacity ? 2 * host->capacity : 8;
	struct mote__host_entry *entries = mote__realloc(host->entries, capacity, sizeof *entries);
	if (!entries)
		return MOTE_ENOMEM;
	host->entries = entries;
	host->capacity = capacity;
	return MOTE_OK;
}

int mote_host_add(mote_host *host, const struct mote_host_function *function,
		  struct mote_error *err)
{
	int rc = check_frozen(host, err);
	if (rc == MOTE_OK)
		rc = check_function(function, err);
	if (rc < 0)
		return rc;
	size_t len = strlen(function->name);
	char *name = mote__alloc(len + 1, 1);
	if (!name || reserve(host) < 0) {
		mote__free(name);
		return mote__fail(err, MOTE_ENOMEM, "out of memory");
	}
	memcpy(name, function->name, len);
	struct mote__host_entry entry = {.name = name,
					 .name_bytes = (uint32_t)len,
					 .result = function->result,
					 .parameter_count = function->parameter_count,
					 .callback = function->callback,
					 .cookie = function->cookie,
					 .destroy_cookie = function->destroy_cookie};
	for (uint32_t i = 0; i < function->parameter_count; i++)
		entry.parameters[i] = function->parameters[i];
	struct mote__host_entry *place = find(host, name, len);
	if (place)
		entry_clear(place);
	else
		place = &host->entries[host->count++];
	*place = entry;
	return MOTE_OK;
}

int mote_host_on_print(mote_host *host, mote_print_callback callback, void *cookie,
		       struct mote_error *err)
{
	int rc = check_frozen(host, err);
	if (rc < 0)
		return rc;
	host->print = callback ? callback : print_to_stdout;
	host->print_cookie = cookie;
	return MOTE_OK;
}

int mote_host_on_log(mote_host *host, mote_log_callback callback, void *cookie,
		     struct mote_error *err)
{
	int rc = check_frozen(host, err);
	if (rc < 0)
		return rc;
	host->log = callback;
	host->log_cookie = cookie;
	return MOTE_OK;
}

/* ---- imports --------------------------------------------------------------------------------- */

static bool has_signature(const struct mote__host_entry *entry, const struct mote_function *f)
{
	if (entry->result != f->result || entry->parameter_count != f->parameter_count)
		return false;
	for (uint32_t i = 0; i < f->parameter_count; i++)
		if (entry->parameters[i] != f->parameters[i])
			return false;
	return true;
}

static void append(char *text, size_t bytes, const char *piece)
{
	size_t used = strlen(text);
	(void)snprintf(text + used, bytes - used, "%s", piece);
}

static void append_signature(char *text, size_t bytes, const struct mote_function *f)
{
	append(text, bytes, f->name);
	append(text, bytes, "(");
	for (uint32_t i = 0; i < f->parameter_count; i++) {
		append(text, bytes, i ? ", " : "");
		append(text, bytes, mote_type_name(f->parameters[i]));
	}
	append(text, bytes, ") -> ");
	append(text, bytes, mote_type_name(f->result));
}

static const struct mote__functions *wanted(const mote_snapshot *snapshot)
{
	return snapshot->functions ? &snapshot->functions->functions : &snapshot->image->imports;
}

int mote__host_check(const mote_host *host, const mote_snapshot *snapshot, struct mote_error *err)
{
	const struct mote__functions *functions = wanted(snapshot);
	char text[400] = "";
	/* The list was made from this very host. */
	if (snapshot->functions && snapshot->functions == atomic_load(&host->list))
		return MOTE_OK;
	for (uint32_t i = 0; i < functions->count; i++) {
		const struct mote_function *f = &functions->function[i];
		const struct mote__host_entry *entry = find(host, f->name, strlen(f->name));
		if (entry && has_signature(entry, f))
			continue;
		append(text, sizeof text, text[0] ? "; " : "");
		append_signature(text, sizeof text, f);
		if (entry)
			append(text, sizeof text, " (has another signature)");
	}
	if (!text[0])
		return MOTE_OK;
	return mote__fail(err, MOTE_EIMPORT, "the host lacks functions that the guest %s: %s",
			  snapshot->functions ? "had when its snapshot was taken" : "imports",
			  text);
}

/* ---- list ------------------------------------------------------------------------------------ */

static struct mote__host_list *make_list(const mote_host *host)
{
	size_t bytes = 0, at = 0;
	for (uint32_t i = 0; i < host->count; i++)
		bytes += host->entries[i].name_bytes + 1;
	struct mote__host_list *list = mote__alloc(1, sizeof *list);
	struct mote_function *functions = mote__alloc(host->count, sizeof *functions);
	char *text = mote__alloc(bytes, 1);
	if (!list || !functions || !text) {
		mote__free(list);
		mote__free(functions);
		mote__free(text);
		return NULL;
	}
	for (uint32_t i = 0; i < host->count; i++) {
		const struct mote__host_entry *entry = &host->entries[i];
		functions[i] = (struct mote_function){.name = text + at,
						      .result = entry->result,
						      .parameter_count = entry->parameter_count};
		for (uint32_t j = 0; j < entry->parameter_count; j++)
			functions[i].parameters[j] = (uint8_t)entry->parameters[j];
		memcpy(text + at, entry->name, entry->name_bytes + 1);
		at += entry->name_bytes + 1;
	}
	list->references = 1;
	list->functions = (struct mote__functions){host->count, functions, text};
	return list;
}

void mote__host_list_unref(struct mote__host_list *list)
{
	if (!list || atomic_fetch_sub_explicit(&list->references, 1, memory_order_acq_rel) != 1)
		return;
	mote__functions_free(&list->functions);
	mote__free(list);
}

struct mote__host_list *mote__host_functions(mote_host *host)
{
	struct mote__host_list *list = atomic_load(&host->list);
	if (!list) {
		struct mote__host_list *made = make_list(host);
		if (!made)
			return NULL;
		if (atomic_compare_exchange_strong(&host->list, &list, made))
			list = made;
		else
			mote__host_list_unref(made);
	}
	atomic_fetch_add_explicit(&list->references, 1, memory_order_relaxed);
	return list;
}
