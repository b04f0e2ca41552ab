/* SPDX-License-Identifier: MIT */
/*
 * A store: a directory that is an OCI image layout (docs/snapshot-format.md, "Store"). Blobs by
 * their digest, manifests that name them, an index that names manifests. Knows nothing of what is
 * in a snapshot. Everything read is hostile: sizes are capped before memory is allocated, symbolic
 * links and special files are refused, and the bytes that were hashed are the bytes that are used.
 *
 * Locks (flock(2), advisory): who adds or reads blobs holds a shared one on the directory blobs,
 * who removes some an exclusive one; who changes index.json holds an exclusive one on the directory
 * itself, for that moment, and takes it after the other.
 */
#ifndef MOTE_STORE_STORE_H
#define MOTE_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mote.h>

#include "base/digest.h"

#define MOTE__INDEX_BYTES_MAX    0x1000000u /* index.json */
#define MOTE__MANIFEST_BYTES_MAX 0x100000u
#define MOTE__ENTRIES_MAX        16384u /* of index.json */

#define MOTE__MEDIA_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define MOTE__MEDIA_ARTIFACT "application/vnd.mote.snapshot.v1"
#define MOTE__MEDIA_CONFIG   "application/vnd.mote.snapshot.config.v1+json"
#define MOTE__MEDIA_MEMORY   "application/vnd.mote.snapshot.memory.v1"
#define MOTE__MEDIA_MAPPINGS "application/vnd.mote.snapshot.mappings.v1"
#define MOTE__MEDIA_SYMBOLS  "application/vnd.mote.snapshot.symbols.v1"

/** A blob: what a descriptor says of it. */
struct mote__blob {
	uint8_t digest[MOTE_DIGEST_BYTES];
	uint64_t bytes;
};

/** "sha256:" and the digest in hexadecimal digits. */
void mote__reference_print(const uint8_t digest[MOTE_DIGEST_BYTES],
			   char text[MOTE_REFERENCE_BYTES]);
/** The digest that text is; false: it is none. Upper case is none, as OCI has it. */
bool mote__reference_parse(const char *text, uint8_t digest[MOTE_DIGEST_BYTES]);
/** MOTE_EINVAL unless text is a tag. */
int mote__tag_check(const char *text, struct mote_error *err);

/* ---- directory.c ----------------------------------------------------------------------------- */

enum mote__store_mode {
	MOTE__STORE_READ,    /* locks if it can without waiting */
	MOTE__STORE_WRITE,   /* waits for its lock */
	MOTE__STORE_CREATE,  /* the same; makes the directory, or a store of an empty one */
	MOTE__STORE_COLLECT, /* waits for the exclusive lock */
};

struct mote__store {
	const char *directory;   /* the caller's; for messages */
	int root, blobs, sha256; /* directories; -1: not open */
};

#define MOTE__STORE_CLOSED                            \
	{                                             \
		.root = -1, .blobs = -1, .sha256 = -1 \
	}

/** Open a store; to be closed on success. MOTE_ENOTFOUND: nothing is there. MOTE_ESTORE: it is no
 * store (no or another oci-layout, blobs that is no directory, symbolic links). MOTE_ESYSTEM. */
int mote__store_open(const char *directory, enum mote__store_mode mode, struct mote__store *store,
		     struct mote_error *err);
void mote__store_close(struct mote__store *store);
/** MOTE_ESTORE unless the three directories belong to this user or root and are writable by nobody
 * else. */
int mote__store_check_trust(const struct mote__store *store, struct mote_error *err);
/** What was committed is on the disk: fsync of the blobs' directory. */
int mote__store_sync(const struct mote__store *store, struct mote_error *err);

/* ---- blob.c ---------------------------------------------------------------------------------- */

/** Whether blob is there as a regular file of its size. */
bool mote__blob_is_there(const struct mote__store *store, const struct mote__blob *blob);

/** Find a blob by its digest alone: fills in its size. MOTE_ENOTFOUND; MOTE_ESTORE: what is there
 * is no regular file. */
int mote__blob_find(const struct mote__store *store, struct mote__blob *blob,
		    struct mote_error *err);

/** The bytes of a blob that another program wrote are on the disk. */
int mote__blob_sync(const struct mote__store *store, const struct mote__blob *blob,
		    const char *what, struct mote_error *err);

/** A blob that is being written. */
struct mote__blob_writer {
	const struct mote__store *store;
	int fd; /* -1: not begun */
	char name[32];
	uint64_t bytes;
	struct mote__digest digest;
};

int mote__blob_begin(const struct mote__store *store, struct mote__blob_writer *writer,
		     struct mote_error *err);
int mote__blob_write(struct mote__blob_writer *writer, const void *data, size_t len,
		     struct mote_error *err);
/** len zero bytes, as a hole of the file. */
int mote__blob_write_zeroes(struct mote__blob_writer *writer, uint64_t len, struct mote_error *err);
/** Put it in place, synced, unless the store has it: *is_new. Ends the writer, also on failure. */
int mote__blob_commit(struct mote__blob_writer *writer, struct mote__blob *blob, bool *is_new,
		      struct mote_error *err);
/** Leave nothing. Does nothing after a commit. */
void mote__blob_abort(struct mote__blob_writer *writer);
/** All of it in one go. */
int mote__blob_put(const struct mote__store *store, const void *data, size_t len,
		   struct mote__blob *blob, bool *is_new, struct mote_error *err);

/** Open a blob for reading. what: names it in messages ("memory layer 2"). needs_trust: it must
 * belong to this user or root and be writable by nobody else. MOTE_ESTORE: missing, no regular
 * file, a symbolic link, of another size (both numbers). */
int mote__blob_open(const struct mote__store *store, const struct mote__blob *blob,
		    const char *what, bool needs_trust, int *fd, struct mote_error *err);
/** Gets the bytes of a blob in order; they are not verified before the whole was read. Returns
 * MOTE_OK or an error to end with. */
typedef int (*mote__blob_sink)(void *cookie, uint64_t offset, const void *data, size_t len,
			       struct mote_error *err);
/** Read fd once, from its beginning, and hash what the sink (NULL: none) gets. Runs that the file
 * says are holes are handed on as data NULL. MOTE_ESTORE: another digest, or the file changed its
 * size. */
int mote__blob_stream(int fd, const struct mote__blob *blob, const char *what, mote__blob_sink sink,
		      void *cookie, struct mote_error *err);
/** Read a whole blob of at most limit bytes, verified, with a NUL behind it; free with
 * mote__free(). Aligned as malloc() does. MOTE_ETOOBIG: over limit. */
int mote__blob_read(const struct mote__store *store, const struct mote__blob *blob,
		    const char *what, uint64_t limit, uint8_t **bytes, struct mote_error *err);

/* ---- manifest.c ------------------------------------------------------------------------------ */

#define MOTE__MANIFEST_MEMORY_MAX 32u

/** What a snapshot consists of. */
struct mote__manifest {
	struct mote__blob config, mappings, symbols;
	bool has_symbols;
	uint32_t memory_count;
	struct mote__blob memory[MOTE__MANIFEST_MEMORY_MAX]; /* the oldest layer first */
};

/** The text of a manifest, the same for the same manifest; free with mote__free(). */
int mote__manifest_write(const struct mote__manifest *manifest, char **text, size_t *len,
			 struct mote_error *err);
/** what: names the text in messages. MOTE_ESTORE: the message names field and value (wrong media
 * type, a digest of another algorithm, too many layers, ...). */
int mote__manifest_read(const char *text, size_t len, const char *what,
			struct mote__manifest *manifest, struct mote_error *err);
/** Bytes and number of all blobs, the manifest's own (bytes: manifest_bytes) among them. */
void mote__manifest_sum(const struct mote__manifest *manifest, uint64_t manifest_bytes,
			uint64_t *bytes, uint32_t *blobs);

/* ---- index.c --------------------------------------------------------------------------------- */

/** Find the manifest that reference names. MOTE_ENOTFOUND, MOTE_ESTORE (the index is damaged; two
 * manifests of one tag; the manifest is of another kind). */
int mote__index_find(const struct mote__store *store, const char *reference,
		     struct mote__blob *manifest, struct mote_error *err);
/** List manifest, whose blobs are there and synced; tag (may be NULL) names it from now on, and
 * nothing else. Entries of other programs stay as they are. The old index or the new one is there
 * at any time, and the new one is on the disk at return. */
int mote__index_set(const struct mote__store *store, const struct mote__blob *manifest,
		    const char *tag, struct mote_error *err);
/** Take a tag, or a digest with all its tags, out. MOTE_ENOTFOUND. */
int mote__index_remove(const struct mote__store *store, const char *reference,
		       struct mote_error *err);
/** An entry of the index. */
struct mote__index_entry {
	struct mote__blob manifest;
	char media_type[128];
	char tag[MOTE_MAX_TAG_BYTES + 1]; /* "": none */
	bool is_snapshot; /* artifactType, or that of the manifest's config, says so; or nothing
			   * says what it is, since the manifest cannot be read */
};
/** All entries; free with mote__free(). */
int mote__index_read(const struct mote__store *store, struct mote__index_entry **entries,
		     uint32_t *count, struct mote_error *err);

/* ---- collect.c ------------------------------------------------------------------------------- */

/** See mote_store_collect(); store is open with MOTE__STORE_COLLECT. */
int mote__collect(const struct mote__store *store, struct mote_store_collected *collected,
		  struct mote_error *err);

#endif
