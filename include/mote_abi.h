/* SPDX-License-Identifier: MIT */
/*
 * mote_abi.h: what a host and a guest share.
 *
 * Value types, error codes of guests and the entry protocol of confined guests. Only fixed-width
 * integers and pointers; nothing here does anything. Included by mote.h and by mote_guest.h.
 */
#ifndef MOTE_ABI_H
#define MOTE_ABI_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Types of values in calls. Numbers 1 to 9 are the union tags of a parameter on the wire.
 * A string is valid UTF-8. A NUL inside is legal on the wire, but a guest that takes a const char *
 * sees what stands before it. Bytes are anything.
 */
enum mote_type {
	MOTE_VOID = 0,
	MOTE_I32 = 1,
	MOTE_U32 = 2,
	MOTE_I64 = 3,
	MOTE_U64 = 4,
	MOTE_F32 = 5,
	MOTE_F64 = 6,
	MOTE_STRING = 7,
	MOTE_BOOL = 8,
	MOTE_BYTES = 9,
};

/** len bytes at data. data may be NULL when len is 0. */
struct mote_bytes {
	const void *data;
	size_t len;
};

/** len bytes of UTF-8 at data, followed by a NUL that len does not count. */
struct mote_string {
	const char *data;
	size_t len;
};

/** One typed value. type is an enum mote_type and says which member of the union is valid. */
struct mote_value {
	uint32_t type;
	uint32_t reserved; /* zero */
	union {
		int32_t i32;
		uint32_t u32;
		int64_t i64;
		uint64_t u64;
		float f32;
		double f64;
		uint8_t boolean; /* 0 or 1 */
		struct mote_string string;
		struct mote_bytes bytes;
	};
};

/** Error codes that guests send, one byte on the wire in an abort. Any other value is legal too. */
enum mote_guest_code {
	MOTE_GUEST_OK = 0,
	MOTE_GUEST_UNSUPPORTED_PARAMETER_TYPE = 2,
	MOTE_GUEST_FUNCTION_NAME_MISSING = 3,
	MOTE_GUEST_FUNCTION_NOT_FOUND = 4,
	MOTE_GUEST_PARAMETER_COUNT = 5,
	MOTE_GUEST_DISPATCH_NOT_SET = 6,
	MOTE_GUEST_OUTB_ERROR = 7,
	MOTE_GUEST_UNKNOWN_ERROR = 8,
	MOTE_GUEST_STACK_COOKIE = 10,
	MOTE_GUEST_TOO_MANY_FUNCTIONS = 11,
	MOTE_GUEST_ALLOCATOR_FAILED = 12,
	MOTE_GUEST_MALLOC_FAILED = 13,
	MOTE_GUEST_PARAMETER_TYPE = 14,
	MOTE_GUEST_ERROR = 15,
	MOTE_GUEST_ARRAY_LENGTH_MISSING = 16,
	MOTE_GUEST_HOST_FUNCTION_ERROR = 17,
};

/** Levels of a guest's log records, as both sides use them; 0 switches logging off. */
enum mote_log_level {
	MOTE_LOG_OFF = 0,
	MOTE_LOG_ERROR = 1,
	MOTE_LOG_WARN = 2,
	MOTE_LOG_INFO = 3,
	MOTE_LOG_DEBUG = 4,
	MOTE_LOG_TRACE = 5,
};

/* ---- Confined guests: what image, guest runtime and host agree on ---------------------------- */

/*
 * ELF note of an image that wants to be confined: section and PT_NOTE ".note.mote", aligned 8, name
 * "mote", type 1, this descriptor (little-endian). Addresses are relative to the image's base. It
 * asks, it proves nothing: a host checks all of it.
 */
#define MOTE_ABI_NOTE_NAME    "mote"
#define MOTE_ABI_NOTE_TYPE    1u
#define MOTE_ABI_NOTE_VERSION 1u

enum mote_abi_note_bit {
	MOTE_ABI_RING3 = 1u << 0,        /* runs in ring 3 under the host's own ring-0 code */
	MOTE_ABI_DEMAND_ZERO = 1u << 1,  /* heap and stack pages appear when touched */
	MOTE_ABI_LARGE_LEAVES = 1u << 2, /* understands large pages in its tables */
};

struct mote_abi_note {
	uint32_t version;  /* MOTE_ABI_NOTE_VERSION */
	uint32_t size;     /* of this descriptor */
	uint64_t required; /* a host that does not know one of these bits refuses the image */
	uint64_t optional;
	uint32_t family;   /* 0: S */
	uint32_t baseline; /* processor: x86-64-v1 to v4 as 1 to 4 */
	uint64_t stack_bytes;
	uint64_t entry;           /* initialise: see struct mote_abi_run_info */
	uint64_t dispatch;        /* each call */
	uint64_t syscall_handler; /* SYSCALL continues here, in ring 3; 0: none */
	uint64_t exports;         /* a struct mote_abi_table, or 0 */
	uint64_t imports;         /* a struct mote_abi_table, or 0 */
};

/** Entries [first, end) of struct mote_abi_function, as guest virtual addresses (relocated). */
struct mote_abi_table {
	uint64_t first, end;
};

#define MOTE_ABI_MAX_PARAMETERS 32
#define MOTE_ABI_MAX_NAME_BYTES 255

/** A function that a guest exports or imports. */
struct mote_abi_function {
	uint64_t name;       /* guest virtual address of name_bytes bytes, NUL behind */
	uint64_t target;     /* the runtime's own: what runs when it is called */
	uint32_t name_bytes; /* 1 to MOTE_ABI_MAX_NAME_BYTES */
	uint8_t result;      /* enum mote_type */
	uint8_t parameter_count;
	uint8_t reserved[2];                         /* zero */
	uint8_t parameters[MOTE_ABI_MAX_PARAMETERS]; /* enum mote_type */
	uint64_t reserved2;                          /* zero */
};

/*
 * Entry protocol of a confined guest (ring 3, RSP = top of the stack, 16-byte aligned, nothing
 * pushed, RFLAGS = 2, x87 and vector state initial, other registers zero):
 *
 *   initialise at note.entry:  RDI = PEB, RSI = random seed, RDX = host page size, RCX = most
 *                              verbose log level, R8 = run info
 *   call at note.dispatch:     RDI = the encoded call in the input buffer (at its size prefix),
 *                              RSI = its bytes with the prefix, R8 = run info
 *
 * Both end with an OUT to MOTE_ABI_PORT_HALT. The input buffer is read-only for the guest: the host
 * pops it. The guest sets the output buffer's stack pointer itself when it starts to push.
 */
#define MOTE_ABI_PORT_LOG   99u
#define MOTE_ABI_PORT_CALL  101u
#define MOTE_ABI_PORT_ABORT 102u
#define MOTE_ABI_PORT_PRINT 103u
#define MOTE_ABI_PORT_HALT  108u

/** A read-only page of every confined guest, written by the host before each start. */
struct mote_abi_run_info {
	uint64_t syscall_handler; /* where SYSCALL continues; the return address is at syscall_word
				   */
	uint64_t syscall_word;    /* address of the u64 that holds RCX of the last SYSCALL */
	uint64_t generation;      /* another number after every restore and fork */
	uint8_t random[32];       /* other bytes after every restore and fork */
	uint64_t tsc;             /* time stamp counter when the clocks below were read */
	uint64_t realtime_ns;     /* since 1970 */
	uint64_t monotonic_ns;
	uint64_t tsc_to_ns; /* ns = (ticks * tsc_to_ns) >> 32; 0: no counter, clocks stand still */
	uint32_t log_level; /* enum mote_log_level, most verbose that is wanted */
	uint32_t features;  /* bit 0: FSGSBASE may be used */
	uint64_t stack_first, stack_top; /* the stack is [stack_first, stack_top) */
	uint64_t heap_first, heap_bytes;
	uint64_t input, input_bytes; /* buffers, guest virtual addresses */
	uint64_t output, output_bytes;
	uint64_t init_data, init_data_bytes;
};

/** Process environment block of family S. */
struct mote_abi_peb {
	uint64_t input_bytes, input;
	uint64_t output_bytes, output;
	uint64_t init_data_bytes, init_data;
	uint64_t heap_bytes, heap;
};

#ifdef __cplusplus
}
#endif

#endif /* MOTE_ABI_H */
