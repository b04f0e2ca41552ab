/* SPDX-License-Identifier: MIT */
/* A friendly guest: every type in and out, host functions, logs, state between calls. */
#include <mote_guest.h>

MOTE_IMPORT(const char *, upper, (const char *, text));

MOTE_EXPORT(int32_t, add, (int32_t, a), (int32_t, b))
{
	return a + b;
}

MOTE_EXPORT(const char *, greet, (const char *, name))
{
	mote_guest_log(MOTE_LOG_INFO, "greeting %s", name);
	return upper(name);
}

/* What the host function said, or its error as a string. */
MOTE_EXPORT(const char *, try_upper, (const char *, text))
{
	const char *result;
	if (upper_try(&result, text) == 0)
		return result;
	return mote_guest_error_text();
}

MOTE_EXPORT(void, nothing)
{
}

MOTE_EXPORT(int32_t, echo_i32, (int32_t, value))
{
	return value;
}

MOTE_EXPORT(uint32_t, echo_u32, (uint32_t, value))
{
	return value;
}

MOTE_EXPORT(int64_t, echo_i64, (int64_t, value))
{
	return value;
}

MOTE_EXPORT(uint64_t, echo_u64, (uint64_t, value))
{
	return value;
}

MOTE_EXPORT(bool, echo_bool, (bool, value))
{
	return value;
}

MOTE_EXPORT(const char *, echo_text, (const char *, value))
{
	return value;
}

MOTE_EXPORT(struct mote_string, echo_string, (struct mote_string, value))
{
	return value;
}

MOTE_EXPORT(struct mote_bytes, echo_bytes, (struct mote_bytes, value))
{
	return value;
}

MOTE_EXPORT(uint64_t, eleven, (int32_t, a), (uint32_t, b), (int64_t, c), (uint64_t, d), (bool, e),
	    (const char *, f), (struct mote_string, g), (struct mote_bytes, h), (int32_t, i),
	    (int32_t, j), (int32_t, k))
{
	return (uint64_t)a + b + (uint64_t)c + d + e + (uint64_t)f[0] + g.len + h.len +
	       (uint64_t)(i + j + k);
}

MOTE_EXPORT(int32_t, count_up)
{
	static int32_t count;
	return ++count;
}

MOTE_EXPORT(struct mote_bytes, init_data)
{
	return mote_guest_init_data();
}

MOTE_EXPORT(struct mote_bytes, random_bytes, (uint32_t, len))
{
	void *bytes = mote_guest_scratch(len);
	mote_guest_random(bytes, len);
	return (struct mote_bytes){bytes, len};
}

MOTE_EXPORT(uint64_t, generation)
{
	return mote_guest_generation();
}

MOTE_EXPORT(void, print, (const char *, text))
{
	mote_guest_print(text);
}

MOTE_EXPORT(void, log_all)
{
	mote_guest_log(MOTE_LOG_ERROR, "error %d", -1);
	mote_guest_log(MOTE_LOG_WARN, "warn %u", 2u);
	mote_guest_log(MOTE_LOG_INFO, "info %s", "three");
	mote_guest_log(MOTE_LOG_DEBUG, "debug %x", 0xABCu);
	mote_guest_log(MOTE_LOG_TRACE, "trace %lld%%", -5ll);
}

/* bytes zero bytes, for limits of the output buffer */
MOTE_EXPORT(struct mote_bytes, zeros, (uint32_t, len))
{
	char *bytes = mote_guest_scratch(len);
	for (uint32_t i = 0; i < len; i++)
		bytes[i] = 0;
	return (struct mote_bytes){bytes, len};
}
