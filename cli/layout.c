/* SPDX-License-Identifier: MIT */
/* Image layouts for skopeo to work in. See layout.h. */
#include "layout.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RANDOM_BYTES = 6, MAX_OPEN = 16 };

static const char layout_text[] = "{\"imageLayoutVersion\":\"1.0.0\"}";
static const char empty_index[] = "{\"schemaVersion\":2,\"mediaType\":"
				  "\"application/vnd.oci.image.index.v1+json\",\"manifests\":[]}";

char *mote__path_join(const char *directory, const char *name)
{
	char *path = NULL;
	return asprintf(&path, "%s/%s", directory, name) < 0 ? NULL : path;
}

int mote__path_fail(struct mote_error *err, const char *path)
{
	int number = errno, code = number == ENOMEM ? MOTE_ENOMEM : MOTE_ESYSTEM;
	*err = (struct mote_error){
		.code = code, .category = MOTE_CATEGORY_HOST, .system_errno = number};
	(void)snprintf(err->message, sizeof err->message, "%.400s: %s", path, strerror(number));
	return code;
}

/** Write a whole new file and have it on the disk. */
static int write_new(const char *path, const char *text, size_t len, struct mote_error *err)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0)
		return mote__path_fail(err, path);
	ssize_t written = write(fd, text, len);
	bool is_whole = written == (ssize_t)len && fsync(fd) == 0;
	int number = written >= 0 && written != (ssize_t)len ? ENOSPC : errno;
	is_whole = close(fd) == 0 && is_whole;
	if (is_whole)
		return MOTE_OK;
	(void)unlink(path);
	errno = number;
	return mote__path_fail(err, path);
}

static int write_in(const char *directory, const char *name, const char *text, size_t len,
		    struct mote_error *err)
{
	char *path = mote__path_join(directory, name);
	int rc = path ? write_new(path, text, len, err) : mote__path_fail(err, name);
	free(path);
	return rc;
}

/** ".mote-" and random digits. */
static char *rest_name(const char *parent)
{
	uint8_t random[RANDOM_BYTES];
	char name[2 * RANDOM_BYTES + 8] = ".mote-";
	if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
		return NULL;
	for (size_t i = 0; i < RANDOM_BYTES; i++)
		(void)snprintf(name + 6 + 2 * i, 3, "%02x", random[i]);
	return mote__path_join(parent, name);
}

int mote__image_layout_make(const char *parent, const char *digest, uint64_t manifest_bytes,
			    char **path, struct mote_error *err)
{
	char index[512];
	(void)snprintf(index, sizeof index, "%s", empty_index);
	if (digest)
		(void)snprintf(
			index, sizeof index,
			"{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":"
			"\"application/"
			"vnd.oci.image.manifest.v1+json\",\"digest\":\"%.71s\",\"size\":%llu}]}",
			digest, (unsigned long long)manifest_bytes);
	char *made = rest_name(parent);
	if (!made || mkdir(made, 0700) != 0) {
		int rc = mote__path_fail(err, parent);
		free(made);
		return rc;
	}
	int rc = write_in(made, "oci-layout", layout_text, sizeof layout_text - 1, err);
	if (rc == MOTE_OK)
		rc = write_in(made, "index.json", index, strlen(index), err);
	if (rc == MOTE_OK)
		*path = made;
	else
		mote__image_layout_remove(made);
	return rc;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *place)
{
	(void)status;
	(void)type;
	(void)place;
	(void)remove(path);
	return 0;
}

void mote__image_layout_remove(char *path)
{
	if (path)
		(void)nftw(path, remove_one, MAX_OPEN, FTW_DEPTH | FTW_PHYS);
	free(path);
}

uint64_t mote__image_layout_unfinished(const char *path)
{
	DIR *directory = opendir(path);
	const struct dirent *entry;
	uint64_t bytes = 0;
	if (!directory)
		return 0;
	while ((entry = readdir(directory)) != NULL) {
		struct stat status;
		if (strncmp(entry->d_name, "oci-put-blob", 12) == 0 &&
		    fstatat(dirfd(directory), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
		    S_ISREG(status.st_mode))
			bytes += (uint64_t)status.st_size;
	}
	(void)closedir(directory);
	return bytes;
}
