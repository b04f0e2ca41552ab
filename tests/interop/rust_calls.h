/* SPDX-License-Identifier: MIT */
/*
 * What tests of calls know of the guest "rust" (tests/interop/guest-rust), which was built with the
 * published 0.15 guest crates: the host functions that it calls, and how a call ends. ENDS_WITH()
 * makes a call that must fail, and looks at everything that a failure leaves: code, category, text,
 * state, and that the sandbox goes on, or refuses until it is restored.
 */
#ifndef MOTE_TESTS_RUST_CALLS_H
#define MOTE_TESTS_RUST_CALLS_H

#include "system.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

struct rust {
	struct system s;
	mote_snapshot *ready; /* taken when the guest had initialised itself */
};

/* The guest without SSE runs where the kernel emulates ring 0, too. */
static inline const char *rust_name(void)
{
	return system_is_nested() ? "rust" : "rust-soft";
}

static inline void rust_needs_floats(void)
{
	if (!system_is_nested())
		check_skip("this kernel cannot emulate SSE in ring 0");
}

/* ---- host functions -------------------------------------------------------------------------- */

/* Types: by the names that the ABI has for values, as errors of the published host name them, and
 * as the guest's functions have them behind Echo, CallEcho and HostEcho. */
struct kind {
	const char *abi, *native, *suffix;
	uint32_t type;
};

static const struct kind kinds[] = {
	{"Int", "i32", "Int", MOTE_I32},
	{"UInt", "u32", "UInt", MOTE_U32},
	{"Long", "i64", "Long", MOTE_I64},
	{"ULong", "u64", "ULong", MOTE_U64},
	{"Float", "f32", "Float", MOTE_F32},
	{"Double", "f64", "Double", MOTE_F64},
	{"String", "String", "String", MOTE_STRING},
	{"Bool", "bool", "Bool", MOTE_BOOL},
	{"VecBytes", "Vec < u8 >", "Bytes", MOTE_BYTES},
};

static inline int host_echo(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	(void)cookie;
	return mote_reply_value(reply, &arguments[0]);
}

static inline int host_nothing(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	(void)cookie;
	(void)arguments;
	(void)reply;
	return 0;
}

static inline int host_number(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	(void)cookie;
	(void)arguments;
	return mote_reply_i32(reply, 41);
}

static inline int host_fail(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	(void)cookie;
	(void)arguments;
	return mote_reply_error(reply, "host says no to %d", 7);
}

static inline void rust_add(mote_host *host)
{
	static const char *const names[] = {"HostEchoInt",    "HostEchoUInt",  "HostEchoLong",
					    "HostEchoULong",  "HostEchoFloat", "HostEchoDouble",
					    "HostEchoString", "HostEchoBool",  "HostEchoBytes"};
	struct mote_error err;
	for (size_t i = 0; i < COUNT(names); i++)
		CHECK(MOTE_HOST_ADD(host, names[i], host_echo, NULL, &err, kinds[i].type,
				    kinds[i].type) == MOTE_OK);
	CHECK(MOTE_HOST_ADD(host, "HostNothing", host_nothing, NULL, &err, MOTE_VOID) == MOTE_OK);
	CHECK(MOTE_HOST_ADD(host, "HostNumber", host_number, NULL, &err, MOTE_I32) == MOTE_OK);
	CHECK(MOTE_HOST_ADD(host, "HostFail", host_fail, NULL, &err, MOTE_I32) == MOTE_OK);
}

/* ---- open and close -------------------------------------------------------------------------- */

static inline void rust_ready(struct rust *r)
{
	struct system *s = &r->s;
	OK(s, mote_sandbox_start(s->sandbox, 0, &s->err));
	OK(s, mote_snapshot_take(s->sandbox, NULL, &r->ready, &s->err));
}

/** Open the guest and initialise it: RUST(&r, .snapshot.scratch_bytes = 1 << 20). */
#define RUST(r, ...)                                                        \
	do {                                                                \
		OPEN(&(r)->s, rust_name(), .add = rust_add, ##__VA_ARGS__); \
		rust_ready(r);                                              \
	} while (0)

static inline void rust_close(struct rust *r)
{
	mote_snapshot_unref(r->ready);
	system_close(&r->s);
}

static inline void rust_restore(struct rust *r)
{
	struct system *s = &r->s;
	OK(s, mote_sandbox_restore(s->sandbox, r->ready, NULL, &s->err));
}

/* ---- how a call ends ------------------------------------------------------------------------- */

/** A failure, as it must be. */
struct ends {
	int code;
	const char *text;    /* part of the message */
	uint64_t guest_code; /* what the guest sent */
	uint8_t poisons;
	uint8_t keeps;     /* leave the sandbox as it is: do not restore, do not try it */
	uint8_t is_exotic; /* the kernel's emulation of ring 0 may lack the instruction */
	uint32_t vector;   /* of an exception that the guest reports, where has_fault */
	uint8_t has_fault;
};

static inline int32_t category_of(int code)
{
	return code <= MOTE_EGUEST   ? MOTE_CATEGORY_GUEST
	       : code <= MOTE_ENOMEM ? MOTE_CATEGORY_HOST
				     : MOTE_CATEGORY_CALLER;
}

/* A poisoned sandbox refuses everything but a restore, which brings it back. */
static inline void rust_is_poisoned(struct rust *r)
{
	struct system *s = &r->s;
	mote_snapshot *taken = NULL;
	CHECK_EQ(mote_sandbox_state(s->sandbox), MOTE_STATE_POISONED);
	FAILS(s, MOTE_ESTATE, "The sandbox was poisoned", MOTE_I32, "EchoInt", mote_i32(1));
	CHECK_EQ(s->err.category, MOTE_CATEGORY_CALLER);
	CHECK_EQ(mote_snapshot_take(s->sandbox, NULL, &taken, &s->err), MOTE_ESTATE);
	CHECK_EQ(mote_sandbox_state(s->sandbox), MOTE_STATE_POISONED);
	rust_restore(r);
}

/* 1: the call ended as it must. 0: an exotic instruction, beyond this kernel; restored. */
static inline int rust_ends(struct rust *r, const char *file, int line, const struct ends *e,
			    const struct mote_call *call)
{
	struct system *s = &r->s;
	struct mote_error *err = &s->err;
	if (e->is_exotic && !system_is_nested()) {
		int rc = mote_sandbox_call(s->sandbox, call, NULL, err);
		if (rc == MOTE_EPROTOCOL && strstr(err->message, "cannot emulate")) {
			rust_restore(r);
			return 0;
		}
		rust_restore(r);
	}
	system_fails(s, file, line, e->code, e->text, call);
	const struct mote_error seen = *err;
	if (seen.category != category_of(e->code) || seen.guest_code != e->guest_code ||
	    seen.poisoned != e->poisons || seen.has_fault != e->has_fault ||
	    (e->has_fault && seen.vector != e->vector))
		check_failed(file, line,
			     "%s: category %d, guest code %llu, poisoned %u, fault %u vector %u: "
			     "%s",
			     call->function, seen.category, (unsigned long long)seen.guest_code,
			     seen.poisoned, seen.has_fault, seen.vector, seen.message);
	if (!e->keeps && e->poisons)
		rust_is_poisoned(r);
	if (!e->keeps) {
		CHECK_EQ(mote_sandbox_state(s->sandbox), MOTE_STATE_READY);
		CHECK_EQ(CALL_I32(s, "EchoInt", mote_i32(line)), line);
	}
	*err = seen;
	return 1;
}

/** ENDS_WITH(&r, &(const struct ends){.code = ...}, MOTE_VOID, "name", arguments...). */
#define ENDS_WITH(r, e, result, name, ...) \
	rust_ends((r), __FILE__, __LINE__, (e), CALL_OF(name, result, __VA_ARGS__))
/* The guest's function returns an error. */
#define GUEST_ERROR(r, number, what, result, name, ...)                                         \
	((void)ENDS_WITH(r,                                                                     \
			 (&(const struct ends){                                                 \
				 .code = MOTE_EGUEST, .text = (what), .guest_code = (number)}), \
			 result, name, __VA_ARGS__))
/* The guest aborts. */
#define ABORTS(r, number, what, name, ...)                             \
	((void)ENDS_WITH(r,                                            \
			 (&(const struct ends){.code = MOTE_EABORT,    \
					       .text = (what),         \
					       .guest_code = (number), \
					       .poisons = 1}),         \
			 MOTE_VOID, name, __VA_ARGS__))
/* The guest breaks the protocol while it runs. */
#define BREAKS(r, what, name, ...)                                                               \
	((void)ENDS_WITH(                                                                        \
		r, (&(const struct ends){.code = MOTE_EPROTOCOL, .text = (what), .poisons = 1}), \
		MOTE_VOID, name, __VA_ARGS__))

#endif
