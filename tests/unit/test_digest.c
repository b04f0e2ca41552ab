/* SPDX-License-Identifier: MIT */
/* SHA-256: the examples that NIST publishes with FIPS 180-4, and the stream against the whole. */
#include "base/digest.h"

#include <stdio.h>

#include "check.h"

struct hex {
	char text[2 * MOTE_DIGEST_BYTES + 1];
};

static struct hex final(struct mote__digest *digest)
{
	uint8_t bytes[MOTE_DIGEST_BYTES];
	struct hex hex;
	mote__digest_final(digest, bytes);
	for (size_t i = 0; i < sizeof bytes; i++)
		snprintf(hex.text + 2 * i, 3, "%02x", bytes[i]);
	return hex;
}

static struct hex digest_of(const void *data, size_t len)
{
	struct mote__digest digest;
	mote__digest_init(&digest);
	mote__digest_update(&digest, data, len);
	return final(&digest);
}

TEST(digest__is_the_published_one)
{
	static const struct {
		const char *text, *digest;
	} known[] = {
		{"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
		{"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
		{"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
		 "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
		{"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopq"
		 "klmnopqrlmnopqrsmnopqrstnopqrstu",
		 "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
	};
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		CHECK_STR(digest_of(known[i].text, strlen(known[i].text)).text, known[i].digest);
}

TEST(digest__of_a_million_letters_is_the_published_one)
{
	char letters[1000];
	memset(letters, 'a', sizeof letters);
	struct mote__digest digest;
	mote__digest_init(&digest);
	for (int i = 0; i < 1000; i++)
		mote__digest_update(&digest, letters, sizeof letters);
	CHECK_STR(final(&digest).text,
		  "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(digest__does_not_depend_on_the_pieces)
{
	uint8_t data[300];
	uint64_t seed = 0xd19e57;
	check_note("seed %#llx", (unsigned long long)seed);
	for (size_t i = 0; i < sizeof data; i++)
		data[i] = (uint8_t)check_random(&seed);
	for (size_t len = 0; len <= sizeof data; len++) {
		struct mote__digest digest;
		mote__digest_init(&digest);
		for (size_t at = 0; at < len;) {
			size_t piece = check_random(&seed) % 130;
			piece = piece < len - at ? piece : len - at;
			mote__digest_update(&digest, data + at, piece);
			at += piece;
		}
		CHECK_STR(final(&digest).text, digest_of(data, len).text);
	}
}

TEST(digest__is_a_value_and_starts_anew_after_the_end)
{
	struct mote__digest digest, copy;
	mote__digest_init(&digest);
	mote__digest_update(&digest, "ab", 2);
	mote__digest_update(&digest, NULL, 0);
	copy = digest;
	mote__digest_update(&digest, "c", 1);
	mote__digest_update(&copy, "x", 1);
	CHECK_STR(final(&digest).text, digest_of("abc", 3).text);
	CHECK_STR(final(&copy).text, digest_of("abx", 3).text);
	mote__digest_update(&digest, "abc", 3);
	CHECK_STR(final(&digest).text, digest_of("abc", 3).text);
}
