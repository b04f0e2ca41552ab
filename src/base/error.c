/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "base/error.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

int mote__category(int code)
{
	if (code == MOTE_OK)
		return MOTE_CATEGORY_NONE;
	if (code > MOTE_ENOMEM)
		return MOTE_CATEGORY_CALLER;
	return code > MOTE_EGUEST ? MOTE_CATEGORY_HOST : MOTE_CATEGORY_GUEST;
}

/* Bytes of the character at s, 0 if it is not well-formed (Unicode, table 3-7), CUT if the text
 * (which a NUL ends) is over before it is. */
#define CUT 5u

static unsigned character(const unsigned char *s)
{
	unsigned bytes = s[0] < 0x80 ? 1 : s[0] < 0xC2 ? 0 : s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : 4;
	if (s[0] > 0xF4)
		return 0;
	for (unsigned i = 1; i < bytes; i++)
		if ((s[i] & 0xC0) != 0x80)
			return s[i] ? 0 : CUT;
	bool is_wrong = (s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F) ||
			(s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] > 0x8F);
	return is_wrong ? 0 : bytes;
}

/* A message is one line of UTF-8, whatever a guest, an image or a path put into it, and wherever it
 * was cut. */
static void clean(char *text)
{
	unsigned char *s = (unsigned char *)text;
	while (*s) {
		unsigned bytes = character(s);
		if (bytes == CUT) {
			*s = 0;
			return;
		}
		if (!bytes || *s < 0x20 || *s == 0x7F)
			*s = bytes ? ' ' : '?';
		s += bytes ? bytes : 1;
	}
}

static void fill(struct mote_error *err, int code, const char *format, va_list arguments)
{
	memset(err, 0, sizeof *err);
	err->code = code;
	err->category = mote__category(code);
	(void)vsnprintf(err->message, sizeof err->message, format, arguments);
	clean(err->message);
}

void mote__error_fill(struct mote_error *err, int code, const char *format, ...)
{
	if (!err)
		return;
	va_list arguments;
	va_start(arguments, format);
	fill(err, code, format, arguments);
	va_end(arguments);
}

void mote__error_fill_system(struct mote_error *err, int code, int system_errno, const char *format,
			     ...)
{
	if (!err)
		return;
	va_list arguments;
	va_start(arguments, format);
	fill(err, code, format, arguments);
	va_end(arguments);
	err->system_errno = system_errno;
	size_t used = strlen(err->message);
	char text[128];
	const char *meaning = strerrordesc_np(system_errno);
	(void)snprintf(text, sizeof text, ": %s", meaning ? meaning : "unknown error");
	(void)snprintf(err->message + used, sizeof err->message - used, "%s", text);
	clean(err->message);
}
