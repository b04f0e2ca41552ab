/* SPDX-License-Identifier: MIT */
/*
 * What a warm restore and the call after it cost, counted: one ioctl in all, which is KVM_RUN, one
 * entry and one exit, no new frame and no page fault of this process; whatever the guest touches,
 * as long as it stays inside the pages that it was seen to write. The ioctls of the library are
 * counted where they are made.
 */
#define _GNU_SOURCE
#include "snapshot_world.h"

#include <linux/kvm.h>
#include <sys/resource.h>

static struct {
	unsigned ioctls, runs, drops, places, maps, randoms;
} made;

int __real_mote__sys_ioctl(int fd, unsigned long request, void *argument);
int __wrap_mote__sys_ioctl(int fd, unsigned long request, void *argument);
int __real_mote__sys_drop(void *at, uint64_t bytes);
int __wrap_mote__sys_drop(void *at, uint64_t bytes);
int __real_mote__sys_place(int kind, int fd, uint64_t offset, uint64_t bytes, void *at);
int __wrap_mote__sys_place(int kind, int fd, uint64_t offset, uint64_t bytes, void *at);
int __real_mote__sys_map(int kind, int fd, uint64_t bytes, void **at);
int __wrap_mote__sys_map(int kind, int fd, uint64_t bytes, void **at);
int __real_mote__sys_random(void *bytes, size_t len);
int __wrap_mote__sys_random(void *bytes, size_t len);

int __wrap_mote__sys_ioctl(int fd, unsigned long request, void *argument)
{
	made.ioctls++;
	made.runs += request == KVM_RUN;
	return __real_mote__sys_ioctl(fd, request, argument);
}

int __wrap_mote__sys_drop(void *at, uint64_t bytes)
{
	made.drops++;
	return __real_mote__sys_drop(at, bytes);
}

int __wrap_mote__sys_place(int kind, int fd, uint64_t offset, uint64_t bytes, void *at)
{
	made.places++;
	return __real_mote__sys_place(kind, fd, offset, bytes, at);
}

int __wrap_mote__sys_map(int kind, int fd, uint64_t bytes, void **at)
{
	made.maps++;
	return __real_mote__sys_map(kind, fd, bytes, at);
}

int __wrap_mote__sys_random(void *bytes, size_t len)
{
	made.randoms++;
	return __real_mote__sys_random(bytes, len);
}

#define WORKED 40u /* pages that the guest works on: fewer than the write set has */

struct warm {
	struct system s;
	mote_snapshot *ready;
	uint64_t places[SNAP_PLACES];
	uint64_t random;
	uint8_t steps[200 * 16];
};

static uint64_t page_of(const struct warm *w, uint32_t i)
{
	static const uint32_t kinds[] = {SNAP_PLACE_DATA, SNAP_PLACE_ZEROES, SNAP_PLACE_HEAP,
					 SNAP_PLACE_STACK};
	return w->places[kinds[i % 4]] + (uint64_t)(i / 4) * SNAP_PAGE_BYTES;
}

static void put_step(struct warm *w, uint32_t i, uint64_t address, uint64_t value)
{
	memcpy(w->steps + i * 16, &address, 8);
	memcpy(w->steps + i * 16 + 8, &value, 8);
}

static void run_steps(struct warm *w, uint32_t count)
{
	(void)CALL_U64(&w->s, "script", mote_bytes(w->steps, (size_t)count * 16));
}

static void restore(struct warm *w)
{
	OK(&w->s, mote_sandbox_restore(w->s.sandbox, w->ready, NULL, &w->s.err));
}

/* Random steps on the pages that are worked on; every page is written every now and then only. */
static uint32_t random_steps(struct warm *w)
{
	uint32_t count = 1 + (uint32_t)snap_below(&w->random, 200);
	for (uint32_t i = 0; i < count; i++) {
		uint64_t address = page_of(w, (uint32_t)snap_below(&w->random, WORKED)) +
				   snap_below(&w->random, 512) * 8;
		put_step(w, i, address | snap_below(&w->random, 2), check_random(&w->random));
	}
	return count;
}

/* A guest whose write set has all that it will work on. */
static void open_warm(struct warm *w)
{
	memset(w, 0, sizeof *w);
	OPEN(&w->s, "snap_probe", .snapshot.heap_bytes = 1 << 20);
	w->random = snap_seed();
	snap_find_places(&w->s, w->places);
	OK(&w->s, mote_snapshot_take(w->s.sandbox, NULL, &w->ready, &w->s.err));
	for (uint32_t round = 0; round < 3; round++) {
		restore(w);
		for (uint32_t i = 0; i < WORKED; i++)
			put_step(w, i, page_of(w, i) | 1, i);
		run_steps(w, WORKED);
		restore(w);
		CALL_VOID(&w->s, "nothing");
	}
	for (int i = 0; i < 40; i++) { /* what the host needs for it is there, too */
		restore(w);
		run_steps(w, random_steps(w));
	}
	restore(w);
}

static void close_warm(struct warm *w)
{
	mote_snapshot_unref(w->ready);
	system_close(&w->s);
}

/* The next operation on w is a call of a guest that was restored: nothing but the call is seen. */
static void check_call_of_restored(const struct mote_statistics *a, const struct mote_statistics *b)
{
	CHECK_EQ(b->vcpu_ioctls - a->vcpu_ioctls, 1);
	CHECK_EQ(b->vm_entries - a->vm_entries, 1);
	CHECK_EQ(b->exits_halt - a->exits_halt, 1);
	CHECK_EQ(b->calls - a->calls, 1);
	CHECK_EQ(b->exits_call - a->exits_call, 0);
	CHECK_EQ(b->exits_exception - a->exits_exception, 0);
	CHECK_EQ(b->exits_memory - a->exits_memory, 0);
	CHECK_EQ(b->exits_interrupted - a->exits_interrupted, 0);
	CHECK_EQ(b->exits_other - a->exits_other, 0);
	CHECK_EQ(b->restores - a->restores, 1);
	CHECK_EQ(b->restores_strict - a->restores_strict, 0);
	CHECK_EQ(b->switches - a->switches, 0);
	CHECK_EQ(b->restore_drops - a->restore_drops, 0);
	CHECK_EQ(b->frames_used, a->frames_used);
	CHECK_EQ(b->restore_pages - a->restore_pages, a->frames_used);
}

TEST(snapshot_counts__a_warm_restore_and_call_make_one_ioctl_whatever_is_touched)
{
	struct warm w;
	open_warm(&w);
	for (int round = 0; round < 300; round++) {
		uint32_t count = random_steps(&w);
		struct mote_statistics before = system_statistics(&w.s);
		memset(&made, 0, sizeof made);
		restore(&w);
		CHECK_EQ(made.ioctls, 0);
		run_steps(&w, count);
		CHECK_EQ(made.ioctls, 1);
		CHECK_EQ(made.runs, 1);
		CHECK_EQ(made.drops + made.places + made.maps, 0);
		struct mote_statistics after = system_statistics(&w.s);
		check_call_of_restored(&before, &after);
	}
	close_warm(&w);
}

TEST(snapshot_counts__restores_draw_random_bytes_rarely)
{
	struct warm w;
	open_warm(&w);
	memset(&made, 0, sizeof made);
	for (int i = 0; i < 100; i++)
		restore(&w);
	CHECK_EQ(made.ioctls, 0);
	CHECK(made.randoms >= 1 && made.randoms <= 10);
	close_warm(&w);
}

/* Faults of this process while guest and library work. A kernel may move a page or two for reasons
 * of its own. */
TEST(snapshot_counts__warm_restores_and_calls_fault_no_page_in)
{
	struct warm w;
	struct rusage before, after;
	long least = 1000;
	open_warm(&w);
	for (int trial = 0; trial < 5 && least > 0; trial++) {
		CHECK(getrusage(RUSAGE_THREAD, &before) == 0);
		for (int i = 0; i < 50; i++) {
			restore(&w);
			run_steps(&w, random_steps(&w));
		}
		CHECK(getrusage(RUSAGE_THREAD, &after) == 0);
		long faults =
			after.ru_minflt + after.ru_majflt - before.ru_minflt - before.ru_majflt;
		least = faults < least ? faults : least;
	}
	CHECK_EQ(least, 0);
	close_warm(&w);
}

/* The same through the pool: what another sandbox has left behind is as warm. */
TEST(snapshot_counts__a_call_of_a_pooled_fork_is_one_ioctl)
{
	struct warm w;
	open_warm(&w);
	uint32_t pages = (uint32_t)system_statistics(&w.s).frames_used;
	for (int i = 0; i < 20; i++) {
		memset(&made, 0, sizeof made);
		mote_sandbox_destroy(w.s.sandbox);
		w.s.sandbox = NULL;
		OK(&w.s, mote_sandbox_create(w.s.engine, w.ready, w.s.host, NULL, &w.s.sandbox,
					     &w.s.err));
		unsigned at_create = made.ioctls;
		run_steps(&w, random_steps(&w));
		CHECK_EQ(at_create, 0);
		/* The first call from a thread tells the processor which signals are blocked. */
		CHECK(made.ioctls <= 2);
		CHECK_EQ(made.runs, 1);
		struct mote_statistics s = system_statistics(&w.s);
		CHECK_EQ(s.vm_entries, 1);
		CHECK_EQ(s.frames_used, pages);
	}
	close_warm(&w);
}

/* A fork that no pool had: no guest fault for what the write set has. */
TEST(snapshot_counts__a_new_fork_has_the_write_set_in_place)
{
	struct warm w;
	open_warm(&w);
	uint64_t pages = system_statistics(&w.s).frames_used;
	mote_sandbox_destroy(w.s.sandbox);
	w.s.sandbox = NULL;
	OK(&w.s, mote_sandbox_create(snap_plain_engine(), w.ready, w.s.host, NULL, &w.s.sandbox,
				     &w.s.err));
	CHECK_EQ(system_statistics(&w.s).frames_used, pages);
	run_steps(&w, random_steps(&w));
	struct mote_statistics s = system_statistics(&w.s);
	CHECK_EQ(s.frames_used, pages);
	CHECK_EQ(s.exits_other + s.exits_memory + s.exits_exception, 0);
	close_warm(&w);
}

/* Beyond the write set: dropped in one call, or adopted. */
TEST(snapshot_counts__pages_beyond_the_write_set_are_dropped_in_one_call)
{
	struct warm w;
	open_warm(&w);
	const uint32_t pages = 60;
	CALL_VOID(&w.s, "touch", mote_u64(w.places[SNAP_PLACE_HEAP] + 20 * SNAP_PAGE_BYTES),
		  mote_u64(pages), mote_u64(1));
	struct mote_statistics before = system_statistics(&w.s), after;
	memset(&made, 0, sizeof made);
	restore(&w);
	CHECK_EQ(made.ioctls, 0);
	CHECK(made.drops <= 2); /* the frames, and the page that the copy window showed */
	after = system_statistics(&w.s);
	uint64_t adopted = after.restore_pages - before.restore_pages;
	CHECK(adopted <= MOTE_DEFAULT_WRITE_SET);
	CHECK_EQ(after.restore_drops - before.restore_drops, before.frames_used - adopted);
	CHECK_EQ(after.frames_used, adopted);
	close_warm(&w);
}
