/* SPDX-License-Identifier: MIT */
/* Edit distance over short words. See suggest.h. */
#include "suggest.h"

#include <string.h>

enum { MAX_WORD = 63 };

/** How many letters have to be inserted, removed or replaced to make b of a. */
static unsigned distance_of(const char *a, size_t a_len, const char *b, size_t b_len)
{
	unsigned row[MAX_WORD + 1];
	for (unsigned j = 0; j <= b_len; j++)
		row[j] = j;
	for (unsigned i = 1; i <= a_len; i++) {
		unsigned diagonal = row[0];
		row[0] = i;
		for (unsigned j = 1; j <= b_len; j++) {
			unsigned replaced = diagonal + (a[i - 1] != b[j - 1]);
			diagonal = row[j];
			unsigned other = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
			row[j] = replaced < other ? replaced : other;
		}
	}
	return row[b_len];
}

void mote__suggest_offer(struct suggestion *suggestion, const char *name)
{
	size_t word_len = strlen(suggestion->word), name_len = strlen(name);
	if (word_len < 2 || word_len > MAX_WORD || name_len == 0 || name_len > MAX_WORD)
		return;
	unsigned distance = distance_of(suggestion->word, word_len, name, name_len);
	if (strncmp(name, suggestion->word, word_len) == 0)
		distance = 1;
	if (distance > 1 + word_len / 4 || distance >= word_len)
		return;
	if (!suggestion->best || distance < suggestion->distance) {
		suggestion->best = name;
		suggestion->distance = distance;
	}
}
