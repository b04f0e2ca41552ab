/* SPDX-License-Identifier: MIT */
/* Programs of snapshots against a model, see the header. */
#include "algebra.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/confined.h"
#include "core/page_table.h"
#include "stub.h"
#include "world.h"

#define PAGE      4096ull
#define KINDS     3u
#define ENGINES   2u
#define SANDBOXES 6u
#define SNAPSHOTS 10u
#define POOL_MAX  3u

/* Pages that programs use: of the image's data, the heap, the stack (from its top), and one that is
 * read-only. */
#define DATA_PAGES  20u
#define HEAP_PAGES  12u
#define STACK_PAGES 7u
#define CODE_PAGE   (DATA_PAGES + HEAP_PAGES + STACK_PAGES)
#define MAP_FIRST   (CODE_PAGE + 1)
#define MAP_PAGES   6u /* of the space for mappings */
#define PAGES       (MAP_FIRST + MAP_PAGES)
#define LIMIT_MAX   24u

size_t algebra_at;

/* ---- the model ------------------------------------------------------------------------------- */

#define WORDS        8u
#define BASE_INITIAL UINT64_MAX /* what the image has */

static const uint16_t word_at[WORDS] = {0, 1, 63, 64, 200, 300, 510, 511};

struct page {
	enum { WRITABLE, CONSTANT, ABSENT } is;
	uint64_t base; /* 0: zeroes; a number: made of it */
	uint8_t changed;
	uint64_t word[WORDS]; /* over that, where changed says so */
};

struct state {
	unsigned kind;
	bool is_ready;
	uint64_t generation;
	struct page page[PAGES];
};

struct snap {
	mote_snapshot *s;
	struct state state;
};

struct box {
	mote_sandbox *s;
	unsigned engine;
	struct state state;
	mote_snapshot *last; /* it runs from that, or took it last */
	bool is_changed, is_poisoned;
	uint64_t limit;   /* frames that it may have; 0: plenty */
	uint64_t fixed;   /* frames that a start takes */
	uint64_t touched; /* pages since the start, bits */
};

static struct {
	struct double_hypervisor *hypervisor[ENGINES];
	bool is_closed[ENGINES];
	mote_engine *engine[ENGINES];
	mote_host *host;
	struct snap base[KINDS];
	uint8_t initial[KINDS][PAGES][PAGE];
	struct snap snap[SNAPSHOTS];
	struct box box[SANDBOXES];
	uint64_t values;
	struct mote_error err;
} all;

#undef OK
#define OK(call)                                                                                   \
	do {                                                                                       \
		int rc_ = (call);                                                                  \
		if (rc_ != MOTE_OK)                                                                \
			check_failed(__FILE__, __LINE__, "%s: %s: %s", #call, mote_code_name(rc_), \
				     all.err.message);                                             \
	} while (0)

static uint64_t gva_of(const mote_snapshot *s, unsigned page)
{
	const struct mote__layout *l = &s->layout;
	if (page < DATA_PAGES)
		return TINY_DATA_GVA + page * PAGE;
	page -= DATA_PAGES;
	if (page < HEAP_PAGES)
		return l->heap_gva + page * PAGE;
	page -= HEAP_PAGES;
	if (page < STACK_PAGES)
		return l->stack_gva + l->stack_bytes - (page + 1) * PAGE;
	page -= STACK_PAGES;
	return page == 0 ? TINY_CODE_GVA : l->mapping_gva + (page - 1) * PAGE;
}

static bool is_demand(unsigned page)
{
	return page >= DATA_PAGES && page < CODE_PAGE;
}

static void expected(const struct state *state, unsigned number, uint64_t *words)
{
	const struct page *p = &state->page[number];
	if (p->base == BASE_INITIAL)
		memcpy(words, all.initial[state->kind][number], PAGE);
	else
		for (unsigned i = 0; i < PAGE / 8; i++)
			words[i] = p->base ? p->base + i * 0x9E3779B97F4A7C15ull : 0;
	for (unsigned i = 0; i < WORDS; i++)
		if (p->changed & 1u << i)
			words[word_at[i]] = p->word[i];
}

static void check_page(const struct state *state, unsigned number, const void *bytes,
		       const char *what)
{
	uint64_t words[PAGE / 8];
	const uint64_t *got = bytes;
	expected(state, number, words);
	if (memcmp(words, bytes, PAGE) == 0)
		return;
	for (unsigned i = 0; i < PAGE / 8; i++)
		if (words[i] != got[i])
			check_failed(__FILE__, __LINE__,
				     "%s: page %u (0x%llx of kind %u), word %u is 0x%llx, not "
				     "0x%llx",
				     what, number,
				     (unsigned long long)gva_of(all.base[state->kind].s, number),
				     state->kind, i, (unsigned long long)got[i],
				     (unsigned long long)words[i]);
}

/* ---- what sandboxes and snapshots hold --------------------------------------------------------
 */

static const void *table(const void *cookie, uint64_t gpa, uint64_t bytes)
{
	return double_gpa(cookie, gpa, bytes);
}

/* As the guest would see it, had it nothing cached. */
static void check_view(const struct box *b, unsigned number, uint64_t gva)
{
	static const uint8_t zeroes[PAGE];
	const struct double_machine *m = (const void *)b->s->machine;
	const struct mote__pt_space space = {&mote__pt_x86_64, {m, table}, m->special.cr3};
	struct mote__pt_translation t;
	int rc = mote__pt_translate(&space, gva, &t);
	if (b->state.page[number].is == ABSENT) {
		CHECK_EQ(rc, MOTE__PT_NOT_MAPPED);
		return;
	}
	if (rc != MOTE__PT_OK) {
		CHECK(is_demand(number));
		check_page(&b->state, number, zeroes, "a page that is not there");
		return;
	}
	const uint8_t *page = double_gpa(m, t.gpa, PAGE);
	CHECK(page && t.level == 1 && t.effective.user && !(t.own.cow && t.own.writable));
	CHECK((t.own.cow || t.own.writable) == (b->state.page[number].is == WRITABLE));
	check_page(&b->state, number, page, "the guest's view");
	const struct mote__layout *l = &b->s->snapshot->layout;
	uint64_t frames = l->scratch_gpa + l->frames_offset;
	if (t.gpa >= frames)
		CHECK(t.own.writable && (t.gpa - frames) / PAGE < mote__frames_used(b->s));
}

static void check_box(const struct box *b)
{
	uint8_t bytes[PAGE];
	for (unsigned i = 0; i < PAGES; i++) {
		uint64_t gva = gva_of(b->s->snapshot, i);
		check_view(b, i, gva);
		int rc = mote_sandbox_read(b->s, gva, bytes, PAGE, &all.err);
		CHECK_EQ(rc, b->state.page[i].is == ABSENT ? MOTE_EADDR : MOTE_OK);
		if (rc == MOTE_OK)
			check_page(&b->state, i, bytes, "mote_sandbox_read()");
	}
	CHECK_EQ(mote_sandbox_state(b->s), b->is_poisoned      ? MOTE_STATE_POISONED
					   : b->state.is_ready ? MOTE_STATE_READY
							       : MOTE_STATE_NEW);
}

static void check_snap(const struct snap *s)
{
	uint8_t bytes[PAGE];
	struct mote_snapshot_info info;
	for (unsigned i = 0; i < PAGES; i++) {
		int rc = mote_snapshot_read(s->s, gva_of(s->s, i), bytes, PAGE, &all.err);
		CHECK_EQ(rc, s->state.page[i].is == ABSENT ? MOTE_EADDR : MOTE_OK);
		if (rc == MOTE_OK)
			check_page(&s->state, i, bytes, "mote_snapshot_read()");
	}
	mote_snapshot_get_info(s->s, &info);
	CHECK_EQ(info.is_ready, s->state.is_ready);
	CHECK_EQ(info.generation, s->state.generation);
	CHECK(info.layer_count >= 1 && info.layer_count <= MOTE__LAYERS_MAX);
	CHECK(info.dead_bytes < info.memory_bytes);
	uint64_t end = s->s->layout.family->base_gpa;
	for (uint32_t i = 0; i < info.layer_count; i++) {
		struct mote_layer layer;
		OK(mote_snapshot_get_layer(s->s, i, &layer));
		CHECK(layer.bytes > 0 && layer.gpa >= end);
		end = layer.gpa + layer.bytes;
	}
}

static bool is_zero(const uint8_t *at, uint64_t bytes)
{
	for (uint64_t i = 0; i < bytes; i++)
		if (at[i])
			return false;
	return true;
}

/* Private tables are the snapshot's but for the write set. */
static void check_tables(const mote_sandbox *s)
{
	const struct mote__layout *l = &s->snapshot->layout;
	const struct mote__members *members = &s->snapshot->write_set;
	const uint64_t *live = (const void *)(s->scratch + l->tables_offset);
	const uint64_t *start = (const void *)s->snapshot->tables;
	unsigned differ = 0, learned = 0;
	for (uint64_t i = 0; i < l->tables_bytes / 8; i++)
		differ += live[i] != start[i];
	for (uint32_t i = members->fixed; i < s->placed; i++) {
		uint64_t offset = 0;
		CHECK(mote__snapshot_leaf(s->snapshot, members->member[i].gva, &offset));
		CHECK(live[offset / 8] == mote__frame_word(l, i));
		learned++;
	}
	CHECK_EQ(differ, learned);
}

/* What a start finds: nothing of what was before. */
static void check_clean(const struct box *b)
{
	const mote_sandbox *s = b->s;
	const struct mote__layout *l = &s->snapshot->layout;
	const uint64_t empty = 8;
	CHECK_EQ(mote__frames_used(s), s->placed);
	CHECK(s->placed >= s->snapshot->write_set.fixed && s->placed <= l->frame_count);
	CHECK(*mote__params(s, MOTE__PARAMS_NEXT) <= *mote__params(s, MOTE__PARAMS_LIMIT));
	check_tables(s);
	for (uint64_t i = 0; i < s->placed; i++)
		CHECK_EQ(*mote__log(s, i) * PAGE, s->snapshot->write_set.member[i].gva);
	for (uint64_t i = s->placed; i < l->frame_count && i < 2 * PAGES; i++)
		CHECK(is_zero(mote__frame(s, i), PAGE));
	CHECK_MEM(s->scratch, &empty, 8);
	CHECK(is_zero(s->scratch + 8, l->input_bytes - 8));
	CHECK_MEM(s->scratch + l->output_offset, &empty, 8);
	CHECK(is_zero(s->scratch + l->output_offset + 8, l->output_bytes - 8));
	CHECK(is_zero(s->scratch + l->ist_offset, PAGE));
	CHECK(s->mapped_count == 0 && s->taken == NULL && !s->is_changed);
	CHECK(s->generation == b->state.generation);
}

/* ---- the guest ------------------------------------------------------------------------------- */

enum access { READ, WORD, PATTERN, ZERO };

static struct {
	struct box *box;
	unsigned count, at, first, stride, word;
	enum access access;
	bool is_unique;
	enum { HALT, ERROR, ABORT, FATAL } end;
} script;

static uint64_t next_value(void)
{
	return script.is_unique ? ++all.values << 8 : 0xABCD;
}

static void access_page(unsigned number, uint8_t *bytes)
{
	struct page *p = &script.box->state.page[number];
	uint64_t *words = (uint64_t *)(void *)bytes, value = next_value();
	check_page(&script.box->state, number, bytes, "a touched page");
	switch (p->is == CONSTANT ? READ : script.access) {
	case READ:
		return;
	case WORD:
		words[word_at[script.word]] = p->word[script.word] = value;
		p->changed |= (uint8_t)(1u << script.word);
		return;
	case PATTERN:
	case ZERO:
		*p = (struct page){.base = script.access == ZERO ? 0 : value};
		expected(&script.box->state, number, words);
		return;
	}
}

static void finish(struct double_machine *m, struct mote__exit *exit)
{
	switch (script.end) {
	case HALT:
		guest_return(m, exit, mote_void());
		return;
	case ERROR:
		guest_push_error(m, 5, "no");
		double_halt(exit);
		return;
	case ABORT:
		(void)double_abort(exit, "\x08", 1, 0);
		return;
	case FATAL:
		*exit = (struct mote__exit){.kind = MOTE__EXIT_OTHER,
					    .is_fatal = true,
					    .detail = "shutdown (triple fault)"};
		return;
	}
}

static void work(struct double_machine *m, struct mote__exit *exit)
{
	if (m->step == 0)
		(void)guest_pop_call(m);
	for (; script.at < script.count; script.at++) {
		unsigned number = (script.first + script.at * script.stride) % PAGES;
		uint8_t *page = NULL;
		const struct page *p = &script.box->state.page[number];
		bool is_write = script.access != READ && p->is == WRITABLE;
		if (p->is == ABSENT)
			continue;
		enum stub_outcome outcome =
			stub_touch(m, gva_of(script.box->s->snapshot, number), is_write, &page);
		if (outcome == STUB_FULL) {
			stub_ask(exit);
			return;
		}
		CHECK_EQ(outcome, STUB_DONE);
		if (is_write || is_demand(number))
			script.box->touched |= 1ull << number;
		access_page(number, page);
	}
	finish(m, exit);
}

static const struct double_guest guest = {NULL, work, NULL};

/* Frames may be at an end: half of what is beyond the fixed ones may have gone to the write set. */
static bool may_be_full(const struct box *b, unsigned more)
{
	uint64_t spare = b->limit - b->fixed;
	return b->limit && (unsigned)__builtin_popcountll(b->touched) + more > spare - spare / 2;
}

static void call(struct box *b)
{
	static const int codes[] = {MOTE_OK, MOTE_EGUEST, MOTE_EABORT, MOTE_EPROTOCOL};
	const struct mote_call c = {.size = sizeof c, .function = "f"};
	script.box = b;
	script.at = 0;
	int rc = mote_sandbox_call(b->s, &c, NULL, &all.err);
	b->is_changed = true;
	if (script.at < script.count) {
		if (rc != MOTE_EABORT || !may_be_full(b, 1))
			check_failed(__FILE__, __LINE__,
				     "the call ended early: %d %s; %d pages touched, %llu frames",
				     rc, all.err.message, __builtin_popcountll(b->touched),
				     (unsigned long long)b->limit);
	} else if (rc != codes[script.end]) {
		check_failed(__FILE__, __LINE__, "the call: %d %s", rc, all.err.message);
	}
	b->is_poisoned = rc == MOTE_EABORT || rc == MOTE_EPROTOCOL;
	b->state.is_ready = true;
}

/* ---- operations ------------------------------------------------------------------------------ */

static void box_drop(struct box *b)
{
	mote_sandbox_destroy(b->s);
	*b = (struct box){0};
}

static void snap_drop(struct snap *s)
{
	mote_snapshot_unref(s->s);
	*s = (struct snap){0};
}

static struct snap *snap_of(uint8_t number)
{
	unsigned i = number % (KINDS + SNAPSHOTS);
	struct snap *s = i < KINDS ? &all.base[i] : &all.snap[i - KINDS];
	return s->s ? s : NULL;
}

static void begin(struct box *b, const struct snap *from)
{
	b->state = from->state;
	b->last = from->s;
	b->is_changed = b->is_poisoned = false;
	b->fixed = from->s->write_set.fixed;
	b->touched = 0;
	check_clean(b);
	check_box(b);
}

static void do_guest(const struct algebra_op *op)
{
	struct box *b = &all.box[op->a % SANDBOXES];
	if (!b->s || b->is_poisoned)
		return;
	script.count = 1 + op->c % 8;
	script.stride = 1 + (unsigned)(op->c >> 3) % 4 * 5;
	script.access = (enum access)((op->c >> 5) % 4);
	script.is_unique = op->c & 0x80;
	script.first = op->b % PAGES;
	script.word = op->b % WORDS;
	script.end = op->b >= 0xF8 ? ERROR : HALT;
	if (op->b >= 0xC0)
		stub_flush((const void *)b->s->machine);
	call(b);
	check_box(b);
}

static void do_poison(const struct algebra_op *op)
{
	struct box *b = &all.box[op->a % SANDBOXES];
	if (!b->s || b->is_poisoned)
		return;
	script.count = op->c % 4;
	script.stride = 1;
	script.access = WORD;
	script.is_unique = true;
	script.first = op->b % PAGES;
	script.word = op->b % WORDS;
	script.end = op->c & 0x80 ? FATAL : ABORT;
	call(b);
	check_box(b);
}

static void write_word(struct box *b, unsigned number, unsigned word, uint64_t value)
{
	struct page *p = &b->state.page[number];
	uint64_t gva = gva_of(b->s->snapshot, number) + word_at[word] * 8u;
	int rc = mote_sandbox_write(b->s, gva, &value, 8, &all.err);
	if (b->is_poisoned || p->is != WRITABLE) {
		CHECK_EQ(rc, b->is_poisoned ? MOTE_ESTATE : MOTE_EADDR);
		return;
	}
	if (rc == MOTE_ENOMEM && may_be_full(b, 1))
		return;
	OK(rc);
	b->is_changed = true;
	b->touched |= 1ull << number;
	p->word[word] = value;
	p->changed |= (uint8_t)(1u << word);
}

static void do_write(const struct algebra_op *op)
{
	struct box *b = &all.box[op->a % SANDBOXES];
	if (!b->s)
		return;
	write_word(b, op->b % PAGES, op->c % WORDS,
		   op->c & 0x80   ? ++all.values << 8
		   : op->c & 0x40 ? 0
				  : 0xABCD);
	check_box(b);
}

static void take(struct box *b, struct snap *to)
{
	mote_snapshot *child = NULL;
	int rc = mote_snapshot_take(b->s, NULL, &child, &all.err);
	if (b->is_poisoned) {
		CHECK_EQ(rc, MOTE_ESTATE);
		return;
	}
	OK(rc);
	CHECK((child == b->last) == !b->is_changed);
	b->state.generation += b->is_changed;
	b->is_changed = false;
	b->last = child;
	snap_drop(to);
	*to = (struct snap){child, b->state};
}

static void do_take(const struct algebra_op *op)
{
	struct box *b = &all.box[op->a % SANDBOXES];
	struct snap *to = &all.snap[op->b % SNAPSHOTS];
	if (!b->s)
		return;
	take(b, to);
	check_box(b);
	if (to->s)
		check_snap(to);
}

static void do_chain(const struct algebra_op *op)
{
	struct box *b = &all.box[op->a % SANDBOXES];
	struct snap *to = &all.snap[op->b % SNAPSHOTS];
	if (!b->s || b->is_poisoned)
		return;
	for (unsigned i = 0; i < op->c % 64; i++) {
		write_word(b, (op->b + i % 3) % DATA_PAGES, i % WORDS, ++all.values << 8);
		take(b, to);
	}
	check_box(b);
	if (to->s)
		check_snap(to);
}

static void do_restore(const struct algebra_op *op)
{
	struct box *b = &all.box[op->a % SANDBOXES];
	const struct snap *from = snap_of(op->b);
	const struct mote_restore_options o = {.size = sizeof o, .strict = op->c >= 0xC0};
	if (!b->s || !from)
		return;
	int rc = mote_sandbox_restore(b->s, from->s, op->c & 1 ? &o : NULL, &all.err);
	if (b->limit && b->limit < from->s->write_set.fixed + 1 && from->s != b->s->snapshot) {
		CHECK_EQ(rc, MOTE_EINVAL);
		check_box(b);
		return;
	}
	OK(rc);
	begin(b, from);
}

static void do_fork(const struct algebra_op *op)
{
	struct box *b = &all.box[op->a % SANDBOXES];
	const struct snap *from = snap_of(op->b);
	uint64_t limit = op->c & 2 ? 0 : 1 + (op->c >> 3) % LIMIT_MAX;
	const struct mote_sandbox_options o = {
		.size = sizeof o, .memory_max = limit * PAGE, .strict = (op->c & 0x87) == 0x87};
	if (!from)
		return;
	box_drop(b);
	b->engine = op->c % ENGINES;
	int rc = mote_sandbox_create(all.engine[b->engine], from->s, all.host, &o, &b->s, &all.err);
	if (limit && limit < from->s->write_set.fixed + 1) {
		CHECK(rc == MOTE_EINVAL && !b->s);
		return;
	}
	OK(rc);
	b->limit = limit;
	begin(b, from);
}

static void do_flatten(const struct algebra_op *op)
{
	const struct snap *from = snap_of(op->a);
	struct snap *to = &all.snap[op->b % SNAPSHOTS];
	mote_snapshot *flat = NULL;
	struct mote_snapshot_info info;
	if (!from)
		return;
	OK(mote_snapshot_flatten(from->s, &flat, &all.err));
	const struct state state = from->state;
	mote_snapshot *own = mote_snapshot_ref(from->s);
	snap_drop(to);
	*to = (struct snap){flat, state};
	mote_snapshot_get_info(flat, &info);
	CHECK(info.layer_count == 1 && info.dead_bytes == 0);
	uint8_t digest[2][MOTE_DIGEST_BYTES];
	OK(mote_snapshot_digest(flat, digest[0], &all.err));
	OK(mote_snapshot_digest(own, digest[1], &all.err));
	mote_snapshot_unref(own);
	CHECK_MEM(digest[0], digest[1], MOTE_DIGEST_BYTES);
	check_snap(to);
}

static void do_pool(const struct algebra_op *op)
{
	mote_engine *e = all.engine[op->a % ENGINES];
	const struct snap *from = snap_of(op->b);
	struct mote_engine_info info;
	uint32_t count = (op->c >> 4) % (POOL_MAX + 2);
	if (op->c % 4 == 0) {
		(void)mote_engine_trim(e, NULL);
		mote_engine_get_info(e, &info);
		CHECK_EQ(info.pool_count, 0);
	} else if (from && op->c % 4 == 1) {
		(void)mote_engine_trim(e, from->s);
		CHECK_EQ(mote__bag_count(e->pool, (uintptr_t)from->s), 0);
	} else if (from) {
		int rc = mote_engine_fill(e, from->s, count, &all.err);
		if (count > e->pool_max) {
			CHECK_EQ(rc, MOTE_EINVAL);
			return;
		}
		OK(rc);
		CHECK(mote__bag_count(e->pool, (uintptr_t)from->s) >= count);
	}
}

/* The embedder's pages: page i of the space is always one with the same bytes. */
static void do_map(const struct algebra_op *op)
{
	static _Alignas(4096) uint64_t memory[MAP_PAGES][PAGE / 8];
	struct box *b = &all.box[op->a % SANDBOXES];
	unsigned first = op->b % MAP_PAGES, count = 1 + op->c % 3;
	bool is_writable = op->c & 0x80, is_free = true;
	if (!b->s)
		return;
	if (count > MAP_PAGES - first)
		count = MAP_PAGES - first;
	for (unsigned i = first; i < first + count; i++) {
		const struct state state = {.page[0].base = MAP_FIRST + i};
		expected(&state, 0, memory[i]);
		is_free = is_free && b->state.page[MAP_FIRST + i].is == ABSENT;
	}
	const struct mote_mapping m = {.size = sizeof m,
				       .memory = memory[first],
				       .bytes = count * PAGE,
				       .gva = gva_of(b->s->snapshot, MAP_FIRST + first),
				       .access = is_writable ? MOTE_READ | MOTE_WRITE : MOTE_READ};
	int rc = mote_sandbox_map(b->s, &m, NULL, &all.err);
	if (b->is_poisoned || !is_free || !b->s->snapshot->layout.mapping_bytes) {
		CHECK_EQ(rc, b->is_poisoned ? MOTE_ESTATE : MOTE_EINVAL);
		return;
	}
	OK(rc);
	b->is_changed = true;
	for (unsigned i = first; i < first + count; i++)
		b->state.page[MAP_FIRST + i] = (struct page){
			.is = is_writable ? WRITABLE : CONSTANT, .base = MAP_FIRST + i};
	check_box(b);
}

/* ---- programs -------------------------------------------------------------------------------- */

/* The first two have scratch of one size and frames at one place, but other buffers and tables. */
static const struct mote_snapshot_options kinds[KINDS] = {
	{.size = sizeof kinds[0],
	 .heap_bytes = 4 << 20,
	 .stack_bytes = 0x10000,
	 .mapping_bytes = MAP_PAGES * PAGE,
	 .scratch_bytes = 2 << 20},
	{.size = sizeof kinds[0],
	 .heap_bytes = 2 << 20,
	 .stack_bytes = 0x10000,
	 .input_bytes = 0x5000,
	 .scratch_bytes = 2 << 20},
	{.size = sizeof kinds[0],
	 .stack_bytes = 0x10000,
	 .mapping_bytes = MAP_PAGES * PAGE,
	 .write_set_max = 20},
};

static void open_kind(unsigned kind)
{
	struct snap *base = &all.base[kind];
	const struct tiny_options o = {.is_confined = true, .data_bytes = DATA_PAGES * PAGE};
	const struct tiny_image image = tiny_guest(&o);
	memset(image.code, (int)(0x11 * (kind + 1)), 64);
	memset(image.data, (int)(0x22 * (kind + 1)), 160);
	OK(mote_snapshot_from_memory(image.bytes, image.len, &kinds[kind], &base->s, &all.err));
	base->state.kind = kind;
	base->state.page[CODE_PAGE].is = CONSTANT;
	for (unsigned i = MAP_FIRST; i < PAGES; i++)
		base->state.page[i].is = ABSENT;
	for (unsigned i = 0; i < MAP_FIRST; i++) {
		base->state.page[i].base = BASE_INITIAL;
		OK(mote_snapshot_read(base->s, gva_of(base->s, i), all.initial[kind][i], PAGE,
				      &all.err));
	}
	CHECK(all.initial[kind][0][0x80] == (uint8_t)(0x22 * (kind + 1)));
}

static void open_all(void)
{
	memset(&all, 0, sizeof all);
	memset(&script, 0, sizeof script);
	for (unsigned i = 0; i < ENGINES; i++) {
		all.hypervisor[i] = double_make(&guest);
		all.hypervisor[i]->is_closed = &all.is_closed[i];
		/* Without FSGSBASE, restores write registers. */
		if (i == 1)
			all.hypervisor[i]->base.cr4_offered = 0;
		OK(mote__engine_on(&all.hypervisor[i]->base, SIGRTMIN, i ? 0 : POOL_MAX,
				   &all.engine[i], &all.err));
	}
	OK(mote_host_create(&all.host, &all.err));
	for (unsigned i = 0; i < KINDS; i++)
		open_kind(i);
	const struct mote__layout *a = &all.base[0].s->layout, *b = &all.base[1].s->layout;
	CHECK(a->scratch_bytes == b->scratch_bytes && a->frames_offset == b->frames_offset);
	CHECK(a->tables_offset != b->tables_offset);
}

static void close_all(void)
{
	mote_host_unref(all.host);
	/* Parents before children, some sandboxes before, some after. */
	for (unsigned i = 0; i < SANDBOXES / 2; i++)
		box_drop(&all.box[i]);
	for (unsigned i = 0; i < KINDS; i++)
		snap_drop(&all.base[i]);
	for (unsigned i = 0; i < SNAPSHOTS; i++)
		snap_drop(&all.snap[i]);
	for (unsigned i = SANDBOXES / 2; i < SANDBOXES; i++)
		if (all.box[i].s)
			check_box(&all.box[i]);
	for (unsigned i = 0; i < ENGINES; i++)
		mote_engine_unref(all.engine[i]);
	for (unsigned i = SANDBOXES / 2; i < SANDBOXES; i++)
		box_drop(&all.box[i]);
	for (unsigned i = 0; i < ENGINES; i++)
		CHECK(all.is_closed[i]);
}

static void check_machines(void)
{
	for (unsigned e = 0; e < ENGINES; e++) {
		struct mote_engine_info info;
		unsigned count = 0;
		for (unsigned i = 0; i < SANDBOXES; i++)
			count += all.box[i].s && all.box[i].engine == e;
		mote_engine_get_info(all.engine[e], &info);
		CHECK(info.pool_count <= info.pool_max);
		CHECK_EQ(all.hypervisor[e]->machines, count + info.pool_count);
	}
}

/* One that the operation was not about. */
static void check_other(size_t at)
{
	const struct snap *s = snap_of((uint8_t)(at * 7));
	const struct box *b = &all.box[at % SANDBOXES];
	if (s)
		check_snap(s);
	if (b->s)
		check_box(b);
}

static unsigned open_files(void)
{
	unsigned count = 0;
	DIR *directory = opendir("/proc/self/fd");
	while (directory && readdir(directory))
		count++;
	if (directory)
		(void)closedir(directory);
	return count;
}

void algebra_run(const struct algebra_op *program, size_t count)
{
	static void (*const operations[])(const struct algebra_op *op) = {
		[ALGEBRA_GUEST] = do_guest,   [ALGEBRA_WRITE] = do_write,
		[ALGEBRA_TAKE] = do_take,     [ALGEBRA_RESTORE] = do_restore,
		[ALGEBRA_FORK] = do_fork,     [ALGEBRA_FLATTEN] = do_flatten,
		[ALGEBRA_DESTROY] = NULL,     [ALGEBRA_UNREF] = NULL,
		[ALGEBRA_POISON] = do_poison, [ALGEBRA_POOL] = do_pool,
		[ALGEBRA_CHAIN] = do_chain,   [ALGEBRA_MAP] = do_map,
	};
	unsigned files = open_files();
	open_all();
	for (algebra_at = 0; algebra_at < count; algebra_at++) {
		const struct algebra_op *op = &program[algebra_at];
		unsigned what = op->what % ALGEBRA_KINDS;
		if (what == ALGEBRA_DESTROY)
			box_drop(&all.box[op->a % SANDBOXES]);
		else if (what == ALGEBRA_UNREF)
			snap_drop(&all.snap[op->a % SNAPSHOTS]);
		else
			operations[what](op);
		check_machines();
		check_other(algebra_at);
	}
	close_all();
	CHECK_EQ(open_files(), files);
}

void algebra_describe(const struct algebra_op *op, char *text, size_t bytes)
{
	static const char *const names[] = {"guest",  "write",   "take",    "restore",
					    "fork",   "flatten", "destroy", "unref",
					    "poison", "pool",    "chain",   "map"};
	snprintf(text, bytes, "{ALGEBRA_%s, %u, %u, 0x%02x}", names[op->what % ALGEBRA_KINDS],
		 op->a, op->b, op->c);
}
