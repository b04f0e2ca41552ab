/* SPDX-License-Identifier: MIT */
/* Names of public numbers, and values that are kept. */
#include <mote.h>

#include <string.h>

#include "base/error.h"
#include "base/sys.h"

const char *mote_version(void)
{
	return MOTE_VERSION;
}

const char *mote_code_name(int code)
{
	switch (code) {
#define NAME(code) \
	case code: \
		return #code
		NAME(MOTE_OK);
		NAME(MOTE_EINVAL);
		NAME(MOTE_ESTATE);
		NAME(MOTE_EIMAGE);
		NAME(MOTE_ETOOBIG);
		NAME(MOTE_EADDR);
		NAME(MOTE_ETYPE);
		NAME(MOTE_EIMPORT);
		NAME(MOTE_ESNAPSHOT);
		NAME(MOTE_ESTORE);
		NAME(MOTE_ENOTFOUND);
		NAME(MOTE_ENOMEM);
		NAME(MOTE_ENOKVM);
		NAME(MOTE_ESYSTEM);
		NAME(MOTE_EPROCESSOR);
		NAME(MOTE_EGUEST);
		NAME(MOTE_EABORT);
		NAME(MOTE_EPROTOCOL);
		NAME(MOTE_ECANCELED);
#undef NAME
	default:
		return "unknown";
	}
}

const char *mote_type_name(uint32_t type)
{
	static const char *const names[] = {"void", "i32", "u32",    "i64",  "u64",
					    "f32",  "f64", "string", "bool", "bytes"};
	return type < sizeof names / sizeof *names ? names[type] : "unknown";
}

const char *mote_state_name(uint32_t state)
{
	static const char *const names[] = {"new", "ready", "running", "poisoned", "broken"};
	return state < sizeof names / sizeof *names ? names[state] : "unknown";
}

int mote_value_copy(const struct mote_value *value, struct mote_value *copy, struct mote_error *err)
{
	if (value->type != MOTE_STRING && value->type != MOTE_BYTES) {
		*copy = *value;
		return MOTE_OK;
	}
	/* One more byte, for a string's NUL; bytes and string have the same shape. */
	char *data = value->bytes.len < SIZE_MAX ? mote__alloc(value->bytes.len + 1, 1) : NULL;
	if (!data)
		return mote__fail(err, MOTE_ENOMEM, "out of memory");
	if (value->bytes.len)
		memcpy(data, value->bytes.data, value->bytes.len);
	*copy = *value;
	copy->bytes.data = data;
	return MOTE_OK;
}

void mote_value_free(struct mote_value *value)
{
	if (value->type == MOTE_STRING || value->type == MOTE_BYTES)
		mote__free((void *)(uintptr_t)value->bytes.data);
	*value = mote_void();
}
