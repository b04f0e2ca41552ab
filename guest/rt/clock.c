/* SPDX-License-Identifier: MIT */
/*
 * Clocks: what the host told at the start of this call, and the time stamp counter since. A
 * confined guest without a counter sees time stand still during a call. A host that tells nothing
 * gets the clock of the ABI: it starts at 0 and every look at it takes a second.
 */
#include "rt.h"

#define NS_PER_SECOND 1000000000u

static uint64_t counter(void)
{
	uint32_t low, high;
	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

static uint64_t since(uint64_t base_ns)
{
	const struct mote_abi_run_info *run = mote__guest.run;
	if (mote__guest.owns_ring_0)
		return mote__guest.synthetic_ns += NS_PER_SECOND;
	if (run->tsc_to_ns == 0)
		return base_ns;
	uint64_t ticks = counter() - run->tsc;
	return base_ns + (uint64_t)(((unsigned __int128)ticks * run->tsc_to_ns) >> 32);
}

uint64_t mote__guest_realtime_ns(void)
{
	return since(mote__guest.run->realtime_ns);
}

uint64_t mote__guest_monotonic_ns(void)
{
	return since(mote__guest.run->monotonic_ns);
}
