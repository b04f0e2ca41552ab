/* SPDX-License-Identifier: MIT */
/* Memory of every kind, at addresses that the host knows, touched as the host says. */
#include <mote_guest.h>

#include <stdlib.h>
#include <string.h>

#define PAGES 64

static uint8_t zeroes[PAGES * 4096] __attribute__((aligned(4096)));
/* Page i begins with 1 or 0 and ends with 1000 + i. */
#define PAGE(i)   [(i)*512 + 511] = 1000 + (i)
#define PAGE4(i)  PAGE(i), PAGE((i) + 1), PAGE((i) + 2), PAGE((i) + 3)
#define PAGE16(i) PAGE4(i), PAGE4((i) + 4), PAGE4((i) + 8), PAGE4((i) + 12)
static uint64_t data[PAGES * 512]
	__attribute__((aligned(4096))) = {[0] = 1, PAGE16(0), PAGE16(16), PAGE16(32), PAGE16(48)};
static const uint8_t constants[4096] __attribute__((aligned(4096))) = {7};

MOTE_EXPORT(uint64_t, zeroes_address)
{
	return (uint64_t)zeroes;
}

MOTE_EXPORT(uint64_t, data_address)
{
	return (uint64_t)data;
}

MOTE_EXPORT(uint64_t, constants_address)
{
	return (uint64_t)constants;
}

MOTE_EXPORT(uint64_t, stack_address)
{
	uint64_t address;
	__asm__ volatile("mov %%rsp, %0" : "=r"(address));
	return address;
}

MOTE_EXPORT(uint64_t, read64, (uint64_t, address))
{
	return *(volatile uint64_t *)address;
}

MOTE_EXPORT(void, write64, (uint64_t, address), (uint64_t, value))
{
	*(volatile uint64_t *)address = value;
}

/* Read a word of every page of [address, address + pages * 4096): their sum. */
MOTE_EXPORT(uint64_t, read_pages, (uint64_t, address), (uint64_t, pages))
{
	uint64_t sum = 0;
	for (uint64_t i = 0; i < pages; i++)
		sum += *(volatile uint64_t *)(address + i * 4096);
	return sum;
}

/* Write seed + i to a word of page i, another word in each. */
MOTE_EXPORT(void, write_pages, (uint64_t, address), (uint64_t, pages), (uint64_t, seed))
{
	for (uint64_t i = 0; i < pages; i++)
		((volatile uint64_t *)(address + i * 4096))[i * 7 % 512] = seed + i;
}

/* Pages where that is not there, or where something else is. */
MOTE_EXPORT(uint64_t, check_pages, (uint64_t, address), (uint64_t, pages), (uint64_t, seed))
{
	uint64_t bad = 0;
	for (uint64_t i = 0; i < pages; i++) {
		volatile uint64_t *page = (volatile uint64_t *)(address + i * 4096);
		bad += page[i * 7 % 512] != seed + i || page[(i * 7 + 1) % 512] != 0;
	}
	return bad;
}

MOTE_EXPORT(void, execute, (uint64_t, address))
{
	((void (*)(void))address)();
}

/* malloc in blocks of 1 MiB, all written; blocks got. */
MOTE_EXPORT(uint64_t, take_mebibytes, (uint64_t, count))
{
	uint64_t got = 0;
	for (; got < count; got++) {
		uint8_t *block = malloc(1 << 20);
		if (!block)
			break;
		memset(block, (int)got, 1 << 20);
	}
	return got;
}
