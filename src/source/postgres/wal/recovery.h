/* The driver's answers about recovery: what the archive and the bases of a source allow. */
#ifndef SOURCE_POSTGRES_WAL_RECOVERY_H
#define SOURCE_POSTGRES_WAL_RECOVERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/scope.h"

struct archive;
struct err;
struct manifest;
struct restore_target;
struct wal_survey;
struct window_report;

/*
 * As source_ops.window and source_ops.choose; what was read for a choice is
 * *ret_known, yours.
 */
int pg_wal_window(struct archive *archive, const struct manifest *const *bases, size_t bases_count,
    struct window_report *report, struct err *err) MUST_CHECK;
int pg_wal_choose(struct archive *archive, const struct manifest *const *bases, size_t bases_count,
    struct restore_target *target, struct wal_survey **ret_known, size_t *ret_index,
    struct err *err) MUST_CHECK;

/* What recovery of one base to a target reads from the archive. */
struct wal_need {
	uint32_t timeline;       /* resolved */
	uint64_t segments_count; /* at most: where a time lies is only known by reading */
	uint64_t stored_bytes;
	uint64_t not_sound_count;     /* of them: not read to their end yet */
	uint64_t expected_lsn;        /* recovery must get here at least */
	bool is_before_gap;           /* something is missing behind what it reads */
	struct wall_time last_commit; /* that is known of; 0: none */
	char first_name[25];
	char last_name[25];
};

/*
 * Everything is there, in the index and in the folder, or ERR_REFUSED names the segment that is
 * missing.  `target` was resolved by pg_wal_choose, or is TARGET_BACKUP.  `known` is what that
 * has read, or NULL; it is emptied.
 */
int pg_wal_need(struct archive *archive, const struct manifest *manifest,
    const struct restore_target *target, struct wal_survey *known, struct wal_need *ret_need,
    struct err *err) MUST_CHECK;

#endif
