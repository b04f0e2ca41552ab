/* SPDX-License-Identifier: MIT */
/*
 * What tests of real guests on a real KVM start from: an engine (one for the program, or the test
 * is skipped), a guest built from tests/guests, a host that keeps what the guest prints and logs,
 * and a sandbox. Guests are found in $MOTE_GUESTS, else in the directory "guests" next to the
 * program.
 */
#ifndef MOTE_TESTS_SYSTEM_H
#define MOTE_TESTS_SYSTEM_H

#include <mote.h>

#include "check.h"

#define SYSTEM_TEXT_BYTES 8192u

/** What is wanted; zero means default. size fields are filled in. */
struct system_options {
	const char *guest; /* "hello" for hello.guest */
	struct mote_snapshot_options snapshot;
	struct mote_sandbox_options sandbox;
	void (*add)(mote_host *host); /* adds host functions */
};

struct system {
	mote_engine *engine; /* the program's */
	mote_snapshot *snapshot;
	mote_host *host;
	mote_sandbox *sandbox;
	struct mote_error err; /* of the last operation */
	char printed[SYSTEM_TEXT_BYTES];
	char logged[SYSTEM_TEXT_BYTES]; /* "level module caller file line message\n" */
	uint32_t log_count;
};

/** The program's engine; skips the test where there is no usable KVM. */
mote_engine *system_engine(void);
/** The processor walks two sets of tables: the hardware lane, and most machines. */
int system_is_nested(void);
/** The processor under KVM is itself emulated, and slow: repetitions are cut to a fifth. */
int system_is_emulated(void);
unsigned system_repetitions(unsigned count);

/** Make all of it. The options' pointers are used during the call only. */
void system_open(struct system *s, const struct system_options *options);
/** Without the sandbox. */
void system_open_host(struct system *s, const struct system_options *options);
/** system_open_host() and mote_sandbox_create(), whose result it returns. */
int system_try(struct system *s, const struct system_options *options);
void system_close(struct system *s);
/** Close and skip the test if rc and s->err say that the kernel emulates ring 0 and cannot do an
 * instruction: what. */
void system_skip_if_emulated(struct system *s, int rc, const char *what);
/** Another sandbox, fresh, in place of the one there is. */
void system_again(struct system *s);

/** Open a guest: OPEN(s, "hello", .snapshot.heap_bytes = 1 << 20). */
#define OPEN(s, name, ...) \
	system_open((s), &(const struct system_options){.guest = (name), ##__VA_ARGS__})

/** One call that must succeed, or the message. The value is borrowed until the next operation. */
struct mote_value system_call(struct system *s, const char *file, int line,
			      const struct mote_call *call);
/** One call that must fail with code and a message that contains text. */
void system_fails(struct system *s, const char *file, int line, int code, const char *text,
		  const struct mote_call *call);

#define CALL_OF(name, result_, ...)                                                     \
	(&(const struct mote_call){.size = sizeof(struct mote_call),                    \
				   .function = (name),                                  \
				   .arguments = MOTE_ARGUMENTS_(__VA_ARGS__),           \
				   .argument_count = MOTE_ARGUMENT_COUNT_(__VA_ARGS__), \
				   .result = (result_)})

/** CALL(s, MOTE_I32, "add", mote_i32(2), mote_i32(3)): the value. */
#define CALL(s, result, name, ...) \
	system_call((s), __FILE__, __LINE__, CALL_OF(name, result, __VA_ARGS__))
#define CALL_VOID(s, name, ...) ((void)CALL(s, MOTE_VOID, name, __VA_ARGS__))
#define CALL_I32(s, name, ...)  (CALL(s, MOTE_I32, name, __VA_ARGS__).i32)
#define CALL_U32(s, name, ...)  (CALL(s, MOTE_U32, name, __VA_ARGS__).u32)
#define CALL_I64(s, name, ...)  (CALL(s, MOTE_I64, name, __VA_ARGS__).i64)
#define CALL_U64(s, name, ...)  (CALL(s, MOTE_U64, name, __VA_ARGS__).u64)
#define CALL_TEXT(s, name, ...) (CALL(s, MOTE_STRING, name, __VA_ARGS__).string.data)

/** FAILS(s, MOTE_EGUEST, "text", MOTE_VOID, "name", arguments...). */
#define FAILS(s, code, text, result, name, ...) \
	system_fails((s), __FILE__, __LINE__, (code), (text), CALL_OF(name, result, __VA_ARGS__))

/** An operation that must succeed, or the message. */
#define OK(s, operation)                                                           \
	do {                                                                       \
		int rc_ = (operation);                                             \
		if (rc_ != MOTE_OK)                                                \
			check_failed(__FILE__, __LINE__, "%s: %s: %s", #operation, \
				     mote_code_name(rc_), (s)->err.message);       \
	} while (0)

struct mote_statistics system_statistics(const struct system *s);

#endif
