/* SPDX-License-Identifier: MIT */
/*
 * The host functions that the guest sys_values imports: add_same() gives back what comes in;
 * add_with() puts others in their place, of_i32 for the one that takes an i32.
 */
#ifndef MOTE_TESTS_VALUES_H
#define MOTE_TESTS_VALUES_H

#include "system.h"

static inline int same(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	(void)cookie;
	return mote_reply_value(reply, &arguments[0]);
}

static inline int nothing(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	(void)cookie;
	(void)arguments;
	(void)reply;
	return 0;
}

static inline int eleven(void *cookie, const struct mote_value *a, mote_reply *reply)
{
	(void)cookie;
	uint64_t sum = (uint64_t)a[0].i32 + a[1].u32 + (uint64_t)a[2].i64 + a[3].u64 +
		       (uint64_t)(a[4].f32 * 4) + (uint64_t)(a[5].f64 * 8) + a[6].boolean +
		       a[7].string.len + a[8].bytes.len + (uint64_t)a[9].i32 + (uint64_t)a[10].i64;
	return mote_reply_u64(reply, sum);
}

struct named {
	const char *name;
	uint32_t type;
};

static const struct named types[] = {
	{"host_i32", MOTE_I32},   {"host_u32", MOTE_U32},       {"host_i64", MOTE_I64},
	{"host_u64", MOTE_U64},   {"host_f32", MOTE_F32},       {"host_f64", MOTE_F64},
	{"host_bool", MOTE_BOOL}, {"host_string", MOTE_STRING}, {"host_bytes", MOTE_BYTES},
};

static inline void add_with(mote_host *host, mote_host_callback of_i32,
			    mote_host_callback of_others)
{
	struct mote_error err;
	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		CHECK(MOTE_HOST_ADD(host, types[i].name, i ? of_others : of_i32, NULL, &err,
				    types[i].type, types[i].type) == MOTE_OK);
	CHECK(MOTE_HOST_ADD(host, "host_void", of_others == same ? nothing : of_others, NULL, &err,
			    MOTE_VOID) == MOTE_OK);
	CHECK(MOTE_HOST_ADD(host, "host_eleven", eleven, NULL, &err, MOTE_U64, MOTE_I32, MOTE_U32,
			    MOTE_I64, MOTE_U64, MOTE_F32, MOTE_F64, MOTE_BOOL, MOTE_STRING,
			    MOTE_BYTES, MOTE_I32, MOTE_I64) == MOTE_OK);
}

static inline void add_same(mote_host *host)
{
	add_with(host, same, same);
}

#define VALUES(s, ...) OPEN(s, "sys_values", .add = add_same, ##__VA_ARGS__)

#endif
