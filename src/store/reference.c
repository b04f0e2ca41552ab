/* SPDX-License-Identifier: MIT */
#include "store/index.h"

#include "base/error.h"

#include <string.h>

#define PREFIX       "sha256:"
#define PREFIX_BYTES (sizeof PREFIX - 1)

static const char digits[] = "0123456789abcdef";

void mote__reference_print(const uint8_t digest[MOTE_DIGEST_BYTES], char text[MOTE_REFERENCE_BYTES])
{
	memcpy(text, PREFIX, PREFIX_BYTES);
	char *at = text + PREFIX_BYTES;
	for (size_t i = 0; i < MOTE_DIGEST_BYTES; i++) {
		*at++ = digits[digest[i] >> 4];
		*at++ = digits[digest[i] & 15];
	}
	*at = 0;
}

bool mote__reference_parse(const char *text, uint8_t digest[MOTE_DIGEST_BYTES])
{
	const size_t wanted = 2 * (size_t)MOTE_DIGEST_BYTES;
	if (strncmp(text, PREFIX, PREFIX_BYTES) != 0)
		return false;
	text += PREFIX_BYTES;
	if (strspn(text, digits) != wanted || text[wanted])
		return false;
	for (size_t i = 0; i < MOTE_DIGEST_BYTES; i++) {
		long high = strchr(digits, text[2 * i]) - digits;
		long low = strchr(digits, text[2 * i + 1]) - digits;
		digest[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

static bool is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_';
}

int mote__tag_check(const char *text, struct mote_error *err)
{
	size_t len = 0;
	while (len <= MOTE_MAX_TAG_BYTES && text[len] &&
	       (is_word(text[len]) || (len > 0 && (text[len] == '.' || text[len] == '-'))))
		len++;
	if (text[len] && len <= MOTE_MAX_TAG_BYTES)
		return mote__fail(err, MOTE_EINVAL,
				  "a tag is letters, digits and ._-, but not .- first: \"%s\"",
				  text);
	if (len == 0 || len > MOTE_MAX_TAG_BYTES)
		return mote__fail(err, MOTE_EINVAL, "a tag has 1 to %u bytes",
				  (unsigned)MOTE_MAX_TAG_BYTES);
	return MOTE_OK;
}

int mote__reference_check(const char *text, bool *is_digest, uint8_t digest[MOTE_DIGEST_BYTES],
			  struct mote_error *err)
{
	*is_digest = mote__reference_parse(text, digest);
	if (*is_digest)
		return MOTE_OK;
	if (strchr(text, ':'))
		return mote__fail(err, MOTE_EINVAL,
				  "a digest is \"sha256:\" and 64 lower-case hexadecimal digits: "
				  "\"%s\"",
				  text);
	return mote__tag_check(text, err);
}
