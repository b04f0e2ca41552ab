/* SPDX-License-Identifier: MIT */
/* The guest of hello.c: a declaration says once what the host sees and what the C function is. */
#include <mote_guest.h>
#include <stdio.h>

MOTE_EXPORT(int32_t, add, (int32_t, a), (int32_t, b))
{
	return a + b;
}

MOTE_EXPORT(const char *, greet, (const char *, name))
{
	static char text[100];
	snprintf(text, sizeof text, "Hello, %s, from inside a virtual machine!", name);
	return text;
}
