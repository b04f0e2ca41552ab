/* SPDX-License-Identifier: MIT */
/*
 * Features of a processor by their names, which are those that Intel and AMD give to the bits, in
 * lower case. A bit gets a name when a program can use what it stands for; names never change their
 * meaning, since snapshots have them.
 */
#include "base/processor.h"

#include <cpuid.h>
#include <string.h>

enum word { LEAF1_ECX, LEAF1_EDX, LEAF7_EBX, LEAF7_ECX, LEAF7_EDX, EXT1_ECX };

_Static_assert(EXT1_ECX + 1 == MOTE__PROCESSOR_WORDS, "words of a set");

static const struct {
	char name[22];
	uint8_t word, bit;
} features[] = {
	/* By name, in the order of strcmp(). */
	{"adx", LEAF7_EBX, 19},
	{"aes", LEAF1_ECX, 25},
	{"amx-bf16", LEAF7_EDX, 22},
	{"amx-int8", LEAF7_EDX, 25},
	{"amx-tile", LEAF7_EDX, 24},
	{"avx", LEAF1_ECX, 28},
	{"avx2", LEAF7_EBX, 5},
	{"avx512-4fmaps", LEAF7_EDX, 3},
	{"avx512-4vnniw", LEAF7_EDX, 2},
	{"avx512-fp16", LEAF7_EDX, 23},
	{"avx512-vp2intersect", LEAF7_EDX, 8},
	{"avx512bitalg", LEAF7_ECX, 12},
	{"avx512bw", LEAF7_EBX, 30},
	{"avx512cd", LEAF7_EBX, 28},
	{"avx512dq", LEAF7_EBX, 17},
	{"avx512er", LEAF7_EBX, 27},
	{"avx512f", LEAF7_EBX, 16},
	{"avx512ifma", LEAF7_EBX, 21},
	{"avx512pf", LEAF7_EBX, 26},
	{"avx512vbmi", LEAF7_ECX, 1},
	{"avx512vbmi2", LEAF7_ECX, 6},
	{"avx512vl", LEAF7_EBX, 31},
	{"avx512vnni", LEAF7_ECX, 11},
	{"avx512vpopcntdq", LEAF7_ECX, 14},
	{"bmi1", LEAF7_EBX, 3},
	{"bmi2", LEAF7_EBX, 8},
	{"cldemote", LEAF7_ECX, 25},
	{"clflush", LEAF1_EDX, 19},
	{"clflushopt", LEAF7_EBX, 23},
	{"clwb", LEAF7_EBX, 24},
	{"cmov", LEAF1_EDX, 15},
	{"cx16", LEAF1_ECX, 13},
	{"cx8", LEAF1_EDX, 8},
	{"erms", LEAF7_EBX, 9},
	{"f16c", LEAF1_ECX, 29},
	{"fma", LEAF1_ECX, 12},
	{"fma4", EXT1_ECX, 16},
	{"fpu", LEAF1_EDX, 0},
	{"fsgsbase", LEAF7_EBX, 0},
	{"fsrm", LEAF7_EDX, 4},
	{"fxsr", LEAF1_EDX, 24},
	{"gfni", LEAF7_ECX, 8},
	{"hle", LEAF7_EBX, 4},
	{"lahf", EXT1_ECX, 0},
	{"lzcnt", EXT1_ECX, 5},
	{"misalignsse", EXT1_ECX, 7},
	{"mmx", LEAF1_EDX, 23},
	{"movbe", LEAF1_ECX, 22},
	{"movdir64b", LEAF7_ECX, 28},
	{"movdiri", LEAF7_ECX, 27},
	{"ospke", LEAF7_ECX, 4},
	{"osxsave", LEAF1_ECX, 27},
	{"pclmulqdq", LEAF1_ECX, 1},
	{"pku", LEAF7_ECX, 3},
	{"popcnt", LEAF1_ECX, 23},
	{"prefetchw", EXT1_ECX, 8},
	{"prefetchwt1", LEAF7_ECX, 0},
	{"rdpid", LEAF7_ECX, 22},
	{"rdrand", LEAF1_ECX, 30},
	{"rdseed", LEAF7_EBX, 18},
	{"rtm", LEAF7_EBX, 11},
	{"sep", LEAF1_EDX, 11},
	{"serialize", LEAF7_EDX, 14},
	{"sha", LEAF7_EBX, 29},
	{"sse", LEAF1_EDX, 25},
	{"sse2", LEAF1_EDX, 26},
	{"sse3", LEAF1_ECX, 0},
	{"sse4.1", LEAF1_ECX, 19},
	{"sse4.2", LEAF1_ECX, 20},
	{"sse4a", EXT1_ECX, 6},
	{"ssse3", LEAF1_ECX, 9},
	{"tbm", EXT1_ECX, 21},
	{"tsc", LEAF1_EDX, 4},
	{"tsxldtrk", LEAF7_EDX, 16},
	{"vaes", LEAF7_ECX, 9},
	{"vpclmulqdq", LEAF7_ECX, 10},
	{"waitpkg", LEAF7_ECX, 5},
	{"xop", EXT1_ECX, 11},
	{"xsave", LEAF1_ECX, 26},
};

#define FEATURES (sizeof features / sizeof *features)

static const struct {
	uint32_t leaf;
	uint32_t number; /* of the register: EAX, EBX, ECX, EDX */
} sources[MOTE__PROCESSOR_WORDS] = {
	[LEAF1_ECX] = {1, 2}, [LEAF1_EDX] = {1, 3}, [LEAF7_EBX] = {7, 1},
	[LEAF7_ECX] = {7, 2}, [LEAF7_EDX] = {7, 3}, [EXT1_ECX] = {0x80000001, 2},
};

static uint32_t named_bits(uint32_t word)
{
	uint32_t bits = 0;
	for (size_t i = 0; i < FEATURES; i++)
		if (features[i].word == word)
			bits |= 1u << features[i].bit;
	return bits;
}

void mote__processor_add(struct mote__processor *processor, uint32_t leaf,
			 const uint32_t registers[4])
{
	for (uint32_t i = 0; i < MOTE__PROCESSOR_WORDS; i++)
		if (sources[i].leaf == leaf)
			processor->word[i] |= registers[sources[i].number] & named_bits(i);
}

void mote__processor_read(struct mote__processor *processor)
{
	static const uint32_t leaves[] = {1, 7, 0x80000001};
	memset(processor, 0, sizeof *processor);
	for (size_t i = 0; i < sizeof leaves / sizeof *leaves; i++) {
		uint32_t r[4];
		if (__get_cpuid_count(leaves[i], 0, &r[0], &r[1], &r[2], &r[3]))
			mote__processor_add(processor, leaves[i], r);
	}
}

const char *mote__processor_name(const struct mote__processor *processor, size_t number, bool *bit)
{
	if (number >= FEATURES)
		return NULL;
	*bit = processor->word[features[number].word] >> features[number].bit & 1;
	return features[number].name;
}

bool mote__processor_set(struct mote__processor *processor, const char *name)
{
	for (size_t i = 0; i < FEATURES; i++)
		if (strcmp(features[i].name, name) == 0) {
			processor->word[features[i].word] |= 1u << features[i].bit;
			return true;
		}
	return false;
}

uint32_t mote__processor_level(void)
{
	bool has_2 = __builtin_cpu_supports("ssse3") && __builtin_cpu_supports("sse4.2") &&
		     __builtin_cpu_supports("popcnt");
	return has_2 ? 2 : 1;
}
