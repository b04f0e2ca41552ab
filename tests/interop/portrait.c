/* SPDX-License-Identifier: MIT */
/*
 * The portrait of this library's host: does what each line of a script (portrait.txt) says and
 * prints the line and what came of it. host-rust/src/portrait.rs does the same on the published
 * host, so what two hosts do differently is what differs in their output.
 *
 * usage: portrait GUESTS... <SCRIPT, where GUESTS are directories
 */
#include <mote.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WORDS       24
#define SNAPSHOTS   4
#define PAGE        4096u
#define SHORT_BYTES 128u

struct portrait {
	char **guests; /* directories, NULL at the end */
	mote_engine *engine;
	mote_host *host;
	mote_snapshot *image, *taken[SNAPSHOTS];
	mote_sandbox *sandbox;
};

static void die(const char *what, const struct mote_error *err)
{
	(void)fprintf(stderr, "portrait: %s: %s\n", what, err ? err->message : "");
	exit(err && err->code == MOTE_ENOKVM ? 77 : 2);
}

/* ---- what the host offers -------------------------------------------------------------------- */

static int host_add(void *cookie, const struct mote_value *a, mote_reply *reply)
{
	(void)cookie;
	return mote_reply_i32(reply, (int32_t)((uint32_t)a[0].i32 + (uint32_t)a[1].i32));
}

static int plus_one(void *cookie, const struct mote_value *a, mote_reply *reply)
{
	(void)cookie;
	return mote_reply_i32(reply, a[0].i32 + 1);
}

static int length_of(void *cookie, const struct mote_value *a, mote_reply *reply)
{
	(void)cookie;
	return mote_reply_i32(reply, (int32_t)a[0].string.len);
}

static int gives_string(void *cookie, const struct mote_value *a, mote_reply *reply)
{
	(void)cookie;
	(void)a;
	return mote_reply_string(reply, "a string", 8);
}

static int refuses(void *cookie, const struct mote_value *a, mote_reply *reply)
{
	(void)cookie;
	return mote_reply_error(reply, "not %d", a[0].i32);
}

static int echo(void *cookie, const struct mote_value *a, mote_reply *reply)
{
	const struct mote_value nothing = {MOTE_VOID, 0, {0}};
	return mote_reply_value(reply, cookie ? &a[0] : &nothing);
}

static int twice(void *cookie, const struct mote_value *a, mote_reply *reply)
{
	(void)cookie;
	return mote_reply_f64(reply, 2 * a[0].f64);
}

static int eleven(void *cookie, const struct mote_value *a, mote_reply *reply)
{
	(void)cookie;
	return mote_reply_u64(reply, (uint64_t)a[0].i32 + a[1].u32 + (uint64_t)a[2].i64 + a[3].u64 +
					     (uint64_t)a[4].f32 + (uint64_t)a[5].f64 +
					     a[6].boolean + a[7].string.len + a[8].bytes.len +
					     (uint64_t)a[9].i32 + (uint64_t)a[10].i64);
}

static int one(void *cookie, const struct mote_value *a, mote_reply *reply)
{
	(void)cookie;
	(void)a;
	return mote_reply_i32(reply, 1);
}

static int upper(void *cookie, const struct mote_value *a, mote_reply *reply)
{
	uint8_t text[256];
	size_t len = a[0].string.len;
	(void)cookie;
	if (len == 0 || len > sizeof text)
		return mote_reply_error(reply, "nothing to convert");
	memcpy(text, a[0].string.data, len);
	for (size_t i = 0; i < len; i++)
		if (text[i] >= 'a' && text[i] <= 'z')
			text[i] -= 'a' - 'A';
	return mote_reply_string(reply, (const char *)text, len);
}

static int on_print(void *cookie, void *user_data, const char *text, size_t len)
{
	(void)cookie;
	(void)user_data;
	printf("  printed %.*s\n", (int)len, text);
	return 0;
}

static const struct {
	const char *takes, *echo;
	uint32_t type;
} types[] = {
	{"takes_i32", "host_i32", MOTE_I32},       {"takes_u32", "host_u32", MOTE_U32},
	{"takes_i64", "host_i64", MOTE_I64},       {"takes_u64", "host_u64", MOTE_U64},
	{"takes_f32", "host_f32", MOTE_F32},       {"takes_f64", "host_f64", MOTE_F64},
	{"takes_bool", "host_bool", MOTE_BOOL},    {"takes_string", "host_string", MOTE_STRING},
	{"takes_bytes", "host_bytes", MOTE_BYTES}, {"takes_void", "host_void", MOTE_VOID},
};
#define TYPES (sizeof types / sizeof *types)

/* For each type: takes_TYPE, which answers 1, and host_TYPE, which answers what it gets. */
static int add_of_types(mote_host *host)
{
	static int cookie;
	struct mote_error err;
	int rc = MOTE_OK;
	for (size_t i = 0; i < TYPES - 1; i++) {
		uint32_t type = types[i].type;
		rc |= MOTE_HOST_ADD(host, types[i].takes, one, NULL, &err, MOTE_I32, type);
		rc |= MOTE_HOST_ADD(host, types[i].echo, echo, &cookie, &err, type, type);
	}
	return rc;
}

static void add_functions(mote_host *host)
{
	struct mote_error err;
	int rc = MOTE_HOST_ADD(host, "HostAdd", host_add, NULL, &err, MOTE_I32, MOTE_I32, MOTE_I32);
	rc |= MOTE_HOST_ADD(host, "of_two", host_add, NULL, &err, MOTE_I32, MOTE_I32, MOTE_I32);
	rc |= MOTE_HOST_ADD(host, "plus_one", plus_one, NULL, &err, MOTE_I32, MOTE_I32);
	rc |= MOTE_HOST_ADD(host, "of_string", length_of, NULL, &err, MOTE_I32, MOTE_STRING);
	rc |= MOTE_HOST_ADD(host, "gives_string", gives_string, NULL, &err, MOTE_STRING);
	rc |= MOTE_HOST_ADD(host, "refuses", refuses, NULL, &err, MOTE_I32, MOTE_I32);
	rc |= MOTE_HOST_ADD(host, "upper", upper, NULL, &err, MOTE_STRING, MOTE_STRING);
	rc |= MOTE_HOST_ADD(host, "twice", twice, NULL, &err, MOTE_F64, MOTE_F64);
	rc |= MOTE_HOST_ADD(host, "host_void", echo, NULL, &err, MOTE_VOID);
	rc |= MOTE_HOST_ADD(host, "host_eleven", eleven, NULL, &err, MOTE_U64, MOTE_I32, MOTE_U32,
			    MOTE_I64, MOTE_U64, MOTE_F32, MOTE_F64, MOTE_BOOL, MOTE_STRING,
			    MOTE_BYTES, MOTE_I32, MOTE_I64);
	rc |= add_of_types(host);
	rc |= mote_host_on_print(host, on_print, NULL, &err);
	if (rc != MOTE_OK)
		die("host functions", &err);
}

/* ---- values ---------------------------------------------------------------------------------- */

static uint64_t number(const char *text)
{
	return strtoull(text, NULL, 0);
}

/* TYPE:VALUE; bytes are given by their count, and are all 7. */
static struct mote_value parse(const char *word)
{
	static const uint8_t sevens[1 << 16] = {[0 ...(1 << 16) - 1] = 7};
	const char *colon = strchr(word, ':');
	const char *text = colon ? colon + 1 : word;
	switch (word[0]) {
	case 'i':
		return word[1] == '3' ? mote_i32((int32_t)number(text))
				      : mote_i64((int64_t)number(text));
	case 'u':
		return word[1] == '3' ? mote_u32((uint32_t)number(text)) : mote_u64(number(text));
	case 'f':
		return word[1] == '3' ? mote_f32(strtof(text, NULL)) : mote_f64(strtod(text, NULL));
	case 'b':
		return word[1] == 'o' ? mote_bool((int)number(text))
				      : mote_bytes(sevens, number(text));
	default:
		return mote_string(text);
	}
}

static uint32_t type_of(const char *word)
{
	for (size_t i = 0; i < TYPES; i++)
		if (!strcmp(types[i].echo + strlen("host_"), word))
			return types[i].type;
	die(word, NULL);
	return 0;
}

/* Short ones as they are, others as a hash (FNV-1a). */
static void print_bytes(const uint8_t *bytes, size_t len)
{
	uint64_t hash = 0xCBF29CE484222325;
	printf("  bytes %zu ", len);
	for (size_t i = 0; i < len; i++) {
		hash = (hash ^ bytes[i]) * 0x100000001B3;
		if (len <= SHORT_BYTES)
			printf("%02x", bytes[i]);
	}
	if (len > SHORT_BYTES)
		printf("0x%llx", (unsigned long long)hash);
	putchar('\n');
}

static void print_value(const struct mote_value *value)
{
	uint64_t bits = 0;
	switch (value->type) {
	case MOTE_I32:
		printf("  i32 %d\n", value->i32);
		break;
	case MOTE_U32:
		printf("  u32 %u\n", value->u32);
		break;
	case MOTE_I64:
		printf("  i64 %lld\n", (long long)value->i64);
		break;
	case MOTE_U64:
		printf("  u64 0x%llx\n", (unsigned long long)value->u64);
		break;
	case MOTE_F32:
	case MOTE_F64:
		memcpy(&bits, &value->f64, value->type == MOTE_F32 ? 4 : 8);
		printf("  %s 0x%llx\n", mote_type_name(value->type), (unsigned long long)bits);
		break;
	case MOTE_BOOL:
		printf("  bool %u\n", value->boolean);
		break;
	case MOTE_STRING:
		printf("  string %s\n", value->string.data);
		break;
	case MOTE_BYTES:
		print_bytes(value->bytes.data, value->bytes.len);
		break;
	default:
		printf("  void\n");
	}
}

static void print_error(const struct portrait *p, const struct mote_error *err)
{
	int is_poisoned = p->sandbox && mote_sandbox_state(p->sandbox) == MOTE_STATE_POISONED;
	printf("  error %s%s\n", is_poisoned ? "poisoned " : "", err->message);
}

/* ---- operations ------------------------------------------------------------------------------ */

static void close_all(struct portrait *p)
{
	mote_sandbox_destroy(p->sandbox);
	mote_snapshot_unref(p->image);
	for (unsigned i = 0; i < SNAPSHOTS; i++) {
		mote_snapshot_unref(p->taken[i]);
		p->taken[i] = NULL;
	}
	p->sandbox = NULL;
	p->image = NULL;
}

static void set_option(struct mote_snapshot_options *options, uint32_t *level, const char *word)
{
	const char *value = strchr(word, '=');
	if (!value)
		return;
	value++;
	if (!strncmp(word, "heap", 4))
		options->heap_bytes = number(value);
	else if (!strncmp(word, "scratch", 7))
		options->scratch_bytes = number(value);
	else if (!strncmp(word, "input", 5))
		options->input_bytes = number(value);
	else if (!strncmp(word, "output", 6))
		options->output_bytes = number(value);
	else if (!strncmp(word, "log", 3))
		*level = value[0] == '0' ? MOTE_LOG_SILENT : (uint32_t)number(value);
	else if (!strncmp(word, "init", 4)) {
		options->init_data = value;
		options->init_data_bytes = strlen(value);
	}
}

/* open GUEST OPTION=VALUE... */
static void do_open(struct portrait *p, char **words, unsigned count)
{
	struct mote_snapshot_options options = {
		.size = sizeof options, .ignore_extensions = 1, .executable_heap = 1};
	struct mote_sandbox_options sandbox = {.size = sizeof sandbox,
					       .log_level = MOTE_LOG_SILENT};
	struct mote_error err;
	char path[4096];
	close_all(p);
	for (unsigned i = 2; i < count; i++)
		set_option(&options, &sandbox.log_level, words[i]);
	for (char **guests = p->guests; *guests; guests++) {
		(void)snprintf(path, sizeof path, "%s/%s.guest", *guests, words[1]);
		if (access(path, R_OK) == 0)
			break;
	}
	int rc = mote_snapshot_from_file(path, &options, &p->image, &err);
	if (rc == MOTE_OK)
		rc = mote_sandbox_create(p->engine, p->image, p->host, &sandbox, &p->sandbox, &err);
	if (rc == MOTE_OK)
		rc = mote_sandbox_start(p->sandbox, 0, &err);
	if (rc != MOTE_OK)
		print_error(p, &err);
}

static int do_call(struct portrait *p, char **words, unsigned count, struct mote_value *result)
{
	struct mote_value arguments[WORDS];
	struct mote_error err;
	for (unsigned i = 3; i < count; i++)
		arguments[i - 3] = parse(words[i]);
	struct mote_call call = {.size = sizeof call,
				 .function = words[2],
				 .arguments = arguments,
				 .argument_count = count - 3,
				 .result = type_of(words[1])};
	int rc = mote_sandbox_call(p->sandbox, &call, result, &err);
	if (rc != MOTE_OK)
		print_error(p, &err);
	return rc;
}

/* page ADDRESS: words that are not zero, each run of equal steps on one line. */
static void do_page(struct portrait *p, const char *address)
{
	uint64_t words[PAGE / 8];
	char text[64];
	struct mote_value result;
	(void)snprintf(text, sizeof text, "u64:%s", address);
	char *call[] = {"call", "bytes", "bytes_at", text, "u32:4096"};
	if (do_call(p, call, 5, &result) != MOTE_OK || result.bytes.len != sizeof words)
		return;
	memcpy(words, result.bytes.data, sizeof words);
	for (unsigned i = 0; i < PAGE / 8;) {
		unsigned first = i++;
		while (words[first] && i < PAGE / 8 && words[i] == words[i - 1] + PAGE)
			i++;
		if (words[first])
			printf("  %u-%u 0x%llx\n", first, i - 1, (unsigned long long)words[first]);
	}
}

/* word N NAME: the Nth 8 bytes of what NAME gives. */
static void do_word(struct portrait *p, char **words)
{
	uint64_t word;
	struct mote_value result;
	size_t at = 8 * (size_t)number(words[1]);
	char *call[] = {"call", "bytes", words[2]};
	if (do_call(p, call, 3, &result) != MOTE_OK || result.bytes.len < at + sizeof word)
		return;
	memcpy(&word, (const uint8_t *)result.bytes.data + at, sizeof word);
	printf("  0x%llx\n", (unsigned long long)word);
}

static void do_line(struct portrait *p, char **words, unsigned count)
{
	struct mote_value result;
	struct mote_error err;
	int rc = MOTE_OK;
	unsigned index = count > 1 ? (unsigned)number(words[1]) % SNAPSHOTS : 0;
	if (!strcmp(words[0], "open")) {
		do_open(p, words, count);
	} else if (!strcmp(words[0], "call")) {
		if (do_call(p, words, count, &result) == MOTE_OK)
			print_value(&result);
	} else if (!strcmp(words[0], "page")) {
		do_page(p, words[1]);
	} else if (!strcmp(words[0], "word")) {
		do_word(p, words);
	} else if (!strcmp(words[0], "take")) {
		mote_snapshot_unref(p->taken[index]);
		p->taken[index] = NULL;
		rc = mote_snapshot_take(p->sandbox, NULL, &p->taken[index], &err);
	} else if (!strcmp(words[0], "restore")) {
		rc = mote_sandbox_restore(p->sandbox, p->taken[index], NULL, &err);
	} else {
		die(words[0], NULL);
	}
	if (rc != MOTE_OK)
		print_error(p, &err);
}

int main(int argc, char **argv)
{
	struct portrait p = {0};
	struct mote_error err;
	char line[1024];
	if (argc < 2)
		die("usage: portrait GUESTS... <SCRIPT", NULL);
	p.guests = argv + 1;
	if (mote_engine_create(NULL, &p.engine, &err) != MOTE_OK ||
	    mote_host_create(&p.host, &err) != MOTE_OK)
		die("start", &err);
	add_functions(p.host);
	while (fgets(line, sizeof line, stdin)) {
		static char nothing[1];
		char *words[WORDS], *rest;
		unsigned count = 0;
		line[strcspn(line, "\n")] = 0;
		if (!line[0] || line[0] == '#')
			continue;
		puts(line);
		for (unsigned i = 0; i < WORDS; i++)
			words[i] = nothing;
		for (char *word = strtok_r(line, " ", &rest); word && count < WORDS;
		     word = strtok_r(NULL, " ", &rest))
			words[count++] = word;
		do_line(&p, words, count);
	}
	close_all(&p);
	mote_host_unref(p.host);
	mote_engine_unref(p.engine);
	return fflush(stdout) == 0 ? 0 : 2;
}
