/* SPDX-License-Identifier: MIT */
/* What the files of src/kvm share. */
#ifndef MOTE_KVM_KVM_H
#define MOTE_KVM_KVM_H

#include <linux/kvm.h>

#include "kvm/hypervisor.h"

#define MOTE__CPUID_MAX 256u

struct mote__kvm {
	struct mote__hypervisor base;
	int fd;
	size_t run_bytes; /* of the page that a virtual processor shares */
	bool has_sync_registers, has_msr_filter;
	struct kvm_cpuid2 *cpuid; /* what the kernel supports, less what guests must not see */
};

extern const struct mote__hypervisor_ops mote__kvm_ops;

/** Read what the kernel supports and hide what guests must not see. Negative errno. */
int mote__kvm_read_cpuid(struct mote__kvm *kvm);
/** Set the width of physical addresses in a copy of the leaves. */
void mote__kvm_set_physical_bits(struct kvm_cpuid2 *cpuid, uint32_t bits);

/** The operations on machines (machine.c). */
int mote__kvm_machine_create(struct mote__hypervisor *hypervisor,
			     const struct mote__machine_config *config,
			     struct mote__machine **machine, struct mote_error *err);
void mote__kvm_machine_destroy(struct mote__machine *machine);
/** Kilohertz of a machine's time stamp counter; 0 where it cannot be told. */
uint32_t mote__kvm_tsc_khz(struct mote__machine *machine);

#endif
