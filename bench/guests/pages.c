/* SPDX-License-Identifier: MIT */
/* Touches memory for the first time. */
#include <mote_guest.h>

#define PAGE_BYTES 4096
#define PAGES      128

static volatile char data[PAGES][PAGE_BYTES]
	__attribute__((aligned(PAGE_BYTES))) = {[0 ... PAGES - 1] = {1}};

/* Write the first count pages of data: each is copied once. */
MOTE_EXPORT(int32_t, touch_data, (int32_t, count))
{
	for (int32_t i = 0; i < count && i < PAGES; i++)
		data[i][0] = 2;
	return count;
}

/* Write count pages of the heap: each is filled with zeroes once. */
MOTE_EXPORT(int32_t, touch_heap, (int32_t, count))
{
	volatile char *heap = mote_guest_scratch((size_t)count * PAGE_BYTES);
	for (int32_t i = 0; i < count; i++)
		heap[(size_t)i * PAGE_BYTES] = 2;
	return count;
}

/* Read a byte of each page of the init data, or of none; returns their number. */
MOTE_EXPORT(int32_t, touch_init, (int32_t, wants_all))
{
	const struct mote_bytes init = mote_guest_init_data();
	const volatile uint8_t *data = init.data;
	int32_t pages = 0;
	for (size_t at = 0; wants_all && at < init.len; at += PAGE_BYTES, pages++)
		(void)data[at];
	return pages;
}
