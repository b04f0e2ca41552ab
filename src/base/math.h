/* SPDX-License-Identifier: MIT */
/* Checked arithmetic on sizes and addresses. Freestanding: the guest's runtime uses it too. */
#ifndef MOTE_BASE_MATH_H
#define MOTE_BASE_MATH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MOTE_PAGE_BYTES 4096u

/** True, with the sum in *out, unless a + b does not fit 64 bits. */
static inline bool mote__add(uint64_t a, uint64_t b, uint64_t *out)
{
	return !__builtin_add_overflow(a, b, out);
}

static inline bool mote__mul(uint64_t a, uint64_t b, uint64_t *out)
{
	return !__builtin_mul_overflow(a, b, out);
}

/** True when [at, at + len) lies inside [0, size). */
static inline bool mote__in_range(uint64_t at, uint64_t len, uint64_t size)
{
	return len <= size && at <= size - len;
}

/** x rounded up to a multiple of align (a power of two). Wraps to 0 near 2^64: check the range
 * first. */
static inline uint64_t mote__round_up(uint64_t x, uint64_t align)
{
	return (x + align - 1) & ~(align - 1);
}

static inline uint64_t mote__round_down(uint64_t x, uint64_t align)
{
	return x & ~(align - 1);
}

static inline uint64_t mote__smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/** Whether all of bytes (a multiple of 64 at a multiple of 8) are zero. */
static inline bool mote__is_zero(const void *at, uint64_t bytes)
{
	typedef uint64_t __attribute__((may_alias)) word;
	const word *words = at;
	for (uint64_t i = 0; i < bytes / 8; i += 8)
		if (words[i] | words[i + 1] | words[i + 2] | words[i + 3] | words[i + 4] |
		    words[i + 5] | words[i + 6] | words[i + 7])
			return false;
	return true;
}

#endif
