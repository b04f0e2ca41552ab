/* SPDX-License-Identifier: MIT */
/*
 * Host functions, as guests call them: answers, failures, imports; and what else a guest is given:
 * init data, logs, prints, memory that stays from call to call.
 */
#include "values.h"

/* ---- host functions ------------------------------------------------------------------------- */

static int refuse(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	(void)cookie;
	(void)arguments;
	return mote_reply_error(reply, "host says no to %d", arguments[0].i32);
}

static int fail_plain(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	(void)cookie;
	(void)arguments;
	(void)reply;
	return 42;
}

static void add_refusing(mote_host *host)
{
	add_with(host, refuse, fail_plain);
}

TEST(guest_host__a_host_functions_error_ends_the_guests_call)
{
	struct system s;
	OPEN(&s, "sys_values", .add = add_refusing);
	FAILS(&s, MOTE_EGUEST, "Guest error occurred HostFunctionError: host says no to 5",
	      MOTE_I32, "via_host_i32", mote_i32(5));
	CHECK_EQ(s.err.guest_code, MOTE_GUEST_HOST_FUNCTION_ERROR);
	CHECK_EQ(s.err.poisoned, 0);
	FAILS(&s, MOTE_EGUEST, "host function host_u64 failed with 42", MOTE_U64, "via_host_u64",
	      mote_u64(5));
	FAILS(&s, MOTE_EGUEST, "host function host_void failed with 42", MOTE_VOID,
	      "via_host_void");
	CHECK_EQ(CALL_I32(&s, "echo_i32", mote_i32(6)), 6);
	system_close(&s);
}

TEST(guest_host__try_gives_the_guest_the_code_and_the_text)
{
	struct system s;
	OPEN(&s, "sys_values", .add = add_refusing);
	CHECK_EQ(CALL_I32(&s, "try_host_i32", mote_i32(5)), MOTE_GUEST_HOST_FUNCTION_ERROR);
	CHECK_EQ(CALL_I32(&s, "try_host_bytes", mote_bytes("x", 1)),
		 MOTE_GUEST_HOST_FUNCTION_ERROR);
	CHECK_EQ(CALL_I32(&s, "try_host_void"), MOTE_GUEST_HOST_FUNCTION_ERROR);
	CHECK_STR(CALL_TEXT(&s, "try_text", mote_i32(-3)), "host says no to -3");
	system_close(&s);
	VALUES(&s);
	CHECK_EQ(CALL_I32(&s, "try_host_i32", mote_i32(5)), 0);
	CHECK_EQ(CALL_I32(&s, "try_host_void"), 0);
	CHECK_STR(CALL_TEXT(&s, "try_text", mote_i32(-3)), "no error");
	system_close(&s);
}

static int wrong_type(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	(void)cookie;
	(void)arguments;
	CHECK_EQ(mote_reply_u32(reply, 7), MOTE_ETYPE);
	return 0;
}

static int too_big(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	static const char text[0x4000];
	(void)cookie;
	(void)arguments;
	CHECK_EQ(mote_reply_value(reply, &(const struct mote_value){.type = arguments[0].type,
								    .bytes = {text, sizeof text}}),
		 MOTE_ETOOBIG);
	return 0;
}

static void add_wrong(mote_host *host)
{
	add_with(host, wrong_type, too_big);
}

TEST(guest_host__an_answer_of_a_wrong_type_or_too_big_fails_the_guests_call)
{
	struct system s;
	OPEN(&s, "sys_values", .add = add_wrong);
	FAILS(&s, MOTE_EGUEST, "host function host_i32 answered UInt where Int was declared",
	      MOTE_I32, "via_host_i32", mote_i32(1));
	FAILS(&s, MOTE_EGUEST,
	      "the answer of host function host_bytes does not fit: Required: ", MOTE_BYTES,
	      "via_host_bytes", mote_bytes("x", 1));
	CHECK_EQ(CALL_I32(&s, "echo_i32", mote_i32(6)), 6);
	system_close(&s);
}

static int no_answer(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	(void)cookie;
	(void)arguments;
	(void)reply;
	return 0;
}

static void add_silent(mote_host *host)
{
	add_with(host, no_answer, no_answer);
}

TEST(guest_host__no_answer_is_a_zero_of_the_type)
{
	struct system s;
	OPEN(&s, "sys_values", .add = add_silent);
	CHECK_EQ(CALL_I32(&s, "via_host_i32", mote_i32(5)), 0);
	CHECK_EQ(CALL(&s, MOTE_F64, "via_host_f64", mote_f64(5)).u64, 0);
	CHECK_STR(CALL_TEXT(&s, "via_host_string", mote_string("text")), "");
	CHECK_EQ(CALL(&s, MOTE_BYTES, "via_host_bytes", mote_bytes("x", 1)).bytes.len, 0);
	system_close(&s);
}

TEST(guest_host__many_host_calls_in_one_call_leave_nothing_behind)
{
	struct system s;
	VALUES(&s);
	for (int i = 0; i < 3; i++)
		CHECK_EQ(CALL_I64(&s, "host_many", mote_i32(500)), 499 * 500 / 2);
	CHECK_EQ(system_statistics(&s).exits_call, 1500);
	CHECK_STR(CALL_TEXT(&s, "host_twice", mote_string("first"), mote_string("second")),
		  "firstsecond");
	system_close(&s);
}

struct outer {
	struct system *self, *other;
	int of_self, of_other;
	struct mote_error err; /* of self */
};

static int reenter(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	struct outer *outer = cookie;
	struct mote_value result;
	struct mote_error err;
	CHECK_EQ(mote_sandbox_state(outer->self->sandbox), MOTE_STATE_RUNNING);
	outer->of_self = MOTE_CALL(outer->self->sandbox, "nothing", NULL, &outer->err, MOTE_VOID);
	outer->of_other = MOTE_CALL(outer->other->sandbox, "add", &result, &err, MOTE_I32,
				    mote_i32(arguments[0].i32), mote_i32(1));
	return mote_reply_i32(reply, result.i32);
}

static struct outer outer;

static void add_reentering(mote_host *host)
{
	struct mote_error err;
	add_with(host, same, same);
	CHECK(MOTE_HOST_ADD(host, "host_i32", reenter, &outer, &err, MOTE_I32, MOTE_I32) ==
	      MOTE_OK);
}

TEST(guest_host__a_host_function_may_call_another_sandbox_but_not_its_own)
{
	struct system s, other;
	outer = (struct outer){.self = &s, .other = &other, .of_other = 1};
	OPEN(&other, "hello");
	OPEN(&s, "sys_values", .add = add_reentering);
	CHECK_EQ(CALL_I32(&s, "via_host_i32", mote_i32(41)), 42);
	CHECK_EQ(outer.of_self, MOTE_ESTATE);
	CHECK_EQ(outer.err.poisoned, 0);
	CHECK_STR(outer.err.message,
		  "the sandbox is in a call: a host function cannot call its own guest");
	CHECK_EQ(outer.of_other, MOTE_OK);
	CHECK_EQ(CALL_I64(&s, "host_many", mote_i32(10)), 55);
	system_close(&s);
	system_close(&other);
}

TEST(guest_host__missing_imports_are_listed_and_refused)
{
	struct system s;
	const struct system_options options = {.guest = "sys_values"};
	CHECK_EQ(system_try(&s, &options), MOTE_EIMPORT);
	CHECK_HAS(s.err.message, "the host lacks functions that the guest imports: ");
	CHECK_HAS(s.err.message, "host_i32(i32) -> i32");
	CHECK_HAS(s.err.message, "host_void() -> void");
	CHECK(s.sandbox == NULL);
	system_close(&s);
}

static void add_other_signature(mote_host *host)
{
	struct mote_error err;
	add_same(host);
	CHECK(MOTE_HOST_ADD(host, "host_f32", same, NULL, &err, MOTE_F32, MOTE_F64) == MOTE_OK);
}

TEST(guest_host__an_import_with_another_signature_is_refused)
{
	struct system s;
	const struct system_options options = {.guest = "sys_values", .add = add_other_signature};
	CHECK_EQ(system_try(&s, &options), MOTE_EIMPORT);
	CHECK_STR(s.err.message, "the host lacks functions that the guest imports: "
				 "host_f32(f32) -> f32 (has another signature)");
	system_close(&s);
}

TEST(guest_host__a_frozen_host_takes_no_more_functions)
{
	struct system s;
	VALUES(&s);
	CHECK_EQ(MOTE_HOST_ADD(s.host, "more", same, NULL, &s.err, MOTE_I32, MOTE_I32),
		 MOTE_ESTATE);
	system_close(&s);
}

/* ---- what the guest is given ---------------------------------------------------------------- */

TEST(guest_host__exports_and_imports_can_be_read_without_running)
{
	struct system s;
	struct mote_function f;
	struct mote_snapshot_info info;
	OPEN(&s, "hello");
	mote_snapshot_get_info(s.snapshot, &info);
	CHECK_EQ(info.is_confined, 1);
	CHECK_EQ(info.import_count, 1);
	CHECK(mote_snapshot_get_import(s.snapshot, 0, &f) == MOTE_OK);
	CHECK_STR(f.name, "upper");
	unsigned found = 0;
	for (uint32_t i = 0; i < info.export_count; i++) {
		CHECK(mote_snapshot_get_export(s.snapshot, i, &f) == MOTE_OK);
		if (strcmp(f.name, "add"))
			continue;
		CHECK(f.result == MOTE_I32 && f.parameter_count == 2 &&
		      f.parameters[1] == MOTE_I32);
		found++;
	}
	CHECK_EQ(found, 1);
	system_close(&s);
}

TEST(guest_host__init_data_is_read_only_unless_asked_for)
{
	struct system s;
	static char data[9000];
	memset(data, 'd', sizeof data);
	VALUES(&s, .snapshot = {.init_data = data, .init_data_bytes = sizeof data});
	struct mote_value result = CALL(&s, MOTE_BYTES, "init_data");
	CHECK_EQ(result.bytes.len, sizeof data);
	CHECK_MEM(result.bytes.data, data, sizeof data);
	FAILS(&s, MOTE_EABORT, "writing 0x", MOTE_VOID, "write_init_data", mote_u32(5000),
	      mote_u32('x'));
	CHECK_HAS(s.err.message, " in init data");
	system_close(&s);
	VALUES(&s, .snapshot = {.init_data = data, .init_data_bytes = sizeof data});
	FAILS(&s, MOTE_EABORT, "executing 0x", MOTE_VOID, "execute_init_data");
	CHECK_HAS(s.err.message, " in init data");
	system_close(&s);
	VALUES(&s, .snapshot = {.init_data = data,
				.init_data_bytes = sizeof data,
				.init_data_access = MOTE_READ | MOTE_WRITE});
	CALL_VOID(&s, "write_init_data", mote_u32(5000), mote_u32('x'));
	result = CALL(&s, MOTE_BYTES, "init_data");
	CHECK(((const char *)result.bytes.data)[5000] == 'x' &&
	      ((const char *)result.bytes.data)[4999] == 'd');
	system_close(&s);
	static const uint8_t ret[] = {0xC3};
	VALUES(&s, .snapshot = {.init_data = ret,
				.init_data_bytes = 1,
				.init_data_access = MOTE_READ | MOTE_EXECUTE});
	CALL_VOID(&s, "execute_init_data");
	system_close(&s);
	VALUES(&s);
	CHECK_EQ(CALL(&s, MOTE_BYTES, "init_data").bytes.len, 0);
	system_close(&s);
}

TEST(guest_host__statics_are_kept_between_calls_and_private_to_a_sandbox)
{
	struct system s;
	VALUES(&s);
	for (unsigned i = 1; i <= 30; i++)
		CHECK_EQ(CALL_U64(&s, "statics"), 7000 + i);
	system_again(&s);
	CHECK_EQ(CALL_U64(&s, "statics"), 7001);
	system_close(&s);
}

TEST(guest_host__start_initialises_once)
{
	struct system s;
	VALUES(&s);
	CHECK_EQ(mote_sandbox_state(s.sandbox), MOTE_STATE_NEW);
	OK(&s, mote_sandbox_start(s.sandbox, 0, &s.err));
	CHECK_EQ(mote_sandbox_state(s.sandbox), MOTE_STATE_READY);
	CHECK_EQ(s.log_count, 1);
	OK(&s, mote_sandbox_start(s.sandbox, 0, &s.err));
	CHECK_EQ(CALL_U64(&s, "statics"), 7001);
	CHECK_EQ(s.log_count, 1);
	system_close(&s);
}

static void check_levels(uint32_t wanted, unsigned count)
{
	struct system s;
	OPEN(&s, "hello", .sandbox.log_level = wanted);
	CALL_VOID(&s, "log_all");
	CHECK_EQ(s.log_count, count);
	static const char *const texts[] = {"1 guest log_all ", "2 guest log_all ",
					    "3 guest log_all ", "4 guest log_all ",
					    "5 guest log_all "};
	for (unsigned i = 0; i < 5; i++)
		CHECK_EQ(strstr(s.logged, texts[i]) != NULL, i < count);
	system_close(&s);
}

TEST(guest_host__logs_are_filtered_by_level)
{
	check_levels(0, 1);
	check_levels(MOTE_LOG_SILENT, 0);
	check_levels(MOTE_LOG_ERROR, 1);
	check_levels(MOTE_LOG_WARN, 2);
	check_levels(MOTE_LOG_INFO, 3);
	check_levels(MOTE_LOG_DEBUG, 4);
	check_levels(MOTE_LOG_TRACE, 5);
}

TEST(guest_host__log_records_carry_text_file_and_line)
{
	struct system s;
	OPEN(&s, "hello", .sandbox.log_level = MOTE_LOG_TRACE);
	CALL_VOID(&s, "log_all");
	CHECK_HAS(s.logged, "hello.c");
	CHECK_HAS(s.logged, " error -1\n");
	CHECK_HAS(s.logged, " warn 2\n");
	CHECK_HAS(s.logged, " info three\n");
	CHECK_HAS(s.logged, " debug abc\n");
	CHECK_HAS(s.logged, " trace -5%\n");
	CHECK_EQ(system_statistics(&s).exits_log, 5);
	system_close(&s);
}

TEST(guest_host__prints_go_to_the_sink)
{
	struct system s;
	OPEN(&s, "hello");
	CALL_VOID(&s, "print", mote_string("one \xE2\x82\xAC "));
	CALL_VOID(&s, "print", mote_string(""));
	CALL_VOID(&s, "print", mote_string("two\n"));
	CHECK_STR(s.printed, "one \xE2\x82\xAC two\n");
	system_close(&s);
}

static int refuse_print(void *cookie, void *user_data, const char *text, size_t len)
{
	(void)cookie;
	(void)user_data;
	(void)text;
	(void)len;
	return -1;
}

static void add_deaf(mote_host *host)
{
	struct mote_error err;
	CHECK(mote_host_on_print(host, refuse_print, NULL, &err) == MOTE_OK);
}

TEST(guest_host__a_print_sink_that_fails_does_not_end_the_guest)
{
	struct system s;
	OPEN(&s, "hello", .add = add_deaf);
	CALL_VOID(&s, "print", mote_string("one"));
	CHECK_EQ(CALL_I32(&s, "add", mote_i32(2), mote_i32(3)), 5);
	system_close(&s);
}
