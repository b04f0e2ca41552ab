/* SPDX-License-Identifier: MIT */
/* Sandboxes: making the machine of a snapshot, its private memory, and taking both apart. */
#define _GNU_SOURCE
#include "vm/objects.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/math.h"
#include "base/sys.h"
#include "core/confined.h"

#define MESSAGE_BYTES_MIN 4096u
#define MSR_TSC           0x10u
/* Frames that the first slot covers: a slot costs the kernel memory for each page of it. */
#define FRAMES_AT_START 4096u

extern const uint8_t mote__system_pages[];

/* ---- scratch --------------------------------------------------------------------------------- */

static uint64_t *word(const mote_sandbox *sandbox, uint64_t below_top)
{
	const struct mote__layout *l = &sandbox->snapshot->layout;
	return (uint64_t *)(void *)(sandbox->scratch + l->scratch_bytes - below_top);
}

/* The words that the ABI promises below the top of scratch (guest-abi 9.1). */
static void write_words(mote_sandbox *sandbox)
{
	const struct mote__layout *l = &sandbox->snapshot->layout;
	*word(sandbox, l->family->word_size) = l->scratch_bytes;
	*word(sandbox, l->family->word_next) = l->scratch_gpa + l->frames_offset;
	*word(sandbox, l->family->word_tables) = l->scratch_gpa + l->tables_offset;
	*word(sandbox, l->family->word_generation) = 0;
}

static uint64_t frame_word(const struct mote__layout *l, uint64_t frame)
{
	return (l->scratch_gpa + l->frames_offset + frame * MOTE_PAGE_BYTES) | MOTE__LEAF_NEW;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void write_params(mote_sandbox *sandbox)
{
	const struct mote_snapshot *s = sandbox->snapshot;
	const struct mote__layout *l = &s->layout;
	const uint64_t page = MOTE_PAGE_BYTES;
	*mote__params(sandbox, MOTE__PARAMS_NEXT) = frame_word(l, s->write_set.count);
	*mote__params(sandbox, MOTE__PARAMS_LIMIT) =
		frame_word(l, smaller(sandbox->frames_mapped, sandbox->frames_max));
	*mote__params(sandbox, MOTE__PARAMS_LOG_BIAS) = l->log_gva - (frame_word(l, 0) >> 9);
	*mote__params(sandbox, MOTE__PARAMS_COW_END) = l->cow_end_gva / page;
	*mote__params(sandbox, MOTE__PARAMS_HEAP_FIRST) = l->heap_gva / page;
	*mote__params(sandbox, MOTE__PARAMS_HEAP_PAGES) =
		mote__round_up(l->heap_bytes, page) / page;
	*mote__params(sandbox, MOTE__PARAMS_STACK_FIRST) = l->stack_gva / page;
	*mote__params(sandbox, MOTE__PARAMS_STACK_PAGES) = l->stack_bytes / page;
}

/* Frames that are mapped from the start get their pages, and their log entries. */
static void fill_write_set(mote_sandbox *sandbox)
{
	const struct mote_snapshot *s = sandbox->snapshot;
	uint8_t *frame = sandbox->scratch + s->layout.frames_offset;
	uint64_t *log = (uint64_t *)(void *)(sandbox->scratch + s->layout.log_offset);
	for (uint32_t i = 0; i < s->write_set.count; i++, frame += MOTE_PAGE_BYTES) {
		uint64_t source = s->write_set.member[i].source_gpa;
		if (source)
			memcpy(frame, s->memory + source, MOTE_PAGE_BYTES);
		log[i] = s->write_set.member[i].gva / MOTE_PAGE_BYTES;
	}
}

static int write_run_info(mote_sandbox *sandbox, struct mote_error *err)
{
	const struct mote_snapshot *s = sandbox->snapshot;
	const struct mote__layout *l = &s->layout;
	struct mote_abi_run_info *info = (void *)(sandbox->scratch + l->run_info_offset);
	struct {
		uint64_t generation;
		uint8_t random[32];
	} fresh;
	static_assert(sizeof fresh.random == sizeof info->random, "");
	int rc = mote__sys_random(fresh.random, sizeof fresh.random);
	if (rc == 0)
		rc = mote__sys_random(&fresh.generation, sizeof fresh.generation);
	if (rc < 0)
		return mote__fail_system(err, MOTE_ESYSTEM, -rc, "random bytes");
	uint64_t khz = sandbox->engine->hypervisor->info.tsc_khz;
	*info = (struct mote_abi_run_info){
		.syscall_handler = s->syscall_gva,
		.syscall_word = MOTE__SYSCALL_WORD_GVA,
		.generation = fresh.generation,
		.tsc_to_ns = khz ? (1000000ull << 32) / khz : 0,
		.log_level = sandbox->log_level,
		.features = sandbox->engine->hypervisor->cr4_offered & MOTE__CR4_FSGSBASE ? 1 : 0,
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
	memcpy(info->random, fresh.random, sizeof info->random);
	return MOTE_OK;
}

static int fail_map(struct mote_error *err, int rc, const char *what)
{
	int code = rc == -ENOMEM || rc == -EAGAIN ? MOTE_ENOMEM : MOTE_ESYSTEM;
	return mote__fail_system(err, code, -rc, "%s", what);
}

/* Scratch is private anonymous memory; the tables in it are a private view of the snapshot's, so
 * that tables which are never changed cost nothing. */
static int make_scratch(mote_sandbox *sandbox, struct mote_error *err)
{
	const struct mote_snapshot *s = sandbox->snapshot;
	const struct mote__layout *l = &s->layout;
	void *at = NULL;
	int rc = mote__sys_map(MOTE__MAP_SCRATCH, -1, l->scratch_bytes, &at);
	if (rc < 0)
		return fail_map(err, rc, "scratch memory");
	sandbox->scratch = at;
	if (!l->is_confined) {
		memcpy(sandbox->scratch + l->tables_offset, s->tables, l->tables_bytes);
		write_words(sandbox);
		return MOTE_OK;
	}
	at = sandbox->scratch + l->tables_offset;
	rc = mote__sys_map(MOTE__MAP_PRIVATE, s->table_fd, l->tables_bytes, &at);
	if (rc < 0)
		return fail_map(err, rc, "mapping page tables");
	write_params(sandbox);
	fill_write_set(sandbox);
	return write_run_info(sandbox, err);
}

/* ---- machine --------------------------------------------------------------------------------- */

static uint64_t first_slot_bytes(const mote_sandbox *sandbox)
{
	const struct mote__layout *l = &sandbox->snapshot->layout;
	if (!l->is_confined)
		return l->scratch_bytes;
	return l->frames_offset + sandbox->frames_mapped * MOTE_PAGE_BYTES;
}

static int map_slots(mote_sandbox *sandbox, struct mote_error *err)
{
	struct mote__machine *m = sandbox->machine;
	const struct mote_snapshot *s = sandbox->snapshot;
	const struct mote__layout *l = &s->layout;
	uint64_t base = l->family->base_gpa;
	int rc = m->ops->map(m, MOTE__SLOT_SNAPSHOT, base, s->memory + base, l->snapshot_bytes,
			     false, err);
	if (rc == MOTE_OK)
		rc = m->ops->map(m, MOTE__SLOT_SCRATCH, l->scratch_gpa, sandbox->scratch,
				 first_slot_bytes(sandbox), true, err);
	sandbox->slots = MOTE__SLOT_SYSTEM;
	if (rc < 0 || !l->is_confined)
		return rc;
	sandbox->slots = MOTE__SLOT_MORE;
	return m->ops->map(m, MOTE__SLOT_SYSTEM, MOTE__SYSTEM_GPA, mote__system_pages,
			   (uint64_t)MOTE__SYSTEM_PAGES * MOTE_PAGE_BYTES, false, err);
}

int mote__sandbox_flush(mote_sandbox *sandbox, struct mote_error *err)
{
	struct mote__machine *m = sandbox->machine;
	const struct mote_snapshot *s = sandbox->snapshot;
	uint64_t base = s->layout.family->base_gpa;
	int rc = m->ops->map(m, MOTE__SLOT_SNAPSHOT, base, s->memory + base, 0, false, err);
	if (rc == MOTE_OK)
		rc = m->ops->map(m, MOTE__SLOT_SNAPSHOT, base, s->memory + base,
				 s->layout.snapshot_bytes, false, err);
	return rc;
}

int mote__sandbox_set_special(mote_sandbox *sandbox, struct mote_error *err)
{
	const struct mote__layout *l = &sandbox->snapshot->layout;
	const struct mote__hypervisor *hypervisor = sandbox->engine->hypervisor;
	uint64_t root = l->scratch_gpa + l->tables_offset;
	struct mote__special special;
	if (l->is_confined)
		mote__special_confined(&special, root, hypervisor->cr4_offered,
				       hypervisor->info.is_emulated);
	else
		mote__special_stock(&special, root);
	return sandbox->machine->ops->set_special(sandbox->machine, &special, err);
}

/* The guest's time stamp counter is set to ours, and is late by no more than this takes. */
static int set_msrs(mote_sandbox *sandbox, struct mote_error *err)
{
	const uint64_t now = mote__sys_counter();
	struct mote__msr_list msrs;
	mote__msrs_confined(&msrs);
	msrs.msr[msrs.count++] = (struct mote__msr){MSR_TSC, now};
	int rc = sandbox->machine->ops->set_msrs(sandbox->machine, &msrs, err);
	sandbox->counter_lag = mote__sys_counter() - now;
	return rc;
}

static int make_machine(mote_sandbox *sandbox, struct mote_error *err)
{
	struct mote__hypervisor *hypervisor = sandbox->engine->hypervisor;
	const struct mote_snapshot *s = sandbox->snapshot;
	const struct mote__machine_config config = {.physical_bits =
							    s->layout.family->physical_bits,
						    .msr_count = s->msr_count,
						    .msrs = s->msrs};
	int rc = hypervisor->ops->machine_create(hypervisor, &config, &sandbox->machine, err);
	if (rc == MOTE_OK)
		rc = map_slots(sandbox, err);
	if (rc == MOTE_OK)
		rc = mote__sandbox_set_special(sandbox, err);
	if (rc < 0 || !s->layout.is_confined)
		return rc;
	return set_msrs(sandbox, err);
}

/* ---- public ---------------------------------------------------------------------------------- */

static int set_frames(mote_sandbox *sandbox, uint64_t memory_max, struct mote_error *err)
{
	const struct mote__layout *l = &sandbox->snapshot->layout;
	uint64_t min = l->is_confined ? sandbox->snapshot->write_set.count + 1u : l->frame_count;
	uint64_t fixed =
		l->is_confined ? 0 : l->frames_offset + l->family->kept_pages * MOTE_PAGE_BYTES;
	uint64_t frames = l->frame_count;
	/* The image has a say in the size of scratch, but not in how much of it becomes memory. */
	if (!memory_max && l->is_confined)
		memory_max = l->heap_bytes + l->stack_bytes + MOTE_DEFAULT_MEMORY_BYTES;
	if (memory_max) {
		uint64_t bytes = memory_max > fixed ? memory_max - fixed : 0;
		frames = smaller(bytes / MOTE_PAGE_BYTES + (bytes % MOTE_PAGE_BYTES != 0), frames);
	}
	uint64_t least = fixed + min * MOTE_PAGE_BYTES;
	if (frames < min)
		return mote__fail(err, MOTE_EINVAL, "memory_max is 0x%llx, at least 0x%llx",
				  (unsigned long long)memory_max, (unsigned long long)least);
	sandbox->frames_max = frames;
	sandbox->frames_mapped = l->is_confined ? smaller(frames, FRAMES_AT_START) : frames;
	return MOTE_OK;
}

static int set_options(mote_sandbox *sandbox, const struct mote_sandbox_options *options,
		       struct mote_error *err)
{
	struct mote_sandbox_options o = {0};
	if (options) {
		int rc = mote__options_check("mote_sandbox_options", options, options->size,
					     sizeof o, sizeof o, err);
		if (rc < 0)
			return rc;
		o = *options;
	}
	if (o.log_level > MOTE_LOG_TRACE && o.log_level != MOTE_LOG_SILENT)
		return mote__fail(err, MOTE_EINVAL, "log_level is %u, at most %u, or %u for none",
				  o.log_level, MOTE_LOG_TRACE, MOTE_LOG_SILENT);
	sandbox->log_level = o.log_level == MOTE_LOG_SILENT ? MOTE_LOG_OFF
			     : o.log_level                  ? o.log_level
							    : (uint32_t)MOTE_LOG_ERROR;
	sandbox->user_data = o.user_data;
	return set_frames(sandbox, o.memory_max, err);
}

static int make(mote_sandbox *sandbox, const struct mote_sandbox_options *options,
		struct mote_error *err)
{
	int rc = set_options(sandbox, options, err);
	if (rc == MOTE_OK)
		rc = mote__message_reserve(sandbox, MESSAGE_BYTES_MIN, err);
	if (rc == MOTE_OK)
		rc = mote__interrupt_create(sandbox->engine->signal_number, &sandbox->interrupt,
					    err);
	if (rc == MOTE_OK)
		rc = make_scratch(sandbox, err);
	if (rc < 0)
		return rc;
	sandbox->transport->prepare(sandbox);
	return make_machine(sandbox, err);
}

int mote_sandbox_create(mote_engine *engine, mote_snapshot *snapshot, mote_host *host,
			const struct mote_sandbox_options *options, mote_sandbox **sandbox,
			struct mote_error *err)
{
	if (!engine || !snapshot || !host || !sandbox)
		return mote__fail(err, MOTE_EINVAL, "%s is NULL",
				  !engine     ? "engine"
				  : !snapshot ? "snapshot"
				  : !host     ? "host"
					      : "sandbox");
	int rc = mote__engine_check(engine, err);
	if (rc == MOTE_OK)
		rc = mote__host_check(host, &snapshot->imports, err);
	if (rc < 0)
		return rc;
	mote_sandbox *s = mote__alloc(1, sizeof *s);
	if (!s)
		return mote__fail(err, MOTE_ENOMEM, "out of memory");
	s->engine = mote_engine_ref(engine);
	s->snapshot = mote_snapshot_ref(snapshot);
	s->host = mote_host_ref(host);
	s->transport = &mote__transport_s;
	rc = make(s, options, err);
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
	/* A child after fork() has neither scratch nor timer, but may have others instead. */
	bool is_own = mote__engine_check(sandbox->engine, NULL) == MOTE_OK;
	if (sandbox->machine)
		sandbox->machine->ops->machine_destroy(sandbox->machine);
	if (is_own)
		mote__sys_unmap(sandbox->scratch, sandbox->snapshot->layout.scratch_bytes);
	if (is_own && sandbox->has_timer)
		(void)timer_delete(sandbox->timer);
	mote_interrupt_unref(sandbox->interrupt);
	mote__free(sandbox->message);
	mote_host_unref(sandbox->host);
	mote_snapshot_unref(sandbox->snapshot);
	mote_engine_unref(sandbox->engine);
	mote__free(sandbox);
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
	all.vm_entries = sandbox->machine->entries;
	all.vcpu_ioctls = sandbox->machine->vcpu_ioctls;
	all.frames_used = mote__frames_used(sandbox);
	all.frames_max = sandbox->frames_max;
	memset(statistics, 0, size);
	memcpy(statistics, &all, size < sizeof all ? size : sizeof all);
}
