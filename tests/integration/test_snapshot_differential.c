/* SPDX-License-Identifier: MIT */
/*
 * A restored sandbox is a fresh fork. Random calls, random ends, random restores to the snapshot it
 * runs from, its parents, children and strangers; after each restore all memory is compared with
 * the snapshot's, and what calls see (results, memory, every register at the entry) with a fork
 * that was made from nothing. And the other way round: with parts of the library made to do
 * nothing, a difference must be found.
 */
#include "snapshot_world.h"

#include "base/sys.h"
#include "vm/objects.h"

/* ---- breaking the library -------------------------------------------------------------------- */

enum mutant {
	MUTANT_NONE,
	MUTANT_NO_DROP,   /* pages beyond the write set stay mapped, and keep their bytes */
	MUTANT_ZERO_ONLY, /* they are cleared, but translations to them stay */
	MUTANT_NO_WINDOW, /* the page that the copy window showed stays mapped */
	MUTANT_NO_LEAF,   /* now and then, a page's entry is not put back */
	MUTANT_NO_RESET,  /* segments and their bases are not loaded */
};

static enum mutant mutant;
static const mote_snapshot *mutant_of; /* that a sandbox has while it is restored, else NULL */

int __real_mote__sys_drop(void *at, uint64_t bytes);
int __wrap_mote__sys_drop(void *at, uint64_t bytes);
bool __real_mote__snapshot_leaf(const mote_snapshot *snapshot, uint64_t gva, uint64_t *offset);
bool __wrap_mote__snapshot_leaf(const mote_snapshot *snapshot, uint64_t gva, uint64_t *offset);
void __real_mote__sandbox_begin(mote_sandbox *sandbox);
void __wrap_mote__sandbox_begin(mote_sandbox *sandbox);

int __wrap_mote__sys_drop(void *at, uint64_t bytes)
{
	bool is_window = mutant_of && (uint8_t *)at >= mutant_of->memory &&
			 (uint8_t *)at < mutant_of->memory + mutant_of->memory_end;
	/* Restores of the whole machine drop the whole. */
	bool is_part = mutant_of && !is_window && bytes < mutant_of->layout.scratch_bytes;
	if ((is_window && mutant == MUTANT_NO_WINDOW) || (is_part && mutant == MUTANT_NO_DROP))
		return 0;
	if (is_part && mutant == MUTANT_ZERO_ONLY) {
		memset(at, 0, bytes);
		return 0;
	}
	return __real_mote__sys_drop(at, bytes);
}

bool __wrap_mote__snapshot_leaf(const mote_snapshot *snapshot, uint64_t gva, uint64_t *offset)
{
	static unsigned count;
	if (mutant == MUTANT_NO_LEAF && mutant_of && ++count % 16 == 0)
		return false;
	return __real_mote__snapshot_leaf(snapshot, gva, offset);
}

void __wrap_mote__sandbox_begin(mote_sandbox *sandbox)
{
	__real_mote__sandbox_begin(sandbox);
	if (mutant == MUTANT_NO_RESET)
		sandbox->needs_reset = false;
}

/* ---- the world ------------------------------------------------------------------------------- */

#define IMAGES        2u
#define NODES         10u
#define SANDBOXES     3u
#define STEPS_MAX     250u
#define TIMEOUT_NS    2000000u
#define STOCK_SCRATCH 0x400000u
#define MESSAGE_MAX   256u

/* A guest image; the second has other sizes, so that nothing lies where the first has it. */
struct image {
	struct system s;
	bool is_stock; /* owns ring 0, which may be emulated, so it does little at a time */
	uint64_t places[SNAP_PLACES];
	uint64_t window;
	uint8_t message[MESSAGE_MAX]; /* the result of a call that returns nothing */
	uint32_t message_bytes;
};

struct node {
	mote_snapshot *snapshot;
	uint32_t image;
};

struct tenant {
	mote_sandbox *sandbox;
	uint32_t node;
	uint64_t memory_max;
};

struct world {
	mote_engine *engine; /* of the sandboxes that are tried */
	uint64_t random;
	struct image images[IMAGES];
	struct node nodes[NODES]; /* the first ones are the images' */
	uint32_t node_count;
	struct tenant tenants[SANDBOXES];
	uint64_t rounds, poisoned, strict, hot, forks, taken, dropped;
	char text[SNAP_TEXT_BYTES]; /* what differs */
};

static void read_message(struct image *image)
{
	struct system *s = &image->s;
	CALL_VOID(s, "nothing");
	OK(s, mote_sandbox_read(s->sandbox, image->places[SNAP_PLACE_OUTPUT] + 8, image->message,
				sizeof image->message, &s->err));
	memcpy(&image->message_bytes, image->message, 4);
	image->message_bytes += 4;
	CHECK(image->message_bytes <= sizeof image->message);
}

static void open_image(struct world *w, uint32_t i, uint64_t heap_bytes, uint32_t write_set,
		       bool is_stock)
{
	struct image *image = &w->images[i];
	struct mote_region window = {0};
	image->is_stock = is_stock;
	OPEN(&image->s, "snap_probe", .snapshot.heap_bytes = heap_bytes,
	     .snapshot.write_set_max = write_set, .snapshot.ignore_extensions = is_stock,
	     .snapshot.scratch_bytes = is_stock ? STOCK_SCRATCH + i * 0x10000 : 0,
	     .snapshot.output_bytes = 0x4000 + 0x2000 * i,
	     .snapshot.stack_bytes = 0x40000 + i * 0x10000);
	snap_find_places(&image->s, image->places);
	CHECK(is_stock || snap_find_region(image->s.snapshot, "copy window", &window));
	image->window = window.gva;
	if (!is_stock)
		read_message(image);
	w->nodes[w->node_count++] = (struct node){mote_snapshot_ref(image->s.snapshot), i};
}

/* A fresh fork of node, or the failure. */
static bool make(struct world *w, mote_engine *engine, uint32_t node, uint64_t memory_max,
		 mote_sandbox **sandbox)
{
	const struct mote_sandbox_options options = {.size = sizeof options,
						     .memory_max = memory_max};
	struct mote_error err;
	const struct node *n = &w->nodes[node];
	int rc = mote_sandbox_create(engine, n->snapshot, w->images[n->image].s.host, &options,
				     sandbox, &err);
	return rc == MOTE_OK || snap_failed(w->text, "create", rc, &err);
}

static void open_world(struct world *w, mote_engine *engine, uint32_t write_set, bool is_stock)
{
	memset(w, 0, sizeof *w);
	w->engine = engine;
	w->random = snap_seed();
	open_image(w, 0, 0x100000, write_set, is_stock);
	open_image(w, 1, 0x80000, write_set, is_stock);
	for (uint32_t i = 0; i < IMAGES; i++) { /* a snapshot of each guest that is ready */
		struct system *s = &w->images[i].s;
		struct node *n = &w->nodes[w->node_count++];
		n->image = i;
		OK(s, mote_snapshot_take(s->sandbox, NULL, &n->snapshot, &s->err));
	}
	for (uint32_t i = 0; i < SANDBOXES; i++) {
		struct tenant *t = &w->tenants[i];
		t->node = i % w->node_count;
		t->memory_max = i == 1 && !is_stock ? 110 * SNAP_PAGE_BYTES : 0;
		if (!make(w, engine, t->node, t->memory_max, &t->sandbox))
			check_failed(__FILE__, __LINE__, "%s", w->text);
	}
}

static void close_world(struct world *w)
{
	/* What a broken library left must not go to the pool. */
	for (uint32_t i = 0; i < SANDBOXES; i++)
		mote_sandbox_destroy(w->tenants[i].sandbox);
	mutant = MUTANT_NONE;
	for (uint32_t i = 0; i < w->node_count; i++)
		mote_snapshot_unref(w->nodes[i].snapshot);
	for (uint32_t i = 0; i < IMAGES; i++)
		system_close(&w->images[i].s);
}

/* ---- what a guest does ----------------------------------------------------------------------- */

/* One call, decided before it is made, so that two sandboxes can make the same. */
struct plan {
	const char *function;
	uint32_t argument_count, result;
	struct mote_value arguments[4];
	uint64_t timeout_ns;
	struct {
		uint64_t address, value;
	} steps[STEPS_MAX];
	uint8_t registers[SNAP_FILL_SIZE];
};

struct outcome { /* no padding: compared as a whole */
	int64_t rc;
	uint64_t value, guest_code, fault_gva, instruction_gva;
	uint32_t vector, state;
};

static uint64_t random_address(struct world *w, const struct image *image, bool *may_write)
{
	static const uint32_t kinds[] = {SNAP_PLACE_DATA, SNAP_PLACE_ZEROES, SNAP_PLACE_HEAP,
					 SNAP_PLACE_CONSTANTS, SNAP_PLACE_STACK};
	uint32_t kind = kinds[snap_below(&w->random, image->is_stock ? 4 : 5)];
	uint64_t pages = kind == SNAP_PLACE_HEAP
				 ? image->places[SNAP_PLACE_HEAP_BYTES] / 2 / SNAP_PAGE_BYTES
			 : kind == SNAP_PLACE_STACK
				 ? image->places[SNAP_PLACE_STACK_BYTES] / 2 / SNAP_PAGE_BYTES
			 : kind == SNAP_PLACE_CONSTANTS ? 1
							: SNAP_PAGES;
	/* A few pages are liked more than others, so that write sets have something to learn. */
	if (snap_below(&w->random, 3) == 0 && pages > 6)
		pages = 6;
	*may_write = kind != SNAP_PLACE_CONSTANTS;
	return image->places[kind] + snap_below(&w->random, pages) * SNAP_PAGE_BYTES +
	       snap_below(&w->random, 512) * 8;
}

static void plan_script(struct world *w, const struct image *image, struct plan *p)
{
	static const uint32_t most[] = {5, 40, STEPS_MAX};
	uint32_t count =
		1 + (uint32_t)snap_below(&w->random,
					 most[snap_below(&w->random, image->is_stock ? 2 : 3)]);
	uint64_t writes = snap_below(&w->random, 4); /* of 4 */
	for (uint32_t i = 0; i < count; i++) {
		bool may_write = false;
		uint64_t address = random_address(w, image, &may_write);
		may_write = may_write && snap_below(&w->random, 4) < writes;
		p->steps[i].address = address | may_write;
		/* Zeroes, too: pages that become zero are not stored. */
		p->steps[i].value = snap_below(&w->random, 4) ? check_random(&w->random) : 0;
	}
	p->function = "script";
	p->result = MOTE_U64;
	p->arguments[p->argument_count++] = mote_bytes(p->steps, count * sizeof p->steps[0]);
}

static void plan_scan(struct world *w, const struct image *image, struct plan *p)
{
	uint32_t kind = snap_below(&w->random, 2) ? SNAP_PLACE_DATA : SNAP_PLACE_ZEROES;
	p->function = "scan";
	p->result = MOTE_U64;
	p->arguments[p->argument_count++] = mote_u64(image->places[kind]);
	p->arguments[p->argument_count++] = mote_u64(image->is_stock ? 2 : SNAP_PAGES);
}

static void plan_touch(struct world *w, const struct image *image, struct plan *p)
{
	static const uint32_t kinds[] = {SNAP_PLACE_DATA, SNAP_PLACE_ZEROES, SNAP_PLACE_HEAP};
	uint32_t kind = kinds[snap_below(&w->random, 3)];
	uint64_t first = snap_below(&w->random, 32);
	p->function = "touch";
	p->result = MOTE_VOID;
	p->arguments[p->argument_count++] = mote_u64(image->places[kind] + first * SNAP_PAGE_BYTES);
	p->arguments[p->argument_count++] =
		mote_u64(1 + snap_below(&w->random, image->is_stock ? 6 : 30));
	p->arguments[p->argument_count++] = mote_u64(check_random(&w->random));
}

static void plan_bad_end(struct world *w, struct plan *p, bool may_loop)
{
	uint32_t how = (uint32_t)snap_below(&w->random, SNAP_ENDS);
	if (how == SNAP_END_LOOP && !may_loop)
		how = SNAP_END_FAULT;
	p->function = "end_badly";
	p->result = MOTE_VOID;
	p->arguments[p->argument_count++] = mote_u32(how);
	p->timeout_ns = how == SNAP_END_LOOP ? TIMEOUT_NS : 0;
}

/* All registers become random, and the call ends well. */
static void plan_registers(struct world *w, const struct image *image, struct plan *p)
{
	uint64_t value = check_random(&w->random) >> 20, flags = 0x202 | 0x400 | 0xD5;
	struct mote_engine_info info;
	uint32_t words[4];
	mote_engine_get_info(w->engine, &info);
	words[0] = (uint32_t)info.vector_state_mask;
	words[1] = 0x1F80 | 0x6040;
	words[2] = snap_below(&w->random, 2) ? 0 : UINT32_MAX;
	words[3] = 0;
	for (uint32_t i = SNAP_FILL_BYTES; i < SNAP_FILL_SIZE; i++)
		p->registers[i] = (uint8_t)check_random(&w->random);
	memcpy(p->registers + SNAP_FILL_VALUE, &value, 8);
	memcpy(p->registers + SNAP_FILL_FLAGS, &flags, 8);
	memcpy(p->registers + SNAP_FILL_MASK, words, sizeof words);
	p->function = "fill_and_end";
	p->result = MOTE_VOID;
	p->arguments[p->argument_count++] = mote_bytes(image->message, image->message_bytes);
	p->arguments[p->argument_count++] = mote_bytes(p->registers, SNAP_FILL_SIZE);
	p->arguments[p->argument_count++] = mote_u64(value);
}

static void plan_call(struct world *w, const struct image *image, struct plan *p, bool may_loop)
{
	p->argument_count = 0;
	p->timeout_ns = 0;
	switch (snap_below(&w->random, 10)) {
	case 0:
	case 1:
		plan_scan(w, image, p);
		break;
	case 2:
	case 3:
		plan_touch(w, image, p);
		break;
	case 4:
		if (image->is_stock)
			plan_script(w, image, p);
		else
			plan_registers(w, image, p);
		break;
	case 5:
		plan_bad_end(w, p, may_loop);
		break;
	default:
		plan_script(w, image, p);
	}
}

static void plan_nothing(struct plan *p)
{
	p->function = "nothing";
	p->result = MOTE_VOID;
	p->argument_count = 0;
	p->timeout_ns = 0;
}

static void run(mote_sandbox *sandbox, const struct plan *p, struct outcome *outcome)
{
	const struct mote_call call = {.size = sizeof call,
				       .function = p->function,
				       .arguments = p->arguments,
				       .argument_count = p->argument_count,
				       .result = p->result,
				       .timeout_ns = p->timeout_ns};
	struct mote_error err = {0};
	struct mote_value value = mote_void();
	*outcome = (struct outcome){.rc = mote_sandbox_call(sandbox, &call, &value, &err)};
	outcome->state = mote_sandbox_state(sandbox);
	outcome->value = value.type == MOTE_U64 ? value.u64 : 0;
	if (outcome->rc == MOTE_OK)
		return;
	outcome->guest_code = err.guest_code;
	outcome->vector = err.vector;
	outcome->fault_gva = err.fault_gva;
	outcome->instruction_gva = err.instruction_gva;
}

/* ---- comparing ------------------------------------------------------------------------------- */

static bool same_outcome(struct world *w, const struct plan *p, const struct outcome *a,
			 const struct outcome *b)
{
	if (memcmp(a, b, sizeof *a) == 0)
		return true;
	(void)snprintf(w->text, sizeof w->text,
		       "%s: %s, 0x%llx, vector %u, fault 0x%llx at 0x%llx, a fork has %s, 0x%llx, "
		       "vector %u, fault 0x%llx at 0x%llx",
		       p->function, mote_code_name((int)a->rc), (unsigned long long)a->value,
		       a->vector, (unsigned long long)a->fault_gva,
		       (unsigned long long)a->instruction_gva, mote_code_name((int)b->rc),
		       (unsigned long long)b->value, b->vector, (unsigned long long)b->fault_gva,
		       (unsigned long long)b->instruction_gva);
	return false;
}

/* Registers, as the last call of both found them. */
static bool same_registers(struct world *w, const struct image *image, mote_sandbox *sandbox,
			   mote_sandbox *fork)
{
	return snap_range_same(sandbox, fork, NULL, "registers", image->places[SNAP_PLACE_STATE],
			       SNAP_STATE_BYTES, w->text) &&
	       snap_range_same(sandbox, fork, NULL, "vector registers",
			       image->places[SNAP_PLACE_VECTORS], SNAP_VECTORS_BYTES, w->text);
}

/* What the window shows to the guest: run info, if no page was copied since the restore. */
static bool window_is_closed(struct world *w, const struct image *image, mote_sandbox *sandbox)
{
	struct mote_statistics before, after;
	const struct plan p = {.function = "different",
			       .result = MOTE_U64,
			       .argument_count = 3,
			       .arguments = {mote_u64(image->window),
					     mote_u64(image->places[SNAP_PLACE_RUN_INFO]),
					     mote_u64(SNAP_PAGE_BYTES)}};
	struct outcome outcome;
	mote_sandbox_get_statistics(sandbox, &before, sizeof before);
	run(sandbox, &p, &outcome);
	mote_sandbox_get_statistics(sandbox, &after, sizeof after);
	if (outcome.rc < 0 || after.frames_used != before.frames_used || outcome.value == 0)
		return true;
	(void)snprintf(w->text, sizeof w->text, "the copy window shows the guest %llu other words",
		       (unsigned long long)outcome.value);
	return false;
}

static bool same_frames(struct world *w, mote_sandbox *sandbox, mote_sandbox *fork)
{
	struct mote_statistics a, b;
	mote_sandbox_get_statistics(sandbox, &a, sizeof a);
	mote_sandbox_get_statistics(fork, &b, sizeof b);
	if (a.frames_used == b.frames_used && a.frames_max == b.frames_max)
		return true;
	(void)snprintf(w->text, sizeof w->text, "%llu frames of %llu, a fork has %llu of %llu",
		       (unsigned long long)a.frames_used, (unsigned long long)a.frames_max,
		       (unsigned long long)b.frames_used, (unsigned long long)b.frames_max);
	return false;
}

/* A guest that owns ring 0 seeds its random numbers anew, in its own data. */
static bool same_memory(struct world *w, const struct node *n, mote_sandbox *sandbox,
			mote_sandbox *fork)
{
	const struct image *image = &w->images[n->image];
	const uint64_t *p = image->places, bytes = (uint64_t)SNAP_PAGES * SNAP_PAGE_BYTES;
	if (!image->is_stock)
		return snap_memory_same(sandbox, fork, n->snapshot, w->text);
	return snap_range_same(sandbox, fork, NULL, "data", p[SNAP_PLACE_DATA], bytes, w->text) &&
	       snap_range_same(sandbox, fork, NULL, "zeroes", p[SNAP_PLACE_ZEROES], bytes,
			       w->text) &&
	       snap_range_same(sandbox, fork, NULL, "heap", p[SNAP_PLACE_HEAP],
			       p[SNAP_PLACE_HEAP_BYTES] / 2, w->text);
}

/* Both make the same calls. A guest that initialises itself gets a seed of its own. */
static bool same_calls(struct world *w, const struct tenant *t, mote_sandbox *fork)
{
	const struct node *n = &w->nodes[t->node];
	const struct image *image = &w->images[n->image];
	bool is_new = mote_sandbox_state(fork) == MOTE_STATE_NEW;
	struct plan p;
	struct outcome a, b;
	uint64_t count = 1 + snap_below(&w->random, 3);
	for (uint64_t i = 0; i < count; i++) {
		if (i == 0)
			plan_nothing(&p);
		else
			plan_call(w, image, &p, false);
		run(t->sandbox, &p, &a);
		run(fork, &p, &b);
		if (!same_outcome(w, &p, &a, &b) || !same_registers(w, image, t->sandbox, fork))
			return false;
		if (a.rc < 0)
			break;
	}
	return is_new || same_memory(w, n, t->sandbox, fork);
}

static bool is_as_a_fork(struct world *w, const struct tenant *t)
{
	mote_sandbox *fork = NULL;
	if (!make(w, snap_plain_engine(), t->node, t->memory_max, &fork))
		return false;
	bool is_same = same_frames(w, t->sandbox, fork);
	if (is_same && mote_sandbox_state(t->sandbox) != mote_sandbox_state(fork)) {
		(void)snprintf(w->text, sizeof w->text, "state %s, a fork is %s",
			       mote_state_name(mote_sandbox_state(t->sandbox)),
			       mote_state_name(mote_sandbox_state(fork)));
		is_same = false;
	}
	is_same = is_same && same_calls(w, t, fork);
	mote_sandbox_destroy(fork);
	w->forks++;
	return is_same;
}

/* ---- rounds ---------------------------------------------------------------------------------- */

/* What the host writes counts as the guest's. */
static void write_from_host(struct world *w, const struct tenant *t)
{
	const struct image *image = &w->images[w->nodes[t->node].image];
	bool may_write = false;
	uint64_t address = random_address(w, image, &may_write), value = check_random(&w->random);
	if (may_write)
		(void)!mote_sandbox_write(t->sandbox, address, &value, sizeof value, NULL);
}

static void live(struct world *w, const struct tenant *t)
{
	const struct image *image = &w->images[w->nodes[t->node].image];
	struct plan p;
	struct outcome outcome;
	for (uint64_t i = snap_below(&w->random, 4); i > 0; i--) {
		if (snap_below(&w->random, 6) == 0)
			write_from_host(w, t);
		plan_call(w, image, &p, true);
		run(t->sandbox, &p, &outcome);
		if (outcome.state != MOTE_STATE_READY) {
			w->poisoned += outcome.state == MOTE_STATE_POISONED;
			return;
		}
	}
}

/* One more snapshot, or one in place of another; the first four stay. */
static uint32_t place_for_node(struct world *w)
{
	if (w->node_count < NODES)
		return w->node_count++;
	for (;;) {
		uint32_t i = 2 * IMAGES + (uint32_t)snap_below(&w->random, NODES - 2 * IMAGES);
		bool is_used = false;
		for (uint32_t j = 0; j < SANDBOXES; j++)
			is_used |= w->tenants[j].node == i;
		if (!is_used) {
			mote_snapshot_unref(w->nodes[i].snapshot);
			return i;
		}
	}
}

static bool take(struct world *w, const struct tenant *t)
{
	mote_snapshot *snapshot = NULL, *again = NULL;
	struct mote_error err;
	int rc = mote_snapshot_take(t->sandbox, NULL, &snapshot, &err);
	if (rc < 0)
		return snap_failed(w->text, "take", rc, &err);
	bool is_same = snap_memory_same(t->sandbox, NULL, snapshot, w->text);
	rc = mote_snapshot_take(t->sandbox, NULL, &again, &err);
	if (is_same && (rc < 0 || again != snapshot))
		is_same = snap_failed(w->text, "the second take is another snapshot", rc, &err);
	if (rc == MOTE_OK)
		mote_snapshot_unref(again);
	uint32_t i = place_for_node(w);
	w->nodes[i] = (struct node){snapshot, w->nodes[t->node].image};
	w->taken++;
	return is_same;
}

/* Back to some snapshot: the same one half the time. */
static bool restore(struct world *w, struct tenant *t)
{
	uint32_t node = snap_below(&w->random, 2) ? t->node
						  : (uint32_t)snap_below(&w->random, w->node_count);
	struct mote_restore_options options = {.size = sizeof options,
					       .strict = snap_below(&w->random, 6) == 0};
	struct mote_statistics before, after;
	struct mote_error err;
	mutant_of = w->nodes[t->node].snapshot;
	mote_sandbox_get_statistics(t->sandbox, &before, sizeof before);
	int rc = mote_sandbox_restore(t->sandbox, w->nodes[node].snapshot, &options, &err);
	mutant_of = NULL;
	if (rc < 0)
		return snap_failed(w->text, "restore", rc, &err);
	mote_sandbox_get_statistics(t->sandbox, &after, sizeof after);
	t->node = node;
	w->hot += after.restores - before.restores;
	w->strict += after.restores_strict - before.restores_strict;
	w->dropped += after.restore_drops - before.restore_drops;
	return true;
}

/* Another sandbox, perhaps out of the pool, which may have had anything in place. */
static bool replace(struct world *w, struct tenant *t)
{
	mote_sandbox_destroy(t->sandbox);
	t->sandbox = NULL;
	t->node = (uint32_t)snap_below(&w->random, w->node_count);
	return make(w, w->engine, t->node, t->memory_max, &t->sandbox);
}

static bool round_is_good(struct world *w)
{
	struct tenant *t = &w->tenants[snap_below(&w->random, SANDBOXES)];
	w->rounds++;
	live(w, t);
	if (mote_sandbox_state(t->sandbox) != MOTE_STATE_POISONED &&
	    snap_below(&w->random, 5) == 0 && !take(w, t))
		return false;
	if (snap_below(&w->random, 2))
		live(w, t);
	if (mote_sandbox_state(t->sandbox) == MOTE_STATE_POISONED || snap_below(&w->random, 8)) {
		if (!restore(w, t))
			return false;
	} else if (!replace(w, t)) {
		return false;
	}
	const struct node *n = &w->nodes[t->node];
	if (!snap_is_restored(t->sandbox, n->snapshot, w->text))
		return false;
	if (!w->images[n->image].is_stock && snap_below(&w->random, 4) == 0)
		return window_is_closed(w, &w->images[n->image], t->sandbox);
	return is_as_a_fork(w, t);
}

/* Rounds until there is a difference. */
static bool rounds_are_good(struct world *w, double seconds)
{
	double end = snap_deadline(seconds);
	while (snap_now() < end)
		if (!round_is_good(w))
			return false;
	return true;
}

static void check_rounds(mote_engine *engine, uint32_t write_set, double seconds, bool is_stock)
{
	struct world w;
	open_world(&w, engine, write_set, is_stock);
	bool is_good = rounds_are_good(&w, seconds);
	check_note("%llu rounds: %llu poisoned, %llu restores in place, %llu strict, %llu pages "
		   "dropped, %llu snapshots, %llu compared with forks",
		   (unsigned long long)w.rounds, (unsigned long long)w.poisoned,
		   (unsigned long long)w.hot, (unsigned long long)w.strict,
		   (unsigned long long)w.dropped, (unsigned long long)w.taken,
		   (unsigned long long)w.forks);
	if (!is_good)
		check_failed(__FILE__, __LINE__, "round %llu: %s", (unsigned long long)w.rounds,
			     w.text);
	close_world(&w);
}

TEST(snapshot_differential__a_restored_sandbox_is_a_fork)
{
	check_rounds(snap_plain_engine(), 0, 1.5, false);
}

TEST(snapshot_differential__a_restored_sandbox_is_a_fork_with_a_small_write_set)
{
	check_rounds(snap_plain_engine(), 14, 1.5, false);
}

TEST(snapshot_differential__a_sandbox_from_the_pool_is_a_fork)
{
	check_rounds(system_engine(), 24, 1.5, false);
}

TEST(snapshot_differential__a_restored_guest_that_owns_ring_0_is_a_fork)
{
	check_rounds(snap_plain_engine(), 0, 1.5, true);
}

TEST(snapshot_differential__a_guest_that_owns_ring_0_from_the_pool_is_a_fork)
{
	check_rounds(system_engine(), 0, 1.5, true);
}

/* ---- learning from each other ---------------------------------------------------------------- */

#define LEARNERS 2u
#define LEARNED  (2 * SNAP_PAGES) /* most pages */

struct learning {
	struct system s;
	mote_snapshot *ready;
	mote_sandbox *sandboxes[LEARNERS];
	uint64_t places[SNAP_PLACES];
	uint64_t random;
};

static void open_learning(struct learning *l)
{
	struct system *s = &l->s;
	memset(l, 0, sizeof *l);
	/* The write set may have half of what there is. */
	OPEN(s, "snap_probe", .snapshot.write_set_max = 400, .snapshot.heap_bytes = 1 << 20);
	l->random = snap_seed();
	snap_find_places(s, l->places);
	OK(s, mote_snapshot_take(s->sandbox, NULL, &l->ready, &s->err));
	mote_sandbox_destroy(s->sandbox);
	for (uint32_t i = 0; i < LEARNERS; i++)
		OK(s, mote_sandbox_create(snap_plain_engine(), l->ready, s->host, NULL,
					  &l->sandboxes[i], &s->err));
}

static void close_learning(struct learning *l)
{
	for (uint32_t i = 0; i < LEARNERS; i++)
		mote_sandbox_destroy(l->sandboxes[i]);
	l->s.sandbox = NULL;
	mote_snapshot_unref(l->ready);
	system_close(&l->s);
}

static uint64_t learned_page(const struct learning *l, uint64_t i)
{
	const uint64_t *p = l->places;
	return (i % 2 ? p[SNAP_PLACE_DATA] : p[SNAP_PLACE_ZEROES]) + i / 2 * SNAP_PAGE_BYTES;
}

static void learn_restore(struct learning *l)
{
	OK(&l->s, mote_sandbox_restore(l->s.sandbox, l->ready, NULL, &l->s.err));
}

static void read_all(struct learning *l, uint64_t hashes[2])
{
	hashes[0] =
		CALL_U64(&l->s, "scan", mote_u64(l->places[SNAP_PLACE_DATA]), mote_u64(SNAP_PAGES));
	hashes[1] = CALL_U64(&l->s, "scan", mote_u64(l->places[SNAP_PLACE_ZEROES]),
			     mote_u64(SNAP_PAGES));
}

/* The page that the other sandbox was the first to write became this one's own without a fault:
 * what the host or the guest writes to it is seen by both. */
static void write_learned(struct learning *l, uint64_t at)
{
	struct system *s = &l->s;
	uint64_t value = check_random(&l->random), seen = 0;
	if (snap_below(&l->random, 2))
		OK(s, mote_sandbox_write(s->sandbox, at, &value, sizeof value, &s->err));
	else
		CALL_VOID(s, "write64", mote_u64(at), mote_u64(value));
	CHECK_EQ(CALL_U64(s, "read64", mote_u64(at)), value);
	OK(s, mote_sandbox_read(s->sandbox, at, &seen, sizeof seen, &s->err));
	CHECK_EQ(seen, value);
}

TEST(snapshot_differential__pages_that_another_sandbox_wrote_first_are_the_same)
{
	struct learning l;
	uint64_t first[2], hashes[2];
	open_learning(&l);
	l.s.sandbox = l.sandboxes[0];
	read_all(&l, first);
	for (uint64_t page = 0, count; page + 4 < LEARNED; page += count) {
		count = 1 + snap_below(&l.random, 4);
		for (uint32_t i = 0; i < LEARNERS; i++) { /* translations to the snapshot's pages */
			l.s.sandbox = l.sandboxes[i];
			read_all(&l, hashes);
			CHECK_MEM(hashes, first, sizeof first);
		}
		l.s.sandbox = l.sandboxes[0];
		for (uint64_t i = 0; i < count; i++)
			CALL_VOID(&l.s, "write64", mote_u64(learned_page(&l, page + i)),
				  mote_u64(i));
		learn_restore(&l);
		l.s.sandbox = l.sandboxes[1];
		learn_restore(&l);
		for (uint64_t i = 0; i < count; i++)
			write_learned(&l,
				      learned_page(&l, page + i) + 8 * snap_below(&l.random, 512));
		learn_restore(&l);
	}
	struct mote_statistics statistics = system_statistics(&l.s);
	check_note("%llu pages in the write set", (unsigned long long)statistics.frames_used);
	CHECK(statistics.frames_used > LEARNED - 10);
	close_learning(&l);
}

/* ---- the tests above can fail ---------------------------------------------------------------- */

static void check_found(enum mutant which, double seconds)
{
	struct world w;
	open_world(&w, snap_plain_engine(), 14, false);
	mutant = which;
	bool is_good = rounds_are_good(&w, seconds);
	close_world(&w);
	check_note("%llu rounds: %s", (unsigned long long)w.rounds, w.text);
	CHECK(!is_good);
	/* Not a refusal, which would be something else. */
	CHECK(!strstr(w.text, "MOTE_E") || strstr(w.text, "a fork has"));
}

TEST(snapshot_differential__pages_that_are_not_dropped_are_found)
{
	check_found(MUTANT_NO_DROP, 10);
}

TEST(snapshot_differential__stale_translations_are_found)
{
	if (system_is_nested())
		check_skip("the processor's own tables are followed: nothing is stale");
	check_found(MUTANT_ZERO_ONLY, 10);
}

TEST(snapshot_differential__an_open_copy_window_is_found)
{
	if (system_is_nested())
		check_skip("the processor's own tables are followed: nothing is stale");
	check_found(MUTANT_NO_WINDOW, 10);
}

TEST(snapshot_differential__an_entry_that_is_not_put_back_is_found)
{
	check_found(MUTANT_NO_LEAF, 10);
}

TEST(snapshot_differential__segments_that_are_not_loaded_are_found)
{
	check_found(MUTANT_NO_RESET, 10);
}
