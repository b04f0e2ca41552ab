/* SPDX-License-Identifier: MIT */
#include "core/vcpu.h"

#include <string.h>

#include "core/confined.h"

#define CR0_ABI  0x80050033u /* PE MP ET NE WP AM PG */
#define CR4_ABI  0x620u      /* PAE OSFXSR OSXMMEXCPT */
#define EFER_ABI 0xD01u      /* SCE LME LMA NXE */

#define CR0_ABI_32 0x80010011u /* PE ET WP PG */

#define CR0_PG   0x80000000u
#define CR4_PSE  0x10u
#define CR4_PAE  0x20u
#define CR4_LA57 0x1000u
#define EFER_LMA 0x400u
#define EFER_NXE 0x800u

#define MSR_STAR  0xC0000081u
#define MSR_LSTAR 0xC0000082u
#define MSR_FMASK 0xC0000084u

#define MSR_KERNEL_GS_BASE 0xC0000102u

_Static_assert(sizeof(struct mote__segment) == 24 && sizeof(struct mote__special) == 256,
	       "no gaps");

/* A writable data segment of 4 GiB. */
static struct mote__segment flat(uint16_t selector, uint8_t dpl)
{
	return (struct mote__segment){.limit = 0xFFFFFFFF,
				      .selector = selector,
				      .type = 3,
				      .present = 1,
				      .dpl = dpl,
				      .db = 1,
				      .s = 1,
				      .g = 1};
}

static void special_32(struct mote__special *special, uint64_t root_gpa)
{
	const struct mote__segment data = flat(0x10, 0);
	struct mote__segment code = data;
	code.selector = 8;
	code.type = 0xB;
	*special = (struct mote__special){
		.cs = code,
		.ds = data,
		.es = data,
		.fs = data,
		.gs = data,
		.ss = data,
		.tr = {.limit = 0xFFFF, .type = 0xB, .present = 1},
		.ldt = {.unusable = 1},
		.cr0 = CR0_ABI_32,
		.cr3 = root_gpa,
	};
}

const struct mote__pt_format *mote__special_format(const struct mote__special *special,
						   uint32_t bits)
{
	bool is_long = special->efer & EFER_LMA, is_wide = special->cr4 & CR4_PAE;
	if (!(special->cr0 & CR0_PG) || is_long != (bits == 64) || is_wide != (bits == 64))
		return NULL;
	if (bits == 32)
		return special->cr4 & CR4_PSE ? &mote__pt_i686_large : &mote__pt_i686;
	if (special->cr4 & CR4_LA57 || !(special->efer & EFER_NXE))
		return NULL;
	return &mote__pt_x86_64;
}

void mote__special_stock(struct mote__special *special, uint32_t bits, uint64_t root_gpa)
{
	if (bits == 32) {
		special_32(special, root_gpa);
		return;
	}
	*special = (struct mote__special){
		.cs = {.type = 0xB, .present = 1, .s = 1, .l = 1},
		.ds = {.unusable = 1},
		.es = {.unusable = 1},
		.fs = {.unusable = 1},
		.gs = {.unusable = 1},
		.ss = {.unusable = 1},
		.tr = {.limit = 0xFFFF, .type = 0xB, .present = 1},
		.ldt = {.unusable = 1},
		.cr0 = CR0_ABI,
		.cr3 = root_gpa,
		.cr4 = CR4_ABI,
		.efer = EFER_ABI,
	};
}

void mote__special_confined(struct mote__special *special, uint64_t root_gpa, uint64_t cr4_extra,
			    bool is_emulated)
{
	const struct mote__segment data = flat(MOTE__SS3, 3);
	struct mote__segment code = data;
	code.selector = MOTE__CS3;
	code.type = 0xB;
	code.db = 0;
	code.l = 1;
	*special = (struct mote__special){
		.cs = code,
		.ds = data,
		.es = data,
		.fs = data,
		.gs = data,
		.ss = data,
		.tr = {.base = MOTE__PAGE_GVA(MOTE__SYSTEM_TABLE_PAGE) + MOTE__TSS_OFFSET,
		       .limit = MOTE__TSS_LIMIT,
		       .selector = MOTE__TR,
		       .type = is_emulated ? 9 : 11,
		       .present = 1},
		.ldt = {.unusable = 1},
		.gdt_base = MOTE__PAGE_GVA(MOTE__SYSTEM_TABLE_PAGE),
		.gdt_limit = MOTE__GDT_LIMIT,
		.idt_base = MOTE__PAGE_GVA(MOTE__SYSTEM_IDT_PAGE),
		.idt_limit = 0xFFF,
		.cr0 = CR0_ABI,
		.cr3 = root_gpa,
		.cr4 = CR4_ABI | cr4_extra,
		.efer = EFER_ABI,
	};
}

void mote__msrs_confined(struct mote__msr_list *list)
{
	*list = (struct mote__msr_list){
		.count = 3,
		.msr = {{MSR_STAR, 0x0023001000000000}, /* SYSRET base 0x23, SYSCALL base 0x10 */
			{MSR_LSTAR, MOTE__SYSCALL_GVA},
			{MSR_FMASK, 0x47700}}, /* AC NT IOPL DF IF TF */
	};
}

void mote__msrs_reset(struct mote__msr_list *list, bool is_confined)
{
	*list = (struct mote__msr_list){0};
	if (is_confined)
		mote__msrs_confined(list);
	list->msr[list->count++] = (struct mote__msr){MSR_KERNEL_GS_BASE, 0};
}
