/* SPDX-License-Identifier: MIT */
/*
 * The part of i686_kernel that looks at the processor, and all ends of a call: what is reported of
 * exceptions, ports, loops, and ways to leave the paging that snapshots understand. Knows nothing
 * of address spaces.
 */
#include "i686_probe.h"

#include "i686_kernel.h"
#include "stock_abort.h"

/* ---- abort ---- */

static void put_hex(struct chunk *chunk, const char *text, uint32_t value)
{
	put_text(chunk, text);
	put_text(chunk, "0x");
	for (int shift = 28; shift >= 0; shift -= 4)
		put(chunk, (uint8_t) "0123456789abcdef"[value >> shift & 15]);
}

/* The names stand in a table of pointers, which position-independent code has relocated. */
static const char *const tens[] = {"Exception vector: ", "Exception vector: 1"};

_Noreturn void probe_exception(const struct frame *frame, uint32_t gva)
{
	struct chunk chunk = {0, 0};
	put(&chunk, 15);
	put(&chunk, (uint8_t)frame->vector);
	put_text(&chunk, tens[frame->vector / 10 & 1]);
	put(&chunk, (uint8_t)('0' + frame->vector % 10));
	put_hex(&chunk, "\nFaulting Instruction: ", frame->eip);
	put_hex(&chunk, "\nPage Fault Address: ", frame->vector == 14 ? gva : 0);
	put_hex(&chunk, "\nError code: ", frame->code);
	put_hex(&chunk, "\nStack Pointer: ", (uint32_t)(frame + 1));
	put(&chunk, 0xFF);
	__builtin_unreachable();
}

/* ---- registers ---- */

void probe_system(uint32_t to[I686_SYSTEM_COUNT])
{
	struct __attribute__((packed)) {
		uint16_t limit;
		uint32_t base;
	} gdtr, idtr;
	__asm__ volatile("sgdt %0; sidt %1" : "=m"(gdtr), "=m"(idtr));
	to[I686_GDT_BASE] = gdtr.base;
	to[I686_GDT_LIMIT] = gdtr.limit;
	to[I686_IDT_BASE] = idtr.base;
	to[I686_IDT_LIMIT] = idtr.limit;
#define READ(index, instruction) __asm__ volatile(instruction : "=r"(to[index]))
	READ(I686_CR0, "mov %%cr0, %0");
	READ(I686_CR2, "mov %%cr2, %0");
	READ(I686_CR3, "mov %%cr3, %0");
	READ(I686_CR4, "mov %%cr4, %0");
	READ(I686_DR6, "mov %%db6, %0");
	READ(I686_DR7, "mov %%db7, %0");
	READ(I686_CS, "mov %%cs, %0");
	READ(I686_DS, "mov %%ds, %0");
	READ(I686_ES, "mov %%es, %0");
	READ(I686_FS, "mov %%fs, %0");
	READ(I686_GS, "mov %%gs, %0");
	READ(I686_SS, "mov %%ss, %0");
	READ(I686_TR, "str %0");
	READ(I686_LDTR, "sldt %0");
}

static uint32_t cpuid(const uint64_t *a)
{
	uint32_t r[4];
	__asm__ volatile("cpuid"
			 : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3])
			 : "a"((uint32_t)a[0]), "c"((uint32_t)a[1]));
	return r[a[2] & 3];
}

/* 0: the control word; 1: load it; 2: the status word. */
static uint32_t fpu(uint32_t what, uint32_t word)
{
	uint32_t out = 0;
	if (what == 0)
		__asm__ volatile("fnstcw %0" : "=m"(out));
	else if (what == 1)
		__asm__ volatile("fldcw %0; fldpi" : : "m"(word));
	else
		__asm__ volatile("fnstsw %0" : "=m"(out));
	return out;
}

/* ---- ends ---- */

static void out_port(uint32_t port, uint32_t value, uint32_t bytes)
{
	if (bytes == 1)
		__asm__ volatile("outb %b0, %w1" : : "a"(value), "d"(port) : "memory");
	else if (bytes == 2)
		__asm__ volatile("outw %w0, %w1" : : "a"(value), "d"(port) : "memory");
	else
		__asm__ volatile("outl %0, %w1" : : "a"(value), "d"(port) : "memory");
}

static void triple_fault(void)
{
	const struct __attribute__((packed)) {
		uint16_t limit;
		uint32_t base;
	} none = {0, 0};
	__asm__ volatile("lidt %0; ud2" : : "m"(none));
}

/* Clear CR0.PG, set bits of CR4 and load CR3, set bits of CR0, and end the call. This code is where
 * its physical addresses are, and uses no memory. */
static void leave_paging(uint32_t cr4_set, uint32_t cr3, uint32_t cr0_set)
{
	__asm__ volatile("mov %%cr0, %%eax\n\t"
			 "and $0x7fffffff, %%eax\n\t"
			 "mov %%eax, %%cr0\n\t"
			 "jmp 1f\n"
			 "1:\tmov %%cr4, %%eax\n\t"
			 "or %0, %%eax\n\t"
			 "mov %%eax, %%cr4\n\t"
			 "mov %1, %%cr3\n\t"
			 "mov %%cr0, %%eax\n\t"
			 "or %2, %%eax\n\t"
			 "mov %%eax, %%cr0\n\t"
			 "jmp 1f\n"
			 "1:\tout %%eax, $108\n\t"
			 :
			 : "r"(cr4_set), "r"(cr3), "r"(cr0_set)
			 : "eax", "memory");
}

/* A directory of PAE paging that maps the first 2 MiB to themselves. */
static uint32_t wide_tables(void)
{
	uint32_t pointers = new_page(), directory = new_page(), table = new_page();
	words(pointers)[0] = directory | 0x001;
	words(directory)[0] = table | 0x003;
	for (uint32_t i = 0; i < 512; i++)
		words(table)[2 * i] = i << 12 | 0x003;
	return pointers;
}

void probe_end(const struct peb *peb, uint32_t op, const uint64_t *a)
{
	switch (op) {
	case OP('h', 'a', 'l', 't'):
		push_u64(peb, a[0]);
		__asm__ volatile("hlt");
		break;
	case OP('e', 'n', 'd', '_'):
		push_u64(peb, a[0]);
		out_port(108, 0, (uint32_t)a[1]);
		break;
	case OP('o', 'f', 'f', '_'):
		push_u64(peb, 0);
		leave_paging(0, 0, 0);
		break;
	case OP('p', 'a', 'e', '_'):
		push_u64(peb, 0);
		leave_paging(0x20, wide_tables(), 0x80000000);
		break;
	default:
		break;
	}
}

/* Host function HostAdd(Int 5, Int -1) -> Int. */
static const uint8_t golden_call[124] = {
	0x78, 0, 0,    0, 0x10, 0,    0,    0,    0,    0,    0x0a, 0,    0x10, 0, 8,    0,
	0x0c, 0, 7,    0, 0x0a, 0,    0,    0,    0,    0,    0,    2,    0x54, 0, 0,    0,
	4,    0, 0,    0, 2,    0,    0,    0,    0x2c, 0,    0,    0,    0x0c, 0, 0,    0,
	8,    0, 0x0c, 0, 7,    0,    8,    0,    8,    0,    0,    0,    0,    0, 0,    1,
	4,    0, 0,    0, 0xe2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 8,    0, 0x0e, 0,
	7,    0, 8,    0, 8,    0,    0,    0,    0,    0,    0,    1,    0x0c, 0, 0,    0,
	0,    0, 6,    0, 8,    0,    4,    0,    6,    0,    0,    0,    5,    0, 0,    0,
	7,    0, 0,    0, 0x48, 0x6f, 0x73, 0x74, 0x41, 0x64, 0x64, 0};

static uint64_t host_add(const struct peb *peb)
{
	push(peb, golden_call, sizeof golden_call);
	out32(101, 0);
	const uint8_t *result = follow(top_of_input(peb) + 4);
	const uint8_t *box = follow(field(result, 1));
	uint64_t kind = *field(result, 0), answer = 0;
	if (kind == 2) {
		answer = 1000 + load64(field(box, 0));
	} else {
		const uint8_t *value = field(follow(field(box, 1)), 0);
		answer = value ? load32(value) : 0;
	}
	pop_input(peb);
	return answer;
}

uint64_t probe_operation(const struct peb *peb, uint32_t op, const uint64_t *a)
{
	uint32_t value;
	switch (op) {
	case OP('c', 'p', 'u', 'i'): /* leaf, subleaf, register */
		return cpuid(a);
	case OP('f', 'p', 'u', '_'): /* what, word */
		return fpu((uint32_t)a[0], (uint32_t)a[1]);
	case OP('h', 'o', 's', 't'):
		return host_add(peb);
	case OP('p', 'r', 'i', 'n'):
		for (const char *text = "32 bits"; *text; text++)
			out32(103, (uint8_t)*text);
		return 0;
	case OP('a', 'b', 'r', 't'): /* code */
		out32(102, 1 | (uint32_t)a[0] << 8);
		out32(102, 1 | 0xFF00);
		return 0;
	case OP('p', 'r', 'o', 't'): /* a selector that no table has */
		__asm__ volatile("mov %0, %%gs" : : "r"(0x80));
		return 0;
	case OP('t', 'r', 'i', 'p'):
		triple_fault();
		return 0;
	case OP('i', 'n', '_', '_'): /* port */
		__asm__ volatile("inl %w1, %0" : "=a"(value) : "d"((uint32_t)a[0]));
		return value;
	case OP('o', 'u', 't', '_'): /* port, value, bytes */
		out_port((uint32_t)a[0], (uint32_t)a[1], (uint32_t)a[2]);
		return 0;
	case OP('l', 'o', 'o', 'p'):
		for (;;)
			__asm__ volatile("pause");
	default:
		__asm__ volatile("ud2");
		return 0;
	}
}
