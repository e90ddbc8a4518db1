/* A tail that has ended becomes a compressed piece, and the index learns what pieces hold. */
#ifndef SOURCE_REDIS_STREAM_PACK_H
#define SOURCE_REDIS_STREAM_PACK_H

#include <stdbool.h>

#include "base/scope.h"
#include "source/redis/stream/piece.h"

struct archive;
struct err;
struct settle_report;
struct sink;

/*
 * Compress the tail of this name, which nobody writes to: durable and in the index, and only then
 * the tail is removed.  One without a command is removed alone.  ERR_DATA: it is damaged, and
 * stays.  *ret_is_packed may be NULL.
 */
int pack_tail(struct archive *archive, const char *name, bool *ret_is_packed, struct err *err)
    MUST_CHECK;

/* Read a piece of either form from begin to end; the reader is yours to end.  ERR_DATA. */
int pack_read(struct archive *archive, const char *name, enum piece_form form,
    struct piece_reader *ret_reader, struct err *err) MUST_CHECK;

/* Push the plain bytes of a piece into `to`, which is not finished. */
int pack_expand(struct archive *archive, const char *name, enum piece_form form, struct sink *to,
    struct err *err) MUST_CHECK;

/* Of a tail that may be growing or cut short: as far as it goes. */
int pack_read_open(struct archive *archive, const char *name, struct piece_reader *ret_reader,
    struct err *err) MUST_CHECK;

/*
 * Look at the whole folder: pack what has ended, read pieces that the index does not know, forget
 * those that are gone.  May be run beside a receiver, whose tail is locked.
 */
int pack_settle(struct archive *archive, struct settle_report *report, struct err *err) MUST_CHECK;

/*
 * Only what a receiver that was killed has left: tails that other pieces follow.  One that is
 * damaged is told in the log, and stays.
 */
int pack_settle_tails(struct archive *archive, struct err *err) MUST_CHECK;

#endif
