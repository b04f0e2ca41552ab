/* SPDX-License-Identifier: MIT */
#include "store/file.h"

#include "base/error.h"
#include "base/sys.h"
#include "base/sys_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define REST_TRIES  8
#define REST_RANDOM ((size_t)6) /* bytes */

int mote__store_code(int rc)
{
	return rc == -ENOMEM || rc == -EMFILE || rc == -ENFILE ? MOTE_ENOMEM : MOTE_ESYSTEM;
}

/* ---- temporary files ------------------------------------------------------------------------- */

int mote__rest_create(int root, char name[MOTE__REST_NAME_BYTES])
{
	int fd = -EEXIST;
	for (int tries = 0; fd == -EEXIST && tries < REST_TRIES; tries++) {
		uint8_t random[REST_RANDOM] = {0};
		int rc = mote__sys_random(random, sizeof random);
		if (rc < 0)
			return rc;
		(void)snprintf(name, MOTE__REST_NAME_BYTES,
			       MOTE__REST_PREFIX "%02x%02x%02x%02x%02x%02x", random[0], random[1],
			       random[2], random[3], random[4], random[5]);
		fd = mote__file_create(root, name);
	}
	return fd;
}

bool mote__rest_is(const char *name)
{
	const size_t prefix = sizeof MOTE__REST_PREFIX - 1;
	return strncmp(name, MOTE__REST_PREFIX, prefix) == 0 &&
	       strlen(name) == prefix + 2 * REST_RANDOM &&
	       strspn(name + prefix, "0123456789abcdef") == 2 * REST_RANDOM;
}

/* ---- whole files ----------------------------------------------------------------------------- */

static int read_open(int fd, const char *name, uint64_t limit, char **text, size_t *len,
		     struct mote_error *err)
{
	struct mote__file_facts facts;
	int rc = mote__file_facts(fd, &facts);
	if (rc < 0)
		return mote__store_fail(err, rc, "%s", name);
	if (facts.kind != MOTE__FILE_REGULAR)
		return mote__fail(err, MOTE_ESTORE, "%s is no regular file", name);
	if (facts.bytes > limit)
		return mote__fail(err, MOTE_ESTORE, "%s has %llu bytes, at most %llu are allowed",
				  name, (unsigned long long)facts.bytes, (unsigned long long)limit);
	char *bytes = mote__alloc((size_t)facts.bytes + 1, 1);
	if (!bytes)
		return mote__fail(err, MOTE_ENOMEM, "no memory for %s", name);
	rc = mote__file_read(fd, 0, bytes, (size_t)facts.bytes, len);
	if (rc < 0) {
		mote__free(bytes);
		return mote__store_fail(err, rc, "reading %s", name);
	}
	*text = bytes;
	return MOTE_OK;
}

int mote__store_read(const struct mote__store *store, const char *name, uint64_t limit, char **text,
		     size_t *len, struct mote_error *err)
{
	int fd = mote__file_open(store->root, name);
	if (fd == -ENOENT)
		return mote__fail(err, MOTE_ENOTFOUND, "%s: there is no %s", store->directory,
				  name);
	if (fd == -ELOOP)
		return mote__fail(err, MOTE_ESTORE, "%s is a symbolic link", name);
	if (fd == -ENXIO) /* a socket */
		return mote__fail(err, MOTE_ESTORE, "%s is no regular file", name);
	if (fd < 0)
		return mote__store_fail(err, fd, "opening %s", name);
	int rc = read_open(fd, name, limit, text, len, err);
	mote__sys_close(fd);
	return rc;
}

int mote__store_replace(const struct mote__store *store, const char *name, const char *text,
			size_t len, struct mote_error *err)
{
	char rest[MOTE__REST_NAME_BYTES];
	int fd = mote__rest_create(store->root, rest);
	if (fd < 0)
		return mote__store_fail(err, fd, "making a file for %s", name);
	int rc = mote__file_write(fd, 0, text, len);
	if (rc == 0)
		rc = mote__file_sync(fd);
	mote__sys_close(fd);
	if (rc == 0)
		rc = mote__file_rename(store->root, rest, store->root, name);
	if (rc < 0) {
		(void)mote__file_remove(store->root, rest);
		return mote__store_fail(err, rc, "writing %s", name);
	}
	rc = mote__file_sync(store->root);
	return rc < 0 ? mote__store_fail(err, rc, "syncing %s", store->directory) : MOTE_OK;
}

/* ---- lock ------------------------------------------------------------------------------------ */

int mote__store_lock(const struct mote__store *store, struct mote_error *err)
{
	int fd = mote__file_open_directory(store->root, ".");
	if (fd < 0)
		return mote__store_fail(err, fd, "opening %s", store->directory);
	int rc = mote__file_lock(fd, true, true);
	if (rc == 0)
		return fd;
	mote__sys_close(fd);
	return mote__store_fail(err, rc, "locking %s", store->directory);
}

void mote__store_unlock(int lock)
{
	mote__file_unlock(lock);
	mote__sys_close(lock);
}
