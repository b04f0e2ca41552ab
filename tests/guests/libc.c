/* SPDX-License-Identifier: MIT */
/* The C library inside a guest: streams, memory, sorting, numbers, jumps, thread-local data, time.
 */
#define _GNU_SOURCE
#include <mote_guest.h>

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

static _Thread_local int32_t thread_value = 5;
static int32_t constructed;

__attribute__((constructor)) static void construct(void)
{
	constructed = thread_value * 100;
}

void mote_guest_init(void)
{
	constructed += thread_value++;
	printf("init %d\n", constructed);
}

MOTE_EXPORT(int32_t, constructed_value)
{
	return constructed;
}

MOTE_EXPORT(int32_t, thread_local_value)
{
	return thread_value++;
}

MOTE_EXPORT(int32_t, print_number, (const char *, text), (double, number))
{
	int a = printf("%s=%.3f\n", text, number);
	int b = fprintf(stderr, "err\n");
	return a + b;
}

MOTE_EXPORT(int32_t, print_lines, (int32_t, count))
{
	for (int32_t i = 0; i < count; i++)
		printf("line %d\n", i);
	return count;
}

MOTE_EXPORT(int64_t, write_raw, (struct mote_bytes, bytes))
{
	return write(1, bytes.data, bytes.len);
}

static int compare(const void *a, const void *b)
{
	int32_t x, y;
	memcpy(&x, a, sizeof x);
	memcpy(&y, b, sizeof y);
	return x < y ? -1 : x > y;
}

MOTE_EXPORT(struct mote_bytes, sort, (struct mote_bytes, numbers))
{
	int32_t *copy = malloc(numbers.len + 1);
	if (!copy)
		mote_guest_fail(13, "no memory for %zu bytes", numbers.len);
	memcpy(copy, numbers.data, numbers.len);
	qsort(copy, numbers.len / sizeof *copy, sizeof *copy, compare);
	void *result = mote_guest_scratch(numbers.len);
	memcpy(result, copy, numbers.len);
	free(copy);
	return (struct mote_bytes){result, numbers.len};
}

MOTE_EXPORT(double, parse, (const char *, text))
{
	return strtod(text, NULL);
}

MOTE_EXPORT(double, root, (double, x))
{
	return sqrt(x) + pow(x, 0.5);
}

static jmp_buf back;

static _Noreturn void jump_back(int32_t value)
{
	longjmp(back, value);
}

MOTE_EXPORT(int32_t, jump, (int32_t, value))
{
	int got = setjmp(back);
	if (got == 0)
		jump_back(value);
	return got;
}

/* Random allocations, contents checked; 0, or the step that failed. */
MOTE_EXPORT(int32_t, stress_memory, (uint32_t, seed), (uint32_t, steps))
{
	static uint8_t *blocks[64];
	static size_t sizes[64];
	for (uint32_t step = 1; step <= steps; step++) {
		seed = seed * 1664525 + 1013904223;
		size_t i = seed >> 26;
		for (size_t j = 0; j < sizes[i]; j++)
			if (blocks[i][j] != (uint8_t)(i + j))
				return (int32_t)step;
		size_t size = seed >> 7 & (seed & 64 ? 0xFFFF : 0xFF);
		uint8_t *block = seed & 1 ? realloc(blocks[i], size + 1) : calloc(1, size + 1);
		if (!(seed & 1)) {
			free(blocks[i]);
			for (size_t j = 0; block && j < size; j++)
				if (block[j] != 0)
					return -(int32_t)step;
		}
		if (!block && seed & 1)
			continue;
		blocks[i] = block;
		sizes[i] = block ? size : 0;
		for (size_t j = 0; j < sizes[i]; j++)
			block[j] = (uint8_t)(i + j);
	}
	for (size_t i = 0; i < 64; i++) {
		free(blocks[i]);
		blocks[i] = NULL;
		sizes[i] = 0;
	}
	return 0;
}

/* mmap, munmap and mremap by hand: memory is zero when new, kept when moved. 0, or what failed. */
MOTE_EXPORT(int32_t, map_pages)
{
	uint8_t *a =
		mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t *b = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (a == MAP_FAILED || b == MAP_FAILED || a == b)
		return 1;
	memset(a, 0x55, 3 * 4096);
	memset(b, 0x66, 4096);
	if (munmap(a + 4096, 4096) != 0)
		return 2;
	uint8_t *c = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (c != a + 4096)
		return 3; /* the hole is used first */
	for (int i = 0; i < 4096; i++)
		if (c[i] != 0)
			return 4;
	uint8_t *d = mremap(b, 4096, 5 * 4096, MREMAP_MAYMOVE);
	if (d == MAP_FAILED || d[0] != 0x66 || d[4095] != 0x66 || d[4096] != 0)
		return 5;
	if (madvise(d, 4096, MADV_DONTNEED) != 0 || d[0] != 0)
		return 6;
	if (munmap(d, 5 * 4096) != 0 || munmap(a, 3 * 4096) != 0 || munmap(a, 3 * 4096) != 0)
		return 7;
	if (mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
	    MAP_FAILED)
		return 8;
	if (mmap(NULL, 1ul << 40, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
		return 9;
	return 0;
}

MOTE_EXPORT(int64_t, now_seconds)
{
	return time(NULL);
}

/* Two readings of the monotonic clock around work, in ns; negative: it ran backwards. */
MOTE_EXPORT(int64_t, elapsed_ns)
{
	struct timespec a, b;
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (volatile int i = 0; i < 100000; i++)
		;
	clock_gettime(CLOCK_MONOTONIC, &b);
	return (b.tv_sec - a.tv_sec) * 1000000000 + b.tv_nsec - a.tv_nsec;
}

MOTE_EXPORT(int64_t, sleep_ns, (int64_t, ns))
{
	struct timespec a, b, wait = {ns / 1000000000, ns % 1000000000};
	clock_gettime(CLOCK_MONOTONIC, &a);
	nanosleep(&wait, NULL);
	clock_gettime(CLOCK_MONOTONIC, &b);
	return (b.tv_sec - a.tv_sec) * 1000000000 + b.tv_nsec - a.tv_nsec;
}

MOTE_EXPORT(uint64_t, random_number)
{
	uint64_t number = 0;
	if (getrandom(&number, sizeof number, 0) != sizeof number)
		return 0;
	return number;
}

/* errno of open(), which guests do not have. */
MOTE_EXPORT(int32_t, open_error)
{
	errno = 0;
	return open("/etc/passwd", O_RDONLY) < 0 ? errno : 0;
}

/* Registers and the red zone over a system call: 0, or the number of what changed. */
MOTE_EXPORT(int32_t, system_call_keeps_registers)
{
	uint64_t rdi, rsi, rdx, r8, r9, r10, rbx, red, result;
	register uint64_t in_r8 __asm__("r8") = 0x88;
	register uint64_t in_r9 __asm__("r9") = 0x99;
	register uint64_t in_r10 __asm__("r10") = 0xAA;
	__asm__ volatile("movq $0x77, -128(%%rsp)\n\tmovq $0x78, -8(%%rsp)\n\t"
			 "mov $0xBB, %%ebx\n\tsyscall\n\t"
			 "mov -128(%%rsp), %3\n\tadd -8(%%rsp), %3"
			 : "=a"(result), "=D"(rdi), "=S"(rsi), "=&d"(red), "=b"(rbx), "+r"(in_r8),
			   "+r"(in_r9), "+r"(in_r10)
			 : "0"(999), "1"(0x11), "2"(0x22)
			 : "rcx", "r11", "memory");
	rdx = red;
	r8 = in_r8;
	r9 = in_r9;
	r10 = in_r10;
	if (result != (uint64_t)-ENOSYS)
		return 1;
	if (rdi != 0x11 || rsi != 0x22 || rdx != 0x77 + 0x78 || rbx != 0xBB)
		return 2;
	return r8 == 0x88 && r9 == 0x99 && r10 == 0xAA ? 0 : 3;
}

MOTE_EXPORT(void, print_and_fail, (const char *, text))
{
	printf("%s", text);
	mote_guest_fail(3, "after %s", text);
}
