/* SPDX-License-Identifier: MIT */
/*
 * Messages as large as the buffers to and from a guest that was built with the published 0.15 guest
 * crates: the longest that fits arrives whole, and one byte more is refused by whoever pushes it.
 */
#include "rust_calls.h"

#include <stdio.h>

static char data[0x10000];
static size_t answer_bytes; /* of host_sized */

/* Room for messages as large as buffers can be: the guest copies them a few times. */
#define LARGE .snapshot.scratch_bytes = 0x200000, .snapshot.heap_bytes = 0x80000

static void fill_data(void)
{
	for (size_t i = 0; i < sizeof data; i++)
		data[i] = (char)('a' + i % 25);
}

/* Make one call with len bytes or characters. */
static int call_with(struct rust *r, const char *name, uint32_t type, uint32_t result, size_t len,
		     struct mote_value *value)
{
	const struct mote_value argument =
		type == MOTE_STRING ? mote_string_of(data, len) : mote_bytes(data, len);
	return MOTE_CALL(r->s.sandbox, name, value, &r->s.err, result, argument);
}

/* The longest argument that fits: it comes back whole, and one more is refused before the guest
 * runs. Returns its length. */
static size_t largest_argument(struct rust *r, const char *name, uint32_t type, size_t buffer)
{
	struct system *s = &r->s;
	struct mote_value back;
	unsigned required = 0, available = 0;
	size_t len = buffer;
	const uint64_t entries = system_statistics(s).vm_entries;
	int rc;
	while ((rc = call_with(r, name, type, type, len, &back)) == MOTE_ETOOBIG) {
		const char *text = strstr(s->err.message, "Not enough space");
		CHECK(text);
		CHECK_EQ(sscanf(text,
				"Not enough space in buffer to push data. Required: %u, "
				"Available: %u",
				&required, &available),
			 2);
		CHECK_EQ(s->err.category, MOTE_CATEGORY_CALLER);
		CHECK_EQ(s->err.poisoned, 0);
		CHECK_EQ(available, buffer - 8);
		CHECK(required > available);
		CHECK_EQ(system_statistics(s).vm_entries, entries);
		CHECK_EQ(mote_sandbox_state(s->sandbox), MOTE_STATE_READY);
		len--;
	}
	CHECK_EQ(rc, MOTE_OK);
	CHECK_EQ(back.bytes.len, len);
	CHECK_MEM(back.bytes.data, data, len);
	/* Padded to words, so within eight bytes of the end. */
	CHECK(required - available <= 8);
	return len;
}

TEST(interop_limits__the_largest_argument_fits_and_one_byte_more_is_refused)
{
	struct rust r;
	fill_data();
	RUST(&r, LARGE);
	check_note("bytes: %zu of 16384", largest_argument(&r, "EchoBytes", MOTE_BYTES, 0x4000));
	rust_close(&r);
	RUST(&r, LARGE);
	check_note("string: %zu of 16384", largest_argument(&r, "EchoString", MOTE_STRING, 0x4000));
	rust_close(&r);
	RUST(&r, LARGE, .snapshot.input_bytes = 0x2000);
	check_note("bytes: %zu of 8192", largest_argument(&r, "EchoBytes", MOTE_BYTES, 0x2000));
	rust_close(&r);
}

/* len bytes or characters fit the guest's answer, one more does not: it panics. */
static void check_largest_result(struct rust *r, const char *name, uint32_t type, size_t len)
{
	struct system *s = &r->s;
	struct mote_value back = CALL(s, type, name, mote_i32((int32_t)len));
	CHECK_EQ(back.bytes.len, len);
	for (size_t i = 0; i < len; i++)
		CHECK_EQ(((const uint8_t *)back.bytes.data)[i],
			 type == MOTE_STRING ? 'x' : (uint8_t)(i * 7));
	ENDS_WITH(r,
		  (&(const struct ends){.code = MOTE_EABORT,
					.text = "Guest aborted: 8 ",
					.guest_code = 8,
					.poisons = 1}),
		  type, name, mote_i32((int32_t)len + 1));
	CHECK_HAS(s->err.message, "Not enough space in shared output buffer. Required: ");
}

TEST(interop_limits__the_largest_result_fits_and_one_byte_more_is_a_panic)
{
	struct rust r;
	/* Overhead of the guest's encoder, as in the ABI's golden vectors. */
	RUST(&r, LARGE);
	check_largest_result(&r, "BytesOf", MOTE_BYTES, 0x4000 - 16 - 64);
	check_largest_result(&r, "StringOf", MOTE_STRING, 0x4000 - 16 - 68 - 1);
	rust_close(&r);
	RUST(&r, LARGE, .snapshot.output_bytes = 0x2000);
	check_largest_result(&r, "BytesOf", MOTE_BYTES, 0x2000 - 16 - 64);
	rust_close(&r);
}

TEST(interop_limits__a_host_call_that_does_not_fit_the_output_is_the_guests_error)
{
	struct rust r;
	struct mote_value back;
	fill_data();
	RUST(&r, LARGE, .snapshot.input_bytes = 0x8000);
	CHECK_EQ(call_with(&r, "LengthOf", MOTE_BYTES, MOTE_I32, 20000, &back), MOTE_OK);
	CHECK_EQ(back.i32, 20000);
	GUEST_ERROR(&r, 15,
		    "Guest error occurred GuestError: Not enough space in shared output "
		    "buffer. Required: ",
		    MOTE_BYTES, "CallEchoBytes", mote_bytes(data, 0x4000));
	CHECK_EQ(system_statistics(&r.s).exits_call, 0);
	rust_close(&r);
}

static int host_sized(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	(void)cookie;
	(void)arguments;
	return mote_reply_bytes(reply, data, answer_bytes);
}

static void add_sized(mote_host *host)
{
	struct mote_error err;
	CHECK(MOTE_HOST_ADD(host, "HostEchoBytes", host_sized, NULL, &err, MOTE_BYTES,
			    MOTE_BYTES) == MOTE_OK);
}

TEST(interop_limits__the_largest_answer_of_a_host_function_fits_and_a_larger_one_is_an_error)
{
	struct rust r;
	struct mote_value back;
	size_t fits = 0x3F00;
	fill_data();
	OPEN(&r.s, rust_name(), .add = add_sized, .snapshot.output_bytes = 0x8000, LARGE);
	rust_ready(&r);
	for (size_t step = 0x80; step; step /= 2) {
		answer_bytes = fits + step;
		int rc = call_with(&r, "CallEchoBytes", MOTE_BYTES, MOTE_BYTES, 1, &back);
		if (rc == MOTE_OK) {
			fits = answer_bytes;
			CHECK_EQ(back.bytes.len, fits);
			CHECK_MEM(back.bytes.data, data, fits);
			continue;
		}
		CHECK_EQ(rc, MOTE_EGUEST);
		CHECK_EQ(r.s.err.guest_code, MOTE_GUEST_HOST_FUNCTION_ERROR);
		CHECK_HAS(r.s.err.message,
			  "the answer of host function HostEchoBytes does not fit: Required: ");
		CHECK_EQ(r.s.err.poisoned, 0);
	}
	check_note("answer: %zu of 16384", fits);
	CHECK(fits > 0x3F80);
	CHECK_EQ(CALL_I32(&r.s, "EchoInt", mote_i32(5)), 5);
	rust_close(&r);
}
