/*
 * What there is to recover with, as plain facts: base backups, runs of whole segments, tails that
 * still grow, histories of timelines.  survey_read collects them from the manifests and the
 * archive; path.c, window.c and choose.c reason about them without touching anything.
 */
#ifndef SOURCE_POSTGRES_WAL_SURVEY_H
#define SOURCE_POSTGRES_WAL_SURVEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/scope.h"
#include "base/vec.h"
#include "source/archive.h"
#include "source/postgres/wal/history.h"

struct err;
struct manifest;

/* A base backup.  Recovery of it reads WAL from start_lsn on, is consistent from end_lsn on. */
struct wal_base {
	const char *id; /* a loan of its manifest */
	size_t index;   /* of that manifest among those given */
	uint32_t start_timeline;
	uint32_t end_timeline;
	uint64_t start_lsn;
	uint64_t end_lsn;
	struct wall_time consistent_at;
	bool has_wal;      /* the segments of start_lsn to end_lsn lie in it */
	uint64_t next_xid; /* no transaction before it ran at the end; 0: not known */
};

/* A segment that is stored as it grows.  One that is followed by another is whole. */
struct wal_tail {
	uint32_t timeline;
	uint64_t segment;
	bool is_whole;
	bool is_read;                /* what follows is known */
	uint64_t end_lsn;            /* behind its last whole record, 0: none ends in it */
	uint64_t last_lsn;           /* where that one begins, 0: before the segment */
	struct wall_time first_time; /* of its first commit, 0: none */
	struct wall_time last_time;
	struct wall_time modified;
};

/* A history file of the archive. */
struct wal_lineage {
	struct wal_history history;
	struct wall_time modified; /* when it arrived */
};

struct wal_survey {
	uint64_t segment_bytes;
	VEC(struct wal_base) bases; /* of this system, in no order */
	/*
	 * Whole segments, by timeline, then number.  None of them is damaged, and none reaches
	 * from before into the segment where another timeline leaves this one: survey_read cuts
	 * the index's spans there, so that the times of each part are right.
	 */
	VEC(struct archive_span) spans;
	VEC(struct wal_tail) tails;       /* by timeline, then number */
	VEC(struct wal_lineage) lineages; /* by timeline; timeline 1 has none */
	VEC(struct archive_mark) marks;   /* restore points in tails; the others are in the index */
	uint64_t not_indexed_count;       /* whole segments in the folder that nobody looked at */
	uint64_t damaged_count;
	uint32_t damaged_timeline; /* of the first damaged one ... */
	uint64_t damaged_segment;  /* ... and its number */
	uint64_t removed_count;    /* known to the index, gone from the folder */
	VEC(char *) warnings;
	struct mono_time read_at;
};
void wal_survey_done(struct wal_survey *survey);
void wal_survey_free(struct wal_survey *survey); /* of one on the heap; NULL is ok */

/*
 * Collect it.  Bases of another system or another size of segments are left out, with a warning.
 * Only the index is written, when there are segments that it does not know.  1,000,000 indexed
 * segments take well under a second.
 */
int wal_survey_read(struct archive *archive, const struct manifest *const *bases,
    size_t bases_count, struct wal_survey *ret_survey, struct err *err) MUST_CHECK;

/*
 * The same for one base and one timeline (0: the base's own): nothing else is looked at.
 */
int wal_survey_read_way(struct archive *archive, const struct manifest *base, uint32_t timeline,
    struct wal_survey *ret_survey, struct err *err) MUST_CHECK;

/*
 * The same out of `known`, which wal_survey_read made and this empties (NULL is ok): false when it
 * is too old to be relied on, or empty.  To read a million segments again within the same
 * second tells nothing new.
 */
bool wal_survey_take_way(struct wal_survey *known, const struct archive *archive,
    const struct manifest *base, struct wal_survey *ret_survey);

/*
 * Read the tail that `tail` names (timeline, segment) and fill in what it holds; restore points go
 * to `survey` unless that is NULL.  ERR_NOT_FOUND: it is not there.
 */
int wal_tail_read(const struct archive *archive, uint64_t segment_bytes, struct wal_tail *tail,
    struct wal_survey *survey, struct err *err) MUST_CHECK;

/* The history of a timeline, or NULL: it begins here as far as is known. */
const struct wal_lineage *wal_survey_lineage(const struct wal_survey *survey, uint32_t timeline);

#endif
