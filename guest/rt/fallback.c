/* SPDX-License-Identifier: MIT */
/*
 * The ring-0 fallback, for hosts of the ABI (family S) that do not confine guests: descriptor
 * tables, page faults, a run-info structure made up from what such a host tells.
 *
 * Exceptions do not nest: they all start at the top of one small stack. So the handler writes only
 * to that stack and to scratch, and reads the program's memory only after finding it mapped.
 * SYSCALL needs no model-specific register, which hosts may refuse: its target is 0 after a reset,
 * so it ends in a page fault at address 0 with the return address in RCX.
 */
#include "fallback.h"
#include "rt.h"

#include <string.h>

#define PAGE MOTE__GUEST_PAGE_BYTES

/* What exception entries leave on the stack. */
struct frame {
	uint64_t rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11;
	uint64_t vector, error;
	uint64_t rip, cs, rflags, rsp, ss;
};

struct descriptor_registers {
	struct __attribute__((packed)) {
		uint16_t limit;
		uint64_t base;
		uint8_t padding[6];
	} gdt, idt;
};

extern const uint8_t mote__guest_fallback_vectors[];
extern const uint8_t mote__guest_syscall_entry[];
/* Descriptor of the note; bytes 32 to 39 are the size of the stack. */
extern const uint8_t mote__guest_note[];

void mote__guest_fallback_load(const struct descriptor_registers *registers);
void mote__guest_fallback_prepare(void);
_Noreturn void mote__guest_fallback_start(const struct mote_abi_peb *peb, uint64_t seed,
					  uint64_t log_level);
_Noreturn void mote__guest_fallback_call(bool is_restored);
void mote__guest_fallback_exception(struct frame *frame, uint64_t cr2);

/* ---- Page tables ---- */

#define SCRATCH_LINEAR   0xFFFFFFEFFFFFF000ull /* GVA - GPA of scratch, modulo 2^64 */
#define FRAMES_END       0xFFFFFD000ull        /* the host keeps what lies above */
#define ENTRY_ADDRESS    0x000FFFFFFFFFF000ull
#define ENTRY_PRESENT    1u
#define ENTRY_TABLE      0x023u
#define ENTRY_COW_MASK   0xE00u
#define ENTRY_COW        0x200u
#define ENTRY_WRITABLE   0x063u
#define ENTRY_NO_EXECUTE (1ull << 63)

static void *scratch_at(uint64_t gpa)
{
	return (void *)(gpa + SCRATCH_LINEAR);
}

/* A zero frame of scratch: the host cleared them, and none comes twice. */
static uint64_t frame_take(void)
{
	static const char text[] = "Out of physical memory";
	uint64_t gpa = PAGE;
	__asm__ volatile("lock xadd %0, %1"
			 : "+r"(gpa), "+m"(*(uint64_t *)MOTE__FALLBACK_NEXT_FRAME)
			 :
			 : "memory");
	if (gpa >= FRAMES_END)
		mote__guest_abort(MOTE_GUEST_MALLOC_FAILED, text, sizeof text - 1);
	return gpa;
}

/* The leaf entry of gva. Without make: NULL if there is no table for it. */
static uint64_t *leaf_of(uint64_t gva, bool make)
{
	uint64_t table;
	__asm__ volatile("mov %%cr3, %0" : "=r"(table));
	for (unsigned shift = 39;; shift -= 9) {
		uint64_t *entries = scratch_at(table & ENTRY_ADDRESS);
		uint64_t *entry = &entries[(gva >> shift) & 511];
		if (shift == 12)
			return entry;
		if (!(*entry & ENTRY_PRESENT)) {
			if (!make)
				return NULL;
			*entry = frame_take() | ENTRY_TABLE;
		}
		table = *entry;
	}
}

static void map_new(uint64_t gva)
{
	*leaf_of(gva, true) = frame_take() | ENTRY_WRITABLE | ENTRY_NO_EXECUTE;
}

static bool is_mapped(uint64_t gva)
{
	const uint64_t *leaf = leaf_of(gva, false);
	return leaf && (*leaf & ENTRY_PRESENT);
}

static void copy_page(void *to, const void *from)
{
	uint64_t words = PAGE / 8;
	__asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(words) : : "memory");
}

/* ---- Start ---- */

static void put_gate(uint64_t *gate, uint64_t handler)
{
	/* interrupt gate, ring 0, IST 1 */
	gate[0] = (handler & 0xFFFF) | MOTE__FALLBACK_CS << 16 | 1ull << 32 | 0x8Eull << 40 |
		  (handler >> 16 & 0xFFFF) << 48;
	gate[1] = handler >> 32;
}

/* Accessed and busy bits are set, so that the processor need not write when the page is read-only
 * after a snapshot. TR is loaded from an available descriptor, that it marks busy itself. */
void mote__guest_fallback_prepare(void)
{
	uint64_t tss = MOTE__FALLBACK_TSS;
	uint64_t *gdt = (uint64_t *)MOTE__FALLBACK_CONTROL;
	uint64_t *idt = (uint64_t *)MOTE__FALLBACK_IDT;
	map_new(MOTE__FALLBACK_CONTROL);
	map_new(MOTE__FALLBACK_IDT);
	gdt[MOTE__FALLBACK_CS / 8] = 0x00AF9B000000FFFF;
	gdt[MOTE__FALLBACK_SS / 8] = 0x00CF93000000FFFF;
	gdt[MOTE__FALLBACK_TR / 8] =
		0x67 | (tss & 0xFFFFFF) << 16 | 0x89ull << 40 | (tss >> 24 & 0xFF) << 56;
	gdt[MOTE__FALLBACK_TR / 8 + 1] = tss >> 32;
	uint64_t ist = MOTE__FALLBACK_EXCEPTION_STACK;
	memcpy((uint8_t *)tss + 0x24, &ist, sizeof ist);
	for (size_t i = 0; i < MOTE__FALLBACK_VECTORS; i++)
		put_gate(&idt[2 * i], (uint64_t)mote__guest_fallback_vectors + 16 * i);
	struct descriptor_registers registers = {
		.gdt = {.limit = MOTE__FALLBACK_TR + 15, .base = MOTE__FALLBACK_CONTROL},
		.idt = {.limit = 16 * MOTE__FALLBACK_VECTORS - 1, .base = MOTE__FALLBACK_IDT},
	};
	mote__guest_fallback_load(&registers);
}

static struct mote_abi_run_info run_info;

static uint64_t stack_bytes(void)
{
	uint64_t bytes;
	memcpy(&bytes, mote__guest_note + offsetof(struct mote_abi_note, stack_bytes),
	       sizeof bytes);
	return bytes;
}

/* splitmix64: spreads the host's 64 bits of seed. */
static uint64_t spread(uint64_t *state)
{
	uint64_t z = *state += 0x9E3779B97F4A7C15;
	z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
	z = (z ^ z >> 27) * 0x94D049BB133111EB;
	return z ^ z >> 31;
}

/* Mix something new into the random bytes. Such a host tells nothing secret at a restore, so this
 * only keeps calls from repeating each other. */
static void reseed(uint64_t seed)
{
	uint32_t low, high;
	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	seed ^= (uint64_t)high << 32 | low;
	for (unsigned i = 0; i < sizeof run_info.random; i += sizeof(uint64_t)) {
		uint64_t old, word = spread(&seed);
		memcpy(&old, run_info.random + i, sizeof old);
		word ^= old;
		memcpy(run_info.random + i, &word, sizeof word);
	}
	run_info.generation++;
}

_Noreturn void mote__guest_fallback_start(const struct mote_abi_peb *peb, uint64_t seed,
					  uint64_t log_level)
{
	run_info = (struct mote_abi_run_info){
		.syscall_handler = (uint64_t)mote__guest_syscall_entry,
		.syscall_word = MOTE__FALLBACK_SYSCALL_WORD,
		.generation = *(const uint64_t *)MOTE__FALLBACK_GENERATION,
		.log_level = log_level < MOTE_LOG_TRACE ? (uint32_t)log_level : MOTE_LOG_TRACE,
		.stack_first = MOTE__FALLBACK_STACK_TOP - stack_bytes(),
		.stack_top = MOTE__FALLBACK_STACK_TOP,
		.heap_first = peb->heap,
		.heap_bytes = peb->heap_bytes,
		.input = peb->input,
		.input_bytes = peb->input_bytes,
		.output = peb->output,
		.output_bytes = peb->output_bytes,
		.init_data = peb->init_data,
		.init_data_bytes = peb->init_data_bytes,
	};
	reseed(seed);
	mote__guest.owns_ring_0 = true;
	mote__guest_start(&run_info);
}

/* ---- Call ---- */

static uint64_t load64(const uint8_t *from)
{
	uint64_t value;
	__builtin_memcpy(&value, from, sizeof value);
	return value;
}

/* The call is moved out of the input buffer, whose stack the guest pops itself on such hosts. */
_Noreturn void mote__guest_fallback_call(bool is_restored)
{
	static const char text[] = "No memory for the parameters of the call";
	uint8_t *input = (uint8_t *)run_info.input;
	uint64_t pointer = load64(input);
	uint64_t at = load64(input + pointer - 8);
	if (is_restored)
		reseed(*(const uint64_t *)MOTE__FALLBACK_GENERATION);
	mote__guest_scratch_reset();
	void *copy = mote__guest_scratch_take(pointer - at);
	if (copy)
		memcpy(copy, input + at, pointer - at);
	memset(input + at, 0, pointer - at);
	memcpy(input, &at, sizeof at);
	if (!copy)
		mote__guest_end(MOTE_GUEST_MALLOC_FAILED, text, sizeof text - 1);
	mote__guest_dispatch(copy);
}

/* ---- Exceptions ---- */

#define FAULT_PRESENT 1u
#define FAULT_WRITE   2u
#define VECTOR_PAGE   14u

static void add_line(struct mote__guest_text *text, const char *name, uint64_t value)
{
	mote__guest_add(text, name);
	mote__guest_add_hex(text, value);
}

static void add_code(struct mote__guest_text *text, uint64_t rip)
{
	mote__guest_add(text, "\nBytes At Faulting Instruction: [");
	bool can_read = is_mapped(rip) && is_mapped(rip + 7);
	for (unsigned i = 0; i < 8; i++) {
		if (i > 0)
			mote__guest_add(text, ", ");
		mote__guest_add_decimal(text, can_read ? ((const uint8_t *)rip)[i] : 0);
	}
	mote__guest_add(text, "]");
}

static _Noreturn void abort_exception(const struct frame *frame, uint64_t cr2)
{
	MOTE__GUEST_TEXT(text);
	mote__guest_add(&text, "Exception vector: ");
	mote__guest_add_decimal(&text, frame->vector);
	add_line(&text, "\nFaulting Instruction: ", frame->rip);
	add_code(&text, frame->rip);
	add_line(&text, "\nPage Fault Address: ", frame->vector == VECTOR_PAGE ? cr2 : 0);
	add_line(&text, "\nError code: ", frame->error);
	add_line(&text, "\nStack Pointer: ", (uint64_t)frame);
	mote__guest_abort_exception((uint8_t)frame->vector, text.data, text.len);
}

/* A jump to address 0 that came from a SYSCALL instruction of the image. */
static bool is_syscall(const struct frame *frame, uint64_t cr2)
{
	const uint8_t *after = (const uint8_t *)frame->rcx;
	return cr2 == 0 && frame->rip == 0 && after >= mote__guest_text_first + 2 &&
	       after <= mote__guest_text_end && after[-2] == 0x0F && after[-1] == 0x05;
}

/* SYSCALL left selectors that no descriptor stands behind. */
static void continue_syscall(struct frame *frame)
{
	*(uint64_t *)MOTE__FALLBACK_SYSCALL_WORD = frame->rcx;
	frame->rip = (uint64_t)mote__guest_syscall_entry;
	frame->cs = MOTE__FALLBACK_CS;
	frame->ss = MOTE__FALLBACK_SS;
}

static bool is_stack(uint64_t gva)
{
	uint64_t below = MOTE__FALLBACK_STACK_TOP - 1 - gva;
	return gva < MOTE__FALLBACK_STACK_TOP && below < stack_bytes();
}

static bool copy_on_write(uint64_t gva)
{
	uint64_t *leaf = leaf_of(gva, false);
	if (!leaf || (*leaf & ENTRY_COW_MASK) != ENTRY_COW)
		return false;
	uint64_t frame = frame_take();
	copy_page(scratch_at(frame), (const void *)(gva & ~(uint64_t)(PAGE - 1)));
	*leaf = frame | ENTRY_WRITABLE | (*leaf & ENTRY_NO_EXECUTE);
	__asm__ volatile("invlpg (%0)" : : "r"(gva) : "memory");
	return true;
}

void mote__guest_fallback_exception(struct frame *frame, uint64_t cr2)
{
	bool is_handled = false;
	if (frame->vector == VECTOR_PAGE) {
		if (frame->error & FAULT_PRESENT) {
			is_handled = (frame->error & FAULT_WRITE) && copy_on_write(cr2);
		} else if (is_syscall(frame, cr2)) {
			continue_syscall(frame);
			is_handled = true;
		} else if (is_stack(cr2)) {
			map_new(cr2);
			is_handled = true;
		}
	}
	if (!is_handled)
		abort_exception(frame, cr2);
}
