/*
 * WAL that a real server wrote, for tests: made once by wal_world_start, in memory from then on.
 * BLACKSTART_TEST_BIN names another server than 15.
 */
#ifndef TESTS_UNIT_SOURCE_WAL_WORLD_H
#define TESTS_UNIT_SOURCE_WAL_WORLD_H

#include <stddef.h>
#include <stdint.h>

#include "base/vec.h"

enum { SEGMENT_BYTES = 1024 * 1024 };

struct segment {
	uint32_t timeline;
	uint64_t number;
	uint8_t *data;
};

struct run {
	VEC(struct segment) segments;
};

struct record {
	uint64_t lsn;
	uint64_t end; /* before padding */
};

struct wal_world {
	char folder[64];
	struct run plain; /* from the first switch to the second last */
	struct run promoted;
	struct run crashed;
	VEC(struct record) records; /* as pg_waldump tells */
	uint64_t commits;
	char last_commit[64];
	uint64_t system_identifier;
	unsigned major;
};

extern struct wal_world world;

/* Group fixtures of cmocka. */
int wal_world_start(void **state);
int wal_world_stop(void **state);

#endif
