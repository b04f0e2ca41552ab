/* SPDX-License-Identifier: MIT */
/*
 * A store that somebody else wrote: the input is its documents and blobs, in which $ and a letter
 * stand for digests and sizes, so that a load comes behind the digests. A load fails with a message
 * and leaves nothing, or gives a snapshot that can be looked at, run from and taken of (on the test
 * double), and that saves and loads as the same.
 *
 * Input: a byte of options, then parts that end with "\n--\n": index, manifest, configuration,
 * mappings, symbols, and two layers of memory: two bytes with the number of pages, then for each
 * page that is not zero two bytes with its number, two with how many bytes follow, and these. $M
 * in a document is the digest, $m the size of the manifest; so c for the configuration, p for
 * mappings, s for symbols, a and b for memory.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "check.h"
#include "double.h"
#include "vm/objects.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define REQUIRE(condition)                                                                  \
	do {                                                                                \
		if (!(condition)) {                                                         \
			fprintf(stderr, "%s:%d: %s (%s)\n", __FILE__, __LINE__, #condition, \
				err.message);                                               \
			abort();                                                            \
		}                                                                           \
	} while (0)

#define PAGE       4096u
#define PAGES_MAX  64u
#define PATH_BYTES 256u
#define DOCUMENT   65536u
#define TEXT_BYTES 80u /* of a digest with its prefix */
#define BYTES_MAX  0x4000000u

enum part { INDEX, MANIFEST, CONFIG, MAPPINGS, SYMBOLS, MEMORY, PARTS = MEMORY + 2 };
static const char letters[] = "imcpsab";

static struct {
	const uint8_t *bytes;
	size_t len;
	char digest[TEXT_BYTES], size[TEXT_BYTES];
} parts[PARTS];

static char base[PATH_BYTES], directory[PATH_BYTES], other[PATH_BYTES];
static uint8_t documents[3][DOCUMENT], memory[2][PAGES_MAX * PAGE];
static mote_engine *engine;
static mote_host *host;
static struct mote_error err;

/* The double's checks end a test elsewhere. */
void check_failed(const char *file, int line, const char *format, ...)
{
	va_list arguments;
	fprintf(stderr, "%s:%d: ", file, line);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fprintf(stderr, "\n");
	abort();
}

/* ---- directories ----------------------------------------------------------------------------- */

static void remove_tree(const char *path)
{
	char command[PATH_BYTES + 16];
	(void)snprintf(command, sizeof command, "rm -rf '%s'", path);
	REQUIRE(system(command) == 0);
}

static void remove_all(void)
{
	remove_tree(base);
}

static void put(const char *name, const void *bytes, size_t len)
{
	char path[PATH_BYTES + 96];
	(void)snprintf(path, sizeof path, "%s/%s", directory, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	REQUIRE(fd >= 0);
	REQUIRE(write(fd, bytes, len) == (ssize_t)len);
	(void)close(fd);
}

static int add_function(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	(void)cookie, (void)arguments, (void)reply;
	return 0;
}

/* Once for all inputs. */
static void begin(void)
{
	static const struct double_guest guest;
	static const char layout[] = "{\"imageLayoutVersion\":\"1.0.0\"}";
	char path[PATH_BYTES + 32];
	const char *where = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
	(void)snprintf(base, sizeof base, "%s/mote-fuzz-XXXXXX", where);
	REQUIRE(mkdtemp(base) != NULL);
	(void)atexit(remove_all);
	(void)snprintf(directory, sizeof directory, "%.200s/store", base);
	(void)snprintf(other, sizeof other, "%.200s/other", base);
	(void)snprintf(path, sizeof path, "%s/blobs", directory);
	REQUIRE(mkdir(directory, 0755) == 0 && mkdir(path, 0755) == 0);
	(void)snprintf(path, sizeof path, "%s/blobs/sha256", directory);
	REQUIRE(mkdir(path, 0755) == 0);
	put("oci-layout", layout, sizeof layout - 1);
	REQUIRE(mote__engine_on(&double_make(&guest)->base, SIGRTMIN, 0, &engine, &err) == 0);
	REQUIRE(mote_host_create(&host, &err) == 0);
	REQUIRE(MOTE_HOST_ADD(host, "shout", add_function, NULL, &err, MOTE_I32, MOTE_STRING) == 0);
}

/* ---- the input ------------------------------------------------------------------------------- */

static void describe(enum part part)
{
	static const char digits[] = "0123456789abcdef";
	uint8_t digest[MOTE_DIGEST_BYTES];
	struct mote__digest state;
	mote__digest_init(&state);
	mote__digest_update(&state, parts[part].bytes, parts[part].len);
	mote__digest_final(&state, digest);
	char *at = stpcpy(parts[part].digest, "sha256:");
	for (size_t i = 0; i < sizeof digest; i++) {
		*at++ = digits[digest[i] >> 4];
		*at++ = digits[digest[i] & 15];
	}
	*at = 0;
	(void)snprintf(parts[part].size, TEXT_BYTES, "%zu", parts[part].len);
}

/* Put digests and sizes in. */
static void expand(enum part part)
{
	uint8_t *to = documents[part];
	size_t len = 0;
	for (size_t i = 0; i < parts[part].len && len + TEXT_BYTES < DOCUMENT; i++) {
		uint8_t c = parts[part].bytes[i];
		const char *letter = NULL;
		if (c == '$' && i + 1 < parts[part].len && parts[part].bytes[i + 1])
			letter = strchr(letters, parts[part].bytes[i + 1] | 0x20);
		if (!letter) {
			to[len++] = c;
			continue;
		}
		enum part named = (enum part)(letter - letters);
		bool is_size = parts[part].bytes[++i] & 0x20;
		const char *text = is_size ? parts[named].size : parts[named].digest;
		memcpy(to + len, text, strlen(text));
		len += strlen(text);
	}
	parts[part].bytes = to;
	parts[part].len = len;
}

static size_t number_at(const uint8_t *at)
{
	return (size_t)(at[0] | at[1] << 8);
}

/* The pages of a layer. */
static void unpack(enum part part)
{
	uint8_t *to = memory[part - MEMORY];
	const uint8_t *from = parts[part].bytes, *end = from + parts[part].len;
	size_t pages = end - from >= 2 ? number_at(from) : 0;
	pages = pages < PAGES_MAX ? pages : PAGES_MAX;
	memset(to, 0, sizeof memory[0]);
	for (from += 2; end - from >= 4;) {
		size_t page = number_at(from), len = number_at(from + 2);
		from += 4;
		if (len > (size_t)(end - from))
			len = (size_t)(end - from);
		if (page < pages)
			memcpy(to + page * PAGE, from, len < PAGE ? len : PAGE);
		from += len;
	}
	parts[part].bytes = to;
	parts[part].len = pages * PAGE;
}

/* The parts of an input; those that it lacks are empty. */
static void split(const uint8_t *data, size_t len)
{
	static const char end[] = "\n--\n";
	for (unsigned i = 0; i < PARTS; i++) {
		const uint8_t *found = len ? memmem(data, len, end, 4) : NULL;
		size_t bytes = found ? (size_t)(found - data) : len;
		memset(&parts[i], 0, sizeof parts[i]);
		parts[i].bytes = data;
		parts[i].len = bytes;
		data += found ? bytes + 4 : bytes;
		len -= found ? bytes + 4 : bytes;
	}
	for (unsigned i = MEMORY; i < PARTS; i++)
		unpack(i);
	for (unsigned i = PARTS - 1; i > CONFIG; i--)
		describe(i);
	for (unsigned i = CONFIG + 1; i-- > 0;) {
		expand(i);
		describe(i);
	}
}

static void blob_name(enum part part, char name[96])
{
	(void)snprintf(name, 96, "blobs/sha256/%s", parts[part].digest + 7);
}

static void write_store(void)
{
	char name[96];
	for (unsigned i = MANIFEST; i < PARTS; i++) {
		blob_name(i, name);
		put(name, parts[i].bytes, parts[i].len);
	}
	put("index.json", parts[INDEX].bytes, parts[INDEX].len);
}

static void clear_store(void)
{
	char name[96], path[PATH_BYTES + 96];
	for (unsigned i = MANIFEST; i < PARTS; i++) {
		blob_name(i, name);
		(void)snprintf(path, sizeof path, "%s/%s", directory, name);
		(void)unlink(path);
	}
}

/* ---- properties ------------------------------------------------------------------------------ */

static const uint32_t msrs[] = {0xC0000102, 0x174};

static void require_message(int rc)
{
	REQUIRE(rc == MOTE_ESTORE || rc == MOTE_ENOTFOUND || rc == MOTE_ETOOBIG ||
		rc == MOTE_EPROCESSOR || rc == MOTE_ENOMEM);
	REQUIRE(err.code == rc && err.message[0] && !strpbrk(err.message, "\n\r\033"));
}

static int load(const char *from, bool is_trusting, mote_snapshot **snapshot)
{
	const struct mote_load_options options = {.size = sizeof options,
						  .trust_memory_without_verifying = is_trusting,
						  .accept_processor = 1,
						  .msrs = msrs,
						  .msr_count = 2,
						  .bytes_max = BYTES_MAX};
	memset(&err, 0x5A, sizeof err);
	return mote_snapshot_load(from, NULL, &options, snapshot, &err);
}

static void look_at(mote_snapshot *snapshot)
{
	struct mote_snapshot_info info;
	struct mote_region region;
	struct mote_location location;
	char text[64];
	uint8_t byte;
	mote_snapshot_get_info(snapshot, &info);
	REQUIRE(info.layer_count >= 1 && info.region_count >= 1);
	for (uint32_t i = 0; i < info.region_count; i++) {
		REQUIRE(mote_snapshot_get_region(snapshot, i, &region) == MOTE_OK);
		int rc = mote_snapshot_read(snapshot, region.gva, &byte, 1, &err);
		REQUIRE(rc == MOTE_OK || rc == MOTE_EADDR);
		(void)mote_snapshot_locate(snapshot, region.gva + region.bytes - 1, &location);
		(void)mote_snapshot_symbolize(snapshot, region.gva, text, sizeof text);
	}
	(void)mote_snapshot_symbolize(snapshot, info.entry_gva, text, sizeof text);
}

/* Start from it, write, freeze, go back. No guest runs. */
static void run_from(mote_snapshot *snapshot)
{
	mote_sandbox *sandbox = NULL;
	mote_snapshot *taken = NULL;
	struct mote_region region;
	uint8_t byte = 0;
	if (mote_sandbox_create(engine, snapshot, host, NULL, &sandbox, &err) < 0)
		return;
	for (uint32_t i = 0; mote_snapshot_get_region(snapshot, i, &region) == MOTE_OK; i++)
		if (mote_sandbox_read(sandbox, region.gva, &byte, 1, &err) == MOTE_OK) {
			int rc = mote_sandbox_write(sandbox, region.gva, &byte, 1, &err);
			REQUIRE(rc == MOTE_OK || rc == MOTE_EADDR || rc == MOTE_ENOMEM ||
				rc == MOTE_ESTATE);
		}
	if (mote_snapshot_take(sandbox, NULL, &taken, &err) == MOTE_OK)
		look_at(taken);
	REQUIRE(mote_sandbox_restore(sandbox, snapshot, NULL, &err) == MOTE_OK);
	mote_snapshot_unref(taken);
	mote_sandbox_destroy(sandbox);
}

/* It saves, and what it saves loads and is the same. */
static void save_again(mote_snapshot *snapshot)
{
	const struct mote_save_options options = {.size = sizeof options, .tag = "latest"};
	uint8_t digests[2][MOTE_DIGEST_BYTES];
	struct mote_saved saved[2];
	mote_snapshot *again = NULL;
	REQUIRE(mote_snapshot_save(snapshot, other, &options, &saved[0], &err) == MOTE_OK);
	REQUIRE(load(other, false, &again) == MOTE_OK);
	REQUIRE(mote_snapshot_save(again, other, &options, &saved[1], &err) == MOTE_OK);
	REQUIRE(strcmp(saved[0].digest, saved[1].digest) == 0 && saved[1].blobs_written == 0);
	int rc = mote_snapshot_digest(snapshot, digests[0], &err);
	REQUIRE(rc == mote_snapshot_digest(again, digests[1], &err));
	if (rc == MOTE_OK)
		REQUIRE(memcmp(digests[0], digests[1], MOTE_DIGEST_BYTES) == 0);
	mote_snapshot_unref(again);
	REQUIRE(mote_store_remove(other, "latest", &err) == MOTE_OK);
	REQUIRE(mote_store_collect(other, NULL, &err) == MOTE_OK);
}

static int count_entry(void *cookie, const struct mote_store_entry *entry)
{
	unsigned *count = cookie;
	(*count)++;
	REQUIRE(entry->digest && strlen(entry->digest) == 71);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	mote_snapshot *const untouched = (mote_snapshot *)&err;
	mote_snapshot *snapshot = untouched;
	unsigned entries = 0;
	if (len < 1)
		return 0;
	if (!engine)
		begin();
	split(data + 1, len - 1);
	write_store();
	int rc = load(directory, data[0] & 1, &snapshot);
	if (rc == MOTE_OK) {
		REQUIRE(snapshot != untouched);
		look_at(snapshot);
		run_from(snapshot);
		save_again(snapshot);
		mote_snapshot_unref(snapshot);
		REQUIRE(mote_store_verify(directory, "latest", NULL, NULL, NULL, &err) == MOTE_OK);
	} else {
		require_message(rc);
		REQUIRE(snapshot == untouched);
	}
	rc = mote_store_list(directory, count_entry, &entries, &err);
	REQUIRE(rc == MOTE_OK || err.message[0]);
	clear_store();
	return 0;
}
