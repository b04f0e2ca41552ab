/* SPDX-License-Identifier: MIT */
/* Floating point in, out and between: apart, so that the other guests stay in general registers. */
#include <mote_guest.h>

MOTE_IMPORT(double, twice, (double, value));

MOTE_EXPORT(float, echo_f32, (float, value))
{
	return value;
}

MOTE_EXPORT(double, echo_f64, (double, value))
{
	return value;
}

MOTE_EXPORT(double, mean, (float, a), (double, b))
{
	return ((double)a + b) / 2;
}

MOTE_EXPORT(double, four_times, (double, value))
{
	return twice(twice(value));
}

MOTE_EXPORT(void, fail_with, (double, value))
{
	mote_guest_fail(MOTE_GUEST_ERROR, "the value is %.3f", value);
}
