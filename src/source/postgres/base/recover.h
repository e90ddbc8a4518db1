/*
 * A restored data directory that recovers along the archive: what the server is told, who feeds
 * it, and what it reached.
 *
 * The server is told exactly one target, in UTC with microseconds, and the timeline by number:
 * left to itself it takes the newest one it finds, be it a rehearsal's.
 */
#ifndef SOURCE_POSTGRES_BASE_RECOVER_H
#define SOURCE_POSTGRES_BASE_RECOVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/scope.h"
#include "base/vec.h"

struct base_content;
struct err;
struct postgres;
struct restore_report;
struct restore_target;

struct base_setting {
	const char *name; /* never freed: a constant */
	char *value;
};
struct base_settings {
	VEC(struct base_setting) items;
};
void base_settings_done(struct base_settings *settings);

struct base_recovery_options {
	const struct base_content *content;
	const struct restore_target
	    *target;                /* resolved; TARGET_BACKUP stops where it is consistent */
	const char *const *fetcher; /* argv, NULL-terminated */
	const char *program;        /* in the place of argv[0]; NULL: that itself */
	bool is_before_gap;         /* what lies behind the target may be missing */
	const char *socket_path;    /* of the feeder; NULL: the fetcher reads the store */
};

/* Settings for the server, restore_command among them. */
void base_recovery_settings(const struct base_recovery_options *options,
    struct base_settings *ret_settings);

/* What the plan expects, and what the server did. */
struct base_reached {
	uint32_t timeline;            /* that the server is on now */
	uint32_t parent;              /* that it recovered on */
	uint64_t replayed_lsn;        /* to here */
	struct wall_time last_commit; /* 0: none was replayed */
};

/* Ask a server that has ended its recovery; `data_dir` is its own. */
int base_recovery_reached(const struct postgres *server, const char *data_dir,
    struct base_reached *ret_reached, struct err *err) MUST_CHECK;

/*
 * ERR_MISMATCH when the server came up short of `expected_lsn` (0: not known), or behind the
 * target.  Else the notes say which point was reached, against the one that was asked for.
 */
int base_recovery_judge(const struct base_reached *reached, const struct restore_target *target,
    uint64_t expected_lsn, struct restore_report *report, struct err *err) MUST_CHECK;

#endif
