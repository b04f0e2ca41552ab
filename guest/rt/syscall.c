/* SPDX-License-Identifier: MIT */
/*
 * System calls of the C library, served inside the guest: memory, output, clocks, random numbers,
 * the thread pointer, exit. Everything else gets ENOSYS. Numbers and structures are those of Linux
 * on x86-64. Arguments are the program's: it can only harm itself.
 */
#include "rt.h"

#include <string.h>

enum number {
	SYS_READ = 0,
	SYS_WRITE = 1,
	SYS_CLOSE = 3,
	SYS_FSTAT = 5,
	SYS_LSEEK = 8,
	SYS_MMAP = 9,
	SYS_MPROTECT = 10,
	SYS_MUNMAP = 11,
	SYS_BRK = 12,
	SYS_SIGACTION = 13,
	SYS_SIGPROCMASK = 14,
	SYS_IOCTL = 16,
	SYS_READV = 19,
	SYS_WRITEV = 20,
	SYS_SCHED_YIELD = 24,
	SYS_MREMAP = 25,
	SYS_MADVISE = 28,
	SYS_NANOSLEEP = 35,
	SYS_GETPID = 39,
	SYS_EXIT = 60,
	SYS_KILL = 62,
	SYS_UNAME = 63,
	SYS_GETTIMEOFDAY = 96,
	SYS_GETRLIMIT = 97,
	SYS_SIGALTSTACK = 131,
	SYS_ARCH_PRCTL = 158,
	SYS_GETTID = 186,
	SYS_TKILL = 200,
	SYS_TIME = 201,
	SYS_FUTEX = 202,
	SYS_SET_TID_ADDRESS = 218,
	SYS_CLOCK_GETTIME = 228,
	SYS_CLOCK_GETRES = 229,
	SYS_CLOCK_NANOSLEEP = 230,
	SYS_EXIT_GROUP = 231,
	SYS_TGKILL = 234,
	SYS_PRLIMIT = 302,
	SYS_GETRANDOM = 318,
};

#define ERROR_IO           5
#define ERROR_BAD_FILE     9
#define ERROR_AGAIN        11
#define ERROR_INVALID      22
#define ERROR_NOT_TERMINAL 25
#define ERROR_PIPE_SEEK    29
#define ERROR_NO_CALL      38
#define NS_PER_SECOND      1000000000ll
#define NS_PER_US          1000ll

struct io_vector {
	const char *base;
	uint64_t len;
};

struct time_spec {
	int64_t seconds, ns;
};

/* ---- Output ---- */

static bool is_open(uint64_t fd)
{
	return fd <= 2;
}

/* Parts are gathered, so that a write of several is one call of the host. */
static int64_t write_parts(uint64_t fd, const struct io_vector *parts, uint64_t count)
{
	char gathered[1024];
	size_t held = 0;
	uint64_t total = 0;
	if (fd != 1 && fd != 2)
		return -ERROR_BAD_FILE;
	for (uint64_t i = 0; i < count; i++) {
		const struct io_vector *part = &parts[i];
		if (part->len <= sizeof gathered - held) {
			memcpy(gathered + held, part->base, part->len);
			held += part->len;
		} else {
			if (!mote__guest_print(gathered, held) ||
			    !mote__guest_print(part->base, part->len))
				return -ERROR_IO;
			held = 0;
		}
		total += part->len;
	}
	return mote__guest_print(gathered, held) ? (int64_t)total : -ERROR_IO;
}

static int64_t write_one(uint64_t fd, const char *base, uint64_t len)
{
	if (fd != 1 && fd != 2)
		return -ERROR_BAD_FILE;
	return mote__guest_print(base, len) ? (int64_t)len : -ERROR_IO;
}

/* ---- Clocks ---- */

#define CLOCK_COUNT 8u

static uint64_t clock_ns(uint64_t clock)
{
	bool is_real = clock == 0 || clock == 5;
	return is_real ? mote__guest_realtime_ns() : mote__guest_monotonic_ns();
}

static int64_t clock_get(uint64_t clock, struct time_spec *to)
{
	if (clock >= CLOCK_COUNT)
		return -ERROR_INVALID;
	uint64_t ns = clock_ns(clock);
	*to = (struct time_spec){(int64_t)(ns / NS_PER_SECOND), (int64_t)(ns % NS_PER_SECOND)};
	return 0;
}

static int64_t clock_resolution(uint64_t clock, struct time_spec *to)
{
	if (clock >= CLOCK_COUNT)
		return -ERROR_INVALID;
	if (to)
		*to = (struct time_spec){0, 1};
	return 0;
}

static int64_t time_of_day(struct time_spec *to)
{
	(void)clock_get(0, to);
	to->ns /= NS_PER_US;
	return 0;
}

static int64_t time_seconds(int64_t *to)
{
	struct time_spec now;
	(void)clock_get(0, &now);
	if (to)
		*to = now.seconds;
	return now.seconds;
}

/* Busy, as nobody else could run; not at all where time stands still. */
static int64_t sleep_for(uint64_t clock, bool is_absolute, const struct time_spec *time)
{
	if (clock >= CLOCK_COUNT || time->ns < 0 || time->ns >= NS_PER_SECOND || time->seconds < 0)
		return -ERROR_INVALID;
	if (mote__guest.run->tsc_to_ns == 0)
		return 0;
	uint64_t most = UINT64_MAX / 4 / NS_PER_SECOND;
	uint64_t seconds = (uint64_t)time->seconds < most ? (uint64_t)time->seconds : most;
	uint64_t until = seconds * NS_PER_SECOND + (uint64_t)time->ns;
	if (!is_absolute)
		until += clock_ns(clock);
	while (clock_ns(clock) < until)
		__builtin_ia32_pause();
	return 0;
}

/* ---- Process ---- */

#define SIGNAL_ABORT 6u

static _Noreturn void end_program(uint64_t status)
{
	MOTE__GUEST_TEXT(text);
	mote__guest_add(&text, "The program called exit(");
	mote__guest_add_decimal(&text, status & 0xFF);
	mote__guest_add(&text, ")");
	mote__guest_abort((uint8_t)status, text.data, text.len);
}

static int64_t send_signal(uint64_t number)
{
	MOTE__GUEST_TEXT(text);
	if (number == 0)
		return 0;
	if (number == SIGNAL_ABORT)
		mote__guest_add(&text, "The program called abort()");
	else {
		mote__guest_add(&text, "The program raised signal ");
		mote__guest_add_decimal(&text, number);
	}
	mote__guest_abort(MOTE_GUEST_OK, text.data, text.len);
}

static int64_t futex(const uint32_t *word, uint64_t operation, uint32_t expected)
{
	static const char text[] = "Deadlock: the program waits for another thread";
	uint64_t command = operation & 0x7F;
	if (command == 1 || command == 3 || command == 4) /* wake, requeue */
		return 0;
	if (command != 0 && command != 9)
		return -ERROR_NO_CALL;
	if (*word != expected)
		return -ERROR_AGAIN;
	mote__guest_abort(MOTE_GUEST_UNKNOWN_ERROR, text, sizeof text - 1);
}

#define PRCTL_SET_FS     0x1002u
#define PRCTL_GET_FS     0x1003u
#define FEATURE_FSGSBASE 1u
#define MSR_FS_BASE      0xC0000100u

static int64_t set_thread(uint64_t to)
{
	static const char no_feature[] = "The processor has no FSGSBASE";
	if (mote__guest.owns_ring_0)
		__asm__ volatile("wrmsr"
				 :
				 : "c"(MSR_FS_BASE), "a"((uint32_t)to), "d"((uint32_t)(to >> 32)));
	else if (mote__guest.run->features & FEATURE_FSGSBASE)
		__asm__ volatile("wrfsbase %0" : : "r"(to));
	else
		mote__guest_abort(MOTE_GUEST_UNKNOWN_ERROR, no_feature, sizeof no_feature - 1);
	mote__guest.thread = to;
	return 0;
}

static int64_t thread_pointer(uint64_t operation, uint64_t value)
{
	if (operation == PRCTL_SET_FS)
		return set_thread(value);
	if (operation != PRCTL_GET_FS)
		return -ERROR_INVALID;
	*(uint64_t *)value = mote__guest.thread;
	return 0;
}

#define LIMIT_STACK 3u
#define LIMIT_FILES 7u
#define LIMIT_NONE  UINT64_MAX

static int64_t get_limit(uint64_t resource, uint64_t to[2])
{
	const struct mote_abi_run_info *run = mote__guest.run;
	uint64_t limit = LIMIT_NONE;
	if (resource == LIMIT_STACK)
		limit = run->stack_top - run->stack_first;
	else if (resource == LIMIT_FILES)
		limit = 3;
	if (to)
		to[0] = to[1] = limit;
	return 0;
}

static int64_t set_name(char to[6][65])
{
	static const char *const fields[6] = {"mote", "guest", "0", "0", "x86_64", ""};
	memset(to, 0, 6 * sizeof *to);
	for (unsigned i = 0; i < 6; i++)
		memcpy(to[i], fields[i], strlen(fields[i]));
	return 0;
}

/* ---- Dispatch ---- */

static int64_t file_call(uint64_t number, uint64_t fd, uint64_t a, uint64_t b)
{
	if (!is_open(fd))
		return -ERROR_BAD_FILE;
	switch (number) {
	case SYS_WRITE:
		return write_one(fd, (const char *)a, b);
	case SYS_WRITEV:
		return write_parts(fd, (const struct io_vector *)a, b);
	case SYS_READ:
	case SYS_READV:
		return fd == 0 ? 0 : -ERROR_BAD_FILE;
	case SYS_LSEEK:
		return -ERROR_PIPE_SEEK;
	case SYS_IOCTL:
		return -ERROR_NOT_TERMINAL;
	case SYS_CLOSE:
		return 0;
	default:
		return -ERROR_NO_CALL;
	}
}

static int64_t clock_call(uint64_t number, uint64_t a, uint64_t b, uint64_t c)
{
	switch (number) {
	case SYS_CLOCK_GETTIME:
		return clock_get(a, (struct time_spec *)b);
	case SYS_CLOCK_GETRES:
		return clock_resolution(a, (struct time_spec *)b);
	case SYS_GETTIMEOFDAY:
		return time_of_day((struct time_spec *)a);
	case SYS_TIME:
		return time_seconds((int64_t *)a);
	case SYS_NANOSLEEP:
		return sleep_for(1, false, (const struct time_spec *)a);
	default:
		return sleep_for(a, b & 1, (const struct time_spec *)c);
	}
}

int64_t mote__guest_syscall(uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f,
			    uint64_t number);

/** Called by the SYSCALL entry. Returns a result or a negative errno. */
int64_t mote__guest_syscall(uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f,
			    uint64_t number)
{
	(void)e;
	(void)f;
	switch (number) {
	case SYS_READ:
	case SYS_READV:
	case SYS_WRITE:
	case SYS_WRITEV:
	case SYS_CLOSE:
	case SYS_FSTAT:
	case SYS_LSEEK:
	case SYS_IOCTL:
		return file_call(number, a, b, c);
	case SYS_BRK:
		return mote__guest_brk(a);
	case SYS_MMAP:
		return mote__guest_mmap(a, b, c, d);
	case SYS_MUNMAP:
		return mote__guest_munmap(a, b);
	case SYS_MREMAP:
		return mote__guest_mremap(a, b, c, d);
	case SYS_MADVISE:
		return mote__guest_madvise(a, b, c);
	case SYS_MPROTECT:
		return mote__guest_mprotect(a, b, c);
	case SYS_CLOCK_GETTIME:
	case SYS_CLOCK_GETRES:
	case SYS_CLOCK_NANOSLEEP:
	case SYS_NANOSLEEP:
	case SYS_GETTIMEOFDAY:
	case SYS_TIME:
		return clock_call(number, a, b, c);
	case SYS_GETRANDOM:
		mote_guest_random((void *)a, b);
		return (int64_t)b;
	case SYS_ARCH_PRCTL:
		return thread_pointer(a, b);
	case SYS_SET_TID_ADDRESS:
	case SYS_GETTID:
	case SYS_GETPID:
		return 1;
	case SYS_SIGACTION:
	case SYS_SIGPROCMASK:
	case SYS_SIGALTSTACK:
	case SYS_SCHED_YIELD:
		return 0;
	case SYS_KILL:
	case SYS_TKILL:
		return send_signal(b);
	case SYS_TGKILL:
		return send_signal(c);
	case SYS_FUTEX:
		return futex((const uint32_t *)a, b, (uint32_t)c);
	case SYS_GETRLIMIT:
		return get_limit(a, (uint64_t *)b);
	case SYS_PRLIMIT:
		return get_limit(b, (uint64_t *)d);
	case SYS_UNAME:
		return set_name((char(*)[65])a);
	case SYS_EXIT:
	case SYS_EXIT_GROUP:
		end_program(a);
	default:
		return -ERROR_NO_CALL;
	}
}
