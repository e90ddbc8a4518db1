/*
 * A timeline's history: the file 0000000X.history, and which WAL belongs to it.
 *
 * Each line is a timeline that it comes from, the position where that one was left, and why
 * ("1\t0/3000000\tno recovery target specified"); blank lines and those that begin with '#' say
 * nothing.  Timeline 1 has no file.
 */
#ifndef SOURCE_POSTGRES_WAL_HISTORY_H
#define SOURCE_POSTGRES_WAL_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/scope.h"
#include "base/vec.h"

struct err;

enum { WAL_HISTORY_MAX_BYTES = 1024 * 1024 };

struct wal_branch {
	uint32_t timeline;
	uint64_t switch_lsn; /* its WAL counts up to here */
	char *reason;
};

struct wal_history {
	uint32_t timeline;
	VEC(struct wal_branch) parents; /* oldest first; switch_lsn never decreases */
};

/* ERR_DATA names the line that is wrong.  No text at all is right for timeline 1 alone. */
int wal_history_parse(uint32_t timeline, const char *text, size_t size,
    struct wal_history *ret_history, struct err *err) MUST_CHECK;
void wal_history_done(struct wal_history *history);

/* Which timeline's WAL holds the byte at `lsn`. */
uint32_t wal_history_timeline_at(const struct wal_history *history, uint64_t lsn);

/* Does the byte at `lsn` of this timeline's WAL belong to the history? */
bool wal_history_has(const struct wal_history *history, uint32_t timeline, uint64_t lsn);

/* Where `timeline` was left on the way; false when it is no ancestor. */
bool wal_history_switch(const struct wal_history *history, uint32_t timeline, uint64_t *ret_lsn);

#endif
