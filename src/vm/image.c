/* SPDX-License-Identifier: MIT */
/*
 * What is kept of a guest's image: entries, symbols, functions, and what the caller allows it. All
 * snapshots that come from one image share it. Nothing here changes once it is made.
 */
#include "vm/objects.h"

#include <string.h>

#include "base/error.h"
#include "base/sys.h"

static uint8_t *copy_range(const struct mote__elf *elf, struct mote__elf_range range)
{
	uint8_t *copy = mote__alloc(range.bytes ? range.bytes : 1, 1);
	if (copy && range.bytes)
		memcpy(copy, elf->file + range.offset, range.bytes);
	return copy;
}

static bool keep_symbols(struct mote__image *image, const struct mote__elf *elf)
{
	uint8_t *symbols = copy_range(elf, elf->symbols), *strings = copy_range(elf, elf->strings);
	image->symbols = (struct mote__elf_symbols){.symbols = symbols,
						    .symbols_bytes = elf->symbols.bytes,
						    .strings = strings,
						    .strings_bytes = elf->strings.bytes,
						    .bits = elf->bits};
	image->symbol_shift = elf->load_gva - elf->base_va;
	return symbols && strings;
}

static void keep_entries(struct mote__image *image, const struct mote__elf *elf, bool is_confined)
{
	const struct mote__elf_note *note = &elf->note;
	image->bits = elf->bits;
	image->baseline = note->present ? note->baseline : 0;
	image->is_position_independent = elf->is_pie;
	image->has_note = note->present;
	memcpy(image->version, elf->version, sizeof image->version);
	image->build_id_bytes = (uint32_t)elf->build_id.bytes;
	if (elf->build_id.bytes)
		memcpy(image->build_id, elf->file + elf->build_id.offset, elf->build_id.bytes);
	image->entry_gva = elf->entry_gva;
	if (!is_confined)
		return;
	image->entry_gva = elf->load_gva + note->entry;
	image->dispatch_gva = elf->load_gva + note->dispatch;
	image->syscall_gva = note->syscall_handler ? elf->load_gva + note->syscall_handler : 0;
}

int mote__image_new(struct mote__image **image, struct mote_error *err)
{
	struct mote__image *i = mote__alloc(1, sizeof *i);
	if (!i)
		return mote__fail(err, MOTE_ENOMEM, "out of memory");
	i->references = 1;
	if (mote__sys_own_make(&i->own) < 0) {
		mote__free(i);
		return mote__fail(err, MOTE_ENOMEM, "out of memory");
	}
	*image = i;
	return MOTE_OK;
}

int mote__image_make(const struct mote__elf *elf, const struct mote_snapshot_options *options,
		     bool is_confined, struct mote__image **image, struct mote_error *err)
{
	struct mote__image *i = NULL;
	int rc = mote__image_new(&i, err);
	if (rc < 0)
		return rc;
	keep_entries(i, elf, is_confined);
	/* In ring 3 no such register can be reached. */
	i->msr_count = is_confined ? 0 : options->msr_count;
	if (i->msr_count)
		memcpy(i->msrs, options->msrs, i->msr_count * sizeof *i->msrs);
	if (!keep_symbols(i, elf)) {
		mote__image_unref(i);
		return mote__fail(err, MOTE_ENOMEM, "out of memory");
	}
	*image = i;
	return MOTE_OK;
}

struct mote__image *mote__image_ref(struct mote__image *image)
{
	atomic_fetch_add_explicit(&image->references, 1, memory_order_relaxed);
	return image;
}

void mote__image_unref(struct mote__image *image)
{
	if (!image || atomic_fetch_sub_explicit(&image->references, 1, memory_order_acq_rel) != 1)
		return;
	mote__functions_free(&image->exports);
	mote__functions_free(&image->imports);
	mote__free((void *)(uintptr_t)image->symbols.symbols);
	mote__free((void *)(uintptr_t)image->symbols.strings);
	mote__sys_own_free(image->own);
	mote__free(image);
}
