/* SPDX-License-Identifier: MIT */
/*
 * One call: find the function, check the number and the types of the values, run it, push its
 * result, halt. The message comes from the host, which is trusted here: it already owns the guest.
 *
 * Texts and codes of refusals are those of the ABI. A result that does not fit the output buffer
 * ends the program.
 */
#include "rt.h"

#include "core/message.h"

#include <string.h>

#define PARAMETERS_MAX 11u
/* Keeps the way that every call takes short, and its frame small. */
#define COLD __attribute__((noinline, cold))

static const char *type_name(uint32_t type)
{
	static const char names[][9] = {"Void",  "Int",    "UInt",   "Long", "ULong",
					"Float", "Double", "String", "Bool", "VecBytes"};
	return type < sizeof names / sizeof *names ? names[type] : "unknown";
}

_Noreturn void mote__guest_end(uint64_t code, const char *text, size_t len)
{
	if (!mote__guest.is_ready)
		mote__guest_abort((uint8_t)(code < 255 ? code : MOTE_GUEST_UNKNOWN_ERROR), text,
				  len);
	mote__guest_flush();
	char clean[MOTE__GUEST_TEXT_BYTES];
	size_t cap, count = mote__guest_utf8_copy(clean, sizeof clean, text, len);
	void *room = mote__guest_room(&cap);
	int64_t bytes = mote__message_encode_error(room, cap, code, clean, count);
	if (bytes < 0)
		mote__guest_abort(MOTE_GUEST_UNKNOWN_ERROR, clean, count);
	mote__guest_push((size_t)bytes);
	mote__guest_halt();
}

static COLD _Noreturn void end_text(uint64_t code, const struct mote__guest_text *text)
{
	mote__guest_end(code, text->data, text->len);
}

static COLD _Noreturn void end_not_found(struct mote_string name)
{
	MOTE__GUEST_TEXT(text);
	mote__guest_add(&text, "No handler found for function call: \"");
	for (size_t i = 0; i < name.len; i++) {
		if (name.data[i] == '"' || name.data[i] == '\\')
			mote__guest_add(&text, "\\");
		mote__guest_add_bytes(&text, &name.data[i], 1);
	}
	mote__guest_add(&text, "\"");
	end_text(MOTE_GUEST_FUNCTION_NOT_FOUND, &text);
}

static COLD _Noreturn void end_wrong_kind(void)
{
	MOTE__GUEST_TEXT(text);
	mote__guest_add(&text, "Invalid function call type: Host, should be Guest.");
	end_text(MOTE_GUEST_ERROR, &text);
}

static COLD _Noreturn void end_wrong_count(const struct mote__guest_function *function,
					   uint32_t count)
{
	MOTE__GUEST_TEXT(text);
	if (count > PARAMETERS_MAX) {
		mote__guest_add(&text, "Function ");
		mote__guest_add(&text, function->name);
		mote__guest_add(&text, " has too many parameters: ");
		mote__guest_add_decimal(&text, count);
		mote__guest_add(&text, " (max allowed is 11).");
		end_text(MOTE_GUEST_ERROR, &text);
	}
	mote__guest_add(&text, "Called function ");
	mote__guest_add(&text, function->name);
	mote__guest_add(&text, " with ");
	mote__guest_add_decimal(&text, count);
	mote__guest_add(&text, " parameters but it takes ");
	mote__guest_add_decimal(&text, function->parameter_count);
	mote__guest_add(&text, ".");
	end_text(MOTE_GUEST_PARAMETER_COUNT, &text);
}

static COLD _Noreturn void end_wrong_type(const struct mote__guest_function *function,
					  uint32_t index, uint32_t type)
{
	MOTE__GUEST_TEXT(text);
	mote__guest_add(&text, "Expected parameter type ");
	mote__guest_add(&text, type_name(function->parameters[index]));
	mote__guest_add(&text, " for parameter index ");
	mote__guest_add_decimal(&text, index);
	mote__guest_add(&text, " of function ");
	mote__guest_add(&text, function->name);
	mote__guest_add(&text, " but got ");
	mote__guest_add(&text, type_name(type));
	mote__guest_add(&text, ".");
	end_text(MOTE_GUEST_PARAMETER_TYPE, &text);
}

static COLD _Noreturn void end_not_utf8(const struct mote__guest_function *function)
{
	MOTE__GUEST_TEXT(text);
	mote__guest_add(&text, "Function ");
	mote__guest_add(&text, function->name);
	mote__guest_add(&text, " returned a string that is not UTF-8.");
	end_text(MOTE_GUEST_ERROR, &text);
}

static COLD _Noreturn void abort_no_space(const struct mote_value *result, size_t cap)
{
	int64_t bytes = mote__message_result_bytes(result);
	MOTE__GUEST_TEXT(text);
	mote__guest_add(&text, "Not enough space in shared output buffer. Required: ");
	mote__guest_add_decimal(&text, bytes < 0 ? UINT64_MAX : (uint64_t)bytes + 8);
	mote__guest_add(&text, ", Available: ");
	mote__guest_add_decimal(&text, cap + 8);
	mote__guest_abort(MOTE_GUEST_UNKNOWN_ERROR, text.data, text.len);
}

/*
 * The linker sorted the exports by name. Both names end with a NUL; one that holds another NUL is
 * found by its start only, and has another length then.
 */
static const struct mote__guest_function *find(struct mote_string name)
{
	const struct mote__guest_function *low = mote__guest_exports_first;
	size_t count = (size_t)(mote__guest_exports_end - low);
	while (count > 0) {
		const struct mote__guest_function *middle = low + count / 2;
		const uint8_t *a = (const uint8_t *)middle->name;
		const uint8_t *b = (const uint8_t *)name.data;
		while (*a == *b && *a != 0) {
			a++;
			b++;
		}
		if (*a == *b)
			return middle->name_bytes == name.len ? middle : NULL;
		if (*a < *b) {
			low = middle + 1;
			count--;
		}
		count /= 2;
	}
	return NULL;
}

static void check_types(const struct mote__guest_function *function, const struct mote_value *in)
{
	for (uint32_t i = 0; i < function->parameter_count; i++)
		if (in[i].type != function->parameters[i])
			end_wrong_type(function, i, in[i].type);
}

_Noreturn void mote__guest_dispatch(const void *message)
{
	struct mote__call_view call;
	struct mote_value in[PARAMETERS_MAX], out;
	int rc = mote__message_view_call(message, &call);
	if (rc < 0 && rc != MOTE__MESSAGE_PARAMETERS) {
		static const char text[] = "Function call deserialization failed";
		mote__guest_abort(MOTE_GUEST_UNKNOWN_ERROR, text, sizeof text - 1);
	}
	if (call.kind != MOTE__CALL_GUEST)
		end_wrong_kind();
	const struct mote__guest_function *function = find(call.name);
	if (!function)
		end_not_found(call.name);
	if (call.count != function->parameter_count || call.count > PARAMETERS_MAX)
		end_wrong_count(function, call.count);
	if (mote__message_parameters(&call, in) < 0) {
		static const char text[] = "Unknown type of parameter";
		mote__guest_end(MOTE_GUEST_UNSUPPORTED_PARAMETER_TYPE, text, sizeof text - 1);
	}
	check_types(function, in);

	out.type = function->result;
	out.reserved = 0;
	out.string = (struct mote_string){NULL, MOTE__MEASURE};
	function->target(in, &out);

	mote__guest_flush();
	if (out.type == MOTE_STRING && !mote__guest_value_finish(&out))
		end_not_utf8(function);
	size_t cap;
	void *room = mote__guest_room(&cap);
	int64_t bytes = mote__message_encode_result(room, cap, &out);
	if (bytes < 0)
		abort_no_space(&out, cap);
	mote__guest_push((size_t)bytes);
	mote__guest_halt();
}
