/* SPDX-License-Identifier: MIT */
/*
 * How much memory does an idle sandbox hold that it does not share? Private pages of the process
 * (Private_Clean + Private_Dirty of /proc/self/smaps) before and after making many sandboxes, each
 * called once, told apart by mapping. The kernel's own memory is the difference of what
 * /proc/meminfo counts as slab, vmalloc (stacks of threads among it), per-processor memory and page
 * tables; other processes disturb it a little, so it is for information.
 */
#include <stdio.h>

#include "lib.h"
#include "memory.h"

enum { SANDBOXES = 200, LIMIT_BYTES = 131072 };

int main(int count, char **arguments)
{
	static mote_sandbox *sandbox[SANDBOXES];
	struct mote__bench bench;
	char detail[512];
	mote__bench_open(&bench, mote__bench_directory(count, arguments), "bench.guest", NULL);
	(void)mote__bench_call(bench.sandbox, "call_host", 0);
	(void)mote__bench_memory_look(); /* memory of this look */
	struct mote__bench_memory before = mote__bench_memory_look();
	for (int i = 0; i < SANDBOXES; i++) {
		sandbox[i] = mote__bench_sandbox(&bench);
		(void)mote__bench_call(sandbox[i], "call_host", 0);
	}
	struct mote__bench_memory after = mote__bench_memory_look();
	mote__bench_memory_detail(detail, sizeof detail, &before, &after, SANDBOXES);
	mote__bench_report_value(
		&(struct mote__bench_answer){.name = "resident_idle",
					     .unit = "bytes",
					     .limit = LIMIT_BYTES,
					     .detail = detail},
		(mote__bench_memory_total(&after) - mote__bench_memory_total(&before)) / SANDBOXES);
	(void)fprintf(stderr, "    %s\n", detail);
	for (int i = 0; i < SANDBOXES; i++)
		mote_sandbox_destroy(sandbox[i]);
	mote__bench_close(&bench);
	return 0;
}
