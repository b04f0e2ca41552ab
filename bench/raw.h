/* SPDX-License-Identifier: MIT */
/*
 * The floor: the least that a program on bare KVM does for the same. Written against linux/kvm.h;
 * of the library it uses only the constant system pages (descriptor tables with the port bitmap
 * that lets ring 3 leave) and their addresses.
 *
 * A raw machine runs a few bytes of ring-3 code that touch a list of pages and leave by port 108.
 */
#ifndef MOTE_BENCH_RAW_H
#define MOTE_BENCH_RAW_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** A page of a guest: where it is, and in which of the two runs it is touched first. */
struct mote__raw_page {
	uint64_t gva, gpa;
	bool is_user, is_writable, is_executable;
	uint8_t touch; /* 0: never; 1, 2: the run that touches it */
};

/** Sizes of a machine. */
struct mote__raw_shape {
	uint64_t snapshot_gpa, snapshot_bytes; /* read-only slot */
	uint64_t scratch_gpa, scratch_bytes;   /* writable memory ... */
	uint64_t slot_bytes;                   /* ... and how much of it the machine has */
	uint64_t tables_offset;                /* in scratch: free for page tables */
	const struct mote__raw_page *pages;
	size_t page_count;
};

/** What is made once: code, page tables, CPUID. */
struct mote__raw {
	struct mote__raw_shape shape;
	int kvm, table_fd;
	size_t run_bytes, table_bytes;
	uint8_t *memory;     /* of the snapshot slot; address = gpa */
	uint64_t code, list; /* gva */
	uint64_t touches[2];
	struct kvm_cpuid2 *cpuid;
	struct kvm_sregs sregs;
};

struct mote__raw_machine {
	int vm, vcpu;
	struct kvm_run *run;
	uint8_t *scratch;
};

/** Prepare machines of that shape; pages are not kept. At least one user page of the snapshot must
 * be executable and touched, and one other that is touched be not writable. */
void mote__raw_open(struct mote__raw *raw, const struct mote__raw_shape *shape);
/** The smallest shape. */
void mote__raw_open_small(struct mote__raw *raw);
/** The same with that many writable pages, and as many in the snapshot to fill them from. */
void mote__raw_open_pages(struct mote__raw *raw, size_t count);
void mote__raw_close(struct mote__raw *raw);

void mote__raw_create(const struct mote__raw *raw, struct mote__raw_machine *machine);
void mote__raw_destroy(const struct mote__raw *raw, struct mote__raw_machine *machine);

/** Enter at the start of run number index (0 or 1), which touches its pages and leaves. */
void mote__raw_run(const struct mote__raw *raw, struct mote__raw_machine *machine, unsigned index);
/** Enter at a loop that leaves again and again, and leave once; then go round once. */
void mote__raw_enter(const struct mote__raw *raw, struct mote__raw_machine *machine);
void mote__raw_again(struct mote__raw_machine *machine);
/** Of a machine with writable pages: fill them from the snapshot; enter, store to each, and leave.
 */
void mote__raw_fill(const struct mote__raw *raw, struct mote__raw_machine *machine);
void mote__raw_store(const struct mote__raw *raw, struct mote__raw_machine *machine);
/** Take the snapshot out of the machine and put it back. */
void mote__raw_switch(const struct mote__raw *raw, struct mote__raw_machine *machine);
/** Run code that never ends until a signal comes. Returns with the signal pending. */
void mote__raw_spin(const struct mote__raw *raw, struct mote__raw_machine *machine);

#endif
