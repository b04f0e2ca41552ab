/* SPDX-License-Identifier: MIT */
/* UTF-8 as Unicode defines it: no surrogates, no overlong forms, nothing above U+10FFFF. */
#ifndef MOTE_CORE_UTF8_H
#define MOTE_CORE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Length of the longest prefix of data that is valid and ends between characters. */
size_t mote__utf8_prefix(const void *data, size_t len);

static inline bool mote__utf8_is_valid(const void *data, size_t len)
{
	return mote__utf8_prefix(data, len) == len;
}

#endif
