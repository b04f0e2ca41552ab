/* SPDX-License-Identifier: MIT */
/* What the two parts of the guest i686_kernel share. */
#ifndef MOTE_TESTS_I686_KERNEL_H
#define MOTE_TESTS_I686_KERNEL_H

#include <stdint.h>

#include "i686_probe.h"
#include "stock_message.h"

struct frame {
	uint32_t edi, esi, ebp, esp, ebx, edx, ecx, eax;
	uint32_t vector, code, eip, cs, eflags, user_esp, user_ss;
};

/* A page of scratch that nobody has, zero. */
uint32_t new_page(void);

/* A page of scratch, by any physical address in it. */
static inline uint32_t *words(uint32_t gpa)
{
	return (uint32_t *)((gpa & 0xFFFFF000) + (uint32_t)LINEAR);
}

_Noreturn void probe_exception(const struct frame *frame, uint32_t gva);
void probe_system(uint32_t to[I686_SYSTEM_COUNT]);
/* Functions that end the call by themselves; others return. */
void probe_end(const struct peb *peb, uint32_t op, const uint64_t *a);
uint64_t probe_operation(const struct peb *peb, uint32_t op, const uint64_t *a);

#endif
