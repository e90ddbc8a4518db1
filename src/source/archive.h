/*
 * The place of a continuous stream in the store (a source's write-ahead log, a replication
 * stream): whole pieces, each written once, a tail that grows in place, and an index of what the
 * pieces hold.  Given by the engine; the driver knows what the names mean.
 *
 * The folder is what is true, the index is a cache of it: for a piece of ours the facts also
 * stand in the piece itself (a note behind its frames), so that `catalog rebuild` finds them.
 */
#ifndef SOURCE_ARCHIVE_H
#define SOURCE_ARCHIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/scope.h"
#include "base/vec.h"

struct archive;
struct blob;
struct err;
struct sink;
struct str;

/*
 * A file of the archive's folder, temporary ones left out.  A listing gives the names alone: to
 * look at each of a million files takes seconds.  archive_stat fills in the rest.
 */
struct archive_entry {
	char *name;                /* in the folder: "00000001000000000000000F.zst" */
	uint64_t bytes;            /* 0 in a listing */
	struct wall_time modified; /* 0 in a listing */
};
struct archive_listing {
	VEC(struct archive_entry) entries; /* in no order */
};
void archive_listing_done(struct archive_listing *listing);

/* For archive_scan; 0: go on, 1: enough, -1: failed.  The name is a loan. */
struct archive_visitor {
	int (*visit)(struct archive_visitor *visitor, const char *name, struct err *err);
};

enum piece_state {
	PIECE_FOUND,   /* it is there; nothing was looked at but its note */
	PIECE_SOUND,   /* read to its end and right, and it goes on where the one before ended */
	PIECE_DAMAGED, /* read and wrong: `message` says how */
};

/* What the index knows of one piece.  (branch, number) is its place, one piece for each. */
struct piece {
	uint32_t branch; /* timeline */
	uint64_t number; /* of the segment */
	enum piece_state state;
	bool is_stored_plain; /* "NAME", not "NAME.zst": the user's own */
	uint64_t stored_bytes;
	struct wall_time modified;   /* of the file, to see that it is the same */
	uint64_t end_position;       /* behind its last whole record; 0: none ends here */
	uint64_t commits;            /* records with a time that end here */
	struct wall_time first_time; /* 0: none */
	struct wall_time last_time;
	char *message; /* of a damaged one, NULL otherwise */
};
void piece_done(struct piece *piece);
struct pieces {
	VEC(struct piece) items; /* by branch, then number */
};
void pieces_done(struct pieces *pieces);

/* A named place in the stream (a restore point). */
struct archive_mark {
	uint32_t branch;
	uint64_t number; /* of the piece it lies in: they go together */
	uint64_t position;
	struct wall_time time;
	char *name;
};
struct archive_marks {
	VEC(struct archive_mark) items;
};
void archive_marks_done(struct archive_marks *marks);

/*
 * Something that happened to the stream and that must not be forgotten: a gap, a tail that was
 * set aside.  A record of its own in the store, written once.
 */
struct archive_event {
	const char *kind; /* "gap", "diverged", "slot-lost", "identity" */
	struct wall_time at;
	uint32_t branch;
	uint64_t from_position;
	uint64_t to_position; /* 0: not known */
	const char *text;     /* one line for people */
	bool is_once;         /* one of this kind at this time is the same, and noted already */
};

/* A run of pieces without a hole: numbers first..last of one branch, all there. */
struct archive_span {
	uint32_t branch;
	uint64_t first;
	uint64_t last;
	uint64_t not_sound_count; /* found, but not yet read */
	uint64_t damaged_count;
	uint64_t stored_bytes;
	uint64_t end_position;       /* the highest of its pieces */
	struct wall_time first_time; /* of its first piece that has one */
	struct wall_time last_time;  /* of its last piece that has one */
};
struct archive_spans {
	VEC(struct archive_span) items; /* by branch, then first */
};
void archive_spans_done(struct archive_spans *spans);

struct archive_ops {
	struct sink *(*put)(struct archive *archive, const char *name, struct err *err);
	struct blob *(*get)(struct archive *archive, const char *name, struct err *err);
	int (*remove)(struct archive *archive, const char *name, struct err *err);
	int (*scan)(struct archive *archive, struct archive_visitor *visitor, struct err *err);
	int (*stat)(struct archive *archive, struct archive_entry *entry, struct err *err);

	int (*index_put)(struct archive *archive, const struct piece *pieces, size_t count,
	    const struct archive_mark *marks, size_t marks_count, struct err *err);
	int (*index_remove)(struct archive *archive, uint32_t branch, uint64_t number,
	    struct err *err);
	int (*index_clear)(struct archive *archive, struct err *err);
	int (*index_list)(struct archive *archive, uint32_t branch, uint64_t first, uint64_t last,
	    struct pieces *ret_pieces, struct err *err);
	int (*index_spans)(struct archive *archive, struct archive_spans *ret_spans,
	    struct err *err);
	int (*index_marks)(struct archive *archive, const char *name,
	    struct archive_marks *ret_marks, struct err *err);
	int (*note_event)(struct archive *archive, const struct archive_event *event,
	    struct err *err);
	int (*claim)(struct archive *archive, const char *identity, struct err *err);
};

struct archive {
	const struct archive_ops *ops;
	char *label;        /* the source: "postgresql" */
	char *path;         /* its folder on this machine, exists: tails and spools live here */
	char *identity;     /* the source's, as the store knows it; NULL: nothing is known yet */
	unsigned file_mode; /* for files the driver makes itself */
	int file_gid;       /* -1: none */
};

/* A sink for a new file, durable when its finish returns 0.  ERR_EXISTS: the name is taken. */
struct sink *archive_put(struct archive *archive, const char *name, struct err *err) MUST_CHECK;
struct blob *archive_get(struct archive *archive, const char *name, struct err *err) MUST_CHECK;
int archive_remove(struct archive *archive, const char *name, struct err *err) MUST_CHECK;
/* Names alone: 1,000,000 files take less than a second.  archive_scan keeps none of them. */
int archive_list(struct archive *archive, struct archive_listing *ret_listing, struct err *err)
    MUST_CHECK;
int archive_scan(struct archive *archive, struct archive_visitor *visitor, struct err *err)
    MUST_CHECK;
/* Fill in bytes and modified of the file with this name; ERR_NOT_FOUND. */
int archive_stat(struct archive *archive, struct archive_entry *entry, struct err *err) MUST_CHECK;

/*
 * The index.  index_put inserts or replaces, all in one transaction, so many at once are cheap; a
 * piece that is replaced or removed loses the marks it had, then `marks` are added.
 */
int archive_index_put(struct archive *archive, const struct piece *pieces, size_t count,
    const struct archive_mark *marks, size_t marks_count, struct err *err) MUST_CHECK;
int archive_index_remove(struct archive *archive, uint32_t branch, uint64_t number, struct err *err)
    MUST_CHECK;
/* Forget all of it. */
int archive_index_clear(struct archive *archive, struct err *err) MUST_CHECK;
/* Pieces of one branch from `first` to `last`, both included. */
int archive_index_list(struct archive *archive, uint32_t branch, uint64_t first, uint64_t last,
    struct pieces *ret_pieces, struct err *err) MUST_CHECK;
/* All of it as spans: 1,000,000 pieces take less than half a second and 16 MiB. */
int archive_index_spans(struct archive *archive, struct archive_spans *ret_spans, struct err *err)
    MUST_CHECK;
/* Marks of this name, or all with NULL; by time. */
int archive_index_marks(struct archive *archive, const char *name, struct archive_marks *ret_marks,
    struct err *err) MUST_CHECK;

/*
 * Write down that the archive is of the source with this identity, where none was known; from then
 * on archive->identity says so.
 */
int archive_claim(struct archive *archive, const char *identity, struct err *err) MUST_CHECK;

/* Write the event down, durably, and log it as a warning. */
int archive_note_event(struct archive *archive, const struct archive_event *event, struct err *err)
    MUST_CHECK;

#endif
