/* SPDX-License-Identifier: MIT */
/*
 * A virtual processor in which nothing is left of what ran. An exit that the kernel waits to
 * complete is completed first, because it would write registers afterwards; then every part of the
 * state is written that a guest can change, also those parts that it cannot change on all
 * processors.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/sys.h"
#include "kvm/kvm.h"

/* More than any instruction needs whose string operation is cut short. */
#define COMPLETE_MAX 64

/* The format of XSAVE, Intel SDM volume 1, 13.4. */
#define XSAVE_FCW        0
#define XSAVE_MXCSR      24
#define XSAVE_COMPONENTS 512
#define COMPONENT_X87    (1u << 0)
#define COMPONENT_SSE    (1u << 1)
#define COMPONENT_PKRU   9u

static_assert(XSAVE_COMPONENTS + 8 <= sizeof(struct kvm_xsave), "the header is inside");

/* ---- once ------------------------------------------------------------------------------------ */

static bool has_component(const struct kvm_cpuid2 *cpuid, uint32_t component)
{
	for (uint32_t i = 0; i < cpuid->nent; i++)
		if (cpuid->entries[i].function == 0xD && cpuid->entries[i].index == component)
			return cpuid->entries[i].eax != 0;
	return false;
}

/* Components that the header does not name become initial, all but one: the kernel keeps the
 * protection keys unless they are named. Their initial value is 0. */
int mote__kvm_make_xsave(struct mote__kvm *kvm)
{
	static const uint16_t fcw = 0x37F;
	static const uint32_t mxcsr = 0x1F80;
	uint64_t components = COMPONENT_X87 | COMPONENT_SSE;
	kvm->xsave = mote__alloc(1, kvm->xsave_bytes);
	if (!kvm->xsave)
		return -ENOMEM;
	if (has_component(kvm->cpuid, COMPONENT_PKRU))
		components |= 1u << COMPONENT_PKRU;
	memcpy(kvm->xsave + XSAVE_FCW, &fcw, sizeof fcw);
	memcpy(kvm->xsave + XSAVE_MXCSR, &mxcsr, sizeof mxcsr);
	memcpy(kvm->xsave + XSAVE_COMPONENTS, &components, sizeof components);
	return 0;
}

/* A register that the kernel does not let us read, or write with what was read, counts as one that
 * guests cannot change. */
int mote__kvm_keep_msrs(struct mote__kvm_machine *m, const struct mote__machine_config *config,
			struct mote_error *err)
{
	const struct mote__hypervisor_ops *ops = m->base.ops;
	for (uint32_t i = 0; i < config->msr_count; i++) {
		struct mote__msr_list one = {.count = 1, .msr = {{.index = config->msrs[i]}}};
		int rc = ops->get_msrs(&m->base, &one, NULL);
		if (rc == MOTE_OK)
			rc = ops->set_msrs(&m->base, &one, NULL);
		if (rc == MOTE_ENOMEM)
			return mote__fail(err, MOTE_ENOMEM, "out of memory");
		if (rc == MOTE_OK)
			m->initial.msr[m->initial.count++] = one.msr[0];
	}
	return MOTE_OK;
}

/* ---- the exit that is pending ---------------------------------------------------------------- */

/* What a read that is pending gets. */
static void clear_data(struct kvm_run *run)
{
	if (run->exit_reason == KVM_EXIT_MMIO)
		memset(run->mmio.data, 0, sizeof run->mmio.data);
	if (run->exit_reason == KVM_EXIT_IO)
		memset((uint8_t *)run + run->io.data_offset, 0,
		       (size_t)run->io.size * run->io.count);
}

/* A repeated string instruction comes back with each of up to 1024 elements. Its count must not
 * become 0: the kernel would then keep the data of this element for the next guest's first read. */
static int cut_short(struct mote__kvm_machine *m)
{
	struct kvm_regs regs;
	int rc = mote__kvm_vcpu_ioctl(m, KVM_GET_REGS, &regs);
	if (rc < 0)
		return rc;
	regs.rcx = 1;
	return mote__kvm_vcpu_ioctl(m, KVM_SET_REGS, &regs);
}

/* With immediate_exit the kernel completes the exit, runs no guest code and returns EINTR, unless
 * the instruction wants another exit. */
static int complete(struct mote__kvm_machine *m)
{
	for (unsigned i = 0; i < COMPLETE_MAX; i++) {
		int rc = i == 1 ? cut_short(m) : 0;
		if (rc < 0)
			return rc;
		clear_data(m->run);
		rc = mote__kvm_vcpu_ioctl(m, KVM_RUN, NULL);
		if (rc == -EINTR)
			return 0;
		if (rc < 0)
			return rc;
	}
	return -ELOOP;
}

static int complete_exit(struct mote__kvm_machine *m)
{
	m->run->kvm_dirty_regs = 0;
	m->run->immediate_exit = 1;
	int rc = complete(m);
	m->run->immediate_exit = 0;
	return rc;
}

/* ---- registers ------------------------------------------------------------------------------- */

static int reset_events(struct mote__kvm_machine *m)
{
	struct kvm_vcpu_events events = {.flags = KVM_VCPUEVENT_VALID_NMI_PENDING |
						  KVM_VCPUEVENT_VALID_SHADOW |
						  KVM_VCPUEVENT_VALID_SMM};
	if (m->kvm->has_triple_fault_event)
		events.flags |= KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
	return mote__kvm_vcpu_ioctl(m, KVM_SET_VCPU_EVENTS, &events);
}

static int reset_xcr0(struct mote__kvm_machine *m)
{
	struct kvm_xcrs xcrs = {.nr_xcrs = 1, .xcrs = {{.value = COMPONENT_X87}}};
	return m->kvm->has_xcrs ? mote__kvm_vcpu_ioctl(m, KVM_SET_XCRS, &xcrs) : 0;
}

static int reset_debug(struct mote__kvm_machine *m)
{
	struct kvm_debugregs debug = {.dr6 = 0xFFFF0FF0, .dr7 = 0x400};
	return mote__kvm_vcpu_ioctl(m, KVM_SET_DEBUGREGS, &debug);
}

static int put_msrs(struct mote__machine *machine, const struct mote__msr_list *list,
		    struct mote_error *err)
{
	return list->count ? machine->ops->set_msrs(machine, list, err) : MOTE_OK;
}

int mote__kvm_reset(struct mote__machine *machine, const struct mote__special *special,
		    const struct mote__msr_list *msrs, struct mote_error *err)
{
	struct mote__kvm_machine *m = (struct mote__kvm_machine *)machine;
	if (!m->kvm->can_reset)
		return mote__fail(err, MOTE_ESYSTEM, "this kernel cannot reset a machine");
	int rc = complete_exit(m);
	if (rc < 0)
		return mote__kvm_fail(err, rc, "completing an exit");
	rc = reset_events(m);
	if (rc < 0)
		return mote__kvm_fail(err, rc, "KVM_SET_VCPU_EVENTS");
	rc = reset_xcr0(m);
	if (rc < 0)
		return mote__kvm_fail(err, rc, "KVM_SET_XCRS");
	rc = mote__kvm_vcpu_ioctl(m, KVM_SET_XSAVE, m->kvm->xsave);
	if (rc < 0)
		return mote__kvm_fail(err, rc, "KVM_SET_XSAVE");
	rc = reset_debug(m);
	if (rc < 0)
		return mote__kvm_fail(err, rc, "KVM_SET_DEBUGREGS");
	/* EFER may be among them; what special says of it counts. */
	rc = put_msrs(machine, &m->initial, err);
	if (rc == MOTE_OK)
		rc = machine->ops->set_special(machine, special, err);
	return rc < 0 ? rc : put_msrs(machine, msrs, err);
}
