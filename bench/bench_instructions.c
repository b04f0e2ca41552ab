/* SPDX-License-Identifier: MIT */
/*
 * How many instructions run in the guest for one call? Counted by single steps of the library's own
 * machine: this program is linked with --wrap=mote__sys_ioctl, and where the library asks for one
 * KVM_RUN it steps until something else than a step ends it. The OUT that ends the call counts.
 *
 * A repeated string instruction counts once. Takes the name of a guest's symbol table entry for
 * each step, and tells how many belong to which function.
 */
#include "lib.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/sys.h"
#include "core/confined.h"

enum { WARM_UP = 3, STEPS_MAX = 100000, FUNCTIONS_MAX = 64, NAME_BYTES = 64 };

/* Shared with the wrapped function, which has no cookie. */
static struct {
	bool is_on;
	uint64_t count;
	uint64_t address[STEPS_MAX];
} steps;

int __real_mote__sys_ioctl(int fd, unsigned long request, void *argument);
int __wrap_mote__sys_ioctl(int fd, unsigned long request, void *argument);

static void set_steps(int vcpu, bool is_on)
{
	struct kvm_guest_debug debug = {
		.control = is_on ? KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP : 0};
	if (ioctl(vcpu, KVM_SET_GUEST_DEBUG, &debug) < 0)
		mote__bench_skip("KVM_SET_GUEST_DEBUG is refused");
}

static void add_step(uint64_t address)
{
	if (steps.count && steps.address[steps.count - 1] == address)
		return;
	if (steps.count == STEPS_MAX)
		mote__bench_fail("more than %d instructions", STEPS_MAX);
	steps.address[steps.count++] = address;
}

/* The address of an instruction is known before it runs: where the run begins, and where a step
 * ended. Registers go by ioctl here, because single steps begin where the processor stands when
 * they are asked for. */
static int step(int vcpu, struct kvm_run *run)
{
	int rc;
	if (run->kvm_dirty_regs & KVM_SYNC_X86_REGS) {
		struct kvm_regs regs = run->s.regs.regs;
		run->kvm_dirty_regs = 0;
		if (ioctl(vcpu, KVM_SET_REGS, &regs) < 0)
			mote__bench_fail("KVM_SET_REGS is refused");
		add_step(regs.rip);
	}
	set_steps(vcpu, true);
	while ((rc = __real_mote__sys_ioctl(vcpu, KVM_RUN, NULL)) == 0 &&
	       run->exit_reason == KVM_EXIT_DEBUG)
		add_step(run->debug.arch.pc);
	set_steps(vcpu, false);
	return rc;
}

int __wrap_mote__sys_ioctl(int fd, unsigned long request, void *argument)
{
	if (request != KVM_RUN || !steps.is_on)
		return __real_mote__sys_ioctl(fd, request, argument);
	struct kvm_run *run = mmap(NULL, sizeof *run, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (run == MAP_FAILED)
		mote__bench_fail("the virtual processor cannot be mapped");
	int rc = step(fd, run);
	(void)munmap(run, sizeof *run);
	return rc;
}

/* ---- report ---------------------------------------------------------------------------------- */

static void name_of(const mote_snapshot *snapshot, uint64_t address, char *name)
{
	if (address >= MOTE__SYSTEM_GVA)
		(void)snprintf(name, NAME_BYTES, "(entry code of the library)");
	else if (mote_snapshot_symbolize(snapshot, address, name, NAME_BYTES) != MOTE_OK)
		(void)snprintf(name, NAME_BYTES, "(unknown)");
	name[strcspn(name, "+")] = 0;
}

static void print_functions(const mote_snapshot *snapshot)
{
	static struct {
		char name[NAME_BYTES];
		unsigned count;
	} function[FUNCTIONS_MAX];
	size_t count = 0;
	for (uint64_t i = 0; i < steps.count; i++) {
		char name[NAME_BYTES];
		size_t k = 0;
		name_of(snapshot, steps.address[i], name);
		while (k < count && strcmp(function[k].name, name) != 0)
			k++;
		if (k == FUNCTIONS_MAX)
			continue;
		if (k == count)
			memcpy(function[count++].name, name, sizeof name);
		function[k].count++;
	}
	for (size_t i = 0; i < count; i++)
		(void)fprintf(stderr, "    %5u %s\n", function[i].count, function[i].name);
}

static void call_add(mote_sandbox *sandbox)
{
	struct mote_error err = {0};
	struct mote_value sum;
	mote__bench_check(MOTE_CALL(sandbox, "add", &sum, &err, MOTE_I32, mote_i32(2), mote_i32(3)),
			  &err, "add");
	if (sum.i32 != 5)
		mote__bench_fail("2 + 3 is %d", sum.i32);
}

/* Software KVM gives the exception of a step to the guest. */
static void require_steps(const struct mote__bench *bench)
{
	struct mote_engine_info info;
	mote_engine_get_info(bench->engine, &info);
	if (info.paging != MOTE_PAGING_NESTED)
		mote__bench_skip("single steps need hardware virtualisation: scripts/lane");
}

int main(int count, char **arguments)
{
	struct mote__bench bench;
	mote__bench_open(&bench, mote__bench_directory(count, arguments), "bench.guest", NULL);
	require_steps(&bench);
	for (int i = 0; i < WARM_UP; i++)
		call_add(bench.sandbox);
	steps.is_on = true;
	call_add(bench.sandbox);
	steps.is_on = false;
	mote__bench_report_value(&(struct mote__bench_answer){.name = "guest_instructions_add",
							      .unit = "instructions",
							      .limit = 600},
				 (double)steps.count);
	print_functions(bench.snapshot);
	mote__bench_close(&bench);
	return 0;
}
