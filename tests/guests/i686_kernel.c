/* SPDX-License-Identifier: MIT */
/*
 * A 32-bit kernel with processes, bare on the ABI. It has descriptor tables of its own, a fault
 * handler that copies on write, and address spaces that share the kernel's tables: the low 4 MiB
 * (image, PEB, heap), the 4 MiB at KERNEL_HALF and the map of scratch. Processes run in ring 3.
 * After its tables were replaced it finds its spaces again by their order, which is the order that
 * they were listed in: root number i is page number i of the tables.
 *
 * Functions have names of four letters, parameters are up to four u64, the answer is a u64.
 */
#include "i686_kernel.h"

#define SPACES_MAX  256u
#define KERNEL_HALF 0xC0000000u
#define PRESENT     0x001u
#define WRITABLE    0x002u
#define USER        0x004u
#define LINK        0x027u
#define LEAF_RW     0x023u
#define COW         0x200u
#define SOFTWARE    0xE00u
#define ADDRESS     0xFFFFF000u
#define LOW_TABLE   0u
#define HALF_TABLE  (KERNEL_HALF >> 22)
#define FLAG_ZERO   0x040u /* of EFLAGS: page tables were replaced */
#define USER_CODE   0x40000000u
#define USER_DATA   0x40001000u
#define USER_STACK  0x40003000u

void kernel_initialise(const uint32_t saved[I686_GENERAL_COUNT]);
void kernel_dispatch(const uint32_t saved[I686_GENERAL_COUNT]);
void kernel_trap(struct frame *frame);
uint32_t enter_user(uint32_t eip, uint32_t esp, uint32_t value);
_Noreturn void leave_user(uint32_t value);
extern char trap_3[], trap_6[], trap_13[], trap_14[], trap_128[];
extern const char user_code[], user_code_end[];

/* Written by the processor or before there is a fault handler: copied first. */
__attribute__((aligned(4096))) static struct {
	const struct peb *peb;
	uint64_t gdt[8];
	uint32_t tss[26];
	uint32_t space_count, spaces[SPACES_MAX];
	uint64_t idt[129];
	uint32_t general[2][I686_GENERAL_COUNT], system[I686_SYSTEM_COUNT];
} kernel;
static uint32_t traps, copies; /* copied on write by the handler itself */

uint32_t new_page(void)
{
	uint64_t gpa = TOP_WORD(0x10);
	TOP_WORD(0x10) = gpa + PAGE;
	for (unsigned i = 0; i < 1024; i++)
		words((uint32_t)gpa)[i] = 0;
	return (uint32_t)gpa;
}

static uint32_t cr3(void)
{
	uint32_t value;
	__asm__ volatile("mov %%cr3, %0" : "=r"(value));
	return value;
}

static void set_cr3(uint32_t value)
{
	__asm__ volatile("mov %0, %%cr3" : : "r"(value) : "memory");
}

static void forget(uint32_t gva)
{
	__asm__ volatile("invlpg (%0)" : : "r"(gva) : "memory");
}

static uint32_t *leaf(uint32_t root, uint32_t gva)
{
	uint32_t *entry = words(root) + (gva >> 22);
	if (!(*entry & PRESENT))
		*entry = new_page() | LINK;
	return words(*entry) + (gva >> 12 & 1023);
}

/* The page at gva, in a page of scratch. */
static void own(uint32_t gva)
{
	uint32_t *entry = leaf(cr3(), gva), gpa = new_page();
	const uint32_t *from = (const uint32_t *)(gva & ADDRESS);
	for (unsigned i = 0; i < 1024; i++)
		words(gpa)[i] = from[i];
	*entry = gpa | LEAF_RW | (*entry & USER);
	forget(gva);
}

/* ---- traps ---- */

static void set_gate(unsigned vector, const char *at, unsigned dpl)
{
	uint32_t address = (uint32_t)at;
	kernel.idt[vector] = (uint64_t)(address >> 16) << 48 |
			     (uint64_t)(0x8E00 | dpl << 13) << 32 | 8u << 16 | (address & 0xFFFF);
}

static void load_tables(void)
{
	uint32_t tss = (uint32_t)&kernel.tss;
	struct __attribute__((packed)) {
		uint16_t limit;
		uint32_t base;
	} gdt = {sizeof kernel.gdt - 1, (uint32_t)&kernel.gdt},
	  idt = {sizeof kernel.idt - 1, (uint32_t)&kernel.idt};
	/* Accessed already, so that the processor need not write. Ring 0, then ring 3. */
	kernel.gdt[1] = 0x00CF9B000000FFFF;
	kernel.gdt[2] = 0x00CF93000000FFFF;
	kernel.gdt[3] = 0x00CFFB000000FFFF;
	kernel.gdt[4] = 0x00CFF3000000FFFF;
	kernel.gdt[5] =
		0x0000890000000067 | (uint64_t)(tss & 0xFFFFFF) << 16 | (uint64_t)(tss >> 24) << 56;
	/* ESP0: below what calls use of the exception stack, and the word of enter_user. */
	kernel.tss[1] = 0xFFFFFBF0;
	kernel.tss[2] = 0x10;
	kernel.tss[25] = sizeof kernel.tss << 16; /* no ports for ring 3 */
	set_gate(3, trap_3, 0);
	set_gate(6, trap_6, 0);
	set_gate(13, trap_13, 0);
	set_gate(14, trap_14, 0);
	set_gate(128, trap_128, 3);
	__asm__ volatile("lgdt %0; lidt %1; ltr %w2" : : "m"(gdt), "m"(idt), "r"(0x28));
}

/* Copied, or it was no such fault. */
static int copy_on_write(uint32_t gva, uint32_t code)
{
	uint32_t *directory = words(cr3()) + (gva >> 22);
	if ((code & 0xB) != 3 || !(*directory & PRESENT))
		return 0;
	if ((*leaf(cr3(), gva) & SOFTWARE) != COW)
		return 0;
	own(gva);
	return 1;
}

void kernel_trap(struct frame *frame)
{
	uint32_t gva;
	__asm__ volatile("mov %%cr2, %0" : "=r"(gva));
	if (frame->vector == 14 && copy_on_write(gva, frame->code)) {
		copies++;
	} else if (frame->vector == 3) {
		traps++;
	} else if (frame->vector == 128 && (frame->cs & 3) == 3) {
		leave_user(frame->eax);
	} else {
		probe_exception(frame, gva);
	}
}

/* ---- spaces ---- */

/* Tables that all spaces have must be there before the first copy is made. */
static uint32_t make_space(void)
{
	uint32_t root = new_page();
	words(root)[LOW_TABLE] = words(cr3())[LOW_TABLE];
	words(root)[HALF_TABLE] = words(cr3())[HALF_TABLE];
	for (uint32_t i = (uint32_t)kernel.peb->input >> 22; i < 1024; i++)
		words(root)[i] = words(cr3())[i];
	kernel.spaces[kernel.space_count] = root;
	return kernel.space_count++;
}

/* A process: code that is read-only, a page of data whose first word is value, a stack. */
static uint32_t make_process(uint32_t value)
{
	uint32_t space = make_space(), root = kernel.spaces[space];
	uint32_t code = new_page(), data = new_page(), stack = new_page();
	for (uint32_t i = 0; i < (uint32_t)(user_code_end - user_code); i++)
		((uint8_t *)words(code))[i] = (uint8_t)user_code[i];
	words(data)[0] = value;
	*leaf(root, USER_CODE) = code | 0x021 | USER;
	*leaf(root, USER_DATA) = data | LEAF_RW | USER;
	*leaf(root, USER_STACK - 1) = stack | LEAF_RW | USER;
	return space;
}

/* A space with the same user pages, which both spaces copy when they write. */
static uint32_t fork_space(uint32_t parent)
{
	uint32_t space = make_space(), from = kernel.spaces[parent], to = kernel.spaces[space];
	for (uint32_t i = 0; i < 1024; i++) {
		uint32_t *table = words(words(from)[i]);
		if (!(words(from)[i] & PRESENT) || words(to)[i])
			continue;
		for (uint32_t j = 0; j < 1024; j++) {
			if (!(table[j] & PRESENT))
				continue;
			if (table[j] & WRITABLE)
				table[j] = (table[j] & ~(WRITABLE | SOFTWARE)) | COW;
			*leaf(to, i << 22 | j << 12) = table[j];
		}
	}
	set_cr3(cr3());
	return space;
}

static uint32_t run_process(uint32_t space, uint32_t value, uint32_t program)
{
	uint32_t back = cr3();
	set_cr3(kernel.spaces[space]);
	uint32_t answer = enter_user(USER_CODE + program * I686_PROGRAM_BYTES, USER_STACK, value);
	set_cr3(back);
	return answer;
}

/* Read, or write, a word of a space. */
static uint32_t visit(uint32_t space, uint32_t gva, const uint64_t *value)
{
	uint32_t back = cr3();
	set_cr3(kernel.spaces[space]);
	if (value)
		*(volatile uint32_t *)gva = (uint32_t)*value;
	uint32_t word = *(volatile uint32_t *)gva;
	set_cr3(back);
	return word;
}

static void find_spaces(void)
{
	uint32_t base = (uint32_t)TOP_WORD(0x18);
	for (uint32_t i = 0; i < kernel.space_count; i++)
		kernel.spaces[i] = base + i * (uint32_t)PAGE;
}

/* ---- calls ---- */

static void save(enum i686_when when, const uint32_t saved[I686_GENERAL_COUNT])
{
	for (unsigned i = 0; i < I686_GENERAL_COUNT; i++)
		kernel.general[when][i] = saved[i];
	kernel.general[when][I686_ESP] = (uint32_t)(saved + I686_GENERAL_COUNT);
}

void kernel_initialise(const uint32_t saved[I686_GENERAL_COUNT])
{
	for (uint32_t at = 0; at < sizeof kernel; at += PAGE)
		own((uint32_t)&kernel + at);
	save(I686_AT_INITIALISE, saved);
	probe_system(kernel.system);
	kernel.peb = (const struct peb *)saved[I686_EDI];
	load_tables();
	*leaf(cr3(), KERNEL_HALF) = new_page() | LEAF_RW;
	kernel.spaces[kernel.space_count++] = cr3() & ADDRESS;
}

/* The entry for gva, or 0; makes no table. */
static uint32_t look(uint32_t root, uint32_t gva)
{
	uint32_t entry = words(root)[gva >> 22];
	return entry & PRESENT ? words(entry)[gva >> 12 & 1023] : 0;
}

static uint64_t operation(uint32_t op, const uint64_t *a)
{
	const uint32_t b[] = {(uint32_t)a[0], (uint32_t)a[1], (uint32_t)a[2]};
	switch (op) {
	case OP('m', 'a', 'k', 'e'): /* value: its space */
		return make_process(b[0]);
	case OP('b', 'a', 'r', 'e'): /* its space, which has no pages of its own */
		return make_space();
	case OP('f', 'o', 'r', 'k'): /* space: the new one */
		return fork_space(b[0]);
	case OP('r', 'u', 'n', '_'): /* space, value, program: what it answers */
		return run_process(b[0], b[1], b[2]);
	case OP('p', 'e', 'e', 'k'): /* space, gva */
		return visit(b[0], b[1], 0);
	case OP('p', 'o', 'k', 'e'): /* space, gva, value */
		return visit(b[0], b[1], &a[2]);
	case OP('p', 'a', 'g', 'e'): /* space, gva, flags: its gpa */
		*leaf(kernel.spaces[b[0]], b[1]) = new_page() | b[2];
		forget(b[1]);
		return look(kernel.spaces[b[0]], b[1]) & ADDRESS;
	case OP('f', 'i', 'l', 'l'): /* gpa in scratch, value of its first word */
		*words(b[0]) = b[1];
		return 0;
	case OP('m', 'a', 'p', '_'): /* space, gva, entry */
		*leaf(kernel.spaces[b[0]], b[1]) = b[2];
		forget(b[1]);
		return 0;
	case OP('d', 'i', 'r', '_'): /* space, gva, entry or 0: the entry of the directory */
		if (b[2]) {
			words(kernel.spaces[b[0]])[b[1] >> 22] = b[2];
			set_cr3(cr3());
		}
		return words(kernel.spaces[b[0]])[b[1] >> 22];
	case OP('l', 'e', 'a', 'f'): /* space, gva */
		return look(kernel.spaces[b[0]], b[1]);
	case OP('r', 'o', 'o', 't'): /* space */
		return kernel.spaces[b[0]];
	case OP('m', 'o', 'v', 'e'): /* space: runs there from now on */
		set_cr3(kernel.spaces[b[0]]);
		return cr3();
	case OP('t', 'r', 'a', 'p'):
		__asm__ volatile("int3" : : : "memory");
		return traps;
	case OP('c', 'o', 'p', 'y'):
		return copies;
	case OP('c', 'r', '4', '_'): /* bits to set; bits to clear: CR4 */
		__asm__ volatile("mov %%cr4, %%eax; or %0, %%eax; and %1, %%eax; mov %%eax, %%cr4"
				 :
				 : "r"(b[0]), "r"(~b[1])
				 : "eax", "memory");
		return 0;
	case OP('p', 'e', 'b', '_'):
		return (uint32_t)kernel.peb;
	case OP('s', 'p', 'a', 'c'): /* where the table of spaces is; its count stands before it */
		return (uint32_t)&kernel.spaces;
	case OP('g', 'e', 'n', 'e'): /* when, index */
		return kernel.general[b[0] & 1][b[1] % I686_GENERAL_COUNT];
	case OP('s', 'y', 's', 't'): /* index */
		return kernel.system[b[0] % I686_SYSTEM_COUNT];
	default:
		return probe_operation(kernel.peb, op, a);
	}
}

void kernel_dispatch(const uint32_t saved[I686_GENERAL_COUNT])
{
	uint64_t a[4];
	save(I686_AT_DISPATCH, saved);
	if (saved[I686_EFLAGS] & FLAG_ZERO)
		find_spaces();
	uint32_t op = read_call(kernel.peb, a);
	probe_end(kernel.peb, op, a);
	push_u64(kernel.peb, operation(op, a));
	out32(108, 0);
}
