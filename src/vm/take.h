/* SPDX-License-Identifier: MIT */
/* Parts of taking and flattening snapshots. */
#ifndef MOTE_VM_TAKE_H
#define MOTE_VM_TAKE_H

#include "vm/objects.h"

/** child has all layers of parent. */
void mote__take_share_layers(mote_snapshot *child, const mote_snapshot *parent);
/** Add a layer of count pages at gpa. MOTE_ESNAPSHOT: beyond what the family allows. */
int mote__take_add_layer(mote_snapshot *child, uint64_t gpa, const void *const *pages,
			 uint64_t count, struct mote_error *err);
/** An object of bytes of tables that lie at tables; those that are zero are holes. */
int mote__take_tables(const uint8_t *tables, uint64_t bytes, struct mote__object **object,
		      struct mote_error *err);
/** Most bytes of tables that a stock guest's scratch has room for: what its runtime needs stays
 * free. */
uint64_t mote__take_tables_max(const struct mote__layout *layout);
/** The tables of a stock guest are bytes; what is behind them is the guest's. */
void mote__take_set_tables(struct mote__layout *layout, uint64_t bytes);
int mote__take_copy_metadata(mote_snapshot *child, const mote_snapshot *from,
			     struct mote_error *err);

/** Layers and tables of child: what sandbox has become since parent. */
int mote__take_confined(mote_snapshot *child, mote_sandbox *sandbox, const mote_snapshot *parent,
			struct mote_error *err);
/** The same of a guest that owns ring 0, since sandbox->snapshot. is_whole: no layer is shared. */
int mote__take_stock(mote_snapshot *child, mote_sandbox *sandbox,
		     const struct mote_take_options *options, bool is_whole,
		     struct mote_error *err);

/** One layer and tables of flat: all that is alive in s. */
int mote__flatten_confined(mote_snapshot *flat, const mote_snapshot *s, struct mote_error *err);
int mote__flatten_stock(mote_snapshot *flat, const mote_snapshot *s, struct mote_error *err);

#endif
