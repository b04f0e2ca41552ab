/* SPDX-License-Identifier: MIT */
/*
 * System calls and allocation, the only place that sees errno and sentinels: every function returns
 * a value that is not negative, or a negative errno.
 */
#ifndef MOTE_BASE_SYS_H
#define MOTE_BASE_SYS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/** Zeroed memory, or NULL. Free with mote__free(). */
void *mote__alloc(size_t count, size_t bytes);
/** realloc() of count * bytes; NULL leaves memory as it was. */
void *mote__realloc(void *memory, size_t count, size_t bytes);
void mote__free(void *memory);

int mote__sys_open(const char *path, int flags);
/** Close fd unless it is negative. */
void mote__sys_close(int fd);
/** request with a number or a pointer. */
int mote__sys_ioctl(int fd, unsigned long request, void *argument);

/** A file's bytes (at most limit: else -EFBIG), in memory from mote__alloc(). */
int mote__sys_read_file(const char *path, size_t limit, uint8_t **bytes, size_t *len);

/** A memory object of bytes bytes, zero, closed on exec. -EFBIG where the process may not have a
 * file of that size (RLIMIT_FSIZE); asking the kernel would kill it. */
int mote__sys_memory_object(const char *name, uint64_t bytes);
/** Write count pages of page_bytes each from offset on. */
int mote__sys_write_pages(int fd, uint64_t offset, const void *const *pages, uint64_t count,
			  size_t page_bytes);
/** The number that a memory object, or a file, has in the kernel while it exists. */
int mote__sys_object_id(int fd, uint64_t *id);
/** Open a regular file that can be read: its descriptor, and its size in *bytes. */
int mote__sys_open_file(const char *path, uint64_t *bytes);
/** Forbid writing, growing and shrinking; no writable shared mapping may exist. */
int mote__sys_seal(int fd);

/** What to map: mote__sys_map(). */
enum mote__map_kind {
	MOTE__MAP_SCRATCH, /* private anonymous memory, not reserved, not inherited by fork() */
	MOTE__MAP_WIPED,   /* private anonymous memory that a child finds zero */
	MOTE__MAP_SHARED,  /* fd, read and write */
	MOTE__MAP_READ,    /* fd, read; not inherited by fork() */
	MOTE__MAP_PRIVATE, /* fd, private copy on write, at the given address; not inherited */
	MOTE__MAP_VCPU,    /* fd, read and write, not inherited by fork() */
};

/** Map bytes bytes of fd (scratch: -1) and store the address in *at, which for MOTE__MAP_PRIVATE
 * says where. */
int mote__sys_map(enum mote__map_kind kind, int fd, uint64_t bytes, void **at);
/** Address space of bytes bytes, without access. */
int mote__sys_reserve(uint64_t bytes, void **at);
/** Map bytes bytes of fd from offset over what is at at: MOTE__MAP_READ or MOTE__MAP_PRIVATE; fd
 * -1: zero pages, private. A range that is built in this way ends with mote__sys_seclude(). */
int mote__sys_place(enum mote__map_kind kind, int fd, uint64_t offset, uint64_t bytes, void *at);
/** A child after fork() does not get this range. is_small: never large pages in it. */
void mote__sys_seclude(void *at, uint64_t bytes, int is_small);
/** Let go of the pages of a range: private anonymous ones are zero after that, those of a file are
 * the file's. */
int mote__sys_drop(void *at, uint64_t bytes);
/** Ask for huge pages under a range of a shared mapping, whose address and offset are congruent
 * modulo 2 MiB. Copies the memory once; -EINVAL where the kernel cannot (before Linux 6.1). */
int mote__sys_collapse(const void *at, uint64_t bytes);
/** Make the pages of a range exist, all at once: cheaper than a fault for each that is going to be
 * written. A kernel that cannot (before Linux 5.14) leaves them to the faults. */
void mote__sys_populate(void *at, uint64_t bytes);
/** Which pages of a range exist: one byte each, bit 0. */
int mote__sys_resident(void *at, uint64_t bytes, uint8_t *pages);
/** Unmap; NULL is allowed. */
void mote__sys_unmap(void *at, uint64_t bytes);

/** Offset of the first byte at or behind offset that was ever written; -ENXIO where none was. */
int64_t mote__sys_next_data(int fd, uint64_t offset);

/** Likewise of the first byte that never was; the end counts as one. */
int64_t mote__sys_next_hole(int fd, uint64_t offset);

/** 32 or fewer random bytes of the kernel. */
int mote__sys_random(void *bytes, size_t len);
/** Nanoseconds of CLOCK_MONOTONIC, and of CLOCK_REALTIME. */
uint64_t mote__sys_monotonic_ns(void);
uint64_t mote__sys_realtime_ns(void);
/** A page that tells a process from its children after fork(): the number of a process does not, as
 * a child may have the same one in a namespace of its own. Free with mote__sys_own_free(). */
int mote__sys_own_make(const uint8_t **page);
int mote__sys_is_own(const uint8_t *page);
void mote__sys_own_free(const uint8_t *page);
/** The processor's time stamp counter. */
uint64_t mote__sys_counter(void);

#endif
