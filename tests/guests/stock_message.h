/* SPDX-License-Identifier: MIT */
/*
 * What bare stock guests of family S share: where things are, and messages read and written by
 * hand. General registers alone, and no memory but the buffers.
 */
#ifndef MOTE_TESTS_STOCK_MESSAGE_H
#define MOTE_TESTS_STOCK_MESSAGE_H

#include <stdint.h>

/* Behind scratch's linear map, and what it adds to a physical address. */
#ifdef __i386__
#define TOP    0x100000000ull
#define LINEAR 0x1200000ull
#else
#define TOP    0xFFFFFFFFFFFFF000ull
#define LINEAR 0xFFFFFFEFFFFFF000ull
#endif
#define TOP_WORD(below) (*(volatile uint64_t *)(uintptr_t)(TOP - (below)))
#define PAGE            4096ull
#define OP(a, b, c, d) \
	((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)

struct peb {
	uint64_t input_bytes, input, output_bytes, output, init_bytes, init, heap_bytes, heap;
};

static inline void out32(uint16_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline uint32_t load32(const uint8_t *at)
{
	uint32_t value;
	__builtin_memcpy(&value, at, 4);
	return value;
}

static inline uint64_t load64(const uint8_t *at)
{
	uint64_t value;
	__builtin_memcpy(&value, at, 8);
	return value;
}

static inline void store64(uint8_t *at, uint64_t value)
{
	__builtin_memcpy(at, &value, 8);
}

/* Field id of a table, or 0. */
static inline const uint8_t *field(const uint8_t *table, unsigned id)
{
	const uint8_t *vtable = table - (int32_t)load32(table);
	unsigned bytes = load32(vtable) & 0xFFFF, at = 4 + 2 * id;
	unsigned offset = at + 2 <= bytes ? load32(vtable + at) & 0xFFFF : 0;
	return offset ? table + offset : 0;
}

static inline const uint8_t *follow(const uint8_t *at)
{
	return at + load32(at);
}

static inline const uint8_t *top_of_input(const struct peb *peb)
{
	const uint8_t *input = (const uint8_t *)(uintptr_t)peb->input;
	return input + load64(input + load64(input) - 8);
}

static inline void pop_input(const struct peb *peb)
{
	uint8_t *input = (uint8_t *)(uintptr_t)peb->input;
	uint64_t pointer = load64(input), at = load64(input + pointer - 8);
	for (uint64_t i = at; i < pointer; i++)
		input[i] = 0;
	store64(input, at);
}

static inline void push(const struct peb *peb, const uint8_t *message, uint64_t bytes)
{
	uint8_t *output = (uint8_t *)(uintptr_t)peb->output;
	uint64_t at = load64(output);
	for (uint64_t i = 0; i < bytes; i++)
		output[at + i] = message[i];
	store64(output + at + bytes, at);
	store64(output, at + bytes + 8);
}

/* A result that is a ULong. */
static inline void push_u64(const struct peb *peb, uint64_t value)
{
	static const uint8_t message[72] = {
		0x44, 0, 0, 0, 0x10, 0, 0,    0,    0, 0, 0, 0, 8, 0,    0x0c, 0, 7, 0, 8, 0, 8,
		0,    0, 0, 0, 0,    0, 1,    0x0c, 0, 0, 0, 8, 0, 0x0e, 0,    7, 0, 8, 0, 8, 0,
		0,    0, 0, 0, 0,    4, 0x0c, 0,    0, 0, 0, 0, 6, 0,    0x0c, 0, 4, 0, 6};
	uint8_t *output = (uint8_t *)(uintptr_t)peb->output;
	uint64_t at = load64(output);
	push(peb, message, sizeof message);
	store64(output + at + 64, value);
}

/* The call's name and parameters. */
static inline uint32_t read_call(const struct peb *peb, uint64_t a[4])
{
	const uint8_t *call = follow(top_of_input(peb) + 4);
	uint32_t op = load32(follow(field(call, 0)) + 4);
	const uint8_t *list = field(call, 1);
	uint32_t count = list ? load32(follow(list)) : 0;
	for (uint32_t i = 0; i < 4; i++)
		a[i] = 0;
	for (uint32_t i = 0; i < count && i < 4; i++) {
		const uint8_t *parameter = follow(follow(list) + 4 + 4 * i);
		const uint8_t *value = field(follow(field(parameter, 1)), 0);
		a[i] = value ? load64(value) : 0;
	}
	pop_input(peb);
	return op;
}

#endif
