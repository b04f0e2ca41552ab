/* SPDX-License-Identifier: MIT */
/* A guest that misbehaves: one exported function for each way to end badly. */
#include <mote_guest.h>

#include <assert.h>
#include <stdlib.h>

static const int32_t constant = 7;
static uint8_t code_in_data[] = {0xC3}; /* ret */

/* What the compiler may not see through. */
static void *hide(uint64_t address)
{
	void *hidden = (void *)address;
	__asm__ volatile("" : "+r"(hidden));
	return hidden;
}

/* Writes, so that a call can be made before and after the others. */
MOTE_EXPORT(int32_t, count_up)
{
	static int32_t count;
	return ++count;
}

MOTE_EXPORT(int32_t, read_at, (uint64_t, address))
{
	return *(volatile int32_t *)hide(address);
}

MOTE_EXPORT(void, write_at, (uint64_t, address), (int32_t, value))
{
	*(volatile int32_t *)hide(address) = value;
}

MOTE_EXPORT(void, jump_to, (uint64_t, address))
{
	__asm__ volatile("call *%0" : : "r"(address) : "memory");
}

MOTE_EXPORT(int32_t, read_null)
{
	return *(volatile int32_t *)hide(0);
}

MOTE_EXPORT(void, write_constant)
{
	*(volatile int32_t *)hide((uint64_t)&constant) = 8;
}

MOTE_EXPORT(void, write_code)
{
	*(volatile uint8_t *)hide((uint64_t)&hide) = 0x90;
}

MOTE_EXPORT(void, execute_data)
{
	((void (*)(void))hide((uint64_t)code_in_data))();
}

MOTE_EXPORT(void, execute_stack)
{
	volatile uint8_t code = 0xC3;
	((void (*)(void))hide((uint64_t)&code))();
}

MOTE_EXPORT(void, execute_heap)
{
	uint8_t *code = mote_guest_scratch(16);
	*code = 0xC3;
	((void (*)(void))hide((uint64_t)code))();
}

MOTE_EXPORT(void, call_null)
{
	((void (*)(void))hide(0))();
}

static int32_t recurse(int32_t depth)
{
	volatile uint8_t frame[512];
	frame[0] = (uint8_t)depth;
	frame[511] = frame[0];
	return depth == 0 ? 0 : recurse(depth - 1) + frame[511];
}

MOTE_EXPORT(int32_t, recurse_to, (int32_t, depth))
{
	return recurse(depth);
}

MOTE_EXPORT(int32_t, overflow_stack)
{
	return recurse(INT32_MAX);
}

MOTE_EXPORT(int32_t, divide, (int32_t, a), (int32_t, b))
{
	__asm__ volatile("cltd\n\tidivl %1" : "+a"(a) : "r"(b) : "edx");
	return a;
}

MOTE_EXPORT(void, undefined_instruction)
{
	__asm__ volatile("ud2");
}

MOTE_EXPORT(void, privileged_instruction)
{
	__asm__ volatile("cli");
}

MOTE_EXPORT(int32_t, non_canonical)
{
	return *(volatile int32_t *)hide(1ull << 62);
}

MOTE_EXPORT(void, misaligned_vector_load)
{
	uint8_t bytes[32];
	__asm__ volatile("and $-16, %0\n\tmovaps 1(%0), %%xmm0" : : "r"(bytes) : "memory");
}

MOTE_EXPORT(void, abort_with, (uint32_t, code), (const char *, text))
{
	mote_guest_abort((uint8_t)code, text);
}

MOTE_EXPORT(void, fail_with, (uint64_t, code), (const char *, text))
{
	mote_guest_fail(code, "%s", text);
}

static int32_t descend(int32_t depth)
{
	volatile uint8_t frame[100];
	frame[0] = 0;
	if (depth == 0)
		mote_guest_fail(77, "deep: %d %s", depth, "done");
	return depth > 0 ? descend(depth - 1) + frame[0] : 0;
}

MOTE_EXPORT(void, fail_deep, (int32_t, depth))
{
	(void)descend(depth);
}

MOTE_EXPORT(void, assert_that, (bool, condition))
{
	assert(condition);
}

MOTE_EXPORT(void, call_exit, (int32_t, status))
{
	exit(status);
}

MOTE_EXPORT(void, call_abort)
{
	abort();
}

MOTE_EXPORT(void, loop_forever)
{
	for (;;)
		__asm__ volatile("pause");
}

/* Touches every page of the heap until there is none left; bytes got. */
MOTE_EXPORT(uint64_t, exhaust_heap)
{
	uint64_t total = 0;
	for (;;) {
		volatile uint8_t *block = malloc(4096);
		if (!block)
			return total;
		block[0] = 1;
		total += 4096;
	}
}

MOTE_EXPORT(void, exhaust_scratch)
{
	for (;;)
		*(volatile uint8_t *)mote_guest_scratch(4096) = 1;
}

MOTE_EXPORT(void, write_input, (struct mote_bytes, value))
{
	*(volatile uint8_t *)hide((uint64_t)value.data) = 1;
}

/* A result that is larger than any output buffer that fits the heap. */
MOTE_EXPORT(struct mote_bytes, big_result, (uint32_t, len))
{
	static uint8_t bytes[1 << 20];
	return (struct mote_bytes){bytes, len < sizeof bytes ? len : sizeof bytes};
}

MOTE_EXPORT(struct mote_string, bad_string)
{
	static const char text[] = "ab\xFFtext";
	return (struct mote_string){text, sizeof text - 1};
}

MOTE_EXPORT(void, bad_fail_text)
{
	mote_guest_fail(15, "%s",
			"ab\xFF"
			"cd");
}

MOTE_EXPORT(void, smash_stack)
{
	extern _Noreturn void __stack_chk_fail(void);
	__stack_chk_fail();
}

/* Leave odd flags, data selectors, FS base and a deep red zone behind, then return. */
MOTE_EXPORT(int32_t, odd_state)
{
	__asm__ volatile("std\n\tcld\n\tmov $0x2b, %%eax\n\tmov %%eax, %%ds\n\tmov %%eax, %%es"
			 :
			 :
			 : "eax", "memory");
	return 1;
}

MOTE_EXPORT(void, change_fs)
{
	__asm__ volatile("wrfsbase %0" : : "r"(0x1234567000ull));
}
