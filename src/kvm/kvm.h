/* SPDX-License-Identifier: MIT */
/* What the files of src/kvm share. */
#ifndef MOTE_KVM_KVM_H
#define MOTE_KVM_KVM_H

#include <linux/kvm.h>
#include <sys/types.h>

#include "kvm/hypervisor.h"

#define MOTE__CPUID_MAX 256u

struct mote__kvm {
	struct mote__hypervisor base;
	int fd;
	const uint8_t *own; /* mote__sys_own_make() */
	size_t run_bytes;   /* of the page that a virtual processor shares */
	bool has_sync_registers, has_msr_filter;
	bool can_reset;              /* what a reset asks of every kernel */
	bool has_xcrs;               /* the processor has XCR0 */
	bool has_triple_fault_event; /* a pending triple fault is one of the events */
	size_t xsave_bytes;          /* that KVM_SET_XSAVE reads */
	uint8_t *xsave;              /* x87, vector and protection-key state of a new machine */
	struct kvm_cpuid2 *cpuid;    /* what the kernel supports, less what guests must not see */
};

struct mote__kvm_machine {
	struct mote__machine base;
	struct mote__kvm *kvm;
	int vm, vcpu;
	struct kvm_run *run;
	/* The registers of the configuration that can be changed, as a new machine has them. */
	struct mote__msr_list initial;
};

extern const struct mote__hypervisor_ops mote__kvm_ops;

/** Read what the kernel supports and hide what guests must not see. Negative errno. */
int mote__kvm_read_cpuid(struct mote__kvm *kvm);
/** Set the width of physical addresses in a copy of the leaves. */
void mote__kvm_set_physical_bits(struct kvm_cpuid2 *cpuid, uint32_t bits);

/** Fill in kvm->xsave; needs cpuid. Negative errno. */
int mote__kvm_make_xsave(struct mote__kvm *kvm);

/** An ioctl of the virtual processor, counted. Negative errno. */
int mote__kvm_vcpu_ioctl(struct mote__kvm_machine *m, unsigned long request, void *argument);
/** Fill err for a failed request. */
int mote__kvm_fail(struct mote_error *err, int rc, const char *what);

/** Fill in m->initial, of a new machine. */
int mote__kvm_keep_msrs(struct mote__kvm_machine *m, const struct mote__machine_config *config,
			struct mote_error *err);
/** The operation (reset.c). */
int mote__kvm_reset(struct mote__machine *machine, const struct mote__special *special,
		    const struct mote__msr_list *msrs, struct mote_error *err);

/** The operations on machines (machine.c). */
int mote__kvm_machine_create(struct mote__hypervisor *hypervisor,
			     const struct mote__machine_config *config,
			     struct mote__machine **machine, struct mote_error *err);
void mote__kvm_machine_destroy(struct mote__machine *machine);
/** Kilohertz of a machine's time stamp counter; 0 where it cannot be told. */
uint32_t mote__kvm_tsc_khz(struct mote__machine *machine);

#endif
