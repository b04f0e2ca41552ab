/* SPDX-License-Identifier: MIT */
/*
 * A bounded bag of pointers, each under a 64-bit key, shared by threads without a lock: a thread
 * that is stopped anywhere inside holds up no other one. An item belongs to whoever took it, and
 * what its owner wrote before putting it is visible to who takes it. The bag never looks into an
 * item.
 *
 * A key is neither 0 nor UINT64_MAX; many items may have the same.
 */
#ifndef MOTE_BASE_BAG_H
#define MOTE_BASE_BAG_H

#include <stdbool.h>
#include <stdint.h>

struct mote__bag;

/** Make a bag for up to max items (0 is allowed: always full and empty). 0 or -ENOMEM. */
int mote__bag_create(uint32_t max, struct mote__bag **bag);
/** Destroy a bag that is empty and that no other thread uses; NULL is allowed. */
void mote__bag_destroy(struct mote__bag *bag);

/** Hand item (not NULL) over to the bag; false, and it stays the caller's, when max are there. */
bool mote__bag_put(struct mote__bag *bag, uint64_t key, void *item);

/** Take an item with this key. NULL: there was none, but one that another thread puts or moves at
 * the same time may be missed. Costs little on an empty bag, whatever its size. */
void *mote__bag_take(struct mote__bag *bag, uint64_t key);

/** Take any item and store its key; NULL as above. */
void *mote__bag_take_any(struct mote__bag *bag, uint64_t *key);

/** Number of items with this key, or of all (key 0), at about this moment: exact when no other
 * thread puts or takes. Items that are just being put or taken count among all. */
uint32_t mote__bag_count(const struct mote__bag *bag, uint64_t key);

#endif
