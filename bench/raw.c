/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "raw.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/confined.h"
#include "lib.h"

#define PAGE        4096ull
#define PRESENT     0x1ull
#define WRITABLE    0x2ull
#define USER        0x4ull
#define ACCESSED    0x20ull
#define DIRTY       0x40ull
#define NO_EXECUTE  (1ull << 63)
#define ADDRESS     0x000FFFFFFFFFF000ull
#define TABLES_MAX  64u
#define TABLE_FLAGS (PRESENT | WRITABLE | USER | ACCESSED)
#define CPUID_MAX   256u

extern const uint8_t mote__system_pages[];

/* RSI = list of addresses, RCX = how many: read each, leave. */
static const uint8_t code_touch[] = {
	0x85, 0xC9,             /* test %ecx, %ecx */
	0x74, 0x0D,             /* jz 2f */
	0x48, 0x8B, 0x06,       /* 1: mov (%rsi), %rax */
	0x8B, 0x00,             /* mov (%rax), %eax */
	0x48, 0x83, 0xC6, 0x08, /* add $8, %rsi */
	0xFF, 0xC9,             /* dec %ecx */
	0x75, 0xF3,             /* jnz 1b */
	0xE7, 0x6C,             /* 2: out %eax, $108 */
	0x0F, 0x0B,             /* ud2 */
};
/* The same with a store. */
static const uint8_t code_store[] = {
	0x85, 0xC9,             /* test %ecx, %ecx */
	0x74, 0x0D,             /* jz 2f */
	0x48, 0x8B, 0x06,       /* 1: mov (%rsi), %rax */
	0x89, 0x08,             /* mov %ecx, (%rax) */
	0x48, 0x83, 0xC6, 0x08, /* add $8, %rsi */
	0xFF, 0xC9,             /* dec %ecx */
	0x75, 0xF3,             /* jnz 1b */
	0xE7, 0x6C,             /* 2: out %eax, $108 */
	0x0F, 0x0B,             /* ud2 */
};
static const uint8_t code_loop[] = {0xE7, 0x6C, 0xEB, 0xFC}; /* 1: out %eax, $108; jmp 1b */
static const uint8_t code_spin[] = {0xEB, 0xFE};             /* 1: jmp 1b */

enum { LOOP_OFFSET = 64, SPIN_OFFSET = 80, STORE_OFFSET = 96 };

static void check(int rc, const char *what)
{
	if (rc < 0)
		mote__bench_fail("raw machine: %s: %s", what, strerror(errno));
}

static void *map(int fd, size_t bytes, int access, int flags)
{
	void *at = mmap(NULL, bytes, access, flags, fd, 0);
	check(at == MAP_FAILED ? -1 : 0, "mmap");
	return at;
}

/* ---- page tables ----------------------------------------------------------------------------- */

struct builder {
	uint64_t *tables, gpa;
	unsigned count;
};

static uint64_t *entry(struct builder *b, uint64_t gva)
{
	unsigned table = 0;
	for (unsigned shift = 39; shift > 12; shift -= 9) {
		uint64_t *e = &b->tables[table * 512 + (gva >> shift & 511)];
		if (!*e) {
			if (b->count == TABLES_MAX)
				mote__bench_fail("raw machine: too many page tables");
			*e = (b->gpa + b->count++ * PAGE) | TABLE_FLAGS;
		}
		table = (unsigned)(((*e & ADDRESS) - b->gpa) / PAGE);
	}
	return &b->tables[table * 512 + (gva >> 12 & 511)];
}

static void map_page(struct builder *b, const struct mote__raw_page *page)
{
	*entry(b, page->gva) = page->gpa | PRESENT | ACCESSED | DIRTY | (page->is_user ? USER : 0) |
			       (page->is_writable ? WRITABLE : 0) |
			       (page->is_executable ? 0 : NO_EXECUTE);
}

static void make_tables(struct mote__raw *raw)
{
	const struct mote__raw_shape *s = &raw->shape;
	const size_t most = TABLES_MAX * PAGE;
	raw->table_fd = memfd_create("raw-tables", MFD_CLOEXEC);
	check(raw->table_fd < 0 ? -1 : ftruncate(raw->table_fd, (off_t)most), "memfd_create");
	struct builder b = {.tables = map(raw->table_fd, most, PROT_READ | PROT_WRITE, MAP_SHARED),
			    .gpa = s->scratch_gpa + s->tables_offset,
			    .count = 1};
	for (size_t i = 0; i < s->page_count; i++)
		map_page(&b, &s->pages[i]);
	raw->table_bytes = b.count * PAGE;
	(void)munmap(b.tables, most);
}

/* ---- code and list of pages ------------------------------------------------------------------ */

static bool is_in_snapshot(const struct mote__raw_shape *s, const struct mote__raw_page *page)
{
	return page->gpa >= s->snapshot_gpa && page->gpa - s->snapshot_gpa < s->snapshot_bytes;
}

static const struct mote__raw_page *find(const struct mote__raw_shape *s, bool is_executable)
{
	for (size_t i = 0; i < s->page_count; i++) {
		const struct mote__raw_page *p = &s->pages[i];
		if (p->touch && p->is_user && !p->is_writable && is_in_snapshot(s, p) &&
		    p->is_executable == is_executable)
			return p;
	}
	mote__bench_fail("raw machine: no page for its %s", is_executable ? "code" : "list");
}

/* Code and list lie in pages that are touched anyway. */
static void make_memory(struct mote__raw *raw)
{
	const struct mote__raw_shape *s = &raw->shape;
	const struct mote__raw_page *code = find(s, true), *list = find(s, false);
	raw->memory = map(-1, s->snapshot_gpa + s->snapshot_bytes, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS);
	raw->code = code->gva;
	raw->list = list->gva;
	for (uint64_t gpa = s->snapshot_gpa; gpa < s->snapshot_gpa + s->snapshot_bytes; gpa += PAGE)
		raw->memory[gpa] = 1;
	uint8_t *to = raw->memory + code->gpa;
	memcpy(to, code_touch, sizeof code_touch);
	memcpy(to + LOOP_OFFSET, code_loop, sizeof code_loop);
	memcpy(to + SPIN_OFFSET, code_spin, sizeof code_spin);
	memcpy(to + STORE_OFFSET, code_store, sizeof code_store);
	uint64_t *next = (uint64_t *)(void *)(raw->memory + list->gpa);
	for (uint8_t run = 1; run <= 2; run++)
		for (size_t i = 0; i < s->page_count; i++)
			if (s->pages[i].touch == run && s->pages[i].is_user) {
				*next++ = s->pages[i].gva;
				raw->touches[run - 1]++;
			}
	if (raw->touches[0] + raw->touches[1] > PAGE / 8)
		mote__bench_fail("raw machine: too many pages to touch");
}

/* ---- processor ------------------------------------------------------------------------------- */

static void make_cpuid(struct mote__raw *raw)
{
	raw->cpuid = calloc(1, sizeof *raw->cpuid + CPUID_MAX * sizeof raw->cpuid->entries[0]);
	if (!raw->cpuid)
		mote__bench_fail("out of memory");
	raw->cpuid->nent = CPUID_MAX;
	check(ioctl(raw->kvm, KVM_GET_SUPPORTED_CPUID, raw->cpuid), "KVM_GET_SUPPORTED_CPUID");
	for (uint32_t i = 0; i < raw->cpuid->nent; i++)
		if (raw->cpuid->entries[i].function == 0x80000008)
			raw->cpuid->entries[i].eax = (raw->cpuid->entries[i].eax & ~0xFFu) | 36;
}

static bool is_emulated(void)
{
	uint32_t a = 0x40000000, b, c = 0, d;
	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	return memcmp(&b, "TCGT", 4) == 0;
}

static void make_sregs(struct mote__raw *raw)
{
	const struct mote__raw_shape *s = &raw->shape;
	const struct kvm_segment data = {.limit = ~0u,
					 .selector = MOTE__SS3,
					 .type = 3,
					 .present = 1,
					 .dpl = 3,
					 .db = 1,
					 .s = 1,
					 .g = 1};
	struct kvm_segment code = data;
	code.selector = MOTE__CS3;
	code.type = 11;
	code.db = 0;
	code.l = 1;
	const uint64_t tables = MOTE__PAGE_GVA(MOTE__SYSTEM_TABLE_PAGE);
	raw->sregs = (struct kvm_sregs){
		.cs = code,
		.ds = data,
		.es = data,
		.fs = data,
		.gs = data,
		.ss = data,
		.tr = {.base = tables + MOTE__TSS_OFFSET,
		       .limit = MOTE__TSS_LIMIT,
		       .selector = MOTE__TR,
		       .type = is_emulated() ? 9 : 11,
		       .present = 1},
		.ldt = {.unusable = 1},
		.gdt = {.base = tables, .limit = MOTE__GDT_LIMIT},
		.idt = {.base = MOTE__PAGE_GVA(MOTE__SYSTEM_IDT_PAGE), .limit = 0xFFF},
		.cr0 = 0x80050033,
		.cr3 = s->scratch_gpa + s->tables_offset,
		.cr4 = 0x620,
		.efer = 0xD01,
	};
}

/* FSGSBASE and UMIP, where the kernel takes them. */
static void find_cr4(struct mote__raw *raw)
{
	static const uint64_t tries[] = {1u << 16 | 1u << 11, 1u << 16, 1u << 11, 0};
	const uint64_t cr4 = raw->sregs.cr4;
	int vm = ioctl(raw->kvm, KVM_CREATE_VM, 0), vcpu = ioctl(vm, KVM_CREATE_VCPU, 0), rc = -1;
	check(vcpu, "KVM_CREATE_VCPU");
	for (size_t i = 0; i < sizeof tries / sizeof *tries && rc < 0; i++) {
		raw->sregs.cr4 = cr4 | tries[i];
		rc = ioctl(vcpu, KVM_SET_SREGS, &raw->sregs);
	}
	check(rc, "KVM_SET_SREGS");
	(void)close(vcpu);
	(void)close(vm);
}

void mote__raw_open(struct mote__raw *raw, const struct mote__raw_shape *shape)
{
	*raw = (struct mote__raw){.shape = *shape};
	raw->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	check(raw->kvm, "/dev/kvm");
	int bytes = ioctl(raw->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	check(bytes, "KVM_GET_VCPU_MMAP_SIZE");
	raw->run_bytes = (size_t)bytes;
	make_tables(raw);
	make_memory(raw);
	make_cpuid(raw);
	make_sregs(raw);
	find_cr4(raw);
	raw->shape.pages = NULL;
}

/* Of the machine with writable pages. */
#define LOW_GPA      0x1000ull
#define FIRST_PAGES  2u /* of the snapshot: code, list */
#define PAGES_GVA    0x40000000ull
#define PAGES_OFFSET (16 * PAGE) /* in scratch, behind the tables */
#define PAGES_MAX    256u
#define SMALL_END    0x1000000000ull

void mote__raw_open_pages(struct mote__raw *raw, size_t count)
{
	const uint64_t system = MOTE__SYSTEM_GVA, low = LOW_GPA;
	const uint64_t scratch_bytes = PAGES_OFFSET + count * PAGE;
	struct mote__raw_page pages[5 + PAGES_MAX] = {
		{low, low, true, false, true, 1},
		{low + PAGE, low + PAGE, true, false, false, 1},
		{system, MOTE__SYSTEM_GPA, false, false, true, 0},
		{system + PAGE, MOTE__SYSTEM_GPA + PAGE, false, false, false, 0},
		{system + 2 * PAGE, MOTE__SYSTEM_GPA + 2 * PAGE, false, false, false, 0},
	};
	if (count > PAGES_MAX)
		mote__bench_fail("raw machine: %zu pages", count);
	for (size_t i = 0; i < count; i++)
		pages[5 + i] =
			(struct mote__raw_page){PAGES_GVA + i * PAGE,
						SMALL_END - scratch_bytes + PAGES_OFFSET + i * PAGE,
						true,
						true,
						false,
						2};
	const struct mote__raw_shape shape = {.snapshot_gpa = low,
					      .snapshot_bytes = (FIRST_PAGES + count) * PAGE,
					      .scratch_gpa = SMALL_END - scratch_bytes,
					      .scratch_bytes = scratch_bytes,
					      .slot_bytes = scratch_bytes,
					      .tables_offset = 0,
					      .pages = pages,
					      .page_count = 5 + count};
	mote__raw_open(raw, &shape);
}

void mote__raw_open_small(struct mote__raw *raw)
{
	mote__raw_open_pages(raw, 0);
}

void mote__raw_close(struct mote__raw *raw)
{
	(void)munmap(raw->memory, raw->shape.snapshot_gpa + raw->shape.snapshot_bytes);
	free(raw->cpuid);
	(void)close(raw->table_fd);
	(void)close(raw->kvm);
}

/* ---- machines -------------------------------------------------------------------------------- */

static void set_filter(int vm)
{
	uint8_t both = 3;
	struct kvm_msr_filter filter = {.flags = KVM_MSR_FILTER_DEFAULT_DENY};
	filter.ranges[0] = (struct kvm_msr_filter_range){
		.flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE,
		.nmsrs = 2,
		.base = 0xC0000100,
		.bitmap = &both,
	};
	check(ioctl(vm, KVM_X86_SET_MSR_FILTER, &filter), "KVM_X86_SET_MSR_FILTER");
}

static void set_slot(int vm, uint32_t slot, uint64_t gpa, const void *host, uint64_t bytes,
		     uint32_t flags)
{
	const struct kvm_userspace_memory_region region = {.slot = slot,
							   .flags = flags,
							   .guest_phys_addr = gpa,
							   .memory_size = bytes,
							   .userspace_addr =
								   (uint64_t)(uintptr_t)host};
	check(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
}

static void set_msrs(int vcpu)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entries[3];
	} msrs = {.head = {.nmsrs = 3},
		  .entries = {{.index = 0xC0000081, .data = 0x0023001000000000},
			      {.index = 0xC0000082, .data = MOTE__SYSCALL_GVA},
			      {.index = 0xC0000084, .data = 0x47700}}};
	check(ioctl(vcpu, KVM_SET_MSRS, &msrs) == 3 ? 0 : -1, "KVM_SET_MSRS");
}

/* The thread's mask less the signal that ends a run. */
static void set_mask(int vcpu)
{
	struct {
		struct kvm_signal_mask head;
		uint8_t bits[8];
	} mask = {.head = {.len = 8}};
	sigset_t set;
	(void)pthread_sigmask(SIG_BLOCK, NULL, &set);
	(void)sigdelset(&set, SIGRTMIN);
	memcpy((uint8_t *)&mask + offsetof(struct kvm_signal_mask, sigset), &set, 8);
	check(ioctl(vcpu, KVM_SET_SIGNAL_MASK, &mask), "KVM_SET_SIGNAL_MASK");
}

void mote__raw_create(const struct mote__raw *raw, struct mote__raw_machine *m)
{
	const struct mote__raw_shape *s = &raw->shape;
	m->scratch = map(-1, s->scratch_bytes, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
	void *tables = mmap(m->scratch + s->tables_offset, raw->table_bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_FIXED, raw->table_fd, 0);
	check(tables == MAP_FAILED ? -1 : 0, "mmap");
	do
		m->vm = ioctl(raw->kvm, KVM_CREATE_VM, 0);
	while (m->vm < 0 && errno == EINTR);
	check(m->vm, "KVM_CREATE_VM");
	set_filter(m->vm);
	m->vcpu = ioctl(m->vm, KVM_CREATE_VCPU, 0);
	check(m->vcpu, "KVM_CREATE_VCPU");
	m->run = map(m->vcpu, raw->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED);
	check(ioctl(m->vcpu, KVM_SET_CPUID2, raw->cpuid), "KVM_SET_CPUID2");
	set_slot(m->vm, 0, s->snapshot_gpa, raw->memory + s->snapshot_gpa, s->snapshot_bytes,
		 KVM_MEM_READONLY);
	set_slot(m->vm, 1, s->scratch_gpa, m->scratch, s->slot_bytes, 0);
	set_slot(m->vm, 2, MOTE__SYSTEM_GPA, mote__system_pages, MOTE__SYSTEM_PAGES * PAGE,
		 KVM_MEM_READONLY);
	check(ioctl(m->vcpu, KVM_SET_SREGS, &raw->sregs), "KVM_SET_SREGS");
	set_msrs(m->vcpu);
	set_mask(m->vcpu);
}

void mote__raw_destroy(const struct mote__raw *raw, struct mote__raw_machine *m)
{
	(void)munmap(m->run, raw->run_bytes);
	(void)close(m->vcpu);
	(void)close(m->vm);
	(void)munmap(m->scratch, raw->shape.scratch_bytes);
}

/* ---- running --------------------------------------------------------------------------------- */

static void fail_exit(const struct mote__raw_machine *m, int rc)
{
	mote__bench_fail("raw machine: run %d (%s), exit reason %u, port %u", rc,
			 rc < 0 ? strerror(errno) : "", m->run->exit_reason, m->run->io.port);
}

static void run(struct mote__raw_machine *m)
{
	int rc = ioctl(m->vcpu, KVM_RUN, 0);
	if (rc < 0 || m->run->exit_reason != KVM_EXIT_IO || m->run->io.port != 108)
		fail_exit(m, rc);
}

static void set_start(struct mote__raw_machine *m, uint64_t rip, uint64_t rsi, uint64_t rcx)
{
	m->run->s.regs.regs = (struct kvm_regs){.rip = rip, .rsi = rsi, .rcx = rcx, .rflags = 2};
	m->run->kvm_dirty_regs = KVM_SYNC_X86_REGS;
}

void mote__raw_run(const struct mote__raw *raw, struct mote__raw_machine *m, unsigned index)
{
	uint64_t list = raw->list + (index ? raw->touches[0] * 8 : 0);
	set_start(m, raw->code, list, raw->touches[index]);
	run(m);
}

void mote__raw_enter(const struct mote__raw *raw, struct mote__raw_machine *m)
{
	set_start(m, raw->code + LOOP_OFFSET, 0, 0);
	run(m);
}

void mote__raw_fill(const struct mote__raw *raw, struct mote__raw_machine *m)
{
	const uint8_t *from = raw->memory + LOW_GPA + FIRST_PAGES * PAGE;
	for (uint64_t i = 0; i < raw->touches[1]; i++)
		memcpy(m->scratch + PAGES_OFFSET + i * PAGE, from + i * PAGE, PAGE);
}

void mote__raw_store(const struct mote__raw *raw, struct mote__raw_machine *m)
{
	set_start(m, raw->code + STORE_OFFSET, raw->list + raw->touches[0] * 8, raw->touches[1]);
	run(m);
}

void mote__raw_switch(const struct mote__raw *raw, struct mote__raw_machine *m)
{
	const struct mote__raw_shape *s = &raw->shape;
	uint8_t *memory = raw->memory + s->snapshot_gpa;
	set_slot(m->vm, 0, s->snapshot_gpa, memory, 0, 0);
	set_slot(m->vm, 0, s->snapshot_gpa, memory, s->snapshot_bytes, KVM_MEM_READONLY);
}

void mote__raw_again(struct mote__raw_machine *m)
{
	run(m);
}

void mote__raw_spin(const struct mote__raw *raw, struct mote__raw_machine *m)
{
	set_start(m, raw->code + SPIN_OFFSET, 0, 0);
	int rc = ioctl(m->vcpu, KVM_RUN, 0);
	if (rc == 0 || errno != EINTR)
		fail_exit(m, rc);
}
