/* SPDX-License-Identifier: MIT */
/*
 * Features of a processor that a program can find out about and use: bits of CPUID that name
 * instructions (Intel SDM volume 2A, CPUID; AMD64 APM volume 3, appendix E). Snapshots record those
 * that their guest could see.
 */
#ifndef MOTE_BASE_PROCESSOR_H
#define MOTE_BASE_PROCESSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Words of a set, in this order: CPUID leaf 1 ECX and EDX; leaf 7 EBX, ECX and EDX; leaf
 * 0x80000001 ECX. Bits without a name are left out. */
#define MOTE__PROCESSOR_WORDS 6u

struct mote__processor {
	uint32_t word[MOTE__PROCESSOR_WORDS];
};

/** What CPUID of this machine says. */
void mote__processor_read(struct mote__processor *processor);
/** Take over one CPUID answer: registers EAX, EBX, ECX, EDX of a leaf (sub-leaf 0); others than
 * those above are ignored. */
void mote__processor_add(struct mote__processor *processor, uint32_t leaf,
			 const uint32_t registers[4]);
/** The name of a feature, such as "avx2"; NULL when number is not below the number of names. *bit:
 * whether processor has it. Numbers ascend from 0 without gaps, sorted by name. */
const char *mote__processor_name(const struct mote__processor *processor, size_t number, bool *bit);
/** Add the feature of that name; false: there is none. */
bool mote__processor_set(struct mote__processor *processor, const char *name);
/** The level of x86-64 (1 to 4) that guests can use here. Level 3 begins with AVX, which needs
 * CR4.OSXSAVE; that is never set for a guest, so it is 1 or 2. */
uint32_t mote__processor_level(void);

#endif
