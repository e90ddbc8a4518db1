/* Segments as they lie in the archive: opened, expanded, and whose they are. */
#ifndef SOURCE_POSTGRES_WAL_STORED_H
#define SOURCE_POSTGRES_WAL_STORED_H

#include <stdint.h>

#include "base/scope.h"

struct archive;
struct blob;
struct err;
struct sink;
struct str;

/* Open a file of the archive; *ret_blob is NULL when there is none of that name. */
int wal_stored_open(struct archive *archive, const char *stored, struct blob **ret_blob,
    struct err *err) MUST_CHECK;

/* Push its plain bytes into `to`, which is not finished; what ends in ".zst" is expanded. */
int wal_stored_read(struct blob *blob, struct sink *to, struct err *err) MUST_CHECK;

/* The same of a history file, of which nothing is pushed when it is not one: ERR_DATA. */
int wal_stored_read_history(struct blob *blob, const char *name, struct sink *to, struct err *err)
    MUST_CHECK;

/*
 * Compress a segment into `to`, which is taken over, with `workers` threads (0: the caller's).
 * Level 1 goes by a table that the processor's first cache holds: on log of four kinds of load it
 * takes a tenth to a sixth less time than zstd's own choice for such frames, and makes from 1.8 %
 * less to 1.2 % more of it (zstd 1.5.4). `note` is a loan, see stream/links.h.
 */
struct sink *wal_compress(struct sink *to, int level, unsigned workers, const struct str *note,
    struct err *err) MUST_CHECK;

/*
 * The system identifier that the archive's WAL must have: what the store knows of the source, else
 * that of a segment that is there; 0 when there is nothing to go by.
 */
int wal_archive_identifier(struct archive *archive, uint64_t *ret_identifier, struct err *err)
    MUST_CHECK;

#endif
