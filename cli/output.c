/* SPDX-License-Identifier: MIT */
/* Text on a terminal that cannot be trusted. See output.h. */
#include "output.h"

#include <errno.h>
#include <langinfo.h>
#include <string.h>
#include <unistd.h>

enum text_mode mote__output_mode(FILE *out)
{
	return isatty(fileno(out)) ? TEXT_LINES : TEXT_RAW;
}

bool mote__output_is_utf8(void)
{
	return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

size_t mote__utf8_decode(const char *data, size_t len, uint32_t *character)
{
	const uint8_t *byte = (const uint8_t *)data;
	if (byte[0] < 0x80) {
		*character = byte[0];
		return 1;
	}
	size_t bytes = byte[0] >= 0xF0 ? 4 : byte[0] >= 0xE0 ? 3 : 2;
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	if (byte[0] < 0xC0 || byte[0] > 0xF7 || bytes > len)
		return 0;
	uint32_t value = byte[0] & (0x7Fu >> bytes);
	for (size_t i = 1; i < bytes; i++) {
		if ((byte[i] & 0xC0) != 0x80)
			return 0;
		value = value << 6 | (byte[i] & 0x3F);
	}
	if (value < least[bytes] || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF))
		return 0;
	*character = value;
	return bytes;
}

/** True for what does not show as itself: controls, direction marks, invisible characters. */
static bool is_hidden(uint32_t c)
{
	static const struct {
		uint32_t first, last;
	} hidden[] = {
		{0, 0x1F},        {0x7F, 0x9F},     {0xAD, 0xAD},       {0x61C, 0x61C},
		{0x180E, 0x180E}, {0x200B, 0x200F}, {0x2028, 0x202E},   {0x2060, 0x206F},
		{0xFEFF, 0xFEFF}, {0xFFF9, 0xFFFB}, {0xE0000, 0xE0FFF},
	};
	for (size_t i = 0; i < sizeof hidden / sizeof hidden[0]; i++)
		if (c >= hidden[i].first && c <= hidden[i].last)
			return true;
	return false;
}

static void put_escape(FILE *out, uint32_t c)
{
	if (c == '\n')
		(void)fputs("\\n", out);
	else if (c == '\t')
		(void)fputs("\\t", out);
	else if (c == '\r')
		(void)fputs("\\r", out);
	else if (c < 0x80)
		(void)fprintf(out, "\\x%02x", (unsigned)c);
	else
		(void)fprintf(out, "\\u{%x}", (unsigned)c);
}

void mote__output_text(FILE *out, const char *data, size_t len, enum text_mode mode)
{
	if (mode == TEXT_RAW) {
		if (len)
			(void)fwrite(data, 1, len, out);
		return;
	}
	bool is_utf8 = mote__output_is_utf8();
	for (size_t at = 0; at < len;) {
		uint32_t c = 0;
		size_t bytes = mote__utf8_decode(data + at, len - at, &c);
		bool is_kept = mode == TEXT_LINES && (c == '\n' || c == '\t');
		if (bytes == 0) {
			(void)fprintf(out, "\\x%02x", (unsigned)(uint8_t)data[at]);
			bytes = 1;
		} else if (!is_kept && (is_hidden(c) || (c >= 0x80 && !is_utf8))) {
			put_escape(out, c);
		} else {
			(void)fwrite(data + at, 1, bytes, out);
		}
		at += bytes;
	}
}

void mote__output_name(FILE *out, const char *text)
{
	mote__output_text(out, text, strlen(text), TEXT_ONE_LINE);
}

void mote__output_column(FILE *out, const char *text, unsigned width)
{
	mote__output_name(out, text);
	for (size_t used = strlen(text); used < width; used++)
		(void)fputc(' ', out);
}

struct short_text mote__text_cut(const char *text, unsigned most)
{
	struct short_text result;
	size_t len = strlen(text);
	if (len > most) {
		len = most - 3;
		/* Not inside a character. */
		while (len && ((uint8_t)text[len] & 0xC0) == 0x80)
			len--;
	}
	memcpy(result.text, text, len);
	result.text[len] = 0;
	if (text[len])
		memcpy(result.text + len, "...", 4);
	return result;
}

struct short_text mote__size_text(uint64_t bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	unsigned unit = 0;
	uint64_t whole = bytes, rest = 0;
	for (; whole >= 1024; unit++) {
		rest = whole % 1024;
		whole /= 1024;
	}
	struct short_text result;
	unsigned tenth = (unsigned)(rest * 10 / 1024);
	if (tenth)
		(void)snprintf(result.text, sizeof result.text, "%u.%u %s", (unsigned)whole, tenth,
			       units[unit]);
	else
		(void)snprintf(result.text, sizeof result.text, "%u %s", (unsigned)whole,
			       units[unit]);
	return result;
}

struct short_text mote__access_text(uint8_t access)
{
	struct short_text result = {{(access & MOTE_READ) ? 'r' : '-',
				     (access & MOTE_WRITE) ? 'w' : '-',
				     (access & MOTE_EXECUTE) ? 'x' : '-'}};
	return result;
}

bool mote__output_finish(FILE *out, const char *name)
{
	if (fflush(out) == 0 && !ferror(out))
		return true;
	(void)fprintf(stderr, "mote: %s: %s\n", name, strerror(errno ? errno : EIO));
	return false;
}
