/* SPDX-License-Identifier: MIT */
/*
 * Hostile ring-3 code against the library's ring 0 in a real sandbox: what one call leaves in
 * registers never shows in the next; the pages that ring 3 may write or run, written and run in
 * every odd way, hurt the guest alone.
 */
#include "system.h"

#include <stdbool.h>
#include <stdio.h>

#include "core/confined.h"

static uint64_t vector_mask(void)
{
	struct mote_engine_info info;
	mote_engine_get_info(system_engine(), &info);
	return info.vector_state_mask;
}

static void check_zero(const struct mote_value *value, size_t from, size_t to)
{
	const uint8_t *bytes = value->bytes.data;
	CHECK(to <= value->bytes.len);
	for (size_t i = from; i < to; i++)
		CHECK_EQ(bytes[i], 0);
}

TEST(guest_doors__x87_and_sse_start_clean_in_every_call)
{
	struct system s;
	OPEN(&s, "sys_doors");
	OK(&s, mote_sandbox_start(s.sandbox, 0, &s.err));
	for (int i = 0; i < 3; i++) {
		struct mote_value area = CALL(&s, MOTE_BYTES, "legacy");
		const uint8_t *bytes = area.bytes.data;
		uint32_t mxcsr;
		CHECK_EQ(area.bytes.len, 512);
		CHECK_EQ(bytes[0] | bytes[1] << 8, 0x37F);
		CHECK_EQ(bytes[2] | bytes[3] << 8 | bytes[4] << 16, 0); /* status and tags */
		memcpy(&mxcsr, bytes + 24, sizeof mxcsr);
		CHECK_EQ(mxcsr, 0x1F80);
		check_zero(&area, 6, 24);
		check_zero(&area, 32, 416);
		CALL_VOID(&s, "fill", mote_u64(vector_mask()));
	}
	system_close(&s);
}

TEST(guest_doors__what_fill_leaves_can_be_seen)
{
	struct system s;
	OPEN(&s, "hostile_raw");
	/* In one call the registers do show: the looks above would see a leak. */
	struct mote_value before = CALL(&s, MOTE_BYTES, "vector_state");
	check_zero(&before, 160, 416);
	CALL_VOID(&s, "dirty_vector_state");
	struct mote_value after = CALL(&s, MOTE_BYTES, "vector_state");
	check_zero(&after, 160, 416);
	system_close(&s);
}

TEST(guest_doors__wide_vectors_and_masks_start_clean_in_every_call)
{
	struct system s;
	OPEN(&s, "sys_doors");
	OK(&s, mote_sandbox_start(s.sandbox, 0, &s.err));
	const uint64_t mask = vector_mask();
	check_note("state components of ring 3: 0x%llx", (unsigned long long)mask);
	if (!(mask & 4)) {
		system_close(&s);
		check_skip("ring 3 has no AVX here");
	}
	for (int i = 0; i < 3; i++) {
		struct mote_value all = CALL(&s, MOTE_BYTES, "vectors", mote_u64(mask));
		check_zero(&all, 0, all.bytes.len);
		CALL_VOID(&s, "fill", mote_u64(mask));
		struct mote_value k = CALL(&s, MOTE_BYTES, "mask_registers", mote_u64(mask));
		check_zero(&k, 0, k.bytes.len);
		CALL_VOID(&s, "fill", mote_u64(mask));
		CHECK_EQ(CALL_U32(&s, "protection_keys", mote_u64(mask)), 0);
		CALL_VOID(&s, "fill", mote_u64(mask));
	}
	system_close(&s);
}

/* What every hostile act may end in. A sandbox that lives must still work. */
static void check_contained(struct system *s, int rc, unsigned *lived)
{
	if (rc != MOTE_OK && rc != MOTE_EABORT && rc != MOTE_EPROTOCOL && rc != MOTE_ECANCELED &&
	    rc != MOTE_EGUEST)
		check_failed(__FILE__, __LINE__, "%s: %s", mote_code_name(rc), s->err.message);
	/* No exit may come from ring 0 but the stub's own two. */
	if (rc == MOTE_EPROTOCOL)
		CHECK(!strstr(s->err.message, "shutdown") && !strstr(s->err.message, "internal"));
	if (mote_sandbox_state(s->sandbox) == MOTE_STATE_READY) {
		(*lived)++;
		CHECK(CALL_U64(s, "data_address") != 0);
	} else {
		system_again(s);
	}
}

static int jump(struct system *s, uint64_t address, uint64_t value, bool stack)
{
	const struct mote_value arguments[] = {mote_u64(address), mote_u64(value),
					       mote_bool(stack)};
	struct mote_call call = *CALL_OF("jump_with", MOTE_VOID);
	call.arguments = arguments;
	call.argument_count = 3;
	call.timeout_ns = 50000000;
	return mote_sandbox_call(s->sandbox, &call, NULL, &s->err);
}

TEST(guest_doors__jumps_into_the_librarys_ring_3_code_hurt_the_guest_alone)
{
	struct system s;
	unsigned lived = 0, tried = 0;
	static const uint64_t values[] = {0, 1, MOTE__PAGE_GVA(MOTE__IST_PAGE) + 0x800,
					  MOTE__PARAMS_PAGE, UINT64_MAX};
	OPEN(&s, "sys_doors");
	const uint64_t data = CALL_U64(&s, "data_address");
	/* Each of its routines, at every byte. */
	static const uint16_t routines[][2] = {
		{0, 0x30}, {0x80, 0xA8}, {0x100, 0x11C}, {0x140, 0x14C}, {0x180, 0x18C}};
	for (unsigned i = 0; i < 5; i++)
		for (uint64_t at = routines[i][0]; at < routines[i][1]; at += 3) {
			uint64_t value = values[tried % 5] ? values[tried % 5] : data;
			int rc = jump(&s, MOTE__PROLOGUE_GVA + at, value, tried % 2);
			check_contained(&s, rc, &lived);
			tried++;
		}
	check_note("%u jumps, %u lived", tried, lived);
	system_close(&s);
}

TEST(guest_doors__the_copy_routine_copies_only_what_the_guest_may_write)
{
	struct system s;
	OPEN(&s, "sys_doors");
	/* RAX = page number: the parameters, the tables, run info. */
	static const uint64_t pages[] = {
		MOTE__PAGE_GVA(MOTE__PARAMS_PAGE) >> 12, MOTE__PAGE_GVA(MOTE__RUN_INFO_PAGE) >> 12,
		MOTE__PAGE_GVA(MOTE__LEAVES_PAGE) >> 12, MOTE__SELF_GVA >> 12, 1};
	for (unsigned i = 0; i < sizeof pages / sizeof *pages; i++) {
		CHECK_EQ(jump(&s, MOTE__COPY_GVA, pages[i], false), MOTE_EABORT);
		CHECK_HAS(s.err.message, "Exception: PageFault at 0xffff808000003");
		CHECK_EQ(s.err.error_code & 6, 6);
		CHECK(!strchr(s.err.message, '<')); /* no function of the guest */
		system_again(&s);
	}
	system_close(&s);
}

TEST(guest_doors__the_interrupt_stack_and_the_syscall_word_may_hold_anything)
{
	struct system s;
	OPEN(&s, "sys_doors", .snapshot.heap_bytes = 1 << 20);
	const uint64_t data = CALL_U64(&s, "data_address");
	for (unsigned i = 0; i < 4; i++) {
		static const uint8_t fill[] = {0xFF, 0, 0x41, 0x33};
		CALL_VOID(&s, "scribble", mote_u64(MOTE__PAGE_GVA(MOTE__IST_PAGE)), mote_u32(4096),
			  mote_u32(fill[i]));
		CHECK_EQ(CALL_I32(&s, "touch", mote_u64(data + (20 + i) * 4096)), 1);
	}
	system_close(&s);
}

TEST(guest_doors__faults_with_the_stack_pointer_anywhere_are_resolved_or_end_the_guest)
{
	struct system s;
	unsigned lived = 0;
	OPEN(&s, "sys_doors");
	const uint64_t data = CALL_U64(&s, "data_address");
	/* Interrupt stack, its edges, ring 0's pages, nothing, non-canonical. */
	const uint64_t stacks[] = {MOTE__IST_TOP,
				   MOTE__IST_TOP - 40,
				   MOTE__IST_TOP - 80,
				   MOTE__IST_TOP - 4096,
				   MOTE__PAGE_GVA(MOTE__PARAMS_PAGE) + 64,
				   MOTE__SELF_GVA + 4096,
				   0,
				   8,
				   1ull << 62,
				   UINT64_MAX,
				   data};
	for (unsigned i = 0; i < sizeof stacks / sizeof *stacks; i++) {
		const uint64_t page = data + (20 + i) * 4096;
		struct mote_value result;
		int rc = MOTE_CALL(s.sandbox, "fault_with_stack_at", &result, &s.err, MOTE_I32,
				   mote_u64(stacks[i]), mote_u64(page));
		if (rc == MOTE_OK)
			CHECK_EQ(result.i32, 77);
		check_contained(&s, rc, &lived);
	}
	/* The stack is not used by a fault. */
	CHECK_EQ(lived, sizeof stacks / sizeof *stacks);
	system_close(&s);
}

TEST(guest_doors__a_jump_to_ring_0_code_is_a_page_fault)
{
	struct system s;
	OPEN(&s, "sys_doors");
	for (unsigned page = 0; page < MOTE__MAPPED_PAGES; page++) {
		if (page == MOTE__SYSTEM_USER_PAGE)
			continue;
		CHECK_EQ(jump(&s, MOTE__PAGE_GVA(page), 0, false), MOTE_EABORT);
		CHECK_EQ(s.err.vector, 14);
		CHECK_EQ(s.err.error_code & 0x14, 0x14);
		system_again(&s);
	}
	system_close(&s);
}
