/* SPDX-License-Identifier: MIT */
/*
 * The public objects, as the files of src/vm see them. Each struct is changed only by the file that
 * is named after it, but for the sandbox, whose parts say who does.
 */
#ifndef MOTE_VM_OBJECTS_H
#define MOTE_VM_OBJECTS_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <mote.h>

#include "core/layout.h"
#include "core/message.h"
#include "core/vcpu.h"
#include "kvm/hypervisor.h"

/* ---- engine.c -------------------------------------------------------------------------------- */

/** What ring 3 can reach beyond SSE, found out by the first sandbox. */
#define MOTE__VECTOR_UNKNOWN UINT64_MAX

struct mote_engine {
	atomic_uint references;
	struct mote__hypervisor *hypervisor;
	int signal_number;
	_Atomic uint64_t vector_mask;
	const uint8_t *alive; /* a page that reads 1 here and 0 in a child after fork() */
};

/** MOTE_ESTATE in a child of the process that made engine. */
int mote__engine_check(const mote_engine *engine, struct mote_error *err);

/** An engine on another hypervisor, which it closes when it goes. For tests. */
int mote__engine_on(struct mote__hypervisor *hypervisor, int signal_number, mote_engine **engine,
		    struct mote_error *err);

/** Check an options struct: size at least min, its tail beyond known all zero. */
int mote__options_check(const char *name, const void *options, size_t size, size_t min,
			size_t known, struct mote_error *err);

/* ---- snapshot.c ------------------------------------------------------------------------------ */

/** Functions that an image exports or imports; names lie in text. */
struct mote__functions {
	uint32_t count;
	struct mote_function *function;
	char *text;
};

struct mote_snapshot {
	atomic_uint references;
	struct mote__layout layout;
	struct mote__write_set write_set;
	bool has_note, is_position_independent;
	uint32_t bits;
	char version[MOTE__ELF_VERSION_BYTES];
	uint64_t entry_gva, dispatch_gva, syscall_gva;
	int memory_fd, table_fd;
	pid_t process;         /* that has the mappings */
	const uint8_t *memory; /* offset = gpa; [0, base_gpa) is a hole */
	const uint8_t *tables;
	struct mote__functions exports, imports;
	struct mote__elf_symbols symbols; /* own copies */
	uint64_t symbol_shift;            /* gva - va */
	uint32_t msr_count;
	uint32_t msrs[MOTE__MSR_ALLOW_MAX];
};

static inline uint64_t mote__snapshot_object_bytes(const mote_snapshot *s)
{
	return s->layout.family->base_gpa + s->layout.snapshot_bytes;
}

/** Read the export or import table at image offset at; 0 leaves functions empty. */
int mote__functions_read(const uint8_t *image, const struct mote__layout *layout, uint64_t at,
			 const char *what, struct mote__functions *functions,
			 struct mote_error *err);
void mote__functions_free(struct mote__functions *functions);

/* ---- host.c ---------------------------------------------------------------------------------- */

struct mote__host_entry {
	char *name;
	uint32_t name_bytes;
	uint32_t result, parameter_count;
	uint32_t parameters[MOTE_MAX_PARAMETERS];
	mote_host_callback callback;
	void *cookie;
	void (*destroy_cookie)(void *cookie);
};

struct mote_host {
	atomic_uint references;
	atomic_bool is_frozen;
	uint32_t count, capacity;
	struct mote__host_entry *entries;
	mote_print_callback print;
	void *print_cookie;
	mote_log_callback log;
	void *log_cookie;
};

/** The function of that name, or NULL. */
const struct mote__host_entry *mote__host_find(const mote_host *host, const char *name, size_t len);
/** Refuse a host that lacks a function of imports: MOTE_EIMPORT with the list. */
int mote__host_check(const mote_host *host, const struct mote__functions *imports,
		     struct mote_error *err);

/** The answer of a host function, encoded where the guest will read it. */
struct mote_reply {
	mote_sandbox *sandbox;
	const struct mote__host_entry *function;
	uint8_t *room; /* in the guest's input buffer */
	size_t room_bytes;
	int64_t bytes; /* encoded there; 0: no answer yet */
	bool is_failed;
	char text[256]; /* of a failure */
};

/** Call function and leave the encoded answer, value or error, at room. Returns its bytes, or a
 * negative mote__message_code when not even the error fits. */
int64_t mote__host_invoke(mote_sandbox *sandbox, const struct mote__call_view *call, uint8_t *room,
			  size_t room_bytes);

/* ---- interrupt.c ----------------------------------------------------------------------------- */

struct mote_interrupt {
	atomic_uint references;
	int signal_number;
	pid_t process;
	pthread_mutex_t lock; /* protects what follows */
	pthread_t thread;     /* of the call, while is_in_call */
	bool is_in_call, is_in_guest;
	bool is_canceled; /* of this call */
	bool is_sent;     /* a signal may be pending */
};

/** What a call keeps of the thread it borrows. */
struct mote__run_guard {
	sigset_t old_mask;
	uint64_t deadline_ns; /* CLOCK_MONOTONIC; 0: none */
	bool is_timer_armed;
};

int mote__interrupt_create(int signal_number, mote_interrupt **interrupt, struct mote_error *err);

/** Begin and end a stretch in which guest code may run on this thread. */
int mote__guard_begin(mote_sandbox *sandbox, uint64_t timeout_ns, struct mote__run_guard *guard,
		      struct mote_error *err);
void mote__guard_end(mote_sandbox *sandbox, struct mote__run_guard *guard);
/** Run once, unless the call has been cancelled: then true and the guest was not entered, or was
 * interrupted for it. *rc gets what run() returned. */
bool mote__guard_run(mote_sandbox *sandbox, const struct mote__run_guard *guard,
		     const struct mote__general *general, struct mote__exit *exit, int *rc);

/* ---- sandbox.c ------------------------------------------------------------------------------- */

#define MOTE__ABORT_BYTES 1024u

struct mote_sandbox {
	mote_engine *engine;
	mote_snapshot *snapshot;
	mote_host *host;
	const struct mote__transport *transport;
	struct mote__machine *machine;
	uint32_t state;
	uint32_t log_level;
	void *user_data;

	/* memory (sandbox.c, frames.c) */
	uint8_t *scratch;
	uint64_t frames_max;    /* that the guest may take */
	uint64_t frames_mapped; /* that slots cover; the rest of scratch is not in the machine */
	uint32_t slots;

	/* calls (call.c) */
	uint64_t dispatch_gva, dispatch_rsp;
	uint8_t *message; /* private copy of the message that is looked at */
	size_t message_cap;
	uint64_t input_pointer; /* confined: the input stack's pointer above the call */
	uint64_t counter_lag;   /* confined: most ticks that the guest's counter is behind ours */
	uint8_t abort[MOTE__ABORT_BYTES];
	uint32_t abort_bytes;

	/* interrupt.c */
	mote_interrupt *interrupt;
	sigset_t machine_mask;
	bool has_machine_mask, has_timer;
	uint64_t timer_thread; /* a number of interrupt.c */
	timer_t timer;

	struct mote_statistics statistics;
};

/** Slots of a machine. */
enum mote__slot {
	MOTE__SLOT_SNAPSHOT = 0,
	MOTE__SLOT_SCRATCH = 1,
	MOTE__SLOT_SYSTEM = 2, /* confined */
	MOTE__SLOT_MORE = 3,   /* confined: further frames */
};

static inline bool mote__is_confined(const mote_sandbox *sandbox)
{
	return sandbox->snapshot->layout.is_confined;
}

/** A word of a confined guest's parameter page: MOTE__PARAMS_*. */
uint64_t *mote__params(const mote_sandbox *sandbox, uint32_t offset);
/** Frames that the guest took so far, at most frame_count. */
uint64_t mote__frames_used(const mote_sandbox *sandbox);
/** The guest ran out of mapped frames: map more of scratch, or fail with what a guest out of memory
 * ends with. */
int mote__frames_grow(mote_sandbox *sandbox, struct mote_error *err);
/** Make the machine forget every translation, by removing a slot and adding it again. */
int mote__sandbox_flush(mote_sandbox *sandbox, struct mote_error *err);
/** Write the special registers that a guest begins with. */
int mote__sandbox_set_special(mote_sandbox *sandbox, struct mote_error *err);

/* ---- call.c ---------------------------------------------------------------------------------- */

/** Room for bytes in sandbox->message. */
int mote__message_reserve(mote_sandbox *sandbox, uint64_t bytes, struct mote_error *err);
/** Run the guest from general until it halts. Failures poison. */
int mote__run(mote_sandbox *sandbox, const struct mote__run_guard *guard,
	      const struct mote__general *general, struct mote_error *err);
/** A confined guest's clocks run from now: its counter was set to ours and counts on. */
void mote__clock_refresh(mote_sandbox *sandbox);
/** Let a new guest initialise itself (start.c). */
int mote__initialise(mote_sandbox *sandbox, const struct mote__run_guard *guard,
		     struct mote_error *err);

/* ---- fault.c --------------------------------------------------------------------------------- */

/** A chunk of an abort (port 102): MOTE_OK to go on, or the abort. */
int mote__abort_chunk(mote_sandbox *sandbox, uint32_t data, struct mote_error *err);
/** The library's ring-0 code reports an exception: the abort. */
int mote__exception(mote_sandbox *sandbox, uint32_t vector, struct mote_error *err);
/** The ABI's name of an exception, or NULL. */
const char *mote__exception_name(uint32_t vector);

/* ---- transport: the message layer of a family ----------------------------------------------- */

struct mote__transport {
	/* Fill scratch's words and buffers for a new guest. */
	void (*prepare)(mote_sandbox *sandbox);
	/* Encode a call where the guest will find it; registers that tell where go to general. */
	int (*push_call)(mote_sandbox *sandbox, const struct mote_call *call,
			 struct mote__general *general, struct mote_error *err);
	/* The guest rang: *is_known says whether the port is one of this transport. */
	int (*ring)(mote_sandbox *sandbox, uint32_t port, bool *is_known, struct mote_error *err);
	/* Take the result of a call that ended; view points into sandbox->message. */
	int (*pop_result)(mote_sandbox *sandbox, struct mote__result_view *view,
			  struct mote_error *err);
	/* After a failed call: leave nothing of it behind. */
	void (*clear)(mote_sandbox *sandbox);
};

extern const struct mote__transport mote__transport_s;

#endif
