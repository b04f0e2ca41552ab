/* SPDX-License-Identifier: MIT */
/* A test double of a hypervisor, see the header. */
#define _GNU_SOURCE
#include "double.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/error.h"
#include "base/math.h"
#include "check.h"
#include "core/confined.h"
#include "core/page_table.h"
#include "tiny_guest.h"

/* ---- operations ------------------------------------------------------------------------------ */

static struct double_machine *of(struct mote__machine *machine)
{
	return (struct double_machine *)machine;
}

static int refuse(const struct double_hypervisor *hypervisor, enum double_operation operation,
		  const char *what, struct mote_error *err)
{
	if (!(hypervisor->fail & operation))
		return MOTE_OK;
	return mote__fail_system(err, MOTE_ESYSTEM, EIO, "the double's %s", what);
}

static void hypervisor_close(struct mote__hypervisor *hypervisor)
{
	struct double_hypervisor *h = (struct double_hypervisor *)hypervisor;
	if (h->is_closed)
		*h->is_closed = true;
	free(h);
}

static uint64_t last_id;

static int machine_create(struct mote__hypervisor *hypervisor,
			  const struct mote__machine_config *config, struct mote__machine **machine,
			  struct mote_error *err)
{
	struct double_hypervisor *h = (struct double_hypervisor *)hypervisor;
	int rc = refuse(h, DOUBLE_CREATE, "create", err);
	if (rc < 0)
		return rc;
	struct double_machine *m = calloc(1, sizeof *m);
	if (!m)
		return mote__fail(err, MOTE_ENOMEM, "out of memory");
	m->id = ++last_id;
	m->base.ops = hypervisor->ops;
	m->hypervisor = h;
	m->guest = h->guest;
	m->config = *config;
	sigfillset(&m->mask);
	h->machine = m;
	h->machines++;
	*machine = &m->base;
	return MOTE_OK;
}

static void machine_destroy(struct mote__machine *machine)
{
	struct double_machine *m = of(machine);
	m->hypervisor->machines--;
	if (m->hypervisor->machine == m)
		m->hypervisor->machine = NULL;
	free(m);
}

static bool overlaps(const struct double_machine *m, uint32_t slot, uint64_t gpa, uint64_t bytes)
{
	for (uint32_t i = 0; i < DOUBLE_SLOTS; i++) {
		const struct double_slot *s = &m->slots[i];
		if (i != slot && s->bytes && gpa < s->gpa + s->bytes && s->gpa < gpa + bytes)
			return true;
	}
	return false;
}

static int machine_map(struct mote__machine *machine, uint32_t slot, uint64_t gpa, const void *host,
		       uint64_t bytes, bool is_writable, struct mote_error *err)
{
	struct double_machine *m = of(machine);
	int rc = refuse(m->hypervisor, DOUBLE_MAP, "map", err);
	if (rc < 0)
		return rc;
	/* As the kernel has it: whole pages, one place at a time, no second use of a slot. */
	CHECK(slot < DOUBLE_SLOTS);
	CHECK((gpa | bytes | (uintptr_t)host) % MOTE_PAGE_BYTES == 0);
	CHECK(bytes ? !m->slots[slot].bytes : m->slots[slot].bytes != 0);
	CHECK(!overlaps(m, slot, gpa, bytes));
	m->slots[slot] = (struct double_slot){gpa, bytes, host, is_writable};
	*(bytes ? &m->maps : &m->unmaps) += 1;
	return MOTE_OK;
}

static int set_special(struct mote__machine *machine, const struct mote__special *special,
		       struct mote_error *err)
{
	struct double_machine *m = of(machine);
	m->base.vcpu_ioctls++;
	m->specials++;
	m->special = *special;
	return refuse(m->hypervisor, DOUBLE_SET_SPECIAL, "set_special", err);
}

static int get_special(struct mote__machine *machine, struct mote__special *special,
		       struct mote_error *err)
{
	struct double_machine *m = of(machine);
	m->base.vcpu_ioctls++;
	*special = m->special;
	return refuse(m->hypervisor, DOUBLE_GET_SPECIAL, "get_special", err);
}

static int get_general(struct mote__machine *machine, struct mote__general *general,
		       struct mote_error *err)
{
	struct double_machine *m = of(machine);
	m->base.vcpu_ioctls++;
	*general = m->general;
	return refuse(m->hypervisor, DOUBLE_GET_GENERAL, "get_general", err);
}

/* The place of a register; one that was never written is 0. */
static struct mote__msr *msr_at(struct double_machine *m, uint32_t index)
{
	struct mote__msr_list *all = &m->msrs;
	for (uint32_t i = 0; i < all->count; i++)
		if (all->msr[i].index == index)
			return &all->msr[i];
	CHECK(all->count < MOTE__MSRS_MAX);
	all->msr[all->count] = (struct mote__msr){index, 0};
	return &all->msr[all->count++];
}

static void put_msrs(struct double_machine *m, const struct mote__msr_list *list)
{
	for (uint32_t i = 0; i < list->count; i++)
		*msr_at(m, list->msr[i].index) = list->msr[i];
}

static int set_msrs(struct mote__machine *machine, const struct mote__msr_list *list,
		    struct mote_error *err)
{
	struct double_machine *m = of(machine);
	m->base.vcpu_ioctls++;
	put_msrs(m, list);
	return refuse(m->hypervisor, DOUBLE_SET_MSRS, "set_msrs", err);
}

static int get_msrs(struct mote__machine *machine, struct mote__msr_list *list,
		    struct mote_error *err)
{
	struct double_machine *m = of(machine);
	m->base.vcpu_ioctls++;
	for (uint32_t i = 0; i < list->count; i++)
		list->msr[i] = *msr_at(m, list->msr[i].index);
	return refuse(m->hypervisor, DOUBLE_GET_MSRS, "get_msrs", err);
}

/* What is pending is where the guest's function is; general registers are the next start's. */
static int reset(struct mote__machine *machine, const struct mote__special *special,
		 const struct mote__msr_list *msrs, struct mote_error *err)
{
	struct double_machine *m = of(machine);
	int rc = refuse(m->hypervisor, DOUBLE_RESET, "reset", err);
	if (rc < 0)
		return rc;
	m->base.vcpu_ioctls++;
	m->resets++;
	m->step = 0;
	m->general = (struct mote__general){0};
	m->special = *special;
	/* What the guest may write is as in a new machine, where all is zero. */
	for (uint32_t i = 0; i < m->config.msr_count; i++) {
		const struct mote__msr_list one = {.count = 1,
						   .msr = {{.index = m->config.msrs[i]}}};
		put_msrs(m, &one);
	}
	put_msrs(m, msrs);
	return MOTE_OK;
}

static int reset_fpu(struct mote__machine *machine, struct mote_error *err)
{
	struct double_machine *m = of(machine);
	m->base.vcpu_ioctls++;
	m->fpu_resets++;
	return refuse(m->hypervisor, DOUBLE_RESET_FPU, "reset_fpu", err);
}

static int set_signal_mask(struct mote__machine *machine, const sigset_t *blocked,
			   struct mote_error *err)
{
	struct double_machine *m = of(machine);
	m->base.vcpu_ioctls++;
	m->mask_sets++;
	m->mask = *blocked;
	return refuse(m->hypervisor, DOUBLE_SET_MASK, "set_signal_mask", err);
}

/* ---- running --------------------------------------------------------------------------------- */

/* Signals that end a run. */
static sigset_t open_signals(const struct double_machine *m)
{
	sigset_t open;
	sigemptyset(&open);
	for (int s = 1; s <= SIGRTMAX; s++)
		if (sigismember(&m->mask, s) == 0 && s != SIGKILL && s != SIGSTOP)
			sigaddset(&open, s);
	return open;
}

static bool is_signalled(const struct double_machine *m)
{
	const sigset_t open = open_signals(m);
	sigset_t pending;
	sigpending(&pending);
	for (int s = 1; s <= SIGRTMAX; s++)
		if (sigismember(&open, s) > 0 && sigismember(&pending, s) > 0)
			return true;
	return false;
}

static void first_halt(struct double_machine *m, struct mote__exit *exit)
{
	m->general.rax = TINY_DISPATCH_GVA;
	m->general.rsp = TINY_STOCK_RSP;
	double_halt(exit);
}

static void run_guest(struct double_machine *m, struct mote__exit *exit)
{
	double_step step = m->is_initialise ? m->guest->initialise : m->guest->call;
	if (m->general.rip == MOTE__PROBE_GVA) {
		double_out(exit, MOTE_ABI_PORT_HALT, 7);
		return;
	}
	/* A far return to a selector that is not there: general protection. */
	if (m->general.rip == MOTE__PROBE_FAR_GVA) {
		double_out(exit, MOTE__PORT_EXCEPTION, 13);
		return;
	}
	(step ? step : first_halt)(m, exit);
	m->step++;
}

static void begin(struct double_machine *m, const struct mote__general *general)
{
	m->general = *general;
	m->step = 0;
	if (general->rip == MOTE__PROBE_GVA || general->rip == MOTE__PROBE_FAR_GVA) {
		m->probes++;
		return;
	}
	m->starts++;
	/* Only the first entry is told the size of a page. */
	m->is_initialise = general->rdx == MOTE_PAGE_BYTES;
	m->run_info_gva = general->r8;
	/* A fork remembers what its ancestor was told. */
	if (m->is_initialise)
		m->hypervisor->peb_gva = general->rdi;
	m->peb_gva = m->hypervisor->peb_gva;
}

static int machine_run(struct mote__machine *machine, const struct mote__general *general,
		       struct mote__exit *exit)
{
	struct double_machine *m = of(machine);
	if (m->hypervisor->fail & DOUBLE_RUN)
		return -EIO;
	m->base.vcpu_ioctls++;
	m->base.entries++;
	if (general)
		begin(m, general);
	memset(exit, 0, sizeof *exit);
	if (is_signalled(m)) {
		exit->kind = MOTE__EXIT_INTERRUPTED;
		return 0;
	}
	run_guest(m, exit);
	return 0;
}

static const struct mote__hypervisor_ops operations = {
	.close = hypervisor_close,
	.machine_create = machine_create,
	.machine_destroy = machine_destroy,
	.map = machine_map,
	.set_special = set_special,
	.get_special = get_special,
	.get_general = get_general,
	.set_msrs = set_msrs,
	.get_msrs = get_msrs,
	.reset = reset,
	.reset_fpu = reset_fpu,
	.set_signal_mask = set_signal_mask,
	.run = machine_run,
};

struct double_hypervisor *double_make(const struct double_guest *guest)
{
	struct double_hypervisor *h = calloc(1, sizeof *h);
	CHECK(h != NULL);
	h->base.ops = &operations;
	h->base.info = (struct mote_engine_info){.api_version = 12, .tsc_khz = 2000000};
	h->base.cr4_offered = MOTE__CR4_FSGSBASE;
	h->guest = guest;
	return h;
}

/* ---- exits ----------------------------------------------------------------------------------- */

void double_out(struct mote__exit *exit, uint16_t port, uint32_t data)
{
	exit->kind = MOTE__EXIT_OUT;
	exit->port = port;
	exit->bytes = 4;
	exit->data = data;
}

void double_halt(struct mote__exit *exit)
{
	double_out(exit, MOTE_ABI_PORT_HALT, 0);
}

void double_spin(struct double_machine *m, struct mote__exit *exit)
{
	const sigset_t open = open_signals(m);
	int fd = signalfd(-1, &open, SFD_CLOEXEC);
	CHECK(fd >= 0);
	/* Does not take the signal; one that has a handler ends the wait by it. */
	struct pollfd wait = {.fd = fd, .events = POLLIN};
	(void)poll(&wait, 1, -1);
	(void)close(fd);
	exit->kind = MOTE__EXIT_INTERRUPTED;
}

bool double_abort(struct mote__exit *exit, const void *bytes, size_t len, unsigned n)
{
	const uint8_t *from = bytes;
	uint32_t data = 0, count = 0;
	for (size_t i = 3 * (size_t)n; i < len + 1 && count < 3; i++)
		data |= (uint32_t)(i < len ? from[i] : 0xFF) << (8 * ++count);
	double_out(exit, MOTE_ABI_PORT_ABORT, data | count);
	return 3 * (size_t)n + 3 < len + 1;
}

void double_exception(struct double_machine *m, struct mote__exit *exit, uint32_t vector,
		      uint64_t error, uint64_t rip, uint64_t cr2)
{
	/* Error code, RIP, CS, RFLAGS, RSP, SS. */
	const uint64_t frame[6] = {error, rip, MOTE__CS3, 2, m->general.rsp - 64, MOTE__SS3};
	memcpy(double_gva(m, MOTE__IST_TOP - sizeof frame, sizeof frame), frame, sizeof frame);
	m->special.cr2 = cr2;
	double_out(exit, MOTE__PORT_EXCEPTION, vector);
}

/* ---- memory ---------------------------------------------------------------------------------- */

uint8_t *double_gpa(const struct double_machine *m, uint64_t gpa, uint64_t bytes)
{
	for (uint32_t i = 0; i < DOUBLE_SLOTS; i++) {
		const struct double_slot *s = &m->slots[i];
		if (gpa >= s->gpa && mote__in_range(gpa - s->gpa, bytes, s->bytes))
			return (uint8_t *)(uintptr_t)s->host + (gpa - s->gpa);
	}
	return NULL;
}

static const void *table(const void *cookie, uint64_t gpa, uint64_t bytes)
{
	return double_gpa(cookie, gpa, bytes);
}

uint8_t *double_gva(const struct double_machine *m, uint64_t gva, uint64_t bytes)
{
	const struct mote__pt_format *format = mote__special_format(&m->special, 64);
	if (!format)
		format = mote__special_format(&m->special, 32);
	CHECK(format != NULL);
	const struct mote__pt_space space = {format, {m, table}, m->special.cr3};
	struct mote__pt_translation first, last;
	CHECK_EQ(mote__pt_translate(&space, gva, &first), MOTE__PT_OK);
	CHECK_EQ(mote__pt_translate(&space, gva + bytes - 1, &last), MOTE__PT_OK);
	CHECK_EQ(last.gpa - first.gpa, bytes - 1);
	uint8_t *at = double_gpa(m, first.gpa, bytes);
	CHECK(at != NULL);
	return at;
}

/* ---- the guest's side of the protocol -------------------------------------------------------- */

static struct double_buffer buffer(const struct double_machine *m, uint64_t gva, uint64_t size)
{
	return (struct double_buffer){double_gva(m, gva, size), size, gva};
}

struct double_buffer guest_input(const struct double_machine *m)
{
	struct mote_abi_run_info info;
	struct mote_abi_peb peb;
	if (m->run_info_gva) {
		memcpy(&info, double_gva(m, m->run_info_gva, sizeof info), sizeof info);
		return buffer(m, info.input, info.input_bytes);
	}
	memcpy(&peb, double_gva(m, m->peb_gva, sizeof peb), sizeof peb);
	return buffer(m, peb.input, peb.input_bytes);
}

struct double_buffer guest_output(const struct double_machine *m)
{
	struct mote_abi_run_info info;
	struct mote_abi_peb peb;
	if (m->run_info_gva) {
		memcpy(&info, double_gva(m, m->run_info_gva, sizeof info), sizeof info);
		return buffer(m, info.output, info.output_bytes);
	}
	memcpy(&peb, double_gva(m, m->peb_gva, sizeof peb), sizeof peb);
	return buffer(m, peb.output, peb.output_bytes);
}

static uint64_t word(const uint8_t *at)
{
	uint64_t value;
	memcpy(&value, at, sizeof value);
	return value;
}

static void set_word(uint8_t *at, uint64_t value)
{
	memcpy(at, &value, sizeof value);
}

void guest_push(struct double_machine *m, const void *bytes, size_t len)
{
	struct double_buffer out = guest_output(m);
	uint64_t pointer = word(out.bytes);
	CHECK(pointer >= 8 && pointer <= out.size && len + 8 <= out.size - pointer);
	memcpy(out.bytes + pointer, bytes, len);
	set_word(out.bytes + pointer + len, pointer);
	set_word(out.bytes, pointer + len + 8);
}

static void push_message(struct double_machine *m, int64_t bytes)
{
	CHECK(bytes > 0);
	guest_push(m, m->pushed, (size_t)bytes);
}

void guest_push_value(struct double_machine *m, struct mote_value value)
{
	push_message(m, mote__message_encode_result(m->pushed, sizeof m->pushed, &value));
}

void guest_push_error(struct double_machine *m, uint64_t code, const char *text)
{
	push_message(m, mote__message_encode_error(m->pushed, sizeof m->pushed, code, text,
						   strlen(text)));
}

void guest_push_log(struct double_machine *m, const struct mote__log_record *record)
{
	push_message(m, mote__message_encode_log(m->pushed, sizeof m->pushed, record));
}

void guest_push_call(struct double_machine *m, const char *name, uint32_t result,
		     const struct mote_value *arguments, uint32_t count)
{
	const struct mote_string text = {name, strlen(name)};
	push_message(m, mote__message_encode_call(m->pushed, sizeof m->pushed, MOTE__CALL_HOST,
						  text, result, arguments, count));
}

/* Copy the message on top of the input; a stock guest also removes it. */
static size_t pop(struct double_machine *m)
{
	struct double_buffer in = guest_input(m);
	uint64_t pointer = word(in.bytes);
	CHECK(pointer >= 16 && pointer <= in.size);
	uint64_t at = word(in.bytes + pointer - 8), len = pointer - 8 - at;
	CHECK(at >= 8 && at <= pointer - 16 && len <= sizeof m->message);
	memcpy(m->message, in.bytes + at, len);
	if (!m->run_info_gva) {
		set_word(in.bytes, at);
		memset(in.bytes + at, 0, pointer - at);
	}
	return len;
}

struct mote__call_view guest_pop_call(struct double_machine *m)
{
	struct mote__call_view view;
	size_t len;
	if (m->run_info_gva) {
		/* The registers tell where it is. */
		len = m->general.rsi;
		CHECK(len <= sizeof m->message);
		memcpy(m->message, double_gva(m, m->general.rdi, len), len);
	} else {
		len = pop(m);
	}
	CHECK_EQ(mote__message_decode_call(m->message, len, &view), MOTE__MESSAGE_OK);
	CHECK_EQ(view.kind, MOTE__CALL_GUEST);
	return view;
}

struct mote__result_view guest_pop_answer(struct double_machine *m)
{
	struct mote__result_view view;
	size_t len = pop(m);
	CHECK_EQ(mote__message_decode_result(m->message, len, &view), MOTE__MESSAGE_OK);
	return view;
}
