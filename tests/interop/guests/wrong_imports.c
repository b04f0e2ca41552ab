/* SPDX-License-Identifier: MIT */
/*
 * Imports that the host lacks or has with other types. Our host refuses such an image; one that
 * does not know its list of imports answers each call with an error.
 */
#include <mote_guest.h>

MOTE_IMPORT(int32_t, absent);
MOTE_IMPORT(int32_t, of_two, (int32_t, a));
MOTE_IMPORT(int32_t, of_string, (int32_t, a));
MOTE_IMPORT(int32_t, gives_string);

static int result_of(int32_t which, int32_t *result)
{
	switch (which) {
	case 0:
		return absent_try(result);
	case 1:
		return of_two_try(result, 1);
	case 2:
		return of_string_try(result, 5);
	default:
		return gives_string_try(result);
	}
}

/* Code of the error of a host function, which the guest goes on after; 0 without an error. */
MOTE_EXPORT(int32_t, code_of, (int32_t, which))
{
	int32_t result;
	return result_of(which, &result);
}

MOTE_EXPORT(const char *, text_of, (int32_t, which))
{
	int32_t result;
	return result_of(which, &result) ? mote_guest_error_text() : "no error";
}

MOTE_EXPORT(int32_t, call_absent)
{
	return absent();
}
