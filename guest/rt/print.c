/* SPDX-License-Identifier: MIT */
/*
 * Printing: the host's default function HostPrint takes one UTF-8 text. Text that is valid and fits
 * goes out as it is, in one call; other text in pieces, with U+FFFD for what is not UTF-8.
 */
#include "rt.h"

#include "core/utf8.h"

#include <string.h>

#define PIECE_BYTES     1024u
#define MESSAGE_BYTES   256u /* more than everything around the text */
#define CHARACTER_BYTES 4u

static const struct mote__guest_function host_print = {
	"HostPrint", NULL, sizeof "HostPrint" - 1, MOTE_I32, 1, {0, 0}, {MOTE_STRING}, 0};

static bool print_valid(const char *text, size_t len)
{
	struct mote_value in = {.type = MOTE_STRING, .string = {text, len}}, out;
	return mote__guest_call(&host_print, &in, &out) == 0;
}

bool mote__guest_print(const char *text, size_t len)
{
	size_t cap;
	(void)mote__guest_room(&cap);
	while (len > 0) {
		size_t most = cap - MESSAGE_BYTES;
		size_t good = mote__utf8_prefix(text, len < most ? len : most);
		if (good == len || good + CHARACTER_BYTES > most) {
			if (!print_valid(text, good))
				return false;
			text += good;
			len -= good;
			continue;
		}
		char piece[PIECE_BYTES];
		size_t taken = len < PIECE_BYTES / 3 ? len : PIECE_BYTES / 3;
		while (taken < len && taken > CHARACTER_BYTES && (text[taken] & 0xC0) == 0x80)
			taken--; /* cut between characters */
		size_t count = mote__guest_utf8_copy(piece, sizeof piece, text, taken);
		if (!print_valid(piece, count))
			return false;
		text += taken;
		len -= taken;
	}
	return true;
}

void mote_guest_print(const char *text)
{
	(void)mote__guest_print(text, strlen(text));
}
