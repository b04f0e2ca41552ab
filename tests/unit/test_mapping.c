/* SPDX-License-Identifier: MIT */
/* Memory of the embedder's in a guest: what is refused, where it is, and that it goes. */
#include "world.h"

#include <stdlib.h>
#include <unistd.h>

#include "core/confined.h"

#define PAGE        4096ull
#define SPACE_BYTES (64 * PAGE)

static struct world w;
static _Alignas(4096) uint8_t memory[4 * PAGE];

static void answer(struct double_machine *m, struct mote__exit *exit)
{
	if (m->step == 0)
		(void)guest_pop_call(m);
	guest_return(m, exit, mote_void());
}

static const struct double_guest good = {NULL, answer, NULL};

static void ready(enum world_kind kind)
{
	const struct tiny_options image = {.is_confined = kind == CONFINED};
	const struct mote_snapshot_options o = {
		.size = sizeof o, .mapping_bytes = kind == CONFINED ? SPACE_BYTES : 0};
	world_make_of(&w, &image, &o, &good);
	world_sandbox(&w, NULL);
	OK(&w, mote_sandbox_start(w.sandbox, 0, &w.err));
	for (size_t i = 0; i < sizeof memory; i++)
		memory[i] = (uint8_t)(i * 7 + i / PAGE + 1);
}

static struct mote_mapping mapping(void)
{
	return (struct mote_mapping){.size = sizeof(struct mote_mapping),
				     .memory = memory,
				     .bytes = sizeof memory,
				     .gpa = w.is_confined ? 0 : 0x100000000,
				     .access = MOTE_READ};
}

static int map(const struct mote_mapping *m, uint64_t *placed)
{
	return mote_sandbox_map(w.sandbox, m, placed, &w.err);
}

static uint64_t space(void)
{
	struct mote_snapshot_info info;
	mote_snapshot_get_info(w.snapshot, &info);
	CHECK_EQ(info.mapping_bytes, w.is_confined ? SPACE_BYTES : 0);
	return info.mapping_gva;
}

/* ---- what is refused ------------------------------------------------------------------------- */

TEST_BOTH(mapping__refuses_missing_arguments)
{
	ready(kind);
	const struct mote_mapping m = mapping();
	FAILS(&w, mote_sandbox_map(NULL, &m, NULL, &w.err), MOTE_EINVAL);
	CHECK_STR(w.err.message, "sandbox is NULL");
	FAILS(&w, map(NULL, NULL), MOTE_EINVAL);
	CHECK_STR(w.err.message, "mapping is NULL");
	CHECK_EQ(mote_sandbox_map(w.sandbox, NULL, NULL, NULL), MOTE_EINVAL);
	world_free(&w);
}

#define REFUSED(field, value, text)                         \
	do {                                                \
		struct mote_mapping bad = mapping();        \
		uint64_t placed = 0x5A;                     \
		bad.field = (value);                        \
		FAILS(&w, map(&bad, &placed), MOTE_EINVAL); \
		CHECK_HAS(w.err.message, text);             \
		CHECK_EQ(placed, 0x5A);                     \
	} while (0)

TEST_BOTH(mapping__refuses_what_cannot_be)
{
	ready(kind);
	unsigned maps = w.machine->maps;
	REFUSED(size, sizeof(struct mote_mapping) - 1, "mote_mapping.size is");
	REFUSED(path, "/dev/null", "both given");
	REFUSED(memory, NULL, "both NULL");
	REFUSED(memory, memory + 1, "no multiples of 0x1000");
	REFUSED(bytes, 0, "no multiples of 0x1000");
	REFUSED(bytes, PAGE + 1, "no multiples of 0x1000");
	REFUSED(gva, space() + 1, "no multiple of 0x1000");
	REFUSED(gpa, 0x100000001, "no multiple of 0x1000");
	REFUSED(access, 0, "access is 0x0");
	REFUSED(access, MOTE_WRITE, "access is 0x2");
	REFUSED(access, 8 | MOTE_READ, "access is 0x9");
	REFUSED(access, MOTE_READ | (kind == CONFINED ? MOTE_EXECUTE : MOTE_WRITE), "access is");
	CHECK_EQ(w.machine->maps, maps);
	CHECK_EQ(w.sandbox->mapped_count, 0);
	world_free(&w);
}

TEST(mapping__a_confined_guest_has_a_space_for_it)
{
	ready(CONFINED);
	REFUSED(gpa, 0x100000000, "gpa is 0x100000000");
	REFUSED(gva, space() - PAGE, "mapping_bytes of the snapshot");
	REFUSED(gva, space() + SPACE_BYTES - PAGE, "mapping_bytes of the snapshot");
	REFUSED(gva, space() + SPACE_BYTES, "mapping_bytes of the snapshot");
	REFUSED(gva, TINY_DATA_GVA, "mapping_bytes of the snapshot");
	REFUSED(bytes, SPACE_BYTES + PAGE, "mapping_bytes of the snapshot");
	world_free(&w);
	/* None by default. */
	world_ready(&w, CONFINED, &good);
	REFUSED(access, MOTE_READ, "mapping_bytes of the snapshot allow 0x0");
	world_free(&w);
}

TEST(mapping__a_stock_guest_has_addresses_that_are_taken)
{
	ready(STOCK);
	const struct mote__layout *l = &w.snapshot->layout;
	REFUSED(gva, PAGE, "makes its own page tables");
	REFUSED(gpa, 0, "gpa is 0x0");
	REFUSED(gpa, l->family->base_gpa, "overlap the snapshot");
	REFUSED(gpa, w.snapshot->memory_end - PAGE, "overlap the snapshot");
	REFUSED(gpa, l->scratch_gpa, "overlap scratch");
	REFUSED(gpa, l->scratch_gpa - PAGE, "overlap scratch");
	REFUSED(gpa, l->family->physical_end, "limits are");
	REFUSED(gpa, UINT64_MAX - PAGE + 1, "limits are");
	struct mote_mapping m = mapping();
	OK(&w, map(&m, NULL));
	m.gpa += sizeof memory - PAGE;
	FAILS(&w, map(&m, NULL), MOTE_EINVAL);
	CHECK_HAS(w.err.message, "overlap another mapping");
	world_free(&w);
}

TEST_BOTH(mapping__there_is_a_most)
{
	ready(kind);
	struct mote_mapping m = mapping();
	m.bytes = PAGE;
	for (unsigned i = 0; i < MOTE_MAX_MAPPINGS; i++) {
		OK(&w, map(&m, NULL));
		m.gpa += kind == STOCK ? PAGE : 0;
	}
	FAILS(&w, map(&m, NULL), MOTE_EINVAL);
	CHECK_STR(w.err.message, "a sandbox has at most 32 mappings");
	OK(&w, mote_sandbox_restore(w.sandbox, w.snapshot, NULL, &w.err));
	m = mapping();
	OK(&w, map(&m, NULL));
	world_free(&w);
}

TEST_BOTH(mapping__needs_a_sandbox_that_can_run)
{
	ready(kind);
	const struct mote_mapping m = mapping();
	static const uint32_t states[] = {MOTE_STATE_RUNNING, MOTE_STATE_POISONED,
					  MOTE_STATE_BROKEN};
	for (size_t i = 0; i < 3; i++) {
		w.sandbox->state = states[i];
		FAILS(&w, map(&m, NULL), MOTE_ESTATE);
		CHECK_HAS(w.err.message, mote_state_name(states[i]));
	}
	w.sandbox->state = MOTE_STATE_READY;
	w.hypervisor->fail = DOUBLE_MAP;
	FAILS(&w, map(&m, NULL), MOTE_ESYSTEM);
	w.hypervisor->fail = 0;
	CHECK_EQ(mote_sandbox_state(w.sandbox), MOTE_STATE_READY);
	OK(&w, map(&m, NULL));
	world_free(&w);
}

/* ---- what is seen ---------------------------------------------------------------------------- */

TEST(mapping__a_confined_guest_sees_it)
{
	static uint8_t seen[4 * PAGE];
	uint64_t first = 0, second = 0;
	ready(CONFINED);
	struct mote_mapping m = mapping();
	OK(&w, map(&m, &first));
	CHECK_EQ(first, space());
	m.bytes = PAGE;
	m.access = MOTE_READ | MOTE_WRITE;
	OK(&w, map(&m, &second));
	CHECK_EQ(second, first + sizeof memory);
	OK(&w, mote_sandbox_read(w.sandbox, first, seen, sizeof seen, &w.err));
	CHECK_MEM(seen, memory, sizeof seen);
	CHECK_MEM(double_gva(w.machine, first, sizeof seen), memory, sizeof seen);
	FAILS(&w, mote_sandbox_write(w.sandbox, first, "x", 1, &w.err), MOTE_EADDR);
	OK(&w, mote_sandbox_write(w.sandbox, second, "x", 1, &w.err));
	CHECK(memory[0] != 'x' && double_gva(w.machine, second, 1)[0] == 'x');
	FAILS(&w, mote_sandbox_read(w.sandbox, second + PAGE, seen, 1, &w.err), MOTE_EADDR);
	world_free(&w);
}

TEST_BOTH(mapping__a_file_is_filled_up_with_zeroes)
{
	char path[] = "/tmp/mote-test-XXXXXX";
	uint64_t at = 0;
	ready(kind);
	int fd = mkstemp(path);
	CHECK(fd >= 0);
	struct mote_mapping m = mapping();
	m.memory = NULL;
	m.bytes = 0;
	m.path = path;
	FAILS(&w, map(&m, NULL), MOTE_EINVAL); /* empty */
	CHECK_EQ(write(fd, memory, PAGE + 5), (ssize_t)PAGE + 5);
	OK(&w, map(&m, &at));
	const uint8_t *seen = kind == CONFINED ? double_gva(w.machine, at, 2 * PAGE)
					       : double_gpa(w.machine, at, 2 * PAGE);
	CHECK_MEM(seen, memory, PAGE + 5);
	for (size_t i = PAGE + 5; i < 2 * PAGE; i++)
		CHECK_EQ(seen[i], 0);
	close(fd);
	unlink(path);
	m.gpa += kind == STOCK ? 16 * PAGE : 0;
	FAILS(&w, map(&m, NULL), MOTE_ESYSTEM);
	CHECK_HAS(w.err.message, path);
	m.path = "/tmp";
	FAILS(&w, map(&m, NULL), MOTE_ESYSTEM);
	world_free(&w);
}

TEST_BOTH(mapping__a_restore_takes_it_away)
{
	uint64_t at = 0;
	uint8_t byte;
	ready(kind);
	const struct mote_mapping m = mapping();
	for (unsigned i = 0; i < 3; i++) {
		OK(&w, map(&m, &at));
		unsigned unmaps = w.machine->unmaps;
		OK(&w, mote_sandbox_restore(w.sandbox, w.snapshot, NULL, &w.err));
		CHECK(w.machine->unmaps > unmaps && w.sandbox->mapped_count == 0);
		if (kind == CONFINED)
			FAILS(&w, mote_sandbox_read(w.sandbox, at, &byte, 1, &w.err), MOTE_EADDR);
		else
			CHECK(double_gpa(w.machine, at, 1) == NULL);
		OK(&w, world_call(&w, MOTE_VOID, NULL));
	}
	world_free(&w);
}

TEST(mapping__a_snapshot_has_a_copy)
{
	static uint8_t seen[4 * PAGE];
	uint64_t at = 0;
	mote_snapshot *s = NULL;
	ready(CONFINED);
	struct mote_mapping m = mapping();
	m.access = MOTE_READ | MOTE_WRITE;
	OK(&w, map(&m, &at));
	OK(&w, mote_sandbox_write(w.sandbox, at + PAGE, "x", 1, &w.err));
	OK(&w, mote_snapshot_take(w.sandbox, NULL, &s, &w.err));
	OK(&w, mote_sandbox_restore(w.sandbox, s, NULL, &w.err));
	const uint8_t old = memory[0];
	memory[0] ^= 0xFF;
	OK(&w, mote_sandbox_read(w.sandbox, at, seen, sizeof seen, &w.err));
	CHECK(seen[0] == old && seen[PAGE] == 'x');
	CHECK_MEM(seen + PAGE + 1, memory + PAGE + 1, 3 * PAGE - 1);
	OK(&w, mote_sandbox_write(w.sandbox, at, "y", 1, &w.err));
	/* Its place is taken; the next one lies behind. */
	uint64_t next = 0;
	m.gva = at;
	FAILS(&w, map(&m, NULL), MOTE_EINVAL);
	m.gva = 0;
	OK(&w, map(&m, &next));
	CHECK_EQ(next, at + 4 * PAGE);
	mote_snapshot_unref(s);
	world_free(&w);
}

/* ---- digests --------------------------------------------------------------------------------- */

static void digest_of(mote_snapshot *s, uint8_t digest[MOTE_DIGEST_BYTES])
{
	memset(digest, 0, MOTE_DIGEST_BYTES);
	OK(&w, mote_snapshot_digest(s, digest, &w.err));
}

TEST_BOTH(mapping__digests_tell_snapshots_apart)
{
	uint8_t a[MOTE_DIGEST_BYTES], b[MOTE_DIGEST_BYTES], c[MOTE_DIGEST_BYTES];
	mote_snapshot *one = NULL, *two = NULL, *flat = NULL;
	ready(kind);
	FAILS(&w, mote_snapshot_digest(NULL, a, &w.err), MOTE_EINVAL);
	FAILS(&w, mote_snapshot_digest(w.snapshot, NULL, &w.err), MOTE_EINVAL);
	OK(&w, mote_snapshot_take(w.sandbox, NULL, &one, &w.err));
	OK(&w, mote_sandbox_write(w.sandbox, TINY_DATA_GVA + 5, "x", 1, &w.err));
	OK(&w, mote_snapshot_take(w.sandbox, NULL, &two, &w.err));
	OK(&w, mote_snapshot_flatten(two, &flat, &w.err));
	digest_of(w.snapshot, a);
	digest_of(one, b);
	digest_of(two, c);
	CHECK(memcmp(a, b, sizeof a) && memcmp(b, c, sizeof b) && memcmp(a, c, sizeof a));
	digest_of(one, a);
	CHECK_MEM(a, b, sizeof a);
	digest_of(flat, a);
	CHECK_MEM(a, c, sizeof a);
	mote_snapshot_unref(one);
	mote_snapshot_unref(two);
	mote_snapshot_unref(flat);
	world_free(&w);
}
