/*
 * Files of the write-ahead log by their names: what the server hands over and asks for, and how a
 * segment may lie in the archive.  What a whole folder says about one segment is wal_lookup.
 * Pure; names as in PostgreSQL, access/xlog_internal.h.
 */
#ifndef SOURCE_POSTGRES_WAL_NAMES_H
#define SOURCE_POSTGRES_WAL_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "source/postgres/lsn.h"

/* What the server archives. */
enum wal_file {
	WAL_FILE_OTHER,   /* no name of the server's */
	WAL_FILE_SEGMENT, /* 24 digits */
	WAL_FILE_HISTORY, /* "00000002.history" */
	WAL_FILE_LABEL,   /* "SEGMENT.00000028.backup": of a base backup, for people */
	WAL_FILE_PARTIAL, /* "SEGMENT.partial": the end of a timeline that a promotion left */
};
enum wal_file wal_file_of(const char *name);

/* How a segment lies in the archive. */
enum wal_form {
	WAL_FORM_NONE,   /* the name is not of a segment */
	WAL_FORM_PACKED, /* "NAME.zst" */
	WAL_FORM_PLAIN,  /* "NAME": the user's own */
	WAL_FORM_TAIL,   /* "NAME.partial": of full size, whole when a later segment is there */
	WAL_FORM_END,    /* "NAME.partial-0123abcd.zst": what the server itself archived as such */
};
enum { WAL_FORMS_SERVED = 3, WAL_STORED_NAME_SIZE = WAL_NAME_SIZE + 8 };

/* Which form a file of the archive has; *ret_name (WAL_NAME_SIZE) is the segment's name. */
enum wal_form wal_form_of(const char *stored, char *ret_name);

/* The file of segment `name` in one of the first three forms; `ret_stored` has
 * WAL_STORED_NAME_SIZE bytes.  Returns it. */
const char *wal_stored_name(const char *name, enum wal_form form, char *ret_stored);

/* What the folder says about one segment: begin, show it every file's name, ask. */
struct wal_lookup {
	const char *name;  /* a loan */
	uint64_t segments; /* of any timeline */
	bool has[WAL_FORM_END + 1];
	char later[WAL_NAME_SIZE]; /* the nearest later segment of the timeline, "" when none */
	char earlier[WAL_NAME_SIZE];
};
void wal_lookup_begin(struct wal_lookup *lookup, const char *name);
void wal_lookup_see(struct wal_lookup *lookup, const char *stored);

enum wal_answer {
	WAL_WHOLE,  /* it is there, and whole */
	WAL_TAIL,   /* its beginning is there, and nothing follows on the timeline */
	WAL_ABSENT, /* nothing of it, and nothing later */
	WAL_HOLE,   /* nothing of it, but the timeline goes on behind it */
};
enum wal_answer wal_lookup_answer(const struct wal_lookup *lookup);

#endif
