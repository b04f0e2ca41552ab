/* SPDX-License-Identifier: MIT */
/*
 * What the programs of tests/guests do not do, for hosts that are not ours: many pages, stacks,
 * exceptions by number, memory as it is. Built with general registers only, so that ring 0 may be
 * emulated.
 */
#include <mote_guest.h>

#include <alloca.h>
#include <stdlib.h>

MOTE_IMPORT(int32_t, plus_one, (int32_t, a));
MOTE_IMPORT(int32_t, refuses, (int32_t, a));
MOTE_IMPORT(int32_t, HostPrint, (const char *, text));

#define PAGES 1024

static uint64_t pages[PAGES * 512] __attribute__((aligned(4096)));

/* The error of the host function ends the call. */
MOTE_EXPORT(int32_t, let_fail, (int32_t, value))
{
	return refuses(value);
}

/* The guest goes on after it: code and text. */
MOTE_EXPORT(const char *, text_of_failure, (int32_t, value))
{
	int32_t result;
	return refuses_try(&result, value) == MOTE_GUEST_HOST_FUNCTION_ERROR
		       ? mote_guest_error_text()
		       : "another code";
}

/* count calls of a host function, each of what the last one said. */
MOTE_EXPORT(int32_t, chain, (int32_t, count))
{
	int32_t value = 0;
	while (count-- > 0)
		value = plus_one(value);
	return value;
}

MOTE_EXPORT(int32_t, print_length, (const char *, text))
{
	return HostPrint(text);
}

MOTE_EXPORT(int32_t, fill_pages, (int32_t, count), (uint64_t, seed))
{
	for (int32_t i = 0; i < count; i++)
		pages[i * 512 + i % 512] = seed + (uint64_t)i;
	return count;
}

/* Pages that hold something else than fill_pages wrote. */
MOTE_EXPORT(int32_t, wrong_pages, (int32_t, count), (uint64_t, seed))
{
	int32_t wrong = 0;
	for (int32_t i = 0; i < count; i++)
		wrong += pages[i * 512 + i % 512] != (seed ? seed + (uint64_t)i : 0);
	return wrong;
}

/* Stack of bytes, all of its pages written: their sum. */
MOTE_EXPORT(int32_t, use_stack, (int32_t, bytes))
{
	volatile uint8_t *block = alloca((size_t)bytes);
	int32_t sum = 0;
	for (int32_t i = 0; i < bytes; i += 4096)
		block[i] = 1;
	for (int32_t i = 0; i < bytes; i += 4096)
		sum += block[i];
	return sum;
}

static uint8_t kept[256 << 10];
static uint32_t kept_bytes;

/* bytes of the same value behind those of earlier calls, whose values were smaller: bytes that are
 * not in order. */
MOTE_EXPORT(int32_t, keep, (uint32_t, bytes), (uint32_t, value))
{
	int32_t wrong = 0;
	if (bytes > sizeof kept - kept_bytes)
		mote_guest_fail(MOTE_GUEST_MALLOC_FAILED, "no room for %u bytes", bytes);
	for (uint32_t i = 0; i < bytes; i++)
		kept[kept_bytes + i] = (uint8_t)value;
	kept_bytes += bytes;
	for (uint32_t i = 1; i < kept_bytes; i++)
		wrong += kept[i] < kept[i - 1];
	return wrong;
}

MOTE_EXPORT(uint32_t, kept_length)
{
	return kept_bytes;
}

static uint8_t *grown;
static uint32_t grown_bytes;

/* The same with a block of the heap, that is made larger each time. */
MOTE_EXPORT(int32_t, grow, (uint32_t, bytes), (uint32_t, value))
{
	int32_t wrong = 0;
	uint8_t *larger = realloc(grown, grown_bytes + bytes);
	if (!larger)
		mote_guest_fail(MOTE_GUEST_MALLOC_FAILED, "no memory for %u bytes",
				grown_bytes + bytes);
	for (uint32_t i = 0; i < bytes; i++)
		larger[grown_bytes + i] = (uint8_t)value;
	grown = larger;
	grown_bytes += bytes;
	for (uint32_t i = 1; i < grown_bytes; i++)
		wrong += grown[i] < grown[i - 1];
	return wrong;
}

MOTE_EXPORT(uint32_t, grown_length)
{
	return grown_bytes;
}

/* calloc of so many bytes: those of them that are not 0, which makes them 0xFF before it is freed.
 */
MOTE_EXPORT(int32_t, dirty_zeroes, (uint32_t, bytes))
{
	uint8_t *block = calloc(1, bytes);
	int32_t wrong = 0;
	if (!block)
		return -1;
	for (uint32_t i = 0; i < bytes; i++) {
		wrong += block[i] != 0;
		((volatile uint8_t *)block)[i] = 0xFF;
	}
	free(block);
	return wrong;
}

MOTE_EXPORT(void, raise, (int32_t, vector))
{
	switch (vector) {
	case 3:
		__asm__ volatile("int3");
		break;
	case 6:
		__asm__ volatile("ud2");
		break;
	case 13:
		__asm__ volatile("mov $0x7FF8, %%eax\n\tmov %%eax, %%ds" ::: "rax");
		break;
	case 0:
		__asm__ volatile("xor %%edx, %%edx\n\txor %%ecx, %%ecx\n\tdiv %%ecx" ::
					 : "rax", "rcx", "rdx");
		break;
	default:
		mote_guest_fail(1, "vector %d is not known", vector);
	}
}

/* Direction flag, all general registers and DR0 of no meaning when the call ends. */
MOTE_EXPORT(int32_t, leave_rubbish)
{
	__asm__ volatile("mov $-1, %%rax\n\tmov %%rax, %%rcx\n\tmov %%rax, %%rdx\n\tmov %%rax, "
			 "%%rsi\n\tmov %%rax, %%rdi\n\tmov %%rax, %%r8\n\tmov %%rax, "
			 "%%r9\n\tmov %%rax, %%r10\n\tmov %%rax, %%r11\n\tmov %%rax, "
			 "%%r12\n\tmov %%rax, %%r13\n\tmov %%rax, %%r14\n\tmov %%rax, "
			 "%%r15\n\tmov %%rax, %%rbx" ::
				 : "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10",
				   "r11", "r12", "r13", "r14", "r15");
	return 1;
}

MOTE_EXPORT(void, out_port, (int32_t, port))
{
	__asm__ volatile("out %%al, %%dx" : : "a"(0), "d"(port));
}

MOTE_EXPORT(uint64_t, generation)
{
	return mote_guest_generation();
}

/* Memory as it is, for instance page tables in scratch. */
MOTE_EXPORT(struct mote_bytes, bytes_at, (uint64_t, address), (uint32_t, len))
{
	return (struct mote_bytes){(const void *)address, len};
}
