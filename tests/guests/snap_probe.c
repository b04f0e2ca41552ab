/* SPDX-License-Identifier: MIT */
/*
 * A guest for the tests of snapshots: reads and writes memory of every kind as the host says, fills
 * all that it can reach with a value, and looks for one. Tells what its registers were when it was
 * called (snap_entry.S).
 */
#include "snap_probe.h"

#include <mote_guest.h>

#include <string.h>

#define PAGE 4096

/* struct snap_fill of snap_probe.h. */
extern uint8_t snap_state[PAGE], snap_vectors[SNAP_VECTORS_BYTES];
_Noreturn void snap_fill_and_end(const void *fill);
void snap_load(uint32_t selector, uint32_t which);

extern struct {
	const struct mote_abi_run_info *run;
} mote__guest;

/* Page i begins with 1000 + i, which the linker cannot leave out. */
#define ONE(i)     [(i)*512] = 1000 + (i)
#define FOUR(i)    ONE(i), ONE((i) + 1), ONE((i) + 2), ONE((i) + 3)
#define SIXTEEN(i) FOUR(i), FOUR((i) + 4), FOUR((i) + 8), FOUR((i) + 12)
static uint64_t data[SNAP_PAGES * 512] __attribute__((aligned(PAGE))) = {
	SIXTEEN(0), SIXTEEN(16), SIXTEEN(32), SIXTEEN(48), SIXTEEN(64), SIXTEEN(80)};
static uint8_t zeroes[SNAP_PAGES * PAGE] __attribute__((aligned(PAGE)));
static const uint64_t constants[512] __attribute__((aligned(PAGE))) = {7};

MOTE_EXPORT(uint64_t, place, (uint32_t, which))
{
	const struct mote_abi_run_info *run = mote__guest.run;
	const uint64_t places[] = {
		[SNAP_PLACE_STATE] = (uint64_t)snap_state,
		[SNAP_PLACE_VECTORS] = (uint64_t)snap_vectors,
		[SNAP_PLACE_DATA] = (uint64_t)data,
		[SNAP_PLACE_ZEROES] = (uint64_t)zeroes,
		[SNAP_PLACE_CONSTANTS] = (uint64_t)constants,
		[SNAP_PLACE_HEAP] = run->heap_first + run->heap_bytes / 2,
		[SNAP_PLACE_STACK] = run->stack_first,
		[SNAP_PLACE_OUTPUT] = run->output,
		[SNAP_PLACE_OUTPUT_BYTES] = run->output_bytes,
		[SNAP_PLACE_INPUT] = run->input,
		[SNAP_PLACE_RUN_INFO] = (uint64_t)run,
		[SNAP_PLACE_SYSCALL_WORD] = run->syscall_word,
		[SNAP_PLACE_HEAP_BYTES] = run->heap_bytes,
		[SNAP_PLACE_STACK_BYTES] = run->stack_top - run->stack_first,
	};
	return which < sizeof places / sizeof *places ? places[which] : 0;
}

MOTE_EXPORT(void, nothing)
{
}

static uint64_t mix(uint64_t h, uint64_t x)
{
	h = (h ^ x) * 0x9E3779B97F4A7C15;
	return h ^ h >> 29;
}

struct step {
	uint64_t address; /* bit 0: write */
	uint64_t value;
};

/* Steps one after the other; a hash of all that was read. */
MOTE_EXPORT(uint64_t, script, (struct mote_bytes, steps))
{
	const uint8_t *at = steps.data;
	uint64_t h = 1;
	for (uint64_t i = 0; i + sizeof(struct step) <= steps.len; i += sizeof(struct step)) {
		struct step step;
		memcpy(&step, at + i, sizeof step);
		volatile uint64_t *word = (volatile uint64_t *)(step.address & ~7ull);
		h = mix(h, *word);
		if (step.address & 1)
			*word = step.value;
	}
	return h;
}

/* A hash of whole pages. */
MOTE_EXPORT(uint64_t, scan, (uint64_t, address), (uint64_t, pages))
{
	const volatile uint64_t *word = (const volatile uint64_t *)address;
	uint64_t h = 1;
	for (uint64_t i = 0; i < pages * 512; i++)
		h = mix(h, word[i]);
	return h;
}

/* How many words of two ranges differ. */
MOTE_EXPORT(uint64_t, different, (uint64_t, a), (uint64_t, b), (uint64_t, bytes))
{
	uint64_t count = 0;
	for (uint64_t i = 0; i < bytes / 8; i++)
		count += ((const volatile uint64_t *)a)[i] != ((const volatile uint64_t *)b)[i];
	return count;
}

MOTE_EXPORT(void, write64, (uint64_t, address), (uint64_t, value))
{
	*(volatile uint64_t *)address = value;
}

MOTE_EXPORT(uint64_t, read64, (uint64_t, address))
{
	return *(volatile uint64_t *)address;
}

/* Fill [address, address + bytes) with value. */
MOTE_EXPORT(void, fill, (uint64_t, address), (uint64_t, bytes), (uint64_t, value))
{
	volatile uint64_t *word = (volatile uint64_t *)address;
	for (uint64_t i = 0; i < bytes / 8; i++)
		word[i] = value;
}

/* Write a word of each page. */
MOTE_EXPORT(void, touch, (uint64_t, address), (uint64_t, pages), (uint64_t, value))
{
	for (uint64_t i = 0; i < pages; i++)
		*(volatile uint64_t *)(address + i * PAGE) = value + i;
}

#define ODD 0xD1342543DE82EF95

/* How many words are x, of which times_odd is x * ODD: x itself is in no register and no memory of
 * this search. */
MOTE_EXPORT(uint64_t, search, (uint64_t, address), (uint64_t, bytes), (uint64_t, times_odd))
{
	const volatile uint64_t *word = (const volatile uint64_t *)address;
	uint64_t found = 0;
	for (uint64_t i = 0; i < bytes / 8; i++)
		found += word[i] * ODD == times_odd;
	return found;
}

/* The whole output buffer becomes value, but for message, which is what the host pops; then every
 * register, and the call ends. */
MOTE_EXPORT(void, fill_and_end, (struct mote_bytes, message), (struct mote_bytes, registers),
	    (uint64_t, value))
{
	static uint8_t copy[SNAP_FILL_SIZE];
	uint8_t *out = (uint8_t *)mote__guest.run->output;
	uint64_t first = 8, end = 8 + message.len + 8;
	for (uint64_t i = 0; i < mote__guest.run->output_bytes / 8; i++)
		((volatile uint64_t *)out)[i] = value;
	memcpy(out, &end, 8);
	memcpy(out + 8, message.data, message.len);
	memcpy(out + 8 + message.len, &first, 8);
	memcpy(copy, registers.data, registers.len < sizeof copy ? registers.len : sizeof copy);
	snap_fill_and_end(copy);
}

MOTE_EXPORT(void, load_selector, (uint32_t, selector), (uint32_t, which))
{
	snap_load(selector, which);
}

/* Nothing is mapped there. */
static void fault(void)
{
	uint64_t address = 8;
	__asm__ volatile("incq (%0)" : : "r"(address) : "memory");
}

static void out32(uint32_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %w1" : : "a"(value), "d"(port) : "memory");
}

MOTE_EXPORT(void, end_badly, (uint32_t, how))
{
	uint32_t value;
	switch (how) {
	case SNAP_END_FAULT:
		fault();
		break;
	case SNAP_END_ABORT:
		mote_guest_abort(9, "as asked");
	case SNAP_END_LOOP:
		for (;;)
			__asm__ volatile("incq %%rax" : : : "rax");
	case SNAP_END_MEMORY:
		for (uint64_t at = mote__guest.run->heap_bytes / 2;
		     at < mote__guest.run->heap_bytes; at += PAGE)
			*(volatile uint64_t *)(mote__guest.run->heap_first + at) = at;
		break;
	case SNAP_END_OPCODE:
		__builtin_trap();
	case SNAP_END_PORT:
		out32(100, 1);
		break;
	case SNAP_END_IN:
		__asm__ volatile("inl %w1, %0" : "=a"(value) : "d"(MOTE_ABI_PORT_CALL));
		break;
	case SNAP_END_HALF:
		out32(MOTE_ABI_PORT_ABORT, 0x41414103);
		fault();
		break;
	default:
		out32(MOTE_ABI_PORT_CALL, 0);
	}
}
