/* SPDX-License-Identifier: MIT */
/*
 * The two stacks of messages between a host and a guest, in memory that both write.
 *
 * A u64 at offset 0 is the stack pointer: where the free space starts, 8 when empty. Behind each
 * message lies a u64, the back-pointer, with the offset at which that message starts. The host
 * believes nothing: it reads the stack pointer, the back-pointer and the prefix once each, checks
 * those copies, and uses only them. Freestanding but for mote__stack_format.
 */
#ifndef MOTE_CORE_STACK_H
#define MOTE_CORE_STACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MOTE__STACK_FIRST      8u /* offset of the first message; the pointer of an empty stack */
#define MOTE__STACK_BACK_BYTES 8u

enum mote__stack_problem {
	MOTE__STACK_POP_POINTER = 1,     /* value: stack pointer; limit: size of the stack */
	MOTE__STACK_BACK_POINTER = 2,    /* value: back-pointer; limit: its greatest value */
	MOTE__STACK_PREFIX_OVERFLOW = 3, /* value: size prefix */
	MOTE__STACK_PREFIX_SLOT = 4,     /* value: bytes with the prefix; limit: bytes there are */
	MOTE__STACK_PUSH_POINTER = 5,    /* value: stack pointer; limit: size of the stack */
	MOTE__STACK_SPACE = 6,           /* value: bytes needed; limit: bytes free */
};

struct mote__stack_failure {
	uint32_t problem; /* enum mote__stack_problem */
	uint64_t value, limit;
};

/** The message on top, checked: the offsets lie in the stack. Keep it in private memory. */
struct mote__stack_top {
	uint64_t offset;  /* where it starts */
	uint64_t bytes;   /* with its prefix */
	uint64_t pointer; /* stack pointer above it */
};

/** Free space for a message, checked likewise. */
struct mote__stack_room {
	uint8_t *data;    /* where to write it */
	uint64_t cap;     /* most bytes of it; 0 when nothing fits */
	uint64_t pointer; /* stack pointer before the push */
	uint64_t free;    /* bytes behind it, for the message and its back-pointer */
};

/*
 * shared: the stack, size bytes (at least 16), at any address. *out is written only on success,
 * *failure only on failure, which is false.
 */

/** Find the message on top. Reads each word once. */
bool mote__stack_top(const void *shared, uint64_t size, struct mote__stack_top *out,
		     struct mote__stack_failure *failure);
/**
 * Copy it to dst, private memory of top->bytes. The prefix of the copy is what was checked,
 * whatever the shared one is by now.
 */
void mote__stack_copy(const void *shared, const struct mote__stack_top *top, void *dst);
/** Remove it; with zero, also overwrite it and its back-pointer. */
void mote__stack_drop(void *shared, const struct mote__stack_top *top, bool zero);

/** Find the free space, to write a message there in place. */
bool mote__stack_reserve(void *shared, uint64_t size, struct mote__stack_room *out,
			 struct mote__stack_failure *failure);
/** Push the bytes written at room->data. More than room->cap are refused, changing nothing. */
bool mote__stack_commit(void *shared, const struct mote__stack_room *room, uint64_t bytes,
			struct mote__stack_failure *failure);
/** The failure of a message that needs bytes and does not fit in room. */
struct mote__stack_failure mote__stack_no_space(const struct mote__stack_room *room,
						uint64_t bytes);

/** Make it empty. Its bytes stay. */
void mote__stack_reset(void *shared);

/** The message of a failure, as snprintf would write it. On the host only. */
int mote__stack_format(const struct mote__stack_failure *failure, char *dst, size_t cap);

#endif
