/* SPDX-License-Identifier: MIT */
/*
 * What the library asks of a hypervisor: a table of operations on a machine with one virtual
 * processor. src/kvm implements it on KVM; the tests implement it as a double. Nothing here is a
 * structure of any hypervisor's own.
 *
 * A machine is used by one thread at a time. Functions return 0 or fill err; run() alone returns a
 * negative errno, because its caller adds what the guest was doing.
 */
#ifndef MOTE_KVM_HYPERVISOR_H
#define MOTE_KVM_HYPERVISOR_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mote.h>

#include "base/processor.h"
#include "core/vcpu.h"

struct mote__hypervisor {
	const struct mote__hypervisor_ops *ops;
	struct mote_engine_info info;
	uint64_t cr4_offered;           /* of MOTE__CR4_FSGSBASE and MOTE__CR4_UMIP */
	struct mote__processor offered; /* what CPUID shows to guests */
};

struct mote__machine {
	const struct mote__hypervisor_ops *ops;
	uint64_t vcpu_ioctls; /* counted by the implementation */
	uint64_t entries;     /* runs that were begun */
};

/** Model-specific registers that a guest may use: more than FS and GS base. */
#define MOTE__MSR_ALLOW_MAX 16
struct mote__machine_config {
	uint32_t physical_bits; /* width of physical addresses that CPUID shows */
	uint32_t msr_count;
	const uint32_t *msrs;
};

enum mote__exit_kind {
	MOTE__EXIT_OUT,         /* port, bytes, data */
	MOTE__EXIT_HALT,        /* HLT */
	MOTE__EXIT_MEMORY,      /* gpa, is_write */
	MOTE__EXIT_INTERRUPTED, /* a signal */
	MOTE__EXIT_OTHER,       /* detail names it */
};

struct mote__exit {
	enum mote__exit_kind kind;
	uint16_t port;
	uint8_t bytes; /* of data, 0 to 4 */
	bool is_write;
	bool is_fatal; /* the machine cannot be trusted to run again, not even after a reset */
	uint32_t data; /* little-endian, missing bytes zero */
	uint64_t gpa;
	char detail[96];
};

struct mote__hypervisor_ops {
	void (*close)(struct mote__hypervisor *hypervisor);
	int (*machine_create)(struct mote__hypervisor *hypervisor,
			      const struct mote__machine_config *config,
			      struct mote__machine **machine, struct mote_error *err);
	void (*machine_destroy)(struct mote__machine *machine);
	/* Show bytes of the process at host as guest physical memory at gpa; bytes 0 removes the
	 * slot. The memory stays the caller's and must outlive the slot. */
	int (*map)(struct mote__machine *machine, uint32_t slot, uint64_t gpa, const void *host,
		   uint64_t bytes, bool is_writable, struct mote_error *err);
	int (*set_special)(struct mote__machine *machine, const struct mote__special *special,
			   struct mote_error *err);
	int (*get_special)(struct mote__machine *machine, struct mote__special *special,
			   struct mote_error *err);
	int (*get_general)(struct mote__machine *machine, struct mote__general *general,
			   struct mote_error *err);
	int (*set_msrs)(struct mote__machine *machine, const struct mote__msr_list *list,
			struct mote_error *err);
	/* Fill in the values of the registers that list names. */
	int (*get_msrs)(struct mote__machine *machine, struct mote__msr_list *list,
			struct mote_error *err);
	/* Leave nothing of what ran but the general registers, which the next run() replaces: an
	 * exit that is pending ends with data of zeroes, x87, vector, debug and protection-key
	 * registers, XCR0, pending events and the model-specific registers of the configuration
	 * become those of a new machine, then special registers and the listed model-specific ones
	 * what is given. Completing the exit may write guest memory. Memory and cached translations
	 * are not looked at. After an error the machine is good for nothing but machine_destroy().
	 */
	int (*reset)(struct mote__machine *machine, const struct mote__special *special,
		     const struct mote__msr_list *msrs, struct mote_error *err);
	/* x87 and SSE state as after a reset, MXCSR included where the hypervisor can. */
	int (*reset_fpu)(struct mote__machine *machine, struct mote_error *err);
	/* Signals that are blocked while guest code runs. */
	int (*set_signal_mask)(struct mote__machine *machine, const sigset_t *blocked,
			       struct mote_error *err);
	/* Run until an exit; general, unless NULL, replaces the registers first and cancels an OUT
	 * that is not complete. */
	int (*run)(struct mote__machine *machine, const struct mote__general *general,
		   struct mote__exit *exit);
};

/** Open a KVM device. Fills hypervisor->info as far as it gets, also on failure, and *out only on
 * success. */
int mote__kvm_open(const char *device, bool allow_unfiltered_msrs, struct mote__hypervisor **out,
		   struct mote_engine_info *info, struct mote_error *err);

#endif
