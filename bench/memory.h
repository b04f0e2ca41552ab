/* SPDX-License-Identifier: MIT */
/* How much memory this process has to itself, and the kernel holds. */
#ifndef MOTE_BENCH_MEMORY_H
#define MOTE_BENCH_MEMORY_H

#include <stddef.h>

/** Bytes of the process by kind of mapping, and of the machine. */
struct mote__bench_memory {
	double scratch, tables, vcpu, heap, other; /* private pages: Private_Clean, Private_Dirty */
	double slab, vmalloc, percpu, page_tables, shadow_tables; /* of all processes */
};

struct mote__bench_memory mote__bench_memory_look(void);
/** Private bytes of the process. */
double mote__bench_memory_total(const struct mote__bench_memory *memory);
/** The growth from a to b for each of count things, as members of a JSON object. */
void mote__bench_memory_detail(char *text, size_t bytes, const struct mote__bench_memory *a,
			       const struct mote__bench_memory *b, int count);

#endif
