/* SPDX-License-Identifier: MIT */
/* Hosts: functions that are added, calls of them by a guest, prints and logs, imports. */
#define _GNU_SOURCE
#include "world.h"

#include "core/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct world w;

/* ---- adding ---------------------------------------------------------------------------------- */

static int nothing(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	(void)cookie;
	(void)arguments;
	(void)reply;
	return 0;
}

static mote_host *new_host(void)
{
	mote_host *host = NULL;
	OK(&w, mote_host_create(&host, &w.err));
	return host;
}

#define REFUSES(part, ...)                                                                 \
	do {                                                                               \
		mote_host *host_ = new_host();                                             \
		const struct mote_host_function f_ = {                                     \
			.size = sizeof f_, .name = "f", .callback = nothing, __VA_ARGS__}; \
		FAILS(&w, mote_host_add(host_, &f_, &w.err), MOTE_EINVAL);                 \
		CHECK_HAS(w.err.message, part);                                            \
		mote_host_unref(host_);                                                    \
	} while (0)

#pragma GCC diagnostic ignored "-Woverride-init"

TEST(host__refuses_functions_out_of_range)
{
	static const uint32_t void_type[] = {MOTE_I32, MOTE_VOID}, unknown[] = {MOTE_BYTES + 1};
	char name[257];
	memset(name, 'n', 256);
	name[256] = 0;
	REFUSES("a function's name has 0 bytes, limits are 1 to 255", .name = NULL);
	REFUSES("a function's name has 0 bytes, limits are 1 to 255", .name = "");
	REFUSES("a function's name has 256 bytes, limits are 1 to 255", .name = name);
	REFUSES("a function's name is not UTF-8", .name = "\xff");
	REFUSES("f: callback is NULL", .callback = NULL);
	REFUSES("f: result type is 10, at most 9", .result = MOTE_BYTES + 1);
	REFUSES("f: 33 parameters, at most 32", .parameter_count = 33, .parameters = unknown);
	REFUSES("f: parameters is NULL", .parameter_count = 1);
	REFUSES("f: type of parameter 1 is 0, limits are 1 to 9", .parameter_count = 2,
		.parameters = void_type);
	REFUSES("f: type of parameter 0 is 10, limits are 1 to 9", .parameter_count = 1,
		.parameters = unknown);
	REFUSES("mote_host_function.size is 8, at least", .size = 8);
}

TEST(host__accepts_functions_at_the_limits)
{
	mote_host *host = new_host();
	uint32_t types[32];
	char name[256];
	for (unsigned i = 0; i < 32; i++)
		types[i] = 1 + i % MOTE_BYTES;
	memset(name, 'n', 255);
	name[255] = 0;
	const struct mote_host_function f = {.size = sizeof f,
					     .name = name,
					     .callback = nothing,
					     .result = MOTE_BYTES,
					     .parameter_count = 32,
					     .parameters = types};
	OK(&w, mote_host_add(host, &f, &w.err));
	const struct mote__host_entry *e = mote__host_find(host, name, 255);
	CHECK(e && e->parameter_count == 32 && e->parameters[31] == types[31]);
	CHECK(mote__host_find(host, name, 254) == NULL);
	mote_host_unref(host);
}

TEST(host__refuses_missing_arguments)
{
	mote_host *host = new_host();
	const struct mote_host_function f = {.size = sizeof f, .name = "f", .callback = nothing};
	FAILS(&w, mote_host_create(NULL, &w.err), MOTE_EINVAL);
	CHECK_STR(w.err.message, "host is NULL");
	FAILS(&w, mote_host_add(NULL, &f, &w.err), MOTE_EINVAL);
	FAILS(&w, mote_host_add(host, NULL, &w.err), MOTE_EINVAL);
	CHECK_STR(w.err.message, "function is NULL");
	FAILS(&w, mote_host_on_print(NULL, NULL, NULL, &w.err), MOTE_EINVAL);
	FAILS(&w, mote_host_on_log(NULL, NULL, NULL, &w.err), MOTE_EINVAL);
	mote_host_unref(host);
	mote_host_unref(NULL);
}

static void count(void *cookie)
{
	++*(unsigned *)cookie;
}

TEST(host__a_function_of_the_same_name_replaces_the_first)
{
	mote_host *host = new_host();
	unsigned first = 0, second = 0;
	struct mote_host_function f = {.size = sizeof f,
				       .name = "f",
				       .callback = nothing,
				       .cookie = &first,
				       .destroy_cookie = count};
	OK(&w, mote_host_add(host, &f, &w.err));
	f.cookie = &second;
	f.result = MOTE_U64;
	OK(&w, mote_host_add(host, &f, &w.err));
	CHECK(first == 1 && second == 0);
	CHECK_EQ(mote__host_find(host, "f", 1)->result, MOTE_U64);
	CHECK(mote_host_ref(host) == host);
	mote_host_unref(host);
	CHECK_EQ(second, 0);
	mote_host_unref(host);
	CHECK(first == 1 && second == 1);
}

TEST(host__a_refused_function_keeps_its_cookie)
{
	mote_host *host = new_host();
	unsigned destroyed = 0;
	const struct mote_host_function f = {
		.size = sizeof f, .name = "", .cookie = &destroyed, .destroy_cookie = count};
	FAILS(&w, mote_host_add(host, &f, &w.err), MOTE_EINVAL);
	mote_host_unref(host);
	CHECK_EQ(destroyed, 0);
}

TEST(host__holds_many_functions)
{
	mote_host *host = new_host();
	char name[16];
	for (unsigned i = 0; i < 100; i++) {
		snprintf(name, sizeof name, "f%u", i);
		OK(&w, MOTE_HOST_ADD(host, name, nothing, NULL, &w.err, MOTE_I32, MOTE_I32));
	}
	for (unsigned i = 0; i < 100; i++) {
		snprintf(name, sizeof name, "f%u", i);
		CHECK(mote__host_find(host, name, strlen(name)) != NULL);
	}
	CHECK(mote__host_find(host, "f100", 4) == NULL);
	CHECK(mote__host_find(host, "HostPrint", 9) != NULL);
	mote_host_unref(host);
}

TEST(host__is_frozen_by_a_sandbox)
{
	world_make(&w, CONFINED, &(const struct double_guest){0});
	const struct mote_host_function f = {.size = sizeof f, .name = "f", .callback = nothing};
	OK(&w, mote_host_add(w.host, &f, &w.err));
	world_sandbox(&w, NULL);
	FAILS(&w, mote_host_add(w.host, &f, &w.err), MOTE_ESTATE);
	CHECK_STR(w.err.message, "the host is frozen: a sandbox was made with it");
	FAILS(&w, mote_host_on_print(w.host, NULL, NULL, &w.err), MOTE_ESTATE);
	FAILS(&w, mote_host_on_log(w.host, NULL, NULL, &w.err), MOTE_ESTATE);
	mote_sandbox_destroy(w.sandbox);
	w.sandbox = NULL;
	FAILS(&w, mote_host_add(w.host, &f, &w.err), MOTE_ESTATE);
	world_free(&w);
}

/* A creation that comes to nothing is none: the host can still be completed. */
TEST_BOTH(host__is_not_frozen_by_a_sandbox_that_could_not_be_made)
{
	const struct mote_host_function f = {.size = sizeof f, .name = "f", .callback = nothing};
	const struct mote_sandbox_options small = {.size = sizeof small, .memory_max = 1};
	static const unsigned failures[] = {DOUBLE_CREATE, DOUBLE_MAP, DOUBLE_SET_SPECIAL};
	world_make(&w, kind, &(const struct double_guest){0});
	for (size_t i = 0; i < 3; i++) {
		w.hypervisor->fail = failures[i];
		FAILS(&w,
		      mote_sandbox_create(w.engine, w.snapshot, w.host, NULL, &w.sandbox, &w.err),
		      MOTE_ESYSTEM);
		OK(&w, mote_host_add(w.host, &f, &w.err));
	}
	w.hypervisor->fail = 0;
	FAILS(&w, mote_sandbox_create(w.engine, w.snapshot, w.host, &small, &w.sandbox, &w.err),
	      MOTE_EINVAL);
	OK(&w, mote_host_add(w.host, &f, &w.err));
	OK(&w, mote_host_on_print(w.host, NULL, NULL, &w.err));
	OK(&w, mote_host_on_log(w.host, NULL, NULL, &w.err));
	world_sandbox(&w, NULL);
	FAILS(&w, mote_host_add(w.host, &f, &w.err), MOTE_ESTATE);
	world_free(&w);
}

/* ---- calls by a guest ------------------------------------------------------------------------ */

/* What the guest asks for, and what it heard. */
static struct {
	const char *name;
	uint32_t result, count;
	struct mote_value arguments[40];
	unsigned times;
	bool is_error;
	uint64_t code;
	char text[512];
	struct mote_value value;
	uint8_t payload[512];
} asked;

static void hear(struct double_machine *m)
{
	struct mote__result_view answer = guest_pop_answer(m);
	asked.is_error = answer.is_error;
	asked.code = answer.code;
	asked.text[0] = 0;
	if (answer.is_error) {
		CHECK(answer.message.len < sizeof asked.text);
		memcpy(asked.text, answer.message.data, answer.message.len + 1);
		return;
	}
	asked.value = answer.value;
	if (answer.value.type == MOTE_STRING || answer.value.type == MOTE_BYTES)
		memcpy(asked.payload, answer.value.bytes.data,
		       answer.value.bytes.len < sizeof asked.payload ? answer.value.bytes.len
								     : sizeof asked.payload);
}

static void ask(struct double_machine *m, struct mote__exit *exit)
{
	if (m->step == 0)
		(void)guest_pop_call(m);
	else
		hear(m);
	if (m->step < (asked.times ? asked.times : 1)) {
		guest_push_call(m, asked.name, asked.result, asked.arguments, asked.count);
		double_out(exit, MOTE_ABI_PORT_CALL, 0);
		return;
	}
	guest_return(m, exit, mote_i32(1));
}

static const struct double_guest asker = {NULL, ask, NULL};

#define ASK(name_, result_, ...)                                             \
	do {                                                                 \
		const struct mote_value a_[] = {mote_void(), __VA_ARGS__};   \
		memset(&asked, 0, sizeof asked);                             \
		asked.name = (name_);                                        \
		asked.result = (result_);                                    \
		asked.count = (uint32_t)(sizeof a_ / sizeof a_[0]) - 1;      \
		memcpy(asked.arguments, a_ + 1, asked.count * sizeof a_[0]); \
		OK(&w, world_call(&w, MOTE_I32, NULL));                      \
		CHECK_EQ(mote_sandbox_state(w.sandbox), MOTE_STATE_READY);   \
	} while (0)

/* The guest got an error with exactly this text. */
#define HEARD(expected)                          \
	do {                                     \
		CHECK(asked.is_error);           \
		CHECK_EQ(asked.code, 17);        \
		CHECK_STR(asked.text, expected); \
	} while (0)

/* Answers with its argument. */
static int mirror(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	(void)cookie;
	switch (arguments[0].type) {
	case MOTE_I32:
		return mote_reply_i32(reply, arguments[0].i32);
	case MOTE_U32:
		return mote_reply_u32(reply, arguments[0].u32);
	case MOTE_I64:
		return mote_reply_i64(reply, arguments[0].i64);
	case MOTE_U64:
		return mote_reply_u64(reply, arguments[0].u64);
	case MOTE_F32:
		return mote_reply_f32(reply, arguments[0].f32);
	case MOTE_F64:
		return mote_reply_f64(reply, arguments[0].f64);
	case MOTE_BOOL:
		return mote_reply_bool(reply, arguments[0].boolean);
	case MOTE_STRING:
		/* Followed by a NUL. */
		CHECK_EQ(strlen(arguments[0].string.data), arguments[0].string.len);
		return mote_reply_string(reply, arguments[0].string.data, arguments[0].string.len);
	default:
		return mote_reply_bytes(reply, arguments[0].bytes.data, arguments[0].bytes.len);
	}
}

static void add(const char *name, mote_host_callback callback, uint32_t result, uint32_t parameter)
{
	const struct mote_host_function f = {.size = sizeof f,
					     .name = name,
					     .callback = callback,
					     .cookie = &w,
					     .result = result,
					     .parameter_count = parameter ? 1 : 0,
					     .parameters = &parameter};
	OK(&w, mote_host_add(w.host, &f, &w.err));
}

TEST_BOTH(host__every_type_goes_both_ways)
{
	static const struct mote_value rows[] = {
		{MOTE_I32, 0, {.i32 = INT32_MIN}},
		{MOTE_U32, 0, {.u32 = UINT32_MAX}},
		{MOTE_I64, 0, {.i64 = INT64_MIN}},
		{MOTE_U64, 0, {.u64 = UINT64_MAX}},
		{MOTE_F32, 0, {.f32 = -1.5f}},
		{MOTE_F64, 0, {.f64 = 1e300}},
		{MOTE_BOOL, 0, {.boolean = 1}},
		{MOTE_STRING, 0, {.string = {"gr\xc3\xbc\xc3\x9f", 6}}},
		{MOTE_STRING, 0, {.string = {"", 0}}},
		{MOTE_BYTES, 0, {.bytes = {"\0\1\2", 3}}},
		{MOTE_BYTES, 0, {.bytes = {"", 0}}},
	};
	world_make(&w, kind, &asker);
	for (uint32_t type = MOTE_I32; type <= MOTE_BYTES; type++)
		add(mote_type_name(type), mirror, type, type);
	world_sandbox(&w, NULL);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		ASK(mote_type_name(rows[i].type), rows[i].type, rows[i]);
		CHECK(!asked.is_error);
		CHECK_EQ(asked.value.type, rows[i].type);
		if (rows[i].type == MOTE_STRING || rows[i].type == MOTE_BYTES) {
			CHECK_EQ(asked.value.bytes.len, rows[i].bytes.len);
			CHECK_MEM(asked.payload, rows[i].bytes.data, rows[i].bytes.len);
		} else if (rows[i].type == MOTE_BOOL) {
			CHECK_EQ(asked.value.boolean, 1);
		} else {
			CHECK_EQ(asked.value.u64, rows[i].u64);
		}
	}
	world_free(&w);
}

TEST_BOTH(host__a_function_without_an_answer_gives_zero)
{
	world_make(&w, kind, &asker);
	for (uint32_t type = MOTE_VOID; type <= MOTE_BYTES; type++)
		add(mote_type_name(type), nothing, type, 0);
	world_sandbox(&w, NULL);
	for (uint32_t type = MOTE_VOID; type <= MOTE_BYTES; type++) {
		ASK(mote_type_name(type), type, );
		CHECK(!asked.is_error && asked.value.type == type);
		if (type == MOTE_STRING || type == MOTE_BYTES)
			CHECK_EQ(asked.value.bytes.len, 0);
		else if (type != MOTE_VOID)
			CHECK_EQ(asked.value.u64, 0);
	}
	world_free(&w);
}

TEST_BOTH(host__refuses_calls_that_do_not_fit_the_declaration)
{
	world_make(&w, kind, &asker);
	add("text", mirror, MOTE_STRING, MOTE_STRING);
	add("number", mirror, MOTE_I32, MOTE_I32);
	add("none", nothing, MOTE_VOID, 0);
	world_sandbox(&w, NULL);
	ASK("missing", MOTE_I32, );
	HEARD("HostFunction missing was not found");
	ASK("", MOTE_I32, );
	HEARD("HostFunction  was not found");
	ASK("none", MOTE_I32, mote_i32(1));
	HEARD("The number of arguments to the function is wrong: got 1 expected 0");
	ASK("text", MOTE_I32, );
	HEARD("The number of arguments to the function is wrong: got 0 expected 1");
	ASK("text", MOTE_I32, mote_i32(-5));
	HEARD("Failed To Convert Parameter Value Int(-5) to \"String\"");
	ASK("number", MOTE_I32, mote_u32(5));
	HEARD("Failed To Convert Parameter Value UInt(5) to \"i32\"");
	ASK("number", MOTE_I32, mote_i64(-6));
	HEARD("Failed To Convert Parameter Value Long(-6) to \"i32\"");
	ASK("number", MOTE_I32, mote_u64(6));
	HEARD("Failed To Convert Parameter Value ULong(6) to \"i32\"");
	ASK("number", MOTE_I32, mote_f32(1.5f));
	HEARD("Failed To Convert Parameter Value Float(1.5) to \"i32\"");
	ASK("number", MOTE_I32, mote_f64(-2.5));
	HEARD("Failed To Convert Parameter Value Double(-2.5) to \"i32\"");
	ASK("number", MOTE_I32, mote_bool(1));
	HEARD("Failed To Convert Parameter Value Bool(true) to \"i32\"");
	ASK("number", MOTE_I32, mote_string("x"));
	HEARD("Failed To Convert Parameter Value String(\"x\") to \"i32\"");
	ASK("number", MOTE_I32, mote_bytes("xyz", 3));
	HEARD("Failed To Convert Parameter Value VecBytes(3 bytes) to \"i32\"");
	world_free(&w);
}

TEST(host__long_texts_of_a_guest_are_cut_between_characters)
{
	char text[301];
	world_make(&w, CONFINED, &asker);
	add("number", mirror, MOTE_I32, MOTE_I32);
	world_sandbox(&w, NULL);
	/* Characters of three bytes, so that no round number of bytes is a whole one. */
	for (unsigned i = 0; i < 300; i += 3)
		memcpy(text + i, "\xe2\x82\xac", 3);
	text[300] = 0;
	ASK("number", MOTE_I32, mote_string(text));
	CHECK_HAS(asked.text, "Failed To Convert Parameter Value String(\"\xe2\x82\xac");
	CHECK_HAS(asked.text, "\") to \"i32\"");
	ASK(text, MOTE_I32, );
	CHECK_HAS(asked.text, "HostFunction \xe2\x82\xac");
	CHECK_HAS(asked.text, "\xe2\x82\xac was not found");
	world_free(&w);
}

static void put(uint8_t *message, unsigned at, unsigned bytes, uint32_t value)
{
	memcpy(message + at, &value, bytes);
}

/* A good call of asked.name (4 bytes) with 33 parameters, which the encoder does not make: all of
 * them are the one table at 192. */
static void encode_33(uint8_t message[220])
{
	static const uint16_t vtables[][7] = {
		{8, 12, 16, 4, 8, 12, 13}, {184, 8, 12, 8, 4}, {204, 6, 8, 4}};
	memset(message, 0, 220);
	put(message, 0, 4, 216);
	put(message, 4, 4, 20 - 4);
	for (unsigned i = 0; i < 3; i++)
		memcpy(message + vtables[i][0], &vtables[i][1], vtables[i][1]);
	put(message, 20, 4, 20 - 8);
	put(message, 24, 4, 36 - 24);
	put(message, 28, 4, 48 - 28);
	put(message, 32, 1, MOTE__CALL_HOST);
	put(message, 36, 4, 4);
	memcpy(message + 40, asked.name, 4);
	put(message, 48, 4, 33);
	for (unsigned i = 0; i < 33; i++)
		put(message, 52 + 4 * i, 4, 192 - (52 + 4 * i));
	put(message, 192, 4, 192 - 184);
	put(message, 196, 4, 212 - 196);
	put(message, 200, 1, MOTE_BOOL);
	put(message, 212, 4, 212 - 204);
	put(message, 216, 1, 1);
}

static void ask_for_33(struct double_machine *m, struct mote__exit *exit)
{
	uint8_t message[220];
	if (m->step == 1) {
		hear(m);
		guest_return(m, exit, mote_i32(1));
		return;
	}
	(void)guest_pop_call(m);
	encode_33(message);
	guest_push(m, message, sizeof message);
	double_out(exit, MOTE_ABI_PORT_CALL, 0);
}

TEST_BOTH(host__more_than_32_parameters_are_refused)
{
	const struct double_guest guest = {NULL, ask_for_33, NULL};
	world_make(&w, kind, &guest);
	add("none", nothing, MOTE_VOID, 0);
	world_sandbox(&w, NULL);
	ASK("none", MOTE_VOID, );
	HEARD("The number of arguments to the function is wrong: got 33 expected 0");
	ASK("nono", MOTE_VOID, );
	HEARD("HostFunction nono was not found");
	world_free(&w);
}

static int fail_silently(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	(void)cookie;
	(void)arguments;
	(void)reply;
	return -7;
}

static int fail_loudly(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	(void)cookie;
	(void)arguments;
	return mote_reply_error(reply, "disk %d is full", 3);
}

static int fail_after_an_answer(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	(void)cookie;
	(void)arguments;
	CHECK_EQ(mote_reply_i32(reply, 5), MOTE_OK);
	return 1;
}

static int answer_twice(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	(void)cookie;
	(void)arguments;
	CHECK_EQ(mote_reply_i32(reply, 5), MOTE_OK);
	return mote_reply_i32(reply, 6);
}

static int answer_wrong_type(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	(void)cookie;
	(void)arguments;
	CHECK_EQ(mote_reply_u32(reply, 5), MOTE_ETYPE);
	return 0;
}

static int answer_bad_text(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	(void)cookie;
	(void)arguments;
	CHECK_EQ(mote_reply_string(reply, "a\xff", 2), MOTE_EINVAL);
	return 0;
}

static int fail_at_length(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	char text[600];
	(void)cookie;
	(void)arguments;
	memset(text, 0, sizeof text);
	for (unsigned i = 0; i < 597; i += 3)
		memcpy(text + i, "\xe2\x82\xac", 3);
	return mote_reply_error(reply, "%s", text);
}

TEST_BOTH(host__failing_functions_are_errors_of_the_guest)
{
	world_make(&w, kind, &asker);
	add("silent", fail_silently, MOTE_I32, 0);
	add("loud", fail_loudly, MOTE_I32, 0);
	add("late", fail_after_an_answer, MOTE_I32, 0);
	add("twice", answer_twice, MOTE_I32, 0);
	add("wrong", answer_wrong_type, MOTE_I32, 0);
	add("bad", answer_bad_text, MOTE_STRING, 0);
	add("long", fail_at_length, MOTE_I32, 0);
	world_sandbox(&w, NULL);
	ASK("silent", MOTE_I32, );
	HEARD("host function silent failed with -7");
	ASK("loud", MOTE_I32, );
	HEARD("disk 3 is full");
	ASK("late", MOTE_I32, );
	HEARD("host function late failed with 1");
	ASK("twice", MOTE_I32, );
	CHECK(!asked.is_error && asked.value.i32 == 6);
	ASK("wrong", MOTE_I32, );
	HEARD("host function wrong answered UInt where Int was declared");
	ASK("bad", MOTE_STRING, );
	HEARD("host function bad answered text that is not UTF-8");
	ASK("long", MOTE_I32, );
	CHECK(asked.is_error && strlen(asked.text) == 255 / 3 * 3);
	world_free(&w);
}

static size_t answer_bytes;
static int answer_rc;
static uint8_t answer[0x5000];

static int answer_many(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	(void)cookie;
	(void)arguments;
	answer_rc = mote_reply_bytes(reply, answer, answer_bytes);
	return 0;
}

TEST_BOTH(host__an_answer_that_does_not_fit_is_an_error_of_the_guest)
{
	world_make(&w, kind, &asker);
	add("many", answer_many, MOTE_BYTES, 0);
	world_sandbox(&w, NULL);
	answer_bytes = sizeof answer;
	ASK("many", MOTE_BYTES, );
	CHECK_EQ(answer_rc, MOTE_ETOOBIG);
	CHECK(asked.is_error);
	CHECK_HAS(asked.text, "the answer of host function many does not fit: Required: ");
	CHECK_HAS(asked.text, ", Available: ");
	/* Find the most that fits; one more does not. */
	size_t least = 0, most = sizeof answer;
	while (least + 1 < most) {
		answer_bytes = (least + most) / 2;
		ASK("many", MOTE_BYTES, );
		*(asked.is_error ? &most : &least) = answer_bytes;
	}
	CHECK(least > 0x4000 - 200 && least < 0x4000);
	world_free(&w);
}

TEST_BOTH(host__many_calls_leave_the_buffers_as_they_were)
{
	world_make(&w, kind, &asker);
	add("number", mirror, MOTE_I32, MOTE_I32);
	world_sandbox(&w, NULL);
	OK(&w, mote_sandbox_start(w.sandbox, 0, &w.err));
	memset(&asked, 0, sizeof asked);
	asked.name = "number";
	asked.count = 1;
	asked.arguments[0] = mote_i32(77);
	asked.times = 1000;
	OK(&w, world_call(&w, MOTE_I32, NULL));
	CHECK(!asked.is_error && asked.value.i32 == 77);
	uint64_t pointer;
	memcpy(&pointer, guest_output(w.machine).bytes, 8);
	CHECK_EQ(pointer, 8);
	const struct mote_statistics s = world_statistics(&w);
	CHECK_EQ(s.exits_call, 1000);
	/* The library's two probes are entries too. */
	CHECK_EQ(s.vm_entries, 1000 + 2 + 2 * (kind == CONFINED));
	world_free(&w);
}

static int cookie_value;
static int check_cookie(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	(void)arguments;
	CHECK(cookie == &cookie_value);
	CHECK(mote_reply_user_data(reply) == &asked);
	return 0;
}

TEST(host__functions_get_their_cookie_and_the_sandbox_s_data)
{
	const struct mote_sandbox_options o = {.size = sizeof o, .user_data = &asked};
	world_make(&w, CONFINED, &asker);
	OK(&w, MOTE_HOST_ADD(w.host, "f", check_cookie, &cookie_value, &w.err, MOTE_VOID));
	world_sandbox(&w, &o);
	ASK("f", MOTE_VOID, );
	CHECK(!asked.is_error);
	CHECK(mote_sandbox_user_data(w.sandbox) == &asked);
	world_free(&w);
}

/* Calls in the middle of initialise. */
static void initialise_with_a_call(struct double_machine *m, struct mote__exit *exit)
{
	if (m->step == 0) {
		const struct mote_value argument = mote_i32(99);
		guest_push_call(m, "number", MOTE_I32, &argument, 1);
		double_out(exit, MOTE_ABI_PORT_CALL, 0);
		return;
	}
	hear(m);
	m->general.rsp = TINY_STOCK_RSP;
	double_halt(exit);
}

TEST_BOTH(host__functions_can_be_called_while_the_guest_initialises)
{
	const struct double_guest guest = {initialise_with_a_call, ask, NULL};
	world_make(&w, kind, &guest);
	add("number", mirror, MOTE_I32, MOTE_I32);
	world_sandbox(&w, NULL);
	memset(&asked, 0, sizeof asked);
	OK(&w, mote_sandbox_start(w.sandbox, 0, &w.err));
	CHECK(!asked.is_error && asked.value.i32 == 99);
	/* And after it as ever. */
	ASK("number", MOTE_I32, mote_i32(3));
	CHECK(!asked.is_error && asked.value.i32 == 3);
	world_free(&w);
}

/* ---- prints and logs ------------------------------------------------------------------------- */

static struct {
	char text[256];
	size_t used;
	void *user_data;
	int rc;
} sink;

static int print(void *cookie, void *user_data, const char *text, size_t len)
{
	CHECK(cookie == &sink);
	CHECK(sink.used + len < sizeof sink.text);
	memcpy(sink.text + sink.used, text, len);
	sink.used += len;
	sink.user_data = user_data;
	return sink.rc;
}

TEST_BOTH(host__prints_go_to_the_sink)
{
	const struct mote_sandbox_options o = {.size = sizeof o, .user_data = &asked};
	world_make(&w, kind, &asker);
	memset(&sink, 0, sizeof sink);
	OK(&w, mote_host_on_print(w.host, print, &sink, &w.err));
	world_sandbox(&w, &o);
	ASK("HostPrint", MOTE_I32, mote_string("gr\xc3\xbc\xc3\x9f\n"));
	CHECK(!asked.is_error);
	CHECK_EQ(asked.value.i32, 7);
	CHECK_STR(sink.text, "gr\xc3\xbc\xc3\x9f\n");
	CHECK(sink.user_data == &asked);
	sink.rc = 1;
	ASK("HostPrint", MOTE_I32, mote_string("x"));
	HEARD("the host's print sink failed");
	world_free(&w);
}

/* What body writes to standard output, in text. */
static void capture(void (*body)(void), char *text, size_t bytes)
{
	char path[] = "/tmp/mote-test-XXXXXX";
	int file = mkstemp(path), old = dup(STDOUT_FILENO);
	CHECK(file >= 0 && old >= 0);
	fflush(stdout);
	CHECK(dup2(file, STDOUT_FILENO) >= 0);
	body();
	fflush(stdout);
	CHECK(dup2(old, STDOUT_FILENO) >= 0);
	ssize_t got = pread(file, text, bytes - 1, 0);
	text[got < 0 ? 0 : got] = 0;
	close(old);
	close(file);
	unlink(path);
}

static void print_hello(void)
{
	ASK("HostPrint", MOTE_I32, mote_string("hello"));
}

TEST(host__prints_go_to_standard_output_by_default)
{
	char text[64];
	world_make(&w, CONFINED, &asker);
	OK(&w, mote_host_on_print(w.host, print, &sink, &w.err));
	/* NULL brings the default back. */
	OK(&w, mote_host_on_print(w.host, NULL, NULL, &w.err));
	world_sandbox(&w, NULL);
	capture(print_hello, text, sizeof text);
	CHECK_STR(text, "hello");
	CHECK_EQ(asked.value.i32, 5);
	world_free(&w);
}

static int own_print(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	(void)cookie;
	return mote_reply_i32(reply, (int32_t)arguments[0].string.len + 1000);
}

TEST(host__print_can_be_replaced)
{
	world_make(&w, CONFINED, &asker);
	add("HostPrint", own_print, MOTE_I32, MOTE_STRING);
	world_sandbox(&w, NULL);
	ASK("HostPrint", MOTE_I32, mote_string("abc"));
	CHECK_EQ(asked.value.i32, 1003);
	world_free(&w);
}

static uint32_t characters[8];

static void print_characters(struct double_machine *m, struct mote__exit *exit)
{
	if (m->step == 0)
		(void)guest_pop_call(m);
	if (m->step < 5) {
		double_out(exit, MOTE_ABI_PORT_PRINT, characters[m->step]);
		return;
	}
	guest_return(m, exit, mote_void());
}

TEST_BOTH(host__debug_characters_go_to_the_sink_as_utf8)
{
	const struct double_guest guest = {NULL, print_characters, NULL};
	static const uint32_t good[] = {'a', 0xE9, 0x20AC, 0x1F600, 0x10FFFF};
	world_make(&w, kind, &guest);
	memset(&sink, 0, sizeof sink);
	/* The sink's failure has nobody to be told. */
	sink.rc = 1;
	OK(&w, mote_host_on_print(w.host, print, &sink, &w.err));
	world_sandbox(&w, NULL);
	memcpy(characters, good, sizeof good);
	OK(&w, world_call(&w, MOTE_VOID, NULL));
	CHECK_STR(sink.text, "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf");
	CHECK_EQ(world_statistics(&w).exits_print, 5);
	world_free(&w);
}

static struct {
	unsigned count;
	struct mote_log_record record;
	char text[4][64];
	void *user_data;
} logged;

static void keep(char *text, struct mote_string from)
{
	CHECK(from.len < 64 && from.data[from.len] == 0);
	memcpy(text, from.data, from.len + 1);
}

static void log_sink(void *cookie, void *user_data, const struct mote_log_record *record)
{
	CHECK(cookie == &logged);
	logged.count++;
	logged.record = *record;
	logged.user_data = user_data;
	keep(logged.text[0], record->message);
	keep(logged.text[1], record->module);
	keep(logged.text[2], record->caller);
	keep(logged.text[3], record->file);
}

static uint32_t log_level;

static void write_log(struct double_machine *m, struct mote__exit *exit)
{
	if (m->step == 0) {
		const struct mote__log_record record = {.level = log_level,
							.line = 42,
							.message = {"message", 7},
							.source = {"module", 6},
							.caller = {"caller", 6},
							.file = {"file.c", 6}};
		(void)guest_pop_call(m);
		guest_push_log(m, &record);
		double_out(exit, MOTE_ABI_PORT_LOG, 0);
		return;
	}
	guest_return(m, exit, mote_void());
}

TEST_BOTH(host__log_records_go_to_the_sink)
{
	const struct double_guest guest = {NULL, write_log, NULL};
	const struct mote_sandbox_options o = {.size = sizeof o,
					       .log_level = MOTE_LOG_TRACE,
					       .log_level = MOTE_LOG_TRACE,
					       .user_data = &logged};
	world_make(&w, kind, &guest);
	memset(&logged, 0, sizeof logged);
	OK(&w, mote_host_on_log(w.host, log_sink, &logged, &w.err));
	world_sandbox(&w, &o);
	for (log_level = MOTE_LOG_ERROR; log_level <= MOTE_LOG_TRACE; log_level++) {
		OK(&w, world_call(&w, MOTE_VOID, NULL));
		CHECK_EQ(logged.count, log_level);
		CHECK_EQ(logged.record.level, log_level);
		CHECK_EQ(logged.record.line, 42);
	}
	CHECK_STR(logged.text[0], "message");
	CHECK_STR(logged.text[1], "module");
	CHECK_STR(logged.text[2], "caller");
	CHECK_STR(logged.text[3], "file.c");
	CHECK(logged.user_data == &logged);
	CHECK_EQ(world_statistics(&w).exits_log, 5);
	world_free(&w);
}

/* Guests are told the level, but need not heed it. */
TEST_BOTH(host__log_records_above_the_level_are_not_heard)
{
	static const uint32_t rows[][2] = {{0, MOTE_LOG_ERROR},
					   {MOTE_LOG_ERROR, MOTE_LOG_ERROR},
					   {MOTE_LOG_WARN, MOTE_LOG_WARN},
					   {MOTE_LOG_DEBUG, MOTE_LOG_DEBUG},
					   {MOTE_LOG_TRACE, MOTE_LOG_TRACE},
					   {MOTE_LOG_SILENT, 0}};
	const struct double_guest guest = {NULL, write_log, NULL};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const struct mote_sandbox_options o = {.size = sizeof o, .log_level = rows[i][0]};
		world_make(&w, kind, &guest);
		memset(&logged, 0, sizeof logged);
		OK(&w, mote_host_on_log(w.host, log_sink, &logged, &w.err));
		world_sandbox(&w, &o);
		for (log_level = MOTE_LOG_ERROR; log_level <= MOTE_LOG_TRACE; log_level++) {
			OK(&w, world_call(&w, MOTE_VOID, NULL));
			CHECK_EQ(logged.count, log_level < rows[i][1] ? log_level : rows[i][1]);
		}
		CHECK_EQ(world_statistics(&w).exits_log, 5);
		world_free(&w);
	}
}

TEST(host__log_records_without_a_sink_go_nowhere)
{
	const struct double_guest guest = {NULL, write_log, NULL};
	log_level = MOTE_LOG_ERROR;
	world_ready(&w, CONFINED, &guest);
	OK(&w, world_call(&w, MOTE_VOID, NULL));
	CHECK_EQ(world_statistics(&w).exits_log, 1);
	world_free(&w);
}

/* ---- imports --------------------------------------------------------------------------------- */

static const struct tiny_function imports[] = {
	{"upper", MOTE_STRING, 1, {MOTE_STRING}},
	{"add", MOTE_I32, 2, {MOTE_I32, MOTE_I32}},
	{"tick", MOTE_VOID, 0, {0}},
};

static void world_with_imports(void)
{
	static const struct double_guest idle = {0};
	const struct tiny_options image = {
		.is_confined = true, .imports = imports, .import_count = 3};
	world_make_of(&w, &image, NULL, &idle);
}

static int make(void)
{
	return mote_sandbox_create(w.engine, w.snapshot, w.host, NULL, &w.sandbox, &w.err);
}

TEST(host__missing_imports_are_listed)
{
	world_with_imports();
	FAILS(&w, make(), MOTE_EIMPORT);
	CHECK_STR(w.err.message,
		  "the host lacks functions that the guest imports: upper(string) -> string; "
		  "add(i32, i32) -> i32; tick() -> void");
	/* Refused before it was frozen. */
	add("upper", mirror, MOTE_STRING, MOTE_STRING);
	OK(&w, MOTE_HOST_ADD(w.host, "tick", nothing, NULL, &w.err, MOTE_VOID));
	FAILS(&w, make(), MOTE_EIMPORT);
	CHECK_STR(w.err.message, "the host lacks functions that the guest imports: "
				 "add(i32, i32) -> i32");
	OK(&w, MOTE_HOST_ADD(w.host, "add", nothing, NULL, &w.err, MOTE_I32, MOTE_I32, MOTE_I32));
	OK(&w, make());
	world_free(&w);
}

TEST(host__imports_of_another_signature_are_refused)
{
	world_with_imports();
	add("upper", mirror, MOTE_BYTES, MOTE_STRING);
	OK(&w, MOTE_HOST_ADD(w.host, "add", nothing, NULL, &w.err, MOTE_I32, MOTE_I32, MOTE_U32));
	OK(&w, MOTE_HOST_ADD(w.host, "tick", nothing, NULL, &w.err, MOTE_VOID, MOTE_I32));
	FAILS(&w, make(), MOTE_EIMPORT);
	CHECK_HAS(w.err.message, "upper(string) -> string (has another signature); "
				 "add(i32, i32) -> i32 (has another signature); "
				 "tick() -> void (has another signature)");
	world_free(&w);
}

TEST(host__a_long_list_of_imports_is_cut)
{
	static const struct double_guest idle = {0};
	static char names[60][8];
	struct tiny_function many[60] = {0};
	for (unsigned i = 0; i < 60; i++) {
		snprintf(names[i], sizeof names[i], "\xe2\x82\xac%u", i);
		many[i] = (struct tiny_function){names[i], MOTE_I32, 1, {MOTE_I32}};
	}
	const struct tiny_options image = {
		.is_confined = true, .imports = many, .import_count = 60};
	world_make_of(&w, &image, NULL, &idle);
	FAILS(&w, make(), MOTE_EIMPORT);
	CHECK(mote__utf8_is_valid(w.err.message, strlen(w.err.message)));
	world_free(&w);
}
