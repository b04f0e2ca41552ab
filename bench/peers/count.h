/* SPDX-License-Identifier: MIT */
/*
 * What count.c counts in a program that it is loaded into, and how the program asks for it: by
 * madvise() with an advice that no kernel knows, the address and size of an array of uint64_t,
 * which gets the totals so far. Without the library the kernel refuses the call.
 */
#ifndef MOTE_BENCH_PEERS_COUNT_H
#define MOTE_BENCH_PEERS_COUNT_H

/* Calls that the program makes (not the C library within itself), then what the kernel counts. */
#define COUNTERS(X) \
	X(ioctl)    \
	X(kvm_run)  \
	X(madvise)  \
	X(mmap)     \
	X(munmap)   \
	KERNEL_COUNTERS(X)
/* Of all virtual processors, by KVM_GET_STATS_FD. */
#define KERNEL_COUNTERS(X) \
	X(exits)           \
	X(io_exits)        \
	X(pf_taken)        \
	X(pf_fixed)        \
	X(insn_emulation)  \
	X(tlb_flush)

#define COUNTER_NUMBER(name) COUNT_##name,
enum { COUNTERS(COUNTER_NUMBER) COUNTER_COUNT };

#define COUNT_ADVICE 0x6d6f7465

#endif
