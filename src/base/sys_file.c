/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "base/sys_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* O_NONBLOCK: a FIFO in place of a file is refused, not waited for. */
#define READ_FLAGS (O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)

static int open_at(int directory, const char *name, int flags)
{
	int fd;
	do
		fd = openat(directory, name, flags, 0644);
	while (fd < 0 && errno == EINTR);
	return fd < 0 ? -errno : fd;
}

int mote__file_open_root(const char *path)
{
	return open_at(AT_FDCWD, path, READ_FLAGS | O_DIRECTORY);
}

int mote__file_open_directory(int directory, const char *name)
{
	return open_at(directory, name, READ_FLAGS | O_DIRECTORY | O_NOFOLLOW);
}

int mote__file_open(int directory, const char *name)
{
	return open_at(directory, name, READ_FLAGS | O_NOFOLLOW);
}

int mote__file_create(int directory, const char *name)
{
	return open_at(directory, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC);
}

int mote__file_make_root(const char *path)
{
	return mkdirat(AT_FDCWD, path, 0755) < 0 ? -errno : 0;
}

int mote__file_make_directory(int directory, const char *name)
{
	return mkdirat(directory, name, 0755) < 0 ? -errno : 0;
}

static void set_facts(const struct stat *status, struct mote__file_facts *facts)
{
	*facts = (struct mote__file_facts){
		.kind = S_ISREG(status->st_mode)   ? MOTE__FILE_REGULAR
			: S_ISDIR(status->st_mode) ? MOTE__FILE_DIRECTORY
			: S_ISLNK(status->st_mode) ? MOTE__FILE_LINK
						   : MOTE__FILE_OTHER,
		.bytes = (uint64_t)status->st_size,
		.uid = status->st_uid,
		.mode = status->st_mode & 07777u,
	};
}

int mote__file_facts(int fd, struct mote__file_facts *facts)
{
	struct stat status = {0};
	if (fstat(fd, &status) < 0)
		return -errno;
	set_facts(&status, facts);
	return 0;
}

int mote__file_facts_at(int directory, const char *name, struct mote__file_facts *facts)
{
	struct stat status = {0};
	if (fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	set_facts(&status, facts);
	return 0;
}

int mote__file_read(int fd, uint64_t offset, void *bytes, size_t len, size_t *got)
{
	*got = 0;
	while (*got < len) {
		ssize_t n = pread(fd, (uint8_t *)bytes + *got, len - *got, (off_t)(offset + *got));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		*got += (size_t)n;
	}
	return 0;
}

/* Whether a file may grow to that size; the kernel ends a process that goes beyond its limit. */
static bool may_have(uint64_t bytes)
{
	struct rlimit limit;
	return bytes <= INT64_MAX &&
	       (getrlimit(RLIMIT_FSIZE, &limit) < 0 || bytes <= limit.rlim_cur);
}

int mote__file_write(int fd, uint64_t offset, const void *bytes, size_t len)
{
	if (!may_have(offset + len))
		return -EFBIG;
	size_t done = 0;
	while (done < len) {
		ssize_t n = pwrite(fd, (const uint8_t *)bytes + done, len - done,
				   (off_t)(offset + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		done += (size_t)n;
	}
	return 0;
}

int mote__file_resize(int fd, uint64_t bytes)
{
	if (!may_have(bytes))
		return -EFBIG;
	int rc;
	do
		rc = ftruncate(fd, (off_t)bytes);
	while (rc < 0 && errno == EINTR);
	return rc < 0 ? -errno : 0;
}

int mote__file_protect(int fd)
{
	struct stat status = {0};
	if (fstat(fd, &status) < 0 || fchmod(fd, status.st_mode & 0444u) < 0)
		return -errno;
	return 0;
}

int mote__file_sync(int fd)
{
	int rc;
	do
		rc = fsync(fd);
	while (rc < 0 && errno == EINTR);
	return rc < 0 ? -errno : 0;
}

int mote__file_rename(int from, const char *name, int to, const char *new_name)
{
	return renameat(from, name, to, new_name) < 0 ? -errno : 0;
}

int mote__file_remove(int directory, const char *name)
{
	return unlinkat(directory, name, 0) < 0 ? -errno : 0;
}

int mote__file_remove_directory(int directory, const char *name)
{
	return unlinkat(directory, name, AT_REMOVEDIR) < 0 ? -errno : 0;
}

int mote__file_lock(int fd, bool is_exclusive, bool waits)
{
	int rc, operation = (is_exclusive ? LOCK_EX : LOCK_SH) | (waits ? 0 : LOCK_NB);
	do
		rc = flock(fd, operation);
	while (rc < 0 && errno == EINTR);
	return rc < 0 ? -errno : 0;
}

void mote__file_unlock(int fd)
{
	(void)flock(fd, LOCK_UN);
}

int mote__file_list(int directory, mote__file_visit visit, void *cookie)
{
	/* Opened anew: a position of its own, and closedir() closes it. */
	int fd = mote__file_open_directory(directory, ".");
	if (fd < 0)
		return fd;
	DIR *stream = fdopendir(fd);
	if (!stream) {
		int rc = -errno;
		(void)close(fd);
		return rc;
	}
	int rc = 0;
	const struct dirent *entry = NULL;
	for (errno = 0; rc == 0 && (entry = readdir(stream)); errno = 0)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			rc = visit(cookie, entry->d_name);
	if (rc == 0 && errno)
		rc = -errno;
	(void)closedir(stream);
	return rc;
}

uint32_t mote__file_user(void)
{
	return geteuid();
}
