/* SPDX-License-Identifier: MIT */
/*
 * Encoding of messages, front to back: constant heads that hold the vtables and the root table,
 * then the variable parts, each starting on a multiple of 8 and zero-padded up to the next.
 *
 * Every scalar is written as eight bytes, zero-extended, into a table that says it has them; so all
 * scalars share one vtable and one path, and values equal to the default are not left out.
 */
#include "core/message.h"

#include "base/math.h"
#include "core/flatbuffer.h"
#include "core/message_wire.h"

/* Positions in a call. The vector of parameters follows the head, then the name, then they. */
#define CALL_VTABLE_VECTOR    14u /* the field of FunctionCall's vtable */
#define CALL_VTABLE_PARAMETER 20u
#define CALL_VTABLE_SCALAR    28u
#define CALL_VTABLE_OFFSET    34u
#define CALL_ROOT             40u
#define CALL_VECTOR           56u

static const uint16_t call_head[CALL_VECTOR / 2] = {
	0,  0,                     /*  0: size prefix */
	36, 0,                     /*  4: the root table is at 40 */
	12, 16, 4, 8, 12, 13,      /*  8: vtable of FunctionCall: name, parameters, kind, result */
	8,  12, 7, 8,              /* 20: vtable of Parameter: tag, value */
	6,  12, 4,                 /* 28: vtable of a scalar */
	6,  8,  4,                 /* 34: vtable of hlstring and hlvecbytes */
	32, 0,  0, 0, 8,  0,  0, 0 /* 40: root table: vtable, name, parameters, kind and result */
};

/* Positions in a parameter, from its start. */
#define PARAMETER_TAG   4u /* in the top byte of the word */
#define PARAMETER_VALUE 8u
#define PARAMETER_TABLE 12u
#define PARAMETER_DATA  16u /* a scalar, or the offset to the vector */
#define PARAMETER_BLOB  20u
#define SCALAR_BYTES    24u

/* Positions in a result. */
#define RESULT_VTABLE 16u
#define RESULT_TAG    47u
#define RESULT_DATA   56u /* a scalar; or the offset of a string; or size and offset of bytes */
#define RESULT_STRING 60u
#define RESULT_BYTES  64u

static const uint16_t result_head[RESULT_DATA / 2] = {
	0,  0,                  /*  0: size prefix */
	24, 0,                  /*  4: the root table is at 28 */
	8,  12, 7, 8,           /*  8: vtable of FunctionCallResult and of ReturnValueBox */
	0,  0,  0, 0,           /* 16: vtable of the value */
	0,  0,                  /* 24: padding, so that the value is on a multiple of 8 */
	20, 0,  0, 0x100, 4, 0, /* 28: root table: vtable, tag ReturnValueBox, it follows */
	32, 0,  0, 0,     4, 0, /* 40: ReturnValueBox: vtable, tag, the value follows */
	36, 0                   /* 52: the value's table: vtable */
};

/* The eight bytes at RESULT_VTABLE for each shape of a value's table. */
#define VTABLE(bytes, table_bytes, field_0, field_1)                                     \
	((uint64_t)(bytes) | (uint64_t)(table_bytes) << 16 | (uint64_t)(field_0) << 32 | \
	 (uint64_t)(field_1) << 48)
#define VTABLE_SCALAR VTABLE(6, 12, 4, 0)
#define VTABLE_STRING VTABLE(6, 8, 4, 0)
#define VTABLE_BYTES  VTABLE(8, 12, 4, 8)
#define VTABLE_VOID   VTABLE(4, 4, 0, 0)

#define ERROR_CODE   48u
#define ERROR_STRING 56u

static const uint16_t error_head[ERROR_STRING / 2] = {
	0,  0,                   /*  0: size prefix */
	20, 0,                   /*  4: the root table is at 24 */
	8,  12, 7,  8,           /*  8: vtable of FunctionCallResult */
	8,  16, 8,  4,           /* 16: vtable of GuestError: code, message */
	16, 0,  0,  0x200, 8, 0, /* 24: root table: vtable, tag GuestError, it is at 40 */
	0,  0,                   /* 36: padding, so that the code is on a multiple of 8 */
	24, 0,  12, 0            /* 40: GuestError: vtable, message at 56 */
};

#define LOG_ROOT    24u
#define LOG_MESSAGE 28u
#define LOG_SOURCE  32u
#define LOG_CALLER  36u
#define LOG_FILE    40u
#define LOG_LINE    44u
#define LOG_LEVEL   48u
#define LOG_STRINGS 52u

static const uint16_t log_head[LOG_ROOT / 2 + 2] = {
	0,  0,                        /*  0: size prefix */
	20, 0,                        /*  4: the root table is at 24 */
	16, 28, 4, 8, 24, 12, 16, 20, /*  8: vtable: message, source, level, caller, file, line */
	16, 0                         /* 24: root table: vtable; the rest is filled in */
};

/* Positions behind a string (its length word is at `at`) and behind a vector of bytes. */
static uint64_t string_end(uint64_t at, uint64_t len)
{
	return mote__round_up(at + 4 + len + 1, 8);
}

static uint64_t bytes_end(uint64_t at, uint64_t len)
{
	return mote__round_up(at + 4 + len, 8);
}

/*
 * Write a length word and len bytes, and zeros from there to end. These are written first, as one
 * word, and may cover up to eight bytes before `at`: what belongs there is written after this.
 */
static void put_blob(uint8_t *dst, uint64_t at, uint64_t end, const void *data, size_t len)
{
	mote__store64(dst + end - 8, 0);
	mote__store32(dst + at, (uint32_t)len);
	if (len > 0)
		__builtin_memcpy(dst + at + 4, data, len);
}

static void put_prefix(uint8_t *dst, uint64_t bytes)
{
	mote__store32(dst, (uint32_t)bytes - 4);
}

static bool fits(uint64_t bytes, size_t cap)
{
	return bytes <= cap && bytes <= MOTE__MESSAGE_BYTES_MAX;
}

static bool is_scalar(uint32_t type)
{
	return (type >= MOTE_I32 && type <= MOTE_F64) || type == MOTE_BOOL;
}

/* The bits of a scalar, zero-extended. */
static uint64_t scalar_bits(const struct mote_value *value)
{
	switch (value->type) {
	case MOTE_I64:
	case MOTE_U64:
	case MOTE_F64:
		return value->u64;
	case MOTE_BOOL:
		return value->boolean != 0;
	default:
		return value->u32;
	}
}

/* Where a string or bytes value ends whose length word is at string_at or bytes_at; or a code. */
static int64_t blob_end(const struct mote_value *value, uint64_t string_at, uint64_t bytes_at)
{
	if (value->type != MOTE_STRING && value->type != MOTE_BYTES)
		return MOTE__MESSAGE_VALUE;
	bool is_string = value->type == MOTE_STRING;
	size_t len = is_string ? value->string.len : value->bytes.len;
	if (len > MOTE__MESSAGE_BYTES_MAX)
		return MOTE__MESSAGE_TOO_BIG;
	return (int64_t)(is_string ? string_end(string_at, len) : bytes_end(bytes_at, len));
}

/* Bytes of a parameter that starts on a multiple of 8. */
static int64_t parameter_bytes(const struct mote_value *value)
{
	if (is_scalar(value->type))
		return SCALAR_BYTES;
	return blob_end(value, PARAMETER_BLOB, PARAMETER_BLOB);
}

int64_t mote__message_call_bytes(struct mote_string name, const struct mote_value *parameters,
				 uint32_t count)
{
	if (count > MOTE__MESSAGE_PARAMETERS_MAX)
		return MOTE__MESSAGE_PARAMETERS;
	if (name.len > MOTE__MESSAGE_BYTES_MAX)
		return MOTE__MESSAGE_TOO_BIG;
	int64_t total = (int64_t)string_end(CALL_VECTOR + 4 + 4 * (uint64_t)count, name.len);
	for (uint32_t i = 0; i < count; i++) {
		int64_t bytes = parameter_bytes(&parameters[i]);
		if (bytes < 0)
			return bytes;
		total += bytes;
	}
	return total;
}

/* Write one parameter at a multiple of 8. Returns the position behind it. */
static uint64_t put_parameter(uint8_t *dst, uint64_t at, const struct mote_value *value)
{
	uint8_t *to = dst + at;
	uint32_t vtable = CALL_VTABLE_OFFSET;
	uint64_t bytes;
	if (is_scalar(value->type)) {
		vtable = CALL_VTABLE_SCALAR;
		bytes = SCALAR_BYTES;
		mote__store64(to + PARAMETER_DATA, scalar_bits(value));
	} else if (value->type == MOTE_STRING) {
		bytes = string_end(PARAMETER_BLOB, value->string.len);
		put_blob(to, PARAMETER_BLOB, bytes, value->string.data, value->string.len);
		mote__store32(to + PARAMETER_DATA, PARAMETER_BLOB - PARAMETER_DATA);
	} else {
		bytes = bytes_end(PARAMETER_BLOB, value->bytes.len);
		put_blob(to, PARAMETER_BLOB, bytes, value->bytes.data, value->bytes.len);
		mote__store32(to + PARAMETER_DATA, PARAMETER_BLOB - PARAMETER_DATA);
	}
	mote__store32(to, (uint32_t)at - CALL_VTABLE_PARAMETER);
	mote__store32(to + PARAMETER_TAG, value->type << 24);
	mote__store32(to + PARAMETER_VALUE, PARAMETER_TABLE - PARAMETER_VALUE);
	mote__store32(to + PARAMETER_TABLE, (uint32_t)at + PARAMETER_TABLE - vtable);
	return at + bytes;
}

static uint32_t wire_type(uint32_t type)
{
	if (type == MOTE_VOID)
		return MOTE__WIRE_TYPE_VOID;
	return type == MOTE_BYTES ? MOTE__WIRE_TYPE_BYTES : type - 1;
}

int64_t mote__message_encode_call(void *dst, size_t cap, uint32_t kind, struct mote_string name,
				  uint32_t result, const struct mote_value *parameters,
				  uint32_t count)
{
	uint8_t *to = dst;
	int64_t bytes = mote__message_call_bytes(name, parameters, count);
	if (bytes < 0)
		return bytes;
	if (result > MOTE_BYTES || kind < MOTE__CALL_GUEST || kind > MOTE__CALL_HOST)
		return MOTE__MESSAGE_VALUE;
	if (!fits((uint64_t)bytes, cap))
		return MOTE__MESSAGE_TOO_BIG;

	uint64_t at = CALL_VECTOR + 4 + 4 * (uint64_t)count;
	uint64_t end = string_end(at, name.len);
	__builtin_memcpy(to, call_head, sizeof call_head);
	put_prefix(to, (uint64_t)bytes);
	put_blob(to, at, end, name.data, name.len);
	mote__store32(to + CALL_ROOT + 4, (uint32_t)at - (CALL_ROOT + 4));
	to[CALL_ROOT + 12] = (uint8_t)kind;
	to[CALL_ROOT + 13] = (uint8_t)wire_type(result);
	mote__store32(to + CALL_VECTOR, count);
	/* No parameters, no vector: a guest need not look at an empty one. */
	if (count == 0)
		to[CALL_VTABLE_VECTOR] = 0;
	for (uint32_t i = 0; i < count; i++) {
		uint64_t slot = CALL_VECTOR + 4 + 4 * (uint64_t)i;
		mote__store32(to + slot, (uint32_t)(end - slot));
		end = put_parameter(to, end, &parameters[i]);
	}
	return bytes;
}

/* Write all of a result but its data. vtable: the eight bytes at RESULT_VTABLE. */
static void put_result_head(uint8_t *dst, uint64_t vtable, uint32_t tag, uint64_t bytes)
{
	__builtin_memcpy(dst, result_head, sizeof result_head);
	put_prefix(dst, bytes);
	mote__store64(dst + RESULT_VTABLE, vtable);
	dst[RESULT_TAG] = (uint8_t)tag;
}

/* The words between the head and the length word of a string or bytes result. */
static void put_blob_head(uint8_t *dst, uint32_t type, size_t len, uint64_t bytes)
{
	if (type == MOTE_STRING) {
		put_result_head(dst, VTABLE_STRING, MOTE_STRING, bytes);
		mote__store32(dst + RESULT_DATA, RESULT_STRING - RESULT_DATA);
	} else {
		put_result_head(dst, VTABLE_BYTES, MOTE__WIRE_TAG_BYTES, bytes);
		mote__store32(dst + RESULT_DATA, (uint32_t)len);
		mote__store32(dst + RESULT_DATA + 4, RESULT_BYTES - (RESULT_DATA + 4));
	}
}

int64_t mote__message_result_bytes(const struct mote_value *value)
{
	if (is_scalar(value->type))
		return RESULT_DATA + 8;
	if (value->type == MOTE_VOID)
		return RESULT_DATA;
	return blob_end(value, RESULT_STRING, RESULT_BYTES);
}

int64_t mote__message_encode_result(void *dst, size_t cap, const struct mote_value *value)
{
	uint8_t *to = dst;
	if (is_scalar(value->type)) {
		if (cap < RESULT_DATA + 8)
			return MOTE__MESSAGE_TOO_BIG;
		put_result_head(to, VTABLE_SCALAR, value->type, RESULT_DATA + 8);
		mote__store64(to + RESULT_DATA, scalar_bits(value));
		return RESULT_DATA + 8;
	}
	int64_t total = mote__message_result_bytes(value);
	uint64_t bytes = (uint64_t)total;
	if (total < 0)
		return total;
	if (!fits(bytes, cap))
		return MOTE__MESSAGE_TOO_BIG;
	if (value->type == MOTE_VOID) {
		put_result_head(to, VTABLE_VOID, MOTE__WIRE_TAG_VOID, bytes);
	} else if (value->type == MOTE_STRING) {
		put_blob(to, RESULT_STRING, bytes, value->string.data, value->string.len);
		put_blob_head(to, MOTE_STRING, value->string.len, bytes);
	} else {
		put_blob(to, RESULT_BYTES, bytes, value->bytes.data, value->bytes.len);
		put_blob_head(to, MOTE_BYTES, value->bytes.len, bytes);
	}
	return total;
}

void *mote__message_result_room(void *dst, size_t cap, uint32_t type, size_t *max)
{
	if (type != MOTE_STRING && type != MOTE_BYTES)
		return NULL;
	uint64_t at = type == MOTE_STRING ? RESULT_STRING + 4 : RESULT_BYTES + 4;
	uint64_t behind = type == MOTE_STRING ? at + 1 : at; /* with the NUL */
	uint64_t room = cap < MOTE__MESSAGE_BYTES_MAX ? cap : MOTE__MESSAGE_BYTES_MAX;
	room = mote__round_down(room, 8);
	if (room < behind)
		return NULL;
	*max = (size_t)(room - behind);
	return (uint8_t *)dst + at;
}

int64_t mote__message_result_finish(void *dst, uint32_t type, size_t len)
{
	uint8_t *to = dst;
	uint64_t at = type == MOTE_STRING ? RESULT_STRING : RESULT_BYTES;
	uint64_t end = type == MOTE_STRING ? string_end(at, len) : bytes_end(at, len);
	put_blob_head(to, type, len, end);
	mote__store32(to + at, (uint32_t)len);
	for (uint64_t i = at + 4 + len; i < end; i++)
		to[i] = 0;
	return (int64_t)end;
}

int64_t mote__message_encode_error(void *dst, size_t cap, uint64_t code, const char *message,
				   size_t len)
{
	uint8_t *to = dst;
	if (len > MOTE__MESSAGE_BYTES_MAX)
		return MOTE__MESSAGE_TOO_BIG;
	uint64_t bytes = string_end(ERROR_STRING, len);
	if (!fits(bytes, cap))
		return MOTE__MESSAGE_TOO_BIG;
	put_blob(to, ERROR_STRING, bytes, message, len);
	__builtin_memcpy(to, error_head, sizeof error_head);
	put_prefix(to, bytes);
	mote__store64(to + ERROR_CODE, code);
	return (int64_t)bytes;
}

int64_t mote__message_encode_log(void *dst, size_t cap, const struct mote__log_record *record)
{
	static const uint8_t slots[] = {LOG_MESSAGE, LOG_SOURCE, LOG_CALLER, LOG_FILE};
	const struct mote_string *strings[] = {&record->message, &record->source, &record->caller,
					       &record->file};
	uint8_t *to = dst;
	uint64_t end = LOG_STRINGS;
	if (record->level < MOTE_LOG_ERROR || record->level > MOTE_LOG_TRACE)
		return MOTE__MESSAGE_VALUE;
	for (size_t i = 0; i < 4; i++) {
		if (strings[i]->len > MOTE__MESSAGE_BYTES_MAX)
			return MOTE__MESSAGE_TOO_BIG;
		end = string_end(end, strings[i]->len);
	}
	uint64_t bytes = end;
	if (!fits(bytes, cap))
		return MOTE__MESSAGE_TOO_BIG;

	uint64_t at = LOG_STRINGS;
	for (size_t i = 0; i < 4; i++) {
		end = string_end(at, strings[i]->len);
		put_blob(to, at, end, strings[i]->data, strings[i]->len);
		mote__store32(to + slots[i], (uint32_t)at - slots[i]);
		at = end;
	}
	__builtin_memcpy(to, log_head, sizeof log_head);
	put_prefix(to, bytes);
	mote__store32(to + LOG_LINE, record->line);
	mote__store32(to + LOG_LEVEL, MOTE_LOG_TRACE - record->level); /* 0 trace to 4 error */
	return (int64_t)bytes;
}
