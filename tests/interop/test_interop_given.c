/* SPDX-License-Identifier: MIT */
/*
 * A guest that was built with the published 0.15 guest crates: its version note, what it is given
 * at its start (init data, seed, log level), what it keeps from call to call, its logs and prints.
 */
#define _GNU_SOURCE
#include "rust_calls.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- logs and prints ------------------------------------------------------------------------- */

static const uint32_t filters[] = {MOTE_LOG_SILENT, MOTE_LOG_ERROR, MOTE_LOG_WARN,
				   MOTE_LOG_INFO,   MOTE_LOG_DEBUG, MOTE_LOG_TRACE};

/* Does the call make a record of that text? Its level, else 0. */
static uint32_t logged_level(struct rust *r, const char *name, int32_t level)
{
	struct system *s = &r->s;
	s->logged[0] = 0;
	CALL_VOID(s, name, mote_i32(level), mote_string("the-text"));
	for (char *line = strtok(s->logged, "\n"); line; line = strtok(NULL, "\n"))
		if (strstr(line, "the-text"))
			return (uint32_t)atoi(line);
	return 0;
}

TEST(interop_given__the_guest_logs_up_to_the_level_that_the_sandbox_asks_for)
{
	struct rust r;
	for (uint32_t most = 0; most < COUNT(filters); most++) {
		RUST(&r, .sandbox.log_level = filters[most]);
		CHECK_EQ(strstr(r.s.logged, "main ran") != NULL, most >= MOTE_LOG_INFO);
		for (uint32_t level = 1; level <= 5; level++) {
			const uint64_t exits = system_statistics(&r.s).exits_log;
			CHECK_EQ(logged_level(&r, "LogAt", (int32_t)level - 1),
				 level <= most ? level : 0);
			/* The guest filters: what is not wanted is not sent. */
			if (level > most)
				CHECK_EQ(system_statistics(&r.s).exits_log, exits);
		}
		rust_close(&r);
	}
}

TEST(interop_given__every_level_of_a_record_becomes_the_hosts)
{
	/* Trace, debug, information, warning, error, critical, none. */
	static const uint32_t levels[] = {5, 4, 3, 2, 1, 1, 5};
	struct rust r;
	for (uint32_t most = 1; most < COUNT(filters); most += 2) {
		RUST(&r, .sandbox.log_level = filters[most]);
		for (uint32_t i = 0; i < COUNT(levels); i++)
			CHECK_EQ(logged_level(&r, "LogRaw", (int32_t)i),
				 levels[i] <= most ? levels[i] : 0);
		rust_close(&r);
	}
}

TEST(interop_given__a_log_record_has_message_module_caller_file_and_line)
{
	struct rust r;
	unsigned level = 0, line = 0;
	char module[80], caller[80], file[80], message[80];
	RUST(&r, .sandbox.log_level = MOTE_LOG_INFO);
	r.s.logged[0] = 0;
	CALL_VOID(&r.s, "LogAt", mote_i32(1),
		  mote_string("Gr\xC3\xBC\xC3\x9F"
			      "e"));
	CHECK_EQ(sscanf(r.s.logged, "%u %79s %79s %79s %u %79[^\n]", &level, module, caller, file,
			&line, message),
		 6);
	CHECK_EQ(level, MOTE_LOG_WARN);
	CHECK_STR(message, "Gr\xC3\xBC\xC3\x9F"
			   "e");
	CHECK_STR(module, caller);
	CHECK_HAS(module, "rust");
	CHECK_HAS(file, ".rs");
	CHECK(line > 0);
	CHECK_EQ(r.s.log_count, 2);
	r.s.logged[0] = 0;
	CALL_VOID(&r.s, "LogRaw", mote_i32(4), mote_string("text"));
	CHECK_STR(r.s.logged, "1 raw-module raw-target raw-file.rs 7 text\n");
	rust_close(&r);
}

TEST(interop_given__host_print_writes_text_and_answers_its_length)
{
	struct rust r;
	RUST(&r);
	CHECK_EQ(CALL_I32(&r.s, "Printed", mote_string("hello\n")), 6);
	CHECK_EQ(CALL_I32(&r.s, "Printed", mote_string("\xC3\xA9\xE2\x82\xAC")), 5);
	CHECK_EQ(CALL_I32(&r.s, "Printed", mote_string("")), 0);
	CHECK_STR(r.s.printed, "hello\n\xC3\xA9\xE2\x82\xAC");
	rust_close(&r);
}

TEST(interop_given__debug_print_takes_ascii_and_mangles_the_rest_byte_by_byte)
{
	struct rust r;
	RUST(&r);
	CALL_VOID(&r.s, "Debug", mote_string("plain\n"));
	CHECK_STR(r.s.printed, "plain\n");
	CHECK_EQ(system_statistics(&r.s).exits_print, 6);
	r.s.printed[0] = 0;
	CALL_VOID(&r.s, "Debug", mote_string("\xC3\xA9"));
	CHECK_STR(r.s.printed, "\xC3\x83\xC2\xA9");
	rust_close(&r);
}

/* ---- what the guest is given, and keeps ------------------------------------------------------ */

static char data[5000];

TEST(interop_given__init_data_reaches_the_guest)
{
	struct rust r;
	for (size_t i = 0; i < sizeof data; i++)
		data[i] = (char)(i % 251);
	static const uint64_t sizes[] = {0, 1, 10, 4096, 5000};
	char text[100];
	for (size_t i = 0; i < COUNT(sizes); i++) {
		RUST(&r, .snapshot = {.init_data = data, .init_data_bytes = sizes[i]});
		struct mote_value seen = CALL(&r.s, MOTE_BYTES, "InitData", mote_i32(5000));
		CHECK_EQ(seen.bytes.len, sizes[i]);
		CHECK_MEM(seen.bytes.data, data, sizes[i]);
		(void)snprintf(text, sizeof text,
			       "Requested 5001 bytes from user memory, but only %u bytes are "
			       "available",
			       (unsigned)sizes[i]);
		GUEST_ERROR(&r, 15, text, MOTE_BYTES, "InitDataExact", mote_u64(5001));
		rust_close(&r);
	}
}

/* What the runtime makes of the seed for its C library. */
static uint64_t seed_of(const struct mote_fresh *fresh)
{
	struct rust r;
	RUST(&r, .sandbox.fresh = fresh);
	uint64_t seed = CALL_U64(&r.s, "Seed");
	rust_close(&r);
	return seed;
}

TEST(interop_given__the_guest_is_seeded_anew_or_as_the_host_says)
{
	struct mote_fresh fresh = {.random = {1, 2, 3, 4, 5, 0x67, 0x89, 0xAB}};
	/* The PEB is low, so the upper half of its part is zero. */
	CHECK_EQ(seed_of(&fresh), 0xAB896705ull >> 4);
	CHECK_EQ(seed_of(&fresh), 0xAB896705ull >> 4);
	CHECK(seed_of(NULL) != seed_of(NULL));
}

TEST(interop_given__state_of_the_guest_is_kept_from_call_to_call)
{
	struct rust r;
	RUST(&r);
	CHECK_EQ(CALL_I32(&r.s, "Count", mote_i32(3)), 3);
	CHECK_EQ(CALL_I32(&r.s, "Count", mote_i32(4)), 7);
	CHECK_EQ(CALL_I32(&r.s, "Keep", mote_bytes("abc", 3)), 3);
	CHECK_EQ(CALL_I32(&r.s, "Keep", mote_bytes("de", 2)), 5);
	CHECK_MEM(CALL(&r.s, MOTE_BYTES, "Kept").bytes.data, "abcde", 5);
	GUEST_ERROR(&r, 15, "no", MOTE_VOID, "Fail", mote_u64(15), mote_string("no"));
	CHECK_EQ(CALL_I32(&r.s, "Count", mote_i32(0)), 7);
	CHECK_EQ(CALL_I32(&r.s, "ConstTable", mote_i32(1000)), 3000);
	CHECK_EQ(CALL_U64(&r.s, "Generation"), 0);
	CHECK_EQ(CALL_I32(&r.s, "MainRuns"), 1);
	rust_close(&r);
}

/* ---- version notes --------------------------------------------------------------------------- */

static uint8_t image[4000000];
static size_t image_bytes;

/* Read the guest without SSE, and find its note and the header of the note's section. */
static void read_image(uint8_t **note, uint8_t **section)
{
	static const uint8_t name[] = "Hyperlight\0\0"
				      "0.15.0\0";
	char path[4200];
	const char *directory = getenv("MOTE_GUESTS");
	if (!directory)
		check_skip("MOTE_GUESTS does not say where the guests are");
	(void)snprintf(path, sizeof path, "%s/rust-soft.guest", directory);
	FILE *file = fopen(path, "rb");
	if (!file)
		check_skip("no guest %s", path);
	image_bytes = fread(image, 1, sizeof image, file);
	(void)fclose(file);
	CHECK(image_bytes > 64 && image_bytes < sizeof image);
	uint8_t *text = memmem(image, image_bytes, name, sizeof name);
	CHECK(text);
	*note = text - 12;
	uint64_t table, offset = (uint64_t)(*note - image), at;
	uint16_t count;
	memcpy(&table, image + 0x28, 8);
	memcpy(&count, image + 0x3C, 2);
	for (uint16_t i = 0; i < count; i++) {
		*section = image + table + 64 * (size_t)i;
		memcpy(&at, *section + 0x18, 8);
		if (at == offset && (*section)[4] == 7)
			return;
	}
	check_failed(__FILE__, __LINE__, "the note is in no section of notes");
}

/* Run the image as it is in memory. Returns 0, or what refused it. */
static int run_image(struct rust *r, struct mote_snapshot_info *info)
{
	struct system *s = &r->s;
	mote_snapshot *snapshot = NULL;
	OPEN(s, "rust-soft", .add = rust_add);
	int rc = mote_snapshot_from_memory(image, image_bytes, NULL, &snapshot, &s->err);
	if (rc == MOTE_OK) {
		mote_snapshot_unref(s->snapshot);
		s->snapshot = snapshot;
		mote_snapshot_get_info(snapshot, info);
		system_again(s);
		CHECK_EQ(CALL_I32(s, "EchoInt", mote_i32(15)), 15);
	} else {
		CHECK(snapshot == NULL);
	}
	const struct mote_error err = s->err;
	system_close(s);
	s->err = err;
	return rc;
}

TEST(interop_given__images_of_0_15_0_and_0_16_0_run_and_others_are_refused_by_name)
{
	static const char *const refused[] = {"0.14.0", "0.17.0", "0.18.0",
					      "0.15.1", "0.15",   "0.1\x01.0"};
	struct rust r;
	struct mote_snapshot_info info;
	uint8_t *note, *section;
	read_image(&note, &section);
	CHECK_EQ(run_image(&r, &info), MOTE_OK);
	CHECK_STR(info.version_note, "0.15.0");
	CHECK_EQ(info.is_confined, 0);
	CHECK_EQ(info.family, MOTE_FAMILY_S);
	memcpy(note + 24, "0.16.0", 6);
	CHECK_EQ(run_image(&r, &info), MOTE_OK);
	CHECK_STR(info.version_note, "0.16.0");
	for (size_t i = 0; i < COUNT(refused); i++) {
		memset(note + 24, 0, 8);
		memcpy(note + 24, refused[i], strlen(refused[i]));
		CHECK_EQ(run_image(&r, &info), MOTE_EIMAGE);
		CHECK_EQ(r.s.err.category, MOTE_CATEGORY_CALLER);
		CHECK_HAS(r.s.err.message, "Guest binary was built with hyperlight-guest-bin 0.1");
		CHECK_HAS(r.s.err.message, "0.15.0");
		if (i < 5)
			CHECK_HAS(r.s.err.message, refused[i]);
	}
}

TEST(interop_given__a_version_note_of_an_odd_alignment_or_name_is_no_note)
{
	/* Of the section; one below 4 means 4. */
	static const struct {
		uint8_t align, is_note;
	} cases[] = {{16, 0}, {5, 0}, {128, 0}, {4, 1}, {8, 1}};
	struct rust r;
	struct mote_snapshot_info info;
	uint8_t *note, *section;
	for (size_t i = 0; i < COUNT(cases); i++) {
		read_image(&note, &section);
		memcpy(note + 24, "0.99.0", 6);
		section[0x30] = cases[i].align;
		CHECK_EQ(run_image(&r, &info), cases[i].is_note ? MOTE_EIMAGE : MOTE_OK);
		if (!cases[i].is_note)
			CHECK_STR(info.version_note, "");
	}
	read_image(&note, &section);
	memcpy(note + 12, "Otherlight", 10);
	CHECK_EQ(run_image(&r, &info), MOTE_OK);
	CHECK_STR(info.version_note, "");
	read_image(&note, &section);
	note[8] = 2;
	CHECK_EQ(run_image(&r, &info), MOTE_OK);
	CHECK_STR(info.version_note, "");
}
