/* SPDX-License-Identifier: MIT */
/* Names of a processor's features: sorted, each one bit, and those that CPUID shows. */
#include "base/processor.h"

#include "check.h"

static size_t count(const struct mote__processor *processor)
{
	size_t set = 0;
	bool bit;
	for (size_t i = 0; mote__processor_name(processor, i, &bit); i++)
		set += bit;
	return set;
}

static bool has(const struct mote__processor *processor, const char *name)
{
	bool bit;
	const char *at;
	for (size_t i = 0; (at = mote__processor_name(processor, i, &bit)); i++)
		if (strcmp(at, name) == 0)
			return bit;
	check_failed(__FILE__, __LINE__, "no feature %s", name);
}

TEST(processor__names_ascend)
{
	const struct mote__processor none = {{0}};
	const char *last = "", *name;
	bool bit = true;
	size_t names = 0;
	for (; (name = mote__processor_name(&none, names, &bit)); names++, last = name) {
		CHECK(strcmp(last, name) < 0);
		CHECK(!bit);
	}
	CHECK(names > 50);
	CHECK(!mote__processor_name(&none, SIZE_MAX, &bit));
}

TEST(processor__each_name_is_one_bit_of_its_own)
{
	struct mote__processor all = {{0}};
	const char *name;
	bool bit;
	for (size_t i = 0; (name = mote__processor_name(&all, i, &bit)); i++) {
		struct mote__processor one = {{0}};
		CHECK(!bit);
		CHECK(mote__processor_set(&one, name));
		CHECK(has(&one, name));
		CHECK_EQ(count(&one), 1);
		CHECK(mote__processor_set(&all, name));
	}
	CHECK(!mote__processor_set(&all, "") && !mote__processor_set(&all, "avx3"));
	CHECK(!mote__processor_set(&all, "AVX") && !mote__processor_set(&all, "avx "));
}

TEST(processor__answers_of_cpuid_are_taken_over)
{
	struct mote__processor p = {{0}};
	mote__processor_add(&p, 1, (const uint32_t[]){~0u, ~0u, 1u << 9, 1u << 26});
	CHECK_EQ(count(&p), 2);
	CHECK(has(&p, "ssse3") && has(&p, "sse2"));
	mote__processor_add(&p, 7, (const uint32_t[]){~0u, 1u << 5, 1u << 9, 1u << 4});
	CHECK(has(&p, "avx2") && has(&p, "vaes") && has(&p, "fsrm"));
	mote__processor_add(&p, 0x80000001, (const uint32_t[]){~0u, ~0u, 1u << 5, ~0u});
	CHECK(has(&p, "lzcnt"));
	CHECK_EQ(count(&p), 6);
	mote__processor_add(&p, 0xD, (const uint32_t[]){~0u, ~0u, ~0u, ~0u});
	mote__processor_add(&p, 0, (const uint32_t[]){~0u, ~0u, ~0u, ~0u});
	CHECK_EQ(count(&p), 6);
}

TEST(processor__bits_without_a_name_are_left_out)
{
	struct mote__processor all = {{0}}, named = {{0}};
	const uint32_t ones[4] = {~0u, ~0u, ~0u, ~0u};
	const char *name;
	bool bit;
	mote__processor_add(&all, 1, ones);
	mote__processor_add(&all, 7, ones);
	mote__processor_add(&all, 0x80000001, ones);
	for (size_t i = 0; (name = mote__processor_name(&all, i, &bit)); i++) {
		CHECK(bit);
		CHECK(mote__processor_set(&named, name));
	}
	CHECK_MEM(&all, &named, sizeof all);
}

TEST(processor__this_one_is_what_the_compiler_finds)
{
	struct mote__processor p;
	mote__processor_read(&p);
	CHECK(has(&p, "sse2") && has(&p, "cmov") && has(&p, "fxsr"));
	CHECK_EQ(has(&p, "sse4.2"), !!__builtin_cpu_supports("sse4.2"));
	CHECK_EQ(has(&p, "popcnt"), !!__builtin_cpu_supports("popcnt"));
	CHECK_EQ(has(&p, "bmi2"), !!__builtin_cpu_supports("bmi2"));
	uint32_t level = mote__processor_level();
	CHECK(level == 1 || (level == 2 && has(&p, "ssse3") && has(&p, "popcnt")));
}
