/*
 * The messages of a copy, each in a place of ours.
 *
 * PQgetCopyData gets memory for each message, and copies it there: as a rule to an address that
 * lies a few bytes before its source within a page, for which processors that copy by `rep movsb`
 * take many times as long.  PQgetlineAsync, its predecessor, copies to where we say.
 */
#ifndef SOURCE_POSTGRES_COPY_DATA_INTERNAL_H
#define SOURCE_POSTGRES_COPY_DATA_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/scope.h"
#include "source/postgres/libpq_internal.h"

struct err;

/* Servers send at most 128 KiB and a header (MAX_SEND_SIZE in walsender.c). */
enum { PG_COPY_MAX_BYTES = 1024 * 1024 };

/* Zero before its first use; for one connection at a time. */
struct pg_copy_place {
	char *memory;
};
void pg_copy_place_done(struct pg_copy_place *place);

/*
 * The next message that has arrived whole, without waiting: *ret_data is a loan until the next
 * call, NULL when there is none yet, or when the copy is over.  `what` is said of a connection
 * that broke; ERR_PEER: a message is longer than any server sends.
 */
int pg_copy_take(struct pg_copy_place *place, PGconn *conn, const char *what, const char **ret_data,
    size_t *ret_size, bool *ret_is_over, struct err *err) MUST_CHECK;

#endif
