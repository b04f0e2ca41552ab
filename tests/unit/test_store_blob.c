/* SPDX-License-Identifier: MIT */
/* Blobs: written, found, read, verified; and files that are not what they should be. */
#include "store_files.h"

#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/digest.h"
#include "base/sys_file.h"

#define MIB 0x100000u

static struct mote__blob blob_of(const void *data, size_t len)
{
	struct mote__blob blob = {.bytes = len};
	struct mote__digest digest;
	mote__digest_init(&digest);
	mote__digest_update(&digest, data, len);
	mote__digest_final(&digest, blob.digest);
	return blob;
}

static int open_blob(const struct mote__blob *blob, bool needs_trust)
{
	int fd = -1;
	int rc = mote__blob_open(&f.store, blob, "memory layer 2", needs_trust, &fd, &f.err);
	mote__sys_close(fd);
	CHECK((rc == MOTE_OK) == (fd >= 0));
	return rc;
}

static int read_blob(const struct mote__blob *blob, uint8_t **bytes)
{
	return mote__blob_read(&f.store, blob, "memory layer 2", 64 * MIB, bytes, &f.err);
}

TEST(store_blob__is_written_once_and_read_back)
{
	files_make();
	struct mote__blob blob = {0}, again = {0};
	const struct mote__blob wanted = blob_of("some text", 9);
	bool is_new = false;
	CHECK(!mote__blob_is_there(&f.store, &wanted));
	CHECK_EQ(mote__blob_put(&f.store, "some text", 9, &blob, &is_new, &f.err), MOTE_OK);
	CHECK(is_new);
	CHECK_MEM(&blob, &wanted, sizeof blob);
	CHECK(mote__blob_is_there(&f.store, &wanted));
	CHECK_EQ(mote__blob_put(&f.store, "some text", 9, &again, &is_new, &f.err), MOTE_OK);
	CHECK(!is_new);
	CHECK_MEM(&again, &wanted, sizeof blob);
	CHECK_EQ(tree_count(f.directory, ".mote-"), 0);
	uint8_t *bytes = NULL;
	CHECK_EQ(read_blob(&blob, &bytes), MOTE_OK);
	CHECK_STR((char *)bytes, "some text");
	mote__free(bytes);
	struct stat status = {0};
	CHECK_EQ(stat(files_blob_path(&blob), &status), 0);
	CHECK_EQ(status.st_mode & 0222, 0);
	again.bytes = 0;
	CHECK_EQ(mote__blob_find(&f.store, &again, &f.err), MOTE_OK);
	CHECK_EQ(again.bytes, 9);
	files_end();
}

TEST(store_blob__may_be_empty)
{
	files_make();
	struct mote__blob blob = files_put("");
	uint8_t *bytes = NULL;
	CHECK_EQ(read_blob(&blob, &bytes), MOTE_OK);
	CHECK_EQ(bytes[0], 0);
	mote__free(bytes);
	files_end();
}

TEST(store_blob__permissions_follow_the_umask)
{
	files_make();
	mode_t old = umask(0077);
	struct mote__blob blob = files_put("private");
	umask(old);
	struct stat status = {0};
	CHECK_EQ(stat(files_blob_path(&blob), &status), 0);
	CHECK_EQ(status.st_mode & 07777, 0400);
	files_end();
}

/* ---- streams --------------------------------------------------------------------------------- */

struct seen {
	uint8_t *bytes;
	uint64_t at, zeroes;
	unsigned calls, ends_at;
};

static int see(void *cookie, uint64_t offset, const void *data, size_t len, struct mote_error *err)
{
	struct seen *seen = cookie;
	CHECK_EQ(offset, seen->at);
	CHECK(len > 0 && len <= MIB);
	if (data)
		memcpy(seen->bytes + offset, data, len);
	else
		seen->zeroes += len;
	seen->at += len;
	(void)err;
	return ++seen->calls == seen->ends_at ? MOTE_ECANCELED : MOTE_OK;
}

/* Data and zeroes in random runs: what is read is what was written, and holes stay holes. */
TEST(store_blob__streams_are_what_was_written)
{
	uint64_t seed = mote__sys_realtime_ns() | 1, state = seed;
	check_note("seed %llu", (unsigned long long)seed);
	uint8_t *bytes = calloc(8, MIB), *copy = calloc(8, MIB);
	CHECK(bytes && copy);
	files_make();
	for (unsigned round = 0; round < 12; round++) {
		struct mote__blob_writer writer;
		struct mote__blob blob;
		bool is_new = false;
		size_t len = 0;
		memset(bytes, 0, 8 * MIB);
		CHECK_EQ(mote__blob_begin(&f.store, &writer, &f.err), MOTE_OK);
		for (unsigned run = 0; run < 8; run++) {
			size_t n = check_random(&state) % MIB;
			n = run & 1 ? n / 4096 * 4096 : n;
			if (check_random(&state) % 2) {
				for (size_t i = 0; i < n; i++)
					bytes[len + i] = (uint8_t)check_random(&state);
				CHECK_EQ(mote__blob_write(&writer, bytes + len, n, &f.err), 0);
			} else {
				CHECK_EQ(mote__blob_write_zeroes(&writer, n, &f.err), 0);
			}
			len += n;
		}
		CHECK_EQ(mote__blob_commit(&writer, &blob, &is_new, &f.err), MOTE_OK);
		const struct mote__blob wanted = blob_of(bytes, len);
		CHECK_MEM(&blob, &wanted, sizeof blob);
		struct seen seen = {.bytes = copy};
		int fd = -1;
		memset(copy, 0, 8 * MIB);
		CHECK_EQ(mote__blob_open(&f.store, &blob, "x", true, &fd, &f.err), MOTE_OK);
		CHECK_EQ(mote__blob_stream(fd, &blob, "x", see, &seen, &f.err), MOTE_OK);
		CHECK_EQ(seen.at, len);
		CHECK_MEM(bytes, copy, len);
		CHECK_EQ(mote__blob_stream(fd, &blob, "x", NULL, NULL, &f.err), MOTE_OK);
		mote__sys_close(fd);
	}
	free(bytes);
	free(copy);
	files_end();
}

TEST(store_blob__zeroes_are_holes)
{
	files_make();
	struct mote__blob_writer writer;
	struct mote__blob blob;
	struct stat status = {0};
	bool is_new = false;
	CHECK_EQ(mote__blob_begin(&f.store, &writer, &f.err), MOTE_OK);
	CHECK_EQ(mote__blob_write_zeroes(&writer, 64 * (uint64_t)MIB, &f.err), MOTE_OK);
	CHECK_ERROR(mote__blob_write_zeroes(&writer, UINT64_MAX, &f.err), MOTE_ETOOBIG, "2^63");
	CHECK_EQ(mote__blob_commit(&writer, &blob, &is_new, &f.err), MOTE_OK);
	CHECK_EQ(stat(files_blob_path(&blob), &status), 0);
	CHECK_EQ(status.st_size, 64 * (long)MIB);
	CHECK(status.st_blocks * 512 < MIB);
	struct seen seen = {0};
	int fd = -1;
	CHECK_EQ(mote__blob_open(&f.store, &blob, "x", false, &fd, &f.err), MOTE_OK);
	int64_t data = mote__sys_next_data(fd, 0);
	CHECK_EQ(mote__blob_stream(fd, &blob, "x", data == -ENXIO ? see : NULL, &seen, &f.err),
		 MOTE_OK);
	CHECK_EQ(seen.zeroes, data == -ENXIO ? 64 * (uint64_t)MIB : 0);
	mote__sys_close(fd);
	files_end();
}

TEST(store_blob__a_sink_may_end_the_stream)
{
	files_make();
	uint8_t *bytes = calloc(2, MIB);
	struct mote__blob blob;
	bool is_new = false;
	memset(bytes, 1, 2 * MIB);
	CHECK_EQ(mote__blob_put(&f.store, bytes, 2 * MIB, &blob, &is_new, &f.err), MOTE_OK);
	struct seen seen = {.bytes = bytes, .ends_at = 2};
	int fd = -1;
	CHECK_EQ(mote__blob_open(&f.store, &blob, "x", false, &fd, &f.err), MOTE_OK);
	CHECK_EQ(mote__blob_stream(fd, &blob, "x", see, &seen, &f.err), MOTE_ECANCELED);
	CHECK_EQ(seen.calls, 2);
	mote__sys_close(fd);
	free(bytes);
	files_end();
}

/* Somebody changes the file under the reader. */
static int grow(void *cookie, uint64_t offset, const void *data, size_t len, struct mote_error *err)
{
	(void)offset, (void)data, (void)len, (void)err;
	CHECK_EQ(truncate(files_blob_path(cookie), 5), 0);
	return MOTE_OK;
}

TEST(store_blob__a_file_that_changes_its_size_is_refused)
{
	files_make();
	struct mote__blob blob = files_put("text");
	int fd = -1;
	CHECK_EQ(mote__blob_open(&f.store, &blob, "config", false, &fd, &f.err), MOTE_OK);
	CHECK_ERROR(mote__blob_stream(fd, &blob, "config", grow, &blob, &f.err), MOTE_ESTORE,
		    "config: the file changed its size");
	CHECK_EQ(truncate(files_blob_path(&blob), 3), 0);
	CHECK_ERROR(mote__blob_stream(fd, &blob, "config", NULL, NULL, &f.err), MOTE_ESTORE,
		    "config: the file changed its size");
	mote__sys_close(fd);
	files_end();
}

/* ---- damage ---------------------------------------------------------------------------------- */

TEST(store_blob__one_bit_is_enough)
{
	files_make();
	struct mote__blob blob = files_put("text of a blob");
	uint8_t *bytes = NULL;
	for (unsigned i = 0; i < 14 * 8; i++) {
		char text[] = "text of a blob";
		text[i / 8] = (char)(text[i / 8] ^ (1 << i % 8));
		tree_write(files_blob_path(&blob), text, 14);
		CHECK_ERROR(read_blob(&blob, &bytes), MOTE_ESTORE, "is damaged: its digest is");
	}
	CHECK(bytes == NULL);
	files_end();
}

TEST(store_blob__says_what_is_in_its_place)
{
	files_make();
	struct mote__blob blob = files_put("text");
	const char *path = files_blob_path(&blob);
	CHECK_EQ(truncate(path, 3), 0);
	CHECK(!mote__blob_is_there(&f.store, &blob));
	CHECK_ERROR(open_blob(&blob, false), MOTE_ESTORE, "has 3 bytes, expected 4");
	CHECK_EQ(truncate(path, 1L << 40), 0);
	CHECK_ERROR(open_blob(&blob, false), MOTE_ESTORE, "has 1099511627776 bytes, expected 4");
	CHECK_EQ(unlink(path), 0);
	CHECK_ERROR(open_blob(&blob, false), MOTE_ESTORE, "memory layer 2: blob sha256:");
	CHECK_ERROR(open_blob(&blob, false), MOTE_ESTORE, "is missing");
	CHECK_EQ(symlink("/dev/null", path), 0);
	CHECK_ERROR(open_blob(&blob, false), MOTE_ESTORE, "is a symbolic link");
	CHECK_ERROR(mote__blob_find(&f.store, &blob, &f.err), MOTE_ESTORE, "no regular file");
	CHECK(!mote__blob_is_there(&f.store, &blob));
	CHECK_EQ(unlink(path), 0);
	CHECK_EQ(mkfifo(path, 0666), 0);
	CHECK_ERROR(open_blob(&blob, false), MOTE_ESTORE, "is no regular file");
	CHECK_EQ(unlink(path), 0);
	CHECK_EQ(mkdir(path, 0755), 0);
	CHECK_ERROR(open_blob(&blob, false), MOTE_ESTORE, "is no regular file");
	if (geteuid() == 0 && mknod(files_blob_path(&blob), S_IFCHR | 0666, 0x103) == 0)
		CHECK_ERROR(open_blob(&blob, false), MOTE_ESTORE, "is no regular file");
	files_end();
}

TEST(store_blob__a_writer_mends_what_is_in_its_place)
{
	files_make();
	struct mote__blob blob = files_put("text");
	CHECK_EQ(truncate(files_blob_path(&blob), 3), 0);
	blob = files_put("text");
	CHECK_EQ(open_blob(&blob, false), MOTE_OK);
	CHECK_EQ(unlink(files_blob_path(&blob)), 0);
	CHECK_EQ(symlink("/dev/null", files_blob_path(&blob)), 0);
	blob = files_put("text");
	CHECK_EQ(open_blob(&blob, false), MOTE_OK);
	CHECK_EQ(unlink(files_blob_path(&blob)), 0);
	CHECK_EQ(mkdir(files_blob_path(&blob), 0755), 0);
	bool is_new = false;
	CHECK_ERROR(mote__blob_put(&f.store, "text", 4, &blob, &is_new, &f.err), MOTE_ESTORE,
		    "a directory is in its place");
	CHECK_EQ(tree_count(f.directory, ".mote-"), 0);
	files_end();
}

TEST(store_blob__trust_wants_owner_and_mode)
{
	files_make();
	struct mote__blob blob = files_put("text");
	const char *path = files_blob_path(&blob);
	CHECK_EQ(open_blob(&blob, true), MOTE_OK);
	CHECK_EQ(chmod(path, 0664), 0);
	CHECK_ERROR(open_blob(&blob, true), MOTE_ESTORE, "may be written by others (mode 0664)");
	CHECK_EQ(open_blob(&blob, false), MOTE_OK);
	CHECK_EQ(chmod(path, 0644), 0);
	CHECK_EQ(open_blob(&blob, true), MOTE_OK);
	if (geteuid() == 0) {
		CHECK_EQ(chown(path, 4711, 0), 0);
		CHECK_ERROR(open_blob(&blob, true), MOTE_ESTORE, "belongs to user 4711");
	}
	files_end();
}

TEST(store_blob__reading_has_a_limit)
{
	files_make();
	struct mote__blob blob = files_put("text");
	uint8_t *bytes = NULL;
	CHECK_ERROR(mote__blob_read(&f.store, &blob, "config", 3, &bytes, &f.err), MOTE_ETOOBIG,
		    "config has 4 bytes, at most 3");
	blob.bytes = UINT64_MAX;
	CHECK_ERROR(mote__blob_read(&f.store, &blob, "config", UINT64_MAX, &bytes, &f.err),
		    MOTE_ETOOBIG, "config has");
	files_end();
}

/* Writing beyond the limit of the process is an error, not the end of the process. */
TEST(store_blob__the_size_limit_of_the_process_is_an_error)
{
	files_make();
	struct rlimit old, limit;
	CHECK_EQ(getrlimit(RLIMIT_FSIZE, &old), 0);
	limit = old;
	limit.rlim_cur = 100;
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
	struct mote__blob blob;
	struct mote__blob_writer writer;
	bool is_new = false;
	char text[101] = "";
	int put = mote__blob_put(&f.store, text, sizeof text, &blob, &is_new, &f.err);
	int begun = mote__blob_begin(&f.store, &writer, NULL);
	int written = mote__blob_write_zeroes(&writer, 101, NULL);
	int committed = mote__blob_commit(&writer, &blob, &is_new, NULL);
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &old), 0);
	CHECK_ERROR(put, MOTE_ESYSTEM, "File too large");
	CHECK(begun == MOTE_OK && written == MOTE_OK && committed == MOTE_ESYSTEM);
	CHECK_EQ(tree_count(f.directory, ".mote-"), 0);
	files_end();
}

TEST(store_blob__an_aborted_writer_leaves_nothing)
{
	files_make();
	struct mote__blob_writer writer;
	CHECK_EQ(mote__blob_begin(&f.store, &writer, &f.err), MOTE_OK);
	CHECK_EQ(mote__blob_write(&writer, "text", 4, &f.err), MOTE_OK);
	CHECK_EQ(tree_count(f.directory, ".mote-"), 1);
	mote__blob_abort(&writer);
	mote__blob_abort(&writer);
	CHECK_EQ(tree_count(f.directory, ".mote-"), 0);
	files_end();
}

/* ---- many writers ---------------------------------------------------------------------------- */

#define THREADS 4u

/* The same blobs from all threads through one store. */
static void *write_blobs(void *failed)
{
	for (unsigned i = 0; i < 32; i++) {
		char text[64];
		struct mote__blob blob;
		bool is_new = false;
		int len = snprintf(text, sizeof text, "blob number %u", i);
		if (mote__blob_put(&f.store, text, (size_t)len, &blob, &is_new, NULL) < 0)
			*(int *)failed = 1;
	}
	return NULL;
}

TEST(store_blob__threads_write_to_one_store)
{
	pthread_t threads[THREADS];
	int failed[THREADS] = {0};
	files_make();
	for (unsigned i = 0; i < THREADS; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, write_blobs, &failed[i]), 0);
	for (unsigned i = 0; i < THREADS; i++) {
		CHECK_EQ(pthread_join(threads[i], NULL), 0);
		CHECK_EQ(failed[i], 0);
	}
	char path[TREE_PATH_BYTES];
	tree_join(path, f.directory, "blobs/sha256");
	CHECK_EQ(tree_count(path, ""), 32);
	CHECK_EQ(tree_count(f.directory, ".mote-"), 0);
	files_end();
}
