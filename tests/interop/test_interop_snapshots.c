/* SPDX-License-Identifier: MIT */
/*
 * Snapshots, restores and forks of a guest that was built with the published 0.15 guest crates: its
 * own runtime copies pages, grows its stack, keeps a heap and handles exceptions, and nothing of it
 * knows of this library. What it says of itself after any of them is what a model in C says.
 */
#include "rust_state.h"

#include <stdbool.h>

/* ---- memory comes back ----------------------------------------------------------------------- */

static void check_copies(const char *name, uint32_t pages)
{
	struct system s;
	struct rust_state none = {0}, first, second;
	RUST_NAMED(&s, name, LARGE_SCRATCH);
	rust_check(&s, &none);
	first = none;
	rust_count(&s, &first, 5);
	rust_keep(&s, &first, "first", 5);
	rust_fill(&s, &first, pages, 1000);
	mote_snapshot *a = take(&s);
	rust_check(&s, &first);
	second = first;
	rust_count(&s, &second, -7);
	rust_keep(&s, &second, "second", 6);
	rust_fill(&s, &second, pages / 2 + 1, 900000);
	mote_snapshot *b = take(&s);
	for (unsigned i = 0; i < 4; i++) {
		struct rust_state state = i % 2 ? second : first;
		if (i < 3)
			restore(&s, i % 2 ? b : a);
		else
			fork_of(&s, b);
		rust_check(&s, &state);
		rust_fill(&s, &state, i ? 1 : pages / 4 + 1, 77);
		rust_keep(&s, &state, "more", 4);
		rust_check(&s, &state);
	}
	for (int32_t i = 0; i < 16384; i += 4095)
		CHECK_EQ(CALL_I32(&s, "ConstTable", mote_i32(i)), 3 * i);
	mote_snapshot_unref(a);
	mote_snapshot_unref(b);
	system_close(&s);
}

TEST(interop_snapshots__one_page_comes_back)
{
	check_copies(rust_name(), 1);
}

TEST(interop_snapshots__16_pages_come_back)
{
	check_copies(rust_name(), 16);
	if (system_is_nested())
		check_copies(RUST_SOFT, 16);
}

TEST(interop_snapshots__256_pages_come_back)
{
	check_copies(rust_name(), 256);
}

TEST(interop_snapshots__1000_pages_come_back)
{
	check_copies(rust_name(), 1000);
}

/* Restoring to the image means to begin anew, with other random numbers. */
TEST(interop_snapshots__the_image_comes_back)
{
	static const struct mote_fresh fresh[2] = {{1, {1, 2, 3, 4, 5, 6, 7, 8}},
						   {2, {8, 7, 6, 5, 4, 3, 2, 1}}};
	struct mote_restore_options o = {.size = sizeof o};
	struct system s;
	struct rust_state none = {0}, state = {0};
	uint64_t seeds[4];
	RUST(&s);
	for (unsigned i = 0; i < 4; i++) {
		o.fresh = &fresh[i % 2];
		OK(&s, mote_sandbox_restore(s.sandbox, s.snapshot, &o, &s.err));
		CHECK_EQ(mote_sandbox_state(s.sandbox), MOTE_STATE_NEW);
		s.logged[0] = 0;
		s.log_count = 0;
		seeds[i] = CALL_U64(&s, "Seed");
		CHECK_EQ(s.log_count, 1);
		CHECK_HAS(s.logged, "main ran");
		rust_check(&s, &none);
		state = none;
		rust_count(&s, &state, 3);
		rust_keep(&s, &state, "xyz", 3);
		rust_fill(&s, &state, 16, 5);
		if (i == 2)
			FAILS(&s, MOTE_EABORT, "gone", MOTE_VOID, "Panic", mote_string("gone"));
	}
	CHECK(seeds[0] == seeds[2] && seeds[1] == seeds[3] && seeds[0] != seeds[1]);
	/* The guest does not begin anew where it was ready already. */
	mote_snapshot *a = take(&s);
	o.fresh = &fresh[0];
	OK(&s, mote_sandbox_restore(s.sandbox, a, &o, &s.err));
	CHECK_EQ(mote_sandbox_state(s.sandbox), MOTE_STATE_READY);
	CHECK_EQ(CALL_U64(&s, "Seed"), seeds[1]);
	rust_check(&s, &state);
	CHECK_EQ(s.log_count, 1);
	mote_snapshot_unref(a);
	system_close(&s);
}

/* Parent, child, sibling, itself, from every one of them to every other. */
TEST(interop_snapshots__relatives_in_every_order)
{
	enum { MEMBERS = 4 };
	struct system s;
	struct rust_state state[MEMBERS] = {0};
	mote_snapshot *member[MEMBERS];
	RUST(&s);
	CALL_VOID(&s, "Nothing");
	for (unsigned i = 0; i < MEMBERS; i++) {
		/* The second one's children are the third and the fourth. */
		const unsigned parent = i == 1 ? 0 : 1;
		if (i) {
			restore(&s, member[parent]);
			state[i] = state[parent];
		}
		rust_count(&s, &state[i], 1 << i);
		rust_fill(&s, &state[i], 3 * (MEMBERS - i), 100 * (int32_t)i);
		rust_keep(&s, &state[i], "01234567", i + 1);
		member[i] = take(&s);
	}
	const struct mote_statistics before = system_statistics(&s);
	unsigned restores = 0, switches = 0;
	for (unsigned from = 0; from < MEMBERS; from++)
		for (unsigned to = 0; to < MEMBERS; to++) {
			restore(&s, member[from]);
			(void)CALL_I32(&s, "FillPages", mote_i32(5), mote_i32(1));
			(void)CALL_I32(&s, "Count", mote_i32(99));
			restore(&s, member[to]);
			rust_check(&s, &state[to]);
			restores += 2;
			switches += from != to;
		}
	const struct mote_statistics after = system_statistics(&s);
	/* Ring 0 was the guest's: nothing is trusted. */
	CHECK_EQ(after.restores_strict - before.restores_strict, restores);
	CHECK_EQ(after.restores, before.restores);
	CHECK(after.switches - before.switches >= switches);
	for (unsigned i = 0; i < MEMBERS; i++)
		mote_snapshot_unref(member[i]);
	system_close(&s);
}

/* ---- what else the guest has ----------------------------------------------------------------- */

static void get_registers(struct system *s, uint64_t *words, size_t *count)
{
	struct mote_value v = CALL(s, MOTE_BYTES, "Registers");
	CHECK(v.bytes.len % 8 == 0 && v.bytes.len <= 16 * 8);
	*count = v.bytes.len / 8;
	memcpy(words, v.bytes.data, v.bytes.len);
}

TEST(interop_snapshots__registers_come_back)
{
	enum { DR0, DR1, DR2, DR3, DR6, DR7, CR0, CR2, CR3, CR4, CR8, MXCSR, FCW, REGISTERS };
	uint64_t before[16], clobbered[16], after[16];
	size_t count;
	struct system s;
	RUST(&s);
	CALL_VOID(&s, "Nothing");
	mote_snapshot *a = take(&s);
	for (unsigned i = 0; i < 4; i++) {
		if (i == 2)
			fork_of(&s, a);
		else
			restore(&s, a);
		get_registers(&s, after, &count);
		CHECK_EQ(count, REGISTERS);
		if (i == 0)
			memcpy(before, after, sizeof before);
		for (unsigned k = 0; k < REGISTERS; k++)
			if (k != CR3 && after[k] != before[k])
				check_failed(__FILE__, __LINE__, "register %u: 0x%llx, not 0x%llx",
					     k, (unsigned long long)after[k],
					     (unsigned long long)before[k]);
		CHECK(after[DR0] == 0 && after[DR1] == 0 && after[DR2] == 0 && after[DR3] == 0);
		CHECK_EQ(after[DR6], 0xFFFF0FF0);
		CHECK_EQ(after[DR7], 0x400);
		CHECK_EQ(after[CR3] & ~0xFFFull, CALL_U64(&s, "Peek", mote_u64(TOP - 0x18)));
		if (system_is_nested()) {
			CHECK_EQ(after[MXCSR], 0x1F80);
			CHECK_EQ(after[FCW], 0x37F);
		}
		CALL_VOID(&s, "Clobber", mote_u64(0x123456789000 + i));
		get_registers(&s, clobbered, &count);
		/* It is the guest's own until a restore. */
		CHECK_EQ(clobbered[DR0], 0x123456789000 + i);
		CALL_VOID(&s, "Clobber", mote_u64(0x223456789000 + i));
	}
	mote_snapshot_unref(a);
	system_close(&s);
}

TEST(interop_snapshots__exceptions_have_their_text_afterwards)
{
	static const struct {
		int32_t vector;
		const char *text;
	} rows[] = {{0, "Exception: DivideByZero | Exception vector: 0 Faulting"},
		    {6, "Exception: InvalidOpcode | Exception vector: 6 Faulting"},
		    {13, "Exception: GeneralProtectionFault | Exception vector: 13 Faulting"},
		    {14, "Exception: PageFault | Exception vector: 14 Faulting"}};
	struct system s;
	RUST(&s);
	CALL_VOID(&s, "Nothing");
	mote_snapshot *a = take(&s);
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		char first[MOTE_ERROR_MESSAGE_BYTES] = "";
		for (unsigned turn = 0; turn < 3; turn++) {
			if (turn == 1)
				fork_of(&s, a);
			else
				restore(&s, a);
			FAILS(&s, MOTE_EABORT, "Exception: ", MOTE_VOID, "Raise",
			      mote_i32(rows[i].vector));
			/* However the lines of the text are put together. */
			CHECK(strncmp(strstr(s.err.message, "Exception: "), rows[i].text, 24) == 0);
			CHECK_EQ(s.err.poisoned, 1);
			CHECK_EQ(s.err.vector, s.err.has_fault ? (uint32_t)rows[i].vector : 0);
			if (turn == 0)
				memcpy(first, s.err.message, sizeof first);
			CHECK_STR(s.err.message, first);
		}
	}
	mote_snapshot_unref(a);
	system_close(&s);
}

static uint64_t word_below_top(struct system *s, uint64_t below)
{
	uint64_t word = 0;
	OK(s, mote_sandbox_read(s->sandbox, TOP - below, &word, sizeof word, &s->err));
	return word;
}

/* The words that the guest's allocator and its page-fault handler work with. */
TEST(interop_snapshots__words_of_scratch)
{
	struct system s;
	struct rust_state state = {0};
	RUST(&s);
	rust_fill(&s, &state, 9, 1);
	mote_snapshot *a = take(&s), *snapshots[] = {s.snapshot, a, a};
	for (unsigned i = 0; i < 3; i++) {
		const struct mote_snapshot_info info = info_of(snapshots[i]);
		const uint64_t buffers = info.input_bytes + info.output_bytes;
		const uint64_t tables = (1ull << 36) - info.scratch_bytes + buffers;
		if (i == 2)
			fork_of(&s, a);
		else
			restore(&s, snapshots[i]);
		for (unsigned turn = 0; turn < 2; turn++) {
			CHECK_EQ(word_below_top(&s, 0x08), info.scratch_bytes);
			CHECK_EQ(word_below_top(&s, 0x18), tables);
			CHECK_EQ(word_below_top(&s, 0x20), info.generation);
			CHECK(word_below_top(&s, 0x28) == 0 && word_below_top(&s, 0x1008) == 0);
			if (turn == 0)
				CHECK_EQ(word_below_top(&s, 0x10), tables + info.table_bytes);
			else
				CHECK(word_below_top(&s, 0x10) > tables + info.table_bytes);
			rust_fill(&s, &(struct rust_state){0}, 1, 1);
		}
	}
	mote_snapshot_unref(a);
	system_close(&s);
}

TEST(interop_snapshots__generation_word)
{
	struct system s;
	struct rust_state state = {0};
	RUST(&s);
	CHECK_EQ(CALL_U64(&s, "Generation"), 0);
	mote_snapshot *a = take(&s);
	rust_count(&s, &state, 1);
	mote_snapshot *b = take(&s);
	/* A take leaves the word alone. */
	CHECK_EQ(CALL_U64(&s, "Generation"), 0);
	CHECK(info_of(a).generation == 1 && info_of(b).generation == 2);
	restore(&s, a);
	CHECK_EQ(CALL_U64(&s, "Generation"), 1);
	mote_snapshot *c = take(&s);
	CHECK_EQ(info_of(c).generation, 2);
	restore(&s, b);
	CHECK_EQ(CALL_U64(&s, "Generation"), 2);
	fork_of(&s, c);
	CHECK_EQ(CALL_U64(&s, "Generation"), 2);
	mote_snapshot *d = take(&s);
	restore(&s, d);
	CHECK_EQ(CALL_U64(&s, "Generation"), 3);
	restore(&s, s.snapshot);
	CHECK_EQ(CALL_U64(&s, "Generation"), 0);
	mote_snapshot_unref(a);
	mote_snapshot_unref(b);
	mote_snapshot_unref(c);
	mote_snapshot_unref(d);
	system_close(&s);
}

/* Its dispatch entry is overwritten by the host: a read of a model-specific register. */
TEST(interop_snapshots__registers_that_are_denied_stay_denied)
{
	static const uint32_t denied[] = {0xC0000082, 0x1B, 0xC0000103, 0x10};
	struct system s;
	struct rust_state state = {0};
	RUST(&s);
	rust_count(&s, &state, 1);
	mote_snapshot *a = take(&s);
	for (unsigned i = 0; i < sizeof denied / sizeof *denied; i++) {
		uint8_t code[] = {0xB9, 0, 0, 0, 0, 0x0F, 0x32};
		memcpy(code + 1, &denied[i], 4);
		if (i == 2)
			fork_of(&s, a);
		else
			restore(&s, a);
		OK(&s, mote_sandbox_write(s.sandbox, info_of(a).dispatch_gva, code, sizeof code,
					  &s.err));
		FAILS(&s, MOTE_EABORT, "Exception: GeneralProtectionFault", MOTE_I32, "Count",
		      mote_i32(0));
		CHECK_HAS(s.err.message, "[15, 50, ");
	}
	restore(&s, a);
	rust_check(&s, &state);
	mote_snapshot_unref(a);
	system_close(&s);
}

/* ---- bad ends -------------------------------------------------------------------------------- */

struct end {
	const char *function;
	struct mote_value arguments[2]; /* of type 0 behind the last one */
	int code;
	const char *text;
	uint64_t timeout_ns;
	bool is_survived; /* not poisoned */
	bool is_hardware; /* by an instruction that a kernel does not emulate */
};

#define MS 1000000ull
#define I32(x)                     \
	{                          \
		MOTE_I32, 0,       \
		{                  \
			.i32 = (x) \
		}                  \
	}
#define U32(x)                     \
	{                          \
		MOTE_U32, 0,       \
		{                  \
			.u32 = (x) \
		}                  \
	}
#define U64(x)                     \
	{                          \
		MOTE_U64, 0,       \
		{                  \
			.u64 = (x) \
		}                  \
	}
#define TEXT(x)                                         \
	{                                               \
		MOTE_STRING, 0,                         \
		{                                       \
			.string = {(x), sizeof(x) - 1 } \
		}                                       \
	}

static const struct end ends[] = {
	{"Panic", {TEXT("so it ends")}, MOTE_EABORT, "so it ends", 0, false, false},
	{"Abort", {I32(33)}, MOTE_EABORT, "33", 0, false, false},
	{"AbortMessage", {I32(44), TEXT("bye")}, MOTE_EABORT, "44 bye", 0, false, false},
	{"Raise", {I32(0)}, MOTE_EABORT, "DivideByZero", 0, false, false},
	{"Raise", {I32(3)}, MOTE_EABORT, "Breakpoint", 0, false, true},
	{"Raise", {I32(6)}, MOTE_EABORT, "InvalidOpcode", 0, false, false},
	{"Raise", {I32(13)}, MOTE_EABORT, "GeneralProtection", 0, false, false},
	{"Raise", {I32(14)}, MOTE_EABORT, "PageFault", 0, false, false},
	{"Peek", {U64(0x10)}, MOTE_EABORT, "PageFault", 0, false, false},
	{"Overflow", {{0}}, MOTE_EABORT, "Out of physical memory", 0, false, false},
	{"Exhaust", {{0}}, MOTE_EABORT, "", 0, false, false},
	{"ExhaustPages", {{0}}, MOTE_EABORT, "Out of physical memory", 0, false, false},
	{"TripleFault", {{0}}, MOTE_EPROTOCOL, "shutdown", 0, false, false},
	{"Spin", {{0}}, MOTE_ECANCELED, "", 20 * MS, false, false},
	{"SpinAfterHost", {{0}}, MOTE_ECANCELED, "", 60 * MS, false, false},
	{"Out", {I32(0x99), U32(1)}, MOTE_EPROTOCOL, "", 0, false, false},
	{"In", {I32(0x71)}, MOTE_EPROTOCOL, "", 0, false, false},
	{"RawHostCall", {I32(1)}, MOTE_EPROTOCOL, "", 0, false, false},
	{"RawLog", {I32(1)}, MOTE_EPROTOCOL, "", 0, false, false},
	{"SpoilOutput", {I32(0)}, MOTE_EPROTOCOL, "", 0, true, false},
	{"SpoilOutput", {I32(1)}, MOTE_EPROTOCOL, "", 0, true, false},
	{"SpoilOutput", {I32(2)}, MOTE_EPROTOCOL, "", 0, true, false},
	{"SpoilOutput", {I32(4)}, MOTE_EPROTOCOL, "", 0, true, false},
	{"Halt", {{0}}, MOTE_EPROTOCOL, "", 0, true, false},
};
#define ENDS (sizeof ends / sizeof *ends)

/* Results are not checked: none of these returns one. */
static void end_badly(struct system *s, const struct end *end)
{
	const uint32_t count = end->arguments[1].type ? 2 : end->arguments[0].type ? 1 : 0;
	const struct mote_call call = {.size = sizeof call,
				       .function = end->function,
				       .arguments = end->arguments,
				       .argument_count = count,
				       .result = MOTE_VOID,
				       .timeout_ns = end->timeout_ns};
	system_fails(s, __FILE__, __LINE__, end->code, end->text, &call);
	if (s->err.poisoned == end->is_survived)
		check_failed(__FILE__, __LINE__, "%s: %s: poisoned: %u", end->function,
			     s->err.message, s->err.poisoned);
}

static void check_refused(struct system *s)
{
	mote_snapshot *none = NULL;
	CHECK_EQ(mote_sandbox_state(s->sandbox), MOTE_STATE_POISONED);
	FAILS(s, MOTE_ESTATE, "poisoned", MOTE_I32, "Count", mote_i32(0));
	CHECK_EQ(mote_snapshot_take(s->sandbox, NULL, &none, &s->err), MOTE_ESTATE);
	CHECK(none == NULL);
}

/* To the snapshot that it runs from, to its parent, and by way of the pool to a fork. */
TEST(interop_snapshots__every_bad_end_is_undone)
{
	struct system s;
	struct rust_state parent = {0}, child;
	/* Small: guests that take all of it are done soon. */
	RUST_WITH(&s, 0x80000);
	rust_count(&s, &parent, 1);
	mote_snapshot *a = take(&s);
	child = parent;
	rust_keep(&s, &child, "kept", 4);
	rust_fill(&s, &child, 4, 40);
	mote_snapshot *b = take(&s);
	for (unsigned i = 0; i < ENDS; i++) {
		if (ends[i].is_hardware && !system_is_nested())
			continue;
		const bool is_child = i % 3 != 1;
		struct rust_state state = is_child ? child : parent;
		restore(&s, b);
		(void)CALL_I32(&s, "Count", mote_i32(1000));
		(void)CALL_I32(&s, "FillPages", mote_i32(6), mote_i32(7));
		end_badly(&s, &ends[i]);
		if (!ends[i].is_survived)
			check_refused(&s);
		if (i % 3 == 2) {
			mote_sandbox_destroy(s.sandbox);
			s.sandbox = fork_on(&s, s.engine, b);
		} else {
			restore(&s, is_child ? b : a);
		}
		CHECK_EQ(mote_sandbox_state(s.sandbox), MOTE_STATE_READY);
		rust_check(&s, &state);
	}
	mote_snapshot_unref(a);
	mote_snapshot_unref(b);
	system_close(&s);
}
