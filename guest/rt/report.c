/* SPDX-License-Identifier: MIT */
/*
 * Log records and errors of the program, with formatted texts. Compiled with vector registers,
 * which only a caller that passes floating-point values makes use of.
 */
#include "rt.h"

#include "core/message.h"

#include <string.h>

uint32_t mote_guest_log_level(void)
{
	return mote__guest.run->log_level;
}

void mote__guest_log(uint32_t level, const char *file, uint32_t line, const char *function,
		     const char *format, ...)
{
	MOTE__GUEST_TEXT(text);
	struct mote__guest_values values;
	va_start(values.list, format);
	mote__guest_format(&text, format, &values);
	va_end(values.list);
	mote__guest_log_send(level, file, line, function, &text);
}

_Noreturn void mote_guest_fail(uint64_t code, const char *format, ...)
{
	MOTE__GUEST_TEXT(text);
	struct mote__guest_values values;
	va_start(values.list, format);
	mote__guest_format(&text, format, &values);
	va_end(values.list);
	mote__guest_end(code, text.data, text.len);
}
