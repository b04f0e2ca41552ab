/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "base/error.h"

#include <stdarg.h>
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

/* A message is one line, whatever a guest, an image or a path put into it. */
static void blank_controls(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7F)
			*text = ' ';
}

static void fill(struct mote_error *err, int code, const char *format, va_list arguments)
{
	memset(err, 0, sizeof *err);
	err->code = code;
	err->category = mote__category(code);
	(void)vsnprintf(err->message, sizeof err->message, format, arguments);
	blank_controls(err->message);
}

int mote__fail(struct mote_error *err, int code, const char *format, ...)
{
	if (err) {
		va_list arguments;
		va_start(arguments, format);
		fill(err, code, format, arguments);
		va_end(arguments);
	}
	return code;
}

int mote__fail_system(struct mote_error *err, int code, int system_errno, const char *format, ...)
{
	if (!err)
		return code;
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
	return code;
}
