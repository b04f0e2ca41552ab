/* SPDX-License-Identifier: MIT */
/* JSON as RFC 8259 defines it: says whether a text is valid, without taking it apart. */
#ifndef MOTE_CORE_JSON_H
#define MOTE_CORE_JSON_H

#include <stdbool.h>
#include <stddef.h>

/** Arrays and objects may stand this deep in each other. */
#define MOTE__JSON_MAX_DEPTH 64

/** True for one value of any kind, in UTF-8 without a byte order mark, with white space around it
 * allowed, at most MOTE__JSON_MAX_DEPTH deep. Names may occur twice, and \u escapes may name halves
 * of surrogate pairs: the grammar lets them. */
bool mote__json_is_valid(const char *text, size_t len);

#endif
