/* SPDX-License-Identifier: MIT */
/*
 * A test double of a hypervisor: machines whose run() calls a C function, "the guest", which sees
 * the registers it was started with, reads and writes guest memory through the slots and the page
 * tables, and says which exit comes next. Signals end a run as KVM does it: one that is pending and
 * not in the machine's mask, at the entry or while the guest spins.
 *
 * The functions below "guest" are the guest's side of the call protocol, over the addresses that a
 * guest is given: it finds its buffers in the PEB, or in run info when it is confined.
 */
#ifndef MOTE_TESTS_DOUBLE_H
#define MOTE_TESTS_DOUBLE_H

#include "core/message.h"
#include "kvm/hypervisor.h"

#define DOUBLE_SLOTS         64u
#define DOUBLE_MESSAGE_BYTES (256u << 10)

struct double_slot {
	uint64_t gpa, bytes; /* bytes 0: not there */
	const uint8_t *host;
	bool is_writable;
};

struct double_machine;

/** What the guest does from here to its next exit; m->step counts the exits since the start. */
typedef void (*double_step)(struct double_machine *m, struct mote__exit *exit);

struct double_guest {
	double_step initialise; /* NULL: halts, as a good guest */
	double_step call;
	void *cookie;
};

/** Operations, as bits of what fails. */
enum double_operation {
	DOUBLE_CREATE = 1,
	DOUBLE_MAP = 2,
	DOUBLE_SET_SPECIAL = 4,
	DOUBLE_GET_SPECIAL = 8,
	DOUBLE_GET_GENERAL = 16,
	DOUBLE_SET_MSRS = 32,
	DOUBLE_RESET_FPU = 64,
	DOUBLE_SET_MASK = 128,
	DOUBLE_RUN = 256,
	DOUBLE_RESET = 512,
	DOUBLE_GET_MSRS = 1024,
};

struct double_hypervisor {
	struct mote__hypervisor base;
	const struct double_guest *guest; /* of machines made from now on */
	struct double_machine *machine;   /* the last one made; NULL once it is destroyed */
	unsigned fail;                    /* enum double_operation */
	unsigned machines;                /* alive */
	bool *is_closed;                  /* may be NULL */
	uint64_t peb_gva;                 /* of the last guest that was initialised */
};

struct double_machine {
	struct mote__machine base;
	uint64_t id; /* unique in the process */
	struct double_hypervisor *hypervisor;
	const struct double_guest *guest;
	struct double_slot slots[DOUBLE_SLOTS];
	struct mote__machine_config config;
	struct mote__general general; /* of the last start; changed by the guest: what it left */
	struct mote__special special;
	struct mote__msr_list msrs; /* that were written */
	sigset_t mask;
	uint64_t peb_gva, run_info_gva; /* as initialise was told; run info: confined */
	unsigned starts;                /* the library's own probe left out */
	bool is_initialise;             /* the last start */
	unsigned step;
	unsigned maps, unmaps, specials, mask_sets, fpu_resets, probes, resets;
	uint8_t message[DOUBLE_MESSAGE_BYTES]; /* what the guest popped last */
	uint8_t pushed[DOUBLE_MESSAGE_BYTES];
};

/** A hypervisor on which guest runs; give it to mote__engine_on(), which owns it then. */
struct double_hypervisor *double_make(const struct double_guest *guest);

/* ---- exits ---- */

void double_out(struct mote__exit *exit, uint16_t port, uint32_t data);
void double_halt(struct mote__exit *exit);
/** An endless loop: returns when a signal that the machine does not block is pending. */
void double_spin(struct double_machine *m, struct mote__exit *exit);
/** Chunk number n of an abort that sends bytes and then 0xFF; true while it is not the last. */
bool double_abort(struct mote__exit *exit, const void *bytes, size_t len, unsigned n);
/** The library's ring-0 code reports an exception of a confined guest. */
void double_exception(struct double_machine *m, struct mote__exit *exit, uint32_t vector,
		      uint64_t error, uint64_t rip, uint64_t cr2);

/* ---- guest ---- */

/** The memory at gpa, or NULL where no slot has all of it. */
uint8_t *double_gpa(const struct double_machine *m, uint64_t gpa, uint64_t bytes);
/** The memory at gva through the tables at CR3, which must map it; bytes may span pages that lie
 * side by side. */
uint8_t *double_gva(const struct double_machine *m, uint64_t gva, uint64_t bytes);

struct double_buffer {
	uint8_t *bytes;
	uint64_t size, gva;
};
struct double_buffer guest_input(const struct double_machine *m);
struct double_buffer guest_output(const struct double_machine *m);

/** Push len raw bytes on the output. */
void guest_push(struct double_machine *m, const void *bytes, size_t len);
void guest_push_value(struct double_machine *m, struct mote_value value);
void guest_push_error(struct double_machine *m, uint64_t code, const char *text);
void guest_push_log(struct double_machine *m, const struct mote__log_record *record);
void guest_push_call(struct double_machine *m, const char *name, uint32_t result,
		     const struct mote_value *arguments, uint32_t count);
/** The call that this start is about; parameters point into m->message. */
struct mote__call_view guest_pop_call(struct double_machine *m);
/** The answer of a host function, likewise. */
struct mote__result_view guest_pop_answer(struct double_machine *m);

/** End the call with a result. */
static inline void guest_return(struct double_machine *m, struct mote__exit *exit,
				struct mote_value value)
{
	guest_push_value(m, value);
	double_halt(exit);
}

#endif
