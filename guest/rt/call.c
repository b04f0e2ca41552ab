/* SPDX-License-Identifier: MIT */
/*
 * Calls of host functions. The call goes out on the output buffer, the result comes in on top of
 * the input buffer. Strings and bytes of results are copied to scratch memory, since the next call
 * of a host function may overwrite them.
 */
#include "rt.h"

#include "core/message.h"
#include "core/utf8.h"

#include <string.h>

bool mote__guest_value_finish(struct mote_value *value)
{
	struct mote_string *string = &value->string;
	if (string->len == MOTE__MEASURE)
		string->len = string->data ? strlen(string->data) : 0;
	return mote__utf8_prefix(string->data, string->len) == string->len;
}

static int failed(uint64_t code, const char *text, size_t len)
{
	char *copy = mote__guest_scratch_take(len + 1);
	mote__guest.error_text = copy ? copy : "out of memory";
	if (copy) {
		memcpy(copy, text, len);
		copy[len] = 0;
	}
	return code > 0 && code <= INT32_MAX ? (int)code : MOTE_GUEST_UNKNOWN_ERROR;
}

static int failed_utf8(const struct mote__guest_function *import, uint32_t index)
{
	MOTE__GUEST_TEXT(text);
	mote__guest_add(&text, "Parameter ");
	mote__guest_add_decimal(&text, index);
	mote__guest_add(&text, " of host function ");
	mote__guest_add(&text, import->name);
	mote__guest_add(&text, " is not UTF-8.");
	return failed(MOTE_GUEST_ERROR, text.data, text.len);
}

static int failed_space(int64_t required, size_t cap)
{
	MOTE__GUEST_TEXT(text);
	mote__guest_add(&text, "Not enough space in shared output buffer. Required: ");
	mote__guest_add_decimal(&text, required < 0 ? UINT64_MAX : (uint64_t)required + 8);
	mote__guest_add(&text, ", Available: ");
	mote__guest_add_decimal(&text, cap + 8);
	return failed(MOTE_GUEST_ERROR, text.data, text.len);
}

static int failed_result(const struct mote__guest_function *import)
{
	MOTE__GUEST_TEXT(text);
	mote__guest_add(&text, "Host return value of ");
	mote__guest_add(&text, import->name);
	mote__guest_add(&text, " could not be converted to the expected type");
	return failed(MOTE_GUEST_UNSUPPORTED_PARAMETER_TYPE, text.data, text.len);
}

static int failed_memory(void)
{
	static const char text[] = "No memory for the result of a host function";
	return failed(MOTE_GUEST_MALLOC_FAILED, text, sizeof text - 1);
}

static uint64_t load64(const uint8_t *from)
{
	uint64_t value;
	__builtin_memcpy(&value, from, sizeof value);
	return value;
}

/* The message on top of the input buffer. */
static const uint8_t *input_top(uint64_t *pointer)
{
	const uint8_t *input = (const uint8_t *)mote__guest.run->input;
	*pointer = load64(input);
	return input + load64(input + *pointer - sizeof(uint64_t));
}

/* Where nobody pops on the guest's behalf. */
static void input_pop(const uint8_t *message, uint64_t pointer)
{
	uint8_t *input = (uint8_t *)mote__guest.run->input;
	uint64_t at = (uint64_t)(message - input);
	memset(input + at, 0, pointer - at);
	__builtin_memcpy(input, &at, sizeof at);
}

/* Move what value points to into scratch memory. */
static bool keep(struct mote_value *value)
{
	if (value->type != MOTE_STRING && value->type != MOTE_BYTES)
		return true;
	size_t len = value->bytes.len;
	char *copy = mote__guest_scratch_take(len + 1);
	if (!copy)
		return false;
	memcpy(copy, value->bytes.data, len);
	copy[len] = 0;
	value->bytes.data = copy;
	return true;
}

static int take_result(const struct mote__guest_function *import, struct mote_value *out)
{
	uint64_t pointer;
	const uint8_t *message = input_top(&pointer);
	struct mote__result_view view;
	int code = 0;
	if (mote__message_view_result(message, &view) < 0 ||
	    (!view.is_error && view.value.type != import->result))
		code = failed_result(import);
	else if (view.is_error)
		code = failed(view.code, view.message.data, view.message.len);
	else if (!keep(&view.value))
		code = failed_memory();
	if (mote__guest.owns_ring_0)
		input_pop(message, pointer);
	if (code == 0)
		*out = view.value;
	return code;
}

int mote__guest_call(const struct mote__guest_function *import, struct mote_value *in,
		     struct mote_value *out)
{
	size_t cap;
	struct mote_string name = {import->name, import->name_bytes};
	for (uint32_t i = 0; i < import->parameter_count; i++)
		if (in[i].type == MOTE_STRING && !mote__guest_value_finish(&in[i]))
			return failed_utf8(import, i);
	void *room = mote__guest_room(&cap);
	int64_t bytes = mote__message_encode_call(room, cap, MOTE__CALL_HOST, name, import->result,
						  in, import->parameter_count);
	if (bytes < 0)
		return failed_space(mote__message_call_bytes(name, in, import->parameter_count),
				    cap);
	mote__guest_push((size_t)bytes);
	mote__guest_out(MOTE_ABI_PORT_CALL, 0);
	return take_result(import, out);
}

void mote__guest_call_or_end(const struct mote__guest_function *import, struct mote_value *in,
			     struct mote_value *out)
{
	int code = mote__guest_call(import, in, out);
	if (code != 0)
		mote__guest_end((uint64_t)code, mote__guest.error_text,
				strlen(mote__guest.error_text));
}

const char *mote_guest_error_text(void)
{
	return mote__guest.error_text ? mote__guest.error_text : "";
}
