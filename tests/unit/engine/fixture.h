/*
 * An engine on a store in a temporary folder, a source that makes three small parts, and a store
 * in front of the real one whose n-th call fails.
 */
#ifndef TESTS_ENGINE_FIXTURE_H
#define TESTS_ENGINE_FIXTURE_H

#include <stdbool.h>

#include "engine/engine.h"
#include "source/source.h"
#include "store/store.h"

struct fixture {
	char *folder;
	struct engine engine;
	struct source source;
	const char *identity; /* what the source says it is */
	bool source_fails;    /* in the middle of its second part */
	bool source_dies;     /* there as well: the process ends at once */
};

/*
 * Every call of the store counts; call `fail_at` fails, 0: none.  A store may hang, so at each call
 * another process must be able to write to the catalog.
 */
struct faulty {
	struct store base;
	struct store *real;
	struct catalog *other; /* the same catalog, as another process has it */
	unsigned calls;
	unsigned fail_at;
};

void fixture_init(struct fixture *fixture);
void fixture_done(struct fixture *fixture);

/* The store of the fixture's engine, as the counting one. */
struct faulty *fixture_faulty(struct fixture *fixture);

/* Number of objects below `prefix` of the real store. */
size_t fixture_count(struct fixture *fixture, const char *prefix);

/* Every manifest in the store is whole: its files are there and their hashes are right. */
void fixture_assert_whole(struct fixture *fixture);

#endif
