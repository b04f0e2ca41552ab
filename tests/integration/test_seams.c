/* SPDX-License-Identifier: MIT */
/*
 * The seams of confined guests, put together on a bare VM: the library's system pages, the
 * prologue and the reset entry, copy-on-write through the window, zero pages in leaf tables that
 * are there from the start, leaves that the host edits between two calls, the edit log, the
 * run-info page, tables as a private mapping of a memory object, and a ring-3 program that tries
 * every door. Uses the system pages and the kernel, nothing else of the library.
 */
#define _GNU_SOURCE
#include "core/confined.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"

extern const uint8_t mote__system_pages[];

enum {
	PAGE = 4096,
	CODE = 0x1000,     /* one page, read and execute */
	CONSTANT = 0x2000, /* one page, read-only */
	DATA = 0x10000,    /* copy-on-write */
	DATA_PAGES = 64,
	IMAGE_PAGES = 2 + DATA_PAGES,
	TABLE_PAGES = 24,
	FRAME_PAGES = 512,
	STACK_PAGES = 16,
};

#define HEAP          0x40000000ull
#define HEAP_PAGES    (3 * 512ull)
#define STACK_TOP     0x7ffff000ull
#define SCRATCH_GPA   0xff0000000ull
#define TABLES_GPA    SCRATCH_GPA
#define LOG_GVA       (MOTE__SYSTEM_GVA + 0x200000)
#define PARAMS_GPA    (TABLES_GPA + TABLE_PAGES * PAGE)
#define IST_GPA       (PARAMS_GPA + PAGE)
#define RUN_INFO_GPA  (IST_GPA + PAGE)
#define LOG_GPA       (RUN_INFO_GPA + PAGE)
#define FRAMES_GPA    (LOG_GPA + PAGE)
#define SCRATCH_PAGES (TABLE_PAGES + 4 + FRAME_PAGES)

struct vm {
	int kvm, vm, vcpu, image_fd, table_fd;
	struct kvm_run *run;
	size_t run_bytes;
	uint8_t *image, *scratch, *table_object;
	unsigned tables_used;
	uint64_t root;
	uint32_t xstate;
};

static uint64_t *table_at(struct vm *v, uint64_t gpa)
{
	return (uint64_t *)(v->table_object + (gpa - TABLES_GPA));
}

static uint64_t *entry_of(struct vm *v, uint64_t gva, int to_level)
{
	uint64_t table = v->root;
	for (int level = 3; level > to_level; level--) {
		uint64_t *entry = &table_at(v, table)[(gva >> (12 + 9 * level)) & 511];
		if (!*entry) {
			CHECK(v->tables_used < TABLE_PAGES);
			*entry = (TABLES_GPA + v->tables_used++ * PAGE) | 0x67;
		}
		table = *entry & 0xFFFFFFFFFF000ull;
	}
	return &table_at(v, table)[(gva >> (12 + 9 * to_level)) & 511];
}

static void map_page(struct vm *v, uint64_t gva, uint64_t gpa, uint64_t flags)
{
	*entry_of(v, gva, 0) = gpa | flags;
}

#define USER_CODE   0x65ull
#define USER_READ   0x8000000000000065ull
#define USER_WRITE  0x8000000000000067ull
#define USER_COW    0x8000000000000265ull
#define SUPER_CODE  0x61ull
#define SUPER_READ  0x8000000000000061ull
#define SUPER_WRITE 0x8000000000000063ull

static void build_tables(struct vm *v)
{
	v->root = TABLES_GPA;
	v->tables_used = 1;
	table_at(v, v->root)[MOTE__SELF_SLOT] = v->root | 0x63;
	map_page(v, CODE, 0x1000, USER_CODE);
	map_page(v, CONSTANT, 0x2000, USER_READ);
	for (unsigned i = 0; i < DATA_PAGES; i++)
		map_page(v, DATA + i * PAGE, 0x3000 + i * PAGE, USER_COW);
	for (uint64_t page = 0; page < HEAP_PAGES; page += 512)
		(void)entry_of(v, HEAP + page * PAGE, 0);
	(void)entry_of(v, STACK_TOP - PAGE, 0);

	static const uint64_t system_flags[] = {SUPER_CODE, SUPER_READ, SUPER_READ, USER_CODE};
	for (unsigned i = 0; i < MOTE__SYSTEM_PAGES; i++)
		map_page(v, MOTE__PAGE_GVA(i), MOTE__SYSTEM_GPA + i * PAGE, system_flags[i]);
	map_page(v, MOTE__PAGE_GVA(MOTE__PARAMS_PAGE), PARAMS_GPA, SUPER_WRITE);
	map_page(v, MOTE__PAGE_GVA(MOTE__IST_PAGE), IST_GPA, USER_WRITE);
	map_page(v, MOTE__PAGE_GVA(MOTE__RUN_INFO_PAGE), RUN_INFO_GPA, USER_READ);
	map_page(v, MOTE__PAGE_GVA(MOTE__WINDOW_PAGE), RUN_INFO_GPA, USER_READ);
	map_page(v, LOG_GVA, LOG_GPA, SUPER_WRITE);
	uint64_t leaves = *entry_of(v, MOTE__SYSTEM_GVA, 1) & 0xFFFFFFFFFF000ull;
	map_page(v, MOTE__PAGE_GVA(MOTE__LEAVES_PAGE), leaves, SUPER_WRITE);
}

static uint64_t *at(struct vm *v, uint64_t gpa)
{
	return (uint64_t *)(v->scratch + (gpa - SCRATCH_GPA));
}

static void slot(struct vm *v, unsigned id, uint64_t gpa, const void *host, size_t bytes,
		 unsigned flags)
{
	struct kvm_userspace_memory_region region = {.slot = id,
						     .flags = flags,
						     .guest_phys_addr = gpa,
						     .memory_size = bytes,
						     .userspace_addr = (uint64_t)(uintptr_t)host};
	CHECK(ioctl(v->vm, KVM_SET_USER_MEMORY_REGION, &region) == 0);
}

static bool is_tcg(void)
{
	uint32_t a, b, c, d;
	__asm__("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(0x40000000), "c"(0));
	return b == 0x54474354; /* "TCGT" */
}

static void set_special(struct vm *v)
{
	struct kvm_sregs s;
	CHECK(ioctl(v->vcpu, KVM_GET_SREGS, &s) == 0);
	struct kvm_segment code = {.limit = 0xFFFFFFFF,
				   .selector = MOTE__CS3,
				   .type = 11,
				   .present = 1,
				   .dpl = 3,
				   .s = 1,
				   .l = 1,
				   .g = 1};
	struct kvm_segment data = {.limit = 0xFFFFFFFF,
				   .selector = MOTE__SS3,
				   .type = 3,
				   .present = 1,
				   .dpl = 3,
				   .s = 1,
				   .db = 1,
				   .g = 1};
	s.cs = code;
	s.ss = s.ds = s.es = s.fs = s.gs = data;
	memset(&s.ldt, 0, sizeof s.ldt);
	s.ldt.unusable = 1;
	struct kvm_segment tr = {.base = MOTE__PAGE_GVA(MOTE__SYSTEM_TABLE_PAGE) + MOTE__TSS_OFFSET,
				 .limit = MOTE__TSS_LIMIT,
				 .selector = MOTE__TR,
				 .type = is_tcg() ? 9 : 11,
				 .present = 1};
	s.tr = tr;
	s.gdt.base = MOTE__PAGE_GVA(MOTE__SYSTEM_TABLE_PAGE);
	s.gdt.limit = MOTE__GDT_LIMIT;
	s.idt.base = MOTE__PAGE_GVA(MOTE__SYSTEM_IDT_PAGE);
	s.idt.limit = 0xFFF;
	s.cr0 = 0x80050033;
	s.cr3 = v->root;
	s.cr4 = 0x620 | (1u << 16) | (1u << 11); /* FSGSBASE, UMIP */
	s.efer = 0xD01;
	CHECK(ioctl(v->vcpu, KVM_SET_SREGS, &s) == 0);
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry[3];
	} msrs = {.head = {.nmsrs = 3},
		  .entry = {{.index = 0xC0000081, .data = 0x0023001000000000},
			    {.index = 0xC0000082, .data = MOTE__SYSCALL_GVA},
			    {.index = 0xC0000084, .data = 0x47700}}};
	CHECK(ioctl(v->vcpu, KVM_SET_MSRS, &msrs) == 3);
}

static uint64_t data_word(unsigned page, unsigned word)
{
	return 0x1234567800000000ull + page * 512 + word;
}

static void fill_image(struct vm *v, const uint8_t *code, size_t code_bytes)
{
	CHECK(code_bytes <= PAGE);
	memcpy(v->image + CODE, code, code_bytes);
	memset(v->image + CONSTANT, 0x5A, PAGE);
	for (unsigned i = 0; i < DATA_PAGES; i++)
		for (unsigned j = 0; j < 512; j++)
			((uint64_t *)(v->image + 0x3000 + i * PAGE))[j] = data_word(i, j);
}

static uint8_t *map_object(int fd, size_t bytes)
{
	uint8_t *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED);
	return p;
}

static struct vm vm_make(const uint8_t *code, size_t code_bytes)
{
	struct vm v = {.kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC)};
	if (v.kvm < 0)
		check_skip("cannot open /dev/kvm: %s", strerror(errno));
	v.vm = ioctl(v.kvm, KVM_CREATE_VM, 0);
	CHECK(v.vm >= 0);
	v.vcpu = ioctl(v.vm, KVM_CREATE_VCPU, 0);
	CHECK(v.vcpu >= 0);
	v.run_bytes = (size_t)ioctl(v.kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	v.run = mmap(NULL, v.run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, v.vcpu, 0);
	CHECK(v.run != MAP_FAILED);

	v.image_fd = memfd_create("image", MFD_CLOEXEC);
	CHECK(ftruncate(v.image_fd, (1 + IMAGE_PAGES) * PAGE) == 0);
	v.image = map_object(v.image_fd, (1 + IMAGE_PAGES) * PAGE);
	fill_image(&v, code, code_bytes);

	v.table_fd = memfd_create("tables", MFD_CLOEXEC);
	CHECK(ftruncate(v.table_fd, TABLE_PAGES * PAGE) == 0);
	v.table_object = map_object(v.table_fd, TABLE_PAGES * PAGE);
	build_tables(&v);

	v.scratch = mmap(NULL, SCRATCH_PAGES * PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	CHECK(v.scratch != MAP_FAILED);
	CHECK(mmap(v.scratch, TABLE_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED,
		   v.table_fd, 0) == v.scratch);

	uint64_t *params = at(&v, PARAMS_GPA);
	params[MOTE__PARAMS_NEXT / 8] = FRAMES_GPA | MOTE__LEAF_NEW;
	params[MOTE__PARAMS_LIMIT / 8] = (FRAMES_GPA + FRAME_PAGES * PAGE) | MOTE__LEAF_NEW;
	params[MOTE__PARAMS_LOG_BIAS / 8] = LOG_GVA - ((FRAMES_GPA | MOTE__LEAF_NEW) >> 9);
	params[MOTE__PARAMS_COW_END / 8] = DATA / PAGE + DATA_PAGES;
	params[MOTE__PARAMS_HEAP_FIRST / 8] = HEAP / PAGE;
	params[MOTE__PARAMS_HEAP_PAGES / 8] = HEAP_PAGES;
	params[MOTE__PARAMS_STACK_FIRST / 8] = STACK_TOP / PAGE - STACK_PAGES;
	params[MOTE__PARAMS_STACK_PAGES / 8] = STACK_PAGES;
	at(&v, RUN_INFO_GPA)[0] = CODE + 0x800; /* SYSCALL handler */
	at(&v, RUN_INFO_GPA)[1] = 0xFEEDFACECAFEBEEF;

	slot(&v, 0, CODE, v.image + CODE, IMAGE_PAGES * PAGE, KVM_MEM_READONLY);
	slot(&v, 1, SCRATCH_GPA, v.scratch, SCRATCH_PAGES * PAGE, 0);
	slot(&v, 2, MOTE__SYSTEM_GPA, mote__system_pages, MOTE__SYSTEM_PAGES * PAGE,
	     KVM_MEM_READONLY);
	set_special(&v);
	return v;
}

static void vm_free(struct vm *v)
{
	munmap(v->run, v->run_bytes);
	munmap(v->image, (1 + IMAGE_PAGES) * PAGE);
	munmap(v->scratch, SCRATCH_PAGES * PAGE);
	munmap(v->table_object, TABLE_PAGES * PAGE);
	close(v->vcpu);
	close(v->vm);
	close(v->kvm);
	close(v->image_fd);
	close(v->table_fd);
}

struct outcome {
	uint32_t reason, port;
	uint64_t vector;                      /* port 0xE0 */
	uint64_t error, rip, cs, rflags, rsp; /* the frame on the interrupt stack */
	struct kvm_regs regs;
};

/* Run with these registers; stack, flags and what the prologue needs are filled in. */
static struct outcome vm_enter(struct vm *v, const struct kvm_regs *regs)
{
	struct kvm_sync_regs *sync = &v->run->s.regs;
	sync->regs = *regs;
	sync->regs.rsp = STACK_TOP;
	sync->regs.rflags = 2;
	sync->regs.rax = v->xstate;
	sync->regs.rbx = CODE;
	v->run->kvm_valid_regs = KVM_SYNC_X86_REGS;
	v->run->kvm_dirty_regs = KVM_SYNC_X86_REGS;
	struct outcome o = {0};
	for (;;) {
		int rc = ioctl(v->vcpu, KVM_RUN, 0);
		CHECK(rc == 0 || errno == EINTR || errno == EAGAIN);
		if (rc == 0)
			break;
	}
	o.reason = v->run->exit_reason;
	o.regs = sync->regs;
	if (o.reason != KVM_EXIT_IO)
		return o;
	o.port = v->run->io.port;
	uint8_t data[4] = {0};
	memcpy(data, (uint8_t *)v->run + v->run->io.data_offset, v->run->io.size);
	if (o.port == MOTE__PORT_EXCEPTION) {
		o.vector = data[0];
		bool has_code =
			(1u << o.vector) & ((1u << 8) | (0x1Fu << 10) | (1u << 17) | (1u << 21));
		const uint64_t *top = at(v, IST_GPA + PAGE);
		o.error = has_code ? top[-6] : 0;
		o.rip = top[-5];
		o.cs = top[-4];
		o.rflags = top[-3];
		o.rsp = top[-2];
	}
	return o;
}

/* Run the code page from its start with these arguments, through the prologue. */
static struct outcome vm_call(struct vm *v, uint64_t rdi, uint64_t rsi, uint64_t rdx)
{
	return vm_enter(v, &(struct kvm_regs){
				   .rip = MOTE__PROLOGUE_GVA, .rdi = rdi, .rsi = rsi, .rdx = rdx});
}

#define SNIPPET(name, text)                                                                   \
	__asm__(".section .rodata\n" #name "_start:\n" text "\n" #name "_end:\n.previous\n"); \
	extern const uint8_t name##_start[], name##_end[];
#define HALT "mov $108,%edx\nmov %eax,%eax\nout %eax,%dx\nud2\n"

/* rdi = count of u64 triples at rsi ... no memory of the host is visible: patterns are computed. */
SNIPPET(add, "lea (%rdi,%rsi),%rax\n out %eax,$108\n ud2")
/* Write rdi+i to word (i*7)&511 of page i of [rsi, rsi+rdx pages), in a strange register state. */
SNIPPET(writer, "xor %ecx,%ecx\n"
		"mov $0x1111,%r8\n mov $0x2222,%r9\n mov $0x3333,%rbx\n std\n stc\n"
		"1: lea (%rdi,%rcx),%rax\n"
		"lea (%rcx,%rcx,8),%r11\n and $511,%r11\n"
		"mov %rcx,%r10\n shl $12,%r10\n add %rsi,%r10\n"
		"mov %rax,(%r10,%r11,8)\n"
		"inc %rcx\n cmp %rdx,%rcx\n jb 1b\n"
		"pushfq\n pop %rax\n"
		"cld\n out %eax,$108\n ud2")
SNIPPET(reader, "mov (%rdi),%rax\n out %eax,$108\n ud2")
SNIPPET(storer, "mov %rsi,(%rdi)\n mov $77,%eax\n out %eax,$108\n ud2")
SNIPPET(jumper, "jmp *%rdi")

static struct vm vm_with(const uint8_t *start, const uint8_t *end)
{
	return vm_make(start, (size_t)(end - start));
}
#define VM(name) vm_with(name##_start, name##_end)

/* Other code for the next call. */
static void set_code(struct vm *v, const uint8_t *start, const uint8_t *end)
{
	memcpy(v->image + CODE, start, (size_t)(end - start));
}

static void check_halted(const struct outcome *o)
{
	if (o->reason != KVM_EXIT_IO || o->port != 108)
		check_note("exit %u port %u vector %llu error %llx rip %llx cr2? rsp %llx",
			   o->reason, o->port, (unsigned long long)o->vector,
			   (unsigned long long)o->error, (unsigned long long)o->rip,
			   (unsigned long long)o->rsp);
	CHECK(o->reason == KVM_EXIT_IO && o->port == 108);
}

static uint64_t frames_used(struct vm *v)
{
	return (at(v, PARAMS_GPA)[0] - (FRAMES_GPA | MOTE__LEAF_NEW)) / PAGE;
}

static const uint64_t *frame_at(struct vm *v, uint64_t frame)
{
	return at(v, FRAMES_GPA + frame * PAGE);
}

static uint64_t frame_word(uint64_t frame)
{
	return (FRAMES_GPA + frame * PAGE) | MOTE__LEAF_NEW;
}

/* The sandbox's own copy of an entry. */
static uint64_t *live_entry(struct vm *v, const uint64_t *entry)
{
	return (uint64_t *)(v->scratch + ((const uint8_t *)entry - v->table_object));
}

/* The log tells of each entry that differs from the tables as they were built (the window's apart):
 * a leaf that names the frame of its log word. Nothing above a leaf has changed. */
static void check_edits(struct vm *v)
{
	static uint8_t expected[TABLE_PAGES * PAGE];
	const uint64_t *window = entry_of(v, MOTE__PAGE_GVA(MOTE__WINDOW_PAGE), 0);
	const unsigned tables = v->tables_used;
	memcpy(expected, v->table_object, sizeof expected);
	for (uint64_t i = 0; i < frames_used(v); i++) {
		const uint64_t *leaf = entry_of(v, at(v, LOG_GPA)[i] * PAGE, 0);
		*(uint64_t *)(expected + ((const uint8_t *)leaf - v->table_object)) = frame_word(i);
	}
	*(uint64_t *)(expected + ((const uint8_t *)window - v->table_object)) =
		*live_entry(v, window);
	CHECK_EQ(v->tables_used, tables); /* no leaf was without a table */
	CHECK_MEM(expected, v->scratch, sizeof expected);
}

TEST(seams__dispatch_through_the_prologue_by_registers_alone)
{
	struct vm v = VM(add);
	for (unsigned i = 0; i < 50; i++) {
		struct outcome o = vm_call(&v, 40, i, 0);
		check_halted(&o);
		CHECK_EQ(o.regs.rax, 40 + i);
	}
	CHECK_EQ(frames_used(&v), 0);
	CHECK_MEM(v.scratch, v.table_object, TABLE_PAGES * PAGE);
	vm_free(&v);
}

TEST(seams__copy_on_write_keeps_registers_flags_and_the_snapshot)
{
	struct vm v = VM(writer);
	struct outcome o = vm_call(&v, 0xABC000, DATA, DATA_PAGES);
	check_halted(&o);
	CHECK_EQ(o.regs.r8, 0x1111);
	CHECK_EQ(o.regs.r9, 0x2222);
	CHECK_EQ(o.regs.rbx, 0x3333);
	CHECK(o.regs.rax & 0x400); /* DF was kept over the faults (and the stack push) */
	/* 64 data pages, one stack page. */
	CHECK_EQ(frames_used(&v), DATA_PAGES + 1);
	const uint64_t *log = at(&v, LOG_GPA);
	for (unsigned i = 0; i < DATA_PAGES; i++) {
		CHECK_EQ(log[i], DATA / PAGE + i);
		const uint64_t *frame = at(&v, FRAMES_GPA + i * PAGE);
		for (unsigned j = 0; j < 512; j++)
			CHECK_EQ(frame[j], j == (i * 9) % 512 ? 0xABC000 + i : data_word(i, j));
		CHECK_EQ(((uint64_t *)(v.image + 0x3000 + i * PAGE))[0], data_word(i, 0));
	}
	CHECK_EQ(log[DATA_PAGES], (STACK_TOP - PAGE) / PAGE);
	check_edits(&v);
	o = vm_call(&v, 0xDEF000, DATA, DATA_PAGES);
	check_halted(&o);
	CHECK_EQ(frames_used(&v), DATA_PAGES + 1);
	CHECK_EQ(at(&v, FRAMES_GPA + 5 * PAGE)[45], 0xDEF005);
	vm_free(&v);
}

TEST(seams__heap_and_stack_are_zero_on_demand_in_leaf_tables_that_are_there)
{
	struct vm v = VM(reader);
	for (unsigned table = 0; table < 3; table++) {
		struct outcome o = vm_call(&v, HEAP + table * 0x200000ull + 8 * table, 0, 0);
		check_halted(&o);
		CHECK_EQ(o.regs.rax, 0);
		CHECK_EQ(frames_used(&v), table + 1);
		CHECK_EQ(at(&v, LOG_GPA)[table], HEAP / PAGE + table * 512ull);
	}
	struct outcome o = vm_call(&v, HEAP + HEAP_PAGES * PAGE - 8, 0, 0);
	check_halted(&o);
	CHECK_EQ(o.regs.rax, 0);
	CHECK_EQ(frames_used(&v), 4);
	o = vm_call(&v, STACK_TOP - STACK_PAGES * PAGE, 0, 0);
	check_halted(&o);
	CHECK_EQ(o.regs.rax, 0);
	CHECK_EQ(frames_used(&v), 5);
	check_edits(&v);
	/* What is there needs no frame. */
	o = vm_call(&v, HEAP + 0x200000 + 16, 0, 0);
	check_halted(&o);
	CHECK_EQ(frames_used(&v), 5);
	vm_free(&v);
}

TEST(seams__heap_pages_hold_what_was_written)
{
	struct vm v = VM(writer);
	struct outcome o = vm_call(&v, 0x77000, HEAP + 0x1FC000, 64);
	check_halted(&o);
	/* Four pages in one leaf table, the others in the next. */
	for (unsigned i = 0; i < 64; i++)
		CHECK_EQ(frame_at(&v, i)[(i * 9) % 512], 0x77000 + i);
	CHECK_EQ(frames_used(&v), 64 + 1);
	check_edits(&v);
	vm_free(&v);
}

TEST(seams__out_of_frames_asks_the_host_and_goes_on)
{
	struct vm v = VM(writer);
	uint64_t *limit = &at(&v, PARAMS_GPA)[MOTE__PARAMS_LIMIT / 8];
	*limit = (FRAMES_GPA + 3 * PAGE) | MOTE__LEAF_NEW;
	struct outcome o = vm_call(&v, 1, DATA, 8);
	unsigned asked = 0;
	while (o.reason == KVM_EXIT_IO && o.port == MOTE__PORT_FRAMES) {
		asked++;
		*limit += PAGE;
		v.run->kvm_dirty_regs = 0;
		CHECK(ioctl(v.vcpu, KVM_RUN, 0) == 0);
		o.reason = v.run->exit_reason;
		o.port = v.run->io.port;
	}
	check_halted(&o);
	CHECK_EQ(asked, 8 + 1 - 3);
	for (unsigned i = 0; i < 8; i++)
		CHECK_EQ(at(&v, FRAMES_GPA + i * PAGE)[i * 9], 1 + i);
	vm_free(&v);
}

/* ---- what the host edits between two calls --------------------------------------------------- */

/* Give page gva the next frame, as a restore does: bytes, log word, leaf, allocator word. */
static void place(struct vm *v, uint64_t gva, const void *bytes)
{
	uint64_t frame = frames_used(v);
	memcpy(at(v, FRAMES_GPA + frame * PAGE), bytes, PAGE);
	at(v, LOG_GPA)[frame] = gva / PAGE;
	*live_entry(v, entry_of(v, gva, 0)) = frame_word(frame);
	at(v, PARAMS_GPA)[MOTE__PARAMS_NEXT / 8] = frame_word(frame + 1);
}

/* The processor may still have the read-only leaf of the page that it read. */
TEST(seams__a_page_that_was_read_and_then_given_a_frame_is_written_there)
{
	struct vm v = VM(reader);
	for (unsigned i = 0; i < 8; i++) {
		struct outcome o = vm_call(&v, DATA + i * PAGE, 0, 0);
		check_halted(&o);
		CHECK_EQ(o.regs.rax, data_word(i, 0));
	}
	set_code(&v, storer_start, storer_end);
	for (unsigned i = 0; i < 8; i++) {
		place(&v, DATA + i * PAGE, v.image + 0x3000 + i * PAGE);
		struct outcome o = vm_call(&v, DATA + i * PAGE, 0xABC0 + i, 0);
		check_halted(&o);
		CHECK_EQ(o.regs.rax, 77);
		CHECK_EQ(frames_used(&v), i + 1);
		CHECK_EQ(frame_at(&v, i)[0], 0xABC0 + i);
		CHECK_EQ(frame_at(&v, i)[1], data_word(i, 1));
		CHECK_EQ(((uint64_t *)(v.image + 0x3000 + i * PAGE))[0], data_word(i, 0));
	}
	check_edits(&v);
	vm_free(&v);
}

TEST(seams__an_absent_page_that_was_given_a_frame_takes_no_other)
{
	static const uint64_t pages[] = {HEAP + 5 * PAGE, HEAP + 0x3FF000, STACK_TOP - 3 * PAGE};
	struct vm v = VM(reader);
	uint64_t bytes[512] = {0x77AA};
	/* Neighbours first, so that all tables were walked. */
	for (unsigned i = 0; i < 3; i++) {
		struct outcome o = vm_call(&v, pages[i] - PAGE, 0, 0);
		check_halted(&o);
	}
	for (unsigned i = 0; i < 3; i++) {
		place(&v, pages[i], bytes);
		struct outcome o = vm_call(&v, pages[i], 0, 0);
		check_halted(&o);
		CHECK_EQ(o.regs.rax, 0x77AA);
		CHECK_EQ(frames_used(&v), 4 + i);
	}
	check_edits(&v);
	vm_free(&v);
}

/* A stale translation cannot be made on demand: most processors look again before they fault. So
 * the fault is delivered as the processor would. */
static void inject_page_fault(struct vm *v, uint64_t address, uint32_t error)
{
	struct kvm_sregs s;
	CHECK(ioctl(v->vcpu, KVM_GET_SREGS, &s) == 0);
	s.cr2 = address;
	CHECK(ioctl(v->vcpu, KVM_SET_SREGS, &s) == 0);
	set_special(v); /* TR cannot be written everywhere as it was read; CR2 stays */
	struct kvm_vcpu_events events;
	CHECK(ioctl(v->vcpu, KVM_GET_VCPU_EVENTS, &events) == 0);
	events.exception.injected = 1;
	events.exception.nr = 14;
	events.exception.has_error_code = 1;
	events.exception.error_code = error;
	CHECK(ioctl(v->vcpu, KVM_SET_VCPU_EVENTS, &events) == 0);
}

static struct outcome store_with_fault(struct vm *v, uint64_t address, uint64_t value,
				       uint32_t error)
{
	memset(at(v, IST_GPA), 0, PAGE);
	inject_page_fault(v, address, error);
	return vm_enter(v, &(struct kvm_regs){.rip = CODE, .rdi = address, .rsi = value});
}

TEST(seams__a_write_fault_on_a_writable_leaf_only_forgets_the_old_one)
{
	struct vm v = VM(storer);
	place(&v, DATA, v.image + 0x3000);
	struct outcome o = store_with_fault(&v, DATA, 0xABC, 7);
	check_halted(&o);
	/* It was delivered, at the first instruction, and everything went on from there. */
	const uint64_t *top = at(&v, IST_GPA + PAGE);
	CHECK_EQ(top[-6], 7);
	CHECK_EQ(top[-5], CODE);
	CHECK_EQ(top[-4], MOTE__CS3);
	CHECK_EQ(top[-2], STACK_TOP);
	CHECK_EQ(o.regs.rax, 77);
	CHECK_EQ(o.regs.rdi, DATA);
	CHECK_EQ(o.regs.rsi, 0xABC);
	CHECK_EQ(o.regs.rcx, 0);
	CHECK_EQ(o.regs.rdx, 0);
	CHECK_EQ(frames_used(&v), 1);
	CHECK_EQ(frame_at(&v, 0)[0], 0xABC);
	CHECK_EQ(frame_at(&v, 0)[1], data_word(0, 1));
	check_edits(&v);
	vm_free(&v);
}

/* Writing is the only thing that a writable leaf can have been too old for. */
TEST(seams__other_faults_on_a_writable_leaf_are_fatal)
{
	static const uint32_t errors[] = {5, 0x15};
	for (unsigned i = 0; i < 2; i++) {
		struct vm v = VM(storer);
		place(&v, DATA, v.image + 0x3000);
		struct outcome o = store_with_fault(&v, DATA, 0xABC, errors[i]);
		CHECK_EQ(o.port, MOTE__PORT_EXCEPTION);
		CHECK_EQ(o.vector, 14);
		CHECK_EQ(o.error, errors[i]);
		CHECK_EQ(frame_at(&v, 0)[0], data_word(0, 0));
		vm_free(&v);
	}
}

/* Back to the snapshot, as a restore does it: leaves first, then the frames in one call, then what
 * the window showed. */
static void put_back(struct vm *v)
{
	uint64_t used = frames_used(v);
	for (uint64_t i = 0; i < used; i++) {
		const uint64_t *leaf = entry_of(v, at(v, LOG_GPA)[i] * PAGE, 0);
		*live_entry(v, leaf) = *leaf;
	}
	const uint64_t *window = entry_of(v, MOTE__PAGE_GVA(MOTE__WINDOW_PAGE), 0);
	uint64_t shown = *live_entry(v, window) & 0xFFFFFFFFFF000;
	*live_entry(v, window) = *window;
	if (shown < SCRATCH_GPA)
		CHECK(madvise(v->image + shown, PAGE, MADV_DONTNEED) == 0);
	CHECK(madvise(at(v, FRAMES_GPA), used * PAGE, MADV_DONTNEED) == 0);
	at(v, PARAMS_GPA)[MOTE__PARAMS_NEXT / 8] = frame_word(0);
}

SNIPPET(exchange, "mov (%rdi),%rax\n mov %rsi,(%rdi)\n out %eax,$108\n ud2")

TEST(seams__leaves_put_back_show_the_snapshot_again)
{
	struct vm v = VM(exchange);
	for (unsigned i = 0; i < 20; i++) {
		struct outcome o = vm_call(&v, DATA + 7 * PAGE, 0xBAD, 0);
		check_halted(&o);
		CHECK_EQ(o.regs.rax, data_word(7, 0));
		o = vm_call(&v, HEAP + 0x200000, 0xBAD, 0);
		check_halted(&o);
		CHECK_EQ(o.regs.rax, 0);
		CHECK_EQ(frames_used(&v), 2);
		CHECK_EQ(frame_at(&v, 0)[0], 0xBAD);
		put_back(&v);
		CHECK_MEM(v.scratch, v.table_object, TABLE_PAGES * PAGE);
	}
	set_code(&v, reader_start, reader_end);
	/* The window shows what it showed at the start. */
	struct outcome o = vm_call(&v, MOTE__PAGE_GVA(MOTE__WINDOW_PAGE) + 8, 0, 0);
	check_halted(&o);
	CHECK_EQ(o.regs.rax, 0xFEEDFACECAFEBEEF);
	vm_free(&v);
}

/* ---- what is closed -------------------------------------------------------------------------- */

static void check_page_fault(struct vm *v, uint64_t address, uint64_t error, uint64_t mask)
{
	struct outcome o = vm_call(v, address, 0x123, 0);
	CHECK_EQ(o.reason, KVM_EXIT_IO);
	if (o.port != MOTE__PORT_EXCEPTION || o.vector != 14 || (o.error & mask) != error)
		check_note("address %llx: port %u vector %llu error %llx",
			   (unsigned long long)address, o.port, (unsigned long long)o.vector,
			   (unsigned long long)o.error);
	CHECK_EQ(o.port, MOTE__PORT_EXCEPTION);
	CHECK_EQ(o.vector, 14);
	CHECK_EQ(o.cs & 3, 3);
	CHECK_EQ(o.error & mask, error);
	struct kvm_sregs s;
	CHECK(ioctl(v->vcpu, KVM_GET_SREGS, &s) == 0);
	CHECK_EQ(s.cr2, address);
	set_special(v);
}

/* Present pages that ring 3 must not read. */
static const uint64_t closed[] = {
	MOTE__PAGE_GVA(0), MOTE__PAGE_GVA(1), MOTE__PAGE_GVA(2),
	MOTE__PAGE_GVA(4), MOTE__PAGE_GVA(8), LOG_GVA,
};

/* Behind the self map's leaf entries: those of leaf tables, and of the root. */
#define SELF_TABLES (MOTE__SELF_GVA + 0x4000000000)
#define SELF_ROOT   (SELF_TABLES + 0x20000000 + 0x100000)

TEST(seams__ring_3_cannot_read_what_is_ring_0s)
{
	struct vm v = VM(reader);
	for (unsigned i = 0; i < sizeof closed / sizeof *closed; i++)
		check_page_fault(&v, closed[i], 4, 6);
	check_page_fault(&v, MOTE__SELF_GVA, 4, 6);
	check_page_fault(&v, MOTE__SELF_GVA + 8 * (DATA / PAGE), 4, 6);
	check_page_fault(&v, SELF_TABLES, 4, 6);
	check_page_fault(&v, SELF_ROOT, 4, 6);
	check_page_fault(&v, 0, 4, 7);
	check_page_fault(&v, SCRATCH_GPA, 4, 7);
	check_page_fault(&v, HEAP - 8, 4, 7);
	check_page_fault(&v, HEAP + HEAP_PAGES * PAGE, 4, 7);
	check_page_fault(&v, STACK_TOP, 4, 7);
	check_page_fault(&v, STACK_TOP - STACK_PAGES * PAGE - 8, 4, 7);
	CHECK_EQ(frames_used(&v), 0);
	vm_free(&v);
}

TEST(seams__ring_3_cannot_write_what_is_read_only_or_ring_0s)
{
	struct vm v = VM(storer);
	for (unsigned i = 0; i < sizeof closed / sizeof *closed; i++)
		check_page_fault(&v, closed[i], 6, 6);
	check_page_fault(&v, MOTE__PAGE_GVA(MOTE__SYSTEM_USER_PAGE), 7, 7);
	check_page_fault(&v, MOTE__PAGE_GVA(MOTE__RUN_INFO_PAGE), 7, 7);
	check_page_fault(&v, MOTE__PAGE_GVA(MOTE__WINDOW_PAGE), 7, 7);
	check_page_fault(&v, MOTE__SELF_GVA, 6, 6);
	check_page_fault(&v, SELF_TABLES, 6, 6);
	check_page_fault(&v, SELF_ROOT, 6, 6);
	check_page_fault(&v, CODE, 7, 7);
	check_page_fault(&v, CONSTANT, 7, 7);
	CHECK_EQ(frames_used(&v), 0);
	vm_free(&v);
}

TEST(seams__ring_3_cannot_execute_data_or_ring_0_code)
{
	struct vm v = VM(jumper);
	check_page_fault(&v, DATA, 0x14, 0x16);
	check_page_fault(&v, CONSTANT, 0x14, 0x16);
	check_page_fault(&v, MOTE__PAGE_GVA(MOTE__IST_PAGE), 0x14, 0x16);
	check_page_fault(&v, MOTE__PAGE_GVA(MOTE__RUN_INFO_PAGE), 0x14, 0x16);
	check_page_fault(&v, MOTE__SYSTEM_GVA, 0x14, 0x16);
	vm_free(&v);
}

TEST(seams__run_info_and_user_page_can_be_read)
{
	struct vm v = VM(reader);
	struct outcome o = vm_call(&v, MOTE__PAGE_GVA(MOTE__RUN_INFO_PAGE) + 8, 0, 0);
	check_halted(&o);
	CHECK_EQ(o.regs.rax, 0xFEEDFACECAFEBEEF);
	vm_free(&v);
}

/* The handler at CODE + 0x800 reads CS, then returns through the word. */
SNIPPET(caller, "mov $5,%eax\n mov $0x77,%r12d\n syscall\n"
		"add %r12,%rax\n out %eax,$108\n ud2\n"
		".org caller_start + 0x800\n"
		"mov %cs,%ebx\n shl $4,%eax\n"
		"movabs $0xffff808000005000,%rcx\n jmp *(%rcx)")

TEST(seams__system_call_runs_its_handler_in_ring_3)
{
	struct vm v = VM(caller);
	for (unsigned i = 0; i < 3; i++) {
		struct outcome o = vm_call(&v, 0, 0, 0);
		check_halted(&o);
		CHECK_EQ(o.regs.rax, 0x50 + 0x77);
		CHECK_EQ(o.regs.rbx, MOTE__CS3);
	}
	vm_free(&v);
}

SNIPPET(door_rdmsr, "mov $0xC0000082,%ecx\nrdmsr\n" HALT)
SNIPPET(door_wrmsr, "mov $0xC0000082,%ecx\nwrmsr\n" HALT)
SNIPPET(door_wrmsr_fs, "mov $0xC0000100,%ecx\nwrmsr\n" HALT)
SNIPPET(door_cr0, "mov %cr0,%rax\n" HALT)
SNIPPET(door_cr3, "mov %rax,%cr3\n" HALT)
SNIPPET(door_cr4, "mov %rax,%cr4\n" HALT)
SNIPPET(door_dr0, "mov %rax,%db0\n" HALT)
SNIPPET(door_dr7, "mov %db7,%rax\n" HALT)
SNIPPET(door_xsetbv, "xor %ecx,%ecx\nmov $1,%eax\nxor %edx,%edx\nxsetbv\n" HALT)
SNIPPET(door_lgdt, "lgdt (%rsp)\n" HALT)
SNIPPET(door_lidt, "lidt (%rsp)\n" HALT)
SNIPPET(door_ltr, "mov $0x38,%eax\nltr %ax\n" HALT)
SNIPPET(door_lldt, "xor %eax,%eax\nlldt %ax\n" HALT)
SNIPPET(door_cli, "cli\n" HALT)
SNIPPET(door_sti, "sti\n" HALT)
SNIPPET(door_hlt, "hlt\n" HALT)
SNIPPET(door_invlpg, "invlpg (%rsp)\n" HALT)
SNIPPET(door_swapgs, "swapgs\n" HALT)
SNIPPET(door_clts, "clts\n" HALT)
SNIPPET(door_wbinvd, "wbinvd\n" HALT)
SNIPPET(door_invd, "invd\n" HALT)
SNIPPET(door_rdpmc, "xor %ecx,%ecx\nrdpmc\n" HALT)
SNIPPET(door_vmcall, "vmcall\n" HALT)
SNIPPET(door_vmrun, "vmrun\n" HALT)
SNIPPET(door_sgdt, "sgdt -16(%rsp)\n" HALT)
SNIPPET(door_sidt, "sidt -16(%rsp)\n" HALT)
SNIPPET(door_in, "in $108,%al\n" HALT)
SNIPPET(door_out_stub, "mov $14,%eax\nout %eax,$0xE0\n" HALT)
SNIPPET(door_out_frames, "out %al,$0xE1\n" HALT)
SNIPPET(door_out_serial, "mov $0x3f8,%edx\nout %al,%dx\n" HALT)
SNIPPET(door_out_high, "mov $0xffff,%edx\nout %al,%dx\n" HALT)
SNIPPET(door_out_straddle, "mov $96,%edx\nout %eax,%dx\n" HALT)
SNIPPET(door_int80, "int $0x80\n" HALT)
SNIPPET(door_int3, "int3\n" HALT)
SNIPPET(door_sysret, "sysretq\n" HALT)
SNIPPET(door_far, "mov $0x10,%eax\npush %rax\nlea 1f(%rip),%rax\npush %rax\nlretq\n1:" HALT)
SNIPPET(door_iret, "pushq $0x18\npush %rsp\npushq $2\npushq $0x10\nlea 1f(%rip),%rax\npush "
		   "%rax\niretq\n1:" HALT)
SNIPPET(door_ss, "mov $0x18,%eax\nmov %ax,%ss\n" HALT)
SNIPPET(door_ud2, "ud2\n")
SNIPPET(door_div, "xor %ecx,%ecx\nxor %edx,%edx\ndiv %ecx\n" HALT)
SNIPPET(door_noncanonical, "mov $1,%eax\nshl $62,%rax\nmov (%rax),%rax\n" HALT)
SNIPPET(door_trap, "pushfq\norq $0x100,(%rsp)\npopfq\nnop\nnop\n" HALT)

TEST(seams__every_other_door_ends_in_an_exception_of_ring_3)
{
#define DOOR(name)                                            \
	{                                                     \
#name, door_##name##_start, door_##name##_end \
	}
	static const struct {
		const char *name;
		const uint8_t *start, *end;
	} doors[] = {
		DOOR(rdmsr),      DOOR(wrmsr),    DOOR(wrmsr_fs),     DOOR(cr0),
		DOOR(cr3),        DOOR(cr4),      DOOR(dr0),          DOOR(dr7),
		DOOR(xsetbv),     DOOR(lgdt),     DOOR(lidt),         DOOR(ltr),
		DOOR(lldt),       DOOR(cli),      DOOR(sti),          DOOR(hlt),
		DOOR(invlpg),     DOOR(swapgs),   DOOR(clts),         DOOR(wbinvd),
		DOOR(invd),       DOOR(rdpmc),    DOOR(vmcall),       DOOR(vmrun),
		DOOR(sgdt),       DOOR(sidt),     DOOR(out_stub),     DOOR(out_frames),
		DOOR(out_serial), DOOR(out_high), DOOR(out_straddle), DOOR(int80),
		DOOR(int3),       DOOR(sysret),   DOOR(far),          DOOR(iret),
		DOOR(ss),         DOOR(ud2),      DOOR(div),          DOOR(noncanonical),
		DOOR(trap),
	};
	unsigned open = 0;
	for (unsigned i = 0; i < sizeof doors / sizeof *doors; i++) {
		struct vm v = vm_with(doors[i].start, doors[i].end);
		struct outcome o = vm_call(&v, 0, 0, 0);
		bool is_closed = o.reason == KVM_EXIT_IO && o.port == MOTE__PORT_EXCEPTION &&
				 (o.cs & 3) == 3;
		if (!is_closed) {
			check_note("%s: exit %u port %u vector %llu cs %llx", doors[i].name,
				   o.reason, o.port, (unsigned long long)o.vector,
				   (unsigned long long)o.cs);
			open++;
		}
		vm_free(&v);
	}
	CHECK_EQ(open, 0);
}

SNIPPET(vectors,
	"fldpi\n fldl2e\n pcmpeqd %xmm0,%xmm0\n movdqa %xmm0,%xmm9\n"
	"mov $0xffff,%eax\n push %rax\n ldmxcsr (%rsp)\n"
	"test %rdi,%rdi\n jz 1f\n"
	"vpcmpeqd %ymm1,%ymm1,%ymm1\n vmovdqa %ymm1,%ymm12\n"
	"cmp $2,%rdi\n jb 1f\n"
	".byte 0x62,0xa3,0x75,0x40,0x25,0xf1,0xff\n" /* vpternlogd $255, zmm17, zmm17, zmm22 */
	"1:" HALT)

/* x87, MXCSR and SSE as at the start. */
static void check_clear(const struct kvm_xsave *xsave)
{
	const uint8_t *a = (const uint8_t *)xsave->region;
	CHECK_EQ(a[0] | a[1] << 8, 0x37F);
	uint32_t mxcsr;
	memcpy(&mxcsr, a + 24, 4);
	CHECK_EQ(mxcsr, 0x1F80);
	for (unsigned i = 32; i < 416; i++)
		CHECK_EQ(a[i], 0);
}

TEST(seams__prologue_clears_x87_and_vector_state)
{
	uint32_t low = 0;
	if (!is_tcg() && __builtin_cpu_supports("avx"))
		__asm__("xgetbv" : "=a"(low) : "c"(0) : "edx");
	uint64_t reach = (low & 0xE0) == 0xE0 ? 2 : (low & 4) ? 1 : 0;
	check_note("vector state tried: %s", reach == 2 ? "AVX-512" : reach == 1 ? "AVX" : "SSE");
	struct vm v = VM(vectors);
	v.xstate = low;
	struct outcome o = vm_call(&v, reach, 0, 0);
	if (o.port == MOTE__PORT_EXCEPTION && o.vector == 6) { /* hidden from ring 3 here */
		check_note("AVX is #UD in ring 3");
		vm_free(&v);
		v = VM(vectors);
		o = vm_call(&v, 0, 0, 0);
	}
	check_halted(&o);
	static const uint8_t halt[] = {0xe7, 108, 0x0f, 0x0b};
	memcpy(v.image + CODE, halt, sizeof halt); /* same VM, next call: only the prologue runs */
	(void)madvise(v.image + CODE, PAGE, MADV_DONTNEED);
	struct kvm_xsave before, after;
	CHECK(ioctl(v.vcpu, KVM_GET_XSAVE, &before) == 0);
	o = vm_call(&v, 0, 0, 0);
	check_halted(&o);
	CHECK(ioctl(v.vcpu, KVM_GET_XSAVE, &after) == 0);
	const uint8_t *b = (const uint8_t *)before.region, *a = (const uint8_t *)after.region;
	unsigned dirty = 0;
	for (unsigned i = 160; i < 416; i++)
		dirty += b[i] != 0;
	CHECK(dirty != 0); /* the first call did leave something */
	check_clear(&after);
	uint64_t in_use;
	memcpy(&in_use, a + 512, 8);
	if (in_use & 4)
		for (unsigned i = 576; i < 832; i++)
			CHECK_EQ(a[i], 0);
	check_note("XSTATE_BV after the clear: %llx", (unsigned long long)in_use);
	CHECK((in_use & ~7ull) == 0);
	vm_free(&v);
}

/* ---- the reset entry ------------------------------------------------------------------------- */

/* Leave something in every segment that ring 3 can change: selector di in all, then their bases. */
SNIPPET(segments_dirty, "mov %edi,%ds\n mov %edi,%es\n mov %edi,%fs\n mov %edi,%gs\n"
			"wrfsbase %rsi\n wrgsbase %rdx\n" HALT)
/* What a call finds: selectors in ecx, bases in r12 and r13, what they point to in r14 and r15. */
SNIPPET(segments_seen, "xor %ecx,%ecx\n"
		       "mov %ds,%eax\n mov %al,%cl\n shl $8,%ecx\n"
		       "mov %es,%eax\n mov %al,%cl\n shl $8,%ecx\n"
		       "mov %fs,%eax\n mov %al,%cl\n shl $8,%ecx\n"
		       "mov %gs,%eax\n mov %al,%cl\n"
		       "rdfsbase %r12\n rdgsbase %r13\n"
		       "mov %fs:8,%r14\n mov %gs:16,%r15\n out %eax,$108\n ud2")

static void check_flat(const struct kvm_segment *segment, uint64_t base)
{
	CHECK_EQ(segment->selector, MOTE__SS3);
	CHECK_EQ(segment->base, base);
	CHECK_EQ(segment->limit, 0xFFFFFFFF);
	CHECK_EQ(segment->type, 3);
	CHECK(segment->present && segment->s && segment->g && segment->dpl == 3);
	CHECK(!segment->unusable);
}

TEST(seams__the_reset_entry_loads_selectors_and_bases)
{
	/* The last is one that some kernels have below their guests' descriptor tables. */
	static const uint16_t selectors[] = {0, 3, 0x28, 0x2b, 0x33, 0x7b};
	const uint64_t fs = DATA + 3 * PAGE, gs = DATA + 4 * PAGE;
	for (unsigned i = 0; i < sizeof selectors / sizeof *selectors; i++) {
		struct vm v = VM(segments_dirty);
		struct outcome o = vm_call(&v, selectors[i], 0x7E57000, CODE);
		if (o.port == MOTE__PORT_EXCEPTION && o.vector == 13) {
			check_note("selector 0x%x cannot be loaded", selectors[i]);
			CHECK_EQ(selectors[i], 0x7b);
			set_special(&v);
		} else {
			check_halted(&o);
		}
		set_code(&v, segments_seen_start, segments_seen_end);
		o = vm_enter(&v, &(struct kvm_regs){
					 .rip = MOTE__RESET_GVA, .r11 = fs, .r9 = gs, .rdi = 5});
		check_halted(&o);
		CHECK_EQ(o.regs.rcx, MOTE__SS3 * 0x01010101u);
		CHECK_EQ(o.regs.r12, fs);
		CHECK_EQ(o.regs.r13, gs);
		CHECK_EQ(o.regs.r14, data_word(3, 1));
		CHECK_EQ(o.regs.r15, data_word(4, 2));
		CHECK_EQ(o.regs.r11, 0);
		CHECK_EQ(o.regs.r9, 0);
		CHECK_EQ(o.regs.rdi, 5);
		struct kvm_sregs s;
		CHECK(ioctl(v.vcpu, KVM_GET_SREGS, &s) == 0);
		check_flat(&s.ds, 0);
		check_flat(&s.es, 0);
		check_flat(&s.fs, fs);
		check_flat(&s.gs, gs);
		CHECK_EQ(frames_used(&v), 0);
		vm_free(&v);
	}
}

SNIPPET(bases_seen, "rdfsbase %r12\n rdgsbase %r13\n out %eax,$108\n ud2")

TEST(seams__the_reset_entry_takes_any_base_that_is_an_address)
{
	static const uint64_t bases[] = {0, 1, 0x7FFFFFFFFFFF, 0xFFFF800000000000, UINT64_MAX};
	struct vm v = VM(bases_seen);
	for (unsigned i = 0; i < 5; i++) {
		struct outcome o = vm_enter(&v, &(struct kvm_regs){.rip = MOTE__RESET_GVA,
								   .r11 = bases[i],
								   .r9 = bases[4 - i]});
		check_halted(&o);
		CHECK_EQ(o.regs.r12, bases[i]);
		CHECK_EQ(o.regs.r13, bases[4 - i]);
	}
	vm_free(&v);
}

TEST(seams__the_reset_entry_clears_vector_state_like_the_prologue)
{
	struct vm v = VM(vectors);
	struct kvm_xsave xsave;
	struct outcome o = vm_call(&v, 0, 0, 0);
	check_halted(&o);
	CHECK(ioctl(v.vcpu, KVM_GET_XSAVE, &xsave) == 0);
	CHECK_EQ(((const uint8_t *)xsave.region)[160], 0xFF); /* XMM0 */
	set_code(&v, add_start, add_end);
	o = vm_enter(&v, &(struct kvm_regs){.rip = MOTE__RESET_GVA, .rdi = 4, .rsi = 38});
	check_halted(&o);
	CHECK_EQ(o.regs.rax, 42);
	CHECK(ioctl(v.vcpu, KVM_GET_XSAVE, &xsave) == 0);
	check_clear(&xsave);
	vm_free(&v);
}
