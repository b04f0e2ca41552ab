/* SPDX-License-Identifier: MIT */
/*
 * What tests of damaged and forged stores start from: a store with one snapshot of a tiny guest, a
 * copy of it for each case, and what must hold when a load is refused.
 */
#ifndef MOTE_TESTS_STORE_CASE_H
#define MOTE_TESTS_STORE_CASE_H

#include <stdio.h>
#include <stdlib.h>

#include "forge.h"
#include "world.h"

#define STORE_PAGE 4096u

enum store_kind {
	STORE_NEW,      /* a confined guest's image */
	STORE_CONFINED, /* a ready one: two layers, metadata, a host function */
	STORE_STOCK,    /* a ready stock guest: two layers, a register of its own */
	STORE_KINDS,
};

/* A register that guests may be allowed to use: KERNEL_GS_BASE. */
#define STORE_MSR 0xC0000102u

static struct store_case {
	enum store_kind kind;
	char base[TREE_PATH_BYTES];      /* all is in here */
	char original[TREE_PATH_BYTES];  /* the store */
	char directory[TREE_PATH_BYTES]; /* its copy */
	mote_snapshot *snapshot;
	struct mote_saved saved;
	struct mote_load_options load;
	struct forge forge;
	struct mote_error err;
} c;

static const uint32_t store_msrs[] = {STORE_MSR};

/* ---- making ---------------------------------------------------------------------------------- */

static inline void store_answer(struct double_machine *m, struct mote__exit *exit)
{
	if (m->step == 0)
		(void)guest_pop_call(m);
	guest_return(m, exit, mote_void());
}

static const struct double_guest store_guest = {NULL, store_answer, NULL};

static inline int store_shout(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	(void)cookie, (void)arguments;
	return mote_reply_i32(reply, 0);
}

static inline void store_world(struct world *w, bool is_confined)
{
	static const struct tiny_function exports[] = {{"add", MOTE_I32, 2, {MOTE_I32, MOTE_I32}},
						       {"name", MOTE_STRING, 0, {0}}};
	static const struct tiny_function imports[] = {{"shout", MOTE_I32, 1, {MOTE_STRING}}};
	const struct tiny_options image = {.is_confined = is_confined,
					   .exports = is_confined ? exports : NULL,
					   .imports = is_confined ? imports : NULL,
					   .export_count = is_confined ? 2 : 0,
					   .import_count = is_confined ? 1 : 0,
					   .data_bytes = 20 * STORE_PAGE};
	const struct mote_snapshot_options options = {.size = sizeof options,
						      .init_data = "initial",
						      .init_data_bytes = 7,
						      .mapping_bytes = is_confined ? 0x10000 : 0,
						      .msrs = is_confined ? NULL : store_msrs,
						      .msr_count = is_confined ? 0 : 1};
	world_make_of(w, &image, &options, &store_guest);
	OK(w, MOTE_HOST_ADD(w->host, "shout", store_shout, NULL, &w->err, MOTE_I32, MOTE_STRING));
}

/* A page that a call would make the sandbox's own, as the host sees it: a stock guest's own tables
 * decide, so it is left as it is. */
static inline mote_snapshot *store_take(struct world *w)
{
	static const struct mote_metadata metadata[] = {{"com.example.build", "{\"number\":17}"}};
	const struct mote_take_options options = {
		.size = sizeof options, .metadata = metadata, .metadata_count = 1};
	static const uint64_t value = 0x1122334455667788;
	mote_snapshot *taken = NULL;
	world_sandbox(w, NULL);
	OK(w, mote_sandbox_start(w->sandbox, 0, &w->err));
	OK(w, mote_sandbox_write(w->sandbox, TINY_DATA_GVA + 0x88, &value, sizeof value, &w->err));
	OK(w, mote_snapshot_take(w->sandbox, &options, &taken, &w->err));
	return taken;
}

static inline void store_open(enum store_kind kind)
{
	const struct mote_save_options options = {.size = sizeof options, .tag = "latest"};
	struct world w;
	memset(&c, 0, sizeof c);
	c.kind = kind;
	c.load.size = sizeof c.load;
	c.load.accept_processor = 1;
	if (kind == STORE_STOCK) {
		c.load.msrs = store_msrs;
		c.load.msr_count = 1;
	}
	tree_make(c.base);
	tree_join(c.original, c.base, "original");
	tree_join(c.directory, c.base, "store");
	store_world(&w, kind != STORE_STOCK);
	c.snapshot = kind == STORE_NEW ? mote_snapshot_ref(w.snapshot) : store_take(&w);
	OK(&c, mote_snapshot_save(c.snapshot, c.original, &options, &c.saved, &c.err));
	world_free(&w);
}

static inline void store_close(void)
{
	mote_snapshot_unref(c.snapshot);
	tree_remove(c.base);
}

/** Begin a case: the store is whole again. */
static inline void store_again(void)
{
	tree_remove(c.directory);
	tree_copy(c.original, c.directory);
}

/** The same, and its documents are open for edits. */
static inline void store_forge(void)
{
	store_again();
	forge_open(&c.forge, c.directory);
}

/* ---- what must hold -------------------------------------------------------------------------- */

static inline void store_require(int rc, int code, const char *text, const char *what)
{
	if (rc != code || !strstr(c.err.message, text))
		check_failed(__FILE__, __LINE__, "%s: %s: \"%s\", not %s with \"%s\"", what,
			     mote_code_name(rc), rc < 0 ? c.err.message : "", mote_code_name(code),
			     text);
	CHECK(c.err.code == code && !strpbrk(c.err.message, "\n\r\033"));
}

/** A load by reference is refused with code and a message that has text; nothing was changed. */
static inline void store_refused(const char *reference, int code, const char *text,
				 const char *what)
{
	uint8_t before[TREE_DIGEST_BYTES], after[TREE_DIGEST_BYTES];
	mote_snapshot *const untouched = (mote_snapshot *)&c;
	mote_snapshot *snapshot = untouched;
	tree_digest(c.directory, before);
	memset(&c.err, 0x5A, sizeof c.err);
	int rc = mote_snapshot_load(c.directory, reference, &c.load, &snapshot, &c.err);
	store_require(rc, code, text, what);
	CHECK(snapshot == untouched);
	memset(&c.err, 0x5A, sizeof c.err);
	rc = mote_store_verify(c.directory, reference ? reference : "latest", NULL, NULL, NULL,
			       &c.err);
	if (code != MOTE_EPROCESSOR)
		store_require(rc, code, text, what);
	tree_digest(c.directory, after);
	CHECK_MEM(before, after, sizeof before);
}

/** What was forged is refused. */
static inline void store_forged(int code, const char *text, const char *what)
{
	forge_close(&c.forge);
	store_refused(NULL, code, text, what);
}

/** The store loads, and what it holds is what was saved. */
static inline void store_loads(const char *reference)
{
	uint8_t loaded_digest[MOTE_DIGEST_BYTES], digest[MOTE_DIGEST_BYTES];
	mote_snapshot *loaded = NULL;
	OK(&c, mote_snapshot_load(c.directory, reference, &c.load, &loaded, &c.err));
	OK(&c, mote_snapshot_digest(loaded, loaded_digest, &c.err));
	OK(&c, mote_snapshot_digest(c.snapshot, digest, &c.err));
	mote_snapshot_unref(loaded);
	CHECK_MEM(loaded_digest, digest, sizeof digest);
}

#endif
