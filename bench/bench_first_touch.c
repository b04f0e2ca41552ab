/* SPDX-License-Identifier: MIT */
/*
 * How many faults of the second stage does a guest take that reads each page of 64 MiB of init data
 * for the first time? KVM counts them. Read-only data has large leaves and huge pages; the floor's
 * is copy-on-write, which has neither, in the same run.
 */
#include "lib.h"

#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { ROUNDS = 5 };

#define DATA_BYTES (64ull << 20)
#define PAGE_BYTES 4096

static int stats_fd = -1; /* of the newest vCPU */

int __real_mote__sys_ioctl(int fd, unsigned long request, void *argument);
int __wrap_mote__sys_ioctl(int fd, unsigned long request, void *argument);

int __wrap_mote__sys_ioctl(int fd, unsigned long request, void *argument)
{
	int rc = __real_mote__sys_ioctl(fd, request, argument);
	if (request == KVM_CREATE_VCPU && rc >= 0) {
		if (stats_fd >= 0)
			(void)close(stats_fd);
		stats_fd = ioctl(rc, KVM_GET_STATS_FD, NULL);
	}
	return rc;
}

static bool read_at(void *to, size_t bytes, uint64_t offset)
{
	return pread(stats_fd, to, bytes, (off_t)offset) == (ssize_t)bytes;
}

/* The kernel's documentation of KVM, 4.133. */
static uint64_t count_faults(void)
{
	struct kvm_stats_header header;
	struct kvm_stats_desc desc;
	char name[256] = "";
	uint64_t value = 0;
	if (stats_fd < 0 || !read_at(&header, sizeof header, 0))
		mote__bench_skip("this kernel has no KVM_GET_STATS_FD");
	for (uint32_t i = 0; i < header.num_desc; i++) {
		uint64_t at = header.desc_offset + i * (sizeof desc + header.name_size);
		if (!read_at(&desc, sizeof desc, at) ||
		    !read_at(name,
			     header.name_size < sizeof name ? header.name_size : sizeof name - 1,
			     at + sizeof desc))
			break;
		if (strcmp(name, "pf_fixed") == 0 &&
		    read_at(&value, sizeof value, header.data_offset + desc.offset))
			return value;
	}
	mote__bench_skip("this kernel does not count pf_fixed");
}

struct result {
	double faults, us;
};

static struct result touch(const struct mote__bench *bench, const char *path, const void *data,
			   uint32_t access)
{
	const struct mote_snapshot_options options = {.size = sizeof options,
						      .init_data = data,
						      .init_data_bytes = DATA_BYTES,
						      .init_data_access = access};
	struct mote_error err = {0};
	mote_snapshot *snapshot = NULL;
	mote_sandbox *sandbox = NULL;
	mote__bench_check(mote_snapshot_from_file(path, &options, &snapshot, &err), &err, path);
	mote__bench_check(
		mote_sandbox_create(bench->engine, snapshot, bench->host, NULL, &sandbox, &err),
		&err, "sandbox");
	/* Code and stack are there after this. */
	(void)mote__bench_call(sandbox, "touch_init", 0);
	uint64_t before = count_faults();
	double start = mote__bench_now();
	int32_t pages = mote__bench_call(sandbox, "touch_init", 1);
	struct result result = {.us = mote__bench_now() - start};
	result.faults = (double)(count_faults() - before);
	if (pages != (int32_t)(DATA_BYTES / PAGE_BYTES))
		mote__bench_fail("the guest read %d pages", pages);
	mote_sandbox_destroy(sandbox);
	mote_snapshot_unref(snapshot);
	return result;
}

int main(int count, char **arguments)
{
	const char *directory = mote__bench_directory(count, arguments);
	struct mote__bench bench;
	char path[4096], detail[128];
	void *data = malloc(DATA_BYTES);
	if (!data)
		mote__bench_fail("out of memory");
	memset(data, 1, DATA_BYTES);
	(void)snprintf(path, sizeof path, "%s/pages.guest", directory);
	mote__bench_open(&bench, directory, "pages.guest", NULL);
	struct mote__bench_series large = mote__bench_series(ROUNDS), small = large, times = large;
	small = mote__bench_series(ROUNDS);
	times = mote__bench_series(ROUNDS);
	double small_us = 0;
	for (int i = 0; i < ROUNDS; i++) {
		struct result a = touch(&bench, path, data, MOTE_READ);
		struct result b = touch(&bench, path, data, MOTE_READ | MOTE_WRITE);
		mote__bench_add(&large, a.faults);
		mote__bench_add(&times, a.us);
		mote__bench_add(&small, b.faults);
		small_us = b.us;
	}
	(void)snprintf(detail, sizeof detail, "\"us\":%.0f,\"us_small\":%.0f",
		       mote__bench_median(&times), small_us);
	mote__bench_report(&(struct mote__bench_answer){.name = "first_touch_64mib",
							.unit = "faults",
							.floor = mote__bench_median(&small),
							.limit = 40,
							.detail = detail},
			   &large);
	mote__bench_free(&large);
	mote__bench_free(&small);
	mote__bench_free(&times);
	mote__bench_close(&bench);
	free(data);
	return 0;
}
