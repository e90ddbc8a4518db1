/*
 * The way of recovery along one timeline: the WAL of its ancestors up to where each was left,
 * then its own, as runs without a hole; and which timeline is the main one.
 *
 * Recovery reads a segment in which a timeline begins from that timeline, for it repeats what its
 * parent had in it (PostgreSQL, access/transam/xlogrecovery.c, XLogFileReadAnyTLI).
 */
#ifndef SOURCE_POSTGRES_WAL_PATH_H
#define SOURCE_POSTGRES_WAL_PATH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/scope.h"
#include "base/vec.h"

struct wal_base;
struct wal_survey;

/* Segments first..last of a path, all there. */
struct wal_run {
	uint32_t timeline; /* of its last segment */
	uint64_t first;
	uint64_t last;
	uint64_t end_lsn;  /* behind the last whole record that is known, 0: none */
	uint64_t last_lsn; /* where that one begins; 0: not known */
	struct wall_time first_time;
	struct wall_time last_time;
	struct wall_time seen; /* when its tail was written last; 0: it has none */
	uint64_t not_sound_count;
	uint64_t stored_bytes;
	bool is_cut; /* its last segment is not whole, though WAL follows: nothing can */
};

/* The part of a path that one timeline holds. */
struct wal_leg {
	uint32_t timeline;
	uint64_t first;
	uint64_t last; /* UINT64_MAX: for ever */
};

struct wal_path {
	uint32_t timeline;
	VEC(struct wal_leg) legs; /* oldest first; the empty ones are left out */
	VEC(struct wal_run) runs;
};

void wal_path_init(struct wal_path *path, const struct wal_survey *survey, uint32_t timeline);
void wal_path_done(struct wal_path *path);

/* Which timeline of the path holds this segment. */
uint32_t wal_path_timeline_at(const struct wal_path *path, uint64_t segment);

/* Does the base lie on the path: both its ends belong to the history. */
bool wal_path_has_base(const struct wal_survey *survey, uint32_t timeline,
    const struct wal_base *base);

/* The first segment that recovery of the base needs from the archive. */
uint64_t wal_base_first_segment(const struct wal_survey *survey, const struct wal_base *base);

/* The run that recovery of the base reads on from, or NULL: its WAL is not there. */
const struct wal_run *wal_path_run_of(const struct wal_survey *survey, const struct wal_path *path,
    const struct wal_base *base);

/* The timelines that are known in any way, ascending. */
struct wal_timelines {
	VEC(uint32_t) items;
};
void wal_timelines_init(struct wal_timelines *timelines, const struct wal_survey *survey);
void wal_timelines_done(struct wal_timelines *timelines);

/* The parent of a timeline and where it was left; 0 and 0 for one that has none. */
uint32_t wal_parent(const struct wal_survey *survey, uint32_t timeline, uint64_t *ret_fork_lsn);

/* Is `ancestor` the timeline itself or one that it comes from. */
bool wal_is_ancestor(const struct wal_survey *survey, uint32_t ancestor, uint32_t timeline);

/*
 * The main timeline: the one that the living server is on, as far as that can be told.
 *
 * Two things are proof of where it was at a time: the tail that the receiver writes, and a base
 * backup, for both are had from that server itself; the newer one counts.  From there on it is
 * followed into a timeline that leaves it, as after a failover that only archive_command told of,
 * but not when the old one went on behind the fork: that is what a restored copy looks like that
 * was promoted for a rehearsal and archives into this folder.  Such a branch is named by
 * *ret_ignored (0: there is none), for it must be said aloud.
 *
 * 0: nothing is known at all.
 */
uint32_t wal_main_timeline(const struct wal_survey *survey, uint32_t *ret_ignored);

#endif
