/* SPDX-License-Identifier: MIT */
/*
 * How much memory does an idle sandbox hold that it does not share? Private pages of the process
 * (Private_Clean + Private_Dirty of /proc/self/smaps) before and after making many sandboxes, each
 * called once, told apart by mapping. The kernel's own memory is the difference of what
 * /proc/meminfo counts as slab, vmalloc (stacks of threads among it), per-processor memory and page
 * tables; other processes disturb it a little, so it is for information.
 */
#include "lib.h"

#include <stdio.h>
#include <string.h>

enum { SANDBOXES = 200, LIMIT_BYTES = 131072 };

/** Bytes of the process by kind of mapping, and of the machine. */
struct memory {
	double scratch, tables, vcpu, heap, other;
	double slab, vmalloc, percpu, page_tables, shadow_tables;
};

static double total(const struct memory *m)
{
	return m->scratch + m->tables + m->vcpu + m->heap + m->other;
}

static double *kind_of(struct memory *memory, const char *path)
{
	if (strstr(path, "mote-tables"))
		return &memory->tables;
	if (strstr(path, "kvm-vcpu"))
		return &memory->vcpu;
	if (strcmp(path, "[heap]") == 0)
		return &memory->heap;
	return path[0] ? &memory->other : &memory->scratch;
}

static void read_maps(struct memory *memory)
{
	char line[1024];
	double *kind = &memory->other;
	FILE *file = fopen("/proc/self/smaps", "re");
	if (!file)
		mote__bench_skip("/proc/self/smaps cannot be read");
	while (fgets(line, sizeof line, file)) {
		char path[512] = "";
		unsigned long start, end, kilobytes;
		if (sscanf(line, "%lx-%lx %*s %*s %*s %*s %511[^\n]", &start, &end, path) >= 2)
			kind = kind_of(memory, path);
		else if (sscanf(line, "Private_%*[^:]: %lu", &kilobytes) == 1)
			*kind += (double)kilobytes * 1024;
	}
	(void)fclose(file);
}

static void read_machine(struct memory *memory)
{
	const struct {
		const char *name;
		double *to;
	} wanted[] = {{"Slab:", &memory->slab},
		      {"VmallocUsed:", &memory->vmalloc},
		      {"Percpu:", &memory->percpu},
		      {"PageTables:", &memory->page_tables},
		      {"SecPageTables:", &memory->shadow_tables}};
	char line[256], name[64];
	unsigned long kilobytes;
	FILE *file = fopen("/proc/meminfo", "re");
	if (!file)
		return;
	while (fgets(line, sizeof line, file))
		for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
			if (sscanf(line, "%63s %lu", name, &kilobytes) == 2 &&
			    strcmp(name, wanted[i].name) == 0)
				*wanted[i].to = (double)kilobytes * 1024;
	(void)fclose(file);
}

static struct memory look(void)
{
	struct memory memory = {0};
	read_maps(&memory);
	read_machine(&memory);
	return memory;
}

static void make_detail(char *text, size_t bytes, const struct memory *a, const struct memory *b)
{
	double slab = b->slab - a->slab, vmalloc = b->vmalloc - a->vmalloc;
	double percpu = b->percpu - a->percpu, tables = b->page_tables - a->page_tables;
	double shadow = b->shadow_tables - a->shadow_tables;
	(void)snprintf(text, bytes,
		       "\"scratch\":%.0f,\"tables\":%.0f,\"vcpu_page\":%.0f,\"heap\":%.0f,"
		       "\"other\":%.0f,\"kernel\":%.0f,\"kernel_slab\":%.0f,"
		       "\"kernel_vmalloc\":%.0f,\"kernel_percpu\":%.0f,"
		       "\"kernel_page_tables\":%.0f,\"kernel_shadow_tables\":%.0f",
		       (b->scratch - a->scratch) / SANDBOXES, (b->tables - a->tables) / SANDBOXES,
		       (b->vcpu - a->vcpu) / SANDBOXES, (b->heap - a->heap) / SANDBOXES,
		       (b->other - a->other) / SANDBOXES,
		       (slab + vmalloc + percpu + tables + shadow) / SANDBOXES, slab / SANDBOXES,
		       vmalloc / SANDBOXES, percpu / SANDBOXES, tables / SANDBOXES,
		       shadow / SANDBOXES);
}

int main(int count, char **arguments)
{
	static mote_sandbox *sandbox[SANDBOXES];
	struct mote__bench bench;
	char detail[512];
	mote__bench_open(&bench, mote__bench_directory(count, arguments), "bench.guest", NULL);
	(void)mote__bench_call(bench.sandbox, "call_host", 0);
	(void)look(); /* memory of this look */
	struct memory before = look();
	for (int i = 0; i < SANDBOXES; i++) {
		sandbox[i] = mote__bench_sandbox(&bench);
		(void)mote__bench_call(sandbox[i], "call_host", 0);
	}
	struct memory after = look();
	make_detail(detail, sizeof detail, &before, &after);
	mote__bench_report_value(&(struct mote__bench_answer){.name = "resident_idle",
							      .unit = "bytes",
							      .limit = LIMIT_BYTES,
							      .detail = detail},
				 (total(&after) - total(&before)) / SANDBOXES);
	(void)fprintf(stderr, "    %s\n", detail);
	for (int i = 0; i < SANDBOXES; i++)
		mote_sandbox_destroy(sandbox[i]);
	mote__bench_close(&bench);
	return 0;
}
