/* SPDX-License-Identifier: MIT */
/* Engines: a hypervisor, what is known about it, and what all its sandboxes share. */
#define _GNU_SOURCE
#include "vm/objects.h"

#include <string.h>

#include "base/error.h"
#include "base/math.h"
#include "base/sys.h"

/* Components of XCR0 that every guest has: x87 and SSE. */
#define SSE_STATE 3ull

int mote__options_check(const char *name, const void *options, size_t size, size_t min,
			size_t known, struct mote_error *err)
{
	const uint8_t *bytes = options;
	if (size < min)
		return mote__fail(err, MOTE_EINVAL, "%s.size is %zu, at least %zu", name, size,
				  min);
	for (size_t i = known; i < size; i++)
		if (bytes[i])
			return mote__fail(
				err, MOTE_EINVAL,
				"%s.size is %zu, this library knows %zu bytes and byte %zu "
				"is not zero",
				name, size, known, i);
	return MOTE_OK;
}

int mote__reserved_check(const char *name, const void *bytes, size_t len, struct mote_error *err)
{
	for (size_t i = 0; i < len; i++)
		if (((const uint8_t *)bytes)[i])
			return mote__fail(err, MOTE_EINVAL, "%s: a reserved field is not zero",
					  name);
	return MOTE_OK;
}

/* Where ring 3 has vector registers that were not offered, CPUID in ring 3 is the machine's own. */
void mote__engine_seen(const mote_engine *engine, bool is_confined,
		       struct mote__processor *processor)
{
	uint64_t mask = atomic_load_explicit(&engine->vector_mask, memory_order_relaxed);
	bool is_machines = is_confined && mask != MOTE__VECTOR_UNKNOWN && mask & ~SSE_STATE;
	*processor = is_machines ? engine->machine : engine->hypervisor->offered;
}

int mote__engine_check(const mote_engine *engine, struct mote_error *err)
{
	if (mote__sys_is_own(engine->own))
		return MOTE_OK;
	return mote__fail(err, MOTE_ESTATE,
			  "this object was made before fork() and belongs to the parent process");
}

int mote__engine_on(struct mote__hypervisor *hypervisor, int signal_number, uint32_t pool_max,
		    mote_engine **engine, struct mote_error *err)
{
	mote_engine *e = mote__alloc(1, sizeof *e);
	int rc = e ? mote__bag_create(pool_max, &e->pool) : -1;
	if (rc == 0)
		rc = mote__sys_own_make(&e->own);
	if (rc < 0 || !e) {
		if (e)
			mote__bag_destroy(e->pool);
		mote__free(e);
		return mote__fail(err, MOTE_ENOMEM, "out of memory");
	}
	e->references = 1;
	e->hypervisor = hypervisor;
	e->signal_number = signal_number;
	e->pool_max = pool_max;
	e->vector_mask = MOTE__VECTOR_UNKNOWN;
	mote__processor_read(&e->machine);
	*engine = e;
	return MOTE_OK;
}

int mote_engine_create(const struct mote_engine_options *options, mote_engine **engine,
		       struct mote_error *err)
{
	struct mote_engine_options o = {0};
	if (!engine)
		return mote__fail(err, MOTE_EINVAL, "engine is NULL");
	if (options) {
		int rc = mote__options_check("mote_engine_options", options, options->size,
					     sizeof o, sizeof o, err);
		if (rc == MOTE_OK)
			rc = mote__reserved_check("mote_engine_options", options->reserved,
						  sizeof options->reserved, err);
		if (rc == MOTE_OK)
			rc = mote__reserved_check("mote_engine_options", &options->reserved2,
						  sizeof options->reserved2, err);
		if (rc < 0)
			return rc;
		o = *options;
	}
	int signal_number = o.signal_number ? o.signal_number : SIGRTMIN;
	if (signal_number < SIGRTMIN || signal_number > SIGRTMAX)
		return mote__fail(err, MOTE_EINVAL, "signal_number is %d, limits are %d to %d",
				  signal_number, SIGRTMIN, SIGRTMAX);
	if (o.pool_max > MOTE_MAX_POOL && o.pool_max != MOTE_POOL_NONE)
		return mote__fail(err, MOTE_EINVAL, "pool_max is %u, at most %u, or MOTE_POOL_NONE",
				  o.pool_max, MOTE_MAX_POOL);
	uint32_t pool_max = o.pool_max == MOTE_POOL_NONE ? 0
			    : o.pool_max                 ? o.pool_max
							 : MOTE_DEFAULT_POOL;
	struct mote__hypervisor *hypervisor = NULL;
	struct mote_engine_info info;
	int rc = mote__kvm_open(o.device ? o.device : "/dev/kvm", o.allow_unfiltered_msrs,
				&hypervisor, &info, err);
	if (rc < 0)
		return rc;
	rc = mote__engine_on(hypervisor, signal_number, pool_max, engine, err);
	if (rc < 0)
		hypervisor->ops->close(hypervisor);
	return rc;
}

mote_engine *mote_engine_ref(mote_engine *engine)
{
	atomic_fetch_add_explicit(&engine->references, 1, memory_order_relaxed);
	return engine;
}

void mote_engine_unref(mote_engine *engine)
{
	if (!engine || atomic_fetch_sub_explicit(&engine->references, 1, memory_order_acq_rel) != 1)
		return;
	(void)mote_engine_trim(engine, NULL);
	mote__bag_destroy(engine->pool);
	engine->hypervisor->ops->close(engine->hypervisor);
	mote__sys_own_free(engine->own);
	mote__free(engine);
}

void mote_engine_get_info(const mote_engine *engine, struct mote_engine_info *info)
{
	*info = engine->hypervisor->info;
	uint64_t mask = atomic_load_explicit(&engine->vector_mask, memory_order_relaxed);
	info->vector_state_mask = mask == MOTE__VECTOR_UNKNOWN ? 0 : mask;
	info->pool_max = engine->pool_max;
	info->pool_count = mote__bag_count(engine->pool, 0);
}

int mote_probe(const char *device, struct mote_engine_info *info, struct mote_error *err)
{
	struct mote__hypervisor *hypervisor = NULL;
	if (!info)
		return mote__fail(err, MOTE_EINVAL, "info is NULL");
	int rc = mote__kvm_open(device ? device : "/dev/kvm", false, &hypervisor, info, err);
	if (rc == MOTE_OK)
		hypervisor->ops->close(hypervisor);
	return rc;
}
