/* SPDX-License-Identifier: MIT */
/*
 * A virtual machine with one virtual processor, on KVM. No interrupt controller in the kernel, no
 * devices: the only ways out are the exits that run() decodes.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/sys.h"
#include "kvm/kvm.h"

int mote__kvm_vcpu_ioctl(struct mote__kvm_machine *m, unsigned long request, void *argument)
{
	m->base.vcpu_ioctls++;
	return mote__sys_ioctl(m->vcpu, request, argument);
}

int mote__kvm_fail(struct mote_error *err, int rc, const char *what)
{
	bool is_resource =
		rc == -ENOMEM || rc == -EMFILE || rc == -ENFILE || rc == -ENOSPC || rc == -EAGAIN;
	return mote__fail_system(err, is_resource ? MOTE_ENOMEM : MOTE_ESYSTEM, -rc, "%s", what);
}

/* ---- making ---------------------------------------------------------------------------------- */

/* Deny every model-specific register but FS base, GS base and those of the configuration: an access
 * is #GP in the guest. */
static int set_msr_filter(struct mote__kvm_machine *m, const struct mote__machine_config *config)
{
	static const uint8_t both = 3, one = 1;
	struct kvm_msr_filter filter = {.flags = KVM_MSR_FILTER_DEFAULT_DENY};
	filter.ranges[0] = (struct kvm_msr_filter_range){
		.flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE,
		.nmsrs = 2,
		.base = 0xC0000100,
		.bitmap = (uint8_t *)(uintptr_t)&both,
	};
	for (uint32_t i = 0; i < config->msr_count; i++)
		filter.ranges[i + 1] = (struct kvm_msr_filter_range){
			.flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE,
			.nmsrs = 1,
			.base = config->msrs[i],
			.bitmap = (uint8_t *)(uintptr_t)&one,
		};
	return mote__sys_ioctl(m->vm, KVM_X86_SET_MSR_FILTER, &filter);
}

static int enable_triple_fault_event(struct mote__kvm_machine *m)
{
	struct kvm_enable_cap enable = {.cap = KVM_CAP_X86_TRIPLE_FAULT_EVENT, .args = {1}};
	return mote__sys_ioctl(m->vm, KVM_ENABLE_CAP, &enable);
}

static int set_cpuid(struct mote__kvm_machine *m, uint32_t physical_bits)
{
	const struct kvm_cpuid2 *all = m->kvm->cpuid;
	size_t bytes = sizeof *all + all->nent * sizeof all->entries[0];
	struct kvm_cpuid2 *copy = mote__alloc(1, bytes);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, all, bytes);
	mote__kvm_set_physical_bits(copy, physical_bits);
	int rc = mote__kvm_vcpu_ioctl(m, KVM_SET_CPUID2, copy);
	mote__free(copy);
	return rc;
}

static int make(struct mote__kvm_machine *m, const struct mote__machine_config *config,
		struct mote_error *err)
{
	/* The kernel interrupts itself with EINTR when a signal is pending while it allocates. */
	do
		m->vm = mote__sys_ioctl(m->kvm->fd, KVM_CREATE_VM, NULL);
	while (m->vm == -EINTR);
	if (m->vm < 0)
		return mote__kvm_fail(err, m->vm, "KVM_CREATE_VM");
	int rc = m->kvm->has_msr_filter ? set_msr_filter(m, config) : 0;
	if (rc < 0)
		return mote__kvm_fail(err, rc, "KVM_X86_SET_MSR_FILTER");
	rc = m->kvm->has_triple_fault_event ? enable_triple_fault_event(m) : 0;
	if (rc < 0)
		return mote__kvm_fail(err, rc, "KVM_CAP_X86_TRIPLE_FAULT_EVENT");
	m->vcpu = mote__sys_ioctl(m->vm, KVM_CREATE_VCPU, NULL);
	if (m->vcpu < 0)
		return mote__kvm_fail(err, m->vcpu, "KVM_CREATE_VCPU");
	void *run = NULL;
	rc = mote__sys_map(MOTE__MAP_VCPU, m->vcpu, m->kvm->run_bytes, &run);
	if (rc < 0)
		return mote__kvm_fail(err, rc, "mapping the virtual processor");
	m->run = run;
	rc = set_cpuid(m, config->physical_bits);
	if (rc < 0)
		return mote__kvm_fail(err, rc, "KVM_SET_CPUID2");
	return mote__kvm_keep_msrs(m, config, err);
}

void mote__kvm_machine_destroy(struct mote__machine *machine)
{
	struct mote__kvm_machine *m = (struct mote__kvm_machine *)machine;
	if (!m)
		return;
	/* A child after fork() has no mapping of it. */
	if (mote__sys_is_own(m->kvm->own))
		mote__sys_unmap(m->run, m->kvm->run_bytes);
	mote__sys_close(m->vcpu);
	mote__sys_close(m->vm);
	mote__free(m);
}

int mote__kvm_machine_create(struct mote__hypervisor *hypervisor,
			     const struct mote__machine_config *config,
			     struct mote__machine **machine, struct mote_error *err)
{
	if (config->msr_count > MOTE__MSR_ALLOW_MAX - 1)
		return mote__fail(err, MOTE_EINVAL, "%u model-specific registers, at most %d",
				  config->msr_count, MOTE__MSR_ALLOW_MAX - 1);
	struct mote__kvm_machine *m = mote__alloc(1, sizeof *m);
	if (!m)
		return mote__fail(err, MOTE_ENOMEM, "out of memory");
	m->base.ops = hypervisor->ops;
	m->kvm = (struct mote__kvm *)hypervisor;
	m->vm = m->vcpu = -1;
	int rc = make(m, config, err);
	if (rc < 0) {
		mote__kvm_machine_destroy(&m->base);
		return rc;
	}
	*machine = &m->base;
	return MOTE_OK;
}

uint32_t mote__kvm_tsc_khz(struct mote__machine *machine)
{
	int rc = mote__kvm_vcpu_ioctl((struct mote__kvm_machine *)machine, KVM_GET_TSC_KHZ, NULL);
	return rc > 0 ? (uint32_t)rc : 0;
}

static int machine_map(struct mote__machine *machine, uint32_t slot, uint64_t gpa, const void *host,
		       uint64_t bytes, bool is_writable, struct mote_error *err)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.flags = is_writable || !bytes ? 0 : KVM_MEM_READONLY,
		.guest_phys_addr = gpa,
		.memory_size = bytes,
		.userspace_addr = (uint64_t)(uintptr_t)host,
	};
	int rc = mote__sys_ioctl(((struct mote__kvm_machine *)machine)->vm,
				 KVM_SET_USER_MEMORY_REGION, &region);
	return rc < 0 ? mote__kvm_fail(err, rc, "KVM_SET_USER_MEMORY_REGION") : MOTE_OK;
}

/* ---- registers ------------------------------------------------------------------------------- */

static struct kvm_segment to_kvm(const struct mote__segment *s)
{
	return (struct kvm_segment){.base = s->base,
				    .limit = s->limit,
				    .selector = s->selector,
				    .type = s->type,
				    .present = s->present,
				    .dpl = s->dpl,
				    .db = s->db,
				    .s = s->s,
				    .l = s->l,
				    .g = s->g,
				    .unusable = s->unusable};
}

static struct mote__segment from_kvm(const struct kvm_segment *s)
{
	return (struct mote__segment){.base = s->base,
				      .limit = s->limit,
				      .selector = s->selector,
				      .type = s->type,
				      .present = s->present,
				      .dpl = s->dpl,
				      .db = s->db,
				      .s = s->s,
				      .l = s->l,
				      .g = s->g,
				      .unusable = s->unusable};
}

/* CR8, APIC base and the interrupt bitmap become 0. Without an interrupt controller in the kernel,
 * KVM_RUN takes CR8 from the shared page, where the last exit left it. */
static int machine_set_special(struct mote__machine *machine, const struct mote__special *special,
			       struct mote_error *err)
{
	struct kvm_sregs s = {
		.cs = to_kvm(&special->cs),
		.ds = to_kvm(&special->ds),
		.es = to_kvm(&special->es),
		.fs = to_kvm(&special->fs),
		.gs = to_kvm(&special->gs),
		.ss = to_kvm(&special->ss),
		.tr = to_kvm(&special->tr),
		.ldt = to_kvm(&special->ldt),
		.gdt = {.base = special->gdt_base, .limit = special->gdt_limit},
		.idt = {.base = special->idt_base, .limit = special->idt_limit},
		.cr0 = special->cr0,
		.cr2 = special->cr2,
		.cr3 = special->cr3,
		.cr4 = special->cr4,
		.efer = special->efer,
	};
	struct mote__kvm_machine *m = (struct mote__kvm_machine *)machine;
	m->run->cr8 = 0;
	int rc = mote__kvm_vcpu_ioctl(m, KVM_SET_SREGS, &s);
	return rc < 0 ? mote__kvm_fail(err, rc, "KVM_SET_SREGS") : MOTE_OK;
}

static int machine_get_special(struct mote__machine *machine, struct mote__special *special,
			       struct mote_error *err)
{
	struct kvm_sregs s;
	int rc = mote__kvm_vcpu_ioctl((struct mote__kvm_machine *)machine, KVM_GET_SREGS, &s);
	if (rc < 0)
		return mote__kvm_fail(err, rc, "KVM_GET_SREGS");
	*special = (struct mote__special){
		.cs = from_kvm(&s.cs),
		.ds = from_kvm(&s.ds),
		.es = from_kvm(&s.es),
		.fs = from_kvm(&s.fs),
		.gs = from_kvm(&s.gs),
		.ss = from_kvm(&s.ss),
		.tr = from_kvm(&s.tr),
		.ldt = from_kvm(&s.ldt),
		.gdt_base = s.gdt.base,
		.gdt_limit = s.gdt.limit,
		.idt_base = s.idt.base,
		.idt_limit = s.idt.limit,
		.cr0 = s.cr0,
		.cr2 = s.cr2,
		.cr3 = s.cr3,
		.cr4 = s.cr4,
		.efer = s.efer,
	};
	return MOTE_OK;
}

static int machine_get_general(struct mote__machine *machine, struct mote__general *general,
			       struct mote_error *err)
{
	struct kvm_regs r;
	int rc = mote__kvm_vcpu_ioctl((struct mote__kvm_machine *)machine, KVM_GET_REGS, &r);
	if (rc < 0)
		return mote__kvm_fail(err, rc, "KVM_GET_REGS");
	static_assert(sizeof r == sizeof *general, "the fields stand in the kernel's order");
	memcpy(general, &r, sizeof *general);
	return MOTE_OK;
}

struct msrs {
	struct kvm_msrs head;
	struct kvm_msr_entry entries[MOTE__MSRS_MAX];
};

/* The request returns how many registers it did before one that it refused. */
static int msr_ioctl(struct mote__machine *machine, unsigned long request, struct msrs *msrs)
{
	int rc = mote__kvm_vcpu_ioctl((struct mote__kvm_machine *)machine, request, msrs);
	return rc >= 0 && (uint32_t)rc != msrs->head.nmsrs ? -EINVAL : rc;
}

static int machine_set_msrs(struct mote__machine *machine, const struct mote__msr_list *list,
			    struct mote_error *err)
{
	struct msrs msrs = {.head = {.nmsrs = list->count}};
	for (uint32_t i = 0; i < list->count; i++)
		msrs.entries[i] = (struct kvm_msr_entry){.index = list->msr[i].index,
							 .data = list->msr[i].value};
	int rc = msr_ioctl(machine, KVM_SET_MSRS, &msrs);
	return rc < 0 ? mote__kvm_fail(err, rc, "KVM_SET_MSRS") : MOTE_OK;
}

static int machine_get_msrs(struct mote__machine *machine, struct mote__msr_list *list,
			    struct mote_error *err)
{
	struct msrs msrs = {.head = {.nmsrs = list->count}};
	for (uint32_t i = 0; i < list->count; i++)
		msrs.entries[i].index = list->msr[i].index;
	int rc = msr_ioctl(machine, KVM_GET_MSRS, &msrs);
	if (rc < 0)
		return mote__kvm_fail(err, rc, "KVM_GET_MSRS");
	for (uint32_t i = 0; i < list->count; i++)
		list->msr[i].value = msrs.entries[i].data;
	return MOTE_OK;
}

/* KVM_SET_FPU leaves MXCSR as it is. */
static int machine_reset_fpu(struct mote__machine *machine, struct mote_error *err)
{
	struct kvm_fpu fpu = {.fcw = 0x37F, .mxcsr = 0x1F80};
	int rc = mote__kvm_vcpu_ioctl((struct mote__kvm_machine *)machine, KVM_SET_FPU, &fpu);
	return rc < 0 ? mote__kvm_fail(err, rc, "KVM_SET_FPU") : MOTE_OK;
}

static int machine_set_signal_mask(struct mote__machine *machine, const sigset_t *blocked,
				   struct mote_error *err)
{
	/* The kernel's signal set has 64 bits; the C library's is larger. */
	struct {
		struct kvm_signal_mask head;
		uint8_t bits[8];
	} mask = {.head = {.len = 8}};
	memcpy((uint8_t *)&mask + offsetof(struct kvm_signal_mask, sigset), blocked, 8);
	int rc = mote__kvm_vcpu_ioctl((struct mote__kvm_machine *)machine, KVM_SET_SIGNAL_MASK,
				      &mask);
	return rc < 0 ? mote__kvm_fail(err, rc, "KVM_SET_SIGNAL_MASK") : MOTE_OK;
}

/* ---- running --------------------------------------------------------------------------------- */

static void decode_io(const struct kvm_run *run, struct mote__exit *exit)
{
	if (run->io.direction != KVM_EXIT_IO_OUT) {
		exit->kind = MOTE__EXIT_OTHER;
		(void)snprintf(exit->detail, sizeof exit->detail, "IN from port %u", run->io.port);
		return;
	}
	size_t bytes = (size_t)run->io.size * run->io.count;
	exit->kind = MOTE__EXIT_OUT;
	exit->port = run->io.port;
	exit->bytes = (uint8_t)(bytes < 4 ? bytes : 4);
	memcpy(&exit->data, (const uint8_t *)run + run->io.data_offset, exit->bytes);
}

static void decode_other(const struct kvm_run *run, struct mote__exit *exit)
{
	exit->kind = MOTE__EXIT_OTHER;
	exit->is_fatal = true;
	switch (run->exit_reason) {
	case KVM_EXIT_SHUTDOWN:
		(void)snprintf(exit->detail, sizeof exit->detail, "shutdown (triple fault)");
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		(void)snprintf(exit->detail, sizeof exit->detail, "internal error, suberror %u%s",
			       run->internal.suberror,
			       run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION
				       ? " (an instruction that the kernel cannot emulate)"
				       : "");
		break;
	case KVM_EXIT_FAIL_ENTRY:
		(void)snprintf(exit->detail, sizeof exit->detail, "failed entry, reason 0x%llx",
			       (unsigned long long)run->fail_entry.hardware_entry_failure_reason);
		break;
	default:
		(void)snprintf(exit->detail, sizeof exit->detail, "exit reason %u",
			       run->exit_reason);
	}
}

static void decode(const struct kvm_run *run, struct mote__exit *exit)
{
	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		decode_io(run, exit);
		break;
	case KVM_EXIT_HLT:
		exit->kind = MOTE__EXIT_HALT;
		break;
	case KVM_EXIT_MMIO:
		exit->kind = MOTE__EXIT_MEMORY;
		exit->gpa = run->mmio.phys_addr;
		exit->is_write = run->mmio.is_write;
		break;
	case KVM_EXIT_INTR:
		exit->kind = MOTE__EXIT_INTERRUPTED;
		break;
	default:
		decode_other(run, exit);
	}
}

static int put_general(struct mote__kvm_machine *m, const struct mote__general *general)
{
	struct kvm_regs *r = &m->run->s.regs.regs;
	memcpy(r, general, sizeof *r);
	if (m->kvm->has_sync_registers) {
		m->run->kvm_dirty_regs = KVM_SYNC_X86_REGS;
		return 0;
	}
	struct kvm_regs copy = *r;
	return mote__kvm_vcpu_ioctl(m, KVM_SET_REGS, &copy);
}

static int machine_run(struct mote__machine *machine, const struct mote__general *general,
		       struct mote__exit *exit)
{
	struct mote__kvm_machine *m = (struct mote__kvm_machine *)machine;
	int rc = general ? put_general(m, general) : 0;
	if (rc < 0)
		return rc;
	m->base.entries++;
	rc = mote__kvm_vcpu_ioctl(m, KVM_RUN, NULL);
	exit->data = 0;
	exit->is_fatal = false;
	exit->detail[0] = 0;
	/* EAGAIN: nothing ran; the caller looks whether it is to end, and comes back. */
	if (rc == -EINTR || rc == -EAGAIN) {
		exit->kind = MOTE__EXIT_INTERRUPTED;
		return 0;
	}
	if (rc < 0)
		return rc;
	decode(m->run, exit);
	return 0;
}

static void kvm_close(struct mote__hypervisor *hypervisor)
{
	struct mote__kvm *kvm = (struct mote__kvm *)hypervisor;
	mote__sys_close(kvm->fd);
	mote__sys_own_free(kvm->own);
	mote__free(kvm->cpuid);
	mote__free(kvm->xsave);
	mote__free(kvm);
}

const struct mote__hypervisor_ops mote__kvm_ops = {
	.close = kvm_close,
	.machine_create = mote__kvm_machine_create,
	.machine_destroy = mote__kvm_machine_destroy,
	.map = machine_map,
	.set_special = machine_set_special,
	.get_special = machine_get_special,
	.get_general = machine_get_general,
	.set_msrs = machine_set_msrs,
	.get_msrs = machine_get_msrs,
	.reset = mote__kvm_reset,
	.reset_fpu = machine_reset_fpu,
	.set_signal_mask = machine_set_signal_mask,
	.run = machine_run,
};
