/* SPDX-License-Identifier: MIT */
/*
 * Formatted texts. Formats that use only %s %d %i %u %x %c %p %% and lengths (no width, no floating
 * point) are done here, in general registers, so that simple programs need neither the C library's
 * formatter at run time nor vector registers; others go to it.
 */
#include "rt.h"

#include <string.h>

int vsnprintf(char *to, size_t bytes, const char *format, va_list values);

/* Step over length letters. Returns 8 for long ones, else 4. */
static unsigned length_of(const char **at)
{
	unsigned bytes = 4;
	while (**at == 'l' || **at == 'z' || **at == 'j' || **at == 't') {
		bytes = 8;
		++*at;
	}
	return bytes;
}

static bool is_simple(const char *format)
{
	for (const char *at = strchr(format, '%'); at; at = strchr(at + 1, '%')) {
		++at;
		(void)length_of(&at);
		if (*at == 0 || !strchr("sdiuxcp%", *at))
			return false;
	}
	return true;
}

static void add_signed(struct mote__guest_text *text, int64_t value)
{
	if (value < 0)
		mote__guest_add(text, "-");
	mote__guest_add_decimal(text, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

static void add_bare_hex(struct mote__guest_text *text, uint64_t value)
{
	char digits[18];
	struct mote__guest_text number = {digits, 0, sizeof digits};
	mote__guest_add_hex(&number, value);
	mote__guest_add_bytes(text, digits + 2, number.len - 2);
}

static void add_string(struct mote__guest_text *text, const char *string)
{
	mote__guest_add(text, string ? string : "(null)");
}

static uint64_t next_unsigned(struct mote__guest_values *values, unsigned bytes)
{
	return bytes == 8 ? va_arg(values->list, uint64_t) : va_arg(values->list, uint32_t);
}

static int64_t next_signed(struct mote__guest_values *values, unsigned bytes)
{
	return bytes == 8 ? va_arg(values->list, int64_t) : va_arg(values->list, int32_t);
}

/* One conversion; at is behind its '%' and comes to stand behind it. */
static void convert(struct mote__guest_text *text, const char **at,
		    struct mote__guest_values *values)
{
	unsigned bytes = length_of(at);
	char letter = *(*at)++;
	char character;
	switch (letter) {
	case 's':
		add_string(text, va_arg(values->list, const char *));
		break;
	case 'd':
	case 'i':
		add_signed(text, next_signed(values, bytes));
		break;
	case 'u':
		mote__guest_add_decimal(text, next_unsigned(values, bytes));
		break;
	case 'x':
		add_bare_hex(text, next_unsigned(values, bytes));
		break;
	case 'p':
		mote__guest_add_hex(text, next_unsigned(values, 8));
		break;
	case 'c':
		character = (char)va_arg(values->list, int);
		mote__guest_add_bytes(text, &character, 1);
		break;
	default:
		mote__guest_add(text, "%");
	}
}

void mote__guest_format(struct mote__guest_text *text, const char *format,
			struct mote__guest_values *values)
{
	if (!is_simple(format)) {
		int len = vsnprintf(text->data, text->cap, format, values->list);
		size_t written = len < 0 ? 0 : (size_t)len;
		text->len = written < text->cap ? written : text->cap - 1;
		return;
	}
	while (*format) {
		size_t plain = strcspn(format, "%");
		mote__guest_add_bytes(text, format, plain);
		format += plain;
		if (*format++ == 0)
			return;
		convert(text, &format, values);
	}
}
