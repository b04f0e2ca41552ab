/* SPDX-License-Identifier: MIT */
/* A failed assert() ends the program with its text. */
#include "rt.h"

_Noreturn void __assert_fail(const char *expression, const char *file, int line,
			     const char *function);

_Noreturn void __assert_fail(const char *expression, const char *file, int line,
			     const char *function)
{
	MOTE__GUEST_TEXT(text);
	mote__guest_flush();
	mote__guest_add(&text, "Assertion failed: ");
	mote__guest_add(&text, expression);
	mote__guest_add(&text, " (");
	mote__guest_add(&text, file);
	mote__guest_add(&text, ": ");
	mote__guest_add(&text, function);
	mote__guest_add(&text, ": ");
	mote__guest_add_decimal(&text, (uint64_t)line);
	mote__guest_add(&text, ")");
	mote__guest_abort(MOTE_GUEST_UNKNOWN_ERROR, text.data, text.len);
}
