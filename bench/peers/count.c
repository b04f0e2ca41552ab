/* SPDX-License-Identifier: MIT */
/*
 * Loaded into both programs by LD_PRELOAD: counts the calls of theirs that concern virtual machines
 * and memory, and reads what the kernel counted for every virtual processor that they make. Knows
 * nothing of what the programs are. For one thread; a processor's statistics are read when they are
 * asked for and when it is closed, so that none is kept alive by this.
 */
#define _GNU_SOURCE
#undef _FILE_OFFSET_BITS /* it would give mmap() the name mmap64() */
#include "count.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define API __attribute__((visibility("default")))

enum { MAX_FILES = 1 << 16, KERNEL_FIRST = COUNT_exits, MAX_NAME = 256 };

static uint64_t total[COUNTER_COUNT]; /* the kernel's: of processors that are closed */
static bool is_vcpu[MAX_FILES];       /* by file descriptor */
static int vcpu_end;                  /* behind the last of them */

#define COUNTER_NAME(name) #name,
static const char *const names[] = {COUNTERS(COUNTER_NAME)};

API int ioctl(int fd, unsigned long request, ...);

/* The function that this library stands before. */
#define NEXT(name)                                         \
	static __typeof__(&name) next;                     \
	if (!next) {                                       \
		*(void **)&next = dlsym(RTLD_NEXT, #name); \
		if (!next)                                 \
			abort();                           \
	}

static int next_ioctl(int fd, unsigned long request, void *argument)
{
	NEXT(ioctl)
	return next(fd, request, argument);
}

/* ---- what the kernel counts ------------------------------------------------------------------ */

/* Where the statistics file has the wanted counters: the same for all processors. -1: not there. */
static int64_t offset_of[COUNTER_COUNT];
static bool is_known;

static void learn(int fd)
{
	struct kvm_stats_header header;
	char entry[sizeof(struct kvm_stats_desc) + MAX_NAME] = {0};
	memset(offset_of, -1, sizeof offset_of);
	is_known = true;
	if (pread(fd, &header, sizeof header, 0) != (ssize_t)sizeof header ||
	    header.name_size > MAX_NAME)
		return;
	size_t bytes = sizeof(struct kvm_stats_desc) + header.name_size;
	for (uint32_t i = 0; i < header.num_desc; i++) {
		struct kvm_stats_desc desc;
		off_t at = (off_t)(header.desc_offset + i * bytes);
		if (pread(fd, entry, bytes, at) != (ssize_t)bytes)
			return;
		memcpy(&desc, entry, sizeof desc);
		for (int k = KERNEL_FIRST; k < COUNTER_COUNT; k++)
			if (strncmp(entry + sizeof desc, names[k], header.name_size) == 0)
				offset_of[k] = header.data_offset + desc.offset;
	}
}

static void add_kernel(int vcpu, uint64_t *sums)
{
	int fd = next_ioctl(vcpu, KVM_GET_STATS_FD, NULL);
	if (fd < 0)
		return;
	if (!is_known)
		learn(fd);
	for (int k = KERNEL_FIRST; k < COUNTER_COUNT; k++) {
		uint64_t value = 0;
		if (offset_of[k] >= 0 && pread(fd, &value, sizeof value, offset_of[k]) == 8)
			sums[k] += value;
	}
	(void)close(fd);
}

static void look(void *to, size_t bytes)
{
	uint64_t sums[COUNTER_COUNT];
	memcpy(sums, total, sizeof sums);
	for (int fd = 0; fd < vcpu_end; fd++)
		if (is_vcpu[fd])
			add_kernel(fd, sums);
	memcpy(to, sums, bytes < sizeof sums ? bytes : sizeof sums);
}

/* ---- what the programs call ------------------------------------------------------------------ */

API int ioctl(int fd, unsigned long request, ...)
{
	va_list arguments;
	va_start(arguments, request);
	void *argument = va_arg(arguments, void *);
	va_end(arguments);
	total[COUNT_ioctl]++;
	total[COUNT_kvm_run] += request == KVM_RUN;
	int result = next_ioctl(fd, request, argument);
	if (request == KVM_CREATE_VCPU && result >= 0 && result < MAX_FILES) {
		is_vcpu[result] = true;
		if (vcpu_end <= result)
			vcpu_end = result + 1;
	}
	return result;
}

API int close(int fd)
{
	NEXT(close)
	if (fd >= 0 && fd < MAX_FILES && is_vcpu[fd]) {
		is_vcpu[fd] = false;
		add_kernel(fd, total);
	}
	return next(fd);
}

API int madvise(void *address, size_t bytes, int advice)
{
	NEXT(madvise)
	if (advice == COUNT_ADVICE) {
		look(address, bytes);
		return 0;
	}
	total[COUNT_madvise]++;
	return next(address, bytes, advice);
}

API void *mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset)
{
	NEXT(mmap)
	total[COUNT_mmap]++;
	return next(address, bytes, protection, flags, fd, offset);
}

API void *mmap64(void *address, size_t bytes, int protection, int flags, int fd, off_t offset)
{
	return mmap(address, bytes, protection, flags, fd, offset);
}

API int munmap(void *address, size_t bytes)
{
	NEXT(munmap)
	total[COUNT_munmap]++;
	return next(address, bytes);
}
