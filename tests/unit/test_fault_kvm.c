/* SPDX-License-Identifier: MIT */
/* Fault injection on a real KVM: opening it, making sandboxes, and calls of guests that answer 42.
 * Some failures are made up for there: a capability less, a clock that is not known. */
#define _GNU_SOURCE
#include "check.h"
#include "core/message.h"
#include "fault_trial.h"
#include "kvm/hypervisor.h"
#include "tiny_guest.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static mote_engine *engine;
static mote_snapshot *snapshot;
static mote_host *host;
static mote_sandbox *sandbox;

#define OK(call)                                                                         \
	do {                                                                             \
		struct mote_error err_;                                                  \
		struct mote_error *err = &err_;                                          \
		if ((call) != MOTE_OK)                                                   \
			check_failed(__FILE__, __LINE__, "%s: %s", #call, err_.message); \
	} while (0)

static void require_kvm(void)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		check_skip("cannot open /dev/kvm: %s", strerror(errno));
	close(fd);
}

/* The output buffer with the result, as it is copied: stack pointer, message, back-pointer. */
static uint8_t prepare_answer(uint8_t *data)
{
	const struct mote_value value = mote_i32(42);
	const uint64_t first = 8;
	int64_t len = mote__message_encode_result(data + 8, 160 - 16, &value);
	CHECK(len > 0);
	uint64_t pointer = (uint64_t)len + 16;
	memcpy(data, &pointer, 8);
	memcpy(data + 8 + len, &first, 8);
	return (uint8_t)pointer;
}

static void make_confined(void)
{
	const struct tiny_image image = tiny_guest(&(struct tiny_options){.is_confined = true});
	uint8_t bytes = prepare_answer(image.data);
	const uint8_t output = offsetof(struct mote_abi_run_info, output);
	_Static_assert(offsetof(struct mote_abi_run_info, output) < 256, "");
	static const uint8_t initialise[] = {0xE7, 0x6C}; /* out %eax,$108 */
	const uint8_t dispatch[] = {
		0x49, 0x8B,  0xB8, output, 0x00, 0x00, 0x00, /* mov output(%r8),%rdi */
		0xBE, 0x80,  0x30, 0x00,   0x00,             /* mov $TINY_DATA_GVA+0x80,%esi */
		0xB9, bytes, 0x00, 0x00,   0x00,             /* mov $bytes,%ecx */
		0xF3, 0xA4,                                  /* rep movsb */
		0xE7, 0x6C,                                  /* out %eax,$108 */
	};
	CHECK(TINY_DATA_GVA + 0x80 == 0x3080);
	memcpy(image.code + (TINY_RING3_GVA - TINY_CODE_GVA), initialise, sizeof initialise);
	memcpy(image.code + (TINY_DISPATCH_GVA - TINY_CODE_GVA), dispatch, sizeof dispatch);
	OK(mote_snapshot_from_memory(image.bytes, image.len, NULL, &snapshot, err));
}

static void make_stock(void)
{
	const struct tiny_image image = tiny_guest(&(struct tiny_options){0});
	uint8_t bytes = prepare_answer(image.data);
	static const uint8_t initialise[] = {
		0xB8, 0x20, 0x20, 0x00, 0x00, /* mov $TINY_DISPATCH_GVA,%eax */
		0x48, 0x83, 0xEC, 0x08,       /* sub $8,%rsp */
		0xE7, 0x6C,                   /* out %eax,$108 */
	};
	const uint8_t dispatch[] = {
		0x48, 0xC7,  0xC7, 0x00, 0xB0, 0xFB, 0xFF, /* mov $0xFFFFFFFFFFFBB000,%rdi */
		0xBE, 0x80,  0x30, 0x00, 0x00,             /* mov $TINY_DATA_GVA+0x80,%esi */
		0xB9, bytes, 0x00, 0x00, 0x00,             /* mov $bytes,%ecx */
		0xF3, 0xA4,                                /* rep movsb */
		0xE7, 0x6C,                                /* out %eax,$108 */
	};
	CHECK(TINY_DISPATCH_GVA == 0x2020);
	memcpy(image.code + (TINY_ENTRY_GVA - TINY_CODE_GVA), initialise, sizeof initialise);
	memcpy(image.code + (TINY_DISPATCH_GVA - TINY_CODE_GVA), dispatch, sizeof dispatch);
	OK(mote_snapshot_from_memory(image.bytes, image.len, NULL, &snapshot, err));
}

static void make_world(bool is_confined, uint32_t pool_max)
{
	const struct mote_engine_options options = {.size = sizeof options, .pool_max = pool_max};
	require_kvm();
	OK(mote_engine_create(&options, &engine, err));
	OK(mote_host_create(&host, err));
	if (is_confined)
		make_confined();
	else
		make_stock();
}

static void free_world(void)
{
	mote_host_unref(host);
	mote_snapshot_unref(snapshot);
	mote_engine_unref(engine);
}

static int call_it(struct mote_error *err)
{
	const struct mote_call call = {.size = sizeof call,
				       .function = "f",
				       .result = MOTE_I32,
				       .timeout_ns = 10000000000};
	struct mote_value result;
	int rc = mote_sandbox_call(sandbox, &call, &result, err);
	CHECK(rc < 0 || result.i32 == 42);
	return rc;
}

static int create_it(struct mote_error *err)
{
	int rc = mote_sandbox_create(engine, snapshot, host, NULL, &sandbox, err);
	CHECK((rc == MOTE_OK) == (sandbox != NULL));
	return rc;
}

static void prepare_new(void)
{
	OK(create_it(err));
}

static void prepare_ready(void)
{
	OK(create_it(err));
	OK(mote_sandbox_start(sandbox, 0, err));
}

/* What is left works, or is poisoned. */
static void finish(int rc)
{
	if (sandbox) {
		bool is_poisoned = mote_sandbox_state(sandbox) == MOTE_STATE_POISONED;
		CHECK(rc < 0 || !is_poisoned);
		CHECK_EQ(call_it(NULL), is_poisoned ? MOTE_ESTATE : MOTE_OK);
	}
	mote_sandbox_destroy(sandbox);
	sandbox = NULL;
}

static void prepare_used(void)
{
	prepare_ready();
	OK(call_it(err));
}

static int restore_it(struct mote_error *err)
{
	return mote_sandbox_restore(sandbox, snapshot, NULL, err);
}

static int restore_strictly(struct mote_error *err)
{
	const struct mote_restore_options options = {.size = sizeof options, .strict = 1};
	return mote_sandbox_restore(sandbox, snapshot, &options, err);
}

/* What is left works, or is broken and good for nothing. */
static void finish_restore(int rc)
{
	bool is_broken = mote_sandbox_state(sandbox) == MOTE_STATE_BROKEN;
	CHECK(rc < 0 || !is_broken);
	CHECK_EQ(call_it(NULL), is_broken ? MOTE_ESTATE : MOTE_OK);
	mote_sandbox_destroy(sandbox);
	sandbox = NULL;
}

static mote_engine *made;

static int open_it(struct mote_error *err)
{
	int rc = mote_engine_create(NULL, &made, err);
	CHECK((rc == MOTE_OK) == (made != NULL));
	return rc;
}

static void close_it(int rc)
{
	CHECK(rc == MOTE_OK || rc == MOTE_ENOKVM || rc == MOTE_ENOMEM || rc == MOTE_ESYSTEM);
	mote_engine_unref(made);
	made = NULL;
}

static int probe_it(struct mote_error *err)
{
	struct mote_engine_info info;
	return mote_probe(NULL, &info, err);
}

TEST(fault_kvm__engines)
{
	const struct trial open = {"engine", NULL, open_it, close_it, true};
	const struct trial probe = {"probe", NULL, probe_it, NULL, true};
	require_kvm();
	CHECK(try_all(&open) > 15);
	CHECK(try_all(&probe) > 15);
}

/* An engine's first confined sandbox finds something out for all: here that was done before. */
static void check_use(bool is_confined)
{
	const struct trial create = {"create", NULL, create_it, finish, true};
	const struct trial first = {"first call", prepare_new, call_it, finish, true};
	const struct trial call = {"call", prepare_ready, call_it, finish, true};
	make_world(is_confined, MOTE_POOL_NONE);
	prepare_ready();
	finish(MOTE_OK);
	CHECK(try_all(&create) > 10);
	CHECK(try_all(&first) > 4);
	CHECK(try_all(&call) >= 3);
	free_world();
}

TEST(fault_kvm__confined_guests)
{
	check_use(true);
}

TEST(fault_kvm__stock_guests)
{
	check_use(false);
}

static void check_restore(bool is_confined)
{
	const struct trial restore = {"restore", prepare_used, restore_it, finish_restore, true};
	const struct trial strict = {"strict restore", prepare_used, restore_strictly,
				     finish_restore, true};
	make_world(is_confined, MOTE_POOL_NONE);
	prepare_ready();
	finish(MOTE_OK);
	/* Of a confined guest that ended well it may ask the kernel for nothing. */
	unsigned calls = try_all(&restore);
	CHECK(is_confined || calls >= 7);
	CHECK(try_all(&strict) >= 7);
	free_world();
}

TEST(fault_kvm__restores_of_confined_guests)
{
	check_restore(true);
}

TEST(fault_kvm__restores_of_stock_guests)
{
	check_restore(false);
}

/* The machine of the sandbox before serves the next one. */
static void check_reuse(bool is_confined)
{
	const struct trial create = {"create from the pool", NULL, create_it, finish, true};
	const struct trial call = {"call", prepare_ready, call_it, finish, true};
	make_world(is_confined, 1);
	prepare_ready();
	finish(MOTE_OK);
	CHECK(try_all(&create) >= 1);
	CHECK(try_all(&call) >= 1);
	free_world();
}

TEST(fault_kvm__confined_guests_from_the_pool)
{
	check_reuse(true);
}

TEST(fault_kvm__stock_guests_from_the_pool)
{
	check_reuse(false);
}

/* ---- resets ---------------------------------------------------------------------------------- */

static struct mote__machine *machine;

static int reset_it(struct mote_error *err)
{
	struct mote__special special;
	struct mote__msr_list msrs;
	mote__special_stock(&special, 64, 0x1000);
	mote__msrs_reset(&msrs, true);
	return machine->ops->reset(machine, &special, &msrs, err);
}

static int read_it(struct mote_error *err)
{
	struct mote__msr_list msrs;
	mote__msrs_reset(&msrs, true);
	return machine->ops->get_msrs(machine, &msrs, err);
}

static struct mote__hypervisor *hypervisor;

static int make_it(struct mote_error *err)
{
	static const uint32_t declared[] = {0x174, 0x277};
	const struct mote__machine_config config = {
		.physical_bits = 36, .msr_count = 2, .msrs = declared};
	machine = NULL;
	return hypervisor->ops->machine_create(hypervisor, &config, &machine, err);
}

static void drop_it(int rc)
{
	CHECK((rc == MOTE_OK) == (machine != NULL));
	if (machine)
		machine->ops->machine_destroy(machine);
}

TEST(fault_kvm__machines)
{
	const struct trial make = {"machine", NULL, make_it, drop_it, false};
	struct mote_engine_info info;
	require_kvm();
	OK(mote__kvm_open("/dev/kvm", false, &hypervisor, &info, err));
	CHECK(try_all(&make) >= 10);
	hypervisor->ops->close(hypervisor);
}

TEST(fault_kvm__resets)
{
	const struct trial reset = {"reset", NULL, reset_it, NULL, false};
	const struct trial read = {"get_msrs", NULL, read_it, NULL, false};
	struct mote_engine_info info;
	require_kvm();
	OK(mote__kvm_open("/dev/kvm", false, &hypervisor, &info, err));
	OK(make_it(err));
	CHECK(try_all(&reset) >= 7);
	CHECK_EQ(try_all(&read), 1);
	drop_it(MOTE_OK);
	hypervisor->ops->close(hypervisor);
}
