/* SPDX-License-Identifier: MIT */
/*
 * The state of an x86-64 virtual processor as the library speaks of it, and the fixed states of the
 * ABI. Knows nothing of a hypervisor's own structures.
 */
#ifndef MOTE_CORE_VCPU_H
#define MOTE_CORE_VCPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mote.h>

#include "core/page_table.h"

struct mote__general {
	uint64_t rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp;
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
	uint64_t rip, rflags;
};

/** Neither struct has gaps, so that two can be compared as bytes. */
struct mote__segment {
	uint64_t base;
	uint32_t limit;
	uint16_t selector;
	uint8_t type, present, dpl, db, s, l, g, unusable;
	uint8_t reserved[2];
};

struct mote__special {
	struct mote__segment cs, ds, es, fs, gs, ss, tr, ldt;
	uint64_t gdt_base, idt_base;
	uint16_t gdt_limit, idt_limit;
	uint32_t reserved;
	uint64_t cr0, cr2, cr3, cr4, efer;
};

struct mote__msr {
	uint32_t index;
	uint64_t value;
};

#define MOTE__MSRS_MAX 24

/** Model-specific registers that a start or a reset writes, or that a snapshot keeps. */
struct mote__msr_list {
	uint32_t count;
	struct mote__msr msr[MOTE__MSRS_MAX];
};

#define MOTE__CR4_FSGSBASE (1u << 16)
#define MOTE__CR4_UMIP     (1u << 11)

/** Special registers of a stock guest of family S, of 64 or 32 bits, at its creation. */
void mote__special_stock(struct mote__special *special, uint32_t bits, uint64_t root_gpa);

/** How a processor in this state reads page tables, which must be as a guest of 64 or 32 bits has
 * them (4 levels; 2 levels of 4 bytes). NULL: in another way. */
const struct mote__pt_format *mote__special_format(const struct mote__special *special,
						   uint32_t bits);

/** Refuse registers of a stock guest of 64 or 32 bits that no such guest has; hostile, but for cr3,
 * which is not looked at. MOTE_ESTORE: the message names register and value. */
int mote__special_check(const struct mote__special *special, uint32_t bits, struct mote_error *err);
/** The same for what a confined guest can set. */
int mote__special_check_bases(uint64_t fs_base, uint64_t gs_base, struct mote_error *err);

/** Special registers of a confined guest: ring 3, the library's descriptor tables. cr4_extra: of
 * the bits above, those that the processor has. is_emulated: the processor under the hypervisor is
 * emulated and wants the task register's type to be "available". */
void mote__special_confined(struct mote__special *special, uint64_t root_gpa, uint64_t cr4_extra,
			    bool is_emulated);

/** Where SYSCALL goes in a confined guest. */
void mote__msrs_confined(struct mote__msr_list *list);

/** What a reset must write although the guest was denied every model-specific register: those that
 * instructions other than WRMSR change (SWAPGS exchanges KERNEL_GS_BASE), at the values of a new
 * machine; of a confined guest also where SYSCALL goes. FS and GS base, which guests may write, are
 * special registers. */
void mote__msrs_reset(struct mote__msr_list *list, bool is_confined);

#endif
