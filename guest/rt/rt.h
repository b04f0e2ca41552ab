/* SPDX-License-Identifier: MIT */
/*
 * What the files of the guest runtime share: its one mutable object, ports, text building.
 *
 * The runtime runs under the program and under the C library: it uses the C library's string
 * functions only, never its memory, streams or locks (but for the flush at the end of a call), and
 * no floating-point or vector registers, so that it also runs inside a system call.
 */
#ifndef MOTE_GUEST_RT_H
#define MOTE_GUEST_RT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mote_abi.h>
#include <mote_guest.h>

#define MOTE__GUEST_PAGE_BYTES 4096u
/** Most bytes of an error's text. */
#define MOTE__GUEST_TEXT_BYTES 1000u

/** A free range of pages, written at its start. */
struct mote__guest_extent {
	struct mote__guest_extent *next; /* at a higher address, not adjacent */
	uint64_t bytes;
};

/*
 * The heap range of the host: brk grows from below, mappings from above. Pages in [brk_high,
 * low_ever) were never handed out and are zero.
 */
struct mote__guest_heap {
	uint64_t first, end; /* both 0 before first use */
	uint64_t brk, brk_high;
	uint64_t low, low_ever;          /* lowest mapping now, and ever */
	struct mote__guest_extent *free; /* in [low, end), by address */
};

/** A block of scratch memory; what follows it is handed out from the front. */
struct mote__guest_block {
	struct mote__guest_block *next; /* older */
	uint64_t bytes;                 /* with this header */
	uint64_t used;                  /* with this header */
};

struct mote__guest_state {
	const struct mote_abi_run_info *run;
	uint64_t thread;                  /* FS base; 0 before the C library set it */
	struct mote__guest_block *blocks; /* scratch memory, newest first */
	bool is_ready;                    /* initialise is over: there is a call to end */
	bool owns_ring_0; /* entered at e_entry, by a host that knows no confinement */
	struct mote__guest_heap heap;
	const char *error_text; /* in scratch memory, or constant; NULL: none */
	uint64_t random_generation, random_counter;
	uint64_t synthetic_ns; /* a clock for hosts that give none */
};

extern struct mote__guest_state mote__guest;

/* Symbols of the linker script. */
extern const struct mote__guest_function mote__guest_exports_first[], mote__guest_exports_end[];
extern const uint8_t mote__guest_text_first[], mote__guest_text_end[];

static inline void mote__guest_out(uint16_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %w1" : : "a"(value), "Nd"(port) : "memory");
}

/* ---- text.c: texts without the C library */

struct mote__guest_text {
	char *data;
	size_t len, cap;
};

void mote__guest_add(struct mote__guest_text *text, const char *from);
void mote__guest_add_bytes(struct mote__guest_text *text, const void *from, size_t len);
void mote__guest_add_decimal(struct mote__guest_text *text, uint64_t value);
void mote__guest_add_hex(struct mote__guest_text *text, uint64_t value);
/** Room for one text; MOTE__GUEST_TEXT_BYTES. */
#define MOTE__GUEST_TEXT(name)                    \
	char name##_data[MOTE__GUEST_TEXT_BYTES]; \
	struct mote__guest_text name = {name##_data, 0, sizeof name##_data}

struct mote__guest_values {
	va_list list;
};

/** Add what printf would print; cut at the capacity. */
void mote__guest_format(struct mote__guest_text *text, const char *format,
			struct mote__guest_values *values);

/** Copy text, replacing what is not UTF-8. Returns the bytes written, at most cap. */
size_t mote__guest_utf8_copy(char *to, size_t cap, const char *from, size_t len);

/* ---- start.c, stdio.c */

/** First C code, on the program's stack. */
_Noreturn void mote__guest_start(const struct mote_abi_run_info *run);
/** Send what the C library's output streams hold. */
void mote__guest_flush(void);
/** End initialise, or the call whose result was pushed. Streams were flushed before. */
_Noreturn void mote__guest_halt(void);

/* ---- dispatch.c */

/** Run the encoded call at message and end it. */
_Noreturn void mote__guest_dispatch(const void *message);
/** End the call with an error; in initialise: abort. */
_Noreturn void mote__guest_end(uint64_t code, const char *text, size_t len);

/* ---- output.c */

/** Room for a message on the output buffer, and what it counts as. */
void *mote__guest_room(size_t *cap);
/** Push the len bytes written there. */
void mote__guest_push(size_t len);
/** Send a log record. */
void mote__guest_log_send(uint32_t level, const char *file, uint32_t line, const char *function,
			  const struct mote__guest_text *text);
/** Abort: code, then text; a text that is too long is cut. Usable anywhere. */
_Noreturn void mote__guest_abort(uint8_t code, const char *text, size_t len);
/** The same for an exception (vector) in ring 0. */
_Noreturn void mote__guest_abort_exception(uint8_t vector, const char *text, size_t len);

/* ---- call.c */

/** Measure a string that is not, and check it. False: not UTF-8. */
bool mote__guest_value_finish(struct mote_value *value);
/** HostPrint of len bytes, anything. False: the host refused. */
bool mote__guest_print(const char *text, size_t len);

/* ---- memory.c, scratch.c */

/** bytes (a multiple of the page size) of zeroed memory; 0: there is none. */
uint64_t mote__guest_pages_take(uint64_t bytes);
/** Give back any page range; parts that were not taken do not matter. */
void mote__guest_pages_give(uint64_t first, uint64_t bytes);
/** NULL: there is none. */
void *mote__guest_scratch_take(size_t bytes);
/** Forget everything taken. */
void mote__guest_scratch_reset(void);

int64_t mote__guest_brk(uint64_t to);
int64_t mote__guest_mmap(uint64_t at, uint64_t bytes, uint64_t access, uint64_t flags);
int64_t mote__guest_munmap(uint64_t at, uint64_t bytes);
int64_t mote__guest_mremap(uint64_t at, uint64_t bytes, uint64_t new_bytes, uint64_t flags);
int64_t mote__guest_madvise(uint64_t at, uint64_t bytes, uint64_t advice);
int64_t mote__guest_mprotect(uint64_t at, uint64_t bytes, uint64_t access);

/* ---- clock.c */

uint64_t mote__guest_realtime_ns(void);
uint64_t mote__guest_monotonic_ns(void);

#endif
