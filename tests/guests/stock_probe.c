/* SPDX-License-Identifier: MIT */
/*
 * A stock guest of family S, bare: owns ring 0, speaks the protocol by hand, and does what the
 * function's name of four letters says with up to four u64 parameters. Writes to scratch alone (it
 * handles no page fault), uses general registers alone. The answer is a u64.
 */
#include "stock_probe.h"

#include <stdint.h>

#include "stock_abort.h"
#include "stock_message.h"

/* First of four pages of scratch; the second is the IDT, the others are the stack. */
struct state {
	uint64_t general[2][PROBE_GENERAL_COUNT];
	uint64_t system[PROBE_SYSTEM_COUNT];
	const struct peb *peb;
	uint64_t gdt[3];
	struct __attribute__((packed)) {
		uint16_t limit;
		uint64_t base;
	} gdtr, idtr;
};

extern const uint8_t probe_vectors[];
uint64_t probe_initialise(const uint64_t *saved);
void probe_dispatch(const uint64_t *saved, uint64_t rsp);
void probe_exception(const uint64_t *frame);

/* ---- abort ----------------------------------------------------------------------------------- */

static void put_hex(struct chunk *chunk, uint64_t value)
{
	put_text(chunk, "0x");
	int shift = 60;
	while (shift > 0 && !(value >> shift))
		shift -= 4;
	for (; shift >= 0; shift -= 4)
		put(chunk, (uint8_t) "0123456789abcdef"[value >> shift & 15]);
}

void probe_exception(const uint64_t *frame)
{
	uint64_t address;
	struct chunk chunk = {0, 0};
	__asm__ volatile("mov %%cr2, %0" : "=r"(address));
	put(&chunk, 15);
	put(&chunk, (uint8_t)frame[0]);
	put_text(&chunk, "Exception vector: ");
	if (frame[0] > 9)
		put(&chunk, (uint8_t)('0' + frame[0] / 10));
	put(&chunk, (uint8_t)('0' + frame[0] % 10));
	put_text(&chunk, "\nFaulting Instruction: ");
	put_hex(&chunk, frame[2]);
	put_text(&chunk, "\nPage Fault Address: ");
	put_hex(&chunk, frame[0] == 14 ? address : 0);
	put_text(&chunk, "\nError code: ");
	put_hex(&chunk, frame[1]);
	put_text(&chunk, "\nStack Pointer: ");
	put_hex(&chunk, (uint64_t)frame);
	put(&chunk, 0xFF);
}

/* ---- initialise ------------------------------------------------------------------------------ */

static void save_system(struct state *state)
{
	struct __attribute__((packed)) {
		uint16_t limit;
		uint64_t base;
	} gdtr, idtr;
	uint64_t *to = state->system;
	__asm__ volatile("sgdt %0\n\tsidt %1" : "=m"(gdtr), "=m"(idtr));
	to[PROBE_GDT_BASE] = gdtr.base;
	to[PROBE_GDT_LIMIT] = gdtr.limit;
	to[PROBE_IDT_BASE] = idtr.base;
	to[PROBE_IDT_LIMIT] = idtr.limit;
#define READ(index, from)                                             \
	do {                                                          \
		uint64_t value;                                       \
		__asm__ volatile("mov %%" from ", %0" : "=r"(value)); \
		to[index] = value;                                    \
	} while (0)
#define READ_SELECTOR(index, from)                    \
	do {                                          \
		uint32_t value;                       \
		__asm__ volatile(from : "=r"(value)); \
		to[index] = value & 0xFFFF;           \
	} while (0)
	READ(PROBE_CR0, "cr0");
	READ(PROBE_CR2, "cr2");
	READ(PROBE_CR3, "cr3");
	READ(PROBE_CR4, "cr4");
	READ(PROBE_CR8, "cr8");
	READ(PROBE_DR6, "db6");
	READ(PROBE_DR7, "db7");
	READ_SELECTOR(PROBE_CS, "mov %%cs, %0");
	READ_SELECTOR(PROBE_DS, "mov %%ds, %0");
	READ_SELECTOR(PROBE_ES, "mov %%es, %0");
	READ_SELECTOR(PROBE_FS, "mov %%fs, %0");
	READ_SELECTOR(PROBE_GS, "mov %%gs, %0");
	READ_SELECTOR(PROBE_SS, "mov %%ss, %0");
	READ_SELECTOR(PROBE_TR, "str %0");
	READ_SELECTOR(PROBE_LDTR, "sldt %0");
}

static void load_tables(struct state *state)
{
	uint64_t *idt = (uint64_t *)((uint64_t)state + PAGE);
	state->gdt[1] = 0x00AF9B000000FFFF;
	state->gdt[2] = 0x00CF93000000FFFF;
	for (unsigned i = 0; i < 32; i++) {
		uint64_t handler = (uint64_t)probe_vectors + 16 * i;
		idt[2 * i] = (handler & 0xFFFF) | 0x08ull << 16 | 0x8Eull << 40 |
			     (handler >> 16 & 0xFFFF) << 48;
		idt[2 * i + 1] = handler >> 32;
	}
	state->gdtr.limit = sizeof state->gdt - 1;
	state->gdtr.base = (uint64_t)state->gdt;
	state->idtr.limit = 32 * 16 - 1;
	state->idtr.base = (uint64_t)idt;
	__asm__ volatile("lgdt %0\n\tlidt %1" : : "m"(state->gdtr), "m"(state->idtr) : "memory");
}

uint64_t probe_initialise(const uint64_t *saved)
{
	uint64_t gpa = 4 * PAGE;
	__asm__ volatile("lock xadd %0, %1" : "+r"(gpa), "+m"(TOP_WORD(0x10)) : : "memory");
	struct state *state = (struct state *)(gpa + LINEAR);
	for (unsigned i = 0; i < PROBE_RSP; i++)
		state->general[PROBE_AT_INITIALISE][i] = saved[i];
	state->general[PROBE_AT_INITIALISE][PROBE_RSP] = (uint64_t)(saved + PROBE_RSP);
	state->peb = (const struct peb *)saved[PROBE_RDI];
	save_system(state);
	load_tables(state);
	return (uint64_t)state + 4 * PAGE;
}

/* ---- messages -------------------------------------------------------------------------------- */

static const uint8_t goldens[PROBE_GOLDEN_COUNT][72] = {
	[PROBE_INT_42] = {0x3c, 0, 0, 0, 0x0c, 0, 0, 0, 8,    0, 0x0c, 0, 7,    0, 8,    0,
			  8,    0, 0, 0, 0,    0, 0, 1, 0x0c, 0, 0,    0, 8,    0, 0x0e, 0,
			  7,    0, 8, 0, 8,    0, 0, 0, 0,    0, 0,    1, 0x0c, 0, 0,    0,
			  0,    0, 6, 0, 8,    0, 4, 0, 6,    0, 0,    0, 0x2a},
	[PROBE_INT_0] = {0x2c, 0, 0, 0, 4, 0, 0,    0, 0xf4, 0xff, 0xff, 0xff, 0, 0, 0, 1,
			 0x0c, 0, 0, 0, 8, 0, 0x0c, 0, 7,    0,    8,    0,    8, 0, 0, 0,
			 0,    0, 0, 1, 8, 0, 0,    0, 4,    0,    4,    0,    4, 0, 0, 0},
	[PROBE_VOID] = {0x2c, 0, 0, 0, 4, 0, 0,    0, 0xf4, 0xff, 0xff, 0xff, 0, 0, 0, 1,
			0x0c, 0, 0, 0, 8, 0, 0x0c, 0, 7,    0,    8,    0,    8, 0, 0, 0,
			0,    0, 0, 9, 8, 0, 0,    0, 4,    0,    4,    0,    4, 0, 0, 0},
	[PROBE_LONG_MINUS_1] = {0x44, 0, 0,    0, 0x10, 0,    0,    0,    0,    0,    0,    0,
				8,    0, 0x0c, 0, 7,    0,    8,    0,    8,    0,    0,    0,
				0,    0, 0,    1, 0x0c, 0,    0,    0,    8,    0,    0x0e, 0,
				7,    0, 8,    0, 8,    0,    0,    0,    0,    0,    0,    3,
				0x0c, 0, 0,    0, 0,    0,    6,    0,    0x0c, 0,    4,    0,
				6,    0, 0,    0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	[PROBE_STRING_HI] = {0x44, 0, 0,    0, 0x0c, 0, 0, 0, 8, 0, 0x0c, 0, 7,    0,
			     8,    0, 8,    0, 0,    0, 0, 0, 0, 1, 0x0c, 0, 0,    0,
			     8,    0, 0x0e, 0, 7,    0, 8, 0, 8, 0, 0,    0, 0,    0,
			     0,    7, 0x0c, 0, 0,    0, 0, 0, 6, 0, 8,    0, 4,    0,
			     6,    0, 0,    0, 4,    0, 0, 0, 2, 0, 0,    0, 0x68, 0x69},
	[PROBE_BYTES_123] = {0x40, 0, 0,    0, 4, 0, 0, 0,    0xf4, 0xff, 0xff, 0xff, 0, 0,
			     0,    1, 0x0c, 0, 0, 0, 8, 0,    0x0c, 0,    7,    0,    8, 0,
			     8,    0, 0,    0, 0, 0, 0, 0x0a, 0x0c, 0,    0,    0,    8, 0,
			     0x0c, 0, 4,    0, 8, 0, 8, 0,    0,    0,    3,    0,    0, 0,
			     4,    0, 0,    0, 3, 0, 0, 0,    1,    2,    3,    0},
	[PROBE_ERROR_BOOM] = {0x44, 0, 0,    0, 0x10, 0, 0,    0, 0,    0,    0,    0,   8, 0,
			      0x0c, 0, 7,    0, 8,    0, 8,    0, 0,    0,    0,    0,   0, 2,
			      0x0c, 0, 0,    0, 8,    0, 0x14, 0, 8,    0,    4,    0,   8, 0,
			      0,    0, 0x10, 0, 0,    0, 0x11, 0, 0,    0,    0,    0,   0, 0,
			      0,    0, 0,    0, 4,    0, 0,    0, 0x62, 0x6f, 0x6f, 0x6d},
};

/* Host function HostAdd(Int 5, Int -1) -> Int; a log record. */
static const uint8_t golden_call[124] = {
	0x78, 0, 0,    0, 0x10, 0,    0,    0,    0,    0,    0x0a, 0,    0x10, 0, 8,    0,
	0x0c, 0, 7,    0, 0x0a, 0,    0,    0,    0,    0,    0,    2,    0x54, 0, 0,    0,
	4,    0, 0,    0, 2,    0,    0,    0,    0x2c, 0,    0,    0,    0x0c, 0, 0,    0,
	8,    0, 0x0c, 0, 7,    0,    8,    0,    8,    0,    0,    0,    0,    0, 0,    1,
	4,    0, 0,    0, 0xe2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 8,    0, 0x0e, 0,
	7,    0, 8,    0, 8,    0,    0,    0,    0,    0,    0,    1,    0x0c, 0, 0,    0,
	0,    0, 6,    0, 8,    0,    4,    0,    6,    0,    0,    0,    5,    0, 0,    0,
	7,    0, 0,    0, 0x48, 0x6f, 0x73, 0x74, 0x41, 0x64, 0x64, 0};
static const uint8_t golden_log[88] = {
	0x54, 0, 0,    0,    0x14, 0,    0,    0, 0x10, 0, 0x1c, 0, 8,    0, 0x0c, 0, 7, 0,
	0x10, 0, 0x14, 0,    0x18, 0,    0x10, 0, 0,    0, 0,    0, 0,    2, 0x30, 0, 0, 0,
	0x24, 0, 0,    0,    0x18, 0,    0,    0, 8,    0, 0,    0, 7,    0, 0,    0, 4, 0,
	0,    0, 0x66, 0x2e, 0x72, 0x73, 0,    0, 0,    0, 1,    0, 0,    0, 0x63, 0, 0, 0,
	1,    0, 0,    0,    0x73, 0,    0,    0, 1,    0, 0,    0, 0x6d, 0, 0,    0};

/* Push a ULong: the golden Long with another tag and value. */
static uint64_t host_add(const struct peb *peb)
{
	push(peb, golden_call, sizeof golden_call);
	out32(101, 0);
	const uint8_t *message = top_of_input(peb) + 4;
	const uint8_t *result = follow(message);
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

/* ---- what it can do -------------------------------------------------------------------------- */

static uint64_t cpuid(const uint64_t *a)
{
	uint32_t r[4];
	__asm__ volatile("cpuid"
			 : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3])
			 : "a"((uint32_t)a[0]), "c"((uint32_t)a[1]));
	return r[a[2] & 3];
}

static uint64_t read_msr(uint64_t index)
{
	uint32_t low, high;
	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"((uint32_t)index));
	return (uint64_t)high << 32 | low;
}

static void write_msr(uint64_t index, uint64_t value)
{
	__asm__ volatile("wrmsr"
			 :
			 : "c"((uint32_t)index), "a"((uint32_t)value),
			   "d"((uint32_t)(value >> 32)));
}

static void triple_fault(struct state *state)
{
	state->idtr.limit = 0;
	__asm__ volatile("lidt %0\n\tud2" : : "m"(state->idtr));
}

/* x87 and SSE through instructions that need no register of theirs in C. */
static uint64_t fpu(uint32_t what, uint64_t value)
{
	uint64_t out = 0;
	uint32_t word = (uint32_t)value;
	switch (what) {
	case 0:
		__asm__ volatile("fnstcw %0" : "=m"(out));
		break;
	case 1:
		__asm__ volatile("fldcw %0\n\tfldpi" : : "m"(word));
		break;
	case 2:
		__asm__ volatile("fnstsw %0" : "=m"(out));
		break;
	case 3:
		__asm__ volatile("stmxcsr %0" : "=m"(out));
		break;
	case 4:
		__asm__ volatile("ldmxcsr %0" : : "m"(word));
		break;
	case 5:
		__asm__ volatile("movq %%xmm7, %0" : "=r"(out));
		break;
	default:
		__asm__ volatile("movq %0, %%xmm7" : : "r"(value));
	}
	return out;
}

static void out_port(const uint64_t *a)
{
	if (a[2] == 1)
		__asm__ volatile("outb %b0, %w1" : : "a"(a[1]), "d"(a[0]) : "memory");
	else if (a[2] == 2)
		__asm__ volatile("outw %w0, %w1" : : "a"(a[1]), "d"(a[0]) : "memory");
	else
		__asm__ volatile("outl %k0, %w1" : : "a"(a[1]), "d"(a[0]) : "memory");
}

/* Leave garbage on the output stack: its pointer, and what lies below it. */
static void spoil_output(const struct peb *peb, uint64_t pointer, uint64_t back)
{
	uint8_t *output = (uint8_t *)peb->output;
	if (pointer >= 8 && pointer <= peb->output_bytes)
		store64(output + pointer - 8, back);
	store64(output, pointer);
	out32(108, 0);
}

static uint64_t system_operation(struct state *state, uint32_t op, const uint64_t *a)
{
	uint64_t value = 0;
	switch (op) {
	case OP('c', 'p', 'u', 'i'):
		return cpuid(a);
	case OP('r', 'd', 'm', 's'):
		return read_msr(a[0]);
	case OP('w', 'r', 'm', 's'):
		write_msr(a[0], a[1]);
		return 0;
	case OP('i', 'n', 'v', 'l'):
		__asm__ volatile("invlpg (%0)" : : "r"(a[0]) : "memory");
		return 0;
	case OP('s', 'c', 'r', '3'):
		__asm__ volatile("mov %0, %%cr3" : : "r"(a[0]) : "memory");
		return 0;
	case OP('t', 'r', 'i', 'p'):
		triple_fault(state);
		return 0;
	case OP('i', 'n', '_', '_'):
		__asm__ volatile("inl %w1, %k0" : "=a"(value) : "d"(a[0]));
		return value;
	case OP('o', 'u', 't', '_'):
		out_port(a);
		return 0;
	case OP('j', 'u', 'm', 'p'):
		((void (*)(void))a[0])();
		return 0;
	case OP('l', 'o', 'o', 'p'):
		for (;;)
			__asm__ volatile("pause");
	case OP('f', 'p', 'u', '_'):
		return fpu((uint32_t)a[0], a[1]);
	default:
		__asm__ volatile("ud2");
		return 0;
	}
}

static uint64_t operation(struct state *state, uint32_t op, const uint64_t *a)
{
	const struct peb *peb = state->peb;
	switch (op) {
	case OP('p', 'e', 'e', 'k'):
		return *(volatile uint64_t *)a[0];
	case OP('p', 'o', 'k', 'e'):
		*(volatile uint64_t *)a[0] = a[1];
		return 0;
	case OP('r', 'e', 'g', 's'):
		return state->general[a[0] & 1][a[1] % PROBE_GENERAL_COUNT];
	case OP('s', 'y', 's', 's'):
		return state->system[a[0] % PROBE_SYSTEM_COUNT];
	case OP('h', 'o', 's', 't'):
		return host_add(peb);
	case OP('l', 'o', 'g', '_'):
		push(peb, golden_log, sizeof golden_log);
		out32(99, 0);
		return 0;
	case OP('a', 'b', 'r', 't'):
		out32(102, 1 | (uint32_t)a[0] << 8);
		out32(102, 1 | 0xFF00);
		return 0;
	default:
		return system_operation(state, op, a);
	}
}

/* Ends that push their own result, or none. */
static void special_end(const struct peb *peb, uint32_t op, const uint64_t *a)
{
	switch (op) {
	case OP('g', 'o', 'l', 'd'):
		push(peb, goldens[a[0] % PROBE_GOLDEN_COUNT],
		     load32(goldens[a[0] % PROBE_GOLDEN_COUNT]) + 4);
		out32(108, 0);
		break;
	case OP('n', 'o', 't', 'h'):
		out32(108, 0);
		break;
	case OP('t', 'w', 'o', '_'):
		push_u64(peb, a[0]);
		push_u64(peb, a[1]);
		out32(108, 0);
		break;
	case OP('s', 'p', 'o', 'i'):
		spoil_output(peb, a[0], a[1]);
		break;
	case OP('h', 'a', 'l', 't'):
		push_u64(peb, a[0]);
		__asm__ volatile("hlt");
		break;
	case OP('e', 'n', 'd', '_'):
		push_u64(peb, a[0]);
		out_port((const uint64_t[]){108, a[0], a[1]});
		break;
	default:
		break;
	}
}

void probe_dispatch(const uint64_t *saved, uint64_t rsp)
{
	struct state *state = (struct state *)(rsp - 4 * PAGE);
	uint64_t a[4];
	for (unsigned i = 0; i < PROBE_RSP; i++)
		state->general[PROBE_AT_DISPATCH][i] = saved[i];
	state->general[PROBE_AT_DISPATCH][PROBE_RSP] = rsp;
	uint32_t op = read_call(state->peb, a);
	special_end(state->peb, op, a);
	push_u64(state->peb, operation(state, op, a));
	out32(108, 0);
}

/* A page of the image that looks like a page table: copy-on-write leaves of the image's first page.
 */
__attribute__((aligned(4096), used, section(".rodata.tables"))) const uint64_t probe_leaves[512] = {
	[0 ... 511] = 0x1261,
};
