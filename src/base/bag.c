/* SPDX-License-Identifier: MIT */
/*
 * Slots in groups of 64. A slot's key says who may touch the slot: EMPTY and full ones (any other
 * key) may be claimed by whoever exchanges the key for BUSY first; only that thread then touches
 * the item and, at the end, the key. A taker so knows that the key that it claimed is that of the
 * item that it gets, however often the slot was used in between.
 *
 * Two things only save work: a bit for each slot that may be full, so that looking through a bag
 * costs one look for 64 empty slots, and places to start at that differ by thread, so that a thread
 * mostly meets the cache lines, and the items, that it used last.
 */
#include "base/bag.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

#include "base/sys.h"

#define EMPTY            ((uint64_t)0)
#define BUSY             UINT64_MAX
#define GROUP_SLOTS      64u
#define CACHE_LINE_BYTES 64u

struct group {
	/* Bit i is set while slot i is full, and somewhat longer; an empty slot's is clear. */
	_Alignas(CACHE_LINE_BYTES) _Atomic uint64_t maybe_full;
	_Alignas(CACHE_LINE_BYTES) _Atomic uint64_t key[GROUP_SLOTS];
	void *item[GROUP_SLOTS]; /* belongs to the thread that made the key BUSY */
};

struct mote__bag {
	void *memory; /* the allocation that this struct is in */
	uint32_t max;
	uint32_t group_count;
	/* Items, with those that are being put or taken. Never above max, so there is an empty slot
	 * for each that was counted and is not in one yet. */
	_Alignas(CACHE_LINE_BYTES) _Atomic uint32_t count;
	struct group group[];
};

/* The slots of the bag in the order in which one call looks at them. */
struct walk {
	uint32_t group; /* the one that is next */
	uint32_t left;  /* groups that were not looked at */
	uint32_t turn;  /* the slot of a group to start at */
};

int mote__bag_create(uint32_t max, struct mote__bag **bag)
{
	uint32_t group_count = max / GROUP_SLOTS + (max % GROUP_SLOTS != 0);
	size_t bytes = sizeof(struct mote__bag) + group_count * sizeof(struct group);
	char *memory = mote__alloc(1, bytes + CACHE_LINE_BYTES - 1);
	if (!memory)
		return -ENOMEM;
	struct mote__bag *made = (void *)(memory + (-(uintptr_t)memory % CACHE_LINE_BYTES));
	made->memory = memory;
	made->max = max;
	made->group_count = group_count;
	*bag = made;
	return 0;
}

void mote__bag_destroy(struct mote__bag *bag)
{
	if (!bag)
		return;
	assert(atomic_load_explicit(&bag->count, memory_order_relaxed) == 0);
	mote__free(bag->memory);
}

static struct walk walk_start(const struct mote__bag *bag)
{
	/* The address of the thread's own block, spread by Fibonacci hashing. */
	uint64_t hash = (uint64_t)(uintptr_t)pthread_self() * 0x9E3779B97F4A7C15u;
	return (struct walk){
		.group = (uint32_t)((hash >> 32) * bag->group_count >> 32),
		.left = bag->group_count,
		.turn = (uint32_t)hash >> 16 & (GROUP_SLOTS - 1),
	};
}

static uint32_t walk_next(struct walk *walk, const struct mote__bag *bag)
{
	uint32_t group = walk->group;
	walk->group = group + 1 == bag->group_count ? 0 : group + 1;
	walk->left--;
	return group;
}

/* Removes the first slot of *slots, counted from turn on and around, and returns it. */
static uint32_t next_slot(uint64_t *slots, uint32_t turn)
{
	uint64_t from_turn = *slots >> turn << turn;
	uint32_t slot = (uint32_t)__builtin_ctzll(from_turn ? from_turn : *slots);
	*slots &= ~(UINT64_C(1) << slot);
	return slot;
}

/* What was written under the key before is visible then. */
static bool claim(struct group *group, uint32_t slot, uint64_t key)
{
	return atomic_compare_exchange_strong_explicit(&group->key[slot], &key, BUSY,
						       memory_order_acquire, memory_order_relaxed);
}

static bool put_in_group(struct group *group, uint32_t turn, uint64_t key, void *item)
{
	uint64_t slots = ~atomic_load_explicit(&group->maybe_full, memory_order_relaxed);
	while (slots) {
		uint32_t slot = next_slot(&slots, turn);
		if (!claim(group, slot, EMPTY))
			continue;
		group->item[slot] = item;
		atomic_fetch_or_explicit(&group->maybe_full, UINT64_C(1) << slot,
					 memory_order_relaxed);
		atomic_store_explicit(&group->key[slot], key, memory_order_release);
		return true;
	}
	return false;
}

/* An item with *key, or with any if that is EMPTY; its key then stands in *key. */
static void *take_from_group(struct group *group, uint32_t turn, uint64_t *key)
{
	uint64_t slots = atomic_load_explicit(&group->maybe_full, memory_order_relaxed);
	while (slots) {
		uint32_t slot = next_slot(&slots, turn);
		uint64_t seen = atomic_load_explicit(&group->key[slot], memory_order_relaxed);
		if (*key == EMPTY ? seen == EMPTY || seen == BUSY : seen != *key)
			continue;
		if (!claim(group, slot, seen))
			continue;
		void *item = group->item[slot];
		atomic_fetch_and_explicit(&group->maybe_full, ~(UINT64_C(1) << slot),
					  memory_order_relaxed);
		atomic_store_explicit(&group->key[slot], EMPTY, memory_order_release);
		*key = seen;
		return item;
	}
	return NULL;
}

/* Counts one more item unless max are there. */
static bool reserve(struct mote__bag *bag)
{
	uint32_t count = atomic_load_explicit(&bag->count, memory_order_relaxed);
	while (count < bag->max)
		if (atomic_compare_exchange_weak_explicit(&bag->count, &count, count + 1,
							  memory_order_acquire,
							  memory_order_relaxed))
			return true;
	return false;
}

bool mote__bag_put(struct mote__bag *bag, uint64_t key, void *item)
{
	assert(key != EMPTY && key != BUSY && item);
	if (!reserve(bag))
		return false;
	/* There is an empty slot at any moment. To miss them all, other threads have to fill this
	 * one and empty that one while we look: they get on, so this is no lock. */
	for (;;) {
		struct walk walk = walk_start(bag);
		while (walk.left)
			if (put_in_group(&bag->group[walk_next(&walk, bag)], walk.turn, key, item))
				return true;
	}
}

static void *take(struct mote__bag *bag, uint64_t *key)
{
	if (atomic_load_explicit(&bag->count, memory_order_relaxed) == 0)
		return NULL;
	struct walk walk = walk_start(bag);
	while (walk.left) {
		void *item = take_from_group(&bag->group[walk_next(&walk, bag)], walk.turn, key);
		if (!item)
			continue;
		/* Releases the slot to who is counted next. */
		atomic_fetch_sub_explicit(&bag->count, 1, memory_order_release);
		return item;
	}
	return NULL;
}

void *mote__bag_take(struct mote__bag *bag, uint64_t key)
{
	assert(key != EMPTY && key != BUSY);
	return take(bag, &key);
}

void *mote__bag_take_any(struct mote__bag *bag, uint64_t *key)
{
	uint64_t any = EMPTY;
	void *item = take(bag, &any);
	if (item)
		*key = any;
	return item;
}

uint32_t mote__bag_count(const struct mote__bag *bag, uint64_t key)
{
	uint32_t count = 0;
	if (key == EMPTY)
		return atomic_load_explicit(&bag->count, memory_order_relaxed);
	if (atomic_load_explicit(&bag->count, memory_order_relaxed) == 0)
		return 0;
	for (uint32_t i = 0; i < bag->group_count; i++) {
		const struct group *group = &bag->group[i];
		uint64_t slots = atomic_load_explicit(&group->maybe_full, memory_order_relaxed);
		while (slots)
			count += atomic_load_explicit(&group->key[next_slot(&slots, 0)],
						      memory_order_relaxed) == key;
	}
	return count;
}
