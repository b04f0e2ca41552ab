/* SPDX-License-Identifier: MIT */
/*
 * What tests of the stock guest stock_probe share: numbers of the ABI (family S), and short names
 * for what the guest does. PROBE() opens it, DO() calls it.
 */
#ifndef MOTE_TESTS_PROBE_H
#define MOTE_TESTS_PROBE_H

#include "system.h"

#include "../guests/stock_probe.h"

#define PAGE       4096ull
#define LINEAR     0xFFFFFFEFFFFFF000ull /* GVA - GPA of scratch */
#define TOP        0xFFFFFFFFFFFFF000ull
#define SCRATCH    0x48000ull
#define BUFFER     0x4000ull
#define NO_EXECUTE (1ull << 63)
#define ADDRESS    0x000FFFFFFFFFF000ull
#define ULONG      MOTE_U64

#define PROBE(s, ...) OPEN(s, "stock_probe", .add = add_host_add, ##__VA_ARGS__)
#define DO(s, ...)    CALL_U64(s, __VA_ARGS__)

static inline int host_add(void *cookie, const struct mote_value *a, mote_reply *reply)
{
	(void)cookie;
	if (a[0].i32 != 5 || a[1].i32 != -1)
		return mote_reply_error(reply, "other numbers");
	return mote_reply_i32(reply, 77);
}

static inline void add_host_add(mote_host *host)
{
	struct mote_error err;
	CHECK(MOTE_HOST_ADD(host, "HostAdd", host_add, NULL, &err, MOTE_I32, MOTE_I32, MOTE_I32) ==
	      MOTE_OK);
}

static inline uint64_t peek(struct system *s, uint64_t gva)
{
	return DO(s, "peek", mote_u64(gva));
}

static inline void poke(struct system *s, uint64_t gva, uint64_t value)
{
	(void)DO(s, "poke", mote_u64(gva), mote_u64(value));
}

static inline uint64_t general(struct system *s, enum probe_when when, enum probe_general index)
{
	return DO(s, "regs", mote_u64(when), mote_u64(index));
}

static inline uint64_t system_register(struct system *s, enum probe_system index)
{
	return DO(s, "syss", mote_u64(index));
}

/* The leaf entry of gva, as the guest's memory has it; *at is where. */
static inline uint64_t leaf(struct system *s, uint64_t gva, uint64_t *at)
{
	uint64_t entry = peek(s, TOP - 0x18);
	for (int shift = 39;; shift -= 9) {
		*at = (entry & ADDRESS) + LINEAR + (gva >> shift & 511) * 8;
		OK(s, mote_sandbox_read(s->sandbox, *at, &entry, 8, &s->err));
		if (shift == 12 || !(entry & 1))
			return entry;
		CHECK_EQ(entry & ~ADDRESS, 0x023);
	}
}

#endif
