/* SPDX-License-Identifier: MIT */
/* Building short texts without the C library. What does not fit is cut. */
#include "rt.h"

#include "core/utf8.h"

#include <string.h>

void mote__guest_add_bytes(struct mote__guest_text *text, const void *from, size_t len)
{
	size_t left = text->cap - text->len;
	size_t taken = len < left ? len : left;
	memcpy(text->data + text->len, from, taken);
	text->len += taken;
}

void mote__guest_add(struct mote__guest_text *text, const char *from)
{
	mote__guest_add_bytes(text, from, strlen(from));
}

static void add_number(struct mote__guest_text *text, uint64_t value, unsigned base)
{
	char digits[20];
	size_t at = sizeof digits;
	do {
		digits[--at] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value > 0);
	mote__guest_add_bytes(text, digits + at, sizeof digits - at);
}

void mote__guest_add_decimal(struct mote__guest_text *text, uint64_t value)
{
	add_number(text, value, 10);
}

void mote__guest_add_hex(struct mote__guest_text *text, uint64_t value)
{
	mote__guest_add(text, "0x");
	add_number(text, value, 16);
}

size_t mote__guest_utf8_copy(char *to, size_t cap, const char *from, size_t len)
{
	static const char replacement[3] = "\xEF\xBF\xBD"; /* U+FFFD */
	size_t at = 0;
	while (len > 0) {
		size_t good = mote__utf8_prefix(from, len);
		size_t taken = good < cap - at ? good : cap - at;
		while (taken < good && taken > 0 && (from[taken] & 0xC0) == 0x80)
			taken--; /* cut between characters */
		memcpy(to + at, from, taken);
		at += taken;
		if (good == len || taken < good || cap - at < sizeof replacement)
			break;
		memcpy(to + at, replacement, sizeof replacement);
		at += sizeof replacement;
		from += good + 1;
		len -= good + 1;
	}
	return at;
}
