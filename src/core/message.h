/* SPDX-License-Identifier: MIT */
/*
 * The messages of the call protocol: function calls, their results, and log records of a guest.
 *
 * A message is a FlatBuffer behind a u32 that counts the bytes after it; alignment counts from that
 * prefix, wherever it lies in memory. Encoding writes once, front to back, and never reads what it
 * wrote. Decoding verifies all that it will use, then yields views into the message, which must be
 * private memory. No allocation and no floating-point registers: guests compile the same files.
 */
#ifndef MOTE_CORE_MESSAGE_H
#define MOTE_CORE_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mote_abi.h>

/** Most parameters of a call. */
#define MOTE__MESSAGE_PARAMETERS_MAX 32u
/** Most bytes of a message: its lengths are signed 32-bit numbers on the wire. */
#define MOTE__MESSAGE_BYTES_MAX INT32_MAX

enum mote__message_code {
	MOTE__MESSAGE_OK = 0,
	/* encoding */
	MOTE__MESSAGE_TOO_BIG = -1, /* more bytes than the buffer, or the format, holds */
	MOTE__MESSAGE_VALUE = -2,   /* not a type that can be sent here, or an unknown level */
	/* encoding and decoding */
	MOTE__MESSAGE_PARAMETERS = -3, /* more than MOTE__MESSAGE_PARAMETERS_MAX */
	/* decoding */
	MOTE__MESSAGE_BOUNDS = -4,    /* something lies outside the message */
	MOTE__MESSAGE_ALIGNMENT = -5, /* something is not aligned, counted from the prefix */
	MOTE__MESSAGE_OFFSET = -6,    /* an offset is 0 */
	MOTE__MESSAGE_VTABLE = -7,    /* the length of a vtable is odd or below 4 */
	MOTE__MESSAGE_MISSING = -8,   /* a required field is absent */
	MOTE__MESSAGE_NO_NUL = -9,    /* a string has no NUL behind it */
	MOTE__MESSAGE_UTF8 = -10,     /* a string is not UTF-8 */
	MOTE__MESSAGE_APPARENT = -11, /* shared parts make it look bigger than 2 GiB */
	MOTE__MESSAGE_KIND = -12,     /* a call is neither of a guest nor of a host function */
	MOTE__MESSAGE_TYPE = -13,     /* an unknown expected result type */
	MOTE__MESSAGE_TAG = -14,      /* an unknown kind of value or result */
	MOTE__MESSAGE_LEVEL = -15,    /* an unknown log level */
};

enum mote__call_kind {
	MOTE__CALL_GUEST = 1, /* of a function of the guest, by the host */
	MOTE__CALL_HOST = 2,  /* of a function of the host, by the guest */
};

/** A decoded call. Everything points into the message. */
struct mote__call_view {
	struct mote_string name;
	uint32_t kind;             /* enum mote__call_kind */
	uint32_t result;           /* enum mote_type that the caller expects */
	uint32_t count;            /* parameters */
	const uint8_t *parameters; /* for mote__message_parameter */
};

/** A decoded result. */
struct mote__result_view {
	bool is_error;
	struct mote_value value;    /* unless is_error */
	uint64_t code;              /* if is_error: enum mote_guest_code or another number */
	struct mote_string message; /* if is_error; may be empty, never NULL */
};

struct mote__log_record {
	uint32_t level; /* enum mote_log_level, not MOTE_LOG_OFF */
	uint32_t line;
	struct mote_string message;
	struct mote_string source; /* the module that logged */
	struct mote_string caller;
	struct mote_string file;
};

/** What a code means: one line, never NULL. */
const char *mote__message_describe(int code);

/*
 * Encoding. dst may have any alignment; nothing outside [dst, dst + returned) is written, and
 * nothing at all on failure. Returns the bytes of the message, a multiple of 8, or a negative code.
 * Strings need not be followed by a NUL here; that they are UTF-8 is the caller's duty (the other
 * side refuses the message).
 */

/** Exact bytes of a call, or MESSAGE_VALUE, _PARAMETERS, or _TOO_BIG for a length above 2 GiB. */
int64_t mote__message_call_bytes(struct mote_string name, const struct mote_value *parameters,
				 uint32_t count);
/** Exact bytes of a result, or a code as above. */
int64_t mote__message_result_bytes(const struct mote_value *value);

/** kind: enum mote__call_kind; result: enum mote_type; a parameter is of any type but void. */
int64_t mote__message_encode_call(void *dst, size_t cap, uint32_t kind, struct mote_string name,
				  uint32_t result, const struct mote_value *parameters,
				  uint32_t count);
int64_t mote__message_encode_result(void *dst, size_t cap, const struct mote_value *value);
int64_t mote__message_encode_error(void *dst, size_t cap, uint64_t code, const char *message,
				   size_t len);
int64_t mote__message_encode_log(void *dst, size_t cap, const struct mote__log_record *record);

/**
 * Where to write the payload of a string or bytes result in place, with the room for it in *max.
 * NULL if type is another one or not even an empty payload fits.
 */
void *mote__message_result_room(void *dst, size_t cap, uint32_t type, size_t *max);
/** Build the message around len bytes written there, len at most *max. Returns its bytes. */
int64_t mote__message_result_finish(void *dst, uint32_t type, size_t len);

/*
 * Decoding of hostile bytes. *out is written only on success, except for MESSAGE_PARAMETERS, where
 * name, kind, result and count are right and parameters is NULL. The value of the prefix and bytes
 * behind the message do not matter. Strings are UTF-8, may hold NULs, and are followed by one.
 */
int mote__message_decode_call(const void *message, size_t len, struct mote__call_view *out);
int mote__message_decode_result(const void *message, size_t len, struct mote__result_view *out);
int mote__message_decode_log(const void *message, size_t len, struct mote__log_record *out);

/** Parameter number i, below call->count. MESSAGE_TAG only if the message was not verified. */
int mote__message_parameter(const struct mote__call_view *call, uint32_t i, struct mote_value *out);
/** All call->count of them. */
int mote__message_parameters(const struct mote__call_view *call, struct mote_value *out);

/*
 * The same without verification, for a guest, which has to trust its host anyway. Unknown numbers
 * and too many parameters are still refused. A guest that links only these needs no decoder.
 */
int mote__message_view_call(const void *message, struct mote__call_view *out);
int mote__message_view_result(const void *message, struct mote__result_view *out);
int mote__message_view_log(const void *message, struct mote__log_record *out);

#endif
