/* SPDX-License-Identifier: MIT */
/* The table of options and what reads it. See options.h. */
#include "options.h"

#include <mote.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "arguments.h"
#include "cli.h"
#include "numbers.h"
#include "report.h"
#include "suggest.h"

enum kind {
	KIND_FLAG,     /* bool */
	KIND_TEXT,     /* const char * */
	KIND_CALL,     /* const char *, one more of options->calls */
	KIND_SIZE,     /* uint64_t, bytes */
	KIND_DURATION, /* uint64_t, nanoseconds */
	KIND_COUNT,    /* uint64_t */
	KIND_TYPE,     /* uint32_t, enum mote_type */
	KIND_LEVEL,    /* uint32_t, enum mote_log_level */
	KIND_METADATA, /* one more of options->metadata */
	KIND_TLS,      /* options->tls_verify and has_tls_verify */
};

struct row {
	const char *name;
	char letter; /* 0: none */
	enum kind kind;
	unsigned commands;
	size_t offset;        /* in struct options */
	const char *argument; /* as --help names it; NULL for a flag */
	const char *help;
};

#define WITH_WORDS  (COMMAND_RUN | COMMAND_CALL | COMMAND_BENCH)
#define GUEST_RUNS  COMMANDS_RUNNING
#define GUEST_LOADS (GUEST_RUNS | COMMAND_INSPECT)
#define GUEST_CALLS (COMMAND_RUN | COMMAND_CALL)
#define SAVE        COMMAND_SNAPSHOT_SAVE
#define TRAVELS     (COMMAND_SNAPSHOT_PUSH | COMMAND_SNAPSHOT_PULL)
/* Others have no progress to show, or leave it to these. */
#define LASTS (COMMANDS_GUEST | COMMAND_SNAPSHOT_VERIFY | TRAVELS)
#define EVERY 0xFFFFFFFFu

#define MAX_COUNT 10000000ull

static const struct row rows[] = {
	{"call", 'c', KIND_TEXT, COMMAND_RUN, offsetof(struct options, call), "NAME",
	 "call this function; operands behind GUEST are its arguments"},
	{"call", 'c', KIND_CALL, COMMANDS_SNAPSHOT, offsetof(struct options, calls), "CALL",
	 "call a function, such as 'add(2, 3)'; again for more calls, in order"},
	{"result", 't', KIND_TYPE, GUEST_RUNS, offsetof(struct options, result), "TYPE",
	 "type of the result, for guests that do not tell; default void"},
	{"raw", 'r', KIND_FLAG, GUEST_CALLS, offsetof(struct options, raw), NULL,
	 "print a string or bytes as they are, without a line end"},
	{"output", 'o', KIND_TEXT, GUEST_CALLS, offsetof(struct options, output), "FILE",
	 "write the result to FILE, as it is"},
	{"repeat", 0, KIND_COUNT, GUEST_CALLS, offsetof(struct options, repeat), "N",
	 "call N times in the same sandbox; the last result counts"},
	{"restore", 0, KIND_FLAG, GUEST_CALLS, offsetof(struct options, restore), NULL,
	 "put the sandbox back to its start before each further call"},
	{"repeat", 0, KIND_COUNT, COMMANDS_SNAPSHOT, offsetof(struct options, repeat), "N",
	 "make the calls N times over"},
	{"from", 0, KIND_COUNT, COMMAND_SNAPSHOT_DIFF, offsetof(struct options, from), "STEP",
	 "compare the last step with this one; default: the one before it"},
	{"from", 0, KIND_TEXT, WITH_WORDS, offsetof(struct options, stored), "REF",
	 "in place of GUEST: a stored snapshot, here or in a registry"},
	{"new", 0, KIND_FLAG, SAVE, offsetof(struct options, is_new), NULL,
	 "save the image without running it; needs no KVM"},
	{"metadata", 0, KIND_METADATA, SAVE, offsetof(struct options, metadata), "NAME=JSON",
	 "attach a value to the snapshot; again for more"},
	{"stats", 's', KIND_FLAG, GUEST_CALLS, offsetof(struct options, statistics), NULL,
	 "print times and counters to standard error"},
	{"iterations", 'n', KIND_COUNT, COMMAND_BENCH, offsetof(struct options, iterations), "N",
	 "measure N calls; default 1000"},
	{"creates", 0, KIND_COUNT, COMMAND_BENCH, offsetof(struct options, creates), "N",
	 "measure making N sandboxes; default 20"},
	{"svg", 0, KIND_TEXT, COMMAND_INSPECT | COMMAND_SNAPSHOT_INSPECT,
	 offsetof(struct options, svg), "FILE",
	 "draw guest memory to FILE as SVG (- is standard output)"},
	{"exports", 0, KIND_FLAG, COMMAND_INSPECT, offsetof(struct options, exports), NULL,
	 "print the names of exported functions only"},
	{"timeout", 0, KIND_DURATION, GUEST_RUNS, offsetof(struct options, timeout_ns), "TIME",
	 "end initialisation and each call after TIME, such as 500ms"},
	{"log-level", 'l', KIND_LEVEL, GUEST_RUNS, offsetof(struct options, log_level), "LEVEL",
	 "off, error, warn, info, debug or trace; default error"},
	{"init-data", 0, KIND_TEXT, GUEST_LOADS, offsetof(struct options, init_data), "FILE",
	 "give the guest the bytes of FILE"},
	{"heap", 0, KIND_SIZE, GUEST_LOADS, offsetof(struct options, heap_bytes), "SIZE",
	 "heap; default 128K"},
	{"stack", 0, KIND_SIZE, GUEST_LOADS, offsetof(struct options, stack_bytes), "SIZE",
	 "stack of a confined guest; default: what the image asks for"},
	{"input", 0, KIND_SIZE, GUEST_LOADS, offsetof(struct options, input_bytes), "SIZE",
	 "buffer for arguments; default 16K"},
	{"output-buffer", 0, KIND_SIZE, GUEST_LOADS, offsetof(struct options, output_bytes), "SIZE",
	 "buffer for results; default 16K"},
	{"scratch", 0, KIND_SIZE, GUEST_LOADS, offsetof(struct options, scratch_bytes), "SIZE",
	 "scratch memory; default 288K, confined guests: as needed"},
	{"image-max", 0, KIND_SIZE, GUEST_LOADS, offsetof(struct options, image_bytes_max), "SIZE",
	 "refuse an image that takes more memory; default 256M"},
	{"memory-max", 0, KIND_SIZE, GUEST_RUNS, offsetof(struct options, memory_max), "SIZE",
	 "most private memory of the sandbox; default: heap, stack and 64M"},
	{"ignore-extensions", 0, KIND_FLAG, GUEST_LOADS,
	 offsetof(struct options, ignore_extensions), NULL, "run the image as a stock guest"},
	{"executable-heap", 0, KIND_FLAG, GUEST_LOADS, offsetof(struct options, executable_heap),
	 NULL, "let a stock guest execute its heap"},
	{"device", 'd', KIND_TEXT, GUEST_RUNS | COMMAND_DOCTOR, offsetof(struct options, device),
	 "PATH", "KVM device; default /dev/kvm"},
	{"allow-unfiltered-msrs", 0, KIND_FLAG, GUEST_RUNS,
	 offsetof(struct options, allow_unfiltered_msrs), NULL,
	 "accept a kernel that cannot filter MSRs"},
	{"trust-memory-without-verifying", 0, KIND_FLAG, COMMANDS_GUEST,
	 offsetof(struct options, trust_memory), NULL,
	 "map a stored snapshot's memory from its files, without hashing it"},
	{"accept-processor", 0, KIND_FLAG, COMMANDS_GUEST,
	 offsetof(struct options, accept_processor), NULL,
	 "do not warn of a stored guest that may have seen another processor"},
	{"bytes-max", 0, KIND_SIZE, COMMANDS_GUEST | COMMAND_SNAPSHOT_PULL,
	 offsetof(struct options, bytes_max), "SIZE",
	 "refuse a larger stored snapshot; default 4G"},
	{"tls-verify", 0, KIND_TLS, COMMANDS_GUEST | TRAVELS, offsetof(struct options, tls_verify),
	 "BOOL", "false: talk to the registry also without TLS"},
	{"quiet", 'q', KIND_FLAG, LASTS, offsetof(struct options, quiet), NULL,
	 "show no progress on a terminal"},
	{"json", 'j', KIND_FLAG, EVERY, offsetof(struct options, json), NULL,
	 "print one JSON object"},
	{"help", 'h', KIND_FLAG, EVERY, offsetof(struct options, help), NULL, "print this"},
};
#define ROWS (sizeof rows / sizeof rows[0])

static bool parse_level(const char *text, uint32_t *level, struct parse_error *error)
{
	static const char *const names[] = {"off", "error", "warn", "info", "debug", "trace"};
	for (uint32_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		if (strcmp(names[i], text) == 0) {
			*level = i == MOTE_LOG_OFF ? MOTE_LOG_SILENT : i;
			return true;
		}
	}
	(void)snprintf(error->message, sizeof error->message,
		       "\"%.60s\" is not a level: off, error, warn, info, debug or trace", text);
	return false;
}

/** NAME=JSON; whether both are as they should is the library's to say. */
static bool add_metadata(struct options *options, const char *text, struct parse_error *error)
{
	const char *equals = strchr(text, '=');
	if (!equals || equals == text)
		return mote__parse_fail(error, "\"%.60s\" is not NAME=JSON", text);
	if (options->metadata_count == MOTE_MAX_METADATA)
		return mote__parse_fail(error, "more than %d", MOTE_MAX_METADATA);
	char *copy = strdup(text);
	if (!copy)
		return mote__parse_fail(error, "out of memory");
	copy[equals - text] = 0;
	options->metadata_text[options->metadata_count] = copy;
	options->metadata[options->metadata_count++] =
		(struct mote_metadata){.name = copy, .json = copy + (equals - text) + 1};
	return true;
}

static bool set_tls(struct options *options, const char *text, struct parse_error *error)
{
	options->has_tls_verify = true;
	options->tls_verify = strcmp(text, "true") == 0;
	if (options->tls_verify || strcmp(text, "false") == 0)
		return true;
	return mote__parse_fail(error, "\"%.60s\" is neither true nor false", text);
}

static bool add_call(struct options *options, const char *text, struct parse_error *error)
{
	if (options->call_count == MAX_CALLS)
		return mote__parse_fail(error, "more than %d; --repeat makes them several times",
					MAX_CALLS);
	options->calls[options->call_count++] = text;
	return true;
}

static bool set(struct options *options, const struct row *row, const char *text,
		struct parse_error *error)
{
	void *field = (char *)options + row->offset;
	switch (row->kind) {
	case KIND_FLAG:
		*(bool *)field = true;
		return true;
	case KIND_TEXT:
		*(const char **)field = text;
		return true;
	case KIND_CALL:
		return add_call(options, text, error);
	case KIND_SIZE:
		return mote__size_parse(text, field, error);
	case KIND_DURATION:
		return mote__duration_parse(text, field, error);
	case KIND_COUNT:
		return mote__count_parse(text, MAX_COUNT, field, error);
	case KIND_TYPE:
		return mote__type_parse(text, field, error);
	case KIND_LEVEL:
		return parse_level(text, field, error);
	case KIND_METADATA:
		return add_metadata(options, text, error);
	case KIND_TLS:
		return set_tls(options, text, error);
	}
	return false;
}

static const struct row *find_long(enum command command, const char *name, size_t len)
{
	for (size_t i = 0; i < ROWS; i++)
		if ((rows[i].commands & command) && strlen(rows[i].name) == len &&
		    memcmp(rows[i].name, name, len) == 0)
			return &rows[i];
	return NULL;
}

static const struct row *find_letter(enum command command, char letter)
{
	for (size_t i = 0; i < ROWS; i++)
		if ((rows[i].commands & command) && rows[i].letter == letter)
			return &rows[i];
	return NULL;
}

static int refuse_unknown(const struct options *options, const char *word)
{
	char name[64];
	(void)snprintf(name, sizeof name, "%.*s", (int)strcspn(word + 2, "="), word + 2);
	struct suggestion suggestion = {.word = name};
	for (size_t i = 0; i < ROWS && word[1] == '-'; i++)
		if (rows[i].commands & options->command)
			mote__suggest_offer(&suggestion, rows[i].name);
	mote__report_usage(options->command_name, "unknown option %s", word);
	if (suggestion.best)
		mote__report_hint("did you mean --%s?", suggestion.best);
	else if (options->command & WITH_WORDS)
		mote__report_hint("write -- before arguments that start with -");
	return EXIT_USAGE;
}

/** A word of argv that is an option, and what it takes. */
struct word {
	const struct row *row;
	const char *value; /* NULL: none yet */
};

static bool look_up(const struct options *options, const char *text, struct word *word)
{
	*word = (struct word){0};
	if (text[1] == '-') {
		const char *equals = strchr(text, '=');
		size_t len = equals ? (size_t)(equals - text) - 2 : strlen(text) - 2;
		word->row = find_long(options->command, text + 2, len);
		word->value = equals ? equals + 1 : NULL;
	} else {
		word->row = find_letter(options->command, text[1]);
		word->value = text[2] ? text + 2 : NULL;
	}
	return word->row != NULL;
}

static bool is_option(const char *text)
{
	if (text[0] != '-' || text[1] == 0)
		return false;
	if ((text[1] >= '0' && text[1] <= '9') || text[1] == '.')
		return false;
	return strcmp(text, "-inf") != 0 && strcmp(text, "-nan") != 0;
}

/** Take the option at argv[*at] and what it needs; *at is at its last word then. */
static int take_option(struct options *options, int argc, char **argv, int *at)
{
	const char *text = argv[*at];
	struct word word;
	if (!look_up(options, text, &word))
		return refuse_unknown(options, text);
	if (word.row->kind == KIND_FLAG && word.value)
		return text[1] == '-' ? mote__report_usage(options->command_name,
							   "--%s takes no value", word.row->name)
				      : refuse_unknown(options, text);
	if (word.row->kind != KIND_FLAG && !word.value) {
		if (*at + 1 >= argc)
			return mote__report_usage(options->command_name, "--%s needs %s",
						  word.row->name, word.row->argument);
		word.value = argv[++*at];
	}
	struct parse_error error = {{0}};
	if (!set(options, word.row, word.value, &error))
		return mote__report_usage(options->command_name, "--%s: %s", word.row->name,
					  error.message);
	return EXIT_OK;
}

/** The guest is no operand like others. */
static void take_guest(struct options *options)
{
	if (!(options->command & COMMANDS_GUEST))
		return;
	options->guest = options->stored;
	if (options->guest || options->operand_count == 0)
		return;
	options->guest = *options->operands++;
	options->operand_count--;
}

int mote__options_parse(struct options *options, int argc, char **argv)
{
	bool is_over = false;
	options->result = RESULT_NOT_SAID;
	options->operands = argv;
	options->operand_count = 0;
	for (int i = 0; i < argc; i++) {
		if (is_over || !is_option(argv[i])) {
			options->operands[options->operand_count++] = argv[i];
		} else if (strcmp(argv[i], "--") == 0) {
			is_over = true;
		} else {
			int status = take_option(options, argc, argv, &i);
			if (status != EXIT_OK)
				return status;
		}
	}
	take_guest(options);
	return EXIT_OK;
}

void mote__options_free(struct options *options)
{
	for (uint32_t i = 0; i < options->metadata_count; i++)
		free(options->metadata_text[i]);
}

const char *mote__options_of_image(const struct options *options)
{
	const struct {
		const char *name;
		bool is_given;
	} given[] = {
		{"init-data", options->init_data != NULL},
		{"heap", options->heap_bytes != 0},
		{"stack", options->stack_bytes != 0},
		{"input", options->input_bytes != 0},
		{"output-buffer", options->output_bytes != 0},
		{"scratch", options->scratch_bytes != 0},
		{"image-max", options->image_bytes_max != 0},
		{"ignore-extensions", options->ignore_extensions},
		{"executable-heap", options->executable_heap},
	};
	for (size_t i = 0; i < sizeof given / sizeof given[0]; i++)
		if (given[i].is_given)
			return given[i].name;
	return NULL;
}

void mote__options_help(FILE *out, enum command command)
{
	(void)fputs("Options:\n", out);
	for (size_t i = 0; i < ROWS; i++) {
		if (!(rows[i].commands & command))
			continue;
		char left[64], letter[8] = "    ";
		if (rows[i].letter)
			(void)snprintf(letter, sizeof letter, "-%c, ", rows[i].letter);
		(void)snprintf(left, sizeof left, "%s--%s%s%s", letter, rows[i].name,
			       rows[i].argument ? " " : "",
			       rows[i].argument ? rows[i].argument : "");
		/* A name that is too long for its column has a line of its own. */
		(void)fprintf(out, strlen(left) > 27 ? "  %s\n%31s%s\n" : "  %-27s%2s%s\n", left,
			      "", rows[i].help);
	}
}
