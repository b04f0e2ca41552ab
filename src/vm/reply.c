/* SPDX-License-Identifier: MIT */
/*
 * Calls of host functions. What the guest sent is a private copy by now; it is checked against the
 * declaration, and the answer is encoded once, in place, where the guest will read it.
 */
#include "vm/objects.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "core/utf8.h"

/* The ABI's names of types, which texts for guests use. */
static const char *abi_name(uint32_t type)
{
	static const char *const names[] = {"Void",  "Int",    "UInt",   "Long", "ULong",
					    "Float", "Double", "String", "Bool", "VecBytes"};
	return type < sizeof names / sizeof *names ? names[type] : "unknown";
}

/* As the guest's own language writes them, in a text that it may read (guest-abi 7.5). */
static const char *native_name(uint32_t type)
{
	static const char *const names[] = {"()",  "i32", "u32",    "i64",  "u64",
					    "f32", "f64", "String", "bool", "Vec < u8 >"};
	return type < sizeof names / sizeof *names ? names[type] : "unknown";
}

/* Bytes of text, at most max, that end between characters: for a precision of "%.*s". */
static int prefix(const struct mote_string *text, size_t max)
{
	return (int)(text->len < max ? text->len : mote__utf8_prefix(text->data, max));
}

static void describe(const struct mote_value *v, char *text, size_t bytes)
{
	switch (v->type) {
	case MOTE_I32:
		(void)snprintf(text, bytes, "Int(%d)", v->i32);
		break;
	case MOTE_U32:
		(void)snprintf(text, bytes, "UInt(%u)", v->u32);
		break;
	case MOTE_I64:
		(void)snprintf(text, bytes, "Long(%lld)", (long long)v->i64);
		break;
	case MOTE_U64:
		(void)snprintf(text, bytes, "ULong(%llu)", (unsigned long long)v->u64);
		break;
	case MOTE_F32:
		(void)snprintf(text, bytes, "Float(%g)", (double)v->f32);
		break;
	case MOTE_F64:
		(void)snprintf(text, bytes, "Double(%g)", v->f64);
		break;
	case MOTE_BOOL:
		(void)snprintf(text, bytes, "Bool(%s)", v->boolean ? "true" : "false");
		break;
	case MOTE_STRING:
		(void)snprintf(text, bytes, "String(\"%.*s\")", prefix(&v->string, 40),
			       v->string.data);
		break;
	default:
		(void)snprintf(text, bytes, "%s(%zu bytes)", abi_name(v->type), v->bytes.len);
	}
}

int mote_reply_value(mote_reply *reply, const struct mote_value *value)
{
	if (value->type != reply->function->result) {
		(void)mote_reply_error(reply, "host function %s answered %s where %s was declared",
				       reply->function->name, abi_name(value->type),
				       abi_name(reply->function->result));
		return MOTE_ETYPE;
	}
	if (value->type == MOTE_STRING &&
	    !mote__utf8_is_valid(value->string.data, value->string.len)) {
		(void)mote_reply_error(reply, "host function %s answered text that is not UTF-8",
				       reply->function->name);
		return MOTE_EINVAL;
	}
	reply->bytes = mote__message_encode_result(reply->room, reply->room_bytes, value);
	if (reply->bytes >= 0)
		return MOTE_OK;
	(void)mote_reply_error(
		reply,
		"the answer of host function %s does not fit: Required: %lld, Available: %zu",
		reply->function->name, (long long)mote__message_result_bytes(value),
		reply->room_bytes);
	return MOTE_ETOOBIG;
}

#define REPLY(suffix, type, constructor)                        \
	int mote_reply_##suffix(mote_reply *reply, type x)      \
	{                                                       \
		const struct mote_value value = constructor(x); \
		return mote_reply_value(reply, &value);         \
	}
REPLY(i32, int32_t, mote_i32)
REPLY(u32, uint32_t, mote_u32)
REPLY(i64, int64_t, mote_i64)
REPLY(u64, uint64_t, mote_u64)
REPLY(f32, float, mote_f32)
REPLY(f64, double, mote_f64)
REPLY(bool, int, mote_bool)

int mote_reply_string(mote_reply *reply, const char *text, size_t len)
{
	const struct mote_value value = mote_string_of(text, len);
	return mote_reply_value(reply, &value);
}

int mote_reply_bytes(mote_reply *reply, const void *data, size_t len)
{
	const struct mote_value value = mote_bytes(data, len);
	return mote_reply_value(reply, &value);
}

int mote_reply_error(mote_reply *reply, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	(void)vsnprintf(reply->text, sizeof reply->text, format, arguments);
	va_end(arguments);
	/* A cut may have split a character. */
	reply->text[mote__utf8_prefix(reply->text, strlen(reply->text))] = 0;
	reply->is_failed = true;
	return -1;
}

void *mote_reply_user_data(const mote_reply *reply)
{
	return reply->sandbox->user_data;
}

/* ---- the call -------------------------------------------------------------------------------- */

static int check_parameters(mote_reply *reply, const struct mote__call_view *call,
			    struct mote_value *values)
{
	const struct mote__host_entry *f = reply->function;
	if (call->count != f->parameter_count)
		return mote_reply_error(
			reply,
			"The number of arguments to the function is wrong: got %u expected %u",
			call->count, f->parameter_count);
	int rc = mote__message_parameters(call, values);
	if (rc < 0)
		return mote_reply_error(reply, "%s", mote__message_describe(rc));
	for (uint32_t i = 0; i < call->count; i++) {
		if (values[i].type == f->parameters[i])
			continue;
		char got[80];
		describe(&values[i], got, sizeof got);
		return mote_reply_error(reply, "Failed To Convert Parameter Value %s to \"%s\"",
					got, native_name(f->parameters[i]));
	}
	return 0;
}

static void answer(mote_reply *reply, const struct mote__call_view *call)
{
	struct mote_value values[MOTE_MAX_PARAMETERS];
	const struct mote__host_entry *f = reply->function;
	if (check_parameters(reply, call, values) < 0)
		return;
	int rc = f->callback(f->cookie, values, reply);
	if (rc && !reply->is_failed)
		(void)mote_reply_error(reply, "host function %s failed with %d", f->name, rc);
	if (reply->is_failed || reply->bytes)
		return;
	struct mote_value zero = {.type = f->result};
	if (f->result == MOTE_STRING)
		zero = mote_string_of("", 0);
	(void)mote_reply_value(reply, &zero);
}

int64_t mote__host_invoke(mote_sandbox *sandbox, const struct mote__call_view *call, uint8_t *room,
			  size_t room_bytes)
{
	mote_reply reply = {.sandbox = sandbox, .room = room, .room_bytes = room_bytes};
	reply.function = mote__host_find(sandbox->host, call->name.data, call->name.len);
	if (reply.function)
		answer(&reply, call);
	else
		(void)mote_reply_error(&reply, "HostFunction %.*s was not found",
				       prefix(&call->name, 200), call->name.data);
	if (!reply.is_failed)
		return reply.bytes;
	return mote__message_encode_error(room, room_bytes, MOTE_GUEST_HOST_FUNCTION_ERROR,
					  reply.text, strlen(reply.text));
}
