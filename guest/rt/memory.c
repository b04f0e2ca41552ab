/* SPDX-License-Identifier: MIT */
/*
 * Pages of the heap range that the host configured, for brk, mmap and scratch memory.
 *
 * Every page handed out is zero. Pages that were never handed out are zero already and are not
 * touched; others are cleared. Free ranges between mappings are kept in a list inside themselves,
 * sorted and never adjacent; the last one below all mappings goes back to the middle.
 */
#include "rt.h"

#include "base/math.h"

#include <string.h>

#define PROTECTION_EXECUTE 4u
#define MAP_FIXED          0x10u
#define MAP_ANONYMOUS      0x20u
#define MREMAP_MAYMOVE     1u
#define MADVISE_DONTNEED   4u

#define ERROR_ACCESS    13
#define ERROR_MEMORY    12
#define ERROR_INVALID   22
#define ERROR_NO_DEVICE 19

typedef struct mote__guest_extent extent;

static struct mote__guest_heap *heap(void)
{
	struct mote__guest_heap *h = &mote__guest.heap;
	if (h->end == 0) {
		const struct mote_abi_run_info *run = mote__guest.run;
		h->first = mote__round_up(run->heap_first, MOTE__GUEST_PAGE_BYTES);
		h->end =
			mote__round_down(run->heap_first + run->heap_bytes, MOTE__GUEST_PAGE_BYTES);
		if (h->end < h->first)
			h->end = h->first;
		h->brk = h->brk_high = h->first;
		h->low = h->low_ever = h->end;
	}
	return h;
}

static void clear(uint64_t from, uint64_t to)
{
	if (from < to)
		memset((void *)from, 0, to - from);
}

/* Clear what was used before of a range that was free and outside the list. */
static void clear_used(const struct mote__guest_heap *h, uint64_t from, uint64_t to)
{
	clear(from, to < h->brk_high ? to : h->brk_high);
	clear(from > h->low_ever ? from : h->low_ever, to);
}

static uint64_t brk_page(const struct mote__guest_heap *h)
{
	return mote__round_up(h->brk, MOTE__GUEST_PAGE_BYTES);
}

uint64_t mote__guest_pages_take(uint64_t bytes)
{
	struct mote__guest_heap *h = heap();
	for (extent **link = &h->free; *link; link = &(*link)->next) {
		extent *e = *link;
		if (e->bytes < bytes)
			continue;
		e->bytes -= bytes;
		uint64_t at = (uint64_t)e + e->bytes;
		if (e->bytes == 0)
			*link = e->next;
		clear(at, at + bytes);
		return at;
	}
	if (bytes == 0 || bytes > h->low - brk_page(h))
		return 0;
	uint64_t top = h->low;
	h->low -= bytes;
	clear_used(h, h->low, top);
	if (h->low < h->low_ever)
		h->low_ever = h->low;
	return h->low;
}

/* Merge neighbours; what lies below all mappings leaves the list. */
static void coalesce(struct mote__guest_heap *h)
{
	for (extent *e = h->free; e; e = e->next)
		while (e->next && (uint64_t)e + e->bytes == (uint64_t)e->next) {
			e->bytes += e->next->bytes;
			e->next = e->next->next;
		}
	if (h->free && (uint64_t)h->free == h->low) {
		h->low += h->free->bytes;
		h->free = h->free->next;
	}
}

void mote__guest_pages_give(uint64_t first, uint64_t bytes)
{
	struct mote__guest_heap *h = heap();
	uint64_t end = bytes < h->end - h->low ? first + bytes : h->end;
	uint64_t at = first < h->low ? h->low : first;
	if (first >= h->end || first + bytes <= h->low)
		return;
	if (end > h->end)
		end = h->end;
	extent **link = &h->free;
	while (at < end) {
		extent *e = *link;
		if (e && (uint64_t)e + e->bytes <= at) {
			link = &e->next;
		} else if (e && (uint64_t)e <= at) { /* free already */
			at = (uint64_t)e + e->bytes;
		} else {
			uint64_t limit = e && (uint64_t)e < end ? (uint64_t)e : end;
			extent *freed = (extent *)at;
			*freed = (extent){e, limit - at};
			*link = freed;
			at = limit;
		}
	}
	coalesce(h);
}

int64_t mote__guest_brk(uint64_t to)
{
	struct mote__guest_heap *h = heap();
	if (to < h->first || to > h->low)
		return (int64_t)h->brk;
	if (to > h->brk)
		clear_used(h, h->brk, to);
	h->brk = to;
	if (h->brk > h->brk_high)
		h->brk_high = h->brk;
	return (int64_t)h->brk;
}

/* A page range of what was handed out, with the length rounded up to pages. */
static bool is_taken(const struct mote__guest_heap *h, uint64_t at, uint64_t *bytes)
{
	if (at % MOTE__GUEST_PAGE_BYTES != 0 || *bytes == 0 || *bytes > h->end - h->first)
		return false;
	*bytes = mote__round_up(*bytes, MOTE__GUEST_PAGE_BYTES);
	if (at >= h->low)
		return at <= h->end && *bytes <= h->end - at;
	return at >= h->first && at <= brk_page(h) && *bytes <= brk_page(h) - at;
}

int64_t mote__guest_mmap(uint64_t at, uint64_t bytes, uint64_t access, uint64_t flags)
{
	struct mote__guest_heap *h = heap();
	if (!(flags & MAP_ANONYMOUS))
		return -ERROR_NO_DEVICE;
	if (access & PROTECTION_EXECUTE)
		return -ERROR_ACCESS;
	if (bytes == 0)
		return -ERROR_INVALID;
	if (flags & MAP_FIXED) { /* over memory that there is: new contents, zero */
		if (!is_taken(h, at, &bytes))
			return -ERROR_MEMORY;
		if (access != 0)
			memset((void *)at, 0, bytes);
		return (int64_t)at;
	}
	if (bytes > h->end - h->first)
		return -ERROR_MEMORY;
	uint64_t taken = mote__guest_pages_take(mote__round_up(bytes, MOTE__GUEST_PAGE_BYTES));
	return taken ? (int64_t)taken : -ERROR_MEMORY;
}

int64_t mote__guest_munmap(uint64_t at, uint64_t bytes)
{
	if (at % MOTE__GUEST_PAGE_BYTES != 0 || bytes == 0 || bytes > INT64_MAX)
		return -ERROR_INVALID;
	mote__guest_pages_give(at, mote__round_up(bytes, MOTE__GUEST_PAGE_BYTES));
	return 0;
}

int64_t mote__guest_mremap(uint64_t at, uint64_t bytes, uint64_t new_bytes, uint64_t flags)
{
	struct mote__guest_heap *h = heap();
	if (!is_taken(h, at, &bytes) || new_bytes == 0)
		return -ERROR_INVALID;
	if (new_bytes > h->end - h->first)
		return -ERROR_MEMORY;
	new_bytes = mote__round_up(new_bytes, MOTE__GUEST_PAGE_BYTES);
	if (new_bytes <= bytes) {
		if (new_bytes < bytes)
			mote__guest_pages_give(at + new_bytes, bytes - new_bytes);
		return (int64_t)at;
	}
	if (!(flags & MREMAP_MAYMOVE))
		return -ERROR_MEMORY;
	uint64_t to = mote__guest_pages_take(new_bytes);
	if (!to)
		return -ERROR_MEMORY;
	memcpy((void *)to, (const void *)at, bytes);
	mote__guest_pages_give(at, bytes);
	return (int64_t)to;
}

int64_t mote__guest_madvise(uint64_t at, uint64_t bytes, uint64_t advice)
{
	struct mote__guest_heap *h = heap();
	if (!is_taken(h, at, &bytes))
		return -ERROR_MEMORY;
	if (advice == MADVISE_DONTNEED)
		memset((void *)at, 0, bytes);
	return 0;
}

int64_t mote__guest_mprotect(uint64_t at, uint64_t bytes, uint64_t access)
{
	if (!is_taken(heap(), at, &bytes))
		return -ERROR_MEMORY;
	return access & PROTECTION_EXECUTE ? -ERROR_ACCESS : 0; /* protects nothing */
}
