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

#include "base/bag.h"
#include "base/functions.h"
#include "base/math.h"
#include "base/processor.h"
#include "core/layout.h"
#include "core/mappings.h"
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
	atomic_bool is_lax; /* ring 3 can leave 64-bit mode: only special registers bring it back */
	struct mote__processor machine; /* CPUID, which costs an exit where it is virtual */
	const uint8_t *own;             /* mote__sys_own_make() */
	uint32_t pool_max;
	struct mote__bag *pool; /* of sandboxes that nobody has (pool.c) */
};

/** Features of the processor that guests of engine can see. */
void mote__engine_seen(const mote_engine *engine, bool is_confined,
		       struct mote__processor *processor);
/** MOTE_ESTATE in a child of the process that made engine. */
int mote__engine_check(const mote_engine *engine, struct mote_error *err);

/** An engine on another hypervisor, which it closes when it goes. For tests. */
int mote__engine_on(struct mote__hypervisor *hypervisor, int signal_number, uint32_t pool_max,
		    mote_engine **engine, struct mote_error *err);

/** Check an options struct: size at least min, its tail beyond known all zero. */
int mote__options_check(const char *name, const void *options, size_t size, size_t min,
			size_t known, struct mote_error *err);
/** Fields that have no meaning yet are zero. */
int mote__reserved_check(const char *name, const void *bytes, size_t len, struct mote_error *err);

/* ---- object.c: memory objects ---------------------------------------------------------------- */

/** The digest of bytes that do not change, once somebody knows it. */
struct mote__known {
	atomic_uint state; /* 0: unknown; 1: somebody writes it; 2: known */
	uint8_t digest[MOTE_DIGEST_BYTES];
};
bool mote__known_get(const struct mote__known *known, uint8_t digest[MOTE_DIGEST_BYTES]);
void mote__known_set(struct mote__known *known, const uint8_t digest[MOTE_DIGEST_BYTES]);

/** Memory that is written once, sealed, and shared by mapping it; or a file of a store that is
 * trusted not to change. */
struct mote__object {
	atomic_uint references;
	int fd;
	bool is_file; /* of a store: nobody compared its bytes with the digest, or can keep them */
	uint64_t bytes;
	uint64_t id;             /* unique in the process while it exists */
	struct mote__known blob; /* of a layer: from its first byte on */
};

/** An object of bytes zero bytes, not sealed yet. MOTE_ENOMEM, MOTE_ESYSTEM. */
int mote__object_create(const char *name, uint64_t bytes, struct mote__object **object,
			struct mote_error *err);
int mote__object_seal(struct mote__object *object, struct mote_error *err);
/** An object of a file's bytes; fd is taken, also on failure. */
int mote__object_of_file(int fd, uint64_t bytes, struct mote__object **object,
			 struct mote_error *err);
/** A sealed object of count pages behind offset bytes that are not written; a page of zeroes is not
 * written either. */
int mote__object_of_pages(const char *name, uint64_t offset, const void *const *pages,
			  uint64_t count, struct mote__object **object, struct mote_error *err);
struct mote__object *mote__object_ref(struct mote__object *object);
void mote__object_unref(struct mote__object *object);
/** The error of a refused memory object or mapping. */
int mote__object_fail(struct mote_error *err, int rc, const char *what, uint64_t bytes);

/** A piece of an object: where its bytes stand in guest physical memory, or among table bytes. */
struct mote__piece {
	struct mote__object *object;
	uint64_t object_offset;
	uint64_t at, bytes;
};

/** File offset, host address and guest physical address of memory agree modulo this, so that the
 * kernel can make large pages of it. */
#define MOTE__LARGE_BYTES 0x200000ull
#define MOTE__LAYERS_MAX  32u
#define MOTE__EXTENTS_MAX 32u

/** Which pages of an object were never written: the kernel knows, and reading one would make it
 * exist. Pages are asked for in ascending order, best. */
struct mote__holes {
	const struct mote__object *object;
	uint64_t from, to; /* [from, to) is known to be a hole */
	uint64_t data_to;  /* [to, data_to) is known to be none */
};
bool mote__object_is_hole(struct mote__holes *holes, uint64_t offset);

/** A page of zeroes. */
extern const uint8_t mote__zero_page[MOTE_PAGE_BYTES];

/* ---- snapshot.c, image.c --------------------------------------------------------------------- */

/** What is kept of a guest's image by all snapshots that come from it. */
struct mote__image {
	atomic_uint references;
	bool has_note, is_position_independent;
	uint32_t bits;
	uint32_t baseline; /* level of x86-64 that it asks for; 0: it does not say */
	char version[MOTE__ELF_VERSION_BYTES];
	uint32_t build_id_bytes; /* 0: none */
	uint8_t build_id[MOTE__ELF_BUILD_ID_MAX];
	uint64_t entry_gva, dispatch_gva, syscall_gva; /* dispatch: confined */
	struct mote__functions exports, imports;
	struct mote__elf_symbols symbols; /* own copies */
	uint64_t symbol_shift;            /* gva - va */
	struct mote__known symbols_blob;  /* of the symbols in a store */
	uint32_t msr_count;
	uint32_t msrs[MOTE__MSR_ALLOW_MAX];
	const uint8_t *own; /* mote__sys_own_make() */
};

/** A page that sandboxes of a snapshot have writable from their start: member i owns frame i. */
struct mote__member {
	uint64_t gva;
	uint64_t source_gpa; /* in the snapshot; 0: zeroes */
};

/** Grows by what calls were seen to write; members are never changed. */
struct mote__members {
	uint32_t max;
	uint32_t fixed; /* the first ones, which the snapshot's tables have already */
	_Atomic uint32_t count;
	struct mote__member *member;
};

struct mote__text {
	char *name, *json; /* one allocation, at name */
};

struct mote_snapshot {
	atomic_uint references;
	struct mote__image *image;
	struct mote__layout layout;
	uint32_t write_set_max;

	/* memory (snapshot_memory.c) */
	uint32_t layer_count, extent_count;
	struct mote__piece layer[MOTE__LAYERS_MAX];   /* at = gpa, ascending */
	struct mote__piece extent[MOTE__EXTENTS_MAX]; /* at = offset in the tables, ascending */
	void *reservation;
	uint64_t reservation_bytes;
	const uint8_t *memory; /* + gpa; all layers side by side */
	uint64_t memory_end;   /* gpa behind the last layer */
	uint64_t dead_bytes;   /* in layers, of pages that no table entry names */
	const uint8_t *tables; /* layout.tables_bytes */

	/* start */
	bool is_ready; /* entering it means: call */
	uint64_t dispatch_gva, dispatch_rsp;
	struct mote__special special; /* stock: all, when ready; confined: FS and GS base */
	struct mote__msr_list msrs;   /* stock: what the guest could change, when ready */
	uint64_t generation;
	uint32_t root_count; /* stock: 0 for the first table alone */
	uint64_t *roots;     /* ascending, each once */

	struct mote__host_list *functions; /* ready: what the host had; NULL: as the image says */
	struct mote__processor seen;       /* ready: features that the guest could see */
	uint32_t metadata_count;
	struct mote__text metadata[MOTE_MAX_METADATA];

	pthread_mutex_t lock; /* protects what follows */
	struct mote__members write_set;
	bool has_digest;
	uint8_t digest[MOTE_DIGEST_BYTES];
};

/** Whether gpa lies in the layers of s. */
static inline bool mote__snapshot_has(const mote_snapshot *s, uint64_t gpa)
{
	return gpa >= s->layout.family->base_gpa && gpa < s->memory_end;
}

/** A snapshot without memory, of image (one more reference); layout may be NULL. */
mote_snapshot *mote__snapshot_new(struct mote__image *image, const struct mote__layout *layout);
/** An image of which nothing is known yet, one reference. MOTE_ENOMEM. */
int mote__image_new(struct mote__image **image, struct mote_error *err);
/** What is to be kept of elf, one reference. MOTE_ENOMEM. */
int mote__image_make(const struct mote__elf *elf, const struct mote_snapshot_options *options,
		     bool is_confined, struct mote__image **image, struct mote_error *err);
struct mote__image *mote__image_ref(struct mote__image *image);
void mote__image_unref(struct mote__image *image);

/** MOTE_ESTATE in a child of the process that made snapshot. */
int mote__snapshot_check(const mote_snapshot *snapshot, struct mote_error *err);
/** Map layers and extents, which are complete. */
int mote__snapshot_map(mote_snapshot *snapshot, struct mote_error *err);
/** Ask for huge pages where the guest has large leaves and the memory is there. */
void mote__snapshot_collapse(const mote_snapshot *snapshot);
void mote__snapshot_unmap(mote_snapshot *snapshot);
/** Room for the write set, beginning with fixed. */
int mote__snapshot_set_members(mote_snapshot *snapshot, const struct mote__write_set *fixed,
			       struct mote_error *err);
/** The page of the snapshot from which a page of a confined guest's is copied when the guest writes
 * it, or 0 for zeroes; false: calls that wrote it cannot be believed. */
bool mote__snapshot_may_learn(const mote_snapshot *snapshot, uint64_t gva, uint64_t *source_gpa);
/** What its tables map, as a list (records.c). MOTE_ETOOBIG: beyond MOTE__RECORDS_MAX. */
int mote__snapshot_records(const mote_snapshot *snapshot, struct mote__records *records,
			   struct mote_error *err);
/** Put the table pages that child changes over those of parent: page i of numbers (ascending)
 * becomes pages[i]. */
int mote__snapshot_overlay(mote_snapshot *child, const mote_snapshot *parent,
			   const uint64_t *numbers, const void *const *pages, uint32_t count,
			   struct mote_error *err);
/** The page at gva of a sandbox that starts from snapshot: MOTE__PAGE_BYTES, NULL for zeroes.
 * false: not mapped. */
bool mote__snapshot_page(const mote_snapshot *snapshot, uint64_t gva, const uint8_t **bytes);
/** Whether the page at gpa, in a layer, was never written: it is zero, and reading it would make it
 * exist. holes keeps what was found out. */
bool mote__snapshot_is_hole(const mote_snapshot *snapshot, struct mote__holes *holes, uint64_t gpa);
/** Where that page is stored: a gpa of a layer, or 0 for zeroes. */
bool mote__snapshot_stored(const mote_snapshot *snapshot, uint64_t gva, uint64_t *gpa,
			   struct mote__pt_attributes *attributes);
/** Where a page that the tables have at gpa is stored: a gpa of a layer, or 0 for zeroes. */
bool mote__snapshot_stored_at(const mote_snapshot *snapshot, uint64_t gpa, uint64_t *at);
/** Translate gva through the snapshot's tables, wherever that leads. */
bool mote__snapshot_translate(const mote_snapshot *snapshot, uint64_t gva,
			      struct mote__pt_translation *translation);
/** Whether a confined guest can write the page at gva, or make a private one of it. */
bool mote__snapshot_is_guests(const mote_snapshot *snapshot, uint64_t gva);
/** Walk its tables, in all its address spaces, where addresses are the guest's own. walk has leaf,
 * link, cookie, leaves_max and joins_leaves; the rest is filled in. MOTE_ENOMEM, MOTE_ESNAPSHOT. */
int mote__snapshot_walk(const mote_snapshot *snapshot, struct mote__pt_walk *walk,
			struct mote_error *err);
/** Table bytes at offset, one page, without making a hole real. */
const void *mote__snapshot_table(const mote_snapshot *snapshot, struct mote__holes *holes,
				 uint64_t offset);
/** Whether a guest finds zeroes at gva when it touches it. */
bool mote__snapshot_is_demand(const mote_snapshot *snapshot, uint64_t gva);
/** Offset, among the tables, of the leaf entry of a confined guest's page; false: it has no leaf
 * table. */
bool mote__snapshot_leaf(const mote_snapshot *snapshot, uint64_t gva, uint64_t *offset);

/** Read the export or import table at image offset at; 0 leaves functions empty. */
int mote__functions_read(const uint8_t *image, const struct mote__layout *layout, uint64_t at,
			 const char *what, struct mote__functions *functions,
			 struct mote_error *err);
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
	_Atomic(struct mote__host_list *) list; /* made when first asked for */
};

/** The function of that name, or NULL. */
const struct mote__host_entry *mote__host_find(const mote_host *host, const char *name, size_t len);
/** Names and signatures of a frozen host's functions. */
struct mote__host_list {
	atomic_uint references;
	struct mote__functions functions;
};
/** The list of host, which is frozen; one more reference. NULL: out of memory. */
struct mote__host_list *mote__host_functions(mote_host *host);
void mote__host_list_unref(struct mote__host_list *list);
/** Refuse a host that lacks a function that snapshot needs: MOTE_EIMPORT with the list. */
int mote__host_check(const mote_host *host, const mote_snapshot *snapshot, struct mote_error *err);

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
	bool is_in_call; /* one that can be ended: the thread takes the signal in KVM_RUN alone */
	bool is_in_guest;
	bool is_canceled; /* of this call */
	bool is_sent;     /* a signal may be pending */
	bool is_wanted;   /* somebody has asked for the object; the sandbox's thread's own */
};

/** What a call keeps of the thread it borrows. */
struct mote__run_guard {
	sigset_t old_mask;
	uint64_t deadline_ns; /* CLOCK_MONOTONIC; 0: none */
	bool is_timer_armed;
	bool is_masked; /* the call can be ended from outside */
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

/** Memory of the embedder's in the machine. */
struct mote__mapped {
	uint64_t gpa, bytes;
	uint64_t gva; /* confined */
	const uint8_t *host;
	bool is_own; /* mapped by the library, from a file */
};

/** Random bytes for starts, drawn ahead. */
#define MOTE__FRESH_AHEAD 24u

struct mote_sandbox {
	mote_engine *engine;
	mote_snapshot *snapshot; /* that it runs from: its memory is in the machine */
	mote_host *host;
	const struct mote__transport *transport;
	struct mote__machine *machine;
	uint32_t state;
	uint32_t log_level;
	void *user_data;

	/* memory (sandbox.c, frames.c) */
	uint8_t *scratch;
	uint64_t memory_max;    /* option */
	uint64_t frames_max;    /* that the guest may take */
	uint64_t frames_mapped; /* that slots cover; the rest of scratch is not in the machine */
	uint64_t scratch_bytes;
	uint32_t slots;              /* behind the last one for scratch; 0: none */
	bool has_memory, has_system; /* slots of the snapshot and of the library are there */
	uint32_t placed;             /* members of the write set in their frames */
	uint32_t mapped_count;
	struct mote__mapped mapped[MOTE_MAX_MAPPINGS];
	const struct mote__pt_format *format; /* of its tables, for the operation on memory */

	/* start (start.c, restore.c) */
	mote_snapshot *taken; /* the last snapshot taken since the start, or NULL */
	bool is_changed;      /* since the start, or since taken */
	bool is_strict;       /* option */
	bool is_fatal;        /* the machine must not be used again */
	bool may_be_stale;    /* a page was given its frame while the old one may be cached */
	bool needs_reset;     /* confined: the next entry loads segments; stock: ZF */
	uint64_t generation;  /* of the ABI: counts snapshots */
	bool has_seed;        /* of a deterministic run: what initialise is given */
	uint64_t seed;
	uint32_t fresh_count; /* left in fresh */
	struct mote_fresh fresh[MOTE__FRESH_AHEAD];

	/* calls (call.c) */
	uint64_t dispatch_gva, dispatch_rsp;
	uint8_t *message; /* private copy of the message that is looked at */
	size_t message_cap;
	uint64_t input_pointer; /* confined: the input stack's pointer above the call */
	uint64_t input_used;    /* bytes of the input buffer written since it was cleared */
	uint64_t counter_lag;   /* confined: most ticks that the guest's counter is behind ours */
	uint8_t abort[MOTE__ABORT_BYTES];
	uint32_t abort_bytes;

	/* interrupt.c */
	mote_interrupt *interrupt;
	struct mote__run_guard *guard; /* of the call that runs */
	sigset_t machine_mask;
	bool has_machine_mask, has_timer;
	uint64_t timer_thread; /* a number of interrupt.c */
	timer_t timer;

	mote_sandbox *next; /* of shells that one thread holds (pool.c) */
	struct mote_statistics statistics;
	uint64_t entries_before, ioctls_before; /* of the machine, when the sandbox was made */
};

/** Slots of a machine. */
enum mote__slot {
	MOTE__SLOT_SNAPSHOT = 0,
	MOTE__SLOT_SCRATCH = 1,
	MOTE__SLOT_SYSTEM = 2,   /* confined */
	MOTE__SLOT_MORE = 3,     /* confined: further frames */
	MOTE__SLOT_MAPPING = 32, /* and MOTE_MAX_MAPPINGS - 1 more */
};

static inline bool mote__is_confined(const mote_sandbox *sandbox)
{
	return sandbox->snapshot->layout.is_confined;
}

/** A word of a confined guest's parameter page: MOTE__PARAMS_*. */
uint64_t *mote__params(const mote_sandbox *sandbox, uint32_t offset);
/** The frame word (MOTE__PARAMS_NEXT) of a frame. */
uint64_t mote__frame_word(const struct mote__layout *layout, uint64_t frame);
/** Frames that the guest took so far, at most frame_count. */
uint64_t mote__frames_used(const mote_sandbox *sandbox);
/** The page of a frame, and its log entry. */
uint8_t *mote__frame(const mote_sandbox *sandbox, uint64_t frame);
uint64_t *mote__log(const mote_sandbox *sandbox, uint64_t frame);
/** The guest ran out of mapped frames: map more of scratch, or fail with what a guest out of memory
 * ends with. */
int mote__frames_grow(mote_sandbox *sandbox, struct mote_error *err);
/** How many frames the guest may take: by memory_max and the layout of snapshot. */
int mote__frames_set_max(mote_sandbox *sandbox, const mote_snapshot *snapshot,
			 struct mote_error *err);
/** Whether memory_max suits snapshot. */
int mote__frames_check(const mote_snapshot *snapshot, uint64_t memory_max, struct mote_error *err);
/** Frames that the guest may take without asking: number of the one behind the last. */
uint64_t mote__frames_limit(const mote_sandbox *sandbox);

/** Make a machine for sandbox->snapshot, with nothing in it. */
int mote__sandbox_make_machine(mote_sandbox *sandbox, struct mote_error *err);
/** Put the memory of snapshot into the machine in place of what is there, scratch all zero but for
 * frames of the write set. is_known: the guest is confined, and what it used is what the frames
 * say. On failure the sandbox can only be destroyed. */
int mote__sandbox_install(mote_sandbox *sandbox, mote_snapshot *snapshot, bool is_known,
			  struct mote_error *err);
/** Give scratch back; what is in the machine must be gone. */
void mote__scratch_free(mote_sandbox *sandbox);
/** Write what a start finds in scratch: buffers, tables, words, write set, run info. */
int mote__sandbox_fill(mote_sandbox *sandbox, const struct mote_fresh *fresh,
		       struct mote_error *err);
/** Members that a sandbox may have in place: they leave it room for what else it writes. */
uint32_t mote__members_max(const mote_sandbox *sandbox, const mote_snapshot *snapshot);
/** Put the members of the write set that are not yet there into their frames. */
void mote__sandbox_place(mote_sandbox *sandbox);
/** The state that entering sandbox->snapshot gives. */
void mote__sandbox_begin(mote_sandbox *sandbox);
/** What a guest that initialises itself is seeded with: of fresh, or random (NULL). */
void mote__sandbox_seed(mote_sandbox *sandbox, const struct mote_fresh *fresh);
/** New run info of a confined guest. */
int mote__sandbox_freshen(mote_sandbox *sandbox, const struct mote_fresh *fresh,
			  struct mote_error *err);
/** Make the machine forget every translation, by removing a slot and adding it again. */
int mote__sandbox_flush(mote_sandbox *sandbox, struct mote_error *err);
/** Special registers that a start from snapshot has, and model-specific ones. */
void mote__start_special(const mote_sandbox *sandbox, const mote_snapshot *snapshot,
			 struct mote__special *special);
int mote__start_msrs(mote_sandbox *sandbox, struct mote_error *err);
int mote__sandbox_set_special(mote_sandbox *sandbox, struct mote_error *err);
/** A sandbox without host, with snapshot in place: a shell. */
int mote__shell_make(mote_engine *engine, mote_snapshot *snapshot, mote_sandbox **shell,
		     struct mote_error *err);
void mote__shell_free(mote_engine *engine, mote_sandbox *shell);
/** Take the embedder's memory out of the machine. */
int mote__sandbox_unmap_all(mote_sandbox *sandbox, struct mote_error *err);

/* ---- restore.c ------------------------------------------------------------------------------- */

/** Scratch of a confined guest as new, but for its tables and for frames that the write set of next
 * fills. Zero or a negative errno. */
int mote__scratch_wipe(mote_sandbox *sandbox, const mote_snapshot *next);
/** Restore to snapshot, which fits. A failure leaves the sandbox broken. */
int mote__restore(mote_sandbox *sandbox, mote_snapshot *snapshot, bool is_strict,
		  const struct mote_fresh *fresh, struct mote_error *err);
/** Whether a shell of have can be given the memory of want. */
bool mote__snapshot_fits(const mote_snapshot *have, const mote_snapshot *want);

/* ---- pool.c ---------------------------------------------------------------------------------- */

/** A shell from the pool with snapshot in place, or NULL when there is none that fits. */
int mote__pool_take(mote_engine *engine, mote_snapshot *snapshot, mote_sandbox **shell,
		    struct mote_error *err);
/** Wipe a sandbox and keep it; false: it could not be kept and is to be freed. */
bool mote__pool_park(mote_engine *engine, mote_sandbox *sandbox);

/* ---- call.c ---------------------------------------------------------------------------------- */

/** Room for bytes in sandbox->message. */
int mote__message_reserve(mote_sandbox *sandbox, uint64_t bytes, struct mote_error *err);
/** Run the guest from general until it halts. Failures poison. */
int mote__run(mote_sandbox *sandbox, const struct mote__run_guard *guard,
	      const struct mote__general *general, struct mote_error *err);
/** The same of a confined guest: through the library's entry code (start.c). */
int mote__run_confined(mote_sandbox *sandbox, const struct mote__run_guard *guard,
		       struct mote__general *general, struct mote_error *err);
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
