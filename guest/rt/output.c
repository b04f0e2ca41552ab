/* SPDX-License-Identifier: MIT */
/*
 * The output buffer, log records and aborts.
 *
 * The host pops every message in the exit that follows its push, so the buffer is empty whenever
 * the guest runs and each message starts at its first place.
 */
#include "rt.h"

#include "core/message.h"

#include <string.h>

#define STACK_FIRST 8u /* offset of the first message on a stack; bytes of a back-pointer */

static uint8_t *output(void)
{
	return (uint8_t *)mote__guest.run->output;
}

static void store64(uint8_t *to, uint64_t value)
{
	__builtin_memcpy(to, &value, sizeof value);
}

void *mote__guest_room(size_t *cap)
{
	*cap = mote__guest.run->output_bytes - 2ull * STACK_FIRST;
	return output() + STACK_FIRST;
}

void mote__guest_push(size_t len)
{
	store64(output() + STACK_FIRST + len, STACK_FIRST);
	store64(output(), STACK_FIRST + len + STACK_FIRST);
}

static struct mote_string string_of(const char *text)
{
	return (struct mote_string){text, strlen(text)};
}

void mote__guest_log_send(uint32_t level, const char *file, uint32_t line, const char *function,
			  const struct mote__guest_text *text)
{
	char clean[MOTE__GUEST_TEXT_BYTES];
	size_t cap, len = mote__guest_utf8_copy(clean, sizeof clean, text->data, text->len);
	struct mote__log_record record = {
		.level = level,
		.line = line,
		.message = {clean, len},
		.source = string_of("guest"),
		.caller = string_of(function),
		.file = string_of(file),
	};
	void *room = mote__guest_room(&cap);
	int64_t bytes = mote__message_encode_log(room, cap, &record);
	if (bytes < 0)
		return;
	mote__guest_push((size_t)bytes);
	mote__guest_out(MOTE_ABI_PORT_LOG, 0);
}

/* ---- Abort: chunks of a length and up to three bytes, ended by the byte 0xFF ---- */

#define ABORT_END 0xFFu

struct chunk {
	uint32_t word;
	unsigned count;
};

static void chunk_send(struct chunk *chunk)
{
	if (chunk->count > 0)
		mote__guest_out(MOTE_ABI_PORT_ABORT, chunk->word | chunk->count);
	*chunk = (struct chunk){0, 0};
}

static void chunk_add(struct chunk *chunk, uint8_t byte)
{
	chunk->word |= (uint32_t)byte << (8 + 8 * chunk->count++);
	if (chunk->count == 3)
		chunk_send(chunk);
}

static _Noreturn void abort_send(struct chunk *chunk, const char *text, size_t len)
{
	/* The host keeps 1024 bytes: code, vector and text. */
	size_t count = len < MOTE__GUEST_TEXT_BYTES ? len : MOTE__GUEST_TEXT_BYTES;
	for (size_t i = 0; i < count; i++) {
		uint8_t byte = (uint8_t)text[i];
		chunk_add(chunk, byte == ABORT_END ? '?' : byte);
	}
	chunk_add(chunk, ABORT_END);
	chunk_send(chunk);
	for (;;) /* the host never comes back */
		__builtin_trap();
}

/* A text that starts so would be taken for the number of an exception. */
static bool is_vector(char first)
{
	return (uint8_t)first <= 20 || first == 30;
}

_Noreturn void mote__guest_abort(uint8_t code, const char *text, size_t len)
{
	struct chunk chunk = {0, 0};
	chunk_add(&chunk, code == ABORT_END ? MOTE_GUEST_UNKNOWN_ERROR : code);
	if (len > 0 && is_vector(text[0]))
		chunk_add(&chunk, ' ');
	abort_send(&chunk, text, len);
}

_Noreturn void mote__guest_abort_exception(uint8_t vector, const char *text, size_t len)
{
	struct chunk chunk = {0, 0};
	chunk_add(&chunk, MOTE_GUEST_ERROR);
	chunk_add(&chunk, vector);
	abort_send(&chunk, text, len);
}

_Noreturn void mote_guest_abort(uint8_t code, const char *text)
{
	mote__guest_flush();
	mote__guest_abort(code, text, strlen(text));
}
