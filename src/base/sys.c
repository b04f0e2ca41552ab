/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24 /* Linux 5.18 */
#endif

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1 */
#endif

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

#define OWN_BYTES  4096u
#define SEAL_TRIES 4

void *mote__alloc(size_t count, size_t bytes)
{
	return calloc(count, bytes);
}

void *mote__realloc(void *memory, size_t count, size_t bytes)
{
	return reallocarray(memory, count, bytes);
}

void mote__free(void *memory)
{
	free(memory);
}

int mote__sys_open(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

void mote__sys_close(int fd)
{
	if (fd >= 0)
		(void)close(fd);
}

int mote__sys_ioctl(int fd, unsigned long request, void *argument)
{
	int rc = ioctl(fd, request, argument);
	return rc < 0 ? -errno : rc;
}

/* Read up to len bytes; less only at the end of the file. */
static int read_all(int fd, uint8_t *bytes, size_t len, size_t *got)
{
	*got = 0;
	while (*got < len) {
		ssize_t n = read(fd, bytes + *got, len - *got);
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

int mote__sys_read_file(const char *path, size_t limit, uint8_t **bytes, size_t *len)
{
	/* O_NONBLOCK: a FIFO in place of a file is refused, not waited for. */
	int fd = mote__sys_open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return fd;
	struct stat status = {0};
	int rc = fstat(fd, &status) < 0 ? -errno : 0;
	if (rc == 0 && S_ISDIR(status.st_mode))
		rc = -EISDIR;
	else if (rc == 0 && !S_ISREG(status.st_mode))
		rc = -EINVAL;
	else if (rc == 0 && (uint64_t)status.st_size > limit)
		rc = -EFBIG;
	size_t size = rc == 0 ? (size_t)status.st_size : 0;
	uint8_t *memory = rc == 0 ? mote__alloc(size + 1, 1) : NULL;
	if (rc == 0 && !memory)
		rc = -ENOMEM;
	if (rc == 0)
		rc = read_all(fd, memory, size, len);
	mote__sys_close(fd);
	if (rc < 0) {
		mote__free(memory);
		return rc;
	}
	*bytes = memory;
	return 0;
}

int mote__sys_memory_object(const char *name, uint64_t bytes)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && bytes > limit.rlim_cur)
		return -EFBIG;
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)bytes) < 0) {
		int rc = -errno;
		mote__sys_close(fd);
		return rc;
	}
	return fd;
}

#define PAGES_AT_ONCE 64u

int mote__sys_write_pages(int fd, uint64_t offset, const void *const *pages, uint64_t count,
			  size_t page_bytes)
{
	struct iovec parts[PAGES_AT_ONCE];
	uint64_t done = 0, bytes = count * page_bytes; /* done: bytes, as a write may end early */
	while (done < bytes) {
		uint64_t first = done / page_bytes, inside = done % page_bytes;
		int n = 0;
		for (; n < (int)PAGES_AT_ONCE && first + (uint64_t)n < count; n++)
			parts[n] = (struct iovec){(void *)(uintptr_t)pages[first + (uint64_t)n],
						  page_bytes};
		parts[0].iov_base = (uint8_t *)parts[0].iov_base + inside;
		parts[0].iov_len -= inside;
		ssize_t got = pwritev(fd, parts, n, (off_t)(offset + done));
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : -EIO;
		done += (uint64_t)got;
	}
	return 0;
}

int mote__sys_object_id(int fd, uint64_t *id)
{
	struct stat status = {0};
	if (fstat(fd, &status) < 0)
		return -errno;
	/* Memory objects are one device; files of others must not look like them. */
	*id = (uint64_t)status.st_ino ^ (uint64_t)status.st_dev << 40;
	return 0;
}

int mote__sys_open_file(const char *path, uint64_t *bytes)
{
	/* O_NONBLOCK: a FIFO in place of a file is refused, not waited for. */
	int fd = mote__sys_open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return fd;
	struct stat status = {0};
	int rc = fstat(fd, &status) < 0 ? -errno : 0;
	if (rc == 0 && !S_ISREG(status.st_mode))
		rc = S_ISDIR(status.st_mode) ? -EISDIR : -EINVAL;
	if (rc < 0) {
		mote__sys_close(fd);
		return rc;
	}
	*bytes = (uint64_t)status.st_size;
	return fd;
}

int mote__sys_seal(int fd)
{
	const int seals = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;
	int rc = fcntl(fd, F_ADD_SEALS, seals);
	/* The kernel gives up while somebody holds a page, and its own compaction may for a moment.
	 */
	for (int tries = 1; rc < 0 && errno == EBUSY && tries < SEAL_TRIES; tries++)
		rc = fcntl(fd, F_ADD_SEALS, seals);
	return rc < 0 ? -errno : 0;
}

int mote__sys_map(enum mote__map_kind kind, int fd, uint64_t bytes, void **at)
{
	static const struct {
		int access, flags;
		int is_fixed, is_huge, is_inherited;
	} kinds[] = {
		[MOTE__MAP_SCRATCH] = {PROT_READ | PROT_WRITE,
				       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, 0, 0, 0},
		[MOTE__MAP_WIPED] = {PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, 0, 1, 1},
		[MOTE__MAP_SHARED] = {PROT_READ | PROT_WRITE, MAP_SHARED, 0, 1, 1},
		[MOTE__MAP_READ] = {PROT_READ, MAP_SHARED, 0, 1, 0},
		[MOTE__MAP_PRIVATE] = {PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, 1, 1, 0},
		[MOTE__MAP_VCPU] = {PROT_READ | PROT_WRITE, MAP_SHARED, 0, 1, 0},
	};
	void *p = mmap(kinds[kind].is_fixed ? *at : NULL, bytes, kinds[kind].access,
		       kinds[kind].flags, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	if (!kinds[kind].is_inherited)
		(void)madvise(p, bytes, MADV_DONTFORK);
	/* Otherwise one touched page could make 2 MiB resident. */
	if (!kinds[kind].is_huge)
		(void)madvise(p, bytes, MADV_NOHUGEPAGE);
	if (kind == MOTE__MAP_WIPED && madvise(p, bytes, MADV_WIPEONFORK) < 0) {
		int rc = -errno;
		(void)munmap(p, bytes);
		return rc;
	}
	*at = p;
	return 0;
}

int mote__sys_reserve(uint64_t bytes, void **at)
{
	void *p = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return -errno;
	*at = p;
	return 0;
}

int mote__sys_place(enum mote__map_kind kind, int fd, uint64_t offset, uint64_t bytes, void *at)
{
	int access = kind == MOTE__MAP_READ ? PROT_READ : PROT_READ | PROT_WRITE;
	int flags = MAP_FIXED | (kind == MOTE__MAP_READ && fd >= 0 ? MAP_SHARED : MAP_PRIVATE);
	if (fd < 0)
		flags |= MAP_ANONYMOUS | MAP_NORESERVE;
	void *p = mmap(at, bytes, access, flags, fd, (off_t)offset);
	return p == MAP_FAILED ? -errno : 0;
}

void mote__sys_seclude(void *at, uint64_t bytes, int is_small)
{
	(void)madvise(at, bytes, MADV_DONTFORK);
	if (is_small)
		(void)madvise(at, bytes, MADV_NOHUGEPAGE);
}

int mote__sys_drop(void *at, uint64_t bytes)
{
	if (madvise(at, bytes, MADV_DONTNEED) == 0)
		return 0;
	/* An application that locks its memory. */
	if (errno == EINVAL && madvise(at, bytes, MADV_DONTNEED_LOCKED) == 0)
		return 0;
	return -errno;
}

int mote__sys_collapse(const void *at, uint64_t bytes)
{
	return madvise((void *)(uintptr_t)at, bytes, MADV_COLLAPSE) < 0 ? -errno : 0;
}

void mote__sys_populate(void *at, uint64_t bytes)
{
	(void)madvise(at, bytes, MADV_POPULATE_WRITE);
}

int mote__sys_resident(void *at, uint64_t bytes, uint8_t *pages)
{
	return mincore(at, bytes, pages) < 0 ? -errno : 0;
}

void mote__sys_unmap(void *at, uint64_t bytes)
{
	if (at)
		(void)munmap(at, bytes);
}

int64_t mote__sys_next_data(int fd, uint64_t offset)
{
	off_t at = lseek(fd, (off_t)offset, SEEK_DATA);
	return at < 0 ? -errno : at;
}

int64_t mote__sys_next_hole(int fd, uint64_t offset)
{
	off_t at = lseek(fd, (off_t)offset, SEEK_HOLE);
	return at < 0 ? -errno : at;
}

int mote__sys_random(void *bytes, size_t len)
{
	ssize_t got = getrandom(bytes, len, 0);
	if (got < 0)
		return -errno;
	return (size_t)got == len ? 0 : -EIO;
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now = {0};
	(void)clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t mote__sys_monotonic_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

uint64_t mote__sys_realtime_ns(void)
{
	return clock_ns(CLOCK_REALTIME);
}

int mote__sys_own_make(const uint8_t **page)
{
	void *at = NULL;
	int rc = mote__sys_map(MOTE__MAP_WIPED, -1, OWN_BYTES, &at);
	/* at is NULL only if rc says so; the static analyser cannot know that errno is not 0. */
	if (rc < 0 || !at)
		return rc;
	*(uint8_t *)at = 1;
	*page = at;
	return 0;
}

int mote__sys_is_own(const uint8_t *page)
{
	return *(const volatile uint8_t *)page;
}

void mote__sys_own_free(const uint8_t *page)
{
	mote__sys_unmap((void *)(uintptr_t)page, OWN_BYTES);
}

uint64_t mote__sys_counter(void)
{
	return __builtin_ia32_rdtsc();
}
