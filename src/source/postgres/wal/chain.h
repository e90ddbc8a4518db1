/*
 * Segments of one timeline read one behind the other by one reader, so that the record that
 * crosses from one into the next is checked, and counted where it ends.
 */
#ifndef SOURCE_POSTGRES_WAL_CHAIN_H
#define SOURCE_POSTGRES_WAL_CHAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/scope.h"
#include "source/postgres/wal/names.h"
#include "source/postgres/wal/note.h"

struct archive;
struct err;
struct sink;
struct wal_reader;

/* Zero but for the first three. */
struct wal_chain {
	struct archive *archive;
	uint64_t segment_bytes;
	uint64_t system_identifier; /* 0: that of the first one read */

	struct wal_reader *reader; /* NULL: none is under way */
	uint32_t timeline;
	uint64_t next; /* the segment that it goes on with */
};
void wal_chain_done(struct wal_chain *chain);

/* A segment to read, as it lies in the archive. */
struct wal_link {
	uint32_t timeline;
	uint64_t number;
	enum wal_form form;
};

/*
 * Read it to its end, page by page and record by record, behind the one before if that is known
 * to be sound; its plain bytes also go into `also` (NULL: nowhere), which is not finished.
 * ERR_DATA: it is damaged, cut off or of another system; the chain is broken then.
 * *ret_crossing is where the record begins that came from an earlier segment and was still open,
 * 0: none; set on failure too.  wal_note_done frees the note.
 */
int wal_chain_read(struct wal_chain *chain, const struct wal_link *link, struct sink *also,
    struct wal_note *ret_note, uint64_t *ret_crossing, struct err *err) MUST_CHECK;

/* The same, whatever was before it. */
int wal_chain_read_alone(struct wal_chain *chain, const struct wal_link *link,
    struct wal_note *ret_note, struct err *err) MUST_CHECK;

/*
 * Read on, into the segments that follow, until a record that begins in them is whole: so the one
 * that crosses into them is right, and theirs hangs on it.  Not joined: they hold no such record.
 * The chain is broken behind it.
 */
int wal_chain_join(struct wal_chain *chain, const struct wal_link *links, size_t count,
    bool *ret_is_joined, struct err *err) MUST_CHECK;

/* As if nothing was read before. */
void wal_chain_break(struct wal_chain *chain);

#endif
