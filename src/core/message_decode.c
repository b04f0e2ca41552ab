/* SPDX-License-Identifier: MIT */
/*
 * Verification of messages from the other side of a trust boundary, and decoding on top of it.
 *
 * Everything that message_view.c reads is checked here first, by the same walk: it lies in the
 * message, is aligned, and strings are UTF-8 with a NUL behind. The format's limits on nesting (64)
 * and tables (a million) hold by shape: a call has at most 1 + 2 * 32 tables, three deep.
 */
#include "core/message.h"

#include "base/math.h"
#include "core/flatbuffer.h"
#include "core/message_wire.h"
#include "core/utf8.h"

#define APPARENT_BYTES_MAX (UINT64_C(1) << 31)

struct verifier {
	const uint8_t *bytes;
	uint64_t len;
	uint64_t apparent; /* bytes checked so far, shared ones each time */
	int code;          /* why the last check failed */
};

/* A table whose vtable was checked. Positions count from the start of the message. */
struct table {
	uint64_t at, vtable;
	uint32_t vtable_bytes;
};

static bool refuse(struct verifier *v, int code)
{
	v->code = code;
	return false;
}

/* bytes are there at a multiple of align. */
static bool check(struct verifier *v, uint64_t at, uint64_t bytes, uint64_t align)
{
	if (!mote__in_range(at, bytes, v->len))
		return refuse(v, MOTE__MESSAGE_BOUNDS);
	if (at & (align - 1))
		return refuse(v, MOTE__MESSAGE_ALIGNMENT);
	v->apparent += bytes;
	if (v->apparent > APPARENT_BYTES_MAX)
		return refuse(v, MOTE__MESSAGE_APPARENT);
	return true;
}

/* Where the offset word at a position points to. */
static bool follow(struct verifier *v, uint64_t at, uint64_t *target)
{
	if (!check(v, at, 4, 4))
		return false;
	uint32_t offset = mote__load32(v->bytes + at);
	if (offset == 0)
		return refuse(v, MOTE__MESSAGE_OFFSET);
	*target = at + offset;
	return true;
}

static bool open_table(struct verifier *v, uint64_t at, struct table *out)
{
	if (!check(v, at, 4, 4))
		return false;
	/* The distance back is signed; before the start wraps to a huge position, out of bounds. */
	uint64_t vtable = at - (uint64_t)(int64_t)(int32_t)mote__load32(v->bytes + at);
	if (!check(v, vtable, 2, 2))
		return false;
	uint32_t bytes = mote__load16(v->bytes + vtable);
	if (bytes < 4 || bytes % 2 != 0)
		return refuse(v, MOTE__MESSAGE_VTABLE);
	*out = (struct table){at, vtable, bytes};
	return check(v, vtable, bytes, 2);
}

/* Position of a field, 0 if it is absent. No field is at 0, that is the prefix. */
static uint64_t field(const struct verifier *v, const struct table *table, uint32_t id)
{
	uint32_t at = 4 + 2 * id;
	if (at >= table->vtable_bytes)
		return 0;
	uint32_t offset = mote__load16(v->bytes + table->vtable + at);
	return offset ? table->at + offset : 0;
}

/* A scalar field, absent or good. */
static bool scalar(struct verifier *v, const struct table *table, uint32_t id, uint32_t bytes)
{
	uint64_t at = field(v, table, id);
	return at == 0 || check(v, at, bytes, bytes);
}

/* A u8 field with its value, 0 if it is absent. */
static bool byte(struct verifier *v, const struct table *table, uint32_t id, uint32_t *value)
{
	uint64_t at = field(v, table, id);
	*value = 0;
	if (at == 0)
		return true;
	if (!check(v, at, 1, 1))
		return false;
	*value = v->bytes[at];
	return true;
}

enum presence { OPTIONAL, REQUIRED };

/* The target of an offset field; 0 if it is absent and may be. */
static bool target(struct verifier *v, const struct table *table, uint32_t id,
		   enum presence presence, uint64_t *out)
{
	uint64_t at = field(v, table, id);
	*out = 0;
	if (at == 0)
		return presence == OPTIONAL || refuse(v, MOTE__MESSAGE_MISSING);
	return follow(v, at, out);
}

/* A vector of bytes at a position; its length in *count. */
static bool vector(struct verifier *v, uint64_t at, uint32_t element_bytes, uint32_t *count)
{
	if (!check(v, at, 4, 4))
		return false;
	*count = mote__load32(v->bytes + at);
	return check(v, at + 4, (uint64_t)*count * element_bytes, element_bytes);
}

static bool bytes(struct verifier *v, const struct table *table, uint32_t id)
{
	uint64_t at;
	uint32_t count;
	return target(v, table, id, OPTIONAL, &at) && (at == 0 || vector(v, at, 1, &count));
}

static bool string(struct verifier *v, const struct table *table, uint32_t id,
		   enum presence presence)
{
	uint64_t at;
	uint32_t len;
	if (!target(v, table, id, presence, &at))
		return false;
	if (at == 0)
		return true;
	if (!vector(v, at, 1, &len))
		return false;
	if (!mote__in_range(at + 4 + len, 1, v->len) || v->bytes[at + 4 + len] != 0)
		return refuse(v, MOTE__MESSAGE_NO_NUL);
	if (!mote__utf8_is_valid(v->bytes + at + 4, len))
		return refuse(v, MOTE__MESSAGE_UTF8);
	return true;
}

/* A table that belongs to type, an enum mote_type. */
static bool value(struct verifier *v, uint64_t at, uint32_t type)
{
	struct table table;
	if (type == MOTE_VOID || type > MOTE_BYTES)
		return refuse(v, MOTE__MESSAGE_TAG);
	if (!open_table(v, at, &table))
		return false;
	switch (type) {
	case MOTE_I32:
	case MOTE_U32:
	case MOTE_F32:
		return scalar(v, &table, 0, 4);
	case MOTE_I64:
	case MOTE_U64:
	case MOTE_F64:
		return scalar(v, &table, 0, 8);
	case MOTE_BOOL:
		return scalar(v, &table, 0, 1);
	case MOTE_STRING:
		return string(v, &table, 0, OPTIONAL);
	default:
		return bytes(v, &table, 0);
	}
}

/* A value of a result: the same but for void and for bytes, which have a size in front. */
static bool result_value(struct verifier *v, uint64_t at, uint32_t tag)
{
	struct table table;
	if (tag != MOTE__WIRE_TAG_VOID && tag != MOTE__WIRE_TAG_BYTES)
		return value(v, at, tag);
	if (!open_table(v, at, &table))
		return false;
	return tag == MOTE__WIRE_TAG_VOID || (scalar(v, &table, 0, 4) && bytes(v, &table, 1));
}

/* A table with a union: its tag from field 0, and where the value of field 1 is. */
static bool open_union(struct verifier *v, uint64_t at, uint32_t *tag, uint64_t *value_at)
{
	struct table table;
	return open_table(v, at, &table) && byte(v, &table, 0, tag) &&
	       target(v, &table, 1, REQUIRED, value_at);
}

static bool parameters(struct verifier *v, uint64_t at)
{
	uint32_t count;
	if (!vector(v, at, 4, &count))
		return false;
	if (count > MOTE__MESSAGE_PARAMETERS_MAX)
		return true; /* refused by the view; nothing of them is read */
	for (uint32_t i = 0; i < count; i++) {
		uint64_t parameter, value_at;
		uint32_t tag;
		if (!follow(v, at + 4 + 4 * (uint64_t)i, &parameter) ||
		    !open_union(v, parameter, &tag, &value_at) || !value(v, value_at, tag))
			return false;
	}
	return true;
}

static bool call(struct verifier *v, const struct table *root)
{
	uint64_t at;
	return string(v, root, 0, REQUIRED) && target(v, root, 1, OPTIONAL, &at) &&
	       (at == 0 || parameters(v, at)) && scalar(v, root, 2, 1) && scalar(v, root, 3, 1);
}

static bool guest_error(struct verifier *v, uint64_t at)
{
	struct table table;
	return open_table(v, at, &table) && scalar(v, &table, 0, 8) &&
	       string(v, &table, 1, OPTIONAL);
}

static bool result(struct verifier *v, const struct table *root)
{
	uint64_t at, value_at;
	uint32_t kind, tag;
	if (!byte(v, root, 0, &kind) || !target(v, root, 1, REQUIRED, &at))
		return false;
	if (kind == MOTE__WIRE_RESULT_ERROR)
		return guest_error(v, at);
	if (kind != MOTE__WIRE_RESULT_VALUE)
		return refuse(v, MOTE__MESSAGE_TAG);
	return open_union(v, at, &tag, &value_at) && result_value(v, value_at, tag);
}

static bool log_record(struct verifier *v, const struct table *root)
{
	return string(v, root, 0, REQUIRED) && string(v, root, 1, REQUIRED) &&
	       scalar(v, root, 2, 1) && string(v, root, 3, REQUIRED) &&
	       string(v, root, 4, REQUIRED) && scalar(v, root, 5, 4);
}

static struct verifier verifier_of(const void *message, size_t len)
{
	return (struct verifier){.bytes = message, .len = len};
}

static bool open_root(struct verifier *v, struct table *root)
{
	uint64_t at;
	return follow(v, 4, &at) && open_table(v, at, root);
}

int mote__message_decode_call(const void *message, size_t len, struct mote__call_view *out)
{
	struct verifier v = verifier_of(message, len);
	struct table root;
	if (!open_root(&v, &root) || !call(&v, &root))
		return v.code;
	return mote__message_view_call(message, out);
}

int mote__message_decode_result(const void *message, size_t len, struct mote__result_view *out)
{
	struct verifier v = verifier_of(message, len);
	struct table root;
	if (!open_root(&v, &root) || !result(&v, &root))
		return v.code;
	return mote__message_view_result(message, out);
}

int mote__message_decode_log(const void *message, size_t len, struct mote__log_record *out)
{
	struct verifier v = verifier_of(message, len);
	struct table root;
	if (!open_root(&v, &root) || !log_record(&v, &root))
		return v.code;
	return mote__message_view_log(message, out);
}
