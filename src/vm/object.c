/* SPDX-License-Identifier: MIT */
/*
 * Memory objects: the one kind of memory that snapshots consist of. Written once, sealed, then
 * mapped by whoever has a reference. Nobody can write to one afterwards.
 */
#include "vm/objects.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/math.h"
#include "base/sys.h"

int mote__object_fail(struct mote_error *err, int rc, const char *what, uint64_t bytes)
{
	/* EFBIG: RLIMIT_FSIZE. */
	bool is_resource = rc == -ENOMEM || rc == -EMFILE || rc == -ENFILE || rc == -ENOSPC ||
			   rc == -EAGAIN || rc == -EFBIG;
	return mote__fail_system(err, is_resource ? MOTE_ENOMEM : MOTE_ESYSTEM, -rc,
				 "%s of 0x%llx bytes", what, (unsigned long long)bytes);
}

int mote__object_create(const char *name, uint64_t bytes, struct mote__object **object,
			struct mote_error *err)
{
	struct mote__object *o = mote__alloc(1, sizeof *o);
	if (!o)
		return mote__fail(err, MOTE_ENOMEM, "out of memory");
	o->references = 1;
	o->bytes = bytes;
	o->fd = mote__sys_memory_object(name, bytes);
	int rc = o->fd < 0 ? o->fd : mote__sys_object_id(o->fd, &o->id);
	if (rc < 0) {
		mote__object_unref(o);
		return mote__object_fail(err, rc, name, bytes);
	}
	*object = o;
	return MOTE_OK;
}

int mote__object_of_file(int fd, uint64_t bytes, struct mote__object **object,
			 struct mote_error *err)
{
	struct mote__object *o = mote__alloc(1, sizeof *o);
	if (!o) {
		mote__sys_close(fd);
		return mote__fail(err, MOTE_ENOMEM, "out of memory");
	}
	o->references = 1;
	o->bytes = bytes;
	o->fd = fd;
	o->is_file = true;
	int rc = mote__sys_object_id(fd, &o->id);
	if (rc < 0) {
		mote__object_unref(o);
		return mote__object_fail(err, rc, "a file", bytes);
	}
	*object = o;
	return MOTE_OK;
}

static int write_pages(struct mote__object *object, uint64_t offset, const void *const *pages,
		       uint64_t count, struct mote_error *err)
{
	int rc = mote__sys_write_pages(object->fd, offset, pages, count, MOTE_PAGE_BYTES);
	return rc < 0 ? mote__object_fail(err, rc, "writing a snapshot", count * MOTE_PAGE_BYTES)
		      : MOTE_OK;
}

/* Runs of pages that are not zero. */
static int fill(struct mote__object *object, uint64_t offset, const void *const *pages,
		uint64_t count, struct mote_error *err)
{
	int rc = MOTE_OK;
	for (uint64_t i = 0, next; i < count && rc == MOTE_OK; i = next) {
		bool is_zero = mote__is_zero(pages[i], MOTE_PAGE_BYTES);
		for (next = i + 1; next < count; next++)
			if (mote__is_zero(pages[next], MOTE_PAGE_BYTES) != is_zero)
				break;
		if (!is_zero)
			rc = write_pages(object, offset + i * MOTE_PAGE_BYTES, pages + i, next - i,
					 err);
	}
	return rc;
}

int mote__object_of_pages(const char *name, uint64_t offset, const void *const *pages,
			  uint64_t count, struct mote__object **object, struct mote_error *err)
{
	struct mote__object *o = NULL;
	int rc = mote__object_create(name, offset + count * MOTE_PAGE_BYTES, &o, err);
	if (rc < 0)
		return rc;
	rc = fill(o, offset, pages, count, err);
	if (rc == MOTE_OK)
		rc = mote__object_seal(o, err);
	if (rc < 0) {
		mote__object_unref(o);
		return rc;
	}
	*object = o;
	return MOTE_OK;
}

int mote__object_seal(struct mote__object *object, struct mote_error *err)
{
	int rc = mote__sys_seal(object->fd);
	return rc < 0 ? mote__object_fail(err, rc, "sealing a snapshot", object->bytes) : MOTE_OK;
}

bool mote__known_get(const struct mote__known *known, uint8_t digest[MOTE_DIGEST_BYTES])
{
	if (atomic_load_explicit(&known->state, memory_order_acquire) != 2)
		return false;
	memcpy(digest, known->digest, MOTE_DIGEST_BYTES);
	return true;
}

void mote__known_set(struct mote__known *known, const uint8_t digest[MOTE_DIGEST_BYTES])
{
	unsigned unknown = 0;
	/* Who comes second has the same to say. */
	if (!atomic_compare_exchange_strong(&known->state, &unknown, 1))
		return;
	memcpy(known->digest, digest, MOTE_DIGEST_BYTES);
	atomic_store_explicit(&known->state, 2, memory_order_release);
}

struct mote__object *mote__object_ref(struct mote__object *object)
{
	atomic_fetch_add_explicit(&object->references, 1, memory_order_relaxed);
	return object;
}

void mote__object_unref(struct mote__object *object)
{
	if (!object || atomic_fetch_sub_explicit(&object->references, 1, memory_order_acq_rel) != 1)
		return;
	mote__sys_close(object->fd);
	mote__free(object);
}

const uint8_t mote__zero_page[MOTE_PAGE_BYTES];

bool mote__object_is_hole(struct mote__holes *holes, uint64_t offset)
{
	if (offset >= holes->from && offset < holes->to)
		return true;
	if (offset >= holes->to && offset < holes->data_to)
		return false;
	int64_t data = mote__sys_next_data(holes->object->fd, offset);
	if (data == -ENXIO)
		data = INT64_MAX;
	if (data < 0)
		return false;
	uint64_t to = mote__round_down((uint64_t)data, MOTE_PAGE_BYTES);
	if (to > offset) {
		holes->from = offset;
		holes->to = holes->data_to = to;
		return true;
	}
	int64_t end = mote__sys_next_hole(holes->object->fd, offset);
	holes->from = holes->to = offset;
	holes->data_to = end < 0 ? offset + MOTE_PAGE_BYTES : (uint64_t)end;
	return false;
}
