/* SPDX-License-Identifier: MIT */
/*
 * Reading messages that were verified, or that come from whom the reader trusts: no bounds are
 * checked. What is checked is what the format itself leaves open, numbers of kinds, types, tags and
 * levels.
 */
#include "core/message.h"

#include "core/flatbuffer.h"
#include "core/message_wire.h"

static const uint8_t *root_of(const void *message)
{
	return mote__fb_follow((const uint8_t *)message + 4);
}

static struct mote_string string_at(const uint8_t *at)
{
	return (struct mote_string){(const char *)at + 4, mote__load32(at)};
}

/* A string field; empty if it is absent. */
static struct mote_string string_field(const uint8_t *table, uint32_t id)
{
	const uint8_t *at = mote__fb_target(table, id);
	return at ? string_at(at) : (struct mote_string){"", 0};
}

static struct mote_bytes bytes_field(const uint8_t *table, uint32_t id)
{
	const uint8_t *at = mote__fb_target(table, id);
	if (!at)
		return (struct mote_bytes){NULL, 0};
	return (struct mote_bytes){at + 4, mote__load32(at)};
}

/* Read the value of a table that belongs to type. blob_id: the field that holds bytes. */
static inline __attribute__((always_inline)) int read_value(const uint8_t *table, uint32_t type,
							    uint32_t blob_id,
							    struct mote_value *out)
{
	const uint8_t *field;
	out->type = type;
	out->reserved = 0;
	switch (type) {
	case MOTE_I32:
	case MOTE_U32:
	case MOTE_F32:
		field = mote__fb_field(table, 0);
		out->u64 = field ? mote__load32(field) : 0;
		return MOTE__MESSAGE_OK;
	case MOTE_I64:
	case MOTE_U64:
	case MOTE_F64:
		field = mote__fb_field(table, 0);
		out->u64 = field ? mote__load64(field) : 0;
		return MOTE__MESSAGE_OK;
	case MOTE_BOOL:
		out->u64 = mote__fb_u8(table, 0) != 0;
		return MOTE__MESSAGE_OK;
	case MOTE_STRING:
		out->string = string_field(table, 0);
		return MOTE__MESSAGE_OK;
	case MOTE_BYTES:
		out->bytes = bytes_field(table, blob_id);
		return MOTE__MESSAGE_OK;
	default:
		return MOTE__MESSAGE_TAG;
	}
}

/* from: the word that points to the parameter. Inlined, since it is most of the work of a call. */
static inline __attribute__((always_inline)) int read_parameter(const uint8_t *from,
								struct mote_value *out)
{
	const uint8_t *parameter = mote__fb_follow(from);
	return read_value(mote__fb_required(parameter, 1), mote__fb_u8(parameter, 0), 0, out);
}

int mote__message_parameter(const struct mote__call_view *call, uint32_t i, struct mote_value *out)
{
	return read_parameter(call->parameters + 4 * (size_t)i, out);
}

int mote__message_parameters(const struct mote__call_view *call, struct mote_value *out)
{
	const uint8_t *from = call->parameters;
	int rc = MOTE__MESSAGE_OK;
	for (uint32_t count = call->count; count > 0 && rc == MOTE__MESSAGE_OK; count--) {
		rc = read_parameter(from, out++);
		from += 4;
	}
	return rc;
}

int mote__message_view_call(const void *message, struct mote__call_view *out)
{
	const uint8_t *root = root_of(message);
	const uint8_t *parameters = mote__fb_target(root, 1);
	uint32_t kind = mote__fb_u8(root, 2);
	uint32_t type = mote__fb_u8(root, 3);
	if (kind != MOTE__CALL_GUEST && kind != MOTE__CALL_HOST)
		return MOTE__MESSAGE_KIND;
	if (type > MOTE__WIRE_TYPE_BYTES)
		return MOTE__MESSAGE_TYPE;
	out->name = string_at(mote__fb_required(root, 0));
	out->kind = kind;
	if (type == MOTE__WIRE_TYPE_VOID)
		out->result = MOTE_VOID;
	else
		out->result = type == MOTE__WIRE_TYPE_BYTES ? MOTE_BYTES : type + 1;
	out->count = parameters ? mote__load32(parameters) : 0;
	out->parameters = parameters ? parameters + 4 : NULL;
	if (out->count > MOTE__MESSAGE_PARAMETERS_MAX) {
		out->parameters = NULL;
		return MOTE__MESSAGE_PARAMETERS;
	}
	return MOTE__MESSAGE_OK;
}

static int view_value(const uint8_t *box, struct mote_value *out)
{
	const uint8_t *table = mote__fb_required(box, 1);
	uint32_t tag = mote__fb_u8(box, 0);
	if (tag == MOTE__WIRE_TAG_VOID) {
		*out = (struct mote_value){.type = MOTE_VOID};
		return MOTE__MESSAGE_OK;
	}
	return read_value(table, tag == MOTE__WIRE_TAG_BYTES ? MOTE_BYTES : tag, 1, out);
}

int mote__message_view_result(const void *message, struct mote__result_view *out)
{
	const uint8_t *root = root_of(message);
	const uint8_t *table = mote__fb_required(root, 1);
	uint32_t tag = mote__fb_u8(root, 0);
	struct mote__result_view view = {.message = {"", 0}};
	if (tag == MOTE__WIRE_RESULT_VALUE) {
		int rc = view_value(table, &view.value);
		if (rc < 0)
			return rc;
	} else if (tag == MOTE__WIRE_RESULT_ERROR) {
		const uint8_t *code = mote__fb_field(table, 0);
		view.is_error = true;
		view.code = code ? mote__load64(code) : 0;
		view.message = string_field(table, 1);
	} else {
		return MOTE__MESSAGE_TAG;
	}
	*out = view;
	return MOTE__MESSAGE_OK;
}

int mote__message_view_log(const void *message, struct mote__log_record *out)
{
	const uint8_t *root = root_of(message);
	uint32_t level = mote__fb_u8(root, 2);
	const uint8_t *line = mote__fb_field(root, 5);
	if (level > MOTE__WIRE_LEVEL_NONE)
		return MOTE__MESSAGE_LEVEL;
	if (level == MOTE__WIRE_LEVEL_NONE)
		level = 0;
	else if (level == MOTE__WIRE_LEVEL_CRITICAL)
		level = MOTE__WIRE_LEVEL_ERROR;
	out->level = MOTE_LOG_TRACE - level; /* 0 trace to 4 error */
	out->line = line ? mote__load32(line) : 0;
	out->message = string_at(mote__fb_required(root, 0));
	out->source = string_at(mote__fb_required(root, 1));
	out->caller = string_at(mote__fb_required(root, 3));
	out->file = string_at(mote__fb_required(root, 4));
	return MOTE__MESSAGE_OK;
}
