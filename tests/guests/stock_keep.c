/* SPDX-License-Identifier: MIT */
/*
 * A bare stock guest that lives through restores: its stack is the exception stack, which is always
 * there, it copies what it wants to write before it does, and a dispatch that finds ZF forgets what
 * was translated. It maps pages, makes address spaces and keeps registers as it is told, by a
 * function's name of four letters with up to four u64 parameters. The answer is a u64.
 */
#include <stdint.h>

#include "stock_message.h"

#define ADDRESS 0x000FFFFFFFFFF000ull
#define LINK    0x023ull
#define LEAF_RW 0x063ull
#define COW     0x200ull

uint64_t keep_initialise(const struct peb *peb);
void keep_dispatch(uint64_t flags);

/* A page of its own, copied before it is written. */
__attribute__((aligned(PAGE))) static struct {
	const struct peb *peb;
	uint64_t rest[511];
} kept;
__attribute__((aligned(PAGE), used)) static uint64_t data[8][512] = {[1] = {[3] = 0x31}};

static uint64_t *words(uint64_t gpa)
{
	return (uint64_t *)((gpa & ADDRESS) + LINEAR);
}

static uint64_t new_page(void)
{
	uint64_t gpa = PAGE;
	__asm__ volatile("lock xadd %0, %1" : "+r"(gpa), "+m"(TOP_WORD(0x10)) : : "memory");
	return gpa;
}

static uint64_t cr3(void)
{
	uint64_t value;
	__asm__ volatile("mov %%cr3, %0" : "=r"(value));
	return value;
}

static void set_cr3(uint64_t value)
{
	__asm__ volatile("mov %0, %%cr3" : : "r"(value) : "memory");
}

static void forget(uint64_t gva)
{
	__asm__ volatile("invlpg (%0)" : : "r"(gva) : "memory");
}

/* The place of the leaf of gva in the space of root. */
static uint64_t *leaf(uint64_t root, uint64_t gva)
{
	for (int shift = 39; shift > 12; shift -= 9) {
		uint64_t *entry = words(root) + (gva >> shift & 511);
		if (!(*entry & 1))
			*entry = new_page() | LINK;
		root = *entry;
	}
	return words(root) + (gva >> 12 & 511);
}

/* Make the page at gva writable: a copy in a page of scratch. */
static void own(uint64_t gva)
{
	uint64_t *entry = leaf(cr3(), gva), gpa = new_page();
	const uint64_t *from = (const uint64_t *)(gva & ~(PAGE - 1));
	for (unsigned i = 0; i < 512; i++)
		words(gpa)[i] = from[i];
	*entry = gpa | LEAF_RW | (*entry & ~(ADDRESS | 0xFFF));
	forget(gva);
}

uint64_t keep_initialise(const struct peb *peb)
{
	own((uint64_t)&kept);
	kept.peb = peb;
	return 0;
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

/* GDT (0) or IDT (1): base and limit. */
static void load_table(uint64_t which, uint64_t base, uint64_t limit)
{
	struct __attribute__((packed)) {
		uint16_t limit;
		uint64_t base;
	} table = {(uint16_t)limit, base};
	if (which)
		__asm__ volatile("lidt %0" : : "m"(table));
	else
		__asm__ volatile("lgdt %0" : : "m"(table));
}

static uint64_t store_table(uint64_t which, uint64_t wants_limit)
{
	struct __attribute__((packed)) {
		uint16_t limit;
		uint64_t base;
	} table;
	if (which)
		__asm__ volatile("sidt %0" : "=m"(table));
	else
		__asm__ volatile("sgdt %0" : "=m"(table));
	return wants_limit ? table.limit : table.base;
}

/* Another address space with the entries of this one. */
static uint64_t copy_space(void)
{
	uint64_t root = new_page();
	for (unsigned i = 0; i < 512; i++)
		words(root)[i] = words(cr3())[i];
	return root;
}

static uint64_t operation(uint32_t op, const uint64_t *a, uint64_t flags)
{
	switch (op) {
	case OP('p', 'e', 'e', 'k'):
		return *(volatile uint64_t *)a[0];
	case OP('p', 'o', 'k', 'e'):
		*(volatile uint64_t *)a[0] = a[1];
		return 0;
	case OP('f', 'l', 'a', 'g'):
		return flags;
	case OP('d', 'a', 't', 'a'):
		return (uint64_t)data;
	case OP('o', 'w', 'n', '_'):
		own(a[0]);
		return 0;
	case OP('p', 'a', 'g', 'e'):
		return new_page();
	case OP('m', 'a', 'p', '_'): /* root or 0, gva, entry */
		*leaf(a[0] ? a[0] : cr3(), a[1]) = a[2];
		forget(a[1]);
		return 0;
	case OP('l', 'e', 'a', 'f'):
		return *leaf(a[0] ? a[0] : cr3(), a[1]);
	case OP('s', 'p', 'a', 'c'):
		return copy_space();
	case OP('c', 'r', '3', '_'):
		return cr3();
	case OP('s', 'c', 'r', '3'):
		set_cr3(a[0]);
		return 0;
	case OP('r', 'd', 'm', 's'):
		return read_msr(a[0]);
	case OP('w', 'r', 'm', 's'):
		write_msr(a[0], a[1]);
		return 0;
	case OP('l', 'd', 't', 'r'):
		load_table(a[0], a[1], a[2]);
		return 0;
	case OP('s', 't', 't', 'r'):
		return store_table(a[0], a[1]);
	default:
		__asm__ volatile("ud2");
		return 0;
	}
}

void keep_dispatch(uint64_t flags)
{
	uint64_t a[4];
	if (flags & 0x40)
		set_cr3(cr3());
	uint32_t op = read_call(kept.peb, a);
	push_u64(kept.peb, operation(op, a, flags));
	out32(108, 0);
}
