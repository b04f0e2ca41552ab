/* SPDX-License-Identifier: MIT */
/*
 * Messages from the other side: whatever decodes must encode again, and that must decode to the
 * same. The input is decoded as each kind of message, from an odd address, ending where memory
 * ends.
 */
#include "core/message.h"
#include "core/utf8.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define REQUIRE(condition)        \
	do {                      \
		if (!(condition)) \
			abort();  \
	} while (0)

static bool same_blob(const void *a, size_t a_len, const void *b, size_t b_len)
{
	return a_len == b_len && (a_len == 0 || memcmp(a, b, a_len) == 0);
}

static bool same_string(struct mote_string a, struct mote_string b)
{
	REQUIRE(a.data[a.len] == 0 && b.data[b.len] == 0);
	REQUIRE(mote__utf8_is_valid(a.data, a.len));
	return same_blob(a.data, a.len, b.data, b.len);
}

static bool same_value(const struct mote_value *a, const struct mote_value *b)
{
	REQUIRE(a->type == b->type && a->type <= MOTE_BYTES);
	if (a->type == MOTE_VOID)
		return true;
	if (a->type == MOTE_STRING)
		return same_string(a->string, b->string);
	if (a->type == MOTE_BYTES)
		return same_blob(a->bytes.data, a->bytes.len, b->bytes.data, b->bytes.len);
	return a->u64 == b->u64;
}

static void fuzz_call(const uint8_t *message, size_t len)
{
	struct mote__call_view a, b;
	struct mote_value values[MOTE__MESSAGE_PARAMETERS_MAX], back[MOTE__MESSAGE_PARAMETERS_MAX];
	if (mote__message_decode_call(message, len, &a) < 0)
		return;
	REQUIRE(a.count <= MOTE__MESSAGE_PARAMETERS_MAX);
	REQUIRE(mote__message_parameters(&a, values) == 0);
	int64_t bytes = mote__message_call_bytes(a.name, values, a.count);
	REQUIRE(bytes > 0);
	void *again = malloc((size_t)bytes);
	REQUIRE(mote__message_encode_call(again, (size_t)bytes, a.kind, a.name, a.result, values,
					  a.count) == bytes);
	REQUIRE(mote__message_decode_call(again, (size_t)bytes, &b) == 0);
	REQUIRE(a.kind == b.kind && a.result == b.result && a.count == b.count);
	REQUIRE(same_string(a.name, b.name));
	for (uint32_t i = 0; i < a.count; i++) {
		REQUIRE(mote__message_parameter(&b, i, &back[i]) == 0);
		REQUIRE(same_value(&values[i], &back[i]));
	}
	free(again);
}

static void fuzz_result(const uint8_t *message, size_t len)
{
	struct mote__result_view a, b;
	if (mote__message_decode_result(message, len, &a) < 0)
		return;
	size_t cap = len + 256;
	void *again = malloc(cap);
	int64_t bytes = a.is_error ? mote__message_encode_error(again, cap, a.code, a.message.data,
								a.message.len)
				   : mote__message_encode_result(again, cap, &a.value);
	REQUIRE(bytes > 0);
	REQUIRE(mote__message_decode_result(again, (size_t)bytes, &b) == 0);
	REQUIRE(a.is_error == b.is_error);
	if (a.is_error)
		REQUIRE(a.code == b.code && same_string(a.message, b.message));
	else
		REQUIRE(same_value(&a.value, &b.value));
	free(again);
}

static void fuzz_log(const uint8_t *message, size_t len)
{
	struct mote__log_record a, b;
	if (mote__message_decode_log(message, len, &a) < 0)
		return;
	size_t cap = 4 * len + 256; /* the strings may overlap */
	void *again = malloc(cap);
	int64_t bytes = mote__message_encode_log(again, cap, &a);
	REQUIRE(bytes > 0);
	REQUIRE(mote__message_decode_log(again, (size_t)bytes, &b) == 0);
	REQUIRE(a.level == b.level && a.line == b.line);
	REQUIRE(same_string(a.message, b.message) && same_string(a.source, b.source));
	REQUIRE(same_string(a.caller, b.caller) && same_string(a.file, b.file));
	free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t *block = malloc(len + 1);
	if (len > 0)
		memcpy(block + 1, data, len);
	fuzz_call(block + 1, len);
	fuzz_result(block + 1, len);
	fuzz_log(block + 1, len);
	free(block);
	return 0;
}
