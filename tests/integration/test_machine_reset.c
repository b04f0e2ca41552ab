/* SPDX-License-Identifier: MIT */
/*
 * A machine that was reset is as good as new: guests in ring 0 change every register that they can
 * reach and end in every way, the host changes the rest, and after the reset the kernel shows the
 * same state as of a machine that never ran. Then a guest runs there and tells its registers. Uses
 * the operations on machines and nothing of the objects above them.
 */
#define _GNU_SOURCE
#include "check.h"
#include "kvm/kvm.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
	PAGE = 4096,
	MEMORY = 16 * PAGE, /* all identity-mapped; from there to 2 MiB nothing answers */
	ROOT = 0x1000,
	LEAVES = 0x4000,
	GDT = 0x5000,
	POINTER = 0x5800, /* of GDT and IDT: limit 0x57, base GDT */
	CODE = 0x8000,
	DATA = 0x9000,
	WORD = 0x9800, /* what the last guest reads */
	STACK = 0xC000,
	NOWHERE = 0x100000,
	PORT = 50,
	SPOILT = 0xEE,
};

#define WORD_VALUE 0x600DF00Du
#define KEYS_AT    0xA80u /* protection keys in the format of XSAVE */

struct state;

struct box {
	struct mote__hypervisor *hypervisor;
	struct mote__machine *machine;
	uint8_t *memory;
	struct mote__special special;
	struct mote_error err;
	struct mote__machine *idle; /* never ran; alive with the hypervisor */
	uint8_t *idle_memory;
	uint32_t msr_count; /* that machines may use */
	const uint32_t *msrs;
	struct state *pristine; /* of idle, after a reset */
};

#define OK(b, call)                                                                          \
	do {                                                                                 \
		if ((call) != MOTE_OK)                                                       \
			check_failed(__FILE__, __LINE__, "%s: %s", #call, (b)->err.message); \
	} while (0)

static int vcpu_of(const struct box *b)
{
	return ((const struct mote__kvm_machine *)b->machine)->vcpu;
}

static void put_word(struct box *b, uint64_t at, uint64_t value)
{
	memcpy(b->memory + at, &value, sizeof value);
}

static uint64_t word(const struct box *b, uint64_t at)
{
	uint64_t value;
	memcpy(&value, b->memory + at, sizeof value);
	return value;
}

static void fill_memory(struct box *b)
{
	for (unsigned level = 0; level < 3; level++)
		put_word(b, ROOT + level * PAGE, (ROOT + (level + 1) * PAGE) | 0x67);
	for (unsigned i = 0; i < 512; i++)
		put_word(b, LEAVES + 8 * i, (i * PAGE) | 0x67ull);
	put_word(b, GDT + 0x08, 0x00AF9B000000FFFF);
	put_word(b, GDT + 0x10, 0x00CF93000000FFFF);
	put_word(b, GDT + 0x18, 0x0000890070000067); /* task state at 0x7000 */
	put_word(b, GDT + 0x28, 0x000082007800000F); /* local descriptors at 0x7800 */
	const uint16_t limit = 0x57;
	memcpy(b->memory + POINTER, &limit, sizeof limit);
	put_word(b, POINTER + 2, GDT);
	put_word(b, WORD, WORD_VALUE);
}

static void make_machine(struct box *b)
{
	const struct mote__machine_config config = {
		.physical_bits = 36, .msr_count = b->msr_count, .msrs = b->msrs};
	const struct mote__hypervisor_ops *ops = b->hypervisor->ops;
	b->memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(b->memory != MAP_FAILED);
	fill_memory(b);
	OK(b, ops->machine_create(b->hypervisor, &config, &b->machine, &b->err));
	OK(b, ops->map(b->machine, 0, 0, b->memory, MEMORY, true, &b->err));
	mote__special_stock(&b->special, 64, ROOT);
	OK(b, ops->set_special(b->machine, &b->special, &b->err));
}

static void drop_machine(struct box *b)
{
	b->machine->ops->machine_destroy(b->machine);
	munmap(b->memory, MEMORY);
}

static int reset(struct box *b)
{
	struct mote__msr_list list;
	mote__msrs_reset(&list, true);
	return b->machine->ops->reset(b->machine, &b->special, &list, &b->err);
}

/* ---- the state of a machine, as the kernel shows it ------------------------------------------ */

#define MSR_MAX 512u

struct state {
	struct kvm_sregs special;
	struct kvm_debugregs debug;
	struct kvm_xcrs xcrs;
	struct kvm_vcpu_events events;
	struct kvm_mp_state mp;
	struct kvm_xsave xsave;
	uint8_t cr8;
	uint32_t msr_count;
	struct mote__msr msr[MSR_MAX];
};

/* Clocks differ. */
static bool is_clock(uint32_t index)
{
	return index == 0x10 || index == 0xE7 || index == 0xE8 || index == 0x40000010 ||
	       index == 0x40000020;
}

static void read_msrs(const struct box *b, struct state *s)
{
	static struct {
		struct kvm_msr_list head;
		uint32_t index[MSR_MAX];
	} list;
	list.head.nmsrs = MSR_MAX;
	int kvm = ((const struct mote__kvm *)b->hypervisor)->fd;
	CHECK(ioctl(kvm, KVM_GET_MSR_INDEX_LIST, &list) == 0);
	for (uint32_t i = 0; i < list.head.nmsrs; i++) {
		struct {
			struct kvm_msrs head;
			struct kvm_msr_entry entry;
		} one = {.head = {.nmsrs = 1}, .entry = {.index = list.head.indices[i]}};
		if (is_clock(one.entry.index) || ioctl(vcpu_of(b), KVM_GET_MSRS, &one) != 1)
			continue;
		s->msr[s->msr_count++] = (struct mote__msr){one.entry.index, one.entry.data};
	}
}

static struct state *read_state(const struct box *b)
{
	struct state *s = calloc(1, sizeof *s);
	CHECK(s != NULL);
	CHECK(ioctl(vcpu_of(b), KVM_GET_SREGS, &s->special) == 0);
	CHECK(ioctl(vcpu_of(b), KVM_GET_DEBUGREGS, &s->debug) == 0);
	CHECK(ioctl(vcpu_of(b), KVM_GET_VCPU_EVENTS, &s->events) == 0);
	CHECK(ioctl(vcpu_of(b), KVM_GET_MP_STATE, &s->mp) == 0);
	CHECK(ioctl(vcpu_of(b), KVM_GET_XSAVE, &s->xsave) == 0);
	if (((const struct mote__kvm *)b->hypervisor)->has_xcrs)
		CHECK(ioctl(vcpu_of(b), KVM_GET_XCRS, &s->xcrs) == 0);
	s->cr8 = (uint8_t)((const struct mote__kvm_machine *)b->machine)->run->cr8;
	read_msrs(b, s);
	return s;
}

/* The first byte that differs, or -1. */
static int difference(const void *a, const void *b, size_t bytes)
{
	const uint8_t *left = a, *right = b;
	for (size_t i = 0; i < bytes; i++)
		if (left[i] != right[i])
			return (int)i;
	return -1;
}

static unsigned compare_msrs(const struct state *a, const struct state *b, const char *what)
{
	unsigned differ = 0;
	CHECK_EQ(a->msr_count, b->msr_count);
	for (uint32_t i = 0; i < a->msr_count; i++) {
		if (a->msr[i].value == b->msr[i].value)
			continue;
		differ++;
		if (what)
			check_note("%s: register 0x%x is 0x%llx", what, b->msr[i].index,
				   (unsigned long long)b->msr[i].value);
	}
	return differ;
}

/* Which parts differ, as bits; named in a note unless what is NULL. */
enum part {
	SPECIAL = 1,
	DEBUG = 2,
	XCR0 = 4,
	EVENTS = 8,
	MP = 16,
	XSAVE = 32,
	CR8 = 64,
	MSRS = 128
};

static unsigned compare(const struct state *a, const struct state *b, const char *what)
{
#define PART(bit, field)                                           \
	{                                                          \
		bit, #field, &a->field, &b->field, sizeof a->field \
	}
	const struct {
		enum part part;
		const char *name;
		const void *a, *b;
		size_t bytes;
	} parts[] = {PART(SPECIAL, special), PART(DEBUG, debug), PART(XCR0, xcrs),
		     PART(EVENTS, events),   PART(MP, mp),       PART(XSAVE, xsave),
		     PART(CR8, cr8)};
#undef PART
	unsigned differ = 0;
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
		int at = difference(parts[i].a, parts[i].b, parts[i].bytes);
		if (at < 0)
			continue;
		differ |= parts[i].part;
		if (what)
			check_note("%s: %s differs from byte %d on", what, parts[i].name, at);
	}
	return differ | (compare_msrs(a, b, what) ? MSRS : 0);
}

/* The one that is idle keeps the kernel from changing its ways with the first and the last machine.
 */
static void open_kvm(struct box *b)
{
	struct mote_engine_info info;
	int rc = mote__kvm_open("/dev/kvm", false, &b->hypervisor, &info, &b->err);
	if (rc == MOTE_ENOKVM)
		check_skip("%s", b->err.message);
	OK(b, rc);
	make_machine(b);
	OK(b, reset(b));
	b->pristine = read_state(b);
	b->idle = b->machine;
	b->idle_memory = b->memory;
}

static void close_kvm(struct box *b)
{
	b->machine = b->idle;
	b->memory = b->idle_memory;
	drop_machine(b);
	free(b->pristine);
	b->hypervisor->ops->close(b->hypervisor);
}

static void check_pristine(struct box *b, const char *what)
{
	struct state *found = read_state(b);
	unsigned differ = compare(b->pristine, found, what);
	free(found);
	CHECK_EQ(differ, 0);
}

/* ---- guests ---------------------------------------------------------------------------------- */

#define SNIPPET(name, text)                                                                   \
	__asm__(".section .rodata\n" #name "_start:\n" text "\n" #name "_end:\n.previous\n"); \
	extern const uint8_t name##_start[], name##_end[];
#define CODE_OF(name) name##_start, (size_t)(name##_end - name##_start)

/* What also a ring 0 that the kernel emulates can do. No breakpoint is enabled: the emulated
 * processor of the lane would keep it, and slow down. */
SNIPPET(dirty_plain, "mov $0x1234560,%rax\n mov %rax,%db0\n mov %rax,%db1\n mov %rax,%db2\n"
		     "mov %rax,%db3\n mov $0x700,%eax\n mov %rax,%db7\n"
		     "mov $0xffff0ff3,%eax\n mov %rax,%db6\n"
		     "mov $0xbad000,%eax\n mov %rax,%cr2\n mov $5,%eax\n mov %rax,%cr8\n"
		     "lgdt 0x5800\n lidt 0x5800\n mov $0x28,%eax\n lldt %ax\n"
		     "mov $0x18,%eax\n ltr %ax\n"
		     "mov $0x10,%eax\n mov %eax,%ds\n mov %eax,%es\n mov %eax,%fs\n"
		     "mov %eax,%gs\n mov %eax,%ss\n"
		     "mov $0xC0000101,%ecx\n mov $0x7777,%eax\n xor %edx,%edx\n wrmsr\n"
		     "dec %ecx\n wrmsr\n"
		     "mov %cr0,%rax\n xor $0x40000,%rax\n mov %rax,%cr0\n" /* AM */
		     "mov %cr4,%rax\n or $0x84,%rax\n mov %rax,%cr4\n"     /* PGE, TSD */
		     "push $0x40cd7\n popfq\n")                            /* AC, DF, ... */
/* What needs a real one. */
SNIPPET(dirty_native, "swapgs\n mov $0xC0000101,%ecx\n mov $0x3333,%eax\n xor %edx,%edx\n wrmsr\n"
		      "fldpi\n fldl2e\n pcmpeqd %xmm0,%xmm0\n movdqa %xmm0,%xmm9\n"
		      "movl $0x7f80,0x5c00\n ldmxcsr 0x5c00\n")
SNIPPET(dirty_xcr0_native, "mov %cr4,%rax\n or $0x40000,%rax\n mov %rax,%cr4\n xor %ecx,%ecx\n"
			   "xor %edx,%edx\n mov $7,%eax\n xsetbv\n")
SNIPPET(dirty_keys, "mov %cr4,%rax\n or $0x400000,%rax\n mov %rax,%cr4\n xor %ecx,%ecx\n"
		    "xor %edx,%edx\n mov $0x55555554,%eax\n wrpkru\n")

SNIPPET(end_out, "mov $0x1d,%eax\n out %eax,$50\n")
SNIPPET(end_in, "in $50,%eax\n")
SNIPPET(end_halt, "hlt\n")
SNIPPET(end_read, "mov $0x100000,%edi\n mov (%rdi),%rbx\n")
SNIPPET(end_read_two_pages, "mov $0x100ffd,%edi\n mov (%rdi),%rbx\n")
SNIPPET(end_read_shadow, "mov $0x100000,%edi\n mov $0x10,%eax\n mov %eax,%ss\n mov (%rdi),%rbx\n")
SNIPPET(end_write, "mov $0x100ffd,%edi\n mov %rbx,(%rdi)\n")
SNIPPET(end_push, "mov $0x100000,%edi\n mov $0xc000,%esp\n push (%rdi)\n")
SNIPPET(end_jump, "mov $0x100000,%edi\n jmp *(%rdi)\n")
SNIPPET(end_outs, "cld\n mov $0x9000,%esi\n mov $50,%edx\n mov $600,%ecx\n rep outsl\n")
SNIPPET(end_ins, "cld\n mov $0x9000,%edi\n mov $50,%edx\n mov $300,%ecx\n rep insl\n")
SNIPPET(end_movs, "cld\n mov $0x100001,%esi\n mov $0x9000,%edi\n mov $240,%ecx\n rep movsq\n")
SNIPPET(end_movs_back, "std\n mov $0x103001,%esi\n mov $0x9700,%edi\n mov $240,%ecx\n rep movsq\n")
SNIPPET(end_cmps, "cld\n mov $0x100001,%esi\n mov $0x101ffd,%edi\n mov $2000,%ecx\n repe cmpsq\n")
SNIPPET(end_shutdown, "lidt 0x5a00\n ud2\n") /* zeroes */

/* Writes its registers to DATA, then reads WORD in the ways that the kernel may emulate. */
SNIPPET(tell, "mov %rax,0x9000\n mov %rbx,0x9008\n mov %rcx,0x9010\n mov %rdx,0x9018\n"
	      "mov %rsi,0x9020\n mov %rdi,0x9028\n mov %rsp,0x9030\n mov %rbp,0x9038\n"
	      "mov %r8,0x9040\n mov %r9,0x9048\n mov %r10,0x9050\n mov %r11,0x9058\n"
	      "mov %r12,0x9060\n mov %r13,0x9068\n mov %r14,0x9070\n mov %r15,0x9078\n"
	      "pushfq\n popq 0x9088\n"
	      "mov 0x9800,%eax\n mov %rax,0x9090\n"
	      "mov $0x9800,%esi\n mov $50,%edx\n outsl\n")

/* The kernel does not always show the protection keys; a guest sees them. */
SNIPPET(tell_keys, "mov %cr4,%rax\n or $0x400000,%rax\n mov %rax,%cr4\n xor %ecx,%ecx\n"
		   "rdpkru\n out %eax,$50\n")

struct ending {
	const char *name;
	const uint8_t *code;
	size_t len;
	enum mote__exit_kind kind;
	bool is_fatal;
};

#define ENDING(name, ...)                               \
	{                                               \
#name, CODE_OF(end_##name), __VA_ARGS__ \
	}
static const struct ending *endings(size_t *count)
{
	static struct ending all[16];
	const struct ending list[] = {
		ENDING(out, MOTE__EXIT_OUT, false),
		ENDING(in, MOTE__EXIT_OTHER, false),
		ENDING(halt, MOTE__EXIT_HALT, false),
		ENDING(read, MOTE__EXIT_MEMORY, false),
		ENDING(read_two_pages, MOTE__EXIT_MEMORY, false),
		ENDING(read_shadow, MOTE__EXIT_MEMORY, false),
		ENDING(write, MOTE__EXIT_MEMORY, false),
		ENDING(push, MOTE__EXIT_MEMORY, false),
		ENDING(jump, MOTE__EXIT_MEMORY, false),
		ENDING(outs, MOTE__EXIT_OUT, false),
		ENDING(ins, MOTE__EXIT_OTHER, false),
		ENDING(movs, MOTE__EXIT_MEMORY, false),
		ENDING(movs_back, MOTE__EXIT_MEMORY, false),
		ENDING(cmps, MOTE__EXIT_MEMORY, false),
	};
	_Static_assert(sizeof list <= sizeof all, "");
	memcpy(all, list, sizeof list);
	*count = sizeof list / sizeof *list;
	return all;
}

static void add_code(struct box *b, size_t *at, const uint8_t *code, size_t len)
{
	CHECK(*at + len <= DATA - CODE);
	memcpy(b->memory + CODE + *at, code, len);
	*at += len;
}

static bool is_native(const struct box *b)
{
	return b->hypervisor->info.paging == MOTE_PAGING_NESTED;
}

static bool has_leaf_bit(const struct box *b, uint32_t leaf, bool is_ecx, unsigned bit)
{
	const struct kvm_cpuid2 *all = ((const struct mote__kvm *)b->hypervisor)->cpuid;
	for (uint32_t i = 0; i < all->nent; i++) {
		const struct kvm_cpuid_entry2 *e = &all->entries[i];
		if (e->function == leaf && e->index == 0)
			return ((is_ecx ? e->ecx : e->ebx) >> bit & 1) != 0;
	}
	return false;
}

static bool has_keys(const struct box *b)
{
	return is_native(b) && has_leaf_bit(b, 7, true, 3);
}

static struct mote__exit run_code(struct box *b, const struct mote__general *general)
{
	struct mote__exit exit;
	int rc;
	do {
		rc = b->machine->ops->run(b->machine, general, &exit);
		CHECK_EQ(rc, 0);
		general = NULL;
	} while (exit.kind == MOTE__EXIT_INTERRUPTED);
	return exit;
}

static void run_dirty(struct box *b, const struct ending *ending)
{
	const struct mote__general general = {.rip = CODE, .rsp = STACK, .rflags = 2};
	size_t at = 0;
	add_code(b, &at, CODE_OF(dirty_plain));
	if (is_native(b))
		add_code(b, &at, CODE_OF(dirty_native));
	if (is_native(b) && has_leaf_bit(b, 1, true, 28))
		add_code(b, &at, CODE_OF(dirty_xcr0_native));
	if (has_keys(b))
		add_code(b, &at, CODE_OF(dirty_keys));
	add_code(b, &at, ending->code, ending->len);
	struct mote__exit exit = run_code(b, &general);
	if (exit.kind != ending->kind || exit.is_fatal != ending->is_fatal)
		check_failed(__FILE__, __LINE__, "%s ends with %d, %s", ending->name, exit.kind,
			     exit.detail);
}

static void check_keys(struct box *b)
{
	const struct mote__general general = {.rip = CODE, .rsp = STACK, .rflags = 2};
	size_t at = 0;
	add_code(b, &at, CODE_OF(tell_keys));
	struct mote__exit exit = run_code(b, &general);
	CHECK_EQ(exit.kind, MOTE__EXIT_OUT);
	CHECK_EQ(exit.data, 0);
}

/* A guest runs from exactly these registers, and reads memory. */
static void check_tells(struct box *b)
{
	uint64_t expected[19];
	size_t at = 0;
	for (unsigned i = 0; i < 16; i++)
		expected[i] = 0x1111111111111111ull * i + 0x42;
	expected[6] = STACK;
	struct mote__general general;
	memcpy(&general, expected, 16 * 8);
	general.rip = CODE;
	general.rflags = 2;
	memset(b->memory + DATA, 0, 0x100);
	put_word(b, WORD, WORD_VALUE);
	add_code(b, &at, CODE_OF(tell));
	struct mote__exit exit = run_code(b, &general);
	if (exit.kind != MOTE__EXIT_OUT)
		check_failed(__FILE__, __LINE__, "ends with %d, %s", exit.kind, exit.detail);
	CHECK_MEM(b->memory + DATA, expected, 16 * 8);
	CHECK_EQ(word(b, DATA + 0x88), 2);
	CHECK_EQ(word(b, DATA + 0x90), WORD_VALUE);
	CHECK_EQ(exit.port, PORT);
	CHECK_EQ(exit.data, WORD_VALUE);
	if (has_keys(b))
		check_keys(b);
}

/* ---- tests ----------------------------------------------------------------------------------- */

TEST(machine_reset__a_new_machine_keeps_its_state)
{
	struct box b = {0};
	open_kvm(&b);
	make_machine(&b);
	struct state *before = read_state(&b);
	OK(&b, reset(&b));
	struct state *after = read_state(&b);
	/* SYSCALL's registers are the library's; components in use may be named in another way. */
	CHECK_EQ(compare(before, after, "new") & ~(unsigned)(MSRS | XSAVE), 0);
	CHECK_EQ(before->xcrs.xcrs[0].value, after->xcrs.xcrs[0].value);
	/* All but the mask of MXCSR, which is no state. */
	CHECK_EQ(difference(before->xsave.region, after->xsave.region, 28), -1);
	CHECK_EQ(difference(before->xsave.region + 8, after->xsave.region + 8, 384), -1);
	CHECK_EQ(difference(before->xsave.region + 144, after->xsave.region + 144, 4096 - 576), -1);
	check_tells(&b);
	free(before);
	free(after);
	drop_machine(&b);
	close_kvm(&b);
}

TEST(machine_reset__nothing_is_left_of_a_guest_whatever_its_end)
{
	struct box b = {0};
	size_t count;
	const struct ending *list = endings(&count);
	open_kvm(&b);
	for (size_t i = 0; i < count; i++) {
		make_machine(&b);
		run_dirty(&b, &list[i]);
		struct state *dirty = read_state(&b);
		unsigned differ = compare(b.pristine, dirty, NULL);
		CHECK_EQ(differ & (SPECIAL | DEBUG | CR8), SPECIAL | DEBUG | CR8);
		if (is_native(&b))
			CHECK_EQ(differ & (XSAVE | MSRS), XSAVE | MSRS);
		uint64_t before = b.machine->vcpu_ioctls;
		OK(&b, reset(&b));
		check_note("%s: %llu ioctls", list[i].name,
			   (unsigned long long)(b.machine->vcpu_ioctls - before));
		check_pristine(&b, list[i].name);
		check_tells(&b);
		free(dirty);
		drop_machine(&b);
	}
	close_kvm(&b);
}

/* What the shared page says is an answer only for the exit that it belongs to. */
static void spoil_answer(const struct box *b)
{
	struct kvm_run *run = ((const struct mote__kvm_machine *)b->machine)->run;
	if (run->exit_reason == KVM_EXIT_MMIO)
		memset(run->mmio.data, SPOILT, sizeof run->mmio.data);
	if (run->exit_reason == KVM_EXIT_IO)
		memset((uint8_t *)run + run->io.data_offset, SPOILT,
		       (size_t)run->io.size * run->io.count);
}

TEST(machine_reset__a_read_that_is_pending_gets_zeroes)
{
	const struct ending ends[] = {ENDING(push, MOTE__EXIT_MEMORY, false),
				      ENDING(ins, MOTE__EXIT_OTHER, false)};
	const uint64_t places[] = {STACK - 8, DATA};
	struct box b = {0};
	open_kvm(&b);
	make_machine(&b);
	for (unsigned i = 0; i < 2; i++) {
		fill_memory(&b);
		put_word(&b, places[i], 0x5555555555555555);
		run_dirty(&b, &ends[i]);
		spoil_answer(&b);
		OK(&b, reset(&b));
		/* The input's elements have four bytes. */
		CHECK_EQ(word(&b, places[i]) & 0xFFFFFFFF, 0);
	}
	drop_machine(&b);
	close_kvm(&b);
}

TEST(machine_reset__a_machine_serves_one_guest_after_another)
{
	struct box b = {0};
	size_t count;
	const struct ending *list = endings(&count);
	open_kvm(&b);
	make_machine(&b);
	for (size_t i = 0; i < 2 * count; i++) {
		fill_memory(&b);
		run_dirty(&b, &list[i * 5 % count]);
		OK(&b, reset(&b));
		check_tells(&b);
		OK(&b, reset(&b));
	}
	check_pristine(&b, "the last");
	drop_machine(&b);
	close_kvm(&b);
}

/* Whether the kernel took it. */
static bool put(const struct box *b, unsigned long request, const void *argument, const char *what)
{
	if (ioctl(vcpu_of(b), request, argument) >= 0)
		return true;
	check_note("%s is refused: %s", what, strerror(errno));
	return false;
}

static uint64_t components(const struct box *b)
{
	const struct kvm_cpuid2 *all = ((const struct mote__kvm *)b->hypervisor)->cpuid;
	for (uint32_t i = 0; i < all->nent; i++)
		if (all->entries[i].function == 0xD && all->entries[i].index == 0)
			return all->entries[i].eax;
	return 3;
}

static bool dirty_vectors(const struct box *b)
{
	struct kvm_xsave x;
	const uint64_t header[8] = {components(b)};
	const uint32_t mxcsr = 0x7F80, keys = 0x55555554;
	memset(&x, 0xA5, sizeof x);
	memcpy(x.region + 6, &mxcsr, sizeof mxcsr);
	memcpy(x.region + 128, header, sizeof header);
	if (header[0] & 1u << 9)
		memcpy(x.region + KEYS_AT / 4, &keys, sizeof keys);
	return put(b, KVM_SET_XSAVE, &x, "KVM_SET_XSAVE");
}

static bool dirty_xcr0(const struct box *b)
{
	const struct kvm_xcrs xcrs = {.nr_xcrs = 1, .xcrs = {{.value = components(b) & 7}}};
	return put(b, KVM_SET_XCRS, &xcrs, "KVM_SET_XCRS");
}

static bool dirty_debug(const struct box *b)
{
	const struct kvm_debugregs debug = {.db = {1, 2, 3, 4}, .dr6 = 0xFFFF4FF1, .dr7 = 0x4FF};
	return put(b, KVM_SET_DEBUGREGS, &debug, "KVM_SET_DEBUGREGS");
}

static bool dirty_special(const struct box *b)
{
	struct kvm_sregs s;
	CHECK(ioctl(vcpu_of(b), KVM_GET_SREGS, &s) == 0);
	s.fs.base = 0x123000;
	s.ldt = (struct kvm_segment){
		.base = 0x7800, .limit = 15, .selector = 40, .type = 2, .present = 1};
	s.cr2 = 0x1234;
	s.cr8 = 7;
	s.gdt.base = s.idt.base = 0x5000;
	s.interrupt_bitmap[1] = 2;
	return put(b, KVM_SET_SREGS, &s, "KVM_SET_SREGS");
}

static bool dirty_msrs(const struct box *b)
{
	const struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry[4];
	} msrs = {{.nmsrs = 4},
		  {{.index = 0xC0000081, .data = 1ull << 48},
		   {.index = 0xC0000082, .data = 0x2000},
		   {.index = 0xC0000084, .data = 0x200},
		   {.index = 0xC0000102, .data = 0x4000}}};
	return put(b, KVM_SET_MSRS, &msrs, "KVM_SET_MSRS");
}

/* One kind of event, and whether it shows. */
static bool dirty_events(const struct box *b, unsigned kind)
{
	struct kvm_vcpu_events e = {.flags = KVM_VCPUEVENT_VALID_NMI_PENDING |
					     KVM_VCPUEVENT_VALID_SHADOW};
	static const char *const names[] = {"exception",  "soft interrupt",   "pending NMI",
					    "masked NMI", "interrupt shadow", "triple fault",
					    "SMM"};
	if (kind == 0) {
		e.exception.injected = 1;
		e.exception.nr = 6;
	}
	if (kind == 1) {
		e.interrupt.injected = e.interrupt.soft = 1;
		e.interrupt.nr = 0x80;
	}
	e.nmi.pending = kind == 2;
	e.nmi.masked = kind == 3;
	e.interrupt.shadow = kind == 4;
	if (kind == 5) {
		e.flags |= KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
		e.triple_fault.pending = 1;
	}
	if (kind == 6) {
		e.flags |= KVM_VCPUEVENT_VALID_SMM;
		e.smi.smm = 1;
	}
	return put(b, KVM_SET_VCPU_EVENTS, &e, names[kind]);
}

/* What a guest cannot change, or not on every processor, the host changes in its place. */
TEST(machine_reset__nothing_is_left_of_what_the_host_changed)
{
	struct box b = {0};
	open_kvm(&b);
	for (unsigned kind = 0; kind < 7; kind++) {
		make_machine(&b);
		unsigned expected = dirty_events(&b, kind) ? EVENTS : 0;
		expected |= dirty_vectors(&b) ? XSAVE : 0;
		expected |= dirty_xcr0(&b) ? XCR0 : 0;
		expected |= dirty_debug(&b) ? DEBUG : 0;
		expected |= dirty_special(&b) ? SPECIAL : 0;
		expected |= dirty_msrs(&b) ? MSRS : 0;
		struct state *dirty = read_state(&b);
		unsigned found = compare(b.pristine, dirty, NULL);
		check_note("%u: changed 0x%x, shows 0x%x", kind, expected, found);
		CHECK_EQ(expected & ~found, 0);
		OK(&b, reset(&b));
		check_pristine(&b, "changed by the host");
		check_tells(&b);
		free(dirty);
		drop_machine(&b);
	}
	close_kvm(&b);
}

/* The exit says that the machine should not be used again; a reset serves all the same. */
TEST(machine_reset__a_shutdown_is_fatal)
{
	const struct ending shutdown = ENDING(shutdown, MOTE__EXIT_OTHER, true);
	struct box b = {0};
	open_kvm(&b);
	make_machine(&b);
	run_dirty(&b, &shutdown);
	OK(&b, reset(&b));
	check_pristine(&b, "after a shutdown");
	check_tells(&b);
	drop_machine(&b);
	close_kvm(&b);
}

SNIPPET(declare, "mov $0x174,%ecx\n mov $0x5550,%eax\n xor %edx,%edx\n wrmsr\n"
		 "mov $0x277,%ecx\n mov $0x01010101,%eax\n mov %eax,%edx\n wrmsr\n hlt\n")

/* Registers that the embedder lets guests use; some are not there, or cannot be written. */
TEST(machine_reset__declared_registers_are_those_of_a_new_machine)
{
	static const uint32_t declared[] = {0x174, 0x277, 0x4321, 0xFE, 0xC0000080};
	const struct mote__general general = {.rip = CODE, .rsp = STACK, .rflags = 2};
	struct box b = {.msr_count = 5, .msrs = declared};
	size_t at = 0;
	open_kvm(&b);
	make_machine(&b);
	struct mote__msr_list list = {.count = 2, .msr = {{0x174, 0}, {0x277, 0}}};
	add_code(&b, &at, CODE_OF(declare));
	CHECK_EQ(run_code(&b, &general).kind, MOTE__EXIT_HALT);
	OK(&b, b.machine->ops->get_msrs(b.machine, &list, &b.err));
	CHECK_EQ(list.msr[0].value, 0x5550);
	CHECK_EQ(list.msr[1].value, 0x0101010101010101);
	OK(&b, reset(&b));
	check_pristine(&b, "declared");
	check_tells(&b);
	/* What is asked for counts. */
	list.msr[0].value = 0x1230;
	list.msr[1].value = 0x0606060606060606;
	OK(&b, b.machine->ops->reset(b.machine, &b.special, &list, &b.err));
	list.msr[0].value = list.msr[1].value = 0;
	OK(&b, b.machine->ops->get_msrs(b.machine, &list, &b.err));
	CHECK_EQ(list.msr[0].value, 0x1230);
	CHECK_EQ(list.msr[1].value, 0x0606060606060606);
	drop_machine(&b);
	close_kvm(&b);
}

TEST(machine_reset__model_specific_registers_can_be_read)
{
	struct box b = {0};
	open_kvm(&b);
	make_machine(&b);
	const struct mote__msr_list set = {
		.count = 2, .msr = {{0xC0000102, 0x1234000}, {0xC0000082, 0x5678000}}};
	struct mote__msr_list list = {.count = 2, .msr = {{0xC0000082, 1}, {0xC0000102, 1}}};
	OK(&b, b.machine->ops->set_msrs(b.machine, &set, &b.err));
	OK(&b, b.machine->ops->get_msrs(b.machine, &list, &b.err));
	CHECK_EQ(list.msr[0].value, 0x5678000);
	CHECK_EQ(list.msr[1].value, 0x1234000);
	list.msr[1].index = 0x4321;
	CHECK_EQ(b.machine->ops->get_msrs(b.machine, &list, &b.err), MOTE_ESYSTEM);
	CHECK_HAS(b.err.message, "KVM_GET_MSRS");
	drop_machine(&b);
	close_kvm(&b);
}
