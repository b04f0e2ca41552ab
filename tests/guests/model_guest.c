/* SPDX-License-Identifier: MIT */
/* Reads and writes words where it is told, many in one call; memory of every kind to do that in. */
#include <mote_guest.h>

#include <stdlib.h>
#include <string.h>

#define PAGES   32
#define RECORDS 64

static uint64_t zeroes[PAGES][512] __attribute__((aligned(4096)));
/* Not all zero, so that it has pages of its own in the image. */
#define ROW(i)  [(i)] = {[7] = 100 + (i)}
#define ROW4(i) ROW(i), ROW((i) + 1), ROW((i) + 2), ROW((i) + 3)
static uint64_t data[PAGES][512] __attribute__((aligned(4096))) = {
	ROW4(0), ROW4(4), ROW4(8), ROW4(12), ROW4(16), ROW4(20), ROW4(24), ROW4(28)};

MOTE_EXPORT(uint64_t, zeroes_address)
{
	return (uint64_t)zeroes;
}

MOTE_EXPORT(uint64_t, data_address)
{
	return (uint64_t)data;
}

struct record {
	uint64_t address, value, is_write;
};

/* What was there, record for record; then the value is there if it is a write. */
MOTE_EXPORT(struct mote_bytes, touch, (struct mote_bytes, program))
{
	static uint64_t found[RECORDS];
	size_t count = program.len / sizeof(struct record);
	for (size_t i = 0; i < count && i < RECORDS; i++) {
		struct record r;
		memcpy(&r, (const char *)program.data + i * sizeof r, sizeof r);
		found[i] = *(volatile uint64_t *)r.address;
		if (r.is_write)
			*(volatile uint64_t *)r.address = r.value;
	}
	return (struct mote_bytes){.data = found, .len = count * sizeof found[0]};
}

MOTE_EXPORT(void, crash, (uint64_t, address))
{
	*(volatile uint64_t *)address = 1;
}
