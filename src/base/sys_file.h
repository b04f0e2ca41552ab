/* SPDX-License-Identifier: MIT */
/*
 * Files below a directory that others may have filled: every name is one component below a
 * descriptor, no symbolic link is followed, and nothing waits for a FIFO or a device. As in
 * base/sys.h every function returns a value that is not negative, or a negative errno; calls that a
 * signal ended are made again.
 */
#ifndef MOTE_BASE_SYS_FILE_H
#define MOTE_BASE_SYS_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum mote__file_kind {
	MOTE__FILE_REGULAR,
	MOTE__FILE_DIRECTORY,
	MOTE__FILE_LINK, /* symbolic */
	MOTE__FILE_OTHER,
};

struct mote__file_facts {
	enum mote__file_kind kind;
	uint64_t bytes;
	uint32_t uid;  /* owner */
	uint32_t mode; /* permissions, 07777 */
};

/** Open a directory that the caller named: links are followed. */
int mote__file_open_root(const char *path);
/** Open the directory name below directory. -ENOTDIR or -ELOOP: a symbolic link, or another file.
 */
int mote__file_open_directory(int directory, const char *name);
/** Open name for reading; whatever it is: see mote__file_facts(). -ELOOP: a symbolic link. */
int mote__file_open(int directory, const char *name);
/** Make name, which must not exist, for reading and writing. */
int mote__file_create(int directory, const char *name);
/** The path may be of several components. */
int mote__file_make_root(const char *path);
int mote__file_make_directory(int directory, const char *name);

int mote__file_facts(int fd, struct mote__file_facts *facts);
/** Of name itself, also when it is a symbolic link. */
int mote__file_facts_at(int directory, const char *name, struct mote__file_facts *facts);

/** Read len bytes from offset; *got is less only where the file ends. */
int mote__file_read(int fd, uint64_t offset, void *bytes, size_t len, size_t *got);
/** Write all of them. -EFBIG where the process may not have a file of that size (RLIMIT_FSIZE);
 * asking the kernel would kill it. */
int mote__file_write(int fd, uint64_t offset, const void *bytes, size_t len);
/** Cut or grow (by a hole); -EFBIG as above. */
int mote__file_resize(int fd, uint64_t bytes);
/** Forbid writing to all, in addition to what the umask forbade when the file was made. */
int mote__file_protect(int fd);
/** What was written, and for a directory its entries, is on the disk. */
int mote__file_sync(int fd);

/** Replaces what had the new name, unless it is a directory. */
int mote__file_rename(int from, const char *name, int to, const char *new_name);
int mote__file_remove(int directory, const char *name);
/** An empty one. */
int mote__file_remove_directory(int directory, const char *name);

/** Take the lock of fd's open file (flock(2)). -EWOULDBLOCK: somebody else has it, !waits. */
int mote__file_lock(int fd, bool is_exclusive, bool waits);
/** For all descriptors of the open file, also those that a child inherited. */
void mote__file_unlock(int fd);

/** Gets each name but "." and ".."; a return that is not 0 ends the listing, which returns it. */
typedef int (*mote__file_visit)(void *cookie, const char *name);
int mote__file_list(int directory, mote__file_visit visit, void *cookie);

/** The effective user. */
uint32_t mote__file_user(void);

#endif
