/* SPDX-License-Identifier: MIT */
/*
 * The message layer of family S: one stack of messages in each direction (guest-abi 7). A stock
 * guest pops its input itself and may have ruined either stack; a confined guest cannot write its
 * input, so the host keeps that stack's pointer, and pops for it.
 */
#include "vm/objects.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "core/confined.h"
#include "core/stack.h"

static uint8_t *input(const mote_sandbox *sandbox)
{
	return sandbox->scratch;
}

static uint8_t *output(const mote_sandbox *sandbox)
{
	return sandbox->scratch + sandbox->snapshot->layout.output_offset;
}

static void prepare(mote_sandbox *sandbox)
{
	mote__stack_reset(input(sandbox));
	mote__stack_reset(output(sandbox));
	sandbox->input_pointer = MOTE__STACK_FIRST;
}

static int fail_stack(struct mote_error *err, int code, const char *what,
		      const struct mote__stack_failure *failure)
{
	char text[256];
	(void)mote__stack_format(failure, text, sizeof text);
	return mote__fail(err, code, "%s%s", what, text);
}

/* ---- calls to the guest ---------------------------------------------------------------------- */

static int push_call(mote_sandbox *sandbox, const struct mote_call *call,
		     struct mote__general *general, struct mote_error *err)
{
	const struct mote__layout *l = &sandbox->snapshot->layout;
	struct mote__stack_failure failure;
	struct mote__stack_room room;
	const struct mote_string name = {call->function, strlen(call->function)};
	if (l->is_confined)
		mote__stack_reset(input(sandbox));
	if (!mote__stack_reserve(input(sandbox), l->input_bytes, &room, &failure))
		return fail_stack(err, MOTE_EPROTOCOL, "", &failure);
	int64_t bytes =
		mote__message_encode_call(room.data, room.cap, MOTE__CALL_GUEST, name, call->result,
					  call->arguments, call->argument_count);
	if (bytes == MOTE__MESSAGE_TOO_BIG) {
		int64_t need =
			mote__message_call_bytes(name, call->arguments, call->argument_count);
		if (need < 0)
			return mote__fail(err, MOTE_ETOOBIG, "%s",
					  mote__message_describe((int)need));
		failure = mote__stack_no_space(&room, (uint64_t)need);
		return fail_stack(err, MOTE_ETOOBIG, "", &failure);
	}
	if (bytes < 0)
		return mote__fail(err, MOTE_EINVAL, "%s", mote__message_describe((int)bytes));
	if (!mote__stack_commit(input(sandbox), &room, (uint64_t)bytes, &failure))
		return fail_stack(err, MOTE_ETOOBIG, "", &failure);
	sandbox->statistics.bytes_in += (uint64_t)bytes;
	if (l->is_confined) {
		sandbox->input_pointer = room.pointer + (uint64_t)bytes + MOTE__STACK_BACK_BYTES;
		if (sandbox->input_used < sandbox->input_pointer)
			sandbox->input_used = sandbox->input_pointer;
		general->rdi = l->input_gva + room.pointer;
		general->rsi = (uint64_t)bytes;
		general->r8 = MOTE__PAGE_GVA(MOTE__RUN_INFO_PAGE);
	}
	return MOTE_OK;
}

/* ---- messages from the guest ----------------------------------------------------------------- */

/* Copy the message on top of the output to private memory, and remove it. */
static int pop(mote_sandbox *sandbox, uint64_t *bytes, const char *what, struct mote_error *err)
{
	const struct mote__layout *l = &sandbox->snapshot->layout;
	struct mote__stack_failure failure;
	struct mote__stack_top top;
	if (!mote__stack_top(output(sandbox), l->output_bytes, &top, &failure))
		return fail_stack(err, MOTE_EPROTOCOL, what, &failure);
	int rc = mote__message_reserve(sandbox, top.bytes, err);
	if (rc < 0)
		return rc;
	mote__stack_copy(output(sandbox), &top, sandbox->message);
	/* A stock guest relies on free space being zero; ours does not. */
	mote__stack_drop(output(sandbox), &top, !l->is_confined);
	sandbox->statistics.bytes_out += top.bytes;
	*bytes = top.bytes;
	return MOTE_OK;
}

static int fail_decode(struct mote_error *err, const char *what, const char *type, int code)
{
	return mote__fail(err, MOTE_EPROTOCOL,
			  "%spop_buffer_into: failed to convert buffer to %s: %s", what, type,
			  mote__message_describe(code));
}

static int pop_result(mote_sandbox *sandbox, struct mote__result_view *view, struct mote_error *err)
{
	uint64_t bytes = 0;
	int rc = pop(sandbox, &bytes, "", err);
	if (rc < 0)
		return rc;
	rc = mote__message_decode_result(sandbox->message, bytes, view);
	return rc < 0 ? fail_decode(err, "", "FunctionCallResult", rc) : MOTE_OK;
}

static int log_record(mote_sandbox *sandbox, struct mote_error *err)
{
	static const char what[] = "Failed to read guest log data: ";
	const mote_host *host = sandbox->host;
	struct mote__log_record record;
	uint64_t bytes = 0;
	sandbox->statistics.exits_log++;
	int rc = pop(sandbox, &bytes, what, err);
	if (rc < 0)
		return rc;
	rc = mote__message_decode_log(sandbox->message, bytes, &record);
	if (rc < 0)
		return fail_decode(err, what, "GuestLogData", rc);
	const struct mote_log_record out = {.level = record.level,
					    .line = record.line,
					    .message = record.message,
					    .module = record.source,
					    .caller = record.caller,
					    .file = record.file};
	/* Guests filter; one that does not is not heard. */
	if (host->log && record.level <= sandbox->log_level)
		host->log(host->log_cookie, sandbox->user_data, &out);
	return MOTE_OK;
}

/* Push the answer; a confined guest's previous answer is popped for it. */
static int push_answer(mote_sandbox *sandbox, const struct mote__call_view *call,
		       struct mote_error *err)
{
	static const char what[] = "Failed to write host function response: ";
	const struct mote__layout *l = &sandbox->snapshot->layout;
	struct mote__stack_failure failure;
	struct mote__stack_room room;
	if (l->is_confined)
		memcpy(input(sandbox), &sandbox->input_pointer, sizeof sandbox->input_pointer);
	if (!mote__stack_reserve(input(sandbox), l->input_bytes, &room, &failure))
		return fail_stack(err, MOTE_EPROTOCOL, what, &failure);
	/* A callback may write much and then fail with little. */
	sandbox->input_used = l->input_bytes;
	int64_t bytes = mote__host_invoke(sandbox, call, room.data, room.cap);
	if (bytes < 0)
		return mote__fail(err, MOTE_EPROTOCOL, "%s%s, Available: %llu", what,
				  mote__message_describe((int)bytes), (unsigned long long)room.cap);
	if (!mote__stack_commit(input(sandbox), &room, (uint64_t)bytes, &failure))
		return fail_stack(err, MOTE_EPROTOCOL, what, &failure);
	sandbox->statistics.bytes_in += (uint64_t)bytes;
	return MOTE_OK;
}

static int host_call(mote_sandbox *sandbox, struct mote_error *err)
{
	static const char what[] = "Failed to read host function call: ";
	struct mote__call_view call;
	uint64_t bytes = 0;
	sandbox->statistics.exits_call++;
	int rc = pop(sandbox, &bytes, what, err);
	if (rc < 0)
		return rc;
	rc = mote__message_decode_call(sandbox->message, bytes, &call);
	/* Too many parameters: the call is known well enough to be refused by name. */
	if (rc < 0 && rc != MOTE__MESSAGE_PARAMETERS)
		return fail_decode(err, what, "FunctionCall", rc);
	return push_answer(sandbox, &call, err);
}

static int ring(mote_sandbox *sandbox, uint32_t port, bool *is_known, struct mote_error *err)
{
	*is_known = true;
	if (port == MOTE_ABI_PORT_CALL)
		return host_call(sandbox, err);
	if (port == MOTE_ABI_PORT_LOG)
		return log_record(sandbox, err);
	*is_known = false;
	return MOTE_OK;
}

/* Pop until nothing more can be popped (guest-abi 7.2). Each step removes at least 16 bytes. */
static void empty(uint8_t *stack, uint64_t size)
{
	struct mote__stack_failure failure;
	struct mote__stack_top top;
	while (mote__stack_top(stack, size, &top, &failure))
		mote__stack_drop(stack, &top, true);
}

static void clear(mote_sandbox *sandbox)
{
	const struct mote__layout *l = &sandbox->snapshot->layout;
	if (l->is_confined) {
		prepare(sandbox);
		sandbox->input_used = l->input_bytes;
		return;
	}
	empty(input(sandbox), l->input_bytes);
	empty(output(sandbox), l->output_bytes);
}

const struct mote__transport mote__transport_s = {
	.prepare = prepare,
	.push_call = push_call,
	.ring = ring,
	.pop_result = pop_result,
	.clear = clear,
};
