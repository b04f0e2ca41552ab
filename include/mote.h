/* SPDX-License-Identifier: MIT */
/*
 * mote.h: run untrusted code in micro virtual machines and call into it like into a library.
 *
 * Four objects:
 *
 *   mote_engine    the KVM device and what was found out about it
 *   mote_snapshot  immutable guest memory, page tables and processor state
 *   mote_host      what a guest may ask of the application: functions, print, log
 *   mote_sandbox   one virtual machine that runs from one snapshot with one host
 *
 * Life cycle. mote_snapshot_from_file() reads a guest image once. mote_sandbox_create() makes a
 * virtual machine of it; its first call (or mote_sandbox_start()) lets the guest initialise itself.
 * mote_sandbox_call() calls a guest function. mote_snapshot_take() freezes what the guest has
 * become; mote_sandbox_restore() puts a sandbox back to a snapshot, and mote_sandbox_create() from
 * one that was taken is a fork: no initialisation, memory shared. A guest that faults, aborts,
 * breaks the protocol while it runs or is cancelled leaves its sandbox *poisoned* (struct
 * mote_error says so): it can be restored, read and destroyed, nothing else. A restore that fails
 * half way leaves it *broken*: it can be destroyed.
 *
 * Threads. A sandbox is used by one thread at a time and may move between threads. Different
 * sandboxes are independent. Engines, snapshots and frozen hosts may be shared by any number of
 * threads. mote_interrupt_send() may be called from any thread at any time.
 *
 * Errors. A function that can fail returns MOTE_OK (0) or a negative enum mote_code, and takes a
 * struct mote_error last, which may be NULL and is filled only on failure. Outputs are written only
 * on success.
 *
 * Ownership. The library copies what it keeps, but for callbacks' cookies. Every destroy and unref
 * takes NULL. Strings and bytes that come out are borrowed and say until when.
 *
 * The library prints nothing (but for the default of the guest's HostPrint, see
 * mote_host_create()), installs no signal handler, starts no thread and keeps no state outside its
 * objects but a number for each thread. After fork() the child may destroy and unref what the
 * parent made, and use none of it; most functions then fail with MOTE_ESTATE.
 */
#ifndef MOTE_H
#define MOTE_H

#include <stddef.h>
#include <stdint.h>

#include <mote_abi.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MOTE_API      __attribute__((visibility("default")))
#define MOTE_MUST_USE __attribute__((warn_unused_result))

/* ---- Errors --------------------------------------------------------------------------------- */

/** Result codes. Zero is success; failures are negative and fill struct mote_error. */
enum mote_code {
	MOTE_OK = 0,
	/* the caller's */
	MOTE_EINVAL = -1,  /* an argument or an option is out of range */
	MOTE_ESTATE = -2,  /* the object is in a state that does not allow this */
	MOTE_EIMAGE = -3,  /* the guest image is malformed or asks for something unknown */
	MOTE_ETOOBIG = -4, /* does not fit: arguments in the input buffer, a region in its limit */
	MOTE_EADDR = -5,   /* a guest address is not mapped, or not as needed */
	MOTE_ETYPE = -6,   /* the result has another type than the caller asked for */
	MOTE_EIMPORT = -7, /* the host lacks a function that the guest needs */
	/* a snapshot is of another kind of guest than the sandbox, or would exceed a bound */
	MOTE_ESNAPSHOT = -8,
	MOTE_ESTORE = -9, /* a store, or what it holds, is damaged, hostile or of another version */
	MOTE_ENOTFOUND = -10, /* the store has nothing of that name */
	/* the host machine's */
	MOTE_ENOMEM = -20,     /* out of memory, or over a limit of the process */
	MOTE_ENOKVM = -21,     /* no usable hypervisor, or not for this guest */
	MOTE_ESYSTEM = -22,    /* a system call was refused; system_errno has the number */
	MOTE_EPROCESSOR = -23, /* the guest needs a processor that this machine has not */
	/* the guest's */
	MOTE_EGUEST = -40,    /* the guest's function returned an error; not poisoned */
	MOTE_EABORT = -41,    /* the guest aborted, or faulted */
	MOTE_EPROTOCOL = -42, /* the guest broke the protocol: bad message, port or exit */
	MOTE_ECANCELED = -43, /* ended by a timeout, an interrupt, or a progress callback */
};

/** Whose fault an error is: struct mote_error.category. */
enum mote_category {
	MOTE_CATEGORY_NONE = 0,
	MOTE_CATEGORY_CALLER = 1,
	MOTE_CATEGORY_HOST = 2,
	MOTE_CATEGORY_GUEST = 3,
};

#define MOTE_ERROR_MESSAGE_BYTES 512

/** Filled by a function that fails. No allocation, nothing to free, may be copied. */
struct mote_error {
	int32_t code;         /* enum mote_code */
	int32_t category;     /* enum mote_category */
	int32_t system_errno; /* errno of a refused system call, else 0 */
	uint8_t poisoned;     /* 1: the sandbox is poisoned by this */
	uint8_t has_fault;    /* 1: vector and the fields below it are valid */
	uint8_t reserved[2];
	uint64_t guest_code;      /* what the guest sent: enum mote_guest_code, or its own */
	uint32_t vector;          /* exception vector (Intel SDM volume 3, 6.15) */
	uint32_t error_code;      /* pushed by the processor for that vector, else 0 */
	uint64_t fault_gva;       /* vector 14: the address that was accessed */
	uint64_t instruction_gva; /* the instruction that faulted */
	uint64_t stack_gva;       /* stack pointer at the fault */
	char message[MOTE_ERROR_MESSAGE_BYTES]; /* one line, NUL-terminated UTF-8 */
};

/** The name of a code, such as "MOTE_EINVAL". Static; "unknown" for other numbers. Since: 0.1 */
MOTE_API const char *mote_code_name(int code);

/** The library's version, such as "0.1.0". Static. Since: 0.1 */
MOTE_API const char *mote_version(void);

/* ---- Options -------------------------------------------------------------------------------- */

/*
 * Options structs start with size: set it to sizeof the struct, zero the rest, set what you want;
 * zero means default. A NULL pointer means all defaults. Structs grow at their end; a larger struct
 * of a newer header is accepted while its unknown tail is zero, else MOTE_EINVAL. Fields named
 * reserved are to be zero.
 */

/* ---- Engine --------------------------------------------------------------------------------- */

typedef struct mote_engine mote_engine;

struct mote_engine_options {
	size_t size;
	const char *device; /* path of the KVM device; default "/dev/kvm" */
	/* Ends a running guest; real-time signal, default SIGRTMIN. It, and SIGSTKFLT (sent in its
	 * place when the process may queue no more signals), must have no other use in threads
	 * that call guests. */
	int32_t signal_number;
	uint8_t allow_unfiltered_msrs; /* 1: accept a kernel without KVM_CAP_X86_MSR_FILTER */
	uint8_t reserved[3];
	/* Shells (wiped virtual machines, each with its snapshot in place) that are kept for later
	 * sandboxes: default 16, at most MOTE_MAX_POOL; MOTE_POOL_NONE for none. */
	uint32_t pool_max;
	uint32_t reserved2;
};

#define MOTE_DEFAULT_POOL 16u
#define MOTE_MAX_POOL     4096u
#define MOTE_POOL_NONE    0xFFFFFFFFu

/** Open the KVM device and find out what it can do. Errors: MOTE_EINVAL, MOTE_ENOKVM (no device, no
 * permission, or a capability is missing: the message names it), MOTE_ENOMEM, MOTE_ESYSTEM.
 * Cost: a short-lived virtual machine. Since: 0.1 */
MOTE_API MOTE_MUST_USE int mote_engine_create(const struct mote_engine_options *options,
					      mote_engine **engine, struct mote_error *err);
/** One more owner; returns engine. Any thread. Since: 0.1 */
MOTE_API mote_engine *mote_engine_ref(mote_engine *engine);
/** One owner less; the last one destroys the pool and closes the device. Sandboxes hold a
 * reference, shells of the pool do not. Since: 0.1 */
MOTE_API void mote_engine_unref(mote_engine *engine);

enum mote_paging {
	MOTE_PAGING_UNKNOWN = 0,
	MOTE_PAGING_NESTED = 1, /* the processor walks two sets of tables */
	MOTE_PAGING_SHADOW = 2, /* the kernel keeps shadow tables */
};

/** What is known about the hypervisor. A capability is 1 where it is offered. */
struct mote_engine_info {
	int32_t api_version; /* KVM_GET_API_VERSION; 0 where the device could not be opened */
	uint32_t paging;     /* enum mote_paging */
	uint8_t has_read_only_memory, has_sync_registers, has_immediate_exit, has_msr_filter;
	uint8_t is_emulated; /* the processor under KVM is itself emulated */
	uint8_t reserved[3];
	uint32_t memory_slots;      /* most slots of a virtual machine */
	uint32_t tsc_khz;           /* 0 where unknown */
	uint64_t vector_state_mask; /* state components (XCR0) that ring 3 reaches; 0: SSE only, or
				     * not known before the first sandbox */
	int32_t system_errno;       /* why the device could not be opened, else 0 */
	char missing[128];          /* capabilities that are needed and missing; empty if none */
	uint32_t pool_max, pool_count; /* shells that may be, and are, in the pool */
};

/** Copy what engine found out. Since: 0.1 */
MOTE_API void mote_engine_get_info(const mote_engine *engine, struct mote_engine_info *info);

/** Look at a KVM device (NULL: "/dev/kvm") without needing it to be usable: for diagnosis. Fills
 * info as far as it got and returns MOTE_OK when an engine could be created. Since: 0.1 */
MOTE_API int mote_probe(const char *device, struct mote_engine_info *info, struct mote_error *err);

/* ---- Snapshot ------------------------------------------------------------------------------- */

typedef struct mote_snapshot mote_snapshot;

/** Access to guest memory, bits. */
enum mote_access {
	MOTE_READ = 1,
	MOTE_WRITE = 2,
	MOTE_EXECUTE = 4,
};

/** Families of the guest ABI, for images without a note that tells. */
enum mote_family {
	MOTE_FAMILY_S = 1, /* Hyperlight 0.15 and 0.16: two stack buffers; the default */
};

#define MOTE_DEFAULT_BUFFER_BYTES 0x4000u
#define MOTE_MIN_BUFFER_BYTES     0x2000u
#define MOTE_DEFAULT_HEAP_BYTES   131072u
#define MOTE_DEFAULT_SCRATCH_BYTES \
	0x48000u                           /* stock guests; confined guests: as much as they need */
#define MOTE_DEFAULT_STACK_BYTES  0x40000u /* confined guests whose note does not say */
#define MOTE_MAX_NOTE_STACK_BYTES 0x800000u   /* most that an image's note may ask for */
#define MOTE_DEFAULT_IMAGE_BYTES  0x10000000u /* most that an image may have in memory */
#define MOTE_MAX_REGION_BYTES     0x3FFFFF000ull

struct mote_snapshot_options {
	size_t size;
	uint64_t input_bytes;   /* host to guest; default 0x4000, at least 0x2000 */
	uint64_t output_bytes;  /* guest to host; default 0x4000, at least 0x2000 */
	uint64_t heap_bytes;    /* default 131072; confined guests: address space, not memory */
	uint64_t stack_bytes;   /* confined guests; default: as the image's note asks */
	uint64_t scratch_bytes; /* multiple of 4096; default 0x48000, confined: computed */
	/* Copied; the guest finds it through its PEB. 2 MiB and more of it, read-only, begin at a
	 * multiple of 2 MiB in guests that declare large leaves (those of the SDK do). */
	const void *init_data;
	uint64_t init_data_bytes;
	uint32_t init_data_access; /* enum mote_access; default MOTE_READ */
	uint32_t family;           /* enum mote_family, where the image has no version note */
	uint8_t ignore_extensions; /* 1: run the image as a stock guest, in ring 0 */
	uint8_t executable_heap;   /* 1: stock guests may execute their heap */
	uint8_t reserved[2];
	/* Stock guests: model-specific registers that they may read and write; at most 15. */
	uint32_t msr_count;
	const uint32_t *msrs;     /* copied */
	uint64_t image_bytes_max; /* most memory that the image may take; default 256 MiB */
	/* Confined guests: most pages of the write set, of this snapshot and of each one taken from
	 * it: pages that calls were seen to write, which every sandbox then has writable from its
	 * start and a restore fills again. Default 64, at most 4096; MOTE_WRITE_SET_NONE: none, so
	 * that no call leaves a trace of which pages it wrote. */
	uint32_t write_set_max;
	uint32_t reserved2;
	/* Confined guests: address space for mote_sandbox_map(); default none. */
	uint64_t mapping_bytes;
};

#define MOTE_DEFAULT_WRITE_SET 64u
#define MOTE_MAX_WRITE_SET     4096u
#define MOTE_WRITE_SET_NONE    0xFFFFFFFFu /* learn nothing from calls */

/** Make a snapshot of the guest image (ELF) at path. Entering it means: initialise.
 * Errors: MOTE_EINVAL (an option; the message names field, value and limit), MOTE_EIMAGE,
 * MOTE_ETOOBIG (a 32-bit guest has 0x70000000 bytes for its memory and as much for scratch, others
 * MOTE_MAX_REGION_BYTES), MOTE_ENOMEM, MOTE_ESYSTEM (reading the file). Any thread. Since: 0.1 */
MOTE_API MOTE_MUST_USE int mote_snapshot_from_file(const char *path,
						   const struct mote_snapshot_options *options,
						   mote_snapshot **snapshot,
						   struct mote_error *err);
/** The same of an image in memory: len bytes, which are not kept. Since: 0.1 */
MOTE_API MOTE_MUST_USE int mote_snapshot_from_memory(const void *image, size_t len,
						     const struct mote_snapshot_options *options,
						     mote_snapshot **snapshot,
						     struct mote_error *err);
/** One more owner; returns snapshot. Any thread. Since: 0.1 */
MOTE_API mote_snapshot *mote_snapshot_ref(mote_snapshot *snapshot);
/** One owner less. Sandboxes hold a reference, and so do shells of an engine's pool
 * (mote_engine_trim()). Since: 0.1 */
MOTE_API void mote_snapshot_unref(mote_snapshot *snapshot);

struct mote_snapshot_info {
	uint32_t family;     /* enum mote_family */
	uint32_t image_bits; /* 32 or 64: the mode that the guest starts in */
	uint8_t is_confined; /* 1: runs in ring 3 under the library's own ring-0 code */
	uint8_t has_note;    /* 1: the image asks for that (see ignore_extensions) */
	uint8_t is_position_independent;
	uint8_t reserved[5];
	uint64_t entry_gva, dispatch_gva; /* dispatch: 0 while not known */
	uint64_t input_bytes, output_bytes, heap_bytes, stack_bytes, scratch_bytes;
	uint64_t memory_bytes;    /* of all layers; shared by all sandboxes of this snapshot */
	uint64_t table_bytes;     /* page tables */
	uint32_t write_set_pages; /* that every sandbox has writable from its start; may grow */
	uint32_t export_count, import_count, region_count;
	char version_note[32]; /* of a stock guest, else empty */
	uint32_t layer_count, metadata_count;
	uint8_t is_ready; /* 1: taken from a ready sandbox; entering it means: call */
	uint8_t reserved2[7];
	uint64_t generation; /* 0: made from an image; a child has its parent's and one more */
	uint64_t dead_bytes; /* of layers, hidden by later ones: mote_snapshot_flatten() */
	uint64_t mapping_gva, mapping_bytes; /* confined guests: address space for mappings */
	/* The GNU build id that the image names itself by, the rest zero. The image's word, for
	 * diagnosis: no two images need to differ in it. mote_snapshot_digest() is an identity. */
	uint8_t build_id[64];
	uint32_t build_id_bytes; /* 0: the image has none */
	uint32_t reserved3;
};

/** Copy facts about snapshot. Since: 0.1 */
MOTE_API void mote_snapshot_get_info(const mote_snapshot *snapshot,
				     struct mote_snapshot_info *info);

/** A part of guest memory, as laid out. */
struct mote_region {
	const char *name; /* "image", "heap", ...; lives as long as the snapshot */
	uint64_t gva;     /* guest virtual address; 0 where it has none */
	uint64_t gpa;     /* guest physical address of its first page; 0: it has none yet. Pages
			   * behind may stand anywhere: mote_snapshot_locate() */
	uint64_t bytes;
	uint8_t access;    /* enum mote_access, of guest code in its own ring */
	uint8_t is_cow;    /* written copies are the sandbox's own */
	uint8_t is_demand; /* zero until touched, no memory before */
	uint8_t is_system; /* out of reach of guest code */
	uint8_t reserved[4];
};

/** Region number index (below region_count), in ascending order of gva. MOTE_EINVAL beyond.
 * Since: 0.1 */
MOTE_API int mote_snapshot_get_region(const mote_snapshot *snapshot, uint32_t index,
				      struct mote_region *region);

/** A layer: memory that was added by one snapshot and is shared with its descendants. */
struct mote_layer {
	uint64_t gpa; /* where it stands in guest physical memory */
	uint64_t bytes;
	uint64_t id; /* the same in every snapshot that shares it; unique in the process */
};

/** Layer number index (below layer_count), the oldest first. MOTE_EINVAL beyond. Since: 0.1 */
MOTE_API int mote_snapshot_get_layer(const mote_snapshot *snapshot, uint32_t index,
				     struct mote_layer *layer);

/** Copy len bytes of the snapshot's memory at guest virtual address gva, as a sandbox that starts
 * from it would find them. buffer is written only on success. Errors: MOTE_EADDR: not mapped, or to
 * what each sandbox has for itself and no snapshot (buffers, page tables, a stock guest's scratch;
 * the library's own pages); fault_gva is the first bad byte. MOTE_EINVAL. Any thread. Since: 0.1 */
MOTE_API MOTE_MUST_USE int mote_snapshot_read(const mote_snapshot *snapshot, uint64_t gva,
					      void *buffer, size_t len, struct mote_error *err);

/** Where the page at a guest virtual address is stored. */
struct mote_location {
	uint64_t gpa;    /* of the page, in a layer; 0: nowhere, sandboxes make a page of zeroes */
	uint32_t layer;  /* number of the layer; MOTE_NO_LAYER where gpa is 0 */
	uint8_t access;  /* enum mote_access; what is writable is copied, layers never change */
	uint8_t is_zero; /* 1: reads as zeroes and is not stored, or once for all such pages */
	uint8_t reserved[2];
};
#define MOTE_NO_LAYER 0xFFFFFFFFu

/** Find the page that has guest virtual address gva: where mote_snapshot_read() reads it. Of a page
 * that every sandbox has in a frame of its own from the start, it is the one that fills the frame.
 * MOTE_EADDR as there. Any thread. Since: 0.1 */
MOTE_API int mote_snapshot_locate(const mote_snapshot *snapshot, uint64_t gva,
				  struct mote_location *location);

#define MOTE_DIGEST_BYTES 32
/** The identity of what a sandbox of this snapshot starts from: SHA-256 over mappings, memory,
 * registers and layout, independent of layers (docs/architecture.md). Computed when first asked.
 * Cost: one pass over the memory. Any thread. MOTE_ENOMEM, MOTE_ESNAPSHOT (too many mappings).
 * Since: 0.1 */
MOTE_API MOTE_MUST_USE int mote_snapshot_digest(mote_snapshot *snapshot,
						uint8_t digest[MOTE_DIGEST_BYTES],
						struct mote_error *err);

/** A value that the caller attaches to a snapshot: JSON text under a name of the caller's. */
struct mote_metadata {
	const char *name; /* NUL-terminated UTF-8, 1 to 255 bytes, such as "com.example.build" */
	const char *json; /* NUL-terminated JSON (RFC 8259), at most 64 KiB */
};
#define MOTE_MAX_METADATA 16

/** Metadata number index (below metadata_count); its strings live as long as the snapshot.
 * MOTE_EINVAL beyond. Since: 0.1 */
MOTE_API int mote_snapshot_get_metadata(const mote_snapshot *snapshot, uint32_t index,
					struct mote_metadata *metadata);

/** The same snapshot in one layer: what was hidden by later layers is gone, also for a guest that
 * controls its page tables. Metadata are kept; the digest is the same. Any thread.
 * Cost: a copy of the memory. MOTE_ENOMEM, MOTE_ESYSTEM, MOTE_ESNAPSHOT (a bound). Since: 0.1 */
MOTE_API MOTE_MUST_USE int mote_snapshot_flatten(mote_snapshot *snapshot, mote_snapshot **flat,
						 struct mote_error *err);

#define MOTE_MAX_PARAMETERS 32

/** A function that a guest exports or imports. */
struct mote_function {
	const char *name; /* lives as long as the snapshot */
	uint32_t result;  /* enum mote_type */
	uint32_t parameter_count;
	uint8_t parameters[MOTE_MAX_PARAMETERS]; /* enum mote_type */
};

/** Exported function number index (below export_count); MOTE_EINVAL beyond. Guests that were not
 * built with mote's SDK do not tell. Since: 0.1 */
MOTE_API int mote_snapshot_get_export(const mote_snapshot *snapshot, uint32_t index,
				      struct mote_function *function);
/** Imported (host) function number index (below import_count); MOTE_EINVAL beyond. Since: 0.1 */
MOTE_API int mote_snapshot_get_import(const mote_snapshot *snapshot, uint32_t index,
				      struct mote_function *function);
/** The function symbol that contains gva: writes "name+0x12" to text, cut to text_bytes with its
 * NUL. MOTE_EADDR where there is none, MOTE_EINVAL without room. Since: 0.1 */
MOTE_API int mote_snapshot_symbolize(const mote_snapshot *snapshot, uint64_t gva, char *text,
				     size_t text_bytes);

/* ---- Values --------------------------------------------------------------------------------- */

static inline struct mote_value mote_void(void)
{
	struct mote_value value = {0, 0, {0}};
	return value;
}

#define MOTE_VALUE_OF_(constructor, type_, tag, member)      \
	static inline struct mote_value constructor(type_ x) \
	{                                                    \
		struct mote_value value = {tag, 0, {0}};     \
		value.member = x;                            \
		return value;                                \
	}
MOTE_VALUE_OF_(mote_i32, int32_t, MOTE_I32, i32)
MOTE_VALUE_OF_(mote_u32, uint32_t, MOTE_U32, u32)
MOTE_VALUE_OF_(mote_i64, int64_t, MOTE_I64, i64)
MOTE_VALUE_OF_(mote_u64, uint64_t, MOTE_U64, u64)
MOTE_VALUE_OF_(mote_f32, float, MOTE_F32, f32)
MOTE_VALUE_OF_(mote_f64, double, MOTE_F64, f64)
#undef MOTE_VALUE_OF_

static inline struct mote_value mote_bool(int x)
{
	struct mote_value value = {MOTE_BOOL, 0, {0}};
	value.boolean = x != 0;
	return value;
}

/** len bytes of UTF-8 at data, borrowed. */
static inline struct mote_value mote_string_of(const char *data, size_t len)
{
	struct mote_value value = {MOTE_STRING, 0, {0}};
	value.string.data = data;
	value.string.len = len;
	return value;
}

/** A NUL-terminated string, borrowed. */
static inline struct mote_value mote_string(const char *text)
{
	return mote_string_of(text, __builtin_strlen(text));
}

/** len bytes at data, borrowed. */
static inline struct mote_value mote_bytes(const void *data, size_t len)
{
	struct mote_value value = {MOTE_BYTES, 0, {0}};
	value.bytes.data = data;
	value.bytes.len = len;
	return value;
}

/** The name of a type, such as "i32". Static; "unknown" for other numbers. Since: 0.1 */
MOTE_API const char *mote_type_name(uint32_t type);
/** Copy value with what it borrows; free the copy with mote_value_free(). MOTE_ENOMEM. Since: 0.1
 */
MOTE_API MOTE_MUST_USE int mote_value_copy(const struct mote_value *value, struct mote_value *copy,
					   struct mote_error *err);
/** Free what mote_value_copy() allocated and make value void. Since: 0.1 */
MOTE_API void mote_value_free(struct mote_value *value);

/* ---- Host ----------------------------------------------------------------------------------- */

typedef struct mote_host mote_host;
typedef struct mote_reply mote_reply;

/**
 * A host function. Runs on the thread that called the guest, while the guest waits.
 *
 * arguments: as many as were declared, of the declared types, checked; borrowed until it returns.
 * Answers through exactly one mote_reply_ function (none: a zero or empty value of the declared
 * type) and returns 0. Returns non-zero to fail: the guest gets the text of mote_reply_error(), or
 * one that names the number. It may use other sandboxes; calling its own is refused.
 */
typedef int (*mote_host_callback)(void *cookie, const struct mote_value *arguments,
				  mote_reply *reply);

struct mote_host_function {
	size_t size;
	const char *name;
	mote_host_callback callback;
	void *cookie;
	void (*destroy_cookie)(void *cookie); /* may be NULL; called when the host goes, or when
					       * another function of that name comes */
	uint32_t result;                      /* enum mote_type */
	uint32_t parameter_count;             /* at most MOTE_MAX_PARAMETERS */
	const uint32_t *parameters;           /* enum mote_type each */
};

/**
 * A host without functions but HostPrint(string) -> i32, which writes the text to standard output
 * (to a terminal: in green) and returns its length in bytes; mote_host_on_print() puts another sink
 * there. Log records go nowhere until mote_host_on_log(). Since: 0.1
 */
MOTE_API MOTE_MUST_USE int mote_host_create(mote_host **host, struct mote_error *err);
/** One more owner; returns host. Any thread. Since: 0.1 */
MOTE_API mote_host *mote_host_ref(mote_host *host);
/** One owner less. Sandboxes hold a reference. Since: 0.1 */
MOTE_API void mote_host_unref(mote_host *host);

/** Add a function, or replace the one of that name. Errors: MOTE_EINVAL (name empty, too long or
 * not UTF-8, a type or count out of range), MOTE_ESTATE (frozen: a sandbox was made with this
 * host), MOTE_ENOMEM. Not thread-safe before the host is frozen. Since: 0.1 */
MOTE_API MOTE_MUST_USE int mote_host_add(mote_host *host, const struct mote_host_function *function,
					 struct mote_error *err);

/** Gets what guests print: len bytes of UTF-8 at text, not NUL-terminated. Returns 0, or non-zero
 * to fail the guest's HostPrint. user_data is that of the sandbox. */
typedef int (*mote_print_callback)(void *cookie, void *user_data, const char *text, size_t len);
/** Send prints of guests (HostPrint and debug characters) to callback; NULL: to standard output.
 * MOTE_ESTATE when frozen. Since: 0.1 */
MOTE_API MOTE_MUST_USE int mote_host_on_print(mote_host *host, mote_print_callback callback,
					      void *cookie, struct mote_error *err);

/** A log record of a guest. Everything in it is the guest's word; strings are borrowed. */
struct mote_log_record {
	uint32_t level; /* enum mote_log_level */
	uint32_t line;
	struct mote_string message, module, caller, file;
};
typedef void (*mote_log_callback)(void *cookie, void *user_data,
				  const struct mote_log_record *record);
/** Send log records of guests to callback; NULL: nowhere. MOTE_ESTATE when frozen. Since: 0.1 */
MOTE_API MOTE_MUST_USE int mote_host_on_log(mote_host *host, mote_log_callback callback,
					    void *cookie, struct mote_error *err);

/** Answer with value, which is copied. Errors: MOTE_ETYPE: not of the declared type; MOTE_EINVAL: a
 * string is not UTF-8; MOTE_ETOOBIG: does not fit the guest's input buffer. Each fails the guest's
 * call. The functions below do the same with a value of their type. Since: 0.1 */
MOTE_API int mote_reply_value(mote_reply *reply, const struct mote_value *value);
MOTE_API int mote_reply_i32(mote_reply *reply, int32_t x);
MOTE_API int mote_reply_u32(mote_reply *reply, uint32_t x);
MOTE_API int mote_reply_i64(mote_reply *reply, int64_t x);
MOTE_API int mote_reply_u64(mote_reply *reply, uint64_t x);
MOTE_API int mote_reply_f32(mote_reply *reply, float x);
MOTE_API int mote_reply_f64(mote_reply *reply, double x);
MOTE_API int mote_reply_bool(mote_reply *reply, int x);
/** len bytes of UTF-8 at text. Since: 0.1 */
MOTE_API int mote_reply_string(mote_reply *reply, const char *text, size_t len);
MOTE_API int mote_reply_bytes(mote_reply *reply, const void *data, size_t len);
/** Fail the call with a text for the guest; returns non-zero, to be returned. Since: 0.1 */
MOTE_API int mote_reply_error(mote_reply *reply, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/** user_data of the sandbox that called. Since: 0.1 */
MOTE_API void *mote_reply_user_data(const mote_reply *reply);

/* ---- Sandbox -------------------------------------------------------------------------------- */

typedef struct mote_sandbox mote_sandbox;

struct mote_sandbox_options {
	size_t size;
	/* Most private guest memory, bytes, rounded up to pages, beside that of the write set.
	 * Default: heap, stack and MOTE_DEFAULT_MEMORY_BYTES for the image's data; stock guests:
	 * scratch. */
	uint64_t memory_max;
	uint32_t log_level; /* enum mote_log_level, most the guest sends; default MOTE_LOG_ERROR;
			     * MOTE_LOG_SILENT for none */
	uint8_t strict; /* 1: every restore is strict (struct mote_restore_options), and what other
			 * sandboxes wrote has no effect on this one (write_set_max) */
	uint8_t reserved[3];
	void *user_data;                /* passed to host functions and sinks */
	const struct mote_fresh *fresh; /* for deterministic runs; NULL: new and random */
};

/** What makes a start different from every other one; a confined guest finds it in its run info,
 * and a guest that initialises itself is seeded with it. */
struct mote_fresh {
	uint64_t generation;
	uint8_t random[32];
};
#define MOTE_LOG_SILENT           0xFFu
#define MOTE_DEFAULT_MEMORY_BYTES 0x4000000u

/**
 * Make a virtual machine that runs from snapshot with host, which is frozen by this. From an image
 * the sandbox is new: the guest has not run yet. From a snapshot of a ready sandbox it is a fork of
 * that, and ready; host must have all functions, with the same types, that were there when the
 * snapshot was taken. A shell from the engine's pool is used where there is one.
 * Errors: MOTE_EINVAL (memory_max: the message has the least), MOTE_EIMPORT (the message lists what
 * host lacks), MOTE_ENOKVM (a 32-bit guest, and this KVM has paging in 64-bit mode only),
 * MOTE_ENOMEM, MOTE_ESYSTEM.
 * Any thread. Since: 0.1
 */
MOTE_API MOTE_MUST_USE int mote_sandbox_create(mote_engine *engine, mote_snapshot *snapshot,
					       mote_host *host,
					       const struct mote_sandbox_options *options,
					       mote_sandbox **sandbox, struct mote_error *err);
/** Destroy; NULL is allowed. Its virtual machine is wiped and goes to the engine's pool, with the
 * snapshot it has in place, while that has room. In state running (called by a host function of
 * this sandbox) it does nothing. Since: 0.1 */
MOTE_API void mote_sandbox_destroy(mote_sandbox *sandbox);

/** Let the guest initialise itself now, where the first call would. timeout_ns: 0 for none.
 * States: new; ready (does nothing). Errors: as mote_sandbox_call(). Since: 0.1 */
MOTE_API MOTE_MUST_USE int mote_sandbox_start(mote_sandbox *sandbox, uint64_t timeout_ns,
					      struct mote_error *err);

struct mote_call {
	size_t size;
	const char *function; /* NUL-terminated name */
	const struct mote_value *arguments;
	uint32_t argument_count; /* at most MOTE_MAX_PARAMETERS */
	uint32_t result;         /* enum mote_type that the caller expects */
	uint64_t timeout_ns;     /* cancels the call after that long; 0: never */
};

/**
 * Call a guest function.
 *
 * result: the value; strings and bytes in it are borrowed until the next operation on sandbox. May
 *         be NULL.
 * States: ready, new (the guest initialises itself first).
 * Errors: MOTE_EGUEST   the function returned an error (guest_code and its text); not poisoned
 *         MOTE_EABORT   the guest aborted or faulted; poisoned
 *         MOTE_EPROTOCOL bad message (poisoned says whether), port or exit (poisoned)
 *         MOTE_ECANCELED timeout or interrupt; poisoned
 *         MOTE_ETOOBIG  the arguments do not fit the input buffer; the guest did not run
 *         MOTE_ETYPE    the result has another type; not poisoned
 *         MOTE_EINVAL, MOTE_ESTATE, MOTE_ENOMEM, MOTE_ESYSTEM
 * Since: 0.1
 */
MOTE_API MOTE_MUST_USE int mote_sandbox_call(mote_sandbox *sandbox, const struct mote_call *call,
					     struct mote_value *result, struct mote_error *err);

#ifndef __cplusplus
#define MOTE_ARGUMENTS_(...) ((const struct mote_value[]){{0, 0, {0}}, __VA_ARGS__} + 1)
#define MOTE_ARGUMENT_COUNT_(...)                                                   \
	((uint32_t)(sizeof((const struct mote_value[]){{0, 0, {0}}, __VA_ARGS__}) / \
			    sizeof(struct mote_value) -                             \
		    1))
/** mote_sandbox_call() in a line: MOTE_CALL(sandbox, "add", &sum, &err, MOTE_I32, mote_i32(2),
 * mote_i32(3)). Waits without a timeout. */
#define MOTE_CALL(sandbox, name, result_, err, result_type, ...)                                  \
	mote_sandbox_call((sandbox),                                                              \
			  &(const struct mote_call){                                              \
				  sizeof(struct mote_call), (name), MOTE_ARGUMENTS_(__VA_ARGS__), \
				  MOTE_ARGUMENT_COUNT_(__VA_ARGS__), (result_type), 0},           \
			  (result_), (err))
/** mote_host_add() in a line: MOTE_HOST_ADD(host, "upper", upper, cookie, &err, MOTE_STRING,
 * MOTE_STRING): result, then parameters. */
#define MOTE_HOST_ADD(host, name_, callback_, cookie_, err, result_, ...)                          \
	mote_host_add(                                                                             \
		(host),                                                                            \
		&(const struct mote_host_function){                                                \
			sizeof(struct mote_host_function), (name_), (callback_), (cookie_), NULL,  \
			(result_),                                                                 \
			(uint32_t)(sizeof((const uint32_t[]){0, __VA_ARGS__}) / sizeof(uint32_t) - \
				   1),                                                             \
			(const uint32_t[]){0, __VA_ARGS__} + 1},                                   \
		(err))
#endif

enum mote_state {
	MOTE_STATE_NEW = 0,      /* made, not initialised */
	MOTE_STATE_READY = 1,    /* can be called */
	MOTE_STATE_RUNNING = 2,  /* in a call: seen by host functions */
	MOTE_STATE_POISONED = 3, /* can be restored, read and destroyed */
	MOTE_STATE_BROKEN = 4,   /* a restore or a write failed half way; can be destroyed */
};

/** The state: enum mote_state. Since: 0.1 */
MOTE_API uint32_t mote_sandbox_state(const mote_sandbox *sandbox);
/** The name of a state, such as "ready". Static. Since: 0.1 */
MOTE_API const char *mote_state_name(uint32_t state);
/** user_data of the options. Since: 0.1 */
MOTE_API void *mote_sandbox_user_data(const mote_sandbox *sandbox);

/** Copy len bytes out of the guest at virtual address gva, through the page tables that it started
 * with, whatever it loaded into CR3 since: those of the image, or of a taken snapshot's first root
 * (mote_find_roots). A stock guest's other address spaces are not reached. buffer is written only
 * on success. States: all but running and broken. MOTE_EADDR: not mapped; fault_gva is the first
 * bad byte. MOTE_EINVAL: more than 4 GiB. Since: 0.1 */
MOTE_API MOTE_MUST_USE int mote_sandbox_read(mote_sandbox *sandbox, uint64_t gva, void *buffer,
					     size_t len, struct mote_error *err);
/** Copy len bytes into the guest. Pages must be writable in the guest's tables, or copy-on-write,
 * or zero on demand (they become the sandbox's own; a large copy-on-write page of a stock guest
 * comes apart for that); the library's own pages are not the guest's. Nothing is written unless all
 * can be; a stock guest that has mapped its own page tables into the range may see part of it.
 * States: new, ready. MOTE_EADDR and MOTE_EINVAL as above; MOTE_ENOMEM: no frame is left. Since:
 * 0.1 */
MOTE_API MOTE_MUST_USE int mote_sandbox_write(mote_sandbox *sandbox, uint64_t gva, const void *data,
					      size_t len, struct mote_error *err);

/* ---- Snapshots of sandboxes ------------------------------------------------------------------ */

/**
 * Finds the roots of all address spaces of a guest that owns its page tables, when a snapshot is
 * taken: fills at most room guest physical addresses (flag bits are ignored) and returns how many
 * there are; 0 means cr3 alone, more than room fails with MOTE_EINVAL. What no listed root reaches
 * is not in the snapshot. The first one is the space that a sandbox of the snapshot starts in. It
 * may read the sandbox, and do nothing else with it.
 *
 * cr3: the root in use when the last call ended, or the first one if the guest has not run since it
 *      was made or restored.
 *
 * Page tables are built anew, so roots get other addresses; the new ones come first and in the
 * order of this list. After a restore, and in a fork, number i is i pages behind the address in the
 * ABI's word for the page tables (0x18 below the top of scratch). A root that is listed again is
 * the same one and is counted once. The guest notices by the zero flag, which is set when its first
 * call begins; tables that roots shared are still shared.
 */
typedef uint32_t (*mote_find_roots)(void *cookie, mote_sandbox *sandbox, uint64_t cr3,
				    uint64_t *roots, uint32_t room);
#define MOTE_MAX_ROOTS 256

struct mote_take_options {
	size_t size;
	const struct mote_metadata *metadata; /* copied; no name twice */
	uint32_t metadata_count;              /* at most MOTE_MAX_METADATA */
	uint32_t reserved;
	mote_find_roots find_roots; /* NULL: cr3 alone; confined guests have one space */
	void *cookie;
};

/**
 * Freeze a sandbox as a snapshot: its memory, page tables and registers. The sandbox goes on as if
 * nothing had happened. Pages that did not change since the snapshot that the sandbox runs from (or
 * the last one taken of it) are shared with that one, so a confined guest's costs as much as it
 * wrote. When nothing changed since
 * the last snapshot or restore, that snapshot is returned again (unless metadata or, of a stock
 * guest, find_roots are given).
 *
 * States: new, ready. Errors: MOTE_ESTATE, MOTE_ESNAPSHOT (the guest's page tables or the layers
 * exceed a bound: the message says which), MOTE_ENOMEM, MOTE_ESYSTEM, MOTE_EINVAL (options,
 * metadata). Since: 0.1
 */
MOTE_API MOTE_MUST_USE int mote_snapshot_take(mote_sandbox *sandbox,
					      const struct mote_take_options *options,
					      mote_snapshot **snapshot, struct mote_error *err);

struct mote_restore_options {
	size_t size;
	/* 1: reset the whole machine and trust nothing that ran in it. That is done anyway for
	 * stock guests and after a poisoned call; else a confined guest's registers are beyond its
	 * reach and what it wrote is known. */
	uint8_t strict;
	uint8_t reserved[7];
	const struct mote_fresh *fresh; /* for deterministic runs; NULL: new and random */
};

/**
 * Put sandbox to the state that snapshot has: nothing of what ran since is visible. snapshot may be
 * any that fits the same kind of guest (confined or not, 64 or 32 bits, same model-specific
 * registers): the one it runs from, a parent, a child, or an unrelated one; the sandbox runs from
 * it afterwards. Its state is new or ready, as the sandbox had that the snapshot was taken of.
 * Mappings of mote_sandbox_map() are gone.
 *
 * States: new, ready, poisoned. Cost: what was touched; another snapshot: a memory slot is
 * switched. Errors: MOTE_ESNAPSHOT, MOTE_EIMPORT, MOTE_EINVAL (options; memory_max is too small for
 * it), MOTE_ESTATE: nothing has changed. MOTE_ENOMEM, MOTE_ESYSTEM: the sandbox is broken if its
 * state says so. Since: 0.1
 */
MOTE_API MOTE_MUST_USE int mote_sandbox_restore(mote_sandbox *sandbox, mote_snapshot *snapshot,
						const struct mote_restore_options *options,
						struct mote_error *err);

/** Make shells until the engine's pool holds count that have snapshot in place. Any thread; the
 * sandboxes made from them need no new virtual machine. Errors: MOTE_EINVAL (count is more than
 * pool_max), MOTE_ENOKVM (as mote_sandbox_create()), MOTE_ENOMEM (what was made so far stays),
 * MOTE_ESYSTEM. Since: 0.1 */
MOTE_API MOTE_MUST_USE int mote_engine_fill(mote_engine *engine, mote_snapshot *snapshot,
					    uint32_t count, struct mote_error *err);
/** Destroy the shells of the engine's pool that have snapshot in place and so keep it; NULL: all.
 * Returns how many. Any thread. Since: 0.1 */
MOTE_API uint32_t mote_engine_trim(mote_engine *engine, const mote_snapshot *snapshot);

struct mote_mapping {
	size_t size;
	/* Either a file or memory of the caller's, a multiple of 4096 at a multiple of 4096.
	 * Neither is copied. Until the sandbox is restored or destroyed a file must neither change
	 * nor shrink (another may take its name), and memory must neither change nor go. */
	const char *path;
	const void *memory;
	/* Memory: its size. A file: how much of its beginning, rounded up to whole pages; 0 for all
	 * of it. What its last page has behind its end is zero. */
	uint64_t bytes;
	uint64_t gpa; /* guest physical address, a multiple of 4096. Confined guests: 0 */
	/* Confined guests: where they see it, in the space of mapping_bytes; 0: behind the others.
	 * Other guests make their own page tables. */
	uint64_t gva;
	/* MOTE_READ. Confined guests: | MOTE_WRITE for copy-on-write. Of other guests, the page
	 * tables decide: | MOTE_EXECUTE is accepted and changes nothing. */
	uint32_t access;
	uint32_t reserved;
};
#define MOTE_MAX_MAPPINGS 32

/**
 * Show a file or memory to the guest, read-only or copy-on-write; it is never written. What the
 * guest has mapped of it is copied into snapshots that are taken: those do not need it. *placed
 * (may be NULL) gets where it is: gva for confined guests, else gpa. A mapping ends with the next
 * restore or with the sandbox.
 *
 * States: new, ready. Errors: MOTE_EINVAL (an empty file, alignment, size, overlap with the
 * snapshot, scratch or another mapping, too many: the message says which), MOTE_ESTATE,
 * MOTE_ENOMEM, MOTE_ESYSTEM (opening the file). Since: 0.1
 */
MOTE_API MOTE_MUST_USE int mote_sandbox_map(mote_sandbox *sandbox,
					    const struct mote_mapping *mapping, uint64_t *placed,
					    struct mote_error *err);

/** Counted since the sandbox was made. */
struct mote_statistics {
	uint64_t vm_entries;      /* KVM_RUN, for guest code or the library's own checks */
	uint64_t vcpu_ioctls;     /* all vCPU ioctls, KVM_RUN among them */
	uint64_t exits_halt;      /* ends of initialise and of calls */
	uint64_t exits_call;      /* host function calls */
	uint64_t exits_log;       /* log records */
	uint64_t exits_print;     /* debug characters */
	uint64_t exits_abort;     /* chunks of an abort */
	uint64_t exits_exception; /* exceptions of a confined guest */
	uint64_t exits_memory;    /* more frames asked for */
	uint64_t exits_interrupted;
	uint64_t exits_other;         /* MMIO, unknown ports, shutdown, ... */
	uint64_t calls;               /* calls that the guest ended */
	uint64_t bytes_in, bytes_out; /* messages copied to and from the guest */
	uint64_t frames_used;         /* now: private frames, the write set's among them */
	uint64_t frames_max;          /* now: most by memory_max, learned pages beside */
	uint64_t restores;            /* in place, trusting the library's own ring 0 */
	uint64_t restores_strict;     /* that reset the whole machine */
	uint64_t switches;            /* to another snapshot */
	uint64_t restore_pages;       /* write set: pages refilled by restores */
	uint64_t restore_drops;       /* pages beyond it, dropped by restores */
};

/** Copy the counters. size: sizeof *statistics. Since: 0.1 */
MOTE_API void mote_sandbox_get_statistics(const mote_sandbox *sandbox,
					  struct mote_statistics *statistics, size_t size);

/* ---- Stores ---------------------------------------------------------------------------------- */

/*
 * A store is a directory that is an OCI image layout (OCI Image Format Specification 1.0, "Image
 * Layout"): a snapshot is a manifest, its layers are blobs that snapshots share, and every tool
 * that copies images between directories and registries copies snapshots. docs/snapshot-format.md
 * has the format, docs/stores.md a tour.
 *
 * A reference is a tag ([A-Za-z0-9_][A-Za-z0-9._-]{0,127}) or the digest of a manifest ("sha256:"
 * and 64 hexadecimal digits). All that a store holds is hostile until it is verified.
 *
 * A store may be used by any number of threads and processes at once. A writer that dies leaves
 * what was there or what it wrote, nothing between; mote_store_collect() removes its rests.
 */

#define MOTE_REFERENCE_BYTES 72  /* of a digest as text, with its NUL */
#define MOTE_MAX_TAG_BYTES   128 /* of a tag, without its NUL */

/** Told how far long work has come: done of total bytes. Returns 0, or non-zero to end it with
 * MOTE_ECANCELED: then the store lists what it listed, and blobs that were written already wait for
 * mote_store_collect(). Called for each 256 KiB or so. */
typedef int (*mote_progress_callback)(void *cookie, uint64_t done, uint64_t total);

struct mote_save_options {
	size_t size;
	const char *tag; /* moves to this snapshot if the store has it; NULL: none */
	mote_progress_callback progress;
	void *cookie;
};

/** What a save did. */
struct mote_saved {
	char digest[MOTE_REFERENCE_BYTES]; /* of the manifest: a reference */
	uint64_t bytes;                    /* of all blobs of the snapshot */
	uint64_t bytes_written;            /* of those that the store had not */
	uint32_t blobs, blobs_written;
};

/**
 * Write snapshot to the store in directory, which is made if it does not exist. Layers that the
 * store has are not written again, and not read either: after a first save, one of a snapshot that
 * shares them costs what it adds. When this returns, all is on the disk (fsync(2)). The write set
 * is saved with it, so that a process that loads it starts warm; symbols and metadata are, too.
 *
 * saved: may be NULL.
 * Errors: MOTE_EINVAL (a tag), MOTE_ESTORE (directory holds something else, or a damaged index;
 * nothing changed), MOTE_ESNAPSHOT (a guest in ring 0 left a register as no load accepts it: the
 * message names it), MOTE_ETOOBIG (beyond a limit of the format: the message names it),
 * MOTE_ECANCELED, MOTE_ENOMEM, MOTE_ESYSTEM, MOTE_ESTATE. Any thread. Since: 0.1
 */
MOTE_API MOTE_MUST_USE int mote_snapshot_save(mote_snapshot *snapshot, const char *directory,
					      const struct mote_save_options *options,
					      struct mote_saved *saved, struct mote_error *err);

/** A line of text that a load wants somebody to see: of features of the processor that are missing
 * here. Returns 0 to go on, or non-zero to end the load with MOTE_EPROCESSOR and this text. */
typedef int (*mote_warning_callback)(void *cookie, const char *text);

struct mote_load_options {
	size_t size;
	/* 1: memory is mapped from the store's files as it is, neither hashed nor copied, which
	 * takes the same time for any size. Only for a store whose directories and blobs belong to
	 * this user or to root and are writable by nobody else, else MOTE_ESTORE. Blobs must not
	 * change while the snapshot exists: one that shrinks ends the process with SIGBUS.
	 * Everything but memory is verified all the same. */
	uint8_t trust_memory_without_verifying;
	/* 1: do not warn of a snapshot whose guest may have seen a processor with more features. */
	uint8_t accept_processor;
	uint8_t reserved[2];
	/* Stock guests: model-specific registers that the snapshot's guest may have been given
	 * (mote_snapshot_options); one that wants another is refused. */
	uint32_t msr_count;
	const uint32_t *msrs;
	/* Most bytes of all blobs; default MOTE_DEFAULT_LOAD_BYTES. */
	uint64_t bytes_max;
	/* Snapshots that are there already: layers of theirs that this one has, too (they were
	 * loaded, or saved, so their digests are known) are shared, not read. One that was mapped
	 * with trust_memory_without_verifying is shared only by a load that says so, too. */
	mote_snapshot *const *share;
	uint32_t share_count;
	uint32_t reserved2;
	mote_warning_callback warn; /* NULL: warnings go nowhere */
	mote_progress_callback progress;
	void *cookie; /* of both */
};
#define MOTE_DEFAULT_LOAD_BYTES 0x100000000ull

/**
 * Load a snapshot from the store in directory. Every blob is hashed while it is copied into sealed
 * memory (but see trust_memory_without_verifying), every number checked, page tables are built anew
 * from a list of mappings; a confined guest is confined by the same rules as an image's. The store
 * is only read.
 *
 * reference: a tag or a digest; NULL: "latest".
 * Errors: MOTE_ENOTFOUND (no store, no such tag or digest), MOTE_ESTORE (the message says what is
 * wrong and where), MOTE_ETOOBIG (bytes_max, a limit), MOTE_EPROCESSOR (the image wants a level of
 * x86-64 that guests do not get here: the message names it; or warn ended the load), MOTE_EINVAL,
 * MOTE_ECANCELED, MOTE_ENOMEM, MOTE_ESYSTEM. Any thread. Since: 0.1
 */
MOTE_API MOTE_MUST_USE int mote_snapshot_load(const char *directory, const char *reference,
					      const struct mote_load_options *options,
					      mote_snapshot **snapshot, struct mote_error *err);

/** Make an empty store in directory, which is made if it does not exist (the directories above it
 * must); a store that is there stays as it is. Saving does this by itself. Errors: MOTE_ESTORE
 * (directory holds something else), MOTE_EINVAL, MOTE_ENOMEM, MOTE_ESYSTEM. Any thread. Since: 0.1
 */
MOTE_API MOTE_MUST_USE int mote_store_create(const char *directory, struct mote_error *err);

/** What a store lists; strings are borrowed until the callback returns. */
struct mote_store_entry {
	const char *tag;     /* NULL: none */
	const char *digest;  /* of the manifest */
	uint64_t bytes;      /* of all blobs; 0 where the manifest cannot be read */
	uint32_t blobs;      /* 0 likewise */
	uint8_t is_snapshot; /* 0: something else that keeps to the layout, left alone. 1 also where
			      * the manifest cannot be read and nothing else says what it is */
	uint8_t reserved[3];
};
/** Called for each entry; a return that is not 0 ends the listing, which then returns MOTE_OK. It
 * may use the store, but not collect it, which would wait for the listing. */
typedef int (*mote_store_callback)(void *cookie, const struct mote_store_entry *entry);

/** List what the store in directory has. Errors: MOTE_ENOTFOUND (no store there), MOTE_ESTORE,
 * MOTE_EINVAL, MOTE_ENOMEM, MOTE_ESYSTEM. Any thread. Since: 0.1 */
MOTE_API MOTE_MUST_USE int mote_store_list(const char *directory, mote_store_callback callback,
					   void *cookie, struct mote_error *err);

/** Read all that the snapshot reference (NULL: every one) consists of, hash it, and check all that
 * a load would, but for what is the loader's: processor, bytes_max and msrs. Changes nothing.
 * Errors as mote_snapshot_load(): of the first damage. *bytes (may be NULL) gets how many were
 * read. Any thread. Since: 0.1 */
MOTE_API MOTE_MUST_USE int mote_store_verify(const char *directory, const char *reference,
					     mote_progress_callback progress, void *cookie,
					     uint64_t *bytes, struct mote_error *err);

/** Give the snapshot reference a tag, in place of what had it. A digest that the store has without
 * listing it (another program brought the blobs) is verified and listed; tag may then be NULL.
 * Errors as mote_store_verify(). Any thread. Since: 0.1 */
MOTE_API MOTE_MUST_USE int mote_store_tag(const char *directory, const char *reference,
					  const char *tag, struct mote_error *err);

/** Take a reference out of the list: a tag, or a digest with all its tags. Its blobs stay until
 * mote_store_collect(). Errors: MOTE_ENOTFOUND, MOTE_ESTORE, MOTE_EINVAL, MOTE_ENOMEM,
 * MOTE_ESYSTEM. Any thread. Since: 0.1 */
MOTE_API MOTE_MUST_USE int mote_store_remove(const char *directory, const char *reference,
					     struct mote_error *err);

/** What a collection removed. */
struct mote_store_collected {
	uint64_t bytes, kept_bytes;
	uint32_t blobs, kept_blobs;
	uint32_t rests; /* of writers that died */
	uint32_t reserved;
};
/** Remove blobs that nothing in the list needs, and rests of writers that died. Waits until nobody
 * writes to the store or loads from it. Removes nothing when the list or a manifest in it cannot be
 * read. Errors as mote_store_list(). *collected may be NULL. Any thread. Since: 0.1 */
MOTE_API MOTE_MUST_USE int mote_store_collect(const char *directory,
					      struct mote_store_collected *collected,
					      struct mote_error *err);

/* ---- Interrupt ------------------------------------------------------------------------------ */

/** Ends a running call from another thread; may outlive its sandbox. */
typedef struct mote_interrupt mote_interrupt;

/** The interrupt object of sandbox, one more reference of it. Like all that is done with a sandbox,
 * by the thread that uses it: before the call, or in a host function. Never NULL. Since: 0.1 */
MOTE_API MOTE_MUST_USE mote_interrupt *mote_sandbox_interrupt(mote_sandbox *sandbox);
/**
 * End the call that runs now. Returns 1 when guest code was running and was signalled, else 0: no
 * call, or the sandbox is gone (no effect, not on a later call either), or a host function runs
 * (the guest is cancelled when it returns). A guest that ends at the same moment wins. Any thread,
 * any time; not from a signal handler. Since: 0.1
 */
MOTE_API int mote_interrupt_send(mote_interrupt *interrupt);
/** One owner less. Since: 0.1 */
MOTE_API void mote_interrupt_unref(mote_interrupt *interrupt);

#ifdef __cplusplus
}
#endif

#endif /* MOTE_H */
