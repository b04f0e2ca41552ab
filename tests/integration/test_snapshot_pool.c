/* SPDX-License-Identifier: MIT */
/*
 * Pools and forks: shells are made ahead, used, bounded and given back; a fork from the pool makes
 * no virtual machine and is what a new one is; many threads fork, restore, take and drop one family
 * of snapshots in every order, and nothing is left open.
 */
#include "snapshot_world.h"

#include <dirent.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>

static atomic_uint machines_made;

int __real_mote__sys_ioctl(int fd, unsigned long request, void *argument);
int __wrap_mote__sys_ioctl(int fd, unsigned long request, void *argument);

int __wrap_mote__sys_ioctl(int fd, unsigned long request, void *argument)
{
	if (request == KVM_CREATE_VM)
		atomic_fetch_add(&machines_made, 1);
	return __real_mote__sys_ioctl(fd, request, argument);
}

#define POOL    6u
#define FAMILY  4u /* snapshots with numbers of their own in the data */
#define THREADS 4u

struct pool {
	struct system s;
	mote_engine *engine; /* of its own */
	mote_snapshot *family[FAMILY];
	uint64_t places[SNAP_PLACES];
};

static uint64_t base_of(uint32_t member)
{
	return 1000000u * (member + 1u);
}

static void open_pool(struct pool *p)
{
	const struct mote_engine_options options = {.size = sizeof options, .pool_max = POOL};
	struct system *s = &p->s;
	memset(p, 0, sizeof *p);
	OPEN(s, "snap_probe", .snapshot.heap_bytes = 0x40000, .snapshot.write_set_max = 32);
	OK(s, mote_engine_create(&options, &p->engine, &s->err));
	snap_find_places(s, p->places);
	for (uint32_t i = 0; i < FAMILY; i++) {
		CALL_VOID(s, "touch", mote_u64(p->places[SNAP_PLACE_DATA]), mote_u64(SNAP_PAGES),
			  mote_u64(base_of(i)));
		OK(s, mote_snapshot_take(s->sandbox, NULL, &p->family[i], &s->err));
	}
}

static void close_pool(struct pool *p)
{
	for (uint32_t i = 0; i < FAMILY; i++)
		mote_snapshot_unref(p->family[i]);
	mote_engine_unref(p->engine);
	system_close(&p->s);
}

static uint32_t count_of(const mote_engine *engine)
{
	struct mote_engine_info info;
	mote_engine_get_info(engine, &info);
	return info.pool_count;
}

static mote_sandbox *fork_of(struct pool *p, mote_snapshot *snapshot)
{
	mote_sandbox *sandbox = NULL;
	OK(&p->s, mote_sandbox_create(p->engine, snapshot, p->s.host, NULL, &sandbox, &p->s.err));
	return sandbox;
}

static unsigned open_files(void)
{
	unsigned count = 0;
	DIR *directory = opendir("/proc/self/fd");
	CHECK(directory);
	while (readdir(directory))
		count++;
	CHECK(closedir(directory) == 0);
	return count;
}

/* ---- one thread ------------------------------------------------------------------------------ */

TEST(snapshot_pool__fill_makes_shells_that_are_used)
{
	struct pool p;
	mote_sandbox *sandboxes[POOL];
	open_pool(&p);
	OK(&p.s, mote_engine_fill(p.engine, p.family[0], POOL, &p.s.err));
	CHECK_EQ(count_of(p.engine), POOL);
	unsigned before = atomic_load(&machines_made);
	OK(&p.s, mote_engine_fill(p.engine, p.family[0], POOL, &p.s.err));
	for (uint32_t i = 0; i < POOL; i++)
		sandboxes[i] = fork_of(&p, p.family[0]);
	CHECK_EQ(atomic_load(&machines_made), before);
	CHECK_EQ(count_of(p.engine), 0);
	for (uint32_t i = 0; i < POOL; i++)
		mote_sandbox_destroy(sandboxes[i]);
	CHECK_EQ(count_of(p.engine), POOL);
	close_pool(&p);
}

TEST(snapshot_pool__a_shell_takes_another_snapshot)
{
	struct pool p;
	open_pool(&p);
	OK(&p.s, mote_engine_fill(p.engine, p.family[0], 1, &p.s.err));
	unsigned before = atomic_load(&machines_made);
	mote_sandbox *mine = p.s.sandbox;
	for (uint32_t i = 1; i < FAMILY; i++) {
		p.s.sandbox = fork_of(&p, p.family[i]);
		CHECK_EQ(CALL_U64(&p.s, "read64", mote_u64(p.places[SNAP_PLACE_DATA] + 0x3000)),
			 base_of(i) + 3);
		mote_sandbox_destroy(p.s.sandbox);
	}
	p.s.sandbox = mine;
	CHECK_EQ(atomic_load(&machines_made), before);
	close_pool(&p);
}

TEST(snapshot_pool__is_bounded)
{
	struct pool p;
	mote_sandbox *sandboxes[2 * POOL];
	open_pool(&p);
	for (uint32_t i = 0; i < 2 * POOL; i++)
		sandboxes[i] = fork_of(&p, p.family[i % FAMILY]);
	for (uint32_t i = 0; i < 2 * POOL; i++) {
		mote_sandbox_destroy(sandboxes[i]);
		CHECK_EQ(count_of(p.engine), i + 1 < POOL ? i + 1 : POOL);
	}
	CHECK_EQ(mote_engine_fill(p.engine, p.family[0], POOL + 1, &p.s.err), MOTE_EINVAL);
	CHECK_HAS(p.s.err.message, "7");
	/* Shells of other snapshots make room. */
	OK(&p.s, mote_engine_fill(p.engine, p.family[1], POOL, &p.s.err));
	CHECK_EQ(count_of(p.engine), POOL);
	CHECK_EQ(mote_engine_trim(p.engine, p.family[1]), POOL);
	CHECK_EQ(count_of(p.engine), 0);
	close_pool(&p);
}

TEST(snapshot_pool__trim_takes_one_snapshots_shells_or_all)
{
	struct pool p;
	open_pool(&p);
	OK(&p.s, mote_engine_fill(p.engine, p.family[0], 2, &p.s.err));
	OK(&p.s, mote_engine_fill(p.engine, p.family[1], 3, &p.s.err));
	CHECK_EQ(count_of(p.engine), 5);
	CHECK_EQ(mote_engine_trim(p.engine, p.family[0]), 2);
	CHECK_EQ(mote_engine_trim(p.engine, p.family[0]), 0);
	CHECK_EQ(count_of(p.engine), 3);
	CHECK_EQ(mote_engine_trim(p.engine, NULL), 3);
	CHECK_EQ(count_of(p.engine), 0);
	close_pool(&p);
}

TEST(snapshot_pool__an_engine_without_one_keeps_nothing)
{
	struct pool p;
	mote_sandbox *sandbox = NULL;
	open_pool(&p);
	OK(&p.s, mote_sandbox_create(snap_plain_engine(), p.family[0], p.s.host, NULL, &sandbox,
				     &p.s.err));
	mote_sandbox_destroy(sandbox);
	CHECK_EQ(count_of(snap_plain_engine()), 0);
	CHECK_EQ(mote_engine_fill(snap_plain_engine(), p.family[0], 1, &p.s.err), MOTE_EINVAL);
	close_pool(&p);
}

/* Options are the new owner's. */
TEST(snapshot_pool__a_shell_has_its_new_owners_options)
{
	struct pool p;
	open_pool(&p);
	struct system *s = &p.s;
	mote_sandbox *mine = s->sandbox, *first = NULL;
	const uint64_t heap = p.places[SNAP_PLACE_HEAP];
	const struct mote_sandbox_options large = {.size = sizeof large,
						   .strict = 1,
						   .user_data = s},
					  small = {.size = sizeof small, .memory_max = 0x18000};
	OK(s, mote_sandbox_create(p.engine, p.family[0], s->host, &large, &first, &s->err));
	s->sandbox = first;
	CALL_VOID(s, "touch", mote_u64(heap), mote_u64(30), mote_u64(1));
	/* Its write set grows to all that it may have. */
	for (int i = 0; i < 3; i++) {
		const struct mote_restore_options options = {.size = sizeof options};
		OK(s, mote_sandbox_restore(s->sandbox, p.family[0], &options, &s->err));
		CALL_VOID(s, "touch", mote_u64(heap), mote_u64(30), mote_u64(1));
	}
	mote_sandbox_destroy(first);
	OK(s, mote_sandbox_create(p.engine, p.family[0], s->host, NULL, &s->sandbox, &s->err));
	for (int i = 0; i < 3; i++) {
		OK(s, mote_sandbox_restore(s->sandbox, p.family[0], NULL, &s->err));
		CALL_VOID(s, "touch", mote_u64(heap), mote_u64(30), mote_u64(1));
	}
	OK(s, mote_sandbox_restore(s->sandbox, p.family[0], NULL, &s->err));
	CHECK(system_statistics(s).restores > 0); /* not strict any more */
	mote_sandbox_destroy(s->sandbox);
	OK(s, mote_sandbox_create(p.engine, p.family[0], s->host, &small, &s->sandbox, &s->err));
	struct mote_statistics pooled = system_statistics(s), fresh;
	CHECK(mote_sandbox_user_data(s->sandbox) == NULL);
	CHECK_EQ(pooled.frames_max, 0x18);
	CHECK_EQ(pooled.restores + pooled.calls + pooled.vm_entries, 0);
	mote_sandbox *other = NULL;
	OK(s,
	   mote_sandbox_create(snap_plain_engine(), p.family[0], s->host, &small, &other, &s->err));
	mote_sandbox_get_statistics(other, &fresh, sizeof fresh);
	mote_sandbox_destroy(other);
	check_note("%llu frames of %llu, a new one has %llu",
		   (unsigned long long)pooled.frames_used, (unsigned long long)pooled.frames_max,
		   (unsigned long long)fresh.frames_used);
	/* Learned pages are beside what the owner may have. */
	CHECK(pooled.frames_used > pooled.frames_max);
	CHECK_EQ(pooled.frames_used, fresh.frames_used);
	CALL_VOID(s, "touch", mote_u64(p.places[SNAP_PLACE_ZEROES] + 8 * 4096), mote_u64(12),
		  mote_u64(1));
	CALL_VOID(s, "touch", mote_u64(p.places[SNAP_PLACE_ZEROES]), mote_u64(3), mote_u64(1));
	mote_sandbox_destroy(s->sandbox);
	s->sandbox = mine;
	close_pool(&p);
}

TEST(snapshot_pool__poisoned_sandboxes_come_back_clean)
{
	struct pool p;
	open_pool(&p);
	struct system *s = &p.s;
	mote_sandbox *mine = s->sandbox;
	for (uint32_t how = 0; how < SNAP_ENDS; how++) {
		struct mote_call call = *CALL_OF("end_badly", MOTE_VOID, mote_u32(how));
		call.timeout_ns = 3000000;
		s->sandbox = fork_of(&p, p.family[how % FAMILY]);
		CALL_VOID(s, "touch", mote_u64(p.places[SNAP_PLACE_DATA]), mote_u64(SNAP_PAGES),
			  mote_u64(5));
		(void)!mote_sandbox_call(s->sandbox, &call, NULL, &s->err);
		mote_sandbox_destroy(s->sandbox);
		s->sandbox = fork_of(&p, p.family[how % FAMILY]);
		CHECK_EQ(mote_sandbox_state(s->sandbox), MOTE_STATE_READY);
		char text[SNAP_TEXT_BYTES];
		if (!snap_is_restored(s->sandbox, p.family[how % FAMILY], text))
			check_failed(__FILE__, __LINE__, "after end %u: %s", how, text);
		CALL_VOID(s, "nothing");
		mote_sandbox_destroy(s->sandbox);
	}
	s->sandbox = mine;
	close_pool(&p);
}

/* Each generation's parent is gone before the next one is made. */
TEST(snapshot_pool__children_outlive_their_parents)
{
	struct pool p;
	open_pool(&p);
	struct system *s = &p.s;
	mote_sandbox *mine = s->sandbox;
	const uint64_t data = p.places[SNAP_PLACE_DATA];
	mote_snapshot *parent = mote_snapshot_ref(p.family[0]), *child = NULL;
	unsigned files = 0;
	for (uint32_t i = 0; i < 80; i++) {
		s->sandbox = fork_of(&p, parent);
		CHECK_EQ(CALL_U64(s, "read64", mote_u64(data + 8)), i ? i - 1 : 0);
		CALL_VOID(s, "write64", mote_u64(data + 8), mote_u64(i));
		CALL_VOID(s, "write64", mote_u64(data + i * SNAP_PAGE_BYTES + 16), mote_u64(i + 7));
		OK(s, mote_snapshot_take(s->sandbox, NULL, &child, &s->err));
		mote_snapshot_unref(parent);
		if (i % 2)
			mote_sandbox_destroy(s->sandbox);
		(void)mote_engine_trim(p.engine, NULL);
		if (i % 2 == 0)
			mote_sandbox_destroy(s->sandbox);
		parent = child;
		if (i == 40)
			files = open_files();
	}
	/* Layers are made into one now and then: files do not add up. */
	CHECK(open_files() <= files + 32);
	(void)mote_engine_trim(p.engine, NULL);
	s->sandbox = fork_of(&p, parent);
	for (uint32_t i = 0; i < 80; i++)
		CHECK_EQ(CALL_U64(s, "read64", mote_u64(data + i * SNAP_PAGE_BYTES + 16)), i + 7);
	mote_snapshot_unref(parent);
	CALL_VOID(s, "nothing");
	mote_sandbox_destroy(s->sandbox);
	s->sandbox = mine;
	close_pool(&p);
}

TEST(snapshot_pool__nothing_is_left_open)
{
	struct pool p;
	(void)snap_plain_engine();
	(void)mote_engine_trim(system_engine(), NULL);
	unsigned before = open_files();
	open_pool(&p);
	OK(&p.s, mote_engine_fill(p.engine, p.family[2], POOL, &p.s.err));
	mote_sandbox_destroy(fork_of(&p, p.family[1]));
	close_pool(&p);
	(void)mote_engine_trim(system_engine(), NULL);
	CHECK_EQ(open_files(), before);
}

/* ---- threads --------------------------------------------------------------------------------- */

/* A check in another thread would jump to the wrong stack: threads report by their result. */
struct worker {
	struct pool *p;
	uint64_t random, lives;
	double end;
	char text[SNAP_TEXT_BYTES];
};

static bool call64(struct worker *w, mote_sandbox *sandbox, const char *function, uint64_t a,
		   uint64_t b, uint32_t result, uint64_t *value)
{
	struct mote_error err;
	struct mote_value v = mote_void();
	const struct mote_value arguments[] = {mote_u64(a), mote_u64(b)};
	const struct mote_call call = {.size = sizeof call,
				       .function = function,
				       .arguments = arguments,
				       .argument_count = result == MOTE_VOID ? 2 : 1,
				       .result = result};
	int rc = mote_sandbox_call(sandbox, &call, &v, &err);
	if (rc < 0)
		return snap_failed(w->text, function, rc, &err);
	*value = v.u64;
	return true;
}

static uint64_t page_at(const struct worker *w, uint64_t page)
{
	return w->p->places[SNAP_PLACE_DATA] + page * SNAP_PAGE_BYTES;
}

/* Some pages have the numbers of a member of the family, but for one that has another number. */
static bool has_numbers(struct worker *w, mote_sandbox *sandbox, uint32_t member, uint64_t except,
			uint64_t number)
{
	for (int i = 0; i < 4; i++) {
		uint64_t page = i ? snap_below(&w->random, SNAP_PAGES) : except, value = 0;
		if (!call64(w, sandbox, "read64", page_at(w, page), 0, MOTE_U64, &value))
			return false;
		uint64_t wanted = page == except && number ? number : base_of(member) + page;
		if (value != wanted) {
			(void)snprintf(w->text, sizeof w->text, "page %llu has %llu, not %llu",
				       (unsigned long long)page, (unsigned long long)value,
				       (unsigned long long)wanted);
			return false;
		}
	}
	return true;
}

static bool make(struct worker *w, mote_snapshot *snapshot, mote_sandbox **sandbox)
{
	struct mote_error err;
	int rc = mote_sandbox_create(w->p->engine, snapshot, w->p->s.host, NULL, sandbox, &err);
	return rc == MOTE_OK || snap_failed(w->text, "create", rc, &err);
}

/* A child with a number of its own, and a fork of it; parents go first, or last. */
static bool have_a_child(struct worker *w, mote_sandbox **sandbox, uint32_t member)
{
	uint64_t page = snap_below(&w->random, SNAP_PAGES), ignored;
	uint64_t number = 1 + (check_random(&w->random) >> 1);
	struct mote_error err;
	mote_snapshot *child = NULL;
	mote_sandbox *fork = NULL;
	if (!call64(w, *sandbox, "write64", page_at(w, page), number, MOTE_VOID, &ignored))
		return false;
	int rc = mote_snapshot_take(*sandbox, NULL, &child, &err);
	if (rc < 0)
		return snap_failed(w->text, "take", rc, &err);
	if (snap_below(&w->random, 2)) {
		mote_sandbox_destroy(*sandbox);
		*sandbox = NULL;
	}
	bool is_good = make(w, child, &fork);
	if (snap_below(&w->random, 2)) {
		mote_snapshot_unref(child);
		child = NULL;
	}
	is_good = is_good && has_numbers(w, fork, member, page, number);
	if (is_good && child) {
		rc = mote_sandbox_restore(fork, child, NULL, &err);
		is_good = rc == MOTE_OK ? has_numbers(w, fork, member, page, number)
					: snap_failed(w->text, "restore", rc, &err);
	}
	mote_sandbox_destroy(fork);
	mote_snapshot_unref(child);
	return is_good;
}

static bool live(struct worker *w)
{
	uint32_t member = (uint32_t)snap_below(&w->random, FAMILY);
	mote_sandbox *sandbox = NULL;
	struct mote_error err;
	if (!make(w, w->p->family[member], &sandbox))
		return false;
	bool is_good = has_numbers(w, sandbox, member, 0, 0);
	for (uint64_t i = snap_below(&w->random, 4); i > 0 && is_good; i--) {
		uint64_t page = snap_below(&w->random, SNAP_PAGES), ignored;
		is_good = call64(w, sandbox, "write64", page_at(w, page), i, MOTE_VOID, &ignored) &&
			  has_numbers(w, sandbox, member, page, i);
		if (snap_below(&w->random, 3) == 0)
			member = (uint32_t)snap_below(&w->random, FAMILY);
		int rc = mote_sandbox_restore(sandbox, w->p->family[member], NULL, &err);
		is_good = is_good && (rc == MOTE_OK ? has_numbers(w, sandbox, member, 0, 0)
						    : snap_failed(w->text, "restore", rc, &err));
	}
	if (is_good && snap_below(&w->random, 3) == 0)
		is_good = have_a_child(w, &sandbox, member);
	mote_sandbox_destroy(sandbox);
	w->lives++;
	return is_good;
}

static void *work(void *cookie)
{
	struct worker *w = cookie;
	while (snap_now() < w->end && !w->text[0])
		if (!live(w) && !w->text[0])
			(void)snprintf(w->text, sizeof w->text, "failed");
	return NULL;
}

/* The pool is filled and emptied meanwhile. */
static void *disturb(void *cookie)
{
	struct worker *w = cookie;
	struct mote_error err;
	while (snap_now() < w->end && !w->text[0]) {
		mote_snapshot *snapshot = w->p->family[snap_below(&w->random, FAMILY)];
		uint32_t count = (uint32_t)snap_below(&w->random, POOL + 1);
		int rc = mote_engine_fill(w->p->engine, snapshot, count, &err);
		if (rc < 0)
			(void)snap_failed(w->text, "fill", rc, &err);
		if (snap_below(&w->random, 2))
			(void)mote_engine_trim(w->p->engine,
					       snap_below(&w->random, 2) ? snapshot : NULL);
		if (count_of(w->p->engine) > POOL)
			(void)snprintf(w->text, sizeof w->text, "the pool has %u shells",
				       count_of(w->p->engine));
		w->lives++;
	}
	return NULL;
}

TEST(snapshot_pool__threads_fork_restore_take_and_drop_in_every_order)
{
	struct pool p;
	struct worker workers[THREADS];
	pthread_t threads[THREADS];
	open_pool(&p);
	uint64_t seed = snap_seed();
	double end = snap_deadline(4);
	for (uint32_t i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){.p = &p, .random = seed + 2 * i, .end = end};
		CHECK(pthread_create(&threads[i], NULL, i ? work : disturb, &workers[i]) == 0);
	}
	for (uint32_t i = 0; i < THREADS; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
	for (uint32_t i = 0; i < THREADS; i++)
		if (workers[i].text[0])
			check_failed(__FILE__, __LINE__, "thread %u, life %llu: %s", i,
				     (unsigned long long)workers[i].lives, workers[i].text);
	check_note("%llu lives",
		   (unsigned long long)(workers[1].lives + workers[2].lives + workers[3].lives));
	CHECK(count_of(p.engine) <= POOL);
	close_pool(&p);
}

/* The last reference of a snapshot goes in any thread. */
static void *drop(void *cookie)
{
	mote_snapshot_unref(cookie);
	return NULL;
}

TEST(snapshot_pool__references_are_dropped_in_any_thread)
{
	struct pool p;
	pthread_t threads[FAMILY];
	open_pool(&p);
	mote_sandbox *sandbox = fork_of(&p, p.family[1]);
	OK(&p.s, mote_engine_fill(p.engine, p.family[2], 2, &p.s.err));
	for (uint32_t i = 0; i < FAMILY; i++)
		CHECK(pthread_create(&threads[i], NULL, drop, p.family[i]) == 0);
	for (uint32_t i = 0; i < FAMILY; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
	mote_sandbox *mine = p.s.sandbox;
	p.s.sandbox = sandbox;
	CHECK_EQ(CALL_U64(&p.s, "read64", mote_u64(p.places[SNAP_PLACE_DATA])), base_of(1));
	mote_sandbox_destroy(sandbox);
	p.s.sandbox = mine;
	memset(p.family, 0, sizeof p.family);
	close_pool(&p);
}
