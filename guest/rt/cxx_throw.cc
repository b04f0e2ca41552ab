// SPDX-License-Identifier: MIT
//
// What the headers of GCC's C++ library call where they would throw: without exceptions the call
// ends with an error instead.
#include <mote_guest.h>

#include <stdarg.h>
#include <stdio.h>

namespace std
{

#define ENDS(name)                                                                            \
	[[noreturn]] void name(const char *what);                                             \
	void name(const char *what)                                                           \
	{                                                                                     \
		mote_guest_fail(MOTE_GUEST_UNKNOWN_ERROR, "%s: %s", #name, what ? what : ""); \
	}
#define ENDS_SILENT(name)                                               \
	[[noreturn]] void name();                                       \
	void name()                                                     \
	{                                                               \
		mote_guest_fail(MOTE_GUEST_UNKNOWN_ERROR, "%s", #name); \
	}

ENDS(__throw_domain_error)
ENDS(__throw_invalid_argument)
ENDS(__throw_length_error)
ENDS(__throw_logic_error)
ENDS(__throw_out_of_range)
ENDS(__throw_overflow_error)
ENDS(__throw_range_error)
ENDS(__throw_runtime_error)
ENDS(__throw_underflow_error)
ENDS_SILENT(__throw_bad_alloc)
ENDS_SILENT(__throw_bad_array_new_length)
ENDS_SILENT(__throw_bad_cast)
ENDS_SILENT(__throw_bad_exception)
ENDS_SILENT(__throw_bad_function_call)
ENDS_SILENT(__throw_bad_typeid)

[[noreturn]] void __throw_out_of_range_fmt(const char *format, ...);
void __throw_out_of_range_fmt(const char *format, ...)
{
	char text[256];
	va_list values;
	va_start(values, format);
	vsnprintf(text, sizeof text, format, values);
	va_end(values);
	mote_guest_fail(MOTE_GUEST_UNKNOWN_ERROR, "out of range: %s", text);
}

} // namespace std
