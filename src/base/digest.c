/* SPDX-License-Identifier: MIT */
#include "base/digest.h"

#include <nettle/version.h>
#include <string.h>

_Static_assert(MOTE_DIGEST_BYTES == SHA256_DIGEST_SIZE, "a digest is a whole SHA-256");

void mote__digest_init(struct mote__digest *digest)
{
	sha256_init(&digest->sha256);
}

void mote__digest_update(struct mote__digest *digest, const void *data, size_t len)
{
	if (len)
		sha256_update(&digest->sha256, len, data);
}

void mote__digest_final(struct mote__digest *digest, uint8_t result[MOTE_DIGEST_BYTES])
{
	/* MemorySanitizer does not see what nettle writes, only this. */
	memset(result, 0, MOTE_DIGEST_BYTES);
#if NETTLE_VERSION_MAJOR < 4
	sha256_digest(&digest->sha256, MOTE_DIGEST_BYTES, result);
#else
	sha256_digest(&digest->sha256, result);
#endif
}
