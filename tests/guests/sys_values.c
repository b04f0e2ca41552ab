/* SPDX-License-Identifier: MIT */
/* Every type in and out, and to a host function and back; and what goes wrong there. */
#include <mote_guest.h>

#include <string.h>

#define BOTH(name, type)                                     \
	MOTE_IMPORT(type, host_##name, (type, value));       \
	MOTE_EXPORT(type, echo_##name, (type, value))        \
	{                                                    \
		return value;                                \
	}                                                    \
	MOTE_EXPORT(type, via_host_##name, (type, value))    \
	{                                                    \
		return host_##name(value);                   \
	}                                                    \
	MOTE_EXPORT(int32_t, try_host_##name, (type, value)) \
	{                                                    \
		type result;                                 \
		return host_##name##_try(&result, value);    \
	}

BOTH(i32, int32_t)
BOTH(u32, uint32_t)
BOTH(i64, int64_t)
BOTH(u64, uint64_t)
BOTH(f32, float)
BOTH(f64, double)
BOTH(bool, bool)
BOTH(string, struct mote_string)
BOTH(bytes, struct mote_bytes)

MOTE_IMPORT(void, host_void);
MOTE_IMPORT(uint64_t, host_eleven, (int32_t, a), (uint32_t, b), (int64_t, c), (uint64_t, d),
	    (float, e), (double, f), (bool, g), (const char *, h), (struct mote_bytes, i),
	    (int32_t, j), (int64_t, k));

MOTE_EXPORT(void, nothing)
{
}

MOTE_EXPORT(void, via_host_void)
{
	host_void();
}

MOTE_EXPORT(int32_t, try_host_void)
{
	return host_void_try();
}

MOTE_EXPORT(uint64_t, eleven, (int32_t, a), (uint32_t, b), (int64_t, c), (uint64_t, d), (float, e),
	    (double, f), (bool, g), (const char *, h), (struct mote_bytes, i), (int32_t, j),
	    (int64_t, k))
{
	return host_eleven(a, b, c, d, e, f, g, h, i, j, k);
}

/* The text of the last failed try. */
MOTE_EXPORT(const char *, try_text, (int32_t, value))
{
	int32_t result;
	int code = host_i32_try(&result, value);
	return code == 0 ? "no error" : mote_guest_error_text();
}

/* Host functions count times in one call; the sum of what they said. */
MOTE_EXPORT(int64_t, host_many, (int32_t, count))
{
	int64_t sum = 0;
	for (int32_t i = 0; i < count; i++)
		sum += host_i32(i);
	return sum;
}

/* Results of two host functions at once: the first must survive the second. */
MOTE_EXPORT(const char *, host_twice, (struct mote_string, a), (struct mote_string, b))
{
	struct mote_string first = host_string(a);
	struct mote_string second = host_string(b);
	char *joined = mote_guest_scratch(first.len + second.len + 1);
	memcpy(joined, first.data, first.len);
	memcpy(joined + first.len, second.data, second.len + 1);
	return joined;
}

MOTE_EXPORT(uint32_t, sum_bytes, (struct mote_bytes, value))
{
	uint32_t sum = 0;
	for (size_t i = 0; i < value.len; i++)
		sum += ((const uint8_t *)value.data)[i];
	return sum;
}

MOTE_EXPORT(void, fail, (uint64_t, code), (const char *, text))
{
	mote_guest_fail(code, "%s", text);
}

static uint64_t initialised, called;
static uint8_t large[100000];

void mote_guest_init(void)
{
	initialised = 7;
	mote_guest_log(MOTE_LOG_ERROR, "init");
}

MOTE_EXPORT(uint64_t, statics)
{
	large[(++called * 4096) % sizeof large]++;
	return initialised * 1000 + called;
}

MOTE_EXPORT(uint32_t, log_level)
{
	return mote_guest_log_level();
}

MOTE_EXPORT(void, write_init_data, (uint32_t, at), (uint32_t, value))
{
	struct mote_bytes data = mote_guest_init_data();
	((volatile uint8_t *)data.data)[at] = (uint8_t)value;
}

MOTE_EXPORT(void, execute_init_data)
{
	((void (*)(void))mote_guest_init_data().data)();
}

MOTE_EXPORT(struct mote_bytes, init_data)
{
	return mote_guest_init_data();
}
