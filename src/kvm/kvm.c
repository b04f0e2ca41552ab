/* SPDX-License-Identifier: MIT */
/*
 * The KVM device: what it offers, and whether that is enough. Everything is found out once, when
 * the device is opened.
 */
#include "kvm/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/sys.h"

#define API_VERSION      12
#define MEMORY_SLOTS_MIN 8

static bool read_flag(const char *path, char *value)
{
	uint8_t *bytes = NULL;
	size_t len = 0;
	if (mote__sys_read_file(path, 4096, &bytes, &len) < 0)
		return false;
	*value = (char)(len ? bytes[0] : 0);
	mote__free(bytes);
	return true;
}

/* The modules' parameters tell; a KVM without them (built in, or another module) counts as shadow
 * paging, which is slower to serve and never wrong. */
static uint32_t find_paging(void)
{
	static const char *const parameters[] = {"/sys/module/kvm_amd/parameters/npt",
						 "/sys/module/kvm_intel/parameters/ept"};
	char value;
	for (size_t i = 0; i < sizeof parameters / sizeof *parameters; i++)
		if (read_flag(parameters[i], &value))
			return value == 'Y' || value == '1' ? MOTE_PAGING_NESTED
							    : MOTE_PAGING_SHADOW;
	return MOTE_PAGING_SHADOW;
}

static void cpuid(uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	__asm__ volatile("cpuid"
			 : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3])
			 : "a"(leaf), "c"(subleaf));
}

/* QEMU without acceleration names itself in the hypervisor leaf. */
static bool is_emulated_processor(void)
{
	uint32_t out[4];
	cpuid(0x40000000, 0, out);
	return memcmp(&out[1], "TCGTCGTCGTCG", 12) == 0;
}

static int capability(int fd, unsigned long number)
{
	int rc = mote__sys_ioctl(fd, KVM_CHECK_EXTENSION, (void *)(uintptr_t)number);
	return rc < 0 ? 0 : rc;
}

static void add_missing(struct mote_engine_info *info, const char *name)
{
	size_t used = strlen(info->missing);
	(void)snprintf(info->missing + used, sizeof info->missing - used, "%s%s", used ? ", " : "",
		       name);
}

static void look(int fd, bool allow_unfiltered_msrs, struct mote_engine_info *info)
{
	unsigned sync = (unsigned)capability(fd, KVM_CAP_SYNC_REGS);
	info->paging = find_paging();
	info->is_emulated = is_emulated_processor();
	info->has_read_only_memory = capability(fd, KVM_CAP_READONLY_MEM) > 0;
	info->has_sync_registers = (sync & (unsigned)KVM_SYNC_X86_REGS) != 0;
	info->has_immediate_exit = capability(fd, KVM_CAP_IMMEDIATE_EXIT) > 0;
	info->has_msr_filter = capability(fd, KVM_CAP_X86_MSR_FILTER) > 0;
	info->memory_slots = (uint32_t)capability(fd, KVM_CAP_NR_MEMSLOTS);
	if (capability(fd, KVM_CAP_USER_MEMORY) <= 0)
		add_missing(info, "KVM_CAP_USER_MEMORY");
	if (!info->has_read_only_memory)
		add_missing(info, "KVM_CAP_READONLY_MEM");
	if (info->memory_slots < MEMORY_SLOTS_MIN)
		add_missing(info, "KVM_CAP_NR_MEMSLOTS (8)");
	if (!info->has_msr_filter && !allow_unfiltered_msrs)
		add_missing(info, "KVM_CAP_X86_MSR_FILTER");
}

/* Which bits of CR4 the kernel accepts: CPUID does not offer all that work. */
static void find_cr4(struct mote__kvm *kvm, struct mote__machine *machine)
{
	static const uint64_t tries[] = {MOTE__CR4_FSGSBASE | MOTE__CR4_UMIP, MOTE__CR4_FSGSBASE,
					 MOTE__CR4_UMIP, 0};
	struct mote__special special;
	for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
		kvm->base.cr4_offered = tries[i];
		mote__special_confined(&special, 0, tries[i], kvm->base.info.is_emulated);
		if (machine->ops->set_special(machine, &special, NULL) == MOTE_OK)
			return;
	}
}

/* One machine is made and dropped: a device may open and still not be able to. */
static int try_machine(struct mote__kvm *kvm, struct mote_error *err)
{
	struct mote__machine *machine = NULL;
	const struct mote__machine_config config = {.physical_bits = 36};
	int rc = mote__kvm_machine_create(&kvm->base, &config, &machine, err);
	if (rc < 0)
		return rc;
	kvm->base.info.tsc_khz = mote__kvm_tsc_khz(machine);
	find_cr4(kvm, machine);
	mote__kvm_machine_destroy(machine);
	return MOTE_OK;
}

/* All of it is older than the filter of model-specific registers; a kernel without it cannot reset
 * machines. */
static void find_reset(struct mote__kvm *kvm)
{
	int bytes = capability(kvm->fd, KVM_CAP_XSAVE2);
	kvm->can_reset = kvm->base.info.has_immediate_exit &&
			 capability(kvm->fd, KVM_CAP_VCPU_EVENTS) > 0 &&
			 capability(kvm->fd, KVM_CAP_DEBUGREGS) > 0 &&
			 capability(kvm->fd, KVM_CAP_XSAVE) > 0;
	kvm->has_xcrs = capability(kvm->fd, KVM_CAP_XCRS) > 0;
	kvm->has_triple_fault_event = capability(kvm->fd, KVM_CAP_X86_TRIPLE_FAULT_EVENT) > 0;
	kvm->xsave_bytes = sizeof(struct kvm_xsave);
	if (bytes > 0 && (size_t)bytes > kvm->xsave_bytes)
		kvm->xsave_bytes = (size_t)bytes;
}

static int open_device(const char *device, struct mote_engine_info *info, struct mote_error *err)
{
	int fd = mote__sys_open(device, O_RDWR);
	if (fd >= 0)
		return fd;
	info->system_errno = -fd;
	if (fd == -EMFILE || fd == -ENFILE || fd == -ENOMEM)
		return mote__fail_system(err, MOTE_ENOMEM, -fd, "opening %s", device);
	return mote__fail_system(err, MOTE_ENOKVM, -fd, "no usable KVM: opening %s", device);
}

static int start(struct mote__kvm *kvm, bool allow_unfiltered_msrs, const char *device,
		 struct mote_error *err)
{
	struct mote_engine_info *info = &kvm->base.info;
	info->api_version = mote__sys_ioctl(kvm->fd, KVM_GET_API_VERSION, NULL);
	if (info->api_version != API_VERSION) {
		info->api_version = 0;
		return mote__fail(err, MOTE_ENOKVM, "%s is not a KVM device of API version %d",
				  device, API_VERSION);
	}
	look(kvm->fd, allow_unfiltered_msrs, info);
	if (info->missing[0])
		return mote__fail(err, MOTE_ENOKVM, "%s lacks %s", device, info->missing);
	kvm->has_sync_registers = info->has_sync_registers;
	kvm->has_msr_filter = info->has_msr_filter;
	int rc = mote__sys_ioctl(kvm->fd, KVM_GET_VCPU_MMAP_SIZE, NULL);
	if (rc < (int)sizeof(struct kvm_run))
		return mote__fail_system(err, MOTE_ESYSTEM, rc < 0 ? -rc : EINVAL,
					 "KVM_GET_VCPU_MMAP_SIZE");
	kvm->run_bytes = (size_t)rc;
	rc = mote__kvm_read_cpuid(kvm);
	if (rc < 0)
		return mote__fail_system(err, rc == -ENOMEM ? MOTE_ENOMEM : MOTE_ESYSTEM, -rc,
					 "KVM_GET_SUPPORTED_CPUID");
	find_reset(kvm);
	if (mote__kvm_make_xsave(kvm) < 0)
		return mote__fail(err, MOTE_ENOMEM, "out of memory");
	return try_machine(kvm, err);
}

int mote__kvm_open(const char *device, bool allow_unfiltered_msrs, struct mote__hypervisor **out,
		   struct mote_engine_info *info, struct mote_error *err)
{
	memset(info, 0, sizeof *info);
	int fd = open_device(device, info, err);
	if (fd < 0)
		return fd;
	struct mote__kvm *kvm = mote__alloc(1, sizeof *kvm);
	if (!kvm) {
		mote__sys_close(fd);
		return mote__fail(err, MOTE_ENOMEM, "out of memory");
	}
	kvm->base.ops = &mote__kvm_ops;
	kvm->fd = fd;
	if (mote__sys_own_make(&kvm->own) < 0) {
		kvm->base.ops->close(&kvm->base);
		return mote__fail(err, MOTE_ENOMEM, "out of memory");
	}
	int rc = start(kvm, allow_unfiltered_msrs, device, err);
	*info = kvm->base.info;
	if (rc < 0) {
		kvm->base.ops->close(&kvm->base);
		return rc;
	}
	*out = &kvm->base;
	return MOTE_OK;
}
