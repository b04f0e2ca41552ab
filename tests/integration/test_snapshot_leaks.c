/* SPDX-License-Identifier: MIT */
/*
 * What one tenant knows, the next one cannot find. A guest fills every byte and every register that
 * it can reach with a secret and ends its call as it likes; then the sandbox is restored, or goes
 * through the pool, and the next guest looks everywhere. And what must differ between two starts
 * differs.
 */
#include "snapshot_world.h"

/* Canonical as an address, odd in every byte. */
#define SECRET 0x00005EC12E7CA9F1ull
#define ODD    0xD1342543DE82EF95ull /* the guest's */

struct leaks {
	struct system s;
	mote_snapshot *ready, *other; /* other: taken later */
	uint64_t places[SNAP_PLACES];
	uint8_t message[256]; /* the result of a call that returns nothing */
	uint32_t message_bytes;
	char text[SNAP_TEXT_BYTES];
};

static void open_leaks(struct leaks *l)
{
	struct system *s = &l->s;
	memset(l, 0, sizeof *l);
	OPEN(s, "snap_probe", .snapshot.heap_bytes = 0x40000, .snapshot.stack_bytes = 0x20000);
	snap_find_places(s, l->places);
	CALL_VOID(s, "nothing");
	OK(s, mote_sandbox_read(s->sandbox, l->places[SNAP_PLACE_OUTPUT] + 8, l->message,
				sizeof l->message, &s->err));
	memcpy(&l->message_bytes, l->message, 4);
	l->message_bytes += 4;
	OK(s, mote_snapshot_take(s->sandbox, NULL, &l->ready, &s->err));
	CALL_VOID(s, "write64", mote_u64(l->places[SNAP_PLACE_DATA]), mote_u64(1));
	OK(s, mote_snapshot_take(s->sandbox, NULL, &l->other, &s->err));
	OK(s, mote_sandbox_restore(s->sandbox, l->ready, NULL, &s->err));
}

static void close_leaks(struct leaks *l)
{
	mote_snapshot_unref(l->ready);
	mote_snapshot_unref(l->other);
	system_close(&l->s);
}

/* ---- leaving secrets ------------------------------------------------------------------------- */

static void fill(struct leaks *l, uint64_t address, uint64_t bytes)
{
	CALL_VOID(&l->s, "fill", mote_u64(address), mote_u64(bytes), mote_u64(SECRET));
}

/* All memory that a guest may write without ending. */
static void fill_memory(struct leaks *l)
{
	const uint64_t *p = l->places;
	fill(l, p[SNAP_PLACE_DATA], SNAP_PAGES * SNAP_PAGE_BYTES);
	fill(l, p[SNAP_PLACE_ZEROES], SNAP_PAGES * SNAP_PAGE_BYTES);
	fill(l, p[SNAP_PLACE_HEAP], p[SNAP_PLACE_HEAP_BYTES] / 2);
	fill(l, p[SNAP_PLACE_STACK], p[SNAP_PLACE_STACK_BYTES] / 2);
	/* The interrupt stack; its first word is the SYSCALL's. Faults use its end. */
	fill(l, p[SNAP_PLACE_SYSCALL_WORD], SNAP_PAGE_BYTES);
}

/* The whole input buffer, by a call whose argument fills it. */
static void fill_input(struct leaks *l)
{
	static uint64_t words[0x3F00 / 8];
	for (size_t i = 0; i < sizeof words / 8; i++)
		words[i] = SECRET;
	(void)CALL_U64(&l->s, "script", mote_bytes(words, 0));
	struct mote_error err;
	(void)!mote_sandbox_call(
		l->s.sandbox,
		CALL_OF("no such function", MOTE_VOID, mote_bytes(words, sizeof words)), NULL,
		&err);
}

/* Every register, the output buffer, and an end that the host takes for a good one. selectors: for
 * DS, ES, FS and GS; UINT32_MAX: as they are. code: of the code segment, 0: as it is. */
static int end_with_registers(struct leaks *l, uint32_t selectors, uint32_t code,
			      struct mote_error *err)
{
	uint8_t registers[SNAP_FILL_SIZE];
	struct mote_engine_info info;
	uint64_t value = SECRET, flags = 0x2 | 0x400 | 0xD5 | 0x40000;
	mote_engine_get_info(l->s.engine, &info);
	const uint32_t words[4] = {(uint32_t)info.vector_state_mask, 0x1F80 | 0xE040, selectors,
				   code};
	memcpy(registers + SNAP_FILL_VALUE, &value, 8);
	memcpy(registers + SNAP_FILL_FLAGS, &flags, 8);
	memcpy(registers + SNAP_FILL_MASK, words, sizeof words);
	for (uint32_t i = SNAP_FILL_BYTES; i < SNAP_FILL_SIZE; i += 8)
		memcpy(registers + i, &value, 8);
	return mote_sandbox_call(l->s.sandbox,
				 CALL_OF("fill_and_end", MOTE_VOID,
					 mote_bytes(l->message, l->message_bytes),
					 mote_bytes(registers, sizeof registers), mote_u64(SECRET)),
				 NULL, err);
}

static void leave_everything(struct leaks *l)
{
	struct mote_error err;
	fill_memory(l);
	fill_input(l);
	int rc = end_with_registers(l, UINT32_MAX, 0, &err);
	if (rc < 0)
		check_failed(__FILE__, __LINE__, "%s", err.message);
	CHECK_EQ(mote_sandbox_state(l->s.sandbox), MOTE_STATE_READY);
}

/* ---- looking for them ------------------------------------------------------------------------ */

static void refuse(struct leaks *l, const char *where, const uint8_t *bytes, size_t len)
{
	const uint64_t secret = SECRET;
	/* All eight bytes anywhere, or six of them: the others are zero. */
	for (size_t i = 0; i + 6 <= len; i++)
		if (memcmp(bytes + i, &secret, 6) == 0)
			check_failed(__FILE__, __LINE__, "%s has the secret at offset 0x%zx", where,
				     i);
	(void)l;
}

/* Every page that the guest can read, as the host sees it. */
static void refuse_in_memory(struct leaks *l, const mote_snapshot *snapshot)
{
	static uint8_t bytes[0x100000];
	struct mote_region r;
	for (uint32_t i = 0; mote_snapshot_get_region(snapshot, i, &r) == MOTE_OK; i++) {
		CHECK(r.bytes <= sizeof bytes || r.is_system);
		if (!r.is_system && strcmp(r.name, "mappings") && strcmp(r.name, "entry code")) {
			OK(&l->s,
			   mote_sandbox_read(l->s.sandbox, r.gva, bytes, r.bytes, &l->s.err));
			refuse(l, r.name, bytes, r.bytes);
		}
	}
}

/* The same as the guest sees it: its translations are not the host's. */
static void refuse_in_guest(struct leaks *l, const mote_snapshot *snapshot)
{
	struct mote_region r;
	for (uint32_t i = 0; mote_snapshot_get_region(snapshot, i, &r) == MOTE_OK; i++)
		if (!r.is_system && strcmp(r.name, "mappings") &&
		    CALL_U64(&l->s, "search", mote_u64(r.gva), mote_u64(r.bytes),
			     mote_u64(SECRET * ODD)))
			check_failed(__FILE__, __LINE__, "the guest finds the secret in %s",
				     r.name);
}

static uint64_t general(const uint8_t *state, uint32_t i)
{
	uint64_t value;
	memcpy(&value, state + SNAP_GENERAL + i * 8, 8);
	return value;
}

static uint64_t word(const uint8_t *state, uint32_t offset)
{
	uint64_t value;
	memcpy(&value, state + offset, 8);
	return value;
}

/* Registers at the entry of the call that was made just now: those that carry something, and zero.
 */
static void check_general(const struct leaks *l, const uint8_t *state)
{
	const uint64_t *p = l->places;
	struct mote_engine_info info;
	mote_engine_get_info(l->s.engine, &info);
	CHECK_EQ(general(state, 0), info.vector_state_mask);
	CHECK(general(state, 3) < 0x200000); /* where the guest's entry is: in its image */
	CHECK_EQ(general(state, 4), p[SNAP_PLACE_STACK] + p[SNAP_PLACE_STACK_BYTES]);
	CHECK(general(state, 6) < 0x100); /* bytes of the call, and where it is */
	CHECK_EQ(general(state, 7), p[SNAP_PLACE_INPUT] + 8);
	CHECK_EQ(general(state, 8), p[SNAP_PLACE_RUN_INFO]);
	static const uint8_t zero[] = {1, 2, 5, 9, 10, 11, 12, 13, 14, 15};
	for (size_t i = 0; i < sizeof zero; i++)
		if (general(state, zero[i]))
			check_failed(__FILE__, __LINE__, "register %u is 0x%llx", zero[i],
				     (unsigned long long)general(state, zero[i]));
	/* Bit 1 always; IF where the hypervisor is software; PF and ZF of the entry code's own. */
	CHECK_EQ(word(state, SNAP_FLAGS) & ~0x244ull, 2);
}

static void check_segments(const uint8_t *state, uint64_t fs_base)
{
	CHECK_EQ(word(state, SNAP_SELECTORS), 0x33);
	for (uint32_t i = 1; i < 6; i++)
		CHECK_EQ(word(state, SNAP_SELECTORS + i * 8), 0);
	CHECK_EQ(word(state, SNAP_FS_BASE), fs_base);
	CHECK_EQ(word(state, SNAP_GS_BASE), 0);
}

static void check_vectors(struct leaks *l, const uint8_t *state)
{
	static const uint8_t zeroes[SNAP_VECTORS_BYTES];
	uint8_t vectors[SNAP_VECTORS_BYTES];
	uint16_t control;
	uint32_t mxcsr;
	memcpy(&control, state + SNAP_FX, 2);
	memcpy(&mxcsr, state + SNAP_FX + 24, 4);
	CHECK_EQ(control, 0x37F);
	CHECK_EQ(mxcsr, 0x1F80);
	CHECK_MEM(state + SNAP_FX + 2, zeroes, 22);         /* status, tags, last instruction */
	CHECK_MEM(state + SNAP_FX + 32, zeroes, 128 + 256); /* ST and XMM */
	OK(&l->s, mote_sandbox_read(l->s.sandbox, l->places[SNAP_PLACE_VECTORS], vectors,
				    sizeof vectors, &l->s.err));
	CHECK_MEM(vectors + 32, zeroes, 480 - 32);
	/* Behind the header: YMM, masks, ZMM, whatever there is. */
	CHECK_MEM(vectors + SNAP_XSAVE_HEADER + 64, zeroes,
		  sizeof vectors - SNAP_XSAVE_HEADER - 64);
}

static void check_registers(struct leaks *l, uint64_t fs_base)
{
	uint8_t state[SNAP_STATE_BYTES];
	CALL_VOID(&l->s, "nothing");
	OK(&l->s, mote_sandbox_read(l->s.sandbox, l->places[SNAP_PLACE_STATE], state, sizeof state,
				    &l->s.err));
	refuse(l, "the registers", state, sizeof state);
	check_general(l, state);
	check_segments(state, fs_base);
	check_vectors(l, state);
}

/* FS base, as a fork that was made from nothing has it. */
static uint64_t fs_base_of(struct leaks *l, mote_snapshot *snapshot)
{
	struct system *s = &l->s;
	mote_sandbox *mine = s->sandbox;
	uint64_t base = 0;
	OK(s,
	   mote_sandbox_create(snap_plain_engine(), snapshot, s->host, NULL, &s->sandbox, &s->err));
	CALL_VOID(s, "nothing");
	OK(s, mote_sandbox_read(s->sandbox, l->places[SNAP_PLACE_STATE] + SNAP_FS_BASE, &base, 8,
				&s->err));
	mote_sandbox_destroy(s->sandbox);
	s->sandbox = mine;
	return base;
}

static void check_nothing_is_left(struct leaks *l, mote_snapshot *snapshot)
{
	refuse_in_memory(l, snapshot);
	if (!snap_is_restored(l->s.sandbox, snapshot, l->text))
		check_failed(__FILE__, __LINE__, "%s", l->text);
	check_registers(l, fs_base_of(l, snapshot));
	refuse_in_guest(l, snapshot);
}

static void restore(struct leaks *l, mote_snapshot *snapshot, uint8_t strict)
{
	const struct mote_restore_options options = {.size = sizeof options, .strict = strict};
	OK(&l->s, mote_sandbox_restore(l->s.sandbox, snapshot, &options, &l->s.err));
}

/* ---- the tests ------------------------------------------------------------------------------- */

TEST(snapshot_leaks__the_search_finds_what_is_there)
{
	struct leaks l;
	open_leaks(&l);
	const uint64_t data = l.places[SNAP_PLACE_DATA];
	CALL_VOID(&l.s, "write64", mote_u64(data + 0x5008), mote_u64(SECRET));
	CHECK_EQ(CALL_U64(&l.s, "search", mote_u64(data), mote_u64(0x6000), mote_u64(SECRET * ODD)),
		 1);
	close_leaks(&l);
}

TEST(snapshot_leaks__nothing_is_left_by_a_restore_in_place)
{
	struct leaks l;
	open_leaks(&l);
	for (unsigned i = 0; i < 4; i++) {
		leave_everything(&l);
		restore(&l, l.ready, 0);
		check_nothing_is_left(&l, l.ready);
		restore(&l, l.ready, 0);
	}
	struct mote_statistics s = system_statistics(&l.s);
	CHECK(s.restores >= 8);
	CHECK(s.restores_strict == 0);
	close_leaks(&l);
}

TEST(snapshot_leaks__nothing_is_left_by_a_strict_restore)
{
	struct leaks l;
	open_leaks(&l);
	for (unsigned i = 0; i < 3; i++) {
		leave_everything(&l);
		restore(&l, l.ready, 1);
		check_nothing_is_left(&l, l.ready);
	}
	close_leaks(&l);
}

TEST(snapshot_leaks__nothing_is_left_in_another_snapshot)
{
	struct leaks l;
	open_leaks(&l);
	for (unsigned i = 0; i < 4; i++) {
		mote_snapshot *next = i % 2 ? l.ready : l.other;
		leave_everything(&l);
		restore(&l, next, i >= 2);
		check_nothing_is_left(&l, next);
	}
	close_leaks(&l);
}

/* The pool's shells are wiped when they come in: one is given out for the same snapshot, one for
 * another. */
TEST(snapshot_leaks__nothing_is_left_by_way_of_the_pool)
{
	struct leaks l;
	open_leaks(&l);
	struct system *s = &l.s;
	for (unsigned i = 0; i < 6; i++) {
		mote_snapshot *next = i % 2 ? l.ready : l.other;
		struct mote_engine_info info;
		(void)mote_engine_trim(s->engine, NULL);
		leave_everything(&l);
		mote_sandbox_destroy(s->sandbox);
		s->sandbox = NULL;
		mote_engine_get_info(s->engine, &info);
		CHECK_EQ(info.pool_count, 1);
		OK(s, mote_sandbox_create(s->engine, next, s->host, NULL, &s->sandbox, &s->err));
		mote_engine_get_info(s->engine, &info);
		CHECK_EQ(info.pool_count, 0);
		check_nothing_is_left(&l, next);
	}
	close_leaks(&l);
}

TEST(snapshot_leaks__nothing_is_left_by_calls_that_end_badly)
{
	struct leaks l;
	open_leaks(&l);
	for (uint32_t how = 0; how < SNAP_ENDS; how++) {
		struct mote_call call = *CALL_OF("end_badly", MOTE_VOID, mote_u32(how));
		call.timeout_ns = 3000000;
		leave_everything(&l);
		/* Out of memory only where there is a bound: it ends well here. */
		int rc = mote_sandbox_call(l.s.sandbox, &call, NULL, &l.s.err);
		CHECK(rc < 0 || how == SNAP_END_MEMORY);
		mote_snapshot *next = how % 2 ? l.ready : l.other;
		restore(&l, next, 0);
		check_nothing_is_left(&l, next);
	}
	close_leaks(&l);
}

/* Which selectors there are is the kernel's business. */
TEST(snapshot_leaks__selectors_that_could_be_loaded_are_gone)
{
	static const uint32_t selectors[] = {0, 3, 0x28, 0x30, 0x33, 0x7B};
	struct leaks l;
	struct mote_error err;
	unsigned loaded = 0;
	open_leaks(&l);
	for (size_t i = 0; i < sizeof selectors / sizeof *selectors; i++) {
		int rc = end_with_registers(&l, selectors[i], 0, &err);
		loaded += rc == MOTE_OK;
		CHECK(rc == MOTE_OK || mote_sandbox_state(l.s.sandbox) == MOTE_STATE_POISONED);
		restore(&l, l.ready, 0);
		check_nothing_is_left(&l, l.ready);
	}
	check_note("%u of %zu data selectors could be loaded", loaded,
		   sizeof selectors / sizeof *selectors);
	CHECK(loaded >= 2);
	close_leaks(&l);
}

/* A call that ends in a code segment other than the usual one, say a 32-bit one of the kernel's:
 * the next call must not begin in it. Refusing is as good. */
TEST(snapshot_leaks__no_call_begins_in_another_tenants_code_segment)
{
	struct leaks l;
	struct mote_error err;
	unsigned loaded = 0;
	open_leaks(&l);
	/* An emulated processor knows the library's own segments only. */
	const uint32_t end = system_is_emulated() ? 0x40 : 0x100;
	for (uint32_t selector = 3; selector < end; selector += 4) {
		int rc = end_with_registers(&l, UINT32_MAX, selector, &err);
		loaded += rc == MOTE_OK && selector != 0x33;
		restore(&l, l.ready, 0);
		check_registers(&l, fs_base_of(&l, l.ready));
		restore(&l, l.ready, 0);
	}
	check_note("%u other code segments", loaded);
	close_leaks(&l);
}

/* Neither: a stack segment. */
TEST(snapshot_leaks__selectors_are_loaded_one_by_one)
{
	struct leaks l;
	open_leaks(&l);
	const uint32_t step = system_is_emulated() ? 7 : 1;
	for (uint32_t which = 0; which < 6; which++)
		for (uint32_t selector = which % 2; selector < 0x100;
		     selector += step + which % 3) {
			(void)!mote_sandbox_call(l.s.sandbox,
						 CALL_OF("load_selector", MOTE_VOID,
							 mote_u32(selector), mote_u32(which)),
						 NULL, &l.s.err);
			if (mote_sandbox_state(l.s.sandbox) == MOTE_STATE_READY) {
				restore(&l, l.ready, 0);
				check_registers(&l, fs_base_of(&l, l.ready));
			}
			restore(&l, l.ready, 0);
		}
	close_leaks(&l);
}

/* ---- snapshots that are taken ---------------------------------------------------------------- */

TEST(snapshot_leaks__a_secret_that_was_overwritten_is_not_in_a_snapshot)
{
	struct leaks l;
	mote_snapshot *taken = NULL;
	open_leaks(&l);
	struct system *s = &l.s;
	fill_memory(&l);
	fill_input(&l);
	const uint64_t *p = l.places;
	const uint64_t zero = 0;
	CALL_VOID(s, "fill", mote_u64(p[SNAP_PLACE_DATA]), mote_u64(SNAP_PAGES * SNAP_PAGE_BYTES),
		  mote_u64(7));
	CALL_VOID(s, "fill", mote_u64(p[SNAP_PLACE_ZEROES]), mote_u64(SNAP_PAGES * SNAP_PAGE_BYTES),
		  mote_u64(zero));
	CALL_VOID(s, "fill", mote_u64(p[SNAP_PLACE_HEAP]), mote_u64(p[SNAP_PLACE_HEAP_BYTES] / 2),
		  mote_u64(zero));
	CALL_VOID(s, "fill", mote_u64(p[SNAP_PLACE_STACK]), mote_u64(p[SNAP_PLACE_STACK_BYTES] / 2),
		  mote_u64(9));
	/* What calls left on the stack is the guest's: it is there, as in the guest that goes on.
	 */
	OK(s, mote_snapshot_take(s->sandbox, NULL, &taken, &s->err));
	mote_sandbox_destroy(s->sandbox);
	s->sandbox = NULL;
	OK(s, mote_sandbox_create(s->engine, taken, s->host, NULL, &s->sandbox, &s->err));
	static const uint32_t kinds[] = {SNAP_PLACE_DATA, SNAP_PLACE_ZEROES};
	for (size_t i = 0; i < 2; i++)
		CHECK_EQ(CALL_U64(s, "search", mote_u64(p[kinds[i]]),
				  mote_u64(SNAP_PAGES * SNAP_PAGE_BYTES), mote_u64(SECRET * ODD)),
			 0);
	CHECK_EQ(CALL_U64(s, "search", mote_u64(p[SNAP_PLACE_HEAP]),
			  mote_u64(p[SNAP_PLACE_HEAP_BYTES] / 2), mote_u64(SECRET * ODD)),
		 0);
	CHECK_EQ(CALL_U64(s, "search", mote_u64(p[SNAP_PLACE_STACK]),
			  mote_u64(p[SNAP_PLACE_STACK_BYTES] / 2), mote_u64(SECRET * ODD)),
		 0);
	CHECK_EQ(CALL_U64(s, "search", mote_u64(p[SNAP_PLACE_SYSCALL_WORD]),
			  mote_u64(SNAP_PAGE_BYTES), mote_u64(SECRET * ODD)),
		 0);
	mote_snapshot_unref(taken);
	close_leaks(&l);
}

/* FS and GS base are part of what is frozen: they are in the fork what they are in the guest that
 * goes on, and not in the parent's. */
TEST(snapshot_leaks__segment_bases_are_part_of_a_snapshot)
{
	struct leaks l;
	struct mote_error err;
	mote_snapshot *taken = NULL;
	open_leaks(&l);
	struct system *s = &l.s;
	const uint64_t at = l.places[SNAP_PLACE_STATE];
	uint64_t on[2], fork[2], parent[2];
	CHECK_EQ(end_with_registers(&l, UINT32_MAX, 0, &err), MOTE_OK);
	OK(s, mote_snapshot_take(s->sandbox, NULL, &taken, &s->err));
	CALL_VOID(s, "nothing");
	OK(s, mote_sandbox_read(s->sandbox, at + SNAP_FS_BASE, on, sizeof on, &s->err));
	CHECK_EQ(on[0], SECRET);
	CHECK_EQ(on[1], SECRET);
	for (unsigned i = 0; i < 6; i++) {
		restore(&l, taken, i % 2);
		CALL_VOID(s, "nothing");
		OK(s, mote_sandbox_read(s->sandbox, at + SNAP_FS_BASE, fork, sizeof fork, &s->err));
		CHECK_MEM(fork, on, sizeof on);
		if (i % 3 == 2) {
			restore(&l, l.ready, 0);
			CALL_VOID(s, "nothing");
			OK(s, mote_sandbox_read(s->sandbox, at + SNAP_FS_BASE, parent,
						sizeof parent, &s->err));
			CHECK(parent[0] != SECRET);
			CHECK_EQ(parent[1], 0);
		}
	}
	mote_snapshot_unref(taken);
	close_leaks(&l);
}

/* In layers, too: a page that a child replaced is dead for the child's guests. */
TEST(snapshot_leaks__a_parents_page_cannot_be_read_by_a_child)
{
	struct leaks l;
	mote_snapshot *parent = NULL, *child = NULL;
	open_leaks(&l);
	struct system *s = &l.s;
	const uint64_t data = l.places[SNAP_PLACE_DATA];
	const uint64_t bytes = SNAP_PAGES * SNAP_PAGE_BYTES;
	fill(&l, data, bytes);
	OK(s, mote_snapshot_take(s->sandbox, NULL, &parent, &s->err));
	CALL_VOID(s, "fill", mote_u64(data), mote_u64(bytes), mote_u64(3));
	OK(s, mote_snapshot_take(s->sandbox, NULL, &child, &s->err));
	for (unsigned i = 0; i < 4; i++) {
		restore(&l, i % 2 ? child : parent, (uint8_t)(i / 2));
		CHECK_EQ(CALL_U64(s, "search", mote_u64(data), mote_u64(bytes),
				  mote_u64(SECRET * ODD)),
			 i % 2 ? 0 : bytes / 8);
		CALL_VOID(s, "touch", mote_u64(data), mote_u64(SNAP_PAGES), mote_u64(1));
	}
	restore(&l, child, 0);
	struct mote_region r;
	for (uint32_t i = 0; mote_snapshot_get_region(child, i, &r) == MOTE_OK; i++)
		if (!r.is_system && strcmp(r.name, "mappings") && strcmp(r.name, "stack"))
			CHECK_EQ(CALL_U64(s, "search", mote_u64(r.gva), mote_u64(r.bytes),
					  mote_u64(SECRET * ODD)),
				 0);
	mote_snapshot_unref(parent);
	mote_snapshot_unref(child);
	close_leaks(&l);
}

/* ---- run info -------------------------------------------------------------------------------- */

static void read_fresh(struct leaks *l, mote_sandbox *sandbox, struct mote_fresh *fresh)
{
	uint64_t at =
		l->places[SNAP_PLACE_RUN_INFO] + offsetof(struct mote_abi_run_info, generation);
	OK(&l->s, mote_sandbox_read(sandbox, at, &fresh->generation, 8, &l->s.err));
	at = l->places[SNAP_PLACE_RUN_INFO] + offsetof(struct mote_abi_run_info, random);
	OK(&l->s, mote_sandbox_read(sandbox, at, fresh->random, sizeof fresh->random, &l->s.err));
}

static int by_number(const void *a, const void *b)
{
	return memcmp(a, b, 8);
}

/* No eight bytes of any start are those of another one. */
static void check_distinct(const struct mote_fresh *fresh, size_t count)
{
	enum { WORDS = 1 + sizeof fresh->random / 8 };
	uint64_t *all = calloc(count, WORDS * sizeof *all);
	CHECK(all);
	for (size_t i = 0; i < count; i++) {
		all[i * WORDS] = fresh[i].generation;
		memcpy(&all[i * WORDS + 1], fresh[i].random, sizeof fresh->random);
	}
	qsort(all, count * WORDS, sizeof *all, by_number);
	size_t same = 0;
	for (size_t i = 1; i < count * WORDS; i++)
		same += all[i] == all[i - 1];
	free(all);
	CHECK_EQ(same, 0);
}

#define STARTS 3000

TEST(snapshot_leaks__every_start_has_a_generation_and_random_bytes_of_its_own)
{
	static struct mote_fresh fresh[STARTS];
	struct leaks l;
	open_leaks(&l);
	struct system *s = &l.s;
	const size_t count = system_repetitions(STARTS);
	for (size_t i = 0; i < count; i++) {
		if (i % 10 == 9) {
			mote_sandbox_destroy(s->sandbox);
			s->sandbox = NULL;
			OK(s, mote_sandbox_create(s->engine, i % 20 == 9 ? l.other : l.ready,
						  s->host, NULL, &s->sandbox, &s->err));
		} else {
			restore(&l, i % 100 == 1 ? l.other : l.ready, i % 50 == 3);
		}
		read_fresh(&l, s->sandbox, &fresh[i]);
	}
	check_distinct(fresh, count);
	close_leaks(&l);
}

TEST(snapshot_leaks__a_sandbox_that_goes_on_keeps_its_generation)
{
	struct leaks l;
	mote_snapshot *taken = NULL;
	struct mote_fresh before, after;
	open_leaks(&l);
	read_fresh(&l, l.s.sandbox, &before);
	CALL_VOID(&l.s, "touch", mote_u64(l.places[SNAP_PLACE_DATA]), mote_u64(5), mote_u64(1));
	OK(&l.s, mote_snapshot_take(l.s.sandbox, NULL, &taken, &l.s.err));
	CALL_VOID(&l.s, "nothing");
	read_fresh(&l, l.s.sandbox, &after);
	CHECK_EQ(before.generation, after.generation);
	CHECK_MEM(before.random, after.random, sizeof before.random);
	restore(&l, taken, 0);
	read_fresh(&l, l.s.sandbox, &after);
	CHECK(before.generation != after.generation);
	mote_snapshot_unref(taken);
	close_leaks(&l);
}

TEST(snapshot_leaks__a_start_can_be_given_its_generation_and_bytes)
{
	struct leaks l;
	struct mote_fresh given = {.generation = 77}, found;
	open_leaks(&l);
	struct system *s = &l.s;
	for (size_t i = 0; i < sizeof given.random; i++)
		given.random[i] = (uint8_t)(i + 1);
	for (uint8_t strict = 0; strict < 2; strict++) {
		const struct mote_restore_options options = {
			.size = sizeof options, .strict = strict, .fresh = &given};
		OK(s, mote_sandbox_restore(s->sandbox, l.ready, &options, &s->err));
		read_fresh(&l, s->sandbox, &found);
		CHECK_MEM(&found, &given, sizeof given);
	}
	mote_sandbox_destroy(s->sandbox);
	s->sandbox = NULL;
	const struct mote_sandbox_options options = {.size = sizeof options, .fresh = &given};
	OK(s, mote_sandbox_create(s->engine, l.ready, s->host, &options, &s->sandbox, &s->err));
	read_fresh(&l, s->sandbox, &found);
	CHECK_MEM(&found, &given, sizeof given);
	restore(&l, l.ready, 0);
	read_fresh(&l, s->sandbox, &found);
	CHECK(found.generation != given.generation);
	close_leaks(&l);
}
