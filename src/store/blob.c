/* SPDX-License-Identifier: MIT */
/*
 * Blobs: files below blobs/sha256 that are named by their digest. One is written under a temporary
 * name and gets its own when all of it is on the disk; it is read once, and what was hashed is what
 * the reader gets.
 */
#include "store/store.h"

#include "base/error.h"
#include "base/sys.h"
#include "base/sys_file.h"
#include "store/file.h"

#include <errno.h>
#include <string.h>

#define STREAM_BYTES 0x40000u /* read or hashed at once */

static const uint8_t zeroes[0x4000];

/* The name of a blob's file: the digits of its digest. */
struct file_name {
	char text[MOTE_REFERENCE_BYTES];
};

static const char *name_of(const uint8_t digest[MOTE_DIGEST_BYTES], struct file_name *name)
{
	mote__reference_print(digest, name->text);
	return strchr(name->text, ':') + 1;
}

bool mote__blob_is_there(const struct mote__store *store, const struct mote__blob *blob)
{
	struct file_name name;
	struct mote__file_facts facts;
	return store->sha256 >= 0 &&
	       mote__file_facts_at(store->sha256, name_of(blob->digest, &name), &facts) == 0 &&
	       facts.kind == MOTE__FILE_REGULAR && facts.bytes == blob->bytes;
}

int mote__blob_find(const struct mote__store *store, struct mote__blob *blob,
		    struct mote_error *err)
{
	struct file_name name;
	struct mote__file_facts facts;
	const char *text = name_of(blob->digest, &name);
	int rc = store->sha256 < 0 ? -ENOENT : mote__file_facts_at(store->sha256, text, &facts);
	if (rc == -ENOENT)
		return mote__fail(err, MOTE_ENOTFOUND, "%s: there is no %s", store->directory,
				  name.text);
	if (rc < 0)
		return mote__store_fail(err, rc, "looking for blob %s", name.text);
	if (facts.kind != MOTE__FILE_REGULAR)
		return mote__fail(err, MOTE_ESTORE, "blob %s is no regular file", name.text);
	blob->bytes = facts.bytes;
	return MOTE_OK;
}

static void digest_zeroes(struct mote__digest *digest, uint64_t len)
{
	for (uint64_t n; len; len -= n) {
		n = len < sizeof zeroes ? len : sizeof zeroes;
		mote__digest_update(digest, zeroes, (size_t)n);
	}
}

/* ---- writing --------------------------------------------------------------------------------- */

int mote__blob_begin(const struct mote__store *store, struct mote__blob_writer *writer,
		     struct mote_error *err)
{
	*writer = (struct mote__blob_writer){.store = store, .fd = -1};
	mote__digest_init(&writer->digest);
	int fd = mote__rest_create(store->root, writer->name);
	if (fd < 0)
		return mote__store_fail(err, fd, "making a file in %s", store->directory);
	writer->fd = fd;
	return MOTE_OK;
}

int mote__blob_write(struct mote__blob_writer *writer, const void *data, size_t len,
		     struct mote_error *err)
{
	/* The digest first: it leaves the bytes in the processor's cache for the copy. */
	mote__digest_update(&writer->digest, data, len);
	int rc = mote__file_write(writer->fd, writer->bytes, data, len);
	if (rc < 0)
		return mote__store_fail(err, rc, "writing a blob to %s", writer->store->directory);
	writer->bytes += len;
	return MOTE_OK;
}

int mote__blob_write_zeroes(struct mote__blob_writer *writer, uint64_t len, struct mote_error *err)
{
	if (len > INT64_MAX - writer->bytes)
		return mote__fail(err, MOTE_ETOOBIG, "a blob of more than 2^63 bytes");
	digest_zeroes(&writer->digest, len);
	writer->bytes += len;
	return MOTE_OK;
}

/* Put the whole file in place of what has its name. */
static int put_in_place(struct mote__blob_writer *writer, const struct mote__blob *blob,
			struct mote_error *err)
{
	const struct mote__store *store = writer->store;
	struct file_name name;
	const char *text = name_of(blob->digest, &name);
	/* Zeroes at the end are not written, nor is a file of nothing but them. */
	int rc = mote__file_resize(writer->fd, writer->bytes);
	if (rc == 0)
		rc = mote__file_protect(writer->fd);
	if (rc == 0)
		rc = mote__file_sync(writer->fd);
	if (rc == 0)
		rc = mote__file_rename(store->root, writer->name, store->sha256, text);
	if (rc == -EISDIR)
		return mote__fail(err, MOTE_ESTORE, "blob %s: a directory is in its place",
				  name.text);
	return rc < 0 ? mote__store_fail(err, rc, "writing a blob to %s", store->directory)
		      : MOTE_OK;
}

int mote__blob_commit(struct mote__blob_writer *writer, struct mote__blob *blob, bool *is_new,
		      struct mote_error *err)
{
	struct mote__blob made = {.bytes = writer->bytes};
	mote__digest_final(&writer->digest, made.digest);
	bool has = mote__blob_is_there(writer->store, &made);
	int rc = has ? MOTE_OK : put_in_place(writer, &made, err);
	if (!has && rc == MOTE_OK) {
		mote__sys_close(writer->fd);
		writer->fd = -1;
	}
	mote__blob_abort(writer);
	if (rc < 0)
		return rc;
	*blob = made;
	*is_new = !has;
	return MOTE_OK;
}

void mote__blob_abort(struct mote__blob_writer *writer)
{
	if (writer->fd < 0)
		return;
	(void)mote__file_remove(writer->store->root, writer->name);
	mote__sys_close(writer->fd);
	writer->fd = -1;
}

int mote__blob_put(const struct mote__store *store, const void *data, size_t len,
		   struct mote__blob *blob, bool *is_new, struct mote_error *err)
{
	struct mote__blob_writer writer;
	int rc = mote__blob_begin(store, &writer, err);
	if (rc < 0)
		return rc;
	rc = mote__blob_write(&writer, data, len, err);
	if (rc < 0) {
		mote__blob_abort(&writer);
		return rc;
	}
	return mote__blob_commit(&writer, blob, is_new, err);
}

/* ---- reading --------------------------------------------------------------------------------- */

static int check_file(int fd, const struct mote__blob *blob, const char *what, bool needs_trust,
		      struct mote_error *err)
{
	struct mote__file_facts facts;
	int rc = mote__file_facts(fd, &facts);
	if (rc < 0)
		return mote__store_fail(err, rc, "%s", what);
	struct file_name name;
	(void)name_of(blob->digest, &name);
	if (facts.kind != MOTE__FILE_REGULAR)
		return mote__fail(err, MOTE_ESTORE, "%s: blob %s is no regular file", what,
				  name.text);
	if (facts.bytes != blob->bytes)
		return mote__fail(err, MOTE_ESTORE, "%s: blob %s has %llu bytes, expected %llu",
				  what, name.text, (unsigned long long)facts.bytes,
				  (unsigned long long)blob->bytes);
	if (needs_trust && facts.uid != 0 && facts.uid != mote__file_user())
		return mote__fail(err, MOTE_ESTORE,
				  "not to be trusted: %s: blob %s belongs to user %u, not to user "
				  "%u or root",
				  what, name.text, facts.uid, mote__file_user());
	if (needs_trust && (facts.mode & 022u))
		return mote__fail(err, MOTE_ESTORE,
				  "not to be trusted: %s: blob %s may be written by others (mode "
				  "%04o)",
				  what, name.text, facts.mode);
	return MOTE_OK;
}

int mote__blob_open(const struct mote__store *store, const struct mote__blob *blob,
		    const char *what, bool needs_trust, int *fd, struct mote_error *err)
{
	struct file_name name;
	const char *text = name_of(blob->digest, &name);
	int opened = store->sha256 < 0 ? -ENOENT : mote__file_open(store->sha256, text);
	if (opened == -ENOENT)
		return mote__fail(err, MOTE_ESTORE, "%s: blob %s is missing", what, name.text);
	if (opened == -ELOOP)
		return mote__fail(err, MOTE_ESTORE, "%s: blob %s is a symbolic link", what,
				  name.text);
	if (opened == -ENXIO) /* a socket, or a device that is not there */
		return mote__fail(err, MOTE_ESTORE, "%s: blob %s is no regular file", what,
				  name.text);
	if (opened < 0)
		return mote__store_fail(err, opened, "%s: opening blob %s", what, name.text);
	int rc = check_file(opened, blob, what, needs_trust, err);
	if (rc < 0) {
		mote__sys_close(opened);
		return rc;
	}
	*fd = opened;
	return MOTE_OK;
}

int mote__blob_sync(const struct mote__store *store, const struct mote__blob *blob,
		    const char *what, struct mote_error *err)
{
	int fd = -1;
	int rc = mote__blob_open(store, blob, what, false, &fd, err);
	if (rc < 0)
		return rc;
	rc = mote__file_sync(fd);
	mote__sys_close(fd);
	return rc < 0 ? mote__store_fail(err, rc, "%s: syncing a blob", what) : MOTE_OK;
}

/* A blob on its way through a buffer. */
struct stream {
	int fd;
	const struct mote__blob *blob;
	const char *what;
	mote__blob_sink sink;
	void *cookie;
	uint8_t *buffer;
	uint64_t at, data; /* bytes done; where data begins at or behind it */
	struct mote__digest digest;
};

static int fail_size(const struct stream *s, struct mote_error *err)
{
	return mote__fail(err, MOTE_ESTORE, "%s: the file changed its size while it was read",
			  s->what);
}

/* Find where data begins; a file system that cannot say has data everywhere. */
static void find_data(struct stream *s)
{
	int64_t at = mote__sys_next_data(s->fd, s->at);
	s->data = at == -ENXIO ? s->blob->bytes : at < 0 ? s->at : (uint64_t)at;
	if (s->data > s->blob->bytes)
		s->data = s->blob->bytes;
}

/* The next piece: a part of a hole or of data. */
static int stream_piece(struct stream *s, struct mote_error *err)
{
	uint64_t left = s->blob->bytes - s->at;
	size_t len = left < STREAM_BYTES ? (size_t)left : STREAM_BYTES, got = 0;
	const uint8_t *piece = NULL;
	find_data(s);
	if (s->data > s->at) {
		if (s->data - s->at < len)
			len = (size_t)(s->data - s->at);
		digest_zeroes(&s->digest, len);
	} else {
		int rc = mote__file_read(s->fd, s->at, s->buffer, len, &got);
		if (rc < 0)
			return mote__store_fail(err, rc, "%s: reading a blob", s->what);
		if (got < len)
			return fail_size(s, err);
		mote__digest_update(&s->digest, s->buffer, len);
		piece = s->buffer;
	}
	int rc = s->sink ? s->sink(s->cookie, s->at, piece, len, err) : MOTE_OK;
	s->at += len;
	return rc;
}

static int stream_end(struct stream *s, struct mote_error *err)
{
	struct mote__file_facts facts;
	int rc = mote__file_facts(s->fd, &facts);
	if (rc < 0)
		return mote__store_fail(err, rc, "%s", s->what);
	if (facts.bytes != s->blob->bytes)
		return fail_size(s, err);
	uint8_t digest[MOTE_DIGEST_BYTES];
	mote__digest_final(&s->digest, digest);
	if (memcmp(digest, s->blob->digest, sizeof digest) == 0)
		return MOTE_OK;
	char wanted[MOTE_REFERENCE_BYTES], found[MOTE_REFERENCE_BYTES];
	mote__reference_print(s->blob->digest, wanted);
	mote__reference_print(digest, found);
	return mote__fail(err, MOTE_ESTORE, "%s: blob %s is damaged: its digest is %s", s->what,
			  wanted, found);
}

int mote__blob_stream(int fd, const struct mote__blob *blob, const char *what, mote__blob_sink sink,
		      void *cookie, struct mote_error *err)
{
	struct stream s = {.fd = fd, .blob = blob, .what = what, .sink = sink, .cookie = cookie};
	mote__digest_init(&s.digest);
	/* Small blobs get what they need; one byte more, as there may be none. */
	s.buffer =
		mote__alloc(blob->bytes < STREAM_BYTES ? (size_t)blob->bytes + 1 : STREAM_BYTES, 1);
	if (!s.buffer)
		return mote__fail(err, MOTE_ENOMEM, "no memory to read a blob");
	int rc = MOTE_OK;
	while (rc == MOTE_OK && s.at < blob->bytes)
		rc = stream_piece(&s, err);
	if (rc == MOTE_OK)
		rc = stream_end(&s, err);
	mote__free(s.buffer);
	return rc;
}

static int copy_piece(void *cookie, uint64_t offset, const void *data, size_t len,
		      struct mote_error *err)
{
	(void)err;
	if (data)
		memcpy((uint8_t *)cookie + offset, data, len);
	return MOTE_OK;
}

int mote__blob_read(const struct mote__store *store, const struct mote__blob *blob,
		    const char *what, uint64_t limit, uint8_t **bytes, struct mote_error *err)
{
	if (blob->bytes > limit || blob->bytes >= SIZE_MAX)
		return mote__fail(err, MOTE_ETOOBIG, "%s has %llu bytes, at most %llu are allowed",
				  what, (unsigned long long)blob->bytes, (unsigned long long)limit);
	int fd = -1;
	int rc = mote__blob_open(store, blob, what, false, &fd, err);
	if (rc < 0)
		return rc;
	uint8_t *memory = mote__alloc((size_t)blob->bytes + 1, 1);
	rc = memory ? mote__blob_stream(fd, blob, what, copy_piece, memory, err)
		    : mote__fail(err, MOTE_ENOMEM, "no memory for %s", what);
	mote__sys_close(fd);
	if (rc < 0) {
		mote__free(memory);
		return rc;
	}
	*bytes = memory;
	return MOTE_OK;
}
