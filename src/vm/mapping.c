/* SPDX-License-Identifier: MIT */
/*
 * Memory of the embedder's in a guest: a read-only slot of its own. A guest that owns its page
 * tables is told where it is and maps it itself; for a confined guest the leaves are written here,
 * in address space that was set aside for it, and none of them was present before, so that nothing
 * needs to be forgotten.
 */
#include "vm/objects.h"

#include <errno.h>

#include "base/error.h"
#include "base/math.h"
#include "base/sys.h"
#include "core/confined.h"

#define PAGE       ((uint64_t)MOTE_PAGE_BYTES)
#define TABLE_SPAN (512 * PAGE) /* address space of a leaf table */

typedef unsigned long long ull;

/* ---- checks ---------------------------------------------------------------------------------- */

static int check_access(const mote_sandbox *sandbox, uint32_t access, struct mote_error *err)
{
	uint32_t most =
		mote__is_confined(sandbox) ? MOTE_READ | MOTE_WRITE : MOTE_READ | MOTE_EXECUTE;
	if (access & MOTE_READ && !(access & ~most))
		return MOTE_OK;
	return mote__fail(err, MOTE_EINVAL, "access is 0x%x, bits are 0x%x with 0x%x", access, most,
			  MOTE_READ);
}

static int check(mote_sandbox *sandbox, const struct mote_mapping *m, struct mote_error *err)
{
	if (!sandbox || !m)
		return mote__fail(err, MOTE_EINVAL, "%s is NULL", sandbox ? "mapping" : "sandbox");
	int rc = mote__engine_check(sandbox->engine, err);
	if (rc == MOTE_OK)
		rc = mote__options_check("mote_mapping", m, m->size, sizeof *m, sizeof *m, err);
	if (rc == MOTE_OK)
		rc = mote__reserved_check("mote_mapping", &m->reserved, sizeof m->reserved, err);
	if (rc < 0)
		return rc;
	if (sandbox->state != MOTE_STATE_NEW && sandbox->state != MOTE_STATE_READY)
		return mote__fail(err, MOTE_ESTATE, "the sandbox is %s",
				  mote_state_name(sandbox->state));
	if (!m->path == !m->memory)
		return mote__fail(err, MOTE_EINVAL, "path and memory are %s",
				  m->path ? "both given" : "both NULL");
	if (m->memory && ((uintptr_t)m->memory % PAGE || m->bytes % PAGE || !m->bytes))
		return mote__fail(err, MOTE_EINVAL,
				  "memory of 0x%llx bytes at %p: no multiples of 0x1000 above 0",
				  (ull)m->bytes, m->memory);
	if ((m->gpa | m->gva) % PAGE)
		return mote__fail(err, MOTE_EINVAL, "0x%llx is no multiple of 0x1000",
				  (ull)(m->gpa | m->gva));
	if (sandbox->mapped_count == MOTE_MAX_MAPPINGS)
		return mote__fail(err, MOTE_EINVAL, "a sandbox has at most %d mappings",
				  MOTE_MAX_MAPPINGS);
	return check_access(sandbox, m->access, err);
}

static bool overlaps(uint64_t a, uint64_t a_bytes, uint64_t b, uint64_t b_bytes)
{
	return a < b + b_bytes && b < a + a_bytes;
}

static int fail_overlap(struct mote_error *err, uint64_t at, uint64_t bytes, const char *what)
{
	return mote__fail(err, MOTE_EINVAL, "0x%llx bytes at 0x%llx overlap %s", (ull)bytes,
			  (ull)at, what);
}

/* A guest with tables of its own: any guest physical addresses that nothing else has. */
static int place_stock(const mote_sandbox *sandbox, const struct mote_mapping *m,
		       struct mote__mapped *mapped, struct mote_error *err)
{
	const struct mote__layout *l = &sandbox->snapshot->layout;
	uint64_t base = l->family->base_gpa, bytes = mapped->bytes, end;
	if (m->gva)
		return mote__fail(err, MOTE_EINVAL,
				  "gva is 0x%llx: this guest makes its own page tables",
				  (ull)m->gva);
	if (!mote__add(m->gpa, bytes, &end) || m->gpa < base || end > l->family->physical_end)
		return mote__fail(err, MOTE_EINVAL,
				  "gpa is 0x%llx for 0x%llx bytes, limits are 0x%llx to 0x%llx",
				  (ull)m->gpa, (ull)bytes, (ull)base, (ull)l->family->physical_end);
	if (overlaps(m->gpa, bytes, base, sandbox->snapshot->memory_end - base))
		return fail_overlap(err, m->gpa, bytes, "the snapshot");
	if (overlaps(m->gpa, bytes, l->scratch_gpa, l->scratch_bytes))
		return fail_overlap(err, m->gpa, bytes, "scratch");
	for (uint32_t i = 0; i < sandbox->mapped_count; i++)
		if (overlaps(m->gpa, bytes, sandbox->mapped[i].gpa, sandbox->mapped[i].bytes))
			return fail_overlap(err, m->gpa, bytes, "another mapping");
	mapped->gpa = m->gpa;
	return MOTE_OK;
}

static uint64_t *entry_at(const mote_sandbox *sandbox, uint64_t gva)
{
	uint64_t offset = 0;
	(void)mote__snapshot_leaf(sandbox->snapshot, gva, &offset);
	return (uint64_t *)(void *)(sandbox->scratch + sandbox->snapshot->layout.tables_offset +
				    offset);
}

/* Behind the last page of the address space for mappings that the snapshot has something at. Only
 * tables that it stores are looked at. */
static uint64_t kept_end(const mote_snapshot *s)
{
	const struct mote__layout *l = &s->layout;
	uint64_t end = l->mapping_gva;
	for (uint64_t gva = l->mapping_gva; gva < l->mapping_gva + l->mapping_bytes;) {
		uint64_t next = mote__round_down(gva, TABLE_SPAN) + TABLE_SPAN, offset = 0;
		bool is_stored = false;
		(void)mote__snapshot_leaf(s, gva, &offset);
		for (uint32_t i = 0; i < s->extent_count; i++)
			is_stored |= offset - s->extent[i].at < s->extent[i].bytes;
		for (; is_stored && gva < next && gva < l->cow_end_gva; gva += PAGE, offset += 8)
			if (*(const uint64_t *)(const void *)(s->tables + offset))
				end = gva + PAGE;
		gva = next;
	}
	return end;
}

static int place_confined(const mote_sandbox *sandbox, const struct mote_mapping *m,
			  struct mote__mapped *mapped, struct mote_error *err)
{
	const struct mote__layout *l = &sandbox->snapshot->layout;
	uint64_t gva = m->gva ? m->gva : kept_end(sandbox->snapshot), bytes = mapped->bytes;
	if (m->gpa)
		return mote__fail(err, MOTE_EINVAL,
				  "gpa is 0x%llx: a confined guest is given addresses by gva",
				  (ull)m->gpa);
	for (uint32_t i = 0; i < sandbox->mapped_count && !m->gva; i++)
		if (gva < sandbox->mapped[i].gva + sandbox->mapped[i].bytes)
			gva = sandbox->mapped[i].gva + sandbox->mapped[i].bytes;
	if (gva < l->mapping_gva || !mote__in_range(gva - l->mapping_gva, bytes, l->mapping_bytes))
		return mote__fail(err, MOTE_EINVAL,
				  "0x%llx bytes at 0x%llx: mapping_bytes of the snapshot allow "
				  "0x%llx at 0x%llx",
				  (ull)bytes, (ull)gva, (ull)l->mapping_bytes, (ull)l->mapping_gva);
	for (uint64_t at = 0; at < bytes; at += PAGE)
		if (*entry_at(sandbox, gva + at))
			return fail_overlap(err, gva, bytes,
					    "another mapping, or what a snapshot has of one");
	mapped->gva = gva;
	mapped->gpa = MOTE__MAPPING_GPA + (gva - l->mapping_gva);
	return MOTE_OK;
}

/* ---- mapping --------------------------------------------------------------------------------- */

static int open_file(const struct mote_mapping *m, int *fd, uint64_t *bytes, struct mote_error *err)
{
	*fd = mote__sys_open_file(m->path, bytes);
	if (*fd < 0)
		return mote__fail_system(err,
					 *fd == -ENOMEM || *fd == -EMFILE || *fd == -ENFILE
						 ? MOTE_ENOMEM
						 : MOTE_ESYSTEM,
					 -*fd, "opening %s", m->path);
	if (!*bytes || m->bytes > *bytes)
		return mote__fail(err, MOTE_EINVAL, "%s has 0x%llx bytes, 0x%llx are to be mapped",
				  m->path, (ull)*bytes, (ull)m->bytes);
	*bytes = mote__round_up(m->bytes ? m->bytes : *bytes, PAGE);
	return MOTE_OK;
}

static int map_file(int fd, struct mote__mapped *mapped, struct mote_error *err)
{
	void *at = NULL;
	int rc = mote__sys_map(MOTE__MAP_READ, fd, mapped->bytes, &at);
	if (rc < 0)
		return mote__object_fail(err, rc, "mapping a file", mapped->bytes);
	mapped->host = at;
	mapped->is_own = true;
	return MOTE_OK;
}

static void write_leaves(const mote_sandbox *sandbox, const struct mote__mapped *mapped,
			 uint32_t access)
{
	const struct mote__pt_attributes attributes = {.cow = (access & MOTE_WRITE) != 0,
						       .user = true};
	for (uint64_t at = 0; at < mapped->bytes; at += PAGE)
		*entry_at(sandbox, mapped->gva + at) =
			mote__pt_leaf_entry(&mote__pt_x86_64, mapped->gpa + at, attributes);
}

static int map(mote_sandbox *sandbox, const struct mote_mapping *m, int fd,
	       struct mote__mapped *mapped, struct mote_error *err)
{
	struct mote__machine *machine = sandbox->machine;
	uint32_t slot = MOTE__SLOT_MAPPING + sandbox->mapped_count;
	bool is_confined = mote__is_confined(sandbox);
	int rc = is_confined ? place_confined(sandbox, m, mapped, err)
			     : place_stock(sandbox, m, mapped, err);
	if (rc == MOTE_OK && fd >= 0)
		rc = map_file(fd, mapped, err);
	if (rc < 0)
		return rc;
	rc = machine->ops->map(machine, slot, mapped->gpa, mapped->host, mapped->bytes, false, err);
	if (rc < 0) {
		if (mapped->is_own)
			mote__sys_unmap((void *)(uintptr_t)mapped->host, mapped->bytes);
		return rc;
	}
	if (is_confined)
		write_leaves(sandbox, mapped, m->access);
	sandbox->mapped[sandbox->mapped_count++] = *mapped;
	sandbox->is_changed = true;
	return MOTE_OK;
}

int mote_sandbox_map(mote_sandbox *sandbox, const struct mote_mapping *mapping, uint64_t *placed,
		     struct mote_error *err)
{
	int rc = check(sandbox, mapping, err), fd = -1;
	if (rc < 0)
		return rc;
	struct mote__mapped mapped = {.host = mapping->memory, .bytes = mapping->bytes};
	if (mapping->path)
		rc = open_file(mapping, &fd, &mapped.bytes, err);
	if (rc == MOTE_OK)
		rc = map(sandbox, mapping, fd, &mapped, err);
	mote__sys_close(fd);
	if (rc == MOTE_OK && placed)
		*placed = mapped.gva ? mapped.gva : mapped.gpa;
	return rc;
}
