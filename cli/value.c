/* SPDX-License-Identifier: MIT */
/* Values of guests for people and for programs. See value.h. */
#include "value.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { DUMP_WIDTH = 16 };

static void dump(FILE *out, const uint8_t *data, size_t len)
{
	for (size_t at = 0; at < len; at += DUMP_WIDTH) {
		size_t count = len - at < DUMP_WIDTH ? len - at : DUMP_WIDTH;
		(void)fprintf(out, "%08zx ", at);
		for (size_t i = 0; i < DUMP_WIDTH; i++) {
			(void)fputs(i == DUMP_WIDTH / 2 ? "  " : " ", out);
			if (i < count)
				(void)fprintf(out, "%02x", data[at + i]);
			else
				(void)fputs("  ", out);
		}
		(void)fputs("  |", out);
		for (size_t i = 0; i < count; i++) {
			uint8_t byte = data[at + i];
			(void)fputc(byte >= 0x20 && byte < 0x7F ? byte : '.', out);
		}
		(void)fputs("|\n", out);
	}
	(void)fprintf(out, "%zu %s\n", len, len == 1 ? "byte" : "bytes");
}

/** The fewest digits from which value can be read back. */
static int digits_of(const struct mote_value *value)
{
	char text[64];
	if (value->type == MOTE_F32) {
		for (int digits = 6; digits < 9; digits++) {
			(void)snprintf(text, sizeof text, "%.*g", digits, (double)value->f32);
			float back = strtof(text, NULL);
			if (back == value->f32)
				return digits;
		}
		return 9;
	}
	for (int digits = 15; digits < 17; digits++) {
		(void)snprintf(text, sizeof text, "%.*g", digits, value->f64);
		double back = strtod(text, NULL);
		if (back == value->f64)
			return digits;
	}
	return 17;
}

static double number_of(const struct mote_value *value)
{
	return value->type == MOTE_F32 ? (double)value->f32 : value->f64;
}

void mote__value_print(FILE *out, const struct mote_value *value, enum text_mode mode)
{
	switch (value->type) {
	case MOTE_VOID:
		break;
	case MOTE_I32:
		(void)fprintf(out, "%" PRId32 "\n", value->i32);
		break;
	case MOTE_U32:
		(void)fprintf(out, "%" PRIu32 "\n", value->u32);
		break;
	case MOTE_I64:
		(void)fprintf(out, "%" PRId64 "\n", value->i64);
		break;
	case MOTE_U64:
		(void)fprintf(out, "%" PRIu64 "\n", value->u64);
		break;
	case MOTE_F32:
	case MOTE_F64:
		(void)fprintf(out, "%.*g\n", digits_of(value), number_of(value));
		break;
	case MOTE_BOOL:
		(void)fputs(value->boolean ? "true\n" : "false\n", out);
		break;
	case MOTE_STRING:
		mote__output_text(out, value->string.data, value->string.len, mode);
		(void)fputc('\n', out);
		break;
	case MOTE_BYTES:
		dump(out, value->bytes.data, value->bytes.len);
		break;
	default:
		(void)fprintf(out, "a value of the unknown type %" PRIu32 "\n", value->type);
	}
}

void mote__value_write(FILE *out, const struct mote_value *value)
{
	if (value->type == MOTE_STRING)
		mote__output_text(out, value->string.data, value->string.len, TEXT_RAW);
	else if (value->type == MOTE_BYTES)
		mote__output_text(out, value->bytes.data, value->bytes.len, TEXT_RAW);
	else
		mote__value_print(out, value, TEXT_RAW);
}

void mote__value_json(struct json *json, const char *key, const struct mote_value *value)
{
	mote__emit_object(json, key);
	mote__emit_text(json, "type", mote_type_name(value->type));
	switch (value->type) {
	case MOTE_I32:
		mote__emit_i64(json, "value", value->i32);
		break;
	case MOTE_U32:
		mote__emit_u64(json, "value", value->u32);
		break;
	case MOTE_I64:
		mote__emit_i64(json, "value", value->i64);
		break;
	case MOTE_U64:
		mote__emit_u64(json, "value", value->u64);
		break;
	case MOTE_F32:
	case MOTE_F64:
		mote__emit_f64(json, "value", number_of(value), digits_of(value));
		break;
	case MOTE_BOOL:
		mote__emit_bool(json, "value", value->boolean != 0);
		break;
	case MOTE_STRING:
		mote__emit_text_of(json, "value", value->string.data, value->string.len);
		break;
	case MOTE_BYTES:
		mote__emit_hex(json, "value", value->bytes.data, value->bytes.len);
		break;
	default:
		mote__emit_null(json, "value");
	}
	mote__emit_end(json);
}

static uint32_t parameters_of(const struct mote_function *function)
{
	return function->parameter_count < MOTE_MAX_PARAMETERS ? function->parameter_count
							       : MOTE_MAX_PARAMETERS;
}

void mote__function_print(FILE *out, const struct mote_function *function)
{
	(void)fprintf(out, "%s ", mote_type_name(function->result));
	mote__output_name(out, function->name);
	(void)fputc('(', out);
	for (uint32_t i = 0; i < parameters_of(function); i++)
		(void)fprintf(out, "%s%s", i ? ", " : "", mote_type_name(function->parameters[i]));
	(void)fputc(')', out);
}

void mote__function_json(struct json *json, const struct mote_function *function)
{
	mote__emit_object(json, NULL);
	mote__emit_text(json, "name", function->name);
	mote__emit_text(json, "result", mote_type_name(function->result));
	mote__emit_array(json, "parameters");
	for (uint32_t i = 0; i < parameters_of(function); i++)
		mote__emit_text(json, NULL, mote_type_name(function->parameters[i]));
	mote__emit_end(json);
	mote__emit_end(json);
}
