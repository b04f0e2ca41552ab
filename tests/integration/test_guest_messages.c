/* SPDX-License-Identifier: MIT */
/*
 * Hostile ring-3 code at the protocol: every port, and messages with wrong pointers, prefixes and
 * bytes as a result, a host call and a log record. Nothing but the guest is hurt by it.
 */
#include "system.h"

#include <stdbool.h>
#include <stdio.h>
#include <time.h>

#include "core/message.h"

enum { LOG = 99, CALL_HOST = 101, ABORT = 102, PRINT = 103, HALT = 108 };

/* ---- ports ----------------------------------------------------------------------------------- */

/* What one OUT of 1 or 4 bytes must lead to; ports that ring 3 reaches are 99 to 106, 108 to 111.
 */
static const char *expected(uint32_t port, uint32_t bytes, int *code)
{
	static char text[80];
	bool is_open = (port >= 99 && port + bytes <= 107) || (port >= 108 && port + bytes <= 112);
	*code = MOTE_EABORT;
	if (!is_open)
		return "Exception: GeneralProtectionFault";
	*code = MOTE_EPROTOCOL;
	switch (port) {
	case LOG:
		return "Failed to read guest log data: Unable to pop data from buffer: Stack "
		       "pointer is out of bounds. Stack pointer: 8, Buffer size: 16384";
	case CALL_HOST:
		return "Failed to read host function call: Unable to pop data from buffer: Stack "
		       "pointer is out of bounds. Stack pointer: 8, Buffer size: 16384";
	case HALT:
		return "Unable to pop data from buffer: Stack pointer is out of bounds. Stack "
		       "pointer: 8, Buffer size: 16384";
	case ABORT:
	case PRINT:
		*code = MOTE_OK;
		return "";
	default:
		(void)snprintf(text, sizeof text, "Invalid outb port: Invalid OutBAction value: %u",
			       port);
		return text;
	}
}

static void check_port(struct system *s, const char *function, uint32_t port, uint32_t bytes)
{
	int code;
	const char *text = expected(port, bytes, &code);
	if (code == MOTE_OK) {
		CALL_VOID(s, function, mote_u32(port), mote_u32(0));
		return;
	}
	FAILS(s, code, text, MOTE_VOID, function, mote_u32(port), mote_u32(0));
	CHECK_EQ(s->err.poisoned, port != HALT || code == MOTE_EABORT);
	if (s->err.poisoned)
		system_again(s);
	else
		CHECK(CALL_U64(s, "output_address") != 0);
}

TEST(guest_messages__every_port_is_classified)
{
	struct system s;
	OPEN(&s, "hostile_raw");
	for (uint32_t port = 0; port < 256; port++) {
		/* Most are closed alike: all around the open ones, some of the others. */
		if ((port < 90 || port > 116) && port % 8 && port != 0xE1 && port != 0xFF)
			continue;
		check_port(&s, "port8", port, 1);
		check_port(&s, "port32", port, 4);
	}
	static const uint32_t high[] = {0x100, 0x3F8, 0xCF8, 0x8000, 0xFFFF};
	for (unsigned i = 0; i < sizeof high / sizeof *high; i++)
		check_port(&s, "port8", high[i], 1);
	system_close(&s);
}

TEST(guest_messages__in_is_refused_on_every_open_port)
{
	struct system s;
	OPEN(&s, "hostile_raw");
	FAILS(&s, MOTE_EPROTOCOL, "Unexpected VM exit: IN from port 108", MOTE_U32, "port_in",
	      mote_u32(HALT));
	system_again(&s);
	FAILS(&s, MOTE_EPROTOCOL, "Unexpected VM exit: IN from port 99", MOTE_U32, "port_in",
	      mote_u32(LOG));
	system_again(&s);
	FAILS(&s, MOTE_EABORT, "GeneralProtectionFault", MOTE_U32, "port_in", mote_u32(0x3F8));
	system_close(&s);
}

TEST(guest_messages__debug_characters_are_unicode_scalars)
{
	struct system s;
	OPEN(&s, "hostile_raw");
	static const uint32_t good[] = {'A',   0xE4,   0x20AC, 0x1F600, 0x7F,    0x80,    0x7FF,
					0x800, 0xD7FF, 0xE000, 0xFFFF,  0x10000, 0x10FFFF};
	for (unsigned i = 0; i < sizeof good / sizeof *good; i++)
		CALL_VOID(&s, "port32", mote_u32(PRINT), mote_u32(good[i]));
	CHECK_STR(s.printed,
		  "A\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80\x7F\xC2\x80\xDF\xBF\xE0\xA0\x80"
		  "\xED\x9F\xBF\xEE\x80\x80\xEF\xBF\xBF\xF0\x90\x80\x80\xF4\x8F\xBF\xBF");
	static const uint32_t bad[] = {0xD800, 0xDFFF, 0x110000, 0xFFFFFFFF};
	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
		char text[80];
		(void)snprintf(text, sizeof text, "Invalid character for debug print: %u", bad[i]);
		FAILS(&s, MOTE_EPROTOCOL, text, MOTE_VOID, "port32", mote_u32(PRINT),
		      mote_u32(bad[i]));
		CHECK_EQ(s.err.poisoned, 1);
		system_again(&s);
	}
	s.printed[0] = 0;
	CALL_VOID(&s, "port8", mote_u32(PRINT), mote_u32('Z'));
	CALL_VOID(&s, "flood", mote_u32(PRINT), mote_u32('.'), mote_u32(100));
	CHECK_EQ(strlen(s.printed), 101);
	CHECK_EQ(system_statistics(&s).exits_print, 101);
	system_close(&s);
}

/* ---- aborts ---------------------------------------------------------------------------------- */

#define WORDS(...) \
	mote_bytes((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

TEST(guest_messages__aborts_are_put_together_from_chunks)
{
	struct system s;
	OPEN(&s, "hostile_raw");
	FAILS(&s, MOTE_EABORT, "Guest aborted: 13 Hi", MOTE_VOID, "abort_words",
	      WORDS(1, 13, 0, 0, 2, 'H', 'i', 0, 1, 0xFF, 0, 0));
	CHECK_STR(s.err.message, "Guest aborted: 13 Hi");
	CHECK_EQ(s.err.guest_code, 13);
	system_again(&s);
	FAILS(&s, MOTE_EABORT, "Guest aborted: 0 ", MOTE_VOID, "abort_words", WORDS(1, 0xFF, 0, 0));
	system_again(&s);
	FAILS(&s, MOTE_EABORT, "Guest aborted: 7 ab", MOTE_VOID, "abort_words",
	      WORDS(0xFF, 7, 'a', 'b', 3, 0xFF, 'x', 'y'));
	CHECK_STR(s.err.message, "Guest aborted: 7 ab");
	system_again(&s);
	FAILS(&s, MOTE_EABORT, "Guest aborted: 9 \xEF\xBF\xBDz \xEF\xBF\xBD", MOTE_VOID,
	      "abort_words", WORDS(3, 9, 0x80, 'z', 3, 7, 0xC3, 0xFF));
	system_close(&s);
}

TEST(guest_messages__an_abort_that_claims_an_exception_is_shown_as_the_guests_word)
{
	struct system s;
	OPEN(&s, "hostile_raw");
	FAILS(&s, MOTE_EABORT, "Guest aborted: 15 Exception: PageFault | ", MOTE_VOID,
	      "abort_words", WORDS(3, 15, 14, 'x', 1, 0xFF, 0, 0));
	CHECK_EQ(s.err.vector, 14);
	CHECK_EQ(s.err.fault_gva, 0);
	system_again(&s);
	/* Numbers without a name, and a text that begins like one. */
	FAILS(&s, MOTE_EABORT, "Guest aborted: 15  x", MOTE_VOID, "abort_words",
	      WORDS(3, 15, 21, 'x', 1, 0xFF, 0, 0));
	CHECK_EQ(s.err.has_fault, 0);
	system_close(&s);
}

TEST(guest_messages__an_abort_without_an_end_is_forgotten_with_its_call)
{
	struct system s;
	OPEN(&s, "hostile_raw");
	CALL_VOID(&s, "abort_words", WORDS(3, 1, 'a', 'b'));
	FAILS(&s, MOTE_EABORT, "Guest aborted: 5 z", MOTE_VOID, "abort_words",
	      WORDS(2, 5, 'z', 0, 1, 0xFF, 0, 0));
	CHECK_STR(s.err.message, "Guest aborted: 5 z");
	system_close(&s);
}

TEST(guest_messages__the_abort_buffer_is_bounded)
{
	struct system s;
	OPEN(&s, "hostile_raw");
	/* 1023 bytes, one more, and the end. */
	CALL_VOID(&s, "flood", mote_u32(ABORT), mote_u32(0x61616103), mote_u32(341));
	FAILS(&s, MOTE_EABORT, "Guest aborted: 0 Guest abort buffer overflowed", MOTE_VOID, "flood",
	      mote_u32(ABORT), mote_u32(0x61616103), mote_u32(342));
	CHECK_STR(s.err.message, "Guest aborted: 0 Guest abort buffer overflowed");
	CHECK_EQ(s.err.poisoned, 1);
	system_again(&s);
	uint8_t words[342 * 4 + 4];
	for (unsigned i = 0; i < 341; i++)
		memcpy(words + 4 * i, "\003\061\303\244", 4); /* "1ae" with two bytes for ae */
	memcpy(words + 4 * 341, "\002\062\377", 4);
	FAILS(&s, MOTE_EABORT, "Guest aborted: 49 ", MOTE_VOID, "abort_words",
	      mote_bytes(words, 342 * 4));
	CHECK(strlen(s.err.message) < MOTE_ERROR_MESSAGE_BYTES);
	CHECK(strlen(s.err.message) > 400);
	system_close(&s);
}

/* ---- stacks of messages ---------------------------------------------------------------------- */

static const struct {
	uint32_t port;
	const char *prefix;
	uint8_t poisons;
} doors[] = {
	{HALT, "", 0},
	{CALL_HOST, "Failed to read host function call: ", 1},
	{LOG, "Failed to read guest log data: ", 1},
};

static void check_message_at(struct system *s, unsigned door, const void *bytes, size_t len,
			     uint64_t pointer, uint64_t back, const char *text)
{
	char whole[300];
	(void)snprintf(whole, sizeof whole, "%s%s", doors[door].prefix, text);
	FAILS(s, MOTE_EPROTOCOL, whole, MOTE_VOID, "message_at", mote_u32(doors[door].port),
	      mote_bytes(bytes, len), mote_u64(pointer), mote_u64(back));
	CHECK_EQ(s->err.poisoned, doors[door].poisons);
	if (s->err.poisoned)
		system_again(s);
	else
		CHECK(CALL_U64(s, "output_address") != 0);
}

TEST(guest_messages__pointers_out_of_range_are_refused)
{
	struct system s;
	char text[200];
	static const uint64_t pointers[] = {0, 1, 7, 8, 15, 0x4001, 0x8000, 1ull << 63, UINT64_MAX};
	OPEN(&s, "hostile_raw");
	for (unsigned door = 0; door < 3; door++)
		for (unsigned i = 0; i < sizeof pointers / sizeof *pointers; i++) {
			/* The guest cannot write a back-pointer that lies outside. */
			(void)snprintf(text, sizeof text,
				       "Unable to pop data from buffer: Stack pointer is out of "
				       "bounds. Stack pointer: %llu, Buffer size: 16384",
				       (unsigned long long)pointers[i]);
			check_message_at(&s, door, "", 0, pointers[i], 8, text);
		}
	system_close(&s);
}

TEST(guest_messages__back_pointers_out_of_range_are_refused)
{
	struct system s;
	char text[200];
	static const uint64_t backs[] = {0, 7, 0x101, 0x4000, 1ull << 63, UINT64_MAX};
	OPEN(&s, "hostile_raw");
	for (unsigned door = 0; door < 3; door++)
		for (unsigned i = 0; i < sizeof backs / sizeof *backs; i++) {
			(void)snprintf(text, sizeof text,
				       "Corrupt buffer back-pointer: element offset %llu is "
				       "outside valid range [8, %u].",
				       (unsigned long long)backs[i], 0x110 - 16);
			check_message_at(&s, door, "", 0, 0x110, backs[i], text);
		}
	system_close(&s);
}

TEST(guest_messages__size_prefixes_out_of_range_are_refused)
{
	struct system s;
	OPEN(&s, "hostile_raw");
	for (unsigned door = 0; door < 3; door++) {
		check_message_at(&s, door, "\xFF\xFF\xFF\xFF", 4, 0x100, 8,
				 "Corrupt buffer size prefix: value 4294967295 overflows when "
				 "adding 4-byte header.");
		check_message_at(&s, door, "\xFB\xFF\xFF\xFF", 4, 0x100, 8,
				 "Corrupt buffer size prefix: flatbuffer claims 4294967295 bytes "
				 "but the element slot is only 240 bytes.");
		check_message_at(&s, door, "\xED\0\0\0", 4, 0x100, 8,
				 "Corrupt buffer size prefix: flatbuffer claims 241 bytes but the "
				 "element slot is only 240 bytes.");
		check_message_at(&s, door, "\0\0\0\0", 4, 0x100, 8,
				 "pop_buffer_into: failed to convert buffer to ");
	}
	system_close(&s);
}

TEST(guest_messages__a_result_may_be_missing)
{
	struct system s;
	OPEN(&s, "hostile_raw");
	FAILS(&s, MOTE_EPROTOCOL, "Stack pointer: 8, Buffer size: 16384", MOTE_VOID,
	      "halt_without_result");
	CHECK_EQ(s.err.poisoned, 0);
	CHECK_EQ(mote_sandbox_state(s.sandbox), MOTE_STATE_READY);
	CHECK(CALL_U64(&s, "output_address") != 0);
	system_close(&s);
}

/* Messages of the library's own encoder, to begin with. */
static size_t good_message(unsigned door, uint8_t *to, size_t cap)
{
	const struct mote_value values[] = {mote_i32(5), mote_string("text"), mote_bytes("xyz", 3)};
	const struct mote_string name = {"upper", 5}, text = {"text", 4};
	const struct mote__log_record record = {.level = 3,
						.line = 7,
						.message = text,
						.source = name,
						.caller = text,
						.file = name};
	int64_t bytes = 0;
	if (door == 0)
		bytes = mote__message_encode_result(to, cap, &values[1]);
	else if (door == 1)
		bytes = mote__message_encode_call(to, cap, MOTE__CALL_HOST, name, MOTE_STRING,
						  values, 3);
	else
		bytes = mote__message_encode_log(to, cap, &record);
	CHECK(bytes > 0);
	return (size_t)bytes;
}

TEST(guest_messages__good_messages_by_hand_are_taken)
{
	struct system s;
	uint8_t bytes[512];
	OPEN(&s, "hostile_raw", .sandbox.log_level = MOTE_LOG_INFO);
	size_t len = good_message(0, bytes, sizeof bytes);
	CHECK_STR(CALL_TEXT(&s, "message", mote_u32(HALT), mote_bytes(bytes, len)), "text");
	len = good_message(2, bytes, sizeof bytes);
	CALL_VOID(&s, "message", mote_u32(LOG), mote_bytes(bytes, len));
	CHECK_STR(s.logged, "3 upper text upper 7 text\n");
	len = good_message(1, bytes, sizeof bytes);
	/* Three values for a function of one: the guest gets an error as the answer. */
	CALL_VOID(&s, "message", mote_u32(CALL_HOST), mote_bytes(bytes, len));
	CHECK_EQ(system_statistics(&s).exits_call, 1);
	system_close(&s);
}

/* Every outcome of a damaged message is one of these. */
static void check_outcome(struct system *s, int rc)
{
	if (rc != MOTE_OK && rc != MOTE_EPROTOCOL && rc != MOTE_ETYPE && rc != MOTE_EGUEST)
		check_failed(__FILE__, __LINE__, "%s: %s", mote_code_name(rc), s->err.message);
	if (rc < 0)
		CHECK(!strpbrk(s->err.message, "\n\r\033"));
	if (mote_sandbox_state(s->sandbox) == MOTE_STATE_POISONED)
		system_again(s);
	else
		CHECK(CALL_U64(s, "output_address") != 0);
}

static void check_damaged(struct system *s, unsigned door, const uint8_t *bytes, size_t len)
{
	const struct mote_value arguments[] = {mote_u32(doors[door].port), mote_bytes(bytes, len)};
	struct mote_call call = *CALL_OF("message", door == 0 ? MOTE_STRING : MOTE_VOID);
	struct mote_value result;
	call.arguments = arguments;
	call.argument_count = 2;
	int rc = mote_sandbox_call(s->sandbox, &call, &result, &s->err);
	if (rc == MOTE_OK && door == 0)
		CHECK(result.string.data[result.string.len] == 0);
	check_outcome(s, rc);
}

TEST(guest_messages__damaged_messages_are_refused_or_read_safely)
{
	struct system s;
	uint64_t seed = (uint64_t)time(NULL) | 1, state = seed;
	uint8_t good[512], bad[512];
	check_note("seed %llu", (unsigned long long)seed);
	OPEN(&s, "hostile_raw");
	for (unsigned door = 0; door < 3; door++) {
		size_t len = good_message(door, good, sizeof good);
		for (unsigned i = system_repetitions(150); i > 0; i--) {
			memcpy(bad, good, len);
			for (uint64_t j = check_random(&state) % 3 + 1; j > 0; j--)
				bad[check_random(&state) % len] = (uint8_t)check_random(&state);
			check_damaged(&s, door, bad, len);
		}
	}
	system_close(&s);
}

TEST(guest_messages__truncated_messages_are_refused)
{
	struct system s;
	uint8_t good[512];
	OPEN(&s, "hostile_raw");
	for (unsigned door = 0; door < 3; door++) {
		size_t len = good_message(door, good, sizeof good);
		for (size_t cut = 4; cut < len; cut += system_is_emulated() ? 24 : 4) {
			uint32_t prefix = (uint32_t)cut - 4;
			memcpy(good, &prefix, sizeof prefix);
			check_damaged(&s, door, good, cut);
		}
	}
	system_close(&s);
}

/* ---- host functions -------------------------------------------------------------------------- */

static void check_call(struct system *s, const char *name, const struct mote_value *values,
		       uint32_t count)
{
	uint8_t bytes[2048];
	const struct mote_string text = {name, strlen(name)};
	int64_t len = mote__message_encode_call(bytes, sizeof bytes, MOTE__CALL_HOST, text,
						MOTE_STRING, values, count);
	CHECK(len > 0);
	CALL_VOID(s, "message", mote_u32(CALL_HOST), mote_bytes(bytes, (size_t)len));
}

TEST(guest_messages__host_calls_of_any_name_count_and_type_get_an_error_back)
{
	struct system s;
	struct mote_value many[32];
	OPEN(&s, "hostile_raw");
	for (unsigned i = 0; i < 32; i++)
		many[i] = mote_u64(i);
	check_call(&s, "nobody", NULL, 0);
	check_call(&s, "upper", NULL, 0);
	check_call(&s, "upper", many, 1);
	check_call(&s, "upper", many, 32);
	check_call(&s, "a name\nwith\033controls", many, 2);
	char name[1000];
	memset(name, 'n', sizeof name - 1);
	name[sizeof name - 1] = 0;
	check_call(&s, name, NULL, 0);
	CHECK_EQ(system_statistics(&s).exits_call, 6);
	system_close(&s);
}
