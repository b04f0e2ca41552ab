/* SPDX-License-Identifier: MIT */
/*
 * What tests of the public objects start from: an engine on the test double, a host, a snapshot of
 * a tiny guest of either kind, and, on request, a sandbox of these.
 */
#ifndef MOTE_TESTS_WORLD_H
#define MOTE_TESTS_WORLD_H

#include "check.h"
#include "double.h"
#include "tiny_guest.h"
#include "vm/objects.h"

enum world_kind { STOCK, CONFINED };

struct world {
	bool is_confined;
	bool is_closed; /* the engine went */
	struct double_hypervisor *hypervisor;
	struct double_machine *machine; /* of the sandbox */
	mote_engine *engine;
	mote_snapshot *snapshot;
	mote_host *host;
	mote_sandbox *sandbox;
	struct mote_error err;
};

/** A call that succeeds, or the message. */
#define OK(w, call)                                                                                \
	do {                                                                                       \
		int rc_ = (call);                                                                  \
		if (rc_ != MOTE_OK)                                                                \
			check_failed(__FILE__, __LINE__, "%s: %s: %s", #call, mote_code_name(rc_), \
				     (w)->err.message);                                            \
	} while (0)

/** A call that fails with code; the error says so too, whose fault it is, and has a text. */
#define FAILS(w, call, code_)                                                               \
	do {                                                                                \
		memset(&(w)->err, 0x5A, sizeof(w)->err);                                    \
		CHECK_EQ((call), (code_));                                                  \
		CHECK_EQ((w)->err.code, (code_));                                           \
		CHECK((w)->err.message[0] && !strchr((w)->err.message, '\n'));              \
		CHECK_EQ((w)->err.category, (code_) > MOTE_ENOMEM   ? MOTE_CATEGORY_CALLER  \
					    : (code_) > MOTE_EGUEST ? MOTE_CATEGORY_HOST    \
								    : MOTE_CATEGORY_GUEST); \
	} while (0)

static inline void world_make_of(struct world *w, const struct tiny_options *image,
				 const struct mote_snapshot_options *options,
				 const struct double_guest *guest)
{
	memset(w, 0, sizeof *w);
	w->is_confined = image->is_confined;
	w->hypervisor = double_make(guest);
	w->hypervisor->is_closed = &w->is_closed;
	OK(w, mote__engine_on(&w->hypervisor->base, SIGRTMIN, 0, &w->engine, &w->err));
	const struct tiny_image tiny = tiny_guest(image);
	OK(w, mote_snapshot_from_memory(tiny.bytes, tiny.len, options, &w->snapshot, &w->err));
	OK(w, mote_host_create(&w->host, &w->err));
}

static inline void world_make(struct world *w, enum world_kind kind,
			      const struct double_guest *guest)
{
	const struct tiny_options image = {.is_confined = kind == CONFINED};
	world_make_of(w, &image, NULL, guest);
}

/** Make the sandbox. */
static inline void world_sandbox(struct world *w, const struct mote_sandbox_options *options)
{
	OK(w, mote_sandbox_create(w->engine, w->snapshot, w->host, options, &w->sandbox, &w->err));
	w->machine = w->hypervisor->machine;
}

/** All of it, the guest initialised. */
static inline void world_ready(struct world *w, enum world_kind kind,
			       const struct double_guest *guest)
{
	world_make(w, kind, guest);
	world_sandbox(w, NULL);
	OK(w, mote_sandbox_start(w->sandbox, 0, &w->err));
}

static inline void world_free(struct world *w)
{
	mote_sandbox_destroy(w->sandbox);
	mote_host_unref(w->host);
	mote_snapshot_unref(w->snapshot);
	mote_engine_unref(w->engine);
	CHECK(w->is_closed);
}

/** A test of a body(enum world_kind) with either kind of guest. */
#define TEST_BOTH(what)                           \
	static void both_##what(enum world_kind); \
	TEST(what##_stock)                        \
	{                                         \
		both_##what(STOCK);               \
	}                                         \
	TEST(what##_confined)                     \
	{                                         \
		both_##what(CONFINED);            \
	}                                         \
	static void both_##what(enum world_kind kind)

/** Call "f" without arguments for a result of type. */
static inline int world_call(struct world *w, uint32_t type, struct mote_value *result)
{
	const struct mote_call call = {.size = sizeof call, .function = "f", .result = type};
	return mote_sandbox_call(w->sandbox, &call, result, &w->err);
}

static inline struct mote_statistics world_statistics(const struct world *w)
{
	struct mote_statistics s;
	mote_sandbox_get_statistics(w->sandbox, &s, sizeof s);
	return s;
}

#endif
