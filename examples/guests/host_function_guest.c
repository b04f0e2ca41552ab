/* SPDX-License-Identifier: MIT */
/* The guest of host_function.c: asks the application for prices. */
#include <mote_guest.h>

MOTE_IMPORT(double, price, (const char *, item));

/* An error of price() ends this call with the same error. */
MOTE_EXPORT(double, total, (const char *, item), (int32_t, count))
{
	return price(item) * count;
}

/* price_try() returns the error instead. */
MOTE_EXPORT(bool, is_sold, (const char *, item))
{
	double ignored;
	return price_try(&ignored, item) == 0;
}
