/* SPDX-License-Identifier: MIT */
/*
 * Programs of operations on snapshots and sandboxes, run on the test double against a model: what
 * each page of each sandbox and snapshot must hold. Guests touch memory through tests/lib/stub.h.
 * Every array of operations is a program: one that has nothing to work on does nothing, so that a
 * failing program stays one when others are dropped.
 */
#ifndef MOTE_TESTS_ALGEBRA_H
#define MOTE_TESTS_ALGEBRA_H

#include <stddef.h>
#include <stdint.h>

enum algebra_what {
	ALGEBRA_GUEST,   /* a: sandbox, b: page, c: how many and what */
	ALGEBRA_WRITE,   /* the host writes; a: sandbox, b: page, c: word and value */
	ALGEBRA_TAKE,    /* a: sandbox, b: where to */
	ALGEBRA_RESTORE, /* a: sandbox, b: snapshot, c: whether strict */
	ALGEBRA_FORK,    /* a: sandbox, b: snapshot, c: engine and limit of memory */
	ALGEBRA_FLATTEN, /* a: snapshot, b: where to */
	ALGEBRA_DESTROY, /* a: sandbox */
	ALGEBRA_UNREF,   /* a: snapshot */
	ALGEBRA_POISON,  /* a: sandbox, b: page that is written first, c: how */
	ALGEBRA_POOL,    /* a: engine, b: snapshot, c: fill or trim */
	ALGEBRA_CHAIN,   /* a: sandbox, b: page, c: how many snapshots in a row */
	ALGEBRA_MAP,     /* a: sandbox, b: page of the space for mappings, c: how many, access */
	ALGEBRA_KINDS,
};

struct algebra_op {
	uint8_t what, a, b, c;
};

/** Run a program; a property that does not hold ends in check_failed(). */
void algebra_run(const struct algebra_op *program, size_t count);
/** Number of the operation that runs, for messages. */
extern size_t algebra_at;
/** One line that describes an operation. */
void algebra_describe(const struct algebra_op *op, char *text, size_t bytes);

#endif
