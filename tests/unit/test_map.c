/* SPDX-License-Identifier: MIT */
/*
 * Files and memory of the embedder's in a guest's life: before it has run, in snapshots, forks and
 * shells of the pool, after restores; and that they are never written and never left behind.
 */
#define _GNU_SOURCE
#include "stock_world.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/confined.h"

#define PAGES       4u
#define BYTES       (PAGES * PAGE)
#define SPACE_BYTES (64 * PAGE)
#define STOCK_GPA   0x100000000ull

static _Alignas(4096) uint8_t memory[BYTES];
static uint8_t seen[BYTES];

/* ---- a file ---------------------------------------------------------------------------------- */

static char path[64];

static int file_make(size_t len)
{
	snprintf(path, sizeof path, "%s/mote-test-XXXXXX", P_tmpdir);
	int fd = mkstemp(path);
	CHECK(fd >= 0);
	for (size_t i = 0; i < len;) {
		ssize_t n = write(fd, memory + i % BYTES, len - i < BYTES ? len - i : BYTES);
		CHECK(n > 0);
		i += (size_t)n;
	}
	return fd;
}

static void file_free(int fd)
{
	close(fd);
	unlink(path);
}

static unsigned descriptors(void)
{
	unsigned count = 0;
	DIR *list = opendir("/proc/self/fd");
	CHECK(list != NULL);
	while (readdir(list))
		count++;
	closedir(list);
	return count;
}

/* How often the process has it in its memory. */
static unsigned file_mappings(void)
{
	char line[512];
	unsigned count = 0;
	FILE *maps = fopen("/proc/self/maps", "r");
	CHECK(maps != NULL);
	while (fgets(line, sizeof line, maps))
		count += strstr(line, path) != NULL;
	fclose(maps);
	return count;
}

/* ---- a world --------------------------------------------------------------------------------- */

static void open_kind(enum world_kind kind)
{
	const struct tiny_options image = {.is_confined = kind == CONFINED,
					   .data_bytes = DATA_BYTES};
	const struct mote_snapshot_options o = {.size = sizeof o,
						.mapping_bytes = kind == CONFINED ? SPACE_BYTES : 0,
						.scratch_bytes = kind == CONFINED ? 0 : 0x100000};
	world_make_of(&w, &image, &o, &stock_guest);
	world_sandbox(&w, NULL);
	for (size_t i = 0; i < sizeof memory; i++)
		memory[i] = (uint8_t)(i * 7 + i / PAGE + 1);
}

static void ready(enum world_kind kind)
{
	open_kind(kind);
	OK(&w, mote_sandbox_start(w.sandbox, 0, &w.err));
}

static struct mote_mapping mapping(void)
{
	return (struct mote_mapping){.size = sizeof(struct mote_mapping),
				     .memory = memory,
				     .bytes = sizeof memory,
				     .gpa = w.is_confined ? 0 : STOCK_GPA,
				     .access = MOTE_READ};
}

static int map(const struct mote_mapping *m, uint64_t *placed)
{
	return mote_sandbox_map(w.sandbox, m, placed, &w.err);
}

/* What a machine has where a mapping is. */
static const uint8_t *at_place(const mote_sandbox *sandbox, uint64_t placed, uint64_t bytes)
{
	return w.is_confined ? double_gva(machine_of(sandbox), placed, bytes)
			     : double_gpa(machine_of(sandbox), placed, bytes);
}

static bool is_there(const mote_sandbox *sandbox, uint64_t placed)
{
	const struct double_machine *m = machine_of(sandbox);
	struct mote__pt_translation t;
	return w.is_confined ? view(m, m->special.cr3, placed, &t)
			     : double_gpa(m, placed, 1) != NULL;
}

static uint64_t space(void)
{
	return stock_info(w.snapshot).mapping_gva;
}

/* ---- files ----------------------------------------------------------------------------------- */

TEST_BOTH(map__a_file_can_be_refused)
{
	uint64_t placed = 0x5A;
	ready(kind);
	int fd = file_make(PAGE + 5);
	struct mote_mapping m = mapping();
	m.memory = NULL;
	m.path = path;
	m.bytes = PAGE + 6;
	FAILS(&w, map(&m, &placed), MOTE_EINVAL);
	CHECK_HAS(w.err.message, path);
	CHECK_HAS(w.err.message, "has 0x1005 bytes, 0x1006 are to be mapped");
	m.bytes = UINT64_MAX;
	FAILS(&w, map(&m, &placed), MOTE_EINVAL);
	m.bytes = 0;
	m.path = "";
	FAILS(&w, map(&m, &placed), MOTE_ESYSTEM);
	CHECK_EQ(w.err.system_errno, ENOENT);
	m.path = "/dev/null";
	FAILS(&w, map(&m, &placed), MOTE_ESYSTEM);
	m.path = P_tmpdir;
	FAILS(&w, map(&m, &placed), MOTE_ESYSTEM);
	CHECK_EQ(w.err.system_errno, EISDIR);
	CHECK_HAS(w.err.message, "opening " P_tmpdir);
	/* More than any guest has. */
	CHECK_EQ(ftruncate(fd, (off_t)1 << 42), 0);
	m.path = path;
	FAILS(&w, map(&m, &placed), MOTE_EINVAL);
	CHECK(placed == 0x5A && w.sandbox->mapped_count == 0 && w.machine->slots[32].bytes == 0);
	file_free(fd);
	world_free(&w);
}

TEST_BOTH(map__a_file_that_waits_for_a_writer_is_refused)
{
	ready(kind);
	int fd = file_make(1);
	file_free(fd);
	CHECK_EQ(mkfifo(path, 0600), 0);
	struct mote_mapping m = mapping();
	m.memory = NULL;
	m.path = path;
	m.bytes = 0;
	FAILS(&w, map(&m, NULL), MOTE_ESYSTEM);
	unlink(path);
	world_free(&w);
}

TEST_BOTH(map__the_beginning_of_a_file)
{
	uint64_t placed = 0;
	ready(kind);
	int fd = file_make(3 * PAGE + 7);
	struct mote_mapping m = mapping();
	m.memory = NULL;
	m.path = path;
	m.bytes = PAGE + 1;
	OK(&w, map(&m, &placed));
	CHECK_MEM(at_place(w.sandbox, placed, 2 * PAGE), memory, 2 * PAGE);
	CHECK_EQ(w.sandbox->mapped[0].bytes, 2 * PAGE);
	CHECK(!is_there(w.sandbox, placed + 2 * PAGE));
	file_free(fd);
	world_free(&w);
}

TEST_BOTH(map__no_descriptor_is_kept)
{
	ready(kind);
	int fd = file_make(BYTES);
	const unsigned before = descriptors();
	struct mote_mapping m = mapping();
	m.memory = NULL;
	m.path = path;
	m.bytes = 0;
	for (unsigned i = 0; i < 3; i++) {
		OK(&w, map(&m, NULL));
		m.gpa += kind == STOCK ? BYTES : 0;
	}
	CHECK_EQ(descriptors(), before);
	w.hypervisor->fail = DOUBLE_MAP;
	FAILS(&w, map(&m, NULL), MOTE_ESYSTEM);
	w.hypervisor->fail = 0;
	m.bytes = BYTES + 1;
	FAILS(&w, map(&m, NULL), MOTE_EINVAL);
	m.bytes = 0;
	m.gpa = kind == STOCK ? 0 : PAGE;
	FAILS(&w, map(&m, NULL), MOTE_EINVAL);
	CHECK(descriptors() == before && w.sandbox->mapped_count == 3);
	/* Its name may go. */
	file_free(fd);
	CHECK_MEM(at_place(w.sandbox, kind == STOCK ? STOCK_GPA : space(), BYTES), memory, BYTES);
	world_free(&w);
}

TEST_BOTH(map__what_is_mapped_is_never_written)
{
	uint64_t placed = 0;
	ready(kind);
	int fd = file_make(BYTES);
	struct mote_mapping m = mapping();
	m.memory = NULL;
	m.path = path;
	m.bytes = 0;
	m.access = kind == CONFINED ? MOTE_READ | MOTE_WRITE : MOTE_READ | MOTE_EXECUTE;
	OK(&w, map(&m, &placed));
	CHECK(w.machine->slots[32].bytes == BYTES && !w.machine->slots[32].is_writable);
	if (kind == CONFINED) {
		OK(&w, mote_sandbox_write(w.sandbox, placed + 3, "xyz", 3, &w.err));
		OK(&w, mote_sandbox_read(w.sandbox, placed, seen, BYTES, &w.err));
		CHECK_MEM(seen + 3, "xyz", 3);
		CHECK_MEM(seen + 6, memory + 6, BYTES - 6);
	}
	CHECK_EQ(pread(fd, seen, BYTES, 0), (ssize_t)BYTES);
	CHECK_MEM(seen, memory, BYTES);
	file_free(fd);
	world_free(&w);
}

/* ---- places ---------------------------------------------------------------------------------- */

TEST(map__a_confined_guest_gets_it_where_it_was_asked_for_or_behind_the_others)
{
	uint64_t placed = 0;
	ready(CONFINED);
	struct mote_mapping m = mapping();
	m.gva = space() + 8 * PAGE;
	OK(&w, map(&m, &placed));
	CHECK_EQ(placed, m.gva);
	/* Any page in common is one too many. */
	for (uint64_t gva = m.gva - 3 * PAGE; gva < m.gva + BYTES; gva += PAGE) {
		struct mote_mapping other = m;
		other.gva = gva;
		FAILS(&w, map(&other, NULL), MOTE_EINVAL);
		CHECK_HAS(w.err.message, "overlap another mapping, or what a snapshot has of one");
	}
	m.gva = 0;
	OK(&w, map(&m, &placed));
	CHECK_EQ(placed, space() + 12 * PAGE);
	m.gva = space();
	OK(&w, map(&m, &placed));
	m.gva = space() + SPACE_BYTES - BYTES;
	OK(&w, map(&m, &placed));
	CHECK_MEM(double_gva(w.machine, placed, BYTES), memory, BYTES);
	/* Behind the last one there is nothing. */
	m.gva = 0;
	FAILS(&w, map(&m, NULL), MOTE_EINVAL);
	CHECK_HAS(w.err.message, "mapping_bytes of the snapshot allow");
	m.gva = space() + 16 * PAGE;
	m.bytes = UINT64_MAX - PAGE + 1;
	FAILS(&w, map(&m, NULL), MOTE_EINVAL);
	world_free(&w);
}

TEST(map__a_stock_guest_gets_it_at_any_free_address)
{
	uint64_t placed = 0;
	ready(STOCK);
	const struct mote__layout *l = &w.snapshot->layout;
	const uint64_t end = w.snapshot->memory_end;
	const uint64_t places[] = {end, end + BYTES, l->scratch_gpa - BYTES, STOCK_GPA};
	struct mote_mapping m = mapping();
	for (unsigned i = 0; i < 4; i++) {
		m.gpa = places[i];
		OK(&w, map(&m, &placed));
		CHECK_EQ(placed, places[i]);
	}
	m.gpa = STOCK_GPA - BYTES + PAGE;
	FAILS(&w, map(&m, NULL), MOTE_EINVAL);
	CHECK_HAS(w.err.message, "0x4000 bytes at 0xffffd000 overlap another mapping");
	m.gpa = STOCK_GPA - BYTES;
	OK(&w, map(&m, NULL));
	/* Beyond 36 bits, around the end of all, and so large that its end is no number. */
	m.gpa = GPA_END - PAGE;
	FAILS(&w, map(&m, NULL), MOTE_EINVAL);
	m.gpa = 1ull << 52;
	FAILS(&w, map(&m, NULL), MOTE_EINVAL);
	CHECK_HAS(w.err.message, "limits are 0x1000 to 0x1000000000");
	m.gpa = UINT64_MAX - BYTES + 1;
	FAILS(&w, map(&m, NULL), MOTE_EINVAL);
	m.gpa = 2 * STOCK_GPA;
	m.bytes = UINT64_MAX - PAGE + 1;
	FAILS(&w, map(&m, NULL), MOTE_EINVAL);
	CHECK_EQ(w.sandbox->mapped_count, 5);
	world_free(&w);
}

TEST_BOTH(map__a_new_guest_finds_it_when_it_initialises_itself)
{
	uint64_t placed = 0;
	open_kind(kind);
	const struct mote_mapping m = mapping();
	OK(&w, map(&m, &placed));
	CHECK_EQ(mote_sandbox_state(w.sandbox), MOTE_STATE_NEW);
	CHECK_MEM(at_place(w.sandbox, placed, BYTES), memory, BYTES);
	OK(&w, mote_sandbox_start(w.sandbox, 0, &w.err));
	CHECK_MEM(at_place(w.sandbox, placed, BYTES), memory, BYTES);
	OK(&w, mote_sandbox_restore(w.sandbox, w.snapshot, NULL, &w.err));
	CHECK(!is_there(w.sandbox, placed) && mote_sandbox_state(w.sandbox) == MOTE_STATE_NEW);
	OK(&w, map(&m, NULL));
	world_free(&w);
}

/* ---- failures -------------------------------------------------------------------------------- */

TEST_BOTH(map__a_refused_slot_leaves_nothing)
{
	uint64_t placed = 0x5A;
	ready(kind);
	mote_snapshot *s = stock_take();
	const struct mote_mapping m = mapping();
	w.hypervisor->fail = DOUBLE_MAP;
	FAILS(&w, map(&m, &placed), MOTE_ESYSTEM);
	w.hypervisor->fail = 0;
	CHECK(placed == 0x5A && w.sandbox->mapped_count == 0 && !w.sandbox->is_changed);
	CHECK(!is_there(w.sandbox, kind == STOCK ? STOCK_GPA : space()));
	mote_snapshot *same = stock_take();
	CHECK(same == s);
	/* One that is there is a change, whether or not anybody looks at it. */
	OK(&w, map(&m, &placed));
	mote_snapshot *with = stock_take();
	CHECK(with != s);
	if (kind == CONFINED) {
		OK(&w, mote_snapshot_read(with, placed, seen, BYTES, &w.err));
		CHECK_MEM(seen, memory, BYTES);
	}
	mote_snapshot_unref(with);
	mote_snapshot_unref(s);
	mote_snapshot_unref(same);
	world_free(&w);
}

/* ---- restores -------------------------------------------------------------------------------- */

static void restore_to(mote_snapshot *s)
{
	OK(&w, mote_sandbox_restore(w.sandbox, s, NULL, &w.err));
}

static void restore_strictly(mote_snapshot *s)
{
	const struct mote_restore_options o = {.size = sizeof o, .strict = 1};
	OK(&w, mote_sandbox_restore(w.sandbox, s, &o, &w.err));
}

static void restore_elsewhere(mote_snapshot *s)
{
	OK(&w, mote_sandbox_restore(w.sandbox, w.snapshot, NULL, &w.err));
	OK(&w, mote_sandbox_restore(w.sandbox, s, NULL, &w.err));
}

static void restore_poisoned(mote_snapshot *s)
{
	w.sandbox->state = MOTE_STATE_POISONED;
	OK(&w, mote_sandbox_restore(w.sandbox, s, NULL, &w.err));
}

/* The shell of a sandbox that had mappings, from the pool. */
static void use_the_shell(mote_snapshot *s)
{

	mote_sandbox_destroy(w.sandbox);
	w.sandbox = stock_fork(s);
}

static void (*const ways_to_go[])(mote_snapshot *) = {
	restore_to, restore_strictly, restore_elsewhere, restore_poisoned, use_the_shell};

TEST_BOTH(map__it_goes_and_can_come_again_at_the_same_place)
{
	uint64_t first = 0, again = 0;
	ready(kind);
	mote_snapshot *s = stock_take();
	int fd = file_make(BYTES);
	struct mote_mapping two[] = {mapping(), mapping()};
	two[1].memory = NULL;
	two[1].path = path;
	two[1].bytes = 0;
	two[1].gpa += kind == STOCK ? BYTES : 0;
	for (size_t i = 0; i < sizeof ways_to_go / sizeof *ways_to_go; i++) {
		OK(&w, map(&two[0], &first));
		OK(&w, map(&two[1], &again));
		CHECK_MEM(at_place(w.sandbox, again, BYTES), memory, BYTES);
		CHECK_EQ(file_mappings(), 1);
		ways_to_go[i](s);
		CHECK(w.sandbox->mapped_count == 0 && file_mappings() == 0);
		CHECK(!is_there(w.sandbox, first) && !is_there(w.sandbox, again));
		for (unsigned slot = 32; slot < DOUBLE_SLOTS; slot++)
			CHECK_EQ(machine_of(w.sandbox)->slots[slot].bytes, 0);
		OK(&w, world_call(&w, MOTE_VOID, NULL));
	}
	CHECK_EQ(w.hypervisor->machines, 1);
	file_free(fd);
	mote_snapshot_unref(s);
	world_free(&w);
}

/* ---- snapshots of what is mapped ------------------------------------------------------------- */

/* Memory that can go. */
static uint8_t *memory_copy(void)
{
	uint8_t *copy =
		mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(copy != MAP_FAILED);
	memcpy(copy, memory, BYTES);
	return copy;
}

TEST(map__a_confined_snapshot_and_its_forks_have_what_the_guest_saw)
{
	uint64_t cow = 0, fixed = 0;
	ready(CONFINED);
	uint8_t *copy = memory_copy();
	struct mote_mapping m = mapping();
	m.memory = copy;
	OK(&w, map(&m, &fixed));
	m.access |= MOTE_WRITE;
	memset(copy + 2 * PAGE, 0, PAGE);
	OK(&w, map(&m, &cow));
	OK(&w, mote_sandbox_write(w.sandbox, cow + PAGE, "x", 1, &w.err));
	mote_snapshot *s = stock_take(), *flat = NULL;
	OK(&w, mote_snapshot_flatten(s, &flat, &w.err));
	mote_sandbox_destroy(w.sandbox);
	w.sandbox = NULL;
	munmap(copy, BYTES);
	mote_snapshot *const both[] = {s, flat};
	for (unsigned i = 0; i < 2; i++) {
		mote_sandbox *fork = stock_fork(both[i]);
		OK(&w, mote_sandbox_read(fork, cow, seen, BYTES, &w.err));
		CHECK(seen[PAGE] == 'x' && memcmp(seen, memory, PAGE) == 0);
		CHECK_MEM(seen + PAGE + 1, memory + PAGE + 1, PAGE - 1);
		for (size_t at = 2 * PAGE; at < 3 * PAGE; at++)
			CHECK_EQ(seen[at], 0);
		CHECK_MEM(seen + 3 * PAGE, memory + 3 * PAGE, PAGE);
		CHECK_EQ(fork->mapped_count, 0);
		/* Access stays as it was. */
		OK(&w, mote_sandbox_write(fork, cow, "y", 1, &w.err));
		FAILS(&w, mote_sandbox_write(fork, fixed, "y", 1, &w.err), MOTE_EADDR);
		OK(&w, mote_sandbox_read(fork, fixed + 3 * PAGE, seen, PAGE, &w.err));
		CHECK_MEM(seen, memory + 3 * PAGE, PAGE);
		FAILS(&w, mote_sandbox_read(fork, cow + BYTES, seen, 1, &w.err), MOTE_EADDR);
		/* The place is taken, the next one is not. */
		m.memory = memory;
		m.gva = cow + 3 * PAGE;
		FAILS(&w, mote_sandbox_map(fork, &m, NULL, &w.err), MOTE_EINVAL);
		m.gva = cow + BYTES;
		OK(&w, mote_sandbox_map(fork, &m, NULL, &w.err));
		mote_sandbox_destroy(fork);
	}
	mote_snapshot_unref(s);
	mote_snapshot_unref(flat);
	world_free(&w);
}

TEST(map__a_page_of_a_snapshot_and_its_sandbox_differ_after_the_take)
{
	uint64_t placed = 0;
	uint8_t byte = 0;
	ready(CONFINED);
	struct mote_mapping m = mapping();
	m.access |= MOTE_WRITE;
	OK(&w, map(&m, &placed));
	mote_snapshot *a = stock_take();
	/* It goes on with its mapping, and so does what it writes later. */
	OK(&w, mote_sandbox_write(w.sandbox, placed, "1", 1, &w.err));
	mote_snapshot *b = stock_take();
	OK(&w, mote_sandbox_write(w.sandbox, placed + 3 * PAGE, "2", 1, &w.err));
	mote_snapshot *c = stock_take();
	mote_snapshot *const all[] = {a, b, c};
	for (unsigned i = 0; i < 3; i++) {
		OK(&w, mote_snapshot_read(all[i], placed, &byte, 1, &w.err));
		CHECK_EQ(byte, i > 0 ? '1' : memory[0]);
		OK(&w, mote_snapshot_read(all[i], placed + 3 * PAGE, &byte, 1, &w.err));
		CHECK_EQ(byte, i > 1 ? '2' : memory[3 * PAGE]);
		OK(&w, mote_sandbox_restore(w.sandbox, all[i], NULL, &w.err));
		OK(&w, mote_sandbox_read(w.sandbox, placed + PAGE, seen, PAGE, &w.err));
		CHECK_MEM(seen, memory + PAGE, PAGE);
	}
	/* Back where nothing was mapped. */
	OK(&w, mote_sandbox_restore(w.sandbox, w.snapshot, NULL, &w.err));
	FAILS(&w, mote_sandbox_read(w.sandbox, placed, seen, 1, &w.err), MOTE_EADDR);
	for (unsigned i = 0; i < 3; i++)
		mote_snapshot_unref(all[i]);
	world_free(&w);
}

static uint64_t stock_place;

/* Pages 0 and 3 at addresses of its own, 3 as copy-on-write; 1 was written and copied. */
static void map_pages_of_it(struct double_machine *m)
{
	const uint64_t copy = new_page(m, 0);
	memcpy(words_at(m, copy), words_at(m, stock_place + PAGE), PAGE);
	words_at(m, copy)[0] = 0x1234;
	map_page(m, root_of(m), SPACE(1), stock_place | LEAF_RO | NX);
	map_page(m, root_of(m), SPACE(1) + PAGE, copy | LEAF_RW | NX);
	map_page(m, root_of(m), SPACE(1) + 3 * PAGE, (stock_place + 3 * PAGE) | LEAF_COW);
	map_page(m, root_of(m), SPACE(2), stock_place | LEAF_COW);
}

static void check_stock_pages(const mote_sandbox *sandbox)
{
	const struct double_machine *m = machine_of(sandbox);
	const uint64_t root = root_of(m);
	CHECK_MEM(words_at(m, leaf_gpa(m, root, SPACE(1))), memory, PAGE);
	CHECK_EQ(value_at(m, root, SPACE(1) + PAGE), 0x1234);
	CHECK_MEM(words_at(m, leaf_gpa(m, root, SPACE(1) + PAGE)) + 1, memory + PAGE + 8, PAGE - 8);
	CHECK_EQ(leaf_gpa(m, root, SPACE(1) + 2 * PAGE), 0);
	CHECK_MEM(words_at(m, leaf_gpa(m, root, SPACE(1) + 3 * PAGE)), memory + 3 * PAGE, PAGE);
	CHECK_EQ(leaf_flags(m, root, SPACE(1)), LEAF_RO | NX);
	CHECK_EQ(leaf_flags(m, root, SPACE(1) + PAGE), LEAF_COW | NX);
	CHECK_EQ(leaf_flags(m, root, SPACE(1) + 3 * PAGE), LEAF_COW);
	CHECK_EQ(leaf_gpa(m, root, SPACE(1)), leaf_gpa(m, root, SPACE(2)));
}

/* The second place is where the snapshot's own pages will be. */
static void check_stock(uint64_t place)
{
	struct mote_layer layer;
	mote_snapshot *flat = NULL;
	uint8_t *copy = memory_copy();
	struct mote_mapping m = mapping();
	m.memory = copy;
	m.gpa = stock_place = place;
	OK(&w, map(&m, NULL));
	stock_run(map_pages_of_it);
	mote_snapshot *s = stock_take();
	CHECK_EQ(mote_snapshot_get_layer(s, 1, &layer), MOTE_OK);
	CHECK_EQ(layer.bytes, 3 * PAGE); /* what the guest has mapped of it, once */
	/* The sandbox goes on with the mapping itself. */
	CHECK_EQ(leaf_gpa(w.machine, root_of(w.machine), SPACE(1)), place);
	OK(&w, mote_snapshot_flatten(s, &flat, &w.err));
	mote_sandbox *a = stock_fork(s), *b = stock_fork(flat);
	OK(&w, mote_sandbox_restore(w.sandbox, s, NULL, &w.err));
	munmap(copy, BYTES);
	check_stock_pages(a);
	check_stock_pages(b);
	check_stock_pages(w.sandbox);
	mote_sandbox_destroy(a);
	mote_sandbox_destroy(b);
	mote_snapshot_unref(flat);
	mote_snapshot_unref(s);
}

TEST(map__a_stock_snapshot_has_what_the_guest_mapped)
{
	ready(STOCK);
	check_stock(STOCK_GPA);
	world_free(&w);
}

TEST(map__a_stock_snapshot_may_stand_where_a_mapping_was)
{
	ready(STOCK);
	check_stock(w.snapshot->memory_end);
	/* There it is now. */
	struct mote_mapping m = mapping();
	m.gpa = w.snapshot->memory_end;
	FAILS(&w, map(&m, NULL), MOTE_EINVAL);
	CHECK_HAS(w.err.message, "overlap the snapshot");
	world_free(&w);
}

/* A table in read-only memory of the embedder's is one, too. */
static _Alignas(4096) uint64_t outside_table[512];

static void use_a_table_outside(struct double_machine *m)
{
	outside_table[7] = DATA(2) | LEAF_COW;
	outside_table[8] = STOCK_GPA | LEAF_RO;
	*entry_at(m, root_of(m), SPACE(1), 2, LINK) = STOCK_GPA | LINK;
}

TEST(map__tables_of_a_stock_guest_may_lie_in_it)
{
	ready(STOCK);
	struct mote_mapping m = mapping();
	m.memory = outside_table;
	m.bytes = PAGE;
	OK(&w, map(&m, NULL));
	stock_run(use_a_table_outside);
	mote_snapshot *s = stock_take();
	OK(&w, mote_sandbox_restore(w.sandbox, s, NULL, &w.err));
	CHECK_EQ(leaf_gpa(w.machine, root_of(w.machine), SPACE(1) + 7 * PAGE), DATA(2));
	CHECK_MEM(words_at(w.machine, leaf_gpa(w.machine, root_of(w.machine), SPACE(1) + 8 * PAGE)),
		  outside_table, PAGE);
	mote_snapshot_unref(s);
	world_free(&w);
}

static void map_pages_of_both(struct double_machine *m)
{
	map_page(m, root_of(m), SPACE(1), (STOCK_GPA + PAGE) | LEAF_RO);
	map_page(m, root_of(m), SPACE(2), (STOCK_GPA + BYTES) | LEAF_RO);
	map_page(m, root_of(m), SPACE(3), (STOCK_GPA + BYTES + PAGE) | LEAF_RO);
}

TEST(map__a_stock_snapshot_has_pages_of_several)
{
	ready(STOCK);
	struct mote_mapping first = mapping(), second = mapping();
	second.memory = memory + 2 * PAGE;
	second.bytes = 2 * PAGE;
	second.gpa = STOCK_GPA + BYTES;
	OK(&w, map(&second, NULL));
	OK(&w, map(&first, NULL));
	stock_run(map_pages_of_both);
	mote_snapshot *s = stock_take();
	OK(&w, mote_sandbox_restore(w.sandbox, s, NULL, &w.err));
	for (unsigned i = 1; i < 4; i++) {
		const uint64_t gpa = leaf_gpa(w.machine, root_of(w.machine), SPACE(i));
		CHECK_MEM(words_at(w.machine, gpa), memory + i * PAGE, PAGE);
	}
	mote_snapshot_unref(s);
	world_free(&w);
}
