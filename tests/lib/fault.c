/* SPDX-License-Identifier: MIT */
/* Fault injection, see the header. */
#define _GNU_SOURCE
#include "fault.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

#include <signal.h>

static unsigned countdown; /* 0: not armed */
static bool has_failed;
static const char *failed_name = "none";
static struct fault_live live;

void fault_arm(unsigned n)
{
	has_failed = false;
	countdown = n;
}

bool fault_disarm(void)
{
	countdown = 0;
	return has_failed;
}

const char *fault_name(void)
{
	return failed_name;
}

/* Whether this call fails; then errno says how. */
static bool fails(const char *name, int number)
{
	if (!countdown || --countdown)
		return false;
	has_failed = true;
	failed_name = name;
	errno = number;
	return true;
}

bool fault_is_due(const char *name)
{
	return fails(name, ENOMEM);
}

struct fault_live fault_live(void)
{
	struct fault_live now = live;
	DIR *directory = opendir("/proc/self/fd");
	while (directory && readdir(directory))
		now.descriptors++;
	if (directory)
		(void)closedir(directory);
	return now;
}

#define WRAP(result, name, ...)            \
	result __real_##name(__VA_ARGS__); \
	result __wrap_##name(__VA_ARGS__); \
	result __wrap_##name(__VA_ARGS__)

/* ---- memory ---------------------------------------------------------------------------------- */

static void *counted(void *block)
{
	live.blocks += block != NULL;
	return block;
}

WRAP(void *, malloc, size_t bytes)
{
	return fails("malloc", ENOMEM) ? NULL : counted(__real_malloc(bytes));
}

WRAP(void *, calloc, size_t count, size_t bytes)
{
	return fails("calloc", ENOMEM) ? NULL : counted(__real_calloc(count, bytes));
}

WRAP(void *, realloc, void *old, size_t bytes)
{
	if (fails("realloc", ENOMEM))
		return NULL;
	void *block = __real_realloc(old, bytes);
	return old ? block : counted(block);
}

WRAP(void *, reallocarray, void *old, size_t count, size_t bytes)
{
	if (fails("reallocarray", ENOMEM))
		return NULL;
	void *block = __real_reallocarray(old, count, bytes);
	return old ? block : counted(block);
}

WRAP(void, free, void *block)
{
	live.blocks -= block != NULL;
	__real_free(block);
}

static void *mapped(void *at, size_t bytes, int flags)
{
	/* A fixed mapping lies in one that is counted. */
	if (at != MAP_FAILED && !(flags & MAP_FIXED))
		live.mapped += (long long)bytes;
	return at;
}

WRAP(void *, mmap, void *at, size_t bytes, int access, int flags, int fd, off_t offset)
{
	if (fails("mmap", ENOMEM))
		return MAP_FAILED;
	return mapped(__real_mmap(at, bytes, access, flags, fd, offset), bytes, flags);
}

WRAP(void *, mmap64, void *at, size_t bytes, int access, int flags, int fd, off_t offset)
{
	if (fails("mmap", ENOMEM))
		return MAP_FAILED;
	return mapped(__real_mmap64(at, bytes, access, flags, fd, offset), bytes, flags);
}

WRAP(int, munmap, void *at, size_t bytes)
{
	/* Pages, as the kernel counts them. */
	int rc = __real_munmap(at, bytes);
	if (rc == 0)
		live.mapped -= (long long)bytes;
	return rc;
}

WRAP(int, madvise, void *at, size_t bytes, int advice)
{
	/* Other advice may be ignored. */
	if (advice == MADV_DONTNEED && fails("madvise", EAGAIN))
		return -1;
	return __real_madvise(at, bytes, advice);
}

/* ---- files ----------------------------------------------------------------------------------- */

#define WRAP_OPEN(name)                                      \
	int __real_##name(const char *path, int flags, ...); \
	int __wrap_##name(const char *path, int flags, ...); \
	int __wrap_##name(const char *path, int flags, ...)  \
	{                                                    \
		va_list arguments;                           \
		va_start(arguments, flags);                  \
		unsigned mode = va_arg(arguments, unsigned); \
		va_end(arguments);                           \
		if (fails("open", EMFILE))                   \
			return -1;                           \
		return __real_##name(path, flags, mode);     \
	}
WRAP_OPEN(open)
WRAP_OPEN(open64)

#define WRAP_OPEN_AT(name)                                                  \
	int __real_##name(int directory, const char *path, int flags, ...); \
	int __wrap_##name(int directory, const char *path, int flags, ...); \
	int __wrap_##name(int directory, const char *path, int flags, ...)  \
	{                                                                   \
		va_list arguments;                                          \
		va_start(arguments, flags);                                 \
		unsigned mode = va_arg(arguments, unsigned);                \
		va_end(arguments);                                          \
		if (fails("openat", EMFILE))                                \
			return -1;                                          \
		return __real_##name(directory, path, flags, mode);         \
	}
WRAP_OPEN_AT(openat)
WRAP_OPEN_AT(openat64)

#define WRAP_AT(name, shown, type, number)                                            \
	WRAP(ssize_t, name, int fd, type bytes, size_t len, off_t at)                 \
	{                                                                             \
		return fails(shown, number) ? -1 : __real_##name(fd, bytes, len, at); \
	}
WRAP_AT(pread, "pread", void *, EIO)
WRAP_AT(pread64, "pread", void *, EIO)
WRAP_AT(pwrite, "pwrite", const void *, ENOSPC)
WRAP_AT(pwrite64, "pwrite", const void *, ENOSPC)

WRAP(int, fstatat, int directory, const char *path, struct stat *status, int flags)
{
	return fails("fstatat", EIO) ? -1 : __real_fstatat(directory, path, status, flags);
}

WRAP(int, fstatat64, int directory, const char *path, void *status, int flags)
{
	return fails("fstatat", EIO) ? -1 : __real_fstatat64(directory, path, status, flags);
}

WRAP(int, fchmod, int fd, mode_t mode)
{
	return fails("fchmod", EPERM) ? -1 : __real_fchmod(fd, mode);
}

WRAP(int, fsync, int fd)
{
	return fails("fsync", EIO) ? -1 : __real_fsync(fd);
}

WRAP(int, mkdirat, int directory, const char *path, mode_t mode)
{
	return fails("mkdirat", ENOSPC) ? -1 : __real_mkdirat(directory, path, mode);
}

WRAP(int, renameat, int from, const char *path, int to, const char *new_path)
{
	return fails("renameat", ENOSPC) ? -1 : __real_renameat(from, path, to, new_path);
}

WRAP(int, unlinkat, int directory, const char *path, int flags)
{
	return fails("unlinkat", EPERM) ? -1 : __real_unlinkat(directory, path, flags);
}

/* To unlock does not fail. */
WRAP(int, flock, int fd, int operation)
{
	return operation != LOCK_UN && fails("flock", ENOLCK) ? -1 : __real_flock(fd, operation);
}

WRAP(DIR *, fdopendir, int fd)
{
	return fails("fdopendir", ENOMEM) ? NULL : __real_fdopendir(fd);
}

WRAP(ssize_t, read, int fd, void *bytes, size_t len)
{
	return fails("read", EIO) ? -1 : __real_read(fd, bytes, len);
}

WRAP(ssize_t, pwritev, int fd, const struct iovec *pieces, int count, off_t at)
{
	return fails("pwritev", ENOSPC) ? -1 : __real_pwritev(fd, pieces, count, at);
}

WRAP(ssize_t, pwritev64, int fd, const struct iovec *pieces, int count, off_t at)
{
	return fails("pwritev", ENOSPC) ? -1 : __real_pwritev64(fd, pieces, count, at);
}

WRAP(int, fstat, int fd, struct stat *status)
{
	return fails("fstat", EIO) ? -1 : __real_fstat(fd, status);
}

WRAP(int, fstat64, int fd, void *status)
{
	return fails("fstat", EIO) ? -1 : __real_fstat64(fd, status);
}

WRAP(int, memfd_create, const char *name, unsigned flags)
{
	return fails("memfd_create", EMFILE) ? -1 : __real_memfd_create(name, flags);
}

WRAP(int, ftruncate, int fd, off_t bytes)
{
	return fails("ftruncate", ENOSPC) ? -1 : __real_ftruncate(fd, bytes);
}

WRAP(int, ftruncate64, int fd, off_t bytes)
{
	return fails("ftruncate", ENOSPC) ? -1 : __real_ftruncate64(fd, bytes);
}

#define WRAP_CONTROL(name, request_type, number)              \
	int __real_##name(int fd, request_type request, ...); \
	int __wrap_##name(int fd, request_type request, ...); \
	int __wrap_##name(int fd, request_type request, ...)  \
	{                                                     \
		va_list arguments;                            \
		va_start(arguments, request);                 \
		void *argument = va_arg(arguments, void *);   \
		va_end(arguments);                            \
		if (fails(#name, number))                     \
			return -1;                            \
		return __real_##name(fd, request, argument);  \
	}
WRAP_CONTROL(fcntl, int, EPERM)
WRAP_CONTROL(fcntl64, int, EPERM)
WRAP_CONTROL(ioctl, unsigned long, ENOMEM)

/* ---- others ---------------------------------------------------------------------------------- */

WRAP(ssize_t, getrandom, void *bytes, size_t len, unsigned flags)
{
	return fails("getrandom", ENOSYS) ? -1 : __real_getrandom(bytes, len, flags);
}

WRAP(int, timer_create, clockid_t clock, struct sigevent *event, timer_t *timer)
{
	int rc = fails("timer_create", EAGAIN) ? -1 : __real_timer_create(clock, event, timer);
	live.timers += rc == 0;
	return rc;
}

WRAP(int, timer_delete, timer_t timer)
{
	live.timers--;
	return __real_timer_delete(timer);
}

WRAP(int, timer_settime, timer_t timer, int flags, const struct itimerspec *at,
     struct itimerspec *old)
{
	/* To stop a timer that exists does not fail. */
	bool is_stop = at->it_value.tv_sec == 0 && at->it_value.tv_nsec == 0;
	if (!is_stop && fails("timer_settime", EINVAL))
		return -1;
	return __real_timer_settime(timer, flags, at, old);
}
