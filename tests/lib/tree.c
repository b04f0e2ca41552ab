/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "check.h"

void tree_join(char path[TREE_PATH_BYTES], const char *directory, const char *name)
{
	int len = snprintf(path, TREE_PATH_BYTES, "%s/%s", directory, name);
	CHECK(len > 0 && (size_t)len < TREE_PATH_BYTES);
}

void tree_make(char path[TREE_PATH_BYTES])
{
	const char *where = getenv("TMPDIR");
	if (!where || !*where)
		where = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
	tree_join(path, where, "mote-test-XXXXXX");
	CHECK(mkdtemp(path) != NULL);
}

bool tree_has(const char *path)
{
	struct stat stat = {0};
	return lstat(path, &stat) == 0;
}

/* ---- walking --------------------------------------------------------------------------------- */

typedef void (*visitor)(void *cookie, const char *path, const struct stat *stat);

/* Everything below path, in the order of names; a directory before what is in it, or behind. */
static void walk(const char *path, bool is_behind, visitor visit, void *cookie)
{
	struct dirent **names = NULL;
	int count = scandir(path, &names, NULL, alphasort);
	CHECK(count >= 0);
	for (int i = 0; i < count; i++) {
		char at[TREE_PATH_BYTES];
		struct stat stat = {0};
		const char *name = names[i]->d_name;
		bool is_own = strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
		if (!is_own)
			tree_join(at, path, name);
		free(names[i]);
		if (is_own)
			continue;
		CHECK(lstat(at, &stat) == 0);
		if (!is_behind)
			visit(cookie, at, &stat);
		if (S_ISDIR(stat.st_mode))
			walk(at, is_behind, visit, cookie);
		if (is_behind)
			visit(cookie, at, &stat);
	}
	free(names);
}

static void remove_one(void *cookie, const char *path, const struct stat *stat)
{
	(void)cookie;
	CHECK((S_ISDIR(stat->st_mode) ? rmdir(path) : unlink(path)) == 0);
}

void tree_remove(const char *path)
{
	struct stat stat = {0};
	if (lstat(path, &stat) != 0)
		return;
	if (S_ISDIR(stat.st_mode))
		walk(path, true, remove_one, NULL);
	remove_one(NULL, path, &stat);
}

static void digest_one(void *cookie, const char *path, const struct stat *stat)
{
	struct mote__digest *digest = cookie;
	mote__digest_update(digest, path, strlen(path) + 1);
	mote__digest_update(digest, &stat->st_mode, sizeof stat->st_mode);
	if (S_ISREG(stat->st_mode)) {
		size_t len;
		char *bytes = tree_read(path, &len);
		mote__digest_update(digest, &len, sizeof len);
		mote__digest_update(digest, bytes, len);
		free(bytes);
	} else if (S_ISLNK(stat->st_mode)) {
		char target[TREE_PATH_BYTES];
		ssize_t len = readlink(path, target, sizeof target);
		CHECK(len >= 0);
		mote__digest_update(digest, target, (size_t)len);
	}
}

void tree_digest(const char *path, uint8_t result[TREE_DIGEST_BYTES])
{
	struct mote__digest digest;
	mote__digest_init(&digest);
	walk(path, false, digest_one, &digest);
	mote__digest_final(&digest, result);
}

struct count {
	const char *prefix;
	unsigned count;
	uint64_t bytes;
};

static void count_one(void *cookie, const char *path, const struct stat *stat)
{
	struct count *count = cookie;
	const char *name = strrchr(path, '/') + 1;
	if (strncmp(name, count->prefix, strlen(count->prefix)) == 0)
		count->count++;
	if (S_ISREG(stat->st_mode))
		count->bytes += (uint64_t)stat->st_size;
}

unsigned tree_count(const char *path, const char *prefix)
{
	struct count count = {prefix, 0, 0};
	walk(path, false, count_one, &count);
	return count.count;
}

uint64_t tree_bytes(const char *path)
{
	struct count count = {"", 0, 0};
	walk(path, false, count_one, &count);
	return count.bytes;
}

struct copy {
	const char *from, *to;
};

static void copy_one(void *cookie, const char *path, const struct stat *stat)
{
	const struct copy *copy = cookie;
	char to[TREE_PATH_BYTES];
	tree_join(to, copy->to, path + strlen(copy->from) + 1);
	if (S_ISDIR(stat->st_mode)) {
		CHECK(mkdir(to, stat->st_mode & 0777) == 0);
		return;
	}
	CHECK(S_ISREG(stat->st_mode));
	size_t len;
	char *bytes = tree_read(path, &len);
	tree_write(to, bytes, len);
	CHECK(chmod(to, stat->st_mode & 0777) == 0);
	free(bytes);
}

void tree_copy(const char *from, const char *to)
{
	struct copy copy = {from, to};
	if (!tree_has(to))
		CHECK(mkdir(to, 0755) == 0);
	walk(from, false, copy_one, &copy);
}

/* ---- files ----------------------------------------------------------------------------------- */

char *tree_read(const char *path, size_t *len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat stat = {0};
	if (fd < 0)
		check_failed(__FILE__, __LINE__, "%s cannot be opened", path);
	CHECK(fstat(fd, &stat) == 0 && S_ISREG(stat.st_mode));
	char *bytes = malloc((size_t)stat.st_size + 1);
	CHECK(bytes != NULL);
	for (*len = 0; *len < (size_t)stat.st_size;) {
		ssize_t got = read(fd, bytes + *len, (size_t)stat.st_size - *len);
		CHECK(got > 0);
		*len += (size_t)got;
	}
	bytes[*len] = 0;
	(void)close(fd);
	return bytes;
}

void tree_write(const char *path, const void *bytes, size_t len)
{
	(void)unlink(path);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		check_failed(__FILE__, __LINE__, "%s cannot be made", path);
	for (size_t done = 0; done < len;) {
		ssize_t put = write(fd, (const char *)bytes + done, len - done);
		CHECK(put > 0);
		done += (size_t)put;
	}
	CHECK(close(fd) == 0);
}
