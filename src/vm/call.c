/* SPDX-License-Identifier: MIT */
/*
 * Calls: running the guest until it halts, and what it may do on the way. A call that ends well
 * costs one entry into the machine, and one more for each host function call.
 */
#include "vm/objects.h"

#include <string.h>

#include "base/error.h"
#include "base/math.h"
#include "base/sys.h"
#include "core/confined.h"
#include "core/utf8.h"

#define RFLAGS_ZF 0x40u

int mote__message_reserve(mote_sandbox *sandbox, uint64_t bytes, struct mote_error *err)
{
	if (bytes <= sandbox->message_cap)
		return MOTE_OK;
	uint8_t *message = mote__realloc(sandbox->message, bytes, 1);
	if (!message)
		return mote__fail(err, MOTE_ENOMEM, "out of memory: a message of %llu bytes",
				  (unsigned long long)bytes);
	sandbox->message = message;
	sandbox->message_cap = bytes;
	return MOTE_OK;
}

/* ---- exits ----------------------------------------------------------------------------------- */

/* One Unicode scalar value to the print sink. */
static int print_character(mote_sandbox *sandbox, uint32_t c, struct mote_error *err)
{
	const mote_host *host = sandbox->host;
	char text[4];
	size_t len;
	sandbox->statistics.exits_print++;
	if (c > 0x10FFFF || (c >= 0xD800 && c < 0xE000))
		return mote__fail(err, MOTE_EPROTOCOL, "Invalid character for debug print: %u", c);
	if (c < 0x80) {
		text[0] = (char)c;
		len = 1;
	} else if (c < 0x800) {
		text[0] = (char)(0xC0 | c >> 6);
		text[1] = (char)(0x80 | (c & 0x3F));
		len = 2;
	} else if (c < 0x10000) {
		text[0] = (char)(0xE0 | c >> 12);
		text[1] = (char)(0x80 | (c >> 6 & 0x3F));
		text[2] = (char)(0x80 | (c & 0x3F));
		len = 3;
	} else {
		text[0] = (char)(0xF0 | c >> 18);
		text[1] = (char)(0x80 | (c >> 12 & 0x3F));
		text[2] = (char)(0x80 | (c >> 6 & 0x3F));
		text[3] = (char)(0x80 | (c & 0x3F));
		len = 4;
	}
	/* A sink that fails has nobody to be told. */
	(void)host->print(host->print_cookie, sandbox->user_data, text, len);
	return MOTE_OK;
}

static int fail_port(mote_sandbox *sandbox, uint32_t port, struct mote_error *err)
{
	sandbox->statistics.exits_other++;
	return mote__fail(err, MOTE_EPROTOCOL, "Invalid outb port: Invalid OutBAction value: %u",
			  port);
}

/* Ports of the library's own ring 0; a guest that owns ring 0 has no such ports. */
static int own_port(mote_sandbox *sandbox, const struct mote__exit *exit, struct mote_error *err)
{
	if (exit->port == MOTE__PORT_FRAMES)
		return mote__frames_grow(sandbox, err);
	return mote__exception(sandbox, exit->data, err);
}

static bool is_own_port(const mote_sandbox *sandbox, uint32_t port)
{
	return mote__is_confined(sandbox) &&
	       (port == MOTE__PORT_EXCEPTION || port == MOTE__PORT_FRAMES);
}

static int out(mote_sandbox *sandbox, const struct mote__exit *exit, struct mote_error *err)
{
	bool is_known = false;
	if (!exit->bytes) {
		sandbox->statistics.exits_other++;
		return mote__fail(err, MOTE_EPROTOCOL, "No data was given in IO interrupt");
	}
	if (exit->port == MOTE_ABI_PORT_ABORT)
		return mote__abort_chunk(sandbox, exit->data, err);
	if (exit->port == MOTE_ABI_PORT_PRINT)
		return print_character(sandbox, exit->data, err);
	if (is_own_port(sandbox, exit->port))
		return own_port(sandbox, exit, err);
	int rc = sandbox->transport->ring(sandbox, exit->port, &is_known, err);
	return is_known ? rc : fail_port(sandbox, exit->port, err);
}

static int fail_memory(mote_sandbox *sandbox, const struct mote__exit *exit, struct mote_error *err)
{
	sandbox->statistics.exits_other++;
	const char *access = exit->is_write ? "WRITE" : "READ";
	for (uint32_t i = 0; i < sandbox->mapped_count; i++)
		if (exit->gpa - sandbox->mapped[i].gpa < sandbox->mapped[i].bytes)
			return mote__fail(err, MOTE_EPROTOCOL,
					  "Memory Access Violation at address 0x%llx of type %s, "
					  "but memory is marked as READ",
					  (unsigned long long)exit->gpa, access);
	return mote__fail(err, MOTE_EPROTOCOL, "MMIO %s access to unmapped address 0x%llx", access,
			  (unsigned long long)exit->gpa);
}

static int fail_other(mote_sandbox *sandbox, const struct mote__exit *exit, struct mote_error *err)
{
	sandbox->statistics.exits_other++;
	return mote__fail(err, MOTE_EPROTOCOL, "Unexpected VM exit: %s",
			  exit->kind == MOTE__EXIT_HALT ? "HLT" : exit->detail);
}

/* HLT is ring 0's, and the ring 0 of a confined guest has none. */
static bool is_halt(const mote_sandbox *sandbox, const struct mote__exit *exit)
{
	return (exit->kind == MOTE__EXIT_HALT && !mote__is_confined(sandbox)) ||
	       (exit->kind == MOTE__EXIT_OUT && exit->port == MOTE_ABI_PORT_HALT);
}

static int serve(mote_sandbox *sandbox, const struct mote__exit *exit, struct mote_error *err)
{
	sandbox->is_fatal |= exit->is_fatal;
	switch (exit->kind) {
	case MOTE__EXIT_OUT:
		return out(sandbox, exit, err);
	case MOTE__EXIT_MEMORY:
		return fail_memory(sandbox, exit, err);
	default:
		return fail_other(sandbox, exit, err);
	}
}

/* Somebody waits for this: formatting a constant text would cost as much as the rest of the way. */
static int fail_canceled(struct mote_error *err)
{
	static const char text[] = "Execution was cancelled by the host.";
	if (!err)
		return MOTE_ECANCELED;
	*err = (struct mote_error){.code = MOTE_ECANCELED,
				   .category = mote__category(MOTE_ECANCELED)};
	memcpy(err->message, text, sizeof text);
	return MOTE_ECANCELED;
}

static int run(mote_sandbox *sandbox, const struct mote__run_guard *guard,
	       const struct mote__general *general, struct mote_error *err)
{
	struct mote__exit exit;
	for (;;) {
		int rc = 0;
		if (mote__guard_run(sandbox, guard, general, &exit, &rc))
			return fail_canceled(err);
		if (rc < 0)
			return mote__fail_system(err, MOTE_ESYSTEM, -rc, "vCPU run failed");
		if (is_halt(sandbox, &exit)) {
			sandbox->statistics.exits_halt++;
			return MOTE_OK;
		}
		general = NULL;
		rc = serve(sandbox, &exit, err);
		if (rc < 0)
			return rc;
	}
}

int mote__run(mote_sandbox *sandbox, const struct mote__run_guard *guard,
	      const struct mote__general *general, struct mote_error *err)
{
	sandbox->state = MOTE_STATE_RUNNING;
	sandbox->is_changed = true;
	int rc = run(sandbox, guard, general, err);
	sandbox->needs_reset = false;
	sandbox->abort_bytes = 0;
	sandbox->state = rc < 0 ? MOTE_STATE_POISONED : MOTE_STATE_READY;
	if (rc < 0 && err)
		err->poisoned = 1;
	return rc;
}

/* ---- calls ----------------------------------------------------------------------------------- */

static const char *code_name(uint64_t code)
{
	static const char *const names[] = {[0] = "NoError",
					    [2] = "UnsupportedParameterType",
					    [3] = "GuestFunctionNameNotProvided",
					    [4] = "GuestFunctionNotFound",
					    [5] = "GuestFunctionIncorrecNoOfParameters",
					    [6] = "GispatchFunctionPointerNotSet",
					    [7] = "OutbError",
					    [8] = "UnknownError",
					    [10] = "GsCheckFailed",
					    [11] = "TooManyGuestFunctions",
					    [12] = "FailureInDlmalloc",
					    [13] = "MallocFailed",
					    [14] = "GuestFunctionParameterTypeMismatch",
					    [15] = "GuestError",
					    [16] = "ArrayLengthParamIsMissing",
					    [17] = "HostFunctionError"};
	const char *name = code < sizeof names / sizeof *names ? names[code] : NULL;
	return name ? name : "UnknownError";
}

static int fail_guest(const struct mote__result_view *view, struct mote_error *err)
{
	int rc = mote__fail(
		err, MOTE_EGUEST, "Guest error occurred %s: %.*s", code_name(view->code),
		(int)(view->message.len < MOTE_ERROR_MESSAGE_BYTES ? view->message.len
								   : MOTE_ERROR_MESSAGE_BYTES),
		view->message.data);
	if (err)
		err->guest_code = view->code;
	return rc;
}

static int take_result(mote_sandbox *sandbox, uint32_t type, struct mote_value *result,
		       struct mote_error *err)
{
	struct mote__result_view view;
	int rc = sandbox->transport->pop_result(sandbox, &view, err);
	if (rc < 0)
		return rc;
	if (view.is_error)
		return fail_guest(&view, err);
	if (view.value.type != type)
		return mote__fail(
			err, MOTE_ETYPE,
			"Failed To Convert Return Value: the guest answered %s, the caller "
			"expects %s",
			mote_type_name(view.value.type), mote_type_name(type));
	if (result)
		*result = view.value;
	return MOTE_OK;
}

static int check_value(const struct mote_value *v, uint32_t i, struct mote_error *err)
{
	if (v->type == MOTE_VOID || v->type > MOTE_BYTES)
		return mote__fail(err, MOTE_EINVAL, "type of argument %u is %u, limits are 1 to %u",
				  i, v->type, MOTE_BYTES);
	if (v->type != MOTE_STRING && v->type != MOTE_BYTES)
		return MOTE_OK;
	if (v->bytes.len && !v->bytes.data)
		return mote__fail(err, MOTE_EINVAL, "argument %u: data is NULL, len is %zu", i,
				  v->bytes.len);
	if (v->type == MOTE_STRING && !mote__utf8_is_valid(v->string.data, v->string.len))
		return mote__fail(err, MOTE_EINVAL, "argument %u is not UTF-8", i);
	return MOTE_OK;
}

static int check_call(const struct mote_call *call, struct mote_error *err)
{
	if (!call)
		return mote__fail(err, MOTE_EINVAL, "call is NULL");
	int rc =
		mote__options_check("mote_call", call, call->size, sizeof *call, sizeof *call, err);
	if (rc < 0)
		return rc;
	if (!call->function || !call->function[0])
		return mote__fail(err, MOTE_EINVAL, "function has no name");
	if (!mote__utf8_is_valid(call->function, strlen(call->function)))
		return mote__fail(err, MOTE_EINVAL, "function is not UTF-8");
	if (call->result > MOTE_BYTES)
		return mote__fail(err, MOTE_EINVAL, "result is %u, at most %u", call->result,
				  MOTE_BYTES);
	if (call->argument_count > MOTE_MAX_PARAMETERS)
		return mote__fail(err, MOTE_EINVAL, "argument_count is %u, at most %d",
				  call->argument_count, MOTE_MAX_PARAMETERS);
	if (call->argument_count && !call->arguments)
		return mote__fail(err, MOTE_EINVAL, "arguments is NULL");
	for (uint32_t i = 0; i < call->argument_count && rc == MOTE_OK; i++)
		rc = check_value(&call->arguments[i], i, err);
	return rc;
}

static int require(const mote_sandbox *sandbox, struct mote_error *err)
{
	if (!sandbox)
		return mote__fail(err, MOTE_EINVAL, "sandbox is NULL");
	int rc = mote__engine_check(sandbox->engine, err);
	if (rc < 0)
		return rc;
	switch (sandbox->state) {
	case MOTE_STATE_NEW:
	case MOTE_STATE_READY:
		return MOTE_OK;
	case MOTE_STATE_RUNNING:
		return mote__fail(
			err, MOTE_ESTATE,
			"the sandbox is in a call: a host function cannot call its own guest");
	default:
		rc = mote__fail(err, MOTE_ESTATE, "The sandbox was %s",
				mote_state_name(sandbox->state));
		if (err)
			err->poisoned = 1;
		return rc;
	}
}

void mote__clock_refresh(mote_sandbox *sandbox)
{
	struct mote_abi_run_info *info =
		(void *)(sandbox->scratch + sandbox->snapshot->layout.run_info_offset);
	/* Never ahead of the guest's counter. */
	info->tsc = mote__sys_counter() - sandbox->counter_lag;
	info->realtime_ns = mote__sys_realtime_ns();
	info->monotonic_ns = mote__sys_monotonic_ns();
}

static int call_guest(mote_sandbox *sandbox, const struct mote_call *call,
		      const struct mote__run_guard *guard, struct mote_value *result,
		      struct mote_error *err)
{
	struct mote__general general = {
		.rip = sandbox->dispatch_gva, .rsp = sandbox->dispatch_rsp, .rflags = 2};
	int rc = sandbox->transport->push_call(sandbox, call, &general, err);
	if (rc < 0)
		return rc;
	if (mote__is_confined(sandbox)) {
		general.rip = MOTE__PROLOGUE_GVA;
		general.rbx = sandbox->dispatch_gva;
		rc = mote__run_confined(sandbox, guard, &general, err);
	} else {
		/* ZF: page tables were replaced under the guest (guest-abi 5.3). */
		general.rflags |= sandbox->needs_reset ? RFLAGS_ZF : 0;
		rc = sandbox->machine->ops->reset_fpu(sandbox->machine, err);
		if (rc == MOTE_OK)
			rc = mote__run(sandbox, guard, &general, err);
	}
	if (rc < 0)
		return rc;
	sandbox->statistics.calls++;
	return take_result(sandbox, call->result, result, err);
}

int mote_sandbox_call(mote_sandbox *sandbox, const struct mote_call *call,
		      struct mote_value *result, struct mote_error *err)
{
	struct mote__run_guard guard;
	int rc = require(sandbox, err);
	if (rc == MOTE_OK)
		rc = check_call(call, err);
	if (rc == MOTE_OK)
		rc = mote__guard_begin(sandbox, call->timeout_ns, &guard, err);
	if (rc < 0)
		return rc;
	if (sandbox->state == MOTE_STATE_NEW)
		rc = mote__initialise(sandbox, &guard, err);
	if (rc == MOTE_OK)
		rc = call_guest(sandbox, call, &guard, result, err);
	mote__guard_end(sandbox, &guard);
	if (rc < 0)
		sandbox->transport->clear(sandbox);
	return rc;
}

int mote_sandbox_start(mote_sandbox *sandbox, uint64_t timeout_ns, struct mote_error *err)
{
	struct mote__run_guard guard;
	int rc = require(sandbox, err);
	if (rc < 0 || sandbox->state == MOTE_STATE_READY)
		return rc;
	rc = mote__guard_begin(sandbox, timeout_ns, &guard, err);
	if (rc < 0)
		return rc;
	rc = mote__initialise(sandbox, &guard, err);
	mote__guard_end(sandbox, &guard);
	return rc;
}
