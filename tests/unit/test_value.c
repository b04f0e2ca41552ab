/* SPDX-License-Identifier: MIT */
/* Names of public numbers, and copies of values. */
#include <mote.h>

#include "check.h"

#include <stdlib.h>

TEST(value__names_every_code)
{
	static const struct {
		int code;
		const char *name;
	} names[] = {
		{MOTE_OK, "MOTE_OK"},
		{MOTE_EINVAL, "MOTE_EINVAL"},
		{MOTE_ESTATE, "MOTE_ESTATE"},
		{MOTE_EIMAGE, "MOTE_EIMAGE"},
		{MOTE_ETOOBIG, "MOTE_ETOOBIG"},
		{MOTE_EADDR, "MOTE_EADDR"},
		{MOTE_ETYPE, "MOTE_ETYPE"},
		{MOTE_EIMPORT, "MOTE_EIMPORT"},
		{MOTE_ESNAPSHOT, "MOTE_ESNAPSHOT"},
		{MOTE_ESTORE, "MOTE_ESTORE"},
		{MOTE_ENOTFOUND, "MOTE_ENOTFOUND"},
		{MOTE_ENOMEM, "MOTE_ENOMEM"},
		{MOTE_ENOKVM, "MOTE_ENOKVM"},
		{MOTE_ESYSTEM, "MOTE_ESYSTEM"},
		{MOTE_EPROCESSOR, "MOTE_EPROCESSOR"},
		{MOTE_EGUEST, "MOTE_EGUEST"},
		{MOTE_EABORT, "MOTE_EABORT"},
		{MOTE_EPROTOCOL, "MOTE_EPROTOCOL"},
		{MOTE_ECANCELED, "MOTE_ECANCELED"},
		{1, "unknown"},
		{-11, "unknown"},
		{-44, "unknown"},
	};
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		CHECK_STR(mote_code_name(names[i].code), names[i].name);
}

TEST(value__names_every_type)
{
	static const char *const names[] = {"void", "i32", "u32",    "i64",  "u64",
					    "f32",  "f64", "string", "bool", "bytes"};
	for (uint32_t type = MOTE_VOID; type <= MOTE_BYTES; type++)
		CHECK_STR(mote_type_name(type), names[type]);
	CHECK_STR(mote_type_name(MOTE_BYTES + 1), "unknown");
	CHECK_STR(mote_type_name(UINT32_MAX), "unknown");
}

TEST(value__names_every_state)
{
	CHECK_STR(mote_state_name(MOTE_STATE_NEW), "new");
	CHECK_STR(mote_state_name(MOTE_STATE_READY), "ready");
	CHECK_STR(mote_state_name(MOTE_STATE_RUNNING), "running");
	CHECK_STR(mote_state_name(MOTE_STATE_POISONED), "poisoned");
	CHECK_STR(mote_state_name(MOTE_STATE_BROKEN), "broken");
	CHECK_STR(mote_state_name(MOTE_STATE_BROKEN + 1), "unknown");
	CHECK_STR(mote_state_name(UINT32_MAX), "unknown");
}

TEST(value__tells_the_version)
{
	CHECK_STR(mote_version(), MOTE_VERSION);
	CHECK(strchr(mote_version(), '.') != NULL);
}

TEST(value__constructors_set_type_and_value)
{
	CHECK(mote_void().type == MOTE_VOID);
	CHECK(mote_i32(-7).type == MOTE_I32 && mote_i32(-7).i32 == -7);
	CHECK(mote_u32(7).type == MOTE_U32 && mote_u32(UINT32_MAX).u32 == UINT32_MAX);
	CHECK(mote_i64(-7).type == MOTE_I64 && mote_i64(INT64_MIN).i64 == INT64_MIN);
	CHECK(mote_u64(7).type == MOTE_U64 && mote_u64(UINT64_MAX).u64 == UINT64_MAX);
	CHECK(mote_f32(1.5f).type == MOTE_F32 && mote_f32(1.5f).f32 == 1.5f);
	CHECK(mote_f64(1.5).type == MOTE_F64 && mote_f64(1.5).f64 == 1.5);
	CHECK(mote_bool(17).type == MOTE_BOOL && mote_bool(17).boolean == 1);
	CHECK(mote_bool(0).boolean == 0);
	CHECK(mote_string("abc").type == MOTE_STRING && mote_string("abc").string.len == 3);
	CHECK(mote_bytes("\0\1", 2).type == MOTE_BYTES && mote_bytes("\0\1", 2).bytes.len == 2);
}

TEST(value__copies_numbers)
{
	const struct mote_value values[] = {mote_void(),     mote_i32(-1), mote_u32(1),
					    mote_i64(-1),    mote_u64(1),  mote_f32(0.5f),
					    mote_f64(-0.25), mote_bool(1)};
	for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
		struct mote_value copy;
		CHECK_EQ(mote_value_copy(&values[i], &copy, NULL), MOTE_OK);
		CHECK_MEM(&copy, &values[i], sizeof copy);
		mote_value_free(&copy);
		CHECK_EQ(copy.type, MOTE_VOID);
	}
}

TEST(value__copies_strings_with_a_nul_behind)
{
	char text[] = {'a', 'b', 'c', 'x'};
	const struct mote_value value = mote_string_of(text, 3);
	struct mote_value copy;
	CHECK_EQ(mote_value_copy(&value, &copy, NULL), MOTE_OK);
	text[0] = 'z';
	CHECK(copy.type == MOTE_STRING && copy.string.len == 3 && copy.string.data != text);
	CHECK_STR(copy.string.data, "abc");
	mote_value_free(&copy);
	CHECK_EQ(copy.type, MOTE_VOID);
}

TEST(value__copies_bytes)
{
	uint8_t *block = malloc(70000);
	for (size_t i = 0; i < 70000; i++)
		block[i] = (uint8_t)(i * 7);
	const struct mote_value value = mote_bytes(block, 70000);
	struct mote_value copy;
	CHECK_EQ(mote_value_copy(&value, &copy, NULL), MOTE_OK);
	CHECK(copy.bytes.len == 70000 && copy.bytes.data != block);
	CHECK_MEM(copy.bytes.data, block, 70000);
	free(block);
	mote_value_free(&copy);
}

TEST(value__copies_empty_ones)
{
	const struct mote_value values[] = {mote_string(""), mote_bytes(NULL, 0),
					    mote_string_of(NULL, 0)};
	for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
		struct mote_value copy;
		CHECK_EQ(mote_value_copy(&values[i], &copy, NULL), MOTE_OK);
		CHECK(copy.type == values[i].type && copy.bytes.len == 0 && copy.bytes.data);
		CHECK_EQ(*(const char *)copy.bytes.data, 0);
		mote_value_free(&copy);
		mote_value_free(&copy);
	}
}

TEST(value__a_length_without_room_is_out_of_memory)
{
	const struct mote_value values[] = {mote_bytes("x", SIZE_MAX),
					    mote_string_of("x", SIZE_MAX)};
	for (size_t i = 0; i < 2; i++) {
		struct mote_value copy, before;
		struct mote_error err;
		memset(&before, 0x5A, sizeof before);
		copy = before;
		CHECK_EQ(mote_value_copy(&values[i], &copy, &err), MOTE_ENOMEM);
		/* Outputs are written only on success. */
		CHECK_MEM(&copy, &before, sizeof copy);
	}
}
