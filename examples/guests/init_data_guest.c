/* SPDX-License-Identifier: MIT */
/* The guest of init_data.c: looks words up in a dictionary of "word=meaning" lines. */
#include <mote_guest.h>
#include <string.h>

static struct mote_bytes dictionary;
static int32_t words;

/* Runs once in each sandbox, before the first call. */
void mote_guest_init(void)
{
	dictionary = mote_guest_init_data();
	const char *text = dictionary.data;
	for (size_t i = 0; i < dictionary.len; i++)
		words += text[i] == '\n';
}

MOTE_EXPORT(int32_t, count)
{
	return words;
}

/* The result points into the dictionary; it is copied on its way out. */
MOTE_EXPORT(struct mote_string, meaning, (struct mote_string, word))
{
	const char *line = dictionary.data, *end = line + dictionary.len, *stop;
	for (; line < end && (stop = memchr(line, '\n', (size_t)(end - line))); line = stop + 1) {
		size_t len = (size_t)(stop - line);
		if (len > word.len && line[word.len] == '=' &&
		    memcmp(line, word.data, word.len) == 0)
			return (struct mote_string){line + word.len + 1, len - word.len - 1};
	}
	mote_guest_fail(MOTE_GUEST_ERROR, "no word \"%s\"", word.data);
}
