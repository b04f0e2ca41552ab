/* SPDX-License-Identifier: MIT */
/*
 * How guests end: aborts that they send in chunks, and exceptions that the library's ring-0 code
 * reports for a confined guest. Every byte of an abort is the guest's word.
 */
#include "vm/objects.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/math.h"
#include "core/confined.h"
#include "core/utf8.h"

#define PAGE_FAULT 14u

const char *mote__exception_name(uint32_t vector)
{
	static const char *const names[] = {"DivideByZero",
					    "Debug",
					    "NonMaskableInterrupt",
					    "Breakpoint",
					    "Overflow",
					    "BoundRangeExceeded",
					    "InvalidOpcode",
					    "DeviceNotAvailable",
					    "DoubleFault",
					    "CoprocessorSegmentOverrun",
					    "InvalidTSS",
					    "SegmentNotPresent",
					    "StackSegmentFault",
					    "GeneralProtectionFault",
					    "PageFault",
					    "Reserved",
					    "X87FloatingPointException",
					    "AlignmentCheck",
					    "MachineCheck",
					    "SIMDFloatingPointException",
					    "VirtualizationException"};
	if (vector < sizeof names / sizeof *names)
		return names[vector];
	return vector == 30 ? "SecurityException" : NULL;
}

/* ---- aborts ---------------------------------------------------------------------------------- */

/* Append text that may be no UTF-8, on one line: replacement characters, blanks for controls. */
static void append_text(struct mote_error *err, const uint8_t *text, size_t len)
{
	size_t used = strlen(err->message);
	while (len && used + 4 < sizeof err->message) {
		size_t good = mote__utf8_prefix(text, len);
		size_t room = sizeof err->message - 4 - used;
		if (good > room)
			good = mote__utf8_prefix(text, room);
		for (size_t i = 0; i < good; i++)
			err->message[used++] =
				(char)(text[i] < 0x20 || text[i] == 0x7F ? ' ' : text[i]);
		text += good;
		len -= good;
		if (!len || used + 4 >= sizeof err->message || !room)
			break;
		memcpy(err->message + used, "\xEF\xBF\xBD", 3);
		used += 3;
		text++;
		len--;
	}
	err->message[used] = 0;
}

/* The number behind a label in a stock guest's text; 0 where there is none. */
static uint64_t number_after(const char *text, const char *label)
{
	const char *at = strstr(text, label);
	return at ? strtoull(at + strlen(label), NULL, 0) : 0;
}

static void parse_exception(struct mote_error *err, uint32_t vector, const char *text)
{
	err->has_fault = 1;
	err->vector = vector;
	err->instruction_gva = number_after(text, "Faulting Instruction: ");
	err->fault_gva = number_after(text, "Page Fault Address: ");
	err->error_code = (uint32_t)number_after(text, "Error code: ");
	err->stack_gva = number_after(text, "Stack Pointer: ");
}

static int finish(mote_sandbox *sandbox, struct mote_error *err)
{
	uint8_t bytes[MOTE__ABORT_BYTES + 1];
	uint32_t len = sandbox->abort_bytes;
	memcpy(bytes, sandbox->abort, len);
	bytes[len] = 0;
	sandbox->abort_bytes = 0;
	uint64_t code = len ? bytes[0] : 0;
	const char *name = len > 1 ? mote__exception_name(bytes[1]) : NULL;
	int rc =
		mote__fail(err, MOTE_EABORT, "Guest aborted: %llu %s%s%s", (unsigned long long)code,
			   name ? "Exception: " : "", name ? name : "", name ? " | " : "");
	if (!err)
		return rc;
	err->guest_code = code;
	uint32_t skip = name ? 2 : 1;
	if (len > skip)
		append_text(err, bytes + skip, len - skip);
	if (name)
		parse_exception(err, bytes[1], (const char *)bytes + 2);
	return rc;
}

int mote__abort_chunk(mote_sandbox *sandbox, uint32_t data, struct mote_error *err)
{
	uint32_t count = data & 0xFF;
	sandbox->statistics.exits_abort++;
	for (uint32_t i = 0; i < (count > 3 ? 3 : count); i++) {
		uint8_t byte = (uint8_t)(data >> (8 * (i + 1)));
		if (byte == 0xFF)
			return finish(sandbox, err);
		if (sandbox->abort_bytes == MOTE__ABORT_BYTES) {
			sandbox->abort_bytes = 0;
			return mote__fail(err, MOTE_EABORT,
					  "Guest aborted: 0 Guest abort buffer overflowed");
		}
		sandbox->abort[sandbox->abort_bytes++] = byte;
	}
	return MOTE_OK;
}

/* ---- exceptions ------------------------------------------------------------------------------ */

/* What the processor pushed at the top of the interrupt stack (Intel SDM volume 3, 6.14). */
struct frame {
	uint64_t error, rip, cs, rflags, rsp, ss;
};

static bool has_error_code(uint32_t vector)
{
	return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 ||
	       vector == 29 || vector == 30;
}

static struct frame read_frame(const mote_sandbox *sandbox, uint32_t vector)
{
	const struct mote__layout *l = &sandbox->snapshot->layout;
	const uint8_t *top = sandbox->scratch + l->ist_offset + MOTE_PAGE_BYTES;
	struct frame frame;
	memcpy(&frame, top - sizeof frame, sizeof frame);
	if (!has_error_code(vector))
		frame.error = 0;
	return frame;
}

static const struct mote__part *part_of(const struct mote__layout *l, uint64_t gva)
{
	for (uint32_t i = 0; i < l->part_count; i++)
		if (gva - l->parts[i].gva < l->parts[i].bytes)
			return &l->parts[i];
	return NULL;
}

/* In words, what the access at address ran into. */
static const char *meaning(const mote_sandbox *sandbox, uint64_t address, uint64_t error,
			   char *text, size_t bytes)
{
	const struct mote__layout *l = &sandbox->snapshot->layout;
	const struct mote__part *part = part_of(l, address);
	const char *what = error & 0x10 ? "executing" : error & 2 ? "writing" : "reading";
	const char *place = part ? part->name : "unmapped memory";
	if (l->stack_bytes && address < l->stack_gva &&
	    l->stack_gva - address <= MOTE__STACK_GUARD_BYTES)
		place = "the guard below the stack (stack overflow)";
	else if (address < MOTE_PAGE_BYTES)
		place = "the null page";
	(void)snprintf(text, bytes, ", %s 0x%llx in %s", what, (unsigned long long)address, place);
	return text;
}

static uint64_t fault_address(mote_sandbox *sandbox)
{
	struct mote__special special;
	if (sandbox->machine->ops->get_special(sandbox->machine, &special, NULL) < 0)
		return 0;
	return special.cr2;
}

int mote__exception(mote_sandbox *sandbox, uint32_t vector, struct mote_error *err)
{
	const struct frame frame = read_frame(sandbox, vector);
	sandbox->statistics.exits_exception++;
	uint64_t address = vector == PAGE_FAULT ? fault_address(sandbox) : 0;
	char where[300] = "", why[160] = "";
	const char *name = mote__exception_name(vector);
	if (mote_snapshot_symbolize(sandbox->snapshot, frame.rip, where, sizeof where) < 0)
		where[0] = 0;
	if (vector == PAGE_FAULT)
		(void)meaning(sandbox, address, frame.error, why, sizeof why);
	int rc = mote__fail(err, MOTE_EABORT,
			    "Guest aborted: %d Exception: %s at 0x%llx%s%s%s%s, error code 0x%llx",
			    MOTE_GUEST_ERROR, name ? name : "unknown",
			    (unsigned long long)frame.rip, where[0] ? " <" : "", where,
			    where[0] ? ">" : "", why, (unsigned long long)frame.error);
	if (!err)
		return rc;
	err->guest_code = MOTE_GUEST_ERROR;
	err->has_fault = 1;
	err->vector = vector;
	err->error_code = (uint32_t)frame.error;
	err->fault_gva = address;
	err->instruction_gva = frame.rip;
	err->stack_gva = frame.rsp;
	return rc;
}
