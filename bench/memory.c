/* SPDX-License-Identifier: MIT */
#include "memory.h"

#include <stdio.h>
#include <string.h>

#include "lib.h"

double mote__bench_memory_total(const struct mote__bench_memory *m)
{
	return m->scratch + m->tables + m->vcpu + m->heap + m->other;
}

static double *kind_of(struct mote__bench_memory *memory, const char *path)
{
	if (strstr(path, "mote-tables"))
		return &memory->tables;
	if (strstr(path, "kvm-vcpu"))
		return &memory->vcpu;
	if (strcmp(path, "[heap]") == 0)
		return &memory->heap;
	return path[0] ? &memory->other : &memory->scratch;
}

static void read_maps(struct mote__bench_memory *memory)
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

static void read_machine(struct mote__bench_memory *memory)
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

struct mote__bench_memory mote__bench_memory_look(void)
{
	struct mote__bench_memory memory = {0};
	read_maps(&memory);
	read_machine(&memory);
	return memory;
}

void mote__bench_memory_detail(char *text, size_t bytes, const struct mote__bench_memory *a,
			       const struct mote__bench_memory *b, int count)
{
	double slab = b->slab - a->slab, vmalloc = b->vmalloc - a->vmalloc;
	double percpu = b->percpu - a->percpu, tables = b->page_tables - a->page_tables;
	double shadow = b->shadow_tables - a->shadow_tables;
	(void)snprintf(text, bytes,
		       "\"scratch\":%.0f,\"tables\":%.0f,\"vcpu_page\":%.0f,\"heap\":%.0f,"
		       "\"other\":%.0f,\"kernel\":%.0f,\"kernel_slab\":%.0f,"
		       "\"kernel_vmalloc\":%.0f,\"kernel_percpu\":%.0f,"
		       "\"kernel_page_tables\":%.0f,\"kernel_shadow_tables\":%.0f",
		       (b->scratch - a->scratch) / count, (b->tables - a->tables) / count,
		       (b->vcpu - a->vcpu) / count, (b->heap - a->heap) / count,
		       (b->other - a->other) / count,
		       (slab + vmalloc + percpu + tables + shadow) / count, slab / count,
		       vmalloc / count, percpu / count, tables / count, shadow / count);
}
