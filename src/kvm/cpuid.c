/* SPDX-License-Identifier: MIT */
/*
 * The processor that guests see: what the kernel supports, less nested virtualisation, x2APIC and
 * shadow stacks. Bits are those of Intel SDM volume 2A, CPUID, and AMD64 APM volume 3, appendix E.
 */
#include <errno.h>

#include "base/sys.h"
#include "kvm/kvm.h"

#define LEAF1_ECX_VMX    (1u << 5)
#define LEAF1_ECX_X2APIC (1u << 21)
#define LEAF7_ECX_SHSTK  (1u << 7)
#define LEAF7_EDX_IBT    (1u << 20)
#define EXT1_ECX_SVM     (1u << 2)

static void hide(struct kvm_cpuid_entry2 *e)
{
	if (e->function == 1)
		e->ecx &= ~(LEAF1_ECX_VMX | LEAF1_ECX_X2APIC);
	if (e->function == 7 && e->index == 0) {
		e->ecx &= ~LEAF7_ECX_SHSTK;
		e->edx &= ~LEAF7_EDX_IBT;
	}
	if (e->function == 0x80000001)
		e->ecx &= ~EXT1_ECX_SVM;
	if (e->function == 0x8000000A)
		e->eax = e->ebx = e->ecx = e->edx = 0;
}

int mote__kvm_read_cpuid(struct mote__kvm *kvm)
{
	size_t bytes = sizeof *kvm->cpuid + MOTE__CPUID_MAX * sizeof kvm->cpuid->entries[0];
	kvm->cpuid = mote__alloc(1, bytes);
	if (!kvm->cpuid)
		return -ENOMEM;
	kvm->cpuid->nent = MOTE__CPUID_MAX;
	int rc = mote__sys_ioctl(kvm->fd, KVM_GET_SUPPORTED_CPUID, kvm->cpuid);
	if (rc < 0)
		return rc;
	for (uint32_t i = 0; i < kvm->cpuid->nent; i++) {
		const struct kvm_cpuid_entry2 *e = &kvm->cpuid->entries[i];
		hide(&kvm->cpuid->entries[i]);
		if (!e->index)
			mote__processor_add(&kvm->base.offered, e->function,
					    (const uint32_t[]){e->eax, e->ebx, e->ecx, e->edx});
	}
	return 0;
}

void mote__kvm_set_physical_bits(struct kvm_cpuid2 *cpuid, uint32_t bits)
{
	for (uint32_t i = 0; i < cpuid->nent; i++)
		if (cpuid->entries[i].function == 0x80000008)
			cpuid->entries[i].eax = (cpuid->entries[i].eax & ~0xFFu) | bits;
}
