/* SPDX-License-Identifier: MIT */
/* The guest of threads.c: keeps a sum in its memory, and tells the host now and then. */
#include <mote_guest.h>

MOTE_IMPORT(void, progress, (int64_t, sum));

static int64_t sum;

MOTE_EXPORT(int64_t, add, (int64_t, n))
{
	sum += n;
	if (n % 500 == 0)
		progress(sum);
	return sum;
}
