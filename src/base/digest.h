/* SPDX-License-Identifier: MIT */
/*
 * SHA-256 (FIPS 180-4) over a stream of bytes, by nettle, which takes the processor's own
 * instructions where it has them. The state is a value: copying the struct copies the digest so
 * far, and there is nothing to free.
 */
#ifndef MOTE_BASE_DIGEST_H
#define MOTE_BASE_DIGEST_H

#include <mote.h>
#include <nettle/sha2.h>
#include <stddef.h>
#include <stdint.h>

struct mote__digest {
	struct sha256_ctx sha256;
};

void mote__digest_init(struct mote__digest *digest);
/** data may be NULL when len is 0. */
void mote__digest_update(struct mote__digest *digest, const void *data, size_t len);
/** Store the digest of all bytes so far. The struct is then as mote__digest_init() leaves it. */
void mote__digest_final(struct mote__digest *digest, uint8_t result[MOTE_DIGEST_BYTES]);

#endif
