/* SPDX-License-Identifier: MIT */
/*
 * The guest of the SDK for the side-by-side benchmark. It exports what the guest made of the
 * published crates has under the same names, so that both programs can run either. Built without
 * SSE: where the kernel emulates ring 0, a host that does not confine it runs it there.
 */
#include <mote_guest.h>

#define PAGE_WORDS 512
#define PAGES      256

static volatile uint64_t pages[PAGES][PAGE_WORDS]
	__attribute__((aligned(4096))) = {[0 ... PAGES - 1] = {1}};
static int32_t counter;

MOTE_IMPORT(int32_t, HostEchoInt, (int32_t, value));

MOTE_EXPORT(void, Nothing)
{
}

MOTE_EXPORT(int32_t, Add, (int32_t, a), (int32_t, b))
{
	return (int32_t)((uint32_t)a + (uint32_t)b);
}

/* Call the host count times. */
MOTE_EXPORT(int32_t, CallTimes, (int32_t, count))
{
	uint32_t sum = 0;
	for (int32_t i = 0; i < count; i++)
		sum += (uint32_t)HostEchoInt(i);
	return (int32_t)sum;
}

MOTE_EXPORT(int32_t, LengthOf, (struct mote_bytes, value))
{
	return (int32_t)value.len;
}

MOTE_EXPORT(int32_t, Count, (int32_t, by))
{
	counter = (int32_t)((uint32_t)counter + (uint32_t)by);
	return counter;
}

/* Write one word of each of the first count pages. */
MOTE_EXPORT(int32_t, FillPages, (int32_t, count), (int32_t, value))
{
	for (int32_t i = 0; i < count && i < PAGES; i++)
		pages[i][0] = (uint32_t)value + (uint32_t)i;
	return count;
}

MOTE_EXPORT(uint64_t, SumPages, (int32_t, count))
{
	uint64_t sum = 0;
	for (int32_t i = 0; i < count && i < PAGES; i++)
		sum += pages[i][0];
	return sum;
}
