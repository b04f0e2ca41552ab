/* SPDX-License-Identifier: MIT */
/* What a guest program writes with mote_guest.h: plain C11, and C++11 too. Compiled, not run. */
#include <mote_guest.h>

MOTE_IMPORT(const char *, upper, (const char *, text));
MOTE_IMPORT(void, tell, (int32_t, number), (double, real));
MOTE_IMPORT(uint64_t, now);

MOTE_EXPORT(int32_t, add, (int32_t, a), (int32_t, b))
{
	return a + b;
}

MOTE_EXPORT(const char *, greet, (const char *, name))
{
	mote_guest_log(MOTE_LOG_INFO, "greeting %s", name);
	return upper(name);
}

MOTE_EXPORT(void, nothing)
{
	tell(1, 2.5);
}

MOTE_EXPORT(struct mote_bytes, echo, (struct mote_bytes, bytes))
{
	return bytes;
}

MOTE_EXPORT(double, mix, (uint32_t, a), (int64_t, b), (uint64_t, c), (float, d), (bool, e),
	    (struct mote_string, f))
{
	const char *text;
	if (upper_try(&text, "x") != 0)
		mote_guest_fail(1, "%s", mote_guest_error_text());
	return (double)a + (double)b + (double)c + (double)d + (e ? 1 : 0) + (double)f.len +
	       (double)now();
}
