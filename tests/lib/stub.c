/* SPDX-License-Identifier: MIT */
/* A processor with a cache of translations, and the ring-0 code in C, see the header. */
#define _GNU_SOURCE
#include "stub.h"

#include <stddef.h>
#include <sys/mman.h>

#include "check.h"
#include "core/confined.h"
#include "core/page_table.h"

#define PAGE     4096ull
#define FORMAT   (&mote__pt_x86_64)
#define MACHINES 64u
#define ENTRIES  256u

/* ---- cached translations --------------------------------------------------------------------- */

struct entry {
	uint64_t number; /* of the virtual page; 0: free */
	uint8_t *page;
	bool is_writable;
};

static struct cache {
	uint64_t machine; /* its id */
	unsigned slots;   /* changes of slots when it was filled */
	struct entry entry[ENTRIES];
} caches[MACHINES];

static void clear(struct cache *c)
{
	memset(c->entry, 0, sizeof c->entry);
}

/* The cache of m; one whose machine went is as good as another. */
static struct cache *cache_of(const struct double_machine *m)
{
	static unsigned next;
	struct cache *c = NULL;
	for (unsigned i = 0; i < MACHINES && !c; i++)
		c = caches[i].machine == m->id ? &caches[i] : NULL;
	if (!c) {
		c = &caches[next++ % MACHINES];
		clear(c);
		c->machine = m->id;
		c->slots = m->maps + m->unmaps;
	}
	/* KVM drops all translations when a slot goes. */
	if (c->slots != m->maps + m->unmaps)
		clear(c);
	c->slots = m->maps + m->unmaps;
	return c;
}

static struct entry *entry_of(const struct double_machine *m, uint64_t number)
{
	return &cache_of(m)->entry[number % ENTRIES];
}

static void forget(const struct double_machine *m, uint64_t gva)
{
	struct entry *e = entry_of(m, gva / PAGE);
	if (e->number == gva / PAGE)
		*e = (struct entry){0};
}

void stub_flush(const struct double_machine *m)
{
	clear(cache_of(m));
}

/* The process lets go of pages: the kernel takes their translations from every machine. */
int __real_madvise(void *at, size_t bytes, int advice);
int __wrap_madvise(void *at, size_t bytes, int advice);
int __wrap_madvise(void *at, size_t bytes, int advice)
{
	const uint8_t *from = at;
	for (unsigned i = 0; advice == MADV_DONTNEED && i < MACHINES; i++)
		for (unsigned j = 0; j < ENTRIES; j++) {
			struct entry *e = &caches[i].entry[j];
			if (e->page >= from && e->page < from + bytes)
				*e = (struct entry){0};
		}
	return __real_madvise(at, bytes, advice);
}

/* ---- ring 0 ---------------------------------------------------------------------------------- */

static uint64_t *ring0(const struct double_machine *m, uint64_t gva)
{
	return (uint64_t *)(void *)double_gva(m, gva, sizeof(uint64_t));
}

static uint64_t param(const struct double_machine *m, uint64_t offset)
{
	return *ring0(m, MOTE__PAGE_GVA(MOTE__PARAMS_PAGE) + offset);
}

static uint64_t *leaf_of(const struct double_machine *m, uint64_t number)
{
	return ring0(m, MOTE__SELF_GVA + number * 8);
}

static bool take_frame(const struct double_machine *m, uint64_t number, uint64_t *word)
{
	*word = param(m, MOTE__PARAMS_NEXT);
	if (*word >= param(m, MOTE__PARAMS_LIMIT))
		return false;
	*ring0(m, MOTE__PAGE_GVA(MOTE__PARAMS_PAGE) + MOTE__PARAMS_NEXT) = *word + PAGE;
	*ring0(m, param(m, MOTE__PARAMS_LOG_BIAS) + (*word >> 9)) = number;
	return true;
}

static uint8_t *page_of(const struct double_machine *m, uint64_t entry)
{
	uint8_t *page = double_gpa(m, entry & FORMAT->address_mask, PAGE);
	CHECK(page != NULL);
	return page;
}

static enum stub_outcome copy_on_write(const struct double_machine *m, uint64_t number)
{
	uint64_t word, window = MOTE__PAGE_GVA(MOTE__WINDOW_PAGE);
	if (number >= param(m, MOTE__PARAMS_COW_END))
		return STUB_FAULT;
	uint64_t *leaf = leaf_of(m, number);
	if (!(*leaf & MOTE__LEAF_COW_BIT)) {
		/* A translation from before the page got its frame. */
		forget(m, number * PAGE);
		return *leaf & 2 ? STUB_DONE : STUB_FAULT;
	}
	*ring0(m, MOTE__PAGE_GVA(MOTE__LEAVES_PAGE) + MOTE__WINDOW_PAGE * 8) = *leaf;
	if (!take_frame(m, number, &word))
		return STUB_FULL;
	*leaf = word;
	forget(m, number * PAGE);
	memcpy(page_of(m, word), double_gva(m, window, PAGE), PAGE);
	return STUB_DONE;
}

static enum stub_outcome demand_zero(const struct double_machine *m, uint64_t number)
{
	uint64_t word;
	if (number - param(m, MOTE__PARAMS_HEAP_FIRST) >= param(m, MOTE__PARAMS_HEAP_PAGES) &&
	    number - param(m, MOTE__PARAMS_STACK_FIRST) >= param(m, MOTE__PARAMS_STACK_PAGES))
		return STUB_FAULT;
	if (!take_frame(m, number, &word))
		return STUB_FULL;
	*leaf_of(m, number) = word;
	return STUB_DONE;
}

/* ---- ring 3 ---------------------------------------------------------------------------------- */

static const void *table(const void *cookie, uint64_t gpa, uint64_t bytes)
{
	return double_gpa(cookie, gpa, bytes);
}

/* Fill the cache; false: the page is not present. */
static bool fill(const struct double_machine *m, uint64_t number, struct entry *e)
{
	const struct mote__pt_space space = {FORMAT, {m, table}, m->special.cr3};
	struct mote__pt_translation t;
	if (mote__pt_translate(&space, number * PAGE, &t) != MOTE__PT_OK)
		return false;
	CHECK(t.level == 1 && t.effective.user);
	*e = (struct entry){number, page_of(m, t.entry), t.effective.writable};
	return true;
}

enum stub_outcome stub_touch(struct double_machine *m, uint64_t gva, bool is_write, uint8_t **page)
{
	uint64_t number = gva / PAGE;
	/* A fault at most twice: an old translation, then what is there. */
	for (int i = 0; i < 3; i++) {
		struct entry *e = entry_of(m, number);
		bool is_present = e->number == number || fill(m, number, e);
		if (is_present && (e->is_writable || !is_write)) {
			*page = e->page;
			return STUB_DONE;
		}
		enum stub_outcome outcome =
			is_present ? copy_on_write(m, number) : demand_zero(m, number);
		if (outcome != STUB_DONE)
			return outcome;
	}
	check_failed(__FILE__, __LINE__, "page 0x%llx faults for ever", (unsigned long long)gva);
}

void stub_ask(struct mote__exit *exit)
{
	double_out(exit, MOTE__PORT_FRAMES, 0);
}
