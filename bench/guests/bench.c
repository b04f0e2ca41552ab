/* SPDX-License-Identifier: MIT */
/* The guest of most benchmarks. */
#include <mote_guest.h>

MOTE_IMPORT(int32_t, nop);

MOTE_EXPORT(int32_t, add, (int32_t, a), (int32_t, b))
{
	return a + b;
}

MOTE_EXPORT(struct mote_bytes, echo, (struct mote_bytes, value))
{
	return value;
}

/* count calls of the host. */
MOTE_EXPORT(int32_t, call_host, (int32_t, count))
{
	int32_t sum = 0;
	for (int32_t i = 0; i < count; i++)
		sum += nop();
	return sum;
}

MOTE_EXPORT(void, spin)
{
	for (;;)
		__asm__ volatile("");
}
