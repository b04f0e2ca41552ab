/* SPDX-License-Identifier: MIT */
/*
 * Fills every register that ring 3 reaches in one call and looks at them in the next; and jumps
 * into the library's own code in odd states. mask: state components that the processor has (XCR0).
 */
#include <mote_guest.h>

#include <stdint.h>

#define AVX      4u
#define AVX512   0xE0u
#define FILL_512 "vpternlogd $255, %%zmm1, %%zmm1, %%zmm"

static uint8_t fxsave_area[512] __attribute__((aligned(64)));
static uint8_t wide[32][64] __attribute__((aligned(64)));
static uint64_t masks[8];

/* Touched before, so that no fault comes between a fill and a look. */
void mote_guest_init(void)
{
	((volatile uint8_t *)fxsave_area)[0] = 0;
	((volatile uint8_t *)wide)[0] = ((volatile uint8_t *)wide)[sizeof wide - 1] = 0;
}

MOTE_EXPORT(void, fill, (uint64_t, mask))
{
	uint32_t control = 0xFFC0;
	__asm__ volatile(
		"fninit\n\tfldpi\n\tfldl2e\n\tfldl2t\n\tfldlg2\n\tfldln2\n\tfld1\n\tfldpi\n\t"
		"fldpi\n\tldmxcsr %0"
		:
		: "m"(control));
#define XMM(n) "pcmpeqd %%xmm" #n ", %%xmm" #n "\n\t"
	__asm__ volatile(XMM(0) XMM(1) XMM(2) XMM(3) XMM(4) XMM(5) XMM(6) XMM(7) XMM(8) XMM(9)
				 XMM(10) XMM(11) XMM(12) XMM(13) XMM(14) XMM(15) "" ::);
#define YMM(n) "vcmptrueps %%ymm" #n ", %%ymm" #n ", %%ymm" #n "\n\t"
	if (mask & AVX)
		__asm__ volatile(YMM(0) YMM(1) YMM(2) YMM(3) YMM(4) YMM(5) YMM(6) YMM(7) YMM(8) YMM(
			9) YMM(10) YMM(11) YMM(12) YMM(13) YMM(14) YMM(15) "" ::);
#define ZMM(n) FILL_512 #n "\n\t"
	if ((mask & AVX512) == AVX512)
		__asm__ volatile(
			ZMM(0) ZMM(1) ZMM(2) ZMM(3) ZMM(4) ZMM(5) ZMM(6) ZMM(7) ZMM(8) ZMM(9)
				ZMM(10) ZMM(11) ZMM(12) ZMM(13) ZMM(14) ZMM(15) ZMM(16) ZMM(17)
					ZMM(18) ZMM(19) ZMM(20) ZMM(21) ZMM(22) ZMM(23) ZMM(24)
						ZMM(25) ZMM(26) ZMM(27) ZMM(28) ZMM(29) ZMM(30)
							ZMM(31) "kxnorw %%k1, %%k1, %%k1\n\tkxnorw "
								"%%k7, %%k7, %%k7" ::);
	if (mask & 0x200) /* protection keys */
		__asm__ volatile("wrpkru" : : "a"(0x55555554), "c"(0), "d"(0));
}

MOTE_EXPORT(struct mote_bytes, legacy)
{
	__asm__ volatile("fxsave64 %0" : "=m"(fxsave_area));
	return (struct mote_bytes){fxsave_area, sizeof fxsave_area};
}

/* Registers of 64 bytes each, as far as the mask reaches; the rest reads as zero. */
MOTE_EXPORT(struct mote_bytes, vectors, (uint64_t, mask))
{
#define STORE_YMM(n) "vmovdqu %%ymm" #n ", " #n "*64(%0)\n\t"
#define STORE_ZMM(n) "vmovdqu64 %%zmm" #n ", " #n "*64(%0)\n\t"
	uint64_t *at = (uint64_t *)wide;
	if ((mask & AVX512) == AVX512) {
		__asm__ volatile(
			STORE_ZMM(0) STORE_ZMM(1) STORE_ZMM(2) STORE_ZMM(3) STORE_ZMM(4) STORE_ZMM(
				5) STORE_ZMM(6) STORE_ZMM(7) STORE_ZMM(8) STORE_ZMM(9) STORE_ZMM(10)
				STORE_ZMM(11) STORE_ZMM(12) STORE_ZMM(13) STORE_ZMM(14) STORE_ZMM(
					15) STORE_ZMM(16) STORE_ZMM(17) STORE_ZMM(18) STORE_ZMM(19)
					STORE_ZMM(20) STORE_ZMM(21) STORE_ZMM(22) STORE_ZMM(23)
						STORE_ZMM(24) STORE_ZMM(25) STORE_ZMM(26)
							STORE_ZMM(27) STORE_ZMM(28) STORE_ZMM(29)
								STORE_ZMM(30) STORE_ZMM(31) ""
			:
			: "r"(wide)
			: "memory");
		return (struct mote_bytes){wide, sizeof wide};
	}
	for (unsigned i = 0; i < sizeof wide / 8; i++)
		at[i] = 0;
	if (mask & AVX)
		__asm__ volatile(STORE_YMM(0) STORE_YMM(1) STORE_YMM(2) STORE_YMM(3) STORE_YMM(4)
					 STORE_YMM(5) STORE_YMM(6) STORE_YMM(7) STORE_YMM(8)
						 STORE_YMM(9) STORE_YMM(10) STORE_YMM(11)
							 STORE_YMM(12) STORE_YMM(13) STORE_YMM(14)
								 STORE_YMM(15) ""
				 :
				 : "r"(wide)
				 : "memory");
	return (struct mote_bytes){wide, 16 * 64};
}

MOTE_EXPORT(struct mote_bytes, mask_registers, (uint64_t, mask))
{
	if ((mask & AVX512) == AVX512)
		__asm__ volatile("kmovw %%k1, (%0)\n\tkmovw %%k7, 8(%0)" : : "r"(masks) : "memory");
	return (struct mote_bytes){masks, sizeof masks};
}

MOTE_EXPORT(uint32_t, protection_keys, (uint64_t, mask))
{
	uint32_t keys = 0;
	if (mask & 0x200)
		__asm__ volatile("rdpkru" : "=a"(keys) : "c"(0) : "edx");
	return keys;
}

/* Jump to an address with every register set to the same value, and the stack pointer too if so
 * asked. */
MOTE_EXPORT(void, jump_with, (uint64_t, address), (uint64_t, value), (bool, stack))
{
	__asm__ volatile("mov %1, %%rbx\n\tmov %1, %%rcx\n\tmov %1, %%rdx\n\tmov %1, %%rsi\n\t"
			 "mov %1, %%r8\n\tmov %1, %%r10\n\tmov %1, %%r11\n\t"
			 "test %2, %2\n\tcmovnz %1, %%rsp\n\tmov %0, %%rdi\n\tjmp *%%rdi"
			 :
			 : "r"(address), "a"(value), "r"((uint64_t)stack)
			 : "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r10", "r11", "memory");
}

/* A fault with the stack pointer at an odd place: 77, or the fault. */
MOTE_EXPORT(int32_t, fault_with_stack_at, (uint64_t, stack), (uint64_t, address))
{
	int32_t value;
	__asm__ volatile("mov %%rsp, %%rbx\n\tmov %1, %%rsp\n\tmovl $77, (%2)\n\tmovl (%2), %0\n\t"
			 "mov %%rbx, %%rsp"
			 : "=&r"(value)
			 : "r"(stack), "r"(address)
			 : "rbx", "memory");
	return value;
}

MOTE_EXPORT(void, scribble, (uint64_t, address), (uint32_t, bytes), (uint32_t, value))
{
	for (uint32_t i = 0; i < bytes; i++)
		((volatile uint8_t *)address)[i] = (uint8_t)value;
}

static uint8_t data[64 * 4096];

MOTE_EXPORT(uint64_t, data_address)
{
	return (uint64_t)data;
}

MOTE_EXPORT(int32_t, touch, (uint64_t, address))
{
	return *(volatile uint8_t *)address += 1;
}
