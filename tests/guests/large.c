/* SPDX-License-Identifier: MIT */
/*
 * Constants of four whole large pages and more, and memory touched as the host says. A page's first
 * word is its number; the rest looks like entries of page tables to who takes them for that:
 * writable ones and copy-on-write ones, 2 MiB of each in turns. Data lie behind them.
 */
#include <mote_guest.h>

#define PAGES 2560 /* 10 MiB */

__asm__(".pushsection .rodata.large, \"a\"\n"
	".p2align 12\n"
	".globl large_constants\n"
	"large_constants:\n"
	".set i, 0\n"
	".rept 2560\n"
	".quad i\n"
	".if i & 512\n"
	".fill 511, 8, 0x4265\n" /* present, user, accessed, dirty, copy-on-write */
	".else\n"
	".fill 511, 8, 0x4067\n" /* present, writable, user, accessed, dirty */
	".endif\n"
	".set i, i + 1\n"
	".endr\n"
	".popsection\n");
extern const uint64_t large_constants[];

static uint64_t data[512] __attribute__((aligned(4096))) = {7};

MOTE_EXPORT(uint64_t, constants_address)
{
	return (uint64_t)large_constants;
}

MOTE_EXPORT(uint64_t, data_address)
{
	return (uint64_t)data;
}

MOTE_EXPORT(uint64_t, init_address)
{
	return (uint64_t)mote_guest_init_data().data;
}

MOTE_EXPORT(uint64_t, init_bytes)
{
	return mote_guest_init_data().len;
}

MOTE_EXPORT(uint64_t, read64, (uint64_t, address))
{
	return *(volatile uint64_t *)address;
}

MOTE_EXPORT(uint32_t, read8, (uint64_t, address))
{
	return *(volatile uint8_t *)address;
}

MOTE_EXPORT(void, write64, (uint64_t, address), (uint64_t, value))
{
	*(volatile uint64_t *)address = value;
}

/* The sum of the first words of [address, address + pages * 4096). */
MOTE_EXPORT(uint64_t, read_pages, (uint64_t, address), (uint64_t, pages))
{
	uint64_t sum = 0;
	for (uint64_t i = 0; i < pages; i++)
		sum += *(volatile uint64_t *)(address + i * 4096);
	return sum;
}

/* Of the constants' pages, how many do not begin with their number. */
MOTE_EXPORT(uint64_t, check_constants)
{
	uint64_t bad = 0;
	for (uint64_t i = 0; i < PAGES; i++)
		bad += ((const volatile uint64_t *)large_constants)[i * 512] != i;
	return bad;
}

MOTE_EXPORT(void, execute, (uint64_t, address))
{
	((void (*)(void))address)();
}

MOTE_EXPORT(uint64_t, count, (uint64_t, by))
{
	data[1] += by;
	return data[1];
}
