/* SPDX-License-Identifier: MIT */
/*
 * What calls cost, counted: one ioctl of the processor for a call, one more for each host function
 * call, no page fault that the host resolves, and no new frame once a call has been made.
 */
#include "system.h"

static struct mote_statistics since(const struct system *s, const struct mote_statistics *start)
{
	struct mote_statistics d = system_statistics(s);
	d.vm_entries -= start->vm_entries;
	d.vcpu_ioctls -= start->vcpu_ioctls;
	d.exits_halt -= start->exits_halt;
	d.exits_call -= start->exits_call;
	d.exits_log -= start->exits_log;
	d.exits_print -= start->exits_print;
	d.exits_memory -= start->exits_memory;
	d.exits_exception -= start->exits_exception;
	d.exits_interrupted -= start->exits_interrupted;
	d.exits_other -= start->exits_other;
	d.frames_used -= start->frames_used;
	d.calls -= start->calls;
	d.bytes_in -= start->bytes_in;
	d.bytes_out -= start->bytes_out;
	return d;
}

/* The first sandbox of an engine finds out about vector registers, which takes entries of its own.
 */
static void open_second(struct system *s, const char *guest)
{
	OPEN(s, guest);
	OK(s, mote_sandbox_start(s->sandbox, 0, &s->err));
	system_again(s);
}

static void check_quiet(const struct mote_statistics *d)
{
	CHECK_EQ(d->exits_memory, 0);
	CHECK_EQ(d->exits_exception, 0);
	CHECK_EQ(d->exits_interrupted, 0);
	CHECK_EQ(d->exits_other, 0);
}

TEST(guest_counters__a_call_is_one_ioctl_of_the_processor)
{
	struct system s;
	open_second(&s, "hello");
	(void)CALL_I32(&s, "add", mote_i32(0), mote_i32(0));
	struct mote_statistics start = system_statistics(&s), d;
	for (int i = 0; i < 100; i++)
		CHECK_EQ(CALL_I32(&s, "add", mote_i32(i), mote_i32(1)), i + 1);
	d = since(&s, &start);
	CHECK_EQ(d.vcpu_ioctls, 100);
	CHECK_EQ(d.vm_entries, 100);
	CHECK_EQ(d.exits_halt, 100);
	CHECK_EQ(d.calls, 100);
	CHECK_EQ(d.frames_used, 0);
	CHECK(d.bytes_in > 0 && d.bytes_out > 0);
	check_quiet(&d);
	system_close(&s);
}

TEST(guest_counters__a_host_function_call_is_one_more)
{
	struct system s;
	open_second(&s, "hello");
	(void)CALL_TEXT(&s, "try_upper", mote_string("a"));
	(void)CALL_TEXT(&s, "try_upper", mote_string("a"));
	struct mote_statistics start = system_statistics(&s), d;
	for (int i = 0; i < 20; i++)
		CHECK_STR(CALL_TEXT(&s, "try_upper", mote_string("abc")), "ABC");
	d = since(&s, &start);
	CHECK_EQ(d.vcpu_ioctls, 40);
	CHECK_EQ(d.exits_call, 20);
	CHECK_EQ(d.exits_halt, 20);
	CHECK_EQ(d.frames_used, 0);
	check_quiet(&d);
	system_close(&s);
}

TEST(guest_counters__a_log_record_is_one_more_and_a_level_that_is_not_wanted_is_none)
{
	struct system s;
	open_second(&s, "hello");
	CALL_VOID(&s, "log_all");
	struct mote_statistics start = system_statistics(&s), d;
	CALL_VOID(&s, "log_all");
	d = since(&s, &start);
	CHECK_EQ(d.exits_log, 1);
	CHECK_EQ(d.vcpu_ioctls, 2);
	CHECK_EQ(d.frames_used, 0);
	check_quiet(&d);
	system_close(&s);
}

TEST(guest_counters__a_timeout_that_is_not_reached_costs_no_ioctl_of_the_processor)
{
	struct system s;
	open_second(&s, "hello");
	struct mote_call call = *CALL_OF("add", MOTE_I32, mote_i32(1), mote_i32(2));
	call.timeout_ns = 5000000000;
	OK(&s, mote_sandbox_call(s.sandbox, &call, NULL, &s.err));
	struct mote_statistics start = system_statistics(&s), d;
	for (int i = 0; i < 20; i++)
		OK(&s, mote_sandbox_call(s.sandbox, &call, NULL, &s.err));
	d = since(&s, &start);
	CHECK_EQ(d.vcpu_ioctls, 20);
	check_quiet(&d);
	system_close(&s);
}

TEST(guest_counters__errors_of_the_guest_cost_what_results_cost)
{
	struct system s;
	open_second(&s, "hello");
	for (int i = 0; i < 2; i++)
		FAILS(&s, MOTE_EGUEST, "No handler", MOTE_I32, "none");
	struct mote_statistics start = system_statistics(&s), d;
	for (int i = 0; i < 10; i++)
		FAILS(&s, MOTE_EGUEST, "No handler", MOTE_I32, "none");
	d = since(&s, &start);
	CHECK_EQ(d.vcpu_ioctls, 10);
	CHECK_EQ(d.calls, 10);
	CHECK_EQ(d.frames_used, 0);
	check_quiet(&d);
	system_close(&s);
}

TEST(guest_counters__initialise_and_the_first_call_take_few_frames)
{
	struct system s;
	open_second(&s, "hello");
	const struct mote_statistics start = system_statistics(&s);
	OK(&s, mote_sandbox_start(s.sandbox, 0, &s.err));
	struct mote_statistics d = since(&s, &start);
	check_note("%llu frames at the start, %llu more for initialise, %llu ioctls",
		   (unsigned long long)start.frames_used, (unsigned long long)d.frames_used,
		   (unsigned long long)d.vcpu_ioctls);
	CHECK(start.frames_used <= 12);
	CHECK(d.frames_used <= 4);
	CHECK_EQ(d.vm_entries, 1);
	CHECK(d.vcpu_ioctls <= 2); /* the signal mask */
	check_quiet(&d);
	const struct mote_statistics ready = system_statistics(&s);
	(void)CALL_I32(&s, "add", mote_i32(1), mote_i32(2));
	d = since(&s, &ready);
	check_note("%llu frames for the first call", (unsigned long long)d.frames_used);
	CHECK(d.frames_used <= 2);
	CHECK_EQ(d.vm_entries, 1);
	check_quiet(&d);
	system_close(&s);
}

TEST(guest_counters__each_page_that_is_written_takes_one_frame_once)
{
	struct system s;
	OPEN(&s, "sys_memory", .snapshot.heap_bytes = 8 << 20);
	const uint64_t data = CALL_U64(&s, "data_address");
	CALL_VOID(&s, "write_pages", mote_u64(data), mote_u64(20), mote_u64(1));
	struct mote_statistics start = system_statistics(&s), d;
	CALL_VOID(&s, "write_pages", mote_u64(data + 20 * 4096), mote_u64(40), mote_u64(1));
	d = since(&s, &start);
	CHECK_EQ(d.frames_used, 40);
	CHECK_EQ(d.vcpu_ioctls, 1);
	CALL_VOID(&s, "write_pages", mote_u64(data + 20 * 4096), mote_u64(40), mote_u64(2));
	(void)CALL_U64(&s, "read_pages", mote_u64(data), mote_u64(64));
	d = since(&s, &start);
	CHECK_EQ(d.frames_used, 40);
	CHECK_EQ(d.vcpu_ioctls, 3);
	check_quiet(&d);
	system_close(&s);
}

TEST(guest_counters__sizes_of_statistics_are_the_callers)
{
	struct system s;
	struct {
		struct mote_statistics statistics;
		uint64_t more;
	} larger = {.more = 7};
	OPEN(&s, "hello");
	(void)CALL_I32(&s, "add", mote_i32(1), mote_i32(2));
	mote_sandbox_get_statistics(s.sandbox, &larger.statistics, sizeof larger);
	CHECK_EQ(larger.more, 0);
	CHECK_EQ(larger.statistics.calls, 1);
	struct mote_statistics part = {.vcpu_ioctls = 123456};
	mote_sandbox_get_statistics(s.sandbox, &part, sizeof part.vm_entries);
	CHECK(part.vm_entries > 0);
	CHECK_EQ(part.vcpu_ioctls, 123456);
	system_close(&s);
}
