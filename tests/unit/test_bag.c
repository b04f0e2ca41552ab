/* SPDX-License-Identifier: MIT */
/* The bag: against a model, at its limits, and with threads that pass items around. */
#include "base/bag.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "check.h"

#define THREADS 4
#define ITEMS   150
#define KEYS    3

/* Not atomic: TSan says so when two threads have an item at the same time. */
struct item {
	uint64_t key;
	uint64_t owner; /* 0 while it is in a bag */
	uint64_t turns;
};

static struct mote__bag *make(uint32_t max)
{
	struct mote__bag *bag = NULL;
	CHECK_EQ(mote__bag_create(max, &bag), 0);
	return bag;
}

TEST(bag__gives_back_what_was_put_under_the_key)
{
	struct mote__bag *bag = make(10);
	int a, b, c;
	CHECK(mote__bag_put(bag, 1, &a));
	CHECK(mote__bag_put(bag, 2, &b));
	CHECK(mote__bag_put(bag, 2, &c));
	CHECK_EQ(mote__bag_count(bag, 0), 3);
	CHECK_EQ(mote__bag_count(bag, 1), 1);
	CHECK_EQ(mote__bag_count(bag, 2), 2);
	CHECK_EQ(mote__bag_count(bag, 3), 0);
	CHECK(mote__bag_take(bag, 3) == NULL);
	CHECK(mote__bag_take(bag, 1) == &a);
	CHECK(mote__bag_take(bag, 1) == NULL);
	void *first = mote__bag_take(bag, 2);
	void *second = mote__bag_take(bag, 2);
	CHECK((first == &b && second == &c) || (first == &c && second == &b));
	CHECK(mote__bag_take(bag, 2) == NULL);
	CHECK_EQ(mote__bag_count(bag, 0), 0);
	CHECK_EQ(mote__bag_count(bag, 2), 0);
	mote__bag_destroy(bag);
}

TEST(bag__says_the_key_of_any_item)
{
	struct mote__bag *bag = make(70);
	uint64_t keys[] = {UINT64_MAX - 1, 1, UINT64_C(1) << 63};
	for (size_t i = 0; i < 3; i++)
		CHECK(mote__bag_put(bag, keys[i], &keys[i]));
	for (size_t i = 0; i < 3; i++) {
		uint64_t key = 0;
		uint64_t *item = mote__bag_take_any(bag, &key);
		CHECK(item && *item == key && key != 0);
		*item = 0;
	}
	uint64_t key = 77;
	CHECK(mote__bag_take_any(bag, &key) == NULL);
	CHECK_EQ(key, 77);
	mote__bag_destroy(bag);
}

TEST(bag__of_no_items_is_full_and_empty)
{
	struct mote__bag *bag = make(0);
	uint64_t key;
	CHECK(!mote__bag_put(bag, 1, &key));
	CHECK(mote__bag_take(bag, 1) == NULL);
	CHECK(mote__bag_take_any(bag, &key) == NULL);
	CHECK_EQ(mote__bag_count(bag, 0), 0);
	CHECK_EQ(mote__bag_count(bag, 1), 0);
	mote__bag_destroy(bag);
	mote__bag_destroy(NULL);
}

TEST(bag__holds_exactly_max_items)
{
	static const uint32_t sizes[] = {1, 2, 63, 64, 65, 127, 128, 129, 4096, 4097};
	static uint8_t items[4098];
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		uint32_t max = sizes[i];
		struct mote__bag *bag = make(max);
		memset(items, 0, sizeof items);
		for (uint32_t n = 0; n < max; n++)
			CHECK(mote__bag_put(bag, n % 7 + 1, &items[n]));
		CHECK(!mote__bag_put(bag, 1, &items[max]));
		CHECK_EQ(mote__bag_count(bag, 0), max);
		CHECK_EQ(mote__bag_count(bag, 1), (max + 6) / 7);
		/* Where one was taken, one fits. */
		uint8_t *item = mote__bag_take(bag, (max - 1) % 7 + 1);
		CHECK(item && mote__bag_put(bag, (max - 1) % 7 + 1, item));
		CHECK(!mote__bag_put(bag, 1, &items[max]));
		uint64_t key;
		for (uint32_t n = 0; n < max; n++) {
			item = mote__bag_take_any(bag, &key);
			CHECK(item && (uint64_t)(item - items) % 7 + 1 == key && *item == 0);
			*item = 1;
		}
		CHECK(mote__bag_take_any(bag, &key) == NULL);
		CHECK_EQ(items[max], 0);
		mote__bag_destroy(bag);
	}
}

/* The model: where[i] is the key that item i is in the bag under, or 0. */
static size_t count_in_model(const uint64_t *where, size_t count, uint64_t key)
{
	size_t found = 0;
	for (size_t i = 0; i < count; i++)
		found += key ? where[i] == key : where[i] != 0;
	return found;
}

TEST(bag__agrees_with_a_model)
{
	enum { COUNT = 200, MAX = 150 };
	static uint64_t where[COUNT];
	memset(where, 0, sizeof where);
	uint64_t seed = 0x5eed5eed5eed;
	check_note("seed %#llx", (unsigned long long)seed);
	struct mote__bag *bag = make(MAX);
	for (int step = 0; step < 200000; step++) {
		uint64_t random = check_random(&seed);
		uint64_t key = random >> 8 & 7, got = key;
		size_t i = (random >> 16) % COUNT;
		uint64_t *item;
		switch (random & 3) {
		case 0:
		case 1:
			if (where[i])
				break;
			bool has_room = count_in_model(where, COUNT, 0) < MAX;
			CHECK_EQ(mote__bag_put(bag, key + 1, &where[i]), has_room);
			where[i] = has_room ? key + 1 : 0;
			break;
		default:
			item = key ? mote__bag_take(bag, key) : mote__bag_take_any(bag, &got);
			CHECK_EQ(item != NULL, count_in_model(where, COUNT, key) != 0);
			if (!item)
				break;
			CHECK(*item == got && got != 0);
			*item = 0;
		}
		if (step % 64 == 0)
			CHECK_EQ(mote__bag_count(bag, key), count_in_model(where, COUNT, key));
	}
	uint64_t key;
	while (mote__bag_take_any(bag, &key))
		;
	mote__bag_destroy(bag);
}

/* ---- threads --------------------------------------------------------------------------------- */

struct crowd {
	struct mote__bag *bag;
	uint32_t max;
	int turns;
	bool never_full;   /* the bag has room for all items */
	atomic_bool start; /* so that all run at once */
	atomic_int last_number;
	_Atomic(const char *) wrong; /* what a thread saw that may not be, or NULL */
	struct item item[ITEMS];
};

static void hold(struct crowd *crowd, struct item *item, uint64_t number)
{
	if (item->owner)
		crowd->wrong = "an item has two owners";
	item->owner = number;
	item->turns++;
}

/* Puts and takes items by chance, and holds some in between; puts all back where there is room. */
static void *pass_around(void *argument)
{
	struct crowd *crowd = argument;
	uint64_t number = (uint64_t)atomic_fetch_add(&crowd->last_number, 1) + 1;
	uint64_t random = number * 0x9E3779B97F4A7C15u;
	struct item *held[ITEMS];
	int count = 0;
	for (int i = (int)number - 1; i < ITEMS; i += THREADS) {
		held[count++] = &crowd->item[i];
		crowd->item[i].owner = number;
	}
	while (!crowd->start)
		sched_yield();
	for (int turn = 0; turn < crowd->turns; turn++) {
		uint64_t choice = check_random(&random);
		uint64_t key = (choice >> 8) % KEYS + 1;
		if (choice & 1 && count > 0) {
			struct item *item = held[--count];
			key = item->key;
			item->owner = 0;
			if (mote__bag_put(crowd->bag, key, item))
				continue;
			if (crowd->never_full)
				crowd->wrong = "a bag with room is full";
			hold(crowd, item, number);
			held[count++] = item;
			continue;
		}
		bool any = choice & 2;
		struct item *item = any ? mote__bag_take_any(crowd->bag, &key)
					: mote__bag_take(crowd->bag, key);
		if (mote__bag_count(crowd->bag, 0) > crowd->max)
			crowd->wrong = "more items than max";
		if (!item)
			continue;
		if (item->key != key)
			crowd->wrong = "an item under another key";
		hold(crowd, item, number);
		held[count++] = item;
	}
	while (count > 0) {
		held[count - 1]->owner = 0;
		if (!mote__bag_put(crowd->bag, held[count - 1]->key, held[count - 1]))
			break;
		count--;
	}
	for (int i = 0; i < count; i++)
		held[i]->owner = number;
	return NULL;
}

static void run_crowd(uint32_t max)
{
	static struct crowd crowd;
	memset(&crowd, 0, sizeof crowd);
	crowd.bag = make(max);
	crowd.max = max;
	crowd.turns = 20000;
	crowd.never_full = max >= ITEMS;
	for (int i = 0; i < ITEMS; i++)
		crowd.item[i].key = (uint64_t)i % KEYS + 1;
	pthread_t thread[THREADS];
	for (int i = 0; i < THREADS; i++)
		CHECK_EQ(pthread_create(&thread[i], NULL, pass_around, &crowd), 0);
	crowd.start = true;
	for (int i = 0; i < THREADS; i++)
		CHECK_EQ(pthread_join(thread[i], NULL), 0);
	if (crowd.wrong)
		check_failed(__FILE__, __LINE__, "%s", crowd.wrong);

	/* Every item is with one thread or in the bag, where each comes out once. */
	uint32_t in_bag = 0, wanted = max < ITEMS ? max : ITEMS;
	for (int i = 0; i < ITEMS; i++)
		in_bag += crowd.item[i].owner == 0;
	CHECK_EQ(in_bag, wanted);
	CHECK_EQ(mote__bag_count(crowd.bag, 0), wanted);
	uint32_t by_key = 0;
	for (uint64_t key = 1; key <= KEYS; key++)
		by_key += mote__bag_count(crowd.bag, key);
	CHECK_EQ(by_key, wanted);
	uint64_t key, turns = 0;
	for (uint32_t n = 0; n < wanted; n++) {
		struct item *item = mote__bag_take_any(crowd.bag, &key);
		CHECK(item && item->key == key && item->owner == 0);
		item->owner = 99;
		turns += item->turns;
	}
	CHECK(turns > 0);
	CHECK(mote__bag_take_any(crowd.bag, &key) == NULL);
	CHECK_EQ(mote__bag_count(crowd.bag, 0), 0);
	mote__bag_destroy(crowd.bag);
}

TEST(bag__with_threads_and_room_for_all_loses_nothing)
{
	run_crowd(ITEMS);
}

TEST(bag__with_threads_and_many_empty_slots_loses_nothing)
{
	run_crowd(4096);
}

TEST(bag__with_threads_that_find_it_full_loses_nothing)
{
	run_crowd(20);
	run_crowd(1);
}

static void *put_one(void *argument)
{
	static struct item item;
	return mote__bag_put(argument, 5, &item) ? &item : NULL;
}

TEST(bag__finds_what_another_thread_put)
{
	struct mote__bag *bag = make(4096);
	for (int i = 0; i < 20; i++) {
		pthread_t thread;
		void *item;
		CHECK_EQ(pthread_create(&thread, NULL, put_one, bag), 0);
		CHECK_EQ(pthread_join(thread, &item), 0);
		CHECK(item);
		CHECK(mote__bag_take(bag, 6) == NULL);
		CHECK(mote__bag_take(bag, 5) == item);
	}
	mote__bag_destroy(bag);
}
