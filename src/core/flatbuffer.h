/* SPDX-License-Identifier: MIT */
/*
 * The FlatBuffers wire format: loads, stores, and unchecked access to tables and vectors.
 *
 * Numbers are little-endian and may lie at any address. A table starts with the signed distance
 * back to its vtable; a vtable is {its own bytes, bytes of the table, offset of field 0, 1, ...} in
 * u16, an offset of 0 or past its end meaning an absent field. Strings, vectors and tables are
 * pointed to by the unsigned distance from the pointing word. Nothing here checks anything: the
 * buffer was verified or is trusted. Freestanding: the builtins are used because a freestanding
 * memcpy is always a call.
 */
#ifndef MOTE_CORE_FLATBUFFER_H
#define MOTE_CORE_FLATBUFFER_H

#include <stddef.h>
#include <stdint.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "loads and stores do not swap bytes");

static inline uint16_t mote__load16(const void *from)
{
	uint16_t value;
	__builtin_memcpy(&value, from, sizeof value);
	return value;
}

static inline uint32_t mote__load32(const void *from)
{
	uint32_t value;
	__builtin_memcpy(&value, from, sizeof value);
	return value;
}

static inline uint64_t mote__load64(const void *from)
{
	uint64_t value;
	__builtin_memcpy(&value, from, sizeof value);
	return value;
}

static inline void mote__store32(void *to, uint32_t value)
{
	__builtin_memcpy(to, &value, sizeof value);
}

static inline void mote__store64(void *to, uint64_t value)
{
	__builtin_memcpy(to, &value, sizeof value);
}

/** What the offset word at from points to. */
static inline const uint8_t *mote__fb_follow(const uint8_t *from)
{
	return from + mote__load32(from);
}

/** Field number id of table, or NULL if it is absent. */
static inline const uint8_t *mote__fb_field(const uint8_t *table, uint32_t id)
{
	const uint8_t *vtable = table - (int32_t)mote__load32(table);
	uint32_t at = 4 + 2 * id;
	if (at >= mote__load16(vtable))
		return NULL;
	uint32_t offset = mote__load16(vtable + at);
	return offset ? table + offset : NULL;
}

/** A u8 field, or its default of 0. */
static inline uint8_t mote__fb_u8(const uint8_t *table, uint32_t id)
{
	const uint8_t *field = mote__fb_field(table, id);
	return field ? *field : 0;
}

/** What a field that holds an offset points to, or NULL if it is absent. */
static inline const uint8_t *mote__fb_target(const uint8_t *table, uint32_t id)
{
	const uint8_t *field = mote__fb_field(table, id);
	return field ? mote__fb_follow(field) : NULL;
}

/** What a required field that holds an offset points to. */
static inline const uint8_t *mote__fb_required(const uint8_t *table, uint32_t id)
{
	const uint8_t *vtable = table - (int32_t)mote__load32(table);
	return mote__fb_follow(table + mote__load16(vtable + 4 + 2 * id));
}

#endif
