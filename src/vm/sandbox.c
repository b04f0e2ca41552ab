/* SPDX-License-Identifier: MIT */
/*
 * Sandboxes: the machine, the memory that it gets of a snapshot, and taking both apart. A shell is
 * a sandbox that is nobody's: machine, scratch, and a snapshot in place.
 */
#define _GNU_SOURCE
#include "vm/objects.h"

#include <assert.h>
#include <string.h>

#include "base/error.h"
#include "base/math.h"
#include "base/sys.h"
#include "core/confined.h"

#define MESSAGE_BYTES_MIN 4096u
#define MSR_TSC           0x10u

/* ---- what a start finds ---------------------------------------------------------------------- */

static uint64_t *word(const mote_sandbox *sandbox, uint64_t below_top)
{
	const struct mote__layout *l = &sandbox->snapshot->layout;
	return (uint64_t *)(void *)(sandbox->scratch + l->scratch_bytes - below_top);
}

/* The words that the ABI promises below the top of scratch (guest-abi 9.1). */
static void write_words(mote_sandbox *sandbox)
{
	const mote_snapshot *s = sandbox->snapshot;
	const struct mote__layout *l = &s->layout;
	*word(sandbox, l->family->word_size) = l->scratch_bytes;
	*word(sandbox, l->family->word_next) = l->scratch_gpa + l->frames_offset;
	*word(sandbox, l->family->word_tables) = l->scratch_gpa + l->tables_offset;
	*word(sandbox, l->family->word_generation) = s->generation;
}

static void write_params(mote_sandbox *sandbox)
{
	const struct mote__layout *l = &sandbox->snapshot->layout;
	const uint64_t page = MOTE_PAGE_BYTES;
	*mote__params(sandbox, MOTE__PARAMS_NEXT) = mote__frame_word(l, sandbox->placed);
	*mote__params(sandbox, MOTE__PARAMS_LIMIT) =
		mote__frame_word(l, mote__frames_limit(sandbox));
	*mote__params(sandbox, MOTE__PARAMS_LOG_BIAS) = l->log_gva - (mote__frame_word(l, 0) >> 9);
	*mote__params(sandbox, MOTE__PARAMS_COW_FIRST) = l->cow_first_gva / page;
	*mote__params(sandbox, MOTE__PARAMS_COW_END) = l->cow_end_gva / page;
	*mote__params(sandbox, MOTE__PARAMS_HEAP_FIRST) = l->heap_gva / page;
	*mote__params(sandbox, MOTE__PARAMS_HEAP_PAGES) =
		mote__round_up(l->heap_bytes, page) / page;
	*mote__params(sandbox, MOTE__PARAMS_STACK_FIRST) = l->stack_gva / page;
	*mote__params(sandbox, MOTE__PARAMS_STACK_PAGES) = l->stack_bytes / page;
}

/* Drawn ahead: a system call for each start would be half of a restore. What was used is erased. */
static int next_fresh(mote_sandbox *sandbox, struct mote_fresh *fresh, struct mote_error *err)
{
	static_assert(sizeof *fresh == 40, "no padding: all of it is random");
	if (!sandbox->fresh_count) {
		int rc = mote__sys_random(sandbox->fresh, sizeof sandbox->fresh);
		if (rc < 0)
			return mote__fail_system(err, MOTE_ESYSTEM, -rc, "random bytes");
		sandbox->fresh_count = MOTE__FRESH_AHEAD;
	}
	struct mote_fresh *from = &sandbox->fresh[--sandbox->fresh_count];
	*fresh = *from;
	*from = (struct mote_fresh){0};
	return MOTE_OK;
}

int mote__sandbox_freshen(mote_sandbox *sandbox, const struct mote_fresh *fresh,
			  struct mote_error *err)
{
	const struct mote__layout *l = &sandbox->snapshot->layout;
	struct mote_abi_run_info *info = (void *)(sandbox->scratch + l->run_info_offset);
	struct mote_fresh drawn;
	static_assert(sizeof drawn.random == sizeof info->random, "");
	if (!fresh) {
		int rc = next_fresh(sandbox, &drawn, err);
		if (rc < 0)
			return rc;
		fresh = &drawn;
	}
	info->generation = fresh->generation;
	memcpy(info->random, fresh->random, sizeof info->random);
	return MOTE_OK;
}

void mote__sandbox_seed(mote_sandbox *sandbox, const struct mote_fresh *fresh)
{
	sandbox->has_seed = fresh != NULL;
	if (fresh)
		memcpy(&sandbox->seed, fresh->random, sizeof sandbox->seed);
}

static void write_run_info(mote_sandbox *sandbox)
{
	const struct mote_snapshot *s = sandbox->snapshot;
	const struct mote__layout *l = &s->layout;
	const struct mote__hypervisor *hypervisor = sandbox->engine->hypervisor;
	uint64_t khz = hypervisor->info.tsc_khz;
	*(struct mote_abi_run_info *)(void *)(sandbox->scratch + l->run_info_offset) =
		(struct mote_abi_run_info){
			.syscall_handler = s->image->syscall_gva,
			.syscall_word = MOTE__SYSCALL_WORD_GVA,
			.tsc_to_ns = khz ? (1000000ull << 32) / khz : 0,
			.log_level = sandbox->log_level,
			.features = hypervisor->cr4_offered & MOTE__CR4_FSGSBASE ? 1 : 0,
			.stack_first = l->stack_gva,
			.stack_top = l->stack_gva + l->stack_bytes,
			.heap_first = l->heap_gva,
			.heap_bytes = l->heap_bytes,
			.input = l->input_gva,
			.input_bytes = l->input_bytes,
			.output = l->output_gva,
			.output_bytes = l->output_bytes,
			.init_data = l->init_gva,
			.init_data_bytes = l->init_bytes,
		};
}

int mote__sandbox_fill(mote_sandbox *sandbox, const struct mote_fresh *fresh,
		       struct mote_error *err)
{
	const mote_snapshot *s = sandbox->snapshot;
	sandbox->transport->prepare(sandbox);
	mote__sandbox_seed(sandbox, fresh);
	if (!s->layout.is_confined) {
		memcpy(sandbox->scratch + s->layout.tables_offset, s->tables,
		       s->layout.tables_bytes);
		write_words(sandbox);
		return MOTE_OK;
	}
	mote__sandbox_place(sandbox);
	write_params(sandbox);
	write_run_info(sandbox);
	return mote__sandbox_freshen(sandbox, fresh, err);
}

void mote__sandbox_begin(mote_sandbox *sandbox)
{
	const mote_snapshot *s = sandbox->snapshot;
	sandbox->state = s->is_ready ? MOTE_STATE_READY : MOTE_STATE_NEW;
	sandbox->dispatch_gva = s->dispatch_gva;
	sandbox->dispatch_rsp = s->dispatch_rsp;
	sandbox->generation = s->generation;
	sandbox->needs_reset = true;
	sandbox->is_changed = false;
	mote_snapshot_unref(sandbox->taken);
	sandbox->taken = NULL;
}

/* ---- registers ------------------------------------------------------------------------------- */

void mote__start_special(const mote_sandbox *sandbox, const mote_snapshot *snapshot,
			 struct mote__special *special)
{
	const mote_snapshot *s = snapshot;
	const struct mote__layout *l = &s->layout;
	const struct mote__hypervisor *hypervisor = sandbox->engine->hypervisor;
	uint64_t root = l->scratch_gpa + l->tables_offset;
	if (l->is_confined) {
		mote__special_confined(special, root, hypervisor->cr4_offered,
				       hypervisor->info.is_emulated);
		special->fs.base = s->special.fs.base;
		special->gs.base = s->special.gs.base;
	} else if (s->is_ready) {
		*special = s->special;
		special->cr3 = root;
		/* An emulated processor stops where ring 3 of 32 bits faults while its task is
		 * busy, as KVM reports all tasks (QEMU: "invalid tss type"). */
		if (hypervisor->info.is_emulated && (special->tr.type & 7) == 3)
			special->tr.type &= (uint8_t)~2u;
	} else {
		mote__special_stock(special, l->family->bits, root);
	}
}

int mote__sandbox_set_special(mote_sandbox *sandbox, struct mote_error *err)
{
	struct mote__special special;
	mote__start_special(sandbox, sandbox->snapshot, &special);
	return sandbox->machine->ops->set_special(sandbox->machine, &special, err);
}

/* The guest's time stamp counter is set to ours, and is late by no more than this takes. */
int mote__start_msrs(mote_sandbox *sandbox, struct mote_error *err)
{
	const uint64_t now = mote__sys_counter();
	struct mote__msr_list msrs = sandbox->snapshot->msrs;
	if (mote__is_confined(sandbox)) {
		mote__msrs_confined(&msrs);
		msrs.msr[msrs.count++] = (struct mote__msr){MSR_TSC, now};
	}
	if (!msrs.count)
		return MOTE_OK;
	int rc = sandbox->machine->ops->set_msrs(sandbox->machine, &msrs, err);
	sandbox->counter_lag = mote__sys_counter() - now;
	return rc;
}

int mote__sandbox_make_machine(mote_sandbox *sandbox, struct mote_error *err)
{
	struct mote__hypervisor *hypervisor = sandbox->engine->hypervisor;
	const struct mote_snapshot *s = sandbox->snapshot;
	const struct mote__machine_config config = {.physical_bits =
							    s->layout.family->physical_bits,
						    .msr_count = s->image->msr_count,
						    .msrs = s->image->msrs};
	sandbox->has_memory = sandbox->has_system = sandbox->has_machine_mask = false;
	sandbox->slots = 0;
	sandbox->is_fatal = false;
	return hypervisor->ops->machine_create(hypervisor, &config, &sandbox->machine, err);
}

/* A KVM without hardware support may have no other paging than that of 64-bit mode. */
static int check_paging(mote_sandbox *sandbox, struct mote_error *err)
{
	struct mote__special special;
	int rc = sandbox->machine->ops->get_special(sandbox->machine, &special, err);
	if (rc < 0 || mote__special_format(&special, 32))
		return rc;
	return mote__fail(err, MOTE_ENOKVM,
			  "guests of 32 bits do not run on this KVM: it has no paging where "
			  "EFER.LME is clear");
}

/* ---- shells ---------------------------------------------------------------------------------- */

int mote__shell_make(mote_engine *engine, mote_snapshot *snapshot, mote_sandbox **shell,
		     struct mote_error *err)
{
	mote_sandbox *s = mote__alloc(1, sizeof *s);
	if (!s)
		return mote__fail(err, MOTE_ENOMEM, "out of memory");
	s->engine = engine;
	s->snapshot = mote_snapshot_ref(snapshot);
	s->transport = &mote__transport_s;
	int rc = mote__message_reserve(s, MESSAGE_BYTES_MIN, err);
	if (rc == MOTE_OK)
		rc = mote__sandbox_make_machine(s, err);
	if (rc == MOTE_OK)
		rc = mote__sandbox_install(s, snapshot, false, err);
	if (rc == MOTE_OK)
		rc = mote__sandbox_set_special(s, err);
	if (rc == MOTE_OK && snapshot->layout.family->bits == 32)
		rc = check_paging(s, err);
	if (rc == MOTE_OK)
		rc = mote__start_msrs(s, err);
	if (rc < 0) {
		mote__shell_free(engine, s);
		return rc;
	}
	*shell = s;
	return MOTE_OK;
}

void mote__shell_free(mote_engine *engine, mote_sandbox *shell)
{
	/* A child after fork() has neither memory, but may have others instead. */
	bool is_own = mote__engine_check(engine, NULL) == MOTE_OK;
	if (shell->machine)
		shell->machine->ops->machine_destroy(shell->machine);
	if (is_own) {
		mote__scratch_free(shell);
		for (uint32_t i = 0; i < shell->mapped_count; i++)
			if (shell->mapped[i].is_own)
				mote__sys_unmap((void *)(uintptr_t)shell->mapped[i].host,
						shell->mapped[i].bytes);
	}
	mote__free(shell->message);
	mote_snapshot_unref(shell->taken);
	mote_snapshot_unref(shell->snapshot);
	mote__free(shell);
}

/* ---- public ---------------------------------------------------------------------------------- */

static int check_options(const mote_snapshot *snapshot, const struct mote_sandbox_options *o,
			 struct mote_error *err)
{
	int rc = mote__reserved_check("mote_sandbox_options", o->reserved, sizeof o->reserved, err);
	if (rc < 0)
		return rc;
	if (o->log_level > MOTE_LOG_TRACE && o->log_level != MOTE_LOG_SILENT)
		return mote__fail(err, MOTE_EINVAL, "log_level is %u, at most %u, or %u for none",
				  o->log_level, MOTE_LOG_TRACE, MOTE_LOG_SILENT);
	return mote__frames_check(snapshot, o->memory_max, err);
}

static int set_options(mote_sandbox *sandbox, const struct mote_sandbox_options *o,
		       struct mote_error *err)
{
	sandbox->log_level = o->log_level == MOTE_LOG_SILENT ? MOTE_LOG_OFF
			     : o->log_level                  ? o->log_level
							     : (uint32_t)MOTE_LOG_ERROR;
	sandbox->user_data = o->user_data;
	sandbox->is_strict = o->strict != 0;
	sandbox->memory_max = o->memory_max;
	return mote__frames_set_max(sandbox, sandbox->snapshot, err);
}

/* A shell becomes somebody's sandbox. */
static int attach(mote_sandbox *sandbox, const struct mote_sandbox_options *o,
		  struct mote_error *err)
{
	int rc = set_options(sandbox, o, err);
	/* A shell may have more in its frames than this owner may use. */
	if (rc == MOTE_OK && sandbox->placed > mote__members_max(sandbox, sandbox->snapshot)) {
		rc = mote__sandbox_install(sandbox, sandbox->snapshot, !o->strict, err);
		sandbox->is_fatal = rc < 0;
	}
	if (rc == MOTE_OK)
		rc = mote__interrupt_create(sandbox->engine->signal_number, &sandbox->interrupt,
					    err);
	if (rc == MOTE_OK)
		rc = mote__sandbox_fill(sandbox, o->fresh, err);
	sandbox->statistics = (struct mote_statistics){0};
	sandbox->entries_before = sandbox->machine->entries;
	sandbox->ioctls_before = sandbox->machine->vcpu_ioctls;
	mote__sandbox_begin(sandbox);
	return rc;
}

static int check_create(mote_engine *engine, mote_snapshot *snapshot, mote_host *host,
			mote_sandbox **sandbox, struct mote_error *err)
{
	if (!engine || !snapshot || !host || !sandbox)
		return mote__fail(err, MOTE_EINVAL, "%s is NULL",
				  !engine     ? "engine"
				  : !snapshot ? "snapshot"
				  : !host     ? "host"
					      : "sandbox");
	int rc = mote__engine_check(engine, err);
	if (rc == MOTE_OK)
		rc = mote__snapshot_check(snapshot, err);
	return rc < 0 ? rc : mote__host_check(host, snapshot, err);
}

int mote_sandbox_create(mote_engine *engine, mote_snapshot *snapshot, mote_host *host,
			const struct mote_sandbox_options *options, mote_sandbox **sandbox,
			struct mote_error *err)
{
	struct mote_sandbox_options o = {0};
	int rc = check_create(engine, snapshot, host, sandbox, err);
	if (rc == MOTE_OK && options)
		rc = mote__options_check("mote_sandbox_options", options, options->size, sizeof o,
					 sizeof o, err);
	if (rc < 0)
		return rc;
	if (options)
		o = *options;
	mote_sandbox *s = NULL;
	rc = check_options(snapshot, &o, err);
	if (rc == MOTE_OK)
		rc = mote__pool_take(engine, snapshot, &s, err);
	if (rc == MOTE_OK && !s)
		rc = mote__shell_make(engine, snapshot, &s, err);
	/* A pooled shell was wiped as its last owner was. */
	if (rc == MOTE_OK && o.strict && s->machine->entries) {
		s->is_strict = true;
		rc = mote__restore(s, snapshot, true, NULL, err);
		if (rc < 0)
			mote__shell_free(engine, s);
	}
	if (rc < 0 || !s)
		return rc;
	mote_engine_ref(engine);
	s->host = mote_host_ref(host);
	rc = attach(s, &o, err);
	if (rc < 0) {
		mote_sandbox_destroy(s);
		return rc;
	}
	atomic_store(&host->is_frozen, true);
	*sandbox = s;
	return MOTE_OK;
}

void mote_sandbox_destroy(mote_sandbox *sandbox)
{
	/* Running: by a host function of this very sandbox, whose call goes on. */
	if (!sandbox || sandbox->state == MOTE_STATE_RUNNING)
		return;
	mote_engine *engine = sandbox->engine;
	/* A child after fork() has no timer, but may have another instead. */
	if (sandbox->has_timer && mote__engine_check(engine, NULL) == MOTE_OK)
		(void)timer_delete(sandbox->timer);
	sandbox->has_timer = false;
	mote_interrupt_unref(sandbox->interrupt);
	mote_host_unref(sandbox->host);
	sandbox->interrupt = NULL;
	sandbox->host = NULL;
	if (!mote__pool_park(engine, sandbox))
		mote__shell_free(engine, sandbox);
	mote_engine_unref(engine);
}

uint32_t mote_sandbox_state(const mote_sandbox *sandbox)
{
	return sandbox->state;
}

void *mote_sandbox_user_data(const mote_sandbox *sandbox)
{
	return sandbox->user_data;
}

void mote_sandbox_get_statistics(const mote_sandbox *sandbox, struct mote_statistics *statistics,
				 size_t size)
{
	struct mote_statistics all = sandbox->statistics;
	/* A broken one may have neither. */
	if (sandbox->machine) {
		all.vm_entries = sandbox->machine->entries - sandbox->entries_before;
		all.vcpu_ioctls = sandbox->machine->vcpu_ioctls - sandbox->ioctls_before;
	}
	/* Nor is scratch what the snapshot says, or there in a child after fork(). */
	if (sandbox->state != MOTE_STATE_BROKEN &&
	    mote__engine_check(sandbox->engine, NULL) == MOTE_OK)
		all.frames_used = mote__frames_used(sandbox);
	all.frames_max = sandbox->frames_max;
	memset(statistics, 0, size);
	memcpy(statistics, &all, size < sizeof all ? size : sizeof all);
}
