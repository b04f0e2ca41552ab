/* SPDX-License-Identifier: MIT */
/* Errors, for people and for programs. Messages may quote a guest: everything is escaped. */
#include "report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "json.h"
#include "output.h"

enum { LINE_BYTES = 1024 };

__attribute__((format(printf, 2, 0))) static void print_line(const char *start, const char *format,
							     va_list arguments)
{
	char line[LINE_BYTES];
	(void)vsnprintf(line, sizeof line, format, arguments);
	(void)fputs(start, stderr);
	mote__output_name(stderr, line);
	(void)fputc('\n', stderr);
}

void mote__report_hint(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	print_line("      hint: ", format, arguments);
	va_end(arguments);
}

int mote__report_usage(const char *command, const char *format, ...)
{
	va_list arguments;
	char start[64];
	(void)snprintf(start, sizeof start, "mote: %.40s%s", command ? command : "",
		       command ? ": " : "");
	va_start(arguments, format);
	print_line(start, format, arguments);
	va_end(arguments);
	(void)fprintf(stderr, "      try: mote %s%s--help\n", command ? command : "",
		      command ? " " : "");
	return EXIT_USAGE;
}

int mote__report_host(const char *what, const char *format, ...)
{
	va_list arguments;
	(void)fputs("mote: ", stderr);
	mote__output_name(stderr, what);
	va_start(arguments, format);
	print_line(": ", format, arguments);
	va_end(arguments);
	return EXIT_HOST;
}

/** A guest image or a store that cannot be opened is the user's matter, not the machine's. */
static bool is_file_refused(const struct failure *failure)
{
	int number = failure->err->system_errno;
	return (failure->stage == STAGE_LOAD || failure->stage == STAGE_STORE) &&
	       (number == ENOENT || number == EACCES || number == EISDIR || number == ENOTDIR ||
		number == EPERM);
}

static int status_of(const struct failure *failure)
{
	switch (failure->err->code) {
	case MOTE_EGUEST:
		return EXIT_GUEST_ERROR;
	case MOTE_EABORT:
	case MOTE_EPROTOCOL:
		return EXIT_GUEST_DIED;
	case MOTE_ECANCELED:
		return EXIT_CANCELLED;
	case MOTE_ENOKVM:
		return EXIT_NO_KVM;
	case MOTE_EINVAL:
	case MOTE_EIMAGE:
	case MOTE_ETOOBIG:
	case MOTE_EADDR:
	case MOTE_ETYPE:
	case MOTE_EIMPORT:
	case MOTE_ESNAPSHOT:
	case MOTE_ESTORE:
	case MOTE_ENOTFOUND:
		return EXIT_REFUSED;
	default:
		return is_file_refused(failure) ? EXIT_REFUSED : EXIT_HOST;
	}
}

/** What the user can do about it; NULL when nothing is known. */
static const char *hint_of(const struct failure *failure)
{
	const struct mote_error *err = failure->err;
	switch (err->code) {
	case MOTE_ENOKVM:
		/* Nothing is missing then, and nothing can be mended. */
		if (strstr(err->message, "32 bits"))
			return NULL;
		return "mote doctor tells what is missing and how to mend it";
	case MOTE_ECANCELED:
		return failure->stage == STAGE_STORE ? NULL : "--timeout gives it longer";
	case MOTE_ETYPE:
		return "say what the function returns with --result TYPE";
	case MOTE_ETOOBIG:
		if (failure->stage == STAGE_STORE && strstr(err->message, "bytes_max"))
			return "--bytes-max allows more";
		return failure->stage == STAGE_CALL
			       ? "--input makes the buffer for arguments larger"
			       : NULL;
	case MOTE_EABORT:
		if (!err->has_fault && (err->guest_code == MOTE_GUEST_MALLOC_FAILED ||
					err->guest_code == MOTE_GUEST_ALLOCATOR_FAILED))
			return "--heap gives it more heap, --memory-max more private memory";
		return NULL;
	default:
		return NULL;
	}
}

static const char *vector_name(uint32_t vector)
{
	static const char *const names[] = {
		[0] = "divide error",         [1] = "debug exception",
		[3] = "breakpoint",           [4] = "overflow",
		[5] = "bound exceeded",       [6] = "invalid instruction",
		[7] = "device not available", [8] = "double fault",
		[10] = "invalid TSS",         [11] = "segment not present",
		[12] = "stack fault",         [13] = "general protection fault",
		[14] = "page fault",          [16] = "x87 error",
		[17] = "misaligned access",   [19] = "SIMD error",
	};
	if (vector < sizeof names / sizeof names[0] && names[vector])
		return names[vector];
	return "exception";
}

/** How memory was accessed, from the error code of a page fault (Intel SDM volume 3, 4.7). */
static const char *access_name(uint32_t error_code)
{
	if (error_code & 16)
		return "executing";
	return error_code & 2 ? "writing" : "reading";
}

static void print_fault(const struct failure *failure)
{
	const struct mote_error *err = failure->err;
	char symbol[256] = "";
	(void)fputs("      at ", stderr);
	if (failure->snapshot && mote_snapshot_symbolize(failure->snapshot, err->instruction_gva,
							 symbol, sizeof symbol) == MOTE_OK) {
		mote__output_name(stderr, symbol);
		(void)fprintf(stderr, " (0x%" PRIx64 ")", err->instruction_gva);
	} else {
		(void)fprintf(stderr, "0x%" PRIx64, err->instruction_gva);
	}
	(void)fprintf(stderr, ": %s (vector %" PRIu32, vector_name(err->vector), err->vector);
	if (err->vector == 14)
		(void)fprintf(stderr, ", error 0x%" PRIx32 ") %s 0x%" PRIx64, err->error_code,
			      access_name(err->error_code), err->fault_gva);
	else
		(void)fputc(')', stderr);
	(void)fprintf(stderr, ", stack 0x%" PRIx64 "\n", err->stack_gva);
}

static void write_fault(struct json *json, const struct failure *failure)
{
	const struct mote_error *err = failure->err;
	char symbol[256] = "";
	mote__emit_object(json, "fault");
	mote__emit_u64(json, "vector", err->vector);
	mote__emit_text(json, "name", vector_name(err->vector));
	mote__emit_u64(json, "error_code", err->error_code);
	mote__emit_address(json, "address", err->fault_gva);
	mote__emit_address(json, "instruction", err->instruction_gva);
	mote__emit_address(json, "stack", err->stack_gva);
	if (failure->snapshot && mote_snapshot_symbolize(failure->snapshot, err->instruction_gva,
							 symbol, sizeof symbol) == MOTE_OK)
		mote__emit_text(json, "symbol", symbol);
	mote__emit_end(json);
}

static void write_json(const struct failure *failure, int status)
{
	const struct mote_error *err = failure->err;
	struct json json = {.out = stdout};
	mote__emit_object(&json, NULL);
	mote__emit_bool(&json, "ok", false);
	mote__emit_object(&json, "error");
	mote__emit_text(&json, "code", mote_code_name(err->code));
	mote__emit_u64(&json, "exit_status", (uint64_t)status);
	mote__emit_text(&json, "what", failure->what);
	mote__emit_text(&json, "message", err->message);
	mote__emit_u64(&json, "guest_code", err->guest_code);
	mote__emit_bool(&json, "poisoned", err->poisoned != 0);
	if (err->has_fault)
		write_fault(&json, failure);
	mote__emit_end(&json);
	mote__emit_end(&json);
}

int mote__report_failure(const struct failure *failure)
{
	int status = status_of(failure);
	const char *hint = hint_of(failure);
	(void)fflush(stdout);
	(void)fputs("mote: ", stderr);
	/* Messages about a file that cannot be read name it. */
	bool names_it = failure->stage == STAGE_LOAD || failure->stage == STAGE_STORE;
	if (!names_it || !strstr(failure->err->message, failure->what)) {
		mote__output_name(stderr, failure->what);
		(void)fputs(": ", stderr);
	}
	mote__output_name(stderr, failure->err->message);
	(void)fputc('\n', stderr);
	if (failure->err->has_fault)
		print_fault(failure);
	if (hint)
		mote__report_hint("%s", hint);
	if (failure->is_json)
		write_json(failure, status);
	return status;
}

int mote__report_store(const char *what, bool is_json, const struct mote_error *err)
{
	const struct failure failure = {
		.what = what,
		.err = err,
		.stage = STAGE_STORE,
		.is_json = is_json,
	};
	return mote__report_failure(&failure);
}
