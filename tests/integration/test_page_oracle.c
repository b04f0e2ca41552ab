/* SPDX-License-Identifier: MIT */
/*
 * The kernel as an oracle for page walks: random tables in the memory of a bare machine, random
 * addresses, and KVM_TRANSLATE beside our own walk. (The other oracle, a naive walker, needs no
 * KVM: test_page_table_naive.)
 */
#define _GNU_SOURCE
#include "core/page_table.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"

enum { PAGE = 4096, TABLES = 24, MEMORY = 64 * PAGE, ROUNDS = 60, ADDRESSES = 400 };

#define PRESENT    0x001ull
#define LARGE      0x080ull
#define NO_EXEC    (1ull << 63)
#define MEMORY_GPA 0x100000ull

struct machine {
	int kvm, vm, vcpu;
	uint64_t *memory;
	bool has_gigabyte_pages;
};

static bool offers_gigabyte_pages(const struct kvm_cpuid2 *cpuid)
{
	for (uint32_t i = 0; i < cpuid->nent; i++)
		if (cpuid->entries[i].function == 0x80000001)
			return cpuid->entries[i].edx >> 26 & 1;
	return false;
}

static void set_cpuid(struct machine *m)
{
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof *cpuid + 256 * sizeof cpuid->entries[0]);
	CHECK(cpuid);
	cpuid->nent = 256;
	CHECK(ioctl(m->kvm, KVM_GET_SUPPORTED_CPUID, cpuid) == 0);
	for (uint32_t i = 0; i < cpuid->nent; i++)
		if (cpuid->entries[i].function == 0x80000008)
			cpuid->entries[i].eax = (cpuid->entries[i].eax & ~0xFFu) | 36;
	m->has_gigabyte_pages = offers_gigabyte_pages(cpuid);
	CHECK(ioctl(m->vcpu, KVM_SET_CPUID2, cpuid) == 0);
	free(cpuid);
}

static struct machine machine_make(void)
{
	struct machine m = {.kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC)};
	if (m.kvm < 0)
		check_skip("cannot open /dev/kvm: %s", strerror(errno));
	m.vm = ioctl(m.kvm, KVM_CREATE_VM, 0);
	m.vcpu = ioctl(m.vm, KVM_CREATE_VCPU, 0);
	CHECK(m.vm >= 0 && m.vcpu >= 0);
	set_cpuid(&m);
	m.memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(m.memory != MAP_FAILED);
	struct kvm_userspace_memory_region slot = {.guest_phys_addr = MEMORY_GPA,
						   .memory_size = MEMORY,
						   .userspace_addr = (uint64_t)(uintptr_t)m.memory};
	CHECK(ioctl(m.vm, KVM_SET_USER_MEMORY_REGION, &slot) == 0);
	return m;
}

static void machine_free(struct machine *m)
{
	close(m->vcpu);
	close(m->vm);
	close(m->kvm);
	munmap(m->memory, MEMORY);
}

static void set_root(struct machine *m, uint64_t root)
{
	struct kvm_sregs s;
	CHECK(ioctl(m->vcpu, KVM_GET_SREGS, &s) == 0);
	s.cs.l = 1;
	s.cs.db = 0;
	s.cr0 = 0x80050033;
	s.cr3 = root;
	s.cr4 = 0x620;
	s.efer = 0xD01;
	CHECK(ioctl(m->vcpu, KVM_SET_SREGS, &s) == 0);
}

/* Mostly a table or a page of the machine's memory, sometimes large, absent, outside or misaligned.
 */
static uint64_t random_entry(const struct machine *m, uint64_t *seed, int level)
{
	uint64_t r = check_random(seed);
	if (r % 8 == 0)
		return r & ~PRESENT & ~NO_EXEC;
	uint64_t flags =
		PRESENT | (r >> 8 & 0x66) | (r >> 16 & 0xE00) | (r >> 20 & 1 ? NO_EXEC : 0);
	bool may_be_large = level == 2 || (level == 3 && m->has_gigabyte_pages) || level == 4;
	if (may_be_large && (r >> 24) % 6 == 0) {
		uint64_t size = level == 2 ? 21 : 30;
		uint64_t at = (r >> 32 & 0x3FF) << size & 0xFFFFFF000ull;
		if ((r >> 44) % 4 == 0)
			at |= 0x4000; /* a reserved bit */
		return at | flags | LARGE;
	}
	if ((r >> 28) % 16 == 0)
		return 0x800000000ull | flags; /* nothing is there */
	uint64_t page = (r >> 32) % (level > 1 ? TABLES : MEMORY / PAGE);
	return (MEMORY_GPA + page * PAGE) | flags;
}

static void fill(struct machine *m, uint64_t *seed)
{
	/* The same page serves as a table of several levels, so its entries are of any kind. */
	for (unsigned i = 0; i < TABLES * 512u; i++)
		m->memory[i] = random_entry(m, seed, (int)(check_random(seed) % 3) + 1);
}

static uint64_t random_address(uint64_t *seed)
{
	uint64_t va = check_random(seed) & 0xFFFFFFFFFFFFull;
	return va >> 47 ? va | 0xFFFF000000000000ull : va;
}

TEST(page_oracle__our_walk_agrees_with_the_kernels)
{
	struct machine m = machine_make();
	uint64_t seed = 0x0C0FFEE123456789;
	unsigned mapped = 0, large = 0;
	check_note("seed 0x%llx, 1 GiB pages %s", (unsigned long long)seed,
		   m.has_gigabyte_pages ? "offered" : "not offered");
	const struct mote__pt_range range = {m.memory, MEMORY_GPA, MEMORY};
	for (unsigned round = 0; round < ROUNDS; round++) {
		fill(&m, &seed);
		uint64_t root = MEMORY_GPA + check_random(&seed) % TABLES * PAGE;
		set_root(&m, root);
		const struct mote__pt_space space = {
			&mote__pt_x86_64, {&range, mote__pt_range_table}, root};
		for (unsigned i = 0; i < ADDRESSES; i++) {
			uint64_t va = random_address(&seed);
			struct mote__pt_translation ours;
			struct kvm_translation theirs = {.linear_address = va};
			bool is_mapped = mote__pt_translate(&space, va, &ours) == MOTE__PT_OK;
			CHECK(ioctl(m.vcpu, KVM_TRANSLATE, &theirs) == 0);
			bool is_large_1g = is_mapped && ours.level == 3 && !m.has_gigabyte_pages;
			if (is_large_1g) /* reserved for this processor; ours knows no processor */
				continue;
			if (is_mapped != (theirs.valid != 0) ||
			    (is_mapped && ours.gpa != theirs.physical_address))
				check_note("round %u va 0x%llx: ours %d 0x%llx, kernel %d 0x%llx",
					   round, (unsigned long long)va, is_mapped,
					   (unsigned long long)(is_mapped ? ours.gpa : 0),
					   theirs.valid,
					   (unsigned long long)theirs.physical_address);
			CHECK_EQ(is_mapped, theirs.valid != 0);
			if (is_mapped)
				CHECK_EQ(ours.gpa, theirs.physical_address);
			mapped += is_mapped;
			large += is_mapped && ours.level > 1;
		}
	}
	check_note("%u of %u addresses were mapped, %u by large pages", mapped, ROUNDS * ADDRESSES,
		   large);
	CHECK(mapped > 1000 && large > 100);
	machine_free(&m);
}
