/* SPDX-License-Identifier: MIT */
/*
 * What happens in a child after fork(): a body that runs in one, and mappings of the child's own at
 * all places where its parent has some that it did not inherit. A body must not use CHECK, which
 * would go on with the tests of the parent; it returns a number below 100, 0 for success.
 */
#ifndef MOTE_TESTS_FORKED_H
#define MOTE_TESTS_FORKED_H

#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

/** What body returned; 100 and the signal that killed the child. It has 20 seconds. */
static inline int forked_run(int (*body)(void *cookie), void *cookie)
{
	int status = 0;
	pid_t child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		(void)alarm(20);
		_exit(body(cookie));
	}
	CHECK(waitpid(child, &status, 0) == child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 100 + WTERMSIG(status);
}

#define FORKED_RANGES_MAX 512u
#define FORKED_RANGE_MAX  (1ul << 30) /* larger ones are the sanitizers' */

struct forked_ranges {
	unsigned count;
	struct {
		uint8_t *first;
		size_t bytes;
	} range[FORKED_RANGES_MAX];
};

/** The mappings of this process. */
static inline void forked_list(struct forked_ranges *ranges)
{
	FILE *file = fopen("/proc/self/maps", "re");
	char line[512];
	CHECK(file != NULL);
	ranges->count = 0;
	while (ranges->count < FORKED_RANGES_MAX && fgets(line, sizeof line, file)) {
		unsigned long first, end;
		if (sscanf(line, "%lx-%lx", &first, &end) != 2 || end - first > FORKED_RANGE_MAX)
			continue;
		ranges->range[ranges->count].first = (uint8_t *)first;
		ranges->range[ranges->count++].bytes = end - first;
	}
	(void)fclose(file);
}

/** In the child: map what is free of ranges, and keep only these there. */
static inline void forked_occupy(struct forked_ranges *ranges)
{
	unsigned count = 0;
	for (unsigned i = 0; i < ranges->count; i++) {
		/* The thread sanitizer's mmap() puts some elsewhere. */
		long at = syscall(SYS_mmap, ranges->range[i].first, ranges->range[i].bytes,
				  PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE,
				  -1, 0L);
		if ((uint8_t *)at == ranges->range[i].first)
			ranges->range[count++] = ranges->range[i];
	}
	ranges->count = count;
}

/** In the child: how many of ranges are not wholly there any more. */
static inline unsigned forked_lost(const struct forked_ranges *ranges)
{
	unsigned lost = 0;
	for (unsigned i = 0; i < ranges->count; i++)
		if (madvise(ranges->range[i].first, ranges->range[i].bytes, MADV_NORMAL) != 0)
			lost++;
	return lost;
}

#endif
