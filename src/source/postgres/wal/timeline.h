/* History files: from the server into the archive, before anything else of a timeline. */
#ifndef SOURCE_POSTGRES_WAL_TIMELINE_H
#define SOURCE_POSTGRES_WAL_TIMELINE_H

#include <stdint.h>

#include "base/scope.h"
#include "source/postgres/wal/history.h"

struct archive;
struct err;
struct wal_stream;

/*
 * The history of `timeline` as the server tells it, stored durably; timeline 1 has none.
 * ERR_REFUSED when the archive has another file of that name: two servers were promoted from one.
 */
int wal_timeline_fetch(struct wal_stream *stream, struct archive *archive, uint32_t timeline,
    struct wal_history *ret_history, struct err *err) MUST_CHECK;

/* The timeline that came after `timeline` in this history: its own when there is none between. */
uint32_t wal_timeline_after(const struct wal_history *history, uint32_t timeline);

#endif
