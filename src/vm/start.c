/* SPDX-License-Identifier: MIT */
/* The first entry into a guest: it initialises itself and says where calls enter. */
#include "vm/objects.h"

#include <string.h>

#include "base/error.h"
#include "base/math.h"
#include "base/sys.h"
#include "core/confined.h"

#define GENERAL_PROTECTION 13

static int random_seed(const mote_sandbox *sandbox, uint64_t *seed, struct mote_error *err)
{
	*seed = sandbox->seed;
	if (sandbox->has_seed)
		return MOTE_OK;
	int rc = mote__sys_random(seed, sizeof *seed);
	return rc < 0 ? mote__fail_system(err, MOTE_ESYSTEM, -rc, "random bytes") : MOTE_OK;
}

/* Run a few instructions of the library's own in ring 3. *vector gets the exception that ended
 * them, or -1 when they came to their end, with *data. */
static int probe(mote_sandbox *sandbox, const struct mote__run_guard *guard, uint64_t rip,
		 int *vector, uint32_t *data, struct mote_error *err)
{
	const struct mote__general general = {
		.rip = rip, .rsp = MOTE__IST_TOP - MOTE__PROBE_STACK, .rflags = 2};
	struct mote__exit exit = {0};
	int rc = 0;
	if (mote__guard_run(sandbox, guard, &general, &exit, &rc))
		return mote__fail(err, MOTE_ECANCELED, "Execution was cancelled by the host.");
	if (rc < 0)
		return mote__fail_system(err, MOTE_ESYSTEM, -rc, "vCPU run failed");
	*data = exit.data;
	*vector = -1;
	if (exit.kind == MOTE__EXIT_OUT && exit.port == MOTE_ABI_PORT_HALT)
		return MOTE_OK;
	if (exit.kind != MOTE__EXIT_OUT || exit.port != MOTE__PORT_EXCEPTION)
		return mote__fail(
			err, MOTE_EPROTOCOL,
			"Unexpected VM exit of the library's own code: kind %d, port %u %s",
			exit.kind, exit.port, exit.detail);
	*vector = (int)exit.data;
	/* The exception left the processor in ring 0. */
	return mote__sandbox_set_special(sandbox, err);
}

/* What ring 3 can do that CPUID and the descriptor tables do not tell everywhere is tried, once an
 * engine, in ring 3 of this very machine: XGETBV says which vector registers it reaches; a far
 * return to the selector that Linux has for 32-bit code must fault on that selector. */
static int probe_processor(mote_sandbox *sandbox, const struct mote__run_guard *guard,
			   struct mote_error *err)
{
	uint32_t mask = 0, ignored;
	int vector = -1;
	int rc = probe(sandbox, guard, MOTE__PROBE_FAR_GVA, &vector, &ignored, err);
	if (rc < 0)
		return rc;
	atomic_store(&sandbox->engine->is_lax, vector != GENERAL_PROTECTION);
	rc = probe(sandbox, guard, MOTE__PROBE_GVA, &vector, &mask, err);
	if (rc == MOTE_OK)
		atomic_store(&sandbox->engine->vector_mask, vector < 0 ? mask : 0);
	memset(sandbox->scratch + sandbox->snapshot->layout.ist_offset, 0, MOTE_PAGE_BYTES);
	return rc;
}

static int initialise_confined(mote_sandbox *sandbox, const struct mote__run_guard *guard,
			       struct mote_error *err)
{
	const mote_snapshot *s = sandbox->snapshot;
	const struct mote__layout *l = &s->layout;
	struct mote__general general = {.rip = MOTE__PROLOGUE_GVA,
					.rbx = s->image->entry_gva,
					.rdi = l->peb_gva,
					.rdx = MOTE_PAGE_BYTES,
					.rcx = sandbox->log_level,
					.r8 = MOTE__PAGE_GVA(MOTE__RUN_INFO_PAGE),
					.rflags = 2};
	sandbox->dispatch_rsp = general.rsp = l->stack_gva + l->stack_bytes;
	int rc = random_seed(sandbox, &general.rsi, err);
	return rc < 0 ? rc : mote__run_confined(sandbox, guard, &general, err);
}

/* Where ring 3 can leave 64-bit mode, every entry sets the mode again; segment bases stay. */
static int keep_special(mote_sandbox *sandbox, struct mote_error *err)
{
	struct mote__special now, special;
	int rc = sandbox->machine->ops->get_special(sandbox->machine, &now, err);
	if (rc < 0)
		return rc;
	mote__start_special(sandbox, sandbox->snapshot, &special);
	special.fs.base = now.fs.base;
	special.gs.base = now.gs.base;
	return sandbox->machine->ops->set_special(sandbox->machine, &special, err);
}

int mote__run_confined(mote_sandbox *sandbox, const struct mote__run_guard *guard,
		       struct mote__general *general, struct mote_error *err)
{
	/* What was probed with it is seen with it. */
	uint64_t mask = atomic_load_explicit(&sandbox->engine->vector_mask, memory_order_acquire);
	if (mask == MOTE__VECTOR_UNKNOWN) {
		int rc = probe_processor(sandbox, guard, err);
		if (rc < 0)
			return rc;
		mask = atomic_load(&sandbox->engine->vector_mask);
	}
	general->rax = mask;
	if (atomic_load_explicit(&sandbox->engine->is_lax, memory_order_relaxed)) {
		int rc = keep_special(sandbox, err);
		if (rc < 0)
			return rc;
	}
	if (sandbox->needs_reset && sandbox->engine->hypervisor->cr4_offered & MOTE__CR4_FSGSBASE) {
		general->rip = MOTE__RESET_GVA;
		general->r11 = sandbox->snapshot->special.fs.base;
		general->r9 = sandbox->snapshot->special.gs.base;
	}
	mote__clock_refresh(sandbox);
	return mote__run(sandbox, guard, general, err);
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
	struct mote__general general = {.rip = s->image->entry_gva,
					.rsp = family->scratch_gva_end - family->exception_stack -
					       8,
					.rdi = s->layout.peb_gva,
					.rdx = MOTE_PAGE_BYTES,
					.rcx = sandbox->log_level,
					.rflags = 2};
	int rc = random_seed(sandbox, &general.rsi, err);
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
