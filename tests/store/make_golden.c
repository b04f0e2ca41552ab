/* SPDX-License-Identifier: MIT */
/*
 * Writes the golden stores of tests/store/golden into the directory $MOTE_GOLDEN, which must exist.
 * They are committed, since every version of the library must read them. So they are not written
 * anew: a new revision of the format gets stores of its own beside them. Afterwards run
 * "UPDATE=1 tests/store/test_store_reader.py" and read what it changes in golden/.
 *
 *	MOTE_GOLDEN=new build/tests/make_golden
 *
 * "confined" is ready, with two layers, symbols, metadata and a write set that was learned: the
 * guest hello after a call of count_up. It is made on a real KVM, and can be run.
 *
 * "nested" is the same as "confined", made where there is nested paging and another processor (in
 * the machine of scripts/lane, which prints it).
 *
 * "stock" is ready, with two address spaces that share tables and a declared model-specific
 * register. It is made on the test double: its code is no code.
 *
 * "new" is a guest of 32 bits before it initialised itself.
 */
#include "../lib/stock_world.h"
/* Either world has its own; none is needed here. */
#undef OK
#undef FAILS
#include "../lib/system.h"

#include <stdio.h>
#include <stdlib.h>

/* Save under the tag "latest" to the store of that name. */
static void save(mote_snapshot *snapshot, const char *name)
{
	const struct mote_save_options options = {.size = sizeof options, .tag = "latest"};
	const char *directory = getenv("MOTE_GOLDEN");
	struct mote_error err = {0};
	struct mote_saved saved;
	char path[512];
	if (!directory)
		check_skip("MOTE_GOLDEN is not set");
	(void)snprintf(path, sizeof path, "%s/%s", directory, name);
	if (mote_snapshot_save(snapshot, path, &options, &saved, &err) != MOTE_OK)
		check_failed(__FILE__, __LINE__, "%s", err.message);
	check_note("%s: %s, %llu bytes", name, saved.digest, (unsigned long long)saved.bytes);
}

static int upper(void *cookie, const struct mote_value *arguments, mote_reply *reply)
{
	(void)cookie, (void)arguments;
	return mote_reply_string(reply, "", 0);
}

/* One call, then others that write more; restores learn which pages these write. */
static void prepare(struct system *s, mote_snapshot **taken)
{
	const struct mote_metadata metadata = {"com.example.build", "{\"commit\": \"4f2a\"}"};
	const struct mote_take_options options = {
		.size = sizeof options, .metadata = &metadata, .metadata_count = 1};
	static const uint8_t bytes[12000];
	CHECK_EQ(CALL_I32(s, "count_up"), 1);
	CHECK_EQ(mote_snapshot_take(s->sandbox, &options, taken, &s->err), MOTE_OK);
	for (int i = 0; i < 2; i++) {
		CHECK_EQ(mote_sandbox_restore(s->sandbox, *taken, NULL, &s->err), MOTE_OK);
		(void)CALL(s, MOTE_BYTES, "echo_bytes", mote_bytes(bytes, sizeof bytes));
	}
	CHECK_EQ(mote_sandbox_restore(s->sandbox, *taken, NULL, &s->err), MOTE_OK);
}

TEST(make_golden__confined)
{
	mote_snapshot *s = NULL;
	struct system system;
	OPEN(&system, "hello");
	/* A host that has what the guest imports and no more, so that the command can run it. */
	mote_sandbox_destroy(system.sandbox);
	mote_host_unref(system.host);
	CHECK_EQ(mote_host_create(&system.host, &system.err), MOTE_OK);
	CHECK_EQ(MOTE_HOST_ADD(system.host, "upper", upper, NULL, &system.err, MOTE_STRING,
			       MOTE_STRING),
		 MOTE_OK);
	CHECK_EQ(mote_sandbox_create(system.engine, system.snapshot, system.host, NULL,
				     &system.sandbox, &system.err),
		 MOTE_OK);
	prepare(&system, &s);
	save(s, "confined");
	mote_snapshot_unref(s);
	system_close(&system);
}

static uint64_t roots[2];

/* The second space has all that the first one has, a page of its own, and one more address at which
 * a table of the first stands. */
static void make_spaces(struct double_machine *m)
{
	roots[0] = root_of(m);
	map_page(m, roots[0], SPACE(3), new_page(m, 0x33) | LEAF_RW);
	map_page(m, roots[0], SPACE(3) + PAGE, new_page(m, 0) | LEAF_RO);
	roots[1] = copy_root(m, roots[0]);
	map_page(m, roots[1], SPACE(5), new_page(m, 0x55) | LEAF_RW | NX);
	put_entry(m, roots[1], 6, get_entry(m, roots[1], 3));
}

static uint32_t find_spaces(void *cookie, mote_sandbox *sandbox, uint64_t cr3, uint64_t *list,
			    uint32_t room)
{
	(void)cookie, (void)sandbox, (void)cr3;
	CHECK(room >= 2);
	list[0] = roots[0];
	list[1] = roots[1];
	return 2;
}

TEST(make_golden__stock)
{
	const uint32_t msr = 0xC0000103; /* TSC_AUX */
	const struct mote_snapshot_options options = {
		.size = sizeof options, .heap_bytes = 0x2000, .msr_count = 1, .msrs = &msr};
	const struct mote_take_options take = {.size = sizeof take, .find_roots = find_spaces};
	mote_snapshot *s = NULL;
	stock_ready(&options);
	stock_run(make_spaces);
	CHECK_EQ(mote_snapshot_take(w.sandbox, &take, &s, &w.err), MOTE_OK);
	save(s, "stock");
	mote_snapshot_unref(s);
	world_free(&w);
}

TEST(make_golden__new)
{
	const struct tiny_options image = {.bits = 32};
	const struct mote_snapshot_options options = {
		.size = sizeof options, .heap_bytes = 0x2000, .executable_heap = 1};
	world_make_of(&w, &image, &options, &stock_guest);
	save(w.snapshot, "new");
	world_free(&w);
}
