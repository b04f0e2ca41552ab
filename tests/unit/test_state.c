/* SPDX-License-Identifier: MIT */
/* States: every public function in every state, what poisons (guest-abi 10.2, row by row), and what
 * is counted on the way. */
#include "world.h"

#include <stdio.h>

#include "core/confined.h"

#define PAGE 4096ull
/* Copy-on-write in either kind of guest: behind the write set of a confined one. */
#define COW_GVA (TINY_DATA_GVA + 14 * PAGE)

static struct world w;

static void world_with_data(enum world_kind kind, const struct double_guest *guest)
{
	const struct tiny_options image = {.is_confined = kind == CONFINED,
					   .data_bytes = 20 * PAGE};
	world_make_of(&w, &image, NULL, guest);
}

/* ---- functions in states --------------------------------------------------------------------- */

struct permissions {
	uint32_t state;
	bool call, read, write, take, restore;
};

static void answer(struct double_machine *m, struct mote__exit *exit)
{
	if (m->step == 0)
		(void)guest_pop_call(m);
	guest_return(m, exit, mote_void());
}

static const struct double_guest good = {NULL, answer, NULL};

/* What is always allowed, and changes nothing. */
static void check_free_ones(const struct permissions *p)
{
	struct mote_statistics s;
	CHECK_EQ(mote_sandbox_state(w.sandbox), p->state);
	mote_sandbox_get_statistics(w.sandbox, &s, sizeof s);
	CHECK(s.frames_max > 0 && s.frames_used <= s.frames_max);
	CHECK(mote_sandbox_user_data(w.sandbox) == &w);
	mote_interrupt *interrupt = mote_sandbox_interrupt(w.sandbox);
	CHECK(interrupt != NULL);
	if (p->state != MOTE_STATE_RUNNING)
		CHECK_EQ(mote_interrupt_send(interrupt), 0);
	mote_interrupt_unref(interrupt);
}

#define EXPECT(is_allowed, call)                                   \
	do {                                                       \
		if (is_allowed)                                    \
			OK(&w, call);                              \
		else                                               \
			FAILS(&w, call, MOTE_ESTATE);              \
		CHECK_EQ(mote_sandbox_state(w.sandbox), p->state); \
	} while (0)

/* Taking changes no state. To be restored is to be what the snapshot is; here only who may. */
static void check_snapshots(const struct permissions *p)
{
	mote_snapshot *s = NULL;
	EXPECT(p->take, mote_snapshot_take(w.sandbox, NULL, &s, &w.err));
	CHECK((s != NULL) == p->take);
	mote_snapshot_unref(s);
	if (!p->restore)
		EXPECT(false, mote_sandbox_restore(w.sandbox, w.snapshot, NULL, &w.err));
}

/* Every state that may be restored, ends where a new sandbox begins. */
static void check_restore(void)
{
	OK(&w, mote_sandbox_restore(w.sandbox, w.snapshot, NULL, &w.err));
	CHECK_EQ(mote_sandbox_state(w.sandbox), MOTE_STATE_NEW);
	OK(&w, mote_sandbox_start(w.sandbox, 0, &w.err));
	CHECK_EQ(mote_sandbox_state(w.sandbox), MOTE_STATE_READY);
}

static void check_permissions(const struct permissions *p)
{
	uint8_t byte = 0x77;
	check_free_ones(p);
	EXPECT(p->read, mote_sandbox_read(w.sandbox, TINY_DATA_GVA, &byte, 1, &w.err));
	EXPECT(p->write, mote_sandbox_write(w.sandbox, TINY_DATA_GVA, &byte, 1, &w.err));
	check_snapshots(p);
	if (p->state == MOTE_STATE_NEW)
		return;
	EXPECT(p->call, world_call(&w, MOTE_VOID, NULL));
	EXPECT(p->call, mote_sandbox_start(w.sandbox, 0, &w.err));
	check_free_ones(p);
}

static const struct mote_sandbox_options with_data = {.size = sizeof with_data, .user_data = &w};

TEST_BOTH(state__a_new_sandbox)
{
	const struct permissions p = {MOTE_STATE_NEW, true, true, true, true, true};
	world_with_data(kind, &good);
	world_sandbox(&w, &with_data);
	check_permissions(&p);
	OK(&w, world_call(&w, MOTE_VOID, NULL));
	CHECK_EQ(mote_sandbox_state(w.sandbox), MOTE_STATE_READY);
	check_restore();
	world_free(&w);
}

TEST_BOTH(state__a_ready_sandbox)
{
	const struct permissions p = {MOTE_STATE_READY, true, true, true, true, true};
	world_with_data(kind, &good);
	world_sandbox(&w, &with_data);
	OK(&w, mote_sandbox_start(w.sandbox, 0, &w.err));
	unsigned starts = w.machine->starts;
	OK(&w, mote_sandbox_start(w.sandbox, 0, &w.err));
	CHECK_EQ(w.machine->starts, starts);
	check_permissions(&p);
	world_free(&w);
}

static unsigned host_calls;

static int look_at_own(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	static const struct permissions permissions = {
		MOTE_STATE_RUNNING, false, false, false, false, false};
	const struct permissions *p = &permissions;
	(void)cookie;
	(void)arguments;
	(void)reply;
	host_calls++;
	check_permissions(p);
	return 0;
}

static void ask_host(struct double_machine *m, struct mote__exit *exit)
{
	if (m->step == 0) {
		(void)guest_pop_call(m);
		guest_push_call(m, "h", MOTE_VOID, NULL, 0);
		double_out(exit, MOTE_ABI_PORT_CALL, 0);
		return;
	}
	CHECK(!guest_pop_answer(m).is_error);
	guest_return(m, exit, mote_void());
}

TEST_BOTH(state__a_sandbox_that_runs)
{
	const struct double_guest guest = {NULL, ask_host, NULL};
	world_with_data(kind, &guest);
	OK(&w, MOTE_HOST_ADD(w.host, "h", look_at_own, NULL, &w.err, MOTE_VOID));
	world_sandbox(&w, &with_data);
	host_calls = 0;
	OK(&w, world_call(&w, MOTE_VOID, NULL));
	OK(&w, world_call(&w, MOTE_VOID, NULL));
	CHECK_EQ(host_calls, 2);
	world_free(&w);
}

static int destroy_own(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	(void)cookie;
	(void)arguments;
	(void)reply;
	host_calls++;
	mote_sandbox_destroy(w.sandbox);
	CHECK_EQ(w.hypervisor->machines, 1);
	CHECK_EQ(mote_sandbox_state(w.sandbox), MOTE_STATE_RUNNING);
	return 0;
}

TEST_BOTH(state__a_sandbox_is_not_destroyed_by_its_own_host_function)
{
	const struct double_guest guest = {NULL, ask_host, NULL};
	world_with_data(kind, &guest);
	OK(&w, MOTE_HOST_ADD(w.host, "h", destroy_own, NULL, &w.err, MOTE_VOID));
	world_sandbox(&w, NULL);
	host_calls = 0;
	OK(&w, world_call(&w, MOTE_VOID, NULL));
	CHECK_EQ(host_calls, 1);
	CHECK_EQ(mote_sandbox_state(w.sandbox), MOTE_STATE_READY);
	OK(&w, world_call(&w, MOTE_VOID, NULL));
	mote_sandbox_destroy(w.sandbox);
	w.sandbox = NULL;
	CHECK_EQ(w.hypervisor->machines, 0);
	world_free(&w);
}

TEST_BOTH(state__calling_the_own_sandbox_says_so)
{
	world_with_data(kind, &good);
	world_sandbox(&w, &with_data);
	w.sandbox->state = MOTE_STATE_RUNNING;
	FAILS(&w, world_call(&w, MOTE_VOID, NULL), MOTE_ESTATE);
	CHECK_STR(w.err.message,
		  "the sandbox is in a call: a host function cannot call its own guest");
	CHECK_EQ(w.err.poisoned, 0);
	w.sandbox->state = MOTE_STATE_NEW;
	world_free(&w);
}

static void abort_now(struct double_machine *m, struct mote__exit *exit)
{
	if (m->step == 0)
		(void)guest_pop_call(m);
	(void)double_abort(exit, "\x08", 1, m->step);
}

TEST_BOTH(state__a_poisoned_sandbox)
{
	const struct permissions p = {MOTE_STATE_POISONED, false, true, false, false, true};
	const struct double_guest guest = {NULL, abort_now, NULL};
	world_with_data(kind, &guest);
	world_sandbox(&w, &with_data);
	FAILS(&w, world_call(&w, MOTE_VOID, NULL), MOTE_EABORT);
	check_permissions(&p);
	FAILS(&w, world_call(&w, MOTE_VOID, NULL), MOTE_ESTATE);
	CHECK_STR(w.err.message, "The sandbox was poisoned");
	CHECK_EQ(w.err.poisoned, 1);
	check_restore();
	world_free(&w);
}

TEST_BOTH(state__a_broken_sandbox)
{
	const struct permissions p = {MOTE_STATE_BROKEN, false, false, false, false, false};
	world_with_data(kind, &good);
	world_sandbox(&w, &with_data);
	OK(&w, mote_sandbox_start(w.sandbox, 0, &w.err));
	w.hypervisor->fail = DOUBLE_MAP;
	FAILS(&w, mote_sandbox_write(w.sandbox, COW_GVA, "x", 1, &w.err), MOTE_ESYSTEM);
	w.hypervisor->fail = 0;
	check_permissions(&p);
	FAILS(&w, world_call(&w, MOTE_VOID, NULL), MOTE_ESTATE);
	CHECK_STR(w.err.message, "The sandbox was broken");
	world_free(&w);
}

/* A host function may use other sandboxes, of the same engine, snapshot and host. */
static mote_sandbox *other;

static int call_other(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	const struct mote_call call = {.size = sizeof call, .function = "f"};
	struct mote_error err;
	(void)cookie;
	(void)arguments;
	/* The other one's guest asks, too: its turn ends there. */
	if (mote_sandbox_state(other) == MOTE_STATE_RUNNING)
		return mote_reply_i32(reply, 1);
	CHECK_EQ(mote_sandbox_call(other, &call, NULL, &err), MOTE_OK);
	CHECK_EQ(mote_sandbox_state(other), MOTE_STATE_READY);
	return mote_reply_i32(reply, 2);
}

TEST_BOTH(state__a_host_function_can_call_another_sandbox)
{
	const struct double_guest guest = {NULL, ask_host, NULL};
	world_with_data(kind, &guest);
	OK(&w, MOTE_HOST_ADD(w.host, "h", call_other, NULL, &w.err, MOTE_I32));
	world_sandbox(&w, NULL);
	OK(&w, mote_sandbox_create(w.engine, w.snapshot, w.host, NULL, &other, &w.err));
	OK(&w, world_call(&w, MOTE_VOID, NULL));
	OK(&w, world_call(&w, MOTE_VOID, NULL));
	CHECK_EQ(mote_sandbox_state(other), MOTE_STATE_READY);
	mote_sandbox_destroy(other);
	world_free(&w);
}

TEST(state__sandboxes_of_one_snapshot_are_independent)
{
	const struct double_guest guest = {NULL, abort_now, NULL};
	world_with_data(CONFINED, &guest);
	world_sandbox(&w, NULL);
	OK(&w, mote_sandbox_create(w.engine, w.snapshot, w.host, NULL, &other, &w.err));
	uint8_t byte;
	OK(&w, mote_sandbox_write(other, TINY_DATA_GVA + 0x90, "x", 1, &w.err));
	OK(&w, mote_sandbox_read(w.sandbox, TINY_DATA_GVA + 0x90, &byte, 1, &w.err));
	CHECK_EQ(byte, 0x91);
	OK(&w, mote_sandbox_read(other, TINY_DATA_GVA + 0x90, &byte, 1, &w.err));
	CHECK_EQ(byte, 'x');
	FAILS(&w, world_call(&w, MOTE_VOID, NULL), MOTE_EABORT);
	CHECK_EQ(mote_sandbox_state(other), MOTE_STATE_NEW);
	mote_sandbox_destroy(other);
	world_free(&w);
}

/* ---- creating -------------------------------------------------------------------------------- */

TEST_BOTH(state__create_refuses_missing_arguments)
{
	world_make(&w, kind, &good);
	mote_sandbox *s = NULL;
	FAILS(&w, mote_sandbox_create(NULL, w.snapshot, w.host, NULL, &s, &w.err), MOTE_EINVAL);
	CHECK_STR(w.err.message, "engine is NULL");
	FAILS(&w, mote_sandbox_create(w.engine, NULL, w.host, NULL, &s, &w.err), MOTE_EINVAL);
	CHECK_STR(w.err.message, "snapshot is NULL");
	FAILS(&w, mote_sandbox_create(w.engine, w.snapshot, NULL, NULL, &s, &w.err), MOTE_EINVAL);
	CHECK_STR(w.err.message, "host is NULL");
	FAILS(&w, mote_sandbox_create(w.engine, w.snapshot, w.host, NULL, NULL, &w.err),
	      MOTE_EINVAL);
	CHECK_STR(w.err.message, "sandbox is NULL");
	FAILS(&w, mote_sandbox_start(NULL, 0, &w.err), MOTE_EINVAL);
	CHECK(s == NULL && w.hypervisor->machines == 0);
	world_free(&w);
}

#define REFUSES(part, ...)                                                                     \
	do {                                                                                   \
		const struct mote_sandbox_options o_ = {__VA_ARGS__};                          \
		mote_sandbox *s_ = NULL;                                                       \
		FAILS(&w, mote_sandbox_create(w.engine, w.snapshot, w.host, &o_, &s_, &w.err), \
		      MOTE_EINVAL);                                                            \
		CHECK_HAS(w.err.message, part);                                                \
		CHECK(s_ == NULL);                                                             \
	} while (0)

TEST_BOTH(state__create_refuses_options_out_of_range)
{
	const size_t size = sizeof(struct mote_sandbox_options);
	world_make(&w, kind, &good);
	REFUSES("mote_sandbox_options.size is 1, at least", .size = 1);
	REFUSES("log_level is 6, at most 5, or 255 for none", .size = size, .log_level = 6);
	REFUSES("log_level is 254, at most 5, or 255 for none", .size = size, .log_level = 254);
	REFUSES("memory_max is 0x1, at least 0x", .size = size, .memory_max = 1);
	world_free(&w);
}

#define MIB (1ull << 20)

/* The frames of a confined guest with so many bytes of data. */
static uint64_t frames_with(uint64_t data_bytes, uint64_t memory_max, uint64_t *most)
{
	const struct tiny_options image = {.is_confined = true, .data_bytes = data_bytes};
	const struct mote_snapshot_options o = {.size = sizeof o, .stack_bytes = 0x10000};
	const struct mote_sandbox_options s = {.size = sizeof s, .memory_max = memory_max};
	world_make_of(&w, &image, &o, &good);
	world_sandbox(&w, &s);
	uint64_t frames = world_statistics(&w).frames_max;
	*most = w.snapshot->layout.frame_count;
	world_free(&w);
	return frames;
}

TEST(state__an_image_does_not_say_how_much_memory_it_gets)
{
	const uint64_t fixed = MOTE_DEFAULT_HEAP_BYTES + 0x10000;
	uint64_t most;
	CHECK_EQ(frames_with(100 * MIB, 0, &most), (fixed + 64 * MIB) / PAGE);
	CHECK(most > 100 * MIB / PAGE);
	/* Unless the caller wants it. */
	CHECK_EQ(frames_with(100 * MIB, 90 * MIB, &most), 90 * MIB / PAGE);
	CHECK_EQ(frames_with(100 * MIB, 1ull << 40, &most), most);
	/* One that can use less gets no more. */
	CHECK_EQ(frames_with(8 * PAGE, 0, &most), most);
	CHECK(most < (fixed + 64 * MIB) / PAGE);
}

/* What the guest is told: struct mote_abi_run_info of a confined one, RCX of both. */
TEST_BOTH(state__the_log_level_reaches_the_guest)
{
	static const uint32_t rows[][2] = {{0, MOTE_LOG_ERROR},
					   {MOTE_LOG_ERROR, MOTE_LOG_ERROR},
					   {MOTE_LOG_TRACE, MOTE_LOG_TRACE},
					   {MOTE_LOG_SILENT, MOTE_LOG_OFF}};
	for (size_t i = 0; i < 4; i++) {
		const struct mote_sandbox_options o = {.size = sizeof o, .log_level = rows[i][0]};
		world_make(&w, kind, &good);
		world_sandbox(&w, &o);
		OK(&w, mote_sandbox_start(w.sandbox, 0, &w.err));
		CHECK_EQ(w.machine->general.rcx, rows[i][1]);
		if (kind == CONFINED) {
			struct mote_abi_run_info info;
			memcpy(&info, double_gva(w.machine, w.machine->run_info_gva, sizeof info),
			       sizeof info);
			CHECK_EQ(info.log_level, rows[i][1]);
		}
		world_free(&w);
	}
}

TEST(state__run_info_says_where_everything_is)
{
	struct mote_abi_run_info info, second;
	world_make(&w, CONFINED, &good);
	world_sandbox(&w, NULL);
	OK(&w, mote_sandbox_start(w.sandbox, 0, &w.err));
	const struct mote__layout *l = &w.snapshot->layout;
	memcpy(&info, double_gva(w.machine, w.machine->run_info_gva, sizeof info), sizeof info);
	CHECK_EQ(info.syscall_handler, TINY_SYSCALL_GVA);
	CHECK_EQ(info.syscall_word, MOTE__SYSCALL_WORD_GVA);
	CHECK(info.stack_first == l->stack_gva && info.stack_top == l->stack_gva + l->stack_bytes);
	CHECK(info.heap_first == l->heap_gva && info.heap_bytes == l->heap_bytes);
	CHECK(info.input == l->input_gva && info.input_bytes == 0x4000);
	CHECK(info.output == l->output_gva && info.output_bytes == 0x4000);
	CHECK(info.realtime_ns > 0 && info.monotonic_ns > 0);
	/* 2 GHz. */
	CHECK_EQ(info.tsc_to_ns, 1ull << 31);
	CHECK_EQ(info.features, 1);
	/* Another sandbox has other random bytes. */
	OK(&w, mote_sandbox_create(w.engine, w.snapshot, w.host, NULL, &other, &w.err));
	OK(&w, mote_sandbox_start(other, 0, &w.err));
	struct double_machine *m = w.hypervisor->machine;
	memcpy(&second, double_gva(m, m->run_info_gva, sizeof second), sizeof second);
	CHECK(memcmp(info.random, second.random, sizeof info.random) != 0);
	CHECK(info.generation != second.generation);
	mote_sandbox_destroy(other);
	world_free(&w);
}

TEST(state__scratch_of_a_stock_guest_begins_as_the_abi_says)
{
	world_make(&w, STOCK, &good);
	world_sandbox(&w, NULL);
	static const struct {
		uint64_t below_top, value;
	} words[] = {{0x08, 0x48000}, {0x10, 0xFFFFC7000}, {0x18, 0xFFFFC0000}, {0x20, 0}};
	for (size_t i = 0; i < 4; i++) {
		uint64_t word;
		memcpy(&word, double_gpa(w.machine, 0x1000000000 - words[i].below_top, 8), 8);
		CHECK_EQ(word, words[i].value);
	}
	const uint64_t empty = 8;
	CHECK_MEM(double_gpa(w.machine, 0xFFFFB8000, 8), &empty, 8);
	CHECK_MEM(double_gpa(w.machine, 0xFFFFBC000, 8), &empty, 8);
	CHECK_MEM(double_gpa(w.machine, 0xFFFFC0000, 7 * 4096), w.snapshot->tables, 7 * 4096);
	/* Nothing else is written. */
	const uint8_t *free_pages = double_gpa(w.machine, 0xFFFFC7000, 0x1000000000 - 0xFFFFC7000);
	for (size_t i = 0; i < 0x1000000000 - 0xFFFFC7000 - 0x20; i++)
		CHECK(free_pages[i] == 0);
	world_free(&w);
}

/* ---- what poisons ---------------------------------------------------------------------------- */

static struct mote__exit bad_exit;

static void exit_badly(struct double_machine *m, struct mote__exit *exit)
{
	if (m->step == 0)
		(void)guest_pop_call(m);
	*exit = bad_exit;
	/* Not again, should that have been fine. */
	if (m->step > 0)
		double_halt(exit);
}

static const struct {
	struct mote__exit exit;
	const char *text;
} bad_exits[] = {
	{{.kind = MOTE__EXIT_OUT, .port = 100, .bytes = 4},
	 "Invalid outb port: Invalid OutBAction value: 100"},
	{{.kind = MOTE__EXIT_OUT, .port = 104, .bytes = 4},
	 "Invalid outb port: Invalid OutBAction value: 104"},
	{{.kind = MOTE__EXIT_OUT, .port = 107, .bytes = 4},
	 "Invalid outb port: Invalid OutBAction value: 107"},
	{{.kind = MOTE__EXIT_OUT, .port = 0, .bytes = 1},
	 "Invalid outb port: Invalid OutBAction value: 0"},
	{{.kind = MOTE__EXIT_OUT, .port = 0xFFFF, .bytes = 2},
	 "Invalid outb port: Invalid OutBAction value: 65535"},
	{{.kind = MOTE__EXIT_OUT, .port = 103, .bytes = 0}, "No data was given in IO interrupt"},
	{{.kind = MOTE__EXIT_OUT, .port = 101, .bytes = 0}, "No data was given in IO interrupt"},
	{{.kind = MOTE__EXIT_OUT, .port = 103, .bytes = 4, .data = 0xD800},
	 "Invalid character for debug print: 55296"},
	{{.kind = MOTE__EXIT_OUT, .port = 103, .bytes = 4, .data = 0xDFFF},
	 "Invalid character for debug print: 57343"},
	{{.kind = MOTE__EXIT_OUT, .port = 103, .bytes = 4, .data = 0x110000},
	 "Invalid character for debug print: 1114112"},
	{{.kind = MOTE__EXIT_OUT, .port = 103, .bytes = 4, .data = UINT32_MAX},
	 "Invalid character for debug print: 4294967295"},
	{{.kind = MOTE__EXIT_MEMORY, .gpa = 0xABC0}, "MMIO READ access to unmapped address 0xabc0"},
	{{.kind = MOTE__EXIT_MEMORY, .gpa = 0x1000, .is_write = true},
	 "MMIO WRITE access to unmapped address 0x1000"},
	{{.kind = MOTE__EXIT_OTHER, .detail = "shutdown (triple fault)"},
	 "Unexpected VM exit: shutdown (triple fault)"},
	{{.kind = MOTE__EXIT_OTHER, .detail = "IN from port 64"},
	 "Unexpected VM exit: IN from port 64"},
	{{.kind = MOTE__EXIT_OUT, .port = 99, .bytes = 4},
	 "Failed to read guest log data: Unable to pop data from buffer"},
	{{.kind = MOTE__EXIT_OUT, .port = 101, .bytes = 4},
	 "Failed to read host function call: Unable to pop data from buffer"},
};

TEST_BOTH(state__bad_exits_poison)
{
	const struct double_guest guest = {NULL, exit_badly, NULL};
	for (size_t i = 0; i < sizeof bad_exits / sizeof bad_exits[0]; i++) {
		world_ready(&w, kind, &guest);
		bad_exit = bad_exits[i].exit;
		FAILS(&w, world_call(&w, MOTE_VOID, NULL), MOTE_EPROTOCOL);
		CHECK_HAS(w.err.message, bad_exits[i].text);
		CHECK(w.err.poisoned == 1 && w.err.has_fault == 0);
		CHECK_EQ(mote_sandbox_state(w.sandbox), MOTE_STATE_POISONED);
		CHECK_EQ(world_call(&w, MOTE_VOID, NULL), MOTE_ESTATE);
		world_free(&w);
	}
}

static void exit_at_once(struct double_machine *m, struct mote__exit *exit)
{
	*exit = bad_exit;
	if (m->step > 0)
		double_halt(exit);
}

TEST_BOTH(state__bad_exits_poison_while_initialising)
{
	const struct double_guest guest = {exit_at_once, NULL, NULL};
	for (size_t i = 0; i < sizeof bad_exits / sizeof bad_exits[0]; i++) {
		world_make(&w, kind, &guest);
		world_sandbox(&w, NULL);
		bad_exit = bad_exits[i].exit;
		FAILS(&w, world_call(&w, MOTE_VOID, NULL), MOTE_EPROTOCOL);
		CHECK_HAS(w.err.message, bad_exits[i].text);
		CHECK_EQ(w.err.poisoned, 1);
		CHECK_EQ(mote_sandbox_state(w.sandbox), MOTE_STATE_POISONED);
		world_free(&w);
	}
}

TEST_BOTH(state__a_run_error_poisons)
{
	world_ready(&w, kind, &good);
	w.hypervisor->fail = DOUBLE_RUN;
	FAILS(&w, world_call(&w, MOTE_VOID, NULL), MOTE_ESYSTEM);
	CHECK_STR(w.err.message, "vCPU run failed: Input/output error");
	CHECK(w.err.poisoned == 1 && w.err.system_errno == 5);
	CHECK_EQ(mote_sandbox_state(w.sandbox), MOTE_STATE_POISONED);
	world_free(&w);
}

TEST_BOTH(state__a_refused_mask_does_not_poison)
{
	const struct mote_call timed = {
		.size = sizeof timed, .function = "f", .timeout_ns = 10000000000};
	world_make(&w, kind, &good);
	world_sandbox(&w, NULL);
	w.hypervisor->fail = DOUBLE_SET_MASK;
	FAILS(&w, mote_sandbox_call(w.sandbox, &timed, NULL, &w.err), MOTE_ESYSTEM);
	CHECK_EQ(w.err.poisoned, 0);
	CHECK_EQ(mote_sandbox_state(w.sandbox), MOTE_STATE_NEW);
	w.hypervisor->fail = 0;
	OK(&w, world_call(&w, MOTE_VOID, NULL));
	world_free(&w);
}

/* A failure of registers before the dispatch runs. */
TEST(state__a_refused_register_does_not_poison)
{
	world_ready(&w, STOCK, &good);
	w.hypervisor->fail = DOUBLE_RESET_FPU;
	FAILS(&w, world_call(&w, MOTE_VOID, NULL), MOTE_ESYSTEM);
	CHECK_EQ(w.err.poisoned, 0);
	CHECK_EQ(mote_sandbox_state(w.sandbox), MOTE_STATE_READY);
	w.hypervisor->fail = 0;
	OK(&w, world_call(&w, MOTE_VOID, NULL));
	world_free(&w);
}

TEST(state__a_stock_guest_whose_registers_cannot_be_read_is_poisoned)
{
	world_make(&w, STOCK, &good);
	world_sandbox(&w, NULL);
	w.hypervisor->fail = DOUBLE_GET_GENERAL;
	FAILS(&w, mote_sandbox_start(w.sandbox, 0, &w.err), MOTE_ESYSTEM);
	CHECK_EQ(mote_sandbox_state(w.sandbox), MOTE_STATE_POISONED);
	world_free(&w);
}

TEST_BOTH(state__a_refused_operation_fails_create)
{
	const unsigned stock = DOUBLE_CREATE | DOUBLE_MAP | DOUBLE_SET_SPECIAL;
	const unsigned all = kind == CONFINED ? stock | DOUBLE_SET_MSRS : stock;
	world_make(&w, kind, &good);
	for (unsigned bit = 1; bit <= DOUBLE_RUN; bit *= 2) {
		mote_sandbox *s = NULL;
		w.hypervisor->fail = bit;
		if (all & bit) {
			FAILS(&w,
			      mote_sandbox_create(w.engine, w.snapshot, w.host, NULL, &s, &w.err),
			      MOTE_ESYSTEM);
			CHECK(s == NULL);
		} else {
			OK(&w, mote_sandbox_create(w.engine, w.snapshot, w.host, NULL, &s, &w.err));
			mote_sandbox_destroy(s);
		}
		CHECK_EQ(w.hypervisor->machines, 0);
	}
	w.hypervisor->fail = 0;
	world_free(&w);
}

/* A reply that does not fit: the guest has filled its input (it can, as a stock guest). */
static uint64_t spoilt_pointer;

static void ask_with_spoilt_input(struct double_machine *m, struct mote__exit *exit)
{
	(void)guest_pop_call(m);
	memcpy(guest_input(m).bytes, &spoilt_pointer, 8);
	guest_push_call(m, "HostPrint", MOTE_I32, NULL, 0);
	double_out(exit, MOTE_ABI_PORT_CALL, 0);
}

TEST(state__a_reply_that_cannot_be_written_poisons)
{
	const struct double_guest guest = {NULL, ask_with_spoilt_input, NULL};
	world_ready(&w, STOCK, &guest);
	spoilt_pointer = 0x4000 - 16;
	FAILS(&w, world_call(&w, MOTE_VOID, NULL), MOTE_EPROTOCOL);
	CHECK_HAS(w.err.message, "Failed to write host function response: ");
	CHECK_HAS(w.err.message, "Available: 8");
	CHECK_EQ(w.err.poisoned, 1);
	world_free(&w);
	world_ready(&w, STOCK, &guest);
	spoilt_pointer = 7;
	FAILS(&w, world_call(&w, MOTE_VOID, NULL), MOTE_EPROTOCOL);
	CHECK_STR(w.err.message,
		  "Failed to write host function response: Unable to push data to buffer: Stack "
		  "pointer is out of bounds. Stack pointer: 7, Buffer size: 16384");
	world_free(&w);
}

/* A confined guest has no say in it: the host keeps the pointer. */
TEST(state__a_confined_guest_cannot_spoil_its_input)
{
	const struct double_guest guest = {NULL, ask_host, NULL};
	world_ready(&w, CONFINED, &guest);
	struct mote__pt_translation t;
	const struct mote__pt_range range = {w.snapshot->tables,
					     w.snapshot->layout.scratch_gpa +
						     w.snapshot->layout.tables_offset,
					     w.snapshot->layout.tables_bytes};
	const struct mote__pt_space space = {
		&mote__pt_x86_64, {&range, mote__pt_range_table}, range.gpa};
	for (uint64_t at = 0; at < 0x4000; at += PAGE) {
		CHECK_EQ(mote__pt_translate(&space, w.snapshot->layout.input_gva + at, &t), 0);
		CHECK(!t.effective.writable && t.effective.user);
	}
	world_free(&w);
}

/* ---- statistics ------------------------------------------------------------------------------ */

/* One of everything. */
static void do_all(struct double_machine *m, struct mote__exit *exit)
{
	const struct mote__log_record record = {.level = MOTE_LOG_INFO,
						.message = {"", 0},
						.source = {"", 0},
						.caller = {"", 0},
						.file = {"", 0}};
	switch (m->step) {
	case 0:
		(void)guest_pop_call(m);
		guest_push_log(m, &record);
		double_out(exit, MOTE_ABI_PORT_LOG, 0);
		break;
	case 1:
		double_out(exit, MOTE_ABI_PORT_PRINT, 'x');
		break;
	case 2:
		double_out(exit, MOTE_ABI_PORT_ABORT, 0x41414103);
		break;
	case 3:
		guest_push_call(m, "missing", MOTE_VOID, NULL, 0);
		double_out(exit, MOTE_ABI_PORT_CALL, 0);
		break;
	case 4:
		CHECK(guest_pop_answer(m).is_error);
		exit->kind = MOTE__EXIT_INTERRUPTED;
		break;
	default:
		guest_return(m, exit, mote_void());
	}
}

static int discard(void *cookie, void *user_data, const char *text, size_t len)
{
	(void)cookie;
	(void)user_data;
	(void)text;
	(void)len;
	return 0;
}

TEST_BOTH(state__every_exit_is_counted)
{
	const struct double_guest guest = {NULL, do_all, NULL};
	world_make(&w, kind, &guest);
	OK(&w, mote_host_on_print(w.host, discard, NULL, &w.err));
	world_sandbox(&w, NULL);
	OK(&w, world_call(&w, MOTE_VOID, NULL));
	const struct mote_statistics s = world_statistics(&w);
	/* Initialise, six exits of the call, the library's two probes. */
	CHECK_EQ(s.vm_entries, 1 + 6 + 2 * (kind == CONFINED));
	CHECK_EQ(s.exits_halt, 2);
	CHECK_EQ(s.exits_call, 1);
	CHECK_EQ(s.exits_log, 1);
	CHECK_EQ(s.exits_print, 1);
	CHECK_EQ(s.exits_abort, 1);
	CHECK_EQ(s.exits_interrupted, 1);
	CHECK(s.exits_exception == 0 && s.exits_memory == 0 && s.exits_other == 0);
	CHECK_EQ(s.calls, 1);
	CHECK(s.bytes_in > 0 && s.bytes_out > 0);
	world_free(&w);
}

TEST_BOTH(state__a_call_costs_one_ioctl)
{
	world_ready(&w, kind, &good);
	const struct mote_statistics before = world_statistics(&w);
	for (unsigned i = 0; i < 10; i++)
		OK(&w, world_call(&w, MOTE_VOID, NULL));
	const struct mote_statistics after = world_statistics(&w);
	CHECK_EQ(after.vm_entries - before.vm_entries, 10);
	/* A stock guest's FPU is reset by one more. */
	CHECK_EQ(after.vcpu_ioctls - before.vcpu_ioctls, kind == STOCK ? 20 : 10);
	CHECK_EQ(after.calls - before.calls, 10);
	/* Nobody can interrupt it. */
	CHECK_EQ(w.machine->mask_sets, 0);
	world_free(&w);
}

TEST_BOTH(state__bad_exits_are_counted)
{
	const struct double_guest guest = {NULL, exit_badly, NULL};
	for (size_t i = 0; i < sizeof bad_exits / sizeof bad_exits[0]; i++) {
		world_ready(&w, kind, &guest);
		bad_exit = bad_exits[i].exit;
		FAILS(&w, world_call(&w, MOTE_VOID, NULL), MOTE_EPROTOCOL);
		const struct mote_statistics s = world_statistics(&w);
		CHECK_EQ(s.exits_other + s.exits_log + s.exits_call + s.exits_print, 1);
		CHECK(s.exits_halt == 1 && s.calls == 0);
		world_free(&w);
	}
}

TEST(state__statistics_of_another_size)
{
	struct {
		struct mote_statistics s;
		uint64_t tail;
	} more;
	uint64_t less[2] = {0, 0x5A};
	world_ready(&w, CONFINED, &good);
	memset(&more, 0x5A, sizeof more);
	mote_sandbox_get_statistics(w.sandbox, &more.s, sizeof more);
	CHECK(more.s.vm_entries == 3 && more.tail == 0);
	mote_sandbox_get_statistics(w.sandbox, (struct mote_statistics *)(void *)less, 8);
	CHECK(less[0] == 3 && less[1] == 0x5A);
	world_free(&w);
}
