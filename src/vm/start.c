/* SPDX-License-Identifier: MIT */
/* The first entry into a guest: it initialises itself and says where calls enter. */
#include "vm/objects.h"

#include <string.h>

#include "base/error.h"
#include "base/math.h"
#include "base/sys.h"
#include "core/confined.h"

static int random_seed(uint64_t *seed, struct mote_error *err)
{
	int rc = mote__sys_random(seed, sizeof *seed);
	return rc < 0 ? mote__fail_system(err, MOTE_ESYSTEM, -rc, "random bytes") : MOTE_OK;
}

/* Whether ring 3 reaches vector registers beyond SSE is a property of the kernel and processor that
 * CPUID does not tell everywhere, so it is tried: XGETBV in ring 3 of this very machine. */
static int probe_vector_state(mote_sandbox *sandbox, const struct mote__run_guard *guard,
			      struct mote_error *err)
{
	const struct mote__general general = {
		.rip = MOTE__PROBE_GVA, .rsp = sandbox->dispatch_rsp, .rflags = 2};
	struct mote__exit exit = {0};
	int rc = 0;
	if (mote__guard_run(sandbox, guard, &general, &exit, &rc))
		return mote__fail(err, MOTE_ECANCELED, "Execution was cancelled by the host.");
	if (rc < 0)
		return mote__fail_system(err, MOTE_ESYSTEM, -rc, "vCPU run failed");
	uint64_t mask = 0;
	if (exit.kind == MOTE__EXIT_OUT && exit.port == MOTE_ABI_PORT_HALT) {
		mask = exit.data;
	} else if (exit.kind != MOTE__EXIT_OUT || exit.port != MOTE__PORT_EXCEPTION) {
		return mote__fail(
			err, MOTE_EPROTOCOL,
			"Unexpected VM exit of the library's own code: kind %d, port %u %s",
			exit.kind, exit.port, exit.detail);
	} else {
		/* The exception left the processor in ring 0. */
		rc = mote__sandbox_set_special(sandbox, err);
	}
	if (rc == MOTE_OK)
		atomic_store(&sandbox->engine->vector_mask, mask);
	return rc;
}

static int initialise_confined(mote_sandbox *sandbox, const struct mote__run_guard *guard,
			       struct mote_error *err)
{
	const mote_snapshot *s = sandbox->snapshot;
	const struct mote__layout *l = &s->layout;
	struct mote__general general = {.rip = MOTE__PROLOGUE_GVA,
					.rbx = s->entry_gva,
					.rdi = l->peb_gva,
					.rdx = MOTE_PAGE_BYTES,
					.rcx = sandbox->log_level,
					.r8 = MOTE__PAGE_GVA(MOTE__RUN_INFO_PAGE),
					.rflags = 2};
	sandbox->dispatch_gva = s->dispatch_gva;
	sandbox->dispatch_rsp = general.rsp = l->stack_gva + l->stack_bytes;
	int rc = random_seed(&general.rsi, err);
	if (rc == MOTE_OK && sandbox->engine->vector_mask == MOTE__VECTOR_UNKNOWN)
		rc = probe_vector_state(sandbox, guard, err);
	if (rc < 0)
		return rc;
	general.rax = sandbox->engine->vector_mask;
	mote__clock_refresh(sandbox);
	return mote__run(sandbox, guard, &general, err);
}

/* A stock guest answers in registers (guest-abi 5.2). */
static int learn_dispatch(mote_sandbox *sandbox, struct mote_error *err)
{
	struct mote__general general;
	int rc = sandbox->machine->ops->get_general(sandbox->machine, &general, err);
	if (rc < 0)
		return rc;
	if (general.rsp % 16)
		return mote__fail(
			err, MOTE_EPROTOCOL,
			"Guest initialised stack pointer to architecturally invalid value: "
			"%llu",
			(unsigned long long)general.rsp);
	sandbox->dispatch_gva = general.rax;
	sandbox->dispatch_rsp = general.rsp;
	return MOTE_OK;
}

static int initialise_stock(mote_sandbox *sandbox, const struct mote__run_guard *guard,
			    struct mote_error *err)
{
	const mote_snapshot *s = sandbox->snapshot;
	const struct mote__family *family = s->layout.family;
	struct mote__general general = {.rip = s->entry_gva,
					.rsp = family->scratch_gva_end - family->exception_stack -
					       8,
					.rdi = s->layout.peb_gva,
					.rdx = MOTE_PAGE_BYTES,
					.rcx = sandbox->log_level,
					.rflags = 2};
	int rc = random_seed(&general.rsi, err);
	if (rc == MOTE_OK)
		rc = mote__run(sandbox, guard, &general, err);
	if (rc == MOTE_OK)
		rc = learn_dispatch(sandbox, err);
	return rc;
}

int mote__initialise(mote_sandbox *sandbox, const struct mote__run_guard *guard,
		     struct mote_error *err)
{
	int rc = mote__is_confined(sandbox) ? initialise_confined(sandbox, guard, err)
					    : initialise_stock(sandbox, guard, err);
	if (rc < 0) {
		sandbox->state = MOTE_STATE_POISONED;
		if (err)
			err->poisoned = 1;
	}
	return rc;
}
